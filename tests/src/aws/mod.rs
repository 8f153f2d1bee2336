//! The local AWS account: one endpoint that the real SDK can talk to, for SQS, Secrets Manager and DynamoDB.
//!
//! Knows: how a signed AWS JSON request names its service and operation, and how each service words an answer or an
//! error. Refuses to know: what callers keep in queues, secrets and tables. Guarantee: a request without a complete
//! Signature Version 4 header for the right service is refused before the service sees it. Signatures themselves are
//! not recomputed, since any credentials are good here.

mod dynamodb;
mod fifo;
mod secrets;
mod sqs;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

pub use self::fifo::{MessageAttribute, QueuedMessage};
pub use self::secrets::SecretVersion;
pub(crate) use self::sqs::{Queues, queue_arn, system_attributes};
use self::{dynamodb::Tables, secrets::Secrets};
use crate::clock::Clock;
use crate::switchboard::Switchboard;

/// Region every resource of the local account lives in.
pub const REGION: &str = "us-east-1";
/// Number of the local account.
pub const ACCOUNT: &str = "123456789012";

/// Address of a queue, as SQS gives it to callers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueUrl(pub(crate) String);

impl QueueUrl {
    /// The URL as text, for a setting.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Last segment of the URL; SQS finds queues by it.
    pub(crate) fn queue_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a service refused: what the SDK needs to find the modelled error.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    /// Shape name, the part of `__type` after the namespace.
    code: &'static str,
    /// The code of the older query protocol, which SQS still sends beside the shape name.
    query_code: Option<&'static str>,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            query_code: None,
            message: message.into(),
        }
    }
}

/// What answers behind the endpoint.
struct Services {
    queues: Queues,
    secrets: Secrets,
    tables: Tables,
}

/// The local AWS account and its endpoint. Cheap to clone.
#[derive(Clone)]
pub struct Aws {
    services: Arc<Services>,
    address: SocketAddr,
}

impl Aws {
    /// Starts the endpoint on `address` (port 0 picks a free one).
    ///
    /// # Errors
    /// When the address cannot be bound or the embedded database cannot be opened.
    pub async fn start(board: &Switchboard, clock: &Clock, address: SocketAddr) -> std::io::Result<Self> {
        let services = Arc::new(Services {
            queues: Queues::new(clock.clone()),
            secrets: Secrets::new(clock.clone()),
            tables: Tables::open(clock.clone())?,
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&services));
        let address = board.serve("aws", address, router).await?;
        Ok(Self { services, address })
    }

    /// What `AWS_ENDPOINT_URL` has to name.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a FIFO queue and its dead-letter queue `{name}-dead.fifo`; `name` without the `.fifo` suffix.
    ///
    /// The visibility timeout may be finer than the whole seconds SQS accepts, so that tests need not wait.
    #[must_use]
    pub fn create_fifo_queue(&self, name: &str, visibility: Duration, max_receives: u32) -> QueueUrl {
        self.services
            .queues
            .create_with_dead_letters(&self.address.to_string(), name, visibility, max_receives)
    }

    /// Puts a message on a queue without going through the endpoint; answers its id, or `None` for an unknown queue.
    pub fn send(&self, url: &QueueUrl, group: &str, deduplication: &str, body: &str) -> Option<String> {
        self.services.queues.put(url, group, deduplication, body)
    }

    /// Everything on the queue in order, in flight or not; empty for an unknown queue.
    #[must_use]
    pub fn queue_messages(&self, url: &QueueUrl) -> Vec<QueuedMessage> {
        self.services.queues.messages(url)
    }

    /// Everything on the dead-letter queue that belongs to this queue.
    #[must_use]
    pub fn dead_letters(&self, url: &QueueUrl) -> Vec<QueuedMessage> {
        self.services.queues.dead_letters(url)
    }

    /// Number of messages on the queue, in flight or not.
    #[must_use]
    pub fn depth(&self, url: &QueueUrl) -> usize {
        self.services.queues.messages(url).len()
    }

    /// While true, every SQS request over the endpoint is answered 503. The event source mapping still polls.
    pub fn refuse_queue(&self, refuse: bool) {
        self.services.queues.refuse(refuse);
    }

    /// Makes a secret, or gives an existing one a new current version; answers its ARN.
    pub fn create_secret(&self, name: &str, content: &Value) -> String {
        self.services.secrets.store(name, &content.to_string())
    }

    /// Makes a secret that has no version, as Terraform leaves one that a person is to fill; answers its ARN.
    pub fn create_empty_secret(&self, name: &str) -> String {
        self.services.secrets.store_nothing(name)
    }

    /// The current string of a secret.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<String> {
        self.services.secrets.current(name)
    }

    /// All versions of a secret, oldest first; empty for an unknown one.
    #[must_use]
    pub fn secret_versions(&self, name: &str) -> Vec<SecretVersion> {
        self.services.secrets.versions(name)
    }

    /// Runs one DynamoDB operation (`PutItem`, `Query`, ...) without going through the endpoint.
    ///
    /// # Errors
    /// The error body DynamoDB would answer.
    pub fn dynamodb(&self, operation: &str, input: &Value) -> Result<Value, Value> {
        let as_json = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        match self.services.tables.run(operation, &input.to_string()) {
            Ok(output) => Ok(as_json(output)),
            Err(refusal) => Err(as_json(refusal.body)),
        }
    }

    /// Makes a table from the input of `CreateTable`.
    ///
    /// # Errors
    /// The error body DynamoDB would answer.
    pub fn create_table(&self, definition: &Value) -> Result<Value, Value> {
        self.dynamodb("CreateTable", definition)
    }

    pub(crate) fn queues(&self) -> &Queues {
        &self.services.queues
    }
}

async fn answer(State(services): State<Arc<Services>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (service, operation) = target.split_once('.').unwrap_or((target, ""));
    match service {
        "AmazonSQS" => {
            let host = headers
                .get(http::header::HOST)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("localhost");
            let outcome = match require_signature(&headers, "sqs") {
                Ok(()) => services.queues.call(operation, &body, host).await,
                Err(refusal) => Err(refusal),
            };
            render_sqs(outcome)
        }
        "secretsmanager" => {
            let outcome =
                require_signature(&headers, "secretsmanager").and_then(|()| services.secrets.call(operation, &body));
            render_secrets(outcome)
        }
        "DynamoDB_20120810" => {
            if let Err(refusal) = require_signature(&headers, "dynamodb") {
                let body = json!({ "__type": format!("com.amazon.coral.service#{}", refusal.code), "message": refusal.message });
                return respond(refusal.status, "application/x-amz-json-1.0", None, body.to_string());
            }
            match services.tables.run(operation, &String::from_utf8_lossy(&body)) {
                Ok(output) => respond(StatusCode::OK, "application/x-amz-json-1.0", None, output),
                Err(refusal) => respond(refusal.status, "application/x-amz-json-1.0", None, refusal.body),
            }
        }
        _ => {
            let body = json!({ "__type": "com.amazon.coral.service#UnknownOperationException" });
            respond(
                StatusCode::BAD_REQUEST,
                "application/x-amz-json-1.0",
                None,
                body.to_string(),
            )
        }
    }
}

/// Checks that the request is signed, and for the service it is sent to.
fn require_signature(headers: &HeaderMap, service: &str) -> Result<(), Refusal> {
    let Some(authorization) = headers
        .get(http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
    else {
        let refusal = Refusal::new("MissingAuthenticationTokenException", "Missing Authentication Token");
        // Alone among the three, SQS answers 403 here.
        let status = if service == "sqs" {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::BAD_REQUEST
        };
        return Err(Refusal {
            status,
            query_code: Some("MissingAuthenticationToken"),
            ..refusal
        });
    };
    let incomplete = |what: &str| {
        let refusal = Refusal::new(
            "IncompleteSignatureException",
            format!("Authorization header requires {what}."),
        );
        Refusal {
            query_code: Some("IncompleteSignature"),
            ..refusal
        }
    };
    let parts = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or_else(|| incomplete("'AWS4-HMAC-SHA256'"))?;
    let find = |name: &str| {
        parts
            .split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let credential = find("Credential").ok_or_else(|| incomplete("'Credential' parameter"))?;
    find("SignedHeaders").ok_or_else(|| incomplete("'SignedHeaders' parameter"))?;
    find("Signature").ok_or_else(|| incomplete("'Signature' parameter"))?;
    if !headers.contains_key("x-amz-date") && !headers.contains_key(http::header::DATE) {
        return Err(incomplete("existence of either a 'X-Amz-Date' or a 'Date' header"));
    }
    // access key / date / region / service / aws4_request
    if credential.split('/').nth(3) != Some(service) {
        let message = format!("Credential should be scoped to correct service: '{service}'.");
        let refusal = Refusal::new("InvalidSignatureException", message);
        return Err(Refusal {
            status: StatusCode::FORBIDDEN,
            query_code: Some("SignatureDoesNotMatch"),
            ..refusal
        });
    }
    Ok(())
}

fn render_sqs(outcome: Result<Value, Refusal>) -> Response {
    let content_type = "application/x-amz-json-1.0";
    match outcome {
        Ok(output) => respond(StatusCode::OK, content_type, None, output.to_string()),
        Err(refusal) => {
            let body = json!({ "__type": format!("com.amazonaws.sqs#{}", refusal.code), "message": refusal.message });
            let side = if refusal.status.is_server_error() {
                "Receiver"
            } else {
                "Sender"
            };
            let query_error = format!("{};{side}", refusal.query_code.unwrap_or(refusal.code));
            respond(refusal.status, content_type, Some(query_error), body.to_string())
        }
    }
}

fn render_secrets(outcome: Result<Value, Refusal>) -> Response {
    let content_type = "application/x-amz-json-1.1";
    match outcome {
        Ok(output) => respond(StatusCode::OK, content_type, None, output.to_string()),
        Err(refusal) => {
            let body = json!({ "__type": refusal.code, "Message": refusal.message });
            respond(refusal.status, content_type, None, body.to_string())
        }
    }
}

fn respond(status: StatusCode, content_type: &'static str, query_error: Option<String>, body: String) -> Response {
    let mut response = Response::builder()
        .status(status)
        .header(http::header::CONTENT_TYPE, content_type)
        .header("x-amzn-requestid", Uuid::new_v4().to_string());
    if let Some(query_error) = query_error {
        response = response.header("x-amzn-query-error", query_error);
    }
    response
        .body(Body::from(body))
        .unwrap_or_else(|_| Response::new(Body::empty()))
}
