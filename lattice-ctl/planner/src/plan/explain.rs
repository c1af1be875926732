//! Why a plan is what it is, change by change. What stays is not mentioned.

use super::Task;
use super::choose::Reasons;
use super::tasks::Tasks;
use lattice_protocol::heartbeat::Load;
use lattice_protocol::manifest::Metric;
use lattice_protocol::{ActorId, AppName, HostId, Places};
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
        /// What spoke for the host.
        why: Reasons,
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
    /// Replicas give way to a more important actor.
    Preempted {
        /// Who gives way.
        actor: ActorId,
        /// Where.
        host: HostId,
        /// How many.
        replicas: u32,
        /// To whom.
        by: ActorId,
    },
    /// Replicas move to a host that has less.
    Rebalanced {
        /// Of which actor.
        actor: ActorId,
        /// From where.
        from: HostId,
        /// To where.
        to: HostId,
        /// How many.
        replicas: u32,
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
    /// An actor has another number of replicas, because of its load.
    Scaled {
        /// Which.
        actor: ActorId,
        /// How many there were.
        from: u32,
        /// How many there shall be.
        to: u32,
        /// What was measured, in which metric.
        load: Option<(u64, Metric)>,
    },
    /// The rollout of an application takes a turn.
    Rollout {
        /// Of which application.
        app: AppName,
        /// Which turn.
        what: Turn,
    },
}

/// What can happen to a rollout. Versions are those of the desired record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It begins.
    Begun {
        /// The version that hosts have.
        from: u64,
        /// The version that they shall have.
        to: u64,
    },
    /// More hosts have the new version from now on.
    Switched {
        /// Of which actor.
        actor: ActorId,
        /// Which hosts.
        hosts: Vec<HostId>,
    },
    /// Somebody has stopped it.
    Paused,
    /// It goes on.
    Resumed,
    /// Every gate has passed everywhere; somebody has to say that it is final.
    Complete,
    /// It is over, and all of the new version is in force.
    Final {
        /// The new version.
        version: u64,
    },
    /// A gate has failed: every host has the version before.
    RolledBack {
        /// The version before.
        to: u64,
        /// Which gate, where.
        why: String,
    },
    /// What is desired needs no rollout any more.
    Withdrawn {
        /// The version that is in force.
        version: u64,
    },
    /// What the version before was is not known any more: the new one goes everywhere at once.
    AtOnce {
        /// The version before.
        unknown: u64,
    },
}

impl std::fmt::Display for Turn {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begun { from, to } => write!(formatter, "version {to} begins, from {from}"),
            Self::Switched { actor, hosts } => {
                let hosts: Vec<&str> = hosts.iter().map(HostId::as_str).collect();
                write!(formatter, "{actor} is new on {}", hosts.join(", "))
            }
            Self::Paused => formatter.write_str("paused"),
            Self::Resumed => formatter.write_str("goes on"),
            Self::Complete => formatter.write_str("complete, and not yet final"),
            Self::Final { version } => write!(formatter, "version {version} is final"),
            Self::RolledBack { to, why } => write!(formatter, "rolled back to version {to}: {why}"),
            Self::Withdrawn { version } => write!(formatter, "ended: version {version} is in force"),
            Self::AtOnce { unknown } => {
                write!(formatter, "at once: version {unknown}, which runs, is not kept any more")
            }
        }
    }
}

impl std::fmt::Display for Step {
    /// Seed 004's lines.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scheduled { actor, host, load, replicas, .. } => {
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
            Self::Preempted { actor, host, replicas, by } => {
                write!(formatter, "Preempted {actor} on {host} by {by} ({replicas} replicas)")
            }
            Self::Rebalanced { actor, from, to, replicas } => {
                write!(formatter, "Rebalanced {actor}: {from} -> {to} ({replicas} replicas)")
            }
            Self::Released { actor, host, replicas } => {
                write!(formatter, "Released {actor} from {host} ({replicas} replicas)")
            }
            Self::Unplaced { actor, why } => write!(formatter, "Not placed: {actor}: {why}"),
            Self::Scaled { actor, from, to, .. } => write!(formatter, "Scaled {actor}: {from} -> {to}"),
            Self::Rollout { app, what } => write!(formatter, "Rollout of {app}: {what}"),
        }
    }
}

impl Step {
    /// Why, in words, where the step does not say so itself.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Scheduled { why, .. } => Some(why.to_string()),
            Self::Scaled { load: Some((load, metric)), .. } => Some(format!("{} {load}", metric.word())),
            _ => None,
        }
    }
}

/// New replicas by host, with the host's load and what spoke for it before the first of them.
#[derive(Debug, Default)]
pub(super) struct Added(Vec<(HostId, u32, Load, Reasons)>);

impl Added {
    /// One more.
    pub(super) fn push(&mut self, host: HostId, load: Load, why: Reasons) {
        self.0.push((host, 1, load, why));
    }

    /// In the order of hosts, each once.
    fn by_host(self) -> Vec<(HostId, u32, Load, Reasons)> {
        let mut all = self.0;
        all.sort_by(|left, right| left.0.cmp(&right.0));
        all.dedup_by(|later, first| {
            let is_same = later.0 == first.0;
            first.1 += if is_same { later.1 } else { 0 };
            is_same
        });
        all
    }
}

/// Collects the steps of one plan.
#[derive(Debug, Default)]
pub(super) struct Notes {
    steps: Vec<Step>,
    moves: BTreeMap<(HostId, HostId), Vec<ActorId>>,
    preempted: BTreeMap<(ActorId, HostId, ActorId), u32>,
    rebalanced: BTreeMap<(ActorId, HostId, HostId), u32>,
}

impl Notes {
    /// What an actor was given. Replicas that left an unreliable host are matched, in order, with
    /// those that came elsewhere.
    pub(super) fn placed(&mut self, task: &Task<'_>, added: Added) {
        let added = added.by_host();
        let sources = task.displaced.iter().flat_map(|(host, count)| repeat(host, *count));
        let targets = added.iter().flat_map(|(host, count, ..)| repeat(host, *count));
        for (from, to) in sources.zip(targets) {
            let actors = self.moves.entry((from.clone(), to.clone())).or_default();
            if actors.last() != Some(&task.id) {
                actors.push(task.id.clone());
            }
        }
        for (host, replicas, load, why) in added {
            self.steps.push(Step::Scheduled { actor: task.id.clone(), host, replicas, load, why });
        }
    }

    pub(super) fn unplaced(&mut self, task: &Task<'_>, why: String) {
        // Said once: what was known before is no change.
        if task.unplaced_before != Some(why.as_str()) {
            self.steps.push(Step::Unplaced { actor: task.id.clone(), why });
        }
    }

    pub(super) fn preempted(&mut self, actor: &ActorId, host: &HostId, by: &ActorId) {
        *self.preempted.entry((actor.clone(), host.clone(), by.clone())).or_default() += 1;
    }

    pub(super) fn rebalanced(&mut self, actor: &ActorId, from: HostId, to: HostId) {
        *self.rebalanced.entry((actor.clone(), from, to)).or_default() += 1;
    }

    /// Every step: fail-overs, who gave way, what was scheduled, what moved, what was released.
    pub(super) fn finish(self, tasks: &Tasks<'_, '_>) -> Vec<Step> {
        let moves = self.moves.into_iter().map(|((from, to), actors)| Step::Failover { from, to, actors });
        let preempted = self.preempted.into_iter();
        let preempted =
            preempted.map(|((actor, host, by), replicas)| Step::Preempted { actor, host, replicas, by });
        let rebalanced = self.rebalanced.into_iter();
        let rebalanced =
            rebalanced.map(|((actor, from, to), replicas)| Step::Rebalanced { actor, from, to, replicas });
        let mut in_order: Vec<&Task<'_>> = tasks.all_open().filter(|task| task.scaled.is_some()).collect();
        in_order.sort_by_key(|task| (&task.id.app, task.position));
        let scaled = in_order.into_iter().filter_map(scaled);
        let mut steps: Vec<Step> = scaled.chain(moves).chain(preempted).collect();
        steps.extend(self.steps);
        steps.extend(rebalanced);
        steps.extend(released(tasks));
        steps
    }
}

fn scaled(task: &Task<'_>) -> Option<Step> {
    let (to, load) = task.scaled?;
    let from = task.scaled_before.filter(|from| *from != to)?;
    let load = load.zip(task.manifest.autoscale.as_ref().map(|rule| rule.metric));
    Some(Step::Scaled { actor: task.id.clone(), from, to, load })
}

fn repeat(host: &HostId, count: u32) -> impl Iterator<Item = &HostId> {
    std::iter::repeat_n(host, usize::try_from(count).unwrap_or(usize::MAX))
}

/// What has less on a host than before, though the host is well; by actor.
fn released(tasks: &Tasks<'_, '_>) -> Vec<Step> {
    let mut released: Vec<(&ActorId, Step)> = Vec::new();
    for task in tasks.all_open() {
        released.extend(less(&task.id, task.before, Some(task)));
    }
    for (actor, places) in tasks.whole().flat_map(|before| &before.actors) {
        if tasks.find(actor).is_none() {
            released.extend(less(actor, places, None));
        }
    }
    released.sort_by_key(|(actor, _)| *actor);
    released.into_iter().map(|(_, step)| step).collect()
}

/// The same of one actor; one without a task shall not be there at all.
fn less<'s>(
    actor: &'s ActorId,
    before: &'s Places,
    task: Option<&'s Task<'_>>,
) -> impl Iterator<Item = (&'s ActorId, Step)> + 's {
    before.iter().filter_map(move |(host, before)| {
        let after = task.and_then(|task| task.placed.get(host)).copied().unwrap_or(0);
        let moved =
            || task.is_some_and(|task| task.displaced.contains_key(host) || task.excused.contains(host));
        let replicas = before.checked_sub(after).filter(|gone| *gone > 0 && !moved())?;
        Some((actor, Step::Released { actor: actor.clone(), host: host.clone(), replicas }))
    })
}
