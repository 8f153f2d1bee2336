//! Both vendors and the ledger in memory: where the tests of the core and `prove` run the reconcile machine.
//!
//! Knows: what the vendors keep, refuse and tell (`vendors`), and runs of the machine over it (`world`). Refuses to know:
//! what the machine should do. Guarantee: whatever must hold at every step is asserted here, so that whoever plays in
//! this world cannot forget it.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a world that is broken ends its test by panicking"
)]
#![expect(missing_docs, reason = "members are named as the vendors' documents name them")]

pub mod vendors;
pub mod world;
