//! Takes posts from Partner Center: proves where they come from, puts a hint on the queue, answers.
//!
//! Knows Lambda's HTTP event and which answer each outcome gets. Refuses to know either vendor's API and holds no
//! secret. Guarantees: nothing is written before a post is proven genuine, and a post is answered 200 only after its
//! hint was stored by the queue or when there was nothing to store.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cosell::hint::Hint;
use cosell::notice::Notice;
use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use reqwest::Client;
use serde::{Deserialize, Serialize};
use telemetry::{Function, Invocation, Metric};

mod certificates;
mod fetch;
#[cfg(test)]
mod foreign;
mod queue;
mod settings;
mod trust;

use queue::Queue;
use settings::Settings;
pub use settings::StartError;
use trust::{DeliveryKey, Trust};

/// An event is a few hundred bytes. The limit keeps us from hashing and storing whatever the gateway lets through.
const BODY_LIMIT: usize = 64 * 1024;

/// The part of a payload 2.0 event (HTTP API or function URL) that matters here.
///
/// Method and path do not: the route admits them, and without a valid signature nothing happens anyway.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Post {
    /// Header values by name; the gateway lowers names and joins repeated headers with a comma.
    pub headers: HashMap<String, String>,
    /// The body as text, or as base64 when the gateway took it for binary.
    pub body: Option<String>,
    /// Whether the body is base64.
    pub is_base64_encoded: bool,
}

impl Post {
    /// The exact bytes that were sent, or nothing if the gateway's base64 is broken.
    fn bytes(&self) -> Result<Vec<u8>, BadBody> {
        let text = self.body.as_deref().unwrap_or_default();
        let most = if self.is_base64_encoded {
            BODY_LIMIT.div_ceil(3) * 4
        } else {
            BODY_LIMIT
        };
        if text.len() > most {
            return Err(BadBody::TooLarge);
        }
        let bytes = if self.is_base64_encoded {
            STANDARD.decode(text).map_err(|_| BadBody::NotBase64)?
        } else {
            text.as_bytes().to_vec()
        };
        if bytes.len() > BODY_LIMIT {
            return Err(BadBody::TooLarge);
        }
        Ok(bytes)
    }
}

enum BadBody {
    TooLarge,
    NotBase64,
}

/// What Partner Center is told: a status and an empty body, so that a forger learns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The HTTP status.
    pub status_code: u16,
    body: &'static str,
}

/// How one post ended.
struct Outcome {
    status: u16,
    code: &'static str,
    counted: Metric,
}

impl Outcome {
    fn refused(status: u16, code: &'static str) -> Self {
        Self {
            status,
            code,
            counted: Metric::PostsRefused,
        }
    }
}

/// The function with all its clients made.
#[derive(Debug)]
pub struct Webhook {
    trust: Trust,
    queue: Queue,
}

impl Webhook {
    /// Reads the settings and makes the clients; opens no connection.
    ///
    /// # Errors
    ///
    /// [`StartError`] naming every setting that is missing or unusable.
    pub fn start(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let client = transport::client_builder()
            .user_agent(concat!("cosell-connector/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(transport::Error::Build)?;
        let settings = Settings::load(lookup, client.clone())?;
        Ok(Self::new(settings, client))
    }

    fn new(settings: Settings, client: Client) -> Self {
        Self {
            queue: Queue::new(&settings.aws, settings.queue_url, client.clone()),
            trust: Trust::new(
                client,
                settings.certificate_hosts,
                settings.issuer_hosts,
                settings.anchors,
            ),
        }
    }

    /// Opens the connection to the queue, while Lambda still grants the processor of the start phase.
    pub async fn warm_up(&self) {
        self.queue.warm_up().await;
    }

    /// Handles one post and leaves its canonical line and metric record.
    pub async fn handle(&self, post: &Post, now: Timestamp) -> Answer {
        let started = Instant::now();
        let (outcome, key) = self.receive(post, now).await;
        Invocation {
            function: Function::Webhook,
            outcome: outcome.code,
            key: key.as_ref().map(DeliveryKey::as_str),
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            counters: &[(outcome.counted, 1)],
        }
        .emit(now);
        Answer {
            status_code: outcome.status,
            body: "",
        }
    }

    async fn receive(&self, post: &Post, now: Timestamp) -> (Outcome, Option<DeliveryKey>) {
        let body = match post.bytes() {
            Ok(body) => body,
            Err(BadBody::TooLarge) => return (Outcome::refused(413, "body_too_large"), None),
            Err(BadBody::NotBase64) => return (Outcome::refused(401, "body_not_base64"), None),
        };
        match self.trust.verify(&post.headers, &body, now).await {
            Ok(notice) => (
                self.store(notice.value(), notice.key()).await,
                Some(notice.key().clone()),
            ),
            Err(refusal) => {
                tracing::warn!(
                    outcome = refusal.code(),
                    certificate.host = refusal.host(),
                    "a post was refused: {refusal}"
                );
                (Outcome::refused(refusal.status(), refusal.code()), None)
            }
        }
    }

    async fn store(&self, notice: &Notice, key: &DeliveryKey) -> Outcome {
        match notice {
            Notice::Hint(hint) => self.enqueue(hint, key).await,
            Notice::Test => Outcome {
                status: 200,
                code: "test_event",
                counted: Metric::EventsTest,
            },
            Notice::Foreign { name } => {
                tracing::info!(event.name = name, "an event that concerns no referral was ignored");
                Outcome {
                    status: 200,
                    code: "event_ignored",
                    counted: Metric::EventsIgnored,
                }
            }
        }
    }

    async fn enqueue(&self, hint: &Hint, key: &DeliveryKey) -> Outcome {
        match self.queue.put(hint, key).await {
            Ok(()) => {
                tracing::info!(
                    delivery.key = key.as_str(),
                    deal.group = hint.group_id(),
                    cause = %hint.cause,
                    "a hint was queued"
                );
                Outcome {
                    status: 200,
                    code: "queued",
                    counted: Metric::HintsQueued,
                }
            }
            Err(error) => {
                tracing::error!(delivery.key = key.as_str(), outcome = error.code(), error = %error.chain(), "the queue refused a hint");
                Outcome {
                    status: 503,
                    code: error.code(),
                    counted: Metric::HintsRefused,
                }
            }
        }
    }
}

/// Serves Lambda invocations until the sandbox ends.
///
/// # Errors
///
/// When the Lambda runtime API cannot be reached.
pub async fn run(webhook: Webhook) -> Result<(), lambda_runtime::Error> {
    let webhook = &webhook;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Post>| async move {
        #[expect(
            clippy::disallowed_methods,
            reason = "the function's one clock; everything below takes `now`"
        )]
        let now = Timestamp::now();
        Ok::<Answer, Infallible>(webhook.handle(&event.payload, now).await)
    }))
    .await
}
