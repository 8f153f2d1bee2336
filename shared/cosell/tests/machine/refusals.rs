//! A vendor refuses one of several calls for good: what was done before it counts, what it was to do does not, and all that
//! there is to say is said once.

use cosell::link::{AuditEntry, Base};

use super::*;

fn linked(world: &World) -> Link {
    world.find(Subject::Opportunity(OPPORTUNITY)).unwrap()
}

/// What both sides agree on about a field.
fn agreed(link: &Link, field: Field) -> [String; 2] {
    let Base { referral, opportunity } = link.base.as_ref().unwrap();
    [referral, opportunity].map(|side| side.get(field).to_string())
}

/// The fields that were written, as the audit tells.
fn told_changes(entries: &[AuditEntry]) -> Vec<(Field, Side)> {
    let changes = entries.iter().flat_map(|entry| &entry.changes);
    changes.map(|change| (change.field, change.side)).collect()
}

#[test]
fn nothing_is_agreed_shown_or_told_of_what_did_not_land() {
    let (mut world, referral, opportunity) = in_step(false);
    let before = linked(&world);
    let audited = world.audit.len();
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("News".to_owned());
        referral.value = r#""plenty""#.to_owned();
    });
    world.plugin = Some(opportunity);
    let report = world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    let link = linked(&world);
    assert_eq!((&link.pending, &link.due), (&None, &None));
    // The value that nobody understands stands beside the refusal.
    let both = [(Code::UnknownValue, Some(Field::Value)), (Code::Refused, None)];
    let listed = about(&link.attention);
    assert_eq!(listed, both);
    let reported = about(&report.findings);
    assert_eq!(reported, both);
    assert_eq!(about_all(&world.audit[audited..]), both);
    assert_eq!(told_changes(&world.audit[audited..]), []);
    assert_eq!(agreed(&link, Field::Notes), ["Talked to Ada"; 2]);
    assert_eq!((&link.shown, &link.journal), (&before.shown, &before.journal));
}

#[test]
fn what_landed_before_a_refusal_is_agreed_and_told() {
    let (mut world, referral, opportunity) = in_step(false);
    let (before, audited) = (linked(&world), world.audit.len());
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    edit_referral(&mut world, referral, |referral| {
        referral.closing = Some("2026-12-01T00:00:00Z".to_owned());
    });
    world.plugin = Some(opportunity);
    world.echoes = false;
    world.deliver(&from_referral(referral, Cause::Compare));
    let link = linked(&world);
    assert_eq!(agreed(&link, Field::Notes), ["Seller's"; 2]);
    assert_eq!(agreed(&link, Field::CloseDate), agreed(&before, Field::CloseDate));
    assert_eq!(
        told_changes(&world.audit[audited..]),
        [(Field::Notes, Side::PartnerCenter)]
    );
    let told = [(Code::Carried, Some(Field::Notes)), (Code::Refused, None)];
    assert_eq!(about_all(&world.audit[audited..]), told);
    // The state that our own write replaced is no news, although nobody has read the referral since.
    world.plugin = None;
    world.mishaps = (world.calls..world.calls + 4)
        .map(|call| (call, Mishap::Stale))
        .collect();
    assert_eq!(
        world.deliver(&from_referral(referral, Cause::ReferralUpdated)).outcome,
        Outcome::Due
    );
    assert_eq!(world.struck, [Mishap::Stale]);
    assert_eq!(world.rows[&opportunity].cells["description"], text("Seller's"));
    world.settle();
    world.assert_in_step(1);
    assert_eq!(world.rows[&opportunity].cells["estimatedclosedate"], text("2026-12-01"));
}

#[test]
fn the_ledger_knows_what_the_row_shows_when_its_closing_is_refused() {
    let (mut world, referral, opportunity) = in_step(true);
    let microsofts = linked(&world).microsoft.unwrap();
    let audited = world.audit.len();
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Signed".to_owned());
        (referral.status, referral.substatus) = ("Closed".to_owned(), "Won".to_owned());
    });
    edit_referral(&mut world, microsofts, |half| {
        (half.status, half.substatus) = ("Active".to_owned(), "Accepted".to_owned());
    });
    world.refused = Some(|call| matches!(call, Call::CloseOpportunity { .. }));
    world.echoes = false;
    world.deliver(&from_referral(referral, Cause::Compare));
    let (link, row) = (linked(&world), world.rows[&opportunity].shown());
    assert_eq!(agreed(&link, Field::Notes), ["Signed"; 2]);
    assert_eq!(agreed(&link, Field::Stage), ["active"; 2]);
    assert_eq!(told_changes(&world.audit[audited..]), [(Field::Notes, Side::Dynamics)]);
    assert_eq!(link.shown.microsoft, Some(Stage::Active));
    let trail = row.text("cosell_audit").unwrap();
    assert!(!link.journal.is_empty());
    assert_eq!(trail.lines().collect::<Vec<_>>(), link.journal);
    assert_eq!(link.etags.opportunity, row.etag);
}

#[test]
fn a_refused_reopening_is_told_of_the_stage() {
    let (mut world, referral, _) = lost_here_and_won_there();
    world.refused = Some(
        |call| matches!(call, Call::UpdateRecord { change, .. } if change.cells().any(|(column, _)| column == "statecode")),
    );
    world.echoes = false;
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    let link = world.find(Subject::Referral(referral)).unwrap();
    let listed = about(&link.attention);
    assert_eq!(listed, [(Code::Refused, Some(Field::Stage))]);
}

/// What is said of a field that is not written stands for later when a call is refused.
#[test]
fn what_a_refusal_kept_unsaid_is_said_by_the_next_look() {
    let (mut world, referral, opportunity) = in_step(false);
    let audited = world.audit.len();
    edit_row(&mut world, opportunity, "name", text("Renamed"));
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("News".to_owned())
    });
    world.plugin = Some(opportunity);
    world.echoes = false;
    let look = from_referral(referral, Cause::Compare);
    world.deliver(&look);
    assert_eq!(about_all(&world.audit[audited..]), [(Code::Refused, None)]);
    world.plugin = None;
    let audited = world.audit.len();
    for _ in 0..2 {
        world.deliver(&look);
    }
    let mut told = about_all(&world.audit[audited..]);
    told.sort_unstable();
    let both = [(Code::Carried, Some(Field::Notes)), (Code::Frozen, Some(Field::Name))];
    assert_eq!(told, both);
}

/// Rows of solutions are written one by one. Somebody changes one that is to go while the run is at them, so that it has
/// to start over: what the rows show by then is nobody's edit.
#[test]
fn rows_that_are_half_written_are_nobodys_edit() {
    let (mut world, opportunity) = accepted();
    edit_referral(&mut world, REFERRAL, |referral| referral.solutions = tags(&["SOL-7"]));
    let mut run = world.begin(&from_referral(REFERRAL, Cause::ReferralUpdated));
    let old = *world.rows[&opportunity].solutions.keys().next().unwrap();
    while world.rows[&opportunity].solutions.len() < 2 {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    let rows = &mut world.rows.get_mut(&opportunity).unwrap().solutions;
    let (version, cells) = rows.get_mut(&old).unwrap();
    *version += 1;
    cells.insert("cosell_quantity".to_owned(), number(12));
    world.finish(&mut run);
    assert_eq!(ids_of_rows(&world, opportunity), set_of(&["SOL-7"]));
    world.settle();
    assert_eq!(ids_of_rows(&world, opportunity), set_of(&["SOL-7"]));
    assert_eq!(world.referrals[&REFERRAL].solutions.len(), 1);
    assert_eq!(losers(&world), [], "nobody has lost");
    world.assert_in_step(1);
}

/// A row that is opened only to be closed anew, and then is not: the stage is neither told nor agreed.
#[test]
fn a_stage_that_was_reached_by_the_way_is_not_agreed() {
    let (mut world, referral, opportunity) = lost_here_and_won_there();
    let audited = world.audit.len();
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Signed".to_owned())
    });
    world.refused = Some(|call| matches!(call, Call::CloseOpportunity { .. }));
    world.echoes = false;
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    assert_eq!(world.rows[&opportunity].cells["statecode"], number(0));
    let link = world.find(Subject::Referral(referral)).unwrap();
    assert_eq!(agreed(&link, Field::Stage), ["unanswered"; 2]);
    assert_eq!(agreed(&link, Field::Notes), ["Signed"; 2]);
    let told = told_changes(&world.audit[audited..]);
    assert_eq!(told, [(Field::Notes, Side::Dynamics)]);
}

/// The default rules, and columns for all that they leave out; what is typed in them travels.
fn every_field() -> Policy {
    let toward_dynamics = "create = \"toward_dynamics\"\nupdate = \"toward_dynamics\"\nowner = \"partner_center\"";
    let both_ways = "create = \"toward_dynamics\"\nupdate = \"both\"\nowner = \"dynamics\"";
    let mut rules = mapping::DEFAULT.replacen(toward_dynamics, both_ways, 1);
    for deal in ["campaign", "sales_stage"] {
        let column = deal.replace('_', "");
        rules.push_str(&format!(
            "\n[[field]]\ndeal = \"{deal}\"\ncolumn = \"@{column}\"\nlabel = \"{deal}\"\nkind = \"text\"\nlimit = 100\n\
             {both_ways}\nrequired = false\n"
        ));
    }
    Policy {
        mapping: Arc::new(Mapping::parse(&rules).unwrap()),
        ..world::POLICY.clone()
    }
}

/// Whatever Partner Center refuses is told of the field that it is, and everything else arrives.
#[test]
fn the_field_that_is_refused_is_found_among_all_of_them() {
    let fields = [
        (Field::Value, "/details/dealValue", "estimatedvalue", number(70_000)),
        (
            Field::CloseDate,
            "/details/closingDateTime",
            "estimatedclosedate",
            text("2026-11-11"),
        ),
        (Field::Notes, "/details/notes", "description", text("Typed")),
        (
            Field::Solutions,
            "/details/requirements/solutions",
            "cosell_solutions",
            text("SOL-9"),
        ),
        (
            Field::Visibility,
            "/consent/consentToShareReferralWithMicrosoftSellers",
            "cosell_referralvisibility",
            Cell::Flag(true),
        ),
        (
            Field::Program,
            "/referralProgram",
            "cosell_referralprogram",
            text("Solution Assessment"),
        ),
        (Field::Campaign, "/campaignId", "cosell_campaign", text("CMP-1")),
        (Field::SalesStage, "/salesStage", "cosell_salesstage", text("Develop")),
    ];
    for (refused, path, ..) in &fields {
        let Story { mut world, hint, .. } = outbound(false);
        world.policy = Some(rules(every_field()));
        world.echoes = false;
        world.deliver(&hint);
        let referral = *world.referrals.keys().next().unwrap();
        world.refused_path = Some(*path);
        for (_, _, column, cell) in &fields {
            edit_row(&mut world, OPPORTUNITY, column, cell.clone());
        }
        world.deliver(&from_row(OPPORTUNITY));
        let (link, shown) = (
            linked(&world),
            Terms::from_referral(&world.referrals[&referral].shown()),
        );
        let listed = about(&link.attention);
        assert_eq!(listed, [(Code::Refused, Some(*refused))]);
        let row = world.rows[&OPPORTUNITY].shown();
        let typed = world.rules().mapping.terms(&row);
        for (field, ..) in &fields {
            let is_there = shown.get(*field) == typed.get(*field);
            assert_eq!(
                is_there,
                field != refused,
                "{field} while {refused} is refused: {:?}",
                shown.get(*field)
            );
        }
    }
}

/// A side that shows what nobody understands is not known by its version, whatever else is written to it.
#[test]
fn a_side_with_something_open_is_not_known_by_its_version() {
    let (mut world, referral, opportunity) = in_step(false);
    edit_referral(&mut world, referral, |referral| {
        referral.value = r#""plenty""#.to_owned()
    });
    edit_row(&mut world, opportunity, "description", text("Typed"));
    world.echoes = false;
    world.deliver(&from_referral(referral, Cause::Compare));
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Typed"));
    let etags = linked(&world).etags;
    assert_eq!(
        (etags.referral, etags.opportunity),
        (None, world.rows[&opportunity].shown().etag)
    );
}

/// A reference belongs to no field, so that there is nothing to try one by one.
#[test]
fn a_reference_that_is_refused_is_tried_once_a_look() {
    let (mut world, referral, opportunity) = in_step(false);
    world.forget_links();
    edit_referral(&mut world, referral, |referral| referral.reference = None);
    world.refused_path = Some("/externalReferenceId");
    world.echoes = false;
    let writes = world.vendor_writes;
    world.deliver(&from_row(opportunity));
    assert_eq!(world.vendor_writes, writes + 1);
    let link = linked(&world);
    assert_eq!((listed(&link), link.referenced), (vec![Code::Refused], false));
    assert_eq!((&link.pending, link.referral), (&None, Some(referral)));
    world.refused_path = None;
    world.deliver(&from_referral(referral, Cause::Operator));
    world.settle();
    world.assert_in_step(1);
    assert_eq!(listed(&linked(&world)), []);
}

/// A deal is not sent without what Partner Center demands of people and places, and its seller is told what that is.
#[test]
fn what_a_deal_lacks_is_named_before_it_is_sent() {
    let cases = [
        (
            "systemusers",
            3,
            "mobilephone",
            None,
            "fill in the phone number of the owner",
        ),
        (
            "contacts",
            2,
            "telephone1",
            None,
            "fill in the phone number of the contact",
        ),
        (
            "accounts",
            1,
            "address1_country",
            Some("Atlantis"),
            "the account's country \"Atlantis\" is not known",
        ),
    ];
    for (set, key, column, value, told) in cases {
        let Story { mut world, hint, .. } = outbound(true);
        let person = world.people.get_mut(&(set, Uuid::from_u128(key))).unwrap();
        person.insert(column.to_owned(), value.map_or(Cell::Null, text));
        world.deliver(&hint);
        world.settle();
        let [missing] = &only_link(&world).attention[..] else {
            panic!("{told}: {:#?}", only_link(&world).attention)
        };
        assert!(
            missing.code == Code::Missing && missing.text.contains(told),
            "{missing:?} for {told:?}"
        );
        assert!(world.referrals.is_empty());
    }
}

/// The name bears the mark of how the deal stands, unless marks are not wanted.
#[test]
fn the_name_says_how_a_deal_stands_unless_that_is_not_wanted() {
    for (display_checkmark, expected) in [(true, ["✔ Big deal", "✘ Big deal"]), (false, ["Big deal"; 2])] {
        let Story { mut world, hint, .. } = outbound(false);
        world.policy = Some(rules(Policy {
            display_checkmark,
            ..world::POLICY.clone()
        }));
        let names = [None, Some(Cell::Null)].map(|value| {
            if let Some(value) = value {
                edit_row(&mut world, OPPORTUNITY, "estimatedvalue", value);
            }
            world.deliver(&hint);
            world.settle();
            world.rows[&OPPORTUNITY].shown().text("name").map(str::to_owned)
        });
        assert_eq!(names, expected.map(|name| Some(name.to_owned())));
    }
}
