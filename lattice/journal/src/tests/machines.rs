//! A thousand journals, folded: the same hash on every machine (P20). `cargo xtask test --full` runs this on
//! aarch64 as well.

use crate::commit::{Effect, Misfire};
use crate::fixtures::{SHARD, Sum, T0, add, commit, component, fold_of, key, opened, record};
use crate::fold::Fold;
use crate::ids::{Hash, RecordSeq};
use bytes::Bytes;
use lattice_protocol::seeded::Seeded;

const JOURNALS: u64 = 1_000;
/// Most commits of one journal.
const COMMITS: u64 = 12;

fn effect(random: &mut Seeded) -> Effect {
    let text = |number: u64| format!("n-{number}").into();
    let body = Bytes::copy_from_slice(&random.number().to_le_bytes());
    let number = random.below(4);
    match random.below(6) {
        0 => Effect::Send { to: key(&format!("meter/m-{number}")), sequence: 0, name: text(number), body },
        1 => Effect::Publish { link: text(1), subject: text(number), body },
        2 => Effect::Call { link: text(2), function: text(number), body, answer: text(3) },
        3 => {
            let misfire = if number == 0 { Misfire::Skip } else { Misfire::FireLate };
            Effect::TimerSet {
                name: text(number),
                due_ms: T0 + random.below(1 << 20),
                misfire,
                command: text(4),
                body,
            }
        }
        4 => Effect::TimerCancel { name: text(number) },
        _ => Effect::SnapshotNow,
    }
}

/// The records of one journal, and its fold as it was when it was written: a snapshot's bytes.
fn journal(number: u64) -> (Vec<Bytes>, Bytes) {
    let mut random = Seeded::new(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut fold = fold_of(&format!("meter/m-{number}"));
    let (mut chain, first) = opened();
    let mut records = vec![first.bytes().clone()];
    for n in 0..random.below(COMMITS + 1) {
        let command = add(n, i64::from_le_bytes(random.number().to_le_bytes()));
        let mut decision = fold.entity().decide(&command);
        decision.effects = (0..random.below(3)).map(|_| effect(&mut random)).collect();
        let commit = commit(fold.ledger(), &command, decision);
        fold.apply(&commit).unwrap();
        let sealed = record(&chain, vec![commit]);
        chain.offer(&sealed).unwrap();
        records.push(sealed.bytes().clone());
    }
    (records, state(&fold))
}

fn state(fold: &Fold<Sum>) -> Bytes {
    fold.snapshot((SHARD, RecordSeq(1)), component(), fold.entity().save()).seal().unwrap().0
}

/// From the bytes alone, as another machine has them.
fn replayed(number: u64, records: &[Bytes]) -> Bytes {
    let mut fold = fold_of(&format!("meter/m-{number}"));
    for bytes in records {
        let sealed = crate::Sealed::open(bytes.clone()).unwrap();
        sealed.record().commits().iter().for_each(|commit| fold.apply(commit).unwrap());
    }
    state(&fold)
}

#[test]
fn a_thousand_journals_fold_to_the_same_hash_on_every_machine() {
    let (mut written, mut folded) = (Vec::new(), Vec::new());
    for number in 0..JOURNALS {
        let (records, state) = journal(number);
        for _ in 0..2 {
            assert_eq!(replayed(number, &records), state, "journal {number}");
        }
        written.extend(records.iter().flat_map(|bytes| Hash::of(bytes).0));
        folded.extend(Hash::of(&state).0);
    }
    let hashes = [Hash::of(&written).to_string(), Hash::of(&folded).to_string()];
    assert_eq!(hashes, ["169305d290625f65", "bf19618ae15b17a4"]);
}
