//! Redirect URIs: which may be registered, and which of a request is one of those.
//!
//! Knows: https, the exceptions for this machine. Refuses to know: who registers what. Guarantee: nothing is sent to an
//! address that is not registered.
//!
//! <https://learn.microsoft.com/entra/identity-platform/reply-url>: paths are compared with their case; plain http is
//! for `localhost` and `127.0.0.1` alone, and there the port plays no part; `[::1]` and some characters are not supported.

use url::{Host, Url};

/// Longest redirect URI that can be registered, in characters.
const LONGEST: usize = 256;

pub(super) fn may_register(uri: &str) -> bool {
    let Ok(url) = Url::parse(uri) else { return false };
    let plain =
        uri.len() <= LONGEST && url.fragment().is_none() && !uri.contains(['*', '!', '$', '\'', '(', ')', ',', ';']);
    plain && (url.scheme() == "https" || is_this_machine(&url))
}

/// Whether a request's URI is this registered one.
pub(super) fn matches(registered: &str, asked: &str) -> bool {
    if registered == asked {
        return true;
    }
    let (Ok(mut registered), Ok(mut asked)) = (Url::parse(registered), Url::parse(asked)) else {
        return false;
    };
    if !is_this_machine(&registered) || !is_this_machine(&asked) {
        return false;
    }
    registered.set_port(None).is_ok() && asked.set_port(None).is_ok() && registered == asked
}

fn is_this_machine(url: &Url) -> bool {
    let known = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(_)) | None => false,
    };
    known && url.scheme() == "http"
}
