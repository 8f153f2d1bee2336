//! The pure core of the co-sell connector: what a deal is, how its two copies are merged, what has to be done next.
//!
//! Knows: referrals, opportunities, the mapping between them, both life cycles, the ledger's records, the commit protocol,
//! what events say and how the vendors are polled. Refuses to know: clocks, networks, storage, logging, the environment.
//! Everything it needs is an argument, everything it wants is a value it returns, or is asked of the ports it is lent
//! ([`poll`]).

pub mod amount;
pub mod deal;
pub mod fault;
pub mod finding;
pub mod hint;
pub mod ids;
pub mod link;
pub mod mapping;
pub mod merge;
pub mod notice;
pub mod opportunity;
pub mod order;
pub mod plan;
pub mod policy;
pub mod poll;
pub mod reconcile;
pub mod referral;
pub mod stage;

#[cfg(test)]
mod foreign;
