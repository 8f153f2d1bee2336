//! Claims about registration, deliveries and signatures.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use jiff::SignedDuration;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};

use super::super::{Inbound, InboundDeal, Release, SignedPost, Variant};
use super::{World, private_deal, shared_deal};

const EVENTS: [&str; 5] = [
    "referral-created",
    "referral-updated",
    "related-referral-created",
    "related-referral-updated",
    "test-created",
];
const WAIT: Duration = Duration::from_secs(20);

/// What arrived at the registered URL, and what it answers.
#[derive(Clone, Default)]
struct Receiver {
    posts: Arc<Mutex<Vec<SignedPost>>>,
    /// Statuses to answer, last first; 200 when empty.
    answers: Arc<Mutex<Vec<StatusCode>>>,
}

impl Receiver {
    async fn start(world: &World) -> (Self, String) {
        let receiver = Self::default();
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = world.board.serve("receiver", anywhere, router).await.unwrap();
        (receiver, format!("http://{address}/webhook"))
    }

    fn posts(&self) -> Vec<SignedPost> {
        self.posts.lock().unwrap().clone()
    }

    /// Event name and id of each post.
    fn events(&self) -> Vec<(String, String)> {
        let event = |post: &SignedPost| {
            let body: Value = serde_json::from_slice(&post.body).unwrap();
            let uri = body["ResourceUri"].as_str().unwrap();
            (
                body["EventName"].as_str().unwrap().to_owned(),
                uri.rsplit('/').next().unwrap().to_owned(),
            )
        };
        self.posts().iter().map(event).collect()
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    receiver.posts.lock().unwrap().push(SignedPost {
        headers,
        body: body.to_vec(),
    });
    receiver.answers.lock().unwrap().pop().unwrap_or(StatusCode::OK)
}

/// A verifier of its own: fetches the certificate and its issuer, builds the path, checks the signature.
async fn is_trusted(world: &World, post: &SignedPost) -> bool {
    let headers: HashMap<_, _> = post
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
        .collect();
    let Some(signature) = headers.get("x-ms-signature").or_else(|| headers.get("authorization")) else {
        return false;
    };
    let signature = STANDARD.decode(signature.trim_start_matches("Signature ")).unwrap();
    let Some(url) = headers.get("x-ms-certificate-url") else {
        return false;
    };
    let host = format!("http://{}/", world.partner_center.certificate_host());
    if !url.starts_with(&host) || headers["x-ms-signature-algorithm"] != "rsa-sha256" {
        return false;
    }
    let Some(leaf) = fetch(world, url).await else {
        return false;
    };
    let printable = String::from_utf8_lossy(&leaf).into_owned();
    let issuer = printable.split_once(&format!("{host}issuers/")).unwrap().1;
    let issuer = issuer.split_once(".crt").unwrap().0;
    let issuer = CertificateDer::from(fetch(world, &format!("{host}issuers/{issuer}.crt")).await.unwrap());
    let root = CertificateDer::from_pem_slice(world.partner_center.trust_anchors_pem().as_bytes()).unwrap();
    let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
    let leaf = CertificateDer::from(leaf);
    let leaf = webpki::EndEntityCert::try_from(&leaf).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(world.clock.now().as_second().try_into().unwrap()));
    let chained = leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        std::slice::from_ref(&issuer),
        now,
        webpki::KeyUsage::server_auth(),
        None,
        None,
    );
    let named = leaf.issuer().windows(21).any(|part| part == b"Microsoft Corporation");
    let algorithm = webpki::ring::RSA_PKCS1_2048_8192_SHA256;
    chained.is_ok() && named && leaf.verify_signature(algorithm, &post.body, &signature).is_ok()
}

async fn fetch(world: &World, url: &str) -> Option<Vec<u8>> {
    let answer = world.client.get(url).send().await.unwrap();
    (answer.status() == StatusCode::OK).then_some(answer.bytes().await.unwrap().to_vec())
}

fn registration(url: &str) -> Value {
    json!({ "WebhookUrl": url, "WebhookEvents": EVENTS, "SignatureTokenToMsSignatureHeader": true })
}

async fn registered() -> (World, Receiver) {
    let world = World::new().await;
    let (receiver, url) = Receiver::start(&world).await;
    world.partner_center.register_directly(&url, &EVENTS);
    (world, receiver)
}

#[tokio::test]
async fn a_tenant_has_one_registration() {
    let world = World::new().await;
    let (_, url) = Receiver::start(&world).await;
    let body = registration(&url).to_string();
    assert_eq!(
        world.registration(Method::GET, "", "").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        world.registration(Method::PUT, "", &body).await.status,
        StatusCode::NOT_FOUND
    );
    let first = world.registration(Method::POST, "", &body).await;
    assert_eq!(
        (first.status, &first.json()["webhookUrl"]),
        (StatusCode::OK, &json!(url))
    );
    assert!(first.headers.contains_key("ms-correlationid"));
    assert_eq!(
        world.registration(Method::POST, "", &body).await.status,
        StatusCode::CONFLICT
    );
    let less = json!({ "webhookurl": "https://other.example/x", "webhookEvents": ["test-created"] }).to_string();
    let second = world.registration(Method::PUT, "", &less).await.json();
    assert_eq!(second["subscriberId"], first.json()["subscriberId"]);
    assert_eq!(second["signatureTokenToMsSignatureHeader"], false);
    assert_eq!(world.registration(Method::GET, "", "").await.json(), second);
    for wrong in [
        json!({ "WebhookUrl": "http://other.example/x", "WebhookEvents": ["test-created"] }),
        json!({ "WebhookUrl": url, "WebhookEvents": ["surprise"] }),
        json!({ "WebhookUrl": url, "WebhookEvents": [] }),
        json!({ "WebhookUrl": url, "WebhookEvents": ["test-created"], "Surprise": 1 }),
    ] {
        let answer = world.registration(Method::PUT, "", &wrong.to_string()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let names = world.registration(Method::GET, "/events", "").await.json();
    assert!(
        EVENTS
            .iter()
            .all(|event| names.as_array().unwrap().contains(&json!(event)))
    );
}

#[tokio::test]
async fn a_test_event_is_delivered_and_told() {
    let world = World::new().await;
    let (receiver, url) = Receiver::start(&world).await;
    let ask = "/validationEvents";
    assert_eq!(
        world.registration(Method::POST, ask, "").await.status,
        StatusCode::BAD_REQUEST
    );
    world
        .registration(Method::POST, "", &registration(&url).to_string())
        .await;
    receiver.answers.lock().unwrap().push(StatusCode::SERVICE_UNAVAILABLE);
    let correlation = world.registration(Method::POST, ask, "").await.json()["correlationId"].clone();
    assert!(world.partner_center.quiet(WAIT).await);
    let path = format!("{ask}/{}", correlation.as_str().unwrap());
    let result = world.registration(Method::GET, &path, "").await.json();
    assert_eq!(result["status"], "completed");
    assert_eq!(result["results"][0]["responseCode"], "ServiceUnavailable");
    assert_eq!(result["results"][1]["responseCode"], "OK");
    assert_eq!(world.registration(Method::POST, ask, "").await.status, StatusCode::OK);
    let third = world.registration(Method::POST, ask, "").await;
    assert_eq!(third.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(third.headers["retry-after"].to_str().unwrap().parse::<u8>().unwrap() <= 60);
    world.clock.advance(SignedDuration::from_mins(1));
    assert_eq!(world.registration(Method::POST, ask, "").await.status, StatusCode::OK);
    world.clock.advance(SignedDuration::from_hours(8 * 24));
    assert_eq!(
        world.registration(Method::GET, &path, "").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn every_change_is_told_in_signed_and_minified_form() {
    let (world, receiver) = registered().await;
    let Inbound {
        referral, microsoft, ..
    } = world.partner_center.microsoft_sends(&InboundDeal::default());
    let own = world.created(&private_deal()).await;
    world
        .partner_center
        .portal_edits(own["id"].as_str().unwrap(), json!({ "details": { "notes": "x" } }))
        .unwrap();
    assert!(world.partner_center.quiet(WAIT).await);
    let own = own["id"].as_str().unwrap().to_owned();
    let mut events = receiver.events();
    events.sort();
    let mut expected = vec![
        ("referral-created".to_owned(), referral),
        ("referral-created".to_owned(), own.clone()),
        ("referral-updated".to_owned(), own),
        ("related-referral-created".to_owned(), microsoft.unwrap()),
    ];
    expected.sort();
    assert_eq!(events, expected);
    for post in receiver.posts() {
        let text = String::from_utf8(post.body.clone()).unwrap();
        assert!(
            text.starts_with(r#"{"EventName":"re"#) && text.ends_with(r#"+00:00"}"#),
            "{text}"
        );
        assert!(
            text.contains(r#","ResourceName":"referral","AuditUri":null,"ResourceChangeUtcDate":""#),
            "{text}"
        );
        assert!(is_trusted(&world, &post).await);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_trusted_at_the_same_url() {
    let world = World::new().await;
    let body = world.partner_center.event_body("referral-created", "x");
    let old = world.partner_center.sign_post(&body).unwrap();
    assert!(is_trusted(&world, &old).await);
    world.partner_center.rotate_certificate().unwrap();
    let new = world.partner_center.sign_post(&body).unwrap();
    assert!(is_trusted(&world, &new).await);
    assert!(!is_trusted(&world, &old).await);
    assert_eq!(old.headers[2], new.headers[2]);
}

#[tokio::test]
async fn each_variant_is_what_its_name_says() {
    let world = World::new().await;
    let body = world.partner_center.event_body("referral-created", "x");
    for (variant, trusted) in [
        (Variant::BareBase64, true),
        (Variant::AuthorizationHeader, true),
        (Variant::BothHeaders, true),
        (Variant::TamperedBody, false),
        (Variant::WrongKey, false),
        (Variant::MissingSignature, false),
        (Variant::MissingCertificateUrl, false),
        (Variant::Sha1Algorithm, false),
        (Variant::ExpiredCertificate, false),
        (Variant::EarlyCertificate, false),
        (Variant::WrongOrganisation, false),
        (Variant::UntrustedRoot, false),
        (Variant::SelfSigned, false),
        (Variant::ForeignUrl, false),
        (Variant::UnknownFile, false),
    ] {
        let post = world.partner_center.certificate_variant(variant, &body).unwrap();
        assert_eq!(is_trusted(&world, &post).await, trusted, "{variant:?}");
    }
}

#[tokio::test]
async fn a_failing_receiver_is_tried_ten_times() {
    let (world, receiver) = registered().await;
    receiver
        .answers
        .lock()
        .unwrap()
        .extend([StatusCode::INTERNAL_SERVER_ERROR; 10]);
    world.created(&shared_deal()).await;
    assert!(world.partner_center.quiet(WAIT).await);
    let deliveries = world.partner_center.deliveries();
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].attempts, [500; 10]);
    assert!(deliveries[0].done && !deliveries[0].is_accepted());
}

#[tokio::test]
async fn deliveries_can_be_held_reversed_repeated_and_lost() {
    let (world, receiver) = registered().await;
    let simulator = &world.partner_center;
    simulator.hold_deliveries(true);
    let first = world.created(&private_deal()).await["id"].as_str().unwrap().to_owned();
    let second = world.created(&private_deal()).await["id"].as_str().unwrap().to_owned();
    assert!(simulator.quiet(WAIT).await);
    assert!(receiver.posts().is_empty());
    simulator.release(Release::Reversed);
    assert!(simulator.quiet(WAIT).await);
    let ids = |receiver: &Receiver| receiver.events().into_iter().map(|(_, id)| id).collect::<Vec<_>>();
    assert_eq!(ids(&receiver), [second, first]);
    let third = world.created(&private_deal()).await["id"].as_str().unwrap().to_owned();
    simulator.release(Release::Repeated(3));
    assert!(simulator.quiet(WAIT).await);
    assert_eq!(ids(&receiver)[2..], [third.clone(), third.clone(), third]);
    simulator.hold_deliveries(false);
    simulator.drop_deliveries(true);
    world.created(&private_deal()).await;
    assert!(simulator.quiet(WAIT).await);
    assert_eq!(receiver.posts().len(), 5);
    simulator.drop_deliveries(false);
    simulator.duplicate_deliveries(2);
    world.created(&private_deal()).await;
    assert!(simulator.quiet(WAIT).await);
    assert_eq!(receiver.posts().len(), 7);
}

#[tokio::test]
async fn own_writes_can_be_silent_and_related_events_can_name_the_own_record() {
    let (world, receiver) = registered().await;
    world.partner_center.suppress_own_events(true);
    let own = world.created(&shared_deal()).await;
    world.created(&super::invitation(&own["engagementId"])).await;
    world.partner_center.related_events_name_own_record(true);
    world
        .partner_center
        .microsoft_accepts(own["engagementId"].as_str().unwrap())
        .unwrap();
    assert!(world.partner_center.quiet(WAIT).await);
    let id = own["id"].as_str().unwrap().to_owned();
    assert_eq!(receiver.events(), [("related-referral-updated".to_owned(), id)]);
}

#[tokio::test]
async fn the_registration_host_has_gates_of_its_own() {
    let world = World::new().await;
    let url = format!("{}/webhooks/v1/registration", world.partner_center.webhooks_url());
    let foreign = world.call(Method::GET, &url, &world.partner_token, &[], "").await;
    assert_eq!(
        (foreign.status, &foreign.json()["code"]),
        (StatusCode::UNAUTHORIZED, &json!(400))
    );
    assert!(foreign.headers.contains_key("www-authenticate"));
    world.partner_center.refuse_role(true);
    let refused = world.registration(Method::GET, "", "").await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (StatusCode::FORBIDDEN, &json!(2032))
    );
}

#[tokio::test]
async fn the_people_can_be_moved_with_curl() {
    let world = World::new().await;
    let control = |rest: &str| format!("{}/_control{rest}", world.partner_center.referrals_url());
    let sent = world
        .call(
            Method::POST,
            &control("/microsoft/deals"),
            "",
            &[],
            r#"{"name":"Named","value":"12.50"}"#,
        )
        .await;
    let id = sent.json()["referral"].as_str().unwrap().to_owned();
    let shown = world
        .call(Method::GET, &control(&format!("/referrals/{id}")), "", &[], "")
        .await
        .json();
    assert_eq!(
        (&shown["name"], &shown["details"]["dealValue"]),
        (&json!("Named"), &json!(12.5))
    );
    let own = world
        .call(
            Method::POST,
            &control("/portal/referrals"),
            "",
            &[],
            &private_deal().to_string(),
        )
        .await
        .json();
    let edit = control(&format!("/portal/referrals/{}", own["id"].as_str().unwrap()));
    let edited = world.call(Method::PATCH, &edit, "", &[], r#"{"name":"Renamed"}"#).await;
    assert_eq!(
        (edited.status, &edited.json()["name"]),
        (StatusCode::OK, &json!("Renamed"))
    );
    let engagement = sent.json()["engagement"].as_str().unwrap().to_owned();
    let won = world
        .call(
            Method::POST,
            &control(&format!("/microsoft/engagements/{engagement}/win")),
            "",
            &[],
            "",
        )
        .await;
    assert_eq!(won.json()["substatus"], "Won");
}
