//! Leads: what Microsoft sends that is not to be sold together waits as a lead until somebody answers it, on either side.
//!
//! Knows: what has to be true of lead, opportunity and referral once everything is quiet. Refuses to know: which calls get
//! there.

use cosell::ids::LeadId;
use cosell::link::State;
use cosell::referral::MICROSOFT;
use model::vendors::RowRecord;

use super::*;

/// Status reasons of a lead that was disqualified.
const CANNOT_CONTACT: i64 = 5;

fn lead() -> LeadId {
    world::POLICY.tenant.lead_for(REFERRAL)
}

fn from_lead() -> Hint {
    Hint::new(Subject::Lead(lead()), Cause::DynamicsPoll)
}

fn edit_lead(world: &mut World, edits: &[(&str, Cell)]) {
    let row = world.leads.get_mut(&lead()).unwrap();
    for (column, cell) in edits {
        row.cells.insert((*column).to_owned(), cell.clone());
    }
    row.version += 1;
}

/// The one opportunity that came of the lead.
fn offspring(world: &World) -> OpportunityId {
    let mut rows = world.rows.keys();
    rows.next().copied().unwrap()
}

/// A referral that waits for an answer and is not co-sell.
pub(super) fn arrives() -> Story {
    let mut world = World::new();
    world.wants_leads = true;
    let mut referral = ReferralRecord::active(REFERRAL, world.now);
    (referral.status, referral.substatus) = ("New".to_owned(), "Pending".to_owned());
    (referral.kind, referral.inviter) = ("Independent".to_owned(), Some(MICROSOFT));
    world.referrals.insert(REFERRAL, referral);
    Story {
        name: "a lead arrives",
        world,
        hint: from_referral(REFERRAL, Cause::ReferralCreated),
        other: from_lead(),
    }
}

/// A lead that nobody has answered, in step.
pub(super) fn received() -> World {
    let Story { mut world, hint, .. } = arrives();
    world.deliver(&hint);
    world.settle();
    world.assert_lead_in_step();
    world
}

fn answered_in_portal(name: &'static str, status: (&str, &str), reason: Option<&str>) -> Story {
    let mut world = received();
    edit_referral(&mut world, REFERRAL, |referral| {
        (referral.status, referral.substatus) = (status.0.to_owned(), status.1.to_owned());
        referral.reason = reason.map(str::to_owned);
    });
    Story {
        name,
        world,
        hint: from_referral(REFERRAL, Cause::ReferralUpdated),
        other: from_lead(),
    }
}

fn edited_in_portal() -> Story {
    let mut world = received();
    edit_referral(&mut world, REFERRAL, |referral| {
        referral.notes = Some("They call back on Monday".to_owned());
        referral.value = "64000".to_owned();
        referral.currency = Some("USD".to_owned());
    });
    Story {
        name: "a lead is edited in the portal",
        world,
        hint: from_referral(REFERRAL, Cause::ReferralUpdated),
        other: from_lead(),
    }
}

/// The seller types on the lead, then does something.
fn answered_by_seller(name: &'static str, answer: impl FnOnce(&mut World)) -> Story {
    let mut world = received();
    answer(&mut world);
    Story {
        name,
        world,
        hint: from_lead(),
        other: from_referral(REFERRAL, Cause::ReferralUpdated),
    }
}

fn qualified() -> Story {
    answered_by_seller("a lead is qualified", |world| {
        world.seller_qualifies(lead());
    })
}

fn qualified_after_edits() -> Story {
    answered_by_seller("a lead is edited and qualified", |world| {
        edit_lead(
            world,
            &[
                ("estimatedamount", Cell::Number("90000.5".parse().unwrap())),
                ("description", text("Needs a pilot")),
                ("estimatedclosedate", text("2026-12-01")),
            ],
        );
        world.seller_qualifies(lead());
    })
}

fn qualified_before_edits() -> Story {
    answered_by_seller("a lead is qualified and its opportunity edited", |world| {
        world.seller_qualifies(lead());
        let id = offspring(world);
        edit_row(world, id, "description", text("Met their buyer"));
        edit_row(world, id, "estimatedvalue", Cell::Number("70000".parse().unwrap()));
    })
}

fn disqualified() -> Story {
    answered_by_seller("a lead is disqualified", |world| {
        edit_lead(
            world,
            &[("statecode", number(2)), ("statuscode", number(CANNOT_CONTACT))],
        );
    })
}

/// Somebody sets the lead to qualified, and nothing is made of it.
fn set_to_qualified(world: &mut World) {
    edit_lead(world, &[("statecode", number(1)), ("statuscode", number(3))]);
}

/// A seller makes an opportunity from the lead by hand.
fn made_by_hand(world: &mut World, is_shared: bool) -> OpportunityId {
    let mut row = RowRecord::open();
    for (column, cell) in [
        ("name", text("Fabrikam renewal")),
        ("_originatingleadid_value", text(&lead().to_string())),
        ("cosell_syncwithpartnercenter", Cell::Flag(is_shared)),
    ] {
        row.cells.insert(column.to_owned(), cell);
    }
    world.rows.insert(OPPORTUNITY, row);
    OPPORTUNITY
}

/// The seller fills in all that a deal needs that is shared by itself.
fn complete(world: &mut World, id: OpportunityId) {
    let before = world.rows.remove(&id).unwrap();
    sellers_row(world, id, false);
    let row = world.rows.get_mut(&id).unwrap();
    row.version = before.version + 1;
    for column in ["_originatingleadid_value", "name"] {
        row.cells.insert(column.to_owned(), before.cells[column].clone());
    }
}

/// A qualified lead without an opportunity: a person is asked for one.
fn lacks_an_opportunity() -> World {
    let mut world = received();
    set_to_qualified(&mut world);
    world.deliver(&from_lead());
    let link = world.find(Subject::Lead(lead())).unwrap();
    assert_eq!(
        link.due.as_ref().map(|due| due.why.as_str()),
        Some("not_visible"),
        "it may appear yet"
    );
    assert_eq!(link.attention, []);
    world.settle();
    let link = world.find(Subject::Lead(lead())).unwrap();
    let codes: Vec<Code> = link.attention.iter().map(|finding| finding.code).collect();
    assert_eq!((codes, link.due), (vec![Code::Missing], None));
    assert!(link.attention[0].text.contains("create one from the lead"));
    let before = world.vendor_writes;
    world.deliver(&from_lead());
    assert_eq!(world.vendor_writes, before, "asked once");
    world
}

/// An opportunity that a seller made from an open lead and shares: it waits for the lead to be qualified.
fn waits_for_its_lead() -> World {
    let mut world = received();
    let id = made_by_hand(&mut world, true);
    world.deliver(&from_row(id));
    world.settle();
    let kept = world.find(Subject::Opportunity(id)).unwrap();
    assert_eq!(listed(&kept), [Code::Missing]);
    assert!(kept.attention[0].text.contains("qualify the lead"));
    assert_eq!((kept.referral, kept.lead), (None, None));
    assert_eq!(world.referrals.len(), 1, "it is not shared a second time");
    world
}

fn gets_its_opportunity() -> Story {
    let mut world = lacks_an_opportunity();
    let id = made_by_hand(&mut world, false);
    Story {
        name: "a qualified lead gets its opportunity",
        world,
        hint: Hint::new(Subject::Lead(lead()), Cause::Operator),
        other: from_row(id),
    }
}

fn qualified_at_last() -> Story {
    let mut world = waits_for_its_lead();
    set_to_qualified(&mut world);
    Story {
        name: "a lead is qualified whose opportunity was made by hand",
        world,
        hint: from_lead(),
        other: from_row(OPPORTUNITY),
    }
}

/// A seller shares an opportunity, is told what it lacks, and only then says which lead it came of.
fn names_its_lead() -> Story {
    let mut world = received();
    let id = made_by_hand(&mut world, true);
    edit_row(&mut world, id, "_originatingleadid_value", Cell::Null);
    world.deliver(&from_row(id));
    world.settle();
    let told = world.find(Subject::Opportunity(id)).unwrap();
    assert!(!told.attention.is_empty(), "it lacks nothing");
    set_to_qualified(&mut world);
    edit_row(&mut world, id, "_originatingleadid_value", text(&lead().to_string()));
    Story {
        name: "an opportunity that could not be shared names its lead",
        world,
        hint: from_row(id),
        other: from_lead(),
    }
}

/// A lead that is not to be synchronised any more was qualified, and its opportunity is shared.
fn shared_after_all() -> Story {
    let mut world = received();
    edit_lead(&mut world, &[("cosell_syncwithpartnercenter", Cell::Flag(false))]);
    world.deliver(&from_lead());
    world.settle();
    assert_eq!(world.find(Subject::Lead(lead())).unwrap().state, State::Paused);
    world.seller_qualifies(lead());
    world.deliver(&from_lead());
    world.settle();
    assert_eq!(world.referrals[&REFERRAL].status, "New", "nobody shares it");
    let id = offspring(&world);
    edit_row(&mut world, id, "cosell_syncwithpartnercenter", Cell::Flag(true));
    Story {
        name: "the opportunity of a lead that was switched off is shared",
        world,
        hint: from_row(id),
        other: from_lead(),
    }
}

pub(super) fn stories() -> Vec<Story> {
    vec![
        gets_its_opportunity(),
        qualified_at_last(),
        names_its_lead(),
        shared_after_all(),
        arrives(),
        edited_in_portal(),
        answered_in_portal("a lead is accepted in the portal", ("Active", "Accepted"), None),
        answered_in_portal("a lead is won in the portal", ("Closed", "Won"), None),
        answered_in_portal(
            "a lead is declined in the portal",
            ("Closed", "Declined"),
            Some("Others"),
        ),
        answered_in_portal("a lead expires", ("Closed", "Expired"), None),
        qualified(),
        qualified_after_edits(),
        qualified_before_edits(),
        disqualified(),
    ]
}

/// The seller does not wait for us: lead and opportunity are theirs as soon as they see them.
#[test]
fn a_lead_may_be_qualified_and_shared_while_it_is_being_made() {
    for is_complete in [false, true] {
        for dies in [false, true] {
            let Story { mut world, hint, .. } = arrives();
            let mut run = world.begin(&hint);
            while world.leads.is_empty() {
                assert!(matches!(world.step(&mut run), world::Went::On));
            }
            world.seller_qualifies(lead());
            let id = offspring(&world);
            edit_row(&mut world, id, "cosell_syncwithpartnercenter", Cell::Flag(true));
            if is_complete {
                complete(&mut world, id);
            }
            let case = format!("complete: {is_complete}, the run dies: {dies}");
            world.deliver(&from_row(id));
            if !dies {
                world.finish(&mut run);
            }
            world.settle();
            assert_eq!(world.referrals.len(), 1, "{case}");
            world.assert_lead_in_step();
            let link = world.find(Subject::Opportunity(id)).unwrap();
            assert_eq!((link.referral, link.lead), (Some(REFERRAL), Some(lead())), "{case}");
            assert_eq!(link.attention, [], "{case}");
        }
    }
}

#[test]
fn an_opportunity_that_could_not_be_shared_by_itself_takes_the_place_of_its_lead() {
    let Story { mut world, hint, .. } = names_its_lead();
    world.deliver(&hint);
    world.settle();
    world.assert_lead_in_step();
    assert_eq!(world.referrals.len(), 1);
    for subject in [Subject::Opportunity(OPPORTUNITY), Subject::Lead(lead())] {
        let link = world.find(subject).unwrap();
        assert_eq!(
            (link.referral, link.opportunity, link.attention),
            (Some(REFERRAL), Some(OPPORTUNITY), Vec::new())
        );
    }
    let (writes, audited) = (world.vendor_writes, world.audit.len());
    world.deliver(&hint);
    assert_eq!((world.vendor_writes, world.audit.len()), (writes, audited));
}

/// Its opportunity is the deal by now: what a poll shows of the lead is not even read.
#[test]
fn a_lead_that_was_followed_is_past() {
    let Story { mut world, hint, .. } = qualified();
    world.deliver(&hint);
    world.settle();
    let told = format!(
        "lead {} was qualified; opportunity {} takes its place",
        lead().uuid(),
        offspring(&world).uuid()
    );
    let mut findings = world.audit.iter().flat_map(|entry| &entry.findings);
    assert!(
        findings.any(|finding| (finding.code, finding.text.as_str()) == (Code::Linked, &told)),
        "{told}"
    );
    let (reads, versions) = (world.vendor_reads, world.links().map(|link| link.version).sum::<u64>());
    edit_lead(&mut world, &[("description", text("Nobody looks here any more"))]);
    assert_eq!(world.deliver(&from_lead()).outcome, Outcome::Ignored);
    assert_eq!(world.vendor_reads, reads);
    assert_eq!(world.links().map(|link| link.version).sum::<u64>(), versions);
}

/// A lead has one opportunity that takes its place; whatever else is made of it is a deal by itself.
#[test]
fn a_second_opportunity_of_a_lead_is_shared_by_itself() {
    let Story { mut world, hint, .. } = qualified();
    world.deliver(&hint);
    world.settle();
    let first = world.find(Subject::Lead(lead())).unwrap().opportunity;
    let second = made_by_hand(&mut world, true);
    complete(&mut world, second);
    world.deliver(&from_row(second));
    world.settle();
    assert_eq!(world.find(Subject::Lead(lead())).unwrap().opportunity, first);
    let link = world.find(Subject::Opportunity(second)).unwrap();
    assert!(
        link.base.is_some() && link.referral.is_some_and(|id| id != REFERRAL),
        "{link:#?}"
    );
    assert_eq!(world.referrals.len(), 2);
}

#[test]
fn what_is_to_be_sold_together_is_no_lead() {
    let Story { mut world, hint, .. } = inbound(("New", "Pending"));
    world.wants_leads = true;
    world.deliver(&hint);
    world.settle();
    assert!(world.leads.is_empty());
    world.assert_in_step(1);
}

#[test]
fn a_lead_holds_its_customer_by_itself() {
    let world = received();
    let row = &world.leads[&lead()];
    assert_eq!(row.cells.get("companyname"), Some(&text("Fabrikam")));
    assert_eq!(row.cells.get("emailaddress1"), Some(&text("ada@fabrikam.example")));
    assert!(world.people.is_empty(), "{:?}", world.people);
    assert!(world.rows.is_empty());
}

#[test]
fn what_was_typed_on_a_lead_travels_with_its_acceptance() {
    let Story { mut world, hint, .. } = qualified_after_edits();
    world.deliver(&hint);
    world.settle();
    world.assert_lead_in_step();
    let referral = &world.referrals[&REFERRAL];
    assert_eq!(
        (referral.status.as_str(), referral.substatus.as_str()),
        ("Active", "Accepted")
    );
    assert_eq!(referral.value, "90000.5");
    assert_eq!(referral.notes.as_deref(), Some("Needs a pilot"));
    assert_eq!(referral.closing.as_deref(), Some("2026-12-01T00:00:00Z"));
    assert_eq!(referral.reference, Some(offspring(&world).to_string()));
    assert!(losers(&world).is_empty(), "{:#?}", losers(&world));
}

#[test]
fn what_was_typed_on_the_fresh_opportunity_is_an_edit() {
    let Story { mut world, hint, .. } = qualified_before_edits();
    world.deliver(&hint);
    world.settle();
    world.assert_lead_in_step();
    let referral = &world.referrals[&REFERRAL];
    assert_eq!(referral.notes.as_deref(), Some("Met their buyer"));
    assert_eq!(referral.value, "70000");
    assert!(losers(&world).is_empty(), "{:#?}", losers(&world));
}

/// The run that qualifies a lead goes on with its opportunity, and by then has written to the referral itself.
#[test]
fn an_edit_of_the_fresh_opportunity_competes_with_nothing_that_we_replaced() {
    let Story { mut world, hint, .. } = answered_in_portal("accepted", ("Active", "Accepted"), None);
    edit_lead(&mut world, &[("description", text("Needs a pilot"))]);
    let mut run = world.begin(&hint);
    while world.rows.is_empty() {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    assert_eq!(world.referrals[&REFERRAL].notes.as_deref(), Some("Needs a pilot"));
    let id = offspring(&world);
    edit_row(&mut world, id, "description", text("Met their buyer"));
    world.finish(&mut run);
    world.settle();
    world.assert_lead_in_step();
    assert_eq!(world.referrals[&REFERRAL].notes.as_deref(), Some("Met their buyer"));
    assert!(losers(&world).is_empty(), "{:#?}", losers(&world));
}

/// A lead is disqualified while its referral is won: it is opened again, and an edit comes between that and the rest.
#[test]
fn who_loses_is_the_seller_and_not_the_stage_that_is_reached_by_the_way() {
    let Story { mut world, hint, .. } = answered_in_portal("won", ("Closed", "Won"), None);
    edit_lead(
        &mut world,
        &[("statecode", number(2)), ("statuscode", number(CANNOT_CONTACT))],
    );
    let mut run = world.begin(&hint);
    while world.leads[&lead()].integer("statecode") == Some(2) {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    edit_lead(&mut world, &[("estimatedclosedate", text("2027-01-31"))]);
    world.finish(&mut run);
    world.settle();
    let lost: Vec<String> = losers(&world)
        .iter()
        .filter(|change| change.field == Field::Stage)
        .map(|change| change.old.to_string())
        .collect();
    assert_eq!(lost, ["lost (Cannot contact)"]);
    assert_eq!(world.rows[&offspring(&world)].integer("statecode"), Some(1), "won");
}

#[test]
fn a_disqualified_lead_declines_its_referral_with_the_sellers_reason() {
    let Story { mut world, hint, .. } = disqualified();
    world.deliver(&hint);
    world.settle();
    let referral = &world.referrals[&REFERRAL];
    assert_eq!(
        (referral.status.as_str(), referral.substatus.as_str()),
        ("Closed", "Declined")
    );
    assert!(referral.reason.is_some());
}

#[test]
fn a_deleted_lead_is_not_brought_back() {
    let mut world = received();
    world.leads.clear();
    world.deliver(&from_lead());
    world.settle();
    assert_eq!(world.find(Subject::Lead(lead())).unwrap().state, State::Gone);
    edit_referral(&mut world, REFERRAL, |referral| {
        referral.notes = Some("Call them".to_owned())
    });
    let before = world.vendor_writes;
    for cause in [Cause::ReferralUpdated, Cause::Compare] {
        world.deliver(&from_referral(REFERRAL, cause));
        world.settle();
    }
    assert!(world.leads.is_empty() && world.rows.is_empty());
    assert_eq!(world.vendor_writes, before);
    assert_eq!(world.referrals[&REFERRAL].status, "New");
}

#[test]
fn a_lead_that_the_ledger_has_forgotten_is_met_again() {
    let mut world = received();
    world.forget_links();
    let before = world.vendor_writes;
    world.deliver(&from_lead());
    world.settle();
    world.assert_lead_in_step();
    assert!(world.vendor_writes <= before + 1, "it may be told anew, and no more");
}

#[test]
fn a_lead_of_nobody_elses_is_left_alone() {
    let mut world = received();
    let own = LeadId::new(Uuid::from_u128(0xD1));
    let mut row = world.leads[&lead()].clone();
    row.cells.insert("cosell_referralidentifier".to_owned(), Cell::Null);
    world.leads.insert(own, row);
    let (writes, audited) = (world.vendor_writes, world.audit.len());
    let report = world.deliver(&Hint::new(Subject::Lead(own), Cause::DynamicsPoll));
    world.settle();
    assert_eq!(report.outcome, Outcome::Ignored);
    assert_eq!((world.vendor_writes, world.audit.len()), (writes, audited));
}

#[test]
fn accepting_in_the_portal_uses_the_customer_who_is_there() {
    let known = |name: &str, number: u128| {
        let cells = [("name".to_owned(), text(name))].into();
        (("accounts", Uuid::from_u128(number)), cells)
    };
    for (accounts, is_listed) in [
        (vec![known("Fabrikam", 0xC1)], false),
        (vec![known("Fabrikam", 0xC1), known("Fabrikam", 0xC2)], true),
    ] {
        let accept = || answered_in_portal("accepted", ("Active", "Accepted"), None);
        let Story { mut world, hint, .. } = accept();
        let count = accounts.len();
        world.people.extend(accounts);
        let ada = Uuid::from_u128(0xC9);
        let is_known = !is_listed;
        if is_known {
            let cells = [("emailaddress1".to_owned(), text("ada@fabrikam.example"))].into();
            world.people.insert(("contacts", ada), cells);
        }
        world.deliver(&hint);
        world.settle();
        let of_accounts = world.people.keys().filter(|(set, _)| *set == "accounts");
        assert_eq!(of_accounts.count(), count, "no account is made");
        let of_contacts = world.people.keys().filter(|(set, _)| *set == "contacts");
        assert_eq!(of_contacts.count(), 1, "a contact is made unless she is known");
        let contact = &world.rows[&offspring(&world)].cells["parentcontactid"];
        assert_eq!(contact == &text(&format!("/contacts({ada})")), is_known);
        let account = world.rows[&offspring(&world)].cells.get("customerid_account").cloned();
        let link = world.find(Subject::Lead(lead())).unwrap();
        if is_listed {
            assert_eq!(account, None, "nobody knows which");
            let [asked] = link.attention.as_slice() else {
                panic!("a person is asked: {:#?}", link.attention)
            };
            for number in [0xC1, 0xC2] {
                let known = format!("Fabrikam ({})", Uuid::from_u128(number));
                assert!(asked.text.contains(&known), "{}", asked.text);
            }
        } else {
            assert_eq!(account, Some(text(&format!("/accounts({})", Uuid::from_u128(0xC1)))));
            world.assert_lead_in_step();
        }
    }
}

/// A seller has chosen who the customer is, or a part of it; the rest is made, once.
#[test]
fn accepting_in_the_portal_makes_only_who_is_missing() {
    let customer = [
        ("accounts", "parentaccountid", "name", Uuid::from_u128(0xC1)),
        ("contacts", "parentcontactid", "lastname", Uuid::from_u128(0xC2)),
    ];
    for is_chosen in [[false, false], [true, false], [false, true], [true, true]] {
        let Story { mut world, hint, .. } = answered_in_portal("accepted", ("Active", "Accepted"), None);
        for ((set, column, name, id), _) in customer.into_iter().zip(is_chosen).filter(|(_, is)| *is) {
            world
                .people
                .insert((set, id), [(name.to_owned(), text("Chosen"))].into());
            edit_lead(&mut world, &[(column, text(&format!("/{set}({id})")))]);
        }
        world.deliver(&hint);
        world.settle();
        let row = &world.rows[&offspring(&world)];
        for ((set, column, _, id), is) in customer.into_iter().zip(is_chosen) {
            let ids: Vec<_> = world.people.keys().filter(|(table, _)| *table == set).collect();
            let [(_, only)] = ids[..] else { panic!("{set}: {ids:?}") };
            assert_eq!(is, *only == id, "{is_chosen:?}");
            assert_eq!(row.cells[column], text(&format!("/{set}({only})")), "{is_chosen:?}");
        }
        assert_eq!(world.refusals, [] as [String; 0]);
    }
}

/// The currency that was agreed on is that of the opportunity from its first moment, for what is in another is converted.
#[test]
fn a_lead_is_qualified_in_the_currency_that_is_agreed() {
    for code in ["EUR", "USD"] {
        let Story { mut world, hint, .. } = answered_in_portal("accepted", ("Active", "Accepted"), None);
        edit_referral(&mut world, REFERRAL, |referral| {
            referral.currency = Some(code.to_owned())
        });
        let mut run = world.begin(&hint);
        while world.rows.is_empty() {
            assert!(matches!(world.step(&mut run), world::Went::On));
        }
        let currency = world.rows[&offspring(&world)].cells.get("transactioncurrencyid");
        assert_eq!(currency.cloned(), model::vendors::currency_row(code));
        world.finish(&mut run);
        world.settle();
        world.assert_lead_in_step();
    }
}
