//! Counting, waiting and following.

use super::*;
use crate::fixtures::{T0, add, commit, component, id, key};

fn send(to: &str) -> Effect {
    Effect::Send { to: key(to), sequence: 0, name: "add".into(), body: Bytes::new() }
}

fn timer(name: &str, due_ms: u64) -> Effect {
    let (name, command) = (name.into(), "tick".into());
    Effect::TimerSet { name, due_ms, misfire: Misfire::FireLate, command, body: Bytes::new() }
}

fn call() -> Effect {
    let text = |text: &str| text.into();
    Effect::Call { link: text("l"), function: text("f"), body: Bytes::new(), answer: text("answered") }
}

/// Decides these effects on the n-th command, and takes them in.
fn turn(ledger: &mut Ledger, command: &Command, effects: Vec<Effect>) -> Commit {
    let commit = commit(ledger, command, Decision { effects, ..Decision::default() });
    ledger.apply(&commit).unwrap();
    commit
}

fn numbers(commit: &Commit) -> Vec<u64> {
    let sequences = commit.effects.iter().filter_map(|effect| match effect {
        Effect::Send { sequence, .. } => Some(*sequence),
        _ => None,
    });
    sequences.collect()
}

#[test]
fn messages_are_numbered_per_receiver_without_a_gap() {
    let mut ledger = Ledger::new(key("meter/m-1"));
    let first = turn(&mut ledger, &add(1, 0), vec![send("a/1"), send("a/2"), send("a/1")]);
    assert_eq!(numbers(&first), [1, 1, 2]);
    let second = turn(&mut ledger, &add(2, 0), vec![send("a/1"), send("a/2")]);
    assert_eq!(numbers(&second), [3, 2]);
}

#[test]
fn a_timer_fires_once_and_not_after_it_was_moved() {
    let mut ledger = Ledger::new(key("meter/m-1"));
    turn(&mut ledger, &add(1, 0), vec![timer("t", T0 + 50), timer("later", T0 + 90)]);
    let (due_ms, fired) = ledger.next_timer().unwrap();
    assert_eq!((due_ms, fired.name.as_str()), (T0 + 50, "tick"));
    assert_eq!(ledger.check(&fired, T0), Ok(Known::New));
    turn(&mut ledger, &add(2, 0), vec![timer("t", T0 + 60)]);
    assert_eq!(ledger.check(&fired, T0), Ok(Known::Settled), "it was moved");
    let (_, moved) = ledger.next_timer().unwrap();
    turn(&mut ledger, &moved, Vec::new());
    assert_eq!(ledger.check(&moved, T0), Ok(Known::Settled), "it has fired");
    assert_eq!(ledger.next_timer().unwrap().0, T0 + 90);
    turn(&mut ledger, &add(3, 0), vec![Effect::TimerCancel { name: "later".into() }]);
    assert!(ledger.next_timer().is_none());
}

#[test]
fn a_timer_may_set_itself_again_while_it_fires() {
    let mut ledger = Ledger::new(key("meter/m-1"));
    turn(&mut ledger, &add(1, 0), vec![timer("t", T0 + 50)]);
    let (_, fired) = ledger.next_timer().unwrap();
    turn(&mut ledger, &fired, vec![timer("t", T0 + 100)]);
    assert_eq!(ledger.next_timer().unwrap().0, T0 + 100);
}

#[test]
fn an_answer_is_taken_once_and_only_of_an_own_call() {
    let mut ledger = Ledger::new(key("meter/m-1"));
    let called = turn(&mut ledger, &add(1, 0), vec![Effect::SnapshotNow, call()]);
    let answer = |index| Command {
        reference: CommandRef::Answer { seq: called.seq, index },
        name: "answered".to_owned(),
        body: Bytes::new(),
    };
    assert_eq!(ledger.check(&answer(0), T0), Ok(Known::Settled), "nobody called there");
    assert_eq!(ledger.check(&answer(1), T0), Ok(Known::New));
    turn(&mut ledger, &answer(1), Vec::new());
    assert_eq!(ledger.check(&answer(1), T0), Ok(Known::Settled));
}

#[test]
fn an_actor_that_has_ended_waits_for_nothing() {
    let mut ledger = Ledger::new(key("meter/m-1"));
    turn(&mut ledger, &add(1, 0), vec![timer("t", T0 + 50)]);
    turn(&mut ledger, &add(2, 0), vec![Effect::Stop]);
    assert!(ledger.is_stopped() && ledger.next_timer().is_none());
}

#[test]
fn what_does_not_follow_is_named_and_changes_nothing() {
    let mut ledger = Ledger::new(key("meter/m-1"));
    let first = turn(&mut ledger, &add(1, 0), Vec::new());
    let before = ledger.clone();
    let again = ledger.apply(&first).unwrap_err();
    assert_eq!(again.to_string(), "meter/m-1: commit 1 where 2 is due");
    let next = commit(&ledger, &add(2, 0), Decision::default());
    let other = ledger.apply(&Commit { key: key("meter/m-2"), ..next.clone() }).unwrap_err();
    assert_eq!(other.to_string(), "meter/m-1: a commit of meter/m-2");
    let forged = ledger.apply(&Commit { previous: [9; 8], ..next }).unwrap_err();
    assert_eq!(forged.to_string(), "meter/m-1: commit 2 does not follow from the history before it");
    assert_eq!(ledger, before);
}

#[test]
fn a_decision_over_a_limit_is_refused_with_the_limit() {
    let ledger = Ledger::new(key("meter/m-1"));
    let refused = |effects: Vec<Effect>| {
        let decision = Decision { effects, ..Decision::default() };
        ledger.commit(&add(1, 0), decision, component(), T0).unwrap_err().to_string()
    };
    assert_eq!(
        refused(vec![Effect::SnapshotNow; MAX_EFFECTS + 1]),
        "E_LIMIT: decision refused: too many effects (got 257, expected 256)"
    );
    let long = Effect::TimerCancel { name: "x".repeat(MAX_NAME_BYTES + 1).into() };
    assert!(refused(vec![long]).contains("bytes of one name"));
    let mut full = Ledger::new(key("meter/m-1"));
    for n in 0..4 {
        let timers = (0..256).map(|t| timer(&format!("{n}-{t}"), T0)).collect();
        turn(&mut full, &add(n, 0), timers);
    }
    let decision = Decision { effects: vec![timer("one more", T0)], ..Decision::default() };
    let error = full.commit(&add(9, 0), decision, component(), T0).unwrap_err();
    assert_eq!(error.what, "decision refused: too many timers");
}

#[test]
fn every_part_of_a_commit_is_in_the_hash_of_the_history() {
    let ledger = Ledger::new(key("meter/m-1"));
    let base = commit(&ledger, &add(1, 0), Decision { effects: vec![send("a/1")], ..Decision::default() });
    let hash = base.extend(&Hash::ZERO);
    let changed = [
        Commit { seq: ActorSeq(9), ..base.clone() },
        Commit { command: CommandRef::Id(id(2)), ..base.clone() },
        Commit { reply: Bytes::from_static(b"x"), ..base.clone() },
        Commit { effects: vec![send("a/2")], ..base.clone() },
        Commit { effects: Vec::new(), ..base.clone() },
        Commit { events: vec![crate::fixtures::added(1)], ..base.clone() },
        Commit { hlc: base.hlc.tick(0), ..base.clone() },
    ];
    assert!(changed.iter().all(|commit| commit.extend(&Hash::ZERO) != hash));
    assert_ne!(base.extend(&hash), hash);
}
