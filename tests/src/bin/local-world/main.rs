//! `make run`: the local world, the stories, and then a place to try things.
//!
//! Knows: the order of things, what the person may set, how it ends. Refuses to know: the stories, the simulators.
//! Guarantee: it ends with status 0 only when every step held, 1 when one did not or the world could not start, 2 when
//! it was called wrongly, 130 when it was interrupted before the end of the stories; a failed step is told in words,
//! never as a panic.

mod commands;
mod deal;
mod guide;
mod options;
mod stories;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cosell_tests::lambda::schedule::Schedule;
use cosell_tests::world::{Setup, World};
use serde_json::{Value, json};

use crate::commands::Commands;
use crate::deal::text;
use crate::guide::Guide;
use crate::options::{HELP, Options, PORTS, Wish};
use crate::stories::{Outcome, Play};
use cosell_tests::screen::{Screen, seconds};

/// How often both polls run while somebody watches; every minute and every five minutes in AWS.
const POLLS: Duration = Duration::from_millis(500);

/// The same once the stories are over: soon enough for a person at the shell, and the simulators remember every request,
/// so that a world that stays up for hours should not be asked more than it has to be.
const POLLS_AFTERWARDS: Duration = Duration::from_secs(2);

/// Status of a program that was interrupted before it was done, as shells have it.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the lookup that options are read through is made"
    )]
    let lookup = |name: &str| std::env::var(name).ok();
    let screen = Screen::new(lookup("NO_COLOR").is_none_or(|value| value.is_empty()));
    let options = match Options::read(std::env::args().skip(1), &lookup) {
        Ok(Wish::Help) => {
            screen.line(HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Wish::Play(options)) => options,
        Err(error) => {
            screen.trouble(&error);
            return ExitCode::from(2);
        }
    };
    let has_played = AtomicBool::new(false);
    tokio::select! {
        code = run(&options, screen, &has_played) => code,
        () = stopped() => {
            // On a line of its own: the terminal has just shown ^C.
            screen.line("\nStopped.");
            if has_played.load(Ordering::Relaxed) { ExitCode::SUCCESS } else { ExitCode::from(INTERRUPTED) }
        }
    }
}

async fn run(options: &Options, screen: Screen, has_played: &AtomicBool) -> ExitCode {
    let ports = match options.free_ports() {
        Ok(ports) => ports,
        Err(error) => {
            screen.trouble(&error);
            return ExitCode::FAILURE;
        }
    };
    let logs = std::env::temp_dir().join(format!("cosell-local-world-{}", std::process::id()));
    if let Err(error) = std::fs::create_dir_all(&logs) {
        screen.trouble(&format!(
            "the folder {} for logs cannot be made: {error}",
            logs.display()
        ));
        return ExitCode::FAILURE;
    }
    let panics = Panics::caught(&logs);
    let began = Instant::now();
    screen.line("Starting Partner Center, Dynamics 365, Entra and the cloud as simulators on this machine ...");
    let (world, commands) = match start(options, ports, &logs).await {
        Ok(started) => started,
        Err(error) => {
            screen.trouble(&error);
            return ExitCode::FAILURE;
        }
    };
    screen.line(format!(
        "Started in {}. The functions are the compiled ones; each starts when it is first needed.",
        seconds(began.elapsed())
    ));
    screen.aside(&format!("Their logs: {}", logs.display()));
    screen.aside(
        "Dynamics 365 is asked for changes twice a second here, and every minute in AWS; Partner Center reports its own. \
         In the comparisons an arrow marks what a step changed, `linked to` is what each side knows of the other, and \
         `Microsoft` is its number of the deal and the state of its half.",
    );

    let schedules = polls(&world, POLLS);
    let play = Play::new(Arc::clone(&world), screen);
    // A task of its own, so that a panic of a simulator ends the play and not the program.
    let outcome = tokio::spawn(play.perform()).await.unwrap_or_else(|_| Outcome {
        cast: None,
        summary: format!("the play broke off: {}", panics.newest()),
    });
    screen.verdict(outcome.cast.is_some(), &outcome.summary);
    let Some(cast) = outcome.cast else {
        explain_failure(&world, screen, &logs);
        return ExitCode::FAILURE;
    };
    has_played.store(true, Ordering::Relaxed);
    if options.once {
        return ExitCode::SUCCESS;
    }
    drop(schedules);
    let _schedules = polls(&world, POLLS_AFTERWARDS);
    let guide = Guide::new(&world, &commands, &cast, &logs);
    commands.explain(guide.text());
    screen.line(guide.text());
    screen.gap();
    screen.line("All of this stays up until you press Ctrl-C.");
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    loop {
        // Every exchange is recorded; nobody looks at those of the minute before the last.
        let mark = world.switchboard.mark();
        minutes.tick().await;
        world.switchboard.forget_until(mark);
    }
}

/// What the scheduler does in AWS.
fn polls(world: &World, every: Duration) -> [Schedule; 2] {
    ["poll-dynamics", "poll-partner-center"].map(|run| Schedule::start(&world.sync, json!({ "run": run }), every))
}

/// Where to look next: the functions' own complaints, and the folder with everything.
fn explain_failure(world: &World, screen: Screen, logs: &Path) {
    write_down(&logs.join("local-world.log"), &world.state_of_affairs());
    for function in [&world.webhook, &world.sync, &world.registration] {
        let complaints = function
            .logs()
            .into_iter()
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let mut complaints = complaints.filter(|line| matches!(text(line, "/level").as_str(), "ERROR" | "WARN"));
        if let Some(newest) = complaints.next_back() {
            let (message, error) = (text(&newest, "/message"), text(&newest, "/error"));
            screen.trouble(&format!(
                "The newest complaint of `{}`: {message} {error}",
                function.name()
            ));
        }
    }
    screen.trouble(&format!(
        "What the functions said is in {0}/webhook.log, sync.log and registration.log; how things stand, in {0}/local-world.log.",
        logs.display()
    ));
}

async fn start(options: &Options, ports: [u16; PORTS], logs: &Path) -> Result<(Arc<World>, Commands), String> {
    let [ports @ .., commands_port] = ports;
    let setup = Setup {
        ports,
        settings: options
            .rust_log
            .iter()
            .map(|levels| ("RUST_LOG".to_owned(), levels.clone()))
            // Leads are part of the stories.
            .chain([("SYNC_COSELL_ONLY".to_owned(), "false".to_owned())])
            .collect(),
        registered: false,
        log_folder: Some(logs.to_owned()),
        ..Setup::default()
    };
    let world = World::start_with(setup).await.map_err(|error| error.to_string())?;
    let commands = Commands::serve(commands_port, &world.sync, &world.registration)
        .await
        .map_err(|error| format!("the door to the functions cannot listen on port {commands_port}: {error}"))?;
    Ok((Arc::new(world), commands))
}

/// Ctrl-C, or the signal that ends a process politely.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        Some(()) = terminate.recv() => {}
        else => std::future::pending().await,
    }
}

/// What panicked, kept from the screen: simulators panic when a person in them is refused something.
#[derive(Clone)]
struct Panics(Arc<Mutex<Vec<String>>>);

impl Panics {
    fn caught(logs: &Path) -> Self {
        let kept = Self(Arc::default());
        let (shared, file) = (kept.clone(), logs.join("local-world.log"));
        std::panic::set_hook(Box::new(move |panic| {
            write_down(&file, &panic.to_string());
            let message = panic
                .payload_as_str()
                .unwrap_or("for a reason that it did not tell")
                .to_owned();
            shared.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        }));
        kept
    }

    fn newest(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .cloned()
            .unwrap_or_default()
    }
}

fn write_down(file: &PathBuf, line: &str) {
    // What cannot be written down is still told on the screen.
    let _ = File::options()
        .create(true)
        .append(true)
        .open(file)
        .and_then(|mut file| writeln!(file, "{line}"));
}
