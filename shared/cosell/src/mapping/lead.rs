//! What of the mapping is different for leads: columns, states, who the customer is.
//!
//! Knows: a lead carries its customer and its contact in columns of its own, and has a life cycle of its own. Refuses to
//! know: when a lead is made, and what becomes of it. Guarantee: everything the file does not say of leads is as it is
//! for opportunities.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::file::{Problems, Section};
use super::read::{column, read_row};
use super::{Field, FieldRule, Mapping, OpportunityMove, REQUIRED, Row, Stage, StageRow};
use crate::ids::Record;
use crate::opportunity::RowChange;
use crate::reconcile::call::Table;

/// Columns that hold a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Mail address.
    pub email: String,
    /// Phone number.
    pub phone: String,
}

/// Columns that only a lead has: the customer, before there is an account for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeadColumns {
    /// The customer's name.
    pub company: String,
    /// The customer's contact.
    pub contact: Person,
    /// First line of the address, second line, city, state, postal code, country.
    pub address: [String; 6],
}

/// What the file says of leads.
pub(super) struct Lead {
    fields: BTreeMap<Field, FieldRule>,
    stages: Vec<StageRow>,
    constants: RowChange,
    columns: LeadColumns,
}

impl Mapping {
    /// The rules for the rows of one kind: those of leads, for a lead.
    #[must_use]
    pub fn of(self: &Arc<Self>, record: Record) -> Arc<Self> {
        match (record, &self.leads) {
            (Record::Lead(_), Some(leads)) => Arc::clone(leads),
            (Record::Lead(_) | Record::Opportunity(_), _) => Arc::clone(self),
        }
    }

    /// The rules for leads; none when the file says nothing of them.
    #[must_use]
    pub const fn leads(&self) -> Option<&Arc<Self>> {
        self.leads.as_ref()
    }

    /// Whether these are the rules for leads.
    #[must_use]
    pub const fn is_of_leads(&self) -> bool {
        self.lead.is_some()
    }

    /// What the rows are called.
    #[must_use]
    pub const fn row(&self) -> &'static str {
        if self.is_of_leads() { "lead" } else { "opportunity" }
    }

    /// Columns that only a lead has, in the rules for leads.
    #[must_use]
    pub const fn lead_columns(&self) -> Option<&LeadColumns> {
        self.lead.as_ref()
    }

    /// The moves that take a row from one stage to another, one request each; none when there is no legal way.
    #[must_use]
    pub fn moves(&self, from: &Stage, to: &Stage) -> Option<Vec<OpportunityMove>> {
        if self.is_of_leads() {
            from.lead_moves(to)
        } else {
            from.opportunity_moves(to)
        }
    }

    /// The stage of a row that is open again.
    #[must_use]
    pub const fn reopened(&self) -> Stage {
        if self.is_of_leads() {
            Stage::Unanswered
        } else {
            Stage::Active
        }
    }

    /// Whether a lead was qualified.
    #[must_use]
    pub fn is_qualified(&self, lead: &Row) -> bool {
        self.terms(lead).stage() == Stage::Active
    }

    /// Columns that are read although the file does not name them.
    pub(super) const fn further_columns(&self) -> &'static [&'static str] {
        if self.is_of_leads() {
            &[
                "_parentaccountid_value",
                "_parentcontactid_value",
                "_transactioncurrencyid_value",
            ]
        } else {
            &["name", "_originatingleadid_value"]
        }
    }

    /// The rules for leads.
    pub(super) fn with(&self, lead: Lead) -> Self {
        Self {
            fields: lead.fields,
            stages: lead.stages,
            constants: BTreeMap::from([(Table::Opportunity, lead.constants)]),
            lead: Some(lead.columns),
            // Rows belong to opportunities; a lead keeps to its memo column.
            solutions: None,
            ..self.clone()
        }
    }
}

/// Reads the section for leads; none when there is none.
pub(super) fn read(
    root: &mut Section<'_>,
    fields: &BTreeMap<Field, FieldRule>,
    prefix: &str,
    problems: &mut Problems<'_>,
) -> Option<Lead> {
    if !root.has("lead") {
        return None;
    }
    let mut section = root.section("lead", problems);
    let mut constants = RowChange::default();
    read_row(section.section("constants", problems), prefix, &mut constants, problems);
    let lead = Lead {
        fields: read_fields(&mut section, fields, prefix, problems),
        stages: read_stages(&mut section, problems),
        constants,
        columns: read_columns(&mut section, prefix, problems),
    };
    section.finish(problems);
    Some(lead)
}

/// A field of a lead has another column; everything else is as it is for opportunities.
fn read_fields(
    lead: &mut Section<'_>,
    of_opportunities: &BTreeMap<Field, FieldRule>,
    prefix: &str,
    problems: &mut Problems<'_>,
) -> BTreeMap<Field, FieldRule> {
    let mut fields = BTreeMap::new();
    for mut section in lead.sections("field", problems) {
        let (deal, span) = section.text("deal", problems);
        let (name, _) = section.text("column", problems);
        let label = section.has("label").then(|| section.text("label", problems).0);
        let limit = section
            .integer("limit", false, problems)
            .and_then(|limit| usize::try_from(limit).ok());
        section.finish(problems);
        let field = Field::ALL.into_iter().find(|field| field.as_str() == deal);
        match field.and_then(|field| Some((field, of_opportunities.get(&field)?))) {
            None if deal.is_empty() => {}
            None => problems.add(
                &span,
                format!("{deal:?} has no [[field]], so it cannot be mapped for leads; add one, or remove this"),
            ),
            Some((field, rule)) => {
                let rule = FieldRule {
                    column: column(name, prefix),
                    label: label.unwrap_or_else(|| rule.label.clone()),
                    limit: limit.or(rule.limit),
                    ..rule.clone()
                };
                if fields.insert(field, rule).is_some() {
                    problems.add(&span, format!("{deal} is mapped twice for leads"));
                }
            }
        }
    }
    for field in REQUIRED {
        if !fields.contains_key(&field) {
            problems.add(lead.span(), format!("there is no [[lead.field]] for {field}"));
        }
    }
    fields
}

fn read_stages(lead: &mut Section<'_>, problems: &mut Problems<'_>) -> Vec<StageRow> {
    let mut stages = Vec::new();
    for mut section in lead.sections("stage", problems) {
        let (text, span) = section.text("stage", problems);
        let stage = match text.as_str() {
            "unanswered" => Stage::Unanswered,
            "qualified" => Stage::Active,
            "disqualified" => Stage::Lost,
            other => {
                problems.add(
                    &span,
                    format!("stage {other:?} is unknown; use unanswered, qualified or disqualified"),
                );
                Stage::Unanswered
            }
        };
        let state = section.integer("state", true, problems).unwrap_or_default();
        let status = section.integer("status", true, problems).unwrap_or_default();
        let reason = section.has("reason").then(|| section.text("reason", problems).0);
        let expected = match stage {
            Stage::Active => 1,
            Stage::Lost => 2,
            _ => 0,
        };
        let is_known = matches!(text.as_str(), "unanswered" | "qualified" | "disqualified");
        if is_known && state != expected {
            problems.add(
                section.span(),
                format!("stage {text:?} belongs to state {expected}, not {state}"),
            );
        }
        section.finish(problems);
        stages.push(StageRow {
            stage,
            state,
            status,
            reason,
        });
    }
    for (stage, name) in [
        (Stage::Unanswered, "unanswered"),
        (Stage::Active, "qualified"),
        (Stage::Lost, "disqualified"),
    ] {
        if !stages.iter().any(|row| row.stage == stage) {
            problems.add(lead.span(), format!("there is no [[lead.stage]] for {name}"));
        }
    }
    stages
}

fn read_columns(lead: &mut Section<'_>, prefix: &str, problems: &mut Problems<'_>) -> LeadColumns {
    let mut section = lead.section("columns", problems);
    let mut read = |key: &str| column(section.text(key, problems).0, prefix);
    let columns = LeadColumns {
        company: read("company"),
        contact: Person {
            first_name: read("first_name"),
            last_name: read("last_name"),
            email: read("email"),
            phone: read("phone"),
        },
        address: [
            "address_line1",
            "address_line2",
            "city",
            "state",
            "postal_code",
            "country",
        ]
        .map(read),
    };
    section.finish(problems);
    columns
}

#[cfg(test)]
mod tests {
    use super::super::{DEFAULT, InvalidMapping, Term};
    use super::*;
    use crate::ids::LeadId;

    fn mapping() -> Arc<Mapping> {
        let lead = Record::Lead(LeadId::new(uuid::Uuid::from_u128(1)));
        Arc::new(Mapping::parse(DEFAULT).unwrap()).of(lead)
    }

    fn lead(cells: &str) -> Row {
        serde_json::from_str(&format!("{{{cells}}}")).unwrap()
    }

    #[test]
    fn a_lead_has_columns_of_its_own_and_shares_ours() {
        let leads = mapping();
        assert_eq!(leads.rule(Field::Name).unwrap().column, "subject");
        assert_eq!(leads.rule(Field::Value).unwrap().column, "estimatedamount");
        assert_eq!(leads.columns.audit, "cosell_audit");
        let query = leads.opportunity_query();
        assert!(
            query.contains("cosell_referralidentifier") && query.contains("subject"),
            "{query}"
        );
        assert!(
            !query.contains("customerid_account") && !query.contains("estimatedvalue"),
            "{query}"
        );
    }

    #[test]
    fn a_lead_is_open_qualified_or_disqualified_for_a_reason() {
        let stage = |cells: &str| mapping().terms(&lead(cells)).get(Field::Stage).clone();
        for status in [1, 2] {
            let open = stage(&format!(r#""statecode":0,"statuscode":{status}"#));
            assert_eq!(open, Term::stage(Stage::Unanswered, None));
        }
        assert_eq!(
            stage(r#""statecode":1,"statuscode":3"#),
            Term::stage(Stage::Active, None)
        );
        assert_eq!(
            stage(r#""statecode":2,"statuscode":5"#),
            Term::stage(Stage::Lost, Some("Cannot contact"))
        );
        // What the seller wrote counts more than what the choice is called; a choice of the customer's own says nothing.
        assert_eq!(
            stage(r#""statecode":2,"statuscode":5,"cosell_closereason":"Gone bust""#),
            Term::stage(Stage::Lost, Some("Gone bust"))
        );
        assert_eq!(
            stage(r#""statecode":2,"statuscode":99"#),
            Term::stage(Stage::Lost, None)
        );
    }

    #[test]
    fn problems_of_the_section_name_their_lines() {
        let broken = DEFAULT
            .replace("stage = \"qualified\"", "stage = \"converted\"")
            .replace("column = \"subject\"", "column = \"subject\"\nkind = \"text\"")
            .replace("company = \"companyname\"", "");
        let InvalidMapping(problems) = Mapping::parse(&broken).unwrap_err();
        let texts: Vec<_> = problems.iter().map(|problem| problem.text.as_str()).collect();
        for part in [
            "converted",
            "no setting \"kind\"",
            "lacks company",
            "[[lead.stage]] for qualified",
        ] {
            assert!(texts.iter().any(|text| text.contains(part)), "{part} in {texts:?}");
        }
        let line = problems
            .iter()
            .find(|problem| problem.text.contains("is unknown"))
            .unwrap()
            .line;
        assert_eq!(broken.lines().nth(line - 1), Some("stage = \"converted\""));
    }

    #[test]
    fn without_the_section_there_are_no_rules_for_leads() {
        let (before, rest) = DEFAULT.split_once("\n[lead]").unwrap();
        let (_, after) = rest.split_once("\n# Choices of \"How can").unwrap();
        let without = format!("{before}\n#{after}");
        assert!(Mapping::parse(&without).unwrap().leads().is_none());
    }
}
