//! Everything `sync` needs, made once at start.
//!
//! Knows how the clients are put together from the settings. Guarantee: a connector that cannot work is not made; the
//! error says why.

use std::sync::Arc;

use aws_sdk_dynamodb as dynamodb;
use cosell::fault::Fault;
use cosell::mapping::{self, InvalidMapping, Mapping};
use cosell::policy::Policy;
use jiff::{SignedDuration, Timestamp};

use crate::breaker::Breakers;
use crate::dataverse::Dataverse;
use crate::entra::{self, Tokens};
use crate::http::Budget;
use crate::http::{Http, Limits, Vendor};
use crate::ledger::Ledger;
use crate::partner_center::PartnerCenter;
use crate::queue::Queue;
use crate::secrets::Secrets;
use crate::settings::{SettingsError, Sync};

/// The clients and rules that every run shares. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Referrals.
    pub partner_center: PartnerCenter,
    /// Opportunities.
    pub dataverse: Dataverse,
    /// Links and audit.
    pub ledger: Ledger,
    /// Hints.
    pub queue: Queue,
    /// Credentials.
    pub secrets: Secrets,
    /// Name of the secret with the refresh token for Partner Center.
    pub partner_center_secret: Arc<str>,
    /// The rules.
    pub policy: Arc<Policy>,
    /// What all workers know of the vendors.
    pub(crate) breakers: Arc<Breakers>,
}

/// Why the connector cannot work.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings are missing or wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The mapping file cannot be read.
    #[error("MAPPING_FILE names {path}, which cannot be read; check that it was packed into the function")]
    Unreadable {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The mapping file has mistakes.
    #[error(transparent)]
    Mapping(#[from] InvalidMapping),
}

impl StartError {
    /// A bounded name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(error) => error.code(),
            Self::Unreadable { .. } => "mapping_unreadable",
            Self::Mapping(_) => "mapping_invalid",
        }
    }
}

impl Connector {
    /// Makes all clients; opens no connection.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, or with the mapping file.
    pub fn start(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let settings = Sync::load(lookup)?;
        let mapping = match &settings.mapping_file {
            Some(path) => {
                let source = std::fs::read_to_string(path).map_err(|source| StartError::Unreadable {
                    path: path.display().to_string(),
                    source,
                })?;
                Mapping::parse(&source)?
            }
            None => Mapping::parse(mapping::DEFAULT)?,
        };
        let secrets = Secrets::connect(&settings.aws);
        let partner_tokens = Tokens::delegated(
            settings.client.clone(),
            &settings.entra,
            settings.partner_tenant,
            entra::PARTNER_CENTER,
            secrets.clone(),
            &settings.partner_center_secret,
        );
        let dataverse_tokens = Tokens::application(
            settings.client.clone(),
            &settings.entra,
            settings.dataverse_tenant,
            &settings.dataverse,
            secrets.clone(),
            &settings.dataverse_secret,
        );
        // Like all waits of ours, shorter where somebody wants to see them end.
        let percent = settings.waits_percent;
        let limits = Limits {
            outage: Limits::default().outage * percent / 100,
            ..Limits::default()
        };
        let partner_center = Http::new(
            Vendor::PartnerCenter,
            settings.client.clone(),
            settings.partner_center.clone(),
            partner_tokens,
            Budget::new(settings.partner_center_rate),
            limits,
        );
        let dataverse = Http::new(
            Vendor::Dataverse,
            settings.client.clone(),
            settings.dataverse.clone(),
            dataverse_tokens,
            Budget::new(settings.dataverse_rate),
            limits,
        );
        Ok(Self {
            breakers: Arc::default(),
            partner_center: PartnerCenter::new(partner_center),
            dataverse: Dataverse::new(dataverse),
            ledger: Ledger::new(
                dynamodb::Client::new(&settings.aws),
                settings.links_table,
                settings.audit_table,
            ),
            secrets,
            partner_center_secret: settings.partner_center_secret.into(),
            queue: Queue::new(aws_sdk_sqs::Client::new(&settings.aws), settings.queue_url.as_str()),
            policy: Arc::new(Policy {
                tenant: settings.partner_tenant,
                mapping: Arc::new(mapping),
                cosell_only: settings.cosell_only,
                display_checkmark: settings.display_checkmark,
                settle: SignedDuration::try_from(settings.settle).unwrap_or(SignedDuration::MAX),
                waits_percent: settings.waits_percent,
                dry_run: settings.dry_run,
                close_delay: SignedDuration::try_from(settings.close_delay).unwrap_or(SignedDuration::MAX),
                paused: settings.paused,
            }),
        })
    }

    /// How long ago the refresh token in force was stored; none when nobody can tell.
    ///
    /// Asked of Secrets Manager each time: what a token was fetched with may have been replaced by another worker since.
    ///
    /// # Errors
    /// When the secret cannot be read.
    pub async fn refresh_token_age(&self, now: Timestamp) -> Result<Option<SignedDuration>, Fault> {
        Ok(self.secrets.read(&self.partner_center_secret).await?.age(now))
    }

    /// Fetches both tokens while Lambda still grants the processor of the start phase.
    pub async fn warm_up(&self) {
        tokio::join!(self.partner_center.warm_up(), self.dataverse.warm_up());
    }
}
