//! The function seen from outside: posts go in; answers and the state of the queue are looked at.

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod receiving;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod world;
