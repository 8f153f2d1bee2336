//! Generated records: every field, with the values that people and vendors really leave there.
//!
//! Knows: what a vendor may hold. Refuses to know: what we make of it.

use std::collections::BTreeSet;

use cosell::amount::Amount;
use cosell::deal::{Currency, Field, Side, Term, Terms};
use cosell::ids::ReferralId;
use cosell::mapping::{self, Owner};
use cosell::opportunity::{Cell, Row};
use jiff::Timestamp;
use jiff::civil::Date;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{select, subsequence};
use uuid::Uuid;

use model::vendors::{self, ReferralRecord, RowRecord};

/// What Partner Center may print as status and substatus.
pub(crate) const STATUSES: [(&str, &str); 9] = [
    ("New", "Pending"),
    ("New", "Received"),
    ("Active", "Accepted"),
    ("Closed", "Won"),
    ("Closed", "Lost"),
    ("Closed", "Declined"),
    ("Closed", "Expired"),
    ("Closed", "Error"),
    ("Paused", "Thinking"),
];

/// State and status reason of an opportunity; 9 is a reason that a customer added.
pub(crate) const STATES: [(i64, i64); 7] = [(0, 1), (0, 2), (0, 9), (1, 3), (2, 4), (2, 5), (7, 1)];

/// Pieces that texts are made of: what trips over bytes, UTF-16 units, marks, line ends and separators.
const PIECES: [&str; 20] = [
    "a",
    "deal",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "é",
    "e\u{301}",
    "😀",
    "👩‍👩‍👧",
    "𝒳",
    "ß",
    "漢",
    "✔",
    "✘ ",
    "✅\u{fe0f}",
    ",",
    ";",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => vec(select(&PIECES[..]), 0..8).prop_map(|pieces| pieces.concat()),
        1 => long(300),
        1 => long(2000),
    ]
}

/// Text around a limit, with something in it that may not be cut through.
fn long(limit: usize) -> impl Strategy<Value = String> {
    (vec(select(&PIECES[..]), 1..6), limit - 12..limit + 12).prop_map(|(pieces, length)| {
        let tail = pieces.concat();
        let body = "x".repeat(length.saturating_sub(tail.len()));
        body + &tail.repeat(2)
    })
}

fn no_longer_than(limit: usize, text: &str) -> String {
    mapping::cut(text, limit).0.to_owned()
}

fn amount() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (any::<bool>(), 0_u64..1_000_000_000_000, vec(0_u8..10, 0..14)).prop_map(|(negative, whole, digits)| {
            let digits: String = digits.iter().map(ToString::to_string).collect();
            let sign = if negative { "-" } else { "" };
            if digits.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{digits}") }
        }),
        1 => select(&["0", "0.005", "1.005", "2.675", "1e3", "1.250005e5", "100.10", "999999999999.99"][..]).prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => amount(),
        1 => Just("null".to_owned()),
        1 => amount().prop_map(|amount| format!("\"{amount}\"")),
        1 => select(&[r#""a lot""#, "{}", "true", "0.12345678901234567890123456789012"][..]).prop_map(str::to_owned),
    ]
}

fn code() -> impl Strategy<Value = String> {
    select(&["EUR", "USD", "JPY", "KWD", "eur ", "XXX", " "][..]).prop_map(str::to_owned)
}

fn date() -> impl Strategy<Value = Date> {
    (2000_i16..2100, 1_i8..=12, 1_i8..=28).prop_map(|(year, month, day)| jiff::civil::date(year, month, day))
}

fn closing() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => date().prop_map(|date| format!("{date}T00:00:00Z")),
        1 => date().prop_map(|date| format!("{date}T23:59:59.9999999Z")),
        1 => date().prop_map(|date| format!("{date}T00:00:00+02:00")),
        1 => date().prop_map(|date| date.to_string()),
        1 => select(&["", "soon"][..]).prop_map(str::to_owned),
    ]
}

fn solution() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0_u8..6).prop_map(|number| format!("SOL-{number}")),
        1 => select(&["Azure, Data", " SOL-7 ", "", "A;B", "Modern\nWork", "漢😀"][..]).prop_map(str::to_owned),
        1 => (0_u8..9).prop_map(|number| format!("SOL-{number}-{}", "y".repeat(900))),
    ]
}

/// People as a list of the referral may hold them.
fn members() -> impl Strategy<Value = Vec<String>> {
    let member = select(
        &[
            r#"{"firstName":"Ada","lastName":"Hall","email":"ada@partner.example","phoneNumber":"1","title":"Dr"}"#,
            r#"{"firstName":"Ben","email":"BEN@partner.example"}"#,
            r#"{"firstName":"Nobody","email":null}"#,
        ][..],
    );
    vec(member.prop_map(str::to_owned), 0..4)
}

/// The owner of a row: nobody, a person, the application itself.
fn owner_of_row() -> impl Strategy<Value = Cell> {
    let user = |json: &str| Cell::Row(Box::new(serde_json::from_str::<Row>(json).unwrap()));
    select(vec![
        Cell::Null,
        user(
            r#"{"firstname":"Ada","lastname":"Hall","internalemailaddress":"ada@partner.example","mobilephone":"2","applicationid":null}"#,
        ),
        user(r#"{"firstname":"Cy","lastname":"Low","internalemailaddress":"cy@partner.example"}"#),
        user(
            r##"{"firstname":"#","lastname":"co-sell","internalemailaddress":"app@partner.example","applicationid":"00000000-0000-0000-0000-0000000000aa"}"##,
        ),
    ])
}

/// A referral as Partner Center may hold it.
pub(crate) fn referral() -> impl Strategy<Value = ReferralRecord> {
    let terms = (
        option::of(text()),
        value(),
        option::of(code()),
        option::of(closing()),
        option::of(text()),
    );
    let visible = select(&["true", "false", "null", r#""maybe""#][..]);
    let solutions = (vec(solution(), 0..6), option::of(text()), members());
    let reference = option::weighted(
        0.3,
        select(&["CRM-77", " ", "00000000-0000-0000-0000-000000000002"][..]),
    );
    (
        terms,
        select(&STATUSES[..]),
        option::of(text()),
        visible,
        solutions,
        reference,
    )
        .prop_map(
            |((name, value, currency, closing, notes), (status, substatus), reason, visible, solutions, reference)| {
                let id = ReferralId::new(Uuid::from_u128(3));
                ReferralRecord {
                    name,
                    reference: reference.map(str::to_owned),
                    status: status.to_owned(),
                    substatus: substatus.to_owned(),
                    reason,
                    value,
                    currency,
                    closing,
                    notes,
                    visible: visible.to_owned(),
                    program: solutions.1,
                    team: solutions.2,
                    solutions: solutions
                        .0
                        .iter()
                        .map(|id| format!(r#"{{"id":{},"extra":[1]}}"#, serde_json::to_string(id).unwrap()))
                        .collect(),
                    ..ReferralRecord::active(id, Timestamp::UNIX_EPOCH)
                }
            },
        )
}

/// An opportunity as Dynamics may hold it.
pub(crate) fn row() -> impl Strategy<Value = RowRecord> {
    let name = (select(&["Deal", "✔ Deal", "✘ Deal ", "漢"][..]), text());
    let money = (
        option::weighted(0.9, amount()),
        select(&["EUR", "USD", "JPY", "KWD"][..]),
    );
    let visible = select(&[Cell::Null, Cell::Flag(true), Cell::Flag(false)][..]);
    let solutions = option::of(vec((solution(), select(&["\n", ",", "; ", "\r\n", "\n\n"][..])), 0..6));
    let visible = (visible, owner_of_row(), option::of(text()));
    (
        name,
        money,
        option::of(date()),
        option::of(text()),
        visible,
        solutions,
        select(&STATES[..]),
        option::of(text()),
    )
        .prop_map(
            |((first, rest), (value, code), date, notes, visible, solutions, (state, reason), why)| {
                let mut row = RowRecord::open();
                let mut set = |column: &str, cell: Cell| row.cells.insert(column.to_owned(), cell);
                let text = |limit, text: Option<String>| {
                    let text = text
                        .map(|text| no_longer_than(limit, &text))
                        .filter(|text| !text.is_empty());
                    text.map_or(Cell::Null, Cell::Text)
                };
                set("name", text(300, Some(format!("{first}{rest}"))));
                set("description", text(2000, notes));
                set(
                    "estimatedclosedate",
                    date.map_or(Cell::Null, |date| Cell::Text(date.to_string())),
                );
                let (visible, owner, program) = visible;
                set("cosell_referralvisibility", visible);
                set("owninguser", owner);
                set("cosell_referralprogram", text(100, program));
                let solutions =
                    solutions.map(|ids| ids.iter().map(|(id, end)| format!("{id}{end}")).collect::<String>());
                set("cosell_solutions", text(4000, solutions));
                set("cosell_closereason", text(200, why));
                set("transactioncurrencyid", vendors::currency_row(code).unwrap());
                let digits = vendors::currency(code).map_or(2, |(_, digits)| digits);
                let value = value.map(|value| value.parse::<Amount>().unwrap().rounded(digits));
                set("estimatedvalue", value.map_or(Cell::Null, Cell::Number));
                set_state(&mut row, state, reason);
                row
            },
        )
}

/// Puts a row into a state, as a person would with the form.
pub(crate) fn set_state(row: &mut RowRecord, state: i64, reason: i64) {
    row.cells.insert("statecode".to_owned(), vendors::number(state));
    row.cells.insert("statuscode".to_owned(), vendors::number(reason));
}

/// Some fields.
pub(crate) fn fields() -> impl Strategy<Value = BTreeSet<Field>> {
    subsequence(&Field::ALL[..], 0..=Field::ALL.len()).prop_map(|fields| fields.into_iter().collect())
}

/// The mark that a name carries.
pub(crate) fn mark() -> impl Strategy<Value = Option<char>> {
    select(&[None, Some('✔'), Some('✘')][..])
}

/// Who wins.
pub(crate) fn owner() -> impl Strategy<Value = Owner> {
    select(
        &[
            Owner::Manual,
            Owner::Side(Side::Dynamics),
            Owner::Side(Side::PartnerCenter),
        ][..],
    )
}

/// Terms of an accepted deal that both sides hold alike: no limit is near, and nothing is missing.
pub(crate) fn plain_terms() -> impl Strategy<Value = Terms> {
    let texts = select(&["one", "two", "three"][..]);
    (0_u8..3, select(&["EUR", "USD"][..]), 1_i8..4, texts).prop_map(|(amount, code, day, notes)| {
        let mut terms = Terms::default();
        let currency = Currency::parse(code);
        terms.set(
            Field::Value,
            Term::Money {
                amount: amount.to_string().parse().unwrap(),
                currency,
            },
        );
        terms.set(Field::CloseDate, Term::Date(jiff::civil::date(2026, 5, day)));
        terms.set(Field::Notes, Term::text(Some(notes)));
        terms.set(Field::Stage, Term::stage(cosell::stage::Stage::Active, None));
        terms
    })
}

/// Edits one field of a referral to what another says.
pub(crate) fn take_referral(field: Field, from: &ReferralRecord, to: &mut ReferralRecord) {
    match field {
        Field::Name => to.name.clone_from(&from.name),
        Field::Value => {
            to.value.clone_from(&from.value);
            to.currency.clone_from(&from.currency);
        }
        Field::CloseDate => to.closing.clone_from(&from.closing),
        Field::Notes => to.notes.clone_from(&from.notes),
        Field::Stage => {
            to.status.clone_from(&from.status);
            to.substatus.clone_from(&from.substatus);
            to.reason.clone_from(&from.reason);
        }
        Field::Visibility => to.visible.clone_from(&from.visible),
        Field::Solutions => to.solutions.clone_from(&from.solutions),
        Field::SalesStage => to.sales_stage.clone_from(&from.sales_stage),
        Field::Campaign => to.campaign.clone_from(&from.campaign),
        Field::Program => to.program.clone_from(&from.program),
        Field::Team => to.team.clone_from(&from.team),
        Field::Contacts => to.customer.clone_from(&from.customer),
    }
}

/// Edits one field of a row to what another says.
pub(crate) fn take_row(field: Field, from: &RowRecord, to: &mut RowRecord) {
    let columns: &[&str] = match field {
        Field::Name => &["name"],
        Field::Value => &["estimatedvalue", "transactioncurrencyid"],
        Field::CloseDate => &["estimatedclosedate"],
        Field::Notes => &["description"],
        Field::Stage => &["statecode", "statuscode", "cosell_closereason"],
        Field::Visibility => &["cosell_referralvisibility"],
        Field::Solutions => &["cosell_solutions"],
        Field::SalesStage => &["salesstage"],
        Field::Campaign => &["cosell_campaign"],
        Field::Program => &["cosell_referralprogram"],
        Field::Team => &["owninguser"],
        Field::Contacts => &["parentcontactid"],
    };
    for column in columns {
        if let Some(cell) = from.cells.get(*column) {
            to.cells.insert((*column).to_owned(), cell.clone());
        }
    }
}
