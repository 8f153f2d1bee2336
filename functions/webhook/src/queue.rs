//! The way onto the queue: one message per genuine event.
//!
//! Knows the SQS call. Guarantees: a hint can only be put under a key that a verified delivery gave, hints about one
//! record share a group and thus keep their order, and the same delivery sent again is one message.

use std::error::Error as _;
use std::time::Duration;

use aws_sdk_sqs::config::Builder;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sqs::operation::send_message::SendMessageError;
use cosell::hint::Hint;
use reqwest::{Client, Url};
use transport::aws::SdkConfig;

use crate::trust::DeliveryKey;

/// A send takes some ten milliseconds; after this long another connection is the better bet.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(1500);

/// With the certificate's share this keeps the answer below ten seconds; Partner Center tries again after a 503.
const LIMIT: Duration = Duration::from_secs(4);

/// How long the start may wait for the first connection; without it the first send connects.
const WARM_UP_LIMIT: Duration = Duration::from_millis(800);

/// Why a hint is not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueueError {
    /// The hint could not be written as JSON.
    #[error("the hint is not serialisable")]
    Unwritable(#[source] serde_json::Error),
    /// SQS could not be reached or was too slow.
    #[error("the queue cannot be reached")]
    Unreachable(#[source] Box<SdkError<SendMessageError>>),
    /// SQS said no.
    #[error("the queue refused the message")]
    Refused(#[source] Box<SdkError<SendMessageError>>),
}

impl QueueError {
    /// A bounded name. Whatever it is, the post is answered 503 and comes again.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unwritable(_) => "hint_unwritable",
            Self::Unreachable(_) => "queue_unreachable",
            Self::Refused(_) => "queue_refused",
        }
    }

    /// The whole story in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}

impl From<SdkError<SendMessageError>> for QueueError {
    fn from(error: SdkError<SendMessageError>) -> Self {
        if error.code().is_some() || error.raw_response().is_some() {
            Self::Refused(Box::new(error))
        } else {
            Self::Unreachable(Box::new(error))
        }
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    sqs: aws_sdk_sqs::Client,
    url: Url,
    client: Client,
}

impl Queue {
    pub(crate) fn new(aws: &SdkConfig, url: Url, client: Client) -> Self {
        let limits = TimeoutConfig::builder()
            .read_timeout(ATTEMPT_LIMIT)
            .operation_attempt_timeout(ATTEMPT_LIMIT)
            .operation_timeout(LIMIT)
            .build();
        let sqs = aws_sdk_sqs::Client::from_conf(Builder::from(aws).timeout_config(limits).build());
        Self { sqs, url, client }
    }

    /// Opens a connection to the queue's host, to be reused by the first send. Not in tests: loopback needs no warmth.
    pub(crate) async fn warm_up(&self) {
        if self.url.scheme() != "https" {
            return;
        }
        let mut origin = self.url.clone();
        origin.set_path("/");
        let answer = self.client.head(origin).timeout(WARM_UP_LIMIT).send().await;
        tracing::debug!(connected = answer.is_ok(), "warmed up the connection to the queue");
    }

    /// Stores one hint.
    pub(crate) async fn put(&self, hint: &Hint, key: &DeliveryKey) -> Result<(), QueueError> {
        let body = hint.to_json().map_err(QueueError::Unwritable)?;
        let message = self
            .sqs
            .send_message()
            .queue_url(self.url.as_str())
            .message_body(body)
            .message_group_id(hint.group_id())
            .message_deduplication_id(key.as_str());
        // Boxed: the SDK's future is nested so deeply that the compiler gives up on those around it.
        Box::pin(message.send()).await?;
        Ok(())
    }
}
