//! What is free on each host, and what this run has given away already. CPU in thousandths of a
//! core, memory in MiB.
//!
//! A host is as busy as it measures, or as its running replicas have reserved, whichever is more,
//! plus what is reserved for replicas that it does not run yet. Sums are wide and saturate, so no
//! report of a host can make room by underflow.

use super::Input;
use crate::observed::HostView;
use lattice_protocol::heartbeat::{Load, RunState};
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
    fn max(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }
}

/// One host and what is left of it.
#[derive(Debug)]
pub(crate) struct HostRoom<'seen> {
    pub(crate) view: HostView<'seen>,
    capacity: Amount,
    measured: Amount,
    /// Reserved for replicas that run there.
    running: Amount,
    /// Reserved for replicas that do not run there yet.
    pending: Amount,
    /// Actors there, those of others included.
    actors: u64,
    placed: BTreeSet<ActorId>,
}

impl HostRoom<'_> {
    fn busy(&self) -> Amount {
        self.measured.max(self.running).plus(self.pending)
    }

    /// Is one more replica's need free?
    pub(crate) fn fits(&self, need: &Resources) -> bool {
        let after = self.busy().plus(Amount::of(need, 1));
        (need.cpu_millis == 0 || after.cpu <= self.capacity.cpu)
            && (need.memory_mib == 0 || after.memory <= self.capacity.memory)
    }

    /// Seed 004's score, in thousandths: CPU % + memory % + number of actors. Less is better.
    pub(crate) fn score(&self) -> u64 {
        let part = |busy: u64, capacity: u64| busy.saturating_mul(1_000) / capacity.max(1);
        let busy = self.busy();
        part(busy.cpu, self.capacity.cpu)
            .saturating_add(part(busy.memory, self.capacity.memory))
            .saturating_add(self.actors.saturating_mul(10))
    }

    /// The load as it is now, for people.
    pub(crate) fn load(&self) -> Load {
        let narrow = |wide: u64| u32::try_from(wide).unwrap_or(u32::MAX);
        let busy = self.busy();
        Load {
            cpu_millis: narrow(self.capacity.cpu),
            cpu_used_millis: narrow(busy.cpu),
            memory_mib: narrow(self.capacity.memory),
            memory_used_mib: narrow(busy.memory),
        }
    }

    /// Reserves for replicas that stay.
    pub(crate) fn keep(&mut self, actor: &ActorId, need: &Resources, count: u32) {
        let here = self.view.heartbeat.actors.iter().find(|status| status.id == *actor);
        let running =
            here.filter(|status| status.state == RunState::Running).map_or(0, |status| status.replicas);
        let running = running.min(count);
        self.running = self.running.plus(Amount::of(need, running));
        self.pending = self.pending.plus(Amount::of(need, count - running));
        self.count(actor);
    }

    /// Reserves for one replica more.
    pub(crate) fn add(&mut self, actor: &ActorId, need: &Resources) {
        self.pending = self.pending.plus(Amount::of(need, 1));
        self.count(actor);
    }

    fn count(&mut self, actor: &ActorId) {
        if self.placed.insert(actor.clone()) {
            self.actors = self.actors.saturating_add(1);
        }
    }
}

/// Every host that was ever heard of.
#[derive(Debug)]
pub(crate) struct Room<'seen> {
    hosts: BTreeMap<&'seen HostId, HostRoom<'seen>>,
}

impl<'seen> Room<'seen> {
    /// Before anything is kept or placed.
    pub(crate) fn new(input: &Input<'seen>) -> Self {
        let ours: BTreeSet<&ActorId> =
            input.placements.values().flat_map(|placement| placement.actors.keys()).collect();
        let hosts = input.observed.views(input.now_ms).map(|view| {
            let load = &view.heartbeat.load;
            let others = view.heartbeat.actors.iter().filter(|status| !ours.contains(&status.id)).count();
            let amount = |cpu: u32, memory: u32| Amount { cpu: cpu.into(), memory: memory.into() };
            let room = HostRoom {
                view,
                capacity: amount(load.cpu_millis, load.memory_mib),
                measured: amount(load.cpu_used_millis, load.memory_used_mib),
                running: Amount::default(),
                pending: Amount::default(),
                actors: u64::try_from(others).unwrap_or(u64::MAX),
                placed: BTreeSet::new(),
            };
            (view.id, room)
        });
        Self { hosts: hosts.collect() }
    }

    pub(crate) fn get(&self, host: &HostId) -> Option<&HostRoom<'seen>> {
        self.hosts.get(host)
    }
    pub(crate) fn get_mut(&mut self, host: &HostId) -> Option<&mut HostRoom<'seen>> {
        self.hosts.get_mut(host)
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &HostRoom<'seen>> {
        self.hosts.values()
    }
}
