//! The controllers' API: one table of operations ([`operation`]), served over HTTP and over NATS.
//!
//! ```text
//!  HTTP  GET /v1/apps          ─ token ─▶ caller ┐
//!  NATS  api.<role>.<user>.<operation> ─▶ caller ┴▶ perform(operation, input) ─▶ Records ─▶ KV, bus
//! ```
//! Both ways an operation takes one JSON object (path, query and body of a request are its members) and
//! gives JSON or a report. Any controller answers any request: they hold nothing of their own, and a
//! change is a compare-and-set on the desired state, as the command line would make it.
//!
//! | module | holds |
//! |---|---|
//! | [`operation`] | the table: names, routes, roles, shapes |
//! | [`schema`], [`openapi`] | the shapes as JSON Schema, and the OpenAPI document made of the table |
//! | [`caller`] | who asks, in which role |
//! | [`perform`] | what each operation does |
//! | [`bus`], [`http`] | the two ways in |
//!
//! Tasks: *api* (requests over NATS, with one task each), *api http* (connections, with one task each).

pub mod bus;
pub mod caller;
pub mod http;
pub mod openapi;
pub mod operation;
pub mod perform;
pub mod schema;

use crate::aged::Held;
use crate::records::Records;
use lattice_io::{Clock, Events};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the API listens besides NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// What operations work on.
pub struct Api {
    /// The lattice's records.
    pub records: Records,
    /// Why no application may be changed, if so.
    held: Held,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Whose events tell of changes: this controller's NATS user.
    pub origin: String,
    /// Refusals, which nobody waits for.
    pub events: Events,
    /// This start of the process.
    boot_id: String,
    count: AtomicU64,
}

impl Api {
    /// Of one controller.
    #[must_use]
    pub fn new(
        (records, held): (Records, Held),
        clock: Arc<dyn Clock>,
        (origin, boot_id): (String, String),
        events: Events,
    ) -> Self {
        Self { records, held, clock, origin, events, boot_id, count: AtomicU64::new(0) }
    }

    /// An id for an event, used once.
    fn event_id(&self) -> String {
        format!("{}-api-{}", self.boot_id, self.count.fetch_add(1, Ordering::Relaxed))
    }
}
