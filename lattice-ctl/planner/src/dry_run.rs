//! What the planner would do with the lattice as it is now, and what it thinks of each host. Nothing comes
//! into force: it runs on what controllers wrote down and what hosts answer.

use crate::observed::{Observed, Profile};
use crate::plan::{Assessment, consider};
use crate::{Allowance, Input, NoPolicy, Scaling, Step, Trials, Turn, plan};
use lattice_protocol::desired::{DesiredApp, Origin, Placement, Verdict};
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::manifest::Application;
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, AppName, HostId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The lattice, as a plan needs it.
#[derive(Debug)]
pub struct Seen {
    /// What shall be.
    pub desired: BTreeMap<AppName, DesiredApp>,
    /// The decisions.
    pub placements: BTreeMap<AppName, Placement>,
    observed: Observed,
    now_ms: u64,
    /// A dry run has watched nothing.
    trials: Trials,
    scaling: Scaling,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// `start`, `stop`, `move`, `fail over`, `give way`, `refuse`, `update`, `scale`, `roll out`.
    pub action: String,
    /// Which actor, actors or application.
    pub actor: String,
    /// Where; empty when it is nowhere in particular.
    pub host: String,
    /// How many.
    pub replicas: u32,
    /// Why.
    pub why: String,
    /// All of it in one line.
    pub text: String,
}

/// What the planner thinks of one host for one actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Considered {
    /// The host.
    pub host: HostId,
    /// Replicas that it has by the decision in force.
    pub replicas: u32,
    /// May it get one?
    pub fit: bool,
    /// What speaks for it, or against it.
    pub why: String,
}

impl Seen {
    /// Of these records, and what each host says with what is concluded about it.
    #[must_use]
    pub fn new(
        desired: BTreeMap<AppName, DesiredApp>,
        placements: BTreeMap<AppName, Placement>,
        hosts: impl IntoIterator<Item = (Heartbeat, Verdict)>,
    ) -> Self {
        let (observed, now_ms) = Observed::as_judged(Profile::EDGE, hosts);
        let (trials, scaling) = (Trials::default(), Scaling::default());
        Self { desired, placements, observed, now_ms, trials, scaling }
    }

    fn input(&self) -> Input<'_> {
        Input {
            desired: self.desired.iter().collect(),
            placements: self.placements.iter().collect(),
            observed: &self.observed,
            now_ms: self.now_ms,
            seed: 0,
            policy: &NoPolicy,
            allowance: Allowance::default(),
            trials: &self.trials,
            scaling: &self.scaling,
            // The records were read together: nothing is behind.
            seen: Origin { incarnation: 0, revision: u64::MAX },
        }
    }

    /// What running a stored application, or the one of this manifest, would do. `None` for one that is
    /// not stored.
    #[must_use]
    pub fn plan(mut self, app: &AppName, manifest: Option<Application>) -> Option<Vec<PlannedStep>> {
        let record = match manifest {
            Some(application) => put(application, self.desired.get(app)),
            None => DesiredApp { deployed: true, ..self.desired.get(app)?.clone() },
        };
        self.desired.insert(app.clone(), record);
        Some(plan(&self.input()).explanation.iter().map(planned).collect())
    }

    /// What speaks for and against each host.
    #[must_use]
    pub fn consider(&self, actor: &ActorId) -> Vec<Considered> {
        consider(&self.input(), actor).unwrap_or_default().iter().map(considered).collect()
    }
}

/// The record that deploying would store. Components that are not in the lattice yet count as
/// pushed: the question is where they would run.
fn put(application: Application, have: Option<&DesiredApp>) -> DesiredApp {
    let artifact = |id: &ActorId, reference: &str| {
        let same = have
            .filter(|have| have.application.actor(&id.name).is_some_and(|actor| actor.artifact == reference));
        let known = same.and_then(|have| have.artifacts.get(id)).cloned();
        known.unwrap_or_else(|| Artifact { digest: reference.into(), size: 0 })
    };
    let artifacts = application
        .actors
        .iter()
        .map(|actor| {
            let id = ActorId::new(application.name.clone(), actor.name.clone());
            let artifact = artifact(&id, &actor.artifact);
            (id, artifact)
        })
        .collect();
    let mut record = DesiredApp::empty(application.name.clone());
    record.version = have.map_or(1, |have| have.version.saturating_add(1));
    (record.application, record.artifacts) = (application, artifacts);
    record
}

fn planned(step: &Step) -> PlannedStep {
    let (action, actor, host, replicas) = parts(step);
    let (action, why, text) = (action.to_owned(), why_of(step), step.to_string());
    PlannedStep { action, actor, host, replicas, why, text }
}

/// One step: what is done, to whom, where, how many.
fn parts(step: &Step) -> (&'static str, String, String, u32) {
    match step {
        Step::Scheduled { actor, host, replicas, .. } => {
            ("start", actor.to_string(), host.to_string(), *replicas)
        }
        Step::Failover { from, to, actors } => {
            let names: Vec<String> = actors.iter().map(ToString::to_string).collect();
            let count = u32::try_from(actors.len()).unwrap_or(u32::MAX);
            ("fail over", names.join(" "), format!("{from} -> {to}"), count)
        }
        Step::Preempted { actor, host, replicas, .. } => {
            ("give way", actor.to_string(), host.to_string(), *replicas)
        }
        Step::Rebalanced { actor, from, to, replicas } => {
            ("move", actor.to_string(), format!("{from} -> {to}"), *replicas)
        }
        Step::Released { actor, host, replicas } => ("stop", actor.to_string(), host.to_string(), *replicas),
        Step::Unplaced { actor, .. } => ("refuse", actor.to_string(), String::new(), 0),
        Step::Rollout { what: Turn::Switched { actor, hosts }, .. } => {
            let names: Vec<&str> = hosts.iter().map(HostId::as_str).collect();
            let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            ("update", actor.to_string(), names.join(" "), count)
        }
        Step::Scaled { actor, to, .. } => ("scale", actor.to_string(), String::new(), *to),
        Step::Rollout { app, .. } => ("roll out", app.to_string(), String::new(), 0),
    }
}

fn why_of(step: &Step) -> String {
    match step {
        Step::Preempted { by, .. } => format!("for {by}, which is more important"),
        Step::Unplaced { why, .. } => why.clone(),
        Step::Rollout { what, .. } => what.to_string(),
        _ => step.reason().unwrap_or_default(),
    }
}

fn considered(one: &Assessment) -> Considered {
    let (fit, why) = match &one.verdict {
        Ok(reasons) => (true, reasons.to_string()),
        Err(refusal) => (false, refusal.to_string()),
    };
    Considered { host: one.host.clone(), replicas: one.replicas, fit, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{actor, app, heartbeat, host};
    use lattice_protocol::manifest::Scale;

    fn shop(replicas: u32) -> DesiredApp {
        app("shop", vec![actor("web", Scale::Replicas(replicas))])
    }

    /// Two hosts, of which one is lost; `web` is on it.
    fn seen() -> Seen {
        let name: AppName = "shop".parse().unwrap();
        let mut placement = Placement::empty(name.clone(), 1);
        placement.actors = [("shop/web".parse().unwrap(), [(host("A"), 1)].into())].into();
        let hosts = [(heartbeat("A", "b1", 1), Verdict::Lost), (heartbeat("B", "b1", 1), Verdict::Alive)];
        Seen::new([(name.clone(), shop(1))].into(), [(name, placement)].into(), hosts)
    }

    fn lines(steps: Option<Vec<PlannedStep>>) -> Vec<String> {
        let line =
            |step: PlannedStep| format!("{} {} {} {}", step.action, step.actor, step.host, step.replicas);
        steps.unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn it_says_what_would_be_done_to_a_stored_application_and_to_a_manifest() {
        let name = "shop".parse().unwrap();
        assert_eq!(lines(seen().plan(&name, None)), ["fail over shop/web A -> B 1", "start shop/web B 1"]);
        let changed = seen().plan(&name, Some(shop(2).application));
        assert_eq!(lines(changed), ["fail over shop/web A -> B 1", "start shop/web B 2"]);
        let more = app("more", vec![actor("api", Scale::Replicas(1))]).application;
        let more = lines(seen().plan(&"more".parse().unwrap(), Some(more)));
        assert!(more.contains(&"start more/api B 1".to_owned()), "{more:?}");
        assert_eq!(seen().plan(&"none".parse().unwrap(), None), None);
    }

    #[test]
    fn it_says_what_it_thinks_of_each_host() {
        let considered = seen().consider(&"shop/web".parse().unwrap());
        let short =
            considered.iter().map(|one| (one.host.as_str(), one.replicas, one.fit)).collect::<Vec<_>>();
        assert_eq!(short, [("A", 1, false), ("B", 0, true)]);
        assert_eq!(considered[0].why, "lost");
        assert_eq!(seen().consider(&"shop/none".parse().unwrap()), []);
    }
}
