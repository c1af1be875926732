//! Scenarios, and the law: whatever fails on the way, performing the actions again and again
//! leads to what is desired, and then to no action.

use super::*;
use crate::fixtures::{actor, link, provider};
use crate::supervise::{RestartPolicy, Supervisor};
use proptest::prelude::*;

/// A host that performs actions; starts of what is in `broken` fail.
#[derive(Default)]
struct Host {
    inventory: Inventory,
    broken: BTreeSet<String>,
    supervisors: BTreeMap<String, Supervisor>,
    starts: u64,
}

impl Host {
    fn outcome(&mut self, name: String, now_ms: u64) -> Phase {
        let supervisor =
            self.supervisors.entry(name.clone()).or_insert_with(|| Supervisor::new(RestartPolicy::default()));
        if self.broken.contains(&name) {
            return Phase::Failed { retry_at_ms: supervisor.failed(now_ms, 0).at_ms };
        }
        supervisor.started(now_ms);
        Phase::Running
    }

    fn perform(&mut self, action: Action, now_ms: u64) {
        match action {
            Action::StopActor(id) => {
                self.inventory.actors.remove(&id).expect("stops only what is there");
            }
            Action::StopProvider(id) => {
                self.inventory.providers.remove(&id).expect("stops only what is there");
            }
            Action::StartProvider(spec) => {
                let phase = self.outcome(spec.id.to_string(), now_ms);
                self.starts += 1;
                let now = ProviderNow { phase, incarnation: self.starts, spec };
                self.inventory.providers.insert(now.spec.id.clone(), now);
            }
            Action::StartActor { spec, links } => {
                let phase = self.outcome(spec.id.to_string(), now_ms);
                let bound = self.inventory.bindings(&links);
                let now = ActorNow { spec: *spec, phase, links, bound, refused: None };
                self.inventory.actors.insert(now.spec.id.clone(), now);
            }
            Action::UpdateActor { spec, links, changes } => {
                assert!(changes.any());
                let bound = self.inventory.bindings(&links);
                let failed = changes.artifact.then(|| self.outcome(spec.id.to_string(), now_ms));
                let now = self.inventory.actors.get_mut(&spec.id).expect("updates only what is there");
                assert_eq!(now.phase, Phase::Running);
                (now.links, now.bound) = (links, bound);
                match failed {
                    Some(Phase::Failed { retry_at_ms }) => now.refused = Some((*spec, retry_at_ms)),
                    _ if now.spec != *spec => (now.spec, now.refused) = (*spec, None),
                    _ => {}
                }
            }
        }
    }

    /// Once: plan, perform. Returns the actions in words.
    fn step(&mut self, desired: &HostSpec, now_ms: u64) -> (Vec<String>, Option<u64>) {
        let steps = reconcile(desired, &self.inventory, now_ms);
        let words = steps.actions.iter().map(words).collect();
        for action in steps.actions {
            self.perform(action, now_ms);
        }
        (words, steps.wake_at_ms)
    }

    fn runs(&self, desired: &HostSpec) -> bool {
        let actors = desired.actors.iter().map(|spec| (&spec.id, spec)).collect::<BTreeMap<_, _>>();
        let providers = desired.providers.iter().map(|spec| (&spec.id, spec)).collect::<BTreeMap<_, _>>();
        let now = &self.inventory;
        now.actors.keys().eq(actors.keys().copied())
            && now.providers.keys().eq(providers.keys().copied())
            && now.providers.iter().all(|(id, now)| now.phase == Phase::Running && now.spec == *providers[id])
            && now.actors.iter().all(|(id, actor)| {
                actor.phase == Phase::Running
                    && actor.spec == *actors[id]
                    && actor.links == links_of(desired, id)
                    && actor.bound == now.bindings(&actor.links)
            })
    }
}

fn words(action: &Action) -> String {
    match action {
        Action::StopActor(id) => format!("stop actor {id}"),
        Action::StopProvider(id) => format!("stop provider {id}"),
        Action::StartProvider(spec) => format!("start provider {}", spec.id),
        Action::StartActor { spec, .. } => format!("start actor {}", spec.id),
        Action::UpdateActor { spec, changes, .. } => {
            let parts = [
                (changes.artifact, " artifact"),
                (changes.limits, " limits"),
                (changes.replicas, " replicas"),
                (changes.config, " config"),
                (changes.wiring, " wiring"),
            ];
            let parts: String = parts.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
            format!("update actor {}:{parts}", spec.id)
        }
    }
}

/// `shop/web`, linked to the key-value provider `shop/kv`.
fn shop() -> HostSpec {
    let mut spec = HostSpec::empty("prod".parse().unwrap(), "NEDGE01".parse().unwrap());
    spec.actors.push(actor("shop/web", "aa"));
    spec.providers.push(provider("shop/kv", "keyvalue-embedded"));
    spec.links.push(link("shop/web", "wasi:keyvalue", "shop/kv"));
    spec
}

fn running(spec: &HostSpec) -> Host {
    let mut host = Host::default();
    host.step(spec, 0);
    assert!(host.runs(spec));
    host
}

#[test]
fn providers_start_before_actors_and_then_there_is_nothing_to_do() {
    let mut host = Host::default();
    assert_eq!(host.step(&shop(), 0).0, ["start provider shop/kv", "start actor shop/web"]);
    assert_eq!(host.step(&shop(), 0), (vec![], None));
}

#[test]
fn an_actor_that_runs_awaits_the_providers_of_its_links_until_they_run() {
    let mut host = running(&shop());
    let kv: ProviderId = "shop/kv".parse().unwrap();
    let awaited = |host: &Host| {
        let now = &host.inventory;
        now.awaited(&now.actors[&"shop/web".parse().unwrap()])
            .map(|(id, phase)| (id.clone(), phase))
            .collect::<Vec<_>>()
    };
    assert_eq!(awaited(&host), []);
    for phase in [Phase::Starting, Phase::Failed { retry_at_ms: 1 }] {
        host.inventory.providers.get_mut(&kv).unwrap().phase = phase;
        assert_eq!(awaited(&host), [(kv.clone(), phase)]);
    }
}

#[test]
fn a_name_is_freed_before_it_is_taken() {
    let mut host = running(&shop());
    let mut desired = shop();
    desired.actors[0].id = "shop/front".parse().unwrap();
    desired.providers[0].config.insert("port".into(), "8081".into());
    desired.providers.push(provider("shop/web2", "http-server"));
    desired.links.clear();
    assert_eq!(
        host.step(&desired, 0).0,
        [
            "stop actor shop/web",
            "stop provider shop/kv",
            "start provider shop/kv",
            "start provider shop/web2",
            "start actor shop/front",
        ]
    );
}

#[test]
fn an_actor_follows_its_provider() {
    let mut host = running(&shop());
    let mut desired = shop();
    desired.providers[0].config.insert("path".into(), "b".into());
    assert_eq!(
        host.step(&desired, 0).0,
        ["stop provider shop/kv", "start provider shop/kv", "update actor shop/web: wiring"]
    );
    assert_eq!(host.step(&desired, 0).0, [""; 0]);
}

#[test]
fn a_provider_that_comes_up_later_is_bound_then() {
    let mut host = Host::default();
    host.broken.insert("shop/kv".into());
    let (_, wake) = host.step(&shop(), 0);
    assert_eq!(wake, None, "the time to retry is known after the attempt");
    let (nothing, wake) = host.step(&shop(), 1);
    assert!(nothing.is_empty());
    host.broken.clear();
    assert_eq!(
        host.step(&shop(), wake.unwrap()).0,
        ["start provider shop/kv", "update actor shop/web: wiring"]
    );
    assert!(host.runs(&shop()));
}

#[test]
fn each_part_of_an_actor_is_updated_in_place() {
    let mut host = running(&shop());
    let mut desired = shop();
    desired.actors[0].replicas = 3;
    desired.actors[0].config.insert("threshold".into(), "85".into());
    desired.actors[0].limits.call_ms = 1;
    assert_eq!(host.step(&desired, 0).0, ["update actor shop/web: limits replicas config"]);
    desired.actors[0].artifact.digest = "sha256:bb".into();
    assert_eq!(host.step(&desired, 0).0, ["update actor shop/web: artifact"]);
    desired.links.clear();
    assert_eq!(host.step(&desired, 0).0, ["update actor shop/web: wiring"]);
    assert!(host.runs(&desired));
}

#[test]
fn unlinking_does_not_wait_for_a_failing_update() {
    let mut host = running(&shop());
    host.broken.insert("shop/web".into());
    let mut desired = shop();
    desired.actors[0].artifact.digest = "sha256:bb".into();
    assert_eq!(host.step(&desired, 0).0, ["update actor shop/web: artifact"]);
    assert_eq!(host.step(&desired, 1).0, [""; 0], "not before its time");
    desired.links.clear();
    assert_eq!(host.step(&desired, 1).0, ["update actor shop/web: wiring"]);
    assert_eq!(host.inventory.actors[&"shop/web".parse().unwrap()].spec.artifact.digest, "sha256:aa");
    host.broken.clear();
    let (_, wake) = host.step(&desired, 2);
    assert_eq!(host.step(&desired, wake.unwrap()).0, ["update actor shop/web: artifact"]);
    assert!(host.runs(&desired));
}

#[test]
fn a_failed_start_is_tried_again_when_its_time_or_its_link_comes() {
    let mut host = Host::default();
    host.broken.insert("shop/web".into());
    host.step(&shop(), 0);
    let (_, wake) = host.step(&shop(), 1);
    assert!((51..=100).contains(&wake.unwrap()));
    let mut desired = shop();
    desired.links.clear();
    assert_eq!(host.step(&desired, 1).0, ["start actor shop/web"], "what it depends on has changed");
}

#[test]
fn what_is_still_starting_is_left_alone_unless_it_is_no_longer_wanted_so() {
    let mut host = running(&shop());
    host.inventory.actors.get_mut(&"shop/web".parse().unwrap()).unwrap().phase = Phase::Starting;
    assert_eq!(host.step(&shop(), 0).0, [""; 0]);
    let mut desired = shop();
    desired.actors[0].replicas = 2;
    assert_eq!(host.step(&desired, 0).0, ["stop actor shop/web", "start actor shop/web"]);
}

fn any_spec() -> impl Strategy<Value = HostSpec> {
    let actors = proptest::collection::btree_map(0u8..4, (0u8..2, 1u32..3, 0u8..2), 0..4);
    let providers = proptest::collection::btree_map(0u8..3, 0u8..2, 0..3);
    let links = proptest::collection::vec((0u8..4, 0u8..3, 0u8..2), 0..8);
    (actors, providers, links).prop_map(|(actors, providers, links)| {
        let mut spec = HostSpec::empty("prod".parse().unwrap(), "NEDGE01".parse().unwrap());
        for (name, (digest, replicas, config)) in actors {
            let mut actor = actor(&format!("app/a{name}"), &digest.to_string());
            actor.replicas = replicas;
            actor.config.insert("key".into(), config.to_string());
            spec.actors.push(actor);
        }
        for (name, config) in providers {
            let mut provider = provider(&format!("app/p{name}"), "keyvalue-embedded");
            provider.config.insert("key".into(), config.to_string());
            spec.providers.push(provider);
        }
        for (source, target, name) in links {
            let mut link = link(&format!("app/a{source}"), "wasi:keyvalue", &format!("app/p{target}"));
            link.name = format!("n{name}").parse().unwrap();
            spec.links.push(link);
        }
        spec
    })
}

proptest! {
    /// Specs come one after another, some starts fail, some action lists are cut short (the
    /// process was busy); once nothing is broken any more, the host runs the last spec.
    #[test]
    fn every_way_leads_to_what_is_desired(
        specs in proptest::collection::vec((any_spec(), proptest::collection::btree_set(0u8..7, 0..3), 0usize..8), 1..6),
    ) {
        let (mut host, mut now_ms) = (Host::default(), 0);
        for (desired, broken, performed) in &specs {
            host.broken = broken.iter().map(|n| if *n < 4 { format!("app/a{n}") } else { format!("app/p{}", n - 4) }).collect();
            let steps = reconcile(desired, &host.inventory, now_ms);
            for action in steps.actions.into_iter().take(*performed) {
                host.perform(action, now_ms);
            }
            now_ms += 500;
        }
        host.broken.clear();
        let last = &specs[specs.len() - 1].0;
        for _ in 0..3 {
            let (_, wake) = host.step(last, now_ms);
            now_ms = wake.unwrap_or(now_ms).max(now_ms);
        }
        prop_assert!(host.runs(last), "{:#?}", host.inventory);
        prop_assert_eq!(reconcile(last, &host.inventory, now_ms), Steps::default());
    }

    /// Every stop comes before every start, every provider before every actor.
    #[test]
    fn the_order_is_stops_providers_actors(first in any_spec(), second in any_spec()) {
        let mut host = Host::default();
        host.step(&first, 0);
        let rank = |action: &Action| match action {
            Action::StopActor(_) => 0,
            Action::StopProvider(_) => 1,
            Action::StartProvider(_) => 2,
            Action::UpdateActor { .. } => 3,
            Action::StartActor { .. } => 4,
        };
        let steps = reconcile(&second, &host.inventory, 0);
        prop_assert!(steps.actions.windows(2).all(|pair| rank(&pair[0]) <= rank(&pair[1])));
        host.step(&second, 0);
        prop_assert!(host.runs(&second), "without failures one pass suffices");
    }
}
