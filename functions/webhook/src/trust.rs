//! Proof that a post comes from Partner Center.
//!
//! Knows the three headers and the order of the checks: headers, algorithm, location, certificate and chain at `now`,
//! signature over the exact bytes, and only then the JSON. Refuses to know what happens next. Guarantee: a
//! [`Verified`] and its [`DeliveryKey`] can be made nowhere else, and before one exists nothing has been written.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cosell::notice::{self, Malformed, Notice};
use jiff::Timestamp;
use reqwest::Client;
use ring::digest::{SHA256, digest};

use crate::certificates::{Anchors, CertificateError, Certificates};
use crate::fetch::{self, Hosts};

/// Where the signature travels when the registration asks for it; then nobody in between claims `Authorization`.
const SIGNATURE: &str = "x-ms-signature";
/// Where the signature travels otherwise.
const AUTHORIZATION: &str = "authorization";
const CERTIFICATE_URL: &str = "x-ms-certificate-url";
const ALGORITHM: &str = "x-ms-signature-algorithm";

/// The scheme before the base64 in either header.
const SCHEME: &str = "Signature";

/// The vendor's sample takes `rsa-` and any hash, weak ones included; we take the one that is documented.
const RSA_SHA256: &str = "rsa-sha256";

/// Something that came from Partner Center.
#[derive(Debug)]
pub(crate) struct Verified<T> {
    value: T,
    key: DeliveryKey,
}

impl<T> Verified<T> {
    pub(crate) fn value(&self) -> &T {
        &self.value
    }

    pub(crate) fn key(&self) -> &DeliveryKey {
        &self.key
    }
}

/// Names a delivery by its content: events carry no id, but a later change has another date and thus another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryKey(String);

impl DeliveryKey {
    fn of(body: &[u8]) -> Self {
        let hash = digest(&SHA256, body);
        let mut text = String::with_capacity(64);
        for byte in hash.as_ref() {
            // Writing to a string cannot fail.
            write!(text, "{byte:02x}").ok();
        }
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a post is not acted upon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it carries no signature")]
    SignatureMissing,
    #[error("its signature header is not of the form `Signature <base64>`")]
    SignatureUnreadable,
    #[error("it names no certificate")]
    CertificateUrlMissing,
    #[error("it names no algorithm")]
    AlgorithmMissing,
    #[error("its algorithm is not rsa-sha256")]
    AlgorithmRefused,
    #[error("its certificate would have to be fetched from a location that is not admitted")]
    LocationRefused { host: Option<String> },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("its signature does not fit its bytes")]
    SignatureMismatch,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Refusal {
    /// A bounded name for log and metrics.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::SignatureMissing => "signature_missing",
            Self::SignatureUnreadable => "signature_unreadable",
            Self::CertificateUrlMissing => "certificate_url_missing",
            Self::AlgorithmMissing => "algorithm_missing",
            Self::AlgorithmRefused => "algorithm_refused",
            Self::LocationRefused { .. } => "certificate_location_refused",
            Self::Certificate(error) => error.code(),
            Self::SignatureMismatch => "signature_mismatch",
            Self::Malformed(_) => "event_malformed",
        }
    }

    /// The answer: 401 unless the post was genuine, or could not be judged just now and is worth another delivery.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Certificate(CertificateError::Unavailable) => 503,
            Self::SignatureMissing
            | Self::SignatureUnreadable
            | Self::CertificateUrlMissing
            | Self::AlgorithmMissing
            | Self::AlgorithmRefused
            | Self::LocationRefused { .. }
            | Self::Certificate(_)
            | Self::SignatureMismatch => 401,
        }
    }

    /// The host that was refused: if Microsoft moves its certificates, this is the value to add to the list.
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::LocationRefused { host } => host.as_deref(),
            _ => None,
        }
    }
}

/// The checks, with the certificates they have proven so far.
#[derive(Debug)]
pub(crate) struct Trust {
    certificate_hosts: Hosts,
    certificates: Certificates,
}

impl Trust {
    pub(crate) fn new(client: Client, certificate_hosts: Hosts, issuer_hosts: Hosts, anchors: Anchors) -> Self {
        Self {
            certificate_hosts,
            certificates: Certificates::new(client, issuer_hosts, anchors),
        }
    }

    /// Headers, exact bytes and the time become a notice, or a refusal.
    pub(crate) async fn verify(
        &self,
        headers: &HashMap<String, String>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Verified<Notice>, Refusal> {
        let signature = signature(headers)?;
        let location = header(headers, CERTIFICATE_URL).ok_or(Refusal::CertificateUrlMissing)?;
        let algorithm = header(headers, ALGORITHM).ok_or(Refusal::AlgorithmMissing)?;
        if !algorithm.eq_ignore_ascii_case(RSA_SHA256) {
            return Err(Refusal::AlgorithmRefused);
        }
        let location =
            fetch::certificate_location(location, &self.certificate_hosts).ok_or_else(|| Refusal::LocationRefused {
                host: fetch::host_of(location),
            })?;

        let found = self.certificates.leaf(&location, now).await?;
        if !found.leaf.signed(body, &signature) {
            let renewed = if found.from_cache {
                self.certificates.renewed(&location, now).await
            } else {
                None
            };
            if !renewed.is_some_and(|leaf| leaf.signed(body, &signature)) {
                return Err(Refusal::SignatureMismatch);
            }
        }

        Ok(Verified {
            value: notice::parse(body)?,
            key: DeliveryKey::of(body),
        })
    }
}

/// The signature's bytes. `x-ms-signature` is preferred, and is not given up for the other when it is bad.
fn signature(headers: &HashMap<String, String>) -> Result<Vec<u8>, Refusal> {
    let preferred = header(headers, SIGNATURE);
    let value = preferred
        .or_else(|| header(headers, AUTHORIZATION))
        .ok_or(Refusal::SignatureMissing)?;
    let encoded = match value.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest.trim(),
        // In a header of its own the bare signature is unambiguous.
        None if preferred.is_some() => value,
        _ => return Err(Refusal::SignatureUnreadable),
    };
    STANDARD.decode(encoded).map_err(|_| Refusal::SignatureUnreadable)
}

/// The one value of a header. Two that differ only in the case of their names are as good as none: which of them a
/// reader takes would be chance.
fn header<'a>(headers: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    let mut values = headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let (_, value) = values.next()?;
    let value = value.trim();
    (values.next().is_none() && !value.is_empty()).then_some(value)
}

#[cfg(test)]
mod foreign;
