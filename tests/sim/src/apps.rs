//! What is desired in a run, who changes it, and whether it has come true.

use crate::Sizes;
use crate::host::Host;
use crate::kv::{Key, Kv, Value};
use crate::random::Random;
use crate::world::World;
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::manifest::{ActorManifest, PlacementRule, Resources, Scale};
use lattice_protocol::rollout::{Base, Gate, Phase, RolloutPolicy, Share, Strategy};
use lattice_protocol::spec::{Artifact, Limits};
use lattice_protocol::{ActorId, AppName, HostId};
use std::collections::BTreeMap;
use std::sync::Arc;

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
                kv.cas(&key, None, Value::Desired(Arc::new(desired)));
            }
        }
    }

    /// One edit by compare-and-set; `true` when it changed something.
    pub(crate) fn edit(&self, kv: &mut Kv, random: &mut Random) -> bool {
        let records: Vec<Arc<DesiredApp>> = kv.desired().cloned().collect();
        let Some(chosen) = random.pick(&records) else { return false };
        let mut next = (**chosen).clone();
        let name = next.application.name.clone();
        let others: u32 =
            records.iter().filter(|one| one.application.name != name).map(|one| replicas(one)).sum();
        let room = self.most.saturating_sub(others);
        let ruled = next.application.rollout.is_some();
        let runs = kv.placement(&name).is_some_and(|placement| !placement.actors.is_empty());
        let mut change = |suffix: char| {
            next.artifacts
                .values_mut()
                .for_each(|artifact| artifact.digest = format!("{}{suffix}", artifact.digest).into());
        };
        match random.below(10) {
            // What has a rule never stops: a first version has nothing to be held against.
            0 if !ruled => next.deployed = !next.deployed,
            0 | 1 => next.rollout.paused = ruled && !next.rollout.paused,
            2 | 3 => change('x'),
            4 if ruled && runs => change(BAD),
            _ => {
                let least = u64::from(ruled);
                let count = u32::try_from(random.between(least, 8)).unwrap_or(0).min(room);
                for actor in &mut next.application.actors {
                    if actor.scale != Scale::Daemon {
                        actor.scale = Scale::Replicas(count);
                    }
                }
            }
        }
        next.stamp("sim", 0, "edit");
        let key = Key::Desired(name);
        let expected = kv.latest(&key).map(|entry| entry.revision);
        kv.cas(&key, expected, Value::Desired(Arc::new(next))).is_some()
    }
}

/// Ends the digest of a component that does not work.
const BAD: char = 'b';

/// Does the component of this digest crash wherever it runs?
pub(crate) fn is_bad(digest: &str) -> bool {
    digest.ends_with(BAD)
}

/// What a person does when all is over: nothing stays paused.
pub(crate) fn resume_all(kv: &mut Kv) {
    let paused: Vec<Arc<DesiredApp>> =
        kv.desired().filter(|desired| desired.rollout.paused).cloned().collect();
    for desired in paused {
        let mut next = (*desired).clone();
        next.rollout.paused = false;
        next.stamp("sim", 0, "resume");
        let key = Key::Desired(next.application.name.clone());
        let expected = kv.latest(&key).map(|entry| entry.revision);
        kv.cas(&key, expected, Value::Desired(Arc::new(next)));
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
        scale: if number == 0 { Scale::Daemon } else { Scale::Replicas(2) },
        limits: Limits { memory_bytes: u64::from(REPLICA_MIB) << 20, ..Limits::default() },
        placement: rule,
        ..ActorManifest::new("main".parse().ok()?, "main.wasm")
    };
    let id = ActorId::new(app.clone(), actor.name.clone());
    let artifact = Artifact { digest: format!("sha256:{number}").into(), size: 1 };
    let mut record = DesiredApp::empty(app);
    record.application.actors = vec![actor];
    record.artifacts = BTreeMap::from([(id, artifact)]);
    record.application.rollout = rollout(number);
    record.stamp("sim", 0, "put");
    Some(record)
}

/// Two of three applications have a rule for their rollouts, each another.
fn rollout(number: usize) -> Option<RolloutPolicy> {
    let strategy = match number % 6 {
        1 => Strategy::Canary { waves: vec![10, 50] },
        2 => Strategy::Rolling { max_unavailable: Share::Count(1), max_surge: Share::Count(1) },
        3 => Strategy::BlueGreen,
        4 => Strategy::Rolling { max_unavailable: Share::Percent(50), max_surge: Share::Count(0) },
        _ => return None,
    };
    let gate = Gate { window_ms: 1_500, deadline_ms: 6_000, ..Gate::default() };
    Some(RolloutPolicy { gate, ..RolloutPolicy::new(strategy) })
}

/// The version that an application was rolled back to; an error while a rollout is not over, or was
/// rolled back without a reason.
fn rolled_back<'w>(world: &'w World, desired: &DesiredApp) -> Result<Option<&'w Base>, String> {
    let app = &desired.application.name;
    let Some(rollout) = world.kv.placement(app).and_then(|placement| placement.rollout.as_deref()) else {
        return Ok(None);
    };
    match &rollout.phase {
        Phase::RolledBack { .. } if desired.artifacts.values().any(|one| is_bad(&one.digest)) => {
            Ok(Some(&rollout.base))
        }
        phase => Err(format!("{app}: rollout is {phase:?}")),
    }
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
            let (artifacts, version) = match rolled_back(world, desired) {
                Ok(None) => (&desired.artifacts, desired.version),
                Ok(Some(base)) => (&base.content.artifacts, base.version),
                Err(difference) => return Some(difference),
            };
            let digest = artifacts.get(&id).map(|artifact| artifact.digest.clone());
            if digest.as_deref().is_some_and(is_bad) && desired.application.rollout.is_some() {
                return Some(format!("{id} is at version {version}, which does not work"));
            }
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
