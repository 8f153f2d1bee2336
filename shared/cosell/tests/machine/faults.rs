//! Calls that fail: what becomes of the run and of what it had announced, and when the deal is looked at again.

use cosell::fault::Class;
use cosell::ids::LeadId;
use cosell::link::{Pending, State};
use cosell::order::Order;
use cosell::reconcile::Report;

use super::*;

/// Plays a hint; the first write that goes to a vendor is refused.
fn first_write_fails(world: &mut World, hint: &Hint) -> Report {
    world.echoes = false;
    let mut probe = world.clone();
    let mut run = probe.begin(hint);
    while probe.vendor_writes == world.vendor_writes {
        assert!(matches!(probe.step(&mut run), world::Went::On));
    }
    // The probe has made the call that is to fail.
    world.mishaps.insert(probe.calls - 1, Mishap::Refused);
    let mut run = world.begin(hint);
    let report = world.finish(&mut run).unwrap();
    assert_eq!(world.struck, [Mishap::Refused]);
    report
}

fn unlinking() -> Story {
    let (mut world, _, opportunity) = in_step(false);
    world.order = Some(Order::Unlink);
    let hint = Hint::new(Subject::Opportunity(opportunity), Cause::Operator);
    Story {
        name: "unlinking",
        world,
        hint: hint.clone(),
        other: hint,
    }
}

#[test]
fn a_write_that_fails_for_the_moment_is_tried_again_and_nobody_is_asked() {
    let stories = [
        inbound(("Active", "Accepted")),
        outbound(false),
        edited_in_partner_center(),
        edited_in_dynamics(),
        leads::arrives(),
        unlinking(),
    ];
    for Story {
        name, mut world, hint, ..
    } in stories
    {
        let guard = Told(name);
        let before: Vec<Link> = world.links().collect();
        let report = first_write_fails(&mut world, &hint);
        assert_eq!((report.outcome, report.again), (Outcome::Due, false));
        assert_eq!(codes(&report.findings), [Code::Waiting]);
        let link = only_link(&world);
        assert_eq!((&link.attention[..], link.attention_since), (&[][..], None));
        let due = link.due.clone().unwrap();
        assert_eq!((due.why.as_str(), due.attempts), ("mishap", 1));
        let wait = due.at.duration_since(world.now).as_secs();
        assert!((10..=15).contains(&wait), "{wait} s");
        // What may be tried again as it was announced stands; a referral that was not taken is announced anew.
        match &link.pending {
            None => assert_eq!(name, "outbound"),
            Some(Pending::CreateOpportunity { terms } | Pending::CreateLead { terms }) => {
                let referral = world.referrals[&REFERRAL].shown();
                assert_eq!(terms, &Terms::from_referral(&referral));
            }
            Some(Pending::Part | Pending::Update { .. }) => assert_eq!(link.base, before[0].base),
            Some(other) => panic!("{other:?}"),
        }
        world.settle();
        if name == "unlinking" {
            assert_eq!(only_link(&world).state, State::Parted);
        } else {
            world.assert_one_deal_in_step();
        }
        std::mem::forget(guard);
    }
}

/// The longer of our wait and the vendor's counts; behind what only an operator can mend, it is five minutes.
#[test]
fn a_wait_is_at_least_as_long_as_the_vendor_asks() {
    let seconds = SignedDuration::from_secs;
    for (class, wait) in [
        (Class::Transient { after: None }, 15),
        (
            Class::Transient {
                after: Some(seconds(3)),
            },
            15,
        ),
        (
            Class::Transient {
                after: Some(seconds(120)),
            },
            120,
        ),
        (Class::Fatal, 300),
    ] {
        let Story { mut world, hint, .. } = edited_in_partner_center();
        world.class = class;
        let began = world.now + seconds(1);
        first_write_fails(&mut world, &hint);
        let due = only_link(&world).due.unwrap();
        assert_eq!(due.at.duration_since(began).as_secs(), wait, "{class:?}");
        world.settle();
        world.assert_in_step(1);
    }
}

#[test]
fn whoever_loses_a_race_looks_again_at_once() {
    let Story { mut world, hint, .. } = edited_in_dynamics();
    world.class = Class::Conflict;
    let report = first_write_fails(&mut world, &hint);
    assert_eq!((report.outcome, report.again), (Outcome::Written, false));
    assert_eq!(only_link(&world).due, None);
    world.assert_in_step(1);
}

/// Without the ledger nothing can be remembered: the hint has to come again, and no vendor was written to.
#[test]
fn a_ledger_that_does_not_answer_has_the_hint_come_again() {
    for Story { name, world, hint, .. } in [outbound(false), inbound(("Active", "Accepted")), edited_in_dynamics()] {
        let mut probe = world.clone();
        probe.echoes = false;
        (probe.calls, probe.writes) = (0, Vec::new());
        let mut run = probe.begin(&hint);
        probe.finish(&mut run);
        let announcement = probe.writes[0];
        for at in [0, announcement] {
            let mut world = world.clone();
            (world.calls, world.echoes) = (0, false);
            world.mishaps.insert(at, Mishap::Refused);
            let writes = world.vendor_writes;
            let mut run = world.begin(&hint);
            let report = world.finish(&mut run).unwrap();
            assert_eq!(
                (report.outcome, report.again),
                (Outcome::Due, true),
                "{name}, call {at}"
            );
            assert_eq!(codes(&report.findings), [Code::Waiting]);
            assert_eq!(world.vendor_writes, writes, "{name}, call {at}");
            world.deliver(&hint);
            world.settle();
            world.assert_in_step(1);
        }
    }
}

/// A first look that fails is remembered under the record that it was at, and under no other.
#[test]
fn a_look_that_fails_is_remembered_with_its_record() {
    let lead = LeadId::new(Uuid::from_u128(0xD1));
    let of_lead = Hint::new(Subject::Lead(lead), Cause::DynamicsPoll);
    for hint in [
        from_referral(REFERRAL, Cause::ReferralCreated),
        from_row(OPPORTUNITY),
        of_lead,
    ] {
        let mut world = World::new();
        // The link is looked up, then the record is read.
        world.mishaps.insert(1, Mishap::Refused);
        assert_eq!(world.deliver(&hint).outcome, Outcome::Due);
        let link = only_link(&world);
        let records = [
            link.referral.map(Subject::Referral),
            link.opportunity.map(Subject::Opportunity),
            link.lead.map(Subject::Lead),
        ];
        assert_eq!(records.into_iter().flatten().collect::<Vec<_>>(), [hint.subject]);
        assert_eq!(link.due.unwrap().why, "mishap");
    }
    // Microsoft's half is not the partner's own.
    let Story { mut world, hint, .. } = answered_by_microsoft();
    let before = only_link(&world);
    world.mishaps.insert(world.calls + 1, Mishap::Refused);
    assert_eq!(world.deliver(&hint).outcome, Outcome::Due);
    let link = only_link(&world);
    assert_eq!((link.referral, link.microsoft), (before.referral, before.microsoft));
    world.settle();
    assert_eq!(only_link(&world).shown.microsoft, Some(Stage::Active));
}

/// It wrote what nobody typed, our reference, and then found the rest done: that is recorded all the same.
#[test]
fn a_run_that_finds_nothing_left_to_do_records_what_it_wrote() {
    let (mut world, referral, opportunity) = waiting();
    edit_referral(&mut world, referral, |referral| {
        (referral.status, referral.substatus) = ("Active".to_owned(), "Accepted".to_owned());
    });
    let mut run = world.begin(&from_referral(referral, Cause::ReferralUpdated));
    step_until(&mut world, &mut run, |world| {
        world.referrals[&referral].reference.is_some()
    });
    edit_row(&mut world, opportunity, "statuscode", number(1));
    let records = world.audit.len();
    let report = world.finish(&mut run).unwrap();
    let [record] = &world.audit[records..] else {
        panic!("{:#?}", &world.audit[records..]);
    };
    assert_eq!((record.outcome, report.outcome), (Outcome::Written, Outcome::Written));
}

/// It wrote to the referral, had to start over for the row, and died: whoever finishes it tells of it, though a person has
/// typed over it meanwhile, and though the row takes nothing.
#[test]
fn what_a_dead_run_had_written_is_recorded_whatever_became_of_it() {
    for is_refused in [false, true] {
        let (mut world, opportunity) = accepted();
        let hint = from_referral(REFERRAL, Cause::ReferralUpdated);
        edit_row(&mut world, opportunity, "estimatedvalue", number(70_000));
        edit_referral(&mut world, REFERRAL, |referral| {
            referral.notes = Some("News".to_owned())
        });
        let mut dead = world.begin(&Hint::new(hint.subject, Cause::Compare));
        step_until(&mut world, &mut dead, |world| {
            world.referrals[&REFERRAL].value == "70000"
        });
        let announced = only_link(&world).version;
        world.rows.get_mut(&opportunity).unwrap().version += 1;
        step_until(&mut world, &mut dead, |world| only_link(world).version > announced);
        edit_referral(&mut world, REFERRAL, |referral| referral.value = "80000".to_owned());
        world.plugin = is_refused.then_some(opportunity);
        world.deliver(&hint);
        let told = world.audit.iter().flat_map(|entry| &entry.changes);
        let values: Vec<(Side, String)> = told
            .filter(|change| change.field == Field::Value)
            .map(|change| (change.side, change.new.to_string()))
            .collect();
        let expected = [(Side::PartnerCenter, "70000 EUR"), (Side::Dynamics, "80000 EUR")];
        let expected = expected.map(|(side, value)| (side, value.to_owned()));
        assert_eq!(values, expected[..if is_refused { 1 } else { 2 }]);
    }
}
