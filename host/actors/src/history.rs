//! What a shard learns from its valid records while they are read at the start: where each actor's
//! commits are, which timers run, which effects may not have left, what must not be trimmed.

use crate::index::{Index, Schedule};
use crate::shard::Opened;
use bytes::Bytes;
use lattice_journal::append::Tail;
use lattice_journal::outbox::{Outbox, OutboxPosition, outgoing};
use lattice_journal::trim::{SnapshotList, Trimmer};
use lattice_journal::{Record, RecordSeq, Sealed};
use std::collections::VecDeque;
use std::sync::Arc;

/// See the module.
pub(crate) struct History {
    relayed: OutboxPosition,
    outgoing: VecDeque<Arc<Record>>,
    index: Index,
    schedule: Schedule,
    trimmer: Trimmer,
    bytes: u64,
}

impl History {
    /// Behind a checkpoint, with what it says; or from the beginning.
    pub(crate) fn new(schedule: Schedule, list: SnapshotList) -> Self {
        Self {
            relayed: OutboxPosition::default(),
            outgoing: VecDeque::new(),
            index: Index::default(),
            schedule,
            trimmer: Trimmer::new(list),
            bytes: 0,
        }
    }

    /// The next valid record.
    pub(crate) fn take(&mut self, sealed: &Sealed) {
        let record = sealed.record();
        self.bytes = self.bytes.saturating_add(sealed.bytes().len() as u64);
        self.index.add(record);
        for commit in record.commits() {
            self.schedule.add(commit);
            self.trimmer.committed(&commit.key, record.seq);
        }
        if let Some(relayed) = Outbox::position_in(record) {
            self.relayed = relayed;
            while self.outgoing.front().is_some_and(|record| record.seq < relayed.record) {
                self.outgoing.pop_front();
            }
        }
        if outgoing(record).next().is_some() {
            // A copy: this one may be a slice of a whole segment.
            let own = Sealed::open(Bytes::copy_from_slice(sealed.bytes()));
            self.outgoing.extend(own.map(|own| Arc::clone(own.record())).ok());
        }
    }

    /// A shard that goes on from there.
    pub(crate) fn open(self, tail: Tail, first: RecordSeq) -> Opened {
        Opened {
            tail,
            relayed: self.relayed,
            outgoing: self.outgoing.into(),
            index: self.index,
            schedule: self.schedule,
            trimmer: self.trimmer,
            first,
            bytes: self.bytes,
        }
    }
}
