//! The webhook registration API: one registration per tenant, and test events.
//!
//! Knows: its operations, its errors, its limit on test events. Refuses to know: referrals, how events travel.
//! Guarantee: what is registered replaces what was registered, wholly.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use url::{Host, Url};
use uuid::Uuid;

use super::certificates::Carrier;
use super::deliveries::Notice;
use super::desk::{Desk, State};
use super::records::{PARTNER, moment_text};
use super::vocabulary::{EVENTS, TEST_CREATED};
use crate::entra::{PARTNER_CENTER_AUDIENCE, TokenCheck};

/// At most this many test events within [`TEST_WINDOW`].
const TESTS_PER_WINDOW: usize = 2;
const TEST_WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// Results of test events are kept this long.
const RESULT_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// Id of the subscriber; stays the same when the registration is replaced.
    pub subscriber_id: String,
    /// Where events go.
    #[serde(rename = "webhookUrl")]
    pub url: String,
    /// Which events go there.
    #[serde(rename = "webhookEvents")]
    pub events: Vec<String>,
    /// Whether the signature travels in `x-ms-signature` and not in `Authorization`.
    pub signature_token_to_ms_signature_header: bool,
    /// When it was written.
    pub last_modified_timestamp: String,
}

impl Registration {
    pub(super) fn new(
        url: &str,
        events: &[String],
        ms_signature: bool,
        now: Timestamp,
        replaced: Option<&Self>,
    ) -> Self {
        Self {
            subscriber_id: replaced
                .map_or_else(|| Uuid::new_v4().to_string(), |replaced| replaced.subscriber_id.clone()),
            url: url.to_owned(),
            events: events.to_vec(),
            signature_token_to_ms_signature_header: ms_signature,
            last_modified_timestamp: moment_text(now),
        }
    }

    pub(super) fn wants(&self, event: &str) -> bool {
        self.events.iter().any(|known| known == event)
    }

    pub(super) fn carrier(&self) -> Carrier {
        if self.signature_token_to_ms_signature_header {
            Carrier::MsSignature
        } else {
            Carrier::Authorization
        }
    }
}

/// A test event that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Validation {
    correlation: String,
    asked: Timestamp,
    url: String,
    /// Its place in the courier's book.
    entry: usize,
}

/// How this host says no.
struct Refusal {
    status: StatusCode,
    code: u32,
    description: String,
}

impl Refusal {
    fn new(status: StatusCode, code: u32, description: impl Into<String>) -> Self {
        Self {
            status,
            code,
            description: description.into(),
        }
    }

    fn invalid(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 400, description)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            // The gateway in front answers in its own form; the code is the wait in seconds.
            let message = format!("{} Try again in {} seconds.", self.description, self.code);
            let body = axum::Json(json!({ "statusCode": 429, "message": message }));
            return (self.status, [(header::RETRY_AFTER, self.code.to_string())], body).into_response();
        }
        let body = json!({ "code": self.code, "description": self.description, "data": [], "source": "PartnerFD" });
        let mut answer = (self.status, axum::Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("OAuth realm=simulated"),
            );
        }
        answer
    }
}

pub(super) fn router(desk: Arc<Desk>) -> Router {
    const BASE: &str = "/webhooks/v1/registration";
    Router::new()
        .route(BASE, get(read).post(create).put(replace))
        .route(&format!("{BASE}/events"), get(events))
        .route(&format!("{BASE}/validationEvents"), post(ask_test))
        .route(&format!("{BASE}/validationEvents/{{correlation}}"), get(test_result))
        .with_state(desk)
}

async fn events(Extract(desk): Extract<Arc<Desk>>, headers: HeaderMap) -> Response {
    answer(&desk, &headers, |_| Ok(json!(EVENTS)))
}

async fn read(Extract(desk): Extract<Arc<Desk>>, headers: HeaderMap) -> Response {
    answer(&desk, &headers, |state| match &state.registration {
        Some(registration) => Ok(json!(registration)),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, 1000, "No registration was found.")),
    })
}

async fn create(Extract(desk): Extract<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(&desk, &headers, |state| {
        let wanted = parse(&headers, &body, desk.now(), None)?;
        if state.registration.is_some() {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                409,
                "A registration exists already.",
            ));
        }
        Ok(json!(state.registration.insert(wanted)))
    })
}

async fn replace(Extract(desk): Extract<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(&desk, &headers, |state| {
        let wanted = parse(&headers, &body, desk.now(), state.registration.as_ref())?;
        if state.registration.is_none() {
            return Err(Refusal::new(StatusCode::NOT_FOUND, 1000, "No registration was found."));
        }
        Ok(json!(state.registration.insert(wanted)))
    })
}

async fn ask_test(Extract(desk): Extract<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(&desk, &headers, |state| {
        let now = desk.now();
        if !body.is_empty() {
            return Err(Refusal::invalid("The body must be empty."));
        }
        let Some(registration) = state.registration.as_ref().filter(|known| known.wants(TEST_CREATED)) else {
            return Err(Refusal::invalid("The event test-created is not registered."));
        };
        let mut recent = state
            .validations
            .iter()
            .rev()
            .filter(|test| now.duration_since(test.asked) < TEST_WINDOW);
        if let Some(oldest) = recent.nth(TESTS_PER_WINDOW - 1) {
            let wait = (TEST_WINDOW - now.duration_since(oldest.asked)).as_secs().max(0) + 1;
            let wait = u32::try_from(wait).unwrap_or(60);
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                wait,
                "Rate limit is exceeded.",
            ));
        }
        let correlation = Uuid::new_v4().to_string();
        let notice = Notice {
            event: TEST_CREATED,
            resource: "test",
            id: &correlation,
            uri: format!(
                "http://api.partnercenter.microsoft.com/webhooks/v1/registration/validationEvents/{correlation}"
            ),
            changed: now,
        };
        let entry = desk.courier.raise(&notice, registration);
        let url = registration.url.clone();
        state.validations.push(Validation {
            correlation: correlation.clone(),
            asked: now,
            url,
            entry,
        });
        Ok(json!({ "correlationId": correlation }))
    })
}

async fn test_result(
    Extract(desk): Extract<Arc<Desk>>,
    headers: HeaderMap,
    Path(correlation): Path<String>,
) -> Response {
    answer(&desk, &headers, |state| {
        let now = desk.now();
        let found = state
            .validations
            .iter()
            .find(|test| test.correlation == correlation && now.duration_since(test.asked) < RESULT_LIFETIME);
        let Some((test, delivery)) = found.and_then(|test| Some((test, desk.courier.delivery(test.entry)?))) else {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                1000,
                "The test event was not found.",
            ));
        };
        let status = match (delivery.done, delivery.is_accepted()) {
            (false, _) => "pending",
            (true, true) => "completed",
            (true, false) => "failed",
        };
        let attempts = delivery.attempts.iter().zip(&delivery.moments);
        let results: Vec<Value> = attempts.map(|(status, moment)| result(*status, *moment)).collect();
        Ok(json!({
            "correlationId": test.correlation,
            "partnerId": PARTNER,
            "status": status,
            "callbackUrl": test.url,
            "results": results,
        }))
    })
}

/// One attempt, the status by its name in one word. The time has no zone here, it is UTC all the same.
fn result(status: u16, moment: Timestamp) -> Value {
    let name = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    json!({
        "responseCode": name.replace([' ', '-'], ""),
        "responseMessage": "",
        "systemError": status == 0,
        "dateTimeUtc": moment.strftime("%Y-%m-%dT%H:%M:%S%.7f").to_string(),
    })
}

fn answer(desk: &Desk, headers: &HeaderMap, act: impl FnOnce(&mut State) -> Result<Value, Refusal>) -> Response {
    let mut state = desk.state();
    let outcome = admit(desk, &state, headers).and_then(|()| act(&mut state));
    drop(state);
    let mut answer = match outcome {
        Ok(body) => axum::Json(body).into_response(),
        Err(refusal) => refusal.into_response(),
    };
    for name in ["ms-requestid", "ms-correlationid"] {
        let value = headers.get(name).cloned();
        let value = value.or_else(|| HeaderValue::from_str(&Uuid::new_v4().to_string()).ok());
        if let Some(value) = value {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

fn admit(desk: &Desk, state: &State, headers: &HeaderMap) -> Result<(), Refusal> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match desk.entra.check(token, PARTNER_CENTER_AUDIENCE) {
        TokenCheck::Missing => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            800_001,
            "The partner token is missing.",
        )),
        TokenCheck::Unknown | TokenCheck::Expired | TokenCheck::WrongAudience { .. } => {
            Err(Refusal::new(StatusCode::UNAUTHORIZED, 400, "Access denied."))
        }
        TokenCheck::Valid {
            delegated: true,
            mfa: false,
            ..
        } => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            900_421,
            "MFA is required for this request.",
        )),
        TokenCheck::Valid { .. } if state.switches.refuse_role => {
            Err(Refusal::new(StatusCode::FORBIDDEN, 2032, "Access denied."))
        }
        TokenCheck::Valid { .. } => Ok(()),
    }
}

fn parse(
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
    replaced: Option<&Registration>,
) -> Result<Registration, Refusal> {
    if !super::referrals::is_json(headers) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            415,
            "The body must be JSON.",
        ));
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
        return Err(Refusal::invalid("The body must be an object."));
    };
    let (mut url, mut events, mut ms_signature) = (None, None, false);
    for (name, value) in members {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("webhookurl", Value::String(text)) => url = Some(text),
            ("webhookevents", Value::Array(items)) => events = Some(items),
            ("signaturetokentomssignatureheader", Value::Bool(flag)) => ms_signature = flag,
            ("signaturetokentomssignatureheader", Value::String(text)) => {
                ms_signature = match text.to_ascii_lowercase().as_str() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(Refusal::invalid(format!("'{name}' must be true or false."))),
                };
            }
            // What a GET has shown may be sent back.
            ("subscriberid" | "lastmodifiedtimestamp" | "properties", _) => {}
            _ => return Err(Refusal::invalid(format!("'{name}' is not understood."))),
        }
    }
    let url = url
        .filter(|url| is_receiver(url))
        .ok_or_else(|| Refusal::invalid("WebhookUrl must be https."))?;
    let mut names = Vec::new();
    for event in events.ok_or_else(|| Refusal::invalid("WebhookEvents is missing."))? {
        match event.as_str().filter(|event| EVENTS.contains(event)) {
            Some(event) => names.push(event.to_owned()),
            None => return Err(Refusal::invalid(format!("The event {event} is not known."))),
        }
    }
    if names.is_empty() {
        return Err(Refusal::invalid("WebhookEvents is empty."));
    }
    Ok(Registration::new(&url, &names, ms_signature, now, replaced))
}

/// https, or plain http to this machine.
fn is_receiver(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        ("http", Some(Host::Domain(name))) => super::deliveries::is_localhost(name),
        _ => false,
    })
}
