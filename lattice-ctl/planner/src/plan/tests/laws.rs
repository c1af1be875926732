//! Laws over any lattice: the checker finds nothing, a second plan changes nothing, nothing moves
//! without a reason, and what can be placed is placed.

use super::*;
use lattice_protocol::{Durability, Persistent};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct AnyHost {
    region: u8,
    cpu_used: u32,
    heard_ms: u64,
    leaving: bool,
}

#[derive(Debug, Clone)]
pub(super) struct AnyActor {
    scale: Scale,
    cpu: u32,
    region: Option<u8>,
    preferred: Option<u8>,
    hosts: Vec<u8>,
    spread: Vec<(u8, u32)>,
    pack: bool,
    priority: u8,
    kind: bool,
}

fn any_host() -> impl Strategy<Value = AnyHost> {
    (0u8..3, 0u32..5_000, prop_oneof![Just(40_000u64), Just(20_000), Just(0)], proptest::bool::weighted(0.1))
        .prop_map(|(region, cpu_used, heard_ms, leaving)| AnyHost { region, cpu_used, heard_ms, leaving })
}

pub(super) fn any_actor() -> impl Strategy<Value = AnyActor> {
    let scale = prop_oneof![(0u32..9).prop_map(Scale::Replicas), Just(Scale::Daemon)];
    let region = || proptest::option::of(0u8..3);
    let hosts = proptest::collection::vec(0u8..8, 0..3);
    let spread = proptest::collection::vec((0u8..3, 1u32..10), 0..3);
    let flags = (any::<bool>(), any::<bool>());
    (scale, 0u32..2_500, region(), region(), hosts, spread, flags, any::<u8>()).prop_map(
        |(scale, cpu, region, preferred, hosts, spread, (pack, kind), priority)| AnyActor {
            scale,
            cpu,
            region,
            preferred,
            hosts,
            spread,
            pack,
            priority,
            kind,
        },
    )
}

fn region(number: u8) -> BTreeMap<String, String> {
    labels(&[("region", &number.to_string())])
}

fn observed(hosts: &[AnyHost]) -> Observed {
    let mut observed = Observed::new(Profile::EDGE, 0);
    for (index, any) in hosts.iter().enumerate() {
        let mut beat = heartbeat(&format!("H{index}"), "b1", 1);
        beat.labels = region(any.region);
        beat.load.cpu_used_millis = any.cpu_used;
        beat.leaving = any.leaving;
        observed.apply(beat, any.heard_ms);
    }
    observed
}

fn desired(actors: &[AnyActor]) -> DesiredApp {
    app("shop", manifests(actors))
}

pub(super) fn manifests(actors: &[AnyActor]) -> Vec<ActorManifest> {
    let manifests = actors.iter().enumerate().map(|(index, any)| {
        let mut manifest = actor(&format!("a{index}"), any.scale);
        let rule = &mut manifest.placement;
        rule.resources = needing(any.cpu, 0);
        rule.requirements = any.region.map(region).unwrap_or_default();
        rule.preferred_region = any.preferred.map(|number| number.to_string());
        rule.hosts = any.hosts.iter().map(|number| host(&format!("H{number}"))).collect();
        rule.spread = any
            .spread
            .iter()
            .map(|(number, weight)| Spread {
                name: String::new(),
                requirements: region(*number),
                weight: *weight,
            })
            .collect();
        rule.pack = any.pack;
        rule.priority = any.priority;
        manifest.persistent = any
            .kind
            .then(|| Box::new(Persistent { durability: Durability::Lattice, ..Persistent::default() }));
        manifest
    });
    manifests.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// One world after another, each planned from the decisions of the one before.
    #[test]
    fn every_plan_is_sound_and_final(
        worlds in proptest::collection::vec(
            (proptest::collection::vec(any_host(), 0..7), proptest::collection::vec(any_actor(), 0..4)),
            1..4,
        ),
    ) {
        let mut world = World::new(observed(&[]), vec![]);
        for (hosts, actors) in &worlds {
            let next = World::new(observed(hosts), vec![desired(actors)]);
            (world.observed, world.desired, world.now_ms) = (next.observed, next.desired, 40_000);
            world.plan();
        }
    }

    /// Nothing leaves a host that is well while the rule and the number stay the same.
    #[test]
    fn nothing_moves_without_a_reason(
        hosts in proptest::collection::vec(any_host(), 1..7),
        actors in proptest::collection::vec(any_actor(), 1..4),
        newcomer in any_host(),
    ) {
        let mut world = World::new(observed(&hosts), vec![desired(&actors)]);
        world.now_ms = 40_000;
        world.plan();
        let before = world.placements.clone();
        let mut more = hosts.clone();
        more.push(newcomer);
        world.observed = observed(&more);
        world.plan();
        for (id, places) in before.values().flat_map(|placement| &placement.actors) {
            for (host, count) in places {
                let now = world.placements[&id.app].actors.get(id).and_then(|places| places.get(host));
                let lost = world.observed.judge(host, 40_000) == lattice_protocol::desired::Verdict::Lost;
                prop_assert!(lost || now >= Some(count), "{id} left {host}");
            }
        }
    }

    /// With enough room everywhere every replica of an unconfined actor is placed, and evenly.
    #[test]
    fn what_can_be_placed_is_placed_evenly(hosts in 1usize..9, replicas in 0u32..60, seed in any::<u64>()) {
        let alive = AnyHost { region: 0, cpu_used: 0, heard_ms: 40_000, leaving: false };
        let mut world = World::new(observed(&vec![alive; hosts]), vec![app("shop", vec![actor("web", Scale::Replicas(replicas))])]);
        world.now_ms = 40_000;
        let mut input = world.input();
        input.seed = seed;
        let plan = plan(&input);
        let placement = &plan.changed[&"shop".parse().unwrap()];
        let counts: Vec<u32> = placement.actors.values().flat_map(lattice_protocol::Places::values).copied().collect();
        prop_assert_eq!(counts.iter().sum::<u32>(), replicas);
        let least = replicas / u32::try_from(hosts).unwrap();
        prop_assert!(counts.iter().all(|count| (least..=least + 1).contains(count)), "{:?}", counts);
    }
}

/// Replicas that steps of one kind say they moved.
fn moved(plan: &Plan) -> u32 {
    let count = |step: &Step| match step {
        Step::Rebalanced { replicas, .. } => *replicas,
        _ => 0,
    };
    plan.explanation.iter().map(count).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Rebalancing keeps to its allowance, ends, and what it leaves is final.
    #[test]
    fn rebalancing_is_bounded_and_ends(
        hosts in proptest::collection::vec(any_host(), 1..7),
        actors in proptest::collection::vec(any_actor(), 1..6),
        newcomers in proptest::collection::vec(any_host(), 1..3),
    ) {
        let mut world = World::new(observed(&hosts), vec![desired(&actors)]);
        world.now_ms = 40_000;
        world.plan();
        let more: Vec<AnyHost> = hosts.iter().chain(&newcomers).cloned().collect();
        world.observed = observed(&more);
        world.plan();
        let mut rounds = 0;
        loop {
            (world.allowance.moves, world.allowance.parts) = (2, 3);
            let input = world.input();
            let plan = plan(&input);
            prop_assert_eq!(check(&input, &plan), []);
            let moves = moved(&plan);
            prop_assert!(plan.moved.moves <= 2 && plan.moved.parts <= 3);
            prop_assert_eq!(moves, plan.moved.moves + plan.moved.parts);
            world.placements.extend(plan.changed);
            if moves == 0 {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 100, "it does not end");
        }
        (world.allowance.moves, world.allowance.parts) = (0, 0);
        world.plan();
    }

    /// Only the less important give way, and each makes room for one who is placed there.
    #[test]
    fn nobody_gives_way_in_vain_or_to_an_equal(
        hosts in proptest::collection::vec(any_host(), 1..5),
        first in proptest::collection::vec(any_actor(), 1..5),
        then in proptest::collection::vec(any_actor(), 1..3),
        evictions in 0u32..4,
    ) {
        let mut world = World::new(observed(&hosts), vec![desired(&first)]);
        world.now_ms = 40_000;
        world.plan();
        let all: Vec<AnyActor> = first.iter().chain(&then).cloned().collect();
        world.desired = World::new(observed(&[]), vec![desired(&all)]).desired;
        world.allowance.evictions = evictions;
        let input = world.input();
        let plan = plan(&input);
        prop_assert_eq!(check(&input, &plan), []);
        let priority = |id: &ActorId| {
            let app = &world.desired[&id.app].application;
            app.actor(&id.name).map(|actor| actor.placement.priority)
        };
        let mut evicted = 0;
        for step in &plan.explanation {
            let Step::Preempted { actor, host, replicas, by } = step else { continue };
            evicted += replicas;
            prop_assert!(priority(actor) < priority(by));
            let placement = &plan.changed[&by.app];
            let before = world.placements[&by.app].actors.get(by).and_then(|hosts| hosts.get(host));
            prop_assert!(placement.actors[by].get(host) > before, "{by} got nothing on {host}");
        }
        prop_assert!(evicted <= evictions);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Fail-overs keep to their allowance, what waits stays where it was, and nobody less important
    /// goes while somebody more important waits.
    #[test]
    fn failovers_are_bounded_and_the_important_go_first(
        hosts in proptest::collection::vec(any_host(), 2..7),
        actors in proptest::collection::vec(any_actor(), 1..6),
        lost in proptest::collection::vec(any::<bool>(), 7),
        allowed in 0u32..6,
    ) {
        let well: Vec<AnyHost> =
            hosts.iter().map(|host| AnyHost { heard_ms: 40_000, leaving: false, ..host.clone() }).collect();
        let mut world = World::new(observed(&well), vec![desired(&actors)]);
        world.now_ms = 40_000;
        world.allowance.evictions = 0;
        world.plan();
        let silent = well.iter().zip(&lost).map(|(host, lost)| AnyHost {
            heard_ms: if *lost { 0 } else { 40_000 },
            ..host.clone()
        });
        world.observed = observed(&silent.collect::<Vec<_>>());
        world.allowance.failovers = allowed;
        let input = world.input();
        let plan = plan(&input);
        prop_assert_eq!(check(&input, &plan), []);
        prop_assert!(plan.moved.failovers <= allowed);
        let Some(placement) = plan.changed.get(&"shop".parse::<AppName>().unwrap()) else { return Ok(()) };
        let priority = |id: &ActorId| {
            let app = &world.desired[&id.app].application;
            app.actor(&id.name).map(|actor| actor.placement.priority)
        };
        let waits = |(_, why): &(&ActorId, &String)| why.contains("waits its turn");
        let waiting = placement.unplaced.iter().filter(waits).filter_map(|(id, _)| priority(id)).max();
        for step in &plan.explanation {
            let Step::Failover { actors, .. } = step else { continue };
            for actor in actors {
                prop_assert!(priority(actor) >= waiting, "{actor} went before somebody more important");
            }
        }
    }
}
