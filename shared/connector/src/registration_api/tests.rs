//! The client, seen from a mock of the registration API.

use serde_json::json;

use super::*;
use crate::testing::{Stage, header, text};

fn client(stage: &Stage) -> RegistrationApi {
    RegistrationApi::new(stage.http(Vendor::PartnerCenterWebhooks))
}

fn registration() -> Registration {
    Registration {
        webhook_url: "https://cosell.example/webhook".to_owned(),
        webhook_events: vec!["referral-created".to_owned(), "test-created".to_owned()],
        signature_in_own_header: true,
    }
}

#[tokio::test]
async fn a_registration_is_read_in_either_spelling() {
    let stage = Stage::set().await;
    stage
        .once(
            "GET",
            text(
                200,
                r#"{"subscriberId":"x","webhookUrl":"https://cosell.example/webhook","webhookEvents":["referral-created","test-created"],"signatureTokenToMsSignatureHeader":true,"properties":{}}"#,
            ),
        )
        .await;
    stage
        .once(
            "GET",
            text(
                200,
                r#"{"WebhookUrl":"https://cosell.example/webhook","WebhookEvents":["referral-created","test-created"],"SignatureTokenToMsSignatureHeader":"True"}"#,
            ),
        )
        .await;
    let client = client(&stage);
    for _ in 0..2 {
        assert_eq!(client.read().await.unwrap(), Some(registration()));
    }
}

#[tokio::test]
async fn no_registration_has_many_forms() {
    let stage = Stage::set().await;
    let client = client(&stage);
    for answer in [
        text(
            404,
            r#"{"code":1000,"description":"not found","data":[],"source":"PartnerFD"}"#,
        ),
        text(400, ""),
        text(200, ""),
        text(200, "null"),
        text(200, r#"{"webhookUrl":null,"webhookEvents":null}"#),
    ] {
        stage.once("GET", answer).await;
        assert_eq!(client.read().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_missing_role_is_named() {
    let stage = Stage::set().await;
    stage
        .once("GET", text(403, r#"{"code":2032,"description":"Access denied"}"#))
        .await;
    let fault = Fault::from(client(&stage).read().await.unwrap_err());
    assert_eq!((fault.class, fault.code), (Class::Fatal, "role_missing"));
    assert!(
        fault.message.contains("Admin agent") && fault.message.contains("2032"),
        "{}",
        fault.message
    );
}

#[tokio::test]
async fn a_registration_is_written_or_refused_the_other_way() {
    let stage = Stage::set().await;
    let client = client(&stage);
    stage.once("POST", text(200, "{}")).await;
    assert!(matches!(client.create(&registration()).await.unwrap(), Written::Done));
    for status in [400, 409] {
        stage.once("POST", text(status, "")).await;
        assert!(
            matches!(client.create(&registration()).await.unwrap(), Written::OtherWay(_)),
            "{status}"
        );
    }
    stage.once("PUT", text(404, "")).await;
    assert!(matches!(
        client.replace(&registration()).await.unwrap(),
        Written::OtherWay(_)
    ));

    let call = &stage.calls().await[0];
    let expected = json!({
        "WebhookUrl": "https://cosell.example/webhook",
        "WebhookEvents": ["referral-created", "test-created"],
        "SignatureTokenToMsSignatureHeader": true,
    });
    assert_eq!(call.body_json::<Value>().unwrap(), expected);
    assert!(header(call, "ms-requestid").is_some() && header(call, "ms-correlationid").is_some());
}

#[tokio::test]
async fn a_test_event_is_asked_for_without_a_body() {
    let stage = Stage::set().await;
    let client = client(&stage);
    stage
        .once(
            "POST",
            text(200, r#"{"correlationId":"4c7a2f1d-8e90-4b35-a6d1-0f9e8d7c6b5a"}"#),
        )
        .await;
    let id = client.validate().await.unwrap();
    let call = &stage.calls().await[0];
    assert_eq!(call.url.path(), "/webhooks/v1/registration/validationEvents");
    assert_eq!(header(call, "content-length"), Some("0"));
    stage.once("GET", text(404, "")).await;
    assert_eq!(client.validation_result(id).await.unwrap(), None);
    let cases = [
        (
            r#"{"status":"completed","results":[{"responseCode":"OK","systemError":false}]}"#,
            true,
            true,
        ),
        (
            r#"{"Status":"Completed","Results":[{"ResponseCode":"ServiceUnavailable"},{"ResponseCode":200}]}"#,
            true,
            true,
        ),
        (
            r#"{"status":"completed","results":[{"responseCode":"Unauthorized"}]}"#,
            true,
            false,
        ),
        (r#"{"status":"failed","results":null}"#, true, false),
        (r#"{"status":"pending","results":[]}"#, false, false),
    ];
    for (body, is_over, is_delivered) in cases {
        stage.once("GET", text(200, body)).await;
        let delivery = client.validation_result(id).await.unwrap().unwrap();
        assert_eq!(
            (delivery.is_over(), delivery.is_delivered()),
            (is_over, is_delivered),
            "{body}"
        );
    }
    // What is passed on to a person has an end.
    let long = "x".repeat(5_000);
    let body = json!({ "status": long, "callbackUrl": long, "results": [{ "responseMessage": long }] });
    stage.once("GET", text(200, &body.to_string())).await;
    let delivery = client.validation_result(id).await.unwrap().unwrap();
    let said = [
        &delivery.status,
        delivery.url.as_ref().unwrap(),
        &delivery.attempts[0].response_message,
    ];
    assert!(said.iter().all(|said| said.len() == MOST_TOLD), "{delivery:?}");
}
