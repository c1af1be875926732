//! Who is alive, and who owns what, as the two buckets have it.

use super::values::SessionValue;
use super::{Inner, PAUSE};
use lattice_io::{KvError, KvEvent, KvOptions, Replicas, WatchKeys};
use lattice_journal::lease::Sighting;
use lattice_protocol::ownership::OwnerValue;
use std::sync::Arc;

impl Inner {
    /// Makes the two buckets, as often as it takes.
    pub(super) async fn make_buckets(&self) {
        let (kv, subjects) = (&self.options.lattice.kv, &self.options.subjects);
        for bucket in [subjects.sessions_bucket(), subjects.shards_bucket()] {
            loop {
                // Leases and epochs last as long as the streams that they are for, where the server can.
                let wanted = self.state().kinds.values().map(|kind| kind.policy.replicas).max();
                let options = |replicas| KvOptions { replicas, ..KvOptions::default() };
                let error = match kv.open(&bucket, options(wanted.unwrap_or_default())).await {
                    Ok(_) => break,
                    Err(KvError::Refused { .. }) => match kv.open(&bucket, options(Replicas::One)).await {
                        Ok(_) => break,
                        Err(error) => error,
                    },
                    Err(error) => error,
                };
                tracing::debug!(%error, bucket, "bucket not there yet");
                self.troubled(error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    pub(super) async fn watch_sessions(self: Arc<Self>) {
        self.make_buckets().await;
        let mut watch = self.sessions.watch(WatchKeys::All);
        while let Some(event) = watch.next().await {
            let now_ms = self.now_ms();
            match event {
                KvEvent::Put(entry) => {
                    let Ok(value) = serde_json::from_slice::<SessionValue>(&entry.value) else { continue };
                    let mut state = self.state();
                    let sighting = match state.seen.get_mut(&entry.key) {
                        Some((_, seen)) => {
                            if !seen.saw(entry.revision, now_ms) {
                                continue;
                            }
                            *seen
                        }
                        None => Sighting::new(entry.revision, now_ms),
                    };
                    let joined = state.joined.get(&entry.key);
                    if joined.is_none_or(|(session, _)| *session != value.session) {
                        state.joined.insert(entry.key.clone(), (value.session.clone(), now_ms));
                    }
                    state.seen.insert(entry.key, (value, sighting));
                }
                KvEvent::Deleted { key, .. } => {
                    let mut state = self.state();
                    state.seen.remove(&key);
                    state.joined.remove(&key);
                }
                KvEvent::Current => self.state().hears_sessions = true,
            }
            self.changed.notify_waiters();
        }
    }

    pub(super) async fn watch_owners(self: Arc<Self>) {
        self.make_buckets().await;
        let mut watch = self.owners.watch(WatchKeys::All);
        while let Some(event) = watch.next().await {
            match event {
                KvEvent::Put(entry) => {
                    let Ok(value) = serde_json::from_slice::<OwnerValue>(&entry.value) else { continue };
                    let mut state = self.state();
                    let newer = state.owners.get(&entry.key).is_none_or(|known| value.epoch >= known.epoch);
                    if newer {
                        state.owners.insert(entry.key, value);
                    }
                }
                KvEvent::Deleted { key, .. } => drop(self.state().owners.remove(&key)),
                KvEvent::Current => self.state().hears_owners = true,
            }
            self.changed.notify_waiters();
        }
    }
}
