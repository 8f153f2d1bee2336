//! The mapping: which Dynamics column carries which field, which way, who wins, how values translate.
//!
//! Knows: columns, choices, limits, the shape of the reads we need. Refuses to know: when anything is written.
//! Guarantee: projecting a row, writing the projection and projecting again gives the same terms.

mod file;
mod lead;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

pub use self::file::{InvalidMapping, Problem};
use self::file::{Problems, Section};
pub use self::lead::{LeadColumns, Person};
use crate::amount::Amount;
use crate::deal::{Currency, Field, Help, Particulars, Side, Term, Terms};
use crate::ids::{CurrencyId, ReferralId, SolutionId};
use crate::link::SyncStatus;
use crate::opportunity::{Cell, Row, RowChange};
use crate::referral::{Address, Attribute, CustomerProfile, Member};
use crate::stage::{OpportunityMove, Stage};

/// The mapping that ships with the connector.
pub const DEFAULT: &str = include_str!("../mapping.toml");

/// Marks that sync states, ours or the replaced connector's, leave before or after a name.
const MARKS: [char; 12] = [
    '✔', '✘', '✓', '✗', '✅', '❌', '☑', '☒', '❎', '✖', '\u{fe0f}', '\u{fe0e}',
];

/// Room that the mark and its blank take in a name column.
const MARK_ROOM: usize = 2;

/// Fields that Partner Center demands of every deal.
const REQUIRED: [Field; 3] = [Field::Name, Field::Value, Field::CloseDate];

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
    constants: Vec<(String, Cell)>,
    countries: BTreeMap<String, String>,
    link_pattern: String,
    /// The same for leads; none when deals that are not co-sell become opportunities at once.
    leads: Option<Arc<Self>>,
    /// Set in the mapping of leads: columns that only a lead has.
    lead: Option<LeadColumns>,
}

/// Columns of the account, and of the person tables, that are read with an opportunity.
const ACCOUNT: &str =
    "name,address1_line1,address1_line2,address1_city,address1_stateorprovince,address1_postalcode,address1_country";
const CONTACT: &str = "firstname,lastname,emailaddress1,telephone1,mobilephone";
const OWNER: &str = "firstname,lastname,internalemailaddress,mobilephone,address1_telephone1";

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
        let fields = read_fields(&mut root, &prefix, &mut problems);
        let stages = read_stages(&mut root, &mut problems);
        let help = read_numbers(root.section("help", &mut problems), &mut problems);
        let sync_status = read_sync_status(root.section("sync_status", &mut problems), &mut problems);
        let attributes = read_texts(root.section("attributes", &mut problems), &mut problems)
            .into_iter()
            .map(|(kind, id)| Attribute { kind, id })
            .collect();
        let constants = read_constants(root.section("constants", &mut problems), &prefix, &mut problems);
        let countries = read_countries(root.section("countries", &mut problems), &mut problems);
        let lead = lead::read(&mut root, &fields, &prefix, &mut problems);
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
            countries,
            link_pattern,
            leads: None,
            lead: None,
        };
        let leads = lead.map(|lead| Arc::new(mapping.with(lead)));
        problems.finish(Self { leads, ..mapping })
    }

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
        if self.is_of_leads() {
            return format!(
                "$select={columns}&$expand=transactioncurrencyid($select=isocurrencycode,currencyprecision),\
                 parentaccountid($select={ACCOUNT}),parentcontactid($select={CONTACT})"
            );
        }
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
            .chain(["statecode", "statuscode", "modifiedon", "_ownerid_value"])
            .chain(self.further_columns().iter().copied())
            .collect();
        names.into_iter().collect()
    }

    /// What an opportunity says.
    #[must_use]
    pub fn terms(&self, row: &Row) -> Terms {
        let mut terms = Terms::default();
        for (field, rule) in &self.fields {
            let term = match (field, rule.kind, row.cell(&rule.column)) {
                (Field::Visibility, _, Cell::Null) => Term::Flag(false),
                (_, _, Cell::Null) => Term::Nothing,
                (Field::Name, Kind::Text, Cell::Text(text)) => Term::text(Some(strip_mark(text))),
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
        let listed = self.stages.iter().find(|row| Some(row.status) == status);
        let meaning = listed.and_then(|row| row.reason.as_deref());
        Term::stage(stage, row.text(&self.columns.close_reason).or(meaning))
    }

    /// What an opportunity says beyond its terms: who the customer is, who sells, what is asked of Microsoft.
    #[must_use]
    pub fn particulars(&self, row: &Row) -> Particulars {
        let account = row.row("parentaccountid").or_else(|| row.row("customerid_account"));
        let mut customer = account.map_or_else(CustomerProfile::default, |account| {
            let text = |column| account.text(column).unwrap_or_default().trim().to_owned();
            CustomerProfile {
                name: text("name"),
                address: Address {
                    address_line1: text("address1_line1"),
                    address_line2: text("address1_line2"),
                    city: text("address1_city"),
                    state: text("address1_stateorprovince"),
                    postal_code: text("address1_postalcode"),
                    country: self.country(&text("address1_country")),
                },
                team: Vec::new(),
            }
        });
        customer.team.extend(
            row.row("parentcontactid")
                .map(|contact| member(contact, "emailaddress1", "telephone1")),
        );
        Particulars {
            customer,
            team: row
                .row("owninguser")
                .map(|owner| member(owner, "internalemailaddress", "address1_telephone1"))
                .into_iter()
                .collect(),
            help: row.integer(&self.columns.help).map(|value| {
                let code = self
                    .help
                    .iter()
                    .find(|(_, number)| **number == value)
                    .map(|(code, _)| code.clone());
                Help(code.unwrap_or_else(|| value.to_string()))
            }),
            message: row.text(&self.columns.message).map(ToOwned::to_owned),
        }
    }

    /// Whether a help code is one that the API takes.
    #[must_use]
    pub fn knows_help(&self, help: &Help) -> bool {
        self.help.contains_key(&help.0)
    }

    /// The two-letter code of a country, or the text as it is when there is no entry for it.
    fn country(&self, text: &str) -> String {
        self.countries.get(&text.to_lowercase()).cloned().unwrap_or_else(|| {
            if text.len() == 2 {
                text.to_ascii_uppercase()
            } else {
                text.to_owned()
            }
        })
    }

    /// What a side can hold of a value. `there` is what stands there now; `digits` is the currency's precision in the
    /// CRM; `mark` says that names are marked, which takes room.
    #[must_use]
    pub fn fit(&self, field: Field, term: &Term, toward: Side, there: &Terms, digits: u32, mark: bool) -> Fitted {
        let whole = |term| Fitted { term, cut: false };
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
            Term::Stage { .. } | Term::Unreadable(_) => return,
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

/// A name with its mark, where there is room for it: a seller's own name is never cut for a mark.
fn marked(name: &str, mark: Option<char>, limit: usize) -> String {
    mark.map(|mark| format!("{mark} {name}"))
        .filter(|marked| !cut(marked, limit).1)
        .unwrap_or_else(|| name.to_owned())
}

/// A name without the marks of ours or of the replaced connector.
#[must_use]
pub fn strip_mark(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || MARKS.contains(&c))
}

/// Text cut to so many UTF-16 units, on a character boundary.
#[must_use]
pub fn cut(text: &str, limit: usize) -> (&str, bool) {
    let mut units = 0;
    for (at, c) in text.char_indices() {
        units += c.len_utf16();
        if units > limit {
            return (text.get(..at).unwrap_or(text), true);
        }
    }
    (text, false)
}

/// Solutions one a line, as many as there is room for: half an id would name another solution.
fn whole_lines(ids: &BTreeSet<SolutionId>, limit: usize) -> (String, bool) {
    let mut text = String::new();
    for SolutionId(id) in ids {
        let longer = if text.is_empty() {
            id.clone()
        } else {
            format!("{text}\n{id}")
        };
        if cut(&longer, limit).1 {
            return (text, true);
        }
        text = longer;
    }
    (text, false)
}

fn lines(text: &str) -> Term {
    let ids: BTreeSet<_> = text
        .split(['\n', '\r', ',', ';'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| SolutionId(line.to_owned()))
        .collect();
    if ids.is_empty() {
        Term::Nothing
    } else {
        Term::Solutions(ids)
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

fn member(row: &Row, email: &str, phone: &str) -> Member {
    let text = |column| row.text(column).unwrap_or_default().trim().to_owned();
    let phone_number = Some(text(phone))
        .filter(|phone| !phone.is_empty())
        .unwrap_or_else(|| text("mobilephone"));
    Member {
        first_name: text("firstname"),
        last_name: text("lastname"),
        phone_number,
        email: text(email),
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
            .find(|field| field.as_str() == deal && *field != Field::Stage);
        let rule = read_field(&mut section, field, prefix, problems);
        section.finish(problems);
        match field {
            None if deal.is_empty() => {}
            None => problems.add(
                &span,
                format!("{deal:?} is not a deal field; known: name, value, close_date, notes, visibility, solutions"),
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
        Field::Name | Field::Notes | Field::Stage => Kind::Text,
        Field::Value => Kind::Money,
        Field::CloseDate => Kind::Date,
        Field::Visibility => Kind::Flag,
        Field::Solutions => Kind::Lines,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_mapping_is_valid() {
        let mapping = Mapping::parse(DEFAULT).unwrap();
        assert_eq!(mapping.columns.audit, "cosell_audit");
        assert_eq!(mapping.rule(Field::Value).unwrap().column, "estimatedvalue");
        assert!(mapping.opportunity_query().contains("cosell_syncwithpartnercenter"));
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_lines() {
        let broken = DEFAULT
            .replace("kind = \"money\"", "kind = \"gold\"")
            .replace(
                "owner = \"dynamics\"\nrequired = false",
                "owner = \"nobody\"\nrequired = 1",
            )
            .replace("stage = \"won\"", "stage = \"winning\"")
            .replace("\"France\" = \"FR\"", "\"France\" = \"France\"\nx = 1")
            .replace("version = 1", "version = 1\ncolour = 3");
        let InvalidMapping(problems) = Mapping::parse(&broken).unwrap_err();
        let texts: Vec<_> = problems.iter().map(|problem| problem.text.as_str()).collect();
        for part in ["gold", "nobody", "true or false", "winning", "two-letter", "colour"] {
            assert!(texts.iter().any(|text| text.contains(part)), "{part} in {texts:?}");
        }
        let colour = problems.iter().find(|problem| problem.text.contains("colour")).unwrap();
        assert_eq!(broken.lines().nth(colour.line - 1), Some("colour = 3"));
    }

    #[test]
    fn what_is_not_toml_is_one_problem_with_its_line() {
        let InvalidMapping(problems) = Mapping::parse("version = 1\nprefix = \n").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, 2);
    }

    #[test]
    fn marks_are_stripped_wherever_they_stand() {
        for name in [
            "✔ Deal",
            "✘ Deal",
            "Deal ✔",
            "✅ Deal",
            "✔\u{fe0f} Deal",
            "  Deal  ",
            "✔ ✘ Deal",
        ] {
            assert_eq!(strip_mark(name), "Deal", "{name}");
        }
        assert_eq!(strip_mark("A ✔ B"), "A ✔ B");
    }

    #[test]
    fn text_is_cut_on_a_character_boundary_in_utf16_units() {
        assert_eq!(cut("naïve", 3), ("naï", true));
        assert_eq!(cut("a😀b", 2), ("a", true));
        assert_eq!(cut("a😀b", 3), ("a😀", true));
        assert_eq!(cut("a😀b", 4), ("a😀b", false));
    }
}
