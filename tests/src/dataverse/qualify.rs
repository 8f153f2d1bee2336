//! Qualifying a lead: the action that turns it into an account, a contact and an opportunity.
//!
//! Knows: the action's parameters and which columns travel: topic, description, amount, account and contact. Refuses to
//! know: columns of the co-sell solution, which the server does not carry over by itself. Guarantee: nothing is created when the action is refused.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Environment;
use super::body::Changes;
use super::cell::{Cell, Object};
use super::refusal::Refusal;
use super::rows::Row;
use super::schema::Table;
use super::write::{Author, default_status};

const QUALIFIED: i64 = 1;

const PARAMETERS: [&str; 8] = [
    "CreateAccount",
    "CreateContact",
    "CreateOpportunity",
    "Status",
    "OpportunityCurrencyId",
    "OpportunityCustomerId",
    "SourceCampaignId",
    "ProcessInstanceId",
];

impl Environment {
    /// Runs the action and answers references to the created rows.
    pub(super) fn qualify(&mut self, author: Author, leads: &Table, id: Uuid, body: &[u8]) -> Result<Object, Refusal> {
        if leads.name != "lead" {
            return Err(Refusal::no_segment("Microsoft.Dynamics.CRM.QualifyLead"));
        }
        let parameters = Changes::parse(leads.set, body)?;
        if let Some(unknown) = parameters.properties().find(|name| !PARAMETERS.contains(name)) {
            return Err(Refusal::payload(
                leads.set,
                format!("The parameter '{unknown}' does not exist."),
            ));
        }
        let flag = |name: &str| -> Result<bool, Refusal> {
            let given = parameters.get(name).and_then(|value| value.as_bool());
            given.ok_or_else(|| Refusal::payload(leads.set, format!("The parameter '{name}' must be true or false.")))
        };
        let (account, contact, opportunity) = (
            flag("CreateAccount")?,
            flag("CreateContact")?,
            flag("CreateOpportunity")?,
        );
        let status = parameters.get("Status").and_then(|value| value.as_i64());
        let status =
            status.ok_or_else(|| Refusal::payload(leads.set, "The parameter 'Status' must be a whole number."))?;
        let status = if status == -1 {
            default_status(leads, QUALIFIED).unwrap_or(status)
        } else {
            status
        };
        if leads.state_of(status).is_none_or(|state| state.value != QUALIFIED) {
            return Err(Refusal::invalid_status(status, QUALIFIED, leads.name));
        }
        let lead = self
            .store
            .row(leads.name, id)
            .cloned()
            .ok_or_else(|| Refusal::no_row(leads.name, id))?;
        if lead.whole("statecode") != Some(0) {
            return Err(Refusal::bad("0x8004f00e", "Only an open lead can be qualified."));
        }
        let currency = match parameters.get("OpportunityCurrencyId") {
            None | Some(Value::Null) => lead.get("transactioncurrencyid").and_then(Cell::id),
            Some(given) => {
                let id = given
                    .get("transactioncurrencyid")
                    .and_then(Value::as_str)
                    .and_then(super::address::guid);
                let id = id.filter(|id| self.store.row("transactioncurrency", *id).is_some());
                Some(id.ok_or_else(|| Refusal::payload(leads.set, "'OpportunityCurrencyId' is not a currency."))?)
            }
        };

        let mut created = Vec::new();
        let mut links = Vec::new();
        if account && lead.get("companyname").is_some() {
            let values = carried(
                &lead,
                &[
                    ("companyname", "name"),
                    ("telephone1", "telephone1"),
                    ("websiteurl", "websiteurl"),
                ],
            );
            let id = self.bring(author, "account", values, &mut created)?;
            links.push(("parentaccountid@odata.bind", format!("/accounts({id})")));
            links.push(("customerid_account@odata.bind", format!("/accounts({id})")));
        }
        if contact {
            let same = [
                "firstname",
                "lastname",
                "emailaddress1",
                "jobtitle",
                "telephone1",
                "mobilephone",
            ];
            let values = carried(&lead, &same.map(|name| (name, name)));
            let id = self.bring(author, "contact", values, &mut created)?;
            links.push(("parentcontactid@odata.bind", format!("/contacts({id})")));
        }
        if opportunity {
            let mut values = carried(&lead, &[("subject", "name"), ("description", "description")]);
            for (column, set, navigations) in [
                (
                    "parentaccountid",
                    "accounts",
                    ["parentaccountid", "customerid_account"].as_slice(),
                ),
                ("parentcontactid", "contacts", &["parentcontactid"]),
            ] {
                // A row that is made now takes the place of the one that stood there.
                let is_made = links.iter().any(|(name, _)| name.starts_with(column));
                let Some(id) = lead.get(column).and_then(Cell::id).filter(|_| !is_made) else {
                    continue;
                };
                for navigation in navigations {
                    values.insert(format!("{navigation}@odata.bind"), format!("/{set}({id})").into());
                }
            }
            links.push(("originatingleadid@odata.bind", format!("/leads({id})")));
            if let Some(currency) = currency {
                links.push((
                    "transactioncurrencyid@odata.bind",
                    format!("/transactioncurrencies({currency})"),
                ));
            }
            for (name, link) in links {
                values.insert(name.to_owned(), link.into());
            }
            let id = self.bring(author, "opportunity", values, &mut created)?;
            if let (Some(amount), Some(row)) = (
                lead.get("estimatedamount").cloned(),
                self.store.row("opportunity", id).cloned(),
            ) {
                let mut row = (*row).clone();
                row.set("estimatedvalue", Some(amount));
                let table = self.schema.get("opportunity")?;
                self.work_out(&table, &mut row);
                self.save(author, &table, row);
            }
        }
        let mut lead = (*lead).clone();
        lead.set("statecode", Some(Cell::Whole(QUALIFIED)));
        lead.set("statuscode", Some(Cell::Whole(status)));
        self.save(author, leads, lead);
        let context = format!(
            "{}/$metadata#Collection(Microsoft.Dynamics.CRM.crmbaseentity)",
            self.root()
        );
        Ok(Object::default()
            .with("@odata.context", &context)
            .with("value", &created))
    }

    /// Creates one row and notes the reference to it.
    fn bring(
        &mut self,
        author: Author,
        table: &str,
        values: Map<String, Value>,
        created: &mut Vec<Object>,
    ) -> Result<Uuid, Refusal> {
        let table = self.schema.get(table)?;
        let id = self
            .create(
                author,
                &table,
                Uuid::new_v4(),
                Changes::from_value(table.set, &values.into())?,
            )?
            .id;
        let reference = Object::default()
            .with("@odata.type", &format!("#Microsoft.Dynamics.CRM.{}", table.name))
            .with("@odata.id", &format!("{}/{}({id})", self.root(), table.set))
            .with(table.key, &id.to_string());
        created.push(reference);
        Ok(id)
    }
}

/// Texts of the lead under the names they have in the new row.
fn carried(lead: &Row, names: &[(&str, &str)]) -> Map<String, Value> {
    let text = |from: &str| lead.get(from).and_then(Cell::text).map(Value::from);
    names
        .iter()
        .filter_map(|(from, to)| Some(((*to).to_owned(), text(from)?)))
        .collect()
}
