//! A seller switches the synchronisation of a deal off and on, while runs are under way and behind runs that died.
//!
//! Here is what has to be true: what anybody typed meanwhile survives, whoever looks first; what was announced is given
//! up, and what of it has landed is recorded.

use cosell::deal::{Field, Side};
use cosell::hint::{Cause, Hint, Subject};
use cosell::ids::{OpportunityId, ReferralId};
use cosell::link::{Change, State};
use cosell::opportunity::Cell;
use cosell::order::Order;

use super::{
    REFERRAL, accepted, dies_once, edit_referral, edit_row, from_referral, from_row, ids_of_rows, in_step, losers,
    only_link, tags, text,
};
use model::world::{Went, World};

fn switch(world: &mut World, opportunity: OpportunityId, on: bool) {
    edit_row(world, opportunity, "cosell_syncwithpartnercenter", Cell::Flag(on));
}

/// A deal that its seller has switched off, and edits on both sides that nobody has carried over.
fn edited_while_off() -> (World, ReferralId, OpportunityId) {
    let (mut world, referral, opportunity) = in_step(false);
    switch(&mut world, opportunity, false);
    world.deliver(&from_row(opportunity));
    world.settle();
    assert_eq!((only_link(&world).state, only_link(&world).due), (State::Paused, None));
    edit_on_both_sides(&mut world, referral, opportunity);
    (world, referral, opportunity)
}

fn edit_on_both_sides(world: &mut World, referral: ReferralId, opportunity: OpportunityId) {
    edit_row(world, opportunity, "description", text("Typed while it was off"));
    edit_referral(world, referral, |record| {
        record.notes = Some("In the portal".to_owned())
    });
}

fn assert_both_are_recorded(world: &World) {
    let lost = losers(world);
    let [change] = lost.as_slice() else { panic!("{lost:#?}") };
    let mut values = [change.old.to_string(), change.new.to_string()];
    values.sort();
    assert_eq!(values, ["In the portal", "Typed while it was off"]);
}

/// The version of the row that says "on again" proves nothing about the other columns.
#[test]
fn what_was_typed_while_a_deal_was_off_survives_whoever_looks_first_once_it_is_on() {
    let (mut world, referral, opportunity) = edited_while_off();
    switch(&mut world, opportunity, true);
    // The run that switches it on dies before it looks at both sides.
    dies_once(&mut world, &from_row(opportunity), |world| {
        let link = only_link(world);
        link.state == State::Active && link.pending.is_none()
    });
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    world.settle();
    world.assert_in_step(1);
    assert_both_are_recorded(&world);
}

/// The same where an operator's `link` switches it on before anybody has noticed that it was off.
#[test]
fn what_was_typed_while_a_deal_was_off_survives_an_operator_who_switches_it_on() {
    let (mut world, referral, opportunity) = in_step(false);
    switch(&mut world, opportunity, false);
    edit_on_both_sides(&mut world, referral, opportunity);
    world.order = Some(Order::Link { referral, opportunity });
    let hint = Hint::new(Subject::Referral(referral), Cause::Operator);
    dies_once(&mut world, &hint, |world| {
        let is_on = world.rows[&opportunity].shown().flag("cosell_syncwithpartnercenter");
        is_on && only_link(world).pending.is_none()
    });
    world.order = None;
    world.deliver(&from_referral(referral, Cause::ReferralUpdated));
    world.settle();
    world.assert_in_step(1);
    assert_both_are_recorded(&world);
}

#[test]
fn a_deal_that_is_off_again_before_it_was_on_is_announced_no_more() {
    let (mut world, _, opportunity) = edited_while_off();
    switch(&mut world, opportunity, true);
    let mut run = world.begin(&from_row(opportunity));
    while only_link(&world).pending.is_none() {
        assert!(matches!(world.step(&mut run), Went::On));
    }
    switch(&mut world, opportunity, false);
    let written = world.vendor_writes;
    world.finish(&mut run);
    world.settle();
    let link = only_link(&world);
    assert_eq!((link.state, link.pending, link.due), (State::Paused, None, None));
    assert_eq!(world.vendor_writes, written + 1, "one refused attempt and nothing else");
}

/// A write reached the referral, its run died, and then the deal was switched off, or its row deleted: what was written is
/// recorded, and who lost by it.
#[test]
fn what_landed_before_a_deal_was_switched_off_or_deleted_is_recorded() {
    for is_deleted in [false, true] {
        let (mut world, referral, opportunity) = in_step(false);
        edit_row(&mut world, opportunity, "description", text("Seller's"));
        edit_row(&mut world, opportunity, "estimatedclosedate", text("2027-01-31"));
        edit_referral(&mut world, referral, |record| {
            record.notes = Some("Portal's".to_owned())
        });
        dies_once(&mut world, &from_row(opportunity), |world| {
            world.referrals[&referral].notes.as_deref() == Some("Seller's")
        });
        if is_deleted {
            world.rows.remove(&opportunity);
        } else {
            switch(&mut world, opportunity, false);
        }
        world.deliver(&from_row(opportunity));
        world.settle();
        let link = only_link(&world);
        let state = if is_deleted { State::Gone } else { State::Paused };
        assert_eq!((link.state, &link.pending), (state, &None));
        let lost = losers(&world);
        assert_eq!(lost.len(), 1, "deleted: {is_deleted}, {:#?}", world.audit);
        assert_eq!(lost[0].old.to_string(), "Portal's");
        let mut changes = world.audit.iter().flat_map(|entry| &entry.changes);
        let is_date = |change: &Change| (change.side, change.field) == (Side::PartnerCenter, Field::CloseDate);
        assert!(changes.any(is_date), "deleted: {is_deleted}, {:#?}", world.audit);
    }
}

/// Whoever sees that a deal is on again catches up with it at once, whatever the look is about; the date is for the case
/// that the run dies.
#[test]
fn the_look_that_sees_a_deal_on_again_catches_up_with_it() {
    for is_told in [true, false] {
        let (mut world, referral, opportunity) = in_step(false);
        switch(&mut world, opportunity, false);
        world.deliver(&from_row(opportunity));
        world.settle();
        edit_referral(&mut world, referral, |record| {
            record.notes = Some("In the portal".to_owned())
        });
        let event = from_referral(referral, Cause::ReferralUpdated);
        world.deliver(&event);
        assert_eq!(world.rows[&opportunity].cells["description"], text("Talked to Ada"));
        switch(&mut world, opportunity, true);
        world.deliver(&if is_told { from_row(opportunity) } else { event });
        assert_eq!(world.rows[&opportunity].cells["description"], text("In the portal"));
        world.assert_in_step(1);
    }
}

/// Rows are written one by one: those that were before the run died are told when the deal is given up.
#[test]
fn the_rows_that_landed_before_a_deal_was_switched_off_are_told() {
    let (mut world, opportunity) = accepted();
    edit_referral(&mut world, REFERRAL, |record| {
        record.solutions = tags(&["SOL-1", "SOL-7", "SOL-8"]);
    });
    dies_once(&mut world, &from_referral(REFERRAL, Cause::ReferralUpdated), |world| {
        world.rows[&opportunity].solutions.len() == 2
    });
    let landed = ids_of_rows(&world, opportunity);
    let audited = world.audit.len();
    switch(&mut world, opportunity, false);
    world.deliver(&from_row(opportunity));
    let changes = world.audit[audited..].iter().flat_map(|entry| &entry.changes);
    let told: Vec<_> = changes
        .map(|change| (change.side, change.field, change.new.to_string()))
        .collect();
    let landed = landed.into_iter().collect::<Vec<_>>().join(", ");
    assert_eq!(told, [(Side::Dynamics, Field::Solutions, landed)]);
}

/// The run that switches a deal on dies before it catches up; nobody else is told.
#[test]
fn a_date_sees_to_it_that_a_deal_which_is_on_again_catches_up() {
    let (mut world, _, opportunity) = edited_while_off();
    switch(&mut world, opportunity, true);
    dies_once(&mut world, &from_row(opportunity), |world| {
        let link = only_link(world);
        link.state == State::Active && link.pending.is_none()
    });
    world.hints.clear();
    world.settle();
    world.assert_in_step(1);
    assert_both_are_recorded(&world);
    // One that is off needs none.
    switch(&mut world, opportunity, false);
    world.deliver(&from_row(opportunity));
    assert_eq!((only_link(&world).state, only_link(&world).due), (State::Paused, None));
}

/// The mark before the name tells a seller at a glance that the deal is in step: one that is off bears none.
#[test]
fn the_mark_goes_and_comes_back_with_the_synchronisation() {
    let (mut world, _, opportunity) = in_step(false);
    let name = |world: &World| world.rows[&opportunity].shown().text("name").map(ToOwned::to_owned);
    let marked = name(&world).unwrap();
    assert_ne!(marked, "Big deal");
    for (on, shown) in [(false, "Big deal"), (true, &marked)] {
        switch(&mut world, opportunity, on);
        world.deliver(&from_row(opportunity));
        world.settle();
        assert_eq!(name(&world).as_deref(), Some(shown));
    }
}
