//! Claims about the token endpoint, as a client sees it.

mod sign_in;

use std::net::SocketAddr;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use super::{Entra, PARTNER_AUDIENCE, PARTNER_CENTER_AUDIENCE, TokenCheck};
use crate::clock::Clock;
use crate::switchboard::Switchboard;

const TENANT: &str = "contoso";

struct Client {
    entra: Entra,
    clock: Clock,
    http: reqwest::Client,
    refresh: String,
}

impl Client {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Clock::default();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let entra = Entra::start(&Switchboard::new(), &clock, anywhere).await.unwrap();
        let refresh = entra.add_delegated_client(TENANT, "connector", "s&cret");
        let http = reqwest::Client::builder().no_proxy();
        let http = http.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self {
            entra,
            clock,
            http,
            refresh,
        }
    }

    async fn ask(&self, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self.http.post(format!("{}/{path}", self.entra.url())).body(body);
        let answer = request
            .header("Content-Type", "application/x-www-form-urlencoded")
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    async fn redeem(&self, refresh: &str) -> (u16, Value) {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", "connector"),
            ("client_secret", "s&cret"),
            ("refresh_token", refresh),
            ("resource", PARTNER_AUDIENCE),
        ];
        self.ask("contoso/oauth2/token", &fields).await
    }

    fn check(&self, answer: &Value, audience: &str) -> TokenCheck {
        let header = format!("Bearer {}", answer["access_token"].as_str().unwrap());
        self.entra.check(Some(&header), audience)
    }
}

#[tokio::test]
async fn a_token_is_good_for_one_audience_and_some_time() {
    let client = Client::new().await;
    let (status, answer) = client.redeem(&client.refresh).await;
    assert_eq!((status, answer["expires_in"].as_str()), (200, Some("4000")));
    assert_eq!(answer["resource"], PARTNER_AUDIENCE);
    assert_eq!(
        client.check(&answer, PARTNER_AUDIENCE),
        TokenCheck::Valid {
            delegated: true,
            mfa: true,
            client_id: "connector".to_owned()
        }
    );
    assert!(matches!(
        client.check(&answer, PARTNER_CENTER_AUDIENCE),
        TokenCheck::WrongAudience { .. }
    ));
    client.clock.advance(SignedDuration::from_secs(4000));
    assert_eq!(client.check(&answer, PARTNER_AUDIENCE), TokenCheck::Expired);
    assert_eq!(client.entra.check(None, PARTNER_AUDIENCE), TokenCheck::Missing);
    assert_eq!(
        client.entra.check(Some("Bearer x"), PARTNER_AUDIENCE),
        TokenCheck::Unknown
    );
}

#[tokio::test]
async fn refresh_tokens_rotate_expire_and_are_revoked() {
    let client = Client::new().await;
    let (_, first) = client.redeem(&client.refresh).await;
    let rotated = first["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(rotated, client.refresh);
    assert_eq!(client.redeem(&client.refresh).await.0, 200, "the old one stays valid");
    client.entra.omit_rotation(true);
    assert!(client.redeem(&rotated).await.1.get("refresh_token").is_none());
    client.entra.expire_old_refresh_tokens(true);
    let (status, denied) = client.redeem(&client.refresh).await;
    assert_eq!(
        (status, &denied["error"], &denied["error_codes"][0]),
        (400, &"invalid_grant".into(), &700_082.into())
    );
    client.entra.expire_old_refresh_tokens(false);
    client.entra.revoke_all_refresh_tokens();
    assert_eq!(client.redeem(&rotated).await.1["error_codes"][0], 50_173);
    let again = client.entra.add_delegated_client(TENANT, "connector", "s&cret");
    client.entra.drop_mfa(true);
    let (_, answer) = client.redeem(&again).await;
    assert!(matches!(
        client.check(&answer, PARTNER_AUDIENCE),
        TokenCheck::Valid { mfa: false, .. }
    ));
    client.clock.advance(SignedDuration::from_hours(91 * 24));
    assert_eq!(client.redeem(&again).await.1["error_codes"][0], 700_082);
}

#[tokio::test]
async fn an_application_asks_for_itself_in_the_second_version() {
    let client = Client::new().await;
    client.entra.add_app_client(TENANT, "app", "secret");
    client.entra.set_lifetime(Duration::from_secs(5));
    let fields = |scope: &'static str| {
        [
            ("grant_type", "client_credentials"),
            ("client_id", "app"),
            ("client_secret", "secret"),
            ("scope", scope),
        ]
    };
    let path = "contoso/oauth2/v2.0/token";
    let (status, answer) = client.ask(path, &fields("http://127.0.0.1:8080/.default")).await;
    assert_eq!((status, answer["expires_in"].as_u64()), (200, Some(5)));
    assert!(answer.get("refresh_token").is_none());
    let valid = TokenCheck::Valid {
        delegated: false,
        mfa: false,
        client_id: "app".to_owned(),
    };
    assert_eq!(client.check(&answer, "http://127.0.0.1:8080"), valid);
    let (_, slashed) = client.ask(path, &fields("http://127.0.0.1:8080//.default")).await;
    assert!(matches!(
        client.check(&slashed, "http://127.0.0.1:8080"),
        TokenCheck::WrongAudience { .. }
    ));
    for wrong in [
        "http://127.0.0.1:8080",
        "http://127.0.0.1:8080/user_impersonation",
        "/.default",
        "a/.default b/.default",
    ] {
        let (status, denied) = client.ask(path, &fields(wrong)).await;
        assert_eq!((status, &denied["error"]), (400, &"invalid_scope".into()), "{wrong}");
    }
}

#[tokio::test]
async fn a_wrong_request_is_denied_by_its_own_code() {
    let client = Client::new().await;
    let good = [
        ("grant_type", "client_credentials"),
        ("client_id", "connector"),
        ("client_secret", "s&cret"),
        ("resource", PARTNER_AUDIENCE),
    ];
    assert_eq!(client.ask("contoso/oauth2/token", &good).await.0, 200);
    for (path, place, field, status, code) in [
        ("nobody/oauth2/token", 0, good[0], 400, 90_002),
        ("contoso/oauth2/token", 0, ("grant_type", "password"), 400, 70_003),
        ("contoso/oauth2/token", 1, ("client_id", "other"), 400, 700_016),
        ("contoso/oauth2/token", 2, ("client_secret", "wrong"), 401, 7_000_215),
        ("contoso/oauth2/token", 3, ("scope", "x/.default"), 400, 900_144),
        ("contoso/oauth2/v2.0/token", 0, good[0], 400, 901_002),
    ] {
        let mut fields = good;
        fields[place] = field;
        let (answered, denied) = client.ask(path, &fields).await;
        assert_eq!(
            (answered, &denied["error_codes"][0]),
            (status, &code.into()),
            "{path} {field:?}"
        );
        assert!(
            denied["error_description"]
                .as_str()
                .unwrap()
                .starts_with(&format!("AADSTS{code}: "))
        );
    }
}
