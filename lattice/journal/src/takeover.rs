//! Becoming the owner of a shard: claim a higher epoch, follow the log to its end, open the epoch
//! in it, and know that this is valid. It does not wait for the old owner's lease: from the
//! `EpochOpened` on, whatever the old owner writes is skipped by everybody. What the old owner answers
//! to queries is not: whoever begins a takeover waits for the end of the lease ([`crate::lease`]).
//!
//! ```text
//!  Claiming ──claimed──▶ Following ──at the end──▶ Opening ──valid──▶ Opened
//!    │  ▲ unknown: read the key    ▲                  │
//!    ▼  │                          └── overtaken by ──┤ records of a lower epoch
//!   Lost (the key names a higher epoch)               │
//!       └── the log has a higher one: read the key, claim anew if it is still ours ◀─┘
//! ```
//! The key `shard.<n>` only keeps two claimants from choosing one epoch. Who owns the shard is
//! decided in the log, in its order.

use crate::append::{AppendOutcome, Appender, LogAction, Progress, ReadBack, Tail};
use crate::chain::Invalid;
use crate::error::DecodeError;
use crate::ids::{Epoch, Position};
use crate::record::{Sealed, SessionId};

/// The value of a shard's key: who has which epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardOwner {
    /// Who.
    pub session: SessionId,
    /// Its epoch.
    pub epoch: Epoch,
}

/// A shard's key as it was read: its value, and the revision to write over.
pub type ShardKey = Option<(ShardOwner, u64)>;

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakeoverAction {
    /// Write the key by compare-and-set (none: it must not exist); answer with
    /// [`Takeover::claimed`], [`Takeover::not_claimed`].
    Claim {
        /// The value.
        owner: ShardOwner,
        /// The revision to write over.
        over: Option<u64>,
    },
    /// Read the key through the leader; answer with [`Takeover::key`].
    ReadKey,
    /// Do this to the log; answer with [`Takeover::outcome`], [`Takeover::read`] or
    /// [`Takeover::read_failed`].
    Log(LogAction),
    /// Valid records, in order: fold them.
    Fold(Vec<Sealed>),
    /// Records that do not count: report them.
    Skipped(Vec<(Position, Invalid)>),
    /// This session owns the shard; go on with a [`Shard`](crate::shard::Shard) from
    /// [`Takeover::into_tail`].
    Opened,
    /// Somebody else does, or soon will.
    Lost {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// The log does not answer.
    GaveUp,
    /// The log cannot be read on.
    Damaged {
        /// Where.
        at: Position,
        /// What is wrong there.
        error: DecodeError,
    },
}

/// Attempts of reads while following are told by this from those of the appender.
const FOLLOWING: u64 = 1 << 63;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Claiming,
    Following,
    Opening,
    Ended,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    session: SessionId,
    epoch: Epoch,
    phase: Phase,
    reads: u64,
    appender: Appender,
}

impl Takeover {
    /// By this session, which has followed the log this far (a standby nearly to its end; who was
    /// none, not at all).
    #[must_use]
    pub fn new(session: SessionId, tail: Tail) -> Self {
        Self {
            session,
            epoch: Epoch(0),
            phase: Phase::Claiming,
            reads: FOLLOWING,
            appender: Appender::new(tail),
        }
    }

    /// Begins.
    pub fn start(&mut self) -> Vec<TakeoverAction> {
        vec![TakeoverAction::ReadKey]
    }

    /// The epoch that it claims, once it has read the key.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
    /// The log, followed to the `EpochOpened` of this session.
    #[must_use]
    pub fn into_tail(self) -> Tail {
        self.appender.into_tail()
    }

    fn me(&self) -> ShardOwner {
        ShardOwner { session: self.session.clone(), epoch: self.epoch }
    }

    /// What the key says.
    pub fn key(&mut self, key: ShardKey) -> Vec<TakeoverAction> {
        if self.phase != Phase::Claiming {
            return Vec::new();
        }
        let claimed = self.epoch > Epoch(0);
        if let Some((owner, _)) = key.as_ref().filter(|_| claimed) {
            if *owner != self.me() {
                if owner.epoch >= self.epoch {
                    return self.lose(owner.epoch);
                }
            } else if self.epoch > self.appender.tail().chain.epoch() {
                return self.claimed();
            }
        }
        let in_key = key.as_ref().map_or(Epoch(0), |(owner, _)| owner.epoch);
        self.epoch = self.epoch.max(in_key.max(self.appender.tail().chain.epoch()).next());
        vec![TakeoverAction::Claim { owner: self.me(), over: key.map(|(_, revision)| revision) }]
    }

    /// The key is written.
    pub fn claimed(&mut self) -> Vec<TakeoverAction> {
        if self.phase != Phase::Claiming {
            return Vec::new();
        }
        self.phase = Phase::Following;
        vec![self.read_on()]
    }

    /// The key was not written, or nobody knows.
    pub fn not_claimed(&mut self) -> Vec<TakeoverAction> {
        if self.phase == Phase::Claiming { vec![TakeoverAction::ReadKey] } else { Vec::new() }
    }

    fn read_on(&mut self) -> TakeoverAction {
        self.reads += 1;
        let after = self.appender.tail().position;
        TakeoverAction::Log(LogAction::Read { attempt: self.reads, after })
    }

    /// What was read from the log.
    pub fn read(&mut self, attempt: u64, back: ReadBack) -> Vec<TakeoverAction> {
        match self.phase {
            Phase::Following if attempt == self.reads => self.follow(back),
            Phase::Opening => {
                let progress = self.appender.read(attempt, back);
                self.go_on(progress)
            }
            _ => Vec::new(),
        }
    }

    /// The log could not be read: it is asked again.
    pub fn read_failed(&mut self, attempt: u64) -> Vec<TakeoverAction> {
        match self.phase {
            Phase::Following if attempt == self.reads => vec![self.read_on()],
            Phase::Opening => {
                let progress = self.appender.read_failed(attempt);
                self.go_on(progress)
            }
            _ => Vec::new(),
        }
    }

    /// The log's answer to the `EpochOpened`.
    pub fn outcome(&mut self, attempt: u64, outcome: AppendOutcome) -> Vec<TakeoverAction> {
        if self.phase != Phase::Opening {
            return Vec::new();
        }
        let progress = self.appender.outcome(attempt, outcome);
        self.go_on(progress)
    }

    fn follow(&mut self, back: ReadBack) -> Vec<TakeoverAction> {
        let mut tail = self.appender.tail().clone();
        let followed = match tail.follow(back.entries) {
            Ok(followed) => followed,
            Err((at, error)) => return self.end(TakeoverAction::Damaged { at, error }),
        };
        self.appender = Appender::new(tail);
        let mut actions = Vec::new();
        if !followed.skipped.is_empty() {
            actions.push(TakeoverAction::Skipped(followed.skipped));
        }
        if !followed.valid.is_empty() {
            actions.push(TakeoverAction::Fold(followed.valid));
        }
        let next = if back.complete { self.open() } else { vec![self.read_on()] };
        actions.extend(next);
        actions
    }

    fn open(&mut self) -> Vec<TakeoverAction> {
        let chain = &self.appender.tail().chain;
        if chain.epoch() >= self.epoch {
            // Somebody opened a higher one since it was claimed: then the key says so. If it is this
            // session's still, what it said before could not be read, or was older than the log.
            self.phase = Phase::Claiming;
            return vec![TakeoverAction::ReadKey];
        }
        let record = chain.opening(self.epoch, self.session.clone());
        self.phase = Phase::Opening;
        match self.appender.append(record) {
            Ok(action) => vec![TakeoverAction::Log(action)],
            // A record of fixed size.
            Err(_) => self.end(TakeoverAction::GaveUp),
        }
    }

    fn go_on(&mut self, progress: Progress) -> Vec<TakeoverAction> {
        let skipped = self.appender.take_skipped();
        let mut actions = Vec::new();
        if !skipped.is_empty() {
            actions.push(TakeoverAction::Skipped(skipped));
        }
        actions.extend(match progress {
            Progress::Waiting => Vec::new(),
            Progress::Act(action) => vec![TakeoverAction::Log(action)],
            Progress::Done { then, .. } => {
                // Only an `EpochOpened` can follow ours if it is not ours.
                let chain = &self.appender.tail().chain;
                if then.is_empty() { self.end(TakeoverAction::Opened) } else { self.lose(chain.epoch()) }
            }
            Progress::Overtaken { by } => {
                let mut actions = vec![TakeoverAction::Fold(by)];
                actions.extend(self.open());
                actions
            }
            Progress::GaveUp => self.end(TakeoverAction::GaveUp),
            Progress::Damaged { at, error } => self.end(TakeoverAction::Damaged { at, error }),
        });
        actions
    }

    fn lose(&mut self, epoch: Epoch) -> Vec<TakeoverAction> {
        self.end(TakeoverAction::Lost { epoch })
    }

    fn end(&mut self, last: TakeoverAction) -> Vec<TakeoverAction> {
        self.phase = Phase::Ended;
        vec![last]
    }
}

#[cfg(test)]
mod tests;
