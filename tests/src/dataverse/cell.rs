//! One value of one row, and how it is written as JSON.
//!
//! Knows: digits, dates, ids. Refuses to know: which column it stands in. Guarantee: a number leaves exactly as it is
//! kept, trailing zeros included, because no amount ever passes through a float.

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

/// Places after the point in which amounts are kept and answered, whatever the currency's precision.
pub(super) const MONEY_SCALE: u32 = 4;

/// A value that is not null; null is the absence of a cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Boolean(bool),
    Whole(i64),
    /// Keeps its scale.
    Decimal(Decimal),
    Text(String),
    Guid(Uuid),
    Link {
        table: &'static str,
        id: Uuid,
    },
    Date(Date),
    Instant(Timestamp),
}

impl Cell {
    /// The value as it appears in an answer.
    pub(super) fn json(&self) -> Box<RawValue> {
        match self {
            Self::Boolean(value) => raw(value),
            Self::Whole(value) => raw(value),
            Self::Decimal(value) => number(value),
            Self::Text(value) => raw(value),
            Self::Guid(id) | Self::Link { id, .. } => raw(&id.to_string()),
            Self::Date(date) => raw(&date.to_string()),
            Self::Instant(at) => raw(&at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        }
    }

    pub(super) fn whole(&self) -> Option<i64> {
        match self {
            Self::Whole(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn decimal(&self) -> Option<Decimal> {
        match self {
            Self::Decimal(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn id(&self) -> Option<Uuid> {
        match self {
            Self::Guid(id) | Self::Link { id, .. } => Some(*id),
            _ => None,
        }
    }
}

fn number(value: &Decimal) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Any value as raw JSON; nothing that is written here can fail to serialise.
pub(super) fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A JSON object under construction that keeps the order and the digits of what is put into it.
#[derive(Clone, Debug, Default)]
pub(super) struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    pub(super) fn put<T: Serialize + ?Sized>(&mut self, name: impl Into<String>, value: &T) {
        self.0.push((name.into(), raw(value)));
    }

    pub(super) fn with<T: Serialize + ?Sized>(mut self, name: impl Into<String>, value: &T) -> Self {
        self.put(name, value);
        self
    }

    pub(super) fn text(&self) -> String {
        raw(self).get().to_owned()
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
