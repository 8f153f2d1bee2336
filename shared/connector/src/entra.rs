//! Access tokens from Microsoft Entra.
//!
//! Knows the two grants we use, which audience each remote wants, when a token is renewed and how a rotated refresh token
//! is stored back. Refuses to know what a token is used for. Guarantees: however many callers need a token, one request
//! is made; a token is never printed; a rotated refresh token never replaces a newer one.

use std::time::Duration;

use cosell::fault::Class;
use cosell::ids::TenantId;
use jiff::{SignedDuration, Timestamp};
use reqwest::{StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::http::{Run, named_wait};
use crate::secrets::{self, Rotation, Secrets};
use crate::settings::Endpoint;

/// Audience of the Referrals API. It belongs to the API, not to the URL under which we reach it.
/// <https://learn.microsoft.com/partner-center/developer/api-authentication>
pub const PARTNER_CENTER: &str = "https://api.partner.microsoft.com";

/// Audience of the webhook registration API.
pub const PARTNER_CENTER_WEBHOOKS: &str = "https://api.partnercenter.microsoft.com";

/// Tokens are renewed this long before they lapse: longer than any invocation, so that none ends with a stale token.
const MARGIN: Duration = Duration::from_secs(300);

/// Entra answers in a fraction of a second; both attempts together stay within a short invocation.
const ATTEMPT: Duration = Duration::from_secs(8);

/// Before an attempt is repeated, and before a refresh token that was just refused is looked up again: another worker
/// that redeemed it needs a moment to store its successor.
const PAUSE: Duration = Duration::from_millis(500);

/// A refresh token is replaced by its successor when it is older than this. It lives for 90 days and redeeming does not
/// revoke it, while Secrets Manager keeps every version of the last day, a hundred at most, and asks for no more than one in
/// ten minutes. <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const ROTATION: SignedDuration = SignedDuration::from_hours(24);

/// A token answer is a few kilobytes.
const ANSWER_BYTES: usize = 256 * 1024;

/// How a token is asked for.
#[derive(Clone, Debug)]
enum Grant {
    /// With the refresh token of a person's sign-in, version 1 of the endpoint: the one that every sample for referrals
    /// uses, with `resource`.
    Delegated { resource: &'static str },
    /// For the application itself, version 2 of the endpoint, with `scope`.
    Application { scope: String },
}

/// Where the credential comes from.
#[derive(Debug)]
enum Source {
    /// From Secrets Manager, where a rotated refresh token goes back to.
    Stored { secrets: Secrets, id: String },
    /// From a person, who wants to know whether it works before it is stored. Nothing is written anywhere.
    Given(SecretString),
}

/// A version of the stored credential.
#[derive(Debug, Default)]
struct Version {
    name: String,
    /// Whether it is time for a successor.
    is_due: bool,
}

#[expect(
    clippy::disallowed_methods,
    reason = "Secrets Manager names a date, and only a clock turns it into an age"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// The tokens for one audience.
#[derive(Debug)]
pub struct Tokens {
    endpoint: TokenEndpoint,
    grant: Grant,
    source: Source,
    /// Held across a refresh, so that all who wait get the token that the first one fetches.
    cached: Mutex<Option<Bearer>>,
}

/// An access token.
#[derive(Clone, Debug)]
pub struct Bearer {
    secret: SecretString,
    renew_at: Instant,
}

impl Bearer {
    /// The token itself.
    #[must_use]
    pub const fn secret(&self) -> &SecretString {
        &self.secret
    }
}

impl Tokens {
    /// Tokens of a person, for one of Partner Center's audiences ([`PARTNER_CENTER`], [`PARTNER_CENTER_WEBHOOKS`]). The
    /// secret holds `client_id`, `client_secret` and `refresh_token`.
    #[must_use]
    pub fn delegated(
        client: reqwest::Client,
        entra: &Endpoint,
        tenant: TenantId,
        resource: &'static str,
        secrets: Secrets,
        secret_id: impl Into<String>,
    ) -> Self {
        let id = secret_id.into();
        let endpoint = TokenEndpoint::first_version(client, entra, tenant);
        Self::new(endpoint, Grant::Delegated { resource }, Source::Stored { secrets, id })
    }

    /// Tokens of the application itself, for a Dataverse environment. The secret holds `client_id` and `client_secret`.
    #[must_use]
    pub fn application(
        client: reqwest::Client,
        entra: &Endpoint,
        tenant: TenantId,
        dataverse: &Endpoint,
        secrets: Secrets,
        secret_id: impl Into<String>,
    ) -> Self {
        let id = secret_id.into();
        let scope = format!("{dataverse}/.default");
        let endpoint = TokenEndpoint::second_version(client, entra, tenant);
        Self::new(endpoint, Grant::Application { scope }, Source::Stored { secrets, id })
    }

    /// The same with a credential that is not stored yet: JSON as it would stand in the secret.
    #[must_use]
    pub fn application_with(
        client: reqwest::Client,
        entra: &Endpoint,
        tenant: TenantId,
        dataverse: &Endpoint,
        credential: SecretString,
    ) -> Self {
        let scope = format!("{dataverse}/.default");
        let endpoint = TokenEndpoint::second_version(client, entra, tenant);
        Self::new(endpoint, Grant::Application { scope }, Source::Given(credential))
    }

    fn new(endpoint: TokenEndpoint, grant: Grant, source: Source) -> Self {
        Self {
            endpoint,
            grant,
            source,
            cached: Mutex::new(None),
        }
    }

    /// The current token, fetched if there is none or the one there is about to lapse.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn bearer(&self, run: &Run) -> Result<Bearer, Error> {
        let mut cached = self.cached.lock().await;
        if let Some(bearer) = cached.as_ref()
            && Instant::now() < bearer.renew_at
        {
            return Ok(bearer.clone());
        }
        // Boxed: it happens once an hour, and the SDK's futures inside are large and deeply nested.
        let bearer = Box::pin(self.fetch(run)).await?;
        *cached = Some(bearer.clone());
        Ok(bearer)
    }

    /// Drops a token that a remote refused, unless another caller has already replaced it.
    pub(crate) async fn forget(&self, refused: &Bearer) {
        let mut cached = self.cached.lock().await;
        let is_current = |bearer: &Bearer| bearer.secret.expose_secret() == refused.secret.expose_secret();
        if cached.as_ref().is_some_and(is_current) {
            *cached = None;
        }
    }

    async fn fetch(&self, run: &Run) -> Result<Bearer, Error> {
        let (credential, version) = self.credential().await?;
        match self.redeem(&credential, run).await {
            Ok(granted) => Ok(self.keep(granted, credential, &version).await),
            Err(error) if error.is_grant_refused() => {
                // Another worker may have redeemed the token, or an operator may just have signed in again.
                pause(run).await;
                let (newer, newer_version) = self.credential().await?;
                if newer.refresh_token() == credential.refresh_token() {
                    return Err(error);
                }
                let granted = self.redeem(&newer, run).await?;
                Ok(self.keep(granted, newer, &newer_version).await)
            }
            Err(error) => Err(error),
        }
    }

    async fn credential(&self) -> Result<(Credential, Version), Error> {
        let is_delegated = matches!(self.grant, Grant::Delegated { .. });
        let (members, cure) = if is_delegated {
            (DELEGATED, "make consent ENV=...")
        } else {
            (APPLICATION, "make credentials ENV=...")
        };
        let (id, secret, version) = match &self.source {
            // Read anew each time: a renewed client secret then takes effect without a new deployment.
            Source::Stored { secrets, id } => {
                let secret = secrets.read(id).await.map_err(|error| match error {
                    secrets::Error::NoValue { id } => Error::SecretEmpty { id, members, cure },
                    error @ (secrets::Error::Call { .. } | secrets::Error::NoText { .. }) => Error::Secret(error),
                })?;
                let is_due = secret.age(now()).is_none_or(|age| age >= ROTATION);
                let name = secret.version;
                (id.as_str(), secret.value, Version { name, is_due })
            }
            Source::Given(value) => ("that was given", value.clone(), Version::default()),
        };
        let credential =
            Credential::parse(secret.expose_secret(), is_delegated).ok_or_else(|| Error::SecretIncomplete {
                id: id.to_owned(),
                members,
                cure,
            })?;
        Ok((credential, version))
    }

    /// Stores a rotated refresh token when its turn has come, and works out when to renew. A token that is not or cannot be
    /// stored is no failure: redeeming does not revoke the old one.
    async fn keep(&self, granted: Granted, credential: Credential, version: &Version) -> Bearer {
        if let Some(rotated) = granted.refresh_token
            && matches!(self.grant, Grant::Delegated { .. })
            && let Source::Stored { secrets, id } = &self.source
            && version.is_due
            && rotated.expose_secret() != credential.refresh_token()
        {
            let json = credential.with_refresh_token(rotated.expose_secret());
            match secrets.store_rotated(id, &version.name, &json).await {
                Ok(Rotation::Stored(_)) => tracing::debug!("the rotated refresh token was stored"),
                Ok(Rotation::Superseded(_)) => tracing::info!("another worker has stored a newer refresh token"),
                Err(error) => {
                    tracing::warn!(error = %crate::http::chain(&error), "the rotated refresh token could not be stored");
                }
            }
        }
        // Very short lifetimes, which tests use, would otherwise be over before they begin.
        let margin = MARGIN.min(granted.expires_in / 2);
        let lifetime = granted.expires_in.saturating_sub(margin);
        let renew_at = Instant::now().checked_add(lifetime).unwrap_or_else(Instant::now);
        Bearer {
            secret: granted.access_token,
            renew_at,
        }
    }

    /// Asks for a token, and once more after an outage of moments.
    async fn redeem(&self, credential: &Credential, run: &Run) -> Result<Granted, Error> {
        let form = self.form(credential);
        match self.endpoint.ask(&form, run).await {
            Err(error) if error.may_pass_at_once() && run.deadline().left() > PAUSE * 2 => {
                pause(run).await;
                self.endpoint.ask(&form, run).await
            }
            result => result,
        }
    }

    fn form(&self, credential: &Credential) -> SecretString {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("client_id", credential.member("client_id"));
        form.append_pair("client_secret", credential.member("client_secret"));
        match &self.grant {
            Grant::Delegated { resource } => form
                .append_pair("grant_type", "refresh_token")
                .append_pair("refresh_token", credential.refresh_token())
                .append_pair("resource", resource),
            Grant::Application { scope } => form
                .append_pair("grant_type", "client_credentials")
                .append_pair("scope", scope),
        };
        form.finish().into()
    }
}

/// The token endpoint of a tenant.
#[derive(Clone, Debug)]
pub struct TokenEndpoint {
    client: reqwest::Client,
    url: String,
}

impl TokenEndpoint {
    /// Version 1, which takes `resource`.
    #[must_use]
    pub fn first_version(client: reqwest::Client, entra: &Endpoint, tenant: TenantId) -> Self {
        let url = format!("{entra}/{tenant}/oauth2/token");
        Self { client, url }
    }

    /// Version 2, which takes `scope`.
    #[must_use]
    pub fn second_version(client: reqwest::Client, entra: &Endpoint, tenant: TenantId) -> Self {
        let url = format!("{entra}/{tenant}/oauth2/v2.0/token");
        Self { client, url }
    }

    /// Asks once, with a form as browsers send it.
    ///
    /// # Errors
    /// What Entra said instead of granting.
    pub async fn ask(&self, form: &SecretString, run: &Run) -> Result<Granted, Error> {
        let lost = |error: reqwest::Error| Error::Lost(error.without_url());
        let mut response = self
            .client
            .post(&self.url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .timeout(ATTEMPT.min(run.deadline().left()))
            .body(form.expose_secret().to_owned())
            .send()
            .await
            .map_err(lost)?;
        let status = response.status();
        let after = named_wait(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(Error::Unreadable);
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            // The parser's own words could repeat the token.
            return serde_json::from_slice(&body).map_err(|_| Error::Unreadable);
        }
        Err(Denial::read(status, after, &body).into_error())
    }
}

async fn pause(run: &Run) {
    tokio::time::sleep(PAUSE.min(run.deadline().left())).await;
}

/// What a secret must hold.
const DELEGATED: &str = "client_id, client_secret and refresh_token";
const APPLICATION: &str = "client_id and client_secret";

/// The content of a secret; members that are not ours are kept when it is stored back.
struct Credential(Map<String, Value>);

impl Credential {
    fn parse(json: &str, is_delegated: bool) -> Option<Self> {
        let credential = Self(serde_json::from_str(json).ok()?);
        let has = |name| !credential.member(name).is_empty();
        let is_complete = has("client_id") && has("client_secret") && (!is_delegated || has("refresh_token"));
        is_complete.then_some(credential)
    }

    fn member(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn refresh_token(&self) -> &str {
        self.member("refresh_token")
    }

    fn with_refresh_token(mut self, token: &str) -> SecretString {
        self.0.insert("refresh_token".to_owned(), token.into());
        Value::Object(self.0).to_string().into()
    }
}

/// A successful answer of the token endpoint.
#[derive(Debug, Deserialize)]
pub struct Granted {
    /// For the audience that was asked for.
    pub access_token: SecretString,
    /// How long the access token is good.
    #[serde(deserialize_with = "seconds")]
    pub expires_in: Duration,
    /// Version 1 leaves it out at times; then the old one stays.
    #[serde(default)]
    pub refresh_token: Option<SecretString>,
}

/// Version 1 prints numbers as strings, version 2 as numbers.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seconds {
        Number(u64),
        Text(String),
    }
    let seconds = match Seconds::deserialize(deserializer)? {
        Seconds::Number(seconds) => Some(seconds),
        Seconds::Text(text) => text.trim().parse().ok(),
    };
    let seconds = seconds.ok_or_else(|| serde::de::Error::custom("not a number of seconds"))?;
    Ok(Duration::from_secs(seconds))
}

/// An error of the token endpoint. Its description holds names of users, so only its numbers are kept.
/// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
struct Denial {
    status: StatusCode,
    after: Option<Duration>,
    error: String,
    numbers: String,
}

impl Denial {
    fn read(status: StatusCode, after: Option<Duration>, body: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        struct Body {
            #[serde(default)]
            error: String,
            #[serde(default)]
            error_codes: Vec<u64>,
        }
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let numbers: Vec<String> = body
            .error_codes
            .iter()
            .take(5)
            .map(|number| format!(" AADSTS{number}"))
            .collect();
        Self {
            status,
            after,
            error: body.error.chars().filter(|c| is_word(*c)).take(64).collect(),
            numbers: numbers.concat(),
        }
    }

    /// Told apart by `error`; the numbers are for people, as the vendor asks.
    fn into_error(self) -> Error {
        let status = self.status.as_u16();
        let said = format!(
            "{}{}",
            if self.error.is_empty() {
                "no reason"
            } else {
                &self.error
            },
            self.numbers
        );
        match self.error.as_str() {
            _ if status == 408 || status == 429 || status >= 500 => Error::Unavailable {
                status,
                after: self.after,
            },
            "temporarily_unavailable" => Error::Unavailable {
                status,
                after: self.after,
            },
            "invalid_grant" | "interaction_required" | "login_required" | "consent_required" => {
                Error::ConsentNeeded { said }
            }
            "invalid_client" => Error::ClientRefused { said },
            _ => Error::Refused { status, said },
        }
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Secrets Manager did not give the credential.
    #[error("the credential could not be read")]
    Secret(#[source] secrets::Error),
    /// Nothing was stored in the secret yet.
    #[error("the secret {id} holds no value yet; run `{cure}` to store {members}")]
    SecretEmpty {
        /// Its name.
        id: String,
        /// What it must hold.
        members: &'static str,
        /// The command that stores it.
        cure: &'static str,
    },
    /// The secret is not what it should be.
    #[error("the secret {id} must be JSON with {members}; run `{cure}` or store them")]
    SecretIncomplete {
        /// Its name.
        id: String,
        /// What it must hold.
        members: &'static str,
        /// The command that stores it.
        cure: &'static str,
    },
    /// A person has to sign in again.
    #[error(
        "Entra does not accept the stored sign-in ({said}); run `make consent ENV=...` and sign in with a second factor"
    )]
    ConsentNeeded {
        /// Entra's reason.
        said: String,
    },
    /// The client secret is wrong or has lapsed.
    #[error("Entra does not accept the client secret ({said}); make a new one and store it in the secret")]
    ClientRefused {
        /// Entra's reason.
        said: String,
    },
    /// Something else is set up wrongly.
    #[error("Entra refused with status {status} ({said}); check tenant, application and environment URL")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Entra's reason.
        said: String,
    },
    /// Entra is overloaded or out of order.
    #[error("Entra is not available, status {status}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// The wait it named.
        after: Option<Duration>,
    },
    /// No answer.
    #[error("no answer from Entra")]
    Lost(#[source] reqwest::Error),
    /// An answer that is no token.
    #[error("the answer of Entra is no token")]
    Unreadable,
}

impl Error {
    /// Who acts next.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Secret(error) => error.class(),
            Self::SecretEmpty { .. }
            | Self::SecretIncomplete { .. }
            | Self::ConsentNeeded { .. }
            | Self::ClientRefused { .. }
            | Self::Refused { .. } => Class::Fatal,
            Self::Unavailable { after, .. } => Class::Transient {
                after: after.and_then(|after| SignedDuration::try_from(after).ok()),
            },
            Self::Lost(_) | Self::Unreadable => Class::Transient { after: None },
        }
    }

    /// A bounded name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Secret(error) => error.code(),
            Self::SecretEmpty { .. } => "secret_empty",
            Self::SecretIncomplete { .. } => "secret_incomplete",
            Self::ConsentNeeded { .. } => "consent_needed",
            Self::ClientRefused { .. } => "client_secret_refused",
            Self::Refused { .. } => "entra_refused",
            Self::Unavailable { .. } => "entra_unavailable",
            Self::Lost(_) => "entra_unreachable",
            Self::Unreadable => "entra_unreadable",
        }
    }

    const fn is_grant_refused(&self) -> bool {
        matches!(self, Self::ConsentNeeded { .. })
    }

    /// Whether one more try after a moment makes sense: no wait was named.
    const fn may_pass_at_once(&self) -> bool {
        matches!(self, Self::Unavailable { after: None, .. } | Self::Lost(_))
    }
}

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod tests;
