//! The process of `sync`: environment in, Lambda loop out. Everything else is in the library.

use connector::connector::Connector;
use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    #[expect(clippy::disallowed_methods, reason = "this is where the lookup that settings are read through is made")]
    let lookup = |name: &str| std::env::var(name).ok();
    telemetry::init(&lookup);
    let connector = Connector::start(&lookup)
        .inspect_err(|error| tracing::error!(outcome = error.code(), %error, "cannot start"))?;
    connector.warm_up().await;
    sync::run(connector).await
}
