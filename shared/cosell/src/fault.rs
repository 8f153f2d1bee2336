//! What can go wrong at the edges, told in the only terms the core needs: who acts next.

use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Who acts next after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The same call may succeed later; not before `after`, when the vendor named a wait.
    Transient {
        /// The wait the vendor asked for.
        after: Option<SignedDuration>,
    },
    /// Somebody else changed the record first: read again and decide anew.
    Conflict,
    /// This call will never succeed as it is; a person has to change something on this deal.
    Permanent,
    /// No call will succeed: credentials, consent, configuration. An operator has to act.
    Fatal,
}

/// A failed call, as the driver reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who acts next.
    pub class: Class,
    /// Bounded, snake_case.
    pub code: &'static str,
    /// One sentence for people: names the thing and the value; the vendor's own words where it gave any.
    pub message: String,
    /// Whether the call may have been applied although it failed: a lost answer, as opposed to a refusal.
    pub in_doubt: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Fault {}

/// Ids the vendor gave a call, for its support and our audit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub String);
