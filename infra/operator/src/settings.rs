//! Settings of a person's call: the deployment's variables, from the environment and from a file.
//!
//! Knows: which command needs which variable. Refuses to know: what the values are for. Guarantees: the environment wins
//! over the file, but for the region; a file that holds a secret is refused, so that nobody gets used to it; all problems are reported at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use connector::settings::{
    self, ENTRA_URL, Endpoint, EventName, PARTNER_CENTER_URL, PARTNER_CENTER_WEBHOOKS_URL, Problem, Reader,
    SettingsError, WEBHOOK_EVENTS, WebhookUrl,
};
use cosell::ids::TenantId;
use cosell::mapping::Mapping;
use serde_json::{Map, Value};
use url::Url;

use crate::trouble::Trouble;

/// Names that belong in Secrets Manager, in a prompt or, for a moment, in the environment.
const SECRETS: [&str; 5] = [
    "CLIENT_SECRET",
    "REFRESH_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "PASSWORD",
];

/// The variables of this call.
pub(crate) struct Variables<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    file: BTreeMap<String, String>,
}

impl<'a> Variables<'a> {
    pub(crate) fn load(environment: &'a dyn Fn(&str) -> Option<String>, file: Option<&Path>) -> Result<Self, Trouble> {
        let file = file.map(read).transpose()?.unwrap_or_default();
        Ok(Self { environment, file })
    }

    /// A variable; blank counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let from_environment = (self.environment)(name).filter(|value| !value.trim().is_empty());
        from_environment.or_else(|| self.file.get(name).cloned())
    }

    /// The region of the deployment. Here the file wins: a CloudShell exports the region it was opened in, and nobody says
    /// that on purpose.
    pub(crate) fn region(&self) -> Option<String> {
        let in_file = self.file.get("AWS_REGION").cloned();
        in_file.or_else(|| {
            ["AWS_REGION", "AWS_DEFAULT_REGION"]
                .into_iter()
                .find_map(|name| self.get(name))
        })
    }

    /// A secret: from the environment alone.
    pub(crate) fn secret(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.trim().is_empty())
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, Trouble> {
    let wrong = |message: String| {
        Trouble::usage(
            "settings_file_unusable",
            message,
            "name a JSON object of variables, as `infra/run operator ENV` writes one",
        )
    };
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("{shown} cannot be read: {error}")))?;
    // The parser's words quote nothing but positions.
    let values: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| wrong(format!("{shown} is not a JSON object: {error}")))?;
    let mut variables = BTreeMap::new();
    for (name, value) in values {
        if SECRETS.iter().any(|secret| name.ends_with(secret)) {
            return Err(Trouble::usage(
                "settings_file_holds_secret",
                format!("{shown} holds {name}: secrets do not belong in a file"),
                "take it out, and make a new secret if others could read the file; the commands ask for it",
            ));
        }
        let text = match value {
            Value::String(text) => text,
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => {
                return Err(wrong(format!("{shown} holds {name}, which is no text")));
            }
        };
        if !text.trim().is_empty() {
            variables.insert(name, text);
        }
    }
    Ok(variables)
}

/// The problems of settings as a person's trouble.
pub(crate) fn trouble(error: &SettingsError) -> Trouble {
    match error {
        SettingsError::Settings(problems) => problems_trouble(problems),
        SettingsError::Transport(error) => transport_trouble(error),
    }
}

pub(crate) fn problems_trouble(problems: &[Problem]) -> Trouble {
    let list: Vec<String> = problems.iter().map(Problem::to_string).collect();
    Trouble::usage(
        "settings_invalid",
        format!("settings are missing or unusable: {}", list.join("; ")),
        "name the deployment's settings with --settings FILE (`infra/run operator ENV` writes one), or set the variables",
    )
}

pub(crate) fn transport_trouble(error: &transport::Error) -> Trouble {
    Trouble::new(
        error.code(),
        connector::http::chain(error),
        "this should not happen; please report it",
    )
}

/// What `consent` needs.
#[derive(Debug)]
pub(crate) struct PartnerCenter {
    pub(crate) entra: Endpoint,
    pub(crate) tenant: TenantId,
    pub(crate) secret: String,
}

impl PartnerCenter {
    pub(crate) fn load(variables: &Variables<'_>) -> Result<Self, Trouble> {
        let lookup = |name: &str| variables.get(name);
        let mut reader = Reader::new(&lookup);
        let entra = reader.or_default("ENTRA_URL", ENTRA_URL, settings::endpoint);
        let tenant = reader.required("PARTNER_TENANT_ID", settings::tenant);
        let secret = reader.required("PARTNER_CENTER_SECRET", settings::name);
        reader
            .finish(|| {
                Some(Self {
                    entra: entra?,
                    tenant: tenant?,
                    secret: secret?,
                })
            })
            .map_err(|error| trouble(&error))
    }
}

/// What `register` and `prove` need.
#[derive(Debug)]
pub(crate) struct Webhook {
    pub(crate) account: PartnerCenter,
    pub(crate) webhooks: Endpoint,
    pub(crate) url: WebhookUrl,
    pub(crate) events: Vec<EventName>,
}

impl Webhook {
    pub(crate) fn load(variables: &Variables<'_>) -> Result<Self, Trouble> {
        let lookup = |name: &str| variables.get(name);
        let mut reader = Reader::new(&lookup);
        let entra = reader.or_default("ENTRA_URL", ENTRA_URL, settings::endpoint);
        let tenant = reader.required("PARTNER_TENANT_ID", settings::tenant);
        let secret = reader.required("PARTNER_CENTER_SECRET", settings::name);
        let webhooks_default = PARTNER_CENTER_WEBHOOKS_URL;
        let webhooks = reader.or_default("PARTNER_CENTER_WEBHOOKS_URL", webhooks_default, settings::endpoint);
        let url = reader.required("WEBHOOK_URL", webhook_url);
        let events = reader.or_default("WEBHOOK_EVENTS", WEBHOOK_EVENTS, settings::event_names);
        reader
            .finish(|| {
                let account = PartnerCenter {
                    entra: entra?,
                    tenant: tenant?,
                    secret: secret?,
                };
                Some(Self {
                    account,
                    webhooks: webhooks?,
                    url: url?,
                    events: events?,
                })
            })
            .map_err(|error| trouble(&error))
    }
}

fn webhook_url(text: &str) -> Result<WebhookUrl, String> {
    WebhookUrl::parse(text).map_err(str::to_owned)
}

/// What `credentials` and `columns` need.
#[derive(Clone, Debug)]
pub(crate) struct Crm {
    pub(crate) entra: Endpoint,
    pub(crate) tenant: TenantId,
    pub(crate) dataverse: Endpoint,
    pub(crate) secret: String,
}

impl Crm {
    pub(crate) fn load(variables: &Variables<'_>) -> Result<Self, Trouble> {
        let lookup = |name: &str| variables.get(name);
        let mut reader = Reader::new(&lookup);
        let entra = reader.or_default("ENTRA_URL", ENTRA_URL, settings::endpoint);
        // Most partners have one tenant.
        let tenant = match reader.optional("DATAVERSE_TENANT_ID", settings::tenant) {
            Some(tenant) => Some(tenant),
            None => reader.required("PARTNER_TENANT_ID", settings::tenant),
        };
        let dataverse = reader.required("DATAVERSE_URL", dataverse);
        let secret = reader.required("DATAVERSE_SECRET", settings::name);
        reader
            .finish(|| {
                Some(Self {
                    entra: entra?,
                    tenant: tenant?,
                    dataverse: dataverse?,
                    secret: secret?,
                })
            })
            .map_err(|error| trouble(&error))
    }
}

fn dataverse(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse_dataverse(text).map_err(str::to_owned)
}

/// What `doctor` looks at: whatever of it can be read, and what is wrong with the rest.
#[derive(Debug)]
pub(crate) struct Everything {
    pub(crate) entra: Option<Endpoint>,
    pub(crate) partner_tenant: Option<TenantId>,
    pub(crate) dataverse_tenant: Option<TenantId>,
    pub(crate) partner_center: Option<Endpoint>,
    pub(crate) webhooks: Option<Endpoint>,
    pub(crate) partner_center_secret: Option<String>,
    pub(crate) dataverse: Option<Endpoint>,
    pub(crate) dataverse_secret: Option<String>,
    pub(crate) queue: Option<Url>,
    pub(crate) links_table: Option<String>,
    pub(crate) audit_table: Option<String>,
    pub(crate) webhook_url: Option<WebhookUrl>,
    pub(crate) webhook_events: Vec<EventName>,
    pub(crate) mapping_file: Option<PathBuf>,
    /// Whether nothing is written at either vendor, and no webhook wanted.
    pub(crate) is_dry_run: bool,
    /// Whether referrals that are not co-sell stay out.
    cosell_only: bool,
    pub(crate) problems: Vec<Problem>,
}

impl Everything {
    pub(crate) fn load(variables: &Variables<'_>) -> Self {
        let lookup = |name: &str| variables.get(name);
        let mut reader = Reader::new(&lookup);
        let entra = reader.or_default("ENTRA_URL", ENTRA_URL, settings::endpoint);
        let partner_tenant = reader.required("PARTNER_TENANT_ID", settings::tenant);
        let other_tenant = reader.optional("DATAVERSE_TENANT_ID", settings::tenant);
        let partner_center = reader.or_default("PARTNER_CENTER_URL", PARTNER_CENTER_URL, settings::endpoint);
        let webhooks_default = PARTNER_CENTER_WEBHOOKS_URL;
        let webhooks = reader.or_default("PARTNER_CENTER_WEBHOOKS_URL", webhooks_default, settings::endpoint);
        let partner_center_secret = reader.required("PARTNER_CENTER_SECRET", settings::name);
        let dataverse = reader.required("DATAVERSE_URL", dataverse);
        let dataverse_secret = reader.required("DATAVERSE_SECRET", settings::name);
        let queue = reader.required("QUEUE_URL", settings::queue_url);
        let links_table = reader.required("LINKS_TABLE", settings::name);
        let audit_table = reader.required("AUDIT_TABLE", settings::name);
        let webhook_url = reader.required("WEBHOOK_URL", webhook_url);
        let events = reader.or_default("WEBHOOK_EVENTS", WEBHOOK_EVENTS, settings::event_names);
        let mapping_file = reader.optional("MAPPING_FILE", |text| Ok(PathBuf::from(text)));
        let is_dry_run = reader.or_default("DRY_RUN", "false", settings::flag);
        let cosell_only = reader.or_default("SYNC_COSELL_ONLY", "true", settings::flag);
        let problems = match reader.finish(|| Some(())) {
            Err(SettingsError::Settings(problems)) => problems,
            Ok(()) | Err(SettingsError::Transport(_)) => Vec::new(),
        };
        Self {
            entra,
            partner_tenant,
            dataverse_tenant: other_tenant.or(partner_tenant),
            partner_center,
            webhooks,
            partner_center_secret,
            dataverse,
            dataverse_secret,
            queue,
            links_table,
            audit_table,
            webhook_url,
            webhook_events: events.unwrap_or_default(),
            mapping_file,
            is_dry_run: is_dry_run.unwrap_or_default(),
            cosell_only: cosell_only.unwrap_or(true),
            problems,
        }
    }

    /// Whether what is not co-sell waits for its answer as a lead.
    pub(crate) fn wants_leads(&self, mapping: Option<&Mapping>) -> bool {
        !self.cosell_only && mapping.is_some_and(|mapping| mapping.leads().is_some())
    }

    /// What the registration is looked at with, if all of it can be read.
    pub(crate) fn webhook(&self) -> Option<Webhook> {
        let account = PartnerCenter {
            entra: self.entra.clone()?,
            tenant: self.partner_tenant?,
            secret: self.partner_center_secret.clone()?,
        };
        Some(Webhook {
            account,
            webhooks: self.webhooks.clone()?,
            url: self.webhook_url.clone()?,
            events: self.webhook_events.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<BTreeMap<String, String>, Trouble> {
        let path = std::env::temp_dir().join(format!("cosell-settings-{}.json", uuid::Uuid::new_v4()));
        std::fs::write(&path, text).unwrap();
        let read = read(&path);
        std::fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn the_environment_wins_and_blank_counts_as_unset() {
        let environment = |name: &str| match name {
            "QUEUE_URL" => Some("a".to_owned()),
            "DATAVERSE_URL" => Some("  ".to_owned()),
            _ => None,
        };
        let file = file(r#"{"QUEUE_URL": "b", "DATAVERSE_URL": "https://a.crm.dynamics.com", "N": 3}"#).unwrap();
        let variables = Variables {
            environment: &environment,
            file,
        };
        assert_eq!(variables.get("QUEUE_URL").as_deref(), Some("a"));
        assert_eq!(
            variables.get("DATAVERSE_URL").as_deref(),
            Some("https://a.crm.dynamics.com")
        );
        assert_eq!(variables.get("N").as_deref(), Some("3"));
        assert_eq!(variables.get("NOTHING"), None);
    }

    #[test]
    fn a_file_with_a_secret_is_refused_without_showing_it() {
        let trouble = file(r#"{"DATAVERSE_CLIENT_SECRET": "hunter2"}"#).unwrap_err();
        assert_eq!(trouble.code, "settings_file_holds_secret");
        assert!(!format!("{trouble:?}").contains("hunter2"));
    }

    #[test]
    fn a_list_is_no_setting() {
        assert_eq!(file(r#"["AWS_REGION"]"#).unwrap_err().code, "settings_file_unusable");
        assert_eq!(
            file(r#"{"A": {"value": "b"}}"#).unwrap_err().code,
            "settings_file_unusable"
        );
    }
}
