//! The pollers: they find what changed and put hints on the queue. They write to neither vendor.
//!
//! Knows cursors, pages and overlaps. Refuses to know what a change means, and how anything is reached: that is lent as
//! [`Ports`], so that the same pollers run over the network and in a simulation. Guarantee: a cursor moves only past
//! pages whose every row that concerns us is on the queue.
//! Assumes: one run of a kind at a time, which the lease sees to; a run that loses its lease loses the cursor's
//! compare-and-set as well.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fault::{Class, Fault};
use crate::hint::{Cause, Hint, Keyed, Subject};
use crate::ids::{LeadId, LinkId, OpportunityId};
use crate::link::Link;
use crate::mapping::SolutionTable;
use crate::opportunity::{Page, Row};
use crate::policy::Policy;
use crate::referral::Summary;

/// The vendor's lists lag and clocks differ: each look overlaps the last by this much.
const PARTNER_CENTER_OVERLAP: SignedDuration = SignedDuration::from_mins(10);

/// A slow transaction appears behind the time it is stamped with (Dataverse, polling by `modifiedon`).
const MODIFIED_OVERLAP: SignedDuration = SignedDuration::from_mins(5);

/// How far back the very first look at Partner Center goes; older deals come
/// with their next change or with `resync`.
const FIRST_LOOK: SignedDuration = SignedDuration::from_hours(24);

/// A cursor that stands at no place: the next look begins with everything.
const NOWHERE: &str = "null";

/// Deals taken from the due list in one run: what the usual budgets allow for in two minutes or three. Those that are not
/// worked off by the next run are listed again, and the queue drops them.
const MOST_DUE: usize = 500;

/// What the pollers reach the world through. Each member that waits is one request; between any two of them the process
/// may die.
#[expect(
    async_fn_in_trait,
    reason = "whoever lends ports knows whether what they wait for may change threads"
)]
pub trait Ports {
    /// Proof that nobody else runs under a name.
    type Lease;
    /// Where a walk over all links goes on.
    type Place;
    /// A walk over referrals that changed.
    type Updates;

    /// Whether so little time is left that no further page can be taken: how far it came has still to be recorded.
    fn is_out_of_time(&self) -> bool;

    /// Says something to whoever reads the log.
    fn remark(&self, text: &'static str);

    /// Takes a lease for as long as this run may last; none while another has it.
    ///
    /// # Errors
    /// When the ledger does not answer.
    async fn lease(&self, name: &str, tick: Tick<'_>) -> Result<Option<Self::Lease>, Fault>;

    /// Gives a lease back.
    ///
    /// # Errors
    /// When the ledger does not answer; the lease then lapses by itself.
    async fn release(&self, lease: Self::Lease) -> Result<(), Fault>;

    /// Where a poll shall go on; none before its first move.
    ///
    /// # Errors
    /// When the ledger does not answer.
    async fn cursor(&self, name: &str) -> Result<Option<Cursor>, Fault>;

    /// Moves a cursor on, if it still stands where it was seen. `caught_up` says since when nothing is left behind, where
    /// the move reaches the end of what there is.
    ///
    /// # Errors
    /// When the ledger does not answer. The same move may be tried again.
    async fn move_cursor(
        &self,
        name: &str,
        seen: &Option<Cursor>,
        value: &str,
        caught_up: Option<Timestamp>,
    ) -> Result<Moved, Fault>;

    /// What the ledger knows of a record.
    ///
    /// # Errors
    /// When the ledger does not answer.
    async fn find(&self, subject: Subject) -> Result<Option<Known>, Fault>;

    /// One link.
    ///
    /// # Errors
    /// When the ledger does not answer.
    async fn link(&self, id: LinkId) -> Result<Option<Known>, Fault>;

    /// The links that have seen a solution row, now or earlier.
    ///
    /// # Errors
    /// When the ledger does not answer.
    async fn links_of_solution_row(&self, row: Uuid) -> Result<Vec<LinkId>, Fault>;

    /// Records of deals that are due by now, and since when; the longest overdue first, up to a limit.
    ///
    /// # Errors
    /// When the ledger does not answer.
    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<(Subject, Timestamp)>, Fault>;

    /// Some of all links, and where the next ones are; none after the last.
    ///
    /// # Errors
    /// When the ledger does not answer.
    async fn links(&self, from: Option<Self::Place>) -> Result<(Vec<Link>, Option<Self::Place>), Fault>;

    /// Puts hints on the queue.
    ///
    /// # Errors
    /// When any of them may not be there. Trying all of them again is harmless.
    async fn send(&self, hints: &[Keyed]) -> Result<(), Fault>;

    /// A page of changes of a table: the one behind a link, or else the first of all rows.
    ///
    /// # Errors
    /// When the CRM does not answer or refuses.
    async fn changes(&self, table: &str, link: Option<&str>, columns: &str) -> Result<Changes, Fault>;

    /// The first page of rows of a table that were modified not before `since`, the oldest first.
    ///
    /// # Errors
    /// When the CRM does not answer or refuses.
    async fn modified_since(&self, table: &str, key: &str, since: Timestamp, columns: &str) -> Result<Page, Fault>;

    /// The page after one of [`Ports::modified_since`].
    ///
    /// # Errors
    /// When the CRM does not answer or refuses.
    async fn more_modified(&self, link: &str) -> Result<Page, Fault>;

    /// Begins a walk over referrals that changed not before `since`, newest first.
    fn updated_since(&self, since: Timestamp) -> Self::Updates;

    /// The next page of such a walk; none after the last one. A page may be empty.
    ///
    /// # Errors
    /// When Partner Center does not answer or refuses.
    async fn more_updates(&self, updates: &mut Self::Updates) -> Result<Option<Vec<Summary>>, Fault>;
}

/// How far a poll has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// In the words of the system polled: a time, a delta link.
    pub value: String,
    /// Rises by one with each move.
    pub version: u64,
    /// When everything that had changed until then was known to be on the queue; none when no poll has said so yet.
    pub caught_up: Option<Timestamp>,
}

impl Cursor {
    /// Where a cursor that was seen there stands after a move to `value`. What was caught up with stays so.
    #[must_use]
    pub fn moved(seen: Option<&Self>, value: &str, caught_up: Option<Timestamp>) -> Self {
        Self {
            value: value.to_owned(),
            version: seen.map_or(0, |seen| seen.version) + 1,
            caught_up: caught_up.or(seen.and_then(|seen| seen.caught_up)),
        }
    }
}

/// How the move of a cursor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Moved {
    /// It stands here now.
    Moved(Cursor),
    /// Somebody else moved it first: nothing was written.
    Outrun,
}

/// What the ledger knows of a record.
#[derive(Clone, Debug)]
pub enum Known {
    /// Its link.
    Link(Box<Link>),
    /// A link that cannot be read. The deal's own look says so and is set aside; no other deal waits for it.
    Broken,
}

/// What is behind a link to changes.
#[derive(Clone, Debug)]
pub enum Changes {
    /// Rows that changed.
    Page(Page),
    /// Nothing any more: it is too old, the table's columns have changed, or it leads to another environment.
    Expired,
    /// The table does not track changes.
    Untracked,
}

/// What a run found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Polled {
    /// Rows or referrals that had changed.
    pub changed: u64,
    /// Hints put on the queue.
    pub hinted: u64,
    /// Deals that were due.
    pub due: u64,
    /// Whether another run of the same kind was under way, so that this one did nothing.
    pub skipped: bool,
    /// Whether there is more. A poll goes on there with its next run; the comparison begins anew.
    pub unfinished: bool,
}

/// Where the poll of a table stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// Follow this link: of the next page, or of later changes. It belongs to the columns it was first asked for.
    Link {
        /// The link, exactly as it came.
        url: String,
        /// The columns.
        columns: String,
        /// Whether it is a page within a walk: the changes that follow the walk are those since it began.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_within: bool,
    },
    /// The table did not track changes when it was last asked: rows modified since then.
    Since {
        /// The newest time that was seen.
        at: Timestamp,
        /// Whether to ask again if changes are tracked by now; without that, deletions go unseen.
        asks_again: bool,
    },
}

/// A table of the CRM whose changes are followed, with a cursor of its own.
struct Followed<'a> {
    cursor: &'static str,
    set: &'a str,
    key: &'a str,
    columns: String,
    rows: Rows<'a>,
}

/// What the rows of a followed table are.
#[derive(Clone, Copy)]
enum Rows<'a> {
    /// The deals themselves.
    Records(fn(Uuid) -> Subject),
    /// The solutions of opportunities.
    Solutions(&'a SolutionTable),
}

/// What a run of a poller is told.
#[derive(Clone, Copy, Debug)]
pub struct Tick<'a> {
    /// Unique name of the invocation.
    pub name: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// One run.
#[derive(Debug)]
pub struct Poller<'a, P> {
    ports: &'a P,
    policy: &'a Policy,
    tick: Tick<'a>,
}

impl<'a, P: Ports> Poller<'a, P> {
    /// A run with these ports and rules.
    #[must_use]
    pub const fn new(ports: &'a P, policy: &'a Policy, tick: Tick<'a>) -> Self {
        Self { ports, policy, tick }
    }

    /// Finds opportunities that changed, or whose solution rows did, and leads where they are wanted.
    ///
    /// # Errors
    /// What kept it from finding out; the cursor then stays where the last safe page left it.
    pub async fn dynamics(&self) -> Result<Polled, Fault> {
        let mut polled = self.hint_due().await?;
        let Some(lease) = self.ports.lease("poll-dynamics", self.tick).await? else {
            return Ok(Polled {
                skipped: true,
                ..polled
            });
        };
        let mut result = Ok(());
        for table in followed(self.policy) {
            // One table that cannot be read keeps no other from being followed.
            let followed = self.follow_dynamics(&table, &mut polled).await;
            result = result.and(followed);
        }
        self.ports.release(lease).await?;
        result.map(|()| polled)
    }

    async fn follow_dynamics(&self, table: &Followed<'_>, polled: &mut Polled) -> Result<(), Fault> {
        let mut cursor = self.ports.cursor(table.cursor).await?;
        if cursor.is_none() {
            // From here on it is known for how long the poll has been behind, even if it never gets to its first page.
            let begun = self.move_cursor(table, &mut cursor, NOWHERE, Some(self.tick.now));
            if !begun.await? {
                return Ok(());
            }
        }
        let mut started_over = false;
        // A walk that an earlier run began ends with what has changed since then, which is read as well.
        let mut goes_on = matches!(
            cursor.as_ref().and_then(place),
            Some(Place::Link { is_within: true, .. })
        );
        loop {
            if self.ports.is_out_of_time() {
                polled.unfinished = true;
                return Ok(());
            }
            let place = cursor.as_ref().and_then(place);
            let page = match self.page(table, place.as_ref()).await? {
                Changes::Page(page) => page,
                // Too long since the last look, or the table's columns have changed: everything is compared once.
                // So it is when the link belongs to other columns, or to another address of the environment.
                Changes::Expired if started_over => return Err(endless(table)),
                Changes::Expired => {
                    self.ports
                        .remark("the delta link is of no use any more; all rows are looked at once");
                    (started_over, goes_on) = (true, false);
                    if !self.move_cursor(table, &mut cursor, NOWHERE, None).await? {
                        return Ok(());
                    }
                    continue;
                }
                Changes::Untracked => {
                    let since = match place {
                        Some(Place::Since { at, .. }) => at,
                        Some(Place::Link { .. }) | None => Timestamp::UNIX_EPOCH,
                    };
                    return self.follow_modified(table, since, &mut cursor, polled).await;
                }
            };
            self.hint_page(table, &page.rows, polled).await?;
            let is_within = page.next.is_some();
            let Some(url) = page.next.or(page.delta) else {
                return Ok(());
            };
            let value = encode(&Place::Link {
                url,
                columns: table.columns.clone(),
                is_within,
            });
            // What changed before this run began has come through once the last page of a walk of its own has.
            let is_end = !is_within && !goes_on;
            let caught_up = is_end.then_some(self.tick.now);
            if !self.move_cursor(table, &mut cursor, &value, caught_up).await? || is_end {
                return Ok(());
            }
            goes_on &= is_within;
        }
    }

    /// Polls by time of modification, where an administrator did not switch change tracking on.
    async fn follow_modified(
        &self,
        table: &Followed<'_>,
        since: Timestamp,
        cursor: &mut Option<Cursor>,
        polled: &mut Polled,
    ) -> Result<(), Fault> {
        let from = since.checked_sub(MODIFIED_OVERLAP).unwrap_or(Timestamp::UNIX_EPOCH);
        let from = from.max(Timestamp::UNIX_EPOCH);
        let first = self.ports.modified_since(table.set, table.key, from, &table.columns);
        let mut page = first.await?;
        let mut newest = since;
        loop {
            // The vendor's clock, never ours: the newest time that was seen is where the next look begins.
            newest = page.rows.iter().filter_map(modified_at).fold(newest, Timestamp::max);
            self.hint_page(table, &page.rows, polled).await?;
            let Some(next) = page.next.take() else { break };
            if self.ports.is_out_of_time() {
                polled.unfinished = true;
                break;
            }
            page = self.ports.more_modified(&next).await?;
        }
        let caught_up = (!polled.unfinished).then_some(self.tick.now);
        let value = encode(&Place::Since {
            at: newest,
            asks_again: false,
        });
        self.move_cursor(table, cursor, &value, caught_up).await?;
        Ok(())
    }

    /// Moves a table's cursor; false if somebody else did so first.
    async fn move_cursor(
        &self,
        table: &Followed<'_>,
        cursor: &mut Option<Cursor>,
        value: &str,
        caught_up: Option<Timestamp>,
    ) -> Result<bool, Fault> {
        let moved = self.ports.move_cursor(table.cursor, cursor, value, caught_up);
        Ok(match moved.await? {
            Moved::Moved(moved) => {
                *cursor = Some(moved);
                true
            }
            Moved::Outrun => false,
        })
    }

    async fn hint_page(&self, table: &Followed<'_>, rows: &[Row], polled: &mut Polled) -> Result<(), Fault> {
        match table.rows {
            Rows::Records(subject) => self.hint_rows(table.key, subject, rows, polled).await,
            Rows::Solutions(solutions) => self.hint_solutions(solutions, rows, polled).await,
        }
    }

    /// A solution row concerns the deal it belongs to, and each that still counts it among its own: it may have been moved,
    /// and of a deleted row only its key is told.
    async fn hint_solutions(&self, table: &SolutionTable, rows: &[Row], polled: &mut Polled) -> Result<(), Fault> {
        // One hint a deal, told apart by all its rows: the one that came last says nothing of the others.
        let mut hints: BTreeMap<OpportunityId, (Hint, Vec<String>)> = BTreeMap::new();
        for row in rows {
            let Some(key) = row.guid(&table.key).or_else(|| row.guid("id")) else {
                self.ports.remark("a row of the change list has no id and was skipped");
                continue;
            };
            polled.changed += 1;
            let mut deals = self.deals_with_row(key).await?;
            // A deal that no link knows is not shared; should it be, its row says so in its own table.
            let owner = row.guid(&table.opportunity_column()).map(OpportunityId::new);
            if let Some(owner) = owner.filter(|owner| !deals.contains(owner))
                && self.ports.find(Subject::Opportunity(owner)).await?.is_some()
            {
                deals.push(owner);
            }
            // A deletion has no version: the same key may be created and deleted again within minutes.
            let version = row.etag.as_ref().map_or(self.tick.name, |etag| etag.0.as_str());
            for deal in deals {
                let mut hint = Hint::new(Subject::Opportunity(deal), Cause::DynamicsPoll);
                if let Some(at) = modified_at(row) {
                    hint = hint.changed_at(at);
                }
                let (known, rows) = hints.entry(deal).or_insert_with(|| (hint.clone(), Vec::new()));
                known.changed_at = known.changed_at.max(hint.changed_at);
                rows.push(format!("{key} {version}"));
            }
        }
        let hints = hints.into_values();
        let hints: Vec<Keyed> = hints.map(|(hint, rows)| Keyed::new(hint, rows.join(","))).collect();
        self.ports.send(&hints).await?;
        polled.hinted += u64::try_from(hints.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// The deals that had this solution row when they were last looked at.
    async fn deals_with_row(&self, row: Uuid) -> Result<Vec<OpportunityId>, Fault> {
        let mut deals = Vec::new();
        for id in self.ports.links_of_solution_row(row).await? {
            let Some(Known::Link(link)) = self.ports.link(id).await? else {
                continue;
            };
            deals.extend(link.opportunity.filter(|_| link.solution_rows.contains(&row)));
        }
        Ok(deals)
    }

    async fn hint_rows(
        &self,
        key: &str,
        subject: fn(Uuid) -> Subject,
        rows: &[Row],
        polled: &mut Polled,
    ) -> Result<(), Fault> {
        let mut hints: Vec<Keyed> = Vec::new();
        for row in rows {
            let Some(id) = row.guid(key).or_else(|| row.guid("id")) else {
                self.ports.remark("a row of the change list has no id and was skipped");
                continue;
            };
            polled.changed += 1;
            let subject = subject(id);
            if !self.concerns_us(subject, row).await? {
                continue;
            }
            let mut hint = Hint::new(subject, Cause::DynamicsPoll);
            if let Some(at) = modified_at(row) {
                hint = hint.changed_at(at);
            }
            let key = row
                .etag
                .as_ref()
                .map_or_else(|| "deleted".to_owned(), |etag| etag.0.clone());
            hints.push(Keyed::new(hint, key));
        }
        self.ports.send(&hints).await?;
        polled.hinted += u64::try_from(hints.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Tracked requests take no filter, so every row of the table comes through.
    async fn concerns_us(&self, subject: Subject, row: &Row) -> Result<bool, Fault> {
        let columns = &self.policy.mapping.columns;
        if row.deleted {
            return Ok(self.ports.find(subject).await?.is_some());
        }
        Ok(row.flag(&columns.sync) || row.text(&columns.referral_identifier).is_some())
    }

    /// Finds referrals that changed: what a lost event would have told.
    ///
    /// # Errors
    /// What kept it from finding out; the cursor then stays.
    pub async fn partner_center(&self) -> Result<Polled, Fault> {
        let mut polled = self.hint_due().await?;
        let Some(lease) = self.ports.lease("poll-partner-center", self.tick).await? else {
            return Ok(Polled {
                skipped: true,
                ..polled
            });
        };
        let result = self.follow_partner_center(&mut polled).await;
        self.ports.release(lease).await?;
        result.map(|()| polled)
    }

    async fn follow_partner_center(&self, polled: &mut Polled) -> Result<(), Fault> {
        let cursor = self.ports.cursor("partner-center").await?;
        let last = cursor
            .as_ref()
            .and_then(|cursor| cursor.value.parse::<Timestamp>().ok());
        let since = last.map_or(self.tick.now - FIRST_LOOK, |last| last - PARTNER_CENTER_OVERLAP);
        let mut updates = self.ports.updated_since(since);
        while let Some(page) = self.ports.more_updates(&mut updates).await? {
            let mut hints = Vec::new();
            for summary in page {
                let subject = Subject::Referral(summary.id);
                let known = self.ports.find(subject).await?;
                // What we saw or wrote last is in the overlap of many looks; it is told by its version.
                if let (Some(Known::Link(link)), Some(etag)) = (&known, &summary.etag)
                    && link.etags.referral.as_ref() == Some(etag)
                    && link.referral == Some(summary.id)
                {
                    continue;
                }
                polled.changed += 1;
                let key = summary.etag.map_or_else(|| self.tick.name.to_owned(), |etag| etag.0);
                let mut hint = Hint::new(subject, Cause::PartnerCenterPoll);
                if let Some(at) = summary.updated_at {
                    hint = hint.changed_at(at);
                }
                hints.push(Keyed::new(hint, key));
            }
            self.ports.send(&hints).await?;
            polled.hinted += u64::try_from(hints.len()).unwrap_or(u64::MAX);
            if self.ports.is_out_of_time() {
                // Newest first: the cursor must not pass what was not seen.
                polled.unfinished = true;
                return Ok(());
            }
        }
        let _ = self
            .ports
            .move_cursor(
                "partner-center",
                &cursor,
                &self.tick.now.to_string(),
                Some(self.tick.now),
            )
            .await?;
        Ok(())
    }

    /// Hints every link once, so that nothing drifts for longer than a day. A table that did not track changes is asked
    /// again with its next poll.
    ///
    /// # Errors
    /// When the ledger or the queue does not answer.
    pub async fn compare(&self) -> Result<Polled, Fault> {
        let mut polled = self.hint_due().await?;
        self.ask_again_for_tracking().await?;
        let mut from = None;
        loop {
            let (links, next) = self.ports.links(from).await?;
            let subjects = links.iter().filter_map(Link::subject);
            let hints: Vec<Keyed> = subjects
                .map(|subject| Keyed::new(Hint::new(subject, Cause::Compare), self.tick.name))
                .collect();
            self.ports.send(&hints).await?;
            polled.hinted += u64::try_from(hints.len()).unwrap_or(u64::MAX);
            from = next;
            if from.is_none() {
                return Ok(polled);
            }
            if self.ports.is_out_of_time() {
                polled.unfinished = true;
                return Ok(polled);
            }
        }
    }

    async fn ask_again_for_tracking(&self) -> Result<(), Fault> {
        for table in followed(self.policy) {
            let cursor = self.ports.cursor(table.cursor).await?;
            let Some(Place::Since { at, asks_again: false }) = cursor.as_ref().and_then(place) else {
                continue;
            };
            let value = encode(&Place::Since { at, asks_again: true });
            // A poll that is under way keeps the cursor; tomorrow is another day.
            let _ = self.ports.move_cursor(table.cursor, &cursor, &value, None).await?;
        }
        Ok(())
    }

    async fn hint_due(&self) -> Result<Polled, Fault> {
        let listed = self.ports.due(self.tick.now, MOST_DUE).await?;
        // The queue drops repeats of the same date, so a backlog is not queued again with every run.
        let hints: Vec<Keyed> = listed
            .into_iter()
            .map(|(subject, at)| Keyed::new(Hint::new(subject, Cause::Due), at.to_string()))
            .collect();
        self.ports.send(&hints).await?;
        let due = u64::try_from(hints.len()).unwrap_or(u64::MAX);
        Ok(Polled {
            due,
            hinted: due,
            ..Polled::default()
        })
    }

    async fn page(&self, table: &Followed<'_>, place: Option<&Place>) -> Result<Changes, Fault> {
        let Followed { set, columns, .. } = table;
        match place {
            Some(Place::Link { columns: of_link, .. }) if of_link != columns => Ok(Changes::Expired),
            Some(Place::Link { url, .. }) => self.ports.changes(set, Some(url), columns).await,
            Some(Place::Since { asks_again: false, .. }) => Ok(Changes::Untracked),
            Some(Place::Since { asks_again: true, .. }) | None => self.ports.changes(set, None, columns).await,
        }
    }
}

/// Names of the cursors of Dynamics.
pub fn dynamics_cursors(policy: &Policy) -> impl Iterator<Item = &'static str> {
    followed(policy).into_iter().map(|table| table.cursor)
}

/// The tables of the CRM whose changes concern deals: one call for each, when nothing has changed.
fn followed(policy: &Policy) -> Vec<Followed<'_>> {
    let mapping = &policy.mapping;
    let opportunities = Followed {
        cursor: "dynamics",
        set: "opportunities",
        key: "opportunityid",
        columns: mapping.tracking_columns(),
        rows: Rows::Records(|id| Subject::Opportunity(OpportunityId::new(id))),
    };
    let solutions = mapping.solution_table().map(|table| Followed {
        cursor: "dynamics-solutions",
        set: &table.set,
        key: &table.key,
        columns: table.tracking_columns(),
        rows: Rows::Solutions(table),
    });
    let leads = policy.wants_leads().then(|| Followed {
        cursor: "dynamics-leads",
        set: "leads",
        key: "leadid",
        columns: mapping.tracking_columns(),
        rows: Rows::Records(|id| Subject::Lead(LeadId::new(id))),
    });
    [Some(opportunities), solutions, leads].into_iter().flatten().collect()
}

/// Where a cursor stands; nowhere, if that is no place of ours.
fn place(cursor: &Cursor) -> Option<Place> {
    serde_json::from_str(&cursor.value).ok()
}

fn encode(place: &Place) -> String {
    // Two kinds of plain text cannot fail to serialise; an empty cursor would only start over.
    serde_json::to_string(place).unwrap_or_default()
}

/// When a row was last changed, as the CRM's clock has it.
fn modified_at(row: &Row) -> Option<Timestamp> {
    row.text("modifiedon")?.parse().ok()
}

/// The fault of a table that takes not even a first look for one: no link is followed for ever.
fn endless(table: &Followed<'_>) -> Fault {
    Fault {
        class: Class::Conflict,
        code: "delta_expired",
        message: format!(
            "the changes of {} cannot be followed: its very first page is said to have expired",
            table.set
        ),
        in_doubt: false,
    }
}
