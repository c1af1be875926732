//! Logs over JetStream: a stream of one subject, appended to with the expected last sequence, read
//! message by message through the stream's leader, trimmed by purging.
//!
//! Every request but the append goes to JetStream's API, which the leader answers; a direct get,
//! which any copy may answer, is never used. Message ids are not used either: a repetition is told
//! by its content, for ever, and not only within a window. Who only follows has a consumer of its own,
//! which may be fed by any copy.

use super::core::{ApiError, Core, code};
use super::keeping::{self, Keeping};
use super::kv::StoredAnswer;
use super::stream::{NatsStreams, check_name, stream_error};
use crate::bus::check_subject;
use crate::log::{Following, Log, LogError, LogOptions, Logs, MAX_READ};
use crate::stream::{Consumer, Pull, ReadFrom, StreamError};
use async_nats::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use lattice_journal::Position;
use lattice_journal::append::{AppendOutcome, ReadBack};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const EXPECTED_LAST: &str = "Nats-Expected-Last-Sequence";
/// Messages asked for at once.
const AT_ONCE: usize = 64;
/// Messages of one pull of a follower, and how long it waits for them. The server forgets a consumer that
/// has not pulled for half a minute.
const PULLED: usize = 256;
const PULL: Duration = Duration::from_secs(10);
/// How much earlier by the server's clock a pull may end.
const EARLY: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Info {
    state: State,
}

#[derive(Deserialize)]
struct State {
    first_seq: u64,
    last_seq: u64,
}

pub(super) struct NatsLogs {
    core: Arc<Core>,
}

impl NatsLogs {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn open_now(&self, options: LogOptions) -> Result<Arc<dyn Log>, StreamError> {
        check_name(&options.name)?;
        check_subject(&options.subject, false)?;
        let (name, subjects, replicas) = (&options.name, &options.subject, options.replicas);
        let keeping = Keeping {
            name,
            subjects,
            replicas,
            max_bytes: options.max_bytes,
            erasable: false,
            last_only: false,
        };
        keeping.open(&self.core).await?;
        Ok(self.log(options))
    }

    async fn find_now(&self, options: LogOptions) -> Result<Option<Arc<dyn Log>>, StreamError> {
        check_name(&options.name)?;
        check_subject(&options.subject, false)?;
        match keeping::check(&self.core, &options.name, options.replicas).await {
            Ok(()) => Ok(Some(self.log(options))),
            Err(StreamError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn log(&self, options: LogOptions) -> Arc<dyn Log> {
        Arc::new(NatsLog { core: self.core.clone(), name: options.name, subject: options.subject })
    }
}

impl Logs for NatsLogs {
    fn open(&self, options: LogOptions) -> BoxFuture<'_, Result<Arc<dyn Log>, StreamError>> {
        self.open_now(options).boxed()
    }

    fn find(&self, options: LogOptions) -> BoxFuture<'_, Result<Option<Arc<dyn Log>>, StreamError>> {
        self.find_now(options).boxed()
    }
}

struct NatsLog {
    core: Arc<Core>,
    name: String,
    subject: String,
}

impl NatsLog {
    async fn info(&self) -> Result<Info, StreamError> {
        let info = self.core.api(&format!("STREAM.INFO.{}", self.name), &Value::Null).await;
        info.map_err(|error| stream_error(&self.name, error))
    }

    fn refused(&self, reason: String) -> StreamError {
        StreamError::Refused { what: self.name.clone(), reason }
    }

    async fn append_now(
        &self,
        expected: Position,
        entry: Bytes,
        timeout: Duration,
    ) -> Result<AppendOutcome, StreamError> {
        let limit = self.core.client.max_payload();
        // The one header, and some room.
        if entry.len() + 128 > limit {
            let (subject, size) = (self.subject.clone(), entry.len());
            return Err(crate::bus::BusError::TooLarge { subject, size, limit }.into());
        }
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED_LAST, expected.0.to_string().as_str());
        match self.core.store(&self.subject, Some(headers), entry, timeout).await {
            Ok(ack) if ack.stream == self.name && !ack.duplicate => {
                Ok(AppendOutcome::Stored(Position(ack.seq)))
            }
            Ok(_) => Ok(AppendOutcome::Unknown),
            Err(ApiError::Refused {
                code: code::WRONG_LAST_SEQUENCE | code::WRONG_LAST_SEQUENCE_CONSTANT,
                ..
            }) => Ok(AppendOutcome::Conflict),
            Err(ApiError::Bus(error)) if !error.is_unsent() => Ok(AppendOutcome::Unknown),
            Err(error) => Err(stream_error(&self.name, error)),
        }
    }

    async fn read_now(&self, after: Position, most: usize) -> Result<ReadBack, LogError> {
        let State { first_seq, last_seq } = self.info().await?.state;
        let first = Position(first_seq.max(1));
        if after.next() < first {
            return Err(LogError::Trimmed { first });
        }
        let end = last_seq.min(after.0.saturating_add(most.clamp(1, MAX_READ) as u64));
        let messages = futures::stream::iter(after.0.saturating_add(1)..=end).map(|seq| self.message(seq));
        let entries: Vec<_> = messages.buffered(AT_ONCE).try_collect().await?;
        Ok(ReadBack { entries, complete: end >= last_seq })
    }

    async fn message(&self, seq: u64) -> Result<(Position, Bytes), LogError> {
        let operation = format!("STREAM.MSG.GET.{}", self.name);
        match self.core.api::<StoredAnswer>(&operation, &json!({"seq": seq})).await {
            Ok(answer) => {
                let data = STANDARD.decode(&answer.message.data);
                let data = data.map_err(|error| self.refused(format!("unexpected answer: {error}")))?;
                Ok((Position(seq), data.into()))
            }
            // Nothing is deleted one by one: it was trimmed since its number was read.
            Err(ApiError::Refused { code: code::MESSAGE_NOT_FOUND, .. }) => {
                Err(LogError::Trimmed { first: Position(self.info().await?.state.first_seq.max(1)) })
            }
            Err(error) => Err(stream_error(&self.name, error).into()),
        }
    }

    async fn follow_now(&self, after: Position) -> Result<Following, StreamError> {
        let from = ReadFrom::Sequence(after.0.saturating_add(1));
        let consumer = NatsStreams::new(self.core.clone()).open_reader(&self.name, from, None).await?;
        Ok(Followed::begin(consumer))
    }

    async fn trim_now(&self, through: Position) -> Result<(), StreamError> {
        let last = self.info().await?.state.last_seq;
        let keep = through.0.min(last).saturating_add(1);
        let purged =
            self.core.api::<Value>(&format!("STREAM.PURGE.{}", self.name), &json!({"seq": keep})).await;
        purged.map(drop).map_err(|error| stream_error(&self.name, error))
    }
}

impl Log for NatsLog {
    fn append(
        &self,
        expected: Position,
        entry: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<AppendOutcome, StreamError>> {
        self.append_now(expected, entry, timeout).boxed()
    }

    fn read(&self, after: Position, most: usize) -> BoxFuture<'_, Result<ReadBack, LogError>> {
        self.read_now(after, most).boxed()
    }

    fn follow(&self, after: Position) -> BoxFuture<'_, Result<Following, StreamError>> {
        self.follow_now(after).boxed()
    }

    fn trim(&self, through: Position) -> BoxFuture<'_, Result<(), StreamError>> {
        self.trim_now(through).boxed()
    }
}

/// A consumer that is pulled for ever.
pub(super) struct Followed {
    consumer: Arc<dyn Consumer>,
    pull: Option<Pulled>,
}

/// A pull under way: when it was begun, and how much may still come.
struct Pulled {
    pull: Pull,
    began: Instant,
    left: usize,
}

impl Followed {
    pub(super) fn begin(consumer: Arc<dyn Consumer>) -> Following {
        futures::stream::unfold(Self { consumer, pull: None }, Self::next).boxed()
    }

    async fn next(mut self) -> Option<((Position, Bytes), Self)> {
        loop {
            let mut pulled = match self.pull.take() {
                Some(pulled) => pulled,
                None => {
                    let began = Instant::now();
                    Pulled { pull: self.consumer.pull(PULLED, PULL).await.ok()?, began, left: PULLED }
                }
            };
            if let Some(delivery) = pulled.pull.next().await {
                pulled.left = pulled.left.saturating_sub(1);
                self.pull = Some(pulled);
                return Some(((Position(delivery.sequence), delivery.message.payload), self));
            }
            // Over before its time, and not filled: the consumer has gone, or the connection.
            if pulled.left > 0 && pulled.began.elapsed() + EARLY < PULL {
                return None;
            }
        }
    }
}
