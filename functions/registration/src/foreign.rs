//! Orders as operators mistype them.

use fuzz::proptest::prelude::prop_assert;
use serde_json::{Value, json};

use super::*;

/// Stands where the key of somebody else's webhook does.
const KEY: &str = "Kq7Secret";

#[test]
fn an_order_is_refused_in_few_words_and_without_the_key_of_a_url() {
    let corpus = [
        json!({ "action": "inspect" }),
        json!({ "action": "register", "webhook_url": "https://host.example/hook?sig=Kq7Secret", "events": ["test-created"], "overwrite": true }),
        json!({ "action": "prove", "events": null }),
    ];
    fuzz::check(
        "orders of registration",
        file!(),
        4_000,
        fuzz::json(corpus.map(|order| order.to_string())),
        |text| {
            let Ok(order) = serde_json::from_str::<Value>(&text) else {
                return Ok(());
            };
            if let Err(error) = serde_json::from_value::<Order>(order) {
                let said = chain(&Error::Order(error.into()));
                prop_assert!(said.chars().count() <= 300, "{said}");
                // Unless a mutation took the question mark away, and the key is part of the path.
                prop_assert!(!text.contains("?sig=Kq7Secret") || !said.contains(KEY), "{said}");
            }
            Ok(())
        },
    );
}
