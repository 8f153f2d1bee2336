//! Genuine posts: every form Partner Center may use, what reaches the queue, and how often anything is fetched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{PKCS_RSA_SHA256, SigningKey as _};
use serde_json::{Value, json};
use webhook::Post;
use wiremock::matchers::method;
use wiremock::{Mock, ResponseTemplate};

use crate::world::{
    EVENT, LEAF, Made, Wish, World, minutes_later, signature_of, signer, with_body, with_header, without_header,
};

async fn takes(world: &World, post: &Post) {
    let before = world.queued().await.len();
    assert_eq!(world.deliver(post).await, 200);
    assert_eq!(world.queued().await.len(), before + 1);
}

// The message.

#[tokio::test]
async fn a_genuine_post_becomes_one_hint() {
    let world = World::new().await;
    assert_eq!(world.deliver(&world.genuine()).await, 200);
    let queued = world.queued().await;
    assert_eq!(queued.len(), 1);
    let hint: Value = serde_json::from_str(queued[0]["MessageBody"].as_str().unwrap()).unwrap();
    let expected = json!({
        "referral": "2e6d0b71-93c4-4f5a-8d17-0a9c6b3e5f28",
        "cause": "referral-updated",
        "changed_at": "2026-02-03T08:41:20.1184402Z"
    });
    assert_eq!(hint, expected);
    assert_eq!(queued[0]["MessageGroupId"], "2e6d0b71-93c4-4f5a-8d17-0a9c6b3e5f28");
    assert!(queued[0]["QueueUrl"].as_str().unwrap().ends_with("/hints.fifo"));
}

#[tokio::test]
async fn the_same_delivery_twice_has_the_same_key_and_another_change_has_another() {
    let world = World::new().await;
    let later = EVENT.replace("08:41:20", "08:41:21");
    for post in [world.genuine(), world.genuine(), world.signed(&later)] {
        assert_eq!(world.deliver(&post).await, 200);
    }
    let queued = world.queued().await;
    let key = |index: usize| queued[index]["MessageDeduplicationId"].as_str().unwrap();
    assert_eq!(key(0), key(1));
    assert_ne!(key(0), key(2));
    assert_eq!(key(0).len(), 64);
}

// The forms.

#[tokio::test]
async fn the_signature_may_come_as_authorization() {
    let world = World::new().await;
    let value = world.genuine().headers["x-ms-signature"].clone();
    for name in ["authorization", "Authorization"] {
        let post = with_header(without_header(world.genuine(), "x-ms-signature"), name, &value);
        takes(&world, &post).await;
    }
}

#[tokio::test]
async fn the_signature_in_its_own_header_is_preferred() {
    let world = World::new().await;
    let post = with_header(world.genuine(), "authorization", "Bearer of-somebody-in-between");
    takes(&world, &post).await;
}

#[tokio::test]
async fn scheme_and_algorithm_are_read_in_any_case_and_the_scheme_may_be_left_out() {
    let world = World::new().await;
    let bare = signature_of(&world.genuine());
    for value in [format!("signature {bare}"), format!("SIGNATURE  {bare}"), bare.clone()] {
        let post = with_header(world.genuine(), "x-ms-signature", value);
        takes(&world, &with_header(post, "x-ms-signature-algorithm", "RSA-SHA256")).await;
    }
}

#[tokio::test]
async fn header_names_are_read_in_any_case() {
    let world = World::new().await;
    let mut post = world.genuine();
    post.headers = post
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_uppercase(), value))
        .collect();
    takes(&world, &post).await;
}

#[tokio::test]
async fn a_body_in_base64_is_verified_as_the_bytes_it_stands_for() {
    let world = World::new().await;
    let mut post = with_body(world.genuine(), STANDARD.encode(EVENT));
    post.is_base64_encoded = true;
    takes(&world, &post).await;
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_taken() {
    let world = World::new().await;
    let body = format!("{EVENT}{}", " ".repeat(64 * 1024 - EVENT.len()));
    takes(&world, &world.signed(&body)).await;
}

#[tokio::test]
async fn the_certificate_may_be_pem_and_may_lack_an_organisation_in_its_subject() {
    let world = World::new().await;
    let leaf = world.issuing.leaf(&Wish {
        organisation: None,
        ..Wish::leaf()
    });
    world.place(LEAF, leaf.pem);
    takes(&world, &world.genuine()).await;
}

#[tokio::test]
async fn an_event_as_the_gateway_sends_it_is_read() {
    let world = World::new().await;
    let genuine = world.genuine();
    let event = json!({
        "version": "2.0",
        "routeKey": "POST /webhook",
        "rawPath": "/webhook",
        "headers": genuine.headers,
        "requestContext": { "http": { "method": "POST", "path": "/webhook" } },
        "body": genuine.body,
        "isBase64Encoded": false
    });
    takes(&world, &serde_json::from_value(event).unwrap()).await;
}

// Events that make no hint.

#[tokio::test]
async fn a_test_event_is_answered_and_leaves_nothing() {
    let world = World::new().await;
    let body = r#"{"EventName":"test-created","ResourceUri":"http://api.partnercenter.microsoft.com/webhooks/v1/registration/validationEvents/4c7a2f1d-8e90-4b35-a6d1-0f9e8d7c6b5a","ResourceName":"test","AuditUri":null,"ResourceChangeUtcDate":"2026-01-27T16:20:44.0937715+00:00"}"#;
    world.refuses(&world.signed(body), 200).await;
}

#[tokio::test]
async fn an_event_of_another_family_is_answered_and_leaves_nothing() {
    let world = World::new().await;
    for name in ["invoice-ready", "referral-deleted", "Referral-Updated", ""] {
        world
            .refuses(&world.signed(&EVENT.replace("referral-updated", name)), 200)
            .await;
    }
}

// The queue.

#[tokio::test]
async fn a_queue_that_refuses_is_answered_503() {
    let world = World::new().await;
    let refusal = ResponseTemplate::new(400).set_body_json(json!({ "__type": "com.amazonaws.sqs#QueueDoesNotExist" }));
    Mock::given(method("POST"))
        .respond_with(refusal)
        .mount(&world.queue)
        .await;
    assert_eq!(world.deliver(&world.genuine()).await, 503);
}

#[tokio::test]
async fn a_queue_that_fails_once_is_asked_again() {
    let world = World::new().await;
    let failure = ResponseTemplate::new(500);
    Mock::given(method("POST"))
        .respond_with(failure)
        .up_to_n_times(1)
        .mount(&world.queue)
        .await;
    assert_eq!(world.deliver(&world.genuine()).await, 200);
    let queued = world.queued().await;
    assert_eq!(queued.len(), 2);
    assert_eq!(queued[0], queued[1]);
}

// The certificate's life.

#[tokio::test]
async fn a_certificate_is_fetched_once_for_many_posts() {
    let world = World::new().await;
    for _ in 0..3 {
        takes(&world, &world.genuine()).await;
    }
    assert_eq!(world.fetched().await, [LEAF]);
}

#[tokio::test]
async fn a_kept_certificate_is_fetched_anew_after_hours() {
    let world = World::new().await;
    for minutes in [0, 5 * 60, 7 * 60] {
        assert_eq!(world.deliver_at(&world.genuine(), minutes_later(minutes)).await, 200);
    }
    assert_eq!(world.fetched().await.len(), 2);
}

#[tokio::test]
async fn a_kept_certificate_is_not_used_past_its_end() {
    let world = World::new().await;
    let last_day = "2026-12-31T23:59:00Z".parse().unwrap();
    assert_eq!(world.deliver_at(&world.genuine(), last_day).await, 200);
    let new_year = "2027-01-01T00:00:01Z".parse().unwrap();
    assert_eq!(world.deliver_at(&world.genuine(), new_year).await, 401);
    assert_eq!(world.queued().await.len(), 1);
}

#[tokio::test]
async fn a_kept_certificate_is_not_used_past_the_end_of_its_issuer() {
    let world = World::knowing_the_root_only().await;
    let issuing = world.root.by(&Wish {
        years: (2020, 2027),
        ..Wish::authority("Test Issuing CA")
    });
    world.place("/issuing.crt", issuing.der.clone());
    let leaf = Wish {
        years: (2026, 2030),
        issuers: vec![world.url("/issuing.crt")],
        ..Wish::leaf()
    };
    world.place(LEAF, issuing.leaf(&leaf).der);
    let last_day = "2026-12-31T23:59:00Z".parse().unwrap();
    assert_eq!(world.deliver_at(&world.genuine(), last_day).await, 200);
    let new_year = "2027-01-01T00:00:01Z".parse().unwrap();
    assert_eq!(world.deliver_at(&world.genuine(), new_year).await, 401);
}

#[tokio::test]
async fn a_certificate_renewed_at_the_same_location_is_found() {
    let world = World::new().await;
    takes(&world, &world.genuine()).await;
    world.place(
        LEAF,
        world.issuing.with_key(&Wish::leaf(), signer(1, &PKCS_RSA_SHA256)).der,
    );
    let bytes = signer(1, &PKCS_RSA_SHA256).sign(EVENT.as_bytes()).unwrap();
    let post = with_header(world.genuine(), "x-ms-signature", STANDARD.encode(bytes));
    takes(&world, &post).await;
    takes(&world, &post).await;
    assert_eq!(world.fetched().await, [LEAF, LEAF]);
}

#[tokio::test]
async fn forged_posts_cannot_make_us_hammer_the_certificate_host() {
    let world = World::new().await;
    takes(&world, &world.genuine()).await;
    let forged = with_body(world.genuine(), "{}");
    for _ in 0..20 {
        assert_eq!(world.deliver(&forged).await, 401);
    }
    assert_eq!(world.fetched().await.len(), 2);
    assert_eq!(world.deliver_at(&forged, minutes_later(1)).await, 401);
    assert_eq!(world.fetched().await.len(), 3);
    takes(&world, &world.genuine()).await;
}

#[tokio::test]
async fn a_failed_renewal_keeps_the_certificate_that_is_known() {
    let world = World::new().await;
    takes(&world, &world.genuine()).await;
    world.place(LEAF, "gone");
    assert_eq!(world.deliver(&with_body(world.genuine(), "{}")).await, 401);
    takes(&world, &world.genuine()).await;
}

#[tokio::test]
async fn only_so_many_certificates_are_kept() {
    let world = World::new().await;
    let leaf = world.issuing.leaf(&Wish::leaf()).der;
    let posts: Vec<Post> = (0..9)
        .map(|number| {
            let path = format!("/cert/{number}.cer");
            world.place(&path, leaf.clone());
            with_header(world.genuine(), "x-ms-certificate-url", world.url(&path))
        })
        .collect();
    for post in &posts {
        takes(&world, post).await;
    }
    assert_eq!(world.fetched().await.len(), 9);
    takes(&world, &posts[8]).await;
    assert_eq!(world.fetched().await.len(), 9);
    takes(&world, &posts[0]).await;
    assert_eq!(world.fetched().await.len(), 10);
}

#[tokio::test]
async fn a_host_in_trouble_is_no_verdict_and_is_not_remembered() {
    let world = World::new().await;
    world.answer_with(LEAF, ResponseTemplate::new(500));
    world.refuses(&world.genuine(), 503).await;
    world.place(LEAF, world.issuing.leaf(&Wish::leaf()).der);
    takes(&world, &world.genuine()).await;
}

#[tokio::test]
async fn a_refused_certificate_is_not_remembered() {
    let world = World::new().await;
    world.place(LEAF, "not yet");
    world.refuses(&world.genuine(), 401).await;
    world.place(LEAF, world.issuing.leaf(&Wish::leaf()).der);
    takes(&world, &world.genuine()).await;
}

// The chain.

#[tokio::test]
async fn missing_issuers_are_found_step_by_step_and_kept() {
    let world = World::knowing_the_root_only().await;
    let top = world.root.by(&Wish::authority("Test Policy CA"));
    let middle = top.by(&Wish {
        issuers: vec![world.url("/top.crt")],
        ..Wish::authority("Test Middle CA")
    });
    let issuing = middle.by(&Wish {
        issuers: vec![world.url("/middle.cer")],
        ..Wish::authority("Test Issuing CA")
    });
    world.place("/top.crt", top.pem.clone());
    world.place("/middle.cer", middle.der.clone());
    world.place("/issuing.crt", issuing.der.clone());
    let leaf = issuing.leaf(&Wish {
        issuers: vec![world.url("/issuing.crt")],
        ..Wish::leaf()
    });
    world.place(LEAF, leaf.der.clone());
    takes(&world, &world.genuine()).await;
    assert_eq!(world.fetched().await, [LEAF, "/issuing.crt", "/middle.cer", "/top.crt"]);

    world.place("/cert/next.cer", leaf.der);
    let post = with_header(world.genuine(), "x-ms-certificate-url", world.url("/cert/next.cer"));
    takes(&world, &post).await;
    assert_eq!(world.fetched().await.len(), 5);
}

#[tokio::test]
async fn of_several_certificates_of_one_issuer_the_one_that_holds_is_used() {
    let world = World::knowing_the_root_only().await;
    let dead = world.root.by(&Wish {
        years: (2020, 2026),
        ..Wish::authority("Test Issuing CA")
    });
    let alive = dead.cross_signed(&Wish::authority("Test Issuing CA"), &world.root);
    world.place("/dead.crt", dead.der.clone());
    world.place("/alive.crt", alive.der);
    let issuers = vec![world.url("/dead.crt"), world.url("/alive.crt")];
    world.place(
        LEAF,
        dead.leaf(&Wish {
            issuers,
            ..Wish::leaf()
        })
        .der,
    );
    takes(&world, &world.genuine()).await;
}

#[tokio::test]
async fn a_root_that_is_not_ours_is_reached_through_its_cross_signed_copy() {
    let world = World::knowing_the_root_only().await;
    let new_root = Made::root(&Wish::authority("Newer Root"));
    let copy = new_root.cross_signed(&Wish::authority("Newer Root"), &world.root);
    let issuing = new_root.by(&Wish {
        issuers: vec![world.url("/root-xsign.crt")],
        ..Wish::authority("Newer CA")
    });
    world.place("/root-xsign.crt", copy.der);
    world.place("/issuing.crt", issuing.der.clone());
    world.place(
        LEAF,
        issuing
            .leaf(&Wish {
                issuers: vec![world.url("/issuing.crt")],
                ..Wish::leaf()
            })
            .der,
    );
    takes(&world, &world.genuine()).await;
}

#[tokio::test]
async fn an_issuer_that_cannot_be_fetched_just_now_is_no_verdict() {
    let world = World::knowing_the_root_only().await;
    world.answer_with("/issuing.crt", ResponseTemplate::new(503));
    let leaf = world.issuing.leaf(&Wish {
        issuers: vec![world.url("/issuing.crt")],
        ..Wish::leaf()
    });
    world.place(LEAF, leaf.der);
    world.refuses(&world.genuine(), 503).await;
    world.place("/issuing.crt", world.issuing.der.clone());
    takes(&world, &world.genuine()).await;
}
