//! What is taken of one host. CPU in thousandths of a core, memory in MiB.
//!
//! A host is as busy as it measures, or as its running replicas have reserved, whichever is more,
//! plus what is reserved for replicas that it does not run yet. Sums are wide and saturate, so no
//! report of a host can make room by underflow.

use lattice_protocol::heartbeat::{ActorStatus, Load, RunState};
use lattice_protocol::manifest::Resources;

/// An amount of both resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) cpu: u64,
    pub(super) memory: u64,
}

impl Amount {
    pub(super) fn of(resources: &Resources, count: u32) -> Self {
        let times = |one: u32| u64::from(one).saturating_mul(count.into());
        Self { cpu: times(resources.cpu_millis), memory: times(resources.memory_mib) }
    }
    pub(super) fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_add(other.cpu), memory: self.memory.saturating_add(other.memory) }
    }
    pub(super) fn minus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(other.cpu), memory: self.memory.saturating_sub(other.memory) }
    }
    fn max(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }
}

/// What is taken of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) capacity: Amount,
    measured: Amount,
    /// Measured use of replicas that this plan has taken away.
    pub(super) freed: Amount,
    /// Reserved for replicas that run there.
    running: Amount,
    /// Reserved for replicas that do not run there yet.
    pending: Amount,
}

impl Books {
    /// What the host itself says.
    pub(super) fn measure(&mut self, load: &Load) {
        let amount = |cpu: u32, memory: u32| Amount { cpu: cpu.into(), memory: memory.into() };
        self.capacity = amount(load.cpu_millis, load.memory_mib);
        self.measured = amount(load.cpu_used_millis, load.memory_used_mib);
    }

    pub(super) fn busy(&self) -> Amount {
        self.measured.minus(self.freed).max(self.running).plus(self.pending)
    }

    pub(super) fn reserved(&self) -> Amount {
        self.running.plus(self.pending)
    }

    /// Is one more replica's need free?
    pub(super) fn fits(&self, need: &Resources) -> bool {
        let after = self.busy().plus(Amount::of(need, 1));
        (need.cpu_millis == 0 || after.cpu <= self.capacity.cpu)
            && (need.memory_mib == 0 || after.memory <= self.capacity.memory)
    }

    pub(super) fn enter(&mut self, held: &Held) {
        self.running = self.running.plus(Amount::of(&held.need, held.running));
        self.pending = self.pending.plus(Amount::of(&held.need, held.pending));
    }

    pub(super) fn strike(&mut self, held: &Held) {
        self.running = self.running.minus(Amount::of(&held.need, held.running));
        self.pending = self.pending.minus(Amount::of(&held.need, held.pending));
    }

    /// Takes one replica more, which does not run yet.
    pub(super) fn take(&mut self, held: &mut Held) {
        held.pending = held.pending.saturating_add(1);
        self.pending = self.pending.plus(Amount::of(&held.need, 1));
    }

    /// Gives back one replica's part of what `held` says.
    pub(super) fn give_back(&mut self, held: &mut Held) {
        if held.pending > 0 {
            held.pending -= 1;
            self.pending = self.pending.minus(Amount::of(&held.need, 1));
        } else if held.running > 0 {
            held.running -= 1;
            self.running = self.running.minus(Amount::of(&held.need, 1));
            self.freed = self.freed.plus(Amount::of(&held.used, 1));
        }
    }

    /// Takes one back that was given back before: `earlier` is what was held then.
    pub(super) fn take_again(&mut self, held: &mut Held, earlier: &Held) {
        if held.running < earlier.running {
            held.running += 1;
            self.running = self.running.plus(Amount::of(&held.need, 1));
            self.freed = self.freed.minus(Amount::of(&held.used, 1));
        } else if held.pending < earlier.pending {
            held.pending += 1;
            self.pending = self.pending.plus(Amount::of(&held.need, 1));
        }
    }
}

/// What one actor holds of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) need: Resources,
    running: u32,
    pending: u32,
    /// What one running replica uses in fact, as far as the host says, of what it has said that it
    /// needs: one that needs nothing of something fits anywhere, and gives nothing of it back.
    pub(super) used: Resources,
    pub(super) priority: u8,
    /// Its state is on this host: it gives way to nobody.
    pub(super) pinned: bool,
}

impl Held {
    /// So many replicas, of which some run already by the host's word.
    pub(super) fn new(claim: &Claim, count: u32, status: Option<&ActorStatus>) -> Self {
        let status = status.filter(|status| status.state == RunState::Running);
        let running = status.map_or(0, |status| status.replicas).min(count);
        let Claim { need, priority, pinned } = *claim;
        let used = status.map(used_by_one).unwrap_or_default();
        let used = Resources {
            cpu_millis: if need.cpu_millis > 0 { used.cpu_millis } else { 0 },
            memory_mib: if need.memory_mib > 0 { used.memory_mib } else { 0 },
        };
        Self { need, running, pending: count - running, used, priority, pinned }
    }

    pub(super) fn claim(&self) -> Claim {
        Claim { need: self.need, priority: self.priority, pinned: self.pinned }
    }

    pub(super) fn replicas(&self) -> u32 {
        self.running.saturating_add(self.pending)
    }
}

/// As whom an actor holds what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) need: Resources,
    pub(super) priority: u8,
    pub(super) pinned: bool,
}

fn used_by_one(status: &ActorStatus) -> Resources {
    let one = |all: u32| all / status.replicas.max(1);
    Resources { cpu_millis: one(status.cpu_used_millis), memory_mib: one(status.memory_used_mib) }
}
