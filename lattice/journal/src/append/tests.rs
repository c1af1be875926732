//! Every answer a log can give, and what follows from it.

use super::*;
use crate::fixtures::{Log, add, commit, fold_of, opened, record, session};
use crate::ids::Epoch;
use crate::record::Body;

struct Bench {
    log: Log,
    appender: Appender,
}

fn bench() -> Bench {
    let (chain, first) = opened();
    let mut log = Log::default();
    log.force(first.bytes());
    Bench { appender: Appender::new(Tail::at(chain, log.last())), log }
}

impl Bench {
    fn send(&mut self) -> (u64, Position, Sealed) {
        let record = self.appender.tail().chain.next(Body::Commits { relayed: None, commits: Vec::new() });
        sent(&self.appender.append(record).unwrap())
    }
    /// Lets the appender read, in parts of one entry.
    fn read(&mut self, progress: Progress) -> Progress {
        let mut progress = progress;
        while let Progress::Act(LogAction::Read { attempt, after }) = progress {
            progress = self.appender.read(attempt, self.log.read(after, 1));
        }
        progress
    }
}

fn sent(action: &LogAction) -> (u64, Position, Sealed) {
    match action {
        LogAction::Append { attempt, expected, sealed } => (*attempt, *expected, sealed.clone()),
        LogAction::Read { .. } => panic!("a read"),
    }
}

fn is_done(progress: &Progress) -> bool {
    matches!(progress, Progress::Done { then, .. } if then.is_empty())
}

#[test]
fn stored_right_behind_what_is_followed_is_valid_without_reading() {
    let mut bench = bench();
    let (attempt, expected, sealed) = bench.send();
    let outcome = bench.log.append(expected, sealed.bytes());
    assert!(is_done(&bench.appender.outcome(attempt, outcome)));
    assert_eq!(bench.appender.tail().chain.head(), sealed.hash());
}

#[test]
fn a_lost_answer_is_found_by_reading() {
    let mut bench = bench();
    let (attempt, expected, sealed) = bench.send();
    bench.log.append(expected, sealed.bytes());
    let progress = bench.appender.outcome(attempt, AppendOutcome::Unknown);
    assert!(is_done(&bench.read(progress)));
    // The answer comes after all: it says nothing new.
    assert_eq!(bench.appender.outcome(attempt, AppendOutcome::Stored(Position(2))), Progress::Waiting);
}

#[test]
fn what_is_not_there_is_sent_again_with_the_same_bytes() {
    let mut bench = bench();
    let (attempt, _, first) = bench.send();
    let progress = bench.appender.outcome(attempt, AppendOutcome::Unknown);
    let Progress::Act(action) = bench.read(progress) else { panic!("not sent again") };
    let (attempt, expected, again) = sent(&action);
    assert_eq!(again, first);
    // Both copies arrive: one is valid, the other a repetition.
    bench.log.force(first.bytes());
    assert_eq!(bench.log.append(expected, again.bytes()), AppendOutcome::Conflict);
    bench.log.force(again.bytes());
    let progress = bench.appender.outcome(attempt, AppendOutcome::Conflict);
    assert!(is_done(&bench.read(progress)));
    assert_eq!(bench.appender.take_skipped().len(), 1);
    assert_eq!(bench.log.valid().len(), 2);
}

#[test]
fn somebody_elses_invalid_record_in_between_costs_a_reading_only() {
    let mut bench = bench();
    let (attempt, expected, sealed) = bench.send();
    let (chain, _) = opened();
    let stale = chain.opening(Epoch(1), session("Z")).seal().unwrap();
    bench.log.force(stale.bytes());
    let outcome = bench.log.append(expected, sealed.bytes());
    let progress = bench.appender.outcome(attempt, outcome);
    let Progress::Act(action) = bench.read(progress) else { panic!("not sent again") };
    let (attempt, expected, sealed) = sent(&action);
    assert_eq!(expected, Position(2));
    let outcome = bench.log.append(expected, sealed.bytes());
    assert!(is_done(&bench.appender.outcome(attempt, outcome)));
}

#[test]
fn a_new_owner_in_between_overtakes() {
    let mut bench = bench();
    let (attempt, _, sealed) = bench.send();
    let (chain, _) = opened();
    let opens = chain.opening(Epoch(2), session("B")).seal().unwrap();
    bench.log.force(opens.bytes());
    // The leader did not check what was expected: only reading shows that ours does not count.
    let outcome = AppendOutcome::Stored(bench.log.force(sealed.bytes()));
    let progress = bench.appender.outcome(attempt, outcome);
    assert_eq!(bench.read(progress), Progress::Overtaken { by: vec![opens] });
}

#[test]
fn a_new_owner_behind_ours_leaves_ours_valid() {
    let mut bench = bench();
    let (attempt, expected, sealed) = bench.send();
    bench.log.append(expected, sealed.bytes());
    let mut chain = bench.appender.tail().chain.clone();
    chain.offer(&sealed).unwrap();
    let opens = chain.opening(Epoch(2), session("B")).seal().unwrap();
    bench.log.force(opens.bytes());
    let progress = bench.appender.outcome(attempt, AppendOutcome::Unknown);
    assert_eq!(bench.read(progress), Progress::Done { sealed, then: vec![opens] });
}

#[test]
fn it_gives_up_after_eight_times_and_stops_at_damage() {
    let mut bench = bench();
    let (mut attempt, _, _) = bench.send();
    for _ in 1..MAX_SENDS {
        let progress = bench.appender.outcome(attempt, AppendOutcome::Unknown);
        let Progress::Act(action) = bench.read(progress) else { panic!("not sent again") };
        attempt = sent(&action).0;
    }
    let progress = bench.appender.outcome(attempt, AppendOutcome::Unknown);
    assert_eq!(bench.read(progress), Progress::GaveUp);

    let mut bench = super::tests::bench();
    let (attempt, _, _) = bench.send();
    bench.log.force(&Bytes::from_static(b"noise"));
    let progress = bench.appender.outcome(attempt, AppendOutcome::Unknown);
    let damaged = bench.read(progress);
    assert!(matches!(damaged, Progress::Damaged { at: Position(2), .. }), "{damaged:?}");
}

#[test]
fn reading_is_asked_for_again_when_it_fails() {
    let mut bench = bench();
    let (attempt, _, _) = bench.send();
    let Progress::Act(LogAction::Read { attempt, after }) =
        bench.appender.outcome(attempt, AppendOutcome::Unknown)
    else {
        panic!("no read")
    };
    let again = bench.appender.read_failed(attempt);
    assert_eq!(again, Progress::Act(LogAction::Read { attempt: attempt + 1, after }));
    // The first reading's answer, late.
    assert_eq!(bench.appender.read(attempt, bench.log.read(after, 9)), Progress::Waiting);
}

#[test]
fn entries_already_followed_are_left_out() {
    let (mut chain, first) = opened();
    let fold = fold_of("meter/m-1");
    let next = record(&chain, vec![commit(fold.ledger(), &add(1, 1), fold.entity().decide(&add(1, 1)))]);
    chain.offer(&next).unwrap();
    let mut log = Log::default();
    log.force(first.bytes());
    log.force(next.bytes());
    let mut tail = Tail::new(crate::Chain::new(crate::fixtures::SHARD));
    tail.follow(log.read(Position(0), 1).entries).unwrap();
    let rest = tail.follow(log.read(Position(0), 9).entries).unwrap();
    assert_eq!((rest.valid, rest.skipped), (vec![next], Vec::new()));
    assert_eq!(tail.chain, chain);
}
