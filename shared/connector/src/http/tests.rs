//! How a remote is called, seen from the remote.

use cosell::fault::{Class, Fault};
use jiff::SignedDuration;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{Stage, header, limits, raw_server, text};

fn read(http: &Http) -> Request {
    Request::get("reading", http.url("/v1.0/things").unwrap())
}

fn write(http: &Http, effect: Effect) -> Request {
    Request::new("writing", Method::POST, http.url("/v1.0/things").unwrap(), effect)
        .json("application/json", &json!({ "a": 1 }))
        .unwrap()
}

async fn fault(http: &Http, request: Request) -> Fault {
    http.send(request).await.unwrap_err().into()
}

const fn transient(seconds: i64) -> Class {
    Class::Transient {
        after: Some(SignedDuration::from_secs(seconds)),
    }
}

#[tokio::test]
async fn ten_callers_share_one_token_request() {
    let stage = Stage::set().await;
    stage.times(10, "GET", text(200, "{}")).await;
    let http = stage.http(Vendor::PartnerCenter);
    let calls = (0..10).map(|_| http.send(read(&http)));
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(stage.token_requests().await.len(), 1);
    assert_eq!(stage.calls().await.len(), 10);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let stage = Stage::set().await;
    stage.once("GET", text(401, "")).await;
    stage.once("GET", text(200, "{}")).await;
    let http = stage.http(Vendor::PartnerCenter);
    http.send(read(&http)).await.unwrap();
    let calls = stage.calls().await;
    assert_eq!(header(&calls[0], "authorization"), Some("Bearer token-1"));
    assert_eq!(header(&calls[1], "authorization"), Some("Bearer token-2"));

    stage
        .times(5, "POST", text(401, r#"{"code":900421,"description":"MFA"}"#))
        .await;
    let fault = fault(&http, write(&http, Effect::Adds)).await;
    assert_eq!((fault.class, fault.code), (Class::Fatal, "second_factor_missing"));
    assert!(!fault.in_doubt);
    assert!(fault.message.contains("make consent"), "{}", fault.message);
    assert_eq!(stage.calls().await.len(), 4);
    assert_eq!(stage.token_requests().await.len(), 3);
}

#[tokio::test]
async fn ten_refused_callers_share_one_new_token() {
    let stage = Stage::set().await;
    stage
        .times(10, "GET", text(401, "").set_delay(Duration::from_millis(50)))
        .await;
    stage.times(10, "GET", text(200, "{}")).await;
    let http = stage.http(Vendor::PartnerCenter);
    let calls = (0..10).map(|_| http.send(read(&http)));
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(stage.token_requests().await.len(), 2);
}

#[tokio::test]
async fn a_short_throttle_is_waited_for_even_by_a_post() {
    let stage = Stage::set().await;
    let throttle = text(
        429,
        r#"{"error":{"code":"0x80072322","message":"Number of requests exceeded"}}"#,
    );
    stage.times(2, "POST", throttle.insert_header("retry-after", "0")).await;
    stage.once("POST", text(200, "{}")).await;
    let run = Run::new(Deadline::after(Duration::from_secs(10)));
    let http = stage.http(Vendor::Dataverse).during(&run);
    http.send(write(&http, Effect::Adds)).await.unwrap();
    let expected = Tally {
        calls: 3,
        throttles: 2,
        ..Tally::default()
    };
    assert_eq!(run.tally(), expected);
}

#[tokio::test]
async fn refusals_and_failures_are_told_apart_and_from_throttles() {
    let stage = Stage::set().await;
    let http = stage.http(Vendor::Dataverse);
    let cases = [
        (
            400,
            Tally {
                calls: 1,
                refusals: 1,
                ..Tally::default()
            },
        ),
        (
            412,
            Tally {
                calls: 1,
                refusals: 1,
                ..Tally::default()
            },
        ),
        (
            200,
            Tally {
                calls: 1,
                ..Tally::default()
            },
        ),
        // A read is repeated twice after a failure.
        (
            500,
            Tally {
                calls: 3,
                failures: 3,
                ..Tally::default()
            },
        ),
        (
            429,
            Tally {
                calls: 3,
                throttles: 3,
                ..Tally::default()
            },
        ),
    ];
    for (status, expected) in cases {
        let run = Run::new(Deadline::after(Duration::from_secs(10)));
        stage.times(expected.calls, "GET", text(status, "{}")).await;
        let http = http.during(&run);
        assert_eq!(http.send(read(&http)).await.is_ok(), status == 200);
        assert_eq!(run.tally(), expected, "{status}");
    }
    let nowhere = Endpoint::parse("http://127.0.0.1:9").unwrap();
    let run = Run::new(Deadline::after(Duration::from_secs(10)));
    let http = stage.http_at(Vendor::Dataverse, nowhere, limits()).during(&run);
    http.send(read(&http)).await.unwrap_err();
    let tally = run.tally();
    assert!(
        tally.calls > 0 && tally.failures == tally.calls,
        "no answer is a failure: {tally:?}"
    );
}

#[tokio::test]
async fn a_long_throttle_is_handed_back_in_all_its_forms() {
    let stage = Stage::set().await;
    let words = r#"{"statusCode":429,"message":"Rate limit is exceeded. Try again in 20 seconds."}"#;
    stage
        .once("GET", text(429, "").insert_header("retry-after", "37"))
        .await;
    stage.once("GET", text(429, words)).await;
    stage
        .once("GET", text(503, "<html>").insert_header("retry-after", "90"))
        .await;
    stage
        .once(
            "GET",
            text(429, "").insert_header("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT"),
        )
        .await;
    // A date a lifetime away is a misprint: it counts as a day.
    for seconds in [37, 20, 90, 86_400] {
        // A process of its own each time: this one would not ask again.
        let http = stage.http(Vendor::Dataverse);
        assert_eq!(fault(&http, read(&http)).await.class, transient(seconds));
    }
    assert_eq!(stage.calls().await.len(), 4);
}

#[tokio::test]
async fn a_remote_that_named_a_long_wait_is_not_called_before_it_is_over() {
    for status in [429, 503] {
        let stage = Stage::set().await;
        stage
            .once("GET", text(status, "").insert_header("retry-after", "1"))
            .await;
        stage.times(9, "GET", text(200, "{}")).await;
        let http = stage.http(Vendor::Dataverse);
        assert_eq!(fault(&http, read(&http)).await.class, transient(1));

        // Neither this run nor another one, and a write is in no doubt.
        let other = http.during(&Run::new(Deadline::NEVER));
        let held = fault(&other, write(&other, Effect::Adds)).await;
        assert_eq!((held.code, held.in_doubt), ("throttled", false));
        let Class::Transient { after: Some(after) } = held.class else {
            panic!("{held:?}");
        };
        assert!(after.is_positive() && after < SignedDuration::from_secs(1), "{after:?}");
        assert_eq!(stage.calls().await.len(), 1);
        assert_eq!(stage.token_requests().await.len(), 1);

        tokio::time::sleep(Duration::try_from(after).unwrap()).await;
        other.send(read(&other)).await.unwrap();
        assert_eq!(stage.calls().await.len(), 2);
    }
}

#[tokio::test]
async fn a_misprinted_wait_does_not_silence_a_process_for_a_day() {
    let stage = Stage::set().await;
    stage
        .once("GET", text(429, "").insert_header("retry-after", "80000"))
        .await;
    let http = stage.http(Vendor::Dataverse);
    assert_eq!(fault(&http, read(&http)).await.class, transient(80_000));
    let left = http.remote.blocked().unwrap();
    assert!(left <= LONGEST_BLOCK && left > LONGEST_BLOCK / 2, "{left:?}");
}

#[tokio::test]
async fn other_refusals_do_not_keep_us_from_calling() {
    let stage = Stage::set().await;
    stage
        .once("GET", text(500, "").insert_header("retry-after", "90"))
        .await;
    stage.once("GET", text(429, "")).await;
    stage.once("GET", text(200, "{}")).await;
    let http = stage.http(Vendor::Dataverse);
    assert_eq!(fault(&http, read(&http)).await.class, transient(90));
    http.send(read(&http)).await.unwrap();
}

#[tokio::test]
async fn repeats_end() {
    let stage = Stage::set().await;
    stage.times(9, "GET", text(500, "oops")).await;
    let http = stage.http(Vendor::Dataverse);
    let fault = fault(&http, read(&http)).await;
    assert_eq!((fault.code, fault.in_doubt), ("unavailable", false));
    assert_eq!(stage.calls().await.len(), 3);
}

#[tokio::test]
async fn a_write_that_adds_is_not_repeated_on_a_doubt() {
    let stage = Stage::set().await;
    let http = stage.http(Vendor::PartnerCenter);
    for answer in [
        text(500, ""),
        text(503, ""),
        text(504, "<html>"),
        text(200, "{}").set_delay(Duration::from_secs(5)),
    ] {
        let before = stage.calls().await.len();
        stage.once("POST", answer).await;
        let fault = fault(&http, write(&http, Effect::Adds)).await;
        assert!(fault.in_doubt, "{fault}");
        assert!(matches!(fault.class, Class::Transient { .. }), "{fault}");
        assert_eq!(stage.calls().await.len(), before + 1);
    }
    for status in [400, 403, 409, 422, 501] {
        stage.once("POST", text(status, "")).await;
        assert!(!fault(&http, write(&http, Effect::Adds)).await.in_doubt, "{status}");
    }
}

#[tokio::test]
async fn a_guarded_write_is_repeated_and_keeps_its_doubt() {
    let stage = Stage::set().await;
    let http = stage.http(Vendor::Dataverse);
    stage.once("POST", text(502, "")).await;
    stage.once("POST", text(200, "{}")).await;
    http.send(write(&http, Effect::Guarded)).await.unwrap();
    stage.once("POST", text(504, "")).await;
    stage.once("POST", text(400, "no")).await;
    let fault = fault(&http, write(&http, Effect::Guarded)).await;
    assert_eq!((fault.class, fault.in_doubt), (Class::Permanent, true));
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_a_doubt() {
    let stage = Stage::set().await;
    let http = stage.http_at(Vendor::PartnerCenter, raw_server(vec![""]), limits());
    let fault = fault(&http, write(&http, Effect::Adds)).await;
    assert_eq!((fault.code, fault.in_doubt), ("interrupted", true));
    assert!(!fault.message.contains("127.0.0.1"), "{}", fault.message);
}

#[tokio::test]
async fn a_read_survives_a_broken_connection() {
    let stage = Stage::set().await;
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\nconnection: close\r\n\r\n{";
    let http = stage.http_at(Vendor::PartnerCenter, raw_server(vec!["", cut, whole]), limits());
    let value: Value = http.send(read(&http)).await.unwrap().decode().unwrap();
    assert_eq!(value, json!({}));
}

#[tokio::test]
async fn a_write_whose_answer_is_cut_off_after_the_status_is_done() {
    let stage = Stage::set().await;
    let cut = "HTTP/1.1 201 Created\r\netag: W/\"7\"\r\ncontent-length: 20\r\nconnection: close\r\n\r\n{";
    let http = stage.http_at(Vendor::PartnerCenter, raw_server(vec![cut]), limits());
    let answer = http.send(write(&http, Effect::Adds)).await.unwrap();
    assert!(answer.is_empty());
    assert_eq!(answer.etag(), Some(Etag("W/\"7\"".to_owned())));
}

#[tokio::test]
async fn a_host_that_is_not_there_leaves_no_doubt() {
    let stage = Stage::set().await;
    let nowhere = Endpoint::parse("http://127.0.0.1:9").unwrap();
    let http = stage.http_at(Vendor::PartnerCenter, nowhere, limits());
    let fault = fault(&http, write(&http, Effect::Adds)).await;
    assert_eq!((fault.code, fault.in_doubt), ("unreachable", false));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stage = Stage::set().await;
    let elsewhere = MockServer::start().await;
    stage
        .once("GET", text(302, "").insert_header("location", elsewhere.uri().as_str()))
        .await;
    let http = stage.http(Vendor::Dataverse);
    let fault = fault(&http, read(&http)).await;
    assert_eq!((fault.class, fault.code), (Class::Fatal, "redirected"));
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_token_goes_nowhere_but_to_the_configured_root() {
    let stage = Stage::set().await;
    let elsewhere = MockServer::start().await;
    let http = stage.http(Vendor::Dataverse);
    for link in [
        format!("{}/api/data/v9.2/x", elsewhere.uri()),
        stage.server.uri().replace("http://", "https://"),
        stage.server.uri().replace("http://", "http://user@"),
        format!("{}/other/", stage.server.uri()),
        format!("{}/api/data/../../other/", stage.server.uri()),
        "not a link".to_owned(),
    ] {
        let error = http.checked(&link, "/api/data/").unwrap_err();
        assert_eq!(error.code(), "foreign_link", "{link}");
    }
    // Even a request that was built around the check is stopped.
    let url = Url::parse(&elsewhere.uri()).unwrap();
    let fault = fault(&http, Request::get("reading", url)).await;
    assert_eq!(fault.code, "foreign_link");
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_oversized_answer_is_refused_whether_announced_or_not() {
    let stage = Stage::set().await;
    stage.once("GET", text(200, &"x".repeat(70_000))).await;
    let http = stage.http(Vendor::Dataverse);
    assert_eq!(fault(&http, read(&http)).await.code, "answer_too_large");

    let endless: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(70_000)).into_boxed_str());
    let http = stage.http_at(Vendor::Dataverse, raw_server(vec![endless]), limits());
    assert_eq!(fault(&http, read(&http)).await.code, "answer_too_large");
}

#[tokio::test]
async fn bad_json_is_named_by_its_place() {
    #[derive(Debug, serde::Deserialize)]
    struct Outer {
        #[serde(rename = "inner")]
        _inner: Vec<u8>,
    }
    let stage = Stage::set().await;
    stage.once("GET", text(200, r#"{"inner":[1,"x"]}"#)).await;
    stage.once("GET", text(200, r#"{"inner":[1]} trailing"#)).await;
    stage.once("GET", text(200, "<html>")).await;
    let http = stage.http(Vendor::Dataverse);
    let mut messages = Vec::new();
    for _ in 0..3 {
        let error = http.send(read(&http)).await.unwrap().decode::<Outer>().unwrap_err();
        assert_eq!(error.code(), "answer_unreadable");
        messages.push(error.to_string());
    }
    assert!(
        messages[0].ends_with("cannot be read at inner[1] (line 1, column 15: unexpected data)"),
        "{messages:?}"
    );
    assert!(messages[1].contains("at the end (line 1, column"), "{messages:?}");
    assert!(messages[2].ends_with("(line 1, column 1: no JSON)"), "{messages:?}");
}

#[tokio::test]
async fn what_stands_in_an_unreadable_place_is_not_repeated() {
    #[derive(Debug, serde::Deserialize)]
    struct Contact {
        #[serde(rename = "phone")]
        _phone: u8,
    }
    let stage = Stage::set().await;
    for body in [
        r#"{"phone":"+49 30 901820"}"#,
        r#"{"phone":4930901820}"#,
        r#"{"phone":1}+4930901820"#,
    ] {
        stage.once("GET", text(200, body)).await;
        let http = stage.http(Vendor::PartnerCenter);
        let error = http.send(read(&http)).await.unwrap().decode::<Contact>().unwrap_err();
        let mut shown = format!("{error} {error:?} {}", chain(&error));
        shown.push_str(&Fault::from(error).message);
        assert!(!shown.contains("901820"), "{shown}");
        assert!(shown.contains("column"), "{shown}");
    }
}

#[tokio::test]
async fn nothing_outlives_the_deadline() {
    let stage = Stage::set().await;
    let http = stage.http(Vendor::Dataverse);
    http.warm_up().await;

    let over = http.during(&Run::new(Deadline::after(Duration::ZERO)));
    let late = fault(&over, write(&over, Effect::Adds)).await;
    assert_eq!((late.code, late.in_doubt), ("out_of_time", false));
    assert!(stage.calls().await.is_empty());

    stage
        .times(9, "POST", text(200, "{}").set_delay(Duration::from_secs(5)))
        .await;
    let started = Instant::now();
    let short = http.during(&Run::new(Deadline::after(Duration::from_millis(80))));
    let cut = fault(&short, write(&short, Effect::Guarded)).await;
    assert!(cut.in_doubt);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_token_is_not_fetched_without_time_and_not_waited_for_beyond_it() {
    let stage = Stage::bare().await;
    let http = stage.http(Vendor::Dataverse);
    let over = http.during(&Run::new(Deadline::after(Duration::ZERO)));
    assert_eq!(fault(&over, read(&over)).await.code, "out_of_time");
    assert_eq!(stage.vault.lock().unwrap().reads, 0);

    // Secrets Manager hangs, whose calls know nothing of our deadline.
    let stuck = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(text(200, "{}").set_delay(Duration::from_secs(30)))
        .mount(&stuck)
        .await;
    let stage = Stage { server: stuck, ..stage };
    let http = stage.http(Vendor::Dataverse);
    let started = Instant::now();
    let short = http.during(&Run::new(Deadline::after(Duration::from_millis(100))));
    let cut = fault(&short, write(&short, Effect::Adds)).await;
    assert_eq!((cut.code, cut.in_doubt), ("out_of_time", false));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn ids_of_calls_are_noted_for_the_run_that_made_them() {
    let stage = Stage::set().await;
    stage
        .once("GET", text(200, "{}").insert_header("request-id", "one"))
        .await;
    stage
        .once("GET", text(404, "").insert_header("x-ms-service-request-id", "two"))
        .await;
    stage
        .once("GET", text(200, "{}").insert_header("MS-RequestId", "three"))
        .await;
    let http = stage.http(Vendor::Dataverse);
    let (first, second) = (Run::new(Deadline::NEVER), Run::new(Deadline::NEVER));
    let http = http.during(&first);
    http.send(read(&http)).await.unwrap();
    http.send(read(&http)).await.unwrap_err();
    let other = http.during(&second);
    other.send(read(&other)).await.unwrap();
    let ids = |run: &Run| run.take_request_ids().into_iter().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!(ids(&first), ["one", "two"]);
    assert_eq!(ids(&second), ["three"]);
    assert!(ids(&first).is_empty());
}

#[tokio::test]
async fn a_budget_spreads_calls() {
    let stage = Stage::set().await;
    stage.times(6, "GET", text(200, "{}")).await;
    let rate = crate::settings::Rate {
        per_second: 40,
        workers: 20,
    };
    let client = transport::client().unwrap();
    let budget = Budget::new(rate);
    let http = Http::new(
        Vendor::Dataverse,
        client,
        stage.endpoint(),
        stage.delegated(),
        budget,
        limits(),
    );
    http.warm_up().await;
    let run = Run::new(Deadline::after(Duration::from_millis(400)));
    let http = http.during(&run);
    // The share of a second is granted at once, the next call would have to wait half a second: there is no time.
    Mock::given(method("GET"))
        .and(path("/v1.0/things"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&stage.server)
        .await;
    for _ in 0..2 {
        http.send(read(&http)).await.unwrap();
    }
    assert_eq!(fault(&http, read(&http)).await.code, "out_of_time");
}

#[tokio::test]
async fn neither_token_nor_secret_is_printed() {
    let stage = Stage::set().await;
    stage.once("GET", text(200, "{}")).await;
    let http = stage.http(Vendor::Dataverse);
    http.send(read(&http)).await.unwrap();
    let printed = format!("{http:?}");
    assert!(!printed.contains("token-1") && !printed.contains("cret\""), "{printed}");
}

#[test]
fn a_doubt_is_said_once() {
    let error = Error::InDoubt(Box::new(Error::OutOfTime(Operation {
        vendor: Vendor::Dataverse,
        name: "writing",
    })));
    assert_eq!(
        chain(&error),
        "writing at Dataverse was not tried: no time is left; it may have taken effect all the same"
    );
}

#[test]
fn of_a_place_with_a_long_name_the_beginning_is_told() {
    let operation = Operation {
        vendor: Vendor::Dataverse,
        name: "the test",
    };
    let json = format!(r#"{{"{}":true}}"#, "x".repeat(100_000));
    let error = decode::<std::collections::BTreeMap<String, u8>>(operation, json.as_bytes()).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains(&"x".repeat(PATH_CHARS)) && said.len() < 400,
        "{}",
        said.len()
    );
}

/// A call that fails with all its repeats.
async fn fails(http: &Http) -> Fault {
    fault(http, read(http)).await
}

#[tokio::test]
async fn a_remote_that_fails_call_after_call_is_left_alone() {
    let stage = Stage::set().await;
    stage.times(99, "GET", text(503, "")).await;
    let http = stage.http(Vendor::Dataverse);
    for _ in 0..FAILURES_OF_AN_OUTAGE {
        assert_eq!(http.take_closed(), None);
        fails(&http).await;
    }
    let calls = stage.calls().await.len();
    let left = http.take_closed().unwrap();
    let outage = limits().outage;
    assert!(left <= outage && left > outage / 2, "{left:?}");
    assert_eq!(http.take_closed(), None, "it is told once");
    let held = fails(&http).await;
    assert_eq!((held.code, held.in_doubt), ("throttled", false));
    assert!(matches!(held.class, Class::Transient { after: Some(_) }), "{held:?}");
    assert_eq!(stage.calls().await.len(), calls);
}

#[tokio::test]
async fn a_remote_that_stays_down_is_left_alone_for_longer_each_time_up_to_a_limit() {
    let stage = Stage::set().await;
    stage.times(99, "GET", text(500, "")).await;
    let http = stage.http(Vendor::Dataverse);
    let mut waits = Vec::new();
    for _ in 0..FAILURES_OF_AN_OUTAGE + 5 {
        fails(&http).await;
        waits.extend(http.take_closed().map(|left| left.as_secs_f64().round()));
        // The wait is over.
        http.remote.door().closed_until = None;
    }
    assert_eq!(waits, [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]);
}

#[tokio::test]
async fn an_answer_shows_that_a_remote_is_there() {
    let stage = Stage::set().await;
    let http = stage.http(Vendor::Dataverse);
    for status in [200, 404] {
        stage
            .times(3 * u64::from(FAILURES_OF_AN_OUTAGE - 1), "GET", text(503, ""))
            .await;
        for _ in 1..FAILURES_OF_AN_OUTAGE {
            fails(&http).await;
        }
        stage.once("GET", text(status, "{}")).await;
        let _ = http.send(read(&http)).await;
    }
    assert_eq!(http.remote.blocked(), None);
}

#[tokio::test]
async fn what_others_have_found_closed_is_left_alone_and_is_no_news() {
    let stage = Stage::set().await;
    let http = stage.http(Vendor::Dataverse);
    http.leave_alone(Duration::from_secs(9));
    assert_eq!(fails(&http).await.code, "throttled");
    assert!(stage.calls().await.is_empty());
    assert_eq!(http.take_closed(), None);
}

#[tokio::test]
async fn a_wait_is_over_when_all_say_so_but_not_before_they_know_of_it() {
    let stage = Stage::set().await;
    stage
        .once("GET", text(429, "").insert_header("retry-after", "90"))
        .await;
    stage.once("GET", text(200, "{}")).await;
    let http = stage.http(Vendor::Dataverse);
    fails(&http).await;
    http.call_again();
    assert_eq!(fails(&http).await.code, "throttled", "nobody has been told");
    assert!(http.take_closed().is_some());
    http.call_again();
    http.send(read(&http)).await.unwrap();
}

#[tokio::test]
async fn a_record_in_use_is_no_outage() {
    let stage = Stage::set().await;
    stage.times(99, "GET", text(423, "")).await;
    let http = stage.http(Vendor::Dataverse);
    for _ in 0..=FAILURES_OF_AN_OUTAGE {
        fails(&http).await;
    }
    assert_eq!(http.remote.blocked(), None);
}

#[tokio::test]
async fn failures_that_lie_far_apart_are_no_outage() {
    let stage = Stage::set().await;
    stage.times(99, "GET", text(503, "")).await;
    let http = stage.http(Vendor::Dataverse);
    for _ in 0..2 {
        for _ in 1..FAILURES_OF_AN_OUTAGE {
            fails(&http).await;
        }
        let mut door = http.remote.door();
        door.failed_at = door.failed_at.and_then(|at| at.checked_sub(MEMORY_OF_FAILURES));
    }
    assert_eq!(http.remote.blocked(), None);
}
