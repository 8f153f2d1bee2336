//! Leads: what Microsoft sends that is not to be sold together waits as a lead until somebody answers it, on either side.
//!
//! Knows: what has to be true of lead, opportunity and referral once everything is quiet. Refuses to know: which calls get
//! there.

use cosell::ids::LeadId;
use cosell::referral::MICROSOFT;

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
fn arrives() -> Story {
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
fn received() -> World {
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
    answered_by_seller("a lead is qualified", |world| world.seller_qualifies(lead()))
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

pub(super) fn stories() -> Vec<Story> {
    vec![
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

fn losers(world: &World) -> Vec<cosell::link::Change> {
    let changes = world.audit.iter().flat_map(|entry| entry.changes.iter().cloned());
    changes.filter(|change| change.lost).collect()
}
