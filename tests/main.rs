//! The end-to-end tests: everything here goes through the real binary, over real sockets, with real guests.
//!
//! | module | asks |
//! |---|---|
//! | [`cluster`] | (the harness: starts runtimes in a folder of their own, waits for their lines, ends them) |
//! | [`layout`] | who may name what, and who depends on whom |
//!
//! No test sleeps: each waits for a line, an exit or an answer, with a generous limit. Guests come from
//! `guests/build.sh`; a missing one fails with what to run.

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod layout;
