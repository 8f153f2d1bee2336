//! What a vendor said when it did not do what was asked.
//!
//! Knows every shape of error body the two vendors and the gateways before them are known to send, and which of their
//! codes decide who acts next. Guarantee: reading a refusal never fails, and its text is bounded.

use std::fmt;
use std::time::Duration;

use cosell::fault::Class;
use jiff::SignedDuration;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::{Map, Value};

use super::Operation;

/// The vendors' own limit for messages; what is longer is a page of HTML.
const MESSAGE_CHARS: usize = 1_024;

/// The vendors nest inner errors two deep; more is a loop or an attack.
const NESTING: usize = 8;

/// A quota or bandwidth limit (507, 509) does not pass within minutes.
const QUOTA_WAIT: Duration = Duration::from_secs(3_600);

/// Waits that are longer than a day are misprints.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// An answer other than success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked.
    pub operation: Operation,
    /// The HTTP status.
    pub status: StatusCode,
    /// The vendor's codes, outermost first; numbers that are negative decimals are written as hexadecimal.
    pub codes: Vec<String>,
    /// The vendor's words, cut to a bounded length.
    pub message: String,
    /// The wait the vendor named.
    pub retry_after: Option<Duration>,
    /// Whether the body was the vendor's own form: an `error` object with a `code`, which may be empty. Gateways answer
    /// with pages, with nothing, or with JSON of their own, and know nothing of rows.
    pub is_structured: bool,
}

impl Refusal {
    pub(crate) fn read(operation: Operation, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut said = Said::default();
        let parsed = serde_json::from_slice::<Value>(body).ok();
        match &parsed {
            Some(Value::Object(object)) => said.read(object, 0),
            Some(Value::String(text)) => said.message(text),
            _ => said.message(&plain(body)),
        }
        let mut retry_after = named_wait(headers);
        if status == StatusCode::TOO_MANY_REQUESTS {
            // Words count only where there is no header: Dataverse also names the length of its window there.
            retry_after = retry_after.or_else(|| wait_in_words(&said.message));
        }
        Self {
            operation,
            status,
            codes: said.codes,
            message: said.message.chars().take(MESSAGE_CHARS).collect(),
            retry_after: retry_after.map(|wait| wait.min(LONGEST_WAIT)),
            is_structured: parsed.as_ref().is_some_and(is_error_object),
        }
    }

    /// Whether one of the vendor's codes is this one, in whatever case.
    #[must_use]
    pub fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|said| said.eq_ignore_ascii_case(code))
    }

    fn has_any(&self, codes: &[&str]) -> bool {
        codes.iter().any(|code| self.has_code(code))
    }

    /// Whether the refusal proves that nothing was changed.
    pub(super) fn proves_nothing_happened(&self) -> bool {
        match self.status.as_u16() {
            // An overloaded gateway that names a wait did not let the request through.
            503 => self.retry_after.is_some(),
            501 => true,
            status => status < 500,
        }
    }

    /// Who acts next.
    pub(super) fn class(&self) -> Class {
        self.judge().0
    }

    /// A bounded name.
    pub(super) fn code(&self) -> &'static str {
        self.judge().1
    }

    fn judge(&self) -> (Class, &'static str) {
        let after = |wait: Option<Duration>| Class::Transient {
            after: wait.and_then(|wait| SignedDuration::try_from(wait).ok()),
        };
        let transient = after(self.retry_after);
        if self.has_code(MFA_MISSING) {
            return (Class::Fatal, "second_factor_missing");
        }
        if self.has_any(&NOT_A_USER) {
            return (Class::Fatal, "user_not_admitted");
        }
        if self.status == StatusCode::FORBIDDEN && self.has_any(&NO_PRIVILEGE) {
            return (Class::Fatal, "privilege_missing");
        }
        if self.has_any(&NO_SUCH_NAME) {
            return (Class::Fatal, "schema_mismatch");
        }
        if self.has_code(NO_CONCURRENCY_CONTROL) {
            return (Class::Fatal, "concurrency_control_off");
        }
        if self.has_code(DUPLICATE_RULE) {
            return (Class::Permanent, "duplicate_detected");
        }
        if self.has_any(&PASSING) {
            return (transient, "unavailable");
        }
        match self.status.as_u16() {
            300..=399 => (Class::Fatal, "redirected"),
            401 => (Class::Fatal, "unauthenticated"),
            403 => (Class::Permanent, "access_denied"),
            404 | 410 => (Class::Permanent, "not_found"),
            408 | 425 => (transient, "timed_out"),
            409 => (Class::Conflict, "state_conflict"),
            412 => (Class::Conflict, "stale"),
            413 => (Class::Permanent, "too_large"),
            423 => (transient, "locked"),
            429 => (transient, "throttled"),
            501 => (Class::Permanent, "not_supported"),
            507 | 509 => (after(self.retry_after.max(Some(QUOTA_WAIT))), "quota_exceeded"),
            500..=599 => (transient, "unavailable"),
            _ if self.has_code("0x80040265") => (Class::Permanent, "refused_by_plug_in"),
            _ => (Class::Permanent, "refused"),
        }
    }

    fn cure(&self) -> &'static str {
        match self.judge().1 {
            "second_factor_missing" => "; run `make consent ENV=...` and sign in with a second factor",
            "user_not_admitted" => "; make the application a user of the environment and give it its security role",
            "privilege_missing" => {
                "; give the security role of the application user the privilege, for the whole organisation"
            }
            "schema_mismatch" => "; run `make doctor ENV=...`: a column of the mapping is missing in the CRM",
            "concurrency_control_off" => "; switch on optimistic concurrency for the table",
            "duplicate_detected" => "; a duplicate detection rule of the CRM stands in the way",
            "access_denied" => "; check the roles of the connector's user",
            "unauthenticated" => "; check the credentials, or run `make consent ENV=...`",
            "redirected" => "; redirects are never followed, check the configured URL",
            _ => "",
        }
    }
}

/// MFA was not part of the sign-in that the refresh token stems from; the retired audience reads the same to us.
/// <https://learn.microsoft.com/partner-center/security/partner-security-requirements-mandating-mfa>
const MFA_MISSING: &str = "900421";

/// Dataverse: not a member of the organisation, no roles, not enabled.
const NOT_A_USER: [&str; 4] = ["0x80072560", "0x80042f09", "0x80040225", "0x8004d24b"];

/// Dataverse: a privilege is missing, in the service's four wordings. It is the role that is wrong, not the row.
const NO_PRIVILEGE: [&str; 4] = ["0x80040220", "0x80040231", "0x80048306", "0x80048405"];

/// Dataverse: no such property or path, no such attribute, no such table.
const NO_SUCH_NAME: [&str; 3] = ["0x80060888", "0x80041103", "0x80041102"];

/// Dataverse: the table has no optimistic concurrency.
const NO_CONCURRENCY_CONTROL: &str = "0x8006088d";

/// Dataverse: a duplicate detection rule was hit. One of the four reasons behind status 412.
const DUPLICATE_RULE: &str = "0x80040333";

/// Dataverse: deadlock victim, database time-out, unexpected error, another customisation is running.
const PASSING: [&str; 4] = ["0x80044150", "0x80044151", "0x80040216", "0x80071151"];

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was refused with status {}", self.operation, self.status.as_u16())?;
        if !self.codes.is_empty() {
            write!(f, " {}", self.codes.join(" "))?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        f.write_str(self.cure())
    }
}

/// Codes and words found in an error body.
#[derive(Default)]
struct Said {
    codes: Vec<String>,
    message: String,
}

impl Said {
    fn message(&mut self, text: &str) {
        // The innermost says most: "validation failed" outside, the reason inside.
        if !text.trim().is_empty() {
            text.trim().clone_into(&mut self.message);
        }
    }

    fn read(&mut self, object: &Map<String, Value>, depth: usize) {
        let member = |name: &str| {
            let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value)
        };
        for name in ["code", "errorCode", "statusCode"] {
            self.codes.extend(member(name).and_then(code));
        }
        for name in ["description", "message", "exceptionMessage"] {
            if let Some(text) = member(name).and_then(Value::as_str) {
                self.message(text);
            }
        }
        match member("error") {
            Some(Value::Object(inner)) if depth < NESTING => self.read(inner, depth + 1),
            Some(Value::String(text)) => self.message(text),
            _ => {}
        }
        if let Some(Value::Object(inner)) = member("innerError")
            && depth < NESTING
        {
            self.read(inner, depth + 1);
        }
    }
}

fn is_error_object(body: &Value) -> bool {
    body.get("error").is_some_and(|error| error.get("code").is_some())
}

/// A code as text. Signed decimals, which some Dataverse texts use, become the hexadecimal form of the documentation.
fn code(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    if let Ok(number @ ..0) = text.parse::<i32>() {
        return Some(format!("0x{:08x}", number.cast_unsigned()));
    }
    (!text.is_empty()).then(|| text.chars().take(64).collect())
}

/// The words of a body that is no JSON object.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if text.trim_start().starts_with('<') {
        return "(a page of HTML, probably from a gateway)".to_owned();
    }
    text.trim().chars().take(MESSAGE_CHARS).collect()
}

/// The wait that the headers name, whoever sent them.
pub(crate) fn named_wait(headers: &HeaderMap) -> Option<Duration> {
    let wait = wait(headers.get(RETRY_AFTER)?.to_str().ok()?)?;
    Some(wait.min(LONGEST_WAIT))
}

/// `Retry-After`: seconds, or a date.
fn wait(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the vendor names a date, and only a clock turns it into a wait"
    )]
    let now = std::time::SystemTime::now();
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The number in "Try again in 20 seconds.", which the gateway sometimes sends without the header.
fn wait_in_words(message: &str) -> Option<Duration> {
    let mut words = message
        .split_whitespace()
        .rev()
        .skip_while(|word| !word.to_ascii_lowercase().starts_with("second"));
    words.next()?;
    words.next()?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod foreign;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Vendor;

    fn refusal(status: u16, body: &str) -> Refusal {
        let operation = Operation {
            vendor: Vendor::Dataverse,
            name: "the test",
        };
        let status = StatusCode::from_u16(status).unwrap();
        Refusal::read(operation, status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn every_known_shape_is_read() {
        let cases: [(&str, &[&str], &str); 9] = [
            (
                r#"{"error":{"code":"preconditionFailed","message":"A","target":"referral","innererror":{"code":"resourceModified","message":"B"}}}"#,
                &["preconditionFailed", "resourceModified"],
                "B",
            ),
            (
                r#"{"code":900421,"description":"MFA","data":[],"source":"PartnerFD"}"#,
                &["900421"],
                "MFA",
            ),
            (r#"{"statusCode":429,"message":"Slow down"}"#, &["429"], "Slow down"),
            (
                r#"{"Message":"M","ExceptionMessage":"E","StackTrace":"S","ErrorCode":"0x80040217"}"#,
                &["0x80040217"],
                "E",
            ),
            (r#"{"error":{"code":"","message":"empty code"}}"#, &[], "empty code"),
            (
                r#"{"error":{"code":-2147015902,"message":"decimal"}}"#,
                &["0x80072322"],
                "decimal",
            ),
            (r#"{"error":"just words"}"#, &[], "just words"),
            ("<html>x</html>", &[], "(a page of HTML, probably from a gateway)"),
            ("", &[], ""),
        ];
        for (body, codes, message) in cases {
            let refusal = refusal(400, body);
            assert_eq!(refusal.codes, codes, "{body}");
            assert_eq!(refusal.message, message, "{body}");
        }
    }

    #[test]
    fn only_an_error_object_with_a_code_is_the_vendors_own_form() {
        for body in [
            r#"{"error":{"code":"","message":"m"}}"#,
            r#"{"error":{"code":"0x80040217"}}"#,
        ] {
            assert!(refusal(404, body).is_structured, "{body}");
        }
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"message":"Resource not found"}"#,
            r#"{"statusCode":404,"message":"Resource not found"}"#,
            r#"{"code":""}"#,
            r#"{"error":"not found"}"#,
            r#"{"error":{"message":"m"}}"#,
        ] {
            assert!(!refusal(404, body).is_structured, "{body}");
        }
    }

    #[test]
    fn a_missing_privilege_is_nobodys_turn_but_the_administrators() {
        let refused = refusal(403, r#"{"error":{"code":"0x80040220","message":"prvReadAccount"}}"#);
        assert_eq!(refused.class(), Class::Fatal);
        let text = refused.to_string();
        assert!(text.contains("security role of the application user"), "{text}");
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(refusal(400, &"x".repeat(5_000)).message.len(), MESSAGE_CHARS);
    }

    #[test]
    fn waits_are_read_in_all_their_forms() {
        let words = refusal(
            429,
            r#"{"statusCode":429,"message":"Rate limit is exceeded. Try again in 20 seconds."}"#,
        );
        assert_eq!(words.retry_after, Some(Duration::from_secs(20)));
        assert_eq!(wait("37"), Some(Duration::from_secs(37)));
        assert_eq!(wait("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert!(wait("Fri, 01 Jan 2100 00:00:00 GMT").unwrap() > Duration::from_secs(3_600));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait_in_words("exceeded limit of 52."), None);
    }

    #[test]
    fn the_class_follows_from_codes_before_status() {
        let dataverse = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":""}}}}"#);
        let cases = [
            (403, dataverse("0x80072560"), "user_not_admitted"),
            (403, dataverse("0x80040220"), "privilege_missing"),
            (403, dataverse("0x80040231"), "privilege_missing"),
            (403, dataverse("0x80048306"), "privilege_missing"),
            (403, dataverse("0x80048405"), "privilege_missing"),
            (400, dataverse("0x80060888"), "schema_mismatch"),
            (412, dataverse("0x80040333"), "duplicate_detected"),
            (412, dataverse("0x80060882"), "stale"),
            (500, dataverse("-2147204784"), "unavailable"),
            (400, dataverse("0x80040265"), "refused_by_plug_in"),
            (401, r#"{"code":"900421"}"#.to_owned(), "second_factor_missing"),
            (401, String::new(), "unauthenticated"),
            (403, String::new(), "access_denied"),
            (302, String::new(), "redirected"),
            (509, String::new(), "quota_exceeded"),
        ];
        for (status, body, code) in cases {
            assert_eq!(refusal(status, &body).code(), code, "{status} {body}");
        }
    }
}
