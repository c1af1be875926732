//! Who goes on behind a checkpoint knows what one knows who begins there.

use super::*;
use lattice_journal::command::CommandRef;
use lattice_journal::commit::{Effect, Misfire};
use lattice_journal::ledger::{Decision, Ledger};
use lattice_journal::places::Places;
use lattice_journal::record::{Body, Checkpoint, SnapshotRef};
use lattice_journal::{Chain, Command, CommandId, Epoch, Hash, Position, SessionId, ShardId};
use std::collections::BTreeMap;

/// Records of three actors in turn, each commit with a timer; the last of them commits with the first record
/// only, and is deleted half-way.
fn records() -> Vec<Sealed> {
    let mut chain = Chain::new(ShardId(0));
    let opening = chain.opening(Epoch(1), SessionId::new(&"H1".parse().unwrap(), [1; 16])).seal().unwrap();
    chain.offer(&opening).unwrap();
    let mut ledgers: Vec<Ledger> =
        ["a/1", "a/2", "a/3"].into_iter().map(|key| Ledger::new(key.parse().unwrap())).collect();
    let mut records = vec![opening];
    for n in 0..12_u8 {
        let at = if n == 0 || n == 6 { 2 } else { usize::from(n % 2) };
        let ledger = &mut ledgers[at];
        let reference = CommandRef::Id(CommandId::new(5, [n; 10]));
        let command = Command { reference, name: "c".into(), body: Bytes::new() };
        let timer = Effect::TimerSet {
            name: format!("t{}", n % 3).into(),
            due_ms: u64::from(n),
            misfire: Misfire::FireLate,
            command: "ring".into(),
            body: Bytes::new(),
        };
        let effects = vec![if n == 6 { Effect::Delete } else { timer }];
        let decision = Decision { effects, ..Decision::default() };
        let commit = ledger.commit(&command, decision, keys::Digest::from_bytes([1; 32]), 5).unwrap();
        ledger.apply(&commit).unwrap();
        let body = Body::Commits { relayed: None, commits: vec![commit] };
        let sealed = chain.next(body).seal().unwrap();
        chain.offer(&sealed).unwrap();
        records.push(sealed);
    }
    records
}

fn history() -> History {
    History::new(Schedule::default(), SnapshotList::default())
}

/// Everything that a shard is opened with, as far as it can be compared.
fn seen(history: History) -> String {
    let places: Vec<_> = history.roster.iter().map(|(key, places)| (key.clone(), places.to_vec())).collect();
    let timers: Vec<_> = history.schedule.iter().collect();
    let (all, snapshots) = (RecordSeq(u64::MAX), history.roster.survey().snapshots().unwrap());
    let lagging = history.roster.laggards(all, usize::MAX);
    format!("{places:?} {timers:?} {snapshots:?} {lagging:?} {:?} {:?}", history.relayed, history.outgoing)
}

#[test]
fn who_goes_on_behind_a_checkpoint_knows_what_one_knows_who_begins_there() {
    let records = records();
    for cut in 1..records.len() {
        let (before, since) = records.split_at(cut);
        let last = before.last().unwrap();
        let mut old = history();
        before.iter().for_each(|sealed| old.take(sealed));
        let keys: std::collections::BTreeSet<EntityKey> =
            old.roster.iter().map(|(key, _)| key.clone()).collect();
        let mut list = SnapshotList::default();
        for key in keys {
            let seq = lattice_journal::ActorSeq(1);
            list.insert(SnapshotRef { key, seq, hash: Hash::of(b"a snapshot") });
        }
        old.roster.buried().for_each(|(key, seq)| list.bury(key.clone(), seq));
        let timers = old.schedule.iter();
        let document = Document {
            shard: ShardId(0),
            epoch: Epoch(1),
            checkpoint: Checkpoint {
                through: last.record().seq,
                hash: last.hash(),
                epoch: Epoch(1),
                snapshots: list.len() as u64,
                list: list.to_bytes().1,
                kept: None,
            },
            position: Position(cut as u64),
            at_ms: 0,
            places: Places::default(),
            timers: timers.map(|(key, name, timer)| (key.clone(), name.clone(), timer.clone())).collect(),
            packs: Vec::new(),
            snapshots: list
                .iter()
                .map(|one| {
                    let (seq, hash) = (one.seq, one.hash);
                    (one.key, lattice_journal::document::Place { seq, hash, pack: 0, index: 0 })
                })
                .collect::<BTreeMap<_, _>>(),
            milestones: Vec::new(),
        };
        let mut schedule = Schedule::default();
        document.timers.iter().cloned().for_each(|(key, name, timer)| schedule.set(key, name, timer));
        let mut begins = History::new(schedule, document.list());
        since.iter().for_each(|sealed| begins.take(sealed));
        let mut goes_on = history();
        records.iter().for_each(|sealed| goes_on.take(sealed));
        goes_on.begin_behind(&document);
        assert_eq!(goes_on.size(), begins.size());
        assert_eq!(seen(goes_on), seen(begins), "behind record {cut}");
    }
}
