//! The event source mapping: polls a FIFO queue, invokes the function with batches, settles each message.
//!
//! Knows: the SQS event, partial batch answers, and when a message is deleted or given back. Refuses to know: bodies.
//! Guarantee: a message is deleted only if the function succeeded and did not name it as failed; later messages of its
//! group wait meanwhile. As on AWS, a function that names a failed message must also name the later ones of the same
//! group that it did not process.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Function;
use crate::aws::{Aws, QueueUrl, QueuedMessage, REGION, queue_arn, system_attributes};

/// Length of one poll; it ends early when there is something to receive.
const POLL: Duration = Duration::from_secs(20);

struct Shared {
    aws: Aws,
    queue: QueueUrl,
    function: Function,
    batch_size: usize,
    paused: watch::Sender<bool>,
    in_flight: AtomicUsize,
    wait_for_visibility: AtomicBool,
}

/// A running mapping. It stops when dropped; an invocation under way is finished, its messages stay unsettled.
pub struct EventSource {
    shared: Arc<Shared>,
    _pollers: JoinSet<()>,
}

impl EventSource {
    /// Starts `concurrency` pollers of `queue`, each invoking `function` with up to `batch_size` messages.
    #[must_use]
    pub fn start(aws: &Aws, queue: &QueueUrl, function: &Function, batch_size: usize, concurrency: usize) -> Self {
        let shared = Arc::new(Shared {
            aws: aws.clone(),
            queue: queue.clone(),
            function: function.clone(),
            batch_size,
            paused: watch::Sender::new(false),
            in_flight: AtomicUsize::new(0),
            wait_for_visibility: AtomicBool::new(false),
        });
        let mut pollers = JoinSet::new();
        for _ in 0..concurrency {
            pollers.spawn(Arc::clone(&shared).poll());
        }
        Self {
            shared,
            _pollers: pollers,
        }
    }

    /// Stops taking messages; invocations under way go on.
    pub fn pause(&self) {
        self.shared.paused.send_replace(true);
    }

    /// Takes messages again.
    pub fn resume(&self) {
        self.shared.paused.send_replace(false);
    }

    /// Whether failed messages come back only after the queue's visibility timeout, as on AWS. By default they come
    /// back at once, so that a test need not wait or move the clock.
    pub fn wait_for_visibility_timeout(&self, wait: bool) {
        self.shared.wait_for_visibility.store(wait, Ordering::SeqCst);
    }

    /// Waits until the queue is empty and nothing is in flight; false if that takes longer than `timeout`.
    pub async fn idle(&self, timeout: Duration) -> bool {
        let mut changes = self.shared.aws.queues().changes();
        let settled = async {
            while self.shared.in_flight.load(Ordering::SeqCst) > 0 || self.shared.aws.depth(&self.shared.queue) > 0 {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(timeout, settled).await.is_ok()
    }
}

impl Shared {
    async fn poll(self: Arc<Self>) {
        let mut paused = self.paused.subscribe();
        loop {
            if paused.wait_for(|paused| !paused).await.is_err() {
                return;
            }
            let receive = self
                .aws
                .queues()
                .receive(self.queue.queue_name(), self.batch_size, None, POLL);
            let messages = tokio::select! {
                biased;
                _ = paused.wait_for(|paused| *paused) => continue,
                messages = receive => messages,
            };
            match messages {
                Some(messages) if messages.is_empty() => {}
                Some(messages) => self.deliver(&messages).await,
                // The queue does not exist; the mapping has nothing to do any more.
                None => return,
            }
        }
    }

    async fn deliver(&self, messages: &[QueuedMessage]) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let answer = self.function.invoke(event(messages, &self.queue)).await;
        let failed = answer.as_ref().ok().and_then(|answer| failures(answer, messages));
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        let wait = self.wait_for_visibility.load(Ordering::SeqCst);
        for message in messages {
            let succeeded = failed
                .as_ref()
                .is_some_and(|failed| !failed.contains(message.message_id.as_str()));
            // A stale receipt is not an error: the message is visible again already, or somebody else has it.
            if succeeded {
                self.aws.queues().delete_received(self.queue.queue_name(), message);
            } else if !wait {
                self.aws.queues().give_back(self.queue.queue_name(), message);
            }
        }
    }
}

fn event(messages: &[QueuedMessage], queue: &QueueUrl) -> Value {
    let arn = queue_arn(queue.queue_name());
    let record = |message: &QueuedMessage| {
        let attributes: serde_json::Map<String, Value> = message
            .attributes
            .iter()
            .map(|(name, attribute)| {
                let value = json!({
                    "dataType": attribute.data_type,
                    "stringValue": attribute.string_value,
                    "binaryValue": attribute.binary_value,
                    "stringListValues": [],
                    "binaryListValues": [],
                });
                (name.clone(), value)
            })
            .collect();
        json!({
            "messageId": message.message_id,
            "receiptHandle": message.receipt_handle(),
            "body": message.body,
            "attributes": system_attributes(message),
            "messageAttributes": attributes,
            "md5OfBody": message.body_md5(),
            "eventSource": "aws:sqs",
            "eventSourceARN": arn,
            "awsRegion": REGION,
        })
    };
    json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() })
}

/// Ids the function named as failed; none if the answer is invalid, which fails the whole batch.
fn failures<'a>(answer: &'a Value, messages: &[QueuedMessage]) -> Option<HashSet<&'a str>> {
    let named = match answer {
        Value::Null => return Some(HashSet::new()),
        Value::Object(fields) => match fields.get("batchItemFailures") {
            None | Some(Value::Null) => return Some(HashSet::new()),
            Some(named) => named.as_array()?,
        },
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return None,
    };
    named
        .iter()
        .map(|failure| {
            let id = failure.get("itemIdentifier")?.as_str()?;
            messages.iter().any(|message| message.message_id == id).then_some(id)
        })
        .collect()
}
