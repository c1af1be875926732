//! Key-value over JetStream: a bucket is a stream of its keys' values, as other NATS clients have
//! it. Keys are subjects, deletions are marks, compare-and-swap is the expected sequence of a
//! subject.

use super::buckets::refused;
use super::core::{ApiError, Core, code, header_number};
use super::watch::{self, Reader};
use crate::bus::BusError;
use crate::kv::{Kv, KvEntry, KvError, KvWatch, WatchKeys, check_key};
use async_nats::{HeaderMap, Message};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use lattice_protocol::jetstream::{kv_key, kv_stream};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const OPERATION: &str = "KV-Operation";
const MARKER_REASON: &str = "Nats-Marker-Reason";
const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";

/// Does this message mark a deletion?
pub(super) fn is_deletion(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| {
        let operation = headers.get(OPERATION).map(|value| value.as_str());
        matches!(operation, Some("DEL" | "PURGE")) || headers.get(MARKER_REASON).is_some()
    })
}

pub(super) struct NatsBucket {
    core: Arc<Core>,
    bucket: String,
    max_value: Option<usize>,
}

/// The last message of a key.
struct Last {
    revision: u64,
    /// None when it marks a deletion.
    value: Option<Bytes>,
}

/// A message as the leader of a stream gives it.
#[derive(Deserialize)]
pub(super) struct StoredAnswer {
    pub(super) message: StoredMessage,
}

#[derive(Deserialize)]
pub(super) struct StoredMessage {
    pub(super) seq: u64,
    #[serde(default)]
    pub(super) data: String,
    #[serde(default)]
    hdrs: String,
}

impl NatsBucket {
    pub(super) fn new(core: Arc<Core>, bucket: &str, max_value: Option<usize>) -> Self {
        Self { core, bucket: bucket.to_owned(), max_value }
    }

    fn subject(&self, key: &str) -> String {
        kv_key(&self.bucket, key)
    }

    /// From whichever replica answers first.
    async fn read_any(&self, key: &str) -> Result<Option<Last>, KvError> {
        check_key(key)?;
        let (stream, subject) = (kv_stream(&self.bucket), self.subject(key));
        let ask = format!("{}.DIRECT.GET.{stream}.{subject}", self.core.api);
        match self.core.call(&ask, None, Bytes::new(), self.core.timeout).await {
            Ok(answer) => self.direct_answer(answer),
            Err(error) => Err(self.read_error(key, error).await),
        }
    }

    fn direct_answer(&self, answer: Message) -> Result<Option<Last>, KvError> {
        if answer.status.is_some_and(|status| status.as_u16() == 404) {
            return Ok(None);
        }
        let Some(revision) = header_number(&answer, "Nats-Sequence") else {
            let reason =
                format!("unexpected answer: {}", answer.description.as_deref().unwrap_or("no sequence"));
            return Err(KvError::Refused { bucket: self.bucket.clone(), reason });
        };
        let deleted = is_deletion(answer.headers.as_ref());
        Ok(Some(Last { revision, value: (!deleted).then_some(answer.payload) }))
    }

    /// From the leader.
    async fn read_leader(&self, key: &str) -> Result<Option<Last>, KvError> {
        check_key(key)?;
        let operation = format!("STREAM.MSG.GET.{}", kv_stream(&self.bucket));
        let body = json!({"last_by_subj": self.subject(key)});
        match self.core.api::<StoredAnswer>(&operation, &body).await {
            Ok(answer) => self.leader_answer(&answer.message).map(Some),
            Err(ApiError::Refused { code: code::MESSAGE_NOT_FOUND, .. }) => Ok(None),
            Err(ApiError::Bus(error)) => Err(self.read_error(key, error).await),
            Err(error) => Err(refused(&self.bucket, error)),
        }
    }

    fn leader_answer(&self, message: &StoredMessage) -> Result<Last, KvError> {
        let bytes = |text: &str| {
            STANDARD.decode(text).map_err(|error| KvError::Refused {
                bucket: self.bucket.clone(),
                reason: format!("unexpected answer: {error}"),
            })
        };
        let headers = bytes(&message.hdrs)?;
        let headers = String::from_utf8_lossy(&headers);
        let deleted = headers.lines().any(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            name == MARKER_REASON || (name == OPERATION && matches!(value.trim(), "DEL" | "PURGE"))
        });
        let value = if deleted { None } else { Some(bytes(&message.data)?.into()) };
        Ok(Last { revision: message.seq, value })
    }

    /// A read changes nothing, so it never has an unknown outcome. Silence is told apart: is there
    /// no bucket, or nobody who could answer?
    async fn read_error(&self, key: &str, error: BusError) -> KvError {
        let bucket = self.bucket.clone();
        match error {
            BusError::NoResponders { .. } => self.why_silent().await,
            // Into another domain every request goes, and nobody says that nobody is there for the bucket.
            BusError::Timeout { .. } if self.core.domain.is_some() => self.why_silent().await,
            BusError::Denied { .. } => KvError::Denied { bucket, key: key.to_owned() },
            error => KvError::Unreachable { bucket, reason: error.to_string() },
        }
    }

    async fn why_silent(&self) -> KvError {
        let operation = format!("STREAM.INFO.{}", kv_stream(&self.bucket));
        match self.core.api::<Value>(&operation, &Value::Null).await {
            Err(ApiError::Refused { code: code::STREAM_NOT_FOUND, .. }) => {
                KvError::BucketNotFound { bucket: self.bucket.clone() }
            }
            Err(ApiError::Bus(BusError::NoResponders { .. })) => KvError::Unreachable {
                bucket: self.bucket.clone(),
                reason: "JetStream does not answer".to_owned(),
            },
            _ => KvError::Unreachable {
                bucket: self.bucket.clone(),
                reason: "no server answers for the bucket".to_owned(),
            },
        }
    }

    fn entry(key: &str, last: Option<Last>) -> Option<KvEntry> {
        let last = last?;
        Some(KvEntry { key: key.to_owned(), value: last.value?, revision: last.revision })
    }

    /// Publishes one message of a key; `expected` makes it conditional.
    async fn write(
        &self,
        key: &str,
        value: Bytes,
        mut headers: HeaderMap,
        expected: Option<u64>,
    ) -> Result<u64, KvError> {
        check_key(key)?;
        if let Some(expected) = expected {
            headers.insert(EXPECTED_SEQUENCE, expected.to_string());
        }
        let size = value.len();
        let subject = format!("{}{}", self.core.domain_prefix, self.subject(key));
        let headers = (!headers.is_empty()).then_some(headers);
        match self.core.store(&subject, headers, value, self.core.timeout).await {
            Ok(ack) => Ok(ack.seq),
            Err(error) => Err(self.write_error(key, size, expected, error).await),
        }
    }

    async fn write_error(&self, key: &str, size: usize, expected: Option<u64>, error: ApiError) -> KvError {
        let (bucket, key) = (self.bucket.clone(), key.to_owned());
        match error {
            ApiError::Refused {
                code: code::WRONG_LAST_SEQUENCE | code::WRONG_LAST_SEQUENCE_CONSTANT,
                ..
            } => KvError::Conflict { bucket, key, expected: expected.unwrap_or(0) },
            ApiError::Refused { code: code::MESSAGE_TOO_LARGE, .. } => {
                KvError::TooLarge { bucket, key, size, limit: self.max_value.unwrap_or(0) }
            }
            ApiError::Refused { description, .. } => KvError::Refused { bucket, reason: description },
            ApiError::Bus(BusError::NoResponders { .. }) => self.why_silent().await,
            ApiError::Bus(BusError::Denied { .. }) => KvError::Denied { bucket, key },
            ApiError::Bus(BusError::TooLarge { limit, .. }) => KvError::TooLarge { bucket, key, size, limit },
            ApiError::Bus(error) if error.is_unsent() => {
                KvError::Unreachable { bucket, reason: error.to_string() }
            }
            ApiError::Bus(error) => KvError::Unknown { bucket, key, reason: error.to_string() },
        }
    }

    async fn create_now(&self, key: &str, value: Bytes) -> Result<u64, KvError> {
        let first = self.write(key, value.clone(), HeaderMap::new(), Some(0)).await;
        if !first.as_ref().is_err_and(KvError::is_conflict) {
            return first;
        }
        // Something is there: a value is a conflict, the mark of a deletion is written over.
        let conflict = || KvError::Conflict { bucket: self.bucket.clone(), key: key.to_owned(), expected: 0 };
        match self.read_leader(key).await? {
            Some(Last { revision, value: None }) => {
                let second = self.write(key, value, HeaderMap::new(), Some(revision)).await;
                second.map_err(|error| if error.is_conflict() { conflict() } else { error })
            }
            _ => Err(conflict()),
        }
    }
}

impl Kv for NatsBucket {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KvEntry>, KvError>> {
        async move { Ok(Self::entry(key, self.read_any(key).await?)) }.boxed()
    }

    fn get_latest<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KvEntry>, KvError>> {
        async move { Ok(Self::entry(key, self.read_leader(key).await?)) }.boxed()
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, KvError>> {
        self.write(key, value, HeaderMap::new(), None).boxed()
    }

    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, KvError>> {
        self.create_now(key, value).boxed()
    }

    fn update<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expected: u64,
    ) -> BoxFuture<'a, Result<u64, KvError>> {
        self.write(key, value, HeaderMap::new(), Some(expected)).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str, expected: Option<u64>) -> BoxFuture<'a, Result<(), KvError>> {
        async move {
            let mut headers = HeaderMap::new();
            headers.insert(OPERATION, "DEL");
            self.write(key, Bytes::new(), headers, expected).await.map(drop)
        }
        .boxed()
    }

    fn purge<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), KvError>> {
        async move {
            let mut headers = HeaderMap::new();
            headers.insert(OPERATION, "PURGE");
            headers.insert("Nats-Rollup", "sub");
            self.write(key, Bytes::new(), headers, None).await.map(drop)
        }
        .boxed()
    }

    fn keys(&self) -> BoxFuture<'_, Result<Vec<String>, KvError>> {
        async move {
            let reader = Reader::open(&self.core, &self.bucket, &WatchKeys::All, true).await;
            let mut reader = reader.map_err(|error| refused(&self.bucket, error))?;
            let listing = tokio::time::timeout(self.core.timeout, reader.live_keys()).await;
            listing.ok().flatten().ok_or_else(|| KvError::Unreachable {
                bucket: self.bucket.clone(),
                reason: "the listing of keys was interrupted".to_owned(),
            })
        }
        .boxed()
    }

    fn watch(&self, keys: WatchKeys) -> KvWatch {
        watch::watch(self.core.clone(), self.bucket.clone(), keys)
    }
}
