//! A shard's log as the shard's loop uses it: one local journal for all of a host's pinned actors, or
//! a stream of the lattice. Appends and reads answer by a callback, which must not block.

use lattice_io::BoxFuture;
use lattice_journal::append::{AppendOutcome, ReadBack};
use lattice_journal::record::Checkpoint;
use lattice_journal::{Position, RecordSeq, Sealed};
use lattice_protocol::Report;

/// What became of an append; an error means that the log takes no more writes.
pub type Appended = Box<dyn FnOnce(Result<AppendOutcome, Report>) + Send>;
/// What was read; none when the log could not be read.
pub type Read = Box<dyn FnOnce(Option<ReadBack>) + Send>;

/// What stands for trimmed history.
#[derive(Debug, Clone)]
pub struct Trim {
    /// Where the rest begins.
    pub checkpoint: Checkpoint,
    /// The list of snapshots that it names.
    pub list: bytes::Bytes,
    /// Timers that run, as [`crate::checkpoint`] writes them.
    pub timers: Vec<crate::checkpoint::SavedTimer>,
}

/// See the module.
pub trait ShardLog: Send + Sync {
    /// Appends right behind `expected`.
    fn append(&self, expected: Position, sealed: Sealed, done: Appended);
    /// Reads what comes after a place, from whoever leads the log.
    fn read(&self, after: Position, done: Read);
    /// These valid records, which are all kept, in order. Not necessarily from the leader.
    fn records(&self, wanted: Vec<RecordSeq>) -> BoxFuture<'_, Result<Vec<Sealed>, Report>>;
    /// A record of this owner is durable and valid.
    fn durable(&self, sealed: &Sealed);
    /// How much of its room is used, percent.
    fn used_percent(&self) -> u8;
    /// Lets history go, after what stands for it is stored.
    fn trim(&self, trim: Trim) -> BoxFuture<'_, Result<(), Report>>;
}
