//! The walk over everything both vendors hold, to take in deals that are older than the polls' first look.
//!
//! Knows: both lists and how to go on in them. Refuses to know: what becomes of a record. Guarantees: it writes to no
//! vendor; records that a deal holds already are passed over unless everything is wanted; where it stops for want of
//! time, it says where to go on.

use cosell::fault::Fault;
use cosell::hint::{Cause, Hint, Keyed, Subject};
use cosell::ids::OpportunityId;
use cosell::link::Link;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::connector::Connector;
use crate::ledger;
use crate::poll::{RESERVE, Tick};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// Referrals that were changed not before; all when absent.
    pub since: Option<Timestamp>,
    /// Records of deals that are linked already, too.
    pub all: bool,
    /// Where to go on.
    pub from: Option<String>,
}

/// How far it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// Records that were listed.
    pub seen: u64,
    /// Hints put on the queue.
    pub hinted: u64,
    /// Where to go on; none when it is done.
    pub next: Option<String>,
}

/// A place in the walk: first the referrals, then the opportunities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// At the first referral.
    #[default]
    Beginning,
    /// At this page of the referrals.
    Referrals(String),
    /// At this page of the opportunities; at their first one when there is no link.
    Opportunities(Option<String>),
}

impl Connector {
    /// Has every record looked at that no deal holds yet, as far as the time reaches.
    ///
    /// # Errors
    /// What a vendor, the ledger or the queue said. Going on from the same place is harmless.
    pub async fn backfill(&self, order: &Backfill, tick: Tick<'_>) -> Result<Filled, Fault> {
        let mut place = match order.from.as_deref() {
            None => Place::Beginning,
            Some(from) => serde_json::from_str(from).map_err(|_| ledger::Error::NoPlace)?,
        };
        let mut filled = Filled::default();
        loop {
            let next = match place {
                Place::Beginning => self.fill_referrals(None, order, tick, &mut filled).await?,
                Place::Referrals(query) => self.fill_referrals(Some(query), order, tick, &mut filled).await?,
                Place::Opportunities(link) => self.fill_opportunities(link, order, tick, &mut filled).await?,
            };
            let Some(next) = next else { return Ok(filled) };
            if tick.run.deadline().left() < RESERVE {
                // Two kinds of plain text cannot fail to serialise.
                filled.next = serde_json::to_string(&next).ok();
                return Ok(filled);
            }
            place = next;
        }
    }

    async fn fill_referrals(
        &self,
        query: Option<String>,
        order: &Backfill,
        tick: Tick<'_>,
        filled: &mut Filled,
    ) -> Result<Option<Place>, Fault> {
        let since = order.since.unwrap_or(Timestamp::UNIX_EPOCH);
        let client = self.partner_center.during(tick.run);
        let mut updates = match &query {
            None => client.updated_since(since),
            Some(query) => client.updated_from(query, since),
        };
        let page = updates.next_page().await?.unwrap_or_default();
        let subjects = page.iter().map(|summary| Subject::Referral(summary.id));
        self.fill(subjects.collect(), order, tick, filled).await?;
        Ok(Some(updates.place().map_or(Place::Opportunities(None), |query| {
            Place::Referrals(query.to_owned())
        })))
    }

    async fn fill_opportunities(
        &self,
        link: Option<String>,
        order: &Backfill,
        tick: Tick<'_>,
        filled: &mut Filled,
    ) -> Result<Option<Place>, Fault> {
        let mapping = &self.policy.mapping;
        let page = self
            .dataverse
            .during(tick.run)
            .flagged(link.as_deref(), &mapping.columns.sync, &mapping.tracking_columns())
            .await?;
        let rows = page.rows.iter();
        let ids = rows.filter_map(|row| row.guid("opportunityid").map(OpportunityId::new));
        self.fill(ids.map(Subject::Opportunity).collect(), order, tick, filled)
            .await?;
        Ok(page.next.map(|next| Place::Opportunities(Some(next))))
    }

    async fn fill(
        &self,
        subjects: Vec<Subject>,
        order: &Backfill,
        tick: Tick<'_>,
        filled: &mut Filled,
    ) -> Result<(), Fault> {
        let mut hints = Vec::new();
        for subject in subjects {
            filled.seen += 1;
            if order.all
                || !self
                    .ledger
                    .find(subject)
                    .await?
                    .is_some_and(|link| is_held(&link, subject))
            {
                hints.push(Keyed::new(Hint::new(subject, Cause::Operator), tick.name));
            }
        }
        self.queue.send(&hints).await?;
        filled.hinted += u64::try_from(hints.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// Whether a deal holds the record, or an operator has parted it from one.
fn is_held(link: &Link, subject: Subject) -> bool {
    let is_pair = link.referral.is_some() && link.record().is_some();
    is_pair || link.pending.is_some() || link.has_parted(subject)
}
