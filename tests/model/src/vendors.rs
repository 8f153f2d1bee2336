//! A model of the records that both vendors keep, as strict as their documents say.
//!
//! Knows: legal moves, what may be changed when, lengths, rounding. Refuses to know: links, plans, the mapping's rules;
//! it speaks the wire forms only. Guarantee: a request that a vendor would refuse is an error here.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use cosell::ids::{CurrencyId, EngagementId, Etag, ReferralId};
use cosell::opportunity::{Cell, Row, RowChange};
use cosell::reconcile::call::Close;
use cosell::referral::{PatchOperation, PatchValue, Referral};
use jiff::Timestamp;
use uuid::Uuid;

/// What a plug-in of the customer's adds to notes.
pub const STAMP: &str = " (checked)";

/// Every path that the published definition lists for a PATCH (swagger of the connector, `UpdateReferralDetails`).
const PATHS: [&str; 18] = [
    "/campaignId",
    "/consent/consentToShareReferralWithMicrosoftSellers",
    "/customerProfile/team",
    "/customerProfile/team/-",
    "/details/closingDateTime",
    "/details/currency",
    "/details/dealValue",
    "/details/notes",
    "/details/requirements/solutions",
    "/details/requirements/solutions/-",
    "/externalReferenceId",
    "/referralProgram",
    "/salesStage",
    "/status",
    "/substatus",
    "/statusReason",
    "/team",
    "/team/-",
];

/// Active currencies of the CRM: code and digits after the point.
const CURRENCIES: [(&str, u32); 4] = [("EUR", 2), ("USD", 2), ("JPY", 0), ("KWD", 3)];

/// UTF-16 units that the text columns of both tables hold.
const LENGTHS: [(&str, usize); 8] = [
    ("cosell_referralprogram", 100),
    ("description", 2000),
    ("cosell_solutions", 4000),
    ("cosell_closereason", 200),
    ("cosell_audit", 100_000),
    ("cosell_referralidentifier", 100),
    ("cosell_referrallink", 500),
    ("cosell_microsoftcrmid", 100),
];

/// UTF-16 units that the text columns of a lead hold besides.
const LEAD_LENGTHS: [(&str, usize); 11] = [
    ("companyname", 100),
    ("firstname", 50),
    ("lastname", 50),
    ("emailaddress1", 100),
    ("telephone1", 50),
    ("address1_line1", 250),
    ("address1_line2", 250),
    ("address1_city", 80),
    ("address1_stateorprovince", 50),
    ("address1_postalcode", 20),
    ("address1_country", 80),
];

/// Which table a row stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Opportunity,
    Lead,
}

impl Kind {
    /// The column that names a row.
    const fn name(self) -> &'static str {
        match self {
            Self::Opportunity => "name",
            Self::Lead => "subject",
        }
    }

    /// The column of the value.
    const fn money(self) -> &'static str {
        match self {
            Self::Opportunity => "estimatedvalue",
            Self::Lead => "estimatedamount",
        }
    }

    /// The UTF-16 units that a text column holds.
    fn length(self, column: &str) -> Option<usize> {
        if column == self.name() {
            return Some(300);
        }
        let own = if self == Self::Lead { &LEAD_LENGTHS[..] } else { &[] };
        let mut known = LENGTHS.iter().chain(own);
        known.find(|(known, _)| *known == column).map(|(_, length)| *length)
    }

    /// Whether an update may leave a row in this state with this status reason. Opportunities are closed and leads are
    /// qualified by actions; a lead is disqualified by an update.
    const fn takes(self, state: i64, status: i64) -> bool {
        matches!((self, state, status), (_, 0, 1 | 2) | (Self::Lead, 2, 4..=7))
    }
}

/// The row of a currency, if the CRM has it.
pub fn currency(code: &str) -> Option<(CurrencyId, u32)> {
    let position = CURRENCIES.iter().position(|(known, _)| *known == code)?;
    let (_, digits) = CURRENCIES.get(position)?;
    Some((CurrencyId::new(Uuid::from_u128(0xC0 + position as u128)), *digits))
}

/// The expanded look-up of a currency.
pub fn currency_row(code: &str) -> Option<Cell> {
    let (id, digits) = currency(code)?;
    let cells = BTreeMap::from([
        ("transactioncurrencyid".to_owned(), Cell::Text(id.to_string())),
        ("isocurrencycode".to_owned(), Cell::Text(code.to_owned())),
        ("currencyprecision".to_owned(), number(digits.into())),
    ]);
    Some(Cell::Row(Box::new(Row::from_cells(None, cells))))
}

/// A whole number as a cell.
pub fn number(value: i64) -> Cell {
    value.to_string().parse().map_or(Cell::Null, Cell::Number)
}

/// A referral in Partner Center. Members that may hold what we do not understand are raw JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferralRecord {
    pub id: ReferralId,
    pub engagement: EngagementId,
    /// Microsoft's half rather than the partner's own.
    pub microsofts: bool,
    /// The organisation that sent it.
    pub inviter: Option<&'static str>,
    pub kind: String,
    pub name: Option<String>,
    pub reference: Option<String>,
    pub status: String,
    pub substatus: String,
    pub reason: Option<String>,
    pub value: String,
    pub currency: Option<String>,
    pub closing: Option<String>,
    pub notes: Option<String>,
    pub visible: String,
    pub solutions: Vec<String>,
    pub program: Option<String>,
    pub campaign: Option<String>,
    pub sales_stage: String,
    pub team: Vec<String>,
    pub customer: String,
    pub version: u64,
    /// When it was created.
    pub at: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// Texts whose referrals are remembered: a run looks at few records, and at each of them often.
const MOST_REMEMBERED: usize = 64;

/// What a text of the API says. The same text always says the same, so that it is parsed once.
fn read(text: String) -> Referral {
    thread_local! {
        static READ: RefCell<HashMap<String, Referral>> = RefCell::default();
    }
    READ.with_borrow_mut(|known| {
        if known.len() > MOST_REMEMBERED {
            known.clear();
        }
        let parse = |text: &String| serde_json::from_str(text).unwrap();
        known.entry(text).or_insert_with_key(parse).clone()
    })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

impl ReferralRecord {
    /// An accepted co-sell deal with every term set.
    pub fn active(id: ReferralId, at: Timestamp) -> Self {
        Self {
            id,
            engagement: EngagementId::new(Uuid::from_u128(id.uuid().as_u128() ^ (0xE << 120))),
            microsofts: false,
            inviter: None,
            kind: "Shared".to_owned(),
            name: Some("Fabrikam renewal".to_owned()),
            reference: None,
            status: "Active".to_owned(),
            substatus: "Accepted".to_owned(),
            reason: None,
            value: "125000.5".to_owned(),
            currency: Some("EUR".to_owned()),
            closing: Some("2026-06-30T00:00:00Z".to_owned()),
            notes: Some("First call done".to_owned()),
            visible: "true".to_owned(),
            solutions: vec![r#"{"id":"SOL-1","name":"One","type":"Name","price":7}"#.to_owned()],
            program: None,
            campaign: None,
            sales_stage: "null".to_owned(),
            team: Vec::new(),
            customer: r#"{"name":"Fabrikam","address":{"addressLine1":"Way 1","city":"Bonn","postalCode":"53111","country":"DE"},"team":[{"firstName":"Ada","lastName":"B","email":"ada@fabrikam.example","phoneNumber":"1"}]}"#.to_owned(),
            version: 1,
            at,
            updated: at,
        }
    }

    /// Its version.
    pub fn etag(&self) -> Etag {
        Etag(format!("\"{}-{}\"", self.id, self.version))
    }

    /// What a read answers.
    pub fn shown(&self) -> Referral {
        let target = if self.microsofts {
            r#"[{"type":"BusinessProfileLocation","id":"msft"}]"#
        } else {
            "[]"
        };
        let text = format!(
            r#"{{"id":{},"engagementId":{},"name":{},"organizationId":{},"externalReferenceId":{},"createdDateTime":{},
                "updatedDateTime":{},"status":{},"substatus":{},"statusReason":{},"qualification":"SalesQualified","type":{},
                "eTag":{},"target":{target},"inviteContext":{{"invitedBy":{{"organizationId":{}}}}},"customerProfile":{},"consent":{{"consentToShareReferralWithMicrosoftSellers":{}}},
                "details":{{"notes":{},"dealValue":{},"currency":{},"closingDateTime":{},
                "requirements":{{"solutions":[{}]}}}},"referralProgram":{},"campaignId":{},"salesStage":{},"team":[{}]}}"#,
            json(&self.id),
            json(&self.engagement),
            json(&self.name),
            json(&if self.microsofts { "msft" } else { "partner" }),
            json(&self.reference),
            json(&self.at),
            // Finer than the clock of a run, so that no two versions share a date.
            json(&(self.updated + Duration::from_micros(self.version))),
            json(&self.status),
            json(&self.substatus),
            json(&self.reason),
            json(&self.kind),
            json(&self.etag()),
            json(&self.inviter),
            self.customer,
            self.visible,
            json(&self.notes),
            self.value,
            json(&self.currency),
            json(&self.closing),
            self.solutions.join(","),
            json(&self.program),
            json(&self.campaign),
            self.sales_stage,
            self.team.join(","),
        );
        read(text)
    }

    /// Changes it; all or nothing. A PATCH that changes nothing keeps the version.
    pub fn patch(&mut self, operations: &[PatchOperation]) -> Result<(), String> {
        let mut next = self.clone();
        for operation in operations {
            next.set(operation, self)?;
        }
        let sends = |path: &str| operations.iter().any(|operation| operation.path == path);
        if sends("/status") != sends("/substatus") {
            return Err("status and substatus go together".to_owned());
        }
        let (from, to) = (self.status.as_str(), (next.status.as_str(), next.substatus.as_str()));
        match (from, sends("/status"), to) {
            ("Closed", _, _) => return Err("a closed referral takes nothing".to_owned()),
            ("New", true, ("Active", "Accepted")) | ("Active", true, ("Closed", "Won")) => {}
            ("New", true, ("Closed", "Declined")) | ("Active", true, ("Closed", "Lost")) if next.reason.is_some() => {}
            (_, true, _) => return Err(format!("no move from {from} to {to:?} because of {:?}", next.reason)),
            (_, false, _) if sends("/statusReason") => return Err("a reason without a move".to_owned()),
            (_, false, _) => {}
        }
        let allowed: &[&str] = match (from, next.status.as_str()) {
            ("New", "New") => &[],
            ("New", "Active") => &[
                "/status",
                "/substatus",
                "/details/dealValue",
                "/details/currency",
                "/details/closingDateTime",
                "/details/notes",
                "/externalReferenceId",
                "/campaignId",
                "/team",
            ],
            ("New", _) => &["/status", "/substatus", "/statusReason"],
            _ => &PATHS,
        };
        if let Some(operation) = operations.iter().find(|operation| !allowed.contains(&operation.path)) {
            return Err(format!(
                "{} cannot be changed while the referral is {from}",
                operation.path
            ));
        }
        if next != *self {
            next.version += 1;
            *self = next;
        }
        Ok(())
    }

    fn set(&mut self, operation: &PatchOperation, before: &Self) -> Result<(), String> {
        let PatchOperation { op, path, value } = operation;
        if *op != "replace" && *op != "add" {
            return Err(format!("{op} is no operation"));
        }
        match (*path, value) {
            ("/status", PatchValue::Text(text)) => self.status.clone_from(text),
            ("/substatus", PatchValue::Text(text)) => self.substatus.clone_from(text),
            ("/statusReason", PatchValue::Text(text)) => self.reason = Some(text.clone()),
            ("/details/notes", PatchValue::Text(text)) => self.notes = Some(text.clone()),
            ("/externalReferenceId", PatchValue::Text(text)) => self.reference = Some(text.clone()),
            ("/details/currency", PatchValue::Text(text)) if text.len() == 3 => self.currency = Some(text.clone()),
            ("/details/closingDateTime", PatchValue::Text(text)) if text.parse::<Timestamp>().is_ok() => {
                self.closing = Some(text.clone());
            }
            ("/details/dealValue", PatchValue::Amount(amount)) => self.value = amount.to_string(),
            ("/consent/consentToShareReferralWithMicrosoftSellers", PatchValue::Flag(flag)) => {
                if before.visible == "true" && !flag {
                    return Err("visibility cannot be withdrawn".to_owned());
                }
                self.visible = flag.to_string();
            }
            ("/details/requirements/solutions", PatchValue::Solutions(tags)) if !tags.is_empty() => {
                self.solutions = tags.iter().map(json).collect();
            }
            ("/referralProgram", PatchValue::Text(text)) => self.program = Some(text.clone()),
            ("/campaignId", PatchValue::Text(text)) => self.campaign = Some(text.clone()),
            ("/salesStage", PatchValue::Text(text))
                if ["Qualify", "Develop", "Propose", "Close"].contains(&text.as_str()) =>
            {
                self.sales_stage = json(text);
            }
            ("/team", PatchValue::People(people)) if people.len() <= 50 => {
                self.team = people.iter().map(json).collect()
            }
            ("/team/-", PatchValue::Person(person)) if *op == "add" && self.team.len() < 50 => {
                self.team.push(json(person));
            }
            (path, value) if PATHS.contains(&path) => return Err(format!("{path} does not take {value:?}")),
            (path, _) => return Err(format!("{path} cannot be patched")),
        }
        Ok(())
    }
}

/// What Partner Center posts when a referral has changed (partner-center-webhook-events).
pub fn event(name: &str, referral: ReferralId, at: Timestamp) -> String {
    format!(
        r#"{{"EventName":"{name}","ResourceUri":"https://api.partnercenter.microsoft.com/engagements/v1/referrals/{referral}","ResourceName":"referral","AuditUri":null,"ResourceChangeUtcDate":"{}"}}"#,
        at.strftime("%Y-%m-%dT%H:%M:%S%.7f+00:00")
    )
}

/// What it posts when somebody asks it to prove that events arrive, and when something changes that is no referral.
pub const OTHER_EVENTS: [&str; 2] = [
    r#"{"EventName":"test-created","ResourceUri":"http://api.partnercenter.microsoft.com/webhooks/v1/registration/validationEvents/4c7a2f1d-8e90-4b35-a6d1-0f9e8d7c6b5a","ResourceName":"test","AuditUri":null,"ResourceChangeUtcDate":"2026-03-02T08:00:00.0000000+00:00"}"#,
    r#"{"EventName":"subscription-updated","ResourceUri":"https://api.partnercenter.microsoft.com/v1/customers/4c7a2f1d-8e90-4b35-a6d1-0f9e8d7c6b5a","ResourceName":"subscription","AuditUri":null,"ResourceChangeUtcDate":"2026-03-02T08:00:00.0000000+00:00"}"#,
];

/// Why the CRM did not close an opportunity.
#[derive(Clone, Debug, PartialEq)]
pub enum NotClosed {
    /// It is closed.
    Already,
    /// The request is wrong.
    Refused(String),
}

/// An opportunity or a lead in Dynamics.
#[derive(Clone, Debug, PartialEq)]
pub struct RowRecord {
    pub kind: Kind,
    pub cells: BTreeMap<String, Cell>,
    pub version: u64,
    /// Rows of the child table, each with its own version.
    pub solutions: BTreeMap<Uuid, (u64, BTreeMap<String, Cell>)>,
}

impl RowRecord {
    /// An open opportunity in euros with nothing else set.
    pub fn open() -> Self {
        let cells = [("statecode", number(0)), ("statuscode", number(1))].into_iter();
        let mut cells: BTreeMap<String, Cell> = cells.map(|(name, cell)| (name.to_owned(), cell)).collect();
        cells.extend(currency_row("EUR").map(|row| ("transactioncurrencyid".to_owned(), row)));
        Self {
            kind: Kind::Opportunity,
            cells,
            version: 1,
            solutions: BTreeMap::new(),
        }
    }

    /// Its version.
    pub fn etag(&self) -> Etag {
        Etag(format!("W/\"{}\"", self.version))
    }

    /// What a read answers.
    pub fn shown(&self) -> Row {
        let mut cells = self.cells.clone();
        cells.insert("cosell_opportunity_dealsolution".to_owned(), self.solution_rows());
        Row::from_cells(Some(self.etag()), cells)
    }

    /// The expanded list of its solutions.
    pub fn solution_rows(&self) -> Cell {
        let rows = self.solutions.iter().map(|(key, (version, cells))| {
            let mut cells = cells.clone();
            cells.insert("cosell_dealsolutionid".to_owned(), Cell::Text(key.to_string()));
            Row::from_cells(Some(Etag(format!("W/\"{version}\""))), cells)
        });
        Cell::Rows(rows.collect())
    }

    /// Makes a row of the child table, which does not move the version of this one; false when there is one.
    pub fn add_solution(&mut self, key: Uuid, change: &RowChange) -> Result<bool, String> {
        let mut row = BTreeMap::from([("statecode".to_owned(), number(0))]);
        for (column, cell) in change.cells() {
            let limit = match column {
                "cosell_name" | "cosell_solutionid" => 100,
                "cosell_publishername" => 200,
                "cosell_solutiontype" => 20,
                "cosell_OpportunityId@odata.bind" => continue,
                column => return Err(format!("a solution row has no column {column}")),
            };
            match cell {
                Cell::Text(text) if text.encode_utf16().count() <= limit => {
                    row.insert(column.to_owned(), cell.clone());
                }
                cell => return Err(format!("{column} does not take {cell:?}")),
            }
        }
        let is_new = !self.solutions.contains_key(&key);
        if is_new {
            self.solutions.insert(key, (1, row));
        }
        Ok(is_new)
    }

    /// Activates or deactivates a row of the child table; false when it is at another version.
    pub fn update_solution(&mut self, key: Uuid, etag: &Etag, change: &RowChange) -> Result<bool, String> {
        let (version, cells) = self.solutions.get_mut(&key).ok_or("there is no such row")?;
        if etag.0 != format!("W/\"{version}\"") {
            return Ok(false);
        }
        for (column, cell) in change.cells() {
            if column != "statecode" || ![number(0), number(1)].contains(cell) {
                return Err(format!("{column} of a solution row does not become {cell:?}"));
            }
            cells.insert(column.to_owned(), cell.clone());
        }
        *version += 1;
        Ok(true)
    }

    /// What a plug-in of the customer's adds to the notes.
    pub fn stamp(&mut self) {
        if let Some(Cell::Text(notes)) = self.cells.get_mut("description")
            && !notes.ends_with(STAMP)
        {
            notes.push_str(STAMP);
        }
    }

    /// A whole number of it.
    pub fn integer(&self, column: &str) -> Option<i64> {
        Row::from_cells(None, self.cells.clone()).integer(column)
    }

    /// Changes it; all or nothing.
    pub fn update(&mut self, change: &RowChange) -> Result<(), String> {
        let moves = change
            .cells()
            .any(|(column, _)| column == "statecode" || column == "statuscode");
        if moves && change.cells().count() > 2 {
            return Err("a change of state travels alone".to_owned());
        }
        let mut next = self.clone();
        for (column, cell) in change.cells() {
            next.set(column, cell)?;
        }
        let state = |row: &Self| (row.integer("statecode"), row.integer("statuscode"));
        if let (true, (Some(to), Some(status))) = (moves, state(&next))
            && !self.kind.takes(to, status)
        {
            return Err(format!("no update leads from {:?} to {:?}", state(self), (to, status)));
        }
        next.finish()?;
        next.version += 1;
        *self = next;
        Ok(())
    }

    /// Makes a row of it.
    pub fn create(kind: Kind, change: &RowChange) -> Result<Self, String> {
        let mut row = Self { kind, ..Self::open() };
        for (column, cell) in change.cells() {
            if column == "statecode" {
                return Err("new rows are open".to_owned());
            }
            row.set(column, cell)?;
        }
        row.finish()?;
        if !row.cells.contains_key(kind.name()) {
            return Err(format!("{kind:?} without {}", kind.name()));
        }
        Ok(row)
    }

    /// The `WinOpportunity` and `LoseOpportunity` actions.
    pub fn close(&mut self, close: &Close) -> Result<(), NotClosed> {
        let long = |text: &str, limit: usize| text.encode_utf16().count() > limit;
        if long(&close.subject, 200) || close.description.as_deref().is_some_and(|text| long(text, 2000)) {
            return Err(NotClosed::Refused(
                "the closing activity does not hold that much".to_owned(),
            ));
        }
        let state = if close.won { 1 } else { 2 };
        if !matches!((state, close.status), (1, 3) | (2, 4 | 5)) {
            return Err(NotClosed::Refused(format!(
                "{} is no status reason of state {state}",
                close.status
            )));
        }
        if self.integer("statecode") != Some(0) {
            return Err(NotClosed::Already);
        }
        self.cells.insert("statecode".to_owned(), number(state));
        self.cells.insert("statuscode".to_owned(), number(close.status));
        self.version += 1;
        Ok(())
    }

    fn set(&mut self, column: &str, cell: &Cell) -> Result<(), String> {
        if let Some(navigation) = column.strip_suffix("@odata.bind") {
            let Cell::Text(target) = cell else {
                return Err(format!("{column} is no look-up"));
            };
            let row = if navigation == "transactioncurrencyid" {
                CURRENCIES
                    .iter()
                    .find(|(code, _)| {
                        currency(code).is_some_and(|(id, _)| *target == format!("/transactioncurrencies({id})"))
                    })
                    .and_then(|(code, _)| currency_row(code))
                    .ok_or_else(|| format!("{target} is no currency"))?
            } else {
                cell.clone()
            };
            self.cells.insert(navigation.to_owned(), row);
            return Ok(());
        }
        let kind = self.kind;
        let fits = match (column, cell) {
            ("statecode" | "statuscode", Cell::Number(_)) => true,
            ("statecode" | "statuscode", _) => false,
            (column, Cell::Null) => column != kind.name(),
            (column, Cell::Number(amount)) if column == kind.money() => {
                amount.decimal().abs() <= 1_000_000_000_000_i64.into()
            }
            ("estimatedclosedate", Cell::Text(text)) => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
            ("cosell_referralvisibility" | "cosell_syncwithpartnercenter", Cell::Flag(_))
            | ("cosell_syncstatus" | "cosell_howcanmicrosofthelp", Cell::Number(_)) => true,
            (_, Cell::Text(text)) => {
                let limit = kind.length(column).ok_or(column.to_owned())?;
                text.encode_utf16().count() <= limit && (column != kind.name() || !text.trim().is_empty())
            }
            _ => false,
        };
        if !fits {
            return Err(format!("{column} does not take {cell:?}"));
        }
        // An empty text is stored as null.
        let cell = if *cell == Cell::Text(String::new()) {
            Cell::Null
        } else {
            cell.clone()
        };
        self.cells.insert(column.to_owned(), cell);
        Ok(())
    }

    /// Money is kept with the digits of the row's currency.
    fn finish(&mut self) -> Result<(), String> {
        let row = Row::from_cells(None, self.cells.clone());
        let digits = row
            .row("transactioncurrencyid")
            .and_then(|currency| currency.integer("currencyprecision"))
            .ok_or("the row has no currency")?;
        let money = self.kind.money();
        if let Cell::Number(amount) = row.cell(money) {
            let kept = amount.rounded(u32::try_from(digits).unwrap_or_default());
            self.cells.insert(money.to_owned(), Cell::Number(kept));
        }
        Ok(())
    }
}
