//! Records that people paired by hand, and consent that was withdrawn in time.

use cosell_tests::switchboard::Fault;
use cosell_tests::world::{Sharing, World};
use http::{Method, StatusCode};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_could_not_be_shared_is_linked_to_the_portal_deal_that_names_it() {
    let world = World::start().await;
    let incomplete = Sharing {
        solutions: None,
        ..Sharing::default()
    };
    let opportunity = world.seller_enters(&incomplete);
    world.settle().await;
    assert!(world.referrals_of(&opportunity).is_empty());
    let referral = world.portal_creates(&json!({ "externalReferenceId": opportunity }));
    world.settle().await;
    assert_eq!(world.opportunity_of(&referral), opportunity);
    assert_eq!(world.dataverse.opportunities().len(), 1);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_that_is_withdrawn_while_a_creation_is_in_doubt_is_respected() {
    let mut world = World::start().await;
    world.tolerate("partner_center");
    let unanswered = Fault::Answer {
        status: StatusCode::BAD_GATEWAY,
        headers: Vec::new(),
        body: String::new(),
    };
    world.switchboard.plan(0, 1, unanswered, |exchange| {
        exchange.api == "partner_center" && exchange.method == Method::POST
    });
    let opportunity = world.seller_enters(&Sharing::default());
    world.invoke(json!({"run": "poll-dynamics"})).await.unwrap();
    world
        .until("the creation is in doubt", |world| {
            world.audited_codes().contains(&"in_doubt".to_owned())
        })
        .await;
    world.seller_edits(&opportunity, &json!({"cosell_syncwithpartnercenter": false}));
    world.settle().await;
    assert!(
        world.partner_center.referrals().is_empty(),
        "nothing was sent after the consent was gone"
    );

    // Given again, it is shared after all, once.
    world.seller_edits(&opportunity, &json!({"cosell_syncwithpartnercenter": true}));
    world.settle().await;
    assert_eq!(world.referrals_of(&opportunity).len(), 1);
    world.close().await;
}
