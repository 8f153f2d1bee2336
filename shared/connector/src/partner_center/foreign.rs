//! Pages of referrals in any form, and links that lead round in circles.

use std::sync::{Arc, Mutex};

use fuzz::proptest::prelude::prop_assert;
use tokio::runtime::Runtime;
use wiremock::matchers::{method, path_regex};
use wiremock::{Mock, ResponseTemplate};

use super::*;
use crate::http::Vendor;
use crate::testing::{Stage, limits, text};

/// Runs on its own runtime, because the runner is not asynchronous.
#[test]
fn a_list_of_referrals_ends_whatever_its_pages_say() {
    let runtime = Runtime::new().unwrap();
    let (stage, answer, asked) = runtime.block_on(async {
        let stage = Stage::forgetful().await;
        let (answer, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(Mutex::new(Vec::new())));
        let (shared, noted) = (Arc::clone(&answer), Arc::clone(&asked));
        Mock::given(method("GET"))
            .and(path_regex("^/v1.0/"))
            .respond_with(move |request: &wiremock::Request| -> ResponseTemplate {
                noted.lock().unwrap().push(request.url.path().to_owned());
                text(200, &shared.lock().unwrap())
            })
            .mount(&stage.server)
            .await;
        (stage, answer, asked)
    });
    let mut limits = limits();
    limits.answer = 1024 * 1024;
    let client = PartnerCenter::new(stage.http_at(Vendor::PartnerCenter, stage.endpoint(), limits));
    let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let corpus = fuzz::fixtures("partner-center")
        .into_iter()
        .filter(|text| text.contains("@odata.count"));
    let corpus: Vec<String> = corpus.collect();
    fuzz::check("pages of referrals", file!(), 300, fuzz::json(corpus), |page| {
        answer.lock().unwrap().clone_from(&page);
        asked.lock().unwrap().clear();
        let outcome = runtime.block_on(async {
            let mut updates = client.updated_since(since);
            let mut seen = Vec::new();
            while let Some(page) = updates.next_page().await? {
                seen.extend(page);
            }
            Ok::<_, Error>(seen)
        });
        match outcome {
            Ok(seen) => {
                let known = page.to_lowercase();
                let is_named = |summary: &Summary| known.contains(&summary.id.to_string()) || known.contains("\\u");
                prop_assert!(seen.iter().all(is_named));
            }
            Err(error) => {
                let said = http::chain(&error);
                prop_assert!(said.chars().count() <= 600, "{said}");
                prop_assert!(!said.contains("Northbay") && !said.contains("@northbay"), "{said}");
            }
        }
        // The same page always links to the same next one: at most it is asked for once more.
        let asked = asked.lock().unwrap();
        prop_assert!(asked.len() <= 2, "{} requests", asked.len());
        prop_assert!(asked.iter().all(|path| path == PATH), "{asked:?}");
        Ok(())
    });
}
