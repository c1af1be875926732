//! A provider over the lattice, in memory and on a real nats-server: the faults that an actor must
//! get as typed errors, and the rights of a provider's NATS user.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a panic is how they fail")]

mod faults;
mod rights;
mod support;
