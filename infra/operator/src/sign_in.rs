//! A person's sign-in at Microsoft Entra: authorization code with PKCE, version 1 of the endpoints.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow>,
//! <https://learn.microsoft.com/partner-center/developer/enable-secure-app-model>
//!
//! Knows: the address of the sign-in, what comes back and what it means, and what an access token says about itself.
//! Refuses to know: browsers, ports, where a credential is kept. Guarantees: a code is redeemed only when it came back with
//! our own state; nothing of a token is in an error. The state ties the answer to this run and PKCE ties the code to this
//! process; a nonce would protect an id token, and none is asked for.
//!
//! Version 1, because the functions redeem the refresh token there: what is tried here is what they will do.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connector::entra::{self, Granted, PARTNER_CENTER, TokenEndpoint};
use connector::http::Run;
use connector::settings::Endpoint;
use cosell::ids::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;
use url::form_urlencoded;

use crate::credentials::Chosen;
use crate::trouble::Trouble;

/// Entra's numbers in an error's description, which also holds names; only they are kept.
const NUMBER: &str = "AADSTS";

/// One attempt to sign in.
pub(crate) struct SignIn<'a> {
    pub(crate) entra: &'a Endpoint,
    pub(crate) tenant: TenantId,
    pub(crate) application: &'a Chosen,
    redirect: String,
    state: String,
    verifier: SecretString,
}

impl<'a> SignIn<'a> {
    pub(crate) fn new(entra: &'a Endpoint, tenant: TenantId, application: &'a Chosen, redirect: String) -> Self {
        Self {
            entra,
            tenant,
            application,
            redirect,
            state: random(),
            verifier: random().into(),
        }
    }

    /// Where the person signs in.
    pub(crate) fn address(&self) -> Result<Url, Trouble> {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.expose_secret()));
        let base = format!("{}/{}/oauth2/authorize", self.entra, self.tenant);
        let parameters = [
            ("client_id", self.application.id.as_str()),
            ("response_type", "code"),
            ("response_mode", "query"),
            ("redirect_uri", self.redirect.as_str()),
            ("resource", PARTNER_CENTER),
            ("state", self.state.as_str()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            // The administrator is signed in as himself; the connector's user has to be chosen.
            ("prompt", "select_account"),
        ];
        Url::parse_with_params(&base, parameters).map_err(|_| {
            Trouble::usage(
                "settings_invalid",
                "ENTRA_URL cannot be used",
                "unset it; only tests need it",
            )
        })
    }

    /// What the browser brought back; none when it belongs to another sign-in.
    pub(crate) fn code(&self, query: &str) -> Option<Result<SecretString, Trouble>> {
        let member = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
        };
        if member("state").as_deref() != Some(self.state.as_str()) {
            return None;
        }
        if let Some(error) = member("error") {
            let description = member("error_description").unwrap_or_default();
            return Some(Err(self.refusal(&word(&error), &numbers(&description))));
        }
        let code = member("code").filter(|code| !code.is_empty());
        Some(code.map(SecretString::from).ok_or_else(|| {
            Trouble::new(
                "sign_in_unreadable",
                "the answer of the sign-in carries neither a code nor a reason",
                "run `make consent ENV=...` again",
            )
        }))
    }

    /// Redeems a code. It is good once and for this process only, so it is not tried twice.
    pub(crate) async fn redeem(
        &self,
        client: &reqwest::Client,
        code: &SecretString,
        run: &Run,
    ) -> Result<Granted, Trouble> {
        let form = self.form(&[
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", self.redirect.as_str()),
            ("code_verifier", self.verifier.expose_secret()),
            ("resource", PARTNER_CENTER),
        ]);
        self.ask(client, &form, run).await
    }

    /// Redeems a refresh token for one audience, as the functions do.
    pub(crate) async fn renew(
        &self,
        client: &reqwest::Client,
        refresh_token: &SecretString,
        audience: &str,
        run: &Run,
    ) -> Result<Granted, Trouble> {
        let form = self.form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose_secret()),
            ("resource", audience),
        ]);
        self.ask(client, &form, run).await
    }

    fn form(&self, pairs: &[(&str, &str)]) -> SecretString {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("client_id", &self.application.id);
        form.append_pair("client_secret", self.application.secret.expose_secret());
        form.extend_pairs(pairs);
        form.finish().into()
    }

    async fn ask(&self, client: &reqwest::Client, form: &SecretString, run: &Run) -> Result<Granted, Trouble> {
        let endpoint = TokenEndpoint::first_version(client.clone(), self.entra, self.tenant);
        endpoint.ask(form, run).await.map_err(|error| match &error {
            entra::Error::ConsentNeeded { said } | entra::Error::Refused { said, .. } => self.refusal("", said),
            _ => Trouble::from(&error),
        })
    }

    /// What Entra's reason means here. The numbers are for people, but only they tell these cases apart.
    /// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
    fn refusal(&self, error: &str, said: &str) -> Trouble {
        let said = said.trim();
        let reason = [error, said]
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        let has = |wanted: &[&str]| {
            wanted
                .iter()
                .any(|number| reason.split_whitespace().any(|word| word == *number))
        };
        let trouble = |code, message: &str, cure: String| Trouble::new(code, format!("{message} ({reason})"), cure);
        if has(&["AADSTS65001", "AADSTS90094", "AADSTS90095", "consent_required"]) {
            return trouble(
                "admin_consent_missing",
                "the application has no admin consent for Partner Center",
                "Entra admin center, App registrations, your application, API permissions: add the delegated permission \
                 user_impersonation of \"Microsoft Partner\" (4990cffe-04e8-4e8b-808a-1175604b879f) and of \"Microsoft \
                 Partner Center\" (fa3d9a0c-3fb0-42cc-9193-47c7ecd2edbd), press \"Grant admin consent\", and run this again"
                    .to_owned(),
            );
        }
        if has(&["AADSTS50011", "AADSTS500112", "AADSTS500113"]) {
            return trouble(
                "redirect_uri_unknown",
                "Entra does not know the redirect URI",
                self.redirect_cure(),
            );
        }
        if has(&["AADSTS700025", "AADSTS7000218", "AADSTS90023"]) {
            return trouble(
                "redirect_uri_platform",
                "the redirect URI is registered for another kind of application",
                self.redirect_cure(),
            );
        }
        if has(&["AADSTS50076", "AADSTS50079", "AADSTS50158", "interaction_required"]) {
            return trouble(
                "second_factor_missing",
                "the sign-in lacks a second factor",
                second_factor_cure(),
            );
        }
        if has(&["AADSTS700016", "AADSTS90002", "AADSTS50020", "AADSTS50034"]) {
            return trouble(
                "wrong_tenant",
                "user or application do not belong to this tenant",
                format!(
                    "sign in with a user of tenant {}, and check PARTNER_TENANT_ID and the client id",
                    self.tenant
                ),
            );
        }
        if has(&["AADSTS65004", "access_denied"]) {
            return trouble(
                "sign_in_cancelled",
                "the sign-in was cancelled",
                "run `make consent ENV=...` again and accept what Microsoft shows; nothing was changed".to_owned(),
            );
        }
        trouble(
            "sign_in_refused",
            "Entra refused the sign-in",
            "look the number up at https://login.microsoftonline.com/error and run `make consent ENV=...` again"
                .to_owned(),
        )
    }

    /// The one redirect URI that has to be registered.
    pub(crate) fn redirect_cure(&self) -> String {
        format!(
            "Entra admin center, App registrations, your application, Authentication: add the platform \"Web\" with exactly \
             the redirect URI {}",
            self.redirect
        )
    }
}

pub(crate) fn second_factor_cure() -> String {
    "give the connector's user a second factor (Entra's security defaults or a Conditional Access policy ask for it), sign \
     out of Microsoft in the browser or use a private window, and run `make consent ENV=...` again"
        .to_owned()
}

/// Of a token that tells nothing about itself.
pub(crate) const CLAIMS_HIDDEN: &str = "the token does not say whether the sign-in had a second factor";

/// What an access token says about itself. It came from Entra over TLS, so its signature is not looked at; the API does.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Claims {
    /// The tenant.
    #[serde(default)]
    pub(crate) tid: String,
    /// How the person signed in.
    #[serde(default)]
    pub(crate) amr: Vec<String>,
    /// Who.
    #[serde(default)]
    upn: Option<String>,
    #[serde(default)]
    unique_name: Option<String>,
}

impl Claims {
    pub(crate) fn read(token: &SecretString) -> Option<Self> {
        let payload = token.expose_secret().split('.').nth(1)?;
        let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        serde_json::from_slice(&json).ok()
    }

    pub(crate) fn has_second_factor(&self) -> bool {
        self.amr.iter().any(|method| method == "mfa")
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.upn.as_deref().or(self.unique_name.as_deref())
    }
}

/// A name such as `access_denied`; anything else of an address that anybody may have made is not repeated.
fn word(error: &str) -> String {
    let is_of_a_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
    error.chars().take_while(is_of_a_name).take(40).collect()
}

/// Numbers such as AADSTS65001, separated by blanks.
fn numbers(description: &str) -> String {
    let mut found: Vec<String> = Vec::new();
    for (start, _) in description.match_indices(NUMBER) {
        let rest = description.get(start + NUMBER.len()..).unwrap_or_default();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).take(12).collect();
        let number = format!("{NUMBER}{digits}");
        if !digits.is_empty() && !found.contains(&number) {
            found.push(number);
        }
    }
    found.join(" ")
}

/// 32 bytes that nobody can guess, as text of 43 characters: the least that PKCE takes.
fn random() -> String {
    let bytes: [u8; 32] = rand::Rng::random(&mut rand::rng());
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod foreign;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_taken_from_a_description() {
        let description = "AADSTS65001: The user jo@contoso.com has not consented. Trace: AADSTS650 AADSTS65001 AADSTS";
        assert_eq!(numbers(description), "AADSTS65001 AADSTS650");
    }

    #[test]
    fn claims_are_read_from_the_middle_of_a_token() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"tid":"t","amr":["pwd","mfa"],"upn":"jo@contoso.com"}"#);
        let claims = Claims::read(&format!("e30.{payload}.x").into()).unwrap();
        assert!(claims.has_second_factor());
        assert_eq!((claims.tid.as_str(), claims.user()), ("t", Some("jo@contoso.com")));
        assert!(Claims::read(&"opaque".to_owned().into()).is_none());
    }
}
