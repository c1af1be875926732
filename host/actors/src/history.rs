//! What a shard learns from its valid records while they are read at the start: where each actor's
//! commits are, which timers run, which effects may not have left, what must not be trimmed.

use crate::activate::{Ready, Wanted};
use crate::bury;
use crate::index::{Index, Schedule};
use crate::kinds::Kind;
use crate::shard::Opened;
use bytes::Bytes;
use lattice_journal::append::Tail;
use lattice_journal::document::Document;
use lattice_journal::outbox::{Outbox, OutboxPosition, outgoing};
use lattice_journal::retain::Marks;
use lattice_journal::trim::{SnapshotList, Trimmer};
use lattice_journal::{Record, RecordSeq, Sealed};
use lattice_protocol::EntityKey;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// See the module.
pub(crate) struct History {
    relayed: OutboxPosition,
    outgoing: VecDeque<Arc<Record>>,
    index: Index,
    schedule: Schedule,
    trimmer: Trimmer,
    bytes: u64,
    marks: Marks,
    /// The last record that deleted an actor.
    tombstone: Option<RecordSeq>,
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
            marks: Marks::default(),
            tombstone: None,
        }
    }

    /// The next valid record.
    pub(crate) fn take(&mut self, sealed: &Sealed) {
        let record = sealed.record();
        self.bytes = self.bytes.saturating_add(sealed.bytes().len() as u64);
        self.index.add(record);
        let at_ms = record.commits().iter().map(|commit| commit.hlc.wall_ms).max().unwrap_or(0);
        self.marks.note(record.seq, at_ms, sealed.bytes().len());
        for commit in record.commits() {
            self.schedule.add(commit);
            if commit.is_tombstone() {
                self.trimmer.buried(&commit.key, commit.seq);
                self.tombstone = Some(record.seq);
            } else {
                self.trimmer.committed(&commit.key, record.seq);
            }
        }
        if let Some(relayed) = Outbox::position_in(record) {
            self.relayed = relayed;
            while self.outgoing.front().is_some_and(|record| record.seq < relayed.record) {
                self.outgoing.pop_front();
            }
        }
        // A tombstone ends the effects before it.
        if outgoing(record).next().is_some() || bury::buried(record).next().is_some() {
            // A copy: this one may be a slice of a whole segment.
            let own = Sealed::open(Bytes::copy_from_slice(sealed.bytes()));
            self.outgoing.extend(own.map(|own| Arc::clone(own.record())).ok());
        }
    }

    /// What a checkpoint stands for is forgotten: as if it had begun behind that.
    pub(crate) fn begin_behind(&mut self, document: &Document) {
        let through = document.checkpoint.through;
        self.index.trim(through);
        // What it stands for was relayed.
        self.outgoing.retain(|record| record.seq > through);
        let mut list = document.list();
        // Of those that were deleted since it was made, it knows nothing.
        for key in self.trimmer.snapshots().buried() {
            if let Some(tombstone) = self.trimmer.snapshots().get(key) {
                list.bury(tombstone.key, tombstone.seq);
            }
        }
        self.trimmer = Trimmer::new(list);
        for (key, places) in self.index.iter() {
            places.iter().for_each(|place| self.trimmer.committed(key, *place));
        }
        self.bytes = 0;
    }

    /// How much is remembered: actors, places of their commits, snapshots, timers, effects.
    pub(crate) fn size(&self) -> usize {
        let timers = self.schedule.len();
        self.index.len() + self.trimmer.snapshots().len() + timers + self.outgoing.len()
    }

    /// The records of an actor behind this one.
    pub(crate) fn after(&self, key: &EntityKey, record: RecordSeq) -> &[RecordSeq] {
        self.index.after(key, record)
    }

    /// The actors with the youngest commits.
    pub(crate) fn recent(&self, most: usize) -> Vec<EntityKey> {
        let last = |(key, places): (&EntityKey, &[RecordSeq])| Some((*places.last()?, key.clone()));
        let mut all: Vec<_> = self.index.iter().filter_map(last).collect();
        all.sort_unstable_by(|left, right| right.cmp(left));
        all.into_iter().take(most).map(|(_, key)| key).collect()
    }

    /// What it takes to fold an actor up to the last record.
    pub(crate) fn wanted(
        &self,
        key: &EntityKey,
        kind: Kind,
        (first, last): (RecordSeq, RecordSeq),
    ) -> Wanted {
        Wanted {
            key: key.clone(),
            kind,
            alone: false,
            last,
            places: self.index.after(key, RecordSeq(0)).to_vec(),
            first,
            must: self.trimmer.snapshots().get(key),
        }
    }

    /// A shard that goes on from there; with actors that are folded already, each up to a record.
    pub(crate) fn open(
        mut self,
        tail: Tail,
        (first, checkpointed_ms): (RecordSeq, u64),
        folded: HashMap<EntityKey, (Ready, RecordSeq)>,
    ) -> Opened {
        // The records that have opened it are not read, and have nothing for people: they are as old as what
        // is before them. A log in which nothing more happens could never let go of a record of no age.
        self.marks.note(tail.chain.seq(), 0, 0);
        Opened {
            folded,
            tail,
            relayed: self.relayed,
            outgoing: self.outgoing.into(),
            index: self.index,
            schedule: self.schedule,
            trimmer: self.trimmer,
            first,
            bytes: self.bytes,
            marks: self.marks,
            tombstone: self.tombstone,
            checkpointed_ms,
        }
    }
}

#[cfg(test)]
mod tests;
