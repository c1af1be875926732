//! Hosts that are lost, leave, refuse, or of which there are two.

use super::*;

#[test]
fn what_ran_on_a_lost_host_moves_to_the_healthy_with_the_least() {
    let mut world = shop(Scale::Replicas(3));
    world.planned();
    world.hear(&["A", "B"], 20_000);
    assert_eq!(world.planned(), "web: A=1 B=1 C=1", "late is not lost");
    world.hear(&["A", "B"], 40_000);
    let steps = world.plan();
    assert!(steps[0].starts_with("Failover: C -> "), "{steps:?}");
    assert!(steps[0].ends_with("(1 actors)"), "{steps:?}");
    let now = words(&world.placements[&"shop".parse().unwrap()]);
    assert!(now == "web: A=2 B=1" || now == "web: A=1 B=2", "{now}");
    world.hear(&["A", "B", "C"], 45_000);
    assert_eq!(world.planned(), now, "its return moves nothing");
}

#[test]
fn failover_checks_the_target_and_holds_what_has_none() {
    let mut world = shop(Scale::Replicas(3));
    world.actor(0).placement.resources = needing(2_500, 0);
    assert_eq!(world.planned(), "web: A=1 B=1 C=1");
    world.hear(&["A", "B"], 40_000);
    assert_eq!(world.planned(), "web: A=1 B=1 C=1", "no target has room: it may come back");
    assert_eq!(world.unplaced(), ["failover failed: no healthy target"]);
    world.hear(&["A", "B", "C"], 45_000);
    assert_eq!(world.planned(), "web: A=1 B=1 C=1");
    assert!(world.unplaced().is_empty());
}

#[test]
fn who_can_go_nowhere_does_not_wait_for_its_turn() {
    let mut world = World::new(
        lattice(THREE),
        vec![app("shop", vec![actor("bound", Scale::Replicas(2)), actor("free", Scale::Replicas(1))])],
    );
    world.actor(0).placement.hosts = vec![host("A")];
    world.actor(0).placement.priority = 9;
    world.actor(1).placement.hosts = vec![host("A"), host("B")];
    world.plan();
    world.placements.values_mut().for_each(|placement| {
        let places = |count| [(host("A"), count)].into();
        placement.actors = BTreeMap::from([
            ("shop/bound".parse().unwrap(), places(2)),
            ("shop/free".parse().unwrap(), places(1)),
        ]);
    });
    world.hear(&["B", "C"], 40_000);
    world.allowance.failovers = 1;
    assert_eq!(world.planned(), "bound: A=2; free: B=1");
    assert_eq!(world.unplaced(), ["failover failed: no healthy target"]);
}

#[test]
fn a_kind_whose_state_is_on_its_host_waits_for_that_host() {
    let mut world = shop(Scale::Replicas(1));
    world.actor(0).persistent = Some(Box::default());
    let before = world.planned();
    let left: Vec<&str> = ["A", "B", "C"].into_iter().filter(|name| !before.contains(name)).collect();
    assert_eq!(left.len(), 2, "{before}");
    world.hear(&left, 40_000);
    assert_eq!(world.planned(), before, "a failover would lose its history");
    world.actor(0).persistent = None;
    assert_ne!(world.planned(), before, "a stateless one moves");
}

#[test]
fn all_hosts_lost_is_said_and_changes_nothing() {
    let mut world = shop(Scale::Replicas(3));
    world.planned();
    world.now_ms = 40_000;
    assert_eq!(world.planned(), "web: A=1 B=1 C=1");
    assert_eq!(world.unplaced(), ["failover failed: no healthy target"]);
}

#[test]
fn a_controller_that_has_just_started_moves_nothing() {
    let mut world = shop(Scale::Replicas(3));
    let before = world.planned();
    world.observed = Observed::new(Profile::EDGE, 1_000_000);
    world.now_ms = 1_000_000;
    assert_eq!(world.planned(), before);
    world.observed.apply(heartbeat("A", "b1", 50), 1_001_000);
    world.now_ms = 1_001_000;
    assert_eq!(world.planned(), before, "the others have not had their time yet");
    world.observed.apply(heartbeat("A", "b1", 60), 1_031_000);
    world.now_ms = 1_031_000;
    assert_eq!(world.planned(), "web: A=3");
}

#[test]
fn a_host_that_leaves_is_left_first() {
    let mut world = shop(Scale::Replicas(3));
    world.planned();
    let mut beat = heartbeat("B", "b1", 2);
    beat.leaving = true;
    world.observed.apply(beat, 0);
    let planned = world.planned();
    assert!(!planned.contains('B'), "{planned}");
}

#[test]
fn a_refusal_of_a_host_is_planned_around() {
    let mut world = shop(Scale::Replicas(3));
    world.planned();
    let mut beat = heartbeat("B", "b1", 2);
    beat.actors = vec![status("shop/web", RunState::Failed, Some("E_INSUFFICIENT_RESOURCES: memory"))];
    world.observed.apply(beat, 0);
    let planned = world.planned();
    assert!(!planned.contains('B'), "{planned}");
}

#[test]
fn a_daemon_that_a_host_refuses_is_not_forgotten() {
    let mut world = shop(Scale::Daemon);
    world.planned();
    let mut beat = heartbeat("B", "b1", 2);
    beat.actors = vec![status("shop/web", RunState::Failed, Some("insufficient resources"))];
    world.observed.apply(beat, 0);
    assert_eq!(world.planned(), "web: A=1 C=1");
    assert_eq!(
        world.unplaced(),
        [
            "insufficient resources: 1 replicas not placed, no matching host has 0 millicores and 0 MiB free; B said so"
        ]
    );
}

#[test]
fn a_disputed_host_keeps_what_it_has_and_gets_nothing_new() {
    let mut world = shop(Scale::Replicas(3));
    world.planned();
    for round in 1..4 {
        world.observed.apply(heartbeat("B", "clone", round), 0);
        world.observed.apply(heartbeat("B", "b1", round + 1), 0);
    }
    world.actor(0).scale = Scale::Replicas(6);
    let planned = world.planned();
    assert!(planned.contains("B=1"), "{planned}");
}
