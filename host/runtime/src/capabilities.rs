//! The host side of every standard interface that is not WASI's own: each import call resolves its
//! link anew, checks the link's grants, and goes to the link's target under its guard.
//!
//! Three kinds of failure, never mixed: what a guest can handle is a value of its interface's error
//! type (the provider failed, a bucket is not granted); what it must not survive is a trap that
//! carries a [`Report`] (no link: `capability denied: …`); a fault of ours is any other error.
//!
//! Everything in [`INTERFACES`] can be named by links, but for configuration and logging, which are
//! about the actor itself and are always there.

pub(crate) mod bindings;
mod blobstore;
mod bus;
mod config;
mod entities;
pub(crate) mod http;
mod keyvalue;
mod labels;
mod logging;
mod messaging;
mod secrets;

pub(crate) use labels::link_labels;
pub(crate) use messaging::publish_keyed;

use crate::engine::Profile;
use crate::persistent::Stage;
use crate::state::{CallScope, InstanceState};
use crate::wiring::BoundLink;
use lattice_protocol::{ErrorCode, Interface, LinkName, Report};
use std::sync::Arc;
use wasmtime::component::Linker;

/// Every interface that [`link`] defines, as a component imports it; versions of `0.2.x` match by
/// semver, drafts as written. (All of `wasi:http` is among them: nobody else may link it.)
pub(crate) const INTERFACES: &[&str] = &[
    "wasi:http/types@0.2.12",
    "wasi:http/outgoing-handler@0.2.12",
    "wasi:http/types@0.3.0",
    "wasi:http/client@0.3.0",
    "wasi:keyvalue/store@0.2.0-draft",
    "wasi:keyvalue/atomics@0.2.0-draft",
    "wasi:keyvalue/batch@0.2.0-draft",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/runtime@0.2.0-draft",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:logging/logging@0.1.0-draft",
    "wasi:logging/logging",
    "wasi:blobstore/types@0.2.0-draft",
    "wasi:blobstore/container@0.2.0-draft",
    "wasi:blobstore/blobstore@0.2.0-draft",
    "wasmcloud:messaging/types@0.2.0",
    "wasmcloud:messaging/consumer@0.2.0",
    "wasmcloud:bus/lattice@1.0.0",
    "wasmcloud:bus/lattice@2.0.0",
    "wasmcloud:secrets/store@0.1.0-draft",
    "wasmcloud:secrets/reveal@0.1.0-draft",
    "trellis:actor/types@0.1.0",
    "trellis:actor/client@0.1.0",
];

/// Defines every capability interface. Called once per engine profile.
pub(crate) fn link(linker: &mut Linker<InstanceState>, profile: Profile) -> wasmtime::Result<()> {
    http::link(linker, profile)?;
    keyvalue::link(linker)?;
    config::link(linker)?;
    logging::link(linker)?;
    blobstore::link(linker)?;
    messaging::link(linker)?;
    bus::link(linker)?;
    secrets::link(linker)?;
    crate::persistent::link(linker)?;
    entities::link(linker)
}

/// A report that ends the call.
pub(crate) fn trap(report: Report) -> wasmtime::Error {
    wasmtime::Error::new(crate::wiring::behind(report))
}

/// A static interface name of ours: a constant, so that reading it cannot fail (each is read by tests).
macro_rules! interface {
    ($name:ident = $text:expr) => {
        static $name: std::sync::LazyLock<lattice_protocol::Interface> =
            std::sync::LazyLock::new(|| $text.parse().unwrap());
    };
}
pub(crate) use interface;

impl CallScope {
    /// The link that an import leads to now: by its label, by the name chosen for its interface,
    /// or by default.
    pub(crate) fn resolve(
        &self,
        interface: &Interface,
        label: Option<&LinkName>,
    ) -> Result<Arc<BoundLink>, Report> {
        self.may_reach(interface)?;
        let chosen = || {
            if self.selected_link.is_empty() {
                return None;
            }
            self.selected_link.get(&interface.unversioned())
        };
        let name = label.or_else(chosen);
        self.actor.wiring.load().resolve(&self.actor.id, name, interface).cloned()
    }

    /// The guest of a persistent actor reaches nothing outside of itself: what it wants done is data.
    fn may_reach(&self, interface: &Interface) -> Result<(), Report> {
        let Some(stage) = self.stage else { return Ok(()) };
        let (doing, hint) = match stage {
            Stage::Folding => ("while folding", "an actor's state follows from its events alone"),
            Stage::Deciding => ("while deciding", "return an effect: publish, call or send"),
        };
        let what = format!("capability denied: {interface} {doing}");
        Err(Report::new(ErrorCode::CapabilityDenied, what).at(&self.actor.id).hint(hint))
    }

    /// May the guest of a persistent actor use what is about itself: its log, its configuration?
    pub(crate) fn may_look(&self, interface: &str) -> wasmtime::Result<()> {
        if self.stage != Some(Stage::Folding) {
            return Ok(());
        }
        let what = format!("capability denied: {interface} while folding");
        Err(trap(
            Report::new(ErrorCode::CapabilityDenied, what).at(&self.actor.id).hint(
                "log and read the configuration while deciding; put into the event what the state needs",
            ),
        ))
    }

    /// A link that was resolved earlier in this call, if it is still in force and covers this
    /// interface; else what its name leads to now.
    pub(crate) fn still(
        &self,
        held: &Arc<BoundLink>,
        interface: &Interface,
    ) -> Result<Arc<BoundLink>, Report> {
        self.may_reach(interface)?;
        let wiring = self.actor.wiring.load();
        if wiring.holds(held) && held.definition().interface.covers(interface) {
            return Ok(Arc::clone(held));
        }
        wiring.resolve(&self.actor.id, Some(&held.definition().name), interface).cloned()
    }

    /// Largest value, message or object that passes between the guest and a provider, bytes.
    pub(crate) fn payload_limit(&self) -> usize {
        usize::try_from(self.actor.limits.body_bytes).unwrap_or(usize::MAX)
    }

    /// Is this payload within the limit?
    pub(crate) fn fits(&self, what: &str, bytes: usize) -> Result<(), Report> {
        let limit = self.payload_limit();
        if bytes <= limit {
            return Ok(());
        }
        Err(Report::new(ErrorCode::Limit, format!("{what} too large"))
            .at(&self.actor.id)
            .got(format!("{bytes} bytes"))
            .limit(format!("at most {limit} bytes"))
            .hint("raise limits.bodyBytes"))
    }
}

#[cfg(test)]
mod tests;
