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

use super::explain::Notes;
use super::fill::Filling;
use super::ledger::{Changes, Ledger};
use super::tasks::{Dealt, Outcome, Seed, Tasks};
use super::{Asked, Callers, Input, Plan, Room, Step, Task, calls, rebalance};
use crate::observed::HostView;
use crate::rollout::{self, Stance};
use crate::sorted::Sorted;
use lattice_protocol::desired::{DesiredApp, Placement, Verdict};
use lattice_protocol::manifest::Scale;
use lattice_protocol::{ActorId, AppName, HostId};
use std::collections::{BTreeMap, BTreeSet};

/// What is kept between plans.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    pub(super) ledger: Ledger,
    apps: BTreeMap<AppName, Known>,
    /// Applications to plan whole.
    whole: BTreeSet<AppName>,
    /// Actors of others to plan.
    alone: BTreeSet<ActorId>,
    /// Actors that run on every host that matches.
    daemons: BTreeSet<ActorId>,
    /// By actor: those that are linked to it.
    pub(super) callers: Callers,
    /// Hosts that were never heard of, and who has something there by a decision in force.
    unheard: BTreeMap<HostId, BTreeSet<ActorId>>,
    /// The verdict on those.
    unheard_verdict: Option<Verdict>,
}

/// Where in the planner an application has left something.
#[derive(Debug, Clone, Default)]
struct Known {
    hosts: Sorted<usize>,
    links: BTreeSet<(ActorId, ActorId)>,
    daemons: BTreeSet<ActorId>,
    unheard: BTreeSet<HostId>,
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

/// What comes out of a plan.
#[derive(Default)]
struct Decided {
    changed: BTreeMap<AppName, Placement>,
    removed: Vec<AppName>,
    /// Turns of rollouts.
    turns: Vec<Step>,
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
            if manifest.scale == Scale::Daemon {
                let id = ActorId::new(app.clone(), manifest.name.clone());
                self.daemons.insert(id.clone());
                known.daemons.insert(id);
            }
        }
    }

    /// What was placed, of applications that are planned whole and of those in which something is
    /// otherwise than before. Remembers where, who is still waiting, and what has to be planned again.
    fn decide<'a>(
        &mut self,
        apps: Vec<Dealt<'_>>,
        outcomes: impl Iterator<Item = (ActorId, Outcome<'a>)>,
        input: &Input<'_>,
    ) -> Decided {
        let mut decided = Decided::default();
        let (mut apps, mut outcomes) = (apps.into_iter().peekable(), outcomes.peekable());
        loop {
            let first = apps.peek().map(|app| &app.name);
            let actors = outcomes.peek().map(|(id, _)| &id.app);
            let Some(name) = first.into_iter().chain(actors).min().cloned() else { break };
            let whole = apps.next_if(|app| app.name == name).filter(|app| app.is_whole);
            let of_app = std::iter::from_fn(|| outcomes.next_if(|(id, _)| id.app == name));
            match whole {
                Some(app) => self.decide_whole(app, of_app, input, &mut decided),
                None => {
                    let before = input.placements.get(&name);
                    let mut placement: Option<Placement> = None;
                    for (id, outcome) in of_app {
                        self.remember(&id, &outcome);
                        if outcome.is_changed() && placement.is_none() {
                            placement = before.cloned();
                        }
                        if let Some(placement) = &mut placement {
                            put(placement, id, outcome, before);
                        }
                    }
                    decided.changed.extend(placement.map(|placement| (name, placement)));
                }
            }
        }
        decided.changed.retain(|app, _| {
            // Whether it comes into force is not known.
            self.whole.insert(app.clone());
            !input.awaits(app)
        });
        decided.removed.retain(|app| !input.awaits(app));
        decided
    }

    /// One application that is planned whole; its rollout is taken a turn further.
    fn decide_whole<'a>(
        &mut self,
        app: Dealt<'_>,
        outcomes: impl Iterator<Item = (ActorId, Outcome<'a>)>,
        input: &Input<'_>,
        decided: &mut Decided,
    ) {
        let Dealt { name, desired, placement: before, stance, .. } = app;
        let mut placement = Placement::empty(name.clone(), desired.map_or(0, |desired| desired.version));
        // Whoever writes it says from where it is; as long as it is not another one it is from there.
        placement.origin = before.map(|before| before.origin).unwrap_or_default();
        for (id, outcome) in outcomes {
            self.remember(&id, &outcome);
            put(&mut placement, id, outcome, before);
        }
        let Some(desired) = desired else {
            if before.is_some() {
                decided.removed.push(name.clone());
                self.whole.insert(name);
            }
            return;
        };
        decided.turns.extend(rollout::carry_on(stance, desired, before, &mut placement, input));
        if is_moving(desired, &placement) {
            self.whole.insert(name.clone());
        }
        if before != Some(&placement) {
            decided.changed.insert(name, placement);
        }
    }

    /// Where an actor is from now on, and whether it waits.
    fn remember(&mut self, id: &ActorId, outcome: &Outcome<'_>) {
        let places = match outcome {
            Outcome::Rests(places) => places,
            Outcome::Placed(places) => places,
            Outcome::Open(task) => {
                if task.unplaced.is_some() {
                    self.alone.insert(id.clone());
                }
                &task.placed
            }
        };
        let Some(known) = self.apps.get_mut(&id.app) else { return };
        for host in places.keys() {
            match self.ledger.slot(host) {
                Some(slot) => known.hosts.insert(slot.index),
                None => {
                    self.unheard.entry(host.clone()).or_default().insert(id.clone());
                    known.unheard.insert(host.clone());
                }
            }
        }
    }
}

/// Writes down what came out for one actor, over what was written down before.
fn put(placement: &mut Placement, id: ActorId, outcome: Outcome<'_>, before: Option<&Placement>) {
    let scaled_before = || before.and_then(|before| before.scaled.get(&id)).copied();
    let (places, unplaced, scaled) = match outcome {
        Outcome::Rests(places) => (places.clone(), None, scaled_before()),
        Outcome::Placed(places) => (places, None, None),
        Outcome::Open(task) => (task.placed, task.unplaced, task.scaled.map(|(count, _)| count)),
    };
    match scaled {
        Some(count) => drop(placement.scaled.insert(id.clone(), count)),
        None => drop(placement.scaled.remove(&id)),
    }
    match unplaced {
        Some(words) => drop(placement.unplaced.insert(id.clone(), words)),
        None => drop(placement.unplaced.remove(&id)),
    }
    if places.is_empty() {
        placement.actors.remove(&id);
    } else {
        placement.actors.insert(id, places);
    }
}

/// May time alone, or what hosts say of their work, change what there shall be of it?
fn is_moving(desired: &DesiredApp, placement: &Placement) -> bool {
    let rolls = placement.rollout.as_ref().is_some_and(|rollout| !rollout.is_rolled_back());
    rolls || desired.application.actors.iter().any(|actor| actor.autoscale.is_some())
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
