//! [`Messaging`] over the bus and the streams of a lattice, whatever is behind them: NATS, or one
//! process.
//!
//! * A **publish** to a subject that a stream stores returns when it is stored; any other when it
//!   is sent. An answer to a request is never stored. Headers that steer the server (`Nats-…`) never pass from a guest.
//! * A publish with a **key** ([`KEY_HEADER`]) may come again: a stream stores it once within its window, because it has
//!   the key as `Nats-Msg-Id`. It returns when the server has it, stored or not, and fails when that denies it.
//! * A **plain subscription** handles each message at most once, one member of the group each.
//! * A **durable consumer** handles each message at least once: what a handler does not finish is
//!   delivered again, until its tries are spent.
//!
//! A subscription takes a message only with a free hand, so never more than `max_in_flight` handlers
//! run. What waits is with the broker (durable), or in the subscription's bounded buffer (plain).
//!
//! Tasks, in the scope given to the provider: one pump per subscribed subject or durable consumer,
//! one task per message in hand that waits for something.

mod streams;
mod subscription;

pub use streams::StreamSpec;

use crate::messaging::{KEY_HEADER, Message, MessageHandler, Messaging, SubscribeRequest, Subscription};
use crate::{BoxFuture, CallContext, ProviderError, ProviderErrorKind};
use futures::FutureExt;
use lattice_io::nats::NatsLattice;
use lattice_io::stream::Streams;
use lattice_io::{Bus, BusError, BusMessage, Lattice, StreamError, StreamOptions, TaskScope};
use lattice_protocol::jetstream::INBOX;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// By which streams know a message again.
const MESSAGE_ID: &str = "Nats-Msg-Id";
/// Subjects whose stream is remembered.
const REMEMBERED: usize = 1_024;
/// How long it is remembered whether a stream stores a subject.
const REMEMBER: Duration = Duration::from_secs(30);

/// Messaging on a lattice.
pub struct LatticeMessaging {
    bus: Arc<dyn Bus>,
    streams: Arc<dyn Streams>,
    scope: TaskScope,
    stored: Mutex<StoredSubjects>,
    /// A connection of its own lives as long as the provider.
    _connection: Option<Arc<NatsLattice>>,
}

impl LatticeMessaging {
    /// Over this lattice; subscriptions run in `scope`.
    #[must_use]
    pub fn new(lattice: &Lattice, scope: TaskScope) -> Self {
        let (bus, streams) = (lattice.bus.clone(), lattice.streams.clone());
        Self { bus, streams, scope, stored: Mutex::default(), _connection: None }
    }

    /// Keeps a connection open as long as the provider lives.
    #[must_use]
    pub fn keeping(mut self, connection: Arc<NatsLattice>) -> Self {
        self._connection = Some(connection);
        self
    }

    /// Makes the streams that are not there.
    ///
    /// # Errors
    /// The server's refusal, or that it cannot be reached.
    pub async fn ensure_streams(&self, wanted: &[StreamSpec]) -> Result<(), ProviderError> {
        for stream in wanted {
            let options = StreamOptions::new(&stream.name, stream.subjects.clone());
            self.streams.ensure(options).await.map_err(stream_failed)?;
        }
        Ok(())
    }

    async fn send(&self, cx: &CallContext, message: Message) -> Result<(), ProviderError> {
        let (mut message, key) = outgoing(message);
        // With a reply subject the stream's confirmation would go to whoever shall be answered.
        if message.reply.is_none() && self.is_stored(&message.subject).await? {
            // A little less than there is: time to say what happened.
            let timeout = cx.remaining() * 9 / 10;
            match self.streams.publish(message.clone(), key.as_deref(), timeout).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    // Whatever it was, the stream may be gone since we looked.
                    self.with_stored(|stored| stored.forget(&message.subject));
                    if !matches!(error, StreamError::NotFound { .. }) {
                        return Err(stream_failed(error));
                    }
                }
            }
        }
        let sent = match key {
            None => self.bus.publish(message).await,
            // Whoever gave it a key forgets it when this returns.
            Some(key) => {
                message.headers.push((MESSAGE_ID.to_owned(), key));
                self.bus.deliver(message).await
            }
        };
        sent.map_err(ProviderError::from)
    }

    async fn ask(&self, cx: &CallContext, message: Message) -> Result<Message, ProviderError> {
        let answer =
            self.bus.request(outgoing(message).0, cx.remaining()).await.map_err(ProviderError::from)?;
        Ok(incoming(answer))
    }

    /// Does a stream store this subject? It is asked for now and then, not for each message.
    async fn is_stored(&self, subject: &str) -> Result<bool, ProviderError> {
        // Where an answer goes is new each time: asking about it would cost every answer a request.
        if subject.starts_with(INBOX) {
            return Ok(false);
        }
        if let Some(known) = self.with_stored(|stored| stored.get(subject, Instant::now())) {
            return Ok(known);
        }
        let found = match self.streams.find(subject).await {
            Ok(found) => found.is_some(),
            // Who may not ask may not store either.
            Err(StreamError::Bus(BusError::Denied { .. })) => false,
            Err(error) => return Err(unsent(error)),
        };
        self.with_stored(|stored| stored.put(subject, found, Instant::now()));
        Ok(found)
    }

    fn with_stored<T>(&self, act: impl FnOnce(&mut StoredSubjects) -> T) -> T {
        act(&mut self.stored.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which subjects a stream stores, as far as is remembered.
#[derive(Default)]
struct StoredSubjects {
    known: BTreeMap<String, (bool, Instant)>,
}

impl StoredSubjects {
    fn get(&self, subject: &str, now: Instant) -> Option<bool> {
        let (stored, at) = self.known.get(subject)?;
        (now.saturating_duration_since(*at) < REMEMBER).then_some(*stored)
    }

    fn put(&mut self, subject: &str, stored: bool, now: Instant) {
        if self.known.len() >= REMEMBERED && !self.known.contains_key(subject) {
            self.known.retain(|_, (_, at)| now.saturating_duration_since(*at) < REMEMBER);
            if self.known.len() >= REMEMBERED {
                self.known.pop_first();
            }
        }
        self.known.insert(subject.to_owned(), (stored, now));
    }

    fn forget(&mut self, subject: &str) {
        self.known.remove(subject);
    }
}

/// A message as it may go out: without headers that steer the server; and its key.
fn outgoing(message: Message) -> (BusMessage, Option<String>) {
    let reserved = |name: &str| name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("nats-"));
    let (keys, mut headers): (Vec<_>, Vec<_>) =
        message.headers.into_iter().partition(|(name, _)| name.eq_ignore_ascii_case(KEY_HEADER));
    headers.retain(|(name, _)| !reserved(name));
    let key = keys.into_iter().next().map(|(_, key)| key);
    (BusMessage { subject: message.subject, reply: message.reply_to, headers, payload: message.body }, key)
}

fn incoming(message: BusMessage) -> Message {
    Message {
        subject: message.subject,
        body: message.payload,
        reply_to: message.reply,
        headers: message.headers,
    }
}

fn stream_failed(error: StreamError) -> ProviderError {
    match error {
        StreamError::Bus(error) => error.into(),
        StreamError::NotFound { .. } => ProviderError::new(ProviderErrorKind::NotFound, error.to_string()),
        StreamError::Refused { .. } => ProviderError::new(ProviderErrorKind::Failed, error.to_string()),
    }
}

/// A failure before anything was sent, whatever it was.
fn unsent(error: StreamError) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Unreachable, error.to_string())
}

impl Messaging for LatticeMessaging {
    fn publish<'a>(
        &'a self,
        cx: &'a CallContext,
        message: Message,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        cx.bounded("messaging publish", self.send(cx, message)).boxed()
    }

    fn request<'a>(
        &'a self,
        cx: &'a CallContext,
        message: Message,
    ) -> BoxFuture<'a, Result<Message, ProviderError>> {
        cx.bounded("messaging request", self.ask(cx, message)).boxed()
    }

    fn subscribe<'a>(
        &'a self,
        request: SubscribeRequest,
        handler: Arc<dyn MessageHandler>,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, ProviderError>> {
        subscription::subscribe(&self.bus, &self.streams, &self.scope, request, handler).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_steer_the_server_never_pass() {
        let header = |name: &str| (name.to_owned(), "v".to_owned());
        let names = [
            "Nats-Msg-Id",
            "nats-rollup",
            "NATS-Expected-Stream",
            "Nats-TTL",
            "X-Nats-Ok",
            "Nats",
            "traceparent",
        ];
        let message = Message {
            subject: "a".to_owned(),
            body: bytes::Bytes::new(),
            reply_to: None,
            headers: names.iter().map(|name| header(name)).collect(),
        };
        let passed: Vec<String> = outgoing(message).0.headers.into_iter().map(|(name, _)| name).collect();
        assert_eq!(passed, ["X-Nats-Ok", "Nats", "traceparent"]);
    }

    #[tokio::test]
    async fn an_answer_goes_out_without_a_question_about_streams() {
        let (lattice, scope) = (lattice_io::memory::Memory::new().lattice(), TaskScope::new("test"));
        let messaging = LatticeMessaging::new(&lattice, scope.clone());
        let cx = CallContext {
            source: "a/b".parse().unwrap(),
            link: lattice_protocol::LinkName::default_name(),
            config: Arc::default(),
            deadline: Instant::now() + Duration::from_secs(30),
            traceparent: None,
        };
        for (subject, asked) in [("_INBOX_host.a.1", false), ("_INBOX.b", false), ("a._INBOX", true)] {
            let mut heard = lattice.bus.subscribe(subject, None).await.unwrap();
            let message = Message {
                subject: subject.to_owned(),
                body: "x".into(),
                reply_to: None,
                headers: Vec::new(),
            };
            messaging.send(&cx, message).await.unwrap();
            assert_eq!(heard.next().await.unwrap().payload, "x");
            let remembered = messaging.with_stored(|stored| stored.get(subject, Instant::now()));
            assert_eq!(remembered.is_some(), asked, "{subject}");
        }
        scope.shutdown(Duration::from_secs(5)).await;
    }

    #[test]
    fn what_is_remembered_is_bounded_and_grows_old() {
        let (mut stored, start) = (StoredSubjects::default(), Instant::now());
        for n in 0..2 * REMEMBERED {
            stored.put(&format!("s.{n}"), true, start);
        }
        assert_eq!(stored.known.len(), REMEMBERED);
        stored.put("a", true, start);
        assert_eq!(stored.get("a", start), Some(true));
        assert_eq!(stored.get("a", start + REMEMBER), None);
        stored.forget("a");
        assert_eq!(stored.get("a", start), None);
    }
}
