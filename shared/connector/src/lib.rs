//! The outside of the co-sell connector: settings, HTTP, the vendors' clients, the ledger, the queue and the driver.
//!
//! Knows every remote and how it fails. Refuses to decide anything about a deal: that is `cosell`'s. The driver may use
//! every module; the clients, the ledger and the queue never use one another.

pub mod aws;
pub mod backfill;
pub mod breaker;
pub mod commands;
pub mod connector;
pub mod dataverse;
pub mod driver;
pub mod entra;
pub mod http;
pub mod ledger;
pub mod partner_center;
pub mod poll;
pub mod queue;
pub mod registration_api;
pub mod secrets;
pub mod settings;
pub mod show;

#[cfg(test)]
mod testing;
