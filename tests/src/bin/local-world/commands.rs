//! A door to the functions that have no address of their own: what `aws lambda invoke` is in AWS.
//!
//! Knows: `POST /sync` and `POST /registration` with an event as body, and `GET /` with the guide. Refuses to know: the
//! events. Guarantee: the answer is the function's own JSON; its error is told as Lambda tells it, with status 502.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cosell_tests::lambda::Function;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The open door.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    address: SocketAddr,
    guide: Arc<OnceLock<String>>,
}

impl Commands {
    /// Opens it on this port; 0 picks a free one.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub(crate) async fn serve(port: u16, sync: &Function, registration: &Function) -> std::io::Result<Self> {
        let guide = Arc::<OnceLock<String>>::default();
        let shown = Arc::clone(&guide);
        let router = Router::new()
            .route("/", get(async move || shown.get().cloned().unwrap_or_default()))
            .route("/sync", post(invoke).with_state(sync.clone()))
            .route("/registration", post(invoke).with_state(registration.clone()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            // Ends with the program; there is nobody to tell.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, guide })
    }

    /// What `GET /` answers from now on.
    pub(crate) fn explain(&self, guide: &str) {
        let _ = self.guide.set(guide.to_owned());
    }

    /// Without a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn invoke(State(function): State<Function>, event: String) -> Response {
    let told = |status, error_type: &str, message: String| {
        (
            status,
            Json(json!({ "errorType": error_type, "errorMessage": message })),
        )
            .into_response()
    };
    match serde_json::from_str::<Value>(&event) {
        Ok(event) => match function.invoke(event).await {
            Ok(answer) => Json(answer).into_response(),
            Err(error) => told(StatusCode::BAD_GATEWAY, &error.error_type, error.message),
        },
        Err(error) => told(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContent",
            format!("the event is not JSON: {error}"),
        ),
    }
}
