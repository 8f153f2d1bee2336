//! A small world around the function: an authority like the vendor's, a certificate host and a queue.
//!
//! Guarantee: everything is loopback and made anew for each test; the clock is an argument.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{Timestamp, ToSpan as _};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256,
    SigningKey as _, date_time_ymd,
};
use rsa::RsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey as _;
use serde_json::Value;
use webhook::{Post, Webhook};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

pub(crate) const LEAF: &str = "/cert/pcnotifications-dispatch.microsoft.com.cer";
pub(crate) const MICROSOFT: &str = "Microsoft Corporation";

/// Shaped like the vendor's published sample of a referral event.
pub(crate) const EVENT: &str = r#"{"EventName":"referral-updated","ResourceUri":"https://api.partnercenter.microsoft.com/engagements/v1/referrals/2e6d0b71-93c4-4f5a-8d17-0a9c6b3e5f28","ResourceName":"referral","AuditUri":null,"ResourceChangeUtcDate":"2026-02-03T08:41:20.1184402+00:00"}"#;

pub(crate) fn noon() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// Making RSA keys is slow; two are enough for all tests of a process.
pub(crate) fn rsa_key(which: usize) -> &'static RsaPrivateKey {
    static KEYS: [OnceLock<RsaPrivateKey>; 2] = [OnceLock::new(), OnceLock::new()];
    KEYS[which].get_or_init(|| RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap())
}

/// The same RSA key in the form that signs certificates and posts.
pub(crate) fn signer(which: usize, algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    let der = rsa_key(which).to_pkcs8_der().unwrap();
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from(der.as_bytes());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm).unwrap()
}

/// A certificate to be; the defaults are what the vendor's would look like.
pub(crate) struct Wish {
    pub(crate) name: &'static str,
    pub(crate) organisation: Option<&'static str>,
    pub(crate) years: (i32, i32),
    pub(crate) authority: bool,
    /// Where its issuer can be found.
    pub(crate) issuers: Vec<String>,
}

impl Wish {
    pub(crate) fn leaf() -> Self {
        Self {
            name: "pcnotifications-dispatch.microsoft.com",
            organisation: Some(MICROSOFT),
            years: (2026, 2027),
            authority: false,
            issuers: Vec::new(),
        }
    }

    pub(crate) fn authority(name: &'static str) -> Self {
        Self {
            name,
            years: (2020, 2040),
            authority: true,
            ..Self::leaf()
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.name);
        if let Some(organisation) = self.organisation {
            params.distinguished_name.push(DnType::OrganizationName, organisation);
        }
        params.not_before = date_time_ymd(self.years.0, 1, 1);
        params.not_after = date_time_ymd(self.years.1, 1, 1);
        if self.authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        if !self.issuers.is_empty() {
            let access = access_description(&self.issuers);
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access));
        }
        params
    }
}

/// The DER of an authority information access extension; short enough for one-byte lengths.
fn access_description(locations: &[String]) -> Vec<u8> {
    let nested = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).ok().filter(|length| *length < 128).unwrap();
        [&[tag, length], content].concat()
    };
    let ca_issuers = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
    let entries: Vec<u8> = locations
        .iter()
        .flat_map(|location| nested(0x30, &[&ca_issuers[..], &nested(0x86, location.as_bytes())].concat()))
        .collect();
    nested(0x30, &entries)
}

/// A certificate with its key.
pub(crate) struct Made {
    pub(crate) der: Vec<u8>,
    pub(crate) pem: String,
    params: CertificateParams,
    key: KeyPair,
}

impl Made {
    pub(crate) fn root(wish: &Wish) -> Self {
        Self::of(wish, KeyPair::generate().unwrap(), None)
    }

    pub(crate) fn by(&self, wish: &Wish) -> Self {
        self.with_key(wish, KeyPair::generate().unwrap())
    }

    /// Certifies a given key.
    pub(crate) fn with_key(&self, wish: &Wish, key: KeyPair) -> Self {
        Self::of(wish, key, Some(self))
    }

    /// The same name and key, certified by another issuer or for another time.
    pub(crate) fn cross_signed(&self, wish: &Wish, issuer: &Made) -> Self {
        let key = KeyPair::try_from(self.key.serialize_der()).unwrap();
        Self::of(wish, key, Some(issuer))
    }

    /// The signer's certificate for the usual key.
    pub(crate) fn leaf(&self, wish: &Wish) -> Self {
        self.with_key(wish, signer(0, &PKCS_RSA_SHA256))
    }

    fn of(wish: &Wish, key: KeyPair, issuer: Option<&Made>) -> Self {
        let params = wish.params();
        let certificate = match issuer {
            Some(made) => params
                .signed_by(&key, &Issuer::from_params(&made.params, &made.key))
                .unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        Self {
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            params,
            key,
        }
    }
}

/// What the certificate host has at a path.
#[derive(Clone, Default)]
struct Documents(Arc<Mutex<HashMap<String, ResponseTemplate>>>);

impl Respond for Documents {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let documents = self.0.lock().unwrap();
        documents
            .get(request.url.path())
            .cloned()
            .unwrap_or_else(|| ResponseTemplate::new(404))
    }
}

pub(crate) struct World {
    pub(crate) root: Made,
    pub(crate) issuing: Made,
    pub(crate) host: MockServer,
    pub(crate) queue: MockServer,
    documents: Documents,
    webhook: Webhook,
}

impl World {
    /// The usual world: the root is trusted, the issuing authority known, the leaf at its place.
    pub(crate) async fn new() -> Self {
        let world = Self::trusting(|root, issuing| format!("{}{}", root.pem, issuing.pem)).await;
        world.place(LEAF, world.issuing.leaf(&Wish::leaf()).der);
        world
    }

    /// A world that knows only the root; the issuing authority has to be found.
    pub(crate) async fn knowing_the_root_only() -> Self {
        Self::trusting(|root, _| root.pem.clone()).await
    }

    /// A world that trusts an unusual issuing authority.
    pub(crate) async fn with_issuing(wish: Wish) -> Self {
        Self::build(&wish, |root, issuing| format!("{}{}", root.pem, issuing.pem)).await
    }

    async fn trusting(anchors: impl Fn(&Made, &Made) -> String) -> Self {
        Self::build(&Wish::authority("Test Issuing CA"), anchors).await
    }

    async fn build(issuing: &Wish, anchors: impl Fn(&Made, &Made) -> String) -> Self {
        let root = Made::root(&Wish::authority("Test Root"));
        let issuing = root.by(issuing);
        let file = anchors_file(&anchors(&root, &issuing));
        let host = MockServer::start().await;
        let documents = Documents::default();
        Mock::given(method("GET"))
            .respond_with(documents.clone())
            .mount(&host)
            .await;
        let queue = MockServer::start().await;
        let stored = ResponseTemplate::new(200).set_body_raw(r#"{"MessageId":"1"}"#, "application/x-amz-json-1.0");
        Mock::given(method("POST"))
            .respond_with(stored)
            .with_priority(9)
            .mount(&queue)
            .await;
        let listed = host.address().to_string();
        let settings = [
            ("QUEUE_URL", format!("{}/000000000000/hints.fifo", queue.uri())),
            ("CERTIFICATE_HOSTS", listed.clone()),
            ("ISSUER_HOSTS", listed),
            ("TRUST_ANCHORS_FILE", file),
            ("AWS_ENDPOINT_URL", queue.uri()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ];
        let settings = HashMap::from(settings);
        let webhook = Webhook::start(&|name| settings.get(name).cloned()).unwrap();
        Self {
            root,
            issuing,
            host,
            queue,
            documents,
            webhook,
        }
    }

    /// Puts a document on the certificate host, or replaces it.
    pub(crate) fn place(&self, path: &str, document: impl Into<Vec<u8>>) {
        self.answer_with(path, ResponseTemplate::new(200).set_body_bytes(document));
    }

    pub(crate) fn answer_with(&self, path: &str, answer: ResponseTemplate) {
        self.documents.0.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.host.uri())
    }

    /// A post as Partner Center makes it.
    pub(crate) fn genuine(&self) -> Post {
        self.signed(EVENT)
    }

    /// A properly signed post with another body.
    pub(crate) fn signed(&self, body: &str) -> Post {
        let signature = signer(0, &PKCS_RSA_SHA256).sign(body.as_bytes()).unwrap();
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("x-ms-signature", format!("Signature {}", STANDARD.encode(signature))),
            ("x-ms-certificate-url", self.url(LEAF)),
            ("x-ms-signature-algorithm", "rsa-sha256".to_owned()),
        ];
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value));
        Post {
            headers: headers.collect(),
            body: Some(body.to_owned()),
            is_base64_encoded: false,
        }
    }

    pub(crate) async fn deliver(&self, post: &Post) -> u16 {
        self.deliver_at(post, noon()).await
    }

    pub(crate) async fn deliver_at(&self, post: &Post, now: Timestamp) -> u16 {
        self.webhook.handle(post, now).await.status_code
    }

    /// The messages on the queue.
    pub(crate) async fn queued(&self) -> Vec<Value> {
        let requests = self.queue.received_requests().await.unwrap();
        requests
            .iter()
            .map(|request| serde_json::from_slice(&request.body).unwrap())
            .collect()
    }

    /// The paths that were asked of the certificate host.
    pub(crate) async fn fetched(&self) -> Vec<String> {
        let requests = self.host.received_requests().await.unwrap();
        requests.iter().map(|request| request.url.path().to_owned()).collect()
    }

    /// The post is answered so, and nothing is written.
    pub(crate) async fn refuses(&self, post: &Post, status: u16) {
        assert_eq!(self.deliver(post).await, status);
        assert_eq!(self.queued().await, Vec::<Value>::new());
    }

    /// The post is refused, and it was the tampering that did it: the genuine one is taken.
    pub(crate) async fn refuses_but_takes_the_genuine(&self, post: &Post) {
        self.refuses(post, 401).await;
        assert_eq!(self.deliver(&self.genuine()).await, 200);
        assert_eq!(self.queued().await.len(), 1);
    }
}

pub(crate) fn minutes_later(minutes: i64) -> Timestamp {
    noon().checked_add(minutes.minutes()).unwrap()
}

/// Sets or replaces a header.
pub(crate) fn with_header(mut post: Post, name: &str, value: impl Into<String>) -> Post {
    post.headers.insert(name.to_owned(), value.into());
    post
}

pub(crate) fn without_header(mut post: Post, name: &str) -> Post {
    assert!(post.headers.remove(name).is_some());
    post
}

pub(crate) fn with_body(mut post: Post, body: impl Into<String>) -> Post {
    post.body = Some(body.into());
    post
}

/// The signature of a post, without its scheme.
pub(crate) fn signature_of(post: &Post) -> String {
    post.headers["x-ms-signature"]
        .strip_prefix("Signature ")
        .unwrap()
        .to_owned()
}

fn anchors_file(pem: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = format!(
        "{}/anchors-{}-{number}.pem",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    std::fs::write(&path, pem).unwrap();
    path
}
