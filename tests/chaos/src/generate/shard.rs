//! One shard of the simulated lattice: real records, real ledgers, and an owner that may be fenced at any time.

use crate::history::{Entry, Outcome, STREAM};
use crate::model::Model;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use keys::Digest;
use lattice_journal::command::Command;
use lattice_journal::dedupe::Known;
use lattice_journal::record::Body;
use lattice_journal::{Chain, Commit, Decision, Effect, Epoch, Event, Ledger, Sealed, SessionId, ShardId};
use lattice_protocol::EntityKey;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// Who waits for a commit.
#[derive(Debug, Clone)]
pub(super) enum Waiting {
    Client {
        op: u64,
    },
    /// The relay of a shard, with the effect that it carries.
    Actor {
        shard: u16,
        origin: Outgoing,
    },
}

/// An effect of a stored commit.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    key: EntityKey,
    seq: u64,
    index: u32,
    effect: Effect,
}

pub(super) struct Arrival<'a> {
    pub(super) key: EntityKey,
    pub(super) model: Model,
    pub(super) command: &'a Command,
    pub(super) effects: Vec<Effect>,
    pub(super) waiting: Waiting,
    pub(super) now_ms: u64,
}

pub(super) enum Relayed {
    Sink(Entry),
    Actor { to: EntityKey, command: Command, origin: Outgoing },
}

/// What a stored record brings.
pub(super) struct Stored {
    pub(super) entry: Entry,
    pub(super) told: Vec<(u64, Outcome)>,
    /// What a read of each actor answers after each of its commits.
    pub(super) reads: Vec<(EntityKey, String)>,
}

/// What a takeover leaves.
pub(super) struct Taken {
    pub(super) entries: Vec<Entry>,
    pub(super) lost: Vec<u64>,
    pub(super) unsent: Vec<(u16, Outgoing)>,
}

/// What the owner knows of its actors.
type Actors = BTreeMap<EntityKey, (Ledger, Value)>;

struct Staged {
    commit: Commit,
    read: String,
    waiting: Vec<Waiting>,
}

pub(super) struct Shard {
    chain: Chain,
    /// As stored, and as it will be when what is staged is stored.
    durable: Actors,
    live: Actors,
    staged: Vec<Staged>,
    outbox: VecDeque<Outgoing>,
    relayed: Vec<Outgoing>,
    records: Vec<Sealed>,
}

impl Shard {
    pub(super) fn new(shard: ShardId) -> Self {
        Self {
            chain: Chain::new(shard),
            durable: BTreeMap::new(),
            live: BTreeMap::new(),
            staged: Vec::new(),
            outbox: VecDeque::new(),
            relayed: Vec::new(),
            records: Vec::new(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.chain.epoch().0
    }

    pub(super) fn durable_seq(&self, key: &EntityKey) -> u64 {
        self.durable.get(key).map(|(ledger, _)| ledger.seq().0).unwrap_or_default()
    }

    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    pub(super) fn has_effects(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// One turn. `None` while the answer waits for the commit.
    pub(super) fn submit(&mut self, arrival: Arrival<'_>) -> Option<Outcome> {
        let Arrival { key, model, command, effects, waiting, now_ms } = arrival;
        let new = || (Ledger::new(key.clone()), model.initial());
        let (ledger, state) = self.live.entry(key.clone()).or_insert_with(new);
        match ledger.check(command, now_ms) {
            Ok(Known::New) => {}
            Ok(Known::Repeated(first)) => {
                let same = |staged: &&mut Staged| staged.commit.key == key && staged.commit.seq == first.seq;
                if let Some(staged) = self.staged.iter_mut().find(same) {
                    staged.waiting.push(waiting);
                    return None;
                }
                let reply = String::from_utf8_lossy(&first.reply).into_owned();
                return Some(Outcome::Ok { seq: first.seq.0, epoch: self.chain.epoch().0, reply });
            }
            Ok(Known::Settled) => return Some(Outcome::Refused { code: "E_SETTLED".to_owned() }),
            Err(refused) => return Some(Outcome::Refused { code: refused.to_string() }),
        }
        let refused = |code: &str| Some(Outcome::Refused { code: code.to_owned() });
        let body = std::str::from_utf8(&command.body).unwrap_or_default();
        let stepped = model.step(state, &command.name, body).filter(|_| body != r#"{"amount":0}"#);
        let Some((after, reply)) = stepped else { return refused("nothing-to-do") };
        let event = Event { name: "done".into(), version: 1, payload: command.body.clone() };
        let decision = Decision { events: vec![event], effects, reply: reply.into() };
        let component = Digest::from_bytes([7; 32]);
        let Ok(commit) = ledger.commit(command, decision, component, now_ms) else {
            return refused("E_LIMIT");
        };
        if ledger.apply(&commit).is_err() {
            return refused("E_DAMAGED");
        }
        *state = after;
        let read = state.to_string();
        self.staged.push(Staged { commit, read, waiting: vec![waiting] });
        None
    }

    /// Stores what is staged, as one record.
    pub(super) fn flush(&mut self) -> Option<Stored> {
        let sealed = self.staged_record()?;
        self.chain.offer(&sealed).ok()?;
        self.durable = self.live.clone();
        let (mut told, mut reads) = (Vec::new(), Vec::new());
        for staged in std::mem::take(&mut self.staged) {
            let commit = staged.commit;
            let reply = String::from_utf8_lossy(&commit.reply).into_owned();
            let outcome = Outcome::Ok { seq: commit.seq.0, epoch: self.chain.epoch().0, reply };
            for waiting in staged.waiting {
                if let Waiting::Client { op } = waiting {
                    told.push((op, outcome.clone()));
                }
            }
            reads.push((commit.key.clone(), staged.read));
            for (index, effect) in (0..).zip(commit.effects).filter(|(_, effect)| effect.is_outgoing()) {
                self.outbox.push_back(Outgoing { key: commit.key.clone(), seq: commit.seq.0, index, effect });
            }
        }
        let entry = self.entry(&sealed, STREAM, Some(true));
        self.records.push(sealed);
        Some(Stored { entry, told, reads })
    }

    fn staged_record(&self) -> Option<Sealed> {
        if self.staged.is_empty() {
            return None;
        }
        let commits = self.staged.iter().map(|staged| staged.commit.clone()).collect();
        self.chain.next(Body::Commits { relayed: None, commits }).seal().ok()
    }

    fn entry(&self, sealed: &Sealed, copy: &str, accepted: Option<bool>) -> Entry {
        Entry::Record {
            copy: copy.to_owned(),
            shard: self.chain.shard().0,
            bytes: BASE64_STANDARD.encode(sealed.bytes()),
            accepted,
        }
    }

    /// A new owner: what was staged comes behind its `EpochOpened`, and counts for nothing.
    pub(super) fn take_over(&mut self) -> Taken {
        let late = self.staged_record();
        let epoch = Epoch(self.chain.epoch().0 + 1);
        let mut taken = Taken { entries: Vec::new(), lost: Vec::new(), unsent: Vec::new() };
        let Ok(owner) = format!("host-{epoch}.{:032x}", epoch.0).parse::<SessionId>() else { return taken };
        let Ok(opened) = self.chain.opening(epoch, owner).seal() else { return taken };
        if self.chain.offer(&opened).is_err() {
            return taken;
        }
        taken.entries.push(self.entry(&opened, STREAM, Some(true)));
        taken.entries.extend(late.map(|late| self.entry(&late, STREAM, Some(false))));
        self.records.push(opened);
        self.live = self.durable.clone();
        for waiting in std::mem::take(&mut self.staged).into_iter().flat_map(|staged| staged.waiting) {
            match waiting {
                Waiting::Client { op } => taken.lost.push(op),
                Waiting::Actor { shard, origin } => taken.unsent.push((shard, origin)),
            }
        }
        // The first of a sender's messages must go first again.
        taken.unsent.reverse();
        taken
    }

    pub(super) fn send_again(&mut self, origin: Outgoing) {
        self.outbox.push_front(origin);
    }

    /// The next effect on its way out, or one again that has been out.
    pub(super) fn relay(&mut self, again: bool) -> Option<Relayed> {
        let repeated = self.relayed.last().filter(|_| again).cloned();
        let accepted = repeated.is_none();
        let outgoing = repeated.or_else(|| self.outbox.pop_front())?;
        let Outgoing { key, seq, index, effect } = outgoing.clone();
        if let Effect::Send { to, sequence, name, body } = effect {
            let reference = lattice_journal::CommandRef::Sent { from: key, sequence };
            let command = Command { reference, name: name.to_string(), body };
            return Some(Relayed::Actor { to, command, origin: outgoing });
        }
        if accepted {
            self.relayed.push(outgoing);
        }
        let (sink, actor, epoch) = ("bus".to_owned(), key.to_string(), self.epoch());
        Some(Relayed::Sink(Entry::Effect { sink, actor, seq, index, epoch, accepted }))
    }

    /// The last record, as it would be stored twice.
    pub(super) fn last_record(&self) -> Option<Entry> {
        self.records.last().map(|sealed| self.entry(sealed, STREAM, None))
    }

    /// The first records, as another copy has them.
    pub(super) fn copy(&self, name: &str, keep: usize) -> Vec<Entry> {
        self.records.iter().take(keep).map(|sealed| self.entry(sealed, name, Some(true))).collect()
    }
}
