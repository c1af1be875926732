//! One conformance suite over both implementations: each case of [`bus`], [`kv`], [`blobs`],
//! [`streams`], [`logs`] and [`lanes`] runs in memory and on a real nats-server, reached through a proxy that can be cut.
//! What is stored in a JetStream domain is stored in that of a hub too, from a site that has one of its own.
//! What only a server has is in [`server`], what only domains have in [`domains`].

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a panic is how they fail")]

mod blobs;
mod bus;
mod domains;
mod kv;
mod lanes;
mod logs;
mod server;
mod streams;
mod tls;

use anyhow::{Result, ensure};
use lattice_io::bus::BusStatus;
use lattice_io::memory::Memory;
use lattice_io::nats::{self, NatsLattice, NatsOptions};
use lattice_io::{Lattice, Subscription};
use std::sync::Arc;
use std::time::Duration;
use tests_harness::{ChaosProxy, NatsServer, Site, SiteOptions, eventually};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// Long enough to show that nothing comes, where nothing must.
pub const BRIEFLY: Duration = Duration::from_millis(100);

/// A lattice, and the means to take it away.
pub struct Fixture {
    pub lattice: Lattice,
    backend: Backend,
}

enum Backend {
    Memory(Memory),
    Nats { proxy: ChaosProxy, _server: Box<NatsServer>, _client: Arc<NatsLattice> },
    Far { proxy: ChaosProxy, _site: Box<Site>, _client: Arc<NatsLattice> },
}

impl Fixture {
    pub fn memory() -> Self {
        let memory = Memory::new();
        Self { lattice: memory.lattice(), backend: Backend::Memory(memory) }
    }

    pub async fn nats() -> Result<Self> {
        let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
        let proxy = ChaosProxy::start(server.address()).await?;
        let client = nats::connect(NatsOptions::new(format!("nats://{}", proxy.address()))).await?;
        let lattice = client.lattice();
        Ok(Self { lattice, backend: Backend::Nats { proxy, _server: Box::new(server), _client: client } })
    }

    /// At a site, in the hub's domain: what can be taken away is the site's server.
    pub async fn far() -> Result<Self> {
        let site = Site::start(SiteOptions::default()).await?;
        let proxy = ChaosProxy::start(site.site.address()).await?;
        let client = nats::connect(NatsOptions::new(format!("nats://{}", proxy.address()))).await?;
        let lattice = client.lattice().in_domain(&"hub".parse()?);
        eventually(SOON, "the hub from the site", || async { Ok(lattice.domains.check().await?) }).await?;
        Ok(Self { lattice, backend: Backend::Far { proxy, _site: Box::new(site), _client: client } })
    }

    /// Is the lattice in another domain than that of its server?
    pub fn is_far(&self) -> bool {
        matches!(self.backend, Backend::Far { .. })
    }

    /// Takes the server away, and returns when the client has noticed.
    pub async fn cut(&self) -> Result<()> {
        match &self.backend {
            Backend::Memory(memory) => memory.set_connected(false),
            Backend::Nats { proxy, .. } | Backend::Far { proxy, .. } => proxy.cut(),
        }
        self.wait_for(BusStatus::Disconnected).await
    }

    /// Gives it back, and returns when the client is there again.
    pub async fn heal(&self) -> Result<()> {
        match &self.backend {
            Backend::Memory(memory) => memory.set_connected(true),
            Backend::Nats { proxy, .. } | Backend::Far { proxy, .. } => proxy.heal(),
        }
        self.wait_for(BusStatus::Connected).await
    }

    async fn wait_for(&self, wanted: BusStatus) -> Result<()> {
        let bus = &self.lattice.bus;
        eventually(SOON, "the connection to change", || async {
            let now = *bus.status().borrow();
            ensure!(now == wanted, "{now:?}");
            Ok(())
        })
        .await
    }
}

/// The next message, which must come.
pub async fn next(subscription: &mut Subscription) -> lattice_io::BusMessage {
    tokio::time::timeout(SOON, subscription.next()).await.expect("a message in time").expect("a live bus")
}

/// Runs each case on both implementations; of what is in a domain, also in that of a hub from a site.
#[macro_export]
macro_rules! conformance {
    (in a domain: $($case:ident,)*) => {
        $crate::conformance! { $($case,)* }
        mod far {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&$crate::Fixture::far().await.unwrap()).await.unwrap();
            })*
        }
    };
    ($($case:ident,)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&$crate::Fixture::memory()).await.unwrap();
            })*
        }
        mod nats {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&$crate::Fixture::nats().await.unwrap()).await.unwrap();
            })*
        }
    };
}
