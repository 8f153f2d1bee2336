//! The client, seen from a mock of the Web API. Shapes and codes are those of the vendor's documentation.

use serde_json::{Value, json};
use wiremock::{MockServer, ResponseTemplate};

use super::*;
use crate::http::Vendor;
use crate::testing::{Stage, header, text};

const ID: Uuid = Uuid::from_u128(0xb1f0);
const SELECT: &str = "$select=name,estimatedvalue&$expand=transactioncurrencyid($select=isocurrencycode)";

fn client(stage: &Stage) -> Dataverse {
    Dataverse::new(stage.http(Vendor::Dataverse))
}

fn error(status: u16, code: &str) -> ResponseTemplate {
    let body = json!({ "error": { "code": code, "message": "the vendor's words" } });
    ResponseTemplate::new(status).set_body_json(body)
}

fn change() -> RowChange {
    let mut change = RowChange::default();
    change.set("estimatedvalue", Cell::Number("125000.50".parse().unwrap()));
    change.bind("customerid_account", "accounts", Uuid::from_u128(1));
    change
}

fn etag() -> Etag {
    Etag("W/\"5128801\"".to_owned())
}

#[tokio::test]
async fn a_row_is_read_with_the_required_headers() {
    let stage = Stage::set().await;
    let row = r#"{"@odata.etag":"W/\"7\"","estimatedvalue":125000.0000,"_customerid_value@Microsoft.Dynamics.CRM.lookuplogicalname":"account"}"#;
    stage.once("GET", text(200, row)).await;
    let row = client(&stage).read("opportunities", ID, SELECT).await.unwrap().unwrap();
    assert_eq!(row.etag, Some(Etag("W/\"7\"".to_owned())));
    assert_eq!(
        row.text("_customerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"),
        Some("account")
    );

    let call = &stage.calls().await[0];
    assert_eq!(call.url.path(), format!("/api/data/v9.2/opportunities({ID})"));
    assert_eq!(call.url.query(), Some(SELECT));
    for (name, value) in [
        ("accept", "application/json"),
        ("odata-version", "4.0"),
        ("odata-maxversion", "4.0"),
        ("if-none-match", "null"),
    ] {
        assert_eq!(header(call, name), Some(value), "{name}");
    }
    assert!(header(call, "prefer").unwrap().contains("lookuplogicalname"));
}

#[tokio::test]
async fn only_a_missing_row_is_no_row() {
    let stage = Stage::set().await;
    let client = client(&stage);
    for answer in [error(404, "0x80040217"), error(404, "0x80060891"), error(404, "")] {
        stage.once("GET", answer).await;
        assert!(client.read("opportunities", ID, SELECT).await.unwrap().is_none());
    }
    for (answer, code) in [
        (error(404, "0x80060888"), "schema_mismatch"),
        (text(404, "<html>"), "not_found"),
        (text(404, ""), "not_found"),
        (text(404, "{}"), "not_found"),
        (text(404, r#"{"message":"Resource not found"}"#), "not_found"),
        (text(404, r#"{"error":{"message":"Resource not found"}}"#), "not_found"),
        (error(403, "0x80072560"), "user_not_admitted"),
    ] {
        stage.once("GET", answer).await;
        assert_eq!(client.read("opportunities", ID, SELECT).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn a_row_is_created_or_found_to_exist() {
    let stage = Stage::set().await;
    let client = client(&stage);
    stage
        .once("PATCH", text(201, r#"{"@odata.etag":"W/\"1\"","name":"N"}"#))
        .await;
    let created = client
        .create_only("opportunities", ID, &change(), SELECT)
        .await
        .unwrap();
    assert!(matches!(created, Created::Done(row) if row.text("name") == Some("N")));
    stage
        .once("PATCH", text(204, "").insert_header("etag", "W/\"2\""))
        .await;
    let created = client
        .create_only("opportunities", ID, &change(), SELECT)
        .await
        .unwrap();
    assert!(matches!(created, Created::Done(row) if row.etag == Some(Etag("W/\"2\"".to_owned()))));
    for code in ["0x80040237", "0x80060892", ""] {
        stage.once("PATCH", error(412, code)).await;
        if code == "0x80060892" {
            stage.once("GET", text(200, r#"{"@odata.etag":"W/\"3\""}"#)).await;
        }
        let created = client
            .create_only("opportunities", ID, &change(), SELECT)
            .await
            .unwrap();
        assert!(matches!(created, Created::Exists), "{code}");
    }
    // The row is not there, so another one holds its key.
    stage.once("PATCH", error(412, "0x80060892")).await;
    stage.once("GET", error(404, "0x80040217")).await;
    let refused = client
        .create_only("opportunities", ID, &change(), SELECT)
        .await
        .unwrap_err();
    assert_eq!((refused.class(), refused.code()), (Class::Permanent, "key_taken"));
    stage.once("PATCH", error(412, "0x80040333")).await;
    let refused = client
        .create_only("opportunities", ID, &change(), SELECT)
        .await
        .unwrap_err();
    assert_eq!(
        (refused.class(), refused.code()),
        (Class::Permanent, "duplicate_detected")
    );

    let call = &stage.calls().await[0];
    assert_eq!(header(call, "if-none-match"), Some("*"));
    assert_eq!(header(call, "if-match"), None);
    assert!(header(call, "prefer").unwrap().starts_with("return=representation,"));
    assert_eq!(header(call, "content-type"), Some("application/json; charset=utf-8"));
    let body = String::from_utf8(call.body.clone()).unwrap();
    let expected = format!(
        r#"{{"customerid_account@odata.bind":"/accounts({})","estimatedvalue":125000.5}}"#,
        Uuid::from_u128(1)
    );
    assert_eq!(body, expected);
}

#[tokio::test]
async fn an_update_stands_on_an_exact_version() {
    let stage = Stage::set().await;
    let client = client(&stage);
    stage.once("PATCH", text(200, r#"{"@odata.etag":"W/\"2\""}"#)).await;
    let updated = client
        .update("opportunities", ID, &etag(), &change(), "$select=modifiedon")
        .await
        .unwrap();
    assert!(matches!(updated, Updated::Done(row) if row.etag == Some(Etag("W/\"2\"".to_owned()))));
    stage.once("PATCH", error(412, "0x80060882")).await;
    stage.once("PATCH", error(404, "0x80040217")).await;
    stage.once("PATCH", error(400, "0x80040265")).await;
    let (etag, change) = (etag(), change());
    let update = || client.update("opportunities", ID, &etag, &change, "$select=modifiedon");
    assert!(matches!(update().await.unwrap(), Updated::Stale));
    assert!(matches!(update().await.unwrap(), Updated::Gone));
    let refused = Fault::from(update().await.unwrap_err());
    assert_eq!((refused.class, refused.code), (Class::Permanent, "refused_by_plug_in"));
    assert!(refused.message.contains("the vendor's words"), "{}", refused.message);

    let call = &stage.calls().await[0];
    assert_eq!(header(call, "if-match"), Some("W/\"5128801\""));
    assert_eq!(header(call, "if-none-match"), None);
}

#[tokio::test]
async fn an_etag_that_no_header_can_hold_is_read_anew() {
    let stage = Stage::set().await;
    let broken = Etag("W/\"1\"\r\nx: y".to_owned());
    let error = client(&stage)
        .update("opportunities", ID, &broken, &change(), SELECT)
        .await
        .unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Conflict, "etag_unusable"));
    assert!(stage.calls().await.is_empty());
}

#[tokio::test]
async fn an_opportunity_is_closed_once() {
    let stage = Stage::set().await;
    let client = client(&stage);
    let id = OpportunityId::new(ID);
    let mut close = Close {
        won: true,
        status: 3,
        subject: "Won through co-sell".to_owned(),
        description: Some("Referral closed".to_owned()),
    };
    stage.once("POST", text(204, "")).await;
    stage.once("POST", error(400, "0x80040515")).await;
    stage.once("POST", error(404, "0x80040217")).await;
    stage.once("POST", error(400, "0x80048408")).await;
    assert_eq!(client.close(id, &close).await.unwrap(), Closed::Done);
    close.won = false;
    close.description = None;
    assert_eq!(client.close(id, &close).await.unwrap(), Closed::Already);
    assert_eq!(client.close(id, &close).await.unwrap(), Closed::Gone);
    assert_eq!(client.close(id, &close).await.unwrap_err().class(), Class::Permanent);

    let calls = stage.calls().await;
    assert_eq!(calls[0].url.path(), "/api/data/v9.2/WinOpportunity");
    let expected = json!({
        "Status": 3,
        "OpportunityClose": {
            "subject": "Won through co-sell",
            "description": "Referral closed",
            "opportunityid@odata.bind": format!("/opportunities({ID})"),
        },
    });
    assert_eq!(calls[0].body_json::<Value>().unwrap(), expected);
    assert_eq!(calls[1].url.path(), "/api/data/v9.2/LoseOpportunity");
    assert_eq!(
        calls[1].body_json::<Value>().unwrap()["OpportunityClose"].get("description"),
        None
    );
}

fn columns() -> AccountColumns {
    AccountColumns {
        name: "name".to_owned(),
        postal_code: "address1_postalcode".to_owned(),
        website: "websiteurl".to_owned(),
        email: "emailaddress1".to_owned(),
        country: "address1_country".to_owned(),
        ..AccountColumns::default()
    }
}

#[tokio::test]
async fn texts_in_filters_are_quoted_and_encoded() {
    let stage = Stage::set().await;
    let client = client(&stage);
    stage
        .times(
            4,
            "GET",
            text(200, r#"{"value":[{"accountid":"a"},{"accountid":"b"}]}"#),
        )
        .await;
    let found = client
        .find_account(&columns(), "O'Brien & Söhne #1 100%?$top=9", "T12 X0X0")
        .await
        .unwrap();
    assert_eq!(found.len(), 2);
    client.find_account(&columns(), "N", " ").await.unwrap();
    client.find_contact("emailaddress1", "a+b@example.com").await.unwrap();
    client.find_currency("EUR").await.unwrap();
    let calls = stage.calls().await;
    let query = |index: usize| -> Vec<(String, String)> { calls[index].url.query_pairs().into_owned().collect() };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        query(0),
        [
            pair("$select", "accountid,name,address1_postalcode"),
            pair(
                "$filter",
                "name eq 'O''Brien & Söhne #1 100%?$top=9' and statecode eq 0 and address1_postalcode eq 'T12 X0X0'"
            ),
            pair("$top", "10"),
        ]
    );
    assert_eq!(query(1)[1], pair("$filter", "name eq 'N' and statecode eq 0"));
    assert_eq!(
        query(2)[1],
        pair("$filter", "emailaddress1 eq 'a+b@example.com' and statecode eq 0")
    );
    assert_eq!(
        query(3)[1],
        pair("$filter", "isocurrencycode eq 'EUR' and statecode eq 0")
    );
}

#[tokio::test]
async fn an_answer_without_a_list_is_not_an_empty_list() {
    for body in ["{}", r#"{"value":null,"@odata.deltaLink":null}"#] {
        let stage = Stage::set().await;
        stage.times(9, "GET", text(200, body)).await;
        let client = client(&stage);
        let since = "2026-01-30T13:00:00Z".parse().unwrap();
        for error in [
            client.find_account(&columns(), "N", "").await.unwrap_err(),
            client.find_contact("emailaddress1", "a@example.com").await.unwrap_err(),
            client.find_currency("EUR").await.unwrap_err(),
            client.changes("opportunities", None, "name").await.unwrap_err(),
            client
                .modified_since("opportunities", "opportunityid", since, "name")
                .await
                .unwrap_err(),
        ] {
            assert_eq!(
                (error.class(), error.code()),
                (Class::Transient { after: None }, "answer_unreadable")
            );
        }
    }
}

#[tokio::test]
async fn changes_are_paged_and_their_links_replayed_as_they_are() {
    let stage = Stage::set().await;
    let root = stage.server.uri();
    let next =
        format!("{root}/api/data/v9.2/opportunities?$select=name&$skiptoken=%3Ccookie%20pagenumber=%222%22%20/%3E");
    let delta =
        format!("{root}/api/data/v9.2/opportunities?$select=name&$deltatoken=919042%2108%2f22%2f2017%2008%3a10%3a44");
    let later = format!("{root}/api/data/v9.2/opportunities?$select=name&$deltatoken=2");
    // Keys in both orders, an empty page, and an element that is no row.
    let first = json!({ "value": [{ "opportunityid": ID, "name": "N" }, 7], "@odata.nextLink": next });
    let second = json!({ "@odata.deltaLink": delta, "value": [] });
    let third = json!({ "@odata.deltaLink": later, "value": [{ "id": ID, "reason": "deleted" }] });
    for page in [first, second, third] {
        stage.once("GET", ResponseTemplate::new(200).set_body_json(page)).await;
    }
    let client = client(&stage);
    let page = client.changes("opportunities", None, "name").await.unwrap();
    assert_eq!(
        (page.rows.len(), page.next.as_deref(), page.delta),
        (1, Some(next.as_str()), None)
    );
    let page = client
        .changes("opportunities", page.next.as_deref(), "name")
        .await
        .unwrap();
    assert_eq!(
        (page.rows.len(), page.next, page.delta.as_deref()),
        (0, None, Some(delta.as_str()))
    );
    let page = client
        .changes("opportunities", page.delta.as_deref(), "name")
        .await
        .unwrap();
    assert!(page.rows[0].deleted && page.rows[0].guid("id") == Some(ID));
    assert_eq!(page.delta, Some(later));

    let calls = stage.calls().await;
    assert_eq!(calls[0].url.query(), Some("$select=name"));
    // The mock server does not know its own port.
    let asked = |index: usize| calls[index].url.as_str().replace("http://localhost", &root);
    assert_eq!([asked(1), asked(2)], [next, delta]);
    assert_eq!(
        header(&calls[0], "prefer"),
        Some("odata.track-changes,odata.maxpagesize=500")
    );
}

#[tokio::test]
async fn a_link_to_another_host_gets_no_token() {
    let stage = Stage::set().await;
    let foreign = MockServer::start().await;
    let link = format!("{}/api/data/v9.2/opportunities?$deltatoken=1", foreign.uri());
    for name in ["@odata.nextLink", "@odata.deltaLink"] {
        let page = json!({ "value": [], name: link });
        stage.once("GET", ResponseTemplate::new(200).set_body_json(page)).await;
        assert_eq!(
            client(&stage)
                .changes("opportunities", None, "name")
                .await
                .unwrap_err()
                .code(),
            "foreign_link"
        );
    }
    let outside = format!("{}/elsewhere?$deltatoken=1", stage.server.uri());
    for link in [link.as_str(), outside.as_str(), "", "/api/data/v9.2/opportunities"] {
        let error = client(&stage)
            .changes("opportunities", Some(link), "name")
            .await
            .unwrap_err();
        assert_eq!(
            (error.class(), error.code()),
            (Class::Permanent, "foreign_link"),
            "{link}"
        );
    }
    assert!(foreign.received_requests().await.unwrap().is_empty());
    assert_eq!(stage.calls().await.len(), 2);
}

#[tokio::test]
async fn the_ways_in_which_tracking_fails_are_told_apart() {
    let stage = Stage::set().await;
    let client = client(&stage);
    for status in [400, 404, 410] {
        stage.once("GET", error(status, "0x80044352")).await;
        assert!(
            matches!(
                client.changes("opportunities", None, "name").await,
                Err(Error::DeltaExpired)
            ),
            "{status}"
        );
    }
    stage.once("GET", error(400, "-2147204270")).await;
    assert!(matches!(
        client.changes("opportunities", None, "name").await,
        Err(Error::DeltaExpired)
    ));
    stage.once("GET", error(400, "0x80072491")).await;
    assert!(matches!(
        client.changes("opportunities", None, "name").await,
        Err(Error::TrackingDisabled)
    ));
    stage.once("GET", text(200, r#"{"value":[]}"#)).await;
    assert!(matches!(
        client.changes("opportunities", None, "name").await,
        Err(Error::DeltaMissing)
    ));
}

#[tokio::test]
async fn modified_rows_are_polled_in_order() {
    let stage = Stage::set().await;
    let next = format!("{}/api/data/v9.2/opportunities?$skiptoken=2", stage.server.uri());
    let first = json!({ "value": [{ "opportunityid": ID }], "@odata.nextLink": next });
    stage.once("GET", ResponseTemplate::new(200).set_body_json(first)).await;
    stage.once("GET", text(200, r#"{"value":[]}"#)).await;
    let client = client(&stage);
    let since = "2026-01-09T10:00:00.9Z".parse().unwrap();
    let page = client
        .modified_since("opportunities", "opportunityid", since, "name,modifiedon")
        .await
        .unwrap();
    assert_eq!(page.rows.len(), 1);
    let page = client.more_modified(page.next.as_deref().unwrap()).await.unwrap();
    assert!(page.next.is_none() && page.delta.is_none());
    let calls = stage.calls().await;
    let query: Vec<_> = calls[0].url.query_pairs().into_owned().collect();
    assert_eq!(query[1].1, "modifiedon ge 2026-01-09T10:00:00Z");
    assert_eq!(query[2].1, "modifiedon asc,opportunityid asc");
    assert_eq!(header(&calls[0], "prefer"), Some("odata.maxpagesize=500"));
}
