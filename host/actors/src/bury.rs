//! What is left of deleted actors on a host, and what must not be.
//!
//! A deletion is a commit, the actor's *tombstone* ([`lattice_journal::Effect::Delete`]). From then on all
//! that is known of the actor is that, in the log and in every checkpoint. What the host keeps beside them
//! goes at once ([`forget`]); what is in the log and in the lattice's store goes with the history that it is
//! part of ([`Purge`]), because a log cannot be changed in the middle.

use crate::activate::Ready;
use crate::aside;
use bytes::Bytes;
use host_core::guest::{Done, Guest, GuestFault, Saved, Turn, Verdict};
use host_store::{AsideStore, SnapshotStore};
use keys::Digest;
use lattice_io::TaskScope;
use lattice_journal::ledger::deleted;
use lattice_journal::record::SnapshotRef;
use lattice_journal::retain::Keep;
use lattice_journal::{Command, Event, Ledger, Record, RecordSeq};
use lattice_protocol::{EntityKey, Report};
use std::sync::Arc;

/// Pause before something is done once more for history that deleted actors are in, milliseconds, where that
/// writes much: so long at least, or this part of the time that history is kept.
const AGAIN_MS: u64 = 60_000;
const AGAIN_PART: u64 = 16;

/// See [`AGAIN_MS`].
pub(crate) fn pause_ms(age_ms: u64) -> u64 {
    AGAIN_MS.max(age_ms / AGAIN_PART)
}

/// The actors that a record buries.
pub(crate) fn buried(record: &Record) -> impl Iterator<Item = &EntityKey> {
    record.commits().iter().filter(|commit| commit.is_tombstone()).map(|commit| &commit.key)
}

/// Nobody: in the place of a deleted actor's live state.
struct Nobody(EntityKey);

impl Nobody {
    fn fault(&self) -> GuestFault {
        GuestFault::Unavailable(deleted(&self.0))
    }
}

impl Guest for Nobody {
    fn fold(&self, _: Vec<Event>, done: Done<()>) {
        done(Err(self.fault()));
    }
    fn decide(&self, _: Turn, _: Arc<Command>, done: Done<Verdict>) {
        done(Err(self.fault()));
    }
    fn query(&self, _: u64, _: (String, Bytes), done: Done<Result<Bytes, Report>>) {
        done(Err(self.fault()));
    }
    fn save(&self, done: Done<Saved>) {
        done(Err(self.fault()));
    }
}

/// A deleted actor in memory: nothing is read, and no guest is opened.
pub(crate) fn nobody(tombstone: &SnapshotRef, component: Digest) -> Ready {
    let key = tombstone.key.clone();
    let ledger = Ledger::deleted(key.clone(), tombstone.seq);
    Ready { ledger, guest: guest(key), component, since: (0, 0), snapshot: None }
}

/// In the place of its live state.
pub(crate) fn guest(key: EntityKey) -> Arc<dyn Guest> {
    Arc::new(Nobody(key))
}

/// Removes what this host alone has of these actors: snapshots, and what was set aside.
pub(crate) fn forget(
    scope: &TaskScope,
    (snapshots, set_aside): (&Arc<SnapshotStore>, &Arc<AsideStore>),
    actors: Vec<EntityKey>,
) {
    if actors.is_empty() {
        return;
    }
    let (snapshots, set_aside) = (Arc::clone(snapshots), Arc::clone(set_aside));
    scope.spawn_best_effort("forget", async move {
        let removing = move || {
            for actor in actors {
                if let Err(report) = forget_now(&snapshots, &set_aside, &actor) {
                    tracing::error!(%actor, error = %report, "not all of a deleted actor is removed here");
                }
            }
        };
        // A panic in there is logged by the runtime.
        drop(tokio::task::spawn_blocking(removing).await);
    });
}

/// The same of one, on a blocking thread; whether there was anything.
///
/// # Errors
/// The disk.
pub(crate) fn forget_now(
    snapshots: &SnapshotStore,
    set_aside: &AsideStore,
    actor: &EntityKey,
) -> Result<bool, Report> {
    let mut any = !snapshots.list(actor)?.is_empty();
    snapshots.remove(actor)?;
    for one in aside::list(set_aside)?.into_iter().filter(|one| one.actor == *actor) {
        any |= set_aside.remove(&one.id)?;
    }
    Ok(any)
}

/// History with something of deleted actors in it, which has to leave the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purge {
    /// Everything up to here.
    pub(crate) through: RecordSeq,
    /// A log that is trimmed behind its checkpoints needs one through this for it.
    pub(crate) cut: RecordSeq,
    /// The first checkpoint that stands for it all, and when that was made (milliseconds since 1970).
    covered: Option<(RecordSeq, u64)>,
    /// Packs of snapshots have not been looked through since the last deletion.
    pub(crate) unclean: bool,
    /// Not before this (monotonic).
    not_before_ms: u64,
}

impl Purge {
    /// An actor was deleted by this record.
    pub(crate) fn new(record: RecordSeq) -> Self {
        Self { through: record, cut: record, covered: None, unclean: true, not_before_ms: 0 }
    }

    /// Actors were deleted before this checkpoint, which was made then: what it stands for may still be kept.
    pub(crate) fn behind((checkpoint, at_ms): (RecordSeq, u64), last: RecordSeq) -> Self {
        Self { covered: Some((checkpoint, at_ms)), cut: last, ..Self::new(checkpoint) }
    }

    /// A checkpoint was made.
    pub(crate) fn checkpointed(&mut self, through: RecordSeq, now_ms: u64) {
        if through >= self.through && self.covered.is_none() {
            self.covered = Some((through, now_ms));
        }
    }

    /// Is nothing known yet that stands for it all?
    pub(crate) fn is_open(&self) -> bool {
        self.covered.is_none()
    }

    /// Is a checkpoint due because of it, in a log that is trimmed behind the checkpoint before the last one?
    /// `through`: how far one could stand for it now.
    pub(crate) fn is_due(&self, through: RecordSeq, keep: Keep, monotonic_ms: u64) -> bool {
        match self.covered {
            None => through >= self.cut,
            Some((covered, at_ms)) => {
                let is_over = at_ms.saturating_add(keep.age_ms) <= keep.now_ms || covered <= keep.too_much;
                is_over && monotonic_ms >= self.not_before_ms
            }
        }
    }

    /// It was tried.
    pub(crate) fn tried(&mut self, age_ms: u64, monotonic_ms: u64) {
        self.not_before_ms = monotonic_ms.saturating_add(pause_ms(age_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_when_it_covers_the_tombstone_and_again_when_that_is_old_or_much_has_come() {
        let keep =
            |now_ms, too_much| Keep { now_ms, age_ms: 100, too_much: RecordSeq(too_much), span_ms: 100 };
        let mut purge = Purge::new(RecordSeq(7));
        assert!(!purge.is_due(RecordSeq(6), keep(0, 0), 0), "somebody's snapshot is waited for");
        assert!(purge.is_due(RecordSeq(7), keep(0, 0), 0));
        purge.checkpointed(RecordSeq(6), 1_000);
        assert!(purge.is_due(RecordSeq(7), keep(1_000, 0), 0), "one that does not cover it changes nothing");
        purge.checkpointed(RecordSeq(9), 1_000);
        purge.checkpointed(RecordSeq(30), 1_050);
        assert!(!purge.is_due(RecordSeq(40), keep(1_099, 8), 0), "it is kept for people");
        assert!(purge.is_due(RecordSeq(40), keep(1_100, 0), 0), "its time is over");
        assert!(purge.is_due(RecordSeq(40), keep(1_001, 9), 0), "so much has come since");
        purge.tried(1_600_000, 5);
        assert!(!purge.is_due(RecordSeq(40), keep(2_000, 0), 100_004));
        assert!(purge.is_due(RecordSeq(40), keep(2_000, 0), 100_005));
        assert!(Purge::behind((RecordSeq(9), 1_000), RecordSeq(9)).is_due(RecordSeq(0), keep(1_100, 0), 0));
    }
}
