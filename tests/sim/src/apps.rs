//! What is desired in a run, who changes it, and whether it has come true.

use crate::Sizes;
use crate::host::Host;
use crate::kv::{Key, Kv, Value};
use crate::random::Random;
use crate::world::World;
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::manifest::{ActorManifest, Application, PlacementRule, Resources, Scale};
use lattice_protocol::spec::{Artifact, Limits};
use lattice_protocol::{ActorId, AppName, HostId};
use std::collections::BTreeMap;
use std::rc::Rc;

/// MiB of every host.
const HOST_MIB: u32 = 1_024;
/// MiB of every replica.
const REPLICA_MIB: u32 = 32;

/// The hosts of a run: alternately of two regions.
pub(crate) fn hosts(sizes: &Sizes) -> Vec<Host> {
    let host = |number: usize| {
        let id: HostId = format!("H{number}").parse().ok()?;
        let region = if number.is_multiple_of(2) { "east" } else { "west" };
        Some(Host::new(id, BTreeMap::from([("region".to_owned(), region.to_owned())]), HOST_MIB))
    };
    (0..sizes.hosts).filter_map(host).collect()
}

/// Changes what is desired, always within half of what the hosts have room for: then a lattice at
/// peace can have all of it.
pub(crate) struct Editor {
    actors: usize,
    /// Replicas of all applications together, at most.
    most: u32,
}

impl Editor {
    pub(crate) fn new(sizes: &Sizes) -> Self {
        let hosts = u32::try_from(sizes.hosts).unwrap_or(u32::MAX);
        Self { actors: sizes.actors, most: hosts.saturating_mul(HOST_MIB / REPLICA_MIB) / 2 }
    }

    pub(crate) fn begin(&self, kv: &mut Kv) {
        for number in 0..self.actors {
            if let Some(desired) = application(number) {
                let key = Key::Desired(desired.application.name.clone());
                kv.cas(&key, None, Value::Desired(Rc::new(desired)));
            }
        }
    }

    /// One edit by compare-and-set; `true` when it changed something.
    pub(crate) fn edit(&self, kv: &mut Kv, random: &mut Random) -> bool {
        let records: Vec<Rc<DesiredApp>> = kv.desired().cloned().collect();
        let Some(chosen) = random.pick(&records) else { return false };
        let mut next = (**chosen).clone();
        let name = next.application.name.clone();
        let others: u32 =
            records.iter().filter(|one| one.application.name != name).map(|one| replicas(one)).sum();
        let room = self.most.saturating_sub(others);
        next.version += 1;
        match random.below(10) {
            0 => next.deployed = !next.deployed,
            1 => next.artifacts.values_mut().for_each(|artifact| artifact.digest.push('x')),
            _ => {
                let count = u32::try_from(random.below(9)).unwrap_or(0).min(room);
                for actor in &mut next.application.actors {
                    if actor.scale != Scale::Daemon {
                        actor.scale = Scale::Replicas(count);
                    }
                }
            }
        }
        let key = Key::Desired(name);
        let expected = kv.latest(&key).map(|entry| entry.revision);
        kv.cas(&key, expected, Value::Desired(Rc::new(next))).is_some()
    }
}

fn replicas(desired: &DesiredApp) -> u32 {
    let count = |actor: &ActorManifest| match actor.scale {
        Scale::Replicas(count) => count,
        Scale::Daemon => 0,
    };
    desired.application.actors.iter().map(count).sum()
}

/// Applications of one actor each: the first a daemon, some confined to a region, of several
/// priorities.
fn application(number: usize) -> Option<DesiredApp> {
    let app: AppName = format!("app{number}").parse().ok()?;
    let mut rule = PlacementRule {
        resources: Resources { cpu_millis: 0, memory_mib: REPLICA_MIB },
        priority: u8::try_from(number % 3).unwrap_or(0),
        ..PlacementRule::default()
    };
    if number % 4 == 1 {
        rule.requirements.insert("region".to_owned(), "east".to_owned());
    }
    let actor = ActorManifest {
        name: "main".parse().ok()?,
        artifact: "main.wasm".to_owned(),
        scale: if number == 0 { Scale::Daemon } else { Scale::Replicas(2) },
        instances: Default::default(),
        limits: Limits { memory_bytes: u64::from(REPLICA_MIB) << 20, ..Limits::default() },
        persistent: None,
        config: BTreeMap::new(),
        placement: rule,
        links: Vec::new(),
    };
    let id = ActorId::new(app.clone(), actor.name.clone());
    let artifact = Artifact { digest: format!("sha256:{number}"), size: 1 };
    let mut application = Application::empty(app);
    application.actors = vec![actor];
    Some(DesiredApp {
        version: 1,
        deployed: true,
        application,
        artifacts: BTreeMap::from([(id, artifact)]),
        at_unix_ms: 0,
        by: "sim".to_owned(),
        history: Vec::new(),
    })
}

/// The first thing that is not as desired, in words.
pub(crate) fn difference(world: &World) -> Option<String> {
    let mut wanted = BTreeMap::new();
    for desired in world.kv.desired().filter(|desired| desired.deployed) {
        for actor in &desired.application.actors {
            let id = ActorId::new(desired.application.name.clone(), actor.name.clone());
            let count = match actor.scale {
                Scale::Replicas(count) => count,
                Scale::Daemon => u32::try_from(world.alive().len()).unwrap_or(u32::MAX),
            };
            let digest = desired.artifacts.get(&id).map(|artifact| artifact.digest.clone());
            wanted.insert(id, (count, digest));
        }
    }
    let mut running: BTreeMap<&ActorId, u32> = BTreeMap::new();
    for host in &world.hosts {
        for (actor, count) in host.running() {
            *running.entry(actor).or_default() += count;
            let Some((_, digest)) = wanted.get(actor) else {
                return Some(format!("{} still runs {actor}", host.id));
            };
            let spec = host.spec()?.actors.iter().find(|spec| spec.id == *actor)?;
            if Some(&spec.artifact.digest) != digest.as_ref() {
                return Some(format!("{} runs an old version of {actor}", host.id));
            }
        }
    }
    let short = wanted.iter().find(|(actor, (count, _))| running.get(actor).copied().unwrap_or(0) != *count);
    short.map(|(actor, (count, _))| {
        format!("{actor}: {} of {count} run", running.get(actor).copied().unwrap_or(0))
    })
}
