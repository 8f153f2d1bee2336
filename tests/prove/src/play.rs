//! One run: people, workers, polls, events and time, in an order that the seed decides.
//!
//! Knows: who may do what next, and what may go wrong with it. Refuses to know: what the machine should do about it.
//! Guarantee: one thread, a clock of its own and no source of chance but the seed: the same seed plays the same run.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::LazyLock;

use cosell::deal::{Field, Term, Terms};
use cosell::finding::{Code, Finding};
use cosell::hint::{Cause, Hint, Subject};
use cosell::ids::{OpportunityId, ReferralId};
use cosell::link::{Change, Link, Pending};
use cosell::opportunity::Cell;
use cosell::policy::Policy;
use jiff::{SignedDuration, Timestamp};
use model::vendors::{ReferralRecord, STAMP, number};
use model::world::{Bug, LIST_LAG, Mishap, POLICY, Run, Went, World, sellers_row};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

/// How long an invocation may take; Lambda ends it then.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(60);

/// How long a message that a dead worker held stays away.
const VISIBILITY: SignedDuration = SignedDuration::from_secs(90);

/// Repeats of one hint within this time are one (Amazon SQS, FIFO de-duplication).
const DEDUPLICATION: SignedDuration = SignedDuration::from_mins(5);

/// How far the poll of Partner Center looks back behind its cursor.
const OVERLAP: SignedDuration = SignedDuration::from_mins(10);

/// Sweeps until nothing may be left to do.
const MOST_SWEEPS: u32 = 40;

/// How hostile a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// Workers that take messages at once.
    pub workers: usize,
    /// Things that happen before it becomes quiet.
    pub steps: u32,
    /// Calls in a thousand that go wrong.
    pub mishaps: u32,
    /// Events in a hundred that are never delivered.
    pub lost_events: u32,
    /// Whether Microsoft is asked for help with sellers' deals.
    pub help: bool,
    /// Whether a plug-in of the CRM changes what we write, in the course of our own write.
    pub stamps: bool,
}

impl Knobs {
    fn of(chance: &mut SmallRng, is_calm: bool) -> Self {
        let hostile = |rate: u32| if is_calm { 0 } else { rate };
        Self {
            workers: chance.random_range(1..=8),
            steps: chance.random_range(40..=200),
            mishaps: hostile(*[20, 60, 150, 300].choose(chance).unwrap_or(&0)),
            lost_events: hostile(*[0, 30, 100, 100].choose(chance).unwrap_or(&0)),
            help: chance.random_bool(0.3),
            stamps: chance.random_bool(0.3),
        }
    }
}

/// What a person typed and nobody who saw it has replaced since.
#[derive(Clone, Debug)]
struct Typed {
    subject: Subject,
    field: Field,
    term: Term,
}

#[derive(Clone)]
struct Message {
    hint: Hint,
    visible: Timestamp,
    held: bool,
    number: u64,
}

struct Worker {
    run: Run,
    until: Timestamp,
    message: u64,
}

/// How far a run of the poll of Dynamics got.
#[derive(Clone, Copy)]
enum Polling {
    Idle,
    /// A page was read, from the first of these changes up to the second.
    Read(usize, usize),
    /// Its hints are on the queue.
    Queued(usize, usize),
}

/// What a run was like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Calls of the machine.
    pub calls: u64,
    /// Writes to both vendors.
    pub vendor_writes: u64,
    /// Values that people typed.
    pub edits: u64,
    /// Of those, the ones that lost against another one and are recorded.
    pub conflicts: u64,
    /// Workers that died behind a call.
    pub crashes: u64,
    /// Calls that were refused for the moment.
    pub refused: u64,
    /// Calls that were applied and whose answer never came.
    pub lost_answers: u64,
    /// Reads that showed a referral as it was before its last change.
    pub stale_reads: u64,
    /// Events that were never delivered.
    pub lost_events: u64,
}

impl Figures {
    /// Adds those of another run.
    pub const fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.vendor_writes += other.vendor_writes;
        self.edits += other.edits;
        self.conflicts += other.conflicts;
        self.crashes += other.crashes;
        self.refused += other.refused;
        self.lost_answers += other.lost_answers;
        self.stale_reads += other.stale_reads;
        self.lost_events += other.lost_events;
    }
}

/// The usual rules, but for a search that does not wait for the list.
static HASTY: LazyLock<Policy> = LazyLock::new(|| Policy {
    settle: SignedDuration::from_secs(60),
    ..POLICY.clone()
});

/// A run.
pub struct Play {
    world: World,
    chance: SmallRng,
    /// How hostile it is.
    pub knobs: Knobs,
    queue: VecDeque<Message>,
    known: HashMap<(Subject, Cause, String), Timestamp>,
    messages: u64,
    workers: Vec<Option<Worker>>,
    /// Events that Partner Center has still to deliver.
    events: Vec<Hint>,
    /// Rows of Dynamics in the order of their changes.
    changes: Vec<OpportunityId>,
    cursor: usize,
    polling: Polling,
    seen_until: Timestamp,
    typed: Vec<Typed>,
    /// Everything that anybody typed.
    log: Vec<(Field, Term)>,
    deleted: BTreeSet<OpportunityId>,
    /// No more mishaps, no more people.
    is_over: bool,
    numbers: u32,
    /// What it was like, once it was played.
    pub figures: Figures,
    trace: Option<Vec<String>>,
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

impl Play {
    /// A run that a seed decides; it is told as it goes if it is to be traced.
    #[must_use]
    pub fn new(seed: u64, bug: Option<Bug>, is_calm: bool, traced: bool) -> Self {
        let mut chance = SmallRng::seed_from_u64(seed);
        let knobs = Knobs::of(&mut chance, is_calm);
        let mut world = World::new();
        world.bug = bug;
        world.traced = traced;
        world.stamps = knobs.stamps;
        world.checks_storage = seed.is_multiple_of(16);
        if bug == Some(Bug::SettleTooShort) {
            world.policy = Some(&HASTY);
        }
        let seen_until = world.now;
        Self {
            world,
            chance,
            knobs,
            queue: VecDeque::new(),
            known: HashMap::new(),
            messages: 0,
            workers: (0..knobs.workers).map(|_| None).collect(),
            events: Vec::new(),
            changes: Vec::new(),
            cursor: 0,
            polling: Polling::Idle,
            seen_until,
            typed: Vec::new(),
            log: Vec::new(),
            deleted: BTreeSet::new(),
            is_over: false,
            numbers: 0,
            figures: Figures::default(),
            trace: traced.then(Vec::new),
        }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.append(&mut self.world.trace);
            let at = self.world.now;
            trace.push(format!("{at:.0} {}", line()));
        }
    }

    /// What happened, if it was traced.
    pub fn trace(&mut self) -> Vec<String> {
        let mut trace = self.trace.take().unwrap_or_default();
        trace.append(&mut self.world.trace);
        trace
    }

    /// Plays the run to its end and judges it.
    ///
    /// # Errors
    /// What does not hold.
    pub fn play(&mut self) -> Result<(), String> {
        self.begin_deal();
        for _ in 0..self.knobs.steps {
            self.step();
        }
        self.is_over = true;
        if self.knobs.mishaps == 0 && self.knobs.lost_events == 0 {
            // Where nothing is lost, no sweep is needed.
            self.come_to_rest(false)?;
            for link in self.world.links().collect::<Vec<_>>() {
                self.judge_agreement(&link)
                    .map_err(|why| format!("before any sweep: {why}"))?;
            }
        }
        self.come_to_rest(true)?;
        let struck = |kind| self.world.struck.iter().filter(|mishap| **mishap == kind).count() as u64;
        self.figures.crashes = struck(Mishap::Crash);
        self.figures.refused = struck(Mishap::Refused);
        self.figures.lost_answers = struck(Mishap::LostAnswer);
        self.figures.stale_reads = struck(Mishap::Stale);
        self.judge()
    }

    // ---- what happens next ---------------------------------------------------------------------------------------

    fn step(&mut self) {
        match self.chance.random_range(0..100_u32) {
            0..66 => self.work(),
            66..72 => self.edit_in_portal(),
            72..79 => self.edit_in_crm(),
            79..83 => self.deliver_event(),
            83..92 => self.poll_dynamics(),
            92..94 => self.poll_partner_center(),
            94..96 => {
                let seconds = self.chance.random_range(1..20);
                self.wait(SignedDuration::from_secs(seconds));
            }
            96 => {
                let minutes = self.chance.random_range(1..20);
                self.wait(SignedDuration::from_mins(minutes));
            }
            97 => self.strangers_touch_a_row(),
            98 => self.begin_deal(),
            _ => self.sweep(),
        }
        self.listen();
    }

    fn wait(&mut self, time: SignedDuration) {
        self.world.now += time;
        self.tell(|| format!("{time:#} pass"));
    }

    /// One worker goes on, or takes a message.
    fn work(&mut self) {
        let busy: Vec<usize> = (0..self.workers.len())
            .filter(|at| self.workers.get(*at).is_some_and(Option::is_some))
            .collect();
        // Whoever is at work mostly goes on with it.
        let goes_on = busy
            .choose(&mut self.chance)
            .copied()
            .filter(|_| self.chance.random_bool(0.8));
        let at = goes_on.unwrap_or_else(|| self.chance.random_range(0..self.workers.len()));
        let Some(slot) = self.workers.get_mut(at) else { return };
        match slot.take() {
            Some(worker) => self.advance(at, worker),
            None => self.take_message(at),
        }
    }

    fn take_message(&mut self, at: usize) {
        let now = self.world.now;
        let mut groups: Vec<Subject> = Vec::new();
        let mut found = None;
        for message in &mut self.queue {
            let is_first = !groups.contains(&message.hint.subject);
            groups.push(message.hint.subject);
            if is_first && !message.held && message.visible <= now {
                message.held = true;
                found = Some((message.number, message.hint.clone()));
                break;
            }
        }
        let Some((message, hint)) = found else { return };
        self.tell(|| format!("worker {at} takes {} ({})", hint.subject, hint.cause));
        if self.world.bug == Some(Bug::CopyOnEvent) {
            self.copy_blindly(&hint);
        }
        let run = self.world.begin(&hint);
        if let Some(slot) = self.workers.get_mut(at) {
            let until = now + TIMEOUT;
            *slot = Some(Worker { run, until, message });
        }
    }

    fn advance(&mut self, at: usize, mut worker: Worker) {
        if worker.until < self.world.now {
            self.tell(|| format!("worker {at} is out of time"));
            self.give_back(worker.message);
            return;
        }
        self.figures.calls += 1;
        if !self.is_over && self.chance.random_range(0..1000) < self.knobs.mishaps {
            let mishap = *[
                Mishap::Crash,
                Mishap::LostAnswer,
                Mishap::LostAnswer,
                Mishap::Refused,
                Mishap::Stale,
            ]
            .choose(&mut self.chance)
            .unwrap_or(&Mishap::Refused);
            self.world.mishaps.insert(self.world.calls, mishap);
            self.tell(|| format!("the next call may meet a mishap: {mishap:?}"));
        }
        let went = self.world.step(&mut worker.run);
        // A run that needed no call any more leaves none for another.
        self.world.mishaps.clear();
        match went {
            Went::On => {
                if let Some(slot) = self.workers.get_mut(at) {
                    *slot = Some(worker);
                }
            }
            Went::Crashed => {
                self.tell(|| format!("worker {at} dies"));
                self.give_back(worker.message);
            }
            Went::Done(report) => {
                self.tell(|| format!("worker {at} is done: {:?} {:?}", report.outcome, report.fault));
                if report.again {
                    self.give_back(worker.message);
                } else {
                    self.queue.retain(|message| message.number != worker.message);
                }
            }
        }
    }

    fn give_back(&mut self, number: u64) {
        let visible = self.world.now + VISIBILITY;
        if let Some(message) = self.queue.iter_mut().find(|message| message.number == number) {
            (message.held, message.visible) = (false, visible);
        }
    }

    fn enqueue(&mut self, hint: Hint, key: String) {
        let now = self.world.now;
        let id = (hint.subject, hint.cause, key);
        if self.known.get(&id).is_some_and(|at| *at + DEDUPLICATION > now) {
            return;
        }
        self.known.insert(id, now);
        self.messages += 1;
        let number = self.messages;
        self.queue.push_back(Message {
            hint,
            visible: now,
            held: false,
            number,
        });
    }

    /// What the vendors announced since the last step.
    fn listen(&mut self) {
        while let Some(hint) = self.world.hints.pop_front() {
            match hint.subject {
                Subject::Opportunity(id) => self.changes.push(id),
                Subject::Referral(_) | Subject::Lead(_) => self.announce(hint),
            }
        }
    }

    fn announce(&mut self, hint: Hint) {
        if !self.is_over && self.chance.random_range(0..100) < self.knobs.lost_events {
            self.figures.lost_events += 1;
            return;
        }
        if !self.is_over && self.chance.random_bool(0.1) {
            self.events.push(hint.clone());
        }
        self.events.push(hint);
    }

    /// Events come in any order.
    fn deliver_event(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let at = self.chance.random_range(0..self.events.len());
        let hint = self.events.swap_remove(at);
        self.tell(|| format!("an event arrives: {} ({})", hint.subject, hint.cause));
        let key = hint.changed_at.map(|at| at.to_string()).unwrap_or_default();
        self.enqueue(hint, key);
    }

    /// One step of the poll of Dynamics; it may die behind each.
    fn poll_dynamics(&mut self) {
        if !self.is_over && self.chance.random_range(0..1000) < 2 * self.knobs.mishaps {
            self.polling = Polling::Idle;
            return;
        }
        self.polling = match self.polling {
            Polling::Idle if self.cursor == self.changes.len() => {
                self.hint_due();
                Polling::Idle
            }
            Polling::Idle => Polling::Read(self.cursor, self.changes.len()),
            Polling::Read(from, until) => {
                if self.world.bug == Some(Bug::CursorBeforeEnqueue) {
                    self.cursor = until;
                } else {
                    self.hint_rows(from, until);
                }
                Polling::Queued(from, until)
            }
            Polling::Queued(from, until) => {
                if self.world.bug == Some(Bug::CursorBeforeEnqueue) {
                    self.hint_rows(from, until);
                }
                self.cursor = until;
                Polling::Idle
            }
        };
    }

    fn hint_rows(&mut self, from: usize, until: usize) {
        let rows: BTreeSet<OpportunityId> = self.changes.get(from..until).into_iter().flatten().copied().collect();
        for id in rows {
            let subject = Subject::Opportunity(id);
            let row = self.world.rows.get(&id).map(|row| (row.etag().0, row.shown()));
            let columns = &POLICY.mapping.columns;
            let concerns_us = match &row {
                Some((_, row)) => row.flag(&columns.sync) || row.text(&columns.referral_identifier).is_some(),
                None => self.world.find(subject).is_some(),
            };
            let is_taken_for_ours = self.world.bug == Some(Bug::EchoByAuthor) && self.world.ours.contains(&id);
            if concerns_us && !is_taken_for_ours {
                let key = row.map_or_else(|| "deleted".to_owned(), |(etag, _)| etag);
                self.tell(|| format!("the poll of Dynamics finds {id}"));
                self.enqueue(Hint::new(subject, Cause::DynamicsPoll), key);
            }
        }
    }

    fn poll_partner_center(&mut self) {
        let now = self.world.now;
        let listed: Vec<(ReferralId, String, Timestamp)> = self
            .world
            .referrals
            .values()
            .filter(|referral| referral.updated + LIST_LAG <= now && referral.updated >= self.seen_until - OVERLAP)
            .map(|referral| (referral.id, referral.etag().0, referral.updated))
            .collect();
        for (id, etag, updated) in listed {
            let subject = Subject::Referral(id);
            let link = self.world.find(subject);
            let is_known = link.is_some_and(|link| {
                link.referral == Some(id) && link.etags.referral.as_ref().is_some_and(|known| known.0 == etag)
            });
            if !is_known {
                self.tell(|| format!("the poll of Partner Center finds {id}"));
                let hint = Hint::new(subject, Cause::PartnerCenterPoll).changed_at(updated);
                self.enqueue(hint, etag);
            }
        }
        self.seen_until = now;
    }

    fn hint_due(&mut self) {
        let now = self.world.now;
        let due: Vec<_> = self
            .world
            .links()
            .filter_map(|link| {
                let due = link.due.clone().filter(|due| due.at <= now)?;
                let own = link.referral.or(link.microsoft).map(Subject::Referral);
                Some((own.or(link.opportunity.map(Subject::Opportunity))?, due.at))
            })
            .collect();
        for (subject, at) in due {
            self.tell(|| format!("{subject} is due"));
            self.enqueue(Hint::new(subject, Cause::Due), at.to_string());
        }
    }

    /// Every deal is compared.
    fn sweep(&mut self) {
        self.hint_due();
        let key = format!("compare {}", self.messages);
        let links: Vec<_> = self.world.links().collect();
        for link in links {
            let own = link.referral.map(Subject::Referral);
            if let Some(subject) = own.or(link.opportunity.map(Subject::Opportunity)) {
                self.enqueue(Hint::new(subject, Cause::Compare), key.clone());
            }
        }
    }
}

// ---- people ----------------------------------------------------------------------------------------------------------

impl Play {
    fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// A new deal: Microsoft sends one, the partner enters one in the portal, or a seller shares one.
    fn begin_deal(&mut self) {
        let number = self.number();
        if self.chance.random_bool(0.5) {
            let id = OpportunityId::new(Uuid::from_u128(0xB000 + u128::from(number)));
            let help = self.knobs.help;
            sellers_row(&mut self.world, id, help);
            self.tell(|| format!("a seller shares opportunity {id}"));
            self.changes.push(id);
            return;
        }
        let id = ReferralId::new(Uuid::from_u128(0xA000 + u128::from(number)));
        let mut referral = ReferralRecord::active(id, self.world.now);
        if self.chance.random_bool(0.5) {
            (referral.status, referral.substatus) = ("New".to_owned(), "Pending".to_owned());
            referral.inviter = Some(cosell::referral::MICROSOFT);
        }
        self.tell(|| format!("referral {id} appears ({})", referral.status));
        self.world.referrals.insert(id, referral);
        let hint = Hint::new(Subject::Referral(id), Cause::ReferralCreated).changed_at(self.world.now);
        self.announce(hint);
    }

    fn shows(&self, subject: Subject) -> Option<Terms> {
        match subject {
            Subject::Referral(id) => Some(Terms::from_referral(&self.world.referrals.get(&id)?.shown())),
            Subject::Opportunity(id) => Some(POLICY.mapping.terms(&self.world.rows.get(&id)?.shown())),
            Subject::Lead(_) => None,
        }
    }

    fn is_same_deal(&self, one: Subject, other: Subject) -> bool {
        let link = |subject| self.world.find(subject).map(|link| link.id);
        let refers = |one, other| match (one, other) {
            (Subject::Referral(referral), Subject::Opportunity(id)) => {
                let referral = self.world.referrals.get(&referral);
                referral.is_some_and(|referral| referral.reference == Some(id.to_string()))
            }
            _ => false,
        };
        one == other || refers(one, other) || refers(other, one) || link(one).is_some_and(|id| link(other) == Some(id))
    }

    /// A person changes a field. Who types sees what stands there, whoever wrote it.
    fn types(&mut self, subject: Subject, field: Field, edit: impl FnOnce(&mut World)) {
        let Some(before) = self.shows(subject) else { return };
        let seen = before.get(field).clone();
        edit(&mut self.world);
        let Some(after) = self.shows(subject) else { return };
        let term = after.get(field).clone();
        if term == seen {
            return;
        }
        self.figures.edits += 1;
        let mut typed = std::mem::take(&mut self.typed);
        typed.retain(|typed| {
            let is_seen = typed.field == field && shows(&seen, &typed.term);
            !is_seen || !self.is_same_deal(typed.subject, subject)
        });
        self.tell(|| format!("a person changes {field} of {subject} from {seen} to {term}"));
        self.log.push((field, term.clone()));
        typed.push(Typed { subject, field, term });
        self.typed = typed;
    }

    fn edit_in_portal(&mut self) {
        let all: Vec<ReferralId> = self.world.referrals.keys().copied().collect();
        let Some(id) = all.choose(&mut self.chance).copied() else {
            return;
        };
        let number = self.number();
        let Some(record) = self.world.referrals.get(&id) else {
            return;
        };
        let (status, microsofts) = (record.status.clone(), record.microsofts);
        let subject = Subject::Referral(id);
        if microsofts {
            if status == "New" && self.chance.random_bool(0.5) {
                self.change_referral(id, |referral| {
                    (referral.status, referral.substatus) = ("Active".to_owned(), "Accepted".to_owned());
                });
            }
            return;
        }
        match (status.as_str(), self.chance.random_range(0..12_u32)) {
            ("New", 0..3) => self.answer(id, "Active", "Accepted", None),
            ("New", 3) => self.answer(id, "Closed", "Declined", Some("Not a fit")),
            ("Active", 0) => self.answer(id, "Closed", "Won", None),
            ("Active", 1) => self.answer(id, "Closed", "Lost", Some("Budget")),
            ("Active", 2..7) => {
                let notes = format!("Portal note {number}");
                self.type_in_portal(subject, id, Field::Notes, |referral| referral.notes = Some(notes));
            }
            ("Active", 7..10) => {
                let value = (number * 10).to_string();
                self.type_in_portal(subject, id, Field::Value, |referral| referral.value = value);
            }
            ("Active", _) => {
                let date = format!("2026-{:02}-{:02}T00:00:00Z", number % 12 + 1, number % 28 + 1);
                self.type_in_portal(subject, id, Field::CloseDate, |referral| referral.closing = Some(date));
            }
            _ => {}
        }
    }

    fn type_in_portal(
        &mut self,
        subject: Subject,
        id: ReferralId,
        field: Field,
        edit: impl FnOnce(&mut ReferralRecord),
    ) {
        let mut was_changed = false;
        self.types(subject, field, |world| {
            if let Some(referral) = world.referrals.get_mut(&id) {
                let before = referral.clone();
                edit(referral);
                was_changed = *referral != before;
                if was_changed {
                    referral.version += 1;
                    referral.updated = world.now;
                    world.earlier.insert(id, before);
                }
            }
        });
        if was_changed {
            let hint = Hint::new(subject, Cause::ReferralUpdated).changed_at(self.world.now);
            self.announce(hint);
        }
    }

    fn change_referral(&mut self, id: ReferralId, edit: impl FnOnce(&mut ReferralRecord)) {
        let now = self.world.now;
        let Some(referral) = self.world.referrals.get_mut(&id) else {
            return;
        };
        let before = referral.clone();
        edit(referral);
        referral.version += 1;
        referral.updated = now;
        let microsofts = referral.microsofts;
        let (status, substatus) = (referral.status.clone(), referral.substatus.clone());
        self.world.earlier.insert(id, before);
        self.tell(|| format!("referral {id} becomes {status} {substatus}"));
        let cause = if microsofts {
            Cause::RelatedReferralUpdated
        } else {
            Cause::ReferralUpdated
        };
        self.announce(Hint::new(Subject::Referral(id), cause).changed_at(now));
    }

    fn answer(&mut self, id: ReferralId, status: &str, substatus: &str, reason: Option<&str>) {
        let (status, substatus, reason) = (status.to_owned(), substatus.to_owned(), reason.map(str::to_owned));
        self.change_referral(id, |referral| {
            (referral.status, referral.substatus, referral.reason) = (status, substatus, reason);
        });
    }

    fn edit_in_crm(&mut self) {
        let all: Vec<OpportunityId> = self.world.rows.keys().copied().collect();
        let Some(id) = all.choose(&mut self.chance).copied() else {
            return;
        };
        let Some(row) = self.world.rows.get(&id) else { return };
        let is_open = row.cells.get("statecode") == Some(&number(0));
        let is_waiting = row.cells.get("statuscode") == Some(&number(2));
        let number_of = self.number();
        let cells: Vec<(&str, Cell)> = match self.chance.random_range(0..24_u32) {
            0..8 => vec![("description", text(&format!("Seller note {number_of}")))],
            8..14 => {
                let value = (number_of * 10 + 5)
                    .to_string()
                    .parse()
                    .map_or(Cell::Null, Cell::Number);
                vec![("estimatedvalue", value)]
            }
            14..18 => {
                let date = format!("2027-{:02}-{:02}", number_of % 12 + 1, number_of % 28 + 1);
                vec![("estimatedclosedate", text(&date))]
            }
            18 if is_open => vec![("statecode", number(1)), ("statuscode", number(3))],
            19 if is_open => vec![("statecode", number(2)), ("statuscode", number(4))],
            20 if !is_open => vec![("statecode", number(0)), ("statuscode", number(1))],
            21 | 22 if is_waiting => vec![("statuscode", number(1))],
            // Nobody deletes a row in the seconds in which it is made.
            23 if self.workers.iter().all(Option::is_none) && !self.is_being_made(id) => {
                self.world.rows.remove(&id);
                self.deleted.insert(id);
                self.changes.push(id);
                self.tell(|| format!("opportunity {id} is deleted"));
                return;
            }
            _ => return,
        };
        let field = match cells.first() {
            Some(("description", _)) => Field::Notes,
            Some(("estimatedvalue", _)) => Field::Value,
            Some(("estimatedclosedate", _)) => Field::CloseDate,
            _ => Field::Stage,
        };
        if !is_open && field != Field::Stage {
            return;
        }
        let edit = |world: &mut World| {
            if let Some(row) = world.rows.get_mut(&id) {
                row.cells
                    .extend(cells.iter().map(|(column, cell)| ((*column).to_owned(), cell.clone())));
                row.version += 1;
                world.ours.remove(&id);
            }
        };
        if field == Field::Stage {
            edit(&mut self.world);
            self.tell(|| format!("opportunity {id} is moved: {cells:?}"));
        } else {
            self.types(Subject::Opportunity(id), field, edit);
        }
        self.changes.push(id);
    }

    fn is_being_made(&self, id: OpportunityId) -> bool {
        let link = self.world.find(Subject::Opportunity(id));
        link.is_some_and(|link| matches!(link.pending, Some(Pending::CreateOpportunity { .. })))
    }

    /// A workflow writes a row, but nothing of ours.
    fn strangers_touch_a_row(&mut self) {
        let all: Vec<OpportunityId> = self.world.rows.keys().copied().collect();
        if let Some(id) = all.choose(&mut self.chance).copied()
            && let Some(row) = self.world.rows.get_mut(&id)
        {
            row.version += 1;
            self.world.ours.remove(&id);
            self.changes.push(id);
            self.tell(|| format!("a workflow touches {id}"));
        }
    }

    /// What a program does that knows nothing of merging.
    fn copy_blindly(&mut self, hint: &Hint) {
        let Subject::Referral(id) = hint.subject else { return };
        let Some(opportunity) = self.world.find(hint.subject).and_then(|link| link.opportunity) else {
            return;
        };
        let Some(notes) = self.world.referrals.get(&id).map(|referral| referral.notes.clone()) else {
            return;
        };
        if let Some(row) = self.world.rows.get_mut(&opportunity) {
            let cell = notes.map_or(Cell::Null, Cell::Text);
            if row.cells.insert("description".to_owned(), cell.clone()) != Some(cell) {
                row.version += 1;
                self.changes.push(opportunity);
            }
        }
    }
}

// ---- the end ---------------------------------------------------------------------------------------------------------

impl Play {
    /// Nothing goes wrong any more and nobody types: everything that waits is done, and one sweep is made if it `sweeps`.
    fn come_to_rest(&mut self, sweeps: bool) -> Result<(), String> {
        self.tell(|| "from here on nothing goes wrong".to_owned());
        let mut has_listed_all = false;
        for sweep in 0..MOST_SWEEPS {
            self.drain()?;
            if sweeps && sweep == 0 {
                self.sweep();
                self.poll_partner_center();
                self.drain()?;
            }
            let next = self.world.links().filter_map(|link| link.due.map(|due| due.at)).min();
            match next {
                Some(next) => {
                    self.world.now = self.world.now.max(next);
                    self.hint_due();
                }
                None if sweeps && !has_listed_all => {
                    has_listed_all = true;
                    self.world.now += LIST_LAG;
                    self.poll_partner_center();
                }
                None => return Ok(()),
            }
        }
        let due: Vec<_> = self.world.links().filter(|link| link.due.is_some()).collect();
        Err(format!("it never comes to rest: {due:#?}"))
    }

    fn drain(&mut self) -> Result<(), String> {
        for _ in 0..20_000 {
            self.listen();
            let is_busy = self.workers.iter().any(Option::is_some);
            let mut groups = BTreeSet::new();
            let firsts = self
                .queue
                .iter()
                .filter(|message| groups.insert(message.hint.group_id()));
            let waits = firsts.map(|message| message.visible).min();
            if !self.events.is_empty() {
                self.deliver_event();
            } else if self.cursor < self.changes.len() || !matches!(self.polling, Polling::Idle) {
                self.poll_dynamics();
            } else if is_busy {
                self.work();
            } else if let Some(visible) = waits {
                self.world.now = self.world.now.max(visible);
                self.work();
            } else {
                return Ok(());
            }
        }
        Err("work without end".to_owned())
    }

    fn judge(&mut self) -> Result<(), String> {
        if let Some(refusal) = self.world.refusals.first() {
            return Err(format!("a vendor refused {refusal}"));
        }
        if let Some(id) = self.deleted.iter().find(|id| self.world.rows.contains_key(id)) {
            return Err(format!("{id} was deleted and is back"));
        }
        self.judge_pairs()?;
        let links: Vec<_> = self.world.links().collect();
        for link in &links {
            if let Some(pending) = &link.pending {
                return Err(format!("{} is still announced: {pending:?}", link.id));
            }
            self.judge_agreement(link)?;
        }
        self.judge_typed()?;
        self.judge_silence()
    }

    /// One opportunity a referral, one referral an opportunity.
    fn judge_pairs(&self) -> Result<(), String> {
        let mut rows: HashMap<String, OpportunityId> = HashMap::new();
        for (id, row) in &self.world.rows {
            let shown = row.shown();
            let Some(referral) = shown.text(&POLICY.mapping.columns.referral_identifier) else {
                continue;
            };
            if let Some(other) = rows.insert(referral.to_owned(), *id) {
                return Err(format!(
                    "{id} and {other} are both opportunities of referral {referral}"
                ));
            }
        }
        let own: Vec<&ReferralRecord> = self.world.referrals.values().filter(|one| !one.microsofts).collect();
        let mut referrals: HashMap<&str, ReferralId> = HashMap::new();
        let mut engagements = BTreeSet::new();
        for referral in &own {
            if let Some(reference) = &referral.reference
                && let Some(other) = referrals.insert(reference, referral.id)
            {
                return Err(format!(
                    "{} and {other} are both referrals of opportunity {reference}",
                    referral.id
                ));
            }
        }
        for half in self.world.referrals.values().filter(|one| one.microsofts) {
            if !engagements.insert(half.engagement) {
                return Err(format!("Microsoft has two halves of engagement {}", half.engagement));
            }
        }
        // What a seller shares is shared, or listed.
        for (id, row) in &self.world.rows {
            let link = self.world.find(Subject::Opportunity(*id));
            let is_met = link.is_some_and(|link| link.referral.is_some() || !link.attention.is_empty());
            if row.shown().flag(&POLICY.mapping.columns.sync) && !is_met {
                return Err(format!(
                    "opportunity {id} is to be shared, has no referral and no reason"
                ));
            }
        }
        // What was announced has arrived.
        for referral in own {
            let link = self.world.find(Subject::Referral(referral.id));
            let is_there = link.is_some_and(|link| {
                link.opportunity
                    .is_some_and(|id| self.world.rows.contains_key(&id) || self.deleted.contains(&id))
                    || !link.attention.is_empty()
            });
            // Nobody needs a deal that was declined before we met.
            if !is_there && referral.substatus != "Declined" {
                return Err(format!("referral {} has no opportunity and no reason", referral.id));
            }
        }
        Ok(())
    }

    /// Both sides say the same, or the deal is listed with a reason.
    fn judge_agreement(&self, link: &Link) -> Result<(), String> {
        let (Some(referral), Some(opportunity)) = (link.referral, link.opportunity) else {
            return Ok(());
        };
        let (Some(there), Some(here)) = (
            self.shows(Subject::Referral(referral)),
            self.shows(Subject::Opportunity(opportunity)),
        ) else {
            return Ok(());
        };
        for field in [Field::Notes, Field::Value, Field::CloseDate, Field::Stage] {
            let is_listed = self.is_told(link, field);
            if !self.world.fits(link, field) && !is_listed {
                return Err(format!(
                    "{field} of {}: {} in Partner Center and {} in Dynamics, and nobody is told\n{link:#?}",
                    link.id,
                    there.get(field),
                    here.get(field)
                ));
            }
        }
        Ok(())
    }

    /// Whether a field is listed for a person, waits for the referral's answer, with which it travels, or was explained once
    /// the referral took no change any more.
    fn is_told(&self, link: &Link, field: Field) -> bool {
        let referral = link.referral.and_then(|id| self.world.referrals.get(&id));
        let status = referral.map_or("", |referral| referral.status.as_str());
        let explains = |finding: &&Finding| matches!(finding.code, Code::Frozen | Code::IllegalMove | Code::Refused);
        let entries = self.world.audit.iter().filter(|entry| entry.link == link.id);
        let of_closed = entries.filter(|_| status == "Closed").flat_map(|entry| &entry.findings);
        let mut told = of_closed.filter(explains).chain(&link.attention);
        status == "New" || told.any(|finding| finding.field == Some(field))
    }

    /// What was typed is final on both sides, or was replaced by someone who saw it, or is recorded as a loser.
    fn judge_typed(&mut self) -> Result<(), String> {
        let typed = std::mem::take(&mut self.typed);
        for Typed { subject, field, term } in typed {
            let Some(link) = self.world.find(subject) else { continue };
            let sides = [
                link.referral.map(Subject::Referral),
                link.opportunity.map(Subject::Opportunity),
            ];
            let shown: Vec<Terms> = sides
                .into_iter()
                .flatten()
                .filter_map(|side| self.shows(side))
                .collect();
            let is_kept = shown.iter().all(|terms| shows(terms.get(field), &term));
            let changes = self
                .world
                .audit
                .iter()
                .filter(|entry| entry.link == link.id)
                .flat_map(|entry| &entry.changes);
            let is_typed = |winner: &Term| {
                self.log
                    .iter()
                    .any(|(known, typed)| *known == field && shows(winner, typed))
            };
            let is_loser = |change: &&Change| change.field == field && change.old == term && change.lost;
            let is_lost = changes.filter(is_loser).any(|change| is_typed(&change.new));
            // What is listed or waits still stands where it was typed.
            let stands = shown.iter().any(|terms| shows(terms.get(field), &term));
            let is_listed = stands && self.is_told(&link, field);
            let is_gone = shown.len() < 2;
            self.figures.conflicts += u64::from(is_lost);
            if !is_kept && !is_lost && !is_listed && !is_gone {
                return Err(format!(
                    "{term} was typed as {field} of {subject} and is gone\n{link:#?}"
                ));
            }
        }
        Ok(())
    }

    /// Looking again writes nothing to a vendor, and once more, nothing to the ledger either.
    fn judge_silence(&mut self) -> Result<(), String> {
        let before = self.world.vendor_writes;
        self.figures.vendor_writes = u64::from(before);
        self.look_at_everything()?;
        let kept = self.world.writes.len();
        self.look_at_everything()?;
        let (writes, kept) = (self.world.vendor_writes - before, self.world.writes.len() - kept);
        if writes > 0 || kept > 0 {
            return Err(format!(
                "{writes} writes to vendors and {kept} in all though nothing had changed"
            ));
        }
        Ok(())
    }

    fn look_at_everything(&mut self) -> Result<(), String> {
        self.changes.extend(self.world.rows.keys().copied().collect::<Vec<_>>());
        self.world.now += SignedDuration::from_mins(30);
        self.sweep();
        self.drain()
    }
}

/// Whether what is shown is what was typed, as it is or with what a plug-in has added to it.
fn shows(shown: &Term, typed: &Term) -> bool {
    shown == typed || matches!(shown, Term::Text(text) if text.strip_suffix(STAMP) == Some(&typed.to_string()))
}
