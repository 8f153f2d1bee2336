//! The door to what no single vendor's own control routes offer: a deal entered whole, faults, what was asked.
//!
//! Knows: routes below `/control`, and where the vendors' own routes are. Refuses to know: rules; it only calls the
//! simulators. Guarantee: every route that is told of exists, with the address under which it is told of.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cosell_tests::switchboard::Fault;
use cosell_tests::vendors::Vendors;
use cosell_tests::world::Sharing;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Addresses that routes are below.
#[derive(Clone, Debug)]
pub(crate) struct Bases {
    pub(crate) control: String,
    pub(crate) dataverse: String,
    pub(crate) partner_center: String,
    pub(crate) entra: String,
}

impl Default for Bases {
    /// Words in place of addresses, for an explanation.
    fn default() -> Self {
        Self {
            control: "CONTROL".to_owned(),
            dataverse: "DYNAMICS".to_owned(),
            partner_center: "PARTNER_CENTER".to_owned(),
            entra: "ENTRA".to_owned(),
        }
    }
}

/// A route to tell of.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// What for, as one word of a machine.
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) url: String,
    /// What the body is, and what it does.
    pub(crate) about: &'static str,
}

/// All routes.
pub(crate) fn routes(bases: &Bases) -> Vec<Route> {
    let Bases {
        control,
        dataverse,
        partner_center,
        entra,
    } = bases;
    let route = |name, method, url: String, about| Route {
        name,
        method,
        url,
        about,
    };
    vec![
        route(
            "share_opportunity",
            "POST",
            format!("{control}/control/opportunities"),
            "a seller enters a deal with its customer and shares it; body {} or any of name, value, close_date, notes, \
             help, solutions, sync; answers its id",
        ),
        route(
            "opportunities",
            "GET",
            format!("{dataverse}/_control/opportunities"),
            "all opportunities",
        ),
        route(
            "opportunity",
            "GET",
            format!("{dataverse}/_control/opportunities/{{id}}"),
            "one opportunity",
        ),
        route(
            "seller_edits",
            "PATCH",
            format!("{dataverse}/_control/opportunities/{{id}}"),
            "a seller changes columns, for example {\"name\":\"...\",\"estimatedvalue\":140000.75}",
        ),
        route(
            "seller_wins",
            "POST",
            format!("{dataverse}/_control/opportunities/{{id}}/win"),
            "a seller closes it as won",
        ),
        route(
            "seller_loses",
            "POST",
            format!("{dataverse}/_control/opportunities/{{id}}/lose"),
            "a seller closes it as lost",
        ),
        route(
            "seller_deletes",
            "DELETE",
            format!("{dataverse}/_control/opportunities/{{id}}"),
            "a seller deletes it",
        ),
        route(
            "crm_switches",
            "POST",
            format!("{dataverse}/_control/switches"),
            "turns Dynamics 365 unpleasant; GET one level up tells how",
        ),
        route(
            "microsoft_sends",
            "POST",
            format!("{partner_center}/_control/microsoft/deals"),
            "Microsoft sends a referral; body {} or any member of it; answers the ids",
        ),
        route(
            "microsoft_edits",
            "PATCH",
            format!("{partner_center}/_control/microsoft/referrals/{{id}}"),
            "Microsoft changes a referral, for example {\"details\":{\"dealValue\":54000}}",
        ),
        route(
            "microsoft_acts",
            "POST",
            format!("{partner_center}/_control/microsoft/engagements/{{engagement}}/{{act}}"),
            "Microsoft accepts, declines, wins or loses: accept, decline, win, lose",
        ),
        route(
            "partner_edits",
            "PATCH",
            format!("{partner_center}/_control/portal/referrals/{{id}}"),
            "a user of the partner changes a referral in the portal",
        ),
        route(
            "partner_creates",
            "POST",
            format!("{partner_center}/_control/portal/referrals"),
            "a user of the partner enters a whole referral in the portal",
        ),
        route(
            "referrals",
            "GET",
            format!("{partner_center}/_control/referrals"),
            "all referrals of both sides",
        ),
        route(
            "referral",
            "GET",
            format!("{partner_center}/_control/referrals/{{id}}"),
            "one referral",
        ),
        route(
            "deliveries",
            "GET",
            format!("{partner_center}/_control/deliveries"),
            "every event with the status of each attempt; 0 is no answer",
        ),
        route(
            "registration",
            "GET",
            format!("{partner_center}/_control/registration"),
            "the registered webhook",
        ),
        route(
            "partner_center_switches",
            "POST",
            format!("{partner_center}/_control/switches"),
            "refuse_role, refuse_referrals_role, hold_deliveries, release_deliveries, drop_deliveries, \
             duplicate_deliveries, delivery_backoff_ms, suppress_own_events, list_lag_ms, stale_reads_ms, page_size",
        ),
        route(
            "entra_switches",
            "POST",
            format!("{entra}/_control/switches"),
            "what the user does at the sign-in, what becomes of tokens; GET one level up tells how",
        ),
        route(
            "redirects",
            "POST",
            format!("{entra}/_control/redirects"),
            "registers a redirect URI: tenant, client_id, redirect_uri",
        ),
        route(
            "sign_in_again",
            "POST",
            format!("{entra}/_control/sign-ins"),
            "an operator's sign-in without a browser: tenant, client_id, client_secret; answers a refresh token",
        ),
        route(
            "plan_fault",
            "POST",
            format!("{control}/control/faults"),
            "breaks requests: fault (refuse, drop_after_apply, stall, answer), and any of api, method, path, skip, \
             times, milliseconds, status, retry_after, body",
        ),
        route(
            "heal",
            "DELETE",
            format!("{control}/control/faults"),
            "forgets all faults that are still planned",
        ),
        route(
            "exchanges",
            "GET",
            format!("{control}/control/exchanges?since={{number}}"),
            "what was asked of the vendors after a number, and the status of each answer",
        ),
    ]
}

/// Opens the door on this port, 0 picks a free one; returns its address.
///
/// # Errors
/// When the port cannot be bound.
pub(crate) async fn serve(port: u16, vendors: &Vendors) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/control/opportunities", post(share))
        .route("/control/faults", post(plan).delete(heal))
        .route("/control/exchanges", get(exchanges))
        .with_state(vendors.clone());
    tokio::spawn(async move {
        // Ends with the program; there is nobody to tell.
        let _ = axum::serve(listener, router).await;
    });
    Ok(address)
}

fn refused(status: StatusCode, error: impl std::fmt::Display) -> Response {
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}

fn done() -> Response {
    Json(json!({ "done": true })).into_response()
}

/// The body may be empty: every member has a default.
async fn share(State(vendors): State<Vendors>, body: String) -> Response {
    let text = if body.trim().is_empty() { "{}" } else { body.as_str() };
    let deal: Sharing = match serde_json::from_str(text) {
        Ok(deal) => deal,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error),
    };
    match deal.enter(&vendors.dataverse) {
        Ok(id) => Json(json!({ "id": id.to_string() })).into_response(),
        Err(refusal) => refused(refusal.status(), &refusal),
    }
}

/// A fault as a person spells it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Planned {
    fault: Kind,
    /// `entra`, `partner_center`, `registration`, `dataverse` or `certificates`; any when absent.
    api: Option<String>,
    method: Option<String>,
    /// What path and query contain.
    path: Option<String>,
    #[serde(default)]
    skip: usize,
    #[serde(default = "once")]
    times: usize,
    #[serde(default)]
    milliseconds: u64,
    #[serde(default = "unavailable")]
    status: u16,
    retry_after: Option<u32>,
    #[serde(default)]
    body: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Refuse,
    DropAfterApply,
    Stall,
    Answer,
}

const fn once() -> usize {
    1
}

const fn unavailable() -> u16 {
    503
}

async fn plan(State(vendors): State<Vendors>, body: String) -> Response {
    let planned: Planned = match serde_json::from_str(&body) {
        Ok(planned) => planned,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error),
    };
    let fault = match planned.fault {
        Kind::Refuse => Fault::Refuse,
        Kind::DropAfterApply => Fault::DropAfterApply,
        Kind::Stall => Fault::Stall(Duration::from_millis(planned.milliseconds)),
        Kind::Answer => match StatusCode::from_u16(planned.status) {
            Ok(status) => Fault::Answer {
                status,
                headers: planned
                    .retry_after
                    .map(|seconds| ("retry-after", seconds.to_string()))
                    .into_iter()
                    .collect(),
                body: planned.body,
            },
            Err(error) => return refused(StatusCode::BAD_REQUEST, error),
        },
    };
    let (api, method, path) = (planned.api, planned.method, planned.path);
    vendors
        .switchboard
        .plan(planned.skip, planned.times, fault, move |exchange| {
            // The people are never broken, nor is the one who looks.
            !exchange.target.starts_with("/_control")
                && api.as_ref().is_none_or(|api| exchange.api == api)
                && method.as_ref().is_none_or(|method| exchange.method.as_str() == method)
                && path.as_ref().is_none_or(|path| exchange.target.contains(path))
        });
    done()
}

async fn heal(State(vendors): State<Vendors>) -> Response {
    vendors.switchboard.heal();
    done()
}

#[derive(Debug, Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn exchanges(State(vendors): State<Vendors>, Query(Since { since }): Query<Since>) -> Response {
    let told: Vec<Value> = vendors
        .switchboard
        .since(since)
        .iter()
        .filter(|exchange| !exchange.target.starts_with("/_control"))
        .map(|exchange| {
            json!({
                "number": exchange.number, "api": exchange.api, "method": exchange.method.as_str(),
                "target": exchange.target, "status": exchange.status.map(|status| status.as_u16()),
            })
        })
        .collect();
    Json(told).into_response()
}
