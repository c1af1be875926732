//! From what shall run and what does run, to what to do. The daemon calls [`reconcile`] whenever
//! a spec arrives, something ends, or [`Steps::wake_at_ms`] comes; performs the actions in order;
//! and puts what came of them into the [`Inventory`]. Nothing else is remembered, so a step that
//! was lost or failed is simply planned again.
//!
//! Invariants:
//! * idempotent: when every action has succeeded, the next call gives none;
//! * actions that free names and ports (stops) come first, providers before the actors that call
//!   them;
//! * a start that failed is not repeated before the time its supervisor gave, unless what it
//!   depends on has changed;
//! * links follow at once, even while an update to another component is waiting: unlinking must
//!   not wait for anything.

use lattice_protocol::{
    ActorId, ActorSpec, HostSpec, LinkDefinition, LinkTarget, ProviderId, ProviderSpec, link::LinkKey,
};
use std::collections::{BTreeMap, BTreeSet};

/// How something on this host is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Being fetched, verified, compiled, connected.
    Starting,
    /// Serving.
    Running,
    /// Not serving.
    Failed {
        /// When its supervisor allows another start.
        retry_at_ms: u64,
    },
}

/// One provider as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderNow {
    /// What was started, or tried.
    pub spec: ProviderSpec,
    /// How it is.
    pub phase: Phase,
    /// Counts its starts on this host: actors bound to an earlier one are bound again.
    pub incarnation: u64,
}

/// One actor as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ActorNow {
    /// What was started, or tried.
    pub spec: ActorSpec,
    /// How it is.
    pub phase: Phase,
    /// The links it was started or last updated with, in the order of [`links_of`].
    pub links: Vec<LinkDefinition>,
    /// The running providers it is bound to by those links, each with its incarnation.
    pub bound: BTreeMap<ProviderId, u64>,
    /// An update of this running actor that failed: to which spec, and when it may be tried again.
    /// An update of the wiring alone leaves it as it is.
    pub refused: Option<(ActorSpec, u64)>,
}

/// All that is on this host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// Providers.
    pub providers: BTreeMap<ProviderId, ProviderNow>,
    /// Actors.
    pub actors: BTreeMap<ActorId, ActorNow>,
}

impl Inventory {
    /// The providers that an actor with these links would be bound to now.
    #[must_use]
    pub fn bindings(&self, links: &[LinkDefinition]) -> BTreeMap<ProviderId, u64> {
        providers_of(links)
            .filter_map(|id| self.providers.get_key_value(id))
            .filter(|(_, provider)| provider.phase == Phase::Running)
            .map(|(id, provider)| (id.clone(), provider.incarnation))
            .collect()
    }

    /// The providers of an actor's links that do not serve it yet, each with its phase: while there
    /// are any, the actor runs and yet not all that its links promise is there.
    pub fn awaited<'a>(&'a self, actor: &'a ActorNow) -> impl Iterator<Item = (&'a ProviderId, Phase)> {
        providers_of(&actor.links)
            .filter_map(|id| self.providers.get_key_value(id))
            .map(|(id, provider)| (id, provider.phase))
            .filter(|(_, phase)| *phase != Phase::Running)
    }
}

/// What an update of a running actor changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another component: load it, then swap, then drain the old one.
    pub artifact: bool,
    /// Reuse of instances, or limits.
    pub limits: bool,
    /// How many replicas count here.
    pub replicas: bool,
    /// Values of `wasi:config`.
    pub config: bool,
    /// Links, or the providers behind them.
    pub wiring: bool,
    /// It is on trial, or no longer: its revision becomes the least that may run.
    pub trial: bool,
    /// What it is asked.
    pub check: bool,
}

impl Changes {
    fn between(now: &ActorSpec, desired: &ActorSpec) -> Self {
        Self {
            artifact: now.artifact != desired.artifact,
            limits: now.instances != desired.instances
                || now.limits != desired.limits
                || now.persistent != desired.persistent,
            replicas: now.replicas != desired.replicas,
            config: now.config != desired.config,
            wiring: false,
            trial: now.trial != desired.trial,
            check: now.check != desired.check,
        }
    }
    fn any(self) -> bool {
        self != Self::default()
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Drain and drop an actor.
    StopActor(ActorId),
    /// Stop a provider. One that is changed is stopped first and started again later, so that
    /// two providers can exchange their ports.
    StopProvider(ProviderId),
    /// Start a provider.
    StartProvider(ProviderSpec),
    /// Change a running actor in place.
    UpdateActor {
        /// What it shall be.
        spec: Box<ActorSpec>,
        /// All its links, in the order of [`links_of`].
        links: Vec<LinkDefinition>,
        /// What of it differs.
        changes: Changes,
    },
    /// Start an actor.
    StartActor {
        /// What it shall be.
        spec: Box<ActorSpec>,
        /// All its links, in the order of [`links_of`].
        links: Vec<LinkDefinition>,
    },
}

/// What to do now, and when to look again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Steps {
    /// In this order.
    pub actions: Vec<Action>,
    /// The earliest time at which something that waits may be tried again.
    pub wake_at_ms: Option<u64>,
}

/// The links of one actor, each key once (the last one counts), in the order of their keys.
#[must_use]
pub fn links_of(spec: &HostSpec, actor: &ActorId) -> Vec<LinkDefinition> {
    let unique: BTreeMap<LinkKey, &LinkDefinition> =
        spec.links.iter().filter(|link| link.source == *actor).map(|link| (link.key(), link)).collect();
    unique.into_values().cloned().collect()
}

fn providers_of(links: &[LinkDefinition]) -> impl Iterator<Item = &ProviderId> {
    links.iter().filter_map(|link| match &link.target {
        LinkTarget::Provider(id) => Some(id),
        LinkTarget::Actor(_) => None,
    })
}

/// What leads from `current` to `desired`. `now_ms` is on the clock of the retry times.
#[must_use]
pub fn reconcile(desired: &HostSpec, current: &Inventory, now_ms: u64) -> Steps {
    let mut wake = Wake { now_ms, at_ms: None };
    let providers = plan_providers(desired, current, &mut wake);
    let actors = plan_actors(desired, current, &providers.disturbed, &mut wake);
    let mut actions = actors.stops;
    actions.extend(providers.stops);
    actions.extend(providers.starts);
    actions.extend(actors.updates);
    actions.extend(actors.starts);
    Steps { actions, wake_at_ms: wake.at_ms }
}

/// Collects when to look again.
struct Wake {
    now_ms: u64,
    at_ms: Option<u64>,
}

impl Wake {
    /// Has this time come? If not, it is one to wake at.
    fn is_due(&mut self, at_ms: u64) -> bool {
        if at_ms <= self.now_ms {
            return true;
        }
        self.at_ms = Some(self.at_ms.map_or(at_ms, |earliest| earliest.min(at_ms)));
        false
    }
}

#[derive(Default)]
struct ProviderSteps {
    stops: Vec<Action>,
    starts: Vec<Action>,
    /// Providers that these steps stop or start: whoever is linked to them is bound again.
    disturbed: BTreeSet<ProviderId>,
}

fn plan_providers(desired: &HostSpec, current: &Inventory, wake: &mut Wake) -> ProviderSteps {
    let wanted: BTreeMap<&ProviderId, &ProviderSpec> =
        desired.providers.iter().map(|spec| (&spec.id, spec)).collect();
    let mut steps = ProviderSteps::default();
    for (id, now) in &current.providers {
        if wanted.get(id).is_none_or(|spec| **spec != now.spec) {
            steps.stops.push(Action::StopProvider(id.clone()));
            steps.disturbed.insert(id.clone());
        }
    }
    for (id, spec) in wanted {
        let start = match current.providers.get(id).filter(|now| now.spec == *spec).map(|now| now.phase) {
            None => true,
            Some(Phase::Failed { retry_at_ms }) => wake.is_due(retry_at_ms),
            Some(Phase::Starting | Phase::Running) => false,
        };
        if start {
            steps.starts.push(Action::StartProvider(spec.clone()));
            steps.disturbed.insert(id.clone());
        }
    }
    steps
}

#[derive(Default)]
struct ActorSteps {
    stops: Vec<Action>,
    updates: Vec<Action>,
    starts: Vec<Action>,
}

fn plan_actors(
    desired: &HostSpec,
    current: &Inventory,
    disturbed: &BTreeSet<ProviderId>,
    wake: &mut Wake,
) -> ActorSteps {
    let wanted: BTreeMap<&ActorId, &ActorSpec> = desired.actors.iter().map(|spec| (&spec.id, spec)).collect();
    let mut steps = ActorSteps::default();
    for id in current.actors.keys().filter(|id| !wanted.contains_key(id)) {
        steps.stops.push(Action::StopActor(id.clone()));
    }
    for (id, spec) in wanted {
        let links = links_of(desired, id);
        let start = || Action::StartActor { spec: Box::new(spec.clone()), links: links.clone() };
        let Some(now) = current.actors.get(id) else {
            steps.starts.push(start());
            continue;
        };
        let same = now.spec == *spec;
        match now.phase {
            Phase::Starting if same => {}
            Phase::Starting => {
                steps.stops.push(Action::StopActor(id.clone()));
                steps.starts.push(start());
            }
            Phase::Failed { retry_at_ms } => {
                if !same || now.links != links || wake.is_due(retry_at_ms) {
                    steps.starts.push(start());
                }
            }
            Phase::Running => {
                let rebind = now.links != links
                    || providers_of(&links).any(|id| disturbed.contains(id))
                    || now.bound != current.bindings(&links);
                steps.updates.extend(update(now, spec, links, rebind, wake));
            }
        }
    }
    steps
}

fn update(
    now: &ActorNow,
    desired: &ActorSpec,
    links: Vec<LinkDefinition>,
    rebind: bool,
    wake: &mut Wake,
) -> Option<Action> {
    let waits = now
        .refused
        .as_ref()
        .is_some_and(|(refused, retry_at_ms)| refused == desired && !wake.is_due(*retry_at_ms));
    // While the component, say, cannot be replaced, the one that runs still gets its links.
    let spec = if waits { &now.spec } else { desired };
    let changes = Changes { wiring: rebind, ..Changes::between(&now.spec, spec) };
    changes.any().then(|| Action::UpdateActor { spec: Box::new(spec.clone()), links, changes })
}

#[cfg(test)]
mod tests;
