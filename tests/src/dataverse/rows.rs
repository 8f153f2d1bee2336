//! The rows of the environment with everything that ever happened to them.
//!
//! Knows: rows, versions, the log of commits. Refuses to know: validation and HTTP. Guarantee: every change to any row
//! passes `Store::commit` or `Store::remove`, takes the next number of the one version counter, and is in the log.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::cell::Cell;

/// Where the version counter of a new environment stands; any number does.
const FIRST_VERSION: i64 = 5_128_800;

/// One row as it stood after one commit.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) version: i64,
    pub(super) cells: BTreeMap<&'static str, Cell>,
}

impl Row {
    pub(super) fn get(&self, column: &str) -> Option<&Cell> {
        self.cells.get(column)
    }

    pub(super) fn set(&mut self, column: &'static str, cell: Option<Cell>) {
        match cell {
            Some(cell) => self.cells.insert(column, cell),
            None => self.cells.remove(column),
        };
    }

    pub(super) fn whole(&self, column: &str) -> Option<i64> {
        self.get(column).and_then(Cell::whole)
    }

    pub(super) fn etag(&self) -> String {
        format!("W/\"{}\"", self.version)
    }
}

type Rows = BTreeMap<&'static str, BTreeMap<Uuid, Arc<Row>>>;

/// One entry of the log.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) version: i64,
    pub(super) at: Timestamp,
    pub(super) table: &'static str,
    pub(super) id: Uuid,
    /// The row after the event; none when it was removed.
    pub(super) row: Option<Arc<Row>>,
}

/// All rows, now and before.
#[derive(Debug)]
pub(super) struct Store {
    rows: Rows,
    log: Vec<Event>,
    version: i64,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            rows: Rows::new(),
            log: Vec::new(),
            version: FIRST_VERSION,
        }
    }

    pub(super) fn row(&self, table: &str, id: Uuid) -> Option<&Arc<Row>> {
        self.rows.get(table)?.get(&id)
    }

    pub(super) fn table(&self, table: &str) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.get(table).into_iter().flat_map(BTreeMap::values)
    }

    /// Stores a row under the next version.
    pub(super) fn commit(&mut self, table: &'static str, mut row: Row, at: Timestamp) -> Arc<Row> {
        self.version += 1;
        row.version = self.version;
        row.set("versionnumber", Some(Cell::Whole(self.version)));
        let row = Arc::new(row);
        self.rows.entry(table).or_default().insert(row.id, Arc::clone(&row));
        self.log.push(Event {
            version: self.version,
            at,
            table,
            id: row.id,
            row: Some(Arc::clone(&row)),
        });
        row
    }

    /// Removes a row; a row that is not there is left so.
    pub(super) fn remove(&mut self, table: &'static str, id: Uuid, at: Timestamp) {
        if self.rows.get_mut(table).and_then(|rows| rows.remove(&id)).is_some() {
            self.version += 1;
            self.log.push(Event {
                version: self.version,
                at,
                table,
                id,
                row: None,
            });
        }
    }

    /// What readers see now.
    pub(super) fn present(&self) -> View<'_> {
        View {
            rows: Cow::Borrowed(&self.rows),
            log: &self.log,
            version: self.version,
        }
    }

    /// What readers saw at a moment in the past.
    pub(super) fn past(&self, moment: Timestamp) -> View<'_> {
        let seen = self.log.partition_point(|event| event.at <= moment);
        let log = self.log.get(..seen).unwrap_or_default();
        let mut rows = Rows::new();
        for event in log {
            let table = rows.entry(event.table).or_default();
            match &event.row {
                Some(row) => table.insert(event.id, Arc::clone(row)),
                None => table.remove(&event.id),
            };
        }
        let version = log.last().map_or(FIRST_VERSION, |event| event.version);
        View {
            rows: Cow::Owned(rows),
            log,
            version,
        }
    }
}

/// The rows as a reader sees them.
pub(super) struct View<'a> {
    rows: Cow<'a, Rows>,
    log: &'a [Event],
    /// Version of the newest event that is visible.
    pub(super) version: i64,
}

impl View<'_> {
    pub(super) fn row(&self, table: &str, id: Uuid) -> Option<&Arc<Row>> {
        self.rows.get(table)?.get(&id)
    }

    pub(super) fn table(&self, table: &str) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.get(table).into_iter().flat_map(BTreeMap::values)
    }

    /// Visible events after a version, oldest first.
    pub(super) fn after(&self, version: i64) -> &[Event] {
        let from = self.log.partition_point(|event| event.version <= version);
        self.log.get(from..).unwrap_or_default()
    }
}
