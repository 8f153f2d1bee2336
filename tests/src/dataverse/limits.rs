//! The service protection limits, as answers that the switchboard can give in place of the environment.
//!
//! Knows: the three limits with their codes. Refuses to know: how many requests there were; a test says when a limit is
//! met. Guarantee: each answer has the form of the real one, with `Retry-After` in whole seconds.

use http::StatusCode;

use super::cell::Object;
use crate::switchboard::Fault;

/// Which limit of the application user is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Requests within the window.
    Requests,
    /// Combined execution time within the window.
    ExecutionTime,
    /// Requests at one time.
    Concurrency,
}

impl Limit {
    fn code(self) -> &'static str {
        match self {
            Self::Requests => "0x80072322",
            Self::ExecutionTime => "0x80072321",
            Self::Concurrency => "0x80072326",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Requests => "Number of requests exceeded the limit of 6000 over time window of 300 seconds.",
            Self::ExecutionTime => "Combined execution time of incoming requests exceeded its limit.",
            Self::Concurrency => "Number of concurrent requests exceeded the limit of 52.",
        }
    }
}

/// The 429 of a limit, with the seconds to wait if the answer says any.
#[must_use]
pub fn throttled(limit: Limit, retry_after_seconds: Option<u32>) -> Fault {
    let error = Object::default()
        .with("code", limit.code())
        .with("message", limit.message());
    let mut headers = vec![("content-type", "application/json; odata.metadata=minimal".to_owned())];
    headers.extend(retry_after_seconds.map(|seconds| ("retry-after", seconds.to_string())));
    let body = Object::default().with("error", &error).text();
    Fault::Answer {
        status: StatusCode::TOO_MANY_REQUESTS,
        headers,
        body,
    }
}
