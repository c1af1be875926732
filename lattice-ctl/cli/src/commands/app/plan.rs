//! `trellis app plan` and `trellis why`: what the planner would do with the lattice as it is now,
//! and what it thinks of each host. Nothing is written: both run the planner here, on what
//! controllers wrote down and what hosts answer.

use super::DeployArgs;
use crate::app_files;
use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::{output, reference};
use lattice_ctl_controller::records::{app_not_found, as_seen};
use lattice_ctl_planner::dry_run::PlannedStep;
use lattice_protocol::manifest::Application;
use lattice_protocol::{AppName, ErrorCode, Report};
use serde_json::json;
use std::path::Path;

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
    let app = match (&parsed, stored) {
        (Some(application), _) => application.name.clone(),
        (None, Some(name)) => name,
        (None, None) => return Err(Report::new(ErrorCode::Usage, "plan takes a manifest or an application")),
    };
    let (apps, placements) = (client.apps().await?, client.placements().await?);
    let seen = as_seen(apps, placements, &client.hosts().await?);
    let steps = seen.plan(&app, parsed).ok_or_else(|| app_not_found(&app))?;
    print_plan(args, &app, &steps);
    Ok(())
}

fn print_plan(args: &Args, app: &AppName, steps: &[PlannedStep]) {
    let row = |step: &PlannedStep| {
        let step = step.clone();
        vec![step.action, step.actor, step.host, step.replicas.to_string(), step.why]
    };
    let rows: Vec<Vec<String>> = steps.iter().map(row).collect();
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
    let (apps, placements, hosts) = (client.apps().await?, client.placements().await?, client.hosts().await?);
    let id = reference::actor(actor, &apps, &hosts)?;
    let seen = as_seen(apps, placements, &hosts);
    let considered = seen.consider(&id);
    let unplaced = seen.placements.get(&id.app).and_then(|placement| placement.unplaced.get(&id));
    let rows = considered
        .iter()
        .map(|one| {
            let fit = if one.fit { "yes" } else { "no" };
            vec![one.host.to_string(), one.replicas.to_string(), fit.to_owned(), one.why.clone()]
        })
        .collect();
    if let Some(unplaced) = unplaced {
        output::say(args, format!("not all of {id} is placed: {unplaced}"));
    }
    let rollout = seen
        .desired
        .get(&id.app)
        .and_then(|record| super::rollout::View::new(record, seen.placements.get(&id.app), &hosts));
    if let Some(rollout) = &rollout {
        rollout.print(args);
    }
    if considered.is_empty() {
        output::say(args, format!("{id} is not deployed, or no host has joined the lattice"));
    }
    let record = json!({
        "actor": id, "unplaced": unplaced, "hosts": considered,
        "rollout": rollout.as_ref().map(super::rollout::View::json),
    });
    output::table(args, &record, &["host", "replicas", "fit", "why"], rows);
    Ok(())
}
