//! What is done now and then: snapshots, letting idle actors go, saving how far the relay is.

use super::{Message, ShardLoop, Waiter};
use host_core::guest::{GuestFault, Saved};
use keys::Digest;
use lattice_journal::append::LogAction;
use lattice_journal::record::SnapshotRef;
use lattice_journal::shard::{Answer, Input, Question, Submitted, Token};
use lattice_journal::snapshot::{SinceSnapshot, Snapshot};
use lattice_journal::{Ledger, Now, RecordSeq};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::collections::HashMap;
use std::sync::Arc;

/// Actors looked at when room is needed.
const ROUND: usize = 10_000;
/// How long actors that were folded before the shard was opened wait to be wanted, milliseconds.
const FOLDED_MS: u64 = 60_000;

impl ShardLoop {
    /// One look at everything.
    pub(super) fn upkeep(&mut self, now: Now) {
        let mut due = Vec::new();
        let mut idle = Vec::new();
        for (key, live) in &self.live {
            let Some(kind) = self.kinds.get(&key.kind) else {
                idle.push(key.clone());
                continue;
            };
            if !live.saving && live.since.due(&kind.policy.snapshots, now.monotonic_ms).is_some() {
                due.push(key.clone());
            }
            let unused_ms = now.monotonic_ms.saturating_sub(live.used_ms);
            if live.leaving || unused_ms >= kind.policy.idle_ms {
                idle.push(key.clone());
            }
        }
        // Sorted: the same state gives the same order.
        due.sort_unstable();
        idle.sort_unstable();
        due.iter().for_each(|key| self.ask_snapshot(key, now));
        idle.iter().for_each(|key| self.let_go(key, now));
        self.step(Input::SaveRelayed, now);
        self.append_again();
        self.trim(now);
        self.stand(now);
        let live = &self.live;
        self.roster.settle(self.shared.policy.resting, |key| live.contains_key(key));
        if now.monotonic_ms >= self.opened_ms.saturating_add(FOLDED_MS) {
            self.folded = HashMap::new();
        }
        if self.round.len() > 2 * self.live.len() + ROUND {
            let live = &self.live;
            let mut seen = std::collections::HashSet::new();
            self.round.retain(|key| live.contains_key(key) && seen.insert(key.clone()));
        }
    }

    /// There may be room again.
    fn append_again(&mut self) {
        if self.full.is_some()
            && let Some((attempt, expected, sealed)) = self.appending.clone()
        {
            self.log(LogAction::Append { attempt, expected, sealed });
        }
    }

    /// Takes a snapshot of an actor, between two of its turns, when there is a place for it.
    pub(super) fn ask_snapshot(&mut self, key: &EntityKey, now: Now) {
        if self.snapshots_under_way >= self.shared.policy.snapshots_at_once {
            return;
        }
        if let Some(live) = self.live.get_mut(key) {
            if live.saving {
                return;
            }
            live.saving = true;
        }
        self.snapshots_under_way += 1;
        let token = self.token(Waiter::Snapshot(key.clone()));
        self.step(Input::Ask { token, key: key.clone(), question: Question::Save }, now);
        // It may have been brought into memory just for this; or it was refused at once.
        if self.waiters.contains_key(&token)
            && let Some(live) = self.live.get_mut(key)
        {
            live.saving = true;
        }
    }

    /// The guest has saved, or has not.
    pub(super) fn saved(
        &mut self,
        key: EntityKey,
        token: Token,
        ((ledger, record, component), result): ((Ledger, RecordSeq, Digest), Result<Saved, GuestFault>),
        now: Now,
    ) {
        let Some(result) = self.settle_work(&key, token, result, now) else { return };
        let answer = match result {
            Ok(saved) => {
                if let Some(live) = self.live.get_mut(&key) {
                    live.since = SinceSnapshot::new(now.monotonic_ms);
                }
                let (shard, state_version, state) = (self.shard_id(), saved.version, saved.state);
                self.store(Snapshot { shard, record, component, state_version, state, ledger });
                Answer::Given(bytes::Bytes::new())
            }
            Err(GuestFault::Trapped(report)) => Answer::Trapped(report),
            Err(fault) => Answer::Refused(fault.report()),
        };
        self.step(Input::Answered { key, token, answer }, now);
    }

    fn store(&self, snapshot: Snapshot) {
        let (store, inbox) = (Arc::clone(&self.shared.snapshots), self.inbox.clone());
        let log = Arc::clone(&self.log);
        self.shared.scope.spawn_best_effort("store snapshot", async move {
            let key = snapshot.ledger.key().clone();
            let storing = tokio::task::spawn_blocking(move || -> Result<_, Report> {
                let (bytes, hash) = snapshot.seal()?;
                let reference = snapshot.reference(hash);
                store.save(&reference.key, reference.seq.0, &bytes)?;
                Ok((reference, snapshot.record, bytes))
            });
            let stored = storing.await.unwrap_or_else(|error| {
                Err(Report::new(ErrorCode::Internal, format!("snapshot not stored: {error}")))
            });
            match stored {
                Err(report) => inbox.send(Message::Stored { key, snapshot: Err(report) }),
                Ok((reference, record, bytes)) => {
                    let told = (inbox, key, reference.clone());
                    let done = move |kept: Result<(), Report>| {
                        let (inbox, key, reference) = told;
                        inbox.send(Message::Stored { key, snapshot: kept.map(|()| (reference, record)) });
                    };
                    log.keep(&reference, bytes, Box::new(done));
                }
            }
        });
    }

    /// A snapshot is on disk, or is not: then the log keeps what it would have stood for.
    pub(super) fn snapshot_stored(
        &mut self,
        key: &EntityKey,
        stored: Result<(SnapshotRef, RecordSeq), Report>,
        now: Now,
    ) {
        self.snapshots_under_way = self.snapshots_under_way.saturating_sub(1);
        if let Some(live) = self.live.get_mut(key) {
            live.saving = false;
        }
        match stored {
            // It was taken before the actor was deleted.
            Ok(_) if self.roster.is_buried(key) => self.forget_late(key),
            Ok((reference, record)) => {
                if let Err(report) = self.roster.snapshotted(reference, record) {
                    self.unreadable(report, now);
                }
            }
            Err(report) => tracing::warn!(actor = %key, error = %report, "snapshot not stored"),
        }
    }

    /// The answer to the question; a snapshot on its way to the disk is counted until it is there.
    pub(super) fn snapshot_asked(&mut self, key: &EntityKey, answer: Result<Submitted, Report>) {
        if let Err(report) = answer {
            tracing::debug!(actor = %key, error = %report, "no snapshot");
            self.snapshots_under_way = self.snapshots_under_way.saturating_sub(1);
            if let Some(live) = self.live.get_mut(key) {
                live.saving = false;
                live.leaving = false;
            }
        }
    }

    /// Lets an idle actor leave memory; after a snapshot, when folding it again would cost something.
    fn let_go(&mut self, key: &EntityKey, now: Now) {
        let Some(live) = self.live.get_mut(key) else { return };
        if live.saving {
            return;
        }
        let gone = self.shard.ledger(key).is_some_and(Ledger::is_deleted);
        let worth = !gone && live.since.events() >= self.shared.policy.passivate_events;
        if worth && self.kinds.contains_key(&key.kind) {
            live.leaving = true;
            return self.ask_snapshot(key, now);
        }
        self.passivate(key, now);
    }

    /// Lets an actor leave memory, if it is idle.
    pub(super) fn passivate(&mut self, key: &EntityKey, now: Now) {
        if self.shard.is_idle(key) {
            self.step(Input::Passivate { key: key.clone() }, now);
            self.forget(key);
        }
    }

    /// Makes room for further actors: those go that have not been used since they were last looked at.
    pub(super) fn make_room(&mut self, now: Now) {
        let wanted = (self.shared.policy.shard.actors / 100).max(1);
        let mut gone = 0;
        for _ in 0..ROUND.min(2 * self.round.len()) {
            let Some(key) = self.round.pop_front() else { return };
            let Some(live) = self.live.get_mut(&key) else { continue };
            if std::mem::take(&mut live.fresh) || live.saving || !self.shard.is_idle(&key) {
                self.round.push_back(key);
                continue;
            }
            self.passivate(&key, now);
            gone += 1;
            if gone >= wanted {
                return;
            }
        }
    }
}
