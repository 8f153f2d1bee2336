//! The state model: open, won, lost, and back.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Bench;

fn closing(id: Uuid, status: i64) -> Value {
    json!({ "Status": status, "OpportunityClose": {
        "subject": "Closed", "opportunityid@odata.bind": format!("/opportunities({id})") } })
}

fn stage(bench: &Bench, id: Uuid) -> (i64, i64) {
    let row = bench.row(id);
    (row["statecode"].as_i64().unwrap(), row["statuscode"].as_i64().unwrap())
}

#[tokio::test]
async fn winning_leaves_a_close_activity_and_an_actual_value() {
    let bench = Bench::new().await;
    let id = bench
        .dataverse
        .seller_creates("opportunity", &json!({ "estimatedvalue": 12.5 }))
        .unwrap();
    let before = bench.etag(id);
    let mut body = closing(id, -1);
    body["OpportunityClose"]["actualend"] = json!("2026-04-12T00:00:00Z");
    assert_eq!(bench.post("WinOpportunity", &body).await.status, 204);
    assert_eq!(stage(&bench, id), (1, 3));
    let row = bench.row(id);
    assert_eq!(
        (row["actualvalue"].clone(), row["actualclosedate"].clone()),
        (json!(12.5), json!("2026-04-12"))
    );
    assert_ne!(bench.etag(id), before);
    let closes = bench
        .get("opportunitycloses?$select=subject,statecode,_opportunityid_value,opportunitystatuscode")
        .await;
    let close = closes.json()["value"][0].clone();
    assert_eq!(close["_opportunityid_value"], id.to_string());
    assert_eq!(
        (close["statecode"].clone(), close["opportunitystatuscode"].clone()),
        (json!(1), json!(3))
    );
    assert_eq!(
        bench.post("LoseOpportunity", &closing(id, 4)).await.refusal(),
        (400, "0x80040515".to_owned())
    );

    assert_eq!(
        bench
            .patch(&format!("opportunities({id})"), &[], &json!({ "statecode": 0 }))
            .await
            .status,
        204
    );
    assert_eq!(stage(&bench, id), (0, 1));
    assert_eq!(
        bench.dataverse.rows("opportunitycloses")[0]["statecode"],
        2,
        "its close activity is canceled"
    );
    assert_eq!(bench.post("LoseOpportunity", &closing(id, 5)).await.status, 204);
    assert_eq!(stage(&bench, id), (2, 5));
}

#[tokio::test]
async fn closing_is_refused_when_it_makes_no_sense() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    assert_eq!(
        bench.post("WinOpportunity", &closing(id, 4)).await.refusal(),
        (400, "0x80048408".to_owned())
    );
    assert_eq!(
        bench.post("LoseOpportunity", &closing(id, 3)).await.code(),
        "0x80048408"
    );
    assert_eq!(
        bench
            .post("WinOpportunity", &closing(Uuid::new_v4(), 3))
            .await
            .refusal(),
        (404, "0x80040217".to_owned())
    );
    assert_eq!(
        bench.post("WinOpportunity", &json!({ "Status": 3 })).await.code(),
        "0x80048d19"
    );
    assert_eq!(bench.post("CloseOpportunity", &closing(id, 3)).await.status, 404);
    assert_eq!(bench.get("WinOpportunity").await.status, 405);
    let direct = bench.post("opportunitycloses", &json!({ "subject": "x" })).await;
    assert_eq!(direct.status, 403);
    assert_eq!(stage(&bench, id), (0, 1));
}

#[tokio::test]
async fn updates_move_only_between_reasons_of_the_open_state() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    let address = format!("opportunities({id})");
    for (body, code) in [
        (json!({ "statecode": 1 }), "0x80100005"),
        (json!({ "statecode": 2, "statuscode": 4 }), "0x80100005"),
        (json!({ "statuscode": 3 }), "0x80048408"),
        (json!({ "statecode": 0, "statuscode": 5 }), "0x80048408"),
        (json!({ "statecode": 9 }), "0x80040233"),
        (json!({ "statuscode": "2" }), "0x80048d19"),
        (json!({ "statecode": null }), "0x80040203"),
    ] {
        assert_eq!(
            bench.patch(&address, &[], &body).await.refusal(),
            (400, code.to_owned()),
            "{body}"
        );
    }
    assert_eq!(
        bench.patch(&address, &[], &json!({ "statuscode": 2 })).await.status,
        204
    );
    assert_eq!(stage(&bench, id), (0, 2));
    bench.dataverse.seller_loses(id, 4).unwrap();
    assert_eq!(
        bench.patch(&address, &[], &json!({ "statuscode": 1 })).await.code(),
        "0x80048408"
    );
    assert_eq!(
        bench
            .patch(&address, &[], &json!({ "statecode": 1, "statuscode": 3 }))
            .await
            .code(),
        "0x80100005"
    );
    assert_eq!(
        bench
            .patch(&address, &[], &json!({ "description": "still writable" }))
            .await
            .status,
        204
    );
    bench.dataverse.closed_rows_read_only(true);
    assert_eq!(
        bench
            .patch(&address, &[], &json!({ "description": "not now" }))
            .await
            .code(),
        "0x8004022e"
    );
    bench.dataverse.seller_reopens(id).unwrap();
    assert_eq!(stage(&bench, id), (0, 1));
}

#[tokio::test]
async fn a_new_row_is_open_whatever_it_asks_for() {
    let bench = Bench::new().await;
    let id = bench
        .dataverse
        .seller_creates("opportunity", &json!({ "statecode": 1 }))
        .unwrap();
    assert_eq!(stage(&bench, id), (0, 1));
    let won = bench.post("opportunities", &json!({ "statuscode": 3 })).await;
    assert_eq!(won.refusal(), (400, "0x80048408".to_owned()));
}

#[tokio::test]
async fn a_state_among_other_columns_bumps_the_version_twice() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    let address = format!("opportunities({id})");
    let before = bench.dataverse.version();
    bench
        .patch(&address, &[], &json!({ "name": "x", "statuscode": 2 }))
        .await;
    assert_eq!(bench.dataverse.version(), before + 2);
    bench.patch(&address, &[], &json!({ "name": "x" })).await;
    assert_eq!(
        bench.dataverse.version(),
        before + 3,
        "an unchanged value bumps it as well"
    );
}

#[tokio::test]
async fn a_lead_is_qualified_once() {
    let bench = Bench::new().await;
    let values = json!({ "subject": "Referral", "companyname": "Fabrikam", "firstname": "Ana", "lastname": "Ruiz",
                         "cosell_referralidentifier": "abc" });
    let id = bench.dataverse.seller_creates("lead", &values).unwrap();
    let action = format!("leads({id})/Microsoft.Dynamics.CRM.QualifyLead");
    let body = json!({ "CreateAccount": true, "CreateContact": true, "CreateOpportunity": true, "Status": -1 });
    assert_eq!(bench.post(&action, &json!({ "Status": 3 })).await.code(), "0x80048d19");
    let reply = bench.post(&action, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.json()["value"].as_array().unwrap().len(), 3);
    let opportunity = bench.dataverse.opportunities()[0].clone();
    assert_eq!(
        (
            opportunity["name"].clone(),
            opportunity["_originatingleadid_value"].clone()
        ),
        (json!("Referral"), json!(id.to_string()))
    );
    assert_eq!(opportunity["cosell_referralidentifier"], Value::Null);
    assert_eq!(bench.dataverse.row("lead", id).unwrap()["statecode"], 1);
    assert_eq!(bench.post(&action, &body).await.code(), "0x8004f00e");
}
