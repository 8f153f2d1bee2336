//! What several scenario files ask of a world at rest: that there is one deal and that both sides tell the same of it.
//!
//! Knows: which column says the same as which member. Refuses to know: how the two came to be in step. The comparison is
//! written from the mapping that users read, not from the connector's own.

use std::collections::{BTreeMap, BTreeSet};

use cosell_tests::switchboard::Exchange;
use cosell_tests::world::World;
use serde_json::{Value, json};
use uuid::Uuid;

/// Choice of the sync state column that says "in step".
pub(crate) const SYNCED: i64 = 727_000_001;

/// A link between the two, nothing open on it, and both sides equal in every field they share.
#[track_caller]
pub(crate) fn assert_in_step(world: &World, opportunity: &str, referral: &str) {
    let (row, record) = (world.opportunity(opportunity), world.referral(referral));
    let both = || format!("{row:#}\n{record:#}\n{}", world.state_of_affairs());
    assert_eq!(
        row["cosell_referralidentifier"],
        json!(referral),
        "the opportunity's identifier; {}",
        both()
    );
    assert!(
        row["cosell_referrallink"]
            .as_str()
            .is_some_and(|link| link.contains(referral)),
        "its link; {}",
        both()
    );
    assert_eq!(row["cosell_syncstatus"], json!(SYNCED), "its state; {}", both());
    // An unanswered referral takes nothing but the answer: the reference travels with it.
    let reference = if record["status"] == "New" {
        Value::Null
    } else {
        json!(opportunity)
    };
    assert_eq!(
        record["externalReferenceId"],
        reference,
        "the referral's reference; {}",
        both()
    );
    assert_eq!(
        row["name"],
        json!(format!("✔ {}", record["name"].as_str().unwrap_or_default())),
        "name; {}",
        both()
    );
    assert_eq!(of_crm(world, &row), of_portal(&record), "shared fields; {}", both());

    let links = world.links();
    let own: Vec<&Value> = links.iter().filter(|link| link["opportunity"] == opportunity).collect();
    assert_eq!(own.len(), 1, "links of the opportunity; {}", both());
    let link = own[0];
    assert_eq!(link["referral"], json!(referral), "the link's referral; {}", both());
    for open in ["pending", "due"] {
        assert!(
            link.get(open).is_none_or(Value::is_null),
            "{open} is left open; {}",
            both()
        );
    }
    let attention = link["attention"].as_array().map(Vec::len).unwrap_or_default();
    assert_eq!(attention, 0, "a person is asked for; {}", both());
}

/// The fields both sides have, as the CRM tells them.
fn of_crm(world: &World, row: &Value) -> BTreeMap<&'static str, Value> {
    let currency = row["_transactioncurrencyid_value"]
        .as_str()
        .and_then(|id| Uuid::parse_str(id).ok());
    let currency = currency.and_then(|id| world.dataverse.row("transactioncurrencies", id));
    // Rows, and what the memo names beside them.
    let rows = world.solution_rows(row["opportunityid"].as_str().unwrap_or_default());
    let mut solutions: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| row["cosell_solutionid"].as_str().map(str::to_owned))
        .collect();
    let memo = row["cosell_solutions"].as_str().unwrap_or_default();
    solutions.extend(memo.lines().map(str::to_owned));
    BTreeMap::from([
        ("value", json!(row["estimatedvalue"].as_f64())),
        (
            "currency",
            currency
                .map(|currency| currency["isocurrencycode"].clone())
                .unwrap_or_default(),
        ),
        ("close date", row["estimatedclosedate"].clone()),
        ("notes", row["description"].clone()),
        ("solutions", json!(solutions)),
        ("is open", json!(row["statecode"] == 0)),
    ])
}

/// The fields both sides have, as the portal tells them.
fn of_portal(record: &Value) -> BTreeMap<&'static str, Value> {
    let details = &record["details"];
    let solutions = details["requirements"]["solutions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let day = details["closingDateTime"]
        .as_str()
        .map(|text| text.split('T').next().unwrap_or_default().to_owned());
    BTreeMap::from([
        ("value", json!(details["dealValue"].as_f64())),
        ("currency", details["currency"].clone()),
        ("close date", json!(day)),
        ("notes", details["notes"].clone()),
        (
            "solutions",
            json!(
                solutions
                    .iter()
                    .filter_map(|solution| solution["id"].as_str())
                    .collect::<BTreeSet<_>>()
            ),
        ),
        (
            "is open",
            json!(record["status"] == "New" || record["status"] == "Active"),
        ),
    ])
}

/// Method and place of a request, with ids and values left out: equal for equal requests of two worlds.
#[must_use]
pub(crate) fn shape(exchange: &Exchange) -> String {
    let header = |name: &str| {
        exchange
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let path = exchange.target.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split(['/', '(', ')']).filter(|part| !part.is_empty()).collect();
    let named: Vec<&str> = parts
        .into_iter()
        .map(|part| Uuid::parse_str(part).map_or(part, |_| "*"))
        .collect();
    let operation = header("x-amz-target").rsplit('.').next().unwrap_or_default();
    let create = if header("if-none-match") == "*" {
        " if there is none"
    } else {
        ""
    };
    format!(
        "{} {} {}{operation}{create}",
        exchange.api,
        exchange.method,
        named.join("/")
    )
}

/// What vendors were made to write: how often each record was created, and how often each of its values was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Records and values that people care about.
    pub(crate) business: BTreeMap<String, usize>,
    /// Requests that only tell the seller how the deal stands: mark, state, identifier and trail.
    pub(crate) display: usize,
}

/// Columns by which the connector tells the seller how the deal stands. The name is among them for its mark: a new name
/// is not carried after the creation.
const DISPLAY: [&str; 6] = [
    "name",
    "cosell_audit",
    "cosell_syncstatus",
    "cosell_referralidentifier",
    "cosell_referrallink",
    "cosell_microsoftcrmid",
];

/// What the vendors carried out since a mark; requests they refused are left out.
#[must_use]
pub(crate) fn effects_since(world: &World, mark: u64) -> Effects {
    let mut effects = Effects::default();
    for exchange in world.vendor_writes_since(mark) {
        if !exchange.status.is_some_and(|status| status.is_success()) {
            continue;
        }
        let shape = shape(&exchange);
        let body: Value = serde_json::from_slice(&exchange.body).unwrap_or_default();
        let creates = exchange.headers.contains_key("if-none-match") || exchange.method == "POST";
        let set: Vec<String> = match &body {
            _ if creates || exchange.method == "DELETE" => vec![String::new()],
            Value::Array(operations) => operations
                .iter()
                .map(|operation| operation["path"].to_string())
                .collect(),
            body => {
                let columns = body.as_object().into_iter().flat_map(|body| body.keys());
                columns
                    .filter(|column| !DISPLAY.contains(&column.as_str()))
                    .cloned()
                    .collect()
            }
        };
        effects.display += usize::from(set.is_empty());
        for value in set {
            *effects.business.entry(format!("{shape} {value}")).or_default() += 1;
        }
    }
    effects
}
