//! The controllers' API on a lattice in memory, with a controller that really runs and hosts that only
//! speak: every operation over HTTP and over NATS' subjects, held against the OpenAPI document; who may
//! do what; what bad requests are told; the stream.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it is"
)]

mod bad_requests;
mod document;
mod lab;
mod people;
mod schema;
mod streams;
