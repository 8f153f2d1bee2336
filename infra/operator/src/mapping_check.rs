//! `cosell mapping-check`: whether a mapping file is sound, before it is packed.
//!
//! Knows: how to show what the core finds. Refuses to know: what a mapping may say; the core decides that, here as in the
//! function. Guarantee: without `--crm` it needs no deployment, no account and no network.

use std::fs;

use cosell::deal::Field;
use cosell::mapping::{Directions, InvalidMapping, Mapping, Owner};
use serde_json::{Value, json};

use crate::arguments::MappingCheck;
use crate::command::{Context, Report};
use crate::screen::{Mark, Screen};
use crate::settings::Crm;
use crate::trouble::Trouble;
use crate::{columns, fit};

pub(crate) async fn run(order: &MappingCheck, context: &Context<'_>) -> Result<Report, Trouble> {
    let screen = context.screen;
    let file = order.file.display();
    let source = fs::read_to_string(&order.file).map_err(|error| {
        Trouble::new(
            "mapping_unreadable",
            format!("{file} cannot be read: {error}"),
            "name a mapping file; shared/cosell/mapping.toml is the one to begin with",
        )
    })?;
    let (mapping, problems) = match Mapping::parse(&source) {
        Ok(mapping) => (Some(mapping), Vec::new()),
        Err(InvalidMapping(problems)) => (None, problems),
    };
    if let Some(mapping) = &mapping {
        show(mapping, screen);
    }
    for problem in &problems {
        screen.marked(Mark::Bad, &format!("{file}:{}: {}", problem.line, problem.text));
    }
    match problems.len() {
        0 => screen.marked(Mark::Good, &format!("{file} is sound")),
        1 => screen.cure("correct that line; shared/cosell/mapping.toml shows how each part looks"),
        _ => screen.cure("correct these lines; shared/cosell/mapping.toml shows how each part looks"),
    }
    let mut wrong = Vec::new();
    if let (Some(mapping), true) = (&mapping, order.crm) {
        wrong = compare(mapping, context).await?;
    }
    if problems.is_empty() && wrong.is_empty() {
        screen.next("`make build MAPPING=FILE` packs it, `make deploy ENV=...` puts it to use.");
    }
    let shown: Vec<Value> = problems
        .iter()
        .map(|problem| json!({ "line": problem.line, "message": problem.text }))
        .collect();
    let is_fine = problems.is_empty() && wrong.is_empty();
    let outcome = match (problems.is_empty(), wrong.is_empty()) {
        (false, _) => "invalid",
        (true, false) => "differs",
        (true, true) => "sound",
    };
    let fields = mapping.as_ref().map(rows).unwrap_or_default();
    Ok(Report {
        is_fine,
        document: json!({ "outcome": outcome, "problems": shown, "fields": fields, "differences": wrong }),
    })
}

const HEAD: [&str; 7] = ["Field", "Column", "Kind", "Create", "Update", "Wins", "Needed"];

/// What the file comes to: fields that are needed and not mapped first.
fn rows(mapping: &Mapping) -> Vec<Vec<String>> {
    let unmapped = |(field, is_needed): (Field, bool)| {
        let needed = if is_needed { "yes" } else { "" };
        let cells = [field.as_str(), "not mapped", "", "", "", "", needed];
        cells.map(str::to_owned).to_vec()
    };
    let (needed, other): (Vec<_>, Vec<_>) = mapping.unmapped().into_iter().partition(|(_, is_needed)| *is_needed);
    let mapped = Field::ALL
        .into_iter()
        .filter_map(|field| mapping.rule(field).map(|rule| (field, rule)));
    let mapped = mapped.filter(|(_, rule)| !rule.column.is_empty()).map(|(field, rule)| {
        let wins = match rule.owner {
            Owner::Side(side) => side.to_string(),
            Owner::Manual => "a person".to_owned(),
        };
        vec![
            field.to_string(),
            rule.column.clone(),
            format!("{:?}", rule.kind).to_lowercase(),
            way(rule.create).to_owned(),
            way(rule.update).to_owned(),
            wins,
            if rule.required { "yes" } else { "" }.to_owned(),
        ]
    });
    let needed = needed.into_iter().map(unmapped);
    needed.chain(mapped).chain(other.into_iter().map(unmapped)).collect()
}

const fn way(directions: Directions) -> &'static str {
    match (directions.toward_dynamics, directions.toward_partner_center) {
        (true, true) => "both ways",
        (true, false) => "to Dynamics",
        (false, true) => "to Partner Center",
        (false, false) => "never",
    }
}

fn show(mapping: &Mapping, screen: Screen) {
    screen.table(&HEAD, &rows(mapping));
    screen.gap();
}

/// Compares every column with the CRM; what differs.
async fn compare(mapping: &Mapping, context: &Context<'_>) -> Result<Vec<String>, Trouble> {
    let screen = context.screen;
    let metadata = columns::connect(&Crm::load(&context.variables)?, context).await?;
    screen.moving("reading what is there ...");
    let found = fit::misfits(&metadata, mapping).await;
    screen.still();
    let (misfits, looked) = found.map_err(|error| Trouble::from(&error))?;
    for misfit in &misfits {
        screen.marked(Mark::Bad, &misfit.text);
    }
    if misfits.is_empty() {
        screen.marked(Mark::Good, &format!("all {looked} mapped columns exist and fit"));
    } else {
        screen.cure(fit::cure(&misfits));
    }
    Ok(misfits.into_iter().map(|misfit| misfit.text).collect())
}
