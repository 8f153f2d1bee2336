//! Answers of the token endpoint, and secrets as people store them.

use fuzz::proptest::prelude::{prop_assert, prop_assert_eq};
use fuzz::proptest::sample::select;
use secrecy::ExposeSecret as _;

use super::*;

const SECRET: &str = "example-access-token";

#[test]
fn a_token_is_read_or_refused_and_never_shown() {
    fuzz::check(
        "token answers",
        file!(),
        3_000,
        fuzz::json(fuzz::fixtures("entra")),
        |answer| {
            if let Ok(granted) = serde_json::from_str::<Granted>(&answer) {
                let shown = format!("{granted:?}");
                let token = granted.access_token.expose_secret();
                prop_assert!(!token.contains(SECRET) || !shown.contains(SECRET), "{shown}");
                // What a lifetime is used for must not overflow either.
                let margin = MARGIN.min(granted.expires_in / 2);
                prop_assert!(granted.expires_in.saturating_sub(margin) <= granted.expires_in);
            }
            Ok(())
        },
    );
}

#[test]
fn a_denial_keeps_words_and_numbers_and_no_description() {
    let statuses = select(vec![400_u16, 401, 403, 429, 500, 503]);
    let cases = (fuzz::json(fuzz::fixtures("entra")), statuses);
    fuzz::check("token denials", file!(), 2_000, cases, |(body, status)| {
        let status = StatusCode::from_u16(status).unwrap();
        let error = Denial::read(status, None, body.as_bytes()).into_error();
        let said = crate::http::chain(&error);
        prop_assert!(said.chars().count() <= 600, "{said}");
        prop_assert!(!said.contains(SECRET) && !said.contains("Trace ID"), "{said}");
        prop_assert!(!error.code().is_empty());
        Ok(())
    });
}

#[test]
fn a_credential_is_whole_or_none_and_keeps_what_is_not_ours() {
    let corpus = [r#"{"client_id":"app","client_secret":"s&cret","refresh_token":"old","note":{"kept":[1]}}"#];
    fuzz::check("secrets", file!(), 2_000, fuzz::json(corpus), |json| {
        if let Some(credential) = Credential::parse(&json, true) {
            prop_assert!(!credential.member("client_secret").is_empty() && !credential.refresh_token().is_empty());
            let before = credential.0.clone();
            let renewed = credential.with_refresh_token("new");
            let after: Map<String, Value> = serde_json::from_str(renewed.expose_secret()).unwrap();
            prop_assert_eq!(&after["refresh_token"], "new");
            for (name, value) in before.iter().filter(|(name, _)| *name != "refresh_token") {
                // A number of more digits than a double holds loses some, as it does with the service's own tools.
                prop_assert!(
                    after.get(name).is_some_and(|kept| kept == value || !value.is_string()),
                    "{name}"
                );
            }
            prop_assert_eq!(after.len(), before.len());
        }
        Ok(())
    });
}
