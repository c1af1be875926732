//! A rollout in words: how each actor stands, and what its gates wait for. For people who ask.

use super::gate::{Shown, is_heard, is_staging, shown};
use super::trials::{Decision, Subject, Trials};
use crate::observed::Observed;
use lattice_protocol::rollout::Phase;
use lattice_protocol::{ActorId, HostId, Places};

/// One host that has, or makes ready, a new version of an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which actor.
    pub actor: ActorId,
    /// Which host.
    pub host: HostId,
    /// Has its gate passed?
    pub passed: bool,
    /// What it has shown, or what it waits for.
    pub why: String,
    /// Calls of the new version there, and those that failed.
    pub calls: (u64, u64),
}

/// What every gate of an application's rollout says; nothing when there is none, or nothing is on
/// trial. Somebody who has just begun to look does not know since when a version runs, and says
/// that it is watched.
#[must_use]
pub fn report(decision: &Decision<'_>, observed: &Observed, trials: &Trials, now_ms: u64) -> Vec<Line> {
    let Decision { desired, placement, .. } = *decision;
    let Some(rollout) = placement.rollout.as_deref() else { return Vec::new() };
    if matches!(rollout.phase, Phase::RolledBack { .. }) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for (id, progress) in rollout.actors.iter().filter(|(_, progress)| progress.target.is_some()) {
        let Some(policy) = desired.rollout_policy(id) else { continue };
        let staging = is_staging(policy, progress);
        let subject = Subject::new(progress, rollout, Some(policy));
        let placed = placement.actors.get(id).into_iter().flat_map(Places::keys);
        for host in placed.filter(|host| staging || progress.updated.contains(*host)) {
            let trial = trials.get(id, host, subject.as_ref());
            let (passed, why) = match trial.map(|trial| shown(trial, &policy.gate, now_ms)) {
                _ if !is_heard(observed, host, now_ms) => {
                    (false, "is not heard of: it follows when it is".to_owned())
                }
                Some(Shown::Enough) if staging => (true, "is ready".to_owned()),
                Some(Shown::Enough) => (true, "runs well".to_owned()),
                Some(Shown::NotYet(why) | Shown::Bad(why)) => (false, why),
                None => (false, "has not been looked at yet".to_owned()),
            };
            let calls = trial.map_or((0, 0), |trial| (trial.calls, trial.errors));
            lines.push(Line { actor: id.clone(), host: host.clone(), passed, why, calls });
        }
    }
    lines
}
