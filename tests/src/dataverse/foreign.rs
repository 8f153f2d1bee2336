//! A CRM that is not like the others: another publisher's columns, and columns of a customer's own.
//!
//! Knows: how to alter definitions before anybody works with them. Refuses to know: what the columns are for.

use super::Dataverse;
use super::schema::{Column, Kind, Named, kept};

/// The type of a customer's column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Own<'a> {
    /// One line of this many characters.
    Text(usize),
    /// A number with this many places.
    Decimal(u32),
    /// A whole number.
    Whole,
    /// One of these.
    Choice(&'a [(i64, &'a str)]),
}

impl Dataverse {
    /// Renames the columns and choices of the co-sell solution, as if another publisher had brought them: the prefix of
    /// names is replaced, and the numbers of choices are moved to begin at `options`.
    pub fn another_publisher(&self, prefix: &str, options: i64) {
        const OURS: i64 = 727_000_000;
        let renamed = |name: &'static str| {
            let rest = name.strip_prefix("cosell_");
            rest.map_or(name, |rest| kept(&format!("{prefix}{rest}")))
        };
        let moved = |number: i64| {
            if number >= OURS {
                number - OURS + options
            } else {
                number
            }
        };
        self.environment().schema.alter(|table| {
            for column in &mut table.columns {
                (column.name, column.schema) = (renamed(column.name), renamed(column.schema));
                column.default = column.default.map(moved);
                if let Kind::Choice(choices) = column.kind {
                    let choices: Vec<Named> = choices.iter().map(|(number, label)| (moved(*number), *label)).collect();
                    column.kind = Kind::Choice(Box::leak(choices.into_boxed_slice()));
                }
            }
            for key in &mut table.keys {
                (key.column, key.schema) = (renamed(key.column), renamed(key.schema));
            }
        });
    }

    /// Adds a column to a table; false when there is no such table or the column exists.
    pub fn own_column(&self, table: &str, name: &str, own: Own<'_>) -> bool {
        let whole = (i64::from(i32::MIN), i64::from(i32::MAX));
        let kind = match own {
            Own::Text(length) => Kind::Text(length),
            Own::Decimal(places) => Kind::Number(places, -100_000_000_000, 100_000_000_000),
            Own::Whole => Kind::Whole(whole.0, whole.1),
            Own::Choice(choices) => {
                let choices: Vec<Named> = choices.iter().map(|(number, label)| (*number, kept(label))).collect();
                Kind::Choice(Box::leak(choices.into_boxed_slice()))
            }
        };
        let mut environment = self.environment();
        let Some(table) = environment.schema.named_mut(table) else {
            return false;
        };
        let is_new = table.column(name).is_none();
        if is_new {
            table.columns.push(Column::new(kept(name), kind));
        }
        is_new
    }

    /// Adds a status reason to a state of a table, as customers do.
    pub fn own_status(&self, table: &str, state: i64, status: i64, label: &str) -> bool {
        let mut environment = self.environment();
        let Some(table) = environment.schema.named_mut(table) else {
            return false;
        };
        let mut states = table.states.to_vec();
        let Some(found) = states.iter_mut().find(|found| found.value == state) else {
            return false;
        };
        let mut statuses = found.statuses.to_vec();
        statuses.push((status, kept(label)));
        found.statuses = Box::leak(statuses.into_boxed_slice());
        table.states = Box::leak(states.into_boxed_slice());
        true
    }
}
