//! The one way out of the process: a TLS client that every remote, Amazon's included, is called through.
//!
//! Knows TLS, connection limits and how to lend the client to the AWS SDK. Refuses to know any remote, path or
//! retry rule: those belong to the callers.
//!
//! Guarantees: only bundled web roots are trusted, redirects are never followed, no proxy is taken from the
//! environment. Whether a URL may be called at all is asked with [`is_private`] where the URL is configured.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect;
use rustls::{ClientConfig, RootCertStore};

pub mod aws;

/// A host in the same region or on the same continent answers a handshake in a fraction of this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Idle connections are dropped before the far side does it: a sandbox that was frozen for a minute would
/// otherwise spend its first request on a dead socket. Common load balancers close after 60 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Backstop for callers that set no limit of their own; a healthy answer takes a second or two.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TLS or connection set-up was refused.
    #[error("the HTTPS client could not be built")]
    Build(#[source] reqwest::Error),
    /// The environment does not say how to reach AWS; every problem is listed.
    #[error("the AWS settings are incomplete: {}", aws::join(.0))]
    Settings(Vec<aws::Problem>),
}

impl Error {
    /// A bounded name for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Build(_) => "http_client_unusable",
            Self::Settings(_) => "settings_invalid",
        }
    }
}

/// Starts a client with our TLS rules; callers add their user agent and their own limits.
///
/// The `ring` provider and the bundled roots are chosen for start-up time: the system store costs more than a
/// tenth of a second on a small share of a processor.
pub fn client_builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT);
    match tls() {
        Ok(config) => builder.tls_backend_preconfigured(config),
        // Cannot happen with the versions and the provider compiled in. A value that is no TLS set-up makes
        // `build` fail, which is where callers look; it never falls back to other trust rules.
        Err(error) => builder.tls_backend_preconfigured(error),
    }
}

/// A client with the default limits, for the AWS SDK and other callers without wishes.
///
/// # Errors
///
/// [`Error::Build`] when the TLS set-up was refused.
pub fn client() -> Result<reqwest::Client, Error> {
    client_builder().timeout(REQUEST_TIMEOUT).build().map_err(Error::Build)
}

/// Whether nobody on the way can read a call to this URL: https, or plain http that never leaves the machine.
pub fn is_private(url: &reqwest::Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Whether the URL names this machine by a loopback address or as `localhost`.
pub fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn tls() -> Result<ClientConfig, rustls::Error> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_loopback_are_private() {
        let cases = [
            ("https://api.partner.microsoft.com/v1.0", true),
            ("http://127.0.0.1:4566", true),
            ("http://[::1]:4566", true),
            ("http://localhost:4566", true),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://api.partner.microsoft.com", false),
            ("http://169.254.169.254", false),
            ("ftp://127.0.0.1", false),
        ];
        for (text, expected) in cases {
            let url = reqwest::Url::parse(text).unwrap();
            assert_eq!(is_private(&url), expected, "{text}");
        }
    }

    #[test]
    fn the_client_can_be_built() {
        client().unwrap();
    }
}
