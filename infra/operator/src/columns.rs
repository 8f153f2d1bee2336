//! `cosell columns`: what the CRM lacks is shown, and created when the person agrees.
//!
//! Knows: how what is wanted is compared with what is there, and in which order it is created. Refuses to know: paths and
//! bodies. Guarantees:
//!
//! - Nothing that exists is altered or deleted, change tracking apart, which is named before it is switched on. One part
//!   that stands in the way stops the command before anything is written.
//! - A run that finds everything in step writes nothing.
//! - A run that was interrupted anywhere is finished by the next one. Definitions are published before the keys are
//!   created: keys are the last thing to appear, so an environment that has them has been published.
//!
//! Assumption: metadata that was written but not published yet reads as it was before, so a table whose change tracking
//! was switched on and not published is found off and switched on again.

mod act;
mod difference;

use std::time::Duration;

use connector::entra::Tokens;
use connector::http::{Deadline, Run};
use connector::secrets::Secrets;
use serde_json::{Value, json};

use self::act::Act;
pub(crate) use self::difference::shown_type;
use self::difference::{Line, Verdict};
use crate::arguments::Columns;
use crate::cloud;
use crate::command::{Context, Report};
use crate::definitions::{Definitions, Part};
use crate::metadata::Metadata;
use crate::prompt;
use crate::screen::{Mark, seconds};
use crate::settings::Crm;
use crate::trouble::Trouble;

/// What is written after the person agreed becomes visible within half a minute: caches.
const VISIBLE_WITHIN: Duration = Duration::from_secs(60);

/// The definitions of the CRM that the settings name, with a credential that works.
pub(crate) async fn connect(settings: &Crm, context: &Context<'_>) -> Result<Metadata, Trouble> {
    let aws = cloud::connect(&context.variables, &context.client).await?;
    let secrets = Secrets::new(aws_sdk_secretsmanager::Client::new(&aws));
    let tokens = Tokens::application(
        context.client.clone(),
        &settings.entra,
        settings.tenant,
        &settings.dataverse,
        secrets,
        settings.secret.as_str(),
    );
    tokens
        .bearer(&Run::new(Deadline::NEVER))
        .await
        .map_err(|error| Trouble::from(&error))?;
    Ok(Metadata::new(
        context.client.clone(),
        settings.dataverse.clone(),
        tokens,
    ))
}

pub(crate) async fn run(order: &Columns, context: &Context<'_>) -> Result<Report, Trouble> {
    let screen = context.screen;
    let definitions = Definitions::load(order.definitions.as_deref())?;
    let settings = Crm::load(&context.variables)?;
    // Before anything else, so that a credential that does not work is named as such.
    let metadata = connect(&settings, context).await?;

    screen.heading("Columns in Dynamics");
    screen.pair("Environment", &settings.dataverse);
    screen.pair("Solution", &definitions.solution.unique_name);
    screen.gap();
    screen.moving("reading what is there ...");
    let lines = difference::inspect(&metadata, &definitions).await;
    screen.still();
    let lines = lines.map_err(|error| act::customising(&error))?;
    show(context, &lines);

    let blocked = lines.iter().filter(|line| line.verdict.is_blocked()).count();
    let open = lines.iter().filter(|line| line.verdict != Verdict::InStep).count();
    if open == 0 {
        return Ok(report("in_step", true, &lines));
    }
    if order.check {
        screen.next("`make columns ENV=...` creates what is missing.");
        return Ok(report("differs", false, &lines));
    }
    if blocked > 0 {
        screen.gap();
        screen.say("Nothing was written: cure what is marked first, then run it again.");
        return Ok(report("blocked", false, &lines));
    }
    let is_writing = lines.iter().any(|line| line.verdict.is_written());
    if is_writing && !order.yes {
        screen.gap();
        if !prompt::is_answered() {
            return Err(Trouble::usage(
                "not_confirmed",
                "nobody is there to agree",
                "run it in a terminal, or `make columns ENV=... ARGS=--yes` creates what is shown above",
            ));
        }
        if !prompt::confirm("Create what is missing?").await? {
            screen.say("Nothing was written.");
            return Ok(report("declined", false, &lines));
        }
    }
    screen.gap();
    let act = Act {
        metadata: &metadata,
        definitions: &definitions,
        screen,
        wait: order.wait,
        visible_within: VISIBLE_WITHIN,
    };
    let lines = act.perform(&lines).await?;
    screen.gap();
    screen.marked(Mark::Good, "read again: everything is there");
    screen.next(
        "put the columns on the forms your sellers use (make.powerapps.com, Solutions, the table, Forms): Dynamics shows a \
         new column on none. Then `make doctor ENV=...`.",
    );
    Ok(report("changed", true, &lines))
}

fn report(outcome: &str, is_fine: bool, lines: &[Line<'_>]) -> Report {
    let parts: Vec<Value> = lines.iter().map(Line::document).collect();
    Report {
        is_fine,
        document: json!({ "outcome": outcome, "parts": parts }),
    }
}

/// What differs, and how much does not.
fn show(context: &Context<'_>, lines: &[Line<'_>]) {
    let screen = context.screen;
    let differing: Vec<&Line<'_>> = lines.iter().filter(|line| line.verdict != Verdict::InStep).collect();
    let in_step = lines.len() - differing.len();
    if differing.is_empty() {
        screen.marked(Mark::Good, &format!("all {in_step} parts are in step; nothing to do"));
        return;
    }
    let rows: Vec<Vec<String>> = differing
        .iter()
        .map(|line| {
            vec![
                line.part.word().to_owned(),
                line.part.name(),
                line.wanted.clone(),
                line.found.clone().unwrap_or_else(|| "-".to_owned()),
                line.verdict.word().to_owned(),
            ]
        })
        .collect();
    screen.table(&["part", "name", "wanted", "found", "action"], &rows);
    screen.gap();
    if in_step > 0 {
        screen.marked(Mark::Good, &format!("{in_step} parts are in step"));
    }
    for line in &differing {
        match &line.verdict {
            Verdict::Blocked { cure } => {
                let found = line.found.as_deref().unwrap_or("nothing");
                let (word, name, wanted) = (line.part.word(), line.part.name(), &line.wanted);
                screen.marked(Mark::Bad, &format!("{word} {name} is {found}, wanted is {wanted}"));
                screen.cure(cure);
            }
            Verdict::Create if matches!(line.part, Part::Tracking(_)) => {
                let text =
                    "change tracking cannot be switched off again once it is on; it costs nothing but a little space";
                screen.marked(Mark::Note, text);
            }
            Verdict::InStep | Verdict::Create | Verdict::Wait | Verdict::Rebuild { .. } => {}
        }
    }
}

/// How long a step took, for the line that says it is done.
fn took(word: &str, name: &str, duration: Duration) -> String {
    format!("{word} {name} ({})", seconds(duration))
}
