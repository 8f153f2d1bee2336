//! Microsoft Entra's authorize and token endpoints, versions 1 and 2: a sign-in in a browser, and the grants of a server.
//!
//! Knows: tenants, clients with their secrets and redirect URIs, codes, refresh tokens, which access token was issued for
//! which audience and until when, and what the one user does at the sign-in page. Refuses to know: what an API does with
//! a token; how requests and answers are worded. Guarantee: an access token answers [`Entra::check`] as valid for exactly
//! the audience it was asked for, byte for byte; a code is redeemed once.

mod authorize;
mod control;
mod grant;
mod redirect;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use self::authorize::Code;
use self::grant::Denial;
use crate::clock::Clock;
use crate::switchboard::Switchboard;

/// Audience of the Referrals API.
pub const PARTNER_AUDIENCE: &str = "https://api.partner.microsoft.com";
/// Audience of the webhook registration API.
pub const PARTNER_CENTER_AUDIENCE: &str = "https://api.partnercenter.microsoft.com";

/// A refresh token that is not used for this long dies.
const REFRESH_TOKEN_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The user who signs in, as tokens name them.
pub const USER_OBJECT: &str = "5b0e6c1d-2f64-4c0e-9c55-2a7d1e4f8b90";
/// The same user's sign-in name.
pub const USER_NAME: &str = "cosell-service@aldermoor.example";

/// What the user does at the sign-in page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignIn {
    /// Signs in with a second factor and accepts, at once.
    #[default]
    Accepts,
    /// Signs in without a second factor.
    WithoutMfa,
    /// Goes back to the application without signing in.
    Cancels,
    /// May not go on, since nobody has consented to the application's permissions.
    LacksConsent,
    /// Leaves the page open.
    NeverAnswers,
}

/// What an API finds out about the `Authorization` header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenCheck {
    /// Issued here, for this audience, and not yet expired.
    Valid {
        /// Whether a user stands behind it (a refresh token was redeemed) and not only an application.
        delegated: bool,
        /// Whether the user signed in with a second factor; always false for an application alone.
        mfa: bool,
        /// The application.
        client_id: String,
    },
    /// No header, or not of the form `Bearer <token>`.
    Missing,
    /// Never issued here.
    Unknown,
    /// Issued, but its time is over.
    Expired,
    /// Issued for another audience.
    WrongAudience {
        /// The audience it was issued for.
        issued_for: String,
    },
}

#[derive(Clone, Debug)]
struct Client {
    secret: String,
    /// As registered with the application.
    redirects: Vec<String>,
}

#[derive(Clone, Debug)]
struct RefreshToken {
    token: String,
    tenant: String,
    client_id: String,
    issued: Timestamp,
    revoked: bool,
    /// Whether the sign-in behind it had a second factor.
    mfa: bool,
}

#[derive(Clone, Debug)]
struct AccessToken {
    audience: String,
    client_id: String,
    delegated: bool,
    mfa: bool,
    expires: Timestamp,
}

#[derive(Debug)]
struct Directory {
    clients: HashMap<(String, String), Client>,
    /// In order of issue.
    refresh_tokens: Vec<RefreshToken>,
    codes: Vec<Code>,
    access_tokens: HashMap<String, AccessToken>,
    lifetime: Duration,
    omit_rotation: bool,
    only_newest_refresh_token: bool,
    drop_mfa: bool,
    sign_in: SignIn,
    /// The only audience that anybody has consented to; all of them when absent.
    only_audience: Option<String>,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            clients: HashMap::new(),
            refresh_tokens: Vec::new(),
            codes: Vec::new(),
            access_tokens: HashMap::new(),
            lifetime: Duration::from_secs(4_000),
            omit_rotation: false,
            only_newest_refresh_token: false,
            drop_mfa: false,
            sign_in: SignIn::default(),
            only_audience: None,
        }
    }
}

/// The simulated identity provider. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Entra {
    address: SocketAddr,
    clock: Clock,
    directory: Arc<Mutex<Directory>>,
}

impl Entra {
    /// Serves the endpoints at `address` (port 0 picks a free one).
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(board: &Switchboard, clock: &Clock, address: SocketAddr) -> std::io::Result<Self> {
        let desk = Desk {
            clock: clock.clone(),
            directory: Arc::default(),
        };
        // The control routes need no address.
        let people = Self {
            address,
            clock: desk.clock.clone(),
            directory: Arc::clone(&desk.directory),
        };
        let router = Router::new()
            .route("/{tenant}/oauth2/authorize", get(authorize::first_version))
            .route("/{tenant}/oauth2/v2.0/authorize", get(authorize::second_version))
            .route("/{tenant}/oauth2/token", post(grant::first_version))
            .route("/{tenant}/oauth2/v2.0/token", post(grant::second_version))
            .with_state(desk.clone())
            .merge(control::router(people));
        let address = board.serve("entra", address, router).await?;
        Ok(Self {
            address,
            clock: desk.clock,
            directory: desk.directory,
        })
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it listens, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Registers an application for which an operator has signed in once, and returns the refresh token of that sign-in.
    /// Called again for the same client it stands for another sign-in, or for a renewed secret.
    pub fn add_delegated_client(&self, tenant: &str, client_id: &str, secret: &str) -> String {
        self.add_app_client(tenant, client_id, secret);
        let now = self.clock.now();
        self.directory().issue_refresh_token(tenant, client_id, true, now)
    }

    /// Registers an application that acts for itself; called again it replaces the secret.
    pub fn add_app_client(&self, tenant: &str, client_id: &str, secret: &str) {
        let key = (tenant.to_owned(), client_id.to_owned());
        let mut directory = self.directory();
        let client = directory.clients.entry(key).or_insert_with(|| Client {
            secret: String::new(),
            redirects: Vec::new(),
        });
        secret.clone_into(&mut client.secret);
    }

    /// Registers a redirect URI with an application; false when there is no such application, or the URI may not be
    /// registered: https, or http to `localhost` or `127.0.0.1`, without a fragment.
    pub fn add_redirect(&self, tenant: &str, client_id: &str, uri: &str) -> bool {
        let key = (tenant.to_owned(), client_id.to_owned());
        let mut directory = self.directory();
        let Some(client) = directory.clients.get_mut(&key).filter(|_| redirect::may_register(uri)) else {
            return false;
        };
        client.redirects.push(uri.to_owned());
        true
    }

    /// What the user does at the sign-in page from now on.
    pub fn sign_in(&self, act: SignIn) {
        self.directory().sign_in = act;
    }

    /// Takes away the consent for all audiences but this one, so that a refresh token works for it alone; `None` gives
    /// it back.
    pub fn only_audience(&self, audience: Option<&str>) {
        self.directory().only_audience = audience.map(str::to_owned);
    }

    /// While on, a grant gives no new refresh token; the old one stays the only one.
    pub fn omit_rotation(&self, on: bool) {
        self.directory().omit_rotation = on;
    }

    /// Revokes every refresh token issued so far; only a new sign-in helps.
    pub fn revoke_all_refresh_tokens(&self) {
        for token in &mut self.directory().refresh_tokens {
            token.revoked = true;
        }
    }

    /// While on, only the newest refresh token of a client can be redeemed.
    pub fn expire_old_refresh_tokens(&self, on: bool) {
        self.directory().only_newest_refresh_token = on;
    }

    /// How long access tokens issued from now on live.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.directory().lifetime = lifetime;
    }

    /// While on, delegated access tokens are issued without the claim of a second factor.
    pub fn drop_mfa(&self, on: bool) {
        self.directory().drop_mfa = on;
    }

    /// Judges an `Authorization` header for an API whose audience is `audience`.
    #[must_use]
    pub fn check(&self, header_authorization: Option<&str>, audience: &str) -> TokenCheck {
        let Some((scheme, token)) = header_authorization.and_then(|value| value.split_once(' ')) else {
            return TokenCheck::Missing;
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return TokenCheck::Missing;
        }
        let now = self.clock.now();
        match self.directory().access_tokens.get(token) {
            None => TokenCheck::Unknown,
            Some(found) if found.audience != audience => TokenCheck::WrongAudience {
                issued_for: found.audience.clone(),
            },
            Some(found) if found.expires <= now => TokenCheck::Expired,
            Some(found) => TokenCheck::Valid {
                delegated: found.delegated,
                mfa: found.mfa,
                client_id: found.client_id.clone(),
            },
        }
    }
}

impl Directory {
    fn issue_refresh_token(&mut self, tenant: &str, client_id: &str, mfa: bool, now: Timestamp) -> String {
        let token = format!("0.A{}", URL_SAFE_NO_PAD.encode([random(), random(), random()].concat()));
        self.refresh_tokens.push(RefreshToken {
            token: token.clone(),
            tenant: tenant.to_owned(),
            client_id: client_id.to_owned(),
            issued: now,
            revoked: false,
            mfa,
        });
        token
    }

    /// Whether the sign-in behind the token had a second factor, if this client may redeem it; the error is what the
    /// endpoint answers.
    fn redeem(&self, token: &str, tenant: &str, client_id: &str, now: Timestamp) -> Result<bool, Denial> {
        let found = self
            .refresh_tokens
            .iter()
            .find(|known| known.token == token && known.tenant == tenant && known.client_id == client_id);
        let Some(found) = found else {
            return Err(Denial::new(
                "invalid_grant",
                9_002_313,
                "The refresh token is malformed or not of this client.",
            ));
        };
        if found.revoked {
            return Err(Denial::new(
                "invalid_grant",
                50_173,
                "The grant was revoked; a fresh sign-in is needed.",
            ));
        }
        let newest = self
            .refresh_tokens
            .iter()
            .rfind(|known| known.tenant == tenant && known.client_id == client_id)
            .is_some_and(|known| known.token == token);
        if now.duration_since(found.issued) > REFRESH_TOKEN_LIFETIME || (self.only_newest_refresh_token && !newest) {
            return Err(Denial::new(
                "invalid_grant",
                700_082,
                "The refresh token has expired by inactivity.",
            ));
        }
        Ok(found.mfa)
    }

    /// Whether somebody has consented that a user's token is issued for this audience.
    fn check_consent(&self, audience: &str) -> Result<(), Denial> {
        if self.only_audience.as_deref().is_none_or(|only| only == audience) {
            return Ok(());
        }
        Err(authorize::NO_CONSENT)
    }
}

#[derive(Clone)]
struct Desk {
    clock: Clock,
    directory: Arc<Mutex<Directory>>,
}

fn random() -> [u8; 16] {
    *Uuid::new_v4().as_bytes()
}
