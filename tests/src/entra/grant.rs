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

use super::authorize::{CODE_LIFETIME, Wish as Authorized};
use super::{AccessToken, Desk, Directory, USER_NAME, USER_OBJECT, random};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
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
    let grant_type = form.optional("grant_type");
    // A code says by itself whose it is, so the sign-in's tenant alias may be kept for it.
    let by_code = grant_type == Some("authorization_code");
    let home = by_code
        .then(|| form.optional("code").and_then(|code| directory.home_of(code)))
        .flatten()
        .filter(|_| matches!(tenant, "common" | "organizations"));
    let tenant = home.as_deref().unwrap_or(tenant);
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
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, \
             not the client secret ID.",
        ));
    }
    let delegated = match grant_type {
        "refresh_token" | "authorization_code" => true,
        "client_credentials" => false,
        _ => {
            return Err(Denial::new(
                "unsupported_grant_type",
                70_003,
                "This grant is not supported.",
            ));
        }
    };
    let (wish, signed_in_with_mfa) = match grant_type {
        "authorization_code" => directory.redeem_code(&form, tenant, client_id, version, now)?,
        _ => {
            let wish = match version {
                Version::One => Wish::first_version(&form)?,
                Version::Two => Wish::second_version(&form, delegated)?,
            };
            let mfa = if delegated {
                directory.redeem(form.required("refresh_token")?, tenant, client_id, now)?
            } else {
                false
            };
            (wish, mfa)
        }
    };
    if delegated {
        directory.check_consent(&wish.audience)?;
    }
    let lifetime = directory.lifetime;
    let expires = now + SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX);
    let mfa = signed_in_with_mfa && !directory.drop_mfa;
    let bearer = Bearer {
        tenant,
        client_id,
        delegated,
        mfa,
    };
    let token = bearer.access_token(&wish.audience, now, expires);
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
        // The first refresh token of a sign-in is not a rotation.
        let withheld = directory.omit_rotation && grant_type == "refresh_token";
        if wish.offline && !withheld {
            let next = directory.issue_refresh_token(tenant, client_id, signed_in_with_mfa, now);
            members.insert("refresh_token".to_owned(), next.into());
        }
        if wish.openid {
            members.insert(
                "id_token".to_owned(),
                id_token(tenant, client_id, None, mfa, now).into(),
            );
        }
    }
    Ok(answer)
}

/// What the client asks a token for.
struct Wish {
    audience: String,
    /// Whether a new refresh token is wanted.
    offline: bool,
    /// Whether the user's identity is wanted as a token.
    openid: bool,
}

/// The audience that a scope of version 2 stands for.
pub(super) fn audience_of_scope(scope: &str, delegated: bool) -> Result<&str, Denial> {
    let named = scope.strip_suffix("/.default");
    let named = if delegated {
        named.or_else(|| scope.strip_suffix("/user_impersonation"))
    } else {
        named
    };
    named.filter(|named| Url::parse(named).is_ok()).ok_or(MALFORMED)
}

const MALFORMED: Denial = Denial::new("invalid_scope", 70_011, "The scope is not valid.");

impl Directory {
    /// The tenant whose user a code was issued for.
    fn home_of(&self, code: &str) -> Option<String> {
        let found = self.codes.iter().find(|known| known.code == code);
        found.map(|found| found.tenant.clone())
    }

    /// Redeems a code: what it is good for, and whether the sign-in had a second factor.
    fn redeem_code(
        &mut self,
        form: &Form,
        tenant: &str,
        client_id: &str,
        version: Version,
        now: Timestamp,
    ) -> Result<(Wish, bool), Denial> {
        let denied = |code, text| Denial::new("invalid_grant", code, text);
        let code = form.required("code")?;
        let redirect = form.required("redirect_uri")?;
        let found = self
            .codes
            .iter_mut()
            .find(|known| known.code == code && known.tenant == tenant && known.client_id == client_id)
            .ok_or(denied(
                70_000,
                "The provided value for the 'code' parameter is not valid.",
            ))?;
        if found.redeemed {
            return Err(denied(
                54_005,
                "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing \
                 refresh token.",
            ));
        }
        if now.duration_since(found.issued) > CODE_LIFETIME {
            return Err(denied(
                70_008,
                "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive \
                 authorization request for this user and resource.",
            ));
        }
        if found.redirect != redirect {
            return Err(Denial::new(
                "invalid_client",
                500_112,
                "The reply address does not match the reply address provided when requesting Authorization code.",
            ));
        }
        found.verify(form.optional("code_verifier"))?;
        let wish = match (&found.wish, version) {
            (Authorized::Resource(resource), Version::One) => {
                let asked = form.optional("resource");
                if let (Some(first), Some(asked)) = (resource.as_deref(), asked)
                    && first != asked
                {
                    return Err(denied(
                        70_000,
                        "The resource is not the one of the authorization request.",
                    ));
                }
                let audience = resource.as_deref().or(asked).ok_or(Denial::missing("resource"))?;
                if Url::parse(audience).is_err() {
                    return Err(UNKNOWN_RESOURCE);
                }
                Wish {
                    audience: audience.to_owned(),
                    offline: true,
                    openid: form
                        .optional("scope")
                        .is_some_and(|scope| scope.split_ascii_whitespace().any(|scope| scope == "openid")),
                }
            }
            (
                Authorized::Scopes {
                    audiences,
                    offline,
                    openid,
                },
                Version::Two,
            ) => {
                let audience = match (form.optional("scope"), audiences.as_slice()) {
                    (Some(_), _) => Wish::second_version(form, true)?.audience,
                    (None, [only]) => only.clone(),
                    (None, _) => {
                        return Err(Denial::new(
                            "invalid_scope",
                            28_000,
                            "The input parameter scope isn't valid because it doesn't name exactly one resource.",
                        ));
                    }
                };
                if form.optional("resource").is_some() {
                    return Err(NO_RESOURCE_HERE);
                }
                if !audiences.contains(&audience) {
                    return Err(denied(
                        70_000,
                        "One or more scopes requested are unauthorized or expired. The user must first sign in and grant \
                         the client application access to the requested scopes.",
                    ));
                }
                Wish {
                    audience,
                    offline: *offline,
                    openid: *openid,
                }
            }
            // The two versions do not take each other's codes.
            (Authorized::Resource(_), Version::Two) | (Authorized::Scopes { .. }, Version::One) => {
                return Err(denied(
                    70_000,
                    "The provided value for the 'code' parameter was issued by another version of the endpoint.",
                ));
            }
        };
        found.redeemed = true;
        Ok((wish, found.mfa))
    }
}

const UNKNOWN_RESOURCE: Denial = Denial::new("invalid_resource", 500_011, "The resource was not found in the tenant.");

const NO_RESOURCE_HERE: Denial = Denial::new("invalid_request", 901_002, "The parameter 'resource' is not supported.");

impl Wish {
    fn first_version(form: &Form) -> Result<Self, Denial> {
        let audience = form.required("resource")?;
        if Url::parse(audience).is_err() {
            return Err(UNKNOWN_RESOURCE);
        }
        Ok(Self {
            audience: audience.to_owned(),
            offline: true,
            openid: false,
        })
    }

    fn second_version(form: &Form, delegated: bool) -> Result<Self, Denial> {
        if form.optional("resource").is_some() {
            return Err(NO_RESOURCE_HERE);
        }
        let mut audience = None;
        let mut offline = false;
        for scope in form.required("scope")?.split_ascii_whitespace() {
            if delegated && matches!(scope, "offline_access" | "openid" | "profile") {
                offline |= scope == "offline_access";
                continue;
            }
            let named = audience_of_scope(scope, delegated)?;
            // One token has one audience.
            if audience.replace(named.to_owned()).is_some() {
                return Err(MALFORMED);
            }
        }
        Ok(Self {
            audience: audience.ok_or(MALFORMED)?,
            offline,
            openid: false,
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
        self.optional(name)
            .filter(|value| !value.is_empty())
            .ok_or(Denial::missing(name))
    }
}

/// A refusal as the endpoint words it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Denial {
    pub(super) error: &'static str,
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

    /// The same reason under the error that another endpoint gives it.
    pub(super) const fn with_error(self, error: &'static str) -> Self {
        Self { error, ..self }
    }

    /// A parameter that must be there is not.
    pub(super) const fn missing(name: &'static str) -> Self {
        Self {
            parameter: Some(name),
            ..Self::new("invalid_request", 900_144, "Missing parameter")
        }
    }

    /// The text as the authorize endpoint gives it.
    pub(super) fn description(self, now: Timestamp) -> String {
        self.worded(Uuid::new_v4(), Uuid::new_v4(), &stamp(now))
    }

    fn worded(self, trace: Uuid, correlation: Uuid, timestamp: &str) -> String {
        let parameter = self.parameter.map(|name| format!(": '{name}'.")).unwrap_or_default();
        format!(
            "AADSTS{}: {}{parameter} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
            self.code, self.text
        )
    }

    fn answer(self, now: Timestamp) -> Response {
        let status = if self.error == "invalid_client" {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::BAD_REQUEST
        };
        let timestamp = stamp(now);
        let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
        let body = json!({
            "error": self.error,
            "error_description": self.worded(trace, correlation, &timestamp),
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace.to_string(),
            "correlation_id": correlation.to_string(),
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        });
        (status, axum::Json(body)).into_response()
    }
}

/// Whom a token stands for.
struct Bearer<'a> {
    tenant: &'a str,
    client_id: &'a str,
    delegated: bool,
    mfa: bool,
}

impl Bearer<'_> {
    /// A token of the real one's shape. Its signature is noise: clients must treat it as opaque, APIs ask
    /// [`super::Entra::check`].
    fn access_token(&self, audience: &str, now: Timestamp, expires: Timestamp) -> String {
        let mut claims = json!({
            "aud": audience,
            "iss": format!("https://sts.windows.net/{}/", self.tenant),
            "tid": self.tenant,
            "appid": self.client_id,
            "iat": now.as_second(),
            "nbf": now.as_second(),
            "exp": expires.as_second(),
            "amr": methods(self.mfa),
        });
        let of_the_bearer = if self.delegated {
            json!({ "oid": USER_OBJECT, "upn": USER_NAME, "unique_name": USER_NAME, "idtyp": "user",
                    "scp": "user_impersonation" })
        } else {
            let principal = Uuid::new_v5(&Uuid::NAMESPACE_OID, self.client_id.as_bytes());
            json!({ "oid": principal.to_string(), "idtyp": "app" })
        };
        if let (Some(claims), Value::Object(more)) = (claims.as_object_mut(), of_the_bearer) {
            claims.extend(more);
        }
        unsigned(&claims)
    }
}

/// Who signed in, for the application itself.
pub(super) fn id_token(tenant: &str, client_id: &str, nonce: Option<&str>, mfa: bool, now: Timestamp) -> String {
    let expires = now + SignedDuration::from_hours(1);
    unsigned(&json!({
        "aud": client_id, "tid": tenant, "oid": USER_OBJECT, "upn": USER_NAME, "amr": methods(mfa), "nonce": nonce,
        "iat": now.as_second(), "exp": expires.as_second(),
    }))
}

fn methods(mfa: bool) -> Value {
    if mfa { json!(["pwd", "mfa"]) } else { json!(["pwd"]) }
}

fn unsigned(claims: &Value) -> String {
    let head = json!({ "typ": "JWT", "alg": "RS256" });
    let noise = URL_SAFE_NO_PAD.encode([random(), random()].concat());
    let (head, claims) = (
        URL_SAFE_NO_PAD.encode(head.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string()),
    );
    format!("{head}.{claims}.{noise}")
}

fn stamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
