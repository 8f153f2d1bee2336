//! Identifiers as types, so that a referral's id cannot be passed where an opportunity's is wanted.
//!
//! Guarantee: rows we create have ids that follow from the referral or the customer they come from, so that creating one
//! twice is the same request.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that should have been a GUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} id {value:?} is not a GUID")]
pub struct InvalidId {
    kind: &'static str,
    value: String,
}

macro_rules! guid {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a GUID.
            #[must_use]
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The bare GUID.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", $kind, self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // Braces, URN form and missing hyphens are refused by length: vendors print the 36-character form.
                Some(text.trim())
                    .filter(|text| text.len() == 36)
                    .and_then(|text| Uuid::parse_str(text).ok())
                    .map(Self)
                    .ok_or_else(|| InvalidId { kind: $kind, value: text.chars().take(64).collect() })
            }
        }
    };
}

guid!(
    /// A referral record in Partner Center.
    ReferralId, "referral"
);
guid!(
    /// The engagement that joins all referrals of one deal.
    EngagementId, "engagement"
);
guid!(
    /// An opportunity row in Dataverse.
    OpportunityId, "opportunity"
);
guid!(
    /// A lead row in Dataverse.
    LeadId, "lead"
);
guid!(
    /// An account row in Dataverse.
    AccountId, "account"
);
guid!(
    /// A contact row in Dataverse.
    ContactId, "contact"
);
guid!(
    /// A row of `transactioncurrencies` in Dataverse.
    CurrencyId, "currency"
);
guid!(
    /// An Entra tenant; the namespace of ids that we derive.
    TenantId, "tenant"
);
guid!(
    /// A link in the ledger. It equals the id of the record that first showed the deal to us, so two workers that
    /// meet a new deal at the same time write the same item.
    LinkId, "link"
);

impl From<ReferralId> for LinkId {
    fn from(id: ReferralId) -> Self {
        Self(id.uuid())
    }
}

impl From<OpportunityId> for LinkId {
    fn from(id: OpportunityId) -> Self {
        Self(id.uuid())
    }
}

impl From<LeadId> for LinkId {
    fn from(id: LeadId) -> Self {
        Self(id.uuid())
    }
}

/// The row of the CRM that stands for a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// A deal that was accepted, or that is to be sold together.
    Opportunity(OpportunityId),
    /// A deal that nobody has answered yet and that is not to be sold together.
    Lead(LeadId),
}

impl Record {
    /// Its entity set, as URLs spell it.
    #[must_use]
    pub const fn set(self) -> &'static str {
        match self {
            Self::Opportunity(_) => "opportunities",
            Self::Lead(_) => "leads",
        }
    }

    /// Its key.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        match self {
            Self::Opportunity(id) => id.uuid(),
            Self::Lead(id) => id.uuid(),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opportunity(id) => write!(f, "opportunity {id}"),
            Self::Lead(id) => write!(f, "lead {id}"),
        }
    }
}

impl TenantId {
    /// Blanks and capitals make no other customer: Dataverse compares without them too.
    fn derive(self, kind: &str, parts: &[&str]) -> Uuid {
        let mut text = kind.to_owned();
        for part in parts {
            text.push('\n');
            text.push_str(&part.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
        }
        Uuid::new_v5(&self.0, text.as_bytes())
    }

    /// The opportunity that is created for a referral: always the same one.
    #[must_use]
    pub fn opportunity_for(self, referral: ReferralId) -> OpportunityId {
        OpportunityId(Uuid::new_v5(&self.0, referral.to_string().as_bytes()))
    }

    /// The lead that is created for a referral: always the same one.
    #[must_use]
    pub fn lead_for(self, referral: ReferralId) -> LeadId {
        LeadId(self.derive("lead", &[&referral.to_string()]))
    }

    /// The account that is created for a customer who is not in the CRM yet: the same one for all deals of the customer,
    /// however many arrive at once.
    #[must_use]
    pub fn account_for(self, name: &str, postal_code: &str, country: &str) -> AccountId {
        AccountId(self.derive("account", &[name, postal_code, country]))
    }

    /// The contact that is created for a mail address that is not in the CRM yet.
    #[must_use]
    pub fn contact_for(self, email: &str) -> ContactId {
        ContactId(self.derive("contact", &[email]))
    }
}

impl OpportunityId {
    /// The row of the child table that is created for a solution of this deal. `taken` counts the ids before it that
    /// stand on other rows: of another solution, or of another deal.
    #[must_use]
    pub fn solution_row_for(self, solution: &SolutionId, taken: usize) -> Uuid {
        let name = match taken {
            0 => format!("solution:{solution}"),
            taken => format!("solution:{taken}:{solution}"),
        };
        Uuid::new_v5(&self.0, name.as_bytes())
    }
}

/// A solution of the co-sell catalogue, such as `SOL-12345-ABC`, or a category name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SolutionId(pub String);

impl fmt::Display for SolutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entity tag, exactly as the vendor gave it: inner quotes and weakness mark included.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Etag(pub String);

impl fmt::Debug for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_depend_on_tenant_kind_and_what_they_stand_for() {
        let tenant = TenantId::new(Uuid::from_u128(1));
        let referral = ReferralId::new(Uuid::from_u128(2));
        assert_eq!(tenant.opportunity_for(referral), tenant.opportunity_for(referral));
        assert_eq!(
            tenant.account_for("Söhne  GmbH", "80331", "DE"),
            tenant.account_for(" söhne gmbh ", "80331 ", "de")
        );
        assert_ne!(tenant.account_for("A", "1", "DE"), tenant.account_for("A", "1", "AT"));
        assert_eq!(tenant.contact_for("A@b.example"), tenant.contact_for("a@b.example"));
        assert_ne!(
            tenant.lead_for(referral).uuid(),
            tenant.opportunity_for(referral).uuid()
        );
        assert_ne!(
            TenantId::new(Uuid::from_u128(3)).opportunity_for(referral),
            tenant.opportunity_for(referral)
        );
    }

    #[test]
    fn only_the_printed_form_of_a_guid_is_an_id() {
        assert!("8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10".parse::<ReferralId>().is_ok());
        for text in [
            "",
            "msft",
            "{8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10}",
            "8a0c9f3441d74d2e9c586b1f0e7d2a10",
        ] {
            assert!(text.parse::<ReferralId>().is_err(), "{text}");
        }
    }
}
