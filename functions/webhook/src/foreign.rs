//! What strangers send: locations, events of the gateway; and settings as people mistype them.

use fuzz::proptest::prelude::{any, prop_assert, prop_assert_eq};
use fuzz::proptest::sample::select;

use crate::Post;
use crate::fetch::{self, Hosts};
use crate::settings::Settings;

const VENDOR: &str = "3psostorageacct.blob.core.windows.net";

fn locations() -> [String; 9] {
    [
        format!("https://{VENDOR}/cert/pcnotifications-dispatch.microsoft.com.cer"),
        "http://127.0.0.1:8080/cert/a.cer".to_owned(),
        format!("https://{VENDOR}:443/cert/a.cer"),
        format!("https://{VENDOR}@evil.example/cert/a.cer"),
        format!("https://evil.example/cert/https://{VENDOR}/cert/a.cer"),
        format!("https://{VENDOR}/cert/../../a.cer?x=/cert/a.cer#/cert/a.cer"),
        format!("https:\\\\{VENDOR}\\cert\\a.cer"),
        format!("https://{VENDOR}.evil.example/cert/%2e%2e/a.cer"),
        "http://www.microsoft.com/pkiops/certs/Microsoft%20TLS%20xsign.crt".to_owned(),
    ]
}

/// Scheme, authority and path of a text, split by hand at the first places where they can end.
fn parts(text: &str) -> Option<(String, String, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '\\', '?', '#'])?;
    let (authority, path) = rest.split_at_checked(end)?;
    Some((scheme.to_ascii_lowercase(), authority.to_ascii_lowercase(), path))
}

#[test]
fn a_certificate_is_fetched_from_a_listed_place_and_from_nowhere_else() {
    let hosts = Hosts::parse(&format!("{VENDOR}, 127.0.0.1:8080")).unwrap();
    fuzz::check(
        "certificate locations",
        file!(),
        8_000,
        fuzz::text(locations()),
        |text| {
            if let Some(url) = fetch::certificate_location(&text, &hosts) {
                prop_assert!(url.as_str().eq_ignore_ascii_case(&text), "{url} is fetched");
                let (scheme, authority, path) = parts(&text).unwrap();
                let listed = (scheme == "https" && authority == VENDOR)
                    || (matches!(&*scheme, "http" | "https") && authority == "127.0.0.1:8080");
                prop_assert!(listed, "{scheme} {authority}");
                let name = path
                    .strip_prefix("/cert/")
                    .and_then(|name| name.strip_suffix(".cer"))
                    .unwrap_or_default();
                let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                prop_assert!(!name.is_empty() && name.chars().all(plain), "{path}");
            }
            prop_assert!(fetch::host_of(&text).is_none_or(|host| host.chars().count() <= 253));
            Ok(())
        },
    );
}

#[test]
fn an_issuer_is_fetched_from_a_listed_host_and_from_nowhere_else() {
    let hosts = Hosts::parse("www.microsoft.com,caissuers.microsoft.com:8081").unwrap();
    let corpus = locations()
        .into_iter()
        .chain(["https://caissuers.microsoft.com:8081/a.CER".to_owned()]);
    fuzz::check("issuer locations", file!(), 5_000, fuzz::text(corpus), |text| {
        if let Some(url) = fetch::issuer_location(&text, &hosts) {
            prop_assert!(url.as_str().eq_ignore_ascii_case(&text), "{url} is fetched");
            let (scheme, authority, path) = parts(&text).unwrap();
            prop_assert!(matches!(&*scheme, "http" | "https"), "{scheme}");
            prop_assert!(
                ["www.microsoft.com", "caissuers.microsoft.com:8081"].contains(&&*authority),
                "{authority}"
            );
            let path = path.to_ascii_lowercase();
            prop_assert!(path.ends_with(".crt") || path.ends_with(".cer"), "{path}");
        }
        Ok(())
    });
}

#[test]
fn a_list_of_hosts_lists_what_it_says() {
    let corpus = [
        VENDOR,
        "www.microsoft.com, 127.0.0.1:8080,[::1]:9",
        "a.example:443,b.example",
        "https://a.example",
        "a@b",
    ];
    fuzz::check("lists of hosts", file!(), 5_000, fuzz::text(corpus), |text| {
        if let Some(hosts) = Hosts::parse(&text) {
            for entry in text.split(',') {
                let location = format!("https://{}/cert/a.cer", entry.trim().to_ascii_lowercase());
                // What the parser would write differently, such as a default port, is not fetched as it stands.
                let fetched = fetch::certificate_location(&location, &hosts);
                prop_assert!(fetched.is_none_or(|url| url.as_str() == location));
                prop_assert!(!entry.contains(['/', '@', '?', '#', '%', '*', '\\']), "{entry}");
            }
            let other = fetch::certificate_location("https://unlisted.example/cert/a.cer", &hosts);
            prop_assert!(other.is_none() || text.contains("unlisted"));
        }
        Ok(())
    });
}

#[test]
fn an_event_of_the_gateway_is_bytes_within_the_limit_or_none() {
    let corpus = [
        r#"{"version":"2.0","headers":{"x-ms-signature":"Signature AAAA","content-type":"application/json"},"body":"{}","isBase64Encoded":false}"#,
        r#"{"headers":{},"body":"eyJFdmVudE5hbWUiOiJ0ZXN0LWNyZWF0ZWQifQ==","isBase64Encoded":true}"#,
    ];
    let cases = (
        fuzz::json(corpus),
        any::<bool>(),
        select(vec![0_usize, 1, 65_535, 65_536, 65_537, 90_000, 200_000]),
    );
    fuzz::check(
        "events of the gateway",
        file!(),
        4_000,
        cases,
        |(event, swells, length)| {
            let Ok(mut post) = serde_json::from_str::<Post>(&event) else {
                return Ok(());
            };
            if swells {
                post.body = Some("A".repeat(length));
            }
            if let Ok(bytes) = post.bytes() {
                prop_assert!(bytes.len() <= 64 * 1024);
                let body = post.body.unwrap_or_default();
                if post.is_base64_encoded {
                    prop_assert!(body.len() <= 4 * bytes.len().div_ceil(3));
                } else {
                    prop_assert_eq!(bytes, body.into_bytes());
                }
            }
            Ok(())
        },
    );
}

#[test]
fn a_setting_that_is_refused_is_named_and_not_repeated() {
    const KEY: &str = "Kq7Secret";
    let names = select(vec![
        "QUEUE_URL",
        "CERTIFICATE_HOSTS",
        "ISSUER_HOSTS",
        "TRUST_ANCHORS_FILE",
        "AWS_ENDPOINT_URL",
    ]);
    let values = [
        "https://sqs.eu-west-1.amazonaws.com/000000000000/hints.fifo",
        "https://user:Kq7Secret@sqs.example/0/hints.fifo?Kq7Secret",
        "Kq7Secret.example:443,b.example",
        "/nowhere/Kq7Secret.pem",
    ];
    let client = transport::client().unwrap();
    fuzz::check(
        "settings of the webhook",
        file!(),
        1_000,
        (names, fuzz::text(values)),
        move |(variable, value)| {
            let lookup = |name: &str| match name {
                _ if name == variable => Some(value.clone()),
                "QUEUE_URL" => Some("https://sqs.eu-west-1.amazonaws.com/000000000000/hints.fifo".to_owned()),
                "AWS_REGION" => Some("eu-west-1".to_owned()),
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
                _ => None,
            };
            match Settings::load(&lookup, client.clone()) {
                Ok(settings) => prop_assert!(settings.queue_url.path().ends_with(".fifo")),
                Err(error) => {
                    let said = error.to_string();
                    prop_assert!(
                        said.contains(variable) && !said.contains(KEY) && said.len() <= 300,
                        "{said}"
                    );
                }
            }
            Ok(())
        },
    );
}
