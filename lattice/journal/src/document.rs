//! What stands in the lattice for a shard's history up to a record: so that its stream can be trimmed,
//! and another owner begins there.
//!
//! ```text
//!  the shard's log   … r41 r42 │ r43 … r57 [checkpoint through r42, document D] r58 …
//!  its store               document D ─▶ pack P1, pack P2: snapshots   documents of checkpoints before
//! ```
//! A document is named by its digest in a record of the shard's own log ([`Kept`]): the fence covers it,
//! and nobody has to be believed who says which one counts. A pack holds snapshots of many actors;
//! documents share packs. Both are written once and never changed.
//!
//! [`Kept`]: crate::record::Kept

use crate::codec::document as codec;
use crate::error::DecodeError;
use crate::ids::{ActorSeq, Epoch, Hash, Position, RecordSeq, ShardId};
use crate::ledger::Timer;
use crate::places::Places;
use crate::record::{Checkpoint, SnapshotRef};
use crate::retain::Keep;
use crate::trim::SnapshotList;
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::EntityKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most earlier checkpoints that one document names.
pub const MAX_MILESTONES: usize = 64;

/// Where a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Up to which commit.
    pub seq: ActorSeq,
    /// Hash of the snapshot.
    pub hash: Hash,
    /// Which of the document's packs.
    pub pack: u32,
    /// Which of the pack's snapshots.
    pub index: u32,
}

impl Place {
    /// Of an actor that was deleted by this commit: in no pack.
    #[must_use]
    pub fn tombstone(seq: ActorSeq) -> Self {
        Self { seq, hash: SnapshotRef::TOMBSTONE, pack: 0, index: 0 }
    }

    /// Was the actor deleted?
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.hash == SnapshotRef::TOMBSTONE
    }
}

/// An earlier checkpoint whose document is kept: what a trimmed stream may begin behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// Through this record.
    pub through: RecordSeq,
    /// Its place in the log.
    pub position: Position,
    /// When the checkpoint was made, milliseconds since 1970: nothing before it is younger.
    pub at_ms: u64,
    /// Its document.
    pub document: Digest,
    /// The packs that it needs.
    pub packs: Vec<Digest>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Of which shard.
    pub shard: ShardId,
    /// The owner that wrote it.
    pub epoch: Epoch,
    /// What the log's record says of it, but for where this document is.
    pub checkpoint: Checkpoint,
    /// The place of the last record that it stands for.
    pub position: Position,
    /// When it was made, milliseconds since 1970.
    pub at_ms: u64,
    /// Where records are, as far back as the stream was kept.
    pub places: Places,
    /// Timers that ran.
    pub timers: Vec<(EntityKey, Arc<str>, Timer)>,
    /// The packs, and how many snapshots each has.
    pub packs: Vec<(Digest, u32)>,
    /// The snapshots, by actor.
    pub snapshots: BTreeMap<EntityKey, Place>,
    /// Earlier checkpoints that are kept, the last one last.
    pub milestones: Vec<Milestone>,
}

impl Document {
    /// As it is stored, under the digest of these bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        codec::write(self)
    }

    /// Reads it back.
    ///
    /// # Errors
    /// [`DecodeError`], also when its snapshots are not those that its checkpoint names.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        codec::read(bytes)
    }

    /// The snapshots that it stands on.
    #[must_use]
    pub fn list(&self) -> SnapshotList {
        let mut list = SnapshotList::default();
        for (key, place) in &self.snapshots {
            list.insert(SnapshotRef { key: key.clone(), seq: place.seq, hash: place.hash });
        }
        list
    }

    /// Everything in the store that it names, itself excepted.
    #[must_use]
    pub fn names(&self) -> BTreeSet<Digest> {
        let earlier = self.milestones.iter();
        let earlier = earlier.flat_map(|one| one.packs.iter().copied().chain([one.document]));
        self.packs.iter().map(|(pack, _)| *pack).chain(earlier).collect()
    }

    /// This checkpoint as the next ones name it.
    #[must_use]
    pub fn milestone(&self, document: Digest) -> Milestone {
        Milestone {
            through: self.checkpoint.through,
            position: self.position,
            at_ms: self.at_ms,
            document,
            packs: self.packs.iter().map(|(pack, _)| *pack).collect(),
        }
    }

    /// The last record that may go, and its place: there is a readable checkpoint behind it beside this
    /// one, and all before it is older, or more, than has to be kept.
    #[must_use]
    pub fn may_go(&self, keep: Keep) -> Option<(RecordSeq, Position)> {
        let goes = |one: &&Milestone| {
            one.at_ms.saturating_add(keep.age_ms) <= keep.now_ms || one.through <= keep.too_much
        };
        self.milestones.iter().rfind(goes).map(|one| (one.through, one.position))
    }
}

/// The milestones of the next document: those that still are of use when everything through `gone` has
/// left the stream, about one for each `apart_ms`, and always the last two.
#[must_use]
pub fn thinned(milestones: Vec<Milestone>, gone: RecordSeq, apart_ms: u64) -> Vec<Milestone> {
    let count = milestones.len();
    let mut kept: Vec<Milestone> = Vec::new();
    for (index, one) in milestones.into_iter().enumerate() {
        // What the stream begins behind is what its oldest commits are folded from.
        let due = kept.last().is_none_or(|last| one.at_ms.saturating_sub(last.at_ms) >= apart_ms);
        if one.through >= gone && (due || one.through == gone || index + 2 >= count) {
            kept.push(one);
        }
    }
    if kept.len() > MAX_MILESTONES {
        // The first stays: it is what the stream begins behind.
        let excess = kept.len() - MAX_MILESTONES;
        kept.drain(1..=excess);
    }
    kept
}

/// Snapshots that are stored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Of which shard.
    pub shard: ShardId,
    /// The owner that wrote it.
    pub epoch: Epoch,
    /// Which of its packs: no two packs are alike, so that none is taken for another that may go.
    pub number: u64,
    /// Sealed snapshots.
    pub snapshots: Vec<Bytes>,
}

impl Pack {
    /// Most snapshots of one pack.
    pub const MAX: usize = 4_096;

    /// As it is stored, under the digest of these bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        codec::write_pack(self)
    }

    /// Reads it back.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        codec::read_pack(bytes)
    }
}

#[cfg(test)]
mod tests;
