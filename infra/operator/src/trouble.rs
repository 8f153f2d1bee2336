//! What went wrong, in the three parts a person needs: what, why, and what to do about it.
//!
//! Knows: the clients' errors and the cure of each. Refuses to know: how it is shown. Guarantee: nothing of a token, a
//! secret or a URL's query is ever part of it; vendors' own words are kept to what their errors say.

use std::fmt;

use connector::entra;
use connector::http::{self, chain};
use connector::registration_api;
use connector::secrets;
use serde::Serialize;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something failed, or differs.
    Failed,
    /// The call was wrong: an option, a setting, a missing answer.
    Usage,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Trouble {
    /// A bounded name for programs.
    pub(crate) code: &'static str,
    /// What went wrong and why.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) cure: String,
    #[serde(skip)]
    pub(crate) exit: Exit,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.cure)
    }
}

impl std::error::Error for Trouble {}

impl Trouble {
    pub(crate) fn new(code: &'static str, message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            cure: cure.into(),
            exit: Exit::Failed,
        }
    }

    /// The call was wrong.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(code, message, cure)
        }
    }

    /// Several troubles of one kind of thing as one: every message, and every cure once. None when there is none.
    pub(crate) fn joined(troubles: Vec<Self>) -> Option<Self> {
        troubles.into_iter().reduce(|mut all, next| {
            all.message = format!("{}; {}", all.message, next.message);
            if !all.cure.contains(&next.cure) {
                all.cure = format!("{}; {}", all.cure, next.cure);
            }
            all
        })
    }

    /// The same with another cure: the one in front of the person may know more.
    pub(crate) fn cured_by(self, cure: impl Into<String>) -> Self {
        let cure = cure.into();
        Self { cure, ..self }
    }
}

impl From<&secrets::Error> for Trouble {
    fn from(error: &secrets::Error) -> Self {
        let (code, message) = (error.code(), chain(error));
        if let secrets::Error::NoValue { id } = error {
            let message = format!("the secret {id} is still empty");
            return Self::new(
                code,
                message,
                "run `make consent ENV=...` or `make credentials ENV=...`, whichever fills it",
            );
        }
        if error.is_absence() {
            let message = format!("{message}: there is no such secret in this account and region");
            let cure = "deploy first (`make deploy ENV=...` creates it, empty), and check AWS_REGION, the account of your AWS \
                        profile, and the secret's name in the settings";
            return Self::new("secret_missing", message, cure);
        }
        if matches!(error, secrets::Error::Call { source, .. } if source.has_code("LimitExceededException")) {
            // <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
            let cure = "wait a day and run it again, or recreate the secret: it keeps about 100 versions, and removes none that is \
                        younger than a day";
            return Self::new("secret_versions_full", message, cure);
        }
        let cure = if error.is_denial() {
            "ask for the AWS permissions GetSecretValue, DescribeSecret and PutSecretValue on this secret and, if it is \
             encrypted with a key of its own, Decrypt and GenerateDataKey on that key"
        } else {
            "check AWS_REGION and the AWS profile, then run it again"
        };
        Self::new(code, message, cure)
    }
}

impl From<&entra::Error> for Trouble {
    fn from(error: &entra::Error) -> Self {
        let (message, cure) = match error {
            entra::Error::Secret(error) => return error.into(),
            entra::Error::SecretEmpty { id, cure, .. } => {
                let message = format!("the secret {id} is still empty");
                return Self::new(error.code(), message, format!("run `{cure}`"));
            }
            entra::Error::SecretIncomplete { id, members, cure } => {
                let message = format!("the secret {id} is not JSON with {members}");
                return Self::new(error.code(), message, format!("run `{cure}`"));
            }
            entra::Error::ConsentNeeded { said } => (
                format!("Entra does not accept the stored sign-in ({said})"),
                "run `make consent ENV=...` and sign in with a second factor",
            ),
            entra::Error::ClientRefused { said } => (
                format!("Entra does not accept the client secret ({said})"),
                "make a new client secret in the app registration (Certificates & secrets), copy its value, not its id, \
                 and run `make credentials ENV=... ARGS=--new-secret` for Dynamics, `make consent ENV=... ARGS=--new-secret` \
                 for Partner Center",
            ),
            entra::Error::Refused { status, said } => (
                format!("Entra refused with status {status} ({said})"),
                refused_by_entra(said),
            ),
            entra::Error::Unavailable { .. } | entra::Error::Lost(_) | entra::Error::Unreadable => (
                chain(error),
                "check that this machine reaches login.microsoftonline.com, then run it again",
            ),
        };
        Self::new(error.code(), message, cure)
    }
}

/// Numbers as the vendor explains them; the general cure is good for all others.
/// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
fn refused_by_entra(said: &str) -> &'static str {
    if said.contains("AADSTS700016") {
        "the application is not known in this tenant: check the client id and the tenant's id"
    } else if said.contains("AADSTS90002") {
        "there is no such tenant: check PARTNER_TENANT_ID and DATAVERSE_TENANT_ID"
    } else if said.contains("AADSTS500011") {
        "the tenant does not know this CRM: check DATAVERSE_URL and DATAVERSE_TENANT_ID"
    } else {
        "check the tenant's id, the client id and DATAVERSE_URL"
    }
}

impl From<&http::Error> for Trouble {
    fn from(error: &http::Error) -> Self {
        let message = match error {
            http::Error::Token { source, .. } => return source.into(),
            // Its own words end with a cure; here it stands apart.
            http::Error::Refused(refusal) => {
                let codes = refusal.codes.join(" ");
                let said = [codes.as_str(), refusal.message.as_str()];
                let said: Vec<&str> = said.into_iter().filter(|part| !part.is_empty()).collect();
                let status = refusal.status.as_u16();
                format!(
                    "{} was refused with status {status}: {}",
                    refusal.operation,
                    said.join(" ")
                )
            }
            _ => chain(error),
        };
        let cure = match error.code() {
            "second_factor_missing" => "run `make consent ENV=...` and sign in with a second factor",
            "user_not_admitted" => {
                "make the application a user of the environment (Power Platform admin center, Environments, Settings, Users \
                 + permissions, Application users) and give it a security role"
            }
            "privilege_missing" => {
                "give the security role of the application user the privilege the message names, for the whole organisation"
            }
            "schema_mismatch" => "run `make columns ENV=...`",
            "unauthenticated" => {
                "check that the stored credential belongs to this system: `make credentials ENV=...` for Dynamics, `make consent ENV=...` for Partner Center"
            }
            "access_denied" => "check the roles of the connector's user",
            "not_found" => "check the URL in the settings",
            "redirected" => "check the URL in the settings: it must be the system's own, not one that leads on",
            "throttled" | "unavailable" | "timed_out" | "locked" | "out_of_time" => {
                "wait a few minutes and run it again"
            }
            "unreachable" => "check the URL in the settings and that this machine reaches it",
            _ => {
                "the vendor's words above are all that is known; run it again, and if it stays, ask with the request at hand"
            }
        };
        Self::new(error.code(), message, cure)
    }
}

impl From<&registration_api::Error> for Trouble {
    fn from(error: &registration_api::Error) -> Self {
        match error {
            registration_api::Error::Http(error) => error.into(),
            registration_api::Error::RoleMissing(_) => Self::new(
                error.code(),
                "the connector's user may not manage webhooks",
                "give it one of the roles Admin agent, Sales agent, Helpdesk agent or Billing admin besides Referrals admin",
            ),
        }
    }
}
