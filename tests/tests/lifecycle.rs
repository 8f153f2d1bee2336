//! A deal's life between the two systems, told by what its people do: sharing, answering, editing, closing, pausing, and
//! the switches of an operator.
//!
//! Guarantee shown: each move of one side becomes the legal move of the other, or is explained on the deal; what cannot
//! go on waits, listed, and goes on once a person has done what was asked.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use cosell_tests::dataverse::seed;
use cosell_tests::lambda::FailureKind;
use cosell_tests::partner_center::{InboundDeal, InboundKind};
use cosell_tests::switchboard::Exchange;
use cosell_tests::world::{Sharing, World};
use serde_json::json;
use uuid::Uuid;

/// Choices of the sync state column.
const SYNCED: i64 = 727_000_001;
const ERROR: i64 = 727_000_002;
const PAUSED: i64 = 727_000_004;

/// Status reasons of opportunities.
const IN_PROGRESS: i64 = 1;
const ON_HOLD: i64 = 2;
const CANCELED: i64 = 4;
const OUT_SOLD: i64 = 5;

// ---- helpers ----------------------------------------------------------------------------------------------------------

async fn resync(world: &World, opportunity: &str) {
    world
        .invoke(json!({ "command": "resync", "opportunity": opportunity }))
        .await
        .unwrap();
    world.settle().await;
}

fn codes(attention: &[(String, String)]) -> Vec<&str> {
    attention.iter().map(|(code, _)| code.as_str()).collect()
}

/// Texts of audited findings of a kind.
fn audited(world: &World, code: &str) -> Vec<String> {
    let findings = world
        .audit()
        .into_iter()
        .flat_map(|record| record["findings"].as_array().cloned().unwrap_or_default());
    let of_code = findings.filter(|finding| finding["code"] == code);
    of_code
        .map(|finding| finding["text"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn name(world: &World, opportunity: &str) -> String {
    world.opportunity(opportunity)["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The opportunity says that it is in step.
fn is_in_step(world: &World, opportunity: &str) {
    assert_eq!(
        world.opportunity(opportunity)["cosell_syncstatus"],
        json!(SYNCED),
        "{}",
        world.state_of_affairs()
    );
    assert!(
        name(world, opportunity).starts_with("✔ "),
        "{}",
        name(world, opportunity)
    );
    assert_eq!(world.attention(opportunity), []);
}

/// The opportunity asks its seller for something: cross mark, state Error, and these words in the trail.
fn asks_its_seller(world: &World, opportunity: &str, words: &str) {
    assert_eq!(
        world.opportunity(opportunity)["cosell_syncstatus"],
        json!(ERROR),
        "{}",
        world.state_of_affairs()
    );
    assert!(
        name(world, opportunity).starts_with("✘ "),
        "{}",
        name(world, opportunity)
    );
    assert!(
        world.trail(opportunity).contains(words),
        "{words} in {}",
        world.trail(opportunity)
    );
}

fn state(world: &World, opportunity: &str) -> (i64, i64) {
    let row = world.opportunity(opportunity);
    (row["statecode"].as_i64().unwrap(), row["statuscode"].as_i64().unwrap())
}

// ---- sharing ----------------------------------------------------------------------------------------------------------

/// A deal lacks something: nothing is sent and the seller is told; once it is filled in, the deal is shared.
async fn is_shared_once_filled_in(
    take_away: impl FnOnce(&World, &str),
    words: &[&str],
    fill_in: impl FnOnce(&World, &str),
) {
    let world = World::start().await;
    let opportunity = world.seller_enters(&Sharing {
        sync: false,
        ..Sharing::default()
    });
    take_away(&world, &opportunity);
    world.seller_edits(&opportunity, &json!({ "cosell_syncwithpartnercenter": true }));
    world.settle().await;
    assert!(
        world.partner_center.referrals().is_empty(),
        "{:#?}",
        world.partner_center.referrals()
    );
    for words in words {
        asks_its_seller(&world, &opportunity, words);
    }
    let told = world.attention(&opportunity);
    assert_eq!(codes(&told), vec!["missing"; words.len()], "{told:?}");

    // Looking again says nothing twice.
    let (before, mark) = (world.trail(&opportunity), world.switchboard.mark());
    world.invoke(json!({ "run": "compare" })).await.unwrap();
    world.settle().await;
    assert_eq!(world.trail(&opportunity), before);
    assert!(world.vendor_writes_since(mark).is_empty());

    fill_in(&world, &opportunity);
    // What stands beside the opportunity is found by the daily comparison.
    world.invoke(json!({ "run": "compare" })).await.unwrap();
    world.settle().await;
    world.stands_at(&world.referral_of(&opportunity), "Active", "Accepted");
    is_in_step(&world, &opportunity);
    world.close().await;
}

fn neighbour(world: &World, opportunity: &str, column: &str) -> Uuid {
    world.opportunity(opportunity)[column]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_without_a_solution_is_shared_once_it_has_one() {
    is_shared_once_filled_in(
        |world, opportunity| world.seller_edits(opportunity, &json!({ "cosell_solutions": null })),
        &["fill in \"Solutions\""],
        |world, opportunity| world.seller_edits(opportunity, &json!({ "cosell_solutions": "SOL-20817-KTR" })),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_whose_account_has_no_address_is_shared_once_it_has_one() {
    is_shared_once_filled_in(
        |world, opportunity| {
            let account = neighbour(world, opportunity, "_parentaccountid_value");
            let nothing = json!({ "address1_line1": null, "address1_city": null, "address1_country": null });
            world.dataverse.seller_edits(account, &nothing).unwrap();
        },
        &[
            "Street 1 of the account's address",
            "the city of the account's address",
            "the country of the account's address",
        ],
        |world, opportunity| {
            let account = neighbour(world, opportunity, "_parentaccountid_value");
            let address =
                json!({ "address1_line1": "4 Creamery Lane", "address1_city": "Cork", "address1_country": "IE" });
            world.dataverse.seller_edits(account, &address).unwrap();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_whose_owner_has_no_phone_is_shared_once_there_is_one() {
    is_shared_once_filled_in(
        |world, _| {
            let nothing = json!({ "mobilephone": null, "address1_telephone1": null });
            world.dataverse.seller_edits(seed::SELLER, &nothing).unwrap();
        },
        &["fill in the phone number of the owner"],
        |world, _| {
            world
                .dataverse
                .seller_edits(seed::SELLER, &json!({ "mobilephone": "+49 170 5550100" }))
                .unwrap()
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_that_asks_for_help_without_a_contact_is_shared_once_it_names_one() {
    let contact = std::sync::OnceLock::new();
    is_shared_once_filled_in(
        |world, opportunity| {
            contact
                .set(neighbour(world, opportunity, "_parentcontactid_value"))
                .unwrap();
            world.seller_edits(opportunity, &json!({ "parentcontactid": null }));
        },
        &["choose a contact; asking Microsoft for help needs one"],
        |world, opportunity| {
            let bind = format!("/contacts({})", contact.get().unwrap());
            world.seller_edits(opportunity, &json!({ "parentcontactid@odata.bind": bind }));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_is_not_shared_before_its_seller_says_so() {
    let world = World::start().await;
    let opportunity = world.seller_enters(&Sharing {
        sync: false,
        ..Sharing::default()
    });
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 7 }));
    world.settle().await;
    // Not even if somebody asks for it.
    resync(&world, &opportunity).await;
    assert!(
        world.partner_center.referrals().is_empty() && world.links().is_empty(),
        "{}",
        world.state_of_affairs()
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_microsoft_accepts_its_number_and_a_line_in_the_trail_appear() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    let engagement = world.referral(&referral)["engagementId"].as_str().unwrap().to_owned();
    world.partner_center.microsoft_accepts(&engagement).unwrap();
    world.settle().await;
    let halves = world.partner_center.referrals_of_engagement(&engagement);
    let number = halves
        .iter()
        .find_map(|half| half["trackingInfo"]["microsoftMsxId"].as_str())
        .unwrap();
    assert_eq!(world.opportunity(&opportunity)["cosell_microsoftcrmid"], json!(number));
    assert!(
        world.trail(&opportunity).contains("Microsoft's referral is active"),
        "{}",
        world.trail(&opportunity)
    );
    is_in_step(&world, &opportunity);

    world.partner_center.microsoft_loses(&engagement, "Others").unwrap();
    world.settle().await;
    assert!(
        world.trail(&opportunity).contains("Microsoft's referral is lost"),
        "{}",
        world.trail(&opportunity)
    );
    // Microsoft leaving is no reason for the partner to stop.
    assert_eq!(state(&world, &opportunity), (0, IN_PROGRESS));
    world.stands_at(&referral, "Active", "Accepted");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_changed_after_sharing_stays_in_dynamics_and_is_explained() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    world.seller_edits(&opportunity, &json!({ "name": "✔ Northbay, phase two" }));
    world.settle().await;
    assert_eq!(world.referral(&referral)["name"], "Northbay cold-chain monitoring");
    assert_eq!(name(&world, &opportunity), "✔ Northbay, phase two");
    let told = audited(&world, "frozen");
    assert!(told.len() == 1 && told[0].starts_with("Topic "), "{told:?}");

    // It is agreed upon, not fought over: a later look and a later edit leave both names.
    world.portal_edits(&referral, json!({ "details": { "notes": "Phase two it is." } }));
    resync(&world, &opportunity).await;
    assert_eq!(world.opportunity(&opportunity)["description"], "Phase two it is.");
    assert_eq!(world.referral(&referral)["name"], "Northbay cold-chain monitoring");
    assert_eq!(name(&world, &opportunity), "✔ Northbay, phase two");
    is_in_step(&world, &opportunity);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visibility_cannot_be_withdrawn() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    assert_eq!(
        world.opportunity(&opportunity)["cosell_referralvisibility"],
        json!(true)
    );
    world.seller_edits(&opportunity, &json!({ "cosell_referralvisibility": false }));
    world.settle().await;
    assert_eq!(
        world.opportunity(&opportunity)["cosell_referralvisibility"],
        json!(true)
    );
    assert_eq!(
        world.referral(&referral)["consent"]["consentToShareReferralWithMicrosoftSellers"],
        json!(true)
    );
    assert!(
        audited(&world, "frozen")
            .iter()
            .any(|text| text.contains("stays visible")),
        "{:?}",
        audited(&world, "frozen")
    );
    assert!(
        world.trail(&opportunity).contains("stays visible"),
        "{}",
        world.trail(&opportunity)
    );
    world.close().await;
}

// ---- answering --------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_that_nobody_has_answered_sits_on_hold() {
    let world = World::start().await;
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    assert_eq!(state(&world, &opportunity), (0, ON_HOLD));
    world.stands_at(&sent.referral, "New", "Pending");
    is_in_step(&world, &opportunity);
    // Looking at it is not answering it.
    world.invoke(json!({ "run": "compare" })).await.unwrap();
    world.settle().await;
    world.stands_at(&sent.referral, "New", "Pending");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_on_hold_accepts_the_deal_and_takes_value_and_date_along() {
    let world = World::start().await;
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    let mark = world.switchboard.mark();
    let change = json!({ "statuscode": IN_PROGRESS, "estimatedvalue": 64_000.5, "estimatedclosedate": "2027-11-30" });
    world.seller_edits(&opportunity, &change);
    world.settle().await;
    world.stands_at(&sent.referral, "Active", "Accepted");
    let record = world.referral(&sent.referral);
    assert_eq!(record["details"]["dealValue"], json!(64_000.5));
    assert_eq!(record["details"]["closingDateTime"], "2027-11-30T00:00:00Z");
    let writes = world.vendor_writes_since(mark);
    let patches = writes.iter().filter(|write| write.api == "partner_center").count();
    assert_eq!(patches, 1, "{writes:#?}");
    is_in_step(&world, &opportunity);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_waits_for_the_acceptance_survives_an_edit_of_microsoft() {
    let world = World::start().await;
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    // The new name is settled at once, the notes have to wait.
    world.seller_edits(
        &opportunity,
        &json!({ "description": "Call Tessa first.", "name": "✔ Harvest" }),
    );
    world.settle().await;
    world
        .partner_center
        .microsoft_edits(&sent.referral, json!({ "details": { "notes": "The pilot is off." } }))
        .unwrap();
    world.settle().await;
    assert_eq!(world.opportunity(&opportunity)["description"], "Call Tessa first.");
    assert_eq!(world.referral(&sent.referral)["details"]["notes"], "The pilot is off.");

    world.seller_edits(&opportunity, &json!({ "statuscode": IN_PROGRESS }));
    world.settle().await;
    world.stands_at(&sent.referral, "Active", "Accepted");
    // Both typed something else: Dynamics owns the notes, and what Microsoft typed is on record.
    assert_eq!(world.referral(&sent.referral)["details"]["notes"], "Call Tessa first.");
    assert_eq!(world.opportunity(&opportunity)["description"], "Call Tessa first.");
    let losers = world.losers();
    assert!(
        losers.len() == 1 && losers[0]["old"]["text"] == "The pilot is off.",
        "{losers:#?}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn winning_an_unanswered_deal_accepts_it_and_then_closes_it() {
    let world = World::start().await;
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    world.seller_wins(&opportunity);
    world.settle().await;
    world.stands_at(&sent.referral, "Closed", "Won");
    let record = world.referral(&sent.referral);
    assert!(
        record["acceptedDateTime"].is_string(),
        "it was closed without being accepted: {record:#}"
    );
    assert_eq!(state(&world, &opportunity).0, 1);
    is_in_step(&world, &opportunity);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canceling_an_unanswered_deal_declines_it_with_the_sellers_reason() {
    let world = World::start().await;
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    world.seller_edits(
        &opportunity,
        &json!({ "cosell_closereason": "No capacity before harvest" }),
    );
    world.seller_loses(&opportunity, CANCELED);
    world.settle().await;
    world.stands_at(&sent.referral, "Closed", "Declined");
    assert_eq!(
        world.referral(&sent.referral)["statusReason"],
        "No capacity before harvest"
    );
    is_in_step(&world, &opportunity);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_that_nobody_answers_in_time_is_lost_on_both_sides() {
    let mut world = World::start().await;
    // After two weeks the delta link has expired as well, which is told with status 400.
    world.tolerate("dataverse");
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    world.clock.advance(jiff::SignedDuration::from_hours(15 * 24));
    assert_eq!(world.partner_center.expire_inbound(), 1);
    world.settle().await;
    world.stands_at(&sent.referral, "Closed", "Expired");
    assert_eq!(state(&world, &opportunity).0, 2);
    is_in_step(&world, &opportunity);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_stay_out_unless_they_are_wanted() {
    let lead = |kind| InboundDeal {
        kind,
        ..InboundDeal::default()
    };
    for (cosell_only, wanted) in [("true", 0), ("false", 2)] {
        let world = World::start_set(&[("SYNC_COSELL_ONLY", cosell_only)]).await;
        let leads =
            [InboundKind::QualifiedLead, InboundKind::MarketplaceLead].map(|kind| world.microsoft_sends(&lead(kind)));
        let deal = world.microsoft_sends(&InboundDeal::default());
        world.settle().await;
        let rows = world.dataverse.rows("leads");
        assert_eq!(rows.len(), wanted, "{rows:#?}\n{}", world.state_of_affairs());
        for lead in leads {
            assert!(world.opportunities_of(&lead.referral).is_empty());
        }
        is_in_step(&world, &world.opportunity_of(&deal.referral));
        world.close().await;
    }
}

// ---- closing ----------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn losing_a_shared_deal_gives_partner_center_the_reason_it_demands() {
    let world = World::start().await;
    let (with_reason, first) = world.shared(&Sharing::default()).await;
    world.seller_edits(&with_reason, &json!({ "cosell_closereason": "Price" }));
    world.seller_loses(&with_reason, OUT_SOLD);
    world.settle().await;
    world.stands_at(&first, "Closed", "Lost");
    assert_eq!(world.referral(&first)["statusReason"], "Price");
    is_in_step(&world, &with_reason);

    let (without, second) = world.shared(&Sharing::default()).await;
    world.seller_loses(&without, CANCELED);
    world.settle().await;
    world.stands_at(&second, "Closed", "Lost");
    assert_eq!(world.referral(&second)["statusReason"], "Others");
    assert_eq!(state(&world, &without), (2, CANCELED));
    is_in_step(&world, &without);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_won_in_the_portal_while_it_is_edited_in_dynamics_is_won_and_the_edit_explained() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    // The event is lost: the edit is seen first, and meets a referral that is closed already.
    world.partner_center.drop_deliveries(true);
    world.portal_edits(&referral, json!({ "status": "Closed", "substatus": "Won" }));
    world.partner_center.drop_deliveries(false);
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 1 }));
    world.settle().await;
    assert_eq!(state(&world, &opportunity).0, 1);
    world.stands_at(&referral, "Closed", "Won");
    assert_eq!(world.opportunity(&opportunity)["estimatedvalue"], json!(1.0));
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(125_000.5));
    let told = audited(&world, "frozen");
    assert!(
        told.iter().any(|text| text.contains("after the referral was closed")),
        "{told:?}"
    );
    assert!(
        world.trail(&opportunity).contains("after the referral was closed"),
        "{}",
        world.trail(&opportunity)
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_won_in_the_portal_and_lost_in_dynamics_ends_as_the_referral_that_cannot_change() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    world.partner_center.drop_deliveries(true);
    world.portal_edits(&referral, json!({ "status": "Closed", "substatus": "Won" }));
    world.partner_center.drop_deliveries(false);
    world.seller_loses(&opportunity, CANCELED);
    world.settle().await;
    world.stands_at(&referral, "Closed", "Won");
    assert_eq!(state(&world, &opportunity).0, 1);
    let losers = world.losers();
    assert!(
        losers.len() == 1 && losers[0]["field"] == "stage" && losers[0]["side"] == "dynamics",
        "{losers:#?}"
    );
    is_in_step(&world, &opportunity);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reopening_after_partner_center_closed_is_explained_and_not_sent() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    world.portal_edits(&referral, json!({ "status": "Closed", "substatus": "Won" }));
    world.settle().await;
    assert_eq!(state(&world, &opportunity).0, 1);
    let mark = world.switchboard.mark();
    world.seller_reopens(&opportunity);
    world.settle().await;
    let told = world.attention(&opportunity);
    assert_eq!(codes(&told), ["illegal_move"], "{told:?}");
    asks_its_seller(
        &world,
        &opportunity,
        "a closed referral is final; create a new deal instead",
    );
    assert_eq!(state(&world, &opportunity), (0, IN_PROGRESS));
    let writes = world.vendor_writes_since(mark);
    assert!(writes.iter().all(|write| write.api != "partner_center"), "{writes:#?}");

    // It stays said until the seller settles it.
    world.seller_edits(&opportunity, &json!({ "closeprobability": 80 }));
    world.invoke(json!({ "run": "compare" })).await.unwrap();
    world.settle().await;
    assert_eq!(codes(&world.attention(&opportunity)), ["illegal_move"]);
    world.seller_wins(&opportunity);
    world.settle().await;
    is_in_step(&world, &opportunity);
    world.stands_at(&referral, "Closed", "Won");
    world.close().await;
}

// ---- pausing, deleting ------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn switching_sync_off_pauses_a_deal_and_switching_it_on_catches_up_on_both_sides() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    world.seller_edits(&opportunity, &json!({ "cosell_syncwithpartnercenter": false }));
    world.settle().await;
    let row = world.opportunity(&opportunity);
    assert_eq!(row["cosell_syncstatus"], json!(PAUSED), "{}", world.state_of_affairs());
    assert_eq!(row["name"], "Northbay cold-chain monitoring");

    let mark = world.switchboard.mark();
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 90_000 }));
    world.portal_edits(&referral, json!({ "details": { "notes": "Meanwhile." } }));
    world.settle().await;
    world.invoke(json!({ "run": "compare" })).await.unwrap();
    world.settle().await;
    assert!(
        world.vendor_writes_since(mark).is_empty(),
        "{:#?}",
        world.vendor_writes_since(mark)
    );

    world.seller_edits(&opportunity, &json!({ "cosell_syncwithpartnercenter": true }));
    world.settle().await;
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(90_000));
    assert_eq!(world.opportunity(&opportunity)["description"], "Meanwhile.");
    is_in_step(&world, &opportunity);
    assert_eq!(world.referrals_of(&opportunity).len(), 1);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_opportunity_is_not_brought_back() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    let before = world.referral(&referral);
    world.seller_deletes(&opportunity);
    world.settle().await;
    assert_eq!(codes(&world.attention(&opportunity)), ["deleted"]);
    assert_eq!(world.referral(&referral), before);

    world.portal_edits(&referral, json!({ "details": { "notes": "Where has it gone?" } }));
    world.invoke(json!({ "run": "compare" })).await.unwrap();
    world.settle().await;
    assert!(
        world.dataverse.opportunities().is_empty(),
        "{:#?}",
        world.dataverse.opportunities()
    );
    assert_eq!(world.referrals_of(&opportunity).len(), 1);
    assert_eq!(codes(&world.attention(&opportunity)), ["deleted"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_a_plug_in_refuses_is_listed_with_its_words_and_the_others_go_on() {
    let mut world = World::start().await;
    // The refusals are what this is about.
    world.tolerate("dataverse");
    let (stubborn, refused) = world.shared(&Sharing::default()).await;
    let (willing, other) = world.shared(&Sharing::default()).await;
    let id: Uuid = stubborn.parse().unwrap();
    world.dataverse.plugin(move |table, row, _| match (table, row == id) {
        ("opportunity", true) => Err("Locked by Finance until Monday.".to_owned()),
        _ => Ok(()),
    });
    for referral in [&refused, &other] {
        world.portal_edits(referral, json!({ "details": { "notes": "New plan." } }));
    }
    world.settle().await;
    assert_eq!(world.opportunity(&willing)["description"], "New plan.");
    is_in_step(&world, &willing);
    let told = world.attention(&stubborn);
    assert_eq!(codes(&told), ["refused"], "{told:?}");
    assert!(told[0].1.contains("Locked by Finance until Monday."), "{told:?}");
    assert!(
        audited(&world, "refused").contains(&told[0].1),
        "{:?}",
        audited(&world, "refused")
    );
    assert_ne!(world.opportunity(&stubborn)["description"], "New plan.");

    world.dataverse.no_plugin();
    resync(&world, &stubborn).await;
    assert_eq!(world.opportunity(&stubborn)["description"], "New plan.");
    is_in_step(&world, &stubborn);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_leaves_no_intent_open_and_no_edit_behind() {
    let mut world = World::start().await;
    world.tolerate("dataverse");
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    let id: Uuid = opportunity.parse().unwrap();
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 90_000 }));
    world.dataverse.plugin(
        move |table, row, changes| match (table, row == id, changes.get("description")) {
            ("opportunity", true, Some(_)) => Err("Descriptions are frozen.".to_owned()),
            _ => Ok(()),
        },
    );
    // One look carries both: the value lands in Partner Center, the notes are refused by the CRM.
    world.portal_edits(&referral, json!({ "details": { "notes": "Refused." } }));
    world.settle().await;
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(90_000));
    // The seller goes back to the value of before: that is an edit like any other.
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 125_000.5 }));
    world.settle().await;
    assert_eq!(
        world.referral(&referral)["details"]["dealValue"],
        json!(125_000.5),
        "{}",
        world.state_of_affairs()
    );
    assert_eq!(world.opportunity(&opportunity)["estimatedvalue"], json!(125_000.5));
    assert_eq!(codes(&world.attention(&opportunity)), ["refused"]);
    world.close().await;
}

// ---- the poll of Dynamics ---------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_delta_token_costs_a_full_look_and_makes_no_duplicates() {
    let mut world = World::start().await;
    // The expiry is told with status 400.
    world.tolerate("dataverse");
    let (first, _) = world.shared(&Sharing::default()).await;
    let mark = world.switchboard.mark();
    world.dataverse.expire_delta_tokens();
    world.seller_edits(&first, &json!({ "estimatedvalue": 77_000 }));
    let second = world.seller_enters(&Sharing {
        name: "Entered meanwhile".to_owned(),
        ..Sharing::default()
    });
    world.settle().await;
    let told = |exchange: &Exchange| String::from_utf8_lossy(&exchange.answer).contains("0x80044352");
    assert_eq!(
        world
            .switchboard
            .since(mark)
            .iter()
            .filter(|exchange| told(exchange))
            .count(),
        2,
        "once for each followed table"
    );
    for (opportunity, value) in [(&first, json!(77_000)), (&second, json!(125_000.5))] {
        assert_eq!(
            world.referral(&world.referral_of(opportunity))["details"]["dealValue"],
            value
        );
        is_in_step(&world, opportunity);
    }
    assert_eq!(world.partner_center.referrals().len(), 4);
    assert_eq!(world.dataverse.opportunities().len(), 2);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_change_tracking_changes_are_found_by_their_time() {
    let mut world = World::start().await;
    // Asking for tracked changes is refused with status 400.
    world.tolerate("dataverse");
    world.dataverse.change_tracking(false);
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 88_000 }));
    world.settle().await;
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(88_000));
    is_in_step(&world, &opportunity);
    assert_eq!(world.partner_center.referrals().len(), 2);
    world.close().await;
}

// ---- operators --------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn resync_brings_a_deal_into_step_at_once_and_show_writes_nothing() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    world.partner_center.drop_deliveries(true);
    world.portal_edits(&referral, json!({ "details": { "notes": "Nobody was told." } }));
    world.partner_center.drop_deliveries(false);

    let (ledger, mark) = ((world.links(), world.audit()), world.switchboard.mark());
    for subject in [json!({ "referral": referral }), json!({ "opportunity": opportunity })] {
        let mut command = subject.clone();
        command["command"] = "show".into();
        let shown = world.invoke(command).await.unwrap();
        let fields = shown["fields"].as_array().unwrap();
        let notes = fields.iter().find(|field| field["field"] == "notes").unwrap();
        assert_eq!(notes["partner_center"], "Nobody was told.");
        assert_eq!(
            (&notes["base"], &notes["dynamics"]),
            (
                &json!("Sensor telemetry on 40 vans."),
                &json!("Sensor telemetry on 40 vans.")
            )
        );
        assert!(shown["plan"].to_string().contains("Nobody was told."), "{shown:#}");
        assert_eq!(shown["link"]["referral"], json!(referral));
        assert!(!shown["audit"].as_array().unwrap().is_empty());
    }
    assert!(world.vendor_writes_since(mark).is_empty());
    assert_eq!((world.links(), world.audit()), ledger);

    let answer = world
        .invoke(json!({ "command": "resync", "referral": referral }))
        .await
        .unwrap();
    assert_eq!(answer["outcome"], "written", "{answer:#}");
    assert!(answer["findings"].to_string().contains("carried"), "{answer:#}");
    assert_eq!(world.opportunity(&opportunity)["description"], "Nobody was told.");
    let again = world
        .invoke(json!({ "command": "resync", "opportunity": opportunity }))
        .await
        .unwrap();
    assert_eq!(again["outcome"], "echo", "{again:#}");

    let error = world
        .invoke(json!({ "command": "show", "referral": Uuid::new_v4().to_string() }))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.error_type.as_str()),
        (FailureKind::Function, "not_linked"),
        "{error}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_it_would_do_and_writes_to_neither_vendor() {
    let world = World::start_set(&[("DRY_RUN", "true")]).await;
    let mark = world.switchboard.mark();
    let opportunity = world.seller_enters(&Sharing::default());
    let unready = world.seller_enters(&Sharing {
        solutions: None,
        ..Sharing::default()
    });
    let referral = world.portal_creates(&json!({}));
    world.settle().await;
    assert!(
        world.vendor_writes_since(mark).is_empty(),
        "{:#?}",
        world.vendor_writes_since(mark)
    );
    assert_eq!(
        (
            world.dataverse.opportunities().len(),
            world.partner_center.referrals().len()
        ),
        (2, 1)
    );
    let records = world.audit();
    for (side, id) in [
        ("opportunity", &opportunity),
        ("opportunity", &unready),
        ("referral", &referral),
    ] {
        let record = records.iter().find(|record| record[side] == json!(id));
        let record = record.unwrap_or_else(|| panic!("nothing is audited of {side} {id}: {records:#?}"));
        assert_eq!(record["outcome"], "planned", "{record:#}");
        assert!(record["findings"].to_string().contains("dry_run"), "{record:#}");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_check_marks_names_stay_as_people_wrote_them() {
    let world = World::start_set(&[("DISPLAY_CHECKMARK", "false")]).await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    assert_eq!(name(&world, &opportunity), "Northbay cold-chain monitoring");
    let (inbound, _) = world.received(&InboundDeal::default()).await;
    assert_eq!(name(&world, &inbound), "Harvest forecasting");
    let unready = world.seller_enters(&Sharing {
        solutions: None,
        name: "Not ready".to_owned(),
        ..Sharing::default()
    });
    world.portal_edits(&referral, json!({ "status": "Closed", "substatus": "Won" }));
    world.settle().await;
    assert_eq!(name(&world, &unready), "Not ready");
    assert_eq!(name(&world, &opportunity), "Northbay cold-chain monitoring");
    for (opportunity, status) in [(&opportunity, SYNCED), (&inbound, SYNCED), (&unready, ERROR)] {
        assert_eq!(world.opportunity(opportunity)["cosell_syncstatus"], json!(status));
    }
    world.close().await;
}
