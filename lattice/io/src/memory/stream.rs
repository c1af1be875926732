//! In-process streams: they store what is published on the bus, and hand it to durable consumers.

mod consumer;

use super::bus::Table;
use super::{Link, lock};
use crate::bus::{BusError, BusMessage, check_message};
use crate::clock::{Clock, SystemClock};
use crate::stream::{
    Consumer, ConsumerOptions, ReadFrom, Retention, Stored, StreamError, StreamOptions, Streams,
};
use consumer::{ConsumerState, MemoryConsumer, MemoryReader};
use futures::FutureExt;
use futures::future::BoxFuture;
use lattice_protocol::subject::matches;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// The header that carries a message's id, as on a server.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Bus and streams together, because a stream stores what the bus carries.
pub(super) struct Core {
    pub(super) link: Link,
    pub(super) max_payload: usize,
    pub(super) table: Mutex<Table>,
    streams: Mutex<BTreeMap<String, StreamState>>,
    /// Counts stored messages and answers: what pulls wait on.
    changes: tokio::sync::watch::Sender<u64>,
}

struct StreamState {
    options: StreamOptions,
    sequence: u64,
    messages: BTreeMap<u64, StoredMessage>,
    bytes: u64,
    ids: BTreeMap<String, (Instant, u64)>,
    consumers: BTreeMap<String, ConsumerState>,
}

struct StoredMessage {
    message: BusMessage,
    at: Instant,
}

impl StreamState {
    fn stores(&self, subject: &str) -> bool {
        self.options.subjects.iter().any(|pattern| matches(pattern, subject))
    }

    fn store(&mut self, message: &BusMessage) -> Stored {
        let now = Instant::now();
        let stream = self.options.name.clone();
        let window = self.options.duplicate_window;
        self.ids.retain(|_, (at, _)| now.duration_since(*at) < window);
        let id = message.header(MESSAGE_ID);
        if let Some((_, sequence)) = id.and_then(|id| self.ids.get(id)) {
            return Stored { stream, sequence: *sequence, duplicate: true };
        }
        self.sequence += 1;
        if let Some(id) = id {
            self.ids.insert(id.to_owned(), (now, self.sequence));
        }
        self.bytes += message.size() as u64;
        let stored = BusMessage { reply: None, ..message.clone() };
        self.messages.insert(self.sequence, StoredMessage { message: stored, at: now });
        self.trim(now);
        Stored { stream, sequence: self.sequence, duplicate: false }
    }

    /// Drops the oldest messages while the stream is over its limits.
    fn trim(&mut self, now: Instant) {
        while let Some((&sequence, oldest)) = self.messages.first_key_value() {
            let too_old = self.options.max_age.is_some_and(|age| now.duration_since(oldest.at) >= age);
            let too_much = self.options.max_bytes.is_some_and(|most| self.bytes > most);
            if !too_old && !too_much {
                return;
            }
            self.remove(sequence);
        }
    }

    fn remove(&mut self, sequence: u64) {
        if let Some(gone) = self.messages.remove(&sequence) {
            self.bytes -= gone.message.size() as u64;
        }
    }
}

impl Core {
    pub(super) fn new(link: Link, max_payload: usize) -> Self {
        let changes = tokio::sync::watch::Sender::new(0);
        Self { link, max_payload, table: Mutex::default(), streams: Mutex::default(), changes }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Sends a message to subscribers and streams; gives how many received it.
    pub(super) fn send(&self, message: &BusMessage) -> Result<usize, BusError> {
        self.link.check()?;
        check_message(message, self.max_payload)?;
        let stored = self.store(message);
        let received = lock(&self.table).route(message);
        if let (Some(stored), Some(reply)) = (&stored, &message.reply) {
            // A stream confirms to whoever asks, as on a server.
            let confirmation = format!(r#"{{"stream":"{}","seq":{}}}"#, stored.stream, stored.sequence);
            lock(&self.table).route(&BusMessage::new(reply.clone(), confirmation));
        }
        Ok(received + usize::from(stored.is_some()))
    }

    fn store(&self, message: &BusMessage) -> Option<Stored> {
        let mut streams = lock(&self.streams);
        let stored = streams.values_mut().find(|stream| stream.stores(&message.subject))?.store(message);
        drop(streams);
        self.changed();
        Some(stored)
    }
}

pub(super) struct MemoryStreams {
    core: Arc<Core>,
}

impl MemoryStreams {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    fn store(&self, message: &BusMessage) -> Result<Stored, StreamError> {
        self.core.link.check()?;
        check_message(message, self.core.max_payload)?;
        let stored = self.core.store(message);
        let stored = stored.ok_or_else(|| StreamError::NotFound { what: message.subject.clone() })?;
        if !stored.duplicate {
            lock(&self.core.table).route(message);
        }
        Ok(stored)
    }

    fn open(&self, stream: &str, options: ConsumerOptions) -> Result<Arc<dyn Consumer>, StreamError> {
        self.core.link.check()?;
        let mut streams = lock(&self.core.streams);
        let state =
            streams.get_mut(stream).ok_or_else(|| StreamError::NotFound { what: stream.to_owned() })?;
        if state.options.retention == Retention::WorkQueue
            && state.consumers.keys().any(|other| *other != options.durable)
        {
            let reason = "a work queue has one consumer".to_owned();
            return Err(StreamError::Refused { what: options.durable, reason });
        }
        let durable = options.durable.clone();
        state.consumers.entry(durable.clone()).or_insert_with(|| ConsumerState::new(options));
        Ok(Arc::new(MemoryConsumer { core: self.core.clone(), stream: stream.to_owned(), durable }))
    }

    fn open_reader(&self, stream: &str, from: ReadFrom) -> Result<Arc<dyn Consumer>, StreamError> {
        self.core.link.check()?;
        let streams = lock(&self.core.streams);
        let state = streams.get(stream).ok_or_else(|| StreamError::NotFound { what: stream.to_owned() })?;
        let end = state.sequence + 1;
        let next = match from {
            ReadFrom::All => 1,
            ReadFrom::Sequence(sequence) => sequence.clamp(1, end),
            ReadFrom::Now => end,
            ReadFrom::Since(unix_ms) => {
                let age = Duration::from_millis(SystemClock::new().unix_ms().saturating_sub(unix_ms));
                let fresh = |stored: &StoredMessage| stored.at.elapsed() <= age;
                state.messages.iter().find(|(_, stored)| fresh(stored)).map_or(end, |(&sequence, _)| sequence)
            }
        };
        Ok(Arc::new(MemoryReader {
            core: self.core.clone(),
            stream: stream.to_owned(),
            next: Arc::new(next.into()),
        }))
    }
}

impl Streams for MemoryStreams {
    fn ensure(&self, options: StreamOptions) -> BoxFuture<'_, Result<(), StreamError>> {
        async move {
            self.core.link.check()?;
            lock(&self.core.streams).entry(options.name.clone()).or_insert_with(|| StreamState {
                options,
                sequence: 0,
                messages: BTreeMap::new(),
                bytes: 0,
                ids: BTreeMap::new(),
                consumers: BTreeMap::new(),
            });
            Ok(())
        }
        .boxed()
    }

    fn find<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Option<String>, StreamError>> {
        async move {
            self.core.link.check()?;
            let streams = lock(&self.core.streams);
            Ok(streams
                .values()
                .find(|stream| stream.stores(subject))
                .map(|stream| stream.options.name.clone()))
        }
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        mut message: BusMessage,
        message_id: Option<&'a str>,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<Stored, StreamError>> {
        if let Some(id) = message_id {
            message.headers.push((MESSAGE_ID.to_owned(), id.to_owned()));
        }
        std::future::ready(self.store(&message)).boxed()
    }

    fn consumer<'a>(
        &'a self,
        stream: &'a str,
        options: ConsumerOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Consumer>, StreamError>> {
        std::future::ready(self.open(stream, options)).boxed()
    }

    fn read<'a>(
        &'a self,
        stream: &'a str,
        from: ReadFrom,
    ) -> BoxFuture<'a, Result<Arc<dyn Consumer>, StreamError>> {
        std::future::ready(self.open_reader(stream, from)).boxed()
    }

    fn last<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<u64, StreamError>> {
        async move {
            self.core.link.check()?;
            let streams = lock(&self.core.streams);
            let state = streams.get(stream);
            Ok(state.ok_or_else(|| StreamError::NotFound { what: stream.to_owned() })?.sequence)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<bool, StreamError>> {
        async move {
            self.core.link.check()?;
            let removed = lock(&self.core.streams).remove(stream).is_some();
            self.core.changed();
            Ok(removed)
        }
        .boxed()
    }
}
