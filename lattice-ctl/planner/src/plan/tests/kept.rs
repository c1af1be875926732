//! A planner that is kept comes to the very plan that one comes to which begins with nothing:
//! whatever happens to hosts and applications, whether a plan comes into force or not.

use super::laws::{AnyActor, any_actor, manifests};
use super::*;
use lattice_protocol::LinkTarget;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Happens {
    /// A host joins, or says something else of itself.
    Says {
        host: u8,
        region: u8,
        cpu_used: u32,
        kinds: bool,
    },
    /// It reports what it was given, and this much use; or that it has no room for something.
    Runs {
        host: u8,
        cpu: u32,
        refuses: Option<u8>,
    },
    Leaves(u8),
    Restarts(u8),
    /// Time passes; these hosts are heard meanwhile.
    Passes {
        seconds: u16,
        heard: u8,
    },
    Puts {
        app: u8,
        actors: Vec<AnyActor>,
        link: Option<u8>,
    },
    Undeploys(u8),
    Deletes(u8),
    Scales {
        app: u8,
        actor: u8,
        to: u32,
    },
    /// A plan, with this allowance; does it come into force?
    Plans {
        failovers: u32,
        evictions: u32,
        moves: u32,
        parts: u32,
        in_force: bool,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    let actors = || proptest::collection::vec(any_actor(), 0..4);
    prop_oneof![
        4 => (0u8..7, 0u8..3, 0u32..4_500, any::<bool>())
            .prop_map(|(host, region, cpu_used, kinds)| Happens::Says { host, region, cpu_used, kinds }),
        3 => (0u8..7, 0u32..900, proptest::option::weighted(0.2, 0u8..3))
            .prop_map(|(host, cpu, refuses)| Happens::Runs { host, cpu, refuses }),
        1 => (0u8..7).prop_map(Happens::Leaves),
        1 => (0u8..7).prop_map(Happens::Restarts),
        3 => (0u16..90, any::<u8>()).prop_map(|(seconds, heard)| Happens::Passes { seconds, heard }),
        4 => (0u8..4, actors(), proptest::option::of(0u8..4))
            .prop_map(|(app, actors, link)| Happens::Puts { app, actors, link }),
        1 => (0u8..4).prop_map(Happens::Undeploys),
        1 => (0u8..4).prop_map(Happens::Deletes),
        2 => (0u8..4, 0u8..4, 0u32..7).prop_map(|(app, actor, to)| Happens::Scales { app, actor, to }),
        6 => (0u32..6, 0u32..4, 0u32..3, 0u32..3, proptest::bool::weighted(0.8)).prop_map(
            |(failovers, evictions, moves, parts, in_force)| {
                Happens::Plans { failovers, evictions, moves, parts, in_force }
            }
        ),
    ]
}

fn app_name(number: u8) -> AppName {
    format!("app{number}").parse().unwrap()
}

struct Story {
    world: World,
    planner: Planner,
    beats: BTreeMap<u8, lattice_protocol::heartbeat::Heartbeat>,
}

impl Story {
    fn new() -> Self {
        let world = World::new(Observed::new(Profile::EDGE, 0), vec![]);
        let planner = Planner::default();
        Self { world, planner, beats: BTreeMap::new() }
    }

    fn beat(&mut self, host: u8) {
        if let Some(beat) = self.beats.get_mut(&host) {
            beat.seq += 1;
            self.world.observed.apply(beat.clone(), self.world.now_ms);
        }
    }

    fn happen(&mut self, happens: Happens) {
        match happens {
            Happens::Says { host, region, cpu_used, kinds } => {
                let beat = self.beats.entry(host).or_insert_with(|| heartbeat(&format!("H{host}"), "b0", 0));
                beat.labels = labels(&[("region", &region.to_string())]);
                beat.load.cpu_used_millis = cpu_used;
                beat.leaving = false;
                beat.kinds = if kinds { vec!["keyvalue-nats".to_owned()] } else { Vec::new() };
                self.beat(host);
            }
            Happens::Runs { host, cpu, refuses } => self.runs(host, cpu, refuses),
            Happens::Leaves(host) => {
                self.beats.entry(host).and_modify(|beat| beat.leaving = true);
                self.beat(host);
            }
            Happens::Restarts(host) => {
                self.beats.entry(host).and_modify(|beat| {
                    beat.boot_id.push('x');
                    beat.actors.clear();
                });
                self.beat(host);
            }
            Happens::Passes { seconds, heard } => {
                for _ in 0..4 {
                    self.world.now_ms += u64::from(seconds) * 250;
                    (0..7).filter(|host| heard & (1 << host) != 0).for_each(|host| self.beat(host));
                }
            }
            Happens::Puts { app, actors, link } => self.puts(app, &actors, link),
            Happens::Undeploys(app) => self.edit(app, |desired| desired.deployed = false),
            Happens::Deletes(app) => {
                self.world.desired.remove(&app_name(app));
                self.planner.touch(&app_name(app));
            }
            Happens::Scales { app, actor, to } => self.edit(app, |desired| {
                if let Some(actor) = desired.application.actors.get_mut(usize::from(actor)) {
                    actor.scale = Scale::Replicas(to);
                }
            }),
            Happens::Plans { failovers, evictions, moves, parts, in_force } => {
                self.world.allowance = Allowance { failovers, evictions, moves, parts };
                self.plan(in_force);
            }
        }
    }

    fn edit(&mut self, app: u8, change: impl FnOnce(&mut DesiredApp)) {
        let Some(desired) = self.world.desired.get_mut(&app_name(app)) else { return };
        change(desired);
        desired.version += 1;
        self.planner.touch(&app_name(app));
    }

    fn puts(&mut self, app: u8, actors: &[AnyActor], link: Option<u8>) {
        let version = self.world.desired.get(&app_name(app)).map_or(0, |desired| desired.version);
        let mut desired = crate::fixtures::app(&format!("app{app}"), manifests(actors));
        desired.version = version + 1;
        if let (Some(other), Some(first)) = (link, desired.application.actors.first_mut()) {
            let mut link = crate::fixtures::link(&format!("app{app}/a0"), "a:b/c", "x/y");
            link.target = LinkTarget::Actor(format!("app{other}/a1").parse().unwrap());
            first.links = vec![link];
        }
        self.world.desired.insert(app_name(app), desired);
        self.planner.touch(&app_name(app));
    }

    fn runs(&mut self, number: u8, cpu: u32, refuses: Option<u8>) {
        let id = host(&format!("H{number}"));
        let placed = self.world.placements.values().flat_map(|placement| &placement.actors);
        let here = placed.filter_map(|(actor, hosts)| Some((actor.clone(), *hosts.get(&id)?)));
        let statuses = here.enumerate().map(|(index, (actor, count))| {
            let is_refused = refuses.is_some_and(|one| usize::from(one) == index);
            let reason = is_refused.then_some("insufficient resources: no");
            let state = if is_refused { RunState::Failed } else { RunState::Running };
            let mut status = status(&actor.to_string(), state, reason);
            (status.replicas, status.cpu_used_millis) = (count, cpu);
            status
        });
        let statuses = statuses.collect();
        let Some(beat) = self.beats.get_mut(&number) else { return };
        beat.actors = statuses;
        self.beat(number);
    }

    fn plan(&mut self, in_force: bool) {
        let input = self.world.input();
        assert_eq!(self.planner.clone().restless(&input), [], "at rest, and yet there is something to do");
        let kept = self.planner.plan(&input);
        let fresh = plan(&input);
        assert_eq!(kept, fresh, "kept (left) and from nothing (right)");
        assert_eq!(check(&input, &kept), [], "{kept:#?}");
        if in_force {
            for app in kept.removed {
                self.world.placements.remove(&app);
                self.planner.touch(&app);
            }
            for (app, placement) in kept.changed {
                self.planner.touch(&app);
                self.world.placements.insert(app, placement);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_kept_planner_comes_to_the_plan_that_a_fresh_one_comes_to(
        story in proptest::collection::vec(happens(), 1..40),
    ) {
        let mut told = Story::new();
        story.into_iter().for_each(|happens| told.happen(happens));
        told.plan(true);
        told.plan(true);
    }
}

#[test]
fn what_has_not_changed_is_not_dealt_with() {
    let mut world = World::new(
        lattice(THREE),
        (0..20).map(|number| app(&format!("app{number}"), vec![actor("web", Scale::Replicas(2))])).collect(),
    );
    let mut planner = Planner::of(&world.input());
    let first = planner.plan(&world.input());
    assert_eq!(first.changed.len(), 20);
    world.placements.extend(first.changed);
    world.placements.keys().for_each(|app| planner.touch(app));
    assert_eq!(planner.plan(&world.input()).changed.len(), 0);
    assert!(planner.is_settled());
    let deals = |planner: &mut Planner, world: &World| planner.clone().scope(&world.input()).size();
    assert_eq!(deals(&mut planner, &world), 0);
    // A heartbeat that says nothing new draws nobody in, a host that is late those that it has.
    world.hear(&["A", "B", "C"], 10_000);
    assert_eq!(deals(&mut planner, &world), 0);
    world.hear(&["A", "B"], 26_000);
    let on_c = world.placements.values().flat_map(|placement| placement.actors.values());
    let on_c = on_c.filter(|hosts| hosts.contains_key(&host("C"))).count();
    assert_eq!((deals(&mut planner, &world), on_c < 20), (on_c, true));
    planner.touch(&"app7".parse().unwrap());
    world.hear(&["A", "B", "C"], 10_000);
    let mut planner_b = planner.clone();
    assert_eq!(deals(&mut planner_b, &world), 1);
}
