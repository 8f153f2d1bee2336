//! What the functions count and measure, read from the records that they print for CloudWatch.
//!
//! Guarantee shown: alarms see what they are for, also and above all when a run fails, and recover by themselves.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::VecDeque;

use cosell_tests::lambda::Function;
use cosell_tests::switchboard::Fault;
use cosell_tests::world::{Setup, Sharing, World};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const POLL_DYNAMICS: &str = "poll-dynamics";
const POLL_PARTNER_CENTER: &str = "poll-partner-center";

fn records(lines: &VecDeque<String>) -> Vec<Value> {
    let read = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    read.filter(|line| line["_aws"].is_object()).collect()
}

/// Invokes a function and returns its answer and the record it left.
async fn measured(function: &Function, payload: Value) -> (bool, Value) {
    // Each answer leaves a record; those of before may be read late.
    let before = function.answered();
    let succeeded = function.invoke(payload).await.is_ok();
    let logs = function.logs_once(|lines| records(lines).len() > before).await;
    let mut left = records(&logs.into());
    assert!(left.len() > before, "it left no record");
    (succeeded, left.pop().unwrap())
}

/// The vendor is out of order.
fn down() -> Fault {
    Fault::Answer {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        headers: Vec::new(),
        body: String::new(),
    }
}

async fn run(world: &World, name: &str) -> (bool, Value) {
    measured(&world.sync, json!({ "run": name })).await
}

/// The time at which the poll was last known to be caught up, so long ago.
fn let_the_cursor_age(world: &World, seconds: i64) {
    let at = world.clock.now() - SignedDuration::from_secs(seconds);
    let update = json!({
        "TableName": "cosell-links",
        "Key": { "pk": { "S": "CURSOR#dynamics" }, "sk": { "S": "CURSOR" } },
        "UpdateExpression": "SET caught_up = :at",
        "ExpressionAttributeValues": { ":at": { "S": format!("{at:.9}") } },
    });
    world.aws.dynamodb("UpdateItem", &update).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_the_cursor_rises_while_the_poll_fails_and_falls_when_it_is_through() {
    let mut world = World::start().await;
    world.tolerate("dataverse");
    let (succeeded, record) = run(&world, POLL_DYNAMICS).await;
    assert!(succeeded);
    assert_eq!(
        (&record["DynamicsCursorAgeSeconds"], &record["FatalFaults"]),
        (&json!(0), &json!(0)),
        "{record:#}"
    );

    let_the_cursor_age(&world, 1_000);
    world
        .switchboard
        .plan(0, 3, down(), |exchange| exchange.api == "dataverse");
    let (succeeded, record) = run(&world, POLL_DYNAMICS).await;
    assert!(!succeeded);
    let age = record["DynamicsCursorAgeSeconds"].as_u64().unwrap();
    assert!((1_000..1_100).contains(&age), "{record:#}");
    assert_eq!(
        (&record["VendorFailures"], &record["FatalFaults"]),
        (&json!(3), &json!(0)),
        "{record:#}"
    );

    let (succeeded, record) = run(&world, POLL_DYNAMICS).await;
    assert!(succeeded);
    assert_eq!(record["DynamicsCursorAgeSeconds"], 0, "{record:#}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_never_got_anywhere_is_seen_to_be_behind() {
    let mut world = World::start().await;
    world.tolerate("dataverse");
    world
        .switchboard
        .plan(0, 12, down(), |exchange| exchange.api == "dataverse");
    let (_, record) = run(&world, POLL_DYNAMICS).await;
    assert!(record["DynamicsCursorAgeSeconds"].is_u64(), "{record:#}");
    let_the_cursor_age(&world, 60);
    let (_, record) = run(&world, POLL_DYNAMICS).await;
    assert!(record["DynamicsCursorAgeSeconds"].as_u64().unwrap() >= 60, "{record:#}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deals_that_wait_are_counted_with_every_poll_even_when_there_are_none() {
    let world = World::start().await;
    let (_, record) = run(&world, POLL_PARTNER_CENTER).await;
    assert_eq!(
        (&record["DealsNeedingAttention"], &record["DealsOverdue"]),
        (&json!(0), &json!(0)),
        "{record:#}"
    );
    assert!(record["RefreshTokenAgeSeconds"].as_u64().unwrap() < 60, "{record:#}");
    assert_eq!(record["FatalFaults"], 0, "{record:#}");

    world.seller_enters(&Sharing {
        solutions: None,
        ..Sharing::default()
    });
    world.settle().await;
    let (_, record) = run(&world, POLL_PARTNER_CENTER).await;
    assert_eq!(
        (&record["DealsNeedingAttention"], &record["DealsOverdue"]),
        (&json!(1), &json!(0)),
        "{record:#}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_counted_by_their_direction() {
    let world = World::start().await;
    let opportunity = world.seller_enters(&Sharing::default());
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    let sums = |world: &World| {
        let all = records(&world.sync.logs().into());
        let sum = |name: &str| all.iter().filter_map(|record| record[name].as_u64()).sum::<u64>();
        [
            sum("WritesTowardDynamics"),
            sum("WritesTowardPartnerCenter"),
            sum("VendorWrites"),
        ]
    };
    let of_apis = |world: &World| {
        let writes = world.vendor_writes_since(0);
        let of = |api: &str| u64::try_from(writes.iter().filter(|exchange| exchange.api == api).count()).unwrap();
        [
            of("dataverse"),
            of("partner_center"),
            of("dataverse") + of("partner_center"),
        ]
    };
    world.portal_edits(&referral, json!({ "details": { "notes": "From the portal." } }));
    world.settle().await;
    world
        .until("the last record is read", |world| sums(world) == of_apis(world))
        .await;
    assert!(sums(&world).iter().all(|sum| *sum > 0));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_refused_are_fatal_until_they_are_not() {
    let mut world = World::start().await;
    world.tolerate("entra");
    world.entra.revoke_all_refresh_tokens();
    for function in [&world.sync, &world.registration] {
        let payload = if function.name() == "sync" {
            json!({ "run": POLL_PARTNER_CENTER })
        } else {
            json!({ "action": "inspect" })
        };
        let (succeeded, record) = measured(function, payload).await;
        assert!(!succeeded);
        assert_eq!(
            (&record["FatalFaults"], &record["outcome"]),
            (&json!(1), &json!("consent_needed")),
            "{record:#}"
        );
    }
    let refresh_token = world
        .entra
        .add_delegated_client(cosell_tests::world::TENANT, "partner-app", "partner-secret");
    world.aws.create_secret(
        "cosell/partner-center",
        &json!({ "client_id": "partner-app", "client_secret": "partner-secret", "refresh_token": refresh_token }),
    );
    let (succeeded, record) = run(&world, POLL_PARTNER_CENTER).await;
    assert!(succeeded);
    assert_eq!(record["FatalFaults"], 0, "{record:#}");
    let (_, record) = measured(&world.registration, json!({ "action": "inspect" })).await;
    assert_eq!(
        (&record["FatalFaults"], &record["RegistrationsDrifted"]),
        (&json!(0), &json!(0)),
        "{record:#}"
    );
    assert!(record["RefreshTokenAgeSeconds"].as_u64().unwrap() < 60, "{record:#}");
    world.close().await;
}

/// A secret as Terraform leaves it: there, and without a value.
async fn create_empty_secret(world: &World, name: &str) {
    let endpoint = world.aws.endpoint_url();
    let lookup = |variable: &str| match variable {
        "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    };
    let config = transport::aws::sdk_config(&lookup, transport::client().unwrap()).unwrap();
    let client = aws_sdk_secretsmanager::Client::new(&config);
    client.create_secret().name(name).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn before_anybody_signed_in_sync_names_the_secret_and_the_cure() {
    let world = World::start().await;
    create_empty_secret(&world, "cosell/empty").await;
    for (variable, run, cure) in [
        ("PARTNER_CENTER_SECRET", POLL_PARTNER_CENTER, "`make consent ENV=...`"),
        ("DATAVERSE_SECRET", POLL_DYNAMICS, "`make credentials ENV=...`"),
    ] {
        world.sync.configure(variable, "cosell/empty");
        let error = world.invoke(json!({ "run": run })).await.unwrap_err();
        assert_eq!(error.error_type, "secret_empty", "{error}");
        assert!(
            error.message.contains("cosell/empty") && error.message.contains(cure),
            "{error}"
        );
    }
    for (variable, secret) in [
        ("PARTNER_CENTER_SECRET", "cosell/partner-center"),
        ("DATAVERSE_SECRET", "cosell/dataverse"),
    ] {
        world.sync.configure(variable, secret);
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_go_to_the_namespace_of_the_environment() {
    let world = World::start_with(Setup {
        settings: vec![("METRICS_NAMESPACE".to_owned(), "CosellConnector/staging".to_owned())],
        ..Setup::default()
    })
    .await
    .unwrap();
    let (_, record) = run(&world, POLL_DYNAMICS).await;
    let directives = record["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    assert!(
        directives
            .iter()
            .all(|directive| directive["Namespace"] == "CosellConnector/staging"),
        "{record:#}"
    );
    let at = Timestamp::from_millisecond(record["_aws"]["Timestamp"].as_i64().unwrap());
    assert!(at.is_ok());
    world.close().await;
}
