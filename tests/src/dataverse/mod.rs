//! A strict simulator of the Dataverse Web API, as far as opportunities and their neighbours go.
//!
//! Knows: rows, versions, preconditions, queries, change tracking, the state model, and how the real service can be
//! unpleasant. Refuses to know: the connector. Guarantee: whatever the vendor's documents do not describe is refused, so
//! that a client cannot come to depend on a kindness of the simulator. Where the documents leave a choice, the one that
//! is harder for a client is taken, or a switch on [`Dataverse`] turns it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::clock::Clock;
use crate::switchboard::Switchboard;

use address::{Arguments, check_key_value, guid, unquote};
use cell::Cell;
use customize::History;
use paging::Pages;
use roles::Roles;
use rows::{Store, View};
use schema::Table;
use tracking::Deltas;

mod address;
mod body;
mod cell;
mod close;
mod components;
mod control;
mod control_web;
mod customize;
mod definition;
mod filter;
mod foreign;
mod limits;
mod metadata;
mod neighbours;
mod paging;
mod preconditions;
mod prefer;
mod qualify;
mod query;
mod refusal;
mod relationships;
mod roles;
mod rows;
mod schema;
pub mod seed;
mod shape;
mod states;
mod switches;
mod tables;
#[cfg(test)]
mod tests;
mod tracking;
mod web;
mod write;

pub use body::Changes;
pub use foreign::Own;
pub use limits::{Limit, throttled};
pub use refusal::Refusal;
pub use roles::Depth;

use switches::Switches;

/// Whether the bearer of an `Authorization` header may enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The token is good and its application user exists.
    Granted,
    /// No token, or one that is not valid here: 401.
    Unauthorized,
    /// A valid token without an application user: 403.
    NotAMember,
}

/// What is installed in an environment before anybody looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crm {
    /// The columns, the key and the table of the co-sell solution.
    #[default]
    WithCoSell,
    /// Nothing but what Microsoft delivers; change tracking is off.
    Plain,
}

/// Judges the `Authorization` header of each request.
pub type Authorize = Arc<dyn Fn(Option<&str>) -> Access + Send + Sync>;

/// A simulated environment. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Dataverse {
    environment: Arc<Mutex<Environment>>,
    authorize: Authorize,
    url: Arc<OnceLock<String>>,
    /// Held while a customization runs; there is never more than one.
    customizing: Arc<tokio::sync::Mutex<()>>,
}

impl Dataverse {
    /// Starts a freshly seeded environment on `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(
        switchboard: &Switchboard,
        clock: &Clock,
        address: SocketAddr,
        authorize: Authorize,
    ) -> std::io::Result<Self> {
        Self::start_with(switchboard, clock, address, authorize, Crm::default()).await
    }

    /// Starts an environment as Microsoft delivers it: no co-sell columns, no key, no table, change tracking off.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start_plain(
        switchboard: &Switchboard,
        clock: &Clock,
        address: SocketAddr,
        authorize: Authorize,
    ) -> std::io::Result<Self> {
        Self::start_with(switchboard, clock, address, authorize, Crm::Plain).await
    }

    /// Starts a freshly seeded environment in which this is installed.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start_with(
        switchboard: &Switchboard,
        clock: &Clock,
        address: SocketAddr,
        authorize: Authorize,
        crm: Crm,
    ) -> std::io::Result<Self> {
        let mut environment = Environment::new(clock.clone());
        if crm == Crm::Plain {
            environment.schema.strip();
            environment.roles.strip();
        }
        environment.seed(crm).map_err(std::io::Error::other)?;
        let dataverse = Self {
            environment: Arc::new(Mutex::new(environment)),
            authorize,
            url: Arc::default(),
            customizing: Arc::default(),
        };
        let router = Router::new().fallback(web::handle).with_state(dataverse.clone());
        let bound = switchboard.serve("dataverse", address, router).await?;
        let url = format!("http://{bound}");
        dataverse.environment().url.clone_from(&url);
        let _ = dataverse.url.set(url);
        Ok(dataverse)
    }

    /// Root of the environment, without a path; the API is under `/api/data/v9.2/`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.get().cloned().unwrap_or_default()
    }

    fn environment(&self) -> MutexGuard<'_, Environment> {
        self.environment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authorize(&self, authorization: Option<&str>) -> Access {
        (self.authorize)(authorization)
    }
}

/// Everything the simulator holds.
struct Environment {
    clock: Clock,
    url: String,
    schema: Schema,
    store: Store,
    switches: Switches,
    pages: Pages,
    deltas: Deltas,
    roles: Roles,
    history: History,
}

/// The tables, shared so that a request keeps its definition while it changes rows.
struct Schema(Vec<Arc<Table>>);

impl Schema {
    fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.0.iter().find(|table| table.name == name)
    }

    fn set(&self, set: &str) -> Option<Arc<Table>> {
        self.0.iter().find(|table| table.set == set).cloned()
    }

    fn get(&self, name: &str) -> Result<Arc<Table>, Refusal> {
        self.table(name).cloned().ok_or_else(|| Refusal::no_segment(name))
    }

    fn named_mut(&mut self, name: &str) -> Option<&mut Table> {
        let found = self.0.iter_mut().find(|table| table.name == name || table.set == name);
        found.map(Arc::make_mut)
    }

    /// Takes out what the co-sell solution brings.
    fn strip(&mut self) {
        self.0.retain(|table| !tables::is_co_sell(table.name));
        self.alter(|table| {
            table.columns.retain(|column| !tables::is_co_sell(column.name));
            table.keys.retain(|key| !tables::is_co_sell(key.column));
            table.tracked = false;
        });
    }

    /// Applies a change to each definition.
    fn alter(&mut self, change: impl Fn(&mut Table)) {
        for table in &mut self.0 {
            change(Arc::make_mut(table));
        }
    }
}

/// The address of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Id(Uuid),
    Alternate { column: &'static str, value: String },
}

impl Key {
    /// The refusal for a row that is not there.
    fn missing(&self, table: &Table) -> Refusal {
        match self {
            Self::Id(id) => Refusal::no_row(table.name, *id),
            Self::Alternate { .. } => Refusal::no_row_by_key(table.name),
        }
    }
}

impl Environment {
    fn new(clock: Clock) -> Self {
        Self {
            clock,
            url: String::new(),
            schema: Schema(tables::all().into_iter().map(Arc::new).collect()),
            store: Store::new(),
            switches: Switches::default(),
            pages: Pages::default(),
            deltas: Deltas::default(),
            roles: Roles::default(),
            history: History::default(),
        }
    }

    /// Root of the API, without a slash at the end.
    fn root(&self) -> String {
        format!("{}/api/data/v9.2", self.url)
    }

    /// Now, in whole seconds as rows keep it.
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// What readers see, which may lag behind what was written.
    fn view(&self) -> View<'_> {
        let lag = self.switches.stale_reads;
        if lag == Duration::ZERO {
            return self.store.present();
        }
        let lag = SignedDuration::try_from(lag).unwrap_or(SignedDuration::MAX);
        self.store
            .past(self.clock.now().checked_sub(lag).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// Understands the parentheses behind a set.
    fn key(&self, table: &Table, arguments: &Arguments) -> Result<Key, Refusal> {
        let unknown = || {
            let message = format!(
                "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.{}'.",
                table.name
            );
            Refusal::bad("0x80060890", message)
        };
        let (name, literal) = match arguments {
            Arguments::Plain(literal) => (table.key, literal),
            Arguments::Named(pairs) => match pairs.as_slice() {
                [(name, literal)] => (name.as_str(), literal),
                _ => return Err(unknown()),
            },
        };
        if name == table.key {
            let id = guid(literal).ok_or_else(|| Refusal::query(format!("'{literal}' is not a GUID.")))?;
            return Ok(Key::Id(id));
        }
        let key = table
            .keys
            .iter()
            .find(|key| key.column == name && key.is_active())
            .ok_or_else(unknown)?;
        let value = unquote(literal).ok_or_else(|| Refusal::query(format!("{literal} is not a text in quotes.")))?;
        check_key_value(&value)?;
        Ok(Key::Alternate {
            column: key.column,
            value,
        })
    }

    /// The row behind an address, as a view shows it.
    fn find(&self, view: &View<'_>, table: &Table, key: &Key) -> Option<Uuid> {
        match key {
            Key::Id(id) => view.row(table.name, *id).map(|row| row.id),
            Key::Alternate { column, value } => {
                let holds = |text: &str| text.to_lowercase() == value.to_lowercase();
                view.table(table.name)
                    .find(|row| row.get(column).and_then(Cell::text).is_some_and(holds))
                    .map(|row| row.id)
            }
        }
    }
}

/// The usual refusal of HTTP for a status given as a number; anything else keeps the default.
fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)
}
