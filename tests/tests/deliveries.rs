//! Deliveries as they come in real life: many times, in any order, late, never.
//!
//! Each flow is first played with every event delivered once and in order. Guarantee shown: however the same events come,
//! there is one opportunity in the end, both sides say the same, and the vendors are made to write exactly what they are
//! made to write by a single delivery. Two copies of `sync` work at once in every world.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod common;

use std::time::Duration;

use cosell_tests::partner_center::{Inbound, InboundDeal, Release};
use cosell_tests::world::World;
use serde_json::json;
use uuid::Uuid;

use self::common::{Effects, assert_in_step, effects_since};

/// How long deliveries and messages may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the same thing is delivered.
const TIMES: usize = 20;

/// One opportunity, in step with the referral; and what the vendors were made to write.
fn look(world: &World, sent: &Inbound, mark: u64) -> Effects {
    assert_eq!(world.dataverse.opportunities().len(), 1, "{}", world.state_of_affairs());
    for table in ["accounts", "contacts"] {
        assert_eq!(
            world.dataverse.rows(table).len(),
            1,
            "{table}; {}",
            world.state_of_affairs()
        );
    }
    assert_eq!(
        world.partner_center.referrals().len(),
        2,
        "{}",
        world.state_of_affairs()
    );
    assert_in_step(world, &world.opportunity_of(&sent.referral), &sent.referral);
    effects_since(world, mark)
}

/// What a deal that Microsoft sends makes the vendors write when every event is delivered once.
async fn written_after_one_delivery() -> Effects {
    let world = World::start().await;
    let mark = world.switchboard.mark();
    let sent = world.microsoft_sends(&InboundDeal::default());
    world.settle().await;
    let effects = look(&world, &sent, mark);
    assert!(!effects.business.is_empty(), "a flow that does something");
    world.close().await;
    effects
}

/// A deal that Microsoft sends and then changes three times, its events kept back and let go in this order; what the
/// vendors were made to write.
async fn written_after(order: Release) -> Effects {
    let world = World::start().await;
    let mark = world.switchboard.mark();
    world.partner_center.hold_deliveries(true);
    let sent = world.microsoft_sends(&InboundDeal::default());
    for (value, notes) in [
        (53_000, "A second site."),
        (54_000, "A third site."),
        (55_000, "Four sites."),
    ] {
        let change = json!({ "details": { "dealValue": value, "notes": notes } });
        world.partner_center.microsoft_edits(&sent.referral, change).unwrap();
    }
    world.partner_center.hold_deliveries(false);
    let events = world.partner_center.deliveries().len();
    assert!(events >= 4, "{:#?}", world.partner_center.deliveries());
    world.partner_center.release(order);
    world.settle().await;
    let row = world.opportunity(&world.opportunity_of(&sent.referral));
    assert_eq!(
        (&row["estimatedvalue"], &row["description"]),
        (&json!(55_000.0), &json!("Four sites."))
    );
    let effects = look(&world, &sent, mark);
    world.close().await;
    effects
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_comes_twenty_times_leaves_one_opportunity_and_no_extra_write() {
    let once = written_after_one_delivery().await;
    let world = World::start().await;
    let mark = world.switchboard.mark();
    world.partner_center.duplicate_deliveries(TIMES);
    let sent = world.microsoft_sends(&InboundDeal::default());
    world.settle().await;
    let accepted = world
        .partner_center
        .deliveries()
        .iter()
        .filter(|delivery| delivery.is_accepted())
        .count();
    assert!(accepted >= TIMES, "{accepted} deliveries were accepted");
    assert_eq!(look(&world, &sent, mark), once);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_hints_that_the_queue_cannot_tell_apart_or_keep_in_order_leave_one_opportunity_and_no_extra_write() {
    let once = written_after_one_delivery().await;
    let world = World::start().await;
    let mark = world.switchboard.mark();
    world.partner_center.drop_deliveries(true);
    world.source.pause();
    let sent = world.microsoft_sends(&InboundDeal::default());
    world.partner_center.drop_deliveries(false);
    // Keys and groups of their own: as if each had come minutes after the other, and the queue kept no order at all.
    for number in 0..TIMES {
        let cause = if number % 2 == 0 {
            "referral-created"
        } else {
            "referral-updated"
        };
        let hint = json!({ "referral": sent.referral, "cause": cause }).to_string();
        world
            .aws
            .send(
                &world.queue,
                &format!("group-{number}"),
                &Uuid::new_v4().to_string(),
                &hint,
            )
            .unwrap();
    }
    world.source.resume();
    world.settle().await;
    let effects = look(&world, &sent, mark);
    assert_eq!(effects.business, once.business);
    // The two workers may both tell the seller where Microsoft's half stands; never more than that.
    assert!(effects.display <= once.display + 1, "{effects:#?} {once:#?}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_out_of_order_or_again_and_again_end_as_they_do_in_order() {
    let in_order = written_after(Release::InOrder).await;
    assert_eq!(written_after(Release::Reversed).await, in_order);
    assert_eq!(written_after(Release::Repeated(TIMES)).await, in_order);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_long_after_the_poll_has_seen_the_deal_writes_nothing() {
    let once = written_after_one_delivery().await;
    let world = World::start().await;
    let mark = world.switchboard.mark();
    world.partner_center.hold_deliveries(true);
    let sent = world.microsoft_sends(&InboundDeal::default());
    world.settle().await;
    assert_eq!(
        look(&world, &sent, mark),
        once,
        "the poll does what the event would have done"
    );
    let (mark, audited) = (world.switchboard.mark(), world.audit().len());
    world.partner_center.hold_deliveries(false);
    world.partner_center.release(Release::Repeated(TIMES));
    assert!(world.partner_center.quiet(PATIENCE).await && world.source.idle(PATIENCE).await);
    assert!(
        !world.vendor_calls_since(mark).is_empty(),
        "the late events were followed"
    );
    world.settle().await;
    assert_eq!(look(&world, &sent, mark), Effects::default());
    assert_eq!(world.audit().len(), audited, "silence leaves no record");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_never_come_are_made_good_by_the_poll() {
    let once = written_after_one_delivery().await;
    let world = World::start().await;
    let mark = world.switchboard.mark();
    world.partner_center.drop_deliveries(true);
    let sent = world.microsoft_sends(&InboundDeal::default());
    world.invoke(json!({ "run": "poll-partner-center" })).await.unwrap();
    assert!(world.source.idle(PATIENCE).await);
    let opportunity = world.opportunity_of(&sent.referral);
    world.settle().await;
    assert_eq!(look(&world, &sent, mark), once);

    let mark = world.switchboard.mark();
    world
        .partner_center
        .microsoft_edits(&sent.referral, json!({ "details": { "dealValue": 61_000 } }))
        .unwrap();
    world.invoke(json!({ "run": "poll-partner-center" })).await.unwrap();
    assert!(world.source.idle(PATIENCE).await);
    assert_eq!(world.opportunity(&opportunity)["estimatedvalue"], json!(61_000.0));
    world.settle().await;
    let effects = look(&world, &sent, mark);
    assert_eq!(effects.business.values().sum::<usize>(), 1, "{effects:#?}");
    world.close().await;
}
