//! `cosell mapping-check`: whether a mapping file is sound, before it is packed.
//!
//! Knows: how to show what the core finds. Refuses to know: what a mapping may say; the core decides that, here as in the
//! function. Guarantee: it needs no deployment, no account and no network.

use std::fs;

use cosell::mapping::{InvalidMapping, Mapping};
use serde_json::{Value, json};

use crate::arguments::MappingCheck;
use crate::command::Report;
use crate::screen::{Mark, Screen};
use crate::trouble::Trouble;

pub(crate) fn run(order: &MappingCheck, screen: Screen) -> Result<Report, Trouble> {
    let file = order.file.display();
    let source = fs::read_to_string(&order.file).map_err(|error| {
        Trouble::new(
            "mapping_unreadable",
            format!("{file} cannot be read: {error}"),
            "name a mapping file; shared/cosell/mapping.toml is the one to begin with",
        )
    })?;
    let problems = match Mapping::parse(&source) {
        Ok(_) => Vec::new(),
        Err(InvalidMapping(problems)) => problems,
    };
    for problem in &problems {
        screen.marked(Mark::Bad, &format!("{file}:{}: {}", problem.line, problem.text));
    }
    match problems.len() {
        0 => screen.marked(Mark::Good, &format!("{file} is sound")),
        1 => screen.cure("correct that line; shared/cosell/mapping.toml shows how each part looks"),
        _ => screen.cure("correct these lines; shared/cosell/mapping.toml shows how each part looks"),
    }
    if problems.is_empty() {
        screen.next("`make build MAPPING=FILE` packs it, `make deploy ENV=...` puts it to use.");
    }
    let shown: Vec<Value> = problems
        .iter()
        .map(|problem| json!({ "line": problem.line, "message": problem.text }))
        .collect();
    Ok(Report {
        is_fine: problems.is_empty(),
        document: json!({ "outcome": if problems.is_empty() { "sound" } else { "invalid" }, "problems": shown }),
    })
}
