//! What a failed call to an AWS service means for whoever made it.
//!
//! Knows: which of the services' error codes pass by themselves, which leave a doubt, which need an operator. Refuses to
//! know: any table, queue or secret. Guarantee: an error keeps the service's words and request id but never a request or
//! a response, since both carry customers' data and credentials and errors are printed.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use cosell::fault::{Class, Fault};
use sha2::{Digest, Sha256};

/// A call to an AWS service that failed after the SDK's own repeats.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} failed: {reason}{}", request_suffix(.request.as_deref()))]
pub struct CallError {
    call: &'static str,
    kind: Kind,
    reason: String,
    request: Option<String>,
}

fn request_suffix(request: Option<&str>) -> String {
    request.map(|id| format!(" (request {id})")).unwrap_or_default()
}

/// Who acts next, before it is told in the core's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Refused for now: too many calls.
    Throttled,
    /// Refused for now: another write to the same item is under way.
    Contended,
    /// No answer, or one that proves nothing: the call may have been applied.
    Lost,
    /// This input will never be taken.
    Rejected,
    /// No input will be taken: permissions, names, keys, credentials.
    Refused,
}

impl Kind {
    /// Reads the code a service puts into its errors or, in a batch or transaction, beside an entry.
    pub(crate) fn of_code(code: &str, status: u16) -> Self {
        match code {
            "ThrottlingException"
            | "ThrottlingError"
            | "Throttling"
            | "ProvisionedThroughputExceededException"
            | "ProvisionedThroughputExceeded"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "TooManyRequestsException"
            | "OverLimit"
            | "KmsThrottled"
            | "KMSThrottlingException" => Self::Throttled,
            "TransactionConflictException"
            | "TransactionConflict"
            | "TransactionInProgressException"
            | "ReplicatedWriteConflictException" => Self::Contended,
            "ValidationException"
            | "ValidationError"
            | "ItemCollectionSizeLimitExceeded"
            | "InvalidParameterException"
            | "InvalidParameterValue"
            | "InvalidRequestException"
            | "InvalidMessageContents"
            | "IdempotentParameterMismatchException" => Self::Rejected,
            // Whatever a service calls it.
            _ if status == 429 => Self::Throttled,
            _ if status >= 500 => Self::Lost,
            _ => Self::Refused,
        }
    }
}

impl CallError {
    /// Takes from an SDK error what may be kept.
    pub(crate) fn new<E>(call: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: aws_sdk_dynamodb::error::ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (kind, reason) = match error {
            SdkError::ServiceError(refusal) => {
                let code = refusal.err().code().unwrap_or("no code");
                let message = refusal.err().message().unwrap_or("no message");
                let status = refusal.raw().status().as_u16();
                (Kind::of_code(code, status), format!("{code}: {message}"))
            }
            SdkError::ConstructionFailure(_) => (Kind::Refused, chain(error)),
            SdkError::DispatchFailure(failure) if failure.is_user() => (Kind::Refused, chain(error)),
            // An enum that may grow: what is not known proves nothing either.
            _ => (Kind::Lost, chain(error)),
        };
        let headers = error.raw_response().map(HttpResponse::headers);
        // SQS and Secrets Manager spell the header in lower case like DynamoDB; names are compared without case.
        let request = headers.and_then(|headers| headers.get("x-amzn-requestid"));
        Self {
            call,
            kind,
            reason,
            request: request.map(str::to_owned),
        }
    }

    /// A refusal that a service reported inside an answer: beside an entry of a batch or transaction.
    pub(crate) fn entry(call: &'static str, code: &str, message: Option<&str>, status: u16) -> Self {
        Self {
            call,
            kind: Kind::of_code(code, status),
            reason: format!("{code}: {}", message.unwrap_or("no message")),
            request: None,
        }
    }

    /// Whether the service gave this code as its reason.
    #[must_use]
    pub fn has_code(&self, code: &str) -> bool {
        self.reason.split_once(':').is_some_and(|(said, _)| said == code)
    }

    /// Whether the service understood the call and would not take this input.
    pub(crate) fn is_rejected(&self) -> bool {
        self.kind == Kind::Rejected
    }

    /// Who acts next.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self.kind {
            Kind::Throttled | Kind::Contended | Kind::Lost => Class::Transient { after: None },
            Kind::Rejected => Class::Permanent,
            Kind::Refused => Class::Fatal,
        }
    }

    /// A bounded name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.kind {
            Kind::Throttled => "aws_throttled",
            Kind::Contended => "aws_contended",
            Kind::Lost => "aws_answer_lost",
            Kind::Rejected => "aws_rejected",
            Kind::Refused => "aws_refused",
        }
    }

    /// Whether the call may have been applied although it failed.
    #[must_use]
    pub const fn in_doubt(&self) -> bool {
        matches!(self.kind, Kind::Lost)
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        Self {
            class: error.class(),
            code: error.code(),
            in_doubt: error.in_doubt(),
            message: error.to_string(),
        }
    }
}

/// An error's words and those of its sources. The SDK's outer errors say only that something failed.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// A name that follows from content: the SHA-256 of the parts, in hex. Each part is preceded by its length, so that
/// moving a character from one part to the next makes another name.
pub(crate) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    format!("{:x}", digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_who_acts_next() {
        let cases = [
            ("ThrottlingException", 400, "aws_throttled"),
            ("a code of next year's", 429, "aws_throttled"),
            ("TransactionConflict", 400, "aws_contended"),
            ("InternalServerError", 500, "aws_answer_lost"),
            ("ValidationException", 400, "aws_rejected"),
            ("AccessDeniedException", 400, "aws_refused"),
            ("ResourceNotFoundException", 400, "aws_refused"),
        ];
        for (code, status, expected) in cases {
            assert_eq!(
                CallError::entry("PutItem", code, None, status).code(),
                expected,
                "{code}"
            );
        }
    }

    #[test]
    fn a_fingerprint_depends_on_where_parts_end() {
        assert_eq!(fingerprint(["ab", "c"]), fingerprint(["ab", "c"]));
        assert_ne!(fingerprint(["ab", "c"]), fingerprint(["a", "bc"]));
        assert_eq!(fingerprint([]).len(), 64);
    }
}
