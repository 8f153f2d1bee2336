//! From the text of a mapping file to its rules.
//!
//! Knows: the file's keys and what each may say. Guarantee: a mapping that is returned is complete.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::file::{InvalidMapping, Problems, Section};
use super::{Columns, Directions, FieldRule, Kind, Mapping, Owner, StageRow};
use crate::deal::{Field, Side};
use crate::opportunity::Cell;
use crate::referral::Attribute;
use crate::stage::Stage;

impl Mapping {
    /// Reads and checks a mapping file.
    ///
    /// # Errors
    /// All problems of the file, each with its line.
    pub fn parse(source: &str) -> Result<Self, InvalidMapping> {
        let mut problems = Problems::new(source);
        let table = match DeTable::parse(source) {
            Ok(table) => table,
            Err(error) => {
                problems.add(&error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()));
                return problems.finish(()).and(Err(InvalidMapping(Vec::new())));
            }
        };
        let span = table.span();
        let mut root = Section::new("the file", span, table.into_inner());
        let version = root.integer("version", true, &mut problems);
        let (prefix, _) = root.text("prefix", &mut problems);
        let (link_pattern, link_span) = root.text("referral_link", &mut problems);
        let is_link = link_pattern.starts_with("https://") && link_pattern.contains("{referral}");
        if !link_pattern.is_empty() && !is_link {
            problems.add(
                &link_span,
                "referral_link must start with https:// and contain {referral}",
            );
        }
        let (default_close_reason, _) = root.text("default_close_reason", &mut problems);
        let columns = read_columns(&mut root, &prefix, &mut problems);
        let mut fields = read_fields(&mut root, &prefix, &mut problems);
        read_people(&mut root, &mut fields, &mut problems);
        let stages = read_stages(&mut root, &mut problems);
        let help = read_numbers(root.section("help", &mut problems), &mut problems);
        let sync_status = read_sync_status(root.section("sync_status", &mut problems), &mut problems);
        let attributes = read_texts(root.section("attributes", &mut problems), &mut problems)
            .into_iter()
            .map(|(kind, id)| Attribute { kind, id })
            .collect();
        let constants = read_constants(root.section("constants", &mut problems), &prefix, &mut problems);
        let countries = read_countries(root.section("countries", &mut problems), &mut problems);
        root.finish(&mut problems);
        problems.finish(Self {
            version: version
                .and_then(|version| u32::try_from(version).ok())
                .unwrap_or_default(),
            columns,
            attributes,
            default_close_reason,
            fields,
            stages,
            help,
            sync_status,
            constants,
            countries,
            link_pattern,
        })
    }
}

fn column(name: String, prefix: &str) -> String {
    name.strip_prefix('@')
        .map_or(name.clone(), |name| format!("{prefix}{name}"))
}

fn read_columns(root: &mut Section<'_>, prefix: &str, problems: &mut Problems<'_>) -> Columns {
    let mut section = root.section("columns", problems);
    let mut read = |key: &str| column(section.text(key, problems).0, prefix);
    let columns = Columns {
        sync: read("sync"),
        referral_identifier: read("referral_identifier"),
        referral_link: read("referral_link"),
        help: read("help"),
        message: read("message"),
        microsoft_crm_id: read("microsoft_crm_id"),
        close_reason: read("close_reason"),
        audit: read("audit"),
        sync_status: read("sync_status"),
    };
    section.finish(problems);
    columns
}

fn read_fields(root: &mut Section<'_>, prefix: &str, problems: &mut Problems<'_>) -> BTreeMap<Field, FieldRule> {
    let mut fields = BTreeMap::new();
    for mut section in root.sections("field", problems) {
        let (deal, span) = section.text("deal", problems);
        let field = Field::ALL
            .into_iter()
            .find(|field| field.as_str() == deal && !matches!(field, Field::Stage | Field::Team | Field::Contacts));
        let rule = read_field(&mut section, field, prefix, problems);
        section.finish(problems);
        match field {
            None if deal.is_empty() => {}
            None => problems.add(
                &span,
                format!(
                    "{deal:?} is not a deal field; known: name, value, close_date, notes, visibility, solutions, \
                     sales_stage, campaign, program"
                ),
            ),
            Some(field) => {
                if fields.insert(field, rule).is_some() {
                    problems.add(&span, format!("{deal} is mapped twice"));
                }
            }
        }
    }
    for field in [Field::Name, Field::Value, Field::CloseDate] {
        if !fields.contains_key(&field) {
            problems.add(
                root.span(),
                format!("there is no [[field]] for {field}, which Partner Center demands"),
            );
        }
    }
    fields
}

fn read_field(section: &mut Section<'_>, field: Option<Field>, prefix: &str, problems: &mut Problems<'_>) -> FieldRule {
    let (name, _) = section.text("column", problems);
    let (label, _) = section.text("label", problems);
    let (kind_text, kind_span) = section.text("kind", problems);
    let kind = match kind_text.as_str() {
        "text" => Kind::Text,
        "money" => Kind::Money,
        "date" => Kind::Date,
        "flag" => Kind::Flag,
        "lines" => Kind::Lines,
        other => {
            problems.add(
                &kind_span,
                format!("kind {other:?} is unknown; use text, money, date, flag or lines"),
            );
            Kind::Text
        }
    };
    let expected = field.map(|field| match field {
        Field::Name | Field::Notes | Field::Stage | Field::SalesStage | Field::Campaign | Field::Program => Kind::Text,
        Field::Value => Kind::Money,
        Field::CloseDate => Kind::Date,
        Field::Visibility => Kind::Flag,
        Field::Solutions => Kind::Lines,
        Field::Team | Field::Contacts => Kind::People,
    });
    if let (Some(expected), Some(field)) = (expected, field)
        && expected != kind
    {
        problems.add(
            &kind_span,
            format!("{field} cannot be held by a column of kind {kind_text:?}"),
        );
    }
    let limit = section
        .integer("limit", false, problems)
        .and_then(|limit| usize::try_from(limit).ok());
    let mut directions = |key: &str| {
        let (text, span) = section.text(key, problems);
        match text.as_str() {
            "both" => Directions::BOTH,
            "toward_dynamics" => Directions {
                toward_dynamics: true,
                toward_partner_center: false,
            },
            "toward_partner_center" => Directions {
                toward_dynamics: false,
                toward_partner_center: true,
            },
            "none" => Directions {
                toward_dynamics: false,
                toward_partner_center: false,
            },
            other => {
                problems.add(
                    &span,
                    format!("{key} {other:?} is unknown; use both, toward_dynamics, toward_partner_center or none"),
                );
                Directions::BOTH
            }
        }
    };
    let (create, update) = (directions("create"), directions("update"));
    if field == Field::Name.into() && update.toward_partner_center {
        problems.add(
            section.span(),
            "name cannot travel toward_partner_center on update: the API does not take it",
        );
    }
    let (owner_text, owner_span) = section.text("owner", problems);
    let owner = match owner_text.as_str() {
        "dynamics" => Owner::Side(Side::Dynamics),
        "partner_center" => Owner::Side(Side::PartnerCenter),
        "manual" => Owner::Manual,
        other => {
            problems.add(
                &owner_span,
                format!("owner {other:?} is unknown; use dynamics, partner_center or manual"),
            );
            Owner::Manual
        }
    };
    let required = section.flag("required", problems);
    FieldRule {
        column: column(name, prefix),
        label,
        kind,
        limit,
        create,
        update,
        owner,
        required,
    }
}

/// People travel toward Partner Center only: which user or contact a stranger's mail address belongs to is not for us to
/// decide.
fn read_people(root: &mut Section<'_>, fields: &mut BTreeMap<Field, FieldRule>, problems: &mut Problems<'_>) {
    let mut section = root.section("people", problems);
    let toward_partner_center = Directions {
        toward_dynamics: false,
        toward_partner_center: true,
    };
    for (field, key, label) in [(Field::Team, "team", "Owner"), (Field::Contacts, "contacts", "Contact")] {
        if section.flag(key, problems) {
            let rule = FieldRule {
                column: String::new(),
                label: label.to_owned(),
                kind: Kind::People,
                limit: None,
                create: toward_partner_center,
                update: toward_partner_center,
                owner: Owner::Side(Side::Dynamics),
                required: false,
            };
            fields.insert(field, rule);
        }
    }
    section.finish(problems);
}

fn read_stages(root: &mut Section<'_>, problems: &mut Problems<'_>) -> Vec<StageRow> {
    let mut stages = Vec::new();
    for mut section in root.sections("stage", problems) {
        let (text, span) = section.text("stage", problems);
        let stage = match text.as_str() {
            "unanswered" => Stage::Unanswered,
            "active" => Stage::Active,
            "won" => Stage::Won,
            "lost" => Stage::Lost,
            other => {
                problems.add(
                    &span,
                    format!("stage {other:?} is unknown; use unanswered, active, won or lost"),
                );
                Stage::Active
            }
        };
        let state = section.integer("state", true, problems).unwrap_or_default();
        let status = section.integer("status", true, problems).unwrap_or_default();
        let expected = match stage {
            Stage::Won => 1,
            Stage::Lost => 2,
            _ => 0,
        };
        if state != expected {
            problems.add(
                section.span(),
                format!("stage {stage} belongs to state {expected}, not {state}"),
            );
        }
        section.finish(problems);
        stages.push(StageRow { stage, state, status });
    }
    for stage in [Stage::Unanswered, Stage::Active, Stage::Won, Stage::Lost] {
        if !stages.iter().any(|row| row.stage == stage) {
            problems.add(root.span(), format!("there is no [[stage]] for {stage}"));
        }
    }
    stages
}

fn read_numbers(mut section: Section<'_>, problems: &mut Problems<'_>) -> BTreeMap<String, i64> {
    let keys: Vec<_> = section.keys();
    let numbers = keys
        .into_iter()
        .filter_map(|key| section.integer(&key, true, problems).map(|number| (key, number)))
        .collect();
    section.finish(problems);
    numbers
}

fn read_texts(mut section: Section<'_>, problems: &mut Problems<'_>) -> Vec<(String, String)> {
    let keys: Vec<_> = section.keys();
    let texts = keys
        .into_iter()
        .map(|key| (key.clone(), section.text(&key, problems).0))
        .collect();
    section.finish(problems);
    texts
}

fn read_sync_status(mut section: Section<'_>, problems: &mut Problems<'_>) -> BTreeMap<&'static str, i64> {
    let statuses = ["not_synced", "synced", "error", "waiting", "paused"]
        .into_iter()
        .filter_map(|key| section.integer(key, true, problems).map(|number| (key, number)))
        .collect();
    section.finish(problems);
    statuses
}

fn read_countries(mut section: Section<'_>, problems: &mut Problems<'_>) -> BTreeMap<String, String> {
    let mut countries = BTreeMap::new();
    for name in section.keys() {
        let (code, span) = section.text(&name, problems);
        if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            countries.insert(name.to_lowercase(), code);
        } else if !code.is_empty() {
            problems.add(&span, format!("{code:?} is not a two-letter country code such as DE"));
        }
    }
    section.finish(problems);
    countries
}

fn read_constants(mut section: Section<'_>, prefix: &str, problems: &mut Problems<'_>) -> Vec<(String, Cell)> {
    let mut constants = Vec::new();
    for (name, value) in section.rest() {
        let span = value.span();
        let cell = match value.into_inner() {
            DeValue::String(text) => Some(Cell::Text(text.into_owned())),
            DeValue::Boolean(flag) => Some(Cell::Flag(flag)),
            DeValue::Integer(number) => number.as_str().parse().ok().map(Cell::Number),
            DeValue::Float(number) => number.as_str().parse().ok().map(Cell::Number),
            _ => None,
        };
        match cell {
            Some(cell) => constants.push((column(name, prefix), cell)),
            None => problems.add(
                &span,
                format!("the constant for {name} must be a text, a number, true or false"),
            ),
        }
    }
    constants
}
