//! What a browser brings back, and tokens, in any form.

use fuzz::proptest::prelude::{any, prop_assert, prop_assert_eq};
use uuid::Uuid;

use super::*;

/// The person's address, which stands in Entra's descriptions and must not be told.
const MAIL: &str = "jo@contoso.example";

const STATE: &str = "kQ7-state";

#[test]
fn what_comes_back_is_a_code_a_reason_or_of_another_sign_in() {
    let endpoint = Endpoint::parse("https://login.microsoftonline.com").unwrap();
    let application = Chosen {
        id: "app".to_owned(),
        secret: "s&cret".to_owned().into(),
        is_stored: false,
    };
    let redirect = "http://localhost:8400/".to_owned();
    let mut sign_in = SignIn::new(&endpoint, TenantId::new(Uuid::nil()), &application, redirect);
    sign_in.state = STATE.to_owned();
    let corpus = [
        format!("code=0.AXcode&state={STATE}&session_state=9f1c"),
        format!(
            "error=consent_required&error_description=AADSTS65001%3a+The+user+jo%40contoso.example+has+not+consented&state={STATE}"
        ),
        format!("error=access_denied&error_subcode=cancel&error_description=AADSTS65004&state={STATE}"),
        format!("error=%1b%5b31mred%0a{MAIL}&state={STATE}"),
        "code=0.AXcode&state=another".to_owned(),
    ];
    fuzz::check(
        "what a sign-in brings back",
        file!(),
        3_000,
        fuzz::text(corpus),
        |query| {
            match sign_in.code(&query) {
                None => {
                    let mut pairs = form_urlencoded::parse(query.as_bytes());
                    let state = pairs.find(|(name, _)| name == "state");
                    prop_assert!(state.is_none_or(|(_, state)| state != STATE), "{query}");
                }
                Some(Ok(code)) => prop_assert!(!code.expose_secret().is_empty()),
                Some(Err(trouble)) => {
                    let said = &trouble.message;
                    prop_assert!(said.chars().count() <= 300, "{said}");
                    prop_assert!(!said.contains(char::is_control) && !said.contains('@'), "{said:?}");
                }
            }
            Ok(())
        },
    );
}

#[test]
fn a_token_tells_about_itself_or_nothing() {
    let claims = [
        r#"{"tid":"7c1f5a52-9d6e-4b0c-a2ad-6f3b6f0d8e11","amr":["pwd","mfa"],"upn":"jo@contoso.example"}"#,
        r#"{"tid":"t","amr":["pwd"],"unique_name":"jo@contoso.example"}"#,
        r#"{"amr":null}"#,
    ];
    let cases = (fuzz::json(claims), any::<bool>(), fuzz::text(["e30.e30.x"]));
    fuzz::check(
        "claims of a token",
        file!(),
        3_000,
        cases,
        |(claims, is_whole, spoilt)| {
            let token = if is_whole {
                format!("e30.{}.x", URL_SAFE_NO_PAD.encode(&claims))
            } else {
                spoilt
            };
            let read = Claims::read(&SecretString::from(token));
            if is_whole {
                let expected: Option<Claims> = serde_json::from_str(&claims).ok();
                prop_assert_eq!(read.is_some(), expected.is_some());
            }
            if let Some(claims) = read {
                prop_assert_eq!(claims.has_second_factor(), claims.amr.contains(&"mfa".to_owned()));
            }
            Ok(())
        },
    );
}
