//! SQS over its JSON protocol, FIFO queues only.
//!
//! Knows: the operations, who waits for messages, and which queue takes whose dead letters. Refuses to know: what
//! messages mean. Guarantee: a waiting receiver gets a message as soon as it may be handed out.

mod wire;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use self::wire::{
    Attributes, Batch, ChangeVisibility, Create, Delete, DeleteEntry, Find, NOT_IN_FLIGHT, QUEUE_EXISTS, Receive, Send,
    SendEntry, TOO_LONG, attributes_of, batch_answer, check_batch, check_message, check_visibility, describe,
    invalid_value, no_such_queue, queue_name, queue_url, read, refusal, settings_from, stale_receipt,
};
pub(crate) use self::wire::{queue_arn, system_attributes};
use super::fifo::{Accepted, Fifo, NewMessage, QueueSettings, QueuedMessage, Redrive, StaleReceipt};
use super::{QueueUrl, Refusal};
use crate::clock::Clock;

/// Waiting receivers look again at least this often, because nobody tells them when a test moves the clock.
const CLOCK_CHECK: Duration = Duration::from_millis(100);

/// All queues of the account.
pub(crate) struct Queues {
    clock: Clock,
    queues: Mutex<BTreeMap<String, Fifo>>,
    /// Signalled after every change of any queue.
    changed: watch::Sender<()>,
    refusing: AtomicBool,
}

/// Controls and the in-process receiver.
impl Queues {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            queues: Mutex::default(),
            changed: watch::Sender::new(()),
            refusing: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Fifo>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::SeqCst);
    }

    pub(super) fn create_with_dead_letters(
        &self,
        host: &str,
        name: &str,
        visibility: Duration,
        max_receives: u32,
    ) -> QueueUrl {
        let now = self.clock.now();
        let (name, target) = (format!("{name}.fifo"), format!("{name}-dead.fifo"));
        let settings = QueueSettings {
            visibility: SignedDuration::try_from(visibility).unwrap_or(SignedDuration::MAX),
            redrive: Some(Redrive {
                target: target.clone(),
                max_receives,
            }),
            ..QueueSettings::default()
        };
        let mut queues = self.lock();
        queues.insert(target, Fifo::new(QueueSettings::default(), now));
        queues.insert(name.clone(), Fifo::new(settings, now));
        QueueUrl(queue_url(host, &name))
    }

    pub(super) fn put(&self, url: &QueueUrl, group: &str, deduplication: &str, body: &str) -> Option<String> {
        let new = NewMessage {
            group: group.to_owned(),
            deduplication: deduplication.to_owned(),
            body: body.to_owned(),
            attributes: BTreeMap::new(),
        };
        let accepted = self.lock().get_mut(url.queue_name())?.send(new, self.clock.now());
        self.changed.send_replace(());
        Some(accepted.message_id)
    }

    pub(super) fn messages(&self, url: &QueueUrl) -> Vec<QueuedMessage> {
        self.lock()
            .get(url.queue_name())
            .map(|queue| queue.messages().to_vec())
            .unwrap_or_default()
    }

    pub(super) fn dead_letters(&self, url: &QueueUrl) -> Vec<QueuedMessage> {
        let queues = self.lock();
        let redrive = queues
            .get(url.queue_name())
            .and_then(|queue| queue.settings.redrive.as_ref());
        let dead = redrive.and_then(|redrive| queues.get(&redrive.target));
        dead.map(|queue| queue.messages().to_vec()).unwrap_or_default()
    }

    /// Told of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Receives as soon as there is something to receive, at the latest after `wait`.
    pub(crate) async fn receive(
        &self,
        queue: &str,
        max: usize,
        visibility: Option<SignedDuration>,
        wait: Duration,
    ) -> Option<Vec<QueuedMessage>> {
        let deadline = Instant::now() + wait;
        let mut changes = self.changes();
        loop {
            let (messages, next_visible) = self.receive_now(queue, max, visibility)?;
            let now = Instant::now();
            if !messages.is_empty() || now >= deadline {
                return Some(messages);
            }
            let pause = next_visible.unwrap_or(CLOCK_CHECK).min(CLOCK_CHECK).min(deadline - now);
            // Both a change and the end of the pause lead to another look.
            let _ = tokio::time::timeout(pause, changes.changed()).await;
        }
    }

    fn receive_now(
        &self,
        name: &str,
        max: usize,
        visibility: Option<SignedDuration>,
    ) -> Option<(Vec<QueuedMessage>, Option<Duration>)> {
        let now = self.clock.now();
        let mut queues = self.lock();
        let queue = queues.get_mut(name)?;
        let received = queue.receive(max, visibility.unwrap_or(queue.settings.visibility), now);
        let next_visible = queue.next_visible(now).and_then(|wait| Duration::try_from(wait).ok());
        if !received.dead.is_empty()
            && let Some(redrive) = queue.settings.redrive.clone()
            && let Some(target) = queues.get_mut(&redrive.target)
        {
            received.dead.into_iter().for_each(|message| target.bury(message));
            self.changed.send_replace(());
        }
        Some((received.messages, next_visible))
    }

    /// Takes a received message off its queue; false if the receipt is stale by now.
    pub(crate) fn delete_received(&self, queue: &str, message: &QueuedMessage) -> bool {
        let now = self.clock.now();
        let outcome = self
            .lock()
            .get_mut(queue)
            .map(|queue| queue.delete(&message.receipt_handle(), now));
        self.changed.send_replace(());
        matches!(outcome, Some(Ok(())))
    }

    /// Gives a received message back at once; false if the receipt is stale by now.
    pub(crate) fn give_back(&self, queue: &str, message: &QueuedMessage) -> bool {
        let now = self.clock.now();
        let receipt = message.receipt_handle();
        let outcome = self
            .lock()
            .get_mut(queue)
            .map(|queue| queue.hide(&receipt, SignedDuration::ZERO, now));
        self.changed.send_replace(());
        matches!(outcome, Some(Ok(())))
    }
}

/// The operations.
impl Queues {
    /// Runs one operation on its JSON input. `host` is where the caller reached us, for the URLs of new queues.
    pub(super) async fn call(&self, operation: &str, input: &[u8], host: &str) -> Result<Value, Refusal> {
        if self.refusing.load(Ordering::SeqCst) {
            let refusal = Refusal::new("ServiceUnavailable", "The service cannot handle the request.");
            return Err(Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                ..refusal
            });
        }
        match operation {
            "CreateQueue" => self.create(&read(input)?, host),
            "GetQueueUrl" => self.find(&read(input)?, host),
            "GetQueueAttributes" => self.attributes(&read(input)?),
            "SendMessage" => self.send(read(input)?),
            "SendMessageBatch" => self.send_batch(read(input)?),
            "ReceiveMessage" => self.receive_message(read(input)?).await,
            "DeleteMessage" => self.delete(&read(input)?),
            "DeleteMessageBatch" => self.delete_batch(read(input)?),
            "ChangeMessageVisibility" => self.change_visibility(&read(input)?),
            _ => Err(Refusal::new(
                "UnknownOperationException",
                format!("no operation {operation:?} here"),
            )),
        }
    }

    fn with_queue<T>(
        &self,
        url: &str,
        act: impl FnOnce(&mut Fifo, Timestamp) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let now = self.clock.now();
        let mut queues = self.lock();
        act(queues.get_mut(queue_name(url)?).ok_or_else(no_such_queue)?, now)
    }

    fn create(&self, input: &Create, host: &str) -> Result<Value, Refusal> {
        let name = &input.queue_name;
        let stem = name.strip_suffix(".fifo").unwrap_or_default();
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if stem.is_empty() || name.len() > 80 || !stem.chars().all(legal) {
            let reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length, and \
                          the name of a FIFO queue ends in .fifo.";
            return Err(invalid_value(name, "QueueName", reason));
        }
        let settings = settings_from(&input.attributes)?;
        let mut queues = self.lock();
        if queues.get(name).is_some_and(|queue| queue.settings != settings) {
            return Err(refusal(
                QUEUE_EXISTS,
                "A queue already exists with the same name and different attributes.",
            ));
        }
        queues
            .entry(name.clone())
            .or_insert_with(|| Fifo::new(settings, self.clock.now()));
        Ok(json!({ "QueueUrl": queue_url(host, name) }))
    }

    fn find(&self, input: &Find, host: &str) -> Result<Value, Refusal> {
        if !self.lock().contains_key(&input.queue_name) {
            return Err(no_such_queue());
        }
        Ok(json!({ "QueueUrl": queue_url(host, &input.queue_name) }))
    }

    fn attributes(&self, input: &Attributes) -> Result<Value, Refusal> {
        let name = queue_name(&input.queue_url)?;
        let all = self.with_queue(&input.queue_url, |queue, now| Ok(attributes_of(name, queue, now)))?;
        let wanted = |name: &String| {
            input
                .attribute_names
                .iter()
                .any(|asked| asked == "All" || asked == name)
        };
        let chosen: Map<String, Value> = all.into_iter().filter(|(name, _)| wanted(name)).collect();
        Ok(if chosen.is_empty() {
            json!({})
        } else {
            json!({ "Attributes": chosen })
        })
    }

    fn accept(&self, url: &str, entry: SendEntry) -> Result<(Accepted, String), Refusal> {
        let outcome = self.with_queue(url, |queue, now| {
            let new = check_message(entry, &queue.settings)?;
            let md5 = format!("{:x}", md5::compute(new.body.as_bytes()));
            Ok((queue.send(new, now), md5))
        });
        self.changed.send_replace(());
        outcome
    }

    fn send(&self, input: Send) -> Result<Value, Refusal> {
        let entry = SendEntry {
            id: String::new(),
            message_body: input.message_body,
            message_group_id: input.message_group_id,
            message_deduplication_id: input.message_deduplication_id,
            message_attributes: input.message_attributes,
        };
        let (accepted, md5) = self.accept(&input.queue_url, entry)?;
        Ok(json!({
            "MessageId": accepted.message_id,
            "MD5OfMessageBody": md5,
            "SequenceNumber": accepted.sequence,
        }))
    }

    fn send_batch(&self, input: Batch<SendEntry>) -> Result<Value, Refusal> {
        check_batch(input.entries.iter().map(|entry| entry.id.as_str()))?;
        let limit = self.with_queue(&input.queue_url, |queue, _| Ok(queue.settings.max_message_bytes))?;
        let total: usize = input
            .entries
            .iter()
            .filter_map(|entry| entry.message_body.as_ref())
            .map(String::len)
            .sum();
        if total > limit {
            let message = format!("Batch requests cannot be longer than {limit} bytes. You have sent {total} bytes.");
            return Err(refusal(TOO_LONG, message));
        }
        let outcomes = input.entries.into_iter().map(|entry| {
            let id = entry.id.clone();
            let (accepted, md5) = self
                .accept(&input.queue_url, entry)
                .map_err(|refusal| (id.clone(), refusal))?;
            Ok(json!({
                "Id": id,
                "MessageId": accepted.message_id,
                "MD5OfMessageBody": md5,
                "SequenceNumber": accepted.sequence,
            }))
        });
        Ok(batch_answer(outcomes))
    }

    async fn receive_message(&self, input: Receive) -> Result<Value, Refusal> {
        let name = queue_name(&input.queue_url)?;
        let max = input.max_number_of_messages.unwrap_or(1);
        if !(1..=10).contains(&max) {
            let reason = "Must be between 1 and 10, if provided.";
            return Err(invalid_value(max, "MaxNumberOfMessages", reason));
        }
        let visibility = input.visibility_timeout.map(check_visibility).transpose()?;
        let default_wait = self.with_queue(&input.queue_url, |queue, _| Ok(queue.settings.receive_wait))?;
        let wait = input.wait_time_seconds.map_or(default_wait, SignedDuration::from_secs);
        if !(0..=20).contains(&wait.as_secs()) {
            let reason = "Must be >= 0 and <= 20, if provided.";
            return Err(invalid_value(wait.as_secs(), "WaitTimeSeconds", reason));
        }
        let wait = Duration::try_from(wait).unwrap_or_default();
        let messages = self
            .receive(name, max, visibility, wait)
            .await
            .ok_or_else(no_such_queue)?;
        if messages.is_empty() {
            return Ok(json!({}));
        }
        let described: Vec<Value> = messages.iter().map(|message| describe(message, &input)).collect();
        Ok(json!({ "Messages": described }))
    }

    fn delete(&self, input: &Delete) -> Result<Value, Refusal> {
        let outcome = self.with_queue(&input.queue_url, |queue, now| {
            queue
                .delete(&input.receipt_handle, now)
                .map_err(|stale| stale_receipt(&stale, &input.receipt_handle))
        });
        self.changed.send_replace(());
        outcome.map(|()| json!({}))
    }

    fn delete_batch(&self, input: Batch<DeleteEntry>) -> Result<Value, Refusal> {
        check_batch(input.entries.iter().map(|entry| entry.id.as_str()))?;
        self.with_queue(&input.queue_url, |_, _| Ok(()))?;
        let outcomes = input.entries.into_iter().map(|entry| {
            let delete = Delete {
                queue_url: input.queue_url.clone(),
                receipt_handle: entry.receipt_handle,
            };
            self.delete(&delete).map_err(|refusal| (entry.id.clone(), refusal))?;
            Ok(json!({ "Id": entry.id }))
        });
        Ok(batch_answer(outcomes))
    }

    fn change_visibility(&self, input: &ChangeVisibility) -> Result<Value, Refusal> {
        let visibility = check_visibility(input.visibility_timeout)?;
        let outcome = self.with_queue(&input.queue_url, |queue, now| {
            queue
                .hide(&input.receipt_handle, visibility, now)
                .map_err(|stale| match stale {
                    StaleReceipt::Expired => refusal(NOT_IN_FLIGHT, "The specified message isn't in flight."),
                    StaleReceipt::Malformed | StaleReceipt::Gone => stale_receipt(&stale, &input.receipt_handle),
                })
        });
        self.changed.send_replace(());
        outcome.map(|()| json!({}))
    }
}
