//! The ledger against an embedded DynamoDB emulator, with the real SDK between them.
//!
//! What the emulator does not play (contention, throttling, answers that are lost, eventually consistent reads) is played
//! by a server that answers with fixed texts or applies a request and then hides the answer.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use connector::ledger::{Error, Ledger, Written};
use cosell::fault::{Class, Fault};
use cosell::finding::{Code, Finding};
use cosell::hint::{Cause, Subject};
use cosell::ids::{EngagementId, LinkId, OpportunityId, ReferralId};
use cosell::link::{AuditEntry, Due, Etags, Link, LinkWrite, Outcome, Pointer};
use cosell::poll::Moved;
use dynoxide::Database;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const LINKS: &str = "links";
const AUDIT: &str = "audit";

/// Both tables, and a ledger that reaches them over loopback.
struct World {
    database: Database,
    ledger: Ledger,
}

impl World {
    async fn new() -> Self {
        let database = tables();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        let ledger = ledger(&endpoint);
        Self { database, ledger }
    }

    fn put(&self, table: &str, item: Value) {
        let request = json!({ "TableName": table, "Item": item });
        self.database
            .put_item(serde_json::from_value(request).unwrap())
            .unwrap();
    }

    fn items(&self, table: &str) -> Vec<Value> {
        let request = json!({ "TableName": table });
        let answer = self.database.scan(serde_json::from_value(request).unwrap()).unwrap();
        let answer = serde_json::to_value(answer).unwrap();
        answer
            .get("Items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    }

    async fn done(&self, write: &LinkWrite) {
        assert_eq!(self.ledger.write(write).await.unwrap(), Written::Done);
    }
}

fn tables() -> Database {
    let database = Database::memory().unwrap();
    for (text, name) in [
        (include_str!("fixtures/dynamodb/links-table.json"), LINKS),
        (include_str!("fixtures/dynamodb/audit-table.json"), AUDIT),
    ] {
        let mut request: Value = serde_json::from_str(text).unwrap();
        request
            .as_object_mut()
            .unwrap()
            .insert("TableName".to_owned(), json!(name));
        database.create_table(serde_json::from_value(request).unwrap()).unwrap();
    }
    database
}

fn ledger(endpoint: &str) -> Ledger {
    let lookup = |name: &str| match name {
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "AWS_ENDPOINT_URL" => Some(endpoint.to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    };
    let shared = transport::aws::sdk_config(&lookup, transport::client().unwrap()).unwrap();
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let config = Builder::from(&shared).retry_config(retries).build();
    Ledger::new(Client::from_conf(config), LINKS, AUDIT)
}

/// A database whose first answers get lost: the request is applied, the caller is told of a failure.
async fn forgetful(database: Database, lost: usize) -> MockServer {
    fn run<I: DeserializeOwned, O: Serialize>(
        request: &Request,
        operation: impl FnOnce(I) -> dynoxide::Result<O>,
    ) -> ResponseTemplate {
        match operation(serde_json::from_slice(&request.body).unwrap()) {
            Ok(output) => ResponseTemplate::new(200).set_body_json(output),
            Err(error) => ResponseTemplate::new(error.status_code()).set_body_string(error.to_json()),
        }
    }
    let left = Arc::new(AtomicUsize::new(lost));
    let server = MockServer::start().await;
    Mock::given(|_: &Request| true)
        .respond_with(move |request: &Request| {
            let target = request.headers.get("x-amz-target").unwrap().to_str().unwrap();
            let answer = match target.rsplit('.').next() {
                Some("PutItem") => run(request, |input| database.put_item(input)),
                Some("TransactWriteItems") => run(request, |input| database.transact_write_items(input)),
                _ => panic!("{target} is not played"),
            };
            let lose = |left: usize| left.checked_sub(1);
            match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose) {
                Ok(_) => ResponseTemplate::new(500).set_body_json(json!({ "__type": "InternalServerError" })),
                Err(_) => answer,
            }
        })
        .mount(&server)
        .await;
    server
}

/// A server that always says the same.
async fn saying(status: u16, body: Value) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(|_: &Request| true)
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(&server)
        .await;
    server
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn uuid(number: u128) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn referral(number: u128) -> ReferralId {
    uuid(number).parse().unwrap()
}

fn opportunity(number: u128) -> OpportunityId {
    uuid(number).parse().unwrap()
}

fn engagement(number: u128) -> EngagementId {
    uuid(number).parse().unwrap()
}

/// The first version of the link of a referral, with no pointer yet.
fn first(number: u128, writer: &str) -> LinkWrite {
    let mut link = Link::new(referral(number).into());
    link.referral = Some(referral(number));
    link.version = 1;
    link.writer = writer.to_owned();
    LinkWrite {
        link,
        pointers: Vec::new(),
        freed: Vec::new(),
        audit: Vec::new(),
    }
}

/// The next version of a link.
fn next(link: &Link, writer: &str) -> LinkWrite {
    let mut link = link.clone();
    link.version += 1;
    link.writer = writer.to_owned();
    LinkWrite {
        link,
        pointers: Vec::new(),
        freed: Vec::new(),
        audit: Vec::new(),
    }
}

fn pointed(mut write: LinkWrite) -> LinkWrite {
    write.pointers = write.link.pointers();
    write
}

fn audited(mut write: LinkWrite, when: &str) -> LinkWrite {
    write.audit.push(AuditEntry {
        link: write.link.id,
        version: write.link.version,
        at: at(when),
        cause: Cause::ReferralUpdated,
        trace: "trace".to_owned(),
        referral: write.link.referral,
        opportunity: write.link.opportunity,
        lead: write.link.lead,
        findings: vec![Finding::new(Code::Linked, "linked")],
        changes: Vec::new(),
        etags: Etags::default(),
        requests: Vec::new(),
        outcome: Outcome::Written,
    });
    write
}

fn due(mut write: LinkWrite, when: &str) -> LinkWrite {
    write.link.due = Some(Due {
        at: at(when),
        attempts: 1,
        why: "stale".to_owned(),
    });
    write
}

#[tokio::test]
async fn a_link_is_found_by_each_of_its_records() {
    let world = World::new().await;
    let mut write = first(1, "a");
    write.link.opportunity = Some(opportunity(2));
    write.link.microsoft = Some(referral(3));
    write.link.engagement = Some(engagement(4));
    let write = pointed(write);
    world.done(&write).await;

    let found = Some(write.link);
    let ledger = &world.ledger;
    assert_eq!(ledger.find(Subject::Referral(referral(1))).await.unwrap(), found);
    assert_eq!(ledger.find(Subject::Referral(referral(3))).await.unwrap(), found);
    assert_eq!(ledger.find(Subject::Opportunity(opportunity(2))).await.unwrap(), found);
    assert_eq!(ledger.find_engagement(engagement(4)).await.unwrap(), found);
    assert_eq!(ledger.get(referral(1).into()).await.unwrap(), found);

    assert_eq!(ledger.find(Subject::Referral(referral(9))).await.unwrap(), None);
    assert_eq!(ledger.find(Subject::Opportunity(opportunity(9))).await.unwrap(), None);
    assert_eq!(ledger.find_engagement(engagement(1)).await.unwrap(), None);
    assert_eq!(ledger.get(referral(9).into()).await.unwrap(), None);
}

#[tokio::test]
async fn a_link_that_claims_no_record_is_found_under_the_id_of_the_record_it_was_kept_for() {
    let world = World::new().await;
    let mut kept = first(1, "a");
    kept.link.referral = None;
    world.done(&kept).await;
    let found = world.ledger.find(Subject::Referral(referral(1))).await.unwrap();
    assert_eq!(found, Some(kept.link));

    let mut kept = first(2, "a");
    kept.link.referral = None;
    world.done(&kept).await;
    let found = world.ledger.find(Subject::Opportunity(opportunity(2))).await.unwrap();
    assert_eq!(found, Some(kept.link));
}

#[tokio::test]
async fn two_workers_that_meet_a_new_deal_write_one_link() {
    let world = World::new().await;
    world.done(&first(1, "a")).await;
    assert_eq!(world.ledger.write(&first(1, "b")).await.unwrap(), Written::Outrun);
    assert_eq!(
        world.ledger.write(&pointed(first(1, "b"))).await.unwrap(),
        Written::Outrun
    );
    let kept = world.ledger.get(referral(1).into()).await.unwrap().unwrap();
    assert_eq!(kept.writer, "a");
    assert_eq!(world.items(LINKS).len(), 1);
}

#[tokio::test]
async fn only_the_version_that_was_seen_is_replaced() {
    let world = World::new().await;
    let one = first(1, "a");
    world.done(&one).await;
    let two = next(&one.link, "b");
    world.done(&two).await;

    assert_eq!(
        world.ledger.write(&next(&one.link, "c")).await.unwrap(),
        Written::Outrun
    );
    let late = audited(next(&one.link, "c"), "2026-03-01T00:00:00Z");
    assert_eq!(world.ledger.write(&late).await.unwrap(), Written::Outrun);
    let early = next(&next(&two.link, "d").link, "d");
    assert_eq!(world.ledger.write(&early).await.unwrap(), Written::Outrun);
    let nothing_there = next(&first(5, "e").link, "e");
    assert_eq!(world.ledger.write(&nothing_there).await.unwrap(), Written::Outrun);

    assert_eq!(world.ledger.get(one.link.id).await.unwrap(), Some(two.link));
    assert!(world.items(AUDIT).is_empty());
}

#[tokio::test]
async fn a_write_that_is_tried_again_is_done() {
    let world = World::new().await;
    let one = first(1, "a");
    world.done(&one).await;
    world.done(&one).await;
    let two = audited(next(&one.link, "a"), "2026-03-01T00:00:00Z");
    world.done(&two).await;
    world.done(&two).await;
    // Beyond the ten minutes in which the service remembers a token it is the item itself that tells.
    let mut again = audited(next(&one.link, "a"), "2026-03-01T00:11:00Z");
    again.pointers = again.link.pointers();
    world.done(&again).await;
    assert_eq!(world.ledger.audit_of(one.link.id, 10).await.unwrap(), two.audit);
}

#[tokio::test]
async fn another_write_of_the_same_run_and_version_is_not_mistaken_for_the_first() {
    let world = World::new().await;
    let one = first(1, "a");
    world.done(&one).await;
    let other = due(one.clone(), "2026-03-01T00:00:00Z");
    assert_eq!(world.ledger.write(&other).await.unwrap(), Written::Outrun);
    assert_eq!(world.ledger.write(&pointed(other)).await.unwrap(), Written::Outrun);
    assert_eq!(world.ledger.get(one.link.id).await.unwrap(), Some(one.link));
}

#[tokio::test]
async fn a_write_whose_answers_are_lost_is_done() {
    for write in [first(1, "a"), audited(pointed(first(1, "a")), "2026-03-01T00:00:00Z")] {
        let server = forgetful(tables(), 2).await;
        assert_eq!(ledger(&server.uri()).write(&write).await.unwrap(), Written::Done);
        assert_eq!(server.received_requests().await.unwrap().len(), 3);

        let server = forgetful(tables(), 3).await;
        let ledger = ledger(&server.uri());
        let fault = Fault::from(ledger.write(&write).await.unwrap_err());
        assert!(fault.in_doubt);
        assert_eq!(fault.class, Class::Transient { after: None });
        assert_eq!(fault.code, "aws_answer_lost");
        assert_eq!(ledger.write(&write).await.unwrap(), Written::Done);
    }
}

#[tokio::test]
async fn a_record_of_another_link_is_not_taken_and_nothing_is_written() {
    let world = World::new().await;
    let mut mine = first(1, "a");
    mine.link.opportunity = Some(opportunity(7));
    world.done(&pointed(mine.clone())).await;

    let mut theirs = first(2, "b");
    theirs.link.opportunity = Some(opportunity(7));
    theirs.link.engagement = Some(engagement(8));
    let theirs = audited(pointed(theirs), "2026-03-01T00:00:00Z");
    let taken = Written::Taken(Pointer::Opportunity(opportunity(7)), mine.link.id);
    assert_eq!(world.ledger.write(&theirs).await.unwrap(), taken);

    assert_eq!(world.ledger.get(theirs.link.id).await.unwrap(), None);
    assert_eq!(world.ledger.find(Subject::Referral(referral(2))).await.unwrap(), None);
    assert_eq!(world.ledger.find_engagement(engagement(8)).await.unwrap(), None);
    assert!(world.ledger.audit_of(theirs.link.id, 10).await.unwrap().is_empty());
    assert_eq!(world.items(LINKS).len(), 3);
}

#[tokio::test]
async fn a_link_may_name_its_own_records_again() {
    let world = World::new().await;
    let one = pointed(first(1, "a"));
    world.done(&one).await;
    let mut two = next(&one.link, "b");
    two.link.opportunity = Some(opportunity(2));
    world.done(&pointed(two)).await;
    assert_eq!(world.items(LINKS).len(), 3);
}

#[tokio::test]
async fn audit_records_are_never_replaced() {
    let world = World::new().await;
    let one = audited(first(1, "a"), "2026-03-01T00:00:00Z");
    world.done(&one).await;
    // The link is lost and begins anew; its audit is not.
    let key = json!({ "pk": { "S": format!("LINK#{}", one.link.id) }, "sk": { "S": "LINK" } });
    let request = json!({ "TableName": LINKS, "Key": key });
    world
        .database
        .delete_item(serde_json::from_value(request).unwrap())
        .unwrap();

    let error = world
        .ledger
        .write(&audited(first(1, "b"), "2026-03-02T00:00:00Z"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "ledger_audit_exists");
    assert_eq!(error.class(), Class::Permanent);
    assert_eq!(world.ledger.audit_of(one.link.id, 10).await.unwrap(), one.audit);
    assert!(world.items(LINKS).is_empty());
}

#[tokio::test]
async fn audit_is_listed_by_deal_and_by_day_and_lapses() {
    let world = World::new().await;
    let mut link = first(1, "a").link;
    link.version = 0;
    for (version, when) in [
        (1, "2026-03-01T23:59:59Z"),
        (2, "2026-03-02T00:00:00Z"),
        (3, "2026-03-02T05:00:00.5Z"),
    ] {
        let write = audited(audited(next(&link, "a"), when), when);
        assert_eq!(write.link.version, version);
        world.done(&write).await;
        link = write.link;
    }
    let other = audited(first(2, "a"), "2026-03-02T04:00:00Z");
    world.done(&other).await;

    let versions = |entries: &[AuditEntry]| entries.iter().map(|entry| entry.version).collect::<Vec<_>>();
    let all = world.ledger.audit_of(link.id, 10).await.unwrap();
    assert_eq!(versions(&all), [3, 3, 2, 2, 1, 1]);
    assert_eq!(versions(&world.ledger.audit_of(link.id, 3).await.unwrap()), [3, 3, 2]);
    assert!(world.ledger.audit_of(link.id, 0).await.unwrap().is_empty());
    let day = world.ledger.audit_on("2026-03-02".parse().unwrap(), 10).await.unwrap();
    assert_eq!(versions(&day), [3, 3, 1, 2, 2]);

    let key = format!("{:012}#0", 1);
    let item = world
        .items(AUDIT)
        .into_iter()
        .find(|item| item.pointer("/sk/S") == Some(&json!(key)));
    let expires = item
        .unwrap()
        .pointer("/expires/N")
        .and_then(Value::as_str)
        .unwrap()
        .parse::<i64>()
        .unwrap();
    assert_eq!(expires, at("2027-04-05T23:59:59Z").as_second());
}

#[tokio::test]
async fn due_deals_are_listed_until_they_are_seen_to() {
    let world = World::new().await;
    let mut created = due(first(1, "a"), "2026-03-01T12:00:00.25Z");
    created.link.referral = None;
    created.link.opportunity = Some(opportunity(1));
    world.done(&created).await;
    world.done(&due(pointed(first(2, "a")), "2026-03-01T12:00:00Z")).await;
    world.done(&due(first(3, "a"), "2026-03-01T12:00:01Z")).await;
    world.done(&first(4, "a")).await;

    let now = at("2026-03-01T12:00:00.25Z");
    let found = world.ledger.due(now, 10).await.unwrap();
    let subjects: Vec<_> = found.iter().filter_map(|listed| listed.subject()).collect();
    assert_eq!(
        subjects,
        [Subject::Referral(referral(2)), Subject::Opportunity(opportunity(1))]
    );
    assert_eq!(found.last().unwrap().at, now);
    assert_eq!(found.last().unwrap().link, LinkId::from(referral(1)));
    assert_eq!(world.ledger.due(now, 1).await.unwrap().len(), 1);
    for (limit, counted) in [(10, 2), (2, 2), (1, 1), (0, 0)] {
        assert_eq!(world.ledger.count_due(now, limit).await.unwrap(), counted);
    }
    assert!(
        world
            .ledger
            .due(at("2026-03-01T11:59:59Z"), 10)
            .await
            .unwrap()
            .is_empty()
    );

    let mut seen = next(&created.link, "b");
    seen.link.due = None;
    world.done(&seen).await;
    assert_eq!(world.ledger.due(now, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn deals_that_wait_for_a_person_are_listed_even_if_nobody_noted_since_when() {
    let world = World::new().await;
    let mut dated = first(1, "a");
    dated.link.attention = vec![Finding::new(Code::Missing, "missing")];
    dated.link.attention_since = Some(at("2026-03-01T12:00:00Z"));
    world.done(&dated).await;
    let mut undated = first(2, "a");
    undated.link.attention = vec![Finding::new(Code::Missing, "missing")];
    world.done(&undated).await;
    let mut settled = first(3, "a");
    settled.link.attention_since = Some(at("2026-03-01T12:00:00Z"));
    world.done(&settled).await;

    let found = world.ledger.attention(10).await.unwrap();
    let links: Vec<_> = found.iter().map(|listed| listed.link).collect();
    assert_eq!(links, [undated.link.id, dated.link.id]);
    assert_eq!(world.ledger.count_attention(10).await.unwrap(), 2);
    assert_eq!(world.ledger.count_attention(1).await.unwrap(), 1);
}

#[tokio::test]
async fn one_broken_item_keeps_no_other_off_the_lists() {
    let world = World::new().await;
    let mut write = due(first(1, "a"), "2026-03-01T12:00:00Z");
    write.link.attention = vec![Finding::new(Code::Missing, "missing")];
    write.link.attention_since = Some(at("2026-03-01T12:00:00Z"));
    world.done(&write).await;
    let mut broken = world.items(LINKS).remove(0);
    broken["pk"] = json!({ "S": "LINK#broken" });
    world.put(LINKS, broken);

    let now = at("2026-03-01T12:00:01Z");
    let ledger = &world.ledger;
    assert_eq!(ledger.count_due(now, 10).await.unwrap(), 2);
    assert_eq!(ledger.count_attention(10).await.unwrap(), 2);
    let lists = [
        ledger.due(now, 10).await.unwrap(),
        ledger.attention(10).await.unwrap(),
        ledger.due_page(now, None, 10).await.unwrap().0,
        ledger.attention_page(None, 10).await.unwrap().0,
    ];
    for list in lists {
        let links: Vec<_> = list.iter().map(|listed| listed.link).collect();
        assert_eq!(links, [write.link.id]);
    }
}

#[tokio::test]
async fn a_walk_meets_every_link_once_and_passes_broken_ones() {
    let world = World::new().await;
    for number in 1..=150 {
        let mut write = first(number, "a");
        write.link.opportunity = Some(opportunity(number));
        world.done(&pointed(write)).await;
    }
    let _ = world.ledger.move_cursor("dynamics", &None, "x", None).await.unwrap();
    world.put(
        LINKS,
        json!({ "pk": { "S": "LINK#broken" }, "sk": { "S": "LINK" }, "body": { "S": "{}" } }),
    );

    let (mut links, mut broken, mut pages) = (BTreeSet::new(), Vec::new(), 0);
    let mut from = None;
    loop {
        let page = world.ledger.scan_links(from).await.unwrap();
        pages += 1;
        links.extend(page.links.iter().map(|link| link.id));
        broken.extend(page.broken);
        match page.next {
            // As if kept between two invocations.
            Some(token) => from = Some(serde_json::from_str(&serde_json::to_string(&token).unwrap()).unwrap()),
            None => break,
        }
    }
    assert_eq!(links.len(), 150);
    assert_eq!(broken.len(), 1);
    assert!(pages > 1);
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_lapses() {
    let world = World::new().await;
    let ledger = &world.ledger;
    let noon = at("2026-03-01T12:00:00Z");
    let minute = SignedDuration::from_mins(1);
    let lease = ledger.lease("poll", "a", noon + minute, noon).await.unwrap().unwrap();
    assert_eq!((lease.name(), lease.until()), ("poll", noon + minute));

    let almost = noon + SignedDuration::from_millis(59_999);
    assert!(
        ledger
            .lease("poll", "b", almost + minute, almost)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        ledger
            .lease("poll", "a", noon + minute, almost)
            .await
            .unwrap()
            .is_some(),
        "the answer was lost"
    );
    assert!(
        ledger
            .lease("compare", "b", noon + minute, noon)
            .await
            .unwrap()
            .is_some(),
        "another name"
    );

    // The item is still there, as after a crash; only the clock says that it has lapsed.
    let lapsed = noon + minute;
    let theirs = ledger
        .lease("poll", "b", lapsed + minute, lapsed)
        .await
        .unwrap()
        .unwrap();
    ledger.release(lease).await.unwrap();
    assert!(
        ledger
            .lease("poll", "c", lapsed + minute, lapsed)
            .await
            .unwrap()
            .is_none(),
        "released by another"
    );
    ledger.release(theirs).await.unwrap();
    assert!(
        ledger
            .lease("poll", "c", lapsed + minute, lapsed)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_cursor_moves_only_from_where_it_was_seen() {
    let world = World::new().await;
    let ledger = &world.ledger;
    assert_eq!(ledger.cursor("dynamics").await.unwrap(), None);
    let Moved::Moved(one) = ledger.move_cursor("dynamics", &None, "one", None).await.unwrap() else {
        panic!("outrun by nobody");
    };
    assert_eq!(ledger.cursor("dynamics").await.unwrap().as_ref(), Some(&one));
    assert_eq!(ledger.cursor("partner-center").await.unwrap(), None);
    assert_eq!(
        ledger.move_cursor("dynamics", &None, "zero", None).await.unwrap(),
        Moved::Outrun
    );

    let seen = Some(one);
    let (left, right) = tokio::join!(
        ledger.move_cursor("dynamics", &seen, "left", None),
        ledger.move_cursor("dynamics", &seen, "right", None),
    );
    let (left, right) = (left.unwrap(), right.unwrap());
    assert_ne!(left == Moved::Outrun, right == Moved::Outrun);
    let ((Moved::Moved(winner), Moved::Outrun) | (Moved::Outrun, Moved::Moved(winner))) = (left, right) else {
        panic!("both moved it");
    };
    assert_eq!(ledger.cursor("dynamics").await.unwrap().as_ref(), Some(&winner));
    let repeated = ledger
        .move_cursor("dynamics", &seen, &winner.value, None)
        .await
        .unwrap();
    assert_eq!(repeated, Moved::Moved(winner), "the answer was lost");
}

#[tokio::test]
async fn a_cursor_remembers_when_nothing_was_left_behind() {
    let world = World::new().await;
    let ledger = &world.ledger;
    let caught_up = async |expected: Option<&str>| {
        let cursor = ledger.cursor("dynamics").await.unwrap();
        assert_eq!(cursor.as_ref().unwrap().caught_up, expected.map(at));
        cursor
    };
    // As earlier versions wrote it.
    let _ = ledger.move_cursor("dynamics", &None, "one", None).await.unwrap();
    let seen = caught_up(None).await;
    let noon = at("2026-03-01T12:00:00Z");
    let _ = ledger.move_cursor("dynamics", &seen, "end", Some(noon)).await.unwrap();
    let seen = caught_up(Some("2026-03-01T12:00:00Z")).await;
    // A page with others behind it says nothing new.
    let _ = ledger.move_cursor("dynamics", &seen, "middle", None).await.unwrap();
    let between = caught_up(Some("2026-03-01T12:00:00Z")).await;
    // Two polls that come to the same place have both moved the cursor there, if at different times.
    let later = at("2026-03-01T12:00:01Z");
    let _ = ledger
        .move_cursor("dynamics", &between, "end", Some(later))
        .await
        .unwrap();
    let slower = ledger
        .move_cursor("dynamics", &between, "end", Some(noon))
        .await
        .unwrap();
    assert!(matches!(slower, Moved::Moved(_)), "{slower:?}");
    caught_up(Some("2026-03-01T12:00:01Z")).await;
}

#[tokio::test]
async fn an_open_breaker_is_not_closed_early() {
    let world = World::new().await;
    let ledger = &world.ledger;
    let noon = at("2026-03-01T12:00:00Z");
    let later = |seconds| noon + SignedDuration::from_secs(seconds);
    assert_eq!(ledger.breaker("dynamics", noon).await.unwrap(), None);
    ledger.open_breaker("dynamics", later(30)).await.unwrap();
    ledger.open_breaker("dynamics", later(10)).await.unwrap();
    assert_eq!(ledger.breaker("dynamics", noon).await.unwrap(), Some(later(30)));
    assert_eq!(ledger.breaker("partner-center", noon).await.unwrap(), None);
    ledger.open_breaker("dynamics", later(60)).await.unwrap();
    assert_eq!(ledger.breaker("dynamics", later(59)).await.unwrap(), Some(later(60)));
    assert_eq!(ledger.breaker("dynamics", later(60)).await.unwrap(), None);
}

#[tokio::test]
async fn what_dynamodb_would_not_take_is_named_and_not_sent() {
    let world = World::new().await;
    let mut large = first(1, "a");
    large.link.journal = vec!["x".repeat(400 * 1024)];
    for write in [large.clone(), pointed(large)] {
        let error = world.ledger.write(&write).await.unwrap_err();
        assert_eq!(error.code(), "ledger_item_too_large");
    }
    let mut many = first(1, "a");
    for _ in 0..100 {
        many = audited(many, "2026-03-01T00:00:00Z");
    }
    let error = world.ledger.write(&many).await.unwrap_err();
    assert!(matches!(error, Error::TooMuchAtOnce { items: 101, .. }), "{error}");
    many.audit.pop();
    world.done(&many).await;
    assert_eq!(world.items(AUDIT).len(), 99);

    let mut wide = first(2, "a");
    for _ in 0..12 {
        wide = audited(wide, "2026-03-01T00:00:00Z");
        wide.audit.last_mut().unwrap().trace = "x".repeat(390 * 1024);
    }
    assert_eq!(
        world.ledger.write(&wide).await.unwrap_err().code(),
        "ledger_write_too_large"
    );
}

#[tokio::test]
async fn a_broken_item_is_named_without_its_content() {
    let world = World::new().await;
    let id = referral(1);
    let mut body = serde_json::to_value(first(1, "a").link).unwrap();
    body.as_object_mut()
        .unwrap()
        .insert("state".to_owned(), json!("Contoso"));
    let pk = format!("LINK#{id}");
    world.put(
        LINKS,
        json!({ "pk": { "S": pk }, "sk": { "S": "LINK" }, "body": { "S": body.to_string() } }),
    );
    let error = world.ledger.get(id.into()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the item {pk} cannot be read at body.state; restore it, or run the version that wrote it")
    );
    assert!(!format!("{error:?}").contains("Contoso"));

    let other = referral(2);
    world.put(
        LINKS,
        json!({ "pk": { "S": format!("REFERRAL#{other}") }, "sk": { "S": "LINK" }, "link": { "S": other.to_string() } }),
    );
    let error = world.ledger.find(Subject::Referral(other)).await.unwrap_err();
    assert_eq!(error.code(), "ledger_pointer_dangling");
}

#[tokio::test]
async fn reads_of_links_and_pointers_are_strong() {
    let server = saying(200, json!({})).await;
    let ledger = ledger(&server.uri());
    assert_eq!(ledger.find(Subject::Referral(referral(1))).await.unwrap(), None);
    let keys: Vec<_> = server
        .received_requests()
        .await
        .unwrap()
        .iter()
        .map(|request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(body.pointer("/ConsistentRead"), Some(&json!(true)));
            body.pointer("/Key/pk/S").and_then(Value::as_str).unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        keys,
        [
            format!("REFERRAL#{}", uuid(1)),
            format!("MICROSOFT#{}", uuid(1)),
            format!("LINK#{}", uuid(1))
        ]
    );
}

#[tokio::test]
async fn contention_and_throttling_pass_and_missing_rights_do_not() {
    let cancelled = |code: &str| {
        let reasons = json!([{ "Code": code, "Message": "told" }, { "Code": "None" }]);
        json!({ "__type": "TransactionCanceledException", "CancellationReasons": reasons })
    };
    let transient = Class::Transient { after: None };
    let cases = [
        (cancelled("TransactionConflict"), "aws_contended", transient),
        (cancelled("ThrottlingError"), "aws_throttled", transient),
        (cancelled("ValidationError"), "aws_rejected", Class::Permanent),
        (
            json!({ "__type": "TransactionInProgressException" }),
            "aws_contended",
            transient,
        ),
        (json!({ "__type": "ThrottlingException" }), "aws_throttled", transient),
        (
            json!({ "__type": "AccessDeniedException", "message": "no" }),
            "aws_refused",
            Class::Fatal,
        ),
    ];
    for (body, code, class) in cases {
        let server = saying(400, body).await;
        let fault = Fault::from(ledger(&server.uri()).write(&pointed(first(1, "a"))).await.unwrap_err());
        assert_eq!(
            (fault.code, fault.class, fault.in_doubt),
            (code, class, false),
            "{fault}"
        );
    }
    let server = saying(400, json!({ "__type": "TransactionConflictException" })).await;
    let error = ledger(&server.uri()).write(&first(1, "a")).await.unwrap_err();
    assert_eq!((error.code(), error.class()), ("aws_contended", transient));
}

#[tokio::test]
async fn the_token_of_a_transaction_follows_from_its_content() {
    let token = async |write: &LinkWrite| {
        let server = saying(200, json!({})).await;
        assert_eq!(ledger(&server.uri()).write(write).await.unwrap(), Written::Done);
        let requests = server.received_requests().await.unwrap();
        let body: Value = serde_json::from_slice(&requests.first().unwrap().body).unwrap();
        body.pointer("/ClientRequestToken")
            .and_then(Value::as_str)
            .unwrap()
            .to_owned()
    };
    let one = pointed(first(1, "a"));
    let tokens = [
        token(&one).await,
        token(&pointed(first(1, "b"))).await,
        token(&pointed(next(&one.link, "a"))).await,
        token(&audited(one.clone(), "2026-03-01T00:00:00Z")).await,
    ];
    assert_eq!(token(&one).await, tokens[0]);
    assert!(tokens.iter().all(|token| token.len() == 36));
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 4);
}
