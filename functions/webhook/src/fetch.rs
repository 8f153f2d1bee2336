//! Where certificates may come from, and the one narrow way to fetch them.
//!
//! Knows locations, sizes and time limits. Refuses to know what a certificate is. Guarantees: nothing is fetched from a
//! host that is not listed exactly, no redirect is followed, no more than [`SIZE_LIMIT`] bytes are read.

use std::time::Duration;

use reqwest::{Client, Url};

/// A certificate is one or two kilobytes.
const SIZE_LIMIT: usize = 16 * 1024;

/// Per fetch. The post behind it should be answered within two seconds in the usual case, ten at worst.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Longer than any real location; what is longer is not worth parsing.
const LOCATION_LIMIT: usize = 512;

/// An exact list of hosts, each with an optional port; without one, only the scheme's own port is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hosts(Vec<(String, Option<u16>)>);

impl Hosts {
    /// Reads a comma-separated list; nothing if it is empty or an entry is more or less than `host` or `host:port`.
    pub(crate) fn parse(list: &str) -> Option<Self> {
        let hosts: Option<Vec<_>> = list.split(',').map(|entry| authority(entry.trim())).collect();
        hosts.filter(|hosts| !hosts.is_empty()).map(Self)
    }

    fn contain(&self, url: &Url) -> bool {
        self.0
            .iter()
            .any(|(host, port)| url.host_str() == Some(host) && url.port() == *port)
    }
}

fn authority(entry: &str) -> Option<(String, Option<u16>)> {
    // Only then can nothing but a host and a port come out of the parser.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    if !entry.bytes().all(plain) {
        return None;
    }
    let url = Url::parse(&format!("https://{entry}/")).ok()?;
    Some((url.host_str()?.to_owned(), url.port()))
}

/// Checks the location a post claims for the certificate of its signer, before anything is fetched.
///
/// Only the published form is admitted: https, a listed host, `/cert/` and one plain file name ending in `.cer`. A
/// location that the URL parser would rewrite in any way is refused, so that checks and fetch cannot disagree.
pub(crate) fn certificate_location(text: &str, hosts: &Hosts) -> Option<Url> {
    let url = plain_url(text)?;
    let name = url.path().strip_prefix("/cert/")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let stem = name.strip_suffix(".cer")?;
    let admitted = transport::is_private(&url) && hosts.contain(&url) && !stem.is_empty() && name.bytes().all(plain);
    admitted.then_some(url)
}

/// Checks the location that a certificate names for its issuer.
///
/// Plain http is admitted: the content is signed, and issuers publish it this way to avoid circles.
pub(crate) fn issuer_location(text: &str, hosts: &Hosts) -> Option<Url> {
    let url = plain_url(text)?;
    let path = url.path().to_ascii_lowercase();
    let web = matches!(url.scheme(), "http" | "https");
    let certificate = path.ends_with(".crt") || path.ends_with(".cer");
    (web && certificate && hosts.contain(&url)).then_some(url)
}

/// A URL of scheme, host, port and path that reads the same before and after parsing.
fn plain_url(text: &str) -> Option<Url> {
    if text.len() > LOCATION_LIMIT {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let bare =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    (bare && url.as_str().eq_ignore_ascii_case(text)).then_some(url)
}

/// The host of a refused location, bounded and without anything else of it, for the log.
pub(crate) fn host_of(text: &str) -> Option<String> {
    let text: String = text.chars().take(LOCATION_LIMIT).collect();
    let url = Url::parse(&text).ok()?;
    url.host_str().map(|host| host.chars().take(253).collect())
}

/// Why nothing was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchError {
    /// The host could not be reached, was too slow or had trouble of its own: later it may work.
    Unavailable,
    /// The host answered something other than a small document.
    Refused,
}

/// Gets a small document.
pub(crate) async fn small_document(client: &Client, location: &Url) -> Result<Vec<u8>, FetchError> {
    tracing::debug!(
        host = location.host_str(),
        path = location.path(),
        "fetching a certificate"
    );
    let request = client.get(location.clone()).timeout(TIME_LIMIT);
    let mut response = request.send().await.map_err(|_| FetchError::Unavailable)?;
    let status = response.status();
    if status.is_server_error() || status.as_u16() == 429 {
        return Err(FetchError::Unavailable);
    }
    // A redirect is no success either: the client follows none.
    if status.as_u16() != 200 {
        return Err(FetchError::Refused);
    }
    let mut document = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|_| FetchError::Unavailable)? {
        if document.len() + part.len() > SIZE_LIMIT {
            return Err(FetchError::Refused);
        }
        document.extend_from_slice(&part);
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        Hosts::parse("3psostorageacct.blob.core.windows.net, 127.0.0.1:8080").unwrap()
    }

    #[test]
    fn the_published_location_is_admitted() {
        for text in [
            "https://3psostorageacct.blob.core.windows.net/cert/pcnotifications-dispatch.microsoft.com.cer",
            "http://127.0.0.1:8080/cert/a.cer",
            "https://127.0.0.1:8080/cert/a.cer",
        ] {
            assert!(certificate_location(text, &hosts()).is_some(), "{text}");
        }
    }

    #[test]
    fn every_other_location_is_refused() {
        for text in [
            "http://3psostorageacct.blob.core.windows.net/cert/a.cer",
            "https://3psostorageacct.blob.core.windows.net:8443/cert/a.cer",
            "https://3psostorageacct.blob.core.windows.net.example.com/cert/a.cer",
            "https://3psostorageacct.blob.core.windows.net@example.com/cert/a.cer",
            "https://user@3psostorageacct.blob.core.windows.net/cert/a.cer",
            "https://other.blob.core.windows.net/cert/a.cer",
            "https://3psostorageacct.blob.core.windows.net/cert/a.cer?sig=x",
            "https://3psostorageacct.blob.core.windows.net/cert/a.cer#x",
            "https://3psostorageacct.blob.core.windows.net/cert/../b/a.cer",
            "https://3psostorageacct.blob.core.windows.net/cert/b/../a.cer",
            "https://3psostorageacct.blob.core.windows.net/cert/%2e%2e/a.cer",
            "https://3psostorageacct.blob.core.windows.net/cert/a%2fb.cer",
            "https://3psostorageacct.blob.core.windows.net/cert/b/a.cer",
            "https://3psostorageacct.blob.core.windows.net/cert//a.cer",
            "https://3psostorageacct.blob.core.windows.net/cert/.cer",
            "https://3psostorageacct.blob.core.windows.net/cert/a.crt",
            "https://3psostorageacct.blob.core.windows.net/other/a.cer",
            "https:\\\\3psostorageacct.blob.core.windows.net\\cert\\a.cer",
            "https://3psostorageacct.blob.core.windows.net/cert/a.cer\n",
            " https://3psostorageacct.blob.core.windows.net/cert/a.cer",
            "https://127.0.0.1/cert/a.cer",
            "http://127.0.0.1:8081/cert/a.cer",
            "http://0x7f.1:8080/cert/a.cer",
            "file:///cert/a.cer",
            "",
        ] {
            assert!(certificate_location(text, &hosts()).is_none(), "{text}");
        }
    }

    #[test]
    fn issuers_may_be_published_over_plain_http_but_only_by_listed_hosts() {
        let hosts = Hosts::parse("www.microsoft.com").unwrap();
        let spaced = "http://www.microsoft.com/pkiops/certs/Microsoft%20TLS%20RSA%20Root%20G2%20-%20xsign.crt";
        assert!(issuer_location(spaced, &hosts).is_some());
        assert!(issuer_location("https://www.microsoft.com/a.cer", &hosts).is_some());
        for text in [
            "http://www.example.com/a.crt",
            "http://www.microsoft.com:8080/a.crt",
            "http://www.microsoft.com/a.p7c",
            "http://www.microsoft.com/a.crt?x",
            "ldap://www.microsoft.com/a.crt",
        ] {
            assert!(issuer_location(text, &hosts).is_none(), "{text}");
        }
    }

    #[test]
    fn a_list_of_hosts_is_hosts_and_ports_only() {
        assert_eq!(Hosts::parse("a.example:443"), Hosts::parse("a.example"));
        assert!(Hosts::parse("a.example:444, b.example").is_some());
        for text in [
            "",
            ",",
            "a.example,",
            "https://a.example",
            "a.example/path",
            "u@a.example",
            "a.example?q",
            "*.a.example:x",
        ] {
            assert!(Hosts::parse(text).is_none(), "{text}");
        }
    }
}
