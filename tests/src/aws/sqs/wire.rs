//! The words of SQS: inputs, limits, error names, attributes.
//!
//! Knows: how SQS spells what it takes and gives. Refuses to know: queues at work. Guarantee: an input field or a queue
//! attribute that is not simulated is refused, never ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::aws::fifo::{Fifo, MessageAttribute, NewMessage, QueueSettings, QueuedMessage, Redrive, StaleReceipt};
use crate::aws::{ACCOUNT, REGION, Refusal};

/// Entries a batch request may have.
const MAX_BATCH_ENTRIES: usize = 10;
/// Longest visibility timeout: twelve hours.
const MAX_VISIBILITY_SECONDS: i64 = 43_200;
/// Shape name and query code of the errors that have both.
pub(super) const NO_SUCH_QUEUE: (&str, &str) = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue");
pub(super) const QUEUE_EXISTS: (&str, &str) = ("QueueNameExists", "QueueAlreadyExists");
pub(super) const NOT_IN_FLIGHT: (&str, &str) = ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight");
pub(super) const EMPTY_BATCH: (&str, &str) = ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest");
pub(super) const TOO_MANY: (&str, &str) = (
    "TooManyEntriesInBatchRequest",
    "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
);
pub(super) const TOO_LONG: (&str, &str) = ("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong");
pub(super) const NOT_DISTINCT: (&str, &str) = (
    "BatchEntryIdsNotDistinct",
    "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
);
pub(super) const BAD_ENTRY_ID: (&str, &str) = ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId");

pub(super) fn refusal((code, query_code): (&'static str, &'static str), message: impl Into<String>) -> Refusal {
    Refusal {
        query_code: Some(query_code),
        ..Refusal::new(code, message)
    }
}

pub(super) fn invalid_value(value: impl fmt::Display, parameter: &str, reason: &str) -> Refusal {
    let message = format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}");
    Refusal::new("InvalidParameterValue", message)
}

pub(super) fn missing(parameter: &str) -> Refusal {
    Refusal::new(
        "MissingParameter",
        format!("The request must contain the parameter {parameter}."),
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Create {
    pub(super) queue_name: String,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Find {
    pub(super) queue_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Attributes {
    pub(super) queue_url: String,
    #[serde(default)]
    pub(super) attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Send {
    pub(super) queue_url: String,
    pub(super) message_body: Option<String>,
    pub(super) message_group_id: Option<String>,
    pub(super) message_deduplication_id: Option<String>,
    #[serde(default)]
    pub(super) message_attributes: BTreeMap<String, MessageAttribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct SendEntry {
    pub(super) id: String,
    pub(super) message_body: Option<String>,
    pub(super) message_group_id: Option<String>,
    pub(super) message_deduplication_id: Option<String>,
    #[serde(default)]
    pub(super) message_attributes: BTreeMap<String, MessageAttribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct DeleteEntry {
    pub(super) id: String,
    pub(super) receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Batch<T> {
    pub(super) queue_url: String,
    pub(super) entries: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Receive {
    pub(super) queue_url: String,
    #[serde(default)]
    pub(super) attribute_names: Vec<String>,
    #[serde(default)]
    pub(super) message_system_attribute_names: Vec<String>,
    #[serde(default)]
    pub(super) message_attribute_names: Vec<String>,
    pub(super) max_number_of_messages: Option<usize>,
    pub(super) visibility_timeout: Option<i64>,
    pub(super) wait_time_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Delete {
    pub(super) queue_url: String,
    pub(super) receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct ChangeVisibility {
    pub(super) queue_url: String,
    pub(super) receipt_handle: String,
    pub(super) visibility_timeout: i64,
}

pub(super) fn read<T: DeserializeOwned>(input: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(input).map_err(|error| Refusal::new("SerializationException", error.to_string()))
}

pub(super) fn queue_url(host: &str, name: &str) -> String {
    format!("http://{host}/{ACCOUNT}/{name}")
}

/// SQS looks only at the account and the name in a queue URL.
pub(super) fn queue_name(url: &str) -> Result<&str, Refusal> {
    let (rest, name) = url.rsplit_once('/').ok_or_else(no_such_queue)?;
    if rest.ends_with(ACCOUNT) {
        Ok(name)
    } else {
        Err(no_such_queue())
    }
}

pub(crate) fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

pub(super) fn no_such_queue() -> Refusal {
    refusal(NO_SUCH_QUEUE, "The specified queue does not exist.")
}

pub(super) fn stale_receipt(stale: &StaleReceipt, receipt: &str) -> Refusal {
    let reason = match stale {
        StaleReceipt::Malformed => {
            return Refusal::new("ReceiptHandleIsInvalid", "The input receipt handle is invalid.");
        }
        StaleReceipt::Expired => "The receipt handle has expired.",
        StaleReceipt::Gone => "Message does not exist or is not available for visibility timeout change.",
    };
    invalid_value(receipt, "ReceiptHandle", reason)
}

pub(super) fn check_visibility(seconds: i64) -> Result<SignedDuration, Refusal> {
    if (0..=MAX_VISIBILITY_SECONDS).contains(&seconds) {
        return Ok(SignedDuration::from_secs(seconds));
    }
    Err(invalid_value(
        seconds,
        "VisibilityTimeout",
        "Must be between 0 and 43200, if provided.",
    ))
}

pub(super) fn check_batch<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let ids: Vec<&str> = ids.collect();
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if ids.is_empty() {
        return Err(refusal(
            EMPTY_BATCH,
            "There should be at least one entry in the request.",
        ));
    }
    if ids.len() > MAX_BATCH_ENTRIES {
        let message = format!(
            "Maximum number of entries per request are 10. You have sent {}.",
            ids.len()
        );
        return Err(refusal(TOO_MANY, message));
    }
    if ids
        .iter()
        .any(|id| id.is_empty() || id.len() > 80 || !id.chars().all(legal))
    {
        let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be \
                       at most 80 letters long.";
        return Err(refusal(BAD_ENTRY_ID, message));
    }
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    if distinct.len() < ids.len() {
        return Err(refusal(
            NOT_DISTINCT,
            "Two or more batch entries in the request have the same Id.",
        ));
    }
    Ok(())
}

pub(super) fn batch_answer(outcomes: impl Iterator<Item = Result<Value, (String, Refusal)>>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(entry) => successful.push(entry),
            Err((id, refusal)) => failed.push(json!({
                "Id": id,
                "Code": refusal.query_code.unwrap_or(refusal.code),
                "Message": refusal.message,
                "SenderFault": refusal.status.is_client_error(),
            })),
        }
    }
    json!({ "Successful": successful, "Failed": failed })
}

pub(super) fn check_message(entry: SendEntry, settings: &QueueSettings) -> Result<NewMessage, Refusal> {
    let body = entry
        .message_body
        .filter(|body| !body.is_empty())
        .ok_or_else(|| missing("MessageBody"))?;
    let attribute_bytes: usize = entry.message_attributes.iter().map(attribute_bytes).sum();
    if body.len() + attribute_bytes > settings.max_message_bytes {
        let message = format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
            settings.max_message_bytes
        );
        return Err(Refusal::new("InvalidParameterValue", message));
    }
    // What XML 1.0 cannot carry, SQS does not carry.
    if body
        .chars()
        .any(|c| matches!(c, '\0'..'\t' | '\x0b' | '\x0c' | '\x0e'..' ' | '\u{fffe}' | '\u{ffff}'))
    {
        return Err(Refusal::new(
            "InvalidMessageContents",
            "Invalid characters found in the message.",
        ));
    }
    let group = entry.message_group_id.ok_or_else(|| missing("MessageGroupId"))?;
    check_id(&group, "MessageGroupId")?;
    let deduplication = match entry.message_deduplication_id {
        Some(id) => id,
        None if settings.content_based_deduplication => format!("{:x}", Sha256::digest(body.as_bytes())),
        None => {
            let message = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId \
                           provided explicitly";
            return Err(Refusal::new("InvalidParameterValue", message));
        }
    };
    check_id(&deduplication, "MessageDeduplicationId")?;
    Ok(NewMessage {
        group,
        deduplication,
        body,
        attributes: entry.message_attributes,
    })
}

fn attribute_bytes((name, attribute): (&String, &MessageAttribute)) -> usize {
    let value = attribute.string_value.as_ref().or(attribute.binary_value.as_ref());
    name.len() + attribute.data_type.len() + value.map_or(0, String::len)
}

fn check_id(id: &str, parameter: &str) -> Result<(), Refusal> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_punctuation();
    if (1..=128).contains(&id.len()) && id.chars().all(legal) {
        return Ok(());
    }
    let reason = format!("{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length.");
    Err(invalid_value(id, parameter, &reason))
}

/// System attributes of a message that was just received.
pub(crate) fn system_attributes(message: &QueuedMessage) -> Map<String, Value> {
    let first_received = message.first_received.map_or(0, Timestamp::as_millisecond);
    [
        ("ApproximateFirstReceiveTimestamp", first_received.to_string()),
        ("ApproximateReceiveCount", message.receives.to_string()),
        ("MessageDeduplicationId", message.deduplication.clone()),
        ("MessageGroupId", message.group.clone()),
        ("SenderId", "AIDALOCALWORLD".to_owned()),
        ("SentTimestamp", message.sent.as_millisecond().to_string()),
        ("SequenceNumber", message.sequence.clone()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Value::String(value)))
    .collect()
}

pub(super) fn describe(message: &QueuedMessage, input: &Receive) -> Value {
    let asked: Vec<&String> = input
        .attribute_names
        .iter()
        .chain(&input.message_system_attribute_names)
        .collect();
    let attributes: Map<String, Value> = system_attributes(message)
        .into_iter()
        .filter(|(name, _)| asked.iter().any(|asked| *asked == "All" || *asked == name))
        .collect();
    let wanted = |name: &String| {
        input.message_attribute_names.iter().any(|asked| {
            // `All`, an exact name, or a prefix such as `trace.*`.
            asked == "All" || asked == name || asked.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix))
        })
    };
    let custom: BTreeMap<&String, &MessageAttribute> =
        message.attributes.iter().filter(|(name, _)| wanted(name)).collect();
    let mut described = Map::from_iter([
        ("MessageId".to_owned(), json!(message.message_id)),
        ("ReceiptHandle".to_owned(), json!(message.receipt_handle())),
        ("MD5OfBody".to_owned(), json!(message.body_md5())),
        ("Body".to_owned(), json!(message.body)),
    ]);
    if !attributes.is_empty() {
        described.insert("Attributes".to_owned(), Value::Object(attributes));
    }
    if !custom.is_empty() {
        described.insert("MessageAttributes".to_owned(), json!(custom));
    }
    Value::Object(described)
}

pub(super) fn settings_from(attributes: &BTreeMap<String, String>) -> Result<QueueSettings, Refusal> {
    let mut settings = QueueSettings::default();
    let mut fifo = false;
    for (name, value) in attributes {
        let wrong = || {
            Refusal::new(
                "InvalidAttributeValue",
                format!("Invalid value for the parameter {name}."),
            )
        };
        let seconds = |low: i64, high: i64| match value.parse::<i64>() {
            Ok(seconds) if (low..=high).contains(&seconds) => Ok(SignedDuration::from_secs(seconds)),
            Ok(_) | Err(_) => Err(wrong()),
        };
        let flag = || value.parse::<bool>().map_err(|_| wrong());
        match name.as_str() {
            "FifoQueue" => fifo = flag()?,
            "ContentBasedDeduplication" => settings.content_based_deduplication = flag()?,
            "VisibilityTimeout" => settings.visibility = seconds(0, MAX_VISIBILITY_SECONDS)?,
            "MessageRetentionPeriod" => settings.retention = seconds(60, 1_209_600)?,
            "ReceiveMessageWaitTimeSeconds" => settings.receive_wait = seconds(0, 20)?,
            "MaximumMessageSize" => {
                let bytes = value.parse().ok().filter(|bytes| (1_024..=1_048_576).contains(bytes));
                settings.max_message_bytes = bytes.ok_or_else(wrong)?;
            }
            "RedrivePolicy" => settings.redrive = Some(redrive_from(value).ok_or_else(wrong)?),
            _ => {
                return Err(Refusal::new(
                    "InvalidAttributeName",
                    format!("Unknown Attribute {name}."),
                ));
            }
        }
    }
    if fifo {
        Ok(settings)
    } else {
        Err(Refusal::new("InvalidAttributeValue", "Only FIFO queues are simulated."))
    }
}

/// Callers write the count as a number or as a string.
fn redrive_from(policy: &str) -> Option<Redrive> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let target = policy
        .get("deadLetterTargetArn")?
        .as_str()?
        .rsplit(':')
        .next()?
        .to_owned();
    let count = policy.get("maxReceiveCount")?;
    let max_receives = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
    let max_receives = u32::try_from(max_receives)
        .ok()
        .filter(|count| (1..=1_000).contains(count))?;
    Some(Redrive { target, max_receives })
}

pub(super) fn attributes_of(name: &str, queue: &Fifo, now: Timestamp) -> Map<String, Value> {
    let settings = &queue.settings;
    let in_flight = queue.messages().iter().filter(|message| message.in_flight(now)).count();
    let mut attributes: Vec<(&str, String)> = vec![
        (
            "ApproximateNumberOfMessages",
            (queue.messages().len() - in_flight).to_string(),
        ),
        ("ApproximateNumberOfMessagesDelayed", "0".to_owned()),
        ("ApproximateNumberOfMessagesNotVisible", in_flight.to_string()),
        (
            "ContentBasedDeduplication",
            settings.content_based_deduplication.to_string(),
        ),
        ("CreatedTimestamp", queue.created.as_second().to_string()),
        ("FifoQueue", "true".to_owned()),
        ("MaximumMessageSize", settings.max_message_bytes.to_string()),
        ("MessageRetentionPeriod", settings.retention.as_secs().to_string()),
        ("QueueArn", queue_arn(name)),
        (
            "ReceiveMessageWaitTimeSeconds",
            settings.receive_wait.as_secs().to_string(),
        ),
        ("VisibilityTimeout", settings.visibility.as_secs().to_string()),
    ];
    if let Some(redrive) = &settings.redrive {
        let policy = json!({
            "deadLetterTargetArn": queue_arn(&redrive.target),
            "maxReceiveCount": redrive.max_receives,
        });
        attributes.push(("RedrivePolicy", policy.to_string()));
    }
    attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::String(value)))
        .collect()
}
