//! `make rehearse`: the whole deployment, with the very same Terraform and the very same zips, in an AWS emulator against
//! the simulated vendors.
//!
//! Knows: the order of the first-day guide, what has to be true after each step, how it ends. Refuses to know: how the
//! functions and the infrastructure do it: everything is done from outside, with the admin's commands, with posts that
//! Partner Center signs and with schedules that fire by themselves. Guarantee: it ends with status 0 only when every step
//! held, 1 when one did not, 2 when it was called wrongly, 130 when it was interrupted; nothing it started outlives it.

mod cloud;
mod deployment;
mod group;
mod guide;
mod play;
mod vendors;

use std::process::ExitCode;

use cosell_tests::screen::Screen;
use tokio::signal::unix::{SignalKind, signal};

use crate::play::Play;

const HELP: &str = "\
The rehearsal: the Terraform of infra/ and the zips of `make build` go to an AWS
emulator on this machine (ministack), with both vendors simulated. The commands of
the first-day guide are typed, step by step, as the README gives them.

Usage: make rehearse [STAY=1]

  STAY=1            keep everything up before it is torn down, until Ctrl-C
  EMULATOR=FILE     the emulator's program; `make rehearse` sets it
  --help            this text

Logs are in target/rehearsal.";

/// Status of a program that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the lookup that options are read through is made"
    )]
    let lookup = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let screen = Screen::new(lookup("NO_COLOR").is_none());
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--help" | "-h") => {
            screen.line(HELP);
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            screen.trouble(&format!("the argument {other:?} is not known; known is --help"));
            return ExitCode::from(2);
        }
    }
    let Some(emulator) = lookup("EMULATOR") else {
        screen.trouble("EMULATOR is not set; run it as `make rehearse`, which sets it");
        return ExitCode::from(2);
    };
    let play = Play::new(screen, emulator.into(), lookup("STAY").is_some());
    tokio::select! {
        outcome = play.perform() => match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                screen.failed(&error);
                screen.verdict(false, "the rehearsal stopped here; its logs are in target/rehearsal");
                ExitCode::FAILURE
            }
        },
        () = stopped() => {
            screen.line("\nStopped.");
            ExitCode::from(INTERRUPTED)
        }
    }
}

/// Somebody interrupts it, or its time is over.
async fn stopped() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => drop(signals.recv().await),
            // Then it ends the process at once, as it would any other.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
