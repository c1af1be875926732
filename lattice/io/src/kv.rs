//! Key-value buckets with revisions.
//!
//! Revisions grow by at least one with every write anywhere in the bucket; a key's revision is that
//! of its last write. A write is conditional ([`Kv::create`], [`Kv::update`], [`Kv::delete`] with an
//! expected revision) or not. A write whose answer did not come is [`KvError::Unknown`]: it may or
//! may not have happened; read again with [`Kv::get_latest`] before you decide anything.
//!
//! A watch ([`Kv::watch`]) tells a level, not a history: the present value of every key, then
//! [`KvEvent::Current`], then changes as they come. Values in between may be left out. After a
//! reconnection everything is read again and only differences are told (keys that vanished
//! meanwhile as [`KvEvent::Deleted`]), followed by `Current` once more. It never ends by itself.

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use lattice_protocol::{ErrorCode, Report};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::bus::megabytes;

/// Longest bucket name, bytes.
pub const MAX_BUCKET_BYTES: usize = 200;
/// Longest key, bytes.
pub const MAX_KEY_BYTES: usize = 3_200;

/// Copies that a server keeps. Two is not a number of replicas: it can lose as much as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Replicas {
    /// One server.
    #[default]
    One,
    /// Three servers of a cluster.
    Three,
}

impl Replicas {
    /// 1 or 3.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }
}

/// How a bucket is made when it is not there yet. An existing bucket keeps its own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvOptions {
    /// Revisions kept per key, 1 to 64.
    pub history: u8,
    /// Largest value, bytes; none = what the server takes.
    pub max_value: Option<usize>,
    /// Largest bucket, bytes; none = what the account may.
    pub max_bytes: Option<u64>,
    /// Values older than this vanish; none = never.
    pub ttl: Option<Duration>,
    /// Copies.
    pub replicas: Replicas,
}

impl Default for KvOptions {
    fn default() -> Self {
        Self { history: 1, max_value: None, max_bytes: None, ttl: None, replicas: Replicas::One }
    }
}

/// A value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEntry {
    /// Key.
    pub key: String,
    /// Value.
    pub value: Bytes,
    /// Revision of the write that made it.
    pub revision: u64,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvEvent {
    /// A key has this value.
    Put(KvEntry),
    /// A key is gone. The revision is that of the deletion, or 0 when it is not known.
    Deleted {
        /// Key.
        key: String,
        /// Revision of the deletion, or 0.
        revision: u64,
    },
    /// All that was in the bucket when the watch began (or the connection came back) has been told.
    Current,
}

impl KvEvent {
    /// How far the watch has come with it; 0 when it does not say.
    #[must_use]
    pub fn revision(&self) -> u64 {
        match self {
            Self::Put(entry) => entry.revision,
            Self::Deleted { revision, .. } => *revision,
            Self::Current => 0,
        }
    }
}

/// Which keys to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchKeys {
    /// Every key.
    All,
    /// One key.
    One(String),
}

/// Why a key-value operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// Somebody else wrote first (or, for `create`, the key exists).
    #[error("key changed meanwhile: {bucket}/{key} (expected revision {expected})")]
    Conflict {
        /// Bucket.
        bucket: String,
        /// Key.
        key: String,
        /// The revision that the caller expected; 0 = absent.
        expected: u64,
    },
    /// No answer: it is not known whether the write happened.
    #[error("key-value outcome unknown: {bucket}/{key}: {reason}")]
    Unknown {
        /// Bucket.
        bucket: String,
        /// Key.
        key: String,
        /// Why there was no answer.
        reason: String,
    },
    /// The server, or its JetStream, cannot be reached: nothing happened.
    #[error("key-value unreachable: {bucket}: {reason}")]
    Unreachable {
        /// Bucket.
        bucket: String,
        /// What the bus said.
        reason: String,
    },
    /// No such bucket.
    #[error("bucket not found: {bucket}")]
    BucketNotFound {
        /// Bucket.
        bucket: String,
    },
    /// Bucket name or key that cannot be stored.
    #[error("invalid {what}: {got:?}")]
    Invalid {
        /// Which part.
        what: &'static str,
        /// What was given, shortened.
        got: String,
    },
    /// Value over the bucket's or the server's limit, or the bucket is full.
    #[error("value {}, limit {}: {bucket}/{key}", megabytes(*size), megabytes(*limit))]
    TooLarge {
        /// Bucket.
        bucket: String,
        /// Key.
        key: String,
        /// Size, bytes.
        size: usize,
        /// Limit, bytes.
        limit: usize,
    },
    /// This user may not do that.
    #[error("permission denied: {bucket}/{key}")]
    Denied {
        /// Bucket.
        bucket: String,
        /// Key, or `*`.
        key: String,
    },
    /// The server refused for another reason: nothing happened.
    #[error("key-value refused: {bucket}: {reason}")]
    Refused {
        /// Bucket.
        bucket: String,
        /// The server's words.
        reason: String,
    },
}

impl KvError {
    /// Is it certain that nothing was written?
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
    /// Did somebody else write first?
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::Unknown { .. } => ErrorCode::Timeout,
            Self::Unreachable { .. } => ErrorCode::Connection,
            Self::BucketNotFound { .. } => ErrorCode::NotFound,
            Self::Invalid { .. } => ErrorCode::Name,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Denied { .. } => ErrorCode::Denied,
            Self::Refused { .. } => ErrorCode::Io,
        }
    }
}

impl From<KvError> for Report {
    fn from(error: KvError) -> Self {
        let report = Self::new(error.code(), error.to_string());
        match error {
            KvError::Conflict { .. } => report.hint("read it again, and decide again"),
            KvError::Unknown { .. } => report.hint("read it again before you repeat the write"),
            KvError::Unreachable { .. } => {
                report.hint("check that nats-server runs with JetStream, and that CLUSTER_URI names it")
            }
            KvError::Denied { .. } => report.hint("check the permissions of this NATS user"),
            _ => report,
        }
    }
}

/// A watch on a bucket. Dropping it ends it.
pub struct KvWatch {
    events: BoxStream<'static, KvEvent>,
}

impl KvWatch {
    /// Over these events.
    #[must_use]
    pub fn new(events: BoxStream<'static, KvEvent>) -> Self {
        Self { events }
    }
    /// The next event; none only after the bus was closed.
    pub async fn next(&mut self) -> Option<KvEvent> {
        std::future::poll_fn(|cx| self.events.as_mut().poll_next(cx)).await
    }
}

impl Stream for KvWatch {
    type Item = KvEvent;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<KvEvent>> {
        self.events.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for KvWatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KvWatch")
    }
}

/// Buckets of a lattice.
pub trait KvBuckets: Send + Sync {
    /// Opens a bucket, and makes it if it is not there. Bucket names: `[A-Za-z0-9_=-]{1,200}`.
    fn open<'a>(&'a self, bucket: &'a str, options: KvOptions)
    -> BoxFuture<'a, Result<Arc<dyn Kv>, KvError>>;

    /// Opens a bucket that exists; none when it does not.
    fn lookup<'a>(&'a self, bucket: &'a str) -> BoxFuture<'a, Result<Option<Arc<dyn Kv>>, KvError>>;

    /// A handle to a bucket without asking the server anything: works offline, and for users that
    /// may not ask about the bucket. Operations fail while the bucket does not exist; a watch waits
    /// for it.
    fn assume(&self, bucket: &str) -> Result<Arc<dyn Kv>, KvError>;

    /// Deletes a bucket and all in it; `false` when it was not there.
    fn delete<'a>(&'a self, bucket: &'a str) -> BoxFuture<'a, Result<bool, KvError>>;
}

/// One bucket. Keys: dot-separated tokens of `[A-Za-z0-9_=/-]`.
pub trait Kv: Send + Sync {
    /// The bucket's name.
    fn bucket(&self) -> &str;

    /// The value, or none. With three replicas it may be a moment old: never decide ownership from it.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KvEntry>, KvError>>;

    /// The value, or none, from the leader: what a compare-and-swap would be compared with.
    fn get_latest<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KvEntry>, KvError>>;

    /// Writes over whatever is there; gives the new revision.
    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, KvError>>;

    /// Writes a key that is absent or deleted; [`KvError::Conflict`] otherwise.
    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, KvError>>;

    /// Writes if the key still has this revision; [`KvError::Conflict`] otherwise.
    fn update<'a>(&'a self, key: &'a str, value: Bytes, expected: u64)
    -> BoxFuture<'a, Result<u64, KvError>>;

    /// Deletes, if `expected` is given only at that revision; an absent key is no error without it.
    fn delete<'a>(&'a self, key: &'a str, expected: Option<u64>) -> BoxFuture<'a, Result<(), KvError>>;

    /// Deletes a key and its history.
    fn purge<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), KvError>>;

    /// Every key that has a value, sorted.
    fn keys(&self) -> BoxFuture<'_, Result<Vec<String>, KvError>>;

    /// Watches keys; see the module's page. It begins to work when it is first polled.
    fn watch(&self, keys: WatchKeys) -> KvWatch;
}

/// Checks a bucket's name.
pub(crate) fn check_bucket(bucket: &str) -> Result<(), KvError> {
    let fine = (1..=MAX_BUCKET_BYTES).contains(&bucket.len())
        && bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'=' | b'-'));
    if fine { Ok(()) } else { Err(invalid("bucket", bucket)) }
}

/// Checks a key.
pub(crate) fn check_key(key: &str) -> Result<(), KvError> {
    let token = |token: &str| {
        !token.is_empty()
            && token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'=' | b'-' | b'/'))
    };
    if key.len() <= MAX_KEY_BYTES && key.split('.').all(token) { Ok(()) } else { Err(invalid("key", key)) }
}

fn invalid(what: &'static str, got: &str) -> KvError {
    KvError::Invalid { what, got: got.chars().take(80).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_widen_a_subject_are_refused() {
        for bad in ["", ".", "a.", ".a", "a..b", "*", "a.>", "a b", "ä", "a\0"] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        assert!(check_key("a.b=2F/c_-9").is_ok());
        assert!(check_bucket("a.b").is_err() && check_bucket("").is_err());
        assert!(check_bucket("TRELLIS_l_kv_app_x=20y").is_ok());
        assert!(check_bucket(&"x".repeat(201)).is_err());
    }
}
