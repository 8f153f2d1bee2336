//! What a table definition says: columns with their types and limits, navigation names, keys, states.
//!
//! Knows: the vocabulary. Refuses to know: the tables themselves (see `tables`) and any row. Guarantee: names are
//! compared exactly, case included, as the Web API does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::tables::is_co_sell;

/// A text that lives as long as the program: definitions made at run time stand beside those that are written here.
pub(super) fn kept(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// A named value of a choice, of a state or of a status.
pub(super) type Named = (i64, &'static str);

/// Labels by language.
pub(super) type Labels = Vec<(i64, String)>;

/// One place a lookup may point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Case-sensitive name used to bind and to expand.
    pub(super) navigation: &'static str,
    /// Logical name of the table pointed to.
    pub(super) table: &'static str,
}

/// The type of a column with its limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// The primary key.
    Key,
    /// A GUID that is no lookup.
    Guid,
    /// One line of text; the limit counts UTF-16 units.
    Text(usize),
    /// One line that holds a link; limited like text.
    Link(usize),
    /// Many lines; the limit counts UTF-16 units.
    Memo(usize),
    /// Yes or no.
    Boolean,
    /// One of these values.
    Choice(&'static [Named]),
    /// The table's state.
    State,
    /// The table's status reason, bound to the state.
    Status,
    /// A whole number within bounds.
    Whole(i64, i64),
    /// The row version.
    Version,
    /// An amount within bounds, rounded to the precision of the row's currency.
    Money(i64, i64),
    /// A decimal number shown with this many places.
    Decimal(u32),
    /// A decimal number with this many places at most, within bounds.
    Number(u32, i64, i64),
    /// A calendar date without a zone.
    Date,
    /// A moment, kept in whole seconds.
    Instant,
    /// A pointer to a row of one of these tables.
    Lookup(&'static [Target]),
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Column {
    /// Logical name.
    pub(super) name: &'static str,
    /// Schema name; the same as the logical name where its casing is of no use to anyone.
    pub(super) schema: &'static str,
    pub(super) kind: Kind,
    /// Whether a create stores it; otherwise it is dropped without a word.
    pub(super) create: bool,
    /// Whether an update stores it; otherwise it is dropped without a word.
    pub(super) update: bool,
    /// Value of a new row; for a boolean 0 or 1.
    pub(super) default: Option<i64>,
    /// What an administrator said who made it; none for what is delivered.
    pub(super) about: Option<&'static About>,
}

/// What the maker of a column said of it beyond its type.
#[derive(Debug, PartialEq)]
pub(super) struct About {
    pub(super) display: Labels,
    pub(super) description: Labels,
    pub(super) required: Value,
    /// Members of its own class, as a definition shows them.
    pub(super) facts: Vec<(&'static str, Value)>,
    /// Schema name of the relationship that brought a lookup.
    pub(super) relationship: Option<String>,
}

impl Column {
    pub(super) const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            schema: name,
            kind,
            create: true,
            update: true,
            default: None,
            about: None,
        }
    }

    pub(super) const fn named(schema: &'static str, name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            schema,
            kind,
            create: true,
            update: true,
            default: None,
            about: None,
        }
    }

    pub(super) const fn read_only(self) -> Self {
        Self {
            create: false,
            update: false,
            ..self
        }
    }

    pub(super) const fn create_only(self) -> Self {
        Self { update: false, ..self }
    }

    pub(super) const fn update_only(self) -> Self {
        Self { create: false, ..self }
    }

    pub(super) const fn default(self, value: i64) -> Self {
        Self {
            default: Some(value),
            ..self
        }
    }

    /// Whether an administrator or a solution brought it.
    pub(super) fn is_custom(&self) -> bool {
        self.about.is_some() || is_co_sell(self.name)
    }

    /// The name under which the value is read, selected and filtered.
    pub(super) fn property(&self) -> String {
        match self.kind {
            Kind::Lookup(_) => format!("_{}_value", self.name),
            _ => self.name.to_owned(),
        }
    }

    /// Places that an amount is rounded to; the currency's, unless its maker said otherwise.
    pub(super) fn places(&self, of_currency: u32) -> u32 {
        /// The organization's own precision of prices.
        const OF_ORGANIZATION: u32 = 2;
        let said = |name: &str| {
            let fact = self.about?.facts.iter().find(|(found, _)| *found == name);
            fact.and_then(|(_, value)| value.as_u64())
        };
        match said("PrecisionSource") {
            Some(0) => said("Precision")
                .and_then(|places| u32::try_from(places).ok())
                .unwrap_or(of_currency),
            Some(1) => OF_ORGANIZATION,
            _ => of_currency,
        }
    }

    pub(super) fn targets(&self) -> &'static [Target] {
        match self.kind {
            Kind::Lookup(targets) => targets,
            _ => &[],
        }
    }
}

/// A state with the status reasons that belong to it; the first is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) value: i64,
    pub(super) label: &'static str,
    pub(super) statuses: &'static [Named],
}

/// An alternate key over one text column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AlternateKey {
    pub(super) schema: &'static str,
    pub(super) column: &'static str,
    pub(super) index: Index,
}

/// How far the job is that builds the unique index of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// Finished once somebody has looked this often, or at this moment.
    Building { looks: u32, due: Timestamp },
    /// The key can be used, and holds.
    Active,
    /// Rows were in the way.
    Failed,
}

impl Index {
    /// As a definition shows it.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Building { looks: 0 | 1, .. } => "InProgress",
            Self::Building { .. } => "Pending",
            Self::Active => "Active",
            Self::Failed => "Failed",
        }
    }
}

impl AlternateKey {
    pub(super) fn is_active(&self) -> bool {
        self.index == Index::Active
    }
}

/// What only an administrator's tools look at in a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct More {
    /// Display name, its plural and a description by language; without any, the schema name serves.
    pub(super) display: Labels,
    pub(super) plural: Labels,
    pub(super) description: Labels,
    /// Whether rows have owners; else they are the organization's.
    pub(super) user_owned: bool,
    /// Change tracking was asked for and waits to be published.
    pub(super) tracking_unpublished: bool,
    /// Made by an administrator here.
    pub(super) made_here: bool,
    /// Members of the definition that mean nothing to rows, where they differ from those of any table.
    pub(super) said: BTreeMap<String, Value>,
}

impl Default for More {
    fn default() -> Self {
        Self {
            display: Labels::new(),
            plural: Labels::new(),
            description: Labels::new(),
            user_owned: true,
            tracking_unpublished: false,
            made_here: false,
            said: BTreeMap::new(),
        }
    }
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Logical name.
    pub(super) name: &'static str,
    pub(super) schema: &'static str,
    /// Plural used in URLs.
    pub(super) set: &'static str,
    pub(super) key: &'static str,
    /// The column that names a row to people.
    pub(super) primary_name: &'static str,
    pub(super) columns: Vec<Column>,
    pub(super) keys: Vec<AlternateKey>,
    pub(super) states: &'static [State],
    /// Whether the connector's role may create, change and delete rows.
    pub(super) writable: bool,
    pub(super) tracked: bool,
    pub(super) more: More,
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column read under this property name: `_x_value` for lookups, else the logical name.
    pub(super) fn property(&self, property: &str) -> Option<&Column> {
        match property.strip_prefix('_').and_then(|rest| rest.strip_suffix("_value")) {
            Some(name) => self.column(name).filter(|column| !column.targets().is_empty()),
            None => self.column(property).filter(|column| column.targets().is_empty()),
        }
    }

    /// The lookup column and target behind a navigation name, compared with its case.
    pub(super) fn navigation(&self, name: &str) -> Option<(&Column, Target)> {
        self.columns.iter().find_map(|column| {
            column
                .targets()
                .iter()
                .find(|target| target.navigation == name)
                .map(|target| (column, *target))
        })
    }

    pub(super) fn state(&self, value: i64) -> Option<&'static State> {
        self.states.iter().find(|state| state.value == value)
    }

    /// The state that a status reason belongs to.
    pub(super) fn state_of(&self, status: i64) -> Option<&'static State> {
        self.states
            .iter()
            .find(|state| state.statuses.iter().any(|(value, _)| *value == status))
    }
}
