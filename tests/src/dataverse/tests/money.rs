//! Amounts keep their digits.

use http::Method;
use serde_json::json;

use super::Bench;
use crate::dataverse::seed;

const REPRESENTATION: [(&str, &str); 1] = [("prefer", "return=representation")];

async fn stored(bench: &Bench, amount: &str) -> String {
    let body = format!("{{\"estimatedvalue\":{amount}}}");
    let reply = bench
        .send(
            Method::POST,
            "opportunities?$select=estimatedvalue",
            &REPRESENTATION,
            &body,
        )
        .await;
    let (_, behind) = reply
        .text
        .split_once("\"estimatedvalue\":")
        .unwrap_or_else(|| panic!("{}", reply.text));
    behind.split(',').next().unwrap().to_owned()
}

#[tokio::test]
async fn an_amount_comes_back_with_four_places_and_all_its_digits() {
    let bench = Bench::new().await;
    for (sent, kept) in [
        ("125000.5", "125000.5000"),
        ("0.1", "0.1000"),
        ("987654321098.76", "987654321098.7600"),
        ("1.25e5", "125000.0000"),
        ("0.005", "0.0100"),
        ("-0.004", "0.0000"),
        ("1000000000000", "1000000000000.0000"),
    ] {
        assert_eq!(stored(&bench, sent).await, kept, "{sent}");
    }
}

#[tokio::test]
async fn the_currency_decides_how_an_amount_is_rounded() {
    let bench = Bench::new().await;
    let yen = bench.dataverse.add_currency("JPY", 0, 150.0).unwrap();
    let body = json!({ "estimatedvalue": 100.5, "transactioncurrencyid@odata.bind": format!("/transactioncurrencies({yen})") });
    let id = bench.dataverse.seller_creates("opportunity", &body).unwrap();
    let text = bench.dataverse.row_text("opportunity", id).unwrap();
    assert!(text.contains("\"estimatedvalue\":101.0000"), "{text}");
    assert!(text.contains("\"estimatedvalue_base\":0.6733"), "{text}");
    assert!(text.contains(&format!("\"_transactioncurrencyid_value\":\"{yen}\"")));
    let euro = json!({ "transactioncurrencyid@odata.bind": format!("transactioncurrencies({})", seed::EUR) });
    bench.dataverse.seller_edits(id, &euro).unwrap();
    let text = bench.dataverse.row_text("opportunity", id).unwrap();
    assert!(text.contains("\"estimatedvalue_base\":112.2222"), "{text}");
}

#[tokio::test]
async fn an_amount_must_be_a_number_within_bounds() {
    let bench = Bench::new().await;
    let text = bench
        .post("opportunities", &json!({ "estimatedvalue": "125000" }))
        .await;
    assert_eq!(text.refusal(), (400, "0x80048d19".to_owned()));
    let large = bench
        .send(
            Method::POST,
            "opportunities",
            &[],
            "{\"estimatedvalue\":1000000000000.01}",
        )
        .await;
    assert_eq!(large.refusal(), (400, "0x80044330".to_owned()));
}

#[tokio::test]
async fn a_product_total_replaces_a_written_estimate() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    let body = json!({ "isrevenuesystemcalculated": true, "estimatedvalue": 5 });
    assert_eq!(
        bench.patch(&format!("opportunities({id})"), &[], &body).await.status,
        204
    );
    assert_eq!(bench.row(id)["estimatedvalue"], 0.0);
}
