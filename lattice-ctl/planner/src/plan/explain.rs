//! Why a plan is what it is, change by change. What stays is not mentioned.

use super::{Input, Task};
use lattice_protocol::heartbeat::Load;
use lattice_protocol::{ActorId, HostId};
use std::collections::BTreeMap;

/// One change and its reason.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Replicas go to a host.
    Scheduled {
        /// Of which actor.
        actor: ActorId,
        /// Where.
        host: HostId,
        /// How many.
        replicas: u32,
        /// The host's load before.
        load: Load,
    },
    /// Replicas move because their host cannot be relied on.
    Failover {
        /// The host that they leave.
        from: HostId,
        /// Where they go.
        to: HostId,
        /// Which actors.
        actors: Vec<ActorId>,
    },
    /// Replicas go from a host and nowhere else.
    Released {
        /// Of which actor.
        actor: ActorId,
        /// From where.
        host: HostId,
        /// How many.
        replicas: u32,
    },
    /// Replicas that nothing could be found for.
    Unplaced {
        /// Of which actor.
        actor: ActorId,
        /// Why.
        why: String,
    },
}

impl std::fmt::Display for Step {
    /// Seed 004's lines.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scheduled { actor, host, load, replicas } => {
                write!(
                    formatter,
                    "Scheduled {actor} -> {host} (cpu: {}/{}, mem: {}/{})",
                    load.cpu_used_millis, load.cpu_millis, load.memory_used_mib, load.memory_mib
                )?;
                if *replicas > 1 { write!(formatter, " x {replicas}") } else { Ok(()) }
            }
            Self::Failover { from, to, actors } => {
                write!(formatter, "Failover: {from} -> {to} ({} actors)", actors.len())
            }
            Self::Released { actor, host, replicas } => {
                write!(formatter, "Released {actor} from {host} ({replicas} replicas)")
            }
            Self::Unplaced { actor, why } => write!(formatter, "Not placed: {actor}: {why}"),
        }
    }
}

/// New replicas by host, with the host's load before the first of them.
pub(super) type Added = BTreeMap<HostId, (u32, Load)>;

/// Collects the steps of one plan.
#[derive(Debug, Default)]
pub(super) struct Notes {
    steps: Vec<Step>,
    moves: BTreeMap<(HostId, HostId), Vec<ActorId>>,
}

impl Notes {
    /// What an actor was given. Replicas that left an unreliable host are matched, in order, with
    /// those that came elsewhere.
    pub(super) fn placed(&mut self, task: &Task<'_>, added: Added) {
        let sources = task.displaced.iter().flat_map(|(host, count)| repeat(host, *count));
        let targets = added.iter().flat_map(|(host, (count, _))| repeat(host, *count));
        for (from, to) in sources.zip(targets) {
            let actors = self.moves.entry((from.clone(), to.clone())).or_default();
            if actors.last() != Some(&task.id) {
                actors.push(task.id.clone());
            }
        }
        for (host, (replicas, load)) in added {
            self.steps.push(Step::Scheduled { actor: task.id.clone(), host, replicas, load });
        }
    }

    pub(super) fn unplaced(&mut self, task: &Task<'_>, why: String) {
        // Said once: what was known before is no change.
        if task.unplaced_before.as_ref() != Some(&why) {
            self.steps.push(Step::Unplaced { actor: task.id.clone(), why });
        }
    }

    /// Every step: fail-overs, then what was scheduled, then what was released.
    pub(super) fn finish(self, tasks: &[Task<'_>], input: &Input<'_>) -> Vec<Step> {
        let moves = self.moves.into_iter().map(|((from, to), actors)| Step::Failover { from, to, actors });
        moves.chain(self.steps).chain(released(tasks, input)).collect()
    }
}

fn repeat(host: &HostId, count: u32) -> impl Iterator<Item = &HostId> {
    std::iter::repeat_n(host, usize::try_from(count).unwrap_or(usize::MAX))
}

/// What has less on a host than before, though the host is well.
fn released<'a>(tasks: &'a [Task<'_>], input: &'a Input<'_>) -> impl Iterator<Item = Step> + 'a {
    let planned: BTreeMap<&ActorId, &Task<'_>> = tasks.iter().map(|task| (&task.id, task)).collect();
    let before = input.placements.values().flat_map(|placement| &placement.actors);
    before.flat_map(move |(actor, hosts)| {
        let task = planned.get(actor).copied();
        hosts.iter().filter_map(move |(host, before)| {
            let after = task.and_then(|task| task.placed.get(host)).copied().unwrap_or(0);
            let moved = task.is_some_and(|task| task.displaced.contains_key(host));
            (after < *before && !moved).then(|| Step::Released {
                actor: actor.clone(),
                host: host.clone(),
                replicas: before - after,
            })
        })
    })
}
