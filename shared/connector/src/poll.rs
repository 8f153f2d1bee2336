//! The pollers: they find what changed and put hints on the queue. They write to neither vendor.
//!
//! Knows cursors, pages and overlaps. Refuses to know what a change means. Guarantee: a cursor moves only past pages
//! whose every row that concerns us is on the queue.
//! Assumes: one run of a kind at a time, which the lease sees to; a run that loses its lease loses the cursor's
//! compare-and-set as well.

use std::collections::BTreeMap;

use cosell::fault::Fault;
use cosell::hint::{Cause, Hint, Subject};
use cosell::ids::{LeadId, OpportunityId};
use cosell::link::Link;
use cosell::mapping::SolutionTable;
use cosell::opportunity::Row;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::connector::Connector;
use crate::dataverse::{self, Dataverse, Page};
use crate::http::Run;
use crate::ledger::{self, Cursor, Moved};
use crate::queue::Keyed;

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

/// A run stops taking pages when less than this is left, so that it can still record how far it came.
pub(crate) const RESERVE: std::time::Duration = std::time::Duration::from_secs(2);

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
        let mut polled = self.hint_due(tick).await?;
        let Some(lease) = self.lease("poll-dynamics", tick).await? else {
            return Ok(Polled {
                skipped: true,
                ..polled
            });
        };
        let mut result = Ok(());
        for table in self.followed() {
            // One table that cannot be read keeps no other from being followed.
            let followed = self.follow_dynamics(&table, tick, &mut polled).await;
            result = result.and(followed);
        }
        self.ledger.release(lease).await?;
        result.map(|()| polled)
    }

    /// The tables of the CRM whose changes concern deals: one call for each, when nothing has changed.
    fn followed(&self) -> Vec<Followed<'_>> {
        let mapping = &self.policy.mapping;
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
        let leads = self.policy.wants_leads().then(|| Followed {
            cursor: "dynamics-leads",
            set: "leads",
            key: "leadid",
            columns: mapping.tracking_columns(),
            rows: Rows::Records(|id| Subject::Lead(LeadId::new(id))),
        });
        [Some(opportunities), solutions, leads].into_iter().flatten().collect()
    }

    /// How long ago the poll of Dynamics was last known to have seen every change: zero when the run that began at `now`
    /// got to the end. None before the first poll.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn dynamics_cursor_age(&self, now: Timestamp) -> Result<Option<SignedDuration>, Fault> {
        let mut oldest = None;
        for table in self.followed() {
            let cursor = self.ledger.cursor(table.cursor).await?;
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

    async fn follow_dynamics(&self, table: &Followed<'_>, tick: Tick<'_>, polled: &mut Polled) -> Result<(), Fault> {
        let dataverse = self.dataverse.during(tick.run);
        let mut cursor = self.ledger.cursor(table.cursor).await?;
        if cursor.is_none() {
            // From here on it is known for how long the poll has been behind, even if it never gets to its first page.
            match self
                .ledger
                .move_cursor(table.cursor, &None, NOWHERE, Some(tick.now))
                .await?
            {
                Moved::Moved(begun) => cursor = Some(begun),
                Moved::Outrun => return Ok(()),
            }
        }
        let mut started_over = false;
        loop {
            if tick.run.deadline().left() < RESERVE {
                polled.unfinished = true;
                return Ok(());
            }
            let place = cursor.as_ref().and_then(place);
            let page = match dynamics_page(&dataverse, table, place.as_ref()).await {
                Ok(page) => page,
                // Too long since the last look, or the table's columns have changed: everything is compared once.
                // So it is when the link belongs to other columns, or to another address of the environment.
                Err(error) if !started_over && is_worthless(&error) => {
                    tracing::warn!(
                        code = error.code(),
                        table = table.set,
                        "the delta link is of no use any more; all rows are looked at once"
                    );
                    started_over = true;
                    match self.ledger.move_cursor(table.cursor, &cursor, NOWHERE, None).await? {
                        Moved::Moved(moved) => cursor = Some(moved),
                        Moved::Outrun => return Ok(()),
                    }
                    continue;
                }
                Err(dataverse::Error::TrackingDisabled) => {
                    let since = match place {
                        Some(Place::Since { at, .. }) => at,
                        Some(Place::Link { .. }) | None => Timestamp::UNIX_EPOCH,
                    };
                    return self
                        .follow_modified(&dataverse, table, tick, since, cursor, polled)
                        .await;
                }
                Err(error) => return Err(error.into()),
            };
            self.hint_page(table, &page.rows, tick, polled).await?;
            let Some(link) = page.next.clone().or_else(|| page.delta.clone()) else {
                return Ok(());
            };
            let value = encode(&Place::Link {
                url: link,
                columns: table.columns.clone(),
            });
            // What changed before this run began has come through once the last page has.
            let caught_up = page.next.is_none().then_some(tick.now);
            match self
                .ledger
                .move_cursor(table.cursor, &cursor, &value, caught_up)
                .await?
            {
                Moved::Moved(moved) => cursor = Some(moved),
                Moved::Outrun => return Ok(()),
            }
            if page.next.is_none() {
                return Ok(());
            }
        }
    }

    /// Polls by time of modification, where an administrator did not switch change tracking on.
    async fn follow_modified(
        &self,
        dataverse: &Dataverse,
        table: &Followed<'_>,
        tick: Tick<'_>,
        since: Timestamp,
        cursor: Option<Cursor>,
        polled: &mut Polled,
    ) -> Result<(), Fault> {
        let from = since.checked_sub(MODIFIED_OVERLAP).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut page = dataverse
            .modified_since(table.set, table.key, from.max(Timestamp::UNIX_EPOCH), &table.columns)
            .await?;
        let mut newest = since;
        loop {
            // The vendor's clock, never ours: the newest time that was seen is where the next look begins.
            for row in &page.rows {
                newest = newest.max(
                    row.text("modifiedon")
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(newest),
                );
            }
            self.hint_page(table, &page.rows, tick, polled).await?;
            let Some(next) = page.next.take() else { break };
            if tick.run.deadline().left() < RESERVE {
                polled.unfinished = true;
                break;
            }
            page = dataverse.more_modified(&next).await?;
        }
        let caught_up = (!polled.unfinished).then_some(tick.now);
        let _ = self
            .ledger
            .move_cursor(
                table.cursor,
                &cursor,
                &encode(&Place::Since {
                    at: newest,
                    asks_again: false,
                }),
                caught_up,
            )
            .await?;
        Ok(())
    }

    async fn hint_page(
        &self,
        table: &Followed<'_>,
        rows: &[Row],
        tick: Tick<'_>,
        polled: &mut Polled,
    ) -> Result<(), Fault> {
        match table.rows {
            Rows::Records(subject) => self.hint_rows(table.key, subject, rows, polled).await,
            Rows::Solutions(solutions) => self.hint_solutions(solutions, rows, tick, polled).await,
        }
    }

    /// A solution row concerns the deal it belongs to, and each that still counts it among its own: it may have been moved,
    /// and of a deleted row only its key is told.
    async fn hint_solutions(
        &self,
        table: &SolutionTable,
        rows: &[Row],
        tick: Tick<'_>,
        polled: &mut Polled,
    ) -> Result<(), Fault> {
        // One hint a deal, told apart by all its rows: the one that came last says nothing of the others.
        let mut hints: BTreeMap<OpportunityId, (Hint, Vec<String>)> = BTreeMap::new();
        for row in rows {
            let Some(key) = row.guid(&table.key).or_else(|| row.guid("id")) else {
                tracing::warn!("a row of the change list has no id and was skipped");
                continue;
            };
            polled.changed += 1;
            let mut deals = self.deals_with_row(key).await?;
            // A deal that no link knows is not shared; should it be, its row says so in its own table.
            let owner = row.guid(&table.opportunity_column()).map(OpportunityId::new);
            if let Some(owner) = owner.filter(|owner| !deals.contains(owner))
                && self.known(Subject::Opportunity(owner)).await?.is_some()
            {
                deals.push(owner);
            }
            // A deletion has no version: the same key may be created and deleted again within minutes.
            let version = row.etag.as_ref().map_or(tick.name, |etag| etag.0.as_str());
            for deal in deals {
                let mut hint = Hint::new(Subject::Opportunity(deal), Cause::DynamicsPoll);
                if let Some(at) = row.text("modifiedon").and_then(|text| text.parse().ok()) {
                    hint = hint.changed_at(at);
                }
                let (known, rows) = hints.entry(deal).or_insert_with(|| (hint.clone(), Vec::new()));
                known.changed_at = known.changed_at.max(hint.changed_at);
                rows.push(format!("{key} {version}"));
            }
        }
        let hints = hints.into_values();
        let hints: Vec<Keyed> = hints.map(|(hint, rows)| Keyed::new(hint, rows.join(","))).collect();
        self.queue.send(&hints).await?;
        polled.hinted += u64::try_from(hints.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// The deals that had this solution row when they were last looked at.
    async fn deals_with_row(&self, row: Uuid) -> Result<Vec<OpportunityId>, Fault> {
        let mut deals = Vec::new();
        for id in self.ledger.links_of_solution_row(row).await? {
            let Some(Known::Link(link)) = known(self.ledger.get(id).await)? else {
                continue;
            };
            deals.extend(link.opportunity.filter(|_| link.solution_rows.contains(&row)));
        }
        Ok(deals)
    }

    /// What the ledger knows of a record.
    async fn known(&self, subject: Subject) -> Result<Option<Known>, Fault> {
        known(self.ledger.find(subject).await)
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
                tracing::warn!("a row of the change list has no id and was skipped");
                continue;
            };
            polled.changed += 1;
            let subject = subject(id);
            if !self.concerns_us(subject, row).await? {
                continue;
            }
            let mut hint = Hint::new(subject, Cause::DynamicsPoll);
            if let Some(at) = row.text("modifiedon").and_then(|text| text.parse().ok()) {
                hint = hint.changed_at(at);
            }
            let key = row
                .etag
                .as_ref()
                .map_or_else(|| "deleted".to_owned(), |etag| etag.0.clone());
            hints.push(Keyed::new(hint, key));
        }
        self.queue.send(&hints).await?;
        polled.hinted += u64::try_from(hints.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Tracked requests take no filter, so every row of the table comes through.
    async fn concerns_us(&self, subject: Subject, row: &Row) -> Result<bool, Fault> {
        let columns = &self.policy.mapping.columns;
        if row.deleted {
            return Ok(self.known(subject).await?.is_some());
        }
        Ok(row.flag(&columns.sync) || row.text(&columns.referral_identifier).is_some())
    }

    /// Finds referrals that changed: what a lost event would have told.
    ///
    /// # Errors
    /// What kept it from finding out; the cursor then stays.
    pub async fn poll_partner_center(&self, tick: Tick<'_>) -> Result<Polled, Fault> {
        let mut polled = self.hint_due(tick).await?;
        let Some(lease) = self.lease("poll-partner-center", tick).await? else {
            return Ok(Polled {
                skipped: true,
                ..polled
            });
        };
        let result = self.follow_partner_center(tick, &mut polled).await;
        self.ledger.release(lease).await?;
        result.map(|()| polled)
    }

    async fn follow_partner_center(&self, tick: Tick<'_>, polled: &mut Polled) -> Result<(), Fault> {
        let cursor = self.ledger.cursor("partner-center").await?;
        let last = cursor
            .as_ref()
            .and_then(|cursor| cursor.value.parse::<Timestamp>().ok());
        let since = last.map_or(tick.now - FIRST_LOOK, |last| last - PARTNER_CENTER_OVERLAP);
        let mut updates = self.partner_center.during(tick.run).updated_since(since);
        while let Some(page) = updates.next_page().await? {
            let mut hints = Vec::new();
            for summary in page {
                let subject = Subject::Referral(summary.id);
                let known = self.known(subject).await?;
                // What we saw or wrote last is in the overlap of many looks; it is told by its version.
                if let (Some(Known::Link(link)), Some(etag)) = (&known, &summary.etag)
                    && link.etags.referral.as_ref() == Some(etag)
                    && link.referral == Some(summary.id)
                {
                    continue;
                }
                polled.changed += 1;
                let key = summary.etag.map_or_else(|| tick.name.to_owned(), |etag| etag.0);
                let mut hint = Hint::new(subject, Cause::PartnerCenterPoll);
                if let Some(at) = summary.updated_at {
                    hint = hint.changed_at(at);
                }
                hints.push(Keyed::new(hint, key));
            }
            self.queue.send(&hints).await?;
            polled.hinted += u64::try_from(hints.len()).unwrap_or(u64::MAX);
            if tick.run.deadline().left() < RESERVE {
                // Newest first: the cursor must not pass what was not seen.
                polled.unfinished = true;
                return Ok(());
            }
        }
        let _ = self
            .ledger
            .move_cursor("partner-center", &cursor, &tick.now.to_string(), Some(tick.now))
            .await?;
        Ok(())
    }

    /// Hints every link once, so that nothing drifts for longer than a day. A table that did not track changes is asked
    /// again with its next poll.
    ///
    /// # Errors
    /// When the ledger or the queue does not answer.
    pub async fn compare(&self, tick: Tick<'_>) -> Result<Polled, Fault> {
        let mut polled = self.hint_due(tick).await?;
        self.ask_again_for_tracking().await?;
        let mut from = None;
        loop {
            let page = self.ledger.scan_links(from).await?;
            for error in &page.broken {
                tracing::error!(%error, "a link cannot be read");
            }
            let hints: Vec<Keyed> = page
                .links
                .iter()
                .filter_map(|link| {
                    let subject = link
                        .referral
                        .map(Subject::Referral)
                        .or(link.opportunity.map(Subject::Opportunity))
                        .or(link.lead.map(Subject::Lead))?;
                    Some(Keyed::new(Hint::new(subject, Cause::Compare), tick.name))
                })
                .collect();
            self.queue.send(&hints).await?;
            polled.hinted += u64::try_from(hints.len()).unwrap_or(u64::MAX);
            from = page.next;
            if from.is_none() {
                return Ok(polled);
            }
            if tick.run.deadline().left() < RESERVE {
                polled.unfinished = true;
                return Ok(polled);
            }
        }
    }

    async fn ask_again_for_tracking(&self) -> Result<(), Fault> {
        for table in self.followed() {
            let cursor = self.ledger.cursor(table.cursor).await?;
            let Some(Place::Since { at, asks_again: false }) = cursor.as_ref().and_then(place) else {
                continue;
            };
            let value = encode(&Place::Since { at, asks_again: true });
            // A poll that is under way keeps the cursor; tomorrow is another day.
            let _ = self.ledger.move_cursor(table.cursor, &cursor, &value, None).await?;
        }
        Ok(())
    }

    async fn hint_due(&self, tick: Tick<'_>) -> Result<Polled, Fault> {
        let listed = self.ledger.due(tick.now, MOST_DUE).await?;
        let hints: Vec<Keyed> = listed
            .iter()
            .filter_map(|due| {
                // The queue drops repeats of the same date, so a backlog is not queued again with every run.
                Some(Keyed::new(Hint::new(due.subject()?, Cause::Due), due.at.to_string()))
            })
            .collect();
        self.queue.send(&hints).await?;
        let due = u64::try_from(hints.len()).unwrap_or(u64::MAX);
        Ok(Polled {
            due,
            hinted: due,
            ..Polled::default()
        })
    }

    async fn lease(&self, name: &str, tick: Tick<'_>) -> Result<Option<ledger::Lease>, Fault> {
        let left = tick.run.deadline().left().min(std::time::Duration::from_secs(900));
        let until = tick.now + SignedDuration::try_from(left).unwrap_or(SignedDuration::from_mins(15));
        Ok(self
            .ledger
            .lease(name, tick.name, until + SignedDuration::from_secs(5), tick.now)
            .await?)
    }
}

async fn dynamics_page(
    dataverse: &Dataverse,
    table: &Followed<'_>,
    place: Option<&Place>,
) -> Result<Page, dataverse::Error> {
    let Followed { set, columns, .. } = table;
    match place {
        Some(Place::Link { columns: of_link, .. }) if of_link != columns => Err(dataverse::Error::DeltaExpired),
        Some(Place::Link { url, .. }) => dataverse.changes(set, Some(url), columns).await,
        Some(Place::Since { asks_again: false, .. }) => Err(dataverse::Error::TrackingDisabled),
        Some(Place::Since { asks_again: true, .. }) | None => dataverse.changes(set, None, columns).await,
    }
}

/// What the ledger knows of a record that changed.
enum Known {
    /// Its link.
    Link(Box<Link>),
    /// A link that cannot be read. The deal's own look says so and is set aside; no other deal waits for it.
    Broken,
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

/// Where a cursor stands; nowhere, if that is no place of ours.
fn place(cursor: &Cursor) -> Option<Place> {
    serde_json::from_str(&cursor.value).ok()
}

/// Whether a stored link will never be followed again.
fn is_worthless(error: &dataverse::Error) -> bool {
    matches!(error, dataverse::Error::DeltaExpired) || error.code() == "foreign_link"
}

fn encode(place: &Place) -> String {
    // Two kinds of plain text cannot fail to serialise; an empty cursor would only start over.
    serde_json::to_string(place).unwrap_or_default()
}
