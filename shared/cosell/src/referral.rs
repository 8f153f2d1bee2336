//! The referral as Partner Center shows it, and what we may send back.
//!
//! Knows: the wire form of the Referrals API (`referral-resources`, `create-a-referral`, `patch-a-referral`). Refuses to
//! know: which of it goes where in the CRM. Guarantee: reading is tolerant (nulls, absent parts, `{}` for a list,
//! numbers as strings, unknown values), so a strange referral becomes a finding and never an unreadable message.

use std::fmt;

use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::amount::Amount;
use crate::ids::{EngagementId, Etag, OpportunityId, ReferralId, SolutionId};

/// Id of the organisation that Microsoft's own records carry (`invitedBy.organizationId`, `target.id`).
pub const MICROSOFT: &str = "msft";

/// What was found where a value was expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reading<T> {
    /// Absent or null.
    #[default]
    Nothing,
    /// A value we understand.
    Value(T),
    /// Something else; the text is kept to be shown and never sent.
    Unreadable(String),
}

impl<T> Reading<T> {
    /// The value, if there is one that we understand.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Unreadable(_) => None,
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Reading<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get() == "null" {
            return Ok(Self::Nothing);
        }
        Ok(serde_json::from_str(raw.get())
            .map_or_else(|_| Self::Unreadable(raw.get().chars().take(200).collect()), Self::Value))
    }
}

/// Reads a list whatever the vendor prints for an empty one: `[]`, `{}`, null.
fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list, `{}` or null")
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element::<Option<T>>()? {
                list.extend(item);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_any(List(std::marker::PhantomData))
}

/// Reads null as the default, for parts that the vendor prints as `null` when they are empty.
fn part<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// One referral record.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referral {
    /// Id of this record.
    pub id: ReferralId,
    /// Joins all referrals of the deal. Null has not been seen, yet it costs nothing to tolerate.
    #[serde(default)]
    pub engagement_id: Option<EngagementId>,
    /// Name of the deal; null on inbound deals until they are accepted.
    #[serde(default)]
    pub name: Option<String>,
    /// Owner of this record; [`MICROSOFT`] for Microsoft's half.
    #[serde(default)]
    pub organization_id: Option<String>,
    /// The owner's id of the deal in its CRM. We write the opportunity's GUID; people write anything.
    #[serde(default)]
    pub external_reference_id: Option<String>,
    /// When the record was made.
    #[serde(default)]
    pub created_date_time: Reading<Timestamp>,
    /// When it last changed. Shown, never used to choose between values.
    #[serde(default)]
    pub updated_date_time: Reading<Timestamp>,
    /// Status as printed; see [`crate::stage`].
    #[serde(default, deserialize_with = "part")]
    pub status: String,
    /// Substatus as printed.
    #[serde(default, deserialize_with = "part")]
    pub substatus: String,
    /// Free text given when closing.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// `None`, `Direct`, `MarketingQualified`, `SalesQualified`.
    #[serde(default, deserialize_with = "part")]
    pub qualification: String,
    /// `Independent` or `Shared`.
    #[serde(default, rename = "type", deserialize_with = "part")]
    pub kind: String,
    /// `Incoming` or `Outgoing`; unreliable for partner-created records.
    #[serde(default, deserialize_with = "part")]
    pub direction: String,
    /// Entity tag, quotes included.
    #[serde(default, rename = "eTag")]
    pub etag: Option<Etag>,
    /// Who it is addressed to.
    #[serde(default, deserialize_with = "list")]
    pub target: Vec<Target>,
    /// The customer.
    #[serde(default, deserialize_with = "part")]
    pub customer_profile: CustomerProfile,
    /// What may be shared with whom.
    #[serde(default, deserialize_with = "part")]
    pub consent: Consent,
    /// The deal's terms.
    #[serde(default, deserialize_with = "part")]
    pub details: Details,
    /// Who invited whom.
    #[serde(default, deserialize_with = "part")]
    pub invite_context: InviteContext,
    /// Microsoft's own ids.
    #[serde(default, deserialize_with = "part")]
    pub tracking_info: TrackingInfo,
    /// The programme it belongs to.
    #[serde(default)]
    pub referral_program: Option<String>,
    /// How far the sale is: a word, a percentage as text, a number.
    #[serde(default)]
    pub sales_stage: Reading<Word>,
    /// Id of the marketing campaign.
    #[serde(default)]
    pub campaign_id: Option<String>,
    /// The partner's people.
    #[serde(default, deserialize_with = "list")]
    pub team: Vec<Member>,
}

/// What a list shows of a referral: enough to decide whether to look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: ReferralId,
    /// The engagement it belongs to.
    pub engagement_id: Option<EngagementId>,
    /// When it last changed.
    pub updated_at: Option<Timestamp>,
    /// Its version.
    pub etag: Option<Etag>,
}

/// A text that may be printed as a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Text(String),
            Number(serde_json::Number),
        }
        Ok(Self(match Spelling::deserialize(deserializer)? {
            Spelling::Text(text) => text,
            Spelling::Number(number) => number.to_string(),
        }))
    }
}

/// Who a referral is addressed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// `None`, `BusinessProfileLocation` or `SolutionProfile`.
    #[serde(rename = "type", deserialize_with = "part")]
    pub kind: String,
    /// [`MICROSOFT`], a location's GUID or a solution's id.
    #[serde(deserialize_with = "part")]
    pub id: String,
}

/// The customer of a deal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CustomerProfile {
    /// Legal name.
    #[serde(deserialize_with = "part")]
    pub name: String,
    /// Postal address.
    #[serde(deserialize_with = "part")]
    pub address: Address,
    /// Contacts at the customer.
    #[serde(deserialize_with = "list")]
    pub team: Vec<Member>,
}

/// A postal address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Address {
    /// First line.
    #[serde(deserialize_with = "part")]
    pub address_line1: String,
    /// Second line.
    #[serde(deserialize_with = "part", skip_serializing_if = "String::is_empty")]
    pub address_line2: String,
    /// City.
    #[serde(deserialize_with = "part")]
    pub city: String,
    /// State or province.
    #[serde(deserialize_with = "part", skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Postal code.
    #[serde(deserialize_with = "part", skip_serializing_if = "String::is_empty")]
    pub postal_code: String,
    /// ISO 3166 alpha-2 code.
    #[serde(deserialize_with = "part")]
    pub country: String,
}

/// A person of the partner's or the customer's team.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Member {
    /// First name.
    #[serde(deserialize_with = "part")]
    pub first_name: String,
    /// Last name.
    #[serde(deserialize_with = "part")]
    pub last_name: String,
    /// Phone number.
    #[serde(deserialize_with = "part")]
    pub phone_number: String,
    /// Mail address.
    #[serde(deserialize_with = "part")]
    pub email: String,
}

/// The consent flags. Only the visibility flag is ours to change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Consent {
    /// Visible to Microsoft's sellers; can be switched on, never off.
    pub consent_to_share_referral_with_microsoft_sellers: Reading<bool>,
}

/// The terms of a deal.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Details {
    /// Free text.
    pub notes: Option<String>,
    /// Value of the deal.
    pub deal_value: Reading<Amount>,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// Expected close, midnight UTC by convention; only the date has a meaning.
    pub closing_date_time: Option<String>,
    /// What the customer needs.
    #[serde(deserialize_with = "part")]
    pub requirements: Requirements,
}

/// What the customer needs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Requirements {
    /// Solutions on the deal.
    #[serde(deserialize_with = "list")]
    pub solutions: Vec<SolutionTag>,
}

/// A solution on the deal; members we do not know are kept and sent back as they were.
#[derive(Clone, Debug)]
pub struct SolutionTag {
    /// Its catalogue id.
    pub id: SolutionId,
    raw: Box<RawValue>,
}

impl PartialEq for SolutionTag {
    fn eq(&self, other: &Self) -> bool {
        self.raw.get() == other.raw.get()
    }
}

impl Eq for SolutionTag {}

impl SolutionTag {
    /// A catalogue solution of which only the id is known.
    ///
    /// # Errors
    /// Never in practice; serialising two strings cannot fail.
    pub fn named(id: &SolutionId) -> Result<Self, serde_json::Error> {
        let raw = serde_json::value::to_raw_value(&serde_json::json!({ "id": id, "name": id, "type": "Name" }))?;
        Ok(Self { id: id.clone(), raw })
    }
}

impl SolutionTag {
    /// A catalogue solution of which more is known; what is blank is left out.
    ///
    /// # Errors
    /// Never in practice; serialising texts cannot fail.
    pub fn described(id: &SolutionId, name: &str, publisher: &str, kind: &str) -> Result<Self, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Tag<'a> {
            id: &'a SolutionId,
            name: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            publisher_name: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            solution_type: &'a str,
            #[serde(rename = "type")]
            tag_type: &'static str,
        }
        let raw = serde_json::value::to_raw_value(&Tag {
            id,
            name,
            publisher_name: publisher,
            solution_type: kind,
            tag_type: "Name",
        })?;
        Ok(Self { id: id.clone(), raw })
    }

    /// What it says of the solution besides its id; what is not text is nothing.
    #[must_use]
    pub fn about(&self) -> SolutionFacts {
        let members: std::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_str(self.raw.get()).unwrap_or_default();
        let text = |member: &str| {
            let text = members.get(member).and_then(serde_json::Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        SolutionFacts {
            name: text("name"),
            publisher_name: text("publisherName"),
            solution_type: text("solutionType"),
        }
    }
}

/// What a referral says of a solution besides its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SolutionFacts {
    /// Its name.
    pub name: String,
    /// Who publishes it.
    pub publisher_name: String,
    /// Its type, such as `3P`.
    pub solution_type: String,
}

impl<'de> Deserialize<'de> for SolutionTag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Tag {
            #[serde(default, deserialize_with = "part")]
            id: String,
        }
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let tag: Tag = serde_json::from_str(raw.get()).unwrap_or(Tag { id: String::new() });
        Ok(Self {
            id: SolutionId(tag.id),
            raw,
        })
    }
}

impl Serialize for SolutionTag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

/// Who invited whom, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InviteContext {
    /// Message to the invited organisation.
    pub notes: Option<String>,
    /// The help that was asked for.
    pub assistance_request_code: Option<String>,
    /// Who invited.
    #[serde(deserialize_with = "part")]
    pub invited_by: InvitedBy,
}

/// The organisation that invited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InvitedBy {
    /// Its id; [`MICROSOFT`] for Microsoft.
    pub organization_id: Option<String>,
}

/// Microsoft's own ids of the deal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TrackingInfo {
    /// Id in Microsoft's CRM, given once Microsoft has accepted.
    pub microsoft_msx_id: Option<String>,
}

impl Referral {
    /// Whether this is Microsoft's half of a co-sell deal rather than the partner's own record.
    #[must_use]
    pub fn is_microsofts(&self) -> bool {
        self.organization_id
            .as_deref()
            .is_some_and(|id| id.eq_ignore_ascii_case(MICROSOFT))
            || self
                .target
                .iter()
                .any(|target| target.id.eq_ignore_ascii_case(MICROSOFT))
    }

    /// Whether Microsoft sent it to the partner.
    #[must_use]
    pub fn is_invited_by_microsoft(&self) -> bool {
        self.invite_context
            .invited_by
            .organization_id
            .as_deref()
            .is_some_and(|id| id.eq_ignore_ascii_case(MICROSOFT))
    }

    /// Whether another partner sent it: who answers such a deal, and how, is not documented.
    #[must_use]
    pub fn is_from_another_partner(&self) -> bool {
        let by = self.invite_context.invited_by.organization_id.as_deref();
        let own = self.organization_id.as_deref();
        by.zip(own)
            .is_some_and(|(by, own)| !by.trim().is_empty() && !by.eq_ignore_ascii_case(own))
            && !self.is_invited_by_microsoft()
    }

    /// Whether it is an opportunity to sell together, as opposed to a lead (`referrals-api-introduction`, classes of
    /// referrals; `direction` alone is not reliable).
    #[must_use]
    pub fn is_cosell(&self) -> bool {
        self.kind == "Shared"
            || self.direction == "Outgoing"
            || !self.is_invited_by_microsoft() && !self.kind.is_empty() && self.qualification != "Direct"
    }

    /// Whether its type is one that tells a deal from a lead.
    #[must_use]
    pub fn has_known_type(&self) -> bool {
        matches!(self.kind.as_str(), "Independent" | "Shared")
    }

    /// The reference to the partner's CRM, blank meaning none.
    #[must_use]
    pub fn reference(&self) -> Reference<'_> {
        match self.external_reference_id.as_deref().map(str::trim) {
            None | Some("") => Reference::None,
            Some(text) => text.parse().map_or(Reference::Foreign(text), Reference::Opportunity),
        }
    }
}

/// What `externalReferenceId` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// Nothing.
    None,
    /// A GUID, hence perhaps one of our opportunities.
    Opportunity(OpportunityId),
    /// Something a person or another system wrote.
    Foreign(&'a str),
}

/// A referral to be created; serialises to exactly the body that is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewReferral {
    /// The engagement to join: given for Microsoft's half only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engagement_id: Option<EngagementId>,
    /// Name of the deal.
    pub name: String,
    /// Our id of the deal, from the start: it makes a lost answer findable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_reference_id: Option<String>,
    /// Always `SalesQualified`.
    pub qualification: String,
    /// `Shared` for co-sell, else `Independent`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Our solution, or Microsoft.
    pub target: Vec<Target>,
    /// The customer.
    pub customer_profile: CustomerProfile,
    /// The consent flags.
    pub consent: NewConsent,
    /// The terms.
    pub details: NewDetails,
    /// The partner's people.
    pub team: Vec<Member>,
    /// What is asked of Microsoft: Microsoft's half only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_context: Option<NewInviteContext>,
}

/// The consent flags of a new referral. The doubled `To` is the vendor's spelling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewConsent {
    /// May share personal data with other organisations.
    pub consent_to_to_share_info_with_others: bool,
    /// May contact the people named.
    pub consent_to_contact: bool,
    /// Visible to Microsoft's sellers.
    pub consent_to_share_referral_with_microsoft_sellers: bool,
}

/// The terms of a new referral.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewDetails {
    /// Free text.
    pub notes: String,
    /// Value.
    pub deal_value: Amount,
    /// ISO 4217 code.
    pub currency: String,
    /// Midnight UTC of the closing date.
    pub closing_date_time: String,
    /// Solutions and attributes.
    pub requirements: NewRequirements,
}

/// Solutions and attributes of a new referral.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewRequirements {
    /// At least one.
    pub solutions: Vec<SolutionTag>,
    /// Attributes such as the customer's marketplace intent.
    pub additional_requirements: AdditionalRequirements,
}

/// Attributes of a new referral.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdditionalRequirements {
    /// Pairs of type and id.
    pub attributes: Vec<Attribute>,
}

/// One attribute, such as `CustomerMarketplaceIntent` = `HaveNotDecided`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its value.
    pub id: String,
}

/// What is asked of Microsoft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewInviteContext {
    /// Message to Microsoft's seller.
    pub notes: String,
    /// Kind of help.
    pub assistance_request_code: String,
}

/// One operation of a PATCH. The path is one of the eighteen that the published definition of the API lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatchOperation {
    /// `replace` for a member that every referral shows, if only as null; `add` for the others, and for one more entry of a
    /// list.
    pub op: &'static str,
    /// Which member.
    pub path: &'static str,
    /// Its new value.
    pub value: PatchValue,
}

impl PatchOperation {
    /// Sets one member.
    #[must_use]
    pub const fn replace(path: &'static str, value: PatchValue) -> Self {
        Self {
            op: "replace",
            path,
            value,
        }
    }

    /// Sets one member that may be absent, or adds an entry to a list (path ending in `/-`).
    #[must_use]
    pub const fn add(path: &'static str, value: PatchValue) -> Self {
        Self { op: "add", path, value }
    }
}

/// A value to patch with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PatchValue {
    /// Text.
    Text(String),
    /// Money, as an exact number.
    Amount(Amount),
    /// Yes or no.
    Flag(bool),
    /// The whole list of solutions.
    Solutions(Vec<SolutionTag>),
    /// A whole list of people.
    People(Vec<Member>),
    /// One more person.
    Person(Member),
}
