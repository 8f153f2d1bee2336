//! The mapping: which Dynamics column carries which field, which way, who wins, how values translate.
//!
//! Knows: columns, choices, limits, the shape of the reads we need. Refuses to know: when anything is written.
//! Guarantee: projecting a row, writing the projection and projecting again gives the same terms.

mod country;
mod currency;
mod customer;
mod file;
mod lead;
mod read;
mod show;
pub mod solutions;
mod text;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::currency::{CurrencyKind, CurrencyRule};
pub(crate) use self::customer::set_text;
pub use self::customer::{AccountColumns, CountryKind, PersonColumns};
pub use self::file::{InvalidMapping, Problem};
pub use self::lead::{LeadColumns, Person};
pub use self::show::{Type, Want};
pub use self::solutions::SolutionTable;
pub use self::text::{cut, strip_mark};
use self::text::{lines, whole_lines};
use crate::amount::Amount;
use crate::deal::{Field, Help, Side, Term, Terms};
use crate::ids::ReferralId;
use crate::link::SyncStatus;
use crate::opportunity::{Cell, Row, RowChange};
use crate::reconcile::call::Table;
use crate::referral::Attribute;
use crate::stage::{OpportunityMove, Stage};

/// The mapping that ships with the connector.
pub const DEFAULT: &str = include_str!("../mapping.toml");

/// Room that the mark and its blank take in a name column.
const MARK_ROOM: usize = 2;

/// Fields that Partner Center demands of every deal.
const REQUIRED: [Field; 3] = [Field::Name, Field::Value, Field::CloseDate];

/// Fields that no creation in Partner Center carries: that a PATCH takes them is documented, that a creation does is not.
pub(crate) const FOLLOWING: [Field; 3] = [Field::SalesStage, Field::Campaign, Field::Program];

/// UTF-16 units that the column of the closing reason holds.
const CLOSE_REASON_ROOM: usize = 200;

/// How a column spells its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Money with the row's currency.
    Money,
    /// A number with places after the point.
    Decimal,
    /// A whole number.
    Integer,
    /// A calendar date.
    Date,
    /// Yes or no.
    Flag,
    /// Text, one value a line.
    Lines,
    /// One of a set of numbers, each of which stands for a value.
    Choice,
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
    /// Digits after the point that the column keeps, where that is not the currency's business.
    pub digits: Option<u32>,
    /// What the numbers of a choice stand for.
    pub values: Vec<(String, i64)>,
    /// Sent when a deal is shared while the column is empty.
    pub default: Option<Term>,
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
    /// What the status reason says of a deal that ended; of leads only.
    pub reason: Option<String>,
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
    constants: BTreeMap<Table, RowChange>,
    currency: CurrencyRule,
    account: AccountColumns,
    contact: PersonColumns,
    owner: PersonColumns,
    country: CountryKind,
    countries: BTreeMap<String, String>,
    free_mail: BTreeSet<String>,
    link_pattern: String,
    /// The same for leads; none when deals that are not co-sell become opportunities at once.
    leads: Option<Arc<Self>>,
    /// Set in the mapping of leads: columns that only a lead has.
    lead: Option<LeadColumns>,
    solutions: Option<SolutionTable>,
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
        let currency = self.currency.expansion();
        let account = self.account_columns().join(",");
        let (contact, owner) = (self.contact.list(), self.owner.list());
        if self.is_of_leads() {
            return format!(
                "$select={columns}&$expand={currency}parentaccountid($select={account}),parentcontactid($select={contact})"
            );
        }
        let solutions = self.solutions.as_ref();
        let solutions = solutions.map_or_else(String::new, |table| format!(",{}", table.expansion()));
        format!(
            "$select={columns}&$expand={currency}customerid_account($select={account}),\
             parentaccountid($select={account}),parentcontactid($select={contact}),\
             owninguser($select={owner},applicationid){solutions}"
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
            .chain(self.currency.own_column())
            .filter(|column| !column.is_empty())
            .chain(["statecode", "statuscode", "modifiedon", "_ownerid_value"])
            .chain(self.further_columns().iter().copied())
            .collect();
        names.into_iter().collect()
    }

    /// What an opportunity says.
    #[must_use]
    pub fn terms(&self, row: &Row) -> Terms {
        let mut terms = Terms::default();
        let particulars = self.particulars(row);
        for (field, rule) in &self.fields {
            let term = self.read(*field, rule, row, &particulars);
            terms.set(*field, term);
        }
        if self.solutions.is_some() {
            let memo = terms.get(Field::Solutions).clone();
            terms.set(Field::Solutions, self.with_rows(memo, row));
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
        let listed = self.stages.iter().find(|row| Some(row.status) == status);
        let meaning = listed.and_then(|row| row.reason.as_deref());
        Term::stage(stage, row.text(&self.columns.close_reason).or(meaning))
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
        let rule = self.rule(field);
        if let Some(rule) = rule.filter(|rule| toward == Side::Dynamics && rule.kind == Kind::Choice) {
            return rule.nearest_choice(field, term);
        }
        match (toward, term) {
            (_, Term::Stage { stage, reason }) => {
                let stage = match toward {
                    Side::Dynamics if self.is_of_leads() => stage.toward_lead(),
                    Side::Dynamics => stage.toward_dynamics(),
                    Side::PartnerCenter => stage.toward_partner_center(&there.stage()),
                };
                let (reason, cut) = match (&stage, toward, reason.as_deref()) {
                    (Stage::Lost | Stage::Declined, Side::PartnerCenter, None) => {
                        (Some(self.default_close_reason.as_str()), false)
                    }
                    // The status reason of a lead says why by itself.
                    (stage, Side::Dynamics, None) if self.is_of_leads() => {
                        (self.status(stage).and_then(|row| row.reason.as_deref()), false)
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
                let amount = match rule.map(|rule| (rule.kind, rule.digits)) {
                    Some((Kind::Text, _)) => *amount,
                    Some((_, Some(digits))) => amount.rounded(digits),
                    _ => amount.rounded(digits),
                };
                whole(Term::Money {
                    amount,
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

    /// What this CRM demands of every new row of a table.
    #[must_use]
    pub fn constants(&self, table: Table) -> RowChange {
        self.constants.get(&table).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
