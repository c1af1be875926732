//! Rollouts: orders about them, and how they stand, with what each gate says.

use crate::args::Args;
use crate::client::{Client, SeenHost};
use crate::commands::{Outcome, start};
use crate::output;
use lattice_ctl_planner::edit::Change;
use lattice_ctl_planner::observed::{Observed, Profile};
use lattice_ctl_planner::rollout::{Line, report};
use lattice_ctl_planner::{Decision, Trials};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::rollout::{Phase, Rollout};
use lattice_protocol::{AppName, HostId};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What can be ordered.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// No further host.
    Pause,
    /// Go on, or try again.
    Resume,
    /// It is final.
    Finalise,
}

/// Gives an order.
pub async fn order(args: &Args, client: &Client, app: &AppName, order: Order) -> Outcome {
    let (verb, change) = match order {
        Order::Pause => ("pause", Change::Pause {}),
        Order::Resume => ("resume", Change::Resume {}),
        Order::Finalise => ("finalise", Change::Finalise {}),
    };
    let applied = client.change(app, &change).await?;
    start::accepted(args, &format!("{verb} {app}"), &applied);
    Ok(())
}

/// Goes back to an earlier version.
pub async fn rollback(args: &Args, client: &Client, app: &AppName, version: Option<u64>) -> Outcome {
    let applied = client.change(app, &Change::Rollback { version }).await?;
    let change = applied.record.history.first().map(|past| past.change.clone()).unwrap_or_default();
    start::accepted(args, &format!("{app}: {change}"), &applied);
    Ok(())
}

/// How a rollout stands, and its gates.
pub struct View<'v> {
    rollout: &'v Rollout,
    record: &'v DesiredApp,
    placement: &'v Placement,
    gates: Vec<Line>,
}

impl<'v> View<'v> {
    /// Of an application; `None` when no rollout is under way.
    pub fn new(
        record: &'v DesiredApp,
        placement: Option<&'v Placement>,
        hosts: &BTreeMap<HostId, SeenHost>,
    ) -> Option<Self> {
        let placement = placement?;
        let rollout = placement.rollout.as_deref()?;
        let judged = hosts.values().map(|host| (host.heartbeat.clone(), host.verdict));
        let (observed, now_ms) = Observed::as_judged(Profile::EDGE, judged);
        // Whoever asks has watched nothing: what hosts say now is all there is.
        let decision = Decision { desired: record, placement, revision: 0 };
        let mut trials = Trials::default();
        trials.observe([decision], &observed, now_ms);
        let gates = report(&decision, &observed, &trials, now_ms);
        Some(Self { rollout, record, placement, gates })
    }

    /// In words, a line each; gates are for [`View::rows`].
    pub fn lines(&self) -> Vec<String> {
        let base = self.rollout.base.version;
        let mut lines = vec![match &self.rollout.phase {
            Phase::RolledBack { why } => format!("rollout: rolled back to version {base}: {why}"),
            phase => format!("rollout: {} from version {base}", phase.word()),
        }];
        for (id, progress) in self.rollout.actors.iter().filter(|_| !self.rollout.is_rolled_back()) {
            let all = self.placement.actors.get(id).map_or(0, lattice_protocol::Places::len);
            let last = self.record.rollout_policy(id).map_or(0, |policy| policy.strategy.last_wave());
            let wave = if last > 0 {
                format!(", wave {} of {}", progress.wave + 1, last + 1)
            } else {
                String::new()
            };
            let what = if progress.target.is_some() { "new on" } else { "goes in the end, still on" };
            let count = if progress.target.is_some() { progress.updated.len() } else { all };
            lines.push(format!("  {id}: {what} {count} of {all} hosts{wave}"));
        }
        lines
    }

    /// What each gate says.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let row = |line: &Line| {
            let passed = if line.passed { "yes" } else { "not yet" };
            let (calls, errors) = line.calls;
            vec![
                line.actor.to_string(),
                line.host.to_string(),
                passed.to_owned(),
                calls.to_string(),
                errors.to_string(),
                line.why.clone(),
            ]
        };
        self.gates.iter().map(row).collect()
    }

    /// Titles over [`View::rows`].
    pub const HEADER: &'static [&'static str] = &["actor", "host", "gate passed", "calls", "errors", "why"];

    /// As JSON.
    pub fn json(&self) -> Value {
        let why = if let Phase::RolledBack { why } = &self.rollout.phase { Some(why) } else { None };
        let actors: Vec<Value> = self
            .rollout
            .actors
            .iter()
            .map(|(id, progress)| json!({ "actor": id, "wave": progress.wave, "updated": progress.updated }))
            .collect();
        let gates: Vec<Value> = self
            .gates
            .iter()
            .map(|line| {
                let (calls, errors) = line.calls;
                json!({
                    "actor": line.actor, "host": line.host, "passed": line.passed, "why": line.why,
                    "calls": calls, "errors": errors,
                })
            })
            .collect();
        json!({
            "phase": self.rollout.phase.word(), "from": self.rollout.base.version, "why": why,
            "actors": actors, "gates": gates,
        })
    }

    /// Prints it as text.
    pub fn print(&self, args: &Args) {
        self.lines().iter().for_each(|line| output::say(args, line));
        if !self.gates.is_empty() {
            output::table(args, &(), Self::HEADER, self.rows());
        }
    }
}
