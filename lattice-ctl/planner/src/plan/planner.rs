//! A planner that is asked again and again. It keeps what every host has and who holds how much of
//! it, and deals with as much as has changed:
//!
//! - applications whose desired record or decision has changed ([`Planner::touch`]), that scale by
//!   themselves, are in the middle of a rollout, or were given another placement by the last plan
//!   (which may not have come into force): all their actors;
//! - actors on a host whose verdict, labels or refusals have changed; actors that could not be placed
//!   in full; those that run on every host, when a host may take what it could not: they alone;
//! - whoever gives way to one of these, or makes room for it.
//!
//! Invariant: between plans the ledger holds what the decisions in force say, but for applications
//! that are planned whole next time. An actor that is not dealt with would have kept all that it has
//! and lacked nothing, so a plan from nothing comes to the same.
//!
//! Seed and policy must be the same in every plan; if they change, begin with a new planner.

use super::decide::Decided;
use super::explain::Notes;
use super::fill::Filling;
use super::ledger::{Changes, Ledger};
use super::tasks::{Dealt, Seed, Tasks};
use super::{Asked, Callers, Input, Plan, Room, Task, calls, rebalance};
use crate::observed::HostView;
use crate::rollout::{self, Stance};
use crate::sorted::Sorted;
use lattice_protocol::desired::Verdict;
use lattice_protocol::manifest::{ActorManifest, Scale};
use lattice_protocol::{ActorId, AppName, Durability, HostId};
use std::collections::{BTreeMap, BTreeSet};

/// What is kept between plans.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    pub(super) ledger: Ledger,
    pub(super) apps: BTreeMap<AppName, Known>,
    /// Applications to plan whole.
    pub(super) whole: BTreeSet<AppName>,
    /// Actors of others to plan.
    pub(super) alone: BTreeSet<ActorId>,
    /// Actors that run on every host that matches.
    daemons: BTreeSet<ActorId>,
    /// Kinds of persistent actors that may run on several hosts.
    kinds: BTreeSet<ActorId>,
    /// By actor: those that are linked to it.
    pub(super) callers: Callers,
    /// Hosts that were never heard of, and who has something there by a decision in force.
    pub(super) unheard: BTreeMap<HostId, BTreeSet<ActorId>>,
    /// The verdict on those.
    unheard_verdict: Option<Verdict>,
}

/// Where in the planner an application has left something.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) hosts: Sorted<usize>,
    links: BTreeSet<(ActorId, ActorId)>,
    daemons: BTreeSet<ActorId>,
    kinds: BTreeSet<ActorId>,
    pub(super) unheard: BTreeSet<HostId>,
}

/// What one plan deals with.
pub(super) struct Scope<'a> {
    /// By name.
    apps: Vec<Dealt<'a>>,
    /// In the order of applications, and within each of its manifest.
    seeds: Vec<Seed<'a>>,
    views: Vec<HostView<'a>>,
    /// Of the views.
    indices: Vec<usize>,
}

impl<'a> Scope<'a> {
    /// One application, whole or some of its actors.
    fn add(&mut self, name: &AppName, input: &Input<'a>, only: Option<&BTreeSet<&ActorId>>) {
        let (app, is_whole) = (u32::try_from(self.apps.len()).unwrap_or(u32::MAX), only.is_none());
        let (desired, placement) = (input.desired.get(name), input.placements.get(name));
        let mut stance = Stance::default();
        if let Some(desired) = desired.filter(|_| is_whole) {
            stance = rollout::stance(name, desired, placement, input);
        }
        for desired in desired.into_iter().filter(|desired| desired.deployed) {
            for (position, (manifest, artifact)) in (0..).zip(stance.actors(desired)) {
                let is_wanted = |only: &BTreeSet<&ActorId>| {
                    only.contains(&ActorId::new(name.clone(), manifest.name.clone()))
                };
                if only.is_none_or(is_wanted) {
                    self.seeds.push(Seed { app, position, manifest, artifact });
                }
            }
        }
        self.apps.push(Dealt { name: name.clone(), desired, placement, stance, is_whole });
    }

    /// After the first pass: what stays where it is, and what room is left.
    pub(super) fn kept<'run>(
        self,
        (ledger, callers): (&'run mut Ledger, &'run Callers),
        input: &'run Input<'a>,
    ) -> (Room<'run, 'a>, Tasks<'run, 'a>) {
        let mut room = Room::new(ledger, self.views, &self.indices);
        let tasks = Tasks::new((input, callers), self.apps, self.seeds, &mut room);
        (room, tasks)
    }

    /// Actors that are dealt with.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.seeds.len()
    }
}

#[cfg(test)]
impl Planner {
    /// Actors of the next plan that are taken to rest, and that their turn would do something for.
    pub(super) fn restless(&mut self, input: &Input<'_>) -> Vec<ActorId> {
        let scope = self.scope(input);
        let (mut room, mut tasks) = scope.kept((&mut self.ledger, &self.callers), input);
        tasks.restless(&mut room)
    }
}

impl Planner {
    /// One that knows nothing, and plans all of this at first.
    #[must_use]
    pub fn of(input: &Input<'_>) -> Self {
        let apps = input.desired.keys().chain(input.placements.keys());
        Self { whole: apps.cloned().collect(), ..Self::default() }
    }

    /// What is desired of an application has changed, or the decision about it.
    pub fn touch(&mut self, app: &AppName) {
        self.whole.insert(app.clone());
    }

    /// Is there an actor or an application that the next plan deals with, whatever hosts say? Those
    /// that wait, scale by themselves or are in a rollout are.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.whole.is_empty() && self.alone.is_empty()
    }

    /// Makes a plan. Everything that is otherwise in `input.desired` and `input.placements` than in
    /// the plan before was touched.
    #[must_use]
    pub fn plan(&mut self, input: &Input<'_>) -> Plan {
        let scope = self.scope(input);
        let (room, tasks) = scope.kept((&mut self.ledger, &self.callers), input);
        let (notes, left) = (Notes::default(), input.allowance);
        let mut filling = Filling { input, room, tasks, notes, left, searches: 0 };
        filling.fill_all();
        rebalance::part_kinds(&mut filling, &self.kinds);
        rebalance::rebalance(&mut filling);
        let Filling { tasks, notes, left, .. } = filling;
        let steps = notes.finish(&tasks);
        let (apps, outcomes) = tasks.finish();
        let Decided { changed, removed, turns: mut explanation } = self.decide(apps, outcomes, input);
        explanation.extend(steps);
        Plan { changed, removed, explanation, moved: input.allowance.without(&left) }
    }

    /// Finds out what has changed, and what has to be dealt with because of it.
    pub(super) fn scope<'a>(&mut self, input: &Input<'a>) -> Scope<'a> {
        let views: Vec<HostView<'a>> = input.observed.views(input.now_ms).collect();
        let mut whole = std::mem::take(&mut self.whole);
        let mut appeared = BTreeSet::new();
        let mut is_any_gone = false;
        for app in &whole {
            self.forget(app);
            if !input.desired.contains_key(app) && !input.placements.contains_key(app) {
                is_any_gone |= self.apps.remove(app).is_some();
            } else if self.apps.insert(app.clone(), Known::default()).is_none() {
                appeared.insert(app.clone());
            }
        }
        let Self { ledger, apps, .. } = self;
        let is_ours = |app: &AppName| apps.contains_key(app);
        let Some((indices, changes)) = ledger.look(&views, &is_ours, (&appeared, is_any_gone)) else {
            // A host was forgotten: that is rare, and begins anew.
            *self = Self::of(input);
            return self.scope(input);
        };
        let alone = self.affected(input, &changes);
        let mut by_app: BTreeMap<&AppName, BTreeSet<&ActorId>> = BTreeMap::new();
        for actor in &alone {
            let rolls = input.placements.get(&actor.app).is_some_and(|placement| placement.rollout.is_some());
            if rolls && !whole.contains(&actor.app) {
                self.forget(&actor.app);
                whole.insert(actor.app.clone());
            } else {
                by_app.entry(&actor.app).or_default().insert(actor);
            }
        }
        by_app.retain(|app, _| !whole.contains(*app));
        for app in &whole {
            self.register(app, input);
        }
        let mut scope = Scope { apps: Vec::new(), seeds: Vec::new(), views, indices };
        let mut alone = by_app.into_iter().peekable();
        // Both are in the order of applications.
        for app in &whole {
            while let Some((other, actors)) = alone.next_if(|(other, _)| *other < app) {
                scope.add(other, input, Some(&actors));
            }
            scope.add(app, input, None);
        }
        alone.for_each(|(app, actors)| scope.add(app, input, Some(&actors)));
        scope
    }

    /// Actors that have to be looked at though nothing about their applications has changed.
    fn affected(&mut self, input: &Input<'_>, changes: &Changes) -> BTreeSet<ActorId> {
        let mut affected = std::mem::take(&mut self.alone);
        for index in &changes.standing {
            let held = self.ledger.at(*index).into_iter().flat_map(super::account::Account::all_held);
            affected.extend(held.map(|(actor, _)| actor.clone()));
        }
        for host in &changes.joined {
            affected.extend(self.unheard.remove(host).into_iter().flatten());
        }
        // All hosts that were never heard of are judged alike.
        let verdict = self.unheard.keys().next().map(|host| input.observed.judge(host, input.now_ms));
        if verdict != std::mem::replace(&mut self.unheard_verdict, verdict) {
            affected.extend(self.unheard.values().flatten().cloned());
        }
        if changes.fitness {
            affected.extend(self.daemons.iter().cloned());
        }
        affected
    }

    /// Takes back all that an application has left here.
    fn forget(&mut self, app: &AppName) {
        let Some(known) = self.apps.get_mut(app).map(std::mem::take) else { return };
        for index in known.hosts {
            self.ledger.forget(index, app);
        }
        for (source, target) in &known.links {
            if let Some(callers) = self.callers.get_mut(target) {
                callers.remove(source);
                if callers.is_empty() {
                    self.callers.remove(target);
                }
            }
        }
        for actor in &known.daemons {
            self.daemons.remove(actor);
        }
        for actor in &known.kinds {
            self.kinds.remove(actor);
        }
        for host in &known.unheard {
            if let Some(actors) = self.unheard.get_mut(host) {
                actors.retain(|actor| actor.app != *app);
                if actors.is_empty() {
                    self.unheard.remove(host);
                }
            }
        }
    }

    /// Notes who is linked to whom, and who runs everywhere.
    fn register(&mut self, app: &AppName, input: &Input<'_>) {
        let desired = input.desired.get(app).filter(|desired| desired.deployed);
        let (Some(desired), Some(known)) = (desired, self.apps.get_mut(app)) else { return };
        for manifest in &desired.application.actors {
            for (source, target) in calls(manifest) {
                self.callers.entry(target.clone()).or_default().insert(source.clone());
                known.links.insert((source.clone(), target.clone()));
            }
            let id = || ActorId::new(app.clone(), manifest.name.clone());
            if manifest.scale == Scale::Daemon {
                self.daemons.insert(id());
                known.daemons.insert(id());
            } else if is_movable_kind(manifest) {
                self.kinds.insert(id());
                known.kinds.insert(id());
            }
        }
    }
}

/// Is it a kind of persistent actors whose state is in the lattice, and not on one host?
fn is_movable_kind(manifest: &ActorManifest) -> bool {
    manifest.persistent.as_ref().is_some_and(|kind| kind.durability == Durability::Lattice)
}

/// The task of an actor for which nothing has changed.
pub(super) fn draw<'a>(actor: &ActorId, input: &Input<'a>, callers: &Callers) -> Option<Task<'a>> {
    let (app, desired) = input.desired.entry(&actor.app)?;
    let placement = input.placements.get(app);
    let rolls = placement.filter(|placement| placement.rollout.is_some());
    let stance = rolls.map_or_else(Stance::default, |_| rollout::stance(app, desired, placement, input));
    let actors = if desired.deployed { stance.actors(desired) } else { Vec::new() };
    let mut found = actors.into_iter().enumerate().filter(|(_, (manifest, _))| manifest.name == actor.name);
    let (position, (manifest, artifact)) = found.next()?;
    Some(Asked { input, app, desired, placement, callers }.task((position, manifest), artifact, &stance))
}
