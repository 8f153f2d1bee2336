//! A run whose call hangs for longer than others wait for it is outrun: its write lands behind the look of who took its
//! place. It is ours all the same, and nobody's choice.

use super::solutions::{assert_both, both, change_referral, switch_on_rows, touch};
use super::*;
use cosell::link::State;
use cosell::order::Order;
use cosell::reconcile::Report;

/// A run goes on until it has announced what it is going to write.
fn announce(world: &mut World, run: &mut world::Run) {
    let announced = only_link(world).version;
    step_until(world, run, |world| only_link(world).version > announced);
}

/// A run that has announced what it is going to write, and hangs.
fn hanging(world: &mut World, hint: &Hint) -> world::Run {
    let mut run = world.begin(hint);
    announce(world, &mut run);
    run
}

/// How many rows of the opportunity's solutions count.
fn active(world: &World, opportunity: OpportunityId) -> usize {
    let rows = world.rows[&opportunity].solutions.values();
    rows.filter(|(_, cells)| cells.get("statecode") != Some(&number(1)))
        .count()
}

fn assert_notes(world: &World, referral: ReferralId, opportunity: OpportunityId, notes: &str) {
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some(notes));
    assert_eq!(world.rows[&opportunity].shown().text("description"), Some(notes));
    world.assert_in_step(1);
}

/// Rows have no version in common with their opportunity: a run that another has outrun still writes them, behind the look
/// of that one. The opportunity comes last and is refused, and its memo shows until then what was there before.
#[test]
fn rows_that_a_run_wrote_before_it_was_outrun_are_told() {
    let (mut world, referral, opportunity) = in_step(false);
    let before = world.referrals[&referral].solutions.clone();
    change_referral(&mut world, referral, &["SOL-2", "SOL-3"]);
    let mut slow = hanging(&mut world, &from_referral(referral, Cause::ReferralUpdated));
    edit_referral(&mut world, referral, |record| record.solutions = before);
    edit_row(&mut world, opportunity, "estimatedvalue", number(4711));
    world.deliver(&from_row(opportunity));
    let told = |world: &World| {
        let changes = world.audit.iter().flat_map(|entry| entry.changes.clone());
        let rows = changes.filter(|change| (change.field, change.side) == (Field::Solutions, Side::Dynamics));
        rows.map(|change| (change.old, change.new)).collect::<Vec<_>>()
    };
    assert_eq!(told(&world), []);
    world.finish(&mut slow);
    // It is none of a seller's choosing, so the portal's person has the last word.
    let of = |ids: &[&str]| Term::Solutions(ids.iter().map(|id| SolutionId((*id).to_owned())).collect());
    let (chosen, written) = (of(&["SOL-1", "SOL-2"]), of(&["SOL-1", "SOL-2", "SOL-3"]));
    assert_eq!(told(&world), [(chosen.clone(), written.clone()), (written, chosen)]);
    world.settle();
    assert_both(&world, referral, opportunity, &["SOL-1", "SOL-2"]);
}

/// The portal chooses another solution meanwhile, which is agreed on before the row of the first one comes.
#[test]
fn a_row_that_comes_late_takes_nothing_from_what_was_agreed_on_since() {
    let (mut world, opportunity) = accepted();
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3"]);
    let hint = from_referral(REFERRAL, Cause::ReferralUpdated);
    let mut slow = hanging(&mut world, &hint);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-4"]);
    world.deliver(&hint);
    world.finish(&mut slow);
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-4"]);
}

/// The portal says something else meanwhile. Who takes the place announces that for the same field, and finds on the row what
/// the portal said before: it is no seller's.
#[test]
fn a_value_that_comes_late_does_not_compete_with_the_next() {
    let (mut world, referral, opportunity) = in_step(true);
    let hint = from_referral(referral, Cause::ReferralUpdated);
    let say = |world: &mut World, notes: &str| {
        edit_referral(world, referral, |record| record.notes = Some(notes.to_owned()));
    };
    say(&mut world, "Perhaps");
    let mut slow = hanging(&mut world, &hint);
    say(&mut world, "Surely");
    let mut next = hanging(&mut world, &hint);
    step_until(&mut world, &mut slow, |world| {
        world.rows[&opportunity].shown().text("description") == Some("Perhaps")
    });
    world.finish(&mut next);
    world.finish(&mut slow);
    world.settle();
    assert_notes(&world, referral, opportunity, "Surely");
    assert_eq!(losers(&world), []);
}

/// The seller's value wins, and the seller takes it back before it is written: then the portal's stays.
#[test]
fn a_winner_that_was_taken_back_and_comes_late_wins_no_more() {
    let (mut world, referral, opportunity) = in_step(true);
    let before = world.rows[&opportunity].shown().text("description").unwrap().to_owned();
    edit_referral(&mut world, referral, |record| {
        record.notes = Some("Portal's".to_owned())
    });
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    let mut slow = hanging(&mut world, &from_referral(referral, Cause::Compare));
    edit_row(&mut world, opportunity, "description", text(&before));
    world.deliver(&from_row(opportunity));
    world.finish(&mut slow);
    world.settle();
    assert_notes(&world, referral, opportunity, "Portal's");
}

/// The seller switches the deal off meanwhile. It rests, and what was written is told all the same.
#[test]
fn what_comes_late_to_a_deal_that_was_switched_off_is_told() {
    let (mut world, referral, opportunity) = in_step(true);
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    let mut slow = hanging(&mut world, &from_row(opportunity));
    switch(&mut world, opportunity, false);
    world.deliver(&from_row(opportunity));
    let told = |world: &World| {
        let changes = world.audit.iter().flat_map(|entry| entry.changes.clone());
        changes
            .filter(|change| change.new == Term::Text("Seller's".to_owned()))
            .count()
    };
    assert_eq!(told(&world), 0);
    world.finish(&mut slow);
    world.settle();
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Seller's"));
    assert_eq!(told(&world), 1);
    let entry = world.audit.iter().rfind(|entry| !entry.changes.is_empty()).unwrap();
    assert_eq!(entry.outcome, Outcome::Written);
}

/// The portal takes off again what it has added, and a run that is outrun has written both. The seller then adds the same.
#[test]
fn what_a_run_has_taken_off_again_is_not_looked_for_any_more() {
    let (mut world, opportunity) = accepted();
    let hint = from_referral(REFERRAL, Cause::ReferralUpdated);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3"]);
    let mut slow = world.begin(&hint);
    step_until(&mut world, &mut slow, |world| active(world, opportunity) == 2);
    touch(&mut world, opportunity);
    change_referral(&mut world, REFERRAL, &["SOL-1"]);
    step_until(&mut world, &mut slow, |world| active(world, opportunity) == 1);
    world.deliver(&from_row(opportunity));
    switch_on_rows(&mut world, opportunity);
    world.finish(&mut slow);
    world.deliver(&from_row(opportunity));
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-3"]);
}

/// A run dies behind a part of its rows. Who takes its place tells of the part, and takes it off again; what is left of the
/// announcement is the rest.
#[test]
fn what_was_told_of_a_part_is_not_looked_for_any_more() {
    let (mut world, opportunity) = accepted();
    let hint = from_referral(REFERRAL, Cause::ReferralUpdated);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3", "SOL-5"]);
    let mut dead = world.begin(&hint);
    step_until(&mut world, &mut dead, |world| active(world, opportunity) == 2);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-5"]);
    let mut next = hanging(&mut world, &hint);
    let is_done = |world: &World| {
        let [_, rows] = both(world, REFERRAL, opportunity);
        rows == set_of(&["SOL-1", "SOL-5"])
    };
    step_until(&mut world, &mut next, is_done);
    touch(&mut world, opportunity);
    switch_on_rows(&mut world, opportunity);
    world.finish(&mut next);
    world.deliver(&from_row(opportunity));
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-3", "SOL-5"]);
}

/// A run that has written the first of two rows when the portal takes both solutions back, which another run sees.
fn with_a_row_too_many() -> (World, OpportunityId, world::Run) {
    let (mut world, opportunity) = accepted();
    let hint = from_referral(REFERRAL, Cause::ReferralUpdated);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3", "SOL-4"]);
    let mut slow = hanging(&mut world, &hint);
    change_referral(&mut world, REFERRAL, &["SOL-1"]);
    world.deliver(&hint);
    assert_both(&world, REFERRAL, opportunity, &["SOL-1"]);
    step_until(&mut world, &mut slow, |world| active(world, opportunity) == 2);
    (world, opportunity, slow)
}

/// Whether a record tells that a row was written for a solution.
fn is_told(world: &World, solution: &str) -> bool {
    let solution = SolutionId(solution.to_owned());
    let adds = |change: &Change| matches!(&change.new, Term::Solutions(ids) if ids.contains(&solution));
    let rows = |change: &Change| (change.field, change.side) == (Field::Solutions, Side::Dynamics);
    let mut changes = world.audit.iter().flat_map(|entry| &entry.changes);
    changes.any(|change| rows(change) && adds(change))
}

/// Nothing that is refused for the moment makes the row a seller's, unless it is the ledger: then nothing can be remembered.
#[test]
fn a_row_that_comes_late_is_remembered_when_a_call_behind_it_is_refused() {
    let mut remembered = 0;
    for refused in 0.. {
        let (mut world, opportunity, mut slow) = with_a_row_too_many();
        world.mishaps.insert(world.calls + refused, Mishap::Refused);
        let report = world.finish(&mut slow).unwrap();
        if world.struck.is_empty() {
            break;
        }
        if report.again {
            continue;
        }
        remembered += 1;
        world.settle();
        assert_both(&world, REFERRAL, opportunity, &["SOL-1"]);
        assert!(is_told(&world, "SOL-3"), "call {refused}: {:#?}", world.audit);
        assert_eq!(only_link(&world).late, [], "call {refused}");
    }
    // The second row, both reads, and what takes the first one off.
    assert!(remembered >= 4, "{remembered}");
}

/// The referral is not to be seen any more, for which a person is waited for, when the run looks at what it has done.
fn with_rows_that_are_remembered() -> (World, OpportunityId) {
    let (mut world, opportunity, mut slow) = with_a_row_too_many();
    let hidden = world.referrals.remove(&REFERRAL).unwrap();
    world.deliver(&from_row(opportunity));
    world.settle();
    let report = world.finish(&mut slow).unwrap();
    assert_eq!(report.outcome, Outcome::Written);
    assert!(is_told(&world, "SOL-4"), "{:#?}", world.audit);
    world.settle();
    assert_eq!(active(&world, opportunity), 3);
    world.referrals.insert(REFERRAL, hidden);
    (world, opportunity)
}

#[test]
fn a_row_that_comes_late_is_remembered_while_a_person_is_waited_for() {
    let (mut world, opportunity) = with_rows_that_are_remembered();
    world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1"]);
}

/// The seller takes the rows off, which is seen, and wants them after all.
#[test]
fn a_row_that_came_late_and_is_gone_is_not_looked_for_any_more() {
    let (mut world, opportunity) = with_rows_that_are_remembered();
    let rows = &mut world.rows.get_mut(&opportunity).unwrap().solutions;
    for (version, cells) in rows.values_mut() {
        let is_late = ["SOL-3", "SOL-4"].map(text).contains(&cells["cosell_solutionid"]);
        cells.insert("statecode".to_owned(), number(i64::from(is_late)));
        *version += 1;
    }
    world.deliver(&from_referral(REFERRAL, Cause::Compare));
    assert_eq!(only_link(&world).late, []);
    switch_on_rows(&mut world, opportunity);
    world.deliver(&from_row(opportunity));
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-3", "SOL-4"]);
}

/// The write lands behind the look of another run and its answer is lost, so the run does not know of it either.
#[test]
fn a_value_that_comes_late_and_is_in_doubt_is_no_persons() {
    let (mut world, referral, opportunity) = in_step(true);
    let before = world.rows[&opportunity].shown().text("description").unwrap().to_owned();
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    let mut slow = hanging(&mut world, &from_row(opportunity));
    edit_row(&mut world, opportunity, "description", text(&before));
    world.deliver(&from_row(opportunity));
    world.mishaps.insert(world.calls, Mishap::LostAnswer);
    world.finish(&mut slow);
    assert_eq!(world.struck, [Mishap::LostAnswer]);
    world.settle();
    assert_notes(&world, referral, opportunity, &before);
}

/// An operator orders notes, and the seller switches the deal off while the order is written to the referral: it lands late,
/// and the order is refused.
fn refused_and_written(mishap: Option<Mishap>) -> (World, ReferralId, OpportunityId) {
    let (mut world, referral, opportunity) = in_step(true);
    world.order = Some(Order::Restore {
        field: Field::Notes,
        value: ordered(),
    });
    let hint = Hint {
        cause: Cause::Operator,
        ..from_row(opportunity)
    };
    let mut slow = hanging(&mut world, &hint);
    world.order = None;
    switch(&mut world, opportunity, false);
    world.deliver(&from_row(opportunity));
    world.mishaps.extend(mishap.map(|mishap| (world.calls, mishap)));
    let report = world.finish(&mut slow).unwrap();
    assert_eq!(about(&report.findings), [(Code::OrderRefused, None)]);
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Ordered"));
    (world, referral, opportunity)
}

fn ordered() -> Term {
    Term::Text("Ordered".to_owned())
}

fn switch(world: &mut World, opportunity: OpportunityId, on: bool) {
    edit_row(world, opportunity, "cosell_syncwithpartnercenter", Cell::Flag(on));
}

/// What the order has set is told, whether the run knows of it or is in doubt, and it is nobody's choice.
#[test]
fn an_order_that_is_written_late_is_told_though_it_is_refused() {
    for mishap in [None, Some(Mishap::LostAnswer)] {
        let (mut world, referral, opportunity) = refused_and_written(mishap);
        edit_row(&mut world, opportunity, "description", text("Seller's later"));
        switch(&mut world, opportunity, true);
        world.deliver(&from_row(opportunity));
        world.settle();
        let mut changes = world.audit.iter().flat_map(|entry| &entry.changes);
        assert!(changes.any(|change| change.new == ordered()), "{:#?}", world.audit);
        assert_notes(&world, referral, opportunity, "Seller's later");
        assert_eq!(losers(&world), []);
    }
}

/// Somebody replaces it in the portal, which is seen while the deal rests. Whoever says the same later has chosen it.
#[test]
fn an_order_that_was_written_late_and_replaced_is_forgotten() {
    let (mut world, referral, opportunity) = refused_and_written(Some(Mishap::LostAnswer));
    let say = |world: &mut World, notes: &str| {
        edit_referral(world, referral, |record| record.notes = Some(notes.to_owned()));
    };
    say(&mut world, "Something else");
    world.deliver(&from_referral(referral, Cause::Compare));
    say(&mut world, "Ordered");
    switch(&mut world, opportunity, true);
    world.deliver(&from_row(opportunity));
    world.settle();
    assert_notes(&world, referral, opportunity, "Ordered");
}

/// A row takes the place of what the seller had typed into the memo, and shows no more than that did. The run that wrote it
/// is recorded all the same.
#[test]
fn a_row_that_comes_late_and_changes_nothing_is_recorded() {
    let (mut world, referral, opportunity) = in_step(false);
    let before = world.referrals[&referral].solutions.clone();
    let hint = from_referral(referral, Cause::ReferralUpdated);
    change_referral(&mut world, referral, &["SOL-1"]);
    let mut slow = hanging(&mut world, &hint);
    edit_referral(&mut world, referral, |record| record.solutions = before);
    world.deliver(&hint);
    step_until(&mut world, &mut slow, |world| active(world, opportunity) == 1);
    touch(&mut world, opportunity);
    let known = world.audit.len();
    let report = world.finish(&mut slow).unwrap();
    assert_eq!(report.outcome, Outcome::Written);
    let outcomes: Vec<_> = world.audit[known..].iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Written]);
    world.settle();
    assert_both(&world, referral, opportunity, &["SOL-1", "SOL-2"]);
}

/// Writing to Dynamics is paused, and the deal waits for the end of the pause already.
#[test]
fn a_value_that_comes_late_to_a_deal_that_is_held_back_is_no_persons() {
    for is_held in [true, false] {
        let (mut world, referral, opportunity) = in_step(true);
        let before = world.rows[&opportunity].shown().text("description").unwrap().to_owned();
        world.paused = Some(Side::Dynamics);
        if is_held {
            change_referral(&mut world, referral, &["SOL-2", "SOL-3"]);
            world.deliver(&from_referral(referral, Cause::ReferralUpdated));
        }
        edit_row(&mut world, opportunity, "description", text("Seller's"));
        let mut slow = hanging(&mut world, &from_row(opportunity));
        edit_row(&mut world, opportunity, "description", text(&before));
        world.deliver(&from_row(opportunity));
        switch(&mut world, opportunity, false);
        world.finish(&mut slow);
        switch(&mut world, opportunity, true);
        world.paused = None;
        world.deliver(&from_row(opportunity));
        world.deliver(&from_referral(referral, Cause::ReferralUpdated));
        world.look_at_held();
        world.settle();
        assert_notes(&world, referral, opportunity, &before);
    }
}

/// Others are faster again and again, until the run gives up; `before` is done before each time.
fn until_it_gives_up(world: &mut World, slow: &mut world::Run, mut before: impl FnMut(&mut World)) -> Report {
    let hint = from_referral(REFERRAL, Cause::ReferralUpdated);
    loop {
        match world.step(slow) {
            world::Went::Done(report) => return report,
            world::Went::Crashed => unreachable!("no mishap was ordered"),
            world::Went::On => {}
        }
        if matches!(slow.touched.take(), Some(Touch::Read(Subject::Referral(_)))) {
            before(world);
            // The other's read is refused, which it writes down.
            world.mishaps.insert(world.calls + 1, Mishap::Refused);
            world.deliver(&hint);
            world.mishaps.clear();
        }
    }
}

/// It writes down what it knows first.
#[test]
fn a_row_that_comes_late_is_remembered_by_a_run_that_gives_up() {
    let (mut world, opportunity, mut slow) = with_a_row_too_many();
    let report = until_it_gives_up(&mut world, &mut slow, |_| {});
    assert_eq!(report.fault.map(|fault| fault.code), Some("outrun"));
    assert!(!report.again);
    assert_ne!(only_link(&world).late, []);
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1"]);
}

/// The opportunity is deleted meanwhile, and the deal buried: it is not dug up.
#[test]
fn a_run_that_gives_up_leaves_a_buried_deal_alone() {
    let (mut world, opportunity, mut slow) = with_a_row_too_many();
    let mut times = 0;
    until_it_gives_up(&mut world, &mut slow, |world| {
        times += 1;
        if times == 3 {
            world.rows.remove(&opportunity);
            world.deliver(&from_row(opportunity));
        }
    });
    let link = only_link(&world);
    assert_eq!((link.state, link.due, &link.late[..]), (State::Gone, None, &[][..]));
}

/// What a look has found of it is announced with what the look comes to; the rest is forgotten.
#[test]
fn what_came_late_is_not_remembered_beside_what_is_announced() {
    let (mut world, _) = with_rows_that_are_remembered();
    assert_ne!(only_link(&world).late, []);
    hanging(&mut world, &from_referral(REFERRAL, Cause::Compare));
    assert_eq!(only_link(&world).late, []);
}

/// A run whose PATCH will do nothing: another one has written the same, and then what the seller said later.
fn with_a_patch_in_vain() -> (World, ReferralId, OpportunityId, world::Run) {
    let (mut world, referral, opportunity) = in_step(true);
    edit_row(&mut world, opportunity, "description", text("Seller's"));
    let slow = hanging(&mut world, &from_row(opportunity));
    world.deliver(&from_row(opportunity));
    edit_row(&mut world, opportunity, "description", text("Later"));
    world.deliver(&from_row(opportunity));
    (world, referral, opportunity, slow)
}

/// A PATCH whose answer is lost has done nothing, since others have written before it. A look at both sides shows that: it
/// writes nothing, to the ledger neither, and what a person types later is theirs.
#[test]
fn what_turns_out_not_to_have_come_late_is_forgotten() {
    let (mut world, referral, opportunity, mut slow) = with_a_patch_in_vain();
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    assert_notes(&world, referral, opportunity, "Later");
    let known = only_link(&world);
    world.mishaps.insert(world.calls, Mishap::LostAnswer);
    let report = world.finish(&mut slow).unwrap();
    assert_eq!(world.struck, [Mishap::LostAnswer]);
    assert_eq!(report.outcome, Outcome::Echo);
    assert_eq!(only_link(&world), known);
    edit_referral(&mut world, referral, |record| {
        record.notes = Some("Seller's".to_owned());
    });
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    world.settle();
    assert_notes(&world, referral, opportunity, "Seller's");
}

/// Three times the row is touched behind an announcement. Behind the fourth one another run takes the place.
#[test]
fn a_row_that_comes_late_is_remembered_by_a_run_that_others_outrun_as_it_gives_up() {
    let (mut world, opportunity) = accepted();
    let hint = from_referral(REFERRAL, Cause::ReferralUpdated);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3"]);
    let mut slow = world.begin(&hint);
    for _ in 0..3 {
        announce(&mut world, &mut slow);
        touch(&mut world, opportunity);
    }
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3", "SOL-4"]);
    announce(&mut world, &mut slow);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3"]);
    world.deliver(&hint);
    touch(&mut world, opportunity);
    let report = world.finish(&mut slow).unwrap();
    assert_eq!(report.fault.map(|fault| fault.code), Some("outrun"));
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-3"]);
}

/// The seller has switched the deal off, and nothing has come late: then nothing is remembered of it.
#[test]
fn what_has_not_come_late_to_a_deal_that_rests_is_forgotten() {
    let (mut world, referral, opportunity, mut slow) = with_a_patch_in_vain();
    switch(&mut world, opportunity, false);
    world.deliver(&from_row(opportunity));
    let known = only_link(&world);
    assert_eq!(world.referrals[&referral].notes.as_deref(), Some("Later"));
    world.mishaps.insert(world.calls, Mishap::LostAnswer);
    world.finish(&mut slow);
    assert_eq!(world.struck, [Mishap::LostAnswer]);
    assert_eq!(only_link(&world), known);
}
