//! Credentials at rest: read by name, and put back when a vendor renews them.
//!
//! Knows: versions and labels of Secrets Manager. Refuses to know: what a secret holds. Guarantees: no secret appears in
//! `Debug` or in an error; a renewed secret only ever replaces the version it was made from.

use std::fmt;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use cosell::fault::{Class, Fault};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use transport::aws::SdkConfig;

use crate::aws::{CallError, fingerprint};

/// The label of the version that is in force.
const CURRENT: &str = "AWSCURRENT";

/// The label a new version carries before it is in force. It moves on to the next one, so versions that were never
/// put in force lose their last label and are cleaned up by the service.
const CANDIDATE: &str = "COSELL_CANDIDATE";

/// Secrets by name.
#[derive(Clone, Debug)]
pub struct Secrets {
    client: Client,
}

/// One version of a secret.
#[derive(Clone)]
pub struct Secret {
    /// The text, JSON by our convention.
    pub value: SecretString,
    /// Names the version; pass it to [`Secrets::store_rotated`].
    pub version: String,
    /// When this version was stored; a renewed secret is a version of its own.
    pub stored_at: Option<Timestamp>,
}

impl Secret {
    /// How long ago the version was stored; none when the service did not say. Clocks differ: what seems to come from the
    /// future was stored just now.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        let stored_at = self.stored_at?;
        Some(now.duration_since(stored_at).max(SignedDuration::ZERO))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("version", &self.version)
            .field("stored_at", &self.stored_at)
            .finish_non_exhaustive()
    }
}

/// What became of a renewed secret.
#[derive(Debug)]
#[must_use]
pub enum Rotation {
    /// It is in force, as this version.
    Stored(String),
    /// Somebody else renewed it first; this is what is in force.
    Superseded(Secret),
}

/// Why a secret could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Secrets Manager did not do what was asked.
    #[error("secret {id}: {source}")]
    Call {
        /// Name or ARN of the secret.
        id: String,
        /// Why.
        source: CallError,
    },
    /// The secret was made, as the deployment does it, and nothing was stored in it yet.
    #[error("secret {id} holds no value yet")]
    NoValue {
        /// Name or ARN of the secret.
        id: String,
    },
    /// There is a secret, but no text in it.
    #[error("secret {id} has no text; store JSON as its secret string")]
    NoText {
        /// Name or ARN of the secret.
        id: String,
    },
}

impl Error {
    /// Who acts next. Without credentials nothing works, so whatever does not pass by itself is fatal.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Call { source, .. } => match source.class() {
                transient @ Class::Transient { .. } => transient,
                Class::Conflict | Class::Permanent | Class::Fatal => Class::Fatal,
            },
            Self::NoValue { .. } | Self::NoText { .. } => Class::Fatal,
        }
    }

    /// Whether there is no such secret, or none with a value.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Call { source, .. } if source.has_code("ResourceNotFoundException"))
    }

    /// Whether the caller's AWS permissions do not suffice.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Call { source, .. } if source.has_code("AccessDeniedException"))
    }

    /// A bounded name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Call { source, .. } => source.code(),
            Self::NoValue { .. } => "secret_empty",
            Self::NoText { .. } => "secret_without_text",
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            class: error.class(),
            code: error.code(),
            in_doubt: matches!(&error, Error::Call { source, .. } if source.in_doubt()),
            message: error.to_string(),
        }
    }
}

impl Secrets {
    /// Secrets of the client's account.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Secrets of the account that the settings lead to; opens no connection.
    #[must_use]
    pub fn connect(aws: &SdkConfig) -> Self {
        Self::new(Client::new(aws))
    }

    /// The version in force.
    ///
    /// # Errors
    /// When Secrets Manager does not answer or refuses, or the secret holds no value, or one that is no text.
    pub async fn read(&self, id: &str) -> Result<Secret, Error> {
        let answer = self.client.get_secret_value().secret_id(id).send().await;
        let answer = answer.map_err(|error| {
            if lacks_value(&error) {
                Error::NoValue { id: id.to_owned() }
            } else {
                call(id, CallError::new("GetSecretValue", &error))
            }
        })?;
        let stored_at = answer
            .created_date
            .and_then(|at| Timestamp::new(at.secs(), i32::try_from(at.subsec_nanos()).ok()?).ok());
        let has_bytes = answer.secret_binary.is_some();
        match (answer.secret_string, answer.version_id) {
            // A version with neither text nor bytes holds nothing; emulators answer so where AWS refuses.
            (None, _) if !has_bytes => Err(Error::NoValue { id: id.to_owned() }),
            (Some(text), Some(version)) => Ok(Secret {
                value: text.into(),
                version,
                stored_at,
            }),
            _ => Err(Error::NoText { id: id.to_owned() }),
        }
    }

    /// Whether there is a secret of this name at all. One that Terraform has made and nobody has filled has no version,
    /// and reading it looks just like reading one that does not exist.
    ///
    /// # Errors
    /// When Secrets Manager does not answer or refuses.
    pub async fn exists(&self, id: &str) -> Result<bool, Error> {
        match self.client.describe_secret().secret_id(id).send().await {
            Ok(_) => Ok(true),
            Err(error) => {
                let error = call(id, CallError::new("DescribeSecret", &error));
                if error.is_absence() { Ok(false) } else { Err(error) }
            }
        }
    }

    /// Puts a person's new credential in force, whatever was before; answers its version. A refresh token that a function
    /// rotates at the same moment does not replace it: [`Secrets::store_rotated`] is refused then.
    ///
    /// # Errors
    /// When Secrets Manager does not answer or refuses.
    pub async fn store(&self, id: &str, value: &SecretString) -> Result<String, Error> {
        let request = self.client.put_secret_value().secret_id(id);
        let stored = request.secret_string(value.expose_secret()).send().await;
        let stored = stored.map_err(|error| call(id, CallError::new("PutSecretValue", &error)))?;
        Ok(stored.version_id.unwrap_or_default())
    }

    /// Puts a renewed secret in force, if `expected` still is.
    ///
    /// Storing a value the usual way puts it in force unconditionally. Two workers that renew the same refresh token at
    /// the same time would then leave behind whichever was slower, and that may be the token that ends first. So the
    /// value is first stored under a label nobody reads, and then the label in force is moved *from*
    /// `expected` to it: the service refuses if the label is not there any more.
    ///
    /// # Errors
    /// As [`Secrets::read`]. After an error the same call may be made again; nothing is stored twice.
    pub async fn store_rotated(&self, id: &str, expected: &str, renewed: &SecretString) -> Result<Rotation, Error> {
        // The version's name follows from its content, so a repeat stores nothing new. Half of a SHA-256 over a text
        // that contains a vendor's token tells nothing about it.
        let digest = fingerprint([id, expected, renewed.expose_secret()]);
        let version: String = digest.chars().take(32).collect();
        let stored = self
            .client
            .put_secret_value()
            .secret_id(id)
            .client_request_token(&version)
            .secret_string(renewed.expose_secret())
            .version_stages(CANDIDATE)
            .send()
            .await;
        stored.map_err(|error| call(id, CallError::new("PutSecretValue", &error)))?;

        let moved = self
            .client
            .update_secret_version_stage()
            .secret_id(id)
            .version_stage(CURRENT)
            .remove_from_version_id(expected)
            .move_to_version_id(&version)
            .send()
            .await;
        let Err(error) = moved else {
            return Ok(Rotation::Stored(version));
        };
        let error = CallError::new("UpdateSecretVersionStage", &error);
        if !error.is_rejected() {
            return Err(call(id, error));
        }
        // The label is elsewhere: with another's version, or with ours because the answer to the move was lost.
        let current = self.read(id).await?;
        if current.version == version {
            Ok(Rotation::Stored(version))
        } else if current.version == expected {
            Err(call(id, error))
        } else {
            Ok(Rotation::Superseded(current))
        }
    }
}

/// Whether the secret exists and only its version in force is missing.
///
/// The service has one code for both; its words differ: "can't find the specified secret value for staging label:
/// AWSCURRENT" instead of "can't find the specified secret". (boto/boto3 issue 2794.) Should the words change one day,
/// an empty secret is told as a missing one, which fails as well and names it.
fn lacks_value<R>(error: &SdkError<GetSecretValueError, R>) -> bool {
    let error = error.as_service_error();
    error.is_some_and(|error| {
        let words = error.message().unwrap_or_default();
        error.is_resource_not_found_exception() && words.contains("staging label") && words.contains(CURRENT)
    })
}

fn call(id: &str, source: CallError) -> Error {
    Error::Call {
        id: id.to_owned(),
        source,
    }
}
