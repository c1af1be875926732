//! What a shard learns from its valid records while they are read at the start: where each actor's
//! commits are, which timers run, which effects may not have left, what must not be trimmed.

use crate::activate::{Ready, Wanted};
use crate::bury;
use crate::index::Schedule;
use crate::kinds::Kind;
use crate::roster::Roster;
use crate::shard::Opened;
use bytes::Bytes;
use host_store::Spill;
use lattice_journal::append::Tail;
use lattice_journal::document::Document;
use lattice_journal::outbox::{Outbox, OutboxPosition, outgoing};
use lattice_journal::retain::Marks;
use lattice_journal::trim::SnapshotList;
use lattice_journal::{Record, RecordSeq, Sealed};
use lattice_protocol::{EntityKey, Report};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Actors of which all is in memory while a log is read.
const WARM: usize = 65_536;

/// See the module.
pub(crate) struct History {
    relayed: OutboxPosition,
    outgoing: VecDeque<Arc<Record>>,
    roster: Roster,
    schedule: Schedule,
    bytes: u64,
    marks: Marks,
    /// The last record that deleted an actor.
    tombstone: Option<RecordSeq>,
    /// What could not be read of actors on the disk.
    failed: Option<Report>,
}

impl History {
    /// Behind a checkpoint, with what it says; or from the beginning.
    pub(crate) fn new(schedule: Schedule, list: SnapshotList) -> Self {
        Self {
            relayed: OutboxPosition::default(),
            outgoing: VecDeque::new(),
            roster: Roster::new(list),
            schedule,
            bytes: 0,
            marks: Marks::default(),
            tombstone: None,
            failed: None,
        }
    }

    /// The same, of more actors than there is memory for.
    pub(crate) fn spilling(mut self, spill: Spill) -> Self {
        self.roster.spill_to(spill);
        self
    }

    /// The next valid record. What fails is told by [`Self::open`].
    pub(crate) fn take(&mut self, sealed: &Sealed) {
        let record = sealed.record();
        self.bytes = self.bytes.saturating_add(sealed.bytes().len() as u64);
        if let Err(report) = self.roster.add(record) {
            self.failed.get_or_insert(report);
        }
        self.roster.settle_all(WARM);
        let at_ms = record.commits().iter().map(|commit| commit.hlc.wall_ms).max().unwrap_or(0);
        self.marks.note(record.seq, at_ms, sealed.bytes().len());
        for commit in record.commits() {
            self.schedule.add(commit);
            if commit.is_tombstone() {
                self.tombstone = Some(record.seq);
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
        // What it stands for was relayed.
        self.outgoing.retain(|record| record.seq > through);
        let mut list = document.list();
        // Of those that were deleted since it was made, it knows nothing.
        self.roster.buried().for_each(|(key, seq)| list.bury(key.clone(), seq));
        self.roster.begin_behind(through, list);
        self.bytes = 0;
    }

    /// How much is remembered: actors, places of their commits, snapshots, timers, effects.
    pub(crate) fn size(&self) -> usize {
        self.roster.size() + self.schedule.len() + self.outgoing.len()
    }

    /// The records of an actor behind this one.
    pub(crate) fn after(&self, key: &EntityKey, record: RecordSeq) -> &[RecordSeq] {
        self.roster.after(key, record)
    }

    /// The actors with the youngest commits.
    pub(crate) fn recent(&self, most: usize) -> Vec<EntityKey> {
        let last = |(key, places): (&EntityKey, &[RecordSeq])| Some((*places.last()?, key.clone()));
        let mut all: Vec<_> = self.roster.iter().filter_map(last).collect();
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
            places: self.roster.after(key, RecordSeq(0)).to_vec(),
            first,
            must: self.roster.snapshot(key),
        }
    }

    /// A shard that goes on from there; with actors that are folded already, each up to a record.
    ///
    /// # Errors
    /// The disk, when it [spilled](Self::spilling).
    pub(crate) fn open(
        mut self,
        tail: Tail,
        (first, checkpointed_ms): (RecordSeq, u64),
        folded: HashMap<EntityKey, (Ready, RecordSeq)>,
    ) -> Result<Opened, Report> {
        if let Some(report) = self.failed {
            return Err(report);
        }
        // The records that have opened it are not read, and have nothing for people: they are as old as what
        // is before them. A log in which nothing more happens could never let go of a record of no age.
        self.marks.note(tail.chain.seq(), 0, 0);
        Ok(Opened {
            folded,
            tail,
            relayed: self.relayed,
            outgoing: self.outgoing.into(),
            roster: self.roster,
            schedule: self.schedule,
            first,
            bytes: self.bytes,
            marks: self.marks,
            tombstone: self.tombstone,
            checkpointed_ms,
        })
    }
}

#[cfg(test)]
mod tests;
