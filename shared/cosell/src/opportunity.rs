//! A Dataverse row: columns by name, because which column means what is the mapping's business.
//!
//! Knows: the wire form of rows, annotations and values. Refuses to know: meanings. Guarantee: numbers keep their digits.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::amount::Amount;
use crate::ids::Etag;

/// Rows in rows. We ask for two levels; each one more is read by one more call of the reader, and a stack has an end.
const DEEPEST: usize = 8;

/// The value of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Null, or absent where nothing was asked for.
    Null,
    /// Yes or no.
    Flag(bool),
    /// A number; whole numbers and choices too.
    Number(Amount),
    /// Text, dates and GUIDs.
    Text(String),
    /// An expanded look-up.
    Row(Box<Row>),
    /// An expanded list of rows that point here.
    Rows(Vec<Row>),
    /// Anything else, kept to be shown.
    Unreadable(String),
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null | Self::Row(_) | Self::Rows(_) | Self::Unreadable(_) => serializer.serialize_none(),
            Self::Flag(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let unreadable = || Self::Unreadable(text.chars().take(200).collect());
        Ok(match text.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Flag(true),
            Some(b'f') => Self::Flag(false),
            Some(b'"') => serde_json::from_str(text).map_or_else(|_| unreadable(), Self::Text),
            Some(b'{' | b'[') if nesting(text) > DEEPEST => unreadable(),
            Some(b'{') => serde_json::from_str(text).map_or_else(|_| unreadable(), |row| Self::Row(Box::new(row))),
            Some(b'[') => serde_json::from_str(text).map_or_else(|_| unreadable(), Self::Rows),
            None => unreadable(),
            Some(_) => text.parse().map_or_else(|_| unreadable(), Self::Number),
        })
    }
}

/// How many brackets of a JSON text are open at most at the same time.
fn nesting(json: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    let (mut is_text, mut is_escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => open += 1,
            b'}' | b']' if !is_text => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// One row as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its version, when the vendor printed one.
    pub etag: Option<Etag>,
    /// Set when this is a delta item that says the row was deleted.
    pub deleted: bool,
    cells: BTreeMap<String, Cell>,
    /// Where the rest of an expanded list is, by the list's name.
    more: BTreeMap<String, String>,
}

/// One page of a list of rows.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Rows; of a list of changes also deleted ones. The same row may come twice there; the last one counts.
    pub rows: Vec<Row>,
    /// Where the next page is.
    pub next: Option<String>,
    /// Where later changes will be; on the last page of a list of changes only.
    pub delta: Option<String>,
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut cells = BTreeMap::<String, Cell>::deserialize(deserializer)?;
        let etag = match cells.remove("@odata.etag") {
            Some(Cell::Text(etag)) => Some(Etag(etag)),
            _ => None,
        };
        let more = cells
            .iter()
            .filter_map(|(name, cell)| match (name.strip_suffix("@odata.nextLink"), cell) {
                (Some(list), Cell::Text(link)) if !list.is_empty() => Some((list.to_owned(), link.clone())),
                _ => None,
            })
            .collect();
        let deleted = cells.get("reason") == Some(&Cell::Text("deleted".to_owned()));
        cells.retain(|name, _| !name.contains('@') || name.ends_with("@Microsoft.Dynamics.CRM.lookuplogicalname"));
        Ok(Self {
            etag,
            deleted,
            cells,
            more,
        })
    }
}

impl Row {
    /// A row made of these cells; for tests and for models of the vendor.
    #[must_use]
    pub const fn from_cells(etag: Option<Etag>, cells: BTreeMap<String, Cell>) -> Self {
        Self {
            etag,
            deleted: false,
            cells,
            more: BTreeMap::new(),
        }
    }

    /// The value of a column; null when it is absent.
    #[must_use]
    pub fn cell(&self, column: &str) -> &Cell {
        self.cells.get(column).unwrap_or(&Cell::Null)
    }

    /// Text of a column, when it holds text that is not blank.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.cell(column) {
            Cell::Text(text) if !text.trim().is_empty() => Some(text),
            _ => None,
        }
    }

    /// A GUID in a column.
    #[must_use]
    pub fn guid(&self, column: &str) -> Option<Uuid> {
        self.text(column).and_then(|text| Uuid::parse_str(text).ok())
    }

    /// A flag; null counts as no.
    #[must_use]
    pub fn flag(&self, column: &str) -> bool {
        self.cell(column) == &Cell::Flag(true)
    }

    /// A whole number, such as a choice.
    #[must_use]
    pub fn integer(&self, column: &str) -> Option<i64> {
        match self.cell(column) {
            Cell::Number(number) => i64::try_from(number.decimal()).ok(),
            _ => None,
        }
    }

    /// An expanded look-up.
    #[must_use]
    pub fn row(&self, column: &str) -> Option<&Self> {
        match self.cell(column) {
            Cell::Row(row) => Some(row),
            _ => None,
        }
    }

    /// An expanded list of rows; empty when it was not asked for.
    #[must_use]
    pub fn rows(&self, list: &str) -> &[Self] {
        match self.cell(list) {
            Cell::Rows(rows) => rows,
            _ => &[],
        }
    }

    /// An expanded list that did not come whole, with the link to the rest. Whoever takes it sees to it.
    pub fn take_more(&mut self) -> Option<(String, String)> {
        self.more.pop_first()
    }

    /// Adds the next part of an expanded list; one that could not be read stays so.
    pub fn append(&mut self, list: String, rows: Vec<Self>) {
        if let Cell::Rows(first) = self.cells.entry(list).or_insert_with(|| Cell::Rows(Vec::new())) {
            first.extend(rows);
        }
    }

    /// All columns with their values.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &Cell)> {
        self.cells.iter().map(|(name, cell)| (name.as_str(), cell))
    }

    /// The row as it will be with this value in a column.
    pub fn set(&mut self, column: &str, value: Cell) {
        self.cells.insert(column.to_owned(), value);
    }
}

/// Columns to write; serialises to exactly the body of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RowChange(BTreeMap<String, Cell>);

impl RowChange {
    /// Sets a column.
    pub fn set(&mut self, column: impl Into<String>, value: Cell) {
        self.0.insert(column.into(), value);
    }

    /// Points a look-up at a row. `navigation` is case-sensitive and differs from the column's logical name.
    pub fn bind(&mut self, navigation: &str, set: &str, id: Uuid) {
        self.0
            .insert(format!("{navigation}@odata.bind"), Cell::Text(format!("/{set}({id})")));
    }

    /// Adds what another change sets and this one does not.
    pub fn complete(&mut self, with: &Self) {
        for (column, cell) in &with.0 {
            self.0.entry(column.clone()).or_insert_with(|| cell.clone());
        }
    }

    /// Whether nothing would be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All columns with their values.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &Cell)> {
        self.0.iter().map(|(name, cell)| (name.as_str(), cell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_digits_and_drops_annotations() {
        let row: Row = serde_json::from_str(
            r#"{"@odata.etag":"W/\"7\"","estimatedvalue":5000000.0000,"estimatedvalue@OData.Community.Display.V1.FormattedValue":"x",
                "name":"N","cosell_x":null,"transactioncurrencyid":{"isocurrencycode":"EUR"},"statecode":0}"#,
        )
        .unwrap();
        assert_eq!(row.etag, Some(Etag("W/\"7\"".to_owned())));
        assert_eq!(row.cell("estimatedvalue"), &Cell::Number("5000000".parse().unwrap()));
        assert_eq!(
            row.row("transactioncurrencyid").unwrap().text("isocurrencycode"),
            Some("EUR")
        );
        assert_eq!(row.integer("statecode"), Some(0));
        assert_eq!(row.cells().count(), 5);
    }

    #[test]
    fn an_expanded_list_is_rows_and_may_have_more() {
        let mut row: Row = serde_json::from_str(
            r#"{"children":[{"@odata.etag":"W/\"8\"","id":"A"}],"children@odata.nextLink":"https://x/next","empty":[]}"#,
        )
        .unwrap();
        assert_eq!(row.rows("children").len(), 1);
        assert_eq!(row.rows("children")[0].etag, Some(Etag("W/\"8\"".to_owned())));
        assert_eq!(row.cell("empty"), &Cell::Rows(Vec::new()));
        let (list, link) = row.take_more().unwrap();
        assert_eq!((list.as_str(), link.as_str()), ("children", "https://x/next"));
        row.append(list, vec![Row::default()]);
        assert_eq!((row.rows("children").len(), row.take_more()), (2, None));
    }

    #[test]
    fn rows_in_rows_end_before_the_stack_does() {
        let nested = |depth: usize| format!(r#"{{"a":{}1{}}}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let read = |json: &str| serde_json::from_str::<Row>(json).unwrap();
        assert!(matches!(read(&nested(DEEPEST)).cell("a"), Cell::Row(_)));
        for json in [
            nested(DEEPEST + 1),
            nested(100_000),
            format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
        ] {
            assert!(matches!(read(&json).cell("a"), Cell::Unreadable(_)));
        }
        // Brackets in texts are none.
        let text = r#"{"a":{"b":"[[[[[[[[[[{{{{{{\"[[[["}}"#;
        assert!(matches!(read(text).cell("a"), Cell::Row(_)));
    }

    #[test]
    fn a_deletion_in_a_delta_page_is_recognised() {
        let row: Row = serde_json::from_str(
            r#"{"@odata.context":"x","id":"b1f0a3d2-1112-4a6e-9d51-000d3a3be645","reason":"deleted"}"#,
        )
        .unwrap();
        assert!(row.deleted);
        assert!(row.guid("id").is_some());
    }
}
