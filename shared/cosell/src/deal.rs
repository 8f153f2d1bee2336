//! A deal: the terms both systems hold in common, as typed values.
//!
//! Knows: what each term is and how a referral spells it. Refuses to know: which column of the CRM holds it (that is the
//! mapping's). Guarantee: two spellings of the same value are equal here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::amount::Amount;
use crate::ids::SolutionId;
use crate::mapping::solutions::SolutionRow;
use crate::referral::{CustomerProfile, Member, Reading, Referral};
use crate::stage::Stage;

/// One of the two systems of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Referrals.
    PartnerCenter,
    /// Opportunities.
    Dynamics,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::PartnerCenter => Self::Dynamics,
            Self::Dynamics => Self::PartnerCenter,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PartnerCenter => "Partner Center",
            Self::Dynamics => "Dynamics",
        })
    }
}

/// A term of a deal. Joint terms (value with currency, status with substatus and reason) are one field, so that they
/// are never taken half from one side and half from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The deal's name.
    Name,
    /// Value and currency.
    Value,
    /// Expected close: a calendar date.
    CloseDate,
    /// Notes.
    Notes,
    /// Status, substatus and reason.
    Stage,
    /// Visible to Microsoft's sellers.
    Visibility,
    /// Solutions, by id.
    Solutions,
    /// How far the sale is: the API's own words, whatever a record spells.
    SalesStage,
    /// Id of the marketing campaign.
    Campaign,
    /// Name of the programme the referral belongs to.
    Program,
    /// The partner's people on the deal. In the CRM that is the owner; Partner Center's list may hold more.
    Team,
    /// The customer's people on the deal.
    Contacts,
}

impl Field {
    /// All fields that are merged, in the order they are reported, which is also that of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Name,
        Self::Value,
        Self::CloseDate,
        Self::Notes,
        Self::Stage,
        Self::Visibility,
        Self::Solutions,
        Self::SalesStage,
        Self::Campaign,
        Self::Program,
        Self::Team,
        Self::Contacts,
    ];

    /// Its name in the mapping file, the ledger, the audit and the logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Value => "value",
            Self::CloseDate => "close_date",
            Self::Notes => "notes",
            Self::Stage => "stage",
            Self::Visibility => "visibility",
            Self::Solutions => "solutions",
            Self::SalesStage => "sales_stage",
            Self::Campaign => "campaign",
            Self::Program => "program",
            Self::Team => "team",
            Self::Contacts => "contacts",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An ISO 4217 code, upper case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Currency(String);

impl Currency {
    /// Reads a code; blank means none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let code = text.trim().to_ascii_uppercase();
        (!code.is_empty()).then_some(Self(code))
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of one field on one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// Nothing there.
    #[default]
    Nothing,
    /// Text; line ends are `\n`, no blanks at the end.
    Text(String),
    /// Value with currency.
    Money {
        /// How much.
        amount: Amount,
        /// Of what; a CRM row always has one, a referral may not.
        currency: Option<Currency>,
    },
    /// A calendar date.
    Date(Date),
    /// Where the deal stands.
    Stage {
        /// Stage.
        stage: Stage,
        /// Why it was lost or declined.
        reason: Option<String>,
    },
    /// Yes or no.
    Flag(bool),
    /// Solutions, by id.
    Solutions(BTreeSet<SolutionId>),
    /// People, by mail address in lower case, or by name where there is none.
    People(BTreeMap<String, Person>),
    /// A value we do not understand; kept, shown, never sent.
    Unreadable(String),
}

impl Term {
    /// Canonical text: blank text is nothing.
    #[must_use]
    pub fn text(text: Option<&str>) -> Self {
        let text = text.unwrap_or_default().replace("\r\n", "\n").replace('\r', "\n");
        match text.trim() {
            "" => Self::Nothing,
            text => Self::Text(text.to_owned()),
        }
    }

    /// Canonical stage: a reason belongs to deals that ended without a sale only.
    #[must_use]
    pub fn stage(stage: Stage, reason: Option<&str>) -> Self {
        let reason = match stage {
            Stage::Lost | Stage::Declined => reason
                .map(str::trim)
                .filter(|reason| !reason.is_empty())
                .map(ToOwned::to_owned),
            Stage::Unanswered | Stage::Active | Stage::Won | Stage::Expired | Stage::Erroneous | Stage::Unknown(_) => {
                None
            }
        };
        match stage {
            Stage::Unknown(text) => Self::Unreadable(text),
            stage => Self::Stage { stage, reason },
        }
    }

    /// The people of a list, told apart by their mail addresses, or by their names where they have none.
    #[must_use]
    pub fn people<'a>(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let key = |member: &Member| match member.email.trim() {
            "" => format!("{} {}", member.first_name.trim(), member.last_name.trim()),
            mail => mail.to_owned(),
        };
        let people: BTreeMap<_, _> = members
            .into_iter()
            .map(|member| (key(member).trim().to_lowercase(), Person::from(member)))
            .filter(|(key, _)| !key.is_empty())
            .collect();
        if people.is_empty() {
            Self::Nothing
        } else {
            Self::People(people)
        }
    }

    /// The stage, when this is one.
    #[must_use]
    pub const fn as_stage(&self) -> Option<&Stage> {
        match self {
            Self::Stage { stage, .. } => Some(stage),
            _ => None,
        }
    }

    /// Whether there is a value that could be sent.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        !matches!(self, Self::Unreadable(_))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Text(text) => f.write_str(text),
            Self::Money {
                amount,
                currency: Some(currency),
            } => write!(f, "{amount} {currency}"),
            Self::Money { amount, currency: None } => write!(f, "{amount}"),
            Self::Date(date) => write!(f, "{date}"),
            Self::Stage {
                stage,
                reason: Some(reason),
            } => write!(f, "{stage} ({reason})"),
            Self::Stage { stage, reason: None } => write!(f, "{stage}"),
            Self::Flag(true) => f.write_str("yes"),
            Self::Flag(false) => f.write_str("no"),
            Self::Solutions(ids) => {
                for (position, id) in ids.iter().enumerate() {
                    if position > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{id}")?;
                }
                Ok(())
            }
            Self::People(people) => {
                for (position, (mail, person)) in people.iter().enumerate() {
                    if position > 0 {
                        f.write_str(", ")?;
                    }
                    let name = format!("{} {}", person.first_name, person.last_name);
                    write!(f, "{}", name.trim())?;
                    if is_mail(mail) {
                        write!(f, " <{mail}>")?;
                    }
                }
                Ok(())
            }
            Self::Unreadable(text) => write!(f, "{text:?} (not understood)"),
        }
    }
}

/// A person on a deal, as both systems can say it; the mail address is the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Phone number.
    pub phone_number: String,
}

/// Whether the key of a person is a mail address.
pub(crate) fn is_mail(key: &str) -> bool {
    key.contains('@')
}

impl From<&Member> for Person {
    fn from(member: &Member) -> Self {
        let text = |text: &str| text.trim().to_owned();
        Self {
            first_name: text(&member.first_name),
            last_name: text(&member.last_name),
            phone_number: text(&member.phone_number),
        }
    }
}

/// The terms of a deal as one side shows them: a place for each field. Written as a map of those that are something.
#[derive(Clone, PartialEq, Eq)]
pub struct Terms(Box<[Term; Field::ALL.len()]>);

impl Default for Terms {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Term::Nothing)))
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries()).finish()
    }
}

impl Serialize for Terms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries())
    }
}

impl<'de> Deserialize<'de> for Terms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut terms = Self::default();
        for (field, term) in BTreeMap::<Field, Term>::deserialize(deserializer)? {
            terms.set(field, term);
        }
        Ok(terms)
    }
}

impl Terms {
    fn entries(&self) -> impl Iterator<Item = (Field, &Term)> {
        let entries = Field::ALL.into_iter().zip(self.0.iter());
        entries.filter(|(_, term)| **term != Term::Nothing)
    }

    /// The value of a field; nothing when it was never set.
    #[must_use]
    pub fn get(&self, field: Field) -> &Term {
        const NOTHING: &Term = &Term::Nothing;
        self.0.get(field as usize).unwrap_or(NOTHING)
    }

    /// Sets a field.
    pub fn set(&mut self, field: Field, term: Term) {
        if let Some(place) = self.0.get_mut(field as usize) {
            *place = term;
        }
    }

    /// The stage, unknown when there is none.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.get(Field::Stage)
            .as_stage()
            .cloned()
            .unwrap_or_else(|| Stage::Unknown(String::new()))
    }

    /// What a referral says.
    #[must_use]
    pub fn from_referral(referral: &Referral) -> Self {
        let mut terms = Self::default();
        terms.set(Field::Name, Term::text(referral.name.as_deref()));
        let details = &referral.details;
        let currency = details.currency.as_deref().and_then(Currency::parse);
        terms.set(
            Field::Value,
            match &details.deal_value {
                Reading::Nothing => Term::Nothing,
                Reading::Value(amount) => Term::Money {
                    amount: *amount,
                    currency,
                },
                Reading::Unreadable(text) => Term::Unreadable(text.clone()),
            },
        );
        terms.set(
            Field::CloseDate,
            details.closing_date_time.as_deref().map_or(Term::Nothing, close_date),
        );
        terms.set(Field::Notes, Term::text(details.notes.as_deref()));
        let stage = Stage::from_referral(&referral.status, &referral.substatus);
        terms.set(Field::Stage, Term::stage(stage, referral.status_reason.as_deref()));
        terms.set(
            Field::Visibility,
            match &referral.consent.consent_to_share_referral_with_microsoft_sellers {
                Reading::Nothing => Term::Flag(false),
                Reading::Value(visible) => Term::Flag(*visible),
                Reading::Unreadable(text) => Term::Unreadable(text.clone()),
            },
        );
        let solutions: BTreeSet<_> = details
            .requirements
            .solutions
            .iter()
            .map(|solution| solution.id.clone())
            .filter(|id| !id.0.trim().is_empty())
            .collect();
        terms.set(
            Field::Solutions,
            if solutions.is_empty() {
                Term::Nothing
            } else {
                Term::Solutions(solutions)
            },
        );
        terms.set(
            Field::SalesStage,
            match &referral.sales_stage {
                Reading::Nothing => Term::Nothing,
                Reading::Value(text) => sales_stage(&text.0),
                Reading::Unreadable(text) => Term::Unreadable(text.clone()),
            },
        );
        terms.set(Field::Campaign, Term::text(referral.campaign_id.as_deref()));
        terms.set(Field::Program, Term::text(referral.referral_program.as_deref()));
        terms.set(Field::Team, Term::people(&referral.team));
        terms.set(Field::Contacts, Term::people(&referral.customer_profile.team));
        terms
    }
}

/// The API's word for a sales stage. Records show the word (published definition of the connector), the portal's
/// percentage (live payloads, CSV guide) or its own word for it; what is beyond negotiation is the last stage, since that
/// a deal is won is told by its status.
pub(crate) fn sales_stage(text: &str) -> Term {
    let text = text.trim().trim_end_matches('%').trim_end();
    let word = match text.to_lowercase().as_str() {
        "" => return Term::Nothing,
        "qualify" | "qualified" | "created" | "accepted" | "10" | "20" => "Qualify",
        "develop" | "developed" | "40" => "Develop",
        "propose" | "proposed" | "60" => "Propose",
        "close" | "negotiated" | "won" | "80" | "100" => "Close",
        _ => return Term::Unreadable(text.chars().take(64).collect()),
    };
    Term::Text(word.to_owned())
}

/// The date of a closing instant: the one that was written. Midnight UTC is the convention; where somebody wrote an offset,
/// the day is meant as the clock showed it there.
fn close_date(text: &str) -> Term {
    let text = text.trim();
    if text.is_empty() {
        return Term::Nothing;
    }
    let date = match text.parse::<jiff::Timestamp>() {
        Ok(_) => text.get(..10).and_then(|date| date.parse::<Date>().ok()),
        Err(_) => text.parse::<Date>().ok(),
    };
    date.map_or_else(|| Term::Unreadable(text.chars().take(64).collect()), Term::Date)
}

/// What Microsoft may be asked for (`assistanceRequestCode`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Help(pub String);

/// What is needed, besides the terms, to create the deal on the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Particulars {
    /// The customer with its contacts.
    pub customer: CustomerProfile,
    /// The partner's people.
    pub team: Vec<Member>,
    /// Help wanted from Microsoft; none means the deal is not co-sell.
    pub help: Option<Help>,
    /// What Microsoft's seller is told.
    pub message: Option<String>,
    /// The rows of the child table, where the mapping has one.
    pub solutions: Vec<SolutionRow>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referral(json: &str) -> Referral {
        serde_json::from_str(json).unwrap()
    }

    const ID: &str = r#""id":"8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10""#;

    #[test]
    fn a_bare_referral_is_a_deal_with_nothing_in_it() {
        let terms = Terms::from_referral(&referral(&format!("{{{ID}}}")));
        assert_eq!(terms.get(Field::Name), &Term::Nothing);
        assert_eq!(terms.get(Field::Visibility), &Term::Flag(false));
        assert!(!terms.get(Field::Stage).is_readable());
    }

    #[test]
    fn nulls_and_empty_objects_everywhere_are_read() {
        let terms = Terms::from_referral(&referral(&format!(
            r#"{{{ID},"name":null,"status":null,"substatus":null,"target":{{}},"customerProfile":null,"consent":null,
                "details":{{"notes":null,"dealValue":null,"currency":null,"closingDateTime":null,
                "requirements":{{"solutions":{{}}}}}},"inviteContext":null,"trackingInfo":null}}"#
        )));
        assert_eq!(terms.get(Field::Value), &Term::Nothing);
        assert_eq!(terms.get(Field::Solutions), &Term::Nothing);
    }

    #[test]
    fn unknown_values_are_kept_as_text() {
        let terms = Terms::from_referral(&referral(&format!(
            r#"{{{ID},"status":"Paused","substatus":"Thinking","details":{{"dealValue":"a lot","closingDateTime":"soon"}}}}"#
        )));
        assert_eq!(terms.get(Field::Stage), &Term::Unreadable("Paused/Thinking".to_owned()));
        assert_eq!(terms.get(Field::Value), &Term::Unreadable("\"a lot\"".to_owned()));
        assert_eq!(terms.get(Field::CloseDate), &Term::Unreadable("soon".to_owned()));
    }

    #[test]
    fn a_sales_stage_is_the_same_however_it_is_spelt() {
        for (json, word) in [
            (r#""Develop""#, "Develop"),
            (r#""developed""#, "Develop"),
            (r#""40""#, "Develop"),
            ("40", "Develop"),
            (r#""40 %""#, "Develop"),
            (r#""10""#, "Qualify"),
            (r#""100""#, "Close"),
        ] {
            let terms = Terms::from_referral(&referral(&format!(r#"{{{ID},"salesStage":{json}}}"#)));
            assert_eq!(terms.get(Field::SalesStage), &Term::Text(word.to_owned()), "{json}");
        }
        for (json, term) in [
            ("null", Term::Nothing),
            (r#""""#, Term::Nothing),
            (r#""Dreaming""#, Term::Unreadable("Dreaming".to_owned())),
            ("{}", Term::Unreadable("{}".to_owned())),
        ] {
            let terms = Terms::from_referral(&referral(&format!(r#"{{{ID},"salesStage":{json}}}"#)));
            assert_eq!(terms.get(Field::SalesStage), &term, "{json}");
        }
    }

    #[test]
    fn people_are_told_apart_by_their_mail_address() {
        let terms = Terms::from_referral(&referral(&format!(
            r#"{{{ID},"team":[{{"firstName":"Ada","lastName":"Hall","email":"Ada@Fabrikam.example","title":null}},
                {{"firstName":"Nobody"}},{{"email":"ada@fabrikam.example","firstName":"Ada","lastName":"Hall"}}]}}"#
        )));
        assert_eq!(
            terms.get(Field::Team).to_string(),
            "Ada Hall <ada@fabrikam.example>, Nobody"
        );
    }

    #[test]
    fn a_closing_instant_is_a_date() {
        for text in [
            "2026-06-30T00:00:00Z",
            "2026-06-30",
            "2026-06-30T00:00:00.0000000Z",
            "2026-06-30T23:00:00Z",
            "2026-06-30T00:00:00+02:00",
        ] {
            assert_eq!(close_date(text), Term::Date(jiff::civil::date(2026, 6, 30)), "{text}");
        }
    }
}
