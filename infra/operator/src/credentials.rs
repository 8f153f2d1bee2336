//! `cosell credentials`: the Dynamics application's id and secret, tried before they are stored.
//!
//! Knows: where an application's id and secret come from, and the order of trying and storing; `consent` shares the first.
//! Refuses to know: tokens. Guarantees: what does not work is not stored; what is stored already is not stored again; a
//! secret comes from a hidden prompt, a pipe or the environment, and goes to Entra and Secrets Manager only.

use std::sync::atomic::Ordering;

use connector::entra::Tokens;
use connector::http::{Deadline, Run};
use connector::secrets::{self, Secrets};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use crate::arguments::{Application, Credentials};
use crate::cloud;
use crate::command::{Context, Report};
use crate::metadata::Metadata;
use crate::prompt;
use crate::screen::{Mark, Screen};
use crate::settings::Crm;
use crate::trouble::Trouble;

pub(crate) async fn run(order: &Credentials, context: &Context<'_>) -> Result<Report, Trouble> {
    let screen = context.screen;
    let settings = Crm::load(&context.variables)?;
    let aws = cloud::connect(&context.variables, &context.client).await?;
    let secrets = Secrets::new(aws_sdk_secretsmanager::Client::new(&aws));
    screen.heading("Credentials of the Dynamics application");
    screen.pair("Environment", &settings.dataverse);
    screen.pair("Tenant", settings.tenant);
    screen.pair("Secret", &settings.secret);

    let stored = Stored::read(&secrets, &settings.secret).await?;
    let chosen = Chosen::take(&order.application, &stored, context).await?;
    chosen.show(screen, "credentials");
    screen.gap();

    let credential = stored.with(&chosen, None);
    let client = context.client.clone();
    let tokens = Tokens::application_with(
        client,
        &settings.entra,
        settings.tenant,
        &settings.dataverse,
        credential.clone(),
    );
    tokens
        .bearer(&Run::new(Deadline::NEVER))
        .await
        .map_err(|error| Trouble::from(&error))?;
    screen.marked(Mark::Good, "Entra gives a token");
    let metadata = Metadata::new(context.client.clone(), settings.dataverse.clone(), tokens);
    let identity = metadata.who_am_i().await.map_err(|error| Trouble::from(&error))?;
    screen.marked(
        Mark::Good,
        &format!("Dynamics knows the application as user {}", identity.user_id),
    );

    let next = "`make columns ENV=...` prepares the CRM.";
    if stored.is_same(&credential) {
        screen.marked(Mark::Good, "stored already; nothing was written");
        screen.next(next);
        return Ok(report("unchanged", &chosen, None));
    }
    context.is_writing.store(true, Ordering::Relaxed);
    let version = secrets.store(&settings.secret, &credential).await;
    context.is_writing.store(false, Ordering::Relaxed);
    let version = version.map_err(|error| Trouble::from(&error))?;
    screen.marked(Mark::Good, &format!("stored in {}", settings.secret));
    screen.next(next);
    Ok(report("stored", &chosen, Some(version)))
}

fn report(outcome: &str, chosen: &Chosen, version: Option<String>) -> Report {
    Report {
        is_fine: true,
        document: json!({ "outcome": outcome, "client_id": chosen.id, "version": version }),
    }
}

/// What is in the secret now; nothing when it was never filled.
#[derive(Default)]
pub(crate) struct Stored {
    members: Map<String, Value>,
}

impl Stored {
    /// Reads it, and makes sure that there is a secret to store into.
    pub(crate) async fn read(secrets: &Secrets, id: &str) -> Result<Self, Trouble> {
        let value = match secrets.read(id).await {
            Ok(secret) => secret.value,
            // What is no text was never ours, and is replaced.
            Err(secrets::Error::NoValue { .. } | secrets::Error::NoText { .. }) => return Ok(Self::default()),
            Err(error) if error.is_absence() => {
                // An empty secret is told from a missing one by the service's words. Should they change, this still helps.
                if secrets.exists(id).await.map_err(|error| Trouble::from(&error))? {
                    return Ok(Self::default());
                }
                return Err(Trouble::from(&error));
            }
            Err(error) => return Err(Trouble::from(&error)),
        };
        // Nor was what is no JSON object.
        let members = serde_json::from_str(value.expose_secret()).unwrap_or_default();
        Ok(Self { members })
    }

    fn member(&self, name: &str) -> Option<&str> {
        let text = self.members.get(name)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// The secret's new content. Members that are not ours are kept.
    pub(crate) fn with(&self, chosen: &Chosen, refresh_token: Option<&SecretString>) -> SecretString {
        let mut members = self.members.clone();
        members.insert("client_id".to_owned(), chosen.id.as_str().into());
        members.insert("client_secret".to_owned(), chosen.secret.expose_secret().into());
        if let Some(token) = refresh_token {
            members.insert("refresh_token".to_owned(), token.expose_secret().into());
        }
        Value::Object(members).to_string().into()
    }

    fn is_same(&self, content: &SecretString) -> bool {
        serde_json::from_str::<Map<String, Value>>(content.expose_secret()).is_ok_and(|content| content == self.members)
    }
}

/// The variable that holds an application's secret for the length of one call.
const CLIENT_SECRET: &str = "CLIENT_SECRET";

/// An application, and where its secret came from.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) id: String,
    pub(crate) secret: SecretString,
    pub(crate) is_stored: bool,
}

impl Chosen {
    /// Takes id and secret from options, pipe, environment, the stored credential, or the person, in this order. A stored
    /// secret belongs to the stored id and to no other.
    pub(crate) async fn take(order: &Application, stored: &Stored, context: &Context<'_>) -> Result<Self, Trouble> {
        let stored_id = stored.member("client_id");
        let id = match order.client_id.clone().or_else(|| stored_id.map(str::to_owned)) {
            Some(id) => id,
            None if prompt::is_answered() && !order.secret_stdin => {
                context.screen.gap();
                prompt::ask("Application (client) id:").await?
            }
            None => return Err(unanswered("client id", "with `ARGS=\"--client-id ID\"`")),
        };
        let id = id.trim().to_owned();
        if id.is_empty() {
            return Err(unanswered("client id", "with `ARGS=\"--client-id ID\"`"));
        }
        let (secret, is_stored) = if order.secret_stdin {
            (prompt::piped().await?, false)
        } else if let Some(secret) = context.variables.secret(CLIENT_SECRET) {
            (secret.into(), false)
        } else {
            match stored.member("client_secret") {
                Some(secret) if !order.new_secret && stored_id == Some(id.as_str()) => (secret.to_owned().into(), true),
                _ if prompt::is_answered() => {
                    let question = "Client secret (its value; it is not shown):";
                    (prompt::ask_hidden(question).await?, false)
                }
                _ => return Err(unanswered("client secret", SECRET_WAYS)),
            }
        };
        if secret.expose_secret().trim().is_empty() {
            return Err(unanswered("client secret", SECRET_WAYS));
        }
        Ok(Self { id, secret, is_stored })
    }

    /// Says which it is and, where nobody was asked for its secret, how to be asked: `target` is what make calls this.
    pub(crate) fn show(&self, screen: Screen, target: &str) {
        let whence = if self.is_stored {
            " (with the stored secret)"
        } else {
            ""
        };
        screen.pair("Application", format!("{}{whence}", self.id));
        if self.is_stored {
            screen.aside(&format!(
                "The stored client secret is used; `make {target} ENV=... ARGS=--new-secret` asks for another."
            ));
        }
    }
}

/// Ways to give a secret where nobody can be asked.
const SECRET_WAYS: &str = "with `ARGS=--secret-stdin` through a pipe, or in the variable CLIENT_SECRET";

fn unanswered(what: &str, ways: &str) -> Trouble {
    Trouble::usage(
        "no_answer",
        format!("no {what} was given"),
        format!("run it in a terminal, or give it {ways}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> Stored {
        Stored {
            members: serde_json::from_str(text).unwrap(),
        }
    }

    #[test]
    fn members_that_are_not_ours_are_kept_and_sameness_is_seen() {
        let before = stored(r#"{"client_id":"a","client_secret":"b","refresh_token":"c","note":"d"}"#);
        let chosen = Chosen {
            id: "a".to_owned(),
            secret: "b".to_owned().into(),
            is_stored: true,
        };
        assert!(before.is_same(&before.with(&chosen, None)));
        let renewed = before.with(&chosen, Some(&"e".to_owned().into()));
        assert!(!before.is_same(&renewed));
        assert!(renewed.expose_secret().contains(r#""note":"d""#));
    }

    #[test]
    fn a_secret_is_not_in_debug() {
        let chosen = Chosen {
            id: "a".to_owned(),
            secret: "hunter2".to_owned().into(),
            is_stored: false,
        };
        assert!(!format!("{chosen:?}").contains("hunter2"));
    }
}
