//! Table, column and key definitions as the Web API shows them.
//!
//! Knows: the shape of metadata answers. Refuses to know: rows, and how definitions change (see `customize`). Guarantee: definitions are derived from the same data
//! that validates writes, so they cannot disagree.

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Environment;
use super::address::{Arguments, Segment, split_outside_quotes, unquote};
use super::cell::{Cell, Object, raw};
use super::definition::{BASE_LANGUAGE, managed, option_set, required_level, shown, two_options};
use super::filter::Filter;
use super::query::Options;
use super::refusal::Refusal;
use super::relationships::End;
use super::schema::{AlternateKey, Column, Kind, Labels, Named, Table};
use super::tables::is_co_sell;
use super::web::{Answer, Call, only};

pub(super) const CRM: &str = "Microsoft.Dynamics.CRM";

/// The named facts of one definition.
#[derive(Debug, Default)]
pub(super) struct Facts(Vec<(&'static str, Box<RawValue>)>);

impl Facts {
    pub(super) fn with<T: Serialize + ?Sized>(mut self, name: &'static str, value: &T) -> Self {
        self.0.push((name, raw(value)));
        self
    }

    /// Adds a fact, or replaces what was said under its name.
    fn put<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        match self.0.iter_mut().find(|(found, _)| *found == name) {
            Some((_, there)) => *there = raw(value),
            None => self.0.push((name, raw(value))),
        }
    }

    /// All facts as one JSON object.
    pub(super) fn object(&self) -> Map<String, Value> {
        let value = |text: &RawValue| serde_json::from_str(text.get()).unwrap_or_default();
        self.0
            .iter()
            .map(|(name, text)| ((*name).to_owned(), value(text)))
            .collect()
    }

    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0
            .iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.as_ref())
    }

    /// Texts and booleans can be compared; anything else cannot.
    fn cell(&self, name: &str) -> Option<Cell> {
        match serde_json::from_str(self.get(name)?.get()).ok()? {
            Value::String(text) => Some(Cell::Text(text)),
            Value::Bool(value) => Some(Cell::Boolean(value)),
            _ => None,
        }
    }

    fn kind(&self, name: &str, class: &str) -> Result<Kind, Refusal> {
        match self.cell(name) {
            Some(Cell::Text(_)) => Ok(Kind::Text(usize::MAX)),
            Some(_) => Ok(Kind::Boolean),
            None => Err(Refusal::no_property(name, class)),
        }
    }

    /// Writes the selected facts, and the id in any case.
    fn write(&self, object: &mut Object, select: Option<&str>, class: &str) -> Result<(), Refusal> {
        let Some(select) = select else {
            self.0.iter().for_each(|(name, value)| object.put(*name, value));
            return Ok(());
        };
        let names: Vec<&str> = select.split(',').map(str::trim).collect();
        for name in &names {
            let value = self.get(name).ok_or_else(|| Refusal::no_property(name, class))?;
            object.put(*name, value);
        }
        if let Some(id) = self.get("MetadataId").filter(|_| !names.contains(&"MetadataId")) {
            object.put("MetadataId", id);
        }
        Ok(())
    }
}

impl Environment {
    /// Answers everything under `EntityDefinitions`.
    pub(super) fn metadata(&self, call: &Call<'_>, first: &Segment, rest: &[Segment]) -> Result<Answer, Refusal> {
        only(call.method, &Method::GET, "EntityDefinitions")?;
        call.condition.refuse_any()?;
        let Some(arguments) = &first.arguments else {
            if let Some(extra) = rest.first() {
                return Err(Refusal::no_segment(&extra.name));
            }
            let seen = self.schema.0.iter().filter_map(|table| self.seen(table));
            let all = seen.map(|table| (None, entity(&table))).collect();
            return self.several(call, all, "EntityMetadata", "EntityDefinitions");
        };
        let table = self.defined(arguments)?;
        let table = &*self.seen(&table).ok_or_else(|| {
            let message = "Could not find an entity with the specified name or id.";
            Refusal::new(StatusCode::NOT_FOUND, "0x80060888", message)
        })?;
        let path = format!("EntityDefinitions('{}')", table.name);
        match rest {
            [] => self.single(call, &entity(table), None, "EntityMetadata", "EntityDefinitions"),
            [keys] if keys.name == "Keys" => self.keys(call, table, keys, &format!("{path}/Keys")),
            [many] if many.name == "ManyToOneRelationships" && many.arguments.is_none() => {
                self.relationships_of(call, table, End::Many, &format!("{path}/{}", many.name))
            }
            [one] if one.name == "OneToManyRelationships" && one.arguments.is_none() => {
                self.relationships_of(call, table, End::One, &format!("{path}/{}", one.name))
            }
            [attributes, cast @ ..] if attributes.name == "Attributes" && cast.len() < 2 => {
                let cast = cast.first().map(|cast| cast.name.as_str());
                self.attributes(call, table, attributes, cast, &format!("{path}/Attributes"))
            }
            _ => Err(Refusal::no_segment(
                rest.last().map_or("", |segment| segment.name.as_str()),
            )),
        }
    }

    fn keys(&self, call: &Call<'_>, table: &Table, segment: &Segment, path: &str) -> Result<Answer, Refusal> {
        let Some(arguments) = &segment.arguments else {
            let keys = table.keys.iter().map(|key| (None, alternate_key(table, key))).collect();
            return self.several(call, keys, "EntityKeyMetadata", path);
        };
        let named = logical_name(arguments);
        let found = table.keys.iter().find(|key| match &named {
            Some(name) => key.schema.to_lowercase() == *name,
            None => *arguments == Arguments::Plain(metadata_id(&[table.name, key.schema]).to_string()),
        });
        let key = found.ok_or_else(|| {
            let message = "Could not find a key with the specified name or id.";
            Refusal::new(StatusCode::NOT_FOUND, "0x80060888", message)
        })?;
        self.single(call, &alternate_key(table, key), None, "EntityKeyMetadata", path)
    }

    fn attributes(
        &self,
        call: &Call<'_>,
        table: &Table,
        segment: &Segment,
        cast: Option<&str>,
        path: &str,
    ) -> Result<Answer, Refusal> {
        let class_of = |column: &Column| format!("{CRM}.{}AttributeMetadata", attribute_type(table, column).2);
        let fits = |column: &&Column| cast.is_none_or(|cast| cast == class_of(column));
        // Members of the concrete class are there unless they would have to be selected of the abstract one.
        let selects = Options::read(call.query, &["$select", "$expand", "$filter"])?
            .select
            .is_some();
        let facts = |column: &Column| attribute(table, column, cast.is_some() || !selects);
        let tag = |column: &Column| cast.is_none().then(|| format!("#{}", class_of(column)));
        if let Some(cast) = cast
            && !table.columns.iter().any(|column| cast == class_of(column))
        {
            return Err(Refusal::no_segment(cast));
        }
        let class = cast
            .and_then(|cast| cast.strip_prefix("Microsoft.Dynamics.CRM."))
            .unwrap_or("AttributeMetadata");
        let Some(arguments) = &segment.arguments else {
            let all = table
                .columns
                .iter()
                .filter(fits)
                .map(|column| (tag(column), facts(column)))
                .collect();
            return self.several(call, all, class, path);
        };
        let name = logical_name(arguments).unwrap_or_default();
        let by_id =
            |column: &&Column| *arguments == Arguments::Plain(metadata_id(&[table.name, column.name]).to_string());
        let column = table.column(&name).or_else(|| table.columns.iter().find(by_id));
        let column = column.filter(fits).ok_or_else(|| {
            let message = format!("Could not find an attribute with specified name: {name}");
            Refusal::new(StatusCode::NOT_FOUND, "0x80060888", message)
        })?;
        self.single(call, &facts(column), tag(column), class, path)
    }

    pub(super) fn single(
        &self,
        call: &Call<'_>,
        facts: &Facts,
        tag: Option<String>,
        class: &str,
        path: &str,
    ) -> Result<Answer, Refusal> {
        let options = Options::read(call.query, &["$select", "$expand"])?;
        let described = options
            .select
            .as_ref()
            .map(|select| format!("({select})"))
            .unwrap_or_default();
        let context = format!("{}/$metadata#{path}{described}/$entity", self.root());
        let mut object = Object::default().with("@odata.context", &context);
        if let Some(tag) = tag {
            object.put("@odata.type", &tag);
        }
        write_all(facts, &mut object, &options, class)?;
        Ok(Answer::json(StatusCode::OK, &object))
    }

    pub(super) fn several(
        &self,
        call: &Call<'_>,
        all: Vec<(Option<String>, Facts)>,
        class: &str,
        path: &str,
    ) -> Result<Answer, Refusal> {
        let options = Options::read(call.query, &["$select", "$expand", "$filter"])?;
        let sample = all.first().map(|(_, facts)| facts);
        let kind = |name: &str| sample.map_or(Ok(Kind::Boolean), |facts| facts.kind(name, class));
        let filter = options
            .filter
            .as_deref()
            .map(|text| Filter::parse(text, &kind))
            .transpose()?;
        let mut values = Vec::new();
        for (tag, facts) in &all {
            if filter
                .as_ref()
                .is_some_and(|filter| !filter.accepts(&|name| facts.cell(name)))
            {
                continue;
            }
            let mut object = Object::default();
            if let Some(tag) = tag {
                object.put("@odata.type", tag);
            }
            write_all(facts, &mut object, &options, class)?;
            values.push(object);
        }
        let described = options
            .select
            .as_ref()
            .map(|select| format!("({select})"))
            .unwrap_or_default();
        let context = format!("{}/$metadata#{path}{described}", self.root());
        Ok(Answer::json(
            StatusCode::OK,
            &Object::default()
                .with("@odata.context", &context)
                .with("value", &values),
        ))
    }
}

/// Facts that are shown only when they are expanded.
const EXPANDED_ONLY: [&str; 2] = ["OptionSet", "GlobalOptionSet"];

fn write_all(facts: &Facts, object: &mut Object, options: &Options, class: &str) -> Result<(), Refusal> {
    let (hidden, plain): (Vec<_>, Vec<_>) = facts
        .0
        .iter()
        .map(|(name, value)| (*name, value.clone()))
        .partition(|(name, _)| EXPANDED_ONLY.contains(name));
    Facts(plain).write(object, options.select.as_deref(), class)?;
    for part in options
        .expand
        .as_deref()
        .map(|expand| split_outside_quotes(expand, ','))
        .unwrap_or_default()
    {
        let name = part.split('(').next().unwrap_or_default().trim();
        let (_, value) = hidden
            .iter()
            .find(|(found, _)| *found == name)
            .ok_or_else(|| Refusal::no_property(name, class))?;
        object.put(name, value);
    }
    Ok(())
}

pub(super) fn logical_name(arguments: &Arguments) -> Option<String> {
    match arguments {
        Arguments::Named(pairs) => match pairs.as_slice() {
            [(name, literal)] if name == "LogicalName" => unquote(literal),
            _ => None,
        },
        Arguments::Plain(_) => None,
    }
}

/// A stable id for a definition.
pub(super) fn metadata_id(path: &[&str]) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, path.join(".").as_bytes())
}

/// Members of any table that are off, on, and empty.
const OFF: [&str; 18] = [
    "AutoRouteToOwnerQueue",
    "EntityHelpUrlEnabled",
    "IsDocumentManagementEnabled",
    "IsOneNoteIntegrationEnabled",
    "IsInteractionCentricEnabled",
    "IsKnowledgeManagementEnabled",
    "AutoCreateAccessTeams",
    "IsActivityParty",
    "IsAvailableOffline",
    "IsBusinessProcessEnabled",
    "IsChildEntity",
    "IsIntersect",
    "IsManaged",
    "IsEnabledForTrace",
    "IsQuickCreateEnabled",
    "SyncToExternalSearchIndex",
    "HasNotes",
    "HasActivities",
];
const ON: [&str; 6] = [
    "CanTriggerWorkflow",
    "IsImportable",
    "IsEnabledForCharts",
    "IsValidForAdvancedFind",
    "IsReadingPaneEnabled",
    "IsOptimisticConcurrencyEnabled",
];
const EMPTY: [&str; 7] = [
    "EntityColor",
    "EntityHelpUrl",
    "IconLargeName",
    "IconMediumName",
    "IconSmallName",
    "IconVectorName",
    "PrimaryImageAttribute",
];

/// Members of any table that say who may change them.
const MANAGED: [(&str, bool, &str); 9] = [
    ("IsAuditEnabled", false, "canmodifyauditsettings"),
    ("IsValidForQueue", false, "canmodifyqueuesettings"),
    ("IsConnectionsEnabled", false, "canmodifyconnectionsettings"),
    ("IsCustomizable", true, "iscustomizable"),
    ("IsRenameable", true, "isrenameable"),
    (
        "IsDuplicateDetectionEnabled",
        false,
        "canmodifyduplicatedetectionsettings",
    ),
    ("IsMailMergeEnabled", true, "canmodifymailmergesettings"),
    ("CanModifyAdditionalSettings", true, "canmodifyadditionalsettings"),
    ("CanChangeTrackingBeEnabled", true, "canchangetrackingbeenabled"),
];

pub(super) fn entity(table: &Table) -> Facts {
    let more = &table.more;
    let labels = |labels: &Labels, instead: &str| match labels.as_slice() {
        [] if instead.is_empty() => shown(&[]),
        [] => shown(&[(BASE_LANGUAGE, instead.to_owned())]),
        labels => shown(labels),
    };
    let owned = if more.user_owned {
        "UserOwned"
    } else {
        "OrganizationOwned"
    };
    let mut facts = Facts::default()
        .with("LogicalName", table.name)
        .with("SchemaName", table.schema)
        .with("EntitySetName", table.set)
        .with("LogicalCollectionName", table.set)
        .with("DisplayName", &labels(&more.display, table.schema))
        .with("DisplayCollectionName", &labels(&more.plural, table.set))
        .with("Description", &labels(&more.description, ""))
        .with("OwnershipType", owned)
        .with("IsActivity", &(table.name == "opportunityclose"))
        .with("ActivityTypeMask", &0)
        .with("DaysSinceRecordLastModified", &0)
        .with("ObjectTypeCode", &object_type_code(table))
        .with("PrimaryIdAttribute", table.key)
        .with("PrimaryNameAttribute", table.primary_name)
        .with("IsCustomEntity", &(more.made_here || is_co_sell(table.name)))
        .with("ChangeTrackingEnabled", &table.tracked);
    OFF.iter().for_each(|name| facts.put(name, &false));
    ON.iter().for_each(|name| facts.put(name, &true));
    EMPTY.iter().for_each(|name| facts.put(name, &Value::Null));
    for (name, value, property) in MANAGED {
        facts.put(name, &managed(value, true, property));
    }
    for (name, value) in &mut facts.0 {
        if let Some(said) = more.said.get(*name) {
            *value = raw(said);
        }
    }
    facts.with("MetadataId", &metadata_id(&[table.name]).to_string())
}

/// The number of a table; documented for those that everybody knows, else any above 10000.
fn object_type_code(table: &Table) -> u128 {
    match table.name {
        "account" => 1,
        "contact" => 2,
        "opportunity" => 3,
        "lead" => 4,
        "systemuser" => 8,
        _ => 10_000 + metadata_id(&[table.name]).as_u128() % 10_000,
    }
}

fn alternate_key(table: &Table, key: &AlternateKey) -> Facts {
    Facts::default()
        .with("LogicalName", &key.schema.to_lowercase())
        .with("SchemaName", key.schema)
        .with("KeyAttributes", &[key.column])
        .with("EntityLogicalName", table.name)
        .with("EntityKeyIndexStatus", key.index.status())
        .with("DisplayName", &shown(&[(BASE_LANGUAGE, key.schema.to_owned())]))
        .with("IsManaged", &false)
        .with("MetadataId", &metadata_id(&[table.name, key.schema]).to_string())
}

/// `AttributeType`, `AttributeTypeName` and the stem of the metadata class.
fn attribute_type(table: &Table, column: &Column) -> (&'static str, &'static str, &'static str) {
    match column.kind {
        Kind::Key | Kind::Guid => ("Uniqueidentifier", "UniqueidentifierType", "UniqueIdentifier"),
        Kind::Text(_) | Kind::Link(_) => ("String", "StringType", "String"),
        Kind::Memo(_) => ("Memo", "MemoType", "Memo"),
        Kind::Boolean => ("Boolean", "BooleanType", "Boolean"),
        Kind::Choice(_) => ("Picklist", "PicklistType", "Picklist"),
        Kind::State => ("State", "StateType", "State"),
        Kind::Status => ("Status", "StatusType", "Status"),
        Kind::Whole(..) => ("Integer", "IntegerType", "Integer"),
        Kind::Version => ("BigInt", "BigIntType", "BigInt"),
        Kind::Money(..) => ("Money", "MoneyType", "Money"),
        Kind::Decimal(_)
            if column
                .name
                .strip_suffix("_base")
                .is_some_and(|source| table.column(source).is_some()) =>
        {
            ("Money", "MoneyType", "Money")
        }
        Kind::Decimal(_) | Kind::Number(..) => ("Decimal", "DecimalType", "Decimal"),
        Kind::Date | Kind::Instant => ("DateTime", "DateTimeType", "DateTime"),
        Kind::Lookup(_) if column.name == "ownerid" => ("Owner", "OwnerType", "Lookup"),
        Kind::Lookup(targets) if targets.len() > 1 => ("Customer", "CustomerType", "Lookup"),
        Kind::Lookup(_) => ("Lookup", "LookupType", "Lookup"),
    }
}

fn attribute(table: &Table, column: &Column, details: bool) -> Facts {
    let (kind, kind_name, _) = attribute_type(table, column);
    let delivered = [(BASE_LANGUAGE, column.schema.to_owned())];
    let display = column.about.map_or(delivered.as_slice(), |about| &about.display);
    let description = column.about.map_or([].as_slice(), |about| &about.description);
    let level = column
        .about
        .map_or_else(|| required_level("None"), |about| about.required.clone());
    let mut facts = Facts::default()
        .with("LogicalName", column.name)
        .with("SchemaName", column.schema)
        .with("AttributeType", kind)
        .with("AttributeTypeName", &json!({ "Value": kind_name }))
        .with("EntityLogicalName", table.name)
        .with("DisplayName", &shown(display))
        .with("Description", &shown(description))
        .with("RequiredLevel", &level)
        .with("IsCustomAttribute", &column.is_custom())
        .with("IsManaged", &false)
        .with("IsSecured", &false)
        .with("IsLogical", &false)
        .with("IsAuditEnabled", &managed(true, true, "canmodifyauditsettings"))
        .with(
            "IsValidForAdvancedFind",
            &managed(true, true, "canmodifysearchsettings"),
        )
        .with("IsPrimaryId", &(column.name == table.key))
        .with("IsPrimaryName", &(column.name == table.primary_name))
        .with("IsValidForCreate", &column.create)
        .with("IsValidForUpdate", &column.update)
        .with("IsValidForRead", &true)
        .with("MetadataId", &metadata_id(&[table.name, column.name]).to_string());
    if !details {
        return facts;
    }
    if let Some(about) = column.about {
        about.facts.iter().for_each(|(name, value)| facts.put(name, value));
        return facts;
    }
    match column.kind {
        Kind::Text(limit) => facts
            .with("MaxLength", &limit)
            .with("FormatName", &json!({ "Value": "Text" })),
        Kind::Link(limit) => facts
            .with("MaxLength", &limit)
            .with("FormatName", &json!({ "Value": "Url" })),
        Kind::Memo(limit) => facts.with("MaxLength", &limit).with("Format", "TextArea"),
        Kind::Whole(least, most) => facts.with("MinValue", &least).with("MaxValue", &most),
        Kind::Money(least, most) => facts
            .with("MinValue", &least)
            .with("MaxValue", &most)
            .with("Precision", &2)
            .with("PrecisionSource", &2),
        Kind::Date => facts
            .with("Format", "DateOnly")
            .with("DateTimeBehavior", &json!({ "Value": "DateOnly" })),
        Kind::Instant => facts
            .with("Format", "DateAndTime")
            .with("DateTimeBehavior", &json!({ "Value": "UserLocal" })),
        Kind::Choice(options) => {
            let options: Vec<Value> = options.iter().map(|named| option(*named, None)).collect();
            facts
                .with("DefaultFormValue", &column.default.unwrap_or(-1))
                .with("OptionSet", &option_set("Picklist", &options))
                .with("GlobalOptionSet", &Value::Null)
        }
        Kind::Boolean => {
            let [yes, no] = [(1, "Yes"), (0, "No")].map(|named| option(named, None));
            facts
                .with("DefaultValue", &(column.default == Some(1)))
                .with("OptionSet", &two_options(&yes, &no))
                .with("GlobalOptionSet", &Value::Null)
        }
        Kind::Number(places, least, most) => facts
            .with("MinValue", &least)
            .with("MaxValue", &most)
            .with("Precision", &places),
        Kind::State => {
            let options: Vec<Value> = table
                .states
                .iter()
                .map(|state| option((state.value, state.label), None))
                .collect();
            facts
                .with("OptionSet", &option_set("State", &options))
                .with("GlobalOptionSet", &Value::Null)
        }
        Kind::Status => {
            let pairs = table
                .states
                .iter()
                .flat_map(|state| state.statuses.iter().map(move |named| (state.value, *named)));
            let options: Vec<Value> = pairs.map(|(state, named)| option(named, Some(state))).collect();
            facts
                .with("OptionSet", &option_set("Status", &options))
                .with("GlobalOptionSet", &Value::Null)
        }
        Kind::Lookup(targets) => facts.with(
            "Targets",
            &targets.iter().map(|target| target.table).collect::<Vec<_>>(),
        ),
        Kind::Key | Kind::Guid | Kind::Version | Kind::Decimal(_) => facts,
    }
}

fn option((value, label): Named, state: Option<i64>) -> Value {
    let mut option = json!({ "Value": value, "Label": shown(&[(BASE_LANGUAGE, label.to_owned())]) });
    if let (Some(state), Some(option)) = (state, option.as_object_mut()) {
        option.insert("State".to_owned(), state.into());
    }
    option
}
