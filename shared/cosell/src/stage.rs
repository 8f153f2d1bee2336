//! Both life cycles, their translation and their legal moves.
//!
//! Partner Center: `New` -> `Active` -> `Closed`, and `Closed` is final (manage-co-sell-opportunities). Dynamics: Open
//! (In Progress, On Hold), Won, Lost; closing goes through actions, and a closed row may be reopened.
//! Guarantee: no sequence of moves from here contains one that the vendor's life cycle does not have.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a deal stands, in the terms both systems share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Waiting for the receiver's answer: `New`, or On Hold in the CRM.
    Unanswered,
    /// Being worked on.
    Active,
    /// Closed, won.
    Won,
    /// Closed, lost; in the CRM also everything else that ended without a sale.
    Lost,
    /// Closed by declining the invitation.
    Declined,
    /// Closed by Partner Center because nobody answered in time.
    Expired,
    /// Closed by Partner Center as erroneous.
    Erroneous,
    /// A value we do not know; kept, shown, never sent.
    Unknown(String),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unanswered => "unanswered",
            Self::Active => "active",
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Declined => "declined",
            Self::Expired => "expired",
            Self::Erroneous => "closed with an error",
            Self::Unknown(text) => text,
        })
    }
}

impl Stage {
    /// Reads a referral's status and substatus. The substatus decides only among the closed ones.
    #[must_use]
    pub fn from_referral(status: &str, substatus: &str) -> Self {
        match (status, substatus) {
            ("New", _) => Self::Unanswered,
            ("Active", _) => Self::Active,
            ("Closed", "Won") => Self::Won,
            ("Closed", "Lost") => Self::Lost,
            ("Closed", "Declined") => Self::Declined,
            ("Closed", "Expired") => Self::Expired,
            ("Closed", "Error") => Self::Erroneous,
            _ => Self::Unknown(format!("{status}/{substatus}")),
        }
    }

    /// Status and substatus to send; none for stages that only Partner Center itself may set.
    #[must_use]
    pub const fn to_referral(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Active => Some(("Active", "Accepted")),
            Self::Won => Some(("Closed", "Won")),
            Self::Lost => Some(("Closed", "Lost")),
            Self::Declined => Some(("Closed", "Declined")),
            Self::Unanswered | Self::Expired | Self::Erroneous | Self::Unknown(_) => None,
        }
    }

    /// Whether the deal has ended.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        match self {
            Self::Won | Self::Lost | Self::Declined | Self::Expired | Self::Erroneous => true,
            Self::Unanswered | Self::Active | Self::Unknown(_) => false,
        }
    }

    /// Position on the one-way road; used when both sides moved: the further one wins.
    #[must_use]
    pub const fn progress(&self) -> u8 {
        match self {
            Self::Unknown(_) => 0,
            Self::Unanswered => 1,
            Self::Active => 2,
            Self::Won | Self::Lost | Self::Declined | Self::Expired | Self::Erroneous => 3,
        }
    }

    /// What the CRM shows for this stage of a referral: it has no word for declined or expired.
    #[must_use]
    pub fn toward_dynamics(&self) -> Self {
        match self {
            Self::Declined | Self::Expired | Self::Erroneous => Self::Lost,
            Self::Unanswered | Self::Active | Self::Won | Self::Lost | Self::Unknown(_) => self.clone(),
        }
    }

    /// What the referral should become for this stage of an opportunity, given where the referral stands.
    ///
    /// On Hold has no counterpart once a deal was accepted, so the referral stays as it is. Losing a deal that was never
    /// answered declines it. A referral that ended without a sale already says what a lost opportunity says.
    #[must_use]
    pub fn toward_partner_center(&self, referral: &Self) -> Self {
        match (self, referral) {
            (Self::Unanswered, Self::Active) => Self::Active,
            (Self::Lost, Self::Unanswered) => Self::Declined,
            (Self::Lost, Self::Declined | Self::Expired | Self::Erroneous) => referral.clone(),
            _ => self.clone(),
        }
    }

    /// The moves that take a referral from here to `to`, one request each; none when there is no legal way.
    #[must_use]
    pub fn referral_moves(&self, to: &Self) -> Option<Vec<Self>> {
        match (self, to) {
            _ if self == to => Some(Vec::new()),
            (Self::Unanswered, Self::Active | Self::Declined) | (Self::Active, Self::Won | Self::Lost) => {
                Some(vec![to.clone()])
            }
            // The portal never closes an unanswered deal as won or lost: accept first, then close.
            (Self::Unanswered, Self::Won | Self::Lost) => Some(vec![Self::Active, to.clone()]),
            _ => None,
        }
    }

    /// The moves that take an opportunity from here to `to`, one request each; none when `to` is not a state of
    /// opportunities.
    #[must_use]
    pub fn opportunity_moves(&self, to: &Self) -> Option<Vec<OpportunityMove>> {
        use OpportunityMove::{Hold, Lose, Reopen, Resume, Win};
        let reopen = self.is_closed();
        let last = match to {
            _ if self == to => return Some(Vec::new()),
            Self::Unanswered => Hold,
            Self::Active if reopen => return Some(vec![Reopen]),
            Self::Active => Resume,
            Self::Won => Win,
            Self::Lost => Lose,
            Self::Declined | Self::Expired | Self::Erroneous | Self::Unknown(_) => return None,
        };
        Some(if reopen { vec![Reopen, last] } else { vec![last] })
    }
}

impl Stage {
    /// What a lead shows for this stage of a referral: it is open, qualified once the deal was accepted, or disqualified.
    #[must_use]
    pub fn toward_lead(&self) -> Self {
        match self {
            Self::Won => Self::Active,
            Self::Declined | Self::Expired | Self::Erroneous => Self::Lost,
            Self::Unanswered | Self::Active | Self::Lost | Self::Unknown(_) => self.clone(),
        }
    }

    /// The moves that take a lead from here to `to`, one request each; none when there is no legal way. A qualified lead
    /// is what became of it.
    #[must_use]
    pub fn lead_moves(&self, to: &Self) -> Option<Vec<OpportunityMove>> {
        use OpportunityMove::{Disqualify, Qualify, Reopen};
        match (self, to) {
            _ if self == to => Some(Vec::new()),
            (Self::Unanswered, Self::Active) => Some(vec![Qualify]),
            (Self::Unanswered, Self::Lost) => Some(vec![Disqualify]),
            (Self::Lost, Self::Unanswered) => Some(vec![Reopen]),
            (Self::Lost, Self::Active) => Some(vec![Reopen, Qualify]),
            _ => None,
        }
    }
}

/// One request that changes the state of an opportunity or a lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpportunityMove {
    /// The `WinOpportunity` action.
    Win,
    /// The `LoseOpportunity` action.
    Lose,
    /// Back to Open, In Progress.
    Reopen,
    /// From In Progress to On Hold.
    Hold,
    /// From On Hold to In Progress.
    Resume,
    /// The `QualifyLead` action, which makes the opportunity.
    Qualify,
    /// From an open lead to a disqualified one.
    Disqualify,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Stage; 7] = [
        Stage::Unanswered,
        Stage::Active,
        Stage::Won,
        Stage::Lost,
        Stage::Declined,
        Stage::Expired,
        Stage::Erroneous,
    ];

    #[test]
    fn every_pair_of_the_status_model_is_read() {
        for (status, substatus, stage) in [
            ("New", "Pending", Stage::Unanswered),
            ("New", "Received", Stage::Unanswered),
            ("Active", "Accepted", Stage::Active),
            ("Closed", "Won", Stage::Won),
            ("Closed", "Lost", Stage::Lost),
            ("Closed", "Declined", Stage::Declined),
            ("Closed", "Expired", Stage::Expired),
            ("Closed", "Error", Stage::Erroneous),
            ("Frozen", "Solid", Stage::Unknown("Frozen/Solid".to_owned())),
            ("Closed", "Merged", Stage::Unknown("Closed/Merged".to_owned())),
        ] {
            assert_eq!(Stage::from_referral(status, substatus), stage);
        }
    }

    #[test]
    fn a_closed_referral_never_moves_and_nothing_becomes_new() {
        for from in &ALL {
            for to in &ALL {
                let moves = from.referral_moves(to);
                if from.is_closed() && from != to {
                    assert_eq!(moves, None, "{from} -> {to}");
                }
                if from != to && matches!(to, Stage::Unanswered | Stage::Expired | Stage::Erroneous) {
                    assert_eq!(moves, None, "{from} -> {to}");
                }
            }
        }
    }

    #[test]
    fn an_unanswered_deal_is_accepted_before_it_is_won() {
        assert_eq!(
            Stage::Unanswered.referral_moves(&Stage::Won),
            Some(vec![Stage::Active, Stage::Won])
        );
    }

    #[test]
    fn won_becomes_lost_only_through_reopening() {
        assert_eq!(
            Stage::Won.opportunity_moves(&Stage::Lost),
            Some(vec![OpportunityMove::Reopen, OpportunityMove::Lose])
        );
    }

    #[test]
    fn a_lead_ends_by_being_qualified_or_disqualified() {
        use OpportunityMove::{Disqualify, Qualify, Reopen};
        for from in &ALL {
            let shown = from.toward_lead();
            assert_eq!(shown.toward_lead(), shown, "{from}");
            assert!(
                matches!(shown, Stage::Unanswered | Stage::Active | Stage::Lost),
                "{from}"
            );
            assert!(
                *from == Stage::Active || Stage::Active.lead_moves(from).is_none(),
                "{from}"
            );
        }
        assert_eq!(Stage::Unanswered.lead_moves(&Stage::Active), Some(vec![Qualify]));
        assert_eq!(Stage::Unanswered.lead_moves(&Stage::Lost), Some(vec![Disqualify]));
        assert_eq!(Stage::Lost.lead_moves(&Stage::Active), Some(vec![Reopen, Qualify]));
    }

    /// What is not in a table is no legal way, and staying takes no move.
    #[test]
    fn these_are_all_the_moves_there_are() {
        use OpportunityMove::{Disqualify, Hold, Lose, Qualify, Reopen, Resume, Win};
        use Stage::{Active, Declined, Lost, Unanswered, Won};
        let referral = |from: &Stage, to: &Stage| match (from, to) {
            (Unanswered, Active | Declined) | (Active, Won | Lost) => Some(vec![to.clone()]),
            (Unanswered, Won | Lost) => Some(vec![Active, to.clone()]),
            _ => None,
        };
        let opportunity = |from: &Stage, to: &Stage| {
            let last = match to {
                Unanswered => Hold,
                Active if matches!(from, Unanswered) => Resume,
                Active => return Some(vec![Reopen]),
                Won => Win,
                Lost => Lose,
                _ => return None,
            };
            let is_open = matches!(from, Unanswered | Active);
            Some(if is_open { vec![last] } else { vec![Reopen, last] })
        };
        let lead = |from: &Stage, to: &Stage| match (from, to) {
            (Unanswered, Active) => Some(vec![Qualify]),
            (Unanswered, Lost) => Some(vec![Disqualify]),
            (Lost, Unanswered) => Some(vec![Reopen]),
            (Lost, Active) => Some(vec![Reopen, Qualify]),
            _ => None,
        };
        for from in &ALL {
            assert_eq!(from.referral_moves(from), Some(Vec::new()), "{from}");
            assert_eq!(from.opportunity_moves(from), Some(Vec::new()), "{from}");
            assert_eq!(from.lead_moves(from), Some(Vec::new()), "{from}");
            for to in ALL.iter().filter(|to| *to != from) {
                assert_eq!(from.referral_moves(to), referral(from, to), "{from} -> {to}");
                assert_eq!(from.opportunity_moves(to), opportunity(from, to), "{from} -> {to}");
                assert_eq!(from.lead_moves(to), lead(from, to), "{from} -> {to}");
            }
        }
    }

    #[test]
    fn translating_there_and_back_settles() {
        for referral in &ALL {
            let opportunity = referral.toward_dynamics();
            assert_eq!(opportunity.toward_dynamics(), opportunity);
            assert_eq!(&opportunity.toward_partner_center(referral), referral, "{referral}");
        }
    }
}
