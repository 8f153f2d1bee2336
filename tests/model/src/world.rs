//! Both vendors and the ledger in memory, the runs of the machine over them, and what has to be true in between.
//!
//! Knows: preconditions, create-only writes, ids that the server chooses, lists that lag, pointers that may be taken once.
//! Refuses to know: what the machine should do next. Guarantees: a write that no announcement of its own run covers fails
//! the test at once, and so does a second audit entry for one version of a link, or a commit that tells nothing of the
//! writes of its run before it. Writes of a run that never commits, or whose answers are lost, are not judged so.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, LazyLock};

use cosell::deal::{Field, Side, Term, Terms};
use cosell::fault::{Class, Fault};
use cosell::hint::{Cause, Hint, Subject};
use cosell::ids::{CurrencyId, EngagementId, LeadId, LinkId, OpportunityId, Record, ReferralId, TenantId};
use cosell::link::{AuditEntry, Half, Link, LinkWrite, Pending, Pointer, State};
use cosell::mapping::{self, Mapping};
use cosell::opportunity::{Cell, Row, RowChange};
use cosell::order::Order;
use cosell::policy::Policy;
use cosell::reconcile::call::{Answer, Call, Qualify, Search, Table};
use cosell::reconcile::{Next, Reconcile, Report, Trigger};
use cosell::referral::{MICROSOFT, NewReferral, PatchOperation};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::vendors::{self, Kind, NotClosed, ReferralRecord, RowRecord, number};

pub static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy {
    tenant: TenantId::new(Uuid::from_u128(0x7E)),
    mapping: Arc::new(Mapping::parse(mapping::DEFAULT).unwrap()),
    cosell_only: true,
    display_checkmark: true,
    settle: SignedDuration::from_secs(600),
    waits_percent: 100,
    dry_run: false,
    close_delay: SignedDuration::ZERO,
    paused: None,
});

/// The same rules while one side is paused or none, without leads and with them.
static VARIANTS: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let sides = [None, Some(Side::Dynamics), Some(Side::PartnerCenter)];
    let both = sides.into_iter().flat_map(|paused| [(paused, true), (paused, false)]);
    let variant = |(paused, cosell_only)| Policy {
        cosell_only,
        paused,
        ..POLICY.clone()
    };
    both.map(variant).collect()
});

fn policy(paused: Option<Side>, wants_leads: bool) -> &'static Policy {
    let mut variants = VARIANTS.iter();
    let found = variants.find(|policy| (policy.paused, policy.cosell_only) == (paused, !wants_leads));
    found.unwrap_or(&POLICY)
}

/// How long a new referral is missing from lists; shorter than the policy's wait.
pub const LIST_LAG: SignedDuration = SignedDuration::from_secs(400);

/// Status reason of a qualified lead.
const QUALIFIED: i64 = 3;

/// The column of an opportunity that names the lead it came of.
pub const OFFSPRING: &str = "_originatingleadid_value";

/// Runs that one hint, or one silence, may take; far above what any story needs.
const MOST_RUNS: u32 = 60;

/// Hints that may follow from each other before it is quiet.
const MOST_HINTS: u32 = 1000;

/// Calls of one run.
const MOST_CALLS: u32 = 100;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The call is applied, then the process dies.
    Crash,
    /// The call is refused for the moment.
    Refused,
    /// The call is applied and its answer is lost.
    LostAnswer,
    /// A read of a referral shows it as it was before its last change.
    Stale,
}

/// Known mistakes of such programs, each of which a proof has to notice. They are made between the machine and the world,
/// so that the product holds none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An event's referral is copied to the opportunity as it stands.
    CopyOnEvent,
    /// Writes carry no version.
    NoIfMatch,
    /// The ledger hears of a write once it is done.
    AuditAfterEffect,
    /// An announcement does not say which side is written.
    PendingWithoutSide,
    /// A second try to create a row makes a second row.
    ServerChosenIds,
    /// A referral is posted again when its answer is lost.
    PostRetriedAtOnce,
    /// The search for a posted referral trusts a list that lags.
    SettleTooShort,
    /// Rows that we wrote last are taken for our own echo.
    EchoByAuthor,
    /// The poll moves its cursor before the hints are on the queue.
    CursorBeforeEnqueue,
    /// A conditional write whose answer is lost is taken for one that lost the race.
    LostAnswerIsLoss,
}

pub const BUGS: [Bug; 10] = [
    Bug::CopyOnEvent,
    Bug::NoIfMatch,
    Bug::AuditAfterEffect,
    Bug::PendingWithoutSide,
    Bug::ServerChosenIds,
    Bug::PostRetriedAtOnce,
    Bug::SettleTooShort,
    Bug::EchoByAuthor,
    Bug::CursorBeforeEnqueue,
    Bug::LostAnswerIsLoss,
];

pub const MISHAPS: [Mishap; 3] = [Mishap::Crash, Mishap::Refused, Mishap::LostAnswer];

/// One run of the machine, with what it announced.
pub struct Run {
    machine: Reconcile<'static>,
    /// The side that it may not write to: whoever is at work keeps the settings with which it began.
    paused: Option<Side>,
    writer: String,
    announced: Option<Link>,
    /// It has written to a vendor, and the ledger has not heard of it yet.
    is_unaudited: bool,
    calls: u32,
    /// It waits until then.
    pub wakes: Timestamp,
    /// The deal's record that the last call read or wrote.
    pub touched: Option<Touch>,
}

/// What a call had to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    Read(Subject),
    Written(Subject),
}

impl Touch {
    fn of(call: &Call, answer: &Answer) -> Option<Self> {
        if matches!(answer, Answer::Stale | Answer::Gone) {
            return None;
        }
        Some(match (call, answer) {
            (Call::ReadReferral(id), _) => Self::Read(Subject::Referral(*id)),
            (Call::ReadRecord(id), _) => Self::Read(Subject::from(*id)),
            (Call::PatchReferral { id, .. }, _) => Self::Written(Subject::Referral(*id)),
            (Call::CreateReferral(_), Answer::Referral(Some(created))) => Self::Written(Subject::Referral(created.id)),
            (Call::UpdateRecord { id, .. }, _) => Self::Written(Subject::from(*id)),
            (Call::CloseOpportunity { id, .. }, _) => Self::Written(Subject::Opportunity(*id)),
            (Call::QualifyLead { id, .. }, _) => Self::Written(Subject::Lead(*id)),
            (
                Call::CreateRow {
                    table: Table::Opportunity,
                    id,
                    ..
                },
                _,
            ) => Self::Written(Subject::Opportunity(OpportunityId::new(*id))),
            (
                Call::CreateRow {
                    table: Table::Lead, id, ..
                },
                _,
            ) => Self::Written(Subject::Lead(LeadId::new(*id))),
            _ => return None,
        })
    }
}

/// How far a run got.
#[derive(Debug)]
pub enum Went {
    On,
    Done(Report),
    Crashed,
}

#[derive(Clone)]
pub struct World {
    pub now: Timestamp,
    pub referrals: BTreeMap<ReferralId, ReferralRecord>,
    pub rows: BTreeMap<OpportunityId, RowRecord>,
    pub leads: BTreeMap<LeadId, RowRecord>,
    pub people: BTreeMap<(&'static str, Uuid), BTreeMap<String, Cell>>,
    links: BTreeMap<LinkId, Link>,
    pointers: HashMap<Pointer, LinkId>,
    /// Pointers that were let go, with who did.
    freed: HashMap<Pointer, LinkId>,
    pub audit: Vec<AuditEntry>,
    /// Hints that the vendors' own announcements of changes would lead to.
    pub hints: VecDeque<Hint>,
    /// Solution rows that changed, with their opportunities: they are told in a table of their own.
    pub changed_solutions: Vec<(OpportunityId, Uuid)>,
    /// The vendors announce what we write, too.
    pub echoes: bool,
    /// What the vendors refused for good.
    pub refusals: Vec<String>,
    /// A plug-in that refuses every change of this row.
    pub plugin: Option<OpportunityId>,
    /// A solution of which a plug-in takes no row.
    pub refused_solution: Option<String>,
    /// Keys under which rows of deals stand that nobody reads here.
    pub rows_elsewhere: BTreeSet<Uuid>,
    /// A path that Partner Center refuses.
    pub refused_path: Option<&'static str>,
    /// Calls that their vendor refuses for good.
    pub refused: Option<fn(&Call) -> bool>,
    /// This referral is not for the service user to read (403).
    pub hidden: Option<ReferralId>,
    /// Which calls go wrong, counted over all runs.
    pub mishaps: BTreeMap<u32, Mishap>,
    /// Those that did.
    pub struck: Vec<Mishap>,
    /// The class of the fault with which a refused call, or a lost answer, is told.
    pub class: Class,
    pub calls: u32,
    /// Those calls that write to a vendor or to the ledger.
    pub writes: Vec<u32>,
    pub vendor_writes: u32,
    /// Reads of both vendors, made or tried.
    pub vendor_reads: u32,
    /// What an operator wants with every look.
    pub order: Option<Order>,
    /// The side that nothing may be written to for the moment.
    pub paused: Option<Side>,
    /// What is not co-sell waits for its answer as a lead.
    pub wants_leads: bool,
    /// Rules other than the usual.
    pub policy: Option<&'static Policy>,
    /// A mistake that is made on purpose.
    pub bug: Option<Bug>,
    /// Referrals as they were before their last change.
    pub earlier: BTreeMap<ReferralId, ReferralRecord>,
    /// A plug-in changes the notes that we write, in the course of our own write.
    pub stamps: bool,
    /// Opportunities that nobody but us has written last.
    pub ours: BTreeSet<OpportunityId>,
    /// Whether each link is read back from what is stored of it, which takes its time.
    pub checks_storage: bool,
    /// Whether calls and answers are told.
    pub traced: bool,
    /// What was told since somebody last asked.
    pub trace: Vec<String>,
    /// An announcement that is written once its effects are.
    unwritten: BTreeMap<String, Box<LinkWrite>>,
    runs: u32,
    ids: u128,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    pub fn new() -> Self {
        Self {
            now: "2026-03-02T08:00:00Z".parse().unwrap(),
            referrals: BTreeMap::new(),
            rows: BTreeMap::new(),
            leads: BTreeMap::new(),
            people: BTreeMap::new(),
            links: BTreeMap::new(),
            pointers: HashMap::new(),
            freed: HashMap::new(),
            audit: Vec::new(),
            hints: VecDeque::new(),
            changed_solutions: Vec::new(),
            echoes: true,
            refusals: Vec::new(),
            plugin: None,
            refused_solution: None,
            rows_elsewhere: BTreeSet::new(),
            refused_path: None,
            refused: None,
            hidden: None,
            mishaps: BTreeMap::new(),
            class: Class::Transient { after: None },
            struck: Vec::new(),
            calls: 0,
            writes: Vec::new(),
            vendor_writes: 0,
            vendor_reads: 0,
            order: None,
            paused: None,
            wants_leads: false,
            policy: None,
            bug: None,
            earlier: BTreeMap::new(),
            stamps: false,
            ours: BTreeSet::new(),
            checks_storage: true,
            traced: false,
            trace: Vec::new(),
            unwritten: BTreeMap::new(),
            runs: 0,
            ids: 0x1000,
        }
    }

    // ---- runs ----------------------------------------------------------------------------------------------------

    pub fn begin(&mut self, hint: &Hint) -> Run {
        self.runs += 1;
        self.now += SignedDuration::from_secs(1);
        let writer = format!("run-{}", self.runs);
        let trigger = Trigger {
            hint: hint.clone(),
            now: self.now,
            trace: writer.clone(),
            writer: writer.clone(),
            order: self.order.clone(),
        };
        let rules = self.rules();
        Run {
            machine: Reconcile::new(trigger, rules),
            paused: rules.paused,
            writer,
            announced: None,
            is_unaudited: false,
            calls: 0,
            wakes: self.now,
            touched: None,
        }
    }

    /// The rules that apply.
    pub fn rules(&self) -> &'static Policy {
        self.policy.unwrap_or_else(|| policy(self.paused, self.wants_leads))
    }

    /// One call of a run.
    pub fn step(&mut self, run: &mut Run) -> Went {
        let call = match run.machine.next() {
            Next::Done(report) => return Went::Done(report),
            Next::Call(call) => call,
        };
        run.calls += 1;
        assert!(run.calls < MOST_CALLS, "{} does not end: {call:?}", run.writer);
        if let Some(side) = call.writes_toward() {
            assert_ne!(
                Some(side),
                run.paused,
                "{} writes to a paused side: {call:#?}",
                run.writer
            );
            self.vendor_writes += 1;
            self.check_announced(run, &call);
        } else if !matches!(
            call,
            Call::FindLink(_)
                | Call::FindEngagement(_)
                | Call::ReadLink(_)
                | Call::Wait(_)
                | Call::Intend(_)
                | Call::Commit(_)
        ) {
            self.vendor_reads += 1;
        }
        if call.writes_toward().is_some() || matches!(call, Call::Intend(_) | Call::Commit(_)) {
            self.writes.push(self.calls);
        }
        let planned = self.mishaps.get(&self.calls).copied();
        // Only a read of a referral that was changed can be stale.
        let is_earlier = |id| self.earlier.contains_key(id);
        let can_be_stale = matches!(&call, Call::ReadReferral(id) if is_earlier(id));
        let mishap = planned.filter(|mishap| *mishap != Mishap::Stale || can_be_stale);
        self.struck.extend(mishap);
        self.calls += 1;
        let class = self.class;
        let fault = |in_doubt| {
            Answer::Failed(Fault {
                class,
                code: "mishap",
                message: "a mishap".to_owned(),
                in_doubt,
            })
        };
        if mishap == Some(Mishap::Refused) {
            run.machine.answer(fault(false));
            return Went::On;
        }
        if let (Some(Mishap::Stale), Call::ReadReferral(id)) = (mishap, &call)
            && let Some(earlier) = self.earlier.get(id)
        {
            run.machine.answer(Answer::Referral(Some(Box::new(earlier.shown()))));
            return Went::On;
        }
        if let Call::Wait(time) = &call {
            run.wakes = self.now + *time;
        }
        let answer = self.perform_as(run, &call, mishap);
        run.touched = Touch::of(&call, &answer);
        if self.traced {
            let (call, answer) = (format!("{call:?}"), format!("{answer:?}"));
            let short = |text: &str| text.chars().take(1000).collect::<String>();
            let line = format!("    {} {}\n      -> {}", run.writer, short(&call), short(&answer));
            self.trace.push(line);
        }
        if call.writes_toward().is_some()
            && mishap.is_none()
            && matches!(answer, Answer::Done | Answer::Row(_) | Answer::Referral(_))
        {
            run.is_unaudited = true;
        }
        if let Call::Commit(write) = &call
            && matches!(answer, Answer::Done | Answer::Outrun)
        {
            // Whoever was faster has finished what this run had announced, and told of it.
            let is_unaudited = std::mem::take(&mut run.is_unaudited) && matches!(answer, Answer::Done);
            let is_told = !is_unaudited || !write.audit.is_empty();
            assert!(
                is_told,
                "{} has written, and no record tells of it: {write:#?}",
                run.writer
            );
        }
        if let (Call::Intend(write) | Call::Commit(write), Answer::Done) = (&call, &answer) {
            assert_eq!(write.link.writer, run.writer);
            run.announced = Some(write.link.clone());
        }
        match mishap {
            Some(Mishap::Crash) => return Went::Crashed,
            Some(Mishap::LostAnswer) if self.bug == Some(Bug::LostAnswerIsLoss) => run.machine.answer(match call {
                Call::Intend(_) | Call::Commit(_) => Answer::Outrun,
                Call::PatchReferral { .. } | Call::UpdateRecord { .. } => Answer::Stale,
                _ => fault(false),
            }),
            Some(Mishap::LostAnswer) => run.machine.answer(fault(true)),
            Some(Mishap::Refused | Mishap::Stale) | None => run.machine.answer(answer),
        }
        Went::On
    }

    /// Performs a call, with the mistake that is made on purpose.
    fn perform_as(&mut self, run: &Run, call: &Call, mishap: Option<Mishap>) -> Answer {
        match (self.bug, call) {
            (Some(Bug::NoIfMatch), Call::PatchReferral { id, etag, operations }) => {
                let etag = self
                    .referrals
                    .get(id)
                    .map_or_else(|| etag.clone(), ReferralRecord::etag);
                self.perform(&Call::PatchReferral {
                    id: *id,
                    etag,
                    operations: operations.clone(),
                })
            }
            (
                Some(Bug::NoIfMatch),
                Call::UpdateRecord {
                    id: id @ Record::Opportunity(opportunity),
                    etag,
                    change,
                },
            ) => {
                let etag = self.rows.get(opportunity).map_or_else(|| etag.clone(), RowRecord::etag);
                self.perform(&Call::UpdateRecord {
                    id: *id,
                    etag,
                    change: change.clone(),
                })
            }
            (Some(Bug::AuditAfterEffect), Call::Intend(write)) => {
                if self.link(write.link.id).map(|found| found.version) != write.replaces() {
                    return Answer::Outrun;
                }
                self.unwritten.insert(run.writer.clone(), write.clone());
                Answer::Done
            }
            (Some(Bug::AuditAfterEffect), Call::Commit(_)) => {
                if let Some(late) = self.unwritten.remove(&run.writer) {
                    self.write(&late);
                }
                self.perform(call)
            }
            (Some(Bug::PendingWithoutSide), Call::Intend(write)) => {
                let mut write = write.clone();
                if let Some(Pending::Update {
                    referral,
                    opportunity,
                    changes,
                    ..
                }) = &mut write.link.pending
                {
                    for change in changes {
                        if change.side == Side::PartnerCenter {
                            opportunity.set(change.field, referral.get(change.field).clone());
                        }
                        change.side = Side::Dynamics;
                    }
                    *referral = Terms::default();
                }
                self.write(&write)
            }
            (
                Some(Bug::ServerChosenIds),
                Call::CreateRow {
                    table: table @ Table::Opportunity,
                    id,
                    change,
                },
            ) if self.rows.contains_key(&OpportunityId::new(*id)) => {
                self.ids += 1;
                self.perform(&Call::CreateRow {
                    table: *table,
                    id: Uuid::from_u128(self.ids),
                    change: change.clone(),
                })
            }
            (Some(Bug::PostRetriedAtOnce), Call::CreateReferral(_)) if mishap == Some(Mishap::LostAnswer) => {
                self.perform(call);
                self.perform(call)
            }
            _ => self.perform(call),
        }
    }

    /// Runs to the end; none when the process died.
    pub fn finish(&mut self, run: &mut Run) -> Option<Report> {
        loop {
            match self.step(run) {
                Went::On => self.now = self.now.max(run.wakes),
                Went::Done(report) => return Some(report),
                Went::Crashed => return None,
            }
        }
    }

    /// Delivers a hint as the queue does: again, until a run has finished that could remember what it did.
    pub fn deliver(&mut self, hint: &Hint) -> Report {
        for _ in 0..MOST_RUNS {
            let mut run = self.begin(hint);
            if let Some(report) = self.finish(&mut run).filter(|report| !report.again) {
                return report;
            }
        }
        panic!("{hint:?} never finishes");
    }

    /// Deals that wait for the end of a pause.
    pub fn held(&self) -> Vec<Link> {
        let is_held = |link: &Link| link.due.as_ref().is_some_and(|due| due.why == "paused");
        self.links().filter(is_held).collect()
    }

    /// Every deal that waits for the end of a pause is looked at when its time has come.
    pub fn look_at_held(&mut self) {
        for link in self.held() {
            self.now = self.now.max(link.due.as_ref().map(|due| due.at).unwrap());
            self.look_when_due(&link);
        }
    }

    fn look_when_due(&mut self, link: &Link) {
        let own = link.referral.or(link.microsoft).map(Subject::Referral);
        let subject = match (link.referral, link.opportunity) {
            (None, Some(id)) => Some(Subject::Opportunity(id)),
            _ => own.or(link.lead.map(Subject::Lead)),
        };
        self.deliver(&Hint::new(subject.unwrap(), Cause::Due));
    }

    /// Lets time pass until no hint is left and no deal is due, those aside that wait for the end of a pause.
    pub fn settle(&mut self) {
        let mut hints = 0;
        for _ in 0..MOST_RUNS {
            loop {
                let solutions = std::mem::take(&mut self.changed_solutions).into_iter();
                let told = solutions.filter(|_| self.echoes);
                let told = told.map(|(id, _)| Hint::new(Subject::Opportunity(id), Cause::DynamicsPoll));
                self.hints.extend(told);
                let Some(hint) = self.hints.pop_front() else { break };
                hints += 1;
                assert!(hints < MOST_HINTS, "each look leads to another: {hint:?}");
                self.deliver(&hint);
            }
            let held = if self.paused.is_some() { self.held() } else { Vec::new() };
            let due: Vec<Link> = self
                .links()
                .filter(|link| link.due.is_some() && !held.contains(link))
                .collect();
            let Some(next) = due.iter().filter_map(|link| link.due.as_ref()).map(|due| due.at).min() else {
                return;
            };
            self.now = self.now.max(next);
            let now = self.now;
            for link in due
                .iter()
                .filter(|link| link.due.as_ref().is_some_and(|due| due.at <= now))
            {
                self.look_when_due(link);
            }
        }
        panic!("it never becomes quiet: {:#?}", self.links().collect::<Vec<_>>());
    }

    // ---- what has to be true -------------------------------------------------------------------------------------

    /// Every write to a vendor is covered by what this very run wrote into the ledger before.
    fn check_announced(&self, run: &Run, call: &Call) {
        let Some(link) = &run.announced else {
            panic!("{} writes before it announced anything: {call:?}", run.writer);
        };
        let covered = match (call, &link.pending) {
            (Call::CreateReferral(body), Some(Pending::CreateReferral { half, terms, .. })) => {
                let to_microsoft = body.target.iter().any(|target| target.id == MICROSOFT);
                to_microsoft == (*half == Half::Microsofts) && terms.get(Field::Name) == &Term::text(Some(&body.name))
            }
            (Call::CreateRow { table, id, .. }, Some(Pending::CreateOpportunity { .. })) => {
                *table != Table::Opportunity || link.opportunity.map(OpportunityId::uuid) == Some(*id)
            }
            (Call::CreateRow { table, id, .. }, Some(Pending::CreateLead { .. })) => {
                *table == Table::Lead && link.lead.map(LeadId::uuid) == Some(*id)
            }
            (Call::PatchReferral { id, operations, .. }, Some(Pending::Update { changes, .. })) => {
                let announced = |field| {
                    changes
                        .iter()
                        .any(|c| (c.field, c.side) == (field, Side::PartnerCenter))
                };
                link.referral == Some(*id)
                    && operations
                        .iter()
                        .all(|operation| field_of(operation).is_none_or(announced))
            }
            (Call::UpdateRecord { id, etag, change }, Some(Pending::Update { changes, .. })) => {
                let announced = |field| changes.iter().any(|c| (c.field, c.side) == (field, Side::Dynamics));
                // Of a row that was deleted meanwhile nothing can be said; it takes no update.
                let row = self.row(*id);
                let same_name = |cell: &Cell| {
                    let there = row.map(|row| rules(*id).terms(&row.shown()));
                    matches!(cell, Cell::Text(name) if there.as_ref().map(|terms| terms.get(Field::Name))
                        == Some(&Term::text(Some(mapping::strip_mark(name)))))
                };
                // An opportunity that takes the place of a lead is given what it lacks and the lead had.
                let is_lacking = |column: &str| {
                    let there = row.and_then(|row| row.cells.get(column.trim_end_matches("@odata.bind")));
                    // Another run may have filled it in meanwhile: the version is no longer that one, and nothing is written.
                    row.is_none_or(|row| row.etag() != *etag)
                        || matches!(there, None | Some(Cell::Null | Cell::Flag(false)))
                };
                let is_filled = |column: &str| {
                    let has_followed = link.lead.is_some() && matches!(id, Record::Opportunity(_));
                    has_followed && (is_lacking(column) || column == "transactioncurrencyid@odata.bind")
                };
                link.record() == Some(*id)
                    && change.cells().all(|(column, cell)| match column {
                        "name" | "subject" => row.is_none() || announced(Field::Name) || same_name(cell),
                        column => is_filled(column) || column_field(column).is_none_or(announced),
                    })
            }
            (Call::AddSolution { change, .. }, Some(Pending::CreateOpportunity { .. })) => {
                link.opportunity.is_some_and(|id| is_bound_to(change, id))
            }
            (Call::AddSolution { .. } | Call::UpdateSolution { .. }, Some(Pending::Update { changes, .. })) => changes
                .iter()
                .any(|c| (c.field, c.side) == (Field::Solutions, Side::Dynamics)),
            (Call::CloseOpportunity { id, .. }, Some(Pending::Update { changes, .. })) => {
                let closes = |c: &cosell::link::Change| (c.field, c.side) == (Field::Stage, Side::Dynamics);
                link.opportunity == Some(*id) && changes.iter().any(closes)
            }
            (Call::QualifyLead { id, .. }, Some(Pending::Update { changes, .. })) => {
                let moves = |c: &cosell::link::Change| (c.field, c.side) == (Field::Stage, Side::Dynamics);
                link.lead == Some(*id) && changes.iter().any(moves)
            }
            (Call::UpdateRecord { id, .. }, Some(Pending::Join | Pending::Part)) => link.record() == Some(*id),
            _ => false,
        };
        assert!(
            covered,
            "{} does {call:#?}\nwhich its announcement does not cover: {:#?}",
            run.writer, link.pending
        );
    }

    /// Nothing is left to do, pairs are unique, both sides say the same.
    pub fn assert_in_step(&self, deals: usize) {
        assert!(self.refusals.is_empty(), "the vendors refused {:#?}", self.refusals);
        assert_eq!(self.rows.len(), deals, "opportunities: {:?}", self.rows.keys());
        let own: Vec<_> = self
            .referrals
            .values()
            .filter(|referral| !referral.microsofts)
            .collect();
        assert_eq!(own.len(), deals, "referrals of the partner: {own:#?}");
        for referral in own {
            let link = self
                .find(Subject::Referral(referral.id))
                .unwrap_or_else(|| panic!("{} has no link", referral.id));
            let id = link.opportunity.unwrap();
            // What is not answered yet, or was closed when we met, takes no reference; the pointers do without.
            let refers = referral.reference == Some(id.to_string());
            assert!(refers || referral.status != "Active", "{:?}", referral.reference);
            assert_eq!(
                (&link.pending, &link.due, &link.state),
                (&None, &None, &State::Active),
                "{link:#?}"
            );
            assert_eq!(self.find(Subject::Opportunity(id)).map(|link| link.id), Some(link.id));
            self.assert_same(&link);
            let row = self.rows.get(&id).unwrap().shown();
            assert_eq!(
                row.text("cosell_referralidentifier"),
                Some(referral.id.to_string().as_str())
            );
            let halves: Vec<_> = self
                .referrals
                .values()
                .filter(|half| half.microsofts && half.engagement == referral.engagement)
                .collect();
            let wants_help = POLICY.mapping.particulars(&row).help.is_some();
            if referral.inviter != Some(MICROSOFT) {
                assert_eq!(halves.len(), usize::from(wants_help), "Microsoft's halves");
            }
            assert_eq!(link.microsoft, halves.first().map(|half| half.id));
        }
        self.assert_no_pointer_dangles();
    }

    /// One deal, whichever row it has in the CRM.
    pub fn assert_one_deal_in_step(&self) {
        if self.leads.is_empty() {
            self.assert_in_step(1);
        } else {
            self.assert_lead_in_step();
        }
    }

    /// One lead, which is a deal with its referral as long as it is not qualified; from then on its opportunity is.
    pub fn assert_lead_in_step(&self) {
        assert!(self.refusals.is_empty(), "the vendors refused {:#?}", self.refusals);
        let leads: Vec<_> = self.leads.iter().collect();
        let [(id, lead)] = leads[..] else {
            panic!("leads: {leads:#?}");
        };
        let link = self.find(Subject::Lead(*id)).unwrap();
        assert_eq!(
            (&link.pending, &link.due, &link.attention[..]),
            (&None, &None, &[][..]),
            "{link:#?}"
        );
        assert_eq!(link.lead, Some(*id));
        let is_qualified = lead.integer("statecode") == Some(1);
        let offspring: Vec<_> = self.rows.keys().copied().collect();
        assert_eq!(offspring.len(), usize::from(is_qualified), "{offspring:?}");
        assert_eq!(link.opportunity, offspring.first().copied());
        let records = self.referrals.values().map(|referral| referral.id);
        assert_eq!(
            records.collect::<Vec<_>>(),
            link.referral.into_iter().collect::<Vec<_>>()
        );
        let row = self.expanded(self.row(link.record().unwrap()).unwrap());
        assert!(row.flag("cosell_syncwithpartnercenter"));
        assert_eq!(row.cell("cosell_syncstatus"), &number(727_000_001), "{row:#?}");
        self.assert_same(&link);
        self.assert_no_pointer_dangles();
    }

    fn assert_no_pointer_dangles(&self) {
        for (pointer, id) in &self.pointers {
            // The pointer of a row that was deleted stays: nobody asks for it again.
            let is_leftover = !pointer.is_claim() && self.link(*id).is_some();
            assert!(
                is_leftover || self.link(*id).is_some_and(|link| link.pointers().contains(pointer)),
                "{pointer:?} dangles"
            );
        }
    }

    /// Both sides of a deal say the same, as far as each can, and the ledger knows it.
    fn assert_same(&self, link: &Link) {
        let (referral, opportunity, digits) = self.terms(link);
        assert_eq!(link.money_digits, digits);
        let said = |field| (field, referral.get(field), opportunity.get(field));
        let apart: Vec<_> = self.apart(link).into_iter().map(said).collect();
        assert!(apart.is_empty(), "{apart:#?}\n{link:#?}");
        let base = link.base.as_ref().unwrap();
        assert_eq!((&base.referral, &base.opportunity), (&referral, &opportunity));
    }

    /// What both sides of a deal show, and how many digits its money has.
    fn terms(&self, link: &Link) -> (Terms, Terms, u32) {
        let referral = Terms::from_referral(&self.referrals.get(&link.referral.unwrap()).unwrap().shown());
        let record = link.record().unwrap();
        let row = self.expanded(self.row(record).unwrap());
        let digits = POLICY.mapping.money_digits(&row).unwrap();
        (referral, rules(record).terms(&row), digits)
    }

    /// The fields of which both sides of a deal, which are there, do not say the same, as far as each can.
    pub fn apart(&self, link: &Link) -> Vec<Field> {
        let (referral, opportunity, digits) = self.terms(link);
        let mapping = rules(link.record().unwrap());
        let fits = |field: &Field| {
            let (ours, theirs) = (referral.get(*field), opportunity.get(*field));
            let fit = |term, side, beside| mapping.fit(*field, term, side, beside, digits, true).term;
            &fit(ours, Side::Dynamics, &opportunity) == theirs || &fit(theirs, Side::PartnerCenter, &referral) == ours
        };
        Field::ALL.into_iter().filter(|field| !fits(field)).collect()
    }

    // ---- ledger --------------------------------------------------------------------------------------------------

    pub fn links(&self) -> impl Iterator<Item = Link> {
        self.links.values().cloned()
    }

    pub fn link(&self, id: LinkId) -> Option<Link> {
        self.links.get(&id).cloned()
    }

    /// The ledger is lost, as after a restore from nothing.
    pub fn forget_links(&mut self) {
        self.links.clear();
        self.pointers.clear();
        self.audit.clear();
    }

    pub fn find(&self, subject: Subject) -> Option<Link> {
        let (pointers, own) = match subject {
            Subject::Opportunity(id) => (vec![Pointer::Opportunity(id)], id.into()),
            Subject::Lead(id) => (vec![Pointer::Lead(id)], id.into()),
            Subject::Referral(id) => (vec![Pointer::Referral(id), Pointer::Microsoft(id)], id.into()),
        };
        let leads = |pointer| self.pointers.get(pointer).or_else(|| self.freed.get(pointer));
        let pointed = pointers.iter().find_map(leads);
        self.link(pointed.copied().unwrap_or(own))
    }

    fn write(&mut self, write: &LinkWrite) -> Answer {
        let LinkWrite {
            link,
            pointers,
            freed,
            audit,
        } = write;
        if self.link(link.id).map(|found| found.version) != write.replaces() {
            return Answer::Outrun;
        }
        for pointer in pointers {
            let other = self.pointers.get(pointer).filter(|other| **other != link.id);
            if let Some(other) = other.filter(|_| pointer.is_claim()) {
                return Answer::Taken(*pointer, *other);
            }
        }
        for entry in audit {
            let exists = self
                .audit
                .iter()
                .any(|known| (known.link, known.version) == (entry.link, entry.version));
            assert!(!exists, "a second audit entry for {} {}", entry.link, entry.version);
        }
        if self.checks_storage {
            let stored: Link = serde_json::from_str(&json(link)).unwrap();
            assert_eq!(&stored, link, "a link changes when it is stored");
        }
        self.links.insert(link.id, link.clone());
        self.pointers.extend(pointers.iter().map(|pointer| (*pointer, link.id)));
        for pointer in freed {
            assert_eq!(
                self.pointers.remove(pointer),
                Some(link.id),
                "{pointer:?} was not this link's to free"
            );
            self.freed.insert(*pointer, link.id);
        }
        self.audit.extend(audit.iter().cloned());
        Answer::Done
    }

    // ---- vendors -------------------------------------------------------------------------------------------------

    fn perform(&mut self, call: &Call) -> Answer {
        if self.refused.is_some_and(|refused| refused(call)) {
            return permanent("that is not taken");
        }
        match call {
            Call::FindLink(subject) => Answer::Link(self.find(*subject).map(Box::new)),
            Call::FindEngagement(id) => {
                let found = self
                    .pointers
                    .get(&Pointer::Engagement(*id))
                    .and_then(|id| self.link(*id));
                Answer::Link(found.map(Box::new))
            }
            Call::ReadLink(id) => Answer::Link(self.link(*id).map(Box::new)),
            Call::Wait(_) => Answer::Done,
            Call::ReadReferral(id) if self.hidden == Some(*id) => {
                permanent("the service user may not read this referral")
            }
            Call::ReadReferral(id) => Answer::Referral(self.referrals.get(id).map(|found| Box::new(found.shown()))),
            Call::ReadRecord(id) => Answer::Row(self.row(*id).map(|row| Box::new(self.expanded(row)))),
            Call::FindOffspring(lead) => {
                let came_of_it = |row: &&RowRecord| row.cells.get(OFFSPRING) == Some(&Cell::Text(lead.to_string()));
                let rows = self.rows.iter().filter(|(_, row)| came_of_it(row));
                let key = |id: &OpportunityId| ("opportunityid".to_owned(), Cell::Text(id.to_string()));
                Answer::Rows(rows.map(|(id, _)| Row::from_cells(None, [key(id)].into())).collect())
            }
            Call::SearchReferrals(search) => {
                let listed = self.referrals.values().filter(|found| found.at + LIST_LAG <= self.now);
                let wanted = listed.filter(|found| match search {
                    Search::Reference { opportunity, since } => {
                        found.reference == Some(opportunity.to_string()) && found.at >= *since
                    }
                    Search::Engagement(id) => found.engagement == *id,
                });
                Answer::Referrals(wanted.map(ReferralRecord::shown).collect())
            }
            Call::FindCurrency(code) => Answer::Rows(
                vendors::currency_row(code.as_str())
                    .into_iter()
                    .filter_map(|cell| match cell {
                        Cell::Row(row) => Some(*row),
                        _ => None,
                    })
                    .collect(),
            ),
            Call::FindAccount { name, .. } => self.find_people("accounts", "accountid", "name", name),
            Call::FindAccountsOf { domain } => {
                let mail = format!("@{domain}");
                self.find_rows("accounts", "accountid", |cells| {
                    let text = |column: &str| match cells.get(column) {
                        Some(Cell::Text(text)) => text.as_str(),
                        _ => "",
                    };
                    text("websiteurl").contains(domain.as_str()) || text("emailaddress1").ends_with(&mail)
                })
            }
            Call::FindContact { email } => self.find_people("contacts", "contactid", "emailaddress1", email),
            Call::Intend(write) | Call::Commit(write) => self.write(write),
            Call::PatchReferral { id, etag, operations } => {
                let refused = operations
                    .iter()
                    .find(|operation| Some(operation.path) == self.refused_path);
                if let Some(operation) = refused {
                    return permanent(&format!("{} is not taken", operation.path));
                }
                let (now, echoes) = (self.now, self.echoes);
                let Some(record) = self.referrals.get_mut(id) else {
                    return Answer::Gone;
                };
                if record.etag() != *etag {
                    return Answer::Stale;
                }
                let before = record.clone();
                match record.patch(operations) {
                    Ok(()) => {
                        if record.version != before.version {
                            record.updated = now;
                            self.earlier.insert(*id, before);
                        }
                        if echoes {
                            let hint = Hint::new(Subject::Referral(*id), Cause::ReferralUpdated).changed_at(now);
                            self.hints.push_back(hint);
                        }
                        Answer::Referral(Some(Box::new(record.shown())))
                    }
                    Err(why) => self.refuse(call, &why),
                }
            }
            Call::CreateReferral(body) => self.post(body),
            Call::CreateRow {
                table: Table::Opportunity,
                id,
                change,
            } => {
                let id = OpportunityId::new(*id);
                if self.rows.contains_key(&id) {
                    return Answer::Exists;
                }
                match RowRecord::create(Kind::Opportunity, change) {
                    Ok(row) => {
                        let etag = row.etag();
                        self.rows.insert(id, row);
                        self.echo(Record::Opportunity(id));
                        Answer::Row(Some(Box::new(Row::from_cells(Some(etag), BTreeMap::new()))))
                    }
                    Err(why) => self.refuse(call, &why),
                }
            }
            Call::CreateRow {
                table: Table::Lead,
                id,
                change,
            } => {
                let id = LeadId::new(*id);
                if self.leads.contains_key(&id) {
                    return Answer::Exists;
                }
                match RowRecord::create(Kind::Lead, change) {
                    Ok(row) => {
                        let etag = row.etag();
                        self.leads.insert(id, row);
                        self.echo(Record::Lead(id));
                        Answer::Row(Some(Box::new(Row::from_cells(Some(etag), BTreeMap::new()))))
                    }
                    Err(why) => self.refuse(call, &why),
                }
            }
            Call::CreateRow { table, id, change } => {
                if self.people.contains_key(&(table.set(), *id)) {
                    return Answer::Exists;
                }
                self.people.insert((table.set(), *id), cells(change));
                Answer::Row(Some(Box::new(Row::default())))
            }
            Call::UpdateRecord { id, etag, change } => {
                if self.plugin.map(Record::Opportunity) == Some(*id) {
                    return permanent("a plug-in of this CRM says no");
                }
                let row = match id {
                    Record::Opportunity(id) => self.rows.get_mut(id),
                    Record::Lead(id) => self.leads.get_mut(id),
                };
                let Some(row) = row else {
                    return Answer::Gone;
                };
                if row.etag() != *etag {
                    return Answer::Stale;
                }
                match row.update(change) {
                    Ok(()) => {
                        if self.stamps && change.cells().any(|(column, _)| column == "description") {
                            row.stamp();
                        }
                        let etag = row.etag();
                        self.echo(*id);
                        Answer::Row(Some(Box::new(Row::from_cells(Some(etag), BTreeMap::new()))))
                    }
                    Err(why) => self.refuse(call, &why),
                }
            }
            Call::QualifyLead { id, qualify } => {
                let Some(lead) = self.leads.get(id) else {
                    return Answer::Gone;
                };
                if lead.integer("statecode") != Some(0) {
                    return Answer::Stale;
                }
                if qualify.status != QUALIFIED && qualify.status != -1 {
                    return self.refuse(call, "that is no status reason of a qualified lead");
                }
                let offspring = self.qualify(*id, *qualify);
                self.echo(Record::Lead(*id));
                self.echo(Record::Opportunity(offspring));
                Answer::Done
            }
            Call::AddSolution { key, change } => {
                let Some((id, row)) = self.rows.iter_mut().find(|(id, _)| is_bound_to(change, **id)) else {
                    // Somebody has deleted it meanwhile.
                    return permanent("there is no such opportunity");
                };
                if self.refused_solution.as_ref().is_some_and(|id| names(change, id)) {
                    return permanent("a plug-in of this CRM says no");
                }
                if self.rows_elsewhere.contains(key) {
                    return Answer::Exists;
                }
                let id = *id;
                match row.add_solution(*key, change) {
                    Ok(true) => {
                        self.changed_solutions.push((id, *key));
                        Answer::Row(Some(Box::new(Row::default())))
                    }
                    Ok(false) => Answer::Exists,
                    Err(why) => self.refuse(call, &why),
                }
            }
            Call::UpdateSolution { key, etag, change } => {
                let Some((id, row)) = self.rows.iter_mut().find(|(_, row)| row.solutions.contains_key(key)) else {
                    return Answer::Gone;
                };
                let id = *id;
                match row.update_solution(*key, etag, change) {
                    Ok(true) => {
                        self.changed_solutions.push((id, *key));
                        Answer::Row(Some(Box::new(Row::default())))
                    }
                    Ok(false) => Answer::Stale,
                    Err(why) => self.refuse(call, &why),
                }
            }
            Call::CloseOpportunity { id, close } => {
                let Some(row) = self.rows.get_mut(id) else {
                    return Answer::Gone;
                };
                match row.close(close) {
                    Ok(()) => {
                        self.echo(Record::Opportunity(*id));
                        Answer::Done
                    }
                    Err(NotClosed::Already) => Answer::Stale,
                    Err(NotClosed::Refused(why)) => self.refuse(call, &why),
                }
            }
        }
    }

    fn refuse(&mut self, call: &Call, why: &str) -> Answer {
        self.refusals.push(format!("{why}: {call:?}"));
        permanent(why)
    }

    fn echo(&mut self, id: Record) {
        if let Record::Opportunity(id) = id {
            self.ours.insert(id);
        }
        if self.echoes {
            self.hints.push_back(Hint::new(Subject::from(id), Cause::DynamicsPoll));
        }
    }

    /// An opportunity or a lead.
    pub fn row(&self, id: Record) -> Option<&RowRecord> {
        match id {
            Record::Opportunity(id) => self.rows.get(&id),
            Record::Lead(id) => self.leads.get(&id),
        }
    }

    /// A seller qualifies a lead: the CRM makes what is not there yet.
    pub fn seller_qualifies(&mut self, id: LeadId) -> OpportunityId {
        let has = |lead: &RowRecord, column: &str| lead.cells.get(column).is_some_and(|cell| *cell != Cell::Null);
        let lead = self.leads.get(&id).unwrap();
        let qualify = Qualify {
            status: QUALIFIED,
            create_account: !has(lead, "parentaccountid"),
            create_contact: !has(lead, "parentcontactid"),
            currency: None,
        };
        self.qualify(id, qualify)
    }

    /// The action `QualifyLead`: topic, description, amount, currency, account and contact travel, columns of ours do not.
    fn qualify(&mut self, id: LeadId, qualify: Qualify) -> OpportunityId {
        let mut lead = self.leads.get(&id).cloned().unwrap();
        let mut row = RowRecord::open();
        for (from, to) in [
            ("subject", "name"),
            ("description", "description"),
            ("estimatedamount", "estimatedvalue"),
            ("transactioncurrencyid", "transactioncurrencyid"),
            ("parentaccountid", "parentaccountid"),
            ("parentaccountid", "customerid_account"),
            ("parentcontactid", "parentcontactid"),
        ] {
            if let Some(cell) = lead.cells.get(from) {
                row.cells.insert(to.to_owned(), cell.clone());
            }
        }
        if let Some(currency) = qualify.currency.and_then(currency_with) {
            row.cells.insert("transactioncurrencyid".to_owned(), currency);
        }
        let made = [
            (
                qualify.create_account,
                "accounts",
                [("companyname", "name"); 1].as_slice(),
            ),
            (
                qualify.create_contact,
                "contacts",
                &[
                    ("firstname", "firstname"),
                    ("lastname", "lastname"),
                    ("emailaddress1", "emailaddress1"),
                ],
            ),
        ];
        for (_, set, columns) in made.into_iter().filter(|(is_made, ..)| *is_made) {
            self.ids += 1;
            let id = Uuid::from_u128(self.ids);
            let carried = columns
                .iter()
                .filter_map(|(from, to)| Some(((*to).to_owned(), lead.cells.get(*from)?.clone())));
            self.people.insert((set, id), carried.collect());
            let navigations: &[&str] = if set == "accounts" {
                &["parentaccountid", "customerid_account"]
            } else {
                &["parentcontactid"]
            };
            for navigation in navigations {
                row.cells
                    .insert((*navigation).to_owned(), text(&format!("/{set}({id})")));
            }
        }
        row.cells.insert(OFFSPRING.to_owned(), text(&id.to_string()));
        self.ids += 1;
        let offspring = OpportunityId::new(Uuid::from_u128(self.ids));
        self.rows.insert(offspring, row);
        lead.cells.insert("statecode".to_owned(), number(1));
        lead.cells.insert("statuscode".to_owned(), number(QUALIFIED));
        lead.version += 1;
        self.leads.insert(id, lead);
        offspring
    }

    /// The lead that an opportunity came of.
    pub fn origin(&self, id: OpportunityId) -> Option<LeadId> {
        match self.rows.get(&id)?.cells.get(OFFSPRING) {
            Some(Cell::Text(lead)) => lead.parse().ok(),
            _ => None,
        }
    }

    /// The opportunity that came of a lead.
    pub fn offspring(&self, id: LeadId) -> Option<OpportunityId> {
        let mut rows = self.rows.keys();
        rows.find(|row| self.origin(**row) == Some(id)).copied()
    }

    fn find_people(&self, set: &str, key: &str, column: &str, value: &str) -> Answer {
        let value = Cell::Text(value.to_owned());
        self.find_rows(set, key, |cells| cells.get(column) == Some(&value))
    }

    fn find_rows(&self, set: &str, key: &str, is_it: impl Fn(&BTreeMap<String, Cell>) -> bool) -> Answer {
        let found = self
            .people
            .iter()
            .filter(|((table, _), cells)| *table == set && is_it(cells));
        let rows = found.map(|((_, id), cells)| {
            let mut cells = cells.clone();
            cells.insert(key.to_owned(), Cell::Text(id.to_string()));
            Row::from_cells(None, cells)
        });
        Answer::Rows(rows.take(2).collect())
    }

    /// A row with its look-ups, as the read asks for it.
    fn expanded(&self, row: &RowRecord) -> Row {
        let expand = |cell: &Cell| {
            let Cell::Text(target) = cell else { return cell.clone() };
            let found = self
                .people
                .iter()
                .find(|((set, id), _)| *target == format!("/{set}({id})"));
            found.map_or(Cell::Null, |(_, cells)| {
                Cell::Row(Box::new(Row::from_cells(None, cells.clone())))
            })
        };
        let lookups = ["customerid_account", "parentaccountid", "parentcontactid", "owninguser"];
        let cells = row.cells.iter().map(|(column, cell)| {
            let cell = if lookups.contains(&column.as_str()) {
                expand(cell)
            } else {
                cell.clone()
            };
            (column.clone(), cell)
        });
        let mut cells: BTreeMap<String, Cell> = cells.collect();
        for (column, cell) in &row.cells {
            let target = match cell {
                Cell::Text(target) if lookups.contains(&column.as_str()) => key_of(target),
                Cell::Row(row) => row.guid("transactioncurrencyid"),
                _ => None,
            };
            if let Some(id) = target {
                let column = column.trim_end_matches("_account");
                cells.insert(format!("_{column}_value"), Cell::Text(id.to_string()));
            }
        }
        cells.insert("cosell_opportunity_dealsolution".to_owned(), row.solution_rows());
        Row::from_cells(Some(row.etag()), cells)
    }

    /// A referral is created: its id is the server's choice. One's own starts accepted, Microsoft's waits for an answer.
    fn post(&mut self, body: &NewReferral) -> Answer {
        self.ids += 1;
        let id = ReferralId::new(Uuid::from_u128(self.ids));
        let microsofts = body.target.iter().any(|target| target.id == MICROSOFT);
        let record = ReferralRecord {
            id,
            engagement: body
                .engagement_id
                .unwrap_or(EngagementId::new(Uuid::from_u128(self.ids << 64))),
            microsofts,
            inviter: Some("partner"),
            kind: body.kind.clone(),
            name: Some(body.name.clone()),
            reference: body.external_reference_id.clone(),
            status: if microsofts { "New" } else { "Active" }.to_owned(),
            substatus: if microsofts { "Pending" } else { "Accepted" }.to_owned(),
            reason: None,
            value: json(&body.details.deal_value),
            currency: Some(body.details.currency.clone()),
            closing: Some(body.details.closing_date_time.clone()),
            notes: Some(body.details.notes.clone()),
            visible: json(&body.consent.consent_to_share_referral_with_microsoft_sellers),
            solutions: body.details.requirements.solutions.iter().map(json).collect(),
            customer: json(&body.customer_profile),
            program: None,
            campaign: None,
            sales_stage: "null".to_owned(),
            team: body.team.iter().map(json).collect(),
            version: 1,
            at: self.now,
            updated: self.now,
        };
        if self.echoes {
            let cause = if microsofts {
                Cause::RelatedReferralCreated
            } else {
                Cause::ReferralCreated
            };
            self.hints
                .push_back(Hint::new(Subject::Referral(id), cause).changed_at(self.now));
        }
        let shown = record.shown();
        self.referrals.insert(id, record);
        Answer::Referral(Some(Box::new(shown)))
    }
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// The rules for a record.
fn rules(record: Record) -> Arc<Mapping> {
    POLICY.of(Some(record)).mapping
}

/// The key in a reference such as `/accounts(...)`.
fn key_of(reference: &str) -> Option<Uuid> {
    let (_, rest) = reference.split_once('(')?;
    Uuid::parse_str(rest.trim_end_matches(')')).ok()
}

/// The look-up to a currency of this id.
fn currency_with(id: CurrencyId) -> Option<Cell> {
    let codes = ["EUR", "USD", "JPY", "KWD"];
    let code = codes
        .into_iter()
        .find(|code| vendors::currency(code).is_some_and(|(known, _)| known == id))?;
    vendors::currency_row(code)
}

fn is_bound_to(change: &RowChange, id: OpportunityId) -> bool {
    change
        .cells()
        .any(|(column, cell)| column.ends_with("@odata.bind") && *cell == Cell::Text(format!("/opportunities({id})")))
}

fn names(change: &RowChange, solution: &str) -> bool {
    change.cells().any(|(_, cell)| *cell == Cell::Text(solution.to_owned()))
}

fn permanent(why: &str) -> Answer {
    Answer::Failed(Fault {
        class: Class::Permanent,
        code: "refused",
        message: why.to_owned(),
        in_doubt: false,
    })
}

fn cells(change: &RowChange) -> BTreeMap<String, Cell> {
    change
        .cells()
        .map(|(column, cell)| (column.to_owned(), cell.clone()))
        .collect()
}

/// The field that a path carries; none for our own reference.
fn field_of(operation: &PatchOperation) -> Option<Field> {
    Some(match operation.path {
        "/details/dealValue" | "/details/currency" => Field::Value,
        "/details/closingDateTime" => Field::CloseDate,
        "/details/notes" => Field::Notes,
        "/details/requirements/solutions" => Field::Solutions,
        "/consent/consentToShareReferralWithMicrosoftSellers" => Field::Visibility,
        "/status" | "/substatus" | "/statusReason" => Field::Stage,
        "/referralProgram" => Field::Program,
        "/campaignId" => Field::Campaign,
        "/salesStage" => Field::SalesStage,
        "/team" | "/team/-" => Field::Team,
        "/customerProfile/team" | "/customerProfile/team/-" => Field::Contacts,
        "/externalReferenceId" => return None,
        path => panic!("{path} carries no field of a deal"),
    })
}

/// The field that a column carries; none for columns of ours.
fn column_field(column: &str) -> Option<Field> {
    Some(match column {
        "estimatedvalue" | "estimatedamount" | "transactioncurrencyid@odata.bind" => Field::Value,
        "estimatedclosedate" => Field::CloseDate,
        "description" => Field::Notes,
        "cosell_solutions" => Field::Solutions,
        "cosell_referralvisibility" => Field::Visibility,
        "cosell_referralprogram" => Field::Program,
        "cosell_campaign" => Field::Campaign,
        "cosell_salesstage" => Field::SalesStage,
        "statecode" | "statuscode" | "cosell_closereason" => Field::Stage,
        "cosell_audit"
        | "cosell_syncstatus"
        | "cosell_referralidentifier"
        | "cosell_referrallink"
        | "cosell_syncwithpartnercenter"
        | "parentaccountid@odata.bind"
        | "parentcontactid@odata.bind" => return None,
        column => panic!("{column} carries no field of a deal"),
    })
}

/// A seller's opportunity with everything that sharing it takes.
pub fn sellers_row(world: &mut World, id: OpportunityId, help: bool) {
    let person = |set: &'static str, number: u128, cells: &[(&str, &str)]| {
        let id = Uuid::from_u128(number);
        let cells: BTreeMap<_, _> = cells
            .iter()
            .map(|(column, value)| ((*column).to_owned(), text(value)))
            .collect();
        ((set, id), cells, format!("/{set}({id})"))
    };
    let people = [
        (
            "parentaccountid",
            person(
                "accounts",
                1,
                &[
                    ("name", "Fabrikam"),
                    ("address1_line1", "Way 1"),
                    ("address1_city", "Bonn"),
                    ("address1_postalcode", "53111"),
                    ("address1_country", "Germany"),
                ],
            ),
        ),
        (
            "parentcontactid",
            person(
                "contacts",
                2,
                &[
                    ("firstname", "Ada"),
                    ("lastname", "B"),
                    ("emailaddress1", "ada@fabrikam.example"),
                    ("telephone1", "1"),
                ],
            ),
        ),
        (
            "owninguser",
            person(
                "systemusers",
                3,
                &[
                    ("firstname", "Sam"),
                    ("lastname", "C"),
                    ("internalemailaddress", "sam@partner.example"),
                    ("mobilephone", "2"),
                ],
            ),
        ),
    ];
    let mut row = RowRecord::open();
    for (column, (key, cells, target)) in people {
        world.people.insert(key, cells);
        row.cells.insert(column.to_owned(), text(&target));
    }
    for (column, cell) in [
        ("name", text("Big deal")),
        ("estimatedvalue", Cell::Number("80000.25".parse().unwrap())),
        ("estimatedclosedate", text("2026-09-30")),
        ("description", text("Talked to Ada")),
        ("cosell_solutions", text("SOL-1\nSOL-2")),
        ("cosell_syncwithpartnercenter", Cell::Flag(true)),
        (
            "cosell_howcanmicrosofthelp",
            if help { number(727_000_000) } else { Cell::Null },
        ),
    ] {
        row.cells.insert(column.to_owned(), cell);
    }
    world.rows.insert(id, row);
}
