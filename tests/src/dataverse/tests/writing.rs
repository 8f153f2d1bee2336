//! What a body may say.

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Bench;
use crate::dataverse::seed;

async fn refused(bench: &Bench, body: Value) -> (u16, String) {
    let before = bench.dataverse.version();
    let reply = bench.post("opportunities", &body).await;
    assert_eq!(bench.dataverse.version(), before, "{body}");
    reply.refusal()
}

#[tokio::test]
async fn bodies_are_checked_against_the_definition() {
    let bench = Bench::new().await;
    let account = bench.dataverse.add_account("Fabrikam").unwrap();
    let at = |set: &str| format!("/{set}({account})");
    for (body, code) in [
        (json!({ "estimatedvalu": 1 }), "0x80048d19"),
        (json!({ "Name": "x" }), "0x80048d19"),
        (json!({ "name": 5 }), "0x80048d19"),
        (json!({ "name": "x".repeat(301) }), "0x80044331"),
        (json!({ "name": "\u{1f600}".repeat(151) }), "0x80044331"),
        (json!({ "cosell_howcanmicrosofthelp": 1 }), "0x8004431a"),
        (json!({ "cosell_howcanmicrosofthelp": "727000000" }), "0x80048d19"),
        (json!({ "closeprobability": 101 }), "0x8004432f"),
        (json!({ "closeprobability": 1.5 }), "0x80048d19"),
        (json!({ "estimatedclosedate": "2026-03-31T00:00:00Z" }), "0x80048d19"),
        (json!({ "estimatedclosedate": "2026-02-30" }), "0x80048d19"),
        (json!({ "cosell_syncwithpartnercenter": "true" }), "0x80048d19"),
        (json!({ "customerid@odata.bind": at("accounts") }), "0x80048d19"),
        (json!({ "CustomerId_Account@odata.bind": at("accounts") }), "0x80048d19"),
        (json!({ "customerid_account@odata.bind": at("contacts") }), "0x80048d19"),
        (json!({ "customerid_account": { "name": "deep" } }), "0x80048d19"),
        (json!({ "_parentaccountid_value": account.to_string() }), "0x80048d19"),
        (json!({ "transactioncurrencyid": null }), "0x80048cfb"),
        (json!({ "ownerid": null }), "0x80040203"),
        (json!([]), "0x80048d19"),
    ] {
        assert_eq!(refused(&bench, body.clone()).await, (400, code.to_owned()), "{body}");
    }
    let missing = json!({ "parentaccountid@odata.bind": format!("/accounts({})", Uuid::new_v4()) });
    assert_eq!(refused(&bench, missing).await, (404, "0x80040217".to_owned()));
    assert_eq!(
        bench
            .post("transactioncurrencies", &json!({ "isocurrencycode": "JPY" }))
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn what_is_not_writable_is_dropped_without_a_word() {
    let bench = Bench::new().await;
    let body = json!({ "name": "Deal", "modifiedon": "2001-01-01T00:00:00Z", "versionnumber": 5, "exchangerate": 7.5,
                       "estimatedvalue_base": 3, "totalamount": 9, "@odata.type": "Microsoft.Dynamics.CRM.opportunity",
                       "owninguser@odata.bind": format!("/systemusers({})", seed::SELLER) });
    let headers = [("prefer", "return=representation")];
    let reply = bench
        .send(Method::POST, "opportunities", &headers, &body.to_string())
        .await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.header("odata-entityid"), "");
    let row = reply.json();
    assert_eq!(
        (row["totalamount"].clone(), row["exchangerate"].clone()),
        (Value::Null, json!(1.0))
    );
    assert_ne!(row["versionnumber"], 5);
    assert_eq!(row["_owninguser_value"], seed::APPLICATION_USER.to_string());
    assert_eq!(row["@odata.etag"], format!("W/\"{}\"", row["versionnumber"]));
    assert!(row["modifiedon"].as_str().unwrap().ends_with('Z') && row["modifiedon"].as_str().unwrap().len() == 20);
}

#[tokio::test]
async fn lookups_are_bound_and_cleared_in_every_documented_spelling() {
    let bench = Bench::new().await;
    let account = bench.dataverse.add_account("Fabrikam").unwrap();
    let id = bench.opportunity("Deal");
    let address = format!("opportunities({id})");
    let absolute = format!("{}/api/data/v9.2/accounts({account})", bench.dataverse.url());
    for url in [
        format!("/accounts({account})"),
        format!("accounts({account})"),
        absolute,
    ] {
        let bound = bench
            .patch(&address, &[], &json!({ "parentaccountid@odata.bind": url }))
            .await;
        assert_eq!(bound.status, 204, "{}", bound.text);
        assert_eq!(bench.row(id)["_parentaccountid_value"], account.to_string());
        bench.patch(&address, &[], &json!({ "parentaccountid": null })).await;
        assert_eq!(bench.row(id)["_parentaccountid_value"], Value::Null);
    }
    bench
        .patch(
            &address,
            &[],
            &json!({ "customerid_account@odata.bind": format!("/accounts({account})") }),
        )
        .await;
    assert_eq!(
        bench
            .send(Method::DELETE, &format!("{address}/customerid_account/$ref"), &[], "")
            .await
            .status,
        204
    );
    assert_eq!(bench.row(id)["_customerid_value"], Value::Null);
    let solution = json!({ "cosell_name": "SOL-1", "cosell_OpportunityId@odata.bind": format!("/{address}") });
    assert_eq!(bench.post("cosell_dealsolutions", &solution).await.status, 204);
    let small = json!({ "cosell_opportunityid@odata.bind": format!("/{address}") });
    assert_eq!(bench.post("cosell_dealsolutions", &small).await.code(), "0x80048d19");
    let found = bench
        .get(&format!(
            "cosell_dealsolutions?$filter=_cosell_opportunityid_value eq {id}"
        ))
        .await;
    assert_eq!(found.ids("cosell_name"), ["SOL-1"]);
}

#[tokio::test]
async fn single_values_are_put_and_cleared() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    let address = format!("opportunities({id})/description");
    assert_eq!(
        bench.send(Method::PUT, &address, &[], "{\"value\":\"x\"}").await.status,
        204
    );
    assert_eq!(bench.row(id)["description"], "x");
    assert_eq!(bench.send(Method::DELETE, &address, &[], "").await.status, 204);
    assert_eq!(bench.row(id)["description"], Value::Null);
}

#[tokio::test]
async fn a_client_may_choose_the_id_of_a_new_row_once() {
    let bench = Bench::new().await;
    let id = Uuid::new_v4();
    let body = json!({ "opportunityid": id.to_string(), "name": "Deal" });
    let created = bench.post("opportunities", &body).await;
    assert_eq!(
        created.header("location"),
        format!("{}/api/data/v9.2/opportunities({id})", bench.dataverse.url())
    );
    assert_eq!(created.header("odata-entityid"), created.header("location"));
    assert_eq!(
        bench.post("opportunities", &body).await.refusal(),
        (412, "0x80040237".to_owned())
    );
}

#[tokio::test]
async fn text_at_its_limit_is_kept_and_empty_text_is_null() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    let address = format!("opportunities({id})");
    let longest = "\u{1f600}".repeat(150);
    assert_eq!(
        bench
            .patch(&address, &[], &json!({ "name": longest, "description": "" }))
            .await
            .status,
        204
    );
    assert_eq!(bench.row(id)["name"], longest);
    assert_eq!(bench.row(id)["description"], Value::Null);
    bench.dataverse.trims_text(true);
    bench.patch(&address, &[], &json!({ "name": " x " })).await;
    assert_eq!(bench.row(id)["name"], "x");
}

#[tokio::test]
async fn people_and_the_connector_leave_different_names() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    assert_eq!(bench.row(id)["_modifiedby_value"], seed::SELLER.to_string());
    bench
        .patch(&format!("opportunities({id})"), &[], &json!({ "name": "x" }))
        .await;
    let row = bench.row(id);
    assert_eq!(row["_modifiedby_value"], seed::APPLICATION_USER.to_string());
    assert_eq!(
        (row["_createdby_value"].clone(), row["_ownerid_value"].clone()),
        (json!(seed::SELLER.to_string()), json!(seed::SELLER.to_string()))
    );
}
