//! How the simulated Dataverse says no: a status, a hex code and a text.
//!
//! Knows: which refusals exist and what they look like on the wire. Refuses to know: when they apply. Guarantee: every
//! refusal of the API is made here, so that a code and its status cannot drift apart between two places.

use std::fmt;

use http::StatusCode;
use uuid::Uuid;

/// A refused request, by the API or by a control method that acts as a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The API's catch-all for a URL it cannot make sense of.
    pub(super) fn query(message: impl Into<String>) -> Self {
        Self::bad("0x80060888", message)
    }

    /// The API's catch-all for a body it cannot make sense of.
    pub(super) fn payload(set: &str, message: impl fmt::Display) -> Self {
        Self::bad(
            "0x80048d19",
            format!("Error identified in Payload provided by the user for Entity :'{set}': {message}"),
        )
    }

    pub(super) fn no_property(property: &str, table: &str) -> Self {
        Self::query(format!(
            "Could not find a property named '{property}' on type 'Microsoft.Dynamics.CRM.{table}'."
        ))
    }

    pub(super) fn no_segment(segment: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "0x80060888",
            format!("Resource not found for the segment '{segment}'."),
        )
    }

    pub(super) fn wrong_verb(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "0x80060888", message)
    }

    pub(super) fn no_row(table: &str, id: Uuid) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "0x80040217",
            format!("Entity '{table}' With Id = {id} Does Not Exist"),
        )
    }

    pub(super) fn no_row_by_key(table: &str) -> Self {
        let message = format!("A record with the specified key values does not exist in {table} entity");
        Self::new(StatusCode::NOT_FOUND, "0x80060891", message)
    }

    pub(super) fn version_mismatch() -> Self {
        let message = "The version of the existing record doesn't match the RowVersion property provided.";
        Self::new(StatusCode::PRECONDITION_FAILED, "0x80060882", message)
    }

    pub(super) fn exists_already() -> Self {
        let message = "A record with matching key values already exists.";
        Self::new(StatusCode::PRECONDITION_FAILED, "0x80040237", message)
    }

    pub(super) fn key_violated(key: &str, column: &str) -> Self {
        let message = format!("Entity Key {key} violated. A record with the same value for {column} already exists.");
        Self::new(StatusCode::PRECONDITION_FAILED, "0x80060892", message)
    }

    pub(super) fn no_privilege(verb: &str, table: &str) -> Self {
        let message = format!("The application user lacks the privilege to {verb} {table}.");
        Self::new(StatusCode::FORBIDDEN, "0x80040220", message)
    }

    pub(super) fn not_a_member() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "0x80072560",
            "The user is not a member of the organization.",
        )
    }

    pub(super) fn invalid_status(status: i64, state: i64, table: &str) -> Self {
        Self::bad(
            "0x80048408",
            format!("{status} is not a valid status code for state code {state} on {table}."),
        )
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code inside the error body, such as `0x80040217`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The text inside the error body.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.message)
    }
}

impl std::error::Error for Refusal {}
