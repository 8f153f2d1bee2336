//! Turns rows into JSON objects: selected columns, expanded rows, annotations.
//!
//! Knows: how a row looks in an answer. Refuses to know: which rows are asked for. Guarantee: every selected column is
//! present, null or not, and annotations appear only when they were asked for.

use rust_decimal::Decimal;
use uuid::Uuid;

use super::Environment;
use super::cell::{Cell, Object};
use super::paging::appended;
use super::prefer::Annotations;
use super::query::{ListExpansion, Projection};
use super::rows::{Row, View};
use super::schema::{Column, Kind, Table};

const FORMATTED: &str = "OData.Community.Display.V1.FormattedValue";
const LOOKUP_TABLE: &str = "Microsoft.Dynamics.CRM.lookuplogicalname";
const LOOKUP_NAVIGATION: &str = "Microsoft.Dynamics.CRM.associatednavigationproperty";

impl Environment {
    /// The context URL of a collection; append `/$entity` or `/$delta` as needed.
    pub(super) fn context(&self, table: &Table, projection: &Projection) -> String {
        format!("{}/$metadata#{}{}", self.root(), table.set, projection.described())
    }

    /// Writes a row into an object.
    pub(super) fn shape(
        &self,
        view: &View<'_>,
        table: &Table,
        row: &Row,
        projection: &Projection,
        annotations: &Annotations,
        mut object: Object,
    ) -> Object {
        object.put("@odata.etag", &row.etag());
        for column in shown(table, projection) {
            let cell = row.get(column.name);
            let property = column.property();
            if let Some(cell) = cell.filter(|_| annotations.any()) {
                self.annotate(view, table, column, row, cell, annotations, &mut object);
            }
            object.put(property, &cell.map(Cell::json));
        }
        for expansion in &projection.expansions {
            let pointed = row.get(expansion.column).and_then(|cell| match cell {
                Cell::Link { table, id } if *table == expansion.target.table => view.row(table, *id),
                _ => None,
            });
            let shaped = self
                .schema
                .get(expansion.target.table)
                .ok()
                .zip(pointed)
                .map(|(pointed, row)| {
                    self.shape(
                        view,
                        &pointed,
                        row,
                        &expansion.projection,
                        annotations,
                        Object::default(),
                    )
                });
            object.put(expansion.target.navigation, &shaped);
        }
        for list in &projection.lists {
            let (shaped, next) = self.list_page(view, table, row.id, list, 0, annotations);
            object.put(list.navigation.as_str(), &shaped);
            if let Some(next) = next {
                object.put(format!("{}@odata.nextLink", list.navigation), &next);
            }
        }
        object
    }

    /// One page of the rows that point to a row, and the link to the next.
    pub(super) fn list_page(
        &self,
        view: &View<'_>,
        table: &Table,
        one: Uuid,
        list: &ListExpansion,
        from: usize,
        annotations: &Annotations,
    ) -> (Vec<Object>, Option<String>) {
        let Ok(many) = self.schema.get(list.table) else {
            return (Vec::new(), None);
        };
        let points_here = |other: &Row| matches!(other.get(list.column), Some(Cell::Link { table: to, id }) if *to == table.name && *id == one);
        let mut rows = view.table(list.table).filter(|other| points_here(other)).skip(from);
        let shaped: Vec<Object> = rows
            .by_ref()
            .take(self.switches.list_page)
            .map(|other| self.shape(view, &many, other, &list.projection, annotations, Object::default()))
            .collect();
        let next = rows.next().map(|_| {
            let token = format!("%3Ccookie%20offset=%22{}%22%20/%3E", from + shaped.len());
            let query = appended(&list.query, "$skiptoken", &token);
            format!("{}/{}({one})/{}?{query}", self.root(), table.set, list.navigation)
        });
        (shaped, next)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one private step of `shape`, which holds all of these"
    )]
    fn annotate(
        &self,
        view: &View<'_>,
        table: &Table,
        column: &Column,
        row: &Row,
        cell: &Cell,
        annotations: &Annotations,
        object: &mut Object,
    ) {
        let property = column.property();
        if annotations.includes(FORMATTED)
            && let Some(text) = self.formatted(view, table, column, row, cell)
        {
            object.put(format!("{property}@{FORMATTED}"), &text);
        }
        let Cell::Link { table: pointed, .. } = cell else {
            return;
        };
        let target = column.targets().iter().find(|target| target.table == *pointed);
        if let Some(target) = target.filter(|_| annotations.includes(LOOKUP_NAVIGATION)) {
            object.put(format!("{property}@{LOOKUP_NAVIGATION}"), target.navigation);
        }
        if annotations.includes(LOOKUP_TABLE) {
            object.put(format!("{property}@{LOOKUP_TABLE}"), pointed);
        }
    }

    /// The value as a person in the United States would read it.
    fn formatted(&self, view: &View<'_>, table: &Table, column: &Column, row: &Row, cell: &Cell) -> Option<String> {
        let label = |options: &[(i64, &str)], value: i64| {
            options
                .iter()
                .find(|(option, _)| *option == value)
                .map(|(_, label)| (*label).to_owned())
        };
        match (column.kind, cell) {
            (Kind::Choice(options), Cell::Whole(value)) => label(options, *value),
            (Kind::State, Cell::Whole(value)) => table.state(*value).map(|state| state.label.to_owned()),
            (Kind::Status, Cell::Whole(value)) => {
                table.state_of(*value).and_then(|state| label(state.statuses, *value))
            }
            (Kind::Money(..), Cell::Decimal(amount)) => {
                let currency = row.get("transactioncurrencyid").and_then(Cell::id);
                let currency = currency.and_then(|id| view.row("transactioncurrency", id));
                let symbol = currency
                    .and_then(|row| row.get("currencysymbol"))
                    .and_then(Cell::text)
                    .unwrap_or_default();
                Some(format!("{symbol}{}", thousands(&format!("{amount:.2}"))))
            }
            (_, Cell::Boolean(value)) => Some(if *value { "Yes" } else { "No" }.to_owned()),
            (_, Cell::Whole(value)) => Some(thousands(&value.to_string())),
            (_, Cell::Decimal(value)) => Some(thousands(&Decimal::to_string(value))),
            (_, Cell::Date(date)) => Some(date.strftime("%-m/%-d/%Y").to_string()),
            (_, Cell::Instant(at)) => Some(at.strftime("%-m/%-d/%Y %-I:%M %p").to_string()),
            (_, Cell::Link { table, id }) => {
                let name = self.schema.table(table)?.primary_name;
                view.row(table, *id)?.get(name)?.text().map(str::to_owned)
            }
            (_, Cell::Text(_) | Cell::Guid(_)) => None,
        }
    }
}

/// The columns that appear for a projection: the selected ones, the key, and the currency along with any amount.
fn shown<'a>(table: &'a Table, projection: &Projection) -> Vec<&'a Column> {
    let Some(selected) = &projection.columns else {
        return table.columns.iter().collect();
    };
    let mut columns: Vec<&Column> = Vec::new();
    let priced = selected
        .iter()
        .filter_map(|name| table.column(name))
        .any(|column| matches!(column.kind, Kind::Money(..)));
    let implied = [Some(table.key), priced.then_some("transactioncurrencyid")];
    for name in selected.iter().copied().chain(implied.into_iter().flatten()) {
        if let Some(column) = table.column(name)
            && !columns.iter().any(|shown| shown.name == name)
        {
            columns.push(column);
        }
    }
    columns
}

/// Puts a comma between groups of three digits of the whole part.
fn thousands(number: &str) -> String {
    let (whole, places) = number
        .split_once('.')
        .map_or((number, None), |(whole, places)| (whole, Some(places)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(places) = places {
        grouped.push('.');
        grouped.push_str(places);
    }
    grouped
}
