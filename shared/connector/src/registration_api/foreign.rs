//! Registrations and outcomes of test events in any form.

use std::sync::{Arc, Mutex};

use fuzz::proptest::prelude::prop_assert;
use fuzz::proptest::test_runner::TestCaseResult;
use tokio::runtime::Runtime;
use wiremock::matchers::{method, path_regex};
use wiremock::{Mock, ResponseTemplate};

use super::*;
use crate::testing::{Stage, limits, text};

const REGISTRATIONS: [&str; 3] = [
    r#"{"subscriberId":"x","webhookUrl":"https://cosell.example/webhook","webhookEvents":["referral-created","test-created"],"signatureTokenToMsSignatureHeader":true,"properties":{}}"#,
    r#"{"WebhookUrl":"https://cosell.example/webhook","WebhookEvents":["referral-created"],"SignatureTokenToMsSignatureHeader":"True"}"#,
    r#"{"webhookUrl":null,"webhookEvents":null}"#,
];

const OUTCOMES: [&str; 3] = [
    r#"{"correlationId":"b2d26ff8-c9a0-4bb7-8b9a-0d4b1a6c9a55","partnerId":"7c1f5a52-9d6e-4b0c-a2ad-6f3b6f0d8e11","status":"completed","callbackUrl":"https://cosell.example/webhook","results":[{"responseCode":"OK","responseMessage":"","systemError":false,"dateTimeUtc":"2026-02-03T08:41:20Z"}]}"#,
    r#"{"Status":"failed","CallbackUrl":"https://cosell.example/webhook","Results":[{"ResponseCode":401,"ResponseMessage":"unauthorised"},{"ResponseCode":"ServiceUnavailable","ResponseMessage":null}]}"#,
    r#"{"status":"in progress","results":null}"#,
];

/// The longest message of an error, in characters.
const MOST_SAID: usize = 600;

/// Runs on its own runtime, because the runner is not asynchronous.
#[test]
fn what_the_registration_says_is_read_or_refused_in_bounds() {
    let runtime = Runtime::new().unwrap();
    let (stage, answer) = runtime.block_on(async {
        let stage = Stage::forgetful().await;
        let answer = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&answer);
        Mock::given(method("GET"))
            .and(path_regex("^/webhooks/v1/"))
            .respond_with(move |_: &wiremock::Request| -> ResponseTemplate { text(200, &shared.lock().unwrap()) })
            .mount(&stage.server)
            .await;
        (stage, answer)
    });
    let mut limits = limits();
    limits.answer = 1024 * 1024;
    let client = RegistrationApi::new(stage.http_at(Vendor::PartnerCenterWebhooks, stage.endpoint(), limits));
    let corpus = REGISTRATIONS.iter().chain(&OUTCOMES);
    fuzz::check("registrations", file!(), 300, fuzz::json(corpus), |document| {
        answer.lock().unwrap().clone_from(&document);
        let (registration, outcome) =
            runtime.block_on(async { (client.read().await, client.validation_result(Uuid::nil()).await) });
        match registration {
            Ok(Some(found)) => prop_assert!(!found.webhook_url.trim().is_empty(), "{found:?}"),
            Ok(None) => {}
            Err(error) => in_bounds(&http::chain(&error), MOST_SAID)?,
        }
        match outcome {
            Ok(delivery) => {
                let Some(delivery) = delivery else { return Ok(()) };
                in_bounds(&delivery.status, MOST_TOLD)?;
                in_bounds(delivery.url.as_deref().unwrap_or_default(), MOST_TOLD)?;
                for attempt in &delivery.attempts {
                    in_bounds(&attempt.response_code, MOST_TOLD)?;
                    in_bounds(&attempt.response_message, MOST_TOLD)?;
                }
                prop_assert!(delivery.is_over() || !delivery.is_delivered(), "{delivery:?}");
            }
            Err(error) => in_bounds(&http::chain(&error), MOST_SAID)?,
        }
        Ok(())
    });
}

fn in_bounds(said: &str, most: usize) -> TestCaseResult {
    prop_assert!(said.chars().count() <= most, "{said}");
    Ok(())
}
