//! What a world can see of the ledger, as an operator would: the items, not the program's types.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{AUDIT, LINKS, World};

impl World {
    fn items(&self, table: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut start = Value::Null;
        loop {
            let mut input = json!({ "TableName": table, "ConsistentRead": true });
            if let (false, Some(input)) = (start.is_null(), input.as_object_mut()) {
                input.insert("ExclusiveStartKey".to_owned(), start.clone());
            }
            let answer = self
                .aws
                .dynamodb("Scan", &input)
                .unwrap_or_else(|error| json!({ "error": error }));
            items.extend(
                answer
                    .get("Items")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default(),
            );
            start = answer.get("LastEvaluatedKey").cloned().unwrap_or(Value::Null);
            if start.is_null() {
                return items;
            }
        }
    }

    /// Every link, as its JSON body.
    #[must_use]
    pub fn links(&self) -> Vec<Value> {
        self.items(LINKS)
            .iter()
            .filter(|item| text(item, "pk").starts_with("LINK#"))
            .filter_map(body)
            .collect()
    }

    /// Every audit record, oldest first.
    #[must_use]
    pub fn audit(&self) -> Vec<Value> {
        let mut records: Vec<Value> = self.items(AUDIT).iter().filter_map(body).collect();
        records.sort_by_key(|record| (string(record, "at"), record.get("version").and_then(Value::as_u64)));
        records
    }

    /// The codes of all findings that were audited, oldest first.
    #[must_use]
    pub fn audited_codes(&self) -> Vec<String> {
        self.audit()
            .iter()
            .flat_map(|record| {
                record
                    .get("findings")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default()
            })
            .map(|finding| string(&finding, "code"))
            .collect()
    }

    /// The changes that were audited as lost: `(field, old, new)`.
    #[must_use]
    pub fn losers(&self) -> Vec<Value> {
        self.audit()
            .iter()
            .flat_map(|record| {
                record
                    .get("changes")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default()
            })
            .filter(|change| change.get("lost") == Some(&Value::Bool(true)))
            .collect()
    }

    /// The link of an opportunity.
    #[must_use]
    pub fn link_of(&self, opportunity: &str) -> Option<Value> {
        self.links()
            .into_iter()
            .find(|link| string(link, "opportunity") == opportunity)
    }

    /// How many deals wait for another look. One whose closing waits for hours is at rest until then.
    #[must_use]
    pub fn open_due(&self) -> usize {
        let horizon = self.clock.now() + SignedDuration::from_hours(1);
        let is_far = |due: &Value| string(due, "at").parse::<Timestamp>().is_ok_and(|at| at > horizon);
        let waits = |due: &Value| !due.is_null() && (string(due, "why") != "closing" || !is_far(due));
        self.links()
            .iter()
            .filter(|link| link.get("due").is_some_and(waits))
            .count()
    }

    /// Leases that a killed run still holds run out, as they do by themselves within the length of an invocation.
    pub fn let_leases_lapse(&self) {
        for item in self
            .items(LINKS)
            .iter()
            .filter(|item| text(item, "pk").starts_with("LEASE#"))
        {
            let key = json!({ "pk": item.get("pk"), "sk": item.get("sk") });
            // A lease that nobody holds any more lets everybody in; should this fail, the scenario finds out.
            let _ = self
                .aws
                .dynamodb("DeleteItem", &json!({ "TableName": LINKS, "Key": key }));
        }
    }

    /// The link of an opportunity can no longer be read, as after a bad restore. What comes back makes it whole again.
    ///
    /// # Panics
    /// When there is no such link.
    #[expect(clippy::expect_used, reason = "what is to be broken has to be there")]
    pub fn breaks_link(&self, opportunity: &str) -> impl FnOnce(&Self) + use<> {
        let of_deal = |item: &&Value| text(item, "pk").starts_with("LINK#") && text(item, "opportunity") == opportunity;
        let whole = self
            .items(LINKS)
            .iter()
            .find(of_deal)
            .cloned()
            .expect("the link is there");
        let mut broken = whole.clone();
        if let Some(item) = broken.as_object_mut() {
            item.insert("body".to_owned(), json!({ "S": "{" }));
        }
        let put = |world: &Self, item: Value| {
            let put = world
                .aws
                .dynamodb("PutItem", &json!({ "TableName": LINKS, "Item": item }));
            put.expect("the table takes the item");
        };
        put(self, broken);
        move |world| put(world, whole)
    }

    /// Pointers and links belong together one to one, and nothing is left half done.
    pub(super) fn check_ledger(&self) {
        let items = self.items(LINKS);
        let links: BTreeMap<String, Value> = items
            .iter()
            .filter(|item| text(item, "pk").starts_with("LINK#"))
            .filter_map(|item| Some((text(item, "pk").trim_start_matches("LINK#").to_owned(), body(item)?)))
            .collect();
        let mut claimed = BTreeSet::new();
        for item in &items {
            let pk = text(item, "pk");
            let Some((kind, id)) = pk.split_once('#') else { continue };
            let field = match kind {
                "REFERRAL" => "referral",
                "OPPORTUNITY" => "opportunity",
                "LEAD" => "lead",
                "MICROSOFT" => "microsoft",
                "ENGAGEMENT" => "engagement",
                "SOLUTION" => {
                    let link = text(item, "link");
                    assert_eq!(text(item, "sk"), format!("LINK#{link}"), "{pk} leads somewhere else");
                    assert!(links.contains_key(&link), "{pk} was seen by a link that does not exist");
                    claimed.insert(("solution_rows", format!("{id} {link}")));
                    continue;
                }
                _ => continue,
            };
            if item.get("link").is_none() {
                // Let go by an operator's order; it still tells who held it.
                let by = text(item, "parted");
                assert!(links.contains_key(&by), "{pk} was let go by a link that does not exist");
                continue;
            }
            let link = links.get(&text(item, "link"));
            assert!(link.is_some(), "{pk} points to a link that does not exist");
            let named = link.map(|link| string(link, field)).unwrap_or_default();
            assert_eq!(named, id, "{pk} points to a link that names another {field}");
            claimed.insert((field, id.to_owned()));
        }
        for (id, link) in &links {
            assert!(
                link.get("pending").is_none_or(Value::is_null),
                "link {id} still has an open intent: {link:#}"
            );
            if link.get("base").is_none_or(Value::is_null) {
                continue;
            }
            for row in link
                .get("solution_rows")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let row = row.as_str().unwrap_or_default();
                assert!(
                    claimed.contains(&("solution_rows", format!("{row} {id}"))),
                    "link {id} has the solution row {row} without a pointer that leads back"
                );
            }
            for field in ["referral", "opportunity", "lead", "engagement"] {
                let value = string(link, field);
                assert!(
                    value.is_empty() || claimed.contains(&(field, value.clone())),
                    "link {id} names {field} {value} without a pointer that leads back"
                );
            }
        }
    }
}

fn body(item: &Value) -> Option<Value> {
    serde_json::from_str(&text(item, "body")).ok()
}

fn text(item: &Value, attribute: &str) -> String {
    item.get(attribute)
        .and_then(|value| value.get("S"))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A text member of a JSON object; empty when it is not there.
#[must_use]
pub(super) fn string(value: &Value, member: &str) -> String {
    value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}
