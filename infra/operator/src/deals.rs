//! The commands about deals: what `sync` does on an operator's word, with tables, progress and questions.
//!
//! Knows: how an order is put to the function and how its answer is shown. Refuses to know: what an order does.
//! Guarantees: what cannot simply be taken back is asked for first; a long walk tells where it stands, and when it is
//! interrupted, how to go on.

use serde_json::{Map, Value, json};

use crate::arguments::{Accept, Attention, Backfill, Deal, Decline, Link, Restore, Resync, Show, Unlink};
use crate::command::{Context, Report};
use crate::function::Function;
use crate::prompt;
use crate::screen::{Mark, Screen};
use crate::trouble::Trouble;

/// Longest text of a cell; the document of --json has the whole.
const CELL: usize = 34;

/// Audit records that are shown to a person.
const SHOWN: usize = 8;

pub(crate) async fn resync(order: &Resync, context: &Context<'_>) -> Result<Report, Trouble> {
    let function = Function::find(&order.reach, context).await?;
    let Some(filter) = order.which.filter else {
        let deal = Deal {
            referral: order.which.referral,
            opportunity: order.which.opportunity,
        };
        let answer = ask(&function, "resync", deal.event(), context.screen).await?;
        outcome(&answer, context.screen);
        return Ok(report(answer));
    };
    let event = json!({ "command": "resync", "filter": filter.as_str() });
    let done = walk(&function, event, order.from.clone(), context, &|done| {
        format!("{} deals on the queue ...", done.hinted)
    })
    .await?;
    let text = format!(
        "{} deals are on the queue and are looked at one after the other",
        done.hinted
    );
    context.screen.marked(Mark::Good, &text);
    Ok(report(json!({ "outcome": "hinted", "hinted": done.hinted })))
}

pub(crate) async fn accept(order: &Accept, context: &Context<'_>) -> Result<Report, Trouble> {
    one("accept", order.deal.event(), &order.reach, context).await
}

pub(crate) async fn decline(order: &Decline, context: &Context<'_>) -> Result<Report, Trouble> {
    let question = format!(
        "Decline {} for good, with the reason {:?}? Partner Center takes no answer twice.",
        order.deal.named(),
        order.reason
    );
    confirmed(order.yes, &question, context.screen).await?;
    let mut event = order.deal.event();
    event.insert("reason".to_owned(), order.reason.as_str().into());
    one("decline", event, &order.reach, context).await
}

pub(crate) async fn link(order: &Link, context: &Context<'_>) -> Result<Report, Trouble> {
    let mut event = Map::new();
    event.insert("referral".to_owned(), order.referral.to_string().into());
    event.insert("opportunity".to_owned(), order.opportunity.to_string().into());
    one("link", event, &order.reach, context).await
}

pub(crate) async fn unlink(order: &Unlink, context: &Context<'_>) -> Result<Report, Trouble> {
    let question = format!(
        "Part the two records of {}? Synchronisation is switched off in the opportunity, and edits are not carried any more.",
        order.deal.named()
    );
    confirmed(order.yes, &question, context.screen).await?;
    one("unlink", order.deal.event(), &order.reach, context).await
}

pub(crate) async fn restore(order: &Restore, context: &Context<'_>) -> Result<Report, Trouble> {
    let screen = context.screen;
    let which = order.record.map_or_else(
        || "the newest value that was overruled".to_owned(),
        |record| format!("what record {record} replaced"),
    );
    let question = format!(
        "Put {which} of {} back on both sides of {}?",
        order.field,
        order.deal.named()
    );
    confirmed(order.yes, &question, screen).await?;
    let function = Function::find(&order.reach, context).await?;
    let mut event = order.deal.event();
    event.insert("field".to_owned(), order.field.as_str().into());
    if let Some(record) = order.record {
        event.insert("record".to_owned(), record.into());
    }
    let answer = ask(&function, "restore", event, screen).await?;
    let restored = part(&answer, "/restored");
    let written = list(part(restored, "/written"));
    if written.is_empty() {
        let text = format!(
            "{} is {:?} on both sides already; nothing was written",
            order.field,
            said(part(restored, "/value"))
        );
        screen.marked(Mark::Good, &text);
    }
    for place in written {
        let text = format!(
            "{}: {} was {}, and is {}",
            side(part(place, "/side")),
            order.field,
            said(part(place, "/was")),
            said(part(place, "/is"))
        );
        screen.marked(Mark::Good, &text);
    }
    outcome(&answer, screen);
    Ok(report(answer))
}

pub(crate) async fn show(order: &Show, context: &Context<'_>) -> Result<Report, Trouble> {
    let screen = context.screen;
    let function = Function::find(&order.reach, context).await?;
    let answer = ask(&function, "show", order.deal.event(), screen).await?;
    let link = part(&answer, "/link");
    screen.heading("A deal, as it stands");
    for (name, value) in [
        ("Referral", said(part(link, "/referral"))),
        ("Opportunity", said(part(link, "/opportunity"))),
        ("Microsoft's", said(part(link, "/microsoft"))),
        ("State", said(part(link, "/state"))),
        (
            "Under way",
            part(&answer, "/pending")
                .as_object()
                .and_then(|kind| kind.keys().next().cloned())
                .unwrap_or_default(),
        ),
        ("Looked at", said(part(&answer, "/due/at"))),
    ] {
        if !value.is_empty() {
            screen.pair(name, value);
        }
    }
    screen.gap();
    let rows: Vec<Vec<String>> = list(part(&answer, "/fields"))
        .iter()
        .map(|field| {
            let base = match field.get("base_dynamics") {
                Some(other) => format!("{} | {}", cell(part(field, "/base")), cell(other)),
                None => cell(part(field, "/base")),
            };
            vec![
                said(part(field, "/field")),
                base,
                cell(part(field, "/partner_center")),
                cell(part(field, "/dynamics")),
            ]
        })
        .collect();
    screen.table(&["field", "agreed", "Partner Center", "Dynamics"], &rows);
    screen.gap();
    findings("What needs a person", part(&answer, "/attention"), Mark::Bad, screen);
    let plan = part(&answer, "/plan");
    if list(part(plan, "/findings")).is_empty() {
        screen.marked(Mark::Good, "a look would write nothing");
        screen.gap();
    } else {
        findings("What a look would come to", part(plan, "/findings"), Mark::Note, screen);
    }
    let restorable: Vec<Vec<String>> = list(part(&answer, "/restorable"))
        .iter()
        .map(|loser| {
            vec![
                part(loser, "/record").to_string(),
                said(part(loser, "/field")),
                cell(part(loser, "/text")),
                side(part(loser, "/side")).to_owned(),
                said(part(loser, "/at")),
            ]
        })
        .collect();
    if !restorable.is_empty() {
        screen.subheading("What can be restored");
        screen.table(&["record", "field", "value", "typed in", "overruled at"], &restorable);
        screen.gap();
    }
    let audit: Vec<Vec<String>> = list(part(&answer, "/audit"))
        .iter()
        .take(SHOWN)
        .map(|entry| {
            let first = list(part(entry, "/findings"))
                .first()
                .map(|finding| said(part(finding, "/text")));
            vec![
                part(entry, "/version").to_string(),
                said(part(entry, "/at")).chars().take(19).collect(),
                said(part(entry, "/cause")),
                said(part(entry, "/outcome")),
                short(&first.unwrap_or_default(), 2 * CELL),
            ]
        })
        .collect();
    screen.subheading("What was done, newest first");
    screen.table(&["record", "at (UTC)", "cause", "outcome", "what"], &audit);
    Ok(report(answer))
}

pub(crate) async fn attention(order: &Attention, context: &Context<'_>) -> Result<Report, Trouble> {
    let screen = context.screen;
    let function = Function::find(&order.reach, context).await?;
    let (mut deals, mut from) = (Vec::new(), order.from.clone());
    loop {
        let mut event = Map::new();
        if let Some(from) = &from {
            event.insert("from".to_owned(), from.as_str().into());
        }
        let answer = ask(&function, "attention", event, screen).await?;
        deals.extend(list(part(&answer, "/deals")).iter().cloned());
        from = part(&answer, "/next").as_str().map(str::to_owned);
        if from.is_none() {
            break;
        }
    }
    if deals.is_empty() {
        screen.marked(Mark::Good, "nothing waits for a person");
    } else {
        screen.heading(&format!(
            "{} deal(s) wait for a person, the longest waiting first",
            deals.len()
        ));
    }
    for deal in &deals {
        let record = match (said(part(deal, "/opportunity")), said(part(deal, "/referral"))) {
            (opportunity, _) if !opportunity.is_empty() => format!("opportunity {opportunity}"),
            (_, referral) => format!("referral {referral}"),
        };
        let name = said(part(deal, "/name"));
        let name = if name.is_empty() { name } else { format!(" ({name})") };
        screen.line(format!(
            "  {}  {record}{name}",
            said(part(deal, "/since")).chars().take(16).collect::<String>()
        ));
        for finding in list(part(deal, "/attention")) {
            screen.cure(&said(part(finding, "/text")));
        }
    }
    Ok(Report {
        is_fine: true,
        document: json!({ "outcome": "listed", "deals": deals }),
    })
}

pub(crate) async fn backfill(order: &Backfill, context: &Context<'_>) -> Result<Report, Trouble> {
    let function = Function::find(&order.reach, context).await?;
    let event = json!({ "command": "backfill", "since": order.since, "all": order.all });
    let done = walk(&function, event, order.from.clone(), context, &|done| {
        format!("{} records seen, {} on the queue ...", done.seen, done.hinted)
    })
    .await?;
    let text = format!(
        "{} records seen; {} are on the queue and are looked at one after the other",
        done.seen, done.hinted
    );
    context.screen.marked(Mark::Good, &text);
    context
        .screen
        .next("`make attention ENV=...` lists what could not be taken in without a person.");
    Ok(report(
        json!({ "outcome": "filled", "seen": done.seen, "hinted": done.hinted }),
    ))
}

/// One order about one deal.
async fn one(
    command: &str,
    event: Map<String, Value>,
    reach: &crate::arguments::Reach,
    context: &Context<'_>,
) -> Result<Report, Trouble> {
    let function = Function::find(reach, context).await?;
    let answer = ask(&function, command, event, context.screen).await?;
    outcome(&answer, context.screen);
    Ok(report(answer))
}

async fn ask(
    function: &Function,
    command: &str,
    mut event: Map<String, Value>,
    screen: Screen,
) -> Result<Value, Trouble> {
    event.insert("command".to_owned(), command.into());
    screen.moving("asking the function ...");
    let answer = function.ask(&Value::Object(event)).await;
    screen.still();
    answer
}

/// How far a walk came.
#[derive(Default)]
struct Walked {
    seen: u64,
    hinted: u64,
}

/// Invokes the function until there is nothing more to go on with.
async fn walk(
    function: &Function,
    mut event: Value,
    from: Option<String>,
    context: &Context<'_>,
    progress: &dyn Fn(&Walked) -> String,
) -> Result<Walked, Trouble> {
    let mut done = Walked::default();
    let mut from = from;
    loop {
        context.stands_at(from.as_deref());
        context.screen.moving(&progress(&done));
        if let (Some(event), Some(from)) = (event.as_object_mut(), &from) {
            event.insert("from".to_owned(), from.as_str().into());
        }
        let answer = function.ask(&event).await.map_err(|trouble| match &from {
            Some(from) => {
                let cure = format!("{}; go on with --from '{from}'", trouble.cure);
                trouble.cured_by(cure)
            }
            None => trouble,
        })?;
        done.seen += part(&answer, "/seen").as_u64().unwrap_or_default();
        done.hinted += part(&answer, "/hinted").as_u64().unwrap_or_default();
        from = part(&answer, "/next").as_str().map(str::to_owned);
        if from.is_none() {
            context.screen.still();
            return Ok(done);
        }
    }
}

async fn confirmed(is_sure: bool, question: &str, screen: Screen) -> Result<(), Trouble> {
    if is_sure {
        return Ok(());
    }
    if !prompt::is_answered() {
        return Err(Trouble::usage(
            "unconfirmed",
            "this has to be confirmed, and nobody sits at a terminal",
            "add --yes if you are sure",
        ));
    }
    screen.say(question);
    if prompt::confirm("Go on?").await? {
        return Ok(());
    }
    Err(Trouble::new(
        "unconfirmed",
        "nothing was changed",
        "run it again when you are sure",
    ))
}

/// What became of an order.
fn outcome(answer: &Value, screen: Screen) {
    let told = list(part(answer, "/findings"));
    let (mark, text) = match part(answer, "/outcome").as_str() {
        Some("written") => (Mark::Good, "done: it was written where it belongs"),
        Some("echo") => (Mark::Good, "nothing to do: both sides are as they should be"),
        Some("noted") => (Mark::Good, "done: nothing had to be written to a vendor"),
        Some("due") => (Mark::Note, "not finished yet; the connector goes on by itself"),
        Some("planned") => (Mark::Note, "planned only: the connector runs dry (DRY_RUN)"),
        Some("parked") => (Mark::Bad, "a person has to act first"),
        _ => (Mark::Note, "the record is none of the connector's business"),
    };
    screen.marked(mark, text);
    for finding in told {
        screen.cure(&said(part(finding, "/text")));
    }
}

fn findings(title: &str, found: &Value, mark: Mark, screen: Screen) {
    if list(found).is_empty() {
        return;
    }
    screen.subheading(title);
    for finding in list(found) {
        screen.marked(mark, &said(part(finding, "/text")));
    }
    screen.gap();
}

fn report(document: Value) -> Report {
    let is_fine = part(&document, "/outcome") != "parked";
    Report { is_fine, document }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A member of an answer, null when it is not there.
fn part<'a>(value: &'a Value, place: &str) -> &'a Value {
    const NULL: &Value = &Value::Null;
    value.pointer(place).unwrap_or(NULL)
}

/// Text as it stands; nothing for what is none.
fn said(value: &Value) -> String {
    value.as_str().map(str::to_owned).unwrap_or_default()
}

fn cell(value: &Value) -> String {
    let text = said(value);
    if text.is_empty() {
        "-".to_owned()
    } else {
        short(&text, CELL)
    }
}

/// One line of at most this many characters.
fn short(text: &str, width: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn side(value: &Value) -> &'static str {
    match value.as_str() {
        Some("partner_center") => "Partner Center",
        _ => "Dynamics",
    }
}

impl Deal {
    /// The members of an event that name it.
    fn event(&self) -> Map<String, Value> {
        let mut event = Map::new();
        for (name, id) in [
            ("referral", self.referral.map(|id| id.to_string())),
            ("opportunity", self.opportunity.map(|id| id.to_string())),
        ] {
            event.extend(id.map(|id| (name.to_owned(), id.into())));
        }
        event
    }

    fn named(&self) -> String {
        let referral = self.referral.map(|id| format!("referral {id}"));
        referral
            .or(self.opportunity.map(|id| format!("opportunity {id}")))
            .unwrap_or_default()
    }
}
