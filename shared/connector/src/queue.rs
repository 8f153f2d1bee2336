//! The queue of hints: how a poll asks for deals to be looked at.
//!
//! Knows: batches, groups and de-duplication of an SQS FIFO queue. Refuses to know: why a deal should be looked at, and
//! who looks. Guarantee: either every hint is stored, or the caller gets an error and must not pass the rows they came
//! from.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};
use aws_smithy_runtime_api::client::result::SdkError;
use cosell::fault::{Class, Fault};
use cosell::hint::{Hint, Keyed};

use crate::aws::{CallError, fingerprint};

/// SQS's limit for one batch.
const BATCH: usize = 10;

/// The queue of hints.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
}

/// Why hints could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQS did not do what was asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A hint cannot be written as JSON.
    #[error("a hint about {subject} cannot be written as JSON")]
    Unencodable {
        /// What it is about.
        subject: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// SQS took some messages of a batch and not others, twice.
    #[error("{refused} of {all} hints were not queued: {first}")]
    Refused {
        /// How many are not on the queue, as far as we know.
        refused: usize,
        /// How many there were.
        all: usize,
        /// What SQS said of the first of them.
        first: CallError,
    },
}

impl Error {
    /// Who acts next.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Call(error) | Self::Refused { first: error, .. } => error.class(),
            Self::Unencodable { .. } => Class::Permanent,
        }
    }

    /// A bounded name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Call(error) => error.code(),
            Self::Unencodable { .. } => "queue_hint_unencodable",
            Self::Refused { .. } => "queue_refused",
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            class: error.class(),
            code: error.code(),
            // Whatever was stored in spite of an error is dropped as a repeat, or looked at twice, which is harmless.
            in_doubt: matches!(&error, Error::Call(call) if call.in_doubt()),
            message: error.to_string(),
        }
    }
}

impl Queue {
    /// The queue at this URL.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    /// Stores all hints, in batches; what SQS refuses is tried once more.
    ///
    /// # Errors
    /// When any hint may not have been stored. Trying all of them again is harmless.
    pub async fn send(&self, hints: &[Keyed]) -> Result<(), Error> {
        let mut sent = 0;
        for batch in hints.chunks(BATCH) {
            let entries = batch.iter().enumerate().map(entry).collect::<Result<Vec<_>, Error>>()?;
            let refused = self.send_batch(&entries).await?;
            let again: Vec<_> = entries
                .into_iter()
                .filter(|entry| refused.iter().any(|refusal| refusal.id() == entry.id()))
                .collect();
            let refused = if again.is_empty() {
                Vec::new()
            } else {
                self.send_batch(&again).await?
            };
            if let Some(first) = refused.first() {
                return Err(Error::Refused {
                    // Batches after this one were not tried.
                    refused: hints.len() - sent - (batch.len() - refused.len()),
                    all: hints.len(),
                    first: refusal(first),
                });
            }
            sent += batch.len();
        }
        Ok(())
    }

    /// Sends one batch and returns what was refused.
    async fn send_batch(&self, entries: &[SendMessageBatchRequestEntry]) -> Result<Vec<BatchResultErrorEntry>, Error> {
        let request = self.client.send_message_batch().queue_url(&self.url);
        let answer = request.set_entries(Some(entries.to_vec())).send().await;
        Ok(answer
            .map_err(|error| CallError::new("SendMessageBatch", &error))?
            .failed)
    }
}

fn entry((position, keyed): (usize, &Keyed)) -> Result<SendMessageBatchRequestEntry, Error> {
    let body = keyed.hint().to_json().map_err(|source| Error::Unencodable {
        subject: keyed.hint().subject.to_string(),
        source,
    })?;
    let incomplete = |error: BuildError| {
        let error: SdkError<SendMessageBatchError, _> = SdkError::construction_failure(error);
        CallError::new("SendMessageBatch", &error)
    };
    let entry = SendMessageBatchRequestEntry::builder()
        .id(position.to_string())
        .message_body(body)
        .message_group_id(keyed.hint().group_id())
        .message_deduplication_id(deduplication_id(keyed))
        .build()
        .map_err(incomplete)?;
    Ok(entry)
}

fn deduplication_id(keyed: &Keyed) -> String {
    let Hint { subject, cause, .. } = keyed.hint();
    fingerprint([&*subject.to_string(), &*cause.to_string(), keyed.key()])
}

/// The code of an entry says what is wrong with it; whose fault it is stands beside it, as a status would.
fn refusal(entry: &BatchResultErrorEntry) -> CallError {
    let status = if entry.sender_fault() { 400 } else { 500 };
    CallError::entry("SendMessageBatch", entry.code(), entry.message(), status)
}
