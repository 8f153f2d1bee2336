//! One request of the token endpoint: read, judged, answered.
//!
//! Knows: the fields of both versions, the order in which they are judged, the wording of a denial. Refuses to know: how
//! tokens are kept. Guarantee: a denied request issues nothing.

use std::collections::HashMap;
use std::sync::PoisonError;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::{AccessToken, Desk, random};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

pub(super) async fn first_version(
    state: State<Desk>,
    tenant: Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&state, &tenant, &headers, &body, Version::One)
}

pub(super) async fn second_version(
    state: State<Desk>,
    tenant: Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&state, &tenant, &headers, &body, Version::Two)
}

fn answer(desk: &Desk, tenant: &str, headers: &HeaderMap, body: &[u8], version: Version) -> Response {
    let now = desk.clock.now();
    match grant(desk, tenant, headers, body, version, now) {
        Ok(answer) => (
            StatusCode::OK,
            [(header::CACHE_CONTROL, "no-store")],
            axum::Json(answer),
        )
            .into_response(),
        Err(denial) => denial.answer(now),
    }
}

fn grant(
    desk: &Desk,
    tenant: &str,
    headers: &HeaderMap,
    body: &[u8],
    version: Version,
    now: Timestamp,
) -> Result<Value, Denial> {
    let form = Form::read(headers, body)?;
    let mut directory = desk.directory.lock().unwrap_or_else(PoisonError::into_inner);
    if !directory.clients.keys().any(|(known, _)| known == tenant) {
        return Err(Denial::new("invalid_request", 90_002, "The tenant was not found."));
    }
    let grant_type = form.required("grant_type")?;
    let client_id = form.required("client_id")?;
    let client = directory
        .clients
        .get(&(tenant.to_owned(), client_id.to_owned()))
        .ok_or(Denial::new(
            "unauthorized_client",
            700_016,
            "The application was not found in the tenant.",
        ))?;
    if form.required("client_secret")? != client.secret {
        return Err(Denial::new(
            "invalid_client",
            7_000_215,
            "The client secret is not valid.",
        ));
    }
    let delegated = match grant_type {
        "refresh_token" => true,
        "client_credentials" => false,
        _ => {
            return Err(Denial::new(
                "unsupported_grant_type",
                70_003,
                "This grant is not supported.",
            ));
        }
    };
    let wish = match version {
        Version::One => Wish::first_version(&form)?,
        Version::Two => Wish::second_version(&form, delegated)?,
    };
    if delegated {
        directory.redeem(form.required("refresh_token")?, tenant, client_id, now)?;
    }
    let lifetime = directory.lifetime;
    let expires = now + SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX);
    let mfa = delegated && !directory.drop_mfa;
    let token = access_token(tenant, client_id, &wish.audience, mfa, now, expires);
    directory.access_tokens.insert(
        token.clone(),
        AccessToken {
            audience: wish.audience.clone(),
            client_id: client_id.to_owned(),
            delegated,
            mfa,
            expires,
        },
    );
    let mut answer = match version {
        Version::One => json!({
            "token_type": "Bearer",
            "expires_in": lifetime.as_secs().to_string(),
            "ext_expires_in": lifetime.as_secs().to_string(),
            "expires_on": expires.as_second().to_string(),
            "not_before": now.as_second().to_string(),
            "resource": wish.audience,
            "access_token": token,
        }),
        Version::Two => json!({
            "token_type": "Bearer",
            "expires_in": lifetime.as_secs(),
            "ext_expires_in": lifetime.as_secs(),
            "access_token": token,
        }),
    };
    if let (true, Some(members)) = (delegated, answer.as_object_mut()) {
        let scope = match version {
            Version::One => "user_impersonation".to_owned(),
            Version::Two => format!("{0}/user_impersonation {0}/.default", wish.audience),
        };
        members.insert("scope".to_owned(), scope.into());
        if wish.offline && !directory.omit_rotation {
            let next = directory.issue_refresh_token(tenant, client_id, now);
            members.insert("refresh_token".to_owned(), next.into());
        }
    }
    Ok(answer)
}

/// What the client asks a token for.
struct Wish {
    audience: String,
    /// Whether a new refresh token is wanted.
    offline: bool,
}

impl Wish {
    fn first_version(form: &Form) -> Result<Self, Denial> {
        let audience = form.required("resource")?;
        if Url::parse(audience).is_err() {
            return Err(Denial::new(
                "invalid_resource",
                500_011,
                "The resource was not found in the tenant.",
            ));
        }
        Ok(Self {
            audience: audience.to_owned(),
            offline: true,
        })
    }

    fn second_version(form: &Form, delegated: bool) -> Result<Self, Denial> {
        const MALFORMED: Denial = Denial::new("invalid_scope", 70_011, "The scope is not valid.");
        if form.optional("resource").is_some() {
            return Err(Denial::new(
                "invalid_request",
                901_002,
                "The parameter 'resource' is not supported.",
            ));
        }
        let mut audience = None;
        let mut offline = false;
        for scope in form.required("scope")?.split_ascii_whitespace() {
            if delegated && matches!(scope, "offline_access" | "openid" | "profile") {
                offline |= scope == "offline_access";
                continue;
            }
            let named = scope.strip_suffix("/.default");
            let named = if delegated {
                named.or_else(|| scope.strip_suffix("/user_impersonation"))
            } else {
                named
            };
            let named = named.filter(|named| Url::parse(named).is_ok()).ok_or(MALFORMED)?;
            // One token has one audience.
            if audience.replace(named.to_owned()).is_some() {
                return Err(MALFORMED);
            }
        }
        Ok(Self {
            audience: audience.ok_or(MALFORMED)?,
            offline,
        })
    }
}

struct Form(HashMap<String, String>);

impl Form {
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Denial> {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Denial::new(
                "invalid_request",
                900_144,
                "The body must be form-urlencoded.",
            ));
        }
        let mut fields = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(body) {
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Denial::new("invalid_request", 9_002_313, "A parameter is given twice."));
            }
        }
        Ok(Self(fields))
    }

    fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn required(&self, name: &'static str) -> Result<&str, Denial> {
        let missing = Denial {
            parameter: Some(name),
            ..Denial::new("invalid_request", 900_144, "Missing parameter")
        };
        self.optional(name).filter(|value| !value.is_empty()).ok_or(missing)
    }
}

/// A refusal as the endpoint words it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Denial {
    error: &'static str,
    code: u32,
    text: &'static str,
    parameter: Option<&'static str>,
}

impl Denial {
    pub(super) const fn new(error: &'static str, code: u32, text: &'static str) -> Self {
        Self {
            error,
            code,
            text,
            parameter: None,
        }
    }

    fn answer(self, now: Timestamp) -> Response {
        let status = if self.error == "invalid_client" {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::BAD_REQUEST
        };
        let timestamp = now.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
        let parameter = self.parameter.map(|name| format!(": '{name}'.")).unwrap_or_default();
        let body = json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{}: {}{parameter} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
                self.code, self.text
            ),
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace.to_string(),
            "correlation_id": correlation.to_string(),
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        });
        (status, axum::Json(body)).into_response()
    }
}

/// A token of the real one's shape. Its signature is noise: clients must treat it as opaque, APIs ask [`Entra::check`].
fn access_token(
    tenant: &str,
    client_id: &str,
    audience: &str,
    mfa: bool,
    now: Timestamp,
    expires: Timestamp,
) -> String {
    let head = json!({ "typ": "JWT", "alg": "RS256" });
    let claims = json!({
        "aud": audience,
        "tid": tenant,
        "appid": client_id,
        "iat": now.as_second(),
        "exp": expires.as_second(),
        "amr": if mfa { json!(["pwd", "mfa"]) } else { json!(["pwd"]) },
    });
    let noise = URL_SAFE_NO_PAD.encode([random(), random()].concat());
    let (head, claims) = (
        URL_SAFE_NO_PAD.encode(head.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string()),
    );
    format!("{head}.{claims}.{noise}")
}
