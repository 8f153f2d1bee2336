//! Secrets Manager: versions of a secret and the staging labels that move between them.
//!
//! Knows: tokens as version ids, `AWSCURRENT` and `AWSPREVIOUS`, and which moves of a label are refused. Refuses to
//! know: what a secret holds. Guarantee: a label sits on at most one version of a secret, and `AWSCURRENT` on exactly
//! one as soon as there is any.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{ACCOUNT, REGION, Refusal};
use crate::clock::Clock;

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

/// Secrets Manager's limit for a secret's value, in bytes.
const MAX_VALUE_BYTES: usize = 65_536;

/// One version of a secret.
#[derive(Clone, Debug)]
pub struct SecretVersion {
    /// Version id: the client request token it was stored with.
    pub id: String,
    /// The stored string; none if the version holds binary.
    pub text: Option<String>,
    /// Staging labels on it.
    pub stages: BTreeSet<String>,
    /// When it was stored.
    pub created: Timestamp,
    /// The stored binary in base64.
    binary: Option<String>,
}

struct Secret {
    name: String,
    arn: String,
    description: Option<String>,
    created: Timestamp,
    changed: Timestamp,
    versions: Vec<SecretVersion>,
}

impl Secret {
    fn version(&self, id: &str) -> Option<&SecretVersion> {
        self.versions.iter().find(|version| version.id == id)
    }

    fn holder(&self, stage: &str) -> Option<&SecretVersion> {
        self.versions.iter().find(|version| version.stages.contains(stage))
    }

    /// Puts a label on a version and takes it from any other. `AWSPREVIOUS` follows `AWSCURRENT`.
    fn attach(&mut self, stage: &str, id: &str) {
        let former = self.holder(stage).map(|version| version.id.clone());
        if former.as_deref() == Some(id) {
            return;
        }
        for version in &mut self.versions {
            if version.id == id {
                version.stages.insert(stage.to_owned());
            } else {
                version.stages.remove(stage);
            }
        }
        if let (CURRENT, Some(former)) = (stage, former) {
            self.attach(PREVIOUS, &former);
        }
    }

    fn identity(&self) -> Map<String, Value> {
        Map::from_iter([
            ("ARN".to_owned(), json!(self.arn)),
            ("Name".to_owned(), json!(self.name)),
        ])
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Create {
    name: String,
    client_request_token: String,
    secret_string: Option<String>,
    secret_binary: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Put {
    secret_id: String,
    client_request_token: String,
    secret_string: Option<String>,
    secret_binary: Option<String>,
    version_stages: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Get {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct MoveStage {
    secret_id: String,
    version_stage: String,
    remove_from_version_id: Option<String>,
    move_to_version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Describe {
    secret_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListVersions {
    secret_id: String,
    /// Whether versions without a label are listed.
    #[serde(default)]
    include_deprecated: bool,
    /// At most 100; no secret here has more versions, so there is no second page.
    max_results: Option<u8>,
}

/// All secrets of the account.
pub(super) struct Secrets {
    clock: Clock,
    secrets: Mutex<Vec<Secret>>,
}

impl Secrets {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            secrets: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Secret>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a secret or a new current version of one; answers its ARN.
    pub(super) fn store(&self, name: &str, text: &str) -> String {
        let now = self.clock.now();
        let mut secrets = self.lock();
        let version = new_version(Uuid::new_v4().to_string(), Some(text.to_owned()), None, now);
        if let Some(secret) = secrets.iter_mut().find(|secret| secret.name == name) {
            let id = version.id.clone();
            secret.versions.push(version);
            secret.attach(CURRENT, &id);
            secret.changed = now;
            return secret.arn.clone();
        }
        let secret = new_secret(name, None, Some(version), now);
        let arn = secret.arn.clone();
        secrets.push(secret);
        arn
    }

    /// Makes a secret without a version, as one is before anybody stored a value; one that is there is left alone.
    /// Answers its ARN.
    pub(super) fn store_nothing(&self, name: &str) -> String {
        let mut secrets = self.lock();
        if let Some(secret) = secrets.iter().find(|secret| secret.name == name) {
            return secret.arn.clone();
        }
        let secret = new_secret(name, None, None, self.clock.now());
        let arn = secret.arn.clone();
        secrets.push(secret);
        arn
    }

    pub(super) fn current(&self, name: &str) -> Option<String> {
        self.lock()
            .iter()
            .find(|secret| secret.name == name)?
            .holder(CURRENT)?
            .text
            .clone()
    }

    pub(super) fn versions(&self, name: &str) -> Vec<SecretVersion> {
        self.lock()
            .iter()
            .find(|secret| secret.name == name)
            .map(|secret| secret.versions.clone())
            .unwrap_or_default()
    }

    /// Runs one operation on its JSON input.
    pub(super) fn call(&self, operation: &str, input: &[u8]) -> Result<Value, Refusal> {
        match operation {
            "CreateSecret" => self.create(read(input)?),
            "PutSecretValue" => self.put(read(input)?),
            "GetSecretValue" => self.get(&read(input)?),
            "UpdateSecretVersionStage" => self.move_stage(&read(input)?),
            "DescribeSecret" => self.describe(&read(input)?),
            "ListSecretVersionIds" => self.list_versions(&read(input)?),
            _ => Err(Refusal::new(
                "UnknownOperationException",
                format!("no operation {operation:?} here"),
            )),
        }
    }

    fn create(&self, input: Create) -> Result<Value, Refusal> {
        let now = self.clock.now();
        check_value(input.secret_string.as_deref(), input.secret_binary.as_deref())?;
        check_token(&input.client_request_token)?;
        let mut secrets = self.lock();
        if let Some(secret) = secrets.iter().find(|secret| secret.name == input.name) {
            // The same token with the same value is a retry of the call that made it.
            let repeated = secret
                .version(&input.client_request_token)
                .is_some_and(|version| version.text == input.secret_string && version.binary == input.secret_binary);
            if !repeated {
                let message = format!("The operation failed because the secret {} already exists.", input.name);
                return Err(Refusal::new("ResourceExistsException", message));
            }
            let mut output = secret.identity();
            output.insert("VersionId".to_owned(), json!(input.client_request_token));
            return Ok(Value::Object(output));
        }
        let holds_value = input.secret_string.is_some() || input.secret_binary.is_some();
        let version = holds_value.then(|| {
            new_version(
                input.client_request_token,
                input.secret_string,
                input.secret_binary,
                now,
            )
        });
        let secret = new_secret(&input.name, input.description, version, now);
        let mut output = secret.identity();
        if let Some(version) = secret.versions.first() {
            output.insert("VersionId".to_owned(), json!(version.id));
        }
        secrets.push(secret);
        Ok(Value::Object(output))
    }

    fn put(&self, input: Put) -> Result<Value, Refusal> {
        let now = self.clock.now();
        check_token(&input.client_request_token)?;
        check_value(input.secret_string.as_deref(), input.secret_binary.as_deref())?;
        if input.secret_string.is_none() && input.secret_binary.is_none() {
            return Err(Refusal::new(
                "InvalidRequestException",
                "You must provide either SecretString or SecretBinary.",
            ));
        }
        if input
            .version_stages
            .as_ref()
            .is_some_and(|stages| stages.is_empty() || stages.len() > 20)
        {
            return Err(Refusal::new(
                "InvalidParameterException",
                "VersionStages must name 1 to 20 labels.",
            ));
        }
        let mut secrets = self.lock();
        let secret = find(&mut secrets, &input.secret_id)?;
        let id = input.client_request_token;
        match secret.version(&id) {
            Some(existing) => {
                if existing.text != input.secret_string || existing.binary != input.secret_binary {
                    let message = format!(
                        "You can't use ClientRequestToken {id} because that value is already in use for a version of \
                         secret {}.",
                        secret.arn
                    );
                    return Err(Refusal::new("ResourceExistsException", message));
                }
            }
            None => {
                secret
                    .versions
                    .push(new_version(id.clone(), input.secret_string, input.secret_binary, now));
                let first = secret.holder(CURRENT).is_none();
                for stage in input.version_stages.unwrap_or_else(|| vec![CURRENT.to_owned()]) {
                    secret.attach(&stage, &id);
                }
                if first {
                    secret.attach(CURRENT, &id);
                }
                secret.changed = now;
            }
        }
        let mut output = secret.identity();
        output.insert(
            "VersionStages".to_owned(),
            json!(secret.version(&id).map(|version| &version.stages)),
        );
        output.insert("VersionId".to_owned(), json!(id));
        Ok(Value::Object(output))
    }

    fn get(&self, input: &Get) -> Result<Value, Refusal> {
        let mut secrets = self.lock();
        let secret = find(&mut secrets, &input.secret_id)?;
        let not_found = |by: String| {
            let message = format!("Secrets Manager can't find the specified secret value for {by}");
            Refusal::new("ResourceNotFoundException", message)
        };
        let version = match &input.version_id {
            Some(id) => {
                let version = secret
                    .version(id)
                    .ok_or_else(|| not_found(format!("VersionId: {id}")))?;
                if input
                    .version_stage
                    .as_ref()
                    .is_some_and(|stage| !version.stages.contains(stage))
                {
                    return Err(Refusal::new(
                        "InvalidRequestException",
                        "You provided a VersionStage that is not associated to the provided VersionId.",
                    ));
                }
                version
            }
            None => {
                let stage = input.version_stage.as_deref().unwrap_or(CURRENT);
                secret
                    .holder(stage)
                    .ok_or_else(|| not_found(format!("staging label: {stage}")))?
            }
        };
        let mut output = secret.identity();
        output.insert("VersionId".to_owned(), json!(version.id));
        output.insert("VersionStages".to_owned(), json!(version.stages));
        output.insert("CreatedDate".to_owned(), epoch(version.created));
        if let Some(text) = &version.text {
            output.insert("SecretString".to_owned(), json!(text));
        }
        if let Some(binary) = &version.binary {
            output.insert("SecretBinary".to_owned(), json!(binary));
        }
        Ok(Value::Object(output))
    }

    fn move_stage(&self, input: &MoveStage) -> Result<Value, Refusal> {
        let invalid = |message: String| Refusal::new("InvalidParameterException", message);
        let stage = input.version_stage.as_str();
        let mut secrets = self.lock();
        let secret = find(&mut secrets, &input.secret_id)?;
        for id in [&input.remove_from_version_id, &input.move_to_version_id]
            .into_iter()
            .flatten()
        {
            if secret.version(id).is_none() {
                let message = format!("Secrets Manager can't find the specified secret version: {id}");
                return Err(Refusal::new("ResourceNotFoundException", message));
            }
        }
        let holder = secret.holder(stage).map(|version| version.id.clone());
        if let Some(from) = &input.remove_from_version_id
            && holder.as_ref() != Some(from)
        {
            return Err(invalid(format!(
                "The parameter RemoveFromVersionId can't be {from}. Staging label {stage} is currently attached to \
                 version {}, so you must explicitly reference that version in RemoveFromVersionId.",
                holder.as_deref().unwrap_or("(none)")
            )));
        }
        match (&input.move_to_version_id, &input.remove_from_version_id, holder) {
            (Some(to), None, Some(holder)) if *to != holder => {
                return Err(invalid(format!(
                    "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to \
                     version {holder}, so you must explicitly reference that version in RemoveFromVersionId."
                )));
            }
            (Some(to), _, _) => secret.attach(stage, to),
            (None, Some(_), _) if stage == CURRENT => {
                return Err(invalid(format!(
                    "You can only move staging label {CURRENT} to a different secret version. It can't be completely \
                     removed."
                )));
            }
            (None, Some(from), _) => {
                for version in secret.versions.iter_mut().filter(|version| version.id == *from) {
                    version.stages.remove(stage);
                }
            }
            (None, None, _) => {
                return Err(invalid(
                    "You must name a version to move the staging label to or remove it from.".into(),
                ));
            }
        }
        secret.changed = self.clock.now();
        Ok(Value::Object(secret.identity()))
    }

    fn list_versions(&self, input: &ListVersions) -> Result<Value, Refusal> {
        if input.max_results.is_some_and(|most| most == 0 || most > 100) {
            let message = "MaxResults must be a number from 1 to 100.";
            return Err(Refusal::new("InvalidParameterException", message));
        }
        let mut secrets = self.lock();
        let secret = find(&mut secrets, &input.secret_id)?;
        let versions: Vec<Value> = secret
            .versions
            .iter()
            .filter(|version| input.include_deprecated || !version.stages.is_empty())
            .map(|version| {
                json!({
                    "VersionId": version.id, "VersionStages": version.stages, "CreatedDate": epoch(version.created),
                })
            })
            .collect();
        let mut output = secret.identity();
        output.insert("Versions".to_owned(), json!(versions));
        Ok(Value::Object(output))
    }

    fn describe(&self, input: &Describe) -> Result<Value, Refusal> {
        let mut secrets = self.lock();
        let secret = find(&mut secrets, &input.secret_id)?;
        let mut output = secret.identity();
        // Versions without a label are deprecated; the service does not list them here.
        let stages: Map<String, Value> = secret
            .versions
            .iter()
            .filter(|version| !version.stages.is_empty())
            .map(|version| (version.id.clone(), json!(version.stages)))
            .collect();
        if !stages.is_empty() {
            output.insert("VersionIdsToStages".to_owned(), Value::Object(stages));
        }
        output.insert("CreatedDate".to_owned(), epoch(secret.created));
        output.insert("LastChangedDate".to_owned(), epoch(secret.changed));
        if let Some(description) = &secret.description {
            output.insert("Description".to_owned(), json!(description));
        }
        Ok(Value::Object(output))
    }
}

fn read<T: DeserializeOwned>(input: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(input).map_err(|error| Refusal::new("InvalidRequestException", error.to_string()))
}

/// A secret may be named by its name, its ARN, or its ARN without the random suffix.
fn find<'a>(secrets: &'a mut [Secret], id: &str) -> Result<&'a mut Secret, Refusal> {
    let names = |secret: &Secret| {
        let without_suffix = secret.arn.rsplit_once('-').map(|(start, _)| start);
        secret.name == id || secret.arn == id || without_suffix == Some(id)
    };
    secrets.iter_mut().find(|secret| names(secret)).ok_or_else(|| {
        Refusal::new(
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret.",
        )
    })
}

fn check_token(token: &str) -> Result<(), Refusal> {
    if (32..=64).contains(&token.len()) {
        return Ok(());
    }
    let message = format!("ClientRequestToken must be 32-64 characters long, not {}.", token.len());
    Err(Refusal::new("InvalidParameterException", message))
}

fn check_value(text: Option<&str>, binary: Option<&str>) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new("InvalidParameterException", message));
    if text.is_some() && binary.is_some() {
        return invalid("You can't specify both a binary secret value and a string secret value.");
    }
    match text.or(binary) {
        Some("") => invalid("The secret value can't be empty."),
        Some(value) if value.len() > MAX_VALUE_BYTES => invalid("The secret value is longer than 65536 bytes."),
        Some(_) | None => Ok(()),
    }
}

fn new_version(id: String, text: Option<String>, binary: Option<String>, now: Timestamp) -> SecretVersion {
    SecretVersion {
        id,
        text,
        stages: BTreeSet::new(),
        created: now,
        binary,
    }
}

fn new_secret(name: &str, description: Option<String>, version: Option<SecretVersion>, now: Timestamp) -> Secret {
    // The service appends six random characters to the name.
    let suffix: String = Uuid::new_v4().simple().to_string().chars().take(6).collect();
    let arn = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-{suffix}");
    let versions: Vec<SecretVersion> = version.into_iter().collect();
    let first = versions.first().map(|version| version.id.clone());
    let mut secret = Secret {
        name: name.to_owned(),
        arn,
        description,
        created: now,
        changed: now,
        versions,
    };
    if let Some(first) = first {
        secret.attach(CURRENT, &first);
    }
    secret
}

/// Seconds since the epoch with a fraction, which is how the JSON protocol writes instants.
fn epoch(instant: Timestamp) -> Value {
    json!(instant.as_duration().as_secs_f64())
}
