//! Calls that arrive over the bus for an actor that runs here: one subscription per actor, in the
//! queue group of all hosts that run it.
//!
//! Calls in hand are bounded by [`MAX_IN_HAND`] ([`lattice_io::call`]).

use bytes::Bytes;
use futures::FutureExt;
use host_runtime::{Actor, CallInfo};
use lattice_io::call::answer_each;
use lattice_io::task::CancellationToken;
use lattice_io::{Bus, TaskScope};
use lattice_protocol::invocation::{Invocation, MAX_CALL_DEPTH};
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::forward;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls from the bus that one actor has in hand at once.
pub const MAX_IN_HAND: usize = 1_024;
/// Longest call, whatever its head says.
const MAX_PATIENCE: Duration = Duration::from_secs(600);
/// Largest response body that fits a message, with its head.
const MAX_BODY_BYTES: usize = 960 << 10;

/// Carries out one call.
///
/// # Errors
/// What the frame, the actor or its guest reports.
pub async fn dispatch(actor: &Arc<Actor>, frame: &Bytes) -> Result<Bytes, Report> {
    let (call, at) = Invocation::decode(frame)?;
    if call.depth >= MAX_CALL_DEPTH {
        return Err(Report::new(ErrorCode::CallDepth, "calls nested too deep")
            .at(&call.target)
            .limit(MAX_CALL_DEPTH));
    }
    let info = CallInfo {
        deadline: Instant::now() + Duration::from_millis(call.remaining_ms).min(MAX_PATIENCE),
        depth: call.depth,
        caller: call.caller,
        traceparent: call.traceparent.map(Arc::from),
        idempotency_key: call.idempotency_key.map(Arc::from),
    };
    let payload = frame.slice(at..);
    match call.interface.split('@').next().unwrap_or_default() {
        "wasi:http/incoming-handler" | "wasi:http/handler" => http(actor, &payload, info).await,
        "wasmcloud:messaging/handler" => {
            actor.handle_message(forward::read_message(&payload)?, info).await.map(|()| Bytes::new())
        }
        _ => actor.call(&call.interface, &call.function, payload, info).await,
    }
}

async fn http(actor: &Arc<Actor>, payload: &Bytes, info: CallInfo) -> Result<Bytes, Report> {
    let response = actor.handle_http(forward::read_request(payload)?, info).await?;
    forward::write_response(response, MAX_BODY_BYTES).await
}

/// An actor as others in the lattice reach it.
pub struct Serving {
    stop: CancellationToken,
    over: CancellationToken,
    scope: TaskScope,
}

impl Serving {
    /// Takes no further calls, and waits for those that had arrived.
    pub async fn drain(&self, patience: Duration) {
        self.stop.cancel();
        // Elapsed: the scope's end cuts off what is left.
        let _ = tokio::time::timeout(patience, self.over.cancelled()).await;
        self.scope.shutdown(patience).await;
    }
}

/// Subscribes and serves until it is drained.
///
/// # Errors
/// What the bus says; the actor serves its local callers all the same.
pub async fn start(
    bus: &Arc<dyn Bus>,
    subject: &str,
    actor: Arc<Actor>,
    parent: &TaskScope,
) -> Result<Serving, Report> {
    let calls = bus.subscribe(subject, Some(lattice_protocol::subject::SERVE_GROUP)).await?;
    let (stop, over) = (CancellationToken::new(), CancellationToken::new());
    let calls = calls.until(stop.clone().cancelled_owned());
    let scope = parent.child("rpc");
    let answer = move |frame: Bytes| {
        let actor = Arc::clone(&actor);
        async move { dispatch(&actor, &frame).await }
    };
    let answering = answer_each(calls, Arc::clone(bus), scope.clone(), MAX_IN_HAND, answer);
    let ended = over.clone();
    scope.spawn_until_cancelled("serve", answering.map(move |()| ended.cancel()));
    Ok(Serving { stop, over, scope })
}
