//! Links that a vendor gives us to follow, with our token.

use fuzz::proptest::prelude::prop_assert;

use super::*;
use crate::testing::{Stage, limits};

const ROOT: &str = "https://aldermoor.crm4.dynamics.com";

#[tokio::test]
async fn a_link_is_followed_only_to_our_own_root_and_path() {
    let stage = Stage::bare().await;
    let http = stage.http_at(Vendor::Dataverse, Endpoint::parse(ROOT).unwrap(), limits());
    let corpus = [
        format!("{ROOT}/api/data/v9.2/opportunities?$select=name&$skiptoken=%3Ccookie%3E"),
        format!("{ROOT}:443/api/data/v9.2/opportunities?$deltatoken=5128801%2103%2f02"),
        "https://user:word@aldermoor.crm4.dynamics.com/api/data/x".to_owned(),
        "https://aldermoor.crm4.dynamics.com.example.com/api/data/x".to_owned(),
        "https://aldermoor.crm4.dynamics.com/api/data/../../other".to_owned(),
        "http://aldermoor.crm4.dynamics.com/api/data/x".to_owned(),
        "//aldermoor.crm4.dynamics.com/api/data/x".to_owned(),
    ];
    fuzz::check("links of pages", file!(), 5_000, fuzz::text(corpus), |link| {
        match http.checked(&link, "/api/data/") {
            Ok(url) => {
                // Told from the text that is sent, not from the parts the parser sees in it.
                let rest = url
                    .as_str()
                    .strip_prefix(ROOT)
                    .and_then(|rest| rest.strip_prefix("/api/data/"));
                let path = rest.map(|rest| rest.split(['?', '#']).next().unwrap_or_default());
                prop_assert!(path.is_some(), "{url}");
                let climbs = |part: &str| matches!(part.to_lowercase().as_str(), ".." | "%2e%2e" | ".%2e" | "%2e.");
                prop_assert!(!path.unwrap_or_default().split(['/', '\\']).any(climbs), "{url}");
            }
            Err(error) => {
                let said = error.to_string();
                prop_assert!(said.chars().count() <= 300 && !said.contains("word@"), "{said}");
            }
        }
        Ok(())
    });
}
