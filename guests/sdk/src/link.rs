//! Choosing among several links of one interface (`wasmcloud:bus/lattice@1.0.0`).
//!
//! An actor with one link per interface never needs this. With two (a cache and a ledger, both key-value), it says
//! which before it opens:
//!
//! ```no_run
//! # fn main() -> Result<(), trellis_guest::kv::KvError> {
//! let ledger = {
//!     let _ledger = trellis_guest::link("ledger").keyvalue();
//!     trellis_guest::kv::open("accounts")?
//! };
//! # Ok(()) }
//! ```
//!
//! The choice holds until the [`LinkScope`] is dropped; then the link named `default` counts again.

use crate::bindings::bus::wasmcloud::bus::lattice;

/// The name of a link that nobody named.
const DEFAULT: &str = "default";

/// An interface to choose a link for: namespace, package and interface without version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// `wasi` in `wasi:keyvalue/store`.
    pub namespace: &'static str,
    /// `keyvalue` in `wasi:keyvalue/store`.
    pub package: &'static str,
    /// `store` in `wasi:keyvalue/store`.
    pub interface: &'static str,
}

impl Interface {
    /// An interface by its three parts.
    pub const fn new(namespace: &'static str, package: &'static str, interface: &'static str) -> Self {
        Self { namespace, package, interface }
    }
}

/// All of `wasi:keyvalue`.
const KEYVALUE: &[Interface] = &[
    Interface::new("wasi", "keyvalue", "store"),
    Interface::new("wasi", "keyvalue", "atomics"),
    Interface::new("wasi", "keyvalue", "batch"),
];
/// What publishes and asks.
const MESSAGING: &[Interface] = &[Interface::new("wasmcloud", "messaging", "consumer")];
/// What fetches.
const HTTP: &[Interface] = &[Interface::new("wasi", "http", "outgoing-handler")];

/// Persistent actors of a kind.
const ACTORS: &[Interface] = &[Interface::new("trellis", "actor", "client")];

/// A link by its name; what it is for comes next.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    name: &'a str,
}

/// The link named `name`. Nothing happens before one of its methods says for which interfaces.
pub fn link(name: &str) -> Link<'_> {
    Link { name }
}

impl Link<'_> {
    /// This link for key-value calls. Buckets keep the link they were opened through.
    pub fn keyvalue(self) -> LinkScope {
        self.interfaces(KEYVALUE)
    }

    /// This link for publishing and asking.
    pub fn messaging(self) -> LinkScope {
        self.interfaces(MESSAGING)
    }

    /// This link for [`fetch`](crate::fetch).
    pub fn http(self) -> LinkScope {
        self.interfaces(HTTP)
    }

    /// This link for [`client`](crate::client): which kind of persistent actors is asked.
    pub fn actors(self) -> LinkScope {
        self.interfaces(ACTORS)
    }

    /// This link for any interfaces, of another actor for example.
    pub fn interfaces(self, interfaces: &'static [Interface]) -> LinkScope {
        choose(self.name, interfaces);
        LinkScope { interfaces }
    }
}

/// While it lives, its interfaces go through the link chosen. Bind it to a name: `_` alone drops it at once.
#[derive(Debug)]
#[must_use = "the choice ends when this is dropped: `let _scope = link(..)`"]
pub struct LinkScope {
    interfaces: &'static [Interface],
}

impl Drop for LinkScope {
    fn drop(&mut self) {
        choose(DEFAULT, self.interfaces);
    }
}

fn choose(name: &str, interfaces: &[Interface]) {
    let targets = interfaces
        .iter()
        .map(|each| lattice::CallTargetInterface::new(each.namespace, each.package, each.interface))
        .collect();
    lattice::set_link_name(name, targets);
}
