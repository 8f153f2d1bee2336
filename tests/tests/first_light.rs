//! The two stories of the replaced product's manual, on the compiled functions.

use cosell_tests::world::{Sharing, World};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_of_a_seller_appears_in_partner_center_with_microsoft_invited() {
    let world = World::start().await;
    let opportunity = world.seller_enters(&Sharing::default());
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    let record = world.referral(&referral);
    assert_eq!(record["status"], "Active");
    let engagement = record["engagementId"].as_str().unwrap();
    let halves = world.partner_center.referrals_of_engagement(engagement);
    assert_eq!(halves.len(), 2, "{halves:#?}");
    let row = world.opportunity(&opportunity);
    assert_eq!(row["cosell_referralidentifier"], json!(referral));
    assert!(row["name"].as_str().unwrap().starts_with("✔ "), "{}", row["name"]);
    assert!(
        row["cosell_audit"]
            .as_str()
            .unwrap()
            .contains("Microsoft was asked for help")
    );

    world.seller_edits(
        &opportunity,
        &json!({"estimatedvalue": 131000.25, "estimatedclosedate": "2027-10-01"}),
    );
    world.settle().await;
    let record = world.referral(&referral);
    assert_eq!(record["details"]["dealValue"], json!(131000.25));
    assert_eq!(record["details"]["closingDateTime"], "2027-10-01T00:00:00Z");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_of_the_portal_becomes_an_opportunity_and_its_win_closes_it() {
    let world = World::start().await;
    let referral = world.portal_creates(&json!({}));
    world.settle().await;
    let opportunity = world.opportunity_of(&referral);
    assert_eq!(world.referral(&referral)["externalReferenceId"], json!(opportunity));

    world.portal_edits(
        &referral,
        json!({"details": {"dealValue": 12500, "notes": "Two sites more."}}),
    );
    world.settle().await;
    let row = world.opportunity(&opportunity);
    assert_eq!(row["estimatedvalue"], json!(12500.0));
    assert_eq!(row["description"], "Two sites more.");

    world.seller_wins(&opportunity);
    world.settle().await;
    let record = world.referral(&referral);
    assert_eq!(
        (record["status"].as_str(), record["substatus"].as_str()),
        (Some("Closed"), Some("Won"))
    );
    world.close().await;
}
