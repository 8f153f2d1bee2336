//! Functions as real processes. The function here is a shell script that speaks the Runtime API itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::gateway::Gateway;
use super::mapping::EventSource;
use super::schedule::Schedule;
use super::{FailureKind, Function, FunctionConfig};
use crate::aws::Aws;
use crate::clock::Clock;
use crate::switchboard::Switchboard;

/// Hangs without starting a process that would outlive the script: the server waits for a request that never comes.
const HANG: &str = "exec 4<>/dev/tcp/$host/$port; read -r forever <&4";

/// Asks for work, runs `answer` (which sees the event in `$event` and sets `$path` and `$reply`), posts the reply,
/// and again. Needs nothing but bash: its `/dev/tcp` opens the connections.
fn script(answer: &str) -> String {
    format!(
        r#"#!/usr/bin/env bash
host=${{AWS_LAMBDA_RUNTIME_API%:*}} port=${{AWS_LAMBDA_RUNTIME_API#*:}}
echo "started $AWS_LAMBDA_FUNCTION_NAME $GREETING"
while true; do
  exec 3<>/dev/tcp/$host/$port
  printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' $host >&3
  while IFS= read -r line <&3 && [ "$line" != $'\r' ]; do
    line=${{line%$'\r'}}
    case "$line" in
      lambda-runtime-aws-request-id:*) id=${{line#*: }} ;;
    esac
  done
  IFS= read -r -d '' event <&3
  exec 3>&-
  path=response reply=$event
  {answer}
  exec 3<>/dev/tcp/$host/$port
  printf 'POST /2018-06-01/runtime/invocation/%s/%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %s\r\n\r\n%s' \
    "$id" "$path" "$host" "${{#reply}}" "$reply" >&3
  IFS= read -r -d '' ignored <&3
  exec 3>&-
done
"#
    )
}

/// A deployed script; its directory goes away with it.
struct Deployed {
    function: Function,
    directory: PathBuf,
}

impl Drop for Deployed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn deploy_with(answer: &str, timeout: Duration, concurrency: usize) -> Deployed {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let directory = std::env::temp_dir().join(format!("cosell-lambda-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let binary = directory.join("bootstrap");
    std::fs::write(&binary, script(answer)).unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let function = Function::start(FunctionConfig {
        name: "echo".to_owned(),
        binary,
        environment: vec![("GREETING".to_owned(), "hello".to_owned())],
        timeout,
        concurrency,
        memory_mb: 128,
        log_file: Some(directory.join("log")),
    });
    Deployed { function, directory }
}

fn deploy(answer: &str) -> Deployed {
    deploy_with(answer, Duration::from_secs(20), 1)
}

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[tokio::test]
async fn a_function_answers_again_and_again_from_one_process() {
    let deployed = deploy(":");
    for number in 0..3 {
        assert_eq!(
            deployed.function.invoke(json!({ "number": number })).await,
            Ok(json!({ "number": number }))
        );
    }
    let logs = deployed.function.logs_once(|lines| !lines.is_empty()).await;
    assert_eq!(logs, ["started echo hello"]);
    assert_eq!(
        std::fs::read_to_string(deployed.directory.join("log")).unwrap(),
        "started echo hello\n"
    );
}

#[tokio::test]
async fn copies_run_side_by_side_up_to_the_concurrency() {
    let deployed = deploy_with(":", Duration::from_secs(20), 2);
    let invoke = |number: u32| deployed.function.invoke(json!(number));
    let answers = tokio::join!(invoke(1), invoke(2), invoke(3), invoke(4));
    assert_eq!(answers, (Ok(json!(1)), Ok(json!(2)), Ok(json!(3)), Ok(json!(4))));
    assert_eq!(deployed.function.logs_once(|lines| lines.len() >= 2).await.len(), 2);
}

#[tokio::test]
async fn a_reported_error_keeps_the_process() {
    let deployed = deploy(r#"path=error reply='{"errorType":"stale","errorMessage":"older than the hint"}'"#);
    for _ in 0..2 {
        let error = deployed.function.invoke(json!({})).await.unwrap_err();
        assert_eq!(
            (error.kind, error.error_type.as_str()),
            (FailureKind::Function, "stale")
        );
    }
    assert_eq!(deployed.function.logs_once(|lines| !lines.is_empty()).await.len(), 1);
}

#[tokio::test]
async fn a_crash_fails_the_invocation_and_the_next_one_has_a_fresh_process() {
    let deployed = deploy(r#"[ "$event" = '"die"' ] && exit 3"#);
    let error = deployed.function.invoke(json!("die")).await.unwrap_err();
    assert_eq!(
        (error.kind, error.error_type.as_str()),
        (FailureKind::Crashed, "Runtime.ExitError")
    );
    assert!(error.message.contains("exit status: 3"), "{error}");
    assert_eq!(deployed.function.invoke(json!("live")).await, Ok(json!("live")));
}

#[tokio::test]
async fn a_kill_ends_an_invocation_at_once() {
    let deployed = deploy(&format!("echo working; {HANG}"));
    let kill = deployed.function.kill_switch();
    let killed = async {
        let working = |line: &String| line == "working";
        deployed.function.logs_once(|lines| lines.iter().any(working)).await;
        kill();
    };
    let (outcome, ()) = tokio::join!(deployed.function.invoke(json!({})), killed);
    assert_eq!(outcome.unwrap_err().kind, FailureKind::Crashed);
}

#[tokio::test]
async fn a_function_that_takes_too_long_is_killed() {
    let slow = format!(r#"if [ "$event" = '"slow"' ]; then {HANG}; fi"#);
    let deployed = deploy_with(&slow, Duration::from_millis(1_500), 1);
    let error = deployed.function.invoke(json!("slow")).await.unwrap_err();
    assert_eq!(
        (error.kind, error.error_type.as_str()),
        (FailureKind::TimedOut, "Sandbox.Timedout")
    );
    assert_eq!(deployed.function.invoke(json!("fast")).await, Ok(json!("fast")));
}

#[tokio::test]
async fn a_process_that_ends_before_it_asks_for_work_is_an_init_failure() {
    let missing = FunctionConfig {
        name: "missing".to_owned(),
        binary: PathBuf::from("/nonexistent/bootstrap"),
        environment: Vec::new(),
        timeout: Duration::from_secs(1),
        concurrency: 1,
        memory_mb: 128,
        log_file: None,
    };
    let error = Function::start(missing.clone()).invoke(json!({})).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Init);
    let ends = FunctionConfig {
        binary: PathBuf::from("/bin/false"),
        ..missing
    };
    let error = Function::start(ends).invoke(json!({})).await.unwrap_err();
    assert_eq!(
        (error.kind, error.error_type.as_str()),
        (FailureKind::Init, "Runtime.ExitError")
    );
}

#[tokio::test]
async fn the_gateway_passes_bytes_on_and_the_answer_back() {
    let deployed = deploy("");
    let gateway = Gateway::start(ANY_PORT, deployed.function.clone()).await.unwrap();
    let client = transport::client().unwrap();
    let post = |content_type: &str| {
        let request = client
            .post(format!("{}?a=1", gateway.url()))
            .header("X-Mixed-Case", "v");
        request
            .header("content-type", content_type)
            .body("{ \"a\" : 1 }")
            .send()
    };
    // The script echoes the event; an answer without a status is given back as JSON.
    let event: Value = serde_json::from_str(&post("application/json").await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(
        (&event["body"], &event["isBase64Encoded"]),
        (&json!("{ \"a\" : 1 }"), &json!(false))
    );
    assert_eq!(
        (&event["version"], &event["routeKey"]),
        (&json!("2.0"), &json!("POST /webhook"))
    );
    assert_eq!(
        (&event["rawQueryString"], &event["headers"]["x-mixed-case"]),
        (&json!("a=1"), &json!("v"))
    );
    assert_eq!(event["requestContext"]["http"]["method"], "POST");
    let event: Value = serde_json::from_str(&post("image/png").await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(
        (&event["body"], &event["isBase64Encoded"]),
        (&json!("eyAiYSIgOiAxIH0="), &json!(true))
    );
    gateway.always_base64(true);
    let event: Value = serde_json::from_str(&post("application/json").await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(event["isBase64Encoded"], true);
    let get = client.get(gateway.url()).send().await.unwrap();
    assert_eq!(
        (get.status().as_u16(), get.text().await.unwrap()),
        (404, r#"{"message":"Not Found"}"#.to_owned())
    );
}

#[tokio::test]
async fn the_gateway_gives_the_status_of_the_answer_and_hides_failures() {
    let deployed = deploy(
        r#"reply='{"statusCode":401,"headers":{"x-a":"b"},"body":"bm8=","isBase64Encoded":true}'
           [[ "$event" == *crash* ]] && exit 1"#,
    );
    let gateway = Gateway::start(ANY_PORT, deployed.function.clone()).await.unwrap();
    let client = transport::client().unwrap();
    let answer = client.post(gateway.url()).body("x").send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["x-a"].as_bytes()),
        (401, b"b".as_slice())
    );
    assert_eq!(answer.text().await.unwrap(), "no");
    let answer = client.post(format!("{}?crash", gateway.url())).send().await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.text().await.unwrap(), r#"{"message":"Internal Server Error"}"#);
    let large = client
        .post(gateway.url())
        .body(vec![0_u8; 10 * 1024 * 1024 + 1])
        .send()
        .await
        .unwrap();
    assert_eq!(large.status(), 413);
}

async fn queue_of(max_receives: u32) -> (Aws, crate::aws::QueueUrl) {
    let aws = Aws::start(&Switchboard::new(), &Clock::default(), ANY_PORT)
        .await
        .unwrap();
    let queue = aws.create_fifo_queue("hints", Duration::from_secs(60), max_receives);
    (aws, queue)
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Names the first message of a batch that holds the body `poison` as failed.
const NAMES_POISON: &str = r#"echo "$event"; reply='{"batchItemFailures":[]}'
           if [[ "$event" == *poison* ]]; then
             failed=${event#*\"messageId\":\"}
             reply="{\"batchItemFailures\":[{\"itemIdentifier\":\"${failed%%\"*}\"}]}"
           fi"#;

#[tokio::test]
async fn the_mapping_deletes_what_succeeded_and_buries_what_keeps_failing() {
    let (aws, queue) = queue_of(2).await;
    let deployed = deploy(NAMES_POISON);
    aws.send(&queue, "b", "2", "poison");
    aws.send(&queue, "a", "1", "good");
    let source = EventSource::start(&aws, &queue, &deployed.function, 1, 1);
    assert!(source.idle(PATIENCE).await);
    let dead = aws.dead_letters(&queue);
    assert_eq!((dead.len(), dead[0].body.as_str(), dead[0].receives), (1, "poison", 2));
    let log = deployed.function.logs_once(|lines| lines.len() >= 4).await;
    let events: Vec<Value> = log.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(events.len(), 3);
    let record = &events[0]["Records"][0];
    assert_eq!(record["eventSource"], "aws:sqs");
    assert_eq!(
        record["eventSourceARN"],
        "arn:aws:sqs:us-east-1:123456789012:hints.fifo"
    );
    assert_eq!(record["attributes"]["MessageGroupId"], "b");
    assert_eq!(events[1]["Records"][0]["attributes"]["ApproximateReceiveCount"], "2");
}

#[tokio::test]
async fn a_message_the_function_does_not_name_counts_as_done_even_after_a_failed_one() {
    let (aws, queue) = queue_of(1).await;
    let deployed = deploy(NAMES_POISON);
    aws.send(&queue, "a", "1", "poison");
    aws.send(&queue, "a", "2", "later");
    let source = EventSource::start(&aws, &queue, &deployed.function, 10, 1);
    assert!(source.idle(PATIENCE).await);
    let dead = aws.dead_letters(&queue);
    assert_eq!((dead.len(), dead[0].body.as_str()), (1, "poison"));
    assert_eq!(deployed.function.logs_once(|lines| lines.len() >= 2).await.len(), 2);
}

#[tokio::test]
async fn an_invalid_answer_fails_the_whole_batch() {
    let (aws, queue) = queue_of(1).await;
    let deployed = deploy(r#"reply='{"batchItemFailures":[{"itemIdentifier":"unheard-of"}]}'"#);
    aws.send(&queue, "a", "1", "one");
    aws.send(&queue, "a", "2", "two");
    let source = EventSource::start(&aws, &queue, &deployed.function, 10, 2);
    assert!(source.idle(PATIENCE).await);
    assert_eq!(aws.dead_letters(&queue).len(), 2);
}

#[tokio::test]
async fn a_paused_mapping_takes_nothing_until_resumed() {
    let (aws, queue) = queue_of(3).await;
    let deployed = deploy("reply='{}'");
    let source = EventSource::start(&aws, &queue, &deployed.function, 10, 1);
    source.pause();
    aws.send(&queue, "a", "1", "one");
    assert!(!source.idle(Duration::from_millis(200)).await);
    assert_eq!(aws.queue_messages(&queue)[0].receives, 0);
    source.resume();
    assert!(source.idle(PATIENCE).await);
}

#[tokio::test]
async fn failed_messages_wait_for_their_visibility_timeout_if_told_to() {
    let (aws, queue) = queue_of(3).await;
    let deployed = deploy("exit 1");
    let source = EventSource::start(&aws, &queue, &deployed.function, 10, 1);
    source.wait_for_visibility_timeout(true);
    aws.send(&queue, "a", "1", "one");
    assert!(!source.idle(Duration::from_secs(1)).await);
    assert_eq!(aws.queue_messages(&queue)[0].receives, 1);
}

#[tokio::test]
async fn a_schedule_runs_by_itself_and_by_hand() {
    let deployed = deploy("echo ran");
    let schedule = Schedule::start(
        &deployed.function,
        json!({ "run": "compare" }),
        Duration::from_millis(50),
    );
    assert_eq!(schedule.fire_once().await, Ok(json!({ "run": "compare" })));
    let logs = deployed.function.logs_once(|lines| lines.len() >= 4).await;
    assert!(logs.len() >= 4, "{logs:?}");
    schedule.stop();
}
