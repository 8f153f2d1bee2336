//! What people do in the CRM, and a look at what is stored: the test's own door, apart from the API.
//!
//! Knows: sellers act under the same rules as the API. Refuses to know: tokens and stale reads; this door always shows
//! the present. Guarantee: nothing here changes a row without the version and the log that any write brings.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::body::Changes;
use super::cell::Object;
use super::close::Outcome;
use super::prefer::Annotations;
use super::query::Projection;
use super::refusal::Refusal;
use super::rows::Row;
use super::schema::Table;
use super::write::Author;
use super::{Dataverse, Environment};

impl Dataverse {
    /// A person creates a row; the table goes by logical or set name.
    ///
    /// # Errors
    /// When the API would refuse the same body.
    pub fn seller_creates(&self, table: &str, values: &Value) -> Result<Uuid, Refusal> {
        let mut environment = self.environment();
        let table = environment.named(table)?;
        let changes = Changes::from_value(table.set, values)?;
        environment
            .create(Author::Seller, &table, Uuid::new_v4(), changes)
            .map(|row| row.id)
    }

    /// A person changes a row, wherever it is.
    ///
    /// # Errors
    /// When the API would refuse the same body, or there is no such row.
    pub fn seller_edits(&self, id: Uuid, values: &Value) -> Result<(), Refusal> {
        let mut environment = self.environment();
        let table = environment.home(id)?;
        let changes = Changes::from_value(table.set, values)?;
        environment.update(Author::Seller, &table, id, changes).map(drop)
    }

    /// A person deletes a row, wherever it is.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn seller_deletes(&self, id: Uuid) -> Result<(), Refusal> {
        let mut environment = self.environment();
        let table = environment.home(id)?;
        environment.delete(&table, id)
    }

    /// A person closes an opportunity as won.
    ///
    /// # Errors
    /// When the action would refuse it.
    pub fn seller_wins(&self, id: Uuid) -> Result<(), Refusal> {
        self.seller_closes(id, Outcome::Won, -1)
    }

    /// A person closes an opportunity as lost, for a status reason (4, 5, or -1 for the default).
    ///
    /// # Errors
    /// When the action would refuse it.
    pub fn seller_loses(&self, id: Uuid, status: i64) -> Result<(), Refusal> {
        self.seller_closes(id, Outcome::Lost, status)
    }

    fn seller_closes(&self, id: Uuid, outcome: Outcome, status: i64) -> Result<(), Refusal> {
        let close = json!({ "subject": "Closed", "opportunityid@odata.bind": format!("/opportunities({id})") });
        let close = Changes::from_value("opportunitycloses", &close)?;
        self.environment().close(Author::Seller, outcome, status, &close)
    }

    /// A person reopens a closed opportunity.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn seller_reopens(&self, id: Uuid) -> Result<(), Refusal> {
        self.seller_edits(id, &json!({ "statecode": 0, "statuscode": 1 }))
    }

    /// A person qualifies a lead: a new opportunity, and what of account and contact the lead is not linked to yet.
    ///
    /// # Errors
    /// When the action would refuse it.
    pub fn seller_qualifies(&self, id: Uuid) -> Result<(), Refusal> {
        let mut environment = self.environment();
        let leads = environment.schema.get("lead")?;
        let lead = environment
            .store
            .row("lead", id)
            .ok_or_else(|| Refusal::no_row("lead", id))?;
        let body = json!({ "CreateAccount": lead.get("parentaccountid").is_none(),
                           "CreateContact": lead.get("parentcontactid").is_none(),
                           "CreateOpportunity": true, "Status": -1 });
        environment
            .qualify(Author::Seller, &leads, id, body.to_string().as_bytes())
            .map(drop)
    }

    /// A person disqualifies a lead, for a status reason (4 to 7).
    ///
    /// # Errors
    /// When the API would refuse the same change.
    pub fn seller_disqualifies(&self, id: Uuid, status: i64) -> Result<(), Refusal> {
        self.seller_edits(id, &json!({ "statecode": 2, "statuscode": status }))
    }

    /// An account of this name exists.
    ///
    /// # Errors
    /// When the name is not acceptable.
    pub fn add_account(&self, name: &str) -> Result<Uuid, Refusal> {
        self.seller_creates("account", &json!({ "name": name }))
    }

    /// A contact exists, at an account or on its own.
    ///
    /// # Errors
    /// When a value is not acceptable, or there is no such account.
    pub fn add_contact(
        &self,
        first_name: &str,
        last_name: &str,
        mail: &str,
        account: Option<Uuid>,
    ) -> Result<Uuid, Refusal> {
        let mut values = json!({ "firstname": first_name, "lastname": last_name, "emailaddress1": mail });
        if let (Some(id), Some(values)) = (account, values.as_object_mut()) {
            values.insert(
                "parentcustomerid_account@odata.bind".to_owned(),
                format!("/accounts({id})").into(),
            );
        }
        self.seller_creates("contact", &values)
    }

    /// A currency exists; the rate says how many of its units one unit of the base currency is worth.
    ///
    /// # Errors
    /// When a value is not acceptable.
    pub fn add_currency(&self, code: &str, precision: u32, rate: f64) -> Result<Uuid, Refusal> {
        let values = json!({ "isocurrencycode": code, "currencyname": code, "currencysymbol": code,
                             "currencyprecision": precision, "exchangerate": rate });
        self.seller_creates("transactioncurrency", &values)
    }

    /// A row as the API would show it to a reader who selects nothing; amounts as the nearest float.
    #[must_use]
    pub fn row(&self, table: &str, id: Uuid) -> Option<Value> {
        self.row_text(table, id)
            .and_then(|text| serde_json::from_str(&text).ok())
    }

    /// The same with the exact digits of amounts, as JSON text.
    #[must_use]
    pub fn row_text(&self, table: &str, id: Uuid) -> Option<String> {
        let environment = self.environment();
        let table = environment.named(table).ok()?;
        let row = environment.store.row(table.name, id)?;
        Some(environment.shown(&table, row).text())
    }

    /// All rows of a table.
    #[must_use]
    pub fn rows(&self, table: &str) -> Vec<Value> {
        let environment = self.environment();
        let Ok(table) = environment.named(table) else {
            return Vec::new();
        };
        let shown = environment
            .store
            .table(table.name)
            .map(|row| environment.shown(&table, row).text());
        shown.filter_map(|text| serde_json::from_str(&text).ok()).collect()
    }

    /// All opportunities.
    #[must_use]
    pub fn opportunities(&self) -> Vec<Value> {
        self.rows("opportunity")
    }

    /// Number of the newest commit, to see whether anything was written since.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.environment().store.present().version
    }
}

impl Changes {
    pub(super) fn from_value(set: &str, values: &Value) -> Result<Self, Refusal> {
        let empty = Map::new();
        let Some(values) = values.as_object().or_else(|| values.is_null().then_some(&empty)) else {
            return Err(Refusal::payload(set, "the body is not an object"));
        };
        let mut changes = Self::default();
        for (property, value) in values {
            changes.set(property, value);
        }
        Ok(changes)
    }
}

impl Environment {
    fn named(&self, table: &str) -> Result<std::sync::Arc<Table>, Refusal> {
        self.schema.set(table).map_or_else(|| self.schema.get(table), Ok)
    }

    /// The table a row is in.
    fn home(&self, id: Uuid) -> Result<std::sync::Arc<Table>, Refusal> {
        let found = self
            .schema
            .0
            .iter()
            .find(|table| self.store.row(table.name, id).is_some());
        found.cloned().ok_or_else(|| Refusal::no_row("row", id))
    }

    fn shown(&self, table: &Table, row: &Row) -> Object {
        let view = self.store.present();
        self.shape(
            &view,
            table,
            row,
            &Projection::default(),
            &Annotations::default(),
            Object::default(),
        )
    }
}
