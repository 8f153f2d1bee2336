//! The reconcile machine: the commit protocol, step by step, without I/O.
//!
//! It looks (link, then the side the hint names), decides (the planner), announces what it is about to write in the
//! ledger, writes, and commits. Between any two calls the process may die; the next run finds the announcement and
//! finishes, repeats or abandons it.
//!
//! Guarantees: no vendor is written to without a precondition or a deterministic id, and not before the ledger says so;
//! a referral, whose id is the server's choice, is posted again only after two searches that were long enough apart from
//! the doubt; nothing differing from the base means nothing is written; nothing is written to a side that is paused.
//! Assumes: calls are performed in order, and `answer` gets the answer to the last call; what a run had asked for when it
//! died is carried out before others have waited for it in vain, or not at all. One that lives may be late: it tells.

pub mod call;
mod create;
mod draft;
mod hold;
mod late;
mod lead;
mod orders;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use self::call::{Answer, Call, MOST_FOUND};
use self::draft::{Draft, Step, field_of, is_of_state};
use self::lead::Succession;
use crate::deal::{Currency, Field, Help, Side, Term, Terms};
use crate::fault::{Class, Fault};
use crate::finding::{Code, Finding};
use crate::hint::{Cause, Hint, Subject};
use crate::ids::{AccountId, ContactId, LinkId, Record, ReferralId, SolutionId};
use crate::link::{Asked, Base, Change, Due, Half, Link, Outcome, Pending, Pointer, State, SyncStatus};
use crate::mapping::Mapping;
use crate::merge;
use crate::opportunity::{Row, RowChange};
use crate::order::Order;
use crate::plan::{self, KnownCurrency, Need, OpportunityRequest, Picture};
use crate::policy::Policy;
use crate::referral::{Reading, Referral};
use crate::stage::Stage;

/// How often a run starts over after somebody else was faster, before it leaves the deal for later.
const RESTARTS: u32 = 3;

/// The two sides of a deal.
const BOTH: [Side; 2] = [Side::PartnerCenter, Side::Dynamics];

/// Keys of solution rows that are tried in one run before more of them count as such a restart.
const MOST_TAKEN: usize = 50;

/// Waits after a call that may succeed later, and after a read that was older than announced.
const WAITS: [i64; 3] = [15, 60, 240];

/// Longest wait between two tries, in seconds.
const LONGEST_WAIT: i64 = 3600;

/// Why a deal whose closing waits is due.
const CLOSING: &str = "closing";

/// A crashed run's announcement is looked at again after this long.
const INTENT_LEASE: SignedDuration = SignedDuration::from_secs(60);

/// Waits for another run that has announced a write to the same deal, in seconds. A deal takes a few calls, and a call
/// rarely a second; who is not done by then has died, or is outrun.
const PATIENCE: [i64; 4] = [1, 2, 4, 8];

/// Why a deal is due whose referral was shown older than before.
const OUTDATED: &str = "outdated";

/// Why a deal is due whose write is announced.
const INTENT: &str = "intent";

/// After a creation both sides are read once more: hints that came while it was under way were left to this look.
const FOLLOW_UP: SignedDuration = SignedDuration::from_secs(10);

/// Events are dated up to a few seconds after the change they announce (partner-center-webhook-events shows 2.4 s); a
/// read is only taken for stale when it is older than that.
const EVENT_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// What made the run, and the values that only the outside can provide.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Which record to look at, and why.
    pub hint: Hint,
    /// Now.
    pub now: Timestamp,
    /// Key that joins trigger, calls and audit.
    pub trace: String,
    /// Token of this run, unique among all runs.
    pub writer: String,
    /// What an operator wants besides a look.
    pub order: Option<Order>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// How.
    pub outcome: Outcome,
    /// Why.
    pub findings: Vec<Finding>,
    /// The deal, if there is one.
    pub link: Option<LinkId>,
    /// The fault that stopped it, if one did.
    pub fault: Option<Fault>,
    /// Whether nothing could be remembered: the hint has to come again.
    pub again: bool,
}

impl Report {
    /// The report of a run that was cut off because it would not end: a mistake of ours, and the hint has to come again.
    #[must_use]
    pub fn runaway() -> Self {
        let fault = Fault {
            class: Class::Permanent,
            code: "runaway",
            message: "the run made more calls than any deal needs and was cut off; report this with its trace"
                .to_owned(),
            in_doubt: false,
        };
        let findings = vec![Finding::new(Code::Waiting, fault.message.clone())];
        Self {
            outcome: Outcome::Due,
            findings,
            link: None,
            fault: Some(fault),
            again: true,
        }
    }
}

/// What the machine wants next.
#[derive(Clone, Debug)]
pub enum Next {
    /// Perform this call and answer it.
    Call(Call),
    /// It is done.
    Done(Report),
}

/// What is known of a record.
#[derive(Clone, Debug, Default)]
enum Sight<T> {
    /// Not looked yet.
    #[default]
    Unread,
    /// Looked, and there is none.
    Absent,
    /// Seen.
    Seen(T),
}

impl<T> Sight<T> {
    const fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(value) => Some(value),
            Self::Unread | Self::Absent => None,
        }
    }

    fn read(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::Seen)
    }
}

/// What a look-up by content found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Match<T> {
    #[default]
    Unasked,
    None,
    One(T),
    Several,
}

#[derive(Debug)]
enum Phase {
    /// Gathering what is needed to decide.
    Looking,
    /// The ledger is told what is about to be written.
    Intending(Box<Draft>),
    /// The announced calls are made.
    Acting(Box<Draft>),
    /// The ledger is told what was achieved.
    Committing(Box<Draft>),
    /// Done.
    Finished(Box<Report>),
}

/// What the machine decided when it knew enough, or what it still has to know.
#[expect(
    clippy::large_enum_variant,
    reason = "made once a look and taken apart at once; a box would only add noise"
)]
enum Decision {
    Ask(Call),
    Act(Draft),
    Finish(Report),
}

/// One run over one deal.
#[derive(Debug)]
pub struct Reconcile<'p> {
    policy: &'p Policy,
    trigger: Trigger,
    phase: Phase,
    asked: Option<Call>,
    restarts: u32,
    /// How often it has waited for another run.
    waits: usize,
    /// Record to look at; changes when Microsoft's half leads to ours.
    subject: Subject,
    link: Option<Option<Link>>,
    /// Link of the opportunity that the referral's reference names, or of the referral that the opportunity names.
    named: Option<Option<Link>>,
    engaged: Option<Option<Link>>,
    /// A link kept for a referral that turned out to belong to another one.
    stub: Option<Link>,
    /// Whether such a link was looked for under the record's own id.
    looked_for_stub: bool,
    referral: Sight<Box<Referral>>,
    opportunity: Sight<Box<Row>>,
    microsoft: Sight<Box<Referral>>,
    /// The own two sides, in the order in which they were read for this look.
    reads: Vec<Side>,
    searched: Option<Vec<Referral>>,
    currencies: BTreeMap<Currency, Option<KnownCurrency>>,
    account: Match<AccountId>,
    contact: Match<ContactId>,
    /// Keys for solution rows that turned out to stand on rows elsewhere.
    taken: BTreeSet<Uuid>,
    /// One that was there and may have been hidden from a read that lags: it is asked for once more.
    in_question: Option<Uuid>,
    /// Solutions of which the CRM refused a row for good in this run.
    refused_rows: BTreeMap<SolutionId, Finding>,
    /// Accounts that may be the customer, as people know them.
    candidates: Vec<String>,
    asked_domain: bool,
    /// This very run wrote the link's pending part; nobody else can be acting on it.
    holds_intent: bool,
    /// An opportunity takes the place of a lead.
    succession: Succession,
    created: bool,
    /// What this run has written and not committed.
    landed: Vec<Change>,
    /// What it has announced and begun to write, and not committed.
    begun: Vec<Change>,
    /// What it had written when another took its place, who may have looked before.
    outrun: Vec<Change>,
    /// What a run, this one or another, had announced when the next took its place: it may be written all the same, behind
    /// the look of that one.
    overtaken: Vec<Change>,
    /// It has written to a vendor since it last told the ledger.
    owes_record: bool,
    /// Fields whose PATCH the vendor refused for good in this run.
    refused: Vec<(Field, String)>,
    written: bool,
    /// It has started over too often, and only writes down what must not be forgotten.
    gives_up: bool,
    /// The answer to a write was lost in this run, and what became of it was looked up.
    was_in_doubt: bool,
    /// The order of this run was announced, so whoever looks at the deal next finishes it.
    has_announced_order: bool,
    /// Both sides are read although the hint names only one.
    thorough: bool,
    fault: Option<Fault>,
    findings: Vec<Finding>,
}

impl<'p> Reconcile<'p> {
    /// Begins a run.
    #[must_use]
    pub fn new(trigger: Trigger, policy: &'p Policy) -> Self {
        let subject = trigger.hint.subject;
        let thorough = match trigger.hint.cause {
            Cause::Due | Cause::Compare | Cause::Operator => true,
            Cause::ReferralCreated
            | Cause::ReferralUpdated
            | Cause::RelatedReferralCreated
            | Cause::RelatedReferralUpdated
            | Cause::DynamicsPoll
            | Cause::PartnerCenterPoll => false,
        };
        Self {
            policy,
            trigger,
            phase: Phase::Looking,
            asked: None,
            restarts: 0,
            waits: 0,
            subject,
            link: None,
            named: None,
            engaged: None,
            stub: None,
            looked_for_stub: false,
            referral: Sight::Unread,
            opportunity: Sight::Unread,
            microsoft: Sight::Unread,
            reads: Vec::new(),
            searched: None,
            currencies: BTreeMap::new(),
            account: Match::Unasked,
            contact: Match::Unasked,
            taken: BTreeSet::new(),
            in_question: None,
            refused_rows: BTreeMap::new(),
            candidates: Vec::new(),
            asked_domain: false,
            holds_intent: false,
            succession: Succession::default(),
            created: false,
            landed: Vec::new(),
            begun: Vec::new(),
            outrun: Vec::new(),
            overtaken: Vec::new(),
            owes_record: false,
            refused: Vec::new(),
            written: false,
            gives_up: false,
            was_in_doubt: false,
            has_announced_order: false,
            thorough,
            fault: None,
            findings: Vec::new(),
        }
    }

    /// The next call, or the end.
    #[expect(
        clippy::should_implement_trait,
        reason = "a dialogue: every call wants an answer before the next"
    )]
    pub fn next(&mut self) -> Next {
        loop {
            self.keep_late();
            let call = match &mut self.phase {
                Phase::Finished(report) => return Next::Done(report.as_ref().clone()),
                Phase::Intending(draft) => Call::Intend(Box::new(draft.intent(&self.trigger, self.policy))),
                Phase::Acting(draft) => match draft.next_call() {
                    Step::Call(call) => call,
                    Step::Finished => {
                        let draft = draft.clone();
                        self.phase = Phase::Committing(draft);
                        continue;
                    }
                    Step::Again => {
                        let draft = draft.clone();
                        if draft.lacks_rows() {
                            self.begun.extend_from_slice(draft.begun());
                            self.owes_record |= draft.has_written();
                            self.look_again(Some(draft.announced_link()));
                        } else {
                            self.start_over(&draft);
                        }
                        continue;
                    }
                },
                Phase::Committing(draft) => Call::Commit(Box::new(draft.commit(&self.trigger, self.owes_record))),
                Phase::Looking => match self.decide() {
                    Decision::Ask(call) => call,
                    Decision::Act(draft) => {
                        self.begin(draft);
                        continue;
                    }
                    Decision::Finish(report) => {
                        self.end(report);
                        continue;
                    }
                },
            };
            self.asked = Some(call.clone());
            return Next::Call(call);
        }
    }

    /// Files the answer to the last call.
    pub fn answer(&mut self, answer: Answer) {
        let Some(asked) = self.asked.take() else { return };
        match std::mem::replace(&mut self.phase, Phase::Looking) {
            Phase::Looking => self.learn(asked, answer),
            Phase::Intending(draft) => self.intended(draft, answer),
            Phase::Acting(draft) => self.acted(draft, answer),
            Phase::Committing(draft) => self.committed(draft, answer),
            finished @ Phase::Finished(_) => self.phase = finished,
        }
    }

    fn begin(&mut self, draft: Draft) {
        if let Some(side) = self.policy.paused.filter(|side| draft.writes_toward(*side)) {
            match self.hold(draft.before().clone(), side) {
                Decision::Act(held) => self.phase = Phase::Committing(Box::new(held)),
                Decision::Finish(report) => self.end(report),
                Decision::Ask(_) => {}
            }
            return;
        }
        if self.policy.dry_run && draft.writes_to_a_vendor() {
            self.phase = Phase::Committing(Box::new(self.dry(&draft)));
            return;
        }
        let draft = Box::new(draft);
        self.phase = if !draft.writes_to_a_vendor() {
            Phase::Committing(draft)
        } else if self.holds_intent {
            self.holds_intent = false;
            Phase::Acting(draft)
        } else {
            Phase::Intending(draft)
        };
    }

    /// What is told of a plan that is not carried out. The link stays as it is, but for its audit.
    fn dry(&self, draft: &Draft) -> Draft {
        let text = format!(
            "would be written if the connector did not run dry: {} change(s)",
            draft.changes().len()
        );
        let before = self.as_stored(draft.before().clone());
        let mut next = before.clone();
        self.identify(&mut next);
        // Looking again would only plan the same again.
        next.due = None;
        let mut dry = Draft::new(before, next);
        dry.note(draft.findings().to_vec());
        dry.note(vec![Finding::new(Code::DryRun, text)]);
        dry.note_changes(draft.changes().to_vec());
        dry.without_pointers();
        dry.only_plan();
        dry
    }

    // ---- looking -------------------------------------------------------------------------------------------------

    fn decide(&mut self) -> Decision {
        if self.link.is_none() {
            return Decision::Ask(Call::FindLink(self.subject));
        }
        if let Some(wait) = self.gives_way() {
            return Decision::Ask(Call::Wait(wait));
        }
        if let Some(order) = self.trigger.order.clone()
            && let Some(decision) = self.take(&order)
        {
            return decision;
        }
        let Some(found) = &self.link else {
            return Decision::Ask(Call::FindLink(self.subject));
        };
        let Some(link) = found.clone() else {
            return self.meet(None);
        };
        // A link that was kept for the record a moment before another one claimed it: only its date still leads to it.
        if self.trigger.hint.cause == Cause::Due && link.id != self.subject.own_link() && !self.looked_for_stub {
            return Decision::Ask(Call::ReadLink(self.subject.own_link()));
        }
        if link.has_parted(self.subject) {
            return self.stay_apart(link);
        }
        if link.state == State::Gone {
            return self.finish(Outcome::Ignored, Some(link.id));
        }
        if let Some(decision) = self.finish_joining(&link) {
            return decision;
        }
        match link.pending.clone() {
            Some(Pending::Part) => self.part(link),
            Some(Pending::CreateOpportunity { terms }) => self.create_opportunity(link, terms, false),
            Some(Pending::CreateLead { terms }) => self.create_opportunity(link, terms, true),
            Some(Pending::CreateReferral {
                half,
                terms,
                since,
                negatives,
            }) => self.create_referral(link, half, terms, since, negatives),
            Some(Pending::Update { .. } | Pending::Join) | None => {
                if link.referral.is_some() && link.record().is_some() {
                    self.compare(link)
                } else {
                    self.meet(Some(link))
                }
            }
        }
    }

    /// Goes on with a link that was found after its records were read: what was read may be older than what the link says.
    fn go_on_with(&mut self, link: Link) -> Decision {
        self.unread(&BOTH);
        self.link = Some(Some(link));
        self.decide()
    }

    /// How long to wait for another run that has announced a write to this deal, if there is one. Until it commits, what
    /// it has written cannot be told from what a person has made of it since, who would lose to a value they had seen.
    fn gives_way(&self) -> Option<SignedDuration> {
        let link = self.link.as_ref()?.as_ref()?;
        let is_anothers = link.pending.is_some() && link.writer != self.trigger.writer;
        let lease = link.due.as_ref().filter(|due| is_anothers && due.why == INTENT)?;
        let waited: i64 = PATIENCE.iter().take(self.waits).sum();
        let now = self.trigger.now + self.policy.wait(SignedDuration::from_secs(waited));
        let wait = PATIENCE
            .get(self.waits)
            .filter(|_| now < lease.at && !self.policy.dry_run)?;
        Some(self.policy.wait(SignedDuration::from_secs(*wait)))
    }

    fn meet(&mut self, stub: Option<Link>) -> Decision {
        match self.subject {
            Subject::Referral(id) => self.meet_referral(id, stub),
            Subject::Opportunity(id) => self.meet_opportunity(id, stub),
            Subject::Lead(id) => self.meet_lead(id, stub),
        }
    }

    /// Brings two existing records into step.
    fn compare(&mut self, link: Link) -> Decision {
        let (Some(referral), Some(record)) = (link.referral, link.record()) else {
            return self.finish(Outcome::Ignored, Some(link.id));
        };
        // What may be written behind who took the place of a run, this one or another, both sides show.
        let was_outrun = self.is_outrun() || !link.late.is_empty();
        if self.is_past(&link) && !was_outrun {
            return self.finish(Outcome::Ignored, Some(link.id));
        }
        let is_torn = link
            .attention
            .iter()
            .any(|finding| matches!(finding.code, Code::ManualConflict | Code::Refused));
        let both = self.thorough
            || link.pending.is_some()
            || link.base.is_none()
            || link.state == State::Paused
            || link.is_taking_over()
            || is_torn
            || was_outrun
            || self.is_remapped(&link);
        let microsofts = link.microsoft.or(self.microsoft.seen().map(|seen| seen.id));
        let hinted = match self.subject {
            Subject::Referral(id) if Some(id) == microsofts => None,
            Subject::Referral(_) => Some(Side::PartnerCenter),
            Subject::Opportunity(_) | Subject::Lead(_) => Some(Side::Dynamics),
        };
        // A side whose version is not known may keep something that is in no base yet: it has to be seen.
        let both = both
            || match hinted {
                Some(Side::Dynamics) => link.etags.referral.is_none(),
                Some(Side::PartnerCenter) => link.etags.opportunity.is_none(),
                None => false,
            };
        // A date may stand for a hint about Microsoft's half that could not be followed.
        let is_wanted = hinted.is_none() || both;
        if let (true, Some(id), Sight::Unread) = (is_wanted, link.microsoft, &self.microsoft) {
            return Decision::Ask(Call::ReadReferral(id));
        }
        let fresh = self.created;
        if self.is_succeeded(&link) {
            return self.take_over(link);
        }
        if matches!(self.opportunity, Sight::Unread) && (both || hinted == Some(Side::Dynamics)) && !fresh {
            return Decision::Ask(Call::ReadRecord(record));
        }
        if (link.pending.is_some() || was_outrun) && matches!(self.referral, Sight::Unread) && !fresh {
            // Whatever becomes of the deal, what was announced is settled by what both sides show.
            return Decision::Ask(Call::ReadReferral(referral));
        }
        if matches!(self.opportunity, Sight::Absent) {
            return self.bury(link);
        }
        if let Some(decision) = self.take_claim(&link) {
            return decision;
        }
        if let Some(row) = self.opportunity.seen()
            && !link.is_taking_over()
            && row.flag(&self.policy.mapping.columns.sync) == (link.state == State::Paused)
        {
            return self.pause_or_resume(link);
        }
        if link.state == State::Paused {
            return self.rest(link);
        }
        if matches!(self.referral, Sight::Unread) && (both || hinted == Some(Side::PartnerCenter)) && !fresh {
            return Decision::Ask(Call::ReadReferral(referral));
        }
        if matches!(self.referral, Sight::Absent) {
            let text = format!(
                "referral {referral} is not to be seen in Partner Center any more; check the service user's role, or unlink the deal"
            );
            return self.park(link, Finding::new(Code::Deleted, text).on(Side::PartnerCenter));
        }
        if self.is_qualified(&link) {
            return self.take_over(link);
        }
        if link.is_taking_over() && !self.succession.is_filled() {
            return self.fill_in(link);
        }
        self.plan(link)
    }

    fn plan(&mut self, link: Link) -> Decision {
        let base = self.effective_base(&link);
        let edit = self.edit(&link);
        let picture = Picture {
            link: &link,
            base: base.as_ref(),
            referral: self.referral.seen().map(AsRef::as_ref),
            opportunity: self.opportunity.seen().map(AsRef::as_ref),
            microsoft: self.microsoft.seen().map(AsRef::as_ref),
            currencies: &self.currencies,
            taken: &self.taken,
            refused_rows: &self.refused_rows,
            tries_again: self.thorough,
            now: self.trigger.now,
            insists: self.trigger.hint.cause == Cause::Operator && self.trigger.order.is_none(),
        };
        let mut plan = match plan::plan_ordered(&picture, edit.as_ref(), self.policy) {
            Ok(plan) => plan,
            // Where rows do not point to currencies there is nobody to ask.
            Err(Need::Currency(code)) if self.known_currency(&code).is_some() => return self.plan(link),
            Err(need) => return Decision::Ask(self.ask(&link, need)),
        };
        if let Some(side) = base.as_ref().and_then(|base| self.owes_a_read(&link, &plan, base)) {
            let need = match side {
                Side::PartnerCenter => Need::Referral,
                Side::Dynamics => Need::Opportunity,
            };
            return Decision::Ask(self.ask(&link, need));
        }
        let ordered = edit.map(|(field, _)| field).filter(|_| plan.refusal.is_none());
        if let Some(refusal) = plan.refusal.take() {
            self.refuse(refusal);
        }
        self.leave_out_refused(&mut plan, base.as_ref());
        self.leave_out_unaccepted(&mut plan, &link, base.as_ref());
        let qualify = match self.qualification(&link, &mut plan) {
            Ok(qualify) => qualify,
            Err(call) => return Decision::Ask(call),
        };
        self.succeed(&link, &mut plan);
        if plan.invites && !plan.writes() && link.pending.is_none() {
            return self.invite(link);
        }
        if let Some(side) = self.policy.paused.filter(|_| base.is_none() && plan.holds_back()) {
            // The first base has to be whole: of half a one the other half would be taken for agreed.
            return self.hold(link, side);
        }
        let stale = self.is_stale(&link);
        // What has to wait for the acceptance follows it.
        let accepts = plan.merged.toward_referral.get(Field::Stage) != &Term::Nothing;
        let mut next = link.clone();
        next.base = Some(plan.merged.base.clone());
        next.shown = plan.shown.clone();
        next.referenced = plan.referenced;
        next.pending = None;
        next.due = self.due_after(&link);
        next.mapping_version = self.policy.mapping.version;
        next.money_digits = plan.money_digits;
        next.closing.clone_from(&plan.closing);
        next.asked.clone_from(&plan.asked);
        if let Some(microsoft) = self.microsoft.seen() {
            next.microsoft = Some(microsoft.id);
        }
        if let Some(referral) = self.referral.seen() {
            next.etags.referral.clone_from(&referral.etag);
            next.believe(referral);
        }
        if let Some(row) = self.opportunity.seen() {
            next.etags.opportunity.clone_from(&row.etag);
        }
        self.remember_rows(&mut next);
        next.solution_rows = plan::solutions::keys_after(&next.solution_rows, &plan.solutions);
        self.attend(&mut next, plan.attention.clone());
        if stale {
            next.due = Some(self.put_off(&link, "stale", None));
        }
        if accepts && plan.findings.iter().any(|finding| finding.code == Code::Deferred) {
            next.due = Some(self.follow_up());
        }
        // A closing that was taken back is no reason to look any more.
        next.due = next
            .due
            .take()
            .filter(|due| due.why != CLOSING || plan.closing.is_some());
        if let Some(closing) = &plan.closing {
            let at = closing.since + self.policy.close_delay;
            next.due = Some(next.due.take().filter(|due| due.at < at).unwrap_or_else(|| Due {
                at,
                attempts: 0,
                why: CLOSING.to_owned(),
            }));
        }
        if plan.holds_back() {
            self.put_back(&mut plan, &link, &mut next);
        }
        let open = self.left_open(&link, &plan);
        let base_moved = base.as_ref() != next.base.as_ref();
        let is_as_before = !plan.writes()
            && !base_moved
            && link.pending.is_none()
            && next.attention == link.attention
            && next.shown == link.shown
            && next.closing == link.closing
            && next.asked == link.asked
            && next.microsoft == link.microsoft
            && next.referenced == link.referenced
            && next.solution_rows == link.solution_rows;
        // Of a loser nothing is to be told any more, but both sides may have come to agree on what won over it.
        let owes_words = base != link.base || self.owes_late(&link);
        // An echo touches nothing, not even the ledger: a version that others moved costs one read with the next write.
        if is_as_before && next.due == link.due && !owes_words {
            self.forget_late();
            let outcome = if self.written { Outcome::Written } else { Outcome::Echo };
            self.findings.extend(plan.findings);
            return self.finish(outcome, Some(link.id));
        }
        if is_as_before && hold::goes_on(&link, &next) {
            plan.findings.clear();
        }
        let rules = self.rules(&link);
        let mut draft = Draft::new(Link { base, ..link }, next);
        let rows_landed = self.tell_announced(&mut draft);
        for side in open {
            draft.leave_open(side);
        }
        draft.note(plan.findings.clone());
        draft.note_changes(plan.merged.changes.clone());
        draft.will_write(&plan.merged.changes);
        let mut written = plan.merged.writes(Side::Dynamics);
        let wanted = written.find(|(field, _)| *field == Field::Solutions);
        if let (Some((_, wanted)), Some(row)) = (wanted, self.opportunity.seen())
            && rules.memo_shows_more(row, wanted)
        {
            draft.wait_for_memo();
        }
        plan::journal(draft.journal(), &plan.findings, self.trigger.now);
        draft.announce(Pending::Update {
            referral: plan.merged.toward_referral.clone(),
            opportunity: plan.merged.toward_opportunity.clone(),
            // Losers of an earlier announcement among them: this one takes its place.
            changes: draft.changes().to_vec(),
            ordered,
        });
        let (qualifies, patches) = (plan.qualifies(), !plan.referral.is_empty());
        for (fields, operations) in plan.referral {
            draft.patch_referral(fields, operations);
        }
        // One order for all: a closed row is opened, the solutions are written, the row itself tells of them, and only
        // then it is closed.
        let mut rows = plan.solutions;
        let is_all = plan.opportunity.is_empty();
        for request in plan.opportunity {
            match request {
                OpportunityRequest::Update(change) => {
                    if !is_of_state(&change) {
                        rows.drain(..).for_each(|request| draft.write_solution(request));
                    }
                    draft.update_opportunity(change, &self.policy.mapping);
                }
                OpportunityRequest::Close(close) => draft.close_opportunity(close),
                OpportunityRequest::Qualify => draft.qualify_lead(qualify),
            }
        }
        if rows_landed
            && is_all
            && rules.solution_table().is_some()
            && let Some(row) = self.opportunity.seen()
        {
            let there = rules.terms(row);
            // The run that wrote the rows died before it could tell the seller; one that has closed the row has told.
            if !there.stage().is_closed() {
                let mut change = RowChange::default();
                rules.empty_memo(row, there.get(Field::Solutions), &BTreeSet::new(), &mut change);
                draft.update_opportunity(change, &rules);
            }
        }
        if qualifies {
            // What became of the lead is looked up at once.
            draft.go_on(true);
            self.unread(&[Side::Dynamics]);
            if patches {
                // By then the referral is no longer what was read of it.
                self.unread(&[Side::PartnerCenter]);
            }
        }
        if plan.invites {
            // Once the deal is in step and visible, it is looked at again and Microsoft is asked.
            draft.go_on(true);
            self.thorough = true;
            self.unread(&BOTH);
        }
        if stale {
            draft.note(vec![Finding::new(
                Code::Stale,
                "Partner Center showed an older version than it announced; it is read again later",
            )]);
        }
        Decision::Act(draft)
    }

    /// What was read of these sides is not what they show any more.
    fn unread(&mut self, sides: &[Side]) {
        for side in sides {
            match side {
                Side::PartnerCenter => self.referral = Sight::Unread,
                Side::Dynamics => self.opportunity = Sight::Unread,
            }
        }
        self.reads.retain(|read| !sides.contains(read));
    }

    /// The side that has to be read before what both are found to say counts as agreed on: it may say something else by now.
    ///
    /// One that was not read, since where the two had agreed to differ a person may come to what the other no more says. And
    /// one that was read before the other one, and not again since: solutions that both are found to have added, or to
    /// have taken off, need not have been so at the same time. Were they taken for agreed on, whoever took theirs back
    /// in between would take back what a person on the other side has just done as well. Of other fields there is one value,
    /// which whoever takes theirs back has seen. What an opportunity has from its lead is not there to be read yet.
    fn owes_a_read(&self, link: &Link, plan: &plan::Plan, base: &Base) -> Option<Side> {
        let unread = match (&self.referral, &self.opportunity) {
            (Sight::Unread, _) => Some(Side::PartnerCenter),
            (_, Sight::Unread) => Some(Side::Dynamics),
            _ => None,
        };
        if let Some(side) = unread {
            return (!plan.merged.met.is_empty()).then_some(side);
        }
        let (first, last) = (self.reads.first()?, self.reads.last()?);
        let is_owed = first != last && !link.is_taking_over() && plan.merged.solutions_coincide(base);
        is_owed.then_some(*first)
    }

    /// The rows of the deal's solutions, if they were read, so that a deleted one leads back here.
    fn remember_rows(&self, link: &mut Link) {
        if let Some(row) = self.opportunity.seen() {
            let rules = self.rules(link);
            link.solution_rows = plan::solutions::keys(row, &rules);
        }
    }

    /// A write was announced and not committed, by a run that died or by this one, which had to start over: what landed of
    /// it is told now. Returns whether solutions toward Dynamics are among it.
    fn tell_announced(&self, draft: &mut Draft) -> bool {
        let mapping = &*self.rules(draft.before());
        let Link { base, pending, .. } = draft.before().clone();
        let is_known = |change: &Change| {
            let is_agreed = |base: &Base| base.side(change.side).get(change.field) == &change.new;
            let is_under_way = pending.as_ref().is_some_and(|pending| pending.is_for(change));
            !change.lost && (!is_under_way || base.as_ref().is_some_and(is_agreed))
        };
        let mut landed = draft.note_announced(|change| {
            // Whatever has become of it since.
            if self.landed.contains(change) || self.outrun.contains(change) || is_known(change) {
                return Some(change.clone());
            }
            self.seen_of(change, mapping)
        });
        let rows_landed = landed.iter().any(is_of_rows);
        let late = self.behind_others(draft.before(), mapping);
        landed.extend(draft.note_late(late));
        let findings: Vec<Finding> = landed
            .iter()
            .map(|change| merge::told(change, &change.new, mapping))
            .collect();
        plan::journal(draft.journal(), &findings, self.trigger.now);
        draft.note(findings);
        rows_landed
    }

    /// What its side shows of an announced change.
    fn seen_of(&self, change: &Change, mapping: &Mapping) -> Option<Change> {
        let now = match change.side {
            Side::PartnerCenter => Terms::from_referral(self.referral.seen()?),
            Side::Dynamics => mapping.terms(self.opportunity.seen()?),
        };
        let now = now.get(change.field);
        if now == &change.new {
            return Some(change.clone());
        }
        let part = plan::solutions::landed(&change.old, &change.new, now).filter(|_| is_of_rows(change));
        part.map(|new| Change { new, ..change.clone() })
    }

    /// The deal that is looked at, if there is one yet. What is committed may be a link that was kept for a record of it.
    fn deal(&self) -> Option<LinkId> {
        self.link.as_ref()?.as_ref().map(|link| link.id)
    }

    /// The sides that still show something else than the base says once the plan is carried out: edits that wait, and
    /// values that are not understood.
    fn left_open(&self, link: &Link, plan: &plan::Plan) -> Vec<Side> {
        let mapping = self.rules(link);
        let seen = [
            (
                Side::PartnerCenter,
                self.referral.seen().map(|seen| Terms::from_referral(seen)),
            ),
            (Side::Dynamics, self.opportunity.seen().map(|seen| mapping.terms(seen))),
        ];
        let is_open = |side: Side, now: &Terms| {
            let base = plan.merged.base.side(side);
            let is_written = |field| plan.merged.writes(side).any(|(written, _)| written == field);
            Field::ALL
                .into_iter()
                .any(|field| base.get(field) != now.get(field) && !is_written(field))
        };
        let seen = seen.into_iter().filter_map(|(side, now)| Some((side, now?)));
        seen.filter(|(side, now)| is_open(*side, now))
            .map(|(side, _)| side)
            .collect()
    }

    /// A field that the vendor refused in this run is not sent again in it; the base stays, so a later look tries again.
    fn leave_out_refused(&self, plan: &mut plan::Plan, base: Option<&Base>) {
        for (field, text) in &self.refused {
            for (fields, operations) in &mut plan.referral {
                fields.retain(|sent| sent != field);
                operations.retain(|operation| field_of(operation.path) != Some(*field));
            }
            plan.referral.retain(|(_, operations)| !operations.is_empty());
            plan.merged
                .changes
                .retain(|change| !(change.field == *field && change.side == Side::PartnerCenter));
            plan.merged.toward_referral.set(*field, Term::Nothing);
            if matches!(field, Field::Team | Field::Contacts) {
                // Whether a shared deal takes further people is not documented: the two agree to differ.
                let there = match (self.referral.seen(), base) {
                    (Some(referral), _) => Terms::from_referral(referral).get(*field).clone(),
                    (None, Some(base)) => base.referral.get(*field).clone(),
                    (None, None) => Term::Nothing,
                };
                plan.merged.base.referral.set(*field, there);
                plan.findings
                    .retain(|finding| (finding.field, finding.code) != (Some(*field), Code::Carried));
                let text = format!("{}; the people there stay as they are", text.clone());
                plan.findings
                    .push(Finding::field(Code::Frozen, *field, text).on(Side::PartnerCenter));
                continue;
            }
            for side in [Side::PartnerCenter, Side::Dynamics] {
                let term = base.map(|base| base.side(side).get(*field).clone()).unwrap_or_default();
                plan.merged.base.side_mut(side).set(*field, term);
            }
            let finding = Finding::field(Code::Refused, *field, text.clone()).on(Side::PartnerCenter);
            for list in [&mut plan.findings, &mut plan.attention] {
                list.retain(|finding| finding.field != Some(*field));
                list.push(finding.clone());
            }
        }
    }

    /// What was to travel with an acceptance that was refused, or behind it, waits: a referral that is not answered takes
    /// the answer only.
    fn leave_out_unaccepted(&self, plan: &mut plan::Plan, link: &Link, base: Option<&Base>) {
        let stage = self.referral.seen().map(|seen| Terms::from_referral(seen).stage());
        let is_refused = self.refused.iter().any(|(field, _)| *field == Field::Stage);
        if !is_refused || stage != Some(Stage::Unanswered) {
            return;
        }
        let mapping = self.rules(link);
        plan.referral.clear();
        plan.referenced = link.referenced;
        let left_out: Vec<Field> = plan
            .merged
            .writes(Side::PartnerCenter)
            .map(|(field, _)| field)
            .collect();
        for field in left_out {
            plan.merged.toward_referral.set(field, Term::Nothing);
            plan.merged.cleared.remove(&(Side::PartnerCenter, field));
            plan.merged
                .changes
                .retain(|change| (change.field, change.side) != (field, Side::PartnerCenter));
            for side in [Side::PartnerCenter, Side::Dynamics] {
                let term = base.map(|base| base.side(side).get(field).clone()).unwrap_or_default();
                plan.merged.base.side_mut(side).set(field, term);
            }
            plan.findings.retain(|finding| finding.field != Some(field));
            plan.findings.push(merge::deferred(field, mapping.label(field)));
        }
    }

    /// The base, with what an announced write has achieved: a side that shows the announced value, and was the side being
    /// written, counts as based on it. What the base counts already is not looked for again: a person may have changed it.
    ///
    /// A base that was made with another mapping says nothing about other columns: the two meet as if for the first time.
    fn effective_base(&self, link: &Link) -> Option<Base> {
        let mut base = link.base.clone().filter(|_| !self.is_remapped(link))?;
        let mapping = self.rules(link);
        let now = |side| match side {
            Side::PartnerCenter => self.referral.seen().map(|seen| Terms::from_referral(seen)),
            Side::Dynamics => self.opportunity.seen().map(|seen| mapping.terms(seen)),
        };
        let resumed = self.resumed(link).map(|(field, _)| field);
        // What is known to be written counts in the base already, whether this announcement was for it or an earlier one.
        let known = base.clone();
        let is_open = |change: &&Change| {
            Some(change.field) != resumed && known.side(change.side).get(change.field) != &change.new
        };
        let announced = match &link.pending {
            Some(Pending::Update { changes, .. }) => &changes[..],
            _ => &[],
        };
        let is_under_way = |change: &&Change| link.pending.as_ref().is_some_and(|pending| pending.is_for(change));
        for change in announced.iter().filter(is_under_way).filter(is_open) {
            if is_of_rows(change)
                && let Some(now) = now(Side::Dynamics)
                && let Some(landed) = plan::solutions::landed(&change.old, &change.new, now.get(Field::Solutions))
            {
                // Both sides agree to those that were written.
                agree(&mut base, Field::Solutions, &landed);
            }
            if now(change.side).is_some_and(|now| now.get(change.field) == &change.new) {
                // The side it came from agrees to it as well: who changes it there from now on, if only back to what it
                // was, has moved. Where this side holds less of it, the two still fit.
                agree(&mut base, change.field, &change.new);
            }
        }
        for change in link.late.iter().chain(self.late()).filter(is_open) {
            let Some(now) = now(change.side) else { continue };
            let now = now.get(change.field);
            if is_of_rows(change) {
                for side in BOTH {
                    let agreed = base.side(side).get(Field::Solutions);
                    let joined = plan::solutions::joined(agreed, (&change.old, &change.new), now);
                    base.side_mut(side).set(Field::Solutions, joined);
                }
            } else if now == &change.new {
                agree(&mut base, change.field, now);
            }
        }
        Some(base)
    }

    /// Gives up what was announced, but for what has landed of it: the link with a base that counts this, and the same
    /// without the announcement.
    fn settled(&self, link: Link) -> (Link, Link) {
        let base = self.effective_base(&link).or_else(|| link.base.clone());
        let before = Link { base, ..link };
        let settled = Link {
            pending: None,
            ..before.clone()
        };
        (before, settled)
    }

    /// Tells of an update that was announced and not committed, as far as both sides show it, before another announcement
    /// takes its place: whoever finishes that one could not tell of it any more.
    fn tell_first(&self, link: Link) -> Decision {
        if let (Sight::Unread, Some(id)) = (&self.referral, link.referral) {
            return Decision::Ask(Call::ReadReferral(id));
        }
        let (before, next) = self.settled(link);
        let mut draft = Draft::new(before, next);
        self.tell_announced(&mut draft);
        draft.go_on(true);
        Decision::Act(draft)
    }

    /// The rules for the deal's row in the CRM.
    fn rules(&self, link: &Link) -> std::sync::Arc<Mapping> {
        let mapping = &self.policy.mapping;
        link.record()
            .map_or_else(|| std::sync::Arc::clone(mapping), |record| mapping.of(record))
    }

    fn is_remapped(&self, link: &Link) -> bool {
        link.base.is_some() && link.mapping_version != self.policy.mapping.version
    }

    /// Whether a referral is shown in an older state than before, and may still be shown in its newest. What is shown again
    /// and again, each time after a wait, is what there is, whatever its date.
    fn is_outdated(&self, referral: &Referral) -> bool {
        let link = self.link.as_ref().and_then(Option::as_ref);
        let link = link.filter(|link| link.is_outdated(referral));
        link.is_some_and(|link| {
            let waited = link
                .due
                .as_ref()
                .filter(|due| due.why == OUTDATED && due.at <= self.trigger.now);
            let tries = waited.map_or(0, |due| due.attempts);
            usize::try_from(tries).is_ok_and(|tries| tries < WAITS.len())
        })
    }

    /// Whether the referral just read is older than the hint says it should be.
    fn is_stale(&self, link: &Link) -> bool {
        let (Subject::Referral(id), Some(changed_at), Some(referral)) =
            (self.subject, self.trigger.hint.changed_at, self.referral.seen())
        else {
            return false;
        };
        let Reading::Value(updated) = referral.updated_date_time else {
            return false;
        };
        let nothing_new = referral.etag.is_some() && referral.etag == link.etags.referral;
        id == referral.id && nothing_new && changed_at > updated + EVENT_SKEW
    }

    /// When the deal is due once this look is over: only a look at every record is what it was due for.
    fn due_after(&self, link: &Link) -> Option<Due> {
        if self.created {
            return Some(self.follow_up());
        }
        let saw_both = self.referral.seen().is_some() && self.opportunity.seen().is_some();
        let saw_microsofts = link.microsoft.is_none() || !matches!(self.microsoft, Sight::Unread);
        link.due.clone().filter(|_| !(saw_both && saw_microsofts))
    }

    fn ask(&self, link: &Link, need: Need) -> Call {
        match (need, link.referral, link.record()) {
            (Need::Referral, Some(id), _) => Call::ReadReferral(id),
            (Need::Opportunity, _, Some(id)) => Call::ReadRecord(id),
            (Need::Currency(code), _, _) => Call::FindCurrency(code),
            (Need::Referral | Need::Opportunity, _, _) => Call::FindLink(self.subject),
        }
    }

    fn attend(&self, link: &mut Link, attention: Vec<Finding>) {
        link.attention_since = if attention.is_empty() {
            None
        } else {
            link.attention_since.or(Some(self.trigger.now))
        };
        link.attention = attention;
    }

    /// The opportunity is gone: nothing is created again for it.
    fn bury(&mut self, link: Link) -> Decision {
        let text = format!(
            "the {} was deleted in Dynamics; the referral is left as it is and nothing is created again",
            self.rules(&link).row()
        );
        let finding = Finding::new(Code::Deleted, text).on(Side::Dynamics);
        let mut next = link.clone();
        next.state = State::Gone;
        next.pending = None;
        next.due = None;
        self.attend(&mut next, vec![finding.clone()]);
        let mut draft = Draft::new(link, next);
        self.tell_announced(&mut draft);
        draft.note(vec![finding]);
        Decision::Act(draft)
    }

    fn pause_or_resume(&mut self, link: Link) -> Decision {
        let paused = link.state == State::Active;
        let (state, status, text) = if paused {
            (
                State::Paused,
                SyncStatus::Paused,
                "synchronisation was switched off by the seller; both records stay as they are",
            )
        } else {
            (
                State::Active,
                SyncStatus::Waiting,
                "synchronisation was switched on again",
            )
        };
        let finding = Finding::new(Code::Paused, text).on(Side::Dynamics);
        let (before, mut next) = self.settled(link);
        next.state = state;
        // Should the run that catches up die before it does, the date sees to it.
        next.due = (!paused).then(|| self.follow_up());
        // Whoever was away has to have the grace anew.
        next.closing = None;
        next.shown.status = Some(status);
        if let Some(row) = self.opportunity.seen() {
            next.etags.opportunity.clone_from(&row.etag);
        }
        let mut draft = Draft::new(before, next);
        // What was typed meanwhile is in no base yet.
        draft.leave_open(Side::Dynamics);
        self.tell_announced(&mut draft);
        draft.note(vec![finding.clone()]);
        plan::journal(draft.journal(), &[finding], self.trigger.now);
        draft.announce(Pending::Update {
            referral: Terms::default(),
            opportunity: Terms::default(),
            changes: draft.changes().to_vec(),
            ordered: None,
        });
        draft.show_only(self.opportunity.seen().map(AsRef::as_ref), self.policy);
        if !paused {
            // What happened in between is caught up with, on both sides.
            draft.go_on(true);
            self.thorough = true;
            self.unread(&[Side::Dynamics]);
        }
        Decision::Act(draft)
    }

    /// A deal that its seller has switched off is left as it is. What was announced, such as that it goes on, is given up.
    fn rest(&mut self, link: Link) -> Decision {
        let is_announced = link.pending.is_some();
        if !is_announced && !self.owes_late(&link) {
            self.forget_late();
            return self.finish(Outcome::Ignored, Some(link.id));
        }
        let (before, mut next) = self.settled(link);
        next.due = next.due.filter(|_| !is_announced);
        let mut draft = Draft::new(before, next);
        self.tell_announced(&mut draft);
        Decision::Act(draft)
    }

    /// Lists a deal for a person, without writing to a vendor.
    fn park(&mut self, link: Link, finding: Finding) -> Decision {
        if link.attention == [finding.clone()] && link.due.is_none() {
            self.findings.push(finding);
            return self.finish(Outcome::Parked, Some(link.id));
        }
        let mut next = link.clone();
        next.due = None;
        self.attend(&mut next, vec![finding.clone()]);
        let mut draft = Draft::new(link, next);
        draft.note(vec![finding]);
        Decision::Act(draft)
    }

    /// A link that was kept for a record, once it has served its purpose: nobody looks at it or is asked about it any more.
    fn retired(&self, stub: &Link) -> Link {
        let mut retired = create::without_update(stub.clone());
        retired.due = None;
        self.attend(&mut retired, Vec::new());
        retired
    }

    fn finish(&mut self, outcome: Outcome, link: Option<LinkId>) -> Decision {
        // A link that was kept for a record which belongs elsewhere, or is gone, has served its purpose.
        if let Some(stub) = self.stub.take().filter(|stub| Some(stub.id) != link) {
            let retired = self.retired(&stub);
            if retired != stub {
                let mut draft = Draft::new(stub, retired);
                draft.without_pointers();
                return Decision::Act(draft);
            }
        }
        // A look at everything is what a date in the past was for, however it ended.
        if let Some(Some(current)) = &self.link
            && Some(current.id) == link
            && outcome != Outcome::Due
            && self.thorough
            && current.due.as_ref().is_some_and(|due| due.at <= self.trigger.now)
        {
            let mut next = current.clone();
            next.due = None;
            return Decision::Act(Draft::new(current.clone(), next));
        }
        let findings = std::mem::take(&mut self.findings);
        Decision::Finish(Report {
            outcome,
            findings,
            link,
            fault: self.fault.take(),
            again: false,
        })
    }

    // ---- answers -------------------------------------------------------------------------------------------------

    fn is_microsofts_half(&self, id: ReferralId) -> bool {
        let link = self.link.as_ref().and_then(|link| link.as_ref());
        link.is_some_and(|link| link.microsoft == Some(id))
    }

    fn learn(&mut self, asked: Call, answer: Answer) {
        match (asked, answer) {
            (Call::FindLink(_) | Call::FindEngagement(_) | Call::ReadLink(_), Answer::Failed(fault)) => {
                self.forget(fault);
            }
            // Microsoft's half may be hidden from us (403): that must not keep our own two sides apart.
            (Call::ReadReferral(id), Answer::Failed(fault))
                if fault.class == Class::Permanent && self.is_microsofts_half(id) =>
            {
                self.findings
                    .push(Finding::new(Code::Waiting, fault.message).on(Side::PartnerCenter));
                self.microsoft = Sight::Absent;
            }
            (_, Answer::Failed(fault)) => self.fail(fault, None),
            (Call::Wait(_), Answer::Done) => {
                self.waits += 1;
                self.look_again(None);
            }
            (Call::FindLink(_), Answer::Link(Some(found))) if self.gives_up && found.takes_part() => {
                self.link = Some(Some(*found));
                self.fail(outrun(), None);
            }
            (Call::FindLink(subject), Answer::Link(found)) => {
                let found = found.map(|link| *link);
                if self.link.is_none() && subject == self.subject {
                    self.link = Some(found)
                } else {
                    self.named = Some(found)
                }
            }
            (Call::FindEngagement(_), Answer::Link(found)) => self.engaged = Some(found.map(|link| *link)),
            (Call::ReadLink(_), Answer::Link(found)) => {
                self.looked_for_stub = true;
                let kept = found.filter(|link| link.base.is_none() && link.pending.is_none());
                self.stub = kept.map(|link| *link).or(self.stub.take());
            }
            (Call::ReadReferral(id), Answer::Referral(found)) => {
                if self.is_microsofts_half(id) {
                    self.microsoft = Sight::read(found)
                } else if found.as_deref().is_some_and(|found| self.is_outdated(found)) {
                    self.fail(outdated(id), None);
                } else {
                    self.reads.push(Side::PartnerCenter);
                    self.referral = Sight::read(found)
                }
            }
            (Call::ReadRecord(Record::Lead(_)), Answer::Row(found)) if self.is_beside_a_lead() => {
                self.succession.lead = Sight::read(found);
            }
            (Call::ReadRecord(_), Answer::Row(found)) => {
                self.reads.push(Side::Dynamics);
                self.opportunity = Sight::read(found);
            }
            (Call::FindOffspring(_), Answer::Rows(rows)) => self.succession.found(&rows),
            (Call::SearchReferrals(_), Answer::Referrals(found)) => self.searched = Some(found),
            (Call::FindCurrency(code), Answer::Rows(rows)) => {
                let known = rows.first().and_then(|row| {
                    let id = row.guid("transactioncurrencyid").map(crate::ids::CurrencyId::new)?;
                    let digits = row
                        .integer("currencyprecision")
                        .and_then(|digits| u32::try_from(digits).ok());
                    Some(KnownCurrency {
                        id,
                        digits: digits.unwrap_or(2),
                    })
                });
                self.currencies.insert(code, known);
            }
            (Call::FindAccount { .. }, Answer::Rows(rows)) => {
                let own = self.referral.seen().map(|seen| self.own_account(seen).uuid());
                self.account = one(&rows, "accountid", own, AccountId::new);
                self.candidates = self.names_of(&rows);
            }
            (Call::FindAccountsOf { domain }, Answer::Rows(mut rows)) => {
                self.asked_domain = true;
                let country = self
                    .referral
                    .seen()
                    .map(|seen| seen.customer_profile.address.country.clone());
                let country = country.unwrap_or_default();
                let is_cut = rows.len() >= MOST_FOUND;
                if !is_cut {
                    rows.retain(|row| self.policy.mapping.is_at_home(row, &domain, &country));
                }
                // The one that is meant may be among those that were not listed.
                self.account = if is_cut {
                    Match::Several
                } else {
                    one(&rows, "accountid", None, AccountId::new)
                };
                self.candidates = self.names_of(&rows);
            }
            (Call::FindContact { .. }, Answer::Rows(rows)) => {
                let own = self.referral.seen().and_then(|seen| {
                    let person = seen.customer_profile.team.first()?;
                    Some(self.policy.tenant.contact_for(&person.email).uuid())
                });
                self.contact = one(&rows, "contactid", own, ContactId::new);
            }
            (asked, answer) => self.fail(mismatch(&asked, &answer), None),
        }
    }

    /// Accounts as people know them.
    fn names_of(&self, rows: &[Row]) -> Vec<String> {
        let column = &self.policy.mapping.account().name;
        let name = |row: &Row| {
            let id = row.text("accountid").unwrap_or_default();
            format!("{} ({id})", row.text(column).unwrap_or_default())
        };
        rows.iter().map(name).collect()
    }

    fn intended(&mut self, mut draft: Box<Draft>, answer: Answer) {
        match answer {
            Answer::Done => {
                self.has_announced_order |= self.trigger.order.is_some() && draft.announces_an_order();
                if draft.before().writer != self.trigger.writer {
                    self.overtaken.extend(draft.untold().cloned());
                }
                draft.intended(&self.trigger, self.policy);
                self.phase = Phase::Acting(draft);
            }
            Answer::Outrun => self.restart(None),
            // Perhaps another run has just linked the very same two: look again before calling it a clash.
            Answer::Taken(..) if self.restarts == 0 => self.restart(None),
            Answer::Taken(pointer, by) => self.taken(&draft, pointer, by),
            Answer::Failed(fault) => self.forget(fault),
            other => self.forget(mismatch(&"Intend", &other)),
        }
    }

    fn committed(&mut self, draft: Box<Draft>, answer: Answer) {
        match answer {
            Answer::Done if draft.lets_go() => self.restart(None),
            Answer::Done => {
                self.written |= std::mem::take(&mut self.owes_record) || draft.has_written();
                // What was kept for a record is not what there is to be told of.
                let is_beside = self.deal().is_some_and(|deal| deal != draft.before().id);
                if !is_beside {
                    self.landed.clear();
                    self.begun.clear();
                    self.forget_late();
                }
                if draft.findings().iter().any(|finding| finding.code == Code::Ordered) {
                    // An edit is carried out once; the looks that follow it in this run are like any other.
                    self.trigger.order = self.trigger.order.take().filter(|order| order.edit().is_none());
                }
                self.findings.extend(draft.findings().to_vec());
                let link = draft.committed();
                self.succession = Succession::default();
                self.holds_intent = link.pending.is_some();
                let parked = !link.attention.is_empty();
                if !is_beside || draft.goes_on() || !self.is_outrun() {
                    self.link = Some(Some(link.clone()));
                }
                if draft.goes_on() {
                    return;
                }
                let outcome = if self.written {
                    Outcome::Written
                } else if draft.is_planned() {
                    Outcome::Planned
                } else if link.due.is_some() {
                    Outcome::Due
                } else if parked {
                    Outcome::Parked
                } else {
                    Outcome::Noted
                };
                match self.finish(outcome, Some(link.id)) {
                    Decision::Finish(report) => self.end(report),
                    Decision::Act(draft) => self.begin(draft),
                    Decision::Ask(_) => {}
                }
            }
            Answer::Outrun => {
                self.remember_written(&draft);
                self.restart(None);
            }
            // Perhaps another run has just linked the very same two: look again before calling it a clash.
            Answer::Taken(..) if self.restarts == 0 => self.restart(None),
            Answer::Taken(pointer, by) => self.taken(&draft, pointer, by),
            Answer::Failed(fault) => self.forget(fault),
            other => self.forget(mismatch(&"Commit", &other)),
        }
    }

    /// A record of this deal belongs to another link: nothing was written. If no more than the record is known there, it is
    /// let go; else a person has to look.
    fn taken(&mut self, draft: &Draft, pointer: Pointer, by: LinkId) {
        if let Some(stub) = self.stub.take_if(|stub| stub.id == by && stub.is_kept_for_a_record()) {
            let retired = self.retired(&stub);
            let mut draft = Draft::new(stub, retired);
            draft.let_go(pointer);
            self.phase = Phase::Committing(Box::new(draft));
            return;
        }
        let before = self.as_stored(draft.before().clone());
        let text = format!("{pointer:?} belongs to another deal (link {by}) already; unlink one of them");
        let mut next = before.clone();
        next.due = None;
        self.identify(&mut next);
        let finding = Finding::new(Code::AlreadyLinked, text);
        self.attend(&mut next, vec![finding.clone()]);
        // Only what identifies the record stays; the pointers are the other deal's.
        let mut parked = Draft::new(before, next);
        parked.note(vec![finding]);
        parked.without_pointers();
        self.phase = Phase::Committing(Box::new(parked));
    }

    fn acted(&mut self, mut draft: Box<Draft>, answer: Answer) {
        if matches!(&answer, Answer::Failed(fault) if fault.in_doubt) {
            draft.doubt();
        }
        match answer {
            Answer::Stale | Answer::Gone => self.start_over(&draft),
            Answer::Exists if draft.key_in_question().is_some() => {
                // Ours, from a run that died, if the next read shows it; else it stands on a row of another deal.
                let key = draft.key_in_question();
                let is_news = self.in_question != key || key.is_some_and(|key| self.taken.insert(key));
                self.in_question = key;
                self.restarts += u32::from(!is_news || self.taken.len() >= MOST_TAKEN);
                self.remember_written(&draft);
                self.look_again(Some(draft.known_link()));
            }
            Answer::Failed(fault)
                if fault.class == Class::Permanent && !fault.in_doubt && draft.solution_in_question().is_some() =>
            {
                if let Some(solution) = draft.solution_in_question() {
                    let finding = plan::solutions::refused(&solution, &fault.message);
                    draft.leave_out_row(&solution, finding.clone());
                    self.refused_rows.insert(solution, finding);
                }
                self.phase = Phase::Acting(draft);
            }
            Answer::Failed(fault) => match (fault.class, draft.fields_of_last()) {
                (Class::Conflict, _) => self.start_over(&draft),
                (Class::Permanent, Some(fields)) if !fields.is_empty() => {
                    // Find out which of the fields it is: each is sent by itself, then the refused ones are left out.
                    match <[Field; 1]>::try_from(fields) {
                        Ok([field]) => self
                            .refused
                            .push((field, format!("Partner Center refused the change: {}", fault.message))),
                        Err(_) => {
                            draft.split_last();
                            self.phase = Phase::Acting(draft);
                            return;
                        }
                    }
                    self.start_over(&draft);
                }
                // Whether it was carried out shows best before somebody replaces it.
                _ if fault.in_doubt && !self.was_in_doubt && draft.is_update() => {
                    self.was_in_doubt = true;
                    self.start_over(&draft);
                }
                _ => self.failed_write(&mut draft, fault),
            },
            answer => {
                if draft.achieved(answer) {
                    if let Some(referral) = draft.take_created() {
                        if referral.is_microsofts() {
                            self.microsoft = Sight::Seen(Box::new(referral));
                        } else {
                            self.referral = Sight::Seen(Box::new(referral));
                        }
                    }
                    self.phase = Phase::Acting(draft);
                } else {
                    // The vendor took it and did not show what became of it: for a creation that is a doubt.
                    let fault = Fault {
                        class: Class::Transient { after: None },
                        code: "no_representation",
                        message: "the vendor did not show the record it created".to_owned(),
                        in_doubt: true,
                    };
                    self.failed_write(&mut draft, fault);
                }
            }
        }
    }

    /// A write failed: what the ledger says of it depends on whether it may have happened.
    fn failed_write(&mut self, draft: &mut Draft, fault: Fault) {
        // Should another run take the place of this one before it has said so.
        self.remember_written(draft);
        let announced = draft.announced_link();
        let posting = matches!(announced.pending, Some(Pending::CreateReferral { .. }));
        let mut next = announced.clone();
        let permanent = fault.class == Class::Permanent && !fault.in_doubt;
        let code = if permanent {
            Code::Refused
        } else if fault.in_doubt && posting {
            Code::InDoubt
        } else {
            Code::Waiting
        };
        let finding = if permanent && draft.is_move_in_question() {
            plan::refused_move(&fault.message)
        } else {
            Finding::new(code, fault.message.clone())
        };
        if permanent && matches!(announced.pending, Some(Pending::Update { .. })) {
            let mut next = draft.refused_link();
            let mut attention = next.attention.clone();
            attention.push(finding.clone());
            self.attend(&mut next, attention);
            self.fault = Some(fault);
            let mut refused = Draft::new(announced, next);
            draft.say_landed(&mut refused);
            refused.note(vec![finding]);
            self.phase = Phase::Committing(Box::new(refused));
            return;
        }
        if permanent && matches!(announced.pending, Some(Pending::Part | Pending::Join)) {
            // The row stays as it is, and so does the link; whoever gave the order is told.
            next.pending = None;
        }
        if permanent && draft.was_creating_opportunity() {
            // There is no row, and these terms will never make one. The pointers stand, so the announcement has to.
            let terms = Terms::default();
            next.pending = Some(match &announced.pending {
                Some(Pending::CreateLead { .. }) => Pending::CreateLead { terms },
                _ => Pending::CreateOpportunity { terms },
            });
        }
        if let (
            true,
            Some(Pending::CreateReferral {
                half: Half::Microsofts, ..
            }),
        ) = (permanent, &announced.pending)
        {
            next.asked = Some(Asked {
                help: self.wanted_help(),
                refused: Some(fault.message.clone()),
            });
        }
        if posting && !fault.in_doubt {
            // The vendor said no, so nothing happened: there is nothing to search for. Our own half starts over from the
            // row; Microsoft's is posted again later, unless it never will be taken.
            next.pending = match &announced.pending {
                Some(Pending::CreateReferral {
                    half: Half::Microsofts,
                    terms,
                    ..
                }) if !permanent => Some(Pending::CreateReferral {
                    half: Half::Microsofts,
                    terms: terms.clone(),
                    since: Timestamp::UNIX_EPOCH,
                    negatives: create::SEARCHES,
                }),
                _ => None,
            };
        }
        let is_refused_invitation = permanent && next.asked.as_ref().is_some_and(|asked| asked.refused.is_some());
        next.due = match (permanent, posting && fault.in_doubt) {
            // The next look shows it to the seller.
            (true, _) => is_refused_invitation.then(|| self.follow_up()),
            (false, true) => Some(Due {
                at: self.trigger.now + self.policy.settle,
                attempts: 0,
                why: "in_doubt".to_owned(),
            }),
            (false, false) => Some(self.put_off(&announced, fault.code, fault.class_wait())),
        };
        if permanent {
            self.attend(&mut next, vec![finding.clone()]);
        }
        self.fault = Some(fault);
        let mut noted = Draft::new(announced, next);
        noted.note(vec![finding]);
        self.phase = Phase::Committing(Box::new(noted));
    }

    /// Starts over behind writes of which this run knows the answers.
    fn start_over(&mut self, draft: &Draft) {
        self.remember_written(draft);
        self.restart(Some(draft.known_link()));
    }

    /// What was written and is not committed is told with the next commit.
    fn remember_written(&mut self, draft: &Draft) {
        self.landed.extend(draft.landed());
        self.begun.extend_from_slice(draft.begun());
        self.owes_record |= draft.has_written();
    }

    /// Starts over with what the ledger says now; gives up for the moment after a few times.
    fn restart(&mut self, link: Option<Link>) {
        self.restarts += 1;
        self.look_again(link);
    }

    /// Starts over because of what this run has learnt. As long as it knows more every time it comes to an end.
    fn look_again(&mut self, link: Option<Link>) {
        self.unread(&BOTH);
        self.microsoft = Sight::Unread;
        self.searched = None;
        self.named = None;
        self.engaged = None;
        self.holds_intent = false;
        self.succession = Succession::default();
        self.created = false;
        if link.is_none() {
            // Whoever was faster tells of what this run had announced, as far as it saw it. What was written behind its look
            // is for this one to tell.
            self.outrun.append(&mut self.landed);
            self.overtaken.append(&mut self.begun);
            self.owes_record &= self.is_outrun();
        }
        if self.restarts > RESTARTS {
            if link.is_some() {
                return self.fail(outrun(), link);
            }
            let has_tried = std::mem::replace(&mut self.gives_up, true);
            // Without the newest version nothing can be written down. It is worth one more call only where there is something.
            if has_tried || !self.is_outrun() {
                return self.forget(outrun());
            }
        }
        if link.is_none() {
            // Microsoft's half may have led to ours: it leads there again, and is not forgotten over it.
            self.subject = self.trigger.hint.subject;
        }
        self.link = link.map(Some);
        self.phase = Phase::Looking;
    }

    /// The help that the opportunity wants, as far as it was seen.
    fn wanted_help(&self) -> Option<Help> {
        let row = self.opportunity.seen()?;
        self.policy.mapping.particulars(row).help
    }

    /// A call failed and nothing is under way: the deal is looked at again later.
    fn fail(&mut self, fault: Fault, link: Option<Link>) {
        let known = link.or_else(|| self.link.clone().flatten());
        let known = || self.as_stored(known.unwrap_or_else(|| Link::new(self.subject.own_link())));
        let before = self.kept_for_claimant().unwrap_or_else(known);
        let mut next = before.clone();
        let finding = match fault.class {
            Class::Permanent => Finding::new(Code::Refused, fault.message.clone()),
            Class::Transient { .. } | Class::Conflict | Class::Fatal => {
                Finding::new(Code::Waiting, fault.message.clone())
            }
        };
        if fault.class == Class::Permanent {
            next.due = None;
            self.attend(&mut next, vec![finding.clone()]);
        } else {
            next.due = Some(self.put_off(&before, fault.code, fault.class_wait()));
        }
        self.identify(&mut next);
        self.fault = Some(fault);
        let mut draft = Draft::new(before, next);
        draft.note(vec![finding]);
        draft.without_pointers();
        self.phase = Phase::Committing(Box::new(draft));
    }

    /// The ledger does not answer: nothing can be remembered, so the hint has to come again.
    fn forget(&mut self, fault: Fault) {
        self.phase = Phase::Finished(Box::new(Report {
            outcome: Outcome::Due,
            findings: vec![Finding::new(Code::Waiting, fault.message.clone())],
            link: self.link.as_ref().and_then(|link| link.as_ref()).map(|link| link.id),
            fault: Some(fault),
            again: true,
        }));
    }

    /// Writes down which record a new link is about.
    fn identify(&self, link: &mut Link) {
        match self.subject {
            Subject::Referral(id) if link.referral.is_none() && link.microsoft.is_none() => link.referral = Some(id),
            Subject::Opportunity(id) if link.opportunity.is_none() => link.opportunity = Some(id),
            // What is kept for an opportunity that claims the place of a lead is about the opportunity.
            Subject::Lead(id) if link.record().is_none() => link.lead = Some(id),
            Subject::Referral(_) | Subject::Opportunity(_) | Subject::Lead(_) => {}
        }
    }

    fn put_off(&self, link: &Link, why: &str, floor: Option<SignedDuration>) -> Due {
        // A look before the wait is over says nothing of what the wait is for.
        let waits = |due: &&Due| due.why == OUTDATED && why == OUTDATED && due.at > self.trigger.now;
        if let Some(due) = link.due.as_ref().filter(waits) {
            return due.clone();
        }
        // How long a referral may be shown older than it is has nothing to do with what was waited for before.
        let counts = |due: &&Due| why != OUTDATED || due.why == OUTDATED;
        let attempts = link.due.as_ref().filter(counts).map_or(0, |due| due.attempts);
        let step = usize::try_from(attempts).unwrap_or(usize::MAX);
        let wait = WAITS.get(step).copied().unwrap_or(LONGEST_WAIT);
        let wait = self
            .policy
            .wait(SignedDuration::from_secs(wait))
            .max(floor.unwrap_or_default());
        Due {
            at: self.trigger.now + wait,
            attempts: attempts.saturating_add(1),
            why: why.to_owned(),
        }
    }
}

impl Fault {
    /// The wait the vendor asked for.
    const fn class_wait(&self) -> Option<SignedDuration> {
        match self.class {
            Class::Transient { after } => after,
            Class::Conflict | Class::Permanent => None,
            // Nothing helps before an operator acted; asking more often only fills the log.
            Class::Fatal => Some(SignedDuration::from_secs(300)),
        }
    }
}

/// Both sides say this.
fn agree(base: &mut Base, field: Field, term: &Term) {
    for side in BOTH {
        base.side_mut(side).set(field, term.clone());
    }
}

/// Whether a change is made of rows, which are written one by one.
fn is_of_rows(change: &Change) -> bool {
    (change.field, change.side) == (Field::Solutions, Side::Dynamics)
}

/// The one row that fits. Among several it is the one that we created for the same customer.
fn one<T>(rows: &[Row], key: &str, own: Option<Uuid>, id: impl Fn(Uuid) -> T) -> Match<T> {
    let mut ids = rows.iter().filter_map(|row| row.guid(key));
    match (rows, own.filter(|own| ids.any(|id| id == *own))) {
        (_, Some(own)) => Match::One(id(own)),
        ([], None) => Match::None,
        ([row], None) => row.guid(key).map_or(Match::None, |guid| Match::One(id(guid))),
        (_, None) => Match::Several,
    }
}

/// The fault of a read that shows what is known to have been changed since: taken for news, it would undo the change.
fn outdated(id: ReferralId) -> Fault {
    Fault {
        class: Class::Transient { after: None },
        code: OUTDATED,
        message: format!("Partner Center showed an older version of referral {id} than before; it is read again later"),
        in_doubt: false,
    }
}

/// The fault of a run that others kept outrunning.
fn outrun() -> Fault {
    Fault {
        class: Class::Transient { after: None },
        code: "outrun",
        message: "the records kept changing while they were brought into step".to_owned(),
        in_doubt: false,
    }
}

fn mismatch(asked: &dyn std::fmt::Debug, answer: &Answer) -> Fault {
    Fault {
        class: Class::Permanent,
        code: "unexpected_answer",
        message: format!("the driver answered {answer:?} to {asked:?}")
            .chars()
            .take(200)
            .collect(),
        in_doubt: false,
    }
}
