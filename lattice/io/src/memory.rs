//! All traits inside one process, with the meaning they have on a server: queue groups, wildcards,
//! no-responders, revisions, watches, durable consumers.
//!
//! It serves `trellis run` (the embedded default), tests and simulations. Nothing survives the
//! process. [`Memory::set_connected`] takes the server away from its clients and gives it back, as
//! an uplink does.
//!
//! State is behind short locks that are never held across an await; every change under a lock is
//! complete in itself, so a panicking caller leaves nothing half-done.

mod blobs;
mod bus;
mod domain;
mod kv;
mod lane;
mod log;
mod stream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::Lattice;
use crate::bus::{BusError, BusStatus};

/// What `Disconnected` names as the server.
const SERVER: &str = "in-process bus";
/// Largest message unless told otherwise, as a server has it: bytes.
pub const DEFAULT_MAX_PAYLOAD: usize = 1 << 20;

/// An in-process lattice. Clones are handles to the same one.
#[derive(Clone)]
pub struct Memory {
    link: Link,
    lattice: Lattice,
}

impl Memory {
    /// A lattice of nothing, that takes messages of up to 1 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_payload(DEFAULT_MAX_PAYLOAD)
    }

    /// A lattice of nothing, that takes messages (headers and body) of up to this many bytes.
    #[must_use]
    pub fn with_max_payload(max_payload: usize) -> Self {
        let link = Link { status: Arc::new(watch::Sender::new(BusStatus::Connected)) };
        let core = Arc::new(stream::Core::new(link.clone(), max_payload));
        let lattice = Lattice {
            bus: Arc::new(bus::MemoryBus::new(core.clone())),
            kv: Arc::new(kv::MemoryKv::new(link.clone(), max_payload)),
            blobs: Arc::new(blobs::MemoryBlobs::new(link.clone())),
            streams: Arc::new(stream::MemoryStreams::new(core)),
            logs: Arc::new(log::MemoryLogs::new(link.clone())),
            lanes: Arc::new(lane::MemoryLanes::new(link.clone())),
            domains: Arc::new(domain::MemoryDomains::new(link.clone())),
        };
        Self { link, lattice }
    }

    /// The traits.
    #[must_use]
    pub fn lattice(&self) -> Lattice {
        self.lattice.clone()
    }

    /// Takes the server away (`false`) or gives it back. A closed lattice stays closed.
    pub fn set_connected(&self, connected: bool) {
        let to = if connected { BusStatus::Connected } else { BusStatus::Disconnected };
        self.link.status.send_if_modified(|status| {
            let change = *status != BusStatus::Closed && *status != to;
            if change {
                *status = to;
            }
            change
        });
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether clients reach the server.
#[derive(Clone)]
struct Link {
    status: Arc<watch::Sender<BusStatus>>,
}

impl Link {
    fn check(&self) -> Result<(), BusError> {
        match *self.status.borrow() {
            BusStatus::Connected => Ok(()),
            BusStatus::Disconnected => Err(BusError::Disconnected { server: SERVER.to_owned() }),
            BusStatus::Closed => Err(BusError::Closed),
        }
    }

    /// Waits for something new; none when the server is lost before.
    async fn awaits(&self, grown: impl Future<Output = ()>) -> Option<()> {
        let mut status = self.status.subscribe();
        tokio::select! {
            () = grown => Some(()),
            // An error says that the lattice itself is gone.
            _ = status.wait_for(|status| *status != BusStatus::Connected) => None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
