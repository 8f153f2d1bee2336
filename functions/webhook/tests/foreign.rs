//! Posts with something done to them: whatever it is, only bytes that were signed are acted upon.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fuzz::proptest::prelude::{any, prop_assert};
use fuzz::proptest::sample::select;
use tokio::runtime::Runtime;
use webhook::Post;

use crate::world::{EVENT, World, signature_of};

const HEADERS: [&str; 3] = ["x-ms-signature", "x-ms-certificate-url", "x-ms-signature-algorithm"];

/// Runs on its own runtime, because the runner is not asynchronous.
#[test]
fn only_what_was_signed_is_ever_accepted() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let other = EVENT.replace("updated", "created");
    let malformed = EVENT.replace("referrals/2e6d0b71", "referrals/x");
    let signed = [EVENT, &other, &malformed].map(|body| (body.to_owned(), signature_of(&world.signed(body))));
    let genuine: HashSet<(Vec<u8>, String)> = signed
        .iter()
        .map(|(body, signature)| (body.clone().into_bytes(), signature.clone()))
        .collect();

    let bodies = fuzz::text(signed.clone().map(|(body, _)| body));
    let headers = world.genuine().headers;
    let values = fuzz::text(HEADERS.map(|name| headers[name].clone()));
    let cases = (
        any::<[bool; 3]>(),
        select(signed.to_vec()),
        bodies,
        select(&HEADERS[..]),
        values,
    );
    fuzz::check(
        "posts",
        file!(),
        400,
        cases,
        |([changes_body, changes_header, encodes], (body, signature), new_body, name, value)| {
            let mut headers = headers.clone();
            headers.insert("x-ms-signature".to_owned(), format!("Signature {signature}"));
            if changes_header {
                headers.insert(name.to_owned(), value);
            }
            let body = if changes_body { new_body } else { body };
            let bytes = body.clone().into_bytes();
            let sent = if encodes { STANDARD.encode(&bytes) } else { body };
            let claimed = headers["x-ms-signature"].trim().to_owned();
            let post = Post {
                headers,
                body: Some(sent),
                is_base64_encoded: encodes,
            };
            let status = runtime.block_on(world.deliver(&post));
            prop_assert!([200, 400, 401, 413].contains(&status), "{status}");
            if matches!(status, 200 | 400) {
                let is_genuine = genuine
                    .iter()
                    .any(|(body, signature)| *body == bytes && claimed.ends_with(signature.as_str()));
                prop_assert!(is_genuine, "{status} for what nobody signed");
            } else {
                prop_assert!(
                    changes_body || changes_header,
                    "a genuine post was refused with {status}"
                );
            }
            Ok(())
        },
    );
}
