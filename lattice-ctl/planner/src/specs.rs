//! What follows from the decisions for each host: its full spec, with the next generation when
//! anything in it differs from the one in force.
//!
//! Invariants: a spec holds exactly the actors placed on its host, each in the version that the
//! decision gives this host, their links, and the providers that those links lead to, each sorted
//! by its key, so equal content is equal bytes; a host whose spec in force comes from a newer
//! decision than this view has is left alone, because this view is behind; of an application that
//! was changed and not yet decided upon a host keeps what it has, because how a new version
//! comes to it *is* the decision.

use crate::known::Revised;
use crate::rollout::{Version, version_on};
use crate::table::Table;
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::ProviderManifest;
use lattice_protocol::rollout::Check;
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
    pub desired: Table<'a, DesiredApp>,
    /// The decisions in force, each with the revision of its key.
    pub placements: Table<'a, Revised<Placement>>,
    /// The specs in force.
    pub previous: BTreeMap<&'a HostId, &'a HostSpec>,
    /// Hosts that say they run something else than the spec in force, and have seen its generation:
    /// each with the one that it runs. That happens when the store went back, by a restore or by
    /// somebody's hand; the host is told again, by a newer one.
    pub astray: BTreeMap<&'a HostId, Generation>,
}

/// The specs that have to be written: those of hosts for which something has changed.
#[must_use]
pub fn host_specs(input: &SpecInput<'_>) -> BTreeMap<HostId, HostSpec> {
    let mut hosts: BTreeMap<&HostId, Vec<&ActorId>> =
        input.previous.keys().map(|host| (*host, Vec::new())).collect();
    for (id, places) in input.placements.values().flat_map(|placement| &placement.value.actors) {
        for host in places.keys() {
            hosts.entry(host).or_default().push(id);
        }
    }
    derive(input, hosts)
}

/// The specs of these hosts that have to be written. With each come the actors that any decision
/// places on it, by id.
pub(crate) fn derive<'a, A: IntoIterator<Item = &'a ActorId>>(
    input: &SpecInput<'a>,
    hosts: impl IntoIterator<Item = (&'a HostId, A)>,
) -> BTreeMap<HostId, HostSpec> {
    let specs = hosts.into_iter().filter_map(|(host, actors)| {
        let placed: Vec<Placed<'_>> = actors.into_iter().filter_map(|id| placed(input, id, host)).collect();
        let is_known = !placed.is_empty() || input.previous.contains_key(host);
        Some((host.clone(), next_spec(input, host, &placed).filter(|_| is_known)?))
    });
    specs.collect()
}

/// Was the decision in force made from another version than this view has?
fn is_undecided(input: &SpecInput<'_>, app: &AppName) -> bool {
    let versions = input.desired.get(app).zip(input.placements.get(app));
    versions.is_some_and(|(desired, placement)| placement.value.desired_version != desired.version)
}

/// What the decision in force says of an actor on a host; nothing, when there is none that counts.
fn placed<'a>(input: &SpecInput<'a>, id: &'a ActorId, host: &HostId) -> Option<Placed<'a>> {
    let desired = input.desired.get(&id.app).filter(|desired| desired.deployed)?;
    let placement = input.placements.get(&id.app)?;
    let replicas = *placement.value.actors.get(id)?.get(host)?;
    if replicas == 0 || is_undecided(input, &id.app) {
        return None;
    }
    let version = version_on(desired, &placement.value, id, host)?;
    let check = desired.rollout_policy(id).and_then(|policy| policy.gate.check.as_ref());
    let check = check.filter(|_| version.trial && version.manifest.persistent.is_none());
    Some(Placed { id, version, replicas, check, revision: placement.revision })
}

/// What one decision says of one actor on one host.
struct Placed<'a> {
    id: &'a ActorId,
    version: Version<'a>,
    replicas: u32,
    /// What it is asked while it is on trial.
    check: Option<&'a Check>,
    revision: u64,
}

fn next_spec(input: &SpecInput<'_>, host: &HostId, placed: &[Placed<'_>]) -> Option<HostSpec> {
    let previous = input.previous.get(host).copied();
    if previous.is_some_and(|previous| is_behind(input, previous)) {
        return None;
    }
    let astray = input.astray.get(host).copied();
    let have = previous.map(|previous| previous.generation).max(astray).unwrap_or_default();
    if have.incarnation > input.incarnation {
        return None; // The host lives in a later life of the lattice than this view.
    }
    let kept = previous.filter(|previous| previous.generation.incarnation == input.incarnation);
    let kept = Kept { previous: kept, input };
    let mut spec = content(input, host, (placed, &kept));
    spec.generation = have;
    if input.incarnation == have.incarnation && previous == Some(&spec) && astray.is_none() {
        return None;
    }
    let n = if input.incarnation > have.incarnation { 1 } else { have.n.saturating_add(1) };
    spec.generation = Generation { incarnation: input.incarnation, n };
    Some(spec)
}

/// Was the spec in force derived from a newer decision than this view has?
fn is_behind(input: &SpecInput<'_>, previous: &HostSpec) -> bool {
    let newer =
        |app: &AppName, revision: u64| input.placements.get(app).is_some_and(|have| have.revision < revision);
    previous.generation.incarnation > input.incarnation
        || (previous.generation.incarnation == input.incarnation
            && previous.apps.iter().any(|(app, revision)| newer(app, *revision)))
}

/// What a host keeps of its spec in force.
struct Kept<'a> {
    previous: Option<&'a HostSpec>,
    input: &'a SpecInput<'a>,
}

impl Kept<'_> {
    fn has(&self, app: &AppName) -> bool {
        is_undecided(self.input, app)
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
        check: part.check.cloned().map(Box::new),
        staged: staged.cloned().map(Box::new),
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
        let placement = input.placements.get(&id.app)?;
        placement.value.rollout.as_deref()?.base.content.application.provider(&id.name)
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
