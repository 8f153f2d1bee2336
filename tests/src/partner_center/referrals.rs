//! The Referrals API over HTTP: routes, headers, conditions, statuses.
//!
//! Knows: the protocol. Refuses to know: what a good referral is, how it is stored. Guarantee: a refused request has
//! changed nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use uuid::Uuid;

use super::desk::{Desk, Origin, State};
use super::document::Document;
use super::listing::{Policy, Query};
use super::records::moment_text;
use super::refusal::Refusal;
use super::schema::{self, Reading};
use super::{patch as json_patch, rules};

const BASE: &str = "/v1.0/engagements/referrals";
const LIST_CONTEXT: &str = "http://api.partner.microsoft.com/v1.0/$metadata#Referrals";
/// The misspelt segment is the vendor's.
const ENTITY_CONTEXT: &str = "https://api.partner.microsoft.com/v1.0/engagments/referrals/$metadata#Referrals/$entity";
const REQUEST_ID: &str = "client-request-id";

/// What goes into an answer.
struct Outcome {
    status: StatusCode,
    body: Option<Document>,
    entity_tag: Option<String>,
}

impl Outcome {
    fn entity(status: StatusCode, referral: &Document) -> Self {
        let mut body = Document::empty_object();
        body.set("@odata.context", ENTITY_CONTEXT);
        body.merge(referral.clone());
        Self {
            status,
            body: Some(body),
            entity_tag: referral.text_at(&["eTag"]).map(str::to_owned),
        }
    }
}

pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route(BASE, get(list).post(create))
        .route(&format!("{BASE}/{{id}}"), get(read).put(replace).patch(update))
        // The connector's definition of deal registration adds slashes to keep its paths apart.
        .route(&format!("{BASE}/{{id}}/"), patch(update))
        .route(&format!("{BASE}/{{id}}//"), patch(update))
        .fallback(async || not_found("There is no such resource.").into_response())
        .with_state(desk)
}

async fn list(Extract(desk): Extract<Arc<Desk>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    answer(&desk, &headers, |state| {
        let query = Query::parse(&query.unwrap_or_default())?;
        let policy = Policy {
            page_size: state.switches.page_size,
            refuse_updated_filter: state.switches.reject_updated_filter,
            filter_any_member: state.switches.filter_any_member,
        };
        let horizon = State::horizon(desk.now(), state.switches.list_lag);
        let page = query.page(state.store.all_as_of(horizon), policy)?;
        let mut body = Document::empty_object();
        body.set("@odata.context", LIST_CONTEXT);
        body.set("@odata.count", Document::Number(page.items.len().to_string()));
        body.set("value", page.items);
        if let Some(token) = page.next {
            // As documented: plain http and without the segment that makes it work.
            let link = if state.switches.well_formed_next_link {
                let host = headers
                    .get(header::HOST)
                    .and_then(|host| host.to_str().ok())
                    .unwrap_or_default();
                format!("http://{host}{BASE}?$skiptoken={token}")
            } else {
                format!("http://api.partner.microsoft.com/v1.0/referrals?$skiptoken={token}")
            };
            body.set("@odata.nextLink", link);
        }
        Ok(Outcome {
            status: StatusCode::OK,
            body: Some(body),
            entity_tag: None,
        })
    })
}

async fn read(Extract(desk): Extract<Arc<Desk>>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    answer(&desk, &headers, |state| {
        let horizon = State::horizon(desk.now(), state.switches.stale_reads);
        let referral = state
            .store
            .as_of(&id, horizon)
            .ok_or_else(|| not_found("The referral was not found."))?;
        Ok(Outcome::entity(StatusCode::OK, referral))
    })
}

async fn create(Extract(desk): Extract<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    answer(&desk, &headers, |state| {
        let posted = parse(&headers, &body)?;
        let stored = desk.create(state, posted, Origin::Api)?;
        Ok(Outcome::entity(state.switches.post_status, &stored))
    })
}

async fn replace(
    Extract(desk): Extract<Arc<Desk>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    answer(&desk, &headers, |state| {
        let before = writable(state, &id)?;
        if headers.get(header::IF_MATCH).is_none() {
            return Err(Refusal::invalid("If-Match", "A replacement needs the header If-Match."));
        }
        check_match(&headers, &before)?;
        let sent = schema::conform(parse(&headers, &body)?, &schema::REFERRAL, "", Reading::Update)?;
        if sent.at(&["links"]).is_some() {
            return Err(Refusal::invalid("/links", "Links are not part of a replacement."));
        }
        let after = replaced(&before, sent);
        rules::check_replacement(&before, &after)?;
        let stored = desk.commit(state, &before, after, Origin::Api);
        Ok(Outcome::entity(StatusCode::OK, &stored))
    })
}

/// What a replacement amounts to: the service's own members stay when they are not sent, all others go.
fn replaced(before: &Document, mut sent: Document) -> Document {
    if let Some(members) = sent.members_mut() {
        members.0.retain(|(name, _)| name != "@odata.context");
    }
    let mut after = before.clone();
    for (name, value) in after.members_mut().into_iter().flat_map(|members| members.0.iter_mut()) {
        let kept = schema::locate(&format!("/{name}")).is_none_or(|(owner, _)| owner == schema::Owner::Service);
        match sent.at(&[name]) {
            Some(replacement) => *value = replacement.clone(),
            None if kept => {}
            None => *value = Document::Null,
        }
    }
    after
}

async fn update(
    Extract(desk): Extract<Arc<Desk>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    answer(&desk, &headers, |state| {
        let before = writable(state, &id)?;
        check_match(&headers, &before)?;
        let operations = parse(&headers, &body)?;
        let after = json_patch::apply(&before, operations, state.switches.accept_unlisted_paths)?;
        rules::check_change(&before, &after)?;
        if json_patch::registers(&before, &after) {
            let engagement = before.text_at(&["engagementId"]).unwrap_or_default();
            rules::check_registration(&before, state.store.microsofts(engagement))?;
        }
        let stored = desk.commit(state, &before, after, Origin::Api);
        let wanted = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let mut preferences = wanted.flat_map(|value| value.split(',')).map(str::trim);
        if preferences.any(|preference| preference.eq_ignore_ascii_case("return=representation")) {
            return Ok(Outcome::entity(StatusCode::OK, &stored));
        }
        Ok(Outcome {
            body: None,
            ..Outcome::entity(StatusCode::NO_CONTENT, &stored)
        })
    })
}

fn writable(state: &State, id: &str) -> Result<Document, Refusal> {
    let referral = state
        .store
        .current(id)
        .ok_or_else(|| not_found("The referral was not found."))?;
    rules::check_owner(referral)?;
    Ok(referral.clone())
}

fn not_found(message: &str) -> Refusal {
    Refusal::general(StatusCode::NOT_FOUND, "itemNotFound", message)
}

/// The tag must be the stored one, its quotes included.
fn check_match(headers: &HeaderMap, referral: &Document) -> Result<(), Refusal> {
    match headers.get(header::IF_MATCH) {
        Some(tag) if Some(tag.as_bytes()) != referral.text_at(&["eTag"]).map(str::as_bytes) => Err(Refusal {
            inner: Some("resourceModified"),
            ..Refusal::general(
                StatusCode::PRECONDITION_FAILED,
                "preconditionFailed",
                "The entity tag is not the referral's.",
            )
        }),
        _ => Ok(()),
    }
}

/// Whether the content type is JSON, with or without parameters.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    kind.split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Document, Refusal> {
    if !is_json(headers) {
        return Err(Refusal::general(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalidRequest",
            "The content type must be application/json.",
        ));
    }
    let text = std::str::from_utf8(body).map_err(|error| Refusal::invalid("referral", error.to_string()))?;
    Document::parse(text).map_err(|error| Refusal::invalid("referral", format!("The body is not JSON: {error}.")))
}

fn check_request_id(state: &State, headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get(REQUEST_ID) {
        None if state.switches.require_client_request_id => {
            Err(Refusal::invalid(REQUEST_ID, "The header client-request-id is missing."))
        }
        Some(id) if Uuid::try_parse_ascii(id.as_bytes()).is_err() => Err(Refusal::invalid(
            REQUEST_ID,
            "The header client-request-id must be a GUID.",
        )),
        _ => Ok(()),
    }
}

/// Admits, acts, and adds the headers that every answer of this host has.
fn answer(desk: &Desk, headers: &HeaderMap, act: impl FnOnce(&mut State) -> Result<Outcome, Refusal>) -> Response {
    let received = desk.now();
    let outcome = desk.admit(headers).and_then(|()| {
        let mut state = desk.state();
        check_request_id(&state, headers)?;
        act(&mut state)
    });
    let mut answer = match outcome {
        Ok(Outcome {
            status,
            body: Some(body),
            entity_tag,
        }) => {
            let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
            tagged((status, kind, body.to_string()).into_response(), entity_tag)
        }
        Ok(Outcome {
            status,
            body: None,
            entity_tag,
        }) => tagged(status.into_response(), entity_tag),
        Err(refusal) => refusal.into_response(),
    };
    let own = answer.headers_mut();
    for (name, value) in [
        ("request-id", Uuid::new_v4().to_string()),
        ("timestamp", moment_text(received)),
        (
            "x-ms-ags-diagnostic",
            r#"{"ServerInfo":{"DataCenter":"Simulated","Slice":"SliceA"}}"#.to_owned(),
        ),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            own.insert(name, value);
        }
    }
    if let Some(id) = headers.get(REQUEST_ID) {
        own.insert(REQUEST_ID, id.clone());
    }
    answer
}

fn tagged(mut answer: Response, entity_tag: Option<String>) -> Response {
    if let Some(tag) = entity_tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}
