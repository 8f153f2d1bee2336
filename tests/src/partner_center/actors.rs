//! The people a test can move: Microsoft's sellers, the partner's users in the portal, and time itself.
//!
//! Knows: what each of them can do. Refuses to know: HTTP. Guarantee: they go through the same rules, store and events
//! as clients of the API do, except where Microsoft or the service may do more.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::PartnerCenter;
use super::desk::{Desk, Origin, State};
use super::document::Document;
use super::records::{self, PARTNER, PARTNER_LOCATION, PARTNER_MPN, PARTNER_NAME};
use super::refusal::Refusal;
use super::rules::{self, MICROSOFT};
use super::schema::{self, Reading};

/// What kind of referral Microsoft sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InboundKind {
    /// A deal to be sold together.
    #[default]
    CoSell,
    /// A lead that Microsoft has qualified.
    QualifiedLead,
    /// A lead from a marketplace listing.
    MarketplaceLead,
}

/// A deal or lead that Microsoft sends to the partner. Every member has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct InboundDeal {
    /// Co-sell or lead.
    pub kind: InboundKind,
    /// Name of the deal.
    pub name: String,
    /// Company name of the customer.
    pub customer: String,
    /// First address line.
    pub address_line: String,
    /// City.
    pub city: String,
    /// Postal code.
    pub postal_code: Option<String>,
    /// Country, two letters.
    pub country: String,
    /// First name, last name, e-mail and telephone of the customer's contact.
    pub contact: Option<[String; 4]>,
    /// Value of the deal, as it is to be spelt in JSON.
    pub value: String,
    /// Currency.
    pub currency: String,
    /// Closing date and time; ninety days from now unless given.
    pub closing: Option<String>,
    /// Microsoft's notes.
    pub notes: String,
    /// Solution ids of the catalogue.
    pub solutions: Vec<String>,
    /// Microsoft's own number of the deal.
    pub microsoft_id: Option<String>,
    /// Whether Microsoft has a record of its own in the engagement (for a co-sell deal).
    pub microsoft_record: bool,
}

impl Default for InboundDeal {
    fn default() -> Self {
        Self {
            kind: InboundKind::CoSell,
            name: "Harvest forecasting".to_owned(),
            customer: "Meadow Vale Growers".to_owned(),
            address_line: "3 Orchard Way".to_owned(),
            city: "Hereford".to_owned(),
            postal_code: Some("HR1 2ZZ".to_owned()),
            country: "GB".to_owned(),
            contact: Some(["Tessa", "Quill", "tessa.quill@meadowvale.example", "+441432000001"].map(str::to_owned)),
            value: "52000".to_owned(),
            currency: "GBP".to_owned(),
            closing: None,
            notes: "The customer asks for a pilot before harvest.".to_owned(),
            solutions: vec!["SOL-31415-LRK".to_owned()],
            microsoft_id: Some("7-4SIMULATED1".to_owned()),
            microsoft_record: true,
        }
    }
}

/// What Microsoft has sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inbound {
    /// The partner's record.
    pub referral: String,
    /// What both records share.
    pub engagement: String,
    /// Microsoft's record, if there is one.
    pub microsoft: Option<String>,
}

impl InboundDeal {
    fn record(&self, now: Timestamp) -> Document {
        let (kind, qualification) = match self.kind {
            InboundKind::CoSell => ("Shared", "SalesQualified"),
            InboundKind::QualifiedLead => ("Independent", "MarketingQualified"),
            InboundKind::MarketplaceLead => ("Independent", "Direct"),
        };
        let contacts: Vec<Value> = self.contact.iter().map(contact).collect();
        let solutions: Vec<Value> = self.solutions.iter().map(|id| solution(id)).collect();
        let mut record = records::blank_record();
        record.merge(Document::from(json!({
            "engagementId": Uuid::new_v4().to_string(),
            "name": self.name,
            "organizationId": PARTNER,
            "organizationName": PARTNER_NAME,
            "mpnId": PARTNER_MPN,
            "status": "New",
            "substatus": "Pending",
            "qualification": qualification,
            "type": kind,
            "direction": "Incoming",
            "target": [{ "type": "BusinessProfileLocation", "id": PARTNER_LOCATION }],
            "customerProfile": {
                "name": self.customer,
                "size": "51to250employees",
                "isMatchingComplete": true,
                "address": {
                    "addressLine1": self.address_line,
                    "city": self.city,
                    "postalCode": self.postal_code,
                    "country": self.country,
                },
                "team": contacts,
            },
            "consent": {
                "consentToToShareInfoWithOthers": true,
                "consentToContact": true,
                "consentToMicrosoftToContactSpecificPartners": true,
                "consentToShareReferralWithMicrosoftSellers": true,
            },
            "details": {
                "notes": self.notes,
                "currency": self.currency,
                "closingDateTime": self.closing.clone().unwrap_or_else(|| records::midnight(now, 90)),
                "requirements": { "solutions": solutions },
            },
            "inviteContext": {
                "notes": self.notes,
                "assistanceRequestCode": "Unknown",
                "invitedMpnId": PARTNER_MPN,
                "invitedBy": { "organizationId": MICROSOFT, "organizationName": "Microsoft" },
            },
            "trackingInfo": tracking(self.microsoft_id.as_deref()),
        })));
        record.merge(records::nested(
            &["details", "dealValue"],
            Document::Number(self.value.clone()),
        ));
        record
    }

    /// Microsoft's own record of the same deal, already accepted on its side.
    fn microsofts(&self, partners: &Document) -> Option<Document> {
        if self.kind != InboundKind::CoSell || !self.microsoft_record {
            return None;
        }
        let mut record = partners.clone();
        for (name, value) in [
            ("organizationId", MICROSOFT),
            ("organizationName", "Microsoft"),
            ("status", "Active"),
            ("substatus", "Accepted"),
        ] {
            record.set(name, value);
        }
        for name in ["expirationDateTime", "mpnId", "inviteContext"] {
            record.set(name, Document::Null);
        }
        Some(record)
    }
}

fn contact([first, last, email, telephone]: &[String; 4]) -> Value {
    json!({
        "firstName": first,
        "lastName": last,
        "phoneNumber": telephone,
        "email": email,
        "title": null,
        "contactPreference": { "locale": "en-gb", "disableNotifications": false },
    })
}

fn solution(id: &str) -> Value {
    json!({
        "id": id,
        "name": format!("{PARTNER_NAME} {id}"),
        "type": "Name",
        "publisherName": PARTNER_NAME,
        "solutionType": "3P",
        "price": null,
        "quantity": null,
        "currency": null,
    })
}

fn tracking(microsoft_id: Option<&str>) -> Value {
    json!({
        "microsoftMsxId": microsoft_id,
        "microsoftUSFedOpportunityId": null,
        "microsoftUSFedLeadId": null,
        "migratedPSCDealId": null,
        "migratedPSCPartnerDealId": null,
    })
}

fn unknown(what: &str) -> Refusal {
    Refusal::general(
        http::StatusCode::NOT_FOUND,
        "itemNotFound",
        format!("{what} was not found."),
    )
}

fn current(state: &State, id: &str) -> Result<Document, Refusal> {
    state.store.current(id).cloned().ok_or_else(|| unknown("The referral"))
}

impl PartnerCenter {
    /// Microsoft sends a deal or a lead; it waits for the partner's answer.
    #[must_use]
    pub fn microsoft_sends(&self, deal: &InboundDeal) -> Inbound {
        let desk = self.desk();
        let mut state = desk.state();
        let record = desk.insert(&mut state, deal.record(desk.now()), Origin::Microsoft);
        let microsofts = deal
            .microsofts(&record)
            .map(|record| desk.insert(&mut state, record, Origin::Microsoft));
        let id = |record: &Document, name: &str| record.text_at(&[name]).unwrap_or_default().to_owned();
        Inbound {
            referral: id(&record, "id"),
            engagement: id(&record, "engagementId"),
            microsoft: microsofts.map(|record| id(&record, "id")),
        }
    }

    /// Microsoft accepts the partner's invitation and gives the deal a number.
    ///
    /// # Errors
    /// When Microsoft has no record in the engagement, or the life cycle forbids it.
    pub fn microsoft_accepts(&self, engagement: &str) -> Result<Value, Refusal> {
        let number = format!(
            "7-4SIM{}",
            engagement.chars().take(6).collect::<String>().to_uppercase()
        );
        let change = json!({
            "status": "Active",
            "substatus": "Accepted",
            "trackingInfo": tracking(Some(&number)),
        });
        self.microsoft_moves(engagement, change)
    }

    /// Microsoft declines the partner's invitation.
    ///
    /// # Errors
    /// As for [`PartnerCenter::microsoft_accepts`].
    pub fn microsoft_declines(&self, engagement: &str, reason: &str) -> Result<Value, Refusal> {
        let change = json!({ "status": "Closed", "substatus": "Declined", "statusReason": reason });
        self.microsoft_moves(engagement, change)
    }

    /// Microsoft closes its record as won.
    ///
    /// # Errors
    /// As for [`PartnerCenter::microsoft_accepts`].
    pub fn microsoft_wins(&self, engagement: &str) -> Result<Value, Refusal> {
        self.microsoft_moves(engagement, json!({ "status": "Closed", "substatus": "Won" }))
    }

    /// Microsoft closes its record as lost.
    ///
    /// # Errors
    /// As for [`PartnerCenter::microsoft_accepts`].
    pub fn microsoft_loses(&self, engagement: &str, reason: &str) -> Result<Value, Refusal> {
        let change = json!({ "status": "Closed", "substatus": "Lost", "statusReason": reason });
        self.microsoft_moves(engagement, change)
    }

    fn microsoft_moves(&self, engagement: &str, change: Value) -> Result<Value, Refusal> {
        let desk = self.desk();
        let mut state = desk.state();
        let before = state.store.microsofts(engagement).cloned();
        let before = before.ok_or_else(|| unknown("Microsoft's referral"))?;
        let mut after = before.clone();
        after.merge(change.into());
        rules::check_move(
            rules::position(&before),
            rules::position(&after),
            after.text_at(&["statusReason"]),
        )?;
        Ok(desk.commit(&mut state, &before, after, Origin::Microsoft).to_value())
    }

    /// Microsoft's back end changes any record, its own or the partner's; `change` is laid over it. No rule is applied.
    ///
    /// # Errors
    /// When there is no such record.
    pub fn microsoft_edits(&self, referral: &str, change: Value) -> Result<Value, Refusal> {
        self.laid_over(referral, change.into(), Origin::Microsoft)
    }

    /// As [`PartnerCenter::microsoft_edits`], with the change spelt as JSON text so that no digit is lost.
    ///
    /// # Errors
    /// When there is no such record, or the text is not JSON.
    pub fn microsoft_edits_exactly(&self, referral: &str, change: &str) -> Result<Value, Refusal> {
        self.laid_over(referral, parsed(change)?, Origin::Microsoft)
    }

    fn laid_over(&self, referral: &str, change: Document, origin: Origin) -> Result<Value, Refusal> {
        let desk = self.desk();
        let mut state = desk.state();
        let before = current(&state, referral)?;
        let mut after = before.clone();
        after.merge(change);
        Ok(desk.commit(&mut state, &before, after, origin).to_value())
    }

    /// A user of the partner enters a deal in the portal, or invites Microsoft to one; the rules are those of a POST.
    ///
    /// # Errors
    /// When the deal breaks a rule.
    pub fn portal_creates(&self, deal: Value) -> Result<Value, Refusal> {
        let desk = self.desk();
        let mut state = desk.state();
        Ok(desk.create(&mut state, deal.into(), Origin::Portal)?.to_value())
    }

    /// A user of the partner edits an own deal in the portal; `change` is laid over it.
    ///
    /// # Errors
    /// When the change breaks a rule, or the record is not the partner's.
    pub fn portal_edits(&self, referral: &str, change: Value) -> Result<Value, Refusal> {
        self.portal_changes(referral, change.into())
    }

    /// As [`PartnerCenter::portal_edits`], with the change spelt as JSON text so that no digit is lost.
    ///
    /// # Errors
    /// As there, or when the text is not JSON.
    pub fn portal_edits_exactly(&self, referral: &str, change: &str) -> Result<Value, Refusal> {
        self.portal_changes(referral, parsed(change)?)
    }

    fn portal_changes(&self, referral: &str, change: Document) -> Result<Value, Refusal> {
        let desk = self.desk();
        let mut state = desk.state();
        let before = current(&state, referral)?;
        rules::check_owner(&before)?;
        let change = schema::conform(change, &schema::REFERRAL, "", Reading::Update)?;
        let mut after = before.clone();
        after.merge(change);
        rules::check_replacement(&before, &after)?;
        Ok(desk.commit(&mut state, &before, after, Origin::Portal).to_value())
    }

    /// Closes every referral whose time to answer is over; returns how many.
    pub fn expire_inbound(&self) -> usize {
        expire(self.desk())
    }
}

fn parsed(text: &str) -> Result<Document, Refusal> {
    Document::parse(text).map_err(|error| Refusal::invalid("referral", error.to_string()))
}

fn expire(desk: &Desk) -> usize {
    let now = desk.now();
    let mut state = desk.state();
    let due: Vec<Document> = state
        .store
        .all()
        .filter(|referral| rules::position(referral).0 == "New")
        .filter(|referral| {
            let end = referral
                .text_at(&["expirationDateTime"])
                .and_then(|end| end.parse::<Timestamp>().ok());
            end.is_some_and(|end| end <= now)
        })
        .cloned()
        .collect();
    for before in &due {
        let mut after = before.clone();
        after.set("status", "Closed");
        after.set("substatus", "Expired");
        desk.commit(&mut state, before, after, Origin::Service);
    }
    due.len()
}
