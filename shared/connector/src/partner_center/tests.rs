//! The client, seen from a mock of the Referrals API. Shapes and oddities are those of the vendor's documentation.

use cosell::referral::PatchValue;
use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::http::{Deadline, Vendor};
use crate::testing::{Stage, header, limits, raw_server, text};

const ID: &str = "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10";
const ENGAGEMENT: &str = "9b3e7f10-5a2c-4d68-b1e4-6c0f8a7d9e35";
const OPPORTUNITY: &str = "f1a2b3c4-0d5e-4f60-8a71-92b3c4d5e6f7";
const LIST: &str = "/v1.0/engagements/referrals";

fn client(stage: &Stage) -> PartnerCenter {
    PartnerCenter::new(stage.http(Vendor::PartnerCenter))
}

fn id(number: u128) -> ReferralId {
    ReferralId::new(uuid::Uuid::from_u128(number))
}

fn page(elements: Value, next: Option<&str>) -> ResponseTemplate {
    let mut page = json!({ "@odata.count": 1, "value": elements });
    if let Some(next) = next {
        page["@odata.nextLink"] = next.into();
    }
    ResponseTemplate::new(200).set_body_json(page)
}

fn listed(number: u128, at: &str) -> Value {
    json!({
        "id": id(number), "engagementId": ENGAGEMENT, "updatedDateTime": at, "createdDateTime": at,
        "externalReferenceId": null, "eTag": format!("\"{number}\""),
    })
}

async fn first_page(stage: &Stage, answer: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path(LIST))
        .and(query_param_is_missing("$skiptoken"))
        .respond_with(answer)
        .mount(&stage.server)
        .await;
}

async fn page_after(stage: &Stage, token: &str, answer: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path(LIST))
        .and(query_param("$skiptoken", token))
        .respond_with(answer)
        .mount(&stage.server)
        .await;
}

async fn ids(mut updates: Updates) -> Result<Vec<u128>, Error> {
    let mut ids = Vec::new();
    while let Some(page) = updates.next_page().await? {
        ids.extend(page.into_iter().map(|summary| summary.id.uuid().as_u128()));
    }
    Ok(ids)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_referral_is_read_with_its_version_from_body_or_header() {
    let stage = Stage::set().await;
    let body = json!({ "id": ID, "name": "N", "details": { "dealValue": 125_000.5 } });
    let answer = ResponseTemplate::new(200).set_body_json(&body);
    stage.once("GET", answer.insert_header("etag", "\"from header\"")).await;
    stage
        .once(
            "GET",
            text(200, &format!(r#"{{"id":"{ID}","eTag":"\"from body\""}}"#)).insert_header("etag", "x"),
        )
        .await;
    stage
        .once("GET", text(404, r#"{"error":{"code":"itemNotFound","message":"no"}}"#))
        .await;
    let client = client(&stage);
    let wanted = ID.parse().unwrap();
    let referral = client.get(wanted).await.unwrap().unwrap();
    assert_eq!(referral.etag, Some(Etag("\"from header\"".to_owned())));
    let referral = client.get(wanted).await.unwrap().unwrap();
    assert_eq!(referral.etag, Some(Etag("\"from body\"".to_owned())));
    assert!(client.get(wanted).await.unwrap().is_none());

    let calls = stage.calls().await;
    assert_eq!(calls[0].url.path(), format!("{LIST}/{ID}"));
    assert_eq!(header(&calls[0], "accept"), Some("application/json"));
    assert!(
        header(&calls[0], "user-agent")
            .unwrap()
            .starts_with("cosell-connector/")
    );
    let call_ids: HashSet<_> = calls
        .iter()
        .map(|call| header(call, "client-request-id").unwrap())
        .collect();
    assert_eq!(call_ids.len(), 3);
}

#[tokio::test]
async fn a_referral_that_cannot_be_read_is_an_error_with_its_place() {
    let stage = Stage::set().await;
    stage.once("GET", text(200, r#"{"id":"8a0c9f34","name":"N"}"#)).await;
    let fault = Fault::from(client(&stage).get(ID.parse().unwrap()).await.unwrap_err());
    assert_eq!((fault.class, fault.code), (Class::Permanent, "answer_unreadable"));
    assert!(fault.message.contains("at id"), "{}", fault.message);
}

#[tokio::test]
async fn a_quoted_filter_that_is_refused_is_bare_from_then_on() {
    let stage = Stage::set().await;
    Mock::given(query_param("$filter", format!("engagementId eq '{ENGAGEMENT}'")))
        .respond_with(text(400, r#"{"error":{"code":"invalidRequest","message":"filter"}}"#))
        .mount(&stage.server)
        .await;
    Mock::given(query_param("$filter", format!("engagementId eq {ENGAGEMENT}")))
        .respond_with(page(json!([listed(1, "2026-01-30T14:02:55.4471093Z")]), None))
        .mount(&stage.server)
        .await;
    let client = client(&stage);
    let engagement = ENGAGEMENT.parse().unwrap();
    for calls in [2, 3] {
        assert_eq!(
            client
                .during(&Run::new(Deadline::NEVER))
                .engagement(engagement)
                .await
                .unwrap()
                .len(),
            1
        );
        assert_eq!(stage.calls().await.len(), calls);
    }
}

#[tokio::test]
async fn an_engagement_with_an_unreadable_referral_is_not_taken_for_a_smaller_one() {
    let stage = Stage::set().await;
    let elements = json!([listed(1, "2026-01-30T14:02:55Z"), { "id": 7 }]);
    stage.once("GET", page(elements, None)).await;
    let error = client(&stage)
        .engagement(ENGAGEMENT.parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Permanent, "referral_unreadable"));
}

#[tokio::test]
async fn of_a_next_link_only_the_query_is_used() {
    let stage = Stage::set().await;
    let foreign = MockServer::start().await;
    let odd = format!("{}/v1.0/referrals?$skiptoken=cGFnZTI%3d", foreign.uri());
    first_page(&stage, page(json!([listed(1, "2026-01-30T14:02:55Z")]), Some(&odd))).await;
    // A page may be empty and still not be the last.
    let documented = "http://api.partner.microsoft.com/v1.0/referrals?$skiptoken=three";
    page_after(&stage, "cGFnZTI=", page(json!([]), Some(documented))).await;
    page_after(&stage, "three", page(json!([listed(3, "2026-01-30T14:00:00Z")]), None)).await;
    let found = ids(client(&stage).updated_since(at("2026-01-01T00:00:00Z")))
        .await
        .unwrap();
    assert_eq!(found, [1, 3]);
    assert!(foreign.received_requests().await.unwrap().is_empty());
    let calls = stage.calls().await;
    assert_eq!(calls[0].url.query(), Some("$orderby=updatedDateTime%20desc"));
    assert_eq!(calls[1].url.query(), Some("$skiptoken=cGFnZTI%3d"));
}

#[tokio::test]
async fn an_answer_without_a_list_is_not_an_empty_list() {
    for body in ["{}", r#"{"value":null}"#, r#"{"message":"try later"}"#] {
        let stage = Stage::set().await;
        stage.times(9, "GET", text(200, body)).await;
        let client = client(&stage);
        let since = at("2026-01-30T12:00:00Z");
        for error in [
            client
                .created_since(OPPORTUNITY.parse().unwrap(), since)
                .await
                .unwrap_err(),
            client.engagement(ENGAGEMENT.parse().unwrap()).await.unwrap_err(),
            client.updated_since(since).next_page().await.unwrap_err(),
        ] {
            assert_eq!(
                (error.class(), error.code()),
                (Class::Transient { after: None }, "answer_unreadable")
            );
        }
    }
}

#[tokio::test]
async fn a_next_link_without_a_query_is_not_the_last_page() {
    for link in [
        "",
        "http://x/v1.0/referrals",
        "http://x/v1.0/referrals?",
        "http://x/#?$skiptoken=two",
    ] {
        let stage = Stage::set().await;
        first_page(&stage, page(json!([listed(1, "2026-01-30T14:02:55Z")]), Some(link))).await;
        let error = ids(client(&stage).updated_since(at("2026-01-01T00:00:00Z")))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "answer_unreadable", "{link}");
        assert!(matches!(error.class(), Class::Transient { .. }), "{link}");
    }
}

#[tokio::test]
async fn pages_that_repeat_are_given_up() {
    let stage = Stage::set().await;
    let next = "https://api.partner.microsoft.com/v1.0/engagements/referrals?$skiptoken=two";
    first_page(&stage, page(json!([listed(1, "2026-01-30T14:02:55Z")]), Some(next))).await;
    page_after(&stage, "two", page(json!([]), Some(next))).await;
    let error = ids(client(&stage).updated_since(at("2026-01-01T00:00:00Z")))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "endless_list");
    assert_eq!(stage.calls().await.len(), 2);
}

#[tokio::test]
async fn changes_are_read_until_they_are_older_than_wanted() {
    let stage = Stage::set().await;
    let elements = json!([
        listed(1, "2026-01-30T14:00:00.1234567Z"),
        // Neither a broken element nor one without a time spoils the others.
        { "id": "not a GUID" },
        { "id": id(2), "updatedDateTime": "yesterday", "eTag": null },
        listed(3, "2026-01-30T13:00:00Z"),
        listed(4, "2026-01-30T12:59:59Z"),
    ]);
    first_page(&stage, page(elements, Some("http://x/?$skiptoken=two"))).await;
    let mut updates = client(&stage).updated_since(at("2026-01-30T13:00:00Z"));
    let page = updates.next_page().await.unwrap().unwrap();
    assert_eq!(
        page.iter().map(|summary| summary.id).collect::<Vec<_>>(),
        [id(1), id(2), id(3)]
    );
    assert_eq!(page[0].etag, Some(Etag("\"1\"".to_owned())));
    assert_eq!(page[0].engagement_id, Some(ENGAGEMENT.parse().unwrap()));
    assert_eq!(page[0].updated_at, Some(at("2026-01-30T14:00:00.1234567Z")));
    assert!(updates.next_page().await.unwrap().is_none());
    assert_eq!(stage.calls().await.len(), 1);
}

#[tokio::test]
async fn a_list_that_is_not_in_order_is_read_to_its_end() {
    let stage = Stage::set().await;
    let elements = json!([
        listed(1, "2026-01-01T00:00:00Z"),
        listed(2, "2026-01-30T00:00:00Z"),
        listed(3, "2026-01-02T00:00:00Z")
    ]);
    first_page(&stage, page(elements, Some("http://x/?$skiptoken=two"))).await;
    page_after(&stage, "two", page(json!([listed(4, "2026-01-29T00:00:00Z")]), None)).await;
    let found = ids(client(&stage).updated_since(at("2026-01-15T00:00:00Z")))
        .await
        .unwrap();
    assert_eq!(found, [2, 4]);
}

#[tokio::test]
async fn a_new_referral_is_found_by_its_reference() {
    let stage = Stage::set().await;
    let mut ours = listed(2, "2026-01-30T13:00:00Z");
    ours["externalReferenceId"] = OPPORTUNITY.to_uppercase().into();
    let elements = json!([listed(1, "2026-01-30T14:00:00Z"), ours, { "id": 1 }, listed(3, "2026-01-01T00:00:00Z")]);
    first_page(&stage, page(elements, Some("http://x/?$skiptoken=two"))).await;
    let reference = OPPORTUNITY.parse().unwrap();
    let found = client(&stage)
        .created_since(reference, at("2026-01-30T12:00:00Z"))
        .await
        .unwrap();
    assert_eq!(found.iter().map(|referral| referral.id).collect::<Vec<_>>(), [id(2)]);
    let calls = stage.calls().await;
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].url.query(), Some("$orderby=createdDateTime%20desc"));
}

#[tokio::test]
async fn an_unreadable_referral_with_our_reference_is_not_taken_for_absent() {
    let stage = Stage::set().await;
    let elements = json!([{ "id": 1, "externalReferenceId": OPPORTUNITY }]);
    first_page(&stage, page(elements, None)).await;
    let reference = OPPORTUNITY.parse().unwrap();
    let error = client(&stage)
        .created_since(reference, at("2026-01-30T12:00:00Z"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "referral_unreadable");
}

fn new_referral() -> NewReferral {
    NewReferral {
        engagement_id: None,
        name: "Northbay cold-chain monitoring".to_owned(),
        external_reference_id: Some(OPPORTUNITY.to_owned()),
        qualification: "SalesQualified".to_owned(),
        kind: "Independent".to_owned(),
        target: Vec::new(),
        customer_profile: cosell::referral::CustomerProfile::default(),
        consent: cosell::referral::NewConsent {
            consent_to_to_share_info_with_others: true,
            consent_to_contact: true,
            consent_to_share_referral_with_microsoft_sellers: false,
        },
        details: cosell::referral::NewDetails {
            notes: String::new(),
            deal_value: "123456789012345678.91".parse().unwrap(),
            currency: "EUR".to_owned(),
            closing_date_time: "2026-09-15T00:00:00Z".to_owned(),
            requirements: cosell::referral::NewRequirements {
                solutions: Vec::new(),
                additional_requirements: cosell::referral::AdditionalRequirements { attributes: Vec::new() },
            },
        },
        team: Vec::new(),
        invite_context: None,
    }
}

#[tokio::test]
async fn a_created_referral_is_answered_if_it_was_shown() {
    let stage = Stage::set().await;
    stage
        .once(
            "POST",
            text(201, &format!(r#"{{"id":"{ID}"}}"#)).insert_header("etag", "\"1\""),
        )
        .await;
    stage.once("POST", text(204, "")).await;
    stage.once("POST", text(200, "<html>")).await;
    let client = client(&stage);
    let created = client.create(&new_referral()).await.unwrap().unwrap();
    assert_eq!(
        (created.id, created.etag),
        (ID.parse().unwrap(), Some(Etag("\"1\"".to_owned())))
    );
    assert!(client.create(&new_referral()).await.unwrap().is_none());
    assert!(client.create(&new_referral()).await.unwrap().is_none());
    let call = &stage.calls().await[0];
    assert_eq!(call.url.path(), LIST);
    assert_eq!(header(call, "content-type"), Some("application/json"));
    let body = String::from_utf8(call.body.clone()).unwrap();
    assert!(body.contains("\"dealValue\":123456789012345678.91"), "{body}");
}

#[tokio::test]
async fn a_lost_answer_to_a_creation_is_a_doubt_and_a_refusal_is_none() {
    let stage = Stage::set().await;
    let lost = stage.http_at(Vendor::PartnerCenter, raw_server(vec![""]), limits());
    let fault = Fault::from(PartnerCenter::new(lost).create(&new_referral()).await.unwrap_err());
    assert!(
        fault.in_doubt && matches!(fault.class, Class::Transient { .. }),
        "{fault}"
    );
    stage
        .once(
            "POST",
            text(
                400,
                r#"{"error":{"code":"invalidRequest","message":"name is missing"}}"#,
            ),
        )
        .await;
    let fault = Fault::from(client(&stage).create(&new_referral()).await.unwrap_err());
    assert_eq!((fault.class, fault.in_doubt), (Class::Permanent, false));
    assert!(fault.message.contains("name is missing"), "{}", fault.message);
}

#[tokio::test]
async fn a_patch_stands_on_an_exact_version() {
    let stage = Stage::set().await;
    stage
        .once("PATCH", text(200, &format!(r#"{{"id":"{ID}","eTag":"\"2\""}}"#)))
        .await;
    stage.once("PATCH", text(204, "")).await;
    stage
        .once(
            "PATCH",
            text(412, r#"{"error":{"code":"resourceModified","message":"x"}}"#),
        )
        .await;
    stage.once("PATCH", text(404, "")).await;
    stage
        .once(
            "PATCH",
            text(409, r#"{"error":{"code":"generalException","message":"x"}}"#),
        )
        .await;
    let client = client(&stage);
    let etag = Etag("\"69007a1e-0000-0800-0000-6217f4ce0000\"".to_owned());
    let operations = [
        PatchOperation::replace("/status", PatchValue::Text("Closed".to_owned())),
        PatchOperation::replace("/details/dealValue", PatchValue::Amount("131000.10".parse().unwrap())),
    ];
    let id = ID.parse().unwrap();
    let patched = client.patch(id, &etag, &operations).await.unwrap();
    assert!(matches!(patched, Patched::Done(Some(referral)) if referral.etag == Some(Etag("\"2\"".to_owned()))));
    assert!(matches!(
        client.patch(id, &etag, &operations).await.unwrap(),
        Patched::Done(None)
    ));
    assert!(matches!(
        client.patch(id, &etag, &operations).await.unwrap(),
        Patched::Stale
    ));
    assert!(matches!(
        client.patch(id, &etag, &operations).await.unwrap(),
        Patched::Gone
    ));
    assert_eq!(
        client.patch(id, &etag, &operations).await.unwrap_err().class(),
        Class::Conflict
    );

    let call = &stage.calls().await[0];
    assert_eq!(call.url.path(), format!("{LIST}/{ID}"));
    assert_eq!(
        header(call, "if-match"),
        Some("\"69007a1e-0000-0800-0000-6217f4ce0000\"")
    );
    assert_eq!(header(call, "prefer"), Some("return=representation"));
    assert_eq!(header(call, "content-type"), Some("application/json"));
    let body = String::from_utf8(call.body.clone()).unwrap();
    assert_eq!(
        body,
        r#"[{"op":"replace","path":"/status","value":"Closed"},{"op":"replace","path":"/details/dealValue","value":131000.1}]"#
    );
}

#[tokio::test]
async fn a_patch_whose_answer_was_lost_turns_out_stale() {
    // The first attempt took effect, so the second finds another version; the reader of the record tells which.
    let stage = Stage::set().await;
    let stale = "HTTP/1.1 412 Precondition Failed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let http = stage.http_at(Vendor::PartnerCenter, raw_server(vec!["", stale]), limits());
    let patched = PartnerCenter::new(http)
        .patch(ID.parse().unwrap(), &Etag("\"1\"".to_owned()), &[])
        .await;
    assert!(matches!(patched.unwrap(), Patched::Stale));
}
