//! Whose deal it is: accounts are found by name and postal code, then by mail domain and country, and never guessed.

use cosell_tests::world::World;
use serde_json::{Value, json};

/// A deal of the portal whose customer has this name, postal code and mail address.
fn arrives(world: &World, name: &str, postal_code: &str, mail: &str) -> String {
    world.portal_creates(&json!({ "customerProfile": {
        "name": name, "address": { "postalCode": postal_code },
        "team": [{ "firstName": "Una", "lastName": "Moss", "phoneNumber": "+15030000004", "email": mail }],
    } }))
}

fn account_of(world: &World, referral: &str) -> Value {
    world.opportunity(&world.opportunity_of(referral))["_parentaccountid_value"].clone()
}

fn count(world: &World, table: &str) -> usize {
    world.dataverse.rows(table).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_found_by_name_and_postal_code_whatever_the_capitals() {
    let world = World::start().await;
    let account =
        json!({ "name": "O'Neil & Söhne", "address1_postalcode": "80331", "address1_country": "Deutschland" });
    let account = world.dataverse.seller_creates("accounts", &account).unwrap();
    let namesake = json!({ "name": "O'Neil & Söhne", "address1_postalcode": "10115" });
    world.dataverse.seller_creates("accounts", &namesake).unwrap();
    let referral = arrives(&world, " o'neil & SÖHNE ", "80331 ", "una@outlook.com");
    world.settle().await;
    assert_eq!(account_of(&world, &referral), json!(account.to_string()));
    assert_eq!(count(&world, "accounts"), 2);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_whose_name_differs_is_found_by_mail_domain_and_country() {
    let world = World::start().await;
    let crm = &world.dataverse;
    for (name, site, country) in [
        ("Sable Ridge Health Inc.", "https://www.sableridge.example/about", "USA"),
        ("Sable Ridge Deutschland", "sableridge.example", "Deutschland"),
        ("Not Sable Ridge", "https://notsableridge.example", "US"),
    ] {
        let account = json!({ "name": name, "websiteurl": site, "address1_country": country });
        crm.seller_creates("accounts", &account).unwrap();
    }
    let referral = arrives(&world, "Sable Ridge Clinics", "97201", "una.moss@sableridge.example");
    world.settle().await;
    let account = account_of(&world, &referral);
    let account = crm.row("accounts", account.as_str().unwrap().parse().unwrap()).unwrap();
    assert_eq!(account["name"], "Sable Ridge Health Inc.");
    assert_eq!(count(&world, "accounts"), 3);

    // A mail address that anybody can have says nothing of the company.
    let stranger = json!({ "name": "Una's Flowers", "emailaddress1": "flowers@outlook.com", "address1_country": "US" });
    crm.seller_creates("accounts", &stranger).unwrap();
    let referral = arrives(&world, "Lakeside Dental", "97202", "una.moss@outlook.com");
    world.settle().await;
    let account = account_of(&world, &referral);
    let account = crm.row("accounts", account.as_str().unwrap().parse().unwrap()).unwrap();
    assert_eq!(account["name"], "Lakeside Dental");
    assert_eq!(count(&world, "accounts"), 5);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_accounts_that_may_be_the_customer_are_listed_for_a_person() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for name in ["Sable Ridge East", "Sable Ridge West"] {
        let account = json!({ "name": name, "emailaddress1": "office@sableridge.example" });
        ids.push(
            world
                .dataverse
                .seller_creates("accounts", &account)
                .unwrap()
                .to_string(),
        );
    }
    let referral = arrives(&world, "Sable Ridge Clinics", "97201", "una.moss@sableridge.example");
    world.settle().await;
    let opportunity = world.opportunity_of(&referral);
    assert_eq!(account_of(&world, &referral), Value::Null, "nobody guesses");
    assert_eq!(count(&world, "accounts"), 2);
    let row = world.opportunity(&opportunity);
    let trail = row["cosell_audit"].as_str().unwrap();
    for (name, id) in ["Sable Ridge East", "Sable Ridge West"].iter().zip(&ids) {
        assert!(trail.contains(&format!("{name} ({id})")), "{trail}");
    }
    let links = world.links();
    let link = links.iter().find(|link| link["referral"] == json!(referral)).unwrap();
    assert_eq!(link["attention"][0]["code"], "ambiguous", "{link:#}");

    // The seller chooses, and the deal goes on.
    let choice = json!({ "parentaccountid@odata.bind": format!("/accounts({})", ids[0]) });
    world.seller_edits(&opportunity, &choice);
    world.tick().await;
    world.settle().await;
    assert_eq!(world.opportunity(&opportunity)["cosell_syncstatus"], 727_000_001);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_accounts_of_a_domain_than_are_listed_are_left_to_a_person() {
    let world = World::start().await;
    // Each merely contains the domain; the customer's own account may be behind them.
    for number in 0..12 {
        let site = format!("https://not{number}sableridge.example");
        let account = json!({ "name": format!("Reseller {number}"), "websiteurl": site });
        world.dataverse.seller_creates("accounts", &account).unwrap();
    }
    let referral = arrives(&world, "Sable Ridge Clinics", "97201", "una.moss@sableridge.example");
    world.settle().await;
    assert_eq!(account_of(&world, &referral), Value::Null, "nobody guesses");
    assert_eq!(count(&world, "accounts"), 12, "none is made that may be there already");
    let links = world.links();
    let link = links.iter().find(|link| link["referral"] == json!(referral)).unwrap();
    assert_eq!(link["attention"][0]["code"], "ambiguous", "{link:#}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deals_of_a_new_customer_at_once_make_one_account_and_one_contact() {
    let world = World::start().await;
    let referrals: Vec<String> = (0..2)
        .map(|_| arrives(&world, "Sable Ridge Clinics", "97201", "una.moss@sableridge.example"))
        .collect();
    let later = arrives(&world, "SABLE RIDGE  Clinics", "97201", "Una.Moss@sableridge.example");
    world.settle().await;
    assert_eq!((count(&world, "accounts"), count(&world, "contacts")), (1, 1));
    let accounts: Vec<Value> = referrals
        .iter()
        .chain([&later])
        .map(|referral| account_of(&world, referral))
        .collect();
    assert!(
        accounts
            .iter()
            .all(|account| account.is_string() && account == &accounts[0]),
        "{accounts:?}"
    );
    world.close().await;
}
