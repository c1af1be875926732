//! J1 to J7, each over random histories.

use crate::append::{AppendOutcome, Appender, Progress, Tail};
use crate::chain::Chain;
use crate::commit::{Commit, Effect};
use crate::error::FoldError;
use crate::fixtures::{
    Log, SHARD, Sum, add, any_effect, commit, component, fold_of, key, opened, record, session,
};
use crate::fold::Fold;
use crate::ids::{ActorSeq, Epoch, Position, RecordSeq};
use crate::record::{Body, Sealed};
use crate::snapshot::Snapshot;
use proptest::collection::vec;
use proptest::prelude::*;

/// One actor's history: amounts added, each with some effects.
fn history() -> impl Strategy<Value = Vec<(i64, Vec<Effect>)>> {
    let effects = vec(
        any_effect().prop_filter("it goes on", |effect| !matches!(effect, Effect::Stop | Effect::Delete)),
        0..3,
    );
    vec((any::<i64>(), effects), 0..30)
}

fn commits(history: Vec<(i64, Vec<Effect>)>) -> Vec<Commit> {
    let mut fold = fold_of("meter/m-1");
    let turn = |(n, (amount, effects)): (u64, (i64, Vec<Effect>))| {
        let command = add(n, amount);
        let mut decision = fold.entity().decide(&command);
        decision.effects = effects;
        let commit = commit(fold.ledger(), &command, decision);
        fold.apply(&commit).unwrap();
        commit
    };
    (0..).zip(history).map(turn).collect()
}

fn fold(commits: &[Commit]) -> Result<Fold<Sum>, FoldError> {
    let mut fold = fold_of("meter/m-1");
    commits.iter().try_for_each(|commit| fold.apply(commit))?;
    Ok(fold)
}

fn snapshot(fold: &Fold<Sum>) -> Snapshot {
    fold.snapshot((SHARD, RecordSeq(1)), component(), fold.entity().save())
}

proptest! {
    #[test]
    fn j1_sequences_are_dense_and_nothing_but_the_next_is_taken(
        history in history(), at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(),
    ) {
        let commits = commits(history);
        let dense = commits.iter().map(|commit| commit.seq).eq((1..=commits.len() as u64).map(ActorSeq));
        prop_assert!(dense);
        if commits.len() > 1 {
            let (at, other) = (at.index(commits.len()), other.index(commits.len()));
            let mut swapped = commits.clone();
            swapped.swap(at, other);
            prop_assert_eq!(fold(&swapped).is_ok(), at == other);
            let mut missing = commits.clone();
            missing.remove(at);
            prop_assert_eq!(fold(&missing).is_ok(), at == commits.len() - 1);
        }
    }

    #[test]
    fn j2_an_append_elsewhere_than_expected_is_read_again_before_anything_is_believed(
        before in 0usize..4, foreign in 0usize..3,
    ) {
        let (mut chain, first) = opened();
        let mut log = Log::default();
        log.force(first.bytes());
        for _ in 0..before {
            let next = record(&chain, Vec::new());
            chain.offer(&next).unwrap();
            log.force(next.bytes());
        }
        let mut appender = Appender::new(Tail::at(chain.clone(), log.last()));
        for _ in 0..foreign {
            log.force(first.bytes());
        }
        let action = appender.append(chain.next(Body::Commits { relayed: None, commits: Vec::new() })).unwrap();
        let crate::append::LogAction::Append { attempt, expected, sealed } = action else { panic!() };
        let outcome = log.append(expected, sealed.bytes());
        prop_assert_eq!(outcome == AppendOutcome::Conflict, foreign > 0);
        let progress = appender.outcome(attempt, outcome);
        let done = matches!(progress, Progress::Done { .. });
        prop_assert_eq!(done, foreign == 0);
        prop_assert_eq!(appender.tail().position, if done { log.last() } else { expected });
    }

    #[test]
    fn j3_state_is_the_fold_of_the_commits_every_time(history in history()) {
        let total = history.iter().fold(0i64, |sum, (amount, _)| sum.wrapping_add(*amount));
        let commits = commits(history);
        let (one, other) = (fold(&commits).unwrap(), fold(&commits).unwrap());
        prop_assert_eq!(one.entity().total, total);
        prop_assert_eq!(snapshot(&one).seal().unwrap(), snapshot(&other).seal().unwrap());
    }

    #[test]
    fn j4_a_snapshot_and_the_rest_give_what_all_give(history in history(), at in any::<prop::sample::Index>()) {
        let commits = commits(history);
        let (before, after) = commits.split_at(at.index(commits.len() + 1));
        let (bytes, _) = snapshot(&fold(before).unwrap()).seal().unwrap();
        let (stored, _) = Snapshot::open(bytes).unwrap();
        let mut resumed = Fold::resume(&stored, &key("meter/m-1"), Sum::load).unwrap();
        // What comes from the log may begin before the snapshot.
        resumed.catch_up(&commits[commits.len().saturating_sub(after.len() + 2)..]).unwrap();
        prop_assert_eq!(resumed, fold(&commits).unwrap());
    }

    /// What is left of a deleted actor is the same from its whole history, from a snapshot and the rest,
    /// from its tombstone alone, and from the list of a checkpoint (J3, J4).
    #[test]
    fn j4_of_a_deleted_actor_the_tombstone_says_all_that_its_history_says(
        history in history(), at in any::<prop::sample::Index>(),
    ) {
        let mut commits = commits(history);
        let before = fold(&commits).unwrap();
        let tombstone = Sum::tombstone(before.ledger(), 900);
        commits.push(tombstone.clone());
        let whole = fold(&commits).unwrap();
        prop_assert!(whole.ledger().is_deleted());
        prop_assert_eq!(whole.entity(), &Sum::default());
        let (early, late) = commits.split_at(at.index(commits.len()));
        let (bytes, _) = snapshot(&fold(early).unwrap()).seal().unwrap();
        let mut resumed = Fold::resume(&Snapshot::open(bytes).unwrap().0, &key("meter/m-1"), Sum::load).unwrap();
        resumed.catch_up(late).unwrap();
        prop_assert_eq!(&resumed, &whole);
        let buried = Fold::buried(&key("meter/m-1"), Sum::default(), &tombstone).unwrap();
        prop_assert_eq!(&buried, &whole);
        let mut list = crate::trim::SnapshotList::default();
        list.bury(tombstone.key.clone(), tombstone.seq);
        let (list, _) = crate::trim::SnapshotList::from_bytes(list.to_bytes().0).unwrap();
        let known = list.get(&key("meter/m-1")).unwrap();
        prop_assert!(known.is_tombstone());
        prop_assert_eq!(&crate::ledger::Ledger::deleted(known.key, known.seq), whole.ledger());
        // A ledger that was stored reads back as what it was.
        let (bytes, _) = snapshot(&whole).seal().unwrap();
        prop_assert_eq!(&Snapshot::open(bytes).unwrap().0.ledger, whole.ledger());
        // Nothing follows, whatever it says, and no id is good any more.
        for next in [commit(whole.ledger(), &add(901, 1), Default::default()), tombstone] {
            let refused = matches!(fold(&commits).unwrap().apply(&next), Err(FoldError::Deleted { .. }));
            prop_assert!(refused);
        }
    }

    /// Nothing of a deleted actor goes out after its tombstone, and nothing of others is held back (J5).
    #[test]
    fn j5_a_deleted_actor_sends_nothing_more_and_others_do(history in history(), taken in 0usize..40) {
        let (mut chain, _) = opened();
        let mut records = Vec::new();
        let mut other = fold_of("meter/m-2");
        for (n, mine) in (0..).zip(commits(history)) {
            let effects = vec![Effect::Publish { link: "l".into(), subject: "s".into(), body: Default::default() }];
            let decision = crate::ledger::Decision { effects, ..Default::default() };
            let theirs = commit(other.ledger(), &add(n, 1), decision);
            other.apply(&theirs).unwrap();
            let next = record(&chain, vec![mine, theirs]);
            chain.offer(&next).unwrap();
            records.push(next);
        }
        let mine = records.iter().flat_map(|sealed| sealed.record().commits().iter().cloned());
        let mine: Vec<Commit> = mine.filter(|commit| commit.key == key("meter/m-1")).collect();
        if mine.is_empty() { return Ok(()); }
        let last = record(&chain, vec![Sum::tombstone(fold(&mine).unwrap().ledger(), 900)]);
        records.push(last);
        let mut outbox = crate::outbox::Outbox::new(Default::default(), Default::default());
        let mut went = Vec::new();
        let mut run = |outbox: &mut crate::outbox::Outbox, most: usize| {
            while went.len() < most {
                let due = outbox.due(0);
                if due.is_empty() { break; }
                for action in due {
                    let crate::outbox::RelayAction::Relay(item) = action else { panic!() };
                    outbox.taken(&item);
                    went.push(item);
                }
            }
            went.len()
        };
        let (tombstone, before) = records.split_last().unwrap();
        before.iter().for_each(|sealed| outbox.durable(sealed.record()));
        let early = run(&mut outbox, taken);
        outbox.durable(tombstone.record());
        run(&mut outbox, usize::MAX);
        prop_assert!(went[early..].iter().all(|item| item.from == key("meter/m-2")));
        prop_assert_eq!(went.iter().filter(|item| item.from == key("meter/m-2")).count(), mine.len());
        prop_assert_eq!(outbox.waiting(), 0);
        prop_assert_eq!(outbox.position().record, tombstone.record().seq.next());
        // Who replays it all after the tombstone sends nothing of the deleted one.
        let mut replayed = crate::outbox::Outbox::new(Default::default(), Default::default());
        records.iter().for_each(|sealed| replayed.durable(sealed.record()));
        prop_assert_eq!(replayed.waiting(), mine.len());
    }

    /// Folding gives state and nothing else: there is nothing in its result that could be performed.
    /// What a replay would send again is decided by the outbox's position alone.
    #[test]
    fn j5_replaying_what_has_been_relayed_sends_nothing(history in history()) {
        let (mut chain, _) = opened();
        let mut records = Vec::new();
        for commit in commits(history) {
            let next = record(&chain, vec![commit]);
            chain.offer(&next).unwrap();
            records.push(next);
        }
        let mut first = crate::outbox::Outbox::new(Default::default(), Default::default());
        records.iter().for_each(|sealed| first.durable(sealed.record()));
        let mut sent = 0;
        loop {
            let due = first.due(0);
            if due.is_empty() { break; }
            for action in due {
                let crate::outbox::RelayAction::Relay(item) = action else { panic!() };
                first.taken(&item);
                sent += 1;
            }
        }
        let outgoing = records.iter().flat_map(|sealed| crate::outbox::outgoing(sealed.record())).count();
        prop_assert_eq!(sent, outgoing);
        let mut replayed = crate::outbox::Outbox::new(Default::default(), first.position());
        records.iter().for_each(|sealed| replayed.durable(sealed.record()));
        prop_assert!(replayed.due(u64::MAX).is_empty());
        prop_assert_eq!(replayed.position(), first.position());
    }

    #[test]
    fn j6_damage_stops_the_reader_at_its_place(
        count in 1usize..8, at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), flip in 1u8..,
    ) {
        let (mut chain, first) = opened();
        let mut log = Log::default();
        log.force(first.bytes());
        for _ in 1..count {
            let next = record(&chain, Vec::new());
            chain.offer(&next).unwrap();
            log.force(next.bytes());
        }
        let at = at.index(count);
        let mut bytes = log.entries[at].to_vec();
        let byte = byte.index(bytes.len());
        bytes[byte] ^= flip;
        log.entries[at] = bytes.into();
        let mut tail = Tail::new(Chain::new(SHARD));
        let (position, _) = tail.follow(log.read(Position(0), usize::MAX).entries).unwrap_err();
        prop_assert_eq!(position, Position(at as u64 + 1));
        prop_assert_eq!(tail.chain.seq(), RecordSeq(at as u64), "all before it was followed, nothing behind it");
    }

    /// Owners write in any order, each on what it has seen; the epochs of the valid records never fall.
    #[test]
    fn j7_no_record_of_an_old_epoch_counts_after_a_new_one(
        moves in vec((0usize..3, any::<bool>(), any::<bool>()), 1..40),
    ) {
        let mut stream: Vec<Sealed> = Vec::new();
        let mut views: Vec<Chain> = vec![Chain::new(SHARD); 3];
        let mut epoch = 0;
        for (who, opens, looks) in moves {
            if looks {
                views[who] = Chain::new(SHARD);
                for sealed in &stream { let _ = views[who].offer(sealed); }
            }
            let view = &mut views[who];
            let sealed = if opens || view.epoch() == Epoch(0) {
                epoch += 1;
                view.opening(Epoch(epoch), session(["A", "B", "C"][who])).seal().unwrap()
            } else {
                record(view, Vec::new())
            };
            view.offer(&sealed).unwrap();
            stream.push(sealed);
        }
        let mut chain = Chain::new(SHARD);
        let mut last = (Epoch(0), RecordSeq(0));
        for sealed in &stream {
            if chain.offer(sealed).is_ok() {
                let record = sealed.record();
                prop_assert!(record.epoch >= last.0);
                prop_assert_eq!(record.seq, last.1.next());
                last = (record.epoch, record.seq);
            }
        }
    }
}

#[test]
fn a_snapshot_of_another_actor_or_beyond_the_journal_is_refused() {
    let fold = fold(&commits(vec![(1, Vec::new()), (2, Vec::new())])).unwrap();
    let snapshot = snapshot(&fold);
    assert!(snapshot.check(&key("meter/m-1"), SHARD, RecordSeq(1)).is_ok());
    let refused =
        |key: &str, last| snapshot.check(&super::super::fixtures::key(key), SHARD, last).unwrap_err();
    assert_eq!(
        refused("meter/m-2", RecordSeq(1)).to_string(),
        "meter/m-2: snapshot refused: it is of meter/m-1"
    );
    assert_eq!(
        refused("meter/m-1", RecordSeq(0)).to_string(),
        "meter/m-1: snapshot refused: it is beyond the journal: record 1, last 0"
    );
    assert!(Fold::resume(&snapshot, &key("meter/m-2"), Sum::load).is_err());
}
