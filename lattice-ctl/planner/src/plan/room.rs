//! What is free on each host, and what this run has given away already. CPU in thousandths of a
//! core, memory in MiB.
//!
//! A host is as busy as it measures, or as its running replicas have reserved, whichever is more,
//! plus what is reserved for replicas that it does not run yet. Sums are wide and saturate, so no
//! report of a host can make room by underflow.
//!
//! Hosts are kept in the order of their load as well, so that the best of many is found without
//! looking at all of them. Invariant: [`Room::by_load`] holds every host once, under its score.

use super::{Group, Input};
use crate::observed::HostView;
use lattice_protocol::heartbeat::{ActorStatus, Load, RunState};
use lattice_protocol::manifest::Resources;
use lattice_protocol::{ActorId, HostId};
use std::collections::{BTreeMap, BTreeSet};

/// An amount of both resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    cpu: u64,
    memory: u64,
}

impl Amount {
    fn of(resources: &Resources, count: u32) -> Self {
        let times = |one: u32| u64::from(one).saturating_mul(count.into());
        Self { cpu: times(resources.cpu_millis), memory: times(resources.memory_mib) }
    }
    fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_add(other.cpu), memory: self.memory.saturating_add(other.memory) }
    }
    fn minus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(other.cpu), memory: self.memory.saturating_sub(other.memory) }
    }
    fn max(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }
}

/// What is taken of a host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Books {
    capacity: Amount,
    measured: Amount,
    /// Reserved for replicas that run there.
    running: Amount,
    /// Reserved for replicas that do not run there yet.
    pending: Amount,
}

impl Books {
    fn busy(&self) -> Amount {
        self.measured.max(self.running).plus(self.pending)
    }

    /// Is one more replica's need free?
    pub(super) fn fits(&self, need: &Resources) -> bool {
        let after = self.busy().plus(Amount::of(need, 1));
        (need.cpu_millis == 0 || after.cpu <= self.capacity.cpu)
            && (need.memory_mib == 0 || after.memory <= self.capacity.memory)
    }

    /// Gives back one replica's part of what `held` says.
    pub(super) fn give_back(&mut self, held: &mut Held) {
        if held.pending > 0 {
            held.pending -= 1;
            self.pending = self.pending.minus(Amount::of(&held.need, 1));
        } else if held.running > 0 {
            held.running -= 1;
            self.running = self.running.minus(Amount::of(&held.need, 1));
            self.measured = self.measured.minus(held.used);
        }
    }

    /// Takes one back that was given back before: `earlier` is what was held then.
    pub(super) fn take_again(&mut self, held: &mut Held, earlier: &Held) {
        if held.running < earlier.running {
            held.running += 1;
            self.running = self.running.plus(Amount::of(&held.need, 1));
            self.measured = self.measured.plus(held.used);
        } else if held.pending < earlier.pending {
            held.pending += 1;
            self.pending = self.pending.plus(Amount::of(&held.need, 1));
        }
    }
}

/// What one actor holds of a host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    need: Resources,
    running: u32,
    pending: u32,
    /// What one running replica uses in fact, as far as the host says.
    used: Amount,
}

/// One host and what is left of it.
#[derive(Debug)]
pub(crate) struct HostRoom<'seen> {
    pub(crate) view: HostView<'seen>,
    pub(super) books: Books,
    /// Actors there that are not ours to place.
    others: u64,
    held: BTreeMap<ActorId, Held>,
    statuses: BTreeMap<&'seen ActorId, &'seen ActorStatus>,
    /// Digests of artifacts that it has, sorted.
    artifacts: Vec<&'seen str>,
}

impl<'seen> HostRoom<'seen> {
    fn new(view: HostView<'seen>, is_ours: &dyn Fn(&ActorId) -> bool) -> Self {
        let beat = view.heartbeat;
        let load = &beat.load;
        let amount = |cpu: u32, memory: u32| Amount { cpu: cpu.into(), memory: memory.into() };
        let others = beat.actors.iter().filter(|status| !is_ours(&status.id)).count();
        let running = beat.actors.iter().map(|status| status.digest.as_str());
        let mut artifacts: Vec<&str> = running.chain(beat.cached.iter().map(String::as_str)).collect();
        artifacts.sort_unstable();
        Self {
            view,
            books: Books {
                capacity: amount(load.cpu_millis, load.memory_mib),
                measured: amount(load.cpu_used_millis, load.memory_used_mib),
                ..Books::default()
            },
            others: u64::try_from(others).unwrap_or(u64::MAX),
            held: BTreeMap::new(),
            statuses: beat.actors.iter().map(|status| (&status.id, status)).collect(),
            artifacts,
        }
    }

    pub(crate) fn fits(&self, need: &Resources) -> bool {
        self.books.fits(need)
    }

    /// Can it run a provider of this kind? One that does not say is believed to.
    pub(super) fn runs(&self, kind: &str) -> bool {
        let kinds = &self.view.heartbeat.kinds;
        kinds.is_empty() || kinds.iter().any(|have| have == kind)
    }

    pub(super) fn has_artifact(&self, digest: &str) -> bool {
        self.artifacts.binary_search(&digest).is_ok()
    }

    pub(super) fn holds(&self, actor: &ActorId) -> bool {
        self.held.contains_key(actor)
    }

    pub(super) fn held(&self, actor: &ActorId) -> Option<&Held> {
        self.held.get(actor)
    }

    /// Actors placed there by us.
    pub(super) fn actors(&self) -> impl Iterator<Item = &ActorId> {
        self.held.keys()
    }

    /// Seed 004's score, in thousandths: CPU % + memory % + number of actors. Less is better.
    pub(crate) fn score(&self) -> u64 {
        self.weigh(self.books.busy())
    }

    /// The same of what is reserved alone: it moves with replicas at once, not with the next
    /// heartbeat, so that moving until it is even comes to an end.
    pub(super) fn reserved(&self) -> u64 {
        self.weigh(self.books.running.plus(self.books.pending))
    }

    /// What one replica of an actor adds to [`HostRoom::reserved`].
    pub(super) fn reserved_with(&self, need: &Resources, is_new: bool) -> u64 {
        let taken = self.books.running.plus(self.books.pending).plus(Amount::of(need, 1));
        self.weigh(taken).saturating_add(if is_new { 10 } else { 0 })
    }

    fn weigh(&self, taken: Amount) -> u64 {
        let part = |busy: u64, capacity: u64| busy.saturating_mul(1_000) / capacity.max(1);
        let actors = self.others.saturating_add(u64::try_from(self.held.len()).unwrap_or(u64::MAX));
        part(taken.cpu, self.books.capacity.cpu)
            .saturating_add(part(taken.memory, self.books.capacity.memory))
            .saturating_add(actors.saturating_mul(10))
    }

    /// What is free, thousandths of a core and MiB.
    pub(super) fn free(&self) -> (u64, u64) {
        let free = self.books.capacity.minus(self.books.busy());
        (free.cpu, free.memory)
    }

    /// The load as it is now, for people.
    pub(crate) fn load(&self) -> Load {
        let narrow = |wide: u64| u32::try_from(wide).unwrap_or(u32::MAX);
        let busy = self.books.busy();
        Load {
            cpu_millis: narrow(self.books.capacity.cpu),
            cpu_used_millis: narrow(busy.cpu),
            memory_mib: narrow(self.books.capacity.memory),
            memory_used_mib: narrow(busy.memory),
        }
    }

    fn keep(&mut self, actor: &ActorId, need: &Resources, count: u32) {
        let status = self.statuses.get(actor).filter(|status| status.state == RunState::Running);
        let running = status.map_or(0, |status| status.replicas).min(count);
        let used = status.map_or(Amount::default(), |status| used_by_one(status));
        self.books.running = self.books.running.plus(Amount::of(need, running));
        self.books.pending = self.books.pending.plus(Amount::of(need, count - running));
        let held = Held { need: *need, running, pending: count - running, used };
        self.held.insert(actor.clone(), held);
    }

    fn add(&mut self, actor: &ActorId, need: &Resources) {
        self.books.pending = self.books.pending.plus(Amount::of(need, 1));
        let held = self.held.entry(actor.clone()).or_insert(Held { need: *need, ..Held::default() });
        held.pending = held.pending.saturating_add(1);
    }

    fn remove(&mut self, actor: &ActorId) {
        let Some(held) = self.held.get_mut(actor) else { return };
        self.books.give_back(held);
        if held.running == 0 && held.pending == 0 {
            self.held.remove(actor);
        }
    }
}

fn used_by_one(status: &ActorStatus) -> Amount {
    let one = |all: u32| u64::from(all) / u64::from(status.replicas.max(1));
    Amount { cpu: one(status.cpu_used_millis), memory: one(status.memory_used_mib) }
}

/// A host's place in [`Room`].
pub(super) type Slot = usize;

/// Every host that was ever heard of.
#[derive(Debug)]
pub(crate) struct Room<'seen> {
    /// By id.
    hosts: Vec<HostRoom<'seen>>,
    slots: BTreeMap<&'seen HostId, Slot>,
    by_load: BTreeSet<(u64, Slot)>,
    by_label: BTreeMap<&'seen str, BTreeMap<&'seen str, Vec<Slot>>>,
    /// Where each actor has replicas.
    homes: BTreeMap<ActorId, BTreeSet<Slot>>,
}

impl<'seen> Room<'seen> {
    /// Before anything is kept or placed.
    pub(crate) fn new(input: &Input<'seen>) -> Self {
        let ours: BTreeSet<&ActorId> =
            input.placements.values().flat_map(|placement| placement.actors.keys()).collect();
        let is_ours = |actor: &ActorId| ours.contains(actor);
        let hosts: Vec<HostRoom<'seen>> =
            input.observed.views(input.now_ms).map(|view| HostRoom::new(view, &is_ours)).collect();
        let mut by_label: BTreeMap<&str, BTreeMap<&str, Vec<Slot>>> = BTreeMap::new();
        for (slot, host) in hosts.iter().enumerate() {
            for (key, value) in &host.view.heartbeat.labels {
                by_label.entry(key).or_default().entry(value).or_default().push(slot);
            }
        }
        Self {
            slots: hosts.iter().enumerate().map(|(slot, host)| (host.view.id, slot)).collect(),
            by_load: hosts.iter().enumerate().map(|(slot, host)| (host.score(), slot)).collect(),
            hosts,
            by_label,
            homes: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, host: &HostId) -> Option<&HostRoom<'seen>> {
        self.at(*self.slots.get(host)?)
    }
    pub(super) fn slot(&self, host: &HostId) -> Option<Slot> {
        self.slots.get(host).copied()
    }
    pub(super) fn at(&self, slot: Slot) -> Option<&HostRoom<'seen>> {
        self.hosts.get(slot)
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &HostRoom<'seen>> {
        self.hosts.iter()
    }
    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Hosts by load, the least loaded first, after one that was given before.
    pub(super) fn least_loaded(&self, after: Option<(u64, Slot)>) -> impl Iterator<Item = (u64, Slot)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.by_load.range((from, std::ops::Bound::Unbounded)).copied()
    }
    /// The other way round: the most loaded first, before one that was given before.
    pub(super) fn most_loaded(&self, before: Option<(u64, Slot)>) -> impl Iterator<Item = (u64, Slot)> {
        let to = before.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.by_load.range((std::ops::Bound::Unbounded, to)).rev().copied()
    }

    /// The hosts with the rarest of a group's labels, besides this one; `None` when the group has
    /// none that hosts carry literally.
    pub(super) fn labelled(&self, group: &Group, besides: Option<(&str, &str)>) -> Option<&[Slot]> {
        let of_group = group.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let literal = of_group.chain(besides).filter(|(key, _)| !matches!(*key, "arch" | "hostcore.arch"));
        let list = |(key, value): (&str, &str)| self.by_label.get(key)?.get(value);
        let lists = literal.map(|pair| list(pair).map_or(&[] as &[Slot], Vec::as_slice));
        lists.min_by_key(|list| list.len())
    }

    /// Hosts with replicas of an actor.
    pub(super) fn homes(&self, actor: &ActorId) -> impl Iterator<Item = Slot> {
        self.homes.get(actor).into_iter().flatten().copied()
    }

    /// Reserves for replicas that stay on a host.
    pub(super) fn keep(&mut self, host: &HostId, actor: &ActorId, need: &Resources, count: u32) {
        self.change(host, actor, |host| host.keep(actor, need, count));
    }
    /// Reserves for one replica more.
    pub(super) fn add(&mut self, host: &HostId, actor: &ActorId, need: &Resources) {
        self.change(host, actor, |host| host.add(actor, need));
    }
    /// Gives back what one replica held.
    pub(super) fn remove(&mut self, host: &HostId, actor: &ActorId) {
        self.change(host, actor, |host| host.remove(actor));
    }

    fn change(&mut self, host: &HostId, actor: &ActorId, change: impl FnOnce(&mut HostRoom<'seen>)) {
        let Some(slot) = self.slot(host) else { return };
        let Some(host) = self.hosts.get_mut(slot) else { return };
        let before = host.score();
        change(host);
        let after = host.score();
        if before != after {
            self.by_load.remove(&(before, slot));
            self.by_load.insert((after, slot));
        }
        let holds = host.holds(actor);
        match self.homes.get_mut(actor) {
            Some(homes) if holds => drop(homes.insert(slot)),
            Some(homes) => drop(homes.remove(&slot)),
            None if holds => drop(self.homes.insert(actor.clone(), BTreeSet::from([slot]))),
            None => {}
        }
    }
}
