//! Links as a running actor sees them.

use futures::future::BoxFuture;
use lattice_protocol::invocation::Invocation;
use lattice_protocol::{ActorId, Report};
use std::sync::Arc;

/// Every link of one actor, bound to its targets. Immutable: a change makes a new one.
#[derive(Default)]
pub struct Wiring {}

/// Another actor, wherever it runs: on this host first.
pub trait ActorTarget: Send + Sync {
    /// Who.
    fn id(&self) -> &ActorId;
    /// The actor, when it runs on this host.
    fn local(&self) -> Option<Arc<crate::Actor>>;
    /// Calls it on another host; the payload is component-model values.
    fn remote<'a>(
        &'a self,
        call: Invocation,
        payload: bytes::Bytes,
    ) -> BoxFuture<'a, Result<bytes::Bytes, Report>>;
}
