//! Has a version shown enough? Each host is judged by itself; one that fails takes the whole
//! rollout back. Hosts that are not heard of are neither for nor against it: a gateway that is
//! offline must not hold the others up.

use super::trials::{Subject, Trial};
use crate::observed::Observed;
use crate::plan::Input;
use lattice_protocol::desired::Verdict;
use lattice_protocol::rollout::{Gate, Progress, Rollout, RolloutPolicy, Strategy};
use lattice_protocol::{ActorId, HostId};
use std::collections::BTreeSet;

/// What hosts have shown of one actor.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Why the version is no good.
    pub(super) failed: Option<String>,
    /// Hosts whose gate has passed.
    pub(super) passed: BTreeSet<HostId>,
    /// Every host that is heard of and has the new version has passed, and there is one; or there
    /// is none that could have it.
    pub(super) is_through: bool,
}

/// What one host has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// Enough.
    Enough,
    /// Nothing against it, not long enough yet: in words.
    NotYet(String),
    /// That it is no good: in words.
    Bad(String),
}

pub(super) fn is_heard(observed: &Observed, host: &HostId, now_ms: u64) -> bool {
    matches!(observed.judge(host, now_ms), Verdict::Alive | Verdict::Rejoined)
}

/// Does this wave only make the version ready?
pub(super) fn is_staging(policy: &RolloutPolicy, progress: &Progress) -> bool {
    policy.strategy == Strategy::BlueGreen && progress.wave == 0
}

pub(super) fn judge(
    (id, progress): (&ActorId, &Progress),
    (rollout, policy): (&Rollout, &RolloutPolicy),
    placed: &BTreeSet<&HostId>,
    input: &Input<'_>,
) -> Judged {
    let staging = is_staging(policy, progress);
    let subject = Subject::new(progress, rollout, Some(policy));
    let subjects = placed.iter().copied().filter(|host| staging || progress.updated.contains(*host));
    let mut judged = Judged::default();
    let mut heard = 0usize;
    for host in subjects.filter(|host| is_heard(input.observed, host, input.now_ms)) {
        heard += 1;
        match input
            .trials
            .get(id, host, subject.as_ref())
            .map(|trial| shown(trial, &policy.gate, input.now_ms))
        {
            Some(Shown::Enough) => drop(judged.passed.insert(host.clone())),
            Some(Shown::Bad(why)) => {
                judged.failed = Some(format!("{id} on {host}: {why}"));
                return judged;
            }
            Some(Shown::NotYet(_)) | None => {}
        }
    }
    judged.is_through = judged.passed.len() == heard && (heard > 0 || placed.is_empty());
    judged
}

/// What one trial says, by this gate.
pub(super) fn shown(trial: &Trial, gate: &Gate, now_ms: u64) -> Shown {
    let since = |at: u64| now_ms.saturating_sub(at);
    if let Some((at, why, given_up)) = &trial.failing
        && (*given_up || since(*at) >= gate.window_ms.min(gate.deadline_ms))
    {
        return Shown::Bad(why.clone());
    }
    if trial.restarts > gate.max_restarts {
        return Shown::Bad(format!(
            "stopped running {} times, at most {}",
            trial.restarts, gate.max_restarts
        ));
    }
    let Some(awaited) = trial.awaited_ms else {
        return Shown::NotYet("has not taken the decision yet".to_owned());
    };
    let Some(good) = trial.good_since_ms else {
        let doing = trial.failing.as_ref().map_or("is being prepared", |(_, why, _)| why.as_str());
        return if since(awaited) >= gate.deadline_ms {
            Shown::Bad(format!("does not run {} ms after it was told: {doing}", gate.deadline_ms))
        } else {
            Shown::NotYet(doing.to_owned())
        };
    };
    if trial.subject.staged {
        return Shown::Enough;
    }
    let over = since(good) >= gate.window_ms;
    if let Some(bad) = figures(trial, gate, over) {
        return Shown::Bad(bad);
    }
    if over {
        Shown::Enough
    } else {
        Shown::NotYet(format!("runs, and is watched for {} ms", gate.window_ms))
    }
}

/// Rates and latency, once there are enough calls, or the time for more is over.
fn figures(trial: &Trial, gate: &Gate, over: bool) -> Option<String> {
    let (calls, errors) = (trial.calls, trial.errors);
    if calls == 0 || (calls < gate.min_calls.into() && !over) {
        return None;
    }
    let limit = gate.max_error_percent;
    if u128::from(errors) * 100 > u128::from(calls) * u128::from(limit) {
        return Some(format!("{errors} of {calls} calls failed, at most {limit} %"));
    }
    let (got, limit) = trial.latency_ms.zip(gate.max_latency_ms)?;
    (got > limit).then(|| format!("calls take {got} ms, at most {limit}"))
}
