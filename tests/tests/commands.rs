//! The commands of an operator, told by what both sides, the ledger and the answers show afterwards.
//!
//! Guarantee shown: an order is carried out on both sides or refused as a whole, with what stands in its way; repeating
//! it does nothing; a crash in the middle is finished by whoever comes next; what was parted stays apart until an
//! operator joins it; and once an order is carried out, whole rounds of both polls write nothing.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

#[expect(dead_code, reason = "the other scenario files use the rest of it")]
mod common;

use std::time::Duration;

use cosell_tests::lambda::InvocationError;
use cosell_tests::partner_center::InboundDeal;
use cosell_tests::switchboard::{Exchange, Fault};
use cosell_tests::world::{Setup, Sharing, World};
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use self::common::assert_in_step;

const IN_PROGRESS: i64 = 1;

/// Choice of the sync state column.
const NOT_SYNCED: i64 = 727_000_000;

// ---- helpers ----------------------------------------------------------------------------------------------------------

/// One worker, and nothing comes by itself: the requests of a command are the only ones.
async fn calm() -> World {
    World::start_with(Setup {
        workers: 1,
        ..Setup::default()
    })
    .await
    .unwrap()
}

#[expect(clippy::panic, reason = "a command that fails has failed its scenario")]
async fn order(world: &World, command: Value) -> Value {
    let answer = world.invoke(command.clone()).await;
    answer.unwrap_or_else(|error| panic!("{command}: {error}\n{}", world.state_of_affairs()))
}

/// The order is refused with these words, and nothing was done for it.
async fn is_refused(world: &World, command: Value, code: &str, words: &[&str]) {
    let (before, mark) = ((world.links(), world.audit()), world.switchboard.mark());
    let error = world.invoke(command.clone()).await.unwrap_err();
    assert_eq!(error.error_type, code, "{command}: {error}");
    for words in words {
        assert!(error.message.contains(words), "{command}: {words:?} is not in {error}");
    }
    assert!(world.vendor_writes_since(mark).is_empty(), "{command}");
    assert_eq!((world.links(), world.audit()), before, "{command}");
}

/// Whole rounds of both polls and a comparison of everything write nothing to a vendor; then the world is checked.
async fn is_at_rest(world: World) {
    world.rounds_write_nothing().await;
    world.close().await;
}

fn state(world: &World, opportunity: &str) -> (i64, i64) {
    let row = world.opportunity(opportunity);
    (row["statecode"].as_i64().unwrap(), row["statuscode"].as_i64().unwrap())
}

/// Audited findings of a kind, each with what made us look.
fn audited(world: &World, code: &str) -> Vec<(String, String)> {
    let of = |record: &Value| {
        let cause = record["cause"].as_str().unwrap_or_default().to_owned();
        let findings = record["findings"].as_array().cloned().unwrap_or_default();
        findings
            .into_iter()
            .map(move |finding| (cause.clone(), finding))
            .collect::<Vec<_>>()
    };
    let all = world.audit();
    all.iter()
        .flat_map(of)
        .filter(|(_, finding)| finding["code"] == code)
        .map(|(cause, finding)| (cause, finding["text"].as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn notes(world: &World, opportunity: &str, referral: &str) -> (Value, Value) {
    (
        world.opportunity(opportunity)["description"].clone(),
        world.referral(referral)["details"]["notes"].clone(),
    )
}

/// Both sides change the notes unseen by one another; Dynamics wins, what the portal said is recorded.
async fn conflict(world: &World, opportunity: &str, referral: &str) {
    world.partner_center.drop_deliveries(true);
    world.portal_edits(referral, json!({ "details": { "notes": "Said in the portal." } }));
    world.partner_center.drop_deliveries(false);
    world.seller_edits(opportunity, &json!({ "description": "Said in the CRM." }));
    world.settle().await;
    let kept = json!("Said in the CRM.");
    assert_eq!(notes(world, opportunity, referral), (kept.clone(), kept));
    assert_eq!(world.losers().len(), 1, "{}", world.state_of_affairs());
}

fn is_vendor_write(exchange: &Exchange) -> bool {
    ["partner_center", "dataverse"].contains(&exchange.api)
        && exchange.is_write()
        && !exchange.target.starts_with("/_control")
}

/// Requests of `sync` that change something, at a vendor or in the ledger.
fn is_write(exchange: &Exchange) -> bool {
    let target = exchange
        .headers
        .get("x-amz-target")
        .map(|target| target.to_str().unwrap_or_default());
    let is_ledgers = target.is_some_and(|target| target.ends_with("PutItem") || target.ends_with("TransactWriteItems"));
    is_vendor_write(exchange) || is_ledgers
}

/// The process dies behind one of the writes of a command, for each of them in a world of its own; then the command is
/// given again, and everything has to be as if nothing had happened.
async fn survives_every_crash<S>(
    set: impl AsyncFn(&World) -> S,
    command: impl Fn(&S) -> Value,
    refusal: Option<&str>,
    is_done: impl Fn(&World, &S),
) {
    let world = calm().await;
    let deal = set(&world).await;
    world.source.pause();
    let mark = world.switchboard.mark();
    order(&world, command(&deal)).await;
    let writes = world
        .switchboard
        .since(mark)
        .iter()
        .filter(|exchange| is_write(exchange))
        .count();
    assert!(writes >= 3, "an announcement, a write and a commit at least: {writes}");
    world.source.resume();
    world.settle().await;
    is_done(&world, &deal);
    world.close().await;
    for position in 0..writes {
        let world = calm().await;
        let deal = set(&world).await;
        let fault = Fault::RunAfterApply(world.sync.kill_switch());
        world.switchboard.plan(position, 1, fault, is_write);
        let killed = world.invoke(command(&deal)).await;
        assert!(killed.is_err(), "write {position} was not made: {killed:?}");
        // Whoever gave the order gives it again, at once or after the next poll has finished it.
        if position % 2 == 0 {
            world.settle().await;
        }
        match world.invoke(command(&deal)).await {
            Ok(_) => {}
            Err(InvocationError {
                error_type, message, ..
            }) => {
                assert!(
                    refusal.is_some_and(|words| error_type == "order_refused" && message.contains(words)),
                    "write {position}: {error_type} {message}"
                );
            }
        }
        world.settle().await;
        is_done(&world, &deal);
        is_at_rest(world).await;
    }
}

// ---- accept and decline -----------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn accept_takes_the_deal_on_both_sides_and_again_does_nothing() {
    let world = calm().await;
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    world.stands_at(&sent.referral, "New", "Pending");
    let answer = order(&world, json!({ "command": "accept", "opportunity": opportunity })).await;
    assert_eq!(answer["outcome"], "written", "{answer:#}");
    assert!(answer["findings"].to_string().contains("by an operator"), "{answer:#}");
    world.stands_at(&sent.referral, "Active", "Accepted");
    assert_eq!(state(&world, &opportunity), (0, IN_PROGRESS));
    world.settle().await;
    assert_in_step(&world, &opportunity, &sent.referral);
    let told = audited(&world, "ordered");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "operator");
    let trail = world.opportunity(&opportunity)["cosell_audit"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(trail.contains("active on both sides by an operator"), "{trail}");

    let again = json!({ "command": "accept", "referral": sent.referral });
    is_refused(
        &world,
        again,
        "order_refused",
        &["is active in Partner Center", "nothing is left to do"],
    )
    .await;
    let decline = json!({ "command": "decline", "referral": sent.referral, "reason": "Too late" });
    is_refused(
        &world,
        decline,
        "order_refused",
        &["accepted already", "close the opportunity as lost"],
    )
    .await;
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decline_ends_the_deal_with_the_reason_on_both_sides() {
    let world = calm().await;
    let (opportunity, sent) = world.received(&InboundDeal::default()).await;
    let mark = world.switchboard.mark();
    let decline = json!({ "command": "decline", "referral": sent.referral, "reason": "Not our region" });
    let answer = order(&world, decline.clone()).await;
    assert_eq!(answer["outcome"], "written", "{answer:#}");
    world.stands_at(&sent.referral, "Closed", "Declined");
    assert_eq!(world.referral(&sent.referral)["statusReason"], "Not our region");
    assert_eq!(state(&world, &opportunity).0, 2, "the opportunity is lost");
    assert_eq!(world.opportunity(&opportunity)["cosell_closereason"], "Not our region");
    assert_eq!(
        world.vendor_writes_since(mark).len(),
        3,
        "one PATCH, the trail, the closing"
    );
    world.settle().await;
    let accept = json!({ "command": "accept", "referral": sent.referral });
    is_refused(
        &world,
        decline,
        "order_refused",
        &["is declined in Partner Center", "final"],
    )
    .await;
    is_refused(
        &world,
        accept,
        "order_refused",
        &["is declined in Partner Center", "final"],
    )
    .await;
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_on_what_is_no_deal_is_refused() {
    let world = World::start().await;
    let nobody = Uuid::new_v4().to_string();
    let accept = json!({ "command": "accept", "referral": nobody });
    is_refused(&world, accept, "order_refused", &[&nobody, "belongs to no deal"]).await;
    let unlink = json!({ "command": "unlink", "opportunity": nobody });
    is_refused(&world, unlink, "order_refused", &[&nobody, "nothing to unlink"]).await;

    // A row that lacks something has a link, and no referral.
    let unready = world.seller_enters(&Sharing {
        solutions: None,
        ..Sharing::default()
    });
    world.settle().await;
    let accept = json!({ "command": "accept", "opportunity": unready });
    is_refused(&world, accept, "order_refused", &["not shared yet", "show"]).await;
    let unlink = json!({ "command": "unlink", "opportunity": unready });
    is_refused(&world, unlink, "order_refused", &["linked to no other record"]).await;

    let (opportunity, _) = world.shared(&Sharing::default()).await;
    world.seller_edits(&opportunity, &json!({ "cosell_syncwithpartnercenter": false }));
    world.settle().await;
    let accept = json!({ "command": "accept", "opportunity": opportunity });
    is_refused(
        &world,
        accept,
        "order_refused",
        &["switched off by the seller", "switch it on"],
    )
    .await;
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_survives_a_crash_behind_each_of_its_writes() {
    // Announcement, PATCH, change of state, update, commit.
    survives_every_crash(
        async |world| world.received(&InboundDeal::default()).await,
        |(opportunity, _)| json!({ "command": "accept", "opportunity": opportunity }),
        Some("is active in Partner Center"),
        |world, (opportunity, sent)| {
            world.stands_at(&sent.referral, "Active", "Accepted");
            assert_eq!(state(world, opportunity), (0, IN_PROGRESS));
            assert_in_step(world, opportunity, &sent.referral);
        },
    )
    .await;
}

// ---- restore ----------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn restore_puts_the_loser_back_on_both_sides_and_again_does_nothing() {
    let world = calm().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    conflict(&world, &opportunity, &referral).await;
    let shown = order(&world, json!({ "command": "show", "opportunity": opportunity })).await;
    assert_eq!(shown["restorable"][0]["text"], "Said in the portal.", "{shown:#}");
    let record = shown["restorable"][0]["record"].clone();

    let mark = world.switchboard.mark();
    let restore = json!({ "command": "restore", "opportunity": opportunity, "field": "notes" });
    let answer = order(&world, restore.clone()).await;
    let back = json!("Said in the portal.");
    assert_eq!(notes(&world, &opportunity, &referral), (back.clone(), back.clone()));
    assert_eq!(answer["restored"]["record"], record, "{answer:#}");
    assert_eq!(answer["restored"]["value"], back);
    assert_eq!(answer["restored"]["written"].as_array().unwrap().len(), 2, "{answer:#}");
    assert_eq!(world.vendor_writes_since(mark).len(), 2, "one write to each side");
    world.settle().await;
    assert_in_step(&world, &opportunity, &referral);

    let mark = world.switchboard.mark();
    let again = order(&world, restore).await;
    assert_eq!(again["outcome"], "echo", "{again:#}");
    assert!(again["restored"]["written"].as_array().unwrap().is_empty(), "{again:#}");
    assert!(world.vendor_writes_since(mark).is_empty());

    // What was replaced by it is in the audit, too: naming its record takes it back.
    let audit = world.audit();
    let ordered = audit
        .iter()
        .rfind(|entry| entry["changes"].to_string().contains("Said in the CRM."))
        .unwrap();
    let back = json!({
        "command": "restore", "referral": referral, "field": "notes", "record": ordered["version"],
    });
    order(&world, back).await;
    let kept = json!("Said in the CRM.");
    assert_eq!(notes(&world, &opportunity, &referral), (kept.clone(), kept));
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_a_restore_overrules_unseen_is_recorded_as_lost() {
    let world = calm().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    conflict(&world, &opportunity, &referral).await;
    // Not yet seen by any poll.
    world.seller_edits(&opportunity, &json!({ "description": "Typed a moment ago." }));
    order(
        &world,
        json!({ "command": "restore", "opportunity": opportunity, "field": "notes" }),
    )
    .await;
    let back = json!("Said in the portal.");
    assert_eq!(notes(&world, &opportunity, &referral), (back.clone(), back));
    world.settle().await;
    let lost = Value::from(world.losers()).to_string();
    assert!(lost.contains("Typed a moment ago."), "{lost}");
    // And is the newest loser by now.
    order(
        &world,
        json!({ "command": "restore", "opportunity": opportunity, "field": "notes" }),
    )
    .await;
    let typed = json!("Typed a moment ago.");
    assert_eq!(notes(&world, &opportunity, &referral), (typed.clone(), typed));
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_closed_referral_does_not_take_is_not_restored() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    let restore = json!({ "command": "restore", "opportunity": opportunity, "field": "notes" });
    is_refused(
        &world,
        restore.clone(),
        "nothing_to_restore",
        &["no recorded loser of notes", "no value of this deal"],
    )
    .await;
    conflict(&world, &opportunity, &referral).await;
    let other = json!({ "command": "restore", "opportunity": opportunity, "field": "value" });
    is_refused(&world, other, "nothing_to_restore", &["there are notes of record"]).await;
    world.seller_wins(&opportunity);
    world.settle().await;
    world.stands_at(&referral, "Closed", "Won");
    is_refused(
        &world,
        restore,
        "order_refused",
        &["after the referral was closed", "keeps what it has"],
    )
    .await;
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_survives_a_crash_behind_each_of_its_writes() {
    // Announcement, PATCH, update, commit.
    survives_every_crash(
        async |world| {
            let (opportunity, referral) = world.shared(&Sharing::default()).await;
            conflict(world, &opportunity, &referral).await;
            (opportunity, referral)
        },
        |(opportunity, _)| json!({ "command": "restore", "opportunity": opportunity, "field": "notes" }),
        None,
        |world, (opportunity, referral)| {
            let back = json!("Said in the portal.");
            assert_eq!(notes(world, opportunity, referral), (back.clone(), back));
            assert_in_step(world, opportunity, referral);
        },
    )
    .await;
}

/// The announcement alone finishes it: nobody gives the order again.
#[tokio::test(flavor = "multi_thread")]
async fn an_announced_restore_is_finished_by_the_next_look() {
    let world = calm().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    conflict(&world, &opportunity, &referral).await;
    let fault = Fault::RunAfterApply(world.sync.kill_switch());
    world.switchboard.plan(0, 1, fault, |exchange| {
        exchange.api == "partner_center" && is_vendor_write(exchange)
    });
    let restore = json!({ "command": "restore", "opportunity": opportunity, "field": "notes" });
    assert!(world.invoke(restore).await.is_err());
    assert_ne!(world.opportunity(&opportunity)["description"], "Said in the portal.");
    world.settle().await;
    let back = json!("Said in the portal.");
    assert_eq!(notes(&world, &opportunity, &referral), (back.clone(), back));
    is_at_rest(world).await;
}

// ---- link and unlink --------------------------------------------------------------------------------------------------

fn is_apart(world: &World, opportunity: &str, referral: &str) {
    let row = world.opportunity(opportunity);
    for column in [
        "cosell_referralidentifier",
        "cosell_referrallink",
        "cosell_microsoftcrmid",
    ] {
        assert_eq!(row[column], Value::Null, "{column} of {row:#}");
    }
    assert_eq!(row["cosell_syncwithpartnercenter"], json!(false), "{row:#}");
    assert_eq!(row["cosell_syncstatus"], json!(NOT_SYNCED), "{row:#}");
    let name = row["name"].as_str().unwrap();
    assert!(!name.starts_with('✔') && !name.starts_with('✘'), "{name}");
    assert_ne!(world.referral(referral), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_unlinked_stays_apart_until_it_is_linked_again() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    let unlink = json!({ "command": "unlink", "opportunity": opportunity });
    let answer = order(&world, unlink.clone()).await;
    assert_eq!(answer["outcome"], "written", "{answer:#}");
    world.settle().await;
    is_apart(&world, &opportunity, &referral);
    let told = audited(&world, "ordered");
    assert!(
        told.iter()
            .all(|(cause, text)| cause == "operator" && text.contains("unlinked")),
        "{told:?}"
    );
    is_refused(&world, unlink, "order_refused", &["unlinked already"]).await;

    // Edits of both sides go nowhere, and nothing is made anew; not even when the seller shares it again.
    let before = (
        world.partner_center.referrals().len(),
        world.dataverse.opportunities().len(),
    );
    world.portal_edits(&referral, json!({ "details": { "notes": "Only here." } }));
    world.seller_edits(&opportunity, &json!({ "description": "Only there." }));
    world.settle().await;
    world.seller_edits(&opportunity, &json!({ "cosell_syncwithpartnercenter": true }));
    world.settle().await;
    world.invoke(json!({ "run": "compare" })).await.unwrap();
    world.settle().await;
    assert_eq!(
        (
            world.partner_center.referrals().len(),
            world.dataverse.opportunities().len()
        ),
        before
    );
    assert_eq!(
        notes(&world, &opportunity, &referral),
        (json!("Only there."), json!("Only here."))
    );
    let waits = order(&world, json!({ "command": "attention" })).await;
    let deal = &waits["deals"][0];
    assert_eq!(deal["opportunity"], json!(opportunity), "{waits:#}");
    assert!(deal["attention"].to_string().contains("`link`"), "{waits:#}");

    let link = json!({ "command": "link", "referral": referral, "opportunity": opportunity });
    order(&world, link.clone()).await;
    world.settle().await;
    assert_in_step(&world, &opportunity, &referral);
    let waits = order(&world, json!({ "command": "attention" })).await;
    assert!(waits["deals"].as_array().unwrap().is_empty(), "{waits:#}");
    let mark = world.switchboard.mark();
    let again = order(&world, link).await;
    assert_eq!(again["outcome"], "echo", "{again:#}");
    assert!(world.vendor_writes_since(mark).is_empty());

    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 77_000 }));
    world.settle().await;
    assert_eq!(world.referral(&referral)["details"]["dealValue"], json!(77_000));
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_who_takes_back_an_unlinked_deal_is_not_listed_any_more() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    order(&world, json!({ "command": "unlink", "referral": referral })).await;
    for (sync, listed) in [(true, 1), (false, 0)] {
        world.seller_edits(&opportunity, &json!({ "cosell_syncwithpartnercenter": sync }));
        world.settle().await;
        world
            .invoke(json!({ "command": "resync", "opportunity": opportunity }))
            .await
            .unwrap();
        let waits = order(&world, json!({ "command": "attention" })).await;
        assert_eq!(waits["deals"].as_array().unwrap().len(), listed, "{waits:#}");
    }
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deals_exchange_their_records() {
    let world = World::start().await;
    let (first, its_referral) = world.shared(&Sharing::default()).await;
    let (second, other_referral) = world.shared(&Sharing::default()).await;
    let cross = json!({ "command": "link", "referral": its_referral, "opportunity": second });
    is_refused(&world, cross.clone(), "order_refused", &[&first, "unlink them first"]).await;
    order(&world, json!({ "command": "unlink", "opportunity": first })).await;
    is_refused(
        &world,
        cross.clone(),
        "order_refused",
        &[&other_referral, "unlink them first"],
    )
    .await;
    order(&world, json!({ "command": "unlink", "referral": other_referral })).await;
    order(&world, cross).await;
    order(
        &world,
        json!({ "command": "link", "referral": other_referral, "opportunity": first }),
    )
    .await;
    world.settle().await;
    for (opportunity, referral) in [(&second, &its_referral), (&first, &other_referral)] {
        let link = world.link_of(opportunity).unwrap();
        assert_eq!(link["referral"], json!(referral), "{}", world.state_of_affairs());
        assert_eq!(
            world.opportunity(opportunity)["cosell_referralidentifier"],
            json!(referral)
        );
    }
    world.seller_edits(&second, &json!({ "estimatedvalue": 55_000 }));
    world.settle().await;
    assert_eq!(world.referral(&its_referral)["details"]["dealValue"], json!(55_000));
    assert_ne!(world.referral(&other_referral)["details"]["dealValue"], json!(55_000));
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn link_joins_two_records_that_nobody_has_paired() {
    let world = World::start().await;
    // Without consent no poll has looked at the row, and the referral is one that a person has to settle.
    let opportunity = world.seller_enters(&Sharing {
        sync: false,
        ..Sharing::default()
    });
    let referral = world.portal_creates(&json!({ "externalReferenceId": "SAP-4711" }));
    world.settle().await;
    let waits = order(&world, json!({ "command": "attention" })).await;
    assert_eq!(waits["deals"][0]["referral"], json!(referral), "{waits:#}");
    let shown = order(&world, json!({ "command": "show", "referral": referral })).await;
    assert!(shown["attention"].to_string().contains("SAP-4711"), "{shown:#}");
    assert_eq!(
        shown["fields"][0]["partner_center"], "Sable Ridge backup refresh",
        "{shown:#}"
    );

    let nobody = Uuid::new_v4().to_string();
    let wrong = json!({ "command": "link", "referral": referral, "opportunity": nobody });
    is_refused(
        &world,
        wrong,
        "order_refused",
        &[&nobody, "Dynamics has no opportunity"],
    )
    .await;
    let wrong = json!({ "command": "link", "referral": nobody, "opportunity": opportunity });
    is_refused(
        &world,
        wrong,
        "order_refused",
        &[&nobody, "Partner Center shows no referral"],
    )
    .await;

    order(
        &world,
        json!({ "command": "link", "referral": referral, "opportunity": opportunity }),
    )
    .await;
    world.settle().await;
    let row = world.opportunity(&opportunity);
    assert_eq!(
        row["cosell_referralidentifier"],
        json!(referral),
        "{}",
        world.state_of_affairs()
    );
    assert_eq!(row["cosell_syncwithpartnercenter"], json!(true));
    assert_eq!(world.links().len(), 1, "{}", world.state_of_affairs());
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_could_not_be_shared_is_linked_to_a_referral_that_exists() {
    let world = World::start().await;
    let opportunity = world.seller_enters(&Sharing {
        solutions: None,
        ..Sharing::default()
    });
    let referral = world.portal_creates(&json!({}));
    world.settle().await;
    // The portal's deal has made its own row meanwhile; it is let go first.
    let made = world.opportunity_of(&referral);
    order(&world, json!({ "command": "unlink", "opportunity": made })).await;
    order(
        &world,
        json!({ "command": "link", "referral": referral, "opportunity": opportunity }),
    )
    .await;
    world.settle().await;
    assert_eq!(world.link_of(&opportunity).unwrap()["referral"], json!(referral));
    assert_eq!(
        world.solution_rows(&opportunity)[0]["cosell_solutionid"],
        "SOL-20817-KTR"
    );
    is_apart(&world, &made, &referral);
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unlinking_survives_a_crash_behind_each_of_its_writes() {
    // Announcement, update, commit.
    survives_every_crash(
        async |world| world.shared(&Sharing::default()).await,
        |(opportunity, _)| json!({ "command": "unlink", "opportunity": opportunity }),
        Some("unlinked already"),
        |world, (opportunity, referral)| is_apart(world, opportunity, referral),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn linking_survives_a_crash_behind_each_of_its_writes() {
    // Announcement, switch, commit; then the ordinary look: announcement, PATCH and update, commit.
    survives_every_crash(
        async |world| {
            let (opportunity, referral) = world.shared(&Sharing::default()).await;
            order(world, json!({ "command": "unlink", "opportunity": opportunity })).await;
            world.settle().await;
            (opportunity, referral)
        },
        |(opportunity, referral)| json!({ "command": "link", "referral": referral, "opportunity": opportunity }),
        None,
        |world, (opportunity, referral)| assert_in_step(world, opportunity, referral),
    )
    .await;
}

// ---- lists ------------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn attention_lists_the_longest_waiting_first() {
    let world = World::start().await;
    let unready = Sharing {
        solutions: None,
        ..Sharing::default()
    };
    let first = world.seller_enters(&unready);
    world.settle().await;
    let second = world.seller_enters(&unready);
    world.settle().await;
    let (fine, _) = world.shared(&Sharing::default()).await;
    let waits = order(&world, json!({ "command": "attention" })).await;
    let listed: Vec<&Value> = waits["deals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|deal| &deal["opportunity"])
        .collect();
    assert_eq!(listed, [&json!(first), &json!(second)], "{waits:#}");
    assert!(!waits.to_string().contains(&fine));
    assert!(waits["deals"][0]["since"].as_str().unwrap() <= waits["deals"][1]["since"].as_str().unwrap());
    assert!(
        waits["deals"][0]["attention"].to_string().contains("Solutions"),
        "{waits:#}"
    );
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resync_with_a_filter_has_those_deals_looked_at() {
    let world = World::start().await;
    let (opportunity, referral) = world.shared(&Sharing::default()).await;
    let unready = world.seller_enters(&Sharing {
        solutions: None,
        ..Sharing::default()
    });
    world.settle().await;
    world.partner_center.drop_deliveries(true);
    world.portal_edits(&referral, json!({ "details": { "notes": "Nobody was told." } }));
    world.partner_center.drop_deliveries(false);

    let answer = order(&world, json!({ "command": "resync", "filter": "attention" })).await;
    assert_eq!(answer, json!({ "hinted": 1, "next": null }));
    assert!(world.source.idle(Duration::from_secs(10)).await);
    assert_ne!(world.opportunity(&opportunity)["description"], "Nobody was told.");
    let answer = order(&world, json!({ "command": "resync", "filter": "all" })).await;
    assert_eq!(answer, json!({ "hinted": 2, "next": null }));
    assert!(world.source.idle(Duration::from_secs(10)).await);
    assert_eq!(world.opportunity(&opportunity)["description"], "Nobody was told.");
    let answer = order(&world, json!({ "command": "resync", "filter": "due" })).await;
    assert_eq!(answer, json!({ "hinted": 0, "next": null }));
    assert!(world.opportunity(&unready)["cosell_referralidentifier"].is_null());
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_takes_in_what_is_older_than_the_first_look() {
    let world = World::start().await;
    world.partner_center.page_size(2);
    world.partner_center.drop_deliveries(true);
    let mut portal = Vec::new();
    world.clock.advance(SignedDuration::from_hours(-48));
    for _ in 0..5 {
        portal.push(world.portal_creates(&json!({})));
    }
    world.partner_center.drop_deliveries(false);
    world.clock.advance(SignedDuration::from_hours(48));
    world.settle().await;
    assert!(
        world.links().is_empty(),
        "no poll reaches back that far: {}",
        world.state_of_affairs()
    );
    let opportunity = world.seller_enters(&Sharing::default());
    let mark = world.switchboard.mark();
    // While it walks, nobody works on what it found; else the opportunities made of it are listed as well.
    world.source.pause();
    let answer = order(&world, json!({ "command": "backfill" })).await;
    world.source.resume();
    assert_eq!(answer, json!({ "seen": 6, "hinted": 6, "next": null }));
    assert!(world.source.idle(Duration::from_secs(20)).await);
    world.settle().await;
    for referral in &portal {
        assert_ne!(world.opportunity_of(referral), "");
    }
    assert_ne!(world.referral_of(&opportunity), "");
    assert!(!world.vendor_writes_since(mark).is_empty());

    let answer = order(&world, json!({ "command": "backfill" })).await;
    assert_eq!(answer["hinted"], json!(0), "{answer:#}");
    let answer = order(&world, json!({ "command": "backfill", "since": "2999-01-01" })).await;
    // The newest page tells that there is nothing that new; opportunities have no such date.
    assert_eq!(answer["seen"], json!(6), "{answer:#}");
    let answer = order(&world, json!({ "command": "backfill", "all": true })).await;
    assert_eq!(answer["seen"], answer["hinted"], "{answer:#}");
    for command in [
        json!({ "command": "backfill", "from": "somewhere" }),
        json!({ "command": "attention", "from": "somewhere" }),
        json!({ "command": "resync", "filter": "due", "from": "2026-01-01 elsewhere" }),
        json!({ "command": "resync", "filter": "all", "from": "somewhere" }),
    ] {
        let error = world.invoke(command.clone()).await.unwrap_err();
        assert_eq!(error.error_type, "invalid_place", "{command}: {error}");
    }
    is_at_rest(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn show_tells_of_halves_that_differ_and_of_what_would_be_done() {
    let world = World::start().await;
    let (opportunity, _) = world.shared(&Sharing::default()).await;
    // A name is not taken later, so both agree to differ.
    world.seller_edits(&opportunity, &json!({ "name": "Northbay phase two" }));
    world.settle().await;
    world.seller_edits(&opportunity, &json!({ "estimatedvalue": 99_000 }));
    let (before, mark) = ((world.links(), world.audit()), world.switchboard.mark());
    let shown = order(&world, json!({ "command": "show", "opportunity": opportunity })).await;
    let fields = shown["fields"].as_array().unwrap();
    let field = |name: &str| fields.iter().find(|field| field["field"] == name).unwrap();
    assert_eq!(field("name")["base"], "Northbay cold-chain monitoring");
    assert_eq!(field("name")["base_dynamics"], "Northbay phase two");
    assert_eq!(field("value")["base_dynamics"], Value::Null);
    assert_eq!(shown["plan"]["outcome"], "planned", "{shown:#}");
    assert_eq!(shown["plan"]["changes"][0]["field"], "value", "{shown:#}");
    assert!(world.vendor_writes_since(mark).is_empty());
    assert_eq!((world.links(), world.audit()), before);

    // What no deal holds yet: what would be created, or why not.
    let unready = world.seller_enters(&Sharing {
        solutions: None,
        ..Sharing::default()
    });
    world.settle().await;
    let shown = order(&world, json!({ "command": "show", "opportunity": unready })).await;
    assert!(shown["attention"].to_string().contains("Solutions"), "{shown:#}");
    assert_eq!(shown["plan"]["outcome"], "parked", "{shown:#}");
    is_at_rest(world).await;
}
