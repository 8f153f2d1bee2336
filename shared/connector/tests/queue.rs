//! The queue of hints, with the real SDK and SQS played by fixed answers.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use aws_sdk_sqs::Client;
use connector::queue::Queue;
use cosell::fault::{Class, Fault};
use cosell::hint::{Cause, Hint, Keyed, Subject};
use cosell::ids::ReferralId;
use serde_json::{Value, json};
use wiremock::matchers::header;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const QUEUE_URL: &str = "https://sqs.eu-central-1.amazonaws.com/000000000000/hints.fifo";

fn queue(server: &MockServer) -> Queue {
    let endpoint = server.uri();
    let lookup = |name: &str| match name {
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    };
    let config = transport::aws::sdk_config(&lookup, transport::client().unwrap()).unwrap();
    Queue::new(Client::new(&config), QUEUE_URL)
}

/// SQS that refuses the entry with this id in its first `times` answers.
async fn refusing(id: &'static str, code: &'static str, sender_fault: bool, times: u64) -> MockServer {
    let server = MockServer::start().await;
    let answer = move |request: &Request, refused: Option<&str>| {
        let (bad, good): (Vec<_>, Vec<_>) = ids(request).into_iter().partition(|id| Some(id.as_str()) == refused);
        let taken = |id: String| json!({ "Id": id, "MessageId": "m", "MD5OfMessageBody": "" });
        let refusal = |id: String| json!({ "Id": id, "Code": code, "SenderFault": sender_fault, "Message": "told" });
        ResponseTemplate::new(200).set_body_json(json!({
            "Successful": good.into_iter().map(taken).collect::<Vec<_>>(),
            "Failed": bad.into_iter().map(refusal).collect::<Vec<_>>(),
        }))
    };
    Mock::given(header("x-amz-target", "AmazonSQS.SendMessageBatch"))
        .respond_with(move |request: &Request| answer(request, Some(id)))
        .up_to_n_times(times)
        .mount(&server)
        .await;
    Mock::given(header("x-amz-target", "AmazonSQS.SendMessageBatch"))
        .respond_with(move |request: &Request| answer(request, None))
        .mount(&server)
        .await;
    server
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn entries(request: &Request) -> Vec<Value> {
    body(request)
        .get("Entries")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

fn ids(request: &Request) -> Vec<String> {
    let id = |entry: &Value| entry.get("Id").and_then(Value::as_str).unwrap().to_owned();
    entries(request).iter().map(id).collect()
}

fn referral(number: usize) -> ReferralId {
    format!("00000000-0000-4000-8000-{number:012}").parse().unwrap()
}

fn hints(count: usize) -> Vec<Keyed> {
    let hint = |number| Hint::new(Subject::Referral(referral(number)), Cause::PartnerCenterPoll);
    (0..count).map(|number| Keyed::new(hint(number), "etag")).collect()
}

fn deduplication_ids(request: &Request) -> Vec<String> {
    let id = |entry: &Value| {
        entry
            .get("MessageDeduplicationId")
            .and_then(Value::as_str)
            .unwrap()
            .to_owned()
    };
    entries(request).iter().map(id).collect()
}

#[tokio::test]
async fn hints_go_in_batches_of_ten_one_group_for_each_record() {
    let server = refusing("", "", false, 1).await;
    queue(&server).send(&hints(23)).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let sizes: Vec<_> = requests.iter().map(|request| entries(request).len()).collect();
    assert_eq!(sizes, [10, 10, 3]);
    let first = requests.first().unwrap();
    assert_eq!(body(first).get("QueueUrl"), Some(&json!(QUEUE_URL)));
    let entry = entries(first).into_iter().next().unwrap();
    let id = referral(0).to_string();
    assert_eq!(entry.get("MessageGroupId"), Some(&json!(id)));
    assert_eq!(
        entry.get("MessageBody"),
        Some(&json!(format!(
            r#"{{"referral":"{id}","cause":"partner-center-poll"}}"#
        )))
    );

    queue(&server).send(&[]).await.unwrap();
    assert_eq!(server.received_requests().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_repeat_has_the_same_key_and_a_later_change_another() {
    let server = refusing("", "", false, 1).await;
    let hint = Hint::new(Subject::Referral(referral(1)), Cause::PartnerCenterPoll);
    let later = hint.clone().changed_at("2026-03-01T12:00:00Z".parse().unwrap());
    let due = Hint::new(Subject::Referral(referral(1)), Cause::Due);
    let sent = [
        hint.clone().into(),
        later.into(),
        due.into(),
        Keyed::new(hint.clone(), "etag-1"),
        Keyed::new(hint.clone(), "etag-2"),
        hint.into(),
    ];
    queue(&server).send(&sent).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let mut keys = deduplication_ids(requests.first().unwrap());
    assert_eq!(keys.first(), keys.last());
    assert!(keys.iter().all(|key| key.len() == 64));
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 5);
}

#[tokio::test]
async fn what_is_refused_once_is_sent_again_alone() {
    let server = refusing("3", "InternalError", false, 1).await;
    queue(&server).send(&hints(12)).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let sent: Vec<_> = requests.iter().map(ids).collect();
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [10, 1, 2]);
    assert_eq!(sent.get(1), Some(&vec!["3".to_owned()]));
}

#[tokio::test]
async fn what_is_refused_twice_is_counted_with_all_that_was_not_tried() {
    for (code, sender_fault, class) in [
        ("InternalError", false, Class::Transient { after: None }),
        ("InvalidMessageContents", true, Class::Permanent),
    ] {
        let server = refusing("3", code, sender_fault, 2).await;
        let fault = Fault::from(queue(&server).send(&hints(25)).await.unwrap_err());
        assert_eq!((fault.code, fault.class), ("queue_refused", class));
        assert!(fault.message.starts_with("16 of 25 hints were not queued: "), "{fault}");
        assert_eq!(server.received_requests().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_fatal() {
    let server = MockServer::start().await;
    let refusal = json!({ "__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue" });
    Mock::given(|_: &Request| true)
        .respond_with(ResponseTemplate::new(400).set_body_json(refusal))
        .mount(&server)
        .await;
    let fault = Fault::from(queue(&server).send(&hints(1)).await.unwrap_err());
    assert_eq!(
        (fault.code, fault.class, fault.in_doubt),
        ("aws_refused", Class::Fatal, false)
    );
}
