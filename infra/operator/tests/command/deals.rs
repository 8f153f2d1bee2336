//! The commands about deals, against a function that answers what it is told to.
//!
//! What the orders do is shown by the scenarios of `cosell-tests`; here it is how they are asked for and shown.

use std::sync::{Arc, Mutex};

use cosell_tests::dataverse::Crm;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::place::{PATIENCE, Place};

const REFERRAL: &str = "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a10";
const OPPORTUNITY: &str = "8a0c9f34-41d7-4d2e-9c58-6b1f0e7d2a11";

/// An answer: status, further header lines, body.
type Canned = (&'static str, &'static str, Value);

/// Stands in for `sync`.
struct Sync {
    address: String,
    /// Heads and bodies of what was asked.
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Sync {
    /// Answers one after the other; the last one never, if it is `None`.
    async fn answering(answers: Vec<Option<Canned>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<(String, Value)>>>::default();
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                noted.lock().unwrap().push(request);
                let Some((status, headers, body)) = answers.next().flatten() else {
                    // Held until the caller goes away.
                    let _ = stream.read(&mut [0; 64]).await;
                    continue;
                };
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, asked }
    }

    async fn saying(body: Value) -> Self {
        Self::answering(vec![Some(("200 OK", "", body))]).await
    }

    fn url(&self) -> String {
        format!("{}/sync", self.address)
    }

    fn events(&self) -> Vec<Value> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(_, event)| event.clone())
            .collect()
    }

    fn heads(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(head, _)| head.clone())
            .collect()
    }
}

async fn read(stream: &mut TcpStream) -> (String, Value) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(event) = serde_json::from_str(body)
        {
            return (head.to_owned(), event);
        }
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the request ends early: {text}");
        seen.extend_from_slice(&buffer[..count]);
    }
}

fn done() -> Value {
    json!({ "outcome": "written", "link": REFERRAL, "findings": [
        { "code": "ordered", "field": "stage", "text": "Stage was set to active on both sides by an operator" },
    ] })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_put_to_the_function_and_its_answer_is_shown() {
    let place = Place::bare(Crm::Plain).await;
    let decline = ["decline", "--opportunity", OPPORTUNITY, "--reason", "Not ours", "--yes"];
    let unlink = ["unlink", "--referral", REFERRAL, "--yes"];
    let cases: [(&[&str], Value); 5] = [
        (
            &["accept", "--referral", REFERRAL],
            json!({ "command": "accept", "referral": REFERRAL }),
        ),
        (
            &decline,
            json!({ "command": "decline", "opportunity": OPPORTUNITY, "reason": "Not ours" }),
        ),
        (&unlink, json!({ "command": "unlink", "referral": REFERRAL })),
        (
            &["link", "--referral", REFERRAL, "--opportunity", OPPORTUNITY],
            json!({ "command": "link", "referral": REFERRAL, "opportunity": OPPORTUNITY }),
        ),
        (
            &["resync", "--referral", REFERRAL],
            json!({ "command": "resync", "referral": REFERRAL }),
        ),
    ];
    for (arguments, event) in cases {
        let sync = Sync::saying(done()).await;
        let url = sync.url();
        let arguments = [arguments, &["--url", &url]].concat();
        let outcome = place.run(&arguments).await;
        outcome.ended(0).says("done").says("by an operator");
        assert_eq!(sync.events(), [event]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_order_is_told_with_its_cure() {
    let place = Place::bare(Crm::Plain).await;
    let refusal = json!({ "errorType": "order_refused", "errorMessage": "the deal is won in Partner Center" });
    let sync = Sync::answering(vec![Some(("502 Bad Gateway", "", refusal))]).await;
    let outcome = place
        .run(&["accept", "--referral", REFERRAL, "--url", &sync.url(), "--json"])
        .await;
    let document = outcome.ended(1).json();
    assert_eq!(document["code"], "order_refused");
    assert_eq!(document["message"], "the deal is won in Partner Center");
    outcome.says("nothing was changed").says("`make show ENV=...`");
    assert_eq!(sync.events().len(), 1, "an order is not repeated by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_back_wants_a_yes() {
    let place = Place::bare(Crm::Plain).await;
    let sync = Sync::saying(done()).await;
    let url = sync.url();
    let cases: [&[&str]; 3] = [
        &["decline", "--referral", REFERRAL, "--reason", "Not ours"],
        &["unlink", "--referral", REFERRAL],
        &["restore", "--referral", REFERRAL, "--field", "notes"],
    ];
    for arguments in cases {
        let outcome = place.run(&[arguments, &["--url", &url]].concat()).await;
        outcome.ended(2).says("has to be confirmed").says("--yes");
    }
    assert!(sync.events().is_empty());
    // And a deal is named by one of its records.
    place
        .run(&["accept", "--url", &url])
        .await
        .ended(2)
        .says("--referral <ID>");
    let both = [
        "accept",
        "--referral",
        REFERRAL,
        "--opportunity",
        OPPORTUNITY,
        "--url",
        &url,
    ];
    place.run(&both).await.ended(2).says("cannot be used with");
    place.run(&["resync", "--url", &url]).await.ended(2).says("--filter");
    assert!(sync.events().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_value_is_told_with_its_places() {
    let place = Place::bare(Crm::Plain).await;
    let answer = json!({ "outcome": "written", "findings": [], "restored": { "field": "notes", "value": "Old", "record": 4,
        "written": [ { "side": "partner_center", "was": "New", "is": "Old" } ] } });
    let sync = Sync::saying(answer).await;
    let url = sync.url();
    let arguments = [
        "restore",
        "--referral",
        REFERRAL,
        "--field",
        "notes",
        "--record",
        "4",
        "--yes",
        "--url",
        &url,
    ];
    place
        .run(&arguments)
        .await
        .ended(0)
        .says("Partner Center: notes was New, and is Old");
    let event = json!({ "command": "restore", "referral": REFERRAL, "field": "notes", "record": 4 });
    assert_eq!(sync.events(), [event]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_is_shown_in_three_columns() {
    let place = Place::bare(Crm::Plain).await;
    let answer = json!({
        "link": { "id": REFERRAL, "referral": REFERRAL, "opportunity": OPPORTUNITY, "state": "active" },
        "fields": [
            { "field": "name", "base": "Deal", "base_dynamics": "Other deal", "partner_center": "Deal", "dynamics": "Other deal" },
            { "field": "notes", "base": "Agreed", "partner_center": "Said there", "dynamics": "Agreed" },
        ],
        "plan": { "outcome": "planned", "findings": [ { "text": "Partner Center to Dynamics: Notes changed" } ], "changes": [] },
        "attention": [ { "text": "fill in \"Solutions\"" } ], "pending": null, "due": null,
        "audit": [ { "version": 7, "at": "2026-03-02T08:00:00Z", "cause": "operator", "outcome": "written",
            "findings": [ { "text": "Notes were overruled" } ] } ],
        "restorable": [ { "record": 7, "field": "notes", "text": "Typed in the portal", "side": "partner_center",
            "at": "2026-03-02T08:00:00Z" } ],
    });
    let sync = Sync::saying(answer.clone()).await;
    let url = sync.url();
    let arguments = ["show", "--opportunity", OPPORTUNITY, "--url", &url];
    let outcome = place.run(&arguments).await;
    for words in [
        "field agreed Partner Center Dynamics",
        "name Deal | Other deal Deal Other deal",
        "notes Agreed Said there Agreed",
        "fill in \"Solutions\"",
        "Notes changed",
        "7 notes Typed in the portal Partner Center",
        "7 2026-03-02T08:00:00 operator written Notes were overruled",
    ] {
        outcome.ended(0).says(words);
    }
    let sync = Sync::saying(answer.clone()).await;
    let url = sync.url();
    let arguments = ["show", "--opportunity", OPPORTUNITY, "--json", "--url", &url];
    assert_eq!(place.run(&arguments).await.ended(0).json(), answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_needs_a_person_is_listed() {
    let place = Place::bare(Crm::Plain).await;
    let page = |id: &str, text: &str, next: Value| {
        let deal = json!({ "since": "2026-03-02T08:00:00Z", "opportunity": id, "name": "Deal", "attention": [ { "text": text } ] });
        Some(("200 OK", "", json!({ "deals": [deal], "next": next })))
    };
    let sync = Sync::answering(vec![
        page(OPPORTUNITY, "fill in the first", json!("further")),
        page(REFERRAL, "fill in the second", Value::Null),
    ])
    .await;
    let outcome = place.run(&["attention", "--url", &sync.url()]).await;
    outcome
        .ended(0)
        .says("2 deal(s) wait")
        .says(&format!(
            "2026-03-02T08:00 opportunity {OPPORTUNITY} (Deal) → fill in the first"
        ))
        .says("fill in the second");
    let further = json!({ "command": "attention", "from": "further" });
    assert_eq!(sync.events(), [json!({ "command": "attention" }), further]);
    let sync = Sync::saying(json!({ "deals": [], "next": null })).await;
    let url = sync.url();
    place
        .run(&["attention", "--url", &url])
        .await
        .ended(0)
        .says("nothing waits for a person");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_goes_on_until_there_is_no_more() {
    let place = Place::bare(Crm::Plain).await;
    let step = |seen: u64, hinted: u64, next: Value| {
        Some(("200 OK", "", json!({ "seen": seen, "hinted": hinted, "next": next })))
    };
    let sync = Sync::answering(vec![step(100, 10, json!("there")), step(50, 5, Value::Null)]).await;
    let url = sync.url();
    let outcome = place.run(&["backfill", "--since", "2026-01-31", "--url", &url]).await;
    outcome.ended(0).says("150 records seen; 15 are on the queue");
    let begin = json!({ "command": "backfill", "since": "2026-01-31", "all": false });
    let mut further = begin.clone();
    further["from"] = "there".into();
    assert_eq!(sync.events(), [begin, further]);

    let sync = Sync::answering(vec![step(0, 3, Value::Null)]).await;
    let url = sync.url();
    let outcome = place
        .run(&["resync", "--filter", "due", "--from", "here", "--url", &url, "--json"])
        .await;
    assert_eq!(outcome.ended(0).json(), json!({ "outcome": "hinted", "hinted": 3 }));
    assert_eq!(
        sync.events(),
        [json!({ "command": "resync", "filter": "due", "from": "here" })]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_walk_says_how_to_go_on() {
    let place = Place::bare(Crm::Plain).await;
    let first = Some(("200 OK", "", json!({ "seen": 100, "hinted": 10, "next": "there" })));
    let sync = Sync::answering(vec![first, None]).await;
    let url = sync.url();
    let call = place.start(&["backfill", "--url", &url, "--json"], &[]);
    let asked_twice = async {
        while sync.events().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked_twice)
        .await
        .expect("it asks for more");
    call.signal("INT").await;
    let outcome = call.end(&place).await;
    outcome.ended(130).says("--from 'there'");
    assert_eq!(outcome.json()["next"], "there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deployed_function_is_invoked_through_lambda() {
    let mut place = Place::bare(Crm::Plain).await;
    place.set("SYNC_FUNCTION", "cosell-staging-sync");
    let accept = ["accept", "--referral", REFERRAL];
    let sync = Sync::saying(done()).await;
    place
        .run_with(&accept, &[("AWS_ENDPOINT_URL", &sync.address)])
        .await
        .ended(0)
        .says("done");
    let head = sync.heads().remove(0);
    assert!(
        head.starts_with("POST /2015-03-31/functions/cosell-staging-sync/invocations HTTP/1.1"),
        "{head}"
    );
    assert!(head.contains("AWS4-HMAC-SHA256 Credential=AKIDTEST/"), "{head}");
    assert!(head.contains("/lambda/aws4_request"), "{head}");

    let refusal = json!({ "errorType": "order_refused", "errorMessage": "the deal is won in Partner Center" });
    let failed = Some(("200 OK", "X-Amz-Function-Error: Unhandled\r\n", refusal));
    let forbidden = json!({ "Message": "not authorized to perform: lambda:InvokeFunction" });
    let cases: [(Option<Canned>, &[&str]); 3] = [
        (failed, &["the deal is won in Partner Center"]),
        (
            Some(("403 Forbidden", "", forbidden)),
            &["not authorized", "ask for the AWS permission lambda:InvokeFunction"],
        ),
        (
            Some(("404 Not Found", "", json!({}))),
            &["does not invoke cosell-staging-sync", "check SYNC_FUNCTION"],
        ),
    ];
    for (answer, words) in cases {
        let sync = Sync::answering(vec![answer]).await;
        let outcome = place.run_with(&accept, &[("AWS_ENDPOINT_URL", &sync.address)]).await;
        for words in words {
            outcome.ended(1).says(words);
        }
        assert_eq!(sync.events().len(), 1, "an order is not repeated by itself");
    }
    place.unset("SYNC_FUNCTION");
    place.run(&accept).await.ended(2).says("SYNC_FUNCTION");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_not_there_was_asked_for_nothing() {
    let place = Place::bare(Crm::Plain).await;
    let accept = |url: &'static str| ["accept", "--referral", REFERRAL, "--url", url];
    let outcome = place.run(&accept("http://127.0.0.1:9/sync")).await;
    outcome.ended(1).says("cannot be reached").says("nothing was asked for");
    place
        .run(&accept("http://example.com/sync"))
        .await
        .ended(2)
        .says("no loopback one");
}
