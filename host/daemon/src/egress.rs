//! From an actor on this host to one anywhere: this host first, else one request over the bus to
//! the queue group of whoever runs it. The caller cannot tell which.

use crate::directory::Directory;
use bytes::Bytes;
use host_runtime::Actor;
use host_runtime::wiring::ActorTarget;
use lattice_io::{Bus, BusError, BusMessage};
use lattice_protocol::invocation::{Invocation, decode_reply};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ActorId, ErrorCode, Report};
use providers_sdk::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

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

/// Sends one call and reads its answer. A failure on the way is `E_CONNECTION` exactly when the
/// target cannot have received it: that is what makes a retry safe.
///
/// # Errors
/// The target's own report, or what the bus says.
pub async fn request(
    bus: &dyn Bus,
    subject: &str,
    call: &Invocation,
    payload: &[u8],
) -> Result<Bytes, Report> {
    let frame = call.encode(payload)?;
    let patience = Duration::from_millis(call.remaining_ms);
    match bus.request(BusMessage::new(subject, frame), patience).await {
        Ok(answer) => decode_reply(answer.payload),
        Err(BusError::NoResponders { .. }) => {
            Err(Report::new(ErrorCode::Connection, "no host runs this actor")
                .at(&call.target)
                .hint("see: trellis get inventory"))
        }
        Err(BusError::Timeout { waited_ms, .. }) => Err(Report::new(ErrorCode::Timeout, "no answer in time")
            .at(&call.target)
            .limit(format!("{waited_ms} ms"))),
        Err(other) => Err(Report::from(other).at(&call.target)),
    }
}
