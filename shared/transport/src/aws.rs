//! Set-up of the AWS SDK without its own HTTP client and without its chain of credential and region sources.
//!
//! Knows what a Lambda sandbox puts into the environment and how the SDK wants to be answered. Refuses to know any
//! service. Guarantees: one TLS stack is linked, no metadata service is ever asked, and every missing variable is
//! named in one error.

use std::fmt;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
pub use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::Error;

/// One try and two repeats; the SDK repeats only what its own rules call harmless.
const ATTEMPTS: u32 = 3;

/// The services we use answer in milliseconds; a slower attempt is better repeated on another connection.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// All attempts and waits of one call together. Stays below the five seconds that `sync` keeps back from an invocation
/// to write down what was done: one such write, begun when everything else has to end, still ends before Lambda cuts it.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(4_500);

/// A setting that is missing or cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The environment variable at fault.
    pub variable: &'static str,
    /// What is wrong with it; never its value.
    pub complaint: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.variable, self.complaint)
    }
}

pub(crate) fn join(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
    texts.join("; ")
}

/// Reads region, credentials and endpoint from the lookup and lends the SDK our HTTP client.
///
/// Credentials are static: a Lambda sandbox gets one set and is replaced before it lapses.
///
/// | Variable | Meaning |
/// |---|---|
/// | `AWS_REGION` | required |
/// | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` | required |
/// | `AWS_SESSION_TOKEN` | optional; always present in Lambda |
/// | `AWS_ENDPOINT_URL` | optional; https, or loopback for tests |
///
/// # Errors
///
/// [`Error::Settings`] with every problem found.
pub fn sdk_config(lookup: &dyn Fn(&str) -> Option<String>, client: reqwest::Client) -> Result<SdkConfig, Error> {
    let mut problems = Vec::new();
    let mut required = |variable: &'static str| {
        let value = lookup(variable).filter(|value| !value.is_empty());
        if value.is_none() {
            let complaint = "is not set";
            problems.push(Problem { variable, complaint });
        }
        value.unwrap_or_default()
    };
    let region = required("AWS_REGION");
    let key_id = required("AWS_ACCESS_KEY_ID");
    let secret = required("AWS_SECRET_ACCESS_KEY");
    let session = lookup("AWS_SESSION_TOKEN").filter(|value| !value.is_empty());
    let endpoint = lookup("AWS_ENDPOINT_URL").filter(|value| !value.is_empty());
    let usable = |text: &String| reqwest::Url::parse(text).is_ok_and(|url| crate::is_private(&url));
    if !endpoint.as_ref().is_none_or(usable) {
        problems.push(Problem {
            variable: "AWS_ENDPOINT_URL",
            complaint: "must be an https URL, or a loopback one",
        });
    }
    if !problems.is_empty() {
        return Err(Error::Settings(problems));
    }

    let credentials = Credentials::new(key_id, secret, session, None, "environment");
    let source = Source {
        credentials: SharedCredentialsProvider::new(credentials),
        region: Region::new(region),
        endpoint,
    };
    Ok(sdk_config_from(source, client, Patience::default()))
}

/// Where the SDK gets what it needs to know about its caller.
#[derive(Clone, Debug)]
pub struct Source {
    /// Asked before each call; it may renew what it gives.
    pub credentials: SharedCredentialsProvider,
    /// Where the services are.
    pub region: Region,
    /// Where they really are, in tests.
    pub endpoint: Option<String>,
}

/// How long the SDK waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one attempt.
    pub attempt: Duration,
    /// For all attempts of one call, with the waits between them.
    pub operation: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempt: ATTEMPT_TIMEOUT,
            operation: OPERATION_TIMEOUT,
        }
    }
}

/// Lends the SDK our HTTP client and our limits.
#[must_use]
pub fn sdk_config_from(source: Source, client: reqwest::Client, patience: Patience) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .read_timeout(patience.attempt)
        .operation_attempt_timeout(patience.attempt)
        .operation_timeout(patience.operation)
        .build();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(source.region)
        .credentials_provider(source.credentials)
        .http_client(http_client(client))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts)
        // It would wrap request bodies in a stream; ours are small, in memory and bounded by the limits above.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .sleep_impl(TokioSleep::new())
        .time_source(SystemTimeSource::new());
    config.set_endpoint_url(source.endpoint);
    config.build()
}

/// Our client, for whatever else of the SDK makes calls: a person's chain of credentials does.
#[must_use]
pub fn http_client(client: reqwest::Client) -> SharedHttpClient {
    SharedHttpClient::new(Adapter { client })
}

/// Our client in the shape the SDK asks for. Pooling and the connect limit are the client's own.
#[derive(Clone, Debug)]
struct Adapter {
    client: reqwest::Client,
}

impl HttpClient for Adapter {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            client: self.client.clone(),
            timeout: settings.read_timeout(),
        })
    }
}

#[derive(Clone, Debug)]
struct Connector {
    client: reqwest::Client,
    timeout: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clone();
        HttpConnectorFuture::new(async move { connector.send(request).await })
    }
}

impl Connector {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request
            .try_into_http1x()
            .map_err(|error| ConnectorError::user(error.into()))?;
        let (parts, body) = request.into_parts();
        let body = body
            .bytes()
            .map(<[u8]>::to_vec)
            .ok_or_else(|| ConnectorError::user("the request body is not in memory".into()))?;
        let url = reqwest::Url::parse(&parts.uri.to_string()).map_err(|error| ConnectorError::user(error.into()))?;
        let mut outgoing = self.client.request(parts.method, url).headers(parts.headers).body(body);
        if let Some(timeout) = self.timeout {
            outgoing = outgoing.timeout(timeout);
        }

        let mut response = outgoing.send().await.map_err(classify)?;
        let status = response.status().as_u16().try_into();
        let headers = Headers::try_from(std::mem::take(response.headers_mut()));
        // Read whole, so that a connection lost half-way is an I/O failure that the SDK repeats.
        let body = response.bytes().await.map_err(classify)?;

        let mut answer = HttpResponse::new(
            status.map_err(|error| ConnectorError::other(Box::new(error), None))?,
            SdkBody::from(body),
        );
        *answer.headers_mut() = headers.map_err(|error| ConnectorError::other(error.into(), None))?;
        Ok(answer)
    }
}

/// Tells the SDK what kind of failure this was; its retry rules look at nothing else.
fn classify(error: reqwest::Error) -> ConnectorError {
    let error = error.without_url();
    let (timeout, connect, builder) = (error.is_timeout(), error.is_connect(), error.is_builder());
    let source = Box::new(error);
    let classified = if timeout {
        ConnectorError::timeout(source)
    } else if builder {
        ConnectorError::user(source)
    } else {
        ConnectorError::io(source)
    };
    if connect {
        classified.never_connected()
    } else {
        classified
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::Client;
    use wiremock::matchers::{header, method};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn environment(endpoint: String) -> impl Fn(&str) -> Option<String> {
        move |name| match name {
            "AWS_REGION" => Some("eu-central-1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" => Some("test".to_owned()),
            "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
            _ => None,
        }
    }

    async fn count_queues(endpoint: String) -> Result<usize, Box<dyn std::error::Error>> {
        let config = sdk_config(&environment(endpoint), crate::client()?)?;
        let answer = Client::new(&config).list_queues().send().await?;
        Ok(answer.queue_urls().len())
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let lookup = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "http://example.com".to_owned());
        let error = sdk_config(&lookup, crate::client().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the AWS settings are incomplete: AWS_REGION is not set; AWS_ACCESS_KEY_ID is not set; \
             AWS_SECRET_ACCESS_KEY is not set; AWS_ENDPOINT_URL must be an https URL, or a loopback one"
        );
    }

    #[tokio::test]
    async fn a_signed_call_reaches_the_service_and_its_answer_comes_back() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(header("x-amz-target", "AmazonSQS.ListQueues"))
            .and(header("x-amz-security-token", "test"))
            .respond_with(ResponseTemplate::new(200).set_body_json(serde_json_queues()))
            .mount(&server)
            .await;
        assert_eq!(count_queues(server.uri()).await.unwrap(), 2);
    }

    fn serde_json_queues() -> std::collections::HashMap<&'static str, Vec<&'static str>> {
        [("QueueUrls", vec!["https://queue/one", "https://queue/two"])].into()
    }

    #[tokio::test]
    async fn a_refusing_server_is_asked_again() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(503))
            .up_to_n_times(2)
            .mount(&server)
            .await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(200).set_body_json(serde_json_queues()))
            .mount(&server)
            .await;
        assert_eq!(count_queues(server.uri()).await.unwrap(), 2);
        assert_eq!(server.received_requests().await.unwrap_or_default().len(), 3);
    }

    #[tokio::test]
    async fn a_service_that_does_not_answer_is_given_up_within_the_reserve_of_an_invocation() {
        let server = MockServer::start().await;
        let never = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
        Mock::given(method("POST")).respond_with(never).mount(&server).await;
        let started = std::time::Instant::now();
        count_queues(server.uri()).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(server.received_requests().await.unwrap_or_default().len() >= 2);
    }

    #[tokio::test]
    async fn a_host_that_is_not_there_is_an_io_failure_without_its_url() {
        let client = crate::client().unwrap();
        let error = client.get("http://127.0.0.1:9/?secret").send().await.unwrap_err();
        let error = classify(error);
        assert!(error.is_io());
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[tokio::test]
    async fn a_slow_answer_is_a_timeout() {
        let server = MockServer::start().await;
        let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(5));
        Mock::given(method("GET")).respond_with(slow).mount(&server).await;
        let connector = Connector {
            client: crate::client().unwrap(),
            timeout: Some(Duration::from_millis(50)),
        };
        let request = HttpRequest::get(server.uri()).unwrap();
        assert!(connector.send(request).await.unwrap_err().is_timeout());
    }
}
