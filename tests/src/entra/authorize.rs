//! One visit of the authorize endpoint: what the application asks for, what the user does, what the browser is told.
//!
//! Knows: the parameters of both versions, the user's one act, the ways back to the application. Refuses to know: tokens.
//! Guarantee: a browser is sent back only to a redirect URI that is registered with the application; a request that is
//! wrong before that is known ends at a page.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow> and, for version 1,
//! <https://learn.microsoft.com/partner-center/developer/enable-secure-app-model>.

use std::collections::HashMap;
use std::sync::PoisonError;

use axum::extract::{Path, RawQuery, State};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use super::grant::{Denial, Version, id_token};
use super::{Desk, Directory, SignIn, random, redirect};

/// A code is good for this long.
pub(super) const CODE_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// Tenants that stand for whichever one the user belongs to.
const ANY_TENANT: [&str; 2] = ["common", "organizations"];

pub(super) const NO_CONSENT: Denial = Denial::new(
    "invalid_grant",
    65_001,
    "The user or administrator has not consented to use the application. Send an interactive authorization request \
     for this user and resource.",
);

/// What the documents name; anything else is refused, so that a slip in a name is not taken for a wish.
const PARAMETERS: [&str; 14] = [
    "client_id",
    "response_type",
    "redirect_uri",
    "response_mode",
    "state",
    "prompt",
    "login_hint",
    "domain_hint",
    "nonce",
    "claims",
    "code_challenge",
    "code_challenge_method",
    "scope",
    "resource",
];

/// A code and everything that its redemption is held against.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) code: String,
    pub(super) tenant: String,
    pub(super) client_id: String,
    pub(super) redirect: String,
    /// SHA-256 of the verifier in base64url, or the verifier itself.
    challenge: Option<(Challenge, String)>,
    pub(super) wish: Wish,
    pub(super) mfa: bool,
    pub(super) issued: Timestamp,
    pub(super) redeemed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Challenge {
    Sha256,
    Plain,
}

/// What was asked for at the sign-in.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// Version 1: perhaps a resource already.
    Resource(Option<String>),
    /// Version 2: the audiences of the scopes.
    Scopes {
        audiences: Vec<String>,
        offline: bool,
        openid: bool,
    },
}

impl Code {
    /// Holds the redeemer's verifier against the challenge.
    pub(super) fn verify(&self, verifier: Option<&str>) -> Result<(), Denial> {
        let Some((method, challenge)) = &self.challenge else {
            return Ok(());
        };
        let verifier = verifier.ok_or(Denial::new(
            "invalid_grant",
            50_148,
            "The code_verifier does not match the code_challenge supplied in the authorization request for PKCE.",
        ))?;
        let shown = match method {
            Challenge::Sha256 => URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
            Challenge::Plain => verifier.to_owned(),
        };
        if shown == *challenge {
            return Ok(());
        }
        Err(Denial::new(
            "invalid_grant",
            501_481,
            "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
        ))
    }
}

pub(super) async fn first_version(state: State<Desk>, tenant: Path<String>, query: RawQuery) -> Response {
    answer(&state, &tenant, query, Version::One)
}

pub(super) async fn second_version(state: State<Desk>, tenant: Path<String>, query: RawQuery) -> Response {
    answer(&state, &tenant, query, Version::Two)
}

fn answer(desk: &Desk, tenant: &str, RawQuery(query): RawQuery, version: Version) -> Response {
    let now = desk.clock.now();
    let mut directory = desk.directory.lock().unwrap_or_else(PoisonError::into_inner);
    match visit(&mut directory, tenant, &query.unwrap_or_default(), version, now) {
        Ok(answer) => answer,
        Err(denial) => page(
            StatusCode::BAD_REQUEST,
            "Sorry, but we're having trouble signing you in.",
            &denial.description(now),
        ),
    }
}

/// The error is one that the user sees: the application cannot be told.
fn visit(
    directory: &mut Directory,
    tenant: &str,
    query: &str,
    version: Version,
    now: Timestamp,
) -> Result<Response, Denial> {
    let request = Request::read(query)?;
    let client_id = request.required("client_id")?;
    let known = directory
        .clients
        .iter()
        .find(|((home, id), _)| id == client_id && (home == tenant || ANY_TENANT.contains(&tenant)));
    let Some(((home, _), client)) = known else {
        if !ANY_TENANT.contains(&tenant) && !directory.clients.keys().any(|(home, _)| home == tenant) {
            return Err(Denial::new("invalid_request", 90_002, "The tenant was not found."));
        }
        return Err(Denial::new(
            "unauthorized_client",
            700_016,
            "The application was not found in the tenant.",
        ));
    };
    let redirect = request.required("redirect_uri")?;
    if !client.redirects.iter().any(|known| redirect::matches(known, redirect)) {
        return Err(Denial::new(
            "invalid_request",
            50_011,
            "The redirect URI specified in the request does not match the redirect URIs configured for the application.",
        ));
    }
    let home = home.clone();
    let mut back = Back::read(&request, redirect)?;
    let asked = match request.asked(version) {
        Ok(asked) => asked,
        Err(denial) => return Ok(back.denied(denial, now)),
    };
    let mfa = match directory.sign_in {
        SignIn::NeverAnswers => return Ok(page(StatusCode::OK, "Sign in to your account", "Enter password")),
        SignIn::Cancels => {
            let text = "The user has cancelled the sign-in and gone back to the application.";
            return Ok(back.denied(Denial::new("access_denied", 65_004, text), now));
        }
        SignIn::LacksConsent => {
            return Ok(back.denied(NO_CONSENT.with_error("consent_required"), now));
        }
        SignIn::WithoutMfa => false,
        SignIn::Accepts => true,
    };
    let code = format!("1.A{}", URL_SAFE_NO_PAD.encode([random(), random(), random()].concat()));
    if asked.with_id_token {
        let nonce = request.optional("nonce").unwrap_or_default();
        back.add("id_token", &id_token(&home, client_id, Some(nonce), mfa, now));
    }
    back.add("code", &code);
    back.add("session_state", &Uuid::new_v4().to_string());
    directory.codes.push(Code {
        code,
        tenant: home,
        client_id: client_id.to_owned(),
        redirect: redirect.to_owned(),
        challenge: asked.challenge,
        wish: asked.wish,
        mfa,
        issued: now,
        redeemed: false,
    });
    Ok(back.answer())
}

struct Request(HashMap<String, String>);

/// The part of a request that the application is told about when it is wrong.
struct Asked {
    with_id_token: bool,
    challenge: Option<(Challenge, String)>,
    wish: Wish,
}

impl Request {
    fn read(query: &str) -> Result<Self, Denial> {
        let mut fields = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if !PARAMETERS.contains(&name.as_ref()) {
                return Err(Denial::new("invalid_request", 900_144, "A parameter is not known."));
            }
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Denial::new("invalid_request", 9_002_313, "A parameter is given twice."));
            }
        }
        Ok(Self(fields))
    }

    fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<&str, Denial> {
        self.optional(name).ok_or_else(|| Denial::missing(name))
    }

    fn asked(&self, version: Version) -> Result<Asked, Denial> {
        let with_id_token = match self.required("response_type")? {
            "code" => false,
            "code id_token" => true,
            _ => {
                return Err(Denial::new(
                    "unsupported_response_type",
                    700_054,
                    "The response_type is not enabled for the application.",
                ));
            }
        };
        if with_id_token {
            self.required("nonce")?;
            if self.optional("response_mode").is_none_or(|mode| mode == "query") {
                return Err(Denial::new(
                    "invalid_request",
                    70_007,
                    "'query' is not a supported value of 'response_mode' when requesting a token.",
                ));
            }
        }
        match self.optional("prompt") {
            None | Some("login" | "consent" | "select_account") => {}
            Some("admin_consent") if version == Version::One => {}
            Some("none") => {
                return Err(Denial::new(
                    "login_required",
                    50_058,
                    "A silent sign-in request was sent but no user is signed in.",
                ));
            }
            Some(_) => return Err(Denial::new("invalid_request", 90_023, "Unsupported 'prompt' value.")),
        }
        Ok(Asked {
            with_id_token,
            challenge: self.challenge()?,
            wish: self.wish(version)?,
        })
    }

    fn challenge(&self) -> Result<Option<(Challenge, String)>, Denial> {
        let method = match self.optional("code_challenge_method") {
            Some("S256") => Challenge::Sha256,
            // Left out it means `plain`.
            Some("plain") | None => Challenge::Plain,
            Some(_) => {
                return Err(Denial::new(
                    "invalid_request",
                    9_002_313,
                    "The code_challenge_method is not supported.",
                ));
            }
        };
        let Some(challenge) = self.optional("code_challenge") else {
            return match self.optional("code_challenge_method") {
                Some(_) => Err(Denial::missing("code_challenge")),
                None => Ok(None),
            };
        };
        // RFC 7636: 43 to 128 unreserved characters; the hash in base64url has 43.
        let fits = match method {
            Challenge::Sha256 => challenge.len() == 43,
            Challenge::Plain => (43..=128).contains(&challenge.len()),
        };
        let unreserved = challenge
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        if !fits || !unreserved {
            return Err(Denial::new(
                "invalid_request",
                501_491,
                "Invalid size of Code_Challenge parameter.",
            ));
        }
        Ok(Some((method, challenge.to_owned())))
    }

    fn wish(&self, version: Version) -> Result<Wish, Denial> {
        let resource = self.optional("resource");
        match version {
            Version::One => {
                if resource.is_some_and(|resource| Url::parse(resource).is_err()) {
                    return Err(Denial::new(
                        "invalid_resource",
                        500_011,
                        "The resource was not found in the tenant.",
                    ));
                }
                Ok(Wish::Resource(resource.map(str::to_owned)))
            }
            Version::Two => {
                if resource.is_some() {
                    return Err(Denial::new(
                        "invalid_request",
                        901_002,
                        "The parameter 'resource' is not supported.",
                    ));
                }
                let (mut audiences, mut offline, mut openid) = (Vec::new(), false, false);
                for scope in self.required("scope")?.split_ascii_whitespace() {
                    match scope {
                        "offline_access" => offline = true,
                        "openid" => openid = true,
                        "profile" | "email" => {}
                        scope => {
                            let audience = super::grant::audience_of_scope(scope, true)?.to_owned();
                            if !audiences.contains(&audience) {
                                audiences.push(audience);
                            }
                        }
                    }
                }
                Ok(Wish::Scopes {
                    audiences,
                    offline,
                    openid,
                })
            }
        }
    }
}

/// The way back to the application.
struct Back {
    redirect: Url,
    posts: bool,
    fields: Vec<(&'static str, String)>,
}

impl Back {
    fn read(request: &Request, redirect: &str) -> Result<Self, Denial> {
        let malformed = |_| Denial::new("invalid_request", 50_011, "The redirect URI is malformed.");
        let posts = match request.optional("response_mode") {
            None | Some("query") => false,
            Some("form_post") => true,
            // `fragment` never reaches a server, so none of ours may ask for it.
            Some(_) => {
                return Err(Denial::new(
                    "invalid_request",
                    70_007,
                    "The value of 'response_mode' is not supported here.",
                ));
            }
        };
        let mut back = Self {
            redirect: Url::parse(redirect).map_err(malformed)?,
            posts,
            fields: Vec::new(),
        };
        if let Some(state) = request.optional("state") {
            back.add("state", state);
        }
        Ok(back)
    }

    fn add(&mut self, name: &'static str, value: &str) {
        self.fields.push((name, value.to_owned()));
    }

    fn denied(mut self, denial: Denial, now: Timestamp) -> Response {
        self.add("error", denial.error);
        self.add("error_description", &denial.description(now));
        self.answer()
    }

    fn answer(mut self) -> Response {
        if !self.posts {
            self.redirect
                .query_pairs_mut()
                .extend_pairs(self.fields.iter().map(|(name, value)| (*name, value.as_str())));
            return (StatusCode::FOUND, [(header::LOCATION, self.redirect.to_string())]).into_response();
        }
        let inputs: String = self
            .fields
            .iter()
            .map(|(name, value)| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\" />", escaped(value)))
            .collect();
        Html(format!(
            "<html><head><title>Working...</title></head><body><form method=\"POST\" name=\"hiddenform\" action=\"{}\">\
             {inputs}<noscript><input type=\"submit\" value=\"Submit\" /></noscript></form>\
             <script language=\"javascript\">document.forms[0].submit();</script></body></html>",
            escaped(self.redirect.as_str())
        ))
        .into_response()
    }
}

fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let page = format!(
        "<html><head><title>{0}</title></head><body><h1>{0}</h1><p>{1}</p></body></html>",
        escaped(title),
        escaped(text)
    );
    (status, Html(page)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
