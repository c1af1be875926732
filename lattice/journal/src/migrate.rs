//! Moving a shard to another host while it works: the source's side.
//!
//! ```text
//!  Preparing ─▶ Following ─▶ Draining ─▶ CatchingUp ─▶ Moving ─▶ Redirecting (done)
//!  target pulls  target folds  intake     target has      target     calls go to
//!  and compiles  the stream    stopped    the last record claims     the target
//!      │             │            │           │           │
//!      └─────────────┴────────────┴───────────┴───────────┤ failed, or too slow
//!                                                          ▼
//!                                    Aborted (intake resumed) — until the epoch has moved
//! ```
//! Whether the epoch has moved is never guessed: when the target does not say, the shard's key is
//! read. Even a wrong guess would lose nothing, because the log fences (see [`crate::chain`]); it
//! would only cost time.

use crate::ids::{Epoch, RecordSeq};
use crate::takeover::{ShardKey, ShardOwner};

/// How long each part may take, milliseconds, and how far behind the target may be when intake stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationPolicy {
    /// Pull, verify, compile.
    pub prepare_ms: u64,
    /// Fold from the last snapshot.
    pub follow_ms: u64,
    /// From the stop of intake until the target owns the shard: callers wait this long.
    pub pause_ms: u64,
    /// Records that the target may be behind when intake stops.
    pub lag: u64,
}

impl Default for MigrationPolicy {
    fn default() -> Self {
        Self { prepare_ms: 120_000, follow_ms: 120_000, pause_ms: 2_000, lag: 8 }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationInput {
    /// Begin.
    Start,
    /// The target can run all of the shard's kinds, and has reserved the room.
    Prepared,
    /// The target has folded up to this record; the source's last is the other.
    Progress {
        /// Of the target.
        target: RecordSeq,
        /// Of the source.
        source: RecordSeq,
    },
    /// No turn is under way; this was the last record.
    Drained {
        /// Which.
        last: RecordSeq,
    },
    /// The target owns the shard.
    Moved(ShardOwner),
    /// The shard's key, read through the leader.
    Key(ShardKey),
    /// The target, or somebody on the way, failed.
    Failed(String),
    /// Time has passed.
    Tick,
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationAction {
    /// Let the target pull, compile and reserve.
    Prepare,
    /// Let the target fold the stream from the last snapshots, and tell its progress.
    Follow,
    /// Take no new commands (`E_MOVING`, callers wait); answer with [`MigrationInput::Drained`].
    StopIntake,
    /// Let the target take over once it has folded this record.
    HandOver {
        /// The last record of the source.
        last: RecordSeq,
    },
    /// Read the shard's key.
    ReadKey,
    /// Send callers to the new owner; stop the shard here.
    Redirect(ShardOwner),
    /// Take commands again.
    ResumeIntake,
    /// Over, nothing has moved. Let the target forget it.
    Aborted(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Idle,
    Preparing,
    Following,
    Draining,
    CatchingUp {
        last: RecordSeq,
    },
    Moving,
    /// Waiting for the key, to know whether it moved.
    Deciding {
        reason: String,
    },
    Done,
    Aborted,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    policy: MigrationPolicy,
    /// The source's epoch: a higher one in the key means that it moved.
    epoch: Epoch,
    phase: Phase,
    deadline_ms: u64,
}

impl Migration {
    /// Away from an owner with this epoch.
    #[must_use]
    pub fn new(policy: MigrationPolicy, epoch: Epoch) -> Self {
        Self { policy, epoch, phase: Phase::Idle, deadline_ms: u64::MAX }
    }

    /// Is it over, either way?
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Done | Phase::Aborted)
    }

    /// When the part under way takes too long, milliseconds.
    #[must_use]
    pub fn wake_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// One step.
    pub fn step(&mut self, input: MigrationInput, now_ms: u64) -> Vec<MigrationAction> {
        use MigrationInput as In;
        match (self.phase.clone(), input) {
            (Phase::Idle, In::Start) => {
                self.enter(Phase::Preparing, now_ms, self.policy.prepare_ms);
                vec![MigrationAction::Prepare]
            }
            (Phase::Preparing, In::Prepared) => {
                self.enter(Phase::Following, now_ms, self.policy.follow_ms);
                vec![MigrationAction::Follow]
            }
            (Phase::Following, In::Progress { target, source })
                if source.0.saturating_sub(target.0) <= self.policy.lag =>
            {
                self.enter(Phase::Draining, now_ms, self.policy.pause_ms);
                vec![MigrationAction::StopIntake]
            }
            (Phase::Draining, In::Drained { last }) => {
                // One deadline for the whole pause: it goes on running.
                self.phase = Phase::CatchingUp { last };
                vec![MigrationAction::HandOver { last }]
            }
            (Phase::CatchingUp { last }, In::Progress { target, .. }) if target >= last => {
                self.phase = Phase::Moving;
                Vec::new()
            }
            (Phase::Done | Phase::Aborted | Phase::Idle, _) => Vec::new(),
            (_, In::Moved(owner)) if owner.epoch > self.epoch => self.redirect(owner),
            (Phase::Deciding { reason }, In::Key(key)) => self.decide(key, reason),
            (Phase::Deciding { .. }, _) => Vec::new(),
            (_, In::Failed(reason)) => self.give_up(reason),
            (_, In::Tick) if now_ms >= self.deadline_ms => self.give_up("too slow".to_owned()),
            _ => Vec::new(),
        }
    }

    fn enter(&mut self, phase: Phase, now_ms: u64, time_ms: u64) {
        self.phase = phase;
        self.deadline_ms = now_ms.saturating_add(time_ms);
    }

    fn redirect(&mut self, owner: ShardOwner) -> Vec<MigrationAction> {
        self.enter(Phase::Done, u64::MAX, 0);
        vec![MigrationAction::Redirect(owner)]
    }

    fn give_up(&mut self, reason: String) -> Vec<MigrationAction> {
        match self.phase {
            // The target was told to take over: it may have.
            Phase::CatchingUp { .. } | Phase::Moving => {
                self.enter(Phase::Deciding { reason }, u64::MAX, 0);
                vec![MigrationAction::ReadKey]
            }
            Phase::Draining => self.abort(reason, true),
            _ => self.abort(reason, false),
        }
    }

    fn decide(&mut self, key: ShardKey, reason: String) -> Vec<MigrationAction> {
        match key {
            Some((owner, _)) if owner.epoch > self.epoch => self.redirect(owner),
            _ => self.abort(reason, true),
        }
    }

    fn abort(&mut self, reason: String, stopped: bool) -> Vec<MigrationAction> {
        self.enter(Phase::Aborted, u64::MAX, 0);
        let resume = stopped.then_some(MigrationAction::ResumeIntake);
        resume.into_iter().chain([MigrationAction::Aborted(reason)]).collect()
    }
}

#[cfg(test)]
mod tests;
