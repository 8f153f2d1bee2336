//! The ways in which the environment can be unpleasant, each off until a test turns it on.
//!
//! Knows: the settings. Refuses to know: their effect, which lives where the rule is. Guarantee: with all switches at
//! their defaults the environment behaves as documented.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use uuid::Uuid;

use super::Dataverse;
use super::body::Changes;
use super::prefer::LARGEST_PAGE;
use super::rows::Row;
use super::schema::{Column, Index, Kind, Table};
use super::status;
use super::tables::AMOUNT;

/// A customer's synchronous plug-in: may change a write, or refuse it with its own text.
type Plugin = Arc<dyn Fn(&str, Uuid, &mut Changes) -> Result<(), String> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Switches {
    pub(super) expired_status: StatusCode,
    pub(super) repeat_rows_in_delta: bool,
    pub(super) reverse_delta: bool,
    pub(super) delta_link_before_value: bool,
    pub(super) omit_delta_link: bool,
    pub(super) list_page: usize,
    pub(super) plugin: Option<Plugin>,
    pub(super) plugin_bumps_version: bool,
    pub(super) member: bool,
    pub(super) stale_reads: Duration,
    pub(super) trims_text: bool,
    pub(super) closed_rows_read_only: bool,
    pub(super) key_looks: u32,
    pub(super) key_delay: Duration,
    pub(super) key_index_fails: bool,
    pub(super) metadata_lag: Duration,
    pub(super) customization_takes: Duration,
    pub(super) customizations_refused: usize,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            expired_status: StatusCode::BAD_REQUEST,
            repeat_rows_in_delta: false,
            reverse_delta: false,
            delta_link_before_value: false,
            omit_delta_link: false,
            list_page: LARGEST_PAGE,
            plugin: None,
            plugin_bumps_version: false,
            member: true,
            stale_reads: Duration::ZERO,
            trims_text: false,
            closed_rows_read_only: false,
            key_looks: 2,
            key_delay: Duration::from_secs(5),
            key_index_fails: false,
            metadata_lag: Duration::ZERO,
            customization_takes: Duration::ZERO,
            customizations_refused: 0,
        }
    }
}

impl fmt::Debug for Switches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switches").finish_non_exhaustive()
    }
}

impl Dataverse {
    /// Makes every delta link that was issued so far answer 0x80044352.
    pub fn expire_delta_tokens(&self) {
        self.environment().deltas.expire_all();
    }

    /// Status that goes with 0x80044352; the documents leave it open (400, tolerate 410).
    pub fn expired_status(&self, code: u16) {
        self.environment().switches.expired_status = status(code);
    }

    /// Whether change tracking is enabled for opportunities, leads and deal solutions.
    pub fn change_tracking(&self, enabled: bool) {
        self.environment().schema.alter(|table| {
            if ["opportunity", "lead", "cosell_dealsolution"].contains(&table.name) {
                table.tracked = enabled;
            }
        });
    }

    /// Whether a set of changes shows rows more than once, older states first.
    pub fn repeat_rows_in_delta(&self, enabled: bool) {
        self.environment().switches.repeat_rows_in_delta = enabled;
    }

    /// Whether a set of changes shows removals first and rows from the newest to the oldest.
    pub fn reverse_delta(&self, enabled: bool) {
        self.environment().switches.reverse_delta = enabled;
    }

    /// Whether the delta link stands before the rows in the answer.
    pub fn delta_link_before_value(&self, enabled: bool) {
        self.environment().switches.delta_link_before_value = enabled;
    }

    /// Whether last pages come without their delta link.
    pub fn omit_delta_link(&self, enabled: bool) {
        self.environment().switches.omit_delta_link = enabled;
    }

    /// Most rows of a list on one page, be it expanded in a row or followed by itself.
    pub fn list_page(&self, rows: usize) {
        self.environment().switches.list_page = rows;
    }

    /// Installs a plug-in that sees every create, update and close (by anyone) before it is checked.
    ///
    /// It gets the table's logical name, the row's id and what is written. An error refuses the write with 400
    /// 0x80040265 and its text. It must not call this simulator.
    pub fn plugin(&self, plugin: impl Fn(&str, Uuid, &mut Changes) -> Result<(), String> + Send + Sync + 'static) {
        self.environment().switches.plugin = Some(Arc::new(plugin));
    }

    /// Removes the plug-in.
    pub fn no_plugin(&self) {
        self.environment().switches.plugin = None;
    }

    /// Whether an asynchronous plug-in writes each row again right after the connector did, so its etag is old at once.
    pub fn plugin_bumps_version(&self, enabled: bool) {
        self.environment().switches.plugin_bumps_version = enabled;
    }

    /// Whether the application user exists; without it everything answers 403 0x80072560.
    pub fn member(&self, exists: bool) {
        self.environment().switches.member = exists;
    }

    /// How far reads lag behind writes; preconditions and answers to writes never do.
    pub fn stale_reads(&self, lag: Duration) {
        self.environment().switches.stale_reads = lag;
    }

    /// Whether text is stored without white space at its ends.
    pub fn trims_text(&self, enabled: bool) {
        self.environment().switches.trims_text = enabled;
    }

    /// Whether rows that are not open refuse every update but a reopening, with 0x8004022e.
    pub fn closed_rows_read_only(&self, enabled: bool) {
        self.environment().switches.closed_rows_read_only = enabled;
    }

    /// When the index of a key that is made from now on is built: after so many looks at the table's keys, or after this
    /// time, whichever is first.
    pub fn key_index(&self, looks: u32, delay: Duration) {
        let mut environment = self.environment();
        environment.switches.key_looks = looks;
        environment.switches.key_delay = delay;
    }

    /// How long a new column stays hidden from requests that do not ask for strong consistency.
    pub fn metadata_lag(&self, lag: Duration) {
        self.environment().switches.metadata_lag = lag;
    }

    /// How long each customization takes; another one meanwhile is refused with 0x80071151.
    pub fn customization_takes(&self, time: Duration) {
        self.environment().switches.customization_takes = time;
    }

    /// Another customization, somebody else's, is running while the next so many are asked for.
    pub fn refuse_customizations(&self, times: usize) {
        self.environment().switches.customizations_refused = times;
    }

    /// Whether the index of a key fails when its job ends, as it does by itself where rows are in each other's way.
    pub fn key_index_fails(&self, fails: bool) {
        self.environment().switches.key_index_fails = fails;
    }

    /// Breaks the alternate keys that a table has; they stay, and can no longer be used.
    pub fn break_keys(&self, table: &str) {
        self.change(table, |table| {
            table.keys.iter_mut().for_each(|key| key.index = Index::Failed);
        });
    }

    /// Takes the alternate keys of a table away, as if they had never been installed.
    pub fn remove_keys(&self, table: &str) {
        self.change(table, |table| table.keys.clear());
    }

    /// Takes a column out of a table definition, as if it had never been installed.
    pub fn remove_column(&self, table: &str, column: &str) {
        self.change(table, |table| {
            table.columns.retain(|found| found.name != column);
            table.keys.retain(|key| key.column != column);
        });
    }

    /// Takes a table away, with the look-ups that lead to it.
    pub fn remove_table(&self, table: &str) {
        let mut environment = self.environment();
        environment
            .schema
            .0
            .retain(|found| found.name != table && found.set != table);
        environment.schema.alter(|found| {
            let leads = |column: &Column| column.targets().iter().any(|target| target.table == table);
            found.columns.retain(|column| !leads(column));
        });
    }

    /// Gives a column another type, as if another publisher had installed one of the same name; its values are lost.
    ///
    /// The type goes by its `AttributeType`: String, Memo, Boolean, Picklist, Integer, Decimal, Money or DateTime. False
    /// when there is no such column or type.
    pub fn retype_column(&self, table: &str, column: &str, attribute_type: &str) -> bool {
        let whole = (i64::from(i32::MIN), i64::from(i32::MAX));
        let kind = match attribute_type {
            "String" => Kind::Text(100),
            "Memo" => Kind::Memo(2000),
            "Boolean" => Kind::Boolean,
            "Picklist" => Kind::Choice(&[(100_000_000, "Other")]),
            "Integer" => Kind::Whole(whole.0, whole.1),
            "Decimal" => Kind::Number(2, whole.0, whole.1),
            "Money" => AMOUNT,
            "DateTime" => Kind::Instant,
            _ => return false,
        };
        let Some((table, column)) = self.change_column(table, column, |found| {
            (found.kind, found.default, found.about) = (kind, None, None);
        }) else {
            return false;
        };
        let mut environment = self.environment();
        let now = environment.clock.now();
        environment.schema.alter(|found| {
            if found.name == table {
                found.keys.retain(|key| key.column != column);
            }
        });
        let rows: Vec<Row> = environment.store.table(table).map(|row| (**row).clone()).collect();
        for mut row in rows.into_iter().filter(|row| row.get(column).is_some()) {
            row.set(column, None);
            environment.store.commit(table, row, now);
        }
        true
    }

    /// Gives a text column another greatest length; false when there is no such column of text.
    pub fn column_length(&self, table: &str, column: &str, length: usize) -> bool {
        let mut text = false;
        self.change_column(table, column, |found| {
            let kind = match found.kind {
                Kind::Text(_) => Kind::Text(length),
                Kind::Link(_) => Kind::Link(length),
                Kind::Memo(_) => Kind::Memo(length),
                _ => return,
            };
            (found.kind, found.about, text) = (kind, None, true);
        });
        text
    }

    /// Takes an option out of a choice; false when it is not there.
    pub fn remove_option(&self, table: &str, column: &str, value: i64) -> bool {
        let mut removed = false;
        self.change_column(table, column, |found| {
            if let Kind::Choice(options) = found.kind {
                let left: Vec<_> = options.iter().copied().filter(|(option, _)| *option != value).collect();
                removed = left.len() < options.len();
                (found.kind, found.about) = (Kind::Choice(Box::leak(left.into_boxed_slice())), None);
            }
        });
        removed
    }

    /// Whether change tracking is enabled for one table.
    pub fn track(&self, table: &str, enabled: bool) {
        self.change(table, |table| table.tracked = enabled);
    }

    fn change(&self, table: &str, change: impl FnOnce(&mut Table)) {
        if let Some(table) = self.environment().schema.named_mut(table) {
            change(table);
        }
    }

    /// Changes a column and answers where it is; none when there is no such column.
    fn change_column(
        &self,
        table: &str,
        column: &str,
        change: impl FnOnce(&mut Column),
    ) -> Option<(&'static str, &'static str)> {
        let mut environment = self.environment();
        let table = environment.schema.named_mut(table)?;
        let found = table.columns.iter_mut().find(|found| found.name == column)?;
        change(found);
        Some((table.name, found.name))
    }
}
