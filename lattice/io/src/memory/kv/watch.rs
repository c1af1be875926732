//! A watch on an in-process bucket: reads what changed since its last revision, each time the
//! store's change counter or the connection moves.

use super::{Shared, lock};
use crate::bus::BusStatus;
use crate::kv::{KvEntry, KvEvent, KvWatch, WatchKeys};
use futures::StreamExt;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;

struct Watcher {
    shared: Arc<Shared>,
    bucket: String,
    keys: WatchKeys,
    changes: watch::Receiver<u64>,
    status: watch::Receiver<BusStatus>,
    /// The bucket that was read, and up to which revision; none before the first reading and after
    /// the connection was lost.
    position: Option<(u64, u64)>,
    /// Revision told last, per key that has a value.
    known: BTreeMap<String, u64>,
    ready: VecDeque<KvEvent>,
}

pub(super) fn watch(shared: Arc<Shared>, bucket: String, keys: WatchKeys) -> KvWatch {
    let watcher = Watcher {
        changes: shared.changes.subscribe(),
        status: shared.link.status.subscribe(),
        shared,
        bucket,
        keys,
        position: None,
        known: BTreeMap::new(),
        ready: VecDeque::new(),
    };
    KvWatch::new(futures::stream::unfold(watcher, Watcher::next).boxed())
}

impl Watcher {
    async fn next(mut self) -> Option<(KvEvent, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((event, self));
            }
            // Marked as seen before reading: a change in between wakes us again.
            self.changes.mark_unchanged();
            if self.status.has_changed().unwrap_or(true) {
                self.status.mark_unchanged();
                self.position = None;
            }
            let status = *self.status.borrow();
            match status {
                BusStatus::Closed => return None,
                BusStatus::Disconnected => self.position = None,
                BusStatus::Connected => self.read(),
            }
            if !self.ready.is_empty() {
                continue;
            }
            let mut status_changes = self.status.clone();
            // Both senders live in `shared`, which we hold.
            tokio::select! {
                _ = self.changes.changed() => {}
                _ = status_changes.changed() => {}
            }
        }
    }

    fn wants(&self, key: &str) -> bool {
        match &self.keys {
            WatchKeys::All => true,
            WatchKeys::One(one) => one == key,
        }
    }

    /// Queues what changed since `position`; everything, told as differences, if there is none.
    fn read(&mut self) {
        let shared = self.shared.clone();
        let mut buckets = lock(&shared.buckets);
        let Some(bucket) = buckets.by_name.get_mut(&self.bucket) else {
            // The bucket is not there (any more): what it held is gone, and we wait for the next.
            if self.position.take().is_some() {
                self.forget(|_| true);
            }
            return;
        };
        bucket.expire();
        let (first, from) = match self.position {
            Some((incarnation, revision)) if incarnation == bucket.incarnation => (false, revision + 1),
            _ => (true, 0),
        };
        for (revision, key) in bucket.by_revision.range(from..) {
            let Some(record) = bucket.records.get(key).filter(|_| self.wants(key)) else { continue };
            self.tell(key, record.value.clone(), *revision);
        }
        if first {
            self.forget(|key| bucket.records.get(key).is_none_or(|record| record.value.is_none()));
            self.ready.push_back(KvEvent::Current);
        }
        self.position = Some((bucket.incarnation, bucket.revision));
    }

    fn tell(&mut self, key: &str, value: Option<bytes::Bytes>, revision: u64) {
        match value {
            Some(value) => {
                if self.known.insert(key.to_owned(), revision) != Some(revision) {
                    let key = key.to_owned();
                    self.ready.push_back(KvEvent::Put(KvEntry { key, value, revision }));
                }
            }
            None => {
                if self.known.remove(key).is_some() {
                    self.ready.push_back(KvEvent::Deleted { key: key.to_owned(), revision });
                }
            }
        }
    }

    fn forget(&mut self, gone: impl Fn(&str) -> bool) {
        let keys: Vec<String> = self.known.keys().filter(|key| gone(key)).cloned().collect();
        for key in keys {
            self.known.remove(&key);
            self.ready.push_back(KvEvent::Deleted { key, revision: 0 });
        }
    }
}
