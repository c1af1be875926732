//! What readers see: every committed entry, in ordered maps.
//!
//! The directory of buckets changes rarely and is swapped whole; the entries of one bucket sit
//! behind a read-write lock that is held for a map operation and never across an await. There is
//! one writer (the writer thread, or whoever holds the memory store's mutex), so that copying the
//! directory loses nothing.

use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

/// A value and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The value.
    pub value: Bytes,
    /// Grows with every write of the store; never 0, which stands for "absent".
    pub version: u64,
}

type Entries = BTreeMap<Box<str>, Entry>;
type Bucket = RwLock<Entries>;

/// One write as it becomes visible; none deletes.
pub(crate) type Effects = BTreeMap<(Arc<str>, Box<str>), Option<Entry>>;

/// All buckets.
#[derive(Default)]
pub(crate) struct Mirror {
    buckets: ArcSwap<BTreeMap<Arc<str>, Arc<Bucket>>>,
}

impl Mirror {
    /// Over what a file held.
    pub(crate) fn load(buckets: BTreeMap<Arc<str>, Entries>) -> Self {
        let buckets =
            buckets.into_iter().map(|(name, entries)| (name, Arc::new(RwLock::new(entries)))).collect();
        Self { buckets: ArcSwap::from_pointee(buckets) }
    }

    /// Looks at one bucket's entries, if it has ever had any.
    fn read<T>(&self, bucket: &str, look: impl FnOnce(&Entries) -> T) -> Option<T> {
        let buckets = self.buckets.load();
        let entries = buckets.get(bucket)?.read().unwrap_or_else(PoisonError::into_inner);
        Some(look(&entries))
    }

    /// The entry, cheaply cloned.
    pub(crate) fn get(&self, bucket: &str, key: &str) -> Option<Entry> {
        self.read(bucket, |entries| entries.get(key).cloned()).flatten()
    }

    /// Is it there?
    pub(crate) fn contains(&self, bucket: &str, key: &str) -> bool {
        self.read(bucket, |entries| entries.contains_key(key)).unwrap_or(false)
    }

    /// Several entries under one lock, so that they are of one moment.
    pub(crate) fn get_many(&self, bucket: &str, keys: &[String]) -> Vec<Option<Bytes>> {
        self.read(bucket, |entries| {
            keys.iter().map(|key| entries.get(key.as_str()).map(|entry| entry.value.clone())).collect()
        })
        .unwrap_or_else(|| vec![None; keys.len()])
    }

    /// Up to `limit` keys after `after`, in order, and whether there are more.
    pub(crate) fn keys(&self, bucket: &str, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.read(bucket, |entries| {
            let mut rest = entries.range::<str, _>((from, Bound::Unbounded));
            let keys = rest.by_ref().take(limit).map(|(key, _)| key.to_string()).collect();
            (keys, rest.next().is_some())
        })
        .unwrap_or_default()
    }

    /// Makes committed effects visible. Only the one writer calls this.
    pub(crate) fn apply(&self, effects: Effects) {
        let known = self.buckets.load();
        let missing: Vec<Arc<str>> = effects
            .keys()
            .map(|(bucket, _)| bucket)
            .filter(|bucket| !known.contains_key(*bucket))
            .map(Arc::clone)
            .collect();
        if !missing.is_empty() {
            let mut next = BTreeMap::clone(&known);
            for bucket in missing {
                next.entry(bucket).or_default();
            }
            self.buckets.store(Arc::new(next));
        }
        let buckets = self.buckets.load();
        for ((bucket, key), effect) in effects {
            let Some(entries) = buckets.get(&bucket) else { continue };
            let mut entries = entries.write().unwrap_or_else(PoisonError::into_inner);
            match effect {
                Some(entry) => drop(entries.insert(key, entry)),
                None => drop(entries.remove(&key)),
            }
        }
    }
}
