//! Logs of shards: a message is stored right behind the place that its sender expects, or not at
//! all; it is read from whoever leads; what is old is trimmed. What they mean is
//! `lattice_journal::model`, and every implementation is held to it.
//!
//! An append whose answer is lost is [`AppendOutcome::Unknown`]. It is never sent again from here:
//! whether it was stored is found out by reading (`lattice_journal::append`).

use crate::kv::Replicas;
use crate::stream::StreamError;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use lattice_journal::Position;
use lattice_journal::append::{AppendOutcome, ReadBack};
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;
use std::time::Duration;

/// Most entries of one reading.
pub const MAX_READ: usize = 1_024;

/// How a log is made when it is not there yet. It keeps everything until it is trimmed; when it is
/// full, appends are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Name: `[A-Za-z0-9_=-]{1,200}`.
    pub name: String,
    /// The subject of its messages; of no other stream.
    pub subject: String,
    /// Most bytes.
    pub max_bytes: Option<u64>,
    /// Copies.
    pub replicas: Replicas,
}

/// Why a log could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Older than what is kept.
    #[error("log trimmed: the first place kept is {first}")]
    Trimmed {
        /// The first place that is kept.
        first: Position,
    },
    /// The stream failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl From<LogError> for Report {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Trimmed { .. } => Self::new(ErrorCode::HistoryTrimmed, error.to_string()),
            LogError::Stream(error) => error.into(),
        }
    }
}

/// Logs of a lattice.
pub trait Logs: Send + Sync {
    /// Opens a log, and makes it if it is not there; one that is keeps its settings. `Refused` where there
    /// would be fewer copies than are wanted.
    fn open(&self, options: LogOptions) -> BoxFuture<'_, Result<Arc<dyn Log>, StreamError>>;

    /// The same of a log that is there; none when it is not. Makes nothing.
    fn find(&self, options: LogOptions) -> BoxFuture<'_, Result<Option<Arc<dyn Log>>, StreamError>>;
}

/// Entries as they come, in order: see [`Log::follow`].
pub type Following = BoxStream<'static, (Position, Bytes)>;

/// One log.
pub trait Log: Send + Sync {
    /// Stores an entry right behind `expected`; returns when it is stored durably, refused, or when
    /// that is not known. An error says that it was certainly not stored.
    fn append(
        &self,
        expected: Position,
        entry: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<AppendOutcome, StreamError>>;

    /// At most `most` entries (1 to [`MAX_READ`]) behind a place, from the log's leader.
    fn read(&self, after: Position, most: usize) -> BoxFuture<'_, Result<ReadBack, LogError>>;

    /// Entries behind a place, those that are there and those that come, without asking for each: from
    /// whichever copy, which may be late. It ends when the connection is lost, and may end at any time;
    /// where a place is left out, the log was trimmed.
    fn follow(&self, after: Position) -> BoxFuture<'_, Result<Following, StreamError>>;

    /// Lets everything up to a place go.
    fn trim(&self, through: Position) -> BoxFuture<'_, Result<(), StreamError>>;
}
