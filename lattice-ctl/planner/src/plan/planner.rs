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
use super::tasks::Tasks;
use super::{Asked, Input, Plan, Room, Step, Task, calls, keep, rebalance};
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
    callers: BTreeMap<ActorId, BTreeSet<ActorId>>,
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
    /// Applications that are planned whole, with how their rollouts stand.
    whole: BTreeMap<AppName, Stance<'a>>,
    tasks: Vec<Task<'a>>,
    views: Vec<HostView<'a>>,
    /// Of the views.
    indices: Vec<usize>,
}

impl<'a> Scope<'a> {
    /// After the first pass: what stays where it is, and what room is left.
    pub(super) fn kept<'l>(
        &mut self,
        ledger: &'l mut Ledger,
        input: &Input<'a>,
    ) -> (Room<'l, 'a>, Vec<Task<'a>>) {
        let (mut tasks, views) = (std::mem::take(&mut self.tasks), std::mem::take(&mut self.views));
        let mut room = Room::new(ledger, views, &self.indices);
        tasks.iter_mut().for_each(|task| keep::keep(task, input, &mut room));
        tasks.iter_mut().for_each(|task| keep::settle(task, &mut room));
        (room, tasks)
    }

    /// Actors that are dealt with.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.tasks.len()
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
        let mut scope = self.scope(input);
        let Self { ledger, callers, .. } = self;
        let (room, tasks) = scope.kept(ledger, input);
        let draw = |actor: &ActorId| draw(actor, input, callers);
        let mut filling = Filling {
            input,
            room,
            tasks: Tasks::new(tasks),
            draw: &draw,
            notes: Notes::default(),
            left: input.allowance,
            searches: 0,
        };
        filling.fill_all();
        rebalance::rebalance(&mut filling);
        let Filling { tasks, notes, left, .. } = filling;
        let of_whole = scope.whole.keys().filter_map(|app| input.placements.get(app));
        let explanation = notes.finish(&tasks, of_whole.flat_map(|placement| &placement.actors));
        let mut plan = Plan {
            changed: self.placements(&scope.whole, tasks, input),
            removed: Vec::new(),
            explanation,
            moved: input.allowance.without(&left),
        };
        self.conclude(scope.whole, &mut plan, input);
        plan
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
        let mut scope = Scope { whole: BTreeMap::new(), tasks: Vec::new(), views, indices };
        let (whole, alone): (Vec<_>, _) = (whole.iter().collect(), by_app);
        let mut whole = whole.into_iter().peekable();
        let mut alone = alone.into_iter().peekable();
        // Both are in the order of applications, and so are the tasks.
        loop {
            let is_whole = match (whole.peek(), alone.peek()) {
                (None, None) => return scope,
                (Some(app), Some((other, _))) => app < other,
                (first, _) => first.is_some(),
            };
            if is_whole {
                let Some(app) = whole.next() else { return scope };
                let Some(asked) = asked(app, input, &self.callers) else {
                    scope.whole.insert(app.clone(), Stance::default());
                    continue;
                };
                let stance = rollout::stance(app, asked.desired, asked.placement, input);
                scope.tasks.extend(asked.tasks(&stance, |_| true));
                scope.whole.insert(app.clone(), stance);
            } else {
                let Some((app, actors)) = alone.next() else { return scope };
                let Some(asked) = asked(app, input, &self.callers) else { continue };
                scope.tasks.extend(asked.tasks(&Stance::default(), |actor| actors.contains(actor)));
            }
        }
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
    /// otherwise than before. Remembers where, and who is still waiting.
    fn placements(
        &mut self,
        whole: &BTreeMap<AppName, Stance<'_>>,
        tasks: Tasks<'_>,
        input: &Input<'_>,
    ) -> BTreeMap<AppName, Placement> {
        let empty = |app: &AppName| {
            let desired = input.desired.get(app)?;
            let mut placement = Placement::empty(app.clone(), desired.version);
            // Whoever writes it says from where it is; as long as it is not another one it is from there.
            placement.origin = input.placements.get(app).map(|before| before.origin).unwrap_or_default();
            Some((app.clone(), placement))
        };
        let mut placements: BTreeMap<AppName, Placement> = whole.keys().filter_map(empty).collect();
        for task in tasks.drain_by_id() {
            let id = &task.id;
            self.remember(&task);
            if task.unplaced.is_some() {
                self.alone.insert(id.clone());
            }
            let placement = match placements.get_mut(&id.app) {
                Some(placement) => placement,
                None if !task.is_changed() => continue,
                None => {
                    let Some(before) = input.placements.get(&id.app) else { continue };
                    placements.entry(id.app.clone()).or_insert_with(|| before.clone())
                }
            };
            placement.scaled.remove(id);
            placement.unplaced.remove(id);
            placement.actors.remove(id);
            if let Some((count, _)) = task.scaled {
                placement.scaled.insert(id.clone(), count);
            }
            if let Some(words) = task.unplaced {
                placement.unplaced.insert(id.clone(), words);
            }
            if !task.placed.is_empty() {
                placement.actors.insert(task.id, task.placed);
            }
        }
        placements
    }

    fn remember(&mut self, task: &Task<'_>) {
        let id = &task.id;
        let Some(known) = self.apps.get_mut(&id.app) else { return };
        for host in task.placed.keys() {
            match self.ledger.slot(host) {
                Some(slot) => known.hosts.insert(slot.index),
                None => {
                    self.unheard.entry(host.clone()).or_default().insert(id.clone());
                    known.unheard.insert(host.clone());
                }
            }
        }
    }

    /// Takes rollouts a turn further, leaves of the placements those that differ from the ones in
    /// force, and notes what has to be planned again next time.
    fn conclude(&mut self, whole: BTreeMap<AppName, Stance<'_>>, plan: &mut Plan, input: &Input<'_>) {
        let mut turns: Vec<Step> = Vec::new();
        for (app, stance) in whole {
            let before = input.placements.get(&app);
            let (Some(desired), Some(placement)) = (input.desired.get(&app), plan.changed.get_mut(&app))
            else {
                if before.is_some() {
                    plan.removed.push(app.clone());
                    self.whole.insert(app);
                }
                continue;
            };
            turns.extend(rollout::carry_on(stance, desired, before, placement, input));
            if is_moving(desired, placement) {
                self.whole.insert(app);
            }
        }
        plan.explanation.splice(0..0, turns);
        plan.changed.retain(|app, placement| input.placements.get(app).is_none_or(|have| have != placement));
        // Whether it comes into force is not known.
        self.whole.extend(plan.changed.keys().cloned());
        plan.changed.retain(|app, _| !input.awaits(app));
        plan.removed.retain(|app| !input.awaits(app));
    }
}

/// May time alone, or what hosts say of their work, change what there shall be of it?
fn is_moving(desired: &DesiredApp, placement: &Placement) -> bool {
    let rolls = placement.rollout.as_ref().is_some_and(|rollout| !rollout.is_rolled_back());
    rolls || desired.application.actors.iter().any(|actor| actor.autoscale.is_some())
}

fn asked<'i, 'a>(
    app: &AppName,
    input: &'i Input<'a>,
    callers: &'i BTreeMap<ActorId, BTreeSet<ActorId>>,
) -> Option<Asked<'i, 'a>> {
    let (app, desired) = input.desired.entry(app)?;
    Some(Asked { input, app, desired, placement: input.placements.get(app), callers })
}

/// The task of an actor for which nothing has changed.
fn draw<'a>(
    actor: &ActorId,
    input: &Input<'a>,
    callers: &BTreeMap<ActorId, BTreeSet<ActorId>>,
) -> Option<Task<'a>> {
    let asked = asked(&actor.app, input, callers)?;
    let rolls = asked.placement.filter(|placement| placement.rollout.is_some());
    let stance = rolls
        .map_or_else(Stance::default, |_| rollout::stance(asked.app, asked.desired, asked.placement, input));
    asked.tasks(&stance, |id| id == actor).pop()
}
