//! The webhook's settings: read once, through a lookup, into types that need no further checks.
//!
//! Knows names, defaults and forms of the variables. Guarantee: all problems are reported in one error, which repeats
//! no value.

use reqwest::{Client, Url};
use transport::aws::{Problem, SdkConfig};

use crate::certificates::Anchors;
use crate::fetch::Hosts;

/// The only certificate host that Microsoft has published, in its sample of a signed delivery.
/// <https://learn.microsoft.com/partner-center/developer/partner-center-webhooks>
const CERTIFICATE_HOSTS: &str = "3psostorageacct.blob.core.windows.net";

/// The hosts where Microsoft's issuing certificates say that their own issuers can be found.
const ISSUER_HOSTS: &str = "www.microsoft.com,caissuers.microsoft.com,cacerts.digicert.com";

/// Why the function cannot work.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Every setting at fault.
    #[error("settings are missing or unusable: {}", join(.0))]
    Settings(Vec<Problem>),
    /// The HTTPS client could not be made.
    #[error(transparent)]
    Transport(#[from] transport::Error),
}

fn join(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
    texts.join("; ")
}

/// What the webhook needs to know.
///
/// | Variable | Default |
/// |---|---|
/// | `QUEUE_URL` | none; the FIFO queue of hints, https, or loopback for tests |
/// | `CERTIFICATE_HOSTS` | the one published host; nothing is fetched from any other |
/// | `ISSUER_HOSTS` | the hosts that Microsoft's certificates name |
/// | `TRUST_ANCHORS_FILE` | unset: the built-in web roots, on which the vendor's own sample relies |
///
/// plus the variables of [`transport::aws::sdk_config`].
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) queue_url: Url,
    pub(crate) certificate_hosts: Hosts,
    pub(crate) issuer_hosts: Hosts,
    pub(crate) anchors: Anchors,
    pub(crate) aws: SdkConfig,
}

impl Settings {
    /// Reads and checks everything.
    ///
    /// # Errors
    ///
    /// [`StartError::Settings`] with all problems.
    pub(crate) fn load(lookup: &dyn Fn(&str) -> Option<String>, client: Client) -> Result<Self, StartError> {
        let mut problems = Vec::new();
        let queue_url = keep(&mut problems, "QUEUE_URL", queue_url(lookup("QUEUE_URL")));
        let certificate_hosts = keep(
            &mut problems,
            "CERTIFICATE_HOSTS",
            hosts(lookup("CERTIFICATE_HOSTS"), CERTIFICATE_HOSTS),
        );
        let issuer_hosts = keep(
            &mut problems,
            "ISSUER_HOSTS",
            hosts(lookup("ISSUER_HOSTS"), ISSUER_HOSTS),
        );
        let anchors = keep(
            &mut problems,
            "TRUST_ANCHORS_FILE",
            anchors(lookup("TRUST_ANCHORS_FILE")),
        );
        let aws = match transport::aws::sdk_config(lookup, client) {
            Ok(aws) => Some(aws),
            Err(transport::Error::Settings(more)) => {
                problems.extend(more);
                None
            }
            Err(error) => return Err(error.into()),
        };
        match (queue_url, certificate_hosts, issuer_hosts, anchors, aws) {
            (Some(queue_url), Some(certificate_hosts), Some(issuer_hosts), Some(anchors), Some(aws)) => Ok(Self {
                queue_url,
                certificate_hosts,
                issuer_hosts,
                anchors,
                aws,
            }),
            _ => Err(StartError::Settings(problems)),
        }
    }
}

fn keep<T>(problems: &mut Vec<Problem>, variable: &'static str, read: Result<T, &'static str>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(complaint) => {
            problems.push(Problem { variable, complaint });
            None
        }
    }
}

fn queue_url(text: Option<String>) -> Result<Url, &'static str> {
    let text = text.filter(|text| !text.is_empty()).ok_or("is not set")?;
    let url = Url::parse(&text).map_err(|_| "is not a URL")?;
    if !transport::is_private(&url) {
        return Err("must be an https URL, or a loopback one");
    }
    // Order and the dropping of repeats within five minutes come with FIFO queues, whose names end this way.
    if !url.path().ends_with(".fifo") {
        return Err("must name a FIFO queue, ending in .fifo");
    }
    Ok(url)
}

fn hosts(text: Option<String>, default: &str) -> Result<Hosts, &'static str> {
    let text = text.filter(|text| !text.trim().is_empty());
    Hosts::parse(text.as_deref().unwrap_or(default))
        .ok_or("must be host names, each with an optional port, separated by commas")
}

fn anchors(path: Option<String>) -> Result<Anchors, &'static str> {
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return Ok(Anchors::web());
    };
    let pem = std::fs::read(path).map_err(|_| "names a file that cannot be read")?;
    Anchors::from_pem(&pem).ok_or("names a file that is not PEM certificates with at least one self-issued root")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(pairs: &[(&str, &str)]) -> String {
        let lookup = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::load(&lookup, transport::client().unwrap()).map_or_else(|error| error.to_string(), |_| String::new())
    }

    const AWS: [(&str, &str); 3] = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
    ];

    #[test]
    fn defaults_suffice_with_a_queue() {
        let queue = (
            "QUEUE_URL",
            "https://sqs.eu-west-1.amazonaws.com/000000000000/hints.fifo",
        );
        let all: Vec<_> = AWS.into_iter().chain([queue]).collect();
        assert_eq!(complaints(&all), "");
    }

    #[test]
    fn all_problems_are_named_at_once_and_no_value_is_repeated() {
        let text = complaints(&[
            ("QUEUE_URL", "http://example.com/hints.fifo"),
            ("CERTIFICATE_HOSTS", "https://example.com"),
            ("ISSUER_HOSTS", "a,,b"),
            ("TRUST_ANCHORS_FILE", "/nowhere/roots.pem"),
        ]);
        for variable in [
            "QUEUE_URL",
            "CERTIFICATE_HOSTS",
            "ISSUER_HOSTS",
            "TRUST_ANCHORS_FILE",
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(text.contains(variable), "{variable} in {text}");
        }
        assert!(!text.contains("example.com") && !text.contains("nowhere"), "{text}");
    }

    #[test]
    fn a_queue_that_keeps_no_order_is_refused() {
        let queue = ("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/hints");
        let all: Vec<_> = AWS.into_iter().chain([queue]).collect();
        assert!(complaints(&all).contains("FIFO"));
    }
}
