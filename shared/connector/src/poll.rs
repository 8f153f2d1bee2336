//! The pollers with the real clients.
//!
//! Knows which client serves which port, and for how long a run may go on. Refuses to decide anything: what is polled, and
//! when a cursor moves, is in [`cosell::poll`]. Guarantee: a link that cannot be read is told to whoever reads the log, and
//! keeps no other deal from being looked at.

use std::time::Duration;

use cosell::fault::Fault;
use cosell::hint::{Keyed, Subject};
use cosell::ids::LinkId;
use cosell::link::Link;
use cosell::opportunity::Page;
use cosell::poll::{self, Changes, Cursor, Known, Moved, Polled, Poller, Ports};
use cosell::referral::Summary;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::connector::Connector;
use crate::dataverse::{self, Dataverse};
use crate::http::Run;
use crate::ledger::{self, Ledger, Listed, PageToken};
use crate::partner_center::{PartnerCenter, Updates};
use crate::queue::Queue;

/// A run stops taking pages when less than this is left, so that it can still record how far it came.
pub(crate) const RESERVE: Duration = Duration::from_secs(2);

/// Longest time that Lambda grants an invocation: a run that names no end ends by then.
const LONGEST: Duration = Duration::from_secs(900);

/// How much longer than its run a lease lasts.
const MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// Up to here listed deals are counted; whoever has more knows enough.
const MOST_COUNTED: usize = 1_000;

/// Deals that are listed, each up to a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Those that wait for a person.
    pub for_a_person: u64,
    /// Those whose next look is overdue.
    pub overdue: u64,
}

/// What a poll is told.
#[derive(Clone, Copy, Debug)]
pub struct Tick<'a> {
    /// Unique name of the invocation.
    pub name: &'a str,
    /// Now.
    pub now: Timestamp,
    /// Its deadline.
    pub run: &'a Run,
}

impl Connector {
    /// Finds opportunities that changed, or whose solution rows did, and leads where they are wanted.
    ///
    /// # Errors
    /// What kept it from finding out; the cursor then stays where the last safe page left it.
    pub async fn poll_dynamics(&self, tick: Tick<'_>) -> Result<Polled, Fault> {
        self.poller(&self.lent(tick.run), tick).dynamics().await
    }

    /// Finds referrals that changed: what a lost event would have told.
    ///
    /// # Errors
    /// What kept it from finding out; the cursor then stays.
    pub async fn poll_partner_center(&self, tick: Tick<'_>) -> Result<Polled, Fault> {
        self.poller(&self.lent(tick.run), tick).partner_center().await
    }

    /// Hints every link once, so that nothing drifts for longer than a day. A table that did not track changes is asked
    /// again with its next poll.
    ///
    /// # Errors
    /// When the ledger or the queue does not answer.
    pub async fn compare(&self, tick: Tick<'_>) -> Result<Polled, Fault> {
        self.poller(&self.lent(tick.run), tick).compare().await
    }

    /// How long ago the poll of Dynamics was last known to have seen every change: zero when the run that began at `now`
    /// got to the end. None before the first poll.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn dynamics_cursor_age(&self, now: Timestamp) -> Result<Option<SignedDuration>, Fault> {
        let mut oldest = None;
        for name in poll::dynamics_cursors(&self.policy) {
            let cursor = self.ledger.cursor(name).await?;
            let caught_up = cursor.and_then(|cursor| cursor.caught_up);
            oldest = oldest.max(caught_up.map(|at| now.duration_since(at).max(SignedDuration::ZERO)));
        }
        Ok(oldest)
    }

    /// Counts the deals that are listed for a person, or for a look that should have been.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn waiting(&self, now: Timestamp) -> Result<Waiting, Fault> {
        let counted = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Waiting {
            for_a_person: counted(self.ledger.count_attention(MOST_COUNTED).await?),
            overdue: counted(self.ledger.count_due(now, MOST_COUNTED).await?),
        })
    }

    fn poller<'a>(&'a self, ports: &'a Lent<'a>, Tick { name, now, .. }: Tick<'a>) -> Poller<'a, Lent<'a>> {
        Poller::new(ports, &self.policy, poll::Tick { name, now })
    }

    fn lent<'a>(&'a self, run: &'a Run) -> Lent<'a> {
        Lent {
            partner_center: self.partner_center.during(run),
            dataverse: self.dataverse.during(run),
            ledger: &self.ledger,
            queue: &self.queue,
            run,
        }
    }
}

/// The clients that a run is lent.
struct Lent<'a> {
    partner_center: PartnerCenter,
    dataverse: Dataverse,
    ledger: &'a Ledger,
    queue: &'a Queue,
    run: &'a Run,
}

impl Ports for Lent<'_> {
    type Lease = ledger::Lease;
    type Place = PageToken;
    type Updates = Updates;

    fn is_out_of_time(&self) -> bool {
        self.run.deadline().left() < RESERVE
    }

    fn remark(&self, text: &'static str) {
        tracing::warn!("{text}");
    }

    async fn lease(&self, name: &str, tick: poll::Tick<'_>) -> Result<Option<ledger::Lease>, Fault> {
        let left = SignedDuration::try_from(self.run.deadline().left().min(LONGEST));
        let until = tick.now + left.unwrap_or(SignedDuration::ZERO) + MARGIN;
        Ok(self.ledger.lease(name, tick.name, until, tick.now).await?)
    }

    async fn release(&self, lease: ledger::Lease) -> Result<(), Fault> {
        Ok(self.ledger.release(lease).await?)
    }

    async fn cursor(&self, name: &str) -> Result<Option<Cursor>, Fault> {
        Ok(self.ledger.cursor(name).await?)
    }

    async fn move_cursor(
        &self,
        name: &str,
        seen: &Option<Cursor>,
        value: &str,
        caught_up: Option<Timestamp>,
    ) -> Result<Moved, Fault> {
        Ok(self.ledger.move_cursor(name, seen, value, caught_up).await?)
    }

    async fn find(&self, subject: Subject) -> Result<Option<Known>, Fault> {
        known(self.ledger.find(subject).await)
    }

    async fn link(&self, id: LinkId) -> Result<Option<Known>, Fault> {
        known(self.ledger.get(id).await)
    }

    async fn links_of_solution_row(&self, row: Uuid) -> Result<Vec<LinkId>, Fault> {
        Ok(self.ledger.links_of_solution_row(row).await?)
    }

    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<(Subject, Timestamp)>, Fault> {
        let listed = self.ledger.due(now, most).await?;
        let named = |listed: &Listed| Some((listed.subject()?, listed.at));
        Ok(listed.iter().filter_map(named).collect())
    }

    async fn links(&self, from: Option<PageToken>) -> Result<(Vec<Link>, Option<PageToken>), Fault> {
        let page = self.ledger.scan_links(from).await?;
        for error in &page.broken {
            tracing::error!(%error, "a link cannot be read");
        }
        Ok((page.links, page.next))
    }

    async fn send(&self, hints: &[Keyed]) -> Result<(), Fault> {
        Ok(self.queue.send(hints).await?)
    }

    async fn changes(&self, table: &str, link: Option<&str>, columns: &str) -> Result<Changes, Fault> {
        match self.dataverse.changes(table, link, columns).await {
            Ok(page) => Ok(Changes::Page(page)),
            Err(dataverse::Error::TrackingDisabled) => Ok(Changes::Untracked),
            Err(error) if is_worthless(&error) => {
                tracing::warn!(
                    code = error.code(),
                    table,
                    "changes cannot be followed from where they were left"
                );
                Ok(Changes::Expired)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn modified_since(&self, table: &str, key: &str, since: Timestamp, columns: &str) -> Result<Page, Fault> {
        Ok(self.dataverse.modified_since(table, key, since, columns).await?)
    }

    async fn more_modified(&self, link: &str) -> Result<Page, Fault> {
        Ok(self.dataverse.more_modified(link).await?)
    }

    fn updated_since(&self, since: Timestamp) -> Updates {
        self.partner_center.updated_since(since)
    }

    async fn more_updates(&self, updates: &mut Updates) -> Result<Option<Vec<Summary>>, Fault> {
        Ok(updates.next_page().await?)
    }
}

/// # Errors
/// When the ledger does not answer.
fn known(found: Result<Option<Link>, ledger::Error>) -> Result<Option<Known>, Fault> {
    match found {
        Ok(link) => Ok(link.map(|link| Known::Link(Box::new(link)))),
        Err(error @ (ledger::Error::Undecodable { .. } | ledger::Error::Dangling { .. })) => {
            tracing::error!(%error, "a link cannot be read");
            Ok(Some(Known::Broken))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a stored link will never be followed again.
fn is_worthless(error: &dataverse::Error) -> bool {
    matches!(error, dataverse::Error::DeltaExpired) || error.code() == "foreign_link"
}
