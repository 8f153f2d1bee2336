//! The process of `sync`: environment in, Lambda loop out. Everything else is in the library.

use std::time::Duration;

use connector::connector::Connector;
use lambda_runtime::Error;

/// Lambda ends a start phase after ten seconds and begins it anew; an Entra that hangs must not cost that. What is not
/// there by then is fetched by the first call, within its own deadline.
const WARM_UP: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the lookup that settings are read through is made"
    )]
    let lookup = |name: &str| std::env::var(name).ok();
    telemetry::init(&lookup)?;
    let connector = Connector::start(&lookup)
        .inspect_err(|error| tracing::error!(outcome = error.code(), %error, "cannot start"))?;
    if tokio::time::timeout(WARM_UP, connector.warm_up()).await.is_err() {
        tracing::warn!("the tokens were not there in time for the start; the first call fetches them");
    }
    sync::run(connector).await
}
