//! The reconcile machine against a model of both vendors and the ledger: every place where a run can break.
//!
//! Knows: what has to be true once everything is quiet again. Refuses to know: which calls get there.

#![cfg(test)]

#[path = "machine/doubts.rs"]
mod doubts;
#[path = "machine/dry.rs"]
mod dry;
#[path = "machine/faults.rs"]
mod faults;
#[path = "machine/leads.rs"]
mod leads;
#[path = "machine/meetings.rs"]
mod meetings;
#[path = "machine/orders.rs"]
mod orders;
#[path = "machine/outrun.rs"]
mod outrun;
#[path = "machine/pauses.rs"]
mod pauses;
#[path = "machine/refusals.rs"]
mod refusals;
#[path = "machine/solutions.rs"]
mod solutions;
#[path = "machine/switches.rs"]
mod switches;

use std::collections::BTreeSet;
use std::sync::Arc;

use cosell::deal::{Field, Side, Term, Terms};
use cosell::finding::{Code, Finding};
use cosell::hint::{Cause, Hint, Subject};
use cosell::ids::{OpportunityId, ReferralId, SolutionId};
use cosell::link::{AuditEntry, Change, Link, Outcome, SyncStatus};
use cosell::mapping::{self, Mapping};
use cosell::opportunity::Cell;
use cosell::policy::Policy;
use cosell::reconcile::call::Call;
use cosell::stage::Stage;
use jiff::SignedDuration;
use uuid::Uuid;

use model::vendors::{ReferralRecord, number};
use model::world::{self, MISHAPS, Mishap, Touch, World, sellers_row};

const REFERRAL: ReferralId = ReferralId::new(Uuid::from_u128(0xA1));
const OPPORTUNITY: OpportunityId = OpportunityId::new(Uuid::from_u128(0xB1));

/// What the world looks like, and the hint that then arrives.
#[derive(Clone)]
struct Story {
    name: &'static str,
    world: World,
    hint: Hint,
    /// A hint about the other side that may arrive at any time in between.
    other: Hint,
}

/// Rules of a world, for as long as the tests run.
fn rules(policy: Policy) -> &'static Policy {
    Box::leak(Box::new(policy))
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

fn edit_row(world: &mut World, id: OpportunityId, column: &str, cell: Cell) {
    let row = world.rows.get_mut(&id).unwrap();
    row.cells.insert(column.to_owned(), cell);
    row.version += 1;
}

fn edit_referral(world: &mut World, id: ReferralId, edit: impl FnOnce(&mut ReferralRecord)) {
    let referral = world.referrals.get_mut(&id).unwrap();
    let before = referral.clone();
    edit(referral);
    referral.version += 1;
    world.earlier.insert(id, before);
}

fn from_referral(id: ReferralId, cause: Cause) -> Hint {
    Hint::new(Subject::Referral(id), cause)
}

fn from_row(id: OpportunityId) -> Hint {
    Hint::new(Subject::Opportunity(id), Cause::DynamicsPoll)
}

fn inbound(status: (&str, &str)) -> Story {
    let mut world = World::new();
    let mut referral = ReferralRecord::active(REFERRAL, world.now);
    (referral.status, referral.substatus) = (status.0.to_owned(), status.1.to_owned());
    world.referrals.insert(REFERRAL, referral);
    let opportunity = world::POLICY.tenant.opportunity_for(REFERRAL);
    Story {
        name: "inbound",
        world,
        hint: from_referral(REFERRAL, Cause::ReferralCreated),
        other: from_row(opportunity),
    }
}

fn outbound(help: bool) -> Story {
    let mut world = World::new();
    sellers_row(&mut world, OPPORTUNITY, help);
    Story {
        name: if help { "outbound co-sell" } else { "outbound" },
        world,
        hint: from_row(OPPORTUNITY),
        // The id that the server is going to choose.
        other: from_referral(ReferralId::new(Uuid::from_u128(0x1001)), Cause::ReferralCreated),
    }
}

/// A deal that is in step; its referral and its opportunity.
fn in_step(help: bool) -> (World, ReferralId, OpportunityId) {
    let Story { mut world, hint, .. } = outbound(help);
    world.deliver(&hint);
    world.settle();
    world.assert_in_step(1);
    let referral = world
        .find(Subject::Opportunity(OPPORTUNITY))
        .and_then(|link| link.referral)
        .unwrap();
    (world, referral, OPPORTUNITY)
}

/// An unanswered referral and its opportunity.
fn waiting() -> (World, ReferralId, OpportunityId) {
    let Story { mut world, hint, .. } = inbound(("New", "Pending"));
    world.deliver(&hint);
    world.settle();
    world.assert_in_step(1);
    let opportunity = world
        .find(Subject::Referral(REFERRAL))
        .and_then(|link| link.opportunity)
        .unwrap();
    (world, REFERRAL, opportunity)
}

/// A deal that came accepted, and its opportunity.
fn accepted() -> (World, OpportunityId) {
    let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
    world.deliver(&hint);
    world.settle();
    (world, world::POLICY.tenant.opportunity_for(REFERRAL))
}

/// Lost in the CRM and won in the portal, which is final: the row has to be opened first, to be closed anew.
fn lost_here_and_won_there() -> (World, ReferralId, OpportunityId) {
    let (mut world, referral, opportunity) = waiting();
    edit_row(&mut world, opportunity, "statecode", number(2));
    edit_row(&mut world, opportunity, "statuscode", number(4));
    edit_referral(&mut world, referral, |referral| {
        (referral.status, referral.substatus) = ("Closed".to_owned(), "Won".to_owned());
    });
    (world, referral, opportunity)
}

/// A run goes on until that is so.
fn step_until(world: &mut World, run: &mut world::Run, is_so: impl Fn(&World) -> bool) {
    while !is_so(world) {
        assert!(matches!(world.step(run), world::Went::On));
    }
}

fn edited_in_partner_center() -> Story {
    let (mut world, referral, opportunity) = in_step(true);
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Budget approved 😀".to_owned());
        referral.value = "99000.129".to_owned();
        referral.closing = Some("2026-10-31T00:00:00Z".to_owned());
        referral.currency = Some("USD".to_owned());
    });
    Story {
        name: "edited in Partner Center",
        world,
        hint: from_referral(referral, Cause::ReferralUpdated),
        other: from_row(opportunity),
    }
}

fn edited_in_dynamics() -> Story {
    let (mut world, referral, opportunity) = in_step(true);
    edit_row(&mut world, opportunity, "description", text("Second call"));
    edit_row(
        &mut world,
        opportunity,
        "estimatedvalue",
        Cell::Number("70000".parse().unwrap()),
    );
    edit_row(&mut world, opportunity, "cosell_solutions", text("SOL-2;SOL-3"));
    Story {
        name: "edited in Dynamics",
        world,
        hint: from_row(opportunity),
        other: from_referral(referral, Cause::ReferralUpdated),
    }
}

fn edited_on_both_sides() -> Story {
    let (mut world, referral, opportunity) = in_step(true);
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Theirs".to_owned());
        referral.closing = Some("2026-12-01T00:00:00Z".to_owned());
    });
    edit_row(&mut world, opportunity, "description", text("Ours"));
    edit_row(
        &mut world,
        opportunity,
        "estimatedvalue",
        Cell::Number("1".parse().unwrap()),
    );
    Story {
        name: "edited on both sides",
        world,
        hint: from_row(opportunity),
        other: from_referral(referral, Cause::ReferralUpdated),
    }
}

/// Rows are created and one is deactivated, one by one.
fn other_solutions_in_partner_center() -> Story {
    let (mut world, opportunity) = accepted();
    assert_eq!(world.rows[&opportunity].solutions.len(), 1);
    edit_referral(&mut world, REFERRAL, |referral| {
        let tag = |id: &str| format!(r#"{{"id":"{id}","name":"Named","type":"Name"}}"#);
        referral.solutions = vec![tag("SOL-7"), tag("SOL-8")];
    });
    Story {
        name: "other solutions in Partner Center",
        world,
        hint: from_referral(REFERRAL, Cause::ReferralUpdated),
        other: from_row(opportunity),
    }
}

fn another_solution_in_dynamics() -> Story {
    let (mut world, opportunity) = accepted();
    let cells = [("cosell_solutionid", "SOL-9"), ("cosell_name", "Nine")];
    let cells = cells.map(|(column, value)| (column.to_owned(), text(value)));
    let rows = &mut world.rows.get_mut(&opportunity).unwrap().solutions;
    rows.insert(Uuid::from_u128(0x5E11), (1, cells.into()));
    Story {
        name: "another solution in Dynamics",
        world,
        hint: from_row(opportunity),
        other: from_referral(REFERRAL, Cause::ReferralUpdated),
    }
}

fn accepted_in_dynamics() -> Story {
    let (mut world, referral, opportunity) = waiting();
    edit_row(&mut world, opportunity, "statuscode", number(1));
    edit_row(&mut world, opportunity, "description", text("We take it"));
    edit_row(&mut world, opportunity, "cosell_solutions", text("SOL-1\nSOL-9"));
    Story {
        name: "accepted in Dynamics",
        world,
        hint: from_row(opportunity),
        other: from_referral(referral, Cause::ReferralUpdated),
    }
}

fn won_in_partner_center() -> Story {
    let (mut world, referral, opportunity) = in_step(true);
    edit_referral(&mut world, referral, |referral| {
        (referral.status, referral.substatus) = ("Closed".to_owned(), "Won".to_owned());
        referral.value = "81000".to_owned();
    });
    Story {
        name: "won in Partner Center",
        world,
        hint: from_referral(referral, Cause::ReferralUpdated),
        other: from_row(opportunity),
    }
}

fn lost_in_dynamics() -> Story {
    let (mut world, referral, opportunity) = in_step(true);
    edit_row(&mut world, opportunity, "statecode", number(2));
    edit_row(&mut world, opportunity, "statuscode", number(5));
    edit_row(&mut world, opportunity, "cosell_closereason", text("Too dear"));
    edit_row(&mut world, opportunity, "description", text("Lost to a rival"));
    Story {
        name: "lost in Dynamics",
        world,
        hint: from_row(opportunity),
        other: from_referral(referral, Cause::ReferralUpdated),
    }
}

fn won_before_it_was_answered() -> Story {
    let (mut world, referral, opportunity) = waiting();
    edit_row(&mut world, opportunity, "statecode", number(1));
    edit_row(&mut world, opportunity, "statuscode", number(3));
    Story {
        name: "won before it was answered",
        world,
        hint: from_row(opportunity),
        other: from_referral(referral, Cause::ReferralUpdated),
    }
}

/// Both records exist, name one another, and nobody has linked them: another connector did, or the ledger was lost.
fn meeting_again() -> Story {
    let (mut world, referral, opportunity) = in_step(false);
    world.forget_links();
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Meanwhile".to_owned())
    });
    Story {
        name: "meeting again",
        world,
        hint: from_referral(referral, Cause::PartnerCenterPoll),
        other: from_row(opportunity),
    }
}

fn switched_on_again() -> Story {
    let (mut world, referral, opportunity) = in_step(true);
    edit_row(
        &mut world,
        opportunity,
        "cosell_syncwithpartnercenter",
        Cell::Flag(false),
    );
    world.deliver(&from_row(opportunity));
    world.settle();
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Meanwhile".to_owned())
    });
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    world.settle();
    assert_eq!(
        world.rows[&opportunity].shown().text("description"),
        Some("Talked to Ada")
    );
    edit_row(
        &mut world,
        opportunity,
        "cosell_syncwithpartnercenter",
        Cell::Flag(true),
    );
    Story {
        name: "switched on again",
        world,
        hint: from_row(opportunity),
        other: from_referral(referral, Cause::ReferralUpdated),
    }
}

fn answered_by_microsoft() -> Story {
    let (mut world, referral, _) = in_step(true);
    let half = world.referrals.values().find(|half| half.microsofts).unwrap().id;
    edit_referral(&mut world, half, |half| {
        (half.status, half.substatus) = ("Active".to_owned(), "Accepted".to_owned());
    });
    Story {
        name: "answered by Microsoft",
        world,
        hint: from_referral(half, Cause::RelatedReferralUpdated),
        other: from_referral(referral, Cause::ReferralUpdated),
    }
}

fn stories() -> Vec<Story> {
    let mut stories = vec![
        inbound(("New", "Pending")),
        inbound(("Active", "Accepted")),
        inbound(("Closed", "Won")),
        outbound(false),
        outbound(true),
        edited_in_partner_center(),
        other_solutions_in_partner_center(),
        another_solution_in_dynamics(),
        edited_in_dynamics(),
        edited_on_both_sides(),
        accepted_in_dynamics(),
        won_in_partner_center(),
        lost_in_dynamics(),
        won_before_it_was_answered(),
        meeting_again(),
        switched_on_again(),
        answered_by_microsoft(),
    ];
    stories.extend(leads::stories());
    stories
}

/// Lets a story end, with mishaps on the way; says how many calls it took.
fn play(story: &Story, mishaps: &[(u32, Mishap)], echoes: bool) -> Played {
    let told = format!("{} with {mishaps:?}, echoes {echoes}", story.name);
    let guard = Told(&told);
    let mut world = story.world.clone();
    world.calls = 0;
    world.writes.clear();
    world.mishaps = mishaps.iter().copied().collect();
    world.echoes = echoes;
    world.deliver(&story.hint);
    world.settle();
    let played = Played {
        calls: world.calls,
        writes: world.writes.clone(),
    };
    world.assert_one_deal_in_step();
    // Now that it is quiet, nothing that arrives late writes anything.
    let (writes, versions) = (
        world.vendor_writes,
        world.links().map(|link| link.version).collect::<Vec<_>>(),
    );
    for hint in [&story.hint, &story.other] {
        world.deliver(hint);
    }
    world.settle();
    assert_eq!(world.vendor_writes, writes, "a late hint writes");
    assert_eq!(
        world.links().map(|link| link.version).collect::<Vec<_>>(),
        versions,
        "a late hint writes to the ledger"
    );
    std::mem::forget(guard);
    played
}

/// What it took to end a story.
struct Played {
    calls: u32,
    /// Those calls that wrote.
    writes: Vec<u32>,
}

/// Prints what was played when it fails.
struct Told<'a>(&'a str);

impl Drop for Told<'_> {
    #[expect(clippy::print_stderr, reason = "it is all that a failing test has to say")]
    fn drop(&mut self) {
        eprintln!("while playing: {}", self.0);
    }
}

#[test]
fn every_story_ends_in_step() {
    for story in stories() {
        for echoes in [true, false] {
            play(&story, &[], echoes);
        }
    }
}

#[test]
fn a_mishap_at_any_call_changes_nothing_in_the_end() {
    for story in stories() {
        for mishap in MISHAPS {
            for at in 0..play(&story, &[], false).calls {
                play(&story, &[(at, mishap)], false);
            }
            for at in play(&story, &[], true).writes {
                play(&story, &[(at, mishap)], true);
            }
        }
    }
}

#[test]
fn a_second_mishap_while_recovering_changes_nothing_in_the_end() {
    for story in [inbound(("New", "Pending")), outbound(true), edited_on_both_sides()] {
        // A mishap with a read is one with the write before it: nothing has changed since. Two refusals, or two lost
        // answers, end like one with another number.
        let writes = play(&story, &[], false).writes;
        let pairs = MISHAPS
            .into_iter()
            .flat_map(|first| MISHAPS.map(|second| (first, second)));
        for (first, second) in pairs.filter(|(first, second)| [first, second].contains(&&Mishap::Crash)) {
            for at in &writes {
                let longer = play(&story, &[(*at, first)], false).writes;
                for again in longer.into_iter().filter(|again| again > at) {
                    play(&story, &[(*at, first), (again, second)], false);
                }
            }
        }
    }
}

#[test]
fn two_runs_at_once_end_as_one() {
    for story in stories() {
        let pairs = [
            (&story.hint, &story.other),
            (&story.other, &story.hint),
            (&story.hint, &story.hint),
        ];
        // Where records are made it must not even matter that the queue keeps hints about one record apart.
        let creates = story.world.links().next().is_none();
        for (one, two) in pairs.into_iter().take(if creates { 3 } else { 1 }) {
            // Where in the first run the second begins, and how far it gets before the first goes on.
            for at in 0.. {
                let mut ended = false;
                for far in 0.. {
                    let told = format!("{}: {two:?} after {at} calls of {one:?}, for {far} calls", story.name);
                    let guard = Told(&told);
                    let mut world = story.world.clone();
                    world.echoes = false;
                    let mut first = world.begin(one);
                    let mut second = world.begin(two);
                    ended = (0..at).any(|_| matches!(world.step(&mut first), world::Went::Done(_)));
                    let all = (0..far).any(|_| matches!(world.step(&mut second), world::Went::Done(_)));
                    world.finish(&mut first);
                    world.finish(&mut second);
                    world.settle();
                    // The hints themselves, should a run have left everything to them.
                    for hint in [&story.hint, &story.other] {
                        world.deliver(hint);
                    }
                    world.settle();
                    world.assert_one_deal_in_step();
                    std::mem::forget(guard);
                    if all {
                        break;
                    }
                }
                if ended {
                    break;
                }
            }
        }
    }
}

/// The hint that Microsoft's half leads to may overtake the run that is still creating it.
#[test]
fn microsofts_half_may_be_announced_while_it_is_created() {
    let story = outbound(true);
    for at in 0..30 {
        let mut world = story.world.clone();
        world.echoes = false;
        let mut run = world.begin(&story.hint);
        let _ = (0..at).any(|_| matches!(world.step(&mut run), world::Went::Done(_)));
        let half = world
            .referrals
            .values()
            .find(|half| half.microsofts)
            .map(|half| half.id);
        if let Some(id) = half {
            world.deliver(&from_referral(id, Cause::RelatedReferralCreated));
        }
        world.finish(&mut run);
        world.settle();
        world.assert_in_step(1);
        let asked = world.find(story.hint.subject).unwrap().asked.unwrap();
        assert!(asked.help.is_some() && asked.refused.is_none(), "{asked:?}");
    }
}

#[test]
fn where_microsoft_stands_is_shown_as_soon_as_it_is_announced() {
    let Story { mut world, hint, .. } = answered_by_microsoft();
    let stands = |world: &World| world.rows[&OPPORTUNITY].cells["cosell_audit"].clone();
    let before = (stands(&world), world.vendor_reads);
    assert_eq!(world.deliver(&hint).outcome, Outcome::Written);
    let link = world.find(Subject::Opportunity(OPPORTUNITY)).unwrap();
    assert_eq!(link.shown.microsoft, Some(Stage::Active));
    assert_ne!(stands(&world), before.0);
    // The half; the row is written on the version that is known of it.
    assert_eq!(world.vendor_reads, before.1 + 1);
}

#[test]
fn an_edit_at_any_moment_is_on_both_sides_or_recorded() {
    let stories = [
        inbound(("Active", "Accepted")),
        outbound(true),
        edited_in_partner_center(),
        other_solutions_in_partner_center(),
        another_solution_in_dynamics(),
        edited_in_dynamics(),
        edited_on_both_sides(),
        accepted_in_dynamics(),
        meeting_again(),
    ];
    for story in stories {
        for side in [Side::PartnerCenter, Side::Dynamics] {
            let mut at = 0;
            loop {
                let told = format!("{}: an edit in {side} after {at} calls", story.name);
                let guard = Told(&told);
                let mut world = story.world.clone();
                let mut run = world.begin(&story.hint);
                let ended = (0..at).any(|_| matches!(world.step(&mut run), world::Went::Done(_)));
                let own = world
                    .referrals
                    .values()
                    .find(|referral| !referral.microsofts)
                    .map(|referral| referral.id);
                let row = world.rows.keys().next().copied();
                let hint = match (side, own, row) {
                    (Side::PartnerCenter, Some(id), _) => {
                        edit_referral(&mut world, id, |referral| referral.notes = Some("Typed".to_owned()));
                        Some(from_referral(id, Cause::ReferralUpdated))
                    }
                    (Side::Dynamics, _, Some(id)) => {
                        edit_row(&mut world, id, "description", text("Typed"));
                        Some(from_row(id))
                    }
                    _ => None,
                };
                world.finish(&mut run);
                if let Some(hint) = hint {
                    world.deliver(&hint);
                    world.settle();
                    world.assert_one_deal_in_step();
                    let typed = Term::Text("Typed".to_owned());
                    let changes = world.audit.iter().flat_map(|entry| &entry.changes);
                    let recorded = changes.into_iter().any(|change| change.lost && change.old == typed);
                    let kept = world
                        .links()
                        .any(|link| link.base.unwrap().referral.get(Field::Notes) == &typed);
                    assert!(kept || recorded, "what was typed is gone");
                    assert!(kept || side == Side::PartnerCenter, "Dynamics owns the notes");
                }
                std::mem::forget(guard);
                if ended {
                    break;
                }
                at += 1;
            }
        }
    }
}

/// A write that landed counts as agreed although its run died: who edits on from there, or takes the edit back, is in
/// conflict with nobody.
#[test]
fn an_edit_behind_a_landed_write_is_no_conflict() {
    for (story, later) in [edited_in_partner_center(), edited_in_dynamics()]
        .into_iter()
        .flat_map(|story| [(story.clone(), "Later"), (story, "Talked to Ada")])
    {
        for at in play(&story, &[], false).writes {
            let mut world = story.world.clone();
            world.echoes = false;
            world.calls = 0;
            world.mishaps.insert(at, Mishap::Crash);
            let mut run = world.begin(&story.hint);
            assert!(world.finish(&mut run).is_none());
            match story.hint.subject {
                Subject::Referral(id) => {
                    edit_referral(&mut world, id, |referral| referral.notes = Some(later.to_owned()));
                }
                Subject::Opportunity(id) => edit_row(&mut world, id, "description", text(later)),
                Subject::Lead(id) => panic!("this world has no lead {id}"),
            }
            world.deliver(&story.hint);
            world.settle();
            world.assert_in_step(1);
            let mut changes = world.audit.iter().flat_map(|entry| &entry.changes);
            assert_eq!(
                changes.find(|change| change.lost),
                None,
                "{} dies after call {at}",
                story.name
            );
            let later = Term::text(Some(later));
            assert!(
                world
                    .links()
                    .all(|link| link.base.unwrap().referral.get(Field::Notes) == &later)
            );
        }
    }
}

#[test]
fn a_conflict_keeps_the_owners_value_and_records_the_loser() {
    let story = edited_on_both_sides();
    let mut world = story.world.clone();
    let report = world.deliver(&story.hint);
    assert_eq!(report.outcome, Outcome::Written);
    world.settle();
    world.assert_in_step(1);
    let link = world.find(story.hint.subject).unwrap();
    let referral = &world.referrals[&link.referral.unwrap()];
    assert_eq!(referral.notes.as_deref(), Some("Ours"));
    let lost: Vec<_> = world
        .audit
        .iter()
        .flat_map(|entry| &entry.changes)
        .filter(|change| change.lost)
        .collect();
    let [loser] = lost.as_slice() else { panic!("{lost:#?}") };
    assert_eq!((loser.field, loser.side), (Field::Notes, Side::PartnerCenter));
    assert_eq!(loser.old, Term::Text("Theirs".to_owned()));
    let conflicts = world
        .audit
        .iter()
        .flat_map(|entry| &entry.findings)
        .filter(|finding| finding.code == Code::Conflict);
    assert_eq!(conflicts.count(), 1);
}

#[test]
fn the_loser_of_a_conflict_is_recorded_whatever_goes_wrong() {
    let story = edited_on_both_sides();
    let calls = play(&story, &[], false).calls;
    for mishap in MISHAPS {
        for at in 0..calls {
            let mut world = story.world.clone();
            world.calls = 0;
            world.mishaps.insert(at, mishap);
            world.deliver(&story.hint);
            world.settle();
            let loser = Term::Text("Theirs".to_owned());
            let recorded = world
                .audit
                .iter()
                .flat_map(|entry| &entry.changes)
                .any(|change| change.lost && change.old == loser);
            assert!(recorded, "{mishap:?} at {at}: the loser is nowhere");
        }
    }
}

#[test]
fn a_permanent_refusal_parks_only_its_own_deal() {
    let (mut world, referral, opportunity) = in_step(true);
    let second = OpportunityId::new(Uuid::from_u128(0xB2));
    sellers_row(&mut world, second, true);
    world.deliver(&from_row(second));
    world.settle();
    world.assert_in_step(2);
    let healthy = world
        .find(Subject::Opportunity(second))
        .and_then(|link| link.referral)
        .unwrap();
    world.plugin = Some(opportunity);
    for id in [referral, healthy] {
        edit_referral(&mut world, id, |referral| referral.notes = Some("News".to_owned()));
        world.deliver(&from_referral(id, Cause::ReferralUpdated));
    }
    world.settle();
    let parked = world.find(Subject::Referral(referral)).unwrap();
    // It is no move of the deal that was refused.
    assert_eq!(about(&parked.attention), [(Code::Refused, None)]);
    assert_eq!(parked.due, None);
    assert!(parked.attention_since.is_some());
    assert_eq!(world.rows[&second].shown().text("description"), Some("News"));
    assert!(world.find(Subject::Referral(healthy)).unwrap().attention.is_empty());
    // Once the plug-in is mended, one look is enough.
    world.plugin = None;
    world.deliver(&from_referral(referral, Cause::Operator));
    world.settle();
    world.assert_in_step(2);
    assert!(world.find(Subject::Referral(referral)).unwrap().attention.is_empty());
}

/// The call that creates a referral is answered by nobody, and no list shows one: two searches, each as far from what was
/// before it as lists may lag, and then it is posted again.
#[test]
fn a_referral_that_nobody_created_is_posted_again_after_two_searches() {
    let Story { world, hint, .. } = outbound(false);
    let mut probe = world.clone();
    let mut run = probe.begin(&hint);
    let posts_at = loop {
        let at = probe.calls;
        assert!(matches!(probe.step(&mut run), world::Went::On));
        if !probe.referrals.is_empty() {
            break at;
        }
    };
    let mut world = world;
    world.mishaps = [(posts_at, Mishap::LostAnswer)].into();
    let began = world.now;
    world.deliver(&hint);
    // It never got there.
    world.referrals.clear();
    world.hints.clear();
    world.settle();
    world.assert_in_step(1);
    let took = world.now.duration_since(began);
    let settles = world::POLICY.settle;
    assert!(
        took >= settles * 2 && took < settles * 2 + SignedDuration::from_mins(2),
        "{took:#}"
    );
    let searches = world.audit.iter().flat_map(|entry| &entry.findings);
    let searches = searches.filter(|finding| finding.code == Code::InDoubt && finding.text.starts_with("search"));
    assert_eq!(searches.count(), 2);
}

#[test]
fn a_customer_who_is_known_is_not_created_again() {
    let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
    let (account, contact) = (Uuid::from_u128(0xC1), Uuid::from_u128(0xC2));
    for (key, column, value) in [
        (("accounts", account), "name", "Fabrikam"),
        (("contacts", contact), "emailaddress1", "ada@fabrikam.example"),
    ] {
        world.people.insert(key, [(column.to_owned(), text(value))].into());
    }
    world.deliver(&hint);
    world.settle();
    world.assert_in_step(1);
    assert_eq!(world.people.len(), 2, "{:?}", world.people);
    let row = &world.rows[&world::POLICY.tenant.opportunity_for(REFERRAL)];
    assert_eq!(row.cells["parentaccountid"], text(&format!("/accounts({account})")));
    assert_eq!(row.cells["parentcontactid"], text(&format!("/contacts({contact})")));
}

/// Where every new row wants help, by the mapping's constants, that is no wish of a seller's.
#[test]
fn only_a_seller_is_told_that_microsoft_sent_the_deal_itself() {
    let wants = "[constants]\n\"@howcanmicrosofthelp\" = 727000000";
    let mapping = Mapping::parse(&mapping::DEFAULT.replacen("[constants]", wants, 1)).unwrap();
    let policy = Policy {
        mapping: Arc::new(mapping),
        ..world::POLICY.clone()
    };
    let policies = [None, Some(rules(policy))];
    for (policy, has_half) in policies
        .into_iter()
        .flat_map(|policy| [(policy, false), (policy, true)])
    {
        let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
        world.policy = policy;
        edit_referral(&mut world, REFERRAL, |referral| referral.inviter = Some("msft"));
        if has_half {
            let id = ReferralId::new(Uuid::from_u128(0xA2));
            let microsofts = true;
            let own = world.referrals[&REFERRAL].clone();
            world.referrals.insert(id, ReferralRecord { id, microsofts, ..own });
            world.hints.push_back(from_referral(id, Cause::RelatedReferralCreated));
        }
        world.deliver(&hint);
        world.settle();
        world.assert_in_step(1);
        let opportunity = world::POLICY.tenant.opportunity_for(REFERRAL);
        let look = from_row(opportunity);
        let told = |world: &World| {
            let findings = world.audit.iter().flat_map(|entry| &entry.findings);
            let told = findings.filter(|finding| finding.text.starts_with("Microsoft sent this deal itself"));
            let row = world.rows[&opportunity].shown();
            let trail = row.text("cosell_audit").unwrap().to_owned();
            (told.count(), trail.matches("Microsoft sent this deal itself").count())
        };
        assert_eq!(told(&world), (0, 0));
        edit_row(
            &mut world,
            opportunity,
            "cosell_howcanmicrosofthelp",
            number(727_000_003),
        );
        for _ in 0..2 {
            let writes = world.vendor_writes;
            for hint in [&look, &hint, &from_referral(REFERRAL, Cause::Operator)] {
                world.deliver(hint);
                world.settle();
            }
            assert_eq!(told(&world), (1, 1));
            world.assert_in_step(1);
            assert!(world.vendor_writes <= writes + 1);
        }
        let referrals = world.referrals.len();
        assert_eq!(referrals, if has_half { 2 } else { 1 }, "nobody was asked");
    }
}

/// What was agreed before Microsoft was asked stays agreed: a name that Partner Center does not take comes not back from it.
#[test]
fn what_was_agreed_to_differ_still_differs_once_microsoft_is_asked() {
    let (mut world, referral, opportunity) = in_step(false);
    edit_row(&mut world, opportunity, "name", text("Renamed"));
    world.deliver(&from_row(opportunity));
    world.settle();
    let name = |world: &World| world.rows[&opportunity].shown().text("name").map(ToOwned::to_owned);
    let renamed = name(&world);
    let help = number(727_000_000);
    edit_row(&mut world, opportunity, "cosell_howcanmicrosofthelp", help);
    for hint in [from_row(opportunity), from_referral(referral, Cause::Compare)] {
        world.deliver(&hint);
        world.settle();
    }
    assert_eq!(world.referrals.values().filter(|half| half.microsofts).count(), 1);
    assert_eq!(name(&world), renamed);
}

#[test]
fn what_there_is_to_say_of_help_waits_for_the_end_of_a_pause() {
    let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
    edit_referral(&mut world, REFERRAL, |referral| referral.inviter = Some("msft"));
    world.deliver(&hint);
    world.settle();
    let opportunity = world::POLICY.tenant.opportunity_for(REFERRAL);
    edit_row(
        &mut world,
        opportunity,
        "cosell_howcanmicrosofthelp",
        number(727_000_003),
    );
    world.paused = Some(Side::Dynamics);
    for _ in 0..3 {
        world.deliver(&from_row(opportunity));
    }
    world.look_at_held();
    let trail = |world: &World| {
        world.rows[&opportunity]
            .shown()
            .text("cosell_audit")
            .unwrap()
            .to_owned()
    };
    assert!(!trail(&world).contains("Microsoft sent this deal itself"));
    world.paused = None;
    world.look_at_held();
    world.settle();
    assert_eq!(trail(&world).matches("Microsoft sent this deal itself").count(), 1);
    world.assert_in_step(1);
}

#[test]
fn a_refused_field_keeps_no_other_back() {
    let (mut world, referral, opportunity) = in_step(true);
    world.refused_path = Some("/details/notes");
    edit_row(&mut world, opportunity, "description", text("Not taken"));
    edit_row(&mut world, opportunity, "estimatedclosedate", text("2026-11-11"));
    world.deliver(&from_row(opportunity));
    world.settle();
    let link = world.find(Subject::Opportunity(opportunity)).unwrap();
    assert_eq!(
        world.referrals[&referral].closing.as_deref(),
        Some("2026-11-11T00:00:00Z")
    );
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Talked to Ada"));
    assert_eq!(about(&link.attention), [(Code::Refused, Some(Field::Notes))]);
    world.refused_path = None;
    world.deliver(&from_row(opportunity));
    world.settle();
    world.assert_in_step(1);
    assert!(
        world
            .find(Subject::Opportunity(opportunity))
            .unwrap()
            .attention
            .is_empty()
    );
}

#[test]
fn people_who_are_refused_are_not_told_to_have_joined() {
    let of_us = ("owninguser", "systemusers", "internalemailaddress", "mobilephone");
    let of_the_customer = ("parentcontactid", "contacts", "emailaddress1", "telephone1");
    for (field, path, (column, set, email, phone)) in [
        (Field::Team, "/team/-", of_us),
        (Field::Contacts, "/customerProfile/team/-", of_the_customer),
    ] {
        let (mut world, referral, opportunity) = in_step(true);
        let id = Uuid::from_u128(4);
        let person = [
            ("firstname", "Lu"),
            ("lastname", "D"),
            (email, "lu@partner.example"),
            (phone, "3"),
        ];
        let cells = person.map(|(column, value)| (column.to_owned(), text(value)));
        world.people.insert((set, id), cells.into());
        world.refused_path = Some(path);
        world.echoes = false;
        let audited = world.audit.len();
        edit_row(&mut world, opportunity, column, text(&format!("/{set}({id})")));
        edit_row(&mut world, opportunity, "description", text("Lu takes over"));
        world.deliver(&from_row(opportunity));
        let shown = world.referrals[&referral].shown();
        assert_eq!(shown.details.notes.as_deref(), Some("Lu takes over"));
        let link = only_link(&world);
        assert_eq!(
            link.base.as_ref().map(|base| &base.referral),
            Some(&Terms::from_referral(&shown))
        );
        let told = about_all(&world.audit[audited..]);
        assert_eq!(told, [(Code::Carried, Some(Field::Notes)), (Code::Frozen, Some(field))]);
        let mut lines = link.journal.iter();
        assert!(!lines.any(|line| line.contains("lu@partner.example")));
        // The two agree to differ.
        world.deliver(&from_referral(referral, Cause::Compare));
        world.settle();
        assert_eq!(only_link(&world).version, link.version);
    }
}

#[test]
fn what_travels_with_an_acceptance_waits_for_it() {
    for won in [false, true] {
        let (mut world, referral, opportunity) = waiting();
        world.refused_path = Some("/status");
        let (state, status) = if won { (1, 3) } else { (0, 1) };
        edit_row(&mut world, opportunity, "statecode", number(state));
        edit_row(&mut world, opportunity, "statuscode", number(status));
        edit_row(&mut world, opportunity, "description", Cell::Null);
        if !won {
            edit_row(&mut world, opportunity, "estimatedclosedate", text("2026-11-11"));
        }
        let (before, audited) = (world.referrals[&referral].clone(), world.audit.len());
        world.deliver(&from_row(opportunity));
        world.settle();
        // A referral that is not answered takes the answer only, and was not bothered with anything else.
        assert_eq!(world.refusals, Vec::<String>::new());
        assert_eq!(world.referrals[&referral], before);
        let link = world.find(Subject::Opportunity(opportunity)).unwrap();
        assert_eq!(about(&link.attention), [(Code::Refused, Some(Field::Stage))]);
        assert!(!link.referenced);
        let entries = &world.audit[audited..];
        let told = entries.iter().flat_map(|entry| &entry.findings);
        let is_carried = |code| [Code::Carried, Code::Conflict].contains(&code);
        assert!(told.clone().all(|finding| !is_carried(finding.code)), "{entries:#?}");
        let waits: &[Field] = if won {
            &[Field::Notes]
        } else {
            &[Field::Notes, Field::CloseDate]
        };
        for field in waits {
            let mut told = told.clone();
            assert!(
                told.any(|finding| (finding.code, finding.field) == (Code::Deferred, Some(*field))),
                "{field}"
            );
        }
        assert!(entries.iter().all(|entry| entry.changes.is_empty()), "{entries:#?}");
        world.refused_path = None;
        world.deliver(&from_row(opportunity));
        world.settle();
        world.assert_in_step(1);
        assert_eq!(world.referrals[&referral].notes.as_deref(), Some(""));
    }
}

/// What has to wait for the acceptance is looked after at a date of its own; where nothing waits there is none.
#[test]
fn only_what_waits_for_an_acceptance_gives_it_a_date() {
    let (mut world, _, opportunity) = waiting();
    edit_row(&mut world, opportunity, "statuscode", number(1));
    let plain = (world, opportunity);
    let Story { world, .. } = accepted_in_dynamics();
    for ((mut world, opportunity), waits) in [(plain, false), ((world, opportunity), true)] {
        world.echoes = false;
        assert_eq!(world.deliver(&from_row(opportunity)).outcome, Outcome::Written);
        let due = world.find(Subject::Opportunity(opportunity)).unwrap().due;
        assert_eq!(due.map(|due| due.why), waits.then(|| "follow_up".to_owned()));
        world.settle();
        world.assert_in_step(1);
    }
}

#[test]
fn a_deal_that_lacks_something_is_shared_once_it_is_filled_in() {
    let Story { mut world, hint, .. } = outbound(true);
    edit_row(&mut world, OPPORTUNITY, "cosell_solutions", Cell::Null);
    let report = world.deliver(&hint);
    assert_eq!(report.outcome, Outcome::Written);
    world.settle();
    assert!(world.referrals.is_empty());
    let writes = world.vendor_writes;
    world.deliver(&hint);
    world.settle();
    assert_eq!(world.vendor_writes, writes, "said once");
    edit_row(&mut world, OPPORTUNITY, "cosell_solutions", text("SOL-1"));
    world.now += SignedDuration::from_secs(3600);
    world.deliver(&hint);
    world.settle();
    world.assert_in_step(1);
}

/// Won in the portal, while a plug-in of the CRM refuses each closing.
fn refused_closing() -> (World, OpportunityId) {
    let (mut world, opportunity) = accepted();
    edit_referral(&mut world, REFERRAL, |referral| {
        (referral.status, referral.substatus) = ("Closed".to_owned(), "Won".to_owned());
    });
    world.refused = Some(|call| matches!(call, Call::CloseOpportunity { .. }));
    world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    // Its own writes are announced to it; then it has to rest.
    for _ in 0..3 {
        world.deliver(&from_row(opportunity));
    }
    let (before, audited) = (world.vendor_writes, world.audit.len());
    for _ in 0..3 {
        world.deliver(&from_row(opportunity));
        world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    }
    assert_eq!((world.vendor_writes, world.audit.len()), (before, audited));
    let link = world.find(Subject::Referral(REFERRAL)).unwrap();
    assert_eq!(link.pending, None);
    assert_eq!(listed(&link), [Code::Refused]);
    assert_eq!(link.shown.status, Some(SyncStatus::Error));
    assert_eq!(world.rows[&opportunity].cells["statecode"], number(0));
    world.refused = None;
    (world, opportunity)
}

fn is_won(world: &World, opportunity: OpportunityId) {
    assert_eq!(world.rows[&opportunity].cells["statecode"], number(1));
    let link = world.find(Subject::Referral(REFERRAL)).unwrap();
    assert_eq!(link.attention, []);
    world.assert_in_step(1);
}

#[test]
fn a_closing_that_is_refused_is_tried_again_once_the_row_is_changed() {
    let (mut world, opportunity) = refused_closing();
    // A column of the plug-in's, of which the mapping knows nothing.
    edit_row(&mut world, opportunity, "partner_lossreport", text("Complete now"));
    world.deliver(&from_row(opportunity));
    world.settle();
    is_won(&world, opportunity);
}

#[test]
fn a_closing_that_is_refused_is_tried_again_by_the_daily_comparison() {
    let (mut world, opportunity) = refused_closing();
    world.deliver(&Hint::new(Subject::Referral(REFERRAL), Cause::Compare));
    world.settle();
    is_won(&world, opportunity);
}

/// The ids of an opportunity's solution rows that count.
fn ids_of_rows(world: &World, opportunity: OpportunityId) -> BTreeSet<String> {
    let rows = world::POLICY.mapping.solution_rows(&world.rows[&opportunity].shown());
    rows.into_iter()
        .filter(|row| row.is_active)
        .filter_map(|row| row.solution)
        .map(|id| id.0)
        .collect()
}

fn tags(ids: &[&str]) -> Vec<String> {
    let tag = |id: &&str| format!(r#"{{"id":"{id}","name":"Named","type":"Name"}}"#);
    ids.iter().map(tag).collect()
}

fn set_of(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// How often something was written to the opportunity's own row.
fn version(world: &World, opportunity: OpportunityId) -> String {
    world.rows[&opportunity].etag().0
}

fn told(world: &World) -> Vec<Code> {
    let link = world.find(Subject::Referral(REFERRAL)).unwrap();
    assert_eq!(link.pending, None);
    listed(&link)
}

/// What a person is asked to settle.
fn listed(link: &Link) -> Vec<Code> {
    codes(&link.attention)
}

fn codes(findings: &[Finding]) -> Vec<Code> {
    findings.iter().map(|finding| finding.code).collect()
}

/// What is said, and of which fields.
fn about(findings: &[Finding]) -> Vec<(Code, Option<Field>)> {
    findings.iter().map(|finding| (finding.code, finding.field)).collect()
}

/// What some records of the audit say, and of which fields.
fn about_all(entries: &[AuditEntry]) -> Vec<(Code, Option<Field>)> {
    entries.iter().flat_map(|entry| about(&entry.findings)).collect()
}

/// Everything that was replaced without having been seen.
fn losers(world: &World) -> Vec<Change> {
    let changes = world.audit.iter().flat_map(|entry| &entry.changes);
    changes.filter(|change| change.lost).cloned().collect()
}

/// Dynamics holds two digits, so the two agree to differ. Somebody rounds the value in the portal, as Dynamics showed it; it
/// shows another one by then.
#[test]
fn what_is_typed_as_the_other_side_showed_it_competes_with_what_it_shows_by_now() {
    let (mut world, referral, opportunity) = in_step(true);
    let say = |world: &mut World, value: &str| edit_referral(world, referral, |record| record.value = value.to_owned());
    let hint = from_referral(referral, Cause::ReferralUpdated);
    say(&mut world, "99000.129");
    world.deliver(&hint);
    world.settle();
    say(&mut world, "99000.13");
    edit_row(&mut world, opportunity, "estimatedvalue", number(500));
    world.deliver(&hint);
    world.deliver(&from_row(opportunity));
    world.settle();
    world.assert_in_step(1);
    let lost: Vec<_> = losers(&world)
        .iter()
        .map(|change| (change.field, change.side))
        .collect();
    assert_eq!(lost, [(Field::Value, Side::PartnerCenter)]);
}

fn only_link(world: &World) -> Link {
    let links: Vec<Link> = world.links().collect();
    let [link] = links.as_slice() else { panic!("{links:#?}") };
    link.clone()
}

/// A look by everybody who might look: nothing is written to the opportunity by it.
fn assert_rests(world: &mut World, opportunity: OpportunityId) {
    let before = version(world, opportunity);
    for _ in 0..3 {
        world.deliver(&from_row(opportunity));
        world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
        world.settle();
    }
    assert_eq!(version(world, opportunity), before, "one write per look");
}

#[test]
fn a_row_that_is_refused_for_good_keeps_the_others() {
    let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
    edit_referral(&mut world, REFERRAL, |referral| {
        referral.solutions = tags(&["SOL-7", "SOL-8", "SOL-9"]);
    });
    // While the opportunity is created, and when one is added later.
    world.refused_solution = Some("SOL-8".to_owned());
    world.deliver(&hint);
    world.settle();
    let opportunity = world::POLICY.tenant.opportunity_for(REFERRAL);
    assert_eq!(told(&world), [Code::Refused]);
    assert_eq!(ids_of_rows(&world, opportunity), set_of(&["SOL-7", "SOL-9"]));
    let status = |world: &World| world.rows[&opportunity].cells["cosell_syncstatus"].clone();
    let in_error = world.find(Subject::Referral(REFERRAL)).unwrap().shown.status;
    assert_eq!(in_error, Some(SyncStatus::Error));
    let shown = status(&world);
    assert_rests(&mut world, opportunity);
    assert_eq!(
        world.referrals[&REFERRAL].solutions.len(),
        3,
        "nothing is taken off in Partner Center"
    );
    edit_referral(&mut world, REFERRAL, |referral| {
        referral.notes = Some("Goes on".to_owned())
    });
    world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    world.settle();
    assert_eq!(world.rows[&opportunity].cells["description"], text("Goes on"));
    assert_eq!(world.referrals[&REFERRAL].solutions.len(), 3);
    world.refused_solution = None;
    world.deliver(&Hint::new(Subject::Referral(REFERRAL), Cause::Operator));
    world.settle();
    assert_eq!(world.rows[&opportunity].solutions.len(), 3);
    assert_ne!(status(&world), shown);
    world.assert_in_step(1);
}

#[test]
fn a_refused_row_keeps_no_removal_and_no_closing_back() {
    let (mut world, opportunity) = accepted();
    assert_eq!(ids_of_rows(&world, opportunity), set_of(&["SOL-1"]));
    edit_referral(&mut world, REFERRAL, |referral| {
        referral.solutions = tags(&["SOL-7", "SOL-8", "SOL-9"]);
        (referral.status, referral.substatus) = ("Closed".to_owned(), "Won".to_owned());
    });
    world.refused_solution = Some("SOL-8".to_owned());
    world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    world.settle();
    assert_eq!(ids_of_rows(&world, opportunity), set_of(&["SOL-7", "SOL-9"]));
    assert_eq!(world.rows[&opportunity].cells["statecode"], number(1), "won");
    assert_eq!(told(&world), [Code::Refused]);
    assert_rests(&mut world, opportunity);
    // Each of the rows that were written is told, the refused one is not.
    let changes = world.audit.iter().flat_map(|entry| &entry.changes);
    let of_solutions = changes.filter(|change| change.field == Field::Solutions);
    let told: BTreeSet<String> = of_solutions.map(|change| change.new.to_string()).collect();
    assert_eq!(told, set_of(&["SOL-7, SOL-9"]));
}

/// The only row that was to be written is refused: nothing was carried over, and nothing is said to have been.
#[test]
fn a_row_that_is_refused_alone_is_told_as_refused_and_as_nothing_else() {
    let (mut world, opportunity) = accepted();
    edit_referral(&mut world, REFERRAL, |referral| {
        referral.solutions = tags(&["SOL-1", "SOL-8"])
    });
    world.refused_solution = Some("SOL-8".to_owned());
    let audited = world.audit.len();
    world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    world.settle();
    assert_eq!(ids_of_rows(&world, opportunity), set_of(&["SOL-1"]));
    assert_eq!(told(&world), [Code::Refused]);
    let entries = &world.audit[audited..];
    let said = about_all(entries);
    assert!(
        !said.is_empty() && said.iter().all(|said| *said == (Code::Refused, Some(Field::Solutions))),
        "{said:?}"
    );
    assert!(entries.iter().all(|entry| entry.changes.is_empty()), "{entries:#?}");
}

/// A row that names no solution counts for nothing; its seller is asked for the id until there is one.
#[test]
fn a_row_without_a_solution_is_asked_about() {
    let Story { mut world, hint, .. } = another_solution_in_dynamics();
    let opportunity = *world.rows.keys().next().unwrap();
    let key = Uuid::from_u128(0x5E11);
    let id = |world: &mut World, id: Cell| {
        let rows = &mut world.rows.get_mut(&opportunity).unwrap().solutions;
        let (version, cells) = rows.get_mut(&key).unwrap();
        *version += 1;
        cells.insert("cosell_solutionid".to_owned(), id);
    };
    id(&mut world, Cell::Null);
    world.deliver(&hint);
    world.settle();
    let link = only_link(&world);
    assert_eq!(about(&link.attention), [(Code::Missing, None)]);
    assert!(link.attention[0].text.contains("Nine"), "{:#?}", link.attention);
    assert_eq!(world.referrals[&REFERRAL].solutions.len(), 1);
    id(&mut world, text("SOL-9"));
    world.deliver(&hint);
    world.settle();
    assert_eq!(only_link(&world).attention, []);
    assert_eq!(world.referrals[&REFERRAL].solutions.len(), 2);
    world.assert_in_step(1);
}

/// A row that somebody deletes leads to its deal, whoever has made it.
#[test]
fn rows_that_a_seller_has_made_are_remembered() {
    let Story { mut world, hint, .. } = another_solution_in_dynamics();
    world.deliver(&hint);
    world.settle();
    let link = world.find(hint.subject).unwrap();
    let rows = world.rows.values().next().unwrap().solutions.keys();
    assert_eq!(link.solution_rows.iter().collect::<BTreeSet<_>>(), rows.collect());
    assert_eq!(link.solution_rows.len(), 2);
}

#[test]
fn a_row_beside_an_old_memo_joins_it() {
    let (mut world, referral, opportunity) = in_step(false);
    let in_portal = |world: &World| {
        let terms = Terms::from_referral(&world.referrals[&referral].shown());
        terms.get(Field::Solutions).to_string()
    };
    let add_row = |world: &mut World, id: &str| {
        let cells = [("cosell_solutionid", id), ("cosell_name", "Nine")];
        let cells = cells.map(|(column, value)| (column.to_owned(), text(value)));
        let rows = &mut world.rows.get_mut(&opportunity).unwrap().solutions;
        rows.insert(Uuid::from_u128(0x5E11), (1, cells.into()));
        world.deliver(&from_row(opportunity));
        world.settle();
    };
    add_row(&mut world, "SOL-9");
    assert_eq!(
        in_portal(&world),
        "SOL-1, SOL-2, SOL-9",
        "the memo counts beside the first row"
    );
    world.rows.get_mut(&opportunity).unwrap().solutions.clear();
    world.deliver(&from_row(opportunity));
    world.settle();
    assert_eq!(in_portal(&world), "SOL-1, SOL-2");
    // The first write of ours makes rows of all of them, and the memo is no more.
    edit_referral(&mut world, referral, |referral| {
        referral.solutions = tags(&["SOL-2", "SOL-7"]);
    });
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    world.settle();
    assert_eq!(ids_of_rows(&world, opportunity), set_of(&["SOL-2", "SOL-7"]));
    assert_eq!(world.rows[&opportunity].shown().text("cosell_solutions"), None);
    world.assert_in_step(1);
}

#[test]
fn keys_that_are_taken_elsewhere_keep_no_row_from_being_made() {
    let (mut world, opportunity) = accepted();
    let ids = ["SOL-1", "SOL-7", "SOL-8", "SOL-9"];
    for id in &ids[1..] {
        for turn in 0..3 {
            let key = opportunity.solution_row_for(&SolutionId((*id).to_owned()), turn);
            world.rows_elsewhere.insert(key);
        }
    }
    edit_referral(&mut world, REFERRAL, |referral| referral.solutions = tags(&ids));
    let report = world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    assert_eq!(report.outcome, Outcome::Written);
    world.settle();
    assert_eq!(ids_of_rows(&world, opportunity), set_of(&ids));
    world.assert_in_step(1);
}

/// Steps a run until something is true of the world; the run dies there.
fn dies_once(world: &mut World, hint: &Hint, mut is_true: impl FnMut(&World) -> bool) {
    let mut run = world.begin(hint);
    while !is_true(world) {
        assert!(
            matches!(world.step(&mut run), world::Went::On),
            "it never comes to that"
        );
    }
}

/// A row that cannot be shared, and a run that has announced to show why.
fn about_to_be_parked() -> (World, world::Run) {
    let mut world = World::new();
    sellers_row(&mut world, OPPORTUNITY, false);
    edit_row(&mut world, OPPORTUNITY, "statecode", number(1));
    edit_row(&mut world, OPPORTUNITY, "statuscode", number(3));
    let mut run = world.begin(&from_row(OPPORTUNITY));
    while world.find(Subject::Opportunity(OPPORTUNITY)).is_none() {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    (world, run)
}

#[test]
fn a_deal_that_cannot_be_shared_is_no_longer_announced_once_it_says_so() {
    let (mut world, mut run) = about_to_be_parked();
    edit_row(&mut world, OPPORTUNITY, "description", text("Edited meanwhile"));
    world.finish(&mut run);
    world.settle();
    let link = world.find(Subject::Opportunity(OPPORTUNITY)).unwrap();
    assert_eq!(link.pending, None);
    assert_eq!(link.shown.status, Some(SyncStatus::Error));
}

#[test]
fn a_deal_that_could_not_be_shared_is_forgotten_with_its_row() {
    let (mut world, mut run) = about_to_be_parked();
    world.rows.clear();
    world.finish(&mut run);
    world.deliver(&from_row(OPPORTUNITY));
    world.settle();
    let link = world.find(Subject::Opportunity(OPPORTUNITY)).unwrap();
    assert_eq!((&link.pending, &link.due), (&None, &None));
    assert_eq!(link.attention, []);
}

#[test]
fn a_deal_that_was_over_when_it_came_takes_no_write_however_early_its_row_is_edited() {
    let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
    edit_referral(&mut world, REFERRAL, |referral| {
        (referral.status, referral.substatus) = ("Closed".to_owned(), "Won".to_owned());
    });
    let is_created = |world: &World| {
        world
            .find(Subject::Referral(REFERRAL))
            .is_some_and(|link| link.base.is_some())
    };
    dies_once(&mut world, &hint, is_created);
    let opportunity = world::POLICY.tenant.opportunity_for(REFERRAL);
    edit_row(&mut world, opportunity, "description", text("Typed"));
    world.deliver(&from_row(opportunity));
    world.settle();
    assert_eq!(world.refusals, [] as [String; 0]);
    assert_eq!(world.rows[&opportunity].cells["statecode"], number(1));
}

#[test]
fn a_referral_that_is_found_again_proves_nothing_once_it_was_changed() {
    let Story { mut world, hint, .. } = outbound(false);
    dies_once(&mut world, &hint, |world| !world.referrals.is_empty());
    let referral = *world.referrals.keys().next().unwrap();
    edit_referral(&mut world, referral, |referral| {
        (referral.status, referral.substatus) = ("Closed".to_owned(), "Won".to_owned());
    });
    let event = from_referral(referral, Cause::ReferralCreated);
    dies_once(&mut world, &event, |world| {
        world
            .find(Subject::Opportunity(OPPORTUNITY))
            .is_some_and(|link| link.referral.is_some())
    });
    edit_row(&mut world, OPPORTUNITY, "description", text("Typed"));
    world.deliver(&from_row(OPPORTUNITY));
    world.settle();
    assert_eq!(world.refusals, [] as [String; 0]);
}

#[test]
fn who_replaces_what_this_run_has_written_has_seen_it() {
    let (mut world, referral, opportunity) = in_step(false);
    // Each side has something for the other.
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    edit_referral(&mut world, referral, |referral| referral.value = "4711".to_owned());
    let mut run = world.begin(&from_referral(referral, Cause::ReferralUpdated));
    while world.referrals[&referral].notes.as_deref() != Some("Seller's") {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    // The row is touched, so that the run has to start over, and somebody in the portal replaces what they see.
    edit_row(&mut world, opportunity, "estimatedvalue", number(4711));
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Portal's".to_owned())
    });
    // And once more.
    let announced = world.find(Subject::Referral(referral)).unwrap().version;
    while world.find(Subject::Referral(referral)).unwrap().version == announced {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    edit_row(&mut world, opportunity, "estimatedvalue", number(4712));
    world.finish(&mut run);
    world.settle();
    assert_eq!(world.rows[&opportunity].cells["description"], text("Portal's"));
    let changes: Vec<_> = world.audit.iter().flat_map(|entry| &entry.changes).collect();
    assert!(!changes.iter().any(|change| change.lost), "nobody competed");
    // What was replaced at once had been written all the same.
    let notes = changes.iter().filter(|change| change.field == Field::Notes);
    let written: Vec<(Side, String)> = notes.map(|change| (change.side, change.new.to_string())).collect();
    assert_eq!(
        written,
        [
            (Side::PartnerCenter, "Seller's".to_owned()),
            (Side::Dynamics, "Portal's".to_owned())
        ]
    );
    world.assert_in_step(1);
}

#[test]
fn a_run_waits_for_another_that_is_at_the_same_deal() {
    let (mut world, referral, opportunity) = in_step(false);
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    let mut first = world.begin(&from_row(opportunity));
    while world.referrals[&referral].notes.as_deref() != Some("Seller's") {
        assert!(matches!(world.step(&mut first), world::Went::On));
    }
    // Before it can commit, somebody in the portal replaces what they see, and a second run is told of it.
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Portal's".to_owned())
    });
    let mut second = world.begin(&from_referral(referral, Cause::ReferralUpdated));
    while second.wakes <= world.now {
        assert!(matches!(world.step(&mut second), world::Went::On), "it does not wait");
    }
    world.finish(&mut first);
    world.finish(&mut second);
    world.settle();
    assert_eq!(world.rows[&opportunity].cells["description"], text("Portal's"));
    let mut changes = world.audit.iter().flat_map(|entry| &entry.changes);
    assert!(!changes.any(|change| change.lost), "nobody competed");
    world.assert_in_step(1);
}

#[test]
fn nobody_waits_for_the_dead_for_long() {
    let (mut world, referral, opportunity) = in_step(false);
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    dies_once(&mut world, &from_row(opportunity), |world| {
        world.referrals[&referral].notes.as_deref() == Some("Seller's")
    });
    let began = world.now;
    world.deliver(&from_row(opportunity));
    let took = world.now.duration_since(began);
    assert_eq!(world.find(Subject::Opportunity(opportunity)).unwrap().pending, None);
    assert!((15..20).contains(&took.as_secs()), "{took}");
    world.settle();
    world.assert_in_step(1);
}

#[test]
fn the_dead_are_waited_for_only_while_they_have_time_left() {
    let (mut world, referral, opportunity) = in_step(false);
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    dies_once(&mut world, &from_row(opportunity), |world| {
        world.referrals[&referral].notes.as_deref() == Some("Seller's")
    });
    let lease = world.find(Subject::Opportunity(opportunity)).unwrap().due.unwrap();
    // A run begins a second later, and waits 1, 2 and 4 seconds; then it is its turn.
    for (left, waits) in [(5, 7), (3, 3), (0, 0)] {
        let mut world = world.clone();
        world.now = lease.at - SignedDuration::from_secs(left + 1);
        let began = world.now + SignedDuration::from_secs(1);
        world.deliver(&from_row(opportunity));
        assert_eq!(world.now.duration_since(began).as_secs(), waits, "{left}");
        assert_eq!(world.find(Subject::Opportunity(opportunity)).unwrap().pending, None);
    }
}

#[test]
fn what_was_seen_newer_before_is_no_news() {
    let (mut world, referral, opportunity) = in_step(false);
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    world.deliver(&from_row(opportunity));
    world.settle();
    // Partner Center shows once more what stood there before our write.
    let mut run = world.begin(&from_referral(referral, Cause::ReferralUpdated));
    assert!(matches!(world.step(&mut run), world::Went::On));
    world.mishaps.insert(world.calls, Mishap::Stale);
    let written = world.vendor_writes;
    let report = world.finish(&mut run).unwrap();
    assert_eq!(world.struck, [Mishap::Stale]);
    assert_eq!((report.outcome, world.vendor_writes), (Outcome::Due, written));
    world.settle();
    assert_eq!(world.rows[&opportunity].cells["description"], text("Seller's"));
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Seller's"));
    world.assert_in_step(1);
}

#[test]
fn a_version_that_this_run_wrote_over_is_not_the_newest() {
    let (mut world, referral, opportunity) = in_step(true);
    let microsofts = world.find(Subject::Referral(referral)).unwrap().microsoft.unwrap();
    // Both records are written, of which only the row is changed by somebody else.
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    edit_referral(&mut world, microsofts, |microsofts| {
        (microsofts.status, microsofts.substatus) = ("Active".to_owned(), "Accepted".to_owned());
    });
    let mut run = world.begin(&from_referral(referral, Cause::Compare));
    while world.referrals[&referral].notes.as_deref() != Some("Seller's") {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    // A workflow touches it before the run gets to it, and the look that follows fails.
    edit_row(&mut world, opportunity, "stepname", text("Qualify"));
    assert!(matches!(world.step(&mut run), world::Went::On));
    world.mishaps.insert(world.calls, Mishap::Refused);
    world.finish(&mut run);
    // The next one reads Microsoft's half and both sides, and sees the referral as it was before that write.
    world.mishaps.insert(world.calls + 3, Mishap::Stale);
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    assert_eq!(world.struck, [Mishap::Refused, Mishap::Stale]);
    assert_eq!(world.rows[&opportunity].cells["description"], text("Seller's"));
    world.settle();
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Seller's"));
}

/// From the call after so many on, the first read of the referral shows it as it was before its last change.
fn lags(world: &mut World, after: u32) {
    for call in after..10 {
        world.mishaps.insert(world.calls + call, Mishap::Stale);
    }
}

/// The portal's person changes the notes and closes the deal; a run has carried the notes over, not the closing.
fn notes_carried_over_and_closing_under_way() -> (World, ReferralId, OpportunityId, world::Run) {
    let (mut world, referral, opportunity) = in_step(false);
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Portal's".to_owned());
        (referral.status, referral.substatus) = ("Closed".to_owned(), "Won".to_owned());
    });
    let mut run = world.begin(&from_referral(referral, Cause::ReferralUpdated));
    while world.rows[&opportunity].cells["description"] != text("Portal's") {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    (world, referral, opportunity, run)
}

#[test]
fn a_version_that_this_run_saw_replaced_is_not_the_newest() {
    let (mut world, referral, opportunity, mut run) = notes_carried_over_and_closing_under_way();
    // The closing is carried out, and its answer lost; the look that follows sees the referral as it was before.
    world.mishaps.insert(world.calls, Mishap::LostAnswer);
    lags(&mut world, 1);
    world.finish(&mut run);
    assert_eq!(world.struck, [Mishap::LostAnswer, Mishap::Stale]);
    assert_eq!(world.rows[&opportunity].cells["description"], text("Portal's"));
    world.settle();
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Portal's"));
    world.assert_in_step(1);
}

#[test]
fn whoever_takes_over_knows_what_the_dead_have_seen() {
    let (mut world, referral, opportunity, dead) = notes_carried_over_and_closing_under_way();
    drop(dead);
    world.now += SignedDuration::from_mins(2);
    lags(&mut world, 0);
    world.deliver(&from_referral(referral, Cause::Due));
    assert_eq!(world.struck, [Mishap::Stale]);
    assert_eq!(world.rows[&opportunity].cells["description"], text("Portal's"));
    world.settle();
    world.assert_in_step(1);
}

#[test]
fn only_waits_for_a_newer_state_make_an_old_one_true() {
    let (mut world, referral, opportunity) = in_step(false);
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    world.deliver(&from_row(opportunity));
    world.settle();
    let event = from_referral(referral, Cause::ReferralUpdated);
    for mishap in [Mishap::Refused, Mishap::Stale] {
        for _ in 0..4 {
            // The link is looked up, then the referral is read.
            world.mishaps.insert(world.calls + 1, mishap);
            assert_eq!(world.deliver(&event).outcome, Outcome::Due);
            assert_eq!(world.struck.last(), Some(&mishap));
        }
        if mishap == Mishap::Refused {
            // The last of its waits is over.
            world.now += SignedDuration::from_hours(1);
        }
    }
    // However often something else went wrong before.
    let due = world.find(Subject::Referral(referral)).unwrap().due.unwrap();
    let wait = due.at.duration_since(world.now);
    assert!(
        due.attempts == 1 && wait.is_positive() && wait.as_secs() <= 15,
        "{due:?}"
    );
    assert_eq!(world.rows[&opportunity].cells["description"], text("Seller's"));
    world.settle();
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Seller's"));
    world.assert_in_step(1);
}

#[test]
fn what_became_of_a_write_is_looked_up_at_once() {
    let (mut world, referral, opportunity) = in_step(false);
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    let mut run = world.begin(&from_row(opportunity));
    while world.find(Subject::Opportunity(opportunity)).unwrap().pending.is_none() {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    world.mishaps.insert(world.calls, Mishap::LostAnswer);
    let report = world.finish(&mut run).unwrap();
    assert_eq!(world.struck, [Mishap::LostAnswer]);
    assert!(report.fault.is_none(), "{report:?}");
    // Whoever replaces in the portal what they see competes with nobody.
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Portal's".to_owned())
    });
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    world.settle();
    assert_eq!(world.rows[&opportunity].cells["description"], text("Portal's"));
    let mut changes = world.audit.iter().flat_map(|entry| &entry.changes);
    assert!(!changes.any(|change| change.lost), "nobody competed");
    world.assert_in_step(1);
}

#[test]
fn what_is_shown_again_and_again_is_what_there_is() {
    let (mut world, referral, opportunity) = in_step(false);
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    world.deliver(&from_row(opportunity));
    world.settle();
    // A version that nobody knows, older by its date than the one that was seen.
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Portal's".to_owned());
        referral.updated -= SignedDuration::from_hours(1);
    });
    let event = from_referral(referral, Cause::ReferralUpdated);
    assert_eq!(world.deliver(&event).outcome, Outcome::Due);
    assert_eq!(world.rows[&opportunity].cells["description"], text("Seller's"));
    world.settle();
    let waits = world.audit.iter().flat_map(|entry| &entry.findings);
    let waits = waits.filter(|finding| finding.text.contains("older version"));
    assert_eq!(waits.count(), 3);
    assert_eq!(world.rows[&opportunity].cells["description"], text("Portal's"));
    world.assert_in_step(1);
}

#[test]
fn a_known_version_is_current_whatever_its_date() {
    let (mut world, referral, opportunity) = in_step(false);
    world.referrals.get_mut(&referral).unwrap().updated -= SignedDuration::from_hours(1);
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    let hint = from_referral(referral, Cause::Compare);
    assert_eq!(world.deliver(&hint).outcome, Outcome::Written);
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Seller's"));
}

#[test]
fn what_was_read_before_its_link_was_found_is_read_again() {
    let Story {
        mut world, hint, other, ..
    } = outbound(false);
    let mut first = world.begin(&hint);
    while world.referrals.is_empty() {
        assert!(matches!(world.step(&mut first), world::Went::On));
    }
    // A second run reads the referral while no link leads to it; then the first links it, and carries an edit to it.
    let referral = *world.referrals.keys().next().unwrap();
    let mut second = world.begin(&other);
    let reads = world.vendor_reads;
    while world.vendor_reads == reads {
        assert!(matches!(world.step(&mut second), world::Went::On));
    }
    edit_row(&mut world, OPPORTUNITY, "description", text("Seller's"));
    world.finish(&mut first);
    world.deliver(&hint);
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Seller's"));
    let report = world.finish(&mut second).unwrap();
    assert_eq!(report.outcome, Outcome::Echo);
    world.settle();
    assert_eq!(world.rows[&OPPORTUNITY].cells["description"], text("Seller's"));
    world.assert_in_step(1);
}

#[test]
fn nobody_loses_by_a_stage_that_is_reached_by_the_way() {
    let (mut world, referral, opportunity) = lost_here_and_won_there();
    let mut run = world.begin(&from_referral(referral, Cause::ReferralUpdated));
    while world.rows[&opportunity].cells["statecode"] != number(0) {
        assert!(matches!(world.step(&mut run), world::Went::On));
    }
    // The run has to start over.
    edit_row(&mut world, opportunity, "description", text("Edited meanwhile"));
    world.finish(&mut run);
    world.settle();
    assert_eq!(world.rows[&opportunity].cells["statecode"], number(1));
    let changes = world.audit.iter().flat_map(|entry| &entry.changes);
    let of_stage = changes.filter(|change| change.field == Field::Stage && change.lost);
    let lost: Vec<String> = of_stage.map(|change| change.old.to_string()).collect();
    assert_eq!(lost, ["lost"]);
}

#[test]
fn what_a_seller_keeps_in_a_row_survives_its_solution() {
    let (mut world, opportunity) = accepted();
    let rows = &mut world.rows.get_mut(&opportunity).unwrap().solutions;
    let (_, first) = rows.values_mut().next().unwrap();
    first.insert("cosell_quantity".to_owned(), number(12));
    for ids in [&["SOL-7"][..], &["SOL-1", "SOL-7"]] {
        edit_referral(&mut world, REFERRAL, |referral| referral.solutions = tags(ids));
        world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
        world.settle();
        assert_eq!(ids_of_rows(&world, opportunity), set_of(ids));
        let link = world.find(Subject::Opportunity(opportunity)).unwrap();
        assert_eq!(
            link.solution_rows.len(),
            ids.len(),
            "a row out of use is not remembered"
        );
        world.assert_in_step(1);
    }
    let rows = &world.rows[&opportunity].solutions;
    let quantities: Vec<_> = rows
        .values()
        .filter_map(|(_, cells)| cells.get("cosell_quantity"))
        .collect();
    assert_eq!((rows.len(), quantities), (2, vec![&number(12)]));
}

#[test]
fn rows_that_were_half_written_before_a_pause_take_nothing_back_after_it() {
    let (mut world, opportunity) = accepted();
    let ids = ["SOL-1", "SOL-7", "SOL-8"];
    edit_referral(&mut world, REFERRAL, |referral| referral.solutions = tags(&ids));
    let event = from_referral(REFERRAL, Cause::ReferralUpdated);
    dies_once(&mut world, &event, |world| {
        world.rows[&opportunity].solutions.len() == 2
    });
    for shared in [false, true] {
        edit_row(
            &mut world,
            opportunity,
            "cosell_syncwithpartnercenter",
            Cell::Flag(shared),
        );
        world.deliver(&from_row(opportunity));
        world.settle();
    }
    assert_eq!(ids_of_rows(&world, opportunity), set_of(&ids));
    assert_eq!(world.referrals[&REFERRAL].solutions.len(), 3);
    let mut changes = world.audit.iter().flat_map(|entry| &entry.changes);
    assert!(!changes.any(|change| change.lost), "nobody has lost");
    world.assert_in_step(1);
}

#[test]
fn a_row_that_lacks_the_same_as_before_is_written_anew_behind_a_crash() {
    let mut world = World::new();
    sellers_row(&mut world, OPPORTUNITY, false);
    let lacking = |world: &mut World, date: bool, notes: bool| {
        let shown = |there: bool, value: &str| if there { text(value) } else { Cell::Null };
        edit_row(world, OPPORTUNITY, "estimatedclosedate", shown(date, "2026-09-30"));
        edit_row(world, OPPORTUNITY, "cosell_solutions", shown(notes, "SOL-1"));
    };
    lacking(&mut world, false, true);
    world.deliver(&from_row(OPPORTUNITY));
    world.settle();
    let trail = |world: &World| world.rows[&OPPORTUNITY].cells["cosell_audit"].clone();
    let version = world.rows[&OPPORTUNITY].version;
    lacking(&mut world, true, false);
    dies_once(&mut world, &from_row(OPPORTUNITY), |world| {
        world.rows[&OPPORTUNITY].version > version + 2
    });
    let told_other = trail(&world);
    lacking(&mut world, false, true);
    world.deliver(&from_row(OPPORTUNITY));
    world.settle();
    let link = world.find(Subject::Opportunity(OPPORTUNITY)).unwrap();
    assert_eq!((&link.pending, &link.due), (&None, &None));
    assert_ne!(trail(&world), told_other, "the row still names what it no longer lacks");
}

#[test]
fn a_crash_behind_rows_and_closing_leaves_the_closed_row_alone() {
    let (mut world, opportunity) = accepted();
    edit_referral(&mut world, REFERRAL, |referral| {
        referral.solutions = tags(&["SOL-1", "SOL-7"]);
        (referral.status, referral.substatus) = ("Closed".to_owned(), "Won".to_owned());
    });
    let is_closed = |world: &World| world.rows[&opportunity].cells["statecode"] == number(1);
    dies_once(&mut world, &from_referral(REFERRAL, Cause::ReferralUpdated), is_closed);
    let closed = version(&world, opportunity);
    world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    world.settle();
    assert_eq!(version(&world, opportunity), closed);
    world.assert_in_step(1);
}

/// An event tells when the referral was changed. A read that shows no change since, and is clearly older, came too early.
#[test]
fn an_event_that_runs_ahead_of_what_is_shown_is_looked_at_again() {
    let (world, referral, opportunity) = in_step(false);
    let record = &world.referrals[&referral];
    let shown = record.updated + SignedDuration::from_micros(record.version.try_into().unwrap());
    let seconds = SignedDuration::from_secs;
    // Events may be dated some seconds behind the change they tell of.
    for (ahead, is_early) in [(seconds(0), false), (seconds(5), false), (seconds(6), true)] {
        let mut world = world.clone();
        world.deliver(&from_referral(referral, Cause::ReferralUpdated).changed_at(shown + ahead));
        let due = world.find(Subject::Referral(referral)).unwrap().due;
        let why = due.as_ref().map(|due| due.why.as_str());
        assert_eq!(why, is_early.then_some("stale"), "{ahead}");
        let mut told = world.audit.iter().flat_map(|entry| &entry.findings);
        assert_eq!(told.any(|said| said.code == Code::Stale), is_early, "{ahead}");
        if is_early {
            edit_referral(&mut world, referral, |record| record.notes = Some("At last".to_owned()));
            world.settle();
            assert_eq!(world.rows[&opportunity].cells["description"], text("At last"));
            world.assert_in_step(1);
        }
    }
    // What shows a change is what the event tells of, whatever its date.
    let mut world = world;
    edit_referral(&mut world, referral, |record| record.notes = Some("Now".to_owned()));
    world.deliver(&from_referral(referral, Cause::ReferralUpdated).changed_at(shown + seconds(60)));
    assert_eq!(world.find(Subject::Referral(referral)).unwrap().due, None);
    assert_eq!(world.rows[&opportunity].cells["description"], text("Now"));
}

/// A closing that waits does not put off what the deal is to be looked at for before.
#[test]
fn a_closing_that_waits_keeps_an_earlier_date() {
    let (mut world, referral, opportunity) = in_step(false);
    world.policy = Some(rules(Policy {
        close_delay: SignedDuration::from_hours(2),
        ..world::POLICY.clone()
    }));
    let late = world.now + SignedDuration::from_hours(1);
    world.deliver(&from_referral(referral, Cause::ReferralUpdated).changed_at(late));
    let due = world.find(Subject::Referral(referral)).unwrap().due.unwrap();
    assert_eq!(due.why, "stale");
    edit_row(&mut world, opportunity, "statecode", number(1));
    edit_row(&mut world, opportunity, "statuscode", number(3));
    world.deliver(&from_row(opportunity));
    let link = world.find(Subject::Referral(referral)).unwrap();
    assert!(link.closing.is_some());
    assert_eq!(link.due, Some(due));
    world.settle();
    world.assert_in_step(1);
    assert_eq!(world.referrals[&referral].substatus, "Won");
}
