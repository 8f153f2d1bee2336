//! Much at once: a burst of posts, ten workers whose refresh token is due, all that waited for the end of an outage, a
//! ledger of a hundred thousand deals.
//!
//! Guarantees shown: of a burst every post is taken and stored, and the certificate is not fetched for each; workers that
//! renew the sign-in at the same moment neither lock each other out nor lose it; what waited is carried over by all workers
//! together within the vendor's budget; what an idle poll asks for does not depend on how many deals there are.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
#![expect(
    clippy::print_stdout,
    reason = "how long a burst took belongs into the report of a run"
)]

#[expect(dead_code, reason = "deliveries and crashes compare effects, too")]
mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cosell_tests::switchboard::{Exchange, Fault, lines};
use cosell_tests::world::{LINKS, PARTNER_CENTER_SECRET, Setup, World};
use http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use self::common::assert_in_step;

/// How long deliveries and messages may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Referrals that are announced in one burst.
const POSTS: usize = 1_000;

/// Posts under way at a time: a connection each.
const UNDER_WAY: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_a_thousand_posts_is_taken_whole() {
    let receivers = 8;
    let setup = Setup {
        receivers,
        ..Setup::default()
    };
    let world = Arc::new(World::start_with(setup).await.unwrap());
    world.source.pause();
    let referrals: BTreeSet<String> = (0..POSTS).map(|_| Uuid::new_v4().to_string()).collect();
    let signed: Vec<_> = referrals
        .iter()
        .map(|referral| {
            let body = world.partner_center.event_body("referral-updated", referral);
            world.partner_center.sign_post(&body).unwrap()
        })
        .collect();
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    let began = Instant::now();
    let mut posting = JoinSet::new();
    for post in signed {
        let (world, under_way) = (Arc::clone(&world), Arc::clone(&under_way));
        posting.spawn(async move {
            let _permit = under_way.acquire().await;
            world.post(&post).await
        });
    }
    let statuses = posting.join_all().await;
    println!("{POSTS} posts in {:?}", began.elapsed());
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let queued: BTreeSet<String> = world
        .aws
        .queue_messages(&world.queue)
        .iter()
        .map(|message| {
            let hint: Value = serde_json::from_str(&message.body).unwrap();
            hint["referral"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(queued, referrals);
    // The leaf and its issuer, by each copy at most once.
    let fetched = requests(&world, 0, |request| request.api == "certificates");
    assert!(fetched.len() <= 2 * receivers, "{:#?}", lines(&fetched));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_workers_that_renew_the_sign_in_at_once_keep_it() {
    let workers = 10;
    let world = World::start_with(Setup {
        workers,
        ..Setup::default()
    })
    .await
    .unwrap();
    // A day and an hour ago somebody consented: whoever asks for a token now gets a successor to store.
    let age = SignedDuration::from_hours(25);
    world.clock.advance(-age);
    world.store_secrets();
    world.clock.advance(age);
    let consented = refresh_token(&world);
    world.source.pause();
    let referrals: Vec<String> = (0..workers).map(|number| a_deal(&world, number)).collect();
    assert!(world.partner_center.quiet(PATIENCE).await);
    let mark = world.switchboard.mark();
    world.source.resume();
    world.settle().await;

    let asked = requests(&world, mark, |request| {
        request.api == "entra" && request.mentions("grant_type=refresh_token")
    });
    assert!(asked.len() > 1, "several workers ask for a token: {:#?}", lines(&asked));
    let stored = refresh_token(&world);
    assert_ne!(stored, consented, "a successor is stored");
    // One worker's successor is put in force; whoever comes later leaves it there.
    let moved = requests(&world, mark, |request| {
        let target = request.headers.get("x-amz-target");
        let is_move = target.is_some_and(|target| {
            target
                .to_str()
                .is_ok_and(|name| name.ends_with("UpdateSecretVersionStage"))
        });
        is_move && request.status.is_some_and(|status| status.is_success()) && request.mentions("\"AWSCURRENT\"")
    });
    assert_eq!(moved.len(), 1, "{moved:#?}");
    for referral in &referrals {
        assert_in_step(&world, &world.opportunity_of(referral), referral);
    }

    // Those that come after them sign in with what was stored.
    world.sync.kill();
    let referral = a_deal(&world, workers);
    world.settle().await;
    assert_in_step(&world, &world.opportunity_of(&referral), &referral);
    assert_eq!(refresh_token(&world), stored, "a token of today is not replaced");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_the_end_of_an_outage_is_carried_over_within_the_budget() {
    let (workers, a_second, deals) = (4, 8, 24);
    let setting = |name: &str, value: usize| (name.to_owned(), value.to_string());
    let world = World::start_with(Setup {
        workers,
        settings: vec![setting("WORKERS", workers), setting("PARTNER_CENTER_RATE", a_second)],
        ..Setup::default()
    })
    .await
    .unwrap();
    let referrals: Vec<String> = (0..deals).map(|number| a_deal(&world, number)).collect();
    world.settle().await;
    let opportunities: Vec<String> = referrals
        .iter()
        .map(|referral| world.opportunity_of(referral))
        .collect();

    let down = Fault::Answer {
        status: StatusCode::SERVICE_UNAVAILABLE,
        headers: Vec::new(),
        body: String::new(),
    };
    let is_asked = |request: &Exchange| request.api == "partner_center" && !request.target.starts_with("/_control");
    world.switchboard.plan(0, usize::MAX, down, is_asked);
    for opportunity in &opportunities {
        world.seller_edits(
            opportunity,
            &json!({ "description": "Edited while the portal was down." }),
        );
    }
    world.invoke(json!({ "run": "poll-dynamics" })).await.unwrap();
    assert!(world.source.idle(PATIENCE).await);
    assert_eq!(
        world.open_due(),
        deals,
        "all of them wait; {}",
        world.state_of_affairs()
    );

    world.switchboard.heal();
    let mark = world.switchboard.mark();
    world.settle().await;
    for (opportunity, referral) in opportunities.iter().zip(&referrals) {
        assert_in_step(&world, opportunity, referral);
        let notes = &world.referral(referral)["details"]["notes"];
        assert_eq!(notes, "Edited while the portal was down.");
    }
    // A second's worth may have been saved up; beyond that no second takes more than its own.
    let asked = requests(&world, mark, is_asked);
    for first in &asked {
        let end = first.at + Duration::from_secs(1);
        let within = asked.iter().filter(|other| (first.at..end).contains(&other.at)).count();
        assert!(within <= 2 * a_second, "{within} requests in a second");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_poll_of_a_hundred_thousand_deals_asks_for_no_more_than_one_of_a_single_deal() {
    let world = World::start().await;
    a_deal(&world, 0);
    world.settle().await;
    let few = asked_by_idle_polls(&world).await;
    fill_the_ledger(&world, 100_000);
    let many = asked_by_idle_polls(&world).await;
    assert_eq!(many, few);
    // Nothing else is looked at: a world at rest reads the whole ledger, again and again.
}

/// A deal in the portal.
fn a_deal(world: &World, number: usize) -> String {
    world.portal_creates(&json!({
        "name": format!("Deal {number}"), "customerProfile": { "name": format!("Customer {number}") },
    }))
}

fn requests(world: &World, mark: u64, is_meant: impl Fn(&Exchange) -> bool) -> Vec<Exchange> {
    let all = world.switchboard.since(mark).into_iter();
    all.filter(is_meant).collect()
}

/// The one in force.
fn refresh_token(world: &World) -> String {
    let secret: Value = serde_json::from_str(&world.aws.secret(PARTNER_CENTER_SECRET).unwrap()).unwrap();
    secret["refresh_token"].as_str().unwrap().to_owned()
}

/// What both polls ask of anybody when nothing has happened, save for how breakers stand, which is asked by the clock.
async fn asked_by_idle_polls(world: &World) -> Vec<String> {
    let mut asked = Vec::new();
    for run in ["poll-dynamics", "poll-partner-center"] {
        let mark = world.switchboard.mark();
        let polled = world.invoke(json!({ "run": run })).await.unwrap();
        assert_eq!(
            (&polled["hinted"], &polled["due"]),
            (&json!(0), &json!(0)),
            "{run}: {polled}"
        );
        let counted = requests(world, mark, |request| !request.mentions("BREAKER#"));
        asked.extend(counted.iter().map(common::shape));
    }
    asked
}

/// Copies of the one deal's item, each of a deal of its own.
fn fill_the_ledger(world: &World, deals: usize) {
    let scanned = world.aws.dynamodb("Scan", &json!({ "TableName": LINKS })).unwrap();
    let items = scanned["Items"].as_array().unwrap();
    let is_a_link = |item: &&Value| item["sk"]["S"] == "LINK" && item["pk"]["S"].as_str().unwrap().starts_with("LINK#");
    let model = items.iter().find(is_a_link).unwrap();
    let copies: Vec<Value> = (0..deals)
        .map(|_| {
            let mut item = model.clone();
            item["pk"]["S"] = json!(format!("LINK#{}", Uuid::new_v4()));
            json!({ "PutRequest": { "Item": item } })
        })
        .collect();
    for batch in copies.chunks(25) {
        let written = world
            .aws
            .dynamodb("BatchWriteItem", &json!({ "RequestItems": { LINKS: batch } }));
        let left = written.unwrap()["UnprocessedItems"].clone();
        assert!(left.as_object().is_none_or(serde_json::Map::is_empty), "{left}");
    }
}
