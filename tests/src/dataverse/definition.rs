//! Reads what an administrator says of a column that is to be made, and the parts that all definitions share.
//!
//! Knows: the metadata classes with their members and limits, labels, the prefix of names. Refuses to know: which tables
//! there are. Guarantee: a member that is not documented for its class is refused, and so is one that only the server
//! writes. Not kept here: global choices, choices of several values, and whatever else no class below names.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-update-column-definitions-using-web-api>

use std::ops::RangeInclusive;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::components::{OPTIONS_PER_PREFIX, Prefix};
use super::refusal::Refusal;
use super::schema::{About, Column, Kind, Labels, Named, kept};

/// What the classes of definitions begin with.
const CRM: &str = "Microsoft.Dynamics.CRM.";

/// The language of the environment, as its organization says.
pub(super) const BASE_LANGUAGE: i64 = 1033;

/// The languages that are installed.
const LANGUAGES: [i64; 2] = [BASE_LANGUAGE, 1031];

/// The longest texts of one line and of many.
const LONGEST_TEXT: i64 = 4000;
const LONGEST_MEMO: i64 = 1_048_576;

/// How far amounts and other decimal numbers reach.
const LARGEST_AMOUNT: i64 = 922_337_203_685_477;
const LARGEST_DECIMAL: i64 = 100_000_000_000;

/// Members of every column that a maker may set.
const COMMON: [&str; 13] = [
    "AttributeType",
    "AttributeTypeName",
    "SchemaName",
    "DisplayName",
    "Description",
    "RequiredLevel",
    "IsPrimaryName",
    "IsAuditEnabled",
    "IsValidForAdvancedFind",
    "IsGlobalFilterEnabled",
    "IsSortableEnabled",
    "IsCustomizable",
    "IsRenameable",
];

/// Members that only the server writes.
const READ_ONLY: [&str; 17] = [
    "LogicalName",
    "MetadataId",
    "EntityLogicalName",
    "EntitySetName",
    "LogicalCollectionName",
    "PrimaryIdAttribute",
    "PrimaryNameAttribute",
    "ObjectTypeCode",
    "IsCustomAttribute",
    "IsCustomEntity",
    "IsCustomRelationship",
    "IsManaged",
    "IsPrimaryId",
    "IsValidForCreate",
    "IsValidForRead",
    "IsValidForUpdate",
    "EntityKeyIndexStatus",
];

/// Under which names something may be made.
pub(super) struct Naming(pub(super) Vec<Prefix>);

impl Naming {
    /// Refuses a schema name that does not begin with an allowed prefix.
    pub(super) fn check(&self, schema: &str) -> Result<(), Refusal> {
        let rest = self.0.iter().find_map(|prefix| {
            let rest = schema.strip_prefix(prefix.names.as_str())?;
            rest.strip_prefix('_')
        });
        let word =
            |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if rest.is_some_and(word) {
            return Ok(());
        }
        Err(invalid(format!(
            "The schema name '{schema}' is invalid. Custom names must start with a valid customization prefix, the one \
             of the publisher of the solution."
        )))
    }

    fn holds_option(&self, value: i64) -> bool {
        self.0
            .iter()
            .any(|prefix| value.div_euclid(OPTIONS_PER_PREFIX) == prefix.options)
    }

    /// The value of the option in this place, if its maker gave none.
    fn option(&self, place: usize) -> Option<i64> {
        let prefix = self.0.first()?;
        i64::try_from(place)
            .ok()
            .map(|place| prefix.options * OPTIONS_PER_PREFIX + place)
    }
}

/// One JSON object that defines something.
pub(super) struct Definition<'a> {
    /// Where it is sent, for refusals.
    set: &'static str,
    /// Without the name space.
    class: &'a str,
    members: &'a Map<String, Value>,
}

impl<'a> Definition<'a> {
    /// Reads the class, which must be one of these.
    pub(super) fn read(set: &'static str, value: &'a Value, classes: &[&str]) -> Result<Self, Refusal> {
        let members = value
            .as_object()
            .ok_or_else(|| Refusal::payload(set, "a definition is an object"))?;
        let named = members.get("@odata.type").and_then(Value::as_str);
        let named = named.ok_or_else(|| {
            Refusal::payload(
                set,
                "'@odata.type' is missing, so the type of the definition is not known.",
            )
        })?;
        let class = named.strip_prefix('#').unwrap_or(named).strip_prefix(CRM);
        let class = class.filter(|class| classes.contains(class)).ok_or_else(|| {
            Refusal::payload(
                set,
                format!("A type named '{named}' could not be resolved to one that fits here."),
            )
        })?;
        Ok(Self { set, class, members })
    }

    /// The members of a definition that has its class from its address.
    pub(super) fn of_class(set: &'static str, value: &'a Value, class: &'static str) -> Result<Self, Refusal> {
        if value.get("@odata.type").is_some() {
            return Self::read(set, value, &[class]);
        }
        let members = value
            .as_object()
            .ok_or_else(|| Refusal::payload(set, "a definition is an object"))?;
        Ok(Self { set, class, members })
    }

    pub(super) fn class(&self) -> &'a str {
        self.class
    }

    /// Names of all members that are no annotations.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.members
            .keys()
            .map(String::as_str)
            .filter(|name| !name.contains('@'))
    }

    /// Refuses every member that is not among these.
    pub(super) fn allow(&self, allowed: &[&[&str]]) -> Result<(), Refusal> {
        for name in self.names() {
            if allowed.iter().any(|names| names.contains(&name)) {
                continue;
            }
            return Err(self.wrong(if READ_ONLY.contains(&name) {
                format!("The property '{name}' of type '{CRM}{}' is read-only.", self.class)
            } else {
                format!("The property '{name}' does not exist on type '{CRM}{}'.", self.class)
            }));
        }
        Ok(())
    }

    /// The refusal of a body that cannot be read.
    pub(super) fn wrong(&self, message: impl Into<String>) -> Refusal {
        Refusal::payload(self.set, message.into())
    }

    fn missing(&self, name: &str) -> Refusal {
        invalid(format!(
            "The required property '{name}' of a {} is missing.",
            self.class
        ))
    }

    fn unfit(&self, name: &str) -> Refusal {
        self.wrong(format!("Cannot convert the value of '{name}' of a {}.", self.class))
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name)
    }

    pub(super) fn required(&self, name: &str) -> Result<&'a Value, Refusal> {
        self.get(name)
            .filter(|value| !value.is_null())
            .ok_or_else(|| self.missing(name))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, Refusal> {
        let text = self.required(name)?.as_str().ok_or_else(|| self.unfit(name))?;
        if text.is_empty() {
            Err(self.missing(name))
        } else {
            Ok(text)
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        let value = self.get(name).filter(|value| !value.is_null());
        value
            .map(|value| value.as_bool().ok_or_else(|| self.unfit(name)))
            .transpose()
    }

    /// A number within bounds; a fraction is kept to the whole below.
    fn number(&self, name: &str, within: RangeInclusive<i64>) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.get(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        #[expect(clippy::cast_possible_truncation, reason = "the bounds are checked right after")]
        let number = value
            .as_i64()
            .or_else(|| value.as_f64().map(|float| float as i64))
            .ok_or_else(|| self.unfit(name))?;
        if within.contains(&number) {
            return Ok(Some(number));
        }
        Err(invalid(format!(
            "'{name}' of a {} is {number}, which is not within {} and {}.",
            self.class,
            within.start(),
            within.end()
        )))
    }

    /// One of these words, as it stands or inside `Value`.
    fn word(&self, name: &str, words: &[&str]) -> Result<Option<&'a str>, Refusal> {
        let Some(value) = self.get(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let inside = match value {
            Value::Object(object) => object.get("Value").unwrap_or(&Value::Null),
            plain => plain,
        };
        let word = inside.as_str().ok_or_else(|| self.unfit(name))?;
        if words.contains(&word) {
            return Ok(Some(word));
        }
        Err(self.wrong(format!("'{word}' is not a value of '{name}' of a {}.", self.class)))
    }

    /// Labels by language; the language of the environment is always among them.
    pub(super) fn labels(&self, name: &str) -> Result<Option<Labels>, Refusal> {
        let Some(label) = self.get(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let labels = labels(label).map_err(|why| match why {
            Unlabelled::Form => self.unfit(name),
            Unlabelled::Language(code) => invalid(format!("The language {code} of '{name}' is not installed.")),
            Unlabelled::Base => invalid(format!("'{name}' has no label in the language {BASE_LANGUAGE}.")),
        })?;
        Ok(Some(labels))
    }

    pub(super) fn required_labels(&self, name: &str) -> Result<Labels, Refusal> {
        self.labels(name)?.ok_or_else(|| self.missing(name))
    }

    /// A definition inside this one.
    pub(super) fn inner(&self, name: &str, class: &'static str) -> Result<Option<Definition<'a>>, Refusal> {
        let value = self.get(name).filter(|value| !value.is_null());
        value
            .map(|value| Definition::of_class(self.set, value, class))
            .transpose()
    }
}

/// The refusal of a definition that can be read, but not be had.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::bad("0x80040203", message)
}

/// The refusal of what the service can do and this simulator cannot.
pub(super) fn not_kept(what: &str) -> Refusal {
    Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "0x80060888",
        format!("{what}: the service has that, this simulator has not."),
    )
}

enum Unlabelled {
    Form,
    Language(i64),
    Base,
}

fn labels(label: &Value) -> Result<Labels, Unlabelled> {
    let of_class = |value: &Value, class: &str| {
        let named = value.get("@odata.type").map(|named| named.as_str().unwrap_or_default());
        named.is_none_or(|named| named.strip_prefix('#').unwrap_or(named).strip_prefix(CRM) == Some(class))
    };
    let localized = label.get("LocalizedLabels").and_then(Value::as_array);
    let localized = localized.filter(|_| of_class(label, "Label")).ok_or(Unlabelled::Form)?;
    let mut labels = Labels::new();
    for one in localized {
        let text = one.get("Label").and_then(Value::as_str);
        let code = one.get("LanguageCode").and_then(Value::as_i64);
        let (Some(text), Some(code), true) = (text, code, of_class(one, "LocalizedLabel")) else {
            return Err(Unlabelled::Form);
        };
        if !LANGUAGES.contains(&code) {
            return Err(Unlabelled::Language(code));
        }
        labels.push((code, text.to_owned()));
    }
    if labels
        .iter()
        .any(|(code, text)| *code == BASE_LANGUAGE && !text.is_empty())
    {
        Ok(labels)
    } else {
        Err(Unlabelled::Base)
    }
}

/// A label as a definition shows it; without any text when there are no labels.
pub(super) fn shown(labels: &[(i64, String)]) -> Value {
    let one = |(code, text): &(i64, String)| json!({ "Label": text, "LanguageCode": code, "IsManaged": false, "HasChanged": null });
    let all: Vec<Value> = labels.iter().map(one).collect();
    let mine = labels.iter().find(|(code, _)| *code == BASE_LANGUAGE).map(one);
    json!({ "LocalizedLabels": all, "UserLocalizedLabel": mine })
}

/// The options of a column that has its own, by its type.
pub(super) fn option_set(of: &str, options: &[Value]) -> Value {
    json!({ "@odata.type": format!("#{CRM}OptionSetMetadata"), "OptionSetType": of, "IsGlobal": false, "Options": options })
}

/// The two options of a column that is yes or no.
pub(super) fn two_options(yes: &Value, no: &Value) -> Value {
    json!({ "@odata.type": format!("#{CRM}BooleanOptionSetMetadata"), "OptionSetType": "Boolean", "IsGlobal": false,
            "TrueOption": yes, "FalseOption": no })
}

/// The text of a label in the language of the environment.
pub(super) fn text(labels: &[(i64, String)]) -> &str {
    let base = labels.iter().find(|(code, _)| *code == BASE_LANGUAGE);
    base.map_or("", |(_, text)| text.as_str())
}

/// A property that says as well who may change it.
pub(super) fn managed(value: impl Into<Value>, changeable: bool, name: &str) -> Value {
    json!({ "Value": value.into(), "CanBeChanged": changeable, "ManagedPropertyLogicalName": name })
}

pub(super) fn required_level(level: &str) -> Value {
    managed(level, true, "canmodifyrequirementlevelsettings")
}

/// A column that was understood.
pub(super) struct Made {
    pub(super) column: Column,
    /// Whether it is to name the rows of its table.
    pub(super) primary: bool,
}

/// A kind with its default and the members of its class.
type Typed = (Kind, Option<i64>, Vec<(&'static str, Value)>);

/// Reads a column; a look-up comes with its relationship and not this way.
pub(super) fn column(set: &'static str, value: &Value, naming: &Naming) -> Result<Made, Refusal> {
    let classes = [
        "BooleanAttributeMetadata",
        "StringAttributeMetadata",
        "MemoAttributeMetadata",
        "PicklistAttributeMetadata",
        "IntegerAttributeMetadata",
        "DecimalAttributeMetadata",
        "MoneyAttributeMetadata",
        "DateTimeAttributeMetadata",
        "LookupAttributeMetadata",
        "MultiSelectPicklistAttributeMetadata",
    ];
    let definition = Definition::read(set, value, &classes)?;
    let stem = definition.class().strip_suffix("AttributeMetadata").unwrap_or_default();
    let (kind, default, facts) = match stem {
        "Boolean" => boolean(&definition)?,
        "String" => string(&definition)?,
        "Memo" => memo(&definition)?,
        "Picklist" => choice(&definition, naming)?,
        "Integer" => integer(&definition)?,
        "Decimal" => decimal(&definition)?,
        "Money" => money(&definition)?,
        "DateTime" => moment(&definition)?,
        "Lookup" => return Err(invalid("A look-up is made by way of RelationshipDefinitions.")),
        other => return Err(not_kept(&format!("A column of type {other}"))),
    };
    made(&definition, stem, naming, kind, default, facts, None)
}

/// Reads a look-up, which its relationship brings.
pub(super) fn lookup(
    definition: &Definition<'_>,
    naming: &Naming,
    kind: Kind,
    relationship: &str,
) -> Result<Column, Refusal> {
    definition.allow(&[&COMMON, &["Targets"]])?;
    let targets: Vec<&str> = match kind {
        Kind::Lookup(targets) => targets.iter().map(|target| target.table).collect(),
        _ => Vec::new(),
    };
    if definition.get("Targets").is_some_and(|said| *said != json!(targets)) {
        return Err(invalid(
            "'Targets' of a look-up is the table that its relationship refers to.",
        ));
    }
    let facts = vec![("Targets", json!(targets))];
    let relationship = Some(relationship.to_owned());
    made(definition, "Lookup", naming, kind, None, facts, relationship).map(|made| made.column)
}

fn made(
    definition: &Definition<'_>,
    stem: &str,
    naming: &Naming,
    kind: Kind,
    default: Option<i64>,
    mut facts: Vec<(&'static str, Value)>,
    relationship: Option<String>,
) -> Result<Made, Refusal> {
    definition.word("AttributeType", &[stem])?;
    definition.word("AttributeTypeName", &[&format!("{stem}Type")])?;
    let schema = definition.text("SchemaName")?;
    naming.check(schema)?;
    let display = definition.required_labels("DisplayName")?;
    let description = definition.labels("Description")?.unwrap_or_default();
    let level = definition.word("RequiredLevel", &["None", "Recommended", "ApplicationRequired"])?;
    for name in [
        "IsAuditEnabled",
        "IsValidForAdvancedFind",
        "IsGlobalFilterEnabled",
        "IsSortableEnabled",
    ] {
        if let Some(value) = definition.get(name) {
            facts.push((name, value.clone()));
        }
    }
    let about = About {
        display,
        description,
        required: required_level(level.unwrap_or("None")),
        facts,
        relationship,
    };
    let column = Column {
        default,
        about: Some(Box::leak(Box::new(about))),
        ..Column::named(kept(schema), kept(&schema.to_lowercase()), kind)
    };
    let primary = definition.flag("IsPrimaryName")?.unwrap_or_default();
    Ok(Made { column, primary })
}

fn boolean(definition: &Definition<'_>) -> Result<Typed, Refusal> {
    definition.allow(&[&COMMON, &["DefaultValue", "OptionSet"]])?;
    let default = definition.flag("DefaultValue")?.unwrap_or_default();
    let set = definition.inner("OptionSet", "BooleanOptionSetMetadata")?;
    let set = set.ok_or_else(|| definition.missing("OptionSet"))?;
    set.allow(&[&[
        "OptionSetType",
        "IsGlobal",
        "DisplayName",
        "Description",
        "TrueOption",
        "FalseOption",
    ]])?;
    set.word("OptionSetType", &["Boolean"])?;
    let side = |name: &str, value: i64| -> Result<Value, Refusal> {
        let option = set.inner(name, "OptionMetadata")?.ok_or_else(|| set.missing(name))?;
        option.allow(&[&["Value", "Label", "Description"]])?;
        option
            .number("Value", value..=value)?
            .ok_or_else(|| option.missing("Value"))?;
        Ok(json!({ "Value": value, "Label": shown(&option.required_labels("Label")?) }))
    };
    let options = two_options(&side("TrueOption", 1)?, &side("FalseOption", 0)?);
    let facts = vec![
        ("DefaultValue", default.into()),
        ("OptionSet", options),
        ("GlobalOptionSet", Value::Null),
    ];
    Ok((Kind::Boolean, Some(default.into()), facts))
}

fn string(definition: &Definition<'_>) -> Result<Typed, Refusal> {
    definition.allow(&[&COMMON, &["MaxLength", "Format", "FormatName", "ImeMode"]])?;
    let longest = definition.number("MaxLength", 1..=LONGEST_TEXT)?;
    let longest = longest.ok_or_else(|| definition.missing("MaxLength"))?;
    let format = definition.word("FormatName", &["Text", "TextArea", "Email", "Url", "Phone"])?;
    let format = format.unwrap_or("Text");
    let limit = usize::try_from(longest).unwrap_or_default();
    let kind = if format == "Url" {
        Kind::Link(limit)
    } else {
        Kind::Text(limit)
    };
    let facts = vec![
        ("MaxLength", longest.into()),
        ("FormatName", json!({ "Value": format })),
        ("ImeMode", "Auto".into()),
    ];
    Ok((kind, None, facts))
}

fn memo(definition: &Definition<'_>) -> Result<Typed, Refusal> {
    definition.allow(&[&COMMON, &["MaxLength", "Format", "FormatName", "ImeMode"]])?;
    let longest = definition.number("MaxLength", 1..=LONGEST_MEMO)?;
    let longest = longest.ok_or_else(|| definition.missing("MaxLength"))?;
    definition.word("Format", &["TextArea", "Text"])?;
    let mode = definition.word("ImeMode", &["Auto", "Inactive", "Active", "Disabled"])?;
    let facts = vec![
        ("MaxLength", longest.into()),
        ("Format", "TextArea".into()),
        ("ImeMode", mode.unwrap_or("Auto").into()),
    ];
    Ok((Kind::Memo(usize::try_from(longest).unwrap_or_default()), None, facts))
}

fn choice(definition: &Definition<'_>, naming: &Naming) -> Result<Typed, Refusal> {
    if definition.get("GlobalOptionSet@odata.bind").is_some() {
        return Err(not_kept("A global choice"));
    }
    definition.allow(&[&COMMON, &["OptionSet", "DefaultFormValue"]])?;
    let set = definition.inner("OptionSet", "OptionSetMetadata")?;
    let set = set.ok_or_else(|| definition.missing("OptionSet"))?;
    set.allow(&[&[
        "OptionSetType",
        "IsGlobal",
        "Options",
        "DisplayName",
        "Description",
        "Name",
    ]])?;
    set.word("OptionSetType", &["Picklist"])?;
    if set.flag("IsGlobal")? == Some(true) {
        return Err(not_kept("A global choice"));
    }
    let options = set
        .required("Options")?
        .as_array()
        .ok_or_else(|| set.unfit("Options"))?;
    let (mut named, mut facts) = (Vec::<Named>::new(), Vec::new());
    for (place, option) in options.iter().enumerate() {
        let option = Definition::of_class(definition.set, option, "OptionMetadata")?;
        let (value, labels) = named_option(&option, naming, place)?;
        if named.iter().any(|(taken, _)| *taken == value) {
            return Err(invalid(format!("The option value {value} is given twice.")));
        }
        named.push((value, kept(text(&labels))));
        facts.push(json!({ "Value": value, "Label": shown(&labels) }));
    }
    let default = definition.number("DefaultFormValue", -1..=i64::from(i32::MAX))?;
    let default = default.filter(|default| *default != -1);
    if default.is_some_and(|default| named.iter().all(|(value, _)| *value != default)) {
        return Err(invalid("'DefaultFormValue' is not the value of an option."));
    }
    let facts = vec![
        ("DefaultFormValue", default.unwrap_or(-1).into()),
        ("OptionSet", option_set("Picklist", &facts)),
        ("GlobalOptionSet", Value::Null),
    ];
    Ok((Kind::Choice(Box::leak(named.into_boxed_slice())), default, facts))
}

/// Value and labels of one option.
fn named_option(option: &Definition<'_>, naming: &Naming, place: usize) -> Result<(i64, Labels), Refusal> {
    option.allow(&[&["Value", "Label", "Description", "Color", "ExternalValue"]])?;
    let value = option.number("Value", 0..=i64::from(i32::MAX))?;
    let value = value
        .or_else(|| naming.option(place))
        .ok_or_else(|| option.missing("Value"))?;
    if !naming.holds_option(value) {
        return Err(invalid(format!(
            "The option value {value} is outside of those of the publisher of the solution."
        )));
    }
    Ok((value, option.required_labels("Label")?))
}

fn integer(definition: &Definition<'_>) -> Result<Typed, Refusal> {
    let all = i64::from(i32::MIN)..=i64::from(i32::MAX);
    definition.allow(&[&COMMON, &["MinValue", "MaxValue", "Format"]])?;
    let (least, most) = bounds(definition, all)?;
    let formats = ["None", "Duration", "TimeZone", "Language", "Locale"];
    let format = definition.word("Format", &formats)?.unwrap_or("None");
    let facts = vec![
        ("MinValue", least.into()),
        ("MaxValue", most.into()),
        ("Format", format.into()),
    ];
    Ok((Kind::Whole(least, most), None, facts))
}

fn decimal(definition: &Definition<'_>) -> Result<Typed, Refusal> {
    definition.allow(&[&COMMON, &["MinValue", "MaxValue", "Precision", "ImeMode"]])?;
    let (least, most) = bounds(definition, -LARGEST_DECIMAL..=LARGEST_DECIMAL)?;
    let places = definition.number("Precision", 0..=10)?.unwrap_or(2);
    let facts = vec![
        ("MinValue", least.into()),
        ("MaxValue", most.into()),
        ("Precision", places.into()),
    ];
    let kind = Kind::Number(u32::try_from(places).unwrap_or_default(), least, most);
    Ok((kind, None, facts))
}

fn money(definition: &Definition<'_>) -> Result<Typed, Refusal> {
    definition.allow(&[
        &COMMON,
        &["MinValue", "MaxValue", "Precision", "PrecisionSource", "ImeMode"],
    ])?;
    let (least, most) = bounds(definition, -LARGEST_AMOUNT..=LARGEST_AMOUNT)?;
    let facts = vec![
        ("MinValue", least.into()),
        ("MaxValue", most.into()),
        ("Precision", definition.number("Precision", 0..=4)?.unwrap_or(2).into()),
        (
            "PrecisionSource",
            definition.number("PrecisionSource", 0..=2)?.unwrap_or(2).into(),
        ),
    ];
    Ok((Kind::Money(least, most), None, facts))
}

fn moment(definition: &Definition<'_>) -> Result<Typed, Refusal> {
    definition.allow(&[&COMMON, &["Format", "DateTimeBehavior", "ImeMode"]])?;
    let format = definition
        .word("Format", &["DateOnly", "DateAndTime"])?
        .unwrap_or("DateAndTime");
    let behaviours = ["UserLocal", "DateOnly", "TimeZoneIndependent"];
    let behaviour = definition.word("DateTimeBehavior", &behaviours)?.unwrap_or("UserLocal");
    let kind = match (format, behaviour) {
        ("DateOnly", "DateOnly") => Kind::Date,
        ("DateAndTime", "UserLocal") => Kind::Instant,
        _ => {
            return Err(not_kept(&format!(
                "A moment of format {format} and behaviour {behaviour}"
            )));
        }
    };
    let facts = vec![
        ("Format", format.into()),
        ("DateTimeBehavior", json!({ "Value": behaviour })),
    ];
    Ok((kind, None, facts))
}

fn bounds(definition: &Definition<'_>, all: RangeInclusive<i64>) -> Result<(i64, i64), Refusal> {
    let least = definition.number("MinValue", all.clone())?.unwrap_or(*all.start());
    let most = definition.number("MaxValue", all.clone())?.unwrap_or(*all.end());
    if least > most {
        return Err(invalid("'MinValue' is more than 'MaxValue'."));
    }
    Ok((least, most))
}
