//! Effects that leave an actor, relayed from the journal itself: published after they are stored,
//! never before, and again after a takeover until somebody has taken them.
//!
//! Order is kept per target, and a failing target blocks only itself. How far all have got is one
//! position that travels in later records; what is behind it was taken (or given up) for certain,
//! what is after it may be sent again: actors drop repetitions by number, others by the stable key.
//!
//! ```text
//!            durable                relay                 taken
//!  record ───────────▶ waiting ───────────────▶ under way ───────▶ (position moves on)
//!                        ▲                          │ failed, attempts left: after a pause
//!                        └──────────────────────────┤
//!                                                   └ no attempts left ─▶ dead letter ─▶ (moves on)
//! ```
//! When an actor is deleted, what of it waits is dropped: nothing of a deleted actor goes out.

use crate::commit::{Commit, Effect};
use crate::ids::{ActorSeq, Epoch, RecordSeq};
use crate::record::{Body, Record};
use lattice_protocol::EntityKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Most effects that wait; a shard takes no commands while its outbox is full.
pub const MAX_WAITING: usize = 65_536;

/// A place in a shard's outbox: the n-th outgoing effect of a record. As a cursor it is the first
/// one that has not been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OutboxPosition {
    /// Which record.
    pub record: RecordSeq,
    /// Which outgoing effect of it, from 0.
    pub index: u32,
}

/// Whom an effect is for; order is kept among those for the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Another actor.
    Actor(EntityKey),
    /// Link and subject.
    Subject(Arc<str>, Arc<str>),
    /// Link and function.
    Function(Arc<str>, Arc<str>),
}

/// One effect on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its place.
    pub position: OutboxPosition,
    /// Whose.
    pub from: EntityKey,
    /// Of which commit.
    pub seq: ActorSeq,
    /// Which effect of that commit: names a call's answer.
    pub index: u32,
    /// The epoch of its record; a sink refuses lower ones than it has seen.
    pub epoch: Epoch,
    /// What.
    pub effect: Effect,
}

impl Outgoing {
    /// The key by which the outside world can tell a repetition: the same for ever.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        format!("{}-{}-{}", self.from, self.seq, self.index)
    }
    /// For whom; none for an effect that stays.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        match &self.effect {
            Effect::Send { to, .. } => Some(Target::Actor(to.clone())),
            Effect::Publish { link, subject, .. } => Some(Target::Subject(link.clone(), subject.clone())),
            Effect::Call { link, function, .. } => Some(Target::Function(link.clone(), function.clone())),
            _ => None,
        }
    }
}

/// The outgoing effects of a record, in order.
pub fn outgoing(record: &Record) -> impl Iterator<Item = Outgoing> + '_ {
    let of_commit = |commit: &'_ Commit| {
        let (from, seq) = (commit.key.clone(), commit.seq);
        let effects = commit.effects.clone();
        (0..)
            .zip(effects)
            .filter(|(_, effect)| effect.is_outgoing())
            .map(move |(index, effect)| (from.clone(), seq, index, effect))
    };
    (0..).zip(record.commits().iter().flat_map(of_commit)).map(|(place, (from, seq, index, effect))| {
        let position = OutboxPosition { record: record.seq, index: place };
        Outgoing { position, from, seq, index, epoch: record.epoch, effect }
    })
}

/// How often, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayPolicy {
    /// Attempts before a message to a subject becomes a dead letter. A message to an actor never does:
    /// left out, it would block all later ones of its sender, which are numbered. Nor does a call: its
    /// caller waits for an answer, and the shell gives it one when there were enough attempts.
    pub attempts: u32,
    /// First pause after a failure, milliseconds; doubles.
    pub pause_ms: u64,
    /// Longest pause, milliseconds.
    pub max_pause_ms: u64,
}

impl Default for RelayPolicy {
    /// 20 attempts, from 100 ms to 30 s: about eight minutes.
    fn default() -> Self {
        Self { attempts: 20, pause_ms: 100, max_pause_ms: 30_000 }
    }
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayAction {
    /// Send it; answer with [`Outbox::taken`] or [`Outbox::failed`].
    Relay(Outgoing),
    /// Keep it where a person can see it and send it again; it is done with here.
    DeadLetter(Outgoing),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Lane {
    waiting: VecDeque<Outgoing>,
    under_way: bool,
    attempts: u32,
    not_before_ms: u64,
}

/// The relay of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    policy: RelayPolicy,
    lanes: BTreeMap<Target, Lane>,
    /// Everything not taken yet.
    open: BTreeSet<OutboxPosition>,
    /// After the last record that was seen.
    end: OutboxPosition,
    /// Where it began: earlier effects were taken before.
    start: OutboxPosition,
}

impl Outbox {
    /// From this position on: the last one that a valid record carries.
    #[must_use]
    pub fn new(policy: RelayPolicy, start: OutboxPosition) -> Self {
        Self { policy, lanes: BTreeMap::new(), open: BTreeSet::new(), end: start, start }
    }

    /// The position that a record carries: a new owner's outbox starts at the last one.
    #[must_use]
    pub fn position_in(record: &Record) -> Option<OutboxPosition> {
        match &record.body {
            Body::Commits { relayed, .. } => *relayed,
            _ => None,
        }
    }

    /// A record is durable and valid: its effects may go.
    pub fn durable(&mut self, record: &Record) {
        for item in outgoing(record).filter(|item| item.position >= self.start) {
            if let Some(target) = item.target()
                && self.open.insert(item.position)
            {
                self.lanes.entry(target).or_default().waiting.push_back(item);
            }
        }
        // What an actor wanted that was deleted since is not done any more.
        record.commits().iter().filter(|commit| commit.is_tombstone()).for_each(|end| self.end_of(&end.key));
        let end = OutboxPosition { record: record.seq.next(), index: 0 };
        self.end = self.end.max(end);
    }

    /// All records up to this one are known, and no other than those that were given here wants anything done.
    pub fn seen(&mut self, last: RecordSeq) {
        self.end = self.end.max(OutboxPosition { record: last.next(), index: 0 });
    }

    /// Nothing more of this actor goes out. What is under way may arrive.
    fn end_of(&mut self, from: &EntityKey) {
        let open = &mut self.open;
        for lane in self.lanes.values_mut() {
            let front = lane.waiting.front().map(|item| item.position);
            lane.waiting.retain(|item| {
                let goes = item.from == *from;
                if goes {
                    open.remove(&item.position);
                }
                !goes
            });
            if lane.waiting.front().map(|item| item.position) != front {
                *lane = Lane { waiting: std::mem::take(&mut lane.waiting), ..Lane::default() };
            }
        }
        self.lanes.retain(|_, lane| !lane.waiting.is_empty());
    }

    /// Does this effect still wait, or is under way?
    #[must_use]
    pub fn is_open(&self, position: OutboxPosition) -> bool {
        self.open.contains(&position)
    }

    /// Everything before this has been taken: goes into the next record.
    #[must_use]
    pub fn position(&self) -> OutboxPosition {
        self.open.first().copied().unwrap_or(self.end)
    }
    /// How many wait or are under way.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.open.len()
    }
    /// So many wait that the shard shall take no more commands.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.open.len() >= MAX_WAITING
    }

    /// What may be sent now: at most one for each target.
    pub fn due(&mut self, now_ms: u64) -> Vec<RelayAction> {
        let ready = self.lanes.values_mut().filter(|lane| !lane.under_way && lane.not_before_ms <= now_ms);
        let mut actions = Vec::new();
        for lane in ready {
            if let Some(item) = lane.waiting.front() {
                lane.under_way = true;
                actions.push(RelayAction::Relay(item.clone()));
            }
        }
        actions
    }

    /// The earliest time at which [`Outbox::due`] may have something that waits for a pause.
    #[must_use]
    pub fn wake_ms(&self) -> Option<u64> {
        let paused = self.lanes.values().filter(|lane| !lane.under_way && !lane.waiting.is_empty());
        paused.map(|lane| lane.not_before_ms).min()
    }

    /// How often it has failed.
    #[must_use]
    pub fn attempts(&self, item: &Outgoing) -> u32 {
        item.target().and_then(|target| self.lanes.get(&target)).map_or(0, |lane| lane.attempts)
    }

    /// Its target has it.
    pub fn taken(&mut self, item: &Outgoing) {
        self.done(item);
    }

    /// Its target does not have it, as far as is known.
    pub fn failed(&mut self, item: &Outgoing, now_ms: u64) -> Option<RelayAction> {
        let policy = self.policy;
        let lane = item.target().and_then(|target| self.lanes.get_mut(&target))?;
        if !lane.under_way || lane.waiting.front().map(|front| front.position) != Some(item.position) {
            return None;
        }
        lane.under_way = false;
        lane.attempts = lane.attempts.saturating_add(1);
        if matches!(item.effect, Effect::Publish { .. }) && lane.attempts >= policy.attempts {
            self.done(item);
            return Some(RelayAction::DeadLetter(item.clone()));
        }
        let factor = 1u64.checked_shl(lane.attempts - 1).unwrap_or(u64::MAX);
        let pause = policy.pause_ms.saturating_mul(factor).min(policy.max_pause_ms);
        lane.not_before_ms = now_ms.saturating_add(pause);
        None
    }

    fn done(&mut self, item: &Outgoing) {
        let Some(target) = item.target() else { return };
        let Some(lane) = self.lanes.get_mut(&target) else { return };
        // A late answer, of an attempt that was settled otherwise, changes nothing.
        if lane.waiting.front().map(|front| front.position) != Some(item.position) {
            return;
        }
        lane.waiting.pop_front();
        lane.under_way = false;
        lane.attempts = 0;
        lane.not_before_ms = 0;
        if lane.waiting.is_empty() {
            self.lanes.remove(&target);
        }
        self.open.remove(&item.position);
    }
}

#[cfg(test)]
mod tests;
