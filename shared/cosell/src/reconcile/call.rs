//! What the reconcile machine asks for, and what it may be answered.
//!
//! Each [`Call`] is one request to one system; between any two of them the process may die. The driver performs them with
//! the real clients, a simulation performs them against a model.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::deal::{Currency, Side};
use crate::fault::Fault;
use crate::hint::Subject;
use crate::ids::{CurrencyId, EngagementId, Etag, LeadId, LinkId, OpportunityId, Record, ReferralId};
use crate::link::{Link, LinkWrite, Pointer};
use crate::opportunity::{Row, RowChange};
use crate::referral::{NewReferral, PatchOperation, Referral};

/// Rows that a search lists at most: enough to tell several from one, and to list them for a person.
pub const MOST_FOUND: usize = 10;

/// A table of the CRM in which we create rows whose ids we choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `accounts`.
    Account,
    /// `contacts`.
    Contact,
    /// `opportunities`.
    Opportunity,
    /// `leads`.
    Lead,
}

impl Table {
    /// Its entity set, as URLs spell it.
    #[must_use]
    pub const fn set(self) -> &'static str {
        match self {
            Self::Account => "accounts",
            Self::Contact => "contacts",
            Self::Opportunity => "opportunities",
            Self::Lead => "leads",
        }
    }
}

/// How a referral whose id we do not know is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Created not before `since`, with this opportunity as `externalReferenceId`.
    Reference {
        /// The reference.
        opportunity: OpportunityId,
        /// Older records cannot be it.
        since: Timestamp,
    },
    /// All of one engagement.
    Engagement(EngagementId),
}

/// How an opportunity is closed: an action, since an update cannot do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Won, else lost.
    pub won: bool,
    /// The status reason: a value of the target state.
    pub status: i64,
    /// Subject of the closing activity.
    pub subject: String,
    /// Why.
    pub description: Option<String>,
}

/// How a lead is qualified: an action, which makes the opportunity and perhaps its customer at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qualify {
    /// The status reason: a value of the qualified state.
    pub status: i64,
    /// Whether the customer is to be made an account: none was found.
    pub create_account: bool,
    /// Whether its contact is to be made one.
    pub create_contact: bool,
    /// Currency of the opportunity.
    pub currency: Option<CurrencyId>,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// The link that a record belongs to, read strongly. A referral may be the partner's own or Microsoft's half.
    FindLink(Subject),
    /// The link of an engagement, read strongly.
    FindEngagement(EngagementId),
    /// Lets this much time pass: another run is at the deal.
    Wait(SignedDuration),
    /// The link with this key, whichever link the pointers of its records lead to; read strongly.
    ReadLink(LinkId),
    /// One referral.
    ReadReferral(ReferralId),
    /// One opportunity or lead with all mapped columns.
    ReadRecord(Record),
    /// Referrals whose ids are not known.
    SearchReferrals(Search),
    /// The opportunities that came of a lead, the oldest first; one is enough.
    FindOffspring(LeadId),
    /// Active currencies with this code.
    FindCurrency(Currency),
    /// Active accounts with this name and postal code; a few are enough to see that it is ambiguous.
    FindAccount {
        /// Exact name.
        name: String,
        /// Postal code; blank means it is not asked for.
        postal_code: String,
    },
    /// Active accounts whose web site or mail address is in this domain.
    FindAccountsOf {
        /// The domain.
        domain: String,
    },
    /// Active contacts with this mail address; a few are enough.
    FindContact {
        /// Mail address.
        email: String,
    },
    /// Writes the link with what we are about to do.
    Intend(Box<LinkWrite>),
    /// Changes a referral, if it is still at this version.
    PatchReferral {
        /// Which.
        id: ReferralId,
        /// The version the change stands on.
        etag: Etag,
        /// What to set.
        operations: Vec<PatchOperation>,
    },
    /// Creates a referral. Not idempotent: a lost answer is a doubt.
    CreateReferral(Box<NewReferral>),
    /// Creates a row under an id of our choice, if there is none.
    CreateRow {
        /// In which table.
        table: Table,
        /// Under which id.
        id: Uuid,
        /// With what.
        change: RowChange,
    },
    /// Changes an opportunity or a lead, if it is still at this version.
    UpdateRecord {
        /// Which.
        id: Record,
        /// The version the change stands on.
        etag: Etag,
        /// What to set.
        change: RowChange,
    },
    /// Creates a row of a deal's solutions under a key of our choice, if there is none.
    AddSolution {
        /// Under which key.
        key: Uuid,
        /// With what.
        change: RowChange,
    },
    /// Changes a row of a deal's solutions, if it is still at this version.
    UpdateSolution {
        /// Which.
        key: Uuid,
        /// The version that was seen.
        etag: Etag,
        /// What to set.
        change: RowChange,
    },
    /// Closes an opportunity.
    CloseOpportunity {
        /// Which.
        id: OpportunityId,
        /// How.
        close: Close,
    },
    /// Qualifies a lead.
    QualifyLead {
        /// Which.
        id: LeadId,
        /// How.
        qualify: Qualify,
    },
    /// Writes what was achieved: link, pointers and audit.
    Commit(Box<LinkWrite>),
}

impl Call {
    /// The side whose records it changes; none when it reads, or writes the ledger.
    #[must_use]
    pub const fn writes_toward(&self) -> Option<Side> {
        match self {
            Self::PatchReferral { .. } | Self::CreateReferral(_) => Some(Side::PartnerCenter),
            Self::CreateRow { .. }
            | Self::UpdateRecord { .. }
            | Self::AddSolution { .. }
            | Self::UpdateSolution { .. }
            | Self::CloseOpportunity { .. }
            | Self::QualifyLead { .. } => Some(Side::Dynamics),
            Self::FindLink(_)
            | Self::FindEngagement(_)
            | Self::Wait(_)
            | Self::ReadLink(_)
            | Self::ReadReferral(_)
            | Self::ReadRecord(_)
            | Self::SearchReferrals(_)
            | Self::FindOffspring(_)
            | Self::FindCurrency(_)
            | Self::FindAccount { .. }
            | Self::FindAccountsOf { .. }
            | Self::FindContact { .. }
            | Self::Intend(_)
            | Self::Commit(_) => None,
        }
    }
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To `FindLink`, `FindEngagement`, `ReadLink`.
    Link(Option<Box<Link>>),
    /// To `ReadReferral`: none when there is none, or none that we may see. To `PatchReferral`, `CreateReferral`: the
    /// record afterwards; none when the vendor did not show it.
    Referral(Option<Box<Referral>>),
    /// To `SearchReferrals`.
    Referrals(Vec<Referral>),
    /// To `ReadRecord`: none when there is none. To `CreateRow`, `AddSolution`, `UpdateRecord`, `UpdateSolution`: the
    /// row afterwards, perhaps with few columns.
    Row(Option<Box<Row>>),
    /// To `FindOffspring`, `FindCurrency`, `FindAccount`, `FindAccountsOf`, `FindContact`: up to [`MOST_FOUND`].
    Rows(Vec<Row>),
    /// To `Intend`, `Commit`: it is written. To `CloseOpportunity`, `QualifyLead`: it is. To `Wait`: it has passed.
    Done,
    /// To `Intend`, `Commit`: somebody else wrote the link first.
    Outrun,
    /// To `Intend`, `Commit`: a record belongs to another link already.
    Taken(Pointer, LinkId),
    /// To a conditional write: the record has another version.
    Stale,
    /// To `CreateRow`, `AddSolution`: there is one already.
    Exists,
    /// To a conditional write: there is no such record.
    Gone,
    /// The call failed.
    Failed(Fault),
}
