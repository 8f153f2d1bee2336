//! Finds what changed, and brings one deal after the other into step.
//!
//! Knows Lambda's events: batches of the queue, runs of the schedule, commands of an operator. Refuses to decide anything
//! about a deal. Guarantees: a message is finished only when what it asked for was done or written down; messages of one
//! deal are taken in order; no work is begun that could not be recorded any more.

mod commands;
mod event;
#[cfg(test)]
mod foreign;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use connector::connector::Connector;
use connector::driver::{Look, Looked, Writes};
use connector::http::{Deadline, Run, Tally};
use connector::poll::Tick;
use cosell::fault::{Class, Fault};
use cosell::finding::Code;
use cosell::hint::{Cause, Hint};
use cosell::link::Outcome;
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use telemetry::{Function, Invocation, Metric};

pub use self::event::{Command, Event, InvalidEvent, Poll};

/// Kept back from the invocation's time to write down what was done.
const RESERVE: Duration = Duration::from_secs(5);

/// A deal is not begun when less than this is left: a look takes a handful of calls.
const LEAST: Duration = Duration::from_secs(3);

/// Why an invocation failed; Lambda shows it with its code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The event is none of ours.
    #[error(transparent)]
    Event(#[from] InvalidEvent),
    /// A run or command could not do its work.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The answer could not be written.
    #[error("the answer cannot be written as JSON")]
    Answer(#[from] serde_json::Error),
}

impl Error {
    /// A bounded name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Event(_) => "invalid_event",
            Self::Fault(fault) => fault.code,
            Self::Answer(_) => "invalid_answer",
        }
    }

    /// Whether an order was refused, which is no failure of ours.
    fn is_refusal(&self) -> bool {
        self.code() == commands::REFUSED
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self {
            error_type: error.code().to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// Serves invocations until Lambda ends the process.
///
/// # Errors
/// When the Runtime API is gone.
pub async fn run(connector: Connector) -> Result<(), lambda_runtime::Error> {
    let connector = &connector;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let left = Duration::from_millis(
            event
                .context
                .deadline
                .saturating_sub(u64::try_from(now().as_millisecond()).unwrap_or_default()),
        );
        let run = Run::new(Deadline::after(left.saturating_sub(RESERVE)));
        // Boxed: the state of everything below would make the compiler's type of this future too deep.
        Box::pin(handle(connector, event.payload, &event.context.request_id, &run))
            .await
            .map_err(Diagnostic::from)
    }))
    .await
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is where the function takes its time from"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Handles one invocation.
///
/// # Errors
/// When the event is none of ours, or its work could not be done. Failures of single messages are in the answer instead.
pub async fn handle(connector: &Connector, payload: Value, request: &str, run: &Run) -> Result<Value, Error> {
    let started = Instant::now();
    let mut counted = Counted::default();
    let result = match Event::read(payload) {
        Ok(event) => Box::pin(dispatch(connector, event, request, run, &mut counted)).await,
        Err(error) => Err(error.into()),
    };
    let outcome = match &result {
        Ok(_) => counted.outcome,
        Err(error) => {
            if error.is_refusal() {
                // Whoever gave the order is told why; the words may be a customer's.
                tracing::warn!(outcome = error.code(), "an order was refused");
            } else {
                tracing::error!(outcome = error.code(), %error, "the invocation failed");
            }
            counted.failed(error);
            error.code()
        }
    };
    Invocation {
        function: Function::Sync,
        outcome,
        key: Some(request),
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        counters: &counted.counters(run.tally()),
    }
    .emit(now());
    result
}

/// What an invocation did.
struct Counted {
    outcome: &'static str,
    by: BTreeMap<Outcome, u64>,
    drifted: u64,
    writes: Writes,
    overruled: u64,
    lag_ms: u64,
    hinted: u64,
    returned: u64,
    fatal: u64,
    is_run: bool,
    /// What is measured by a run. It is told when it is zero, too: an alarm recovers by that.
    gauges: Vec<(Metric, u64)>,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            outcome: "done",
            by: BTreeMap::new(),
            drifted: 0,
            writes: Writes::default(),
            overruled: 0,
            lag_ms: 0,
            hinted: 0,
            returned: 0,
            fatal: 0,
            is_run: false,
            gauges: Vec::new(),
        }
    }
}

impl Counted {
    fn looked(&mut self, looked: &Looked, hint: &Hint) {
        let report = &looked.report;
        *self.by.entry(report.outcome).or_default() += 1;
        self.writes += looked.writes;
        self.fatal += u64::from(report.fault.as_ref().is_some_and(is_fatal));
        let conflicts = report
            .findings
            .iter()
            .filter(|finding| finding.code == Code::Conflict)
            .count();
        self.overruled += u64::try_from(conflicts).unwrap_or(u64::MAX);
        if report.outcome != Outcome::Written {
            return;
        }
        if hint.cause == Cause::Compare {
            self.drifted += 1;
        }
        // How long the slowest change of the batch took from being made to being on the other side.
        let lag = hint.changed_at.map(|at| now().duration_since(at).as_millis());
        self.lag_ms = self
            .lag_ms
            .max(lag.and_then(|lag| u64::try_from(lag).ok()).unwrap_or_default());
    }

    /// The fault that ended an invocation; that of a look is counted already.
    fn failed(&mut self, error: &Error) {
        if self.fatal == 0 && matches!(error, Error::Fault(fault) if is_fatal(fault)) {
            self.fatal = 1;
        }
    }

    fn of(&self, outcome: Outcome) -> u64 {
        self.by.get(&outcome).copied().unwrap_or_default()
    }

    fn counters(&self, tally: Tally) -> Vec<(Metric, u64)> {
        let mut counters = [
            (Metric::DealsReconciled, self.by.values().sum()),
            (Metric::Echoes, self.of(Outcome::Echo)),
            (Metric::DealsParked, self.of(Outcome::Parked)),
            (Metric::DealsDue, self.of(Outcome::Due)),
            (Metric::DealsDrifted, self.drifted),
            (Metric::ValuesOverruled, self.overruled),
            (Metric::LagMilliseconds, self.lag_ms),
            (
                Metric::VendorWrites,
                self.writes.toward_dynamics + self.writes.toward_partner_center,
            ),
            (Metric::WritesTowardDynamics, self.writes.toward_dynamics),
            (Metric::WritesTowardPartnerCenter, self.writes.toward_partner_center),
            (Metric::VendorCalls, tally.calls),
            (Metric::VendorThrottles, tally.throttles),
            (Metric::VendorRefusals, tally.refusals),
            (Metric::VendorFailures, tally.failures),
            (Metric::HintsQueued, self.hinted),
            (Metric::MessagesReturned, self.returned),
            (Metric::FatalFaults, self.fatal),
        ]
        .into_iter()
        .filter(|(metric, value)| match metric {
            Metric::DealsReconciled => true,
            // Only runs come by themselves, so it is they that tell an alarm that all is well again.
            Metric::FatalFaults => *value > 0 || self.is_run,
            _ => *value > 0,
        })
        .collect::<Vec<_>>();
        counters.extend(&self.gauges);
        counters
    }
}

async fn dispatch(
    connector: &Connector,
    event: Event,
    request: &str,
    run: &Run,
    counted: &mut Counted,
) -> Result<Value, Error> {
    match event {
        Event::Messages(messages) => {
            let failures = take_messages(connector, messages, run, counted).await;
            counted.outcome = if failures.is_empty() { "batch" } else { "batch_partly" };
            let mut answer = SqsBatchResponse::default();
            answer.batch_item_failures = failures;
            Ok(serde_json::to_value(answer)?)
        }
        Event::Run(poll) => {
            let tick = Tick {
                name: request,
                now: now(),
                run,
            };
            counted.is_run = true;
            let polled = among_all(connector, async {
                match poll {
                    Poll::Dynamics => connector.poll_dynamics(tick).await,
                    Poll::PartnerCenter => connector.poll_partner_center(tick).await,
                    Poll::Compare => connector.compare(tick).await,
                }
            })
            .await;
            // Also, and above all, when the run failed.
            counted.gauges = measure(connector, poll, tick.now).await;
            let polled = polled?;
            counted.outcome = "polled";
            counted.hinted = polled.hinted;
            Ok(serde_json::to_value(polled)?)
        }
        Event::Command(command) => {
            counted.outcome = "command";
            let obeyed = Box::pin(commands::obey(connector, command, request, run, counted));
            among_all(connector, obeyed).await
        }
    }
}

/// Work that calls the vendors, as one worker of many: it leaves alone whom the others leave alone, and tells them whom it
/// has found closed.
async fn among_all<T>(connector: &Connector, work: impl Future<Output = T>) -> T {
    connector.heed_breakers(now()).await;
    let result = work.await;
    connector.tell_breakers(now()).await;
    result
}

/// What a run measures besides its work. What cannot be measured is left out: the run itself has not failed by that.
async fn measure(connector: &Connector, poll: Poll, now: Timestamp) -> Vec<(Metric, u64)> {
    let mut gauges = Vec::new();
    let seconds = |age: SignedDuration| u64::try_from(age.as_secs()).unwrap_or_default();
    match poll {
        Poll::Dynamics => {
            let age = measured("the age of Dynamics' cursor", connector.dynamics_cursor_age(now).await).flatten();
            gauges.extend(age.map(|age| (Metric::DynamicsCursorAgeSeconds, seconds(age))));
        }
        Poll::PartnerCenter => {
            if let Some(waiting) = measured("how many deals wait", connector.waiting(now).await) {
                gauges.push((Metric::DealsNeedingAttention, waiting.for_a_person));
                gauges.push((Metric::DealsOverdue, waiting.overdue));
            }
            let age = measured("the refresh token's age", connector.refresh_token_age(now).await).flatten();
            gauges.extend(age.map(|age| (Metric::RefreshTokenAgeSeconds, seconds(age))));
        }
        Poll::Compare => {}
    }
    gauges
}

fn measured<T>(what: &'static str, result: Result<T, Fault>) -> Option<T> {
    result
        .inspect_err(|fault| tracing::warn!(code = fault.code, error = %fault, "{what} cannot be told"))
        .ok()
}

fn is_fatal(fault: &Fault) -> bool {
    fault.class == Class::Fatal
}

/// Takes the messages group by group, in order; returns those that have to come again.
///
/// In a FIFO queue a failed message holds back what follows it in its group, so the rest of the group is named too
/// (AWS, "Handling errors for an SQS event source").
async fn take_messages(
    connector: &Connector,
    messages: Vec<SqsMessage>,
    run: &Run,
    counted: &mut Counted,
) -> Vec<BatchItemFailure> {
    let mut held_back: Vec<String> = Vec::new();
    let mut failures = Vec::new();
    for message in messages {
        let group = message.attributes.get("MessageGroupId").cloned().unwrap_or_default();
        let id = message.message_id.clone().unwrap_or_default();
        let done = !held_back.contains(&group)
            && run.deadline().left() >= LEAST
            && among_all(connector, take_message(connector, &message, &id, run, counted)).await;
        if !done {
            held_back.push(group);
            counted.returned += 1;
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failures.push(failure);
        }
    }
    failures
}

/// Whether the message is finished.
async fn take_message(connector: &Connector, message: &SqsMessage, id: &str, run: &Run, counted: &mut Counted) -> bool {
    let hint = match Hint::from_json(message.body.as_deref().unwrap_or_default()) {
        Ok(hint) => hint,
        Err(error) => {
            // Poison: it comes back until the queue moves it to the dead letters, where a person looks at it.
            tracing::error!(outcome = "poison", message.id = id, %error, "a queue message is not a hint");
            return false;
        }
    };
    let began = Instant::now();
    let look = Look {
        hint: hint.clone(),
        trace: id.to_owned(),
        now: now(),
    };
    let looked = connector.reconcile(look, run).await;
    counted.looked(&looked, &hint);
    let report = &looked.report;
    let findings: Vec<&str> = report.findings.iter().map(|finding| finding.code.as_str()).collect();
    let fault = report.fault.as_ref().map(|fault| fault.code);
    let line = format!("{} looked at: {}", hint.subject, report.outcome);
    let findings = findings.join(",");
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let link = report.link.map(|link| link.to_string());
    let outcome = report.outcome.as_str();
    let cause = hint.cause.to_string();
    match report.fault.as_ref().map(|fault| fault.class) {
        Some(Class::Fatal) => {
            tracing::error!(
                delivery.key = id,
                link,
                cause,
                outcome,
                findings,
                fault,
                duration_ms,
                "{line}"
            );
        }
        Some(Class::Transient { .. } | Class::Conflict | Class::Permanent) => {
            tracing::warn!(
                delivery.key = id,
                link,
                cause,
                outcome,
                findings,
                fault,
                duration_ms,
                "{line}"
            );
        }
        None => tracing::info!(delivery.key = id, link, cause, outcome, findings, duration_ms, "{line}"),
    }
    !report.again
}
