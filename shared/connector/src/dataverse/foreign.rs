//! What goes into a filter, and pages that come back.

use std::sync::{Arc, Mutex};

use cosell::mapping::{self, Mapping};
use fuzz::proptest::prelude::{any, prop_assert, prop_assert_eq};
use tokio::runtime::Runtime;
use wiremock::matchers::{method, path_regex};
use wiremock::{Mock, ResponseTemplate};

use super::*;
use crate::http::Vendor;
use crate::testing::{Stage, limits, text};

/// Decodes percent signs, told without the crate that wrote them.
fn decoded(query: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), query.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The string literals of a filter, and what stands around them, by the rule of OData: a quote in a literal is doubled.
fn literals(filter: &str) -> Option<(Vec<String>, String)> {
    let (mut found, mut around) = (Vec::new(), String::new());
    let mut rest = filter.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\'' {
            around.push(c);
            continue;
        }
        let mut literal = String::new();
        loop {
            match rest.next()? {
                '\'' if rest.next_if_eq(&'\'').is_some() => literal.push('\''),
                '\'' => break,
                c => literal.push(c),
            }
        }
        found.push(literal);
        around.push('?');
    }
    Some((found, around))
}

#[tokio::test]
async fn whatever_is_searched_for_stays_one_literal() {
    let stage = Stage::bare().await;
    let dataverse = Dataverse::new(stage.http(Vendor::Dataverse));
    let names = [
        "Söhne & O'Brien GmbH",
        "' or 1 eq 1 or name eq '",
        "100% #1 ?&$top=9",
        "a+b c\u{0}\u{7f}\\",
        "%27",
    ];
    let pairs = (fuzz::text(names), any::<String>());
    fuzz::check("filters", file!(), 4_000, pairs, |(name, code)| {
        let filter = format!(
            "name eq {} and address1_postalcode eq {}",
            literal(&name),
            literal(&code)
        );
        let url = dataverse.search("accounts", "accountid", &filter).unwrap();
        prop_assert!(url.fragment().is_none() && url.path() == "/api/data/v9.2/accounts");
        let parts: Vec<&str> = url.query().unwrap().split('&').collect();
        prop_assert_eq!(parts.len(), 3);
        let sent = parts[1].strip_prefix("$filter=").and_then(decoded).unwrap();
        let (found, around) = literals(&sent).unwrap();
        prop_assert_eq!(found, vec![name, code]);
        prop_assert_eq!(around, "name eq ? and address1_postalcode eq ?");
        Ok(())
    });
}

/// Runs on its own runtime, because the runner is not asynchronous.
#[test]
fn a_page_of_changes_is_read_or_refused_and_leads_nowhere_else() {
    const ROOT: &str = "https://aldermoor.crm4.dynamics.com";
    let runtime = Runtime::new().unwrap();
    let (stage, answer) = runtime.block_on(async {
        let stage = Stage::set().await;
        let answer = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&answer);
        Mock::given(method("GET"))
            .and(path_regex("^/api/"))
            .respond_with(move |_: &wiremock::Request| -> ResponseTemplate { text(200, &shared.lock().unwrap()) })
            .mount(&stage.server)
            .await;
        (stage, answer)
    });
    let mut limits = limits();
    limits.answer = 1024 * 1024;
    let dataverse = Dataverse::new(stage.http_at(Vendor::Dataverse, stage.endpoint(), limits));
    let root = stage.server.uri();
    let below = format!("{root}/api/data/");
    let mapping = Mapping::parse(mapping::DEFAULT).unwrap();
    let documents = fuzz::fixtures("dataverse")
        .into_iter()
        .filter(|text| text.contains("\"value\""));
    let corpus: Vec<String> = documents.map(|text| text.replace(ROOT, &root)).collect();
    fuzz::check("delta pages", file!(), 400, fuzz::json(corpus), |page| {
        answer.lock().unwrap().clone_from(&page);
        match runtime.block_on(dataverse.changes("opportunities", None, "name")) {
            Ok(read) => {
                for link in [&read.next, &read.delta].into_iter().flatten() {
                    let url = Url::parse(link).unwrap();
                    prop_assert!(url.as_str().starts_with(&below), "{link}");
                }
                prop_assert!(read.next.is_some() || read.delta.is_some());
                for row in &read.rows {
                    prop_assert_eq!(mapping.terms(row), mapping.terms(row));
                }
            }
            Err(error) => {
                let said = http::chain(&error);
                prop_assert!(said.chars().count() <= 600, "{said}");
                prop_assert!(!said.contains("W/"), "{said}");
                prop_assert!(!error.code().is_empty());
            }
        }
        Ok(())
    });
}
