//! The clock all simulators of a world share: real time plus an offset that a test may move.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// Real time plus an offset. Cheap to clone; clones share the offset.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_milliseconds: Arc<AtomicI64>,
}

impl Clock {
    /// Now, as the simulators see it.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the simulated vendors keep their clock"
    )]
    pub fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_millis(self.offset_milliseconds.load(Ordering::SeqCst))
    }

    /// Moves all simulators' time, back if it is negative.
    pub fn advance(&self, by: SignedDuration) {
        let milliseconds = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.offset_milliseconds.fetch_add(milliseconds, Ordering::SeqCst);
    }
}
