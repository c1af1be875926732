//! The runtime as a daemon uses it: real signed components, real links, providers in memory.
//!
//! The guests are built first (`tests_harness::fixtures`); each is compiled once for all tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod commands;
mod hot_path;
mod http_client;
mod keyvalue;
mod messaging;
mod persistent;
mod support;
mod typed;
mod values;
