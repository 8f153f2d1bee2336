//! The scheduler: invokes a function with a fixed payload at a fixed rate.
//!
//! Knows: when the next run is due. Refuses to know: what a run does. Guarantee: scheduled runs of one schedule never
//! overlap and never pile up; one that is due while another goes on is skipped. Runs by hand may overlap anything.

use std::time::Duration;

use serde_json::Value;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::{Function, InvocationError};

/// A running schedule. It stops when dropped.
pub struct Schedule {
    function: Function,
    payload: Value,
    timer: AbortHandle,
}

impl Schedule {
    /// Invokes `function` with `payload` every so often; the first time after one interval.
    #[must_use]
    pub fn start(function: &Function, payload: Value, every: Duration) -> Self {
        let (scheduled, input) = (function.clone(), payload.clone());
        let timer = tokio::spawn(async move {
            let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                // A failed run is the function's to log; the next one comes anyway.
                let _ = scheduled.invoke(input.clone()).await;
            }
        });
        Self {
            function: function.clone(),
            payload,
            timer: timer.abort_handle(),
        }
    }

    /// Runs it once now, beside the schedule.
    ///
    /// # Errors
    /// When the invocation fails.
    pub async fn fire_once(&self) -> Result<Value, InvocationError> {
        self.function.invoke(self.payload.clone()).await
    }

    /// No further scheduled runs. One under way goes on.
    pub fn stop(&self) {
        self.timer.abort();
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.stop();
    }
}
