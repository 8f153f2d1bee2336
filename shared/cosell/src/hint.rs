//! A hint says only "look at this deal". It carries no value that is ever written to a vendor.
//!
//! Guarantee: a hint that is lost, repeated, late, reordered or forged changes nothing but when we look.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{LeadId, LinkId, OpportunityId, Record, ReferralId};

/// Which record to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A referral in Partner Center: ours, or another organisation's of the same engagement.
    Referral(ReferralId),
    /// An opportunity in Dynamics.
    Opportunity(OpportunityId),
    /// A lead in Dynamics.
    Lead(LeadId),
}

impl Subject {
    /// The link that is kept for this record, as long as it belongs to no other one.
    #[must_use]
    pub fn own_link(self) -> LinkId {
        match self {
            Self::Referral(id) => id.into(),
            Self::Opportunity(id) => id.into(),
            Self::Lead(id) => id.into(),
        }
    }
}

impl From<Record> for Subject {
    fn from(record: Record) -> Self {
        match record {
            Record::Opportunity(id) => Self::Opportunity(id),
            Record::Lead(id) => Self::Lead(id),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Referral(id) => write!(f, "referral {id}"),
            Self::Opportunity(id) => write!(f, "opportunity {id}"),
            Self::Lead(id) => write!(f, "lead {id}"),
        }
    }
}

/// What made us look. Logged and audited; it decides how thorough a look is, never what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Partner Center announced a new referral.
    ReferralCreated,
    /// Partner Center announced a change of a referral.
    ReferralUpdated,
    /// Partner Center announced another organisation's referral in an engagement of ours.
    RelatedReferralCreated,
    /// Partner Center announced a change of such a referral.
    RelatedReferralUpdated,
    /// The poll of Dynamics saw the row change.
    DynamicsPoll,
    /// The poll of Partner Center saw the referral change.
    PartnerCenterPoll,
    /// The deal was due to be looked at again.
    Due,
    /// The daily comparison of everything.
    Compare,
    /// An operator asked.
    Operator,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReferralCreated => "referral-created",
            Self::ReferralUpdated => "referral-updated",
            Self::RelatedReferralCreated => "related-referral-created",
            Self::RelatedReferralUpdated => "related-referral-updated",
            Self::DynamicsPoll => "dynamics-poll",
            Self::PartnerCenterPoll => "partner-center-poll",
            Self::Due => "due",
            Self::Compare => "compare",
            Self::Operator => "operator",
        })
    }
}

/// A text that should have been a hint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no hint: {0}")]
pub struct InvalidHint(String);

/// What is said of a text that is no hint: its parser repeats the value at fault, of whatever length.
const SAID: usize = 200;

/// One message of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// Which record to look at.
    #[serde(flatten)]
    pub subject: Subject,
    /// What made us look.
    pub cause: Cause,
    /// When the record changed, as far as whoever hinted knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

impl Hint {
    /// A hint without a known time of change.
    #[must_use]
    pub const fn new(subject: Subject, cause: Cause) -> Self {
        Self {
            subject,
            cause,
            changed_at: None,
        }
    }

    /// Adds the time the record changed.
    #[must_use]
    pub const fn changed_at(mut self, at: Timestamp) -> Self {
        self.changed_at = Some(at);
        self
    }

    /// The body of the queue message.
    ///
    /// # Errors
    /// Never in practice; serialising plain values cannot fail.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Reads the body of a queue message.
    ///
    /// # Errors
    /// When the text is not a hint; the message says which part is wrong.
    pub fn from_json(text: &str) -> Result<Self, InvalidHint> {
        serde_json::from_str(text).map_err(|error| InvalidHint(error.to_string().chars().take(SAID).collect()))
    }

    /// The FIFO message group: hints about one record are looked at one after the other.
    #[must_use]
    pub fn group_id(&self) -> String {
        match self.subject {
            Subject::Referral(id) => id.to_string(),
            Subject::Opportunity(id) => id.to_string(),
            Subject::Lead(id) => id.to_string(),
        }
    }
}

/// A hint, and what tells it from an earlier one about the same record.
///
/// The queue drops a message whose key it has seen within five minutes: a page that is read twice is queued once. Two
/// hints that must both be followed therefore need different keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    hint: Hint,
    key: String,
}

impl Keyed {
    /// A hint that is told apart by something the caller knows: an etag, the time a deal was due, an invocation's id.
    #[must_use]
    pub fn new(hint: Hint, key: impl Into<String>) -> Self {
        Self { hint, key: key.into() }
    }

    /// The hint.
    #[must_use]
    pub const fn hint(&self) -> &Hint {
        &self.hint
    }

    /// What tells it apart from others about the same record with the same cause.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// A hint that is told apart by when its record changed. Without such a time, repeats of the same cause within five
/// minutes are one hint.
impl From<Hint> for Keyed {
    fn from(hint: Hint) -> Self {
        let key = hint.changed_at.map(|at| at.to_string()).unwrap_or_default();
        Self { hint, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_survives_the_queue() {
        let id: ReferralId = "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10".parse().unwrap();
        let hint = Hint::new(Subject::Referral(id), Cause::ReferralUpdated)
            .changed_at("2026-01-28T09:14:09.5510217Z".parse().unwrap());
        let json = hint.to_json().unwrap();
        assert_eq!(
            json,
            r#"{"referral":"8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10","cause":"referral-updated","changed_at":"2026-01-28T09:14:09.5510217Z"}"#
        );
        assert_eq!(Hint::from_json(&json).unwrap(), hint);
    }

    #[test]
    fn what_is_not_a_hint_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"referral":"x","cause":"due"}"#,
            r#"{"referral":"8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10"}"#,
        ] {
            assert!(Hint::from_json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn of_a_long_text_that_is_no_hint_little_is_repeated() {
        let cause = "x".repeat(100_000);
        let text = format!(r#"{{"referral":"8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10","cause":"{cause}"}}"#);
        let said = Hint::from_json(&text).unwrap_err().to_string();
        assert!(
            said.starts_with("no hint: unknown variant `xxx") && said.len() < 300,
            "{}",
            said.len()
        );
    }
}
