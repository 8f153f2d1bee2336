//! The signer's certificate: fetched, proven to be Microsoft's, kept for a while.
//!
//! Knows X.509 and which chains we accept. Refuses to know posts and their headers. Guarantees: a [`Leaf`] exists only
//! for a certificate that was valid, Microsoft's and chained to an anchor when it was checked, and it is used no
//! longer than every certificate of its chain is valid. Only such certificates are remembered, in bounded caches.
//!
//! Caveats: revocation is not checked, neither by list nor by protocol. A certificate that its authority has withdrawn is
//! accepted until it lapses, for as long as its host serves it and for [`KEEP_SECONDS`] longer. And failures are not
//! remembered: a location that gave no proven certificate, or that we never saw, is fetched once per post that names it,
//! with the issuers that its document asks for, so whoever posts often makes us fetch as often. What bounds that are the
//! listed hosts, the limits on size and time, and how many posts are let in at a time; nothing here does.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Client, Url};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::db::rfc4519::ORGANIZATION_NAME;
use x509_cert::der::oid::db::rfc5280::ID_AD_CA_ISSUERS;
use x509_cert::ext::pkix::AuthorityInfoAccessSyntax;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

use crate::fetch::{self, FetchError, Hosts};

/// Whose certificates we accept. The vendor's sample demands it of the issuer.
const ORGANISATION: &[u8] = b"Microsoft Corporation";

/// How long a proven certificate is used without asking again, in seconds: long enough to make fetching rare, short
/// enough that one which its host no longer serves is not used for days.
const KEEP_SECONDS: i64 = 6 * 3600;

/// A certificate that is kept is fetched again at most this often because a signature did not fit, in seconds. This
/// stops forged posts that name a location in use from making us fetch each time; posts that name others are not stopped.
const RENEWAL_SECONDS: i64 = 60;

/// One location is in use, two while it changes; the rest is room for surprises.
const LEAVES: usize = 8;

/// Intermediates seen in proven chains.
const ISSUERS: usize = 16;

/// Leaf to issuing authority to cross-signed root is two; one more for a change of their hierarchy.
const STEPS: usize = 3;

/// Issuers fetched per step: certificates name one or two locations.
const FETCHES_PER_STEP: usize = 3;

/// For a whole chain, so that the post behind it is still answered in time.
const CHAIN_LIMIT: Duration = Duration::from_secs(5);

/// Whom to trust in the end, and certificates that may stand in between.
#[derive(Debug)]
pub(crate) struct Anchors {
    roots: Cow<'static, [TrustAnchor<'static>]>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl Anchors {
    /// The web's roots, compiled in.
    pub(crate) fn web() -> Self {
        Self {
            roots: Cow::Borrowed(webpki_roots::TLS_SERVER_ROOTS),
            intermediates: Vec::new(),
        }
    }

    /// Self-issued certificates become roots, others intermediates. Nothing if unreadable or without a root.
    pub(crate) fn from_pem(pem: &[u8]) -> Option<Self> {
        let mut roots = Vec::new();
        let mut intermediates = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem) {
            let der = der.ok()?;
            let certificate = Certificate::from_der(&der).ok()?.tbs_certificate;
            if certificate.subject == certificate.issuer {
                roots.push(anchor_from_trusted_cert(&der).ok()?.to_owned());
            } else {
                intermediates.push(der);
            }
        }
        let roots: Cow<'static, [_]> = Cow::Owned(roots);
        (!roots.is_empty()).then_some(Self { roots, intermediates })
    }
}

/// Why a location does not give a certificate that we accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("the certificate cannot be fetched at the moment")]
    Unavailable,
    #[error("the certificate's location does not give a small document")]
    NotFound,
    #[error("the document is not exactly one certificate")]
    Unreadable,
    #[error("the certificate is not valid at this time")]
    NotValidNow,
    #[error("the certificate was not issued by or not to Microsoft Corporation")]
    Organisation,
    #[error("the certificate does not chain to a trusted root")]
    Untrusted,
}

impl CertificateError {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unavailable => "certificate_unavailable",
            Self::NotFound => "certificate_not_found",
            Self::Unreadable => "certificate_unreadable",
            Self::NotValidNow => "certificate_not_valid_now",
            Self::Organisation => "certificate_of_another_organisation",
            Self::Untrusted => "certificate_untrusted",
        }
    }
}

impl From<FetchError> for CertificateError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Unavailable => Self::Unavailable,
            FetchError::Refused => Self::NotFound,
        }
    }
}

/// A certificate that was proven to be Microsoft's.
#[derive(Debug)]
pub(crate) struct Leaf {
    der: CertificateDer<'static>,
    /// The end of the shortest validity in its chain, in seconds since 1970.
    good_until: i64,
}

impl Leaf {
    /// Whether its key made this signature: RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 bits or more.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        EndEntityCert::try_from(&self.der).is_ok_and(|certificate| {
            let algorithm = webpki::ring::RSA_PKCS1_2048_8192_SHA256;
            certificate.verify_signature(algorithm, message, signature).is_ok()
        })
    }
}

/// A certificate from the cache or fresh from its host.
pub(crate) struct Found {
    pub(crate) leaf: Arc<Leaf>,
    pub(crate) from_cache: bool,
}

#[derive(Debug)]
struct Kept {
    location: Url,
    leaf: Arc<Leaf>,
    use_until: i64,
    renewable_from: i64,
}

/// Fetches, proves and keeps certificates.
#[derive(Debug)]
pub(crate) struct Certificates {
    client: Client,
    issuer_hosts: Hosts,
    anchors: Anchors,
    leaves: Mutex<Vec<Kept>>,
    issuers: Mutex<Vec<Candidate>>,
}

impl Certificates {
    pub(crate) fn new(client: Client, issuer_hosts: Hosts, anchors: Anchors) -> Self {
        Self {
            client,
            issuer_hosts,
            anchors,
            leaves: Mutex::default(),
            issuers: Mutex::default(),
        }
    }

    /// The certificate at a location that was admitted before.
    pub(crate) async fn leaf(&self, location: &Url, now: Timestamp) -> Result<Found, CertificateError> {
        let kept = self.with_leaves(|leaves| {
            let kept = leaves
                .iter()
                .find(|kept| kept.location == *location && now.as_second() < kept.use_until);
            kept.map(|kept| Arc::clone(&kept.leaf))
        });
        if let Some(leaf) = kept {
            return Ok(Found { leaf, from_cache: true });
        }
        let leaf = self.fetch(location, now).await?;
        self.keep(location, &leaf, now, now.as_second());
        Ok(Found {
            leaf,
            from_cache: false,
        })
    }

    /// The certificate as it is now, where the kept one did not fit a signature: the same location may serve its
    /// successor. Nothing if it was asked for within the last minute or is not available.
    pub(crate) async fn renewed(&self, location: &Url, now: Timestamp) -> Option<Arc<Leaf>> {
        let renewable_from = now.as_second().saturating_add(RENEWAL_SECONDS);
        let due = self.with_leaves(|leaves| {
            let kept = leaves.iter_mut().find(|kept| kept.location == *location)?;
            let due = kept.renewable_from <= now.as_second();
            if due {
                // Before the attempt, so that a failing one counts too.
                kept.renewable_from = renewable_from;
            }
            Some(due)
        });
        if due != Some(true) {
            return None;
        }
        let leaf = self.fetch(location, now).await.ok()?;
        self.keep(location, &leaf, now, renewable_from);
        Some(leaf)
    }

    async fn fetch(&self, location: &Url, now: Timestamp) -> Result<Arc<Leaf>, CertificateError> {
        let proven = async {
            let document = fetch::small_document(&self.client, location).await?;
            self.prove(&document, now).await
        };
        let proven = tokio::time::timeout(CHAIN_LIMIT, proven).await;
        proven.map_err(|_| CertificateError::Unavailable)?.map(Arc::new)
    }

    async fn prove(&self, document: &[u8], now: Timestamp) -> Result<Leaf, CertificateError> {
        let leaf = Candidate::read(document).ok_or(CertificateError::Unreadable)?;
        if !leaf.is_valid(now.as_second()) {
            return Err(CertificateError::NotValidNow);
        }
        if !leaf.is_microsofts {
            return Err(CertificateError::Organisation);
        }
        let good_until = self.chain(&leaf, now).await?;
        Ok(Leaf {
            der: leaf.der,
            good_until,
        })
    }

    /// Finds a chain to an anchor, fetching missing issuers from where the certificates say they are. Returns until
    /// when, in seconds since 1970, all of the chain is valid.
    async fn chain(&self, leaf: &Candidate, now: Timestamp) -> Result<i64, CertificateError> {
        let known = self.known_issuers(now);
        let mut candidates: Vec<_> = self.anchors.intermediates.iter().chain(&known).cloned().collect();
        if let Some(good_until) = self.prove_chain(leaf, &candidates, now) {
            return Ok(good_until);
        }
        let mut asked = HashSet::new();
        let mut failure = CertificateError::Untrusted;
        let mut locations = leaf.issuers.clone();
        for _ in 0..STEPS {
            let admitted = locations
                .iter()
                .filter_map(|text| fetch::issuer_location(text, &self.issuer_hosts));
            let wanted: Vec<Url> = admitted
                .filter(|url| asked.insert(url.clone()))
                .take(FETCHES_PER_STEP)
                .collect();
            let mut further = Vec::new();
            for location in wanted {
                match fetch::small_document(&self.client, &location).await {
                    Ok(document) => {
                        if let Some(issuer) = Candidate::read(&document) {
                            further.extend(issuer.issuers);
                            candidates.push(issuer.der);
                        }
                    }
                    Err(FetchError::Unavailable) => failure = CertificateError::Unavailable,
                    Err(FetchError::Refused) => {}
                }
            }
            if let Some(good_until) = self.prove_chain(leaf, &candidates, now) {
                return Ok(good_until);
            }
            locations = further;
        }
        Err(failure)
    }

    /// Tries every issuer of a matching name among the candidates, and remembers those of a chain that holds.
    fn prove_chain(&self, leaf: &Candidate, candidates: &[CertificateDer<'static>], now: Timestamp) -> Option<i64> {
        let seconds = u64::try_from(now.as_second()).ok()?;
        let certificate = EndEntityCert::try_from(&leaf.der).ok()?;
        let path = certificate
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.anchors.roots,
                candidates,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                AnyUsage,
                None,
                None,
            )
            .ok()?;
        let issuers = path
            .intermediate_certificates()
            .map(|issuer| Candidate::read(&issuer.der()));
        let issuers: Vec<Candidate> = issuers.collect::<Option<_>>()?;
        let good_until = issuers.iter().map(|issuer| issuer.not_after).min();
        self.remember(issuers);
        Some(good_until.unwrap_or(leaf.not_after).min(leaf.not_after))
    }

    fn known_issuers(&self, now: Timestamp) -> Vec<CertificateDer<'static>> {
        let mut known = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|issuer| issuer.is_valid(now.as_second()));
        known.iter().map(|issuer| issuer.der.clone()).collect()
    }

    fn remember(&self, issuers: Vec<Candidate>) {
        let mut known = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        for issuer in issuers {
            let configured = self.anchors.intermediates.contains(&issuer.der);
            if !configured && !known.iter().any(|other| other.der == issuer.der) {
                known.push(issuer);
            }
        }
        let surplus = known.len().saturating_sub(ISSUERS);
        known.drain(..surplus);
    }

    fn keep(&self, location: &Url, leaf: &Arc<Leaf>, now: Timestamp, renewable_from: i64) {
        let kept = Kept {
            location: location.clone(),
            leaf: Arc::clone(leaf),
            use_until: leaf.good_until.min(now.as_second().saturating_add(KEEP_SECONDS)),
            renewable_from,
        };
        self.with_leaves(|leaves| {
            leaves.retain(|other| other.location != *location && now.as_second() < other.use_until);
            leaves.push(kept);
            let surplus = leaves.len().saturating_sub(LEAVES);
            leaves.drain(..surplus);
        });
    }

    fn with_leaves<T>(&self, act: impl FnOnce(&mut Vec<Kept>) -> T) -> T {
        act(&mut self.leaves.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Neither the vendor's text nor its sample says anything of extended key usage, so none is demanded; what counts is
/// the issuer's organisation, the anchor and the listed host.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// A certificate that was read and not yet believed.
#[derive(Debug)]
struct Candidate {
    der: CertificateDer<'static>,
    /// Seconds since 1970, as is the end.
    not_before: i64,
    not_after: i64,
    is_microsofts: bool,
    /// Where it says that its issuer's certificate can be found.
    issuers: Vec<String>,
}

impl Candidate {
    /// Reads exactly one certificate, as DER or PEM.
    fn read(document: &[u8]) -> Option<Self> {
        let der = if document.trim_ascii_start().starts_with(b"-----BEGIN") {
            let mut sections = CertificateDer::pem_slice_iter(document);
            let first = sections.next()?.ok()?;
            sections.next().is_none().then_some(first)?
        } else {
            CertificateDer::from(document.to_vec())
        };
        let certificate = Certificate::from_der(&der).ok()?.tbs_certificate;
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).ok();
        let not_before = seconds(certificate.validity.not_before.to_unix_duration())?;
        let not_after = seconds(certificate.validity.not_after.to_unix_duration())?;
        let access = certificate.get::<AuthorityInfoAccessSyntax>().ok()?;
        let issuers = access.map(|(_, access)| issuer_locations(&access)).unwrap_or_default();
        let by_microsoft = organisation(&certificate.issuer) == Some(true);
        let to_another = organisation(&certificate.subject) == Some(false);
        Some(Self {
            der,
            not_before,
            not_after,
            is_microsofts: by_microsoft && !to_another,
            issuers,
        })
    }

    fn is_valid(&self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

fn issuer_locations(access: &AuthorityInfoAccessSyntax) -> Vec<String> {
    let issuers = access.0.iter().filter(|entry| entry.access_method == ID_AD_CA_ISSUERS);
    issuers
        .filter_map(|entry| match &entry.access_location {
            GeneralName::UniformResourceIdentifier(location) => Some(location.to_string()),
            _ => None,
        })
        .collect()
}

/// Whether all organisations in a name are Microsoft; nothing if it has none.
fn organisation(name: &Name) -> Option<bool> {
    let parts = name.0.iter().flat_map(|part| part.0.iter());
    let organisations = parts.filter(|part| part.oid == ORGANIZATION_NAME);
    organisations
        .map(|part| part.value.value() == ORGANISATION)
        .reduce(|all, one| all && one)
}

#[cfg(test)]
mod foreign;
