//! One run: people, workers, polls, events and time, in an order that the seed decides.
//!
//! Knows: who may do what next, and what may go wrong with it. Refuses to know: what the machine should do about it.
//! Guarantee: one thread, a clock of its own and no source of chance but the seed: the same seed plays the same run.

mod judge;
mod measure;
mod people;
mod polls;
mod solutions;
mod switches;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::LazyLock;

use cosell::deal::{Field, Side, Term};
use cosell::hint::{Cause, Hint, Subject};
use cosell::ids::{OpportunityId, Record, ReferralId};
use cosell::notice::{self, Notice};
use cosell::policy::Policy;
use jiff::{SignedDuration, Timestamp};
use model::vendors::{OTHER_EVENTS, event};
use model::world::{Bug, Mishap, POLICY, Run, Touch, Went, World};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use self::measure::Edit;
use self::polls::{Changed, Kind, Marks, Poll};
use self::solutions::Choice;
use self::switches::Given;
use crate::is_calm;

/// How long an invocation may take; Lambda ends it then.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(60);

/// How long a message that a dead worker held stays away.
const VISIBILITY: SignedDuration = SignedDuration::from_secs(90);

/// Repeats of one hint within this time are one (Amazon SQS, FIFO de-duplication).
const DEDUPLICATION: SignedDuration = SignedDuration::from_mins(5);

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
    /// Whether leads are wanted.
    pub leads: bool,
    /// Whether the CRM keeps lists of changes from the beginning.
    pub tracks_changes: bool,
    /// Whether writing to one side is paused now and then.
    pub pauses: bool,
    /// Whether sellers switch the synchronisation of their deals off and on.
    pub switches: bool,
    /// Whether an operator gives orders.
    pub orders: bool,
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
            leads: chance.random_bool(0.3),
            tracks_changes: chance.random_bool(0.8),
            pauses: chance.random_bool(0.3),
            switches: chance.random_bool(0.3),
            orders: chance.random_bool(0.3),
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
    /// How many edits there had been when it read these records.
    saw: HashMap<Subject, usize>,
    until: Timestamp,
    /// The message that it holds; none where an operator's order is carried out.
    message: Option<u64>,
    /// Which order it carries out.
    order: Option<usize>,
}

/// What a run was like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Calls of the machine.
    pub calls: u64,
    /// Reads of both vendors.
    pub vendor_reads: u64,
    /// Writes to both vendors.
    pub vendor_writes: u64,
    /// Values that people typed.
    pub edits: u64,
    /// Edits of both sides of which one is recorded as lost.
    pub conflicts: u64,
    /// Of those, the ones of which nobody can say that two people competed.
    pub false_conflicts: u64,
    /// Of the others, the ones that somebody lost to what a plug-in made of our own write.
    pub against_plug_in: u64,
    /// Edits by the seconds, on the clock of the run, until both sides showed them.
    pub lags: BTreeMap<i64, u64>,
    /// Workers that died behind a call.
    pub crashes: u64,
    /// Calls that were refused for the moment.
    pub refused: u64,
    /// Calls that were applied and whose answer never came.
    pub lost_answers: u64,
    /// Reads that showed a referral as it was before its last change.
    pub stale_reads: u64,
    /// Calls that hung for longer than others wait for them.
    pub hangs: u64,
    /// Events that were never delivered.
    pub lost_events: u64,
    /// Events that the queue did not take at first.
    pub refused_events: u64,
    /// Polls that died on their way.
    pub broken_polls: u64,
    /// Pauses of writing to one side.
    pub pauses: u64,
    /// Deals whose synchronisation a seller switched off.
    pub switched_off: u64,
    /// Values that an operator ordered and that were set, or found set.
    pub orders: u64,
}

impl Figures {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.vendor_reads += other.vendor_reads;
        self.vendor_writes += other.vendor_writes;
        self.edits += other.edits;
        self.conflicts += other.conflicts;
        self.false_conflicts += other.false_conflicts;
        self.against_plug_in += other.against_plug_in;
        for (seconds, edits) in &other.lags {
            *self.lags.entry(*seconds).or_default() += edits;
        }
        self.crashes += other.crashes;
        self.refused += other.refused;
        self.lost_answers += other.lost_answers;
        self.stale_reads += other.stale_reads;
        self.hangs += other.hangs;
        self.lost_events += other.lost_events;
        self.refused_events += other.refused_events;
        self.broken_polls += other.broken_polls;
        self.pauses += other.pauses;
        self.switched_off += other.switched_off;
        self.orders += other.orders;
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
    /// Bodies of events that Partner Center has still to deliver.
    events: Vec<String>,
    /// What changed in Dynamics, in this order.
    changes: Vec<(Changed, Timestamp)>,
    /// Whether the CRM keeps lists of changes.
    tracks_changes: bool,
    polls: Vec<Poll>,
    marks: Marks,
    typed: Vec<Typed>,
    /// The same of single solutions.
    choices: Vec<Choice>,
    /// Orders of an operator.
    given: Vec<Given>,
    /// Referrals that an operator has joined to an opportunity.
    joined: BTreeSet<ReferralId>,
    /// Everything that anybody typed.
    log: Vec<Edit>,
    /// Of records that were written: how many edits of the other side what they show may stem from.
    carried: HashMap<Subject, usize>,
    deleted: BTreeSet<OpportunityId>,
    /// No mishaps at all.
    is_calm: bool,
    /// Decides which calls hang, if any do. It is one of its own, so that a seed without them plays as it did before there
    /// were any.
    hangs: Option<SmallRng>,
    /// No more mishaps, no more people.
    is_over: bool,
    numbers: u32,
    /// What it was like, once it was played.
    pub figures: Figures,
    trace: Option<Vec<String>>,
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
        world.wants_leads = knobs.leads;
        world.checks_storage = seed.is_multiple_of(16);
        if bug == Some(Bug::SettleTooShort) {
            world.policy = Some(&HASTY);
        }
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
            tracks_changes: knobs.tracks_changes,
            polls: Vec::new(),
            marks: Marks::default(),
            typed: Vec::new(),
            choices: Vec::new(),
            given: Vec::new(),
            joined: BTreeSet::new(),
            log: Vec::new(),
            carried: HashMap::new(),
            deleted: BTreeSet::new(),
            is_calm,
            hangs: has_hangs(seed).then(|| SmallRng::seed_from_u64(!seed)),
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
        self.end_switches();
        if self.is_calm {
            // Where nothing is lost, no sweep is needed.
            self.come_to_rest(false)?;
            for link in self.world.links().collect::<Vec<_>>() {
                self.judge_agreement(&link)
                    .map_err(|why| format!("before any sweep: {why}"))?;
            }
            self.judge_deleted().map_err(|why| format!("before any sweep: {why}"))?;
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
            0..62 => self.work(),
            62 => self.pause(),
            63 => self.switch(),
            64 | 65 => self.order(),
            66..72 => self.edit_in_portal(),
            72..79 => self.edit_in_crm(),
            79..83 => self.deliver_event(),
            83..92 => self.poll(Kind::Dynamics),
            92..94 => self.poll(Kind::PartnerCenter),
            94..96 => {
                let seconds = self.chance.random_range(1..20);
                self.pass(SignedDuration::from_secs(seconds));
            }
            96 => {
                let minutes = self.chance.random_range(1..20);
                self.pass(SignedDuration::from_mins(minutes));
            }
            97 => self.strangers_touch_a_row(),
            98 => self.begin_deal(),
            _ => self.compare(),
        }
        self.listen();
    }

    /// Time passes. A call that takes long, or an invocation that is cut off, is a mishap, too.
    fn pass(&mut self, time: SignedDuration) {
        if !self.is_calm || self.workers.iter().all(Option::is_none) {
            self.world.now += time;
            self.tell(|| format!("{time:#} pass"));
        }
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
        let now = self.world.now;
        let Some(slot) = self.workers.get_mut(at) else { return };
        match slot.take_if(|worker| worker.run.wakes <= now) {
            Some(worker) => self.advance(at, worker),
            None if slot.is_some() => self.wake(),
            None => self.take_message(at),
        }
    }

    /// Where everybody who is at work waits, time passes.
    fn wake(&mut self) {
        let next = self.workers.iter().flatten().map(|worker| worker.run.wakes).min();
        self.world.now = self.world.now.max(next.unwrap_or(self.world.now));
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
            *slot = Some(Worker {
                run,
                saw: HashMap::new(),
                until,
                message: Some(message),
                order: None,
            });
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
        let written = self.world.vendor_writes;
        let went = self.world.step(&mut worker.run);
        if self.world.vendor_writes > written {
            self.end_edits();
        }
        self.follow(&mut worker);
        // A run that needed no call any more leaves none for another.
        self.world.mishaps.clear();
        match went {
            Went::On => {
                self.hang(at, &mut worker);
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
                    self.queue.retain(|message| Some(message.number) != worker.message);
                }
                self.end_order(&report);
            }
        }
    }

    /// The next call may hang for longer than others wait for it, and is made when nobody expects it any more, unless its
    /// worker is out of time by then.
    fn hang(&mut self, at: usize, worker: &mut Worker) {
        let Some(chance) = self.hangs.as_mut().filter(|_| !self.is_over) else {
            return;
        };
        if !chance.random_bool(0.04) {
            return;
        }
        let time = SignedDuration::from_secs(chance.random_range(10..50));
        worker.run.wakes = worker.run.wakes.max(self.world.now + time);
        self.figures.hangs += 1;
        self.tell(|| format!("worker {at} hangs for {time:#}"));
    }

    /// Keeps in mind what the record that was just written may stem from.
    fn follow(&mut self, worker: &mut Worker) {
        match worker.run.touched.take() {
            Some(Touch::Read(record)) => {
                worker.saw.insert(self.of_deal(record), self.log.len());
                if let Some(order) = worker.order {
                    self.look_for_order(order);
                }
            }
            Some(Touch::Written(record)) => {
                let record = self.of_deal(record);
                let is_opposite = |seen: &Subject| side(*seen) != side(record);
                let saw = worker.saw.iter().filter(|(seen, _)| is_opposite(seen));
                let edits = saw.map(|(_, edits)| *edits).max();
                self.carried.extend(edits.map(|edits| (record, edits)));
            }
            None => {}
        }
    }

    fn give_back(&mut self, number: Option<u64>) {
        let visible = self.world.now + VISIBILITY;
        if let Some(message) = self.queue.iter_mut().find(|message| Some(message.number) == number) {
            (message.held, message.visible) = (false, visible);
        }
    }

    fn enqueue(&mut self, hint: Hint, key: String) {
        let now = self.world.now;
        // The queue keeps texts.
        let kept = hint.to_json().ok().and_then(|body| Hint::from_json(&body).ok());
        assert_eq!(kept.as_ref(), Some(&hint), "a hint does not survive the queue");
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

    /// A row of the CRM was written.
    fn changed(&mut self, record: Record) {
        self.changes.push((Changed::Record(record), self.world.now));
    }

    /// The daily comparison. An administrator may have switched on the tracking of changes meanwhile.
    fn compare(&mut self) {
        self.tracks_changes |= self.chance.random_bool(0.5);
        self.poll(Kind::Compare);
    }

    /// What the vendors announced since the last step.
    fn listen(&mut self) {
        while let Some(hint) = self.world.hints.pop_front() {
            match hint.subject {
                Subject::Opportunity(id) => self.changed(Record::Opportunity(id)),
                Subject::Lead(id) => self.changed(Record::Lead(id)),
                Subject::Referral(_) => self.announce(&hint),
            }
        }
        let now = self.world.now;
        let rows = std::mem::take(&mut self.world.changed_solutions).into_iter();
        self.changes.extend(rows.map(|(_, row)| (Changed::Solution(row), now)));
    }

    /// Partner Center has something to post, once or twice, or loses it.
    fn announce(&mut self, hint: &Hint) {
        let (Subject::Referral(id), Some(at)) = (hint.subject, hint.changed_at) else {
            unreachable!("Partner Center tells of a referral, and when it changed: {hint:?}");
        };
        if !self.is_over && self.chance.random_range(0..100) < self.knobs.lost_events {
            self.figures.lost_events += 1;
            return;
        }
        let body = event(&hint.cause.to_string(), id, at);
        if !self.is_over && self.chance.random_bool(0.1) {
            self.events.push(body.clone());
        }
        if self.chance.random_bool(0.02) {
            self.events.extend(OTHER_EVENTS.map(str::to_owned));
        }
        self.events.push(body);
    }

    /// Events come in any order. One that the queue does not take comes again.
    fn deliver_event(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let at = self.chance.random_range(0..self.events.len());
        let body = self.events.swap_remove(at);
        // Its signature is judged where there are bytes and keys: in the scenarios over HTTP.
        let notice = notice::parse(body.as_bytes());
        assert!(notice.is_ok(), "{notice:?}, but Partner Center posts it: {body}");
        let Ok(Notice::Hint(hint)) = notice else { return };
        if !self.is_over && self.chance.random_range(0..1000) < self.knobs.mishaps {
            self.tell(|| format!("the queue does not take an event: {} ({})", hint.subject, hint.cause));
            self.figures.refused_events += 1;
            self.events.push(body);
            return;
        }
        self.tell(|| format!("an event arrives: {} ({})", hint.subject, hint.cause));
        self.enqueue(hint, body);
    }
}

/// In every fifth run with mishaps calls may hang.
const fn has_hangs(seed: u64) -> bool {
    !is_calm(seed) && seed / 4 % 5 == 1
}

/// The side that a record stands on.
const fn side(record: Subject) -> Side {
    match record {
        Subject::Referral(_) => Side::PartnerCenter,
        Subject::Opportunity(_) | Subject::Lead(_) => Side::Dynamics,
    }
}
