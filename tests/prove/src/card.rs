//! The report card: what all runs came to, and how it is written down.
//!
//! Knows: which figures are told and in which words. Refuses to know: how a run is played.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use model::world::Bug;
use prove::WITHIN;
use prove::play::Figures;
use serde::{Deserialize, Serialize};

/// Broken runs that are named; more of them say no more.
const MOST_NAMED: usize = 50;

/// What all runs came to.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) runs: u64,
    /// Those without mishaps.
    pub(crate) calm: Figures,
    pub(crate) hostile: Figures,
    /// Why, by seed.
    pub(crate) broken: BTreeMap<u64, String>,
}

impl Sum {
    /// The card: all figures of the runs beginning with seed `first`, which took so long, of the known mistakes, and of
    /// the core's mutants if they were ever played.
    pub(crate) fn card(
        &self,
        first: u64,
        took: Duration,
        bank: &[(Bug, Option<u64>)],
        mutants: Option<&str>,
    ) -> String {
        let mut card = String::new();
        let each_second = u128::from(self.runs) * 1000 / took.as_millis().max(1);
        let last = first + self.runs.saturating_sub(1);
        let mut line = |what: &str, figure: String| {
            let _ = writeln!(card, "{what:<36} {figure}");
        };
        line("runs", format!("{} (seeds {first} to {last})", self.runs));
        line("time", format!("{} s, {each_second} runs a second", took.as_secs()));
        line("promises broken", self.broken.len().to_string());
        line("", format!("{:>16} {:>16}", "without mishaps", "with mishaps"));
        let mut both = |what: &str, figure: &dyn Fn(&Figures) -> String| {
            line(
                what,
                format!("{:>16} {:>16}", figure(&self.calm), figure(&self.hostile)),
            );
        };
        both("edits by people", &|of| of.edits.to_string());
        both("conflicts recorded", &|of| of.conflicts.to_string());
        both("of those, without two competitors", &|of| {
            share(of.false_conflicts, of.conflicts)
        });
        both("the same, as a share of the edits", &|of| {
            share(of.false_conflicts, of.edits)
        });
        both("lost to what a plug-in made of ours", &|of| {
            share(of.against_plug_in, of.conflicts)
        });
        both("seconds until both sides show it, p50", &|of| at_share(&of.lags, 50));
        both("p95", &|of| at_share(&of.lags, 95));
        both("p99", &|of| at_share(&of.lags, 99));
        both("reads of vendors an edit", &|of| quotient(of.vendor_reads, of.edits));
        both("writes to vendors an edit", &|of| quotient(of.vendor_writes, of.edits));
        both("calls of the core", &|of| of.calls.to_string());
        both("writes to vendors", &|of| of.vendor_writes.to_string());
        both("workers killed", &|of| of.crashes.to_string());
        both("calls refused", &|of| of.refused.to_string());
        both("answers lost", &|of| of.lost_answers.to_string());
        both("stale reads", &|of| of.stale_reads.to_string());
        both("calls that hang", &|of| of.hangs.to_string());
        both("events lost", &|of| of.lost_events.to_string());
        both("events refused by the queue", &|of| of.refused_events.to_string());
        both("polls killed", &|of| of.broken_polls.to_string());
        both("pauses of one direction", &|of| of.pauses.to_string());
        both("deals switched off by sellers", &|of| of.switched_off.to_string());
        both("values ordered", &|of| of.orders.to_string());
        for (bug, seed) in bank {
            let told = seed.map_or_else(
                || format!("NOT noticed within {WITHIN} seeds"),
                |seed| format!("noticed with seed {seed}"),
            );
            line(&format!("{bug:?}"), told);
        }
        let mutants = mutants.map_or("not played; make mutants does so", str::trim);
        line("mutants of the core noticed", mutants.to_owned());
        for (seed, why) in self.broken.iter().take(MOST_NAMED) {
            let why: String = why.lines().next().unwrap_or_default().chars().take(300).collect();
            let _ = writeln!(card, "\nseed {seed}: {why}\n   replay it with: make prove SEED={seed}");
        }
        card
    }
}

/// A part of a whole, in hundredths of a percent: `12 (0.34 %)`.
fn share(part: u64, whole: u64) -> String {
    let hundredths = (part * 10_000).checked_div(whole).unwrap_or_default();
    format!("{part} ({}.{:02} %)", hundredths / 100, hundredths % 100)
}

fn quotient(of: u64, each: u64) -> String {
    let hundredths = (of * 100).checked_div(each).unwrap_or_default();
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// The least value that so many percent of all do not exceed.
fn at_share(counts: &BTreeMap<i64, u64>, percent: u64) -> String {
    let all: u64 = counts.values().sum();
    let mut seen = 0;
    let found = counts.iter().find(|(_, count)| {
        seen += **count;
        seen * 100 >= all * percent
    });
    found.map_or_else(|| "-".to_owned(), |(value, _)| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_percentiles_are_what_they_say() {
        assert_eq!(share(1, 300), "1 (0.33 %)");
        assert_eq!(share(0, 0), "0 (0.00 %)");
        assert_eq!(quotient(251, 100), "2.51");
        let counts = BTreeMap::from([(0, 50), (30, 45), (600, 5)]);
        assert_eq!(
            ["0", "30", "600"],
            [50, 95, 96]
                .map(|percent| at_share(&counts, percent))
                .each_ref()
                .map(String::as_str)
        );
        assert_eq!(at_share(&BTreeMap::new(), 50), "-");
    }
}
