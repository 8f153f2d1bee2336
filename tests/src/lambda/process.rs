//! One function process: its environment, its output, its end.
//!
//! Knows: what Lambda puts into a process's environment, and how to end the process at once. Refuses to know: what it
//! is working on. Guarantees: a killed process has its signal before `kill` returns, and no process outlives its
//! owner.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::FunctionConfig;
use crate::aws::REGION;

/// Lines kept in memory for each function; older ones are in the log file, if there is one.
const MAX_LINES: usize = 10_000;

/// Longer than it takes to read what a process printed.
const MOST_LATE: Duration = Duration::from_secs(5);

/// What the copies of a function printed. Cheap to clone.
#[derive(Clone)]
pub(super) struct Logs {
    lines: watch::Sender<VecDeque<String>>,
    file: Arc<Mutex<Option<File>>>,
}

impl Logs {
    /// A file that cannot be opened is left out: what was printed can still be read from memory.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        let file = path.and_then(|path| File::options().create(true).append(true).open(path).ok());
        Self {
            lines: watch::Sender::default(),
            file: Arc::new(Mutex::new(file)),
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.borrow().iter().cloned().collect()
    }

    /// The lines, as soon as they are as they should be, or after [`MOST_LATE`].
    pub(super) async fn lines_once(&self, mut are_there: impl FnMut(&VecDeque<String>) -> bool) -> Vec<String> {
        let mut coming = self.lines.subscribe();
        let _ = tokio::time::timeout(MOST_LATE, coming.wait_for(|lines| are_there(lines))).await;
        self.lines()
    }

    fn push(&self, line: String) {
        if let Some(file) = self.file.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // A full disk must not change what the function does.
            let _ = writeln!(file, "{line}");
        }
        self.lines.send_modify(|lines| {
            if lines.len() == MAX_LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        });
    }

    fn follow(&self, output: Option<impl AsyncRead + Unpin + Send + 'static>) {
        let Some(output) = output else { return };
        let logs = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                logs.push(line);
            }
        });
    }
}

/// How a process ended, in Lambda's words.
#[derive(Clone, Debug)]
pub(super) struct Exit(String);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A running copy of a function. Dropping it kills it.
pub(super) struct Process {
    child: Arc<Mutex<Child>>,
    killed: AtomicBool,
    exit: watch::Receiver<Option<Exit>>,
}

impl Process {
    pub(super) fn spawn(config: &FunctionConfig, runtime_api: SocketAddr, logs: &Logs) -> std::io::Result<Arc<Self>> {
        let task_root = config.binary.parent().unwrap_or(Path::new("/"));
        let mut child = Command::new(&config.binary)
            .current_dir(task_root)
            .env_clear()
            .envs(config.environment.iter().map(|(name, value)| (name, value)))
            .envs(reserved_environment(config, runtime_api, task_root))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        logs.follow(child.stdout.take());
        logs.follow(child.stderr.take());
        let child = Arc::new(Mutex::new(child));
        let (ended, exit) = watch::channel(None);
        let watched = Arc::clone(&child);
        tokio::spawn(async move {
            // The lock is taken for each poll only, so that the process can be killed meanwhile.
            let status = poll_fn(|context| pin!(lock(&watched).wait()).poll(context)).await;
            ended.send_replace(Some(Exit(
                status.map_or_else(|error| error.to_string(), |status| status.to_string()),
            )));
        });
        Ok(Arc::new(Self {
            child,
            killed: AtomicBool::new(false),
            exit,
        }))
    }

    /// Kills it. The signal is sent when this returns, so nothing it would have done next happens.
    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        // An error means that it has ended already.
        let _ = lock(&self.child).start_kill();
    }

    /// What its threads have computed so far, as Linux counts it in nanoseconds; none on other systems.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        let id = lock(&self.child).id()?;
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).ok()?;
        let of_thread = |thread: std::fs::DirEntry| {
            let counted = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            counted.split(' ').next()?.parse::<u64>().ok()
        };
        let nanoseconds = threads.flatten().filter_map(of_thread).sum();
        Some(Duration::from_nanos(nanoseconds))
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.killed.load(Ordering::SeqCst) && self.exit.borrow().is_none()
    }

    /// Waits for its end.
    pub(super) async fn exit(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|exit| exit.clone())
            .unwrap_or_else(|| Exit("unknown".to_owned()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The variables Lambda sets for an OS-only runtime. Settings of the same name do not get through there either.
fn reserved_environment(config: &FunctionConfig, runtime_api: SocketAddr, task_root: &Path) -> Vec<(String, String)> {
    [
        ("AWS_ACCESS_KEY_ID", "ASIALOCALWORLD000000".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local-world-secret-access-key".to_owned()),
        ("AWS_SESSION_TOKEN", "local-world-session-token".to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", config.name.clone()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", config.memory_mb.to_string()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", config.name)),
        (
            "AWS_LAMBDA_LOG_STREAM_NAME",
            format!("local/[$LATEST]{}", runtime_api.port()),
        ),
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("LAMBDA_TASK_ROOT", task_root.display().to_string()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("_HANDLER", "bootstrap".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
