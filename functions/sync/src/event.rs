//! The events that `sync` understands, told apart by what they carry.
//!
//! Guarantee: what is not understood is named, with what would be.

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use cosell::hint::Subject;
use serde_json::Value;

/// What an invocation asks for.
#[derive(Clone, Debug)]
pub enum Event {
    /// A batch of the queue.
    Messages(Vec<SqsMessage>),
    /// A run of the schedule.
    Run(Poll),
    /// A command of an operator.
    Command(Command),
}

/// The runs of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Opportunities that changed; deals that are due.
    Dynamics,
    /// Referrals that changed; deals that are due.
    PartnerCenter,
    /// Every link, once.
    Compare,
}

/// The commands of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Look at both sides of a deal now, and bring it into step.
    Resync(Subject),
    /// Show both sides, what they last agreed on, and what would be done.
    Show(Subject),
}

/// An event that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// No known shape.
    #[error(
        "the event has none of \"Records\" (a batch of the queue), \"run\" (poll-dynamics, poll-partner-center, \
         compare) and \"command\" (resync, show)"
    )]
    Unknown,
    /// A run that does not exist.
    #[error("there is no run {0:?}; known are poll-dynamics, poll-partner-center and compare")]
    Run(String),
    /// A command that does not exist.
    #[error("there is no command {0:?}; known are resync and show")]
    Command(String),
    /// A command without its record.
    #[error("{0} needs a \"referral\", an \"opportunity\" or a \"lead\", one of them, as a GUID: {1}")]
    Subject(&'static str, String),
    /// A batch that is not one.
    #[error("the batch of the queue cannot be read: {0}")]
    Batch(String),
}

impl Event {
    /// Reads an event.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn read(payload: Value) -> Result<Self, InvalidEvent> {
        if payload.get("Records").is_some() {
            let event: SqsEvent =
                serde_json::from_value(payload).map_err(|error| InvalidEvent::Batch(error.to_string()))?;
            return Ok(Self::Messages(event.records));
        }
        if let Some(run) = payload.get("run") {
            return match run.as_str() {
                Some("poll-dynamics") => Ok(Self::Run(Poll::Dynamics)),
                Some("poll-partner-center") => Ok(Self::Run(Poll::PartnerCenter)),
                Some("compare") => Ok(Self::Run(Poll::Compare)),
                _ => Err(InvalidEvent::Run(plain(run))),
            };
        }
        match payload.get("command").map(|command| (command, command.as_str())) {
            Some((_, Some("resync"))) => Ok(Self::Command(Command::Resync(subject("resync", &payload)?))),
            Some((_, Some("show"))) => Ok(Self::Command(Command::Show(subject("show", &payload)?))),
            Some((other, _)) => Err(InvalidEvent::Command(plain(other))),
            None => Err(InvalidEvent::Unknown),
        }
    }
}

fn subject(command: &'static str, payload: &Value) -> Result<Subject, InvalidEvent> {
    let invalid = |text: String| InvalidEvent::Subject(command, text);
    match (payload.get("referral"), payload.get("opportunity"), payload.get("lead")) {
        (Some(id), None, None) => text(id)
            .parse()
            .map(Subject::Referral)
            .map_err(|error| invalid(format!("{error}"))),
        (None, Some(id), None) => text(id)
            .parse()
            .map(Subject::Opportunity)
            .map_err(|error| invalid(format!("{error}"))),
        (None, None, Some(id)) => text(id)
            .parse()
            .map(Subject::Lead)
            .map_err(|error| invalid(format!("{error}"))),
        (Some(_), Some(_), None) => Err(invalid("both were given".to_owned())),
        (_, _, Some(_)) => Err(invalid("more than one was given".to_owned())),
        (None, None, None) => Err(invalid("none was given".to_owned())),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
        .chars()
        .take(64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_documented_event_is_read() {
        assert!(matches!(
            Event::read(json!({"run": "poll-dynamics"})),
            Ok(Event::Run(Poll::Dynamics))
        ));
        assert!(matches!(
            Event::read(json!({"run": "poll-partner-center"})),
            Ok(Event::Run(Poll::PartnerCenter))
        ));
        assert!(matches!(
            Event::read(json!({"run": "compare"})),
            Ok(Event::Run(Poll::Compare))
        ));
        let id = "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10";
        assert!(matches!(
            Event::read(json!({"command": "resync", "referral": id})),
            Ok(Event::Command(Command::Resync(Subject::Referral(_))))
        ));
        assert!(matches!(
            Event::read(json!({"command": "show", "opportunity": id})),
            Ok(Event::Command(Command::Show(Subject::Opportunity(_))))
        ));
        assert!(matches!(
            Event::read(json!({"command": "show", "lead": id})),
            Ok(Event::Command(Command::Show(Subject::Lead(_))))
        ));
        assert!(matches!(Event::read(json!({"Records": []})), Ok(Event::Messages(_))));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (payload, part) in [
            (json!({}), "Records"),
            (json!({"run": "walk"}), "walk"),
            (json!({"run": 3}), "3"),
            (json!({"command": "destroy"}), "destroy"),
            (json!({"command": "resync"}), "none was given"),
            (json!({"command": "show", "referral": "x"}), "\"x\""),
            (json!({"command": "show", "referral": "x", "opportunity": "y"}), "both"),
            (
                json!({"command": "show", "lead": "x", "opportunity": "y"}),
                "more than one",
            ),
        ] {
            let error = Event::read(payload).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
