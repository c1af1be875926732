//! What may go, and what holds it back.

use super::*;
use crate::fixtures::{SHARD, key, opened, record};
use crate::ids::Epoch;
use proptest::prelude::*;

fn chain(records: u64) -> (Chain, Vec<Sealed>) {
    let (mut chain, first) = opened();
    let mut all = vec![first];
    for _ in 1..records {
        let next = record(&chain, Vec::new());
        chain.offer(&next).unwrap();
        all.push(next);
    }
    (chain, all)
}

fn snapshot(name: &str, seq: u64) -> SnapshotRef {
    SnapshotRef { key: key(name), seq: ActorSeq(seq), hash: Hash::of(name.as_bytes()) }
}

fn at(record: u64) -> OutboxPosition {
    OutboxPosition { record: RecordSeq(record), index: 0 }
}

#[test]
fn everything_goes_that_snapshots_hold_and_the_outbox_has_relayed() {
    let (chain, records) = chain(10);
    let mut trimmer = Trimmer::default();
    for (name, record) in [("a/1", 2), ("a/2", 3), ("a/1", 5), ("a/2", 8)] {
        trimmer.committed(&key(name), RecordSeq(record));
    }
    assert_eq!(trimmer.through(&chain, at(11)), RecordSeq(1));
    trimmer.snapshotted(snapshot("a/1", 2), RecordSeq(5), None);
    assert_eq!(trimmer.through(&chain, at(11)), RecordSeq(2), "a/2's first is record 3");
    trimmer.snapshotted(snapshot("a/2", 1), RecordSeq(4), None);
    assert_eq!(trimmer.through(&chain, at(11)), RecordSeq(4), "a/2 has a later commit");
    assert_eq!(trimmer.through(&chain, at(3)), RecordSeq(2), "effects of record 3 wait");
    trimmer.snapshotted(snapshot("a/2", 2), RecordSeq(8), None);
    assert_eq!(trimmer.through(&chain, at(11)), RecordSeq(10));
    let (checkpoint, list) = trimmer.snapshots().checkpoint(&records[3]);
    assert_eq!((checkpoint.through, checkpoint.hash), (RecordSeq(4), records[3].hash()));
    assert_eq!(checkpoint.snapshots, 2);
    let (list, hash) = SnapshotList::from_bytes(list).unwrap();
    assert_eq!(hash, checkpoint.list);
    assert_eq!(list.iter().map(|s| s.to_string_for_test()).collect::<Vec<_>>(), ["a/1@2", "a/2@2"]);
}

impl SnapshotRef {
    fn to_string_for_test(&self) -> String {
        format!("{}@{}", self.key, self.seq)
    }
}

#[test]
fn laggards_are_named_oldest_first_and_bounded() {
    let mut trimmer = Trimmer::default();
    for (name, record) in [("a/3", 9), ("a/1", 2), ("a/2", 3)] {
        trimmer.committed(&key(name), RecordSeq(record));
    }
    assert_eq!(trimmer.laggards(RecordSeq(5), 10), [key("a/1"), key("a/2")]);
    assert_eq!(trimmer.laggards(RecordSeq(9), 1), [key("a/1")]);
    // An older snapshot, finished late, changes nothing.
    trimmer.snapshotted(snapshot("a/1", 0), RecordSeq(1), None);
    assert_eq!(trimmer.laggards(RecordSeq(2), 10), [key("a/1")]);
}

#[test]
fn a_checkpoint_is_signed_as_it_is_read_back() {
    let (hash, epoch, list) = (Hash::of(b"x"), Epoch(3), Hash::of(b"list"));
    let checkpoint = Checkpoint { through: RecordSeq(4), hash, epoch, snapshots: 2, list, kept: None };
    let bytes = checkpoint.to_bytes(SHARD);
    assert_eq!(Checkpoint::from_bytes(bytes.clone()).unwrap(), (SHARD, checkpoint));
    assert!(Checkpoint::from_bytes(bytes.slice(1..)).is_err());
    let key = keys::KeyPair::from_entropy(keys::KeyKind::Account, [1; 32]);
    let signed = keys::sign_document(CHECKPOINT_KIND, bytes.to_vec(), &key).unwrap();
    let opened = keys::open(CHECKPOINT_KIND, &signed, &[key.public()].into()).unwrap();
    assert_eq!(opened.payload, bytes.as_ref());
}

#[test]
fn a_deleted_actor_holds_nothing_back_and_no_late_snapshot_brings_it_back() {
    let (chain, records) = chain(10);
    let mut trimmer = Trimmer::default();
    trimmer.committed(&key("a/1"), RecordSeq(2));
    trimmer.committed(&key("a/2"), RecordSeq(7));
    trimmer.snapshotted(snapshot("a/1", 1), RecordSeq(2), None);
    trimmer.committed(&key("a/1"), RecordSeq(5));
    trimmer.buried(&key("a/1"), ActorSeq(3));
    assert_eq!(trimmer.through(&chain, at(11)), RecordSeq(6), "only a/2 is waited for");
    assert!(trimmer.laggards(RecordSeq(6), 9).is_empty());
    // Taken before the deletion, stored after it.
    trimmer.snapshotted(snapshot("a/1", 2), RecordSeq(5), None);
    let (_, list) = trimmer.snapshots().checkpoint(&records[5]);
    let (list, _) = SnapshotList::from_bytes(list).unwrap();
    assert_eq!(list.buried().collect::<Vec<_>>(), [&key("a/1")]);
    assert!(list.get(&key("a/1")).is_some_and(|known| known.is_tombstone() && known.seq == ActorSeq(3)));
}

#[derive(Debug, Clone)]
enum Step {
    Committed(u8),
    Snapshotted(u8, u64),
    Buried(u8),
    Lend(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8).prop_map(Step::Committed),
        3 => (0..6_u8, 0..40_u64).prop_map(|(who, record)| Step::Snapshotted(who, record)),
        1 => (0..6_u8).prop_map(Step::Buried),
        6 => (0..6_u8).prop_map(Step::Lend),
    ]
}

proptest! {
    #[test]
    fn what_is_lent_counts_as_if_it_was_not(steps in prop::collection::vec(step(), 1..40)) {
        let (chain, _) = chain(50);
        let (mut whole, mut trimmer) = (Trimmer::default(), Trimmer::default());
        let mut away = BTreeMap::new();
        for (record, step) in (1..).zip(steps) {
            let who = match &step {
                Step::Committed(who) | Step::Snapshotted(who, _) | Step::Buried(who) | Step::Lend(who) => *who,
            };
            let actor = key(&format!("a/{who}"));
            if let Some(share) = away.remove(&actor) {
                trimmer.give_back(actor.clone(), share);
            }
            if let Step::Lend(_) = step {
                if let Some(share) = trimmer.lend(&actor) {
                    away.insert(actor, share);
                }
            }
            else {
                for trimmer in [&mut whole, &mut trimmer] {
                    match step {
                        // Nothing is committed by whom was deleted.
                        Step::Committed(_) if trimmer.snapshots().is_buried(&actor) => {}
                        Step::Committed(_) => trimmer.committed(&actor, RecordSeq(record)),
                        Step::Snapshotted(_, at) => {
                            trimmer.snapshotted(snapshot(&format!("a/{who}"), at), RecordSeq(at), None);
                        }
                        _ => trimmer.buried(&actor, ActorSeq(record)),
                    }
                }
            }
            prop_assert_eq!(trimmer.through(&chain, at(60)), whole.through(&chain, at(60)));
            let lent = away.values().filter_map(|share| Some(share.needed?.first));
            let lent: BTreeSet<_> = lent.filter(|first| *first <= RecordSeq(9)).collect();
            prop_assert_eq!(trimmer.lent(RecordSeq(9)).collect::<BTreeSet<_>>(), lent);
        }
        for (actor, share) in away {
            trimmer.give_back(actor, share);
        }
        prop_assert_eq!(trimmer, whole);
    }
}
