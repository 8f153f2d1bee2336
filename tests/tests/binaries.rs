//! The compiled functions as Lambda sees them: what they need to start, what they say of events that are none of theirs,
//! and the registration of the webhook from its first inspection to its proof.
//!
//! Guarantee shown: a function that cannot work does not start and names everything that is wrong at once; an error of an
//! invocation has a type of a bounded set and a text that says what would be right.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use cosell_tests::lambda::{FailureKind, Function, FunctionConfig, InvocationError};
use cosell_tests::switchboard::Exchange;
use cosell_tests::world::{EVENTS, Setup, TENANT, World};
use serde_json::{Value, json};
use uuid::Uuid;

// ---- starting ---------------------------------------------------------------------------------------------------------

/// A compiled function with these settings and nothing else.
fn function(name: &str, environment: &[(&str, &str)]) -> Function {
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().find(|folder| folder.join(name).is_file());
    let binary: PathBuf = folder
        .expect("build it with `cargo build -p webhook -p sync -p registration`")
        .join(name);
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Function::start(FunctionConfig {
        name: name.to_owned(),
        binary,
        environment,
        timeout: Duration::from_secs(10),
        concurrency: 1,
        memory_mb: 128,
        log_file: None,
    })
}

/// The function does not start; what it says of that.
async fn refuses_to_start(name: &str, environment: &[(&str, &str)], words: &[&str]) -> String {
    let function = function(name, environment);
    let error = function.invoke(json!({})).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Init, "{error}");
    let is_said = |word: &&str, lines: &VecDeque<String>| lines.iter().any(|line| line.contains(word));
    let logs = function.logs_once(|lines| words.iter().all(|word| is_said(word, lines)));
    let said = logs.await.join("\n");
    for word in words {
        assert!(said.contains(word), "{word} is not in: {said}");
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_without_settings_names_all_that_it_needs() {
    refuses_to_start("webhook", &[], &["QUEUE_URL"]).await;
    let needed = [
        "QUEUE_URL is not set",
        "LINKS_TABLE is not set",
        "AUDIT_TABLE is not set",
        "PARTNER_TENANT_ID is not set",
        "PARTNER_CENTER_SECRET is not set",
        "DATAVERSE_URL is not set",
        "DATAVERSE_SECRET is not set",
    ];
    refuses_to_start("sync", &[], &needed).await;
    refuses_to_start(
        "registration",
        &[],
        &["PARTNER_TENANT_ID is not set", "PARTNER_CENTER_SECRET is not set"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_with_wrong_settings_names_each_of_them() {
    let webhook = [
        ("QUEUE_URL", "http://queue.example/hints.fifo"),
        ("CERTIFICATE_HOSTS", "https://certificates.example"),
        ("ISSUER_HOSTS", "a,,b"),
        ("TRUST_ANCHORS_FILE", "/nowhere/roots.pem"),
    ];
    refuses_to_start("webhook", &webhook, &webhook.map(|(name, _)| name)).await;

    let sync = [
        ("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/hints"),
        ("PARTNER_TENANT_ID", "aldermoor"),
        ("ENTRA_URL", "http://login.example"),
        ("PARTNER_CENTER_URL", "https://api.example/with/a/path"),
        ("DATAVERSE_URL", "https://crm.example"),
        ("SETTLE_SECONDS", "soon"),
        ("DRY_RUN", "perhaps"),
        ("SYNC_COSELL_ONLY", "mostly"),
        ("DISPLAY_CHECKMARK", "2"),
    ];
    let said = refuses_to_start("sync", &sync, &sync.map(|(name, _)| name)).await;
    // What is right, or not needed, is not complained about.
    assert!(
        said.contains("LINKS_TABLE is not set") && !said.contains("WAITS_PERCENT"),
        "{said}"
    );

    let registration = [
        ("PARTNER_TENANT_ID", "aldermoor"),
        ("PARTNER_CENTER_WEBHOOKS_URL", "ftp://api.example"),
        ("WEBHOOK_URL", "http://webhook.example"),
        ("WEBHOOK_EVENTS", "referral created"),
    ];
    refuses_to_start("registration", &registration, &registration.map(|(name, _)| name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_with_mistakes_keeps_sync_from_starting_and_each_is_named_with_its_line() {
    let settings = |mapping| {
        [
            ("QUEUE_URL", "http://127.0.0.1:9/000000000000/hints.fifo"),
            ("LINKS_TABLE", "links"),
            ("AUDIT_TABLE", "audit"),
            ("PARTNER_TENANT_ID", TENANT),
            ("PARTNER_CENTER_SECRET", "partner-center"),
            ("DATAVERSE_URL", "http://127.0.0.1:9"),
            ("DATAVERSE_SECRET", "dataverse"),
            ("MAPPING_FILE", mapping),
        ]
    };
    refuses_to_start(
        "sync",
        &settings("/nowhere/mapping.toml"),
        &["MAPPING_FILE", "/nowhere/mapping.toml"],
    )
    .await;

    let file = std::env::temp_dir().join(format!("mapping-{}.toml", Uuid::new_v4()));
    let broken = include_str!("../../shared/cosell/mapping.toml")
        .replace("kind = \"money\"", "kind = \"gold\"")
        .replace("[countries]", "[countries]\n\"France\" = \"France\"");
    std::fs::write(&file, &broken).unwrap();
    let line = |part: &str| {
        let line = broken.lines().position(|line| line.contains(part)).unwrap() + 1;
        format!("line {line}")
    };
    let lines = [line("kind = \"gold\""), line("\"France\" = \"France\"")];
    refuses_to_start(
        "sync",
        &settings(file.to_str().unwrap()),
        &["gold", &lines[0], "two-letter", &lines[1]],
    )
    .await;
    std::fs::remove_file(&file).unwrap();
}

// ---- events -----------------------------------------------------------------------------------------------------------

/// The function refuses the event with an error of this type, whose text names what would be right.
fn names_its_cure(answer: Result<Value, InvocationError>, error_type: &str, words: &[&str]) {
    let error = answer.unwrap_err();
    assert_eq!(
        (error.kind, error.error_type.as_str()),
        (FailureKind::Function, error_type),
        "{error}"
    );
    for word in words {
        assert!(error.message.contains(word), "{word} is not in: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_says_what_it_would_understand() {
    let world = World::start().await;
    let runs = ["walk", "poll-dynamics", "poll-partner-center", "compare"];
    for (event, words) in [
        (json!({}), &["Records", "run", "command"][..]),
        (json!("compare"), &["Records", "run", "command"]),
        (json!({ "run": "walk" }), &runs),
        (json!({ "run": 7 }), &["7", "compare"]),
        (json!({ "command": "destroy" }), &["destroy", "resync", "show"]),
        (
            json!({ "command": "resync" }),
            &["resync", "referral", "opportunity", "GUID"],
        ),
        (
            json!({ "command": "show", "referral": "the big one" }),
            &["show", "GUID", "the big one"],
        ),
        (
            json!({ "command": "show", "referral": TENANT, "opportunity": TENANT }),
            &["one of them", "both"],
        ),
        (
            json!({ "Records": "all of them" }),
            &["the batch of the queue cannot be read"],
        ),
    ] {
        names_its_cure(world.invoke(event).await, "invalid_event", words);
    }
    // A message that is no hint goes back by name; the others of the batch are done.
    let record = |id: &str, body: &str| {
        let attributes = json!({ "MessageGroupId": id, "ApproximateReceiveCount": "1", "SentTimestamp": "0" });
        json!({ "messageId": id, "body": body, "attributes": attributes, "eventSource": "aws:sqs" })
    };
    let hint = json!({ "referral": Uuid::new_v4(), "cause": "operator" }).to_string();
    let batch = json!({ "Records": [record("nonsense", "{]"), record("hint", &hint)] });
    let answer = world.invoke(batch).await.unwrap();
    assert_eq!(
        answer,
        json!({ "batchItemFailures": [{ "itemIdentifier": "nonsense" }] })
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_takes_what_is_no_post_for_an_unsigned_one() {
    let world = World::start().await;
    for event in [
        json!({}),
        json!({ "Records": [] }),
        json!({ "body": "{}", "headers": {} }),
    ] {
        let answer = world.webhook.invoke(event).await.unwrap();
        assert_eq!(answer, json!({ "statusCode": 401, "body": "" }));
    }
    let broken = json!({ "body": "no base64!", "isBase64Encoded": true });
    assert_eq!(world.webhook.invoke(broken).await.unwrap()["statusCode"], 401);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_says_what_it_would_understand() {
    let world = World::start().await;
    let actions = ["inspect", "register", "prove"];
    for (event, words) in [
        (json!({}), &actions[..]),
        (json!({ "action": "dance" }), &actions),
        (json!({ "action": "register", "force": true }), &["force"]),
        (
            json!({ "action": "register", "webhook_url": "http://webhook.example/x" }),
            &["webhook_url", "https"],
        ),
        (
            json!({ "action": "register", "events": ["referral created"] }),
            &["events"],
        ),
    ] {
        names_its_cure(world.registration.invoke(event).await, "order_invalid", words);
    }
    let event = json!({ "action": "register", "events": ["referral-exploded", "test-created"] });
    names_its_cure(
        world.registration.invoke(event).await,
        "events_unknown",
        &["referral-exploded"],
    );
    world.close().await;
}

// ---- registration -----------------------------------------------------------------------------------------------------

async fn unregistered() -> World {
    World::start_with(Setup {
        registered: false,
        ..Setup::default()
    })
    .await
    .unwrap()
}

async fn order(world: &World, order: Value) -> Value {
    world.registration.invoke(order).await.unwrap()
}

/// Writes to the registration API since a mark; asking for a test event changes no registration.
fn writes_since(world: &World, mark: u64) -> usize {
    let is_write = |exchange: &&Exchange| exchange.api == "registration" && exchange.is_write();
    let is_test = |exchange: &&Exchange| exchange.target.ends_with("/validationEvents");
    world
        .switchboard
        .since(mark)
        .iter()
        .filter(is_write)
        .filter(|exchange| !is_test(exchange))
        .count()
}

fn registered(world: &World) -> (String, Vec<String>) {
    let registration = world.partner_center.registration().unwrap();
    let mut events = registration.events;
    events.sort();
    (registration.url, events)
}

fn all_events() -> Vec<String> {
    let mut events = EVENTS.map(str::to_owned).to_vec();
    events.sort();
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_is_inspected_registered_once_and_proven() {
    let world = unregistered().await;
    let mark = world.switchboard.mark();
    let report = order(&world, json!({ "action": "inspect" })).await;
    assert_eq!(
        (&report["done"]["outcome"], &report["found"]),
        (&json!("drifted"), &Value::Null),
        "{report:#}"
    );
    assert_eq!(report["done"]["drift"], json!(["nothing_registered"]));
    assert_eq!(report["desired"]["webhook_url"], json!(world.gateway.url()));
    names_its_cure(
        world.registration.invoke(json!({ "action": "prove" })).await,
        "not_registered",
        &["run the action register first"],
    );
    assert_eq!(writes_since(&world, mark), 0);

    let report = order(&world, json!({ "action": "register" })).await;
    assert_eq!(report["done"]["outcome"], "created", "{report:#}");
    assert_eq!(registered(&world), (world.gateway.url(), all_events()));
    assert!(
        world
            .partner_center
            .registration()
            .unwrap()
            .signature_token_to_ms_signature_header
    );

    let mark = world.switchboard.mark();
    for action in ["register", "inspect"] {
        let report = order(&world, json!({ "action": action })).await;
        assert_eq!(
            report["done"],
            json!({ "outcome": "in_step", "drift": [] }),
            "{report:#}"
        );
        assert_eq!(report["found"]["webhook_url"], json!(world.gateway.url()));
    }
    assert_eq!(writes_since(&world, mark), 0);

    let report = order(&world, json!({ "action": "prove" })).await;
    assert_eq!(report["done"]["outcome"], "delivered", "{report:#}");
    let delivery = &report["done"]["delivery"];
    assert_eq!(
        (&delivery["status"], &delivery["url"]),
        (&json!("completed"), &json!(world.gateway.url()))
    );
    assert_eq!(delivery["attempts"][0]["response_code"], "OK");

    // And what is registered is what brings a deal over.
    let referral = world.portal_creates(&json!({}));
    world.settle().await;
    let _ = world.opportunity_of(&referral);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_leads_elsewhere_is_replaced_only_on_an_explicit_wish() {
    let world = unregistered().await;
    let foreign = "https://events.other-product.example/partner-center";
    world.partner_center.register_directly(foreign, &["invoice-ready"]);
    let mark = world.switchboard.mark();
    let report = order(&world, json!({ "action": "inspect" })).await;
    assert_eq!(
        (&report["done"]["outcome"], &report["found"]["webhook_url"]),
        (&json!("drifted"), &json!(foreign))
    );
    let ours = world.gateway.url();
    let refused = world.registration.invoke(json!({ "action": "register" })).await;
    names_its_cure(
        refused,
        "foreign_registration",
        &[foreign, &ours, "\"overwrite\": true"],
    );
    assert_eq!(writes_since(&world, mark), 0);
    assert_eq!(
        registered(&world),
        (foreign.to_owned(), vec!["invoice-ready".to_owned()])
    );

    let report = order(&world, json!({ "action": "register", "overwrite": true })).await;
    assert_eq!(
        (&report["done"]["outcome"], &report["done"]["replaced_url"]),
        (&json!("replaced"), &json!(foreign))
    );
    assert_eq!(registered(&world), (ours, all_events()));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_registration_of_ours_is_completed_and_keeps_what_others_added() {
    let world = unregistered().await;
    world
        .partner_center
        .register_directly(&world.gateway.url(), &["referral-created", "invoice-ready"]);
    let report = order(&world, json!({ "action": "register" })).await;
    assert_eq!(report["done"]["outcome"], "repaired", "{report:#}");
    let missing = report["done"]["drift"][0]["events_missing"].as_array().unwrap();
    assert!(
        missing.contains(&json!("referral-updated")) && !missing.contains(&json!("referral-created")),
        "{missing:?}"
    );
    let mut events = all_events();
    events.push("invoice-ready".to_owned());
    events.sort();
    assert_eq!(registered(&world), (world.gateway.url(), events));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_that_does_not_arrive_is_reported_with_its_attempts() {
    let world = unregistered().await;
    world.partner_center.delivery_backoff(Duration::from_millis(1));
    // Nobody listens there.
    let deaf = "http://127.0.0.1:9/webhook";
    order(&world, json!({ "action": "register", "webhook_url": deaf })).await;
    let report = order(&world, json!({ "action": "prove", "webhook_url": deaf })).await;
    assert_eq!(report["done"]["outcome"], "undelivered", "{report:#}");
    assert_eq!(report["done"]["delivery"]["status"], "failed");
    assert_eq!(report["done"]["delivery"]["attempts"].as_array().unwrap().len(), 10);
    let is_it = |line: &String| line.contains("ERROR") && line.contains("undelivered");
    let logs = world.registration.logs_once(|lines| lines.iter().any(is_it)).await;
    assert!(logs.iter().any(is_it), "{logs:#?}");
    world.close().await;
}
