//! From the text of a mapping file to its rules.
//!
//! Knows: the file's keys and what each may say. Guarantee: a mapping that is returned is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::file::{InvalidMapping, Problems, Section};
use super::text::lines;
use super::value::{NO, YES};
use super::{
    AccountColumns, Columns, CountryKind, CurrencyKind, CurrencyRule, Directions, FieldRule, Kind, Mapping, Owner,
    PersonColumns, REQUIRED, SolutionTable, StageRow, lead,
};
use crate::deal::{Currency, Field, Side, Term};
use crate::opportunity::{Cell, RowChange};
use crate::reconcile::call::Table;
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
        let currency = read_currency(root.section("currency", &mut problems), &prefix, &mut problems);
        for rule in fields.values() {
            if let (
                Some(Term::Money { currency: None, .. }),
                None,
                CurrencyKind::Lookup | CurrencyKind::Text | CurrencyKind::Choice(_),
            ) = (&rule.default, &currency.default, &currency.kind)
            {
                problems.add(
                    root.span(),
                    "the default of value needs a currency: write it as \"1000 EUR\"",
                );
            }
        }
        let (account, country) = read_account(root.section("account", &mut problems), &prefix, &mut problems);
        let contact = read_person(root.section("contact", &mut problems), &CONTACT, &prefix, &mut problems);
        let owner = read_person(root.section("owner", &mut problems), &OWNER, &prefix, &mut problems);
        let free_mail = root.texts("free_mail", &mut problems);
        let free_mail = free_mail.unwrap_or_else(|| FREE_MAIL.map(str::to_owned).into());
        let free_mail = free_mail.into_iter().map(|domain| domain.to_lowercase()).collect();
        let countries = read_countries(root.section("countries", &mut problems), &mut problems);
        let lead = lead::read(&mut root, &fields, &prefix, &mut problems);
        let has_field = fields.contains_key(&Field::Solutions);
        let solutions = SolutionTable::read(&mut root, &prefix, has_field, &mut problems);
        root.finish(&mut problems);
        let mapping = Self {
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
            currency,
            account,
            contact,
            owner,
            country,
            countries,
            free_mail,
            link_pattern,
            solutions,
            leads: None,
            lead: None,
        };
        let leads = lead.map(|lead| Arc::new(mapping.with(lead)));
        problems.finish(Self { leads, ..mapping })
    }
}

pub(super) fn column(name: String, prefix: &str) -> String {
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
    for field in REQUIRED {
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
        "decimal" => Kind::Decimal,
        "integer" => Kind::Integer,
        "date" => Kind::Date,
        "flag" => Kind::Flag,
        "lines" => Kind::Lines,
        "choice" => Kind::Choice,
        other => {
            problems.add(
                &kind_span,
                format!("kind {other:?} is unknown; use text, money, decimal, integer, date, flag, lines or choice"),
            );
            Kind::Text
        }
    };
    let held: Option<&[Kind]> = field.map(|field| match field {
        Field::Name | Field::Notes | Field::Stage => &[Kind::Text][..],
        Field::SalesStage | Field::Campaign | Field::Program => &[Kind::Text, Kind::Choice],
        Field::Value => &[Kind::Money, Kind::Decimal, Kind::Integer, Kind::Text],
        Field::CloseDate => &[Kind::Date],
        Field::Visibility => &[Kind::Flag, Kind::Choice],
        Field::Solutions => &[Kind::Lines, Kind::Choice],
        Field::Team | Field::Contacts => &[Kind::People],
    });
    if let (Some(held), Some(field)) = (held, field)
        && !held.contains(&kind)
    {
        problems.add(
            &kind_span,
            format!("{field} cannot be held by a column of kind {kind_text:?}"),
        );
    }
    let values = read_values(section, kind == Kind::Choice, problems);
    if field == Some(Field::Visibility) && kind == Kind::Choice {
        let keys: BTreeSet<&str> = values.iter().map(|(value, _)| value.as_str()).collect();
        if keys != BTreeSet::from([YES, NO]) {
            problems.add(&kind_span, "the values of visibility are \"true\" and \"false\"");
        }
    }
    let digits = section
        .integer("digits", false, problems)
        .and_then(|digits| u32::try_from(digits).ok());
    let digits = match kind {
        Kind::Decimal => Some(digits.unwrap_or(2)),
        Kind::Integer => Some(0),
        Kind::Text | Kind::Money | Kind::Date | Kind::Flag | Kind::Lines | Kind::Choice | Kind::People => None,
    };
    let default = read_default(section, field, problems);
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
    if let Some(field) = field.filter(|field| super::FOLLOWING.contains(field))
        && create.toward_partner_center
        && !update.toward_partner_center
    {
        problems.add(
            section.span(),
            format!(
                "{field} is to travel toward_partner_center on create and not on update, but a creation does not carry \
                 {field}, the change behind it does: let update travel there as well, or neither"
            ),
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
        digits,
        values,
        default,
        create,
        update,
        owner,
        required,
    }
}

/// A value table: each value has one number, each number one value, or reading and writing would disagree.
fn read_values(section: &mut Section<'_>, is_choice: bool, problems: &mut Problems<'_>) -> Vec<(String, i64)> {
    let is_there = section.has("values");
    let table = section.section("values", problems);
    let span = table.span().clone();
    let values: Vec<(String, i64)> = read_numbers(table, problems).into_iter().collect();
    if is_choice && values.is_empty() {
        problems.add(
            &span,
            "a choice needs values = { \"what Partner Center says\" = number }",
        );
    }
    if !is_choice && is_there {
        problems.add(&span, "only a column of kind choice has values");
    }
    let numbers: BTreeSet<i64> = values.iter().map(|(_, number)| *number).collect();
    if numbers.len() < values.len() {
        problems.add(&span, "two of the values have the same number; each needs its own");
    }
    values
}

fn read_default(section: &mut Section<'_>, field: Option<Field>, problems: &mut Problems<'_>) -> Option<Term> {
    let (text, span) = section.optional_text("default", problems)?;
    let term = match field {
        Some(Field::Value) => {
            let (amount, currency) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
            let currency = Currency::parse(currency);
            amount.parse().ok().map(|amount| Term::Money { amount, currency })
        }
        Some(Field::CloseDate) => text.trim().parse().ok().map(Term::Date),
        Some(Field::Solutions) => Some(lines(&text)),
        Some(Field::Visibility) => {
            problems.add(&span, "visibility has no default: an empty column means no");
            return None;
        }
        Some(field) if super::FOLLOWING.contains(&field) => {
            problems.add(
                &span,
                format!(
                    "{field} has no default, so {text:?} would never be sent: a creation does not carry {field}; leave the \
                     default out, or give the column one in Dynamics"
                ),
            );
            return None;
        }
        Some(_) | None => Some(Term::text(Some(&text))),
    };
    if term.is_none() {
        problems.add(
            &span,
            format!("the default {text:?} is not one; write 1000 EUR, or 2027-12-31"),
        );
    }
    term
}

fn read_currency(mut section: Section<'_>, prefix: &str, problems: &mut Problems<'_>) -> CurrencyRule {
    let standard = CurrencyRule::default();
    let (kind, kind_span) = section
        .optional_text("kind", problems)
        .unwrap_or_else(|| ("lookup".to_owned(), section.span().clone()));
    let column_text = section.optional_text("column", problems);
    if column_text.is_none() && ["text", "choice"].contains(&kind.as_str()) {
        problems.add(&kind_span, "[currency] lacks column");
    }
    let column = column_text.map_or(standard.column, |(name, _)| column(name, prefix));
    let default = section.optional_text("default", problems);
    let default = default.and_then(|(text, _)| Currency::parse(&text));
    let values = read_values(&mut section, kind == "choice", problems);
    let constant = section.optional_text("constant", problems);
    let kind = match (kind.as_str(), constant) {
        ("lookup", None) => CurrencyKind::Lookup,
        ("text", None) => CurrencyKind::Text,
        ("choice", None) => CurrencyKind::Choice(values),
        ("constant", Some((code, span))) => {
            if code.len() != 3 {
                problems.add(&span, format!("{code:?} is not a currency code such as EUR"));
            }
            Currency::parse(&code).map_or(CurrencyKind::Lookup, CurrencyKind::Constant)
        }
        (other, _) => {
            problems.add(
                &kind_span,
                format!("[currency] kind {other:?} does not fit; use lookup, text, choice with values, or constant with constant = \"EUR\""),
            );
            CurrencyKind::Lookup
        }
    };
    section.finish(problems);
    CurrencyRule { column, kind, default }
}

/// Mail domains that say nothing of a company, unless the file lists others: matching by them would join strangers.
const FREE_MAIL: [&str; 12] = [
    "aol.com",
    "gmail.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hotmail.com",
    "icloud.com",
    "live.com",
    "outlook.com",
    "proton.me",
    "web.de",
    "yahoo.com",
];

/// Columns as Dynamics delivers them, with the keys by which a mapping replaces them.
const CONTACT: [(&str, &str); 5] = [
    ("first_name", "firstname"),
    ("last_name", "lastname"),
    ("email", "emailaddress1"),
    ("phone", "telephone1"),
    ("mobile", "mobilephone"),
];
const OWNER: [(&str, &str); 5] = [
    ("first_name", "firstname"),
    ("last_name", "lastname"),
    ("email", "internalemailaddress"),
    ("phone", "address1_telephone1"),
    ("mobile", "mobilephone"),
];

fn named(section: &mut Section<'_>, key: &str, standard: &str, prefix: &str, problems: &mut Problems<'_>) -> String {
    let said = section.optional_text(key, problems);
    said.map_or_else(|| standard.to_owned(), |(name, _)| column(name, prefix))
}

fn read_person(
    mut section: Section<'_>,
    standard: &[(&str, &str); 5],
    prefix: &str,
    problems: &mut Problems<'_>,
) -> PersonColumns {
    let [first_name, last_name, email, phone, mobile] =
        standard.map(|(key, standard)| named(&mut section, key, standard, prefix, problems));
    section.finish(problems);
    PersonColumns {
        first_name,
        last_name,
        email,
        phone,
        mobile,
    }
}

fn read_account(mut section: Section<'_>, prefix: &str, problems: &mut Problems<'_>) -> (AccountColumns, CountryKind) {
    let mut read = |key: &str, standard: &str| named(&mut section, key, standard, prefix, problems);
    let columns = AccountColumns {
        name: read("name", "name"),
        line1: read("line1", "address1_line1"),
        line2: read("line2", "address1_line2"),
        city: read("city", "address1_city"),
        state: read("state", "address1_stateorprovince"),
        postal_code: read("postal_code", "address1_postalcode"),
        country: read("country", "address1_country"),
        website: read("website", "websiteurl"),
        email: read("email", "emailaddress1"),
    };
    let country = if section.has("countries") {
        let table = section.section("countries", problems);
        let span = table.span().clone();
        let values: Vec<(String, i64)> = read_numbers(table, problems).into_iter().collect();
        for (code, _) in values.iter().filter(|(code, _)| !Mapping::is_country(code)) {
            problems.add(&span, format!("{code:?} is not a two-letter country code such as DE"));
        }
        let numbers: BTreeSet<i64> = values.iter().map(|(_, number)| *number).collect();
        if numbers.len() < values.len() {
            problems.add(&span, "two of the countries have the same number; each needs its own");
        }
        CountryKind::Choice(values)
    } else {
        CountryKind::Text
    };
    section.finish(problems);
    (columns, country)
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
                digits: None,
                values: Vec::new(),
                default: None,
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
        stages.push(StageRow {
            stage,
            state,
            status,
            reason: None,
        });
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
        if Mapping::is_country(&code) {
            countries.insert(name.to_lowercase(), code);
        } else if !code.is_empty() {
            problems.add(&span, format!("{code:?} is not a two-letter country code such as DE"));
        }
    }
    section.finish(problems);
    countries
}

/// Constants: of a new opportunity as they stand, of other tables in sections of their own.
fn read_constants(mut section: Section<'_>, prefix: &str, problems: &mut Problems<'_>) -> BTreeMap<Table, RowChange> {
    let mut constants = BTreeMap::new();
    for (table, key) in [
        (Table::Account, "account"),
        (Table::Contact, "contact"),
        (Table::Opportunity, "opportunity"),
    ] {
        if section.has(key) {
            let own = section.section(key, problems);
            read_row(own, prefix, constants.entry(table).or_default(), problems);
        }
    }
    read_row(
        section,
        prefix,
        constants.entry(Table::Opportunity).or_default(),
        problems,
    );
    constants
}

pub(super) fn read_row(mut section: Section<'_>, prefix: &str, change: &mut RowChange, problems: &mut Problems<'_>) {
    for (name, value) in section.rest() {
        let span = value.span();
        let cell = match value.into_inner() {
            DeValue::String(text) => Some(Cell::Text(text.into_owned())),
            DeValue::Boolean(flag) => Some(Cell::Flag(flag)),
            DeValue::Integer(number) => number.as_str().parse().ok().map(Cell::Number),
            DeValue::Float(number) => number.as_str().parse().ok().map(Cell::Number),
            DeValue::Table(table) => {
                let mut row = Section::new(format!("the constant {name}"), span.clone(), table);
                let ((set, _), (id, id_span)) = (row.text("bind", problems), row.text("id", problems));
                row.finish(problems);
                match id.parse() {
                    Ok(id) => change.bind(&column(name, prefix), &set, id),
                    Err(_) if id.is_empty() => {}
                    Err(_) => problems.add(&id_span, format!("{id:?} is not the id of a row")),
                }
                continue;
            }
            _ => None,
        };
        match cell {
            Some(cell) => change.set(column(name, prefix), cell),
            None => problems.add(
                &span,
                format!(
                    "the constant for {name} must be a text, a number, true, false, or {{ bind = \"accounts\", id = \"...\" }}"
                ),
            ),
        }
    }
}
