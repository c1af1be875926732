//! What a copy says is what was sent: repetitions count once, gaps are known, everything else is damage.

use super::*;
use lattice_journal::SessionId;

/// A journal of so many records: each opens an epoch, which is the least that a record can say.
fn journal(boot: u8, count: u64) -> Vec<Sealed> {
    let mut chain = Chain::new(SHARD);
    let session = SessionId::new(&"NTEST".parse().unwrap(), [boot; 16]);
    (1..=count)
        .map(|n| {
            let sealed = chain.opening(Epoch(n), session.clone()).seal().unwrap();
            chain.offer(&sealed).unwrap();
            sealed
        })
        .collect()
}

fn gap(first: u64, last: u64, why: Why) -> Entry {
    Entry::Gap(Gap { first: RecordSeq(first), last: RecordSeq(last), why })
}

fn message(incarnation: u8, gap: Option<Entry>, records: &[Sealed]) -> Vec<u8> {
    let records = records.iter().map(|sealed| Entry::Record(sealed.bytes().clone()));
    let entries = gap.into_iter().chain(records).collect();
    Frame { incarnation: Incarnation([incarnation; 8]), sent_ms: 5, entries }.encode().unwrap().to_vec()
}

/// Takes messages; the records that came out, by life.
fn taken(messages: &[Vec<u8>]) -> Result<(Copy, Vec<(usize, u64)>), Report> {
    let (mut copy, mut seen) = (Copy::default(), Vec::new());
    for (at, message) in (1..).zip(messages) {
        copy.take(Position(at), message, &mut |life, sealed| seen.push((life, sealed.record().seq.0)))?;
    }
    Ok((copy, seen))
}

#[test]
fn records_come_once_in_order_whatever_was_sent_twice() {
    let all = journal(1, 9);
    let (copy, seen) =
        taken(&[message(1, None, &all[..4]), message(1, None, &all[2..4]), message(1, None, &all[3..])])
            .unwrap();
    assert_eq!(seen, (1..=9).map(|n| (0, n)).collect::<Vec<_>>());
    let life = copy.newest().unwrap();
    assert_eq!((life.first, life.last(), life.repeated, life.missing()), (RecordSeq(1), RecordSeq(9), 3, 0));
    assert_eq!((life.hash(), copy.at), (all[8].hash(), Position(3)));
}

#[test]
fn what_is_missing_without_a_gap_that_says_so_is_damage() {
    let (all, other) = (journal(1, 9), journal(2, 9));
    for messages in [
        vec![message(1, None, &all[..3]), message(1, None, &all[4..])],
        vec![message(1, None, &all[..3]), message(1, None, &other[3..])],
        vec![message(1, None, &all[..3]), message(1, None, &other[2..])],
        vec![message(1, None, &all[..3]), message(1, Some(gap(5, 6, Why::Dropped)), &all[6..])],
        vec![message(1, None, &all[..3]), message(1, Some(gap(4, 5, Why::Dropped)), &all[6..])],
        vec![message(1, Some(gap(2, 5, Why::Before)), &all[5..])],
        vec![message(1, None, &all[..3]), message(2, None, &other[4..])],
    ] {
        assert_eq!(taken(&messages).unwrap_err().code, ErrorCode::Damaged);
    }
    assert_eq!(taken(&[b"?".to_vec()]).unwrap_err().code, ErrorCode::Malformed);
}

#[test]
fn gaps_are_counted_and_what_follows_them_is_a_chain_again() {
    let all = journal(1, 20);
    let (copy, seen) = taken(&[
        message(1, Some(gap(1, 4, Why::Before)), &all[4..6]),
        message(1, Some(gap(7, 10, Why::Dropped)), &all[10..15]),
        message(1, None, &all[15..]),
    ])
    .unwrap();
    let expected = [5, 6].into_iter().chain(11..=20).map(|n| (0, n)).collect::<Vec<_>>();
    assert_eq!(seen, expected);
    let life = copy.newest().unwrap();
    assert_eq!((life.first, life.missing(), life.gaps.len()), (RecordSeq(5), 8, 2));
    // A stream that was bounded by age.
    let (copy, seen) = taken(&[message(1, None, &all[7..])]).unwrap();
    let life = copy.newest().unwrap();
    assert_eq!((seen.len(), life.missing(), life.gaps[0].why), (13, 7, Why::Trimmed));
    let wrong = [message(1, Some(gap(1, 4, Why::Before)), &all[4..6]), message(1, None, &journal(3, 9)[6..])];
    assert_eq!(taken(&wrong).unwrap_err().code, ErrorCode::Damaged);
}

#[test]
fn a_journal_begun_anew_is_another_life_and_one_built_from_the_copy_goes_on() {
    let (all, anew) = (journal(1, 9), journal(2, 3));
    let (copy, seen) = taken(&[
        message(1, None, &all[..5]),
        message(2, None, &all[5..]),
        message(3, None, &anew[..2]),
        message(3, None, &anew[2..]),
    ])
    .unwrap();
    assert_eq!(copy.lives.len(), 2);
    assert_eq!(copy.lives[0].incarnations, [Incarnation([1; 8]), Incarnation([2; 8])]);
    assert_eq!((copy.lives[0].last(), copy.lives[1].last()), (RecordSeq(9), RecordSeq(3)));
    assert_eq!(seen.iter().filter(|(life, _)| *life == 1).count(), 3);
}

/// As [`taken`], where these records of these journals were erased.
fn taken_without(erased: &[(u8, u64, u64)], messages: &[Vec<u8>]) -> Result<Vec<(u64, u64, Why)>, Report> {
    let mut copy = Copy::default();
    copy.erased.add(erased.iter().map(|(journal, first, last)| super::erased::Range {
        incarnation: Incarnation([*journal; 8]),
        first: *first,
        last: *last,
    }));
    for (at, message) in (1..).zip(messages) {
        copy.take(Position(at), message, &mut |_, _| {})?;
    }
    let gaps = copy.lives.iter().flat_map(|life| &life.gaps);
    Ok(gaps.map(|gap| (gap.first.0, gap.last.0, gap.why)).collect())
}

#[test]
fn what_was_erased_is_a_gap_and_what_is_missing_beside_it_is_damage() {
    let all = journal(1, 9);
    let of = |incarnation, first: usize, last: usize| message(incarnation, None, &all[first - 1..last]);
    // In the middle; two neighbours; at the beginning.
    let (begin, middle, end) = (of(1, 1, 3), of(1, 4, 6), of(1, 7, 9));
    let erased = |first, last| [(1, first, last)];
    assert_eq!(taken_without(&erased(4, 6), &[begin.clone(), end.clone()]).unwrap(), [(4, 6, Why::Erased)]);
    assert_eq!(taken_without(&erased(1, 6), std::slice::from_ref(&end)).unwrap(), [(1, 6, Why::Erased)]);
    assert_eq!(taken_without(&erased(1, 5), std::slice::from_ref(&end)).unwrap(), [(1, 6, Why::Trimmed)]);
    // It is said before it goes.
    assert_eq!(taken_without(&erased(4, 6), &[begin.clone(), middle, end.clone()]).unwrap(), []);
    for short in [(4, 5), (5, 6), (1, 3)] {
        let refused = taken_without(&erased(short.0, short.1), &[begin.clone(), end.clone()]).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Damaged);
    }
    assert!(taken_without(&[(2, 4, 6)], &[begin.clone(), end.clone()]).is_err(), "of another journal");
    // What was let go is beside it.
    let with_gap = message(1, Some(gap(6, 7, Why::Dropped)), &all[7..]);
    assert_eq!(
        taken_without(&erased(4, 5), &[begin, with_gap]).unwrap(),
        [(4, 5, Why::Erased), (6, 7, Why::Dropped)]
    );
}

#[test]
fn a_journal_that_was_built_anew_goes_on_though_its_first_message_was_erased() {
    let (all, other) = (journal(1, 9), journal(2, 9));
    let begin = message(1, None, &all[..3]);
    // Of the same life, the last message of the one and the first of the other.
    let erased = [(1, 4, 5), (2, 6, 6)];
    let gaps = taken_without(&erased, &[begin.clone(), message(2, None, &all[6..])]).unwrap();
    assert_eq!(gaps, [(4, 6, Why::Erased)]);
    // Another life, of which the first was.
    let gaps = taken_without(&[(2, 1, 6)], &[begin.clone(), message(2, None, &other[6..])]).unwrap();
    assert_eq!(gaps, [(1, 6, Why::Erased)]);
    assert!(taken_without(&[], &[begin, message(2, None, &all[6..])]).is_err());
}
