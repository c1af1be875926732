//! Who is alive, and who owns what, as the two buckets have it.

use super::values::SessionValue;
use super::{Inner, PAUSE};
use lattice_io::{KvEntry, KvError, KvEvent, KvOptions, Replicas, WatchKeys};
use lattice_journal::SessionId;
use lattice_journal::lease::Sighting;
use lattice_protocol::KindName;
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

    /// A session as its bucket has it, and since when it has been like that; none when it cannot be read.
    fn saw(&self, entry: KvEntry) -> Option<(SessionValue, Sighting)> {
        let now_ms = self.now_ms();
        let value = serde_json::from_slice::<SessionValue>(&entry.value).ok()?;
        let mut state = self.state();
        if let Some((known, seen)) = state.seen.get_mut(&entry.key)
            && !seen.saw(entry.revision, now_ms)
        {
            return Some((known.clone(), *seen));
        }
        let seen = Sighting::new(entry.revision, now_ms);
        let joined = state.joined.get(&entry.key);
        if joined.is_none_or(|(session, _)| *session != value.session) {
            state.joined.insert(entry.key.clone(), (value.session.clone(), now_ms));
        }
        state.seen.insert(entry.key, (value.clone(), seen));
        drop(state);
        self.changed.notify_waiters();
        Some((value, seen))
    }

    /// May the holder of this session act on shards of this kind, as far as anybody can know?
    ///
    /// What was heard of it says only that it did: a watch may hang behind, or have heard nothing yet of a session that
    /// has begun just now, while its holder reads and renews. So the leader is asked, and the lease is over
    /// when it still says, after its whole time, what was seen then. A renewal that is written after the leader was
    /// asked comes too late for its holder.
    ///
    /// # Errors
    /// The leader does not answer: then it may.
    pub(super) async fn may_act(&self, session: &SessionId, kind: &KindName) -> Result<bool, KvError> {
        // No other session of this host's name is there; that of a shard which was given up is one of them.
        if session.host() == self.options.host.as_str() {
            return Ok(false);
        }
        let asked_ms = self.now_ms();
        let Some(entry) = self.sessions.get_latest(session.host()).await? else { return Ok(false) };
        let Some((value, seen)) = self.saw(entry) else { return Ok(false) };
        let is_it = value.session == session.as_str() && value.kinds.contains(kind);
        Ok(is_it && seen.lives(&self.options.lease, asked_ms))
    }

    pub(super) async fn watch_sessions(self: Arc<Self>) {
        self.make_buckets().await;
        let mut watch = self.sessions.watch(WatchKeys::All);
        while let Some(event) = watch.next().await {
            match event {
                KvEvent::Put(entry) => drop(self.saw(entry)),
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
                        state.tell_claimed(&entry.key, &value);
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
