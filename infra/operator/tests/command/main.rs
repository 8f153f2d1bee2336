//! The compiled command against simulated vendors and a simulated cloud, as an admin would use it.
//!
//! Knows: what is typed, what is seen, what is left behind. Refuses to know: the command's insides. Guarantee: whatever
//! is printed in any of these tests was searched for every secret of its world.

mod columns;
mod consent;
mod credentials;
mod doctor;
mod place;
mod registration;
mod words;
