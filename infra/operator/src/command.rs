//! One call of the command, from arguments to exit code.
//!
//! Knows: exit codes, interruption, and that every command answers a report or a trouble. Refuses to know: what the
//! commands do. Guarantee: an interrupted command ends at once, with 130, and says what it leaves behind.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use serde_json::{Value, json};

use crate::arguments::{Arguments, Command};
use crate::prompt::Terminal;
use crate::screen::Screen;
use crate::settings::{Variables, transport_trouble};
use crate::trouble::{Exit, Trouble};
use crate::{columns, consent, credentials, deals, doctor, mapping_check, registration};

const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// What shells show for a program that an interrupt ended: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

/// What every command may use.
pub(crate) struct Context<'a> {
    pub(crate) screen: Screen,
    pub(crate) variables: Variables<'a>,
    pub(crate) client: reqwest::Client,
    /// Set while something is being written that an interruption may or may not stop.
    pub(crate) is_writing: Arc<AtomicBool>,
    /// Where a walk stands that can be gone on with.
    place: Arc<Mutex<Option<String>>>,
}

impl Context<'_> {
    /// A walk has come this far.
    pub(crate) fn stands_at(&self, place: Option<&str>) {
        if let Ok(mut known) = self.place.lock() {
            *known = place.map(str::to_owned);
        }
    }
}

/// What a command found or did.
pub(crate) struct Report {
    /// Whether all is well.
    pub(crate) is_fine: bool,
    /// For programs.
    pub(crate) document: Value,
}

/// Runs the command that the arguments name.
pub(crate) fn run(environment: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let is_help = !error.use_stderr();
            // A reader of a pipe that has gone needs no help.
            let _ = error.print();
            return if is_help {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(USAGE)
            };
        }
    };
    let wishes = |name: &str| environment(name).filter(|value| !value.is_empty());
    let may_colour = wishes("NO_COLOR").is_none() && wishes("TERM").is_none_or(|term| term != "dumb");
    let screen = Screen::new(arguments.json, may_colour);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        let trouble = Trouble::new("runtime", "the machine gives no thread to run on", "run it again");
        return failed(screen, &trouble);
    };
    let code = runtime.block_on(perform(arguments, screen, environment));
    // A prompt that still waits for a line must not keep the process.
    runtime.shutdown_background();
    code
}

async fn perform(arguments: Arguments, screen: Screen, environment: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let terminal = Terminal::remember();
    let is_writing = Arc::new(AtomicBool::new(false));
    let place = Arc::<Mutex<Option<String>>>::default();
    let left_behind = match &arguments.command {
        Command::Consent(_) | Command::Credentials(_) => "nothing was stored; the previous credential is untouched",
        Command::Columns(_) => "what was created stays; run it again and it goes on from there",
        Command::Register(_) => {
            "the registration is as it was, or as it should be; `make register ENV=...` shows which"
        }
        Command::Prove(_)
        | Command::Doctor(_)
        | Command::MappingCheck(_)
        | Command::Show(_)
        | Command::Attention(_) => "nothing was changed",
        Command::Resync(_) | Command::Backfill(_) => "what is on the queue is looked at all the same; run it again",
        Command::Accept(_) | Command::Decline(_) | Command::Restore(_) | Command::Link(_) | Command::Unlink(_) => {
            "the function goes on by itself if it was asked already; `make show ENV=...` shows how the deal stands"
        }
    };
    let work = async {
        let variables = Variables::load(environment, arguments.settings.as_deref())?;
        let client = transport::client().map_err(|error| transport_trouble(&error))?;
        let context = Context {
            screen,
            variables,
            client,
            is_writing: Arc::clone(&is_writing),
            place: Arc::clone(&place),
        };
        match &arguments.command {
            Command::Consent(order) => Box::pin(consent::run(order, &context)).await,
            Command::Credentials(order) => Box::pin(credentials::run(order, &context)).await,
            Command::Columns(order) => Box::pin(columns::run(order, &context)).await,
            Command::Register(order) => Box::pin(registration::register(order, &context)).await,
            Command::Prove(order) => Box::pin(registration::prove(order, &context)).await,
            Command::Doctor(order) => Box::pin(doctor::run(order, &context)).await,
            Command::MappingCheck(order) => Box::pin(mapping_check::run(order, &context)).await,
            Command::Show(order) => Box::pin(deals::show(order, &context)).await,
            Command::Attention(order) => Box::pin(deals::attention(order, &context)).await,
            Command::Resync(order) => Box::pin(deals::resync(order, &context)).await,
            Command::Accept(order) => Box::pin(deals::accept(order, &context)).await,
            Command::Decline(order) => Box::pin(deals::decline(order, &context)).await,
            Command::Restore(order) => Box::pin(deals::restore(order, &context)).await,
            Command::Link(order) => Box::pin(deals::link(order, &context)).await,
            Command::Unlink(order) => Box::pin(deals::unlink(order, &context)).await,
            Command::Backfill(order) => Box::pin(deals::backfill(order, &context)).await,
        }
    };
    tokio::select! {
        result = work => match result {
            Ok(report) => {
                screen.document(&report.document);
                if report.is_fine { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
            }
            Err(trouble) => failed(screen, &trouble),
        },
        Ok(()) = tokio::signal::ctrl_c() => {
            terminal.restore(screen);
            let left_behind = if is_writing.load(Ordering::Relaxed) && !matches!(arguments.command, Command::Columns(_)) {
                "the new credential was just being stored: it is in force, or the previous one is; both are whole"
            } else {
                left_behind
            };
            let place = place.lock().ok().and_then(|place| place.clone());
            let going_on = place.as_ref().map(|place| format!(" with --from '{place}' to go on")).unwrap_or_default();
            let left_behind = format!("{left_behind}{going_on}");
            screen.line(format!("  interrupted; {left_behind}"));
            screen.document(&json!({ "outcome": "interrupted", "message": left_behind, "next": place }));
            ExitCode::from(INTERRUPTED)
        }
    }
}

fn failed(screen: Screen, trouble: &Trouble) -> ExitCode {
    screen.still();
    screen.trouble(trouble);
    screen.document(&json!({
        "outcome": "failed",
        "code": trouble.code,
        "message": trouble.message,
        "cure": trouble.cure,
    }));
    ExitCode::from(match trouble.exit {
        Exit::Failed => FAILED,
        Exit::Usage => USAGE,
    })
}
