//! Creations of which nobody knows whether they happened: who goes on with them, when, and what is taken for the result.

use cosell::finding::Finding;
use cosell::link::{Half, Pending};

use super::*;

/// The half whose creation is in doubt.
fn in_doubt(world: &World) -> Option<Half> {
    match world.find(Subject::Opportunity(OPPORTUNITY))?.pending? {
        Pending::CreateReferral { half, .. } => Some(half),
        _ => None,
    }
}

fn halves(world: &World, microsofts: bool) -> usize {
    let halves = world.referrals.values();
    halves.filter(|half| half.microsofts == microsofts).count()
}

/// The call that creates this half never got there, and nobody told so.
fn never_arrived(half: Half) -> World {
    let microsofts = half == Half::Microsofts;
    let Story { mut world, hint, .. } = outbound(microsofts);
    world.echoes = false;
    dies_once(&mut world, &hint, |world| in_doubt(world) == Some(half));
    assert_eq!(halves(&world, microsofts), 0);
    let due = world.find(hint.subject).unwrap().due.unwrap();
    assert_eq!(due.at.duration_since(world.now), world::POLICY.settle);
    world
}

/// Sets the clock so that the next run begins when the deal is due.
fn go_to_due_date(world: &mut World) {
    let due = world.find(Subject::Opportunity(OPPORTUNITY)).unwrap().due.unwrap();
    // A run begins a second after it is called for.
    world.now = due.at - SignedDuration::from_secs(1);
}

fn look() -> Hint {
    Hint::new(Subject::Opportunity(OPPORTUNITY), Cause::Due)
}

fn findings(world: &World, code: Code) -> Vec<&Finding> {
    let findings = world.audit.iter().flat_map(|entry| &entry.findings);
    findings.filter(|finding| finding.code == code).collect()
}

#[test]
fn nobody_searches_before_lists_have_caught_up() {
    for half in [Half::Own, Half::Microsofts] {
        let mut world = never_arrived(half);
        go_to_due_date(&mut world);
        world.now -= SignedDuration::from_secs(1);
        let (reads, writes) = (world.vendor_reads, world.vendor_writes);
        assert_eq!(world.deliver(&look()).outcome, Outcome::Due);
        assert_eq!((world.vendor_reads, world.vendor_writes), (reads, writes), "{half:?}");
        go_to_due_date(&mut world);
        world.deliver(&look());
        assert_eq!(
            (world.vendor_reads, world.vendor_writes),
            (reads + 1, writes),
            "{half:?}"
        );
        let told = findings(&world, Code::InDoubt);
        assert!(told.iter().any(|told| told.text.starts_with("search 1")), "{told:#?}");
    }
}

/// Behind the last search the ledger allows whoever comes to post. Who does takes that back first.
#[test]
fn a_post_behind_the_last_search_is_announced_anew() {
    for half in [Half::Own, Half::Microsofts] {
        let mut world = never_arrived(half);
        let microsofts = half == Half::Microsofts;
        go_to_due_date(&mut world);
        world.deliver(&look());
        assert_eq!(halves(&world, microsofts), 0, "{half:?}");
        // The second search posts at once when it finds nothing.
        go_to_due_date(&mut world);
        dies_once(&mut world, &look(), |world| halves(world, microsofts) == 1);
        world.settle();
        assert_eq!(halves(&world, microsofts), 1, "{half:?}: posted twice");
        world.assert_in_step(1);
    }
}

/// A search of the engagement lists our own half as well.
#[test]
fn our_own_half_is_not_taken_for_microsofts() {
    let mut world = never_arrived(Half::Microsofts);
    let own = *world.referrals.keys().next().unwrap();
    world.deliver(&from_referral(own, Cause::ReferralUpdated));
    assert_eq!(in_doubt(&world), Some(Half::Microsofts));
    world.settle();
    assert_eq!((halves(&world, false), halves(&world, true)), (1, 1));
    world.assert_in_step(1);
}

/// By the time it may be posted again, the row lacks what it takes: that is said, and nothing is announced any more.
#[test]
fn what_cannot_be_posted_any_more_is_announced_no_more() {
    let mut world = never_arrived(Half::Own);
    edit_row(&mut world, OPPORTUNITY, "parentaccountid", Cell::Null);
    world.settle();
    let link = world.find(Subject::Opportunity(OPPORTUNITY)).unwrap();
    assert_eq!((&link.pending, &link.due, halves(&world, false)), (&None, &None, 0));
    assert_eq!(listed(&link), [Code::Missing]);
    let account = text(&format!("/accounts({})", Uuid::from_u128(1)));
    edit_row(&mut world, OPPORTUNITY, "parentaccountid", account);
    world.deliver(&from_row(OPPORTUNITY));
    world.settle();
    world.assert_in_step(1);
}

/// Somebody, or another connector, has shared the deal as well.
#[test]
fn the_oldest_of_several_is_taken_and_the_others_are_named() {
    for others in [0, 1, 2] {
        let Story { mut world, hint, .. } = outbound(false);
        world.echoes = false;
        dies_once(&mut world, &hint, |world| !world.referrals.is_empty());
        let first = world.referrals.values().next().unwrap().clone();
        let copies = (0..others).map(|other| ReferralId::new(Uuid::from_u128(0xA0 + other)));
        let copies: Vec<_> = copies.collect();
        for id in &copies {
            let at = first.at + SignedDuration::from_secs(1);
            let copy = ReferralRecord {
                id: *id,
                at,
                ..first.clone()
            };
            world.referrals.insert(*id, copy);
        }
        world.settle();
        let link = world.find(Subject::Opportunity(OPPORTUNITY)).unwrap();
        assert_eq!(link.referral, Some(first.id));
        let told = findings(&world, Code::DuplicateReferrals);
        assert_eq!(told.len(), usize::from(others > 0), "{told:#?}");
        for id in &copies {
            assert!(told.iter().all(|told| told.text.contains(&id.to_string())), "{told:#?}");
        }
    }
}

/// What was posted is what was announced; what the row says by then is an edit like any other.
#[test]
fn an_edit_between_announcement_and_post_is_neither_posted_nor_lost() {
    let mut world = never_arrived(Half::Own);
    edit_row(&mut world, OPPORTUNITY, "description", text("Typed meanwhile"));
    world.deliver(&from_row(OPPORTUNITY));
    go_to_due_date(&mut world);
    world.deliver(&look());
    go_to_due_date(&mut world);
    let is_linked = |world: &World| {
        let link = world.find(Subject::Opportunity(OPPORTUNITY)).unwrap();
        link.base.is_some() && link.pending.is_none()
    };
    dies_once(&mut world, &look(), is_linked);
    let referral = *world.referrals.keys().next().unwrap();
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Talked to Ada"));
    // Before anybody looks at the row again, somebody in the portal writes, too.
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Portal's".to_owned())
    });
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    world.settle();
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Typed meanwhile"));
    let lost: Vec<_> = losers(&world).iter().map(|change| change.old.to_string()).collect();
    assert_eq!(lost, ["Portal's"]);
    world.assert_in_step(1);
}

/// A row under our own id appears in the poll while, as far as the ledger says, somebody is about to make it.
#[test]
fn a_poll_leaves_a_row_to_its_maker_until_the_makers_time_is_over() {
    let Story {
        mut world, hint, other, ..
    } = inbound(("Active", "Accepted"));
    dies_once(&mut world, &hint, |world| !world.rows.is_empty());
    let due = world.find(hint.subject).unwrap().due.unwrap();
    // The poll waits for the maker first; its patience ends before the maker's time does.
    world.now = due.at - SignedDuration::from_secs(2);
    let reads = world.vendor_reads;
    assert_eq!(world.deliver(&other).outcome, Outcome::Due);
    assert_eq!(world.vendor_reads, reads);
    world.now = due.at - SignedDuration::from_secs(1);
    assert_eq!(world.deliver(&other).outcome, Outcome::Written);
    world.settle();
    world.assert_in_step(1);
}

/// Nobody is told less because the answer was lost: the doubt itself is on record, and when it will be looked into.
#[test]
fn a_post_that_nobody_answered_is_told_as_a_doubt() {
    let Story { mut world, hint, .. } = outbound(false);
    world.echoes = false;
    let mut run = world.begin(&hint);
    while in_doubt(&world).is_none() {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    world.mishaps.insert(world.calls, Mishap::LostAnswer);
    let report = world.finish(&mut run).unwrap();
    assert_eq!(world.struck, [Mishap::LostAnswer]);
    assert_eq!(report.outcome, Outcome::Due);
    assert_eq!(codes(&report.findings), [Code::InDoubt]);
    assert_eq!(findings(&world, Code::InDoubt).len(), 1);
    let due = world.find(hint.subject).unwrap().due.unwrap();
    assert_eq!(due.why, "in_doubt");
    assert_eq!(due.at.duration_since(world.now), world::POLICY.settle);
    world.settle();
    world.assert_in_step(1);
}
