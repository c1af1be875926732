//! Calls that arrive over the bus for an actor that runs here: one subscription per actor, in the
//! queue group of all hosts that run it.
//!
//! Each call is answered, whatever becomes of it: a caller never waits for a host that has already
//! given up. Calls in hand are bounded by [`MAX_IN_HAND`]; beyond it callers get `E_OVERLOADED`
//! at once, and may try another host.

use bytes::Bytes;
use host_runtime::{Actor, CallInfo};
use http_body_util::{BodyExt, Limited};
use lattice_io::{Bus, BusMessage, Subscription, TaskScope};
use lattice_protocol::invocation::{
    HttpHead, Invocation, MAX_CALL_DEPTH, MessageHead, encode_reply, join, split,
};
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::http::{Body, full};
use providers_sdk::messaging::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Calls from the bus that one actor has in hand at once.
pub const MAX_IN_HAND: usize = 1_024;
/// Longest call, whatever its head says.
const MAX_PATIENCE: Duration = Duration::from_secs(600);
/// Largest response body that fits a message, with its head.
const MAX_BODY_BYTES: usize = 960 << 10;

/// Answers calls until the subscription ends.
pub async fn serve(mut calls: Subscription, bus: Arc<dyn Bus>, actor: Arc<Actor>, scope: TaskScope) {
    let places = Arc::new(Semaphore::new(MAX_IN_HAND));
    while let Some(message) = calls.next().await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let busy =
                Report::new(ErrorCode::Overloaded, "too many calls from other hosts").limit(MAX_IN_HAND);
            answer(&*bus, &message, &Err(busy)).await;
            continue;
        };
        let (bus, actor) = (Arc::clone(&bus), Arc::clone(&actor));
        scope.spawn_best_effort("call", async move {
            let result = dispatch(&actor, &message.payload).await;
            answer(&*bus, &message, &result).await;
            drop(place);
        });
    }
}

async fn answer(bus: &dyn Bus, message: &BusMessage, result: &Result<Bytes, Report>) {
    if let Some(reply) = message.answer(encode_reply(result))
        && let Err(error) = bus.publish(reply).await
    {
        let too_large = matches!(error, lattice_io::BusError::TooLarge { .. });
        tracing::warn!(%error, "answer not sent");
        if too_large && let Some(reply) = message.answer(encode_reply(&Err(error.into()))) {
            // The bus is gone if this fails too; the caller then times out.
            let _ = bus.publish(reply).await;
        }
    }
}

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
            let (head, body) = split::<MessageHead>(&payload)?;
            let message =
                Message { subject: head.subject, body, reply_to: head.reply_to, headers: head.headers };
            actor.handle_message(message, info).await.map(|()| Bytes::new())
        }
        _ => actor.call(&call.interface, &call.function, payload, info).await,
    }
}

async fn http(actor: &Arc<Actor>, payload: &Bytes, info: CallInfo) -> Result<Bytes, Report> {
    let malformed = |what: String| Report::new(ErrorCode::Malformed, format!("forwarded request: {what}"));
    let (head, body) = split::<HttpHead>(payload)?;
    let mut request = http::Request::builder().method(head.method.as_str()).uri(head.uri.as_str());
    for (name, value) in &head.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    let request = request.body(full(body)).map_err(|error| malformed(error.to_string()))?;
    let response = actor.handle_http(request, info).await?;
    let (parts, body): (_, Body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES)
        .collect()
        .await
        .map_err(|error| malformed(error.to_string()).limit(format!("{MAX_BODY_BYTES} bytes")))?
        .to_bytes();
    let head = HttpHead {
        method: String::new(),
        uri: String::new(),
        status: parts.status.as_u16(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect(),
    };
    join(&head, &body).map(Bytes::from)
}

/// Subscribes and serves until the returned scope is shut down.
///
/// # Errors
/// What the bus says; the actor serves its local callers all the same.
pub async fn start(
    bus: &Arc<dyn Bus>,
    subject: &str,
    actor: Arc<Actor>,
    parent: &TaskScope,
) -> Result<TaskScope, Report> {
    let calls = bus.subscribe(subject, Some(lattice_protocol::subject::SERVE_GROUP)).await?;
    let scope = parent.child("rpc");
    let (bus, inner) = (Arc::clone(bus), scope.clone());
    // Shut down, it takes no further calls; those in hand are tasks of their own.
    scope.spawn_until_cancelled("serve", serve(calls, bus, actor, inner));
    Ok(scope)
}
