//! Dataverse's Web API as far as definitions of tables and columns need it, and the questions about who we are there.
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/use-web-api-metadata>
//!
//! Knows: paths, bodies and headers of metadata, and the answers to `WhoAmI` and `RetrieveUserPrivileges`. Refuses to
//! know: what is wanted. Guarantees: every definition is created inside our solution; nothing is ever deleted; the one
//! definition that is replaced, a table's, is sent back as it was read but for its change tracking.

use std::time::Duration;

use connector::entra::Tokens;
use connector::http::{Answer, Budget, Effect, Error, Http, Limits, Request, Vendor};
use connector::settings::Endpoint;
use reqwest::header::{HeaderName, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::definitions::{Column, Definitions, Key, Kind, Lookup, Part, Publisher, Solution, Table};

const API: &str = "/api/data/v9.2";

const JSON: &str = "application/json; charset=utf-8";

/// Puts what is created into a solution.
const SOLUTION: HeaderName = HeaderName::from_static("mscrm.solutionuniquename");

/// Keeps labels of other languages when a definition is replaced.
const MERGE_LABELS: HeaderName = HeaderName::from_static("mscrm.mergelabels");

/// Looks past caches of metadata and permissions, which may be half a minute old.
const CONSISTENCY: HeaderName = HeaderName::from_static("consistency");

/// Creating a column takes seconds, on a large table a minute.
const LIMITS: Limits = Limits {
    attempt: Duration::from_secs(120),
    least: Duration::from_millis(50),
    repeats: 2,
    pause: Duration::from_millis(500),
    longest_pause: Duration::from_secs(60),
    outage: Duration::from_secs(30),
    answer: 16 * 1024 * 1024,
};

/// The definitions of an environment. Clones are cheap.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    http: Http,
}

/// A publisher that is there.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FoundPublisher {
    #[serde(rename = "publisherid")]
    pub(crate) id: Uuid,
    #[serde(rename = "customizationprefix")]
    pub(crate) prefix: String,
    #[serde(rename = "customizationoptionvalueprefix")]
    pub(crate) option_prefix: Option<u32>,
}

/// A solution that is there.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FoundSolution {
    pub(crate) version: Option<String>,
    #[serde(rename = "ismanaged", default)]
    pub(crate) is_managed: bool,
}

/// A table that is there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FoundTable {
    #[serde(default)]
    pub(crate) change_tracking_enabled: bool,
    pub(crate) can_change_tracking_be_enabled: Option<ManagedFlag>,
    pub(crate) is_optimistic_concurrency_enabled: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ManagedFlag {
    pub(crate) value: bool,
}

/// A column that is there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FoundColumn {
    pub(crate) logical_name: String,
    pub(crate) attribute_type: String,
}

/// What a cast tells about a column.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Details {
    pub(crate) logical_name: String,
    pub(crate) max_length: Option<u32>,
    #[serde(default)]
    pub(crate) targets: Vec<String>,
    pub(crate) option_set: Option<OptionSet>,
    pub(crate) global_option_set: Option<OptionSet>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OptionSet {
    #[serde(default)]
    pub(crate) options: Vec<OptionValue>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OptionValue {
    pub(crate) value: i64,
}

impl Details {
    /// The values of a choice, wherever they are kept.
    pub(crate) fn values(&self) -> Vec<i64> {
        let sets = [&self.option_set, &self.global_option_set];
        sets.into_iter()
            .flatten()
            .flat_map(|set| set.options.iter().map(|option| option.value))
            .collect()
    }
}

/// An alternate key that is there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FoundKey {
    pub(crate) schema_name: String,
    pub(crate) logical_name: String,
    #[serde(default)]
    pub(crate) key_attributes: Vec<String>,
    pub(crate) entity_key_index_status: String,
}

impl FoundKey {
    /// Whether it is over these columns and no others. Their order does not matter to what it keeps apart.
    pub(crate) fn covers(&self, columns: &[String]) -> bool {
        let sorted = |names: &[String]| {
            let mut names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
            names.sort();
            names
        };
        sorted(&self.key_attributes) == sorted(columns)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.entity_key_index_status == "Active"
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.entity_key_index_status == "Failed"
    }
}

/// Who the application is in the CRM.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Identity {
    pub(crate) user_id: Uuid,
}

/// A privilege of a user.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Privilege {
    pub(crate) privilege_name: Option<String>,
}

#[derive(Deserialize)]
struct List<T> {
    value: Vec<T>,
}

impl Metadata {
    pub(crate) fn new(client: reqwest::Client, dataverse: Endpoint, tokens: Tokens) -> Self {
        let http = Http::new(
            Vendor::Dataverse,
            client,
            dataverse,
            tokens,
            Budget::unlimited(),
            LIMITS,
        );
        Self { http }
    }

    /// Who we are.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/whoami>
    pub(crate) async fn who_am_i(&self) -> Result<Identity, Error> {
        self.read("asking who we are", "WhoAmI").await
    }

    /// The privileges of a user. Those that a team gives are listed too, with a smaller depth than they have.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/retrieveuserprivileges>
    pub(crate) async fn privileges(&self, user: Uuid) -> Result<Vec<Privilege>, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            role_privileges: Vec<Privilege>,
        }
        let path = format!("systemusers({user})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()");
        let answer: Answer = self.read("listing privileges", &path).await?;
        Ok(answer.role_privileges)
    }

    pub(crate) async fn publisher(&self, unique_name: &str) -> Result<Option<FoundPublisher>, Error> {
        let path = format!(
            "publishers?$select=publisherid,uniquename,customizationprefix,customizationoptionvalueprefix\
             &$filter=uniquename eq '{unique_name}'"
        );
        let list: List<FoundPublisher> = self.read("looking for the publisher", &path).await?;
        Ok(list.value.into_iter().next())
    }

    pub(crate) async fn solution(&self, unique_name: &str) -> Result<Option<FoundSolution>, Error> {
        let path =
            format!("solutions?$select=solutionid,uniquename,version,ismanaged&$filter=uniquename eq '{unique_name}'");
        let list: List<FoundSolution> = self.read("looking for the solution", &path).await?;
        Ok(list.value.into_iter().next())
    }

    pub(crate) async fn table(&self, name: &str) -> Result<Option<FoundTable>, Error> {
        let path = format!(
            "EntityDefinitions(LogicalName='{name}')?$select=LogicalName,ChangeTrackingEnabled,\
             CanChangeTrackingBeEnabled,IsOptimisticConcurrencyEnabled"
        );
        match self.read("reading a table's definition", &path).await {
            Ok(table) => Ok(Some(table)),
            Err(error) if error.has_status(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those of the named columns that are there.
    pub(crate) async fn columns(&self, table: &str, names: &[String]) -> Result<Vec<FoundColumn>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let path = format!(
            "EntityDefinitions(LogicalName='{table}')/Attributes?$select=LogicalName,AttributeType&$filter={}",
            any_of(names)
        );
        let list: List<FoundColumn> = self.read("listing columns", &path).await?;
        Ok(list.value)
    }

    /// What only a cast shows: lengths of text, values of choices, targets of look-ups.
    pub(crate) async fn details(&self, table: &str, class: Class, names: &[String]) -> Result<Vec<Details>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let (class, shown) = match class {
            Class::Text => ("String", "$select=LogicalName,MaxLength"),
            Class::Memo => ("Memo", "$select=LogicalName,MaxLength"),
            Class::Choice => (
                "Picklist",
                "$select=LogicalName&$expand=OptionSet($select=Options),GlobalOptionSet($select=Options)",
            ),
            Class::Lookup => ("Lookup", "$select=LogicalName,Targets"),
        };
        let path = format!(
            "EntityDefinitions(LogicalName='{table}')/Attributes/Microsoft.Dynamics.CRM.{class}AttributeMetadata?{shown}\
             &$filter={}",
            any_of(names)
        );
        let list: List<Details> = self.read("reading columns' definitions", &path).await?;
        Ok(list.value)
    }

    pub(crate) async fn keys(&self, table: &str) -> Result<Vec<FoundKey>, Error> {
        let path = format!(
            "EntityDefinitions(LogicalName='{table}')/Keys?$select=SchemaName,LogicalName,KeyAttributes,EntityKeyIndexStatus"
        );
        let list: List<FoundKey> = self.read("reading keys", &path).await?;
        Ok(list.value)
    }

    /// Creates a part, or switches it on. The second time the service refuses what exists, so a repeat is harmless.
    pub(crate) async fn create(&self, part: Part<'_>, definitions: &Definitions) -> Result<(), Error> {
        let bodies = Bodies {
            language: definitions.language,
        };
        let solution = definitions.solution.unique_name.as_str();
        match part {
            Part::Publisher(publisher) => {
                self.post("creating the publisher", "publishers", &publisher_body(publisher), None)
                    .await
            }
            Part::Solution(wanted) => {
                // It was there a moment ago: it is created before its solution.
                let publisher = self.publisher(&definitions.publisher.unique_name).await?;
                let publisher = publisher.map(|publisher| publisher.id).unwrap_or_default();
                let body = solution_body(wanted, publisher);
                self.post("creating the solution", "solutions", &body, None).await
            }
            Part::Table(table) => {
                let body = bodies.table(table);
                self.post("creating a table", "EntityDefinitions", &body, Some(solution))
                    .await
            }
            Part::Column(table, column) => {
                let path = format!("EntityDefinitions(LogicalName='{table}')/Attributes");
                let body = bodies.column(column);
                self.post("creating a column", &path, &body, Some(solution)).await
            }
            Part::Lookup(lookup) => {
                let plural = definitions
                    .tables
                    .iter()
                    .find_map(|table| (table.name.to_lowercase() == lookup.table).then_some(table.plural.as_str()));
                let body = bodies.lookup(lookup, plural.unwrap_or(&lookup.label));
                self.post("creating a look-up", "RelationshipDefinitions", &body, Some(solution))
                    .await
            }
            Part::Tracking(table) => self.track(table, solution).await,
            Part::Key(key) => {
                let path = format!("EntityDefinitions(LogicalName='{}')/Keys", key.table);
                self.post("creating the key", &path, &bodies.key(key), Some(solution))
                    .await
            }
        }
    }

    /// Metadata has no partial update: the whole definition is read and sent back.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-update-entity-definitions-using-web-api>
    async fn track(&self, table: &str, solution: &str) -> Result<(), Error> {
        let path = format!("EntityDefinitions(LogicalName='{table}')");
        let mut definition: Map<String, Value> = self.read("reading a table's definition", &path).await?;
        definition.insert("ChangeTrackingEnabled".to_owned(), true.into());
        let request = self
            .request("switching on change tracking", Method::PUT, &path)?
            .header(MERGE_LABELS, "true")
            .header_of(SOLUTION, solution)?
            .json(JSON, &definition)?;
        self.http.send(request).await.map(drop)
    }

    /// Builds a key's index again after it failed; `key` is its logical name.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/define-alternate-keys-entity>
    pub(crate) async fn reactivate_key(&self, table: &str, key: &str) -> Result<(), Error> {
        let body = json!({
            "EntityLogicalName": table,
            "EntityKeyLogicalName": key,
        });
        self.post("building the key's index again", "ReactivateEntityKey", &body, None)
            .await
    }

    /// Puts changed definitions into force.
    pub(crate) async fn publish(&self, tables: &[String]) -> Result<(), Error> {
        let entities: String = tables.iter().map(|table| format!("<entity>{table}</entity>")).collect();
        let body =
            json!({ "ParameterXml": format!("<importexportxml><entities>{entities}</entities></importexportxml>") });
        self.post("publishing", "PublishXml", &body, None).await
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, operation: &'static str, path: &str) -> Result<T, Error> {
        let request = self
            .request(operation, Method::GET, path)?
            // The documentation wants caches overridden by the literal word `null`.
            .header(IF_NONE_MATCH, "null")
            .header(CONSISTENCY, "Strong");
        self.http.send(request).await?.decode()
    }

    async fn post(
        &self,
        operation: &'static str,
        path: &str,
        body: &Value,
        solution: Option<&str>,
    ) -> Result<(), Error> {
        let mut request = self.request(operation, Method::POST, path)?.json(JSON, body)?;
        if let Some(solution) = solution {
            request = request.header_of(SOLUTION, solution)?;
        }
        let answer: Answer = self.http.send(request).await?;
        drop(answer);
        Ok(())
    }

    fn request(&self, operation: &'static str, method: Method, path: &str) -> Result<Request, Error> {
        let effect = if method == Method::GET {
            Effect::Nothing
        } else {
            Effect::Guarded
        };
        let url = self.http.url(&format!("{API}/{path}"))?;
        Ok(Request::new(operation, method, url, effect)
            .header(HeaderName::from_static("odata-maxversion"), "4.0")
            .header(HeaderName::from_static("odata-version"), "4.0"))
    }
}

/// Columns of which a cast shows more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Text,
    Memo,
    Choice,
    Lookup,
}

fn any_of(names: &[String]) -> String {
    let terms: Vec<String> = names.iter().map(|name| format!("LogicalName eq '{name}'")).collect();
    terms.join(" or ")
}

fn publisher_body(publisher: &Publisher) -> Value {
    json!({
        "uniquename": publisher.unique_name,
        "friendlyname": publisher.name,
        "description": publisher.description,
        "customizationprefix": publisher.prefix,
        "customizationoptionvalueprefix": publisher.option_prefix,
    })
}

fn solution_body(solution: &Solution, publisher: Uuid) -> Value {
    json!({
        "uniquename": solution.unique_name,
        "friendlyname": solution.name,
        "description": solution.description,
        "version": solution.version,
        "publisherid@odata.bind": format!("/publishers({publisher})"),
    })
}

/// The bodies of definitions, exactly as the vendor's documentation has them. Read-only members such as `LogicalName` are
/// left out: they are refused.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-update-column-definitions-using-web-api>
struct Bodies {
    language: u32,
}

impl Bodies {
    fn label(&self, text: &str) -> Value {
        json!({
            "@odata.type": "Microsoft.Dynamics.CRM.Label",
            "LocalizedLabels": [{
                "@odata.type": "Microsoft.Dynamics.CRM.LocalizedLabel",
                "Label": text,
                "LanguageCode": self.language,
            }],
        })
    }

    fn column(&self, column: &Column) -> Value {
        let own = match column.kind {
            Kind::Boolean => json!({
                "DefaultValue": false,
                "OptionSet": {
                    "@odata.type": "Microsoft.Dynamics.CRM.BooleanOptionSetMetadata",
                    "OptionSetType": "Boolean",
                    "TrueOption": { "Value": 1, "Label": self.label("Yes") },
                    "FalseOption": { "Value": 0, "Label": self.label("No") },
                },
            }),
            Kind::Text => json!({ "MaxLength": column.length, "FormatName": { "Value": "Text" } }),
            Kind::Url => json!({ "MaxLength": column.length, "FormatName": { "Value": "Url" } }),
            Kind::Memo => json!({ "MaxLength": column.length, "Format": "TextArea", "ImeMode": "Disabled" }),
            Kind::Choice => {
                let options: Vec<Value> = column
                    .choices
                    .iter()
                    .map(|choice| json!({ "Value": choice.value, "Label": self.label(&choice.label) }))
                    .collect();
                json!({
                    "OptionSet": {
                        "@odata.type": "Microsoft.Dynamics.CRM.OptionSetMetadata",
                        "IsGlobal": false,
                        "OptionSetType": "Picklist",
                        "Options": options,
                    },
                })
            }
            Kind::Integer => json!({
                "MinValue": column.least.unwrap_or(i64::from(i32::MIN)),
                "MaxValue": column.most.unwrap_or(i64::from(i32::MAX)),
                "Format": "None",
            }),
            // Precision of the row's currency, as the vendor's own amounts have it.
            Kind::Money => json!({
                "PrecisionSource": 2,
                "MinValue": column.least.unwrap_or(0),
                "MaxValue": column.most.unwrap_or(922_337_203_685_477),
            }),
        };
        let kind = column.kind.attribute_type();
        let common = json!({
            "@odata.type": format!("Microsoft.Dynamics.CRM.{kind}AttributeMetadata"),
            "AttributeType": kind,
            "AttributeTypeName": { "Value": format!("{kind}Type") },
            "SchemaName": column.name,
            "DisplayName": self.label(&column.label),
            "Description": self.label(&column.description),
            "RequiredLevel": required_level(),
        });
        joined(common, own)
    }

    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-update-entity-definitions-using-web-api>
    fn table(&self, table: &Table) -> Value {
        json!({
            "@odata.type": "Microsoft.Dynamics.CRM.EntityMetadata",
            "Attributes": [{
                "@odata.type": "Microsoft.Dynamics.CRM.StringAttributeMetadata",
                "AttributeType": "String",
                "AttributeTypeName": { "Value": "StringType" },
                "SchemaName": table.primary.name,
                "DisplayName": self.label(&table.primary.label),
                "Description": self.label(&table.primary.label),
                "IsPrimaryName": true,
                "RequiredLevel": required_level(),
                "FormatName": { "Value": "Text" },
                "MaxLength": table.primary.length,
            }],
            "SchemaName": table.name,
            "DisplayName": self.label(&table.label),
            "DisplayCollectionName": self.label(&table.plural),
            "Description": self.label(&table.description),
            "OwnershipType": "UserOwned",
            "IsActivity": false,
            "HasActivities": false,
            "HasNotes": false,
        })
    }

    /// A look-up comes with its relationship. It is no parental one: a table with two owners' chains is refused at times,
    /// and a row that outlives its deal harms nobody.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-update-entity-relationships-using-web-api>
    fn lookup(&self, lookup: &Lookup, plural: &str) -> Value {
        json!({
            "@odata.type": "Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata",
            "SchemaName": lookup.relationship,
            "ReferencedEntity": lookup.target,
            "ReferencedAttribute": format!("{}id", lookup.target),
            "ReferencingEntity": lookup.table,
            "AssociatedMenuConfiguration": {
                "Behavior": "UseCollectionName",
                "Group": "Details",
                "Label": self.label(plural),
                "Order": 10_000,
            },
            "CascadeConfiguration": {
                "Assign": "NoCascade",
                "Delete": "RemoveLink",
                "Merge": "NoCascade",
                "Reparent": "NoCascade",
                "Share": "NoCascade",
                "Unshare": "NoCascade",
            },
            "Lookup": {
                "@odata.type": "Microsoft.Dynamics.CRM.LookupAttributeMetadata",
                "AttributeType": "Lookup",
                "AttributeTypeName": { "Value": "LookupType" },
                "SchemaName": lookup.name,
                "DisplayName": self.label(&lookup.label),
                "Description": self.label(&lookup.description),
                "RequiredLevel": required_level(),
            },
        })
    }

    fn key(&self, key: &Key) -> Value {
        json!({
            "@odata.type": "Microsoft.Dynamics.CRM.EntityKeyMetadata",
            "SchemaName": key.name,
            "DisplayName": self.label(&key.label),
            "KeyAttributes": key.columns,
        })
    }
}

fn required_level() -> Value {
    json!({
        "Value": "None",
        "CanBeChanged": true,
        "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings",
    })
}

fn joined(common: Value, own: Value) -> Value {
    let (Value::Object(mut common), Value::Object(own)) = (common, own) else {
        return Value::Null;
    };
    common.extend(own);
    Value::Object(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_covers_its_columns_in_any_order_and_no_others() {
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let key = FoundKey {
            schema_name: "a_Key".to_owned(),
            logical_name: "a_key".to_owned(),
            key_attributes: names(&["a_one", "a_two"]),
            entity_key_index_status: "Active".to_owned(),
        };
        assert!(key.covers(&names(&["a_Two", "a_one"])));
        for other in [&["a_one"][..], &["a_one", "a_three"], &["a_one", "a_two", "a_three"]] {
            assert!(!key.covers(&names(other)), "{other:?}");
        }
    }
}
