//! Runs one target: so many cases, with an eye on time and memory.

use std::cell::Cell;
use std::fmt::Debug;
use std::io::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestCaseResult, TestError, TestRunner};

/// A case takes microseconds. After this long it hangs, whatever else the machine is doing.
const LONGEST_CASE: Duration = Duration::from_secs(20);

/// What the peak of the process may grow by while a target runs, in kilobytes. Inputs are of a hundred kilobytes at most.
const MOST_GROWTH_KB: u64 = 300_000;

/// So often the peak is looked at.
const LOOK_EVERY: u32 = 128;

/// So often a long run reports how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Shows a property `cases` inputs, or as many as `CASES` says. A failure is shrunk, and its seed is remembered beside
/// `source`, which is `file!()`.
///
/// # Panics
/// When the property does not hold, with the smallest input found.
#[expect(clippy::panic, reason = "that is how a test fails")]
pub fn check<S>(
    target: &str,
    source: &'static str,
    cases: u32,
    strategy: S,
    property: impl Fn(S::Value) -> TestCaseResult,
) where
    S: Strategy,
    S::Value: Clone + Send + 'static,
{
    let wanted = setting("CASES").and_then(|text| text.parse().ok());
    let trace = setting("TRACE");
    let cases = wanted.unwrap_or(cases);
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        source_file: Some(source),
        ..Config::default()
    };
    let started = Instant::now();
    let reported = Cell::new(started);
    let played = Cell::new(0_u32);
    let peak = peak_kb();
    let begin = watch(target.to_owned());
    let outcome = TestRunner::new(config).run(&strategy, |input| {
        if let Some(path) = &trace {
            std::fs::write(path, format!("{target}\n{input:?}\n")).ok();
        }
        begin.send(input.clone()).ok();
        property(input)?;
        played.set(played.get() + 1);
        if played.get().is_multiple_of(LOOK_EVERY) {
            let growth = peak_kb().saturating_sub(peak);
            if growth > MOST_GROWTH_KB {
                let text = format!("memory grew by {growth} kB, during one of the last {LOOK_EVERY} cases");
                return Err(TestCaseError::fail(text));
            }
            if wanted.is_some() && reported.get().elapsed() > REPORT_EVERY {
                reported.set(Instant::now());
                report(target, played.get(), cases, started);
            }
        }
        Ok(())
    });
    match outcome {
        Ok(()) if wanted.is_some() => report(target, played.get(), cases, started),
        Ok(()) => {}
        Err(TestError::Fail(why, input)) => panic!("{target}: {why}\nsmallest input: {input:?}"),
        Err(TestError::Abort(why)) => panic!("{target}: {why}"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long to look is for whoever starts the tests to say"
)]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn report(target: &str, played: u32, cases: u32, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    // Not the macro: its output is held back until a test has failed.
    writeln!(
        std::io::stderr(),
        "  {target:<44} {played:>9} of {cases} cases, {seconds:>6.1} s"
    )
    .ok();
}

/// A watch that ends the process when one case takes too long, since nothing else ends a loop.
fn watch<T: Debug + Send + 'static>(target: String) -> mpsc::Sender<T> {
    let (begin, begun) = mpsc::channel::<T>();
    std::thread::spawn(move || {
        let mut current = begun.recv().ok();
        while let Some(input) = current {
            current = match begun.recv_timeout(LONGEST_CASE) {
                Ok(next) => Some(next),
                Err(RecvTimeoutError::Disconnected) => None,
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = LONGEST_CASE.as_secs();
                    writeln!(std::io::stderr(), "{target}: hangs for {seconds} s with {input:?}").ok();
                    std::process::abort();
                }
            };
        }
    });
    begin
}

/// The most memory the process has held so far; nothing where the system does not say.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let digits = peak.and_then(|peak| peak.split_whitespace().next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
