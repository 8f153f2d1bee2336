//! Creates, updates and removes rows, with everything the server works out by itself.
//!
//! Knows: defaults, owners, currencies and rounding, computed columns, unique keys, plug-ins, how often a write bumps
//! the version. Refuses to know: HTTP. Guarantee: a write is stored whole or refused whole.

use std::sync::Arc;

use rust_decimal::{Decimal, RoundingStrategy};
use uuid::Uuid;

use super::Environment;
use super::body::{Assignments, Changes, Writing, assignments};
use super::cell::{Cell, MONEY_SCALE};
use super::refusal::Refusal;
use super::rows::Row;
use super::schema::{Kind, Table};
use super::seed;
use super::states;

/// Columns whose change runs an update of its own, apart from the ordinary columns of the same request.
const SPECIAL_COLUMNS: [&str; 3] = ["statecode", "statuscode", "ownerid"];

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// The connector's application user, through the API.
    Application,
    /// A person, through a form.
    Seller,
}

impl Author {
    fn user(self) -> Uuid {
        match self {
            Self::Application => seed::APPLICATION_USER,
            Self::Seller => seed::SELLER,
        }
    }

    fn link(self) -> Cell {
        Cell::Link {
            table: "systemuser",
            id: self.user(),
        }
    }
}

impl Environment {
    /// Creates a row; an id in the body wins over the given one.
    pub(super) fn create(
        &mut self,
        author: Author,
        table: &Table,
        id: Uuid,
        mut changes: Changes,
    ) -> Result<Arc<Row>, Refusal> {
        self.run_plugin(table, id, &mut changes)?;
        let assigned = assignments(self, table, &changes, Writing::Create)?;
        let id = assigned
            .get(table.key)
            .and_then(Option::as_ref)
            .and_then(Cell::id)
            .unwrap_or(id);
        if self.store.row(table.name, id).is_some() {
            return Err(Refusal::exists_already());
        }
        self.check_component(table, &assigned)?;
        let row = self.new_row(author, table, id, assigned)?;
        Ok(self.save(author, table, row))
    }

    /// A new row with defaults and the assigned values, checked but not stored.
    pub(super) fn new_row(
        &self,
        author: Author,
        table: &Table,
        id: Uuid,
        assigned: Assignments,
    ) -> Result<Row, Refusal> {
        let mut row = Row { id, ..Row::default() };
        let now = Cell::Instant(self.now());
        for column in &table.columns {
            let default = match (column.kind, column.default) {
                (Kind::Boolean, Some(value)) => Some(Cell::Boolean(value == 1)),
                (_, Some(value)) => Some(Cell::Whole(value)),
                (Kind::State, None) => table.states.first().map(|state| Cell::Whole(state.value)),
                (Kind::Status, None) => default_status(table, 0).map(Cell::Whole),
                (_, None) => match column.name {
                    "createdon" => Some(now.clone()),
                    "createdby" | "ownerid" => Some(author.link()),
                    "transactioncurrencyid" if !column.targets().is_empty() => Some(self.base_currency()),
                    _ => None,
                },
            };
            row.set(column.name, default);
        }
        row.set(table.key, Some(Cell::Guid(id)));
        check_required(table, &assigned)?;
        if let Some(Some(at)) = assigned.get("overriddencreatedon") {
            row.set("createdon", Some(at.clone()));
        }
        for (column, cell) in assigned {
            if column != table.key {
                row.set(column, cell);
            }
        }
        if let Some(status) = row.whole("statuscode")
            && table.state_of(status).is_none_or(|state| state.value != 0)
        {
            return Err(Refusal::invalid_status(status, 0, table.name));
        }
        self.work_out(table, &mut row);
        self.check_keys(table, &row)?;
        Ok(row)
    }

    /// Changes a row that exists.
    pub(super) fn update(
        &mut self,
        author: Author,
        table: &Table,
        id: Uuid,
        mut changes: Changes,
    ) -> Result<Arc<Row>, Refusal> {
        let current = self
            .store
            .row(table.name, id)
            .cloned()
            .ok_or_else(|| Refusal::no_row(table.name, id))?;
        self.run_plugin(table, id, &mut changes)?;
        let mut assigned = assignments(self, table, &changes, Writing::Update)?;
        check_required(table, &assigned)?;
        let reopened = states::settle(table, &current, &mut assigned)?;
        if self.switches.closed_rows_read_only
            && !reopened
            && current.whole("statecode").is_some_and(|state| state != 0)
        {
            return Err(Refusal::bad(
                "0x8004022e",
                format!("The {} is closed and cannot be changed.", table.name),
            ));
        }
        let (special, ordinary): (Assignments, Assignments) = assigned
            .into_iter()
            .partition(|(column, _)| SPECIAL_COLUMNS.contains(column));
        let mut row = (*current).clone();
        for (column, cell) in &ordinary {
            row.set(column, cell.clone());
        }
        self.work_out(table, &mut row);
        self.check_keys(table, &row)?;
        if !ordinary.is_empty() && !special.is_empty() {
            row = (*self.stamp(author, table, row)).clone();
        }
        for (column, cell) in special {
            row.set(column, cell);
        }
        self.work_out(table, &mut row);
        if reopened {
            self.cancel_closes(author, id);
        }
        Ok(self.save(author, table, row))
    }

    /// Removes a row that exists.
    pub(super) fn delete(&mut self, table: &Table, id: Uuid) -> Result<(), Refusal> {
        if self.store.row(table.name, id).is_none() {
            return Err(Refusal::no_row(table.name, id));
        }
        let now = self.clock.now();
        self.store.remove(table.name, id, now);
        Ok(())
    }

    /// Stores a row for its author, followed by what an asynchronous plug-in may do to it.
    pub(super) fn save(&mut self, author: Author, table: &Table, row: Row) -> Arc<Row> {
        let saved = self.stamp(author, table, row);
        if self.switches.plugin_bumps_version && author == Author::Application {
            self.stamp(author, table, (*saved).clone());
        }
        saved
    }

    fn stamp(&mut self, author: Author, table: &Table, mut row: Row) -> Arc<Row> {
        row.set("modifiedon", Some(Cell::Instant(self.now())));
        row.set("modifiedby", Some(author.link()));
        let at = self.clock.now();
        self.store.commit(table.name, row, at)
    }

    pub(super) fn run_plugin(&self, table: &Table, id: Uuid, changes: &mut Changes) -> Result<(), Refusal> {
        let Some(plugin) = &self.switches.plugin else {
            return Ok(());
        };
        plugin(table.name, id, changes).map_err(|message| Refusal::bad("0x80040265", message))
    }

    /// Fills in what follows from other columns: rounding, base amounts, owner, full name.
    pub(super) fn work_out(&self, table: &Table, row: &mut Row) {
        let currency = row.get("transactioncurrencyid").and_then(Cell::id);
        let currency = currency.and_then(|id| self.store.row("transactioncurrency", id));
        let precision = currency.and_then(|row| row.whole("currencyprecision")).unwrap_or(2);
        let places = u32::try_from(precision).unwrap_or(0).min(MONEY_SCALE);
        let rate = currency.and_then(|row| row.get("exchangerate")).and_then(Cell::decimal);
        if table.name != "transactioncurrency"
            && let Some(column) = table.column("exchangerate")
        {
            row.set(column.name, rate.map(Cell::Decimal));
        }
        // The product total takes the place of whatever was typed.
        if row.get("isrevenuesystemcalculated") == Some(&Cell::Boolean(true)) {
            let total = row.get("totalamount").and_then(Cell::decimal).unwrap_or_default();
            row.set("estimatedvalue", Some(Cell::Decimal(total)));
        }
        for column in &table.columns {
            if let Kind::Money(..) = column.kind
                && let Some(amount) = row.get(column.name).and_then(Cell::decimal)
            {
                row.set(column.name, Some(Cell::Decimal(rounded(amount, column.places(places)))));
            }
        }
        for column in &table.columns {
            if let Some(source) = column.name.strip_suffix("_base") {
                let amount = row.get(source).and_then(Cell::decimal);
                let base = amount.zip(rate).and_then(|(amount, rate)| amount.checked_div(rate));
                row.set(column.name, base.map(|base| Cell::Decimal(rounded(base, MONEY_SCALE))));
            }
        }
        if table.column("owninguser").is_some() {
            let owner = row.get("ownerid").cloned();
            row.set("owninguser", owner);
        }
        if table.column("fullname").is_some() {
            let names = ["firstname", "lastname"].map(|name| row.get(name).and_then(Cell::text).unwrap_or_default());
            let full = names.join(" ").trim().to_owned();
            row.set("fullname", (!full.is_empty()).then_some(Cell::Text(full)));
        }
    }

    fn check_keys(&self, table: &Table, row: &Row) -> Result<(), Refusal> {
        for key in table.keys.iter().filter(|key| key.is_active()) {
            let Some(value) = row.get(key.column).and_then(Cell::text) else {
                continue;
            };
            let taken = self.store.table(table.name).any(|other| {
                let theirs = other.get(key.column).and_then(Cell::text);
                other.id != row.id && theirs.is_some_and(|theirs| theirs.to_lowercase() == value.to_lowercase())
            });
            if taken {
                return Err(Refusal::key_violated(key.schema, key.column));
            }
        }
        Ok(())
    }

    fn base_currency(&self) -> Cell {
        let organization = self.store.row("organization", seed::ORGANIZATION);
        let base = organization
            .and_then(|row| row.get("basecurrencyid"))
            .and_then(Cell::id);
        Cell::Link {
            table: "transactioncurrency",
            id: base.unwrap_or(seed::USD),
        }
    }
}

/// The status reason a state starts with.
pub(super) fn default_status(table: &Table, state: i64) -> Option<i64> {
    table
        .state(state)
        .and_then(|state| state.statuses.first())
        .map(|(value, _)| *value)
}

fn rounded(amount: Decimal, places: u32) -> Decimal {
    let mut amount = amount.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero);
    amount.rescale(MONEY_SCALE);
    // A negative amount that rounds to nothing is plain zero.
    amount.set_sign_positive(amount.is_zero() || amount.is_sign_positive());
    amount
}

fn check_required(table: &Table, assigned: &Assignments) -> Result<(), Refusal> {
    if assigned.get("ownerid") == Some(&None) {
        return Err(Refusal::bad(
            "0x80040203",
            format!("A row of {} must have an owner.", table.name),
        ));
    }
    if assigned.get("transactioncurrencyid") == Some(&None) {
        return Err(Refusal::bad("0x80048cfb", "The currency cannot be null."));
    }
    Ok(())
}
