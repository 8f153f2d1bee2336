//! The solutions of deals: a list in Partner Center, and in the CRM rows of a table of their own, which the version of their
//! opportunity does not cover. Everybody adds and takes away single ones.
//!
//! Knows: what people may do with them on either side, and what must be left of it. Refuses to know: other fields.
//! Guarantee: that a solution is to be there, or is not, is remembered for each one that a person added or took away, until
//! somebody who saw that has decided otherwise.

use std::collections::{BTreeMap, BTreeSet};

use cosell::deal::{Field, Term};
use cosell::finding::Code;
use cosell::hint::Subject;
use cosell::ids::{OpportunityId, Record, ReferralId, SolutionId};
use cosell::link::{Change, Link, Pending};
use cosell::opportunity::Cell;
use model::vendors::{RowRecord, number};
use model::world::POLICY;
use rand::Rng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::measure::{Edit, records};
use super::polls::Changed;
use super::{Play, side};

/// Few, so that people meet over the same ones.
const OFFERED: u32 = 6;

/// Columns of a row.
const ID: &str = "cosell_solutionid";
const STATE: &str = "statecode";

/// Whether a solution is to be there, as a person decided who could see whether it was.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    subject: Subject,
    solution: SolutionId,
    is_wanted: bool,
    /// How many records of the audit there were.
    records: usize,
}

/// What a person does with a row in the CRM.
enum RowEdit {
    Add(SolutionId),
    Rename(SolutionId),
    Switch,
    Delete,
}

impl Play {
    /// Somebody adds a solution in the portal, or takes one away. There has to be one at least.
    pub(super) fn choose_in_portal(&mut self, id: ReferralId) {
        let offered = self.offered();
        let subject = Subject::Referral(id);
        let Some(chosen) = self.chosen(subject) else { return };
        if chosen.contains(&offered) && chosen.len() == 1 {
            return;
        }
        self.type_in_portal(subject, id, Field::Solutions, |referral| {
            let mark = format!(r#""id":"{offered}""#);
            let before = referral.solutions.len();
            referral.solutions.retain(|entry| !entry.contains(&mark));
            if referral.solutions.len() == before {
                referral
                    .solutions
                    .push(format!(r#"{{{mark},"name":"Named {offered}","type":"Name"}}"#));
            }
        });
    }

    /// A seller adds, renames, switches off or on, or deletes a row of a deal's solutions, and sees that it changes them.
    pub(super) fn choose_in_crm(&mut self, id: OpportunityId) {
        let Some(mut row) = self.world.rows.get(&id).cloned() else {
            return;
        };
        let keys: Vec<Uuid> = row.solutions.keys().copied().collect();
        let (key, does) = (
            keys.choose(&mut self.chance).copied(),
            self.chance.random_range(0..8_u32),
        );
        let (offered, may_delete) = (self.offered(), self.may_delete_rows(id));
        let shown = |row: &RowRecord| POLICY.mapping.terms(&row.shown()).get(Field::Solutions).clone();
        let before = shown(&row);
        let is_shown = ids(&before).contains(&offered);
        let (key, edit) = match (key, does) {
            (Some(key), 3..6) => (key, RowEdit::Switch),
            (Some(key), 6) if may_delete => (key, RowEdit::Delete),
            _ if is_shown => return,
            (Some(key), 7) => (key, RowEdit::Rename(offered)),
            _ => {
                let key = Uuid::from_u128(0xD000 + u128::from(self.number()));
                (key, RowEdit::Add(offered))
            }
        };
        edit.make(&mut row.solutions, key);
        if shown(&row) == before {
            return;
        }
        let subject = self.of_deal(Subject::Opportunity(id));
        self.types(subject, Field::Solutions, |world| {
            world.rows.insert(id, row);
        });
        self.changes.push((Changed::Solution(key), self.world.now));
    }

    /// Nobody deletes a row in the seconds in which rows are made: that there is none says nothing then. And where nothing
    /// goes wrong, only what the CRM's list of changes will tell of: of a row that is gone without, nobody hears before the
    /// daily comparison.
    fn may_delete_rows(&self, id: OpportunityId) -> bool {
        let link = self.world.find(Subject::Opportunity(id));
        let is_told = || self.knobs.tracks_changes && self.is_watched(Record::Opportunity(id));
        link.is_none_or(|link| link.pending.is_none()) && (!self.is_calm || is_told())
    }

    fn offered(&mut self) -> SolutionId {
        SolutionId(format!("SOL-{}", self.chance.random_range(1..=OFFERED)))
    }

    fn chosen(&self, subject: Subject) -> Option<BTreeSet<SolutionId>> {
        Some(ids(self.shows(subject)?.get(Field::Solutions)))
    }

    /// Remembers what a person decided about single solutions, in the place of what they saw.
    pub(super) fn choose(&mut self, subject: Subject, seen: &Term, term: &Term) {
        let wanted = ids(term);
        let (link, side) = (self.world.find(subject), side(subject));
        let base = link.as_ref().and_then(|link| link.base.as_ref());
        let pending = link.as_ref().and_then(|link| link.pending.as_ref());
        let announced = || match pending? {
            Pending::CreateOpportunity { terms } | Pending::CreateReferral { terms, .. } => Some(terms),
            _ => None,
        };
        let agreed = base.map(|base| base.side(side)).or_else(announced);
        let agreed = agreed.map(|terms| ids(terms.get(Field::Solutions)));
        let mut choices = std::mem::take(&mut self.choices);
        for solution in decided(seen, term) {
            let is_wanted = wanted.contains(&solution);
            let is_undone = |choice: &Choice| choice.solution == solution && choice.is_wanted != is_wanted;
            let undoes_own = || {
                let mut own = choices.iter().filter(|choice| choice.subject == subject);
                own.any(is_undone)
            };
            // Whoever takes back what nobody has looked at yet has changed nothing, and whoever does just then what is being
            // written there cannot be told from us.
            let takes_back = match &agreed {
                Some(agreed) => agreed.contains(&solution) == is_wanted,
                None => undoes_own(),
            };
            // Nothing was filled in yet that could be taken off.
            let takes_nothing = !is_wanted && link.as_ref().is_some_and(is_unfilled);
            let is_ours = is_being_written(pending, &solution, is_wanted);
            choices.retain(|choice| !is_undone(choice) || !self.is_same_deal(choice.subject, subject));
            if !takes_back && !is_ours && !takes_nothing {
                choices.push(Choice {
                    subject,
                    solution,
                    is_wanted,
                    records: self.world.audit.len(),
                });
            }
        }
        if wanted.is_empty() {
            // Partner Center demands one: what is left of it all is what it has.
            choices.retain(|choice| choice.is_wanted || choice.subject != subject);
        }
        self.choices = choices;
    }

    /// Every solution that was added is there on both sides, and none that was taken away, unless somebody who saw it
    /// decided otherwise or it is recorded as a loser.
    pub(super) fn judge_choices(&self) -> Result<(), String> {
        for Choice {
            subject,
            solution,
            is_wanted,
            records: known,
        } in &self.choices
        {
            let Some(link) = self.world.find(*subject) else {
                continue;
            };
            let sides = records(&link).into_iter().flatten();
            let shown: Vec<bool> = sides
                .filter_map(|record| Some(self.chosen(record)?.contains(solution) == *is_wanted))
                .collect();
            let entries = self.world.audit.iter().skip(*known);
            let entries = entries.filter(|entry| entry.link == link.id);
            // Of two records that an operator has joined nobody can know who had seen what.
            let is_joined = link.referral.is_some_and(|id| self.joined.contains(&id));
            let chose_otherwise = |edit: &Edit| {
                edit.field == Field::Solutions
                    && side(edit.subject) != side(*subject)
                    && self.is_same_deal(edit.subject, *subject)
            };
            // Whether a change of the side where it was chosen brings it about, or undoes it.
            let does = |change: &Change, is_there: bool| {
                let [before, after] = [&change.old, &change.new].map(|term| ids(term).contains(solution) == *is_wanted);
                (change.field, change.side) == (Field::Solutions, side(*subject))
                    && after == is_there
                    && before != after
            };
            let mut changes = entries.clone().flat_map(|entry| &entry.changes);
            let is_lost = changes.clone().any(|change| change.lost && does(change, false));
            let is_lost = is_lost && self.log.iter().any(chose_otherwise);
            // What somebody chose just as it was written there cannot be told from our own write.
            let is_ours = changes.any(|change| does(change, true));
            let stands = shown.contains(&true);
            let is_listed = stands && (self.is_told(&link, Field::Solutions) || self.is_left_alone(&link));
            // Partner Center demands one: whoever takes off the last is told what it keeps, and is taken to have read it.
            let is_demanded = entries
                .flat_map(|entry| &entry.findings)
                .any(|finding| (finding.field, finding.code) == (Some(Field::Solutions), Code::Missing));
            let is_kept = !shown.contains(&false);
            if !is_kept && !is_joined && !is_demanded && !is_ours && !is_lost && !is_listed && shown.len() == 2 {
                let wish = if *is_wanted { "added to" } else { "taken off" };
                return Err(format!("{solution} was {wish} {subject}, and that is gone\n{link:#?}"));
            }
        }
        Ok(())
    }
}

impl RowEdit {
    fn make(&self, rows: &mut BTreeMap<Uuid, (u64, BTreeMap<String, Cell>)>, key: Uuid) {
        let text = |value: &SolutionId| Cell::Text(value.to_string());
        let found = rows.get_mut(&key);
        match (self, found) {
            (Self::Add(solution), _) => {
                let cells = [
                    (ID, text(solution)),
                    ("cosell_name", Cell::Text(format!("Sold {solution}"))),
                    (STATE, number(0)),
                ];
                let cells = cells.map(|(column, cell)| (column.to_owned(), cell));
                rows.insert(key, (1, cells.into()));
            }
            (Self::Rename(solution), Some((version, cells))) => {
                cells.insert(ID.to_owned(), text(solution));
                *version += 1;
            }
            (Self::Switch, Some((version, cells))) => {
                let is_active = cells.get(STATE) == Some(&number(0));
                cells.insert(STATE.to_owned(), number(i64::from(is_active)));
                *version += 1;
            }
            (Self::Delete, Some(_)) => {
                rows.remove(&key);
            }
            (Self::Rename(_) | Self::Switch | Self::Delete, None) => {}
        }
    }
}

/// Whether an edit of solutions may be the reason why a value shows one, or shows it no more, and for a value that lost, why
/// that one was changed.
pub(super) fn bears(edit: &Edit, value: &Term, lost_to: Option<&Term>) -> bool {
    let (typed, value) = (ids(&edit.term), ids(value));
    let winner = lost_to.map(ids);
    edit.field == Field::Solutions
        && decided(&edit.seen, &edit.term).iter().any(|solution| {
            let is_wanted = typed.contains(solution);
            let is_lost = winner.as_ref().is_none_or(|ids| ids.contains(solution) != is_wanted);
            value.contains(solution) == is_wanted && is_lost
        })
}

/// Whether the rows of an opportunity are still to be made: it is being created, or takes the place of its lead.
fn is_unfilled(link: &Link) -> bool {
    let is_created = matches!(link.pending, Some(Pending::CreateOpportunity { .. }));
    is_created || link.lead.is_some() && (link.shown.status.is_none() || link.opportunity.is_none())
}

/// Whether just this is announced to be written, to either side.
fn is_being_written(pending: Option<&Pending>, solution: &SolutionId, is_wanted: bool) -> bool {
    let is_it = |term: &Term| ids(term).contains(solution) == is_wanted;
    match pending {
        Some(Pending::Update { changes, .. }) => changes
            .iter()
            .filter(|change| change.field == Field::Solutions)
            .any(|change| is_it(&change.new) && !is_it(&change.old)),
        Some(Pending::CreateOpportunity { terms }) => is_it(terms.get(Field::Solutions)),
        _ => false,
    }
}

/// The solutions of which a person has changed whether they are there.
fn decided(seen: &Term, term: &Term) -> Vec<SolutionId> {
    ids(seen).symmetric_difference(&ids(term)).cloned().collect()
}

fn ids(term: &Term) -> BTreeSet<SolutionId> {
    match term {
        Term::Solutions(ids) => ids.clone(),
        _ => BTreeSet::new(),
    }
}
