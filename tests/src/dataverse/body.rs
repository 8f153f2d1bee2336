//! Reads what a write says: property by property, against the table's definition.
//!
//! Knows: literal types, lengths, ranges, navigation names. Refuses to know: what is stored now. Guarantee: a body is
//! refused as a whole before anything is stored, and digits of amounts are read from the text of the request.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Environment;
use super::address::{Arguments, Segment, segments};
use super::cell::{Cell, raw};
use super::refusal::Refusal;
use super::schema::{Column, Kind, Table, Target};

/// The properties of a write as the client sent them.
#[derive(Clone, Debug, Default)]
pub struct Changes(BTreeMap<String, Box<RawValue>>);

impl Changes {
    pub(super) fn parse(set: &str, body: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body)
            .map(Self)
            .map_err(|error| Refusal::payload(set, error))
    }

    /// The value of a property as sent, null included; amounts come as the nearest float.
    #[must_use]
    pub fn get(&self, property: &str) -> Option<Value> {
        self.0
            .get(property)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// Adds a property or replaces its value.
    pub fn set(&mut self, property: impl Into<String>, value: &Value) {
        self.0.insert(property.into(), raw(value));
    }

    /// Takes a property out.
    pub fn remove(&mut self, property: &str) {
        self.0.remove(property);
    }

    /// Names of all properties.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn raw(&self, property: &str) -> Option<&RawValue> {
        self.0.get(property).map(AsRef::as_ref)
    }

    pub(super) fn set_raw(&mut self, property: &str, value: Box<RawValue>) {
        self.0.insert(property.to_owned(), value);
    }
}

/// What a write does to columns; none clears.
pub(super) type Assignments = BTreeMap<&'static str, Option<Cell>>;

/// Which columns are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    Create,
    Update,
}

impl Writing {
    fn stores(self, column: &Column) -> bool {
        match self {
            Self::Create => column.create,
            Self::Update => column.update,
        }
    }
}

/// Checks a body against the table and keeps what this kind of write stores.
pub(super) fn assignments(
    environment: &Environment,
    table: &Table,
    changes: &Changes,
    writing: Writing,
) -> Result<Assignments, Refusal> {
    let mut assignments = Assignments::new();
    for (property, value) in &changes.0 {
        // A name that starts with the sign is control information about the row itself.
        if property.starts_with('@') {
            continue;
        }
        if let Some((name, annotation)) = property.split_once('@') {
            match (annotation, table.navigation(name)) {
                ("odata.bind", Some((column, target))) => {
                    let link = bind(environment, table, property, target, value)?;
                    if writing.stores(column) {
                        point(&mut assignments, table, column, link)?;
                    }
                }
                ("odata.bind", None) => return Err(undeclared(table, name)),
                (_, Some(_)) => {}
                (_, None) if table.property(name).is_some() => {}
                (_, None) => return Err(undeclared(table, name)),
            }
        } else if let Some((column, _)) = table.navigation(property) {
            if value.get() != "null" {
                let message = format!("'{property}' is a navigation property; bind it to a row or set it to null.");
                return Err(Refusal::payload(table.set, message));
            }
            if writing.stores(column) {
                point(&mut assignments, table, column, None)?;
            }
        } else if let Some(column) = table.property(property) {
            if !column.targets().is_empty() {
                let message = format!("'{property}' only shows a lookup; write through its navigation property.");
                return Err(Refusal::payload(table.set, message));
            }
            match literal(table, column, value, environment.switches.trims_text) {
                Ok(cell) if writing.stores(column) => {
                    assignments.insert(column.name, cell);
                }
                Ok(_) => {}
                // The type is checked while the body is read, limits only where the value is used.
                Err(refusal) if writing.stores(column) || refusal.code() == "0x80048d19" => return Err(refusal),
                Err(_) => {}
            }
        } else {
            let message = format!(
                "The property '{property}' does not exist on type 'Microsoft.Dynamics.CRM.{}'.",
                table.name
            );
            return Err(Refusal::payload(table.set, message));
        }
    }
    Ok(assignments)
}

fn undeclared(table: &Table, name: &str) -> Refusal {
    let message =
        format!("An undeclared property '{name}' which only has property annotations in the payload was found.");
    Refusal::payload(table.set, message)
}

/// Sets or clears a lookup; of two navigation names of one lookup only one may point somewhere.
fn point(assignments: &mut Assignments, table: &Table, column: &Column, link: Option<Cell>) -> Result<(), Refusal> {
    let entry = assignments.entry(column.name).or_insert(None);
    if link.is_some() && entry.is_some() {
        return Err(Refusal::payload(
            table.set,
            format!("Two rows are bound to '{}'.", column.name),
        ));
    }
    if link.is_some() {
        *entry = link;
    }
    Ok(())
}

fn bind(
    environment: &Environment,
    table: &Table,
    property: &str,
    target: Target,
    value: &RawValue,
) -> Result<Option<Cell>, Refusal> {
    let malformed = || {
        Refusal::payload(
            table.set,
            format!("The value of '{property}' does not address a row of {}.", target.table),
        )
    };
    let Ok(url) = serde_json::from_str::<Option<String>>(value.get()) else {
        return Err(malformed());
    };
    let Some(url) = url else { return Ok(None) };
    let path = match url.strip_prefix(&environment.root()) {
        Some(path) => path.strip_prefix('/').ok_or_else(malformed)?,
        None => url.strip_prefix('/').unwrap_or(&url),
    };
    let segments = segments(path)?;
    let [
        Segment {
            name,
            arguments: Some(arguments),
        },
    ] = segments.as_slice()
    else {
        return Err(malformed());
    };
    let pointed = environment
        .schema
        .table(target.table)
        .filter(|table| table.set == name)
        .ok_or_else(malformed)?;
    let id = environment.bound_row(pointed, arguments)?;
    Ok(Some(Cell::Link {
        table: pointed.name,
        id,
    }))
}

impl Environment {
    /// The existing row that a bind points to.
    fn bound_row(&self, table: &Table, arguments: &Arguments) -> Result<Uuid, Refusal> {
        let key = self.key(table, arguments)?;
        self.find(&self.store.present(), table, &key)
            .ok_or_else(|| key.missing(table))
    }
}

/// Reads one JSON value as a column's type demands.
fn literal(table: &Table, column: &Column, value: &RawValue, trim: bool) -> Result<Option<Cell>, Refusal> {
    let text = value.get();
    let name = column.name;
    if text == "null" {
        return match column.kind {
            Kind::State | Kind::Status => Err(Refusal::bad("0x80040203", format!("'{name}' cannot be null."))),
            _ => Ok(None),
        };
    }
    let wrong = |wanted: &str| {
        Refusal::payload(
            table.set,
            format!("Cannot convert the literal '{text}' of '{name}' to the expected type '{wanted}'."),
        )
    };
    let string = || serde_json::from_str::<String>(text).ok();
    let whole = || text.parse::<i64>().ok().filter(|value| i32::try_from(*value).is_ok());
    let cell = match column.kind {
        Kind::Key | Kind::Guid => {
            let id = string()
                .and_then(|text| super::address::guid(&text))
                .ok_or_else(|| wrong("Edm.Guid"))?;
            Cell::Guid(id)
        }
        Kind::Text(limit) | Kind::Link(limit) | Kind::Memo(limit) => {
            let mut written = string().ok_or_else(|| wrong("Edm.String"))?;
            if written.encode_utf16().count() > limit {
                return Err(Refusal::bad(
                    "0x80044331",
                    format!(
                        "A validation error occurred. The length of the '{name}' attribute of the '{}' entity exceeded \
                         the maximum allowed length of '{limit}'.",
                        table.name
                    ),
                ));
            }
            if trim {
                written = written.trim().to_owned();
            }
            // An empty text is kept as null and comes back as null.
            if written.is_empty() {
                return Ok(None);
            }
            Cell::Text(written)
        }
        Kind::Boolean => match text {
            "true" => Cell::Boolean(true),
            "false" => Cell::Boolean(false),
            _ => return Err(wrong("Edm.Boolean")),
        },
        Kind::Choice(options) => {
            let value = whole().ok_or_else(|| wrong("Edm.Int32"))?;
            if !options.iter().any(|(option, _)| *option == value) {
                let message = format!("{value} is not a valid value of '{name}' of '{}'.", table.name);
                return Err(Refusal::bad("0x8004431a", message));
            }
            Cell::Whole(value)
        }
        // Which values fit depends on the row and is decided when it is written.
        Kind::State | Kind::Status => Cell::Whole(whole().ok_or_else(|| wrong("Edm.Int32"))?),
        Kind::Whole(least, most) => {
            let value = whole().ok_or_else(|| wrong("Edm.Int32"))?;
            if value < least || value > most {
                return Err(Refusal::bad(
                    "0x8004432f",
                    format!("'{name}' is outside of {least} to {most}."),
                ));
            }
            Cell::Whole(value)
        }
        Kind::Version => Cell::Whole(text.parse().map_err(|_| wrong("Edm.Int64"))?),
        Kind::Money(least, most) => {
            let value = decimal(text).ok_or_else(|| wrong("Edm.Decimal"))?;
            if value < Decimal::from(least) || value > Decimal::from(most) {
                return Err(Refusal::bad(
                    "0x80044330",
                    format!("'{name}' is outside of {least} to {most}."),
                ));
            }
            Cell::Decimal(value)
        }
        Kind::Number(places, least, most) => {
            let value = decimal(text).ok_or_else(|| wrong("Edm.Decimal"))?;
            if value < Decimal::from(least) || value > Decimal::from(most) {
                return Err(Refusal::bad(
                    "0x80044330",
                    format!("'{name}' is outside of {least} to {most}."),
                ));
            }
            let mut value = value.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero);
            value.rescale(places);
            Cell::Decimal(value)
        }
        Kind::Decimal(scale) => {
            let mut value = decimal(text).ok_or_else(|| wrong("Edm.Decimal"))?;
            value.rescale(scale);
            Cell::Decimal(value)
        }
        Kind::Date => Cell::Date(string().and_then(|text| date(&text)).ok_or_else(|| wrong("Edm.Date"))?),
        Kind::Instant => Cell::Instant(
            string()
                .and_then(|text| instant(&text))
                .ok_or_else(|| wrong("Edm.DateTimeOffset"))?,
        ),
        Kind::Lookup(_) => return Err(wrong("a navigation property")),
    };
    Ok(Some(cell))
}

/// Reads a JSON number exactly; a text in quotes is not a number.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text)
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
}

/// Reads `YYYY-MM-DD` and nothing else.
pub(super) fn date(text: &str) -> Option<Date> {
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

/// Reads a moment as `YYYY-MM-DDThh:mm:ss` with its offset; other spellings that a lenient reader knows are refused.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let usual = text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T') && !text.contains('[');
    usual.then(|| text.parse().ok()).flatten()
}
