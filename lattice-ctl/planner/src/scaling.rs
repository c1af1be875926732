//! How many replicas an actor shall have at its present load.
//!
//! The number that is in force stands in the placement; how long it has been wrong is remembered
//! here, by the observer's clock. Losing that memory costs one cool-down and changes nothing.
//!
//! *Up* at once, at most to the double, once a cool-down; *down* only when less would have been
//! enough for a whole cool-down, and then to the most that was needed within it. Concurrency and
//! rate are sums over all replicas, so they do not depend on how many there are, and a constant
//! load has one answer. A queue does: where there are enough replicas it is empty. So a queue (or
//! lag) only ever raises the number, and what lowers it is how many calls are being served: as
//! many replicas stay as are busy.

use crate::observed::Observed;
use lattice_protocol::desired::{DesiredApp, Placement, Verdict};
use lattice_protocol::heartbeat::ActorStatus;
use lattice_protocol::manifest::{ActorManifest, AutoScale, Metric, Resources, Scale};
use lattice_protocol::{ActorId, HostId, Places};
use std::collections::{BTreeMap, VecDeque};

/// Samples of one actor that are kept within a cool-down.
const SAMPLES: usize = 256;

/// What was seen of every actor that scales by itself.
#[derive(Debug, Clone, Default)]
pub struct Scaling {
    actors: BTreeMap<ActorId, Memory>,
}

/// One actor.
#[derive(Debug, Clone, Default)]
struct Memory {
    /// Calls of each host when they were counted last, and when that was.
    calls: BTreeMap<HostId, (u64, u64)>,
    /// Calls each second by host, as they were counted last.
    rates: BTreeMap<HostId, u64>,
    /// Replicas needed, and when.
    needed: VecDeque<(u64, u32)>,
    /// Since when it is watched without a gap.
    since_ms: u64,
    changed_ms: Option<u64>,
    /// What there shall be, and the load that says so.
    wanted: u32,
    load: u64,
}

/// The load of all replicas of an actor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    in_flight: u64,
    queued: u64,
    rate: u64,
    lag: u64,
}

impl Scaling {
    /// Looks at what hosts say now. Called before each plan, with every application and the decision
    /// about it that is in force.
    pub fn observe<'a>(
        &mut self,
        apps: impl IntoIterator<Item = (&'a DesiredApp, Option<&'a Placement>)>,
        observed: &Observed,
        now_ms: u64,
    ) {
        let mut before = std::mem::take(&mut self.actors);
        for (desired, placement) in apps {
            for manifest in desired.application.actors.iter().filter(|_| desired.deployed) {
                let Some(rule) = &manifest.autoscale else { continue };
                let id = ActorId::new(desired.application.name.clone(), manifest.name.clone());
                let mut memory =
                    before.remove(&id).unwrap_or_else(|| Memory { since_ms: now_ms, ..Memory::default() });
                let load = memory.measure(&id, placement, observed, now_ms);
                let current = in_force(placement, &id, manifest);
                memory.decide((manifest, rule), load, current, now_ms);
                self.actors.insert(id, memory);
            }
        }
    }

    /// Does nothing scale by itself?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actors.is_empty()
    }

    /// How many replicas there shall be, and the load that says so; what is in force when the actor
    /// was not looked at.
    pub(crate) fn wanted(
        &self,
        id: &ActorId,
        manifest: &ActorManifest,
        placement: Option<&Placement>,
    ) -> Option<(u32, Option<u64>)> {
        manifest.autoscale.as_ref()?;
        let current = in_force(placement, id, manifest);
        let seen = self.actors.get(id).map(|memory| (memory.wanted, Some(memory.load)));
        Some(seen.unwrap_or((current, None)))
    }
}

/// The number in force, within what the rule allows.
fn in_force(placement: Option<&Placement>, id: &ActorId, manifest: &ActorManifest) -> u32 {
    let (least, most) = bounds(manifest);
    let decided = placement.and_then(|placement| placement.scaled.get(id)).copied();
    decided.unwrap_or(least).clamp(least, most)
}

/// The least and the most replicas of an actor that scales by itself. The budget bounds the most, not
/// the least. One of which there shall be none is stopped: no load wakes it.
pub(crate) fn bounds(manifest: &ActorManifest) -> (u32, u32) {
    let least = if let Scale::Replicas(count) = manifest.scale { count } else { 0 };
    let Some(rule) = manifest.autoscale.as_ref().filter(|_| least > 0) else { return (least, least) };
    let Resources { cpu_millis, memory_mib } = manifest.placement.resources;
    let affordable = |budget: u32, one: u32| if budget == 0 || one == 0 { u32::MAX } else { budget / one };
    let budget = rule.budget.as_ref().map_or(u32::MAX, |budget| {
        affordable(budget.cpu_millis, cpu_millis).min(affordable(budget.memory_mib, memory_mib))
    });
    (least, rule.max.min(budget).max(least))
}

impl Memory {
    fn measure(
        &mut self,
        id: &ActorId,
        placement: Option<&Placement>,
        observed: &Observed,
        now_ms: u64,
    ) -> Load {
        let mut sum = Load::default();
        let hosts = placement.and_then(|placement| placement.actors.get(id));
        let views = hosts.into_iter().flat_map(Places::keys).filter_map(|host| observed.view(host, now_ms));
        // One that is late is believed to be as busy as it was.
        for view in views.filter(|view| view.verdict != Verdict::Lost) {
            let heard_ms = now_ms.saturating_sub(view.silent_ms);
            let status = view.heartbeat.actors.iter().find(|status| status.id == *id);
            let Some(status) = status else { continue };
            sum.in_flight = sum.in_flight.saturating_add(status.in_flight.into());
            sum.queued = sum.queued.saturating_add(status.queued.into());
            // Hosts share the consumer, and each says what waits for all of them.
            sum.lag = sum.lag.max(status.lag.unwrap_or(0));
            sum.rate = sum.rate.saturating_add(self.rate(view.id, status, heard_ms));
        }
        sum
    }

    /// Calls each second on one host, between its last two heartbeats that were looked at.
    fn rate(&mut self, host: &HostId, status: &ActorStatus, heard_ms: u64) -> u64 {
        let before = self.calls.get(host).copied();
        match before {
            Some((_, at)) if at == heard_ms => {}
            Some((calls, at)) if status.calls >= calls && heard_ms > at => {
                let rate = (status.calls - calls).saturating_mul(1_000).div_ceil(heard_ms - at);
                self.rates.insert(host.clone(), rate);
                self.calls.insert(host.clone(), (status.calls, heard_ms));
            }
            // The first word of it, or it began to count anew.
            _ => drop(self.calls.insert(host.clone(), (status.calls, heard_ms))),
        }
        self.rates.get(host).copied().unwrap_or(0)
    }

    fn decide(
        &mut self,
        (manifest, rule): (&ActorManifest, &AutoScale),
        load: Load,
        current: u32,
        now_ms: u64,
    ) {
        let (least, most) = bounds(manifest);
        let (measured, needed) = needed(manifest, rule, load, current);
        let needed = needed.clamp(least, most);
        self.needed.push_back((now_ms, needed));
        let from = now_ms.saturating_sub(rule.cooldown_ms);
        while self.needed.len() > SAMPLES || self.needed.front().is_some_and(|(at, _)| *at < from) {
            self.needed.pop_front();
        }
        let rested = self.changed_ms.is_none_or(|at| now_ms.saturating_sub(at) >= rule.cooldown_ms);
        let watched = now_ms.saturating_sub(self.since_ms) >= rule.cooldown_ms;
        let highest = self.needed.iter().map(|(_, needed)| *needed).max().unwrap_or(needed);
        let next = if needed > current && rested {
            needed.min(current.saturating_mul(2).max(current.saturating_add(1)))
        } else if highest < current && rested && watched {
            highest
        } else {
            current
        };
        (self.wanted, self.load) = (next, measured);
        if next != current {
            self.changed_ms = Some(now_ms);
        }
    }
}

/// What is measured, and the replicas that it takes.
fn needed(manifest: &ActorManifest, rule: &AutoScale, load: Load, current: u32) -> (u64, u32) {
    let replicas =
        |load: u64, each: u32| u32::try_from(load.div_ceil(u64::from(each.max(1)))).unwrap_or(u32::MAX);
    let backlog = |waiting: u64| {
        // As many as are busy stay; more come only for what waits.
        let busy = replicas(load.in_flight, manifest.limits.concurrency);
        let for_backlog = replicas(waiting, rule.target);
        let is_short = waiting > u64::from(current) * u64::from(rule.target);
        (waiting, if is_short { for_backlog.max(current) } else { for_backlog.max(busy).min(current) })
    };
    match rule.metric {
        Metric::Concurrency => {
            let all = load.in_flight.saturating_add(load.queued);
            (all, replicas(all, rule.target))
        }
        Metric::Rate => (load.rate, replicas(load.rate, rule.target)),
        Metric::Queue => backlog(load.queued),
        Metric::Lag => backlog(load.lag),
    }
}

#[cfg(test)]
mod tests;
