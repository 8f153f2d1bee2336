//! Whether the CRM has the columns that a mapping names, each of its kind, length and choices.
//!
//! Knows: how definitions tell it. Refuses to know: what the mapping does with a column.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use connector::http;
use cosell::mapping::{Mapping, Type, Want};
use reqwest::StatusCode;

use crate::columns::shown_type;
use crate::metadata::{Class, Metadata};

/// A column that does not fit.
pub(crate) struct Misfit {
    /// What is wrong, naming the column.
    pub(crate) text: String,
    /// Whether the column is simply not there.
    pub(crate) is_missing: bool,
}

/// The types of columns that can hold this, as definitions call them.
const fn types(kind: Type) -> &'static [&'static str] {
    match kind {
        Type::Text => &["String", "Memo"],
        Type::Line => &["String"],
        Type::Money => &["Money"],
        Type::Decimal => &["Decimal", "Double"],
        Type::Integer => &["Integer", "BigInt"],
        Type::Date => &["DateTime"],
        Type::Flag => &["Boolean"],
        Type::Choice => &["Picklist"],
        Type::Lookup => &["Lookup", "Customer", "Owner"],
    }
}

/// Every column that does not fit; with it, how many columns were looked at.
pub(crate) async fn misfits(metadata: &Metadata, mapping: &Mapping) -> Result<(Vec<Misfit>, usize), http::Error> {
    let wants = mapping.wants();
    let mut by_table: BTreeMap<&str, Vec<&Want>> = BTreeMap::new();
    for want in &wants {
        by_table.entry(&want.table).or_default().push(want);
    }
    let mut misfits = Vec::new();
    let mut looked = 0;
    // The deal itself first: what is wrong there stops everything.
    let mut tables: Vec<_> = by_table.into_iter().collect();
    tables.sort_by_key(|(table, _)| *table != "opportunity");
    for (table, wants) in tables {
        let names: BTreeSet<String> = wants.iter().map(|want| want.column.clone()).collect();
        let names: Vec<String> = names.into_iter().collect();
        looked += names.len();
        let found = match Found::read(metadata, table, &names).await {
            Err(error) if error.has_status(StatusCode::NOT_FOUND) => {
                misfits.push(Misfit {
                    text: format!("there is no table {table}"),
                    is_missing: true,
                });
                continue;
            }
            read => read?,
        };
        for want in wants {
            let misfit = found.judge(want);
            misfits.extend(misfit.map(|(text, is_missing)| {
                let place = if table == "opportunity" {
                    want.column.clone()
                } else {
                    format!("{table}.{}", want.column)
                };
                let text = format!("{place} {text}");
                Misfit { text, is_missing }
            }));
        }
    }
    Ok((misfits, looked))
}

/// What a table has.
struct Found {
    types: HashMap<String, String>,
    lengths: HashMap<String, u32>,
    choices: HashMap<String, Vec<i64>>,
}

impl Found {
    async fn read(metadata: &Metadata, table: &str, names: &[String]) -> Result<Self, http::Error> {
        let columns = metadata.columns(table, names).await?;
        let types: HashMap<String, String> = columns
            .into_iter()
            .map(|column| (column.logical_name, column.attribute_type))
            .collect();
        let mut found = Self {
            types,
            lengths: HashMap::new(),
            choices: HashMap::new(),
        };
        for (class, attribute_type) in [
            (Class::Text, "String"),
            (Class::Memo, "Memo"),
            (Class::Choice, "Picklist"),
        ] {
            let of_class: Vec<String> = names
                .iter()
                .filter(|name| found.types.get(*name).is_some_and(|found| found == attribute_type))
                .cloned()
                .collect();
            for details in metadata.details(table, class, &of_class).await? {
                found.choices.insert(details.logical_name.clone(), details.values());
                if let Some(length) = details.max_length {
                    found.lengths.insert(details.logical_name, length);
                }
            }
        }
        Ok(found)
    }

    /// What is wrong with a column, and whether it is missing.
    fn judge(&self, want: &Want) -> Option<(String, bool)> {
        let purpose = &want.purpose;
        let Some(found) = self.types.get(&want.column) else {
            return Some((format!("is missing ({purpose})"), true));
        };
        let fitting = types(want.kind);
        if !fitting.contains(&found.as_str()) {
            let wanted: Vec<String> = fitting.iter().map(|name| shown_type(name)).collect();
            let text = format!(
                "is {}, wanted is {} ({purpose})",
                shown_type(found),
                wanted.join(" or ")
            );
            return Some((text, false));
        }
        let holds = self.lengths.get(&want.column).copied();
        let holds = holds.and_then(|length| usize::try_from(length).ok());
        if let (Some(wanted), Some(holds)) = (want.length, holds)
            && holds < wanted
        {
            return Some((format!("holds {holds} characters, the mapping says {wanted}"), false));
        }
        let there = self.choices.get(&want.column).map(Vec::as_slice).unwrap_or_default();
        let lacking: Vec<String> = want
            .choices
            .iter()
            .filter(|number| !there.contains(number))
            .map(ToString::to_string)
            .collect();
        (!lacking.is_empty()).then(|| (format!("lacks the choices {} ({purpose})", lacking.join(", ")), false))
    }
}

/// What to do about columns that do not fit.
pub(crate) fn cure(misfits: &[Misfit]) -> &'static str {
    if misfits.iter().all(|misfit| misfit.is_missing) {
        "run `make columns ENV=...`, or correct the names in the mapping"
    } else {
        "`make columns ENV=... ARGS=--check` shows more; a column's kind cannot be changed, so map another column or remove the wrong one; correct lengths and choices in the mapping or in Dynamics"
    }
}
