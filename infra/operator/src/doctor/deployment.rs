//! What the deployment made: tables, queue, the webhook's registration; and whether everybody means the same time.
//!
//! Knows: how each is asked whether it is there. Refuses to know: what they are used for.

use aws_sdk_dynamodb as dynamodb;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_sqs as sqs;
use aws_types::SdkConfig;
use connector::http::{Deadline, Run, chain};
use connector::settings::public_webhook;
use registration::{Drift, Order, Outcome, Registrar, Report as Answer};

use super::needs;
use super::sheet::Sheet;
use crate::registration::{awaiting_consent, foreign, trouble, unexpected};
use crate::settings::Everything;
use crate::trouble::Trouble;

/// AWS and Entra refuse signatures and tokens beyond five minutes; a minute is a clock that is on its way there.
const SKEW_NOTED: i64 = 60;
const SKEW_BAD: i64 = 300;

pub(super) async fn tables(sheet: &mut Sheet, settings: &Everything, aws: Option<&SdkConfig>) {
    let ids = [
        (
            "links_table",
            "the table of links",
            &settings.links_table,
            "LINKS_TABLE",
        ),
        (
            "audit_table",
            "the table of audit records",
            &settings.audit_table,
            "AUDIT_TABLE",
        ),
    ];
    for (id, what, name, variable) in ids {
        let (Some(aws), Some(name)) = (aws, name) else {
            sheet.skipped(id, what, needs(aws, variable));
            continue;
        };
        sheet.looking(what);
        let answer = dynamodb::Client::new(aws)
            .describe_table()
            .table_name(name)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let status = answer.table().and_then(|table| table.table_status());
                if status == Some(&dynamodb::types::TableStatus::Active) {
                    sheet.good(id, &format!("{what} {name} is there"));
                } else {
                    let status = status.map_or("in an unknown state", |status| status.as_str());
                    let trouble = Trouble::new(
                        "table_not_active",
                        format!("{name} is {status}"),
                        "wait and run it again",
                    );
                    sheet.bad(id, what, trouble);
                }
            }
            Err(error) => sheet.bad(id, what, service(&error, name, "dynamodb:DescribeTable")),
        }
    }
}

pub(super) async fn queue(sheet: &mut Sheet, settings: &Everything, aws: Option<&SdkConfig>) {
    let (id, what) = ("queue", "the queue of hints");
    let (Some(aws), Some(url)) = (aws, &settings.queue) else {
        sheet.skipped(id, what, needs(aws, "QUEUE_URL"));
        return;
    };
    sheet.looking(what);
    let request = sqs::Client::new(aws).get_queue_attributes().queue_url(url.as_str());
    let request = request.attribute_names(sqs::types::QueueAttributeName::ApproximateNumberOfMessages);
    match request.send().await {
        Ok(answer) => {
            let attributes = answer.attributes();
            let waiting = attributes
                .and_then(|all| all.get(&sqs::types::QueueAttributeName::ApproximateNumberOfMessages))
                .map_or("an unknown number of", String::as_str);
            sheet.good(id, &format!("the queue is there, {waiting} hints are waiting"));
        }
        Err(error) => {
            let name = url.path().rsplit('/').next().unwrap_or_default();
            sheet.bad(id, what, service(&error, name, "sqs:GetQueueAttributes"));
        }
    }
}

/// What a service said, and what follows.
fn service<E>(error: &E, name: &str, permission: &str) -> Trouble
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code().unwrap_or_default();
    let message = match (code, error.message()) {
        ("", _) => format!("{name}: {}", chain(error)),
        (code, message) => format!("{name}: {code} {}", message.unwrap_or_default()),
    };
    if code.contains("NotFound") || code.contains("NonExistent") || code.contains("DoesNotExist") {
        let cure = "deploy (`make deploy ENV=...`), or check AWS_REGION, the AWS profile's account and the name in the settings";
        return Trouble::new("not_found", message, cure);
    }
    if code.contains("AccessDenied") || code.contains("NotAuthorized") {
        return Trouble::new(
            "denied",
            message,
            format!("ask for the AWS permission {permission} on it"),
        );
    }
    if code.contains("Token") || code.contains("Signature") || code.contains("UnrecognizedClient") {
        let cure = "the AWS credentials do not count: sign in again (`aws sso login`), and check the clock";
        return Trouble::new("aws_credentials_refused", message, cure);
    }
    Trouble::new(
        "aws_failed",
        message,
        "check that this machine reaches AWS, then run it again",
    )
}

/// Whether the tenant's one registration is ours and complete; the function's own library decides that. A dry run wants none.
pub(super) async fn registration(
    sheet: &mut Sheet,
    registrar: Result<Registrar, &str>,
    is_dry_run: bool,
    clock: &mut Clock,
) {
    let (id, what) = ("registration", "the webhook's registration");
    let registrar = match registrar {
        Ok(registrar) => registrar,
        Err(needs) => {
            sheet.skipped(id, what, needs);
            return;
        }
    };
    sheet.looking(what);
    let run = Run::new(Deadline::NEVER);
    let answer = registrar.carry_out(Order::inspect(), &run).await;
    clock.hear("the webhook registration", &run);
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            sheet.bad(id, what, trouble(&error));
            return;
        }
    };
    match judged(&answer) {
        Ok(()) => sheet.good(id, "the webhook is registered, with all events"),
        Err(trouble) if is_dry_run && answer.done.outcome == Outcome::Drifted => {
            let text = format!("a dry run leaves the registration alone: {}", trouble.message);
            sheet.noted(
                id,
                &text,
                "nothing is to be done before `dry_run = false` is deployed; the polls find what changes",
            );
        }
        Err(trouble) => sheet.bad(id, what, trouble),
    }
}

/// What an inspection found, and what follows.
fn judged(answer: &Answer) -> Result<(), Trouble> {
    let register = "run `make register ENV=...`; every `make deploy ENV=...` does it as well, as its last step";
    match answer.done.outcome {
        Outcome::InStep => return Ok(()),
        Outcome::AwaitingConsent => return Err(awaiting_consent()),
        Outcome::Drifted => {}
        outcome @ (Outcome::Created
        | Outcome::Repaired
        | Outcome::Replaced
        | Outcome::Moved
        | Outcome::Delivered
        | Outcome::Undelivered
        | Outcome::Undecided) => return Err(unexpected(outcome)),
    }
    let Some(found) = &answer.found else {
        return Err(Trouble::new("not_registered", "nothing is registered", register));
    };
    let [found, desired] = [found, &answer.desired].map(|shown| public_webhook(&shown.webhook_url));
    if answer.is_moved {
        let message = format!("{found} is registered, an earlier address of this deployment's {desired}");
        return Err(Trouble::new("registration_moved", message, register));
    }
    let mut lacks = Vec::new();
    for drift in &answer.done.drift {
        match drift {
            Drift::AnotherUrl => return Err(foreign(&found, &desired)),
            Drift::EventsMissing(events) => lacks.push(events.join(", ")),
            Drift::SignatureInAuthorization => lacks.push("the signature in a header of its own".to_owned()),
            Drift::NothingRegistered => {}
        }
    }
    let message = format!("the registration lacks {}", lacks.join(" and "));
    Err(Trouble::new("registration_drifted", message, register))
}

/// How far this machine's clock is from those of the vendors.
#[derive(Default)]
pub(super) struct Clock {
    /// Seconds by which ours is ahead, and of whom.
    skews: Vec<(&'static str, i64)>,
}

impl Clock {
    /// Notes what the last answer of a run said the time was.
    pub(super) fn hear(&mut self, whom: &'static str, run: &Run) {
        #[expect(clippy::disallowed_methods, reason = "the clock itself is what is examined here")]
        let now = std::time::SystemTime::now();
        let theirs = run
            .vendors_date()
            .and_then(|date| httpdate::parse_http_date(&date).ok());
        let seconds = |time: std::time::SystemTime| {
            let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        };
        if let (Some(theirs), Some(now)) = (theirs.and_then(seconds), seconds(now)) {
            self.skews.push((whom, now - theirs));
        }
    }

    pub(super) fn judge(&self, sheet: &mut Sheet) {
        let (id, what) = ("clock", "this machine's clock");
        let worst = self.skews.iter().max_by_key(|(_, skew)| skew.abs());
        let Some((whom, skew)) = worst else {
            sheet.skipped(id, what, "an answer of a vendor");
            return;
        };
        let direction = if *skew > 0 { "ahead of" } else { "behind" };
        let message = format!("{} s {direction} {whom}", skew.abs());
        let cure = "let the machine set its clock by itself (NTP); Lambda's own clock is right in any case";
        if skew.abs() > SKEW_BAD {
            sheet.bad(id, what, Trouble::new("clock_wrong", message, cure));
        } else if skew.abs() > SKEW_NOTED {
            sheet.noted(id, &format!("{what} is {message}"), cure);
        } else {
            sheet.good(id, &format!("{what} agrees with the vendors'"));
        }
    }
}
