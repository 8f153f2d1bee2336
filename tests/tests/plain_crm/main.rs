//! A Dynamics 365 as Microsoft delivers it: what is copied into it by the documented requests serves the connector.

#[cfg(test)]
mod administrator;

use cosell_tests::dataverse::Crm;
use cosell_tests::vendors::Vendors;
use cosell_tests::world::{Setup, Sharing, TENANT, World};
use serde_json::json;

use crate::administrator::{Administrator, columns, install};

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_is_shared_from_an_environment_that_was_plain_and_its_secrets_empty() {
    let setup = Setup {
        plain_crm: true,
        empty_secrets: true,
        ..Setup::default()
    };
    let world = World::start_with(setup).await.unwrap();
    assert!(
        Sharing::default().enter(&world.dataverse).is_err(),
        "nothing is installed"
    );
    let model = Vendors::start([0; 5], Crm::WithCoSell).await.unwrap();
    model.entra.add_app_client(TENANT, "dataverse-app", "dataverse-secret");
    let from = Administrator::of(&model.entra, &model.dataverse.url()).await;
    let to = Administrator::of(&world.entra, &world.dataverse.url()).await;
    install(&from, &to).await;
    for table in ["opportunity", "lead", "cosell_dealsolution"] {
        assert_eq!(columns(&to, table).await, columns(&from, table).await, "{table}");
    }
    world.store_secrets();

    let deal = Sharing {
        solutions: Some("SOL-20817-KTR".to_owned()),
        ..Sharing::default()
    };
    let opportunity = world.seller_enters(&deal);
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    assert_eq!(world.referral(&referral)["status"], "Active");
    assert_eq!(
        world.opportunity(&opportunity)["cosell_referralidentifier"],
        json!(referral)
    );
    world.seller_wins(&opportunity);
    world.settle().await;
    assert_eq!(world.referral(&referral)["substatus"], "Won");
    world.close().await;
}
