//! The ledger: what we remember of every deal, and the proof of what we did.
//!
//! Knows: how links, pointers, audit records, cursors, leases and breakers are read and written in DynamoDB. Refuses to
//! know: what a link means, and any vendor. Guarantees: a link is only replaced by a write that names the version it
//! replaces; a record belongs to one link; link, pointers and audit are written together or not at all; an answer that
//! was lost on the way is not mistaken for a lost race.
//!
//! # Tables
//!
//! `links`, keys `pk` and `sk`:
//!
//! | `pk` | `sk` | attributes |
//! |---|---|---|
//! | `LINK#<id>` | `LINK` | `version` N, `writer`, `body` (JSON of the whole link), `referral`, `opportunity`, `microsoft`; `due_shard` and `due_at` while due, `attention_shard` and `attention_since` while a person is waited for |
//! | `REFERRAL#<id>`, `OPPORTUNITY#<id>`, `LEAD#<id>`, `MICROSOFT#<id>`, `ENGAGEMENT#<id>` | `LINK` | `link`; once it was let go `parted` instead, the link that held it last |
//! | `SOLUTION#<row>` | `LINK#<id>` | `link`: one for each link that has seen the solution row, which may be moved between deals |
//! | `CURSOR#<system>` | `CURSOR` | `value`, `version` N |
//! | `LEASE#<name>` | `LEASE` | `holder`, `until` |
//! | `BREAKER#<api>` | `BREAKER` | `open_until` |
//!
//! Sparse indexes `due` (`due_shard`, `due_at`) and `attention` (`attention_shard`, `attention_since`); both project
//! `referral`, `opportunity`, `microsoft`. They list; nothing is decided on them.
//!
//! `audit`, keys `pk` (the link's id) and `sk` (`<version, 12 digits>#<position>`): `body` (JSON of the entry), `at`,
//! `day`, `expires` N (time to live). Index `day` (`day`, `at`) projects everything.
//!
//! Only `PutItem`, `GetItem`, `Query` and `Scan` are called, so that the role needs no right to update or delete.

mod items;
mod listings;
mod marks;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use cosell::fault::{Class, Fault};
use cosell::hint::Subject;
use cosell::ids::{EngagementId, LinkId};
use cosell::link::{Link, LinkWrite, Pointer};

use self::items::{Item, Key, LINK, PARTED, PK, VERSION};
pub use self::listings::{Listed, Page, PageToken};
pub use self::marks::Lease;
use crate::aws::{CallError, fingerprint};

/// DynamoDB's limit for the writes of one transaction.
const MAX_TRANSACTION_ITEMS: usize = 100;

/// DynamoDB's limit for all items of one transaction together, in bytes.
const MAX_TRANSACTION_BYTES: usize = 4 * 1024 * 1024;

/// What DynamoDB says beside the write whose condition did not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";

/// Links, pointers, audit and marks in two DynamoDB tables.
#[derive(Clone, Debug)]
pub struct Ledger {
    client: Client,
    links: String,
    audit: String,
}

/// How a write of a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It is written; perhaps by an attempt whose answer was lost.
    Done,
    /// The link has another version by now: nothing was written.
    Outrun,
    /// A record belongs to another link already: nothing was written.
    Taken(Pointer, LinkId),
}

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// DynamoDB did not do what was asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An item is not what this version of the program writes.
    #[error("the item {key} cannot be read at {place}; restore it, or run the version that wrote it")]
    Undecodable {
        /// Its partition key.
        key: String,
        /// Attribute, and path in it.
        place: String,
    },
    /// A record cannot be written as JSON.
    #[error("link {link} cannot be written as JSON")]
    Unencodable {
        /// Whose.
        link: LinkId,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A pointer leads to nothing, although both are written together.
    #[error("the item {pointer} points to link {link}, which does not exist; restore the table")]
    Dangling {
        /// Its partition key.
        pointer: String,
        /// Where it points.
        link: LinkId,
    },
    /// An item is larger than DynamoDB takes.
    #[error("the item {key} has {bytes} bytes, more than DynamoDB stores in one item")]
    TooLarge {
        /// Its partition key.
        key: String,
        /// Names and values together.
        bytes: usize,
    },
    /// One write is larger than a transaction of DynamoDB.
    #[error("the write of link {link} has {items} items and {bytes} bytes, more than DynamoDB takes at once")]
    TooMuchAtOnce {
        /// Whose.
        link: LinkId,
        /// Link, pointers and audit records.
        items: usize,
        /// Of all of them.
        bytes: usize,
    },
    /// Where a list is to go on is no place of it.
    #[error("\"from\" is not a place that this command answered as \"next\"")]
    NoPlace,
    /// The audit already says something else of this version.
    #[error("the audit of link {link} has an entry for version {version} already; its link was restored or deleted")]
    AuditExists {
        /// Whose.
        link: LinkId,
        /// Which version of it.
        version: u64,
    },
}

impl Error {
    /// Who acts next.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Call(error) => error.class(),
            Self::Undecodable { .. }
            | Self::Unencodable { .. }
            | Self::Dangling { .. }
            | Self::TooLarge { .. }
            | Self::TooMuchAtOnce { .. }
            | Self::NoPlace
            | Self::AuditExists { .. } => Class::Permanent,
        }
    }

    /// A bounded name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Call(error) => error.code(),
            Self::Undecodable { .. } => "ledger_item_undecodable",
            Self::Unencodable { .. } => "ledger_item_unencodable",
            Self::Dangling { .. } => "ledger_pointer_dangling",
            Self::TooLarge { .. } => "ledger_item_too_large",
            Self::TooMuchAtOnce { .. } => "ledger_write_too_large",
            Self::NoPlace => "invalid_place",
            Self::AuditExists { .. } => "ledger_audit_exists",
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Call(error) => error.into(),
            error => Self {
                class: error.class(),
                code: error.code(),
                in_doubt: false,
                message: error.to_string(),
            },
        }
    }
}

impl Ledger {
    /// A ledger in these two tables.
    #[must_use]
    pub fn new(client: Client, links_table: impl Into<String>, audit_table: impl Into<String>) -> Self {
        Self {
            client,
            links: links_table.into(),
            audit: audit_table.into(),
        }
    }

    /// The link that a record belongs to. A referral may be the partner's own or Microsoft's half. A link that was kept for
    /// a record without claiming it (a referral that is not visible yet, or that a person has to settle) is found under
    /// the record's own id. A record that was parted from its link is found there, unless another holds it by now.
    ///
    /// # Errors
    /// When DynamoDB does not answer, or the items are not what we write.
    pub async fn find(&self, subject: Subject) -> Result<Option<Link>, Error> {
        match subject {
            Subject::Opportunity(id) => match self.follow(Pointer::Opportunity(id)).await? {
                Some(link) => Ok(Some(link)),
                None => self.get(id.into()).await,
            },
            Subject::Lead(id) => match self.follow(Pointer::Lead(id)).await? {
                Some(link) => Ok(Some(link)),
                None => self.get(id.into()).await,
            },
            Subject::Referral(id) => {
                for pointer in [Pointer::Referral(id), Pointer::Microsoft(id)] {
                    if let Some(link) = self.follow(pointer).await? {
                        return Ok(Some(link));
                    }
                }
                self.get(id.into()).await
            }
        }
    }

    /// The link of an engagement.
    ///
    /// # Errors
    /// As [`Ledger::find`].
    pub async fn find_engagement(&self, id: EngagementId) -> Result<Option<Link>, Error> {
        let found = self.follow(Pointer::Engagement(id)).await?;
        // One that was let go leads to whoever held it last.
        Ok(found.filter(|link| link.engagement == Some(id)))
    }

    /// One link.
    ///
    /// # Errors
    /// As [`Ledger::find`].
    pub async fn get(&self, id: LinkId) -> Result<Option<Link>, Error> {
        let item = self.item(&Key::link(id)).await?;
        item.as_ref().map(items::link).transpose()
    }

    async fn follow(&self, pointer: Pointer) -> Result<Option<Link>, Error> {
        let key = Key::pointer(pointer);
        let Some(item) = self.item(&key).await? else {
            return Ok(None);
        };
        let link = items::pointed_at(&item)?;
        // Whoever sees the pointer of a transaction sees its link, or a later version, from then on.
        match self.get(link).await? {
            Some(link) => Ok(Some(link)),
            None => Err(Error::Dangling { pointer: key.pk, link }),
        }
    }

    /// Reads one item of `links`, never an older version than the last one written.
    async fn item(&self, key: &Key) -> Result<Option<Item>, Error> {
        let request = self.client.get_item().table_name(&self.links);
        let answer = request.set_key(Some(key.item())).consistent_read(true).send().await;
        Ok(answer.map_err(|error| CallError::new("GetItem", &error))?.item)
    }

    /// Writes a link, its new pointers and its audit records: all, or nothing.
    ///
    /// # Errors
    /// When DynamoDB does not answer or the write is larger than it takes. After an error in doubt the same write may be
    /// tried again: if it was applied, the answer is [`Written::Done`].
    pub async fn write(&self, write: &LinkWrite) -> Result<Written, Error> {
        if write.pointers.is_empty() && write.freed.is_empty() && write.audit.is_empty() {
            self.put_link(write).await
        } else {
            self.transact(write).await
        }
    }

    /// The usual case, at half the price of a transaction.
    async fn put_link(&self, write: &LinkWrite) -> Result<Written, Error> {
        let item = items::of_link(&write.link)?;
        let request = self
            .client
            .put_item()
            .table_name(&self.links)
            .set_item(Some(item.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match write.replaces() {
            None => request
                .condition_expression("attribute_not_exists(#pk)")
                .expression_attribute_names("#pk", PK),
            Some(version) => request
                .condition_expression("#version = :replaces")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":replaces", items::number(version)),
        };
        match condition_held(request.send().await)? {
            Ok(()) => Ok(Written::Done),
            Err(found) => Ok(judge(&item, found.as_ref())),
        }
    }

    async fn transact(&self, write: &LinkWrite) -> Result<Written, Error> {
        let link = write.link.id;
        let item = items::of_link(&write.link)?;
        let mut token = vec![items::body_text(&item).to_owned()];
        let mut bytes = items::size(&item);

        let put =
            || Put::builder().return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut puts = Vec::with_capacity(1 + write.pointers.len() + write.audit.len());
        let builder = put().table_name(&self.links).set_item(Some(item.clone()));
        puts.push(match write.replaces() {
            None => builder
                .condition_expression("attribute_not_exists(#pk)")
                .expression_attribute_names("#pk", PK),
            Some(version) => builder
                .condition_expression("#version = :replaces")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":replaces", items::number(version)),
        });
        for pointer in &write.pointers {
            let item = items::of_pointer(*pointer, link);
            bytes += items::size(&item);
            token.push(Key::pointer(*pointer).pk);
            let builder = put().table_name(&self.links).set_item(Some(item));
            puts.push(if pointer.is_claim() {
                builder
                    // One that was let go has no link.
                    .condition_expression("attribute_not_exists(#link) OR #link = :link")
                    .expression_attribute_names("#link", LINK)
                    .expression_attribute_values(":link", items::text(link.to_string()))
            } else {
                builder
            });
        }
        for pointer in &write.freed {
            let item = items::of_freed_pointer(*pointer, link);
            bytes += items::size(&item);
            token.push(format!("-{}", Key::pointer(*pointer).pk));
            let builder = put().table_name(&self.links).set_item(Some(item));
            puts.push(
                builder
                    .condition_expression("#link = :link OR #parted = :link")
                    .expression_attribute_names("#link", LINK)
                    .expression_attribute_names("#parted", PARTED)
                    .expression_attribute_values(":link", items::text(link.to_string())),
            );
        }
        for (position, entry) in write.audit.iter().enumerate() {
            let item = items::of_audit(entry, position)?;
            bytes += items::size(&item);
            token.push(items::body_text(&item).to_owned());
            let builder = put().table_name(&self.audit).set_item(Some(item));
            puts.push(
                builder
                    .condition_expression("attribute_not_exists(#pk)")
                    .expression_attribute_names("#pk", PK),
            );
        }
        if puts.len() > MAX_TRANSACTION_ITEMS || bytes > MAX_TRANSACTION_BYTES {
            let items = puts.len();
            return Err(Error::TooMuchAtOnce { link, items, bytes });
        }

        let actions = puts
            .into_iter()
            .map(|put| Ok(TransactWriteItem::builder().put(put.build()?).build()))
            .collect::<Result<Vec<_>, aws_sdk_dynamodb::error::BuildError>>()
            .map_err(|error| CallError::new("TransactWriteItems", &incomplete(error)))?;
        // The service answers a repeated token with success, if it goes with the same request. Version and writer are
        // in the link's body; the rest of the content is in the token too, because a run that never heard of its first
        // attempt may try a different write of the same version.
        let token: String = fingerprint(token.iter().map(String::as_str)).chars().take(36).collect();
        let request = self.client.transact_write_items().set_transact_items(Some(actions));
        let Err(error) = request.client_request_token(token).send().await else {
            return Ok(Written::Done);
        };
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                cancellation(write, &item, cancelled.cancellation_reasons())
            }
            _ => Err(CallError::new("TransactWriteItems", &error).into()),
        }
    }
}

/// An error of the SDK's builders: a required part is missing, which is a mistake of ours.
fn incomplete(error: aws_sdk_dynamodb::error::BuildError) -> SdkError<TransactWriteItemsError> {
    SdkError::construction_failure(error)
}

/// Says why a transaction was cancelled. Reasons stand in the order of the writes: link, pointers, freed ones, audit.
fn cancellation(write: &LinkWrite, item: &Item, reasons: &[CancellationReason]) -> Result<Written, Error> {
    let failed = |reason: &&CancellationReason| reason.code() == Some(CONDITION_FAILED);
    if let Some(reason) = reasons.first().filter(failed) {
        return Ok(judge(item, reason.item()));
    }
    let pointers = reasons.iter().skip(1);
    if let Some((pointer, reason)) = write.pointers.iter().zip(pointers).find(|(_, reason)| failed(reason)) {
        let owner = items::pointed_at(reason.item().unwrap_or(&Key::pointer(*pointer).item()))?;
        return Ok(Written::Taken(*pointer, owner));
    }
    let freed = reasons.iter().skip(1 + write.pointers.len()).take(write.freed.len());
    if freed.into_iter().any(|reason| failed(&reason)) {
        // Another link has it by now: what is to be let go is not this link's any more.
        return Ok(Written::Outrun);
    }
    // Whatever passes by itself comes before what never will: the service may not have looked at all conditions.
    let refusals = reasons.iter().filter_map(|reason| {
        let code = reason
            .code()
            .filter(|code| !matches!(*code, "None" | CONDITION_FAILED))?;
        Some(CallError::entry("TransactWriteItems", code, reason.message(), 400))
    });
    if let Some(error) = refusals.min_by_key(CallError::is_rejected) {
        return Err(error.into());
    }
    if reasons.iter().any(|reason| failed(&reason)) {
        let version = write.link.version;
        let link = write.link.id;
        return Err(Error::AuditExists { link, version });
    }
    // Cancelled for no stated reason: nothing was written, and nothing says that it cannot be.
    Err(CallError::entry("TransactWriteItems", "TransactionConflict", None, 400).into())
}

/// Tells a lost answer from a lost race by the item that stood in the way.
fn judge(ours: &Item, found: Option<&Item>) -> Written {
    if found.is_some_and(|found| items::same_write(ours, found)) {
        Written::Done
    } else {
        Written::Outrun
    }
}

/// The item whose condition did not hold, apart from every other failure of a `PutItem`.
fn condition_held<T>(answer: Result<T, SdkError<PutItemError>>) -> Result<Result<(), Option<Item>>, CallError> {
    match answer {
        Ok(_) => Ok(Ok(())),
        Err(error) => match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refusal)) => Ok(Err(refusal.item().cloned())),
            _ => Err(CallError::new("PutItem", &error)),
        },
    }
}
