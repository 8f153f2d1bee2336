//! How tokens are asked for, renewed and stored, seen from Entra and Secrets Manager.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wiremock::matchers::{method, path_regex};
use wiremock::{Mock, Request, ResponseTemplate};

use super::*;
use crate::http::{Deadline, chain};
use crate::testing::{Stage, Vault, text};

fn run() -> Run {
    Run::new(Deadline::after(Duration::from_secs(30)))
}

async fn entra(stage: &Stage, answer: ResponseTemplate) {
    Mock::given(method("POST"))
        .and(path_regex("/oauth2/"))
        .respond_with(answer)
        .up_to_n_times(1)
        .mount(&stage.server)
        .await;
}

fn denied(status: u16, error: &str, number: u32) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "error": error,
        "error_description": format!("AADSTS{number}: user mara.voss@aldermoor.example. Trace ID: x"),
        "error_codes": [number],
    }))
}

async fn forms(stage: &Stage) -> Vec<HashMap<String, String>> {
    let requests = stage.token_requests().await;
    let read = |body: &[u8]| url::form_urlencoded::parse(body).into_owned().collect();
    requests.iter().map(|request| read(&request.body)).collect()
}

fn stored(stage: &Stage) -> Value {
    serde_json::from_str(&stage.vault.lock().unwrap().current.1).unwrap()
}

/// What an operator or another worker does while we are at it.
fn replace(vault: &Mutex<Vault>, refresh_token: &str) {
    let secret = json!({ "client_id": "app", "client_secret": "s&cret", "refresh_token": refresh_token });
    vault.lock().unwrap().current = ("v2".to_owned(), secret.to_string());
}

#[tokio::test]
async fn a_delegated_token_is_asked_for_with_version_one() {
    let stage = Stage::bare().await;
    let answer = r#"{"access_token":"a","expires_in":"3599","refresh_token":"rotated","token_type":"Bearer"}"#;
    entra(&stage, text(200, answer)).await;
    let bearer = stage.delegated().bearer(&run()).await.unwrap();
    assert_eq!(bearer.secret().expose_secret(), "a");
    assert!(bearer.renew_at < Instant::now() + Duration::from_secs(3_300));
    assert!(bearer.renew_at > Instant::now() + Duration::from_secs(3_290));

    let request = &stage.token_requests().await[0];
    assert_eq!(request.url.path(), "/00000000-0000-0000-0000-000000000007/oauth2/token");
    let expected = [
        ("client_id", "app"),
        ("client_secret", "s&cret"),
        ("grant_type", "refresh_token"),
        ("refresh_token", "old"),
        ("resource", "https://api.partner.microsoft.com"),
    ];
    assert_eq!(
        forms(&stage).await[0],
        expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
    // Rotated, with what else was in the secret.
    let expected = json!({ "client_id": "app", "client_secret": "s&cret", "refresh_token": "rotated", "note": "kept" });
    assert_eq!(stored(&stage), expected);
}

#[tokio::test]
async fn an_application_token_is_asked_for_with_version_two() {
    let stage = Stage::bare().await;
    entra(
        &stage,
        text(
            200,
            r#"{"access_token":"a","expires_in":3599,"refresh_token":"not ours"}"#,
        ),
    )
    .await;
    stage.application().bearer(&run()).await.unwrap();
    let request = &stage.token_requests().await[0];
    assert_eq!(
        request.url.path(),
        "/00000000-0000-0000-0000-000000000007/oauth2/v2.0/token"
    );
    let form = &forms(&stage).await[0];
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["scope"], "https://org.crm4.dynamics.com/.default");
    assert!(!form.contains_key("refresh_token"));
    assert_eq!(stored(&stage)["refresh_token"], "old");
}

#[tokio::test]
async fn without_rotation_nothing_is_stored() {
    let stage = Stage::bare().await;
    entra(&stage, text(200, r#"{"access_token":"a","expires_in":3599}"#)).await;
    stage.delegated().bearer(&run()).await.unwrap();
    assert_eq!(stage.vault.lock().unwrap().current.0, "v1");
}

#[tokio::test]
async fn a_token_of_the_last_day_is_not_replaced() {
    for (hours, is_replaced) in [(23, false), (25, true)] {
        let stage = Stage::bare().await;
        let answer = r#"{"access_token":"a","expires_in":3599,"refresh_token":"rotated"}"#;
        entra(&stage, text(200, answer)).await;
        stage.vault.lock().unwrap().stored_at = now().as_second() - hours * 60 * 60;
        stage.delegated().bearer(&run()).await.unwrap();
        assert_eq!(
            stored(&stage)["refresh_token"] == "rotated",
            is_replaced,
            "{hours} hours"
        );
    }
}

#[tokio::test]
async fn a_rotated_token_does_not_replace_a_newer_one() {
    let stage = Stage::bare().await;
    entra(
        &stage,
        text(
            200,
            r#"{"access_token":"a","expires_in":3599,"refresh_token":"rotated"}"#,
        ),
    )
    .await;
    stage.vault.lock().unwrap().is_superseded = true;
    replace(&stage.vault, "newer");
    stage.delegated().bearer(&run()).await.unwrap();
    assert_eq!(stored(&stage)["refresh_token"], "newer");
}

#[tokio::test]
async fn a_short_lifetime_is_used_for_half_of_it() {
    let stage = Stage::bare().await;
    entra(&stage, text(200, r#"{"access_token":"a","expires_in":10}"#)).await;
    let bearer = stage.delegated().bearer(&run()).await.unwrap();
    let lifetime = bearer.renew_at.duration_since(Instant::now());
    assert!((4..=5).contains(&lifetime.as_secs()), "{lifetime:?}");
}

#[tokio::test]
async fn a_lapsed_token_is_renewed() {
    let stage = Stage::bare().await;
    entra(&stage, text(200, r#"{"access_token":"a","expires_in":0}"#)).await;
    entra(&stage, text(200, r#"{"access_token":"b","expires_in":3599}"#)).await;
    let tokens = stage.delegated();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let bearer = tokens.bearer(&run()).await.unwrap();
        seen.push(bearer.secret().expose_secret().to_owned());
    }
    assert_eq!(seen, ["a", "b", "b"]);
}

#[tokio::test]
async fn a_refused_grant_is_final_when_nobody_stored_another() {
    let stage = Stage::bare().await;
    entra(&stage, denied(400, "invalid_grant", 700_082)).await;
    let error = stage.delegated().bearer(&run()).await.unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Fatal, "consent_needed"));
    let said = chain(&error);
    assert!(
        said.contains("AADSTS700082") && said.contains("`make consent ENV=...`"),
        "{said}"
    );
    assert!(!said.contains("mara.voss"), "{said}");
    assert_eq!(stage.token_requests().await.len(), 1);
    assert_eq!(stage.vault.lock().unwrap().reads, 2);
}

#[tokio::test]
async fn a_refused_grant_is_tried_again_with_a_newer_one() {
    let stage = Stage::bare().await;
    let vault = Arc::clone(&stage.vault);
    Mock::given(method("POST"))
        .and(path_regex("/oauth2/"))
        .respond_with(move |_: &Request| {
            replace(&vault, "newer");
            denied(400, "invalid_grant", 50_173)
        })
        .up_to_n_times(1)
        .mount(&stage.server)
        .await;
    entra(&stage, text(200, r#"{"access_token":"a","expires_in":3599}"#)).await;
    stage.delegated().bearer(&run()).await.unwrap();
    let tried: Vec<_> = forms(&stage)
        .await
        .iter()
        .map(|form| form["refresh_token"].clone())
        .collect();
    assert_eq!(tried, ["old", "newer"]);
}

#[tokio::test]
async fn each_refusal_has_its_class_and_cure() {
    let cases = [
        (
            denied(401, "invalid_client", 7_000_222),
            "client_secret_refused",
            Class::Fatal,
        ),
        (
            denied(400, "interaction_required", 50_076),
            "consent_needed",
            Class::Fatal,
        ),
        (denied(400, "invalid_resource", 500_011), "entra_refused", Class::Fatal),
        (text(404, "<html>"), "entra_refused", Class::Fatal),
        (
            text(429, "").insert_header("retry-after", "40"),
            "entra_unavailable",
            Class::Transient {
                after: Some(SignedDuration::from_secs(40)),
            },
        ),
        (
            text(503, "").insert_header("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT"),
            "entra_unavailable",
            Class::Transient {
                after: Some(SignedDuration::from_secs(86_400)),
            },
        ),
        (
            text(200, "<html>"),
            "entra_unreadable",
            Class::Transient { after: None },
        ),
    ];
    for (answer, code, class) in cases {
        let stage = Stage::bare().await;
        entra(&stage, answer).await;
        let error = stage.delegated().bearer(&run()).await.unwrap_err();
        assert_eq!((error.code(), error.class()), (code, class));
    }
}

#[tokio::test]
async fn an_outage_of_a_moment_is_bridged() {
    let stage = Stage::bare().await;
    entra(&stage, text(503, "")).await;
    entra(&stage, text(200, r#"{"access_token":"a","expires_in":3599}"#)).await;
    stage.delegated().bearer(&run()).await.unwrap();
}

#[tokio::test]
async fn an_incomplete_secret_is_named() {
    for secret in [
        "",
        "[]",
        r#"{"client_id":"a"}"#,
        r#"{"client_id":"a","client_secret":"b","refresh_token":""}"#,
    ] {
        let stage = Stage::bare().await;
        stage.vault.lock().unwrap().current.1 = secret.to_owned();
        let error = stage.delegated().bearer(&run()).await.unwrap_err();
        assert!(matches!(error.class(), Class::Fatal), "{secret}");
        assert!(error.to_string().contains("partner"), "{error}");
    }
    let stage = Stage::bare().await;
    stage.vault.lock().unwrap().current.1 = r#"{"client_id":"a","client_secret":"b"}"#.to_owned();
    assert_eq!(
        stage.delegated().bearer(&run()).await.unwrap_err().code(),
        "secret_incomplete"
    );
}

#[tokio::test]
async fn a_secret_without_a_value_is_fatal_and_names_the_command_that_fills_it() {
    let stage = Stage::bare().await;
    stage.vault.lock().unwrap().current.1.clear();
    for (tokens, id, cure) in [
        (stage.delegated(), "partner", "make consent ENV=..."),
        (stage.application(), "crm", "make credentials ENV=..."),
    ] {
        let error = tokens.bearer(&run()).await.unwrap_err();
        assert_eq!((error.code(), error.class()), ("secret_empty", Class::Fatal));
        let words = chain(&error);
        assert!(
            words.contains(&format!("the secret {id} ")) && words.contains(&format!("`{cure}`")),
            "{words}"
        );
    }
    assert!(
        stage.token_requests().await.is_empty(),
        "nobody is asked without a credential"
    );
}
