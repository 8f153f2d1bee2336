//! Where a row keeps the currency of its value.
//!
//! Knows: that most rows point to one, that others name it in a column of their own, and that some CRMs have only one.

use uuid::Uuid;

use super::{Mapping, Row, RowChange};
use crate::amount::Amount;
use crate::deal::Currency;
use crate::ids::CurrencyId;
use crate::opportunity::Cell;

/// How the currency of a row is spelt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CurrencyKind {
    /// A look-up of the CRM's currencies, by its navigation name.
    Lookup,
    /// Text: the ISO code.
    Text,
    /// A choice whose numbers stand for ISO codes.
    Choice(Vec<(String, i64)>),
    /// No column: all values are in this currency.
    Constant(Currency),
}

/// The rule of the currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrencyRule {
    /// Its column; for a look-up, the navigation name.
    pub column: String,
    /// How it is spelt.
    pub kind: CurrencyKind,
    /// Taken when a deal is shared and its value has none.
    pub default: Option<Currency>,
}

impl Default for CurrencyRule {
    fn default() -> Self {
        Self {
            column: "transactioncurrencyid".to_owned(),
            kind: CurrencyKind::Lookup,
            default: None,
        }
    }
}

impl CurrencyRule {
    /// The currency of a row; what it holds instead, when nobody can name it.
    pub(super) fn read(&self, row: &Row) -> Result<Option<Currency>, String> {
        match (&self.kind, row.cell(&self.column)) {
            (CurrencyKind::Constant(currency), _) => Ok(Some(currency.clone())),
            (_, Cell::Null) => Ok(None),
            (CurrencyKind::Lookup, Cell::Row(row)) => Ok(row.text("isocurrencycode").and_then(Currency::parse)),
            (CurrencyKind::Text, Cell::Text(text)) => Ok(Currency::parse(text)),
            (CurrencyKind::Choice(values), Cell::Number(number)) => {
                let is_it = |listed: &i64| number == &Amount::new((*listed).into());
                let found = values.iter().find(|(_, listed)| is_it(listed));
                let code = found.ok_or_else(|| format!("in a currency of choice {number}"))?;
                Ok(Currency::parse(&code.0))
            }
            (_, cell) => Err(format!("in a currency of {cell:?}")),
        }
    }

    /// The currency of a value that is shared without one.
    pub(super) const fn assumed(&self) -> Option<&Currency> {
        match &self.kind {
            CurrencyKind::Constant(only) => Some(only),
            CurrencyKind::Lookup | CurrencyKind::Text | CurrencyKind::Choice(_) => self.default.as_ref(),
        }
    }

    /// Writes a currency; `id` is its row, where rows point to currencies.
    pub(super) fn write(&self, code: &Currency, id: CurrencyId, change: &mut RowChange) {
        match &self.kind {
            CurrencyKind::Lookup => change.bind(&self.column, "transactioncurrencies", id.uuid()),
            CurrencyKind::Text => change.set(self.column.clone(), Cell::Text(code.to_string())),
            CurrencyKind::Choice(values) => {
                if let Some((_, number)) = values.iter().find(|(listed, _)| listed == code.as_str()) {
                    change.set(self.column.clone(), Cell::Number(Amount::new((*number).into())));
                }
            }
            CurrencyKind::Constant(_) => {}
        }
    }

    /// What the read of a row has to expand.
    pub(super) fn expansion(&self) -> String {
        match self.kind {
            CurrencyKind::Lookup => format!("{}($select=isocurrencycode,currencyprecision),", self.column),
            CurrencyKind::Text | CurrencyKind::Choice(_) | CurrencyKind::Constant(_) => String::new(),
        }
    }

    /// The column that is read as it is.
    pub(super) fn own_column(&self) -> Option<&str> {
        match self.kind {
            CurrencyKind::Text | CurrencyKind::Choice(_) => Some(&self.column),
            CurrencyKind::Lookup | CurrencyKind::Constant(_) => None,
        }
    }
}

impl Mapping {
    /// Whether rows can have this currency; none when only the CRM can tell.
    #[must_use]
    pub fn takes_currency(&self, code: &Currency) -> Option<bool> {
        match &self.currency.kind {
            CurrencyKind::Lookup => None,
            CurrencyKind::Text => Some(true),
            CurrencyKind::Choice(values) => Some(values.iter().any(|(listed, _)| listed == code.as_str())),
            CurrencyKind::Constant(only) => Some(only == code),
        }
    }

    /// Whether values have a currency without anybody entering one.
    pub(crate) const fn gives_currency(&self) -> bool {
        match &self.currency.kind {
            CurrencyKind::Lookup | CurrencyKind::Constant(_) => true,
            CurrencyKind::Text | CurrencyKind::Choice(_) => false,
        }
    }

    /// Stands for the row of a currency that has none.
    #[must_use]
    pub const fn no_currency_row() -> CurrencyId {
        CurrencyId::new(Uuid::nil())
    }

    /// Digits after the point that the CRM keeps for a row's currency.
    #[must_use]
    pub fn money_digits(&self, row: &Row) -> Option<u32> {
        row.row(&self.currency.column)?
            .integer("currencyprecision")
            .and_then(|digits| u32::try_from(digits).ok())
    }
}
