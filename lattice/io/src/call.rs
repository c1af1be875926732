//! Calls over a bus: one side asks and waits, the other answers with a bounded number of hands.
//!
//! Frames are `lattice_protocol::invocation`'s. An answer is given to every call, whatever becomes
//! of it, so that a caller never waits for somebody who has already given up; beyond the bound
//! callers get `E_OVERLOADED` at once and may try another host.

use crate::{Bus, BusError, BusMessage, Subscription, TaskScope};
use bytes::Bytes;
use lattice_protocol::invocation::{Invocation, decode_reply, encode_reply};
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Calls an actor by the subject of whoever runs it, and reads the answer. A failure on the way is
/// `E_CONNECTION` exactly when the target cannot have received it: that is what makes a retry safe.
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

/// Answers calls until the subscription ends: each in a task of `scope`, at most `hands` at once.
pub async fn answer_each<F, Answering>(
    mut calls: Subscription,
    bus: Arc<dyn Bus>,
    scope: TaskScope,
    hands: usize,
    answer: F,
) where
    F: Fn(Bytes) -> Answering,
    Answering: Future<Output = Result<Bytes, Report>> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(hands));
    while let Some(message) = calls.next().await {
        let Ok(hand) = Arc::clone(&free).try_acquire_owned() else {
            let busy = Report::new(ErrorCode::Overloaded, "too many calls at once").limit(hands);
            reply(&*bus, &message, &Err(busy)).await;
            continue;
        };
        let bus = Arc::clone(&bus);
        let answering = answer(message.payload.clone());
        scope.spawn_best_effort("call", async move {
            reply(&*bus, &message, &answering.await).await;
            drop(hand);
        });
    }
}

async fn reply(bus: &dyn Bus, call: &BusMessage, result: &Result<Bytes, Report>) {
    let Some(answer) = call.answer(encode_reply(result)) else { return };
    if let Err(error) = bus.publish(answer).await {
        let too_large = matches!(error, BusError::TooLarge { .. });
        tracing::warn!(%error, "answer not sent");
        if too_large && let Some(answer) = call.answer(encode_reply(&Err(error.into()))) {
            // The bus is gone if this fails too; the caller then times out.
            let _ = bus.publish(answer).await;
        }
    }
}
