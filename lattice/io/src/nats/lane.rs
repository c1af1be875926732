//! Lanes as subjects of one JetStream stream: the fence is `Nats-Expected-Last-Subject-Sequence`, and the
//! message's id where that was not looked at. Ends are asked of the stream's leader, never of a copy.

use super::core::{ApiError, Core, code};
use super::keeping::Keeping;
use super::kv::StoredAnswer;
use super::log::Followed;
use super::stream::{NatsStreams, check_name, stream_error};
use crate::bus::check_subject;
use crate::lane::{Kept, Lane, LaneInfo, LaneOptions, Lanes};
use crate::log::Following;
use crate::stream::{ReadFrom, StreamError};
use async_nats::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use lattice_journal::Position;
use lattice_journal::append::AppendOutcome;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const EXPECTED_LAST: &str = "Nats-Expected-Last-Subject-Sequence";
const MESSAGE_ID: &str = "Nats-Msg-Id";
const TIME_TO_LIVE: &str = "Nats-TTL";
/// What a message has beside its entry, bytes: two headers, and some room.
const HEADERS: usize = 512;

/// What a deletion is answered.
#[derive(Deserialize)]
struct Deleted {
    #[serde(default)]
    success: bool,
}

#[derive(Deserialize)]
struct Info {
    state: State,
    #[serde(default)]
    total: u64,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    subjects: BTreeMap<String, u64>,
}

pub(super) struct NatsLanes {
    core: Arc<Core>,
}

impl NatsLanes {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn open_now(&self, options: LaneOptions) -> Result<Arc<dyn Lane>, StreamError> {
        let lane = self.lane(&options)?;
        // Full, it refuses: whoever sends keeps it, and knows that it must.
        let keeping = Keeping {
            name: &options.stream,
            subjects: &options.subjects,
            replicas: options.replicas,
            max_bytes: options.max_bytes,
            erasable: true,
            last_only: options.kept == Kept::Last,
        };
        keeping.open(&self.core).await?;
        Ok(lane)
    }

    async fn find_now(&self, options: LaneOptions) -> Result<Option<Arc<dyn Lane>>, StreamError> {
        let lane = self.lane(&options)?;
        match self.core.api::<Value>(&format!("STREAM.INFO.{}", options.stream), &Value::Null).await {
            Ok(_) => Ok(Some(lane)),
            Err(ApiError::Refused { code: code::STREAM_NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(stream_error(&options.stream, error)),
        }
    }

    fn lane(&self, options: &LaneOptions) -> Result<Arc<dyn Lane>, StreamError> {
        check_name(&options.stream)?;
        check_subject(&options.subjects, true)?;
        check_subject(&options.subject, false)?;
        let (stream, subject) = (options.stream.clone(), options.subject.clone());
        Ok(Arc::new(NatsLane { core: self.core.clone(), stream, subject }))
    }

    async fn list_now(&self, stream: &str, subjects: &str) -> Result<Vec<LaneInfo>, StreamError> {
        check_name(stream)?;
        check_subject(subjects, true)?;
        let operation = format!("STREAM.INFO.{stream}");
        let mut found: Vec<LaneInfo> = Vec::new();
        loop {
            // The server tells a part of them at once.
            let body = json!({"subjects_filter": subjects, "offset": found.len()});
            let info = match self.core.api::<Info>(&operation, &body).await {
                Ok(info) => info,
                Err(ApiError::Refused { code: code::STREAM_NOT_FOUND, .. }) => return Ok(Vec::new()),
                Err(error) => return Err(stream_error(stream, error)),
            };
            let more = !info.state.subjects.is_empty();
            found.extend(
                info.state.subjects.into_iter().map(|(subject, entries)| LaneInfo { subject, entries }),
            );
            if !more || found.len() as u64 >= info.total {
                found.sort_by(|left, right| left.subject.cmp(&right.subject));
                return Ok(found);
            }
        }
    }
}

impl Lanes for NatsLanes {
    fn open(&self, options: LaneOptions) -> BoxFuture<'_, Result<Arc<dyn Lane>, StreamError>> {
        self.open_now(options).boxed()
    }

    fn find(&self, options: LaneOptions) -> BoxFuture<'_, Result<Option<Arc<dyn Lane>>, StreamError>> {
        self.find_now(options).boxed()
    }

    fn list<'a>(
        &'a self,
        stream: &'a str,
        subjects: &'a str,
    ) -> BoxFuture<'a, Result<Vec<LaneInfo>, StreamError>> {
        self.list_now(stream, subjects).boxed()
    }
}

struct NatsLane {
    core: Arc<Core>,
    stream: String,
    subject: String,
}

impl NatsLane {
    async fn last_now(&self) -> Result<Option<(Position, Bytes)>, StreamError> {
        let operation = format!("STREAM.MSG.GET.{}", self.stream);
        let body = json!({"last_by_subj": self.subject});
        let answer = match self.core.api::<StoredAnswer>(&operation, &body).await {
            Ok(answer) => answer,
            Err(ApiError::Refused { code: code::MESSAGE_NOT_FOUND, .. }) => return Ok(None),
            Err(error) => return Err(stream_error(&self.stream, error)),
        };
        let data = STANDARD.decode(&answer.message.data).map_err(|error| StreamError::Refused {
            what: self.stream.clone(),
            reason: format!("unexpected answer: {error}"),
        })?;
        Ok(Some((Position(answer.message.seq), data.into())))
    }

    async fn append_now(
        &self,
        expected: Position,
        id: &str,
        entry: Bytes,
        timeout: Duration,
    ) -> Result<AppendOutcome, StreamError> {
        let limit = self.core.client.max_payload();
        if entry.len() + HEADERS > limit {
            let (subject, size) = (self.subject.clone(), entry.len());
            return Err(crate::bus::BusError::TooLarge { subject, size, limit }.into());
        }
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED_LAST, expected.0.to_string().as_str());
        headers.insert(MESSAGE_ID, id);
        match self.core.store(&self.subject, Some(headers), entry, timeout).await {
            Ok(ack) if ack.stream == self.stream && !ack.duplicate => {
                Ok(AppendOutcome::Stored(Position(ack.seq)))
            }
            Ok(_) => Ok(AppendOutcome::Unknown),
            Err(ApiError::Refused {
                code: code::WRONG_LAST_SEQUENCE | code::WRONG_LAST_SEQUENCE_CONSTANT,
                ..
            }) => Ok(AppendOutcome::Conflict),
            Err(ApiError::Bus(error)) if !error.is_unsent() => Ok(AppendOutcome::Unknown),
            Err(error) => Err(stream_error(&self.stream, error)),
        }
    }

    async fn follow_now(&self, after: Position) -> Result<Following, StreamError> {
        let from = ReadFrom::Sequence(after.0.saturating_add(1));
        let streams = NatsStreams::new(self.core.clone());
        let consumer = streams.open_reader(&self.stream, from, Some(&self.subject)).await?;
        Ok(Followed::begin(consumer))
    }

    async fn clear_now(&self, timeout: Duration) -> Result<(), StreamError> {
        // It takes the place of the one before, and goes by itself.
        let mut headers = HeaderMap::new();
        headers.insert(TIME_TO_LIVE, "1s");
        let stored = self.core.store(&self.subject, Some(headers), Bytes::new(), timeout).await;
        stored.map(drop).map_err(|error| stream_error(&self.stream, error))
    }

    async fn erase_now(&self, at: Position) -> Result<bool, StreamError> {
        let operation = format!("STREAM.MSG.DELETE.{}", self.stream);
        let body = json!({"seq": at.0, "no_erase": false});
        match self.core.api::<Deleted>(&operation, &body).await {
            Ok(deleted) => Ok(deleted.success),
            Err(ApiError::Refused { code: code::MESSAGE_NOT_FOUND | code::SEQUENCE_NOT_FOUND, .. }) => {
                Ok(false)
            }
            Err(error) => Err(stream_error(&self.stream, error)),
        }
    }
}

impl Lane for NatsLane {
    fn last(&self) -> BoxFuture<'_, Result<Option<(Position, Bytes)>, StreamError>> {
        self.last_now().boxed()
    }

    fn append<'a>(
        &'a self,
        expected: Position,
        id: &'a str,
        entry: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<AppendOutcome, StreamError>> {
        self.append_now(expected, id, entry, timeout).boxed()
    }

    fn follow(&self, after: Position) -> BoxFuture<'_, Result<Following, StreamError>> {
        self.follow_now(after).boxed()
    }

    fn beside(&self, subject: &str) -> Result<Arc<dyn Lane>, StreamError> {
        check_subject(subject, false)?;
        let (core, stream) = (self.core.clone(), self.stream.clone());
        Ok(Arc::new(NatsLane { core, stream, subject: subject.to_owned() }))
    }

    fn clear(&self, timeout: Duration) -> BoxFuture<'_, Result<(), StreamError>> {
        self.clear_now(timeout).boxed()
    }

    fn erase(&self, at: Position) -> BoxFuture<'_, Result<bool, StreamError>> {
        self.erase_now(at).boxed()
    }
}
