//! What a run has written behind the look of another that took its place: its call hung for longer than others wait.
//!
//! The other cannot know of it, and what the next look finds of it is no person's choice. So whoever is outrun looks at both
//! sides, takes what they show of it for ours, and tells of it. Where it gets no such look, the link keeps it for the next run
//! ([`Link::late`]).
//!
//! Guarantees: no run ends with such a write neither told nor kept, unless it dies or the ledger does not answer; what a look
//! at both sides does not find is forgotten, so that whoever does the same later has chosen it.
//! Refuses to know: what was announced and is still under way, which is in the link's pending part.

use super::draft::Draft;
use super::{Phase, Reconcile, Report};
use crate::link::{Change, Link};
use crate::mapping::Mapping;

impl Reconcile<'_> {
    /// What was written behind the look of those who took the place of the run that wrote it. They may have told it all the
    /// same: rather twice than not at all. Losers they have recorded when they took it.
    pub(super) fn behind_others(&self, link: &Link, mapping: &Mapping) -> Vec<Change> {
        let is_winner = |change: &&Change| !change.lost;
        let seen = link.late.iter().chain(&self.overtaken).filter(is_winner);
        let seen = seen.filter_map(|change| self.seen_of(change, mapping));
        self.outrun.iter().filter(is_winner).cloned().chain(seen).collect()
    }

    /// Whether there is something to be told of that, or forgotten.
    pub(super) fn owes_late(&self, link: &Link) -> bool {
        self.owes_record || !link.late.is_empty() || !self.behind_others(link, &self.rules(link)).is_empty()
    }

    /// Whether this run has written, or may have, when another took its place, or took the place of one that may have.
    pub(super) const fn is_outrun(&self) -> bool {
        !self.outrun.is_empty() || !self.overtaken.is_empty()
    }

    /// What others, or this run itself, had announced when the next took their place: it may be written behind that one.
    /// Of what this run has written over itself nothing is left there.
    pub(super) fn late(&self) -> impl Iterator<Item = &Change> {
        let is_last = |change: &&Change| {
            let is_same = |other: &&Change| (other.side, other.field) == (change.side, change.field);
            !self.outrun.contains(change) || self.outrun.iter().rfind(is_same) == Some(change)
        };
        self.overtaken.iter().chain(&self.outrun).filter(is_last)
    }

    /// Whether something may have come late of which the ledger does not know yet.
    fn knows_more_than(&self, link: &Link) -> bool {
        self.late().any(|change| !link.late.contains(change))
    }

    /// Of what may have come late a look at both sides shows nothing.
    pub(super) fn forget_late(&mut self) {
        self.outrun.clear();
        self.overtaken.clear();
    }

    /// A commit of this deal that is no look at both sides keeps it for the next one, and tells what is known of it.
    pub(super) fn keep_late(&mut self) {
        if !self.is_outrun() {
            return;
        }
        let late: Vec<Change> = self.late().cloned().collect();
        let known: Vec<Change> = self.outrun.iter().filter(|change| !change.lost).cloned().collect();
        let deal = self.deal();
        if let Phase::Committing(draft) = &mut self.phase
            && Some(draft.before().id) == deal
        {
            draft.keep_late(late, known);
        }
    }

    /// Ends the run; not before what it has written behind the look of others is told, or kept for the next look.
    pub(super) fn end(&mut self, report: Report) {
        let deal = self.link.clone().flatten().map(|link| self.as_stored(link));
        self.phase = match deal.filter(|link| self.owes_record || link.takes_part() && self.knows_more_than(link)) {
            Some(link) => {
                (self.findings, self.fault) = (report.findings, report.fault);
                Phase::Committing(Box::new(Draft::new(link.clone(), link)))
            }
            None => Phase::Finished(Box::new(report)),
        };
    }
}
