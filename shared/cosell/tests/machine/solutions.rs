//! Single solutions that people add and take off while their rows are written: of an opportunity's rows its version tells
//! nothing.

use super::*;

/// What both sides name.
pub(super) fn both(world: &World, referral: ReferralId, opportunity: OpportunityId) -> [BTreeSet<String>; 2] {
    let ids = |terms: &Terms| match terms.get(Field::Solutions) {
        Term::Solutions(ids) => ids.iter().map(|SolutionId(id)| id.clone()).collect(),
        _ => BTreeSet::new(),
    };
    [
        ids(&Terms::from_referral(&world.referrals[&referral].shown())),
        ids(&world::POLICY.mapping.terms(&world.rows[&opportunity].shown())),
    ]
}

pub(super) fn assert_both(world: &World, referral: ReferralId, opportunity: OpportunityId, ids: &[&str]) {
    assert_eq!(both(world, referral, opportunity), [set_of(ids), set_of(ids)]);
    assert_eq!(losers(world), []);
}

/// A seller adds a row, which leaves the opportunity's version as it is.
fn add_row(world: &mut World, opportunity: OpportunityId, id: &str) {
    let cells = [("cosell_solutionid", text(id)), ("statecode", number(0))];
    let cells = cells.map(|(column, cell)| (column.to_owned(), cell));
    let rows = &mut world.rows.get_mut(&opportunity).unwrap().solutions;
    let key = Uuid::from_u128(0xD0 + rows.len() as u128);
    assert!(rows.insert(key, (1, cells.into())).is_none());
}

/// A seller switches the row of a solution off.
fn switch_off_row(world: &mut World, opportunity: OpportunityId, id: &str) {
    let mut rows = world.rows.get_mut(&opportunity).unwrap().solutions.values_mut();
    let is_it = |cells: &std::collections::BTreeMap<String, Cell>| cells.get("cosell_solutionid") == Some(&text(id));
    let (version, cells) = rows.find(|(_, cells)| is_it(cells)).unwrap();
    cells.insert("statecode".to_owned(), number(1));
    *version += 1;
}

/// A seller switches all rows on again.
pub(super) fn switch_on_rows(world: &mut World, opportunity: OpportunityId) {
    let rows = &mut world.rows.get_mut(&opportunity).unwrap().solutions;
    for (version, cells) in rows.values_mut() {
        cells.insert("statecode".to_owned(), number(0));
        *version += 1;
    }
}

pub(super) fn touch(world: &mut World, opportunity: OpportunityId) {
    world.rows.get_mut(&opportunity).unwrap().version += 1;
}

pub(super) fn change_referral(world: &mut World, referral: ReferralId, ids: &[&str]) {
    edit_referral(world, referral, |referral| referral.solutions = tags(ids));
}

/// The seller empties the list, which Partner Center demands and keeps, and fills in what it keeps. By then it keeps it no
/// more: two people competed, and neither had seen what the other did.
#[test]
fn what_is_filled_in_again_competes_with_what_the_portal_says_by_now() {
    for edits_notes in [false, true] {
        let (mut world, opportunity) = accepted();
        change_referral(&mut world, REFERRAL, &["SOL-1"]);
        world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
        world.settle();
        switch_off_row(&mut world, opportunity, "SOL-1");
        world.deliver(&from_row(opportunity));
        world.settle();
        assert_eq!(
            about(&only_link(&world).attention),
            [(Code::Missing, Some(Field::Solutions))]
        );
        change_referral(&mut world, REFERRAL, &["SOL-6"]);
        switch_on_rows(&mut world, opportunity);
        if edits_notes {
            edit_row(&mut world, opportunity, "description", text("Filled in"));
        }
        world.deliver(&from_row(opportunity));
        world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
        world.settle();
        // The mapping has Dynamics win.
        assert_eq!(
            both(&world, REFERRAL, opportunity),
            [set_of(&["SOL-1"]), set_of(&["SOL-1"])]
        );
        let lost: Vec<_> = losers(&world)
            .into_iter()
            .map(|change| (change.side, change.old))
            .collect();
        let sixth = Term::Solutions([SolutionId("SOL-6".to_owned())].into());
        assert_eq!(lost, [(Side::PartnerCenter, sixth)], "{edits_notes}");
    }
}

/// The rows are written before the memo column of the opportunity, which shows what was taken off until it is written, too.
#[test]
fn what_the_memo_still_shows_is_not_taken_for_added() {
    let (mut world, referral, opportunity) = in_step(false);
    change_referral(&mut world, referral, &["SOL-2"]);
    let mut run = world.begin(&from_referral(referral, Cause::ReferralUpdated));
    step_until(&mut world, &mut run, |world| {
        world.rows[&opportunity].solutions.len() == 1
    });
    touch(&mut world, opportunity);
    world.finish(&mut run);
    world.settle();
    assert_both(&world, referral, opportunity, &["SOL-2"]);
}

#[test]
fn what_is_taken_off_while_its_opportunity_is_made_is_taken_off() {
    let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
    let opportunity = world::POLICY.tenant.opportunity_for(REFERRAL);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-4"]);
    // It dies behind the row, which another run finishes.
    let mut dead = world.begin(&hint);
    step_until(&mut world, &mut dead, |world| world.rows.contains_key(&opportunity));
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-5"]);
    world.deliver(&hint);
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-5"]);
}

/// A run that starts over announces what it has written before, to tell of it: that is no news to the base.
#[test]
fn what_was_written_before_a_run_started_over_does_not_turn_the_base_back() {
    let (mut world, opportunity) = accepted();
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3"]);
    let mut run = world.begin(&from_referral(REFERRAL, Cause::ReferralUpdated));
    step_until(&mut world, &mut run, |world| {
        world.rows[&opportunity].solutions.len() == 2
    });
    add_row(&mut world, opportunity, "SOL-4");
    touch(&mut world, opportunity);
    step_until(&mut world, &mut run, |world| {
        world.referrals[&REFERRAL].solutions.len() == 3
    });
    touch(&mut world, opportunity);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-4"]);
    world.finish(&mut run);
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-4"]);
}

/// The same where the seller switches the deal off in between, so that another plan takes the place of the first.
#[test]
fn what_was_written_before_a_deal_was_switched_off_is_agreed_on() {
    let (mut world, opportunity) = accepted();
    let switch = |world: &mut World, on| {
        edit_row(world, opportunity, "cosell_syncwithpartnercenter", Cell::Flag(on));
    };
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3"]);
    let mut dead = world.begin(&from_referral(REFERRAL, Cause::ReferralUpdated));
    step_until(&mut world, &mut dead, |world| {
        world.rows[&opportunity].solutions.len() == 2
    });
    switch(&mut world, false);
    let announced = only_link(&world).version;
    let mut run = world.begin(&from_row(opportunity));
    step_until(&mut world, &mut run, |world| only_link(world).version > announced);
    touch(&mut world, opportunity);
    world.finish(&mut run);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3", "SOL-5"]);
    switch(&mut world, true);
    world.deliver(&from_row(opportunity));
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-3", "SOL-5"]);
}

/// A run that gives up leaves its announcement, and a base that knows what it has written of it already.
#[test]
fn what_is_taken_off_behind_a_run_that_gave_up_is_taken_off() {
    let (mut world, opportunity) = accepted();
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3", "SOL-4"]);
    let mut run = world.begin(&from_referral(REFERRAL, Cause::ReferralUpdated));
    step_until(&mut world, &mut run, |world| {
        world.rows[&opportunity].solutions.len() == 3
    });
    // It has to start over for the opportunity, and cannot read it.
    touch(&mut world, opportunity);
    assert!(matches!(world.step(&mut run), world::Went::On));
    world.mishaps.insert(world.calls, Mishap::Refused);
    world.finish(&mut run);
    assert!(only_link(&world).pending.is_some());
    switch_off_row(&mut world, opportunity, "SOL-3");
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-4"]);
}

/// A later write of the run ends as one before it has, which is announced with it, to be told: that one landed long ago and
/// says nothing of what both sides agree on.
#[test]
fn what_a_run_wrote_twice_says_once_what_is_agreed_on() {
    let (mut world, opportunity) = accepted();
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-2"]);
    world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-2"]);
    // SOL-2 goes, SOL-3 comes, and SOL-3 is to go again: each time the run has to start over for the opportunity.
    change_referral(&mut world, REFERRAL, &["SOL-1"]);
    let mut run = world.begin(&from_referral(REFERRAL, Cause::ReferralUpdated));
    let active = |world: &World| {
        let rows = world.rows[&opportunity].solutions.values();
        let active = rows.filter(|(_, cells)| cells.get("statecode") != Some(&number(1)));
        active
            .filter_map(|(_, cells)| cells.get("cosell_solutionid").cloned())
            .collect::<Vec<Cell>>()
    };
    step_until(&mut world, &mut run, |world| active(world) == [text("SOL-1")]);
    touch(&mut world, opportunity);
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-3"]);
    step_until(&mut world, &mut run, |world| active(world).contains(&text("SOL-3")));
    touch(&mut world, opportunity);
    change_referral(&mut world, REFERRAL, &["SOL-1"]);
    let announced = only_link(&world).version;
    step_until(&mut world, &mut run, |world| only_link(world).version > announced);
    world.mishaps.insert(world.calls, Mishap::Refused);
    world.finish(&mut run);
    assert!(only_link(&world).pending.is_some());
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1"]);
}

/// A look reads one side after the other: what both are found to have added need not have been there at the same time. Here
/// the side that was read first takes it back before the other adds it.
#[test]
fn what_is_added_just_as_the_other_side_takes_it_back_is_added() {
    let of_row: fn(OpportunityId) -> Hint = from_row;
    for hint in [of_row, |_| from_referral(REFERRAL, Cause::ReferralUpdated)] {
        let (mut world, opportunity) = accepted();
        let hint = hint(opportunity);
        let is_of_row = hint.subject == Subject::Opportunity(opportunity);
        let edit = |world: &mut World, in_crm: bool, adds: bool| match (in_crm, adds) {
            (true, true) => add_row(world, opportunity, "SOL-4"),
            (true, false) => switch_off_row(world, opportunity, "SOL-4"),
            (false, true) => change_referral(world, REFERRAL, &["SOL-1", "SOL-4"]),
            (false, false) => change_referral(world, REFERRAL, &["SOL-1"]),
        };
        edit(&mut world, is_of_row, true);
        let mut run = world.begin(&hint);
        while run.touched != Some(Touch::Read(hint.subject)) {
            assert!(matches!(world.step(&mut run), world::Went::On));
        }
        edit(&mut world, is_of_row, false);
        edit(&mut world, !is_of_row, true);
        world.finish(&mut run);
        for hint in [from_row(opportunity), from_referral(REFERRAL, Cause::ReferralUpdated)] {
            world.deliver(&hint);
        }
        world.settle();
        assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-4"]);
    }
}

/// Where both have added it, and it is still there, nothing is written.
#[test]
fn what_both_sides_have_added_is_read_again_and_written_nowhere() {
    let (mut world, opportunity) = accepted();
    add_row(&mut world, opportunity, "SOL-4");
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-4"]);
    let (reads, writes) = (world.vendor_reads, world.vendor_writes);
    world.deliver(&from_row(opportunity));
    assert_eq!((world.vendor_reads, world.vendor_writes), (reads + 3, writes));
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-4"]);
    assert_eq!(world.vendor_writes, writes);
}

/// Qualifying a lead carries no solutions: whoever adds a row before they are filled in takes none off.
#[test]
fn what_is_added_to_a_fresh_opportunity_joins_what_its_lead_had() {
    let mut world = leads::received();
    let lead = world::POLICY.tenant.lead_for(REFERRAL);
    let opportunity = world.seller_qualifies(lead);
    add_row(&mut world, opportunity, "SOL-5");
    world.deliver(&Hint::new(Subject::Lead(lead), Cause::DynamicsPoll));
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-5"]);
}

/// The same row that the portal has added. The opportunity shows nothing of its lead yet, so it is not read again.
#[test]
fn what_is_added_on_both_sides_while_a_lead_is_qualified_leaves_all_else_as_it_was() {
    let mut world = leads::received();
    let lead = world::POLICY.tenant.lead_for(REFERRAL);
    let opportunity = world.seller_qualifies(lead);
    add_row(&mut world, opportunity, "SOL-4");
    change_referral(&mut world, REFERRAL, &["SOL-1", "SOL-4"]);
    world.deliver(&Hint::new(Subject::Lead(lead), Cause::DynamicsPoll));
    world.settle();
    assert_both(&world, REFERRAL, opportunity, &["SOL-1", "SOL-4"]);
    world.assert_in_step(1);
}

#[test]
fn a_list_that_is_emptied_again_is_listed_again() {
    let (mut world, referral, opportunity) = waiting();
    let look = |world: &mut World| {
        world.deliver(&from_row(opportunity));
        world.settle();
        about(&only_link(world).attention)
    };
    let told = |world: &World| about_all(&world.audit).len();
    let emptied = [(Code::Missing, Some(Field::Solutions))];
    switch_off_row(&mut world, opportunity, "SOL-1");
    assert_eq!(look(&mut world), emptied);
    add_row(&mut world, opportunity, "SOL-2");
    // It is sent once the referral is answered.
    assert_eq!(look(&mut world), []);
    switch_off_row(&mut world, opportunity, "SOL-2");
    let known = told(&world);
    assert_eq!(look(&mut world), emptied);
    assert_eq!(about_all(&world.audit)[known..], emptied);
    let writes = world.writes.len();
    assert_eq!(look(&mut world), emptied);
    assert_eq!(world.writes.len(), writes);
    assert_eq!(world.referrals[&referral].solutions.len(), 1);
}
