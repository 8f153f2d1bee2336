//! The test's door for a person with `curl`: small JSON requests under `/_control/`.
//!
//! Knows: how to say in HTTP what [`Dataverse`] offers as methods. Refuses to know: rules of its own. Guarantee: nothing
//! can be done here that a test could not do.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::Refusal;
use super::web::Answer;
use super::{Dataverse, Depth};

/// Answers a request for the control door; `path` is what follows `/_control`.
pub(super) fn answer(dataverse: &Dataverse, method: &Method, path: &str, query: &str, body: &[u8]) -> Answer {
    let (status, body) = match run(dataverse, method, path, query, body) {
        Ok(value) => (StatusCode::OK, value),
        Err(refusal) => (
            refusal.status(),
            json!({ "error": { "code": refusal.code(), "message": refusal.message() } }),
        ),
    };
    Answer {
        body: format!("{body:#}\n"),
        content_type: "application/json",
        ..Answer::empty(status)
    }
}

fn run(dataverse: &Dataverse, method: &Method, path: &str, query: &str, body: &[u8]) -> Result<Value, Refusal> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let body = || -> Result<Value, Refusal> {
        serde_json::from_slice(body).map_err(|error| Refusal::query(format!("the body is not JSON: {error}")))
    };
    match (method, parts.as_slice()) {
        (&Method::GET, []) => Ok(help()),
        (&Method::POST, ["switches"]) => switch(dataverse, &body()?),
        (&Method::GET, [table]) => Ok(dataverse.rows(table).into()),
        (&Method::POST, [table]) => dataverse
            .seller_creates(table, &body()?)
            .map(|id| json!({ "id": id.to_string() })),
        (&Method::GET, [table, id]) => {
            let id = guid(id)?;
            dataverse.row(table, id).ok_or_else(|| Refusal::no_row(table, id))
        }
        (&Method::PATCH, [_, id]) => dataverse.seller_edits(guid(id)?, &body()?).map(done),
        (&Method::DELETE, [_, id]) => dataverse.seller_deletes(guid(id)?).map(done),
        (&Method::POST, ["opportunities", id, "win"]) => dataverse.seller_wins(guid(id)?).map(done),
        (&Method::POST, ["opportunities", id, "lose"]) => dataverse.seller_loses(guid(id)?, reason(query)?).map(done),
        (&Method::POST, ["leads", id, "qualify"]) => dataverse.seller_qualifies(guid(id)?).map(done),
        (&Method::POST, ["leads", id, "disqualify"]) => {
            // Lost, unless another reason is given: a lead has no default one for an update.
            let status = Some(reason(query)?).filter(|status| *status != -1);
            dataverse.seller_disqualifies(guid(id)?, status.unwrap_or(4)).map(done)
        }
        (&Method::POST, ["opportunities", id, "reopen"]) => dataverse.seller_reopens(guid(id)?).map(done),
        _ => Err(Refusal::no_segment(path)),
    }
}

fn done((): ()) -> Value {
    json!({ "done": true })
}

fn guid(text: &str) -> Result<Uuid, Refusal> {
    super::address::guid(text).ok_or_else(|| Refusal::query(format!("'{text}' is not a GUID")))
}

/// The status reason in `?status=4`; the default reason without it.
fn reason(query: &str) -> Result<i64, Refusal> {
    let Some((_, value)) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "status") else {
        return Ok(-1);
    };
    value
        .parse()
        .map_err(|_| Refusal::query(format!("'{value}' is not a status reason")))
}

fn help() -> Value {
    json!({
        "GET /_control/{table}": "all rows, for example opportunities",
        "GET /_control/{table}/{id}": "one row",
        "POST /_control/{table}": "a person creates a row",
        "PATCH /_control/{table}/{id}": "a person edits a row",
        "DELETE /_control/{table}/{id}": "a person deletes a row",
        "POST /_control/opportunities/{id}/win": "a person closes it as won",
        "POST /_control/opportunities/{id}/lose?status=4": "a person closes it as lost",
        "POST /_control/opportunities/{id}/reopen": "a person reopens it",
        "POST /_control/leads/{id}/qualify": "a person qualifies a lead",
        "POST /_control/leads/{id}/disqualify?status=5": "a person disqualifies it",
        "POST /_control/switches": {
            "expire_delta_tokens": true, "expired_status": 410, "change_tracking": false,
            "repeat_rows_in_delta": true, "reverse_delta": true, "delta_link_before_value": true,
            "omit_delta_link": true, "list_page": 2, "plugin_refuses": "a text, or null to stop", "plugin_bumps_version": true,
            "member": false, "stale_reads_ms": 2000, "trims_text": true, "closed_rows_read_only": true,
            "roles": { "System Customizer": false }, "privileges": { "prvReadOpportunity": "Basic" },
            "key_index_fails": true, "break_keys": ["opportunity"], "remove_keys": ["opportunity"],
            "remove_columns": ["opportunity.cosell_audit"], "remove_tables": ["cosell_dealsolution"],
            "column_types": { "opportunity.cosell_audit": "String" },
            "column_lengths": { "opportunity.cosell_audit": 2000 }, "tracking": { "lead": false },
            "metadata_lag_ms": 500, "customization_takes_ms": 500, "refuse_customizations": 2,
        },
    })
}

fn switch(dataverse: &Dataverse, wanted: &Value) -> Result<Value, Refusal> {
    let wanted = wanted
        .as_object()
        .ok_or_else(|| Refusal::query("the body is not an object"))?;
    for (name, value) in wanted {
        let unfit = || Refusal::query(format!("'{name}' does not take {value}"));
        let flag = || value.as_bool().ok_or_else(unfit);
        let time = || value.as_u64().map(Duration::from_millis).ok_or_else(unfit);
        let pairs = || value.as_object().ok_or_else(unfit);
        let names = || {
            let names = value.as_array().into_iter().flatten().map(Value::as_str);
            names
                .collect::<Option<Vec<&str>>>()
                .filter(|names| !names.is_empty())
                .ok_or_else(unfit)
        };
        let known = |known: bool| if known { Ok(()) } else { Err(unfit()) };
        match name.as_str() {
            "expire_delta_tokens" => dataverse.expire_delta_tokens(),
            "expired_status" => {
                let code = value.as_u64().and_then(|code| u16::try_from(code).ok());
                dataverse.expired_status(code.ok_or_else(unfit)?);
            }
            "change_tracking" => dataverse.change_tracking(flag()?),
            "repeat_rows_in_delta" => dataverse.repeat_rows_in_delta(flag()?),
            "reverse_delta" => dataverse.reverse_delta(flag()?),
            "delta_link_before_value" => dataverse.delta_link_before_value(flag()?),
            "omit_delta_link" => dataverse.omit_delta_link(flag()?),
            "list_page" => {
                let rows = value.as_u64().and_then(|rows| usize::try_from(rows).ok());
                dataverse.list_page(rows.filter(|rows| *rows > 0).ok_or_else(unfit)?);
            }
            "plugin_refuses" => match value.as_str().map(str::to_owned) {
                Some(text) => dataverse.plugin(move |_, _, _| Err(text.clone())),
                None => dataverse.no_plugin(),
            },
            "plugin_bumps_version" => dataverse.plugin_bumps_version(flag()?),
            "member" => dataverse.member(flag()?),
            "stale_reads_ms" => dataverse.stale_reads(time()?),
            "roles" => {
                for (role, held) in pairs()? {
                    known(dataverse.role(role, held.as_bool().ok_or_else(unfit)?))?;
                }
            }
            "privileges" => {
                for (privilege, depth) in pairs()? {
                    let depth = depth.as_str().map(|name| Depth::named(name).ok_or_else(unfit));
                    dataverse.privilege(privilege, depth.transpose()?);
                }
            }
            "key_index_fails" => dataverse.key_index_fails(flag()?),
            "break_keys" => names()?.into_iter().for_each(|table| dataverse.break_keys(table)),
            "remove_keys" => names()?.into_iter().for_each(|table| dataverse.remove_keys(table)),
            "remove_tables" => names()?.into_iter().for_each(|table| dataverse.remove_table(table)),
            "remove_columns" => {
                for place in names()? {
                    let (table, column) = place.split_once('.').ok_or_else(unfit)?;
                    dataverse.remove_column(table, column);
                }
            }
            "column_types" => {
                for (place, kind) in pairs()? {
                    let (table, column) = place.split_once('.').ok_or_else(unfit)?;
                    known(dataverse.retype_column(table, column, kind.as_str().unwrap_or_default()))?;
                }
            }
            "column_lengths" => {
                for (place, length) in pairs()? {
                    let (table, column) = place.split_once('.').ok_or_else(unfit)?;
                    let length = length.as_u64().and_then(|length| usize::try_from(length).ok());
                    known(dataverse.column_length(table, column, length.ok_or_else(unfit)?))?;
                }
            }
            "tracking" => {
                for (table, enabled) in pairs()? {
                    dataverse.track(table, enabled.as_bool().ok_or_else(unfit)?);
                }
            }
            "metadata_lag_ms" => dataverse.metadata_lag(time()?),
            "customization_takes_ms" => dataverse.customization_takes(time()?),
            "refuse_customizations" => {
                let times = value.as_u64().and_then(|times| usize::try_from(times).ok());
                dataverse.refuse_customizations(times.ok_or_else(unfit)?);
            }
            "trims_text" => dataverse.trims_text(flag()?),
            "closed_rows_read_only" => dataverse.closed_rows_read_only(flag()?),
            _ => return Err(Refusal::query(format!("there is no switch '{name}'"))),
        }
    }
    Ok(done(()))
}
