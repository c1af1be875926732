//! What has been seen of hosts with a new version, and since when, by the observer's own clock.
//!
//! A trial begins when its host is alive and has been decided upon, and ends when the decision
//! does, or when the host falls silent: one that is heard again begins anew. A host has been *told*
//! when its heartbeat names a revision of the placement that is no older than the trial: what it
//! said before was about something else. One that was told and, by a decision older than the one in
//! force, has the version no more was told otherwise in between, which this observer may have
//! missed: its trial begins anew with the decision in force.

use super::gate::is_staging;
use crate::observed::Observed;
use lattice_protocol::desired::{DesiredApp, Placement, Verdict};
use lattice_protocol::heartbeat::{ActorStatus, Heartbeat, NextState, RunState};
use lattice_protocol::rollout::{Progress, Rollout, RolloutPolicy};
use lattice_protocol::{ActorId, ArtifactDigest, HostId, Places};
use std::collections::BTreeMap;

/// A placement in force, with what it was planned from.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// What shall be.
    pub desired: &'a DesiredApp,
    /// The decision.
    pub placement: &'a Placement,
    /// The revision of its key.
    pub revision: u64,
}

/// Everything seen of hosts with new versions.
#[derive(Debug, Clone, Default)]
pub struct Trials {
    trials: BTreeMap<(ActorId, HostId), Trial>,
}

impl Trials {
    /// Looks at what hosts say now. Called before each plan, with every decision in force.
    pub fn observe<'a>(
        &mut self,
        decisions: impl IntoIterator<Item = Decision<'a>>,
        observed: &Observed,
        now_ms: u64,
    ) {
        let mut before = std::mem::take(&mut self.trials);
        for decision in decisions {
            for (id, host, subject) in subjects(&decision) {
                let Some(view) = observed.view(host, now_ms) else { continue };
                if !matches!(view.verdict, Verdict::Alive | Verdict::Rejoined) {
                    continue;
                }
                let key = (id.clone(), host.clone());
                let known = before.remove(&key).filter(|trial| trial.subject == subject);
                let mut trial =
                    known.unwrap_or_else(|| Trial::new(subject, decision.revision, &view.heartbeat.boot_id));
                if trial.was_told_otherwise(id, view.heartbeat, decision.revision) {
                    let subject = trial.subject.clone();
                    trial = Trial::new(subject, decision.revision, &view.heartbeat.boot_id);
                }
                trial.look(id, view.heartbeat, now_ms);
                self.trials.insert(key, trial);
            }
        }
    }

    /// Is nothing on trial? Then time alone changes nothing here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trials.is_empty()
    }

    /// The trial of exactly this: what was seen of another version is no proof.
    pub(super) fn get(&self, actor: &ActorId, host: &HostId, subject: Option<&Subject>) -> Option<&Trial> {
        let trial = self.trials.get(&(actor.clone(), host.clone()))?;
        (Some(&trial.subject) == subject).then_some(trial)
    }
}

/// What is on trial on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    digest: ArtifactDigest,
    /// It shall be ready, not run.
    pub(super) staged: bool,
    /// Its host asks it something, and it must answer well.
    checked: bool,
    /// Two versions of one code differ in their limits.
    attempt: u32,
}

impl Subject {
    /// Of one actor in a rollout; `None` when it has no component that could be tried.
    pub(super) fn new(
        progress: &Progress,
        rollout: &Rollout,
        policy: Option<&RolloutPolicy>,
    ) -> Option<Self> {
        let target = progress.target.as_ref()?;
        let artifact = target.artifact.as_ref()?;
        let staged = policy.is_some_and(|policy| is_staging(policy, progress));
        let asks = policy.is_some_and(|policy| policy.gate.check.is_some());
        let checked = asks && target.persistent.is_none();
        Some(Self { digest: artifact.digest.clone(), staged, checked, attempt: rollout.attempt })
    }
}

/// Every host that a decision puts a new version on, or makes one ready on.
fn subjects<'a>(decision: &Decision<'a>) -> impl Iterator<Item = (&'a ActorId, &'a HostId, Subject)> {
    let Decision { desired, placement, .. } = *decision;
    let rollout = placement.rollout.as_deref().filter(|rollout| !rollout.is_rolled_back());
    rollout.into_iter().flat_map(move |rollout| {
        rollout.actors.iter().flat_map(move |(id, progress)| {
            let subject = Subject::new(progress, rollout, desired.rollout_policy(id));
            let placed = placement.actors.get(id).into_iter().flat_map(Places::keys);
            subject.into_iter().flat_map(move |subject| {
                let has = |host: &&HostId| subject.staged || progress.updated.contains(*host);
                let hosts: Vec<&HostId> = placed.clone().filter(has).collect();
                hosts.into_iter().map(move |host| (id, host, subject.clone()))
            })
        })
    })
}

/// What one host has shown.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) subject: Subject,
    revision: u64,
    boot: String,
    /// Since when it shall run, or be ready: since the host had been told, or since it stopped.
    pub(super) awaited_ms: Option<u64>,
    /// Since when it runs without a break; or, if it is staged, since when it is ready.
    pub(super) good_since_ms: Option<u64>,
    /// Since when it fails, why, and whether it was given up.
    pub(super) failing: Option<(u64, String, bool)>,
    /// Times that it stopped running.
    pub(super) restarts: u32,
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) latency_ms: Option<u32>,
}

impl Trial {
    fn new(subject: Subject, revision: u64, boot: &str) -> Self {
        Self {
            subject,
            revision,
            boot: boot.to_owned(),
            awaited_ms: None,
            good_since_ms: None,
            failing: None,
            restarts: 0,
            calls: 0,
            errors: 0,
            latency_ms: None,
        }
    }

    fn look(&mut self, id: &ActorId, heartbeat: &Heartbeat, now_ms: u64) {
        let has = heartbeat.apps.get(&id.app).copied();
        if self.awaited_ms.is_none() {
            if has.is_none_or(|has| has < self.revision) {
                return;
            }
            self.awaited_ms = Some(now_ms);
        }
        if self.boot != heartbeat.boot_id {
            heartbeat.boot_id.clone_into(&mut self.boot);
            self.stopped(now_ms);
        }
        let status = heartbeat.actors.iter().find(|status| status.id == *id);
        match status {
            Some(status) if self.subject.staged => self.look_aside(status, now_ms),
            Some(status) if status.digest == self.subject.digest => self.look_at(status, now_ms),
            Some(status) => {
                self.stopped(now_ms);
                self.look_aside(status, now_ms);
            }
            None => self.stopped(now_ms),
        }
    }

    /// Has the host, which was told once, another version or none by a decision that is older than
    /// the one in force?
    fn was_told_otherwise(&self, id: &ActorId, heartbeat: &Heartbeat, in_force: u64) -> bool {
        let is_behind = heartbeat.apps.get(&id.app).is_none_or(|has| *has < in_force);
        if self.awaited_ms.is_none() || !is_behind {
            return false;
        }
        let status = heartbeat.actors.iter().find(|status| status.id == *id);
        status.is_none_or(|status| {
            let next = status.next.as_ref().map(|next| &next.digest);
            status.digest != self.subject.digest && next != Some(&self.subject.digest)
        })
    }

    /// At the version itself.
    fn look_at(&mut self, status: &ActorStatus, now_ms: u64) {
        (self.calls, self.errors) = (status.calls, status.errors);
        self.latency_ms = status.latency_ms;
        match status.state {
            RunState::Running if self.subject.checked => self.look_at_check(status, now_ms),
            RunState::Running => {
                self.failing = None;
                self.good_since_ms.get_or_insert(now_ms);
            }
            RunState::Starting => self.stopped(now_ms),
            RunState::Failed | RunState::CrashLooping => {
                self.stopped(now_ms);
                let given_up = status.state == RunState::CrashLooping;
                self.fails(status.reason.as_deref().unwrap_or("failed"), given_up, now_ms);
            }
        }
    }

    /// At what it answered its host. Not asked yet, it has not begun to run well.
    fn look_at_check(&mut self, status: &ActorStatus, now_ms: u64) {
        match &status.check {
            Some(check) if check.well => {
                self.failing = None;
                self.good_since_ms.get_or_insert(now_ms);
            }
            Some(check) => {
                self.stopped(now_ms);
                self.fails(check.reason.as_deref().unwrap_or("its check failed"), false, now_ms);
            }
            None => self.stopped(now_ms),
        }
    }

    /// At the version while another runs.
    fn look_aside(&mut self, status: &ActorStatus, now_ms: u64) {
        let next = status.next.as_ref().filter(|next| next.digest == self.subject.digest);
        match next.map(|next| (next.state, next.reason.as_deref())) {
            Some((NextState::Ready, _)) if self.subject.staged => {
                self.failing = None;
                self.good_since_ms.get_or_insert(now_ms);
            }
            Some((NextState::Failed, reason)) => {
                self.stopped(now_ms);
                self.fails(reason.unwrap_or("failed"), false, now_ms);
            }
            // The very one runs already: there is nothing to make ready.
            None if self.subject.staged && status.digest == self.subject.digest => {
                self.good_since_ms.get_or_insert(now_ms);
            }
            // It is tried again: that it failed stands until it is ready.
            Some((NextState::Preparing, _)) => self.stopped(now_ms),
            _ => {
                self.stopped(now_ms);
                self.failing = None;
            }
        }
    }

    /// It runs no more, or is not ready any more: it has the whole time again to be so.
    fn stopped(&mut self, now_ms: u64) {
        if self.good_since_ms.take().is_some() {
            self.awaited_ms = Some(now_ms);
            self.restarts = self.restarts.saturating_add(u32::from(!self.subject.staged));
        }
    }

    fn fails(&mut self, reason: &str, given_up: bool, now_ms: u64) {
        let since = self.failing.as_ref().map_or(now_ms, |(since, ..)| *since);
        self.failing = Some((since, reason.to_owned(), given_up));
    }
}

#[cfg(test)]
mod tests;
