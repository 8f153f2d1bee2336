//! A CRM unlike the default one: another publisher's columns, other kinds of columns, values it demands. The stories of
//! the manual hold in it by a mapping file alone.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[cfg(test)]
mod customers;
#[cfg(test)]
mod input;

use cosell_tests::dataverse::Own;
use cosell_tests::world::{Setup, World};
use serde_json::{Value, json};
use uuid::Uuid;

const MAPPING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/other_crm/msft.toml");

/// A world whose CRM is the one that the mapping describes.
async fn other_world() -> World {
    let setup = Setup {
        settings: vec![("MAPPING_FILE".to_owned(), MAPPING.to_owned())],
        ..Setup::default()
    };
    let world = World::start_with(setup).await.unwrap();
    let crm = &world.dataverse;
    crm.another_publisher("msft_", 861_980_000);
    let flags = [(1, "Yes"), (2, "No")];
    let products = [(10, "Fleet Insight"), (20, "Planning"), (30, "Not in Partner Center")];
    let countries = [(1, "United States"), (49, "Deutschland"), (353, "Éire"), (44, "UK")];
    for (table, name, own) in [
        ("opportunity", "contoso_dealvalue", Own::Decimal(2)),
        ("opportunity", "contoso_dealcurrency", Own::Text(3)),
        ("opportunity", "contoso_visible", Own::Choice(&flags)),
        ("opportunity", "contoso_product", Own::Choice(&products)),
        ("account", "contoso_street", Own::Text(250)),
        ("account", "contoso_town", Own::Text(80)),
        ("account", "contoso_country", Own::Choice(&countries)),
        ("account", "contoso_segment", Own::Whole),
    ] {
        assert!(crm.own_column(table, name, own), "{table} {name}");
    }
    // What the CRM demands of whoever creates a row.
    crm.plugin(|table, _, changes| {
        let (sign, demanded) = match table {
            "opportunity" => ("msft_syncwithpartnercenter", "budgetstatus"),
            "account" => ("name", "contoso_segment"),
            _ => return Ok(()),
        };
        if changes.get(sign).is_some() && changes.get(demanded).is_none() {
            return Err(format!("{demanded} is mandatory"));
        }
        Ok(())
    });
    world
}

fn id(text: &str) -> Uuid {
    text.parse().unwrap()
}

/// A seller enters a deal in the columns of this CRM.
fn enters(world: &World, change: &Value) -> String {
    let crm = &world.dataverse;
    let account = json!({
        "name": "Northbay Dairy Cooperative", "contoso_street": "4 Creamery Lane", "contoso_town": "Cork",
        "address1_postalcode": "T12 X0X0", "contoso_country": 353, "contoso_segment": 1,
    });
    let account = crm.seller_creates("accounts", &account).unwrap();
    let contact = json!({
        "firstname": "Rory", "lastname": "Lane", "emailaddress1": "rory.lane@northbay.example",
        "telephone1": "+353210000002", "parentcustomerid_account@odata.bind": format!("/accounts({account})"),
    });
    let contact = crm.seller_creates("contacts", &contact).unwrap();
    let mut row = json!({
        "name": "Northbay cold-chain monitoring", "contoso_dealvalue": 125_000.5, "contoso_dealcurrency": "EUR",
        "estimatedclosedate": "2027-09-15", "contoso_product": 10, "msft_syncwithpartnercenter": true,
        "msft_howcanmicrosofthelp": 861_980_001, "budgetstatus": 2,
        "parentaccountid@odata.bind": format!("/accounts({account})"),
        "parentcontactid@odata.bind": format!("/contacts({contact})"),
    });
    row.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    crm.seller_creates("opportunities", &row).unwrap().to_string()
}

fn opportunity_of(world: &World, referral: &str) -> Value {
    let rows = world.dataverse.opportunities();
    let found: Vec<Value> = rows
        .into_iter()
        .filter(|row| row["msft_referralidentifier"] == referral)
        .collect();
    assert_eq!(found.len(), 1, "{found:#?}\n{}", world.state_of_affairs());
    found.into_iter().next().unwrap()
}

/// Two rounds of both polls, which find nothing to write.
pub(crate) async fn assert_rest(world: &World) {
    world.settle().await;
    let mark = world.switchboard.mark();
    world.tick().await;
    world.settle().await;
    let writes = world.vendor_writes_since(mark);
    assert!(writes.is_empty(), "{writes:#?}\n{}", world.state_of_affairs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_is_shared_from_columns_of_other_names_and_kinds() {
    let world = other_world().await;
    let opportunity = enters(&world, &json!({}));
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    let record = world.referral(&referral);
    let details = &record["details"];
    assert_eq!(details["dealValue"], json!(125_000.5));
    assert_eq!(details["currency"], "EUR");
    assert_eq!(details["requirements"]["solutions"][0]["id"], "SOL-20817-KTR");
    assert_eq!(record["customerProfile"]["address"]["country"], "IE");
    assert_eq!(record["customerProfile"]["address"]["addressLine1"], "4 Creamery Lane");
    // The column is empty: its default is sent, and the column stays as the seller left it.
    assert_eq!(details["notes"], "Details follow.");
    let row = world.opportunity(&opportunity);
    assert_eq!(row["customerneed"], Value::Null);
    assert_eq!(row["msft_referralidentifier"], json!(referral));
    assert_eq!(row["msft_syncstatus"], json!(861_980_001));
    let engagement = record["engagementId"].as_str().unwrap();
    assert_eq!(world.partner_center.referrals_of_engagement(engagement).len(), 2);

    let mark = world.switchboard.mark();
    let edit = json!({ "contoso_dealvalue": 131_000.25, "contoso_dealcurrency": "USD", "customerneed": "Two sites." });
    world.seller_edits(&opportunity, &edit);
    world.settle().await;
    let record = world.referral(&referral);
    assert_eq!(record["details"]["dealValue"], json!(131_000.25));
    assert_eq!(record["details"]["currency"], "USD");
    assert_eq!(record["details"]["notes"], "Two sites.");
    let patches = world.vendor_writes_since(mark);
    assert_eq!(
        patches
            .iter()
            .filter(|exchange| exchange.api == "partner_center")
            .count(),
        1
    );
    assert_rest(&world).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_of_the_portal_fills_columns_of_other_names_and_kinds() {
    let world = other_world().await;
    let referral = world.portal_creates(&json!({}));
    world.settle().await;
    let row = opportunity_of(&world, &referral);
    let opportunity = row["opportunityid"].as_str().unwrap().to_owned();
    assert_eq!(row["contoso_dealvalue"], json!(9000.0));
    assert_eq!(row["contoso_dealcurrency"], "USD");
    assert_eq!(row["contoso_product"], 10);
    assert_eq!(row["contoso_visible"], 1);
    assert_eq!(row["customerneed"], "Refresh before the audit.");
    assert_eq!(row["budgetstatus"], 1, "a constant of the mapping");
    assert_eq!(row["_ownerid_value"], "9d0e1f2a-0002-4c0f-9a55-000d3a3be645");
    let account = world
        .dataverse
        .row("accounts", id(row["_parentaccountid_value"].as_str().unwrap()))
        .unwrap();
    assert_eq!(account["contoso_country"], 1);
    assert_eq!(account["contoso_street"], "88 Mill Street");
    assert_eq!(account["contoso_segment"], 3);
    let contact = world
        .dataverse
        .row("contacts", id(row["_parentcontactid_value"].as_str().unwrap()))
        .unwrap();
    assert_eq!(contact["jobtitle"], "Partner Center");

    let change = json!({ "details": { "dealValue": 12_500.125, "currency": "GBP", "notes": "Two sites more." } });
    world.portal_edits(&referral, change);
    world.settle().await;
    let row = world.opportunity(&opportunity);
    assert_eq!(
        row["contoso_dealvalue"],
        json!(12_500.13),
        "as many places as the column keeps"
    );
    assert_eq!(row["contoso_dealcurrency"], "GBP");
    assert_eq!(row["customerneed"], "Two sites more.");
    world.seller_wins(&opportunity);
    world.settle().await;
    assert_eq!(world.referral(&referral)["substatus"], "Won");
    assert_rest(&world).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_that_means_nothing_to_the_other_side_is_kept_and_shown_and_not_sent() {
    let world = other_world().await;
    // Toward Partner Center: a product that the value table does not list.
    let opportunity = enters(&world, &json!({ "contoso_product": 30 }));
    world.settle().await;
    assert!(world.referrals_of(&opportunity).is_empty());
    let row = world.opportunity(&opportunity);
    let trail = row["msft_audit"].as_str().unwrap();
    assert!(
        trail.contains("\"Product\" holds \"choice 30\", which cannot be sent"),
        "{trail}"
    );
    assert_eq!(row["contoso_product"], 30);
    world.seller_edits(&opportunity, &json!({ "contoso_product": 20 }));
    world.settle().await;
    let shared = world.referral_of(&opportunity);

    // Toward Dynamics: a solution that the choice has no number for.
    let mark = world.switchboard.mark();
    let solutions = json!([{ "id": "SOL-99999-XXX", "name": "Another", "type": "Name" }]);
    world.portal_edits(
        &shared,
        json!({ "details": { "requirements": { "solutions": solutions } } }),
    );
    world.settle().await;
    let row = world.opportunity(&opportunity);
    assert_eq!(row["contoso_product"], 20, "kept");
    let trail = row["msft_audit"].as_str().unwrap();
    assert!(
        trail.contains("Partner Center says SOL-99999-XXX, for which \"Product\" has no choice"),
        "{trail}"
    );
    assert_eq!(row["msft_syncstatus"], json!(861_980_002));
    let writes = world.vendor_writes_since(mark);
    assert!(
        writes.iter().all(|exchange| exchange.api != "partner_center"),
        "{writes:#?}"
    );
    assert_rest(&world).await;
    world.close().await;
}
