//! The commands of an operator: one deal, or many.
//!
//! Knows: what each command is answered. Refuses to decide anything about a deal. Guarantee: an order that we refuse is an
//! error that names what stands in its way, and nothing was done for it. What a vendor refuses is an error as well; where
//! the other side had taken it before, the deal is listed with what was refused.

use connector::commands::Loser;
use connector::connector::Connector;
use connector::driver::Look;
use connector::http::Run;
use connector::poll::Tick;
use cosell::fault::{Class, Fault};
use cosell::finding::{Code, Finding};
use cosell::hint::{Cause, Hint, Subject};
use cosell::order::Order;
use cosell::reconcile::Report;
use serde_json::{Value, json};

use crate::{Command, Counted, Error, now};

/// The code of an order that was refused.
pub(crate) const REFUSED: &str = "order_refused";

/// Does what a command says, and answers it.
pub(crate) async fn obey(
    connector: &Connector,
    command: Command,
    request: &str,
    run: &Run,
    counted: &mut Counted,
) -> Result<Value, Error> {
    let tick = Tick {
        name: request,
        now: now(),
        run,
    };
    match command {
        Command::Resync(subject) => {
            let report = look(connector, subject, None, request, run, counted).await?;
            Ok(told(&report))
        }
        Command::Order(subject, order) => {
            let report = look(connector, subject, Some(order), request, run, counted).await?;
            Ok(told(&taken(report)?))
        }
        Command::Restore { subject, field, record } => {
            let loser = connector.loser(subject, field, record).await?;
            let value = loser.value.clone();
            let order = Order::Restore { field, value };
            let report = look(connector, subject, Some(order), request, run, counted).await?;
            let report = taken(report)?;
            let mut answer = told(&report);
            restored(connector, &report, &loser, request, &mut answer).await?;
            Ok(answer)
        }
        Command::Show(subject) => match connector.show(subject, request, now(), run).await? {
            Some(shown) => Ok(serde_json::to_value(shown)?),
            None => Err(Connector::unknown(subject).into()),
        },
        Command::Hint { filter, from } => {
            let hinted = connector.hint(filter, from, tick).await?;
            counted.hinted = hinted.hinted;
            Ok(serde_json::to_value(hinted)?)
        }
        Command::Attention { from } => {
            let waiting = connector.waiting_for_a_person(from.as_deref()).await?;
            Ok(serde_json::to_value(waiting)?)
        }
        Command::Backfill(order) => {
            let filled = connector.backfill(&order, tick).await?;
            counted.hinted = filled.hinted;
            Ok(serde_json::to_value(filled)?)
        }
    }
}

async fn look(
    connector: &Connector,
    subject: Subject,
    order: Option<Order>,
    request: &str,
    run: &Run,
    counted: &mut Counted,
) -> Result<Report, Error> {
    let hint = Hint::new(subject, Cause::Operator);
    let look = Look {
        hint: hint.clone(),
        trace: request.to_owned(),
        now: now(),
    };
    let looked = connector.carry_out(look, order, run).await;
    counted.looked(&looked, &hint);
    match &looked.report.fault {
        Some(fault) if looked.report.again => Err(fault.clone().into()),
        _ => Ok(looked.report),
    }
}

/// The report of an order that was taken; its refusal otherwise.
fn taken(report: Report) -> Result<Report, Error> {
    let refusal = report
        .findings
        .iter()
        .find(|finding| finding.code == Code::OrderRefused);
    if let Some(Finding { text, .. }) = refusal {
        return Err(Error::Fault(Fault {
            class: Class::Permanent,
            code: REFUSED,
            message: text.clone(),
            in_doubt: false,
        }));
    }
    match &report.fault {
        Some(fault) if fault.class == Class::Permanent => Err(fault.clone().into()),
        _ => Ok(report),
    }
}

fn told(report: &Report) -> Value {
    json!({
        "outcome": report.outcome,
        "link": report.link,
        "findings": report.findings,
    })
}

/// Adds what was restored, and where something else stood.
async fn restored(
    connector: &Connector,
    report: &Report,
    loser: &Loser,
    request: &str,
    answer: &mut Value,
) -> Result<(), Error> {
    let changes = match report.link {
        Some(link) => connector.changes_of(link, request).await?,
        None => Vec::new(),
    };
    let places = changes.iter().filter(|change| change.field == loser.field);
    let places: Vec<Value> = places
        .map(|change| json!({ "side": change.side, "was": change.old.to_string(), "is": change.new.to_string() }))
        .collect();
    if let Some(answer) = answer.as_object_mut() {
        let restored = json!({
            "field": loser.field,
            "value": loser.text,
            "record": loser.record,
            "lost_at": loser.at,
            "lost_in": loser.side,
            "written": places,
        });
        answer.insert("restored".to_owned(), restored);
    }
    Ok(())
}
