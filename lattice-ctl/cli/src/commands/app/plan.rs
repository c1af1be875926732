//! `trellis app plan` and `trellis why`: what the planner would do with the lattice as it is now,
//! and what it thinks of each host. Nothing is written: both run the planner here, on what
//! controllers wrote down and what hosts answer.

use super::DeployArgs;
use crate::app_files;
use crate::args::Args;
use crate::client::{Client, SeenHost};
use crate::commands::Outcome;
use crate::{output, reference};
use lattice_ctl_planner::observed::{Observed, Profile};
use lattice_ctl_planner::plan::{Assessment, consider};
use lattice_ctl_planner::{Allowance, Input, NoPolicy, Plan, Scaling, Step, Trials, Turn, plan};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::Application;
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, AppName, ErrorCode, HostId, Report};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The lattice, as a plan needs it.
struct Seen {
    desired: BTreeMap<AppName, DesiredApp>,
    placements: BTreeMap<AppName, Placement>,
    observed: Observed,
    now_ms: u64,
    hosts: BTreeMap<HostId, SeenHost>,
    /// A dry run has watched nothing.
    trials: Trials,
    scaling: Scaling,
}

impl Seen {
    async fn now(client: &Client) -> Result<Self, Report> {
        let (desired, placements) = (client.apps().await?, client.placements().await?);
        let hosts = client.hosts().await?;
        let judged = hosts.values().map(|host| (host.heartbeat.clone(), host.verdict));
        let (observed, now_ms) = Observed::as_judged(Profile::EDGE, judged);
        Ok(Self {
            desired,
            placements,
            observed,
            now_ms,
            hosts,
            trials: Trials::default(),
            scaling: Scaling::default(),
        })
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
        }
    }
}

/// Shows what deploying would change, and why.
pub async fn dry_run(args: &Args, what: &str) -> Outcome {
    let stored = DeployArgs::stored_name(what);
    // What is wrong with the manifest is said before anybody connects.
    let parsed = match stored {
        Some(_) => None,
        None => Some(app_files::parse(Path::new(what))?),
    };
    let client = Client::connect(args).await?;
    let result = show_plan(args, &client, parsed, stored).await;
    client.close().await;
    result
}

async fn show_plan(
    args: &Args,
    client: &Client,
    parsed: Option<Application>,
    stored: Option<AppName>,
) -> Outcome {
    let mut seen = Seen::now(client).await?;
    let name = match (parsed, stored) {
        (Some(application), _) => {
            let name = application.name.clone();
            let record = record(application, seen.desired.get(&name));
            seen.desired.insert(name.clone(), record);
            name
        }
        (None, Some(name)) => {
            let record = seen.desired.get_mut(&name).ok_or_else(|| crate::client::app_not_found(&name))?;
            record.deployed = true;
            name
        }
        (None, None) => return Err(Report::new(ErrorCode::Usage, "plan takes a manifest or an application")),
    };
    print_plan(args, &name, &plan(&seen.input()));
    Ok(())
}

/// The record that deploying would store. Components that are not in the lattice yet count as
/// pushed: the question is where they would run.
fn record(application: Application, have: Option<&DesiredApp>) -> DesiredApp {
    let artifact = |id: &ActorId, reference: &str| {
        let same = have
            .filter(|have| have.application.actor(&id.name).is_some_and(|actor| actor.artifact == reference));
        let known = same.and_then(|have| have.artifacts.get(id)).cloned();
        known.unwrap_or_else(|| Artifact { digest: reference.to_owned(), size: 0 })
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

/// One step: what is done, to whom, where, how many.
fn row(step: &Step) -> (&'static str, String, String, u32) {
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

fn print_plan(args: &Args, app: &AppName, plan: &Plan) {
    let steps: Vec<Value> = plan
        .explanation
        .iter()
        .map(|step| {
            let (action, actor, host, replicas) = row(step);
            json!({
                "action": action, "actor": actor, "host": host, "replicas": replicas,
                "why": why_of(step), "text": step.to_string(),
            })
        })
        .collect();
    let rows: Vec<Vec<String>> = plan
        .explanation
        .iter()
        .map(|step| {
            let (action, actor, host, replicas) = row(step);
            vec![action.to_owned(), actor, host, replicas.to_string(), why_of(step)]
        })
        .collect();
    if rows.is_empty() {
        output::say(args, format!("nothing would start, stop or move for {app}"));
    }
    let record = json!({ "app": app, "steps": steps });
    if !rows.is_empty() || args.output == output::Format::Json {
        output::table(args, &record, &["what", "actor", "host", "replicas", "why"], rows);
    }
}

/// `trellis why`.
#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// Which: app/name, a bare name, or its module key.
    pub actor: String,
}

/// Shows where an actor runs, and what speaks for and against each host.
pub async fn why(args: &Args, why: &WhyArgs) -> Outcome {
    let client = Client::connect(args).await?;
    let result = explain(args, &client, &why.actor).await;
    client.close().await;
    result
}

async fn explain(args: &Args, client: &Client, actor: &str) -> Outcome {
    let seen = Seen::now(client).await?;
    let id = reference::actor(actor, &seen.desired, &seen.hosts)?;
    let assessments = consider(&seen.input(), &id).unwrap_or_default();
    let unplaced = seen.placements.get(&id.app).and_then(|placement| placement.unplaced.get(&id));
    let records: Vec<Value> = assessments.iter().map(assessment).collect();
    let rows = assessments
        .iter()
        .map(|one| {
            let (fit, words) = judged(one);
            let fit = if fit { "yes" } else { "no" };
            vec![one.host.to_string(), one.replicas.to_string(), fit.to_owned(), words]
        })
        .collect();
    if let Some(unplaced) = unplaced {
        output::say(args, format!("not all of {id} is placed: {unplaced}"));
    }
    let rollout = seen
        .desired
        .get(&id.app)
        .and_then(|record| super::rollout::View::new(record, seen.placements.get(&id.app), &seen.hosts));
    if let Some(rollout) = &rollout {
        rollout.print(args);
    }
    if assessments.is_empty() {
        output::say(args, format!("{id} is not deployed, or no host has joined the lattice"));
    }
    let record = json!({
        "actor": id, "unplaced": unplaced, "hosts": records,
        "rollout": rollout.as_ref().map(super::rollout::View::json),
    });
    output::table(args, &record, &["host", "replicas", "fit", "why"], rows);
    Ok(())
}

fn judged(one: &Assessment) -> (bool, String) {
    match &one.verdict {
        Ok(reasons) => (true, reasons.to_string()),
        Err(refusal) => (false, refusal.to_string()),
    }
}

fn assessment(one: &Assessment) -> Value {
    let (fit, why) = judged(one);
    json!({ "host": one.host, "replicas": one.replicas, "fit": fit, "why": why })
}
