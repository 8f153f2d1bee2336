//! Headers as strangers send them.

use fuzz::proptest::collection::vec;
use fuzz::proptest::prelude::{prop_assert, prop_assert_eq};
use fuzz::proptest::sample::select;

use super::*;

#[test]
fn a_signature_is_the_one_value_of_one_header() {
    let names = select(vec![
        "x-ms-signature",
        "X-MS-Signature",
        "authorization",
        "Authorization",
        "x-ms-signature-x",
    ]);
    let values = [
        "Signature c2lnbmF0dXJl",
        "signature  AA==",
        "c2lnbmF0dXJl",
        "Bearer c2lnbmF0dXJl",
        "Signature",
        "",
    ];
    let headers = vec((names, fuzz::text(values)), 0..4);
    fuzz::check("signature headers", file!(), 8_000, headers, |headers| {
        let headers: HashMap<String, String> = headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let Ok(bytes) = signature(&headers) else {
            return Ok(());
        };
        let named = |name: &str| -> Vec<&str> {
            let found = headers.iter().filter(|(key, _)| key.to_ascii_lowercase() == name);
            found.map(|(_, value)| value.trim()).collect()
        };
        let (own, shared) = (named("x-ms-signature"), named("authorization"));
        // The header of our own counts unless it is blank or doubled; the other is never read without its scheme.
        let (value, is_own) = match (&own[..], &shared[..]) {
            ([value], _) if !value.is_empty() => (*value, true),
            (_, [value]) => (*value, false),
            _ => {
                prop_assert!(false, "a signature came out of {headers:?}");
                return Ok(());
            }
        };
        let lower = value.to_ascii_lowercase();
        let encoded = match lower.strip_prefix("signature ") {
            Some(rest) => value.split_at(value.len() - rest.len()).1.trim(),
            None => {
                prop_assert!(is_own, "a scheme of others was read");
                value
            }
        };
        prop_assert_eq!(STANDARD.encode(bytes), encoded);
        Ok(())
    });
}
