//! What a shard must know of each of its actors, in memory or not: where its commits are, its snapshot, what only
//! the log has of it.
//!
//! ```text
//!  warm: Index, Trimmer ── at rest for longer than others ──▶ cold: a spill on the disk
//!          ▲                                                      │
//!          └── the actor is wanted, or a record has its commit ───┘
//! ```
//! Actors that have left memory are at rest; of the last few of them everything is at hand, that of all others is
//! in a [`Spill`]: what they cost is disk, and some tens of bytes of memory. It is no second truth: it is gone with the
//! process, and made anew of the log.
//!
//! Invariants: of an actor everything is warm, or everything is cold; a tombstone is warm; what is cold holds the
//! log back as if it was warm. When the disk takes no more, all stays warm. When something cannot be read the
//! shard must stop: its log says again what it was.

mod cold;
mod survey;

use crate::index::Index;
use host_store::Spill;
use lattice_journal::outbox::OutboxPosition;
use lattice_journal::record::SnapshotRef;
use lattice_journal::trim::{Share, SnapshotList, Trimmer};
use lattice_journal::{ActorSeq, Chain, Record, RecordSeq};
use lattice_protocol::{EntityKey, Report};
use std::collections::VecDeque;
use survey::Survey;

/// Actors that become cold in one go.
const TOGETHER: usize = 8_192;
/// Bytes of the spill that are looked through in one go for what is not wanted any more.
const TIDY: u64 = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    index: Index,
    trimmer: Trimmer,
    /// None: all is warm.
    spill: Option<Spill>,
    /// Actors that may be at rest, those longest first.
    resting: VecDeque<EntityKey>,
    /// The log was trimmed through this record.
    trimmed: RecordSeq,
    /// It was said that the disk takes no more.
    told: bool,
}

impl Roster {
    /// Behind a checkpoint with these snapshots; or from the beginning.
    pub(crate) fn new(list: SnapshotList) -> Self {
        Self { trimmer: Trimmer::new(list), ..Self::default() }
    }

    /// From now on what is at rest may be there.
    pub(crate) fn spill_to(&mut self, spill: Spill) {
        self.spill.get_or_insert(spill);
    }

    /// A valid record.
    ///
    /// # Errors
    /// The disk: then nothing of the record counts.
    pub(crate) fn add(&mut self, record: &Record) -> Result<(), Report> {
        for commit in record.commits() {
            if self.warm(&commit.key)? {
                self.rest(commit.key.clone());
            }
        }
        self.index.add(record);
        for commit in record.commits() {
            if commit.is_tombstone() {
                self.trimmer.buried(&commit.key, commit.seq);
            } else {
                self.trimmer.committed(&commit.key, record.seq);
            }
        }
        Ok(())
    }

    /// A snapshot with everything up to `record` is as durable as the log.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn snapshotted(&mut self, snapshot: SnapshotRef, record: RecordSeq) -> Result<(), Report> {
        if self.warm(&snapshot.key)? {
            self.rest(snapshot.key.clone());
        }
        let next = self.index.after(&snapshot.key, record).first().copied();
        self.trimmer.snapshotted(snapshot, record, next);
        Ok(())
    }

    /// Brings what is known of an actor to hand; whether it was cold.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn warm(&mut self, key: &EntityKey) -> Result<bool, Report> {
        let Some(spill) = self.spill.as_mut().filter(|spill| !spill.is_empty()) else { return Ok(false) };
        let Some(value) = spill.take(&cold::name(key))? else { return Ok(false) };
        let (places, share) = self.read(&value)?;
        self.index.give_back(key.clone(), places);
        self.trimmer.give_back(key.clone(), share);
        Ok(true)
    }

    /// What is known of an actor, wherever it is: the records with its commits, and its snapshot.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn look(&self, key: &EntityKey) -> Result<(Vec<RecordSeq>, Option<SnapshotRef>), Report> {
        let Some((places, share)) = self.cold_one(key)? else {
            return Ok((self.after(key, RecordSeq(0)).to_vec(), self.snapshot(key)));
        };
        let snapshot = share.snapshot.map(|(seq, hash)| SnapshotRef { key: key.clone(), seq, hash });
        Ok((places, snapshot))
    }

    /// What is known of an actor that is cold; none of others.
    fn cold_one(&self, key: &EntityKey) -> Result<Option<(Vec<RecordSeq>, Share)>, Report> {
        let Some(spill) = &self.spill else { return Ok(None) };
        spill.get(&cold::name(key))?.map(|value| self.read(&value)).transpose()
    }

    /// Places in what was trimmed meanwhile are none.
    fn read(&self, value: &[u8]) -> Result<(Vec<RecordSeq>, Share), Report> {
        let (mut places, share) = cold::read(value)?;
        places.retain(|place| *place > self.trimmed);
        Ok((places, share))
    }

    /// The records of a warm actor behind this one.
    pub(crate) fn after(&self, key: &EntityKey, record: RecordSeq) -> &[RecordSeq] {
        self.index.after(key, record)
    }

    /// The snapshot of a warm actor, or its tombstone.
    pub(crate) fn snapshot(&self, key: &EntityKey) -> Option<SnapshotRef> {
        self.trimmer.snapshots().get(key)
    }

    /// Was it deleted?
    pub(crate) fn is_buried(&self, key: &EntityKey) -> bool {
        self.trimmer.snapshots().is_buried(key)
    }

    /// Those that were deleted, with their last commits.
    pub(crate) fn buried(&self) -> impl Iterator<Item = (&EntityKey, ActorSeq)> {
        let list = self.trimmer.snapshots();
        list.buried().filter_map(|key| Some((key, list.get(key)?.seq)))
    }

    /// An actor has left memory.
    pub(crate) fn rest(&mut self, key: EntityKey) {
        if self.spill.is_some() {
            self.resting.push_back(key);
        }
    }

    /// All that is warm may be at rest.
    pub(crate) fn rest_all(&mut self) {
        self.resting = self.actors().collect();
    }

    /// Lets become cold what is at rest, but for so many; a part of it in one go.
    pub(crate) fn settle(&mut self, keep: usize, is_live: impl Fn(&EntityKey) -> bool) {
        let many = self.resting.len().saturating_sub(keep);
        // When more come than that, a part of them.
        for _ in 0..many.min(TOGETHER.max(many / 4)) {
            let Some(key) = self.resting.pop_front() else { return };
            if !is_live(&key) && !self.cool(&key) {
                self.resting.push_back(key);
                return;
            }
        }
        if let Some(spill) = &mut self.spill
            && let Err(error) = spill.tidy(TIDY)
        {
            tracing::warn!(%error, "the file of actors at rest is not made smaller: it is tried again");
        }
    }

    /// Lets all become cold at once, when more than so many are warm. Blocks.
    pub(crate) fn settle_all(&mut self, most: usize) {
        if self.spill.is_none() || self.told || self.index.count() + self.trimmer.len() <= most {
            return;
        }
        self.rest_all();
        while !self.resting.is_empty() {
            let before = self.resting.len();
            self.settle(0, |_| false);
            // A full disk.
            if self.resting.len() == before {
                return;
            }
        }
    }

    /// What is known of an actor goes to the disk; false when that takes no more.
    fn cool(&mut self, key: &EntityKey) -> bool {
        let Some(spill) = &mut self.spill else { return true };
        let places = self.index.lend(key);
        let share = self.trimmer.lend(key);
        if places.is_empty() && share.is_none() {
            return true;
        }
        let share = share.unwrap_or_default();
        let put = spill.put(&cold::name(key), &cold::write(&places, share));
        if let Err(error) = &put {
            self.index.give_back(key.clone(), places);
            self.trimmer.give_back(key.clone(), share);
            if !std::mem::replace(&mut self.told, true) {
                tracing::warn!(%error, "the disk takes nothing of actors at rest: it stays in memory");
            }
        }
        put.is_ok()
    }

    /// The log was trimmed through this record.
    pub(crate) fn trim(&mut self, through: RecordSeq) {
        self.index.trim(through);
        self.trimmed = self.trimmed.max(through);
    }

    /// The last record that nobody needs.
    pub(crate) fn through(&self, chain: &Chain, relayed: OutboxPosition) -> RecordSeq {
        self.trimmer.through(chain, relayed)
    }

    /// Those who hold back everything after this record, as far as they are warm; at most so many.
    pub(crate) fn laggards(&self, record: RecordSeq, limit: usize) -> Vec<EntityKey> {
        self.trimmer.laggards(record, limit)
    }

    /// Records up to this one, at most so many, each with a commit of a cold actor that holds back everything
    /// after it.
    pub(crate) fn cold_laggards(&self, record: RecordSeq, limit: usize) -> Vec<RecordSeq> {
        self.trimmer.lent(record).take(limit).collect()
    }

    /// Is it cold, and does it need everything from this record on?
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn needs_from(&self, key: &EntityKey, record: RecordSeq) -> Result<bool, Report> {
        let needed = self.cold_one(key)?.and_then(|(_, share)| share.needed);
        Ok(needed.is_some_and(|needed| needed.first == record))
    }

    /// All actors as they are now, to be read elsewhere.
    pub(crate) fn survey(&self) -> Survey {
        let cold = self.spill.as_ref().filter(|spill| !spill.is_empty()).map(Spill::view);
        Survey::new(self.trimmer.snapshots().clone(), cold)
    }

    /// Warm actors with commits that are kept, each with its records.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&EntityKey, &[RecordSeq])> {
        self.index.iter()
    }

    /// Warm actors.
    pub(crate) fn actors(&self) -> impl Iterator<Item = EntityKey> {
        let snapshotted = self.trimmer.snapshots().iter().map(|snapshot| snapshot.key);
        let others = snapshotted.filter(|key| !self.index.knows(key));
        self.index.actors().cloned().chain(others)
    }

    /// How much is warm: places of commits, and snapshots.
    pub(crate) fn size(&self) -> usize {
        self.index.len() + self.trimmer.snapshots().len()
    }

    /// How many actors are cold.
    pub(crate) fn cold(&self) -> usize {
        self.spill.as_ref().map_or(0, Spill::len)
    }

    /// What a checkpoint stands for is forgotten, as if it had begun behind that. All is warm.
    pub(crate) fn begin_behind(&mut self, through: RecordSeq, list: SnapshotList) {
        self.trim(through);
        self.trimmer = Trimmer::new(list);
        for (key, places) in self.index.iter() {
            places.iter().for_each(|place| self.trimmer.committed(key, *place));
        }
    }
}

#[cfg(test)]
mod tests;
