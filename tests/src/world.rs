//! A whole world on loopback: both vendors, the cloud services and the compiled functions, started together.
//!
//! Knows: how the pieces are wired, how to wait until nothing moves any more, and what has to be true of every world
//! when it ends. Speaks in the verbs of the people in it. Refuses to know: how the functions work.
//! Guarantee: [`World::close`] fails when the ledger holds an open intent or a dangling pointer, when a message ended
//! among the dead letters, when a vendor refused a request as invalid, or when a planned fault was never met.

mod ledger;
mod people;
mod told;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

pub use self::people::Sharing;
use crate::aws::{Aws, QueueUrl, REGION};
use crate::clock::Clock;
use crate::dataverse::{Crm, Dataverse};
use crate::entra::Entra;
use crate::lambda::gateway::Gateway;
use crate::lambda::mapping::EventSource;
use crate::lambda::schedule::Schedule;
use crate::lambda::{Function, FunctionConfig, InvocationError};
use crate::partner_center::{PartnerCenter, SignedPost};
use crate::switchboard::{Exchange, Switchboard};
use crate::vendors::Vendors;

/// The partner's tenant in every world.
pub const TENANT: &str = "7c1f5a52-9d6e-4b0c-a2ad-6f3b6f0d8e11";

/// The events the connector registers for.
pub const EVENTS: [&str; 5] = [
    "referral-created",
    "referral-updated",
    "related-referral-created",
    "related-referral-updated",
    "test-created",
];

/// Name of the table of links.
pub const LINKS: &str = "cosell-links";
const AUDIT: &str = "cosell-audit";
/// Id of the secret that holds the sign-in at Partner Center.
pub const PARTNER_CENTER_SECRET: &str = "cosell/partner-center";
const DATAVERSE_SECRET: &str = "cosell/dataverse";

/// How long anything may take before a world gives up waiting for it.
const PATIENCE: Duration = Duration::from_secs(40);

/// Between two looks at whether something has come true.
const PULSE: Duration = Duration::from_millis(15);

/// What can be turned before a world starts.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Ports for Entra, referrals, webhooks, certificates, Dataverse, AWS and the gateway; zero picks free ones.
    pub ports: [u16; 7],
    /// How often both polls run by themselves; never when absent, so that a scenario decides.
    pub polls: Option<Duration>,
    /// Settings of `sync` besides those that every world needs.
    pub settings: Vec<(String, String)>,
    /// Copies of `sync` that work at once.
    pub workers: usize,
    /// Copies of `webhook` that work at once.
    pub receivers: usize,
    /// Whether the webhook is registered from the start.
    pub registered: bool,
    /// Whether Dynamics 365 is as Microsoft delivers it, without the columns, the key and the table of the solution.
    pub plain_crm: bool,
    /// Whether both secrets are there without any version, as Terraform leaves them.
    pub empty_secrets: bool,
    /// Where the functions' output goes.
    pub log_folder: Option<PathBuf>,
    /// A folder of `make build` whose programs are run; absent, those that cargo compiled beside the caller.
    pub programs: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            ports: [0; 7],
            polls: None,
            settings: Vec::new(),
            workers: 2,
            receivers: 2,
            registered: true,
            plain_crm: false,
            empty_secrets: false,
            log_folder: None,
            programs: None,
        }
    }
}

/// Why a world did not start.
#[derive(Debug)]
pub enum StartError {
    /// A compiled function is missing.
    Binary(PathBuf),
    /// An address cannot be bound.
    Port(&'static str, u16, std::io::Error),
    /// Anything else of the machine.
    Other(&'static str, String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Binary(path) => write!(
                f,
                "the compiled function {} is missing; build it with `cargo build -p webhook -p sync -p registration`",
                path.display()
            ),
            Self::Port(what, port, error) => write!(
                f,
                "{what} cannot listen on port {port}: {error}; stop what uses that port, or choose others with PORT=<first of seven>"
            ),
            Self::Other(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Everything, running.
pub struct World {
    /// Records every exchange and breaks those it is told to.
    pub switchboard: Switchboard,
    /// The simulators' clock.
    pub clock: Clock,
    /// Tokens.
    pub entra: Entra,
    /// Referrals, registration, deliveries, certificates.
    pub partner_center: PartnerCenter,
    /// Opportunities.
    pub dataverse: Dataverse,
    /// Queue, secrets, tables.
    pub aws: Aws,
    /// The queue of hints.
    pub queue: QueueUrl,
    /// The function that takes posts.
    pub webhook: Function,
    /// The function that reconciles.
    pub sync: Function,
    /// The function that registers the webhook.
    pub registration: Function,
    /// The public address of the webhook.
    pub gateway: Gateway,
    /// What feeds the queue to `sync`.
    pub source: EventSource,
    schedules: Vec<Schedule>,
    /// APIs that may refuse requests, and the part of a target to which that is limited.
    tolerated: Vec<(&'static str, &'static str)>,
    /// What the secrets hold, or are to hold: name and value.
    secrets: [(&'static str, Value); 2],
    client: reqwest::Client,
    folder: Folder,
}

/// A folder of the world's own, removed with it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl World {
    /// Starts a world as most scenarios want it.
    ///
    /// # Panics
    /// When it cannot start: a scenario cannot go on without its world.
    pub async fn start() -> Self {
        Self::start_set(&[]).await
    }

    /// Starts a world.
    ///
    /// # Errors
    /// What is missing or taken, with its cure.
    pub async fn start_with(setup: Setup) -> Result<Self, StartError> {
        let binaries = ["webhook", "sync", "registration"].map(|name| match &setup.programs {
            Some(folder) => std::path::absolute(folder.join(name).join("bootstrap")).unwrap_or_default(),
            None => binary(name),
        });
        for path in &binaries {
            if !path.is_file() {
                return Err(StartError::Binary(path.clone()));
            }
        }
        let [webhook_binary, sync_binary, registration_binary] = binaries;
        let [
            entra_port,
            referrals,
            webhooks,
            certificates,
            dataverse_port,
            aws_port,
            gateway_port,
        ] = setup.ports;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let taken = |what, port| move |error| StartError::Port(what, port, error);
        let ports = [entra_port, referrals, webhooks, certificates, dataverse_port];
        let Vendors {
            switchboard,
            clock,
            entra,
            partner_center,
            dataverse,
        } = Vendors::start(ports, if setup.plain_crm { Crm::Plain } else { Crm::WithCoSell })
            .await
            .map_err(|taken| StartError::Port(taken.listener, taken.port, taken.error))?;
        let aws = Aws::start(&switchboard, &clock, at(aws_port))
            .await
            .map_err(taken("the cloud services", aws_port))?;

        for (name, definition) in [
            (
                LINKS,
                include_str!("../../shared/connector/tests/fixtures/dynamodb/links-table.json"),
            ),
            (
                AUDIT,
                include_str!("../../shared/connector/tests/fixtures/dynamodb/audit-table.json"),
            ),
        ] {
            let mut definition: Value = serde_json::from_str(definition)
                .map_err(|error| StartError::Other("a table's description", error.to_string()))?;
            if let Some(table) = definition.get_mut("TableName") {
                *table = name.into();
            }
            aws.create_table(&definition)
                .map_err(|error| StartError::Other("a table cannot be made", error.to_string()))?;
        }
        let queue = aws.create_fifo_queue("cosell-hints", Duration::from_secs(60), 50);
        let refresh_token = entra.add_delegated_client(TENANT, "partner-app", "partner-secret");
        entra.add_app_client(TENANT, "dataverse-app", "dataverse-secret");
        let secrets = [
            (
                PARTNER_CENTER_SECRET,
                json!({"client_id": "partner-app", "client_secret": "partner-secret", "refresh_token": refresh_token}),
            ),
            (
                DATAVERSE_SECRET,
                json!({"client_id": "dataverse-app", "client_secret": "dataverse-secret"}),
            ),
        ];
        for (name, value) in &secrets {
            if setup.empty_secrets {
                aws.create_empty_secret(name);
            } else {
                aws.create_secret(name, value);
            }
        }

        let folder = Folder(std::env::temp_dir().join(format!("cosell-world-{}", Uuid::new_v4())));
        let anchors = folder.0.join("anchors.pem");
        std::fs::create_dir_all(&folder.0)
            .and_then(|()| std::fs::write(&anchors, partner_center.trust_anchors_pem()))
            .map_err(|error| StartError::Other("the folder of the trust anchors", error.to_string()))?;

        let common = [
            ("AWS_ENDPOINT_URL".to_owned(), aws.endpoint_url()),
            ("AWS_REGION".to_owned(), REGION.to_owned()),
        ];
        let log = |name: &str| {
            setup
                .log_folder
                .as_ref()
                .map(|folder| folder.join(format!("{name}.log")))
        };
        let function = |name: &str, binary: PathBuf, environment: Vec<(String, String)>, concurrency| {
            Function::start(FunctionConfig {
                name: name.to_owned(),
                binary,
                environment: common.iter().cloned().chain(environment).collect(),
                timeout: Duration::from_secs(30),
                concurrency,
                memory_mb: 256,
                log_file: log(name),
            })
        };
        let pairs = |pairs: &[(&str, String)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect()
        };
        let webhook = function(
            "webhook",
            webhook_binary,
            pairs(&[
                ("QUEUE_URL", queue.as_str().to_owned()),
                ("CERTIFICATE_HOSTS", partner_center.certificate_host()),
                ("ISSUER_HOSTS", partner_center.certificate_host()),
                ("TRUST_ANCHORS_FILE", anchors.display().to_string()),
            ]),
            setup.receivers,
        );
        let gateway = Gateway::start(at(gateway_port), webhook.clone())
            .await
            .map_err(taken("the webhook's gateway", gateway_port))?;
        let mut settings = pairs(&[
            ("QUEUE_URL", queue.as_str().to_owned()),
            ("LINKS_TABLE", LINKS.to_owned()),
            ("AUDIT_TABLE", AUDIT.to_owned()),
            ("ENTRA_URL", entra.url()),
            ("PARTNER_TENANT_ID", TENANT.to_owned()),
            ("PARTNER_CENTER_URL", partner_center.referrals_url()),
            ("PARTNER_CENTER_SECRET", PARTNER_CENTER_SECRET.to_owned()),
            ("DATAVERSE_URL", dataverse.url()),
            ("DATAVERSE_SECRET", DATAVERSE_SECRET.to_owned()),
            ("SETTLE_SECONDS", "1".to_owned()),
            ("CLOSE_DELAY_SECONDS", "0".to_owned()),
            ("WAITS_PERCENT", "1".to_owned()),
            ("DATAVERSE_RATE", "1000".to_owned()),
            ("PARTNER_CENTER_RATE", "1000".to_owned()),
        ]);
        settings.extend(setup.settings.iter().cloned());
        let sync = function("sync", sync_binary, settings, setup.workers);
        let registration = function(
            "registration",
            registration_binary,
            pairs(&[
                ("ENTRA_URL", entra.url()),
                ("PARTNER_TENANT_ID", TENANT.to_owned()),
                ("PARTNER_CENTER_WEBHOOKS_URL", partner_center.webhooks_url()),
                ("PARTNER_CENTER_SECRET", PARTNER_CENTER_SECRET.to_owned()),
                ("WEBHOOK_URL", gateway.url()),
            ]),
            1,
        );
        // Making the vendor's RSA keys takes a second or more; nobody's change should have to wait for it.
        let signer = partner_center.clone();
        tokio::task::spawn_blocking(move || signer.sign_post(b"{}"))
            .await
            .map_err(|error| StartError::Other("the vendor's keys", error.to_string()))?
            .map_err(|error| StartError::Other("the vendor's keys", error.to_string()))?;
        if setup.registered {
            partner_center.register_directly(&gateway.url(), &EVENTS);
        }
        let source = EventSource::start(&aws, &queue, &sync, 5, setup.workers);
        let schedules = setup
            .polls
            .map(|every| {
                ["poll-dynamics", "poll-partner-center"]
                    .map(|run| Schedule::start(&sync, json!({ "run": run }), every))
                    .into()
            })
            .unwrap_or_default();
        Ok(Self {
            switchboard,
            clock,
            entra,
            partner_center,
            dataverse,
            aws,
            queue,
            webhook,
            sync,
            registration,
            gateway,
            source,
            schedules,
            tolerated: Vec::new(),
            secrets,
            // Partner Center's courier has chosen the TLS provider by now.
            client: reqwest::Client::new(),
            folder,
        })
    }

    /// An administrator stores both secrets, which [`Setup::empty_secrets`] left without a value.
    pub fn store_secrets(&self) {
        for (name, value) in &self.secrets {
            self.aws.create_secret(name, value);
        }
    }

    /// A run or a command of `sync`.
    ///
    /// # Errors
    /// How the invocation went wrong.
    pub async fn invoke(&self, payload: Value) -> Result<Value, InvocationError> {
        self.sync.invoke(payload).await
    }

    /// Both polls run once. Failures are left to later ticks, as the scheduler leaves them.
    pub async fn tick(&self) {
        for run in ["poll-dynamics", "poll-partner-center"] {
            let _ = self.invoke(json!({ "run": run })).await;
        }
    }

    /// Posts to the public address of the webhook, as anybody on the internet could; returns the status.
    ///
    /// # Panics
    /// When the gateway cannot be reached.
    #[expect(clippy::expect_used, reason = "the gateway is part of the world")]
    pub async fn post(&self, post: &SignedPost) -> u16 {
        let mut request = self.client.post(self.gateway.url()).body(post.body.clone());
        for (name, value) in &post.headers {
            request = request.header(name, value);
        }
        request.send().await.expect("the gateway answers").status().as_u16()
    }

    /// Lets everything run until nothing moves any more: no delivery, no hint, nothing due, and a tick finds nothing.
    ///
    /// # Panics
    /// When that takes longer than anybody would wait.
    #[expect(clippy::panic, reason = "a world that never comes to rest is a failed scenario")]
    pub async fn settle(&self) {
        let end = Instant::now() + PATIENCE;
        let mut quiet = 0;
        while quiet < 2 {
            assert_before(end, || self.state_of_affairs());
            if !self.partner_center.quiet(PATIENCE).await || !self.source.idle(PATIENCE).await {
                panic!("the world did not come to rest: {}", self.state_of_affairs());
            }
            let before = self.switchboard.mark();
            self.tick().await;
            let _ = self.partner_center.quiet(PATIENCE).await;
            let _ = self.source.idle(PATIENCE).await;
            let worked = self.switchboard.since(before).iter().any(is_reconciling);
            let waiting = self.open_due();
            if worked || waiting > 0 || self.source_is_busy() {
                quiet = 0;
                tokio::time::sleep(PULSE).await;
            } else {
                quiet += 1;
            }
        }
    }

    fn source_is_busy(&self) -> bool {
        self.aws.depth(&self.queue) > 0
    }

    /// Waits until something is true.
    ///
    /// # Panics
    /// When it does not come true in time; `what` says what was waited for.
    pub async fn until(&self, what: &str, mut is_true: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_true(self) {
            assert_before(end, || format!("waiting for: {what}; {}", self.state_of_affairs()));
            tokio::time::sleep(PULSE).await;
        }
    }

    /// What is going on, for the message of a failed scenario.
    #[must_use]
    pub fn state_of_affairs(&self) -> String {
        let logs = self.sync.logs();
        let idle = |line: &&String| line.contains("\"_aws\"") || line.contains("sync finished: polled");
        let tail: Vec<&String> = logs.iter().rev().filter(|line| !idle(line)).take(12).collect();
        format!(
            "queue {}, due {}\nlinks {}\naudit {}\nnewest log lines {:#?}",
            self.aws.depth(&self.queue),
            self.open_due(),
            Value::from(self.links()),
            Value::from(self.audit()),
            tail
        )
    }

    /// A vendor may refuse requests in this world: an error status of this API is part of the scenario.
    pub fn tolerate(&mut self, api: &'static str) {
        self.tolerate_at(api, "");
    }

    /// The same, but only of requests whose target contains this.
    pub fn tolerate_at(&mut self, api: &'static str, target: &'static str) {
        self.tolerated.push((api, target));
    }

    /// Writes to a vendor since a mark of the switchboard.
    #[must_use]
    pub fn vendor_writes_since(&self, mark: u64) -> Vec<Exchange> {
        self.vendor_calls_since(mark)
            .into_iter()
            .filter(Exchange::is_write)
            .collect()
    }

    /// Calls of a vendor's API since a mark, tokens and polls not counted.
    #[must_use]
    pub fn vendor_calls_since(&self, mark: u64) -> Vec<Exchange> {
        self.switchboard
            .since(mark)
            .into_iter()
            .filter(is_reconciling)
            .collect()
    }

    /// Ends the world and checks what must be true of every world.
    ///
    /// # Panics
    /// When something is not true.
    pub async fn close(self) {
        self.settle().await;
        for schedule in &self.schedules {
            schedule.stop();
        }
        self.check_ledger();
        let dead = self.aws.dead_letters(&self.queue);
        assert!(dead.is_empty(), "messages among the dead letters: {dead:#?}");
        let unused = self.switchboard.unused_faults();
        assert!(unused.is_empty(), "faults that were planned and never met: {unused:?}");
        let refused: Vec<String> = self
            .switchboard
            .since(0)
            .iter()
            .filter(|exchange| {
                let mut tolerated = self.tolerated.iter();
                !tolerated.any(|(api, target)| *api == exchange.api && exchange.target.contains(target))
            })
            .filter(|exchange| ["partner_center", "registration", "dataverse", "entra"].contains(&exchange.api))
            .filter(|exchange| !exchange.target.starts_with("/_control"))
            .filter(|exchange| {
                exchange
                    .status
                    .is_some_and(|status| matches!(status.as_u16(), 400 | 403 | 405 | 415 | 422))
            })
            .map(|exchange| {
                format!(
                    "{} {} {} -> {:?} {}",
                    exchange.api,
                    exchange.method,
                    exchange.target,
                    exchange.status,
                    String::from_utf8_lossy(&exchange.answer)
                )
            })
            .collect();
        assert!(refused.is_empty(), "a vendor refused requests of ours: {refused:#?}");
        self.switchboard.stop();
        drop(self.folder);
    }
}

/// A call that a look at a deal makes: not a token, not a list or delta page of a poll, nothing of a person's.
fn is_reconciling(exchange: &Exchange) -> bool {
    match exchange.api {
        "partner_center" => {
            !exchange.target.starts_with("/_control")
                && !exchange.target.contains("orderby=updatedDateTime")
                && !exchange.target.contains("orderby%3DupdatedDateTime")
                && !exchange.target.contains("skiptoken")
        }
        "dataverse" => {
            let target = &exchange.target;
            let polls = target.contains("deltatoken")
                || target.contains("skiptoken")
                || exchange
                    .headers
                    .get("prefer")
                    .is_some_and(|prefer| prefer.to_str().unwrap_or_default().contains("track-changes"))
                || target.contains("modifiedon%20ge");
            !target.starts_with("/_control") && !polls
        }
        _ => false,
    }
}

#[expect(clippy::panic, reason = "a world that never comes to rest is a failed scenario")]
fn assert_before(end: Instant, what: impl FnOnce() -> String) {
    if Instant::now() > end {
        panic!("the world did not get there in time; {}", what());
    }
}

/// Where cargo puts the compiled functions: beside the test or the runner that asks.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let folder = own.ancestors().find(|folder| folder.join(name).is_file());
    folder
        .unwrap_or_else(|| own.parent().unwrap_or(Path::new(".")))
        .join(name)
}
