//! Why something was or was not done. Findings are the only source of audit text, log fields and CRM audit lines.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::deal::{Field, Side};

/// What a finding is about; bounded, so that it can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The deal was created on a side.
    Created,
    /// Two existing records were linked.
    Linked,
    /// A field was carried over.
    Carried,
    /// Microsoft was invited.
    MicrosoftInvited,
    /// Microsoft's half moved.
    MicrosoftMoved,
    /// Both sides changed the same field; one value won, the other is recorded.
    Conflict,
    /// Both sides changed the same field and a person has to choose.
    ManualConflict,
    /// A text was cut to the length its column holds.
    TextCut,
    /// The other system does not take this field any more.
    Frozen,
    /// The other system's life cycle has no such move.
    IllegalMove,
    /// The field is sent once the deal is accepted.
    Deferred,
    /// A value we do not understand; kept and not sent.
    UnknownValue,
    /// A value is missing that the other system demands.
    Missing,
    /// The CRM lacks the currency.
    CurrencyMissing,
    /// Several accounts or contacts fit.
    Ambiguous,
    /// `externalReferenceId` names nothing we know.
    ReferenceNamesNothing,
    /// The record is linked to another deal already.
    AlreadyLinked,
    /// More than one referral carries the same reference.
    DuplicateReferrals,
    /// The record is gone on one side.
    Deleted,
    /// The seller switched synchronisation off, or the operator one direction of it.
    Paused,
    /// The vendor refused a write for good.
    Refused,
    /// A call failed; the deal is looked at again later.
    Waiting,
    /// The outcome of a call is not known yet.
    InDoubt,
    /// What was read is older than what was announced.
    Stale,
    /// Left out by policy: a lead, or another kind of referral that is not synchronised.
    OutOfScope,
    /// The deal was closed in Dynamics; Partner Center is told after a while.
    Closing,
    /// The deal was opened again before Partner Center was told that it was closed.
    TakenBack,
    /// Would have been written, but the connector runs dry.
    DryRun,
    /// An operator's order was carried out.
    Ordered,
    /// An operator's order was refused; nothing was done for it.
    OrderRefused,
    /// An operator parted the two records; only an operator joins one of them again.
    Unlinked,
}

impl Code {
    /// Its name in logs, metrics and audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Linked => "linked",
            Self::Carried => "carried",
            Self::MicrosoftInvited => "microsoft_invited",
            Self::MicrosoftMoved => "microsoft_moved",
            Self::Conflict => "conflict",
            Self::ManualConflict => "manual_conflict",
            Self::TextCut => "text_cut",
            Self::Frozen => "frozen",
            Self::IllegalMove => "illegal_move",
            Self::Deferred => "deferred",
            Self::UnknownValue => "unknown_value",
            Self::Missing => "missing",
            Self::CurrencyMissing => "currency_missing",
            Self::Ambiguous => "ambiguous",
            Self::ReferenceNamesNothing => "reference_names_nothing",
            Self::AlreadyLinked => "already_linked",
            Self::DuplicateReferrals => "duplicate_referrals",
            Self::Deleted => "deleted",
            Self::Paused => "paused",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
            Self::InDoubt => "in_doubt",
            Self::Stale => "stale",
            Self::OutOfScope => "out_of_scope",
            Self::Closing => "closing",
            Self::TakenBack => "taken_back",
            Self::DryRun => "dry_run",
            Self::Ordered => "ordered",
            Self::OrderRefused => "order_refused",
            Self::Unlinked => "unlinked",
        }
    }

    /// Whether a person has to act before the deal can be in step.
    #[must_use]
    pub const fn needs_attention(self) -> bool {
        match self {
            Self::ManualConflict
            | Self::IllegalMove
            | Self::UnknownValue
            | Self::Missing
            | Self::CurrencyMissing
            | Self::Ambiguous
            | Self::ReferenceNamesNothing
            | Self::AlreadyLinked
            | Self::DuplicateReferrals
            | Self::Deleted
            | Self::Refused
            | Self::Unlinked => true,
            Self::Created
            | Self::Linked
            | Self::Carried
            | Self::MicrosoftInvited
            | Self::MicrosoftMoved
            | Self::Conflict
            | Self::TextCut
            | Self::Frozen
            | Self::Deferred
            | Self::Paused
            | Self::Waiting
            | Self::InDoubt
            | Self::Stale
            | Self::OutOfScope
            | Self::Closing
            | Self::TakenBack
            | Self::DryRun
            | Self::Ordered
            | Self::OrderRefused => false,
        }
    }
}

/// One reason, in words a seller understands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub code: Code,
    /// The field concerned, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Field>,
    /// The side concerned: the one written to, or the one at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// One sentence; names the thing, the value and the cure.
    pub text: String,
}

impl Finding {
    /// A finding about the deal as a whole.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            field: None,
            side: None,
            text: text.into(),
        }
    }

    /// A finding about one field.
    #[must_use]
    pub fn field(code: Code, field: Field, text: impl Into<String>) -> Self {
        Self {
            code,
            field: Some(field),
            side: None,
            text: text.into(),
        }
    }

    /// Names the side concerned.
    #[must_use]
    pub const fn on(mut self, side: Side) -> Self {
        self.side = Some(side);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
