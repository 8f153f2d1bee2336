//! What people do in a world: sellers in the CRM, users of the portal, Microsoft's sellers.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::World;
use super::ledger::string;
use crate::dataverse::{Dataverse, Refusal, seed};
use crate::partner_center::{Inbound, InboundDeal};

/// A deal as a seller enters it. Every member has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sharing {
    /// Topic.
    pub name: String,
    /// Revenue, as it is to be spelt in JSON.
    pub value: f64,
    /// Close date.
    pub close_date: String,
    /// Description.
    pub notes: Option<String>,
    /// Choice of "How can Microsoft help?"; none means the deal is not co-sell.
    pub help: Option<i64>,
    /// Solution ids, one a line.
    pub solutions: Option<String>,
    /// Sync with Partner Center.
    pub sync: bool,
}

impl Default for Sharing {
    fn default() -> Self {
        Self {
            name: "Northbay cold-chain monitoring".to_owned(),
            value: 125_000.5,
            close_date: "2027-09-15".to_owned(),
            notes: Some("Sensor telemetry on 40 vans.".to_owned()),
            help: Some(727_000_001),
            solutions: Some("SOL-20817-KTR".to_owned()),
            sync: true,
        }
    }
}

impl Sharing {
    /// A seller enters it, with its customer and contact.
    ///
    /// # Errors
    /// When the CRM refuses it, for example because a column is not installed.
    pub fn enter(&self, dataverse: &Dataverse) -> Result<Uuid, Refusal> {
        let account = json!({
            "name": "Northbay Dairy Cooperative", "address1_line1": "4 Creamery Lane", "address1_city": "Cork",
            "address1_postalcode": "T12 X0X0", "address1_country": "Ireland",
        });
        let account = dataverse.seller_creates("accounts", &account)?;
        let contact = json!({
            "firstname": "Rory", "lastname": "Lane", "emailaddress1": "rory.lane@northbay.example",
            "telephone1": "+353210000002", "parentcustomerid_account@odata.bind": format!("/accounts({account})"),
        });
        let contact = dataverse.seller_creates("contacts", &contact)?;
        let row = json!({
            "name": self.name, "estimatedvalue": self.value, "estimatedclosedate": self.close_date,
            "description": self.notes,
            "transactioncurrencyid@odata.bind": format!("/transactioncurrencies({})", seed::EUR),
            "customerid_account@odata.bind": format!("/accounts({account})"),
            "parentaccountid@odata.bind": format!("/accounts({account})"),
            "parentcontactid@odata.bind": format!("/contacts({contact})"),
            "cosell_syncwithpartnercenter": self.sync, "cosell_howcanmicrosofthelp": self.help,
            "cosell_solutions": self.solutions,
        });
        dataverse.seller_creates("opportunities", &row)
    }
}

impl World {
    /// A seller enters a deal with its customer and contact.
    ///
    /// # Panics
    /// When the CRM refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn seller_enters(&self, deal: &Sharing) -> String {
        deal.enter(&self.dataverse).expect("the CRM takes the deal").to_string()
    }

    /// A seller changes an opportunity, or another row.
    ///
    /// # Panics
    /// When the CRM refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn seller_edits(&self, opportunity: &str, change: &Value) {
        self.dataverse
            .seller_edits(id(opportunity), change)
            .expect("the CRM takes the change");
    }

    /// A seller adds a solution to an opportunity, as a row of its own; returns the row's key.
    ///
    /// # Panics
    /// When the CRM refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn seller_adds_solution(&self, opportunity: &str, row: &Value) -> String {
        let mut row = row.clone();
        let bind = json!({ "cosell_OpportunityId@odata.bind": format!("/opportunities({opportunity})") });
        merge(&mut row, &bind);
        self.dataverse
            .seller_creates("cosell_dealsolutions", &row)
            .expect("the CRM takes the row")
            .to_string()
    }

    /// The active solution rows of an opportunity, by solution id.
    #[must_use]
    pub fn solution_rows(&self, opportunity: &str) -> Vec<Value> {
        let mut rows = self.dataverse.rows("cosell_dealsolutions");
        rows.retain(|row| string(row, "_cosell_opportunityid_value") == opportunity && row["statecode"] == 0);
        rows.sort_by_key(|row| string(row, "cosell_solutionid"));
        rows
    }

    /// A seller wins an opportunity.
    ///
    /// # Panics
    /// When the CRM refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn seller_wins(&self, opportunity: &str) {
        self.dataverse
            .seller_wins(id(opportunity))
            .expect("the CRM takes the win");
    }

    /// A seller closes an opportunity as lost, for a status reason: 4 is Canceled, 5 Out-Sold.
    ///
    /// # Panics
    /// When the CRM refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn seller_loses(&self, opportunity: &str, status: i64) {
        self.dataverse
            .seller_loses(id(opportunity), status)
            .expect("the CRM takes the loss");
    }

    /// A seller reopens a closed opportunity.
    ///
    /// # Panics
    /// When the CRM refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn seller_reopens(&self, opportunity: &str) {
        self.dataverse
            .seller_reopens(id(opportunity))
            .expect("the CRM takes the reopening");
    }

    /// A seller deletes an opportunity, or another row.
    ///
    /// # Panics
    /// When the CRM refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn seller_deletes(&self, opportunity: &str) {
        self.dataverse
            .seller_deletes(id(opportunity))
            .expect("the CRM takes the deletion");
    }

    /// A seller qualifies a lead.
    ///
    /// # Panics
    /// When the CRM refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn seller_qualifies(&self, lead: &str) {
        self.dataverse
            .seller_qualifies(id(lead))
            .expect("the CRM takes the qualification");
    }

    /// A seller disqualifies a lead, for a status reason: 4 is Lost, 5 Cannot Contact, 6 No Longer Interested, 7 Canceled.
    ///
    /// # Panics
    /// When the CRM refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn seller_disqualifies(&self, lead: &str, status: i64) {
        self.dataverse
            .seller_disqualifies(id(lead), status)
            .expect("the CRM takes the disqualification");
    }

    /// Microsoft sends a deal to the partner.
    pub fn microsoft_sends(&self, deal: &InboundDeal) -> Inbound {
        self.partner_center.microsoft_sends(deal)
    }

    /// A user of the partner makes a deal in the portal; returns its id.
    ///
    /// # Panics
    /// When Partner Center refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn portal_creates(&self, change: &Value) -> String {
        let mut deal = json!({
            "name": "Sable Ridge backup refresh", "qualification": "SalesQualified", "type": "Independent", "target": [],
            "customerProfile": {
                "name": "Sable Ridge Clinics", "size": "10to50employees", "team": [
                    { "firstName": "Una", "lastName": "Moss", "phoneNumber": "+15030000004", "email": "una.moss@sableridge.example" }
                ],
                "address": { "addressLine1": "88 Mill Street", "city": "Portland", "state": "OR", "postalCode": "97201", "country": "US" }
            },
            "consent": {
                "consentToToShareInfoWithOthers": true, "consentToContact": true,
                "consentToShareReferralWithMicrosoftSellers": true
            },
            "details": {
                "notes": "Refresh before the audit.", "dealValue": 9000, "currency": "USD",
                "closingDateTime": "2027-04-01T00:00:00Z",
                "requirements": {
                    "solutions": [ { "id": "SOL-20817-KTR", "name": "Aldermoor Fleet Insight", "type": "Name" } ],
                    "additionalRequirements": { "attributes": [ { "type": "CustomerMarketplaceIntent", "id": "HaveNotDecided" } ] }
                }
            },
            "team": [ { "firstName": "Mara", "lastName": "Voss", "phoneNumber": "+441170000003", "email": "mara.voss@aldermoor.example" } ]
        });
        merge(&mut deal, change);
        let referral = self
            .partner_center
            .portal_creates(deal)
            .expect("Partner Center takes the deal");
        string(&referral, "id")
    }

    /// A user of the partner changes a deal in the portal.
    ///
    /// # Panics
    /// When Partner Center refuses it.
    #[expect(clippy::expect_used, reason = "a scenario whose people cannot act has failed")]
    pub fn portal_edits(&self, referral: &str, change: Value) {
        self.partner_center
            .portal_edits(referral, change)
            .expect("Partner Center takes the change");
    }

    /// An opportunity as the CRM shows it.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a scenario that looks for a missing record has failed"
    )]
    pub fn opportunity(&self, opportunity: &str) -> Value {
        self.dataverse
            .row("opportunities", id(opportunity))
            .expect("the opportunity exists")
    }

    /// A lead as the CRM shows it.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a scenario that looks for a missing record has failed"
    )]
    pub fn lead(&self, lead: &str) -> Value {
        self.dataverse.row("leads", id(lead)).expect("the lead exists")
    }

    /// The leads that carry a referral's id.
    #[must_use]
    pub fn leads_of(&self, referral: &str) -> Vec<Value> {
        self.dataverse
            .rows("leads")
            .into_iter()
            .filter(|row| string(row, "cosell_referralidentifier") == referral)
            .collect()
    }

    /// The id of the one lead of a referral.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[must_use]
    pub fn lead_of(&self, referral: &str) -> String {
        let rows = self.leads_of(referral);
        assert_eq!(
            rows.len(),
            1,
            "leads of referral {referral}: {rows:#?}\n{}",
            self.state_of_affairs()
        );
        rows.first().map(|row| string(row, "leadid")).unwrap_or_default()
    }

    /// A referral as Partner Center shows it; null when there is none.
    #[must_use]
    pub fn referral(&self, referral: &str) -> Value {
        self.partner_center.referral(referral)
    }

    /// The opportunities that carry a referral's id.
    #[must_use]
    pub fn opportunities_of(&self, referral: &str) -> Vec<Value> {
        self.dataverse
            .opportunities()
            .into_iter()
            .filter(|row| string(row, "cosell_referralidentifier") == referral)
            .collect()
    }

    /// The id of the one opportunity of a referral.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[must_use]
    pub fn opportunity_of(&self, referral: &str) -> String {
        let rows = self.opportunities_of(referral);
        assert_eq!(
            rows.len(),
            1,
            "opportunities of referral {referral}: {rows:#?}\n{}",
            self.state_of_affairs()
        );
        rows.first().map(|row| string(row, "opportunityid")).unwrap_or_default()
    }

    /// The partner's own referrals that name an opportunity.
    #[must_use]
    pub fn referrals_of(&self, opportunity: &str) -> Vec<Value> {
        self.partner_center
            .referrals()
            .into_iter()
            .filter(|referral| string(referral, "externalReferenceId") == opportunity)
            .collect()
    }

    /// The id of the one referral of an opportunity.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[must_use]
    pub fn referral_of(&self, opportunity: &str) -> String {
        let referrals = self.referrals_of(opportunity);
        assert_eq!(
            referrals.len(),
            1,
            "referrals of opportunity {opportunity}: {referrals:#?}\n{}",
            self.state_of_affairs()
        );
        referrals
            .first()
            .map(|referral| string(referral, "id"))
            .unwrap_or_default()
    }
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

#[expect(clippy::expect_used, reason = "ids come from the simulators")]
fn id(text: &str) -> Uuid {
    Uuid::parse_str(text).expect("an id of the simulators is a GUID")
}
