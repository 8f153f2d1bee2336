//! The events that `sync` understands, told apart by what they carry.
//!
//! Guarantee: what is not understood is named, with what would be.

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use connector::backfill::Backfill;
use connector::commands::Filter;
use cosell::deal::Field;
use cosell::hint::Subject;
use cosell::ids::{OpportunityId, ReferralId};
use cosell::order::Order;
use jiff::Timestamp;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Look at both sides of a deal now, and bring it into step.
    Resync(Subject),
    /// Have the deals of a filter looked at.
    Hint {
        /// Which.
        filter: Filter,
        /// Where to go on.
        from: Option<String>,
    },
    /// Show both sides, what they last agreed on, and what would be done.
    Show(Subject),
    /// Accept, decline, link or unlink.
    Order(Subject, Order),
    /// Put a recorded value back on both sides.
    Restore {
        /// Of which deal.
        subject: Subject,
        /// Of which field.
        field: Field,
        /// What the audit record replaced; the newest loser when absent.
        record: Option<u64>,
    },
    /// List what waits for a person.
    Attention {
        /// Where to go on.
        from: Option<String>,
    },
    /// Take in what is older than the polls' first look.
    Backfill(Backfill),
}

/// The names of all commands, for whoever mistypes one.
const COMMANDS: &str = "resync, accept, decline, link, unlink, restore, show, attention and backfill";

/// An event that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// No known shape.
    #[error(
        "the event has none of \"Records\" (a batch of the queue), \"run\" (poll-dynamics, poll-partner-center, \
         compare) and \"command\" ({COMMANDS})"
    )]
    Unknown,
    /// A run that does not exist.
    #[error("there is no run {0:?}; known are poll-dynamics, poll-partner-center and compare")]
    Run(String),
    /// A command that does not exist.
    #[error("there is no command {0:?}; known are {COMMANDS}")]
    Command(String),
    /// A command without its record.
    #[error("{0} needs a \"referral\", an \"opportunity\" or a \"lead\", one of them, as a GUID: {1}")]
    Subject(&'static str, String),
    /// A command with a member that is missing, or makes no sense.
    #[error("{command} cannot use \"{member}\": {text}")]
    Member {
        /// Which command.
        command: &'static str,
        /// Which member.
        member: &'static str,
        /// What is wrong, and what would be right.
        text: String,
    },
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
                serde_json::from_value(payload).map_err(|error| InvalidEvent::Batch(short(&error.to_string(), 200)))?;
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
        match payload.get("command") {
            Some(command) => Command::read(text(command), &payload)?
                .map(Self::Command)
                .ok_or_else(|| InvalidEvent::Command(plain(command))),
            None => Err(InvalidEvent::Unknown),
        }
    }
}

impl Command {
    /// Reads a command; none when there is none of that name.
    fn read(name: &str, payload: &Value) -> Result<Option<Self>, InvalidEvent> {
        Ok(Some(match name {
            "resync" if payload.get("filter").is_some() => Self::Hint {
                filter: filter(payload)?,
                from: optional("resync", "from", payload)?,
            },
            "resync" => Self::Resync(subject("resync", payload)?),
            "show" => Self::Show(subject("show", payload)?),
            "accept" => Self::Order(subject("accept", payload)?, Order::Accept),
            "decline" => {
                let reason = needed(
                    "decline",
                    "reason",
                    payload,
                    "say why, in words that whoever sent the deal will read",
                )?;
                Self::Order(subject("decline", payload)?, Order::Decline { reason })
            }
            "link" => link(payload)?,
            "unlink" => Self::Order(subject("unlink", payload)?, Order::Unlink),
            "restore" => restore(payload)?,
            "attention" => Self::Attention {
                from: optional("attention", "from", payload)?,
            },
            "backfill" => backfill(payload)?,
            _ => return Ok(None),
        }))
    }
}

fn member(command: &'static str, member: &'static str, text: impl Into<String>) -> InvalidEvent {
    let text = text.into();
    InvalidEvent::Member { command, member, text }
}

/// A text member that may be absent.
fn optional(command: &'static str, name: &'static str, payload: &Value) -> Result<Option<String>, InvalidEvent> {
    match payload.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.trim().is_empty())),
        Some(other) => Err(member(command, name, format!("{} is no text", plain(other)))),
    }
}

fn needed(command: &'static str, name: &'static str, payload: &Value, cure: &str) -> Result<String, InvalidEvent> {
    optional(command, name, payload)?.ok_or_else(|| member(command, name, format!("it is missing; {cure}")))
}

fn filter(payload: &Value) -> Result<Filter, InvalidEvent> {
    match payload.get("filter").map(text) {
        Some("attention") => Ok(Filter::Attention),
        Some("due") => Ok(Filter::Due),
        Some("all") => Ok(Filter::All),
        _ => {
            let value = plain(payload.get("filter").unwrap_or(&Value::Null));
            Err(member(
                "resync",
                "filter",
                format!("{value:?} is none of attention, due and all"),
            ))
        }
    }
}

fn link(payload: &Value) -> Result<Command, InvalidEvent> {
    let cure = "name the referral and the opportunity, both as GUIDs";
    let referral: ReferralId = needed("link", "referral", payload, cure)?
        .parse()
        .map_err(|error| member("link", "referral", format!("{error}")))?;
    let opportunity: OpportunityId = needed("link", "opportunity", payload, cure)?
        .parse()
        .map_err(|error| member("link", "opportunity", format!("{error}")))?;
    let order = Order::Link { referral, opportunity };
    Ok(Command::Order(Subject::Referral(referral), order))
}

fn restore(payload: &Value) -> Result<Command, InvalidEvent> {
    let known = Field::ALL.map(Field::as_str).join(", ");
    let name = needed("restore", "field", payload, &format!("known are {known}"))?;
    let field = Field::ALL.into_iter().find(|field| field.as_str() == name);
    let record = match payload.get("record") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64() {
            Some(record) => Some(record),
            None => {
                let text = format!("{} is no number of an audit record; show lists them", plain(value));
                return Err(member("restore", "record", text));
            }
        },
    };
    Ok(Command::Restore {
        subject: subject("restore", payload)?,
        field: field.ok_or_else(|| {
            member(
                "restore",
                "field",
                format!("there is no field {:?}; known are {known}", short(&name, 64)),
            )
        })?,
        record,
    })
}

fn backfill(payload: &Value) -> Result<Command, InvalidEvent> {
    let since = optional("backfill", "since", payload)?
        .map(|text| {
            instant(&text).ok_or_else(|| {
                member(
                    "backfill",
                    "since",
                    format!("{:?} is no date such as 2026-01-31", short(&text, 64)),
                )
            })
        })
        .transpose()?;
    let all = match payload.get("all") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(all)) => *all,
        Some(other) => {
            return Err(member(
                "backfill",
                "all",
                format!("{} is neither true nor false", plain(other)),
            ));
        }
    };
    let from = optional("backfill", "from", payload)?;
    Ok(Command::Backfill(Backfill { since, all, from }))
}

/// A point in time, or the beginning of a day in UTC.
fn instant(text: &str) -> Option<Timestamp> {
    let day = |date: jiff::civil::Date| date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|day| day.timestamp());
    text.parse().ok().or_else(|| day(text.parse().ok()?))
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
    short(&value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned), 64)
}

/// The beginning of what was given, to be shown: an event may hold a quarter of a million characters.
fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
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

    fn command(payload: Value) -> Command {
        match Event::read(payload.clone()) {
            Ok(Event::Command(command)) => command,
            other => panic!("{payload} is read as {other:?}"),
        }
    }

    #[test]
    fn every_command_is_read_with_its_members() {
        let (one, two) = (
            "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10",
            "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a11",
        );
        let subject = Subject::Referral(one.parse().unwrap());
        let reason = "Not our region".to_owned();
        let (referral, opportunity) = (one.parse().unwrap(), two.parse().unwrap());
        for (payload, expected) in [
            (
                json!({"command": "accept", "referral": one}),
                Command::Order(subject, Order::Accept),
            ),
            (
                json!({"command": "decline", "referral": one, "reason": reason}),
                Command::Order(subject, Order::Decline { reason }),
            ),
            (
                json!({"command": "link", "referral": one, "opportunity": two}),
                Command::Order(subject, Order::Link { referral, opportunity }),
            ),
            (
                json!({"command": "unlink", "referral": one}),
                Command::Order(subject, Order::Unlink),
            ),
            (
                json!({"command": "restore", "referral": one, "field": "close_date", "record": 7}),
                Command::Restore {
                    subject,
                    field: Field::CloseDate,
                    record: Some(7),
                },
            ),
            (
                json!({"command": "resync", "filter": "due"}),
                Command::Hint {
                    filter: Filter::Due,
                    from: None,
                },
            ),
            (
                json!({"command": "attention", "from": "there"}),
                Command::Attention {
                    from: Some("there".to_owned()),
                },
            ),
            (
                json!({"command": "backfill", "since": "2026-01-31", "all": true}),
                Command::Backfill(Backfill {
                    since: Some("2026-01-31T00:00:00Z".parse().unwrap()),
                    all: true,
                    from: None,
                }),
            ),
        ] {
            assert_eq!(command(payload), expected);
        }
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
            (
                json!({"command": "resync", "filter": "some"}),
                "none of attention, due and all",
            ),
            (
                json!({"command": "decline", "referral": "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10"}),
                "say why",
            ),
            (
                json!({"command": "link", "referral": "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10"}),
                "both as GUIDs",
            ),
            (json!({"command": "restore", "field": "colour"}), "one of them"),
            (
                json!({"command": "restore", "field": "colour", "referral": "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10"}),
                "known are name, value",
            ),
            (
                json!({"command": "restore", "field": "name", "record": "x"}),
                "no number",
            ),
            (json!({"command": "backfill", "since": "soon"}), "2026-01-31"),
            (json!({"command": "backfill", "all": "yes"}), "neither true nor false"),
            (json!({"command": "attention", "from": 3}), "is no text"),
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

    #[test]
    fn of_a_long_value_little_is_repeated() {
        let long = "x".repeat(100_000);
        for payload in [
            json!({ "Records": long }),
            json!({ "command": "restore", "referral": "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10", "field": long }),
            json!({ "command": "backfill", "since": long }),
        ] {
            let said = Event::read(payload).unwrap_err().to_string();
            assert!(said.contains("xxxx") && said.len() < 700, "{} characters", said.len());
        }
    }
}
