//! An administrator's tool: reads the definitions of one environment and makes the same in another.

use cosell_tests::entra::Entra;
use cosell_tests::world::TENANT;
use reqwest::Method;
use serde_json::{Value, json};

/// One environment as an administrator's tool reaches it.
pub(crate) struct Administrator {
    root: String,
    token: String,
    http: reqwest::Client,
}

impl Administrator {
    pub(crate) async fn of(entra: &Entra, dynamics: &str) -> Self {
        let http = reqwest::Client::new();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", "dataverse-app")
            .append_pair("client_secret", "dataverse-secret")
            .append_pair("scope", &format!("{dynamics}/.default"))
            .finish();
        let request = http
            .post(format!("{}/{TENANT}/oauth2/v2.0/token", entra.url()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = request.send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let token = answer.get("access_token").and_then(Value::as_str).unwrap().to_owned();
        let root = format!("{dynamics}/api/data/v9.2");
        Self { root, token, http }
    }

    async fn send(&self, method: Method, path: &str, body: String) -> (u16, Value) {
        let request = self
            .http
            .request(method, format!("{}/{path}", self.root))
            .bearer_auth(&self.token)
            .header("MSCRM.SolutionUniqueName", "CoSellSync")
            .header("MSCRM.MergeLabels", "true")
            .body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let id = answer.headers().get("odata-entityid").cloned();
        let text = answer.text().await.unwrap();
        let id = id.map(|id| id.to_str().unwrap().to_owned());
        let told = if text.is_empty() {
            json!(id)
        } else {
            serde_json::from_str(&text).unwrap()
        };
        (status, told)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, told) = self.send(Method::GET, path, String::new()).await;
        assert_eq!(status, 200, "{path}: {told}");
        told
    }

    async fn make(&self, path: &str, body: &Value) -> Value {
        let (status, told) = self.send(Method::POST, path, body.to_string()).await;
        assert_eq!(status, 204, "{path} {body}: {told}");
        told
    }
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

/// What one may say of a column, from what is told of one.
fn definition(told: &Value) -> Value {
    let said = [
        "@odata.type",
        "AttributeType",
        "AttributeTypeName",
        "SchemaName",
        "DisplayName",
        "Description",
        "RequiredLevel",
        "MaxLength",
        "FormatName",
        "MinValue",
        "MaxValue",
        "Precision",
        "PrecisionSource",
        "DefaultValue",
        "DefaultFormValue",
        "OptionSet",
    ];
    let members = told.as_object().unwrap().iter();
    let mut members: serde_json::Map<String, Value> = members
        .filter(|(name, value)| said.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // A label without any text cannot be written as it is read.
    members.remove("Description");
    Value::Object(members)
}

/// The columns of the solution on a table, except those of no type that is made by itself.
pub(crate) async fn columns(from: &Administrator, table: &str) -> Vec<Value> {
    let path = format!("EntityDefinitions(LogicalName='{table}')/Attributes");
    let list = from
        .get(&format!(
            "{path}?$select=LogicalName,AttributeType&$filter=startswith(LogicalName,'cosell_')"
        ))
        .await;
    let mut definitions = Vec::new();
    for one in list["value"].as_array().unwrap() {
        let (name, class) = (text(one, "LogicalName"), text(one, "@odata.type"));
        let is_own = !["Lookup", "Uniqueidentifier"].contains(&one["AttributeType"].as_str().unwrap());
        // Dataverse adds to a column of money its value in the base currency.
        if !is_own || name.ends_with("_base") {
            continue;
        }
        let expand = if ["Boolean", "Picklist"].contains(&one["AttributeType"].as_str().unwrap()) {
            "?$expand=OptionSet"
        } else {
            ""
        };
        let cast = class.trim_start_matches('#');
        let mut told = from.get(&format!("{path}(LogicalName='{name}')/{cast}{expand}")).await;
        told["@odata.type"] = json!(class);
        definitions.push(definition(&told));
    }
    definitions
}

/// Copies what the solution brings from one environment to another.
pub(crate) async fn install(from: &Administrator, to: &Administrator) {
    let publisher = json!({ "uniquename": "cosellsync", "friendlyname": "Co-sell Sync", "customizationprefix": "cosell",
                            "customizationoptionvalueprefix": 72700 });
    let made = to.make("publishers", &publisher).await;
    let id = made.as_str().unwrap().split(['(', ')']).nth(1).unwrap().to_owned();
    let solution = json!({ "uniquename": "CoSellSync", "friendlyname": "Co-sell Sync", "version": "1.0.0.0",
                           "publisherid@odata.bind": format!("/publishers({id})") });
    to.make("solutions", &solution).await;
    for table in ["opportunity", "lead"] {
        let path = format!("EntityDefinitions(LogicalName='{table}')");
        for column in columns(from, table).await {
            to.make(&format!("{path}/Attributes"), &column).await;
        }
        for key in from.get(&format!("{path}/Keys")).await["value"].as_array().unwrap() {
            let body = json!({ "@odata.type": "Microsoft.Dynamics.CRM.EntityKeyMetadata", "SchemaName": key["SchemaName"],
                               "DisplayName": key["DisplayName"], "KeyAttributes": key["KeyAttributes"] });
            to.make(&format!("{path}/Keys"), &body).await;
        }
        let mut whole = to.get(&path).await;
        whole["ChangeTrackingEnabled"] = json!(true);
        assert_eq!(to.send(Method::PUT, &path, whole.to_string()).await.0, 204);
        let xml = format!("<importexportxml><entities><entity>{table}</entity></entities></importexportxml>");
        to.make("PublishXml", &json!({ "ParameterXml": xml })).await;
        for _ in 0..3 {
            to.get(&format!("{path}/Keys")).await;
        }
    }
    let child = "cosell_dealsolution";
    let path = format!("EntityDefinitions(LogicalName='{child}')");
    let told = from.get(&path).await;
    let mut attributes = columns(from, child).await;
    for column in attributes
        .iter_mut()
        .filter(|column| column["SchemaName"] == "cosell_Name")
    {
        column["IsPrimaryName"] = json!(true);
    }
    let table = json!({
        "@odata.type": "Microsoft.Dynamics.CRM.EntityMetadata", "SchemaName": told["SchemaName"],
        "DisplayName": told["DisplayName"], "DisplayCollectionName": told["DisplayCollectionName"],
        "OwnershipType": "UserOwned", "IsActivity": false, "HasActivities": false, "HasNotes": false,
        "ChangeTrackingEnabled": true, "Attributes": attributes,
    });
    to.make("EntityDefinitions", &table).await;
    let relations = from.get(&format!("{path}/ManyToOneRelationships")).await;
    for relation in relations["value"].as_array().unwrap() {
        let navigation = text(relation, "ReferencingEntityNavigationPropertyName");
        if !navigation.starts_with("cosell_") {
            continue;
        }
        let label = json!({ "LocalizedLabels": [{ "Label": navigation, "LanguageCode": 1033 }] });
        let lookup = json!({ "@odata.type": "Microsoft.Dynamics.CRM.LookupAttributeMetadata", "SchemaName": navigation,
                             "DisplayName": label });
        let body = json!({
            "@odata.type": "Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata", "SchemaName": relation["SchemaName"],
            "ReferencedEntity": relation["ReferencedEntity"], "ReferencedAttribute": relation["ReferencedAttribute"],
            "ReferencingEntity": child, "Lookup": lookup,
            "AssociatedMenuConfiguration": { "Behavior": "UseCollectionName", "Group": "Details", "Order": 10000 },
            "CascadeConfiguration": { "Assign": "NoCascade", "Delete": "RemoveLink", "Merge": "NoCascade",
                                      "Reparent": "NoCascade", "Share": "NoCascade", "Unshare": "NoCascade" },
        });
        to.make("RelationshipDefinitions", &body).await;
    }
}
