//! The endpoint as the real AWS SDK sees it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry};
use jiff::SignedDuration;
use serde_json::json;

use super::Aws;
use crate::clock::Clock;
use crate::switchboard::Switchboard;

struct Account {
    aws: Aws,
    clock: Clock,
    board: Switchboard,
    sqs: aws_sdk_sqs::Client,
    secrets: aws_sdk_secretsmanager::Client,
    dynamodb: aws_sdk_dynamodb::Client,
}

async fn account() -> Account {
    let (board, clock) = (Switchboard::new(), Clock::default());
    let aws = Aws::start(&board, &clock, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .unwrap();
    let endpoint = aws.endpoint_url();
    let lookup = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
        "AWS_REGION" => Some(super::REGION.to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" => Some("local".to_owned()),
        _ => None,
    };
    let config = transport::aws::sdk_config(&lookup, transport::client().unwrap()).unwrap();
    Account {
        sqs: aws_sdk_sqs::Client::new(&config),
        secrets: aws_sdk_secretsmanager::Client::new(&config),
        dynamodb: aws_sdk_dynamodb::Client::new(&config),
        aws,
        clock,
        board,
    }
}

#[tokio::test]
async fn a_message_goes_through_the_sdk_and_is_gone_after_its_deletion() {
    let Account { aws, sqs, .. } = account().await;
    let url = aws.create_fifo_queue("hints", Duration::from_secs(30), 3);
    let sent = sqs
        .send_message()
        .queue_url(url.as_str())
        .message_group_id("deal")
        .message_deduplication_id("once")
        .message_body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(sent.md5_of_message_body(), Some("5d41402abc4b2a76b9719d911017c592"));
    let received = sqs
        .receive_message()
        .queue_url(url.as_str())
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .send()
        .await
        .unwrap();
    let [message] = received.messages() else {
        panic!("one message, not {:?}", received.messages())
    };
    assert_eq!(message.message_id(), sent.message_id());
    let attributes = message.attributes().unwrap();
    assert_eq!(attributes[&MessageSystemAttributeName::MessageGroupId], "deal");
    assert_eq!(
        Some(attributes[&MessageSystemAttributeName::SequenceNumber].as_str()),
        sent.sequence_number()
    );
    assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    let receipt = message.receipt_handle().unwrap();
    sqs.delete_message()
        .queue_url(url.as_str())
        .receipt_handle(receipt)
        .send()
        .await
        .unwrap();
    assert_eq!(aws.depth(&url), 0);
}

#[tokio::test]
async fn a_send_without_a_group_or_to_an_unknown_queue_is_refused() {
    let Account { aws, sqs, .. } = account().await;
    let url = aws.create_fifo_queue("hints", Duration::from_secs(30), 3);
    let ungrouped = sqs
        .send_message()
        .queue_url(url.as_str())
        .message_body("x")
        .send()
        .await
        .unwrap_err();
    assert_eq!(ungrouped.code(), Some("MissingParameter"));
    let elsewhere = url.as_str().replace("hints", "other");
    let unknown = sqs
        .send_message()
        .queue_url(elsewhere)
        .message_body("x")
        .send()
        .await
        .unwrap_err();
    assert!(unknown.into_service_error().is_queue_does_not_exist());
    let long = "x".repeat(262_145);
    let long = sqs
        .send_message()
        .queue_url(url.as_str())
        .message_body(long)
        .send()
        .await
        .unwrap_err();
    assert_eq!(long.code(), Some("InvalidParameterValue"));
}

#[tokio::test]
async fn a_batch_reports_each_entry_by_itself() {
    let Account { aws, sqs, .. } = account().await;
    let url = aws.create_fifo_queue("hints", Duration::from_secs(30), 3);
    let entry = |id: &str| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(id)
            .message_group_id("deal")
    };
    let answer = sqs
        .send_message_batch()
        .queue_url(url.as_str())
        .entries(entry("good").message_deduplication_id("1").build().unwrap())
        .entries(entry("bad").build().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.successful()[0].id(), "good");
    assert_eq!(
        (answer.failed()[0].id(), answer.failed()[0].sender_fault()),
        ("bad", true)
    );
    assert_eq!(aws.depth(&url), 1);
}

#[tokio::test]
async fn a_waiting_receiver_gets_a_message_that_arrives_or_comes_back() {
    let Account { aws, clock, sqs, .. } = account().await;
    let url = aws.create_fifo_queue("hints", Duration::from_secs(30), 1);
    let receive = || {
        sqs.receive_message()
            .queue_url(url.as_str())
            .wait_time_seconds(20)
            .send()
    };
    let (received, _) = tokio::join!(receive(), async { aws.send(&url, "deal", "1", "body") });
    assert_eq!(received.unwrap().messages().len(), 1);
    assert!(aws.queue_messages(&url)[0].in_flight(clock.now()));
    clock.advance(SignedDuration::from_secs(31));
    let none = sqs.receive_message().queue_url(url.as_str()).send().await.unwrap();
    assert!(none.messages().is_empty());
    assert_eq!(aws.dead_letters(&url)[0].body, "body");
    assert_eq!(aws.depth(&url), 0);
}

#[tokio::test]
async fn queues_describe_themselves_and_can_be_made_over_the_endpoint() {
    let Account { aws, sqs, .. } = account().await;
    let made = aws.create_fifo_queue("hints", Duration::from_secs(30), 3);
    let found = sqs.get_queue_url().queue_name("hints.fifo").send().await.unwrap();
    assert_eq!(found.queue_url(), Some(made.as_str()));
    let described = sqs
        .get_queue_attributes()
        .queue_url(made.as_str())
        .attribute_names(QueueAttributeName::All)
        .send()
        .await;
    let described = described.unwrap();
    let attributes = described.attributes().unwrap();
    assert_eq!(attributes[&QueueAttributeName::VisibilityTimeout], "30");
    assert!(attributes[&QueueAttributeName::RedrivePolicy].contains("hints-dead.fifo"));
    let other = sqs
        .create_queue()
        .queue_name("other.fifo")
        .attributes(QueueAttributeName::FifoQueue, "true")
        .send()
        .await;
    assert!(other.unwrap().queue_url().unwrap().ends_with("/other.fifo"));
}

#[tokio::test]
async fn a_refusing_queue_takes_nothing() {
    let Account { aws, sqs, board, .. } = account().await;
    let url = aws.create_fifo_queue("hints", Duration::from_secs(30), 3);
    aws.refuse_queue(true);
    let send = || {
        sqs.send_message()
            .queue_url(url.as_str())
            .message_group_id("g")
            .message_deduplication_id("d")
    };
    let refused = send().message_body("x").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("ServiceUnavailable"));
    assert!(board.since(0).iter().all(|exchange| exchange.api == "aws"));
    aws.refuse_queue(false);
    send().message_body("x").send().await.unwrap();
    assert_eq!(aws.depth(&url), 1);
}

#[tokio::test]
async fn an_unsigned_request_is_refused() {
    let Account { aws, .. } = account().await;
    for (target, status) in [("AmazonSQS.GetQueueUrl", 403), ("secretsmanager.GetSecretValue", 400)] {
        let request = transport::client()
            .unwrap()
            .post(aws.endpoint_url())
            .header("x-amz-target", target)
            .body("{}");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert!(answer.text().await.unwrap().contains("MissingAuthenticationToken"));
    }
}

#[tokio::test]
async fn a_new_secret_value_moves_the_current_and_the_previous_label() {
    let Account { aws, secrets, .. } = account().await;
    aws.create_secret("partner", &json!({ "refresh_token": "first" }));
    let put = secrets
        .put_secret_value()
        .secret_id("partner")
        .secret_string("second")
        .send()
        .await
        .unwrap();
    assert_eq!(put.version_stages(), ["AWSCURRENT"]);
    assert_eq!(aws.secret("partner").as_deref(), Some("second"));
    let previous = secrets
        .get_secret_value()
        .secret_id("partner")
        .version_stage("AWSPREVIOUS")
        .send()
        .await
        .unwrap();
    assert_eq!(previous.secret_string(), Some(r#"{"refresh_token":"first"}"#));
    let unknown = secrets
        .get_secret_value()
        .secret_id("nothing")
        .send()
        .await
        .unwrap_err();
    assert!(unknown.into_service_error().is_resource_not_found_exception());
}

#[tokio::test]
async fn an_empty_secret_waits_for_its_first_value() {
    let Account { aws, secrets, .. } = account().await;
    let arn = aws.create_empty_secret("partner");
    assert_eq!(aws.create_empty_secret("partner"), arn, "there is one");
    let read = || secrets.get_secret_value().secret_id("partner").send();
    let nothing = read().await.unwrap_err().into_service_error();
    assert!(nothing.is_resource_not_found_exception());
    assert_eq!(
        nothing.meta().message(),
        Some("Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")
    );
    let list = || secrets.list_secret_version_ids().secret_id("partner");
    assert!(list().send().await.unwrap().versions().is_empty());
    let described = secrets.describe_secret().secret_id("partner").send().await.unwrap();
    assert_eq!(
        (described.arn(), described.version_ids_to_stages()),
        (Some(arn.as_str()), None)
    );
    let put = secrets
        .put_secret_value()
        .secret_id("partner")
        .secret_string("first")
        .send()
        .await
        .unwrap();
    assert_eq!(put.version_stages(), ["AWSCURRENT"]);
    let first = read().await.unwrap();
    assert_eq!(
        (first.secret_string(), first.version_id()),
        (Some("first"), put.version_id())
    );
    let stored = aws.secret_versions("partner")[0].created;
    assert_eq!(first.created_date().unwrap().secs(), stored.as_second());
    for text in ["second", "third"] {
        secrets
            .put_secret_value()
            .secret_id("partner")
            .secret_string(text)
            .send()
            .await
            .unwrap();
    }
    let listed = list().send().await.unwrap();
    let stages: Vec<_> = listed
        .versions()
        .iter()
        .map(|version| version.version_stages().to_vec())
        .collect();
    assert_eq!(stages, [vec!["AWSPREVIOUS"], vec!["AWSCURRENT"]]);
    assert_eq!(
        list().include_deprecated(true).send().await.unwrap().versions().len(),
        3
    );
}

#[tokio::test]
async fn a_repeated_token_stores_once_and_never_another_value() {
    let Account { aws, secrets, .. } = account().await;
    aws.create_secret("partner", &json!({}));
    let token = "0123456789abcdef0123456789abcdef";
    let put = |text: &str| {
        secrets
            .put_secret_value()
            .secret_id("partner")
            .client_request_token(token)
            .secret_string(text)
            .send()
    };
    put("one").await.unwrap();
    put("one").await.unwrap();
    assert_eq!(aws.secret_versions("partner").len(), 2);
    assert!(
        put("two")
            .await
            .unwrap_err()
            .into_service_error()
            .is_resource_exists_exception()
    );
    assert_eq!(aws.secret("partner").as_deref(), Some("one"));
}

#[tokio::test]
async fn the_current_label_moves_only_from_the_version_that_has_it() {
    let Account { aws, secrets, .. } = account().await;
    aws.create_secret("partner", &json!({}));
    let current = aws.secret_versions("partner")[0].id.clone();
    let staged = secrets
        .put_secret_value()
        .secret_id("partner")
        .secret_string("next")
        .version_stages("AWSPENDING")
        .send()
        .await;
    let pending = staged.unwrap().version_id().unwrap().to_owned();
    assert_eq!(aws.secret("partner").as_deref(), Some("{}"));
    let promote = || {
        let call = secrets
            .update_secret_version_stage()
            .secret_id("partner")
            .version_stage("AWSCURRENT");
        call.move_to_version_id(&pending)
    };
    let unnamed = promote().send().await.unwrap_err();
    assert!(unnamed.into_service_error().is_invalid_parameter_exception());
    let wrong = promote().remove_from_version_id(&pending).send().await.unwrap_err();
    assert!(wrong.into_service_error().is_invalid_parameter_exception());
    promote().remove_from_version_id(&current).send().await.unwrap();
    assert_eq!(aws.secret("partner").as_deref(), Some("next"));
    let described = secrets.describe_secret().secret_id("partner").send().await.unwrap();
    let stages = described.version_ids_to_stages().unwrap();
    assert_eq!(stages[&current], ["AWSPREVIOUS"]);
}

#[tokio::test]
async fn a_conditional_write_that_fails_shows_the_item_it_met() {
    let Account { aws, dynamodb, .. } = account().await;
    aws.create_table(&json!({
        "TableName": "links",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
        "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
    }))
    .unwrap();
    let put = || {
        dynamodb
            .put_item()
            .table_name("links")
            .item("pk", AttributeValue::S("a".into()))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure("ALL_OLD".into())
            .send()
    };
    put().await.unwrap();
    let refused = put().await.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(failure) = refused else {
        panic!("not a failed condition: {refused:?}")
    };
    assert_eq!(failure.item().unwrap()["pk"], AttributeValue::S("a".into()));
    let items = aws.dynamodb("Scan", &json!({ "TableName": "links" })).unwrap();
    assert_eq!(items["Count"], 1);
    let unknown = aws.dynamodb("Scan", &json!({ "TableName": "other" })).unwrap_err();
    assert!(
        unknown["__type"]
            .as_str()
            .unwrap()
            .ends_with("#ResourceNotFoundException")
    );
}
