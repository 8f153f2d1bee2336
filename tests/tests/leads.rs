//! Leads: what Microsoft sends that is not to be sold together waits in the CRM as a lead until somebody answers it, on
//! either side, and becomes an opportunity by that or ends.
//!
//! Guarantee shown: one lead and at most one opportunity per referral, linked in place; each answer reaches the other side
//! once; what a person typed on the lead, the opportunity or the referral is not lost at the change from one to the other.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

#[expect(dead_code, reason = "the rest is for other scenarios")]
mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use cosell_tests::dataverse::seed;
use cosell_tests::partner_center::{InboundDeal, InboundKind};
use cosell_tests::switchboard::{Exchange, Fault};
use cosell_tests::world::{Setup, Sharing, World};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::common::effects_since;

/// Choice of the sync state column.
const SYNCED: i64 = 727_000_001;

/// Worlds that run at once.
const WORLDS: usize = 2;

/// How long deliveries and messages of one step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Status reasons of leads.
const CANNOT_CONTACT: i64 = 5;
const CANCELED: i64 = 7;

async fn world_with(settings: &[(&str, &str)]) -> World {
    let settings = [("SYNC_COSELL_ONLY", "false"), ("DISPLAY_CHECKMARK", "true")]
        .iter()
        .chain(settings)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    World::start_with(Setup {
        settings,
        workers: 1,
        ..Setup::default()
    })
    .await
    .unwrap()
}

fn deal() -> InboundDeal {
    InboundDeal {
        kind: InboundKind::QualifiedLead,
        closing: Some("2027-05-31T00:00:00Z".to_owned()),
        ..InboundDeal::default()
    }
}

/// A lead that Microsoft has sent and nobody has answered, in step: lead and referral.
async fn received(world: &World) -> (String, String) {
    let sent = world.microsoft_sends(&deal());
    world.settle().await;
    (world.lead_of(&sent.referral), sent.referral)
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

fn link(world: &World, lead: &str) -> Value {
    let found = world.links().into_iter().find(|link| link["lead"] == lead);
    assert!(found.is_some(), "no link of lead {lead}; {}", world.state_of_affairs());
    found.unwrap()
}

/// The one opportunity that came of a lead.
fn offspring(world: &World, lead: &str) -> Value {
    let rows: Vec<Value> = world
        .dataverse
        .opportunities()
        .into_iter()
        .filter(|row| row["_originatingleadid_value"] == lead)
        .collect();
    assert_eq!(rows.len(), 1, "{rows:#?}\n{}", world.state_of_affairs());
    rows[0].clone()
}

/// Lead, opportunity and referral are one deal, linked in place, and nothing is lost or asked.
fn is_linked_in_place(world: &World, lead: &str, referral: &str) -> Value {
    let opportunity = offspring(world, lead);
    let id = text(&opportunity, "opportunityid");
    assert_eq!(world.opportunity_of(referral), id, "{}", world.state_of_affairs());
    let link = link(world, lead);
    assert_eq!(
        (&link["opportunity"], &link["referral"]),
        (&json!(id), &json!(referral))
    );
    assert_eq!(link["attention"], Value::Null, "{link:#}");
    assert_eq!(world.referral(referral)["externalReferenceId"], json!(id));
    assert_eq!(opportunity["cosell_syncwithpartnercenter"], json!(true));
    assert_eq!(
        opportunity["cosell_syncstatus"],
        json!(SYNCED),
        "{}",
        world.state_of_affairs()
    );
    assert!(text(&opportunity, "name").starts_with("✔ "), "{opportunity:#}");
    assert!(
        text(&opportunity, "cosell_audit").contains("takes its place"),
        "{opportunity:#}"
    );
    assert!(world.losers().is_empty(), "{:#?}", world.losers());
    opportunity
}

// ---- arriving ---------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_referral_that_is_not_co_sell_arrives_as_one_lead_with_all_columns() {
    let world = world_with(&[]).await;
    let account = world.dataverse.seller_creates(
        "accounts",
        &json!({ "name": "Meadow Vale Growers", "address1_postalcode": "HR1 2ZZ" }),
    );
    let (id, referral) = received(&world).await;
    assert!(world.dataverse.opportunities().is_empty());
    let lead = world.lead(&id);
    for (column, expected) in [
        ("subject", json!("✔ Harvest forecasting")),
        ("estimatedamount", json!(52_000.0)),
        ("_transactioncurrencyid_value", json!(seed::GBP.to_string())),
        ("estimatedclosedate", json!("2027-05-31")),
        ("description", json!("The customer asks for a pilot before harvest.")),
        ("companyname", json!("Meadow Vale Growers")),
        ("firstname", json!("Tessa")),
        ("lastname", json!("Quill")),
        ("emailaddress1", json!("tessa.quill@meadowvale.example")),
        ("telephone1", json!("+441432000001")),
        ("address1_line1", json!("3 Orchard Way")),
        ("address1_city", json!("Hereford")),
        ("address1_postalcode", json!("HR1 2ZZ")),
        ("address1_country", json!("GB")),
        ("_parentaccountid_value", json!(account.unwrap().to_string())),
        ("cosell_syncwithpartnercenter", json!(true)),
        ("cosell_referralidentifier", json!(referral)),
        ("cosell_solutions", json!("SOL-31415-LRK")),
        ("cosell_syncstatus", json!(SYNCED)),
        ("statecode", json!(0)),
        ("statuscode", json!(1)),
    ] {
        assert_eq!(lead[column], expected, "{column} of {lead:#}");
    }
    assert!(text(&lead, "cosell_referrallink").contains(&referral));
    assert!(text(&lead, "cosell_audit").contains("the lead was created"), "{lead:#}");
    world.rounds_write_nothing().await;
    assert_eq!(world.dataverse.rows("leads").len(), 1);

    // `show` knows it by each of its names.
    for subject in [json!({ "lead": id }), json!({ "referral": referral })] {
        let mut command = subject;
        command["command"] = json!("show");
        let shown = world.invoke(command).await.unwrap();
        let value = shown["fields"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["field"] == "value");
        assert_eq!(value.unwrap()["dynamics"], "52000 GBP", "{shown:#}");
        assert_eq!(shown["plan"]["findings"], json!([]), "{shown:#}");
        assert_eq!(shown["plan"]["changes"], json!([]), "{shown:#}");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_was_accepted_already_arrives_as_an_opportunity() {
    let world = world_with(&[]).await;
    world.partner_center.drop_deliveries(true);
    let sent = world.microsoft_sends(&deal());
    world.portal_edits(&sent.referral, json!({ "status": "Active", "substatus": "Accepted" }));
    world.partner_center.drop_deliveries(false);
    world.settle().await;
    assert!(world.dataverse.rows("leads").is_empty());
    let opportunity = world.opportunity(&world.opportunity_of(&sent.referral));
    assert_eq!(
        (&opportunity["statecode"], &opportunity["statuscode"]),
        (&json!(0), &json!(1))
    );
    world.rounds_write_nothing().await;
    world.close().await;
}

// ---- answered in the CRM ----------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn qualifying_a_lead_accepts_the_referral_and_links_the_opportunity_in_place() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    let before = link(&world, &lead);
    let mark = world.switchboard.mark();
    world.seller_qualifies(&lead);
    world.settle().await;
    world.stands_at(&referral, "Active", "Accepted");
    let opportunity = is_linked_in_place(&world, &lead, &referral);
    assert_eq!(link(&world, &lead)["id"], before["id"]);
    // What a qualification does not carry over stands on the opportunity all the same.
    assert_eq!(opportunity["estimatedvalue"], json!(52_000.0));
    assert_eq!(opportunity["estimatedclosedate"], json!("2027-05-31"));
    assert_eq!(opportunity["cosell_solutions"], json!("SOL-31415-LRK"));
    // One write on each side, and no edit was seen in what nobody edited.
    let writes = world.vendor_writes_since(mark);
    assert_eq!(writes.len(), 2, "{writes:#?}");
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(52_000));

    world.rounds_write_nothing().await;
    world.seller_edits(
        &text(&opportunity, "opportunityid"),
        &json!({ "description": "Pilot agreed." }),
    );
    world.settle().await;
    assert_eq!(world.referral(&referral)["details"]["notes"], "Pilot agreed.");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_seller_typed_on_the_lead_travels_with_the_acceptance() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    let edits =
        json!({ "estimatedamount": 61_000.5, "estimatedclosedate": "2027-07-01", "description": "Two pilots." });
    world.seller_edits(&lead, &edits);
    world.settle().await;
    // Before the answer nothing of it is sent, and Microsoft's own changes still reach the lead.
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(52_000));
    world.seller_qualifies(&lead);
    world.settle().await;
    let record = world.referral(&referral);
    assert_eq!(
        record["details"]["dealValue"],
        json!(61_000.5),
        "{}",
        world.state_of_affairs()
    );
    assert_eq!(record["details"]["closingDateTime"], "2027-07-01T00:00:00Z");
    assert_eq!(record["details"]["notes"], "Two pilots.");
    let opportunity = is_linked_in_place(&world, &lead, &referral);
    assert_eq!(opportunity["estimatedclosedate"], json!("2027-07-01"));
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_seller_typed_on_the_fresh_opportunity_is_an_edit() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    world.seller_qualifies(&lead);
    let opportunity = text(&offspring(&world, &lead), "opportunityid");
    world.seller_edits(
        &opportunity,
        &json!({ "estimatedvalue": 70_000, "estimatedclosedate": "2027-08-15" }),
    );
    world.settle().await;
    is_linked_in_place(&world, &lead, &referral);
    let details = world.referral(&referral)["details"].clone();
    assert_eq!(details["dealValue"], json!(70_000));
    assert_eq!(details["closingDateTime"], "2027-08-15T00:00:00Z");
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_the_fresh_opportunity_makes_no_second_referral() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    world.seller_qualifies(&lead);
    let opportunity = text(&offspring(&world, &lead), "opportunityid");
    world.seller_edits(&opportunity, &json!({ "cosell_syncwithpartnercenter": true }));
    world
        .invoke(json!({ "command": "resync", "opportunity": opportunity }))
        .await
        .unwrap();
    world.settle().await;
    is_linked_in_place(&world, &lead, &referral);
    assert_eq!(world.partner_center.referrals().len(), 1);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disqualifying_a_lead_declines_the_referral_with_the_sellers_reason() {
    let world = world_with(&[]).await;
    for (status, written, expected) in [
        (CANNOT_CONTACT, None, "Cannot contact"),
        (CANCELED, Some("No budget this year"), "No budget this year"),
    ] {
        let (lead, referral) = received(&world).await;
        if let Some(reason) = written {
            world.seller_edits(&lead, &json!({ "cosell_closereason": reason }));
        }
        world.seller_disqualifies(&lead, status);
        world.settle().await;
        world.stands_at(&referral, "Closed", "Declined");
        assert_eq!(world.referral(&referral)["statusReason"], expected);
        assert_eq!(world.lead(&lead)["statuscode"], json!(status));
        assert_eq!(link(&world, &lead)["attention"], Value::Null);
    }
    assert!(world.dataverse.opportunities().is_empty());
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_qualified_without_an_opportunity_asks_for_one_and_goes_on_with_it() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    world.seller_edits(&lead, &json!({ "statecode": 1, "statuscode": 3 }));
    world.settle().await;
    let told = link(&world, &lead)["attention"].to_string();
    assert!(told.contains("create one from the lead"), "{told}");
    world.stands_at(&referral, "New", "Pending");
    world.rounds_write_nothing().await;

    let row = json!({ "name": "Harvest", "originatingleadid@odata.bind": format!("/leads({lead})") });
    world.dataverse.seller_creates("opportunities", &row).unwrap();
    world
        .invoke(json!({ "command": "resync", "lead": lead }))
        .await
        .unwrap();
    world.settle().await;
    world.stands_at(&referral, "Active", "Accepted");
    is_linked_in_place(&world, &lead, &referral);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opportunity_made_by_hand_from_an_open_lead_waits_until_the_lead_is_qualified() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    let referrals = world.partner_center.referrals().len();
    let row = json!({
        "name": "Harvest",
        "cosell_syncwithpartnercenter": true,
        "originatingleadid@odata.bind": format!("/leads({lead})"),
    });
    let opportunity = world
        .dataverse
        .seller_creates("opportunities", &row)
        .unwrap()
        .to_string();
    world.settle().await;
    let waiting = world.invoke(json!({ "command": "attention" })).await.unwrap();
    let told = waiting["deals"].to_string();
    assert!(
        told.contains(&opportunity) && told.contains("qualify the lead"),
        "{told}"
    );
    let shown = world
        .invoke(json!({ "command": "show", "opportunity": opportunity }))
        .await
        .unwrap();
    assert!(shown["attention"].to_string().contains("qualify the lead"), "{shown:#}");
    world.rounds_write_nothing().await;

    world.seller_edits(&lead, &json!({ "statecode": 1, "statuscode": 3 }));
    world.settle().await;
    world.stands_at(&referral, "Active", "Accepted");
    is_linked_in_place(&world, &lead, &referral);
    let waiting = world.invoke(json!({ "command": "attention" })).await.unwrap();
    assert_eq!(waiting["deals"], json!([]), "{waiting:#}");
    assert_eq!(
        world.partner_center.referrals().len(),
        referrals,
        "{}",
        world.state_of_affairs()
    );
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_was_switched_off_is_followed_by_the_opportunity_that_is_shared() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    let referrals = world.partner_center.referrals().len();
    world.seller_edits(&lead, &json!({ "cosell_syncwithpartnercenter": false }));
    world.settle().await;
    assert_eq!(link(&world, &lead)["state"], "paused");
    world.seller_qualifies(&lead);
    world.settle().await;
    world.stands_at(&referral, "New", "Pending");
    let opportunity = text(&offspring(&world, &lead), "opportunityid");
    world.rounds_write_nothing().await;

    world.seller_edits(&opportunity, &json!({ "cosell_syncwithpartnercenter": true }));
    world.settle().await;
    world.stands_at(&referral, "Active", "Accepted");
    is_linked_in_place(&world, &lead, &referral);
    assert_eq!(world.partner_center.referrals().len(), referrals);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_on_a_lead_is_refused_with_the_way_to_go() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    let opportunity = world.seller_enters(&Sharing {
        sync: false,
        ..Sharing::default()
    });
    let before = (world.links(), world.audit());
    for (order, cure) in [
        (
            json!({ "command": "accept", "referral": referral }),
            "qualify it, or disqualify it",
        ),
        (
            json!({ "command": "decline", "lead": lead, "reason": "PartnerOther" }),
            "qualify it, or disqualify it",
        ),
        (
            json!({ "command": "unlink", "referral": referral }),
            "qualify it, or disqualify it",
        ),
        (
            json!({ "command": "link", "referral": referral, "opportunity": opportunity }),
            "the opportunity that comes of it takes its place",
        ),
    ] {
        let error = world.invoke(order.clone()).await.unwrap_err();
        assert_eq!(error.error_type, "order_refused", "{order}: {error}");
        assert!(error.message.contains(cure), "{order}: {error}");
    }
    // A lead and its referral are a pair as well: backfill passes them over, and show calls the fields as the lead does.
    let answer = world.invoke(json!({ "command": "backfill" })).await.unwrap();
    assert_eq!(answer["hinted"], json!(0), "{answer:#}");
    let shown = world.invoke(json!({ "command": "show", "lead": lead })).await.unwrap();
    let fields = shown["fields"].as_array().unwrap();
    let value = fields.iter().find(|field| field["field"] == "value").unwrap();
    assert_eq!(value["label"], "Est. Value", "{shown:#}");
    assert_eq!((world.links(), world.audit()), before);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_lead_is_not_brought_back() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    world.seller_deletes(&lead);
    world.settle().await;
    assert_eq!(link(&world, &lead)["state"], "gone");
    let change = json!({ "details": { "notes": "Call them." } });
    world.partner_center.microsoft_edits(&referral, change).unwrap();
    world.rounds_write_nothing().await;
    assert!(world.dataverse.rows("leads").is_empty());
    world.stands_at(&referral, "New", "Pending");
    world.close().await;
}

// ---- answered in Partner Center ---------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn accepting_in_the_portal_qualifies_the_lead() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    world.portal_edits(
        &referral,
        json!({ "status": "Active", "substatus": "Accepted", "details": { "dealValue": 58_000 } }),
    );
    world.settle().await;
    assert_eq!(world.lead(&lead)["statecode"], json!(1), "{}", world.state_of_affairs());
    let opportunity = is_linked_in_place(&world, &lead, &referral);
    assert_eq!(opportunity["estimatedvalue"], json!(58_000.0));
    assert_eq!(
        opportunity["_transactioncurrencyid_value"],
        json!(seed::GBP.to_string())
    );
    // The customer became an account with its contact, once.
    let accounts = world.dataverse.rows("accounts");
    assert_eq!(accounts.len(), 1, "{accounts:#?}");
    assert_eq!(opportunity["_parentaccountid_value"], accounts[0]["accountid"]);
    assert_eq!(world.dataverse.rows("contacts").len(), 1);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepting_in_the_portal_uses_the_account_that_is_there() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    let account = json!({ "name": "Meadow Vale Growers", "address1_postalcode": "HR1 2ZZ" });
    let account = world.dataverse.seller_creates("accounts", &account).unwrap();
    world.portal_edits(&referral, json!({ "status": "Active", "substatus": "Accepted" }));
    world.settle().await;
    let opportunity = is_linked_in_place(&world, &lead, &referral);
    assert_eq!(opportunity["_parentaccountid_value"], json!(account.to_string()));
    assert_eq!(world.dataverse.rows("accounts").len(), 1);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn winning_in_the_portal_qualifies_the_lead_and_wins_its_opportunity() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    world.partner_center.drop_deliveries(true);
    world.portal_edits(&referral, json!({ "status": "Active", "substatus": "Accepted" }));
    world.portal_edits(&referral, json!({ "status": "Closed", "substatus": "Won" }));
    world.partner_center.drop_deliveries(false);
    world.settle().await;
    assert_eq!(world.lead(&lead)["statecode"], json!(1), "{}", world.state_of_affairs());
    assert_eq!(
        offspring(&world, &lead)["statecode"],
        json!(1),
        "{}",
        world.state_of_affairs()
    );
    assert!(world.losers().is_empty(), "{:#?}", world.losers());
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declining_or_expiring_in_the_portal_disqualifies_the_lead() {
    let mut world = world_with(&[]).await;
    let (declined, referral) = received(&world).await;
    let change = json!({ "status": "Closed", "substatus": "Declined", "statusReason": "Not a customer" });
    world.portal_edits(&referral, change);
    world.settle().await;
    let row = world.lead(&declined);
    assert_eq!((&row["statecode"], &row["statuscode"]), (&json!(2), &json!(CANCELED)));
    assert_eq!(row["cosell_closereason"], "Not a customer");

    let (expired, referral) = received(&world).await;
    // After two weeks the delta link has expired as well, which is told with status 400.
    world.tolerate("dataverse");
    world.clock.advance(jiff::SignedDuration::from_hours(24 * 15));
    world.partner_center.expire_inbound();
    world.settle().await;
    world.stands_at(&referral, "Closed", "Expired");
    assert_eq!(world.lead(&expired)["statecode"], json!(2));
    assert!(world.dataverse.opportunities().is_empty());
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_in_the_portal_reaches_the_lead_in_one_write() {
    let world = world_with(&[]).await;
    let (lead, referral) = received(&world).await;
    world.rounds_write_nothing().await;
    let mark = world.switchboard.mark();
    let change = json!({ "details": { "dealValue": 48_000.25, "notes": "Smaller now.", "closingDateTime": "2027-06-30T00:00:00Z" } });
    world.partner_center.microsoft_edits(&referral, change).unwrap();
    world.settle().await;
    let row = world.lead(&lead);
    assert_eq!(row["estimatedamount"], json!(48_000.25), "{}", world.state_of_affairs());
    assert_eq!(row["description"], "Smaller now.");
    assert_eq!(row["estimatedclosedate"], "2027-06-30");
    assert_eq!(world.vendor_writes_since(mark).len(), 1);
    world.rounds_write_nothing().await;
    world.close().await;
}

// ---- the way there ----------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_tick_costs_one_call_for_each_followed_table() {
    let world = world_with(&[]).await;
    received(&world).await;
    world.rounds_write_nothing().await;
    let mark = world.switchboard.mark();
    world.invoke(json!({ "run": "poll-dynamics" })).await.unwrap();
    let calls = world.switchboard.since(mark);
    let calls: Vec<_> = calls.iter().filter(|call| call.api == "dataverse").collect();
    assert_eq!(calls.len(), 3, "opportunities, their solution rows, leads: {calls:#?}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_change_tracking_changes_of_leads_are_found_by_their_time() {
    let mut world = world_with(&[]).await;
    // That the table tracks nothing is told with status 400.
    world.tolerate("dataverse");
    world.dataverse.track("lead", false);
    let (lead, referral) = received(&world).await;
    world.seller_disqualifies(&lead, CANCELED);
    world.settle().await;
    world.stands_at(&referral, "Closed", "Declined");
    world.close().await;
}

/// Who answers the lead.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Seller,
    Portal,
}

impl Answer {
    fn act(self, world: &World, lead: &str, referral: &str) {
        match self {
            Self::Seller => world.seller_qualifies(lead),
            Self::Portal => world.portal_edits(referral, json!({ "status": "Active", "substatus": "Accepted" })),
        }
    }
}

/// A call about the deal, or a write of its link: not a poll, not a look into the ledger.
fn is_on_the_way(exchange: &Exchange) -> bool {
    let header = |name: &str| {
        let value = exchange.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    match exchange.api {
        "partner_center" => exchange.target.starts_with("/v1.0/engagements/referrals/"),
        "dataverse" => !exchange.target.starts_with("/_control") && !header("prefer").contains("track-changes"),
        "aws" => {
            let writes = ["PutItem", "TransactWriteItems"];
            let is_write = writes
                .iter()
                .any(|operation| header("x-amz-target").ends_with(operation));
            is_write && String::from_utf8_lossy(&exchange.body).contains("LINK#")
        }
        _ => false,
    }
}

/// From the answer to a deal in step; the process dies behind one of the requests in between, if one is given. Returns how
/// many requests it took, and what the vendors carried out.
async fn play(answer: Answer, crash: Option<usize>) -> (usize, BTreeMap<String, usize>) {
    let mut world = world_with(&[]).await;
    // What was carried out and not answered is tried again, and refused then.
    world.tolerate("dataverse");
    let (lead, referral) = received(&world).await;
    let mark = world.switchboard.mark();
    if let Some(position) = crash {
        let kill = Fault::RunAfterApply(world.sync.kill_switch());
        world.switchboard.plan(position, 1, kill, is_on_the_way);
    }
    answer.act(&world, &lead, &referral);
    assert!(world.partner_center.quiet(PATIENCE).await);
    world.tick().await;
    assert!(world.source.idle(PATIENCE).await);
    // A poll that died keeps the others out until its lease ends.
    world.let_leases_lapse();
    world.settle().await;
    world.stands_at(&referral, "Active", "Accepted");
    is_linked_in_place(&world, &lead, &referral);
    let requests = world
        .switchboard
        .since(mark)
        .iter()
        .filter(|call| is_on_the_way(call))
        .count();
    let effects = effects_since(&world, mark).business;
    world.rounds_write_nothing().await;
    world.close().await;
    (requests, effects)
}

/// The process dies behind each request of the way from a lead to its opportunity, and the rerun ends in the same world.
async fn survives_every_crash(answer: Answer) {
    let (requests, effects) = play(answer, None).await;
    assert!(requests > 8, "{requests} requests, {effects:#?}");
    let mut positions = 0..requests;
    let mut running = JoinSet::new();
    loop {
        while running.len() < WORLDS
            && let Some(position) = positions.next()
        {
            running.spawn(async move { (position, play(answer, Some(position)).await.1) });
        }
        let Some(played) = running.join_next().await else { break };
        let (position, carried_out) = played.unwrap();
        assert_eq!(carried_out, effects, "after a crash behind request {position}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn qualifying_survives_a_crash_behind_every_request() {
    survives_every_crash(Answer::Seller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_in_the_portal_survives_a_crash_behind_every_request() {
    survives_every_crash(Answer::Portal).await;
}
