//! Query options: which exist, and what `$select`, `$expand` and `$orderby` say about a table.
//!
//! Knows: the spelling of options. Refuses to know: rows. Guarantee: an option that is not known here is refused, so a
//! misspelt filter can never look like an unfiltered answer.

use super::Environment;
use super::address::split_outside_quotes;
use super::filter::Filter;
use super::refusal::Refusal;
use super::schema::{Kind, Table, Target};

/// The options of one request, read but not yet understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) select: Option<String>,
    pub(super) filter: Option<String>,
    pub(super) order: Option<String>,
    pub(super) top: Option<String>,
    pub(super) expand: Option<String>,
    pub(super) count: Option<String>,
    pub(super) skip_token: Option<String>,
    pub(super) delta_token: Option<String>,
}

impl Options {
    /// Reads a query; only the options in `allowed` may appear, each once.
    pub(super) fn read(query: &str, allowed: &[&str]) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            // A tag reaches plug-ins only; it says nothing about the answer.
            if name == "tag" {
                continue;
            }
            let slot = match name.as_ref() {
                "$select" => &mut options.select,
                "$filter" => &mut options.filter,
                "$orderby" => &mut options.order,
                "$top" => &mut options.top,
                "$expand" => &mut options.expand,
                "$count" => &mut options.count,
                "$skiptoken" => &mut options.skip_token,
                "$deltatoken" => &mut options.delta_token,
                "$skip" => return Err(Refusal::query("Skip Clause is not supported in CRM")),
                _ => {
                    return Err(Refusal::query(format!(
                        "The query parameter '{name}' is not supported."
                    )));
                }
            };
            if !allowed.contains(&name.as_ref()) {
                return Err(Refusal::query(format!(
                    "The query parameter '{name}' is not supported for this request."
                )));
            }
            if slot.replace(value.into_owned()).is_some() {
                return Err(Refusal::query(format!("The query parameter '{name}' is given twice.")));
            }
        }
        Ok(options)
    }

    pub(super) fn counts(&self) -> Result<bool, Refusal> {
        match self.count.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Refusal::query(format!("'{other}' is not a value of $count."))),
        }
    }

    pub(super) fn limit(&self) -> Result<Option<usize>, Refusal> {
        let Some(text) = &self.top else { return Ok(None) };
        let limit = text.parse().ok().filter(|limit| *limit > 0);
        limit
            .map(Some)
            .ok_or_else(|| Refusal::query(format!("'{text}' is not a value of $top.")))
    }

    pub(super) fn filter(&self, table: &Table) -> Result<Option<Filter>, Refusal> {
        let kind = |property: &str| -> Result<Kind, Refusal> {
            table
                .property(property)
                .map(|column| column.kind)
                .ok_or_else(|| Refusal::no_property(property, table.name))
        };
        self.filter
            .as_deref()
            .map(|text| Filter::parse(text, &kind))
            .transpose()
    }

    /// Columns to sort by, with whether they descend.
    pub(super) fn order(&self, table: &Table) -> Result<Vec<(&'static str, bool)>, Refusal> {
        let Some(text) = &self.order else { return Ok(Vec::new()) };
        let one = |part: &str| -> Result<(&'static str, bool), Refusal> {
            let mut words = part.split_whitespace();
            let property = words.next().unwrap_or_default();
            let column = table
                .property(property)
                .ok_or_else(|| Refusal::no_property(property, table.name))?;
            match (words.next(), words.next()) {
                (None | Some("asc"), None) => Ok((column.name, false)),
                (Some("desc"), None) => Ok((column.name, true)),
                _ => Err(Refusal::query(format!("'{part}' is not an order."))),
            }
        };
        text.split(',').map(one).collect()
    }
}

/// Which columns of a row, and of the rows it points to, go into an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Projection {
    /// Logical names in the order asked for; none asks for all.
    pub(super) columns: Option<Vec<&'static str>>,
    pub(super) expansions: Vec<Expansion>,
    pub(super) lists: Vec<ListExpansion>,
    /// As it appears in the context URL.
    described: Vec<String>,
}

/// One expanded single-valued navigation property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expansion {
    pub(super) column: &'static str,
    pub(super) target: Target,
    pub(super) projection: Projection,
}

/// One expanded collection-valued navigation property: the rows of another table that point here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListExpansion {
    pub(super) navigation: String,
    pub(super) table: &'static str,
    /// The look-up that points here.
    pub(super) column: &'static str,
    pub(super) projection: Projection,
    /// Its options, as sent.
    pub(super) query: String,
}

impl Projection {
    /// The parenthesis of the context URL.
    pub(super) fn described(&self) -> String {
        if self.described.is_empty() {
            String::new()
        } else {
            format!("({})", self.described.join(","))
        }
    }
}

impl Environment {
    /// Understands `$select` and `$expand` of a table.
    pub(super) fn projection(
        &self,
        table: &Table,
        select: Option<&str>,
        expand: Option<&str>,
    ) -> Result<Projection, Refusal> {
        let mut projection = Projection::default();
        if let Some(select) = select.filter(|select| *select != "*") {
            let mut columns = Vec::new();
            for property in select.split(',').map(str::trim) {
                let column = table
                    .property(property)
                    .ok_or_else(|| Refusal::no_property(property, table.name))?;
                columns.push(column.name);
                projection.described.push(property.to_owned());
            }
            projection.columns = Some(columns);
        }
        for part in expand
            .map(|expand| split_outside_quotes(expand, ','))
            .unwrap_or_default()
        {
            if let Some(list) = self.list_expansion(table, part.trim())? {
                projection
                    .described
                    .push(format!("{}({})", list.navigation, list.projection.described.join(",")));
                projection.lists.push(list);
                continue;
            }
            let expansion = self.expansion(table, part.trim())?;
            projection.described.push(format!(
                "{}({})",
                expansion.target.navigation,
                expansion.projection.described.join(",")
            ));
            projection.expansions.push(expansion);
        }
        Ok(projection)
    }

    /// A list is expanded with `$select` alone; the documents say no more of it than that it has limits.
    pub(super) fn list_expansion(&self, table: &Table, text: &str) -> Result<Option<ListExpansion>, Refusal> {
        let (name, inside) = text.split_once('(').unwrap_or((text, ")"));
        let Some((many, column)) = self.many(table, name) else {
            return Ok(None);
        };
        let inside = inside
            .strip_suffix(')')
            .ok_or_else(|| Refusal::query(format!("'{text}' is not closed.")))?;
        let select = match inside.split_once('=') {
            None if inside.is_empty() => None,
            Some(("$select", columns)) if !columns.contains(';') => Some(columns),
            _ => {
                return Err(Refusal::query(format!(
                    "The option '{inside}' is not supported in an expand."
                )));
            }
        };
        let projection = self.projection(many, select, None)?;
        Ok(Some(ListExpansion {
            navigation: name.to_owned(),
            table: many.name,
            column: column.name,
            projection,
            query: inside.to_owned(),
        }))
    }

    fn expansion(&self, table: &Table, text: &str) -> Result<Expansion, Refusal> {
        let (name, inside) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => {
                let inside = rest
                    .strip_suffix(')')
                    .ok_or_else(|| Refusal::query(format!("'{text}' is not closed.")))?;
                (name, Some(inside))
            }
        };
        let (column, target) = table
            .navigation(name)
            .ok_or_else(|| Refusal::no_property(name, table.name))?;
        let pointed = self.schema.get(target.table)?;
        let (mut select, mut expand) = (None, None);
        for option in inside
            .map(|inside| split_outside_quotes(inside, ';'))
            .unwrap_or_default()
        {
            match option.trim().split_once('=') {
                Some(("$select", value)) => select = Some(value),
                Some(("$expand", value)) => expand = Some(value),
                _ => {
                    return Err(Refusal::query(format!(
                        "The option '{option}' is not supported in an expand."
                    )));
                }
            }
        }
        // An owner may be a user or a team, so expanding it shows an abstract type without their columns.
        if name == "ownerid" {
            return Err(Refusal::no_property(select.unwrap_or("fullname"), "principal"));
        }
        let projection = self.projection(&pointed, select, expand)?;
        Ok(Expansion {
            column: column.name,
            target,
            projection,
        })
    }
}
