//! What travels besides the first six fields: people, programmes, campaigns; help that is wanted later; what Microsoft says
//! in its own half; and the grace before a deal is closed for good.
//!
//! Guarantee shown: each term ends on the other side in as few requests as it can, and full rounds afterwards write nothing.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use cosell_tests::dataverse::seed;
use cosell_tests::partner_center::InboundDeal;
use cosell_tests::switchboard::lines;
use cosell_tests::world::{Sharing, World};
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

const CANCELED: i64 = 4;

fn mails(list: &Value) -> Vec<String> {
    let people = list.as_array().cloned().unwrap_or_default();
    people
        .iter()
        .map(|person| person["email"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn attention(world: &World, opportunity: &str) -> Vec<String> {
    world.attention(opportunity).into_iter().map(|(_, text)| text).collect()
}

/// A colleague of the seller.
fn colleague(world: &World) -> Uuid {
    let user = json!({ "firstname": "Bo", "lastname": "Berg", "internalemailaddress": "bo.berg@partner.example",
                       "address1_telephone1": "+49 30 5550199" });
    world.dataverse.seller_creates("systemusers", &user).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_joins_the_team_on_the_referral_and_nobody_is_taken_off() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    assert_eq!(mails(&world.referral(&referral)["team"]), ["ana.silva@partner.example"]);
    let portal =
        json!({ "firstName": "Pia", "lastName": "Portal", "email": "pia@partner.example", "phoneNumber": "1" });
    let mut team = world.referral(&referral)["team"].as_array().cloned().unwrap();
    team.push(portal);
    world.portal_edits(&referral, json!({ "team": team }));
    world.settle().await;

    let mark = world.switchboard.mark();
    let owner = format!("/systemusers({})", colleague(&world));
    world.seller_edits(&opportunity, &json!({ "ownerid@odata.bind": owner }));
    world.settle().await;
    let writes = lines(&world.vendor_writes_since(mark));
    assert_eq!(writes.len(), 1, "{writes:#?}");
    assert_eq!(
        mails(&world.referral(&referral)["team"]),
        [
            "ana.silva@partner.example",
            "pia@partner.example",
            "bo.berg@partner.example"
        ]
    );
    assert_eq!(attention(&world, &opportunity), Vec::<String>::new());
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_contact_joins_the_customers_people() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    let contact = world
        .dataverse
        .seller_creates(
            "contacts",
            &json!({ "firstname": "Nora", "lastname": "Quinn", "emailaddress1": "nora.quinn@northbay.example" }),
        )
        .unwrap();
    let binding = format!("/contacts({contact})");
    world.seller_edits(&opportunity, &json!({ "parentcontactid@odata.bind": binding }));
    world.settle().await;
    let told = attention(&world, &opportunity).join("\n");
    assert!(told.contains("phone number of nora.quinn@northbay.example"), "{told}");

    world
        .dataverse
        .seller_edits(contact, &json!({ "telephone1": "+353210000003" }))
        .unwrap();
    let mark = world.switchboard.mark();
    world.seller_edits(
        &opportunity,
        &json!({ "estimatedvalue": 9, "description": "Both call." }),
    );
    world.settle().await;
    let writes = lines(&world.vendor_writes_since(mark));
    let patches = writes
        .iter()
        .filter(|write| write.starts_with("partner_center"))
        .count();
    assert_eq!(patches, 1, "three fields are one request: {writes:#?}");
    let record = world.referral(&referral);
    assert_eq!(
        mails(&record["customerProfile"]["team"]),
        ["rory.lane@northbay.example", "nora.quinn@northbay.example"]
    );
    assert_eq!(record["details"]["notes"], "Both call.");
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepting_takes_the_owner_along_and_the_application_is_nobodys_colleague() {
    let world = World::start().await;
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    assert_eq!(mails(&world.referral(&sent.referral)["team"]), Vec::<String>::new());
    let owner = format!("/systemusers({})", seed::SELLER);
    world.seller_edits(&opportunity, &json!({ "ownerid@odata.bind": owner }));
    world.settle().await;
    assert_eq!(
        mails(&world.referral(&sent.referral)["team"]),
        Vec::<String>::new(),
        "an unanswered deal takes nothing but the answer"
    );
    world.seller_edits(&opportunity, &json!({ "statecode": 0, "statuscode": 1 }));
    world.settle().await;
    world.stands_at(&sent.referral, "Active", "Accepted");
    assert_eq!(
        mails(&world.referral(&sent.referral)["team"]),
        ["ana.silva@partner.example"]
    );
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programme_of_a_referral_is_shown_to_sellers_and_never_sent() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    world
        .partner_center
        .microsoft_edits(&referral, json!({ "referralProgram": "AzureMigrate" }))
        .unwrap();
    world.settle().await;
    assert_eq!(
        world.opportunity(&opportunity)["cosell_referralprogram"],
        "AzureMigrate"
    );
    world.seller_edits(&opportunity, &json!({ "cosell_referralprogram": "Mine" }));
    world.settle().await;
    assert_eq!(world.referral(&referral)["referralProgram"], "AzureMigrate");
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn help_wanted_after_sharing_makes_the_deal_visible_and_invites_microsoft_once() {
    let world = World::start().await;
    let deal = Sharing {
        help: None,
        ..Sharing::default()
    };
    let (opportunity, referral) = world.shared(&deal).await;
    let record = world.referral(&referral);
    let engagement = record["engagementId"].as_str().unwrap().to_owned();
    assert_eq!(record["consent"]["consentToShareReferralWithMicrosoftSellers"], false);
    assert_eq!(world.partner_center.referrals_of_engagement(&engagement).len(), 1);

    world.seller_edits(
        &opportunity,
        &json!({ "cosell_howcanmicrosofthelp": 727_000_003, "cosell_notestomicrosoft": "A quote, please." }),
    );
    world.settle().await;
    let halves = world.partner_center.referrals_of_engagement(&engagement);
    assert_eq!(halves.len(), 2, "{}", world.state_of_affairs());
    let microsofts = halves.iter().find(|half| half["organizationId"] == "msft").unwrap();
    assert_eq!(
        microsofts["inviteContext"]["assistanceRequestCode"],
        "QuotesOrLicensing"
    );
    assert_eq!(microsofts["inviteContext"]["notes"], "A quote, please.");
    let record = world.referral(&referral);
    assert_eq!(record["consent"]["consentToShareReferralWithMicrosoftSellers"], true);
    let row = world.opportunity(&opportunity);
    assert_eq!(row["cosell_referralvisibility"], true);
    assert!(world.trail(&opportunity).contains("Microsoft was asked for help"));
    world.rounds_write_nothing().await;

    // What was asked cannot be changed or taken back, and says so once.
    world.seller_edits(&opportunity, &json!({ "cosell_howcanmicrosofthelp": null }));
    world.settle().await;
    assert_eq!(world.partner_center.referrals_of_engagement(&engagement).len(), 2);
    let told = world
        .audit()
        .iter()
        .flat_map(|record| record["findings"].as_array().cloned().unwrap_or_default())
        .filter(|finding| finding["text"].as_str().unwrap().contains("cannot be taken back"))
        .count();
    assert_eq!(told, 1, "{}", world.state_of_affairs());
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_that_has_microsofts_half_already_is_linked_without_another_invitation() {
    let world = World::start().await;
    // As the replaced connector left it: the row asks for help, both halves are there, and no event or poll tells of
    // either.
    world.partner_center.drop_deliveries(true);
    world.clock.advance(-SignedDuration::from_hours(48));
    let opportunity = world.seller_enters(&Sharing {
        sync: false,
        ..Sharing::default()
    });
    let referral = world.portal_creates(&json!({
        "type": "Shared", "target": [{ "type": "SolutionProfile", "id": "SOL-20817-KTR" }],
        "externalReferenceId": opportunity,
    }));
    let engagement = world.referral(&referral)["engagementId"].as_str().unwrap().to_owned();
    world.portal_creates(&json!({
        "engagementId": engagement, "type": "Shared",
        "target": [{ "type": "BusinessProfileLocation", "id": "msft" }],
        "inviteContext": { "notes": "", "assistanceRequestCode": "CustomerTechnicalArchitecture" },
    }));
    world.clock.advance(SignedDuration::from_hours(48));
    world.partner_center.drop_deliveries(false);
    world.seller_edits(
        &opportunity,
        &json!({ "cosell_syncwithpartnercenter": true, "cosell_referralidentifier": referral }),
    );
    world.settle().await;
    world.rounds_write_nothing().await;
    assert_eq!(world.partner_center.referrals_of_engagement(&engagement).len(), 2);
    let link = world.link_of(&opportunity).unwrap();
    assert!(link["microsoft"].is_string(), "{link:#}");
    assert!(
        !world.trail(&opportunity).contains("Microsoft was asked"),
        "{}",
        world.trail(&opportunity)
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_help_that_lacks_a_value_says_so_once() {
    let world = World::start().await;
    let deal = Sharing {
        help: None,
        ..Sharing::default()
    };
    let (opportunity, _) = world.shared(&deal).await;
    // On Hold has no counterpart once a deal is accepted, and Microsoft is asked for deals in progress.
    world.seller_edits(&opportunity, &json!({ "statecode": 0, "statuscode": 2 }));
    world.seller_edits(&opportunity, &json!({ "cosell_howcanmicrosofthelp": 727_000_003 }));
    world.settle().await;
    let told = attention(&world, &opportunity);
    assert_eq!(told.len(), 1, "{told:#?}");
    let audited = world.audit().len();
    world.rounds_write_nothing().await;
    assert_eq!(attention(&world, &opportunity), told);
    assert_eq!(world.audit().len(), audited, "said once");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn help_that_lacks_a_contact_is_asked_for_once_there_is_one() {
    let world = World::start().await;
    let deal = Sharing {
        help: None,
        ..Sharing::default()
    };
    let (opportunity, referral) = world.shared(&deal).await;
    let engagement = world.referral(&referral)["engagementId"].as_str().unwrap().to_owned();
    let contact = world.opportunity(&opportunity)["_parentcontactid_value"].clone();
    world.seller_edits(
        &opportunity,
        &json!({ "cosell_howcanmicrosofthelp": 727_000_003, "parentcontactid@odata.bind": null }),
    );
    world.settle().await;
    assert_eq!(world.partner_center.referrals_of_engagement(&engagement).len(), 1);
    let told = attention(&world, &opportunity).join("\n");
    assert!(told.contains("choose a contact"), "{told}");
    world.rounds_write_nothing().await;

    let contact = format!("/contacts({})", contact.as_str().unwrap());
    world.seller_edits(&opportunity, &json!({ "parentcontactid@odata.bind": contact }));
    world.settle().await;
    assert_eq!(
        world.partner_center.referrals_of_engagement(&engagement).len(),
        2,
        "{}",
        world.state_of_affairs()
    );
    assert_eq!(attention(&world, &opportunity), Vec::<String>::new());
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn help_wanted_for_a_deal_of_microsofts_own_is_explained() {
    let world = World::start().await;
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    world.seller_edits(&opportunity, &json!({ "statecode": 0, "statuscode": 1 }));
    world.settle().await;
    let before = world.partner_center.referrals_of_engagement(&sent.engagement).len();
    world.seller_edits(&opportunity, &json!({ "cosell_howcanmicrosofthelp": 727_000_003 }));
    world.settle().await;
    assert_eq!(
        world.partner_center.referrals_of_engagement(&sent.engagement).len(),
        before
    );
    let told = world.trail(&opportunity);
    assert!(told.contains("Microsoft sent this deal itself"), "{told}");
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_microsoft_writes_in_its_half_is_on_the_record() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    let engagement = world.referral(&referral)["engagementId"].as_str().unwrap().to_owned();
    let halves = world.partner_center.referrals_of_engagement(&engagement);
    let microsofts = halves.iter().find(|half| half["organizationId"] == "msft").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    world.partner_center.microsoft_accepts(&engagement).unwrap();
    let team =
        json!([{ "firstName": "Mona", "lastName": "Soft", "email": "mona@microsoft.example", "phoneNumber": "2" }]);
    let change = json!({ "team": team, "details": { "notes": "Funding looks likely." } });
    world.partner_center.microsoft_edits(&microsofts, change).unwrap();
    world.settle().await;
    let told = world.trail(&opportunity);
    for line in [
        "Microsoft's referral is active",
        "Microsoft's notes on the deal: Funding looks likely.",
        "Microsoft's people on the deal: Mona Soft <mona@microsoft.example>",
    ] {
        assert!(told.contains(line), "{line:?} in {told}");
    }
    assert_eq!(
        world.opportunity(&opportunity)["description"],
        "Sensor telemetry on 40 vans."
    );
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_closed_by_mistake_can_be_taken_back_before_partner_center_is_told() {
    let world = World::start_set(&[("CLOSE_DELAY_SECONDS", "86400")]).await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 77 }));
    world.seller_wins(&opportunity);
    world.settle().await;
    world.stands_at(&referral, "Active", "Accepted");
    assert_eq!(
        world.referral(&referral)["details"]["dealValue"],
        json!(77),
        "the rest goes on"
    );
    let link = world.link_of(&opportunity).unwrap();
    assert_eq!(link["due"]["why"], "closing", "{link:#}");
    let audit = world.audit();
    let told = audit.iter().any(|record| {
        record["findings"]
            .to_string()
            .contains("to take it back, reopen it before")
    });
    assert!(told, "{}", world.state_of_affairs());
    world.rounds_write_nothing().await;

    world.seller_reopens(&opportunity);
    world.settle().await;
    world.stands_at(&referral, "Active", "Accepted");
    let link = world.link_of(&opportunity).unwrap();
    assert_eq!(
        (&link["closing"], &link["due"]),
        (&Value::Null, &Value::Null),
        "{link:#}"
    );
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_deal_is_closed_in_partner_center_once_the_time_is_up() {
    let world = World::start_set(&[("CLOSE_DELAY_SECONDS", "2")]).await;
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    world.seller_edits(
        &opportunity,
        &json!({ "cosell_closereason": "Customer chose another vendor" }),
    );
    world.seller_loses(&opportunity, CANCELED);
    let status = |world: &World| world.position(&sent.referral).0;
    world.invoke(json!({ "run": "poll-dynamics" })).await.unwrap();
    world
        .until("the closing is noted", |world| {
            world
                .link_of(&opportunity)
                .is_some_and(|link| link["due"]["why"] == "closing")
        })
        .await;
    assert_eq!(status(&world), "New");
    world.settle().await;
    world.stands_at(&sent.referral, "Closed", "Declined");
    assert_eq!(
        world.referral(&sent.referral)["statusReason"],
        "Customer chose another vendor"
    );
    assert_eq!(world.link_of(&opportunity).unwrap()["closing"], Value::Null);
    world.rounds_write_nothing().await;
    world.close().await;
}
