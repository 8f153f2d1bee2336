//! People on both sides: what they enter, change, close and delete.
//!
//! Knows: what each vendor lets a person do. Refuses to know: what becomes of it. Guarantee: who types has seen what
//! stands there, and what was typed is remembered until somebody who saw it has replaced it.

use std::sync::{Arc, LazyLock};

use cosell::deal::{Field, Term, Terms};
use cosell::hint::{Cause, Hint, Subject};
use cosell::ids::{LeadId, OpportunityId, Record, ReferralId};
use cosell::link::Pending;
use cosell::mapping::Mapping;
use cosell::opportunity::Cell;
use model::vendors::{ReferralRecord, number};
use model::world::{POLICY, World, sellers_row};
use rand::Rng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::judge::shows;
use super::measure::Edit;
use super::{Play, Typed};

/// What the columns of a lead mean.
static LEADS: LazyLock<Arc<Mapping>> = LazyLock::new(|| {
    let any = Record::Lead(LeadId::new(Uuid::nil()));
    POLICY.of(Some(any)).mapping
});

impl Play {
    pub(super) fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// A new deal: Microsoft sends one, the partner enters one in the portal, or a seller shares one.
    pub(super) fn begin_deal(&mut self) {
        let number = self.number();
        if self.chance.random_bool(0.5) {
            let id = OpportunityId::new(Uuid::from_u128(0xB000 + u128::from(number)));
            let help = self.knobs.help;
            sellers_row(&mut self.world, id, help);
            self.tell(|| format!("a seller shares opportunity {id}"));
            self.changed(Record::Opportunity(id));
            return;
        }
        let id = ReferralId::new(Uuid::from_u128(0xA000 + u128::from(number)));
        let mut referral = ReferralRecord::active(id, self.world.now);
        if self.chance.random_bool(0.5) {
            (referral.status, referral.substatus) = ("New".to_owned(), "Pending".to_owned());
            referral.inviter = Some(cosell::referral::MICROSOFT);
            if self.knobs.leads && self.chance.random_bool(0.7) {
                referral.kind = "Independent".to_owned();
            }
        }
        self.tell(|| format!("referral {id} appears ({})", referral.status));
        self.world.referrals.insert(id, referral);
        let hint = Hint::new(Subject::Referral(id), Cause::ReferralCreated).changed_at(self.world.now);
        self.announce(&hint);
    }

    pub(super) fn shows(&self, subject: Subject) -> Option<Terms> {
        match subject {
            Subject::Referral(id) => Some(Terms::from_referral(&self.world.referrals.get(&id)?.shown())),
            Subject::Opportunity(id) => Some(POLICY.mapping.terms(&self.world.rows.get(&id)?.shown())),
            Subject::Lead(id) => match self.world.offspring(id) {
                Some(id) => self.shows(Subject::Opportunity(id)),
                None => Some(LEADS.terms(&self.world.leads.get(&id)?.shown())),
            },
        }
    }

    /// Under which name a record is remembered: an opportunity that came of a lead takes its place.
    pub(super) fn of_deal(&self, record: Subject) -> Subject {
        match record {
            Subject::Opportunity(id) => self.world.origin(id).map_or(record, Subject::Lead),
            Subject::Referral(_) | Subject::Lead(_) => record,
        }
    }

    pub(super) fn is_same_deal(&self, one: Subject, other: Subject) -> bool {
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

    /// What a person sees who is about to change a field. Of a fresh opportunity that is still empty there they know what
    /// the lead says, from which they came; whoever adds a row there has seen that there are none.
    fn sees(&self, subject: Subject, field: Field) -> Option<Term> {
        let shown = self.shows(subject)?.get(field).clone();
        let lead = match subject {
            Subject::Lead(id) if field != Field::Solutions => {
                self.world.leads.get(&id).filter(|_| shown == Term::Nothing)
            }
            Subject::Lead(_) | Subject::Referral(_) | Subject::Opportunity(_) => None,
        };
        Some(lead.map_or(shown, |lead| LEADS.terms(&lead.shown()).get(field).clone()))
    }

    /// A person changes a field. Who types sees what stands there, whoever wrote it.
    pub(super) fn types(&mut self, subject: Subject, field: Field, edit: impl FnOnce(&mut World)) {
        let Some(seen) = self.sees(subject, field) else { return };
        edit(&mut self.world);
        let Some(after) = self.shows(subject) else { return };
        let term = after.get(field).clone();
        if term == seen {
            return;
        }
        self.figures.edits += 1;
        let mut typed = std::mem::take(&mut self.typed);
        // Whoever sees what an operator ordered sees it in the place of what the operator saw.
        let deal = self.world.find(subject).map(|link| link.id);
        let seen_by_operator: Vec<&Term> = self
            .given
            .iter()
            .filter(|given| Some(given.link) == deal && given.field == field && shows(&seen, &given.term))
            .flat_map(|given| &given.replaces)
            .collect();
        typed.retain(|typed| {
            let is_seen = typed.field == field
                && (shows(&seen, &typed.term) || seen_by_operator.iter().any(|seen| shows(seen, &typed.term)));
            !is_seen || !self.is_same_deal(typed.subject, subject)
        });
        self.tell(|| format!("a person changes {field} of {subject} from {seen} to {term}"));
        self.log(subject, (field, seen.clone(), term.clone()), true);
        self.typed = typed;
        if field == Field::Solutions {
            // Several people may add to one list, so that nobody's is the whole.
            self.choose(subject, &seen, &term);
        } else {
            self.typed.push(Typed { subject, field, term });
        }
    }

    /// A person moved a deal. Where it stands now may be refused or overtaken for good reasons, so that it is remembered
    /// for telling conflicts alone.
    fn moved(&mut self, subject: Subject, seen: Option<&Terms>) {
        let field = Field::Stage;
        let (Some(seen), Some(now)) = (seen, self.shows(subject)) else {
            return;
        };
        self.log(subject, (field, seen.get(field).clone(), now.get(field).clone()), false);
    }

    /// Remembers what a person did, and of which edits the value may stem that stood there before.
    pub(super) fn log(&mut self, subject: Subject, (field, seen, term): (Field, Term, Term), is_open: bool) {
        self.log.push(Edit {
            subject,
            field,
            seen,
            carried: self.carried.get(&subject).copied().unwrap_or_default(),
            term,
            at: self.world.now,
            is_open,
            number: self.log.len(),
        });
    }

    pub(super) fn edit_in_portal(&mut self) {
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
        match (status.as_str(), self.chance.random_range(0..14_u32)) {
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
            ("Active", 10 | 11) => self.choose_in_portal(id),
            ("Active", _) => {
                let date = format!("2026-{:02}-{:02}T00:00:00Z", number % 12 + 1, number % 28 + 1);
                self.type_in_portal(subject, id, Field::CloseDate, |referral| referral.closing = Some(date));
            }
            _ => {}
        }
    }

    pub(super) fn type_in_portal(
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
            self.announce(&hint);
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
        self.announce(&Hint::new(Subject::Referral(id), cause).changed_at(now));
    }

    fn answer(&mut self, id: ReferralId, status: &str, substatus: &str, reason: Option<&str>) {
        let (status, substatus, reason) = (status.to_owned(), substatus.to_owned(), reason.map(str::to_owned));
        let seen = self.shows(Subject::Referral(id));
        self.change_referral(id, |referral| {
            (referral.status, referral.substatus, referral.reason) = (status, substatus, reason);
        });
        self.moved(Subject::Referral(id), seen.as_ref());
    }

    pub(super) fn edit_in_crm(&mut self) {
        let leads: Vec<LeadId> = self.world.leads.keys().copied().collect();
        if let Some(id) = leads.choose(&mut self.chance).copied()
            && self.chance.random_bool(0.4)
        {
            return self.edit_lead(id);
        }
        let all: Vec<OpportunityId> = self.world.rows.keys().copied().collect();
        let Some(id) = all.choose(&mut self.chance).copied() else {
            return;
        };
        let Some(row) = self.world.rows.get(&id) else { return };
        let is_open = row.cells.get("statecode") == Some(&number(0));
        let is_waiting = row.cells.get("statuscode") == Some(&number(2));
        let number_of = self.number();
        let cells: Vec<(&str, Cell)> = match self.chance.random_range(0..28_u32) {
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
            24.. if is_open => return self.choose_in_crm(id),
            // Nobody deletes a row in the seconds in which it is made.
            23 if self.workers.iter().all(Option::is_none) && !self.is_being_made(id) => {
                if self.world.origin(id).is_some() {
                    return;
                }
                self.world.rows.remove(&id);
                self.deleted.insert(id);
                self.changed(Record::Opportunity(id));
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
        let subject = self.of_deal(Subject::Opportunity(id));
        if field == Field::Stage {
            let seen = self.shows(subject);
            edit(&mut self.world);
            self.moved(subject, seen.as_ref());
            self.tell(|| format!("opportunity {id} is moved: {cells:?}"));
        } else {
            self.types(subject, field, edit);
        }
        self.changed(Record::Opportunity(id));
    }

    /// A seller types on an open lead, qualifies or disqualifies it.
    fn edit_lead(&mut self, id: LeadId) {
        let is_open = self.world.leads.get(&id).and_then(|lead| lead.integer("statecode")) == Some(0);
        if !is_open {
            return;
        }
        let number_of = self.number();
        let subject = Subject::Lead(id);
        let cells: Vec<(&str, Cell)> = match self.chance.random_range(0..12_u32) {
            0..4 => vec![("description", text(&format!("Lead note {number_of}")))],
            4..7 => {
                let value = (number_of * 10 + 3).to_string();
                vec![("estimatedamount", value.parse().map_or(Cell::Null, Cell::Number))]
            }
            7 | 8 => {
                let date = format!("2028-{:02}-{:02}", number_of % 12 + 1, number_of % 28 + 1);
                vec![("estimatedclosedate", text(&date))]
            }
            9 | 10 => {
                let seen = self.shows(subject);
                let offspring = self.world.seller_qualifies(id);
                self.moved(subject, seen.as_ref());
                self.tell(|| format!("lead {id} is qualified: opportunity {offspring}"));
                self.changed(Record::Lead(id));
                self.changed(Record::Opportunity(offspring));
                return;
            }
            _ => vec![("statecode", number(2)), ("statuscode", number(5))],
        };
        let field = match cells.first() {
            Some(("description", _)) => Field::Notes,
            Some(("estimatedamount", _)) => Field::Value,
            Some(("estimatedclosedate", _)) => Field::CloseDate,
            _ => Field::Stage,
        };
        let edit = |world: &mut World| {
            if let Some(lead) = world.leads.get_mut(&id) {
                let cells = cells.iter().map(|(column, cell)| ((*column).to_owned(), cell.clone()));
                lead.cells.extend(cells);
                lead.version += 1;
            }
        };
        if field == Field::Stage {
            let seen = self.shows(subject);
            edit(&mut self.world);
            self.moved(subject, seen.as_ref());
            self.tell(|| format!("lead {id} is disqualified"));
        } else {
            self.types(subject, field, edit);
        }
        self.changed(Record::Lead(id));
    }

    fn is_being_made(&self, id: OpportunityId) -> bool {
        let link = self.world.find(Subject::Opportunity(id));
        link.is_some_and(|link| matches!(link.pending, Some(Pending::CreateOpportunity { .. })))
    }

    /// A workflow writes a row, but nothing of ours.
    pub(super) fn strangers_touch_a_row(&mut self) {
        let all: Vec<OpportunityId> = self.world.rows.keys().copied().collect();
        if let Some(id) = all.choose(&mut self.chance).copied()
            && let Some(row) = self.world.rows.get_mut(&id)
        {
            row.version += 1;
            self.world.ours.remove(&id);
            self.changed(Record::Opportunity(id));
            self.tell(|| format!("a workflow touches {id}"));
        }
    }

    /// What a program does that knows nothing of merging.
    pub(super) fn copy_blindly(&mut self, hint: &Hint) {
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
                self.changed(Record::Opportunity(opportunity));
            }
        }
    }
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}
