//! Publishers and solutions: who makes customizations, and the parcels they are kept in.
//!
//! Knows: the two tables and the rules of a new row in them. Refuses to know: what the parcels hold. Guarantee: a prefix
//! that the documents do not allow is in no publisher.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/web-api-metadata-operations-sample>

use http::StatusCode;

use super::Environment;
use super::body::Assignments;
use super::cell::Cell;
use super::refusal::Refusal;
use super::rows::Row;
use super::schema::{Column, Kind, More, Table, Target};
use super::tables::{lookup, stamped};

use Kind::{Boolean, Lookup, Memo, Text, Whole};

/// What the options of a publisher's choices begin with.
const OPTION_PREFIXES: std::ops::RangeInclusive<i64> = 10_000..=99_999;

/// Values of options: the publisher's prefix, and four digits behind it.
pub(super) const OPTIONS_PER_PREFIX: i64 = 10_000;

/// Under whose name something is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// Without the underscore.
    pub(super) names: String,
    pub(super) options: i64,
}

pub(super) fn publisher() -> Table {
    let mut columns = stamped("publisherid");
    columns.extend([
        Column::new("uniquename", Text(256)).create_only(),
        Column::new("friendlyname", Text(256)),
        Column::new("description", Memo(2000)),
        Column::new("customizationprefix", Text(8)),
        Column::new("customizationoptionvalueprefix", Whole(0, i32::MAX as i64)),
        Column::new("isreadonly", Boolean).read_only().default(0),
    ]);
    Table {
        name: "publisher",
        schema: "Publisher",
        set: "publishers",
        key: "publisherid",
        primary_name: "friendlyname",
        columns,
        keys: Vec::new(),
        states: &[],
        writable: true,
        tracked: false,
        more: More::default(),
    }
}

pub(super) fn solution() -> Table {
    let mut columns = stamped("solutionid");
    columns.extend([
        Column::new("uniquename", Text(65)).create_only(),
        Column::new("friendlyname", Text(256)),
        Column::new("description", Memo(2000)),
        Column::new("version", Text(256)),
        Column::new("ismanaged", Boolean).read_only().default(0),
        Column::new("isvisible", Boolean).read_only().default(1),
        Column::new("publisherid", lookup!("publisherid" => "publisher")),
    ]);
    Table {
        name: "solution",
        schema: "Solution",
        set: "solutions",
        key: "solutionid",
        primary_name: "friendlyname",
        columns,
        keys: Vec::new(),
        states: &[],
        writable: true,
        tracked: false,
        more: More::default(),
    }
}

impl Environment {
    /// Judges a new row of either table; any other table is none of its business.
    pub(super) fn check_component(&self, table: &Table, assigned: &Assignments) -> Result<(), Refusal> {
        let text = |column: &str| {
            let cell = assigned.get(column).and_then(Option::as_ref);
            cell.and_then(Cell::text).unwrap_or_default()
        };
        let required: &[&str] = match table.name {
            "publisher" => &["uniquename", "friendlyname", "customizationprefix"],
            "solution" => &["uniquename", "friendlyname", "version"],
            _ => return Ok(()),
        };
        let wrong = |message: String| Err(Refusal::bad("0x80040203", message));
        if let Some(missing) = required.iter().find(|column| text(column).is_empty()) {
            return wrong(format!("'{missing}' of a {} must have a value.", table.name));
        }
        let name = text("uniquename");
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return wrong(format!(
                "'{name}' is not a unique name: letters, digits and underscores alone."
            ));
        }
        let same = |row: &&std::sync::Arc<Row>| {
            let theirs = row.get("uniquename").and_then(Cell::text).unwrap_or_default();
            theirs.eq_ignore_ascii_case(name)
        };
        if self.store.table(table.name).any(|row| same(&row)) {
            return Err(Refusal::exists_already());
        }
        if table.name == "publisher" {
            let prefix = text("customizationprefix");
            if !is_prefix(prefix) {
                return wrong(format!(
                    "'{prefix}' is not a prefix: 2 to 8 letters and digits, a letter first, and not mscrm."
                ));
            }
            let options = assigned.get("customizationoptionvalueprefix").and_then(Option::as_ref);
            match options.and_then(Cell::whole) {
                Some(options) if OPTION_PREFIXES.contains(&options) => {}
                Some(options) => {
                    let message = format!("The option value prefix {options} is not within 10000 and 99999.");
                    return Err(Refusal::bad("0x80048402", message));
                }
                None => return wrong("A publisher must have an option value prefix.".to_owned()),
            }
        } else {
            let version = text("version");
            let parts: Vec<&str> = version.split('.').collect();
            if parts.len() != 4 || parts.iter().any(|part| part.parse::<u32>().is_err()) {
                return wrong(format!("'{version}' is not a version of four numbers."));
            }
            if assigned.get("publisherid").is_none_or(Option::is_none) {
                return wrong("A solution must have a publisher.".to_owned());
            }
        }
        Ok(())
    }

    /// The prefixes under which something may be made: the one of the named solution's publisher, or any.
    pub(super) fn prefixes(&self, solution: Option<&str>) -> Result<Vec<Prefix>, Refusal> {
        let prefix = |row: &Row| {
            let names = row.get("customizationprefix").and_then(Cell::text)?.to_owned();
            let options = row.whole("customizationoptionvalueprefix")?;
            Some(Prefix { names, options })
        };
        let Some(solution) = solution else {
            return Ok(self.store.table("publisher").filter_map(|row| prefix(row)).collect());
        };
        let found = self.store.table("solution").find(|row| {
            let name = row.get("uniquename").and_then(Cell::text);
            name.is_some_and(|name| name.eq_ignore_ascii_case(solution))
        });
        let found = found.ok_or_else(|| {
            let message = format!("The solution with the unique name '{solution}' does not exist.");
            Refusal::new(StatusCode::NOT_FOUND, "0x80040217", message)
        })?;
        let publisher = found.get("publisherid").and_then(Cell::id);
        let publisher = publisher.and_then(|id| self.store.row("publisher", id));
        Ok(publisher.and_then(|row| prefix(row)).into_iter().collect())
    }
}

fn is_prefix(text: &str) -> bool {
    (2..=8).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !text.to_ascii_lowercase().starts_with("mscrm")
}
