//! Settings as people mistype them.

use fuzz::proptest::prelude::{prop_assert, prop_assert_eq};
use fuzz::proptest::sample::select;

use super::*;

/// Stands where a password or a key does.
const KEY: &str = "Kq7Secret";

fn urls() -> [String; 8] {
    [
        "https://aldermoor.crm4.dynamics.com".to_owned(),
        "https://aldermoor.api.crm.dynamics.com/".to_owned(),
        "http://127.0.0.1:8080".to_owned(),
        "http://[::1]:9/".to_owned(),
        "https://prod-12.westeurope.logic.azure.com:443/workflows/x/triggers/manual?sig=Kq7Secret&owner=staging-1"
            .to_owned(),
        "https://user:Kq7Secret@host.example/path".to_owned(),
        "https://sqs.eu-west-1.amazonaws.com/000000000000/hints.fifo".to_owned(),
        "https://crm.dynamics.com.example.org".to_owned(),
    ]
}

/// Whether a URL is written with https, or with http to this machine; told from its text.
fn is_safe(text: &str) -> bool {
    let host = text
        .strip_prefix("http://")
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let local = |host: &str| {
        host.starts_with("127.") || host.starts_with("[::1]") || host.split(':').next() == Some("localhost")
    };
    text.starts_with("https://") || host.is_some_and(local)
}

#[test]
fn a_root_that_is_accepted_is_scheme_host_and_port() {
    fuzz::check("settings: roots", file!(), 5_000, fuzz::text(urls()), |text| {
        if let Ok(endpoint) = Endpoint::parse(&text) {
            let root = endpoint.as_str();
            prop_assert!(is_safe(root), "{root}");
            prop_assert_eq!(root.matches('/').count(), 2, "{}", root);
            prop_assert!(!root.contains(['@', '?', '#', '\\', ' ']), "{root}");
            let again = Endpoint::parse(root).unwrap();
            prop_assert_eq!(again.as_str(), root);
            prop_assert_eq!(again, endpoint);
        }
        if let Ok(endpoint) = Endpoint::parse_dataverse(&text) {
            let root = endpoint.as_str();
            let host = root.trim_start_matches("https://");
            let microsofts = [
                ".dynamics.com",
                ".microsoftdynamics.us",
                ".appsplatform.us",
                ".dynamics.cn",
            ];
            let foreign = root.starts_with("https://") && !microsofts.iter().any(|end| host.ends_with(end));
            prop_assert!(
                !foreign || host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]"),
                "{root}"
            );
        }
        Ok(())
    });
}

#[test]
fn of_a_url_nothing_is_shown_that_may_be_a_key() {
    fuzz::check("settings: shown URLs", file!(), 5_000, fuzz::text(urls()), |text| {
        // The first key stands behind the first mark that ends a path.
        let hidden = text
            .split_once(['?', '#'])
            .is_some_and(|(before, _)| !before.contains(KEY));
        for shown in [public_part(&text), public_webhook(&text)] {
            prop_assert!(!hidden || !shown.contains(KEY), "{shown}");
            prop_assert!(shown.chars().count() <= 200 + 10 + LONGEST_OWNER);
        }
        if let Ok(url) = WebhookUrl::parse(&text) {
            prop_assert!(url.is_spelled(&text) && WebhookUrl::parse(url.as_str()).is_ok_and(|again| again == url));
            prop_assert!(url.owner().is_none_or(|mark| (1..=LONGEST_OWNER).contains(&mark.len())));
        }
        if let Ok(url) = queue_url(&text) {
            prop_assert!(is_safe(url.as_str()) && url.path().ends_with(".fifo"), "{url}");
        }
        Ok(())
    });
}

#[test]
fn a_setting_that_is_refused_is_named_and_shows_no_key() {
    let names = select(vec![
        "QUEUE_URL",
        "LINKS_TABLE",
        "ENTRA_URL",
        "PARTNER_TENANT_ID",
        "DATAVERSE_URL",
        "DRY_RUN",
        "PAUSED",
        "SETTLE_SECONDS",
        "WORKERS",
        "WAITS_PERCENT",
    ]);
    let good = |name: &str| {
        Some(match name {
            "QUEUE_URL" => "https://sqs.eu-west-1.amazonaws.com/000000000000/hints.fifo",
            "LINKS_TABLE" | "AUDIT_TABLE" | "PARTNER_CENTER_SECRET" | "DATAVERSE_SECRET" => "name",
            "PARTNER_TENANT_ID" => "7c1f5a52-9d6e-4b0c-a2ad-6f3b6f0d8e11",
            "DATAVERSE_URL" => "https://aldermoor.crm4.dynamics.com",
            "AWS_REGION" => "eu-west-1",
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "test",
            _ => return None,
        })
    };
    let others = ["true", "none", "600", "7c1f5a52-9d6e-4b0c-a2ad-6f3b6f0d8e11"].map(str::to_owned);
    let cases = (names, fuzz::text(urls().into_iter().chain(others)));
    fuzz::check("settings", file!(), 300, cases, |(variable, value)| {
        let lookup = |name: &str| {
            if name == variable {
                Some(value.clone())
            } else {
                good(name).map(str::to_owned)
            }
        };
        match Sync::load(&lookup) {
            Ok(settings) => {
                prop_assert!((1..=86_400).contains(&settings.settle.as_secs()));
                prop_assert!((1..=100).contains(&settings.waits_percent));
            }
            Err(error) => {
                let said = error.to_string();
                prop_assert!(said.contains(variable), "{said}");
                prop_assert!(said.chars().count() <= 1_600, "{said}");
                let (key, mark) = (value.find(KEY), value.find(['?', '#', '@']));
                let hidden = value.contains('@') || key.zip(mark).is_some_and(|(key, mark)| mark < key);
                prop_assert!(!hidden || !said.contains(KEY), "{said}");
            }
        }
        Ok(())
    });
}
