//! Lists: which deals are due, which wait for a person, what was done, and everything there is.
//!
//! Knows: the indexes and how answers are paged. Guarantee: nothing is decided here. Indexes lag behind the table, so
//! whoever acts on a listed deal reads it again with [`Ledger::get`] or [`Ledger::find`].

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use cosell::hint::Subject;
use cosell::ids::{LeadId, LinkId, OpportunityId, ReferralId};
use cosell::link::{AuditEntry, Link};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::items::{
    ATTENTION_INDEX, ATTENTION_SHARD, ATTENTION_SINCE, DAY, DAY_INDEX, DUE_AT, DUE_INDEX, DUE_SHARD, Item, LINK_PREFIX,
    LINK_SORT, PK, SHARD, SK,
};
use super::{Error, Ledger, items};
use crate::aws::CallError;

/// Items looked at for one page of [`Ledger::scan_links`]; about a third of them are links. DynamoDB ends a page at
/// 1 MB in any case.
const SCAN_PAGE: i32 = 300;

/// What an index tells of a deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its link.
    pub link: LinkId,
    /// When it is due; or since when a person is waited for.
    pub at: Timestamp,
    /// The partner's own referral.
    pub referral: Option<ReferralId>,
    /// The opportunity.
    pub opportunity: Option<OpportunityId>,
    /// Microsoft's half.
    pub microsoft: Option<ReferralId>,
}

impl Listed {
    /// The record to look at for this deal: its referral, or the opportunity while there is none. A link that names
    /// neither was kept for a lead that nothing is known of yet, and is called after it.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        let own = self.referral.map(Subject::Referral);
        let opportunity = self.opportunity.map(Subject::Opportunity);
        let microsofts = self.microsoft.map(Subject::Referral);
        let lead = Subject::Lead(LeadId::new(self.link.uuid()));
        own.or(opportunity).or(microsofts).or(Some(lead))
    }
}

/// Some of all links.
#[derive(Debug)]
pub struct Page {
    /// Those that could be read. A page may have none and yet be followed by others.
    pub links: Vec<Link>,
    /// One error for each that could not: one broken item does not end the walk.
    pub broken: Vec<Error>,
    /// Where the next page begins; none after the last.
    pub next: Option<PageToken>,
}

/// Where a page begins. It may be kept between two invocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    pk: String,
    sk: String,
}

/// One listing: which index, of what, in which order.
struct Listing<'a> {
    table: &'a str,
    index: Option<&'static str>,
    condition: &'static str,
    names: Vec<(&'static str, &'static str)>,
    values: Vec<(&'static str, AttributeValue)>,
    ascending: bool,
}

/// The listed deals that can be read: no other waits for one that cannot.
fn readable(found: &[Item], sorted_by: &'static str) -> Vec<Listed> {
    let listed = found.iter().filter_map(|item| match items::listed(item, sorted_by) {
        Ok(listed) => Some(listed),
        Err(error) => {
            tracing::error!(%error, "a listed deal cannot be read and is left out; repair or remove its item");
            None
        }
    });
    listed.collect()
}

impl Ledger {
    /// Deals that are due by `now`, the longest overdue first.
    ///
    /// # Errors
    /// When DynamoDB does not answer. An item that is not what we write is left out, and named in the log.
    pub async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Listed>, Error> {
        let found = self.list(self.listing_of_due(now), limit).await?;
        Ok(readable(&found, DUE_AT))
    }

    /// How many deals are due by `now`, up to a limit.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn count_due(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        self.count(self.listing_of_due(now), limit).await
    }

    fn listing_of_due(&self, now: Timestamp) -> Listing<'_> {
        Listing {
            table: &self.links,
            index: Some(DUE_INDEX),
            condition: "#shard = :shard AND #at <= :now",
            names: vec![("#shard", DUE_SHARD), ("#at", DUE_AT)],
            values: vec![(":shard", items::text(SHARD)), (":now", items::instant(now))],
            ascending: true,
        }
    }

    /// Deals that wait for a person, the longest waiting first.
    ///
    /// # Errors
    /// As [`Ledger::due`].
    pub async fn attention(&self, limit: usize) -> Result<Vec<Listed>, Error> {
        let found = self.list(self.listing_of_attention(), limit).await?;
        Ok(readable(&found, ATTENTION_SINCE))
    }

    /// Some of the deals that wait for a person, the longest waiting first, and where the next ones begin.
    ///
    /// # Errors
    /// When DynamoDB does not answer, or `from` is no place of this list. An item that is not what we write is left out,
    /// and named in the log.
    pub async fn attention_page(
        &self,
        from: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Listed>, Option<String>), Error> {
        self.listed_page(
            self.listing_of_attention(),
            (ATTENTION_SHARD, ATTENTION_SINCE),
            from,
            limit,
        )
        .await
    }

    /// Some of the deals that are due by `now`, the longest overdue first, and where the next ones begin.
    ///
    /// # Errors
    /// As [`Ledger::attention_page`].
    pub async fn due_page(
        &self,
        now: Timestamp,
        from: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Listed>, Option<String>), Error> {
        self.listed_page(self.listing_of_due(now), (DUE_SHARD, DUE_AT), from, limit)
            .await
    }

    async fn listed_page(
        &self,
        listing: Listing<'_>,
        (shard, at): (&'static str, &'static str),
        from: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Listed>, Option<String>), Error> {
        let start = from.map(|from| items::place(from, shard, at).ok_or(Error::NoPlace));
        let start = start.transpose()?;
        let answer = self.page(&listing, limit, start, None).await?;
        let next = answer.last_evaluated_key.as_ref().map(|key| items::of_place(key, at));
        Ok((readable(&answer.items.unwrap_or_default(), at), next))
    }

    /// How many deals wait for a person, up to a limit.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn count_attention(&self, limit: usize) -> Result<usize, Error> {
        self.count(self.listing_of_attention(), limit).await
    }

    fn listing_of_attention(&self) -> Listing<'_> {
        Listing {
            table: &self.links,
            index: Some(ATTENTION_INDEX),
            condition: "#shard = :shard",
            names: vec![("#shard", ATTENTION_SHARD)],
            values: vec![(":shard", items::text(SHARD))],
            ascending: true,
        }
    }

    /// The links that have seen a solution row, now or earlier: it may have been moved to another deal since, and a deleted
    /// row is told by its key alone.
    ///
    /// # Errors
    /// When DynamoDB does not answer, or an item is not what we write.
    pub async fn links_of_solution_row(&self, row: Uuid) -> Result<Vec<LinkId>, Error> {
        let listing = Listing {
            table: &self.links,
            index: None,
            condition: "#pk = :row",
            names: vec![("#pk", PK)],
            values: vec![(":row", items::text(items::solution_row(row)))],
            ascending: true,
        };
        let found = self.list(listing, usize::MAX).await?;
        found.iter().map(items::pointed_at).collect()
    }

    /// What was done to a deal, newest first.
    ///
    /// # Errors
    /// When DynamoDB does not answer, or an item is not what we write.
    pub async fn audit_of(&self, link: LinkId, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        let listing = Listing {
            table: &self.audit,
            index: None,
            condition: "#pk = :link",
            names: vec![("#pk", PK)],
            values: vec![(":link", items::text(link.to_string()))],
            ascending: false,
        };
        self.list(listing, limit).await?.iter().map(items::audit).collect()
    }

    /// What was done to all deals on one day (UTC), newest first.
    ///
    /// # Errors
    /// When DynamoDB does not answer, or an item is not what we write.
    pub async fn audit_on(&self, day: Date, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        let listing = Listing {
            table: &self.audit,
            index: Some(DAY_INDEX),
            condition: "#day = :day",
            names: vec![("#day", DAY)],
            values: vec![(":day", items::text(day.to_string()))],
            ascending: false,
        };
        self.list(listing, limit).await?.iter().map(items::audit).collect()
    }

    /// Walks over all links, a page at a time, in no particular order.
    ///
    /// # Errors
    /// When DynamoDB does not answer.
    pub async fn scan_links(&self, from: Option<PageToken>) -> Result<Page, Error> {
        let start = from.map(|PageToken { pk, sk }| items::Key { pk, sk }.item());
        let answer = self
            .client
            .scan()
            .table_name(&self.links)
            .filter_expression("#sk = :link AND begins_with(#pk, :prefix)")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":link", items::text(LINK_SORT))
            .expression_attribute_values(":prefix", items::text(LINK_PREFIX))
            .set_exclusive_start_key(start)
            .limit(SCAN_PAGE)
            .send()
            .await
            .map_err(|error| CallError::new("Scan", &error))?;
        let mut page = Page {
            links: Vec::new(),
            broken: Vec::new(),
            next: answer.last_evaluated_key().map(|key| {
                let (pk, sk) = items::page_key(key);
                PageToken { pk, sk }
            }),
        };
        for item in answer.items() {
            match items::link(item) {
                Ok(link) => page.links.push(link),
                Err(error) => page.broken.push(error),
            }
        }
        Ok(page)
    }

    /// Reads pages until there are `limit` items or no more.
    async fn list(&self, listing: Listing<'_>, limit: usize) -> Result<Vec<Item>, Error> {
        let mut found = Vec::new();
        let mut start = None;
        while found.len() < limit {
            let answer = self.page(&listing, limit - found.len(), start, None).await?;
            found.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Counts as [`Ledger::list`] reads; the items themselves do not travel, so a broken one counts as well.
    async fn count(&self, listing: Listing<'_>, limit: usize) -> Result<usize, Error> {
        let mut counted = 0;
        let mut start = None;
        while counted < limit {
            let answer = self.page(&listing, limit - counted, start, Some(Select::Count)).await?;
            counted += usize::try_from(answer.count).unwrap_or_default();
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        Ok(counted)
    }

    async fn page(
        &self,
        listing: &Listing<'_>,
        limit: usize,
        start: Option<Item>,
        select: Option<Select>,
    ) -> Result<QueryOutput, Error> {
        let names = listing
            .names
            .iter()
            .map(|(name, attribute)| ((*name).to_owned(), (*attribute).to_owned()));
        let values = listing
            .values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let answer = self
            .client
            .query()
            .table_name(listing.table)
            .set_index_name(listing.index.map(str::to_owned))
            .key_condition_expression(listing.condition)
            .set_expression_attribute_names(Some(names.collect::<HashMap<_, _>>()))
            .set_expression_attribute_values(Some(values.collect::<HashMap<_, _>>()))
            .scan_index_forward(listing.ascending)
            // What an index tells may be old; a table's own keys need not be.
            .consistent_read(listing.index.is_none())
            .set_select(select)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .send()
            .await;
        Ok(answer.map_err(|error| CallError::new("Query", &error))?)
    }
}
