//! Logs and metrics: how a line looks, and the one record that every invocation leaves behind.
//!
//! Knows the log format, the names of our metrics and CloudWatch's embedded metric format. Refuses to know what the
//! numbers mean to a deal. Guarantee: the canonical log line and the metric record of an invocation are written from
//! one [`Invocation`], so they cannot disagree, and no identifier can become a dimension, because dimensions are
//! enums and outcome codes known at compile time.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Where our metrics appear in CloudWatch.
pub const NAMESPACE: &str = "CosellConnector";

/// Starts logging: flattened JSON with timestamp and level on standard output.
///
/// `RUST_LOG`, else `LOG_LEVEL`, sets the levels: one level, or `target=level` pairs separated by commas. Default and
/// answer to anything unreadable: `info`, because a function must not fail over its log level. Calling it twice
/// changes nothing.
pub fn init(lookup: &dyn Fn(&str) -> Option<String>) {
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
    /// Calls made to either vendor, reads and writes.
    VendorCalls,
    /// Answers of a vendor that asked us to slow down.
    VendorThrottles,
    /// Queue messages handed back for another delivery.
    MessagesReturned,
    /// Time from the change that a hint tells of to the end of its reconciliation.
    LagMilliseconds,
    /// Registrations put right.
    RegistrationsRepaired,
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
            Self::VendorCalls => "VendorCalls",
            Self::VendorThrottles => "VendorThrottles",
            Self::MessagesReturned => "MessagesReturned",
            Self::LagMilliseconds => "LagMilliseconds",
            Self::RegistrationsRepaired => "RegistrationsRepaired",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::LagMilliseconds => "Milliseconds",
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
        let definitions: Vec<Value> = self
            .counters
            .iter()
            .map(|(metric, _)| json!({ "Name": metric.name(), "Unit": metric.unit() }))
            .collect();
        let mut directives = vec![json!({
            "Namespace": NAMESPACE,
            "Dimensions": [["function", "outcome"]],
            "Metrics": [
                { "Name": "Invocations", "Unit": "Count" },
                { "Name": "DurationMilliseconds", "Unit": "Milliseconds" },
            ],
        })];
        if !definitions.is_empty() {
            directives.push(json!({
                "Namespace": NAMESPACE,
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
