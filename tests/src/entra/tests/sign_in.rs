//! Claims about a sign-in: the browser's visit, and what the application does with the code.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::{Client, TENANT};
use crate::entra::{PARTNER_AUDIENCE, PARTNER_CENTER_AUDIENCE, SignIn, TokenCheck, USER_NAME};

const REDIRECT: &str = "http://localhost:8400/";
const VERIFIER: &str = "a-verifier-of-forty-three-characters-or-more";

/// What the browser is told.
#[derive(Debug)]
struct Visit {
    status: u16,
    page: String,
    /// Where it is sent, without the query.
    address: String,
    fields: HashMap<String, String>,
}

impl Visit {
    fn code(&self) -> &str {
        &self.fields["code"]
    }
}

struct Asked(Vec<(&'static str, String)>);

impl Asked {
    /// A good request of version 1.
    fn first() -> Self {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let fields = [
            ("client_id", "connector"),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT),
            ("state", "a state & more"),
            ("prompt", "login"),
            ("resource", PARTNER_AUDIENCE),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        Self(fields.map(|(name, value)| (name, value.to_owned())).into())
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self = self.without(name);
        self.0.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self
    }
}

impl Client {
    async fn visit(&self, path: &str, asked: &Asked) -> Visit {
        let url = Url::parse_with_params(&format!("{}/{path}", self.entra.url()), &asked.0).unwrap();
        let answer = self.http.get(url).send().await.unwrap();
        let status = answer.status().as_u16();
        let sent = answer
            .headers()
            .get("location")
            .map(|to| Url::parse(to.to_str().unwrap()).unwrap());
        let fields = sent.iter().flat_map(|sent| sent.query_pairs().into_owned()).collect();
        let address = sent.map_or(String::new(), |mut sent| {
            sent.set_query(None);
            sent.to_string()
        });
        let page = answer.text().await.unwrap();
        Visit {
            status,
            page,
            address,
            fields,
        }
    }

    /// Visits as an application in order does, and expects to come back with a code.
    async fn sign_in(&self) -> Visit {
        let visit = self.visit("common/oauth2/authorize", &Asked::first()).await;
        assert_eq!(visit.status, 302, "{visit:?}");
        visit
    }

    async fn redeem_code(&self, code: &str, change: (&str, &str)) -> (u16, Value) {
        let mut fields = HashMap::from([
            ("grant_type", "authorization_code"),
            ("client_id", "connector"),
            ("client_secret", "s&cret"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
            ("resource", PARTNER_AUDIENCE),
        ]);
        fields.insert(change.0, change.1);
        let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        self.ask("contoso/oauth2/token", &fields).await
    }

    async fn with_redirect() -> Self {
        let client = Self::new().await;
        // Registered without a port; the request names one.
        assert!(client.entra.add_redirect(TENANT, "connector", "http://localhost"));
        client
    }
}

fn claims(token: &str) -> Value {
    let middle = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(middle).unwrap()).unwrap()
}

#[tokio::test]
async fn a_user_signs_in_and_the_code_gives_tokens_for_both_audiences() {
    let client = Client::with_redirect().await;
    let visit = client.sign_in().await;
    assert_eq!(visit.address, REDIRECT);
    assert_eq!(visit.fields["state"], "a state & more");
    assert!(visit.fields.contains_key("session_state"));
    let (status, answer) = client.redeem_code(visit.code(), ("x", "")).await;
    assert_eq!(
        (status, &answer["resource"]),
        (200, &PARTNER_AUDIENCE.into()),
        "{answer}"
    );
    let seen = claims(answer["access_token"].as_str().unwrap());
    for (claim, value) in [
        ("aud", PARTNER_AUDIENCE),
        ("tid", TENANT),
        ("appid", "connector"),
        ("upn", USER_NAME),
        ("scp", "user_impersonation"),
    ] {
        assert_eq!(seen[claim], value, "{claim}");
    }
    assert_eq!(seen["amr"], serde_json::json!(["pwd", "mfa"]));
    assert!(matches!(
        client.check(&answer, PARTNER_AUDIENCE),
        TokenCheck::Valid {
            delegated: true,
            mfa: true,
            ..
        }
    ));
    let refresh = answer["refresh_token"].as_str().unwrap();
    for audience in [PARTNER_AUDIENCE, PARTNER_CENTER_AUDIENCE] {
        let (status, answer) = client.refresh_for(refresh, audience).await;
        assert_eq!((status, &answer["resource"]), (200, &audience.into()));
    }
}

impl Client {
    async fn refresh_for(&self, refresh: &str, audience: &str) -> (u16, Value) {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", "connector"),
            ("client_secret", "s&cret"),
            ("refresh_token", refresh),
            ("resource", audience),
        ];
        self.ask("contoso/oauth2/token", &fields).await
    }
}

#[tokio::test]
async fn a_code_is_redeemed_once_by_its_application_and_within_ten_minutes() {
    let client = Client::with_redirect().await;
    let visit = client.sign_in().await;
    for (change, status, error, code) in [
        (("client_secret", "wrong"), 401, "invalid_client", 7_000_215),
        (
            ("redirect_uri", "http://localhost:8401/"),
            401,
            "invalid_client",
            500_112,
        ),
        (("redirect_uri", ""), 400, "invalid_request", 900_144),
        (
            ("code_verifier", "another-verifier-of-forty-three-characters-x"),
            400,
            "invalid_grant",
            501_481,
        ),
        (("code_verifier", ""), 400, "invalid_grant", 50_148),
        (("code", "1.Aanother"), 400, "invalid_grant", 70_000),
        (("resource", PARTNER_CENTER_AUDIENCE), 400, "invalid_grant", 70_000),
    ] {
        let (answered, denied) = client.redeem_code(visit.code(), change).await;
        let seen = (answered, denied["error"].as_str().unwrap(), &denied["error_codes"][0]);
        assert_eq!(seen, (status, error, &code.into()), "{change:?}");
    }
    assert_eq!(
        client.redeem_code(visit.code(), ("x", "")).await.0,
        200,
        "nothing of that used it up"
    );
    let (_, denied) = client.redeem_code(visit.code(), ("x", "")).await;
    assert_eq!(denied["error_codes"][0], 54_005);

    let late = client.sign_in().await;
    client.clock.advance(SignedDuration::from_secs(601));
    let (_, denied) = client.redeem_code(late.code(), ("x", "")).await;
    assert_eq!(denied["error_codes"][0], 70_008);
}

#[tokio::test]
async fn a_wrong_visit_ends_at_a_page_or_goes_back_with_an_error() {
    let client = Client::with_redirect().await;
    let path = "common/oauth2/authorize";
    for (path, asked, code) in [
        (
            path,
            Asked::first().with("redirect_uri", "http://localhost:8400/other"),
            50_011,
        ),
        (
            path,
            Asked::first().with("redirect_uri", "http://127.0.0.1:8400/"),
            50_011,
        ),
        (
            path,
            Asked::first().with("redirect_uri", "https://localhost:8400/"),
            50_011,
        ),
        (path, Asked::first().without("redirect_uri"), 900_144),
        (path, Asked::first().with("client_id", "other"), 700_016),
        (path, Asked::first().with("stat", "x"), 900_144),
        (path, Asked::first().with("response_mode", "fragment"), 70_007),
        ("nobody/oauth2/authorize", Asked::first(), 90_002),
    ] {
        let visit = client.visit(path, &asked).await;
        assert_eq!((visit.status, visit.address.as_str()), (400, ""), "{code}");
        assert!(visit.page.contains(&format!("AADSTS{code}: ")), "{}", visit.page);
    }
    let second = "organizations/oauth2/v2.0/authorize";
    for (path, asked, error, code) in [
        (
            path,
            Asked::first().with("response_type", "token"),
            "unsupported_response_type",
            700_054,
        ),
        (
            path,
            Asked::first().with("response_type", "code id_token"),
            "invalid_request",
            900_144,
        ),
        (
            path,
            Asked::first().with("response_type", "code id_token").with("nonce", "n"),
            "invalid_request",
            70_007,
        ),
        (path, Asked::first().with("prompt", "none"), "login_required", 50_058),
        (path, Asked::first().with("prompt", "always"), "invalid_request", 90_023),
        (
            path,
            Asked::first().with("code_challenge", "short"),
            "invalid_request",
            501_491,
        ),
        (
            path,
            Asked::first().without("code_challenge"),
            "invalid_request",
            900_144,
        ),
        (
            path,
            Asked::first().with("resource", "partner"),
            "invalid_resource",
            500_011,
        ),
        (second, Asked::first(), "invalid_request", 901_002),
        (second, Asked::first().without("resource"), "invalid_request", 900_144),
        (
            second,
            Asked::first().without("resource").with("scope", "partner"),
            "invalid_scope",
            70_011,
        ),
    ] {
        let visit = client.visit(path, &asked).await;
        assert_eq!((visit.status, visit.address.as_str()), (302, REDIRECT), "{code}");
        assert_eq!(visit.fields["error"], error);
        assert!(
            visit.fields["error_description"].starts_with(&format!("AADSTS{code}: ")),
            "{visit:?}"
        );
        assert_eq!(visit.fields["state"], "a state & more");
        assert!(!visit.fields.contains_key("code"));
    }
}

#[tokio::test]
async fn the_user_may_do_otherwise() {
    let client = Client::with_redirect().await;
    let path = "contoso/oauth2/authorize";
    for (act, error, code) in [
        (SignIn::Cancels, "access_denied", 65_004),
        (SignIn::LacksConsent, "consent_required", 65_001),
    ] {
        client.entra.sign_in(act);
        let visit = client.visit(path, &Asked::first()).await;
        assert_eq!((visit.status, visit.fields["error"].as_str()), (302, error));
        assert!(visit.fields["error_description"].contains(&format!("AADSTS{code}")));
    }
    client.entra.sign_in(SignIn::NeverAnswers);
    let visit = client.visit(path, &Asked::first()).await;
    assert_eq!((visit.status, visit.address.as_str()), (200, ""));

    client.entra.sign_in(SignIn::WithoutMfa);
    let visit = client.visit(path, &Asked::first()).await;
    let (_, answer) = client.redeem_code(visit.code(), ("x", "")).await;
    let without = TokenCheck::Valid {
        delegated: true,
        mfa: false,
        client_id: "connector".to_owned(),
    };
    assert_eq!(client.check(&answer, PARTNER_AUDIENCE), without);
    // What the sign-in lacked, no refresh makes up for; the operator's earlier sign-in is not touched.
    let refresh = answer["refresh_token"].as_str().unwrap();
    let (_, refreshed) = client.redeem(refresh).await;
    assert_eq!(client.check(&refreshed, PARTNER_AUDIENCE), without);
    let (_, earlier) = client.redeem(&client.refresh).await;
    assert_ne!(client.check(&earlier, PARTNER_AUDIENCE), without);
}

#[tokio::test]
async fn consent_may_cover_one_audience_only() {
    let client = Client::with_redirect().await;
    client.entra.only_audience(Some(PARTNER_AUDIENCE));
    let visit = client.sign_in().await;
    let (status, answer) = client.redeem_code(visit.code(), ("x", "")).await;
    assert_eq!(status, 200);
    let refresh = answer["refresh_token"].as_str().unwrap();
    assert_eq!(client.refresh_for(refresh, PARTNER_AUDIENCE).await.0, 200);
    let (status, denied) = client.refresh_for(refresh, PARTNER_CENTER_AUDIENCE).await;
    assert_eq!((status, &denied["error"]), (400, &"invalid_grant".into()));
    assert_eq!(denied["error_codes"][0], 65_001);
    client.entra.only_audience(None);
    assert_eq!(client.refresh_for(refresh, PARTNER_CENTER_AUDIENCE).await.0, 200);
}

#[tokio::test]
async fn the_second_version_gives_a_refresh_token_only_when_asked_for() {
    let client = Client::with_redirect().await;
    let scope = format!("{PARTNER_AUDIENCE}/user_impersonation openid");
    let path = "organizations/oauth2/v2.0/authorize";
    for (scope, offline) in [(format!("{scope} offline_access"), true), (scope, false)] {
        let asked = Asked::first().without("resource").with("scope", &scope);
        let visit = client.visit(path, &asked).await;
        let redeem = |scope: String| {
            let code = visit.code().to_owned();
            let client = &client;
            async move {
                let fields = [
                    ("grant_type", "authorization_code"),
                    ("client_id", "connector"),
                    ("client_secret", "s&cret"),
                    ("code", &code),
                    ("redirect_uri", REDIRECT),
                    ("code_verifier", VERIFIER),
                    ("scope", &scope),
                ];
                client.ask("organizations/oauth2/v2.0/token", &fields).await
            }
        };
        let (_, denied) = redeem(format!("{PARTNER_CENTER_AUDIENCE}/.default")).await;
        assert_eq!(denied["error_codes"][0], 70_000);
        let (status, answer) = redeem(scope.clone()).await;
        assert_eq!((status, answer["expires_in"].as_u64()), (200, Some(4000)), "{answer}");
        assert_eq!(answer.get("refresh_token").is_some(), offline, "{scope}");
        assert_eq!(claims(answer["id_token"].as_str().unwrap())["upn"], USER_NAME);
    }
}

#[tokio::test]
async fn a_form_is_posted_when_that_was_asked_for() {
    let client = Client::with_redirect().await;
    let asked = Asked::first().with("response_mode", "form_post");
    let asked = asked.with("response_type", "code id_token").with("nonce", "n");
    let visit = client.visit("common/oauth2/authorize", &asked).await;
    assert_eq!((visit.status, visit.address.as_str()), (200, ""));
    assert!(visit.page.contains(&format!("action=\"{REDIRECT}\"")), "{}", visit.page);
    assert!(
        visit.page.contains("name=\"state\" value=\"a state &amp; more\""),
        "{}",
        visit.page
    );
    let code = visit.page.split("name=\"code\" value=\"").nth(1).unwrap();
    let code = code.split('"').next().unwrap();
    assert_eq!(client.redeem_code(code, ("x", "")).await.0, 200);
}

#[tokio::test]
async fn only_some_addresses_can_be_registered() {
    let client = Client::new().await;
    for good in [
        "https://contoso.example/answer",
        "http://localhost:7071",
        "http://127.0.0.1/x",
    ] {
        assert!(client.entra.add_redirect(TENANT, "connector", good), "{good}");
    }
    for bad in [
        "http://contoso.example/answer",
        "http://app.localhost:3000",
        "http://[::1]:80/",
        "https://contoso.example/*",
        "https://contoso.example/a#b",
        "contoso",
    ] {
        assert!(!client.entra.add_redirect(TENANT, "connector", bad), "{bad}");
    }
    assert!(!client.entra.add_redirect(TENANT, "nobody", "http://localhost"));
}

#[tokio::test]
async fn the_switches_turn_over_http_too() {
    let client = Client::with_redirect().await;
    let url = format!("{}/_control/switches", client.entra.url());
    let post = |body: Value| {
        let request = client.http.post(&url).header("content-type", "application/json");
        async move { request.body(body.to_string()).send().await.unwrap().status().as_u16() }
    };
    assert_eq!(post(serde_json::json!({ "sign_in": "cancels" })).await, 200);
    let visit = client.visit("common/oauth2/authorize", &Asked::first()).await;
    assert_eq!(visit.fields["error"], "access_denied");
    assert_eq!(post(serde_json::json!({ "sign_in": "sleeps" })).await, 400);
    assert_eq!(post(serde_json::json!({ "sign-in": "cancels" })).await, 400);
}
