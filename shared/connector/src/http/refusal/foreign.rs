//! Refusals in any form: error bodies, statuses and waits that no documentation shows.

use fuzz::proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof};
use fuzz::proptest::sample::select;
use reqwest::header::HeaderValue;

use super::*;
use crate::http::Vendor;

/// Codes are cut to 64 characters, and there are three names for them on each level of nesting.
const MOST_CODES: usize = 3 * (2 * NESTING + 1);

fn errors() -> Vec<String> {
    let folders = ["dataverse", "partner-center", "webhooks"].into_iter();
    let documents = folders.flat_map(fuzz::fixtures).filter(|text| text.contains("rror"));
    let gateways = [
        r#"{"statusCode":429,"message":"Rate limit is exceeded. Try again in 20 seconds."}"#,
        r#"{"error":{"code":-2147015902,"message":"decimal","innererror":{"error":{"code":"b","innerError":{"code":"c"}}}}}"#,
        r#""just words""#,
    ];
    documents.chain(gateways.map(str::to_owned)).collect()
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => fuzz::json(errors()).prop_map(String::into_bytes),
        1 => fuzz::bytes(errors().into_iter().chain(["<html><body>502</body></html>".to_owned()])),
    ]
}

fn waits() -> impl Strategy<Value = Vec<u8>> {
    fuzz::bytes([
        "37",
        "0",
        "86400",
        "18446744073709551615",
        "Fri, 01 Jan 2100 00:00:00 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
    ])
}

#[test]
fn a_refusal_is_always_read_and_what_is_kept_of_it_is_bounded() {
    let operation = Operation {
        vendor: Vendor::Dataverse,
        name: "the test",
    };
    let statuses = select(vec![
        302_u16, 400, 401, 403, 404, 409, 412, 413, 429, 500, 503, 507, 509, 599,
    ]);
    let cases = (bodies(), statuses, waits(), any::<bool>());
    fuzz::check("error bodies", file!(), 3_000, cases, |(body, status, wait, waits)| {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&wait)
            && waits
        {
            headers.insert(RETRY_AFTER, value);
        }
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = Refusal::read(operation, status, &headers, &body);
        prop_assert!(refusal.message.chars().count() <= MESSAGE_CHARS);
        prop_assert!(refusal.codes.len() <= MOST_CODES, "{} codes", refusal.codes.len());
        prop_assert!(
            refusal
                .codes
                .iter()
                .all(|code| (1..=64).contains(&code.chars().count()))
        );
        prop_assert!(refusal.retry_after.is_none_or(|wait| wait <= LONGEST_WAIT));
        if let Class::Transient { after: Some(after) } = refusal.class() {
            let seconds = after.as_secs();
            prop_assert!((0..=86_400).contains(&seconds), "{seconds}");
        }
        if body.trim_ascii_start().starts_with(b"<") {
            prop_assert!(refusal.message.starts_with('('), "a page is repeated");
        }
        prop_assert!(!refusal.is_structured || body.windows(6).any(|part| part == b"\"code\""));
        // A text that goes to logs and audit.
        prop_assert!(refusal.to_string().chars().count() <= MESSAGE_CHARS + MOST_CODES * 65 + 300);
        prop_assert_eq!(Refusal::read(operation, status, &headers, &body).codes, refusal.codes);
        Ok(())
    });
}

#[test]
fn a_wait_is_the_number_that_was_named_and_never_longer_than_a_day() {
    fuzz::check("retry-after", file!(), 5_000, waits(), |text| {
        let Ok(value) = HeaderValue::from_bytes(&text) else {
            return Ok(());
        };
        let wait = named_wait(&HeaderMap::from_iter([(RETRY_AFTER, value)]));
        prop_assert!(wait.is_none_or(|wait| wait <= LONGEST_WAIT));
        let digits = text.trim_ascii();
        if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && digits.len() < 20 {
            let number = digits
                .iter()
                .fold(0_u128, |number, digit| number * 10 + u128::from(digit - b'0'));
            let expected = u64::try_from(number.min(86_400)).unwrap();
            prop_assert_eq!(wait, Some(Duration::from_secs(expected)));
        }
        if wait.is_some() {
            prop_assert!(digits.iter().any(u8::is_ascii_digit), "a wait without a digit");
        }
        Ok(())
    });
}
