//! The state model as far as ordinary updates go.
//!
//! Knows: which pairs of state and status reason exist, and that an opportunity is closed by an action only. Refuses to
//! know: the actions (see `close`). Guarantee: after an update the status reason belongs to the state.

use super::body::Assignments;
use super::cell::Cell;
use super::refusal::Refusal;
use super::rows::Row;
use super::schema::Table;
use super::write::default_status;

/// Completes and checks the state part of an update; answers whether it reopens the row.
pub(super) fn settle(table: &Table, row: &Row, assigned: &mut Assignments) -> Result<bool, Refusal> {
    let wanted = |column: &str| assigned.get(column).and_then(Option::as_ref).and_then(Cell::whole);
    let (wanted_state, wanted_status) = (wanted("statecode"), wanted("statuscode"));
    if wanted_state.is_none() && wanted_status.is_none() {
        return Ok(false);
    }
    let (Some(state), Some(status)) = (row.whole("statecode"), row.whole("statuscode")) else {
        return Ok(false);
    };
    let next_state = wanted_state.unwrap_or(state);
    let Some(known) = table.state(next_state) else {
        return Err(Refusal::bad(
            "0x80040233",
            format!("{next_state} is not a state of {}.", table.name),
        ));
    };
    let fallback = if next_state == state {
        Some(status)
    } else {
        default_status(table, next_state)
    };
    let next_status = wanted_status.or(fallback).unwrap_or(status);
    if table.name == "opportunity"
        && wanted_state.is_some_and(|state| state != 0)
        && (next_state, next_status) != (state, status)
    {
        let message = "An opportunity is won or lost by WinOpportunity and LoseOpportunity, not by an update.";
        return Err(Refusal::bad("0x80100005", message));
    }
    if !known.statuses.iter().any(|(value, _)| *value == next_status) {
        return Err(Refusal::invalid_status(next_status, next_state, table.name));
    }
    assigned.insert("statecode", Some(Cell::Whole(next_state)));
    assigned.insert("statuscode", Some(Cell::Whole(next_status)));
    Ok(state != 0 && next_state == 0)
}
