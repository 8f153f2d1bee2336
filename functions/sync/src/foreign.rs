//! Events in any form: batches of the queue, runs, and commands as operators mistype them.

use connector::backfill::Backfill;
use cosell::hint::Subject;
use cosell::order::Order;
use fuzz::proptest::prelude::{prop_assert, prop_assert_eq};
use fuzz::proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};

use crate::event::{Command, Event};

const ID: &str = "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10";

/// What an answer to an operator may say at most.
const SAID: usize = 700;

fn corpus() -> Vec<String> {
    let message = json!({
        "messageId": "m-1", "receiptHandle": "r", "body": format!(r#"{{"referral":"{ID}","cause":"due"}}"#),
        "md5OfBody": "x", "attributes": { "MessageGroupId": ID, "ApproximateReceiveCount": "1" }, "messageAttributes": {},
        "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:hints.fifo", "awsRegion": "eu-west-1",
    });
    let events = [
        json!({ "Records": [message] }),
        json!({ "run": "poll-dynamics" }),
        json!({ "command": "resync", "referral": ID }),
        json!({ "command": "resync", "filter": "attention", "from": "2026-02-03T08:41:20Z LINK#x" }),
        json!({ "command": "show", "lead": ID }),
        json!({ "command": "resync", "referral": ID, "opportunity": ID }),
        json!({ "command": "decline", "opportunity": ID, "reason": "Budget" }),
        json!({ "command": "link", "referral": ID, "opportunity": "f1a2b3c4-0d5e-4f60-8a71-92b3c4d5e6f7" }),
        json!({ "command": "restore", "opportunity": ID, "field": "notes", "record": 7 }),
        json!({ "command": "attention", "from": "x" }),
        json!({ "command": "backfill", "since": "2026-01-31", "all": true, "from": "\"beginning\"" }),
    ];
    events.iter().map(ToString::to_string).collect()
}

/// The record that a command is about is one that the event names, and the only one of its kind.
fn is_named(subject: Subject, payload: &Value) -> TestCaseResult {
    let (member, id) = match subject {
        Subject::Referral(id) => ("referral", id.to_string()),
        Subject::Opportunity(id) => ("opportunity", id.to_string()),
        Subject::Lead(id) => ("lead", id.to_string()),
    };
    let said = payload.get(member).and_then(Value::as_str).unwrap_or_default();
    prop_assert_eq!(id, said.trim().to_lowercase());
    Ok(())
}

#[test]
fn an_event_is_what_it_says_or_is_refused_in_few_words() {
    fuzz::check("events of sync", file!(), 4_000, fuzz::json(corpus()), |text| {
        let Ok(payload) = serde_json::from_str::<Value>(&text) else {
            return Ok(());
        };
        match Event::read(payload.clone()) {
            Ok(Event::Messages(messages)) => {
                let records = payload["Records"].as_array().map_or(0, Vec::len);
                prop_assert_eq!(messages.len(), records);
            }
            Ok(Event::Run(_)) => prop_assert!(payload["run"].is_string()),
            Ok(Event::Command(command)) => match command {
                Command::Resync(subject) | Command::Show(subject) | Command::Restore { subject, .. } => {
                    is_named(subject, &payload)?;
                    let others = ["referral", "opportunity", "lead"]
                        .iter()
                        .filter(|name| payload.get(**name).is_some());
                    prop_assert_eq!(others.count(), 1);
                }
                Command::Order(subject, order) => {
                    is_named(subject, &payload)?;
                    if let Order::Decline { reason } = &order {
                        prop_assert!(!reason.trim().is_empty());
                    }
                }
                Command::Backfill(Backfill { all, .. }) => prop_assert!(!all || payload["all"] == Value::Bool(true)),
                Command::Hint { .. } | Command::Attention { .. } => {}
            },
            Err(error) => {
                let said = error.to_string();
                prop_assert!(said.chars().count() <= SAID, "{} characters", said.chars().count());
                prop_assert!(said.contains('"') || said.contains("batch"), "{said}");
            }
        }
        Ok(())
    });
}
