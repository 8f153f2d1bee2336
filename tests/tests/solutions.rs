//! Solutions of a deal as rows of their own, from the seller's and the portal's point of view (F28, F51, F53).
#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

#[expect(dead_code, reason = "deliveries and crashes compare effects, too")]
mod common;

use std::time::Duration;

use cosell_tests::partner_center::{InboundDeal, Release};
use cosell_tests::switchboard::lines;
use cosell_tests::world::{Sharing, World};
use serde_json::{Value, json};

use self::common::assert_in_step;

const PATIENCE: Duration = Duration::from_secs(10);

const INSIGHT: &str = "SOL-20817-KTR";
const SENSORS: &str = "SOL-31415-LRK";
const CRATES: &str = "SOL-40001-CRT";

fn row(id: &str, name: &str) -> Value {
    json!({
        "cosell_name": name, "cosell_solutionid": id, "cosell_publishername": "Aldermoor Systems Ltd",
        "cosell_solutiontype": "3P",
    })
}

/// A solution as the portal enters it.
fn entry(id: &str, name: &str) -> Value {
    json!({ "id": id, "name": name, "type": "Name", "publisherName": "Aldermoor Systems Ltd", "solutionType": "3P" })
}

fn with_solutions(entries: &[Value]) -> Value {
    json!({ "details": { "requirements": { "solutions": entries } } })
}

fn in_portal(world: &World, referral: &str) -> Vec<Value> {
    let record = world.referral(referral);
    record["details"]["requirements"]["solutions"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

fn ids_in_portal(world: &World, referral: &str) -> Vec<String> {
    let entries = in_portal(world, referral);
    let mut ids: Vec<String> = entries.iter().map(|entry| text(entry, "id")).collect();
    ids.sort();
    ids
}

fn ids_of_rows(world: &World, opportunity: &str) -> Vec<String> {
    let rows = world.solution_rows(opportunity);
    rows.iter().map(|row| text(row, "cosell_solutionid")).collect()
}

fn key_of(world: &World, opportunity: &str, id: &str) -> String {
    let rows = world.solution_rows(opportunity);
    let found = rows.iter().find(|row| row["cosell_solutionid"] == id);
    found.map(|row| text(row, "cosell_dealsolutionid")).unwrap_or_default()
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

/// A world, and a deal in it that a seller shared with one solution row.
async fn world_with_a_row() -> (World, String, String) {
    let world = World::start().await;
    let (opportunity, referral) = share_a_row(&world).await;
    (world, opportunity, referral)
}

/// A seller shares a deal with one solution row.
async fn share_a_row(world: &World) -> (String, String) {
    let opportunity = world.seller_enters(&Sharing {
        solutions: None,
        sync: false,
        ..Sharing::default()
    });
    world.seller_adds_solution(&opportunity, &row(INSIGHT, "Fleet Insight"));
    world.seller_edits(&opportunity, &json!({ "cosell_syncwithpartnercenter": true }));
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    (opportunity, referral)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_shared_with_name_and_publisher() {
    let (world, opportunity, referral) = world_with_a_row().await;
    let expected = json!([{
        "id": INSIGHT, "name": "Fleet Insight", "publisherName": "Aldermoor Systems Ltd", "solutionType": "3P", "type": "Name",
    }]);
    let sent = in_portal(&world, &referral);
    for (member, value) in expected[0].as_object().into_iter().flatten() {
        assert_eq!(&sent[0][member], value, "{member} of {sent:#?}");
    }
    assert_eq!(sent.len(), 1, "{sent:#?}");
    assert_eq!(world.opportunity(&opportunity)["cosell_solutions"], Value::Null);
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_without_rows_waits_for_the_first() {
    let world = World::start().await;
    let opportunity = world.seller_enters(&Sharing {
        solutions: None,
        ..Sharing::default()
    });
    world.settle().await;
    assert!(world.referrals_of(&opportunity).is_empty());
    assert!(world.attention(&opportunity)[0].1.contains("Solutions"));
    // The row alone changes, not the opportunity.
    world.seller_adds_solution(&opportunity, &row(INSIGHT, "Fleet Insight"));
    world.settle().await;
    assert_in_step(&world, &opportunity, &world.referral_of(&opportunity));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_added_or_deleted_reaches_the_referral_with_the_next_poll() {
    let (world, opportunity, referral) = world_with_a_row().await;
    let known = json!({ "price": 7, "quantity": 2 });
    let mut kept = entry(INSIGHT, "Fleet Insight");
    kept["price"] = known["price"].clone();
    world.portal_edits(&referral, with_solutions(&[kept]));
    world.settle().await;
    world.partner_center.hold_deliveries(true);

    let mark = world.switchboard.mark();
    let added = world.seller_adds_solution(&opportunity, &row(SENSORS, "Sensors"));
    let tick = world.invoke(json!({ "run": "poll-dynamics" })).await.ok();
    assert_eq!(tick.unwrap_or_default()["hinted"], 1);
    assert!(world.source.idle(PATIENCE).await);
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT, SENSORS]);
    let sent = in_portal(&world, &referral);
    let of = |id: &str| sent.iter().find(|entry| entry["id"] == id).cloned().unwrap_or_default();
    assert_eq!(of(INSIGHT)["price"], 7, "what stays keeps what the portal knows of it");
    assert_eq!(
        (&of(SENSORS)["name"], &of(SENSORS)["publisherName"]),
        (&json!("Sensors"), &json!("Aldermoor Systems Ltd"))
    );
    // As for any change: one read of the opportunity, one of the referral whose list is replaced whole, one PATCH.
    let calls = lines(&world.vendor_calls_since(mark));
    assert_eq!(calls.len(), 3, "{calls:#?}");
    assert_eq!(world.vendor_writes_since(mark).len(), 1, "{calls:#?}");

    let mark = world.switchboard.mark();
    world.seller_deletes(&added);
    let tick = world.invoke(json!({ "run": "poll-dynamics" })).await.ok();
    assert_eq!(tick.unwrap_or_default()["hinted"], 1, "a deleted row leads to its deal");
    assert!(world.source.idle(PATIENCE).await);
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT]);
    assert_eq!(world.vendor_writes_since(mark).len(), 1);

    world.partner_center.hold_deliveries(false);
    world.partner_center.release(Release::InOrder);
    world.settle().await;
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_portal_adds_or_removes_makes_or_deactivates_a_row() {
    let (world, opportunity, referral) = world_with_a_row().await;
    let own = key_of(&world, &opportunity, INSIGHT);
    let extras = json!({ "cosell_quantity": 12, "cosell_price": 99.5 });
    world.seller_edits(&own, &extras);
    world.settle().await;

    world.portal_edits(
        &referral,
        with_solutions(&[entry(INSIGHT, "Fleet Insight"), entry(CRATES, "Crates")]),
    );
    world.settle().await;
    let rows = world.solution_rows(&opportunity);
    assert_eq!(ids_of_rows(&world, &opportunity), [INSIGHT, CRATES]);
    assert_eq!(
        (
            &rows[1]["cosell_name"],
            &rows[1]["cosell_publishername"],
            &rows[1]["cosell_solutiontype"]
        ),
        (&json!("Crates"), &json!("Aldermoor Systems Ltd"), &json!("3P"))
    );
    assert_eq!(world.opportunity(&opportunity)["cosell_solutions"], Value::Null);
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;

    // Taken out and put in again: one write each, and what the seller kept in the row is not lost.
    let crates = key_of(&world, &opportunity, CRATES);
    world.seller_edits(&crates, &json!({ "cosell_quantity": 3 }));
    let both = [entry(INSIGHT, "Fleet Insight"), entry(CRATES, "Crates")];
    for entries in [&both[..1], &both[..], &both[..1]] {
        let mark = world.switchboard.mark();
        world.portal_edits(&referral, with_solutions(entries));
        world.settle().await;
        let writes = world.vendor_writes_since(mark);
        let of_rows = writes
            .iter()
            .filter(|call| call.target.contains("cosell_dealsolutions("));
        let of_rows: Vec<_> = of_rows.collect();
        assert_eq!(of_rows.len(), 1, "{:#?}", lines(&writes));
        assert!(of_rows[0].method == "PATCH" && of_rows[0].headers.contains_key("if-match"));
        assert_eq!(ids_of_rows(&world, &opportunity).len(), entries.len());
        if let Some(again) = world
            .solution_rows(&opportunity)
            .iter()
            .find(|row| row["cosell_solutionid"] == CRATES)
        {
            assert_eq!(
                (text(again, "cosell_dealsolutionid"), &again["cosell_quantity"]),
                (crates.clone(), &json!(3))
            );
        }
        assert_in_step(&world, &opportunity, &referral);
    }
    assert_eq!(
        key_of(&world, &opportunity, INSIGHT),
        own,
        "the row that stays is the seller's"
    );
    let stayed = &world.solution_rows(&opportunity)[0];
    assert_eq!(
        (&stayed["cosell_quantity"], &stayed["cosell_price"]),
        (&json!(12), &json!(99.5))
    );
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn solutions_changed_on_both_sides_keep_the_owners_and_record_the_others() {
    let (world, opportunity, referral) = world_with_a_row().await;
    world.partner_center.hold_deliveries(true);
    world.portal_edits(
        &referral,
        with_solutions(&[entry(INSIGHT, "Fleet Insight"), entry(CRATES, "Crates")]),
    );
    world.seller_adds_solution(&opportunity, &row(SENSORS, "Sensors"));
    world.partner_center.hold_deliveries(false);
    world.partner_center.release(Release::InOrder);
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT, SENSORS]);
    assert_eq!(ids_of_rows(&world, &opportunity), [INSIGHT, SENSORS]);
    let losers = world.losers();
    assert_eq!(losers.len(), 1, "{losers:#?}");
    assert_eq!(losers[0]["old"]["solutions"], json!([INSIGHT, CRATES]));
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_record_keeps_to_its_memo_until_the_portal_changes_it() {
    let world = World::start().await;
    let opportunity = world.seller_enters(&Sharing::default());
    world.settle().await;
    let referral = world.referral_of(&opportunity);
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT]);

    world.portal_edits(
        &referral,
        with_solutions(&[entry(INSIGHT, "Fleet Insight"), entry(CRATES, "Crates")]),
    );
    world.settle().await;
    assert_eq!(ids_of_rows(&world, &opportunity), [INSIGHT, CRATES]);
    assert_eq!(world.opportunity(&opportunity)["cosell_solutions"], Value::Null);
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;

    // Whoever goes on writing there is heard, and takes nothing away by it.
    world.seller_edits(&opportunity, &json!({ "cosell_solutions": SENSORS }));
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT, SENSORS, CRATES]);
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbound_deal_gets_rows() {
    let world = World::start().await;
    let sent = world.microsoft_sends(&InboundDeal {
        solutions: vec![SENSORS.to_owned(), INSIGHT.to_owned()],
        ..InboundDeal::default()
    });
    world.settle().await;
    let opportunity = world.opportunity_of(&sent.referral);
    assert_eq!(ids_of_rows(&world, &opportunity), [INSIGHT, SENSORS]);
    let rows = world.solution_rows(&opportunity);
    for row in &rows {
        assert!(!text(row, "cosell_name").is_empty() && !text(row, "cosell_publishername").is_empty());
    }
    assert_eq!(world.opportunity(&opportunity)["cosell_solutions"], Value::Null);
    assert_in_step(&world, &opportunity, &sent.referral);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_is_not_emptied_of_solutions() {
    let (world, opportunity, referral) = world_with_a_row().await;
    world.seller_deletes(&key_of(&world, &opportunity, INSIGHT));
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT]);
    let said = world.attention(&opportunity);
    assert!(said.len() == 1 && said[0].1.contains("emptied"), "{said:?}");
    world.seller_adds_solution(&opportunity, &row(SENSORS, "Sensors"));
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [SENSORS]);
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_an_id_is_named_and_two_with_the_same_count_once() {
    let (world, opportunity, referral) = world_with_a_row().await;
    let first = key_of(&world, &opportunity, INSIGHT);
    let blank = world.seller_adds_solution(&opportunity, &json!({ "cosell_name": "Something new" }));
    let twin = world.seller_adds_solution(&opportunity, &row(INSIGHT, "Fleet Insight again"));
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT]);
    let said = world.attention(&opportunity);
    assert!(said.len() == 1 && said[0].1.contains("Something new"), "{said:?}");
    world.rounds_write_nothing().await;
    // Deleted, the row is told by its key alone, and still leads to its deal.
    world.seller_deletes(&blank);
    world.settle().await;
    assert_in_step(&world, &opportunity, &referral);
    world.seller_deletes(&first);
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT], "one of the two is left");
    world.seller_edits(&twin, &json!({ "cosell_solutionid": SENSORS }));
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [SENSORS]);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_moved_to_another_deal_leaves_the_first() {
    let (world, opportunity, referral) = world_with_a_row().await;
    let other = world.portal_creates(&json!({ "customerProfile": { "name": "Another customer" } }));
    let moved = world.seller_adds_solution(&opportunity, &row(SENSORS, "Sensors"));
    world.settle().await;
    let another = world.opportunity_of(&other);
    let bind = format!("/opportunities({another})");
    world.seller_edits(&moved, &json!({ "cosell_OpportunityId@odata.bind": bind }));
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT]);
    assert_eq!(ids_in_portal(&world, &other), [INSIGHT, SENSORS]);
    // The portal wants it back: a row of its own, whatever became of the first.
    world.portal_edits(
        &referral,
        with_solutions(&[entry(INSIGHT, "Fleet Insight"), entry(SENSORS, "Sensors")]),
    );
    world.settle().await;
    assert_eq!(ids_of_rows(&world, &opportunity), [INSIGHT, SENSORS]);
    // Now one of ours is moved away, and its key is not free for its successor.
    let ours = key_of(&world, &opportunity, SENSORS);
    let bind = format!("/opportunities({another})");
    world.seller_edits(
        &ours,
        &json!({ "cosell_OpportunityId@odata.bind": bind, "cosell_solutionid": CRATES }),
    );
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT]);
    world.portal_edits(
        &referral,
        with_solutions(&[entry(INSIGHT, "Fleet Insight"), entry(SENSORS, "Sensors")]),
    );
    world.settle().await;
    assert_eq!(ids_of_rows(&world, &opportunity), [INSIGHT, SENSORS]);
    assert_ne!(key_of(&world, &opportunity, SENSORS), ours);
    assert_eq!(ids_of_rows(&world, &another), [INSIGHT, SENSORS, CRATES]);
    assert_in_step(&world, &opportunity, &referral);
    assert_in_step(&world, &another, &other);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_row_is_missed_by_its_first_deal_though_the_other_was_looked_at_first() {
    let (world, opportunity, referral) = world_with_a_row().await;
    let other = world.portal_creates(&json!({ "customerProfile": { "name": "Another customer" } }));
    let moved = world.seller_adds_solution(&opportunity, &row(SENSORS, "Sensors"));
    world.settle().await;
    let another = world.opportunity_of(&other);
    let bind = format!("/opportunities({another})");
    world.seller_edits(&moved, &json!({ "cosell_OpportunityId@odata.bind": bind }));
    // Before any poll has told of the row.
    let looked = world.invoke(json!({ "command": "resync", "referral": other })).await;
    assert!(looked.is_ok(), "{looked:?}");
    assert_eq!(ids_in_portal(&world, &other), [INSIGHT, SENSORS]);
    assert_eq!(
        ids_in_portal(&world, &referral),
        [INSIGHT, SENSORS],
        "nothing has told of it yet"
    );
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT]);
    assert_in_step(&world, &opportunity, &referral);
    assert_in_step(&world, &another, &other);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_cannot_be_read_keeps_no_other_deal_from_being_found() {
    let (world, opportunity, referral) = world_with_a_row().await;
    let other = world.portal_creates(&json!({ "customerProfile": { "name": "Another customer" } }));
    world.settle().await;
    let another = world.opportunity_of(&other);
    let mends = world.breaks_link(&opportunity);
    // The list of changed rows has the broken deal before the other.
    world.seller_adds_solution(&opportunity, &row(CRATES, "Crates"));
    world.seller_adds_solution(&another, &row(SENSORS, "Sensors"));
    world.tick().await;
    let is_told = |world: &World| ids_in_portal(world, &other) == [INSIGHT, SENSORS];
    world.until("the other deal's row is in the portal", is_told).await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT]);
    mends(&world);
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT, CRATES]);
    assert_in_step(&world, &opportunity, &referral);
    assert_in_step(&world, &another, &other);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn change_tracking_that_was_switched_on_later_is_used_from_the_next_comparison_on() {
    let mut world = World::start().await;
    // Asking for tracked changes is refused with status 400.
    world.tolerate("dataverse");
    world.dataverse.change_tracking(false);
    let (opportunity, referral) = share_a_row(&world).await;
    let sensors = world.seller_adds_solution(&opportunity, &row(SENSORS, "Sensors"));
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT, SENSORS]);
    let asked = |world: &World, mark| {
        let calls = world.switchboard.since(mark);
        calls
            .iter()
            .filter(|call| {
                call.headers
                    .get("prefer")
                    .is_some_and(|prefer| format!("{prefer:?}").contains("track-changes"))
            })
            .count()
    };
    let mark = world.switchboard.mark();
    world.tick().await;
    assert_eq!(asked(&world, mark), 0, "not asked with every poll");

    world.dataverse.change_tracking(true);
    let compared = world.invoke(json!({ "run": "compare" })).await;
    assert!(compared.is_ok(), "{compared:?}");
    world.settle().await;
    // Only a tracked change tells of a row that is gone.
    world.seller_deletes(&sensors);
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT]);
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_partner_center_does_not_take_keeps_no_other_field_back() {
    let (mut world, opportunity, referral) = world_with_a_row().await;
    world.tolerate("partner_center");
    // Unknown to the catalogue.
    let wrong = world.seller_adds_solution(&opportunity, &row("SOL-UNKNOWN", "Nowhere"));
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 77_000 }));
    world.settle().await;
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(77_000));
    assert_eq!(ids_in_portal(&world, &referral), [INSIGHT]);
    let said = world.attention(&opportunity);
    assert!(said.len() == 1 && said[0].1.contains("refused"), "{said:?}");
    world.seller_deletes(&wrong);
    world.settle().await;
    assert_in_step(&world, &opportunity, &referral);

    // More than fifty.
    let many: Vec<String> = (0..50)
        .map(|number| world.seller_adds_solution(&opportunity, &row(&format!("SOL-5{number:04}-MNY"), "One of many")))
        .collect();
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 78_000 }));
    world.settle().await;
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(78_000));
    let said = world.attention(&opportunity);
    assert!(said.len() == 1 && said[0].1.contains("51 solutions"), "{said:?}");
    world.seller_deletes(&many[0]);
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral).len(), 50);
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_goes_over_several_pages_is_read_to_its_end() {
    let (world, opportunity, referral) = world_with_a_row().await;
    world.dataverse.list_page(2);
    let more = ["SOL-50001-PGS", "SOL-50002-PGS", "SOL-50003-PGS", "SOL-50004-PGS"];
    for id in more {
        world.seller_adds_solution(&opportunity, &row(id, "One of five"));
    }
    world.settle().await;
    assert_eq!(ids_in_portal(&world, &referral).len(), 5, "two, two and one");
    let mark = world.switchboard.mark();
    let kept = [entry(INSIGHT, "Fleet Insight"), entry(more[3], "One of five")];
    world.portal_edits(&referral, with_solutions(&kept));
    world.settle().await;
    assert_eq!(ids_of_rows(&world, &opportunity).len(), 2);
    let writes = world.vendor_writes_since(mark);
    let of_rows = writes
        .iter()
        .filter(|call| call.target.contains("cosell_dealsolutions("));
    assert_eq!(of_rows.count(), 3, "{:#?}", lines(&writes));
    assert_in_step(&world, &opportunity, &referral);
    world.rounds_write_nothing().await;
    world.close().await;
}
