//! A snapshot: an actor's state and ledger at one commit, so that folding need not begin at the
//! first. Numbered by the commit, never by a clock (two in one second are two).
//!
//! ```text
//! "TJS" · version 1 · shard · record · component · state version · ledger · state · checksum (8)
//! ```
//! It is a cache and never believed beyond the journal: one that is ahead of it, or of another
//! actor, or of another history, is refused, and the one before it is tried.

use crate::error::{DecodeError, EncodeError, FoldError};
use crate::ids::{Hash, RecordSeq, ShardId};
use crate::ledger::Ledger;
use crate::record::SnapshotRef;
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::EntityKey;

/// Largest snapshot, bytes.
pub const MAX_SNAPSHOT_BYTES: usize = 64 << 20;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The actor's shard.
    pub shard: ShardId,
    /// The last record that is in it.
    pub record: RecordSeq,
    /// The component that saved the state.
    pub component: Digest,
    /// The form of the state, as the component numbers it.
    pub state_version: u32,
    /// The state, as the component saved it.
    pub state: Bytes,
    /// What the host keeps beside it; names the actor and the commit.
    pub ledger: Ledger,
}

impl Snapshot {
    /// Encodes it: the bytes, and their hash.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`].
    pub fn seal(&self) -> Result<(Bytes, Hash), EncodeError> {
        crate::codec::snapshot::seal(self)
    }

    /// Reads one back, with its hash.
    ///
    /// # Errors
    /// [`DecodeError`]: take an older one, or fold everything.
    pub fn open(bytes: Bytes) -> Result<(Self, Hash), DecodeError> {
        crate::codec::snapshot::open(bytes)
    }

    /// As a checkpoint's list names it.
    #[must_use]
    pub fn reference(&self, hash: Hash) -> SnapshotRef {
        SnapshotRef { key: self.ledger.key().clone(), seq: self.ledger.seq(), hash }
    }

    /// Is it of this actor, and within a journal whose last record is `last`?
    ///
    /// # Errors
    /// [`FoldError::Snapshot`].
    pub fn check(&self, key: &EntityKey, shard: ShardId, last: RecordSeq) -> Result<(), FoldError> {
        let refuse = |reason| Err(FoldError::Snapshot { key: key.clone(), reason });
        if self.ledger.key() != key {
            return refuse(format!("it is of {}", self.ledger.key()));
        }
        if self.shard != shard {
            return refuse(format!("it is of shard {}, not {shard}", self.shard));
        }
        if self.record > last {
            return refuse(format!("it is beyond the journal: record {}, last {last}", self.record));
        }
        Ok(())
    }
}

/// When a snapshot is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// After so many events.
    pub events: u64,
    /// After so long, if there was any event, milliseconds.
    pub interval_ms: u64,
    /// When to fold again what came since the last would take longer than this, microseconds.
    pub replay_us: u64,
}

impl Default for SnapshotPolicy {
    /// 10 000 events, 5 minutes, 1 second.
    fn default() -> Self {
        Self { events: 10_000, interval_ms: 300_000, replay_us: 1_000_000 }
    }
}

/// Why a snapshot is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Many events.
    Events,
    /// Much time.
    Interval,
    /// Folding has become slow.
    Replay,
    /// The actor, a trimming or a migration asked for it.
    Asked,
}

/// What has come since an actor's last snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinceSnapshot {
    events: u64,
    apply_us: u64,
    at_ms: u64,
    asked: bool,
}

impl SinceSnapshot {
    /// Nothing yet, at this monotonic time.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self { events: 0, apply_us: 0, at_ms: now_ms, asked: false }
    }
    /// A commit of so many events was applied in this time, microseconds.
    pub fn applied(&mut self, events: usize, took_us: u64) {
        self.events = self.events.saturating_add(events as u64);
        self.apply_us = self.apply_us.saturating_add(took_us);
    }
    /// Events since then.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
    /// Somebody wants one.
    pub fn ask(&mut self) {
        self.asked = true;
    }
    /// Is one due?
    #[must_use]
    pub fn due(&self, policy: &SnapshotPolicy, now_ms: u64) -> Option<Due> {
        if self.asked {
            return Some(Due::Asked);
        }
        if self.events == 0 {
            return None;
        }
        let waited = now_ms.saturating_sub(self.at_ms) >= policy.interval_ms;
        (self.events >= policy.events)
            .then_some(Due::Events)
            .or((self.apply_us >= policy.replay_us).then_some(Due::Replay))
            .or(waited.then_some(Due::Interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_by_events_by_time_by_slowness_or_when_asked() {
        let policy = SnapshotPolicy::default();
        let since = |events, took_us| {
            let mut since = SinceSnapshot::new(1_000);
            since.applied(events, took_us);
            since
        };
        assert_eq!(since(0, 0).due(&policy, 10_000_000), None, "nothing to save");
        assert_eq!(since(9_999, 10).due(&policy, 1_001), None);
        assert_eq!(since(10_000, 10).due(&policy, 1_001), Some(Due::Events));
        assert_eq!(since(1, 1_000_000).due(&policy, 1_001), Some(Due::Replay));
        assert_eq!(since(1, 1).due(&policy, 300_999), None);
        assert_eq!(since(1, 1).due(&policy, 301_000), Some(Due::Interval));
        let mut asked = SinceSnapshot::new(0);
        asked.ask();
        assert_eq!(asked.due(&policy, 0), Some(Due::Asked));
    }
}
