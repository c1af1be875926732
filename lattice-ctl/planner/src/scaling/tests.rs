//! Laws of automatic scaling, against a load that answers as a real one does: what is served is what
//! there are replicas for, the rest waits.

use super::*;
use crate::fixtures::{actor, app, heartbeat, host, needing};
use crate::observed::Profile;
use proptest::prelude::*;

/// Calls that one replica serves at once.
const SERVES: u32 = 4;

struct World {
    scaling: Scaling,
    desired: DesiredApp,
    placement: Placement,
    observed: Observed,
    now_ms: u64,
    calls: u64,
    changes: Vec<(u64, u32)>,
}

impl World {
    fn new(least: u32, rule: AutoScale) -> Self {
        let mut web = actor("web", Scale::Replicas(least));
        web.autoscale = Some(Box::new(rule));
        web.limits.concurrency = SERVES;
        web.placement.resources = needing(100, 10);
        let desired = app("shop", vec![web]);
        let mut placement = Placement::empty("shop".parse().unwrap(), 1);
        placement.actors.insert("shop/web".parse().unwrap(), [(host("A"), least.max(1))].into());
        let observed = Observed::new(Profile::FAST, 0);
        let changes = vec![(0, least)];
        Self { scaling: Scaling::default(), desired, placement, observed, now_ms: 0, calls: 0, changes }
    }

    fn count(&self) -> u32 {
        self.changes.last().unwrap().1
    }

    /// A second at this load: so many calls at once, each a second long.
    fn second(&mut self, offered: u32) {
        self.now_ms += 1_000;
        let served = offered.min(self.count() * SERVES);
        self.calls += u64::from(served);
        let mut beat = heartbeat("A", "b", self.now_ms);
        let mut status = ActorStatus::running("shop/web".parse().unwrap(), "sha256:web", self.count());
        (status.in_flight, status.queued, status.calls) = (served, offered - served, self.calls);
        status.lag = Some(u64::from(offered - served));
        beat.actors = vec![status];
        self.observed.apply(beat, self.now_ms);
        self.scaling.observe([(&self.desired, Some(&self.placement))], &self.observed, self.now_ms);
        let id: ActorId = "shop/web".parse().unwrap();
        let manifest = &self.desired.application.actors[0];
        let (wanted, _) = self.scaling.wanted(&id, manifest, Some(&self.placement)).unwrap();
        if wanted != self.count() {
            self.changes.push((self.now_ms, wanted));
        }
        self.placement.scaled.insert(id, wanted);
    }
}

fn rule(metric: Metric, target: u32, max: u32) -> AutoScale {
    AutoScale { metric, target, max, cooldown_ms: 5_000, budget: None }
}

#[test]
fn a_load_is_followed_up_at_once_and_down_after_it_has_lasted() {
    let mut world = World::new(1, rule(Metric::Concurrency, 2, 10));
    (0..3).for_each(|_| world.second(1));
    (0..20).for_each(|_| world.second(16));
    // From 1 by doubling, a cool-down apart: 2, 4, 8.
    assert_eq!(world.changes, [(0, 1), (4_000, 2), (9_000, 4), (14_000, 8)]);
    (0..20).for_each(|_| world.second(5));
    assert_eq!(world.changes.last(), Some(&(29_000, 3)), "what was needed within the cool-down");
    (0..3).for_each(|_| world.second(0));
    world.second(6);
    (0..3).for_each(|_| world.second(0));
    assert_eq!(world.count(), 3, "a short lull is none");
}

#[test]
fn a_budget_bounds_it_and_the_least_stays_warm() {
    let budget = Some(Resources { cpu_millis: 350, memory_mib: 0 });
    let mut world = World::new(2, AutoScale { budget, ..rule(Metric::Rate, 1, 10) });
    (0..40).for_each(|_| world.second(40));
    assert_eq!(world.count(), 3, "350 millicores are three of 100");
    (0..40).for_each(|_| world.second(0));
    assert_eq!(world.count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_is_bounded_rested_and_settles_under_a_constant_load(
        metric in prop::sample::select(Metric::WORDS.map(|(_, metric)| metric).to_vec()),
        target in 1u32..9,
        least in 1u32..4,
        more in 1u32..30,
        loads in prop::collection::vec((0u32..80, 1usize..20), 0..6),
        last in 0u32..80,
    ) {
        let mut world = World::new(least, rule(metric, target, least + more));
        for (load, seconds) in loads {
            (0..seconds).for_each(|_| world.second(load));
        }
        (0..120).for_each(|_| world.second(last));
        let settled = world.changes.len();
        (0..200).for_each(|_| world.second(last));
        prop_assert_eq!(world.changes.len(), settled, "it oscillates: {:?}", world.changes);
        for pair in world.changes.windows(2) {
            let [(at, count), (later, next)] = pair else { unreachable!() };
            prop_assert!(*at == 0 || later - at >= 5_000, "{:?}", world.changes);
            prop_assert!(*next <= (count * 2).max(count + 1), "{:?}", world.changes);
            prop_assert!((least..=least + more).contains(next), "{:?}", world.changes);
        }
        // Enough for the load, as far as the bound allows.
        let enough = match metric {
            Metric::Concurrency => last.div_ceil(target).clamp(least, least + more),
            _ => 0,
        };
        prop_assert!(world.count() >= enough, "{:?} for {last}", world.changes);
    }
}
