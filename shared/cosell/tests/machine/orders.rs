//! An operator's orders: every place where one can break, and people who go on working meanwhile.
//!
//! Here is what has to be true: an order that was given twice, with a mishap in between, ends as one that was given once;
//! after it whatever arrives late writes nothing; an edit that a person makes behind a crash is not overruled by it.

use cosell::deal::{Currency, Field, Side, Term};
use cosell::finding::Code;
use cosell::hint::{Cause, Hint, Subject};
use cosell::ids::{OpportunityId, ReferralId};
use cosell::link::{Change, Outcome, Pending, State};
use cosell::opportunity::Cell;
use cosell::order::Order;
use cosell::reconcile::Report;
use cosell::referral::MICROSOFT;

use jiff::SignedDuration;
use model::vendors::{ReferralRecord, number};
use model::world::{self, MISHAPS, Mishap, Run, Went, World, sellers_row};
use uuid::Uuid;

use super::{
    REFERRAL, Story, Told, about, dies_once, edit_referral, edit_row, edited_on_both_sides, from_referral, from_row,
    in_step, inbound, leads, only_link, outbound, step_until, text, waiting,
};

/// A deal, an order about it, and what has to be true once it is carried out.
struct Case {
    name: &'static str,
    world: World,
    deal: (ReferralId, OpportunityId),
    order: Order,
    is_done: fn(&World, ReferralId, OpportunityId),
}

fn status(world: &World, referral: ReferralId) -> (&str, &str, Option<&str>) {
    let record = &world.referrals[&referral];
    (&record.status, &record.substatus, record.reason.as_deref())
}

fn notes(world: &World, referral: ReferralId, opportunity: OpportunityId) -> (Option<String>, Option<String>) {
    (
        world.referrals[&referral].notes.clone(),
        world.rows[&opportunity].shown().text("description").map(str::to_owned),
    )
}

fn restored(world: &World, referral: ReferralId, opportunity: OpportunityId) {
    let old = Some("As it was".to_owned());
    assert_eq!(notes(world, referral, opportunity), (old.clone(), old));
    world.assert_in_step(1);
}

fn restore() -> Order {
    Order::Restore {
        field: Field::Notes,
        value: Term::Text("As it was".to_owned()),
    }
}

fn apart(world: &World, _: ReferralId, opportunity: OpportunityId) {
    let row = world.rows[&opportunity].shown();
    assert_eq!(row.text("cosell_referralidentifier"), None);
    assert_eq!(row.text("name"), Some("Big deal"), "without the mark of a deal in step");
    assert!(!row.flag("cosell_syncwithpartnercenter"));
    let links: Vec<_> = world.links().collect();
    assert!(
        links
            .iter()
            .all(|link| link.state == State::Parted && link.pending.is_none()),
        "{links:#?}"
    );
}

fn cases() -> Vec<Case> {
    let (answering, referral, opportunity) = waiting();
    let (shared, own, row) = in_step(true);
    let mut parted = shared.clone();
    give(&mut parted, row, Order::Unlink);
    parted.settle();
    let mut edited = shared.clone();
    edit_row(&mut edited, row, "description", text("Nobody has seen this"));
    edit_referral(&mut edited, own, |record| record.notes = Some("Nor this".to_owned()));
    let mut off = shared.clone();
    edit_row(&mut off, row, "cosell_syncwithpartnercenter", Cell::Flag(false));
    off.deliver(&from_row(row));
    let mut answered = shared.clone();
    give(&mut answered, row, restore());
    answered.settle();
    edit_referral(&mut answered, own, |record| record.notes = Some("Nor this".to_owned()));
    let (one, other) = ((referral, opportunity), (own, row));
    let link = Order::Link {
        referral: own,
        opportunity: row,
    };
    vec![
        Case {
            name: "accept",
            world: answering.clone(),
            deal: one,
            order: Order::Accept,
            is_done: |world, referral, _| {
                assert_eq!(status(world, referral), ("Active", "Accepted", None));
                world.assert_in_step(1);
            },
        },
        Case {
            name: "decline",
            world: answering,
            deal: one,
            order: Order::Decline {
                reason: "Not ours".to_owned(),
            },
            is_done: |world, referral, _| {
                assert_eq!(status(world, referral), ("Closed", "Declined", Some("Not ours")));
                world.assert_in_step(1);
            },
        },
        Case {
            name: "restore",
            world: shared.clone(),
            deal: other,
            order: restore(),
            is_done: restored,
        },
        Case {
            name: "restore over unseen edits",
            world: edited.clone(),
            deal: other,
            order: restore(),
            is_done: |world, referral, opportunity| {
                restored(world, referral, opportunity);
                // Where a look comes between, the row's value wins a conflict first and is seen when the order comes.
                for (value, is_unseen) in [("Nobody has seen this", false), ("Nor this", true)] {
                    let is_kept =
                        |change: &Change| change.old == Term::Text(value.to_owned()) && change.lost >= is_unseen;
                    let mut changes = world.audit.iter().flat_map(|entry| &entry.changes);
                    assert!(changes.any(is_kept), "{value} is not recorded: {:#?}", world.audit);
                }
            },
        },
        Case {
            name: "restore what Dynamics still shows",
            world: answered,
            deal: other,
            order: restore(),
            is_done: restored,
        },
        Case {
            name: "unlink what was switched off",
            world: off,
            deal: other,
            order: Order::Unlink,
            is_done: apart,
        },
        Case {
            name: "unlink what was edited meanwhile",
            world: edited.clone(),
            deal: other,
            order: Order::Unlink,
            is_done: apart,
        },
        Case {
            name: "unlink",
            world: shared,
            deal: other,
            order: Order::Unlink,
            is_done: apart,
        },
        Case {
            name: "link",
            world: parted,
            deal: other,
            order: link,
            is_done: |world, _, _| world.assert_in_step(1),
        },
    ]
}

/// An operator gives an order; the command is delivered once, as it is, whatever becomes of it.
pub(super) fn give(world: &mut World, opportunity: OpportunityId, order: Order) -> Option<Report> {
    let subject = match order {
        Order::Link { referral, .. } => Subject::Referral(referral),
        _ => Subject::Opportunity(opportunity),
    };
    world.order = Some(order);
    let mut run = world.begin(&Hint::new(subject, Cause::Operator));
    let report = world.finish(&mut run);
    world.order = None;
    report
}

fn play(case: &Case, mishap: Option<(u32, Mishap)>, settles_between: bool) -> Vec<u32> {
    let told = format!("{} with {mishap:?}, settled in between: {settles_between}", case.name);
    let guard = Told(&told);
    let mut world = case.world.clone();
    let (referral, opportunity) = case.deal;
    world.calls = 0;
    world.writes.clear();
    world.mishaps = mishap.into_iter().collect();
    give(&mut world, opportunity, case.order.clone());
    let writes = world.writes.clone();
    if mishap.is_some() {
        world.mishaps.clear();
        if settles_between {
            world.settle();
        }
        give(&mut world, opportunity, case.order.clone());
    }
    world.settle();
    (case.is_done)(&world, referral, opportunity);
    let before = (world.vendor_writes, world.audit.len());
    for hint in [from_referral(referral, Cause::ReferralUpdated), from_row(opportunity)] {
        world.deliver(&hint);
    }
    let again = give(&mut world, opportunity, case.order.clone()).unwrap();
    assert!(matches!(again.outcome, Outcome::Echo | Outcome::Ignored), "{again:#?}");
    world.settle();
    assert_eq!((world.vendor_writes, world.audit.len()), before, "it goes on writing");
    std::mem::forget(guard);
    writes
}

#[test]
fn an_order_ends_the_same_whichever_of_its_calls_goes_wrong() {
    for case in cases() {
        let writes = play(&case, None, false);
        let calls = writes.last().unwrap() + 1;
        for position in 0..calls {
            for mishap in MISHAPS {
                play(&case, Some((position, mishap)), false);
                play(&case, Some((position, mishap)), true);
            }
        }
    }
}

/// The vendor announces what an order wrote while the order is still under way; whoever is told finishes it.
#[test]
fn an_order_that_another_look_finishes_is_not_refused() {
    for case in cases() {
        let (referral, opportunity) = case.deal;
        let calls = play(&case, None, false).last().unwrap() + 1;
        for position in 0..calls {
            let told = format!("{} overtaken before call {position}", case.name);
            let guard = Told(&told);
            let mut world = case.world.clone();
            world.order = Some(case.order.clone());
            let subject = match case.order {
                Order::Link { referral, .. } => Subject::Referral(referral),
                _ => Subject::Opportunity(opportunity),
            };
            let mut run = world.begin(&Hint::new(subject, Cause::Operator));
            world.order = None;
            for _ in 0..position {
                assert!(matches!(world.step(&mut run), Went::On));
            }
            for hint in [from_referral(referral, Cause::ReferralUpdated), from_row(opportunity)] {
                world.deliver(&hint);
            }
            let report = world.finish(&mut run).unwrap();
            let is_refused = report.findings.iter().any(|finding| finding.code == Code::OrderRefused);
            assert!(!is_refused && report.fault.is_none(), "{report:#?}");
            let field = case.order.edit().map(|(field, _)| field);
            let mut done = report.findings.iter().filter(|finding| finding.code == Code::Ordered);
            assert!(done.all(|finding| finding.field == field), "{report:#?}");
            world.settle();
            (case.is_done)(&world, referral, opportunity);
            std::mem::forget(guard);
        }
    }
}

/// The announcement alone finishes an edit, in so far as anything of it was written; nobody repeats the order.
#[test]
fn an_announced_edit_is_finished_by_the_next_look() {
    for case in cases().into_iter().filter(|case| case.order.edit().is_some()) {
        let writes = play(&case, None, false);
        for position in writes {
            let mut world = case.world.clone();
            world.calls = 0;
            world.mishaps = [(position, Mishap::Crash)].into();
            give(&mut world, case.deal.1, case.order.clone());
            world.mishaps.clear();
            world.settle();
            (case.is_done)(&world, case.deal.0, case.deal.1);
        }
    }
}

/// The run dies before synchronisation is switched on in the row: that it is off is no wish of the seller's.
#[test]
fn an_announced_link_is_finished_by_the_next_look() {
    let case = cases().into_iter().find(|case| case.name == "link").unwrap();
    let (referral, opportunity) = case.deal;
    let Case { mut world, order, .. } = case;
    world.order = Some(order);
    let command = Hint::new(Subject::Referral(referral), Cause::Operator);
    dies_once(&mut world, &command, |world| {
        world.links().any(|link| link.pending == Some(Pending::Join))
    });
    world.order = None;
    assert!(!world.rows[&opportunity].shown().flag("cosell_syncwithpartnercenter"));
    world.settle();
    assert!(world.rows[&opportunity].shown().flag("cosell_syncwithpartnercenter"));
    world.assert_in_step(1);
}

#[test]
fn what_a_person_says_behind_a_crash_is_not_overruled_by_it() {
    let case = cases().into_iter().find(|case| case.name == "restore").unwrap();
    let writes = play(&case, None, false);
    let (referral, opportunity) = case.deal;
    // The announcement; the referral; the opportunity.
    for position in writes.into_iter().take(3) {
        let mut world = case.world.clone();
        world.calls = 0;
        world.mishaps = [(position, Mishap::Crash)].into();
        give(&mut world, opportunity, case.order.clone());
        world.mishaps.clear();
        edit_row(&mut world, opportunity, "description", text("Said afterwards"));
        world.deliver(&from_row(opportunity));
        world.settle();
        let said = Some("Said afterwards".to_owned());
        assert_eq!(
            notes(&world, referral, opportunity),
            (said.clone(), said),
            "call {position}"
        );
        world.assert_in_step(1);
    }
}

#[test]
fn nothing_is_ordered_toward_a_side_that_is_paused() {
    for case in cases() {
        for side in [Side::Dynamics, Side::PartnerCenter] {
            let mut world = case.world.clone();
            world.paused = Some(side);
            let writes = world.vendor_writes;
            let report = give(&mut world, case.deal.1, case.order.clone()).unwrap();
            let is_refused = report.findings.iter().any(|finding| finding.code == Code::OrderRefused);
            let is_there = side == Side::Dynamics && case.name == "restore what Dynamics still shows";
            let is_needed = (case.order.edit().is_some() || side == Side::Dynamics) && !is_there;
            assert_eq!(is_refused, is_needed, "{} with {side} paused: {report:#?}", case.name);
            // The seller's or the portal's own edit travels all the same.
            let is_edited = case.name.starts_with("restore ");
            assert!(
                !is_refused || is_edited || world.vendor_writes == writes,
                "{}",
                case.name
            );
        }
    }
}

#[test]
fn a_seller_who_shares_a_parted_deal_anew_is_told_and_not_obeyed() {
    let (mut world, referral, opportunity) = in_step(true);
    give(&mut world, opportunity, Order::Unlink);
    world.settle();
    let before = (world.referrals.len(), world.vendor_writes);
    edit_row(
        &mut world,
        opportunity,
        "cosell_syncwithpartnercenter",
        Cell::Flag(true),
    );
    edit_row(
        &mut world,
        opportunity,
        "cosell_referralidentifier",
        text(&referral.to_string()),
    );
    for hint in [from_row(opportunity), from_referral(referral, Cause::ReferralUpdated)] {
        world.deliver(&hint);
    }
    world.settle();
    assert_eq!((world.referrals.len(), world.vendor_writes), before);
    let link = world.find(Subject::Opportunity(opportunity)).unwrap();
    assert_eq!(link.attention.len(), 1, "{link:#?}");
    assert_eq!(link.attention[0].code, Code::Unlinked);
}

/// Two orders for one field: whoever gave the second has had enough of the first, however far that came.
#[test]
fn a_newer_order_takes_the_place_of_one_that_a_crash_cut_off() {
    let case = cases().into_iter().find(|case| case.name == "restore").unwrap();
    let (referral, opportunity) = case.deal;
    // The announcement; the referral; the opportunity.
    for position in play(&case, None, false).into_iter().take(3) {
        let mut world = case.world.clone();
        world.calls = 0;
        world.mishaps = [(position, Mishap::Crash)].into();
        give(&mut world, opportunity, case.order.clone());
        world.mishaps.clear();
        let newer = Order::Restore {
            field: Field::Notes,
            value: Term::Text("On second thoughts".to_owned()),
        };
        give(&mut world, opportunity, newer);
        world.settle();
        let newer = Some("On second thoughts".to_owned());
        assert_eq!(
            notes(&world, referral, opportunity),
            (newer.clone(), newer),
            "call {position}"
        );
        world.assert_in_step(1);
    }
}

/// An order that has reached the referral and not yet the row.
fn on_its_way(world: &mut World, (referral, opportunity): (ReferralId, OpportunityId)) -> Run {
    world.order = Some(restore());
    let mut run = world.begin(&Hint::new(Subject::Opportunity(opportunity), Cause::Operator));
    world.order = None;
    while world.referrals[&referral].notes.as_deref() != Some("As it was") {
        assert!(matches!(world.step(&mut run), Went::On));
    }
    run
}

/// A person sees in the portal what was ordered and replaces it, while the order is still on its way to the row: before the
/// run starts over, or once it has announced anew what is left to be written, which is the row alone.
#[test]
fn whoever_has_seen_what_was_ordered_is_not_overruled_by_it() {
    for is_announced_anew in [false, true] {
        let (mut world, referral, opportunity) = in_step(true);
        let mut run = on_its_way(&mut world, (referral, opportunity));
        let announced = only_link(&world).version;
        // The row moves on, so that the run has to start over.
        edit_row(&mut world, opportunity, "estimatedvalue", number(4711));
        if is_announced_anew {
            step_until(&mut world, &mut run, |world| only_link(world).version > announced);
        }
        edit_referral(&mut world, referral, |record| record.notes = Some("Better".to_owned()));
        let report = world.finish(&mut run).unwrap();
        let told = about(&report.findings);
        assert!(told.contains(&(Code::Ordered, Some(Field::Notes))), "{report:#?}");
        world.settle();
        let better = Some("Better".to_owned());
        assert_eq!(notes(&world, referral, opportunity), (better.clone(), better));
        let mut changes = world.audit.iter().flat_map(|entry| &entry.changes);
        assert!(!changes.any(|change| change.lost), "{:#?}", world.audit);
        world.assert_in_step(1);
    }
}

/// A run that has to start over says of the same edit once that it lost.
#[test]
fn who_is_overruled_is_recorded_once_however_often_a_run_starts_over() {
    let (mut world, referral, opportunity) = in_step(true);
    edit_row(&mut world, opportunity, "description", text("Nobody has seen this"));
    let mut run = on_its_way(&mut world, (referral, opportunity));
    edit_row(&mut world, opportunity, "estimatedvalue", number(4711));
    world.finish(&mut run);
    world.settle();
    restored(&world, referral, opportunity);
    let changes = world.audit.iter().flat_map(|entry| &entry.changes);
    let lost = changes.filter(|change| change.lost).count();
    assert_eq!(lost, 1, "{:#?}", world.audit);
}

/// Another order takes the place of one that is announced and not written yet. It is written all the same, behind the look
/// of the other, and one of the two dies: the other tells what was replaced.
#[test]
fn what_was_written_behind_the_look_of_a_successor_is_told() {
    let another = || Order::Restore {
        field: Field::Value,
        value: Term::Money {
            amount: "4711".parse().unwrap(),
            currency: Currency::parse("EUR"),
        },
    };
    let cases = [
        (false, false, false),
        (false, true, false),
        (false, false, true),
        (true, false, false),
    ];
    for (first_dies, is_replaced, is_looked_at) in cases {
        let (mut world, referral, opportunity) = in_step(true);
        let (before, _) = notes(&world, referral, opportunity);
        let command = Hint::new(Subject::Opportunity(opportunity), Cause::Operator);
        let mut runs = [restore(), another()].map(|order| {
            world.order = Some(order);
            let version = only_link(&world).version;
            let mut run = world.begin(&command);
            step_until(&mut world, &mut run, |world| only_link(world).version > version);
            run
        });
        world.order = None;
        let as_it_was = Some("As it was".to_owned());
        step_until(&mut world, &mut runs[0], |world| {
            notes(world, referral, opportunity) == (as_it_was.clone(), as_it_was.clone())
        });
        if is_replaced {
            edit_referral(&mut world, referral, |record| record.notes = Some("Better".to_owned()));
        }
        if is_looked_at {
            // To somebody who knows of neither run both sides agree, as if two people had typed the same.
            world.deliver(&from_row(opportunity));
        }
        world.finish(&mut runs[usize::from(first_dies)]);
        world.settle();
        world.assert_in_step(1);
        let told = world.audit.iter().flat_map(|entry| &entry.changes);
        let before = Term::Text(before.unwrap());
        let told: Vec<_> = told.filter(|change| change.old == before).collect();
        let written = |side| Change {
            field: Field::Notes,
            side,
            old: before.clone(),
            new: Term::Text("As it was".to_owned()),
            lost: false,
        };
        let expected = [&written(Side::PartnerCenter), &written(Side::Dynamics)];
        assert_eq!(told, expected, "{first_dies} {is_replaced} {is_looked_at}");
    }
}

/// One order overrules what was typed in the portal and is cut off; so is the next, behind its first write. That one is
/// finished, whatever is still to be told of the other.
#[test]
fn an_order_is_finished_whoever_was_overruled_by_the_one_before() {
    let (mut world, referral, opportunity) = in_step(true);
    edit_referral(&mut world, referral, |record| {
        record.notes = Some("Portal's".to_owned())
    });
    let command = Hint::new(Subject::Opportunity(opportunity), Cause::Operator);
    let second_thoughts = Order::Restore {
        field: Field::Notes,
        value: Term::Text("On second thoughts".to_owned()),
    };
    world.order = Some(second_thoughts);
    dies_once(&mut world, &command, |world| only_link(world).pending.is_some());
    drop(on_its_way(&mut world, (referral, opportunity)));
    world.settle();
    restored(&world, referral, opportunity);
    let changes = world.audit.iter().flat_map(|entry| &entry.changes);
    let lost: Vec<_> = changes.filter(|change| change.lost).map(|change| &change.old).collect();
    assert!(lost.contains(&&Term::Text("Portal's".to_owned())), "{:#?}", world.audit);
}

/// One order overrules a seller and is cut off; the next says what the seller said. Where that is to go is its own value.
#[test]
fn an_order_is_finished_with_its_own_value() {
    let (mut world, referral, opportunity) = in_step(true);
    edit_row(&mut world, opportunity, "description", text("As it was"));
    world.order = Some(Order::Restore {
        field: Field::Notes,
        value: Term::Text("On second thoughts".to_owned()),
    });
    let command = Hint::new(Subject::Opportunity(opportunity), Cause::Operator);
    dies_once(&mut world, &command, |world| only_link(world).pending.is_some());
    drop(on_its_way(&mut world, (referral, opportunity)));
    world.settle();
    restored(&world, referral, opportunity);
}

/// Partner Center does not take what is ordered: the order is over, and whoever gave it is told of the field.
#[test]
fn an_order_that_a_vendor_refuses_is_over() {
    let (mut world, referral, opportunity) = in_step(true);
    let before = notes(&world, referral, opportunity);
    world.refused_path = Some("/details/notes");
    let report = give(&mut world, opportunity, restore()).unwrap();
    let told = about(&report.findings);
    assert!(told.contains(&(Code::OrderRefused, Some(Field::Notes))), "{told:?}");
    let mut texts = report
        .findings
        .iter()
        .filter(|finding| finding.code == Code::OrderRefused);
    assert!(
        texts.all(|finding| finding.text.contains("is not taken")),
        "{report:#?}"
    );
    world.settle();
    assert_eq!(notes(&world, referral, opportunity), before);
    world.refused_path = None;
    world.deliver(&from_referral(referral, Cause::Compare));
    world.settle();
    assert_eq!(
        notes(&world, referral, opportunity),
        before,
        "nobody has ordered it since"
    );
    world.assert_in_step(1);
}

/// A deal's state, an order that cannot be taken in it, and what whoever gave it is told.
struct Refused {
    world: World,
    subject: Subject,
    order: Order,
    told: &'static str,
}

/// Gives an order about a record and says what is told of it; it is refused as a whole.
fn refusal(case: &Refused) -> String {
    let mut world = case.world.clone();
    let state = |world: &World| {
        let links: Vec<_> = world.links().collect();
        (world.vendor_writes, world.audit.len(), links)
    };
    let before = state(&world);
    world.order = Some(case.order.clone());
    let mut run = world.begin(&Hint::new(case.subject, Cause::Operator));
    let report = world.finish(&mut run).unwrap();
    assert_eq!(report.outcome, Outcome::Ignored, "{}: {report:#?}", case.told);
    assert_eq!(state(&world), before, "{}", case.told);
    let [finding] = report.findings.as_slice() else {
        panic!("{}: {report:#?}", case.told)
    };
    assert_eq!(finding.code, Code::OrderRefused);
    finding.text.clone()
}

/// Cuts a run off as soon as something is true, and lets its time pass.
fn cut_off(world: &mut World, hint: &Hint, is_true: impl FnMut(&World) -> bool) {
    dies_once(world, hint, is_true);
    world.now += SignedDuration::from_mins(2);
}

#[test]
fn an_order_that_cannot_be_taken_says_why_and_does_nothing() {
    let (shared, referral, row) = in_step(true);
    let microsofts = shared.links().next().unwrap().microsoft.unwrap();
    let of_row = Subject::Opportunity(row);
    let mut parted = shared.clone();
    give(&mut parted, row, Order::Unlink);
    parted.settle();
    let mut gone = shared.clone();
    gone.rows.clear();
    gone.deliver(&from_row(row));
    let mut off = shared.clone();
    edit_row(&mut off, row, "cosell_syncwithpartnercenter", Cell::Flag(false));
    off.deliver(&from_row(row));
    let mut parting = shared.clone();
    parting.order = Some(Order::Unlink);
    cut_off(&mut parting, &Hint::new(of_row, Cause::Operator), |world| {
        world.links().any(|link| link.pending.is_some())
    });
    parting.order = None;
    let Story { mut world, hint, .. } = inbound(("Active", "Accepted"));
    let made = world::POLICY.tenant.opportunity_for(REFERRAL);
    cut_off(&mut world, &hint, |world| {
        world.links().any(|link| link.pending.is_some())
    });
    let coming = world;
    let mut lacking = World::new();
    sellers_row(&mut lacking, row, false);
    edit_row(&mut lacking, row, "cosell_solutions", Cell::Null);
    lacking.deliver(&from_row(row));
    let stranger = OpportunityId::new(Uuid::from_u128(0xB9));
    let about_a_deal = [restore(), Order::Accept];
    let both = |world: &World, subject, told| {
        let refused = |order: &Order| Refused {
            world: world.clone(),
            subject,
            order: order.clone(),
            told,
        };
        about_a_deal.iter().map(refused).collect::<Vec<_>>()
    };
    let unlink = |world: &World, subject, told| Refused {
        world: world.clone(),
        subject,
        order: Order::Unlink,
        told,
    };
    let lead = Subject::Referral(REFERRAL);
    let mut cases = vec![
        unlink(&shared, Subject::Opportunity(stranger), "belongs to no deal"),
        unlink(&parted, of_row, "is unlinked already"),
        unlink(&parted, Subject::Referral(referral), "is unlinked already"),
        unlink(&leads::received(), lead, "belongs to a lead"),
        unlink(&coming, Subject::Opportunity(made), "just being created"),
        unlink(&lacking, of_row, "is linked to no other record"),
    ];
    cases.extend(both(&shared, Subject::Opportunity(stranger), "belongs to no deal"));
    cases.extend(both(&parted, of_row, "link it first"));
    cases.extend(both(&parted, Subject::Referral(referral), "link it first"));
    cases.extend(both(&gone, of_row, "was deleted in Dynamics"));
    cases.extend(both(&off, of_row, "switched off by the seller"));
    cases.extend(both(&leads::received(), lead, "belongs to a lead"));
    cases.extend(both(&coming, Subject::Opportunity(made), "just being created"));
    cases.extend(both(&parting, of_row, "is just being unlinked"));
    cases.extend(both(&lacking, of_row, "is not shared yet"));
    // What `link` is told, by the two that it is to join.
    let joins = |world: &World, (referral, opportunity): (ReferralId, OpportunityId), told| Refused {
        world: world.clone(),
        subject: Subject::Referral(referral),
        order: Order::Link { referral, opportunity },
        told,
    };
    let mut beside = shared.clone();
    sellers_row(&mut beside, stranger, false);
    edit_row(&mut beside, stranger, "cosell_syncwithpartnercenter", Cell::Flag(false));
    let fresh = ReferralId::new(Uuid::from_u128(0xA9));
    beside
        .referrals
        .insert(fresh, ReferralRecord::active(fresh, beside.now));
    let theirs = ReferralId::new(Uuid::from_u128(0xAA));
    let record = ReferralRecord::active(theirs, beside.now);
    beside.referrals.insert(
        theirs,
        ReferralRecord {
            microsofts: true,
            ..record
        },
    );
    let mut sharing = beside.clone();
    edit_row(&mut sharing, stranger, "cosell_syncwithpartnercenter", Cell::Flag(true));
    cut_off(&mut sharing, &from_row(stranger), |world| {
        world.links().any(|link| link.pending.is_some())
    });
    // The row belongs to another referral by now.
    let mut joined = parted.clone();
    joined
        .referrals
        .insert(fresh, ReferralRecord::active(fresh, joined.now));
    let order = Order::Link {
        referral: fresh,
        opportunity: row,
    };
    give(&mut joined, row, order);
    joined.settle();
    let former = Subject::Referral(referral);
    cases.push(unlink(&joined, former, "is unlinked already"));
    cases.extend(both(&joined, former, "link it first"));
    let nobody = ReferralId::new(Uuid::from_u128(0xAB));
    let nothing = OpportunityId::new(Uuid::from_u128(0xBB));
    cases.extend([
        joins(&beside, (microsofts, stranger), "is Microsoft's half of a deal"),
        joins(&beside, (referral, stranger), "unlink them first"),
        joins(&beside, (fresh, row), "unlink them first"),
        joins(&sharing, (fresh, stranger), "is just being shared"),
        joins(&beside, (nobody, stranger), "Partner Center shows no referral"),
        joins(&beside, (theirs, stranger), "is another organisation's"),
        joins(&beside, (fresh, nothing), "Dynamics has no opportunity"),
        joins(&gone, (referral, row), "there is nothing to link"),
        joins(&leads::received(), (REFERRAL, stranger), "qualify it"),
    ]);
    for case in cases {
        let told = refusal(&case);
        assert!(told.contains(case.told), "{:?} of {}: {told}", case.order, case.subject);
    }
}

/// Both were listed for a person, each under its own name; once they are one deal, nobody is asked about either.
#[test]
fn two_records_that_were_listed_are_listed_no_more_once_they_are_linked() {
    let mut world = World::new();
    let row = OpportunityId::new(Uuid::from_u128(0xB1));
    sellers_row(&mut world, row, false);
    edit_row(&mut world, row, "cosell_solutions", Cell::Null);
    world.deliver(&from_row(row));
    let mut record = ReferralRecord::active(REFERRAL, world.now);
    (record.kind, record.inviter) = ("Novel".to_owned(), Some(MICROSOFT));
    record.name = Some("Big deal".to_owned());
    world.referrals.insert(REFERRAL, record);
    world.deliver(&from_referral(REFERRAL, Cause::ReferralCreated));
    world.settle();
    assert!(world.links().all(|link| link.attention.len() == 1));
    assert_eq!(world.links().count(), 2);
    // What the referral has and the row lacks comes with it.
    let order = Order::Link {
        referral: REFERRAL,
        opportunity: row,
    };
    give(&mut world, row, order);
    world.settle();
    assert!(
        world.links().all(|link| link.attention.is_empty()),
        "{:#?}",
        world.links().collect::<Vec<_>>()
    );
    world.deliver(&from_referral(REFERRAL, Cause::ReferralUpdated));
    world.settle();
    world.assert_in_step(1);
}

/// A referral finds another opportunity, whether or not the ledger remembers it under its own name as well.
#[test]
fn a_referral_that_was_parted_is_linked_to_another_row() {
    for is_remembered in [false, true] {
        let Story {
            mut world, hint, other, ..
        } = outbound(false);
        world.echoes = false;
        if is_remembered {
            world.deliver(&other);
        }
        world.deliver(&hint);
        world.settle();
        let (Subject::Opportunity(first), Subject::Referral(referral)) = (hint.subject, other.subject) else {
            panic!("{hint:?}, {other:?}")
        };
        give(&mut world, first, Order::Unlink);
        world.settle();
        let second = OpportunityId::new(Uuid::from_u128(0xB2));
        sellers_row(&mut world, second, false);
        edit_row(&mut world, second, "cosell_syncwithpartnercenter", Cell::Flag(false));
        let order = Order::Link {
            referral,
            opportunity: second,
        };
        give(&mut world, second, order);
        world.settle();
        let link = world.find(Subject::Referral(referral)).unwrap();
        assert_eq!(
            (link.opportunity, link.state),
            (Some(second), State::Active),
            "remembered: {is_remembered}"
        );
        assert_eq!((&link.pending, &link.due), (&None, &None));
        edit_referral(&mut world, referral, |record| {
            record.notes = Some("For the second".to_owned())
        });
        for hint in [from_referral(referral, Cause::ReferralUpdated), from_row(first)] {
            world.deliver(&hint);
        }
        assert_eq!(world.rows[&second].cells["description"], text("For the second"));
        assert_eq!(world.rows[&first].cells["description"], text("Talked to Ada"));
    }
}

/// An order takes the place of what was announced before: what that has written and replaced is recorded first, whoever dies.
#[test]
fn what_was_written_before_an_order_is_recorded() {
    let Story { mut world, hint, .. } = edited_on_both_sides();
    let link = only_link(&world);
    let (referral, opportunity) = (link.referral.unwrap(), link.opportunity.unwrap());
    // A seller's edit besides, with which nobody competes.
    edit_row(&mut world, opportunity, "estimatedvalue", number(4711));
    let changes = |world: &World| {
        let changes = world.audit.iter().flat_map(|entry| &entry.changes);
        let toward_referral = changes.filter(|change| change.side == Side::PartnerCenter);
        let told: Vec<(Field, bool)> = toward_referral.map(|change| (change.field, change.lost)).collect();
        told
    };
    let joins = Order::Link { referral, opportunity };
    for (order, pending) in [(Order::Unlink, Pending::Part), (joins, Pending::Join)] {
        let guard = Told("an order");
        let mut world = world.clone();
        let before = world.referrals[&referral].version;
        let mut dead = world.begin(&hint);
        step_until(&mut world, &mut dead, |world| {
            world.referrals[&referral].version > before
        });
        if pending == Pending::Join {
            // Nobody joins what is kept in step.
            edit_row(
                &mut world,
                opportunity,
                "cosell_syncwithpartnercenter",
                Cell::Flag(false),
            );
        }
        let known = changes(&world);
        world.order = Some(order);
        let mut dead = world.begin(&Hint::new(Subject::Opportunity(opportunity), Cause::Operator));
        world.order = None;
        step_until(&mut world, &mut dead, |world| {
            only_link(world).pending.as_ref() == Some(&pending)
        });
        let told = changes(&world).split_off(known.len());
        let is_told = |field, lost| told.iter().filter(|told| **told == (field, lost)).count() == 1;
        assert!(is_told(Field::Notes, true) && is_told(Field::Value, false), "{told:?}");
        drop(guard);
    }
}
