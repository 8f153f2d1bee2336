//! Foreign bytes for all that the core reads: events, hints, ids, amounts, dates, referrals, rows and mapping files.
//!
//! Knows: what has to hold for whatever is read or refused. Refuses to know examples; those stand beside each reader.

use fuzz::proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq};
use fuzz::proptest::test_runner::TestCaseResult;
use jiff::civil::Date;
use uuid::Uuid;

use crate::amount::Amount;
use crate::deal::{Field, Term, Terms};
use crate::hint::{Cause, Hint, Subject};
use crate::ids::{LeadId, OpportunityId, ReferralId};
use crate::mapping::{self, InvalidMapping, Mapping};
use crate::notice::{self, Notice};
use crate::opportunity::{Cell, Row, RowChange};
use crate::referral::{Reference, Referral};

/// What a text that is kept to be shown may have at most: 200 characters, and what `Debug` adds.
const SHOWN: usize = 300;

/// What an error may say at most.
const SAID: usize = 500;

const MSFT: &str = include_str!("../../../tests/tests/other_crm/msft.toml");

fn hints() -> Vec<String> {
    let id = Uuid::from_u128(0x8a0c_9f34_41d7_4d2e_9c58_6b1f_0e7d_2a10);
    let at = "2026-01-28T09:14:09.5510217Z".parse().unwrap();
    let hints = [
        Hint::new(Subject::Referral(ReferralId::new(id)), Cause::ReferralUpdated).changed_at(at),
        Hint::new(Subject::Opportunity(OpportunityId::new(id)), Cause::DynamicsPoll),
        Hint::new(Subject::Lead(LeadId::new(id)), Cause::Compare),
    ];
    hints.iter().map(|hint| hint.to_json().unwrap()).collect()
}

/// Whether a text is a GUID as vendors print it, told without the reader under test.
fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[test]
fn a_hint_is_canonical_and_of_the_group_of_the_record_it_names() {
    fuzz::check("queue messages", file!(), 3_000, fuzz::json(hints()), |text| {
        match Hint::from_json(&text) {
            Ok(hint) => {
                let again = Hint::from_json(&hint.to_json().unwrap()).unwrap();
                prop_assert_eq!(&again, &hint);
                let group = hint.group_id();
                prop_assert!(is_guid(&group) && group == group.to_lowercase(), "{group}");
                let (named, said) = (group.replace('-', ""), text.to_lowercase().replace('-', ""));
                prop_assert!(
                    said.contains(&named) || said.contains("\\u"),
                    "{group} is nowhere in it"
                );
            }
            Err(error) => {
                let said = error.to_string().chars().count();
                prop_assert!(said <= SAID, "{said} characters");
            }
        }
        Ok(())
    });
}

#[test]
fn hints_share_a_group_only_if_they_share_a_record() {
    let subject = |kind: u8, id: u128| match kind % 3 {
        0 => Subject::Referral(ReferralId::new(Uuid::from_u128(id))),
        1 => Subject::Opportunity(OpportunityId::new(Uuid::from_u128(id))),
        _ => Subject::Lead(LeadId::new(Uuid::from_u128(id))),
    };
    // Ids that differ in one bit, and the same one.
    let pairs = (any::<u128>(), 0..=128u32, any::<[u8; 2]>());
    fuzz::check("queue groups", file!(), 1_000, pairs, |(id, bit, kinds)| {
        let other = id ^ 1u128.checked_shl(bit).unwrap_or(0);
        let (one, two) = (subject(kinds[0], id), subject(kinds[1], other));
        let group = |subject| Hint::new(subject, Cause::Due).group_id();
        prop_assert_eq!(group(one) == group(two), id == other);
        prop_assert_eq!(one.own_link() == two.own_link(), id == other);
        Ok(())
    });
}

#[test]
fn an_id_is_a_printed_guid_and_nothing_else() {
    let corpus = [
        "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10",
        "8A0C9F34-41D7-4D2E-9C58-6B1F0E7D2A10",
        "{8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10}",
        "urn:uuid:8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10",
    ];
    fuzz::check("ids", file!(), 5_000, fuzz::text(corpus), |text| {
        match text.parse::<ReferralId>() {
            Ok(id) => {
                prop_assert!(is_guid(text.trim()), "no GUID was taken for one");
                prop_assert_eq!(id.to_string(), text.trim().to_lowercase());
            }
            Err(error) => {
                prop_assert!(!is_guid(text.trim()), "a GUID was refused");
                let said = error.to_string();
                prop_assert!(
                    said.starts_with("referral id ") && said.chars().count() <= 64 * 10 + 40,
                    "{said}"
                );
            }
        }
        Ok(())
    });
}

/// Sign, digits and power of ten of a decimal number, told without the reader under test; zeros at either end are left out.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let negative = mantissa.starts_with('-');
    let mantissa = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = all.trim_end_matches('0');
    let power = exponent - i64::try_from(fraction.len()).ok()? + i64::try_from(all.len() - significant.len()).ok()?;
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    Some((negative, significant.to_owned(), power))
}

fn amounts() -> [&'static str; 9] {
    [
        "0",
        "-12.50",
        "125000.5000",
        "1.250005e5",
        "1E-7",
        "123456789012345678.91",
        "79228162514264337593543950335",
        "0.0000000000000000000000000001",
        "1.0000000000000000000000000001e0",
    ]
}

#[test]
fn an_amount_is_exactly_the_number_that_was_written() {
    fuzz::check("amounts", file!(), 8_000, fuzz::text(amounts()), |text| {
        let said = text.trim();
        match said.parse::<Amount>() {
            Ok(amount) => {
                prop_assert_eq!(
                    decimal(&amount.to_string()),
                    decimal(said),
                    "{} is another number",
                    amount
                );
                let again: Amount = serde_json::from_str(&serde_json::to_string(&amount).unwrap()).unwrap();
                prop_assert_eq!(again, amount);
                prop_assert_eq!(again.to_string(), amount.to_string());
            }
            Err(error) => prop_assert!(error.to_string().chars().count() <= 64 * 10 + 60),
        }
        Ok(())
    });
}

/// The first eight digits of a text: of a date, year, month and day.
fn first_digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).take(8).collect()
}

#[test]
fn a_closing_date_is_the_day_that_was_written() {
    let corpus = [
        "2026-01-30T00:00:00Z",
        "2026-01-30",
        "2026-01-30T23:30:00.1234567-11:00",
        "20260130T000000Z",
        "2024-02-29T00:00:00+00:00[UTC]",
    ];
    fuzz::check("closing dates", file!(), 6_000, fuzz::text(corpus), |text| {
        let json = serde_json::json!({ "id": Uuid::nil(), "details": { "closingDateTime": text } }).to_string();
        let referral: Referral = serde_json::from_str(&json).unwrap();
        match Terms::from_referral(&referral).get(Field::CloseDate) {
            Term::Date(date) => {
                prop_assert_eq!(first_digits(&date.to_string()), first_digits(&text));
                prop_assert_eq!(date.to_string().parse::<Date>().unwrap(), *date);
            }
            Term::Nothing => prop_assert!(text.trim().is_empty()),
            Term::Unreadable(shown) => prop_assert!(shown.chars().count() <= SHOWN),
            other => prop_assert!(false, "{other:?}"),
        }
        Ok(())
    });
}

/// The ledger keeps terms as JSON: what was read of a document must come back as it was, and be in proportion to it.
fn keeps(terms: &Terms, document: &str) -> TestCaseResult {
    let json = serde_json::to_string(terms).unwrap();
    prop_assert_eq!(&serde_json::from_str::<Terms>(&json).unwrap(), terms);
    for field in Field::ALL {
        match terms.get(field) {
            Term::Unreadable(shown) => {
                // An escape such as `\u{200e}` is the most that is made of a character.
                prop_assert!(shown.len() <= 10 * document.len() + SHOWN, "{field}: {}", shown.len());
            }
            Term::Text(text) => {
                prop_assert_eq!(&Term::text(Some(text)), terms.get(field), "{} is not canonical", field)
            }
            _ => {}
        }
    }
    Ok(())
}

fn referrals() -> impl Iterator<Item = String> {
    let documents = fuzz::fixtures("partner-center").into_iter();
    documents.filter(|text| text.contains("\"id\"") && text.contains("\"status\"") && !text.contains("@odata.count"))
}

#[test]
fn a_strange_referral_becomes_terms_that_the_ledger_can_keep() {
    fuzz::check("referrals", file!(), 3_000, fuzz::json(referrals()), |text| {
        match serde_json::from_str::<Referral>(&text) {
            Ok(referral) => {
                keeps(&Terms::from_referral(&referral), &text)?;
                if let Reference::Foreign(reference) = referral.reference() {
                    prop_assert!(!is_guid(reference) && !reference.trim().is_empty());
                }
                for solution in &referral.details.requirements.solutions {
                    let printed = serde_json::to_string(solution).unwrap();
                    prop_assert!(text.contains(&printed), "a solution is not sent back as it came");
                    prop_assert!(solution.about().name.len() <= text.len());
                }
            }
            Err(error) => prop_assert!(error.line() > 0 || text.is_empty()),
        }
        Ok(())
    });
}

fn mappings() -> [Mapping; 2] {
    [mapping::DEFAULT, MSFT].map(|text| Mapping::parse(text).unwrap())
}

fn rows() -> impl Iterator<Item = String> {
    let children = r#"{"@odata.etag":"W/\"1\"","name":"✔ Deal","estimatedvalue":125000.5000,"statecode":0,"statuscode":1,
        "transactioncurrencyid":{"isocurrencycode":"EUR","currencyprecision":2},"estimatedclosedate":"2026-03-31",
        "cosell_solutions":"SOL-1\nSOL-2","cosell_howcanmicrosofthelp":727000001,"cosell_referralvisibility":true,
        "customerid_account":{"name":"A","address1_country":"Germany"},"cosell_opportunity_dealsolution":[{"cosell_solutionid":"SOL-1"}],
        "cosell_opportunity_dealsolution@odata.nextLink":"https://x/next"}"#;
    let documents = fuzz::fixtures("dataverse").into_iter();
    documents
        .filter(|text| text.contains("\"opportunityid\"") && !text.contains("\"value\""))
        .chain([children.to_owned()])
}

/// What is read of a row and written again reads the same, unless it has no column to be written to.
fn round_trip(mapping: &Mapping, row: &Row, document: &str) -> TestCaseResult {
    let terms = mapping.terms(row);
    keeps(&terms, document)?;
    prop_assert!(mapping.particulars(row).customer.name.len() <= document.len());
    for field in Field::ALL {
        let term = terms.get(field);
        if !term.is_readable() || matches!(field, Field::Stage | Field::Solutions) {
            continue;
        }
        let (mut change, mut written) = (RowChange::default(), row.clone());
        mapping.write(field, term, None, None, &mut change);
        for (column, cell) in change.cells() {
            written.set(column, cell.clone());
        }
        let afterwards = mapping.terms(&written);
        prop_assert_eq!(afterwards.get(field), term, "{} is another value once written", field);
    }
    Ok(())
}

fn depth(cell: &Cell) -> usize {
    let of_row = |row: &Row| 1 + row.cells().map(|(_, cell)| depth(cell)).max().unwrap_or(0);
    match cell {
        Cell::Row(row) => of_row(row),
        Cell::Rows(rows) => rows.iter().map(of_row).max().unwrap_or(0),
        Cell::Unreadable(shown) => {
            assert!(shown.chars().count() <= 200);
            0
        }
        Cell::Null | Cell::Flag(_) | Cell::Number(_) | Cell::Text(_) => 0,
    }
}

#[test]
fn a_genuine_body_becomes_a_hint_about_the_referral_it_names() {
    let events = fuzz::fixtures("webhooks")
        .into_iter()
        .filter(|text| text.contains("\"EventName\""));
    fuzz::check("event bodies", file!(), 4_000, fuzz::json(events), |body| {
        match notice::parse(body.as_bytes()) {
            Ok(Notice::Hint(hint)) => {
                let id = hint.group_id();
                prop_assert!(
                    body.to_lowercase().contains(&id) || body.contains("\\u"),
                    "{id} is nowhere in it"
                );
                prop_assert_eq!(Hint::from_json(&hint.to_json().unwrap()).unwrap(), hint);
            }
            Ok(Notice::Test) => prop_assert!(body.contains("test-created") || body.contains("\\u")),
            Ok(Notice::Foreign { name }) => prop_assert!(name.chars().count() <= 100),
            Err(error) => {
                let said = error.to_string();
                prop_assert!(said.len() <= 120, "{said}");
                let shown = format!("{error:?}");
                prop_assert!(shown.len() <= 120, "{shown}");
            }
        }
        Ok(())
    });
}

#[test]
fn a_strange_row_is_terms_that_survive_being_written() {
    let mappings = mappings();
    fuzz::check("rows", file!(), 2_000, fuzz::json(rows()), move |text| {
        match serde_json::from_str::<Row>(&text) {
            Ok(mut row) => {
                let deepest = row.cells().map(|(_, cell)| depth(cell)).max().unwrap_or(0);
                prop_assert!(deepest <= 8, "{deepest} rows stand in one another");
                for mapping in &mappings {
                    round_trip(mapping, &row, &text)?;
                }
                while let Some((list, link)) = row.take_more() {
                    prop_assert!(!list.is_empty() && text.len() > link.len());
                    row.append(list, vec![Row::default()]);
                }
            }
            // Its words are the parser's and are kept by nobody; its place is.
            Err(error) => prop_assert!(error.line() > 0 || text.is_empty()),
        }
        Ok(())
    });
}

#[test]
fn a_mapping_file_is_complete_or_every_problem_has_a_line_of_it() {
    let row: Row = serde_json::from_str(&rows().last().unwrap()).unwrap();
    let files = (fuzz::toml([mapping::DEFAULT, MSFT]), any::<bool>());
    let files = files.prop_map(|(text, windows)| if windows { text.replace('\n', "\r\n") } else { text });
    fuzz::check("mapping files", file!(), 1_000, files, move |text| {
        match Mapping::parse(&text) {
            Ok(mapping) => {
                for field in [Field::Name, Field::Value, Field::CloseDate] {
                    prop_assert!(mapping.rule(field).is_some(), "{field} is not mapped");
                }
                prop_assert!(mapping.wants().iter().all(|want| !want.column.trim().is_empty()));
                prop_assert!(
                    mapping
                        .referral_link(ReferralId::new(Uuid::nil()))
                        .starts_with("https://")
                );
                prop_assert!(mapping.opportunity_query().contains("statecode"));
                prop_assert!(mapping.unmapped().len() < Field::ALL.len());
                keeps(&mapping.terms(&row), &text)?;
            }
            Err(InvalidMapping(problems)) => {
                prop_assert!(!problems.is_empty());
                let lines = text.split('\n').count();
                for problem in &problems {
                    prop_assert!((1..=lines).contains(&problem.line), "{problem} of {lines} lines");
                    prop_assert!(!problem.text.trim().is_empty());
                }
            }
        }
        Ok(())
    });
}
