//! What is known is the same, wherever it is.

use super::*;
use lattice_journal::command::{Command, CommandId, CommandRef};
use lattice_journal::commit::Effect;
use lattice_journal::ledger::{Decision, Ledger};
use lattice_journal::record::Body;
use lattice_journal::{Epoch, Hash, ShardId};
use proptest::prelude::*;

/// Actors of a test.
const ACTORS: u8 = 12;

fn actor(n: u8) -> EntityKey {
    format!("a/{n}").parse().unwrap()
}

/// A record with a commit of each of these, or with the deletion of the first.
fn record(seq: u64, of: &[u8], deletes: bool) -> Record {
    let commits = of.iter().map(|n| {
        let ledger = Ledger::new(actor(*n));
        let reference = CommandRef::Id(CommandId::new(5, [*n; 10]));
        let command = Command { reference, name: "c".into(), body: bytes::Bytes::new() };
        let effects = if deletes { vec![Effect::Delete] } else { Vec::new() };
        let decision = Decision { effects, ..Decision::default() };
        ledger.commit(&command, decision, keys::Digest::from_bytes([1; 32]), 5).unwrap()
    });
    let body = Body::Commits { relayed: None, commits: commits.collect() };
    Record { shard: ShardId(0), seq: RecordSeq(seq), previous: Hash::ZERO, epoch: Epoch(1), body }
}

fn snapshot(n: u8, seq: u64) -> SnapshotRef {
    SnapshotRef { key: actor(n), seq: ActorSeq(seq), hash: Hash::of(&[n, 1]) }
}

#[derive(Debug, Clone)]
enum Step {
    Record(Vec<u8>),
    Delete(u8),
    /// A snapshot of everything up to so many records ago.
    Snapshot(u8, u64),
    /// It is in memory, and leaves it.
    Live(u8),
    Settle(usize),
    Trim,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..ACTORS;
    prop_oneof![
        8 => prop::collection::vec(who(), 1..4).prop_map(Step::Record),
        1 => who().prop_map(Step::Delete),
        4 => (who(), 0..6_u64).prop_map(|(who, ago)| Step::Snapshot(who, ago)),
        4 => who().prop_map(Step::Live),
        6 => (0..4_usize).prop_map(Step::Settle),
        2 => Just(Step::Trim),
    ]
}

proptest! {
    #[test]
    fn nobody_can_tell_who_is_cold(steps in prop::collection::vec(step(), 1..80)) {
        let directory = tempfile::tempdir().unwrap();
        let (mut whole, mut roster) = (Roster::default(), Roster::default());
        roster.spill_to(Spill::new(directory.path()));
        let chain = Chain::new(ShardId(0));
        let (mut seq, mut deleted) = (0, std::collections::BTreeSet::new());
        for step in steps {
            match step {
                Step::Record(mut of) => {
                    of.retain(|n| !deleted.contains(n));
                    seq += 1;
                    let record = record(seq, &of, false);
                    whole.add(&record).unwrap();
                    roster.add(&record).unwrap();
                }
                Step::Delete(n) => {
                    if deleted.insert(n) {
                        seq += 1;
                        let record = record(seq, &[n], true);
                        whole.add(&record).unwrap();
                        roster.add(&record).unwrap();
                    }
                }
                Step::Snapshot(n, ago) => {
                    let at = RecordSeq(seq.saturating_sub(ago));
                    whole.snapshotted(snapshot(n, at.0), at).unwrap();
                    roster.snapshotted(snapshot(n, at.0), at).unwrap();
                }
                Step::Live(n) => {
                    roster.warm(&actor(n)).unwrap();
                    roster.rest(actor(n));
                }
                Step::Settle(keep) => roster.settle(keep, |_| false),
                Step::Trim => {
                    let relayed = OutboxPosition { record: RecordSeq(seq / 2 + 1), index: 0 };
                    // Nothing is trimmed that somebody needs.
                    let laggard = whole.laggards(RecordSeq(u64::MAX), 1).pop();
                    let needed = laggard.and_then(|key| whole.after(&key, RecordSeq(0)).first().copied());
                    let through = needed.map_or(relayed.record, |needed| needed.min(relayed.record));
                    let through = RecordSeq(through.0.saturating_sub(1));
                    whole.trim(through);
                    roster.trim(through);
                }
            }
            let relayed = OutboxPosition { record: RecordSeq(u64::MAX), index: 0 };
            prop_assert_eq!(roster.through(&chain, relayed), whole.through(&chain, relayed));
        }
        roster.rest_all();
        roster.settle(0, |_| false);
        prop_assert_eq!(roster.size(), deleted.len(), "only tombstones are warm");
        let snapshots = |roster: &Roster| roster.survey().snapshots().unwrap();
        prop_assert_eq!(snapshots(&roster), snapshots(&whole));
        // Whoever holds the log back is found, by the records that say so.
        for first in roster.cold_laggards(RecordSeq(u64::MAX), usize::MAX) {
            let mut all = (0..ACTORS).map(|n| roster.needs_from(&actor(n), first).unwrap());
            prop_assert!(all.any(|needs| needs));
            // One of them has a commit in it: by that it is found.
            let has_one = |n| roster.look(&actor(n)).unwrap().0.contains(&first);
            prop_assert!((0..ACTORS).all(|n| !roster.needs_from(&actor(n), first).unwrap() || has_one(n)));
        }
        let mut cold = std::collections::BTreeSet::new();
        roster.survey().cold(|key| assert!(cold.insert(key), "each once")).unwrap();
        prop_assert_eq!(cold.len(), roster.cold());
        let lagging = |roster: &Roster| roster.laggards(RecordSeq(u64::MAX), usize::MAX);
        prop_assert!(lagging(&roster).is_empty());
        for n in 0..ACTORS {
            prop_assert_eq!(roster.look(&actor(n)).unwrap(), whole.look(&actor(n)).unwrap());
            roster.warm(&actor(n)).unwrap();
            prop_assert_eq!(roster.after(&actor(n), RecordSeq(0)), whole.after(&actor(n), RecordSeq(0)));
            prop_assert_eq!(roster.snapshot(&actor(n)), whole.snapshot(&actor(n)));
            prop_assert_eq!(roster.is_buried(&actor(n)), deleted.contains(&n));
        }
        prop_assert_eq!(lagging(&roster), lagging(&whole));
        prop_assert_eq!(roster.cold(), 0);
    }
}

#[test]
fn when_the_disk_takes_nothing_all_stays_warm() {
    let directory = tempfile::tempdir().unwrap();
    let mut roster = Roster::default();
    roster.spill_to(Spill::new(&directory.path().join("not there")));
    for n in 0..ACTORS {
        roster.add(&record(u64::from(n) + 1, &[n], false)).unwrap();
    }
    roster.rest_all();
    roster.settle(0, |_| false);
    roster.settle_all(0);
    assert_eq!((roster.cold(), roster.size()), (0, usize::from(ACTORS)));
    assert_eq!(roster.after(&actor(3), RecordSeq(0)), [RecordSeq(4)]);
}

#[test]
fn who_is_in_memory_stays_warm_and_so_do_the_last_few_at_rest() {
    let directory = tempfile::tempdir().unwrap();
    let mut roster = Roster::default();
    roster.spill_to(Spill::new(directory.path()));
    for n in 0..ACTORS {
        roster.add(&record(u64::from(n) + 1, &[n], false)).unwrap();
        roster.rest(actor(n));
    }
    roster.settle(4, |key| *key == actor(0));
    assert_eq!(roster.cold(), usize::from(ACTORS) - 5);
    for (n, is_warm) in [(0, true), (1, false), (7, false), (8, true), (11, true)] {
        assert_eq!(!roster.after(&actor(n), RecordSeq(0)).is_empty(), is_warm, "{n}");
        assert_eq!(roster.look(&actor(n)).unwrap().0, [RecordSeq(u64::from(n) + 1)]);
    }
}
