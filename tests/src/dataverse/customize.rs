//! What an administrator's tools change: tables, columns, keys, change tracking, and what is published.
//!
//! Knows: the requests, what each demands of its caller, that one runs at a time, how late its effect shows. Refuses to
//! know: the classes of columns (see `definition`). Guarantee: what was made is a definition like the delivered ones, so
//! that rows cannot tell them apart. Not kept here: changes of columns, deletions, keys of several columns.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-update-entity-definitions-using-web-api>

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use tokio::sync::OwnedMutexGuard;

use super::address::{Arguments, Segment};
use super::cell::Cell;
use super::definition::{Definition, Naming, column, invalid, not_kept};
use super::metadata::{entity, logical_name, metadata_id};
use super::neighbours::ACTIVE_STATES;
use super::query::Options;
use super::refusal::Refusal;
use super::schema::{AlternateKey, Column, Index, Kind, Labels, More, Table, kept};
use super::tables::{owned, priced, unowned};
use super::web::{Answer, Call};
use super::{Dataverse, Environment};

/// Where definitions of tables are sent.
const TABLES: &str = "EntityDefinitions";

/// Keys that a table may have.
const MOST_KEYS: usize = 10;

/// UTF-16 units of text that fit into the index of a key, which holds 900 bytes.
const LONGEST_KEY: usize = 450;

/// Members of a table that a maker must give.
const DEMANDED: [&str; 7] = [
    "SchemaName",
    "DisplayName",
    "DisplayCollectionName",
    "OwnershipType",
    "IsActivity",
    "HasActivities",
    "HasNotes",
];

/// Members of a table that nobody may set or change.
const FIXED: [&str; 14] = [
    "MetadataId",
    "LogicalName",
    "EntitySetName",
    "LogicalCollectionName",
    "PrimaryIdAttribute",
    "PrimaryNameAttribute",
    "ObjectTypeCode",
    "IsCustomEntity",
    "IsManaged",
    "IsIntersect",
    "IsChildEntity",
    "CanTriggerWorkflow",
    "DaysSinceRecordLastModified",
    "CanChangeTrackingBeEnabled",
];

/// Members of a table that are settled when it is made.
const SETTLED: [&str; 3] = ["SchemaName", "OwnershipType", "IsActivity"];

/// Members of a table that are kept apart from the rest of what was said of it.
const APART: [&str; 4] = [
    "DisplayName",
    "DisplayCollectionName",
    "Description",
    "ChangeTrackingEnabled",
];

/// What was made too lately for everybody to see it.
#[derive(Debug)]
struct Fresh {
    table: &'static str,
    /// None hides the table whole.
    column: Option<&'static str>,
    until: Timestamp,
}

/// What was customized, and who sees it already.
#[derive(Debug, Default)]
pub(super) struct History {
    fresh: Vec<Fresh>,
    /// The request that is answered now asked for strong consistency.
    strong: bool,
}

impl Dataverse {
    /// Makes room for a customization, or refuses it because another one runs; none for any other request.
    pub(super) async fn customizing(
        &self,
        method: &Method,
        path: &str,
    ) -> Result<Option<OwnedMutexGuard<()>>, Refusal> {
        if !is_customization(method, path) {
            return Ok(None);
        }
        let locked = || {
            let message =
                "Cannot start the requested operation because there is a previous one running at this moment.";
            Refusal::bad("0x80071151", message)
        };
        let takes = {
            let switches = &mut self.environment().switches;
            if switches.customizations_refused > 0 {
                switches.customizations_refused -= 1;
                return Err(locked());
            }
            switches.customization_takes
        };
        let held = Arc::clone(&self.customizing).try_lock_owned().map_err(|_| locked())?;
        if takes > Duration::ZERO {
            tokio::time::sleep(takes).await;
        }
        Ok(Some(held))
    }
}

fn is_customization(method: &Method, path: &str) -> bool {
    const RESOURCES: [&str; 5] = [
        TABLES,
        "RelationshipDefinitions",
        "PublishXml",
        "PublishAllXml",
        "ReactivateEntityKey",
    ];
    let resource = path.split('/').nth(4).unwrap_or_default();
    let resource = resource.split('(').next().unwrap_or_default();
    *method != Method::GET && RESOURCES.contains(&resource)
}

impl Environment {
    /// Lets happen what was due by now, and notes how this request wants to read.
    pub(super) fn settle(&mut self, headers: &HeaderMap) {
        let strong = headers.get("consistency").and_then(|value| value.to_str().ok());
        self.history.strong = strong.is_some_and(|value| value.eq_ignore_ascii_case("strong"));
        let now = self.clock.now();
        self.history.fresh.retain(|fresh| fresh.until > now);
        let due: Vec<(&'static str, AlternateKey)> = self
            .schema
            .0
            .iter()
            .flat_map(|table| table.keys.iter().map(|key| (table.name, *key)))
            .filter(|(_, key)| matches!(key.index, Index::Building { looks, due } if looks == 0 || due <= now))
            .collect();
        for (table, key) in due {
            let unique = !self.switches.key_index_fails && self.is_unique(table, key.column);
            let index = if unique { Index::Active } else { Index::Failed };
            self.set_index(table, key.schema, index);
        }
    }

    fn is_unique(&self, table: &str, column: &str) -> bool {
        let values = self
            .store
            .table(table)
            .filter_map(|row| row.get(column).and_then(Cell::text));
        let mut values: Vec<String> = values.map(str::to_lowercase).collect();
        values.sort_unstable();
        values.windows(2).all(|pair| pair.first() != pair.last())
    }

    fn set_index(&mut self, table: &str, schema: &str, index: Index) {
        self.schema.alter(|definition| {
            if definition.name == table {
                let named = definition.keys.iter_mut().filter(|key| key.schema == schema);
                named.for_each(|key| key.index = index);
            }
        });
    }

    /// Counts a look at the keys of a table, which brings their indexes closer.
    pub(super) fn looked(&mut self, call: &Call<'_>, first: &Segment, rest: &[Segment]) {
        let (Method::GET, Some(arguments), [keys]) = (call.method.clone(), &first.arguments, rest) else {
            return;
        };
        if keys.name != "Keys" {
            return;
        }
        let Ok(table) = self.defined(arguments) else { return };
        let name = table.name;
        self.schema.alter(|table| {
            for key in table.keys.iter_mut().filter(|_| table.name == name) {
                if let Index::Building { looks, .. } = &mut key.index {
                    *looks = looks.saturating_sub(1);
                }
            }
        });
    }

    /// A table as the request that is answered now may see it; none while it is too new.
    pub(super) fn seen(&self, table: &Arc<Table>) -> Option<Arc<Table>> {
        let fresh = self.history.fresh.iter().filter(|fresh| fresh.table == table.name);
        let hidden: Vec<Option<&str>> = fresh.map(|fresh| fresh.column).collect();
        if hidden.is_empty() || self.history.strong {
            return Some(Arc::clone(table));
        }
        if hidden.contains(&None) {
            return None;
        }
        let mut seen = (**table).clone();
        seen.columns.retain(|column| !hidden.contains(&Some(column.name)));
        seen.keys.retain(|key| !hidden.contains(&Some(key.column)));
        Some(Arc::new(seen))
    }

    fn hide(&mut self, table: &'static str, column: Option<&'static str>) {
        let lag = SignedDuration::try_from(self.switches.metadata_lag).unwrap_or(SignedDuration::MAX);
        if lag > SignedDuration::ZERO {
            let until = self.clock.now().checked_add(lag).unwrap_or(Timestamp::MAX);
            self.history.fresh.push(Fresh { table, column, until });
        }
    }

    /// Answers a customization; none for any other request.
    pub(super) fn customization(
        &mut self,
        call: &Call<'_>,
        first: &Segment,
        rest: &[Segment],
    ) -> Result<Option<Answer>, Refusal> {
        let bare = |segment: &Segment, name: &str| segment.name == name && segment.arguments.is_none();
        let answer = match (call.method, first.name.as_str(), &first.arguments, rest) {
            (&Method::POST, TABLES, None, []) => self.make_table(call),
            (&Method::PUT, TABLES, Some(table), []) => self.replace_table(call, table),
            (&Method::POST, TABLES, Some(table), [part]) if bare(part, "Attributes") => self.make_column(call, table),
            (&Method::POST, TABLES, Some(table), [part]) if bare(part, "Keys") => self.make_key(call, table),
            (&Method::POST, "RelationshipDefinitions", None, []) => self.make_relationship(call),
            (&Method::GET, "RelationshipDefinitions", _, _) => self.relationships(call, first, rest),
            (&Method::POST, "PublishXml", None, []) => self.publish(call, true),
            (&Method::POST, "PublishAllXml", None, []) => self.publish(call, false),
            (&Method::POST, "ReactivateEntityKey", None, []) => self.reactivate_key(call),
            _ => return Ok(None),
        };
        answer.map(Some)
    }

    /// What every customization demands: a privilege, no condition, no option, a solution that exists.
    pub(super) fn admit(&self, call: &Call<'_>, privilege: &str) -> Result<Naming, Refusal> {
        self.require(privilege)?;
        call.condition.refuse_any()?;
        Options::read(call.query, &[])?;
        let solution = call.headers.get("mscrm.solutionuniquename");
        let solution = solution
            .map(|value| value.to_str())
            .transpose()
            .map_err(|_| Refusal::query("The header MSCRM.SolutionUniqueName is not text."))?;
        self.prefixes(solution).map(Naming)
    }

    /// The table behind the parentheses, by its name or its id.
    pub(super) fn defined(&self, arguments: &Arguments) -> Result<Arc<Table>, Refusal> {
        let named = logical_name(arguments);
        let table = self.schema.0.iter().find(|table| match &named {
            Some(name) => table.name == name.as_str(),
            None => *arguments == Arguments::Plain(metadata_id(&[table.name]).to_string()),
        });
        table.cloned().ok_or_else(|| {
            let message = "Could not find an entity with the specified name or id.";
            Refusal::new(StatusCode::NOT_FOUND, "0x80060888", message)
        })
    }

    pub(super) fn made(&self, path: &str) -> Answer {
        Answer::empty(StatusCode::NO_CONTENT).with("odata-entityid", format!("{}/{path}", self.root()))
    }

    fn make_table(&mut self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let naming = self.admit(call, "prvCreateEntity")?;
        let body = json(TABLES, call.body)?;
        let definition = Definition::read(TABLES, &body, &["EntityMetadata"])?;
        let known = known_members();
        let known: Vec<&str> = known
            .iter()
            .map(String::as_str)
            .filter(|name| !FIXED.contains(name))
            .collect();
        definition.allow(&[&known, &["Attributes"]])?;
        for name in DEMANDED {
            definition.required(name)?;
        }
        let schema = definition.text("SchemaName")?;
        naming.check(schema)?;
        let name = schema.to_lowercase();
        let set = plural(&name);
        if self.schema.0.iter().any(|table| table.name == name || table.set == set) {
            let message = format!("An object with the specified name already exists: {schema}");
            return Err(Refusal::bad("0x80047010", message));
        }
        let user_owned = match definition.text("OwnershipType")? {
            "UserOwned" => true,
            "OrganizationOwned" => false,
            other => return Err(definition.wrong(format!("'{other}' is not a value of 'OwnershipType'."))),
        };
        if definition.flag("IsActivity")? == Some(true) {
            return Err(not_kept("A table of activities"));
        }
        let key = kept(&format!("{name}id"));
        let mut table = Table {
            name: kept(&name),
            schema: kept(schema),
            set: kept(&set),
            key,
            primary_name: "",
            columns: if user_owned { owned(key) } else { unowned(key) },
            keys: Vec::new(),
            states: ACTIVE_STATES,
            writable: true,
            tracked: definition.flag("ChangeTrackingEnabled")?.unwrap_or_default(),
            more: More {
                display: definition.required_labels("DisplayName")?,
                plural: definition.required_labels("DisplayCollectionName")?,
                description: definition.labels("Description")?.unwrap_or_default(),
                user_owned,
                made_here: true,
                ..More::default()
            },
        };
        say(&mut table, &definition)?;
        let columns = definition.required("Attributes")?.as_array();
        for one in columns.ok_or_else(|| definition.wrong("'Attributes' is not a list."))? {
            let made = column(TABLES, one, &naming)?;
            if made.primary && !(table.primary_name.is_empty() && matches!(made.column.kind, Kind::Text(_))) {
                return Err(invalid("A table has one primary name, which is a text of format Text."));
            }
            if made.primary {
                table.primary_name = made.column.name;
            }
            add_column(&mut table, made.column)?;
        }
        if table.primary_name.is_empty() {
            return Err(invalid("'Attributes' holds no column whose 'IsPrimaryName' is true."));
        }
        self.require("prvCreateAttribute")?;
        self.roles.made(&table);
        let (name, id) = (table.name, metadata_id(&[table.name]));
        self.schema.0.push(Arc::new(table));
        self.hide(name, None);
        Ok(self.made(&format!("{TABLES}({id})")))
    }

    /// A definition is replaced whole; what it leaves out would be lost, so it may leave out nothing.
    fn replace_table(&mut self, call: &Call<'_>, arguments: &Arguments) -> Result<Answer, Refusal> {
        self.admit(call, "prvWriteEntity")?;
        let merge = match call.headers.get("mscrm.mergelabels").map(|value| value.to_str()) {
            None => false,
            Some(Ok(word)) if word.eq_ignore_ascii_case("true") => true,
            Some(Ok(word)) if word.eq_ignore_ascii_case("false") => false,
            Some(_) => return Err(Refusal::query("MSCRM.MergeLabels is neither true nor false.")),
        };
        let mut table = (*self.defined(arguments)?).clone();
        let body = json(TABLES, call.body)?;
        let definition = Definition::of_class(TABLES, &body, "EntityMetadata")?;
        let current = entity(&table).object();
        let known: Vec<&str> = current.keys().map(String::as_str).collect();
        definition.allow(&[&known])?;
        for (name, value) in &current {
            let settled = FIXED.contains(&name.as_str()) || SETTLED.contains(&name.as_str());
            match definition.get(name) {
                None if FIXED.contains(&name.as_str()) => {}
                None => return Err(invalid(format!("'{name}' is missing; a definition is replaced whole."))),
                Some(said) if settled && said != value => {
                    return Err(invalid(format!("'{name}' of a table cannot be changed.")));
                }
                Some(_) => {}
            }
        }
        let more = &mut table.more;
        for (name, labels) in [
            ("DisplayName", &mut more.display),
            ("DisplayCollectionName", &mut more.plural),
            ("Description", &mut more.description),
        ] {
            let said = definition.get(name).and_then(|label| label.get("LocalizedLabels"));
            let none = said.and_then(Value::as_array).is_some_and(Vec::is_empty);
            let new = if none { None } else { definition.labels(name)? };
            replace_labels(labels, new.unwrap_or_default(), merge);
        }
        match (table.tracked, definition.flag("ChangeTrackingEnabled")?) {
            (true, Some(true)) | (false, Some(false)) => {}
            (false, Some(true)) => more.tracking_unpublished = true,
            (true, Some(false)) => return Err(invalid("Change tracking cannot be disabled once it is enabled.")),
            (_, None) => return Err(definition.wrong("'ChangeTrackingEnabled' is not a truth value.")),
        }
        say(&mut table, &definition)?;
        let (name, id) = (table.name, metadata_id(&[table.name]));
        self.schema.alter(|definition| {
            if definition.name == name {
                definition.clone_from(&table);
            }
        });
        Ok(self.made(&format!("{TABLES}({id})")))
    }

    fn make_column(&mut self, call: &Call<'_>, arguments: &Arguments) -> Result<Answer, Refusal> {
        let naming = self.admit(call, "prvCreateAttribute")?;
        let table = self.defined(arguments)?;
        let made = column("Attributes", &json("Attributes", call.body)?, &naming)?;
        if made.primary {
            let message = format!("The table already has the primary name '{}'.", table.primary_name);
            return Err(Refusal::bad("0x8004701E", message));
        }
        self.place_column(table.name, made.column)?;
        let (table, column) = (metadata_id(&[table.name]), metadata_id(&[table.name, made.column.name]));
        Ok(self.made(&format!("{TABLES}({table})/Attributes({column})")))
    }

    /// Puts a new column into a table that exists.
    pub(super) fn place_column(&mut self, table: &'static str, column: Column) -> Result<(), Refusal> {
        let mut changed = (*self.schema.get(table)?).clone();
        add_column(&mut changed, column)?;
        self.schema.alter(|definition| {
            if definition.name == table {
                definition.clone_from(&changed);
            }
        });
        self.hide(table, Some(column.name));
        Ok(())
    }

    fn make_key(&mut self, call: &Call<'_>, arguments: &Arguments) -> Result<Answer, Refusal> {
        const KEYS: &str = "Keys";
        let naming = self.admit(call, "prvCreateEntityKey")?;
        let table = self.defined(arguments)?;
        let body = json(KEYS, call.body)?;
        let definition = Definition::read(KEYS, &body, &["EntityKeyMetadata"])?;
        definition.allow(&[&["SchemaName", "DisplayName", "KeyAttributes"]])?;
        let schema = definition.text("SchemaName")?;
        naming.check(schema)?;
        definition.required_labels("DisplayName")?;
        let named = definition.required("KeyAttributes")?.as_array();
        let named: Option<Vec<&str>> = named.and_then(|names| names.iter().map(Value::as_str).collect());
        let named = named.ok_or_else(|| definition.wrong("'KeyAttributes' is not a list of names."))?;
        let [name] = named.as_slice() else {
            return Err(not_kept("A key of several columns"));
        };
        let column = table.column(name).ok_or_else(|| {
            let message = format!(
                "'{}' entity doesn't contain attribute with Name = '{name}' and NameMapping = 'Logical'",
                table.name
            );
            Refusal::bad("0x80041103", message)
        })?;
        match column.kind {
            Kind::Text(limit) | Kind::Link(limit) if limit > LONGEST_KEY => {
                return Err(invalid(format!(
                    "The index of a key over '{name}' would be longer than 900 bytes."
                )));
            }
            Kind::Text(_) | Kind::Link(_) => {}
            Kind::Whole(..) | Kind::Number(..) | Kind::Date | Kind::Instant | Kind::Lookup(_) | Kind::Choice(_) => {
                return Err(not_kept("A key over anything but a text"));
            }
            _ => return Err(invalid(format!("'{name}' is of a type that no key can have."))),
        }
        if !(column.create && column.update) {
            let message = format!("Attribute of an entity key must be valid for create and update: '{name}'");
            return Err(Refusal::bad("0x80090112", message));
        }
        if table.keys.iter().any(|key| key.schema.eq_ignore_ascii_case(schema)) {
            let message = format!(
                "An entity key with the name {schema} already exists on entity {}.",
                table.name
            );
            return Err(Refusal::bad("0x80060893", message));
        }
        if table.keys.iter().any(|key| key.column == *name) {
            let message = "An entity key with the selected attributes already exists on entity.";
            return Err(Refusal::bad("0x80060894", message));
        }
        if table.keys.len() >= MOST_KEYS {
            return Err(invalid(format!("A table has at most {MOST_KEYS} keys.")));
        }
        let key = AlternateKey {
            schema: kept(schema),
            column: column.name,
            index: self.building(),
        };
        self.schema.alter(|definition| {
            if definition.name == table.name {
                definition.keys.push(key);
            }
        });
        let (table, key) = (metadata_id(&[table.name]), metadata_id(&[table.name, schema]));
        Ok(self.made(&format!("{TABLES}({table})/Keys({key})")))
    }

    /// The index of a key whose job starts now.
    fn building(&self) -> Index {
        let delay = SignedDuration::try_from(self.switches.key_delay).unwrap_or(SignedDuration::MAX);
        Index::Building {
            looks: self.switches.key_looks,
            due: self.clock.now().checked_add(delay).unwrap_or(Timestamp::MAX),
        }
    }

    fn reactivate_key(&mut self, call: &Call<'_>) -> Result<Answer, Refusal> {
        self.admit(call, "prvCreateEntityKey")?;
        let body = parameters(call.body, &["EntityLogicalName", "EntityKeyLogicalName"])?;
        let said = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let table = self.schema.get(said("EntityLogicalName"))?;
        let wanted = said("EntityKeyLogicalName");
        let key = table.keys.iter().find(|key| key.schema.to_lowercase() == wanted);
        let key = key.ok_or_else(|| invalid(format!("There is no key '{wanted}' on '{}'.", table.name)))?;
        if key.index != Index::Failed {
            return Err(invalid(format!("The key '{wanted}' has not failed.")));
        }
        let index = self.building();
        self.set_index(table.name, key.schema, index);
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    }

    fn publish(&mut self, call: &Call<'_>, some: bool) -> Result<Answer, Refusal> {
        self.admit(call, "prvPublishCustomization")?;
        let published: Option<Vec<String>> = if some {
            let body = parameters(call.body, &["ParameterXml"])?;
            let xml = body.get("ParameterXml").and_then(Value::as_str).unwrap_or_default();
            Some(entities(xml).ok_or_else(|| invalid("'ParameterXml' is not an importexportxml."))?)
        } else {
            None
        };
        for name in published.iter().flatten() {
            if self.schema.table(name).is_none() {
                let message = format!("The entity with a name = '{name}' was not found in the MetadataCache.");
                return Err(Refusal::bad("0x80041102", message));
            }
        }
        self.schema.alter(|table| {
            let named = published
                .as_ref()
                .is_none_or(|names| names.iter().any(|name| name == table.name));
            if named && table.more.tracking_unpublished {
                table.more.tracking_unpublished = false;
                table.tracked = true;
            }
        });
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    }
}

/// Adds a column, and to a first amount what goes with amounts.
fn add_column(table: &mut Table, column: Column) -> Result<(), Refusal> {
    let clash = |name: &str| {
        table
            .columns
            .iter()
            .any(|there| there.name == name || there.schema == name)
    };
    if clash(column.name) || clash(column.schema) {
        let message = format!(
            "An attribute with the specified name {} already exists for entity {}.",
            column.name, table.name
        );
        return Err(Refusal::bad("0x80047013", message));
    }
    if let Some(target) = column
        .targets()
        .iter()
        .find(|target| table.navigation(target.navigation).is_some())
    {
        let message = format!("The navigation property '{}' exists already.", target.navigation);
        return Err(invalid(message));
    }
    table.columns.push(column);
    if let Kind::Money(..) = column.kind {
        let has_currency = table.column("transactioncurrencyid").is_some();
        table.columns.extend(priced().into_iter().filter(|_| !has_currency));
        let base = kept(&format!("{}_base", column.name));
        let schema = kept(&format!("{}_Base", column.schema));
        table
            .columns
            .push(Column::named(schema, base, Kind::Decimal(4)).read_only());
    }
    Ok(())
}

/// Keeps the members of a table that mean nothing to its rows.
fn say(table: &mut Table, definition: &Definition<'_>) -> Result<(), Refusal> {
    let current = entity(table).object();
    for name in definition.names() {
        let apart = APART.contains(&name) || FIXED.contains(&name) || SETTLED.contains(&name);
        let (Some(said), Some(there)) = (definition.get(name), current.get(name)) else {
            continue;
        };
        if apart || said == there {
            continue;
        }
        let same_form = std::mem::discriminant(said) == std::mem::discriminant(there);
        if !(same_form || there.is_null() || said.is_null()) {
            return Err(definition.wrong(format!("Cannot convert the value of '{name}'.")));
        }
        table.more.said.insert(name.to_owned(), said.clone());
    }
    Ok(())
}

/// Names of all members that a table has.
fn known_members() -> Vec<String> {
    let any = super::components::publisher();
    entity(&any).object().keys().cloned().collect()
}

/// Without merging, labels in other languages are lost.
fn replace_labels(labels: &mut Labels, new: Labels, merge: bool) {
    if merge {
        labels.retain(|(code, _)| new.iter().all(|(said, _)| said != code));
        labels.extend(new);
    } else {
        *labels = new;
    }
}

/// The plural that serves as the name of a table's set.
fn plural(name: &str) -> String {
    let vowel = |stem: &str| stem.ends_with(['a', 'e', 'i', 'o', 'u']);
    if let Some(stem) = name.strip_suffix('y').filter(|stem| !vowel(stem)) {
        return format!("{stem}ies");
    }
    if ["s", "x", "z", "ch", "sh"].iter().any(|end| name.ends_with(end)) {
        return format!("{name}es");
    }
    format!("{name}s")
}

pub(super) fn json(set: &str, body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::payload(set, error))
}

/// The parameters of an action; each is a text and must be there.
fn parameters(body: &[u8], names: &[&str]) -> Result<Map<String, Value>, Refusal> {
    let Value::Object(body) = json("action", body)? else {
        return Err(Refusal::payload("action", "the body is not an object"));
    };
    if let Some(unknown) = body.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(Refusal::payload(
            "action",
            format!("The parameter '{unknown}' does not exist."),
        ));
    }
    for name in names {
        if !body.get(*name).is_some_and(Value::is_string) {
            return Err(Refusal::payload(
                "action",
                format!("The parameter '{name}' is missing or no text."),
            ));
        }
    }
    Ok(body)
}

/// The tables that a request to publish names; none when it is not understood.
fn entities(xml: &str) -> Option<Vec<String>> {
    let inside = xml
        .trim()
        .strip_prefix("<importexportxml>")?
        .strip_suffix("</importexportxml>")?;
    let mut names = Vec::new();
    let mut rest = inside.split("<entity>");
    rest.next();
    for part in rest {
        names.push(part.split_once("</entity>")?.0.trim().to_owned());
    }
    Some(names)
}
