//! Scenarios, readable as documentation; the laws are at the end.

use super::*;
use crate::check::check;
use crate::fixtures::{actor, app, heartbeat, host, labels, lattice, needing, status, words};
use crate::observed::Profile;
use lattice_protocol::heartbeat::{Load, RunState};
use lattice_protocol::manifest::{Resources, Scale, Spread};

mod faults;
mod kept;
mod laws;

/// A lattice with its decisions: plans are checked and carried out.
struct World {
    observed: Observed,
    desired: BTreeMap<AppName, DesiredApp>,
    placements: BTreeMap<AppName, Placement>,
    now_ms: u64,
    allowance: Allowance,
    trials: Trials,
    scaling: Scaling,
}

impl World {
    fn new(observed: Observed, apps: Vec<DesiredApp>) -> Self {
        let desired = apps.into_iter().map(|app| (app.application.name.clone(), app)).collect();
        let (placements, allowance) = (BTreeMap::new(), Allowance::default());
        Self {
            observed,
            desired,
            placements,
            now_ms: 0,
            allowance,
            trials: Trials::default(),
            scaling: Scaling::default(),
        }
    }

    fn input(&self) -> Input<'_> {
        Input {
            desired: self.desired.iter().collect(),
            placements: self.placements.iter().collect(),
            observed: &self.observed,
            now_ms: self.now_ms,
            seed: 7,
            policy: &NoPolicy,
            allowance: self.allowance,
            trials: &self.trials,
            scaling: &self.scaling,
            seen: Origin::default(),
        }
    }

    /// Plans, checks, carries out; the steps in words.
    fn plan(&mut self) -> Vec<String> {
        let input = self.input();
        let plan = plan(&input);
        assert_eq!(check(&input, &plan), [], "{plan:#?}");
        assert_eq!(super::plan(&input), plan, "deterministic");
        for app in &plan.removed {
            self.placements.remove(app);
        }
        self.placements.extend(plan.changed);
        let again = super::plan(&self.input());
        assert_eq!((again.changed, again.removed), (BTreeMap::new(), vec![]), "idempotent");
        plan.explanation.iter().map(ToString::to_string).collect()
    }

    /// The placement of the application `shop` after a plan.
    fn planned(&mut self) -> String {
        self.plan();
        words(&self.placements[&"shop".parse().unwrap()])
    }

    fn unplaced(&self) -> Vec<&str> {
        self.placements
            .values()
            .flat_map(|placement| placement.unplaced.values())
            .map(String::as_str)
            .collect()
    }

    fn actor(&mut self, index: usize) -> &mut ActorManifest {
        let shop = self.desired.get_mut(&"shop".parse().unwrap()).unwrap();
        shop.version += 1;
        &mut shop.application.actors[index]
    }

    /// Only these hosts are heard of at this time.
    fn hear(&mut self, names: &[&str], now_ms: u64) {
        self.now_ms = now_ms;
        for name in names {
            let mut beat = self.observed.view(&host(name), now_ms).unwrap().heartbeat.clone();
            beat.seq += 1;
            self.observed.apply(beat, now_ms);
        }
    }
}

const THREE: &[(&str, &[(&str, &str)])] = &[("A", &[]), ("B", &[]), ("C", &[])];

fn shop(scale: Scale) -> World {
    World::new(lattice(THREE), vec![app("shop", vec![actor("web", scale)])])
}

#[test]
fn seed_004s_example_goes_to_its_region() {
    let mut observed = Observed::new(Profile::EDGE, 0);
    for (name, region, cpu, cpu_used, memory, memory_used, actors) in [
        ("edge-ap-east-1", "ap-east-1", 4_000, 1_200, 2_048, 800, 5),
        ("edge-ap-southeast-1", "ap-southeast-1", 2_000, 500, 1_024, 300, 2),
        ("edge-us-west-1", "us-west-1", 4_000, 3_800, 2_048, 1_900, 15),
    ] {
        let mut beat = heartbeat(name, "b1", 1);
        beat.labels = labels(&[("region", region)]);
        beat.load = Load {
            cpu_millis: cpu,
            cpu_used_millis: cpu_used,
            memory_mib: memory,
            memory_used_mib: memory_used,
        };
        beat.actors = (0..actors).map(|n| status(&format!("other/a{n}"), RunState::Running, None)).collect();
        observed.apply(beat, 0);
    }
    let mut task = actor("task-sensor-001", Scale::Replicas(1));
    task.placement.resources = needing(500, 256);
    task.placement.preferred_region = Some("ap-east-1".into());
    task.placement.priority = 5;
    let mut world = World::new(observed, vec![app("shop", vec![task])]);
    assert_eq!(
        world.plan(),
        ["Scheduled shop/task-sensor-001 -> edge-ap-east-1 (cpu: 1200/4000, mem: 800/2048)"]
    );

    // Without a wish the least loaded that has room: 25 % + 29 % + 2 actors.
    world.placements.clear();
    world.actor(0).placement.preferred_region = None;
    assert_eq!(world.planned(), "task-sensor-001: edge-ap-southeast-1=1");
    // With a region that has none free, the best of the others, not the first.
    world.placements.clear();
    world.actor(0).placement.preferred_region = Some("us-west-1".into());
    assert_eq!(world.planned(), "task-sensor-001: edge-ap-southeast-1=1");
}

#[test]
fn replicas_spread_and_packing_fills_up() {
    assert_eq!(shop(Scale::Replicas(3)).planned(), "web: A=1 B=1 C=1");
    assert_eq!(shop(Scale::Replicas(6)).planned(), "web: A=2 B=2 C=2");
    let mut world = shop(Scale::Replicas(6));
    world.actor(0).placement.pack = true;
    world.actor(0).placement.resources = needing(1_000, 0);
    let planned = world.planned();
    let mut counts: Vec<&str> =
        planned.split(['=', ' ']).filter(|part| part.parse::<u32>().is_ok()).collect();
    counts.sort_unstable();
    assert_eq!(counts, ["2", "4"], "{planned}");
}

#[test]
fn scaling_moves_nothing_that_may_stay() {
    let mut world = shop(Scale::Replicas(2));
    let before = world.planned();
    world.actor(0).scale = Scale::Replicas(3);
    assert_eq!(world.planned(), "web: A=1 B=1 C=1");
    world.actor(0).scale = Scale::Replicas(5);
    world.planned();
    world.actor(0).scale = Scale::Replicas(3);
    assert_eq!(world.planned(), "web: A=1 B=1 C=1", "surplus goes first from where there is most");
    world.actor(0).scale = Scale::Replicas(0);
    assert_eq!(world.planned(), "");
    assert_eq!(shop(Scale::Replicas(2)).planned(), before, "ties break alike");
}

#[test]
fn a_daemon_runs_once_on_every_host_that_matches() {
    let mut world = shop(Scale::Daemon);
    assert_eq!(world.planned(), "web: A=1 B=1 C=1");
    world.observed.apply(heartbeat("D", "b1", 1), 0);
    assert_eq!(world.planned(), "web: A=1 B=1 C=1 D=1");
    world.hear(&["A", "B", "C"], 40_000);
    assert_eq!(world.planned(), "web: A=1 B=1 C=1 D=1", "a host that is away keeps its own");
}

#[test]
fn requirements_and_explicit_hosts_confine() {
    let hosts: &[(&str, &[(&str, &str)])] =
        &[("A", &[("tier", "cloud")]), ("B", &[("tier", "edge")]), ("C", &[("tier", "edge")])];
    let mut web = actor("web", Scale::Replicas(4));
    web.placement.requirements = labels(&[("tier", "edge")]);
    let mut world = World::new(lattice(hosts), vec![app("shop", vec![web])]);
    assert_eq!(world.planned(), "web: B=2 C=2");
    world.actor(0).placement.hosts = vec![host("A"), host("C")];
    assert_eq!(world.planned(), "web: C=4");
    assert!(world.unplaced().is_empty());
}

#[test]
fn weights_divide_over_labelled_groups() {
    let hosts: &[(&str, &[(&str, &str)])] =
        &[("A", &[("region", "east")]), ("B", &[("region", "east")]), ("C", &[("region", "west")])];
    let share = |region: &str, weight| Spread {
        name: region.into(),
        requirements: labels(&[("region", region)]),
        weight,
    };
    let mut web = actor("web", Scale::Replicas(10));
    web.placement.spread = vec![share("east", 80), share("west", 20)];
    let mut world = World::new(lattice(hosts), vec![app("shop", vec![web])]);
    assert_eq!(world.planned(), "web: A=4 B=4 C=2");
    world.actor(0).placement.spread = vec![share("east", 50), share("west", 50)];
    let planned = world.planned();
    assert!(planned.ends_with("C=5"), "{planned}");
    world.actor(0).placement.spread = vec![share("east", 50), share("north", 50)];
    world.planned();
    assert_eq!(world.unplaced(), ["insufficient resources: 0 hosts match region=north"]);
}

#[test]
fn the_reasons_for_not_placing_are_the_seeds_words() {
    let mut world = shop(Scale::Replicas(1));
    world.actor(0).placement.hosts = vec![host("NEDGE03")];
    world.planned();
    assert_eq!(world.unplaced(), ["host not found: NEDGE03"]);

    let mut world = shop(Scale::Replicas(1));
    world.actor(0).placement.requirements = labels(&[("region", "x")]);
    assert_eq!(world.plan(), ["Not placed: shop/web: insufficient resources: 0 hosts match region=x"]);
    assert!(world.plan().is_empty(), "said once");

    let mut world = shop(Scale::Replicas(3));
    world.actor(0).placement.resources = needing(3_000, 0);
    world.actor(0).scale = Scale::Replicas(5);
    assert_eq!(world.planned(), "web: A=1 B=1 C=1");
    assert_eq!(
        world.unplaced(),
        [
            "insufficient resources: 2 replicas not placed, no matching host has 3000 millicores and 0 MiB free"
        ]
    );

    let mut world = shop(Scale::Replicas(1));
    world.desired.values_mut().for_each(|app| app.artifacts.clear());
    world.planned();
    assert_eq!(world.unplaced(), ["artifact not found: ./web.wasm"]);
}

#[test]
fn what_one_actor_is_given_the_next_does_not_get() {
    let mut world = World::new(
        lattice(&[("A", &[])]),
        vec![app("shop", vec![actor("low", Scale::Replicas(1)), actor("high", Scale::Replicas(1))])],
    );
    world.actor(0).placement.resources = needing(0, 1_500);
    world.actor(1).placement.resources = needing(0, 1_500);
    world.actor(1).placement.priority = 9;
    assert_eq!(world.planned(), "high: A=1", "the more important first");
}

#[test]
fn a_host_that_reports_nonsense_gets_nothing() {
    let mut world = shop(Scale::Replicas(2));
    let mut beat = heartbeat("A", "b1", 2);
    beat.load.memory_used_mib = u32::MAX;
    world.observed.apply(beat, 0);
    assert_eq!(world.planned(), "web: B=1 C=1");
}

#[test]
fn undeployed_and_deleted_applications_leave() {
    let mut world = shop(Scale::Replicas(3));
    world.planned();
    world.desired.values_mut().for_each(|app| app.deployed = false);
    assert_eq!(world.plan().len(), 3, "each release is said");
    assert!(world.placements.values().all(|placement| placement.actors.is_empty()));
    world.desired.clear();
    world.plan();
    assert!(world.placements.is_empty());
}

#[test]
fn a_change_of_links_alone_is_a_new_decision() {
    let mut world = shop(Scale::Replicas(3));
    world.planned();
    world.actor(0).config.insert("threshold".into(), "85".into());
    let changed = plan(&world.input()).changed;
    assert_eq!(changed[&"shop".parse().unwrap()].desired_version, 2);
}

#[test]
fn usage_that_includes_our_own_replicas_is_not_counted_twice() {
    let mut world =
        World::new(lattice(&[("A", &[])]), vec![app("shop", vec![actor("web", Scale::Replicas(2))])]);
    world.actor(0).placement.resources = Resources { cpu_millis: 1_500, memory_mib: 0 };
    assert_eq!(world.planned(), "web: A=2");
    let mut beat = heartbeat("A", "b1", 2);
    beat.load.cpu_used_millis = 3_000;
    let mut running = status("shop/web", RunState::Running, None);
    running.replicas = 2;
    beat.actors = vec![running];
    world.observed.apply(beat, 0);
    let mut api = actor("api", Scale::Replicas(1));
    api.placement.resources = needing(1_000, 0);
    let blog = app("blog", vec![api]);
    world.desired.insert(blog.application.name.clone(), blog);
    world.planned();
    assert!(world.unplaced().is_empty(), "{:?}", world.unplaced());
}
