//! Collections: pages, their next links, counts.
//!
//! Knows: what each issued link stands for. Refuses to know: how a link looks inside; it is only ever compared with the
//! links that were issued. Guarantee: a link that is rebuilt, shortened or re-encoded is refused, and a link may be
//! followed again after a lost answer.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::Environment;
use super::cell::Object;
use super::filter::{Filter, compare};
use super::prefer::{LARGEST_PAGE, Preferences};
use super::query::{Options, Projection};
use super::refusal::Refusal;
use super::rows::{Row, View};
use super::schema::Table;

/// `$count` does not count further than this.
const COUNT_CEILING: usize = 5000;

/// One member of a collection that may span pages.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A row, read when its page is asked for.
    Row(Uuid),
    /// A row as it stood at some commit.
    Seen(Arc<Row>),
    /// A row that is gone.
    Deleted(Uuid),
}

impl Item {
    pub(super) fn id(&self) -> Uuid {
        match self {
            Self::Row(id) | Self::Deleted(id) => *id,
            Self::Seen(row) => row.id,
        }
    }
}

/// A collection whose members are decided and whose pages are answered one by one.
#[derive(Clone, Debug)]
pub(super) struct Collection {
    pub(super) items: Arc<[Item]>,
    pub(super) projection: Projection,
    /// Query of the first page, as sent, to which tokens are appended.
    pub(super) query: String,
    pub(super) count: Option<usize>,
    /// For a tracked collection the version its delta link starts from.
    pub(super) tracked_from: Option<i64>,
    /// Whether these are changes instead of rows.
    pub(super) delta: bool,
}

/// The links to further pages that were issued, by set and query.
#[derive(Debug, Default)]
pub(super) struct Pages(HashMap<(&'static str, String), (Collection, usize, usize)>);

impl Environment {
    /// Answers `GET set?...`.
    pub(super) fn list(&mut self, table: &Table, query: &str, preferences: &Preferences) -> Result<Object, Refusal> {
        let allowed = [
            "$select",
            "$filter",
            "$orderby",
            "$top",
            "$expand",
            "$count",
            "$skiptoken",
            "$deltatoken",
        ];
        let options = Options::read(query, &allowed)?;
        if options.skip_token.is_some() {
            let issued = self.pages.0.get(&(table.set, query.to_owned())).cloned();
            let (collection, from, number) = issued.ok_or_else(|| {
                Refusal::query("The paging link is not one that was issued; it must be followed unchanged.")
            })?;
            return self.page(table, &collection, from, number, preferences);
        }
        if options.delta_token.is_some() || preferences.track_changes {
            let collection = self.tracked_collection(table, query, &options)?;
            return self.page(table, &collection, 0, 1, preferences);
        }
        let projection = self.projection(table, options.select.as_deref(), options.expand.as_deref())?;
        let (filter, order, limit) = (options.filter(table)?, options.order(table)?, options.limit()?);
        if limit.is_some() && preferences.page_size.is_some() {
            return Err(Refusal::query("$top and odata.maxpagesize exclude one another."));
        }
        let view = self.view();
        let mut rows = matching(&view, table, filter.as_ref());
        let count = options.counts()?.then_some(rows.len().min(COUNT_CEILING));
        sort(&mut rows, &order);
        rows.truncate(limit.unwrap_or(usize::MAX));
        let collection = Collection {
            items: rows.iter().map(|row| Item::Row(row.id)).collect(),
            projection,
            query: query.to_owned(),
            count,
            tracked_from: None,
            delta: false,
        };
        self.page(table, &collection, 0, 1, preferences)
    }

    /// Answers `GET set/$count`.
    pub(super) fn count(&self, table: &Table, query: &str) -> Result<usize, Refusal> {
        let options = Options::read(query, &["$filter", "$deltatoken"])?;
        if let Some(token) = &options.delta_token {
            return self.count_changes(table, token);
        }
        let filter = options.filter(table)?;
        Ok(matching(&self.view(), table, filter.as_ref()).len().min(COUNT_CEILING))
    }

    fn page(
        &mut self,
        table: &Table,
        collection: &Collection,
        from: usize,
        number: usize,
        preferences: &Preferences,
    ) -> Result<Object, Refusal> {
        let until = from
            .saturating_add(preferences.page_size.unwrap_or(LARGEST_PAGE))
            .min(collection.items.len());
        let items = collection.items.get(from..until).unwrap_or_default();
        let view = self.view();
        let values: Vec<Object> = items
            .iter()
            .filter_map(|item| self.item(&view, table, item, collection, preferences))
            .collect();
        drop(view);
        let context = self.context(table, &collection.projection) + if collection.delta { "/$delta" } else { "" };
        let mut answer = Object::default().with("@odata.context", &context);
        if let Some(count) = collection.count {
            answer.put("@odata.count", &count);
        }
        if preferences
            .annotations
            .includes("Microsoft.Dynamics.CRM.totalrecordcount")
        {
            let total = collection
                .count
                .and_then(|count| i64::try_from(count).ok())
                .unwrap_or(-1);
            answer.put("@Microsoft.Dynamics.CRM.totalrecordcount", &total);
        }
        if preferences
            .annotations
            .includes("Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded")
        {
            let exceeded = collection.count == Some(COUNT_CEILING);
            answer.put("@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded", &exceeded);
        }
        let link = if until < collection.items.len() {
            Some(("@odata.nextLink", self.issue_page(table, collection, until, number + 1)))
        } else {
            let link = collection
                .tracked_from
                .and_then(|version| self.issue_delta(table, collection, version));
            link.filter(|_| !preferences.annotations.any())
                .map(|link| ("@odata.deltaLink", link))
        };
        // Both orders of link and rows occur; readers must not depend on one.
        let link_first = self.switches.delta_link_before_value && collection.tracked_from.is_some();
        if !link_first {
            answer.put("value", &values);
        }
        if let Some((name, link)) = link {
            answer.put(name, &link);
        }
        if link_first {
            answer.put("value", &values);
        }
        Ok(answer)
    }

    fn item(
        &self,
        view: &View<'_>,
        table: &Table,
        item: &Item,
        collection: &Collection,
        preferences: &Preferences,
    ) -> Option<Object> {
        let row = match item {
            Item::Row(id) => view.row(table.name, *id)?,
            Item::Seen(row) => row,
            Item::Deleted(id) => {
                let context = format!("{}/$metadata#{}/$deletedEntity", self.root(), table.set);
                let gone = Object::default()
                    .with("@odata.context", &context)
                    .with("id", &id.to_string());
                return Some(gone.with("reason", "deleted"));
            }
        };
        let annotations = &preferences.annotations;
        Some(self.shape(view, table, row, &collection.projection, annotations, Object::default()))
    }

    fn issue_page(&mut self, table: &Table, collection: &Collection, from: usize, number: usize) -> String {
        let tracking = if collection.tracked_from.is_some() {
            "True"
        } else {
            "False"
        };
        let position = Uuid::new_v4();
        let token = format!(
            "%3Ccookie%20pagenumber=%22{number}%22%20pagingcookie=%22%253ccookie%2520page%253d%2522{position}%2522%2520%252f%253e%22%20istracking=%22{tracking}%22%20/%3E"
        );
        let query = appended(&collection.query, "$skiptoken", &token);
        let link = format!("{}/{}?{query}", self.root(), table.set);
        self.pages
            .0
            .insert((table.set, query), (collection.clone(), from, number));
        link
    }
}

/// Appends an option to a query as it was sent.
pub(super) fn appended(query: &str, option: &str, value: &str) -> String {
    let separator = if query.is_empty() { "" } else { "&" };
    format!("{query}{separator}{option}={value}")
}

fn matching<'a>(view: &'a View<'_>, table: &Table, filter: Option<&Filter>) -> Vec<&'a Arc<Row>> {
    let value = |row: &Row, property: &str| {
        table
            .property(property)
            .and_then(|column| row.get(column.name))
            .cloned()
    };
    let accepted = |row: &&Arc<Row>| filter.is_none_or(|filter| filter.accepts(&|property| value(row, property)));
    view.table(table.name).filter(accepted).collect()
}

/// Sorts by the asked columns, nulls first; rows that tie stay in the order of their ids.
fn sort(rows: &mut [&Arc<Row>], order: &[(&'static str, bool)]) {
    rows.sort_by(|left, right| {
        let mut order = order.iter().map(|(column, descending)| {
            let ascending = match (left.get(column), right.get(column)) {
                (Some(left), Some(right)) => compare(left, right).unwrap_or(std::cmp::Ordering::Equal),
                (left, right) => left.is_some().cmp(&right.is_some()),
            };
            if *descending { ascending.reverse() } else { ascending }
        });
        order
            .find(|ordering| ordering.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
}
