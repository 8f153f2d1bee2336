//! The same people moved over HTTP, for somebody with `curl` at a world that is running.
//!
//! Knows: routes below `/_control`. Refuses to know: everything else; it only calls the methods of the simulator. The
//! vendor has nothing like it, and it asks for no token.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::time::Duration;

use super::actors::InboundDeal;
use super::refusal::Refusal;
use super::{PartnerCenter, Release};

pub(super) fn router(simulator: PartnerCenter) -> Router {
    Router::new()
        .route("/_control/referrals", get(all))
        .route("/_control/referrals/{id}", get(one))
        .route("/_control/deliveries", get(deliveries))
        .route("/_control/registration", get(registration))
        .route("/_control/microsoft/deals", post(send))
        .route("/_control/microsoft/engagements/{engagement}/{act}", post(act))
        .route("/_control/microsoft/referrals/{id}", patch(edit_as_microsoft))
        .route("/_control/portal/referrals", post(create))
        .route("/_control/portal/referrals/{id}", patch(edit))
        .route("/_control/expire", post(expire))
        .route("/_control/switches", post(switches))
        .with_state(simulator)
}

fn told(outcome: Result<Value, Refusal>) -> Response {
    outcome.map_or_else(IntoResponse::into_response, |value| Json(value).into_response())
}

async fn all(State(simulator): State<PartnerCenter>) -> Json<Vec<Value>> {
    Json(simulator.referrals())
}

async fn one(State(simulator): State<PartnerCenter>, Path(id): Path<String>) -> Response {
    simulator.find_referral(&id).map_or_else(
        || http::StatusCode::NOT_FOUND.into_response(),
        |value| Json(value).into_response(),
    )
}

async fn deliveries(State(simulator): State<PartnerCenter>) -> Response {
    Json(simulator.deliveries()).into_response()
}

async fn registration(State(simulator): State<PartnerCenter>) -> Response {
    Json(simulator.registration()).into_response()
}

/// The body may be empty: every member of the deal has a default.
async fn send(State(simulator): State<PartnerCenter>, body: String) -> Response {
    let text = if body.trim().is_empty() { "{}" } else { body.as_str() };
    match serde_json::from_str::<InboundDeal>(text) {
        Ok(deal) => Json(simulator.microsoft_sends(&deal)).into_response(),
        Err(error) => Refusal::invalid("deal", error.to_string()).into_response(),
    }
}

async fn act(
    State(simulator): State<PartnerCenter>,
    Path((engagement, act)): Path<(String, String)>,
    reason: String,
) -> Response {
    let reason = if reason.trim().is_empty() {
        "Others"
    } else {
        reason.trim()
    };
    told(match act.as_str() {
        "accept" => simulator.microsoft_accepts(&engagement),
        "decline" => simulator.microsoft_declines(&engagement, reason),
        "win" => simulator.microsoft_wins(&engagement),
        "lose" => simulator.microsoft_loses(&engagement, reason),
        _ => Err(Refusal::invalid("act", "Say accept, decline, win or lose.")),
    })
}

async fn edit_as_microsoft(State(simulator): State<PartnerCenter>, Path(id): Path<String>, body: String) -> Response {
    told(simulator.microsoft_edits_exactly(&id, &body))
}

async fn create(State(simulator): State<PartnerCenter>, Json(deal): Json<Value>) -> Response {
    told(simulator.portal_creates(deal))
}

async fn edit(State(simulator): State<PartnerCenter>, Path(id): Path<String>, body: String) -> Response {
    told(simulator.portal_edits_exactly(&id, &body))
}

async fn expire(State(simulator): State<PartnerCenter>) -> Json<Value> {
    Json(json!({ "expired": simulator.expire_inbound() }))
}

async fn switches(State(simulator): State<PartnerCenter>, body: String) -> Response {
    told(switch(&simulator, &body))
}

fn switch(simulator: &PartnerCenter, body: &str) -> Result<Value, Refusal> {
    let wanted: serde_json::Map<String, Value> =
        serde_json::from_str(body).map_err(|error| Refusal::invalid("switches", error.to_string()))?;
    for (name, value) in wanted {
        let unfit = || Refusal::invalid(name.as_str(), format!("It does not take {value}."));
        let flag = || value.as_bool().ok_or_else(unfit);
        let number = || value.as_u64().ok_or_else(unfit);
        match name.as_str() {
            "refuse_role" => simulator.refuse_role(flag()?),
            "refuse_referrals_role" => simulator.refuse_referrals_role(flag()?),
            "hold_deliveries" => simulator.hold_deliveries(flag()?),
            "release_deliveries" => simulator.release(Release::InOrder),
            "drop_deliveries" => simulator.drop_deliveries(flag()?),
            "duplicate_deliveries" => {
                simulator.duplicate_deliveries(usize::try_from(number()?).map_err(|_| unfit())?);
            }
            "delivery_backoff_ms" => simulator.delivery_backoff(Duration::from_millis(number()?)),
            "suppress_own_events" => simulator.suppress_own_events(flag()?),
            "list_lag_ms" => simulator.list_lag(Duration::from_millis(number()?)),
            "stale_reads_ms" => simulator.stale_reads(Duration::from_millis(number()?)),
            "page_size" => simulator.page_size(usize::try_from(number()?).map_err(|_| unfit())?),
            _ => return Err(Refusal::invalid(name, "There is no such switch.")),
        }
    }
    Ok(json!({ "done": true }))
}
