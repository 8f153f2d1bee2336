//! The registration function's process: environment in, Lambda loop out. Everything else is in the library.

use lambda_runtime::Error;
use registration::Registrar;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the lookup that settings are read through is made"
    )]
    let lookup = |name: &str| std::env::var(name).ok();
    telemetry::init(&lookup)?;
    let registrar = Registrar::start(&lookup).inspect_err(|error| tracing::error!(%error, "cannot start"))?;
    registration::run(registrar).await
}
