//! What of a checkpoint is in the lattice already, and what has to go there. Pure.

use keys::Digest;
use lattice_journal::document::{Document, Place};
use lattice_journal::record::{Checkpoint, SnapshotRef};
use lattice_journal::trim::SnapshotList;
use lattice_journal::{ActorSeq, Hash, Position};
use lattice_protocol::EntityKey;
use std::collections::{BTreeMap, BTreeSet};

/// A pack is written anew when less than one in so many of its snapshots is still of use.
const SPARSE: usize = 4;
/// Packs beyond which the smallest are written anew together, down to half of that.
const PACKS: usize = 64;

/// Where a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) seq: ActorSeq,
    pub(super) hash: Hash,
    pub(super) pack: Digest,
    pub(super) index: u32,
    /// It was written by this process, of the journal that it has open.
    is_own: bool,
}

impl Placed {
    /// Does it do for this one? What was there before may be of another history of the same journal (an older copy
    /// of the host's data was put back), in which only the same bytes are the same state; of this one's, later ones
    /// do as well.
    fn does_for(&self, wanted: &SnapshotRef) -> bool {
        self.hash == wanted.hash || (self.is_own && self.seq >= wanted.seq)
    }
}

/// What is in the lattice, as far as is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    placed: BTreeMap<EntityKey, Placed>,
    /// How many snapshots each pack has.
    packs: BTreeMap<Digest, u32>,
    /// Actors that were deleted when the last checkpoint was made: nothing of them is in its packs.
    buried: BTreeSet<EntityKey>,
}

/// What a checkpoint is made of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Snapshots that are there.
    pub(super) kept: BTreeMap<EntityKey, Placed>,
    /// Those that go into new packs.
    pub(super) missing: Vec<SnapshotRef>,
    /// Deleted actors.
    pub(super) buried: Vec<(EntityKey, ActorSeq)>,
}

impl Known {
    /// What a document says.
    pub(super) fn of(document: &Document) -> Self {
        let pack = |place: &Place| usize::try_from(place.pack).ok().and_then(|at| document.packs.get(at));
        let placed = document.snapshots.iter().filter(|(_, place)| !place.is_tombstone());
        let placed = placed.filter_map(|(key, place)| {
            let (pack, _) = pack(place)?;
            let Place { seq, hash, index, .. } = *place;
            Some((key.clone(), Placed { seq, hash, pack: *pack, index, is_own: false }))
        });
        let buried = document.snapshots.iter().filter(|(_, place)| place.is_tombstone());
        Self {
            placed: placed.collect(),
            packs: document.packs.iter().copied().collect(),
            buried: buried.map(|(key, _)| key.clone()).collect(),
        }
    }

    /// The packs that the last checkpoint names, and what was written since.
    pub(super) fn packs(&self) -> impl Iterator<Item = &Digest> {
        self.packs.keys()
    }

    /// A pack is there, with these.
    pub(super) fn written(&mut self, pack: Digest, snapshots: &[SnapshotRef]) {
        self.packs.insert(pack, u32::try_from(snapshots.len()).unwrap_or(u32::MAX));
        for (index, SnapshotRef { key, seq, hash }) in (0..).zip(snapshots) {
            let placed = Placed { seq: *seq, hash: *hash, pack, index, is_own: true };
            self.placed.insert(key.clone(), placed);
        }
    }

    /// What is missing of these; packs that are not whole count as gone.
    pub(super) fn plan(&self, list: &SnapshotList, whole: impl Fn(&Digest) -> bool) -> Plan {
        let mut plan = Plan::default();
        let mut live: BTreeMap<Digest, usize> = BTreeMap::new();
        for wanted in list.iter() {
            if wanted.is_tombstone() {
                plan.buried.push((wanted.key, wanted.seq));
                continue;
            }
            match self.placed.get(&wanted.key) {
                Some(placed) if placed.does_for(&wanted) => {
                    *live.entry(placed.pack).or_default() += 1;
                    plan.kept.insert(wanted.key, *placed);
                }
                _ => plan.missing.push(wanted),
            }
        }
        let unclean = plan.buried.iter().any(|(key, _)| !self.buried.contains(key));
        let stays = self.staying(&live, unclean, whole);
        let (kept, gone) =
            std::mem::take(&mut plan.kept).into_iter().partition(|(_, at)| stays.contains(&at.pack));
        plan.kept = kept;
        let gone: BTreeMap<EntityKey, Placed> = gone;
        plan.missing.extend(gone.into_iter().map(|(key, at)| SnapshotRef {
            key,
            seq: at.seq,
            hash: at.hash,
        }));
        plan.missing.sort();
        plan
    }

    fn staying(
        &self,
        live: &BTreeMap<Digest, usize>,
        unclean: bool,
        whole: impl Fn(&Digest) -> bool,
    ) -> BTreeSet<Digest> {
        let count = |pack: &Digest| self.packs.get(pack).and_then(|count| usize::try_from(*count).ok());
        let worth = |(pack, live): &(&Digest, &usize)| {
            // What is not of use in a pack may be of an actor that was deleted since.
            let most = if unclean { 1 } else { SPARSE };
            whole(pack) && count(pack).is_some_and(|count| **live * most >= count)
        };
        let mut stays: Vec<(usize, Digest)> =
            live.iter().filter(worth).map(|(pack, live)| (*live, *pack)).collect();
        if stays.len() > PACKS {
            stays.sort_unstable();
            stays.drain(..stays.len() - PACKS / 2);
        }
        stays.into_iter().map(|(_, pack)| pack).collect()
    }
}

/// The document of a checkpoint whose snapshots are there. They may be newer than those that it was made with; so
/// its list is one of its own.
pub(super) fn document(
    standing: (&Checkpoint, Position, u64),
    timers: Vec<(EntityKey, std::sync::Arc<str>, lattice_journal::ledger::Timer)>,
    (plan, known): (&Plan, &Known),
) -> Document {
    let (checkpoint, position, at_ms) = standing;
    let mut packs: Vec<(Digest, u32)> = Vec::new();
    let mut numbers: BTreeMap<Digest, u32> = BTreeMap::new();
    let mut snapshots = BTreeMap::new();
    let wanted = plan.missing.iter().filter_map(|one| Some((&one.key, known.placed.get(&one.key)?)));
    for (key, placed) in plan.kept.iter().chain(wanted) {
        let next = u32::try_from(packs.len()).unwrap_or(u32::MAX);
        let number = *numbers.entry(placed.pack).or_insert_with(|| {
            packs.push((placed.pack, known.packs.get(&placed.pack).copied().unwrap_or(1)));
            next
        });
        let Placed { seq, hash, index, .. } = *placed;
        snapshots.insert(key.clone(), Place { seq, hash, pack: number, index });
    }
    snapshots.extend(plan.buried.iter().map(|(key, seq)| (key.clone(), Place::tombstone(*seq))));
    let mut document = Document {
        shard: super::SHARD,
        epoch: checkpoint.epoch,
        checkpoint: checkpoint.without_place(),
        position,
        at_ms,
        places: lattice_journal::places::Places::default(),
        timers,
        packs,
        snapshots,
        milestones: Vec::new(),
    };
    let list = document.list();
    (document.checkpoint.list, document.checkpoint.snapshots) = (list.to_bytes().1, list.len() as u64);
    document
}

#[cfg(test)]
mod tests;
