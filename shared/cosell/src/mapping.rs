//! The mapping: which Dynamics column carries which field, which way, who wins, how values translate.
//!
//! Knows: columns, choices, limits, the shape of the reads we need. Refuses to know: when anything is written.
//! Guarantee: projecting a row, writing the projection and projecting again gives the same terms.

mod customer;
mod file;
mod read;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use self::customer::{ACCOUNT, CONTACT, OWNER};
pub use self::file::{InvalidMapping, Problem};
pub use self::text::{cut, strip_mark};
use self::text::{lines, marked, whole_lines};
use crate::amount::Amount;
use crate::deal::{Currency, Field, Help, Side, Term, Terms, sales_stage};
use crate::ids::{CurrencyId, ReferralId};
use crate::link::SyncStatus;
use crate::opportunity::{Cell, Row, RowChange};
use crate::referral::Attribute;
use crate::stage::Stage;

/// The mapping that ships with the connector.
pub const DEFAULT: &str = include_str!("../mapping.toml");

/// Room that the mark and its blank take in a name column.
const MARK_ROOM: usize = 2;

/// UTF-16 units that the column of the closing reason holds.
const CLOSE_REASON_ROOM: usize = 200;

/// How a column spells its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Money with the row's currency.
    Money,
    /// A calendar date.
    Date,
    /// Yes or no.
    Flag,
    /// Text, one value a line.
    Lines,
    /// The people behind a look-up.
    People,
}

/// Which ways a field travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directions {
    /// From Partner Center to the CRM.
    pub toward_dynamics: bool,
    /// From the CRM to Partner Center.
    pub toward_partner_center: bool,
}

impl Directions {
    const BOTH: Self = Self {
        toward_dynamics: true,
        toward_partner_center: true,
    };

    /// Whether a value may be written to this side.
    #[must_use]
    pub const fn allows(self, toward: Side) -> bool {
        match toward {
            Side::Dynamics => self.toward_dynamics,
            Side::PartnerCenter => self.toward_partner_center,
        }
    }
}

/// Who wins when both sides changed a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This side's value is kept; the other's is recorded.
    Side(Side),
    /// Neither: a person chooses.
    Manual,
}

/// The rules of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// Column that holds it.
    pub column: String,
    /// What sellers call the column.
    pub label: String,
    /// How the column spells it.
    pub kind: Kind,
    /// UTF-16 units the column holds.
    pub limit: Option<usize>,
    /// Which ways it travels when a deal is created.
    pub create: Directions,
    /// Which ways a later change travels.
    pub update: Directions,
    /// Who wins a conflict.
    pub owner: Owner,
    /// A deal is not shared without it.
    pub required: bool,
}

/// Columns of ours on the opportunity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The seller's consent to share.
    pub sync: String,
    /// The referral's id.
    pub referral_identifier: String,
    /// Deep link to the referral.
    pub referral_link: String,
    /// Help wanted from Microsoft.
    pub help: String,
    /// What Microsoft's seller is told.
    pub message: String,
    /// Microsoft's id of the deal.
    pub microsoft_crm_id: String,
    /// Why the deal was lost.
    pub close_reason: String,
    /// The trail, newest line first.
    pub audit: String,
    /// The sync state.
    pub sync_status: String,
}

/// State and status reason of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageRow {
    /// The stage.
    pub stage: Stage,
    /// `statecode`.
    pub state: i64,
    /// `statuscode`.
    pub status: i64,
}

/// What the other side can hold of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// The value as it will stand there.
    pub term: Term,
    /// Whether text was cut.
    pub cut: bool,
}

/// A mapping that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// Rises when the meaning of stored bases changes.
    pub version: u32,
    /// Columns of ours.
    pub columns: Columns,
    /// Attributes every new referral carries.
    pub attributes: Vec<Attribute>,
    /// Sent when a deal is lost without a reason.
    pub default_close_reason: String,
    fields: BTreeMap<Field, FieldRule>,
    stages: Vec<StageRow>,
    help: BTreeMap<String, i64>,
    sync_status: BTreeMap<&'static str, i64>,
    constants: Vec<(String, Cell)>,
    countries: BTreeMap<String, String>,
    link_pattern: String,
}

impl Mapping {
    /// The rules of a field; none for the stage, whose rules are the life cycles'.
    #[must_use]
    pub fn rule(&self, field: Field) -> Option<&FieldRule> {
        self.fields.get(&field)
    }

    /// What sellers call the column of a field.
    #[must_use]
    pub fn label(&self, field: Field) -> &str {
        self.rule(field).map_or("Status", |rule| rule.label.as_str())
    }

    /// Which ways a later change of a field travels.
    #[must_use]
    pub fn update(&self, field: Field) -> Directions {
        self.rule(field).map_or(Directions::BOTH, |rule| rule.update)
    }

    /// Every column that is read of an opportunity, expanded look-ups included: the query of the read.
    #[must_use]
    pub fn opportunity_query(&self) -> String {
        let columns = self.own_columns().join(",");
        format!(
            "$select={columns}&$expand=transactioncurrencyid($select=isocurrencycode,currencyprecision),\
             customerid_account($select={ACCOUNT}),parentaccountid($select={ACCOUNT}),\
             parentcontactid($select={CONTACT}),owninguser($select={OWNER})"
        )
    }

    /// The columns that a tracked request needs: enough to see whether a row concerns us.
    #[must_use]
    pub fn tracking_columns(&self) -> String {
        let Columns {
            sync,
            referral_identifier,
            ..
        } = &self.columns;
        format!("{sync},{referral_identifier},modifiedon")
    }

    /// All columns of the opportunity that the mapping names, without repeats.
    #[must_use]
    pub fn own_columns(&self) -> Vec<&str> {
        let c = &self.columns;
        let ours = [
            &c.sync,
            &c.referral_identifier,
            &c.referral_link,
            &c.help,
            &c.message,
            &c.microsoft_crm_id,
            &c.close_reason,
            &c.audit,
            &c.sync_status,
        ];
        let names: BTreeSet<&str> = ours
            .into_iter()
            .map(String::as_str)
            .chain(self.fields.values().map(|rule| rule.column.as_str()))
            .filter(|column| !column.is_empty())
            .chain(["name", "statecode", "statuscode", "modifiedon", "_ownerid_value"])
            .collect();
        names.into_iter().collect()
    }

    /// What an opportunity says.
    #[must_use]
    pub fn terms(&self, row: &Row) -> Terms {
        let mut terms = Terms::default();
        let particulars = self.particulars(row);
        for (field, rule) in &self.fields {
            let term = match (field, rule.kind, row.cell(&rule.column)) {
                (Field::Team, Kind::People, _) => Term::people(&particulars.team),
                (Field::Contacts, Kind::People, _) => Term::people(&particulars.customer.team),
                (Field::Visibility, _, Cell::Null) => Term::Flag(false),
                (_, _, Cell::Null) => Term::Nothing,
                (Field::Name, Kind::Text, Cell::Text(text)) => Term::text(Some(strip_mark(text))),
                (Field::SalesStage, Kind::Text, Cell::Text(text)) => sales_stage(text),
                (_, Kind::Text, Cell::Text(text)) => Term::text(Some(text)),
                (_, Kind::Money, Cell::Number(amount)) => Term::Money {
                    amount: *amount,
                    currency: currency_of(row),
                },
                (_, Kind::Date, Cell::Text(text)) => {
                    text.parse().map_or_else(|_| Term::Unreadable(text.clone()), Term::Date)
                }
                (_, Kind::Flag, Cell::Flag(flag)) => Term::Flag(*flag),
                (_, Kind::Lines, Cell::Text(text)) => lines(text),
                (_, _, cell) => Term::Unreadable(format!("{cell:?}")),
            };
            terms.set(*field, term);
        }
        terms.set(Field::Stage, self.stage(row));
        terms
    }

    fn stage(&self, row: &Row) -> Term {
        let (state, status) = (row.integer("statecode"), row.integer("statuscode"));
        let known = |matches: &dyn Fn(&StageRow) -> bool| {
            self.stages.iter().find(|row| matches(row)).map(|row| row.stage.clone())
        };
        // A status reason the mapping does not list counts as the first of its state: customers add their own.
        let stage = known(&|row| Some(row.state) == state && Some(row.status) == status)
            .or_else(|| known(&|row| Some(row.state) == state))
            .unwrap_or_else(|| Stage::Unknown(format!("statecode {state:?}, statuscode {status:?}")));
        Term::stage(stage, row.text(&self.columns.close_reason))
    }

    /// Whether a help code is one that the API takes.
    #[must_use]
    pub fn knows_help(&self, help: &Help) -> bool {
        self.help.contains_key(&help.0)
    }

    /// What a side can hold of a value. `there` is what stands there now; `digits` is the currency's precision in the
    /// CRM; `mark` says that names are marked, which takes room.
    #[must_use]
    pub fn fit(&self, field: Field, term: &Term, toward: Side, there: &Terms, digits: u32, mark: bool) -> Fitted {
        let whole = |term| Fitted { term, cut: false };
        if matches!(field, Field::Team | Field::Contacts) {
            let mut all = there.get(field).clone();
            // Who is on a list stays there, and look-ups to people are not written.
            if let (Side::PartnerCenter, Term::People(people)) = (toward, term) {
                let mut joined = people.clone();
                if let Term::People(known) = all {
                    joined.extend(known);
                }
                all = Term::People(joined);
            }
            return whole(all);
        }
        match (toward, term) {
            (_, Term::Stage { stage, reason }) => {
                let stage = match toward {
                    Side::Dynamics => stage.toward_dynamics(),
                    Side::PartnerCenter => stage.toward_partner_center(&there.stage()),
                };
                let (reason, cut) = match (&stage, toward, reason.as_deref()) {
                    (Stage::Lost | Stage::Declined, Side::PartnerCenter, None) => {
                        (Some(self.default_close_reason.as_str()), false)
                    }
                    (_, Side::Dynamics, Some(reason)) => {
                        let (reason, cut) = cut(reason, CLOSE_REASON_ROOM);
                        (Some(reason), cut)
                    }
                    (_, _, reason) => (reason, false),
                };
                Fitted {
                    term: Term::stage(stage, reason),
                    cut,
                }
            }
            (Side::Dynamics, Term::Money { amount, currency }) => {
                let current = match there.get(field) {
                    Term::Money { currency, .. } => currency.clone(),
                    _ => None,
                };
                whole(Term::Money {
                    amount: amount.rounded(digits),
                    currency: currency.clone().or(current),
                })
            }
            (Side::Dynamics, Term::Text(text)) => {
                let limit = self.limit(field);
                // A mark in a name says how the deal stands, wherever it comes from; it is no part of the name.
                let (text, cut) = if field == Field::Name {
                    let room = if mark { MARK_ROOM } else { 0 };
                    let (text, cut) = cut(strip_mark(text), limit.saturating_sub(room));
                    (strip_mark(text), cut)
                } else {
                    cut(text, limit)
                };
                Fitted {
                    term: Term::text(Some(text)),
                    cut,
                }
            }
            (Side::Dynamics, Term::Solutions(ids)) => {
                let (text, cut) = whole_lines(ids, self.limit(field));
                Fitted {
                    term: lines(&text),
                    cut,
                }
            }
            _ => whole(term.clone()),
        }
    }

    /// UTF-16 units that the column of a field holds.
    fn limit(&self, field: Field) -> usize {
        self.rule(field).and_then(|rule| rule.limit).unwrap_or(usize::MAX)
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
            Term::Text(text) if field == Field::Name => Cell::Text(marked(text, mark, self.limit(field))),
            Term::Text(text) => Cell::Text(text.clone()),
            Term::Money { amount, .. } => Cell::Number(*amount),
            Term::Date(date) => Cell::Text(date.to_string()),
            Term::Flag(flag) => Cell::Flag(*flag),
            Term::Solutions(ids) => Cell::Text(whole_lines(ids, usize::MAX).0),
            Term::Stage { .. } | Term::People(_) | Term::Unreadable(_) => return,
        };
        if let (Term::Money { .. }, Some(currency)) = (term, currency) {
            change.bind("transactioncurrencyid", "transactioncurrencies", currency.uuid());
        }
        change.set(rule.column.clone(), cell);
    }

    /// The status reason to write for a stage.
    #[must_use]
    pub fn status(&self, stage: &Stage) -> Option<&StageRow> {
        self.stages.iter().find(|row| &row.stage == stage)
    }

    /// The choice of the sync state column.
    #[must_use]
    pub fn sync_status(&self, status: SyncStatus) -> Cell {
        let key = match status {
            SyncStatus::NotSynced => "not_synced",
            SyncStatus::Synced => "synced",
            SyncStatus::Error => "error",
            SyncStatus::Waiting => "waiting",
            SyncStatus::Paused => "paused",
        };
        self.sync_status
            .get(key)
            .map_or(Cell::Null, |value| Cell::Number(Amount::new((*value).into())))
    }

    /// The deep link to a referral.
    #[must_use]
    pub fn referral_link(&self, referral: ReferralId) -> String {
        self.link_pattern.replace("{referral}", &referral.to_string())
    }

    /// Adds the constants that this CRM demands of every new opportunity.
    pub fn write_constants(&self, change: &mut RowChange) {
        for (column, cell) in &self.constants {
            change.set(column.clone(), cell.clone());
        }
    }
}

fn currency_of(row: &Row) -> Option<Currency> {
    row.row("transactioncurrencyid")
        .and_then(|currency| currency.text("isocurrencycode"))
        .and_then(Currency::parse)
}

/// Digits after the point that the CRM keeps for a row's currency.
#[must_use]
pub fn money_digits(row: &Row) -> Option<u32> {
    row.row("transactioncurrencyid")?
        .integer("currencyprecision")
        .and_then(|digits| u32::try_from(digits).ok())
}

#[cfg(test)]
mod tests;
