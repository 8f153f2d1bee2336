//! Change tracking: first synchronisation, deltas, and how they fail.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Bench, Reply};

const TRACK: &str = "odata.track-changes, odata.maxpagesize=2";
const FIRST: &str = "opportunities?$select=name";

fn link(reply: &Reply, name: &str) -> Option<String> {
    reply.json()[name].as_str().map(str::to_owned)
}

/// Follows a set to its end: items and the link to what comes next.
async fn follow(bench: &Bench, target: &str, prefer: &str) -> (Vec<Value>, Option<String>) {
    let (mut items, mut target) = (Vec::new(), target.to_owned());
    loop {
        let reply = bench.get_preferring(&target, prefer).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        items.extend(reply.json()["value"].as_array().unwrap().iter().cloned());
        let delta = link(&reply, "@odata.deltaLink");
        match link(&reply, "@odata.nextLink") {
            Some(next) => {
                assert!(delta.is_none(), "only the last page has a delta link");
                target = next;
            }
            None => return (items, delta),
        }
    }
}

fn named(items: &[Value]) -> Vec<String> {
    items
        .iter()
        .map(|item| {
            item["name"]
                .as_str()
                .or_else(|| item["reason"].as_str())
                .unwrap()
                .to_owned()
        })
        .collect()
}

fn edit(bench: &Bench, id: Uuid, name: &str) {
    bench.dataverse.seller_edits(id, &json!({ "name": name })).unwrap();
}

#[tokio::test]
async fn changes_follow_a_first_synchronisation() {
    let bench = Bench::new().await;
    let [one, two, three] = ["One", "Two", "Three"].map(|name| bench.opportunity(name));
    let (rows, delta) = follow(&bench, FIRST, TRACK).await;
    assert_eq!(rows.len(), 3);
    let delta = delta.unwrap();
    assert!(delta.contains("?$select=name&$deltatoken="));

    let quiet = bench.get(&delta).await;
    assert_eq!(quiet.json()["value"], json!([]));
    assert!(
        quiet.json()["@odata.context"]
            .as_str()
            .unwrap()
            .ends_with("#opportunities(name)/$delta")
    );

    edit(&bench, one, "One again");
    edit(&bench, two, "Two again");
    edit(&bench, one, "One at last");
    bench.dataverse.seller_deletes(three).unwrap();
    let brief = bench.opportunity("Brief");
    bench.dataverse.seller_deletes(brief).unwrap();
    bench.dataverse.add_account("Elsewhere").unwrap();
    let (items, next) = follow(&bench, &delta, "odata.maxpagesize=2").await;
    assert_eq!(named(&items), ["Two again", "One at last", "deleted", "deleted"]);
    assert!(
        items[2]["@odata.context"]
            .as_str()
            .unwrap()
            .ends_with("#opportunities/$deletedEntity")
    );
    assert_eq!(
        [&items[2]["id"], &items[3]["id"]],
        [&json!(three.to_string()), &json!(brief.to_string())]
    );
    assert!(items[0]["opportunityid"].is_string() && items[0]["@odata.etag"].is_string());
    let next = next.unwrap();
    assert_eq!(follow(&bench, &next, "").await.0.len(), 0);
    assert_eq!(follow(&bench, &delta, "").await.0.len(), 4, "an old link still works");
    let token = delta.split("$deltatoken=").nth(1).unwrap();
    assert_eq!(
        bench
            .get(&format!("opportunities/$count?$deltatoken={token}"))
            .await
            .text,
        "4"
    );
}

#[tokio::test]
async fn a_change_during_paging_is_part_of_the_next_set() {
    let bench = Bench::new().await;
    let ids: Vec<Uuid> = (0..3)
        .map(|number| bench.opportunity(&format!("Deal {number}")))
        .collect();
    let first = bench.get_preferring(FIRST, TRACK).await;
    for id in ids {
        edit(&bench, id, "Moved");
    }
    let (_, delta) = follow(&bench, &link(&first, "@odata.nextLink").unwrap(), TRACK).await;
    assert_eq!(follow(&bench, &delta.unwrap(), "").await.0.len(), 3);
}

#[tokio::test]
async fn tracking_refuses_what_it_cannot_do() {
    let bench = Bench::new().await;
    for option in [
        "$filter=statecode eq 0",
        "$orderby=name",
        "$expand=owninguser",
        "$top=3",
    ] {
        let reply = bench.get_preferring(&format!("{FIRST}&{option}"), TRACK).await;
        assert_eq!(reply.status, 400, "{option}");
        let name = option.split('=').next().unwrap();
        assert!(
            reply
                .text
                .contains(&format!("The \\\"{name}\\\" query parameter isn't supported")),
            "{}",
            reply.text
        );
    }
    let annotated = format!("{TRACK}, odata.include-annotations=\"*\"");
    let reply = bench.get_preferring(FIRST, &annotated).await;
    assert_eq!(
        link(&reply, "@odata.deltaLink"),
        None,
        "annotations cost the delta link"
    );
    bench.dataverse.change_tracking(false);
    assert_eq!(
        bench.get_preferring(FIRST, TRACK).await.refusal(),
        (400, "0x80072491".to_owned())
    );
}

#[tokio::test]
async fn links_end_by_age_and_by_decree_and_cannot_be_rebuilt() {
    let bench = Bench::new().await;
    let delta = follow(&bench, FIRST, TRACK).await.1.unwrap();
    let rebuilt = delta.replace("$select=name", "$select=name,statecode");
    assert_eq!(bench.get(&rebuilt).await.status, 400);
    assert_eq!(bench.get(&delta).await.status, 200);
    bench.dataverse.expire_delta_tokens();
    assert_eq!(bench.get(&delta).await.refusal(), (400, "0x80044352".to_owned()));
    bench.dataverse.expired_status(410);
    assert_eq!(bench.get(&delta).await.refusal(), (410, "0x80044352".to_owned()));
    let fresh = follow(&bench, FIRST, TRACK).await.1.unwrap();
    assert_eq!(bench.get(&fresh).await.status, 200);
    bench.clock.advance(SignedDuration::from_hours(7 * 24 + 1));
    assert_eq!(bench.get(&fresh).await.code(), "0x80044352");
}

#[tokio::test]
async fn sets_of_changes_may_be_unpleasant() {
    let bench = Bench::new().await;
    let [one, two] = ["One", "Two"].map(|name| bench.opportunity(name));
    bench.dataverse.delta_link_before_value(true);
    let first = bench.get_preferring(FIRST, TRACK).await;
    assert!(first.text.find("deltaLink") < first.text.find("\"value\""));
    bench.dataverse.delta_link_before_value(false);
    let first = bench.get_preferring(FIRST, TRACK).await;
    assert!(first.text.find("deltaLink") > first.text.find("\"value\""));
    let delta = link(&first, "@odata.deltaLink").unwrap();

    edit(&bench, one, "One more");
    edit(&bench, two, "Two more");
    edit(&bench, one, "One last");
    bench.dataverse.repeat_rows_in_delta(true);
    let repeated = follow(&bench, &delta, "").await.0;
    assert_eq!(
        named(&repeated),
        ["One more", "Two more", "Two more", "One last", "One last"]
    );
    bench.dataverse.reverse_delta(true);
    let reversed = follow(&bench, &delta, "").await.0;
    assert_eq!(
        named(&reversed),
        ["One more", "One last", "One last", "Two more", "Two more"]
    );
    bench.dataverse.omit_delta_link(true);
    assert_eq!(follow(&bench, &delta, "").await.1, None);
}

#[tokio::test]
async fn a_stale_reader_gets_the_change_later_and_not_never() {
    let bench = Bench::new().await;
    let id = bench.opportunity("Deal");
    let delta = follow(&bench, FIRST, TRACK).await.1.unwrap();
    bench.clock.advance(SignedDuration::from_secs(120));
    bench.dataverse.stale_reads(Duration::from_secs(60));
    edit(&bench, id, "Later");
    let (items, next) = follow(&bench, &delta, "").await;
    assert!(items.is_empty());
    bench.clock.advance(SignedDuration::from_secs(61));
    assert_eq!(named(&follow(&bench, &next.unwrap(), "").await.0), ["Later"]);
}
