//! What becomes of turns when an append is unknown, or the owner is no owner any more.

use super::*;

#[test]
fn an_unknown_outcome_is_found_out_and_answered_once() {
    let mut bench = bench();
    bench.submit(1, "meter/m-1", add(1, 5));
    let (attempt, expected, sealed) = bench.appends.remove(0);
    bench.log.append(expected, sealed.bytes());
    bench.step(Input::Appended { attempt, outcome: AppendOutcome::Unknown });
    bench.step(Input::Appended { attempt, outcome: AppendOutcome::Stored(Position(2)) });
    assert_eq!(bench.lines(), ["decide 1", "append 1", "reply 1: 5", "durable"]);
}

#[test]
fn a_new_owner_in_the_log_fences_everything_that_waits() {
    let mut bench = bench();
    bench.submit(1, "meter/m-1", add(1, 5));
    bench.submit(2, "meter/m-2", add(2, 5));
    bench.submit(3, "meter/m-2", add(3, 5));
    let (chain, _) = opened();
    bench.log.force(chain.opening(Epoch(2), session("B")).seal().unwrap().bytes());
    bench.lines();
    bench.answer();
    assert_eq!(
        bench.lines(),
        ["refuse 1: E_FENCED", "refuse 2: E_FENCED", "refuse 3: E_FENCED", "stopped: E_FENCED"]
    );
    bench.submit(4, "meter/m-1", add(4, 5));
    assert_eq!(bench.lines(), ["refuse 4: E_FENCED"]);
    assert_eq!(bench.log.valid().len(), 2);
}

#[test]
fn the_end_of_the_lease_stops_it_and_nothing_certain_is_said_of_what_was_sent() {
    let mut bench = bench();
    bench.shard =
        Shard::new(ShardPolicy::default(), bench.shard.tail().clone(), OutboxPosition::default(), 100);
    bench.step(Input::Lease { until_ms: 200 });
    bench.submit(1, "meter/m-1", add(1, 5));
    bench.submit(2, "meter/m-2", add(2, 5));
    bench.lines();
    bench.step_at(Input::Tick, 199);
    assert!(bench.lines().is_empty());
    bench.step_at(Input::Tick, 200);
    assert_eq!(bench.lines(), ["refuse 1: E_OUTCOME_UNKNOWN", "refuse 2: E_FENCED", "stopped: E_FENCED"]);
}

#[test]
fn a_record_known_to_be_valid_is_answered_after_the_lease_but_starts_nothing() {
    let mut bench = bench();
    bench.shard =
        Shard::new(ShardPolicy::default(), bench.shard.tail().clone(), OutboxPosition::default(), 100);
    bench.submit(1, "meter/m-1", add(1, 5));
    bench.submit(2, "meter/m-1", add(2, 5));
    bench.lines();
    let (attempt, expected, sealed) = bench.appends.remove(0);
    let outcome = bench.log.append(expected, sealed.bytes());
    bench.step_at(Input::Appended { attempt, outcome }, 100);
    assert_eq!(bench.lines(), ["reply 1: 5", "refuse 2: E_FENCED", "stopped: E_FENCED"]);
}
