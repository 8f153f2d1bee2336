//! The function, seen from a Partner Center that holds one registration per tenant.

use std::sync::{Arc, Mutex};

use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;

const OURS: &str = "https://cosell.example/webhook";
/// As a deployment registers it.
const MARKED: &str = "https://cosell.example/webhook?owner=cosell-production-0a1b2c3d";
const FOREIGN: &str = "https://billing.example/hook";
const EVENTS: [&str; 5] = [
    "referral-created",
    "referral-updated",
    "related-referral-created",
    "related-referral-updated",
    "test-created",
];

/// Partner Center, Entra and Secrets Manager in one.
#[derive(Debug, Default)]
struct World {
    registered: Option<Value>,
    /// Set by others between our read and our write.
    registered_meanwhile: Option<Value>,
    /// Whether a GET hides what is registered behind a 400.
    is_hidden: bool,
    /// What Secrets Manager says instead of a value.
    refusal: Option<&'static str>,
    /// Calls of the registration API.
    calls: usize,
    /// Whether a write is answered with success and forgotten.
    is_forgetful: bool,
    /// Results of a test event, one per look; the last one stays.
    results: Vec<Value>,
    writes: Vec<String>,
    looks: usize,
}

impl World {
    fn answer(&mut self, request: &Request) -> ResponseTemplate {
        let ok = |value: Value| ResponseTemplate::new(200).set_body_json(value);
        self.calls += usize::from(request.url.path().starts_with("/webhooks/"));
        let path = request.url.path().trim_start_matches("/webhooks/v1/registration");
        match (request.method.as_str(), path) {
            ("POST", "/") => match self.refusal {
                Some(words) => ResponseTemplate::new(400)
                    .set_body_json(json!({ "__type": "ResourceNotFoundException", "Message": words })),
                None => ok(json!({
                    "VersionId": "v1",
                    "SecretString": r#"{"client_id":"a","client_secret":"b","refresh_token":"c"}"#,
                    "CreatedDate": -86_400,
                })),
            },
            ("POST", path) if path.contains("/oauth2/token") => {
                let form = String::from_utf8_lossy(&request.body).into_owned();
                assert!(
                    form.contains("resource=https%3A%2F%2Fapi.partnercenter.microsoft.com"),
                    "{form}"
                );
                ok(json!({ "access_token": "t", "expires_in": "3599" }))
            }
            ("GET", "/events") => ok(json!([EVENTS.as_slice(), &["invoice-ready"]].concat())),
            ("GET", "") if self.is_hidden => ResponseTemplate::new(400),
            ("GET", "") => {
                let seen = self.registered.clone();
                if let Some(meanwhile) = self.registered_meanwhile.take() {
                    self.registered = Some(meanwhile);
                }
                seen.map_or_else(|| ResponseTemplate::new(404), ok)
            }
            ("POST", "") if self.registered.is_some() => ResponseTemplate::new(409),
            ("PUT", "") if self.registered.is_none() => ResponseTemplate::new(404),
            (verb @ ("POST" | "PUT"), "") => {
                self.writes.push(verb.to_owned());
                if !self.is_forgetful {
                    self.registered = Some(request.body_json().unwrap());
                }
                ok(json!({}))
            }
            ("POST", "/validationEvents") => ok(json!({ "correlationId": "4c7a2f1d-8e90-4b35-a6d1-0f9e8d7c6b5a" })),
            ("GET", "/validationEvents/4c7a2f1d-8e90-4b35-a6d1-0f9e8d7c6b5a") => {
                let index = self.looks.min(self.results.len() - 1);
                self.looks += 1;
                ok(self.results[index].clone())
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn registration(url: &str, events: &[&str]) -> Value {
    json!({ "webhookUrl": url, "webhookEvents": events, "signatureTokenToMsSignatureHeader": true })
}

struct Scene {
    world: Arc<Mutex<World>>,
    registrar: Registrar,
    _server: MockServer,
}

impl Scene {
    async fn set(world: World) -> Self {
        Self::at(OURS, world).await
    }

    /// A deployment whose settings name this address.
    async fn at(url: &str, world: World) -> Self {
        let server = MockServer::start().await;
        let world = Arc::new(Mutex::new(world));
        let shared = Arc::clone(&world);
        Mock::given(any())
            .respond_with(move |request: &Request| shared.lock().unwrap().answer(request))
            .mount(&server)
            .await;
        let root = server.uri();
        let lookup = |name: &str| match name {
            "ENTRA_URL" | "PARTNER_CENTER_WEBHOOKS_URL" | "AWS_ENDPOINT_URL" => Some(root.clone()),
            "PARTNER_TENANT_ID" => Some("7c1f5a52-9d6e-4b0c-a2ad-6f3b6f0d8e11".to_owned()),
            "PARTNER_CENTER_SECRET" | "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => {
                Some("test".to_owned())
            }
            "WEBHOOK_URL" => Some(url.to_owned()),
            _ => None,
        };
        let patience = Patience {
            every: Duration::from_millis(5),
            at_most: Duration::from_millis(100),
        };
        Self {
            world,
            registrar: Registrar::new(settings::Registration::load(&lookup).unwrap(), patience),
            _server: server,
        }
    }

    async fn handle(&self, order: Value) -> Result<Report, Error> {
        let deadline = Deadline::after(Duration::from_secs(20));
        self.registrar
            .handle(order, deadline, "key", Timestamp::UNIX_EPOCH)
            .await
    }

    /// Name and value of what an order counts and measures.
    async fn counted(&self, order: Value) -> Vec<(&'static str, u64)> {
        let deadline = Deadline::after(Duration::from_secs(20));
        let run = Run::new(deadline);
        let order: Order = serde_json::from_value(order).unwrap();
        let is_inspection = order.action == Action::Inspect;
        let result = self.registrar.carry_out(order, &run).await;
        let now = Timestamp::UNIX_EPOCH;
        let counters = self.registrar.counters(is_inspection, &result, run.tally(), now).await;
        counters
            .into_iter()
            .map(|(metric, value)| (metric.name(), value))
            .collect()
    }

    fn registered(&self) -> Option<Value> {
        self.world.lock().unwrap().registered.clone()
    }

    fn writes(&self) -> Vec<String> {
        self.world.lock().unwrap().writes.clone()
    }
}

fn world(registered: Option<Value>) -> World {
    World {
        registered,
        ..World::default()
    }
}

#[tokio::test]
async fn an_inspection_reports_and_writes_nothing() {
    let cases = [
        (None, Outcome::Drifted, vec![Drift::NothingRegistered]),
        (Some(registration(OURS, &EVENTS)), Outcome::InStep, vec![]),
        (
            Some(registration(FOREIGN, &["invoice-ready"])),
            Outcome::Drifted,
            vec![
                Drift::AnotherUrl,
                Drift::EventsMissing(EVENTS.map(str::to_owned).to_vec()),
            ],
        ),
        (
            Some(json!({ "WebhookUrl": OURS, "WebhookEvents": EVENTS })),
            Outcome::Drifted,
            vec![Drift::SignatureInAuthorization],
        ),
    ];
    for (registered, outcome, drift) in cases {
        let scene = Scene::set(world(registered.clone())).await;
        let report = scene.handle(json!({ "action": "inspect" })).await.unwrap();
        assert_eq!((report.done.outcome, report.done.drift), (outcome, drift));
        assert_eq!(report.found.is_some(), registered.is_some());
        assert_eq!(scene.registered(), registered);
        assert!(scene.writes().is_empty());
    }
}

#[tokio::test]
async fn the_answer_has_its_fixed_shape() {
    let scene = Scene::set(world(None)).await;
    let report = scene
        .handle(json!({ "action": "register", "events": ["test-created"] }))
        .await
        .unwrap();
    assert_eq!(
        serde_json::to_value(report).unwrap(),
        json!({
            "desired": { "webhook_url": OURS, "events": ["test-created"], "signature_in_own_header": true },
            "found": null,
            "done": { "outcome": "created", "drift": ["nothing_registered"] },
        })
    );
    let expected = json!({
        "WebhookUrl": OURS,
        "WebhookEvents": ["test-created"],
        "SignatureTokenToMsSignatureHeader": true,
    });
    assert_eq!(scene.registered(), Some(expected));
}

#[tokio::test]
async fn what_is_in_step_is_not_written_again() {
    let scene = Scene::set(world(None)).await;
    let register = json!({ "action": "register" });
    assert_eq!(
        scene.handle(register.clone()).await.unwrap().done.outcome,
        Outcome::Created
    );
    assert_eq!(
        scene.handle(register.clone()).await.unwrap().done.outcome,
        Outcome::InStep
    );
    assert_eq!(scene.writes(), ["POST"]);
    // The same address spelled otherwise is the same address.
    scene.world.lock().unwrap().registered = Some(registration("https://COSELL.example:443/webhook", &EVENTS));
    assert_eq!(scene.handle(register).await.unwrap().done.outcome, Outcome::InStep);
    assert_eq!(scene.writes(), ["POST"]);
}

#[tokio::test]
async fn a_repair_keeps_events_of_others_at_our_address() {
    let scene = Scene::set(world(Some(registration(OURS, &["invoice-ready", "referral-created"])))).await;
    let report = scene.handle(json!({ "action": "register" })).await.unwrap();
    assert_eq!(report.done.outcome, Outcome::Repaired);
    let mut expected = EVENTS.to_vec();
    expected.insert(0, "invoice-ready");
    assert_eq!(scene.registered().unwrap()["WebhookEvents"], json!(expected));
    assert_eq!(scene.writes(), ["PUT"]);
}

#[tokio::test]
async fn somebody_elses_registration_is_replaced_on_an_explicit_wish_only() {
    let foreign = registration(FOREIGN, &["invoice-ready"]);
    let scene = Scene::set(world(Some(foreign.clone()))).await;
    let error = scene.handle(json!({ "action": "register" })).await.unwrap_err();
    assert_eq!(error.code(), "foreign_registration");
    assert!(error.to_string().contains(FOREIGN), "{error}");
    assert_eq!(scene.registered(), Some(foreign));

    let report = scene
        .handle(json!({ "action": "register", "overwrite": true }))
        .await
        .unwrap();
    assert_eq!(report.done.outcome, Outcome::Replaced);
    assert_eq!(report.done.replaced_url.as_deref(), Some(FOREIGN));
    // Its events were never meant for our address.
    assert_eq!(scene.registered().unwrap()["WebhookEvents"], json!(EVENTS));
}

#[tokio::test]
async fn the_query_of_somebody_elses_url_is_in_the_answer_and_not_in_an_error() {
    let with_key =
        "https://prod-7.logic.example:443/workflows/a1/triggers/manual/paths/invoke?api-version=1&sig=s3cret";
    let scene = Scene::set(world(Some(registration(with_key, &[])))).await;
    let error = scene.handle(json!({ "action": "register" })).await.unwrap_err();
    for text in [
        error.to_string(),
        format!("{error:?}"),
        chain(&error),
        Diagnostic::from(error).error_message,
    ] {
        assert!(
            text.contains("https://prod-7.logic.example/workflows/a1/triggers"),
            "{text}"
        );
        assert!(!text.contains("sig") && !text.contains("s3cret"), "{text}");
    }
    let inspected = scene.handle(json!({ "action": "inspect" })).await.unwrap();
    assert_eq!(inspected.found.unwrap().webhook_url, with_key);
    let report = scene
        .handle(json!({ "action": "register", "overwrite": true }))
        .await
        .unwrap();
    assert_eq!(report.done.replaced_url.as_deref(), Some(with_key));
}

#[tokio::test]
async fn an_earlier_address_of_the_same_deployment_is_replaced_without_a_wish() {
    let earlier = "https://old.example/webhook?owner=cosell-production-0a1b2c3d";
    let scene = Scene::at(MARKED, world(Some(registration(earlier, &["invoice-ready"])))).await;
    let inspected = scene.handle(json!({ "action": "inspect" })).await.unwrap();
    assert_eq!(inspected.done.outcome, Outcome::Drifted);
    let report = scene.handle(json!({ "action": "register" })).await.unwrap();
    assert_eq!(report.done.outcome, Outcome::Moved);
    assert_eq!(report.done.replaced_url.as_deref(), Some(earlier));
    assert_eq!(serde_json::to_value(&report.done).unwrap()["outcome"], "moved");
    assert_eq!(
        scene.registered(),
        Some(json!({
            "WebhookUrl": MARKED, "WebhookEvents": EVENTS, "SignatureTokenToMsSignatureHeader": true,
        }))
    );
    let again = scene.handle(json!({ "action": "register" })).await.unwrap();
    assert_eq!(again.done.outcome, Outcome::InStep);
    assert_eq!(scene.writes(), ["PUT"]);
}

#[tokio::test]
async fn one_deployment_never_takes_over_another_by_itself() {
    let production = "https://cosell.example/webhook?owner=cosell-production-0a1b2c3d";
    for (staging, found, shown) in [
        // Each with a host of its own, and both behind one.
        (
            "https://staging.example/webhook?owner=cosell-staging-0a1b2c3d",
            production,
            production,
        ),
        (
            "https://cosell.example/webhook?owner=cosell-staging-0a1b2c3d",
            production,
            production,
        ),
        // Marks that only begin alike, or differ in case.
        (
            "https://cosell.example/webhook?owner=cosell-production-0a1b2c3",
            production,
            production,
        ),
        (
            "https://cosell.example/webhook?owner=COSELL-production-0a1b2c3d",
            production,
            production,
        ),
        // No mark on either side, or on both.
        (
            "https://cosell.example/webhook?owner=cosell-staging-0a1b2c3d",
            OURS,
            OURS,
        ),
        (OURS, production, production),
        (OURS, FOREIGN, FOREIGN),
        (
            "https://cosell.example/webhook?owner=m",
            "https://cosell.example/webhook?owner=",
            OURS,
        ),
        // A mark that is given twice is none.
        (
            "https://cosell.example/webhook?owner=m",
            "https://cosell.example/webhook?owner=m&owner=n",
            OURS,
        ),
        // What else is in the query stays untold.
        (
            "https://cosell.example/webhook?owner=m",
            "https://cosell.example/webhook?sig=s3cret&owner=n",
            "https://cosell.example/webhook?owner=n",
        ),
    ] {
        let there = registration(found, &EVENTS);
        let scene = Scene::at(staging, world(Some(there.clone()))).await;
        let error = scene.handle(json!({ "action": "register" })).await.unwrap_err();
        assert_eq!(error.code(), "foreign_registration", "{staging} over {found}");
        let words = error.to_string();
        assert!(words.starts_with(&format!("{shown} is registered")), "{words}");
        assert!(
            words.contains(&format!("not {staging}:")) && words.contains("\"overwrite\": true"),
            "{words}"
        );
        assert!(!words.contains("s3cret"), "{words}");
        assert_eq!((scene.registered(), scene.writes()), (Some(there), Vec::new()));
    }
}

#[tokio::test]
async fn an_owner_mark_that_comes_with_an_order_proves_nothing() {
    let scene = Scene::at(
        "https://staging.example/webhook?owner=cosell-staging-0a1b2c3d",
        world(Some(registration(MARKED, &EVENTS))),
    )
    .await;
    let order = json!({
        "action": "register", "webhook_url": "https://staging.example/webhook?owner=cosell-production-0a1b2c3d",
    });
    let error = scene.handle(order).await.unwrap_err();
    assert_eq!(error.code(), "foreign_registration");
    // Nor does an order without a mark inherit that of the settings.
    let earlier = "https://old.example/webhook?owner=cosell-staging-0a1b2c3d";
    scene.world.lock().unwrap().registered = Some(registration(earlier, &EVENTS));
    let order = json!({ "action": "register", "webhook_url": "https://staging.example/webhook" });
    let error = scene.handle(order).await.unwrap_err();
    assert_eq!(error.code(), "foreign_registration");
    assert!(scene.writes().is_empty());
}

#[tokio::test]
async fn before_the_consent_a_deployment_is_answered_and_nobody_is_asked() {
    let words = "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT";
    let scene = Scene::set(World {
        refusal: Some(words),
        ..World::default()
    })
    .await;
    for action in ["register", "inspect"] {
        let report = scene.handle(json!({ "action": action })).await.unwrap();
        assert_eq!(
            serde_json::to_value(report).unwrap(),
            json!({
                "desired": { "webhook_url": OURS, "events": scene.registrar.events.iter().map(EventName::as_str).collect::<Vec<_>>(), "signature_in_own_header": true },
                "found": null,
                "done": { "outcome": "awaiting_consent", "drift": [] },
            })
        );
    }
    let diagnostic = Diagnostic::from(scene.handle(json!({ "action": "prove" })).await.unwrap_err());
    assert_eq!(diagnostic.error_type, "secret_empty");
    assert!(
        diagnostic.error_message.contains("`make consent ENV=...`"),
        "{}",
        diagnostic.error_message
    );
    assert_eq!(scene.world.lock().unwrap().calls, 0);

    // Once somebody has signed in it goes on from here, in the same process.
    scene.world.lock().unwrap().refusal = None;
    let report = scene.handle(json!({ "action": "register" })).await.unwrap();
    assert_eq!(report.done.outcome, Outcome::Created);
}

#[tokio::test]
async fn a_secret_that_does_not_exist_is_no_consent_that_is_awaited() {
    let scene = Scene::set(World {
        refusal: Some("Secrets Manager can't find the specified secret."),
        ..World::default()
    })
    .await;
    for action in ["register", "inspect", "prove"] {
        let error = scene.handle(json!({ "action": action })).await.unwrap_err();
        assert_eq!((error.code(), error.class()), ("aws_refused", Class::Fatal));
        assert!(chain(&error).contains("secret test"), "{}", chain(&error));
    }
}

#[tokio::test]
async fn an_inspection_measures_and_says_so_when_all_is_well() {
    let inspect = || json!({ "action": "inspect" });
    let scene = Scene::set(world(Some(registration(OURS, &EVENTS)))).await;
    let counted = scene.counted(inspect()).await;
    for zero in [
        "VendorRefusals",
        "VendorFailures",
        "RegistrationsRepaired",
        "FatalFaults",
        "RegistrationsDrifted",
    ] {
        assert!(counted.contains(&(zero, 0)), "{counted:?}");
    }
    assert!(counted.contains(&("RefreshTokenAgeSeconds", 86_400)), "{counted:?}");

    scene.world.lock().unwrap().registered = Some(registration(FOREIGN, &EVENTS));
    let counted = scene.counted(inspect()).await;
    assert!(counted.contains(&("RegistrationsDrifted", 1)), "{counted:?}");
    // What an order finds is not what the daily inspection says.
    let counted = scene.counted(json!({ "action": "register" })).await;
    assert!(
        counted
            .iter()
            .all(|(name, _)| !name.contains("Drifted") && !name.contains("Age")),
        "{counted:?}"
    );

    let scene = Scene::set(World {
        refusal: Some("Secrets Manager can't find the specified secret."),
        ..World::default()
    })
    .await;
    let counted = scene.counted(inspect()).await;
    assert!(counted.contains(&("FatalFaults", 1)), "{counted:?}");
    assert!(
        counted
            .iter()
            .all(|(name, _)| !name.contains("Drifted") && !name.contains("Age")),
        "nobody knows: {counted:?}"
    );

    let scene = Scene::set(World {
        refusal: Some("Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"),
        ..World::default()
    })
    .await;
    let counted = scene.counted(inspect()).await;
    assert!(
        counted.contains(&("FatalFaults", 0)) && counted.contains(&("RegistrationsDrifted", 0)),
        "{counted:?}"
    );
}

#[tokio::test]
async fn a_registration_that_appears_in_between_is_looked_at_before_it_is_replaced() {
    let scene = Scene::set(World {
        registered_meanwhile: Some(registration(FOREIGN, &[])),
        ..World::default()
    })
    .await;
    let error = scene.handle(json!({ "action": "register" })).await.unwrap_err();
    assert_eq!(error.code(), "foreign_registration");
    assert!(scene.writes().is_empty());
}

#[tokio::test]
async fn a_registration_that_cannot_be_seen_is_not_replaced_without_the_wish() {
    let scene = Scene::set(World {
        registered: Some(registration(FOREIGN, &[])),
        is_hidden: true,
        ..World::default()
    })
    .await;
    let error = scene.handle(json!({ "action": "register" })).await.unwrap_err();
    assert_eq!(error.code(), "state_conflict");
    assert!(scene.writes().is_empty());
}

#[tokio::test]
async fn what_was_written_is_read_back() {
    let scene = Scene::set(World {
        is_forgetful: true,
        ..World::default()
    })
    .await;
    let error = scene.handle(json!({ "action": "register" })).await.unwrap_err();
    assert_eq!(error.code(), "registration_not_kept");
}

#[tokio::test]
async fn an_event_that_is_not_offered_is_named_before_anything_is_written() {
    let scene = Scene::set(world(None)).await;
    let order = json!({ "action": "register", "events": ["referral-created", "referral-create"] });
    let diagnostic = Diagnostic::from(scene.handle(order).await.unwrap_err());
    assert_eq!(diagnostic.error_type, "events_unknown");
    assert_eq!(
        diagnostic.error_message,
        "Partner Center offers no event called referral-create"
    );
    assert!(scene.writes().is_empty());
}

#[tokio::test]
async fn a_test_event_is_followed_to_its_end() {
    let result = |status: &str, code: &str| json!({ "status": status, "results": [{ "responseCode": code }] });
    let pending = json!({ "status": "pending", "results": [] });
    let cases = [
        (
            vec![pending.clone(), pending.clone(), result("completed", "OK")],
            Outcome::Delivered,
        ),
        (
            vec![pending.clone(), result("failed", "Unauthorized")],
            Outcome::Undelivered,
        ),
        (vec![pending], Outcome::Undecided),
    ];
    for (results, outcome) in cases {
        let looks = results.len();
        let scene = Scene::set(World {
            results,
            ..world(Some(registration(OURS, &EVENTS)))
        })
        .await;
        let report = scene.handle(json!({ "action": "prove" })).await.unwrap();
        assert_eq!(report.done.outcome, outcome);
        assert!(report.done.delivery.is_some());
        assert!(scene.world.lock().unwrap().looks >= looks);
    }
}

#[tokio::test]
async fn only_what_is_registered_can_be_proven() {
    for registered in [
        None,
        Some(registration(FOREIGN, &EVENTS)),
        Some(registration(OURS, &["referral-created"])),
    ] {
        let scene = Scene::set(world(registered)).await;
        let error = scene.handle(json!({ "action": "prove" })).await.unwrap_err();
        assert_eq!(error.code(), "not_registered");
    }
}

#[tokio::test]
async fn a_bad_order_is_refused_with_a_reason() {
    let scene = Scene::set(world(None)).await;
    for order in [
        json!(null),
        json!({}),
        json!({ "action": "delete" }),
        json!({ "action": "register", "overwite": true }),
        json!({ "action": "register", "webhook_url": "http://cosell.example/webhook" }),
        json!({ "action": "register", "events": ["a b"] }),
    ] {
        let error = scene.handle(order.clone()).await.unwrap_err();
        assert_eq!(error.code(), "order_invalid", "{order}");
    }
    assert!(scene.writes().is_empty());
}

fn unread(order: Value) -> String {
    let error = serde_json::from_value::<Order>(order).unwrap_err();
    chain(&Error::Order(error.into()))
}

#[test]
fn a_url_in_the_wrong_place_is_refused_without_its_query_or_password() {
    let query = json!({ "action": "register", "events": "https://host.example/hook?sig=Kq7Secret" });
    let password = json!({ "action": "register", "events": "https://user:Kq7Secret@host.example/" });
    for order in [
        query,
        password,
        json!({ "action": "register", "events": "x".repeat(100_000) }),
    ] {
        let said = unread(order);
        assert!(said.len() < 400 && said.contains("\"action\""), "{said}");
        assert!(!said.contains("sig=") && !said.contains("user:"), "{said}");
    }
    assert!(unread(json!({ "action": "inspect", "colour": 1 })).contains("colour"));
}
