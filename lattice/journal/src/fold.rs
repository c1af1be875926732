//! State is a fold of commits: `fold(snapshot@n, commits > n) = fold(all commits)` (law J4).
//!
//! [`Fold`] keeps an actor's own state and its [`Ledger`] together, because they must be at the same
//! commit always: in memory, in a snapshot, on a standby.

use crate::commit::{Commit, Event};
use crate::error::FoldError;
use crate::ids::{ActorSeq, RecordSeq, ShardId};
use crate::ledger::Ledger;
use crate::snapshot::Snapshot;
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::EntityKey;

/// An actor's own state: the guest's, or a test's.
pub trait Entity {
    /// Takes an event in. Total and deterministic: it fails only if the guest traps.
    ///
    /// # Errors
    /// The guest's words.
    fn apply(&mut self, event: &Event) -> Result<(), String>;

    /// The actor is deleted: nothing of what it was may be left.
    fn forget(&mut self);
}

/// State and ledger of one actor, at the same commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold<E> {
    ledger: Ledger,
    entity: E,
}

impl<E: Entity> Fold<E> {
    /// An actor without a history, in its first state.
    #[must_use]
    pub fn new(key: EntityKey, entity: E) -> Self {
        Self { ledger: Ledger::new(key), entity }
    }

    /// From a snapshot of `key`; `load` makes the state from its version and bytes.
    ///
    /// # Errors
    /// [`FoldError::Snapshot`]: take an older one, or fold everything.
    pub fn resume(
        snapshot: &Snapshot,
        key: &EntityKey,
        load: impl FnOnce(u32, &Bytes) -> Result<E, String>,
    ) -> Result<Self, FoldError> {
        let refuse = |reason| FoldError::Snapshot { key: key.clone(), reason };
        if snapshot.ledger.key() != key {
            return Err(refuse(format!("it is of {}", snapshot.ledger.key())));
        }
        let entity = load(snapshot.state_version, &snapshot.state).map_err(refuse)?;
        Ok(Self { ledger: snapshot.ledger.clone(), entity })
    }

    /// What the host keeps.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
    /// The actor's own state.
    #[must_use]
    pub fn entity(&self) -> &E {
        &self.entity
    }
    /// The two apart.
    #[must_use]
    pub fn into_parts(self) -> (Ledger, E) {
        (self.ledger, self.entity)
    }

    /// Takes the next commit in.
    ///
    /// # Errors
    /// [`FoldError`]. After [`FoldError::Refused`] the state may be half-changed: drop this fold.
    pub fn apply(&mut self, commit: &Commit) -> Result<(), FoldError> {
        self.ledger.follows(commit)?;
        for event in &commit.events {
            self.entity.apply(event).map_err(|reason| FoldError::Refused {
                key: commit.key.clone(),
                seq: commit.seq,
                reason,
            })?;
        }
        self.ledger.apply(commit)?;
        if commit.is_tombstone() {
            self.entity.forget();
        }
        Ok(())
    }

    /// Takes a tombstone in whose history is not here: it is all there is to know.
    ///
    /// # Errors
    /// [`FoldError`]: it is none, or another actor's.
    pub fn buried(key: &EntityKey, entity: E, commit: &Commit) -> Result<Self, FoldError> {
        if commit.key != *key {
            return Err(FoldError::OtherActor { key: key.clone(), got: commit.key.clone() });
        }
        if !commit.is_tombstone() {
            return Err(FoldError::Sequence { key: key.clone(), expected: ActorSeq(1), got: commit.seq });
        }
        Ok(Self { ledger: Ledger::deleted(key.clone(), commit.seq), entity })
    }

    /// Takes in those of a record's commits that are this actor's and not in yet.
    ///
    /// # Errors
    /// As [`Fold::apply`].
    pub fn catch_up<'a>(&mut self, commits: impl IntoIterator<Item = &'a Commit>) -> Result<(), FoldError> {
        let key = self.ledger.key().clone();
        commits
            .into_iter()
            .filter(|commit| commit.key == key)
            .try_for_each(|commit| if commit.seq <= self.ledger.seq() { Ok(()) } else { self.apply(commit) })
    }

    /// A snapshot of this moment. `at` is the last record taken in, `saved` what the actor's `save`
    /// gave: version and bytes.
    #[must_use]
    pub fn snapshot(
        &self,
        at: (ShardId, RecordSeq),
        component: Digest,
        (state_version, state): (u32, Bytes),
    ) -> Snapshot {
        let (shard, record) = at;
        Snapshot { shard, record, component, state_version, state, ledger: self.ledger.clone() }
    }
}
