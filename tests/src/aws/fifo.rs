//! One FIFO queue: order within a group, deduplication, visibility, receive counts.
//!
//! Knows: the rules by which SQS hands out and takes back messages. Refuses to know: the wire, and other queues; dead
//! letters are handed to the caller. Guarantee: while a message of a group is in flight, no later one of that group is
//! handed out, and a deduplication id is accepted once in five minutes even if its message is gone.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long SQS remembers a deduplication id.
const DEDUPLICATION_WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// Sequence numbers have 20 digits and grow by more than one; this is an arbitrary first one.
const FIRST_SEQUENCE: u128 = 18_870_000_000_000_000_000;
const SEQUENCE_STEP: u128 = 256;

/// A custom attribute of a message, in the shape SQS reads and writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct MessageAttribute {
    /// `String`, `Number`, `Binary`, or one of them with a custom suffix.
    pub data_type: String,
    /// Value of a string or number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// Value of a binary, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

/// A message as the queue holds it.
#[derive(Clone, Debug)]
pub struct QueuedMessage {
    /// Id SQS gave it.
    pub message_id: String,
    /// `MessageGroupId`.
    pub group: String,
    /// `MessageDeduplicationId`, given or made from the body.
    pub deduplication: String,
    /// Body as sent.
    pub body: String,
    /// Custom attributes.
    pub attributes: BTreeMap<String, MessageAttribute>,
    /// 20 digits; later messages have greater ones.
    pub sequence: String,
    /// When it was sent.
    pub sent: Timestamp,
    /// When it was first handed out.
    pub first_received: Option<Timestamp>,
    /// How often it was handed out.
    pub receives: u32,
    /// Hidden from receivers until then; none before the first receive.
    pub hidden_until: Option<Timestamp>,
}

impl QueuedMessage {
    /// Whether a receiver has it and its visibility timeout still runs.
    #[must_use]
    pub fn in_flight(&self, now: Timestamp) -> bool {
        self.hidden_until.is_some_and(|until| until > now)
    }

    /// Proof of the newest receive; earlier ones of the same message are then stale.
    pub(crate) fn receipt_handle(&self) -> String {
        format!("AQEB-{}-{}", self.message_id, self.receives)
    }

    pub(crate) fn body_md5(&self) -> String {
        format!("{:x}", md5::compute(self.body.as_bytes()))
    }
}

/// A message to be put on a queue.
pub(super) struct NewMessage {
    pub(super) group: String,
    pub(super) deduplication: String,
    pub(super) body: String,
    pub(super) attributes: BTreeMap<String, MessageAttribute>,
}

/// What SQS answers to a send; the same again for a duplicate.
#[derive(Clone)]
pub(super) struct Accepted {
    pub(super) message_id: String,
    pub(super) sequence: String,
    at: Timestamp,
}

/// Why a receipt handle did not do what it was meant for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StaleReceipt {
    /// Not a handle this service makes.
    Malformed,
    /// The message was received again, or its visibility timeout is over.
    Expired,
    /// The message is no longer there.
    Gone,
}

/// When a message is given up, and where it goes then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redrive {
    /// Queue that takes messages that were received too often.
    pub(super) target: String,
    /// A message that was handed out this often is not handed out again.
    pub(super) max_receives: u32,
}

/// Settings of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueSettings {
    pub(super) visibility: SignedDuration,
    pub(super) retention: SignedDuration,
    pub(super) receive_wait: SignedDuration,
    pub(super) max_message_bytes: usize,
    pub(super) content_based_deduplication: bool,
    pub(super) redrive: Option<Redrive>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            visibility: SignedDuration::from_secs(30),
            retention: SignedDuration::from_hours(4 * 24),
            receive_wait: SignedDuration::ZERO,
            max_message_bytes: 262_144,
            content_based_deduplication: false,
            redrive: None,
        }
    }
}

/// What one receive brought.
#[derive(Default)]
pub(super) struct Received {
    pub(super) messages: Vec<QueuedMessage>,
    /// Taken off the queue because they were received too often.
    pub(super) dead: Vec<QueuedMessage>,
}

/// One FIFO queue.
pub(super) struct Fifo {
    pub(super) settings: QueueSettings,
    pub(super) created: Timestamp,
    messages: Vec<QueuedMessage>,
    accepted: HashMap<String, Accepted>,
    next_sequence: u128,
}

impl Fifo {
    pub(super) fn new(settings: QueueSettings, created: Timestamp) -> Self {
        Self {
            settings,
            created,
            messages: Vec::new(),
            accepted: HashMap::new(),
            next_sequence: FIRST_SEQUENCE,
        }
    }

    fn sequence(&mut self) -> String {
        self.next_sequence += SEQUENCE_STEP;
        format!("{:020}", self.next_sequence)
    }

    /// Puts a message at the end, or answers for the one that was accepted with the same deduplication id.
    pub(super) fn send(&mut self, new: NewMessage, now: Timestamp) -> Accepted {
        self.accepted
            .retain(|_, accepted| now.duration_since(accepted.at) < DEDUPLICATION_WINDOW);
        if let Some(accepted) = self.accepted.get(&new.deduplication) {
            return accepted.clone();
        }
        let accepted = Accepted {
            message_id: Uuid::new_v4().to_string(),
            sequence: self.sequence(),
            at: now,
        };
        self.accepted.insert(new.deduplication.clone(), accepted.clone());
        self.messages.push(QueuedMessage {
            message_id: accepted.message_id.clone(),
            group: new.group,
            deduplication: new.deduplication,
            body: new.body,
            attributes: new.attributes,
            sequence: accepted.sequence.clone(),
            sent: now,
            first_received: None,
            receives: 0,
            hidden_until: None,
        });
        accepted
    }

    /// Takes in a message another queue gave up on. It keeps its id, its age and its receive count.
    pub(super) fn bury(&mut self, mut message: QueuedMessage) {
        message.sequence = self.sequence();
        message.hidden_until = None;
        self.messages.push(message);
    }

    /// Hands out up to `max` messages: all that can be had of the oldest free group first, then of the next.
    pub(super) fn receive(&mut self, max: usize, visibility: SignedDuration, now: Timestamp) -> Received {
        let retention = self.settings.retention;
        self.messages
            .retain(|message| now.duration_since(message.sent) < retention);
        let mut received = Received::default();
        if let Some(redrive) = &self.settings.redrive {
            let worn_out =
                |message: &mut QueuedMessage| !message.in_flight(now) && message.receives >= redrive.max_receives;
            received.dead = self.messages.extract_if(.., worn_out).collect();
        }
        let mut groups: Vec<String> = Vec::new();
        for message in &self.messages {
            if !groups.contains(&message.group) {
                groups.push(message.group.clone());
            }
        }
        groups.retain(|group| {
            !self
                .messages
                .iter()
                .any(|message| message.group == *group && message.in_flight(now))
        });
        for group in groups {
            for message in self.messages.iter_mut().filter(|message| message.group == group) {
                if received.messages.len() == max {
                    return received;
                }
                message.receives += 1;
                message.first_received.get_or_insert(now);
                message.hidden_until = Some(now + visibility);
                received.messages.push(message.clone());
            }
        }
        received
    }

    /// Takes a message off the queue. One that is gone already counts as deleted.
    pub(super) fn delete(&mut self, receipt: &str, now: Timestamp) -> Result<(), StaleReceipt> {
        match self.received(receipt, now) {
            Ok(message) => {
                let id = message.message_id.clone();
                self.messages.retain(|message| message.message_id != id);
                Ok(())
            }
            Err(StaleReceipt::Gone) => Ok(()),
            Err(stale) => Err(stale),
        }
    }

    /// Hides a message in flight for this long from now; zero gives it back at once.
    pub(super) fn hide(
        &mut self,
        receipt: &str,
        visibility: SignedDuration,
        now: Timestamp,
    ) -> Result<(), StaleReceipt> {
        self.received(receipt, now)?.hidden_until = Some(now + visibility);
        Ok(())
    }

    fn received(&mut self, receipt: &str, now: Timestamp) -> Result<&mut QueuedMessage, StaleReceipt> {
        let (id, receives) = receipt
            .strip_prefix("AQEB-")
            .and_then(|rest| rest.rsplit_once('-'))
            .and_then(|(id, receives)| Some((id, receives.parse::<u32>().ok()?)))
            .ok_or(StaleReceipt::Malformed)?;
        let found = self
            .messages
            .iter_mut()
            .find(|message| message.message_id == id)
            .ok_or(StaleReceipt::Gone)?;
        if found.receives != receives || !found.in_flight(now) {
            return Err(StaleReceipt::Expired);
        }
        Ok(found)
    }

    /// Everything on the queue, in order.
    pub(super) fn messages(&self) -> &[QueuedMessage] {
        &self.messages
    }

    /// How long until a message in flight becomes visible by itself; none if nothing is in flight.
    pub(super) fn next_visible(&self, now: Timestamp) -> Option<SignedDuration> {
        let hidden = self
            .messages
            .iter()
            .filter_map(|message| message.hidden_until)
            .filter(|until| *until > now);
        hidden.min().map(|until| until.duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISIBILITY: SignedDuration = SignedDuration::from_secs(30);

    fn start() -> Timestamp {
        Timestamp::from_second(1_750_000_000).unwrap()
    }

    fn after(seconds: i64) -> Timestamp {
        start() + SignedDuration::from_secs(seconds)
    }

    fn queue(max_receives: u32) -> Fifo {
        let redrive = Some(Redrive {
            target: "dead.fifo".into(),
            max_receives,
        });
        Fifo::new(
            QueueSettings {
                visibility: VISIBILITY,
                redrive,
                ..QueueSettings::default()
            },
            start(),
        )
    }

    fn send(queue: &mut Fifo, group: &str, body: &str, now: Timestamp) -> Accepted {
        let new = NewMessage {
            group: group.into(),
            deduplication: body.into(),
            body: body.into(),
            attributes: BTreeMap::new(),
        };
        queue.send(new, now)
    }

    fn bodies(received: &Received) -> Vec<&str> {
        received.messages.iter().map(|message| message.body.as_str()).collect()
    }

    #[test]
    fn a_group_in_flight_blocks_its_later_messages_only() {
        let mut queue = queue(5);
        for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
            send(&mut queue, group, body, start());
        }
        let first = queue.receive(1, VISIBILITY, start());
        assert_eq!(bodies(&first), ["a1"]);
        assert_eq!(bodies(&queue.receive(10, VISIBILITY, start())), ["b1"]);
        queue.delete(&first.messages[0].receipt_handle(), start()).unwrap();
        assert_eq!(bodies(&queue.receive(10, VISIBILITY, start())), ["a2"]);
    }

    #[test]
    fn one_receive_brings_a_group_in_order_before_the_next_group() {
        let mut queue = queue(5);
        for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
            send(&mut queue, group, body, start());
        }
        assert_eq!(bodies(&queue.receive(10, VISIBILITY, start())), ["a1", "a2", "b1"]);
    }

    #[test]
    fn a_repeated_deduplication_id_is_one_message_for_five_minutes_even_after_deletion() {
        let mut queue = queue(5);
        let first = send(&mut queue, "a", "same", start());
        let received = queue.receive(1, VISIBILITY, start());
        queue.delete(&received.messages[0].receipt_handle(), start()).unwrap();
        let again = send(&mut queue, "a", "same", after(299));
        assert_eq!(
            (&again.message_id, &again.sequence),
            (&first.message_id, &first.sequence)
        );
        assert!(queue.messages().is_empty());
        let later = send(&mut queue, "a", "same", after(300));
        assert_ne!(later.message_id, first.message_id);
        assert!(later.sequence > first.sequence);
    }

    #[test]
    fn a_message_comes_back_after_its_timeout_and_its_old_receipt_is_stale() {
        let mut queue = queue(5);
        send(&mut queue, "a", "a1", start());
        let first = queue.receive(1, VISIBILITY, start());
        assert_eq!(queue.next_visible(after(10)), Some(SignedDuration::from_secs(20)));
        assert!(queue.receive(1, VISIBILITY, after(29)).messages.is_empty());
        let second = queue.receive(1, VISIBILITY, after(30));
        assert_eq!(second.messages[0].receives, 2);
        let stale = first.messages[0].receipt_handle();
        assert_eq!(queue.delete(&stale, after(31)), Err(StaleReceipt::Expired));
        assert_eq!(queue.delete("nonsense", after(31)), Err(StaleReceipt::Malformed));
        queue.delete(&second.messages[0].receipt_handle(), after(31)).unwrap();
        assert_eq!(queue.delete(&stale, after(31)), Ok(()));
    }

    #[test]
    fn a_message_received_too_often_leaves_the_queue_and_frees_its_group() {
        let mut queue = queue(2);
        send(&mut queue, "a", "poison", start());
        send(&mut queue, "a", "next", start());
        for _ in 0..2 {
            let received = queue.receive(1, VISIBILITY, start());
            assert_eq!(bodies(&received), ["poison"]);
            queue
                .hide(&received.messages[0].receipt_handle(), SignedDuration::ZERO, start())
                .unwrap();
        }
        let received = queue.receive(1, VISIBILITY, start());
        assert_eq!(bodies(&received), ["next"]);
        assert_eq!(received.dead[0].body, "poison");
        assert_eq!(received.dead[0].receives, 2);
    }

    #[test]
    fn a_message_is_forgotten_after_the_retention_period() {
        let mut queue = queue(2);
        send(&mut queue, "a", "old", start());
        assert!(queue.receive(1, VISIBILITY, after(4 * 24 * 3600)).messages.is_empty());
        assert!(queue.messages().is_empty());
    }
}
