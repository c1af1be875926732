//! What a scenario shows: of hosts, of decisions, of rollouts.

use super::World;
use lattice_ctl_planner::observed::HostView;
use lattice_ctl_planner::plan::{self, Allowance, Plan};
use lattice_ctl_planner::rollout;
use lattice_protocol::desired::Verdict;
use lattice_protocol::heartbeat::RunState;
use lattice_protocol::rollout::Phase;
use lattice_protocol::{ActorId, AppName};
use std::collections::BTreeMap;

impl World {
    /// The component that each host says it runs.
    pub(super) fn versions(&self) -> Vec<String> {
        let mut actors: BTreeMap<&ActorId, Vec<String>> = BTreeMap::new();
        for view in self.observed.views(self.now_ms) {
            for status in &view.heartbeat.actors {
                let version = status.digest.trim_start_matches("sha256:");
                let state = if status.state == RunState::Running { "" } else { " fails" };
                actors.entry(&status.id).or_default().push(format!("{}={version}{state}", view.id));
            }
        }
        actors.into_iter().map(|(id, hosts)| format!("{id}: {}", hosts.join(", "))).collect()
    }

    /// How a rollout stands, and what its gates say.
    pub(super) fn status(&self, app: &str) -> Vec<String> {
        let app: AppName = app.parse().unwrap();
        let Some(decision) = self.decisions().find(|decision| decision.placement.app == app) else {
            return vec!["not planned".to_owned()];
        };
        let Some(rollout) = &decision.placement.rollout else {
            return vec![format!("version {} is in force", decision.placement.desired_version)];
        };
        let mut lines = vec![format!("{} from version {}", rollout.phase.word(), rollout.base.version)];
        if let Phase::RolledBack { why } = &rollout.phase {
            lines.push(format!("  because: {why}"));
        }
        for line in rollout::report(&decision, &self.observed, &self.trials, self.now_ms) {
            lines.push(format!("  {} on {}: {}", line.actor, line.host, line.why));
        }
        lines
    }

    pub(super) fn placed(&self) -> Vec<String> {
        let actors = self.placements.values().flat_map(|placement| &placement.actors);
        actors
            .map(|(actor, hosts)| {
                let hosts: Vec<String> =
                    hosts.iter().map(|(host, count)| format!("{host}={count}")).collect();
                format!("{actor}: {}", hosts.join(" "))
            })
            .collect()
    }

    pub(super) fn show_hosts(&self) -> Vec<String> {
        let line = |view: HostView<'_>| {
            let unfit = view.unfit.map_or_else(|| "fit".to_owned(), |unfit| unfit.to_string());
            format!("[{}] {} - {unfit}", view.health(), view.id)
        };
        self.observed.views(self.now_ms).map(line).collect()
    }

    pub(super) fn judge(&self) -> Vec<String> {
        let lost = self.observed.views(self.now_ms).filter(|view| view.verdict == Verdict::Lost);
        let reports = lost.map(|view| self.observed.timeout_report(view.id).to_string());
        let next = self.observed.next_change_ms(self.now_ms).map(|at| at - self.now_ms);
        let next = next.map(|ms| format!("next change in {ms} ms unless somebody is heard"));
        reports.chain(next).collect()
    }

    pub(super) fn why(&self, actor: &str) -> Vec<String> {
        let input = self.input(Allowance::default());
        let found = plan::consider(&input, &actor.parse().unwrap());
        found.unwrap_or_default().iter().map(|host| format!("  {host}")).collect()
    }
}

pub(super) fn said(plan: &Plan) -> Vec<String> {
    if plan.explanation.is_empty() {
        return vec!["nothing changes".to_owned()];
    }
    let lines = plan.explanation.iter().flat_map(|step| {
        let reason = step.reason().map(|reason| format!("  because: {reason}"));
        std::iter::once(step.to_string()).chain(reason)
    });
    lines.collect()
}
