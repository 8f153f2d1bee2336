//! Logs and metrics: how a line looks, and the one record that every invocation leaves behind.
//!
//! Knows the log format, the names of our metrics and CloudWatch's embedded metric format. Refuses to know what the
//! numbers mean to a deal. Guarantee: the canonical log line and the metric record of an invocation are written from
//! one [`Invocation`], so they cannot disagree, and no identifier can become a dimension, because dimensions are
//! enums and outcome codes known at compile time.

use std::io::{self, Write};
use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Where our metrics appear in CloudWatch when `METRICS_NAMESPACE` does not say otherwise.
pub const NAMESPACE: &str = "CosellConnector";

/// CloudWatch's limit for a namespace, in characters.
const LONGEST_NAMESPACE: usize = 255;

/// Set once by [`init`]; a process has one namespace for as long as it lives.
static CHOSEN_NAMESPACE: OnceLock<String> = OnceLock::new();

/// The namespace of the metric records is one that CloudWatch would drop without a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "METRICS_NAMESPACE is {0:?}: it must be 1 to {LONGEST_NAMESPACE} letters, digits and . - _ / # of ASCII, and not begin with AWS/, such \
     as CosellConnector/staging"
)]
pub struct InvalidNamespace(String);

impl InvalidNamespace {
    /// A bounded name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "metrics_namespace_invalid"
    }
}

/// Starts logging, flattened JSON with timestamp and level on standard output, and settles where metrics go.
///
/// `RUST_LOG`, else `LOG_LEVEL`, sets the levels: one level, or `target=level` pairs separated by commas. Default and
/// answer to anything unreadable: `info`, because a function must not fail over its log level. `METRICS_NAMESPACE` is
/// the namespace of the metric records ([`NAMESPACE`]), so that two environments in one account have metrics and alarms
/// of their own. Calling it twice changes nothing.
///
/// # Errors
/// When CloudWatch would not take the namespace: every alarm would stay silent, which nobody would notice. It is logged.
pub fn init(lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), InvalidNamespace> {
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_ansi(false)
        // The innermost span carries the request id; its parents would repeat it.
        .with_span_list(false)
        .with_writer(io::stdout);
    let started = tracing_subscriber::registry()
        .with(lines)
        .with(levels(lookup))
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was already started");
    }
    let namespace = namespace(lookup).inspect_err(|error| {
        tracing::error!(outcome = error.code(), %error, "cannot start");
    })?;
    CHOSEN_NAMESPACE.get_or_init(|| namespace);
    Ok(())
}

/// Blank counts as unset: Terraform passes empty strings for what is left out. CloudWatch also allows colons and blanks;
/// neither is needed, and both are easily a slip.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#Namespace>
fn namespace(lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, InvalidNamespace> {
    let Some(text) = lookup("METRICS_NAMESPACE").filter(|text| !text.trim().is_empty()) else {
        return Ok(NAMESPACE.to_owned());
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte);
    if text.len() <= LONGEST_NAMESPACE && text.bytes().all(is_allowed) && !text.starts_with("AWS/") {
        return Ok(text);
    }
    Err(InvalidNamespace(text.chars().take(LONGEST_NAMESPACE).collect()))
}

/// `Targets` instead of an environment filter: the same syntax without linking a regular expression engine.
fn levels(lookup: &dyn Fn(&str) -> Option<String>) -> Targets {
    let wanted = lookup("RUST_LOG")
        .or_else(|| lookup("LOG_LEVEL"))
        .filter(|text| !text.trim().is_empty());
    wanted
        .and_then(|text| text.to_ascii_lowercase().parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}

/// Which of our functions ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Takes posts from Partner Center.
    Webhook,
    /// Looks for changes and reconciles deals.
    Sync,
    /// Looks after the webhook's registration.
    Registration,
}

impl Function {
    /// The name in logs and as a dimension.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Sync => "sync",
            Self::Registration => "registration",
        }
    }
}

/// What can be counted or measured. Names and units live here only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Hints put on the queue.
    HintsQueued,
    /// Genuine events that concern nothing we keep in step.
    EventsIgnored,
    /// Hints that the queue would not take; Partner Center delivers them again.
    HintsRefused,
    /// Test events that Partner Center sent on request.
    EventsTest,
    /// Posts that were not proven to come from Partner Center.
    PostsRefused,
    /// Deals compared.
    DealsReconciled,
    /// Deals that showed nothing but our own last write.
    Echoes,
    /// Deals parked until a person or a later run looks at them.
    DealsParked,
    /// Deals whose next look lies in the future.
    DealsDue,
    /// Deals found out of step by the full compare.
    DealsDrifted,
    /// Values that lost against the other side and were recorded.
    ValuesOverruled,
    /// Writes to either vendor that were tried.
    VendorWrites,
    /// Writes to Dynamics that were tried.
    WritesTowardDynamics,
    /// Writes to Partner Center that were tried.
    WritesTowardPartnerCenter,
    /// Calls made to either vendor, reads and writes.
    VendorCalls,
    /// Answers of a vendor that asked us to slow down.
    VendorThrottles,
    /// Answers of a vendor that refused a call (4xx, slowing down not counted). A record that is gone or has moved on is
    /// among them, and no cause for alarm.
    VendorRefusals,
    /// Calls that a vendor failed (5xx) or did not answer.
    VendorFailures,
    /// Faults of credentials or configuration, which no retry mends.
    FatalFaults,
    /// Deals that wait for a person.
    DealsNeedingAttention,
    /// Deals whose next look is overdue.
    DealsOverdue,
    /// How long ago the poll of Dynamics was last known to have seen every change.
    DynamicsCursorAgeSeconds,
    /// How long ago the refresh token in force was stored.
    RefreshTokenAgeSeconds,
    /// Queue messages handed back for another delivery.
    MessagesReturned,
    /// Time from the change that a hint tells of to the end of its reconciliation.
    LagMilliseconds,
    /// Registrations put right.
    RegistrationsRepaired,
    /// Whether the registration differs from what is desired: 1, else 0.
    RegistrationsDrifted,
}

impl Metric {
    /// The name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Self::HintsQueued => "HintsQueued",
            Self::EventsIgnored => "EventsIgnored",
            Self::HintsRefused => "HintsRefused",
            Self::EventsTest => "EventsTest",
            Self::PostsRefused => "PostsRefused",
            Self::DealsReconciled => "DealsReconciled",
            Self::Echoes => "Echoes",
            Self::DealsParked => "DealsParked",
            Self::DealsDue => "DealsDue",
            Self::DealsDrifted => "DealsDrifted",
            Self::ValuesOverruled => "ValuesOverruled",
            Self::VendorWrites => "VendorWrites",
            Self::WritesTowardDynamics => "WritesTowardDynamics",
            Self::WritesTowardPartnerCenter => "WritesTowardPartnerCenter",
            Self::VendorCalls => "VendorCalls",
            Self::VendorThrottles => "VendorThrottles",
            Self::VendorRefusals => "VendorRefusals",
            Self::VendorFailures => "VendorFailures",
            Self::FatalFaults => "FatalFaults",
            Self::DealsNeedingAttention => "DealsNeedingAttention",
            Self::DealsOverdue => "DealsOverdue",
            Self::DynamicsCursorAgeSeconds => "DynamicsCursorAgeSeconds",
            Self::RefreshTokenAgeSeconds => "RefreshTokenAgeSeconds",
            Self::MessagesReturned => "MessagesReturned",
            Self::LagMilliseconds => "LagMilliseconds",
            Self::RegistrationsRepaired => "RegistrationsRepaired",
            Self::RegistrationsDrifted => "RegistrationsDrifted",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::LagMilliseconds => "Milliseconds",
            Self::DynamicsCursorAgeSeconds | Self::RefreshTokenAgeSeconds => "Seconds",
            _ => "Count",
        }
    }
}

/// What one invocation did, said once for log and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invocation<'a> {
    /// Which function ran.
    pub function: Function,
    /// The bounded code of how it ended, for example `queued`; never composed at run time.
    pub outcome: &'static str,
    /// The key under which everything this invocation did can be found. Logged, never a dimension.
    pub key: Option<&'a str>,
    /// How long it took.
    pub duration_ms: u64,
    /// What was counted. A metric given twice keeps its last value.
    pub counters: &'a [(Metric, u64)],
}

impl Invocation<'_> {
    /// Writes the canonical log line and the metric record.
    ///
    /// A failure to write to standard output is ignored: there is nowhere left to report it, and the work is done.
    pub fn emit(&self, now: Timestamp) {
        let counted: Vec<String> = self
            .counters
            .iter()
            .map(|(metric, value)| format!("{}={value}", metric.name()))
            .collect();
        tracing::info!(
            function = self.function.name(),
            outcome = self.outcome,
            key = self.key,
            duration_ms = self.duration_ms,
            counted = counted.join(" "),
            "{} finished: {}",
            self.function.name(),
            self.outcome,
        );
        let line = format!("{}\n", self.record(now));
        // One write, so that lines of concurrent tasks do not mix.
        io::stdout().lock().write_all(line.as_bytes()).ok();
    }

    /// The record in CloudWatch's embedded metric format.
    ///
    /// Counters are kept per function; only the number and the duration of invocations are split by outcome too,
    /// because every combination is billed as a metric of its own.
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
    pub fn record(&self, now: Timestamp) -> Value {
        let namespace = CHOSEN_NAMESPACE.get().map_or(NAMESPACE, String::as_str);
        let definitions: Vec<Value> = self
            .counters
            .iter()
            .map(|(metric, _)| json!({ "Name": metric.name(), "Unit": metric.unit() }))
            .collect();
        let mut directives = vec![json!({
            "Namespace": namespace,
            "Dimensions": [["function", "outcome"]],
            "Metrics": [
                { "Name": "Invocations", "Unit": "Count" },
                { "Name": "DurationMilliseconds", "Unit": "Milliseconds" },
            ],
        })];
        if !definitions.is_empty() {
            directives.push(json!({
                "Namespace": namespace,
                "Dimensions": [["function"]],
                "Metrics": definitions,
            }));
        }
        let mut record = Map::new();
        record.insert(
            "_aws".to_owned(),
            json!({ "Timestamp": now.as_millisecond(), "CloudWatchMetrics": directives }),
        );
        record.insert("function".to_owned(), self.function.name().into());
        record.insert("outcome".to_owned(), self.outcome.into());
        if let Some(key) = self.key {
            record.insert("key".to_owned(), key.into());
        }
        record.insert("Invocations".to_owned(), 1.into());
        record.insert("DurationMilliseconds".to_owned(), self.duration_ms.into());
        for (metric, value) in self.counters {
            record.insert(metric.name().to_owned(), (*value).into());
        }
        Value::Object(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(counters: &[(Metric, u64)]) -> Invocation<'_> {
        Invocation {
            function: Function::Webhook,
            outcome: "queued",
            key: Some("3f1c"),
            duration_ms: 12,
            counters,
        }
    }

    #[test]
    fn a_record_names_its_metrics_and_only_closed_sets_as_dimensions() {
        let now = Timestamp::from_millisecond(1_770_000_000_123).unwrap();
        let record = invocation(&[(Metric::HintsQueued, 1), (Metric::PostsRefused, 2)]).record(now);
        assert_eq!(
            record,
            json!({
                "_aws": {
                    "Timestamp": 1_770_000_000_123_i64,
                    "CloudWatchMetrics": [
                        {
                            "Namespace": "CosellConnector",
                            "Dimensions": [["function", "outcome"]],
                            "Metrics": [
                                { "Name": "Invocations", "Unit": "Count" },
                                { "Name": "DurationMilliseconds", "Unit": "Milliseconds" }
                            ]
                        },
                        {
                            "Namespace": "CosellConnector",
                            "Dimensions": [["function"]],
                            "Metrics": [
                                { "Name": "HintsQueued", "Unit": "Count" },
                                { "Name": "PostsRefused", "Unit": "Count" }
                            ]
                        }
                    ]
                },
                "function": "webhook",
                "outcome": "queued",
                "key": "3f1c",
                "Invocations": 1,
                "DurationMilliseconds": 12,
                "HintsQueued": 1,
                "PostsRefused": 2
            })
        );
    }

    #[test]
    fn a_namespace_that_cloudwatch_would_drop_is_refused() {
        let given = |text: &'static str| namespace(&move |_| Some(text.to_owned()));
        for text in ["CosellConnector/staging", "a", "A.b-c_d/e#f"] {
            assert_eq!(given(text).as_deref(), Ok(text));
        }
        for text in ["", "  "] {
            assert_eq!(given(text).as_deref(), Ok(NAMESPACE));
        }
        assert_eq!(namespace(&|_| None).as_deref(), Ok(NAMESPACE));
        for text in ["AWS/Lambda", "two words", ":a", "Größe", "a\n"] {
            let error = given(text).unwrap_err();
            assert!(error.to_string().contains("METRICS_NAMESPACE is"), "{error}");
        }
        assert!(namespace(&|_| Some("x".repeat(256))).is_err());
    }

    #[test]
    fn ages_are_in_seconds_and_flags_are_counts() {
        let units = [
            (Metric::DynamicsCursorAgeSeconds, "Seconds"),
            (Metric::RefreshTokenAgeSeconds, "Seconds"),
            (Metric::RegistrationsDrifted, "Count"),
            (Metric::FatalFaults, "Count"),
        ];
        for (metric, unit) in units {
            let record = invocation(&[(metric, 0)]).record(Timestamp::UNIX_EPOCH);
            let definition = &record["_aws"]["CloudWatchMetrics"][1]["Metrics"][0];
            assert_eq!(definition, &json!({ "Name": metric.name(), "Unit": unit }));
            assert_eq!(record[metric.name()], json!(0), "a gauge is emitted with nothing, too");
        }
    }

    #[test]
    fn nothing_counted_leaves_no_empty_directive() {
        let record = invocation(&[]).record(Timestamp::UNIX_EPOCH);
        assert_eq!(record["_aws"]["CloudWatchMetrics"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn levels_are_read_and_nonsense_means_info() {
        let cases = [
            (None, None, "info"),
            (Some("warn"), None, "warn"),
            (None, Some("DEBUG"), "debug"),
            (Some("error"), Some("debug"), "error"),
            (Some("info,webhook=perhaps"), None, "info"),
            (Some(""), None, "info"),
        ];
        for (rust_log, log_level, expected) in cases {
            let lookup = |name: &str| match name {
                "RUST_LOG" => rust_log.map(str::to_owned),
                _ => log_level.map(str::to_owned),
            };
            assert_eq!(levels(&lookup).to_string(), expected);
        }
        let pairs = levels(&|_| Some("info,webhook=debug".to_owned()));
        assert!(pairs.would_enable("webhook::trust", &tracing::Level::DEBUG));
        assert!(!pairs.would_enable("hyper", &tracing::Level::DEBUG));
    }
}
