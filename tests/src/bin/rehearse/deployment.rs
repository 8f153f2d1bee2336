//! The deployment under rehearsal: its settings file, the commands that an admin types, and Terraform by way of `infra/run`.
//!
//! Knows: how an admin calls them, and where they leave what they say. Refuses to know: what they do. Guarantee: the
//! settings, the state and the plug-ins of the rehearsal lie in files of its own, which are removed when it ends well.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Duration, timeout};

use crate::cloud::{Cloud, REGION};
use crate::group::{self, Group};

/// A first apply takes a minute here; in AWS three.
const TERRAFORM: Duration = Duration::from_secs(900);

/// The longest is a first deployment.
const COMMAND: Duration = TERRAFORM;

/// Lines of a log that are shown when a program failed.
const TAIL: usize = 30;

/// One environment of the repository's Terraform, and the admin who deploys it.
#[derive(Debug)]
pub(crate) struct Deployment {
    root: PathBuf,
    logs: PathBuf,
    environment: &'static str,
    variables: Vec<(String, String)>,
}

/// A command that was typed and still runs.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    /// What it says.
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
    _group: Group,
}

impl Deployment {
    pub(crate) fn new(root: &Path, logs: &Path, environment: &'static str, cloud: &Cloud) -> Self {
        let variables = [
            ("AWS_ENDPOINT_URL", cloud.url()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", REGION),
            // A person's own profile must not get mixed up in a rehearsal.
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("NO_COLOR", "1"),
        ];
        Self {
            root: root.to_owned(),
            logs: logs.to_owned(),
            environment,
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.join("infra/environments")
    }

    /// Edits the copy of the example: lines of `settings` replace those of the same name, others are added.
    pub(crate) fn configure(&self, settings: &str) -> Result<(), String> {
        let path = self.folder().join(format!("{}.tfvars", self.environment));
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut lines: Vec<String> = fs::read_to_string(&path)
            .map_err(failed)?
            .lines()
            .map(str::to_owned)
            .collect();
        for setting in settings.lines() {
            let same = lines
                .iter_mut()
                .find(|line| name_of(line).is_some() && name_of(line) == name_of(setting));
            match same {
                Some(line) => setting.clone_into(line),
                None => lines.push(setting.to_owned()),
            }
        }
        fs::write(&path, lines.join("\n") + "\n").map_err(failed)
    }

    /// Removes every file of the environment.
    pub(crate) fn forget(&self) {
        for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let own = name.trim_start_matches('.').split('.').next() == Some(self.environment);
            if own && !name.ends_with(".example") {
                // What stays behind is ignored by git and overwritten by the next rehearsal.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// `infra/run VERB ENVIRONMENT`, as the `make` targets call it.
    pub(crate) async fn terraform(&self, verb: &str, more: &[&str]) -> Result<String, String> {
        let mut command = self.command(&self.root.join("infra/run"));
        command.arg(verb).arg(self.environment).args(more);
        // Nobody is asked: the rehearsal has no terminal.
        command.env("TF_IN_AUTOMATION", "1").env("YES", "1");
        self.finish(&format!("infra/run {verb}"), "terraform.log", command, TERRAFORM)
            .await
    }

    /// The same as another deployment of the same name would do it: with a state of its own.
    pub(crate) async fn terraform_elsewhere(&self, verb: &str, state: &Path) -> Result<String, String> {
        let mut command = self.command(&self.root.join("infra/run"));
        command.arg(verb).arg(self.environment);
        command
            .env("TF_IN_AUTOMATION", "1")
            .env("YES", "1")
            .env("STATE", state)
            .env("TF_DATA_DIR", state.with_extension("plugins"));
        self.finish(
            &format!("infra/run {verb}"),
            "terraform-elsewhere.log",
            command,
            TERRAFORM,
        )
        .await
    }

    /// The values that the admin's command needs, as `make` hands them to it.
    pub(crate) async fn settings(&self) -> Result<Value, String> {
        self.terraform("operator", &[]).await?;
        let path = self.settings_file();
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn settings_file(&self) -> PathBuf {
        self.folder().join(format!(".{}.operator.json", self.environment))
    }

    /// One value of the deployment's outputs.
    pub(crate) async fn output(&self, name: &str) -> Result<String, String> {
        let text = self.terraform("output", &["-raw", name]).await?;
        Ok(text.trim().to_owned())
    }

    /// What an admin types, until it ends; `answers` are variables that spare a question.
    pub(crate) async fn types(&self, line: &str, answers: &[(&str, &str)]) -> Result<String, String> {
        self.finish(line, "commands.log", self.typed(line, answers), COMMAND)
            .await
    }

    /// What an admin types, left running, for a test that plays the browser.
    pub(crate) fn started(&self, line: &str, answers: &[(&str, &str)]) -> Result<Started, String> {
        let mut command = self.typed(line, answers);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let (mut child, group) =
            group::spawn(&mut command).map_err(|error| format!("\"{line}\" does not start: {error}"))?;
        let lines = child.stdout.take().ok_or("it has no standard output")?;
        Ok(Started {
            child,
            lines: BufReader::new(lines).lines(),
            _group: group,
        })
    }

    fn typed(&self, line: &str, answers: &[(&str, &str)]) -> Command {
        let mut command = self.command(Path::new("sh"));
        command.arg("-c").arg(line);
        // The make that runs the rehearsal is not the one that is typed here.
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
            command.env_remove(name);
        }
        command.env("YES", "1").envs(answers.iter().copied());
        command
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command.env_remove("AWS_PROFILE").env_remove("AWS_SESSION_TOKEN");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    async fn finish(&self, what: &str, log: &str, mut command: Command, limit: Duration) -> Result<String, String> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (child, _group) = group::spawn(&mut command).map_err(|error| format!("{what} does not start: {error}"))?;
        let output = timeout(limit, child.wait_with_output())
            .await
            .map_err(|_| format!("{what} did not end within {} s", limit.as_secs()))?
            .map_err(|error| format!("{what} cannot be waited for: {error}"))?;
        let said = self.log(what, log, &output)?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!("{what} ended with {}:\n{}", output.status, tail(&said)))
        }
    }

    fn log(&self, what: &str, log: &str, output: &Output) -> Result<String, String> {
        use std::io::Write;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let path = self.logs.join(log);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| writeln!(file, "---- {what}: {}\n{said}", output.status))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        Ok(said)
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(TAIL);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// The name that a line of settings gives a value to.
fn name_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    is_name.then_some(name)
}
