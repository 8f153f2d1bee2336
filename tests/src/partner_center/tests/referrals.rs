//! Claims about the Referrals API.

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::{InboundDeal, PARTNER_ORGANIZATION};
use super::{TENANT, World, close, invitation, private_deal, shared_deal, token};
use crate::entra::PARTNER_AUDIENCE;

#[tokio::test]
async fn a_deal_is_created_accepted_and_shown_whole() {
    let world = World::new().await;
    let deal = world.created(&shared_deal()).await;
    assert_eq!(
        (&deal["status"], &deal["substatus"]),
        (&json!("Active"), &json!("Accepted"))
    );
    assert_eq!(deal["organizationId"], PARTNER_ORGANIZATION);
    assert_eq!(deal["acceptedDateTime"], deal["createdDateTime"]);
    assert_eq!(deal["consent"]["consentToContact"], true);
    assert_eq!(deal["customerProfile"]["address"]["state"], Value::Null);
    assert!(deal.as_object().unwrap().contains_key("statusReason"));
    assert_eq!(
        deal["createdDateTime"].as_str().unwrap().len(),
        "2026-01-28T09:14:07.1830421Z".len()
    );
    let tag = deal["eTag"].as_str().unwrap();
    assert!(tag.starts_with('"') && tag.ends_with('"'));
    let id = uuid::Uuid::new_v4().to_string();
    let path = format!("/{}", deal["id"].as_str().unwrap());
    let read = world
        .referrals(Method::GET, &path, &[("client-request-id", &id)], "")
        .await;
    assert_eq!(read.json(), deal);
    assert_eq!(read.headers["etag"], tag);
    assert_eq!(read.headers["client-request-id"], id.as_str());
    assert!(read.headers.contains_key("request-id") && read.headers.contains_key("timestamp"));
    let unknown = world.referrals(Method::GET, &format!("/{id}"), &[], "").await;
    assert_eq!(
        (unknown.status, &unknown.json()["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("itemNotFound"))
    );
}

#[tokio::test]
async fn money_keeps_its_digits() {
    let world = World::new().await;
    let text = shared_deal().to_string().replace("1250.5", "123456789012345678.90");
    let created = world.referrals(Method::POST, "", &[], &text).await;
    assert!(created.text.contains(r#""dealValue":123456789012345678.90,"#));
    let id = created.json()["id"].clone();
    let raise = r#"[{"op":"replace","path":"/details/dealValue","value":0.1000000000000000055}]"#;
    let path = format!("/{}", id.as_str().unwrap());
    assert_eq!(
        world.referrals(Method::PATCH, &path, &[], raise).await.status,
        StatusCode::NO_CONTENT
    );
    let stored = world.partner_center.referral_text(id.as_str().unwrap()).unwrap();
    assert!(stored.contains(r#""dealValue":0.1000000000000000055,"#));
}

#[tokio::test]
async fn a_wrong_deal_is_refused_where_it_is_wrong() {
    let world = World::new().await;
    for (path, value, target) in [
        ("/surprise", json!(1), "/surprise"),
        ("/eTag", json!("x"), "/eTag"),
        ("/links", json!({}), "/links"),
        ("/id", json!("x"), "/id"),
        ("/team/0/title", json!("Dr"), "/team/0/title"),
        ("/name", json!(""), "/name"),
        ("/type", json!("Common"), "/type"),
        ("/target", json!([]), "/target"),
        ("/target/0/id", json!("SOL-1"), "/target/0"),
        ("/mpnId", json!("abc"), "/mpnId"),
        ("/status", json!("Active"), "/status"),
        ("/engagementId", json!("nonsense"), "/engagementId"),
        ("/engagementId", json!(PARTNER_ORGANIZATION), "/engagementId"),
        (
            "/customerProfile/address/country",
            json!("UK"),
            "/customerProfile/address/country",
        ),
        (
            "/customerProfile/address/city",
            json!(null),
            "/customerProfile/address/city",
        ),
        ("/customerProfile/team", json!([]), "/customerProfile/team"),
        (
            "/customerProfile/team/0/email",
            json!(""),
            "/customerProfile/team/0/email",
        ),
        ("/details/dealValue", json!(-1), "/details/dealValue"),
        ("/details/dealValue", json!(null), "/details/dealValue"),
        ("/details/currency", json!("EURO"), "/details/currency"),
        (
            "/details/closingDateTime",
            json!("2027-09-15"),
            "/details/closingDateTime",
        ),
        (
            "/details/requirements/solutions",
            json!([]),
            "/details/requirements/solutions",
        ),
        (
            "/consent/consentToShareReferralWithMicrosoftSellers",
            json!(false),
            "/consent/consentToShareReferralWithMicrosoftSellers",
        ),
        ("/team", json!([]), "/team"),
    ] {
        let mut deal = shared_deal();
        match deal.pointer_mut(path) {
            Some(place) => *place = value,
            None => {
                let (parent, name) = path.rsplit_once('/').unwrap();
                deal.pointer_mut(parent).unwrap()[name] = value;
            }
        }
        let answer = world.referrals(Method::POST, "", &[], &deal.to_string()).await;
        assert_eq!(
            (answer.status, answer.target().as_str()),
            (StatusCode::BAD_REQUEST, target),
            "{path}"
        );
    }
    assert!(world.partner_center.referrals().is_empty());
}

#[tokio::test]
async fn microsoft_is_invited_by_a_second_post() {
    let world = World::new().await;
    let own = world.created(&shared_deal()).await;
    let mut helpless = invitation(&own["engagementId"]);
    helpless["inviteContext"]["assistanceRequestCode"] = json!("Unknown");
    let refused = world.referrals(Method::POST, "", &[], &helpless.to_string()).await;
    assert_eq!(refused.target(), "/inviteContext/assistanceRequestCode");
    let theirs = world.created(&invitation(&own["engagementId"])).await;
    assert_eq!(theirs["organizationId"], "msft");
    assert_eq!(
        (&theirs["status"], &theirs["substatus"]),
        (&json!("New"), &json!("Pending"))
    );
    assert_eq!(
        theirs["inviteContext"]["invitedBy"]["organizationId"],
        PARTNER_ORGANIZATION
    );
    assert!(theirs["expirationDateTime"].is_string());
    let refused = world.patched(&theirs["id"], &close("Declined")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let engagement = own["engagementId"].as_str().unwrap();
    let accepted = world.partner_center.microsoft_accepts(engagement).unwrap();
    assert!(accepted["trackingInfo"]["microsoftMsxId"].is_string());
    assert!(world.partner_center.microsoft_declines(engagement, "late").is_err());
    world.partner_center.microsoft_wins(engagement).unwrap();
    assert_eq!(
        world.partner_center.referrals_of_engagement(engagement)[1]["substatus"],
        "Won"
    );
}

#[tokio::test]
async fn a_private_deal_is_opened_before_microsoft_is_invited() {
    let world = World::new().await;
    let own = world.created(&private_deal()).await;
    let body = invitation(&own["engagementId"]).to_string();
    assert_eq!(
        world.referrals(Method::POST, "", &[], &body).await.status,
        StatusCode::BAD_REQUEST
    );
    let visible = |value: bool| json!([{ "op": "replace", "path": "/consent/consentToShareReferralWithMicrosoftSellers", "value": value }]);
    assert_eq!(world.patched(&own["id"], &visible(true)).await.status, StatusCode::OK);
    assert_eq!(
        world.patched(&own["id"], &visible(false)).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        world.referrals(Method::POST, "", &[], &body).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_patch_is_applied_wholly_or_not_at_all() {
    let world = World::new().await;
    let own = world.created(&shared_deal()).await;
    let id = own["id"].as_str().unwrap();
    let mixed = json!([
        { "op": "replace", "path": "/details/dealValue", "value": 7 },
        { "op": "replace", "path": "/details/currency", "value": "Euro" },
    ]);
    assert_eq!(world.patched(&own["id"], &mixed).await.target(), "/details/currency");
    assert_eq!(world.partner_center.referral(id)["eTag"], own["eTag"]);
    let good = json!([
        { "op": "replace", "path": "/details/dealValue", "value": "7.50" },
        { "op": "add", "path": "/team/-", "value": shared_deal()["team"][0] },
    ]);
    let after = world.patched(&own["id"], &good).await;
    assert!(after.text.contains(r#""dealValue":7.50,"#));
    assert_eq!(after.json()["team"].as_array().unwrap().len(), 2);
    assert_ne!(after.json()["eTag"], own["eTag"]);
}

#[tokio::test]
async fn a_stale_tag_changes_nothing() {
    let world = World::new().await;
    let own = world.created(&shared_deal()).await;
    let path = format!("/{}", own["id"].as_str().unwrap());
    let note = |note: &str| json!([{ "op": "replace", "path": "/details/notes", "value": note }]).to_string();
    let tag = [("If-Match", own["eTag"].as_str().unwrap())];
    let first = world.referrals(Method::PATCH, &path, &tag, &note("a")).await;
    assert_eq!((first.status, first.text.as_str()), (StatusCode::NO_CONTENT, ""));
    let second = world.referrals(Method::PATCH, &path, &tag, &note("b")).await;
    assert_eq!(second.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(second.json()["error"]["innerError"]["code"], "resourceModified");
    assert_eq!(
        world.partner_center.referral(own["id"].as_str().unwrap())["details"]["notes"],
        "a"
    );
}

#[tokio::test]
async fn closed_is_the_end_but_for_registration() {
    let world = World::new().await;
    let own = world.created(&shared_deal()).await;
    world.created(&invitation(&own["engagementId"])).await;
    let register = json!([{ "op": "add", "path": "/registrations/-", "value": {
        "type": "AzureIPCoSell",
        "contract": { "value": 10, "currency": "EUR", "term": "Finite" },
        "solutionDetails": [{ "id": "SOL-31415-LRK", "value": 10, "currency": "EUR" }],
    }}]);
    assert_eq!(
        world.patched(&own["id"], &close("Declined")).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        world.patched(&own["id"], &register).await.status,
        StatusCode::BAD_REQUEST
    );
    world.clock.advance(SignedDuration::from_hours(73));
    let won = world.patched(&own["id"], &close("Won")).await;
    assert!(won.json()["closedDateTime"].is_string(), "{}", won.text);
    let note = json!([{ "op": "replace", "path": "/details/notes", "value": "late" }]);
    assert_eq!(world.patched(&own["id"], &note).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        world.patched(&own["id"], &close("Won")).await.status,
        StatusCode::BAD_REQUEST
    );
    // Microsoft has not answered its half yet.
    assert_eq!(world.patched(&own["id"], &register).await.target(), "/registrations/-");
    world
        .partner_center
        .microsoft_accepts(own["engagementId"].as_str().unwrap())
        .unwrap();
    let registered = world.patched(&own["id"], &register).await.json();
    assert_eq!(registered["registrationStatus"], "ReviewPending");
    let raise = json!([{ "op": "replace", "path": "/registrations/0/contract/value", "value": 12 }]);
    assert_eq!(
        world.patched(&own["id"], &raise).await.json()["registrations"][0]["contract"]["value"],
        12
    );
}

#[tokio::test]
async fn an_inbound_deal_is_accepted_before_it_is_edited() {
    let world = World::new().await;
    let sent = world.partner_center.microsoft_sends(&InboundDeal::default());
    let id = json!(sent.referral);
    let inbound = world.partner_center.referral(&sent.referral);
    assert_eq!(
        (&inbound["status"], &inbound["direction"]),
        (&json!("New"), &json!("Incoming"))
    );
    let note = json!([{ "op": "replace", "path": "/details/notes", "value": "mine" }]);
    assert_eq!(world.patched(&id, &note).await.status, StatusCode::BAD_REQUEST);
    let reference = json!([{ "op": "replace", "path": "/externalReferenceId", "value": "crm" }]);
    assert_eq!(world.patched(&id, &reference).await.status, StatusCode::BAD_REQUEST);
    let half = json!([{ "op": "replace", "path": "/status", "value": "Active" }]);
    assert_eq!(world.patched(&id, &half).await.status, StatusCode::BAD_REQUEST);
    let accept = json!([
        { "op": "replace", "path": "/status", "value": "Active" },
        { "op": "replace", "path": "/substatus", "value": "Accepted" },
        { "op": "replace", "path": "/details/notes", "value": "mine" },
        { "op": "replace", "path": "/externalReferenceId", "value": "crm" },
    ]);
    let accepted = world.patched(&id, &accept).await.json();
    assert!(accepted["acceptedDateTime"].is_string());
    assert_eq!(accepted["expirationDateTime"], Value::Null);
}

#[tokio::test]
async fn an_unanswered_deal_expires() {
    let world = World::new().await;
    let sent = world.partner_center.microsoft_sends(&InboundDeal::default());
    assert_eq!(world.partner_center.expire_inbound(), 0);
    world.clock.advance(SignedDuration::from_hours(15 * 24));
    assert_eq!(world.partner_center.expire_inbound(), 1);
    assert_eq!(world.partner_center.referral(&sent.referral)["substatus"], "Expired");
}

#[tokio::test]
async fn a_replacement_needs_its_tag_and_leaves_the_rest_alone() {
    let world = World::new().await;
    let own = world.created(&shared_deal()).await;
    let path = format!("/{}", own["id"].as_str().unwrap());
    let tag = own["eTag"].as_str().unwrap();
    let mut body = own.clone();
    body["name"] = json!("Renamed");
    assert_eq!(
        world
            .referrals(Method::PUT, &path, &[], &body.to_string())
            .await
            .target(),
        "If-Match"
    );
    let linked = world
        .referrals(Method::PUT, &path, &[("If-Match", tag)], &body.to_string())
        .await;
    assert_eq!(linked.target(), "/links");
    body.as_object_mut().unwrap().remove("links");
    let mut moved = body.clone();
    moved["customerProfile"]["name"] = json!("Other");
    let frozen = world
        .referrals(Method::PUT, &path, &[("If-Match", tag)], &moved.to_string())
        .await;
    assert_eq!(frozen.target(), "/customerProfile/name");
    let renamed = world
        .referrals(Method::PUT, &path, &[("If-Match", tag)], &body.to_string())
        .await;
    assert_eq!(renamed.json()["name"], "Renamed");
    assert_eq!(renamed.json()["links"], own["links"]);
}

#[tokio::test]
async fn the_documented_next_link_leads_nowhere() {
    let world = World::new().await;
    world.partner_center.page_size(2);
    for _ in 0..3 {
        world.created(&private_deal()).await;
    }
    let first = world
        .referrals(Method::GET, "?$orderby=updatedDateTime%20desc", &[], "")
        .await
        .json();
    assert_eq!(first["@odata.count"], 2);
    let link = first["@odata.nextLink"].as_str().unwrap();
    let query = link
        .strip_prefix("http://api.partner.microsoft.com/v1.0/referrals")
        .unwrap();
    let literal = format!("{}/v1.0/referrals{query}", world.partner_center.referrals_url());
    assert_eq!(
        world
            .call(Method::GET, &literal, &world.partner_token, &[], "")
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    let second = world.referrals(Method::GET, query, &[], "").await.json();
    assert_eq!(second["value"].as_array().unwrap().len(), 1);
    assert!(second.get("@odata.nextLink").is_none());
    world.partner_center.well_formed_next_link(true);
    let first = world.referrals(Method::GET, "", &[], "").await.json();
    let link = first["@odata.nextLink"].as_str().unwrap();
    assert_eq!(
        world
            .call(Method::GET, link, &world.partner_token, &[], "")
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn lists_and_reads_can_lag() {
    let world = World::new().await;
    world.partner_center.list_lag(Duration::from_secs(60));
    world.partner_center.stale_reads(Duration::from_secs(10));
    let own = world.created(&private_deal()).await;
    let path = format!("/{}", own["id"].as_str().unwrap());
    assert_eq!(
        world.referrals(Method::GET, &path, &[], "").await.status,
        StatusCode::NOT_FOUND
    );
    world.clock.advance(SignedDuration::from_secs(11));
    assert_eq!(
        world.referrals(Method::GET, &path, &[], "").await.status,
        StatusCode::OK
    );
    assert_eq!(
        world.referrals(Method::GET, "", &[], "").await.json()["value"],
        json!([])
    );
    world.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(
        world.referrals(Method::GET, "", &[], "").await.json()["value"][0]["id"],
        own["id"]
    );
}

#[tokio::test]
async fn only_a_user_with_a_second_factor_is_admitted() {
    let world = World::new().await;
    let list = format!("{}/v1.0/engagements/referrals", world.partner_center.referrals_url());
    for token in ["nonsense", &world.webhooks_token] {
        let answer = world.call(Method::GET, &list, token, &[], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.json()["error"]["code"], "unauthenticated");
    }
    let entra = &world.entra;
    let alone = [("grant_type", "client_credentials"), ("resource", PARTNER_AUDIENCE)];
    let alone = token(&world.client, entra, &alone).await;
    assert_eq!(
        world.call(Method::GET, &list, &alone, &[], "").await.status,
        StatusCode::FORBIDDEN
    );
    entra.drop_mfa(true);
    let refresh = entra.add_delegated_client(TENANT, "connector", "secret");
    let single = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &refresh),
        ("resource", PARTNER_AUDIENCE),
    ];
    let single = token(&world.client, entra, &single).await;
    assert_eq!(
        world.call(Method::GET, &list, &single, &[], "").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(world.referrals(Method::GET, "", &[], "").await.status, StatusCode::OK);
    world.clock.advance(SignedDuration::from_hours(31 * 24));
    assert_eq!(
        world.referrals(Method::GET, "", &[], "").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn the_switches_open_the_other_documented_choices() {
    let world = World::new().await;
    world.partner_center.post_status(StatusCode::OK);
    world.partner_center.keep_etag_on_no_op(true);
    world.partner_center.accept_unlisted_paths(true);
    world.partner_center.filter_any_member(true);
    let own = world.referrals(Method::POST, "", &[], &shared_deal().to_string()).await;
    assert_eq!(own.status, StatusCode::OK);
    let own = own.json();
    let name = |name: &str| json!([{ "op": "replace", "path": "/name", "value": name }]);
    let same = world.patched(&own["id"], &name("Orchard sensors")).await;
    assert_eq!(same.json()["eTag"], own["eTag"]);
    let renamed = world.patched(&own["id"], &name("Vineyard sensors")).await;
    assert_ne!(renamed.json()["eTag"], own["eTag"]);
    let found = world
        .referrals(Method::GET, "?$filter=name%20eq%20'Vineyard%20sensors'", &[], "")
        .await;
    assert_eq!(found.json()["@odata.count"], 1);
    world.partner_center.require_client_request_id(true);
    assert_eq!(
        world.referrals(Method::GET, "", &[], "").await.target(),
        "client-request-id"
    );
}
