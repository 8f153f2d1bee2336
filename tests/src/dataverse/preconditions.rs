//! The conditions a request stands on: `If-Match` and `If-None-Match`.
//!
//! Knows: which header decides what, for which verb. Refuses to know: rows beyond their etag. Guarantee: every pairing
//! of verb, condition and row is answered here, so that the documented table can be read in one place.

use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH};

use super::refusal::Refusal;

/// What the headers of a request demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    /// `If-Match: *`
    Exists,
    /// `If-Match: W/"n"`
    Unchanged(String),
    /// `If-None-Match: *`
    Absent,
    /// `If-None-Match: W/"n"`
    Changed(String),
}

/// What a PATCH does once its condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patch {
    Create,
    Update,
}

impl Condition {
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let matching = single(headers, &IF_MATCH)?;
        // The documented header set carries the literal word; it asks for fresh data and is no condition.
        let none_matching = single(headers, &IF_NONE_MATCH)?.filter(|value| value != "null");
        match (matching.as_deref(), none_matching.as_deref()) {
            (None, None) => Ok(Self::None),
            (Some("*"), None) => Ok(Self::Exists),
            (None, Some("*")) => Ok(Self::Absent),
            (Some(etag), None) => Ok(Self::Unchanged(checked(etag)?)),
            (None, Some(etag)) => Ok(Self::Changed(checked(etag)?)),
            (Some(_), Some(_)) => Err(Refusal::query("If-Match and If-None-Match exclude one another.")),
        }
    }

    /// Decides a PATCH against the etag of the row, if there is one; `missing` is the refusal for an absent row.
    pub(super) fn patch(&self, etag: Option<&str>, missing: impl FnOnce() -> Refusal) -> Result<Patch, Refusal> {
        match (self, etag) {
            (Self::None | Self::Exists, Some(_)) => Ok(Patch::Update),
            (Self::Unchanged(seen), Some(etag)) if seen == etag => Ok(Patch::Update),
            (Self::Unchanged(_), Some(_)) => Err(Refusal::version_mismatch()),
            (Self::Absent, Some(_)) => Err(Refusal::exists_already()),
            (Self::None | Self::Absent, None) => Ok(Patch::Create),
            (Self::Exists | Self::Unchanged(_), None) => Err(missing()),
            (Self::Changed(_), _) => Err(Refusal::query("If-None-Match with an etag is for reading.")),
        }
    }

    /// Decides a DELETE of a row that exists.
    pub(super) fn delete(&self, etag: &str) -> Result<(), Refusal> {
        match self {
            Self::None | Self::Exists => Ok(()),
            Self::Unchanged(seen) if seen == etag => Ok(()),
            Self::Unchanged(_) => Err(Refusal::version_mismatch()),
            Self::Absent | Self::Changed(_) => Err(Refusal::query("If-None-Match is not for deleting.")),
        }
    }

    /// Whether a reader has this version already.
    pub(super) fn is_known(&self, etag: &str) -> bool {
        matches!(self, Self::Changed(seen) if seen == etag)
    }

    /// Refuses conditions on requests that do not honour any, so that no client can believe itself protected.
    pub(super) fn refuse_any(&self) -> Result<(), Refusal> {
        match self {
            Self::None => Ok(()),
            _ => Err(Refusal::query("This request takes no precondition.")),
        }
    }
}

fn single(headers: &HeaderMap, name: &http::HeaderName) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().and_then(|value| value.to_str().ok());
    match (first, values.next()) {
        (_, Some(_)) => Err(Refusal::query(format!("The header {name} is given twice."))),
        (first, None) => Ok(first.map(str::to_owned)),
    }
}

fn checked(etag: &str) -> Result<String, Refusal> {
    let digits = etag.strip_prefix("W/\"").and_then(|rest| rest.strip_suffix('"'));
    match digits {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(etag.to_owned()),
        _ => Err(Refusal::query(format!(
            "The etag '{etag}' is not in the form that was issued."
        ))),
    }
}
