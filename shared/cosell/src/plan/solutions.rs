//! Solutions that are rows: what is created and deactivated for them, and what of a half-done write counts.
//!
//! Knows: which rows an added or removed solution means. Refuses to know: memo columns, requests. Guarantees: no row is
//! deleted, and one that stays is not touched, so what the seller keeps in it survives; rows are created before others
//! are deactivated, so a deal is never seen without any in between; planning again after a part of the writes plans the
//! rest.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Need, Picture};
use crate::deal::{Field, Side, Term};
use crate::finding::{Code, Finding};
use crate::ids::{Etag, OpportunityId, SolutionId};
use crate::link::Change;
use crate::mapping::solutions::{SolutionRow, SolutionTable, held, is_of};
use crate::mapping::{Mapping, solutions};
use crate::merge::Merged;
use crate::opportunity::{Row, RowChange};
use crate::policy::Policy;
use crate::referral::SolutionTag;

/// Rows of one deal whose keys are remembered. A transaction of the ledger takes a hundred items.
const MOST_REMEMBERED: usize = 64;

/// One request on the child table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SolutionRequest {
    /// Create a row, if there is none under this key.
    Add {
        /// For this solution.
        solution: SolutionId,
        /// Its key.
        key: Uuid,
        /// What it holds.
        change: RowChange,
    },
    /// Activate a row that is still at this version: the solution is back, and with it what the seller kept in its row.
    Activate {
        /// Of this solution.
        solution: SolutionId,
        /// Its key.
        key: Uuid,
        /// Its version.
        etag: Option<Etag>,
    },
    /// Deactivate a row that is still at this version.
    Deactivate {
        /// Of this solution.
        solution: SolutionId,
        /// Its key.
        key: Uuid,
        /// Its version.
        etag: Option<Etag>,
    },
}

impl SolutionRequest {
    /// The row's key.
    #[must_use]
    pub const fn key(&self) -> Uuid {
        match self {
            Self::Add { key, .. } | Self::Activate { key, .. } | Self::Deactivate { key, .. } => *key,
        }
    }

    /// Whether the row counts afterwards.
    #[must_use]
    pub const fn adds(&self) -> bool {
        matches!(self, Self::Add { .. } | Self::Activate { .. })
    }

    /// The solution the row is for.
    #[must_use]
    pub const fn solution(&self) -> &SolutionId {
        match self {
            Self::Add { solution, .. } | Self::Activate { solution, .. } | Self::Deactivate { solution, .. } => {
                solution
            }
        }
    }
}

/// Leaves out of the merge what the CRM refused in this run: of those solutions its rows stay as they are, and so does
/// the base, so that a later look tries again.
pub(super) fn leave_out(merged: &mut Merged, there: &Term, refused: &BTreeMap<SolutionId, Finding>) {
    let is_written = merged
        .writes(Side::Dynamics)
        .any(|(field, _)| field == Field::Solutions);
    if !is_written || refused.is_empty() {
        return;
    }
    let (wanted, there_ids) = (ids(merged.toward_opportunity.get(Field::Solutions)), ids(there));
    let stays = |id: &&SolutionId| wanted.contains(id) != there_ids.contains(id);
    let left: Vec<&SolutionId> = refused.keys().filter(stays).collect();
    if left.is_empty() {
        // What the memo holds as well stays there.
        merged.findings.extend(refused.values().cloned());
        return;
    }
    let back = left.iter().map(|id| (*id, there_ids.contains(*id)));
    let written = changed(merged.toward_opportunity.get(Field::Solutions), back);
    for side in [Side::PartnerCenter, Side::Dynamics] {
        merged.base.side_mut(side).set(Field::Solutions, written.clone());
    }
    let is_it = |change: &Change| (change.field, change.side) == (Field::Solutions, Side::Dynamics);
    let is_told = |finding: &Finding| (finding.field, finding.code) == (Some(Field::Solutions), Code::Carried);
    merged.cleared.remove(&(Side::Dynamics, Field::Solutions));
    if &written == there {
        merged.changes.retain(|change| !is_it(change) || change.lost);
        merged.findings.retain(|finding| !is_told(finding));
        merged.toward_opportunity.set(Field::Solutions, Term::Nothing);
    } else {
        for change in merged.changes.iter_mut().filter(|change| is_it(change)) {
            change.new = written.clone();
        }
        if written == Term::Nothing {
            merged.cleared.insert((Side::Dynamics, Field::Solutions));
        }
        merged.toward_opportunity.set(Field::Solutions, written);
    }
    merged.findings.extend(refused.values().cloned());
}

/// What is said of a row that the CRM refused for good.
pub(crate) fn refused(solution: &SolutionId, why: &str) -> Finding {
    let text = format!("Dynamics refused to change the row of solution {solution}: {why}");
    Finding::field(Code::Refused, Field::Solutions, text).on(Side::Dynamics)
}

/// The requests that bring the rows to what the merge came to.
pub(super) fn plan(picture: &Picture<'_>, merged: &Merged, policy: &Policy) -> Result<Vec<SolutionRequest>, Need> {
    let mapping = policy.mapping.as_ref();
    let mut written = merged.writes(Side::Dynamics);
    let wanted = written.find(|(field, _)| *field == Field::Solutions);
    let (Some((_, wanted)), Some(table)) = (wanted, mapping.solution_table()) else {
        return Ok(Vec::new());
    };
    // The opportunity's version does not cover its rows, so only a read tells what there is to add and to remove.
    let row = picture.opportunity.ok_or(Need::Opportunity)?;
    let Some(opportunity) = picture.link.opportunity else {
        return Ok(Vec::new());
    };
    let rows = mapping.solution_rows(row);
    let wanted = ids(wanted);
    let (mut requests, mut removals) = (Vec::new(), Vec::new());
    let counted = || rows.iter().filter(|row| row.is_active);
    for id in &wanted {
        if picture.refused_rows.contains_key(id) || counted().any(|row| row.solution.as_ref() == Some(id)) {
            continue;
        }
        if let Some(row) = rows.iter().find(|row| row.solution.as_ref() == Some(id)) {
            requests.push(SolutionRequest::Activate {
                solution: id.clone(),
                key: row.key,
                etag: row.etag.clone(),
            });
            continue;
        }
        let referral = picture.referral.ok_or(Need::Referral)?;
        let tags = &referral.details.requirements.solutions;
        let named = SolutionTag::named(id).ok();
        if let Some(tag) = tags.iter().find(|tag| is_of(tag, id)).or(named.as_ref()) {
            let is_taken = |key: &Uuid| rows.iter().any(|row| row.key == *key) || picture.taken.contains(key);
            requests.push(add(table, opportunity, id.clone(), tag, is_taken));
        }
    }
    for row in counted() {
        if let Some(solution) = row.solution.clone().filter(|id| !wanted.contains(id)) {
            removals.push(SolutionRequest::Deactivate {
                solution,
                key: row.key,
                etag: row.etag.clone(),
            });
        }
    }
    requests.append(&mut removals);
    Ok(requests)
}

/// The rows of an opportunity that is about to be created.
#[must_use]
pub fn of_new_opportunity(
    opportunity: OpportunityId,
    tags: &[SolutionTag],
    agreed: &Term,
    mapping: &Mapping,
) -> Vec<SolutionRequest> {
    let Some(table) = mapping.solution_table() else {
        return Vec::new();
    };
    let row_of = |id: SolutionId| {
        // What the referral has lost since it was agreed on gets its row all the same: what is agreed on is what was made.
        let named = SolutionTag::named(&id).ok();
        let tag = tags.iter().find(|tag| is_of(tag, &id)).or(named.as_ref())?;
        Some(add(table, opportunity, id, tag, |_| false))
    };
    ids(agreed).into_iter().filter_map(row_of).collect()
}

fn add(
    table: &SolutionTable,
    opportunity: OpportunityId,
    solution: SolutionId,
    tag: &SolutionTag,
    is_taken: impl Fn(&Uuid) -> bool,
) -> SolutionRequest {
    let mut taken = 0;
    let mut key = opportunity.solution_row_for(&solution, taken);
    while is_taken(&key) && taken < solutions::MOST {
        taken += 1;
        key = opportunity.solution_row_for(&solution, taken);
    }
    SolutionRequest::Add {
        solution,
        key,
        change: table.new_row(opportunity, tag),
    }
}

/// What there is to say of the rows themselves: those that name no solution count for nothing until they do.
#[must_use]
pub fn unfilled(rows: &[SolutionRow]) -> Vec<Finding> {
    let unfilled = rows.iter().filter(|row| row.is_active && row.solution.is_none());
    unfilled
        .map(|row| {
            let text = format!(
                "the deal solution {:?} has no solution id; fill it in, or delete the row",
                row.title()
            );
            // Of no field: whoever deletes the row settles it without moving the deal's solutions.
            Finding::new(Code::Missing, text).on(Side::Dynamics)
        })
        .collect()
}

/// The keys to remember of the rows that were read: those that count. Rows out of use pile up, and would crowd them out.
#[must_use]
pub fn keys(row: &Row, mapping: &Mapping) -> Vec<Uuid> {
    let rows = mapping.solution_rows(row);
    remembered(rows.iter().filter(|row| row.is_active).map(|row| row.key).collect())
}

/// The keys once these requests are done.
#[must_use]
pub fn keys_after(keys: &[Uuid], requests: &[SolutionRequest]) -> Vec<Uuid> {
    let mut keys: BTreeSet<Uuid> = keys.iter().copied().collect();
    for request in requests {
        if request.adds() {
            keys.insert(request.key());
        } else {
            keys.remove(&request.key());
        }
    }
    remembered(keys)
}

fn remembered(keys: BTreeSet<Uuid>) -> Vec<Uuid> {
    keys.into_iter().take(MOST_REMEMBERED).collect()
}

/// What of an announced write toward the rows has landed, when it is a part of it: the solutions that both sides can be
/// taken to agree on. None when nothing has, or all.
///
/// Rows have no version that tells who wrote them last: one that a person took off again while the others were still being
/// written counts as not written yet.
#[must_use]
pub fn landed(old: &Term, new: &Term, now: &Term) -> Option<Term> {
    let landed = joined(old, (old, new), now);
    (now != new && &landed != old).then_some(landed)
}

/// Solutions, with what of a write toward the rows has landed: it may have been announced against others.
#[must_use]
pub fn joined(agreed: &Term, (old, new): (&Term, &Term), now: &Term) -> Term {
    let (mut agreed, old, new, now) = (ids(agreed), ids(old), ids(new), ids(now));
    agreed.extend(new.difference(&old).filter(|id| now.contains(*id)).cloned());
    agreed.retain(|id| new.contains(id) || !old.contains(id) || now.contains(id));
    term(agreed)
}

/// Solutions without some of them.
#[must_use]
pub fn without<'a>(before: &Term, left: impl IntoIterator<Item = &'a SolutionId>) -> Term {
    changed(before, left.into_iter().map(|id| (id, false)))
}

/// Solutions after some of them were added (`true`) or removed.
fn changed<'a>(before: &Term, done: impl Iterator<Item = (&'a SolutionId, bool)>) -> Term {
    let mut ids = ids(before);
    for (id, adds) in done {
        if adds {
            ids.insert(id.clone());
        } else {
            ids.remove(id);
        }
    }
    term(ids)
}

/// Leaves out what no row can hold, and says so.
pub(super) fn fitting(agreed: &Term, label: &str, findings: &mut Vec<Finding>) -> Term {
    let long: Vec<SolutionId> = solutions::too_long(agreed).cloned().collect();
    if !long.is_empty() {
        findings.push(unholdable(agreed, label));
    }
    held(&without(agreed, &long))
}

/// What is said of solutions that no row can hold.
pub(crate) fn unholdable(value: &Term, label: &str) -> Finding {
    let id = solutions::too_long(value).next();
    let id = id.map(ToString::to_string).unwrap_or_default();
    let text = format!(
        "{label}: the solution id {id:?} is longer than a row holds ({} characters); correct it in Partner Center",
        solutions::ID_ROOM
    );
    Finding::field(Code::Refused, Field::Solutions, text).on(Side::Dynamics)
}

fn ids(term: &Term) -> BTreeSet<SolutionId> {
    match term {
        Term::Solutions(ids) => ids.clone(),
        _ => BTreeSet::new(),
    }
}

fn term(ids: BTreeSet<SolutionId>) -> Term {
    if ids.is_empty() {
        Term::Nothing
    } else {
        Term::Solutions(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[&str]) -> Term {
        term(ids.iter().map(|id| SolutionId((*id).to_owned())).collect())
    }

    #[test]
    fn a_half_done_write_counts_as_far_as_it_got() {
        type Ids = &'static [&'static str];
        let cases: &[(Ids, Ids, Ids, Option<Ids>)] = &[
            (&["A"], &["A", "B", "C"], &["A"], None),
            (&["A"], &["A", "B", "C"], &["A", "B"], Some(&["A", "B"])),
            (&["A"], &["A", "B"], &["A", "B"], None),
            (&["A"], &["B"], &["A", "B"], Some(&["A", "B"])),
            // The seller added D meanwhile: that is an edit of theirs and counts for nothing here.
            (&["A"], &["A", "B", "C"], &["A", "B", "D"], Some(&["A", "B"])),
            (&[], &["A", "B"], &["B"], Some(&["B"])),
        ];
        for (old, new, now, expected) in cases {
            assert_eq!(
                landed(&of(old), &of(new), &of(now)),
                expected.map(of),
                "{old:?} {new:?} {now:?}"
            );
        }
    }

    #[test]
    fn what_has_landed_late_joins_what_was_agreed_on_since() {
        type Ids = &'static [&'static str];
        let cases: &[([Ids; 4], Ids)] = &[
            ([&["A", "D"], &["A"], &["A", "C"], &["A", "C", "D"]], &["A", "C", "D"]),
            ([&["A", "D"], &["A"], &["A", "C"], &["A", "D"]], &["A", "D"]),
            ([&["A", "D"], &["A", "B"], &["B"], &["B", "D"]], &["D"]),
            ([&["A", "D"], &["A", "B"], &["B"], &["A", "B"]], &["A", "D"]),
            ([&["A"], &["A"], &[], &[]], &[]),
        ];
        for ([agreed, old, new, now], expected) in cases {
            let joined = joined(&of(agreed), (&of(old), &of(new)), &of(now));
            assert_eq!(joined, of(expected), "{agreed:?} {old:?} {new:?} {now:?}");
        }
    }
}
