//! A few worlds, with every check of the test profile; `cargo xtask test` and `cargo xtask sim` run ten
//! thousand, optimised.

use lattice_ctl_planner::observed::Profile;
use tests_harness::sizes;
use tests_sim::{Noise, Sizes, run, run_all, scale, steady};

fn small() -> Sizes {
    Sizes { hosts: 5, actors: 6, verbose: false }
}

#[test]
fn every_law_holds_in_every_world() {
    // One thread: nextest runs other tests beside this one.
    let all = run_all(0..60, &small(), 1);
    let faults = all
        .unwrap_or_else(|failure| {
            let seed = failure.seed;
            panic!("{failure}\nagain: cargo xtask sim --hosts 5 --actors 6 --seed {seed} --seeds 1")
        })
        .faults;
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
    assert_eq!(run_all(0..6, &small(), 3), run_all(0..6, &small(), 1), "and threads change nothing");
}

#[test]
fn a_large_lattice_is_planned_and_every_plan_passes_its_check() {
    let figures = scale::measure(200, 4_000).unwrap();
    let steps = |what: &str| {
        let found = figures.times.iter().find(|figure| figure.what == what);
        found.map(|figure| figure.steps).unwrap_or_else(|| panic!("no {what}: {figures:?}"))
    };
    assert_eq!(steps(scale::FROM_NOTHING), 4_000);
    assert_eq!(steps("specs of all hosts"), 200);
    assert_eq!(steps("plan, every decision has come into force"), 0);
    assert_eq!(steps("plan, all hosts were heard"), 0);
    assert_eq!(steps("plan, one application has changed"), 100);
    // Twenty were on the host that is lost; each goes somewhere else.
    assert!(steps(scale::HOST_LOST) >= 20, "{figures:?}");
}

/// P6: ten minutes each.
#[test]
fn whoever_is_only_late_is_not_lost() {
    const FOR_MS: u64 = 600_000;
    let far = |profile| Noise { profile, round_trip_ms: 500, lost: 20, freeze_ms: 1_000, for_ms: FOR_MS };
    let near = Noise { profile: Profile::FAST, round_trip_ms: 50, lost: 0, freeze_ms: 300, for_ms: FOR_MS };
    for (name, noise) in [("wan", far(Profile::WAN)), ("edge", far(Profile::EDGE)), ("fast", near)] {
        for seed in 0..sizes::pick(3, 100) {
            let moved = steady(seed, &small(), &noise);
            assert_eq!(moved.unwrap_or_else(|failure| panic!("{failure}")), 0, "{name}, seed {seed}");
        }
    }
    // The measure is one: hosts that stand still for too long are lost, and what they have moves.
    let too_long = Noise { freeze_ms: 2_500, ..near };
    assert!(steady(0, &small(), &too_long).unwrap() > 0);
}
