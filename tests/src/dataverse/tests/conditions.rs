//! The table of preconditions, by id and by alternate key.

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Bench;

const ANY: [(&str, &str); 1] = [("if-match", "*")];
const NONE: [(&str, &str); 1] = [("if-none-match", "*")];
const OLD: [(&str, &str); 1] = [("if-match", "W/\"1\"")];

fn body() -> Value {
    json!({ "description": "changed" })
}

async fn addresses(bench: &Bench) -> [String; 2] {
    let values = json!({ "name": "Deal", "cosell_referralidentifier": "f3b1a4c8" });
    let id = bench.dataverse.seller_creates("opportunity", &values).unwrap();
    [
        format!("opportunities({id})"),
        "opportunities(cosell_referralidentifier='F3B1a4c8')".to_owned(),
    ]
}

fn absent() -> [(String, &'static str); 2] {
    [
        (format!("opportunities({})", Uuid::new_v4()), "0x80040217"),
        (
            "opportunities(cosell_referralidentifier='nobody')".to_owned(),
            "0x80060891",
        ),
    ]
}

#[tokio::test]
async fn a_row_that_exists_is_updated_unless_a_condition_forbids_it() {
    let bench = Bench::new().await;
    for address in addresses(&bench).await {
        let etag = bench.get(&address).await.header("etag").to_owned();
        assert_eq!(
            bench.patch(&address, &NONE, &body()).await.refusal(),
            (412, "0x80040237".to_owned())
        );
        assert_eq!(
            bench.patch(&address, &OLD, &body()).await.refusal(),
            (412, "0x80060882".to_owned())
        );
        assert_eq!(
            bench.get(&address).await.header("etag"),
            etag,
            "a refusal changes nothing"
        );
        assert_eq!(bench.patch(&address, &[("if-match", &etag)], &body()).await.status, 204);
        assert_eq!(
            bench.patch(&address, &[("if-match", &etag)], &body()).await.status,
            412,
            "that etag is used up"
        );
        assert_eq!(bench.patch(&address, &ANY, &body()).await.status, 204);
        let plain = bench.patch(&address, &[], &body()).await;
        assert_eq!(plain.status, 204);
        assert!(
            plain.header("odata-entityid").ends_with(&address),
            "the address is repeated as it was given"
        );
    }
}

#[tokio::test]
async fn a_row_that_is_absent_is_created_unless_a_condition_forbids_it() {
    let bench = Bench::new().await;
    for (address, code) in absent() {
        assert_eq!(bench.get(&address).await.refusal(), (404, code.to_owned()));
        assert_eq!(
            bench.patch(&address, &ANY, &body()).await.refusal(),
            (404, code.to_owned())
        );
        assert_eq!(
            bench.patch(&address, &OLD, &body()).await.refusal(),
            (404, code.to_owned())
        );
        let delete = bench.send(Method::DELETE, &address, &[], "").await;
        assert_eq!(delete.refusal(), (404, code.to_owned()));
        assert_eq!(bench.patch(&address, &NONE, &body()).await.status, 204);
        assert_eq!(bench.get(&address).await.json()["description"], "changed");
    }
    for (address, _) in absent() {
        let created = bench
            .patch(&address, &[("prefer", "return=representation")], &body())
            .await;
        let expected = if address.contains("nobody") { 200 } else { 201 };
        assert_eq!(created.status, expected);
        assert_eq!(created.header("preference-applied"), "return=representation");
        assert_eq!(created.header("etag"), created.json()["@odata.etag"]);
    }
}

#[tokio::test]
async fn creating_by_id_meets_a_key_that_another_row_holds() {
    let bench = Bench::new().await;
    addresses(&bench).await;
    let address = format!("opportunities({})", Uuid::new_v4());
    let taken = bench
        .patch(&address, &NONE, &json!({ "cosell_referralidentifier": "f3b1a4c8" }))
        .await;
    assert_eq!(taken.refusal(), (412, "0x80060892".to_owned()));
    assert_eq!(bench.get(&address).await.status, 404);
}

#[tokio::test]
async fn key_values_in_a_body_are_ignored_on_update_and_win_on_create() {
    let bench = Bench::new().await;
    let [_, address] = addresses(&bench).await;
    let other = json!({ "cosell_referralidentifier": "other" });
    assert_eq!(bench.patch(&address, &ANY, &other).await.status, 204);
    assert_eq!(bench.get(&address).await.status, 200);
    assert_eq!(
        bench
            .patch("opportunities(cosell_referralidentifier='fresh')", &NONE, &other)
            .await
            .status,
        204
    );
    assert_eq!(
        bench
            .get("opportunities(cosell_referralidentifier='fresh')")
            .await
            .status,
        404
    );
    assert_eq!(
        bench
            .get("opportunities(cosell_referralidentifier='other')")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_known_version_is_not_sent_again() {
    let bench = Bench::new().await;
    let address = format!("opportunities({})", bench.opportunity("Deal"));
    let etag = bench.get(&address).await.header("etag").to_owned();
    let known = [("if-none-match", etag.as_str())];
    assert_eq!(bench.send(Method::GET, &address, &known, "").await.status, 304);
    let expanded = format!("{address}?$expand=owninguser($select=fullname)");
    assert_eq!(bench.send(Method::GET, &expanded, &known, "").await.status, 200);
    assert_eq!(
        bench
            .send(Method::GET, &address, &[("if-none-match", "null")], "")
            .await
            .status,
        200
    );
    bench.patch(&address, &[], &body()).await;
    assert_eq!(bench.send(Method::GET, &address, &known, "").await.status, 200);
}

#[tokio::test]
async fn deleting_stands_on_the_version_too() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    let address = format!("opportunities({id})");
    assert_eq!(
        bench.send(Method::DELETE, &address, &OLD, "").await.refusal(),
        (412, "0x80060882".to_owned())
    );
    let etag = bench.etag(id);
    assert_eq!(
        bench
            .send(Method::DELETE, &address, &[("if-match", &etag)], "")
            .await
            .status,
        204
    );
    assert!(bench.dataverse.row("opportunity", id).is_none());
}

#[tokio::test]
async fn conditions_that_mean_nothing_are_refused() {
    let bench = Bench::new().await;
    let address = format!("opportunities({})", bench.opportunity("Deal"));
    let both = [("if-match", "*"), ("if-none-match", "*")];
    for headers in [&both[..], &[("if-match", "5128801")], &[("if-match", "\"5128801\"")]] {
        assert_eq!(bench.patch(&address, headers, &body()).await.status, 400);
    }
    let post = bench.send(Method::POST, "opportunities", &ANY, "{}").await;
    assert_eq!(post.status, 400, "nobody may believe a create to be protected");
}

#[tokio::test]
async fn a_plug_in_may_bump_the_version_or_refuse() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    let address = format!("opportunities({id})?$select=versionnumber");
    bench.dataverse.plugin_bumps_version(true);
    let written = bench
        .patch(
            &address,
            &[("if-match", "*"), ("prefer", "return=representation")],
            &body(),
        )
        .await;
    assert_ne!(written.header("etag"), bench.etag(id));
    bench.dataverse.plugin(|table, _, changes| match changes.get("name") {
        Some(name) if name == "forbidden" => Err(format!("no such name on {table}")),
        _ => {
            changes.set("customerneed", &"from the plug-in".into());
            Ok(())
        }
    });
    let refused = bench.patch(&address, &ANY, &json!({ "name": "forbidden" })).await;
    assert_eq!(refused.refusal(), (400, "0x80040265".to_owned()));
    assert_eq!(refused.json()["error"]["message"], "no such name on opportunity");
    assert_eq!(bench.patch(&address, &ANY, &body()).await.status, 204);
    assert_eq!(bench.row(id)["customerneed"], "from the plug-in");
}
