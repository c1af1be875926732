//! The laws that are checked while a world runs: of specs, of what hosts accept, of decisions.

use super::World;
use crate::apps;
use crate::kv::Value;
use lattice_protocol::HostSpec;
use lattice_protocol::desired::Placement;

impl World {
    /// A spec reaches a host: the laws of specs are checked here.
    pub(super) fn offer(&mut self, host: usize, spec: HostSpec) -> Result<(), String> {
        let Some(one) = self.hosts.get_mut(host) else { return Ok(()) };
        let generation = spec.generation;
        let taken = one.offer(&self.lattice, spec)?;
        let id = one.id.clone();
        self.trace.line(self.now_ms, format_args!("{id} offered {generation}: {taken}"));
        let Some(one) = self.hosts.get(host) else { return Ok(()) };
        if one.older() > 0 {
            return Err(format!("{id} was told to run what is older than what it let in for good"));
        }
        if one.used_mib() > one.memory_mib.into() {
            return Err(format!("{id} runs {} MiB of {}", one.used_mib(), one.memory_mib));
        }
        for (app, revision) in one.spec().iter().flat_map(|spec| &spec.apps) {
            let decided = self.kv.decision(app, *revision);
            let decided = decided.ok_or_else(|| format!("{id} has {app} at {revision}, which never won"))?;
            let of_app =
                one.spec().into_iter().flat_map(|spec| &spec.actors).filter(|actor| actor.id.app == *app);
            for actor in of_app {
                let given = decided.actors.get(&actor.id).and_then(|hosts| hosts.get(&id)).copied();
                if given != Some(actor.replicas) {
                    return Err(format!(
                        "{id} has {} x {} at {revision}, decided was {given:?}",
                        actor.id, actor.replicas
                    ));
                }
            }
        }
        Ok(())
    }

    /// What must hold between two decisions about one application: none is made from an older record
    /// than the one before; and a version that does not work is never final.
    pub(super) fn after(&mut self, before: &Value, after: &Value) -> Result<(), String> {
        let (Value::Placement(before), Value::Placement(after)) = (before, after) else { return Ok(()) };
        if after.origin.revision < before.origin.revision {
            let app = &after.app;
            return Err(format!("{app}: decided from {:?} after {:?}", after.origin, before.origin));
        }
        let is_back =
            |placement: &Placement| placement.rollout.as_ref().is_some_and(|one| one.is_rolled_back());
        if is_back(after) && !is_back(before) {
            *self.faults.entry("version rolled back").or_default() += 1;
        } else if before.rollout.is_some() && after.rollout.is_none() {
            *self.faults.entry("rollout ended").or_default() += 1;
        }
        let Some(was) = before.rollout.as_deref().filter(|_| after.rollout.is_none()) else { return Ok(()) };
        let final_now = self.kv.desired_at(&after.app, after.desired_version);
        let Some(desired) = final_now.filter(|desired| desired.deployed) else { return Ok(()) };
        let bad = desired.artifacts.iter().find(|(id, artifact)| {
            let base = was.base.content.artifacts.get(*id);
            apps::is_bad(&artifact.digest) && base.is_some_and(|base| base.digest != artifact.digest)
        });
        let has_run = |placement: &Placement| !placement.actors.is_empty();
        match bad.filter(|_| has_run(before)) {
            Some((id, artifact)) => Err(format!("{id}: {} is final and does not work", artifact.digest)),
            None => Ok(()),
        }
    }
}

/// What must hold between two specs of one host in the store.
pub(super) fn next_of(before: &HostSpec, after: &HostSpec) -> Result<(), String> {
    let host = &before.host;
    if after.generation <= before.generation {
        return Err(format!("{host} was told {} after {}", after.generation, before.generation));
    }
    let older = before
        .apps
        .iter()
        .find(|(app, revision)| after.apps.get(*app).is_some_and(|after| after < *revision));
    match older {
        Some((app, revision)) => Err(format!("{host} was told of {app} before {revision}, which it had")),
        None => Ok(()),
    }
}

/// A decision in one line of the trace: where its actors are, and how far its rollout has come.
pub(super) fn summary(placement: &Placement) -> String {
    let mut words = format!("{} of v{}:", placement.app, placement.desired_version);
    for (id, hosts) in &placement.actors {
        let hosts: Vec<String> = hosts.iter().map(|(host, count)| format!("{host}x{count}")).collect();
        words.push_str(&format!(" {} on {}", id.name, hosts.join(" ")));
    }
    let Some(rollout) = placement.rollout.as_deref() else { return words };
    words.push_str(&format!("; {} from v{}", rollout.phase.word(), rollout.base.version));
    for (id, progress) in &rollout.actors {
        let hosts: Vec<&str> = progress.updated.iter().map(lattice_protocol::HostId::as_str).collect();
        words.push_str(&format!(", {} wave {} new on [{}]", id.name, progress.wave, hosts.join(" ")));
    }
    words
}
