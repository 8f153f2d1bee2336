//! How the Referrals API says no.
//!
//! Knows: the error body of this host. Refuses to know: why something is refused.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

/// A refused request, or a refused act of one of the simulated people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// General code.
    pub code: &'static str,
    /// More precise code, below the general one.
    pub inner: Option<&'static str>,
    /// Pointer of the offending member, name of the option or header, or `referral`.
    pub target: String,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// 400: the request is wrong at `target`.
    pub(super) fn invalid(target: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "invalidRequest",
            inner: None,
            target: target.into(),
            message: message.into(),
        }
    }

    /// 400: the life cycle forbids it.
    pub(super) fn illegal_move(message: impl Into<String>) -> Self {
        Self {
            inner: Some("invalidStatusTransition"),
            ..Self::invalid("/status", message)
        }
    }

    /// Any other refusal of the referral as a whole.
    pub(super) fn general(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            inner: None,
            target: "referral".to_owned(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} at {}: {}",
            self.status.as_u16(),
            self.code,
            self.target,
            self.message
        )
    }
}

impl std::error::Error for Refusal {}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message, "target": self.target });
        if let (Some(inner), Some(members)) = (self.inner, error.as_object_mut()) {
            members.insert(
                "innerError".to_owned(),
                json!({ "code": inner, "message": self.message }),
            );
        }
        (self.status, axum::Json(json!({ "error": error }))).into_response()
    }
}
