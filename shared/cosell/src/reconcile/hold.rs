//! A pause of one direction: what would be written to that side is held back, and nothing of it is forgotten.
//!
//! A deal that both sides know is planned without the held fields ([`crate::merge`]): their base stays, so every later
//! look finds them again, and the open direction goes on. Where a base is only about to be made, or a record to be
//! created, the deal is left entirely as it is: half a base would be taken for agreement.
//!
//! Guarantees: nothing is written to the paused side; a deal that waits has a date; it says so in one audit record, not
//! with every look; an announcement from before the pause stays until somebody may act on it.

use jiff::SignedDuration;

use super::draft::Draft;
use super::{Decision, Reconcile};
use crate::deal::Side;
use crate::finding::{Code, Finding};
use crate::link::{Due, Link, Outcome};
use crate::merge;
use crate::plan::Plan;

/// Why a deal that is held back is due.
const HELD: &str = "paused";

/// Waits between two looks, in minutes; the last one repeats. Long enough that thousands of waiting deals leave the
/// vendors' budgets to the others, short enough that they all follow within an hour of the end of the pause.
const WAITS: [i64; 3] = [15, 30, 60];

/// Whether a date stands for the end of a pause.
fn is_held(due: &Due) -> bool {
    due.why == HELD
}

/// Whether a deal goes on waiting for the end of a pause: what there is to say of it was said when it began to.
pub(super) fn goes_on(link: &Link, next: &Link) -> bool {
    let waits = |link: &Link| link.due.as_ref().is_some_and(is_held);
    waits(link) && waits(next)
}

impl Reconcile<'_> {
    /// Leaves a deal as it is until the pause is over.
    pub(super) fn hold(&mut self, link: Link, toward: Side) -> Decision {
        // As the ledger has it: whoever was about to write may have changed the copy.
        let known = self.link.clone().flatten().filter(|known| known.id == link.id);
        let known = || self.as_stored(known.unwrap_or(link));
        let link = self.kept_for_claimant().unwrap_or_else(known);
        let mut next = link.clone();
        self.identify(&mut next);
        next.due = Some(self.held_until(&link));
        if link.version > 0 && next == link {
            return self.finish(Outcome::Due, Some(link.id));
        }
        let is_told = link.due.as_ref().is_some_and(is_held);
        let mut draft = Draft::new(link, next);
        if !is_told {
            let text = merge::held_back("the deal", toward);
            draft.note(vec![Finding::new(Code::Paused, text).on(toward)]);
        }
        draft.without_pointers();
        Decision::Act(draft)
    }

    /// Gives a deal of which a part is held back its date, and has it told once.
    pub(super) fn put_back(&self, plan: &mut Plan, link: &Link, next: &mut Link) {
        // A sooner date stands for a look that finds the same.
        if next.due.as_ref().is_none_or(is_held) {
            next.due = Some(self.held_until(link));
        }
        if goes_on(link, next) || !next.due.as_ref().is_some_and(is_held) {
            plan.findings.retain(|finding| finding.code != Code::Paused);
        }
    }

    fn held_until(&self, link: &Link) -> Due {
        let held = link.due.as_ref().filter(|due| is_held(due));
        if let Some(due) = held.filter(|due| due.at > self.trigger.now) {
            return due.clone();
        }
        let attempts = held.map_or(0, |due| due.attempts);
        let step = usize::try_from(attempts).unwrap_or(usize::MAX).min(WAITS.len() - 1);
        let wait = SignedDuration::from_mins(WAITS.get(step).copied().unwrap_or_default());
        Due {
            at: self.trigger.now + self.policy.wait(wait),
            attempts: attempts.saturating_add(1),
            why: HELD.to_owned(),
        }
    }
}
