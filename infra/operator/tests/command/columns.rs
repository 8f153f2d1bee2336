//! `cosell columns` in an environment as Microsoft delivers it, and in ones where something stands in the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cosell_tests::dataverse::Crm;
use cosell_tests::switchboard::{Exchange, Fault};
use futures_util::{StreamExt as _, stream};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::place::{CRM_APP, CRM_APP_SECRET, Outcome, Place, TENANT, signal};

const CREATE: [&str; 2] = ["columns", "--yes"];

async fn plain() -> Place {
    let place = Place::bare(Crm::Plain).await;
    place.store_crm_credentials();
    // Two looks instead of five seconds.
    place.vendors.dataverse.key_index(1, Duration::from_secs(5));
    place
}

fn is_customization(exchange: &Exchange) -> bool {
    exchange.api == "dataverse" && exchange.is_write()
}

/// Reads as an administrator's own tool would, without the command.
async fn read(place: &Place, token: &str, path: &str) -> Value {
    let url = format!("{}/api/data/v9.2/{path}", place.vendors.dataverse.url());
    let client = transport::client().unwrap();
    let answer = client.get(url).bearer_auth(token).send().await.unwrap();
    let status = answer.status();
    let body = answer.text().await.unwrap();
    assert!(
        status.is_success() || status == StatusCode::NOT_FOUND,
        "{path}: {status} {body}"
    );
    let mut body: Value = serde_json::from_str(&body).unwrap();
    strip(&mut body);
    body
}

/// Columns that differ between two rows that are the same to people.
const OF_ONE_ROW: [&str; 6] = [
    "publisherid",
    "solutionid",
    "_publisherid_value",
    "createdon",
    "modifiedon",
    "versionnumber",
];

/// What says where and when it was read, and which row it is.
fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| {
                let name = name.as_str();
                let is_address = name.starts_with("@odata.context") || name.starts_with("@odata.etag");
                !is_address && !OF_ONE_ROW.contains(&name)
            });
            members.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Everything that the command may create, as the environment shows it.
async fn definitions(place: &Place) -> BTreeMap<String, Value> {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CRM_APP),
        ("client_secret", CRM_APP_SECRET),
        ("scope", &format!("{}/.default", place.vendors.dataverse.url())),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let answer = transport::client()
        .unwrap()
        .post(format!("{}/{TENANT}/oauth2/v2.0/token", place.vendors.entra.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let mut all = BTreeMap::new();
    let mut paths = vec![
        "publishers?$select=uniquename,friendlyname,customizationprefix,customizationoptionvalueprefix\
         &$filter=uniquename eq 'cosellsync'"
            .to_owned(),
        "solutions?$select=uniquename,friendlyname,version&$filter=uniquename eq 'CoSellSync'".to_owned(),
    ];
    for table in ["opportunity", "lead", "cosell_dealsolution"] {
        let path = format!("EntityDefinitions(LogicalName='{table}')");
        paths.push(format!(
            "{path}?$select=LogicalName,EntitySetName,ChangeTrackingEnabled,PrimaryNameAttribute"
        ));
        paths.push(format!("{path}/Attributes"));
        for class in ["String", "Memo", "Boolean", "Integer", "Money"] {
            paths.push(format!(
                "{path}/Attributes/Microsoft.Dynamics.CRM.{class}AttributeMetadata"
            ));
        }
        paths.push(format!(
            "{path}/Attributes/Microsoft.Dynamics.CRM.PicklistAttributeMetadata?$select=LogicalName&$expand=OptionSet"
        ));
        paths.push(format!(
            "{path}/Attributes/Microsoft.Dynamics.CRM.LookupAttributeMetadata?$select=LogicalName,Targets"
        ));
        paths.push(format!("{path}/Keys"));
    }
    for path in paths {
        let value = read(place, token, &path).await;
        all.insert(path, value);
    }
    all
}

fn words(outcome: &Outcome, name: &str) -> String {
    let document = outcome.json();
    let parts = document["parts"].as_array().unwrap();
    let part = parts.iter().find(|part| part["name"] == name);
    part.unwrap_or_else(|| panic!("{name} is not in {outcome:#?}"))["action"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_created_once_and_the_second_run_writes_nothing() {
    let place = plain().await;
    place
        .run(&CREATE)
        .await
        .ended(0)
        .says("publisher cosellsync (")
        .says("column opportunity.cosell_Audit (")
        .says("look-up cosell_dealsolution.cosell_LeadId (")
        .says("change tracking opportunity (")
        .says("published all tables (")
        .says("index of opportunity.cosell_ReferralKey (")
        .says("read again: everything is there")
        .says("put the columns on the forms");
    let found = definitions(&place).await;
    let keys = &found["EntityDefinitions(LogicalName='opportunity')/Keys"]["value"];
    assert_eq!(keys[0]["SchemaName"], "cosell_ReferralKey");
    assert_eq!(keys[0]["EntityKeyIndexStatus"], "Active");

    let mark = place.mark();
    place
        .run(&CREATE)
        .await
        .ended(0)
        .says("parts are in step; nothing to do");
    assert_eq!(place.crm_writes(mark), Vec::<String>::new());
    assert_eq!(definitions(&place).await, found);
    place.run(&["columns", "--check"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_difference_is_shown_before_anything_is_written() {
    let place = plain().await;
    let mark = place.mark();
    let outcome = place.run(&["columns", "--check"]).await;
    outcome
        .ended(1)
        .says("part name wanted found action")
        .says("column opportunity.cosell_SyncStatus choice of 5 - create")
        .says("change tracking opportunity on off create")
        .says("change tracking cannot be switched off again");
    let outcome = place.run(&["columns", "--check", "--json"]).await;
    assert_eq!(outcome.ended(1).json()["outcome"], "differs");
    assert_eq!(words(&outcome, "opportunity.cosell_ReferralKey"), "create");
    // Nobody is there to agree.
    let outcome = place.run(&["columns"]).await;
    outcome
        .ended(2)
        .says("nobody is there to agree")
        .says("`make columns ENV=... ARGS=--yes` creates what is shown");
    assert_eq!(place.crm_writes(mark), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_another_customisation_is_waited_for() {
    let place = plain().await;
    place.vendors.dataverse.refuse_customizations(3);
    place.run(&CREATE).await.ended(0).says("everything is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_show_late_are_waited_for() {
    let place = plain().await;
    place.vendors.dataverse.metadata_lag(Duration::from_millis(700));
    place.run(&CREATE).await.ended(0).says("everything is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_short_outages_are_waited_out() {
    let place = plain().await;
    let busy = Fault::Answer {
        status: StatusCode::TOO_MANY_REQUESTS,
        headers: vec![("retry-after", "1".to_owned())],
        body: json!({"error": {"code": "0x80072322", "message": "Number of requests exceeded the limit."}}).to_string(),
    };
    place.vendors.switchboard.plan(4, 1, busy, is_customization);
    place
        .vendors
        .switchboard
        .plan(9, 1, Fault::DropAfterApply, is_customization);
    place.run(&CREATE).await.ended(0);
    assert!(place.vendors.switchboard.unused_faults().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_kind_stops_it_before_anything_is_written() {
    let place = plain().await;
    place.run(&CREATE).await.ended(0);
    let dataverse = &place.vendors.dataverse;
    assert!(dataverse.retype_column("opportunity", "cosell_audit", "String"));
    assert!(dataverse.column_length("lead", "cosell_solutions", 50));
    assert!(dataverse.remove_option("lead", "cosell_syncstatus", 727_000_004));
    dataverse.remove_column("opportunity", "cosell_closereason");
    let mark = place.mark();
    let before = definitions(&place).await;
    let outcome = place.run(&CREATE).await;
    outcome
        .ended(1)
        .says("column opportunity.cosell_Audit is text, wanted is multi-line text, 100000")
        .says("Dataverse cannot change the kind of a column")
        .says("column lead.cosell_Solutions is multi-line text, 50, wanted is multi-line text, 4000")
        .says("make the column longer by hand")
        .says("add the missing choices by hand")
        .says("Paused (727000004)")
        .says("Nothing was written");
    assert_eq!(place.crm_writes(mark), Vec::<String>::new());
    assert_eq!(definitions(&place).await, before);
}

/// What a run does that comes after one whose first index failed: that index again, and the key behind it.
const WHAT_WAS_LEFT: [&str; 3] = [
    "POST /api/data/v9.2/PublishXml",
    "POST /api/data/v9.2/ReactivateEntityKey",
    "POST /api/data/v9.2/EntityDefinitions(LogicalName='lead')/Keys",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_could_not_be_built_is_built_again() {
    let place = plain().await;
    place.vendors.dataverse.key_index_fails(true);
    place
        .run(&CREATE)
        .await
        .ended(1)
        .says("the index of opportunity.cosell_ReferralKey could not be built: two rows carry the same value")
        .says("clear it in all but one");
    place.vendors.dataverse.key_index_fails(false);
    let mark = place.mark();
    place
        .run(&CREATE)
        .await
        .ended(0)
        .says("index of opportunity.cosell_ReferralKey");
    assert_eq!(place.crm_writes(mark), WHAT_WAS_LEFT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_index_of_another_name_over_the_same_column_is_built_again_by_its_own_name() {
    let place = plain().await;
    let folder = place.definitions(&[("@ReferralKey", "@OlderKey")]);
    let mut create = CREATE.to_vec();
    create.extend(["--definitions", folder.as_str()]);
    place.vendors.dataverse.key_index_fails(true);
    place
        .run(&create)
        .await
        .ended(1)
        .says("cosell_OlderKey could not be built");
    place.vendors.dataverse.key_index_fails(false);
    let mark = place.mark();
    place
        .run(&CREATE)
        .await
        .ended(0)
        .says("index of opportunity.cosell_ReferralKey");
    assert_eq!(place.crm_writes(mark), WHAT_WAS_LEFT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_takes_long_is_left_to_the_service() {
    let place = plain().await;
    place.vendors.dataverse.key_index(1_000, Duration::from_secs(600));
    place
        .run(&["columns", "--yes", "--wait", "1"])
        .await
        .ended(1)
        .says("it is built in the background: run this again later");
    // The check waits for nothing and writes nothing.
    let mark = place.mark();
    let outcome = place.run(&["columns", "--check", "--json"]).await;
    assert_eq!(words(outcome.ended(1), "opportunity.cosell_ReferralKey"), "wait");
    assert_eq!(place.crm_writes(mark), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_role_of_a_customiser_the_role_is_named() {
    let place = plain().await;
    assert!(place.vendors.dataverse.role("System Customizer", false));
    place
        .run(&CREATE)
        .await
        .ended(1)
        .says("is missing prv")
        .says("the security role System Customizer");
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_says_what_stays_and_goes_on_from_there() {
    let place = plain().await;
    place.vendors.dataverse.customization_takes(Duration::from_millis(50));
    let mut talk = place.start(&CREATE, &[]);
    talk.until("column opportunity.cosell_ReferralIdentifier").await;
    talk.signal("INT").await;
    talk.end(&place)
        .await
        .ended(130)
        .says("interrupted; what was created stays; run it again and it goes on from there");
    place.vendors.dataverse.customization_takes(Duration::ZERO);
    let outcome = place.run(&CREATE).await;
    outcome.ended(0).says("parts are in step").says("everything is there");
}

/// Kills the command at the n-th request to Dynamics, after that was applied, and runs it again; none once n is beyond
/// the last.
async fn killed_at(skip: usize) -> Option<BTreeMap<String, Value>> {
    let place = plain().await;
    let talk = place.start(&CREATE, &[]);
    let process = Arc::new(AtomicU32::new(talk.id()));
    let kill = Fault::RunAfterApply(Arc::new(move || signal(process.load(Ordering::SeqCst), "KILL")));
    place
        .vendors
        .switchboard
        .plan(skip, 1, kill, |exchange| exchange.api == "dataverse");
    let outcome = talk.end(&place).await;
    if !place.vendors.switchboard.unused_faults().is_empty() {
        outcome.ended(0);
        return None;
    }
    assert_eq!(outcome.code, None, "it was killed at request {skip}");
    let again = place.run(&CREATE).await;
    again.ended(0);
    let mark = place.mark();
    place.run(&CREATE).await.ended(0);
    assert_eq!(place.crm_writes(mark), Vec::<String>::new(), "after request {skip}");
    Some(definitions(&place).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_request_and_run_again_it_ends_in_the_same_world() {
    let place = plain().await;
    place.run(&CREATE).await.ended(0);
    let wanted = definitions(&place).await;
    let ends = stream::iter(0..200)
        .map(|skip| async move { (skip, killed_at(skip).await) })
        .buffered(4)
        .take_while(|(_, end)| std::future::ready(end.is_some()))
        .collect::<Vec<_>>()
        .await;
    // Three dozen writes and the reads between them.
    assert!(ends.len() > 40, "only {} requests", ends.len());
    for (skip, end) in ends {
        assert_eq!(end, Some(wanted.clone()), "after request {skip}");
    }
}
