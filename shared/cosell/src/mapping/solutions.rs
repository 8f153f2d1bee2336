//! Solutions as rows: the child table of the opportunity that holds one solution of a deal a row.
//!
//! Knows: the table's names, what a row says, what rows and memo column hold together. Refuses to know: when rows are
//! written. Guarantee: both count until the memo is emptied, so that neither the first row nor the last takes anything
//! away. Without the section `[solutions]` there are no rows, and only the limits of ids and numbers hold.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::file::{Problems, Section};
use super::read::column;
use super::text::lines;
use super::{Mapping, cut};
use crate::amount::Amount;
use crate::deal::{Field, Term};
use crate::ids::{Etag, OpportunityId, SolutionId};
use crate::opportunity::{Cell, Row, RowChange};
use crate::referral::SolutionTag;

/// UTF-16 units that a row holds of an id; a longer one cannot be kept in both systems.
pub const ID_ROOM: usize = 100;

/// Most solutions of one deal (portal guidance on deal entry).
pub const MOST: usize = 50;

const NAME_ROOM: usize = 100;
const PUBLISHER_ROOM: usize = 200;
const KIND_ROOM: usize = 20;

/// `statecode` of rows that count, and of those that do not. The state takes its default status reason along.
const ACTIVE: i64 = 0;
const INACTIVE: i64 = 1;

/// Names of the child table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolutionTable {
    /// Its entity set, as URLs spell it.
    pub set: String,
    /// Its primary key.
    pub key: String,
    /// The opportunity's list of its rows: the navigation property from the one to the many.
    pub list: String,
    /// The row's look-up of its opportunity: the navigation property from the many to the one. Case matters.
    pub opportunity: String,
    /// Column of the catalogue id.
    pub id: String,
    /// Column of the name.
    pub name: String,
    /// Column of the publisher's name.
    pub publisher: String,
    /// Column of the solution's type.
    pub kind: String,
}

/// One row of the child table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolutionRow {
    /// Its key.
    pub key: Uuid,
    /// Its version.
    pub etag: Option<Etag>,
    /// Whether it counts: a deactivated row does not.
    pub is_active: bool,
    /// The catalogue id; none while the seller has not filled it in.
    pub solution: Option<SolutionId>,
    /// Its name.
    pub name: Option<String>,
    /// Who publishes it.
    pub publisher: Option<String>,
    /// Its type, such as `3P`.
    pub kind: Option<String>,
}

impl SolutionTable {
    /// `has_field` says that the file maps the field as well.
    pub(super) fn read(
        root: &mut Section<'_>,
        prefix: &str,
        has_field: bool,
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let mut section = root.optional("solutions", problems)?;
        if !has_field {
            problems.add(
                section.span(),
                "[solutions] needs a [[field]] for solutions, which says their label, directions and owner",
            );
        }
        let mut read = |key: &str| column(section.text(key, problems).0, prefix);
        let table = Self {
            set: read("set"),
            key: read("key"),
            list: read("list"),
            opportunity: read("opportunity"),
            id: read("id"),
            name: read("name"),
            publisher: read("publisher"),
            kind: read("type"),
        };
        section.finish(problems);
        Some(table)
    }

    /// Its logical name, as metadata spells it: every table's primary key is called after it.
    #[must_use]
    pub fn logical_name(&self) -> &str {
        self.key.strip_suffix("id").unwrap_or(&self.key)
    }

    /// The column that shows which opportunity a row belongs to.
    #[must_use]
    pub fn opportunity_column(&self) -> String {
        format!("_{}_value", self.opportunity.to_lowercase())
    }

    /// The columns that a tracked request of this table needs.
    #[must_use]
    pub fn tracking_columns(&self) -> String {
        format!("{},modifiedon", self.opportunity_column())
    }

    /// The part of `$expand` that reads the rows with their opportunity. Rows of every state: one that does not count any
    /// more is activated again, rather than made anew beside it.
    pub(super) fn expansion(&self) -> String {
        let Self {
            list,
            id,
            name,
            publisher,
            kind,
            ..
        } = self;
        format!("{list}($select={id},{name},{publisher},{kind},statecode)")
    }

    fn row(&self, row: &Row) -> Option<SolutionRow> {
        let text = |column: &str| row.text(column).map(|text| text.trim().to_owned());
        Some(SolutionRow {
            key: row.guid(&self.key)?,
            etag: row.etag.clone(),
            is_active: row.integer("statecode").is_none_or(|state| state == ACTIVE),
            solution: text(&self.id).map(SolutionId),
            name: text(&self.name),
            publisher: text(&self.publisher),
            kind: text(&self.kind),
        })
    }

    /// A row for a solution of a referral.
    #[must_use]
    pub fn new_row(&self, opportunity: OpportunityId, tag: &SolutionTag) -> RowChange {
        let mut change = RowChange::default();
        let about = tag.about();
        let mut set = |column: &str, text: &str, room: usize| {
            if !text.trim().is_empty() {
                change.set(column, Cell::Text(cut(text.trim(), room).0.to_owned()));
            }
        };
        let name = if about.name.trim().is_empty() {
            tag.id.0.trim()
        } else {
            &about.name
        };
        set(&self.id, &tag.id.0, ID_ROOM);
        set(&self.name, name, NAME_ROOM);
        set(&self.publisher, &about.publisher_name, PUBLISHER_ROOM);
        set(&self.kind, &about.solution_type, KIND_ROOM);
        change.bind(&self.opportunity, "opportunities", opportunity.uuid());
        change
    }
}

/// Has a row count from now on, or not any more.
#[must_use]
pub fn activity(is_active: bool) -> RowChange {
    let mut change = RowChange::default();
    let state = if is_active { ACTIVE } else { INACTIVE };
    change.set("statecode", Cell::Number(Amount::new(state.into())));
    change
}

impl SolutionRow {
    /// What people call it.
    #[must_use]
    pub fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.key.to_string())
    }

    /// The entry of a referral for this row.
    fn tag(&self, id: &SolutionId) -> Option<SolutionTag> {
        let blank = String::new();
        SolutionTag::described(
            id,
            self.name.as_ref().unwrap_or(&id.0),
            self.publisher.as_ref().unwrap_or(&blank),
            self.kind.as_ref().unwrap_or(&blank),
        )
        .ok()
    }
}

impl Mapping {
    /// The child table, where the mapping has one.
    #[must_use]
    pub const fn solution_table(&self) -> Option<&SolutionTable> {
        self.solutions.as_ref()
    }

    /// All solution rows of an opportunity, those that do not count among them.
    #[must_use]
    pub fn solution_rows(&self, row: &Row) -> Vec<SolutionRow> {
        let table = self.solutions.as_ref();
        let rows = table.map_or(&[][..], |table| row.rows(&table.list)).iter();
        rows.filter_map(|row| table.and_then(|table| table.row(row))).collect()
    }

    /// The solutions of a deal: what its rows name, and what its memo column names beside them, which the seller wrote
    /// there before the deal had rows.
    pub(super) fn with_rows(&self, memo: Term, row: &Row) -> Term {
        let Some(table) = self
            .solutions
            .as_ref()
            .filter(|_| matches!(memo, Term::Nothing | Term::Solutions(_)))
        else {
            return memo;
        };
        // Taken for an empty list, it would take the solutions off in Partner Center.
        if !matches!(row.cell(&table.list), Cell::Rows(_)) {
            return Term::Unreadable(format!("no list {}", table.list));
        }
        let rows = self.solution_rows(row).into_iter().filter(|row| row.is_active);
        let mut ids: BTreeSet<SolutionId> = rows.filter_map(|row| row.solution).collect();
        if let Term::Solutions(memo) = held(&memo) {
            ids.extend(memo);
        }
        if ids.is_empty() {
            Term::Nothing
        } else {
            Term::Solutions(ids)
        }
    }

    /// Takes out of the memo column what is not `wanted`, and what rows hold, or will once those `added` are there.
    pub fn empty_memo(&self, row: &Row, wanted: &Term, added: &BTreeSet<SolutionId>, change: &mut RowChange) {
        let Some((column, memo)) = self.memo(row) else { return };
        let rows = self.solution_rows(row).into_iter().filter(|row| row.is_active);
        let in_rows: BTreeSet<SolutionId> = rows.filter_map(|row| row.solution).collect();
        let is_wanted = |id: &SolutionId| matches!(wanted, Term::Solutions(wanted) if wanted.contains(id));
        let stays = |id: &SolutionId| is_wanted(id) && !in_rows.contains(id) && !added.contains(id);
        let left: Vec<&str> = memo.iter().filter(|id| stays(id)).map(|id| id.0.as_str()).collect();
        if left.len() < memo.len() {
            let cell = if left.is_empty() {
                Cell::Null
            } else {
                Cell::Text(left.join("\n"))
            };
            change.set(column.to_owned(), cell);
        }
    }

    /// Whether the memo column names what is not `wanted`: the deal shows it, whatever its rows are, until the column is
    /// written.
    #[must_use]
    pub fn memo_shows_more(&self, row: &Row, wanted: &Term) -> bool {
        let is_wanted = |id: &SolutionId| matches!(wanted, Term::Solutions(wanted) if wanted.contains(id));
        self.memo(row).is_some_and(|(_, memo)| !memo.iter().all(is_wanted))
    }

    /// The memo column and what it names, where there are rows besides.
    fn memo(&self, row: &Row) -> Option<(&str, BTreeSet<SolutionId>)> {
        let column = &self.solutions.as_ref().and(self.rule(Field::Solutions))?.column;
        match held(&row.text(column).map(lines)?) {
            Term::Solutions(memo) => Some((column, memo)),
            _ => None,
        }
    }
}

/// The entries that a referral gets for these ids: what is known of them from the rows.
#[must_use]
pub fn tags(ids: &BTreeSet<SolutionId>, rows: &[SolutionRow]) -> Vec<SolutionTag> {
    ids.iter().filter_map(|id| tag(id, rows)).collect()
}

/// The entry that a referral gets for one id.
#[must_use]
pub fn tag(id: &SolutionId, rows: &[SolutionRow]) -> Option<SolutionTag> {
    let row = rows
        .iter()
        .filter(|row| row.is_active)
        .find(|row| row.solution.as_ref() == Some(id));
    row.and_then(|row| row.tag(id)).or_else(|| SolutionTag::named(id).ok())
}

/// What rows show of solutions once they are written: ids without blanks around them.
#[must_use]
pub fn held(term: &Term) -> Term {
    let Term::Solutions(ids) = term else {
        return term.clone();
    };
    let ids = ids.iter().map(|id| id.0.trim()).filter(|id| !id.is_empty());
    let ids: BTreeSet<_> = ids.map(|id| SolutionId(id.to_owned())).collect();
    if ids.is_empty() {
        Term::Nothing
    } else {
        Term::Solutions(ids)
    }
}

/// Whether an entry of a referral is of this solution.
#[must_use]
pub fn is_of(tag: &SolutionTag, id: &SolutionId) -> bool {
    tag.id.0.trim() == id.0.trim()
}

/// Ids that no row can hold.
pub fn too_long(term: &Term) -> impl Iterator<Item = &SolutionId> {
    let ids = match term {
        Term::Solutions(ids) => Some(ids),
        _ => None,
    };
    ids.into_iter().flatten().filter(|id| cut(&id.0, ID_ROOM).1)
}

/// Why these solutions cannot be sent to Partner Center, with the cure.
#[must_use]
pub fn unsendable(term: &Term, label: &str) -> Option<String> {
    let Term::Solutions(ids) = term else { return None };
    if ids.len() > MOST {
        return Some(format!(
            "{label} names {} solutions; Partner Center takes {MOST}: remove some in Dynamics",
            ids.len()
        ));
    }
    too_long(term).next().map(|id| {
        format!(
            "{label} names {id:?}, which is longer than any solution id ({ID_ROOM} characters): correct it in Dynamics"
        )
    })
}
