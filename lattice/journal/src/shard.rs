//! A shard at work: the turns of its actors, from command to reply. The heart of a persistent host.
//!
//! ```text
//!  command ─▶ dedupe ─▶ admit ─▶ decide (guest) ─▶ commit ─▶ record ─▶ durable, valid ─▶ reply, effects
//!               │ known: the first reply    │ refused, trapped: nothing is stored
//! ```
//! One turn at a time per actor; one record on its way per shard. While it is, further decided turns
//! gather for the next one: that is the group commit, without any timer. Nothing a turn has produced
//! leaves before its record is known to be valid (see [`crate::append`]).
//!
//! The shard stops, for good, as soon as it may not be the owner any more: another epoch in the log,
//! the end of the lease, an outcome that stays unknown. Whoever waits then learns which: `E_FENCED`
//! is certainly not carried out, `E_OUTCOME_UNKNOWN` may have been. The same command id finds out.
//!
//! Time, guests, logs and leases are the shell's: [`Shard::step`] takes what happened and gives what
//! to do. Bounds: [`ShardPolicy`].

mod actor;
mod commit;
mod types;

pub use types::{
    Action, Answer, Input, Outcome, Question, Request, ShardPolicy, StopReason, Submitted, Token,
};

use crate::append::{Appender, Tail};
use crate::commit::Commit;
use crate::ids::{Epoch, Now};
use crate::outbox::OutboxPosition;
use crate::record::Body;
use actor::Actor;
use lattice_protocol::{EntityKey, Report};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};

/// By actor, hashed without chance: each command is looked up here a dozen times.
type ByActor<T> = HashMap<EntityKey, T, BuildHasherDefault<DefaultHasher>>;

/// A decided turn whose commit is not durable yet.
#[derive(Debug, Clone)]
struct Turn {
    token: Token,
    commit: Commit,
    /// The commit says only that the command is settled.
    refused: Option<Report>,
}

/// One whose commit is in the record on its way.
#[derive(Debug, Clone)]
struct Sent {
    token: Token,
    refused: Option<Report>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    Open,
    /// No new commands; `told`: the shell knows that no turn is under way.
    Closed {
        told: bool,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Shard {
    policy: ShardPolicy,
    appender: Appender,
    actors: ByActor<Actor>,
    /// Decided, and waiting for a record.
    waiting: VecDeque<Turn>,
    /// In the record on its way, one for each of its commits, in its order.
    flight: Vec<Sent>,
    /// Checkpoints, and positions of the outbox that no commit carried: before the next commits.
    control: VecDeque<Body>,
    relayed: OutboxPosition,
    /// What the last record with commits said.
    written: OutboxPosition,
    lease_until_ms: u64,
    intake: Intake,
    stopped: Option<StopReason>,
    actions: Vec<Action>,
}

impl Shard {
    /// Of an owner that has opened its epoch, whose lease holds until then (monotonic; `u64::MAX`
    /// where there is no lease: kinds of durability `device`). `relayed` is the last position of the
    /// outbox that a valid record carries.
    #[must_use]
    pub fn new(policy: ShardPolicy, tail: Tail, relayed: OutboxPosition, lease_until_ms: u64) -> Self {
        Self {
            policy,
            appender: Appender::new(tail),
            actors: ByActor::default(),
            waiting: VecDeque::new(),
            flight: Vec::new(),
            control: VecDeque::new(),
            relayed,
            written: relayed,
            lease_until_ms,
            intake: Intake::Open,
            stopped: None,
            actions: Vec::new(),
        }
    }

    /// The log, as far as it is followed.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        self.appender.tail()
    }
    /// The epoch of this owner.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.appender.tail().chain.epoch()
    }
    /// Why it stopped; none while it works.
    #[must_use]
    pub fn stopped(&self) -> Option<&StopReason> {
        self.stopped.as_ref()
    }
    /// Is the actor in memory, with nothing under way and nothing waiting?
    #[must_use]
    pub fn is_idle(&self, key: &EntityKey) -> bool {
        self.actors.get(key).is_some_and(Actor::is_idle)
    }
    /// What the host keeps of an actor in memory.
    #[must_use]
    pub fn ledger(&self, key: &EntityKey) -> Option<&crate::ledger::Ledger> {
        self.actors.get(key).and_then(Actor::ledger)
    }
    /// Actors in memory, or on their way there.
    #[must_use]
    pub fn actors(&self) -> usize {
        self.actors.len()
    }

    /// Something happened; what is to be done now, in this order. An action may be performed by
    /// another task, but those that concern one actor, and those that concern the log, in order.
    pub fn step(&mut self, input: Input, now: Now) -> Vec<Action> {
        // An answer of the log is heard even after the lease: what is valid is valid.
        let answer = matches!(input, Input::Appended { .. } | Input::Read { .. } | Input::ReadFailed { .. });
        if !answer && !matches!(input, Input::Lease { .. }) {
            self.check_lease(now);
        }
        match input {
            Input::Submit(request) => self.submit(request, now),
            Input::Delete(request) => self.delete(request, now),
            Input::Ask { token, key, question } => self.ask((token, question), key, now),
            Input::Answered { key, token, answer } => self.answered(&key, token, answer, now),
            Input::Activated { ledger } => self.activated(*ledger, now),
            Input::NotActivated { key, report } => self.not_activated(&key, &report),
            Input::Decided { key, token, outcome } => self.decided(&key, token, outcome, now),
            Input::Appended { attempt, outcome } => {
                let progress = self.appender.outcome(attempt, outcome);
                self.progress(progress, now);
            }
            Input::Read { attempt, back } => {
                let progress = self.appender.read(attempt, back);
                self.progress(progress, now);
            }
            Input::ReadFailed { attempt } => {
                let progress = self.appender.read_failed(attempt);
                self.progress(progress, now);
            }
            Input::Lease { until_ms } => self.lease_until_ms = self.lease_until_ms.max(until_ms),
            Input::Relayed(position) => self.relayed = self.relayed.max(position),
            Input::SaveRelayed => self.save_relayed(),
            Input::Checkpoint(checkpoint) => self.control.push_back(Body::Checkpoint(checkpoint)),
            Input::Forgive { key } => {
                if let Some(actor) = self.actors.get_mut(&key) {
                    actor.forgive();
                }
            }
            Input::Passivate { key } => self.passivate(&key),
            Input::CloseIntake => self.close_intake(),
            Input::OpenIntake => self.intake = Intake::Open,
            Input::Stop(reason) => self.stop(reason),
            Input::Tick => {}
        }
        if answer {
            self.check_lease(now);
        }
        self.flush();
        self.tell_when_drained();
        std::mem::take(&mut self.actions)
    }

    fn check_lease(&mut self, now: Now) {
        if now.monotonic_ms >= self.lease_until_ms {
            self.stop(StopReason::LeaseEnded);
        }
    }

    fn save_relayed(&mut self) {
        let carried =
            !self.waiting.is_empty() || self.control.iter().any(|body| matches!(body, Body::Commits { .. }));
        if self.relayed > self.written && !carried {
            self.control.push_back(Body::Commits { relayed: Some(self.relayed), commits: Vec::new() });
        }
    }

    fn close_intake(&mut self) {
        if self.intake == Intake::Open {
            self.intake = Intake::Closed { told: false };
        }
        // What has not been decided waits elsewhere.
        let moving = types::moving();
        let mut queued: Vec<Token> = self.actors.values_mut().flat_map(Actor::take_queue).collect();
        queued.sort_unstable();
        self.actions.extend(queued.into_iter().map(|token| Action::Refuse { token, report: moving.clone() }));
    }

    fn tell_when_drained(&mut self) {
        let is_quiet = || {
            self.flight.is_empty()
                && self.waiting.is_empty()
                && self.appender.is_idle()
                && self.actors.values().all(|actor| !actor.is_deciding())
        };
        if self.intake == (Intake::Closed { told: false }) && self.stopped.is_none() && is_quiet() {
            self.intake = Intake::Closed { told: true };
            self.actions.push(Action::Drained { last: self.tail().chain.seq() });
        }
    }

    /// Ends everything. What is in the record on its way may be stored; the rest is not.
    fn stop(&mut self, reason: StopReason) {
        if self.stopped.is_some() {
            return;
        }
        let (certain, unknown) = (reason.report(), reason.unknown());
        let sent: BTreeSet<Token> = self.flight.drain(..).map(|turn| turn.token).collect();
        self.waiting.clear();
        let all = std::mem::take(&mut self.actors).into_values().flat_map(Actor::into_tokens);
        for token in all.collect::<BTreeSet<Token>>() {
            let report = if sent.contains(&token) { &unknown } else { &certain };
            self.actions.push(Action::Refuse { token, report: report.clone() });
        }
        self.actions.push(Action::Stopped(reason.clone()));
        self.stopped = Some(reason);
    }
}

#[cfg(test)]
mod tests;
