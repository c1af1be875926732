//! What speaks for and against each host, for one actor, as the decisions in force are: the answer
//! to `trellis why`. Reads what a plan reads and decides nothing.

use super::choose::{Rank, Reasons, rank, reasons};
use super::fit::{Refusal, refusal, tier};
use super::planner::Planner;
use super::room::HostRoom;
use super::{Input, Task};
use lattice_protocol::{ActorId, HostId};
use std::cmp::Reverse;

/// One host, for one actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The host.
    pub host: HostId,
    /// Replicas that it has by the decision in force.
    pub replicas: u32,
    /// What speaks for it, or why it gets no more.
    pub verdict: Result<Reasons, Refusal>,
}

impl std::fmt::Display for Assessment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: ", self.host)?;
        if self.replicas > 0 {
            write!(formatter, "has {}; ", self.replicas)?;
        }
        match &self.verdict {
            Ok(reasons) => write!(formatter, "fit: {reasons}"),
            Err(refusal) if self.replicas > 0 => write!(formatter, "gets no more: {refusal}"),
            Err(refusal) => write!(formatter, "no: {refusal}"),
        }
    }
}

/// Every host for this actor: those that have it, then those that could, best first, then the
/// others. `None` when nobody desires the actor.
#[must_use]
pub fn consider(input: &Input<'_>, actor: &ActorId) -> Option<Vec<Assessment>> {
    let mut planner = Planner::of(input);
    let scope = planner.scope(input);
    let (mut room, mut tasks) = scope.kept((&mut planner.ledger, &planner.callers), input);
    let index = tasks.find(actor)?;
    let task = &*tasks.open(index, &mut room)?;
    let mut found: Vec<(Order, Assessment)> = room
        .iter()
        .map(|host| (order(task, &host), host))
        .map(|(place, host)| {
            let verdict = verdict(task, &host, input);
            let replicas = task.before.get(host.view.id).copied().unwrap_or(0);
            let place = (Reverse(replicas), verdict.is_err(), place);
            (place, Assessment { host: host.view.id.clone(), replicas, verdict })
        })
        .collect();
    found.sort_by_key(|(place, _)| *place);
    Some(found.into_iter().map(|(_, assessment)| assessment).collect())
}

type Order = (Reverse<u32>, bool, (u8, Rank));

fn order(task: &Task<'_>, host: &HostRoom<'_, '_>) -> (u8, Rank) {
    (tier(&task.manifest.placement, host.view), rank(task, host))
}

fn verdict(task: &Task<'_>, host: &HostRoom<'_, '_>, input: &Input<'_>) -> Result<Reasons, Refusal> {
    let refusals = task.groups.iter().map(|group| refusal(task, group, host, input));
    // Fit for one share is fit; otherwise the last share's reason is as good as any.
    let refused = refusals.reduce(|one, other| if one.is_none() { one } else { other }).flatten();
    if let Some(refusal) = refused {
        return Err(refusal);
    }
    if !host.fits(&task.id, &task.manifest.placement.resources) {
        let (cpu_millis, memory_mib) = host.free();
        return Err(Refusal::Room { cpu_millis, memory_mib });
    }
    Ok(reasons(task, host))
}
