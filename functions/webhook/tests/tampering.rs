//! Posts that are not what Partner Center sent: each is refused and leaves nothing on the queue.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rcgen::{KeyPair, PKCS_RSA_SHA256, PKCS_RSA_SHA512, SigningKey as _};
use rsa::pss;
use rsa::sha2::Sha256;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
use wiremock::ResponseTemplate;

use crate::world::{
    EVENT, LEAF, Made, Wish, World, rsa_key, signature_of, signer, with_body, with_header, without_header,
};

fn signature(bytes: impl AsRef<[u8]>) -> String {
    format!("Signature {}", STANDARD.encode(bytes))
}

// The body.

#[tokio::test]
async fn one_changed_byte_is_refused() {
    let world = World::new().await;
    let post = with_body(world.genuine(), EVENT.replace("5f28", "5f29"));
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn the_same_json_with_other_white_space_is_refused() {
    let world = World::new().await;
    let post = with_body(world.genuine(), EVENT.replace("\",\"", "\", \""));
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_body_with_a_line_feed_added_is_refused() {
    let world = World::new().await;
    let post = with_body(world.genuine(), format!("{EVENT}\n"));
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_shortened_body_is_refused() {
    let world = World::new().await;
    let post = with_body(world.genuine(), EVENT.strip_suffix('}').unwrap());
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_missing_body_is_refused() {
    let world = World::new().await;
    let mut post = world.genuine();
    post.body = None;
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn the_signature_of_another_event_is_refused() {
    let world = World::new().await;
    let other = world.signed(&EVENT.replace("updated", "created"));
    let post = with_header(world.genuine(), "x-ms-signature", &other.headers["x-ms-signature"]);
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn text_declared_to_be_base64_is_refused() {
    let world = World::new().await;
    let mut post = world.genuine();
    post.is_base64_encoded = true;
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn base64_declared_to_be_text_is_refused() {
    let world = World::new().await;
    let post = with_body(world.genuine(), STANDARD.encode(EVENT));
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large_even_when_signed() {
    let world = World::new().await;
    let large = format!("{EVENT}{}", " ".repeat(64 * 1024));
    world.refuses(&world.signed(&large), 413).await;
    assert!(world.fetched().await.is_empty());
}

#[tokio::test]
async fn a_base64_body_over_the_limit_is_too_large_too() {
    let world = World::new().await;
    for surplus in [1, 64 * 1024] {
        let padding = " ".repeat(64 * 1024 - EVENT.len() + surplus);
        let large = format!("{EVENT}{padding}");
        let mut post = with_body(world.signed(&large), STANDARD.encode(&large));
        post.is_base64_encoded = true;
        world.refuses(&post, 413).await;
    }
}

// The signature.

#[tokio::test]
async fn a_flipped_bit_of_the_signature_is_refused() {
    let world = World::new().await;
    let mut bytes = STANDARD.decode(signature_of(&world.genuine())).unwrap();
    bytes[100] ^= 1;
    let post = with_header(world.genuine(), "x-ms-signature", signature(bytes));
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_shortened_signature_is_refused() {
    let world = World::new().await;
    let bytes = STANDARD.decode(signature_of(&world.genuine())).unwrap();
    let post = with_header(world.genuine(), "x-ms-signature", signature(&bytes[..255]));
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_missing_signature_is_refused() {
    let world = World::new().await;
    let post = without_header(world.genuine(), "x-ms-signature");
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn an_empty_signature_is_refused() {
    let world = World::new().await;
    for text in ["", " ", "Signature", "Signature "] {
        world
            .refuses(&with_header(world.genuine(), "x-ms-signature", text), 401)
            .await;
    }
}

#[tokio::test]
async fn a_signature_in_another_alphabet_is_refused() {
    let world = World::new().await;
    let bytes = STANDARD.decode(signature_of(&world.genuine())).unwrap();
    for text in [
        URL_SAFE.encode(&bytes).replace('=', ""),
        "%%%".to_owned(),
        "0".repeat(512),
    ] {
        let post = with_header(world.genuine(), "x-ms-signature", format!("Signature {text}"));
        world.refuses(&post, 401).await;
    }
}

#[tokio::test]
async fn another_scheme_is_refused() {
    let world = World::new().await;
    let text = format!("Bearer {}", signature_of(&world.genuine()));
    let post = with_header(world.genuine(), "x-ms-signature", text);
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_bare_signature_as_authorization_is_refused() {
    let world = World::new().await;
    let bare = signature_of(&world.genuine());
    let post = with_header(without_header(world.genuine(), "x-ms-signature"), "authorization", bare);
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_bad_signature_is_not_saved_by_a_good_authorization() {
    let world = World::new().await;
    let good = world.genuine().headers["x-ms-signature"].clone();
    let post = with_header(world.genuine(), "authorization", good);
    let post = with_header(post, "x-ms-signature", signature([7; 256]));
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_signature_header_given_twice_is_refused() {
    let world = World::new().await;
    let value = world.genuine().headers["x-ms-signature"].clone();
    world
        .refuses(&with_header(world.genuine(), "X-MS-Signature", &value), 401)
        .await;
    let joined = with_header(world.genuine(), "x-ms-signature", format!("{value},{value}"));
    world.refuses_but_takes_the_genuine(&joined).await;
}

#[tokio::test]
async fn a_signature_by_another_key_is_refused() {
    let world = World::new().await;
    let bytes = signer(1, &PKCS_RSA_SHA256).sign(EVENT.as_bytes()).unwrap();
    let post = with_header(world.genuine(), "x-ms-signature", signature(bytes));
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_signature_over_another_hash_is_refused() {
    let world = World::new().await;
    let bytes = signer(0, &PKCS_RSA_SHA512).sign(EVENT.as_bytes()).unwrap();
    let post = with_header(world.genuine(), "x-ms-signature", signature(bytes));
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_signature_with_another_padding_is_refused() {
    let world = World::new().await;
    let key = pss::SigningKey::<Sha256>::new(rsa_key(0).clone());
    let bytes = key.sign_with_rng(&mut rsa::rand_core::OsRng, EVENT.as_bytes()).to_vec();
    let post = with_header(world.genuine(), "x-ms-signature", signature(bytes));
    world.refuses_but_takes_the_genuine(&post).await;
}

// The algorithm.

#[tokio::test]
async fn a_missing_algorithm_is_refused() {
    let world = World::new().await;
    let post = without_header(world.genuine(), "x-ms-signature-algorithm");
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn every_algorithm_but_the_documented_one_is_refused() {
    let world = World::new().await;
    for name in [
        "rsa-sha1",
        "rsa-md5",
        "rsa-sha512",
        "none",
        "hmac-sha256",
        "sha256",
        "rsa-sha256,rsa-sha1",
    ] {
        world
            .refuses(&with_header(world.genuine(), "x-ms-signature-algorithm", name), 401)
            .await;
    }
    assert!(world.fetched().await.is_empty());
}

// The certificate's location.

#[tokio::test]
async fn a_missing_certificate_location_is_refused() {
    let world = World::new().await;
    let post = without_header(world.genuine(), "x-ms-certificate-url");
    world.refuses_but_takes_the_genuine(&post).await;
}

#[tokio::test]
async fn a_certificate_on_a_host_that_is_not_listed_is_never_fetched() {
    let world = World::new().await;
    let elsewhere = World::new().await;
    let post = with_header(world.genuine(), "x-ms-certificate-url", elsewhere.url(LEAF));
    world.refuses(&post, 401).await;
    assert!(elsewhere.fetched().await.is_empty());
}

#[tokio::test]
async fn a_location_that_only_looks_listed_is_never_fetched() {
    let world = World::new().await;
    let elsewhere = World::new().await;
    let (listed, other) = (world.host.address().to_string(), elsewhere.host.address().to_string());
    for text in [
        format!("http://{listed}@{other}{LEAF}"),
        format!("http://{other}{LEAF}?host={listed}"),
        format!("http://{other}{LEAF}#@{listed}"),
        format!("http://{other}\\@{listed}{LEAF}"),
        format!("http://user@{listed}{LEAF}"),
        format!("http://localhost:{}{LEAF}", world.host.address().port()),
    ] {
        world
            .refuses(&with_header(world.genuine(), "x-ms-certificate-url", text), 401)
            .await;
    }
    assert!(world.fetched().await.is_empty());
    assert!(elsewhere.fetched().await.is_empty());
}

#[tokio::test]
async fn another_path_on_the_listed_host_is_never_fetched() {
    let world = World::new().await;
    for path in [
        "/cert/pcnotifications-dispatch.microsoft.com.cer?x=1",
        "/cert/../cert/pcnotifications-dispatch.microsoft.com.cer",
        "/cert/%2e%2e/x.cer",
        "/cert/a/b.cer",
        "/uploads/pcnotifications-dispatch.microsoft.com.cer",
        "/cert/pcnotifications-dispatch.microsoft.com.crt",
        "/",
    ] {
        let post = with_header(world.genuine(), "x-ms-certificate-url", world.url(path));
        world.refuses(&post, 401).await;
    }
    assert!(world.fetched().await.is_empty());
}

// What the host answers.

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let world = World::new().await;
    world.place("/elsewhere.cer", world.issuing.leaf(&Wish::leaf()).der);
    let redirect = ResponseTemplate::new(302).insert_header("location", world.url("/elsewhere.cer"));
    world.answer_with(LEAF, redirect);
    world.refuses(&world.genuine(), 401).await;
    assert_eq!(world.fetched().await, [LEAF]);
}

#[tokio::test]
async fn a_document_that_is_too_large_is_refused() {
    let world = World::new().await;
    let mut document = world.issuing.leaf(&Wish::leaf()).pem;
    document.push_str(&"\n".repeat(16 * 1024));
    world.place(LEAF, document);
    world.refuses(&world.genuine(), 401).await;
}

#[tokio::test]
async fn a_document_that_is_no_certificate_is_refused() {
    let world = World::new().await;
    let leaf = world.issuing.leaf(&Wish::leaf()).der;
    for document in [
        Vec::new(),
        b"<html></html>".to_vec(),
        leaf[..leaf.len() - 1].to_vec(),
        [&leaf[..], b"x"].concat(),
    ] {
        world.place(LEAF, document);
        world.refuses(&world.genuine(), 401).await;
    }
}

#[tokio::test]
async fn two_certificates_in_one_document_are_refused() {
    let world = World::new().await;
    world.place(
        LEAF,
        format!("{}{}", world.issuing.leaf(&Wish::leaf()).pem, world.issuing.pem),
    );
    world.refuses(&world.genuine(), 401).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_there_is_refused() {
    let world = World::new().await;
    let post = with_header(world.genuine(), "x-ms-certificate-url", world.url("/cert/other.cer"));
    world.refuses_but_takes_the_genuine(&post).await;
}

// The certificate.

async fn refuses_certificate(world: &World, leaf: &Made) {
    world.place(LEAF, leaf.der.clone());
    world.refuses(&world.genuine(), 401).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let world = World::new().await;
    let leaf = world.issuing.leaf(&Wish {
        years: (2024, 2026),
        ..Wish::leaf()
    });
    refuses_certificate(&world, &leaf).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_refused() {
    let world = World::new().await;
    let leaf = world.issuing.leaf(&Wish {
        years: (2027, 2028),
        ..Wish::leaf()
    });
    refuses_certificate(&world, &leaf).await;
}

#[tokio::test]
async fn a_trusted_issuer_of_another_organisation_is_refused() {
    for organisation in [
        None,
        Some("Contoso"),
        Some("Microsoft Corporation Ltd"),
        Some("microsoft corporation"),
    ] {
        let issuing = Wish {
            organisation,
            ..Wish::authority("Test Issuing CA")
        };
        let world = World::with_issuing(issuing).await;
        refuses_certificate(&world, &world.issuing.leaf(&Wish::leaf())).await;
    }
}

#[tokio::test]
async fn a_subject_of_another_organisation_is_refused() {
    let world = World::new().await;
    let leaf = world.issuing.leaf(&Wish {
        organisation: Some("Contoso"),
        ..Wish::leaf()
    });
    refuses_certificate(&world, &leaf).await;
}

#[tokio::test]
async fn a_self_signed_certificate_with_the_right_names_is_refused() {
    let world = World::new().await;
    let impostor = Made::root(&Wish::authority("Test Issuing CA"));
    refuses_certificate(&world, &impostor.leaf(&Wish::leaf())).await;
}

#[tokio::test]
async fn a_chain_to_a_root_that_is_not_trusted_is_refused() {
    let world = World::new().await;
    let root = Made::root(&Wish::authority("Test Root"));
    let issuing = root.by(&Wish::authority("Foreign Issuing CA"));
    world.place("/issuing.crt", issuing.der.clone());
    let leaf = issuing.leaf(&Wish {
        issuers: vec![world.url("/issuing.crt")],
        ..Wish::leaf()
    });
    refuses_certificate(&world, &leaf).await;
    assert_eq!(world.fetched().await, [LEAF, "/issuing.crt"]);
}

#[tokio::test]
async fn a_certificate_issued_by_one_that_is_no_authority_is_refused() {
    let world = World::new().await;
    let middle = world.issuing.by(&Wish {
        name: "Customer",
        ..Wish::leaf()
    });
    world.place("/middle.crt", middle.der.clone());
    let leaf = middle.leaf(&Wish {
        issuers: vec![world.url("/middle.crt")],
        ..Wish::leaf()
    });
    refuses_certificate(&world, &leaf).await;
    assert_eq!(world.fetched().await, [LEAF, "/middle.crt"]);
}

#[tokio::test]
async fn an_expired_issuer_is_refused() {
    let world = World::knowing_the_root_only().await;
    let issuing = world.root.by(&Wish {
        years: (2020, 2026),
        ..Wish::authority("Test Issuing CA")
    });
    world.place("/issuing.crt", issuing.der.clone());
    let leaf = issuing.leaf(&Wish {
        issuers: vec![world.url("/issuing.crt")],
        ..Wish::leaf()
    });
    refuses_certificate(&world, &leaf).await;
}

#[tokio::test]
async fn a_certificate_with_a_key_of_another_kind_is_refused() {
    let world = World::new().await;
    let key = KeyPair::generate().unwrap();
    let bytes = key.sign(EVENT.as_bytes()).unwrap();
    world.place(LEAF, world.issuing.with_key(&Wish::leaf(), key).der);
    world
        .refuses(&with_header(world.genuine(), "x-ms-signature", signature(bytes)), 401)
        .await;
}

#[tokio::test]
async fn an_issuer_on_a_host_that_is_not_listed_is_never_fetched() {
    let world = World::knowing_the_root_only().await;
    let elsewhere = World::new().await;
    elsewhere.place("/issuing.crt", world.issuing.der.clone());
    let leaf = world.issuing.leaf(&Wish {
        issuers: vec![elsewhere.url("/issuing.crt")],
        ..Wish::leaf()
    });
    refuses_certificate(&world, &leaf).await;
    assert!(elsewhere.fetched().await.is_empty());
}

#[tokio::test]
async fn a_chain_of_more_than_three_fetched_issuers_is_given_up() {
    let world = World::knowing_the_root_only().await;
    let mut issuer = Made::root(&Wish::authority("Nobody"));
    let names = ["/0.crt", "/1.crt", "/2.crt", "/3.crt"];
    for (step, path) in names.into_iter().enumerate() {
        let wish = if step == 0 {
            Wish::authority("Step 0")
        } else {
            Wish {
                issuers: vec![world.url(names[step - 1])],
                ..Wish::authority(["", "Step 1", "Step 2", "Step 3"][step])
            }
        };
        issuer = if step == 0 {
            world.root.by(&wish)
        } else {
            issuer.by(&wish)
        };
        world.place(path, issuer.der.clone());
    }
    let leaf = issuer.leaf(&Wish {
        issuers: vec![world.url("/3.crt")],
        ..Wish::leaf()
    });
    refuses_certificate(&world, &leaf).await;
    assert_eq!(world.fetched().await, [LEAF, "/3.crt", "/2.crt", "/1.crt"]);
}

// What a genuine signature cannot excuse.

#[tokio::test]
async fn a_signed_body_that_is_no_event_is_malformed() {
    let world = World::new().await;
    for body in [
        "",
        "null",
        "{}",
        "<xml/>",
        r#"{"EventName":"referral-created","ResourceUri":"https://h/referrals/42"}"#,
    ] {
        world.refuses(&world.signed(body), 400).await;
    }
}
