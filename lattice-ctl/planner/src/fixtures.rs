//! Small lattices for tests.

use crate::observed::{Observed, Profile};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::heartbeat::{ActorStatus, Heartbeat, Load, RunState};
use lattice_protocol::manifest::{ActorManifest, ProviderManifest, Resources, Scale};
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, AppName, CallPolicy, Grants, HostId, LinkDefinition, LinkTarget};
use std::collections::BTreeMap;

pub(crate) fn host(name: &str) -> HostId {
    name.parse().unwrap()
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A heartbeat of an empty host with 4 cores and 2 GiB.
pub(crate) fn heartbeat(name: &str, boot: &str, seq: u64) -> Heartbeat {
    Heartbeat {
        seq,
        interval_ms: 250,
        version: "0.1.0".into(),
        arch: "aarch64".into(),
        load: Load { cpu_millis: 4_000, cpu_used_millis: 0, memory_mib: 2_048, memory_used_mib: 0 },
        uptime_s: 1,
        ..Heartbeat::new("prod".parse().unwrap(), host(name), boot)
    }
}

pub(crate) fn status(actor: &str, state: RunState, reason: Option<&str>) -> ActorStatus {
    let reason = reason.map(str::to_owned);
    ActorStatus { state, reason, ..ActorStatus::running(actor.parse().unwrap(), "sha256:aa", 1) }
}

pub(crate) fn actor(name: &str, scale: Scale) -> ActorManifest {
    ActorManifest { scale, ..ActorManifest::new(name.parse().unwrap(), format!("./{name}.wasm")) }
}

pub(crate) fn needing(cpu_millis: u32, memory_mib: u32) -> Resources {
    Resources { cpu_millis, memory_mib }
}

pub(crate) fn link(source: &str, interface: &str, target: &str) -> LinkDefinition {
    LinkDefinition {
        source: source.parse().unwrap(),
        name: "default".parse().unwrap(),
        interface: interface.parse().unwrap(),
        target: LinkTarget::Provider(target.parse().unwrap()),
        config: BTreeMap::new(),
        policy: CallPolicy::default(),
        grants: Grants::default(),
    }
}

pub(crate) fn provider(name: &str, kind: &str) -> ProviderManifest {
    ProviderManifest {
        name: name.parse().unwrap(),
        kind: kind.into(),
        config: BTreeMap::new(),
        mode: Default::default(),
    }
}

/// A deployed application of these actors, each with an artifact.
pub(crate) fn app(name: &str, actors: Vec<ActorManifest>) -> DesiredApp {
    let name: AppName = name.parse().unwrap();
    let artifacts = actors
        .iter()
        .map(|actor| {
            let artifact = Artifact { digest: format!("sha256:{}", actor.name).into(), size: 1 };
            (ActorId::new(name.clone(), actor.name.clone()), artifact)
        })
        .collect();
    let mut record = DesiredApp::empty(name);
    record.application.actors = actors;
    record.artifacts = artifacts;
    record.version = 1;
    record
}

/// Hosts with labels, alive at 0 under the edge profile.
pub(crate) fn lattice(hosts: &[(&str, &[(&str, &str)])]) -> Observed {
    let mut observed = Observed::new(Profile::EDGE, 0);
    for (name, pairs) in hosts {
        let mut beat = heartbeat(name, "b1", 1);
        beat.labels = labels(pairs);
        observed.apply(beat, 0);
    }
    observed
}

/// A placement in words: `web: A=2 B=1; api: A=1`.
pub(crate) fn words(placement: &Placement) -> String {
    let actors = placement.actors.iter().map(|(id, hosts)| {
        let hosts: Vec<String> = hosts.iter().map(|(host, count)| format!("{host}={count}")).collect();
        format!("{}: {}", id.name, hosts.join(" "))
    });
    actors.collect::<Vec<_>>().join("; ")
}
