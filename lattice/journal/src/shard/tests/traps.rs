//! Commands that trap, and messages of other actors that cannot be carried out: set aside, and settled.

use super::*;

#[test]
fn a_command_that_keeps_trapping_is_set_aside_and_the_actor_lives_on() {
    let mut bench = bench();
    bench.traps = true;
    for token in 1..=4 {
        bench.submit(token, "meter/m-1", add(1, 5));
    }
    let lines = bench.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("decide")).count(), 3);
    assert_eq!(
        lines[6..],
        ["decide 3", "refuse 3: E_TRAP", "quarantine add", "drop meter/m-1", "refuse 4: E_QUARANTINED"]
    );
    bench.traps = false;
    bench.submit(5, "meter/m-1", add(2, 7));
    bench.answer();
    assert_eq!(bench.lines()[2..], ["reply 5: 7", "durable"]);
}

#[test]
fn another_actors_message_that_is_refused_is_settled_so_that_the_next_can_come() {
    let mut bench = bench();
    bench.submit(1, "meter/m-1", sent(1, "never"));
    assert_eq!(bench.lines(), ["decide 1", "append 1"]);
    bench.answer();
    assert_eq!(bench.lines(), ["reply 1: 0, refused E_GUEST", "durable"]);
    bench.submit(2, "meter/m-1", sent(1, "never"));
    bench.submit(3, "meter/m-1", sent(2, "add"));
    bench.answer();
    assert_eq!(bench.lines(), ["reply 2: 0, repeated", "decide 3", "append 1", "reply 3: 5", "durable"]);
}

#[test]
fn another_actors_message_that_keeps_trapping_is_set_aside_and_settled() {
    let mut bench = bench();
    bench.traps = true;
    for token in 1..=3 {
        bench.submit(token, "meter/m-1", sent(1, "add"));
    }
    let lines = bench.lines();
    assert!(lines.contains(&"quarantine add".to_owned()), "{lines:?}");
    bench.submit(4, "meter/m-1", sent(1, "add"));
    bench.traps = false;
    bench.submit(5, "meter/m-1", sent(2, "add"));
    bench.answer();
    bench.answer();
    let lines = bench.lines();
    assert_eq!(
        lines,
        [
            "append 1",
            "reply 4: 0, refused E_QUARANTINED",
            "durable",
            "decide 5",
            "append 1",
            "reply 5: 5",
            "durable"
        ]
    );
    assert!(bench.shard.ledger(&key("meter/m-1")).unwrap().seq() == crate::ActorSeq(2));
}

#[test]
fn after_another_component_came_a_command_that_trapped_is_tried_again() {
    let mut bench = bench();
    bench.traps = true;
    for token in 1..=4 {
        bench.submit(token, "meter/m-1", add(1, 5));
    }
    assert_eq!(bench.lines().last().unwrap(), "refuse 4: E_QUARANTINED");
    bench.traps = false;
    bench.step(Input::Forgive { key: key("meter/m-1") });
    bench.submit(5, "meter/m-1", add(1, 5));
    bench.answer();
    assert_eq!(bench.lines(), ["decide 5", "append 1", "reply 5: 5", "durable"]);
}
