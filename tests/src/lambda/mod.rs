//! The local Lambda: compiled functions as child processes, and what wakes them.
//!
//! Knows: how a function is invoked, how many copies run at once, and how an invocation ends. Refuses to know: what
//! functions do. Guarantee: a copy that crashed, was killed or ran out of time never serves another invocation; the
//! next one starts a fresh process.

pub mod gateway;
pub mod mapping;
mod process;
mod runtime;
pub mod schedule;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use self::process::{Logs, Process};
use self::runtime::{Invocation, Runtime};
use crate::aws::{ACCOUNT, REGION};

/// How long a process may take before it first asks for work, as on Lambda.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// What a function is made of.
#[derive(Clone, Debug)]
pub struct FunctionConfig {
    /// Its name, as in the ARN.
    pub name: String,
    /// The compiled program.
    pub binary: PathBuf,
    /// Its settings. Variables that Lambda reserves win over these.
    pub environment: Vec<(String, String)>,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// Copies that may run at once; further invocations wait for one.
    pub concurrency: usize,
    /// Only told to the function; nothing limits its memory here.
    pub memory_mb: u32,
    /// Also append what the function prints to this file.
    pub log_file: Option<PathBuf>,
}

impl FunctionConfig {
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", self.name)
    }
}

/// How an invocation went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The function reported an error.
    Function,
    /// It did not get as far as asking for work.
    Init,
    /// Its process ended, or was killed, during the invocation.
    Crashed,
    /// It took longer than its timeout and was killed.
    TimedOut,
}

/// An invocation that did not succeed, as Lambda reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvocationError {
    /// `errorType` of the answer.
    pub error_type: String,
    /// `errorMessage` of the answer.
    pub message: String,
    /// How it went wrong.
    pub kind: FailureKind,
}

impl fmt::Display for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

impl std::error::Error for InvocationError {}

struct Inner {
    config: FunctionConfig,
    settings: Mutex<Settings>,
    permits: Semaphore,
    idle: Mutex<Vec<Sandbox>>,
    running: Mutex<Vec<Weak<Process>>>,
    logs: Logs,
    answered: AtomicUsize,
}

/// The settings that new copies start with. Copies with older ones serve no further invocation.
#[derive(Clone)]
struct Settings {
    version: u64,
    environment: Vec<(String, String)>,
}

/// One copy of the function: its process and the Runtime API it talks to.
struct Sandbox {
    /// Of the settings that it was started with.
    version: u64,
    process: Arc<Process>,
    runtime: Runtime,
}

/// What it took a copy to come up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartUp {
    /// From the start of its process until it asked for work.
    pub wall: Duration,
    /// What of that it computed; zero where the system does not tell.
    pub processor: Duration,
}

/// A deployed function. Cheap to clone.
#[derive(Clone)]
pub struct Function {
    inner: Arc<Inner>,
}

impl Function {
    /// Deploys a function; no process starts before the first invocation.
    #[must_use]
    pub fn start(config: FunctionConfig) -> Self {
        let inner = Inner {
            permits: Semaphore::new(config.concurrency),
            logs: Logs::new(config.log_file.clone()),
            settings: Mutex::new(Settings {
                version: 0,
                environment: config.environment.clone(),
            }),
            config,
            idle: Mutex::default(),
            running: Mutex::default(),
            answered: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The function's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// Invokes the function and waits for its answer. An invocation goes on even if its caller goes away.
    ///
    /// # Errors
    /// When the function reports an error, cannot start, crashes, or takes too long.
    pub async fn invoke(&self, payload: Value) -> Result<Value, InvocationError> {
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move { inner.invoke(payload).await })
            .await
            .unwrap_or_else(|broken| {
                Err(InvocationError {
                    error_type: "ServiceException".to_owned(),
                    message: broken.to_string(),
                    kind: FailureKind::Crashed,
                })
            })
    }

    /// Starts one copy, waits until it asks for work, and ends it.
    ///
    /// # Errors
    /// When it does not get that far.
    pub async fn initialise(&self) -> Result<StartUp, InvocationError> {
        let began = Instant::now();
        let sandbox = self.inner.new_sandbox().await?;
        let wall = began.elapsed();
        let processor = sandbox.process.processor_time().unwrap_or_default();
        Ok(StartUp { wall, processor })
    }

    /// Changes one setting, as an operator does: invocations that begin from now on find it.
    pub fn configure(&self, name: &str, value: &str) {
        let mut settings = self.inner.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.version += 1;
        settings.environment.retain(|(known, _)| known != name);
        settings.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Kills all running copies at once; an invocation under way becomes [`FailureKind::Crashed`].
    pub fn kill(&self) {
        self.inner.kill();
    }

    /// [`Function::kill`] as a closure, for a planned fault.
    #[must_use]
    pub fn kill_switch(&self) -> Arc<dyn Fn() + Send + Sync> {
        let function = self.clone();
        Arc::new(move || function.kill())
    }

    /// How many invocations it has answered itself, if only with an error.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.inner.answered.load(Ordering::SeqCst)
    }

    /// The newest lines the function printed, oldest first, as far as they were read: what a process printed is read a
    /// moment after it has answered, or ended.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        self.inner.logs.lines()
    }

    /// [`Function::logs`] as soon as they are as they should be, or after a patient wait.
    pub async fn logs_once(&self, are_there: impl FnMut(&VecDeque<String>) -> bool) -> Vec<String> {
        self.inner.logs.lines_once(are_there).await
    }
}

impl Inner {
    async fn invoke(&self, payload: Value) -> Result<Value, InvocationError> {
        // The semaphore is never closed, so there is always a permit in the end.
        let _permit = self.permits.acquire().await.ok();
        let sandbox = match self.take_idle() {
            Some(sandbox) => sandbox,
            None => self.new_sandbox().await?,
        };
        let outcome = self.run(&sandbox, payload).await;
        let is_its_own = |error: &InvocationError| error.kind == FailureKind::Function;
        if outcome.as_ref().err().is_none_or(is_its_own) {
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
        if sandbox.process.is_alive() && sandbox.version == self.settings().version {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sandbox);
        }
        outcome
    }

    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take_idle(&self) -> Option<Sandbox> {
        let version = self.settings().version;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sandbox| sandbox.process.is_alive() && sandbox.version == version);
        idle.pop()
    }

    async fn new_sandbox(&self) -> Result<Sandbox, InvocationError> {
        let init_error = |error_type: &str, message: String| InvocationError {
            error_type: error_type.to_owned(),
            message,
            kind: FailureKind::Init,
        };
        let runtime = Runtime::start(self.config.arn())
            .await
            .map_err(|error| init_error("ServiceException", format!("no Runtime API: {error}")))?;
        let Settings { version, environment } = self.settings();
        let config = FunctionConfig {
            environment,
            ..self.config.clone()
        };
        let process = Process::spawn(&config, runtime.address(), &self.logs).map_err(|error| {
            let message = format!("cannot start {}: {error}", self.config.binary.display());
            init_error("Runtime.InvalidEntrypoint", message)
        })?;
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.retain(|process| process.strong_count() > 0);
            running.push(Arc::downgrade(&process));
        }
        let sandbox = Sandbox {
            version,
            process,
            runtime,
        };
        tokio::select! {
            biased;
            ready = sandbox.runtime.ready() => match ready {
                Ok(()) => Ok(sandbox),
                Err((error_type, message)) => Err(init_error(&error_type, message)),
            },
            exit = sandbox.process.exit() => {
                Err(init_error("Runtime.ExitError", format!("Runtime exited during init with error: {exit}")))
            }
            () = tokio::time::sleep(INIT_LIMIT) => {
                Err(init_error("Sandbox.Timedout", format!("init took longer than {} s", INIT_LIMIT.as_secs())))
            }
        }
    }

    async fn run(&self, sandbox: &Sandbox, payload: Value) -> Result<Value, InvocationError> {
        let timeout = self.config.timeout;
        let id = Uuid::new_v4().to_string();
        let invocation = Invocation {
            id: id.clone(),
            payload,
            deadline: real_time_after(timeout),
        };
        let timed_out = tokio::time::sleep_until(Instant::now() + timeout);
        let answer = sandbox.runtime.invoke(invocation);
        tokio::select! {
            biased;
            answer = answer => match answer {
                Ok(value) => Ok(value),
                Err((error_type, message)) => Err(InvocationError { error_type, message, kind: FailureKind::Function }),
            },
            exit = sandbox.process.exit() => Err(InvocationError {
                error_type: "Runtime.ExitError".to_owned(),
                message: format!("RequestId: {id} Error: Runtime exited with error: {exit}"),
                kind: FailureKind::Crashed,
            }),
            () = timed_out => {
                sandbox.process.kill();
                Err(InvocationError {
                    error_type: "Sandbox.Timedout".to_owned(),
                    message: format!("RequestId: {id} Error: Task timed out after {:.2} seconds", timeout.as_secs_f64()),
                    kind: FailureKind::TimedOut,
                })
            }
        }
    }

    fn kill(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|process| process.kill());
    }
}

/// Deadlines are told in real time: a child process cannot see a test's clock.
#[expect(clippy::disallowed_methods, reason = "child processes live in real time")]
fn real_time_after(wait: Duration) -> Timestamp {
    Timestamp::now() + SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO)
}
