//! One direction is paused for a while: every story, every place where a run can break, and people who go on working.
//!
//! The world itself fails a test at once when a paused side is written to. Here is what has to be true besides: the open
//! direction goes on, what waits is told once and costs nothing, and after the pause everything ends as it would have.

use std::collections::BTreeMap;

use cosell::deal::{Field, Side, Term, Terms};
use cosell::finding::Code;
use cosell::hint::{Cause, Hint};
use cosell::ids::LinkId;
use cosell::opportunity::Cell;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;

use super::{
    Story, Told, about_all, edit_referral, edit_row, edited_in_dynamics, edited_in_partner_center, from_referral,
    from_row, in_step, inbound, outbound, stories, text,
};
use model::vendors::number;
use model::world::{MISHAPS, Mishap, POLICY, Went, World};

const SIDES: [Side; 2] = [Side::Dynamics, Side::PartnerCenter];

/// How often each deal told that it is held back.
fn told(world: &World) -> BTreeMap<LinkId, usize> {
    let mut told = BTreeMap::new();
    for entry in &world.audit {
        if entry.findings.iter().any(|finding| finding.code == Code::Paused) {
            *told.entry(entry.link).or_default() += 1;
        }
    }
    told
}

/// While the pause lasts, looks at what waits write neither to a vendor nor to the audit.
fn assert_waiting_is_quiet(world: &mut World) {
    // A doubt from before the pause is searched for during it.
    for _ in 0..2 {
        world.look_at_held();
        world.settle();
    }
    let (writes, audited) = (world.vendor_writes, world.audit.len());
    for _ in 0..4 {
        let held = world.held().len();
        world.look_at_held();
        world.settle();
        assert_eq!(world.held().len(), held, "what waits goes on waiting");
    }
    assert_eq!(world.vendor_writes, writes, "waiting writes");
    assert_eq!(world.audit.len(), audited, "waiting is told again: {:#?}", world.audit);
}

fn play_paused(story: &Story, side: Side, mishap: Option<(u32, Mishap)>, begins_paused: bool) -> u32 {
    let what = format!(
        "{}, {side} paused, {mishap:?}, from the start: {begins_paused}",
        story.name
    );
    let guard = Told(&what);
    let mut world = story.world.clone();
    let before = told(&world);
    world.calls = 0;
    world.mishaps = mishap.into_iter().collect();
    if begins_paused {
        world.paused = Some(side);
    } else {
        // The pause begins with the mishap: perhaps behind an announcement, perhaps behind half of its writes.
        let mut run = world.begin(&story.hint);
        while world.calls <= mishap.map_or(0, |(at, _)| at) && matches!(world.step(&mut run), Went::On) {}
        world.paused = Some(side);
    }
    for hint in [&story.hint, &story.other] {
        world.deliver(hint);
        world.settle();
    }
    let calls = world.calls;
    for (link, times) in told(&world) {
        let before = before.get(&link).copied().unwrap_or_default();
        // A call that failed has told of itself in between.
        let most = if mishap.is_some() { 2 } else { 1 };
        assert!(times - before <= most, "{link} says {times} times that it waits");
    }
    assert_waiting_is_quiet(&mut world);
    world.paused = None;
    world.settle();
    world.assert_one_deal_in_step();
    let writes = world.vendor_writes;
    for hint in [&story.hint, &story.other] {
        world.deliver(hint);
    }
    world.settle();
    assert_eq!(world.vendor_writes, writes, "a late hint writes");
    std::mem::forget(guard);
    calls
}

#[test]
fn whatever_is_held_back_follows_once_the_pause_is_over() {
    for story in stories() {
        for side in SIDES {
            let calls = play_paused(&story, side, None, true);
            for at in 0..calls {
                for mishap in MISHAPS {
                    play_paused(&story, side, Some((at, mishap)), true);
                }
            }
        }
    }
}

#[test]
fn a_pause_that_begins_behind_an_announcement_loses_nothing_of_it() {
    for story in stories() {
        let mut world = story.world.clone();
        world.calls = 0;
        world.deliver(&story.hint);
        for side in SIDES {
            for at in 0..world.calls {
                for mishap in MISHAPS {
                    play_paused(&story, side, Some((at, mishap)), false);
                }
            }
        }
    }
}

#[test]
fn the_next_hint_after_a_pause_brings_a_deal_into_step_before_its_date() {
    for story in stories() {
        for side in SIDES {
            let guard = Told(story.name);
            let mut world = story.world.clone();
            world.paused = Some(side);
            world.deliver(&story.hint);
            world.settle();
            let now = world.now;
            world.paused = None;
            let compared = world
                .links()
                .find_map(|link| Some(from_referral(link.referral?, Cause::Compare)));
            world.deliver(&compared.unwrap_or(story.hint.clone()));
            while let Some(hint) = world.hints.pop_front() {
                world.deliver(&hint);
            }
            assert!(world.now.duration_since(now).as_mins() < 10);
            world.settle();
            world.assert_one_deal_in_step();
            std::mem::forget(guard);
        }
    }
}

#[test]
fn changes_in_the_open_direction_go_on_beside_a_held_one() {
    let (mut world, referral, opportunity) = in_step(true);
    world.paused = Some(Side::PartnerCenter);
    edit_row(&mut world, opportunity, "description", text("Held"));
    world.deliver(&from_row(opportunity));
    world.settle();
    assert_eq!(world.held().len(), 1);
    edit_referral(&mut world, referral, |referral| referral.value = "7".to_owned());
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    world.settle();
    let row = world.rows[&opportunity].shown();
    assert_eq!(POLICY.mapping.terms(&row).get(Field::Value).to_string(), "7 EUR");
    assert_eq!(row.text("description"), Some("Held"));
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Talked to Ada"));
    world.paused = None;
    world.settle();
    world.assert_one_deal_in_step();
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Held"));
    assert!(
        world
            .audit
            .iter()
            .flat_map(|entry| &entry.changes)
            .all(|change| !change.lost)
    );
}

#[test]
fn a_deal_is_created_in_the_open_direction_and_announced_back_later() {
    let Story { mut world, hint, .. } = outbound(true);
    world.paused = Some(Side::Dynamics);
    world.deliver(&hint);
    world.settle();
    assert_eq!(world.referrals.len(), 2, "ours and Microsoft's");
    assert_eq!(world.held().len(), 1);
    world.paused = None;
    world.settle();
    world.assert_one_deal_in_step();

    let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
    world.paused = Some(Side::PartnerCenter);
    world.deliver(&hint);
    world.settle();
    assert_eq!((world.rows.len(), world.held().len()), (1, 1));
    world.paused = None;
    world.settle();
    world.assert_one_deal_in_step();
}

#[test]
fn nothing_is_created_on_a_paused_side() {
    for (story, side) in [
        (outbound(true), Side::PartnerCenter),
        (inbound(("Active", "Accepted")), Side::Dynamics),
    ] {
        let mut world = story.world.clone();
        world.paused = Some(side);
        world.deliver(&story.hint);
        world.settle();
        assert_eq!(world.rows.len() + world.referrals.len(), 1, "{}", story.name);
        let held = world.held();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].pending, None, "nothing is announced that must not be done");
    }
}

/// A long pause costs each deal ever fewer looks. A hint in between moves no date, writes nothing and tells nothing again.
#[test]
fn looks_at_what_waits_become_rarer_and_a_look_in_between_moves_no_date() {
    for (story, side) in [
        (inbound(("Active", "Accepted")), Side::Dynamics),
        (outbound(true), Side::PartnerCenter),
        (edited_in_partner_center(), Side::Dynamics),
        (edited_in_dynamics(), Side::PartnerCenter),
    ] {
        let guard = Told(story.name);
        let mut world = story.world.clone();
        world.paused = Some(side);
        world.deliver(&story.hint);
        world.settle();
        let mut waits = Vec::new();
        for _ in 0..5 {
            let date = |world: &World| {
                let [link] = world.held().try_into().unwrap();
                (link.due.unwrap(), link.version)
            };
            let (due, version) = date(&world);
            waits.push(due.at.duration_since(world.now).as_mins());
            let next = due.at;
            world.deliver(&story.hint);
            let between = date(&world);
            assert_eq!((between.0.at, between.1), (next, version));
            world.look_at_held();
        }
        assert_eq!(waits, [15, 30, 60, 60, 60]);
        let news = told(&world);
        assert_eq!(news.values().sum::<usize>(), 1, "{news:?}");
        std::mem::forget(guard);
    }
}

#[test]
fn a_deal_without_changes_is_left_alone_during_a_pause() {
    for side in SIDES {
        let (mut world, referral, opportunity) = in_step(true);
        let versions: Vec<_> = world.links().map(|link| link.version).collect();
        world.paused = Some(side);
        for cause in [Cause::ReferralUpdated, Cause::Compare, Cause::Operator] {
            world.deliver(&from_referral(referral, cause));
        }
        world.deliver(&from_row(opportunity));
        world.settle();
        assert_eq!(world.links().map(|link| link.version).collect::<Vec<_>>(), versions);
    }
}

/// A seller may take back what waits; then nothing does.
#[test]
fn a_held_change_that_is_taken_back_waits_no_longer() {
    let (mut world, _, opportunity) = in_step(false);
    world.paused = Some(Side::PartnerCenter);
    edit_row(&mut world, opportunity, "description", text("Held"));
    world.deliver(&from_row(opportunity));
    world.settle();
    assert_eq!(world.held().len(), 1);
    edit_row(&mut world, opportunity, "description", text("Talked to Ada"));
    world.look_at_held();
    assert!(world.held().is_empty());
}

/// Consent that is withdrawn during a pause is respected during it and behind it.
#[test]
fn a_seller_who_withdraws_during_a_pause_is_heard() {
    for side in SIDES {
        let Story { mut world, hint, .. } = edited_in_dynamics();
        let opportunity = super::OPPORTUNITY;
        world.paused = Some(side);
        edit_row(
            &mut world,
            opportunity,
            "cosell_syncwithpartnercenter",
            Cell::Flag(false),
        );
        let before: Vec<_> = world.referrals.values().map(|referral| referral.version).collect();
        world.deliver(&hint);
        world.settle();
        world.paused = None;
        world.settle();
        let after: Vec<_> = world.referrals.values().map(|referral| referral.version).collect();
        assert_eq!(after, before, "{side}");
        let row = world.rows[&opportunity].shown();
        assert!(row.text("cosell_audit").unwrap().contains("switched off"), "{side}");
    }
}

/// A value that the vendor refused still waits for a person while its cure is held back.
#[test]
fn what_a_person_has_to_settle_is_not_forgotten_over_a_pause() {
    let Story { mut world, hint, .. } = edited_in_dynamics();
    world.refused_path = Some("/details/notes");
    world.deliver(&hint);
    world.settle();
    let waits = |world: &World| world.links().any(|link| !link.attention.is_empty());
    assert!(waits(&world));
    world.refused_path = None;
    world.paused = Some(Side::PartnerCenter);
    world.deliver(&hint);
    world.settle();
    assert!(waits(&world));
    world.paused = None;
    world.settle();
    assert!(!waits(&world));
    world.assert_in_step(1);
}

/// What people and operators do, in any order.
#[derive(Clone, Debug)]
enum Act {
    TypesNotes(Side, u8),
    TypesValue(Side, u8),
    Pauses(Option<Side>),
    IsLookedAt(Side),
    TimePasses,
    Dies(Side, u8),
}

fn act() -> impl Strategy<Value = Act> {
    let side = || prop_oneof![Just(Side::Dynamics), Just(Side::PartnerCenter)];
    prop_oneof![
        2 => (side(), any::<u8>()).prop_map(|(side, number)| Act::TypesNotes(side, number)),
        2 => (side(), any::<u8>()).prop_map(|(side, number)| Act::TypesValue(side, number)),
        2 => prop_oneof![Just(None), side().prop_map(Some)].prop_map(Act::Pauses),
        3 => side().prop_map(Act::IsLookedAt),
        1 => Just(Act::TimePasses),
        1 => (side(), 0..8_u8).prop_map(|(side, at)| Act::Dies(side, at)),
    ]
}

/// A world with one deal, and what was typed into it: the values that no other person has replaced since.
struct Desk {
    world: World,
    typed: Vec<(Side, Field, Term)>,
}

impl Desk {
    fn shows(&self, side: Side) -> Terms {
        match side {
            Side::Dynamics => POLICY.mapping.terms(&self.world.rows.values().next().unwrap().shown()),
            Side::PartnerCenter => {
                let own = self.world.referrals.values().find(|referral| !referral.microsofts);
                Terms::from_referral(&own.unwrap().shown())
            }
        }
    }

    fn hint(&self, side: Side) -> Hint {
        let own = self.world.referrals.values().find(|referral| !referral.microsofts);
        match side {
            Side::Dynamics => from_row(super::OPPORTUNITY),
            Side::PartnerCenter => from_referral(own.unwrap().id, Cause::ReferralUpdated),
        }
    }

    fn types(&mut self, side: Side, field: Field, number: u8) {
        // Who types sees what stands there, whoever wrote it.
        let seen = self.shows(side).get(field).clone();
        self.typed
            .retain(|(_, typed_field, term)| (*typed_field, term) != (field, &seen));
        let own = self
            .world
            .referrals
            .values()
            .find(|referral| !referral.microsofts)
            .unwrap()
            .id;
        match (side, field) {
            (Side::Dynamics, Field::Notes) => {
                edit_row(
                    &mut self.world,
                    super::OPPORTUNITY,
                    "description",
                    text(&format!("Note {number}")),
                );
            }
            (Side::Dynamics, _) => {
                let value = Cell::Number(number.to_string().parse().unwrap());
                edit_row(&mut self.world, super::OPPORTUNITY, "estimatedvalue", value);
            }
            (Side::PartnerCenter, Field::Notes) => {
                edit_referral(&mut self.world, own, |referral| {
                    referral.notes = Some(format!("Note {number}"))
                });
            }
            (Side::PartnerCenter, _) => {
                edit_referral(&mut self.world, own, |referral| referral.value = number.to_string())
            }
        }
        let now = self.shows(side).get(field).clone();
        self.typed.push((side, field, now));
    }

    fn does(&mut self, act: &Act) {
        match act {
            Act::TypesNotes(side, number) => self.types(*side, Field::Notes, *number),
            Act::TypesValue(side, number) => self.types(*side, Field::Value, *number),
            Act::Pauses(paused) => self.world.paused = *paused,
            Act::IsLookedAt(side) => {
                let hint = self.hint(*side);
                self.world.deliver(&hint);
            }
            Act::TimePasses => {
                self.world.settle();
                self.world.look_at_held();
            }
            Act::Dies(side, at) => {
                let hint = self.hint(*side);
                let mut run = self.world.begin(&hint);
                for _ in 0..*at {
                    if !matches!(self.world.step(&mut run), Went::On) {
                        break;
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn however_people_work_and_operators_pause_nothing_typed_is_lost(acts in proptest::collection::vec(act(), 1..24)) {
        let (world, ..) = in_step(false);
        let mut desk = Desk { world, typed: Vec::new() };
        for act in &acts {
            desk.does(act);
        }
        desk.world.paused = None;
        for side in SIDES {
            let hint = desk.hint(side);
            desk.world.deliver(&hint);
        }
        desk.world.settle();
        desk.world.assert_in_step(1);
        let ends = [desk.shows(Side::Dynamics), desk.shows(Side::PartnerCenter)];
        for (side, field, typed) in &desk.typed {
            let is_kept = ends.iter().all(|end| end.get(*field) == typed);
            let mut replaced = desk.world.audit.iter().flat_map(|entry| &entry.changes);
            let is_told = replaced.any(|change| change.field == *field && &change.old == typed);
            assert!(is_kept || is_told, "{typed} typed as {field} in {side} is gone");
        }
    }
}

/// A conflict is decided as ever once both may be written, and not before.
#[test]
fn both_sides_edited_during_a_pause_is_a_conflict_that_waits() {
    let (mut world, referral, opportunity) = in_step(true);
    world.paused = Some(Side::PartnerCenter);
    edit_referral(&mut world, referral, |referral| {
        referral.notes = Some("Theirs".to_owned())
    });
    edit_row(&mut world, opportunity, "description", text("Ours"));
    world.deliver(&from_row(opportunity));
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    world.settle();
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Theirs"));
    assert_eq!(world.rows[&opportunity].shown().text("description"), Some("Ours"));
    world.paused = None;
    world.settle();
    world.assert_in_step(1);
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Ours"));
    let lost: Vec<_> = world
        .audit
        .iter()
        .flat_map(|entry| &entry.changes)
        .filter(|change| change.lost)
        .collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].old, Term::Text("Theirs".to_owned()));
}

/// An edit of the open direction that arrives through the other side's look is carried as well.
#[test]
fn the_open_direction_is_open_whichever_side_is_looked_at() {
    let Story { mut world, other, .. } = edited_in_partner_center();
    world.paused = Some(Side::PartnerCenter);
    world.deliver(&other);
    world.settle();
    world.deliver(&Hint::new(other.subject, Cause::Compare));
    world.settle();
    let row = world.rows[&super::OPPORTUNITY].shown();
    assert_eq!(row.text("description"), Some("Budget approved 😀"));
}

/// While an edit of the portal is held back, the deal is closed in Dynamics and opened again, and the seller goes on
/// typing. The referral takes nothing any more, so that no write would show that it is not as the base says.
#[test]
fn what_is_held_back_is_seen_by_every_look_at_the_other_side() {
    let (mut world, referral, opportunity) = in_step(false);
    world.paused = Some(Side::Dynamics);
    edit_referral(&mut world, referral, |record| {
        record.notes = Some("Portal's".to_owned())
    });
    for (state, status) in [(2, 4), (0, 1)] {
        edit_row(&mut world, opportunity, "statecode", number(state));
        edit_row(&mut world, opportunity, "statuscode", number(status));
        if state == 0 {
            edit_row(&mut world, opportunity, "description", text("Seller's"));
        }
        world.deliver(&from_row(opportunity));
    }
    assert_eq!(world.referrals[&referral].status, "Closed");
    world.paused = None;
    world.settle();
    world.deliver(&from_referral(referral, Cause::Compare));
    world.settle();
    let shown = [
        world.referrals[&referral].notes.clone(),
        world.rows[&opportunity].shown().text("description").map(str::to_owned),
    ];
    let mut lost = world
        .audit
        .iter()
        .flat_map(|entry| &entry.changes)
        .filter(|change| change.lost);
    let is_kept =
        shown.contains(&Some("Seller's".to_owned())) || lost.any(|change| change.old == Term::text(Some("Seller's")));
    assert!(is_kept, "{shown:?} {:#?}", world.audit);
}

/// The open direction goes on, and is told, while the other goes on waiting without a word.
#[test]
fn what_is_carried_over_during_a_pause_is_told_and_what_waits_is_not_told_again() {
    let (mut world, referral, opportunity) = in_step(false);
    world.paused = Some(Side::Dynamics);
    edit_referral(&mut world, referral, |record| record.notes = Some("Waits".to_owned()));
    let said = |world: &mut World, hint: &Hint| {
        let audited = world.audit.len();
        world.deliver(hint);
        about_all(&world.audit[audited..])
    };
    let event = from_referral(referral, Cause::ReferralUpdated);
    let waits = (Code::Paused, Some(Field::Notes));
    assert_eq!(said(&mut world, &event), [waits]);
    let [held] = world.held().try_into().unwrap();
    edit_row(&mut world, opportunity, "estimatedclosedate", text("2026-12-24"));
    let carried = (Code::Carried, Some(Field::CloseDate));
    assert_eq!(said(&mut world, &Hint::new(event.subject, Cause::Compare)), [carried]);
    assert_eq!(
        world.referrals[&referral].closing.as_deref(),
        Some("2026-12-24T00:00:00Z")
    );
    assert_eq!(world.rows[&opportunity].cells["description"], text("Talked to Ada"));
    let [still] = world.held().try_into().unwrap();
    assert_eq!(still.due, held.due);
    world.paused = None;
    world.look_at_held();
    world.settle();
    world.assert_in_step(1);
    assert_eq!(world.rows[&opportunity].cells["description"], text("Waits"));
}
