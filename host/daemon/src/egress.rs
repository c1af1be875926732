//! From an actor on this host to one anywhere: this host first, else one request over the bus to
//! the queue group of whoever runs it. The caller cannot tell which.

use crate::directory::Directory;
use bytes::Bytes;
use host_runtime::Actor;
use host_runtime::wiring::ActorTarget;
use lattice_io::Bus;
use lattice_io::call::request;
use lattice_protocol::invocation::Invocation;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ActorId, Report};
use providers_sdk::BoxFuture;
use std::sync::Arc;

/// One linked actor, wherever it runs.
pub struct LinkedActor {
    id: ActorId,
    directory: Arc<Directory>,
    bus: Arc<dyn Bus>,
    subject: String,
}

impl LinkedActor {
    /// The actor of this id, looked for here and then in the lattice.
    #[must_use]
    pub fn new(id: ActorId, directory: Arc<Directory>, bus: Arc<dyn Bus>, subjects: &Subjects) -> Self {
        let subject = subjects.actor_call(&id);
        Self { id, directory, bus, subject }
    }
}

impl ActorTarget for LinkedActor {
    fn id(&self) -> &ActorId {
        &self.id
    }

    fn local(&self) -> Option<Arc<Actor>> {
        self.directory.get(&self.id)
    }

    fn remote<'a>(&'a self, call: Invocation, payload: Bytes) -> BoxFuture<'a, Result<Bytes, Report>> {
        Box::pin(async move { request(&*self.bus, &self.subject, &call, &payload).await })
    }
}
