//! Lanes: one stream that many write, each one subject of it alone. A lane is a log of its own, in order: an
//! entry is stored right behind the last one of its lane that its sender knows, or not at all. What others
//! store in the same stream is not felt, but for gaps in the numbers of places.
//!
//! An append whose answer is lost is [`AppendOutcome::Unknown`]: whether it was stored is found out by
//! asking for the last entry. Each also carries an id, which the stream remembers for two minutes: where the
//! expected place was not looked at (a server that leads and does not know it yet), the id still is.
//!
//! A stream can keep the last entry of each lane alone ([`Kept::Last`]): then a lane is a *cell*, which its writer
//! can also [clear](Lane::clear), without a permission to delete anything.

use crate::kv::Replicas;
use crate::log::Following;
use crate::stream::StreamError;
use bytes::Bytes;
use futures::future::BoxFuture;
use lattice_journal::Position;
use lattice_journal::append::AppendOutcome;
use std::sync::Arc;
use std::time::Duration;

/// What a stream keeps of each lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kept {
    /// Every entry.
    #[default]
    All,
    /// The last entry.
    Last,
}

/// Where a lane is, and how its stream is made when it is not there yet. When it is full, appends are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneOptions {
    /// Name of the stream: `[A-Za-z0-9_=-]{1,200}`.
    pub stream: String,
    /// All subjects of the stream.
    pub subjects: String,
    /// The subject of this lane.
    pub subject: String,
    /// Most bytes of the stream.
    pub max_bytes: Option<u64>,
    /// Copies. A stream that is there and has fewer is refused.
    pub replicas: Replicas,
    /// What it keeps.
    pub kept: Kept,
}

/// One lane.
pub trait Lane: Send + Sync {
    /// The last entry, from the stream's leader.
    fn last(&self) -> BoxFuture<'_, Result<Option<(Position, Bytes)>, StreamError>>;

    /// Stores an entry right behind `expected`, the place of the lane's last entry (0: there is none).
    /// Returns when it is stored durably, refused, or when that is not known. An error says that it was
    /// certainly not stored.
    fn append<'a>(
        &'a self,
        expected: Position,
        id: &'a str,
        entry: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<AppendOutcome, StreamError>>;

    /// The lane's entries behind a place, those that are there and those that come: from whichever copy,
    /// which may be late. It ends when the connection is lost, and may end at any time.
    fn follow(&self, after: Position) -> BoxFuture<'_, Result<Following, StreamError>>;

    /// Another lane of the same stream. Asks nobody.
    ///
    /// # Errors
    /// What is wrong with the subject.
    fn beside(&self, subject: &str) -> Result<Arc<dyn Lane>, StreamError>;

    /// Takes away the entry of a lane of which only the last is kept. For a second or so an entry without bytes is
    /// in its place.
    fn clear(&self, timeout: Duration) -> BoxFuture<'_, Result<(), StreamError>>;

    /// Erases one entry, and has its bytes overwritten where they were stored; was it there? Its place stays empty.
    /// The lane's last entry must stay: it says how far the lane has come. It takes a permission that no host has.
    fn erase(&self, at: Position) -> BoxFuture<'_, Result<bool, StreamError>>;
}

/// A lane that has entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneInfo {
    /// Its subject.
    pub subject: String,
    /// How many entries it has.
    pub entries: u64,
}

/// Lanes of a lattice.
pub trait Lanes: Send + Sync {
    /// Opens a lane, and makes its stream if that is not there; one that is keeps its settings, and is refused when
    /// it has fewer copies than are wanted.
    fn open(&self, options: LaneOptions) -> BoxFuture<'_, Result<Arc<dyn Lane>, StreamError>>;

    /// A lane of a stream that is there; none when that is not. Makes nothing.
    fn find(&self, options: LaneOptions) -> BoxFuture<'_, Result<Option<Arc<dyn Lane>>, StreamError>>;

    /// The lanes of a stream that have entries, by subject; none without the stream.
    fn list<'a>(
        &'a self,
        stream: &'a str,
        subjects: &'a str,
    ) -> BoxFuture<'a, Result<Vec<LaneInfo>, StreamError>>;
}
