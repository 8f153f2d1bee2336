//! From a plain environment to one that serves the connector, by the documented requests alone.

use http::Method;
use serde_json::{Value, json};

use super::{Bench, Reply};

/// A label as the documents write it.
pub(super) fn label(text: &str) -> Value {
    json!({ "@odata.type": "Microsoft.Dynamics.CRM.Label", "LocalizedLabels": [
        { "@odata.type": "Microsoft.Dynamics.CRM.LocalizedLabel", "Label": text, "LanguageCode": 1033 } ] })
}

/// A column of a class with what all columns have.
pub(super) fn column(class: &str, schema: &str, rest: &Value) -> Value {
    let mut column = json!({
        "@odata.type": format!("Microsoft.Dynamics.CRM.{class}AttributeMetadata"), "AttributeType": class,
        "AttributeTypeName": { "Value": format!("{class}Type") }, "SchemaName": schema, "DisplayName": label(schema),
        "Description": label("About it"),
        "RequiredLevel": { "Value": "None", "CanBeChanged": true,
                           "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings" },
    });
    let members = column.as_object_mut().unwrap();
    members.extend(rest.as_object().unwrap().clone());
    column
}

pub(super) fn yes_no(schema: &str) -> Value {
    let set = json!({ "@odata.type": "Microsoft.Dynamics.CRM.BooleanOptionSetMetadata", "OptionSetType": "Boolean",
                      "TrueOption": { "Value": 1, "Label": label("Yes") },
                      "FalseOption": { "Value": 0, "Label": label("No") } });
    column("Boolean", schema, &json!({ "DefaultValue": false, "OptionSet": set }))
}

pub(super) fn text(schema: &str, length: u32, format: &str) -> Value {
    column(
        "String",
        schema,
        &json!({ "MaxLength": length, "FormatName": { "Value": format } }),
    )
}

pub(super) fn memo(schema: &str, length: u32) -> Value {
    let rest = json!({ "MaxLength": length, "Format": "TextArea", "ImeMode": "Disabled" });
    column("Memo", schema, &rest)
}

pub(super) fn choice(schema: &str, values: &[i64]) -> Value {
    let options: Vec<Value> = values
        .iter()
        .map(|value| json!({ "Value": value, "Label": label(&format!("Option {value}")) }))
        .collect();
    let set = json!({ "@odata.type": "Microsoft.Dynamics.CRM.OptionSetMetadata", "IsGlobal": false,
                      "OptionSetType": "Picklist", "Options": options });
    column("Picklist", schema, &json!({ "OptionSet": set }))
}

pub(super) fn table(schema: &str) -> Value {
    let mut name = text("cosell_Name", 100, "Text");
    name["IsPrimaryName"] = json!(true);
    json!({
        "@odata.type": "Microsoft.Dynamics.CRM.EntityMetadata", "SchemaName": schema, "DisplayName": label("Deal solution"),
        "DisplayCollectionName": label("Deal solutions"), "Description": label("One solution of a deal"),
        "OwnershipType": "UserOwned", "IsActivity": false, "HasActivities": false, "HasNotes": false,
        "Attributes": [name],
    })
}

pub(super) fn relationship(schema: &str, one: &str, many: &str, lookup: &str) -> Value {
    json!({
        "@odata.type": "Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata", "SchemaName": schema,
        "ReferencedEntity": one, "ReferencedAttribute": format!("{one}id"), "ReferencingEntity": many,
        "AssociatedMenuConfiguration": { "Behavior": "UseCollectionName", "Group": "Details", "Label": label("Deals"),
                                         "Order": 10000 },
        "CascadeConfiguration": { "Assign": "NoCascade", "Delete": "Cascade", "Merge": "NoCascade",
                                  "Reparent": "NoCascade", "Share": "NoCascade", "Unshare": "NoCascade" },
        "Lookup": column("Lookup", lookup, &json!({})),
    })
}

pub(super) fn key(schema: &str, columns: &[&str]) -> Value {
    json!({ "@odata.type": "Microsoft.Dynamics.CRM.EntityKeyMetadata", "SchemaName": schema,
            "DisplayName": label("Referral key"), "KeyAttributes": columns })
}

pub(super) const ATTRIBUTES: &str = "EntityDefinitions(LogicalName='opportunity')/Attributes";
pub(super) const KEYS: &str = "EntityDefinitions(LogicalName='opportunity')/Keys";

impl Bench {
    /// The publisher and the solution of the documents.
    pub(super) async fn with_solution(self) -> Self {
        let publisher = json!({ "uniquename": "cosellsync", "friendlyname": "Co-sell Sync",
                                "description": "Owner of the co-sell columns", "customizationprefix": "cosell",
                                "customizationoptionvalueprefix": 72700 });
        let made = self.post("publishers", &publisher).await;
        assert_eq!(made.status, 204, "{}", made.text);
        let id = made.header("odata-entityid").to_owned();
        let id = id.split(['(', ')']).nth(1).unwrap();
        let solution = json!({ "uniquename": "CoSellSync", "friendlyname": "Co-sell Sync", "version": "1.0.0.0",
                               "publisherid@odata.bind": format!("/publishers({id})") });
        let made = self.post("solutions", &solution).await;
        assert_eq!(made.status, 204, "{}", made.text);
        self
    }

    pub(super) async fn make(&self, target: &str, body: &Value) -> Reply {
        let made = self.customize(Method::POST, target, body).await;
        assert_eq!(made.status, 204, "{}", made.text);
        made
    }
}

#[tokio::test]
async fn a_plain_environment_has_nothing_of_ours() {
    let bench = Bench::plain().await;
    let columns = bench
        .get(&format!(
            "{ATTRIBUTES}?$select=LogicalName,AttributeType&$filter=startswith(LogicalName,'cosell_')"
        ))
        .await;
    assert_eq!(columns.ids("LogicalName"), Vec::<String>::new());
    assert_eq!(bench.get(KEYS).await.ids("SchemaName"), Vec::<String>::new());
    assert_eq!(bench.get("cosell_dealsolutions").await.status, 404);
    let table = bench
        .get("EntityDefinitions(LogicalName='opportunity')?$select=ChangeTrackingEnabled")
        .await;
    assert_eq!(table.json()["ChangeTrackingEnabled"], false);
    let tracked = bench
        .get_preferring("opportunities?$select=name", "odata.track-changes")
        .await;
    assert_eq!(tracked.code(), "0x80072491");
    let publishers = bench
        .get("publishers?$select=uniquename&$filter=uniquename eq 'cosellsync'")
        .await;
    assert_eq!(publishers.ids("uniquename"), Vec::<String>::new());
    let privileges = bench
        .get(&format!(
            "systemusers({})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()",
            super::super::seed::APPLICATION_USER
        ))
        .await;
    assert!(privileges.text.contains("prvReadOpportunity") && !privileges.text.contains("cosell_"));
}

#[tokio::test]
async fn made_columns_hold_values_like_delivered_ones() {
    let bench = Bench::plain().await.with_solution().await;
    let made = bench.make(ATTRIBUTES, &yes_no("cosell_SyncWithPartnerCenter")).await;
    let place = made.header("odata-entityid").to_owned();
    assert_eq!(
        bench.get(&place).await.json()["LogicalName"],
        "cosell_syncwithpartnercenter"
    );
    bench
        .make(ATTRIBUTES, &text("cosell_ReferralIdentifier", 100, "Text"))
        .await;
    bench.make(ATTRIBUTES, &text("cosell_ReferralLink", 500, "Url")).await;
    bench.make(ATTRIBUTES, &memo("cosell_Audit", 100_000)).await;
    bench
        .make(ATTRIBUTES, &choice("cosell_Help", &[727_000_000, 727_000_001]))
        .await;
    let bounds = json!({ "MinValue": 0, "MaxValue": 9, "Format": "None" });
    bench
        .make(ATTRIBUTES, &column("Integer", "cosell_Count", &bounds))
        .await;
    let bounds = json!({ "MinValue": 0.0, "MaxValue": 100.0, "Precision": 3 });
    bench
        .make(ATTRIBUTES, &column("Decimal", "cosell_Share", &bounds))
        .await;
    let bounds = json!({ "MinValue": 0, "MaxValue": 1_000_000, "Precision": 2, "PrecisionSource": 2 });
    bench.make(ATTRIBUTES, &column("Money", "cosell_Budget", &bounds)).await;

    let body = json!({ "name": "Deal", "cosell_referralidentifier": "r-1", "cosell_audit": "made", "cosell_help": 727_000_001,
                       "cosell_count": 3, "cosell_share": 12.34567, "cosell_budget": 10.005 });
    let row = bench.post("opportunities", &body).await;
    assert_eq!(row.status, 204, "{}", row.text);
    let row = bench.get(row.header("odata-entityid")).await.json();
    assert_eq!(row["cosell_syncwithpartnercenter"], false, "the default of a new row");
    assert_eq!(
        (&row["cosell_audit"], &row["cosell_help"]),
        (&json!("made"), &json!(727_000_001))
    );
    assert_eq!(row["cosell_share"].to_string(), "12.346");
    assert_eq!(row["cosell_budget"].as_f64(), Some(10.01));
    assert_eq!(row["cosell_budget_base"].as_f64(), Some(10.01));
    for (body, code) in [
        (json!({ "cosell_help": 727_000_002 }), "0x8004431a"),
        (json!({ "cosell_count": 10 }), "0x8004432f"),
        (json!({ "cosell_budget": 1_000_001 }), "0x80044330"),
        (json!({ "cosell_referralidentifier": "x".repeat(101) }), "0x80044331"),
        (json!({ "cosell_SyncWithPartnerCenter": true }), "0x80048d19"),
    ] {
        let refused = bench.post("opportunities", &body).await;
        assert_eq!(refused.refusal(), (400, code.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn what_was_made_is_described_as_it_was_made() {
    let bench = Bench::plain().await.with_solution().await;
    for body in [
        yes_no("cosell_Sync"),
        text("cosell_Link", 500, "Url"),
        memo("cosell_Audit", 100_000),
        choice("cosell_Help", &[727_000_000, 727_000_001]),
    ] {
        bench.make(ATTRIBUTES, &body).await;
    }
    let list = bench
        .get(&format!(
            "{ATTRIBUTES}?$select=LogicalName,AttributeType&$filter=startswith(LogicalName,'cosell_')"
        ))
        .await
        .json();
    let told: Vec<(&str, &str)> = list["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["LogicalName"].as_str().unwrap(),
                one["AttributeType"].as_str().unwrap(),
            )
        })
        .collect();
    let wanted = [
        ("cosell_sync", "Boolean"),
        ("cosell_link", "String"),
        ("cosell_audit", "Memo"),
        ("cosell_help", "Picklist"),
    ];
    assert_eq!(told, wanted);
    assert_eq!(
        list["value"][2]["@odata.type"],
        "#Microsoft.Dynamics.CRM.MemoAttributeMetadata"
    );

    let cast = |name: &str, class: &str, query: &str| {
        format!("{ATTRIBUTES}(LogicalName='{name}')/Microsoft.Dynamics.CRM.{class}AttributeMetadata{query}")
    };
    let link = bench
        .get(&cast("cosell_link", "String", "?$select=MaxLength,FormatName"))
        .await
        .json();
    assert_eq!(
        (&link["MaxLength"], &link["FormatName"]["Value"]),
        (&json!(500), &json!("Url"))
    );
    let audit = bench
        .get(&cast("cosell_audit", "Memo", "?$select=MaxLength,SchemaName"))
        .await
        .json();
    assert_eq!(
        (&audit["MaxLength"], &audit["SchemaName"]),
        (&json!(100_000), &json!("cosell_Audit"))
    );
    let help = bench
        .get(&cast(
            "cosell_help",
            "Picklist",
            "?$select=LogicalName&$expand=OptionSet($select=Options)",
        ))
        .await;
    let options = help.json()["OptionSet"]["Options"].clone();
    assert_eq!(options[1]["Value"], 727_000_001);
    assert_eq!(options[1]["Label"]["UserLocalizedLabel"]["Label"], "Option 727000001");
    let sync = bench
        .get(&cast(
            "cosell_sync",
            "Boolean",
            "?$select=DefaultValue&$expand=OptionSet",
        ))
        .await
        .json();
    assert_eq!(
        (&sync["DefaultValue"], &sync["OptionSet"]["TrueOption"]["Value"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(
        bench.get(&cast("cosell_audit", "String", "")).await.status,
        404,
        "another type is not found by the cast"
    );
    let whole = bench
        .get(&format!("{ATTRIBUTES}(LogicalName='cosell_link')"))
        .await
        .json();
    assert_eq!(whole["DisplayName"]["UserLocalizedLabel"]["Label"], "cosell_Link");
    assert_eq!(
        (&whole["RequiredLevel"]["Value"], &whole["MaxLength"]),
        (&json!("None"), &json!(500))
    );
    let absent = bench.get(&format!("{ATTRIBUTES}(LogicalName='cosell_nothing')")).await;
    assert_eq!(absent.status, 404);
}

#[tokio::test]
async fn a_made_table_with_its_look_ups_holds_rows() {
    let bench = Bench::plain().await.with_solution().await;
    let mut definition = table("cosell_DealSolution");
    definition["ChangeTrackingEnabled"] = json!(true);
    let made = bench.make("EntityDefinitions", &definition).await;
    let told = bench.get(made.header("odata-entityid")).await.json();
    assert_eq!(
        (&told["EntitySetName"], &told["IsCustomEntity"]),
        (&json!("cosell_dealsolutions"), &json!(true))
    );
    assert_eq!(told["PrimaryNameAttribute"], "cosell_name");
    let columns = "EntityDefinitions(LogicalName='cosell_dealsolution')/Attributes";
    let price = json!({ "MinValue": 0, "MaxValue": 1_000_000, "Precision": 2, "PrecisionSource": 2 });
    bench.make(columns, &column("Money", "cosell_Price", &price)).await;
    let relation = relationship(
        "cosell_opportunity_dealsolution",
        "opportunity",
        "cosell_dealsolution",
        "cosell_OpportunityId",
    );
    let made = bench.make("RelationshipDefinitions", &relation).await;
    let told = bench.get(made.header("odata-entityid")).await.json();
    assert_eq!(told["ReferencingEntityNavigationPropertyName"], "cosell_OpportunityId");
    let named = "RelationshipDefinitions(SchemaName='cosell_opportunity_dealsolution')\
                 /Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata?$select=ReferencedEntity";
    assert_eq!(bench.get(named).await.json()["ReferencedEntity"], "opportunity");
    let many = bench
        .get("EntityDefinitions(LogicalName='cosell_dealsolution')/ManyToOneRelationships?$select=SchemaName,ReferencingAttribute\
              &$filter=ReferencedEntity eq 'opportunity'")
        .await;
    assert_eq!(many.ids("ReferencingAttribute"), ["cosell_opportunityid"]);

    let deal = bench.opportunity("Deal");
    let body = json!({ "cosell_name": "One", "cosell_price": 99.5, "transactioncurrencyid@odata.bind":
                       format!("/transactioncurrencies({})", super::super::seed::EUR),
                       "cosell_OpportunityId@odata.bind": format!("/opportunities({deal})") });
    let row = bench.post("cosell_dealsolutions", &body).await;
    assert_eq!(row.status, 204, "{}", row.text);
    let found = bench
        .get(&format!("cosell_dealsolutions?$select=cosell_name,_cosell_opportunityid_value&$filter=_cosell_opportunityid_value eq {deal}"))
        .await;
    assert_eq!(found.ids("cosell_name"), ["One"]);
    let expanded = bench
        .get(&format!(
            "{}?$select=cosell_price&$expand=cosell_OpportunityId($select=name)",
            row.header("odata-entityid")
        ))
        .await
        .json();
    assert_eq!(expanded["cosell_OpportunityId"]["name"], "Deal");
    let changes = bench
        .get_preferring("cosell_dealsolutions?$select=cosell_name", "odata.track-changes")
        .await;
    assert_eq!(changes.ids("cosell_name"), ["One"]);
    let wrong = json!({ "cosell_opportunityid@odata.bind": format!("/opportunities({deal})") });
    assert_eq!(
        bench.post("cosell_dealsolutions", &wrong).await.code(),
        "0x80048d19",
        "names are exact"
    );
}

#[tokio::test]
async fn a_key_can_be_used_once_its_index_is_built() {
    let bench = Bench::plain().await.with_solution().await;
    bench
        .make(ATTRIBUTES, &text("cosell_ReferralIdentifier", 100, "Text"))
        .await;
    let made = bench
        .make(KEYS, &key("cosell_ReferralKey", &["cosell_referralidentifier"]))
        .await;
    let upsert = "opportunities(cosell_referralidentifier='r-1')";
    let body = json!({ "name": "Deal" });
    assert_eq!(
        bench.patch(upsert, &[], &body).await.code(),
        "0x80060890",
        "not before it is active"
    );
    let mut seen = Vec::new();
    for _ in 0..3 {
        let keys = bench
            .get(&format!("{KEYS}?$select=SchemaName,KeyAttributes,EntityKeyIndexStatus"))
            .await
            .json();
        assert_eq!(keys["value"][0]["KeyAttributes"], json!(["cosell_referralidentifier"]));
        seen.push(keys["value"][0]["EntityKeyIndexStatus"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["Pending", "InProgress", "Active"]);
    let told = bench.get(made.header("odata-entityid")).await.json();
    assert_eq!(told["LogicalName"], "cosell_referralkey");
    assert_eq!(bench.patch(upsert, &[], &body).await.status, 204);
    let again = json!({ "name": "Other", "cosell_referralidentifier": "R-1" });
    assert_eq!(
        bench.post("opportunities", &again).await.refusal(),
        (412, "0x80060892".to_owned())
    );
}

#[tokio::test]
async fn a_key_is_built_by_time_too_and_fails_on_duplicates() {
    let bench = Bench::plain().await.with_solution().await;
    bench
        .make(ATTRIBUTES, &text("cosell_ReferralIdentifier", 100, "Text"))
        .await;
    let twice = json!({ "name": "Deal", "cosell_referralidentifier": "same" });
    let first = bench.dataverse.seller_creates("opportunity", &twice).unwrap();
    bench.dataverse.seller_creates("opportunity", &twice).unwrap();
    bench.dataverse.key_index(1000, std::time::Duration::from_secs(60));
    bench
        .make(KEYS, &key("cosell_ReferralKey", &["cosell_referralidentifier"]))
        .await;
    let status = async || bench.get(KEYS).await.json()["value"][0]["EntityKeyIndexStatus"].clone();
    assert_eq!(status().await, "Pending");
    bench.clock.advance(jiff::SignedDuration::from_secs(61));
    assert_eq!(status().await, "Failed");
    bench.dataverse.seller_deletes(first).unwrap();
    let again = json!({ "EntityLogicalName": "opportunity", "EntityKeyLogicalName": "cosell_referralkey" });
    bench.make("ReactivateEntityKey", &again).await;
    bench.dataverse.key_index_fails(true);
    bench.clock.advance(jiff::SignedDuration::from_secs(61));
    assert_eq!(status().await, "Failed", "turned to fail");
    bench.dataverse.key_index_fails(false);
    bench.make("ReactivateEntityKey", &again).await;
    bench.clock.advance(jiff::SignedDuration::from_secs(61));
    assert_eq!(status().await, "Active");
    assert_eq!(
        bench
            .customize(Method::POST, "ReactivateEntityKey", &again)
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn change_tracking_begins_when_its_definition_is_published() {
    let bench = Bench::plain().await.with_solution().await;
    let target = "EntityDefinitions(LogicalName='opportunity')";
    let mut whole = bench.get(target).await.json();
    whole["ChangeTrackingEnabled"] = json!(true);
    let headers = [("mscrm.mergelabels", "true")];
    let put = bench.send(Method::PUT, target, &headers, &whole.to_string()).await;
    assert_eq!(put.status, 204, "{}", put.text);
    assert_eq!(
        bench.get(target).await.json()["ChangeTrackingEnabled"],
        false,
        "not before it is published"
    );
    let xml = "<importexportxml><entities><entity>opportunity</entity></entities></importexportxml>";
    bench.make("PublishXml", &json!({ "ParameterXml": xml })).await;
    let now = bench.get(target).await.json();
    assert_eq!(now["ChangeTrackingEnabled"], true);
    let labels = now["DisplayName"]["LocalizedLabels"].as_array().unwrap().len();
    assert_eq!(labels, 2, "labels of other languages are kept");
    let tracked = bench
        .get_preferring("opportunities?$select=name", "odata.track-changes")
        .await;
    assert_eq!(tracked.status, 200);
    whole["ChangeTrackingEnabled"] = json!(false);
    let back = bench.send(Method::PUT, target, &headers, &whole.to_string()).await;
    assert_eq!(back.refusal(), (400, "0x80040203".to_owned()));
    assert_eq!(bench.get(target).await.json()["ChangeTrackingEnabled"], true);
}

#[tokio::test]
async fn labels_that_are_neither_sent_nor_merged_are_lost() {
    let bench = Bench::plain().await;
    let target = "EntityDefinitions(LogicalName='opportunity')";
    let mut whole = bench.get(target).await.json();
    whole["DisplayName"] = label("Deal");
    let count = async || {
        let told = bench.get(target).await.json();
        let name = &told["DisplayName"];
        (
            name["LocalizedLabels"].as_array().unwrap().len(),
            name["UserLocalizedLabel"]["Label"].clone(),
        )
    };
    let merged = bench
        .send(
            Method::PUT,
            target,
            &[("mscrm.mergelabels", "true")],
            &whole.to_string(),
        )
        .await;
    assert_eq!(merged.status, 204, "{}", merged.text);
    assert_eq!(count().await, (2, json!("Deal")));
    assert_eq!(
        bench.send(Method::PUT, target, &[], &whole.to_string()).await.status,
        204
    );
    assert_eq!(count().await, (1, json!("Deal")));
}
