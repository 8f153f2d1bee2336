//! `make bench`: how long each deployed program takes until it asks for its first work, against a function that does
//! nothing.
//!
//! Knows: how to measure fairly: all programs in one run, turn by turn, so that whatever else the machine does hits all
//! alike. Refuses to know: what they do in that time. The simulators answer what the programs ask at start.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cosell_tests::lambda::{Function, FunctionConfig, StartUp};
use cosell_tests::screen::Screen;
use cosell_tests::world::{Setup, World};

/// Starts of each program; the first of each is not counted, since it reads the program from the disk.
const ROUNDS: usize = 40;

/// Where `make build` puts the programs.
const BUILT: &str = "target/lambda";

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new(false);
    match measure(screen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.trouble(&error);
            ExitCode::FAILURE
        }
    }
}

async fn measure(screen: Screen) -> Result<(), String> {
    let program = |name: &str| Path::new(BUILT).join(name).join("bootstrap");
    let empty = program("empty-function");
    if !empty.is_file() {
        return Err(format!(
            "{} is missing; run it as `make bench`, which builds it",
            empty.display()
        ));
    }
    let setup = Setup {
        programs: Some(PathBuf::from(BUILT)),
        ..Setup::default()
    };
    let world = World::start_with(setup).await.map_err(|error| error.to_string())?;
    let empty = Function::start(FunctionConfig {
        name: "empty-function".to_owned(),
        binary: empty,
        environment: Vec::new(),
        timeout: Duration::from_secs(30),
        concurrency: 1,
        memory_mb: 256,
        log_file: None,
    });
    let functions = [&empty, &world.webhook, &world.sync, &world.registration];
    let mut taken: [Vec<StartUp>; 4] = Default::default();
    for round in 0..=ROUNDS {
        for (function, taken) in functions.iter().zip(&mut taken) {
            let start = function
                .initialise()
                .await
                .map_err(|error| format!("{} does not start: {error}", function.name()))?;
            if round > 0 {
                taken.push(start);
            }
        }
    }
    screen.line(format!("{ROUNDS} starts of each program, turn by turn; milliseconds\n"));
    screen.line(format!(
        "{:<16}{:>10}{:>10}{:>10}{:>10}{:>12}{:>10}",
        "program", "wall p50", "wall p90", "ratio", "CPU p50", "CPU ratio", "zip kB"
    ));
    let [nothing, ..] = &taken;
    let base = (
        at(nothing, 50, |start| start.wall),
        at(nothing, 50, |start| start.processor),
    );
    for (function, taken) in functions.iter().zip(&taken) {
        let wall = at(taken, 50, |start| start.wall);
        let processor = at(taken, 50, |start| start.processor);
        let zip = std::fs::metadata(Path::new(BUILT).join(format!("{}.zip", function.name())));
        screen.line(format!(
            "{:<16}{:>10.2}{:>10.2}{:>10.2}{:>10.2}{:>12.2}{:>10}",
            function.name(),
            wall,
            at(taken, 90, |start| start.wall),
            wall / base.0,
            processor,
            processor / base.1,
            zip.map_or_else(|_| "-".to_owned(), |zip| (zip.len() / 1000).to_string()),
        ));
    }
    Ok(())
}

/// A percentile, in milliseconds.
fn at(starts: &[StartUp], percent: usize, of: impl Fn(&StartUp) -> Duration) -> f64 {
    let mut sorted: Vec<Duration> = starts.iter().map(of).collect();
    sorted.sort_unstable();
    let index = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
}
