//! A run whose call hangs for longer than others wait for it is outrun: its write lands behind the look of who took its
//! place. It is ours all the same, and nobody's choice.

use super::solutions::{assert_both, change_referral};
use super::*;

/// A run that has announced what it is going to write, and hangs.
fn hanging(world: &mut World, hint: &Hint) -> world::Run {
    let mut run = world.begin(hint);
    let announced = only_link(world).version;
    step_until(world, &mut run, |world| only_link(world).version > announced);
    run
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
    let mut slow = world.begin(&from_referral(referral, Cause::ReferralUpdated));
    let announced = only_link(&world).version;
    step_until(&mut world, &mut slow, |world| only_link(world).version > announced);
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
    edit_row(
        &mut world,
        opportunity,
        "cosell_syncwithpartnercenter",
        Cell::Flag(false),
    );
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
}
