//! An operator pauses one direction and lifts the pause, or a vendor asks to wait: what goes on meanwhile, what waits, and
//! what follows.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

#[expect(dead_code, reason = "deliveries and crashes compare effects, too")]
mod common;

use std::time::{Duration, Instant};

use cosell_tests::switchboard::{Exchange, Fault};
use cosell_tests::world::{Setup, Sharing, World};
use http::StatusCode;
use serde_json::{Value, json};

use self::common::assert_in_step;

/// Longer than any look at a deal takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A world with a shared deal in step.
async fn in_step() -> (World, String, String) {
    let world = World::start().await;
    let opportunity = world.seller_enters(&Sharing::default());
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    (world, opportunity, referral)
}

/// Such a world in which one direction is then paused.
async fn paused(toward: &str) -> (World, String, String) {
    let (world, opportunity, referral) = in_step().await;
    world.sync.configure("PAUSED", toward);
    (world, opportunity, referral)
}

/// Lets what has happened be noticed, by event or poll, and the looks that follow be had. A world in which something waits
/// never settles.
async fn notice(world: &World) {
    let end = Instant::now() + PATIENCE;
    let mut looks = 0;
    while looks < 2 || has_follow_ups(world) {
        assert!(Instant::now() < end, "{}", world.state_of_affairs());
        assert!(world.partner_center.quiet(PATIENCE).await);
        world.tick().await;
        assert!(world.source.idle(PATIENCE).await);
        looks += 1;
    }
}

fn has_follow_ups(world: &World) -> bool {
    world.links().iter().any(|link| link["due"]["why"] == "follow_up")
}

fn why_due(world: &World, opportunity: &str) -> Value {
    world
        .link_of(opportunity)
        .map(|link| link["due"]["why"].clone())
        .unwrap_or_default()
}

/// How many audit records say that something is held back.
fn told(world: &World) -> usize {
    world.audited_codes().iter().filter(|code| *code == "paused").count()
}

/// A look at a deal that waits writes nothing anywhere but the date of the next one.
async fn looks_again_in_silence(world: &World, opportunity: &str) {
    let (mark, audited) = (world.switchboard.mark(), world.audit().len());
    for _ in 0..3 {
        world
            .invoke(json!({ "command": "resync", "opportunity": opportunity }))
            .await
            .unwrap();
    }
    world.invoke(json!({ "run": "compare" })).await.unwrap();
    notice(world).await;
    assert!(
        world.vendor_writes_since(mark).is_empty(),
        "{:#?}",
        world.vendor_writes_since(mark)
    );
    assert_eq!(world.audit().len(), audited, "{:#?}", world.audit());
    assert_eq!(why_due(world, opportunity), "paused");
}

fn writes_to(world: &World, api: &str, mark: u64) -> usize {
    world
        .vendor_writes_since(mark)
        .iter()
        .filter(|exchange| exchange.api == api)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn toward_partner_center_nothing_is_written_while_dynamics_follows() {
    let (world, opportunity, referral) = paused("toward_partner_center").await;
    let mark = world.switchboard.mark();
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 77_000 }));
    notice(&world).await;
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(125_000.5));
    assert_eq!((why_due(&world, &opportunity), told(&world)), (json!("paused"), 1));

    // The other direction goes on, for the same deal and for new ones.
    world.portal_edits(&referral, json!({ "details": { "notes": "From the portal." } }));
    let inbound = world.portal_creates(&json!({}));
    notice(&world).await;
    let row = world.opportunity(&opportunity);
    assert_eq!(
        (&row["description"], &row["estimatedvalue"]),
        (&json!("From the portal."), &json!(77_000.0))
    );
    let created = world.opportunity_of(&inbound);
    assert_eq!(world.referral(&inbound)["externalReferenceId"], Value::Null);

    // A seller's new deal waits as a whole.
    let waiting = world.seller_enters(&Sharing {
        name: "Waits".to_owned(),
        ..Sharing::default()
    });
    notice(&world).await;
    assert!(world.referrals_of(&waiting).is_empty());
    assert_eq!(writes_to(&world, "partner_center", mark), 0);
    looks_again_in_silence(&world, &opportunity).await;
    let audited = world.audit();
    let of_first = audited
        .iter()
        .filter(|record| record["opportunity"] == json!(opportunity));
    let paused = of_first.filter(|record| record["findings"].to_string().contains("\"paused\""));
    assert_eq!(paused.count(), 1, "it is told once: {audited:#?}");

    world.sync.configure("PAUSED", "none");
    world.settle().await;
    for (opportunity, referral) in [
        (&opportunity, referral),
        (&created, inbound),
        (&waiting, world.referral_of(&waiting)),
    ] {
        assert_in_step(&world, opportunity, &referral);
    }
    assert!(world.losers().is_empty(), "{:#?}", world.losers());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn toward_dynamics_nothing_is_written_while_partner_center_follows() {
    let (world, opportunity, referral) = paused("toward_dynamics").await;
    let mark = world.switchboard.mark();
    world.portal_edits(&referral, json!({ "details": { "dealValue": 77_000 } }));
    notice(&world).await;
    assert_eq!(world.opportunity(&opportunity)["estimatedvalue"], json!(125_000.5));
    assert_eq!((why_due(&world, &opportunity), told(&world)), (json!("paused"), 1));

    world.seller_edits(&opportunity, &json!({ "description": "From the CRM." }));
    let waiting = world.portal_creates(&json!({}));
    let shared = world.seller_enters(&Sharing {
        name: "Shared".to_owned(),
        ..Sharing::default()
    });
    notice(&world).await;
    assert_eq!(world.referral(&referral)["details"]["notes"], "From the CRM.");
    assert!(world.opportunities_of(&waiting).is_empty());
    let shared_referral = world.referral_of(&shared);
    assert_eq!(world.opportunity(&shared)["cosell_referralidentifier"], Value::Null);
    assert_eq!(writes_to(&world, "dataverse", mark), 0);
    looks_again_in_silence(&world, &opportunity).await;

    world.sync.configure("PAUSED", "none");
    world.settle().await;
    assert_in_step(&world, &opportunity, &referral);
    assert_in_step(&world, &world.opportunity_of(&waiting), &waiting);
    assert_in_step(&world, &shared, &shared_referral);
    assert!(world.losers().is_empty(), "{:#?}", world.losers());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_from_the_start_holds_everything_that_way_and_lets_it_follow() {
    let world = World::start_with(Setup {
        settings: vec![("PAUSED".to_owned(), "toward_partner_center".to_owned())],
        ..Setup::default()
    })
    .await
    .unwrap();
    let opportunity = world.seller_enters(&Sharing::default());
    notice(&world).await;
    assert!(world.partner_center.referrals().is_empty());
    assert_eq!(why_due(&world, &opportunity), "paused");
    world.sync.configure("PAUSED", "none");
    world.settle().await;
    assert_in_step(&world, &opportunity, &world.referral_of(&opportunity));
    world.close().await;
}

/// Dynamics asks to wait for so long, once.
fn asks_to_wait(world: &World, seconds: u32) {
    let fault = Fault::Answer {
        status: StatusCode::TOO_MANY_REQUESTS,
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("retry-after", seconds.to_string()),
        ],
        body: json!({ "error": { "code": "0x80072322", "message": "Number of requests exceeded the limit." } })
            .to_string(),
    };
    world.switchboard.plan(0, 1, fault, is_to_dynamics);
}

fn is_to_dynamics(request: &Exchange) -> bool {
    request.api == "dataverse"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_asks_one_worker_to_wait_is_left_alone_by_all() {
    let (world, opportunity, referral) = in_step().await;
    asks_to_wait(&world, 12);
    world.portal_edits(&referral, json!({ "details": { "dealValue": 61_000 } }));
    assert!(world.partner_center.quiet(PATIENCE).await && world.source.idle(PATIENCE).await);
    assert_eq!(world.switchboard.broken().len(), 1, "it was asked once");

    // A process that knows nothing of it yet.
    world.sync.kill();
    let mark = world.switchboard.mark();
    let refused = world.invoke(json!({ "run": "poll-dynamics" })).await.unwrap_err();
    assert!(format!("{refused:?}").contains("left alone"), "{refused:?}");
    let asked: Vec<_> = world
        .switchboard
        .since(mark)
        .into_iter()
        .filter(is_to_dynamics)
        .collect();
    assert!(asked.is_empty(), "{asked:#?}");

    world.settle().await;
    assert_eq!(world.opportunity(&opportunity)["estimatedvalue"], json!(61_000.0));
    assert_in_step(&world, &opportunity, &referral);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_does_not_say_who_is_left_alone_keeps_nobody_from_working() {
    for fault in [Fault::Refuse, Fault::Stall(Duration::from_secs(600))] {
        let world = World::start().await;
        world
            .switchboard
            .plan(0, usize::MAX, fault, |request| request.mentions("BREAKER#"));
        let opportunity = world.seller_enters(&Sharing::default());
        world.settle().await;
        assert!(!world.switchboard.broken().is_empty(), "it was asked");
        assert_in_step(&world, &opportunity, &world.referral_of(&opportunity));
        world.switchboard.heal();
        world.close().await;
    }
}
