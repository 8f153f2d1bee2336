//! `cosell consent`: the test is the browser.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cosell_tests::dataverse::Crm;
use cosell_tests::entra::{PARTNER_AUDIENCE, SignIn};
use cosell_tests::switchboard::{Exchange, Fault};
use reqwest::StatusCode;
use serde_json::json;

use crate::place::{Browser, Outcome, PARTNER_APP, PARTNER_APP_SECRET, PARTNER_SECRET, Place, TENANT, Talk, signal};

const SECRET: [(&str, &str); 1] = [("CLIENT_SECRET", PARTNER_APP_SECRET)];
const CONSENT: [&str; 6] = ["consent", "--no-browser", "--port", "0", "--client-id", PARTNER_APP];

fn start(place: &Place) -> Talk {
    place.start(&CONSENT, &SECRET)
}

async fn sign_in(place: &Place) -> (Outcome, String) {
    let mut talk = start(place);
    let address = talk.address().await;
    let page = Browser::new().visit(&address).await;
    (talk.end(place).await, page)
}

fn is_token_request(exchange: &Exchange) -> bool {
    exchange.api == "entra" && exchange.target.ends_with("/oauth2/token")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_checked_for_both_apis_and_stored() {
    let place = Place::bare(Crm::Plain).await;
    let (outcome, page) = sign_in(&place).await;
    outcome
        .ended(0)
        .says("signed in as cosell-service@aldermoor.example, with a second factor")
        .says("works for https://api.partner.microsoft.com (referrals)")
        .says("works for https://api.partnercenter.microsoft.com (webhook registration)")
        .says("stored in cosell/partner-center")
        .says("Next:");
    assert!(page.contains("Signed in"), "{page}");
    let stored = place.secret(PARTNER_SECRET).unwrap();
    assert_eq!(stored["client_id"], PARTNER_APP);
    assert_eq!(stored["client_secret"], PARTNER_APP_SECRET);
    assert!(stored["refresh_token"].as_str().is_some_and(|token| token.len() > 20));
    assert_eq!(place.aws.secret_versions(PARTNER_SECRET).len(), 1);
    // What was stored is what the functions need.
    place
        .vendors
        .partner_center
        .register_directly(crate::place::WEBHOOK, &crate::place::EVENTS);
    place.run(&["register"]).await.ended(0).says("registered already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sign_in_replaces_the_first_and_asks_for_nothing_that_is_stored() {
    let place = Place::bare(Crm::Plain).await;
    sign_in(&place).await.0.ended(0);
    let before = place.secret(PARTNER_SECRET).unwrap();
    let mut talk = place.start(&["consent", "--no-browser", "--port", "0"], &[]);
    let address = talk.address().await;
    Browser::new().visit(&address).await;
    talk.end(&place)
        .await
        .ended(0)
        .says("with the stored secret")
        .says("The stored client secret is used; `make consent ENV=... ARGS=--new-secret` asks for another.");
    let after = place.secret(PARTNER_SECRET).unwrap();
    assert_eq!(after["client_secret"], PARTNER_APP_SECRET);
    assert_ne!(after["refresh_token"], before["refresh_token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_one_document_and_no_credential() {
    let place = Place::bare(Crm::Plain).await;
    let mut arguments = CONSENT.to_vec();
    arguments.push("--json");
    let mut talk = place.start(&arguments, &SECRET);
    let address = talk.address().await;
    Browser::new().visit(&address).await;
    let outcome = talk.end(&place).await;
    let document = outcome.ended(0).json();
    assert_eq!(document["outcome"], "stored");
    assert_eq!(document["client_id"], PARTNER_APP);
    assert_eq!(document["user"], "cosell-service@aldermoor.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_may_come_through_a_pipe() {
    let place = Place::bare(Crm::Plain).await;
    place
        .vendors
        .entra
        .add_app_client(TENANT, PARTNER_APP, "another~secret");
    let arguments = [
        "consent",
        "--no-browser",
        "--port",
        "0",
        "--wait",
        "1",
        "--client-id",
        PARTNER_APP,
        "--secret-stdin",
    ];
    // Nobody signs in: the secret was taken, the address shown.
    let outcome = place.run_piped(&arguments, "another~secret\n").await;
    outcome
        .ended(1)
        .says(&format!("Application {PARTNER_APP}"))
        .says("nobody came back from the sign-in within 1.0 s")
        .says("redirect URI http://localhost:");
    assert_eq!(place.secret(PARTNER_SECRET), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_of_a_sign_in_that_cannot_be_used_and_the_cure_is_named() {
    let refusals = [
        (
            SignIn::Cancels,
            "the sign-in was cancelled",
            "accept what Microsoft shows",
        ),
        (
            SignIn::WithoutMfa,
            "lacks a second factor",
            "give the connector's user a second factor",
        ),
        (
            SignIn::LacksConsent,
            "no admin consent",
            "press \"Grant admin consent\"",
        ),
    ];
    let place = Place::bare(Crm::Plain).await;
    place.store_credentials();
    let before = place.aws.secret(PARTNER_SECRET);
    for (act, message, cure) in refusals {
        place.vendors.entra.sign_in(act);
        let (outcome, page) = sign_in(&place).await;
        outcome.ended(1).says(message).says(cure);
        assert!(page.contains("The sign-in cannot be used"), "{page}");
        assert_eq!(place.aws.secret(PARTNER_SECRET), before, "{act:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_works_for_one_api_only_is_not_stored() {
    let place = Place::bare(Crm::Plain).await;
    place.vendors.entra.only_audience(Some(PARTNER_AUDIENCE));
    let (outcome, _) = sign_in(&place).await;
    outcome
        .ended(1)
        .says("works for https://api.partner.microsoft.com (referrals)")
        .says("no admin consent")
        .says("\"Microsoft Partner Center\" (fa3d9a0c-3fb0-42cc-9193-47c7ecd2edbd)");
    assert_eq!(place.secret(PARTNER_SECRET), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_another_tenant_is_named_and_not_stored() {
    let place = Place::bare(Crm::Plain).await;
    let other = "00000000-1111-4222-8333-444444444444";
    let claims = json!({ "tid": other, "amr": ["pwd", "mfa"], "upn": "jo@elsewhere.example" });
    let token = format!("e30.{}.x", base64_url(claims.to_string().as_bytes()));
    let body = json!({ "access_token": token, "expires_in": "3599", "refresh_token": "0.Arefresh~of~another" });
    let answer = Fault::Answer {
        status: StatusCode::OK,
        headers: vec![("content-type", "application/json".to_owned())],
        body: body.to_string(),
    };
    place.vendors.switchboard.plan(0, 1, answer, is_token_request);
    let (outcome, _) = sign_in(&place).await;
    outcome
        .ended(1)
        .says(&format!("the sign-in is of tenant {other}, wanted is {TENANT}"))
        .says("correct PARTNER_TENANT_ID");
    assert_eq!(place.secret(PARTNER_SECRET), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_tell_how_the_person_signed_in_is_stored_with_a_note() {
    let place = Place::bare(Crm::Plain).await;
    let body = json!({
        "access_token": "opaque~access~token", "expires_in": "3599", "refresh_token": "0.Arefresh~of~the~service",
    });
    let answer = Fault::Answer {
        status: StatusCode::OK,
        headers: vec![("content-type", "application/json".to_owned())],
        body: body.to_string(),
    };
    // The code, then each audience.
    place.vendors.switchboard.plan(0, 3, answer, is_token_request);
    let (outcome, page) = sign_in(&place).await;
    outcome
        .ended(0)
        .says("the token does not say whether the sign-in had a second factor")
        .says("`make doctor ENV=...` shows whether Partner Center takes it")
        .says("stored in cosell/partner-center");
    assert_eq!(outcome.words().matches("the token does not say").count(), 1);
    assert!(
        !outcome.words().contains("with a second factor, in tenant"),
        "{outcome:#?}"
    );
    assert!(page.contains("Signed in"), "{page}");
    let stored = place.secret(PARTNER_SECRET).unwrap();
    assert_eq!(stored["refresh_token"], "0.Arefresh~of~the~service");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_client_secret_is_told_from_everything_else() {
    let mut place = Place::bare(Crm::Plain).await;
    place.keep_secret("not~the~secret");
    let mut talk = place.start(&CONSENT, &[("CLIENT_SECRET", "not~the~secret")]);
    let address = talk.address().await;
    Browser::new().visit(&address).await;
    let outcome = talk.end(&place).await;
    outcome
        .ended(1)
        .says("Entra does not accept the client secret (invalid_client AADSTS7000215)")
        .says("make a new client secret");
    assert_eq!(place.secret(PARTNER_SECRET), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_sign_in_is_refused_and_the_real_one_still_waited_for() {
    let place = Place::bare(Crm::Plain).await;
    let (mut old, mut new) = (start(&place), start(&place));
    let (old_address, new_address) = (old.address().await, new.address().await);
    let state = |address: &str| {
        let url = url::Url::parse(address).unwrap();
        url.query_pairs()
            .find(|(name, _)| name == "state")
            .unwrap()
            .1
            .into_owned()
    };
    // The old tab's state on the new address.
    let mixed = new_address.replace(&state(&new_address), &state(&old_address));
    let page = Browser::new().visit(&mixed).await;
    assert!(page.contains("The answer belongs to another sign-in"), "{page}");
    assert!(!place.since(0).iter().any(is_token_request), "a code was redeemed");
    let page = Browser::new().visit(&new_address).await;
    assert!(page.contains("Signed in"), "{page}");
    new.end(&place)
        .await
        .ended(0)
        .says("an answer of another sign-in came and was refused");
    let stored = place.aws.secret(PARTNER_SECRET);
    old.signal("INT").await;
    old.end(&place).await.ended(130);
    assert_eq!(place.aws.secret(PARTNER_SECRET), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_while_waiting_it_ends_at_once_and_stores_nothing() {
    let place = Place::bare(Crm::Plain).await;
    place.vendors.entra.sign_in(SignIn::NeverAnswers);
    let mut talk = start(&place);
    let address = talk.address().await;
    Browser::new().visit(&address).await;
    talk.signal("INT").await;
    talk.end(&place)
        .await
        .ended(130)
        .says("interrupted; nothing was stored; the previous credential is untouched");
    assert_eq!(place.secret(PARTNER_SECRET), None);
}

/// Kills the command's process once the n-th request of its kind was applied; answers what the secret holds then.
async fn killed_at(skip: usize, is_it: impl Fn(&Exchange) -> bool + Send + 'static) -> (Place, Option<String>) {
    let place = Place::bare(Crm::Plain).await;
    place.store_credentials();
    let before = place.aws.secret(PARTNER_SECRET);
    let mut talk = start(&place);
    let process = Arc::new(AtomicU32::new(talk.id()));
    let kill = Fault::RunAfterApply(Arc::new(move || signal(process.load(Ordering::SeqCst), "KILL")));
    place.vendors.switchboard.plan(skip, 1, kill, is_it);
    let address = talk.address().await;
    // Nobody may be left to answer.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        let browser = transport::client().unwrap();
        let first = browser.get(&address).send().await.unwrap();
        let back = first.headers().get("location").unwrap().to_str().unwrap().to_owned();
        let _ = browser.get(back).send().await;
    })
    .await;
    assert_eq!(talk.end(&place).await.code, None, "it was killed");
    assert!(place.vendors.switchboard.unused_faults().is_empty());
    (place, before)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_request_before_the_last_it_leaves_the_previous_credential() {
    // The code, then each audience.
    for skip in 0..3 {
        let (place, before) = killed_at(skip, is_token_request).await;
        assert_eq!(
            place.aws.secret(PARTNER_SECRET),
            before,
            "killed at token request {skip}"
        );
        sign_in(&place).await.0.ended(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_storing_it_leaves_a_whole_credential() {
    let is_store = |exchange: &Exchange| {
        let target = exchange.headers.get("x-amz-target");
        target.is_some_and(|target| target == "secretsmanager.PutSecretValue")
    };
    let (place, before) = killed_at(0, is_store).await;
    let stored = place.secret(PARTNER_SECRET).unwrap();
    assert_ne!(place.aws.secret(PARTNER_SECRET), before);
    for member in ["client_id", "client_secret", "refresh_token"] {
        assert!(stored[member].as_str().is_some_and(|text| !text.is_empty()), "{member}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_is_opened_at_the_address() {
    let place = Place::bare(Crm::Plain).await;
    let seen = place.folder().join("seen");
    let program = place.file(
        "xdg-open",
        &format!("#!/bin/sh\nprintf %s \"$1\" > {}\n", seen.display()),
    );
    make_runnable(&program);
    let path = format!("{}:/usr/bin:/bin", place.folder().display());
    let arguments = ["consent", "--port", "0", "--client-id", PARTNER_APP];
    let mut talk = place.start(&arguments, &[SECRET[0], ("PATH", path.as_str())]);
    let address = talk.address().await;
    talk.until("The browser should have opened").await;
    Browser::new().visit(&address).await;
    talk.end(&place).await.ended(0);
    assert_eq!(std::fs::read_to_string(seen).unwrap(), address);
}

#[cfg(unix)]
fn make_runnable(program: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_and_a_taken_port_are_named_before_anybody_signs_in() {
    let mut place = Place::bare(Crm::Plain).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let arguments = [
        "consent",
        "--no-browser",
        "--port",
        port.as_str(),
        "--client-id",
        PARTNER_APP,
    ];
    place
        .run_with(&arguments, &SECRET)
        .await
        .ended(1)
        .says(&format!("port {port} of this machine cannot be used"))
        .says("choose another port with `ARGS=\"--port 8401\"`");
    place.set("PARTNER_CENTER_SECRET", "cosell/nowhere");
    place
        .run_with(&CONSENT, &SECRET)
        .await
        .ended(1)
        .says("secret cosell/nowhere")
        .says("there is no such secret in this account and region")
        .says("deploy first");
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
