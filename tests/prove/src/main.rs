//! `make prove`: plays runs, shows how far it is, and prints and writes the report card.
//!
//! `RUNS` runs beginning with seed `FIRST` (200,000 and 0; `LONG=1`: 5,000,000), then the bug bank: known mistakes that
//! have to be noticed within 200 seeds each. `SEED=n` plays that one again and tells everything that happens in it.
//! `CARD` is where the card is written, `PROGRESS` where it is kept how far the runs are: stopped and started again, the
//! same program goes on there. `MUTANTS` is where `make mutants` has left its score. Ends with 1 if a promise was broken or a mistake went unnoticed.

mod card;
mod progress;

use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use model::world::{BUGS, Bug};
use prove::{WITHIN, is_calm, judge};

use self::card::Sum;
use self::progress::Progress;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs after which it is kept how far they are: half a minute's.
const BATCH: u64 = 20_000;

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

fn prove() -> Result<bool, String> {
    let is_long = variable("LONG").as_deref() == Some("1");
    let runs = number("RUNS", if is_long { 5_000_000 } else { 200_000 })?;
    let first = number("FIRST", 0)?;
    let progress = Progress::of(variable("PROGRESS"), first, runs)?;
    let (mut sum, before) = progress.found();
    if sum.runs > 0 {
        say(&format!("going on after {} of {runs} runs", sum.runs));
    }
    let began = Instant::now();
    while sum.runs < runs {
        let from = first.saturating_add(sum.runs);
        play(from, BATCH.min(runs - sum.runs), &mut sum, runs);
        sum = progress.keep(sum, before + began.elapsed())?;
    }
    let took = before + began.elapsed();
    let bank: Vec<(Bug, Option<u64>)> = BUGS
        .into_iter()
        .map(|bug| (bug, (0..WITHIN).find(|seed| judge(*seed, Some(bug), false).1.is_err())))
        .collect();
    let mutants = variable("MUTANTS").and_then(|path| std::fs::read_to_string(path).ok());
    let card = sum.card(first, took, &bank, mutants.as_deref());
    say(&card);
    if let Some(path) = variable("CARD") {
        std::fs::write(&path, &card).map_err(|error| format!("{path} cannot be written: {error}"))?;
    }
    progress.forget();
    Ok(sum.broken.is_empty() && bank.iter().all(|(_, seed)| seed.is_some()))
}

/// Plays some of all `runs`, on every core.
fn play(from: u64, count: u64, sum: &mut Sum, runs: u64) {
    let next = AtomicU64::new(from);
    let (until, all) = (from.saturating_add(count), Mutex::new(sum));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= until {
                        return;
                    }
                    let (play, result) = judge(seed, None, false);
                    let mut sum = all.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.runs += 1;
                    let figures = if is_calm(seed) { &mut sum.calm } else { &mut sum.hostile };
                    figures.add(&play.figures);
                    if let Err(why) = result {
                        sum.broken.insert(seed, why);
                    }
                    if sum.runs.is_multiple_of(1_000) {
                        progress_of(&sum, runs);
                    }
                }
            });
        }
    });
}

fn progress_of(sum: &Sum, runs: u64) {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        let (done, broken) = (sum.runs, sum.broken.len());
        let _ = write!(screen, "\r{done} of {runs} runs, {broken} broken ");
    }
}
