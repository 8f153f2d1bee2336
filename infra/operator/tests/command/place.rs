//! A place to use the command in: both vendors, the cloud, a settings file, and nothing of this machine's own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use cosell_tests::aws::{Aws, QueueUrl, REGION};
use cosell_tests::dataverse::Crm;
use cosell_tests::switchboard::Exchange;
use cosell_tests::vendors::Vendors;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use uuid::Uuid;

pub(crate) const TENANT: &str = "7c1f5a52-9d6e-4b0c-a2ad-6f3b6f0d8e11";
pub(crate) const PARTNER_SECRET: &str = "cosell/partner-center";
pub(crate) const CRM_SECRET: &str = "cosell/dataverse";
pub(crate) const PARTNER_APP: &str = "1b2c3d4e-0000-4000-8000-00000000a001";
pub(crate) const CRM_APP: &str = "4d5e6f70-0000-4000-8000-00000000a002";
pub(crate) const PARTNER_APP_SECRET: &str = "partner~application~secret";
pub(crate) const CRM_APP_SECRET: &str = "dynamics~application~secret";
pub(crate) const WEBHOOK: &str = "https://hooks.example.com/webhook?owner=cosell-staging-0a1b2c3d";

pub(crate) const EVENTS: [&str; 5] = [
    "referral-created",
    "referral-updated",
    "related-referral-created",
    "related-referral-updated",
    "test-created",
];

/// Longer than any call of the command takes, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Place {
    pub(crate) vendors: Vendors,
    pub(crate) aws: Aws,
    pub(crate) queue: QueueUrl,
    /// What the settings file holds.
    pub(crate) settings: BTreeMap<String, Value>,
    folder: PathBuf,
    /// What must never be printed besides what the vendors handed out.
    secrets: Vec<String>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What became of one call.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Both streams, each run of blanks one blank: lines are wrapped wherever the width falls.
    pub(crate) fn words(&self) -> String {
        let both = format!("{} {}", self.stdout, self.stderr);
        both.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Whatever is to be typed next begins with `make`: admins do not have `cosell` on their path. Help may name it.
    fn assert_typable(&self) {
        let words = self.words();
        assert!(words.contains("Usage:") || !words.contains("`cosell "), "{self:#?}");
    }

    #[track_caller]
    pub(crate) fn ended(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> &Self {
        assert!(self.words().contains(words), "{words:?} is not in {self:#?}");
        self
    }
}

impl Place {
    /// A world as a first deployment leaves it: no credential stored, nothing registered.
    pub(crate) async fn bare(crm: Crm) -> Self {
        let vendors = Vendors::start([0; 5], crm).await.unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let aws = Aws::start(&vendors.switchboard, &vendors.clock, address).await.unwrap();
        let queue = aws.create_fifo_queue("cosell-hints", Duration::from_secs(60), 50);
        for (name, definition) in [
            (
                "cosell-links",
                include_str!("../../../../shared/connector/tests/fixtures/dynamodb/links-table.json"),
            ),
            (
                "cosell-audit",
                include_str!("../../../../shared/connector/tests/fixtures/dynamodb/audit-table.json"),
            ),
        ] {
            let mut definition: Value = serde_json::from_str(definition).unwrap();
            definition["TableName"] = name.into();
            aws.create_table(&definition).unwrap();
        }
        aws.create_empty_secret(PARTNER_SECRET);
        aws.create_empty_secret(CRM_SECRET);
        let entra = &vendors.entra;
        entra.add_app_client(TENANT, PARTNER_APP, PARTNER_APP_SECRET);
        entra.add_app_client(TENANT, CRM_APP, CRM_APP_SECRET);
        assert!(entra.add_redirect(TENANT, PARTNER_APP, "http://localhost:8400/consent"));

        let settings = [
            ("AWS_REGION", REGION.to_owned()),
            ("ENVIRONMENT", "staging".to_owned()),
            ("ENTRA_URL", entra.url()),
            ("PARTNER_TENANT_ID", TENANT.to_owned()),
            ("DATAVERSE_TENANT_ID", TENANT.to_owned()),
            ("PARTNER_CENTER_URL", vendors.partner_center.referrals_url()),
            ("PARTNER_CENTER_WEBHOOKS_URL", vendors.partner_center.webhooks_url()),
            ("PARTNER_CENTER_SECRET", PARTNER_SECRET.to_owned()),
            ("DATAVERSE_URL", vendors.dataverse.url()),
            ("DATAVERSE_SECRET", CRM_SECRET.to_owned()),
            ("QUEUE_URL", queue.as_str().to_owned()),
            ("LINKS_TABLE", "cosell-links".to_owned()),
            ("AUDIT_TABLE", "cosell-audit".to_owned()),
            ("WEBHOOK_URL", WEBHOOK.to_owned()),
            ("SYNC_COSELL_ONLY", "true".to_owned()),
        ];
        let settings = settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let folder = std::env::temp_dir().join(format!("cosell-operator-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            vendors,
            aws,
            queue,
            settings,
            folder,
            secrets: vec![PARTNER_APP_SECRET.to_owned(), CRM_APP_SECRET.to_owned()],
        }
    }

    /// A world in which everything was done: both credentials stored, the webhook registered, the columns there.
    pub(crate) async fn prepared() -> Self {
        let place = Self::bare(Crm::WithCoSell).await;
        place.store_credentials();
        place.vendors.partner_center.register_directly(WEBHOOK, &EVENTS);
        place
    }

    pub(crate) fn store_credentials(&self) {
        let token = self
            .vendors
            .entra
            .add_delegated_client(TENANT, PARTNER_APP, PARTNER_APP_SECRET);
        self.aws.create_secret(
            PARTNER_SECRET,
            &json!({"client_id": PARTNER_APP, "client_secret": PARTNER_APP_SECRET, "refresh_token": token}),
        );
        self.store_crm_credentials();
    }

    pub(crate) fn store_crm_credentials(&self) {
        let content = json!({"client_id": CRM_APP, "client_secret": CRM_APP_SECRET});
        self.aws.create_secret(CRM_SECRET, &content);
    }

    /// A text that may never be seen.
    pub(crate) fn keep_secret(&mut self, text: &str) {
        self.secrets.push(text.to_owned());
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.into());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.settings.remove(name);
    }

    /// A file of this place.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A folder with our definitions, in which these texts are replaced.
    pub(crate) fn definitions(&self, replaced: &[(&str, &str)]) -> String {
        for (name, text) in [
            ("solution.toml", include_str!("../../../dynamics/solution.toml")),
            ("columns.toml", include_str!("../../../dynamics/columns.toml")),
            ("tables.toml", include_str!("../../../dynamics/tables.toml")),
        ] {
            let text = replaced
                .iter()
                .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
            self.file(name, &text);
        }
        self.folder.to_str().unwrap().to_owned()
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Nothing of this machine is handed on: no profile, no proxy, no home.
    fn prepare(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let settings = self.file("settings.json", &json!(self.settings).to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_cosell"));
        command
            .arg("--settings")
            .arg(settings)
            .args(arguments)
            .env_clear()
            .env("HOME", &self.folder)
            .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
            .env("AWS_SECRET_ACCESS_KEY", "aws~secret~key")
            .env("AWS_ENDPOINT_URL", self.aws.endpoint_url())
            .envs(variables.iter().copied())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, &[]).await
    }

    pub(crate) async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let child = self.prepare(arguments, variables).spawn().unwrap();
        self.finish(child).await
    }

    pub(crate) async fn run_piped(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut child = self.prepare(arguments, &[]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        self.finish(child).await
    }

    async fn finish(&self, child: Child) -> Outcome {
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output());
        let output = output.await.expect("the command ends").unwrap();
        self.judge(
            output.status,
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    fn judge(&self, status: ExitStatus, stdout: String, stderr: String) -> Outcome {
        let outcome = Outcome {
            code: status.code(),
            stdout,
            stderr,
        };
        self.assert_discreet(&outcome);
        outcome.assert_typable();
        outcome
    }

    /// Nothing that was ever a credential in this world is to be seen.
    fn assert_discreet(&self, outcome: &Outcome) {
        let seen = format!("{}{}", outcome.stdout, outcome.stderr);
        let mut forbidden = self.secrets.clone();
        forbidden.push("aws~secret~key".to_owned());
        for name in [PARTNER_SECRET, CRM_SECRET] {
            let versions = self.aws.secret_versions(name);
            for text in versions.iter().filter_map(|version| version.text.as_deref()) {
                let members: Value = serde_json::from_str(text).unwrap_or_default();
                forbidden.extend(["client_secret", "refresh_token"].map(|name| text_of(&members, name)));
            }
        }
        for exchange in self.vendors.switchboard.since(0) {
            if exchange.api == "entra" {
                let answer: Value = serde_json::from_slice(&exchange.answer).unwrap_or_default();
                forbidden.extend(["access_token", "refresh_token"].map(|name| text_of(&answer, name)));
                forbidden.extend(form_value(&exchange, "code"));
                forbidden.extend(form_value(&exchange, "code_verifier"));
            }
        }
        for text in forbidden.iter().filter(|text| text.len() >= 8) {
            assert!(!seen.contains(text.as_str()), "{text} is to be seen in {outcome:#?}");
        }
    }

    /// Starts a call that somebody talks to meanwhile.
    pub(crate) fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Talk {
        let mut child = self.prepare(arguments, variables).spawn().unwrap();
        let is_json = arguments.contains(&"--json");
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        // What a person should see goes to standard error when standard output is a program's.
        let (shown, other): (Stream, Stream) = if is_json {
            (Box::pin(stderr), Box::pin(stdout))
        } else {
            (Box::pin(stdout), Box::pin(stderr))
        };
        Talk {
            child,
            shown: BufReader::new(shown),
            other,
            so_far: String::new(),
            is_json,
        }
    }

    /// Everything the simulators were asked since a mark.
    pub(crate) fn since(&self, mark: u64) -> Vec<Exchange> {
        self.vendors.switchboard.since(mark)
    }

    pub(crate) fn mark(&self) -> u64 {
        self.vendors.switchboard.mark()
    }

    /// Writes to Dynamics since a mark.
    pub(crate) fn crm_writes(&self, mark: u64) -> Vec<String> {
        let exchanges = self.since(mark).into_iter();
        exchanges
            .filter(|exchange| exchange.api == "dataverse" && exchange.is_write())
            .map(|exchange| format!("{} {}", exchange.method, exchange.target))
            .collect()
    }

    /// Values stored since a mark in Secrets Manager.
    pub(crate) fn stored(&self, mark: u64) -> usize {
        let is_store = |exchange: &Exchange| {
            let target = exchange.headers.get("x-amz-target");
            let target = target.and_then(|target| target.to_str().ok());
            target == Some("secretsmanager.PutSecretValue")
        };
        self.since(mark).iter().filter(|exchange| is_store(exchange)).count()
    }

    /// What a secret holds.
    pub(crate) fn secret(&self, name: &str) -> Option<Value> {
        let text = self.aws.secret(name)?;
        Some(serde_json::from_str(&text).unwrap())
    }
}

fn text_of(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn form_value(exchange: &Exchange, name: &str) -> Option<String> {
    let body = String::from_utf8_lossy(&exchange.body).into_owned();
    let mut pairs = url::form_urlencoded::parse(body.as_bytes());
    pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

type Stream = std::pin::Pin<Box<dyn tokio::io::AsyncRead + Send>>;

/// A call that is under way.
pub(crate) struct Talk {
    child: Child,
    shown: BufReader<Stream>,
    other: Stream,
    so_far: String,
    is_json: bool,
}

impl Talk {
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// The address of the sign-in, as soon as it is shown.
    pub(crate) async fn address(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.shown.read_line(&mut line));
            let count = read.await.expect("the address comes").unwrap();
            assert!(count > 0, "no address in {}", self.so_far);
            self.so_far.push_str(&line);
            let line = line.trim();
            if line.starts_with("http") {
                return line.to_owned();
            }
        }
    }

    /// Until what is shown contains something.
    pub(crate) async fn until(&mut self, words: &str) {
        while !self.so_far.contains(words) {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.shown.read_line(&mut line));
            let count = read.await.expect("the words come").unwrap();
            assert!(count > 0, "no {words:?} in {}", self.so_far);
            self.so_far.push_str(&line);
        }
    }

    /// Sends a signal by its name.
    pub(crate) async fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    pub(crate) async fn end(mut self, place: &Place) -> Outcome {
        let mut other = String::new();
        let both = async {
            tokio::join!(
                self.shown.read_to_string(&mut self.so_far),
                self.other.read_to_string(&mut other)
            )
        };
        let (first, second) = tokio::time::timeout(PATIENCE, both).await.expect("the command ends");
        first.unwrap();
        second.unwrap();
        let status = self.child.wait().await.unwrap();
        let (stdout, stderr) = if self.is_json {
            (other, self.so_far)
        } else {
            (self.so_far, other)
        };
        place.judge(status, stdout, stderr)
    }
}

pub(crate) fn signal(process: u32, name: &str) {
    let status = std::process::Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// A browser: follows one redirect after the other, shows the last page.
pub(crate) struct Browser(Client);

impl Browser {
    pub(crate) fn new() -> Self {
        // Redirects are ours to follow.
        Self(transport::client().unwrap())
    }

    pub(crate) async fn visit(&self, address: &str) -> String {
        let mut address = address.to_owned();
        for _ in 0..5 {
            let answer = self.0.get(&address).send().await.unwrap();
            match answer.headers().get("location") {
                Some(next) => next.to_str().unwrap().clone_into(&mut address),
                None => return answer.text().await.unwrap(),
            }
        }
        panic!("the redirects do not end at {address}")
    }
}
