//! What the host itself keeps of an actor, folded from its commits beside the actor's own state: how
//! far it is, which commands it has carried out, how far it has counted to whom, what it waits for.
//!
//! It is part of every snapshot and follows from the commits alone (law J3).

use crate::command::{Command, CommandRef};
use crate::commit::{Commit, Effect, Event, MAX_EFFECTS, MAX_EVENTS, MAX_NAME_BYTES, Misfire};
use crate::dedupe::{Dedupe, Known, Refused};
use crate::error::FoldError;
use crate::hlc::Hlc;
use crate::ids::{ActorSeq, Hash};
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most timers of one actor.
pub const MAX_TIMERS: usize = 1_024;
/// Most calls of one actor whose answers are still to come.
pub const MAX_CALLS: usize = 4_096;
/// Most different actors that one may send to.
pub const MAX_TARGETS: usize = 65_536;
/// Largest reply, bytes.
pub const MAX_REPLY_BYTES: usize = 256 << 10;

/// What one turn decided, before it has a place in the history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// What happened.
    pub events: Vec<Event>,
    /// What is to be done. The sequence of an [`Effect::Send`] is set by [`Ledger::commit`].
    pub effects: Vec<Effect>,
    /// What the sender of the command is told.
    pub reply: Bytes,
}

/// A timer that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// When it is due, milliseconds since 1970.
    pub due_ms: u64,
    /// When nobody could fire it.
    pub misfire: Misfire,
    /// The command that it fires.
    pub command: Arc<str>,
    /// That command's body.
    pub body: Bytes,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub(crate) key: EntityKey,
    pub(crate) seq: ActorSeq,
    pub(crate) history: Hash,
    pub(crate) hlc: Hlc,
    pub(crate) stopped: bool,
    pub(crate) deleted: bool,
    pub(crate) dedupe: Dedupe,
    pub(crate) sent: BTreeMap<EntityKey, u64>,
    pub(crate) timers: BTreeMap<Arc<str>, Timer>,
    pub(crate) calls: BTreeSet<(ActorSeq, u32)>,
}

impl Ledger {
    /// Of an actor without a history.
    #[must_use]
    pub fn new(key: EntityKey) -> Self {
        Self {
            key,
            seq: ActorSeq(0),
            history: Hash::ZERO,
            hlc: Hlc::default(),
            stopped: false,
            deleted: false,
            dedupe: Dedupe::default(),
            sent: BTreeMap::new(),
            timers: BTreeMap::new(),
            calls: BTreeSet::new(),
        }
    }

    /// Of an actor that was deleted by this commit: that is all that is left of it, and it is the same
    /// whether its history was folded or not.
    #[must_use]
    pub fn deleted(key: EntityKey, seq: ActorSeq) -> Self {
        Self { seq, stopped: true, deleted: true, ..Self::new(key) }
    }

    /// Whose.
    #[must_use]
    pub fn key(&self) -> &EntityKey {
        &self.key
    }
    /// The last commit's place.
    #[must_use]
    pub fn seq(&self) -> ActorSeq {
        self.seq
    }
    /// Hash of all its commits.
    #[must_use]
    pub fn history(&self) -> Hash {
        self.history
    }
    /// Time of the last commit.
    #[must_use]
    pub fn hlc(&self) -> Hlc {
        self.hlc
    }
    /// Has it ended ([`Effect::Stop`], [`Effect::Delete`])?
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }
    /// Was it deleted ([`Effect::Delete`])?
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }
    /// Why it does nothing any more; none while it lives.
    #[must_use]
    pub fn ended(&self) -> Option<Report> {
        if self.deleted {
            return Some(deleted(&self.key));
        }
        let ended = || Report::new(ErrorCode::ActorNotFound, format!("{}: the actor has ended", self.key));
        self.stopped.then(ended)
    }
    /// Timers that run, by name.
    #[must_use]
    pub fn timers(&self) -> &BTreeMap<Arc<str>, Timer> {
        &self.timers
    }
    /// The command of the timer that is due first, and when: fire it then.
    #[must_use]
    pub fn next_timer(&self) -> Option<(u64, Command)> {
        let (name, timer) = self.timers.iter().min_by_key(|(_, timer)| timer.due_ms)?;
        let reference = CommandRef::Timer { name: name.clone(), due_ms: timer.due_ms };
        let command = Command { reference, name: timer.command.to_string(), body: timer.body.clone() };
        Some((timer.due_ms, command))
    }

    /// What is known about a command.
    ///
    /// # Errors
    /// [`Refused`]: it must not be decided.
    pub fn check(&self, command: &Command, unix_ms: u64) -> Result<Known, Refused> {
        let waited_for = match &command.reference {
            CommandRef::Timer { name, due_ms } => {
                self.timers.get(name).is_some_and(|timer| timer.due_ms == *due_ms)
            }
            CommandRef::Answer { seq, index } => self.calls.contains(&(*seq, *index)),
            reference => return self.dedupe.check(reference, command.digest(), unix_ms),
        };
        Ok(if waited_for { Known::New } else { Known::Settled })
    }

    /// The commit that this decision becomes, as the next of the history. It changes nothing:
    /// [`Ledger::apply`] does, when the commit is durable.
    ///
    /// # Errors
    /// `E_LIMIT`: it changes too much at once, or waits for too much.
    pub fn commit(
        &self,
        command: &Command,
        decision: Decision,
        component: Digest,
        unix_ms: u64,
    ) -> Result<Commit, Report> {
        let Decision { events, mut effects, reply } = decision;
        check_sizes(&events, &effects, &reply)?;
        let mut counted: BTreeMap<EntityKey, u64> = BTreeMap::new();
        for effect in &mut effects {
            if let Effect::Send { to, sequence, .. } = effect {
                let last = counted.get(to).or_else(|| self.sent.get(to)).copied().unwrap_or_default();
                *sequence = last.saturating_add(1);
                counted.insert(to.clone(), *sequence);
            }
        }
        let commit = Commit {
            key: self.key.clone(),
            seq: self.seq.next(),
            previous: self.history.short(),
            command: command.reference.clone(),
            command_digest: command.digest(),
            hlc: self.hlc.tick(unix_ms),
            component,
            events,
            effects,
            reply,
        };
        self.check_waiting(&commit)?;
        Ok(commit)
    }

    /// Would it wait for too much after this commit?
    fn check_waiting(&self, commit: &Commit) -> Result<(), Report> {
        if !commit
            .effects
            .iter()
            .any(|effect| effect.is_outgoing() || matches!(effect, Effect::TimerSet { .. }))
        {
            return Ok(());
        }
        let new = |counts: fn(&Effect) -> bool| commit.effects.iter().filter(|effect| counts(effect)).count();
        // An upper bound: a timer that is moved counts twice.
        let timers = self.timers.len() + new(|effect| matches!(effect, Effect::TimerSet { .. }));
        let calls = self.calls.len() + new(|effect| matches!(effect, Effect::Call { .. }));
        let targets = self.sent.len() + new(|effect| matches!(effect, Effect::Send { .. }));
        limit("timers", timers, MAX_TIMERS)?;
        limit("calls without an answer", calls, MAX_CALLS)?;
        limit("actors it sends to", targets, MAX_TARGETS)
    }

    /// Does this commit follow?
    ///
    /// # Errors
    /// [`FoldError`].
    pub fn follows(&self, commit: &Commit) -> Result<(), FoldError> {
        let key = || self.key.clone();
        if commit.key != self.key {
            return Err(FoldError::OtherActor { key: key(), got: commit.key.clone() });
        }
        if self.deleted {
            return Err(FoldError::Deleted { key: key(), seq: commit.seq });
        }
        let expected = self.seq.next();
        if commit.seq != expected {
            return Err(FoldError::Sequence { key: key(), expected, got: commit.seq });
        }
        if commit.previous != self.history.short() {
            return Err(FoldError::History { key: key(), seq: commit.seq });
        }
        Ok(())
    }

    /// Takes the next commit of the history in. Performs nothing (law J5).
    ///
    /// # Errors
    /// [`FoldError`]: it does not follow; the ledger is as it was.
    pub fn apply(&mut self, commit: &Commit) -> Result<(), FoldError> {
        self.follows(commit)?;
        if commit.is_tombstone() {
            *self = Self::deleted(self.key.clone(), commit.seq);
            return Ok(());
        }
        self.history = commit.extend(&self.history);
        self.seq = commit.seq;
        self.hlc = self.hlc.max(commit.hlc);
        self.dedupe.remember(commit);
        match &commit.command {
            CommandRef::Timer { name, .. } => drop(self.timers.remove(name)),
            CommandRef::Answer { seq, index } => drop(self.calls.remove(&(*seq, *index))),
            CommandRef::Id(_) | CommandRef::Sent { .. } => {}
        }
        for (index, effect) in (0..).zip(&commit.effects) {
            self.take_in(commit.seq, index, effect);
        }
        Ok(())
    }

    fn take_in(&mut self, seq: ActorSeq, index: u32, effect: &Effect) {
        match effect {
            Effect::Send { to, sequence, .. } => drop(self.sent.insert(to.clone(), *sequence)),
            Effect::Call { .. } => drop(self.calls.insert((seq, index))),
            Effect::TimerSet { name, due_ms, misfire, command, body } => {
                let timer = Timer {
                    due_ms: *due_ms,
                    misfire: *misfire,
                    command: command.clone(),
                    body: crate::dedupe::own(body),
                };
                self.timers.insert(name.clone(), timer);
            }
            Effect::TimerCancel { name } => drop(self.timers.remove(name)),
            Effect::Stop => {
                self.stopped = true;
                self.timers.clear();
            }
            // A tombstone is not taken in: it is all there is.
            Effect::Publish { .. }
            | Effect::Crdt { .. }
            | Effect::SnapshotNow
            | Effect::Passivate
            | Effect::Delete => {}
        }
    }
}

/// What everybody is told who asks for an actor that was deleted.
#[must_use]
pub fn deleted(key: &EntityKey) -> Report {
    Report::new(ErrorCode::ActorNotFound, format!("{key}: the actor was deleted"))
        .hint("its id is not used again: use another one")
}

fn limit(what: &str, got: usize, limit: usize) -> Result<(), Report> {
    if got <= limit {
        return Ok(());
    }
    Err(Report::new(ErrorCode::Limit, format!("decision refused: too many {what}")).got(got).limit(limit))
}

fn check_sizes(events: &[Event], effects: &[Effect], reply: &Bytes) -> Result<(), Report> {
    limit("events", events.len(), MAX_EVENTS)?;
    limit("effects", effects.len(), MAX_EFFECTS)?;
    limit("bytes of reply", reply.len(), MAX_REPLY_BYTES)?;
    let events = events.iter().map(|event| event.name.len());
    let effects = effects.iter().flat_map(names).map(|name| name.len());
    limit("bytes of one name", events.chain(effects).max().unwrap_or_default(), MAX_NAME_BYTES)
}

fn names(effect: &Effect) -> Vec<&Arc<str>> {
    match effect {
        Effect::Send { name, .. } | Effect::TimerCancel { name } | Effect::Crdt { name, .. } => vec![name],
        Effect::Publish { link, subject, .. } => vec![link, subject],
        Effect::Call { link, function, answer, .. } => vec![link, function, answer],
        Effect::TimerSet { name, command, .. } => vec![name, command],
        Effect::SnapshotNow | Effect::Passivate | Effect::Stop | Effect::Delete => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
