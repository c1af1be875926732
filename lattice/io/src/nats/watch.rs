//! Watching a bucket: an ephemeral push consumer that is read with care, and begun anew whenever
//! there is doubt.
//!
//! ```text
//!            created            last initial message, or idle heartbeat
//! (nothing) ─────────▶ reading ───────────────────────────────────────▶ live ─┐ changes
//!     ▲                   │  connection lost · gap · heartbeats missing · gone│  ▲
//!     └───────────────────┴──────────────────────────────────────────────────┘  └─
//! ```
//!
//! Invariants: consumer sequences are dense (a gap means lost messages, so we begin anew); after
//! each reading, `known` is exactly what the bucket holds, and the listener has been told every
//! difference.

use super::core::{ApiError, Core, code};
use super::kv::is_deletion;
use crate::bus::BusStatus;
use crate::kv::{KvEntry, KvEvent, KvWatch, WatchKeys};
use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use lattice_protocol::jetstream::{Delivered, kv_all, kv_key, kv_prefix, kv_stream};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The server says that it lives when there is nothing else to say for this long.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Silence after which the consumer is held to be gone.
const SILENCE: Duration = Duration::from_secs(12);
/// The server forgets a consumer that nobody listens to after this.
const ABANDONED: Duration = Duration::from_secs(30);
/// Pauses between attempts to begin.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

#[derive(Deserialize)]
struct ConsumerInfo {
    num_pending: u64,
}

/// One step of a reader.
enum Read {
    /// A key's last message.
    Change { key: String, revision: u64, value: Option<Bytes> },
    /// All that was there has been read.
    Current,
}

/// One consumer, from its creation until there is doubt.
pub(super) struct Reader {
    core: Arc<Core>,
    subscriber: Subscriber,
    prefix: String,
    sequence: u64,
    current: bool,
    /// A `Current` that is due before the next message.
    announce: bool,
}

impl Reader {
    /// Creates the consumer: the last message of each key, then what comes.
    pub(super) async fn open(
        core: &Arc<Core>,
        bucket: &str,
        keys: &WatchKeys,
        headers_only: bool,
    ) -> Result<Self, ApiError> {
        core.check()?;
        let (inbox, stream) = (core.client.new_inbox(), kv_stream(bucket));
        let prefix = kv_prefix(bucket);
        let filter = match keys {
            WatchKeys::All => kv_all(bucket),
            WatchKeys::One(key) => kv_key(bucket, key),
        };
        let subscriber = core.client.subscribe(inbox.clone()).await.map_err(|error| {
            crate::bus::BusError::Io { subject: inbox.clone(), reason: error.to_string() }
        })?;
        // An inbox ends in a unique token: a good name for the consumer too.
        let name = inbox.rsplit('.').next().unwrap_or("watch");
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let body = json!({
            "stream_name": stream,
            "action": "create",
            "config": {
                "name": name,
                "deliver_subject": inbox,
                "deliver_policy": "last_per_subject",
                "filter_subject": filter,
                "ack_policy": "none",
                "replay_policy": "instant",
                "max_deliver": 1,
                "headers_only": headers_only,
                "flow_control": true,
                "idle_heartbeat": nanos(HEARTBEAT),
                "inactive_threshold": nanos(ABANDONED),
                "mem_storage": true,
                "num_replicas": 1,
            },
        });
        let operation = format!("CONSUMER.CREATE.{stream}.{name}.{filter}");
        let info: ConsumerInfo = core.api(&operation, &body).await?;
        let empty = info.num_pending == 0;
        let core = core.clone();
        Ok(Self { core, subscriber, prefix, sequence: 0, current: empty, announce: empty })
    }

    /// Every key with a value; none when the reading broke off.
    pub(super) async fn live_keys(&mut self) -> Option<Vec<String>> {
        let mut keys = BTreeSet::new();
        loop {
            match self.next().await? {
                Read::Change { key, value: Some(_), .. } => {
                    keys.insert(key);
                }
                Read::Change { key, value: None, .. } => {
                    keys.remove(&key);
                }
                Read::Current => return Some(keys.into_iter().collect()),
            }
        }
    }

    /// The next step; none when there is doubt. Cancelling it loses nothing.
    async fn next(&mut self) -> Option<Read> {
        loop {
            if std::mem::take(&mut self.announce) {
                return Some(Read::Current);
            }
            let message = tokio::time::timeout(SILENCE, self.subscriber.next()).await.ok()??;
            match message.status {
                None => return self.change(message),
                Some(StatusCode::IDLE_HEARTBEAT) => self.heartbeat(&message)?,
                Some(status) => {
                    tracing::debug!(%status, description = ?message.description, "watch ended by the server");
                    return None;
                }
            }
        }
    }

    fn change(&mut self, message: Message) -> Option<Read> {
        let place = Delivered::parse(message.reply.as_deref()?)?;
        if place.consumer_sequence != self.sequence + 1 {
            return None;
        }
        self.sequence = place.consumer_sequence;
        if place.pending == 0 && !self.current {
            self.current = true;
            self.announce = true;
        }
        let key = message.subject.strip_prefix(&self.prefix)?.to_owned();
        let value = (!is_deletion(message.headers.as_ref())).then_some(message.payload);
        Some(Read::Change { key, revision: place.stream_sequence, value })
    }

    /// Answers flow control; finds lost messages; knows that an idle server has sent all there was.
    fn heartbeat(&mut self, message: &Message) -> Option<()> {
        let header = |name: &str| message.headers.as_ref().and_then(|headers| headers.get(name));
        let stalled = header("Nats-Consumer-Stalled").map(|subject| subject.as_str().to_owned());
        if let Some(reply) = message.reply.as_ref().map(ToString::to_string).or(stalled) {
            // Flow control: the answer may be late, and is asked for again if it is lost.
            let client = self.core.client.clone();
            let answer = client.publish(reply, Bytes::new());
            futures::FutureExt::now_or_never(answer);
            return Some(());
        }
        let last = header("Nats-Last-Consumer").and_then(|value| value.as_str().parse::<u64>().ok());
        if last.is_some_and(|last| last != self.sequence) {
            return None;
        }
        if !self.current {
            self.current = true;
            self.announce = true;
        }
        Some(())
    }
}

struct Watcher {
    core: Arc<Core>,
    bucket: String,
    keys: WatchKeys,
    status: watch::Receiver<BusStatus>,
    reader: Option<Reader>,
    pause: Duration,
    /// Revision told last, per key that has a value.
    known: BTreeMap<String, u64>,
    /// Keys with a value in the present reading; none once it is complete.
    reading: Option<BTreeSet<String>>,
    ready: VecDeque<KvEvent>,
}

pub(super) fn watch(core: Arc<Core>, bucket: String, keys: WatchKeys) -> KvWatch {
    let watcher = Watcher {
        status: core.events.status.subscribe(),
        core,
        bucket,
        keys,
        reader: None,
        pause: PAUSES.0,
        known: BTreeMap::new(),
        reading: None,
        ready: VecDeque::new(),
    };
    KvWatch::new(futures::stream::unfold(watcher, Watcher::next).boxed())
}

impl Watcher {
    async fn next(mut self) -> Option<(KvEvent, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((event, self));
            }
            // A connection that went away and came back, even while nobody looked, may have lost
            // messages.
            if self.status.has_changed().unwrap_or(true) {
                self.status.mark_unchanged();
                self.reader = None;
            }
            if *self.status.borrow() == BusStatus::Closed {
                return None;
            }
            match self.reader.take() {
                None => self.begin().await,
                Some(mut reader) => {
                    let mut status = self.status.clone();
                    let read = tokio::select! {
                        read = reader.next() => read,
                        _ = status.changed() => None,
                    };
                    if let Some(read) = read {
                        self.reader = Some(reader);
                        self.take(read);
                    }
                }
            }
        }
    }

    /// Tries once to begin reading; pauses when that fails.
    async fn begin(&mut self) {
        if *self.status.borrow() != BusStatus::Connected {
            // The sender lives in `core`.
            self.status.changed().await.ok();
            return;
        }
        match Reader::open(&self.core, &self.bucket, &self.keys, false).await {
            Ok(reader) => {
                self.reader = Some(reader);
                self.reading = Some(BTreeSet::new());
                self.pause = PAUSES.0;
                return;
            }
            Err(ApiError::Refused { code: code::STREAM_NOT_FOUND, .. }) => self.forget(|_| true),
            Err(error) => {
                tracing::warn!(bucket = %self.bucket, ?error, "watch: cannot begin; will try again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(self.pause) => {}
            _ = self.status.changed() => {}
        }
        self.pause = (self.pause * 2).min(PAUSES.1);
    }

    fn take(&mut self, read: Read) {
        match read {
            Read::Change { key, revision, value: Some(value) } => {
                if let Some(reading) = &mut self.reading {
                    reading.insert(key.clone());
                }
                if self.known.insert(key.clone(), revision) != Some(revision) {
                    self.ready.push_back(KvEvent::Put(KvEntry { key, value, revision }));
                }
            }
            Read::Change { key, revision, value: None } => {
                if let Some(reading) = &mut self.reading {
                    reading.remove(&key);
                }
                if self.known.remove(&key).is_some() {
                    self.ready.push_back(KvEvent::Deleted { key, revision });
                }
            }
            Read::Current => {
                if let Some(reading) = self.reading.take() {
                    self.forget(|key| !reading.contains(key));
                }
                self.ready.push_back(KvEvent::Current);
            }
        }
    }

    fn forget(&mut self, gone: impl Fn(&str) -> bool) {
        let keys: Vec<String> = self.known.keys().filter(|key| gone(key)).cloned().collect();
        for key in keys {
            self.known.remove(&key);
            self.ready.push_back(KvEvent::Deleted { key, revision: 0 });
        }
    }
}
