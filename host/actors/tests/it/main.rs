//! A host's persistent actors over a real journal in a real directory, with guests that are plain
//! Rust: what is acknowledged is there after every end, and nothing happens twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod balance;
mod checkpoints;
mod copies;
mod crashes;
mod deletion;
mod domains;
mod effects;
mod erasure;
mod forward;
mod fuse;
mod lattice;
mod leases;
mod retention;
mod standby;
mod standing;
mod support;
mod turns;
mod upkeep;
