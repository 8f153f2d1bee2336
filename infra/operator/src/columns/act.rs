//! Creates what is missing, in order, and sees to it that it is there.
//!
//! Knows: that metadata shows up late, that an answer may be lost, that an index is built in the background. Refuses to
//! know: bodies. Guarantee: what exists already, whoever made it, counts as created.

use std::time::{Duration, Instant};

use connector::http::Error;
use reqwest::StatusCode;

use super::difference::{Line, Verdict, inspect};
use super::took;
use crate::definitions::{Definitions, Key, Part};
use crate::metadata::{FoundKey, Metadata};
use crate::screen::{Mark, Screen, seconds};
use crate::trouble::Trouble;

/// Between tries, doubled each time up to [`LAST_LOOK`].
const FIRST_PAUSE: Duration = Duration::from_millis(400);

/// How long a part is tried whose predecessor the service may not see yet: as long as the vendor's own client waits for a
/// fresh column.
const UNSEEN: Duration = Duration::from_secs(12);

/// How long another customisation is waited for. Importing a solution takes minutes.
const LOCKED: Duration = Duration::from_secs(300);

/// Another customisation is running: the service does one at a time.
const LOCK: &str = "0x80071151";

/// Between two looks at an index: at first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LAST_LOOK: Duration = Duration::from_secs(10);

pub(super) struct Act<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) definitions: &'a Definitions,
    pub(super) screen: Screen,
    pub(super) wait: Duration,
    pub(super) visible_within: Duration,
}

impl<'a> Act<'a> {
    /// Does what the lines call for; answers how everything stands afterwards.
    pub(super) async fn perform(&self, lines: &[Line<'_>]) -> Result<Vec<Line<'a>>, Trouble> {
        let (keys, others): (Vec<&Line<'_>>, Vec<&Line<'_>>) = lines
            .iter()
            .filter(|line| line.verdict != Verdict::InStep)
            .partition(|line| matches!(line.part, Part::Key(_)));
        let total = keys.len() + others.len();
        for (index, line) in others.iter().enumerate() {
            self.create(line.part, index + 1, total).await?;
        }
        // A key that is missing tells that an earlier run may have ended before it published.
        if !others.is_empty() || keys.iter().any(|line| line.verdict == Verdict::Create) {
            self.publish().await?;
        }
        for (index, line) in keys.iter().enumerate() {
            let Part::Key(key) = line.part else { continue };
            match &line.verdict {
                Verdict::Create => self.create(line.part, others.len() + index + 1, total).await?,
                Verdict::Rebuild { key: found } => {
                    let rebuilt = self.metadata.reactivate_key(&key.table, found).await;
                    rebuilt.map_err(|error| trouble(&error, line.part))?;
                }
                Verdict::InStep | Verdict::Wait | Verdict::Blocked { .. } => {}
            }
            self.await_key(key).await?;
        }
        self.verify().await
    }

    async fn create(&self, part: Part<'_>, number: usize, total: usize) -> Result<(), Trouble> {
        let (word, name) = (part.word(), part.name());
        let started = Instant::now();
        self.screen.moving(&format!("{number} of {total}: {word} {name} ..."));
        let created = self.create_once(part).await;
        self.screen.still();
        created.map_err(|error| trouble(&error, part))?;
        self.screen.marked(Mark::Good, &took(word, &name, started.elapsed()));
        Ok(())
    }

    /// Creates a part that may have appeared meanwhile, or whose predecessor may not be visible yet.
    async fn create_once(&self, part: Part<'_>) -> Result<(), Error> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(error) = self.metadata.create(part, self.definitions).await else {
                return Ok(());
            };
            if is_about_us(&error) {
                return Err(error);
            }
            // The service refuses what exists with several codes, and an answer may have been lost: look.
            let is_locked = error.has_code(LOCK);
            if !is_locked && self.is_there(part).await? {
                return Ok(());
            }
            if started.elapsed() >= if is_locked { LOCKED } else { UNSEEN } {
                return Err(error);
            }
            if is_locked {
                self.screen
                    .moving("another customisation is running in the environment, waiting for it ...");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    async fn is_there(&self, part: Part<'_>) -> Result<bool, Error> {
        let lines = inspect(self.metadata, self.definitions).await?;
        let (word, name) = (part.word(), part.name());
        let line = lines
            .iter()
            .find(|line| line.part.word() == word && line.part.name() == name);
        Ok(line.is_some_and(|line| line.verdict != Verdict::Create))
    }

    async fn publish(&self) -> Result<(), Trouble> {
        let started = Instant::now();
        let tables = self.definitions.table_names();
        let mut pause = FIRST_PAUSE;
        loop {
            self.screen.moving("publishing ...");
            let published = self.metadata.publish(&tables).await;
            self.screen.still();
            match published {
                Ok(()) => break,
                Err(error) if error.has_code(LOCK) && started.elapsed() < LOCKED => {}
                Err(error) => return Err(customising(&error)),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
        self.screen
            .marked(Mark::Good, &took("published", "all tables", started.elapsed()));
        Ok(())
    }

    /// Waits until the index of a key is built.
    async fn await_key(&self, key: &Key) -> Result<(), Trouble> {
        let started = Instant::now();
        let mut pause = FIRST_LOOK;
        loop {
            let keys = self.metadata.keys(&key.table).await;
            let keys = keys.map_err(|error| trouble(&error, Part::Key(key)))?;
            let found = keys.iter().find(|found| found.covers(&key.columns));
            let status = found.map_or("not visible yet", |found| found.entity_key_index_status.as_str());
            let waited = started.elapsed();
            if found.is_some_and(FoundKey::is_active) {
                self.screen.still();
                let name = Part::Key(key).name();
                self.screen.marked(Mark::Good, &took("index of", &name, waited));
                return Ok(());
            }
            if found.is_some_and(FoundKey::is_failed) {
                self.screen.still();
                return Err(Trouble::new(
                    "key_failed",
                    format!(
                        "the index of {} could not be built: two rows carry the same value",
                        Part::Key(key).name()
                    ),
                    format!(
                        "look for rows of {} with the same {} (copies of an opportunity have it), clear it in all but one, \
                         and run this again: it builds the index anew",
                        key.table,
                        key.columns.join(", ")
                    ),
                ));
            }
            if waited >= self.wait {
                self.screen.still();
                return Err(Trouble::new(
                    "key_not_ready",
                    format!(
                        "the index of {} is {status} after {}",
                        Part::Key(key).name(),
                        seconds(waited)
                    ),
                    "it is built in the background: run this again later, or with a longer wait (`ARGS=\"--wait 3600\"`); it goes on waiting",
                ));
            }
            let shown = seconds(waited);
            self.screen
                .moving(&format!("the key's index is {status}, {shown} so far ..."));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// Reads everything again until nothing differs.
    async fn verify(&self) -> Result<Vec<Line<'a>>, Trouble> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            self.screen.moving("reading it again ...");
            let lines = inspect(self.metadata, self.definitions).await;
            self.screen.still();
            let lines = lines.map_err(|error| customising(&error))?;
            let open: Vec<String> = lines
                .iter()
                .filter(|line| line.verdict != Verdict::InStep)
                .map(|line| format!("{} {}", line.part.word(), line.part.name()))
                .collect();
            if open.is_empty() {
                return Ok(lines);
            }
            if started.elapsed() >= self.visible_within {
                return Err(Trouble::new(
                    "not_visible",
                    format!("created, but not to be seen yet: {}", open.join(", ")),
                    "run this again in a minute; it creates nothing twice",
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }
}

/// Refusals that no waiting cures.
fn is_about_us(error: &Error) -> bool {
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    matches!(error, Error::Token { .. }) || refused.iter().any(|status| error.has_status(*status))
}

fn trouble(error: &Error, part: Part<'_>) -> Trouble {
    let trouble = customising(error);
    let message = format!("{} {}: {}", part.word(), part.name(), trouble.message);
    let cure = format!(
        "{}; what was created stays, and a new run goes on from here",
        trouble.cure
    );
    Trouble {
        message,
        cure,
        ..trouble
    }
}

/// What a refusal means to whoever reads or writes definitions.
pub(super) fn customising(error: &Error) -> Trouble {
    let trouble = Trouble::from(error);
    if trouble.code != "privilege_missing" {
        return trouble;
    }
    trouble.cured_by(
        "give the application user the security role System Customizer while this runs (Power Platform admin center, \
         Environments, Settings, Users + permissions, Application users), wait half a minute, and run it again",
    )
}
