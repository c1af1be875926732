//! How much of a shard's history may go: everything up to the lowest record that some actor still
//! needs, because no snapshot has it, or that the outbox still needs.
//!
//! Before anything goes, a [`Checkpoint`] is written that anchors the rest: the hash that the first
//! record kept follows from, and the list of snapshots that stand for the rest. Who wants to start
//! from it must have it from somebody he trusts: [`Checkpoint::to_bytes`] is what is signed.
//! An actor that was deleted stays in the list as a *tombstone*: the number of its last commit, and no
//! snapshot.
//!
//! What is kept of one actor can be [lent](Trimmer::lend) to somebody with more room. It counts all the same;
//! only the list of snapshots and the names of those who hold back lack it meanwhile.

use crate::chain::Chain;
use crate::codec::snapshot as codec;
use crate::error::DecodeError;
use crate::ids::{ActorSeq, Hash, RecordSeq, ShardId};
use crate::outbox::OutboxPosition;
use crate::record::{Checkpoint, Sealed, SnapshotRef};
use bytes::Bytes;
use lattice_protocol::EntityKey;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// The kind under which a checkpoint is signed (`keys::sign_document`).
pub const CHECKPOINT_KIND: &str = "journal-checkpoint";

impl Checkpoint {
    /// What is signed, and stored where a reader of a trimmed stream finds it.
    #[must_use]
    pub fn to_bytes(&self, shard: ShardId) -> Bytes {
        codec::write_checkpoint(shard, self)
    }
    /// Reads it back.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn from_bytes(bytes: Bytes) -> Result<(ShardId, Self), DecodeError> {
        codec::read_checkpoint(bytes)
    }
}

/// The snapshots that stand for a trimmed history, by actor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotList {
    list: codec::List,
}

impl SnapshotList {
    /// Puts a snapshot in, in place of an older one of the same actor.
    pub fn insert(&mut self, snapshot: SnapshotRef) {
        let SnapshotRef { key, seq, hash } = snapshot;
        let known = self.list.entry(key).or_insert((seq, hash));
        if known.0 <= seq && known.1 != SnapshotRef::TOMBSTONE {
            *known = (seq, hash);
        }
    }
    /// An actor was deleted by this commit: no snapshot stands for it, and none ever will.
    pub fn bury(&mut self, key: EntityKey, seq: ActorSeq) {
        self.list.insert(key, (seq, SnapshotRef::TOMBSTONE));
    }
    /// Was it deleted?
    #[must_use]
    pub fn is_buried(&self, key: &EntityKey) -> bool {
        self.list.get(key).is_some_and(|(_, hash)| *hash == SnapshotRef::TOMBSTONE)
    }
    /// The actors that were deleted.
    pub fn buried(&self) -> impl Iterator<Item = &EntityKey> {
        self.list.iter().filter(|(_, (_, hash))| *hash == SnapshotRef::TOMBSTONE).map(|(key, _)| key)
    }
    /// The snapshot of an actor.
    #[must_use]
    pub fn get(&self, key: &EntityKey) -> Option<SnapshotRef> {
        self.list.get(key).map(|(seq, hash)| SnapshotRef { key: key.clone(), seq: *seq, hash: *hash })
    }
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }
    /// None at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// As it is stored, with the hash that a checkpoint names.
    #[must_use]
    pub fn to_bytes(&self) -> (Bytes, Hash) {
        codec::write_list(&self.list)
    }
    /// Reads it back, with its hash.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn from_bytes(bytes: Bytes) -> Result<(Self, Hash), DecodeError> {
        let (list, hash) = codec::read_list(bytes)?;
        Ok((Self { list }, hash))
    }
    /// The checkpoint for trimming through this record, which the caller has read back from the log and which
    /// is at most [`Trimmer::through`], when these are all snapshots; with the list to store before it.
    #[must_use]
    pub fn checkpoint(&self, at: &Sealed) -> (Checkpoint, Bytes) {
        let (bytes, list) = self.to_bytes();
        let record = at.record();
        let snapshots = self.len() as u64;
        let (through, hash, epoch) = (record.seq, at.hash(), record.epoch);
        (Checkpoint { through, hash, epoch, snapshots, list, kept: None }, bytes)
    }
    /// The snapshots.
    pub fn iter(&self) -> impl Iterator<Item = SnapshotRef> + '_ {
        self.list.iter().map(|(key, (seq, hash))| SnapshotRef { key: key.clone(), seq: *seq, hash: *hash })
    }
}

/// What only the journal has of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    /// The first record of it.
    pub first: RecordSeq,
    /// The last record with a commit of the actor.
    pub last: RecordSeq,
}

/// What a [`Trimmer`] keeps of one actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// What no snapshot has.
    pub needed: Option<Needed>,
    /// Its snapshot: up to which commit, and its hash.
    pub snapshot: Option<(ActorSeq, Hash)>,
}

/// Keeps count of what is still needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trimmer {
    needed: BTreeMap<EntityKey, Needed>,
    order: BTreeSet<(RecordSeq, EntityKey)>,
    snapshots: SnapshotList,
    /// First records that are needed by those who are lent, and by how many.
    lent: BTreeMap<RecordSeq, usize>,
}

impl Trimmer {
    /// Nothing yet, with the snapshots that stand for what was trimmed before.
    #[must_use]
    pub fn new(snapshots: SnapshotList) -> Self {
        Self { snapshots, ..Self::default() }
    }

    /// The snapshots that stand for history that may be gone.
    #[must_use]
    pub fn snapshots(&self) -> &SnapshotList {
        &self.snapshots
    }

    /// A valid record has a commit of this actor.
    pub fn committed(&mut self, key: &EntityKey, record: RecordSeq) {
        match self.needed.get_mut(key) {
            Some(needed) => needed.last = needed.last.max(record),
            None => self.need(key.clone(), Needed { first: record, last: record }),
        }
    }

    /// A valid record has the tombstone of an actor: nothing of it is needed any more.
    pub fn buried(&mut self, key: &EntityKey, seq: ActorSeq) {
        if let Some(needed) = self.needed.remove(key) {
            self.order.remove(&(needed.first, key.clone()));
        }
        self.snapshots.bury(key.clone(), seq);
    }

    /// A snapshot with everything up to `record` is stored as durably as the journal itself. `next`: the record
    /// behind that which has the actor's next commit, where that is known.
    pub fn snapshotted(&mut self, snapshot: SnapshotRef, record: RecordSeq, next: Option<RecordSeq>) {
        let key = snapshot.key.clone();
        self.snapshots.insert(snapshot);
        let Some(needed) = self.needed.get(&key).copied().filter(|needed| needed.first <= record) else {
            return;
        };
        self.order.remove(&(needed.first, key.clone()));
        self.needed.remove(&key);
        if needed.last > record {
            let first = next.unwrap_or(record.next());
            self.need(key, Needed { first, last: needed.last });
        }
    }

    /// Hands out what is kept of an actor, until [`Self::give_back`]: nothing may be told of it meanwhile. What
    /// was deleted is not lent, nor what nothing is kept of.
    pub fn lend(&mut self, key: &EntityKey) -> Option<Share> {
        if self.snapshots.is_buried(key) {
            return None;
        }
        let share = Share { needed: self.needed.remove(key), snapshot: self.snapshots.list.remove(key) };
        if let Some(needed) = share.needed {
            self.order.remove(&(needed.first, key.clone()));
            *self.lent.entry(needed.first).or_default() += 1;
        }
        (share != Share::default()).then_some(share)
    }

    /// Takes it back.
    pub fn give_back(&mut self, key: EntityKey, share: Share) {
        if let Some((seq, hash)) = share.snapshot {
            self.snapshots.list.insert(key.clone(), (seq, hash));
        }
        if let Some(needed) = share.needed {
            if let Entry::Occupied(mut count) = self.lent.entry(needed.first) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
            self.need(key, needed);
        }
    }

    /// How many actors it keeps anything of itself, at most.
    #[must_use]
    pub fn len(&self) -> usize {
        self.needed.len() + self.snapshots.len()
    }

    /// Does it keep nothing itself?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn need(&mut self, key: EntityKey, needed: Needed) {
        self.order.insert((needed.first, key.clone()));
        self.needed.insert(key, needed);
    }

    /// The last record that nobody needs. `relayed` is the outbox's position.
    #[must_use]
    pub fn through(&self, chain: &Chain, relayed: OutboxPosition) -> RecordSeq {
        let needed = self.order.first().map_or(RecordSeq(u64::MAX), |(first, _)| *first);
        let lent = self.lent.first_key_value().map_or(RecordSeq(u64::MAX), |(first, _)| *first);
        let bound = needed.min(lent).min(relayed.record).min(chain.seq().next());
        RecordSeq(bound.0.saturating_sub(1))
    }

    /// Those who hold back everything after `record`: snapshot them, at most `limit` at once.
    #[must_use]
    pub fn laggards(&self, record: RecordSeq, limit: usize) -> Vec<EntityKey> {
        let behind = self.order.iter().take_while(|(first, _)| *first <= record);
        behind.take(limit).map(|(_, key)| key.clone()).collect()
    }

    /// The first records that those need who are lent, up to this one: each has a commit of one of them that
    /// holds back everything after it.
    pub fn lent(&self, record: RecordSeq) -> impl Iterator<Item = RecordSeq> {
        self.lent.keys().copied().take_while(move |first| *first <= record)
    }
}

#[cfg(test)]
mod tests;
