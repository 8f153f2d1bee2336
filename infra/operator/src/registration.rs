//! `cosell register` and `cosell prove`: what the function `registration` does, from the admin's machine.
//!
//! Knows: how to say what came of an order. Refuses to know: when a registration may be written; the function's own
//! library decides that here as it does there. Guarantee: of an address only scheme, host, path and owner mark are shown,
//! since other products keep keys in its query.

use aws_types::SdkConfig;
use connector::http::{Deadline, Run};
use connector::registration_api::Delivery;
use connector::settings::{self, owner_mark, public_webhook};
use registration::{Drift, Error, Order, Outcome, Patience, Registrar, Report as Answer};
use serde_json::{Value, json};

use crate::arguments::{Prove, Register};
use crate::cloud;
use crate::command::{Context, Report};
use crate::screen::{Mark, seconds};
use crate::settings::Webhook;
use crate::trouble::Trouble;

pub(crate) async fn register(order: &Register, context: &Context<'_>) -> Result<Report, Trouble> {
    let screen = context.screen;
    let (settings, aws) = open("Registration of the webhook", context).await?;
    let address = public_webhook(settings.url.as_str());
    let registrar = registrar(settings, aws, context);
    screen.moving("comparing with Partner Center ...");
    let answer = registrar
        .carry_out(Order::register(order.overwrite), &Run::new(Deadline::NEVER))
        .await;
    screen.still();
    let answer = answer.map_err(|error| trouble(&error))?;
    let done = &answer.done;
    let replaced = done.replaced_url.as_deref().map(public_webhook);
    let what = match done.outcome {
        Outcome::InStep => "registered already, with all events; nothing was written".to_owned(),
        Outcome::Created => "nothing was registered; now the webhook is, and was read back".to_owned(),
        Outcome::Repaired => format!("the registration {}; it is complete now", shown_drift(&done.drift)),
        Outcome::Replaced => format!(
            "{} was registered and has been replaced: it gets no events any more",
            replaced.as_deref().unwrap_or("another address")
        ),
        Outcome::Moved => format!(
            "{}, an earlier address of this deployment, was replaced",
            replaced.as_deref().unwrap_or("another address")
        ),
        Outcome::AwaitingConsent => return Err(awaiting_consent()),
        Outcome::Drifted | Outcome::Delivered | Outcome::Undelivered | Outcome::Undecided => {
            return Err(unexpected(done.outcome));
        }
    };
    screen.marked(Mark::Good, &what);
    screen.next("`make ping ENV=...` shows that events arrive.");
    let mut document = document(&answer, &address);
    if let (Some(document), Some(replaced)) = (document.as_object_mut(), replaced) {
        document.insert("replaced".to_owned(), replaced.into());
    }
    Ok(Report {
        is_fine: true,
        document,
    })
}

pub(crate) async fn prove(_: &Prove, context: &Context<'_>) -> Result<Report, Trouble> {
    let screen = context.screen;
    let (settings, aws) = open("Proof of the webhook", context).await?;
    let address = public_webhook(settings.url.as_str());
    let registrar = registrar(settings, aws, context);
    let wait = seconds(Patience::default().at_most);
    screen.moving(&format!(
        "Partner Center sends a test event; waiting for its result, {wait} at most ..."
    ));
    let answer = registrar.carry_out(Order::prove(), &Run::new(Deadline::NEVER)).await;
    screen.still();
    let answer = answer.map_err(|error| trouble(&error))?;
    let done = &answer.done;
    let attempts = done.delivery.as_ref().map(attempts).unwrap_or_default();
    match done.outcome {
        Outcome::Delivered => {
            screen.marked(Mark::Good, &format!("the test event arrived ({attempts})"));
            if !done.drift.is_empty() {
                let text = format!("but the registration {}", shown_drift(&done.drift));
                screen.marked(Mark::Note, &text);
                screen.cure("run `make register ENV=...`, which completes it");
            }
            screen.next("share one test opportunity in the CRM and see it appear in Partner Center.");
            Ok(Report {
                is_fine: true,
                document: document(&answer, &address),
            })
        }
        Outcome::Undelivered => {
            let message = format!("Partner Center could not deliver the test event ({attempts})");
            Err(Trouble::new("undelivered", message, undelivered(&address)))
        }
        Outcome::Undecided => {
            let message = format!("after {wait} the test event is still under way ({attempts})");
            Err(Trouble::new(
                "undecided",
                message,
                format!(
                    "Partner Center goes on trying; run it again in a few minutes. If it stays, {}",
                    undelivered(&address)
                ),
            ))
        }
        Outcome::AwaitingConsent => Err(awaiting_consent()),
        Outcome::InStep
        | Outcome::Drifted
        | Outcome::Created
        | Outcome::Repaired
        | Outcome::Replaced
        | Outcome::Moved => Err(unexpected(done.outcome)),
    }
}

async fn open(heading: &str, context: &Context<'_>) -> Result<(Webhook, SdkConfig), Trouble> {
    let screen = context.screen;
    let settings = Webhook::load(&context.variables)?;
    let aws = cloud::connect(&context.variables, &context.client).await?;
    screen.heading(heading);
    screen.pair("Tenant", settings.account.tenant);
    screen.pair("Webhook", public_webhook(settings.url.as_str()));
    screen.gap();
    Ok((settings, aws))
}

pub(crate) fn registrar(settings: Webhook, aws: SdkConfig, context: &Context<'_>) -> Registrar {
    let settings = settings::Registration {
        entra: settings.account.entra,
        partner_tenant: settings.account.tenant,
        partner_center_webhooks: settings.webhooks,
        partner_center_secret: settings.account.secret,
        webhook_url: Some(settings.url),
        webhook_events: settings.events,
        aws,
        client: context.client.clone(),
    };
    Registrar::new(settings, Patience::default())
}

fn document(answer: &Answer, address: &str) -> Value {
    json!({
        "outcome": answer.done.outcome.code(),
        "webhook": address,
        "events": answer.desired.events,
        "found": answer.found.as_ref().map(|found| public_webhook(&found.webhook_url)),
        "differed": answer.done.drift,
        "delivery": answer.done.delivery,
    })
}

/// How a registration differed, as the end of a sentence about it.
fn shown_drift(drift: &[Drift]) -> String {
    let parts: Vec<String> = drift
        .iter()
        .map(|drift| match drift {
            Drift::NothingRegistered => "was missing".to_owned(),
            Drift::AnotherUrl => "led elsewhere".to_owned(),
            Drift::EventsMissing(events) => format!("lacked {}", events.join(", ")),
            Drift::SignatureInAuthorization => "lacked the signature in a header of its own".to_owned(),
        })
        .collect();
    parts.join(" and ")
}

/// What to do when an event does not arrive. The webhook takes POST only: a browser is answered 404 in any case.
fn undelivered(address: &str) -> String {
    format!(
        "try it without a signature: `curl -i -X POST '{address}'` answers 401 when the webhook is there. Then the log of \
         the function `webhook` says why it refused the event; if it answers anything else, deploy again (`make deploy \
         ENV=...`)"
    )
}

fn attempts(delivery: &Delivery) -> String {
    if delivery.attempts.is_empty() {
        return format!("status {}, no attempt so far", delivery.status);
    }
    let answers: Vec<&str> = delivery
        .attempts
        .iter()
        .map(|attempt| attempt.response_code.as_str())
        .collect();
    format!("the webhook answered {}", answers.join(", "))
}

pub(crate) fn awaiting_consent() -> Trouble {
    Trouble::new(
        "awaiting_consent",
        "nobody has signed in for Partner Center yet",
        "run `make consent ENV=...`, then this again",
    )
}

pub(crate) fn unexpected(outcome: Outcome) -> Trouble {
    Trouble::new(
        "unexpected",
        format!("the order ended as {}", outcome.code()),
        "this should not happen; please report it",
    )
}

pub(crate) fn trouble(error: &Error) -> Trouble {
    let (message, cure) = match error {
        Error::Api(error) if error.awaits_consent() => return awaiting_consent(),
        Error::Api(error) => return error.into(),
        Error::Foreign { found, desired } => return foreign(found, desired),
        Error::EventsUnknown(events) => (
            format!("Partner Center offers no event called {}", events.join(", ")),
            "correct WEBHOOK_EVENTS (`webhook_events` of the deployment)",
        ),
        Error::NotKept(drift) => (
            format!(
                "the registration was written and then read back different: it {}",
                shown_drift(drift)
            ),
            "another product may write it at the same time: find it, switch it off, and run this again",
        ),
        Error::NotRegistered(drift) => (
            format!("there is nothing to prove yet: the registration {}", shown_drift(drift)),
            "run `make register ENV=...` first",
        ),
        Error::Order(_) | Error::Member { .. } | Error::UrlUnknown => (
            connector::http::chain(error),
            "this should not happen; please report it",
        ),
    };
    Trouble::new(error.code(), message, cure)
}

/// Somebody else has the tenant's registration. Both addresses are public already.
pub(crate) fn foreign(found: &str, desired: &str) -> Trouble {
    let whose = environment_of(found, desired)
        .map(|environment| format!("; its owner mark is that of the environment {environment}"))
        .unwrap_or_default();
    Trouble::new(
        "foreign_registration",
        format!("{found} is registered, which is not this deployment's {desired}{whose}"),
        "a tenant has one registration, and this one belongs to another deployment or product. Leave it and stop here; or, if \
         it is the one to be replaced, switch that off and run `make register ENV=... ARGS=--overwrite`",
    )
}

/// The environment that a foreign owner mark names, if it is made as ours is: prefix, environment, fingerprint.
fn environment_of(found: &str, desired: &str) -> Option<String> {
    let parts = |url: &str| {
        let mark = owner_mark(url)?;
        let (rest, _) = mark.rsplit_once('-')?;
        let (prefix, environment) = rest.rsplit_once('-')?;
        Some((prefix.to_owned(), environment.to_owned()))
    };
    let ((prefix, environment), (our_prefix, ours)) = (parts(found)?, parts(desired)?);
    (prefix == our_prefix && environment != ours).then_some(environment)
}
