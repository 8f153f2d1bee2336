//! Settings: environment variables read once, through a lookup, into types that need no further checks.
//!
//! Knows names, defaults and forms of the variables, and where a token may be sent at all. Refuses to know what the
//! values are for. Guarantees: all problems are reported in one error; no secret is ever read from here, only the names
//! under which Secrets Manager keeps them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cosell::deal::Side;
use cosell::ids::TenantId;
use transport::aws::SdkConfig;
use url::{Host, Url};

/// Where tokens come from, for the commercial cloud: the only one in which Partner Center offers co-sell.
pub const ENTRA_URL: &str = "https://login.microsoftonline.com";

/// Host of the Referrals API.
pub const PARTNER_CENTER_URL: &str = "https://api.partner.microsoft.com";

/// Host of the webhook registration API.
pub const PARTNER_CENTER_WEBHOOKS_URL: &str = "https://api.partnercenter.microsoft.com";

/// How long a new referral may take until lists show it, at worst. The vendor names no figure; ten minutes is far beyond
/// anything reported, and a deal that waits that long is rare: it takes a lost answer.
const SETTLE_SECONDS: u64 = 600;

/// Time to take back a deal that was closed by mistake: in Partner Center closing is final.
const CLOSE_DELAY_SECONDS: u64 = 300;

/// The built-in waits are made for the vendors' real delays.
const WAITS_PERCENT: u64 = 100;

/// Requests a second for all workers together. Dataverse allows 20 a second per user on average; half of it leaves room
/// for the customer's own flows under the same application.
const DATAVERSE_RATE: u64 = 10;

/// Requests a second for all workers together. The vendor publishes no limit for referrals.
const PARTNER_CENTER_RATE: u64 = 5;

/// How many workers share the budgets: the concurrency that the queue's trigger allows.
const WORKERS: u64 = 5;

/// The events that concern referrals, and the one without which the registration cannot be tested.
pub const WEBHOOK_EVENTS: &str =
    "referral-created,referral-updated,related-referral-created,related-referral-updated,test-created";

/// Why a function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Every setting at fault.
    #[error("settings are missing or unusable: {}", join(.0))]
    Settings(Vec<Problem>),
    /// The HTTPS client could not be made.
    #[error(transparent)]
    Transport(#[from] transport::Error),
}

impl SettingsError {
    /// A bounded name for logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(_) => "settings_invalid",
            Self::Transport(error) => error.code(),
        }
    }
}

/// One setting at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The environment variable.
    pub variable: &'static str,
    /// Its value, what is wrong with it and what would be right.
    pub complaint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.complaint)
    }
}

fn join(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
    texts.join("; ")
}

/// The root of a remote system: scheme, host and port, nothing else. Always https, or plain http to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Reads the root of a remote.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text.trim()).map_err(|_| "is not a URL")?;
        if !transport::is_private(&url) {
            return Err("must be an https URL, or a loopback one for tests");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not carry a user name or a password");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("must be scheme and host alone, without path, query or fragment");
        }
        Ok(Self(url))
    }

    /// Reads the root of a Dataverse environment: besides the general rules its host must be one of Microsoft's, because
    /// a token for the customer's CRM is sent there.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse_dataverse(text: &str) -> Result<Self, &'static str> {
        let endpoint = Self::parse(text)?;
        if transport::is_loopback(&endpoint.0) {
            return Ok(endpoint);
        }
        if endpoint.0.port().is_some() {
            return Err("must not name a port");
        }
        match endpoint.0.host() {
            Some(Host::Domain(host)) if is_dataverse(host) => Ok(endpoint),
            _ => Err("must be the host of a Dataverse environment, such as https://ORG.crm.dynamics.com"),
        }
    }

    /// Without a trailing slash: what Entra's scope names and what paths are appended to.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Whether a URL leads to the same scheme, host and port.
    #[must_use]
    pub fn is_origin_of(&self, url: &Url) -> bool {
        url.origin() == self.0.origin() && url.username().is_empty() && url.password().is_none()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `ORG.<suffix>` or `ORG.api.<suffix>`, with the suffixes of Microsoft's list of regions; numbered ones not yet on the
/// list are accepted under `dynamics.com`.
fn is_dataverse(host: &str) -> bool {
    const OTHER_CLOUDS: [&str; 3] = ["crm.microsoftdynamics.us", "crm.appsplatform.us", "crm.dynamics.cn"];
    let Some((organisation, rest)) = host.split_once('.') else {
        return false;
    };
    let suffix = rest.strip_prefix("api.").unwrap_or(rest);
    let commercial = suffix
        .strip_suffix(".dynamics.com")
        .and_then(|region| region.strip_prefix("crm"))
        .is_some_and(|number| number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit()));
    !organisation.is_empty() && (commercial || OTHER_CLOUDS.contains(&suffix))
}

/// Requests a second that one worker may make, and how many it may make at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// For all workers together.
    pub per_second: u32,
    /// How many workers share it.
    pub workers: u32,
}

/// What `sync` needs to know.
///
/// | Variable | Default, and why |
/// |---|---|
/// | `QUEUE_URL` | none; the FIFO queue of hints |
/// | `LINKS_TABLE`, `AUDIT_TABLE` | none; the ledger |
/// | `ENTRA_URL` | the commercial cloud |
/// | `PARTNER_TENANT_ID` | none |
/// | `DATAVERSE_TENANT_ID` | `PARTNER_TENANT_ID`: most partners have one tenant |
/// | `PARTNER_CENTER_URL` | the Referrals API; its audience is fixed whatever the URL |
/// | `PARTNER_CENTER_SECRET`, `DATAVERSE_SECRET` | none; ids in Secrets Manager |
/// | `DATAVERSE_URL` | none |
/// | `MAPPING_FILE` | unset: the mapping built into the function; a relative path starts where the program lies |
/// | `SYNC_COSELL_ONLY` | `true`: leads stay out, as in the replaced product |
/// | `DISPLAY_CHECKMARK` | `true`, as in the replaced product |
/// | `SETTLE_SECONDS` | 600 |
/// | `CLOSE_DELAY_SECONDS` | 300: time in which a deal that was closed in Dynamics can be reopened; 0 closes at once |
/// | `WAITS_PERCENT` | 100; less only for rehearsals, where nobody wants to wait minutes for a second look |
/// | `DRY_RUN` | `false` |
/// | `PAUSED` | `none`; `toward_dynamics` or `toward_partner_center` writes nothing to that side, while changes toward the other go on; what is held back follows once it is `none` again |
/// | `DATAVERSE_RATE`, `PARTNER_CENTER_RATE` | 10 and 5 requests a second for all workers together |
/// | `WORKERS` | 5; what the queue's trigger allows at a time |
///
/// plus the variables of [`transport::aws::sdk_config`].
#[derive(Clone, Debug)]
pub struct Sync {
    /// The FIFO queue of hints.
    pub queue_url: Url,
    /// Table of links.
    pub links_table: String,
    /// Table of audit records.
    pub audit_table: String,
    /// Where tokens come from.
    pub entra: Endpoint,
    /// The partner's tenant: of its Partner Center account, and the namespace of ids we derive.
    pub partner_tenant: TenantId,
    /// The tenant of the CRM.
    pub dataverse_tenant: TenantId,
    /// The Referrals API.
    pub partner_center: Endpoint,
    /// Secrets Manager id of the delegated credential.
    pub partner_center_secret: String,
    /// The Dataverse environment.
    pub dataverse: Endpoint,
    /// Secrets Manager id of the application credential.
    pub dataverse_secret: String,
    /// A mapping that replaces the packed one.
    pub mapping_file: Option<PathBuf>,
    /// Whether leads and other referrals that are not co-sell stay out.
    pub cosell_only: bool,
    /// Whether a mark before the opportunity's name shows the sync state.
    pub display_checkmark: bool,
    /// How long a doubtful POST waits before the search for its result.
    pub settle: Duration,
    /// How long a deal that was closed in Dynamics waits before it is closed in Partner Center.
    pub close_delay: Duration,
    /// How long the waits between two looks at a deal are, in percent of the built-in ones.
    pub waits_percent: u32,
    /// Whether everything is done but the writes to the vendors.
    pub dry_run: bool,
    /// The side to which nothing is written for the moment.
    pub paused: Option<Side>,
    /// Budget of calls to Dataverse.
    pub dataverse_rate: Rate,
    /// Budget of calls to Partner Center.
    pub partner_center_rate: Rate,
    /// How the AWS services are reached.
    pub aws: SdkConfig,
    /// The one HTTPS client.
    pub client: reqwest::Client,
}

impl Sync {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`SettingsError::Settings`] with all problems.
    pub fn load(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(lookup);
        let client = transport::client()?;
        let aws = reader.aws(&client)?;
        let queue_url = reader.required("QUEUE_URL", queue_url);
        let links_table = reader.required("LINKS_TABLE", name);
        let audit_table = reader.required("AUDIT_TABLE", name);
        let entra = reader.or_default("ENTRA_URL", ENTRA_URL, endpoint);
        let partner_tenant = reader.required("PARTNER_TENANT_ID", tenant);
        let dataverse_tenant = reader.optional("DATAVERSE_TENANT_ID", tenant);
        let partner_center = reader.or_default("PARTNER_CENTER_URL", PARTNER_CENTER_URL, endpoint);
        let partner_center_secret = reader.required("PARTNER_CENTER_SECRET", name);
        let dataverse = reader.required("DATAVERSE_URL", |text| {
            Endpoint::parse_dataverse(text).map_err(str::to_owned)
        });
        let dataverse_secret = reader.required("DATAVERSE_SECRET", name);
        let mapping_file = reader.optional("MAPPING_FILE", |text| Ok(PathBuf::from(text)));
        // Lambda names the folder it unpacked the program into; that it is also the working directory is nobody's promise.
        let mapping_file = match reader.text("LAMBDA_TASK_ROOT") {
            Some(root) => mapping_file.map(|path| PathBuf::from(root).join(path)),
            None => mapping_file,
        };
        let cosell_only = reader.or_default("SYNC_COSELL_ONLY", "true", flag);
        let display_checkmark = reader.or_default("DISPLAY_CHECKMARK", "true", flag);
        let settle = reader.number("SETTLE_SECONDS", SETTLE_SECONDS, 1..=86_400);
        let close_delay = reader.number("CLOSE_DELAY_SECONDS", CLOSE_DELAY_SECONDS, 0..=86_400);
        let waits_percent = reader.number("WAITS_PERCENT", WAITS_PERCENT, 1..=100);
        let dry_run = reader.or_default("DRY_RUN", "false", flag);
        let paused = reader.or_default("PAUSED", "none", direction);
        let dataverse_rate = reader.number("DATAVERSE_RATE", DATAVERSE_RATE, 1..=10_000);
        let partner_center_rate = reader.number("PARTNER_CENTER_RATE", PARTNER_CENTER_RATE, 1..=10_000);
        let workers = reader.number("WORKERS", WORKERS, 1..=1_000);
        let all = move || {
            let workers = workers?;
            let rate = |per_second| Rate { per_second, workers };
            let partner_tenant = partner_tenant?;
            Some(Self {
                queue_url: queue_url?,
                links_table: links_table?,
                audit_table: audit_table?,
                entra: entra?,
                partner_tenant,
                dataverse_tenant: dataverse_tenant.unwrap_or(partner_tenant),
                partner_center: partner_center?,
                partner_center_secret: partner_center_secret?,
                dataverse: dataverse?,
                dataverse_secret: dataverse_secret?,
                mapping_file,
                cosell_only: cosell_only?,
                display_checkmark: display_checkmark?,
                settle: Duration::from_secs(settle?.into()),
                close_delay: Duration::from_secs(close_delay?.into()),
                waits_percent: waits_percent?,
                dry_run: dry_run?,
                paused: paused?,
                dataverse_rate: rate(dataverse_rate?),
                partner_center_rate: rate(partner_center_rate?),
                aws: aws?,
                client,
            })
        };
        reader.finish(all)
    }
}

/// What `registration` needs to know.
///
/// | Variable | Default, and why |
/// |---|---|
/// | `ENTRA_URL` | the commercial cloud |
/// | `PARTNER_TENANT_ID` | none |
/// | `PARTNER_CENTER_WEBHOOKS_URL` | the registration API; its audience is fixed whatever the URL |
/// | `PARTNER_CENTER_SECRET` | none; id in Secrets Manager |
/// | `WEBHOOK_URL` | unset: then the event must name it; `?owner=<mark>` in it says which deployment it belongs to |
/// | `WEBHOOK_EVENTS` | the four referral events and `test-created` |
///
/// plus the variables of [`transport::aws::sdk_config`].
#[derive(Clone, Debug)]
pub struct Registration {
    /// Where tokens come from.
    pub entra: Endpoint,
    /// The partner's tenant.
    pub partner_tenant: TenantId,
    /// The webhook registration API.
    pub partner_center_webhooks: Endpoint,
    /// Secrets Manager id of the delegated credential.
    pub partner_center_secret: String,
    /// What should be registered.
    pub webhook_url: Option<WebhookUrl>,
    /// Which events should be delivered.
    pub webhook_events: Vec<EventName>,
    /// How the AWS services are reached.
    pub aws: SdkConfig,
    /// The one HTTPS client.
    pub client: reqwest::Client,
}

impl Registration {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`SettingsError::Settings`] with all problems.
    pub fn load(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(lookup);
        let client = transport::client()?;
        let aws = reader.aws(&client)?;
        let entra = reader.or_default("ENTRA_URL", ENTRA_URL, endpoint);
        let partner_tenant = reader.required("PARTNER_TENANT_ID", tenant);
        let webhooks = reader.or_default("PARTNER_CENTER_WEBHOOKS_URL", PARTNER_CENTER_WEBHOOKS_URL, endpoint);
        let partner_center_secret = reader.required("PARTNER_CENTER_SECRET", name);
        let webhook_url = reader.optional("WEBHOOK_URL", |text| WebhookUrl::parse(text).map_err(str::to_owned));
        let webhook_events = reader.or_default("WEBHOOK_EVENTS", WEBHOOK_EVENTS, event_names);
        let all = move || {
            Some(Self {
                entra: entra?,
                partner_tenant: partner_tenant?,
                partner_center_webhooks: webhooks?,
                partner_center_secret: partner_center_secret?,
                webhook_url,
                webhook_events: webhook_events?,
                aws: aws?,
                client,
            })
        };
        reader.finish(all)
    }
}

/// A URL that Partner Center shall post to: https, or loopback for tests. It may say in its query which deployment it
/// belongs to, `?owner=<mark>`; the webhook itself does not look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// Reads the address of the webhook.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text.trim()).map_err(|_| "is not a URL")?;
        if !transport::is_private(&url) && !is_below_localhost(&url) {
            return Err("must be an https URL, or a loopback one for tests");
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("must not carry a user name, a password or a fragment");
        }
        if url.query_pairs().any(|(name, _)| name == OWNER) && owner_of(&url).is_none() {
            return Err("must carry one owner mark at most, of letters, digits and hyphens");
        }
        Ok(Self(url))
    }

    /// The mark of the deployment it belongs to.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        owner_of(&self.0)
    }

    /// As it is registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a text names the same address, however it is spelled.
    #[must_use]
    pub fn is_spelled(&self, text: &str) -> bool {
        Url::parse(text.trim()).is_ok_and(|url| url == self.0)
    }
}

/// Where a webhook's URL carries the mark of the deployment it belongs to.
const OWNER: &str = "owner";

/// Longer marks are none of ours.
const LONGEST_OWNER: usize = 100;

/// The owner mark of a webhook's URL. What could be anything else, a key for example, is no mark: of a URL that is not
/// ours nothing else of the query may be shown.
#[must_use]
pub fn owner_mark(url: &str) -> Option<String> {
    owner_of(&Url::parse(url.trim()).ok()?)
}

fn owner_of(url: &Url) -> Option<String> {
    let mut marks = url.query_pairs().filter(|(name, _)| name == OWNER);
    let (_, mark) = marks.next()?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_mark = (1..=LONGEST_OWNER).contains(&mark.len()) && mark.bytes().all(is_allowed);
    (is_mark && marks.next().is_none()).then(|| mark.into_owned())
}

/// Whether a plain http URL names this machine under `.localhost`, as emulators of API Gateway name their stages. Such
/// names resolve to loopback alone (RFC 6761, 6.3). Only where others post to us: we ourselves resolve names as the
/// system does.
fn is_below_localhost(url: &Url) -> bool {
    url.scheme() == "http" && matches!(url.host(), Some(Host::Domain(host)) if host.ends_with(".localhost"))
}

/// Scheme, host and path of a URL, and its owner mark if it has one: what may be shown of a webhook.
#[must_use]
pub fn public_webhook(url: &str) -> String {
    let public = public_part(url);
    match owner_mark(url) {
        Some(mark) => format!("{public}?{OWNER}={mark}"),
        None => public,
    }
}

/// Scheme, host and path of a URL: what may be logged. Queries carry keys, as the signed URL of a Power Automate trigger
/// does.
#[must_use]
pub fn public_part(url: &str) -> String {
    let Ok(mut url) = Url::parse(url.trim()) else {
        return "(no URL)".to_owned();
    };
    url.set_query(None);
    url.set_fragment(None);
    // Only URLs without a host refuse this, and those have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string().chars().take(200).collect()
}

/// Name of a webhook event, such as `referral-created`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventName(String);

impl EventName {
    /// Reads a name: letters, digits and hyphens.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err("must be event names of letters, digits and hyphens, such as referral-created");
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Collects problems instead of stopping at the first.
pub struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Reads from this lookup.
    #[must_use]
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let problems = Vec::new();
        Self { lookup, problems }
    }

    /// Blank counts as unset: Terraform passes empty strings for what is left out.
    #[must_use]
    pub fn text(&self, variable: &str) -> Option<String> {
        (self.lookup)(variable).filter(|text| !text.trim().is_empty())
    }

    /// Notes a problem.
    pub fn complain(&mut self, variable: &'static str, complaint: String) {
        self.problems.push(Problem { variable, complaint });
    }

    /// A value that may be left out.
    pub fn optional<T>(&mut self, variable: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(variable)?;
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(complaint) => {
                // What stands before an @ in a URL may be a password, what stands behind a question mark a key.
                let before_query = text.split(['?', '#']).next().unwrap_or_default();
                let shown: String = before_query.chars().take(100).filter(|_| !text.contains('@')).collect();
                self.complain(variable, format!("is {shown:?}: it {complaint}"));
                None
            }
        }
    }

    /// A value that must be set.
    pub fn required<T>(&mut self, variable: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if self.text(variable).is_none() {
            self.complain(variable, "is not set".to_owned());
        }
        self.optional(variable, parse)
    }

    /// A value with a default.
    pub fn or_default<T>(
        &mut self,
        variable: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.text(variable) {
            Some(_) => self.optional(variable, parse),
            None => parse(default).ok(),
        }
    }

    fn number(&mut self, variable: &'static str, default: u64, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        self.or_default(variable, &default.to_string(), |text| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
        })
    }

    fn aws(&mut self, client: &reqwest::Client) -> Result<Option<SdkConfig>, SettingsError> {
        match transport::aws::sdk_config(self.lookup, client.clone()) {
            Ok(aws) => Ok(Some(aws)),
            Err(transport::Error::Settings(more)) => {
                for problem in more {
                    self.complain(problem.variable, problem.complaint.to_owned());
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What was read, if nothing was complained about.
    ///
    /// # Errors
    /// All problems.
    pub fn finish<T>(self, all: impl FnOnce() -> Option<T>) -> Result<T, SettingsError> {
        // An optional setting that cannot be read leaves nothing missing, so the list is asked first.
        if self.problems.is_empty()
            && let Some(settings) = all()
        {
            return Ok(settings);
        }
        Err(SettingsError::Settings(self.problems))
    }
}

/// The root of a remote.
///
/// # Errors
/// What is wrong with it.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text).map_err(str::to_owned)
}

/// A tenant's id.
///
/// # Errors
/// What is wrong with it.
pub fn tenant(text: &str) -> Result<TenantId, String> {
    text.parse()
        .map_err(|_| "must be the tenant's GUID; domain names and `common` are not accepted".to_owned())
}

/// `true` or `false`.
///
/// # Errors
/// What is wrong with it.
pub fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be `true` or `false`".to_owned()),
    }
}

/// The side that a direction leads to; none for neither.
fn direction(text: &str) -> Result<Option<Side>, String> {
    match text {
        "none" => Ok(None),
        "toward_dynamics" => Ok(Some(Side::Dynamics)),
        "toward_partner_center" => Ok(Some(Side::PartnerCenter)),
        _ => Err("must be `none`, `toward_dynamics` or `toward_partner_center`".to_owned()),
    }
}

/// Names of tables and secrets are AWS's to judge; what holds a blank or a control character was never meant as one.
///
/// # Errors
/// What is wrong with it.
pub fn name(text: &str) -> Result<String, String> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("must be a name without blanks".to_owned());
    }
    Ok(text.to_owned())
}

/// URL of a FIFO queue.
///
/// # Errors
/// What is wrong with it.
pub fn queue_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !transport::is_private(&url) {
        return Err("must be an https URL, or a loopback one for tests".to_owned());
    }
    // Order within a deal comes with FIFO queues, whose names end this way.
    if !url.path().ends_with(".fifo") {
        return Err("must name a FIFO queue, ending in .fifo".to_owned());
    }
    Ok(url)
}

/// A comma-separated list.
///
/// # Errors
/// What is wrong with it.
pub fn event_names(text: &str) -> Result<Vec<EventName>, String> {
    let mut names = text
        .split(',')
        .map(EventName::parse)
        .collect::<Result<Vec<_>, _>>()
        .map_err(str::to_owned)?;
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod tests;
