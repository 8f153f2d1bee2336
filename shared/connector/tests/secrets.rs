//! Secrets, with the real SDK and Secrets Manager played by fixed answers.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use aws_sdk_secretsmanager::Client;
use connector::secrets::{Rotation, Secrets};
use cosell::fault::{Class, Fault};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use wiremock::matchers::header;
use wiremock::{Mock, MockServer, ResponseTemplate};

const ID: &str = "cosell/partner-center";

fn secrets(server: &MockServer) -> Secrets {
    let endpoint = server.uri();
    let lookup = |name: &str| match name {
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    };
    let config = transport::aws::sdk_config(&lookup, transport::client().unwrap()).unwrap();
    Secrets::new(Client::new(&config))
}

async fn answer(server: &MockServer, operation: &str, status: u16, body: Value) {
    Mock::given(header("x-amz-target", format!("secretsmanager.{operation}").as_str()))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

async fn calls(server: &MockServer) -> Vec<(String, Value)> {
    let requests = server.received_requests().await.unwrap();
    let call = |request: &wiremock::Request| {
        let target = request.headers.get("x-amz-target").unwrap().to_str().unwrap();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        (operation, serde_json::from_slice(&request.body).unwrap())
    };
    requests.iter().map(call).collect()
}

fn in_force(version: &str) -> Value {
    json!({
        "Name": ID, "VersionId": version, "SecretString": "{\"refresh_token\":\"theirs\"}", "CreatedDate": 1_770_000_000.25,
    })
}

fn moved_meanwhile() -> Value {
    json!({ "__type": "InvalidParameterException", "Message": "the label is attached to another version" })
}

fn renewed() -> SecretString {
    "{\"refresh_token\":\"renewed\"}".into()
}

#[tokio::test]
async fn a_secret_is_read_and_never_printed() {
    let server = MockServer::start().await;
    answer(&server, "GetSecretValue", 200, in_force("v1")).await;
    let secret = secrets(&server).read(ID).await.unwrap();
    assert_eq!(secret.value.expose_secret(), "{\"refresh_token\":\"theirs\"}");
    assert_eq!(secret.version, "v1");
    let stored_at = Timestamp::from_millisecond(1_770_000_000_250).unwrap();
    assert_eq!(secret.stored_at, Some(stored_at));
    let day = SignedDuration::from_hours(24);
    assert_eq!(secret.age(stored_at + day), Some(day));
    assert_eq!(secret.age(stored_at - day), Some(SignedDuration::ZERO), "clocks differ");
    assert!(!format!("{secret:?}").contains("theirs"));
    assert!(!format!("{:?}", Rotation::Superseded(secret)).contains("theirs"));
    assert_eq!(
        calls(&server).await,
        [("GetSecretValue".to_owned(), json!({ "SecretId": ID }))]
    );
}

#[tokio::test]
async fn a_renewed_secret_is_put_in_force_in_two_steps() {
    let server = MockServer::start().await;
    answer(&server, "PutSecretValue", 200, json!({ "Name": ID })).await;
    answer(&server, "UpdateSecretVersionStage", 200, json!({ "Name": ID })).await;
    let rotation = secrets(&server).store_rotated(ID, "v1", &renewed()).await.unwrap();
    let Rotation::Stored(version) = rotation else {
        panic!("{rotation:?}");
    };
    assert_eq!(version.len(), 32);
    let put = json!({
        "SecretId": ID, "ClientRequestToken": version, "SecretString": renewed().expose_secret(),
        "VersionStages": ["COSELL_CANDIDATE"],
    });
    let update = json!({
        "SecretId": ID, "VersionStage": "AWSCURRENT", "RemoveFromVersionId": "v1", "MoveToVersionId": version,
    });
    let expected = [
        ("PutSecretValue".to_owned(), put),
        ("UpdateSecretVersionStage".to_owned(), update),
    ];
    assert_eq!(calls(&server).await, expected);

    let again = secrets(&server).store_rotated(ID, "v1", &renewed()).await.unwrap();
    assert!(matches!(again, Rotation::Stored(name) if name == version));
}

#[tokio::test]
async fn a_secret_that_another_renewed_first_is_not_replaced() {
    let server = MockServer::start().await;
    answer(&server, "PutSecretValue", 200, json!({ "Name": ID })).await;
    answer(&server, "UpdateSecretVersionStage", 400, moved_meanwhile()).await;
    answer(&server, "GetSecretValue", 200, in_force("v2")).await;
    match secrets(&server).store_rotated(ID, "v1", &renewed()).await.unwrap() {
        Rotation::Superseded(current) => assert_eq!(current.version, "v2"),
        rotation @ Rotation::Stored(_) => panic!("{rotation:?}"),
    }
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_is_seen_to_have_happened() {
    let version = {
        let server = MockServer::start().await;
        answer(&server, "PutSecretValue", 200, json!({ "Name": ID })).await;
        answer(&server, "UpdateSecretVersionStage", 200, json!({ "Name": ID })).await;
        match secrets(&server).store_rotated(ID, "v1", &renewed()).await.unwrap() {
            Rotation::Stored(version) => version,
            rotation @ Rotation::Superseded(_) => panic!("{rotation:?}"),
        }
    };
    let server = MockServer::start().await;
    answer(&server, "PutSecretValue", 200, json!({ "Name": ID })).await;
    answer(&server, "UpdateSecretVersionStage", 400, moved_meanwhile()).await;
    answer(&server, "GetSecretValue", 200, in_force(&version)).await;
    let rotation = secrets(&server).store_rotated(ID, "v1", &renewed()).await.unwrap();
    assert!(matches!(rotation, Rotation::Stored(name) if name == version));
}

#[tokio::test]
async fn a_refused_move_is_an_error_while_the_old_version_is_in_force() {
    let server = MockServer::start().await;
    answer(&server, "PutSecretValue", 200, json!({ "Name": ID })).await;
    answer(&server, "UpdateSecretVersionStage", 400, moved_meanwhile()).await;
    answer(&server, "GetSecretValue", 200, in_force("v1")).await;
    let error = secrets(&server).store_rotated(ID, "v1", &renewed()).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("renewed\""));
    let fault = Fault::from(error);
    assert_eq!((fault.code, fault.class), ("aws_rejected", Class::Fatal));
}

#[tokio::test]
async fn a_secret_that_is_missing_empty_or_binary_is_fatal_and_named() {
    // The words of the service, which has one code for the first two.
    let missing = json!({
        "__type": "ResourceNotFoundException", "Message": "Secrets Manager can't find the specified secret.",
    });
    let empty = json!({
        "__type": "ResourceNotFoundException",
        "Message": "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
    });
    let binary = json!({ "Name": ID, "VersionId": "v1", "SecretBinary": "AAAA" });
    for (status, body, code) in [
        (400, missing, "aws_refused"),
        (400, empty, "secret_empty"),
        (200, binary, "secret_without_text"),
    ] {
        let server = MockServer::start().await;
        answer(&server, "GetSecretValue", status, body).await;
        let fault = Fault::from(secrets(&server).read(ID).await.unwrap_err());
        assert_eq!((fault.code, fault.class), (code, Class::Fatal));
        assert!(fault.message.contains(ID), "{fault}");
    }
}
