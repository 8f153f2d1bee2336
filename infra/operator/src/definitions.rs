//! What should be in the CRM, read from data.
//!
//! Knows: the three files of `infra/dynamics`, their rules, and the order in which parts depend on one another. Refuses
//! to know: what is in a CRM. Guarantee: a definition that cannot work is refused before anything is asked of the CRM, and
//! names its file.

use std::path::Path;

use serde::Deserialize;

use crate::trouble::Trouble;

const SOLUTION: (&str, &str) = ("solution.toml", include_str!("../../dynamics/solution.toml"));
const COLUMNS: (&str, &str) = ("columns.toml", include_str!("../../dynamics/columns.toml"));
const TABLES: (&str, &str) = ("tables.toml", include_str!("../../dynamics/tables.toml"));

/// Everything that is wanted.
#[derive(Debug)]
pub(crate) struct Definitions {
    pub(crate) language: u32,
    pub(crate) publisher: Publisher,
    pub(crate) solution: Solution,
    pub(crate) tables: Vec<Table>,
    pub(crate) columns: Vec<Column>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) tracking: Vec<String>,
    pub(crate) keys: Vec<Key>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publisher {
    pub(crate) unique_name: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) prefix: String,
    pub(crate) option_prefix: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Solution {
    pub(crate) unique_name: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) version: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) plural: String,
    pub(crate) description: String,
    pub(crate) primary: Primary,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Primary {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) length: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) tables: Vec<String>,
    pub(crate) kind: Kind,
    pub(crate) length: Option<u32>,
    pub(crate) least: Option<i64>,
    pub(crate) most: Option<i64>,
    #[serde(default)]
    pub(crate) choices: Vec<Choice>,
    pub(crate) label: String,
    pub(crate) description: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choice {
    pub(crate) value: i64,
    pub(crate) label: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lookup {
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) relationship: String,
    pub(crate) label: String,
    pub(crate) description: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) label: String,
}

/// Kinds of columns, and what Dataverse calls their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Boolean,
    Text,
    Url,
    Memo,
    Choice,
    Integer,
    Money,
}

impl Kind {
    /// `AttributeType`.
    pub(crate) const fn attribute_type(self) -> &'static str {
        match self {
            Self::Boolean => "Boolean",
            Self::Text | Self::Url => "String",
            Self::Memo => "Memo",
            Self::Choice => "Picklist",
            Self::Integer => "Integer",
            Self::Money => "Money",
        }
    }

    /// What the maker portal calls it.
    pub(crate) const fn shown(self) -> &'static str {
        match self {
            Self::Boolean => "yes/no",
            Self::Text => "text",
            Self::Url => "URL",
            Self::Memo => "multi-line text",
            Self::Choice => "choice",
            Self::Integer => "whole number",
            Self::Money => "currency",
        }
    }
}

/// One thing that is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    Publisher(&'a Publisher),
    Solution(&'a Solution),
    Table(&'a Table),
    Column(&'a str, &'a Column),
    Lookup(&'a Lookup),
    Tracking(&'a str),
    Key(&'a Key),
}

impl Part<'_> {
    /// What kind of part it is, in one word.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Publisher(_) => "publisher",
            Self::Solution(_) => "solution",
            Self::Table(_) => "table",
            Self::Column(..) => "column",
            Self::Lookup(_) => "look-up",
            Self::Tracking(_) => "change tracking",
            Self::Key(_) => "key",
        }
    }

    /// Its name: what people look for in the maker portal.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Publisher(publisher) => publisher.unique_name.clone(),
            Self::Solution(solution) => solution.unique_name.clone(),
            Self::Table(table) => table.name.clone(),
            Self::Column(table, column) => format!("{table}.{}", column.name),
            Self::Lookup(lookup) => format!("{}.{}", lookup.table, lookup.name),
            Self::Tracking(table) => (*table).to_owned(),
            Self::Key(key) => format!("{}.{}", key.table, key.name),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SolutionFile {
    language: u32,
    publisher: Publisher,
    solution: Solution,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnsFile {
    column: Vec<Column>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TablesFile {
    #[serde(default)]
    table: Vec<Table>,
    #[serde(default)]
    lookup: Vec<Lookup>,
    #[serde(default)]
    key: Vec<Key>,
    #[serde(default)]
    tracking: Vec<Tracking>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tracking {
    table: String,
}

impl Definitions {
    /// The built-in definitions, or those of a folder.
    pub(crate) fn load(folder: Option<&Path>) -> Result<Self, Trouble> {
        let text = |(name, built_in): (&'static str, &str)| match folder {
            None => Ok(built_in.to_owned()),
            Some(folder) => std::fs::read_to_string(folder.join(name))
                .map_err(|error| wrong(name, &format!("cannot be read: {error}"))),
        };
        Self::parse(&text(SOLUTION)?, &text(COLUMNS)?, &text(TABLES)?)
    }

    fn parse(solution: &str, columns: &str, tables: &str) -> Result<Self, Trouble> {
        let SolutionFile {
            language,
            publisher,
            solution,
        } = toml::from_str(solution).map_err(|error| wrong(SOLUTION.0, &error.to_string()))?;
        let ColumnsFile { column } = toml::from_str(columns).map_err(|error| wrong(COLUMNS.0, &error.to_string()))?;
        let tables: TablesFile = toml::from_str(tables).map_err(|error| wrong(TABLES.0, &error.to_string()))?;
        let mut definitions = Self {
            language,
            publisher,
            solution,
            tables: tables.table,
            columns: column,
            lookups: tables.lookup,
            tracking: tables.tracking.into_iter().map(|tracking| tracking.table).collect(),
            keys: tables.key,
        };
        definitions.expand();
        definitions.check()?;
        Ok(definitions)
    }

    /// Gives every "@name" the prefix.
    fn expand(&mut self) {
        let prefix = self.publisher.prefix.clone();
        let full = |name: &mut String| {
            if let Some(rest) = name.strip_prefix('@') {
                *name = format!("{prefix}_{rest}");
            }
        };
        for table in &mut self.tables {
            full(&mut table.name);
            full(&mut table.primary.name);
        }
        for column in &mut self.columns {
            full(&mut column.name);
            column.tables.iter_mut().for_each(full);
        }
        for lookup in &mut self.lookups {
            for name in [
                &mut lookup.table,
                &mut lookup.name,
                &mut lookup.target,
                &mut lookup.relationship,
            ] {
                full(name);
            }
        }
        for key in &mut self.keys {
            full(&mut key.table);
            full(&mut key.name);
            key.columns.iter_mut().for_each(full);
        }
        self.tracking.iter_mut().for_each(full);
    }

    fn check(&self) -> Result<(), Trouble> {
        let prefix = &self.publisher.prefix;
        // 2 to 8 letters and digits, a letter first, and not the vendor's own.
        let is_prefix = (2..=8).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && prefix.starts_with(|c: char| c.is_ascii_alphabetic())
            && !prefix.starts_with("mscrm");
        if !is_prefix {
            return Err(wrong(
                SOLUTION.0,
                "prefix must be 2 to 8 letters and digits and begin with a letter",
            ));
        }
        if !(10_000..=99_999).contains(&self.publisher.option_prefix) {
            return Err(wrong(SOLUTION.0, "option_prefix must be between 10000 and 99999"));
        }
        for column in &self.columns {
            let name = &column.name;
            if matches!(column.kind, Kind::Text | Kind::Url | Kind::Memo) && column.length.is_none() {
                return Err(wrong(COLUMNS.0, &format!("{name} needs a length")));
            }
            if column.kind == Kind::Choice && column.choices.is_empty() {
                return Err(wrong(COLUMNS.0, &format!("{name} needs choices")));
            }
            if let Some(table) = column.tables.iter().find(|table| !is_logical(table)) {
                return Err(wrong(
                    COLUMNS.0,
                    &format!("{name}: {table} must be a logical name, in lower case"),
                ));
            }
        }
        for key in &self.keys {
            let is_known = |wanted: &String| {
                self.columns
                    .iter()
                    .any(|column| column.tables.contains(&key.table) && column.name.to_lowercase() == *wanted)
            };
            if let Some(missing) = key.columns.iter().find(|column| !is_known(column)) {
                return Err(wrong(
                    TABLES.0,
                    &format!("{} names {missing}, which is no column of {}", key.name, key.table),
                ));
            }
        }
        Ok(())
    }

    /// Everything, each part after those it depends on. Keys come last of all: see `columns::act`.
    pub(crate) fn parts(&self) -> Vec<Part<'_>> {
        let columns = self
            .columns
            .iter()
            .flat_map(|column| column.tables.iter().map(move |table| Part::Column(table, column)));
        [Part::Publisher(&self.publisher), Part::Solution(&self.solution)]
            .into_iter()
            .chain(self.tables.iter().map(Part::Table))
            .chain(columns)
            .chain(self.lookups.iter().map(Part::Lookup))
            .chain(self.tracking.iter().map(|table| Part::Tracking(table)))
            .chain(self.keys.iter().map(Part::Key))
            .collect()
    }

    /// Logical names of all tables that something is wanted of, without repeats.
    pub(crate) fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let of_columns = self.columns.iter().flat_map(|column| column.tables.iter().cloned());
        let of_lookups = self.lookups.iter().map(|lookup| lookup.table.clone());
        let of_keys = self.keys.iter().map(|key| key.table.clone());
        let own = self.tables.iter().map(|table| table.name.to_lowercase());
        let all = of_columns
            .chain(self.tracking.iter().cloned())
            .chain(of_keys)
            .chain(of_lookups)
            .chain(own);
        for name in all {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

fn is_logical(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn wrong(file: &str, complaint: &str) -> Trouble {
    Trouble::usage(
        "definitions_invalid",
        format!("{file}: {}", complaint.trim()),
        "correct the file; infra/dynamics holds the ones that are built in",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(columns: &str) -> Result<Definitions, Trouble> {
        Definitions::parse(SOLUTION.1, columns, TABLES.1)
    }

    #[test]
    fn the_built_in_definitions_are_sound_and_ordered() {
        let definitions = Definitions::load(None).unwrap();
        let words: Vec<&str> = definitions.parts().iter().map(Part::word).collect();
        let order = [
            "publisher",
            "solution",
            "table",
            "column",
            "look-up",
            "change tracking",
            "key",
        ];
        let mut found = words.clone();
        found.dedup();
        assert_eq!(found, order);
        assert_eq!(words.iter().filter(|word| **word == "column").count(), 29);
        assert_eq!(
            definitions.table_names(),
            ["opportunity", "lead", "cosell_dealsolution"]
        );
    }

    #[test]
    fn the_mapping_finds_the_columns_and_choices_it_names() {
        let definitions = Definitions::load(None).unwrap();
        let mapping = cosell::mapping::Mapping::parse(cosell::mapping::DEFAULT).unwrap();
        let on_opportunity = |logical: &str| {
            definitions.columns.iter().any(|column| {
                column.tables.iter().any(|table| table == "opportunity") && column.name.to_lowercase() == logical
            })
        };
        for column in mapping.own_columns() {
            assert!(!column.starts_with("cosell_") || on_opportunity(column), "{column}");
        }
    }

    #[test]
    fn a_definition_that_cannot_work_is_named_with_its_file() {
        let cases = [
            (
                "[[column]]\nname = \"@A\"\ntables = [\"lead\"]\nkind = \"text\"\nlabel = \"\"\ndescription = \"\"",
                "needs a length",
            ),
            (
                "[[column]]\nname = \"@A\"\ntables = [\"Lead\"]\nkind = \"boolean\"\nlabel = \"\"\ndescription = \"\"",
                "lower case",
            ),
            (
                "[[column]]\nname = \"@A\"\ntables = []\nkind = \"choice\"\nlabel = \"\"\ndescription = \"\"",
                "needs choices",
            ),
            ("[[column]]\nnames = \"@A\"", "unknown field"),
        ];
        for (text, expected) in cases {
            let trouble = parse(text).unwrap_err();
            assert!(trouble.message.starts_with("columns.toml: "), "{}", trouble.message);
            assert!(trouble.message.contains(expected), "{}", trouble.message);
        }
    }
}
