//! Looks after the webhook's registration at Partner Center: inspects it, puts it right, proves it with a test event.
//!
//! Knows what should be registered and when it may be written. Refuses to know tokens and paths. Guarantees: a
//! registration that leads elsewhere is replaced only on an explicit wish, or when its owner mark says that it is an
//! earlier address of this very deployment; the answer names what was replaced; nothing is written when nothing differs;
//! what was written is read back. A URL's query, in which other products carry keys, is in the answer to whoever may
//! invoke us and nowhere else: errors and logs name scheme, host, path and owner mark.
//!
//! The owner mark that counts is that of the settings, which only a deployment writes. One that comes with an order
//! proves nothing: whoever may invoke the staging function could claim production's.
//!
//! Caveat: a tenant has one registration and the service has no precondition for writing it, so between our read and our
//! write another product may write too. Reading back and the daily inspection find that.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use connector::http::{Deadline, Run, Tally, chain};
use connector::registration_api::{self, Delivery, Registration, RegistrationApi, TEST_EVENT, Written};
use connector::secrets::Secrets;
use connector::settings::{self, EventName, SettingsError, WebhookUrl, owner_mark, public_webhook};
use cosell::fault::Class;
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::{Function, Invocation, Metric};

/// Left for the answer and the log after the last call.
const RESERVE: Duration = Duration::from_secs(2);

/// How long the result of a test event is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two looks.
    pub every: Duration,
    /// In all. A delivery takes seconds; Partner Center's ten attempts may take longer than any function.
    pub at_most: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(2),
            at_most: Duration::from_secs(60),
        }
    }
}

/// What is asked of the function.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    action: Action,
    #[serde(default)]
    webhook_url: Option<String>,
    #[serde(default)]
    events: Option<Vec<String>>,
    #[serde(default)]
    overwrite: bool,
}

impl Order {
    /// To compare, and write nothing.
    #[must_use]
    pub const fn inspect() -> Self {
        Self::of(Action::Inspect, false)
    }

    /// To put the registration right; with `overwrite` somebody else's, too.
    #[must_use]
    pub const fn register(overwrite: bool) -> Self {
        Self::of(Action::Register, overwrite)
    }

    /// To show that events arrive.
    #[must_use]
    pub const fn prove() -> Self {
        Self::of(Action::Prove, false)
    }

    const fn of(action: Action, overwrite: bool) -> Self {
        Self {
            action,
            webhook_url: None,
            events: None,
            overwrite,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Inspect,
    Register,
    Prove,
}

/// What the function answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What should be registered.
    pub desired: Shown,
    /// What was registered when we looked, before anything was written.
    pub found: Option<Shown>,
    /// What came of it.
    pub done: Done,
    /// Whether what was found is an earlier address of this deployment, which is replaced without a wish. In `found` and
    /// `desired` already, and no part of the answer.
    #[serde(skip)]
    pub is_moved: bool,
}

/// A registration in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Where events go, with its query: not for logs.
    pub webhook_url: String,
    /// Which ones.
    pub events: Vec<String>,
    /// Whether the signature travels in a header of its own.
    pub signature_in_own_header: bool,
}

impl From<&Registration> for Shown {
    fn from(registration: &Registration) -> Self {
        Self {
            webhook_url: registration.webhook_url.clone(),
            events: registration.webhook_events.clone(),
            signature_in_own_header: registration.signature_in_own_header,
        }
    }
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// In one word.
    pub outcome: Outcome,
    /// How what was found differs from what is desired.
    pub drift: Vec<Drift>,
    /// The URL that was replaced: somebody else's, or an earlier one of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_url: Option<String>,
    /// What became of the test event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing differs; nothing was written.
    InStep,
    /// Something differs; nothing was written.
    Drifted,
    /// There was no registration; there is one now.
    Created,
    /// Our registration was incomplete; it is complete now.
    Repaired,
    /// Somebody else's registration was replaced.
    Replaced,
    /// An earlier address of this deployment was replaced.
    Moved,
    /// Nobody has signed in yet, so Partner Center was not asked. `make consent ENV=...` does it; then it goes on from here.
    AwaitingConsent,
    /// The test event arrived.
    Delivered,
    /// The test event did not arrive.
    Undelivered,
    /// The test event is still under way.
    Undecided,
}

impl Outcome {
    /// As it is written.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InStep => "in_step",
            Self::Drifted => "drifted",
            Self::Created => "created",
            Self::Repaired => "repaired",
            Self::Replaced => "replaced",
            Self::Moved => "moved",
            Self::AwaitingConsent => "awaiting_consent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Undecided => "undecided",
        }
    }

    const fn has_written(self) -> bool {
        matches!(self, Self::Created | Self::Repaired | Self::Replaced | Self::Moved)
    }

    /// Whether somebody should look.
    const fn is_trouble(self) -> bool {
        matches!(self, Self::Drifted | Self::Undelivered)
    }
}

/// A way in which a registration differs from what is desired. Events beyond the desired ones are no difference: they
/// may be another product's at the same address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// There is none.
    NothingRegistered,
    /// Events go elsewhere.
    AnotherUrl,
    /// These events are not delivered.
    EventsMissing(Vec<String>),
    /// The signature travels in `Authorization`.
    SignatureInAuthorization,
}

/// What is wrong with an event that is no order.
///
/// Its parser repeats the value at fault, which may be a URL with a key in it or as long as an event can be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOrder(String);

/// As much as names a member and what is expected of it.
const SAID: usize = 200;

impl From<serde_json::Error> for InvalidOrder {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        // What stands before an @ in a URL may be a password, what stands behind a question mark a key.
        let shown = if text.contains('@') {
            "a member is of the wrong type, or unknown"
        } else {
            text.split(['?', '#']).next().unwrap_or_default()
        };
        Self(shown.chars().take(SAID).collect())
    }
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The event is not an order.
    #[error("the event is no order; send {{\"action\": \"inspect\", \"register\" or \"prove\"}}")]
    Order(#[source] InvalidOrder),
    /// A value of the order is unusable.
    #[error("{member} {complaint}")]
    Member {
        /// Which.
        member: &'static str,
        /// What is wrong with it.
        complaint: &'static str,
    },
    /// Neither the event nor the settings name the webhook.
    #[error("no webhook to register; set WEBHOOK_URL or pass webhook_url")]
    UrlUnknown,
    /// The tenant's registration leads elsewhere.
    #[error(
        "{found} is registered, which is not {desired}: another product or another deployment has the tenant's only \
         registration; leave it and stop here, or, to take it over, pass \"overwrite\": true (`inspect` shows all of it)"
    )]
    Foreign {
        /// Where events go, without the query but with its owner mark.
        found: String,
        /// Where they should go, likewise.
        desired: String,
    },
    /// Partner Center does not know these events.
    #[error("Partner Center offers no event called {}", .0.join(", "))]
    EventsUnknown(Vec<String>),
    /// What was written is not what is there now.
    #[error("the registration was written and then read back different; another product may write it too")]
    NotKept(Vec<Drift>),
    /// There is nothing to prove.
    #[error("the webhook is not registered with {TEST_EVENT}; run the action register first")]
    NotRegistered(Vec<Drift>),
    /// The registration API.
    #[error(transparent)]
    Api(#[from] registration_api::Error),
}

impl Error {
    /// Who acts next.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Api(error) => error.class(),
            // Another product may write at this very moment.
            Self::NotKept(_) => Class::Conflict,
            Self::Order(_)
            | Self::Member { .. }
            | Self::UrlUnknown
            | Self::Foreign { .. }
            | Self::EventsUnknown(_)
            | Self::NotRegistered(_) => Class::Permanent,
        }
    }

    /// A bounded name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Order(_) | Self::Member { .. } => "order_invalid",
            Self::UrlUnknown => "webhook_url_unknown",
            Self::Foreign { .. } => "foreign_registration",
            Self::EventsUnknown(_) => "events_unknown",
            Self::NotKept(_) => "registration_not_kept",
            Self::NotRegistered(_) => "not_registered",
            Self::Api(error) => error.code(),
        }
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self {
            error_type: error.code().to_owned(),
            error_message: chain(&error),
        }
    }
}

/// The function with its client made.
#[derive(Debug)]
pub struct Registrar {
    api: RegistrationApi,
    secrets: Secrets,
    secret_id: String,
    url: Option<WebhookUrl>,
    events: Vec<EventName>,
    patience: Patience,
}

/// What is desired, resolved from order and settings.
struct Desired {
    url: WebhookUrl,
    /// This deployment's mark; none when the settings name none, or the order another one.
    owner: Option<String>,
    registration: Registration,
}

/// What a write will replace.
struct Replaced {
    url: String,
    /// It is an earlier address of this deployment.
    is_ours: bool,
}

impl Registrar {
    /// Reads the settings and makes the client; opens no connection.
    ///
    /// # Errors
    /// [`SettingsError`] naming every setting that is missing or unusable.
    pub fn start(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        Ok(Self::new(settings::Registration::load(lookup)?, Patience::default()))
    }

    /// The function with these settings.
    #[must_use]
    pub fn new(settings: settings::Registration, patience: Patience) -> Self {
        Self {
            api: RegistrationApi::connect(&settings),
            secrets: Secrets::connect(&settings.aws),
            secret_id: settings.partner_center_secret,
            url: settings.webhook_url,
            events: settings.webhook_events,
            patience,
        }
    }

    /// Carries out an order and leaves its canonical line and metric record.
    ///
    /// # Errors
    /// Why it was not carried out.
    pub async fn handle(&self, event: Value, deadline: Deadline, key: &str, now: Timestamp) -> Result<Report, Error> {
        let started = Instant::now();
        let run = Run::new(deadline);
        let order = serde_json::from_value::<Order>(event).map_err(|error| Error::Order(error.into()));
        let is_inspection = order.as_ref().is_ok_and(|order| order.action == Action::Inspect);
        let result = match order {
            Ok(order) => self.carry_out(order, &run).await,
            Err(error) => Err(error),
        };
        let outcome = match &result {
            Ok(report) if report.done.outcome.is_trouble() => {
                tracing::error!(
                    outcome = report.done.outcome.code(),
                    drift = ?report.done.drift,
                    "the webhook's registration needs a look"
                );
                report.done.outcome.code()
            }
            Ok(report) => report.done.outcome.code(),
            Err(error) => {
                tracing::error!(
                    outcome = error.code(),
                    error = chain(error),
                    "the order was not carried out"
                );
                error.code()
            }
        };
        let counters = self.counters(is_inspection, &result, run.tally(), now).await;
        Invocation {
            function: Function::Registration,
            outcome,
            key: Some(key),
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            counters: &counters,
        }
        .emit(now);
        result
    }

    /// What is counted and measured. An inspection comes every day by itself, so it is told there when it is zero, too: an
    /// alarm recovers by that.
    async fn counters(
        &self,
        is_inspection: bool,
        result: &Result<Report, Error>,
        tally: Tally,
        now: Timestamp,
    ) -> Vec<(Metric, u64)> {
        let outcome = result.as_ref().ok().map(|report| report.done.outcome);
        let is_fatal = result.as_ref().is_err_and(|error| error.class() == Class::Fatal);
        let mut counters = vec![
            (Metric::VendorCalls, tally.calls),
            (Metric::VendorThrottles, tally.throttles),
            (Metric::VendorRefusals, tally.refusals),
            (Metric::VendorFailures, tally.failures),
            (
                Metric::RegistrationsRepaired,
                outcome.is_some_and(Outcome::has_written).into(),
            ),
            (Metric::FatalFaults, is_fatal.into()),
        ];
        if !is_inspection {
            return counters;
        }
        if let Some(outcome) = outcome {
            counters.push((Metric::RegistrationsDrifted, (outcome == Outcome::Drifted).into()));
        }
        if outcome != Some(Outcome::AwaitingConsent) {
            counters.extend(self.refresh_token_age(now).await);
        }
        counters
    }

    /// Asked of Secrets Manager after the work, which may have renewed the token: the age is that of the version in force.
    async fn refresh_token_age(&self, now: Timestamp) -> Option<(Metric, u64)> {
        match self.secrets.read(&self.secret_id).await {
            Ok(secret) => {
                let seconds = u64::try_from(secret.age(now)?.as_secs()).unwrap_or_default();
                Some((Metric::RefreshTokenAgeSeconds, seconds))
            }
            Err(error) => {
                tracing::warn!(
                    code = error.code(),
                    error = chain(&error),
                    "the refresh token's age cannot be told"
                );
                None
            }
        }
    }

    /// Carries out an order for whoever tells of it in another way than a function does.
    ///
    /// # Errors
    /// Why it was not carried out.
    pub async fn carry_out(&self, order: Order, run: &Run) -> Result<Report, Error> {
        let desired = self.desired(&order)?;
        let api = self.api.during(run);
        let found = match api.read().await {
            // There is nothing yet to prove anything with; the other two are asked for by a first deployment, which must
            // not fail over what can only be done after it.
            Err(error) if error.awaits_consent() && order.action != Action::Prove => {
                return Ok(Report {
                    desired: Shown::from(&desired.registration),
                    found: None,
                    done: done(Outcome::AwaitingConsent, Vec::new()),
                    is_moved: false,
                });
            }
            read => read?,
        };
        let drift = desired.drift(found.as_ref());
        let done = match order.action {
            Action::Inspect => done(
                if drift.is_empty() {
                    Outcome::InStep
                } else {
                    Outcome::Drifted
                },
                drift,
            ),
            Action::Register if drift.is_empty() => done(Outcome::InStep, drift),
            Action::Register => register(&api, &desired, found.as_ref(), drift, order.overwrite).await?,
            Action::Prove => {
                self.prove(&api, &desired, found.as_ref(), drift, run.deadline())
                    .await?
            }
        };
        Ok(Report {
            desired: Shown::from(&desired.registration),
            found: found.as_ref().map(Shown::from),
            done,
            is_moved: found.is_some_and(|found| desired.is_earlier(&found)),
        })
    }

    fn desired(&self, order: &Order) -> Result<Desired, Error> {
        let member = |member| move |complaint| Error::Member { member, complaint };
        let url = match &order.webhook_url {
            Some(text) => WebhookUrl::parse(text).map_err(member("webhook_url"))?,
            None => self.url.clone().ok_or(Error::UrlUnknown)?,
        };
        let events = match &order.events {
            Some(names) => names
                .iter()
                .map(|name| EventName::parse(name))
                .collect::<Result<_, _>>()
                .map_err(member("events"))?,
            None => self.events.clone(),
        };
        let registration = Registration {
            webhook_url: url.as_str().to_owned(),
            webhook_events: events.iter().map(|name| name.as_str().to_owned()).collect(),
            signature_in_own_header: true,
        };
        let own = self.url.as_ref().and_then(WebhookUrl::owner);
        let owner = own.filter(|own| url.owner().as_ref() == Some(own));
        Ok(Desired {
            url,
            owner,
            registration,
        })
    }

    async fn prove(
        &self,
        api: &RegistrationApi,
        desired: &Desired,
        found: Option<&Registration>,
        drift: Vec<Drift>,
        deadline: Deadline,
    ) -> Result<Done, Error> {
        let is_ours = |found: &&Registration| desired.url.is_spelled(&found.webhook_url);
        let Some(found) = found.filter(is_ours).filter(|found| has_event(found, TEST_EVENT)) else {
            return Err(Error::NotRegistered(drift));
        };
        tracing::info!(events = found.webhook_events.len(), "asking for a test event");
        let id = api.validate().await?;
        let started = Instant::now();
        let delivery = loop {
            let delivery = api.validation_result(id).await?;
            let has_time = started.elapsed() < self.patience.at_most && deadline.left() > self.patience.every * 2;
            if delivery.as_ref().is_some_and(Delivery::is_over) || !has_time {
                break delivery;
            }
            tokio::time::sleep(self.patience.every).await;
        };
        let outcome = match &delivery {
            Some(delivery) if delivery.is_delivered() => Outcome::Delivered,
            Some(delivery) if delivery.is_over() => Outcome::Undelivered,
            _ => Outcome::Undecided,
        };
        Ok(Done {
            delivery,
            ..done(outcome, drift)
        })
    }
}

const fn done(outcome: Outcome, drift: Vec<Drift>) -> Done {
    Done {
        outcome,
        drift,
        replaced_url: None,
        delivery: None,
    }
}

impl Desired {
    fn drift(&self, found: Option<&Registration>) -> Vec<Drift> {
        let Some(found) = found else {
            return vec![Drift::NothingRegistered];
        };
        let mut drift = Vec::new();
        if !self.url.is_spelled(&found.webhook_url) {
            drift.push(Drift::AnotherUrl);
        }
        let events = self.registration.webhook_events.iter();
        let missing: Vec<String> = events.filter(|name| !has_event(found, name)).cloned().collect();
        if !missing.is_empty() {
            drift.push(Drift::EventsMissing(missing));
        }
        if !found.signature_in_own_header {
            drift.push(Drift::SignatureInAuthorization);
        }
        drift
    }

    /// What to write over what was found. At our own address the events of others stay; elsewhere they were never meant
    /// for us.
    fn over(&self, found: Option<&Registration>) -> Registration {
        let mut registration = self.registration.clone();
        if let Some(found) = found
            && self.url.is_spelled(&found.webhook_url)
        {
            let all: BTreeSet<String> = registration
                .webhook_events
                .drain(..)
                .chain(found.webhook_events.iter().cloned())
                .collect();
            registration.webhook_events = all.into_iter().collect();
        }
        registration
    }

    /// Whether it is an earlier address of this deployment.
    fn is_earlier(&self, found: &Registration) -> bool {
        let is_elsewhere = !self.url.is_spelled(&found.webhook_url);
        is_elsewhere && self.owner.is_some() && self.owner == owner_mark(&found.webhook_url)
    }

    /// Refuses to touch what is not ours, unless that is wished; says what would be replaced.
    fn foreign(&self, found: Option<&Registration>, overwrite: bool) -> Result<Option<Replaced>, Error> {
        let Some(found) = found.filter(|found| !self.url.is_spelled(&found.webhook_url)) else {
            return Ok(None);
        };
        let is_ours = self.is_earlier(found);
        if is_ours || overwrite {
            return Ok(Some(Replaced {
                url: found.webhook_url.clone(),
                is_ours,
            }));
        }
        Err(Error::Foreign {
            found: public_webhook(&found.webhook_url),
            desired: public_webhook(&self.registration.webhook_url),
        })
    }
}

fn has_event(registration: &Registration, name: &str) -> bool {
    registration
        .webhook_events
        .iter()
        .any(|event| event.eq_ignore_ascii_case(name))
}

async fn register(
    api: &RegistrationApi,
    desired: &Desired,
    found: Option<&Registration>,
    drift: Vec<Drift>,
    overwrite: bool,
) -> Result<Done, Error> {
    let mut replaced = desired.foreign(found, overwrite)?;
    check_events(api, &desired.registration).await?;
    let registration = desired.over(found);
    if found.is_some() {
        if let Written::OtherWay(refused) = api.replace(&registration).await?
            && let Written::OtherWay(_) = api.create(&registration).await?
        {
            return Err(refused.into());
        }
    } else if let Written::OtherWay(refused) = api.create(&registration).await? {
        // There may be one that we could not see. It is looked at once more before it is replaced.
        let seen = api.read().await?;
        if seen.is_none() && !overwrite {
            return Err(refused.into());
        }
        replaced = desired.foreign(seen.as_ref(), overwrite)?;
        if let Written::OtherWay(_) = api.replace(&desired.over(seen.as_ref())).await? {
            return Err(refused.into());
        }
    }
    let left = desired.drift(api.read().await?.as_ref());
    if !left.is_empty() {
        return Err(Error::NotKept(left));
    }
    let outcome = match (&replaced, found) {
        (Some(replaced), _) if replaced.is_ours => Outcome::Moved,
        (Some(_), _) => Outcome::Replaced,
        (None, Some(_)) => Outcome::Repaired,
        (None, None) => Outcome::Created,
    };
    tracing::info!(
        outcome = outcome.code(),
        replaced = replaced.as_ref().map(|replaced| public_webhook(&replaced.url)),
        "the webhook was registered"
    );
    Ok(Done {
        replaced_url: replaced.map(|replaced| replaced.url),
        ..done(outcome, drift)
    })
}

/// An unknown event would be refused with a bare 400; this names it.
async fn check_events(api: &RegistrationApi, registration: &Registration) -> Result<(), Error> {
    let offered = api.events().await?;
    let is_offered = |name: &&String| offered.iter().any(|event| event.eq_ignore_ascii_case(name));
    let unknown: Vec<String> = registration
        .webhook_events
        .iter()
        .filter(|name| !is_offered(name))
        .cloned()
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Error::EventsUnknown(unknown))
    }
}

/// Serves Lambda events until the sandbox ends.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn run(registrar: Registrar) -> Result<(), lambda_runtime::Error> {
    let registrar = &registrar;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        #[expect(clippy::disallowed_methods, reason = "this is where the function's clock is read")]
        let now = Timestamp::now();
        let ends_at = i64::try_from(event.context.deadline).ok();
        let ends_at = ends_at.and_then(|millisecond| Timestamp::from_millisecond(millisecond).ok());
        let left = ends_at.map_or(SignedDuration::ZERO, |ends_at| ends_at.duration_since(now));
        let left = Duration::try_from(left).unwrap_or_default().saturating_sub(RESERVE);
        registrar
            .handle(event.payload, Deadline::after(left), &event.context.request_id, now)
            .await
    }))
    .await
}

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod tests;
