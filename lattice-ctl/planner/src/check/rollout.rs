//! Rollouts, judged independently: from the decision before and after, and from heartbeats alone.
//! It does not know when windows end; it knows what must never be, whenever they do.

use super::{Violation, violation};
use crate::plan::Input;
use lattice_protocol::desired::{DesiredApp, Placement, Verdict};
use lattice_protocol::manifest::Scale;
use lattice_protocol::rollout::{Phase, Progress, Rollout, Strategy};
use lattice_protocol::{ActorId, HostId, Places};
use std::collections::{BTreeMap, BTreeSet};

/// Every rule about rollouts that a decision breaks, after the one before.
pub(super) fn check(
    input: &Input<'_>,
    desired: &DesiredApp,
    (before, after): (Option<&Placement>, &Placement),
    found: &mut Vec<Violation>,
) {
    let one = Checked { input, desired, before, after };
    match (before.and_then(|before| before.rollout.as_deref()), after.rollout.as_deref()) {
        (None, None) => one.at_once(found),
        (None, Some(now)) => one.begins(now, found),
        (Some(was), None) => one.ends(was, found),
        (Some(was), Some(now)) => one.goes_on(was, now, found),
    }
    if let Some(rollout) = after.rollout.as_deref() {
        one.is_sound(rollout, found);
    }
}

/// Replicas beyond those wanted that a rollout may have of an actor.
pub(super) fn surge(desired: &DesiredApp, placement: &Placement, id: &ActorId, wanted: u32) -> u32 {
    let lasts = placement.rollout.as_ref().filter(|rollout| rollout.actors.contains_key(id)).is_some();
    match desired.rollout_policy(id).map(|policy| &policy.strategy) {
        Some(Strategy::Rolling { max_surge, .. }) if lasts => max_surge.at_least(wanted),
        _ => 0,
    }
}

struct Checked<'c> {
    input: &'c Input<'c>,
    desired: &'c DesiredApp,
    before: Option<&'c Placement>,
    after: &'c Placement,
}

impl Checked<'_> {
    fn hosts(&self, id: &ActorId) -> BTreeSet<&HostId> {
        self.after.actors.get(id).into_iter().flat_map(Places::keys).collect()
    }

    fn is_heard(&self, host: &HostId) -> bool {
        matches!(self.input.observed.judge(host, self.input.now_ms), Verdict::Alive | Verdict::Rejoined)
    }

    /// By its heartbeat a host has the new version of an actor, or has it ready.
    fn shows(&self, host: &HostId, id: &ActorId, progress: &Progress, staged: bool) -> bool {
        let Some(artifact) = progress.target.as_ref().and_then(|target| target.artifact.as_ref()) else {
            return true;
        };
        let view = self.input.observed.view(host, self.input.now_ms);
        view.is_some_and(|view| {
            view.heartbeat.actors.iter().filter(|status| status.id == *id).any(|status| {
                let next = status.next.as_ref().filter(|_| staged);
                status.digest == artifact.digest || next.is_some_and(|next| next.digest == artifact.digest)
            })
        })
    }

    /// Every host that is heard of and was given the new version shows it.
    fn all_show(&self, id: &ActorId, progress: &Progress, staged: bool) -> bool {
        let before = self.before.and_then(|before| before.actors.get(id));
        let subjects = before.into_iter().flat_map(Places::keys);
        subjects
            .filter(|host| staged || progress.updated.contains(*host))
            .filter(|host| self.is_heard(host))
            .all(|host| self.shows(host, id, progress, staged))
    }

    /// No rollout before, none after: then nothing needed one.
    fn at_once(&self, found: &mut Vec<Violation>) {
        let Some(before) = self
            .before
            .filter(|before| self.desired.deployed && before.desired_version != self.desired.version)
        else {
            return;
        };
        let Some(content) = self.desired.past(before.desired_version) else { return };
        for id in before.actors.keys().filter(|id| self.desired.rollout_policy(id).is_some()) {
            let (old, new) = (content.component(id), self.desired.component(id));
            if old.is_some() && new.is_some() && old != new {
                found.push(violation(id, "goes everywhere at once, against its rollout rule"));
            }
        }
    }

    fn begins(&self, now: &Rollout, found: &mut Vec<Violation>) {
        let from = self.before.map(|before| before.desired_version);
        if from != Some(now.base.version) {
            found.push(violation(&self.after.app, "a rollout begins from a version that did not run"));
        }
        self.first_wave(now, found);
    }

    fn first_wave(&self, now: &Rollout, found: &mut Vec<Violation>) {
        for (id, progress) in now.actors.iter().filter(|(_, progress)| progress.wave > 0) {
            if self.desired.rollout_policy(id).is_some() {
                found.push(violation(id, format!("begins with wave {}", progress.wave)));
            }
        }
    }

    /// Final only when every host that is heard of shows the new version; or it was withdrawn.
    fn ends(&self, was: &Rollout, found: &mut Vec<Violation>) {
        if !self.desired.deployed || was.is_rolled_back() {
            return;
        }
        let same = was.actors.iter().all(|(id, progress)| progress.target == self.desired.component(id));
        let ruled = was.actors.keys().any(|id| self.desired.rollout_policy(id).is_some());
        if !same || !ruled {
            return;
        }
        for (id, progress) in &was.actors {
            let Some(policy) = self.desired.rollout_policy(id) else { continue };
            if policy.manual_finalise && !self.desired.rollout.finalise {
                found.push(violation(id, "is final and nobody said so"));
            }
            let before = self.before.and_then(|before| before.actors.get(id));
            let heard = before.into_iter().flat_map(Places::keys).filter(|host| self.is_heard(host));
            for host in heard.filter(|_| progress.target.is_some()) {
                if !progress.updated.contains(host) || !self.shows(host, id, progress, false) {
                    found.push(violation(id, format!("is final and {host} does not show it")));
                }
            }
        }
    }

    fn goes_on(&self, was: &Rollout, now: &Rollout, found: &mut Vec<Violation>) {
        if (was.base.version, &was.base.content) != (now.base.version, &now.base.content) {
            found.push(violation(&self.after.app, "a second rollout begins in the middle of one"));
        }
        let starts = |rollout: &Rollout| -> BTreeMap<ActorId, _> {
            let changed = |(id, progress): (&ActorId, &Progress)| {
                let differs = rollout.base.content.component(id) != progress.target;
                (differs && progress.target.is_some()).then(|| (id.clone(), progress.target.clone()))
            };
            rollout.actors.iter().filter_map(changed).collect()
        };
        if starts(was) != starts(now) || was.attempt != now.attempt {
            self.first_wave(now, found);
            return;
        }
        if was.is_rolled_back() && !now.is_rolled_back() {
            found.push(violation(&self.after.app, "a version that failed comes again by itself"));
        }
        if now.is_rolled_back() {
            return;
        }
        for (id, progress) in &now.actors {
            let Some(earlier) = was.actors.get(id) else { continue };
            self.step(id, (earlier, progress), now, found);
        }
    }

    /// One actor from one decision to the next of the same rollout.
    fn step(
        &self,
        id: &ActorId,
        (was, now): (&Progress, &Progress),
        rollout: &Rollout,
        found: &mut Vec<Violation>,
    ) {
        let Some(policy) = self.desired.rollout_policy(id).filter(|_| now.target.is_some()) else { return };
        let here = self.hosts(id);
        if let Some(host) =
            was.updated.iter().find(|host| here.contains(host) && !now.updated.contains(*host))
        {
            found.push(violation(id, format!("goes back on {host} alone")));
        }
        let is_new = rollout.base.content.actor(id).is_none();
        let more: Vec<&HostId> = now.updated.difference(&was.updated).collect();
        if more.is_empty() || is_new || rollout.phase == Phase::Complete {
            return;
        }
        if rollout.phase == Phase::Paused {
            found.push(violation(id, "goes on though it is paused"));
        }
        let staged = policy.strategy == Strategy::BlueGreen && was.wave == 0;
        if now.wave > was.wave && !self.all_show(id, was, staged) {
            found.push(violation(id, format!("wave {} comes before the one before it is there", now.wave)));
        }
        if now.wave < was.wave {
            found.push(violation(id, "goes back a wave"));
        }
    }

    /// What holds of every rollout, whatever came before.
    fn is_sound(&self, rollout: &Rollout, found: &mut Vec<Violation>) {
        for (id, progress) in &rollout.actors {
            let here = self.hosts(id);
            if let Some(host) = progress.updated.iter().find(|host| !here.contains(host)) {
                found.push(violation(id, format!("is new on {host}, where it is not placed")));
            }
            if rollout.is_rolled_back() && !progress.updated.is_empty() {
                found.push(violation(id, "was rolled back and is still new somewhere"));
            }
            let is_new = rollout.base.content.actor(id).is_none();
            if is_new || rollout.phase == Phase::Complete || progress.target.is_none() {
                continue;
            }
            let Some(policy) = self.desired.rollout_policy(id) else { continue };
            self.exposure(id, (progress, &policy.strategy), found);
        }
    }

    /// No host is added when then more are new than the wave allows; of a rolling one, when more
    /// replicas are without proof than it may miss, but for a single host. Hosts that start again,
    /// come back, or are lost may leave more of them at any time: that is not the plan's doing.
    fn exposure(
        &self,
        id: &ActorId,
        (progress, strategy): (&Progress, &Strategy),
        found: &mut Vec<Violation>,
    ) {
        let none = Places::new();
        let placed = self.after.actors.get(id).unwrap_or(&none);
        let heard: Vec<&HostId> = progress.updated.iter().filter(|host| self.is_heard(host)).collect();
        let was = self.before.and_then(|before| before.rollout.as_ref()?.actors.get(id));
        if heard.iter().all(|host| was.is_some_and(|was| was.updated.contains(*host))) {
            return;
        }
        if let Strategy::Rolling { max_unavailable, max_surge } = strategy {
            let total: u32 =
                placed.iter().filter(|(host, _)| self.is_heard(host)).map(|(_, count)| *count).sum();
            let written = self.desired.application.actor(&id.name).map(|actor| actor.scale);
            let wanted = match written.map(|written| self.after.scale(id, written)) {
                Some(Scale::Replicas(count)) => count.min(total),
                _ => total,
            };
            // Replicas beyond those that were there take nothing from anybody.
            let had = self.before.and_then(|before| before.actors.get(id)).unwrap_or(&none);
            let added = heard.iter().filter(|host| was.is_none_or(|was| !was.updated.contains(**host)));
            let fresh: Option<u32> =
                added.map(|host| placed.get(host).filter(|_| !had.contains_key(host)).copied()).sum();
            if fresh.is_some_and(|fresh| fresh <= max_surge.at_least(wanted)) {
                return;
            }
            let unproven: Vec<u32> = heard
                .iter()
                .filter(|host| !self.shows(host, id, progress, false))
                .filter_map(|host| placed.get(host).copied())
                .collect();
            let bound = max_unavailable.at_most(wanted).saturating_add(max_surge.at_least(wanted));
            let bound = bound.saturating_add(total.saturating_sub(wanted));
            if unproven.len() > 1 && unproven.iter().sum::<u32>() > bound {
                found.push(violation(
                    id,
                    format!(
                        "{} replicas are new and unproven, at most {bound}",
                        unproven.iter().sum::<u32>()
                    ),
                ));
            }
            return;
        }
        let quota = strategy.hosts_in(progress.wave, placed.len());
        if progress.wave < strategy.last_wave() && heard.len() > quota {
            found.push(violation(id, format!("is new on {} hosts in a wave of {quota}", heard.len())));
        }
    }
}
