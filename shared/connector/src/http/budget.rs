//! How often a worker may call a remote.
//!
//! Knows rates and instants. Refuses to know who calls what. The budget of a remote belongs to all workers together;
//! as they share no memory, each takes its share of the rate and no more, so the sum stays within the budget at the
//! price of a lone worker being slower than it could be. After a pause a worker may catch up with its share of one second,
//! so that even workers that wake together stay within a second's worth.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::settings::Rate;

/// A rate limiter for one process.
#[derive(Debug)]
pub struct Budget {
    interval: Duration,
    tolerance: Duration,
    /// When the calls made so far will have been paid for.
    paid_until: Mutex<Option<Instant>>,
}

impl Budget {
    /// One worker's share of a rate.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let per_second = rate.per_second.max(1);
        let workers = rate.workers.max(1);
        let interval = Duration::from_secs(workers.into()) / per_second;
        Self {
            interval,
            tolerance: interval * (per_second / workers).saturating_sub(1),
            paid_until: Mutex::new(None),
        }
    }

    /// No limit: for remotes that are called a few times a day.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self {
            interval: Duration::ZERO,
            tolerance: Duration::ZERO,
            paid_until: Mutex::new(None),
        }
    }

    /// Takes the next free slot and says how long it is until then.
    pub(super) fn reserve(&self, now: Instant) -> Duration {
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let start = paid_until.map_or(now, |paid| paid.max(now));
        *paid_until = Some(start + self.interval);
        start.duration_since(now).saturating_sub(self.tolerance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_one_second_is_granted_at_once_and_then_call_by_call() {
        let budget = Budget::new(Rate {
            per_second: 10,
            workers: 5,
        });
        let now = Instant::now();
        for _ in 0..2 {
            assert_eq!(budget.reserve(now), Duration::ZERO);
        }
        assert_eq!(budget.reserve(now), Duration::from_millis(500));
        assert_eq!(budget.reserve(now), Duration::from_millis(1_000));
        let later = now + Duration::from_secs(60);
        assert_eq!(budget.reserve(later), Duration::ZERO);
    }

    #[test]
    fn workers_that_begin_together_stay_within_one_seconds_worth() {
        for (per_second, workers) in [(10, 5), (5, 5), (3, 5), (7, 2), (20, 1)] {
            let now = Instant::now();
            let at_once = |_| {
                let budget = Budget::new(Rate { per_second, workers });
                (0..100).filter(|_| budget.reserve(now).is_zero()).count()
            };
            let all: usize = (0..workers).map(at_once).sum();
            // One call each is the least there is.
            assert!(all <= per_second.max(workers) as usize, "{per_second} {workers}: {all}");
        }
    }
}
