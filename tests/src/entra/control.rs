//! The same switches over HTTP, for somebody with `curl` at simulators that are running.
//!
//! Knows: routes below `/_control`. Refuses to know: everything else; it only calls the methods of [`Entra`].

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Entra, SignIn};

pub(super) fn router(entra: Entra) -> Router {
    Router::new()
        .route("/_control/", get(async || Json(help())))
        .route("/_control/switches", post(switches))
        .route("/_control/redirects", post(redirects))
        .route("/_control/sign-ins", post(sign_ins))
        .with_state(entra)
}

fn help() -> Value {
    json!({
        "POST /_control/redirects": { "tenant": "a tenant", "client_id": "a client", "redirect_uri": "http://localhost" },
        "POST /_control/sign-ins": {
            "tenant": "a tenant", "client_id": "a client", "client_secret": "its secret; answers a refresh token"
        },
        "POST /_control/switches": {
            "sign_in": "accepts, without_mfa, cancels, lacks_consent or never_answers",
            "only_audience": "an audience, or null for all", "drop_mfa": false, "omit_rotation": false,
            "expire_old_refresh_tokens": false, "revoke_all_refresh_tokens": true, "lifetime_seconds": 4000,
        },
    })
}

fn told(outcome: Result<Value, String>) -> Response {
    match outcome {
        Ok(value) => Json(value).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    }
}

fn member<'a>(body: &'a Value, name: &str) -> Result<&'a str, String> {
    body.get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("'{name}' is missing"))
}

async fn redirects(State(entra): State<Entra>, Json(body): Json<Value>) -> Response {
    let added = || {
        let (tenant, client) = (member(&body, "tenant")?, member(&body, "client_id")?);
        if entra.add_redirect(tenant, client, member(&body, "redirect_uri")?) {
            Ok(json!({ "done": true }))
        } else {
            Err("there is no such application, or the URI may not be registered".to_owned())
        }
    };
    told(added())
}

async fn sign_ins(State(entra): State<Entra>, Json(body): Json<Value>) -> Response {
    let signed_in = || {
        let (tenant, client) = (member(&body, "tenant")?, member(&body, "client_id")?);
        let token = entra.add_delegated_client(tenant, client, member(&body, "client_secret")?);
        Ok(json!({ "refresh_token": token }))
    };
    told(signed_in())
}

async fn switches(State(entra): State<Entra>, Json(body): Json<Value>) -> Response {
    told(switch(&entra, &body))
}

fn switch(entra: &Entra, body: &Value) -> Result<Value, String> {
    for (name, value) in body.as_object().ok_or("the body is not an object")? {
        let unfit = || format!("'{name}' does not take {value}");
        let flag = || value.as_bool().ok_or_else(unfit);
        match name.as_str() {
            "sign_in" => entra.sign_in(match value.as_str() {
                Some("accepts") => SignIn::Accepts,
                Some("without_mfa") => SignIn::WithoutMfa,
                Some("cancels") => SignIn::Cancels,
                Some("lacks_consent") => SignIn::LacksConsent,
                Some("never_answers") => SignIn::NeverAnswers,
                _ => return Err(unfit()),
            }),
            "only_audience" if value.is_null() => entra.only_audience(None),
            "only_audience" => entra.only_audience(Some(value.as_str().ok_or_else(unfit)?)),
            "drop_mfa" => entra.drop_mfa(flag()?),
            "omit_rotation" => entra.omit_rotation(flag()?),
            "expire_old_refresh_tokens" => entra.expire_old_refresh_tokens(flag()?),
            "revoke_all_refresh_tokens" => entra.revoke_all_refresh_tokens(),
            "lifetime_seconds" => entra.set_lifetime(Duration::from_secs(value.as_u64().ok_or_else(unfit)?)),
            _ => return Err(format!("there is no switch '{name}'")),
        }
    }
    Ok(json!({ "done": true }))
}
