//! What a run was like for the people in it: conflicts that were none, and how long an edit took to be on both sides.
//!
//! Knows: who typed what, where, and what they saw. Refuses to know: whether a promise holds (see `judge`).
//!
//! A recorded conflict is *false* when no two people competed: when nobody typed the value that lost where it stood, or
//! nobody typed the value that was kept on the other side, or whoever typed one of the two had seen the other. One in which
//! what a plug-in made of our own write wins or loses is counted apart.

use cosell::deal::{Field, Side, Term, Terms};
use cosell::hint::Subject;
use cosell::link::{Change, Link};
use jiff::Timestamp;
use model::vendors::STAMP;

use super::Play;
use super::judge::shows;
use super::solutions::bears;

/// An edit of a person.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub subject: Subject,
    pub field: Field,
    /// What stood there before.
    pub seen: Term,
    /// What was typed instead.
    pub term: Term,
    /// What stood there before may stem from so many of the first edits of the other side.
    pub carried: usize,
    pub at: Timestamp,
    /// Whether it is still on its way.
    pub is_open: bool,
    /// How many there were before.
    pub number: usize,
}

/// The records of a deal. A lead and the opportunity that came of it are one.
pub(super) fn records(link: &Link) -> [Option<Subject>; 2] {
    let lead = link.lead.map(Subject::Lead);
    [
        link.referral.map(Subject::Referral),
        lead.or(link.opportunity.map(Subject::Opportunity)),
    ]
}

impl Play {
    /// Counts the conflicts that were recorded, and the false ones, of which there are none without mishaps. Behind a worker
    /// that died another may find that somebody has replaced what was announced, and cannot know whether they had seen it.
    pub(super) fn judge_conflicts(&mut self) -> Result<(), String> {
        let (mut all, mut against_plug_in) = (0, 0);
        let mut wrong = Vec::new();
        for entry in &self.world.audit {
            // Two records that an operator has parted or joined have no past in common: nobody can know who had seen what.
            let is_one = |link: &Link| {
                let is_joined = link.referral.is_some_and(|id| self.joined.contains(&id));
                !is_joined && link.parted.is_empty()
            };
            let Some(link) = self.world.link(entry.link).filter(is_one) else {
                continue;
            };
            for change in entry.changes.iter().filter(|change| change.lost) {
                all += 1;
                if self.is_contested(&link, change) {
                    continue;
                }
                let is_stamped = |term: &Term| matches!(term, Term::Text(text) if text.ends_with(STAMP));
                if is_stamped(&change.new) || is_stamped(&change.old) {
                    against_plug_in += 1;
                } else {
                    wrong.push(format!("{change:?} at {}", entry.at));
                }
            }
        }
        (self.figures.conflicts, self.figures.false_conflicts) = (all, u64::try_from(wrong.len()).unwrap_or(u64::MAX));
        self.figures.against_plug_in = against_plug_in;
        if let (Some(first), true) = (wrong.first(), self.is_calm) {
            return Err(format!(
                "a conflict was recorded though no two people competed: {first}"
            ));
        }
        Ok(())
    }

    /// Whether two people competed over this.
    fn is_contested(&self, link: &Link, lost: &Change) -> bool {
        let of_field = |edit: &&Edit| edit.field == lost.field && records(link).contains(&Some(edit.subject));
        let edits: Vec<&Edit> = self.log.iter().filter(of_field).collect();
        // Whose value each of them replaced: what was typed there last, or else what came from the other side.
        let replaced: Vec<Option<usize>> = edits
            .iter()
            .enumerate()
            .map(|(at, edit)| {
                let is_seen = |earlier: &Edit| shows(&edit.seen, &earlier.term);
                let before = || edits.iter().take(at);
                let there = before().rposition(|earlier| earlier.subject == edit.subject);
                let carried = before().rposition(|earlier| {
                    earlier.subject != edit.subject && earlier.number < edit.carried && is_seen(earlier)
                });
                there
                    .filter(|at| edits.get(*at).is_some_and(|earlier| is_seen(earlier)))
                    .or(carried)
            })
            .collect();
        let had_seen = |later: usize, earlier: usize| {
            let parent = |at: &usize| replaced.get(*at).copied().flatten();
            std::iter::successors(Some(later), parent).any(|at| at == earlier)
        };
        let typed = |side: Side, value: &Term, lost_to: Option<&Term>| -> Vec<usize> {
            // A stage is carried in the other side's words, and a list of solutions may be several people's.
            let is_it = |edit: &Edit| {
                let is_carried = || edit.field == Field::Stage && side != lost.side;
                super::side(edit.subject) == side
                    && (shows(value, &edit.term) || is_carried() || bears(edit, value, lost_to))
            };
            let found = edits.iter().enumerate().filter(|(_, edit)| is_it(edit));
            found.map(|(at, _)| at).collect()
        };
        let losers = typed(lost.side, &lost.old, Some(&lost.new));
        let winners = typed(lost.side.other(), &lost.new, None);
        losers.iter().any(|loser| {
            let competes = |winner: &&usize| !had_seen(*loser, **winner) && !had_seen(**winner, *loser);
            winners.iter().any(|winner| competes(&winner))
        })
    }

    /// Ends the edits that have arrived by now: both sides show them. One that was replaced or lost is not measured.
    pub(super) fn end_edits(&mut self) {
        if self.log.iter().all(|edit| !edit.is_open) {
            return;
        }
        let mut log = std::mem::take(&mut self.log);
        for edit in log.iter_mut().filter(|edit| edit.is_open) {
            let Some(link) = self.world.find(edit.subject) else {
                continue;
            };
            let shown: Vec<Terms> = records(&link)
                .into_iter()
                .flatten()
                .filter_map(|record| self.shows(record))
                .collect();
            let showing = shown.iter().filter(|terms| shows(terms.get(edit.field), &edit.term));
            match (showing.count(), shown.len()) {
                (2, _) => {
                    edit.is_open = false;
                    let seconds = self.world.now.duration_since(edit.at).as_secs();
                    *self.figures.lags.entry(seconds).or_default() += 1;
                }
                (0, _) => edit.is_open = false,
                _ => {}
            }
        }
        self.log = log;
    }
}
