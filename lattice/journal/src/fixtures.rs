//! What the tests of this crate share: an actor that adds numbers, histories of it, a log in memory.

use crate::append::{AppendOutcome, ReadBack};
use crate::chain::Chain;
use crate::command::{Command, CommandId, CommandRef};
use crate::commit::{Commit, Effect, Event, Misfire};
use crate::fold::{Entity, Fold};
use crate::hlc::Hlc;
use crate::ids::{ActorSeq, Epoch, Now, Position, ShardId};
use crate::ledger::{Decision, Ledger};
use crate::model::ModelLog;
use crate::record::{Body, Sealed, SessionId};
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::EntityKey;
use proptest::collection::vec;
use proptest::prelude::*;

pub const SHARD: ShardId = ShardId(7);
/// A time: 2023-11-14.
pub const T0: u64 = 1_700_000_000_000;

pub fn now(ms: u64) -> Now {
    Now { monotonic_ms: ms, unix_ms: T0 + ms }
}

pub fn key(text: &str) -> EntityKey {
    text.parse().unwrap()
}

pub fn session(host: &str) -> SessionId {
    SessionId::new(&host.parse().unwrap(), [host.as_bytes()[0]; 16])
}

pub fn component() -> Digest {
    Digest::from_bytes([0xc0; 32])
}

/// The n-th id, issued at T0 + n ms.
pub fn id(n: u64) -> CommandId {
    let mut entropy = [0; 10];
    entropy[..8].copy_from_slice(&n.to_be_bytes());
    CommandId::new(T0 + n, entropy)
}

/// "Add this", under the n-th id.
pub fn add(n: u64, amount: i64) -> Command {
    let body = Bytes::copy_from_slice(&amount.to_le_bytes());
    Command { reference: CommandRef::Id(id(n)), name: "add".to_owned(), body }
}

pub fn added(amount: i64) -> Event {
    Event { name: "added".into(), version: 1, payload: Bytes::copy_from_slice(&amount.to_le_bytes()) }
}

fn number(bytes: &[u8]) -> Result<i64, String> {
    Ok(i64::from_le_bytes(bytes.try_into().map_err(|_| "not eight bytes".to_owned())?))
}

/// Adds numbers up; counts how often it was told anything, to see replays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sum {
    pub total: i64,
}

impl Entity for Sum {
    fn apply(&mut self, event: &Event) -> Result<(), String> {
        self.total = self.total.wrapping_add(number(&event.payload)?);
        Ok(())
    }
    fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Sum {
    /// The tombstone that a deletion under the n-th id becomes.
    pub fn tombstone(ledger: &Ledger, n: u64) -> Commit {
        let decision = Decision { effects: vec![Effect::Delete], ..Decision::default() };
        commit(ledger, &add(n, 0), decision)
    }
    pub fn load(_: u32, state: &Bytes) -> Result<Self, String> {
        Ok(Self { total: number(state)? })
    }
    pub fn save(&self) -> (u32, Bytes) {
        (1, Bytes::copy_from_slice(&self.total.to_le_bytes()))
    }
    /// The decision on a command: one event; the reply is the new total.
    pub fn decide(&self, command: &Command) -> Decision {
        let amount = number(&command.body).unwrap_or_default();
        let total = self.total.wrapping_add(amount);
        let events = vec![added(amount)];
        Decision { events, effects: Vec::new(), reply: Bytes::copy_from_slice(&total.to_le_bytes()) }
    }
}

pub fn fold_of(name: &str) -> Fold<Sum> {
    Fold::new(key(name), Sum::default())
}

/// The next commit of this actor.
pub fn commit(ledger: &Ledger, command: &Command, decision: Decision) -> Commit {
    ledger.commit(command, decision, component(), T0 + 1_000).unwrap()
}

/// A chain whose epoch 1 is opened by A, and that record.
pub fn opened() -> (Chain, Sealed) {
    let mut chain = Chain::new(SHARD);
    let first = chain.opening(Epoch(1), session("A")).seal().unwrap();
    chain.offer(&first).unwrap();
    (chain, first)
}

/// The next record of a chain with these commits; the chain stays.
pub fn record(chain: &Chain, commits: Vec<Commit>) -> Sealed {
    chain.next(Body::Commits { relayed: None, commits }).seal().unwrap()
}

/// The model of a log, with its entries in reach.
#[derive(Debug, Clone, Default)]
pub struct Log {
    pub entries: Vec<Bytes>,
}

impl Log {
    pub fn last(&self) -> Position {
        Position(self.entries.len() as u64)
    }
    fn model(&self) -> ModelLog {
        let mut model = ModelLog::default();
        for entry in &self.entries {
            model.force(entry);
        }
        model
    }
    pub fn append(&mut self, expected: Position, bytes: &Bytes) -> AppendOutcome {
        let outcome = self.model().append(expected, bytes);
        if let AppendOutcome::Stored(_) = outcome {
            self.force(bytes);
        }
        outcome
    }
    pub fn force(&mut self, bytes: &Bytes) -> Position {
        self.entries.push(bytes.clone());
        self.last()
    }
    pub fn read(&self, after: Position, most: usize) -> ReadBack {
        self.model().read(after, most).unwrap()
    }
    /// The valid records.
    pub fn valid(&self) -> Vec<Sealed> {
        let mut tail = crate::append::Tail::new(Chain::new(SHARD));
        tail.follow(self.read(Position(0), usize::MAX).entries).unwrap().valid
    }
}

fn text() -> impl Strategy<Value = std::sync::Arc<str>> {
    "[a-z-]{1,12}".prop_map(Into::into)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

pub fn any_key() -> impl Strategy<Value = EntityKey> {
    ("[a-c]{1,2}", "[a-z0-9-]{1,8}").prop_map(|(kind, id)| key(&format!("{kind}/{id}")))
}

fn any_reference() -> impl Strategy<Value = CommandRef> {
    prop_oneof![
        (any::<u32>(), any::<[u8; 10]>())
            .prop_map(|(ms, entropy)| CommandRef::Id(CommandId::new(T0 + u64::from(ms), entropy))),
        (any_key(), 1u64..9).prop_map(|(from, sequence)| CommandRef::Sent { from, sequence }),
        (text(), any::<u64>()).prop_map(|(name, due_ms)| CommandRef::Timer { name, due_ms }),
        (any::<u64>(), any::<u32>())
            .prop_map(|(seq, index)| CommandRef::Answer { seq: ActorSeq(seq), index }),
    ]
}

pub fn any_effect() -> impl Strategy<Value = Effect> {
    let misfire = prop_oneof![Just(Misfire::FireLate), Just(Misfire::Skip)];
    prop_oneof![
        (any_key(), 1u64..9, text(), bytes()).prop_map(|(to, sequence, name, body)| Effect::Send {
            to,
            sequence,
            name,
            body
        }),
        (text(), text(), bytes()).prop_map(|(link, subject, body)| Effect::Publish { link, subject, body }),
        (text(), text(), bytes(), text()).prop_map(|(link, function, body, answer)| Effect::Call {
            link,
            function,
            body,
            answer
        }),
        (text(), any::<u64>(), misfire, text(), bytes()).prop_map(
            |(name, due_ms, misfire, command, body)| Effect::TimerSet {
                name,
                due_ms,
                misfire,
                command,
                body
            }
        ),
        text().prop_map(|name| Effect::TimerCancel { name }),
        (text(), bytes()).prop_map(|(name, delta)| Effect::Crdt { name, delta }),
        Just(Effect::SnapshotNow),
        Just(Effect::Passivate),
        Just(Effect::Stop),
        Just(Effect::Delete),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    (text(), any::<u32>(), bytes()).prop_map(|(name, version, payload)| Event { name, version, payload })
}

pub fn any_commit() -> impl Strategy<Value = Commit> {
    let head = (any_key(), any::<u64>(), any::<[u8; 8]>(), any_reference(), any::<[u8; 8]>());
    let rest = (any::<(u64, u32)>(), any::<u8>(), vec(any_event(), 0..3), vec(any_effect(), 0..3), bytes());
    (head, rest).prop_map(|((key, seq, previous, command, command_digest), rest)| {
        let ((wall_ms, counter), component, events, effects, reply) = rest;
        Commit {
            key,
            seq: ActorSeq(seq),
            previous,
            command,
            command_digest,
            hlc: Hlc { wall_ms, counter },
            component: Digest::from_bytes([component % 3; 32]),
            events,
            effects,
            reply,
        }
    })
}
