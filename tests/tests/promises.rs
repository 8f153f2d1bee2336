//! The promises of the README that a whole world can show: lag, calls per change, silence, nobody's edit lost.

use std::time::Duration;

use cosell_tests::partner_center::{InboundDeal, Release};
use cosell_tests::switchboard::{Exchange, lines};
use cosell_tests::world::{Setup, Sharing, World};
use serde_json::{Value, json};
use tokio::time::Instant;

/// What a newcomer is told: a change is on the other side within this time.
const LAG: Duration = Duration::from_secs(5);

/// A world with one shared co-sell deal at rest.
async fn world_with_a_shared_deal() -> (World, String, String) {
    let world = World::start().await;
    let opportunity = world.seller_enters(&Sharing::default());
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    (world, opportunity, referral)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_either_side_is_on_the_other_within_five_seconds() {
    let setup = Setup {
        polls: Some(Duration::from_millis(500)),
        ..Setup::default()
    };
    let world = World::start_with(setup).await.unwrap();
    let opportunity = world.seller_enters(&Sharing::default());
    let began = Instant::now();
    world
        .until("the deal is in Partner Center", |world| {
            world.referrals_of(&opportunity).len() == 1
        })
        .await;
    world
        .until("the opportunity carries the referral", |world| {
            world.opportunity(&opportunity)["cosell_referralidentifier"].is_string()
        })
        .await;
    assert!(began.elapsed() < LAG, "sharing took {:?}", began.elapsed());
    let referral = world.referral_of(&opportunity);

    world.seller_edits(&opportunity, &json!({"estimatedvalue": 140_000}));
    let began = Instant::now();
    world
        .until("the referral has the value", |world| {
            world.referral(&referral)["details"]["dealValue"] == json!(140_000)
        })
        .await;
    assert!(
        began.elapsed() < LAG,
        "toward Partner Center took {:?}",
        began.elapsed()
    );

    world.portal_edits(
        &referral,
        json!({"details": {"notes": "The customer wants it sooner."}}),
    );
    let began = Instant::now();
    world
        .until("the opportunity has the notes", |world| {
            world.opportunity(&opportunity)["description"] == "The customer wants it sooner."
        })
        .await;
    assert!(began.elapsed() < LAG, "toward Dynamics took {:?}", began.elapsed());

    let portal = world.portal_creates(&json!({}));
    let began = Instant::now();
    world
        .until("the portal's deal is in Dynamics", |world| {
            world.opportunities_of(&portal).len() == 1
        })
        .await;
    assert!(began.elapsed() < LAG, "an inbound deal took {:?}", began.elapsed());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_an_opportunity_costs_one_read_and_one_write() {
    let (world, opportunity, referral) = world_with_a_shared_deal().await;
    // The echo of our own write would be a look of its own; here only the change itself is counted.
    world.partner_center.hold_deliveries(true);
    let mark = world.switchboard.mark();
    world.seller_edits(&opportunity, &json!({"estimatedvalue": 99_000.75}));
    let tick = world.invoke(json!({"run": "poll-dynamics"})).await.unwrap();
    assert_eq!(tick["hinted"], 1, "{tick}");
    world
        .until("the referral has the value", |world| {
            world.referral(&referral)["details"]["dealValue"] == json!(99_000.75)
        })
        .await;
    assert!(world.source.idle(LAG).await);
    let calls = lines(&world.vendor_calls_since(mark));
    assert_eq!(calls.len(), 2, "{calls:#?}");
    assert!(
        calls[0].starts_with("dataverse GET") && calls[1].starts_with("partner_center PATCH"),
        "{calls:#?}"
    );
    world.partner_center.hold_deliveries(false);
    world.partner_center.release(Release::InOrder);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_referral_costs_one_read_and_one_write() {
    let (world, opportunity, referral) = world_with_a_shared_deal().await;
    let mark = world.switchboard.mark();
    world.portal_edits(&referral, json!({"details": {"dealValue": 77_000}}));
    assert!(world.partner_center.quiet(LAG).await && world.source.idle(LAG).await);
    assert_eq!(world.opportunity(&opportunity)["estimatedvalue"], json!(77_000.0));
    let calls = lines(&world.vendor_calls_since(mark));
    assert_eq!(calls.len(), 2, "{calls:#?}");
    assert!(
        calls[0].starts_with("partner_center GET") && calls[1].starts_with("dataverse PATCH"),
        "{calls:#?}"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_costs_at_most_one_read_and_writes_nothing() {
    let (world, opportunity, referral) = world_with_a_shared_deal().await;
    world.portal_edits(&referral, json!({"details": {"dealValue": 77_000}}));
    assert!(world.partner_center.quiet(LAG).await && world.source.idle(LAG).await);
    assert_eq!(world.opportunity(&opportunity)["estimatedvalue"], json!(77_000.0));
    // Our own write to the opportunity comes back in the next delta page.
    let mark = world.switchboard.mark();
    let audited = world.audit().len();
    let tick = world.invoke(json!({"run": "poll-dynamics"})).await.unwrap();
    assert_eq!(tick["hinted"], 1, "{tick}");
    assert!(world.source.idle(LAG).await);
    let calls = lines(&world.vendor_calls_since(mark));
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert!(world.vendor_writes_since(mark).is_empty());
    assert_eq!(world.audit().len(), audited, "an echo leaves no record");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_poll_is_one_call_per_followed_table_however_many_deals_there_are() {
    let world = World::start().await;
    for number in 0..8 {
        world.portal_creates(
            &json!({"name": format!("Deal {number}"), "customerProfile": {"name": format!("Customer {number}")}}),
        );
    }
    world.settle().await;
    assert_eq!(world.dataverse.opportunities().len(), 8);
    // Dynamics: opportunities, and the rows of their solutions.
    for (run, api, tables) in [
        ("poll-dynamics", "dataverse", 2),
        ("poll-partner-center", "partner_center", 1),
    ] {
        let mark = world.switchboard.mark();
        let polled = world.invoke(json!({"run": run})).await.unwrap();
        assert!(world.source.idle(LAG).await);
        assert_eq!(
            (&polled["hinted"], &polled["due"]),
            (&json!(0), &json!(0)),
            "{run}: {polled}"
        );
        let calls: Vec<_> = world
            .switchboard
            .since(mark)
            .into_iter()
            .filter(|call| call.api == api)
            .collect();
        assert_eq!(calls.len(), tables, "{:#?}", lines(&calls));
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_both_sides_agree_polls_and_redeliveries_write_nothing() {
    let world = World::start().await;
    let shared = world.seller_enters(&Sharing::default());
    let portal = world.portal_creates(&json!({}));
    world.settle().await;
    let versions = |world: &World| {
        let etag = |id: &str| world.referral(id)["eTag"].clone();
        (
            world.dataverse.version(),
            etag(&portal),
            etag(&world.referral_of(&shared)),
        )
    };
    let (mark, before) = (world.switchboard.mark(), versions(&world));
    let (links, audited) = (world.links(), world.audit().len());
    world.partner_center.hold_deliveries(true);
    for id in [portal.clone(), world.referral_of(&shared)] {
        let body = world.partner_center.event_body("referral-updated", &id);
        for _ in 0..3 {
            world.post(&world.partner_center.sign_post(&body).unwrap()).await;
        }
    }
    world.invoke(json!({"run": "compare"})).await.unwrap();
    world.settle().await;
    let writes = lines(&world.vendor_writes_since(mark));
    assert!(writes.is_empty(), "{writes:#?}");
    assert_eq!(versions(&world), before);
    assert_eq!(
        world.audit().len(),
        audited,
        "silence leaves no record either: {:#?}",
        world.audit().last()
    );
    assert_eq!(world.links(), links, "nor does it touch the ledger");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_different_fields_on_both_sides_are_both_kept() {
    let (world, opportunity, referral) = world_with_a_shared_deal().await;
    world.partner_center.hold_deliveries(true);
    world.portal_edits(&referral, json!({"details": {"notes": "From the portal."}}));
    world.seller_edits(&opportunity, &json!({"estimatedvalue": 150_000}));
    world.partner_center.hold_deliveries(false);
    world.partner_center.release(Release::InOrder);
    world.settle().await;
    let (row, record) = (world.opportunity(&opportunity), world.referral(&referral));
    assert_eq!(
        (&row["estimatedvalue"], &record["details"]["dealValue"]),
        (&json!(150_000.0), &json!(150_000))
    );
    assert_eq!(
        (&row["description"], &record["details"]["notes"]),
        (&json!("From the portal."), &json!("From the portal."))
    );
    assert!(world.losers().is_empty(), "{:#?}", world.losers());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_the_same_field_keep_the_owners_and_record_the_others() {
    let (world, opportunity, referral) = world_with_a_shared_deal().await;
    world.partner_center.hold_deliveries(true);
    world.portal_edits(&referral, json!({"details": {"dealValue": 111_000}}));
    world.seller_edits(&opportunity, &json!({"estimatedvalue": 222_000}));
    world.partner_center.hold_deliveries(false);
    world.partner_center.release(Release::InOrder);
    world.settle().await;
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(222_000));
    assert_eq!(world.opportunity(&opportunity)["estimatedvalue"], json!(222_000.0));
    let losers = world.losers();
    assert_eq!(losers.len(), 1, "{losers:#?}");
    assert_eq!(losers[0]["field"], "value");
    assert_eq!(losers[0]["old"]["money"]["amount"], json!(111_000));
    assert!(world.audited_codes().contains(&"conflict".to_owned()));
    world.close().await;
}

/// Prints the lag of warm functions, both ways. Ignored because it measures: run it on a machine with nothing else to do,
/// `cargo nextest run -p cosell-tests --test promises --run-ignored only --no-capture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures; run it alone"]
#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
async fn lag_of_fifty_changes_each_way() {
    let setup = Setup {
        polls: Some(Duration::from_millis(500)),
        ..Setup::default()
    };
    let world = World::start_with(setup).await.unwrap();
    let opportunity = world.seller_enters(&Sharing::default());
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    let (mut toward_dynamics, mut toward_partner_center) = (Vec::new(), Vec::new());
    for value in 1..=50 {
        let began = Instant::now();
        world.portal_edits(&referral, json!({"details": {"dealValue": 1000 + value}}));
        world
            .until("Dynamics follows", |world| {
                world.opportunity(&opportunity)["estimatedvalue"] == json!(f64::from(1000 + value))
            })
            .await;
        toward_dynamics.push(began.elapsed());
        let began = Instant::now();
        world.seller_edits(&opportunity, &json!({"estimatedvalue": 2000 + value}));
        world
            .until("Partner Center follows", |world| {
                world.referral(&referral)["details"]["dealValue"] == json!(2000 + value)
            })
            .await;
        toward_partner_center.push(began.elapsed());
    }
    for (name, mut lags) in [
        ("toward Dynamics", toward_dynamics),
        ("toward Partner Center", toward_partner_center),
    ] {
        lags.sort();
        println!("{name}: median {:?}, longest {:?}", lags[24], lags[49]);
        assert!(lags[49] < LAG);
    }
    world.close().await;
}

/// The id that the vendor gave a request.
fn request_id(write: &Exchange) -> Option<&str> {
    let mut names = ["request-id", "x-ms-service-request-id"].into_iter();
    names.find_map(|name| write.answer_headers.get(name))?.to_str().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_leads_from_every_write_to_its_trigger_and_its_outcome() {
    let world = World::start().await;
    let mark = world.switchboard.mark();
    let sent = world.microsoft_sends(&InboundDeal::default());
    world.settle().await;
    let opportunity = world.opportunity_of(&sent.referral);
    // Leaving On Hold accepts the deal.
    world.seller_edits(
        &opportunity,
        &json!({ "statuscode": 1, "description": "They want it sooner." }),
    );
    world.settle().await;
    world.portal_edits(&sent.referral, json!({ "details": { "dealValue": 77_000 } }));
    world.settle().await;

    let writes = world.vendor_writes_since(mark);
    for api in ["dataverse", "partner_center"] {
        assert!(writes.iter().any(|write| write.api == api), "{:#?}", lines(&writes));
    }
    let (audit, logs) = (world.audit(), world.sync.logs());
    let received: String = world
        .switchboard
        .since(mark)
        .iter()
        .filter(|exchange| exchange.api == "aws")
        .map(|exchange| String::from_utf8_lossy(&exchange.answer).into_owned())
        .collect();
    for write in &writes {
        let id = request_id(write).unwrap();
        let names_it = |record: &&Value| {
            record["requests"]
                .as_array()
                .is_some_and(|ids| ids.contains(&json!(id)))
        };
        let records: Vec<&Value> = audit.iter().filter(names_it).collect();
        assert_eq!(records.len(), 1, "{:?}", lines(std::slice::from_ref(write)));
        let record = records[0];
        assert!(
            record["outcome"] == "written" && record["cause"].is_string(),
            "{record:#}"
        );
        // The queue's name for the message that made us look.
        let key = record["trace"].as_str().unwrap();
        assert!(
            logs.iter().any(|line| line.contains(key)),
            "no line of the log has {key}"
        );
        assert!(received.contains(key), "no message was called {key}");
    }
    world.close().await;
}
