//! A commit: everything that one turn of one actor changes, in one piece.
//!
//! Effects are data. Those that leave the actor are carried out after the commit is durable, from
//! the journal itself (see [`crate::outbox`]); nothing is carried out while folding (law J5).

use crate::command::CommandRef;
use crate::hlc::Hlc;
use crate::ids::{ActorSeq, Hash};
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::EntityKey;
use std::sync::Arc;

/// Most events of one commit.
pub const MAX_EVENTS: usize = 1_024;
/// Most effects of one commit.
pub const MAX_EFFECTS: usize = 256;
/// Longest name of an event, command, timer, link, subject or function, bytes.
pub const MAX_NAME_BYTES: usize = 1_024;

/// A fact: what happened, once and for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What kind of fact (`level-changed`).
    pub name: Arc<str>,
    /// Which version of its form; older ones are upcast by the actor.
    pub version: u32,
    /// As the actor encodes it.
    pub payload: Bytes,
}

/// What becomes of a timer that was due while nobody could fire it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Misfire {
    /// It fires as soon as possible, once.
    #[default]
    FireLate,
    /// It is dropped.
    Skip,
}

/// Something to be done outside of the actor's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A command to another actor; exactly once in effect.
    Send {
        /// To whom.
        to: EntityKey,
        /// The how-manyth message to it, from 1: given by
        /// [`Ledger::commit`](crate::ledger::Ledger::commit).
        sequence: u64,
        /// The command.
        name: Arc<str>,
        /// Its body.
        body: Bytes,
    },
    /// A message through a link; once within the stream's dedupe window, with the same id for ever.
    Publish {
        /// Link name.
        link: Arc<str>,
        /// Subject.
        subject: Arc<str>,
        /// Body.
        body: Bytes,
    },
    /// A call through a link, at least once with the same idempotency key; its answer comes back as a command.
    Call {
        /// Link name.
        link: Arc<str>,
        /// `namespace:package/interface.function`.
        function: Arc<str>,
        /// Arguments.
        body: Bytes,
        /// Name of the command that brings the answer.
        answer: Arc<str>,
    },
    /// Starts a timer, or moves it: at most one of each name.
    TimerSet {
        /// Its name.
        name: Arc<str>,
        /// When it is due, milliseconds since 1970.
        due_ms: u64,
        /// When nobody could fire it.
        misfire: Misfire,
        /// The command that it fires.
        command: Arc<str>,
        /// That command's body.
        body: Bytes,
    },
    /// Stops a timer, if there is one of that name.
    TimerCancel {
        /// Its name.
        name: Arc<str>,
    },
    /// A change of a replicated data type.
    Crdt {
        /// Of which.
        name: Arc<str>,
        /// The change.
        delta: Bytes,
    },
    /// Take a snapshot at the next chance.
    SnapshotNow,
    /// Leave memory at the next chance.
    Passivate,
    /// The actor's life is over; further commands are refused.
    Stop,
    /// Everything that the actor was is deleted, for good: this commit is its tombstone. No component
    /// decides it.
    Delete,
}

impl Effect {
    /// Is it relayed to somebody else (and so has a place in the outbox)?
    #[must_use]
    pub fn is_outgoing(&self) -> bool {
        matches!(self, Self::Send { .. } | Self::Publish { .. } | Self::Call { .. })
    }
}

/// One turn's outcome, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Whose.
    pub key: EntityKey,
    /// Its place in that actor's history.
    pub seq: ActorSeq,
    /// First bytes of the hash of that history before this commit: for audit.
    pub previous: [u8; 8],
    /// What it answers.
    pub command: CommandRef,
    /// Tells that command from another one under the same id.
    pub command_digest: [u8; 8],
    /// When it was decided.
    pub hlc: Hlc,
    /// The component that decided it.
    pub component: Digest,
    /// What happened.
    pub events: Vec<Event>,
    /// What is to be done.
    pub effects: Vec<Effect>,
    /// What the sender of the command is told; repetitions are told the same.
    pub reply: Bytes,
}

/// Feeds a hasher with fields that cannot run into each other.
struct Fields(blake3::Hasher);

impl Fields {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
        self
    }
    fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }
    fn key(&mut self, key: &EntityKey) -> &mut Self {
        self.bytes(key.kind.as_str().as_bytes()).bytes(key.id.as_str().as_bytes())
    }
    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Send { to, sequence, name, body } => {
                self.number(1).key(to).number(*sequence).bytes(name.as_bytes()).bytes(body)
            }
            Effect::Publish { link, subject, body } => {
                self.number(2).bytes(link.as_bytes()).bytes(subject.as_bytes()).bytes(body)
            }
            Effect::Call { link, function, body, answer } => self
                .number(3)
                .bytes(link.as_bytes())
                .bytes(function.as_bytes())
                .bytes(body)
                .bytes(answer.as_bytes()),
            Effect::TimerSet { name, due_ms, misfire, command, body } => self
                .number(4)
                .bytes(name.as_bytes())
                .number(*due_ms)
                .number(u64::from(*misfire == Misfire::Skip))
                .bytes(command.as_bytes())
                .bytes(body),
            Effect::TimerCancel { name } => self.number(5).bytes(name.as_bytes()),
            Effect::Crdt { name, delta } => self.number(6).bytes(name.as_bytes()).bytes(delta),
            Effect::SnapshotNow => self.number(7),
            Effect::Passivate => self.number(8),
            Effect::Stop => self.number(9),
            Effect::Delete => self.number(10),
        };
    }
}

impl Commit {
    /// Is it a tombstone: nothing of the actor before it is to be found any more?
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.effects.contains(&Effect::Delete)
    }

    /// The hash of the actor's history with this commit, from the hash of the history before it.
    #[must_use]
    pub fn extend(&self, before: &Hash) -> Hash {
        let mut fields = Fields(blake3::Hasher::new());
        fields.0.update(&before.0);
        fields.key(&self.key).number(self.seq.0);
        match &self.command {
            CommandRef::Id(id) => fields.number(0).bytes(id.as_bytes()),
            CommandRef::Sent { from, sequence } => fields.number(1).key(from).number(*sequence),
            CommandRef::Timer { name, due_ms } => fields.number(2).bytes(name.as_bytes()).number(*due_ms),
            CommandRef::Answer { seq, index } => fields.number(3).number(seq.0).number((*index).into()),
        };
        fields.bytes(&self.command_digest).number(self.hlc.wall_ms).number(self.hlc.counter.into());
        fields.bytes(self.component.as_bytes()).number(self.events.len() as u64);
        for event in &self.events {
            fields.bytes(event.name.as_bytes()).number(event.version.into()).bytes(&event.payload);
        }
        fields.number(self.effects.len() as u64);
        self.effects.iter().for_each(|effect| fields.effect(effect));
        fields.bytes(&self.reply);
        Hash(*fields.0.finalize().as_bytes())
    }
}
