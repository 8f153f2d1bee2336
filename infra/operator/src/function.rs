//! The way to the function `sync`: through AWS, or at an address of the local world.
//!
//! Knows: how Lambda is asked for an invocation, and how it tells a function's error. Refuses to know: the commands.
//! Guarantees: an invocation is asked for once and never by itself again, since it may have been carried out; its answer
//! is the function's own JSON.

use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_types::SdkConfig;
use connector::http::chain;
use connector::settings::{self, Reader};
use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use crate::arguments::Reach;
use crate::cloud;
use crate::command::Context;
use crate::settings::trouble;
use crate::trouble::Trouble;

/// Longer than any invocation of a function may take.
const PATIENCE: Duration = Duration::from_secs(910);

/// The function, wherever it is.
pub(crate) struct Function {
    client: reqwest::Client,
    place: Place,
}

enum Place {
    /// Somebody listens there.
    Address(Url),
    /// Lambda starts it.
    Lambda { name: String, config: Box<SdkConfig> },
}

impl Function {
    pub(crate) async fn find(reach: &Reach, context: &Context<'_>) -> Result<Self, Trouble> {
        let client = context.client.clone();
        if let Some(text) = &reach.url {
            let url = Url::parse(text).ok().filter(transport::is_private).ok_or_else(|| {
                Trouble::usage(
                    "url_unusable",
                    format!("{text:?} is no https URL, and no loopback one"),
                    "name the address that the local world shows, such as http://127.0.0.1:7077/sync",
                )
            })?;
            let place = Place::Address(url);
            return Ok(Self { client, place });
        }
        let lookup = |name: &str| context.variables.get(name);
        let mut reader = Reader::new(&lookup);
        let name = reader.required("SYNC_FUNCTION", settings::name);
        let name = reader.finish(|| name).map_err(|error| trouble(&error))?;
        let config = cloud::connect(&context.variables, &context.client).await?;
        let place = Place::Lambda {
            name,
            config: Box::new(config),
        };
        Ok(Self { client, place })
    }

    /// Invokes it and waits for its answer.
    pub(crate) async fn ask(&self, event: &Value) -> Result<Value, Trouble> {
        let body = event.to_string();
        let request = match &self.place {
            Place::Address(url) => self.client.post(url.clone()).header("content-type", "application/json"),
            Place::Lambda { name, config } => self.signed(name, config, &body).await?,
        };
        let answer = request.body(body).timeout(PATIENCE).send().await;
        let answer = answer.map_err(|error| unheard(&error.without_url()))?;
        let status = answer.status();
        let is_refused = answer.headers().contains_key("x-amz-function-error");
        let bytes = answer.bytes().await.map_err(|error| unheard(&error.without_url()))?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let text = |member: &str| answer.get(member).and_then(Value::as_str).map(str::to_owned);
        if let (true, Some(kind)) = (is_refused || !status.is_success(), text("errorType")) {
            return Err(told(&kind, &text("errorMessage").unwrap_or_default()));
        }
        if status.is_success() && !is_refused && !answer.is_null() {
            return Ok(answer);
        }
        let said = text("Message").or_else(|| text("message")).unwrap_or_default();
        Err(self.not_invoked(status, &said))
    }

    /// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>; signed by hand, because a whole client for one
    /// call would be larger than the rest of the command.
    async fn signed(&self, name: &str, config: &SdkConfig, body: &str) -> Result<reqwest::RequestBuilder, Trouble> {
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let base = config
            .endpoint_url()
            .map_or_else(|| format!("https://lambda.{region}.amazonaws.com"), str::to_owned);
        let url = format!("{}/2015-03-31/functions/{name}/invocations", base.trim_end_matches('/'));
        let unsigned = |error: &(dyn std::error::Error + 'static)| {
            Trouble::new(
                "aws_unsigned",
                format!("the invocation cannot be signed: {}", chain(error)),
                "check AWS_REGION and the name in SYNC_FUNCTION",
            )
        };
        let provider = config.credentials_provider().ok_or_else(no_credentials)?;
        let credentials = provider.provide_credentials().await.map_err(|error| unsigned(&error))?;
        let identity = credentials.into();
        #[expect(
            clippy::disallowed_methods,
            reason = "a signature carries the time it was made at, and this is the only one made here"
        )]
        let now = std::time::SystemTime::now();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&region)
            .name("lambda")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsigned(&error))?
            .into();
        let signable = SignableRequest::new("POST", &*url, std::iter::empty(), SignableBody::Bytes(body.as_bytes()))
            .map_err(|error| unsigned(&error))?;
        let (instructions, _) = sign(signable, &parameters)
            .map_err(|error| unsigned(&error))?
            .into_parts();
        let request = self.client.post(url);
        Ok(instructions
            .headers()
            .fold(request, |request, (name, value)| request.header(name, value)))
    }

    fn not_invoked(&self, status: StatusCode, said: &str) -> Trouble {
        let (what, cure) = match &self.place {
            Place::Address(url) => (
                format!("{}{} answers {status}", url.origin().ascii_serialization(), url.path()),
                "name the address of `sync` that the local world shows",
            ),
            Place::Lambda { name, .. } => {
                let cure = match status {
                    StatusCode::NOT_FOUND => {
                        "check SYNC_FUNCTION, AWS_REGION and the account of your AWS profile; `make output ENV=...` shows the name"
                    }
                    StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                        "ask for the AWS permission lambda:InvokeFunction on this function"
                    }
                    StatusCode::TOO_MANY_REQUESTS => "the function is busy; run it again in a minute",
                    _ => "run it again; if it stays, the log of the function `sync` says more",
                };
                (format!("Lambda does not invoke {name}: {status} {said}"), cure)
            }
        };
        Trouble::new("not_invoked", what.trim_end().to_owned(), cure)
    }
}

fn no_credentials() -> Trouble {
    Trouble::usage(
        "aws_credentials_missing",
        "no AWS credentials",
        "sign in as for the `aws` command: `aws sso login --profile NAME` and AWS_PROFILE=NAME",
    )
}

fn unheard(error: &reqwest::Error) -> Trouble {
    let message = format!("the function was asked and nothing was heard of it: {}", chain(error));
    let cure = "an order may have been carried out: look with `make show ENV=...`, and repeat it if it was not; repeating does no harm";
    if error.is_connect() {
        return Trouble::new(
            "unreachable",
            format!("the function cannot be reached: {}", chain(error)),
            "check the network, and --url if you named one; nothing was asked for",
        );
    }
    Trouble::new("unheard", message, cure)
}

/// The function's own error. Its message names the cure; what is added is where to look.
fn told(kind: &str, message: &str) -> Trouble {
    let (code, cure) = match kind {
        "order_refused" => (
            "order_refused",
            "nothing was changed; `make show ENV=...` shows how the deal stands",
        ),
        "nothing_to_restore" => ("nothing_to_restore", "`make show ENV=...` lists what can be restored"),
        "not_linked" => (
            "not_linked",
            "check the id; `make resync ENV=...` has a record looked at that is new",
        ),
        "invalid_event" => (
            "invalid_event",
            "correct the call; if it is right, deploy the version this command belongs to",
        ),
        "invalid_place" => ("invalid_place", "leave --from out to begin at the beginning"),
        _ => (
            "sync_failed",
            "run it again, repeating does no harm; if it stays, the log of the function `sync` says more",
        ),
    };
    let message = if code == "sync_failed" {
        format!("{message} ({kind})")
    } else {
        message.to_owned()
    };
    Trouble::new(code, message, cure)
}
