//! The ledger's records: what we remember of a deal between two looks at it.
//!
//! Knows: which two (or three) records belong together, what both sides last agreed on, what we were about to write.
//! Guarantee: everything needed to finish, repeat or explain a write is in here before the write happens.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::deal::{Field, Help, Side, Term, Terms};
use crate::finding::Finding;
use crate::hint::{Cause, Subject};
use crate::ids::{EngagementId, Etag, LeadId, LinkId, OpportunityId, Record, ReferralId};
use crate::referral::Referral;
use crate::stage::Stage;

/// One deal: the pair of records, and what both said when we last made them agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Key of the item.
    pub id: LinkId,
    /// Rises by one with each write; every write names the version it replaces.
    pub version: u64,
    /// Token of the run that wrote this version; tells a lost answer from a lost race.
    pub writer: String,
    /// The opportunity, existing or about to be created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opportunity: Option<OpportunityId>,
    /// The lead that came before the opportunity. Without an opportunity it is the deal's row in the CRM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<LeadId>,
    /// The partner's own referral.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<ReferralId>,
    /// The engagement that joins our referral and Microsoft's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engagement: Option<EngagementId>,
    /// Microsoft's half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microsoft: Option<ReferralId>,
    /// What both sides showed when they last agreed; none until both exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// Versions of both records at that time.
    #[serde(default)]
    pub etags: Etags,
    /// The newest state of the referral that was ever seen: a read may show an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
    /// What we were about to write; cleared by the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// When to look again without being told to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Due>,
    /// What a person has to settle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attention: Vec<Finding>,
    /// Since when a person is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_since: Option<Timestamp>,
    /// Whether it takes part at all.
    #[serde(default)]
    pub state: State,
    /// Pairs that an operator parted: none of them is joined, or made anew, by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parted: Vec<Parted>,
    /// What our own columns of the opportunity show.
    #[serde(default)]
    pub shown: Shown,
    /// Lines of the audit column, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<String>,
    /// Whether the referral carries our opportunity's id as its reference.
    #[serde(default)]
    pub referenced: bool,
    /// The deal was closed in Dynamics; Partner Center is told after a while, since closing is final there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// What became of the help that the seller wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// Digits after the point that the CRM keeps for this deal's currency.
    #[serde(default = "two")]
    pub money_digits: u32,
    /// Version of the mapping that the base was made with.
    #[serde(default)]
    pub mapping_version: u32,
    /// Keys of the deal's solution rows: a deleted row is told by its key alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub solution_rows: Vec<Uuid>,
    /// What a run wrote, or may have written, behind the look of another that took its place, and could not look at since.
    /// The next look at both sides takes what it finds of it for ours and not for a person's, and forgets the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<Change>,
}

const fn two() -> u32 {
    2
}

/// Whether a link takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    #[default]
    Active,
    /// The seller switched it off.
    Paused,
    /// One of its records is gone; nothing is created again.
    Gone,
    /// An operator parted its records; it holds none of them any more.
    Parted,
}

/// Records that were one deal until an operator parted them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parted {
    /// The partner's own referral.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<ReferralId>,
    /// The opportunity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opportunity: Option<OpportunityId>,
    /// Microsoft's half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microsoft: Option<ReferralId>,
    /// The lead it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<LeadId>,
}

impl Parted {
    /// Whether a record was one of them.
    #[must_use]
    pub fn names(&self, subject: Subject) -> bool {
        match subject {
            Subject::Referral(id) => self.referral == Some(id) || self.microsoft == Some(id),
            Subject::Opportunity(id) => self.opportunity == Some(id),
            Subject::Lead(id) => self.lead == Some(id),
        }
    }
}

/// What both sides showed when they last agreed. They may differ where one system cannot hold what the other says (a cut
/// text, a rounded value, On Hold): a side has moved when it differs from *its own* half.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The referral's half.
    pub referral: Terms,
    /// The opportunity's half.
    pub opportunity: Terms,
}

impl Base {
    /// One half.
    #[must_use]
    pub const fn side(&self, side: Side) -> &Terms {
        match side {
            Side::PartnerCenter => &self.referral,
            Side::Dynamics => &self.opportunity,
        }
    }

    /// One half, to be changed.
    pub const fn side_mut(&mut self, side: Side) -> &mut Terms {
        match side {
            Side::PartnerCenter => &mut self.referral,
            Side::Dynamics => &mut self.opportunity,
        }
    }
}

/// A state of a referral, by the date of its last change (`updatedDateTime`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newest {
    /// Which referral.
    pub referral: ReferralId,
    /// When it came to be.
    pub changed_at: Timestamp,
    /// Its version. Nothing documents that the answer to a write and a read tell the very same date of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

/// Versions of both records; none when the last write did not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Etags {
    /// The referral's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<Etag>,
    /// The opportunity's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opportunity: Option<Etag>,
}

impl Etags {
    /// The version of a side's record is not known any more.
    pub fn forget(&mut self, side: Side) {
        match side {
            Side::PartnerCenter => self.referral = None,
            Side::Dynamics => self.opportunity = None,
        }
    }
}

/// Which of the two referrals of a co-sell deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Half {
    /// The partner's own.
    Own,
    /// Microsoft's, which invites its sellers.
    Microsofts,
}

/// An effect that was announced in the ledger before it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pending {
    /// The opportunity named in the link is created from these terms of the referral.
    CreateOpportunity {
        /// The referral's terms at the time; none once they were refused for good, so that its next ones are taken.
        terms: Terms,
    },
    /// The lead named in the link is created from these terms of the referral.
    CreateLead {
        /// As in `CreateOpportunity`.
        terms: Terms,
    },
    /// A referral is created; its id is the server's choice, so a doubtful outcome is searched for.
    CreateReferral {
        /// Which half.
        half: Half,
        /// The opportunity's terms at the time.
        terms: Terms,
        /// When it was announced.
        since: Timestamp,
        /// How many searches have not found it.
        negatives: u8,
    },
    /// Both records exist and are brought into step.
    Update {
        /// What is written to the referral.
        referral: Terms,
        /// What is written to the opportunity.
        opportunity: Terms,
        /// What will be said of it, losers included.
        changes: Vec<Change>,
        /// The field that an operator set on both sides: whoever finishes this takes it for what the seller says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ordered: Option<Field>,
    },
    /// An operator joins the two: synchronisation is switched on in the row.
    Join,
    /// An operator parts the two: the row forgets the referral, then the ledger does.
    Part,
}

impl Pending {
    /// Whether a change is what this announcement is for, and not one that the same run has written before, which is still
    /// to be told: of those that end alike, the last. Of two that empty a field this cannot tell: to empty it and to leave
    /// it alone look the same here.
    #[must_use]
    pub fn is_for(&self, change: &Change) -> bool {
        let Self::Update {
            referral,
            opportunity,
            changes,
            ..
        } = self
        else {
            return false;
        };
        let toward = match change.side {
            Side::PartnerCenter => referral,
            Side::Dynamics => opportunity,
        };
        let ends_alike = |other: &&Change| {
            (other.side, other.field, &other.new) == (change.side, change.field, toward.get(change.field))
        };
        changes.iter().rfind(ends_alike) == Some(change)
    }
}

/// When to look at a deal again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Not before.
    pub at: Timestamp,
    /// How often in a row it had to be put off.
    pub attempts: u32,
    /// Why, as a code.
    pub why: String,
}

/// What our own columns of an opportunity show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Referral identifier and link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<ReferralId>,
    /// Sync state, and with it the mark before the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SyncStatus>,
    /// Microsoft's id of the deal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microsoft_crm_id: Option<String>,
    /// Where Microsoft's half stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microsoft: Option<Stage>,
    /// The notes in Microsoft's half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microsoft_notes: Option<String>,
    /// The people in Microsoft's half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microsoft_team: Option<String>,
}

/// A deal that was closed in Dynamics and not yet in Partner Center.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The stage, as the opportunity shows it.
    pub stage: Term,
    /// When that was first seen.
    pub since: Timestamp,
}

/// What became of the help that the seller wants from Microsoft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What the opportunity wanted when it was looked at.
    pub help: Option<Help>,
    /// Why Microsoft could not be asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What sellers see of the sync state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncStatus {
    /// Not shared.
    NotSynced,
    /// In step.
    Synced,
    /// Somebody has to act.
    Error,
    /// Being worked on.
    Waiting,
    /// Switched off by the seller.
    Paused,
}

/// One field of one record that was written, and what it replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which field.
    pub field: Field,
    /// Which side was written to.
    pub side: Side,
    /// What stood there.
    pub old: Term,
    /// What stands there now.
    pub new: Term,
    /// Whether `old` was a person's edit that nobody had seen yet: it lost a conflict and can be restored.
    #[serde(default)]
    pub lost: bool,
}

/// One record of the audit: complete without the logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The deal.
    pub link: LinkId,
    /// Version of the link that this entry was written with.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// What made us look.
    pub cause: Cause,
    /// Key that joins the trigger, the calls and this entry.
    pub trace: String,
    /// The partner's own referral.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<ReferralId>,
    /// The opportunity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opportunity: Option<OpportunityId>,
    /// The lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<LeadId>,
    /// Why.
    pub findings: Vec<Finding>,
    /// What was written.
    pub changes: Vec<Change>,
    /// Versions of both records afterwards.
    pub etags: Etags,
    /// The vendors' ids of the calls that were made.
    pub requests: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a look at a deal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing differed from the base.
    Echo,
    /// The record is none of our business.
    Ignored,
    /// Something was written to a vendor.
    Written,
    /// Both sides had come to agree by themselves, or something was only noted.
    Noted,
    /// Put off.
    Due,
    /// A person has to act.
    Parked,
    /// Planned, not written: the connector runs dry.
    Planned,
}

impl Outcome {
    /// Its name in logs, metrics and audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Ignored => "ignored",
            Self::Written => "written",
            Self::Noted => "noted",
            Self::Due => "due",
            Self::Parked => "parked",
            Self::Planned => "planned",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key that leads to a link; written together with the link. A claim is never shared by two links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pointer {
    /// The partner's own referral.
    Referral(ReferralId),
    /// The opportunity.
    Opportunity(OpportunityId),
    /// The lead.
    Lead(LeadId),
    /// Microsoft's half.
    Microsoft(ReferralId),
    /// The engagement.
    Engagement(EngagementId),
    /// A solution row, and a link that has seen it. It may be moved to another deal, so its pointers claim nothing: each
    /// link that ever had the row has one of its own.
    SolutionRow {
        /// The row's key.
        row: Uuid,
        /// The link's.
        seen_by: LinkId,
    },
}

impl Pointer {
    /// Whether no two links may have it.
    #[must_use]
    pub const fn is_claim(self) -> bool {
        !matches!(self, Self::SolutionRow { .. })
    }
}

/// One write to the ledger: link, pointers and audit, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkWrite {
    /// The link as it shall be; its version is one more than the one it replaces.
    pub link: Link,
    /// Pointers that must be free, or point to this link already, if they are claims.
    pub pointers: Vec<Pointer>,
    /// Pointers of this link that any link may take from now on.
    pub freed: Vec<Pointer>,
    /// Audit records to add.
    pub audit: Vec<AuditEntry>,
}

impl LinkWrite {
    /// The version that must be there for the write to happen; none when the link is new.
    #[must_use]
    pub const fn replaces(&self) -> Option<u64> {
        match self.link.version {
            0 | 1 => None,
            version => Some(version - 1),
        }
    }
}

impl Link {
    /// A link nobody has written yet (version 0).
    #[must_use]
    pub fn new(id: LinkId) -> Self {
        Self {
            id,
            version: 0,
            writer: String::new(),
            opportunity: None,
            lead: None,
            referral: None,
            engagement: None,
            microsoft: None,
            base: None,
            etags: Etags::default(),
            newest: None,
            pending: None,
            due: None,
            attention: Vec::new(),
            attention_since: None,
            state: State::Active,
            parted: Vec::new(),
            shown: Shown::default(),
            journal: Vec::new(),
            referenced: false,
            closing: None,
            asked: None,
            money_digits: two(),
            mapping_version: 0,
            solution_rows: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Takes note of the state in which a referral was seen, unless a list has shown it as it was before.
    pub fn saw(&mut self, referral: &Referral) {
        if !self.is_outdated(referral) {
            self.believe(referral);
        }
    }

    /// Takes note of the state in which a referral is, whatever was seen before.
    pub fn believe(&mut self, referral: &Referral) {
        if let Some(changed_at) = referral.updated_date_time.value().copied() {
            self.newest = Some(Newest {
                referral: referral.id,
                changed_at,
                etag: referral.etag.clone(),
            });
        }
    }

    /// Whether a referral is shown in an older state than it was seen in before. The very version that was seen last is not,
    /// whatever its date.
    #[must_use]
    pub fn is_outdated(&self, referral: &Referral) -> bool {
        let is_another = |newest: &&Newest| newest.etag.is_none() || newest.etag != referral.etag;
        let newest = self.newest.as_ref().filter(|newest| newest.referral == referral.id);
        let newest = newest.filter(is_another);
        let shown = referral.updated_date_time.value();
        newest.is_some_and(|newest| shown.is_some_and(|shown| *shown < newest.changed_at))
    }

    /// Whether a record was parted from this link and does not belong to it now.
    #[must_use]
    pub fn has_parted(&self, subject: Subject) -> bool {
        let is_held = self.state != State::Parted
            && match subject {
                Subject::Referral(id) => self.referral == Some(id) || self.microsoft == Some(id),
                Subject::Opportunity(id) => self.opportunity == Some(id),
                Subject::Lead(id) => self.lead == Some(id),
            };
        !is_held && self.parted.iter().any(|parted| parted.names(subject))
    }

    /// The link once its records were parted: it names them in its memory alone.
    #[must_use]
    pub fn apart(mut self) -> Self {
        let parted = Parted {
            referral: self.referral.take(),
            opportunity: self.opportunity.take(),
            microsoft: self.microsoft.take(),
            lead: self.lead.take(),
        };
        self.parted.push(parted);
        self.engagement = None;
        self.closing = None;
        self.asked = None;
        self.solution_rows = Vec::new();
        self.late = Vec::new();
        self.base = None;
        self.etags = Etags::default();
        self.pending = None;
        self.due = None;
        self.attention = Vec::new();
        self.attention_since = None;
        self.state = State::Parted;
        self.shown = Shown::default();
        self.referenced = false;
        self
    }

    /// Whether its records are looked at, now or once its seller switches it on again.
    #[must_use]
    pub const fn takes_part(&self) -> bool {
        matches!(self.state, State::Active | State::Paused)
    }

    /// The deal's row in the CRM: the opportunity, or the lead while there is none.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        let lead = self.lead.map(Record::Lead);
        self.opportunity.map(Record::Opportunity).or(lead)
    }

    /// The record to look at for this deal: its referral, or what there is while it has none.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        let own = self.referral.map(Subject::Referral);
        let row = self.record().map(Subject::from);
        own.or(row).or(self.microsoft.map(Subject::Referral))
    }

    /// Whether the deal's row in the CRM is a lead.
    #[must_use]
    pub const fn is_lead(&self) -> bool {
        self.lead.is_some() && self.opportunity.is_none()
    }

    /// Whether it is about one record, which could not be linked: no other is known or under way.
    #[must_use]
    pub fn is_kept_for_a_record(&self) -> bool {
        let records = [
            self.referral.is_some(),
            self.microsoft.is_some(),
            self.opportunity.is_some(),
            self.lead.is_some(),
        ];
        let is_single = records.into_iter().filter(|is_known| *is_known).count() <= 1;
        is_single && self.base.is_none() && matches!(self.pending, None | Some(Pending::Update { .. }))
    }

    /// Whether the creation of one of its records is announced and not committed.
    #[must_use]
    pub const fn is_being_created(&self) -> bool {
        matches!(
            self.pending,
            Some(Pending::CreateOpportunity { .. } | Pending::CreateLead { .. } | Pending::CreateReferral { .. })
        )
    }

    /// Every pointer that leads here.
    #[must_use]
    pub fn pointers(&self) -> Vec<Pointer> {
        [
            self.opportunity.map(Pointer::Opportunity),
            self.lead.map(Pointer::Lead),
            self.referral.map(Pointer::Referral),
            self.microsoft.map(Pointer::Microsoft),
            self.engagement.map(Pointer::Engagement),
        ]
        .into_iter()
        .flatten()
        .chain(self.solution_rows.iter().map(|row| Pointer::SolutionRow {
            row: *row,
            seen_by: self.id,
        }))
        .collect()
    }
}
