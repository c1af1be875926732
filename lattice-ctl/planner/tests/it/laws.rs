//! Laws of rollouts over any history: whatever people, hosts and versions do. Every plan on the way
//! is checked, is deterministic, and leaves nothing to do (the world sees to that).

use crate::world::World;
use lattice_protocol::HostId;
use lattice_protocol::desired::Placement;
use proptest::prelude::*;
use std::collections::BTreeMap;

const STRATEGIES: [&str; 6] = [
    "{ strategy: rolling, gate: { windowMs: 3000 } }",
    "{ strategy: rolling, maxUnavailable: 2, gate: { windowMs: 2000 } }",
    "{ strategy: rolling, maxUnavailable: 0, maxSurge: 2, gate: { windowMs: 2000 } }",
    "{ strategy: canary, gate: { windowMs: 3000 } }",
    "{ strategy: canary, waves: [5, 20, 60, 90], gate: { windowMs: 1000 } }",
    "{ strategy: blue-green, gate: { windowMs: 2000 } }",
];
/// Version 0 is always well; every third crashes, every third is refused.
const VERSIONS: u8 = 7;

fn is_bad(version: u8) -> bool {
    !version.is_multiple_of(3)
}

#[derive(Debug, Clone)]
enum Happens {
    Go(u8),
    Put { version: u8, replicas: u8 },
    Silent(u8),
    Heard(u8),
    Restart(u8),
    Order(&'static str),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (1u8..12).prop_map(Happens::Go),
        3 => (0..VERSIONS, 1u8..8).prop_map(|(version, replicas)| Happens::Put { version, replicas }),
        1 => (0u8..5).prop_map(Happens::Silent),
        2 => (0u8..5).prop_map(Happens::Heard),
        1 => (0u8..5).prop_map(Happens::Restart),
        2 => prop::sample::select(vec!["pause shop", "resume shop", "rollback shop", "finalise shop"]).prop_map(Happens::Order),
    ]
}

struct Shop {
    world: World,
    version: u8,
}

impl Shop {
    fn new(strategy: usize, hosts: u8) -> Self {
        let mut world = World::default();
        world.run("profile wan");
        world.run("runs");
        for host in 0..hosts {
            world.run(&format!("host H{host}"));
        }
        for version in (0..VERSIONS).filter(|version| is_bad(*version)) {
            let nature = if version % 3 == 1 { "crashes" } else { "refuses" };
            world.run(&format!("version web{version} {nature}"));
        }
        world.run(&format!("rollout shop {}", STRATEGIES[strategy]));
        let mut shop = Self { world, version: 0 };
        shop.put(0, 4);
        shop.world.run("plan");
        shop.world.run("go 2s");
        shop
    }

    fn put(&mut self, version: u8, replicas: u8) {
        self.version = version;
        self.world
            .run(&format!("actor shop {{ name: web, artifact: web{version}.wasm, replicas: {replicas} }}"));
    }

    fn placement(&self) -> &Placement {
        self.world.placement("shop")
    }

    /// Components that hosts were told to run.
    fn told(&self) -> BTreeMap<HostId, String> {
        self.world.told("shop/web")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A version that does not work is never final, and at most two are on hosts at a time; when
    /// peace comes, what is desired comes into force.
    #[test]
    fn a_bad_version_is_never_final_and_a_good_one_always_is(
        strategy in 0..STRATEGIES.len(),
        hosts in 1u8..6,
        story in prop::collection::vec(happens(), 1..14),
    ) {
        let mut shop = Shop::new(strategy, hosts);
        for happens in story {
            let host = |number: u8| format!("H{}", number % hosts);
            match happens {
                Happens::Go(seconds) => drop(shop.world.run(&format!("go {seconds}s"))),
                Happens::Put { version, replicas } => shop.put(version, replicas),
                Happens::Silent(number) => drop(shop.world.run(&format!("silent {}", host(number)))),
                Happens::Heard(number) => drop(shop.world.run(&format!("heard {}", host(number)))),
                Happens::Restart(number) => drop(shop.world.run(&format!("restart {}", host(number)))),
                Happens::Order(order) => drop(shop.world.run(order)),
            }
            let told: std::collections::BTreeSet<String> = shop.told().into_values().collect();
            prop_assert!(told.len() <= 2, "{told:?}");
            if shop.placement().rollout.is_none() {
                for digest in &told {
                    let version: u8 = digest.trim_start_matches("sha256:web").parse().unwrap();
                    prop_assert!(!is_bad(version), "{digest} is final");
                }
            }
        }
        for number in 0..hosts {
            shop.world.run(&format!("heard H{number}"));
        }
        shop.put(6, 4);
        shop.world.run("go 120s");
        prop_assert_eq!(&shop.placement().rollout, &None);
        let told = shop.told();
        prop_assert!(told.values().all(|digest| digest == "sha256:web6"), "{told:?}");
        prop_assert_eq!(shop.placement().actors.values().flat_map(lattice_protocol::Places::values).sum::<u32>(), 4);
    }

    /// Through a rolling update of a version that is well, replicas without a passed gate never
    /// exceed what may be unavailable, unless they are one host's; and it ends.
    #[test]
    fn enough_replicas_are_proven_all_along(
        hosts in 1u8..7,
        replicas in 1u32..13,
        unavailable in 0u32..6,
        surge in 0u32..3,
        window_s in 1u64..5,
    ) {
        let mut shop = Shop::new(0, hosts);
        shop.world.run(&format!(
            "rollout shop {{ strategy: rolling, maxUnavailable: {unavailable}, maxSurge: {surge}, gate: {{ windowMs: {} }} }}",
            window_s * 1_000
        ));
        shop.put(0, u8::try_from(replicas).unwrap());
        shop.world.run("go 3s");
        shop.put(3, u8::try_from(replicas).unwrap());
        // Since when each host runs the new version.
        let mut since: BTreeMap<HostId, u64> = BTreeMap::new();
        let mut second = 0;
        loop {
            shop.world.run("go 1s");
            second += 1;
            let placed = shop.placement().actors.values().next().unwrap().clone();
            let told = shop.told();
            for host in told.iter().filter(|(_, digest)| *digest == "sha256:web3").map(|(host, _)| host) {
                since.entry(host.clone()).or_insert(second);
            }
            if shop.placement().rollout.is_none() {
                break;
            }
            let is_proven = |host: &HostId| since.get(host).is_none_or(|at| second >= at + window_s);
            let proven: u32 = placed.iter().filter(|(host, _)| is_proven(host)).map(|(_, count)| *count).sum();
            let unproven = placed.keys().filter(|host| !is_proven(host)).count();
            prop_assert!(
                proven >= replicas.saturating_sub(unavailable) || unproven <= 1,
                "{proven} of {replicas} proven at {second} s, {unavailable} may miss"
            );
            prop_assert!(second < 200, "it does not end");
        }
        let told = shop.told();
        prop_assert!(told.values().all(|digest| digest == "sha256:web3"), "{told:?}");
    }

    /// A version that fails is on no host a minute later, and was on no more than its first wave.
    #[test]
    fn what_fails_is_gone_within_a_minute(
        strategy in 0..STRATEGIES.len(), hosts in 1u8..7, bad in prop::sample::select(vec![1u8, 2]),
    ) {
        let mut shop = Shop::new(strategy, hosts);
        let placed = shop.placement().actors.values().next().unwrap().len();
        shop.put(bad, 4);
        let digest = format!("sha256:web{bad}");
        let mut most = 0;
        for _ in 0..60 {
            shop.world.run("go 1s");
            most = most.max(shop.told().values().filter(|have| **have == digest).count());
        }
        prop_assert!(shop.placement().rollout.as_ref().is_some_and(|rollout| rollout.is_rolled_back()));
        prop_assert!(shop.told().values().all(|have| have == "sha256:web0"));
        // Blue-green has all of a version that only fails once it runs.
        let bound = if strategy == 5 { placed } else { placed.div_ceil(2).max(2) };
        prop_assert!(most <= bound, "{most} of {placed} hosts");
    }
}
