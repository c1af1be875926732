//! Packs of snapshots: written, read, and written anew when little of them is of use, or when some of it must
//! not stay.

use super::Shelf;
use bytes::Bytes;
use futures::StreamExt;
use keys::Digest;
use lattice_journal::Hash;
use lattice_journal::document::{Document, Pack};
use lattice_journal::snapshot::Snapshot;
use lattice_journal::trim::SnapshotList;
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Largest pack when it is unpacked: what was waiting when it was begun, and one more snapshot.
const MAX_PACK_BYTES: usize = 72 << 20;
/// Bytes of packs that are kept in memory after they were read.
const CACHE_BYTES: usize = 16 << 20;
/// Packs that are looked for at once.
const AT_ONCE: usize = 16;
/// Packs of which little is left that are written anew with one checkpoint.
const REWRITTEN: usize = 8;
/// Packs beyond which the smallest are written anew together.
const PACKS: usize = 64;
/// A pack is written anew when less than one in so many of its snapshots is still of use.
const SPARSE: usize = 4;

impl Shelf {
    /// Stores a pack, and reads it back.
    pub(super) async fn write_pack(&self, snapshots: Vec<(Hash, Bytes)>) -> Result<Digest, Report> {
        let (hashes, snapshots): (Vec<Hash>, Vec<Bytes>) = snapshots.into_iter().unzip();
        let pack = {
            let mut state = self.state();
            state.written += 1;
            Pack { shard: self.shard, epoch: state.epoch, number: state.written, snapshots }
        };
        let name = self.write(self.wrapped(&pack)?).await?;
        let mut state = self.state();
        state.packs.insert(name, u32::try_from(hashes.len()).unwrap_or(u32::MAX));
        state.placed.extend((0..).zip(hashes).map(|(index, hash)| (hash, (name, index))));
        Ok(name)
    }

    /// A pack in its envelope, bound to the shard.
    fn wrapped(&self, pack: &Pack) -> Result<Bytes, Report> {
        Ok(self.snapshots.envelope().wrap(&self.name, &pack.to_bytes())?.into())
    }

    pub(super) fn unwrapped(&self, bytes: Bytes) -> Result<Pack, Report> {
        // Those of the first version have no envelope.
        if let Ok(pack) = Pack::from_bytes(bytes.clone()) {
            return Ok(pack);
        }
        let content = self.snapshots.envelope().unwrap(&self.name, &bytes, MAX_PACK_BYTES);
        let content = content.map_err(|what| {
            Report::new(ErrorCode::Damaged, format!("pack of snapshots not readable: {what}"))
                .at(&self.name)
                .hint("every host of a kind needs the same snapshot key; else restore the store from a copy")
        })?;
        Ok(Pack::from_bytes(content.into())?)
    }

    pub(super) async fn pack(&self, name: Digest) -> Result<Arc<Pack>, Report> {
        let cached =
            self.state().cache.iter().find(|(known, ..)| *known == name).map(|(_, pack, _)| pack.clone());
        if let Some(pack) = cached {
            return Ok(pack);
        }
        let bytes = self.store().await?.get(name).await?;
        let pack = Arc::new(self.unwrapped(bytes)?);
        let size = pack.snapshots.iter().map(Bytes::len).sum();
        let mut state = self.state();
        state.cache.push_back((name, Arc::clone(&pack), size));
        while state.cache.len() > 1 && state.cache.iter().map(|(.., size)| size).sum::<usize>() > CACHE_BYTES
        {
            state.cache.pop_front();
        }
        Ok(pack)
    }

    /// Packs of earlier checkpoints may have been lost since they were written.
    pub(super) async fn check_packs(&self, document: &Document) -> Result<(), Report> {
        let store = self.store().await?;
        let packs: Vec<Digest> = document.packs.iter().map(|(pack, _)| *pack).collect();
        let looking = packs.into_iter().map(|pack| async move { (pack, store.contains(pack).await) });
        let mut looking = futures::stream::iter(looking).buffered(AT_ONCE);
        while let Some((pack, there)) = looking.next().await {
            if !there? {
                return Err(Report::new(ErrorCode::Damaged, "a pack of snapshots has gone from the store")
                    .at(&self.name)
                    .got(pack)
                    .hint("restore the object store from a copy; nothing is trimmed until then"));
            }
        }
        Ok(())
    }

    /// Snapshots that are still of use go from packs of which little else is into one of their own; and, where
    /// that is asked, from packs that have any of a deleted actor.
    pub(super) async fn rewrite(&self, list: &SnapshotList, unclean: bool) -> Result<(), Report> {
        let packs: Vec<(Digest, Vec<(Hash, u32)>)> = {
            let state = self.state();
            let mut live: BTreeMap<Digest, Vec<(Hash, u32)>> = BTreeMap::new();
            for snapshot in list.iter() {
                if let Some((pack, index)) = state.placed.get(&snapshot.hash) {
                    live.entry(*pack).or_default().push((snapshot.hash, *index));
                }
            }
            let mut packs: Vec<_> = live.into_iter().collect();
            packs.sort_by_key(|(name, live)| (live.len(), *name));
            packs
        };
        let mut anew = self.sparse(&packs);
        if unclean {
            let buried: BTreeSet<&EntityKey> = list.buried().collect();
            for (name, _) in &packs {
                let pack = self.pack(*name).await?;
                let is_buried = |bytes: &Bytes| {
                    Snapshot::open(bytes.clone()).is_ok_and(|(one, _)| buried.contains(one.ledger.key()))
                };
                if pack.snapshots.iter().any(is_buried) {
                    anew.insert(*name);
                }
            }
        }
        let sparse = packs.into_iter().filter(|(name, _)| anew.contains(name));
        let mut snapshots = Vec::new();
        for (name, live) in sparse {
            let pack = self.pack(name).await?;
            for (hash, index) in live {
                let bytes = usize::try_from(index).ok().and_then(|index| pack.snapshots.get(index));
                snapshots.extend(bytes.map(|bytes| (hash, bytes.clone())));
            }
        }
        if !snapshots.is_empty() {
            let name = self.write_pack(snapshots).await?;
            self.state().fresh.insert(name);
        }
        Ok(())
    }

    fn sparse(&self, packs: &[(Digest, Vec<(Hash, u32)>)]) -> BTreeSet<Digest> {
        let state = self.state();
        let many = packs.len() > PACKS;
        let is_sparse = |(name, live): &&(Digest, Vec<_>)| {
            let count = state.packs.get(name).copied().and_then(|count| usize::try_from(count).ok());
            many || count.is_some_and(|count| live.len() * SPARSE < count)
        };
        packs.iter().filter(is_sparse).take(REWRITTEN).map(|(name, _)| *name).collect()
    }
}
