//! Calls over a bus: one side asks and waits, the other answers with a bounded number of hands.
//!
//! Frames are `lattice_protocol::invocation`'s. An answer is given to every call, whatever becomes
//! of it, so that a caller never waits for somebody who has already given up; beyond the bound
//! callers get `E_OVERLOADED` at once and may try another host.

use crate::row::Row;
use crate::{Bus, BusError, BusMessage, Subscription, TaskScope};
use bytes::Bytes;
use futures::FutureExt;
use lattice_protocol::entity::{EntityAnswer, EntityAsk, EntityCall};
use lattice_protocol::invocation::{Invocation, decode_reply, encode_reply};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, HostId, Report};
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

/// A little more than a caller's patience, so that the owner's own answer about that arrives.
const GRACE: Duration = Duration::from_millis(250);

/// Asks a host that runs a kind of persistent actors; without one, whichever does.
///
/// # Errors
/// The host's own report; `E_CONNECTION` when nobody can have received it; `E_OUTCOME_UNKNOWN` when
/// a command may have been received and was not answered.
pub async fn ask_entity(
    (bus, subjects): (&dyn Bus, &Subjects),
    host: Option<&HostId>,
    call: &EntityCall,
    body: &[u8],
) -> Result<(EntityAnswer, Bytes), Report> {
    let subject = match host {
        Some(host) => subjects.owner_call(&call.kind, host),
        None => subjects.kind_call(&call.kind),
    };
    let message = BusMessage::new(subject, call.encode(body)?);
    let patience = Duration::from_millis(call.remaining_ms).saturating_add(GRACE);
    match bus.request(message, patience).await {
        Ok(answer) => EntityAnswer::decode(&decode_reply(answer.payload)?),
        Err(error) => Err(unanswered(error, host, call).at(place(call))),
    }
}

fn place(call: &EntityCall) -> String {
    match &call.ask {
        EntityAsk::Command { key, .. } | EntityAsk::Query { key, .. } | EntityAsk::Delete { key, .. } => {
            key.to_string()
        }
        _ => call.kind.to_string(),
    }
}

/// What no answer means for who has asked.
fn unanswered(error: BusError, host: Option<&HostId>, call: &EntityCall) -> Report {
    let kind = &call.kind;
    if call.ask.is_command()
        && let Some(report) = error.outcome_unknown("no answer: the command may have been carried out")
    {
        return report.hint("send the same command id again");
    }
    match (error, &call.ask) {
        (BusError::NoResponders { .. }, _) => match host {
            None => Report::new(ErrorCode::Connection, format!("no host runs actors of kind {kind}"))
                .hint("see: trellis get actors"),
            Some(host) => {
                let what = format!("host {host} is not connected, or does not run actors of kind {kind}");
                Report::new(ErrorCode::Connection, what)
                    .hint("ask again: when its lease is over, another host that runs the kind has its actors")
            }
        },
        (BusError::Timeout { waited_ms, .. }, EntityAsk::Query { .. }) => {
            Report::new(ErrorCode::Timeout, "query not answered in time")
                .limit(format!("{waited_ms} ms"))
                .hint(
                    "nothing was changed: ask again; a standby may answer meanwhile: trellis query … --stale",
                )
        }
        (other, _) => Report::from(other),
    }
}

/// A call that is answered sooner costs less on the subscription's own task than on one of its own.
const SHORT: Duration = Duration::from_micros(200);

/// Answers calls until the subscription ends, at most `hands` at once. A call begins on this task
/// while none waits behind it and calls have been short; it goes on in a task of `scope` as soon as
/// it has to wait for anything. So two processors stay busy under load, and a lone call is not
/// passed from one to another.
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
    let (mut behind, mut row) = (None, Row::new(scope, "call"));
    loop {
        let message = match behind.take() {
            Some(message) => message,
            None => match calls.next().await {
                Some(message) => message,
                None => return,
            },
        };
        let Ok(hand) = Arc::clone(&free).try_acquire_owned() else {
            let busy = Report::new(ErrorCode::Overloaded, "too many calls at once").limit(hands);
            reply(&*bus, &message, &Err(busy)).await;
            continue;
        };
        let bus = Arc::clone(&bus);
        let answering = answer(message.payload.clone());
        let call = Box::pin(async move {
            reply(&*bus, &message, &answering.await).await;
            drop(hand);
        });
        behind = calls.next().now_or_never().flatten();
        match &behind {
            None => row.begin(call, SHORT).await,
            Some(_) => row.apart(call),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use lattice_protocol::entity::CommandBy;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SOON: Duration = Duration::from_secs(20);

    async fn ask(bus: &dyn Bus, word: &'static str) -> Result<Bytes, Report> {
        decode_reply(bus.request(BusMessage::new("calls", word), SOON).await.unwrap().payload)
    }

    /// When `wait` has begun, and when it may end.
    struct Gate {
        begun: Semaphore,
        open: Semaphore,
    }

    impl Gate {
        fn new() -> Arc<Self> {
            Arc::new(Self { begun: Semaphore::new(0), open: Semaphore::new(0) })
        }
    }

    /// Serves: `wait` until the gate is open, `panic`, everything else at once.
    async fn serve(bus: &Arc<dyn Bus>, hands: usize, gate: &Arc<Gate>) -> TaskScope {
        let (scope, gate) = (TaskScope::new("test"), Arc::clone(gate));
        let calls = bus.subscribe("calls", None).await.unwrap();
        let answer = move |word: Bytes| {
            let gate = Arc::clone(&gate);
            async move {
                match word.as_ref() {
                    b"wait" => {
                        gate.begun.add_permits(1);
                        gate.open.acquire().await.unwrap().forget();
                    }
                    b"panic" => panic!("as asked"),
                    _ => {}
                }
                Ok(word)
            }
        };
        scope.spawn_until_cancelled(
            "serve",
            answer_each(calls, Arc::clone(bus), scope.clone(), hands, answer),
        );
        scope
    }

    #[allow(clippy::disallowed_methods, reason = "a test waits for what it spawns")]
    #[tokio::test]
    async fn who_waits_keeps_nobody_waiting_and_takes_a_hand() {
        let bus = Memory::new().lattice().bus;
        let gate = Gate::new();
        let scope = serve(&bus, 2, &gate).await;
        let mut waiting = Vec::new();
        for answer in [Ok("now".into()), Err(ErrorCode::Overloaded)] {
            let caller = Arc::clone(&bus);
            waiting.push(tokio::spawn(async move { ask(&*caller, "wait").await }));
            gate.begun.acquire().await.unwrap().forget();
            assert_eq!(ask(&*bus, "now").await.map_err(|report| report.code), answer);
        }
        gate.open.add_permits(2);
        for waited in waiting {
            assert_eq!(waited.await.unwrap().unwrap(), "wait");
        }
        assert_eq!(ask(&*bus, "now").await.unwrap(), "now", "the hands are free again");
        scope.shutdown(SOON).await;
    }

    fn asks(ask: EntityAsk) -> EntityCall {
        let kind = "meter".parse().unwrap();
        EntityCall { kind, app: None, ask, remaining_ms: 1_000, traceparent: None }
    }

    #[test]
    fn a_command_that_was_sent_and_not_answered_may_have_been_carried_out() {
        let key = "meter/m-1".parse().unwrap();
        let command = EntityAsk::Command { key, name: "add".to_owned(), by: CommandBy::Id(String::new()) };
        let subject = || "rpc".to_owned();
        let codes = |ask: EntityAsk| {
            let call = asks(ask);
            let errors = [
                BusError::Io { subject: subject(), reason: "connection lost".to_owned() },
                BusError::Timeout { subject: subject(), waited_ms: 7 },
                BusError::NoResponders { subject: subject() },
                BusError::Closed,
            ];
            errors.map(|error| unanswered(error, None, &call).code)
        };
        use ErrorCode::{Connection, Io, OutcomeUnknown, Timeout};
        assert_eq!(codes(command), [OutcomeUnknown, OutcomeUnknown, Connection, Connection]);
        assert_eq!(codes(EntityAsk::List), [Io, Timeout, Connection, Connection]);
    }

    #[tokio::test]
    async fn a_host_that_is_not_there_is_named() {
        let (bus, subjects) = (Memory::new().lattice().bus, Subjects::new("test".parse().unwrap()));
        let call = asks(EntityAsk::List);
        for (host, says) in [(None, "no host runs"), (Some("H2"), "host H2 is not connected")] {
            let host = host.map(|host| host.parse().unwrap());
            let nobody = ask_entity((&*bus, &subjects), host.as_ref(), &call, b"").await.unwrap_err();
            assert_eq!(nobody.code, ErrorCode::Connection);
            assert!(nobody.to_string().contains(says), "{nobody}");
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_call_only() {
        let bus = Memory::new().lattice().bus;
        let scope = serve(&bus, 1, &Gate::new()).await;
        let gone = bus.request(BusMessage::new("calls", "panic"), Duration::from_millis(50)).await;
        assert!(matches!(gone, Err(BusError::Timeout { .. })), "{gone:?}");
        assert_eq!(ask(&*bus, "now").await.unwrap(), "now", "and its hand is free");
        scope.shutdown(SOON).await;
    }

    #[tokio::test]
    async fn calls_that_come_together_are_carried_out_together() {
        let bus = Memory::new().lattice().bus;
        let scope = TaskScope::new("test");
        let (begun, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let calls = bus.subscribe("calls", None).await.unwrap();
        let answer = move |word: Bytes| {
            let (begun, all) = (Arc::clone(&begun), Arc::clone(&all));
            async move {
                // Each waits until all have begun.
                if begun.fetch_add(1, Ordering::SeqCst) == 9 {
                    all.add_permits(10);
                }
                all.acquire().await.unwrap().forget();
                Ok(word)
            }
        };
        scope.spawn_until_cancelled("serve", answer_each(calls, Arc::clone(&bus), scope.clone(), 10, answer));
        let asked = (0..10).map(|_| ask(&*bus, "together"));
        let answers = tokio::time::timeout(SOON, futures::future::join_all(asked)).await.unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        scope.shutdown(SOON).await;
    }
}
