//! All traits over a NATS server with JetStream.
//!
//! The connection is kept for ever: it reconnects with jittered pauses, and
//! [`NatsOptions::background`] lets it be made in the background, so that a host starts offline.
//! Nothing is queued while it is down (see [`crate::bus`]); subscriptions come back with it, and
//! watches read everything again.
//!
//! JetStream is spoken directly over requests of this connection ([`core`]): each has a timeout,
//! fails at once when the connection is down or the server denies it, and tells "did not happen"
//! from "not known". Names on the wire are those of other NATS clients (`KV_`, `$KV.`, `OBJ_`), so
//! the usual tools can look into a lattice.

mod blobs;
mod buckets;
mod bus;
mod connect;
mod core;
mod domain;
mod keeping;
mod kv;
mod lane;
mod log;
mod making;
mod stream;
mod watch;

pub use connect::{ConnectError, NatsAuth, NatsOptions, NatsTls, connect};

use crate::Lattice;
use crate::bus::BusStatus;
use std::sync::Arc;

/// What the server says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatsServerInfo {
    /// Its identity.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version, such as `2.15.1`.
    pub version: String,
    /// Its JetStream domain.
    pub domain: Option<String>,
    /// Has it JetStream?
    pub jetstream: bool,
    /// Largest message, bytes.
    pub max_payload: usize,
    /// The client's address as the server sees it.
    pub client_address: String,
}

/// All traits, over one connection and in one domain.
fn lattice_of(core: &Arc<core::Core>) -> Lattice {
    Lattice {
        bus: Arc::new(bus::NatsBus::new(core.clone())),
        kv: Arc::new(buckets::NatsKv::new(core.clone())),
        blobs: Arc::new(blobs::NatsBlobs::new(core.clone())),
        streams: Arc::new(stream::NatsStreams::new(core.clone())),
        logs: Arc::new(log::NatsLogs::new(core.clone())),
        lanes: Arc::new(lane::NatsLanes::new(core.clone())),
        domains: Arc::new(domain::NatsDomains::new(core.clone())),
    }
}

/// A connection to a lattice.
pub struct NatsLattice {
    core: Arc<core::Core>,
    lattice: Lattice,
}

impl NatsLattice {
    fn new(core: Arc<core::Core>) -> Self {
        let lattice = lattice_of(&core);
        Self { core, lattice }
    }

    /// The traits.
    #[must_use]
    pub fn lattice(&self) -> Lattice {
        self.lattice.clone()
    }

    /// What the server said when it was connected to last; none before the first connection.
    #[must_use]
    pub fn server_info(&self) -> Option<NatsServerInfo> {
        let info = self.core.client.try_server_info()?;
        Some(NatsServerInfo {
            id: info.server_id,
            name: info.server_name,
            version: info.version,
            domain: info.domain.filter(|domain| !domain.is_empty()),
            jetstream: info.jetstream,
            max_payload: info.max_payload,
            client_address: info.client_ip,
        })
    }

    /// The server's address, without credentials.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.core.server
    }

    /// Waits until it is connected; `false` when it was closed instead.
    pub async fn connected(&self) -> bool {
        let mut status = self.lattice.bus.status();
        // The sender lives in `core`.
        let settled = status.wait_for(|status| *status != BusStatus::Disconnected).await;
        settled.is_ok_and(|status| *status == BusStatus::Connected)
    }

    /// Sends what is under way and closes for good.
    pub async fn close(&self) {
        self.lattice.bus.close().await;
    }
}
