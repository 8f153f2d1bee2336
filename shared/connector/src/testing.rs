//! A stage for the tests of the clients: one mock server that plays Entra, Secrets Manager and a vendor.
//!
//! Knows the wire forms that those tests need in common. The vendors' behaviour is each test's own.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cosell::ids::TenantId;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::entra::{self, Tokens};
use crate::http::{Budget, Http, Limits, Vendor};
use crate::secrets::Secrets;
use crate::settings::Endpoint;

pub(crate) const TENANT: TenantId = TenantId::new(Uuid::from_u128(7));

/// Secrets Manager with one secret, and a hook to change it behind our back.
#[derive(Debug)]
pub(crate) struct Vault {
    pub(crate) current: (String, String),
    /// When it was stored, in seconds since 1970.
    pub(crate) stored_at: i64,
    pub(crate) candidate: (String, String),
    /// Whether the label in force cannot be moved because it is elsewhere.
    pub(crate) is_superseded: bool,
    pub(crate) reads: usize,
}

impl Vault {
    fn answer(&mut self, request: &Request) -> ResponseTemplate {
        let body: Value = request.body_json().unwrap();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let target = request.headers["x-amz-target"].to_str().unwrap().to_owned();
        let ok = |value: Value| ResponseTemplate::new(200).set_body_json(value);
        match target.as_str() {
            "secretsmanager.GetSecretValue" => {
                self.reads += 1;
                if self.current.1.is_empty() {
                    return ResponseTemplate::new(400).set_body_json(json!({
                        "__type": "ResourceNotFoundException",
                        "Message": "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
                    }));
                }
                ok(
                    json!({ "VersionId": self.current.0, "SecretString": self.current.1, "CreatedDate": self.stored_at }),
                )
            }
            "secretsmanager.PutSecretValue" => {
                self.candidate = (text("ClientRequestToken"), text("SecretString"));
                ok(json!({ "VersionId": self.candidate.0 }))
            }
            "secretsmanager.UpdateSecretVersionStage" => {
                if self.is_superseded || text("RemoveFromVersionId") != self.current.0 {
                    return ResponseTemplate::new(400).set_body_json(json!({
                        "__type": "InvalidParameterException",
                        "Message": "the label is not attached to that version",
                    }));
                }
                self.current = self.candidate.clone();
                ok(json!({}))
            }
            other => panic!("unexpected {other}"),
        }
    }
}

/// The mock server and what is behind it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) server: MockServer,
    pub(crate) vault: Arc<Mutex<Vault>>,
}

impl Stage {
    /// With a secret, without a token endpoint.
    pub(crate) async fn bare() -> Self {
        Self::behind(MockServer::start().await).await
    }

    async fn behind(server: MockServer) -> Self {
        let secret = json!({ "client_id": "app", "client_secret": "s&cret", "refresh_token": "old", "note": "kept" });
        let vault = Arc::new(Mutex::new(Vault {
            current: ("v1".to_owned(), secret.to_string()),
            stored_at: 1_700_000_000,
            candidate: Default::default(),
            is_superseded: false,
            reads: 0,
        }));
        let shared = Arc::clone(&vault);
        Mock::given(method("POST"))
            .and(path("/"))
            .respond_with(move |request: &Request| shared.lock().unwrap().answer(request))
            .mount(&server)
            .await;
        Self { server, vault }
    }

    /// With a token endpoint that issues `token-1`, `token-2` and so on.
    pub(crate) async fn set() -> Self {
        Self::bare().await.with_tokens().await
    }

    /// The same for tens of thousands of requests, none of which is remembered.
    pub(crate) async fn forgetful() -> Self {
        let server = MockServer::builder().disable_request_recording().start().await;
        Self::behind(server).await.with_tokens().await
    }

    async fn with_tokens(self) -> Self {
        let issued = Arc::new(Mutex::new(0));
        Mock::given(method("POST"))
            .and(path_regex("/oauth2/"))
            .respond_with(move |_: &Request| {
                let mut issued = issued.lock().unwrap();
                *issued += 1;
                let token = format!("token-{issued}");
                ResponseTemplate::new(200).set_body_json(json!({ "access_token": token, "expires_in": "3599" }))
            })
            .mount(&self.server)
            .await;
        self
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&self.server.uri()).unwrap()
    }

    fn secrets(&self) -> Secrets {
        let lookup = |name: &str| match name {
            "AWS_REGION" => Some("eu-west-1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
            "AWS_ENDPOINT_URL" => Some(self.server.uri()),
            _ => None,
        };
        let config = transport::aws::sdk_config(&lookup, transport::client().unwrap()).unwrap();
        Secrets::new(aws_sdk_secretsmanager::Client::new(&config))
    }

    pub(crate) fn delegated(&self) -> Tokens {
        let client = transport::client().unwrap();
        let resource = entra::PARTNER_CENTER;
        Tokens::delegated(client, &self.endpoint(), TENANT, resource, self.secrets(), "partner")
    }

    pub(crate) fn application(&self) -> Tokens {
        let client = transport::client().unwrap();
        let scope = Endpoint::parse("https://org.crm4.dynamics.com").unwrap();
        Tokens::application(client, &self.endpoint(), TENANT, &scope, self.secrets(), "crm")
    }

    /// A remote at the mock server, with limits in milliseconds.
    pub(crate) fn http(&self, vendor: Vendor) -> Http {
        self.http_at(vendor, self.endpoint(), limits())
    }

    /// A remote elsewhere, whose tokens come from here.
    pub(crate) fn http_at(&self, vendor: Vendor, base: Endpoint, limits: Limits) -> Http {
        let client = transport::client().unwrap();
        Http::new(vendor, client, base, self.delegated(), Budget::unlimited(), limits)
    }

    /// Requests to the vendor, in order.
    pub(crate) async fn calls(&self) -> Vec<Request> {
        self.requests(|path| path != "/" && !path.contains("/oauth2/")).await
    }

    /// Requests for a token.
    pub(crate) async fn token_requests(&self) -> Vec<Request> {
        self.requests(|path| path.contains("/oauth2/")).await
    }

    async fn requests(&self, wanted: impl Fn(&str) -> bool) -> Vec<Request> {
        let all = self.server.received_requests().await.unwrap();
        all.into_iter().filter(|request| wanted(request.url.path())).collect()
    }

    /// Answers any request with this method, once.
    pub(crate) async fn once(&self, verb: &str, answer: ResponseTemplate) {
        self.times(1, verb, answer).await;
    }

    /// Answers requests with this method, so many times; mocks are used up in the order they were mounted.
    pub(crate) async fn times(&self, times: u64, verb: &str, answer: ResponseTemplate) {
        Mock::given(method(verb))
            .and(path_regex("^/(v1.0|api|webhooks)/"))
            .respond_with(answer)
            .up_to_n_times(times)
            .mount(&self.server)
            .await;
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        attempt: Duration::from_secs(1),
        least: Duration::from_millis(1),
        repeats: 2,
        pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(100),
        outage: Duration::from_secs(30),
        answer: 64 * 1024,
    }
}

pub(crate) fn text(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.as_bytes().to_vec(), "application/json")
}

pub(crate) fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

/// A server that reads a request, answers each with the next of these byte strings and closes the connection.
pub(crate) fn raw_server(answers: Vec<&'static str>) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 65_536];
            let mut request = Vec::new();
            loop {
                let count = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
                let seen = String::from_utf8_lossy(&request).to_ascii_lowercase();
                let Some((head, body)) = seen.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.lines().next());
                if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    Endpoint::parse(&url).unwrap()
}
