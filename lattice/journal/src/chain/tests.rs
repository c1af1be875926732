//! Which of the records of a stream count, told as a transcript.

use super::*;
use crate::fixtures::{SHARD, add, commit, fold_of, opened, record, session};

fn commits(n: u64) -> Vec<crate::Commit> {
    let fold = fold_of("meter/m-1");
    let command = add(n, 1);
    let decision = fold.entity().decide(&command);
    vec![commit(fold.ledger(), &command, decision)]
}

fn transcript(chain: &mut Chain, records: &[(&str, &Sealed)]) -> String {
    records
        .iter()
        .map(|(who, record)| match chain.offer(record) {
            Ok(()) => format!("{who}: valid, record {} of epoch {}\n", chain.seq(), chain.epoch()),
            Err(invalid) => format!("{who}: skipped: {invalid}\n"),
        })
        .collect()
}

#[test]
fn a_stale_owner_and_a_new_one_in_one_stream() {
    let (chain, first) = opened();
    // A writes one record, and sends two more that take their time.
    let mut of_a = chain.clone();
    let a1 = record(&of_a, commits(1));
    of_a.offer(&a1).unwrap();
    let a2 = record(&of_a, commits(2));
    let a2_other = record(&of_a, commits(3));
    // B has followed up to a1 and opens epoch 2.
    let b_opens = of_a.opening(Epoch(2), session("B")).seal().unwrap();
    let mut of_b = of_a.clone();
    of_b.offer(&b_opens).unwrap();
    let b1 = record(&of_b, commits(4));
    let late_opening = of_a.opening(Epoch(1), session("A")).seal().unwrap();
    let mut reader = Chain::new(SHARD);
    let stream = [
        ("A opens epoch 1", &first),
        ("A's first", &a1),
        ("A's first, sent twice", &a1),
        ("B opens epoch 2", &b_opens),
        ("A's second, late", &a2),
        ("A opens epoch 1 again", &late_opening),
        ("B's first", &b1),
        ("A's second, sent again", &a2_other),
    ];
    assert_eq!(
        transcript(&mut reader, &stream),
        "\
A opens epoch 1: valid, record 1 of epoch 1
A's first: valid, record 2 of epoch 1
A's first, sent twice: skipped: record 2 again
B opens epoch 2: valid, record 3 of epoch 2
A's second, late: skipped: fenced: epoch 1 where 2 is current
A opens epoch 1 again: skipped: fenced: epoch 1 where 2 is current
B's first: valid, record 4 of epoch 2
A's second, sent again: skipped: fenced: epoch 1 where 2 is current
"
    );
    assert_eq!(reader.owner(), Some(&session("B")));
    assert_eq!(reader.head(), b1.hash());
}

#[test]
fn two_histories_under_one_epoch_are_a_fork() {
    let (mut chain, _) = opened();
    let (one, other) = (record(&chain, commits(1)), record(&chain, commits(2)));
    let mut forked = chain.clone();
    forked.offer(&other).unwrap();
    let behind_the_other = record(&forked, commits(3));
    chain.offer(&one).unwrap();
    assert_eq!(chain.offer(&other), Err(Invalid::Fork { after: RecordSeq(1) }));
    assert_eq!(chain.offer(&behind_the_other), Err(Invalid::Unchained { last: RecordSeq(2) }));
    let report = Invalid::Fork { after: RecordSeq(1) }.report(SHARD).to_string();
    assert_eq!(
        report,
        "E_FORK: record skipped: fork: follows record 1, as another one does already: shard 7"
    );
    let copies = [&chain, &forked].map(|chain| {
        (1..=2).map(|seq| (RecordSeq(seq), chain.hash_of(RecordSeq(seq)).unwrap())).collect::<Vec<_>>()
    });
    assert_eq!(divergence(&copies[0], &copies[1]), Some(RecordSeq(2)));
    assert_eq!(divergence(&copies[0], &copies[0][..1]), None);
}

#[test]
fn what_does_not_fit_is_named() {
    let (chain, _) = opened();
    let good = chain.next(Body::Commits { relayed: None, commits: Vec::new() });
    let offered = |record: Record| chain.clone().offer(&record.seal().unwrap());
    assert_eq!(offered(good.clone()), Ok(()));
    let record = Record { shard: ShardId(8), ..good.clone() };
    assert_eq!(offered(record), Err(Invalid::Shard { got: ShardId(8) }));
    let record = Record { seq: RecordSeq(5), ..good.clone() };
    assert_eq!(offered(record), Err(Invalid::Sequence { got: RecordSeq(5), expected: RecordSeq(2) }));
    let record = Record { epoch: Epoch(2), ..good.clone() };
    assert_eq!(offered(record), Err(Invalid::Epoch { got: Epoch(2), current: Epoch(1) }));
    let checkpoint = |through, hash| {
        let (epoch, snapshots, list) = (Epoch(1), 0, Hash::ZERO);
        chain.next(Body::Checkpoint(Checkpoint {
            through: RecordSeq(through),
            hash,
            epoch,
            snapshots,
            list,
            kept: None,
        }))
    };
    assert_eq!(offered(checkpoint(1, chain.head())), Ok(()));
    assert_eq!(offered(checkpoint(1, Hash::ZERO)), Err(Invalid::Checkpoint { through: RecordSeq(1) }));
    assert_eq!(offered(checkpoint(2, Hash::ZERO)), Err(Invalid::Checkpoint { through: RecordSeq(2) }));
}

#[test]
fn a_trimmed_history_goes_on_from_its_checkpoint() {
    let (mut chain, _) = opened();
    let at = Checkpoint {
        through: chain.seq(),
        hash: chain.head(),
        epoch: chain.epoch(),
        snapshots: 0,
        list: Hash::ZERO,
        kept: None,
    };
    let next = record(&chain, commits(1));
    chain.offer(&next).unwrap();
    let mut trimmed = Chain::from_checkpoint(SHARD, &at);
    trimmed.offer(&next).unwrap();
    assert_eq!((trimmed.seq(), trimmed.head(), trimmed.epoch()), (chain.seq(), chain.head(), chain.epoch()));
}
