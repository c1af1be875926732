//! What of a shard is in the lattice beside its stream: packs of snapshots, and the documents of its
//! checkpoints, in an object store of its own. Packs are compressed, and encrypted where this host encrypts
//! snapshots: then every host of the kind needs the same key. Documents name actors and hashes only.
//!
//! Task: `keep` (one per owned shard) stores snapshots. Those that come while a pack is under way are
//! the next pack: a group commit without a timer. Channel: its queue, bounded by the snapshots that a
//! shard takes at once.
//!
//! Invariants: a snapshot counts as kept only after its pack was read back; a document is named in the log
//! only after it, and every pack in it, was found readable; what goes is named by an older document (or
//! written by this owner) and by none that counts. An owner that was fenced and does not know it yet can
//! delete nothing that its successor needs: that one begins at the same documents or at newer ones, and
//! writes packs that are like no others.

mod packs;

use super::{LatticeOptions, Part};
use crate::log::{KeepDone, Trim};
use bytes::Bytes;
use host_store::SnapshotStore;
use keys::Digest;
use lattice_io::{BlobError, Blobs, Replicas};
use lattice_journal::begin::Hint;
use lattice_journal::document::{Document, Pack, Place, thinned};
use lattice_journal::places::Places;
use lattice_journal::record::{Checkpoint, Kept, SnapshotRef};
use lattice_journal::trim::SnapshotList;
use lattice_journal::{Epoch, Hash, Position, ShardId};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, mpsc};

/// Snapshots of one pack, and their bytes, about.
const PACK_SNAPSHOTS: usize = 1_024;
const PACK_BYTES: usize = 4 << 20;
/// Checkpoints kept for the history behind them: about so many over the time it is kept.
const MILESTONES: u64 = 16;

/// A snapshot that is to be kept.
pub(super) struct Item {
    pub(super) hash: Hash,
    pub(super) bytes: Bytes,
    pub(super) done: KeepDone,
}

/// See the module.
pub(super) struct Shelf {
    name: String,
    shard: ShardId,
    replicas: Replicas,
    /// For the envelope of what it keeps.
    snapshots: Arc<SnapshotStore>,
    stores: Arc<dyn lattice_io::BlobStores>,
    store: OnceCell<Arc<dyn Blobs>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    epoch: Epoch,
    /// Packs and documents written by this owner.
    written: u64,
    /// The last checkpoint whose record is valid.
    current: Option<(Digest, Arc<Document>)>,
    /// Where snapshots are: pack, and which of it.
    placed: HashMap<Hash, (Digest, u32)>,
    /// How many snapshots each of those packs has.
    packs: BTreeMap<Digest, u32>,
    /// Packs of this owner that no valid checkpoint names. The shard's loop was told of each, but may not
    /// have heard it when it listed the snapshots of the next checkpoint;
    fresh: BTreeSet<Digest>,
    /// those that were fresh when the last one was made, it has heard of.
    aged: BTreeSet<Digest>,
    /// A document that was written, and the packs that were fresh then.
    pending: Option<(Digest, Arc<Document>, BTreeSet<Digest>)>,
    cache: VecDeque<(Digest, Arc<Pack>, usize)>,
}

impl Shelf {
    pub(super) fn new(options: &LatticeOptions, (kind, shard): &Part, replicas: Replicas) -> Self {
        Self {
            name: options.subjects.shard_store(kind, shard.0),
            shard: *shard,
            replicas,
            snapshots: Arc::clone(&options.snapshots),
            stores: Arc::clone(&options.lattice.blobs),
            store: OnceCell::new(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Made when something is first stored or looked for.
    async fn store(&self) -> Result<&Arc<dyn Blobs>, BlobError> {
        self.store.get_or_try_init(|| self.stores.open(&self.name, self.replicas)).await
    }

    /// A document; the inner error is what is wrong with it, the outer one only that the store cannot be
    /// asked now.
    pub(super) async fn document(&self, name: Digest) -> Result<Result<Document, String>, Report> {
        match self.store().await?.get(name).await {
            Ok(bytes) => Ok(Document::from_bytes(bytes).map_err(|error| error.to_string())),
            Err(error @ (BlobError::NotFound { .. } | BlobError::Damaged { .. })) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// This owner goes on behind this checkpoint; or who stands by is at it.
    pub(super) fn opened(&self, epoch: Epoch, current: Option<(Digest, Document)>) {
        let current = current.map(|(name, document)| (name, Arc::new(document)));
        let mut state = self.state();
        *state = State { epoch, ..State::default() };
        if let Some((_, document)) = &current {
            state.packs = document.packs.iter().copied().collect();
            state.placed = placed(document);
        }
        state.current = current;
    }

    /// Is this document in the store? None always is.
    pub(super) async fn has(&self, document: Option<Digest>) -> Result<bool, Report> {
        match document {
            None => Ok(true),
            Some(name) => Ok(self.store().await?.contains(name).await?),
        }
    }

    /// Keeps no packs in memory: until it is asked for the next one.
    pub(super) fn forget(&self) {
        self.state().cache.clear();
    }

    /// Is this snapshot in the lattice?
    pub(super) fn keeps(&self, snapshot: &SnapshotRef) -> bool {
        self.state().placed.contains_key(&snapshot.hash)
    }

    /// Stores snapshots until nobody can bring any more.
    pub(super) async fn run(self: Arc<Self>, mut items: mpsc::UnboundedReceiver<Item>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                let Some(item) = items.recv().await else { return };
                waiting.push_back(item);
            }
            while let Ok(item) = items.try_recv() {
                waiting.push_back(item);
            }
            let mut bytes = 0;
            let mut together = Vec::new();
            while let Some(item) = waiting.pop_front() {
                bytes += item.bytes.len();
                together.push(item);
                if bytes >= PACK_BYTES || together.len() >= PACK_SNAPSHOTS {
                    break;
                }
            }
            let snapshots = together.iter().map(|item| (item.hash, item.bytes.clone())).collect();
            let stored = self.write_pack(snapshots).await;
            for item in together {
                (item.done)(stored.clone().map(drop));
            }
            // Only now: whoever makes a checkpoint after this has been told of the pack before it.
            self.state().fresh.extend(stored.ok());
        }
    }

    async fn write(&self, bytes: Bytes) -> Result<Digest, Report> {
        let name = Digest::of(&bytes);
        let store = self.store().await?;
        store.put(name, bytes).await?;
        // What it gives is verified against the name.
        store.get(name).await?;
        Ok(name)
    }

    /// The snapshots of an actor in the last checkpoint and the ones before it, the newest first; with
    /// `all` in every one that is kept, else in the last two. What cannot be read is told and left out.
    pub(super) async fn kept(&self, key: &EntityKey, all: bool) -> Result<Vec<Bytes>, Report> {
        let Some((name, document)) = self.state().current.clone() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let earlier = document.milestones.iter().rev().map(|one| one.document).filter(|one| *one != name);
        let most = if all { usize::MAX } else { 1 };
        let earlier: Vec<Digest> = earlier.take(most).collect();
        found.extend(self.snapshot(&document, key, &mut seen).await?);
        for name in earlier {
            match self.document(name).await? {
                Ok(document) => found.extend(self.snapshot(&document, key, &mut seen).await?),
                Err(error) => tracing::warn!(store = self.name, error, "checkpoint passed over"),
            }
        }
        Ok(found)
    }

    async fn snapshot(
        &self,
        document: &Document,
        key: &EntityKey,
        seen: &mut BTreeSet<Hash>,
    ) -> Result<Option<Bytes>, Report> {
        let Some(place) =
            document.snapshots.get(key).filter(|place| !place.is_tombstone() && seen.insert(place.hash))
        else {
            return Ok(None);
        };
        let at = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let Some((pack, _)) = document.packs.get(at(place.pack)) else { return Ok(None) };
        match self.pack(*pack).await {
            Ok(pack) => Ok(pack.snapshots.get(at(place.index)).cloned()),
            Err(report) if matches!(report.code, ErrorCode::Damaged | ErrorCode::ArtifactNotFound) => {
                tracing::error!(store = self.name, actor = %key, error = %report, "snapshot not readable");
                Ok(None)
            }
            Err(report) => Err(report),
        }
    }

    /// Writes what stands for the history up to a record: the record for the log that names it.
    pub(super) async fn checkpoint(
        &self,
        trim: Trim,
        (position, places): (Position, Places),
    ) -> Result<Checkpoint, Report> {
        let (list, _) = SnapshotList::from_bytes(trim.list.clone())?;
        self.rewrite(&list, trim.unclean).await?;
        let (document, fresh) = self.compose(&trim, &list, (position, places))?;
        self.check_packs(&document).await?;
        let name = self.write(document.to_bytes()).await?;
        let document = Arc::new(document);
        let checkpoint = Checkpoint { kept: Some(Kept { document: name, position }), ..trim.checkpoint };
        self.state().pending = Some((name, document, fresh));
        Ok(checkpoint)
    }

    fn compose(
        &self,
        trim: &Trim,
        list: &SnapshotList,
        (position, places): (Position, Places),
    ) -> Result<(Document, BTreeSet<Digest>), Report> {
        let state = self.state();
        let mut packs: Vec<(Digest, u32)> = Vec::new();
        let mut numbers: HashMap<Digest, u32> = HashMap::new();
        let mut snapshots = BTreeMap::new();
        for SnapshotRef { key, seq, hash } in list.iter() {
            if hash == SnapshotRef::TOMBSTONE {
                snapshots.insert(key, Place::tombstone(seq));
                continue;
            }
            let Some((pack, index)) = state.placed.get(&hash).copied() else {
                return Err(
                    Report::new(ErrorCode::Internal, "a snapshot that is not in the lattice").at(&key)
                );
            };
            let next = u32::try_from(packs.len()).unwrap_or(u32::MAX);
            let number = *numbers.entry(pack).or_insert_with(|| {
                packs.push((pack, state.packs.get(&pack).copied().unwrap_or(1)));
                next
            });
            snapshots.insert(key, Place { seq, hash, pack: number, index });
        }
        let mut milestones = Vec::new();
        if let Some((name, before)) = &state.current {
            milestones.clone_from(&before.milestones);
            milestones.push(before.milestone(*name));
        }
        let mut document = Document {
            shard: self.shard,
            epoch: state.epoch,
            checkpoint: trim.checkpoint.clone(),
            position,
            at_ms: trim.keep.now_ms,
            places,
            timers: trim.timers.clone(),
            packs,
            snapshots,
            milestones,
        };
        // The stream will begin behind this one, when this document counts.
        let gone = document.may_go(trim.keep).map(|(through, _)| through).unwrap_or_default();
        document.milestones = thinned(document.milestones, gone, trim.keep.span_ms / MILESTONES);
        Ok((document, state.fresh.clone()))
    }

    /// The record of the pending checkpoint is valid. What it and the one before it are, as hints; and
    /// how far the stream may go.
    pub(super) fn settled(&self, checkpoint: &Checkpoint, record: Position) -> Option<Settled> {
        let mut state = self.state();
        let (name, document, fresh) = state.pending.take()?;
        if checkpoint.kept.is_none_or(|kept| kept.document != name) {
            return None;
        }
        let named = document.names();
        let is_named = |one: &Digest| *one == name || named.contains(one);
        let mut gone = std::mem::take(&mut state.aged);
        if let Some((before, document)) = &state.current {
            gone.extend(document.names());
            gone.insert(*before);
        }
        gone.retain(|one| !is_named(one));
        state.fresh.retain(|pack| !fresh.contains(pack));
        state.aged = fresh.into_iter().filter(|pack| !is_named(pack)).collect();
        // What is in the document, and what is in packs of this owner that none names yet.
        let stays = |pack: &Digest| !gone.contains(pack) && !is_named(pack);
        let mut now = placed(&document);
        let waiting: Vec<_> = state.placed.drain().filter(|(_, (pack, _))| stays(pack)).collect();
        for (hash, place) in waiting {
            now.entry(hash).or_insert(place);
        }
        state.placed = now;
        state.packs.retain(|pack, _| stays(pack));
        state.packs.extend(document.packs.iter().copied());
        state.current = Some((name, Arc::clone(&document)));
        let hint = Hint { document: name, position: document.position, record };
        Some(Settled { hint, document, gone })
    }

    /// Deletes what no checkpoint that counts names.
    pub(super) async fn delete(&self, gone: BTreeSet<Digest>) -> Result<(), Report> {
        let store = self.store().await?;
        for name in gone {
            store.delete(name).await?;
        }
        Ok(())
    }

    /// Deletes what owners before this one have left behind when they died: written under a lower epoch,
    /// and named by no checkpoint that counts. None of it can come to count any more.
    pub(super) async fn sweep(&self) -> Result<usize, Report> {
        let (epoch, named) = {
            let state = self.state();
            let Some((name, document)) = &state.current else { return Ok(0) };
            let mut named = document.names();
            named.insert(*name);
            (state.epoch, named)
        };
        let store = self.store().await?;
        let mut swept = 0;
        for blob in store.list().await? {
            if named.contains(&blob.digest) {
                continue;
            }
            let Ok(bytes) = store.get(blob.digest).await else { continue };
            let writer = self.unwrapped(bytes.clone()).map(|pack| pack.epoch);
            let writer = writer.or_else(|_| Document::from_bytes(bytes).map(|document| document.epoch));
            if writer.is_ok_and(|writer| writer < epoch) {
                store.delete(blob.digest).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

/// What follows from a checkpoint that counts.
pub(super) struct Settled {
    pub(super) hint: Hint,
    pub(super) document: Arc<Document>,
    pub(super) gone: BTreeSet<Digest>,
}

fn placed(document: &Document) -> HashMap<Hash, (Digest, u32)> {
    let pack = |number: u32| usize::try_from(number).ok().and_then(|number| document.packs.get(number));
    let places = document.snapshots.values().filter(|place| !place.is_tombstone());
    places.filter_map(|place| Some((place.hash, (pack(place.pack)?.0, place.index)))).collect()
}
