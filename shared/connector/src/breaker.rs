//! Vendors that all workers leave alone together: what one has met, the others need not find out.
//!
//! Knows when the ledger was last asked. Refuses to know why a vendor is left alone (see [`crate::http`]). Guarantee: a
//! ledger that does not answer keeps nobody from working for long; each worker then finds out by itself.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::connector::Connector;
use crate::http::Http;

/// What was read of the ledger is good for this long.
const FRESH: SignedDuration = SignedDuration::from_secs(5);

/// The ledger has to answer within this time; nothing depends on it.
const PATIENCE: Duration = Duration::from_secs(1);

/// When the ledger was last asked.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    asked: Mutex<Option<Timestamp>>,
}

impl Breakers {
    /// Whether the ledger has to be asked again, which then counts as done.
    fn is_time(&self, now: Timestamp) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // By the wall clock: the other one may stand still while the process is frozen.
        let is_fresh = asked.is_some_and(|asked| (SignedDuration::ZERO..FRESH).contains(&now.duration_since(asked)));
        if !is_fresh {
            *asked = Some(now);
        }
        !is_fresh
    }
}

impl Connector {
    /// The vendors, under the names that the ledger knows them by.
    fn vendors(&self) -> [(&'static str, &Http); 2] {
        [
            ("partner-center", self.partner_center.http()),
            ("dataverse", self.dataverse.http()),
        ]
    }

    /// Leaves alone the vendors that other workers have found closed.
    pub async fn heed_breakers(&self, now: Timestamp) {
        if !self.breakers.is_time(now) {
            return;
        }
        let [one, other] = self.vendors();
        let both = async { tokio::join!(self.heed_breaker(one, now), self.heed_breaker(other, now)) };
        if tokio::time::timeout(PATIENCE, both).await.is_err() {
            tracing::warn!("the ledger does not say in time whether a vendor is left alone");
        }
    }

    async fn heed_breaker(&self, (api, http): (&'static str, &Http), now: Timestamp) {
        match self.ledger.breaker(api, now).await {
            Ok(Some(until)) => {
                let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                tracing::info!(api, until = %until, "a vendor is left alone by all workers");
                http.leave_alone(left);
            }
            // The wait is over, also for a process whose clock stood still meanwhile.
            Ok(None) => http.call_again(),
            Err(error) => tracing::warn!(api, %error, "whether a vendor is left alone cannot be told"),
        }
    }

    /// Tells all workers which vendors this one has found closed.
    pub async fn tell_breakers(&self, now: Timestamp) {
        for (api, http) in self.vendors() {
            let Some(until) = http.take_closed().and_then(|left| now.checked_add(left).ok()) else {
                continue;
            };
            tracing::warn!(api, until = %until, "a vendor asks to wait, or is down; all workers leave it alone");
            let told = tokio::time::timeout(PATIENCE, self.ledger.open_breaker(api, until)).await;
            let wrong = match told {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(api, error = %wrong, "the other workers could not be told to leave a vendor alone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_asked_again_after_a_while_and_when_the_clock_was_set_back() {
        let breakers = Breakers::default();
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let asked: Vec<bool> = [100, 101, 104, 105, 106, 110, 50, 51]
            .map(|seconds| breakers.is_time(at(seconds)))
            .to_vec();
        assert_eq!(asked, [true, false, false, true, false, true, true, false]);
    }
}
