//! Partner Center's webhook registration API.
//! <https://learn.microsoft.com/partner-center/developer/partner-center-webhooks>
//!
//! Knows: its paths, its two spellings of every member, its test events. Refuses to know: what should be registered.
//! Caveat: a tenant has one registration, and a write replaces all of it, whoever made it.

use cosell::fault::{Class, Fault};
use reqwest::{Method, StatusCode};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::entra::{self, Tokens};
use crate::http::{self, Answer, Budget, Effect, Http, Limits, Request, Run, Vendor};
use crate::secrets::Secrets;
use crate::settings;

const PATH: &str = "/webhooks/v1/registration";

const JSON: &str = "application/json";

/// Of what became of a test event, in characters each.
const MOST_TOLD: usize = 200;

/// On this host the same value marks a repeated request, unlike `client-request-id` of the Referrals API.
const REQUEST_ID: &str = "ms-requestid";
const CORRELATION_ID: &str = "ms-correlationid";

/// The event that only [`RegistrationApi::validate`] causes.
pub const TEST_EVENT: &str = "test-created";

/// The registration API. Clones are cheap.
#[derive(Clone, Debug)]
pub struct RegistrationApi {
    http: Http,
}

/// What a tenant has registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Registration {
    /// Where events are posted to.
    pub webhook_url: String,
    /// Which ones.
    pub webhook_events: Vec<String>,
    /// Whether the signature travels in `x-ms-signature` instead of `Authorization`, which front doors tend to claim.
    #[serde(rename = "SignatureTokenToMsSignatureHeader")]
    pub signature_in_own_header: bool,
}

/// What became of a test event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// `completed`, `failed`, or anything while it is under way.
    pub status: String,
    /// The URL it was posted to.
    pub url: Option<String>,
    /// One entry per attempt.
    pub attempts: Vec<Attempt>,
}

/// One attempt to deliver a test event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// The webhook's answer: a number, or a name such as `OK`.
    pub response_code: String,
    /// What else was said.
    pub response_message: String,
}

impl Delivery {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        ["completed", "failed"]
            .iter()
            .any(|over| self.status.eq_ignore_ascii_case(over))
    }

    /// Whether the webhook took it.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        let is_taken = |attempt: &Attempt| {
            let code = attempt.response_code.as_str();
            code.eq_ignore_ascii_case("ok") || matches!(code.parse(), Ok(200..=299))
        };
        self.status.eq_ignore_ascii_case("completed") && self.attempts.iter().any(is_taken)
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call itself.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// Nobody may register but certain roles, and the referral roles are not among them.
    #[error(
        "the connector's user may not manage webhooks; give it one of the roles Admin agent, Sales agent, Helpdesk agent or Billing admin besides Referrals admin"
    )]
    RoleMissing(#[source] http::Error),
}

impl Error {
    /// Who acts next.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Http(error) => error.class(),
            Self::RoleMissing(_) => Class::Fatal,
        }
    }

    /// Whether nothing was asked because nobody has signed in yet: the secret is there and holds no value.
    #[must_use]
    pub const fn awaits_consent(&self) -> bool {
        matches!(
            self,
            Self::Http(http::Error::Token {
                source: entra::Error::SecretEmpty { .. },
                ..
            })
        )
    }

    /// A bounded name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Http(error) => error.code(),
            Self::RoleMissing(_) => "role_missing",
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let in_doubt = matches!(&error, Error::Http(error) if error.is_in_doubt());
        Self {
            class: error.class(),
            code: error.code(),
            message: http::chain(&error),
            in_doubt,
        }
    }
}

/// What became of writing a registration. Which status tells that there is one already, or none yet, is not documented,
/// so a 400 is taken for either.
#[derive(Debug)]
#[must_use]
pub enum Written {
    /// It is written.
    Done,
    /// Perhaps it must be done the other way: replace instead of create, or create instead of replace.
    OtherWay(Error),
}

impl RegistrationApi {
    /// The API behind this remote.
    #[must_use]
    pub const fn new(http: Http) -> Self {
        Self { http }
    }

    /// The API as the settings describe it. It is called a few times a day, hence without a budget.
    #[must_use]
    pub fn connect(settings: &settings::Registration) -> Self {
        let secrets = Secrets::connect(&settings.aws);
        let tokens = Tokens::delegated(
            settings.client.clone(),
            &settings.entra,
            settings.partner_tenant,
            entra::PARTNER_CENTER_WEBHOOKS,
            secrets,
            settings.partner_center_secret.as_str(),
        );
        Self::new(Http::new(
            Vendor::PartnerCenterWebhooks,
            settings.client.clone(),
            settings.partner_center_webhooks.clone(),
            tokens,
            Budget::unlimited(),
            Limits::default(),
        ))
    }

    /// The same API within the deadline of a run, which also notes the calls.
    #[must_use]
    pub fn during(&self, run: &Run) -> Self {
        let http = self.http.during(run);
        Self { http }
    }

    /// What is registered; none when nothing is. Without a registration the service answers 404, 400 or emptily.
    ///
    /// # Errors
    /// When the service does not answer, refuses, or answers with something else.
    pub async fn read(&self) -> Result<Option<Registration>, Error> {
        let answer = match self
            .send(self.request("reading the registration", Method::GET, "", Effect::Nothing)?)
            .await
        {
            Ok(answer) => answer,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if answer.is_empty() {
            return Ok(None);
        }
        let found: Option<Found> = insensitive(&answer)?;
        Ok(found.and_then(Found::into_registration))
    }

    /// Registers where nothing is registered.
    ///
    /// # Errors
    /// When the service does not answer or refuses for another reason than a registration that exists.
    pub async fn create(&self, registration: &Registration) -> Result<Written, Error> {
        // Guarded: the second time it is refused, because a tenant has one registration.
        let request = self.request("registering the webhook", Method::POST, "", Effect::Guarded)?;
        self.write(request, registration).await
    }

    /// Replaces the registration, all of it.
    ///
    /// # Errors
    /// When the service does not answer or refuses for another reason than a registration that is missing.
    pub async fn replace(&self, registration: &Registration) -> Result<Written, Error> {
        let request = self.request("replacing the registration", Method::PUT, "", Effect::Guarded)?;
        self.write(request, registration).await
    }

    async fn write(&self, request: Request, registration: &Registration) -> Result<Written, Error> {
        match self.send(request.json(JSON, registration)?).await {
            Ok(_) => Ok(Written::Done),
            Err(error) if is_absence(&error) || is_conflict(&error) => Ok(Written::OtherWay(error)),
            Err(error) => Err(error),
        }
    }

    /// Names of all events that can be registered.
    ///
    /// # Errors
    /// As [`RegistrationApi::read`].
    pub async fn events(&self) -> Result<Vec<String>, Error> {
        let request = self.request("listing events", Method::GET, "/events", Effect::Nothing)?;
        Ok(self.send(request).await?.decode()?)
    }

    /// Asks for a test event; the answer names it. The service allows two a minute, so it is not repeated on a doubt.
    ///
    /// # Errors
    /// As [`RegistrationApi::read`].
    pub async fn validate(&self) -> Result<Uuid, Error> {
        #[derive(Deserialize)]
        struct Asked {
            correlationid: Uuid,
        }
        let request = self.request(
            "asking for a test event",
            Method::POST,
            "/validationEvents",
            Effect::Adds,
        )?;
        let answer = self.send(request.empty()).await?;
        Ok(insensitive::<Asked>(&answer)?.correlationid)
    }

    /// What became of a test event so far; none when the service does not know it yet.
    ///
    /// # Errors
    /// As [`RegistrationApi::read`].
    pub async fn validation_result(&self, id: Uuid) -> Result<Option<Delivery>, Error> {
        let path = format!("/validationEvents/{id}");
        let request = self.request("reading a test event's result", Method::GET, &path, Effect::Nothing)?;
        match self.send(request).await {
            Ok(answer) => Ok(Some(insensitive::<Outcome>(&answer)?.into_delivery())),
            Err(Error::Http(error)) if error.has_status(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn request(
        &self,
        operation: &'static str,
        method: Method,
        path: &str,
        effect: Effect,
    ) -> Result<Request, http::Error> {
        let url = self.http.url(&format!("{PATH}{path}"))?;
        Ok(Request::new(operation, method, url, effect)
            .guid(REQUEST_ID)
            .guid(CORRELATION_ID))
    }

    async fn send(&self, request: Request) -> Result<Answer, Error> {
        self.http.send(request).await.map_err(|error| {
            if error.has_status(StatusCode::FORBIDDEN) {
                Error::RoleMissing(error)
            } else {
                error.into()
            }
        })
    }
}

fn is_absence(error: &Error) -> bool {
    let absent = [StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST];
    matches!(error, Error::Http(error) if absent.iter().any(|status| error.has_status(*status)))
}

fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Http(error) if error.has_status(StatusCode::CONFLICT))
}

/// A registration as it is shown: everything may be absent, and the flag may be text.
#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    webhookurl: Option<String>,
    #[serde(default)]
    webhookevents: Option<Vec<String>>,
    #[serde(default, deserialize_with = "flag")]
    signaturetokentomssignatureheader: bool,
}

impl Found {
    fn into_registration(self) -> Option<Registration> {
        let webhook_url = self.webhookurl.filter(|url| !url.trim().is_empty())?;
        Some(Registration {
            webhook_url,
            webhook_events: self.webhookevents.unwrap_or_default(),
            signature_in_own_header: self.signaturetokentomssignatureheader,
        })
    }
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    callbackurl: Option<String>,
    #[serde(default)]
    results: Option<Vec<Value>>,
}

impl Outcome {
    fn into_delivery(self) -> Delivery {
        let attempts = self.results.unwrap_or_default();
        Delivery {
            status: self.status.as_deref().map(told).unwrap_or_default(),
            url: self.callbackurl.as_deref().map(told),
            attempts: attempts.into_iter().map(attempt).collect(),
        }
    }
}

/// What is passed on of a text that the service gives.
fn told(text: &str) -> String {
    text.chars().take(MOST_TOLD).collect()
}

fn attempt(result: Value) -> Attempt {
    let Value::Object(result) = lower_case(result) else {
        return Attempt {
            response_code: String::new(),
            response_message: String::new(),
        };
    };
    let text = |name: &str| match result.get(name) {
        Some(Value::String(text)) => told(text),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    Attempt {
        response_code: text("responsecode"),
        response_message: text("responsemessage"),
    }
}

/// The Power Automate connector types the flag as text, so both forms may come back.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(flag) => Ok(flag),
        Value::Null => Ok(false),
        Value::String(text) => Ok(text.eq_ignore_ascii_case("true")),
        other => Err(D::Error::custom(format!("{other} is no flag"))),
    }
}

/// Reads an object whatever the case of its members: prose and reference of this API disagree.
fn insensitive<T: DeserializeOwned>(answer: &Answer) -> Result<T, http::Error> {
    let value: Value = answer.decode()?;
    http::decode(answer.operation(), lower_case(value).to_string().as_bytes())
}

fn lower_case(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value));
            Value::Object(members.collect::<Map<_, _>>())
        }
        value => value,
    }
}

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod tests;
