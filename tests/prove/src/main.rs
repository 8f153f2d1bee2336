//! `make prove`: plays runs, shows how far it is, and prints and writes the report card.
//!
//! `RUNS` runs beginning with seed `FIRST` (200,000 and 0; `LONG=1`: 5,000,000), then the bug bank: known mistakes that
//! have to be noticed within 200 seeds each. `SEED=n` plays that one again and tells everything that happens in it.
//! `CARD` is where the card is written. Ends with 1 if a promise was broken or a mistake went unnoticed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::world::{BUGS, Bug};
use prove::play::Figures;
use prove::{WITHIN, judge};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Broken runs that are named; more of them say no more.
const MOST_NAMED: usize = 10;

fn main() -> ExitCode {
    // A panic is a finding of its run, told below.
    std::panic::set_hook(Box::new(|_| {}));
    let result = match number("SEED", u64::MAX) {
        Ok(u64::MAX) => prove(),
        Ok(seed) => replay(seed),
        Err(wrong) => Err(wrong),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(wrong) => {
            let _ = writeln!(std::io::stderr(), "{wrong}");
            ExitCode::from(2)
        }
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// What `make` was given; blank counts as nothing.
#[expect(clippy::disallowed_methods, reason = "this program's settings are its variables")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.trim().is_empty())
}

fn number(name: &str, default: u64) -> Result<u64, String> {
    match variable(name) {
        Some(text) => text
            .trim()
            .parse()
            .map_err(|_| format!("{name} is {text:?}; give a whole number")),
        None => Ok(default),
    }
}

fn replay(seed: u64) -> Result<bool, String> {
    let (mut play, result) = judge(seed, None, true);
    for line in play.trace() {
        say(&line);
    }
    match &result {
        Ok(()) => say(&format!("seed {seed}: every promise holds ({:?})", play.knobs)),
        Err(why) => say(&format!("seed {seed}: {why}")),
    }
    Ok(result.is_ok())
}

/// What all runs came to.
#[derive(Default)]
struct Sum {
    runs: u64,
    figures: Figures,
    broken: BTreeMap<u64, String>,
}

fn prove() -> Result<bool, String> {
    let is_long = variable("LONG").as_deref() == Some("1");
    let runs = number("RUNS", if is_long { 5_000_000 } else { 200_000 })?;
    let first = number("FIRST", 0)?;
    let began = Instant::now();
    let sum = run(first, runs, began);
    let took = began.elapsed();
    let bank: Vec<(Bug, Option<u64>)> = BUGS
        .into_iter()
        .map(|bug| (bug, (0..WITHIN).find(|seed| judge(*seed, Some(bug), false).1.is_err())))
        .collect();
    let card = card(&sum, first, took, &bank);
    say(&card);
    if let Some(path) = variable("CARD") {
        std::fs::write(&path, &card).map_err(|error| format!("{path} cannot be written: {error}"))?;
    }
    Ok(sum.broken.is_empty() && bank.iter().all(|(_, seed)| seed.is_some()))
}

fn run(first: u64, runs: u64, began: Instant) -> Sum {
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Sum::default());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first.saturating_add(runs) {
                        return;
                    }
                    let (play, result) = judge(seed, None, false);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.runs += 1;
                    sum.figures.add(&play.figures);
                    if let Err(why) = result {
                        sum.broken.insert(seed, why);
                    }
                    if sum.runs.is_multiple_of(2_000) {
                        progress(&sum, runs, began.elapsed());
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn progress(sum: &Sum, runs: u64, took: Duration) {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        let (done, broken) = (sum.runs, sum.broken.len());
        let _ = write!(
            screen,
            "\r{done} of {runs} runs, {broken} broken, {} s ",
            took.as_secs()
        );
    }
}

fn card(sum: &Sum, first: u64, took: Duration, bank: &[(Bug, Option<u64>)]) -> String {
    let mut card = String::new();
    let Sum { runs, figures, broken } = sum;
    let each_second = u128::from(*runs) * 1000 / took.as_millis().max(1);
    let last = first + runs.saturating_sub(1);
    let mut line = |what: &str, figure: String| {
        let _ = writeln!(card, "{what:<28} {figure}");
    };
    line("runs", format!("{runs} (seeds {first} to {last})"));
    line("time", format!("{} s, {each_second} runs a second", took.as_secs()));
    line("promises broken", broken.len().to_string());
    line("edits by people", figures.edits.to_string());
    line("edits recorded as losers", figures.conflicts.to_string());
    line("calls of the core", figures.calls.to_string());
    line("writes to vendors", figures.vendor_writes.to_string());
    line("workers killed", figures.crashes.to_string());
    line("calls refused", figures.refused.to_string());
    line("answers lost", figures.lost_answers.to_string());
    line("stale reads", figures.stale_reads.to_string());
    line("events lost", figures.lost_events.to_string());
    for (bug, seed) in bank {
        let told = seed.map_or_else(
            || format!("NOT noticed within {WITHIN} seeds"),
            |seed| format!("noticed with seed {seed}"),
        );
        line(&format!("{bug:?}"), told);
    }
    for (seed, why) in broken.iter().take(MOST_NAMED) {
        let why: String = why.lines().next().unwrap_or_default().chars().take(300).collect();
        let _ = writeln!(card, "\nseed {seed}: {why}\n   replay it with: make prove SEED={seed}");
    }
    card
}
