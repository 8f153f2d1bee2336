//! `cosell doctor`: all is well in a prepared world; and for each check, one thing that makes it fail, with the cure.

use std::time::Duration;

use cosell_tests::dataverse::{Crm, Depth};
use cosell_tests::switchboard::Fault;
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::place::{CRM_SECRET, EVENTS, Outcome, PARTNER_APP, PARTNER_SECRET, Place, TENANT};

const CHECKS: [&str; 21] = [
    "settings",
    "aws",
    "links_table",
    "audit_table",
    "queue",
    "partner_center_secret",
    "referrals_token",
    "registration_token",
    "second_factor",
    "referrals_read",
    "registration",
    "dataverse_secret",
    "mapping",
    "dataverse_token",
    "application_user",
    "privileges",
    "opportunity_read",
    "columns",
    "alternate_key",
    "change_tracking",
    "clock",
];

fn check(outcome: &Outcome, id: &str) -> Value {
    let document = outcome.json();
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["check"] == id);
    found.unwrap_or_else(|| panic!("{id} is not in {outcome:#?}")).clone()
}

/// Exactly these checks fail; the first of them with this code and this cure. Others may be skipped.
async fn fails(place: &Place, failing: &[&str], code: &str, cure: &str) -> Outcome {
    let outcome = place.run(&["doctor", "--json"]).await;
    outcome.ended(1);
    let document = outcome.json();
    let failed: Vec<&str> = document["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["result"] == "failed")
        .map(|check| check["check"].as_str().unwrap())
        .collect();
    assert_eq!(failed, failing, "{outcome:#?}");
    let first = check(&outcome, failing[0]);
    assert_eq!(first["code"], code, "{first:#}");
    assert!(
        first["cure"].as_str().unwrap().contains(cure),
        "{cure:?} is not in {first:#}"
    );
    // The person sees the same.
    outcome.says(cure);
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_prepared_world_all_is_well_and_nothing_is_changed() {
    let place = Place::prepared().await;
    let before = place.secret(PARTNER_SECRET).unwrap();
    let mark = place.mark();
    let outcome = place.run(&["doctor", "--json"]).await;
    let document = outcome.ended(0).json();
    assert_eq!(document["outcome"], "fine");
    let checks = document["checks"].as_array().unwrap();
    let names: Vec<&str> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!(names, CHECKS);
    for check in checks {
        assert_eq!(check["result"], "ok", "{check:#}");
    }
    outcome.says("All is well.");
    for exchange in place.since(mark) {
        let is_vendor = ["dataverse", "partner_center", "registration"].contains(&exchange.api);
        assert!(
            !(is_vendor && exchange.is_write()),
            "{} {}",
            exchange.method,
            exchange.target
        );
    }
    // A token that Entra renewed is kept, as the functions keep it; nothing else of the secret changes.
    let after = place.secret(PARTNER_SECRET).unwrap();
    assert_eq!(after["client_id"], before["client_id"]);
    assert_eq!(place.aws.secret_versions(CRM_SECRET).len(), 1);
    // A person sees it in parts.
    let outcome = place.run(&["doctor"]).await;
    outcome.ended(0);
    for part in ["Deployment", "Partner Center", "Dynamics 365", "Clock", "All is well."] {
        outcome.says(part);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_first_deployment_each_missing_step_is_named_in_order() {
    let place = Place::bare(Crm::Plain).await;
    let outcome = fails(
        &place,
        &["partner_center_secret", "dataverse_secret"],
        "secret_empty",
        "run `make consent ENV=...`",
    )
    .await;
    assert_eq!(
        check(&outcome, "dataverse_secret")["cure"],
        "run `make credentials ENV=...`"
    );
    let registration = check(&outcome, "registration");
    assert_eq!(registration["result"], "skipped");
    assert!(
        registration["needs"]
            .as_str()
            .unwrap()
            .contains("`make consent ENV=...`"),
        "{registration}"
    );
    for id in [
        "referrals_token",
        "second_factor",
        "dataverse_token",
        "columns",
        "clock",
    ] {
        assert_eq!(check(&outcome, id)["result"], "skipped", "{id}");
    }
    outcome.says("skipped, needs");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_missing_skip_what_needs_them() {
    let mut place = Place::prepared().await;
    place.unset("LINKS_TABLE");
    place.set("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/plain");
    let outcome = fails(&place, &["settings"], "settings_invalid", "infra/run operator").await;
    outcome.says("LINKS_TABLE is not set").says("must name a FIFO queue");
    assert_eq!(check(&outcome, "links_table")["needs"], "LINKS_TABLE");
    assert_eq!(check(&outcome, "queue")["needs"], "QUEUE_URL");
    assert_eq!(check(&outcome, "audit_table")["result"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_aws_credentials_everything_that_needs_them_is_skipped() {
    let place = Place::prepared().await;
    let nothing = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let outcome = place.run_with(&["doctor", "--json"], &nothing).await;
    outcome.ended(1).says("aws sso login");
    assert_eq!(check(&outcome, "aws")["result"], "failed");
    assert_eq!(check(&outcome, "links_table")["needs"], "AWS credentials");
    assert_eq!(check(&outcome, "partner_center_secret")["needs"], "AWS credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_is_not_known_is_asked_for() {
    let mut place = Place::prepared().await;
    place.unset("AWS_REGION");
    let outcome = fails(&place, &["aws"], "aws_region_missing", "set AWS_REGION").await;
    assert_eq!(check(&outcome, "queue")["result"], "skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_there() {
    let mut place = Place::prepared().await;
    place.set("AUDIT_TABLE", "cosell-nowhere");
    fails(&place, &["audit_table"], "not_found", "deploy (`make deploy ENV=...`)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_there() {
    let mut place = Place::prepared().await;
    let url = place.queue.as_str().replace("cosell-hints", "cosell-nowhere");
    place.set("QUEUE_URL", &url);
    fails(&place, &["queue"], "not_found", "deploy (`make deploy ENV=...`)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_aws_permission_is_named() {
    let place = Place::prepared().await;
    let denied = Fault::Answer {
        status: StatusCode::BAD_REQUEST,
        headers: vec![("content-type", "application/x-amz-json-1.0".to_owned())],
        body: json!({"__type": "com.amazon.coral.service#AccessDeniedException", "message": "not authorized"})
            .to_string(),
    };
    place.vendors.switchboard.plan(0, 1, denied, |exchange| {
        let target = exchange.headers.get("x-amz-target");
        target.is_some_and(|target| target == "DynamoDB_20120810.DescribeTable")
    });
    fails(
        &place,
        &["links_table"],
        "denied",
        "the AWS permission dynamodb:DescribeTable",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_without_all_its_members() {
    let place = Place::prepared().await;
    place
        .aws
        .create_secret(PARTNER_SECRET, &json!({"client_id": PARTNER_APP}));
    let outcome = fails(
        &place,
        &["partner_center_secret"],
        "secret_incomplete",
        "run `make consent ENV=...`",
    )
    .await;
    outcome.says("lacks client_secret, refresh_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_was_withdrawn() {
    let place = Place::prepared().await;
    place.vendors.entra.revoke_all_refresh_tokens();
    let failing = ["referrals_token", "registration_token"];
    fails(&place, &failing, "consent_needed", "run `make consent ENV=...`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_that_lapsed() {
    let mut place = Place::prepared().await;
    place.keep_secret("renewed~elsewhere");
    place
        .vendors
        .entra
        .add_app_client(TENANT, PARTNER_APP, "renewed~elsewhere");
    let failing = ["referrals_token", "registration_token"];
    fails(
        &place,
        &failing,
        "client_secret_refused",
        "`make consent ENV=... ARGS=--new-secret`",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_for_one_api_only() {
    let place = Place::prepared().await;
    place
        .vendors
        .entra
        .only_audience(Some("https://api.partner.microsoft.com"));
    fails(&place, &["registration_token"], "consent_needed", "Grant admin consent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_without_a_second_factor() {
    let place = Place::prepared().await;
    place.vendors.entra.drop_mfa(true);
    let outcome = place.run(&["doctor", "--json"]).await;
    outcome.ended(1);
    let found = check(&outcome, "second_factor");
    assert_eq!(found["code"], "second_factor_missing");
    assert!(
        found["cure"]
            .as_str()
            .unwrap()
            .contains("give the connector's user a second factor"),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_referrals_role() {
    let place = Place::prepared().await;
    place.vendors.partner_center.refuse_referrals_role(true);
    fails(&place, &["referrals_read"], "access_denied", "the role Referrals admin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_manage_webhooks() {
    let place = Place::prepared().await;
    place.vendors.partner_center.refuse_role(true);
    fails(&place, &["registration"], "role_missing", "Admin agent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_missing_foreign_or_incomplete() {
    let place = Place::bare(Crm::WithCoSell).await;
    place.store_credentials();
    fails(
        &place,
        &["registration"],
        "not_registered",
        "run `make register ENV=...`",
    )
    .await;

    let foreign = "https://flows.example.com/run?sig=foreign~key&owner=cosell-production-99887766";
    place.vendors.partner_center.register_directly(foreign, &EVENTS);
    let cure = "`make register ENV=... ARGS=--overwrite`";
    let outcome = fails(&place, &["registration"], "foreign_registration", cure).await;
    outcome
        .says("https://flows.example.com/run?owner=cosell-production-99887766 is registered")
        .says("its owner mark is that of the environment production");
    assert!(!outcome.stdout.contains("foreign~key") && !outcome.stderr.contains("foreign~key"));

    place
        .vendors
        .partner_center
        .register_directly(crate::place::WEBHOOK, &EVENTS[..4]);
    let outcome = fails(
        &place,
        &["registration"],
        "registration_drifted",
        "run `make register ENV=...`",
    )
    .await;
    outcome.says("the registration lacks test-created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_the_registration_to_whoever_has_it() {
    let mut place = Place::prepared().await;
    place.set("DRY_RUN", "true");
    let foreign = "https://flows.example.com/run?owner=cosell-production-99887766";
    place.vendors.partner_center.register_directly(foreign, &EVENTS);
    let outcome = place.run(&["doctor", "--json"]).await;
    outcome.ended(0);
    let registration = check(&outcome, "registration");
    assert_eq!(registration["result"], "warning", "{registration}");
    outcome
        .says("a dry run leaves the registration alone")
        .says("https://flows.example.com/run?owner=cosell-production-99887766");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_address_of_this_deployment_is_not_taken_for_somebody_elses() {
    let place = Place::prepared().await;
    let earlier = "https://earlier.example.com/webhook?owner=cosell-staging-0a1b2c3d";
    place.vendors.partner_center.register_directly(earlier, &EVENTS);
    let cure = "run `make register ENV=...`";
    let outcome = fails(&place, &["registration"], "registration_moved", cure).await;
    outcome.says(&format!(
        "{earlier} is registered, an earlier address of this deployment"
    ));
    place.run(&["register"]).await.ended(0);
    place.run(&["doctor"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_dynamics_does_not_know() {
    let place = Place::prepared().await;
    place.vendors.dataverse.member(false);
    fails(
        &place,
        &["application_user"],
        "user_not_admitted",
        "make the application a user",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dynamics_client_secret_that_lapsed() {
    let mut place = Place::prepared().await;
    place.keep_secret("renewed~elsewhere");
    place
        .vendors
        .entra
        .add_app_client(TENANT, crate::place::CRM_APP, "renewed~elsewhere");
    let cure = "`make credentials ENV=... ARGS=--new-secret`";
    fails(&place, &["dataverse_token"], "client_secret_refused", cure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_that_is_missing_or_too_narrow() {
    let place = Place::prepared().await;
    place.vendors.dataverse.privilege("prvAppendToContact", None);
    let outcome = fails(&place, &["privileges"], "privilege_missing", "security role").await;
    outcome.says("missing are prvAppendToContact");
    // A new contact is bound to its account; a row is created by a PATCH; a close is an activity of the opportunity's.
    let needed = [
        "prvWriteAccount",
        "prvWriteContact",
        "prvAppendContact",
        "prvReadActivity",
        "prvAppendActivity",
    ];
    for name in needed {
        place.vendors.dataverse.privilege(name, None);
    }
    let outcome = fails(&place, &["privileges"], "privilege_missing", "security role").await;
    for name in needed {
        outcome.says(name);
    }

    let place = Place::prepared().await;
    place
        .vendors
        .dataverse
        .privilege("prvReadOpportunity", Some(Depth::Local));
    let outcome = fails(
        &place,
        &["change_tracking"],
        "privilege_missing",
        "of the whole organisation",
    )
    .await;
    outcome.says("prvReadOpportunity");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_opportunities_that_is_refused() {
    let place = Place::prepared().await;
    place.vendors.dataverse.privilege("prvReadOpportunity", None);
    let outcome = place.run(&["doctor", "--json"]).await;
    let found = check(outcome.ended(1), "opportunity_read");
    assert_eq!(found["code"], "privilege_missing");
    assert!(found["cure"].as_str().unwrap().contains("security role"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_missing_of_another_kind_or_too_short() {
    let place = Place::prepared().await;
    place
        .vendors
        .dataverse
        .remove_column("opportunity", "cosell_referrallink");
    let outcome = fails(&place, &["columns"], "columns_missing", "run `make columns ENV=...`").await;
    outcome.says("cosell_referrallink");

    let place = Place::prepared().await;
    assert!(
        place
            .vendors
            .dataverse
            .retype_column("opportunity", "cosell_closereason", "Integer")
    );
    let outcome = fails(
        &place,
        &["columns"],
        "columns_unfit",
        "`make columns ENV=... ARGS=--check`",
    )
    .await;
    outcome.says("cosell_closereason is whole number, wanted is text");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_of_ones_own_is_looked_at() {
    let mut place = Place::prepared().await;
    place.set("MAPPING_FILE", "");
    place
        .run(&["doctor"])
        .await
        .ended(0)
        .says("the built-in mapping is sound");
    // What is deployed cannot be told from here then, and nothing else is looked at in its stead.
    let nowhere = place.folder().join("nowhere.toml");
    place.set("MAPPING_FILE", nowhere.to_str().unwrap());
    let outcome = place.run(&["doctor", "--json"]).await;
    let found = check(outcome.ended(0), "mapping");
    assert_eq!(found["result"], "warning", "{found}");
    assert_eq!(
        found["cure"],
        "name the file in `mapping` of infra/environments/ENV.tfvars"
    );
    for id in ["columns", "alternate_key"] {
        assert_eq!(check(&outcome, id)["needs"], "a sound mapping", "{id}");
    }
    place.file("own.toml", "version = 1\nnonsense = true\n");
    place.set("MAPPING_FILE", "own.toml");
    fails(&place, &["mapping"], "mapping_invalid", "correct the file").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_missing_failed_or_not_ready() {
    let place = Place::prepared().await;
    place.vendors.dataverse.break_keys("opportunity");
    let outcome = fails(
        &place,
        &["alternate_key"],
        "key_not_active",
        "two opportunities carry the same",
    )
    .await;
    outcome.says("is Failed");
    place.vendors.dataverse.remove_keys("opportunity");
    fails(&place, &["alternate_key"], "key_missing", "run `make columns ENV=...`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_another_prefix_the_key_is_that_of_the_mapping() {
    let mut place = Place::bare(Crm::Plain).await;
    place.store_credentials();
    place
        .vendors
        .partner_center
        .register_directly(crate::place::WEBHOOK, &EVENTS);
    let folder = place.definitions(&[("\"cosell\"", "\"acme\""), ("\"cosellsync\"", "\"acmesync\"")]);
    place
        .run(&["columns", "--yes", "--definitions", &folder])
        .await
        .ended(0);
    let mapping = cosell::mapping::DEFAULT.replace("prefix = \"cosell_\"", "prefix = \"acme_\"");
    let file = place.file("acme.toml", &mapping);
    place.set("MAPPING_FILE", file.to_str().unwrap());
    place
        .run(&["doctor"])
        .await
        .ended(0)
        .says("the alternate key acme_ReferralKey is active");
    place.unset("MAPPING_FILE");
    // The built-in mapping's names are those of another prefix, its child table's among them.
    let failing = ["privileges", "columns", "alternate_key", "change_tracking"];
    let outcome = fails(&place, &failing, "privilege_missing", "security role").await;
    assert_eq!(check(&outcome, "columns")["code"], "columns_missing");
    outcome.says("make columns");
}

#[tokio::test(flavor = "multi_thread")]
async fn change_tracking_that_is_off() {
    let place = Place::prepared().await;
    place.vendors.dataverse.track("opportunity", false);
    fails(
        &place,
        &["change_tracking"],
        "tracking_disabled",
        "run `make columns ENV=...`",
    )
    .await;
    // All of them are named at once.
    place.vendors.dataverse.track("cosell_dealsolution", false);
    let outcome = fails(&place, &["change_tracking"], "tracking_disabled", "run `make columns").await;
    outcome.says("the table opportunity does not");
    outcome.says("the table cosell_dealsolution does not");
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_are_looked_at_where_they_are_wanted() {
    let mut place = Place::prepared().await;
    place.vendors.dataverse.track("lead", false);
    place.vendors.dataverse.privilege("prvAppendToLead", None);
    place.run(&["doctor"]).await.ended(0);
    place.set("SYNC_COSELL_ONLY", "false");
    let failing = ["privileges", "change_tracking"];
    let outcome = fails(&place, &failing, "privilege_missing", "security role").await;
    outcome.says("missing are prvAppendToLead");
    outcome.says("the table lead does not track changes");
}

/// Partner Center answers the list of referrals once, by a clock that is this far from ours.
#[expect(
    clippy::disallowed_methods,
    reason = "the command compares with the machine's own clock"
)]
fn skew(place: &Place, by: Duration) {
    let behind = Timestamp::now() - SignedDuration::try_from(by).unwrap();
    let date = behind.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let list = Fault::Answer {
        status: StatusCode::OK,
        headers: vec![("content-type", "application/json".to_owned()), ("date", date)],
        body: json!({ "value": [] }).to_string(),
    };
    place
        .vendors
        .switchboard
        .plan(0, 1, list, |exchange| exchange.api == "partner_center");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong() {
    let place = Place::prepared().await;
    skew(&place, Duration::from_secs(120));
    let outcome = place.run(&["doctor", "--json"]).await;
    let found = check(outcome.ended(0), "clock");
    assert_eq!(found["result"], "warning", "{found}");
    assert!(
        found["message"].as_str().unwrap().contains("ahead of Partner Center"),
        "{found}"
    );

    skew(&place, Duration::from_secs(400));
    fails(&place, &["clock"], "clock_wrong", "NTP").await;
}
