//! The vendor's signing certificate: its chain, the host that serves it, and signatures made with its key.
//!
//! Knows: certificates, keys, the two kinds of files on the certificate host. Refuses to know: what is signed, and for
//! whom. Guarantee: the file under the leaf's URL holds the leaf alone; its issuer is found only through the leaf.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PKCS_RSA_SHA384, SignatureAlgorithm, SigningKey,
};
use rsa::RsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;

/// File name, and common name, of the signing certificate.
const DISPATCHER: &str = "pcnotifications-dispatch.microsoft.com";
/// The organisation that must stand in the issuer's name.
const ORGANISATION: &str = "Microsoft Corporation";
const LEAF_PATH: &str = "/cert/pcnotifications-dispatch.microsoft.com.cer";
const ISSUER_PATH: &str = "/issuers/issuing-ca.crt";
/// Authority information access, and its access method for issuers' certificates.
const AUTHORITY_INFORMATION_ACCESS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
const CA_ISSUERS: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];

/// A delivery ready to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPost {
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// The exact body.
    pub body: Vec<u8>,
}

/// Deliveries that differ from a good one in one way. The first three are legitimate, the others are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// `x-ms-signature` without the word `Signature`.
    BareBase64,
    /// The signature stands in `Authorization`.
    AuthorizationHeader,
    /// The signature stands in both headers.
    BothHeaders,
    /// The body was changed after signing.
    TamperedBody,
    /// Signed with another key than the certificate's.
    WrongKey,
    /// No signature at all.
    MissingSignature,
    /// No certificate URL.
    MissingCertificateUrl,
    /// The algorithm header says `rsa-sha1`; everything else is right.
    Sha1Algorithm,
    /// The certificate's time is over.
    ExpiredCertificate,
    /// The certificate's time has not begun.
    EarlyCertificate,
    /// The chain is trusted, but the issuer is another organisation.
    WrongOrganisation,
    /// All names are right, but the chain ends in a root that nobody trusts.
    UntrustedRoot,
    /// The certificate signs itself.
    SelfSigned,
    /// The certificate is said to be on a host that is not the vendor's.
    ForeignUrl,
    /// The certificate URL has a file on the right host that does not exist.
    UnknownFile,
}

/// How the signature travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Authorization,
    MsSignature,
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// The vendor's public key infrastructure in small.
pub(super) struct Authority {
    address: SocketAddr,
    now: Timestamp,
    root: Issuer,
    /// Made when first needed: RSA keys cost half a second each, and many tests never sign.
    chain: OnceLock<Result<Chain, rcgen::Error>>,
    /// Files of the certificate host by path.
    shelf: Mutex<HashMap<String, Vec<u8>>>,
}

struct Chain {
    issuing: Issuer,
    current: Mutex<Current>,
}

struct Current {
    key: Arc<KeyPair>,
    generation: usize,
}

/// The authority needs the address of the host that serves its files, so the host exists first.
pub(super) type Seat = Arc<OnceLock<Arc<Authority>>>;

/// The router of the certificate host, and the seat its authority takes.
pub(super) fn host() -> (Router, Seat) {
    let seat = Seat::default();
    let router = Router::new()
        .route("/cert/{name}", get(file))
        .route("/issuers/{name}", get(file))
        .with_state(seat.clone());
    (router, seat)
}

async fn file(State(seat): State<Seat>, OriginalUri(uri): OriginalUri) -> Response {
    match seat.get().and_then(|authority| authority.file(uri.path())) {
        Some(der) => ([(header::CONTENT_TYPE, "application/pkix-cert")], der).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Authority {
    pub(super) fn new(address: SocketAddr, now: Timestamp) -> Result<Self, rcgen::Error> {
        let root = Issuer::self_signed(
            issuer_parameters("Simulated Root", "Simulated Trust Services", now),
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        )?;
        Ok(Self {
            address,
            now,
            root,
            chain: OnceLock::new(),
            shelf: Mutex::default(),
        })
    }

    pub(super) fn root_pem(&self) -> String {
        self.root.pem()
    }

    fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.chain().ok()?;
        locked(&self.shelf).get(path).cloned()
    }

    fn chain(&self) -> Result<&Chain, rcgen::Error> {
        self.chain
            .get_or_init(|| self.make_chain())
            .as_ref()
            .map_err(Clone::clone)
    }

    fn make_chain(&self) -> Result<Chain, rcgen::Error> {
        // Two keys at once: this is where the time goes.
        std::thread::scope(|scope| {
            scope.spawn(|| rsa_der(Slot::Issuing));
            rsa_der(Slot::leaf(0));
        });
        let issuing = Issuer::signed_by(
            issuer_parameters("Simulated Issuing CA", ORGANISATION, self.now),
            rsa_key(Slot::Issuing, &PKCS_RSA_SHA384)?,
            &self.root,
        )?;
        self.shelve(ISSUER_PATH, issuing.der());
        let key = Arc::new(rsa_key(Slot::leaf(0), &PKCS_RSA_SHA256)?);
        let chain = Chain {
            issuing,
            current: Mutex::new(Current { key, generation: 0 }),
        };
        self.publish_leaf(&chain)?;
        Ok(chain)
    }

    /// A new key and a new certificate under the same URL.
    pub(super) fn rotate(&self) -> Result<(), rcgen::Error> {
        let chain = self.chain()?;
        {
            let mut current = locked(&chain.current);
            current.generation += 1;
            current.key = Arc::new(rsa_key(Slot::leaf(current.generation), &PKCS_RSA_SHA256)?);
        }
        self.publish_leaf(chain)
    }

    fn publish_leaf(&self, chain: &Chain) -> Result<(), rcgen::Error> {
        let certificate = self
            .leaf(ISSUER_PATH, -1, 365)?
            .signed_by(&*chain.key(), &chain.issuing)?;
        self.shelve(LEAF_PATH, certificate.der());
        Ok(())
    }

    fn shelve(&self, path: &str, der: &[u8]) {
        locked(&self.shelf).insert(path.to_owned(), der.to_vec());
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A leaf valid between two days counted from now.
    fn leaf(&self, issuer_path: &str, first: i64, last: i64) -> Result<CertificateParams, rcgen::Error> {
        let mut parameters = CertificateParams::new([DISPATCHER.to_owned()])?;
        name(&mut parameters, DISPATCHER, ORGANISATION);
        valid(&mut parameters, self.now, first, last);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        parameters.use_authority_key_identifier_extension = true;
        let access = sequence(&[CA_ISSUERS, &tagged(0x86, self.url(issuer_path).as_bytes())].concat());
        parameters.custom_extensions = vec![CustomExtension::from_oid_content(
            AUTHORITY_INFORMATION_ACCESS,
            sequence(&access),
        )];
        Ok(parameters)
    }

    /// A good delivery of this body.
    pub(super) fn sign(&self, body: &[u8], carrier: Carrier) -> Result<SignedPost, rcgen::Error> {
        let signature = signature(&self.chain()?.key(), body)?;
        let value = format!("Signature {signature}");
        let carrier = match carrier {
            Carrier::Authorization => "Authorization",
            Carrier::MsSignature => "x-ms-signature",
        };
        Ok(post(body, &[(carrier, &value)], &self.url(LEAF_PATH)))
    }

    pub(super) fn variant(&self, variant: Variant, body: &[u8]) -> Result<SignedPost, rcgen::Error> {
        let chain = self.chain()?;
        let key = chain.key();
        let bare = signature(&key, body)?;
        let value = format!("Signature {bare}");
        let good = post(body, &[("x-ms-signature", &value)], &self.url(LEAF_PATH));
        let with_url = |url: &str| post(body, &[("x-ms-signature", &value)], url);
        let shelved = |path: &str, certificate: &rcgen::Certificate| {
            self.shelve(path, certificate.der());
            with_url(&self.url(path))
        };
        Ok(match variant {
            Variant::BareBase64 => post(body, &[("x-ms-signature", &bare)], &self.url(LEAF_PATH)),
            Variant::AuthorizationHeader => self.sign(body, Carrier::Authorization)?,
            Variant::BothHeaders => post(
                body,
                &[("Authorization", &value), ("x-ms-signature", &value)],
                &self.url(LEAF_PATH),
            ),
            Variant::TamperedBody => SignedPost {
                body: [body, b" "].concat(),
                ..good
            },
            Variant::WrongKey => {
                let other = rsa_key(Slot::leaf(locked(&chain.current).generation + 1), &PKCS_RSA_SHA256)?;
                let value = format!("Signature {}", signature(&other, body)?);
                post(body, &[("x-ms-signature", &value)], &self.url(LEAF_PATH))
            }
            Variant::MissingSignature => post(body, &[], &self.url(LEAF_PATH)),
            Variant::MissingCertificateUrl => without(good, "X-MS-Certificate-Url"),
            Variant::Sha1Algorithm => {
                let mut post = without(good, "X-MS-Signature-Algorithm");
                post.headers
                    .push(("X-MS-Signature-Algorithm".to_owned(), "rsa-sha1".to_owned()));
                post
            }
            Variant::ExpiredCertificate => shelved(
                "/cert/expired.cer",
                &self.leaf(ISSUER_PATH, -30, -2)?.signed_by(&*key, &chain.issuing)?,
            ),
            Variant::EarlyCertificate => shelved(
                "/cert/early.cer",
                &self.leaf(ISSUER_PATH, 5000, 5100)?.signed_by(&*key, &chain.issuing)?,
            ),
            Variant::WrongOrganisation => {
                let issuer = Issuer::signed_by(
                    issuer_parameters("Simulated Other CA", "Other Organisation", self.now),
                    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
                    &self.root,
                )?;
                self.shelve("/issuers/other-ca.crt", issuer.der());
                let certificate = self.leaf("/issuers/other-ca.crt", -1, 365)?.signed_by(&*key, &issuer)?;
                shelved("/cert/other-organisation.cer", &certificate)
            }
            Variant::UntrustedRoot => {
                // Own keys, else a path to the trusted root could be built from issuers that are already known.
                let root = Issuer::self_signed(
                    issuer_parameters("Simulated Root", "Simulated Trust Services", self.now),
                    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
                )?;
                let issuer = Issuer::signed_by(
                    issuer_parameters("Simulated Issuing CA", ORGANISATION, self.now),
                    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
                    &root,
                )?;
                self.shelve("/issuers/untrusted-ca.crt", issuer.der());
                let certificate = self
                    .leaf("/issuers/untrusted-ca.crt", -1, 365)?
                    .signed_by(&*key, &issuer)?;
                shelved("/cert/untrusted.cer", &certificate)
            }
            Variant::SelfSigned => shelved(
                "/cert/self-signed.cer",
                &self.leaf(ISSUER_PATH, -1, 365)?.self_signed(&*key)?,
            ),
            Variant::ForeignUrl => with_url(&format!("https://certificates.example{LEAF_PATH}")),
            Variant::UnknownFile => with_url(&self.url("/cert/unknown.cer")),
        })
    }
}

impl Chain {
    fn key(&self) -> Arc<KeyPair> {
        locked(&self.current).key.clone()
    }
}

fn post(body: &[u8], signatures: &[(&str, &str)], certificate_url: &str) -> SignedPost {
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    headers.extend(
        signatures
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    headers.push(("X-MS-Certificate-Url".to_owned(), certificate_url.to_owned()));
    headers.push(("X-MS-Signature-Algorithm".to_owned(), "rsa-sha256".to_owned()));
    SignedPost {
        headers,
        body: body.to_vec(),
    }
}

fn without(mut post: SignedPost, name: &str) -> SignedPost {
    post.headers.retain(|(known, _)| known != name);
    post
}

/// RSASSA-PKCS1-v1_5 with SHA-256 in base64.
fn signature(key: &KeyPair, body: &[u8]) -> Result<String, rcgen::Error> {
    Ok(STANDARD.encode(key.sign(body)?))
}

fn issuer_parameters(common_name: &str, organisation: &str, now: Timestamp) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    name(&mut parameters, common_name, organisation);
    valid(&mut parameters, now, -400, 3650);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

fn name(parameters: &mut CertificateParams, common_name: &str, organisation: &str) {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CountryName, "US");
    name.push(DnType::OrganizationName, organisation);
    name.push(DnType::CommonName, common_name);
    parameters.distinguished_name = name;
}

fn valid(parameters: &mut CertificateParams, now: Timestamp, first: i64, last: i64) {
    let day = |days: i64| {
        let date = (now + SignedDuration::from_hours(24 * days))
            .to_zoned(TimeZone::UTC)
            .date();
        let [month, day] = [date.month(), date.day()].map(|part| u8::try_from(part).unwrap_or(1));
        rcgen::date_time_ymd(i32::from(date.year()), month, day)
    };
    parameters.not_before = day(first);
    parameters.not_after = day(last);
}

/// DER: tag, length, content. Long enough for any URL of ours.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut der = vec![tag];
    match length {
        [0, short @ 0..=0x7f] => der.push(short),
        [0, long] => der.extend([0x81, long]),
        [high, low] => der.extend([0x82, high, low]),
    }
    der.extend_from_slice(content);
    der
}

fn sequence(content: &[u8]) -> Vec<u8> {
    tagged(0x30, content)
}

/// Keys are slow to make, so a process makes each once.
#[derive(Clone, Copy)]
enum Slot {
    Issuing,
    EvenLeaf,
    OddLeaf,
}

impl Slot {
    /// Two leaf keys take turns.
    fn leaf(generation: usize) -> Self {
        if generation.is_multiple_of(2) {
            Self::EvenLeaf
        } else {
            Self::OddLeaf
        }
    }
}

/// A key of 2048 bits in PKCS #8.
fn rsa_der(slot: Slot) -> &'static [u8] {
    static ISSUING: OnceLock<Vec<u8>> = OnceLock::new();
    static EVEN_LEAF: OnceLock<Vec<u8>> = OnceLock::new();
    static ODD_LEAF: OnceLock<Vec<u8>> = OnceLock::new();
    let key = match slot {
        Slot::Issuing => &ISSUING,
        Slot::EvenLeaf => &EVEN_LEAF,
        Slot::OddLeaf => &ODD_LEAF,
    };
    key.get_or_init(|| {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).ok();
        let der = key.and_then(|key| key.to_pkcs8_der().ok());
        der.map(|der| der.as_bytes().to_vec()).unwrap_or_default()
    })
}

fn rsa_key(slot: Slot, algorithm: &'static SignatureAlgorithm) -> Result<KeyPair, rcgen::Error> {
    KeyPair::from_pkcs8_der_and_sign_algo(&rsa_der(slot).into(), algorithm)
}
