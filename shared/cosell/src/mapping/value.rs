//! One field as its column spells it, both ways.
//!
//! Guarantee: what is written and read back is the same term; what a column holds and nobody can name is kept as
//! unreadable, so that it is shown and never sent.

use super::text::{lines, marked, whole_lines};
use super::{FieldRule, Fitted, Kind, Mapping, strip_mark};
use crate::amount::Amount;
use crate::deal::{Field, Particulars, Term, Terms, sales_stage};
use crate::ids::{CurrencyId, SolutionId};
use crate::opportunity::{Cell, Row, RowChange};

/// How a value table spells a flag.
pub(super) const YES: &str = "true";
pub(super) const NO: &str = "false";

impl FieldRule {
    /// The value that a number of the choice stands for.
    fn value_of(&self, number: i64) -> Option<&str> {
        let found = self.values.iter().find(|(_, listed)| *listed == number);
        found.map(|(value, _)| value.as_str())
    }

    /// The number of a value. Values are compared as they are, so that a vendor's other spelling is noticed.
    fn number_of(&self, value: &str) -> Option<i64> {
        let found = self.values.iter().find(|(listed, _)| listed == value);
        found.map(|(_, number)| *number)
    }

    fn choice(&self, field: Field, number: &Amount) -> Term {
        let value = i64::try_from(number.decimal())
            .ok()
            .and_then(|number| self.value_of(number));
        match (field, value) {
            (_, None) => Term::Unreadable(format!("choice {number}")),
            (Field::Visibility, Some(value)) => Term::Flag(value == YES),
            (Field::Solutions, Some(value)) => lines(value),
            (Field::SalesStage, Some(value)) => sales_stage(value),
            (_, Some(value)) => Term::text(Some(value)),
        }
    }

    /// The numbers of a term's values, as far as the choice has any; and how many values there are.
    fn numbers(&self, term: &Term) -> (Vec<i64>, usize) {
        let values: Vec<&str> = match term {
            Term::Text(text) => vec![text],
            Term::Flag(flag) => vec![if *flag { YES } else { NO }],
            Term::Solutions(ids) => ids.iter().map(|SolutionId(id)| id.as_str()).collect(),
            Term::Nothing
            | Term::Money { .. }
            | Term::Date(_)
            | Term::Stage { .. }
            | Term::People(_)
            | Term::Unreadable(_) => Vec::new(),
        };
        let numbers = values.iter().filter_map(|value| self.number_of(value)).collect();
        (numbers, values.len())
    }

    /// What the choice can hold of a term: one value, and nothing that it has no number for.
    pub(super) fn nearest_choice(&self, field: Field, term: &Term) -> Fitted {
        let (numbers, values) = self.numbers(term);
        match (term, numbers.first()) {
            (Term::Nothing | Term::Unreadable(_), _) => Fitted {
                term: term.clone(),
                cut: false,
            },
            (_, None) => Fitted {
                term: Term::Unreadable(term.to_string()),
                cut: false,
            },
            (_, Some(number)) => Fitted {
                term: self.choice(field, &Amount::new((*number).into())),
                cut: values > 1,
            },
        }
    }
}

impl Mapping {
    /// What a row says of one field.
    pub(super) fn read(&self, field: Field, rule: &FieldRule, row: &Row, particulars: &Particulars) -> Term {
        match (field, rule.kind, row.cell(&rule.column)) {
            (Field::Team, Kind::People, _) => Term::people(&particulars.team),
            (Field::Contacts, Kind::People, _) => Term::people(&particulars.customer.team),
            (Field::Visibility, _, Cell::Null) => Term::Flag(false),
            (_, _, Cell::Null) => Term::Nothing,
            (Field::Value, Kind::Money | Kind::Decimal | Kind::Integer, Cell::Number(amount)) => {
                self.money(*amount, row)
            }
            (Field::Value, Kind::Text, Cell::Text(text)) => match (text.trim(), text.trim().parse()) {
                ("", _) => Term::Nothing,
                (_, Ok(amount)) => self.money(amount, row),
                (text, Err(_)) => Term::Unreadable(text.to_owned()),
            },
            (_, Kind::Choice, Cell::Number(number)) => rule.choice(field, number),
            (Field::Name, Kind::Text, Cell::Text(text)) => Term::text(Some(strip_mark(text))),
            (Field::SalesStage, Kind::Text, Cell::Text(text)) => sales_stage(text),
            (_, Kind::Text, Cell::Text(text)) => Term::text(Some(text)),
            (_, Kind::Date, Cell::Text(text)) => {
                text.parse().map_or_else(|_| Term::Unreadable(text.clone()), Term::Date)
            }
            (_, Kind::Flag, Cell::Flag(flag)) => Term::Flag(*flag),
            (_, Kind::Lines, Cell::Text(text)) => lines(text),
            (_, _, cell) => Term::Unreadable(format!("{cell:?}")),
        }
    }

    fn money(&self, amount: Amount, row: &Row) -> Term {
        match self.currency.read(row) {
            Ok(currency) => Term::Money { amount, currency },
            Err(unknown) => Term::Unreadable(format!("{amount} {unknown}")),
        }
    }

    /// What a deal says when it is shared: columns that are empty count as their defaults.
    ///
    /// The row stays as it is, so the base keeps *nothing* for it and the default for the referral. Neither side has
    /// moved from there: nothing comes back, and whatever the seller enters later is carried over.
    #[must_use]
    pub fn with_defaults(&self, terms: &Terms) -> Terms {
        let mut shared = terms.clone();
        for (field, rule) in &self.fields {
            let said = match (terms.get(*field), &rule.default) {
                (Term::Nothing, Some(default)) if rule.create.toward_partner_center => default,
                (said, _) => said,
            };
            let said = match said {
                Term::Money { amount, currency: None } => Term::Money {
                    amount: *amount,
                    currency: self.currency.assumed().cloned(),
                },
                said => said.clone(),
            };
            shared.set(*field, said);
        }
        shared
    }

    /// Adds a field to a change of an opportunity. The stage is not among them: it moves by requests of its own. A change
    /// of currency needs the id of the currency's row.
    pub fn write(
        &self,
        field: Field,
        term: &Term,
        mark: Option<char>,
        currency: Option<CurrencyId>,
        change: &mut RowChange,
    ) {
        let Some(rule) = self.rule(field) else { return };
        let cell = match term {
            Term::Nothing => Cell::Null,
            Term::Stage { .. } | Term::People(_) | Term::Unreadable(_) => return,
            term if rule.kind == Kind::Choice => match rule.numbers(term).0.first() {
                Some(number) => Cell::Number(Amount::new((*number).into())),
                None => return,
            },
            Term::Text(text) if field == Field::Name => Cell::Text(marked(text, mark, self.limit(field))),
            Term::Text(text) => Cell::Text(text.clone()),
            Term::Money { amount, .. } if rule.kind == Kind::Text => Cell::Text(amount.to_string()),
            Term::Money { amount, .. } => Cell::Number(*amount),
            Term::Date(date) => Cell::Text(date.to_string()),
            Term::Flag(flag) => Cell::Flag(*flag),
            Term::Solutions(ids) => Cell::Text(whole_lines(ids, usize::MAX).0),
        };
        let code = match term {
            Term::Money { currency, .. } => currency.as_ref(),
            _ => None,
        };
        if let Some((code, row)) = code.zip(currency) {
            self.currency.write(code, row, change);
        }
        change.set(rule.column.clone(), cell);
    }
}
