//! What is refused to an installer, and how it can be made to wait.

use std::time::Duration;

use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Bench;
use super::installing::{ATTRIBUTES, KEYS, choice, column, key, memo, relationship, table, text, yes_no};

impl Bench {
    async fn refused(&self, target: &str, body: &Value) -> (u16, String) {
        let reply = self.customize(Method::POST, target, body).await;
        assert!(reply.status >= 400, "{target} took {body}");
        reply.refusal()
    }
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A definition with one member set.
fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

/// A definition without one member.
fn without(mut body: Value, member: &str) -> Value {
    body.as_object_mut().unwrap().remove(member).unwrap();
    body
}

#[tokio::test]
async fn a_publisher_is_held_to_its_prefixes() {
    let bench = Bench::plain().await;
    let publisher = |prefix: &str, options: i64| {
        json!({ "uniquename": format!("p{prefix}"), "friendlyname": "P", "customizationprefix": prefix,
                "customizationoptionvalueprefix": options })
    };
    for prefix in ["c", "1cosell", "co_sell", "mscrm", "mscrm1"] {
        let mut body = publisher(prefix, 72700);
        body["uniquename"] = json!("p");
        assert_eq!(
            bench.refused("publishers", &body).await,
            refusal(400, "0x80040203"),
            "{prefix}"
        );
    }
    let mut long = publisher("cosell", 72700);
    long["customizationprefix"] = json!("ninechars");
    assert_eq!(bench.refused("publishers", &long).await, refusal(400, "0x80044331"));
    for options in [9_999, 100_000] {
        let body = publisher("cosell", options);
        assert_eq!(bench.refused("publishers", &body).await, refusal(400, "0x80048402"));
    }
    assert_eq!(bench.post("publishers", &publisher("cosell", 72700)).await.status, 204);
    let again = bench.refused("publishers", &publisher("cosell", 72701)).await;
    assert_eq!(again, refusal(412, "0x80040237"));
    let solution = json!({ "uniquename": "S", "friendlyname": "S", "version": "1.0.0.0" });
    assert_eq!(
        bench.refused("solutions", &solution).await,
        refusal(400, "0x80040203"),
        "without a publisher"
    );
}

#[tokio::test]
async fn a_column_is_refused_for_each_documented_reason() {
    let bench = Bench::plain().await.with_solution().await;
    let good = || text("cosell_Referral", 100, "Text");
    let (payload, argument) = ("0x80048d19", "0x80040203");
    let options = |value: Value| with(choice("cosell_Help", &[727_000_000]), "OptionSet", value);
    for (why, body, code) in [
        ("no type", without(good(), "@odata.type"), payload),
        (
            "no such type",
            with(
                good(),
                "@odata.type",
                json!("Microsoft.Dynamics.CRM.TextAttributeMetadata"),
            ),
            payload,
        ),
        ("another type", with(good(), "AttributeType", json!("Memo")), payload),
        (
            "read-only",
            with(good(), "LogicalName", json!("cosell_referral")),
            payload,
        ),
        (
            "read-only",
            with(good(), "MetadataId", json!("00000000-0000-4000-8000-000000000000")),
            payload,
        ),
        ("unknown", with(good(), "MaximumLength", json!(100)), payload),
        ("of another class", with(good(), "OptionSet", json!({})), payload),
        ("no name", without(good(), "SchemaName"), argument),
        ("no label", without(good(), "DisplayName"), argument),
        ("a bare label", with(good(), "DisplayName", json!("Referral")), payload),
        (
            "a foreign prefix",
            with(good(), "SchemaName", json!("other_Referral")),
            argument,
        ),
        (
            "the default publisher's prefix",
            with(good(), "SchemaName", json!("new_Referral")),
            argument,
        ),
        ("no prefix", with(good(), "SchemaName", json!("Referral")), argument),
        ("no length", without(good(), "MaxLength"), argument),
        ("too long", text("cosell_Referral", 4001, "Text"), argument),
        ("no format", text("cosell_Referral", 100, "Link"), payload),
        ("too long", memo("cosell_Audit", 1_048_577), argument),
        ("foreign options", choice("cosell_Help", &[100_000_000]), argument),
        (
            "the same option",
            choice("cosell_Help", &[727_000_000, 727_000_000]),
            argument,
        ),
        ("no options", options(json!({ "OptionSetType": "Picklist" })), argument),
        ("no option set", without(yes_no("cosell_Sync"), "OptionSet"), argument),
        ("a look-up", column("Lookup", "cosell_Other", &json!({})), argument),
        (
            "the lower bound",
            column("Integer", "cosell_N", &json!({ "MinValue": 2, "MaxValue": 1 })),
            argument,
        ),
        (
            "out of range",
            column("Integer", "cosell_N", &json!({ "MaxValue": 2_147_483_648_i64 })),
            argument,
        ),
        (
            "a second primary name",
            with(good(), "IsPrimaryName", json!(true)),
            "0x8004701E",
        ),
    ] {
        assert_eq!(
            bench.refused(ATTRIBUTES, &body).await,
            refusal(400, code),
            "{why}: {body}"
        );
    }
    let mut language = good();
    language["DisplayName"]["LocalizedLabels"][0]["LanguageCode"] = json!(1036);
    assert_eq!(
        bench.refused(ATTRIBUTES, &language).await,
        refusal(400, argument),
        "a language that is not installed"
    );
    let global = with(
        without(choice("cosell_Help", &[]), "OptionSet"),
        "GlobalOptionSet@odata.bind",
        json!("/GlobalOptionSetDefinitions(Name='cosell_help')"),
    );
    assert_eq!(
        bench.refused(ATTRIBUTES, &global).await.0,
        501,
        "the simulator says what it has not"
    );
    let columns = bench
        .get(&format!(
            "{ATTRIBUTES}?$select=LogicalName&$filter=startswith(LogicalName,'cosell_')"
        ))
        .await;
    assert_eq!(columns.ids("LogicalName"), Vec::<String>::new(), "nothing was made");
    bench.make(ATTRIBUTES, &good()).await;
    assert_eq!(bench.refused(ATTRIBUTES, &good()).await, refusal(400, "0x80047013"));
    let cased = text("cosell_REFERRAL", 100, "Text");
    assert_eq!(bench.refused(ATTRIBUTES, &cased).await, refusal(400, "0x80047013"));
}

#[tokio::test]
async fn a_solution_that_is_named_must_exist() {
    let bench = Bench::plain().await.with_solution().await;
    let body = text("cosell_Referral", 100, "Text").to_string();
    let unknown = [("mscrm.solutionuniquename", "Nothing")];
    let refused = bench.send(Method::POST, ATTRIBUTES, &unknown, &body).await;
    assert_eq!(refused.refusal(), refusal(404, "0x80040217"));
    // Without a solution any publisher's prefix will do.
    assert_eq!(bench.send(Method::POST, ATTRIBUTES, &[], &body).await.status, 204);
    let new = text("new_Referral", 100, "Text").to_string();
    assert_eq!(bench.send(Method::POST, ATTRIBUTES, &[], &new).await.status, 204);
}

#[tokio::test]
async fn a_table_is_refused_for_each_documented_reason() {
    let bench = Bench::plain().await.with_solution().await;
    let good = || table("cosell_DealSolution");
    let plain_name = text("cosell_Name", 100, "Text");
    for (why, body, code) in [
        ("no type", without(good(), "@odata.type"), "0x80048d19"),
        ("read-only", with(good(), "EntitySetName", json!("deals")), "0x80048d19"),
        ("unknown", with(good(), "Colour", json!("red")), "0x80048d19"),
        ("no plural", without(good(), "DisplayCollectionName"), "0x80040203"),
        ("no owner", without(good(), "OwnershipType"), "0x80040203"),
        ("notes unsaid", without(good(), "HasNotes"), "0x80040203"),
        ("foreign prefix", table("new_DealSolution"), "0x80040203"),
        (
            "no primary name",
            with(good(), "Attributes", json!([plain_name])),
            "0x80040203",
        ),
        ("no columns", without(good(), "Attributes"), "0x80040203"),
        ("a wrong column", with(good(), "Attributes", json!([{}])), "0x80048d19"),
    ] {
        assert_eq!(
            bench.refused("EntityDefinitions", &body).await,
            refusal(400, code),
            "{why}"
        );
    }
    assert_eq!(bench.get("cosell_dealsolutions").await.status, 404, "nothing was made");
    bench.make("EntityDefinitions", &good()).await;
    assert_eq!(
        bench.refused("EntityDefinitions", &good()).await,
        refusal(400, "0x80047010")
    );
}

#[tokio::test]
async fn a_relationship_is_refused_for_each_documented_reason() {
    let bench = Bench::plain().await.with_solution().await;
    bench.make("EntityDefinitions", &table("cosell_DealSolution")).await;
    let good = || {
        relationship(
            "cosell_opp_sol",
            "opportunity",
            "cosell_dealsolution",
            "cosell_OpportunityId",
        )
    };
    let set = "RelationshipDefinitions";
    for (why, body, code) in [
        ("no type", without(good(), "@odata.type"), "0x80048d19"),
        (
            "unknown table",
            with(good(), "ReferencedEntity", json!("cosell_nothing")),
            "0x80041102",
        ),
        (
            "not the key",
            with(good(), "ReferencedAttribute", json!("name")),
            "0x80040203",
        ),
        ("no look-up", without(good(), "Lookup"), "0x80040203"),
        ("no cascades", without(good(), "CascadeConfiguration"), "0x80040203"),
        (
            "no such cascade",
            with(good(), "CascadeConfiguration", json!({ "Delete": "Erase" })),
            "0x80048d19",
        ),
        (
            "foreign prefix",
            with(good(), "SchemaName", json!("new_opp_sol")),
            "0x80040203",
        ),
        (
            "foreign look-up",
            with(good(), "Lookup", column("Lookup", "new_Opp", &json!({}))),
            "0x80040203",
        ),
    ] {
        assert_eq!(bench.refused(set, &body).await, refusal(400, code), "{why}");
    }
    bench.make(set, &good()).await;
    assert_eq!(bench.refused(set, &good()).await, refusal(400, "0x8004432B"));
    let other = with(good(), "SchemaName", json!("cosell_opp_sol_again"));
    assert_eq!(
        bench.refused(set, &other).await,
        refusal(400, "0x80047013"),
        "the column is there"
    );
}

#[tokio::test]
async fn a_key_is_refused_for_each_documented_reason() {
    let bench = Bench::plain().await.with_solution().await;
    bench.make(ATTRIBUTES, &text("cosell_Referral", 100, "Text")).await;
    bench.make(ATTRIBUTES, &text("cosell_Long", 451, "Text")).await;
    bench.make(ATTRIBUTES, &memo("cosell_Audit", 2000)).await;
    let good = || key("cosell_Key", &["cosell_referral"]);
    for (why, body, code) in [
        ("no type", without(good(), "@odata.type"), "0x80048d19"),
        (
            "read-only",
            with(good(), "EntityKeyIndexStatus", json!("Active")),
            "0x80048d19",
        ),
        ("no label", without(good(), "DisplayName"), "0x80040203"),
        ("no such column", key("cosell_Key", &["cosell_nothing"]), "0x80041103"),
        ("too long", key("cosell_Key", &["cosell_long"]), "0x80040203"),
        ("many lines", key("cosell_Key", &["cosell_audit"]), "0x80040203"),
        ("foreign prefix", key("new_Key", &["cosell_referral"]), "0x80040203"),
    ] {
        assert_eq!(bench.refused(KEYS, &body).await, refusal(400, code), "{why}");
    }
    bench.make(KEYS, &good()).await;
    assert_eq!(bench.refused(KEYS, &good()).await, refusal(400, "0x80060893"));
    let other = key("cosell_Other", &["cosell_referral"]);
    assert_eq!(bench.refused(KEYS, &other).await, refusal(400, "0x80060894"));
}

#[tokio::test]
async fn a_definition_is_replaced_whole_or_not_at_all() {
    let bench = Bench::plain().await;
    let target = "EntityDefinitions(LogicalName='opportunity')";
    let whole = bench.get(target).await.json();
    let put = async |body: &Value| bench.send(Method::PUT, target, &[], &body.to_string()).await.refusal();
    assert_eq!(
        put(&json!({ "ChangeTrackingEnabled": true })).await,
        refusal(400, "0x80040203")
    );
    assert_eq!(
        put(&without(whole.clone(), "IsAuditEnabled")).await,
        refusal(400, "0x80040203")
    );
    assert_eq!(
        put(&with(whole.clone(), "SchemaName", json!("Deal"))).await,
        refusal(400, "0x80040203")
    );
    assert_eq!(
        put(&with(whole.clone(), "Colour", json!("red"))).await,
        refusal(400, "0x80048d19")
    );
    let patched = bench
        .patch(target, &[], &json!({ "ChangeTrackingEnabled": true }))
        .await;
    assert_eq!(
        patched.refusal(),
        refusal(405, "0x80060888"),
        "definitions have no PATCH"
    );
    assert_eq!(bench.get(target).await.json(), whole);
    let audited =
        json!({ "Value": true, "CanBeChanged": true, "ManagedPropertyLogicalName": "canmodifyauditsettings" });
    let body = with(whole, "IsAuditEnabled", audited.clone());
    assert_eq!(
        bench.send(Method::PUT, target, &[], &body.to_string()).await.status,
        204
    );
    assert_eq!(bench.get(target).await.json()["IsAuditEnabled"], audited);
}

#[tokio::test]
async fn what_is_published_must_exist() {
    let bench = Bench::plain().await.with_solution().await;
    let xml = |name: &str| json!({ "ParameterXml": format!("<importexportxml><entities><entity>{name}</entity></entities></importexportxml>") });
    assert_eq!(
        bench.refused("PublishXml", &xml("cosell_nothing")).await,
        refusal(400, "0x80041102")
    );
    assert_eq!(
        bench
            .refused("PublishXml", &json!({ "ParameterXml": "opportunity" }))
            .await,
        refusal(400, "0x80040203")
    );
    assert_eq!(
        bench.refused("PublishXml", &json!({})).await,
        refusal(400, "0x80048d19")
    );
    assert_eq!(bench.post("PublishXml", &xml("opportunity")).await.status, 204);
    assert_eq!(bench.send(Method::POST, "PublishAllXml", &[], "").await.status, 204);
}

#[tokio::test]
async fn a_caller_who_is_no_customizer_changes_no_definition() {
    let bench = Bench::plain().await.with_solution().await;
    assert!(bench.dataverse.role("System Customizer", false));
    let xml = json!({ "ParameterXml": "<importexportxml></importexportxml>" });
    let relation = relationship("cosell_r", "account", "opportunity", "cosell_AccountId");
    for (target, body) in [
        (ATTRIBUTES, text("cosell_Referral", 100, "Text")),
        (KEYS, key("cosell_Key", &["name"])),
        ("EntityDefinitions", table("cosell_DealSolution")),
        ("RelationshipDefinitions", relation),
        ("PublishXml", xml),
        ("publishers", json!({ "uniquename": "p" })),
        ("solutions", json!({ "uniquename": "s" })),
    ] {
        let refused = bench.customize(Method::POST, target, &body).await;
        assert_eq!(refused.refusal(), refusal(403, "0x80040220"), "{target}");
    }
    assert_eq!(bench.get(ATTRIBUTES).await.status, 200, "reading is for everybody");
    bench.dataverse.role("System Customizer", true);
    bench.dataverse.privilege("prvCreateAttribute", None);
    let refused = bench.refused(ATTRIBUTES, &text("cosell_Referral", 100, "Text")).await;
    assert_eq!(refused, refusal(403, "0x80040220"));
}

#[tokio::test]
async fn one_customization_runs_at_a_time() {
    let bench = Bench::plain().await.with_solution().await;
    bench.dataverse.refuse_customizations(2);
    let body = text("cosell_Referral", 100, "Text");
    for _ in 0..2 {
        assert_eq!(bench.refused(ATTRIBUTES, &body).await, refusal(400, "0x80071151"));
    }
    assert_eq!(bench.get(ATTRIBUTES).await.status, 200, "nobody else has to wait");
    bench.dataverse.customization_takes(Duration::from_millis(50));
    let other = text("cosell_Other", 100, "Text");
    let (first, second) = tokio::join!(
        bench.customize(Method::POST, ATTRIBUTES, &body),
        bench.customize(Method::POST, ATTRIBUTES, &other)
    );
    assert_eq!((first.status, second.refusal()), (204, refusal(400, "0x80071151")));
}

#[tokio::test]
async fn what_is_new_can_stay_hidden_for_a_while() {
    let bench = Bench::plain().await.with_solution().await;
    bench.dataverse.metadata_lag(Duration::from_secs(30));
    bench.make(ATTRIBUTES, &text("cosell_Referral", 100, "Text")).await;
    bench.make("EntityDefinitions", &table("cosell_DealSolution")).await;
    let one = format!("{ATTRIBUTES}(LogicalName='cosell_referral')?$select=LogicalName");
    assert_eq!(bench.get(&one).await.status, 404);
    assert_eq!(bench.get("opportunities?$select=cosell_referral").await.status, 400);
    assert_eq!(bench.get("cosell_dealsolutions").await.status, 404);
    let strong = bench.send(Method::GET, &one, &[("consistency", "Strong")], "").await;
    assert_eq!(strong.status, 200);
    assert_eq!(
        bench.get(&one).await.status,
        404,
        "strong consistency is for the one who asks"
    );
    let again = bench.refused(ATTRIBUTES, &text("cosell_Referral", 100, "Text")).await;
    assert_eq!(again, refusal(400, "0x80047013"), "writers know");
    bench.clock.advance(SignedDuration::from_secs(31));
    assert_eq!(bench.get(&one).await.status, 200);
    assert_eq!(bench.get("opportunities?$select=cosell_referral").await.status, 200);
    assert_eq!(bench.get("cosell_dealsolutions").await.status, 200);
}

#[tokio::test]
async fn parts_of_the_solution_can_be_missing_or_other_than_expected() {
    let bench = Bench::new().await;
    let dynamics = &bench.dataverse;
    let body = json!({ "name": "Deal", "cosell_audit": "there", "cosell_referralidentifier": "r" });
    let deal = dynamics.seller_creates("opportunity", &body).unwrap();
    let version = dynamics.version();
    assert!(dynamics.retype_column("opportunity", "cosell_audit", "Picklist"));
    assert!(!dynamics.retype_column("opportunity", "cosell_nothing", "Picklist"));
    assert!(dynamics.column_length("opportunity", "cosell_solutions", 100));
    assert!(dynamics.remove_option("opportunity", "cosell_syncstatus", 727_000_004));
    assert!(!dynamics.remove_option("opportunity", "cosell_syncstatus", 727_000_004));
    dynamics.break_keys("opportunity");
    dynamics.remove_keys("lead");
    dynamics.track("lead", false);
    dynamics.remove_table("cosell_dealsolution");
    let told = async |query: &str| bench.get(&format!("{ATTRIBUTES}(LogicalName='{query}")).await.json();
    assert_eq!(
        told("cosell_audit')?$select=AttributeType").await["AttributeType"],
        "Picklist"
    );
    assert_eq!(told("cosell_solutions')").await["MaxLength"], 100);
    assert!(
        bench.row(deal)["cosell_audit"].is_null() && dynamics.version() > version,
        "old values are gone"
    );
    let keys = bench.get(KEYS).await.json();
    assert_eq!(keys["value"][0]["EntityKeyIndexStatus"], "Failed");
    assert_eq!(
        bench.get("opportunities(cosell_referralidentifier='r')").await.code(),
        "0x80060890"
    );
    assert_eq!(
        bench
            .get("EntityDefinitions(LogicalName='lead')/Keys")
            .await
            .ids("SchemaName"),
        Vec::<String>::new()
    );
    let lead = bench
        .get("EntityDefinitions(LogicalName='lead')?$select=ChangeTrackingEnabled")
        .await;
    assert_eq!(lead.json()["ChangeTrackingEnabled"], false);
    assert_eq!(bench.get("cosell_dealsolutions").await.status, 404);
    let wrong = json!({ "name": "x", "cosell_syncstatus": 727_000_004 });
    assert_eq!(bench.post("opportunities", &wrong).await.code(), "0x8004431a");
}

#[tokio::test]
async fn the_door_turns_definitions_too() {
    let bench = Bench::new().await;
    let door = format!("{}/_control/switches", bench.dataverse.url());
    let turn = async |body: Value| bench.send(Method::POST, &door, &[], &body.to_string()).await.status;
    let all = json!({
        "remove_columns": ["opportunity.cosell_closereason"], "column_types": { "opportunity.cosell_audit": "String" },
        "column_lengths": { "opportunity.cosell_solutions": 10 }, "remove_keys": ["lead"], "tracking": { "lead": false },
        "break_keys": ["opportunity"], "remove_tables": ["cosell_dealsolution"], "key_index_fails": true,
        "roles": { "System Customizer": false }, "privileges": { "prvReadLead": null, "prvReadAccount": "Basic" },
        "refuse_customizations": 1, "metadata_lag_ms": 5, "customization_takes_ms": 5,
    });
    assert_eq!(turn(all).await, 200);
    let column = format!("{ATTRIBUTES}(LogicalName='cosell_audit')?$select=AttributeType");
    assert_eq!(bench.get(&column).await.json()["AttributeType"], "String");
    assert_eq!(bench.get("opportunities?$select=cosell_closereason").await.status, 400);
    assert_eq!(
        bench.get("leads?$select=subject").await.refusal(),
        refusal(403, "0x80040220")
    );
    for wrong in [
        json!({ "roles": { "Nobody": true } }),
        json!({ "column_types": { "opportunity.cosell_audit": "Sound" } }),
        json!({ "remove_columns": ["opportunity"] }),
        json!({ "privileges": { "prvReadLead": "Everywhere" } }),
    ] {
        assert_eq!(turn(wrong.clone()).await, 400, "{wrong}");
    }
}
