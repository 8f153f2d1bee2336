//! The HTTP API gateway in front of a function: `POST /webhook`, payload format 2.0.
//!
//! Knows: how a request becomes an event and an answer becomes a response. Refuses to know: what is posted.
//! Guarantee: the body reaches the function byte for byte, as text or base64 by the gateway's rules.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::response::Response;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::Function;
use crate::aws::ACCOUNT;

/// The gateway's limit for a request body, in bytes.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// The one route.
const PATH: &str = "/webhook";

struct Shared {
    function: Function,
    always_base64: AtomicBool,
}

/// A running gateway. It stops when dropped.
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: AbortHandle,
}

impl Gateway {
    /// Serves `POST /webhook` on `address` (port 0 picks a free one) with this function.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(address: SocketAddr, function: Function) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            function,
            always_base64: AtomicBool::new(false),
        });
        let router = Router::new()
            .route(PATH, post(integrate))
            .method_not_allowed_fallback(not_found)
            .fallback(not_found)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            // Ends with the gateway; there is nobody to tell.
            let _ = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await;
        });
        Ok(Self {
            address,
            shared,
            server: server.abort_handle(),
        })
    }

    /// Full URL of the route.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// While true, every body goes to the function in base64, as a gateway in front of this one may do.
    pub fn always_base64(&self, always: bool) {
        self.shared.always_base64.store(always, Ordering::SeqCst);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, "Not Found")
}

async fn integrate(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let query = parts.uri.query().unwrap_or_default();
    let always_base64 = shared.always_base64.load(Ordering::SeqCst);
    let event = event(
        &parts.headers,
        query,
        &body.to_bytes(),
        peer,
        always_base64,
        received_at(),
    );
    match shared.function.invoke(event).await {
        Ok(answer) => render(&answer).unwrap_or_else(|| message(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)),
        Err(_) => message(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
    }
}

const INTERNAL: &str = "Internal Server Error";

fn message(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(json!({ "message": text }).to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

/// Functions check signatures against real time, and so does this.
#[expect(
    clippy::disallowed_methods,
    reason = "the gateway stamps requests with real time, like the functions do"
)]
fn received_at() -> Timestamp {
    Timestamp::now()
}

fn event(
    headers: &HeaderMap,
    query: &str,
    body: &[u8],
    peer: SocketAddr,
    always_base64: bool,
    now: Timestamp,
) -> Value {
    let value_of = |name: http::HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let domain = value_of(HOST);
    let mut combined: BTreeMap<String, String> = BTreeMap::new();
    let mut cookies: Vec<String> = Vec::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == http::header::COOKIE {
            cookies.extend(value.split("; ").map(str::to_owned));
            continue;
        }
        // Header names are lower case already; repeated headers are joined with a comma.
        combined
            .entry(name.as_str().to_owned())
            .and_modify(|former| *former = format!("{former},{value}"))
            .or_insert(value);
    }
    combined.insert("content-length".to_owned(), body.len().to_string());
    combined.insert("x-forwarded-for".to_owned(), peer.ip().to_string());
    combined.insert("x-forwarded-port".to_owned(), "443".to_owned());
    combined.insert("x-forwarded-proto".to_owned(), "https".to_owned());
    let route = format!("POST {PATH}");
    let mut event = json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": PATH,
        "rawQueryString": query,
        "headers": combined,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "localworld",
            "domainName": domain,
            "domainPrefix": domain.split('.').next().unwrap_or_default(),
            "http": {
                "method": "POST",
                "path": PATH,
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": value_of(USER_AGENT),
            },
            "requestId": Uuid::new_v4().to_string(),
            "routeKey": route,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "isBase64Encoded": false,
    });
    let Value::Object(fields) = &mut event else {
        return event;
    };
    if !cookies.is_empty() {
        fields.insert("cookies".to_owned(), json!(cookies));
    }
    if !query.is_empty() {
        fields.insert("queryStringParameters".to_owned(), query_parameters(query));
    }
    // An event of a request without a body has no body.
    if !body.is_empty() {
        let text = std::str::from_utf8(body)
            .ok()
            .filter(|_| !always_base64 && is_text(value_of(CONTENT_TYPE)));
        fields.insert("isBase64Encoded".to_owned(), json!(text.is_none()));
        fields.insert(
            "body".to_owned(),
            json!(text.map_or_else(|| BASE64.encode(body), str::to_owned)),
        );
    }
    event
}

fn query_parameters(query: &str) -> Value {
    let mut parameters = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let former = parameters.get(name.as_ref()).and_then(Value::as_str);
        let joined = former.map_or_else(|| value.to_string(), |former| format!("{former},{value}"));
        parameters.insert(name.into_owned(), Value::String(joined));
    }
    Value::Object(parameters)
}

/// The content types whose bodies an HTTP API passes on as they are; all others travel in base64.
fn is_text(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence.starts_with("text/")
        || matches!(
            essence.as_str(),
            "application/json" | "application/javascript" | "application/xml"
        )
}

/// Reads a function's answer; none if the gateway could not make sense of it.
fn render(answer: &Value) -> Option<Response> {
    let Some(status) = answer.get("statusCode") else {
        // Without a status, the whole answer is the body.
        let mut response = Response::new(Body::from(answer.to_string()));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        return Some(response);
    };
    let status = status.as_u64().or_else(|| status.as_str()?.parse().ok())?;
    let status = StatusCode::from_u16(u16::try_from(status).ok()?).ok()?;
    let text = answer.get("body").and_then(Value::as_str).unwrap_or_default();
    let encoded = answer
        .get("isBase64Encoded")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    let body = if encoded {
        BASE64.decode(text).ok()?
    } else {
        text.as_bytes().to_vec()
    };
    let mut response = Response::builder().status(status);
    let headers = answer.get("headers").and_then(Value::as_object);
    let named =
        |wanted: &str| headers.is_some_and(|headers| headers.keys().any(|name| name.eq_ignore_ascii_case(wanted)));
    if !body.is_empty() && !named("content-type") {
        response = response.header(CONTENT_TYPE, "text/plain;charset=UTF-8");
    }
    for (name, value) in headers.into_iter().flatten() {
        response = match value {
            Value::String(text) => response.header(name, text),
            Value::Number(_) | Value::Bool(_) => response.header(name, value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
    }
    let cookies = answer.get("cookies").and_then(Value::as_array);
    for cookie in cookies.into_iter().flatten() {
        response = response.header(http::header::SET_COOKIE, cookie.as_str()?);
    }
    response.body(Body::from(body)).ok()
}
