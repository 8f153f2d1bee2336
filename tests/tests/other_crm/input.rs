//! What a CRM may hold that nobody expected: countries in any language, status reasons of its own, columns that are gone.

use std::time::Duration;

use cosell_tests::dataverse::Own;
use cosell_tests::world::{Sharing, World};
use serde_json::{Value, json};

use super::assert_rest;

#[tokio::test(flavor = "multi_thread")]
async fn countries_are_understood_in_several_languages_and_codes_only_if_they_are_codes() {
    let world = World::start().await;
    for (text, code) in [
        ("Irlanda", "IE"),
        ("duitsland", "DE"),
        ("États-Unis", "US"),
        ("Türkiye", "TR"),
        ("nl", "NL"),
    ] {
        let opportunity = world.seller_enters(&Sharing {
            help: None,
            ..Sharing::default()
        });
        let account = world.opportunity(&opportunity)["_parentaccountid_value"].clone();
        let account: uuid::Uuid = account.as_str().unwrap().parse().unwrap();
        world
            .dataverse
            .seller_edits(account, &json!({ "address1_country": text }))
            .unwrap();
        world.settle().await;
        let referral = world.referral_of(&opportunity);
        let country = &world.referral(&referral)["customerProfile"]["address"]["country"];
        assert_eq!(country, &json!(code), "{text}");
    }
    for text in ["XX", "Nordland"] {
        let opportunity = world.seller_enters(&Sharing {
            help: None,
            sync: false,
            ..Sharing::default()
        });
        let account = world.opportunity(&opportunity)["_parentaccountid_value"].clone();
        let account: uuid::Uuid = account.as_str().unwrap().parse().unwrap();
        world
            .dataverse
            .seller_edits(account, &json!({ "address1_country": text }))
            .unwrap();
        world.seller_edits(&opportunity, &json!({ "cosell_syncwithpartnercenter": true }));
        world.settle().await;
        assert!(world.referrals_of(&opportunity).is_empty());
        let row = world.opportunity(&opportunity);
        let trail = row["cosell_audit"].as_str().unwrap();
        assert!(
            trail.contains(&format!("the account's country {text:?} is not known")),
            "{trail}"
        );
    }
    assert_rest(&world).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_reason_of_the_customers_own_counts_as_the_first_of_its_state() {
    let world = World::start().await;
    let crm = &world.dataverse;
    assert!(crm.own_status("opportunity", 0, 100_000_001, "Negotiating"));
    assert!(crm.own_status("opportunity", 2, 100_000_002, "No budget"));
    let opportunity = world.seller_enters(&Sharing {
        help: None,
        ..Sharing::default()
    });
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    let mark = world.switchboard.mark();
    world.seller_edits(&opportunity, &json!({ "statuscode": 100_000_001 }));
    world.tick().await;
    world.settle().await;
    assert!(world.vendor_writes_since(mark).is_empty(), "still active");
    assert_eq!(
        world.opportunity(&opportunity)["statuscode"],
        100_000_001,
        "left as the seller set it"
    );
    world.seller_edits(&opportunity, &json!({ "description": "Goes on." }));
    world.settle().await;
    assert_eq!(world.referral(&referral)["details"]["notes"], "Goes on.");
    world.seller_loses(&opportunity, 100_000_002);
    world.settle().await;
    assert_eq!(world.referral(&referral)["substatus"], "Lost");
    assert_eq!(world.opportunity(&opportunity)["statuscode"], 100_000_002);
    assert_rest(&world).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_missing_is_named_with_its_cure_and_deals_go_on_once_it_is_there() {
    let mut world = World::start().await;
    world.tolerate("dataverse");
    world.dataverse.remove_column("opportunity", "cosell_closereason");
    let opportunity = world.seller_enters(&Sharing::default());
    world.tick().await;
    assert!(world.source.idle(Duration::from_secs(20)).await);
    let named = "Dynamics has no column \"cosell_closereason\" on opportunity; run `make columns`, or correct the name in the mapping";
    let links = world.links();
    let link = links
        .iter()
        .find(|link| link["opportunity"] == json!(opportunity))
        .unwrap();
    assert_eq!(link["due"]["why"], "column_missing", "{link:#}");
    let audit = format!("{:#}", json!(world.audit()));
    assert!(audit.contains(&named.replace('"', "\\\"")), "{audit}");
    assert!(world.referrals_of(&opportunity).is_empty());

    assert!(
        world
            .dataverse
            .own_column("opportunity", "cosell_closereason", Own::Text(200))
    );
    world.seller_edits(&opportunity, &json!({ "description": "Again." }));
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    assert_eq!(world.referral(&referral)["status"], "Active");
    assert_rest(&world).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_time_is_the_date_that_was_written_and_is_not_written_back() {
    let world = World::start().await;
    let referral = world.portal_creates(&json!({}));
    world.settle().await;
    let opportunity = world.opportunity_of(&referral);
    for (instant, date) in [
        ("2027-09-15T23:00:00Z", "2027-09-15"),
        ("2027-09-17T00:00:00+02:00", "2027-09-17"),
        ("2027-09-18T22:00:00-07:00", "2027-09-18"),
    ] {
        world.portal_edits(&referral, json!({ "details": { "closingDateTime": instant } }));
        world.settle().await;
        assert_eq!(world.opportunity(&opportunity)["estimatedclosedate"], date, "{instant}");
        let shown: Value = world.referral(&referral)["details"]["closingDateTime"].clone();
        assert_eq!(shown, json!(instant), "nobody corrects it");
        assert_rest(&world).await;
    }
    world.close().await;
}
