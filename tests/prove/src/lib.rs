//! Proof by many seeds: whole lives of deals, with people, workers, events and polls in any order and every kind of mishap.
//!
//! Knows: how a run is judged, and which mistakes have to be noticed. Refuses to know: how the core keeps its promises.
//! Guarantee: a seed that breaks a promise is named, and plays the same run again with all that happened told.

pub mod play;

use std::panic::AssertUnwindSafe;

use model::world::Bug;

use self::play::Play;

/// Seeds within which each known mistake has to be noticed.
pub const WITHIN: u64 = 200;

/// Every fourth run has no mishaps: in it both sides agree before any sweep.
#[must_use]
pub const fn is_calm(seed: u64) -> bool {
    seed.is_multiple_of(4)
}

/// Plays the run of a seed, with a known mistake if one is named, and judges it. What the world asserts counts as well.
///
/// # Errors
/// What does not hold.
pub fn judge(seed: u64, bug: Option<Bug>, traced: bool) -> (Play, Result<(), String>) {
    // Whoever takes an edit for an echo is late until the next sweep: it shows where nothing else keeps an edit back.
    let is_calm = bug.map_or(is_calm(seed), |bug| bug == Bug::EchoByAuthor);
    let mut play = Play::new(seed, bug, is_calm, traced);
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| play.play())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default())
    });
    (play, result)
}
