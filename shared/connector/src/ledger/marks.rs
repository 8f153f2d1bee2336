//! Small shared facts that belong to no deal: how far a poll has come, who runs alone, which vendor is left in peace.
//!
//! Knows: cursors, leases and breakers. Guarantees: a cursor moves only from where its mover saw it; a lease has one
//! holder until it lapses, and lapses by itself; a breaker that is open is never closed early by a shorter one.

use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use cosell::poll::{Cursor, Moved};
use jiff::Timestamp;

use super::items::{HOLDER, Key, OPEN_UNTIL, PK, UNTIL, VERSION};
use super::{Error, Ledger, condition_held, items};

/// Proof that nobody else holds this name. Made by [`Ledger::lease`] alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    name: String,
    holder: String,
    until: Timestamp,
}

impl Lease {
    /// When it lapses; nothing may be done in its name afterwards.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// What it is for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Ledger {
    /// Where a poll shall go on; none before its first move.
    ///
    /// # Errors
    /// When DynamoDB does not answer, or the item is not what we write.
    pub async fn cursor(&self, system: &str) -> Result<Option<Cursor>, Error> {
        let Some(item) = self.item(&Key::cursor(system)).await? else {
            return Ok(None);
        };
        Ok(Some(items::cursor(&item)?))
    }

    /// Moves a cursor on, if it still stands where it was seen.
    ///
    /// Two polls that move it to the same place have both moved it: each has queued what lies before. `caught_up` says
    /// since when nothing is left behind, where the move reaches the end of what there is; else what was known before
    /// stays.
    ///
    /// # Errors
    /// As [`Ledger::cursor`]. After an error in doubt the same move may be tried again.
    pub async fn move_cursor(
        &self,
        system: &str,
        seen: &Option<Cursor>,
        value: &str,
        caught_up: Option<Timestamp>,
    ) -> Result<Moved, Error> {
        let moved = Cursor::moved(seen.as_ref(), value, caught_up);
        let item = items::of_cursor(system, &moved);
        let request = self
            .client
            .put_item()
            .table_name(&self.links)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match seen {
            None => request
                .condition_expression("attribute_not_exists(#pk)")
                .expression_attribute_names("#pk", PK),
            Some(seen) => request
                .condition_expression("#version = :seen")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":seen", items::number(seen.version)),
        };
        let held = match condition_held(request.send().await)? {
            Ok(()) => true,
            // Version and value are ours: the answer to our own write was lost.
            Err(Some(found)) => {
                items::cursor(&found).is_ok_and(|found| (found.version, found.value.as_str()) == (moved.version, value))
            }
            Err(None) => false,
        };
        Ok(if held { Moved::Moved(moved) } else { Moved::Outrun })
    }

    /// Takes a lease, if it is free, lapsed, or held by `holder` already.
    ///
    /// `holder` names one run and no other, such as the id of the invocation; `until` is its deadline and a margin, so
    /// that a run that crashed frees the lease by itself. Whether a lease has lapsed is judged here by `now`, never by
    /// whether DynamoDB has removed something.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn lease(
        &self,
        name: &str,
        holder: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        let answer = self
            .client
            .put_item()
            .table_name(&self.links)
            .set_item(Some(items::of_lease(name, holder, until)))
            .condition_expression("attribute_not_exists(#pk) OR #until <= :now OR #holder = :holder")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#until", UNTIL)
            .expression_attribute_names("#holder", HOLDER)
            .expression_attribute_values(":now", items::instant(now))
            .expression_attribute_values(":holder", items::text(holder))
            .send()
            .await;
        Ok(condition_held(answer)?.is_ok().then(|| Lease {
            name: name.to_owned(),
            holder: holder.to_owned(),
            until,
        }))
    }

    /// Gives a lease back before it lapses. One that has lapsed and was taken by another is left alone.
    ///
    /// The item is not deleted but made to have lapsed, so that the role needs no right to delete.
    ///
    /// # Errors
    /// When DynamoDB does not answer; the lease then lapses by itself.
    pub async fn release(&self, lease: Lease) -> Result<(), Error> {
        let lapsed = items::of_lease(&lease.name, &lease.holder, Timestamp::UNIX_EPOCH);
        let answer = self
            .client
            .put_item()
            .table_name(&self.links)
            .set_item(Some(lapsed))
            .condition_expression("#holder = :holder")
            .expression_attribute_names("#holder", HOLDER)
            .expression_attribute_values(":holder", items::text(&lease.holder))
            .send()
            .await;
        condition_held(answer)?.ok();
        Ok(())
    }

    /// Until when a vendor is left in peace; none when it may be called.
    ///
    /// # Errors
    /// When DynamoDB does not answer, or the item is not what we write.
    pub async fn breaker(&self, api: &str, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let Some(item) = self.item(&Key::breaker(api)).await? else {
            return Ok(None);
        };
        Ok(Some(items::open_until(&item)?).filter(|until| *until > now))
    }

    /// Leaves a vendor in peace until then. One that is left in peace for longer already stays so.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn open_breaker(&self, api: &str, until: Timestamp) -> Result<(), Error> {
        let answer = self
            .client
            .put_item()
            .table_name(&self.links)
            .set_item(Some(items::of_breaker(api, until)))
            .condition_expression("attribute_not_exists(#pk) OR #open_until < :until")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#open_until", OPEN_UNTIL)
            .expression_attribute_values(":until", items::instant(until))
            .send()
            .await;
        condition_held(answer)?.ok();
        Ok(())
    }
}
