//! Histories of a simulated lattice that is right: clients at the same time, several commands in one record, owners
//! that are fenced in the middle of their work, answers that are lost, retries under the same id, late arrivals,
//! commands from actor to actor, effects that come out again after a takeover.
//!
//! The journal is the real one (`lattice-journal`); everything around it is played from a seed.

mod random;
mod shard;

use crate::history::{Entry, History, Outcome};
use crate::model::Model;
use lattice_journal::command::Command;
use lattice_journal::{CommandId, CommandRef, ShardId};
use lattice_protocol::EntityKey;
pub use random::Random;
use serde_json::json;
use shard::{Arrival, Relayed, Shard, Waiting};
use std::collections::BTreeMap;

/// When it is played, milliseconds since 1970.
const T0_MS: u64 = 1_700_000_000_000;

/// How large a history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Shards of the lattice.
    pub shards: u16,
    /// Actors of each kind that clients command.
    pub actors: usize,
    /// Clients, each with one call at a time.
    pub clients: usize,
    /// Calls in all.
    pub calls: u64,
}

impl Default for Size {
    fn default() -> Self {
        Self { shards: 3, actors: 2, clients: 6, calls: 150 }
    }
}

/// A call on its way.
struct Call {
    op: u64,
    actor: usize,
    command: Option<Command>,
    consistent: bool,
    arrived: bool,
    /// What its client will be told.
    outcome: Option<Outcome>,
    /// Its client has given up; it may arrive all the same.
    abandoned: bool,
}

struct World {
    random: Random,
    entries: Vec<Entry>,
    /// Each with its model; clients command the first of them, and only read the last.
    actors: Vec<(EntityKey, Model)>,
    commanded: usize,
    shards: BTreeMap<u16, Shard>,
    count: u16,
    calls: Vec<Call>,
    /// Commands of which nobody knows: to be tried again.
    unsure: Vec<(usize, Command)>,
    /// Of each actor: the replies to a read, by commit.
    reads: Vec<Vec<String>>,
    ops: u64,
    now_ms: u64,
}

/// Plays one history. The same seed and size give the same lines.
#[must_use]
pub fn generate(seed: u64, size: Size) -> History {
    let mut world = World::new(seed, size);
    while world.ops < size.calls {
        world.step(size.clients);
    }
    world.end();
    History(world.entries)
}

impl World {
    fn new(seed: u64, size: Size) -> Self {
        let kinds = [("register", Model::Register), ("meter", Model::Counter), ("list", Model::Append)];
        let mut entries: Vec<Entry> = kinds
            .iter()
            .map(|(kind, model)| Entry::Model { kind: (*kind).to_owned(), model: *model })
            .collect();
        entries.push(Entry::Model { kind: "inbox".to_owned(), model: Model::Counter });
        let names =
            (0..size.actors).flat_map(|n| kinds.map(|(kind, model)| (format!("{kind}/a-{n}"), model)));
        let inbox = (0..2).map(|n| (format!("inbox/i-{n}"), Model::Counter));
        let actors: Vec<(EntityKey, Model)> =
            names.chain(inbox).filter_map(|(name, model)| Some((name.parse().ok()?, model))).collect();
        let mut world = Self {
            random: Random::new(seed),
            entries,
            commanded: actors.len().saturating_sub(2),
            reads: actors.iter().map(|(_, model)| vec![model.initial().to_string()]).collect(),
            actors,
            shards: (0..size.shards).map(|shard| (shard, Shard::new(ShardId(shard)))).collect(),
            count: size.shards,
            calls: Vec::new(),
            unsure: Vec::new(),
            ops: 0,
            now_ms: T0_MS,
        };
        for shard in 0..size.shards {
            world.take_over(shard);
        }
        world
    }

    fn shard_of(&self, actor: usize) -> u16 {
        self.actors.get(actor).map(|(key, _)| ShardId::of(key, self.count).0).unwrap_or_default()
    }

    fn step(&mut self, clients: usize) {
        self.now_ms += self.random.below(3);
        let shard = u16::try_from(self.random.below(u64::from(self.count))).unwrap_or_default();
        match self.random.below(100) {
            0..30 if self.calls.iter().filter(|call| !call.abandoned).count() < clients => self.invoke(),
            30..60 => self.arrive(),
            60..75 => self.flush(shard),
            75..83 => self.relay(shard),
            83..95 => self.answer(),
            95..98 => self.give_up(),
            98 => self.take_over(shard),
            _ => self.store_again(shard),
        }
    }

    /// A client asks: something new, a retry, or a read.
    fn invoke(&mut self) {
        self.ops += 1;
        let op = self.ops;
        let kind = self.random.below(10);
        let retry = (kind == 0).then(|| self.random.take(&mut self.unsure)).flatten();
        let (actor, command) = match retry {
            Some((actor, command)) => (actor, Some(command)),
            None if kind < 7 => {
                let actor = self.random.index(self.commanded);
                (actor, self.command(actor))
            }
            None => (self.random.index(self.actors.len()), None),
        };
        let consistent = command.is_none() && self.random.below(4) > 0;
        let Some((key, _)) = self.actors.get(actor) else { return };
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        self.entries.push(Entry::Invoke {
            op,
            actor: key.to_string(),
            id: command.as_ref().map(|command| command.reference.to_string()),
            name: command.as_ref().map_or("read", |command| &command.name).to_owned(),
            body: command.as_ref().map(|command| text(&command.body)).unwrap_or_default(),
            consistent,
        });
        let call = Call { op, actor, command, consistent, arrived: false, outcome: None, abandoned: false };
        self.calls.push(call);
    }

    fn command(&mut self, actor: usize) -> Option<Command> {
        let value = self.ops;
        let (_, model) = self.actors.get(actor)?;
        let (name, body) = match model {
            // Nothing to add is refused.
            Model::Counter => ("add", json!({ "amount": self.random.below(6) })),
            Model::Sum => ("add", json!(self.random.below(6))),
            Model::Append => ("append", json!({ "value": value })),
            Model::Register if self.random.below(3) == 0 => {
                let from = value.saturating_sub(self.random.below(20));
                ("cas", json!({ "from": from, "to": value }))
            }
            Model::Register => ("write", json!({ "value": value })),
        };
        let mut entropy = [0; 10];
        entropy.iter_mut().for_each(|byte| *byte = self.random.byte());
        let reference = CommandRef::Id(CommandId::new(self.now_ms, entropy));
        Some(Command { reference, name: name.to_owned(), body: body.to_string().into() })
    }

    /// A call reaches the owner of its actor's shard.
    fn arrive(&mut self) {
        let waiting: Vec<usize> =
            self.calls.iter().enumerate().filter(|(_, call)| !call.arrived).map(|(at, _)| at).collect();
        let Some(at) = self.random.choose(&waiting) else { return };
        let Some(call) = self.calls.get_mut(at) else { return };
        call.arrived = true;
        let (op, actor, command, consistent) = (call.op, call.actor, call.command.clone(), call.consistent);
        let outcome = match command {
            Some(command) => self.submit(actor, &command, Waiting::Client { op }),
            None => self.read(actor, consistent),
        };
        self.tell(op, outcome);
    }

    fn tell(&mut self, op: u64, outcome: Option<Outcome>) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.op == op) {
            call.outcome = call.outcome.take().or(outcome);
        }
    }

    /// `None` while it waits for its commit to be stored.
    fn submit(&mut self, actor: usize, command: &Command, waiting: Waiting) -> Option<Outcome> {
        let effects = self.effects(actor);
        let shard = self.shard_of(actor);
        let (key, model) = self.actors.get(actor).cloned()?;
        let arrival = Arrival { key, model, command, effects, waiting, now_ms: self.now_ms };
        self.shards.get_mut(&shard)?.submit(arrival)
    }

    /// What a commit asks for beside its event: now and then a publication, or a command to another actor.
    fn effects(&mut self, actor: usize) -> Vec<lattice_journal::Effect> {
        use lattice_journal::Effect;
        let mut effects = Vec::new();
        if self.random.below(3) == 0 {
            effects.push(Effect::Publish {
                link: "default".into(),
                subject: "news".into(),
                body: "{}".into(),
            });
        }
        if actor < self.commanded && self.random.below(4) == 0 {
            let inbox = self.commanded + self.random.index(2);
            if let Some((to, _)) = self.actors.get(inbox) {
                let body = json!({ "amount": 1 + self.random.below(5) }).to_string().into();
                effects.push(Effect::Send { to: to.clone(), sequence: 0, name: "add".into(), body });
            }
        }
        effects
    }

    fn read(&mut self, actor: usize, consistent: bool) -> Option<Outcome> {
        let shard = self.shards.get(&self.shard_of(actor))?;
        let (key, _) = self.actors.get(actor)?;
        let newest = shard.durable_seq(key);
        // A standby may be behind, and says how far it is.
        let seq = if consistent { newest } else { self.random.below(newest + 1) };
        let reply = self.reads.get(actor)?.get(usize::try_from(seq).ok()?)?.clone();
        Some(Outcome::Ok { seq, epoch: shard.epoch(), reply })
    }

    /// The shard's staged commits are stored, and those who wait for them can be told.
    fn flush(&mut self, shard: u16) {
        let Some(stored) = self.shards.get_mut(&shard).and_then(Shard::flush) else { return };
        self.entries.push(stored.entry);
        for (key, read) in stored.reads {
            if let Some(at) = self.actors.iter().position(|(each, _)| *each == key) {
                self.reads.iter_mut().skip(at).take(1).for_each(|reads| reads.push(read.clone()));
            }
        }
        for (op, outcome) in stored.told {
            self.tell(op, Some(outcome));
        }
    }

    /// The next effect goes out; one that has gone out already comes again, and the sink knows it.
    fn relay(&mut self, shard: u16) {
        let again = self.random.below(4) == 0;
        let Some(relayed) = self.shards.get_mut(&shard).and_then(|shard| shard.relay(again)) else { return };
        match relayed {
            Relayed::Sink(entry) => self.entries.push(entry),
            Relayed::Actor { to, command, origin } => {
                let Some(actor) = self.actors.iter().position(|(key, _)| *key == to) else { return };
                self.submit(actor, &command, Waiting::Actor { shard, origin });
            }
        }
    }

    /// A client is told what became of its call.
    fn answer(&mut self) {
        let ready: Vec<usize> = self
            .calls
            .iter()
            .enumerate()
            .filter(|(_, call)| call.outcome.is_some())
            .map(|(at, _)| at)
            .collect();
        let Some(at) = self.random.choose(&ready) else { return };
        let call = self.calls.swap_remove(at);
        let Some(outcome) = call.outcome else { return };
        if call.abandoned {
            return;
        }
        if let (Outcome::Unknown { .. }, Some(command)) = (&outcome, call.command) {
            self.unsure.push((call.actor, command));
        }
        self.entries.push(Entry::Answer { op: call.op, outcome });
    }

    /// A client gives up; now and then it dies, and says not even that.
    fn give_up(&mut self) {
        let there: Vec<usize> =
            self.calls.iter().enumerate().filter(|(_, call)| !call.abandoned).map(|(at, _)| at).collect();
        let Some(at) = self.random.choose(&there) else { return };
        let dies = self.random.below(5) == 0;
        let Some(call) = self.calls.get_mut(at) else { return };
        call.abandoned = true;
        if let Some(command) = &call.command {
            self.unsure.push((call.actor, command.clone()));
        }
        if !dies {
            let outcome = Outcome::Unknown { why: "timeout".to_owned() };
            self.entries.push(Entry::Answer { op: call.op, outcome });
        }
    }

    /// Another host takes the shard; the old owner's last record comes too late, or in time.
    fn take_over(&mut self, shard: u16) {
        if self.random.below(2) == 0 {
            self.flush(shard);
        }
        let Some(taken) = self.shards.get_mut(&shard).map(Shard::take_over) else { return };
        self.entries.extend(taken.entries);
        for op in taken.lost {
            self.tell(op, Some(Outcome::Unknown { why: "the owner is gone".to_owned() }));
        }
        for (source, origin) in taken.unsent {
            self.shards.entry(source).and_modify(|shard| shard.send_again(origin));
        }
    }

    /// An append whose answer was lost is repeated: the same record, twice in the stream.
    fn store_again(&mut self, shard: u16) {
        self.entries.extend(self.shards.get(&shard).and_then(Shard::last_record));
    }

    /// Everything that is on its way arrives.
    fn end(&mut self) {
        while self.calls.iter().any(|call| !call.arrived) {
            self.arrive();
        }
        loop {
            (0..self.count).for_each(|shard| self.flush(shard));
            let Some(shard) = self.shards.iter().find(|(_, shard)| shard.has_effects()).map(|(at, _)| *at)
            else {
                break;
            };
            self.relay(shard);
        }
        while self.calls.iter().any(|call| call.outcome.is_some()) {
            self.answer();
        }
        for shard in self.shards.values() {
            // A standby has most of the stream.
            let keep = usize::try_from(self.random.below(1 + shard.records() as u64)).unwrap_or_default();
            self.entries.extend(shard.copy("standby", keep));
        }
        self.entries.push(Entry::Ended);
    }
}
