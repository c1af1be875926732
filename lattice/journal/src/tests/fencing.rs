//! Two hosts, one shard, and everything that goes wrong between them and the log: answers are lost,
//! writes come late and twice, a leader forgets what is expected, owners are paused for longer than
//! their lease and resumed. Whatever happens: no acknowledged commit is lost, none is doubled, and
//! what two owners wrote is never both valid.

use crate::append::{AppendOutcome, LogAction, Tail};
use crate::chain::Chain;
use crate::fixtures::{Log, SHARD, Sum, add, component, key, now, session};
use crate::fold::Fold;
use crate::ids::{Epoch, Position};
use crate::outbox::OutboxPosition;
use crate::record::Body;
use crate::shard::{Action, Input, Outcome, Request, Shard, ShardPolicy, Token};
use crate::takeover::{ShardKey, Takeover, TakeoverAction};
use bytes::Bytes;
use lattice_protocol::EntityKey;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const LEASE_MS: u64 = 1_000;
/// Tokens of deletions; their command is no other's.
const DELETION: u64 = 1 << 32;

/// The actor that the n-th command is for.
fn actor_of(n: u64) -> EntityKey {
    key(&format!("meter/m-{}", n % 3))
}

/// What becomes of one append.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Well,
    /// Stored, the answer is lost.
    AnswerLost,
    /// Never arrives.
    Lost,
    /// Arrives after some other steps, unasked; the sender hears nothing.
    Late,
    /// Stored twice.
    Twice,
    /// The leader does not check what is expected.
    Unchecked,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The client sends its next command to this host.
    Submit(usize),
    /// The client sends an earlier, not acknowledged one again, to this host.
    Retry(usize, usize),
    /// The client has one of the actors deleted, by this host.
    Delete(usize, u64),
    /// This host takes the shard over.
    TakeOver(usize),
    /// Time passes: leases may end.
    Wait(u64),
    /// A late write arrives.
    Arrive,
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Well), 1 => Just(Fate::AnswerLost), 1 => Just(Fate::Lost),
        1 => Just(Fate::Late), 1 => Just(Fate::Twice), 1 => Just(Fate::Unchecked),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..2).prop_map(Step::Submit),
        2 => (0usize..2, any::<usize>()).prop_map(|(host, which)| Step::Retry(host, which)),
        1 => (0usize..2, 0u64..3).prop_map(|(host, actor)| Step::Delete(host, actor)),
        1 => (0usize..2).prop_map(Step::TakeOver),
        1 => (1u64..1_500).prop_map(Step::Wait),
        1 => Just(Step::Arrive),
    ]
}

#[derive(Default)]
struct Host {
    shard: Option<Shard>,
    folds: BTreeMap<EntityKey, Fold<Sum>>,
}

struct World {
    log: Log,
    key: ShardKey,
    hosts: [Host; 2],
    fates: VecDeque<Fate>,
    late: VecDeque<Bytes>,
    now_ms: u64,
    /// Commands by token: their number; the client's side.
    sent: Vec<u64>,
    acknowledged: BTreeMap<u64, i64>,
    /// Deletions that were acknowledged: how many valid records there were then.
    deleted: BTreeMap<EntityKey, usize>,
    effects_by_epoch: Vec<Epoch>,
}

impl World {
    fn new(fates: Vec<Fate>) -> Self {
        Self {
            log: Log::default(),
            key: None,
            hosts: Default::default(),
            fates: fates.into(),
            late: VecDeque::new(),
            now_ms: 0,
            sent: Vec::new(),
            acknowledged: BTreeMap::new(),
            deleted: BTreeMap::new(),
            effects_by_epoch: Vec::new(),
        }
    }

    fn append(&mut self, expected: Position, bytes: &Bytes) -> AppendOutcome {
        match self.fates.pop_front().unwrap_or(Fate::Well) {
            Fate::Well => self.log.append(expected, bytes),
            Fate::AnswerLost => {
                self.log.append(expected, bytes);
                AppendOutcome::Unknown
            }
            Fate::Lost => AppendOutcome::Unknown,
            Fate::Late => {
                self.late.push_back(bytes.clone());
                AppendOutcome::Unknown
            }
            Fate::Twice => {
                let outcome = self.log.append(expected, bytes);
                self.log.force(bytes);
                outcome
            }
            Fate::Unchecked => AppendOutcome::Stored(self.log.force(bytes)),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit(host) => {
                let n = self.sent.len() as u64;
                self.sent.push(n);
                self.submit(host, n);
            }
            Step::Retry(host, which) => {
                let open: Vec<u64> =
                    self.sent.iter().copied().filter(|n| !self.acknowledged.contains_key(n)).collect();
                if let Some(n) = open.get(which.checked_rem(open.len()).unwrap_or_default()) {
                    self.submit(host, *n);
                }
            }
            Step::Delete(host, actor) => {
                let (token, key) = (Token(DELETION + actor), actor_of(actor));
                self.feed(host, Input::Delete(Request { token, key, command: add(DELETION, 0).into() }));
            }
            Step::TakeOver(host) => self.take_over(host),
            Step::Wait(ms) => {
                self.now_ms += ms;
                (0..2).for_each(|host| self.feed(host, Input::Tick));
            }
            Step::Arrive => {
                if let Some(bytes) = self.late.pop_front() {
                    self.log.force(&bytes);
                }
            }
        }
    }

    fn submit(&mut self, host: usize, n: u64) {
        // Three actors; the amount tells commands apart.
        let key = actor_of(n);
        self.feed(host, Request { token: Token(n), key, command: add(n, 1 << (n % 20)).into() }.into());
    }

    fn feed(&mut self, host: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let at = now(self.now_ms);
            let Some(shard) = self.hosts[host].shard.as_mut() else { return };
            for action in shard.step(input, at) {
                inputs.extend(self.perform(host, action));
            }
        }
    }

    fn perform(&mut self, host: usize, action: Action) -> Option<Input> {
        match action {
            Action::Activate { key } => {
                // From the log, as far as this host has followed it.
                let position =
                    self.hosts[host].shard.as_ref().map_or(Position(0), |shard| shard.tail().position);
                let mut fold = Fold::new(key.clone(), Sum::default());
                let mut tail = Tail::new(Chain::new(SHARD));
                let entries = self.log.read(Position(0), position.0 as usize).entries;
                for sealed in tail.follow(entries).unwrap().valid {
                    fold.catch_up(sealed.record().commits()).unwrap();
                }
                let ledger = Box::new(fold.ledger().clone());
                self.hosts[host].folds.insert(key, fold);
                Some(Input::Activated { ledger })
            }
            Action::Decide { key, token, command } => {
                let decision = self.hosts[host].folds[&key].entity().decide(&command);
                let outcome = Outcome::Decided { decision, component: component() };
                Some(Input::Decided { key, token, outcome })
            }
            Action::Log(LogAction::Append { attempt, expected, sealed }) => {
                Some(Input::Appended { attempt, outcome: self.append(expected, sealed.bytes()) })
            }
            Action::Log(LogAction::Read { attempt, after }) => {
                Some(Input::Read { attempt, back: self.log.read(after, 2) })
            }
            Action::Durable(sealed) => {
                self.effects_by_epoch.push(sealed.record().epoch);
                for commit in sealed.record().commits() {
                    self.hosts[host].folds.get_mut(&commit.key).unwrap().apply(commit).unwrap();
                }
                None
            }
            Action::Reply { token, .. } if token.0 >= DELETION => {
                let valid = self.log.valid().len();
                self.deleted.entry(actor_of(token.0 - DELETION)).or_insert(valid);
                None
            }
            Action::Reply { token, answer } => {
                let total = i64::from_le_bytes(answer.reply.as_ref().try_into().unwrap());
                let before = self.acknowledged.insert(token.0, total);
                assert!(before.is_none_or(|before| before == total), "another answer to {}", token.0);
                None
            }
            Action::Stopped(_) => {
                self.hosts[host].folds.clear();
                None
            }
            Action::Refuse { .. } | Action::Drop { .. } | Action::Skipped(_) => None,
            other => panic!("{other:?}"),
        }
    }

    fn take_over(&mut self, host: usize) {
        let name = ["A", "B"][host];
        let mut takeover = Takeover::new(session(name), Tail::new(Chain::new(SHARD)));
        let mut actions: VecDeque<_> = takeover.start().into();
        let mut relayed = OutboxPosition::default();
        while let Some(action) = actions.pop_front() {
            match action {
                TakeoverAction::ReadKey => actions.extend(takeover.key(self.key.clone())),
                TakeoverAction::Claim { owner, over } => {
                    assert_eq!(over, self.key.as_ref().map(|(_, revision)| *revision));
                    self.key = Some((owner, over.unwrap_or_default() + 1));
                    actions.extend(takeover.claimed());
                }
                TakeoverAction::Log(LogAction::Append { attempt, expected, sealed }) => {
                    let outcome = self.append(expected, sealed.bytes());
                    actions.extend(takeover.outcome(attempt, outcome));
                }
                TakeoverAction::Log(LogAction::Read { attempt, after }) => {
                    actions.extend(takeover.read(attempt, self.log.read(after, 2)));
                }
                TakeoverAction::Fold(records) => {
                    let carried =
                        records.iter().filter_map(|r| crate::outbox::Outbox::position_in(r.record()));
                    relayed = carried.last().unwrap_or(relayed);
                }
                TakeoverAction::Skipped(_) => {}
                TakeoverAction::Opened => {
                    let until = self.now_ms + LEASE_MS;
                    let tail = takeover.into_tail();
                    let shard = Shard::new(ShardPolicy::default(), tail, relayed, until);
                    self.hosts[host] = Host { shard: Some(shard), folds: BTreeMap::new() };
                    return;
                }
                TakeoverAction::GaveUp | TakeoverAction::Lost { .. } => return,
                TakeoverAction::Damaged { .. } => panic!("damaged"),
            }
        }
    }

    fn check(&self) {
        let valid = self.log.valid();
        let mut epoch = Epoch(0);
        let mut seen = BTreeMap::new();
        for sealed in &valid {
            let record = sealed.record();
            assert!(record.epoch >= epoch, "a record of epoch {} behind one of {epoch}", record.epoch);
            epoch = record.epoch;
            assert!(matches!(record.body, Body::Commits { .. } | Body::EpochOpened { .. }));
            for commit in record.commits().iter().filter(|commit| !commit.is_tombstone()) {
                let total = i64::from_le_bytes(commit.reply.as_ref().try_into().unwrap());
                let before = seen.insert(commit.command.clone(), total);
                assert!(before.is_none(), "{} twice", commit.command);
            }
        }
        for (n, total) in &self.acknowledged {
            let stored = seen.get(&add(*n, 0).reference);
            assert_eq!(stored, Some(total), "command {n} was acknowledged");
        }
        assert!(self.effects_by_epoch.iter().all(|epoch| *epoch > Epoch(0)));
        // Every actor folds: sequences are dense, histories fit.
        for n in 0..3 {
            let mut fold = Fold::new(actor_of(n), Sum::default());
            for sealed in &valid {
                fold.catch_up(sealed.record().commits()).unwrap();
            }
            let has_tombstone = valid.iter().any(|sealed| {
                sealed.record().commits().iter().any(|one| one.key == actor_of(n) && one.is_tombstone())
            });
            assert_eq!(fold.ledger().is_deleted(), has_tombstone, "nothing comes behind a tombstone");
            if let Some(before) = self.deleted.get(&actor_of(n)) {
                assert!(has_tombstone, "a deletion that was acknowledged");
                let after = valid.iter().skip(*before).flat_map(|sealed| sealed.record().commits());
                assert_eq!(after.filter(|commit| commit.key == actor_of(n)).count(), 0, "it has come back");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_acknowledged_commit_is_lost_and_no_two_owners_count(
        steps in vec(steps(), 1..60), fates in vec(fates(), 0..80),
    ) {
        let mut world = World::new(fates);
        world.take_over(0);
        for step in steps {
            world.step(step);
            world.check();
        }
    }
}

#[test]
fn the_model_does_serve_commands_and_does_fence() {
    // The property would hold for a model in which nothing happens: it does.
    let mut world = World::new(Vec::new());
    world.take_over(0);
    for _ in 0..3 {
        world.step(Step::Submit(0));
    }
    assert_eq!(world.acknowledged.len(), 3);
    world.take_over(1);
    world.step(Step::Submit(0));
    assert_eq!(world.acknowledged.len(), 3, "the old owner does not answer");
    assert!(world.hosts[0].shard.as_ref().unwrap().stopped().is_some());
    world.step(Step::Retry(1, 0));
    assert_eq!(world.acknowledged.len(), 4, "the same id at the new one does");
    world.step(Step::Delete(1, 0));
    assert_eq!(world.deleted.len(), 1);
    // Commands 4 and 5 are for others; 6 is for the deleted one.
    (4..=6).for_each(|_| world.step(Step::Submit(1)));
    assert_eq!(world.acknowledged.len(), 6);
    world.check();
}
