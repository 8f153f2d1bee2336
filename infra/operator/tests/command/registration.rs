//! `cosell register` and `cosell prove`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::place::{EVENTS, PARTNER_SECRET, Place, WEBHOOK};
use cosell_tests::dataverse::Crm;

const FOREIGN: &str = "https://flows.example.com/run?sig=foreign~key&owner=cosell-production-99887766";

fn registered(place: &Place) -> Option<(String, Vec<String>)> {
    let registration = place.vendors.partner_center.registration()?;
    Some((registration.url, registration.events))
}

fn writes(place: &Place, mark: u64) -> usize {
    let exchanges = place.since(mark);
    exchanges
        .iter()
        .filter(|exchange| exchange.api == "registration" && exchange.is_write())
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_created_once_and_left_alone_afterwards() {
    let place = Place::bare(Crm::Plain).await;
    place.store_credentials();
    place
        .run(&["register"])
        .await
        .ended(0)
        .says("nothing was registered; now the webhook is");
    let (url, mut events) = registered(&place).unwrap();
    events.sort();
    let mut wanted = EVENTS.to_vec();
    wanted.sort_unstable();
    assert_eq!(
        (url.as_str(), events),
        (WEBHOOK, wanted.into_iter().map(str::to_owned).collect())
    );

    let mark = place.mark();
    let outcome = place.run(&["register", "--json"]).await;
    assert_eq!(outcome.ended(0).json()["outcome"], "in_step");
    assert_eq!(writes(&place, mark), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_added() {
    let place = Place::prepared().await;
    place
        .vendors
        .partner_center
        .register_directly(WEBHOOK, &["referral-created"]);
    place
        .run(&["register"])
        .await
        .ended(0)
        .says("lacked referral-updated, related-referral-created, related-referral-updated, test-created");
    assert_eq!(registered(&place).unwrap().1.len(), EVENTS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_is_shown_and_replaced_on_purpose_only() {
    let mut place = Place::prepared().await;
    place.keep_secret("foreign~key");
    place.vendors.partner_center.register_directly(FOREIGN, &EVENTS);
    let outcome = place.run(&["register"]).await;
    outcome
        .ended(1)
        .says("https://flows.example.com/run?owner=cosell-production-99887766 is registered")
        .says("its owner mark is that of the environment production")
        .says("`make register ENV=... ARGS=--overwrite`");
    assert_eq!(registered(&place).unwrap().0, FOREIGN);

    let outcome = place.run(&["register", "--overwrite", "--json"]).await;
    let document = outcome.ended(0).json();
    assert_eq!(document["outcome"], "replaced");
    assert_eq!(
        document["replaced"],
        "https://flows.example.com/run?owner=cosell-production-99887766"
    );
    assert_eq!(registered(&place).unwrap().0, WEBHOOK);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_consent_it_says_what_comes_first() {
    let place = Place::bare(Crm::Plain).await;
    for command in ["register", "prove"] {
        let outcome = place.run(&[command, "--json"]).await;
        assert_eq!(outcome.ended(1).json()["code"], "awaiting_consent");
        outcome.says("run `make consent ENV=...`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_the_role_is_told_which() {
    let place = Place::prepared().await;
    place.vendors.partner_center.refuse_role(true);
    place.run(&["register"]).await.ended(1).says("Admin agent");
}

/// A webhook that answers every post with this status; counts them.
async fn webhook(status: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/webhook?owner=cosell-staging-0a1b2c3d",
        listener.local_addr().unwrap()
    );
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 8192];
            let _ = stream.read(&mut head).await;
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, posts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_that_arrives_is_told() {
    let mut place = Place::prepared().await;
    let (url, posts) = webhook("200 OK").await;
    place.set("WEBHOOK_URL", &url);
    place.vendors.partner_center.register_directly(&url, &EVENTS);
    let mark = place.mark();
    place
        .run(&["prove"])
        .await
        .ended(0)
        .says("the test event arrived (the webhook answered");
    assert_eq!(posts.load(Ordering::SeqCst), 1);
    // Asking for the event, nothing else.
    assert_eq!(writes(&place, mark), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_that_is_refused_is_told_with_the_answer() {
    let mut place = Place::prepared().await;
    let (url, _) = webhook("401 Unauthorized").await;
    place.set("WEBHOOK_URL", &url);
    place.vendors.partner_center.register_directly(&url, &EVENTS);
    place
        .vendors
        .partner_center
        .delivery_backoff(std::time::Duration::from_millis(1));
    let outcome = place.run(&["prove"]).await;
    outcome
        .ended(1)
        .says("could not deliver the test event")
        .says(&format!(
            "`curl -i -X POST '{url}'` answers 401 when the webhook is there"
        ))
        .says("the log of the function `webhook`");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_registration_there_is_nothing_to_prove() {
    let place = Place::bare(Crm::Plain).await;
    place.store_credentials();
    place
        .run(&["prove"])
        .await
        .ended(1)
        .says("there is nothing to prove yet: the registration was missing")
        .says("run `make register ENV=...` first");
    assert!(place.secret(PARTNER_SECRET).is_some());
}
