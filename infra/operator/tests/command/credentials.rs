//! `cosell credentials`: tried, then stored.

use cosell_tests::dataverse::Crm;
use cosell_tests::switchboard::Fault;

use crate::place::{CRM_APP, CRM_APP_SECRET, CRM_SECRET, Place, TENANT};

const CREDENTIALS: [&str; 3] = ["credentials", "--client-id", CRM_APP];
const SECRET: [(&str, &str); 1] = [("CLIENT_SECRET", CRM_APP_SECRET)];

#[tokio::test(flavor = "multi_thread")]
async fn what_works_is_stored_and_not_stored_again() {
    let place = Place::bare(Crm::Plain).await;
    let mark = place.mark();
    place
        .run_with(&CREDENTIALS, &SECRET)
        .await
        .ended(0)
        .says("Entra gives a token")
        .says("Dynamics knows the application as user")
        .says("stored in cosell/dataverse");
    let stored = place.secret(CRM_SECRET).unwrap();
    assert_eq!(
        (&stored["client_id"], &stored["client_secret"]),
        (&CRM_APP.into(), &CRM_APP_SECRET.into())
    );
    assert_eq!(place.stored(mark), 1);

    let mark = place.mark();
    // Nothing is given: the stored one is tried again.
    place
        .run(&["credentials"])
        .await
        .ended(0)
        .says("with the stored secret")
        .says("The stored client secret is used; `make credentials ENV=... ARGS=--new-secret` asks for another.")
        .says("stored already; nothing was written");
    assert_eq!(place.stored(mark), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_of_the_same_application_replaces_the_old_one() {
    let place = Place::bare(Crm::Plain).await;
    place.store_crm_credentials();
    place.vendors.entra.add_app_client(TENANT, CRM_APP, "renewed~secret");
    let outcome = place
        .run_piped(&["credentials", "--secret-stdin", "--json"], "renewed~secret\n")
        .await;
    assert_eq!(outcome.ended(0).json()["outcome"], "stored");
    assert_eq!(place.secret(CRM_SECRET).unwrap()["client_secret"], "renewed~secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_work_is_not_stored_and_the_cure_is_named() {
    let mut place = Place::bare(Crm::Plain).await;
    place.keep_secret("wrong~secret");
    place
        .run_with(&CREDENTIALS, &[("CLIENT_SECRET", "wrong~secret")])
        .await
        .ended(1)
        .says("Entra does not accept the client secret (invalid_client AADSTS7000215)")
        .says("copy its value, not its id");
    let unknown = ["credentials", "--client-id", "00000000-0000-4000-8000-000000000000"];
    place
        .run_with(&unknown, &SECRET)
        .await
        .ended(1)
        .says("AADSTS700016")
        .says("the application is not known in this tenant: check the client id");
    place.vendors.dataverse.member(false);
    place
        .run_with(&CREDENTIALS, &SECRET)
        .await
        .ended(1)
        .says("The user is not a member of the organization")
        .says("make the application a user of the environment");
    assert_eq!(place.secret(CRM_SECRET), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_what_is_missing_is_named() {
    let place = Place::bare(Crm::Plain).await;
    place
        .run(&["credentials"])
        .await
        .ended(2)
        .says("no client id was given")
        .says("with `ARGS=\"--client-id ID\"`");
    place
        .run(&CREDENTIALS)
        .await
        .ended(2)
        .says("no client secret was given")
        .says("in the variable CLIENT_SECRET");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_stored_too_often_is_told_from_everything_else() {
    let place = Place::bare(Crm::Plain).await;
    let full = Fault::Answer {
        status: reqwest::StatusCode::BAD_REQUEST,
        headers: vec![("content-type", "application/x-amz-json-1.1".to_owned())],
        body: r#"{"__type": "LimitExceededException", "Message": "You've exceeded the limit of versions."}"#.to_owned(),
    };
    // The SDK takes it for a throttle and repeats the call.
    place.vendors.switchboard.plan(0, 10, full, |exchange| {
        let target = exchange.headers.get("x-amz-target");
        target.is_some_and(|target| target == "secretsmanager.PutSecretValue")
    });
    let mut arguments = CREDENTIALS.to_vec();
    arguments.push("--json");
    let outcome = place.run_with(&arguments, &SECRET).await;
    assert_eq!(outcome.ended(1).json()["code"], "secret_versions_full");
    outcome.says("wait a day").says("recreate the secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_while_storing_leaves_it_stored_once() {
    let place = Place::bare(Crm::Plain).await;
    place.vendors.switchboard.plan(0, 1, Fault::DropAfterApply, |exchange| {
        let target = exchange.headers.get("x-amz-target");
        target.is_some_and(|target| target == "secretsmanager.PutSecretValue")
    });
    place.run_with(&CREDENTIALS, &SECRET).await.ended(0);
    // The SDK repeats it under the same token.
    assert_eq!(place.aws.secret_versions(CRM_SECRET).len(), 1);
}
