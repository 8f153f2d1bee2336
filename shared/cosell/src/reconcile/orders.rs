//! An operator's orders within a run: edits, joining two records, parting them.
//!
//! Knows: in which state of a deal an order can be taken, and how one that a crash cut off is finished. Refuses to know:
//! what an edit comes to ([`crate::order`]). Guarantees: an order is taken or refused as a whole; one that was announced
//! is finished by whoever comes next, unless a person has edited the field meanwhile or a newer order sets it; repeating
//! an order does nothing; records that were parted are joined by an order alone.

use super::call::{Call, Search};
use super::draft::Draft;
use super::{Decision, Reconcile, Report, Sight};
use crate::deal::{Field, Side, Term, Terms};
use crate::finding::{Code, Finding};
use crate::hint::Subject;
use crate::ids::{OpportunityId, Record, ReferralId};
use crate::link::{Change, Link, Outcome, Pending, State, SyncStatus};
use crate::opportunity::{Cell, Row, RowChange};
use crate::order::Order;
use crate::plan;
use crate::referral::Referral;

impl Reconcile<'_> {
    /// What comes first because of an order; none when the look goes on as any other.
    pub(super) fn take(&mut self, order: &Order) -> Option<Decision> {
        match order {
            Order::Accept | Order::Decline { .. } | Order::Restore { .. } => self.take_edit(),
            Order::Link { referral, opportunity } => self.join(*referral, *opportunity),
            Order::Unlink => Some(self.take_parting()),
        }
    }

    /// Leaves the order out of this run, and says why.
    pub(super) fn refuse(&mut self, refusal: Finding) {
        // Only whoever gave it wants to know; what a crash left behind is simply not finished.
        if self.trigger.order.take().is_some() {
            self.findings.push(refusal);
        }
    }

    /// Ends the run because its order makes no sense. Nothing was looked at, so a date of the deal stays.
    fn refuse_whole(&mut self, text: String) -> Decision {
        self.refuse(Finding::new(Code::OrderRefused, text));
        let link = self.link.clone().flatten();
        Decision::Finish(Report {
            outcome: Outcome::Ignored,
            findings: std::mem::take(&mut self.findings),
            link: link.map(|link| link.id),
            fault: None,
            again: false,
        })
    }

    // ---- edits ---------------------------------------------------------------------------------------------------

    /// Whether the deal is in a state in which a field can be set.
    fn take_edit(&mut self) -> Option<Decision> {
        let subject = self.subject;
        let text = match self.link.clone().flatten() {
            None => format!("{subject} belongs to no deal; check the id, or run resync on it"),
            Some(link) if link.has_parted(subject) || link.state == State::Parted => {
                format!("{subject} was unlinked by an operator; link it first")
            }
            Some(link) if link.state == State::Gone => {
                format!(
                    "{subject} belongs to a deal whose opportunity was deleted in Dynamics; nothing can be set there"
                )
            }
            Some(link) if link.state == State::Paused => format!(
                "{subject} belongs to a deal whose synchronisation was switched off by the seller; switch it on, then repeat the order"
            ),
            Some(link) if link.is_lead() => of_a_lead(subject),
            Some(link) if link.is_being_created() => is_being_created(subject),
            Some(Link {
                pending: Some(Pending::Part),
                ..
            }) => format!("{subject} is just being unlinked"),
            Some(link) if link.referral.is_none() || link.opportunity.is_none() => {
                format!("{subject} is not shared yet; see what it lacks with show, or link it to a record that exists")
            }
            Some(_) => return None,
        };
        Some(self.refuse_whole(text))
    }

    /// The field that is to be set in this look, and to what.
    pub(super) fn edit(&mut self, link: &Link) -> Option<(Field, Term)> {
        let is_refused = |field: Field| self.refused.iter().any(|(refused, _)| *refused == field);
        let resumed = self.resumed(link);
        let ordered = self.trigger.order.as_ref().and_then(Order::edit);
        if let Some((field, _)) = ordered.as_ref().filter(|(field, _)| is_refused(*field)) {
            let said = self.refused.iter().find(|(refused, _)| refused == field);
            let text = said.map(|(_, text)| text.clone()).unwrap_or_default();
            self.refuse(Finding::field(Code::OrderRefused, *field, text));
            return None;
        }
        // What a crash cut off is finished, unless there is a newer order.
        if let Some((field, value)) = resumed.filter(|(field, _)| !is_refused(*field)) {
            let is_other = ordered.is_some_and(|ordered| ordered != (field, value.clone()));
            if !is_other {
                return Some((field, value));
            }
        }
        let order = self.trigger.order.clone()?;
        let (Some(referral), Some(row)) = (self.referral.seen(), self.opportunity.seen()) else {
            return None;
        };
        let (referral, row) = (Terms::from_referral(referral), self.policy.mapping.terms(row));
        if self.has_announced_order && order.is_in_force(&referral, &row) {
            let field = order.edit().map(|(field, _)| field);
            self.trigger.order = None;
            self.findings.push(Finding {
                field,
                ..carried_out_by_another()
            });
            return None;
        }
        if let Some(side) = self.is_replaced(&order, &referral, &row) {
            let field = order.edit().map(|(field, _)| field);
            self.trigger.order = None;
            let text = format!("the order was carried out in {side}, and what it set was changed there again since");
            self.findings.push(Finding {
                field,
                ..Finding::new(Code::Ordered, text).on(side)
            });
            return None;
        }
        if let Some(refusal) = order.refusal(&referral, &row) {
            self.refuse(refusal);
            return None;
        }
        order.edit()
    }

    /// The side on which this run has written what is ordered, and on which a person has replaced it since: they saw it.
    fn is_replaced(&self, order: &Order, referral: &Terms, row: &Terms) -> Option<Side> {
        let (field, _) = order.edit().filter(|_| self.has_announced_order)?;
        let is_written = |change: &&Change| change.field == field;
        let mut written = self.landed.iter().chain(&self.outrun).filter(is_written);
        let replaced = written.find(|change| {
            let now = match change.side {
                Side::PartnerCenter => referral.get(field),
                Side::Dynamics => row.get(field),
            };
            ![&change.old, &change.new].contains(&now)
        });
        replaced.map(|change| change.side)
    }

    /// The edit of an order that was announced and not committed, while nobody has touched the field since.
    pub(super) fn resumed(&self, link: &Link) -> Option<(Field, Term)> {
        let Some(Pending::Update {
            changes,
            ordered: Some(field),
            ..
        }) = &link.pending
        else {
            return None;
        };
        let is_untouched = |change: &&Change| {
            let now = match change.side {
                Side::PartnerCenter => self.referral.seen().map(|seen| Terms::from_referral(seen)),
                Side::Dynamics => self.opportunity.seen().map(|seen| self.policy.mapping.terms(seen)),
            };
            now.is_some_and(|now| [&change.old, &change.new].contains(&now.get(*field)))
        };
        // Before its own changes there may be those of earlier announcements, which are still to be told.
        let last = |side: Side| {
            let of_side = |change: &&Change| (change.side, change.field) == (side, *field);
            changes.iter().rfind(of_side)
        };
        let sides = [Side::PartnerCenter, Side::Dynamics].into_iter();
        let own: Vec<_> = sides.filter_map(last).collect();
        // On both sides it is the same, or one had it already.
        let to = changes.iter().rfind(|change| change.field == *field)?;
        own.iter().all(is_untouched).then(|| (*field, to.new.clone()))
    }

    // ---- joining -------------------------------------------------------------------------------------------------

    /// Makes one deal of two records that exist; none once they are one.
    fn join(&mut self, referral: ReferralId, opportunity: OpportunityId) -> Option<Decision> {
        let found = self.link.clone().flatten();
        if let Some(link) = &found
            && (link.referral, link.opportunity) == (Some(referral), Some(opportunity))
            && link.state != State::Parted
        {
            return self.join_again(link.clone());
        }
        let of_referral = Subject::Referral(referral);
        if let Some(link) = found.as_ref().filter(|link| !link.has_parted(of_referral)) {
            if link.microsoft == Some(referral) {
                return Some(self.refuse_whole(format!(
                    "referral {referral} is Microsoft's half of a deal; link the partner's own referral"
                )));
            }
            if let Some(other) = link.record() {
                let cure = if link.is_lead() {
                    "qualify it, and the opportunity that comes of it takes its place"
                } else {
                    "unlink them first"
                };
                return Some(self.refuse_whole(format!("referral {referral} belongs to {other} already; {cure}")));
            }
        }
        let Some(named) = self.named.clone() else {
            return Some(Decision::Ask(Call::FindLink(Subject::Opportunity(opportunity))));
        };
        let of_opportunity = Subject::Opportunity(opportunity);
        if let Some(link) = named.as_ref().filter(|link| !link.has_parted(of_opportunity)) {
            if let Some(other) = link.referral {
                return Some(self.refuse_whole(format!(
                    "opportunity {opportunity} belongs to referral {other} already; unlink them first"
                )));
            }
            if link.pending.is_some() {
                return Some(self.refuse_whole(format!(
                    "opportunity {opportunity} is just being shared; wait until it is, or until show tells why it is not"
                )));
            }
        }
        let seen = match &self.referral {
            Sight::Unread => return Some(Decision::Ask(Call::ReadReferral(referral))),
            Sight::Absent => {
                let text =
                    format!("Partner Center shows no referral {referral}; check the id and the service user's role");
                return Some(self.refuse_whole(text));
            }
            Sight::Seen(seen) => seen.clone(),
        };
        if seen.is_microsofts() {
            return Some(self.refuse_whole(format!(
                "referral {referral} is another organisation's; link the partner's own referral of the engagement"
            )));
        }
        let row = match &self.opportunity {
            Sight::Unread => return Some(Decision::Ask(Call::ReadRecord(Record::Opportunity(opportunity)))),
            Sight::Absent => {
                return Some(self.refuse_whole(format!("Dynamics has no opportunity {opportunity}; check the id")));
            }
            Sight::Seen(row) => row.clone(),
        };
        if let Some(refusal) = self.is_shut() {
            return Some(refusal);
        }
        let parted = found.iter().flat_map(|link| &link.parted);
        let half = parted
            .filter(|parted| parted.referral == Some(referral))
            .find_map(|parted| parted.microsoft);
        if let (None, Sight::Unread, Some(engagement)) = (half, &self.microsoft, seen.engagement_id) {
            // No event announces a half that has been there all along.
            let Some(found) = self.searched.take() else {
                return Some(Decision::Ask(Call::SearchReferrals(Search::Engagement(engagement))));
            };
            let half = found.into_iter().find(Referral::is_microsofts);
            self.microsoft = Sight::read(half.map(Box::new));
        }
        // The item of a link belongs to the record it is named after; of both, the opportunity's may hold its pointer.
        let is_own = |link: &Link| [referral.into(), opportunity.into()].contains(&link.id);
        let kept = match (named.filter(is_own), found.clone().filter(is_own)) {
            (Some(named), found) => {
                let is_stub = |link: &Link| link.id != named.id && link.state != State::Parted;
                self.stub = found.filter(is_stub);
                Some(named)
            }
            (None, Some(found)) => Some(found),
            (None, None) if !self.looked_for_stub && found.is_some() => {
                return Some(Decision::Ask(Call::ReadLink(referral.into())));
            }
            (None, None) => self.stub.take(),
        };
        let decision = self.link_existing(&seen, opportunity, kept);
        let Decision::Act(mut draft) = decision else {
            return Some(decision);
        };
        draft.rejoin();
        if let Some(half) = half {
            draft.link_microsoft(half);
        }
        draft.note(vec![Finding::new(
            Code::Ordered,
            format!("an operator linked referral {referral} and opportunity {opportunity}"),
        )]);
        self.switch_on(&mut draft, &row);
        Some(Decision::Act(draft))
    }

    /// The two are one deal already; whoever links them wants it to be kept in step.
    fn join_again(&mut self, link: Link) -> Option<Decision> {
        if link.state == State::Gone {
            return Some(self.refuse_whole(format!(
                "opportunity {} was deleted in Dynamics; there is nothing to link",
                link.opportunity.map(|id| id.to_string()).unwrap_or_default()
            )));
        }
        let is_settled = !link.is_being_created() && link.pending != Some(Pending::Part);
        is_settled.then(|| self.joined(link)).flatten()
    }

    /// Finishes what was announced; none once synchronisation is switched on.
    pub(super) fn finish_joining(&mut self, link: &Link) -> Option<Decision> {
        matches!(link.pending, Some(Pending::Join))
            .then(|| self.joined(link.clone()))
            .flatten()
    }

    fn joined(&mut self, link: Link) -> Option<Decision> {
        let row = match &self.opportunity {
            Sight::Unread => return Some(Decision::Ask(Call::ReadRecord(Record::Opportunity(link.opportunity?)))),
            Sight::Absent => return None,
            Sight::Seen(row) => row.clone(),
        };
        if row.flag(&self.policy.mapping.columns.sync) {
            return None;
        }
        if self.trigger.order.is_some()
            && let Some(refusal) = self.is_shut()
        {
            return Some(refusal);
        }
        if matches!(link.pending, Some(Pending::Update { .. })) {
            return Some(self.tell_first(link));
        }
        let mut next = link.clone();
        next.pending = None;
        next.due = Some(self.follow_up());
        next.etags.opportunity.clone_from(&row.etag);
        let mut draft = Draft::new(link, next);
        // What was typed while it was off is in no base yet.
        draft.leave_open(Side::Dynamics);
        draft.go_on(true);
        self.switch_on(&mut draft, &row);
        Some(Decision::Act(draft))
    }

    /// Synchronisation is switched on in the row, unless it is.
    fn switch_on(&mut self, draft: &mut Draft, row: &Row) {
        let column = &self.policy.mapping.columns.sync;
        // In step or not, the row is read again with what was written to it.
        self.thorough = true;
        if row.flag(column) {
            return;
        }
        let finding = Finding::new(Code::Ordered, "synchronisation was switched on by an operator").on(Side::Dynamics);
        draft.note(vec![finding.clone()]);
        plan::journal(draft.journal(), &[finding], self.trigger.now);
        draft.announce(Pending::Join);
        let mut change = RowChange::default();
        change.set(column.clone(), Cell::Flag(true));
        draft.update_opportunity(change, &self.policy.mapping);
        self.unread(&[Side::Dynamics]);
    }

    /// An order that has to write to Dynamics is not kept until a pause is over.
    fn is_shut(&mut self) -> Option<Decision> {
        (self.policy.paused == Some(Side::Dynamics)).then(|| {
            let text = "writing to Dynamics is paused by the setting PAUSED; repeat the order once the pause is over";
            self.refuse_whole(text.to_owned())
        })
    }

    // ---- parting -------------------------------------------------------------------------------------------------

    fn take_parting(&mut self) -> Decision {
        let subject = self.subject;
        let text = match self.link.clone().flatten() {
            None => format!("{subject} belongs to no deal; there is nothing to unlink"),
            Some(link) if link.has_parted(subject) || link.state == State::Parted => {
                if self.has_announced_order {
                    self.trigger.order = None;
                    self.findings.push(carried_out_by_another());
                    return self.finish(Outcome::Noted, Some(link.id));
                }
                format!("{subject} is unlinked already")
            }
            Some(link) if link.is_lead() => of_a_lead(subject),
            Some(link) if link.is_being_created() => is_being_created(subject),
            Some(link) if link.referral.is_none() || link.opportunity.is_none() => {
                format!("{subject} is linked to no other record; there is nothing to unlink")
            }
            Some(link) => {
                return match self.is_shut() {
                    Some(refusal) => refusal,
                    None => self.part(link),
                };
            }
        };
        self.refuse_whole(text)
    }

    /// Parts the two: the row forgets the referral and the seller's consent, then the ledger lets go of both.
    ///
    /// With the consent in place the next poll would take the row for a new deal and share it a second time. The referral
    /// keeps our reference: it may be closed, and what it names is remembered as parted.
    pub(super) fn part(&mut self, link: Link) -> Decision {
        let row = match (&self.opportunity, link.opportunity) {
            (Sight::Unread, Some(id)) => return Decision::Ask(Call::ReadRecord(Record::Opportunity(id))),
            (Sight::Seen(row), _) => Some(row.clone()),
            (Sight::Unread | Sight::Absent, _) => None,
        };
        if matches!(link.pending, Some(Pending::Update { .. })) {
            return self.tell_first(link);
        }
        let name = |id: Option<String>| id.unwrap_or_else(|| "no record".to_owned());
        let finding = Finding::new(
            Code::Ordered,
            format!(
                "an operator unlinked referral {} and opportunity {}; neither is shared again unless they are linked",
                name(link.referral.map(|id| id.to_string())),
                name(link.opportunity.map(|id| id.to_string()))
            ),
        );
        let mut next = link.clone();
        next.pending = None;
        next.due = None;
        self.attend(&mut next, Vec::new());
        let mut draft = Draft::new(link, next);
        draft.part();
        draft.note(vec![finding.clone()]);
        plan::journal(draft.journal(), &[finding], self.trigger.now);
        if let Some(row) = row {
            let mapping = &self.policy.mapping;
            let columns = &mapping.columns;
            draft.stand_on(&row);
            draft.announce(Pending::Part);
            let is_known = row.text(&columns.referral_identifier).is_some();
            if is_known || row.flag(&columns.sync) {
                let mut change = RowChange::default();
                change.set(columns.sync.clone(), Cell::Flag(false));
                for column in [
                    &columns.referral_identifier,
                    &columns.referral_link,
                    &columns.microsoft_crm_id,
                ] {
                    change.set(column.clone(), Cell::Null);
                }
                change.set(columns.sync_status.clone(), mapping.sync_status(SyncStatus::NotSynced));
                let terms = mapping.terms(&row);
                if self.policy.display_checkmark && terms.get(Field::Name) != &Term::Nothing {
                    mapping.write(Field::Name, terms.get(Field::Name), None, None, &mut change);
                }
                draft.update_opportunity(change, mapping);
            }
        }
        Decision::Act(draft)
    }

    /// A hint about a record that an operator parted: it is left alone. A seller who shares it anew is told how.
    pub(super) fn stay_apart(&mut self, link: Link) -> Decision {
        let Subject::Opportunity(id) = self.subject else {
            let text = format!(
                "{} was unlinked by an operator; `link` joins it to an opportunity",
                self.subject
            );
            self.findings.push(Finding::new(Code::Unlinked, text));
            return self.finish(Outcome::Ignored, Some(link.id));
        };
        if link.state != State::Parted {
            return self.finish(Outcome::Ignored, Some(link.id));
        }
        let row = match &self.opportunity {
            Sight::Unread => return Decision::Ask(Call::ReadRecord(Record::Opportunity(id))),
            Sight::Absent => None,
            Sight::Seen(row) => Some(row.clone()),
        };
        let is_shared = row.is_some_and(|row| row.flag(&self.policy.mapping.columns.sync));
        let attention: Vec<Finding> = is_shared
            .then(|| {
                let text = format!(
                    "opportunity {id} was unlinked by an operator, so switching synchronisation on does not share it; \
                     `link` joins it to a referral, or switch it off again"
                );
                Finding::new(Code::Unlinked, text).on(Side::Dynamics)
            })
            .into_iter()
            .collect();
        if link.attention == attention && link.due.is_none() {
            self.findings.extend(attention);
            return self.finish(Outcome::Ignored, Some(link.id));
        }
        let mut next = link.clone();
        next.opportunity = is_shared.then_some(id);
        next.due = None;
        self.attend(&mut next, attention.clone());
        let mut draft = Draft::new(link, next);
        draft.note(attention);
        draft.without_pointers();
        Decision::Act(draft)
    }
}

/// What this run had announced was finished by another one, which took it for the remains of a crash.
fn carried_out_by_another() -> Finding {
    Finding::new(
        Code::Ordered,
        "the order was carried out by another look at the deal at the same time",
    )
}

fn of_a_lead(subject: Subject) -> String {
    format!("{subject} belongs to a lead; answer it in Dynamics: qualify it, or disqualify it")
}

fn is_being_created(subject: Subject) -> String {
    format!("{subject} belongs to a deal that is just being created; wait a moment, then repeat the order")
}
