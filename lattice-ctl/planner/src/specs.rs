//! What follows from the decisions for each host: its full spec, with the next generation when
//! anything in it differs from the one in force.
//!
//! Invariants: a spec holds exactly the actors placed on its host, each in the version that the
//! decision gives this host, their links, and the providers that those links lead to, each sorted
//! by its key, so equal content is equal bytes; a host whose spec in force comes from a newer
//! decision than this view has is left alone, because this view is behind; of an application that
//! was changed and not yet decided upon a host keeps what it has, because how a new version
//! comes to it *is* the decision.

use crate::rollout::{Version, version_on};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::ProviderManifest;
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
    let undecided = undecided(input);
    for (app, (placement, revision)) in &input.placements {
        let Some(desired) = input.desired.get(app).filter(|desired| desired.deployed) else { continue };
        if undecided.contains(app) {
            continue;
        }
        for (id, places) in &placement.actors {
            for (host, replicas) in places.iter().filter(|(_, replicas)| **replicas > 0) {
                let Some(version) = version_on(desired, placement, id, host) else { continue };
                let placed = Placed { id, version, replicas: *replicas, revision: *revision };
                hosts.entry(host).or_default().push(placed);
            }
        }
    }
    let specs = hosts
        .iter()
        .filter_map(|(host, placed)| Some(((*host).clone(), next_spec(input, &undecided, host, placed)?)));
    specs.collect()
}

/// Applications whose decision in force was made from another version than this view has.
fn undecided<'a>(input: &SpecInput<'a>) -> BTreeSet<&'a AppName> {
    let differs = |app: &AppName, desired: &DesiredApp| {
        input.placements.get(app).is_some_and(|(placement, _)| placement.desired_version != desired.version)
    };
    input.desired.iter().filter(|(app, desired)| differs(app, desired)).map(|(app, _)| *app).collect()
}

/// What one decision says of one actor on one host.
struct Placed<'a> {
    id: &'a ActorId,
    version: Version<'a>,
    replicas: u32,
    revision: u64,
}

fn next_spec(
    input: &SpecInput<'_>,
    undecided: &BTreeSet<&AppName>,
    host: &HostId,
    placed: &[Placed<'_>],
) -> Option<HostSpec> {
    let previous = input.previous.get(host).copied();
    if previous.is_some_and(|previous| is_behind(input, previous)) {
        return None;
    }
    let applied = input.applied.get(host).copied().unwrap_or_default();
    let have = previous.map_or(applied, |previous| previous.generation.max(applied));
    if have.incarnation > input.incarnation {
        return None; // The host lives in a later life of the lattice than this view.
    }
    let kept = previous.filter(|previous| previous.generation.incarnation == input.incarnation);
    let kept = Kept { previous: kept, undecided };
    let mut spec = content(input, host, (placed, &kept));
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

/// What a host keeps of its spec in force.
struct Kept<'a> {
    previous: Option<&'a HostSpec>,
    undecided: &'a BTreeSet<&'a AppName>,
}

impl Kept<'_> {
    fn has(&self, app: &AppName) -> bool {
        self.undecided.contains(app)
    }

    fn of<T: Clone>(
        &self,
        part: impl Fn(&HostSpec) -> &[T],
        app: impl Fn(&T) -> &AppName,
    ) -> impl Iterator<Item = T> {
        let all = self.previous.map(|spec| part(spec).to_vec()).unwrap_or_default();
        all.into_iter().filter(move |one| self.has(app(one)))
    }
}

fn content(input: &SpecInput<'_>, host: &HostId, (placed, kept): (&[Placed<'_>], &Kept<'_>)) -> HostSpec {
    let mut spec = HostSpec::empty(input.lattice.clone(), host.clone());
    for part in placed {
        spec.apps.insert(part.id.app.clone(), part.revision);
        spec.actors.push(actor_spec(part));
        spec.links.extend(part.version.manifest.links.iter().cloned());
    }
    let apps = kept.previous.iter().flat_map(|spec| &spec.apps).filter(|(app, _)| kept.has(app));
    spec.apps.extend(apps.map(|(app, revision)| (app.clone(), *revision)));
    spec.actors.extend(kept.of(|spec| &spec.actors, |actor| &actor.id.app));
    spec.links.extend(kept.of(|spec| &spec.links, |link| &link.source.app));
    spec.actors.sort_by(|left, right| left.id.cmp(&right.id));
    spec.links.sort_by_cached_key(LinkDefinition::key);
    spec.providers = providers(input, &spec.links, kept);
    spec
}

fn actor_spec(part: &Placed<'_>) -> ActorSpec {
    let Version { manifest, artifact, trial, staged } = part.version;
    ActorSpec {
        replicas: part.replicas,
        instances: manifest.instances,
        limits: manifest.limits.clone(),
        persistent: manifest.persistent.clone(),
        config: manifest.config.clone(),
        trial,
        staged: staged.cloned(),
        ..ActorSpec::new(part.id.clone(), artifact.clone())
    }
}

/// The providers that these links lead to, of whichever application, by id.
fn providers(input: &SpecInput<'_>, links: &[LinkDefinition], kept: &Kept<'_>) -> Vec<ProviderSpec> {
    let targets: BTreeSet<&ProviderId> = links
        .iter()
        .filter_map(|link| match &link.target {
            LinkTarget::Provider(id) => Some(id),
            LinkTarget::Actor(_) => None,
        })
        .collect();
    let spec = |id: &ProviderId| {
        let have = kept.previous.and_then(|spec| spec.providers.iter().find(|spec| spec.id == *id));
        match have.filter(|_| kept.has(&id.app)) {
            Some(have) => Some(have.clone()),
            None => provider(input, id).map(|manifest| provider_spec(id, manifest)),
        }
    };
    targets.into_iter().filter_map(spec).collect()
}

/// As it is desired; or as it was, for actors that a rollout has not reached.
fn provider<'a>(input: &SpecInput<'a>, id: &ProviderId) -> Option<&'a ProviderManifest> {
    let desired = input.desired.get(&id.app).filter(|desired| desired.deployed)?;
    let base = || {
        let (placement, _) = input.placements.get(&id.app)?;
        placement.rollout.as_deref()?.base.content.application.provider(&id.name)
    };
    desired.application.provider(&id.name).or_else(base)
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
