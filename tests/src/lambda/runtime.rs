//! The Lambda Runtime API of one sandbox, version 2018-06-01.
//!
//! Knows: the four calls a function process makes, and their headers. Refuses to know: the process itself.
//! Guarantees: `next` hangs until there is work, and an answer counts only for the invocation under way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use uuid::Uuid;

/// Lambda's limit for the answer of a synchronous invocation, in bytes.
const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024;

/// An error as a function reports it: type and message.
pub(super) type Reported = (String, String);

/// Work for the function.
pub(super) struct Invocation {
    pub(super) id: String,
    pub(super) payload: Value,
    pub(super) deadline: Timestamp,
}

struct UnderWay {
    id: String,
    answer: oneshot::Sender<Result<Value, Reported>>,
}

struct Shared {
    function_arn: String,
    work: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    under_way: Mutex<Option<UnderWay>>,
    /// None until the process first asks for work, or reports that it cannot.
    initialised: watch::Sender<Option<Result<(), Reported>>>,
}

/// The endpoint one function process talks to. Dropping it closes it.
pub(super) struct Runtime {
    address: SocketAddr,
    shared: Arc<Shared>,
    queue: mpsc::UnboundedSender<Invocation>,
    server: AbortHandle,
}

impl Runtime {
    pub(super) async fn start(function_arn: String) -> std::io::Result<Self> {
        let (queue, work) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            function_arn,
            work: tokio::sync::Mutex::new(work),
            under_way: Mutex::default(),
            initialised: watch::Sender::new(None),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            // Larger than the limit, so that we can say what is wrong instead of cutting the connection.
            .layer(DefaultBodyLimit::max(2 * MAX_RESPONSE_BYTES))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            // Ends with the sandbox; there is nobody to tell.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shared,
            queue,
            server: server.abort_handle(),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the process asks for work, or says why it will not.
    pub(super) async fn ready(&self) -> Result<(), Reported> {
        let mut initialised = self.shared.initialised.subscribe();
        match initialised.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
            Err(_) => Err(("ServiceException".to_owned(), "the Runtime API is gone".to_owned())),
        }
    }

    /// Hands the function its work and waits for the answer, which never comes from a process that has ended.
    pub(super) async fn invoke(&self, invocation: Invocation) -> Result<Value, Reported> {
        let (sender, answer) = oneshot::channel();
        let under_way = UnderWay {
            id: invocation.id.clone(),
            answer: sender,
        };
        *self.shared.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(under_way);
        let _ = self.queue.send(invocation);
        match answer.await {
            Ok(outcome) => outcome,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    shared.initialised.send_if_modified(|initialised| {
        let first = initialised.is_none();
        initialised.get_or_insert(Ok(()));
        first
    });
    let Some(invocation) = shared.work.lock().await.recv().await else {
        return refuse(StatusCode::FORBIDDEN, "State.Invalid", "the sandbox is closed");
    };
    let trace: String = Uuid::new_v4().simple().to_string();
    let (time, unique) = trace.split_at(8);
    Response::builder()
        .header("content-type", "application/json")
        .header("Lambda-Runtime-Aws-Request-Id", invocation.id)
        .header(
            "Lambda-Runtime-Deadline-Ms",
            invocation.deadline.as_millisecond().to_string(),
        )
        .header("Lambda-Runtime-Invoked-Function-Arn", &shared.function_arn)
        .header(
            "Lambda-Runtime-Trace-Id",
            format!("Root=1-{time}-{unique};Parent=0123456789abcdef;Sampled=0"),
        )
        .body(Body::from(invocation.payload.to_string()))
        .unwrap_or_else(|error| {
            refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "ServiceException",
                &error.to_string(),
            )
        })
}

async fn response(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response {
    if body.len() > MAX_RESPONSE_BYTES {
        let message = format!("Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes).");
        let reported = ("Function.ResponseSizeTooLarge".to_owned(), message.clone());
        return match finish(&shared, &id, Err(reported)) {
            true => refuse(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message),
            false => unknown_invocation(),
        };
    }
    // Only JSON can be an answer here; a function without one sends an empty body.
    let outcome = match body.is_empty() {
        true => Ok(Value::Null),
        false => serde_json::from_slice(&body).map_err(|error| ("Runtime.InvalidJson".to_owned(), error.to_string())),
    };
    if finish(&shared, &id, outcome) {
        accepted()
    } else {
        unknown_invocation()
    }
}

async fn error(State(shared): State<Arc<Shared>>, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    if finish(&shared, &id, Err(reported(&headers, &body))) {
        accepted()
    } else {
        unknown_invocation()
    }
}

async fn init_error(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let reported = reported(&headers, &body);
    shared.initialised.send_replace(Some(Err(reported)));
    accepted()
}

/// Ends the invocation under way; false if it is not this one.
fn finish(shared: &Shared, id: &str, outcome: Result<Value, Reported>) -> bool {
    let under_way = shared
        .under_way
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take_if(|under_way| under_way.id == id);
    under_way.is_some_and(|under_way| under_way.answer.send(outcome).is_ok())
}

/// The type stands in the body, or failing that in a header.
fn reported(headers: &HeaderMap, body: &[u8]) -> Reported {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let header = headers
        .get("lambda-runtime-function-error-type")
        .and_then(|value| value.to_str().ok());
    let error_type = text("errorType").or_else(|| header.map(str::to_owned));
    (
        error_type.unwrap_or_else(|| "Runtime.Unknown".to_owned()),
        text("errorMessage").unwrap_or_default(),
    )
}

fn accepted() -> Response {
    answer(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

fn unknown_invocation() -> Response {
    refuse(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
}

fn refuse(status: StatusCode, error_type: &str, message: &str) -> Response {
    answer(status, &json!({ "errorType": error_type, "errorMessage": message }))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response
}
