//! Everything that is configured rather than decided: who wins, what is shown, how long a doubt lasts.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::deal::Side;
use crate::ids::{Record, TenantId};
use crate::mapping::Mapping;

/// The rules a run works under.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The partner's tenant: namespace of the ids we choose.
    pub tenant: TenantId,
    /// Which column carries which field, and who wins.
    pub mapping: Arc<Mapping>,
    /// Leads and other referrals that are not co-sell stay out.
    pub cosell_only: bool,
    /// A mark before the opportunity's name shows the sync state.
    pub display_checkmark: bool,
    /// How long a doubtful POST waits before its result is searched for; longer than the vendor's list lag.
    pub settle: SignedDuration,
    /// How long the built-in waits are, in percent: below 100 in rehearsals only.
    pub waits_percent: u32,
    /// Read, plan and audit, but write to neither vendor.
    pub dry_run: bool,
    /// How long a deal that was closed in the CRM waits before it is closed in Partner Center, where closing is final.
    pub close_delay: SignedDuration,
    /// The side to which nothing is written for the moment; changes toward the other go on.
    pub paused: Option<Side>,
}

impl Policy {
    /// The rules for a deal whose row in the CRM is this one.
    #[must_use]
    pub fn of(&self, record: Option<Record>) -> Self {
        let mut policy = self.clone();
        if let Some(record) = record {
            policy.mapping = self.mapping.of(record);
        }
        policy
    }

    /// Whether what is not co-sell waits for its answer as a lead.
    #[must_use]
    pub fn wants_leads(&self) -> bool {
        !self.cosell_only && self.mapping.leads().is_some()
    }

    /// A built-in wait, shortened for rehearsals.
    #[must_use]
    pub fn wait(&self, full: SignedDuration) -> SignedDuration {
        let milliseconds = full.as_millis() * i128::from(self.waits_percent) / 100;
        SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }
}
