//! What an operator asks of many deals, or of the audit of one: who waits for a person, who is to be looked at, what can
//! be restored.
//!
//! Knows: lists, their places and the audit. Refuses to know: what an order does; the machine decides that. Guarantee:
//! nothing here writes to a vendor or to a link; hints are put on the queue, as the polls put them.

use cosell::deal::{Field, Side, Term};
use cosell::fault::{Class, Fault};
use cosell::finding::Finding;
use cosell::hint::{Cause, Hint, Keyed, Subject};
use cosell::ids::{LinkId, OpportunityId, ReferralId};
use cosell::link::{AuditEntry, Change, Link, State};
use jiff::Timestamp;
use serde::Serialize;

use crate::connector::Connector;
use crate::ledger::{self, Listed, PageToken};
use crate::poll::{RESERVE, Tick};

/// Deals of one page of a list.
const PAGE: usize = 100;

/// Audit records that are searched for a loser, newest first.
const SEARCHED: usize = 2_000;

/// Which deals are to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Those that wait for a person.
    Attention,
    /// Those whose next look is overdue.
    Due,
    /// Every deal.
    All,
}

/// What came of hinting many deals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hinted {
    /// Hints put on the queue.
    pub hinted: u64,
    /// Where to go on; none when it is done.
    pub next: Option<String>,
}

/// A deal that waits for a person.
#[derive(Clone, Debug, Serialize)]
pub struct Waits {
    /// Since when.
    pub since: Timestamp,
    /// Its key in the ledger.
    pub link: LinkId,
    /// The partner's own referral.
    pub referral: Option<ReferralId>,
    /// The opportunity.
    pub opportunity: Option<OpportunityId>,
    /// The deal's name, as far as the ledger knows it.
    pub name: Option<String>,
    /// What the person has to settle.
    pub attention: Vec<Finding>,
}

/// Some of the deals that wait for a person, the longest waiting first.
#[derive(Clone, Debug, Serialize)]
pub struct Waiting {
    /// They.
    pub deals: Vec<Waits>,
    /// Where the next ones begin; none after the last.
    pub next: Option<String>,
}

/// A value that was replaced and can be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loser {
    /// The audit record that tells of it: the version of the link.
    pub record: u64,
    /// When it was replaced.
    pub at: Timestamp,
    /// Its field.
    pub field: Field,
    /// The side that showed it.
    pub side: Side,
    /// The value.
    pub value: Term,
    /// In words.
    pub text: String,
}

/// The values in these records that a person typed and that were overruled unseen, newest first.
pub(crate) fn losers(audit: &[AuditEntry]) -> Vec<Loser> {
    let of = |entry: &AuditEntry| -> Vec<Loser> {
        let lost = entry.changes.iter().filter(|change| change.lost);
        lost.map(|change| loser(entry, change)).collect()
    };
    audit.iter().flat_map(of).collect()
}

fn loser(entry: &AuditEntry, change: &Change) -> Loser {
    Loser {
        record: entry.version,
        at: entry.at,
        field: change.field,
        side: change.side,
        value: change.old.clone(),
        text: change.old.to_string(),
    }
}

fn refused(code: &'static str, message: String) -> Fault {
    Fault {
        class: Class::Permanent,
        code,
        message,
        in_doubt: false,
    }
}

impl Connector {
    /// Deals that wait for a person, the longest waiting first; a page of them.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn waiting_for_a_person(&self, from: Option<&str>) -> Result<Waiting, Fault> {
        let (listed, next) = self.ledger.attention_page(from, PAGE).await?;
        let mut deals = Vec::with_capacity(listed.len());
        for listed in listed {
            // The list lags: what was settled meanwhile is left out.
            let link = match self.ledger.get(listed.link).await {
                Err(error @ ledger::Error::Undecodable { .. }) => {
                    tracing::error!(%error, "a deal that waits for a person is left out of the list");
                    continue;
                }
                found => found?,
            };
            deals.extend(link.and_then(|link| waits(&listed, link)));
        }
        Ok(Waiting { deals, next })
    }

    /// Has the deals of a filter looked at, as far as the time reaches.
    ///
    /// # Errors
    /// When the ledger or the queue does not answer; what was hinted is looked at all the same.
    pub async fn hint(&self, filter: Filter, from: Option<String>, tick: Tick<'_>) -> Result<Hinted, Fault> {
        let mut hinted = 0;
        let mut next = from;
        loop {
            let (subjects, following) = match filter {
                Filter::Attention => listed(self.ledger.attention_page(next.as_deref(), PAGE).await?),
                Filter::Due => listed(self.ledger.due_page(tick.now, next.as_deref(), PAGE).await?),
                Filter::All => self.scanned(next.as_deref()).await?,
            };
            let hints: Vec<Keyed> = subjects
                .into_iter()
                .map(|subject| Keyed::new(Hint::new(subject, Cause::Operator), tick.name))
                .collect();
            self.queue.send(&hints).await?;
            hinted += u64::try_from(hints.len()).unwrap_or(u64::MAX);
            next = following;
            if next.is_none() || tick.run.deadline().left() < RESERVE {
                return Ok(Hinted { hinted, next });
            }
        }
    }

    async fn scanned(&self, from: Option<&str>) -> Result<(Vec<Subject>, Option<String>), Fault> {
        let from = from.map(serde_json::from_str::<PageToken>).transpose();
        let from = from.map_err(|_| ledger::Error::NoPlace)?;
        let page = self.ledger.scan_links(from).await?;
        for error in &page.broken {
            tracing::error!(%error, "a link cannot be read");
        }
        let subjects = page.links.iter().filter_map(Link::subject);
        let next = page.next.as_ref().and_then(|next| serde_json::to_string(next).ok());
        Ok((subjects.collect(), next))
    }

    /// The value to restore of a field: of the given audit record, or the newest that was overruled.
    ///
    /// # Errors
    /// When there is none, with what there is; when the ledger does not answer.
    pub async fn loser(&self, subject: Subject, field: Field, record: Option<u64>) -> Result<Loser, Fault> {
        let Some(link) = self.ledger.find(subject).await? else {
            return Err(Self::unknown(subject));
        };
        let audit = self.ledger.audit_of(link.id, SEARCHED).await?;
        let Some(record) = record else {
            let found = losers(&audit).into_iter().find(|loser| loser.field == field);
            return found.ok_or_else(|| {
                let known: Vec<String> = losers(&audit)
                    .iter()
                    .map(|loser| format!("{} of record {}", loser.field, loser.record))
                    .collect();
                let known = if known.is_empty() {
                    "no value of this deal was overruled".to_owned()
                } else {
                    format!("there are {}", known.join(", "))
                };
                let text =
                    format!("no recorded loser of {field} for {subject}; {known}; name another value with \"record\"");
                refused("nothing_to_restore", text)
            });
        };
        // Somebody who names a record means what it replaced, whether it was overruled or simply changed.
        let entry = audit.iter().find(|entry| entry.version == record);
        let change = entry.and_then(|entry| {
            let own: Vec<&Change> = entry.changes.iter().filter(|change| change.field == field).collect();
            let lost = own.iter().find(|change| change.lost);
            lost.or(own.first()).map(|change| loser(entry, change))
        });
        change.ok_or_else(|| {
            let text =
                format!("audit record {record} of {subject} replaced no value of {field}; show lists the records");
            refused("nothing_to_restore", text)
        })
    }

    /// What a run with this key wrote down of a deal.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn changes_of(&self, link: LinkId, trace: &str) -> Result<Vec<Change>, Fault> {
        let audit = self.ledger.audit_of(link, 5).await?;
        let own = audit.into_iter().filter(|entry| entry.trace == trace);
        Ok(own.flat_map(|entry| entry.changes).collect())
    }
}

fn listed((listed, next): (Vec<Listed>, Option<String>)) -> (Vec<Subject>, Option<String>) {
    (listed.iter().filter_map(Listed::subject).collect(), next)
}

fn waits(listed: &Listed, link: Link) -> Option<Waits> {
    if link.attention.is_empty() {
        return None;
    }
    let names = link
        .base
        .as_ref()
        .map(|base| base.opportunity.get(Field::Name).to_string());
    let parted = link.parted.last().filter(|_| link.state == State::Parted);
    Some(Waits {
        since: link.attention_since.unwrap_or(listed.at),
        link: link.id,
        referral: link
            .referral
            .or(link.microsoft)
            .or(parted.and_then(|parted| parted.referral)),
        opportunity: link.opportunity,
        name: names,
        attention: link.attention,
    })
}
