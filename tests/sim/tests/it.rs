//! Worlds in CI: as many as fit a minute in the test profile; `cargo xtask sim` runs more.

use tests_harness::sizes;
use tests_sim::{Sizes, run, scale};

fn small() -> Sizes {
    Sizes { hosts: 5, actors: 6, verbose: false }
}

#[test]
fn every_law_holds_in_every_world() {
    let mut faults = std::collections::BTreeMap::new();
    for seed in 0..sizes::pick(60, 10_000) {
        let outcome = run(seed, &small());
        let outcome = outcome.unwrap_or_else(|failure| {
            panic!("{failure}\nagain: cargo xtask sim --hosts 5 --actors 6 --seed {seed} --seeds 1")
        });
        outcome.faults.into_iter().for_each(|(kind, count)| *faults.entry(kind).or_insert(0) += count);
    }
    for kind in [
        "host crash",
        "controller crash",
        "partition",
        "blackout",
        "loss and duplication",
        "delay and reordering",
        "clock jump",
        "old spec",
        "edit",
        "version rolled back",
        "rollout ended",
    ] {
        assert!(
            faults.get(kind).is_some_and(|count| *count >= 10),
            "{kind} hardly ever happened: {faults:?}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_does_not() {
    let trace =
        |seed| run(seed, &small()).map(|outcome| outcome.trace).map_err(|failure| failure.to_string());
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

#[test]
fn a_large_lattice_is_planned_and_every_plan_passes_its_check() {
    let figures = scale::measure(200, 4_000).unwrap();
    let steps: Vec<(&str, usize)> = figures.iter().map(|figure| (figure.what, figure.steps)).collect();
    assert_eq!(
        steps.get(..4),
        Some(
            &[
                ("plan from scratch", 4_000),
                ("host specs", 200),
                ("plan, nothing has changed", 0),
                ("plan, one application has changed", 100),
            ][..]
        )
    );
    // Twenty were on the host that is lost; each goes somewhere else.
    assert!(figures.last().is_some_and(|figure| figure.steps >= 20), "{figures:?}");
}
