//! What of a checkpoint goes into which part, and what of the one before is used again.

use super::*;
use lattice_journal::{Epoch, RecordSeq};

fn actor(n: u64) -> EntityKey {
    format!("sum/a-{n:03}").parse().unwrap()
}

fn snapshot(n: u64, seq: u64) -> SnapshotRef {
    let mut hash = Hash([9; 32]);
    hash.0[..8].copy_from_slice(&n.to_le_bytes());
    hash.0[8..16].copy_from_slice(&seq.to_le_bytes());
    SnapshotRef { key: actor(n), seq: ActorSeq(seq), hash }
}

fn list(snapshots: impl IntoIterator<Item = SnapshotRef>) -> SnapshotList {
    let mut list = SnapshotList::default();
    snapshots.into_iter().for_each(|one| list.insert(one));
    list
}

fn pack(n: u8) -> Digest {
    Digest::of(&[n])
}

/// Two packs of ten.
fn known() -> Known {
    let mut known = Known::default();
    known.written(pack(1), &(0..10).map(|n| snapshot(n, 1)).collect::<Vec<_>>());
    known.written(pack(2), &(10..20).map(|n| snapshot(n, 1)).collect::<Vec<_>>());
    known
}

fn missing(plan: &Plan) -> Vec<EntityKey> {
    plan.missing.iter().map(|one| one.key.clone()).collect()
}

#[test]
fn only_what_has_changed_goes() {
    let changed = (0..20).map(|n| snapshot(n, if n == 3 { 2 } else { 1 }));
    let plan = known().plan(&list(changed), |_| true);
    assert_eq!(plan.missing, [snapshot(3, 2)]);
    assert_eq!(plan.kept.len(), 19);
    // The same commits, saved at another time.
    let mut again = snapshot(4, 1);
    again.hash = Hash([1; 32]);
    assert_eq!(missing(&known().plan(&list([again]), |_| true)), [actor(4)], "its pack is of little use");
    let mut all: Vec<_> = (0..20).map(|n| snapshot(n, 1)).collect();
    all[4].hash = Hash([1; 32]);
    assert_eq!(known().plan(&list(all), |_| true).missing, []);
}

#[test]
fn a_pack_that_is_not_whole_or_of_little_use_is_written_anew() {
    let all = || list((0..20).map(|n| snapshot(n, 1)));
    let plan = known().plan(&all(), |one| *one == pack(2));
    assert_eq!(missing(&plan), (0..10).map(actor).collect::<Vec<_>>());
    // Two of ten are left of the first.
    let plan = known().plan(&list((8..20).map(|n| snapshot(n, 1))), |_| true);
    assert_eq!(missing(&plan), [actor(8), actor(9)]);
    assert_eq!(plan.kept.len(), 10);
}

#[test]
fn nothing_of_a_deleted_actor_stays() {
    let mut deleted = list((0..20).map(|n| snapshot(n, 1)));
    deleted.bury(actor(3), ActorSeq(2));
    let plan = known().plan(&deleted, |_| true);
    assert_eq!(plan.buried, [(actor(3), ActorSeq(2))]);
    assert_eq!(plan.missing.len(), 9, "all others of its pack");
    assert!(plan.kept.values().all(|placed| placed.pack == pack(2)));
    // Its pack had an older snapshot of it, which nothing names any more.
    let mut known = known();
    known.written(pack(3), &[snapshot(3, 2)]);
    let plan = known.plan(&deleted, |_| true);
    assert_eq!((plan.missing.len(), plan.kept.len()), (9, 10));
    // It was seen to.
    let rest: Vec<_> = plan.missing.clone();
    known.written(pack(4), &rest);
    let checkpoint = checkpoint();
    let document = document((&checkpoint, Position(7), 0), Vec::new(), (&plan, &known));
    let plan = Known::of(&document).plan(&deleted, |_| true);
    assert_eq!((plan.missing.len(), plan.kept.len()), (0, 19));
    let fewer = list((0..20).filter(|n| *n != 12).map(|n| snapshot(n, 1)));
    let mut fewer = fewer;
    fewer.bury(actor(3), ActorSeq(2));
    assert_eq!(
        Known::of(&document).plan(&fewer, |_| true).missing,
        [],
        "a snapshot less is nothing to see to"
    );
}

fn checkpoint() -> Checkpoint {
    let (through, epoch) = (RecordSeq(7), Epoch(1));
    Checkpoint { through, hash: Hash([3; 32]), epoch, snapshots: 0, list: Hash::ZERO, kept: None }
}

#[test]
fn many_small_packs_become_few() {
    let mut known = Known::default();
    let mut all = Vec::new();
    for n in 0..=PACKS as u64 {
        known.written(Digest::of(&n.to_le_bytes()), &[snapshot(n, 1)]);
        all.push(snapshot(n, 1));
    }
    let plan = known.plan(&list(all), |_| true);
    assert_eq!((plan.kept.len(), plan.missing.len()), (PACKS / 2, PACKS / 2 + 1));
}

#[test]
fn a_document_names_what_is_there_and_reads_back() {
    let mut known = known();
    let wanted = list((0..20).map(|n| snapshot(n, if n == 3 { 2 } else { 1 })));
    let plan = known.plan(&wanted, |_| true);
    known.written(pack(3), &[snapshot(3, 2)]);
    let checkpoint = checkpoint();
    let document = document((&checkpoint, Position(9), 5), Vec::new(), (&plan, &known));
    let read = Document::from_bytes(document.to_bytes()).unwrap();
    assert_eq!(read, document);
    assert_eq!((read.list(), read.position), (wanted, Position(9)));
    let of = Known::of(&read);
    assert_eq!((of.placed.len(), of.packs.len()), (20, 3));
    assert_eq!(of.plan(&read.list(), |_| true).missing, []);
    // Another history of the same journal: as many commits, or fewer, and another state.
    let mut other: Vec<_> = read.list().iter().collect();
    (other[7].hash, other[3].seq, other[3].hash) = (Hash([1; 32]), ActorSeq(1), Hash([2; 32]));
    assert_eq!(missing(&of.plan(&list(other), |_| true)), [actor(3), actor(7)]);
    assert_eq!(of.placed[&actor(3)].pack, pack(3));
}
