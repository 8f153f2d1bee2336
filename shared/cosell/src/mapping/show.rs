//! The mapping as people and metadata see it: every column with what it has to be, and the table of fields.

use super::{CountryKind, CurrencyKind, Kind, Mapping};
use crate::deal::Field;

/// What a column has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text of one line or many.
    Text,
    /// Text of one line.
    Line,
    /// Money.
    Money,
    /// A number with places after the point.
    Decimal,
    /// A whole number.
    Integer,
    /// A date.
    Date,
    /// Yes or no.
    Flag,
    /// A choice.
    Choice,
    /// A look-up.
    Lookup,
}

/// A column that the mapping names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Logical name of its table.
    pub table: String,
    /// Logical name.
    pub column: String,
    /// What the mapping keeps there.
    pub purpose: String,
    /// What it has to be.
    pub kind: Type,
    /// UTF-16 units it has to hold.
    pub length: Option<usize>,
    /// Choices it has to have.
    pub choices: Vec<i64>,
}

impl Mapping {
    /// Every column that the mapping names, with what it has to be.
    #[must_use]
    pub fn wants(&self) -> Vec<Want> {
        let mut wants = self.wants_of_a_row();
        if let Some(leads) = self.leads() {
            wants.extend(leads.wants_of_a_row());
        }
        if let Some(lead) = self.leads().and_then(|leads| leads.lead_columns()) {
            let contact = &lead.contact;
            let person = [&contact.first_name, &contact.last_name, &contact.email, &contact.phone];
            for column in [&lead.company].into_iter().chain(person).chain(&lead.address) {
                wants.push(want("lead", column, "the customer", Type::Text));
            }
        }
        if let Some(table) = self.solution_table() {
            let name = table.logical_name();
            for (column, purpose) in [
                (&table.id, "the solution's id"),
                (&table.name, "the solution's name"),
                (&table.publisher, "the solution's publisher"),
                (&table.kind, "the solution's type"),
            ] {
                wants.push(want(name, column, purpose, Type::Text));
            }
            wants.push(want(name, &table.opportunity.to_lowercase(), "the deal", Type::Lookup));
        }
        for column in self.account_columns() {
            if column != self.account.country {
                wants.push(want("account", column, "the customer", Type::Text));
            }
        }
        for column in [&self.account.website, &self.account.email] {
            wants.push(want("account", column, "finding the customer", Type::Text));
        }
        let country = |kind| want("account", &self.account.country, "the country", kind);
        wants.push(match &self.country {
            CountryKind::Text => country(Type::Text),
            CountryKind::Choice(values) => Want {
                choices: values.iter().map(|(_, number)| *number).collect(),
                ..country(Type::Choice)
            },
        });
        for (table, person) in [("contact", &self.contact), ("systemuser", &self.owner)] {
            for column in person.all() {
                wants.push(want(table, column, "a person", Type::Text));
            }
        }
        wants
    }

    /// The columns of the opportunity; in the rules for leads, those that a lead shares with it.
    fn wants_of_a_row(&self) -> Vec<Want> {
        let table = self.row();
        let c = &self.columns;
        let choices = |numbers: &mut dyn Iterator<Item = i64>| numbers.collect::<Vec<i64>>();
        let mut wants: Vec<Want> = [
            (&c.sync, "the seller's consent", Type::Flag),
            (&c.referral_identifier, "the referral's id", Type::Line),
            (&c.referral_link, "the link to the referral", Type::Text),
            (&c.message, "the message to Microsoft", Type::Text),
            (&c.microsoft_crm_id, "Microsoft's id of the deal", Type::Text),
            (&c.close_reason, "the closing reason", Type::Text),
            (&c.audit, "the trail", Type::Text),
        ]
        .into_iter()
        .map(|(column, purpose, kind)| want(table, column, purpose, kind))
        .collect();
        wants.push(Want {
            choices: choices(&mut self.help.values().copied()),
            ..want(table, &c.help, "the help wanted", Type::Choice)
        });
        wants.push(Want {
            choices: choices(&mut self.sync_status.values().copied()),
            ..want(table, &c.sync_status, "the sync state", Type::Choice)
        });
        for (field, rule) in &self.fields {
            let kind = match rule.kind {
                Kind::People => continue,
                Kind::Text | Kind::Lines => Type::Text,
                Kind::Money => Type::Money,
                Kind::Decimal => Type::Decimal,
                Kind::Integer => Type::Integer,
                Kind::Date => Type::Date,
                Kind::Flag => Type::Flag,
                Kind::Choice => Type::Choice,
            };
            wants.push(Want {
                length: rule.limit,
                choices: rule.values.iter().map(|(_, number)| *number).collect(),
                ..want(table, &rule.column, field.as_str(), kind)
            });
        }
        let currency = |kind| want(table, &self.currency.column, "the currency", kind);
        match &self.currency.kind {
            CurrencyKind::Lookup => wants.push(Want {
                column: self.currency.column.to_lowercase(),
                ..currency(Type::Lookup)
            }),
            CurrencyKind::Text => wants.push(currency(Type::Line)),
            CurrencyKind::Choice(values) => wants.push(Want {
                choices: values.iter().map(|(_, number)| *number).collect(),
                ..currency(Type::Choice)
            }),
            CurrencyKind::Constant(_) => {}
        }
        wants
    }

    /// Fields that no entry maps, those first that a deal cannot be shared without.
    #[must_use]
    pub fn unmapped(&self) -> Vec<(Field, bool)> {
        let mut unmapped: Vec<(Field, bool)> = Field::ALL
            .into_iter()
            .filter(|field| !matches!(field, Field::Stage | Field::Team | Field::Contacts))
            .filter(|field| !self.fields.contains_key(field))
            .map(|field| (field, field == Field::Solutions))
            .collect();
        unmapped.sort_by_key(|(_, is_needed)| !is_needed);
        unmapped
    }
}

fn want(table: &str, column: &str, purpose: &str, kind: Type) -> Want {
    Want {
        table: table.to_owned(),
        column: column.to_owned(),
        purpose: purpose.to_owned(),
        kind,
        length: None,
        choices: Vec::new(),
    }
}
