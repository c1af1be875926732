//! A shard's log as the shard's loop uses it: one local journal for all of a host's pinned actors, or
//! a stream of the lattice. Appends and reads answer by a callback, which must not block.
//!
//! What stands for history that goes is as durable as the log itself: on the same disk, or in the same
//! lattice. There the log's own record names it, so that the fence covers it: [`ShardLog::trim`] gives that
//! record, and [`ShardLog::settle`] comes after it is valid.

use bytes::Bytes;
use lattice_io::BoxFuture;
use lattice_journal::append::{AppendOutcome, ReadBack};
use lattice_journal::ledger::Timer;
use lattice_journal::record::{Checkpoint, SnapshotRef};
use lattice_journal::retain::Keep;
use lattice_journal::trim::SnapshotList;
use lattice_journal::{Position, RecordSeq, Sealed};
use lattice_protocol::{EntityKey, Report};
use std::sync::Arc;

/// What became of an append; an error means that the log takes no more writes.
pub type Appended = Box<dyn FnOnce(Result<AppendOutcome, Report>) + Send>;
/// What was read; none when the log could not be read.
pub type Read = Box<dyn FnOnce(Option<ReadBack>) + Send>;
/// Whether a snapshot is as durable as the log.
pub type KeepDone = Box<dyn FnOnce(Result<(), Report>) + Send>;

/// What stands for trimmed history.
#[derive(Debug, Clone)]
pub struct Trim {
    /// Where the rest begins.
    pub checkpoint: Checkpoint,
    /// The list of snapshots that it names.
    pub list: Bytes,
    /// Timers that run.
    pub timers: Vec<(EntityKey, Arc<str>, Timer)>,
    /// How much history is kept for people.
    pub keep: Keep,
    /// Deleted actors are in what came up to this record: nothing of that may be left behind by what is trimmed.
    pub purge: Option<RecordSeq>,
    /// Packs of snapshots may have some of deleted actors.
    pub unclean: bool,
}

/// What stands for history that is still there: for a copy of it elsewhere.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Where the rest begins.
    pub checkpoint: Checkpoint,
    /// The snapshots that it names.
    pub list: SnapshotList,
    /// Timers that ran when it was made.
    pub timers: Vec<(EntityKey, Arc<str>, Timer)>,
    /// The last record then: snapshots and timers may be as new as that.
    pub last: RecordSeq,
}

/// What is done when a checkpoint counts.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// How much history is kept for people.
    pub keep: Keep,
    /// Deleted actors may be in what owners before this one have left: it is looked for.
    pub sweeps: bool,
}

/// What became of a trimming.
#[derive(Debug, Clone)]
pub enum Trimmed {
    /// History is gone, and what stands for it is stored.
    Gone,
    /// What stands for it is stored; append this to the log, and settle it then.
    Record(Checkpoint),
}

/// See the module.
pub trait ShardLog: Send + Sync {
    /// Appends right behind `expected`.
    fn append(&self, expected: Position, sealed: Sealed, done: Appended);
    /// Reads what comes after a place, from whoever leads the log.
    fn read(&self, after: Position, done: Read);
    /// These valid records, which are all kept, in order. Not necessarily from the leader.
    fn records(&self, wanted: Vec<RecordSeq>) -> BoxFuture<'_, Result<Vec<Sealed>, Report>>;
    /// A record of this owner is durable and valid, at this place.
    fn durable(&self, sealed: &Sealed, at: Position);
    /// How much of its room is used, percent.
    fn used_percent(&self) -> u8;
    /// Has it still anything from this record or from before it, needed or not?
    fn holds(&self, record: RecordSeq) -> bool;
    /// Where history goes by files: the last record of the file that has this one, when nothing comes into it any
    /// more.
    fn closed(&self, record: RecordSeq) -> Option<RecordSeq>;
    /// Has the file that has any record up to there closed.
    fn roll(&self, through: RecordSeq) -> BoxFuture<'_, Result<(), Report>>;
    /// Is history only let go when nobody wants to see it any more? Else the log itself keeps it for so long.
    fn trims_late(&self) -> bool;
    /// Lets history go, or makes what it takes to let it go, after what stands for it is stored.
    fn trim(&self, trim: Trim) -> BoxFuture<'_, Result<Trimmed, Report>>;
    /// The record that [`Self::trim`] gave is valid, at this place.
    fn settle(&self, checkpoint: Checkpoint, at: Position, kept: Kept) -> BoxFuture<'_, Result<(), Report>>;
    /// Is what stands for history wanted elsewhere: up to this record at least?
    fn wants_standing(&self) -> Option<RecordSeq>;
    /// That was wanted.
    fn stands(&self, standing: Standing);
    /// Has a snapshot be as durable as the log.
    fn keep(&self, snapshot: &SnapshotRef, sealed: Bytes, done: KeepDone);
    /// Is this snapshot, which is on the host's disk, as durable as the log?
    fn keeps(&self, snapshot: &SnapshotRef) -> bool;
    /// Snapshots of an actor that are elsewhere than on the host's disk, the newest first: the last few, or
    /// all that are kept.
    fn snapshots<'a>(&'a self, key: &'a EntityKey, all: bool) -> BoxFuture<'a, Result<Vec<Bytes>, Report>>;
    /// Records before this one with commits of an actor that are kept only for people, in order.
    fn older<'a>(
        &'a self,
        key: &'a EntityKey,
        before: RecordSeq,
    ) -> BoxFuture<'a, Result<Vec<Sealed>, Report>>;
}
