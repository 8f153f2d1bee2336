//! One intention from its announcement to its commit: the link before and after, the calls in between, what to say.
//!
//! Guarantee: what is committed was announced first, and a call is made once per announcement.

use std::collections::{BTreeSet, VecDeque};

use uuid::Uuid;

use super::call::{Answer, Call, Close, Qualify, Table};
use super::{INTENT, INTENT_LEASE, Trigger};
use crate::deal::{Field, Side, Term, Terms};
use crate::finding::Finding;
use crate::ids::{ReferralId, SolutionId};
use crate::link::{
    Asked, AuditEntry, Base, Change, Due, Etags, Half, Link, LinkWrite, Outcome, Pending, Pointer, Shown, State,
};
use crate::mapping::Mapping;
use crate::mapping::solutions::activity;
use crate::opportunity::{Row, RowChange};
use crate::plan::{self, SolutionRequest};
use crate::policy::Policy;
use crate::referral::{NewReferral, PatchOperation, Reference, Referral};
use crate::stage::Stage;

/// A call that changes a vendor's record.
#[derive(Clone, Debug)]
enum Effect {
    PatchReferral {
        fields: Vec<Field>,
        operations: Vec<PatchOperation>,
    },
    UpdateOpportunity(RowChange),
    CloseOpportunity(Close),
    QualifyLead(Qualify),
    CreateRow {
        table: Table,
        id: Uuid,
        change: RowChange,
    },
    CreateReferral {
        half: Half,
        body: Box<NewReferral>,
    },
    Solution(SolutionRequest),
}

impl Effect {
    /// The side whose records it changes.
    const fn toward(&self) -> Side {
        match self {
            Self::PatchReferral { .. } | Self::CreateReferral { .. } => Side::PartnerCenter,
            Self::UpdateOpportunity(_)
            | Self::CloseOpportunity(_)
            | Self::QualifyLead(_)
            | Self::CreateRow { .. }
            | Self::Solution(_) => Side::Dynamics,
        }
    }
}

/// What to do next under an announcement.
pub(super) enum Step {
    /// Make this call.
    Call(Call),
    /// All calls are made.
    Finished,
    /// The version to stand on is not known any more: look again.
    Again,
}

#[derive(Clone, Debug)]
pub(super) struct Draft {
    before: Link,
    after: Link,
    announced: Option<Pending>,
    effects: VecDeque<Effect>,
    last: Option<Effect>,
    findings: Vec<Finding>,
    changes: Vec<Change>,
    created: Option<Referral>,
    /// Sides that were written to, as their answers say.
    written: Vec<Side>,
    /// A call may have been carried out without an answer.
    is_in_doubt: bool,
    /// The row shows the trail and what else is ours on it as they will be.
    has_shown: bool,
    goes_on: bool,
    pointers: bool,
    open: Vec<Side>,
    /// Fields that the plan writes.
    planned_fields: BTreeSet<(Side, Field)>,
    /// Those of them that are still to be written.
    unwritten: BTreeSet<(Side, Field)>,
    planned: bool,
    /// Sides whose record stands at [`Stage::Active`] for now, on its way to another stage.
    halfway: Vec<Side>,
    /// What is left of an earlier announcement of which a part has landed: of rows.
    left: Vec<Change>,
    /// A row of it was refused for good: once the other rows are written, the deal is looked at again without it.
    lacks_rows: bool,
    /// The row itself shows solutions that are to go: they are written with it, not with the last of theirs.
    waits_for_memo: bool,
    /// The records are released with the commit.
    parts: bool,
    /// What was written behind the look of others is told with it.
    tells_late: bool,
    /// One pointer is, for another link to claim.
    lets_go: Option<Pointer>,
}

impl Draft {
    /// From what the ledger holds to what it shall hold.
    pub(super) const fn new(before: Link, after: Link) -> Self {
        Self {
            before,
            after,
            announced: None,
            effects: VecDeque::new(),
            last: None,
            findings: Vec::new(),
            changes: Vec::new(),
            created: None,
            written: Vec::new(),
            is_in_doubt: false,
            has_shown: false,
            goes_on: false,
            pointers: true,
            open: Vec::new(),
            planned_fields: BTreeSet::new(),
            unwritten: BTreeSet::new(),
            planned: false,
            halfway: Vec::new(),
            left: Vec::new(),
            lacks_rows: false,
            waits_for_memo: false,
            parts: false,
            tells_late: false,
            lets_go: None,
        }
    }

    pub(super) const fn before(&self) -> &Link {
        &self.before
    }

    pub(super) const fn link(&self) -> &Link {
        &self.after
    }

    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(super) const fn journal(&mut self) -> &mut Vec<String> {
        &mut self.after.journal
    }

    pub(super) fn note(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
    }

    /// What an earlier announcement has had to say already is said once.
    pub(super) fn note_changes(&mut self, changes: Vec<Change>) {
        for change in changes {
            if !self.changes.contains(&change) {
                self.changes.push(change);
            }
        }
    }

    /// A write that was announced and not committed: what landed of it, as `landed_part` tells, is recorded now, and losers
    /// are recorded whatever became of them. Returns what landed.
    pub(super) fn note_announced(&mut self, landed_part: impl Fn(&Change) -> Option<Change>) -> Vec<Change> {
        let Some(Pending::Update { changes, .. }) = &self.before.pending else {
            return Vec::new();
        };
        let mut landed = Vec::new();
        for change in changes {
            match landed_part(change) {
                Some(part) => {
                    if part != *change {
                        let old = part.new.clone();
                        self.left.push(Change { old, ..change.clone() });
                    }
                    self.changes.push(part.clone());
                    landed.push(part);
                }
                None if change.lost => self.changes.push(change.clone()),
                None => {}
            }
        }
        landed
    }

    /// What was written behind the look of others, unless it is told here or announced again. Returns what is told.
    pub(super) fn note_late(&mut self, written: Vec<Change>) -> Vec<Change> {
        self.tells_late = true;
        self.after.late.clear();
        let mut told = Vec::new();
        for late in written {
            let is_same =
                |change: &Change| (change.side, change.field, &change.new) == (late.side, late.field, &late.new);
            if !self.announced_before().iter().chain(&self.changes).any(is_same) {
                self.changes.push(late.clone());
                told.push(late);
            }
        }
        told
    }

    /// What is, or may be, written behind the look of others is left to a look at both sides, if this is none.
    pub(super) fn keep_late(&mut self, late: Vec<Change>, known: Vec<Change>) {
        if self.tells_late {
            return;
        }
        self.note_changes(known);
        for change in late {
            if self.after.takes_part() && !self.after.late.contains(&change) {
                self.after.late.push(change);
            }
        }
    }

    /// What the write that was announced before is not known to have done.
    pub(super) fn untold(&self) -> impl Iterator<Item = &Change> {
        let is_in_part = |change: &Change| {
            let ends_there =
                |left: &Change| (left.side, left.field, &left.new) == (change.side, change.field, &change.new);
            self.left.iter().any(ends_there)
        };
        let announced = self.announced_before().iter();
        let whole = announced.filter(move |change| !self.changes.contains(change) && !is_in_part(change));
        whole.chain(&self.left)
    }

    /// What is announced, once anything of it is written, or may be.
    pub(super) fn begun(&self) -> &[Change] {
        if self.has_written() || self.is_in_doubt {
            &self.changes
        } else {
            &[]
        }
    }

    /// Nobody knows whether the last call was carried out.
    pub(super) const fn doubt(&mut self) {
        self.is_in_doubt = true;
    }

    fn announced_before(&self) -> &[Change] {
        match &self.before.pending {
            Some(Pending::Update { changes, .. }) => changes,
            _ => &[],
        }
    }

    /// What the ledger says while the calls are under way.
    pub(super) fn announce(&mut self, pending: Pending) {
        self.announced = Some(pending);
    }

    /// These changes are what the calls are made for.
    pub(super) fn will_write(&mut self, changes: &[Change]) {
        self.planned_fields = changes.iter().map(|change| (change.side, change.field)).collect();
        self.unwritten.clone_from(&self.planned_fields);
    }

    /// Whether an update is announced: values that a look at both records shows.
    pub(super) const fn is_update(&self) -> bool {
        matches!(self.announced, Some(Pending::Update { .. }))
    }

    /// What was written of what is announced.
    pub(super) fn landed(&self) -> impl Iterator<Item = Change> {
        let changes = self.changes.iter().cloned();
        changes.filter(|change| {
            let key = (change.side, change.field);
            self.planned_fields.contains(&key) && !self.unwritten.contains(&key)
        })
    }

    /// What both sides agree on so far: fields that are still to be written, and fields of which something is still to
    /// be said, stay as they were.
    fn base_so_far(&self) -> Option<Base> {
        let (before, mut base) = (self.before.base.clone()?, self.after.base.clone()?);
        let is_unwritten = |field| self.unwritten.iter().any(|(_, unwritten)| *unwritten == field);
        // What an earlier announcement has written of a field says nothing of what this plan has to say of it.
        let is_planned = |field| self.planned_fields.iter().any(|(_, planned)| *planned == field);
        let is_written = |field| is_planned(field) && !is_unwritten(field);
        let is_said = |field| self.findings.iter().any(|finding| finding.field == Some(field));
        for field in Field::ALL {
            if is_unwritten(field) || is_said(field) && !is_written(field) {
                for side in [Side::PartnerCenter, Side::Dynamics] {
                    base.side_mut(side).set(field, before.side(side).get(field).clone());
                }
            }
        }
        Some(base)
    }

    /// The link when a vendor has refused a call for good: what landed before it counts, nothing is under way any more,
    /// and the referral's version is forgotten, since it may show anything; the row's tells whether it was changed since.
    pub(super) fn refused_link(&self) -> Link {
        let told = if self.has_shown { &self.after } else { &self.before };
        Link {
            base: self.base_so_far(),
            pending: None,
            etags: Etags {
                opportunity: self.after.etags.opportunity.clone(),
                ..Etags::default()
            },
            newest: self.after.newest.clone(),
            due: None,
            attention: self.after.attention.clone(),
            shown: told.shown.clone(),
            journal: told.journal.clone(),
            ..self.before.clone()
        }
    }

    /// The solution of the row that the last call was to write.
    pub(super) fn solution_in_question(&self) -> Option<SolutionId> {
        match &self.last {
            Some(Effect::Solution(request)) => Some(request.solution().clone()),
            _ => None,
        }
    }

    /// Whether the last call was to close, reopen or qualify the row.
    pub(super) fn is_move_in_question(&self) -> bool {
        match &self.last {
            Some(Effect::CloseOpportunity(_) | Effect::QualifyLead(_)) => true,
            Some(Effect::UpdateOpportunity(change)) => is_of_state(change),
            _ => false,
        }
    }

    /// The last call, on a row, was refused for good: the rows behind it are written all the same. An opportunity that is
    /// being created is finished without the row, and what is missing is found by every later look at the referral; of
    /// one that exists, what our columns show has to be worked out anew.
    pub(super) fn leave_out_row(&mut self, solution: &SolutionId, finding: Finding) {
        if !matches!(self.announced, Some(Pending::CreateOpportunity { .. })) {
            self.lacks_rows = true;
            return;
        }
        if let Some(base) = &mut self.after.base {
            for side in [Side::PartnerCenter, Side::Dynamics] {
                let left = plan::solutions::without(base.side(side).get(Field::Solutions), [solution]);
                base.side_mut(side).set(Field::Solutions, left);
            }
        }
        self.after.etags.referral = None;
        self.after.attention.push(finding.clone());
        self.findings.push(finding);
    }

    /// Whether a row of it was refused.
    pub(super) const fn lacks_rows(&self) -> bool {
        self.lacks_rows
    }

    /// The memo column of the row shows solutions that are to go: they are gone once that is written.
    pub(super) const fn wait_for_memo(&mut self) {
        self.waits_for_memo = true;
    }

    /// What there is to say of it: what landed, and what a person has to settle.
    pub(super) fn say_landed(&self, refused: &mut Self) {
        let is_unwritten = |field| self.unwritten.iter().any(|(_, unwritten)| *unwritten == field);
        // What an earlier announcement of the run has written is told, whatever this one was for.
        let is_under_way = |change: &Change| self.announced.as_ref().is_some_and(|pending| pending.is_for(change));
        let is_landed = |change: &&Change| !(is_unwritten(change.field) && is_under_way(change));
        let landed = self.changes.iter().filter(is_landed);
        refused.note_changes(landed.cloned().collect());
        let has_landed = |field| refused.changes.iter().any(|change| Some(change.field) == field);
        let said = self
            .findings
            .iter()
            .filter(|said| said.code.needs_attention() || has_landed(said.field));
        let said = said.cloned().collect();
        refused.note(said);
    }

    /// Fields that a call carries, and whether the stage is among them.
    fn fields_of(effect: &Effect) -> Option<(Side, Option<&[Field]>, bool)> {
        match effect {
            Effect::PatchReferral { fields, .. } => {
                Some((Side::PartnerCenter, Some(fields), fields.contains(&Field::Stage)))
            }
            Effect::UpdateOpportunity(change) => Some((Side::Dynamics, None, is_of_state(change))),
            Effect::CloseOpportunity(_) | Effect::QualifyLead(_) => Some((Side::Dynamics, None, true)),
            Effect::Solution(_) => Some((Side::Dynamics, Some(&[Field::Solutions]), false)),
            Effect::CreateRow { .. } | Effect::CreateReferral { .. } => None,
        }
    }

    /// Strikes off what a call has written. A stage, or solutions, that take several calls are written with the last.
    fn strike_off(&mut self, effect: &Effect) {
        let Some((side, fields, moves)) = Self::fields_of(effect) else {
            return;
        };
        let goes_on = self
            .effects
            .iter()
            .filter_map(Self::fields_of)
            .any(|(other, _, moves)| other == side && moves);
        if moves && goes_on {
            self.halfway.push(side);
        }
        let is_row = |effect: &Effect| matches!(effect, Effect::Solution(_));
        let more_rows = self.effects.iter().any(is_row) || is_row(effect) && self.waits_for_memo;
        self.unwritten.retain(|(written, field)| {
            let is_in_call = match (field, fields) {
                (Field::Solutions, _) if side == Side::Dynamics && more_rows => false,
                (Field::Stage, _) => moves && !goes_on,
                (field, Some(fields)) => fields.contains(field),
                (_, None) => !moves,
            };
            *written != side || !is_in_call
        });
    }

    /// Nothing is written to a vendor; only what would have been is told.
    pub(super) const fn only_plan(&mut self) {
        self.planned = true;
    }

    pub(super) const fn is_planned(&self) -> bool {
        self.planned
    }

    /// Decides again after the commit, with what was learnt.
    pub(super) const fn go_on(&mut self, on: bool) {
        self.goes_on = on;
    }

    pub(super) const fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// The link is kept without claiming its records.
    pub(super) const fn without_pointers(&mut self) {
        self.pointers = false;
    }

    /// This side keeps something that is not in the base. Its version would prove it unchanged since the base, which it
    /// is not, so the version is not remembered: the next write toward it reads it first.
    pub(super) fn leave_open(&mut self, side: Side) {
        self.open.push(side);
    }

    /// With the commit any link may claim this pointer; the run then starts over for the one that was refused it.
    pub(super) const fn let_go(&mut self, pointer: Pointer) {
        self.lets_go = Some(pointer);
        self.without_pointers();
    }

    pub(super) const fn lets_go(&self) -> bool {
        self.lets_go.is_some()
    }

    /// With the commit the link lets go of its records.
    pub(super) const fn part(&mut self) {
        self.parts = true;
    }

    /// The version of the row that the calls stand on.
    pub(super) fn stand_on(&mut self, row: &Row) {
        self.after.etags.opportunity.clone_from(&row.etag);
    }

    /// The link holds its records again, or others: what was shown of the former pair is not known any more.
    pub(super) fn rejoin(&mut self) {
        if self.after.state == State::Parted {
            self.after.shown = Shown::default();
        }
        self.after.state = State::Active;
        let Link {
            referral, opportunity, ..
        } = self.after;
        self.after
            .parted
            .retain(|parted| (parted.referral, parted.opportunity) != (referral, opportunity));
    }

    pub(super) fn writes_to_a_vendor(&self) -> bool {
        !self.effects.is_empty()
    }

    pub(super) fn writes_toward(&self, side: Side) -> bool {
        self.effects.iter().any(|effect| effect.toward() == side)
    }

    pub(super) const fn has_written(&self) -> bool {
        !self.written.is_empty()
    }

    pub(super) fn take_created(&mut self) -> Option<Referral> {
        self.created.take()
    }

    pub(super) fn patch_referral(&mut self, fields: Vec<Field>, operations: Vec<PatchOperation>) {
        self.effects.push_back(Effect::PatchReferral { fields, operations });
    }

    /// Adds an update; the trail goes with it unless it is a change of state, which travels alone.
    pub(super) fn update_opportunity(&mut self, mut change: RowChange, mapping: &Mapping) {
        if !is_of_state(&change) {
            plan::show_journal(&mut change, &self.after.journal, mapping);
        }
        self.effects.push_back(Effect::UpdateOpportunity(change));
    }

    pub(super) fn close_opportunity(&mut self, close: Close) {
        self.effects.push_back(Effect::CloseOpportunity(close));
    }

    pub(super) fn write_solution(&mut self, request: SolutionRequest) {
        self.effects.push_back(Effect::Solution(request));
    }

    /// The key of the solution row that the last call was to create, where its being there already is no answer: only the
    /// rows of an opportunity that is itself created under a key of ours must be our own.
    pub(super) fn key_in_question(&self) -> Option<Uuid> {
        match (&self.last, &self.announced) {
            (_, Some(Pending::CreateOpportunity { .. })) => None,
            (Some(Effect::Solution(SolutionRequest::Add { key, .. })), _) => Some(*key),
            _ => None,
        }
    }

    pub(super) fn qualify_lead(&mut self, qualify: Qualify) {
        self.effects.push_back(Effect::QualifyLead(qualify));
    }

    pub(super) fn create_row(&mut self, table: Table, id: Uuid, change: RowChange) {
        self.effects.push_back(Effect::CreateRow { table, id, change });
    }

    pub(super) fn create_referral(&mut self, half: Half, body: NewReferral) {
        self.effects.push_back(Effect::CreateReferral {
            half,
            body: Box::new(body),
        });
    }

    /// Brings only our own columns up to date.
    pub(super) fn show_only(&mut self, row: Option<&Row>, policy: &Policy) {
        let policy = &policy.of(self.after.record());
        let mut change = RowChange::default();
        plan::show(&mut change, &self.after.shown, &self.before.shown, policy);
        if self.after.shown.status != self.before.shown.status
            && policy.display_checkmark
            && let Some(row) = row
        {
            let mark = plan::mark_of(self.after.shown.status, policy);
            policy.mapping.write(
                Field::Name,
                policy.mapping.terms(row).get(Field::Name),
                mark,
                None,
                &mut change,
            );
        }
        if !change.is_empty() {
            self.update_opportunity(change, &policy.mapping);
        }
    }

    /// Tells the seller what is missing: state, mark and trail, even when the state itself is not new.
    pub(super) fn show_findings(&mut self, row: &Row, policy: &Policy) {
        self.show_only(Some(row), policy);
        if self.effects.is_empty() {
            self.update_opportunity(RowChange::default(), &policy.mapping);
        }
    }

    /// What became of the help that the seller wants.
    pub(super) fn asked(&mut self, asked: Asked) {
        self.after.asked = Some(asked);
    }

    /// Microsoft's half is this one.
    pub(super) const fn link_microsoft(&mut self, id: ReferralId) {
        self.after.microsoft = Some(id);
    }

    /// What both sides agree on, what comes next, and when to look again.
    pub(super) fn settle(&mut self, base: Base, pending: Option<Pending>, due: Due, mapping_version: u32) {
        self.after.mapping_version = mapping_version;
        self.after.base = Some(base);
        self.after.pending = pending;
        self.after.due = Some(due);
        self.after.attention = self
            .findings
            .iter()
            .filter(|finding| finding.code.needs_attention())
            .cloned()
            .collect();
    }

    fn new_pointers(&self) -> Vec<Pointer> {
        if !self.pointers {
            return Vec::new();
        }
        // Until both records are linked, or linked in place of others, the pointers may not have been written yet; writing
        // them again is harmless.
        let known = if self.before.base.is_some() && !self.before.is_taking_over() {
            self.before.pointers()
        } else {
            Vec::new()
        };
        self.after
            .pointers()
            .into_iter()
            .filter(|pointer| !known.contains(pointer))
            .collect()
    }

    /// The announcement.
    pub(super) fn intent(&self, trigger: &Trigger, policy: &Policy) -> LinkWrite {
        let mut link = self.before.clone();
        link.version += 1;
        link.writer.clone_from(&trigger.writer);
        link.opportunity = self.after.opportunity;
        link.lead = self.after.lead;
        link.referral = self.after.referral;
        link.engagement = self.after.engagement;
        link.microsoft = self.after.microsoft;
        link.solution_rows.clone_from(&self.after.solution_rows);
        link.base = self.base_so_far().or(link.base);
        if self.tells_late {
            link.late.clear();
        }
        // Whoever takes over must not take an older state for news.
        link.newest.clone_from(&self.after.newest);
        link.pending.clone_from(&self.announced);
        if matches!(self.announced, Some(Pending::Join)) {
            // From the announcement on they belong together again: whoever looks next finishes it.
            link.state = self.after.state;
        }
        let (wait, why) = match &self.announced {
            Some(Pending::CreateReferral { .. }) => (policy.settle, "in_doubt"),
            Some(
                Pending::CreateOpportunity { .. }
                | Pending::CreateLead { .. }
                | Pending::Update { .. }
                | Pending::Join
                | Pending::Part,
            )
            | None => (policy.wait(INTENT_LEASE), INTENT),
        };
        let attempts = self.before.due.as_ref().map_or(0, |due| due.attempts);
        link.due = Some(Due {
            at: trigger.now + wait,
            attempts,
            why: why.to_owned(),
        });
        LinkWrite {
            link,
            pointers: self.new_pointers(),
            freed: Vec::new(),
            audit: Vec::new(),
        }
    }

    /// Whether it carries out an order.
    pub(super) const fn announces_an_order(&self) -> bool {
        matches!(
            self.announced,
            Some(Pending::Update { ordered: Some(_), .. } | Pending::Part | Pending::Join)
        )
    }

    /// The announcement is written.
    pub(super) fn intended(&mut self, trigger: &Trigger, policy: &Policy) {
        self.before = self.intent(trigger, policy).link;
    }

    /// The link as the ledger holds it now.
    pub(super) fn announced_link(&self) -> Link {
        Link {
            newest: self.after.newest.clone(),
            ..self.before.clone()
        }
    }

    /// The same, but that both sides agree to what this run knows to have written: it saw the answer, whatever a person
    /// has made of it since. The announcement stands until the next commit.
    pub(super) fn known_link(&self) -> Link {
        let is_update = matches!(self.before.pending, Some(Pending::Update { .. }));
        let base = self
            .base_so_far()
            .filter(|_| is_update && !self.planned_fields.is_empty());
        let mut link = self.announced_link();
        link.base = base.or(link.base);
        // The versions that were known do not show that.
        for side in &self.written {
            link.etags.forget(*side);
        }
        let is_lead = link.is_lead();
        if let Some(base) = &mut link.base {
            // It is accepted, or open again, because this run has made it so: nobody can lose by what is still to come.
            for side in &self.halfway {
                // A lead that is open again waits for its answer.
                let stage = match side {
                    Side::Dynamics if is_lead => Stage::Unanswered,
                    Side::Dynamics | Side::PartnerCenter => Stage::Active,
                };
                base.side_mut(*side).set(Field::Stage, Term::stage(stage, None));
            }
        }
        link
    }

    pub(super) fn next_call(&mut self) -> Step {
        if self.lacks_rows && !matches!(self.effects.front(), Some(Effect::Solution(_))) {
            return Step::Again;
        }
        let Some(effect) = self.effects.front() else {
            return Step::Finished;
        };
        let call = match effect {
            Effect::PatchReferral { operations, .. } => {
                self.after
                    .referral
                    .zip(self.after.etags.referral.clone())
                    .map(|(id, etag)| Call::PatchReferral {
                        id,
                        etag,
                        operations: operations.clone(),
                    })
            }
            Effect::UpdateOpportunity(change) => {
                self.after
                    .record()
                    .zip(self.after.etags.opportunity.clone())
                    .map(|(id, etag)| Call::UpdateRecord {
                        id,
                        etag,
                        change: change.clone(),
                    })
            }
            Effect::CloseOpportunity(close) => self.after.opportunity.map(|id| Call::CloseOpportunity {
                id,
                close: close.clone(),
            }),
            Effect::QualifyLead(qualify) => self.after.lead.map(|id| Call::QualifyLead { id, qualify: *qualify }),
            Effect::CreateRow { table, id, change } => Some(Call::CreateRow {
                table: *table,
                id: *id,
                change: change.clone(),
            }),
            Effect::CreateReferral { body, .. } => Some(Call::CreateReferral(body.clone())),
            Effect::Solution(SolutionRequest::Add { key, change, .. }) => Some(Call::AddSolution {
                key: *key,
                change: change.clone(),
            }),
            Effect::Solution(
                request @ (SolutionRequest::Activate { key, etag, .. } | SolutionRequest::Deactivate { key, etag, .. }),
            ) => etag.clone().map(|etag| Call::UpdateSolution {
                key: *key,
                etag,
                change: activity(request.adds()),
            }),
        };
        self.last = self.effects.pop_front();
        call.map_or(Step::Again, Step::Call)
    }

    /// Files what became of the last call; false when the vendor did not say what is needed to go on.
    pub(super) fn achieved(&mut self, answer: Answer) -> bool {
        let Some(last) = self.last.take() else { return false };
        self.strike_off(&last);
        let side = last.toward();
        match (last, answer) {
            (Effect::PatchReferral { .. }, Answer::Referral(referral)) => {
                if let Some(referral) = &referral {
                    self.after.believe(referral);
                }
                self.after.etags.referral = referral.and_then(|referral| referral.etag);
            }
            (Effect::UpdateOpportunity(change), Answer::Row(row)) => {
                self.has_shown |= !is_of_state(&change);
                self.after.etags.opportunity = row.and_then(|row| row.etag);
            }
            (
                Effect::CreateRow {
                    table: Table::Opportunity | Table::Lead,
                    ..
                },
                Answer::Row(row),
            ) => {
                self.after.etags.opportunity = row.and_then(|row| row.etag);
            }
            (Effect::CloseOpportunity(_) | Effect::QualifyLead(_), Answer::Done) => self.after.etags.opportunity = None,
            (Effect::Solution(_), Answer::Row(_)) => {}
            (Effect::Solution(_), Answer::Exists) => return true,
            (
                Effect::CreateRow {
                    table: Table::Account | Table::Contact,
                    ..
                },
                Answer::Row(_),
            ) => {}
            (Effect::CreateRow { table, .. }, Answer::Exists) => {
                if matches!(table, Table::Opportunity | Table::Lead) {
                    self.after.etags.opportunity = None;
                }
                return true;
            }
            (Effect::CreateReferral { half: Half::Own, .. }, Answer::Referral(Some(referral))) => {
                self.adopt(&referral);
                self.created = Some(*referral);
            }
            (
                Effect::CreateReferral {
                    half: Half::Microsofts, ..
                },
                Answer::Referral(Some(referral)),
            ) => {
                self.after.microsoft = Some(referral.id);
                self.created = Some(*referral);
            }
            _ => return false,
        }
        self.written.push(side);
        true
    }

    /// The partner's own referral is this one.
    pub(super) fn adopt(&mut self, referral: &Referral) {
        self.after.referral = Some(referral.id);
        self.after.engagement = referral.engagement_id;
        self.after.etags.referral.clone_from(&referral.etag);
        self.after.saw(referral);
        self.after.referenced =
            matches!(referral.reference(), Reference::Opportunity(id) if Some(id) == self.after.opportunity);
    }

    /// A referral that was found may have been edited, or closed, since it was posted: its version proves the base only if
    /// it still says what was agreed.
    pub(super) fn trust_if_agreed(&mut self, referral: &Referral) {
        let base = self.after.base.as_ref();
        if base.is_none_or(|base| base.referral != Terms::from_referral(referral)) {
            self.after.etags.referral = None;
        }
    }

    /// Whether the last call was to create the opportunity, or the lead, itself.
    pub(super) fn was_creating_opportunity(&self) -> bool {
        matches!(
            &self.last,
            Some(Effect::CreateRow {
                table: Table::Opportunity | Table::Lead,
                ..
            })
        )
    }

    /// Fields that the last call carried, when it was a PATCH.
    pub(super) fn fields_of_last(&self) -> Option<Vec<Field>> {
        match &self.last {
            Some(Effect::PatchReferral { fields, .. }) => Some(fields.clone()),
            _ => None,
        }
    }

    /// Sends the fields of the last PATCH one by one; false when there is nothing to take apart.
    pub(super) fn split_last(&mut self) -> bool {
        let Some(Effect::PatchReferral { fields, operations }) = self.last.take() else {
            return false;
        };
        if fields.len() < 2 {
            return false;
        }
        let mut parts: Vec<(Option<Field>, Vec<PatchOperation>)> = Vec::new();
        for operation in operations {
            let field = field_of(operation.path);
            match parts.iter_mut().find(|(part, _)| *part == field) {
                Some((_, operations)) => operations.push(operation),
                None => parts.push((field, vec![operation])),
            }
        }
        for (field, operations) in parts.into_iter().rev() {
            self.effects.push_front(Effect::PatchReferral {
                fields: field.into_iter().collect(),
                operations,
            });
        }
        true
    }

    /// What was achieved.
    pub(super) fn commit(&self, trigger: &Trigger, owes_record: bool) -> LinkWrite {
        let has_written = owes_record || self.has_written();
        let mut link = self.after.clone();
        link.version = self.before.version + 1;
        link.writer.clone_from(&trigger.writer);
        link.attention_since = if link.attention.is_empty() {
            None
        } else {
            link.attention_since.or(Some(trigger.now))
        };
        let outcome = if has_written {
            Outcome::Written
        } else if self.planned {
            Outcome::Planned
        } else if link.due.is_some() {
            Outcome::Due
        } else if !link.attention.is_empty() {
            Outcome::Parked
        } else {
            Outcome::Noted
        };
        let entry = AuditEntry {
            link: link.id,
            version: link.version,
            at: trigger.now,
            cause: trigger.hint.cause,
            trace: trigger.trace.clone(),
            referral: link.referral,
            opportunity: link.opportunity,
            lead: link.lead,
            findings: self.findings.clone(),
            changes: self.changes.clone(),
            etags: link.etags.clone(),
            requests: Vec::new(),
            outcome,
        };
        self.forget_open(&mut link);
        // A look that found nothing to say leaves no record, even if it cleared a date.
        let silent = entry.findings.is_empty() && entry.changes.is_empty() && !has_written;
        let audit = if silent { Vec::new() } else { vec![entry] };
        // A row may have been moved to another deal, which has its pointer by now; nobody asks whose it was.
        let claims = self.before.pointers().into_iter().filter(|pointer| pointer.is_claim());
        let freed = if self.parts {
            claims.collect()
        } else {
            self.lets_go.into_iter().collect()
        };
        LinkWrite {
            pointers: if self.parts { Vec::new() } else { self.new_pointers() },
            freed,
            link: if self.parts { link.apart() } else { link },
            audit,
        }
    }

    /// The link once the commit is written.
    pub(super) fn committed(&self) -> Link {
        let mut link = self.after.clone();
        link.version = self.before.version + 1;
        self.forget_open(&mut link);
        if self.parts { link.apart() } else { link }
    }

    fn forget_open(&self, link: &mut Link) {
        for side in &self.open {
            link.etags.forget(*side);
        }
    }
}

/// Whether it changes the state of a row, which travels alone.
pub(super) fn is_of_state(change: &RowChange) -> bool {
    change.cells().any(|(column, _)| column == "statecode")
}

/// The field that a path of a PATCH belongs to.
pub(super) fn field_of(path: &str) -> Option<Field> {
    match path {
        "/details/dealValue" | "/details/currency" => Some(Field::Value),
        "/details/closingDateTime" => Some(Field::CloseDate),
        "/details/notes" => Some(Field::Notes),
        "/details/requirements/solutions" => Some(Field::Solutions),
        "/salesStage" => Some(Field::SalesStage),
        "/campaignId" => Some(Field::Campaign),
        "/referralProgram" => Some(Field::Program),
        "/team" | "/team/-" => Some(Field::Team),
        "/customerProfile/team" | "/customerProfile/team/-" => Some(Field::Contacts),
        "/consent/consentToShareReferralWithMicrosoftSellers" => Some(Field::Visibility),
        "/status" | "/substatus" | "/statusReason" => Some(Field::Stage),
        _ => None,
    }
}
