//! The compiled command against simulated vendors and a simulated cloud, as an admin would use it.
//!
//! Knows: what is typed, what is seen, what is left behind. Refuses to know: the command's insides. Guarantee: whatever
//! is printed in any of these tests was searched for every secret of its world.

#[cfg(test)]
mod columns;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod deals;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod place;
#[cfg(test)]
mod registration;
#[cfg(test)]
mod words;
