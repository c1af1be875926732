//! Letting history go: what nobody needs for folding and relaying, and nobody is to see any more.
//!
//! A local journal lets go of what is not kept for people any more, by age and by size; only a full disk
//! comes first. A stream of the lattice is trimmed behind the checkpoint before the last one, and its log
//! sees to what is kept. When actors were deleted, history goes however little it is, as soon as it is not
//! kept for people ([`Purge`]). A local journal lets go of whole files: that with a tombstone is closed soon, so
//! that little comes into it that has to be kept longer.

use super::{Message, Opened, ShardLoop};
use crate::bury::{self, Purge};
use crate::device::blocking;
use crate::log::{Kept, ShardLog, Trim, Trimmed};
use lattice_journal::record::Checkpoint;
use lattice_journal::retain::Retention;
use lattice_journal::shard::Input;
use lattice_journal::{Now, Position, Record, RecordSeq, Sealed};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::sync::Arc;

/// Pause before a trimming that failed is tried again, milliseconds.
const PAUSE_MS: u64 = 5_000;

/// What a former owner, or a former life, has not brought to an end.
pub(super) fn unfinished(opened: &Opened, log: &dyn ShardLog) -> Option<Purge> {
    if let Some(record) = opened.tombstone {
        return Some(Purge::new(record));
    }
    if log.trims_late() {
        return None;
    }
    let checkpoint = RecordSeq(opened.first.0.checked_sub(1)?);
    let any = opened.roster.buried().next().is_some() && log.holds(checkpoint);
    let last = opened.tail.chain.seq();
    any.then(|| Purge::behind((checkpoint, opened.checkpointed_ms), last))
}

impl ShardLoop {
    /// How much history is kept: as much as the kind with the most wants.
    fn retention(&self) -> Retention {
        let all = self.kinds.values().map(|kind| kind.policy.retain);
        all.reduce(Retention::or).unwrap_or(Retention::ALL)
    }

    /// Begins to trim, when enough can go; else has those snapshotted who hold it back.
    pub(super) fn trim(&mut self, now: Now) {
        if self.trimming || now.monotonic_ms < self.trim_not_before_ms {
            return;
        }
        self.purge = self.purge.filter(|purge| self.log.holds(purge.through));
        let (policy, retention) = (self.shared.policy, self.retention());
        let (least, chain) = (policy.trim_records, &self.shard.tail().chain);
        let (last, first, late) = (chain.seq(), self.first, self.log.trims_late());
        let seen = if late && self.log.used_percent() < policy.full_percent {
            self.marks.may_go(retention, now.unix_ms)
        } else {
            RecordSeq(u64::MAX)
        };
        let through = self.roster.through(chain, self.outbox.position()).min(seen);
        let grown = self.grown_bytes >= policy.checkpoint_bytes;
        let count = through.0.saturating_add(1).saturating_sub(first.0);
        let keep = self.marks.keep(retention, now.unix_ms);
        if late {
            self.roll(retention, now);
        }
        // Up to here everything has to go, where history goes by files.
        let end = self.purge.and_then(|purge| self.log.closed(purge.through));
        let purges = self.purge.is_some_and(|purge| match late {
            true => end.is_some_and(|end| through >= end),
            false => purge.is_due(through, keep, now.monotonic_ms),
        });
        if count >= least || (count > 0 && (grown || purges)) {
            return self.cut(through);
        }
        // Those whose snapshots would let it go.
        let purge = self.purge.and_then(|purge| match late {
            true => end.filter(|end| seen >= *end),
            false if purge.is_open() => Some(purge.cut),
            // Any checkpoint does.
            false => purge.is_due(last, keep, now.monotonic_ms).then_some(first),
        });
        let many = last.0.saturating_sub(first.0) > least.saturating_mul(2);
        let behind = [grown.then_some(last), many.then(|| RecordSeq(first.0.saturating_add(least))), purge];
        if let Some(behind) = behind.into_iter().flatten().max() {
            self.ask_laggards(behind, now);
        }
    }

    /// Has those snapshotted whose commits up to there nothing else stands for.
    pub(super) fn ask_laggards(&mut self, behind: RecordSeq, now: Now) {
        let free = self.shared.policy.snapshots_at_once.saturating_sub(self.snapshots_under_way);
        let warm = self.roster.laggards(behind, free);
        let cold = self.roster.cold_laggards(behind, free.saturating_sub(warm.len()));
        for key in warm {
            self.ask_laggard(&key, now);
        }
        if cold.is_empty() || std::mem::replace(&mut self.reading_laggards, true) {
            return;
        }
        // The log says who they are.
        let (log, inbox) = (Arc::clone(&self.log), self.inbox.clone());
        self.shared.scope.spawn_best_effort("laggards", async move {
            let records = log.records(cold).await;
            inbox.send(Message::Laggards { records });
        });
    }

    /// Records are read in which actors at rest have commits that nothing else stands for.
    pub(super) fn cold_laggards(&mut self, records: Result<Vec<Sealed>, Report>, now: Now) {
        self.reading_laggards = false;
        let records = match records {
            Ok(records) => records,
            // Trimmed meanwhile; the next look asks again.
            Err(report) => return tracing::debug!(error = %report, "no snapshots of actors at rest yet"),
        };
        for sealed in records {
            let record = sealed.record();
            for commit in record.commits() {
                match self.roster.needs_from(&commit.key, record.seq) {
                    Ok(true) => self.ask_laggard(&commit.key, now),
                    Ok(false) => {}
                    Err(report) => return self.unreadable(report, now),
                }
            }
        }
    }

    fn ask_laggard(&mut self, key: &EntityKey, now: Now) {
        if self.kinds.contains_key(&key.kind) {
            self.ask_snapshot(key, now);
        }
    }

    /// Has the file that has a tombstone closed, at most once in a while: each time another one is begun.
    fn roll(&mut self, retention: Retention, now: Now) {
        let Some(through) = self.purge.map(|purge| purge.through) else { return };
        let not_before = self.rolled_ms.map(|at_ms| at_ms.saturating_add(bury::pause_ms(retention.age_ms)));
        if self.log.closed(through).is_some() || not_before.is_some_and(|at_ms| now.monotonic_ms < at_ms) {
            return;
        }
        self.rolled_ms = Some(now.monotonic_ms);
        let log = Arc::clone(&self.log);
        self.shared.scope.spawn_best_effort("roll", async move {
            if let Err(report) = log.roll(through).await {
                tracing::warn!(error = %report, "the journal's file is not closed: it is tried again later");
            }
        });
    }

    /// Reads the record to trim at.
    fn cut(&mut self, through: RecordSeq) {
        self.trimming = true;
        let (log, inbox) = (Arc::clone(&self.log), self.inbox.clone());
        self.shared.scope.spawn_best_effort("trim", async move {
            let read = log.records(vec![through]).await;
            let sealed = read.and_then(|mut read| {
                let gone = || Report::new(ErrorCode::Damaged, "the record to trim at is not there");
                read.pop().ok_or_else(gone)
            });
            inbox.send(Message::CutAt { sealed });
        });
    }

    /// The record to trim at is read: what stands for the rest is written, then the log is trimmed.
    pub(super) fn cut_at(&mut self, sealed: Result<Sealed, Report>, now: Now) {
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(report) => return self.trimmed(RecordSeq(0), Err(report), now),
        };
        let retention = self.retention();
        let survey = self.roster.survey();
        let through = sealed.record().seq;
        let timers = self.schedule.iter();
        let timers = timers.map(|(key, name, timer)| (key.clone(), name.clone(), timer.clone())).collect();
        let keep = self.marks.keep(retention, now.unix_ms);
        let mut unclean = false;
        let purge = self.purge.map(|purge| purge.through);
        if let Some(pending) = &mut self.purge {
            unclean = std::mem::take(&mut pending.unclean);
            if !pending.is_open() {
                pending.tried(retention.age_ms, now.monotonic_ms);
            }
        }
        let (log, inbox) = (Arc::clone(&self.log), self.inbox.clone());
        self.shared.scope.spawn_best_effort("trim", async move {
            let made = blocking(move || {
                let (checkpoint, list) = survey.snapshots()?.checkpoint(&sealed);
                Ok(Trim { checkpoint, list, timers, keep, purge, unclean })
            });
            let result = match made.await {
                Ok(trim) => log.trim(trim).await,
                Err(report) => Err(report),
            };
            inbox.send(Message::Trimmed { through, result });
        });
    }

    /// The log is trimmed, or is as it was; or what stands for it shall be named in it.
    pub(super) fn trimmed(&mut self, through: RecordSeq, result: Result<Trimmed, Report>, now: Now) {
        match result {
            Ok(Trimmed::Gone) => {
                self.trimming = false;
                self.let_history_go(through);
                self.marks.trim(through);
                tracing::info!(%through, "journal trimmed");
            }
            Ok(Trimmed::Record(checkpoint)) => self.step(Input::Checkpoint(checkpoint), now),
            Err(report) => {
                self.trimming = false;
                self.trim_not_before_ms = now.monotonic_ms + PAUSE_MS;
                if let Some(purge) = &mut self.purge {
                    purge.unclean = true;
                }
                tracing::error!(error = %report, "journal not trimmed");
            }
        }
    }

    /// A checkpoint of this owner counts: actors are folded from its snapshots from now on.
    pub(super) fn checkpointed(&mut self, checkpoint: &Checkpoint, at: Position, now: Now) {
        self.let_history_go(checkpoint.through);
        let retention = self.retention();
        let keep = self.marks.keep(retention, now.unix_ms);
        // Of what is too old, or too much, only where that begins is to be known.
        let goes = self.marks.may_go(retention, now.unix_ms);
        self.marks.trim(RecordSeq(goes.0.saturating_sub(1)));
        if let Some(purge) = &mut self.purge {
            purge.checkpointed(checkpoint.through, now.unix_ms);
        }
        let (log, inbox) = (Arc::clone(&self.log), self.inbox.clone());
        let (checkpoint, kept) = (checkpoint.clone(), Kept { keep, sweeps: self.purge.is_some() });
        self.shared.scope.spawn_best_effort("settle", async move {
            let result = log.settle(checkpoint, at, kept).await;
            inbox.send(Message::Settled { result });
        });
    }

    /// What goes with a checkpoint is gone, or will go with the next one.
    pub(super) fn checkpoint_settled(&mut self, result: Result<(), Report>) {
        self.trimming = false;
        if let Err(report) = result {
            tracing::warn!(error = %report, "nothing trimmed behind the checkpoint: it goes with the next one");
        }
    }

    fn let_history_go(&mut self, through: RecordSeq) {
        self.roster.trim(through);
        self.first = through.next();
        self.grown_bytes = 0;
    }

    /// A record counts that may have tombstones: what this host has of those actors goes.
    pub(super) fn buried(&mut self, record: &Record) {
        let gone: Vec<EntityKey> = bury::buried(record).cloned().collect();
        if gone.is_empty() {
            return;
        }
        gone.iter().for_each(|actor| tracing::info!(%actor, "actor deleted"));
        let outbox = &self.outbox;
        self.answers.retain(|position, _| outbox.is_open(*position));
        self.purge = Some(Purge::new(record.seq));
        bury::forget(&self.shared.scope, (&self.shared.snapshots, &self.shared.aside), gone);
    }

    /// A snapshot was stored that was taken before its actor was deleted.
    pub(super) fn forget_late(&mut self, key: &EntityKey) {
        let last = self.shard.tail().chain.seq();
        self.purge.get_or_insert_with(|| Purge::new(last)).unclean = true;
        let stores = (&self.shared.snapshots, &self.shared.aside);
        bury::forget(&self.shared.scope, stores, vec![key.clone()]);
    }
}
