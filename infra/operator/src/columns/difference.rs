//! What is wanted against what is there, part by part.
//!
//! Knows: when what is there will do: a longer text, a further choice, a key of another name over the same column.
//! Refuses to know: how anything is created. Guarantee: it only reads.

use std::collections::HashMap;

use connector::http::Error;
use serde_json::{Value, json};

use crate::definitions::{Column, Definitions, Key, Kind, Part};
use crate::metadata::{Class, Details, FoundKey, FoundTable, Metadata};

/// One part, as wanted and as found.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) part: Part<'a>,
    pub(crate) wanted: String,
    pub(crate) found: Option<String>,
    pub(crate) verdict: Verdict,
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    InStep,
    /// It is created, or switched on.
    Create,
    /// It is there and not ready yet.
    Wait,
    /// It was built and failed; it is built again.
    Rebuild {
        /// Logical name of the key, which may be another than ours over the same column.
        key: String,
    },
    /// Somebody has to act first.
    Blocked {
        /// How.
        cure: String,
    },
}

impl Verdict {
    pub(crate) const fn is_blocked(&self) -> bool {
        matches!(self, Self::Blocked { .. })
    }

    /// Whether something would be written.
    pub(crate) const fn is_written(&self) -> bool {
        matches!(self, Self::Create | Self::Rebuild { .. })
    }

    /// In one word, for people and programs.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::InStep => "none",
            Self::Create => "create",
            Self::Wait => "wait",
            Self::Rebuild { .. } => "rebuild",
            Self::Blocked { .. } => "blocked",
        }
    }
}

impl Line<'_> {
    pub(crate) fn document(&self) -> Value {
        let mut document = json!({
            "part": self.part.word(),
            "name": self.part.name(),
            "wanted": self.wanted,
            "found": self.found,
            "action": self.verdict.word(),
        });
        if let (Verdict::Blocked { cure }, Some(document)) = (&self.verdict, document.as_object_mut()) {
            document.insert("cure".to_owned(), cure.as_str().into());
        }
        document
    }
}

/// A table with those of its columns and keys that are of interest.
#[derive(Debug, Default)]
struct Shape {
    table: Option<FoundTable>,
    types: HashMap<String, String>,
    details: HashMap<String, Details>,
    keys: Vec<FoundKey>,
}

impl Shape {
    async fn read(metadata: &Metadata, definitions: &Definitions, name: &str) -> Result<Self, Error> {
        let Some(table) = metadata.table(name).await? else {
            return Ok(Self::default());
        };
        let of_table: Vec<&Column> = definitions
            .columns
            .iter()
            .filter(|column| column.tables.iter().any(|table| table == name))
            .collect();
        let lookups: Vec<String> = definitions
            .lookups
            .iter()
            .filter(|lookup| lookup.table == name)
            .map(|lookup| lookup.name.to_lowercase())
            .collect();
        let names: Vec<String> = of_table
            .iter()
            .map(|column| column.name.to_lowercase())
            .chain(lookups)
            .collect();
        let found = metadata.columns(name, &names).await?;
        let types: HashMap<String, String> = found
            .into_iter()
            .map(|column| (column.logical_name, column.attribute_type))
            .collect();
        let mut details = HashMap::new();
        // Asked only for columns that are there and of the type that is cast to.
        for (class, attribute_type) in [
            (Class::Text, "String"),
            (Class::Memo, "Memo"),
            (Class::Choice, "Picklist"),
            (Class::Lookup, "Lookup"),
        ] {
            let of_class: Vec<String> = names
                .iter()
                .filter(|name| types.get(*name).is_some_and(|found| found == attribute_type))
                .cloned()
                .collect();
            let cast = metadata.details(name, class, &of_class).await?;
            details.extend(cast.into_iter().map(|column| (column.logical_name.clone(), column)));
        }
        let has_key = definitions.keys.iter().any(|key| key.table == name);
        let keys = if has_key {
            metadata.keys(name).await?
        } else {
            Vec::new()
        };
        Ok(Self {
            table: Some(table),
            types,
            details,
            keys,
        })
    }
}

/// Compares everything.
pub(crate) async fn inspect<'a>(metadata: &Metadata, definitions: &'a Definitions) -> Result<Vec<Line<'a>>, Error> {
    let mut shapes: HashMap<String, Shape> = HashMap::new();
    for name in definitions.table_names() {
        let shape = Shape::read(metadata, definitions, &name).await?;
        shapes.insert(name, shape);
    }
    let nothing = Shape::default();
    let mut lines = Vec::new();
    for part in definitions.parts() {
        let shape = |table: &str| shapes.get(table).unwrap_or(&nothing);
        let (wanted, found, verdict) = match part {
            Part::Publisher(wanted) => {
                let found = metadata.publisher(&wanted.unique_name).await?;
                let shown = |prefix: &str, option_prefix: u32| format!("prefix {prefix}, values {option_prefix}0000");
                let verdict = match &found {
                    None => Verdict::Create,
                    Some(found)
                        if found.prefix == wanted.prefix && found.option_prefix == Some(wanted.option_prefix) =>
                    {
                        Verdict::InStep
                    }
                    Some(_) => Verdict::Blocked {
                        cure: "name another publisher (unique_name) in solution.toml and pass its folder with \
                               `ARGS=\"--definitions DIR\"`, or set its prefix there and in mapping.toml to the one that is found"
                            .to_owned(),
                    },
                };
                let found = found.map(|found| shown(&found.prefix, found.option_prefix.unwrap_or_default()));
                (shown(&wanted.prefix, wanted.option_prefix), found, verdict)
            }
            Part::Solution(wanted) => {
                let found = metadata.solution(&wanted.unique_name).await?;
                let verdict = match &found {
                    None => Verdict::Create,
                    Some(found) if found.is_managed => Verdict::Blocked {
                        cure: "a managed solution takes no new parts: name another one (unique_name) in solution.toml and \
                               pass its folder with `ARGS=\"--definitions DIR\"`"
                            .to_owned(),
                    },
                    Some(_) => Verdict::InStep,
                };
                let found = found.map(|found| {
                    let kind = if found.is_managed { "managed" } else { "unmanaged" };
                    format!("{kind} {}", found.version.unwrap_or_default())
                });
                ("unmanaged".to_owned(), found, verdict)
            }
            Part::Table(table) => {
                let is_there = shape(&table.name.to_lowercase()).table.is_some();
                let verdict = if is_there { Verdict::InStep } else { Verdict::Create };
                (table.label.clone(), is_there.then(|| "there".to_owned()), verdict)
            }
            Part::Column(table, column) => {
                let (found, verdict) = judge_column(column, shape(table));
                (wanted_column(column), found, verdict)
            }
            Part::Lookup(lookup) => {
                let logical = lookup.name.to_lowercase();
                let shape = shape(&lookup.table);
                let wanted = format!("look-up to {}", lookup.target);
                let targets = shape.details.get(&logical).map(|details| &details.targets);
                let (found, verdict) = match (shape.types.get(&logical), targets) {
                    (None, _) => (None, Verdict::Create),
                    (Some(_), Some(targets)) if targets.contains(&lookup.target) => {
                        (Some(wanted.clone()), Verdict::InStep)
                    }
                    (Some(kind), targets) => {
                        let targets = targets.map(|targets| format!(" to {}", targets.join(", ")));
                        let found = format!("{}{}", shown_type(kind), targets.unwrap_or_default());
                        (Some(found), Verdict::Blocked { cure: wrong_kind() })
                    }
                };
                (wanted, found, verdict)
            }
            Part::Tracking(table) => {
                let found = shape(table).table.as_ref();
                let may = found
                    .and_then(|found| found.can_change_tracking_be_enabled.as_ref())
                    .is_none_or(|flag| flag.value);
                let verdict = match found {
                    Some(found) if found.change_tracking_enabled => Verdict::InStep,
                    Some(_) if may => Verdict::Create,
                    Some(_) => Verdict::Blocked {
                        cure: "the table does not allow change tracking: ask whoever manages the environment"
                            .to_owned(),
                    },
                    // Made by this very run, before its turn comes.
                    None if definitions.tables.iter().any(|own| own.name.to_lowercase() == *table) => Verdict::Create,
                    None => Verdict::Blocked {
                        cure: format!(
                            "there is no table {table}: the connector needs an environment with Dynamics 365 Sales"
                        ),
                    },
                };
                let is_on = found.map(|found| {
                    let state = if found.change_tracking_enabled { "on" } else { "off" };
                    state.to_owned()
                });
                ("on".to_owned(), is_on, verdict)
            }
            Part::Key(key) => {
                let (found, verdict) = judge_key(key, &shape(&key.table).keys);
                (format!("over {}", key.columns.join(", ")), found, verdict)
            }
        };
        lines.push(Line {
            part,
            wanted,
            found,
            verdict,
        });
    }
    block_missing_tables(&mut lines, &shapes, definitions);
    Ok(lines)
}

/// A column cannot be created on a table that neither is there nor is ours to create.
fn block_missing_tables(lines: &mut [Line<'_>], shapes: &HashMap<String, Shape>, definitions: &Definitions) {
    for line in lines {
        let (Part::Column(table, _), Verdict::Create) = (line.part, &line.verdict) else {
            continue;
        };
        let is_there = shapes.get(table).is_some_and(|shape| shape.table.is_some());
        let is_ours = definitions.tables.iter().any(|ours| ours.name.to_lowercase() == table);
        if !is_there && !is_ours {
            let cure = format!("there is no table {table}: the connector needs an environment with Dynamics 365 Sales");
            line.verdict = Verdict::Blocked { cure };
        }
    }
}

fn wanted_column(column: &Column) -> String {
    let kind = column.kind.shown();
    match (column.length, column.choices.len()) {
        (Some(length), _) => format!("{kind}, {length}"),
        (None, 0) => kind.to_owned(),
        (None, choices) => format!("{kind} of {choices}"),
    }
}

fn judge_column(column: &Column, shape: &Shape) -> (Option<String>, Verdict) {
    let logical = column.name.to_lowercase();
    let Some(kind) = shape.types.get(&logical) else {
        return (None, Verdict::Create);
    };
    if kind != column.kind.attribute_type() {
        return (Some(shown_type(kind)), Verdict::Blocked { cure: wrong_kind() });
    }
    let details = shape.details.get(&logical);
    if let (Some(wanted), Some(found)) = (column.length, details.and_then(|details| details.max_length)) {
        let shown = format!("{}, {found}", column.kind.shown());
        if found < wanted {
            let cure = format!(
                "make the column longer by hand (make.powerapps.com, Tables, the column, Advanced options, Maximum character \
                 count): at least {wanted}"
            );
            return (Some(shown), Verdict::Blocked { cure });
        }
        return (Some(shown), Verdict::InStep);
    }
    if column.kind == Kind::Choice {
        let values = details.map(Details::values).unwrap_or_default();
        let missing: Vec<String> = column
            .choices
            .iter()
            .filter(|choice| !values.contains(&choice.value))
            .map(|choice| format!("{} ({})", choice.label, choice.value))
            .collect();
        let shown = format!("{} of {}", column.kind.shown(), values.len());
        if !missing.is_empty() {
            let cure = format!(
                "add the missing choices by hand (make.powerapps.com, Tables, the column): {}",
                missing.join(", ")
            );
            return (Some(shown), Verdict::Blocked { cure });
        }
        return (Some(shown), Verdict::InStep);
    }
    (Some(column.kind.shown().to_owned()), Verdict::InStep)
}

fn judge_key(key: &Key, keys: &[FoundKey]) -> (Option<String>, Verdict) {
    let by_name = keys
        .iter()
        .find(|found| found.schema_name.eq_ignore_ascii_case(&key.name));
    let same_columns = keys.iter().find(|found| found.covers(&key.columns));
    let Some(found) = by_name.or(same_columns) else {
        return (None, Verdict::Create);
    };
    if !found.covers(&key.columns) {
        let cure =
            "remove the key in the maker portal (Tables, Keys), or give ours another name in tables.toml and pass \
                    its folder with `ARGS=\"--definitions DIR\"`"
                .to_owned();
        let shown = format!("over {}", found.key_attributes.join(", "));
        return (Some(shown), Verdict::Blocked { cure });
    }
    let shown = Some(found.entity_key_index_status.clone());
    if found.is_active() {
        (shown, Verdict::InStep)
    } else if found.is_failed() {
        let key = found.logical_name.clone();
        (shown, Verdict::Rebuild { key })
    } else {
        (shown, Verdict::Wait)
    }
}

fn wrong_kind() -> String {
    "Dataverse cannot change the kind of a column. If nobody needs what is in it, delete the column (make.powerapps.com, \
     Tables, Columns) and run this again; else give ours another prefix, in solution.toml and mapping.toml alike"
        .to_owned()
}

/// Names of Dataverse's types as the maker portal has them.
pub(crate) fn shown_type(attribute_type: &str) -> String {
    match attribute_type {
        "Boolean" => "yes/no",
        "String" => "text",
        "Memo" => "multi-line text",
        "Picklist" => "choice",
        "Integer" => "whole number",
        "Money" => "currency",
        "DateTime" => "date and time",
        other => other,
    }
    .to_owned()
}
