//! The AWS emulator: its process, and what the rehearsal asks of it from outside.
//!
//! Knows: how `ministack` is started and the few calls of AWS's APIs that an onlooker needs. Refuses to know: the
//! deployment. Guarantee: the process ends with the value.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::group::{self, Group};

/// The emulator's own default; any commercial region would do.
pub(crate) const REGION: &str = "us-east-1";

/// The one account that the emulator has.
pub(crate) const ACCOUNT: &str = "000000000000";

/// How long the emulator may take to come up: it is Python and loads dozens of services.
const START: Duration = Duration::from_secs(60);

/// Longer than the longest function.
const CALL: Duration = Duration::from_secs(120);

/// A running emulator.
#[derive(Debug)]
pub(crate) struct Cloud {
    url: String,
    port: u16,
    client: reqwest::Client,
    process: Child,
    /// The emulator and the functions that it runs.
    _group: Group,
}

impl Cloud {
    /// Starts the emulator on a free port and waits until it answers.
    pub(crate) async fn start(program: &Path, logs: &Path) -> Result<Self, String> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("no free port for the emulator: {error}"))?
            .port();
        let url = format!("http://127.0.0.1:{port}");
        let log = |name: &str| {
            File::create(logs.join(name)).map_err(|error| format!("the log {name} cannot be written: {error}"))
        };
        let mut command = Command::new(program);
        command
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_REGION", REGION)
            .env("MINISTACK_HOST", "localhost")
            // What the functions call AWS at.
            .env("AWS_ENDPOINT_URL", &url)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdin(Stdio::null())
            .stdout(log("emulator.log")?)
            .stderr(log("emulator-errors.log")?);
        let (process, group) = group::spawn(&mut command)
            .map_err(|error| format!("the emulator {} does not start: {error}", program.display()))?;
        let client = reqwest::Client::builder()
            .timeout(CALL)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        let mut cloud = Self {
            url,
            port,
            client,
            process,
            _group: group,
        };
        let end = Instant::now() + START;
        let health = format!("{}/_ministack/health", cloud.url);
        loop {
            if let Ok(answer) = cloud.client.get(&health).send().await
                && answer.status().is_success()
            {
                return Ok(cloud);
            }
            if let Ok(Some(status)) = cloud.process.try_wait() {
                return Err(format!(
                    "the emulator ended with {status}; see target/rehearsal/emulator-errors.log"
                ));
            }
            if Instant::now() > end {
                return Err(format!("the emulator did not answer within {} s", START.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The port of that.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A call in JSON with the operation in a header, as DynamoDB, SQS and others have it.
    pub(crate) async fn call(&self, service: &str, target: &str, body: &Value) -> Result<Value, String> {
        let request = self
            .client
            .post(&self.url)
            .header("authorization", signature(service))
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.1")
            .body(body.to_string());
        read(target, request).await
    }

    /// A call whose operation is a path, as Lambda's and API Gateway's are.
    pub(crate) async fn get(&self, service: &str, path: &str) -> Result<Value, String> {
        let request = self
            .client
            .get(format!("{}{path}", self.url))
            .header("authorization", signature(service));
        read(path, request).await
    }

    /// A call in a form, answered in XML, as IAM, SNS and CloudWatch have it.
    pub(crate) async fn query(&self, service: &str, action: &str, version: &str) -> Result<String, String> {
        let answer = self
            .client
            .post(&self.url)
            .header("authorization", signature(service))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("Action={action}&Version={version}"))
            .send()
            .await
            .map_err(|error| format!("{action}: {error}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("{action}: {error}"))?;
        if status.is_success() {
            Ok(text)
        } else {
            Err(format!("{action}: {status} {text}"))
        }
    }

    /// Invokes a function as an operator would; the error is what the function reported.
    pub(crate) async fn invoke(&self, function: &str, payload: &Value) -> Result<Value, String> {
        let answer = self
            .client
            .post(format!("{}/2015-03-31/functions/{function}/invocations", self.url))
            .header("authorization", signature("lambda"))
            .body(payload.to_string())
            .send()
            .await
            .map_err(|error| format!("{function}: {error}"))?;
        let failed = answer.headers().contains_key("x-amz-function-error");
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("{function}: {error}"))?;
        if failed || !status.is_success() {
            return Err(text);
        }
        serde_json::from_str(&text).map_err(|error| format!("{function} answered {text:?}: {error}"))
    }

    /// Messages in a queue, visible or not.
    pub(crate) async fn depth(&self, queue_url: &str) -> Result<u64, String> {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let answer = self
            .call(
                "sqs",
                "AmazonSQS.GetQueueAttributes",
                &json!({ "QueueUrl": queue_url, "AttributeNames": names }),
            )
            .await?;
        let count = |name: &str| {
            let text = answer.pointer(&format!("/Attributes/{name}")).and_then(Value::as_str);
            text.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default()
        };
        Ok(names.into_iter().map(count).sum())
    }
}

/// The emulator believes any signature; it reads only which service is meant.
fn signature(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

async fn read(what: &str, request: reqwest::RequestBuilder) -> Result<Value, String> {
    let answer = request.send().await.map_err(|error| format!("{what}: {error}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| format!("{what}: {error}"))?;
    if !status.is_success() {
        return Err(format!("{what}: {status} {text}"));
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).map_err(|error| format!("{what} answered {text:?}: {error}"))
}
