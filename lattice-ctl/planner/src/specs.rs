//! What follows from the decisions for each host: its full spec, with the next generation when
//! anything in it differs from the one in force.
//!
//! Invariants: a spec holds exactly the actors placed on its host, their links, and the providers
//! that those links lead to, each sorted by its key, so equal content is equal bytes; a host whose
//! spec in force comes from a newer decision than this view has is left alone, because this view
//! is behind.

use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::{ActorManifest, ProviderManifest};
use lattice_protocol::spec::Artifact;
use lattice_protocol::{
    ActorId, ActorSpec, AppName, Generation, HostId, HostSpec, LatticeName, LinkDefinition, LinkTarget,
    ProviderId, ProviderSpec,
};
use std::collections::{BTreeMap, BTreeSet};

/// What specs are derived from.
#[derive(Debug, Clone)]
pub struct SpecInput<'a> {
    /// The lattice.
    pub lattice: &'a LatticeName,
    /// Which life of it: a restore from a backup starts the next.
    pub incarnation: u64,
    /// What shall be, by application.
    pub desired: BTreeMap<&'a AppName, &'a DesiredApp>,
    /// The decisions in force, each with the revision of its key.
    pub placements: BTreeMap<&'a AppName, (&'a Placement, u64)>,
    /// The specs in force.
    pub previous: BTreeMap<&'a HostId, &'a HostSpec>,
    /// The generation that each host says it runs. It is newer than the spec in force when the store
    /// went back, by a restore or by somebody's hand: then the host is told again, by a newer one.
    pub applied: BTreeMap<&'a HostId, Generation>,
}

/// The specs that have to be written: those of hosts for which something has changed.
#[must_use]
pub fn host_specs(input: &SpecInput<'_>) -> BTreeMap<HostId, HostSpec> {
    let mut hosts: BTreeMap<&HostId, Vec<Placed<'_>>> =
        input.previous.keys().map(|host| (*host, Vec::new())).collect();
    for (app, (placement, revision)) in &input.placements {
        let Some(desired) = input.desired.get(app).filter(|desired| desired.deployed) else { continue };
        for (id, places) in &placement.actors {
            let manifest = desired.application.actor(&id.name);
            let (Some(manifest), Some(artifact)) = (manifest, desired.artifacts.get(id)) else { continue };
            for (host, replicas) in places.iter().filter(|(_, replicas)| **replicas > 0) {
                let placed = Placed { id, manifest, artifact, replicas: *replicas, revision: *revision };
                hosts.entry(host).or_default().push(placed);
            }
        }
    }
    let specs =
        hosts.iter().filter_map(|(host, placed)| Some(((*host).clone(), next_spec(input, host, placed)?)));
    specs.collect()
}

/// What one decision says of one actor on one host.
struct Placed<'a> {
    id: &'a ActorId,
    manifest: &'a ActorManifest,
    artifact: &'a Artifact,
    replicas: u32,
    revision: u64,
}

fn next_spec(input: &SpecInput<'_>, host: &HostId, placed: &[Placed<'_>]) -> Option<HostSpec> {
    let previous = input.previous.get(host).copied();
    if previous.is_some_and(|previous| is_behind(input, previous)) {
        return None;
    }
    let applied = input.applied.get(host).copied().unwrap_or_default();
    let have = previous.map_or(applied, |previous| previous.generation.max(applied));
    if have.incarnation > input.incarnation {
        return None; // The host lives in a later life of the lattice than this view.
    }
    let mut spec = content(input, host, placed);
    spec.generation = have;
    if input.incarnation == have.incarnation && previous == Some(&spec) {
        return None;
    }
    let n = if input.incarnation > have.incarnation { 1 } else { have.n.saturating_add(1) };
    spec.generation = Generation { incarnation: input.incarnation, n };
    Some(spec)
}

/// Was the spec in force derived from a newer decision than this view has?
fn is_behind(input: &SpecInput<'_>, previous: &HostSpec) -> bool {
    let newer =
        |app: &AppName, revision: u64| input.placements.get(app).is_some_and(|(_, have)| *have < revision);
    previous.generation.incarnation > input.incarnation
        || (previous.generation.incarnation == input.incarnation
            && previous.apps.iter().any(|(app, revision)| newer(app, *revision)))
}

fn content(input: &SpecInput<'_>, host: &HostId, placed: &[Placed<'_>]) -> HostSpec {
    let mut spec = HostSpec::empty(input.lattice.clone(), host.clone());
    for part in placed {
        spec.apps.insert(part.id.app.clone(), part.revision);
        spec.actors.push(actor_spec(part.id, part.manifest, part.artifact, part.replicas));
        spec.links.extend(part.manifest.links.iter().cloned());
    }
    spec.actors.sort_by(|left, right| left.id.cmp(&right.id));
    spec.links.sort_by_cached_key(LinkDefinition::key);
    spec.providers = providers(input, &spec.links);
    spec
}

fn actor_spec(id: &ActorId, manifest: &ActorManifest, artifact: &Artifact, replicas: u32) -> ActorSpec {
    ActorSpec {
        id: id.clone(),
        artifact: artifact.clone(),
        replicas,
        instances: manifest.instances,
        limits: manifest.limits.clone(),
        persistent: manifest.persistent.clone(),
        config: manifest.config.clone(),
    }
}

/// The providers that these links lead to, of whichever application, by id.
fn providers(input: &SpecInput<'_>, links: &[LinkDefinition]) -> Vec<ProviderSpec> {
    let targets: BTreeSet<&ProviderId> = links
        .iter()
        .filter_map(|link| match &link.target {
            LinkTarget::Provider(id) => Some(id),
            LinkTarget::Actor(_) => None,
        })
        .collect();
    targets.into_iter().filter_map(|id| Some(provider_spec(id, provider(input, id)?))).collect()
}

fn provider<'a>(input: &SpecInput<'a>, id: &ProviderId) -> Option<&'a ProviderManifest> {
    let desired = input.desired.get(&id.app).filter(|desired| desired.deployed)?;
    desired.application.provider(&id.name)
}

fn provider_spec(id: &ProviderId, manifest: &ProviderManifest) -> ProviderSpec {
    ProviderSpec {
        id: id.clone(),
        kind: manifest.kind.clone(),
        mode: manifest.mode,
        config: manifest.config.clone(),
    }
}

#[cfg(test)]
mod tests;
