//! DynamoDB, played by the embedded emulator on an in-memory database.
//!
//! Knows: which operations exist and how an error body and its status look. Refuses to know: any table of ours.
//! Guarantee: time to live and token expiry follow the world's clock, not the machine's.

use std::sync::Arc;

use dynoxide::{Database, DynoxideError};
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;

/// All tables of the account.
pub(super) struct Tables {
    database: Database,
}

/// What DynamoDB says when it refuses.
pub(super) struct TableRefusal {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

impl From<DynoxideError> for TableRefusal {
    fn from(error: DynoxideError) -> Self {
        let status = StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            body: error.to_json(),
        }
    }
}

struct DatabaseClock(Clock);

impl dynoxide::storage_backend::Clock for DatabaseClock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from(self.0.now().as_second()).unwrap_or_default()
    }

    fn now_unix_secs_f64(&self) -> f64 {
        self.0.now().as_duration().as_secs_f64()
    }
}

impl Tables {
    pub(super) fn open(clock: Clock) -> std::io::Result<Self> {
        let database = Database::memory_with_clock(Arc::new(DatabaseClock(clock))).map_err(std::io::Error::other)?;
        Ok(Self { database })
    }

    /// Runs one operation on its JSON input.
    pub(super) fn run(&self, operation: &str, input: &str) -> Result<String, TableRefusal> {
        let db = &self.database;
        match operation {
            "CreateTable" => typed(input, |request| db.create_table(request)),
            "DeleteTable" => typed(input, |request| db.delete_table(request)),
            "DescribeTable" => typed(input, |request| db.describe_table(request)),
            "UpdateTable" => typed(input, |request| db.update_table(request)),
            "ListTables" => typed(input, |request| db.list_tables(request)),
            "PutItem" => typed(input, |request| db.put_item(request)),
            "GetItem" => typed(input, |request| db.get_item(request)),
            "UpdateItem" => typed(input, |request| db.update_item(request)),
            "DeleteItem" => typed(input, |request| db.delete_item(request)),
            "Query" => typed(input, |request| db.query(request)),
            "Scan" => typed(input, |request| db.scan(request)),
            "BatchGetItem" => typed(input, |request| db.batch_get_item(request)),
            "BatchWriteItem" => typed(input, |request| db.batch_write_item(request)),
            "TransactGetItems" => typed(input, |request| db.transact_get_items(request)),
            "TransactWriteItems" => typed(input, |request| db.transact_write_items(request)),
            "UpdateTimeToLive" => typed(input, |request| db.update_time_to_live(request)),
            "DescribeTimeToLive" => typed(input, |request| db.describe_time_to_live(request)),
            _ => Err(TableRefusal {
                status: StatusCode::BAD_REQUEST,
                body: r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#.to_owned(),
            }),
        }
    }
}

fn typed<I: DeserializeOwned, O: Serialize>(
    input: &str,
    operation: impl FnOnce(I) -> dynoxide::Result<O>,
) -> Result<String, TableRefusal> {
    let request = serde_json::from_str(input).map_err(|error| DynoxideError::ValidationException(error.to_string()))?;
    let output = operation(request)?;
    serde_json::to_string(&output).map_err(|error| DynoxideError::InternalServerError(error.to_string()).into())
}
