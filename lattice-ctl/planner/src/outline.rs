//! Which hosts the records are about, and which of them have to be told something because of a
//! change: kept beside the records, so that nobody reads all of them to find out.
//!
//! A change of an application concerns the hosts that it is placed on or was, those whose spec in
//! force names it, and those of every application that is linked to a provider of it.

use crate::known::Told;
use crate::sorted::Sorted;
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::ActorManifest;
use lattice_protocol::{ActorId, AppName, HostId, LinkDefinition, LinkTarget};
use std::collections::{BTreeMap, BTreeSet};

/// The outline of the records.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// The actors that each host has by the decisions in force.
    by_host: BTreeMap<HostId, Sorted<ActorId>>,
    /// The hosts that each application is placed on.
    placed: BTreeMap<AppName, Sorted<HostId>>,
    /// The hosts whose spec in force has something of an application, or is linked to a provider of it:
    /// by a link, it may be, that nobody desires any more.
    told: BTreeMap<AppName, Sorted<HostId>>,
    /// Other applications whose providers an application is linked to; and the other way round.
    uses: BTreeMap<AppName, BTreeSet<AppName>>,
    users: BTreeMap<AppName, Sorted<AppName>>,
    due: BTreeSet<HostId>,
}

impl Outline {
    /// The actors that a host has by the decisions in force.
    pub(crate) fn actors(&self, host: &HostId) -> impl Iterator<Item = &ActorId> {
        self.by_host.get(host).into_iter().flatten()
    }

    /// The same, at once.
    pub(crate) fn placed_on(&self, host: &HostId) -> Option<&Sorted<ActorId>> {
        self.by_host.get(host)
    }

    /// A host has to be looked at.
    pub(crate) fn due(&mut self, host: &HostId) {
        self.due.insert(host.clone());
    }

    /// Has any?
    pub(crate) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// All that have.
    pub(crate) fn all_due(&self) -> impl Iterator<Item = &HostId> {
        self.due.iter()
    }

    /// One was looked at and needs to be told nothing.
    pub(crate) fn is_told(&mut self, host: &HostId) {
        self.due.remove(host);
    }

    /// An application shall be otherwise than before.
    pub(crate) fn desired(&mut self, app: &AppName, now: Option<&DesiredApp>, placement: Option<&Placement>) {
        self.link(app, now, placement);
        self.concerns(app);
    }

    /// A decision has changed.
    pub(crate) fn placed(
        &mut self,
        app: &AppName,
        (before, after): (Option<&Placement>, Option<&Placement>),
        desired: Option<&DesiredApp>,
    ) {
        self.concerns(app);
        let places = |placement: Option<&Placement>| -> Vec<(HostId, ActorId)> {
            let actors = placement.into_iter().flat_map(|placement| &placement.actors);
            let places =
                actors.flat_map(|(id, hosts)| hosts.keys().map(move |host| (host.clone(), id.clone())));
            places.collect()
        };
        for (host, actor) in places(before) {
            take(&mut self.by_host, &host, &actor);
        }
        let after_places = places(after);
        self.placed.remove(app);
        if !after_places.is_empty() {
            let hosts = after_places.iter().map(|(host, _)| host.clone()).collect();
            self.placed.insert(app.clone(), hosts);
        }
        for (host, actor) in after_places {
            self.by_host.entry(host).or_default().insert(actor);
        }
        self.link(app, desired, after);
        self.concerns(app);
    }

    /// A host was told something else.
    pub(crate) fn told(&mut self, host: &HostId, before: Option<&Told>, after: Option<&Told>) {
        for app in before.into_iter().flat_map(names) {
            take(&mut self.told, app, host);
        }
        for app in after.into_iter().flat_map(names) {
            self.told.entry(app.clone()).or_default().insert(host.clone());
        }
        self.due(host);
    }

    /// Every host that an application, or one that is linked to a provider of it, is about.
    fn concerns(&mut self, app: &AppName) {
        let users = self.users.get(app).into_iter().flatten();
        for app in users.chain([app]) {
            let hosts = [&self.placed, &self.told].into_iter().filter_map(|index| index.get(app)).flatten();
            self.due.extend(hosts.cloned());
        }
    }

    /// Notes whose providers an application is linked to, in either version.
    fn link(&mut self, app: &AppName, desired: Option<&DesiredApp>, placement: Option<&Placement>) {
        for other in self.uses.remove(app).into_iter().flatten() {
            take(&mut self.users, &other, app);
        }
        let new = desired.into_iter().flat_map(|desired| &desired.application.actors);
        let base = placement.and_then(|placement| placement.rollout.as_deref());
        let old = base.into_iter().flat_map(|rollout| &rollout.base.content.application.actors);
        let uses: BTreeSet<AppName> =
            new.chain(old).flat_map(providers).filter(|other| *other != app).cloned().collect();
        for other in &uses {
            self.users.entry(other.clone()).or_default().insert(app.clone());
        }
        if !uses.is_empty() {
            self.uses.insert(app.clone(), uses);
        }
    }
}

/// The applications that a spec names.
fn names(spec: &Told) -> BTreeSet<&AppName> {
    spec.apps.keys().chain(targets(&spec.links)).collect()
}

/// The applications of the providers that an actor is linked to.
fn providers(manifest: &ActorManifest) -> impl Iterator<Item = &AppName> {
    targets(&manifest.links)
}

fn targets(links: &[LinkDefinition]) -> impl Iterator<Item = &AppName> {
    links.iter().filter_map(|link| match &link.target {
        LinkTarget::Provider(id) => Some(&id.app),
        LinkTarget::Actor(_) => None,
    })
}

/// Takes one out of a set; no set is left empty.
fn take<K: Ord, V: Ord>(sets: &mut BTreeMap<K, Sorted<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
