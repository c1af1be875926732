//! Order per target, retries, dead letters, and the position that travels.

use super::*;
use crate::commit::Commit;
use crate::fixtures::{add, commit, fold_of, key, opened, record};
use crate::ledger::Decision;
use bytes::Bytes;

const POLICY: RelayPolicy = RelayPolicy { attempts: 3, pause_ms: 100, max_pause_ms: 150 };

fn send(to: &str) -> Effect {
    Effect::Send { to: key(to), sequence: 0, name: "add".into(), body: Bytes::new() }
}

fn commits(effects: Vec<Effect>) -> Vec<Commit> {
    let fold = fold_of("meter/m-1");
    vec![commit(fold.ledger(), &add(1, 0), Decision { effects, ..Decision::default() })]
}

/// Record 2, with these effects.
fn outbox(effects: Vec<Effect>) -> (Outbox, std::sync::Arc<Record>) {
    let (chain, first) = opened();
    let next = record(&chain, commits(effects)).record().clone();
    let mut outbox = Outbox::new(POLICY, OutboxPosition::default());
    outbox.durable(first.record());
    outbox.durable(&next);
    (outbox, next)
}

fn relayed(actions: &[RelayAction]) -> Vec<(u32, &Outgoing)> {
    let items = actions.iter().filter_map(|action| match action {
        RelayAction::Relay(item) => Some((item.position.index, item)),
        RelayAction::DeadLetter(_) => None,
    });
    items.collect()
}

fn indexes(actions: &[RelayAction]) -> Vec<u32> {
    relayed(actions).iter().map(|(index, _)| *index).collect()
}

fn at(record: u64, index: u32) -> OutboxPosition {
    OutboxPosition { record: RecordSeq(record), index }
}

#[test]
fn order_is_kept_per_target_and_the_position_follows_the_slowest() {
    let (mut outbox, _) = outbox(vec![send("a/1"), Effect::SnapshotNow, send("a/1"), send("a/2")]);
    assert_eq!((outbox.position(), outbox.waiting()), (at(2, 0), 3));
    let first = outbox.due(0);
    assert_eq!(indexes(&first), [0, 2], "one under way for each target");
    assert!(outbox.due(0).is_empty());
    let items = relayed(&first);
    assert_eq!(items[0].1.idempotency_key(), "meter/m-1-1-0");
    assert_eq!(items[1].1.idempotency_key(), "meter/m-1-1-3", "numbered within its commit");
    outbox.taken(items[1].1);
    assert_eq!(outbox.position(), at(2, 0));
    outbox.taken(items[0].1);
    assert_eq!(outbox.position(), at(2, 1));
    let second = outbox.due(0);
    assert_eq!(indexes(&second), [1]);
    outbox.taken(relayed(&second)[0].1);
    assert_eq!((outbox.position(), outbox.waiting()), (at(3, 0), 0));
}

fn publish(subject: &str) -> Effect {
    Effect::Publish { link: "out".into(), subject: subject.into(), body: Bytes::new() }
}

#[test]
fn a_failing_target_blocks_only_itself_and_ends_as_a_dead_letter() {
    let (mut outbox, _) = outbox(vec![publish("a"), send("a/2"), publish("a")]);
    let mut log = Vec::new();
    for now in [0, 50, 100, 200, 250, 400, 450] {
        for action in outbox.due(now) {
            let RelayAction::Relay(item) = action else { continue };
            let index = item.position.index;
            if index == 0 {
                let dead = outbox.failed(&item, now).is_some();
                log.push(format!("{now}: {index} failed{}", if dead { ", dead letter" } else { "" }));
            } else {
                outbox.taken(&item);
                log.push(format!("{now}: {index} taken"));
            }
        }
    }
    assert_eq!(
        log,
        ["0: 1 taken", "0: 0 failed", "100: 0 failed", "250: 0 failed, dead letter", "400: 2 taken"]
    );
    assert_eq!(outbox.position(), at(3, 0));
}

#[test]
fn a_message_to_an_actor_is_never_given_up() {
    let (mut outbox, _) = outbox(vec![send("a/1")]);
    for now in (0..100_000_000).step_by(100_000) {
        for action in outbox.due(now) {
            let RelayAction::Relay(item) = action else { panic!("{action:?}") };
            assert_eq!(outbox.failed(&item, now), None);
        }
    }
    assert_eq!(outbox.waiting(), 1);
}

#[test]
fn a_late_answer_changes_nothing() {
    let (mut outbox, _) = outbox(vec![send("a/1"), send("a/1")]);
    let first = outbox.due(0);
    let item = relayed(&first)[0].1;
    outbox.failed(item, 0);
    assert_eq!(outbox.wake_ms(), Some(100));
    assert_eq!(outbox.failed(item, 0), None, "answered already");
    assert_eq!(outbox.wake_ms(), Some(100));
    outbox.taken(item);
    assert_eq!(outbox.position(), at(2, 1), "it was taken after all");
    outbox.taken(item);
    assert_eq!(outbox.position(), at(2, 1));
}

#[test]
fn after_a_takeover_it_goes_on_from_the_position_with_the_same_keys() {
    let (mut before, record) = outbox(vec![send("a/1"), send("a/2"), send("a/3")]);
    let due = before.due(0);
    before.taken(relayed(&due)[0].1);
    let mut after = Outbox::new(POLICY, before.position());
    after.durable(&record);
    let again = after.due(0);
    assert_eq!(indexes(&again), [1, 2]);
    assert_eq!(relayed(&again)[0].1, relayed(&due)[1].1);
}

#[test]
fn what_is_under_way_of_a_deleted_actor_holds_nobody_back_and_its_late_answer_changes_nothing() {
    let (mut outbox, record) = outbox(vec![send("a/1"), send("a/1")]);
    let mine = commits(Vec::new());
    let mut other = mine[0].clone();
    other.key = key("meter/m-2");
    other.effects = vec![send("a/1")];
    let mut next = (*record).clone();
    (next.seq, next.body) = (RecordSeq(3), Body::Commits { relayed: None, commits: vec![other] });
    outbox.durable(&next);
    let due = outbox.due(0);
    let under_way = relayed(&due)[0].1.clone();
    let mut end = mine[0].clone();
    end.effects = vec![Effect::Delete];
    (next.seq, next.body) = (RecordSeq(4), Body::Commits { relayed: None, commits: vec![end] });
    outbox.durable(&next);
    assert!(!outbox.is_open(under_way.position) && outbox.is_open(at(3, 0)));
    assert_eq!((outbox.position(), outbox.waiting()), (at(3, 0), 1));
    assert_eq!(outbox.failed(&under_way, 0), None);
    outbox.taken(&under_way);
    let due = outbox.due(0);
    assert_eq!(relayed(&due).iter().map(|(_, item)| item.position).collect::<Vec<_>>(), [at(3, 0)]);
    outbox.taken(relayed(&due)[0].1);
    assert_eq!((outbox.position(), outbox.waiting()), (at(5, 0), 0));
}

#[test]
fn who_goes_on_from_a_position_knows_that_records_without_effects_want_nothing() {
    let mut outbox = Outbox::new(POLICY, at(2, 1));
    assert_eq!(outbox.position(), at(2, 1));
    outbox.seen(RecordSeq(9));
    assert_eq!(outbox.position(), at(10, 0));
    let (mut waits, _) = super::tests::outbox(vec![send("a/1")]);
    waits.seen(RecordSeq(9));
    assert_eq!(waits.position(), at(2, 0), "what waits is waited for");
}
