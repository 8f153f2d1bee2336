//! Change tracking: the first synchronisation, delta links, and how they end.
//!
//! Knows: issued delta links and from which version each starts. Refuses to know: paging (see `paging`). Guarantee: a
//! change that commits while a set is being paged is part of the next set.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::Environment;
use super::paging::{Collection, Item, appended};
use super::query::Options;
use super::refusal::Refusal;
use super::rows::{Event, View};
use super::schema::Table;
use super::seed;

#[derive(Clone, Debug)]
struct Issued {
    table: &'static str,
    token: String,
    version: i64,
    at: Timestamp,
    /// Query of the first request, which the next link repeats.
    query: String,
    expired: bool,
}

/// The delta links that were issued, by set and query.
#[derive(Debug, Default)]
pub(super) struct Deltas(HashMap<(&'static str, String), Issued>);

impl Deltas {
    pub(super) fn expire_all(&mut self) {
        for issued in self.0.values_mut() {
            issued.expired = true;
        }
    }
}

impl Environment {
    /// Decides what a tracked request is answered: every row, or the changes since its token.
    pub(super) fn tracked_collection(
        &self,
        table: &Table,
        query: &str,
        options: &Options,
    ) -> Result<Collection, Refusal> {
        if !table.tracked {
            let message = format!("Entity {} isn't enabled for change tracking.", table.name);
            return Err(Refusal::bad("0x80072491", message));
        }
        let refused = [
            ("$filter", &options.filter),
            ("$orderby", &options.order),
            ("$expand", &options.expand),
            ("$top", &options.top),
            ("$count", &options.count),
        ];
        if let Some((name, _)) = refused.iter().find(|(_, option)| option.is_some()) {
            let message = format!("The \"{name}\" query parameter isn't supported when Change Tracking is enabled.");
            return Err(Refusal::query(message));
        }
        let projection = self.projection(table, options.select.as_deref(), None)?;
        let view = self.view();
        let (items, first_query, delta): (Vec<Item>, String, bool) = match &options.delta_token {
            None => (
                view.table(table.name).map(|row| Item::Row(row.id)).collect(),
                query.to_owned(),
                false,
            ),
            Some(_) => {
                let issued = self.deltas.0.get(&(table.set, query.to_owned())).ok_or_else(|| {
                    Refusal::query("The delta link is not one that was issued; it must be followed unchanged.")
                })?;
                self.check_age(issued)?;
                (self.changes(&view, table, issued.version), issued.query.clone(), true)
            }
        };
        Ok(Collection {
            items: items.into(),
            projection,
            query: first_query,
            count: None,
            tracked_from: Some(view.version),
            delta,
        })
    }

    /// How many changes a token would bring.
    pub(super) fn count_changes(&self, table: &Table, token: &str) -> Result<usize, Refusal> {
        let issued = self
            .deltas
            .0
            .values()
            .find(|issued| issued.table == table.name && issued.token == token);
        let issued = issued.ok_or_else(|| Refusal::query("The delta token is not one that was issued."))?;
        self.check_age(issued)?;
        Ok(self.changes(&self.view(), table, issued.version).len())
    }

    fn check_age(&self, issued: &Issued) -> Result<(), Refusal> {
        let organization = self.store.row("organization", seed::ORGANIZATION);
        let days = organization
            .and_then(|row| row.whole("expirechangetrackingindays"))
            .unwrap_or(7);
        let age = self.clock.now().duration_since(issued.at);
        if issued.expired || age > SignedDuration::from_hours(24 * days) {
            let message = "Version stamp associated with the client has expired. Please perform a full sync.";
            return Err(Refusal::new(self.switches.expired_status, "0x80044352", message));
        }
        Ok(())
    }

    /// Rows written and removed after a version: writes by version, then removals.
    fn changes(&self, view: &View<'_>, table: &Table, version: i64) -> Vec<Item> {
        let events: Vec<&Event> = view
            .after(version)
            .iter()
            .filter(|event| event.table == table.name)
            .collect();
        let (mut written, mut removed) = (Vec::new(), Vec::new());
        for (index, event) in events.iter().enumerate() {
            let later = events.iter().skip(index + 1).any(|later| later.id == event.id);
            match &event.row {
                Some(row) if !later => {
                    if self.switches.repeat_rows_in_delta {
                        written.push(Item::Seen(Arc::clone(row)));
                    }
                    written.push(Item::Seen(Arc::clone(row)));
                }
                Some(row) if self.switches.repeat_rows_in_delta => written.push(Item::Seen(Arc::clone(row))),
                None if !later => removed.push(Item::Deleted(event.id)),
                Some(_) | None => {}
            }
        }
        written.extend(removed);
        if self.switches.reverse_delta {
            // A row's own states keep their order; only the rows change places.
            let last: HashMap<Uuid, usize> = written.iter().map(Item::id).zip(0..).collect();
            written.sort_by_key(|item| Reverse(last.get(&item.id()).copied()));
        }
        written
    }

    /// Issues the link to the changes after a version; none when the fault of leaving it out is switched on.
    pub(super) fn issue_delta(&mut self, table: &Table, collection: &Collection, version: i64) -> Option<String> {
        if self.switches.omit_delta_link {
            return None;
        }
        let at = self.clock.now();
        let token = format!("{version}!{}", at.strftime("%m/%d/%Y %H:%M:%S"));
        let encoded = token
            .replace('!', "%21")
            .replace('/', "%2f")
            .replace(' ', "%20")
            .replace(':', "%3a");
        let query = appended(&collection.query, "$deltatoken", &encoded);
        let issued = Issued {
            table: table.name,
            token,
            version,
            at,
            query: collection.query.clone(),
            expired: false,
        };
        self.deltas.0.insert((table.set, query.clone()), issued);
        Some(format!("{}/{}?{query}", self.root(), table.set))
    }
}
