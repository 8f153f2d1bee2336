//! Simulators of the systems the connector talks to, and the `World` that starts them with the compiled functions.
//!
//! Nothing here imports the connector's own crates: the simulators are written from the vendors' documents alone, so
//! that a test passes because the system is right and not because both sides share a mistake.

pub mod aws;
pub mod clock;
pub mod dataverse;
pub mod entra;
pub mod lambda;
pub mod partner_center;
pub mod screen;
pub mod switchboard;
pub mod vendors;
pub mod world;
