//! Streams and durable pull consumers of JetStream.

use super::bus::received;
use super::core::{ApiError, Core, code, header_map};
use crate::bus::{BusError, BusMessage, BusStatus, check_message, check_subject};
use crate::stream::{
    Answer, Consumer, ConsumerOptions, Delivery, Pull, ReadFrom, Retention, Stored, StreamError,
    StreamOptions, Streams, Verdict,
};
use async_nats::{HeaderMap, StatusCode, Subscriber};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use lattice_protocol::jetstream::Delivered;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Time beyond a pull's own for the server's word that it is over.
const GRACE: Duration = Duration::from_secs(2);
/// The server forgets a reader this long after its last pull.
const ABANDONED: Duration = Duration::from_secs(30);
/// Most messages of one pull.
const MAX_PULL: usize = 10_000;

#[derive(Deserialize)]
struct Info {
    state: State,
}

#[derive(Deserialize)]
struct State {
    last_seq: u64,
}

#[derive(Deserialize)]
struct Names {
    #[serde(default)]
    streams: Option<Vec<String>>,
}

pub(super) struct NatsStreams {
    core: Arc<Core>,
}

impl NatsStreams {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn ensure_now(&self, options: StreamOptions) -> Result<(), StreamError> {
        check_name(&options.name)?;
        for subject in &options.subjects {
            check_subject(subject, true)?;
        }
        match self.core.create_stream::<Value>(&options.name, &stream_config(&options)).await {
            Ok(_) | Err(ApiError::Refused { code: code::STREAM_EXISTS, .. }) => Ok(()),
            Err(error) => Err(stream_error(&options.name, error)),
        }
    }

    async fn store(
        &self,
        message: BusMessage,
        message_id: Option<&str>,
        timeout: Duration,
    ) -> Result<Stored, StreamError> {
        check_message(&message, self.core.client.max_payload())?;
        let mut headers = header_map(&message.headers);
        if let Some(id) = message_id {
            headers.get_or_insert_with(HeaderMap::new).insert("Nats-Msg-Id", id);
        }
        match self.core.store(&message.subject, headers, message.payload, timeout).await {
            Ok(ack) => Ok(Stored { stream: ack.stream, sequence: ack.seq, duplicate: ack.duplicate }),
            Err(ApiError::Bus(BusError::NoResponders { subject })) => {
                Err(StreamError::NotFound { what: subject })
            }
            Err(error) => Err(stream_error(&message.subject, error)),
        }
    }

    async fn open(&self, stream: &str, options: ConsumerOptions) -> Result<Arc<dyn Consumer>, StreamError> {
        check_name(stream)?;
        check_name(&options.durable)?;
        let info = format!("CONSUMER.INFO.{stream}.{}", options.durable);
        match self.core.api::<Value>(&info, &Value::Null).await {
            Ok(_) => {}
            Err(ApiError::Refused { code: code::CONSUMER_NOT_FOUND, .. }) => {
                let create = format!("CONSUMER.CREATE.{stream}.{}", options.durable);
                let body = consumer_config(stream, &options);
                let created = self.core.api::<Value>(&create, &body).await;
                created.map_err(|error| stream_error(&options.durable, error))?;
            }
            Err(error) => return Err(stream_error(stream, error)),
        }
        Ok(self.consumer_of(stream, &options.durable))
    }

    fn consumer_of(&self, stream: &str, name: &str) -> Arc<dyn Consumer> {
        let next = format!("{}.CONSUMER.MSG.NEXT.{stream}.{name}", self.core.api);
        let info = format!("CONSUMER.INFO.{stream}.{name}");
        Arc::new(NatsConsumer { core: self.core.clone(), next, info })
    }

    /// Of one subject alone, if one is given.
    pub(super) async fn open_reader(
        &self,
        stream: &str,
        from: ReadFrom,
        subject: Option<&str>,
    ) -> Result<Arc<dyn Consumer>, StreamError> {
        check_name(stream)?;
        self.core.check()?;
        // An inbox ends in a unique token: a good name for the consumer too.
        let inbox = self.core.client.new_inbox();
        let name = inbox.rsplit('.').next().unwrap_or("reader");
        let operation = format!("CONSUMER.CREATE.{stream}.{name}");
        let body = reader_config((stream, subject), name, from);
        let created = self.core.api::<Value>(&operation, &body).await;
        created.map_err(|error| stream_error(stream, error))?;
        Ok(self.consumer_of(stream, name))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn stream_config(options: &StreamOptions) -> Value {
    let age = options.max_age.unwrap_or_default();
    // The server takes no window beyond the oldest message.
    let window = if age.is_zero() { options.duplicate_window } else { options.duplicate_window.min(age) };
    json!({
        "name": options.name,
        "subjects": options.subjects,
        "retention": match options.retention {
            Retention::Limits => "limits",
            Retention::WorkQueue => "workqueue",
        },
        "storage": "file",
        "discard": "old",
        "num_replicas": options.replicas.count(),
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": options.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        "max_age": nanos(age),
        "duplicate_window": nanos(window),
        "allow_direct": true,
    })
}

fn consumer_config(stream: &str, options: &ConsumerOptions) -> Value {
    json!({
        "stream_name": stream,
        "action": "create",
        "config": {
            "durable_name": options.durable,
            "name": options.durable,
            "filter_subjects": options.filter_subjects,
            "deliver_policy": "all",
            "replay_policy": "instant",
            "ack_policy": "explicit",
            "ack_wait": nanos(options.ack_wait),
            "max_deliver": options.max_deliver,
            "max_ack_pending": options.max_ack_pending,
        },
    })
}

fn reader_config((stream, subject): (&str, Option<&str>), name: &str, from: ReadFrom) -> Value {
    let (policy, start) = match from {
        ReadFrom::All | ReadFrom::Sequence(0) => ("all", None),
        ReadFrom::Sequence(sequence) => ("by_start_sequence", Some(("opt_start_seq", json!(sequence)))),
        ReadFrom::Since(unix_ms) => {
            let time = lattice_protocol::event::rfc3339(unix_ms);
            ("by_start_time", Some(("opt_start_time", json!(time))))
        }
        ReadFrom::Now => ("new", None),
    };
    let mut config = json!({
        "name": name,
        "deliver_policy": policy,
        "replay_policy": "instant",
        "ack_policy": "none",
        "inactive_threshold": nanos(ABANDONED),
        "mem_storage": true,
        "num_replicas": 1,
    });
    if let (Some((field, value)), Some(fields)) = (start, config.as_object_mut()) {
        fields.insert(field.to_owned(), value);
    }
    if let (Some(subject), Some(fields)) = (subject, config.as_object_mut()) {
        fields.insert("filter_subject".to_owned(), json!(subject));
    }
    json!({ "stream_name": stream, "action": "create", "config": config })
}

/// Names of streams and consumers become subject tokens.
pub(super) fn check_name(name: &str) -> Result<(), StreamError> {
    let fine = (1..=crate::kv::MAX_BUCKET_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'=' | b'-'));
    if fine { Ok(()) } else { Err(crate::bus::invalid("stream or consumer name", name).into()) }
}

pub(super) fn stream_error(what: &str, error: ApiError) -> StreamError {
    match error {
        ApiError::Bus(error) => error.into(),
        ApiError::Refused { code: code::STREAM_NOT_FOUND, .. } => {
            StreamError::NotFound { what: what.to_owned() }
        }
        ApiError::Refused { description, .. } => {
            StreamError::Refused { what: what.to_owned(), reason: description }
        }
    }
}

impl Streams for NatsStreams {
    fn ensure(&self, options: StreamOptions) -> BoxFuture<'_, Result<(), StreamError>> {
        self.ensure_now(options).boxed()
    }

    fn find<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Option<String>, StreamError>> {
        async move {
            check_subject(subject, false)?;
            match self.core.api::<Names>("STREAM.NAMES", &json!({"subject": subject})).await {
                Ok(names) => Ok(names.streams.and_then(|names| names.into_iter().next())),
                // A server without JetStream has no streams.
                Err(ApiError::Bus(BusError::NoResponders { .. })) => Ok(None),
                Err(error) => Err(stream_error(subject, error)),
            }
        }
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        message: BusMessage,
        message_id: Option<&'a str>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Stored, StreamError>> {
        self.store(message, message_id, timeout).boxed()
    }

    fn consumer<'a>(
        &'a self,
        stream: &'a str,
        options: ConsumerOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Consumer>, StreamError>> {
        self.open(stream, options).boxed()
    }

    fn read<'a>(
        &'a self,
        stream: &'a str,
        from: ReadFrom,
    ) -> BoxFuture<'a, Result<Arc<dyn Consumer>, StreamError>> {
        self.open_reader(stream, from, None).boxed()
    }

    fn last<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<u64, StreamError>> {
        async move {
            check_name(stream)?;
            let info = self.core.api::<Info>(&format!("STREAM.INFO.{stream}"), &Value::Null).await;
            Ok(info.map_err(|error| stream_error(stream, error))?.state.last_seq)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<bool, StreamError>> {
        async move {
            check_name(stream)?;
            match self.core.api::<Value>(&format!("STREAM.DELETE.{stream}"), &Value::Null).await {
                Ok(_) => Ok(true),
                Err(ApiError::Refused { code: code::STREAM_NOT_FOUND, .. }) => Ok(false),
                Err(error) => Err(stream_error(stream, error)),
            }
        }
        .boxed()
    }
}

struct NatsConsumer {
    core: Arc<Core>,
    /// The subject that pulls are sent to.
    next: String,
    /// The operation that tells how it is.
    info: String,
}

/// What we want to know of a consumer.
#[derive(Deserialize)]
struct ConsumerInfo {
    #[serde(default)]
    num_pending: u64,
}

/// One pull under way.
struct Pulling {
    core: Arc<Core>,
    subscriber: Subscriber,
    status: watch::Receiver<BusStatus>,
    left: usize,
    end: Instant,
}

impl NatsConsumer {
    async fn pull_now(&self, max: usize, wait: Duration) -> Result<Pull, StreamError> {
        self.core.check()?;
        let max = max.clamp(1, MAX_PULL);
        let inbox = self.core.client.new_inbox();
        let io = |reason: String| BusError::Io { subject: self.next.clone(), reason };
        let client = &self.core.client;
        let status = self.core.events.status.subscribe();
        let subscriber = client.subscribe(inbox.clone()).await.map_err(|error| io(error.to_string()))?;
        let body = json!({"batch": max, "expires": nanos(wait)}).to_string();
        let sent = client.publish_with_reply(self.next.clone(), inbox, body.into()).await;
        sent.map_err(|error| io(error.to_string()))?;
        let end = Instant::now() + wait + GRACE;
        let pulling = Pulling { core: self.core.clone(), subscriber, status, left: max, end };
        Ok(Pull::new(futures::stream::unfold(pulling, Pulling::next).boxed()))
    }
}

impl Consumer for NatsConsumer {
    fn pull(&self, max: usize, wait: Duration) -> BoxFuture<'_, Result<Pull, StreamError>> {
        self.pull_now(max, wait).boxed()
    }

    fn waiting(&self) -> BoxFuture<'_, Result<u64, StreamError>> {
        async move {
            let info = self.core.api::<ConsumerInfo>(&self.info, &Value::Null).await;
            info.map(|info| info.num_pending).map_err(|error| stream_error(&self.info, error))
        }
        .boxed()
    }
}

impl Pulling {
    async fn next(mut self) -> Option<(Delivery, Self)> {
        self.left = self.left.checked_sub(1)?;
        loop {
            let message = tokio::select! {
                biased;
                message = tokio::time::timeout_at(self.end, self.subscriber.next()) => message.ok()??,
                // The server forgets the pulls of a connection that is lost.
                _ = self.status.changed() => return None,
            };
            match message.status {
                None => {}
                Some(StatusCode::IDLE_HEARTBEAT) => continue,
                Some(status) => {
                    tracing::trace!(%status, description = ?message.description, "pull over");
                    return None;
                }
            }
            let Some(delivery) = self.delivery(message) else { continue };
            return Some((delivery, self));
        }
    }

    fn delivery(&self, message: async_nats::Message) -> Option<Delivery> {
        let mut message = received(message);
        let ack = message.reply.take()?;
        let place = Delivered::parse(&ack)?;
        let answer = NatsAnswer { core: self.core.clone(), ack };
        Some(Delivery::new(message, place.stream_sequence, place.attempt, answer))
    }
}

struct NatsAnswer {
    core: Arc<Core>,
    ack: String,
}

impl Answer for NatsAnswer {
    fn answer(&self, verdict: Verdict) -> BoxFuture<'_, Result<(), StreamError>> {
        async move {
            self.core.check()?;
            let body: Bytes = match verdict {
                Verdict::Ack => Bytes::from_static(b"+ACK"),
                Verdict::Never => Bytes::from_static(b"+TERM"),
                Verdict::Working => Bytes::from_static(b"+WPI"),
                Verdict::Again(pause) => format!("-NAK {}", json!({"delay": nanos(pause)})).into(),
            };
            self.core.client.publish(self.ack.clone(), body).await.map_err(|error| {
                StreamError::Bus(BusError::Io { subject: self.ack.clone(), reason: error.to_string() })
            })
        }
        .boxed()
    }
}
