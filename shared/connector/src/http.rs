//! One way of calling a remote: with a token, a budget, a deadline and a rule for when a call may be repeated.
//!
//! Knows tokens, waits, limits and the forms of refusals. Refuses to know paths, payloads and what a refusal means to a
//! deal. Guarantees:
//!
//! - A token is sent to the configured root and nowhere else; the check stands right before the header is set.
//! - A call is repeated, at most twice, only where that is harmless: reads, writes under a precondition, and refusals
//!   that prove that nothing happened.
//! - A failed write says whether it may have been applied all the same.
//! - No call outlives the deadline of its run, fetching a token included, and no wait of more than a few seconds is slept.
//! - A remote that named a longer wait, or fails call after call, is left alone until the wait is over: refused calls count
//!   against us too.
//! - An error about an answer names the place that cannot be read, never what stands there.

pub mod budget;
mod refusal;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cosell::fault::{Class, Fault, RequestId};
use cosell::ids::Etag;
use jiff::SignedDuration;
use rand::Rng as _;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::Instant;
use url::Url;

pub use self::budget::Budget;
pub use self::refusal::Refusal;
pub(crate) use self::refusal::named_wait;
use crate::entra::{self, Tokens};
use crate::settings::Endpoint;

/// What both vendors see of us in their logs.
const USER_AGENT: &str = concat!("cosell-connector/", env!("CARGO_PKG_VERSION"));

/// Headers in which the vendors name a call.
const REQUEST_IDS: [&str; 3] = ["request-id", "x-ms-service-request-id", "ms-requestid"];

/// A deal takes a handful of calls; a run that pages through everything does not need all of its ids.
const REQUEST_IDS_KEPT: usize = 100;

/// A remote is asked again after this long, whatever wait it named: no throttle is known to last longer, and a misprint
/// must not silence a process for a day.
const LONGEST_BLOCK: Duration = Duration::from_secs(3_600);

/// So many calls in a row have to fail, each with all its repeats, before a remote is taken to be down: a record that its
/// vendor cannot serve keeps nobody from the others.
const FAILURES_OF_AN_OUTAGE: u32 = 5;

/// Failures that lie further apart than this do not belong together.
const MEMORY_OF_FAILURES: Duration = Duration::from_secs(600);

/// A remote that stays down is left alone twice as long each time, and at most this long.
const LONGEST_OUTAGE: Duration = Duration::from_secs(300);

/// Waits and sizes of a remote.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For one attempt, from connecting to the last byte.
    pub attempt: Duration,
    /// An attempt is not begun when less than this is left of the run.
    pub least: Duration,
    /// How often a call is repeated.
    pub repeats: u32,
    /// The first pause is at most this long, each further one twice as long as the last; the length is drawn evenly.
    pub pause: Duration,
    /// A longer wait is handed back to the caller instead of being slept: a sleeping function costs as much as a busy one.
    pub longest_pause: Duration,
    /// A remote that seems to be down is left alone for this long at first.
    pub outage: Duration,
    /// Of an answer, in bytes. A page of a hundred referrals is well below one MiB.
    pub answer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(20),
            least: Duration::from_millis(50),
            repeats: 2,
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(3),
            outage: Duration::from_secs(30),
            answer: 8 * 1024 * 1024,
        }
    }
}

/// The remotes we call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Referrals.
    PartnerCenter,
    /// Webhook registration.
    PartnerCenterWebhooks,
    /// Opportunities.
    Dataverse,
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PartnerCenter => "Partner Center",
            Self::PartnerCenterWebhooks => "the webhook registration of Partner Center",
            Self::Dataverse => "Dataverse",
        })
    }
}

/// One of the vendor's operations, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Whose.
    pub vendor: Vendor,
    /// What it does, as a verb with its object.
    pub name: &'static str,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.vendor)
    }
}

/// Until when everything must be done.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline: for tools a person waits for.
    pub const NEVER: Self = Self(None);

    /// So much time from now. Functions subtract a reserve in which to record what was done.
    #[must_use]
    pub fn after(left: Duration) -> Self {
        Self(Instant::now().checked_add(left))
    }

    /// How much time is left.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0
            .map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }
}

/// One piece of work, with its deadline, during which calls are made: a look at a deal, a poll. Clones share what was
/// noted.
#[derive(Clone, Debug)]
pub struct Run {
    deadline: Deadline,
    notes: Arc<Mutex<Notes>>,
}

/// What a run did to the remotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were sent, repeats included.
    pub calls: u64,
    /// Answers that asked us to slow down.
    pub throttles: u64,
    /// Answers that refused the request: 4xx, those that asked us to slow down not counted.
    pub refusals: u64,
    /// Requests that failed at the vendor, 5xx, or were not answered to the end.
    pub failures: u64,
}

#[derive(Debug, Default)]
struct Notes {
    tally: Tally,
    request_ids: Vec<RequestId>,
    date: Option<HeaderValue>,
}

impl Run {
    /// A run that ends at the deadline.
    #[must_use]
    pub fn new(deadline: Deadline) -> Self {
        let notes = Arc::default();
        Self { deadline, notes }
    }

    /// When it ends.
    #[must_use]
    pub const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// The vendors' ids of the calls made since this was last asked.
    #[must_use]
    pub fn take_request_ids(&self) -> Vec<RequestId> {
        std::mem::take(&mut self.notes().request_ids)
    }

    /// What the last answer said the time was, as it said it: for whoever doubts the clock.
    #[must_use]
    pub fn vendors_date(&self) -> Option<String> {
        self.notes().date.as_ref()?.to_str().ok().map(str::to_owned)
    }

    /// How much was called so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.notes().tally
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, status: StatusCode, headers: &HeaderMap) {
        let mut notes = self.notes();
        notes.date = headers.get(header::DATE).cloned();
        if status == StatusCode::TOO_MANY_REQUESTS {
            notes.tally.throttles += 1;
        } else if status.is_client_error() {
            notes.tally.refusals += 1;
        } else if status.is_server_error() {
            notes.tally.failures += 1;
        }
        let id = REQUEST_IDS.iter().find_map(|name| headers.get(*name)?.to_str().ok());
        if let Some(id) = id
            && notes.request_ids.len() < REQUEST_IDS_KEPT
        {
            notes.request_ids.push(RequestId(id.chars().take(64).collect()));
        }
    }
}

/// What it does to the remote when a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It reads.
    Nothing,
    /// It writes under a precondition or under an id of our choice: the second time it is refused or changes nothing.
    Guarded,
    /// It writes, and would write once more.
    Adds,
}

/// A request, built anew for each attempt from these parts.
#[derive(Clone, Debug)]
pub struct Request {
    operation: &'static str,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    effect: Effect,
}

impl Request {
    /// A read.
    #[must_use]
    pub fn get(operation: &'static str, url: Url) -> Self {
        Self::new(operation, Method::GET, url, Effect::Nothing)
    }

    /// A request without a body.
    #[must_use]
    pub fn new(operation: &'static str, method: Method, url: Url, effect: Effect) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        Self {
            operation,
            method,
            url,
            headers,
            body: None,
            effect,
        }
    }

    /// Adds a header, or replaces it.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Adds a header whose value is not known before.
    ///
    /// # Errors
    /// When the value holds characters that no header may hold.
    pub fn header_of(mut self, name: HeaderName, value: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(value).map_err(|_| Error::HeaderUnusable(name.clone()))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// A new GUID under this name.
    pub(crate) fn guid(mut self, name: &'static str) -> Self {
        // The text of a GUID is always a valid header value.
        if let Ok(value) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Gives it a body.
    ///
    /// # Errors
    /// When the body cannot be written as JSON.
    pub fn json<T: Serialize>(mut self, content_type: &'static str, body: &T) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(Error::Unwritable)?;
        self.body = Some(body.into());
        Ok(self.header(header::CONTENT_TYPE, content_type))
    }

    /// Sends no body, and says so: some front ends refuse a POST without a length.
    pub(crate) fn empty(mut self) -> Self {
        self.body = Some(Bytes::new());
        self.header(header::CONTENT_LENGTH, "0")
    }

    pub(crate) fn if_match(mut self, etag: &Etag) -> Result<Self, Error> {
        let value = HeaderValue::from_str(&etag.0).map_err(|_| Error::EtagUnusable)?;
        self.headers.insert(header::IF_MATCH, value);
        Ok(self)
    }
}

/// A successful answer.
#[derive(Clone, Debug)]
pub struct Answer {
    operation: Operation,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    pub(crate) const fn operation(&self) -> Operation {
        self.operation
    }

    /// Whether it has no body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.trim_ascii().is_empty()
    }

    /// The version that the header names.
    pub(crate) fn etag(&self) -> Option<Etag> {
        let text = self.headers.get(header::ETAG)?.to_str().ok()?;
        Some(Etag(text.to_owned()))
    }

    /// The body.
    ///
    /// # Errors
    /// When it is not what was expected; the error names the place.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        decode(self.operation, &self.body)
    }

    /// The body of a write that is done whatever can be read of its answer; none when nothing can.
    pub(crate) fn decode_if_readable<T: DeserializeOwned>(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        self.decode()
            .inspect_err(
                |error| tracing::warn!(error = %chain(error), "the answer to a successful write is unreadable"),
            )
            .ok()
    }
}

/// The deepest place that any document of the vendors has is a fraction of it; what is longer is made up of keys of others.
const PATH_CHARS: usize = 200;

/// Reads JSON; the error names the place in the document.
pub(crate) fn decode<T: DeserializeOwned>(operation: Operation, json: &[u8]) -> Result<T, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| Error::unreadable(operation, error.path().to_string(), error.inner()))?;
    deserializer
        .end()
        .map_err(|error| Error::unreadable(operation, "the end".to_owned(), &error))?;
    Ok(value)
}

/// A remote. Clones are cheap and share token, budget and connections.
#[derive(Clone, Debug)]
pub struct Http {
    remote: Arc<Remote>,
    run: Run,
}

#[derive(Debug)]
struct Remote {
    vendor: Vendor,
    client: reqwest::Client,
    base: Endpoint,
    tokens: Tokens,
    budget: Budget,
    limits: Limits,
    door: Mutex<Door>,
}

/// Whether a remote may be called.
#[derive(Debug, Default)]
struct Door {
    /// Until when it is left alone.
    closed_until: Option<Instant>,
    /// It was closed by what this process met, and nobody else has been told.
    is_news: bool,
    /// Calls in a row that failed with all their repeats.
    failures: u32,
    /// When the last of them did.
    failed_at: Option<Instant>,
}

impl Door {
    /// Leaves the remote alone for so long, or for longer if it is already; says whether that is longer than before.
    fn close(&mut self, wait: Duration) -> bool {
        let until = Instant::now().checked_add(wait.min(LONGEST_BLOCK));
        let is_later = until > self.closed_until;
        self.closed_until = self.closed_until.max(until);
        is_later
    }
}

impl Remote {
    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the remote is still left alone.
    fn blocked(&self) -> Option<Duration> {
        let mut door = self.door();
        let left = door
            .closed_until
            .map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.filter(|left| !left.is_zero());
        if left.is_none() {
            door.closed_until = None;
        }
        left
    }

    /// Remembers a wait that is too long to be slept.
    fn mind(&self, refusal: &Refusal) {
        let is_throttle = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&refusal.status);
        let Some(wait) = refusal.retry_after.filter(|wait| *wait > self.limits.longest_pause) else {
            return;
        };
        if is_throttle {
            let mut door = self.door();
            door.is_news |= door.close(wait);
        }
    }

    /// Counts how a call ended. A remote that fails call after call is left alone, each time for longer; one that answers,
    /// if only with a refusal, is there.
    fn ended(&self, error: Option<&Error>) {
        let mut door = self.door();
        match error.map(Error::tells) {
            Some(Tells::Nothing) => {}
            Some(Tells::Down) => {
                let is_recent = |failed_at: Instant| failed_at.elapsed() < MEMORY_OF_FAILURES;
                let before = if door.failed_at.is_some_and(is_recent) {
                    door.failures
                } else {
                    0
                };
                door.failures = before.saturating_add(1);
                door.failed_at = Some(Instant::now());
                if let Some(times) = door.failures.checked_sub(FAILURES_OF_AN_OUTAGE) {
                    let wait = self.limits.outage.saturating_mul(1 << times.min(16));
                    door.is_news |= door.close(wait.min(LONGEST_OUTAGE));
                }
            }
            Some(Tells::Up) | None => door.failures = 0,
        }
    }
}

impl Http {
    /// A remote at this root, called with these tokens. The client must follow no redirects.
    #[must_use]
    pub fn new(
        vendor: Vendor,
        client: reqwest::Client,
        base: Endpoint,
        tokens: Tokens,
        budget: Budget,
        limits: Limits,
    ) -> Self {
        Self {
            remote: Arc::new(Remote {
                vendor,
                client,
                base,
                tokens,
                budget,
                limits,
                door: Mutex::default(),
            }),
            run: Run::new(Deadline::NEVER),
        }
    }

    /// The same remote, within the deadline of a run, which also notes the calls.
    #[must_use]
    pub fn during(&self, run: &Run) -> Self {
        Self {
            remote: Arc::clone(&self.remote),
            run: run.clone(),
        }
    }

    /// Fetches a token, so that the first call need not. Failure is left to the first call.
    pub async fn warm_up(&self) {
        if let Err(error) = self.remote.tokens.bearer(&self.run).await {
            tracing::debug!(error = %error, "no token yet");
        }
    }

    /// Leaves the remote alone for so long: somebody else was told to, or found it down.
    pub fn leave_alone(&self, wait: Duration) {
        self.remote.door().close(wait);
    }

    /// Calls the remote again: those who share what they know say that the wait is over. What nobody has been told yet stands.
    pub fn call_again(&self) {
        let mut door = self.remote.door();
        if !door.is_news {
            door.closed_until = None;
        }
    }

    /// For how long the remote is to be left alone, if this process has found that out since it was last asked: others
    /// need not find out as well.
    #[must_use]
    pub fn take_closed(&self) -> Option<Duration> {
        let left = self.remote.blocked();
        let is_news = std::mem::take(&mut self.remote.door().is_news);
        left.filter(|_| is_news)
    }

    /// The operation under this name, for messages.
    pub(crate) fn operation(&self, name: &'static str) -> Operation {
        let vendor = self.remote.vendor;
        Operation { vendor, name }
    }

    /// A URL below the root. Blanks, quotes and the like are encoded; what is encoded already stays as it is.
    ///
    /// # Errors
    /// When the result would not stay below the root.
    pub fn url(&self, path_and_query: &str) -> Result<Url, Error> {
        self.checked(&format!("{}{path_and_query}", self.remote.base), "/")
    }

    /// A link that the vendor gave, if it stays below the root and below this path.
    pub(crate) fn checked(&self, link: &str, below: &str) -> Result<Url, Error> {
        let foreign = |host: Option<&str>| Error::ForeignLink {
            vendor: self.remote.vendor,
            host: host.unwrap_or("(none)").chars().take(100).collect(),
        };
        let url = Url::parse(link).map_err(|_| foreign(None))?;
        if self.remote.base.is_origin_of(&url) && url.path().starts_with(below) {
            Ok(url)
        } else {
            Err(foreign(url.host_str()))
        }
    }

    /// Sends a request until it succeeds, is refused for good, or must not be repeated any more.
    ///
    /// # Errors
    /// Why it did not succeed.
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        let result = self.persist(request).await;
        self.remote.ended(result.as_ref().err());
        result
    }

    async fn persist(&self, request: Request) -> Result<Answer, Error> {
        let mut may_have_been_applied = false;
        let mut repeats = 0;
        let mut is_token_renewed = false;
        loop {
            let error = match self.attempt(&request).await {
                Ok(answer) => return Ok(answer),
                Err((Error::Refused(refusal), Some(token)))
                    if refusal.status == StatusCode::UNAUTHORIZED && !is_token_renewed =>
                {
                    // A token that was good when it was cached: revoked, or the clock stood still while we were frozen.
                    is_token_renewed = true;
                    self.remote.tokens.forget(&token).await;
                    continue;
                }
                Err((error, _)) => error,
            };
            may_have_been_applied |= request.effect != Effect::Nothing && !error.proves_nothing_happened();
            match self.pause(&request, &error, repeats) {
                Some(pause) => {
                    tracing::warn!(
                        operation = request.operation,
                        attempt = repeats + 1,
                        pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                        code = error.code(),
                        "call to {} is repeated",
                        self.remote.vendor,
                    );
                    repeats += 1;
                    tokio::time::sleep(pause).await;
                }
                None if may_have_been_applied => return Err(Error::InDoubt(Box::new(error))),
                None => return Err(error),
            }
        }
    }

    /// How long to wait before the call is repeated; none when it is not.
    fn pause(&self, request: &Request, error: &Error, repeats: u32) -> Option<Duration> {
        let limits = &self.remote.limits;
        let Class::Transient { after } = error.class() else {
            return None;
        };
        let is_harmless = request.effect != Effect::Adds || error.proves_nothing_happened();
        // Entra has been asked twice already when a token is missing.
        if repeats >= limits.repeats || !is_harmless || matches!(error, Error::OutOfTime(_) | Error::Token { .. }) {
            return None;
        }
        let floor = after
            .and_then(|after| Duration::try_from(after).ok())
            .unwrap_or_default();
        let most = limits.pause.saturating_mul(1 << repeats.min(16));
        let pause = floor.saturating_add(most.mul_f64(rand::rng().random()));
        let is_affordable = pause.saturating_add(limits.least) < self.run.deadline.left();
        (pause <= limits.longest_pause && is_affordable).then_some(pause)
    }

    /// One attempt. With a refusal comes the token that was used.
    async fn attempt(&self, request: &Request) -> Result<Answer, (Error, Option<entra::Bearer>)> {
        let remote = &*self.remote;
        let operation = self.operation(request.operation);
        let fail = |error| (error, None);
        if let Some(left) = remote.blocked() {
            return Err(fail(Error::Blocked { operation, left }));
        }
        let left = self.run.deadline.left();
        if left < remote.limits.least {
            return Err(fail(Error::OutOfTime(operation)));
        }
        // Cutting it off is harmless: a rotated token that is not stored leaves the old one, which stays valid.
        let token = tokio::time::timeout(left, remote.tokens.bearer(&self.run))
            .await
            .map_err(|_| fail(Error::OutOfTime(operation)))?
            .map_err(|source| {
                let vendor = remote.vendor;
                fail(Error::Token { vendor, source })
            })?;
        let wait = remote.budget.reserve(Instant::now());
        if wait.saturating_add(remote.limits.least) > self.run.deadline.left() {
            return Err(fail(Error::OutOfTime(operation)));
        }
        tokio::time::sleep(wait).await;
        let left = self.run.deadline.left();
        if left < remote.limits.least {
            return Err(fail(Error::OutOfTime(operation)));
        }

        // The last door before the token leaves the process.
        if !remote.base.is_origin_of(&request.url) {
            return Err(fail(Error::ForeignLink {
                vendor: remote.vendor,
                host: request.url.host_str().unwrap_or_default().to_owned(),
            }));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.secret().expose_secret()))
            .map_err(|_| fail(Error::TokenUnusable(remote.vendor)))?;
        authorization.set_sensitive(true);
        let mut outgoing = remote
            .client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .header(header::AUTHORIZATION, authorization)
            .timeout(remote.limits.attempt.min(left));
        if let Some(body) = &request.body {
            outgoing = outgoing.body(body.clone());
        }

        let started = Instant::now();
        self.run.notes().tally.calls += 1;
        let response = outgoing.send().await.map_err(|error| {
            self.run.notes().tally.failures += 1;
            fail(Error::lost(operation, error))
        })?;
        let status = response.status();
        let headers = response.headers().clone();
        self.run.note(status, &headers);
        let body = read_body(response, operation, remote.limits.answer).await;
        tracing::debug!(
            operation = operation.name,
            status = status.as_u16(),
            duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "called {}",
            remote.vendor,
        );
        if !status.is_success() {
            // The status counts even when its explanation was cut off.
            let refusal = Refusal::read(operation, status, &headers, &body.unwrap_or_default());
            remote.mind(&refusal);
            return Err((Error::Refused(Box::new(refusal)), Some(token)));
        }
        if matches!(&body, Err(error) if !matches!(error, Error::TooLarge { .. })) {
            self.run.notes().tally.failures += 1;
        }
        let body = match body {
            Ok(body) => body,
            // The status proves that the write is done; only its picture is missing.
            Err(error) if request.effect != Effect::Nothing => {
                tracing::warn!(error = %chain(&error), "the answer to a successful write was cut off");
                Bytes::new()
            }
            Err(error) => return Err(fail(error)),
        };
        Ok(Answer {
            operation,
            headers,
            body,
        })
    }
}

/// Reads a body up to a limit.
pub(crate) async fn read_body(
    mut response: reqwest::Response,
    operation: Operation,
    limit: usize,
) -> Result<Bytes, Error> {
    let too_large = Error::TooLarge { operation, limit };
    let announced = response.content_length().unwrap_or(0);
    if announced > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Error::lost(operation, error))? {
        if body.len() + chunk.len() > limit {
            return Err(too_large);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No access token could be had.
    #[error("no access token for {vendor}")]
    Token {
        /// For whom.
        vendor: Vendor,
        /// Why.
        source: entra::Error,
    },
    /// The token holds characters that no header may hold.
    #[error("the access token for {0} cannot be sent")]
    TokenUnusable(Vendor),
    /// No connection came about, so nothing was sent.
    #[error("{operation} failed: no connection")]
    Unreachable {
        /// What was asked.
        operation: Operation,
        /// Why.
        source: reqwest::Error,
    },
    /// No answer came in time.
    #[error("{operation} failed: no answer in time")]
    TimedOut {
        /// What was asked.
        operation: Operation,
        /// Why.
        source: reqwest::Error,
    },
    /// The connection broke.
    #[error("{operation} failed: the connection broke")]
    Interrupted {
        /// What was asked.
        operation: Operation,
        /// Why.
        source: reqwest::Error,
    },
    /// The run ends before the call could.
    #[error("{0} was not tried: no time is left")]
    OutOfTime(Operation),
    /// The vendor asked to be left alone, or was down, and that time is not over.
    #[error("{operation} was not tried: the vendor asked to wait, or is down, and is left alone for another {} s", .left.as_secs())]
    Blocked {
        /// What was asked.
        operation: Operation,
        /// How much longer.
        left: Duration,
    },
    /// The vendor answered, but not with success.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The answer is larger than anything that was meant for us.
    #[error("{operation} failed: the answer is larger than {limit} bytes")]
    TooLarge {
        /// What was asked.
        operation: Operation,
        /// The limit.
        limit: usize,
    },
    /// The answer is not what the vendor's documentation says.
    ///
    /// The parser's own words are not kept: they quote the value, which may be a name or a phone number.
    #[error("{operation} failed: the answer cannot be read at {path} (line {line}, column {column}: {flaw})")]
    Unreadable {
        /// What was asked.
        operation: Operation,
        /// The place in the document.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there, in general terms.
        flaw: &'static str,
    },
    /// A list came without its elements, which is not the same as an empty list.
    #[error("{0} failed: the answer holds no list")]
    NoList(Operation),
    /// The link to the next page leads nowhere, so what was read is not all.
    #[error("{0} failed: the link to the next page has no query")]
    LinkCut(Operation),
    /// A body could not be written.
    #[error("the request cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// A header's value holds characters that no header may hold.
    #[error("the value of the header {0} cannot be sent")]
    HeaderUnusable(HeaderName),
    /// An entity tag holds characters that no header may hold.
    #[error("the stored entity tag cannot be sent; reading the record again gives a new one")]
    EtagUnusable,
    /// A link leads somewhere our token must not go.
    #[error("{vendor} gave a link to {host}, which is not below the configured root; it was not followed")]
    ForeignLink {
        /// Who gave it.
        vendor: Vendor,
        /// Where it leads.
        host: String,
    },
    /// A list does not end.
    #[error("{operation} was given up after {pages} pages{}", if *.is_loop { ": the pages repeat" } else { "" })]
    Endless {
        /// What was asked.
        operation: Operation,
        /// How many pages were read.
        pages: usize,
        /// Whether a page came twice.
        is_loop: bool,
    },
    /// A write failed, and the remote may have done it all the same.
    #[error("{0}; it may have taken effect all the same")]
    InDoubt(#[source] Box<Error>),
}

impl Error {
    pub(crate) fn lost(operation: Operation, error: reqwest::Error) -> Self {
        let source = error.without_url();
        if source.is_connect() || source.is_builder() {
            Self::Unreachable { operation, source }
        } else if source.is_timeout() {
            Self::TimedOut { operation, source }
        } else {
            Self::Interrupted { operation, source }
        }
    }

    fn unreadable(operation: Operation, path: String, error: &serde_json::Error) -> Self {
        Self::Unreadable {
            operation,
            path: path.chars().take(PATH_CHARS).collect(),
            line: error.line(),
            column: error.column(),
            flaw: match error.classify() {
                Category::Io => "it cannot be read",
                Category::Syntax => "no JSON",
                Category::Data => "unexpected data",
                Category::Eof => "it ends too early",
            },
        }
    }

    /// Who acts next.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Token { source, .. } => source.class(),
            // An answer that is no list comes from something before the service, and passes with it.
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. }
            | Self::OutOfTime(_)
            | Self::NoList(_)
            | Self::LinkCut(_) => Class::Transient { after: None },
            Self::Blocked { left, .. } => Class::Transient {
                after: SignedDuration::try_from(*left).ok(),
            },
            Self::Refused(refusal) => refusal.class(),
            Self::TokenUnusable(_) => Class::Fatal,
            Self::EtagUnusable => Class::Conflict,
            Self::TooLarge { .. }
            | Self::Unreadable { .. }
            | Self::Unwritable(_)
            | Self::HeaderUnusable(_)
            | Self::ForeignLink { .. }
            | Self::Endless { .. } => Class::Permanent,
            Self::InDoubt(error) => error.class(),
        }
    }

    /// A bounded name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token { source, .. } => source.code(),
            Self::TokenUnusable(_) => "token_unusable",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Interrupted { .. } => "interrupted",
            Self::OutOfTime(_) => "out_of_time",
            Self::Blocked { .. } => "throttled",
            Self::Refused(refusal) => refusal.code(),
            Self::TooLarge { .. } => "answer_too_large",
            Self::Unreadable { .. } | Self::NoList(_) | Self::LinkCut(_) => "answer_unreadable",
            Self::Unwritable(_) | Self::HeaderUnusable(_) => "request_unwritable",
            Self::EtagUnusable => "etag_unusable",
            Self::ForeignLink { .. } => "foreign_link",
            Self::Endless { .. } => "endless_list",
            Self::InDoubt(error) => error.code(),
        }
    }

    /// Whether a write may have been applied although it failed.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        matches!(self, Self::InDoubt(_))
    }

    /// What the vendor said, if it said something.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::InDoubt(error) => error.refusal(),
            _ => None,
        }
    }

    /// Whether the vendor answered with this status.
    #[must_use]
    pub fn has_status(&self, status: StatusCode) -> bool {
        self.refusal().is_some_and(|refusal| refusal.status == status)
    }

    /// Whether the vendor gave this code among its reasons.
    #[must_use]
    pub fn has_code(&self, code: &str) -> bool {
        self.refusal().is_some_and(|refusal| refusal.has_code(code))
    }

    /// What the failure of a call, with all its repeats, says of the remote itself.
    fn tells(&self) -> Tells {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Interrupted { .. } => Tells::Down,
            // One record is in use.
            Self::Refused(refusal) if refusal.status == StatusCode::LOCKED => Tells::Up,
            Self::Refused(refusal) => match refusal.class() {
                Class::Transient { .. } => Tells::Down,
                Class::Conflict | Class::Permanent | Class::Fatal => Tells::Up,
            },
            Self::InDoubt(error) => error.tells(),
            Self::TooLarge { .. } | Self::Unreadable { .. } => Tells::Up,
            Self::Token { .. }
            | Self::TokenUnusable(_)
            | Self::OutOfTime(_)
            | Self::Blocked { .. }
            | Self::NoList(_)
            | Self::LinkCut(_)
            | Self::Unwritable(_)
            | Self::HeaderUnusable(_)
            | Self::EtagUnusable
            | Self::ForeignLink { .. }
            | Self::Endless { .. } => Tells::Nothing,
        }
    }

    /// Whether the failure itself shows that the remote did nothing.
    fn proves_nothing_happened(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Interrupted { .. } | Self::InDoubt(_) => false,
            Self::Refused(refusal) => refusal.proves_nothing_happened(),
            // Reading comes after success; these cannot follow a write.
            Self::TooLarge { .. }
            | Self::Unreadable { .. }
            | Self::NoList(_)
            | Self::LinkCut(_)
            | Self::Endless { .. } => false,
            Self::Token { .. }
            | Self::TokenUnusable(_)
            | Self::Unreachable { .. }
            | Self::OutOfTime(_)
            | Self::Blocked { .. }
            | Self::Unwritable(_)
            | Self::HeaderUnusable(_)
            | Self::EtagUnusable
            | Self::ForeignLink { .. } => true,
        }
    }
}

/// What a failed call says of the remote itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    /// It answers.
    Up,
    /// It does not, or has no time for us.
    Down,
    /// It was not asked, or nothing can be told by what came back.
    Nothing,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            class: error.class(),
            code: error.code(),
            message: chain(&error),
            in_doubt: error.is_in_doubt(),
        }
    }
}

/// An error and all its sources in one sentence.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        // Wrappers repeat what they wrap.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod tests;
