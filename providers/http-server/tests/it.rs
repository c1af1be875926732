//! The listener as the network meets it: real sockets, well-behaved and hostile clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

#[path = "it/http1.rs"]
mod http1;
#[path = "it/http2.rs"]
mod http2;
#[path = "it/serving.rs"]
mod serving;
#[path = "it/support.rs"]
mod support;
