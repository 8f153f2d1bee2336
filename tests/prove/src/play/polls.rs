//! The real pollers, over the lists of both vendors: one request at a time, and whatever may come between two of them.
//!
//! Knows: what the vendors' lists, the ledger's marks and the queue answer. Refuses to know: what a poller makes of it.
//! Guarantee: a poll is performed request by request, so that it can die behind each, or its answer be lost; a cursor
//! that passes what nobody was told of ends the run.

use std::cell::{Cell as Slot, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll as Step, Waker};

use cosell::fault::{Class, Fault};
use cosell::hint::{Cause, Keyed, Subject};
use cosell::ids::{Etag, LinkId, Record, ReferralId};
use cosell::link::Link;
use cosell::opportunity::{Cell, Page, Row};
use cosell::poll::{Changes, Cursor, Known, Moved, Polled, Poller, Ports, Tick, dynamics_cursors};
use cosell::referral::Summary;
use jiff::{SignedDuration, Timestamp};
use model::vendors::ReferralRecord;
use model::world::{Bug, LIST_LAG, POLICY};
use rand::Rng;
use uuid::Uuid;

use super::{Play, TIMEOUT};

/// How far the next look at Partner Center goes back behind its cursor (design.md): what is younger is looked at once
/// more, since a list changes while it is walked.
const OVERLAP: SignedDuration = SignedDuration::from_mins(10);

/// Entries of a page of any list.
const PAGE: usize = 3;

/// Polls that are under way at once: the schedule does not wait for the one before.
const MOST_AT_ONCE: usize = 3;

/// Requests that a poll makes at most before somebody else is at it.
const MOST_IN_A_ROW: u32 = 8;

/// Which of the scheduled runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What changed in Dynamics.
    Dynamics,
    /// What changed in Partner Center.
    PartnerCenter,
    /// Every link.
    Compare,
}

/// What changed in the CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// An opportunity or a lead.
    Record(Record),
    /// A row of an opportunity's solutions.
    Solution(Uuid),
}

impl Changed {
    fn key(self) -> Uuid {
        match self {
            Self::Record(record) => record.uuid(),
            Self::Solution(key) => key,
        }
    }

    fn is_in(self, table: &str) -> bool {
        match self {
            Self::Record(Record::Opportunity(_)) => table == "opportunities",
            Self::Record(Record::Lead(_)) => table == "leads",
            Self::Solution(_) => table != "opportunities" && table != "leads",
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Refused,
    /// It is done, and the answer never comes.
    Unanswered,
}

type Request = Box<dyn FnOnce(&mut Play, Fate)>;

/// A poll that is under way.
pub(super) struct Poll {
    kind: Kind,
    number: u64,
    /// When it is cut off.
    until: Timestamp,
    /// What had changed when it began.
    began: usize,
    desk: Rc<Desk>,
    work: Pin<Box<dyn Future<Output = Result<Polled, Fault>>>>,
}

/// Where a poll leaves its requests.
#[derive(Default)]
struct Desk {
    request: RefCell<Option<Request>>,
    is_out_of_time: Slot<bool>,
}

/// What both sides of the polls keep.
#[derive(Default)]
pub(super) struct Marks {
    cursors: BTreeMap<String, Cursor>,
    /// Who holds a lease, and until when.
    leases: BTreeMap<String, (String, Timestamp)>,
    /// Of records: how much had changed in the CRM, and when it was, when they were last put on the queue.
    told: HashMap<Subject, (usize, Timestamp)>,
    /// Hints that a poll keeps back until its cursor has moved: a known mistake.
    withheld: BTreeMap<u64, Vec<Keyed>>,
    /// Up to here everything was followed.
    followed: usize,
    /// Polls of which another had moved a cursor: that one goes on from there.
    outrun: BTreeSet<u64>,
    /// Where the changes of opportunities begin that lists of changes tell of.
    watched_from: Option<usize>,
    /// Whether the last run found another one under way.
    was_skipped: bool,
    /// Where the cursors of opportunities and leads stand, in changes.
    passed: usize,
    passed_leads: usize,
    numbers: u64,
    /// Changes of referrals that the cursor has passed.
    listed: HashMap<ReferralId, Timestamp>,
    /// Changes that a link knew of when a poll asked: that one may pass them over, though the link forgets them again.
    known: HashMap<(u64, ReferralId), Timestamp>,
}

/// The ports of one poll.
struct Lent {
    number: u64,
    desk: Rc<Desk>,
}

impl Lent {
    /// Leaves a request and waits until somebody performs it.
    async fn ask<T: 'static>(&self, perform: impl FnOnce(&mut Play) -> T + 'static) -> Result<T, Fault> {
        let answer = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&answer);
        self.desk.request.replace(Some(Box::new(move |play: &mut Play, fate| {
            let is_done = fate != Fate::Refused;
            let done = is_done.then(|| perform(play));
            let answered = done.filter(|_| fate == Fate::Answered);
            slot.replace(Some(answered.ok_or_else(|| Fault {
                class: Class::Transient { after: None },
                code: "unavailable",
                message: "the request was not answered".to_owned(),
                in_doubt: is_done,
            })));
        })));
        std::future::poll_fn(|_| answer.take().map_or(Step::Pending, Step::Ready)).await
    }
}

/// A walk over referrals: how many were seen, and whether older ones than wanted were.
#[derive(Clone, Copy)]
struct Updates {
    since: Timestamp,
    seen: usize,
    is_past: bool,
}

impl Ports for Lent {
    type Lease = String;
    type Place = LinkId;
    type Updates = Updates;

    fn is_out_of_time(&self) -> bool {
        self.desk.is_out_of_time.get()
    }

    fn remark(&self, _: &'static str) {}

    async fn lease(&self, name: &str, tick: Tick<'_>) -> Result<Option<String>, Fault> {
        let (name, holder) = (name.to_owned(), tick.name.to_owned());
        let until = tick.now + TIMEOUT + SignedDuration::from_secs(5);
        self.ask(move |play| {
            let now = play.world.now;
            let is_free = |(held_by, until): &(String, Timestamp)| *held_by == holder || *until <= now;
            let is_taken = play.marks.leases.get(&name).is_none_or(is_free);
            is_taken.then(|| {
                play.marks.leases.insert(name.clone(), (holder, until));
                name
            })
        })
        .await
    }

    async fn release(&self, lease: String) -> Result<(), Fault> {
        let holder = format!("poll-{}", self.number);
        self.ask(move |play| {
            let is_held = play.marks.leases.get(&lease).is_some_and(|(by, _)| *by == holder);
            if is_held {
                play.marks.leases.remove(&lease);
            }
        })
        .await
    }

    async fn cursor(&self, name: &str) -> Result<Option<Cursor>, Fault> {
        let name = name.to_owned();
        self.ask(move |play| play.marks.cursors.get(&name).cloned()).await
    }

    async fn move_cursor(
        &self,
        name: &str,
        seen: &Option<Cursor>,
        value: &str,
        caught_up: Option<Timestamp>,
    ) -> Result<Moved, Fault> {
        let (name, seen) = (name.to_owned(), seen.clone());
        let moved = Cursor::moved(seen.as_ref(), value, caught_up);
        let number = self.number;
        self.ask(move |play| play.move_cursor(number, &name, seen.as_ref(), moved))
            .await
    }

    async fn find(&self, subject: Subject) -> Result<Option<Known>, Fault> {
        let number = self.number;
        self.ask(move |play| {
            let link = play.world.find(subject)?;
            play.note_known(number, subject, &link);
            Some(Known::Link(Box::new(link)))
        })
        .await
    }

    async fn link(&self, id: LinkId) -> Result<Option<Known>, Fault> {
        self.ask(move |play| play.world.link(id).map(|link| Known::Link(Box::new(link))))
            .await
    }

    async fn links_of_solution_row(&self, row: Uuid) -> Result<Vec<LinkId>, Fault> {
        self.ask(move |play| {
            let links = play.world.links().filter(|link| link.solution_rows.contains(&row));
            links.map(|link| link.id).collect()
        })
        .await
    }

    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<(Subject, Timestamp)>, Fault> {
        self.ask(move |play| {
            let due = |link: Link| Some((link.subject()?, link.due?.at));
            let mut due: Vec<_> = play
                .world
                .links()
                .filter_map(due)
                .filter(|(_, at)| *at <= now)
                .collect();
            due.sort_by_key(|(_, at)| *at);
            due.truncate(most);
            due
        })
        .await
    }

    async fn links(&self, from: Option<LinkId>) -> Result<(Vec<Link>, Option<LinkId>), Fault> {
        self.ask(move |play| {
            let links = play.world.links().filter(|link| from.is_none_or(|from| link.id > from));
            let page: Vec<Link> = links.take(PAGE).collect();
            let next = page.last().map(|link| link.id).filter(|_| page.len() == PAGE);
            (page, next)
        })
        .await
    }

    async fn send(&self, hints: &[Keyed]) -> Result<(), Fault> {
        let (number, hints) = (self.number, hints.to_vec());
        self.ask(move |play| play.take_hints(number, hints)).await
    }

    async fn changes(&self, table: &str, link: Option<&str>, _columns: &str) -> Result<Changes, Fault> {
        let (table, link) = (table.to_owned(), link.map(str::to_owned));
        self.ask(move |play| play.changes_of(&table, link.as_deref())).await
    }

    async fn modified_since(&self, table: &str, _key: &str, since: Timestamp, _columns: &str) -> Result<Page, Fault> {
        let table = table.to_owned();
        self.ask(move |play| play.modified(&table, since, 0)).await
    }

    async fn more_modified(&self, link: &str) -> Result<Page, Fault> {
        let link = link.to_owned();
        self.ask(move |play| {
            let mut parts = link.split(' ');
            let table = parts.next().unwrap_or_default();
            let since = parts.next().and_then(|since| since.parse().ok());
            let from = parts.next().and_then(|from| from.parse().ok());
            play.modified(table, since.unwrap_or(Timestamp::MIN), from.unwrap_or_default())
        })
        .await
    }

    fn updated_since(&self, since: Timestamp) -> Updates {
        Updates {
            since,
            seen: 0,
            is_past: false,
        }
    }

    async fn more_updates(&self, updates: &mut Updates) -> Result<Option<Vec<Summary>>, Fault> {
        let walk = *updates;
        let (walk, page) = self.ask(move |play| play.updated(walk)).await?;
        *updates = walk;
        Ok(page)
    }
}

impl Play {
    /// A run of the schedule begins, or one that is under way goes on.
    pub(super) fn poll(&mut self, kind: Kind) {
        let is_under_way = self.polls.iter().any(|poll| poll.kind == kind);
        if !is_under_way || (self.polls.len() < MOST_AT_ONCE && self.chance.random_bool(0.1)) {
            self.begin_poll(kind);
        }
        let of_kind: Vec<usize> = (0..self.polls.len())
            .filter(|at| self.polls.get(*at).is_some_and(|poll| poll.kind == kind))
            .collect();
        let Some(at) = of_kind.get(self.chance.random_range(0..of_kind.len())) else {
            return;
        };
        let poll = self.polls.remove(*at);
        let requests = self.chance.random_range(1..=MOST_IN_A_ROW);
        self.go_on(poll, requests);
    }

    /// Whichever poll is under way goes on; false when there is none.
    pub(super) fn goes_on_polling(&mut self) -> bool {
        let is_any = !self.polls.is_empty();
        if is_any {
            let poll = self.polls.remove(0);
            self.go_on(poll, MOST_IN_A_ROW);
        }
        is_any
    }

    /// Whether a list of changes tells of what was done last to a record.
    pub(super) fn is_watched(&self, record: Record) -> bool {
        let last = self
            .changes
            .iter()
            .rposition(|(changed, _)| *changed == Changed::Record(record));
        self.marks
            .watched_from
            .is_some_and(|from| last.is_some_and(|last| last >= from))
    }

    /// Follows the CRM where something changed since all that had was on the queue; false where nothing has. The schedule
    /// comes back after a minute where a poll that died has kept its lease.
    pub(super) fn follows(&mut self) -> bool {
        let is_behind = self.marks.followed < self.changes.len();
        if is_behind {
            if std::mem::take(&mut self.marks.was_skipped) {
                self.world.now += SignedDuration::from_mins(1);
            }
            self.begin_poll(Kind::Dynamics);
        }
        is_behind
    }

    pub(super) fn begin_poll(&mut self, kind: Kind) {
        self.marks.numbers += 1;
        let number = self.marks.numbers;
        let desk = Rc::<Desk>::default();
        let lent = Lent {
            number,
            desk: Rc::clone(&desk),
        };
        let (now, rules) = (self.world.now, self.world.rules());
        let name = format!("poll-{number}");
        self.tell(|| format!("{name} begins: {kind:?}"));
        self.polls.push(Poll {
            kind,
            number,
            until: now + TIMEOUT,
            began: self.changes.len(),
            desk,
            work: Box::pin(async move {
                let poller = Poller::new(&lent, rules, Tick { name: &name, now });
                match kind {
                    Kind::Dynamics => poller.dynamics().await,
                    Kind::PartnerCenter => poller.partner_center().await,
                    Kind::Compare => poller.compare().await,
                }
            }),
        });
    }

    fn go_on(&mut self, mut poll: Poll, requests: u32) {
        for _ in 0..requests {
            // A poll makes many more requests than a worker makes calls, and has to get through now and then.
            let mishap = (!self.is_over && self.chance.random_range(0..5_000) < self.knobs.mishaps)
                .then(|| self.chance.random_range(0..5_u32));
            let number = poll.number;
            if (poll.until < self.world.now && !self.is_calm) || mishap == Some(0) {
                self.tell(|| format!("poll-{number} dies"));
                self.figures.broken_polls += 1;
                return;
            }
            let fate = match mishap {
                Some(1) => Fate::Refused,
                Some(2) => Fate::Unanswered,
                _ => Fate::Answered,
            };
            let is_hurried = poll.until < self.world.now + SignedDuration::from_secs(2);
            poll.desk.is_out_of_time.set(is_hurried || mishap == Some(3));
            if let Some(request) = poll.desk.request.take() {
                request(self, fate);
            }
            if mishap == Some(4) {
                self.tell(|| format!("poll-{number} dies behind a request"));
                self.figures.broken_polls += 1;
                return;
            }
            match poll.work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Step::Pending => {}
                Step::Ready(result) => {
                    self.tell(|| format!("poll-{number} is done: {result:?}"));
                    self.marks.was_skipped = result.as_ref().is_ok_and(|polled| polled.skipped);
                    let is_whole = result.is_ok_and(|polled| !polled.skipped && !polled.unfinished);
                    let is_outrun = self.marks.outrun.contains(&number);
                    if poll.kind == Kind::Dynamics && is_whole && !is_outrun {
                        self.marks.followed = self.marks.followed.max(poll.began);
                        self.judge_followed(&poll);
                    }
                    self.marks.withheld.remove(&number);
                    return;
                }
            }
        }
        self.polls.push(poll);
    }

    fn take_hints(&mut self, number: u64, hints: Vec<Keyed>) {
        let of_poll = |keyed: &Keyed| keyed.hint().cause == Cause::DynamicsPoll;
        if self.world.bug == Some(Bug::CursorBeforeEnqueue) && hints.iter().any(of_poll) {
            self.marks.withheld.insert(number, hints);
            return;
        }
        for keyed in hints {
            let subject = keyed.hint().subject;
            let is_ours = matches!(subject, Subject::Opportunity(id) if self.world.ours.contains(&id));
            if self.world.bug == Some(Bug::EchoByAuthor) && is_ours && of_poll(&keyed) {
                continue;
            }
            let told = (self.changes.len(), self.world.now);
            self.marks.told.insert(subject, told);
            self.tell(|| format!("poll-{number} hints {subject} ({})", keyed.hint().cause));
            self.enqueue(keyed.hint().clone(), keyed.key().to_owned());
        }
    }

    fn move_cursor(&mut self, number: u64, name: &str, seen: Option<&Cursor>, moved: Cursor) -> Moved {
        let stands = self.marks.cursors.get(name);
        if stands.map(|cursor| cursor.version) != seen.map(|cursor| cursor.version) {
            // Where it stands already as it shall, the answer to the same move was lost.
            return match stands == Some(&moved) {
                true => Moved::Moved(moved),
                false => {
                    self.marks.outrun.insert(number);
                    Moved::Outrun
                }
            };
        }
        self.judge_cursor(number, name, &moved);
        self.tell(|| format!("poll-{number} moves the cursor {name} to {}", moved.value));
        self.marks.cursors.insert(name.to_owned(), moved.clone());
        Moved::Moved(moved)
    }

    /// Nothing that a cursor is about to pass may be left to nobody.
    fn judge_cursor(&mut self, number: u64, name: &str, moved: &Cursor) {
        let (table, kept) = match name {
            "dynamics" => ("opportunities", &mut self.marks.passed),
            "dynamics-leads" => ("leads", &mut self.marks.passed_leads),
            "partner-center" => return self.judge_list(number, moved),
            _ => return,
        };
        let Some(until) = passes(&moved.value) else { return };
        let from = std::mem::replace(kept, until).min(until);
        for (at, (changed, _)) in self.changes.iter().enumerate().take(until).skip(from) {
            let Changed::Record(record) = changed else { continue };
            let changes_again = self.changes.iter().skip(at + 1).any(|(later, _)| later == changed);
            let concerns_us = self.world.row(*record).is_some_and(|row| concerns_us(&row.shown()));
            if changed.is_in(table) && !changes_again && concerns_us {
                let told = self.marks.told.get(&Subject::from(*record));
                assert!(
                    told.is_some_and(|(changes, _)| *changes > at),
                    "the cursor {name} passes a change of {record} that nobody was told of"
                );
            }
        }
    }

    /// Who says to have followed everything has moved the cursors past all that there was when it began.
    fn judge_followed(&self, poll: &Poll) {
        let has_cursor = |name: &&str| *name != "dynamics-solutions";
        for name in dynamics_cursors(self.world.rules()).filter(has_cursor) {
            let value = self.marks.cursors.get(name).map_or("", |cursor| cursor.value.as_str());
            let is_there = value.contains("since") || passes(value).is_some_and(|until| until >= poll.began);
            assert!(
                is_there,
                "poll-{} has followed everything, and the cursor {name} stands at {value:?}",
                poll.number
            );
        }
    }

    fn judge_list(&mut self, number: u64, moved: &Cursor) {
        let Ok(until) = moved.value.parse::<Timestamp>() else {
            return;
        };
        for referral in self
            .world
            .referrals
            .values()
            .filter(|one| one.updated + OVERLAP <= until)
        {
            // What was known when the cursor passed it may be forgotten since, with a deal that was parted.
            if self.marks.listed.get(&referral.id) == Some(&referral.updated) {
                continue;
            }
            let subject = Subject::Referral(referral.id);
            let link = self.world.find(subject);
            let was_known = self.marks.known.get(&(number, referral.id)) == Some(&referral.updated);
            let is_known = was_known || link.is_some_and(|link| link.has_parted(subject) || knows(&link, referral));
            let told = self.marks.told.get(&subject);
            assert!(
                is_known || told.is_some_and(|(_, at)| *at >= referral.updated),
                "the cursor of Partner Center passes a change of {subject} that nobody was told of"
            );
            self.marks.listed.insert(referral.id, referral.updated);
        }
    }

    /// A poll asks about a referral, and the link has seen it as it is.
    fn note_known(&mut self, number: u64, subject: Subject, link: &Link) {
        let referral = |id| self.world.referrals.get(&id);
        if let Subject::Referral(id) = subject
            && let Some(referral) = referral(id).filter(|referral| knows(link, referral))
        {
            self.marks.known.insert((number, id), referral.updated);
        }
    }

    /// The page of changes behind a link, or the first of all rows.
    fn changes_of(&mut self, table: &str, link: Option<&str>) -> Changes {
        if !self.tracks_changes {
            return Changes::Untracked;
        }
        let expires = !self.is_over && link.is_some() && self.chance.random_range(0..5_000) < self.knobs.mishaps;
        if expires {
            self.tell(|| format!("the delta link of {table} expires"));
            return Changes::Expired;
        }
        let all = self.changes.len();
        self.tell(|| format!("changes of {table} are read from {link:?} on, {all} in all"));
        if table == "opportunities" && link.is_none() {
            self.marks.watched_from.get_or_insert(all);
        }
        let parts: Vec<&str> = link.map(|link| link.split(' ').collect()).unwrap_or_default();
        let found = match parts.as_slice() {
            [] => self.all_rows(table, None, all),
            ["all", last, began] => self.all_rows(table, last.parse().ok(), began.parse().unwrap_or_default()),
            [_, from] => self.changed_rows(table, from.parse().unwrap_or_default()),
            _ => return Changes::Expired,
        };
        Changes::Page(found)
    }

    /// Some of all rows as they are, behind the last one that was shown (the vendor's links hold its key, so that a row that
    /// comes or goes shifts no other); in the end the link to what changed since the first of them was read.
    fn all_rows(&self, table: &str, last: Option<Uuid>, began: usize) -> Page {
        let opportunities = self.world.rows.keys().map(|id| Record::Opportunity(*id));
        let leads = self.world.leads.keys().map(|id| Record::Lead(*id));
        let records = opportunities.chain(leads).map(Changed::Record);
        let solutions = self.world.rows.values().flat_map(|row| row.solutions.keys());
        let all = records.chain(solutions.map(|key| Changed::Solution(*key)));
        let mut all: Vec<Changed> = all.filter(|row| row.is_in(table)).collect();
        all.sort_by_key(|row| row.key());
        all.retain(|row| last.is_none_or(|last| row.key() > last));
        all.truncate(PAGE);
        let last = all.last().filter(|_| all.len() == PAGE).map(|row| row.key());
        Page {
            next: last.map(|last| format!("all {last} {began}")),
            delta: last.is_none().then(|| format!("delta {began}")),
            rows: all.into_iter().map(|row| self.shown(row, self.world.now)).collect(),
        }
    }

    /// Rows that changed, each as it is by now.
    fn changed_rows(&self, table: &str, from: usize) -> Page {
        let mut page: Vec<(Changed, Timestamp)> = Vec::new();
        let mut until = self.changes.len();
        for (at, (changed, time)) in self.changes.iter().enumerate().skip(from) {
            if page.len() == PAGE {
                until = at;
                break;
            }
            if changed.is_in(table) && !page.iter().any(|(known, _)| known == changed) {
                page.push((*changed, *time));
            }
        }
        let is_last = until == self.changes.len();
        Page {
            rows: page
                .into_iter()
                .map(|(changed, time)| self.shown(changed, time))
                .collect(),
            next: (!is_last).then(|| format!("next {until}")),
            delta: is_last.then(|| format!("delta {until}")),
        }
    }

    /// Rows by the time of their last change, the oldest first, from one of all changes on. Deleted ones are gone.
    fn modified(&self, table: &str, since: Timestamp, from: usize) -> Page {
        let mut last: Vec<(usize, Changed, Timestamp)> = Vec::new();
        for (at, (changed, time)) in self.changes.iter().enumerate() {
            last.retain(|(_, known, _)| known != changed);
            last.push((at, *changed, *time));
        }
        // The vendor keeps whole seconds, rounded down, and is asked for such.
        last.retain(|(at, changed, time)| *at >= from && changed.is_in(table) && time.as_second() >= since.as_second());
        let shown = last
            .into_iter()
            .map(|(at, changed, time)| (at, self.shown(changed, time)));
        let rows: Vec<(usize, Row)> = shown.filter(|(_, row)| !row.deleted).take(PAGE).collect();
        let next = rows.last().filter(|_| rows.len() == PAGE).map(|(at, _)| at + 1);
        Page {
            next: next.map(|next| format!("{table} {since} {next}")),
            delta: None,
            rows: rows.into_iter().map(|(_, row)| row).collect(),
        }
    }

    /// What a list shows of a row.
    fn shown(&self, changed: Changed, time: Timestamp) -> Row {
        let text = |value: String| Cell::Text(value);
        let (mut cells, key, found) = match changed {
            Changed::Record(record) => {
                let row = self.world.row(record).map(|row| (row.etag(), row.shown()));
                let columns = &POLICY.mapping.columns;
                let found = row.map(|(etag, row)| {
                    let shown = [&columns.sync, &columns.referral_identifier];
                    let cells = shown.map(|column| (column.clone(), row.cell(column).clone()));
                    (etag, BTreeMap::from(cells))
                });
                let key = match record {
                    Record::Opportunity(_) => "opportunityid",
                    Record::Lead(_) => "leadid",
                };
                (
                    BTreeMap::from([(key.to_owned(), text(record.uuid().to_string()))]),
                    record.uuid(),
                    found,
                )
            }
            Changed::Solution(key) => {
                let table = POLICY.mapping.solution_table();
                let of = self.world.rows.iter().find(|(_, row)| row.solutions.contains_key(&key));
                let found = of.zip(table).map(|((id, row), table)| {
                    let version = row.solutions.get(&key).map_or(0, |(version, _)| *version);
                    let owner = (table.opportunity_column(), text(id.to_string()));
                    (Etag(format!("W/\"{version}\"")), BTreeMap::from([owner]))
                });
                let column = table.map(|table| table.key.clone()).unwrap_or_default();
                (BTreeMap::from([(column, text(key.to_string()))]), key, found)
            }
        };
        let Some((etag, found)) = found else {
            let mut row = Row::from_cells(None, BTreeMap::from([("id".to_owned(), text(key.to_string()))]));
            row.deleted = true;
            return row;
        };
        cells.extend(found);
        cells.insert("modifiedon".to_owned(), text(format!("{time:.0}")));
        Row::from_cells(Some(etag), cells)
    }

    /// A page of the list of referrals, newest first. The list lags: a new one is missing, another is as it was before.
    fn updated(&self, walk: Updates) -> (Updates, Option<Vec<Summary>>) {
        let now = self.world.now;
        let is_listed = |one: &&ReferralRecord| one.at + LIST_LAG <= now;
        let listed = self.world.referrals.values().filter(is_listed).map(|one| {
            let is_behind = one.updated + LIST_LAG > now;
            let before = self.world.earlier.get(&one.id).filter(|_| is_behind);
            before.unwrap_or(one)
        });
        let mut listed: Vec<_> = listed.collect();
        listed.sort_by_key(|one| (std::cmp::Reverse(one.updated), one.id));
        let page: Vec<_> = listed.into_iter().skip(walk.seen).take(PAGE).collect();
        if walk.is_past || page.is_empty() {
            return (walk, None);
        }
        let walk = Updates {
            seen: walk.seen + page.len(),
            is_past: page.iter().any(|one| one.updated < walk.since),
            ..walk
        };
        let wanted = page.into_iter().filter(|one| one.updated >= walk.since);
        let summary = |one: &ReferralRecord| Summary {
            id: one.id,
            engagement_id: None,
            updated_at: Some(one.updated),
            etag: Some(one.etag()),
        };
        (walk, Some(wanted.map(summary).collect()))
    }
}

/// Whether a row is one that the connector has to look at.
fn concerns_us(row: &Row) -> bool {
    let columns = &POLICY.mapping.columns;
    row.flag(&columns.sync) || row.text(&columns.referral_identifier).is_some()
}

/// Which changes a cursor of Dynamics has passed, where it stands at a link.
fn passes(value: &str) -> Option<usize> {
    let place: serde_json::Value = serde_json::from_str(value).ok()?;
    let link = place.get("link")?.get("url")?.as_str()?;
    link.strip_prefix("delta ").or(link.strip_prefix("next "))?.parse().ok()
}

/// Whether a link has seen a referral as it is.
fn knows(link: &Link, referral: &ReferralRecord) -> bool {
    link.referral == Some(referral.id) && link.etags.referral.as_ref() == Some(&referral.etag())
}
