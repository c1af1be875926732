//! Documents and packs read back; every damage is found; what may go, and what a next one keeps.

use super::*;
use crate::commit::Misfire;
use crate::fixtures::{SHARD, key};
use proptest::prelude::*;

fn digest(n: u64) -> Digest {
    Digest::of(&n.to_le_bytes())
}

fn milestone(through: u64, at_ms: u64) -> Milestone {
    Milestone {
        through: RecordSeq(through),
        position: Position(through + 3),
        at_ms,
        document: digest(through),
        packs: vec![digest(1_000 + through)],
    }
}

fn document(actors: u64, milestones: Vec<Milestone>) -> Document {
    let place = |n: u64| Place { seq: ActorSeq(n + 1), hash: Hash::of(&n.to_le_bytes()), pack: 0, index: 7 };
    let snapshots: BTreeMap<_, _> = (0..actors).map(|n| (key(&format!("meter/m-{n}")), place(n))).collect();
    let timer =
        Timer { due_ms: 9, misfire: Misfire::Skip, command: "ring".into(), body: Bytes::from_static(b"x") };
    let mut document = Document {
        shard: SHARD,
        epoch: Epoch(4),
        checkpoint: Checkpoint {
            through: RecordSeq(40),
            hash: Hash::of(b"r40"),
            epoch: Epoch(3),
            snapshots: actors,
            list: Hash::ZERO,
            kept: None,
        },
        position: Position(44),
        at_ms: 1_000,
        places: Places::from_runs([(RecordSeq(1), Position(1)), (RecordSeq(9), Position(13))]),
        timers: vec![(key("meter/m-0"), "daily".into(), timer)],
        packs: vec![(digest(1), 9)],
        snapshots,
        milestones,
    };
    document.checkpoint.list = document.list().to_bytes().1;
    document
}

proptest! {
    #[test]
    fn a_document_reads_back_and_no_changed_byte_does(
        actors in 0_u64..40,
        at in any::<proptest::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let whole = document(actors, vec![milestone(5, 10), milestone(20, 500)]);
        let bytes = whole.to_bytes();
        prop_assert_eq!(&Document::from_bytes(bytes.clone()).unwrap(), &whole);
        let mut changed = bytes.to_vec();
        changed[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(Document::from_bytes(changed.into()).is_err());
        prop_assert!(Document::from_bytes(bytes.slice(..at.index(bytes.len()))).is_err());
    }

    #[test]
    fn a_pack_reads_back_and_no_changed_byte_does(
        snapshots in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..9),
        at in any::<proptest::sample::Index>(),
    ) {
        let snapshots = snapshots.into_iter().map(Bytes::from).collect();
        let pack = Pack { shard: SHARD, epoch: Epoch(2), number: 5, snapshots };
        let bytes = pack.to_bytes();
        prop_assert_eq!(&Pack::from_bytes(bytes.clone()).unwrap(), &pack);
        let mut changed = bytes.to_vec();
        changed[at.index(bytes.len())] ^= 1;
        prop_assert!(Pack::from_bytes(changed.into()).is_err());
    }
}

#[test]
fn a_deleted_actor_is_in_no_pack() {
    let mut whole = document(3, Vec::new());
    whole.snapshots.insert(key("meter/gone"), Place::tombstone(ActorSeq(9)));
    whole.checkpoint.list = whole.list().to_bytes().1;
    let read = Document::from_bytes(whole.to_bytes()).unwrap();
    assert_eq!(read, whole);
    assert_eq!(read.list().buried().collect::<Vec<_>>(), [&key("meter/gone")]);
    let mut alone = document(0, Vec::new());
    alone.packs.clear();
    alone.snapshots.insert(key("meter/gone"), Place::tombstone(ActorSeq(9)));
    alone.checkpoint.list = alone.list().to_bytes().1;
    assert_eq!(Document::from_bytes(alone.to_bytes()).unwrap(), alone, "without any pack");
}

#[test]
fn a_document_whose_snapshots_are_not_its_checkpoints_is_refused() {
    let mut other = document(3, Vec::new());
    other.checkpoint.list = Hash::of(b"another list");
    assert!(Document::from_bytes(other.to_bytes()).is_err());
    let mut nowhere = document(3, Vec::new());
    nowhere.packs.clear();
    assert!(Document::from_bytes(nowhere.to_bytes()).is_err(), "snapshots in no pack");
}

#[test]
fn what_may_go_is_behind_the_checkpoint_before_and_old_enough() {
    let alone = document(1, Vec::new());
    let keep =
        |now_ms, age_ms, too_much| Keep { now_ms, age_ms, too_much: RecordSeq(too_much), span_ms: age_ms };
    assert_eq!(alone.may_go(keep(u64::MAX, 0, 0)), None, "there is no other to fall back to");
    let document = document(1, vec![milestone(5, 100), milestone(20, 500), milestone(30, 900)]);
    let through = |now_ms, age_ms| document.may_go(keep(now_ms, age_ms, 0)).map(|(through, _)| through.0);
    let too_much = |record| document.may_go(keep(1_000, 2_000, record)).map(|(through, _)| through.0);
    assert_eq!([4, 5, 19, 25, 99].map(too_much), [None, Some(5), Some(5), Some(20), Some(30)]);
    assert_eq!(through(1_000, 0), Some(30));
    assert_eq!(through(1_000, 100), Some(30));
    assert_eq!(through(1_000, 400), Some(20));
    assert_eq!(through(1_000, 899), Some(5));
    assert_eq!(through(1_000, 2_000), None);
    let named = document.names();
    assert!(named.contains(&digest(1)) && named.contains(&digest(5)) && named.contains(&digest(1_020)));
}

proptest! {
    #[test]
    fn the_last_two_checkpoints_and_what_the_stream_begins_behind_are_always_kept(
        times in proptest::collection::vec(0_u64..1_000, 1..120),
        gone in 0_usize..120,
        apart_ms in 0_u64..2_000,
    ) {
        let mut at_ms = 0;
        let all: Vec<Milestone> = (1..).zip(&times).map(|(n, more)| { at_ms += more; milestone(n, at_ms) }).collect();
        let gone = all[gone % all.len()].through;
        let kept = thinned(all.clone(), gone, apart_ms);
        prop_assert!(kept.len() <= MAX_MILESTONES);
        prop_assert_eq!(kept.first().map(|one| one.through), Some(gone));
        prop_assert!(kept.ends_with(&all[all.len() - 1..]));
        if all.len() >= 2 && all[all.len() - 2].through >= gone && kept.len() < MAX_MILESTONES {
            prop_assert!(kept.contains(&all[all.len() - 2]));
        }
        prop_assert!(kept.windows(2).all(|pair| pair[0].through < pair[1].through));
    }
}
