//! Putting an application into the lattice, and watching until it runs.

use super::show;
use crate::app_files::{self, PreparedApp, Unsigned};
use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::{artifacts, home, keyfile, native, output, signing};
use keys::{KeyKind, KeyPair};
use lattice_ctl_controller::views::{ActorView, actors_of};
use lattice_ctl_planner::edit::Change;
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::rollout::Phase;
use lattice_protocol::{AppName, ErrorCode, Report};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(400);

/// What to put.
#[derive(Debug, clap::Args)]
pub struct DeployArgs {
    /// A manifest, or the name of a stored application.
    #[arg(value_name = "MANIFEST|APP")]
    pub what: String,
    /// Sign components that nobody signed, or only this machine's development key: with the lattice's
    /// issuer if its directory is here, else with the development key.
    #[arg(long)]
    pub sign: bool,
    /// Wait until it runs (the default).
    #[arg(long)]
    pub wait: bool,
    /// Do not wait until it runs.
    #[arg(long, conflicts_with = "wait")]
    pub no_wait: bool,
    /// How long to wait, seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub wait_for: u64,
}

impl DeployArgs {
    /// The stored application's name, unless this is a file.
    fn stored(&self) -> Option<AppName> {
        Self::stored_name(&self.what)
    }

    /// The same of any text.
    pub(super) fn stored_name(what: &str) -> Option<AppName> {
        let is_file = Path::new(what).exists() || what.contains(['/', '.']);
        if is_file { None } else { AppName::new(what).ok() }
    }
}

/// Puts it, and runs it if `deployed`.
pub async fn run(args: &Args, put: &DeployArgs, deployed: bool) -> Outcome {
    // What is wrong with the manifest is said before anybody connects.
    let parsed = match put.stored() {
        Some(_) => None,
        None => Some(app_files::parse(Path::new(&put.what))?),
    };
    let client = Client::connect(args).await?;
    let result = async {
        let record = match (parsed, put.stored()) {
            (Some(application), _) => {
                let manifest = Path::new(&put.what);
                let base = app_files::base_of(manifest);
                let fetched = artifacts::fetch(args, Some(&client), &application, &base).await?;
                let signer = signer(args, &client, put)?;
                let unsigned = signer.as_ref().map_or(Unsigned::Refuse, Unsigned::Sign);
                let prepared = app_files::assemble(application, &base, unsigned, &fetched)?;
                warn_of_untrusted(&client, &prepared)?;
                store(args, &client, prepared, deployed).await?
            }
            (None, Some(name)) if deployed => redeploy(args, &client, &name).await?,
            (None, _) => return Err(Report::new(ErrorCode::Usage, "put takes a manifest").got(&put.what)),
        };
        finish(args, &client, put, &record).await
    }
    .await;
    client.close().await;
    result
}

async fn redeploy(args: &Args, client: &Client, name: &AppName) -> Result<DesiredApp, Report> {
    let have = client.app(name).await?;
    if have.deployed {
        return Ok(have);
    }
    let hosts = client.hosts().await?;
    if !native::needed(&hosts).is_empty() {
        let mut components = Vec::new();
        for actor in have.artifacts.keys() {
            components.push((actor.to_string(), artifacts::of_actor(client, &have, actor).await?));
        }
        let named = components.iter().map(|(actor, file)| (actor.clone(), file));
        native::for_hosts(args, client, &hosts, named).await?;
    }
    client.change(name, &Change::Deploy {}).await.map(|applied| applied.record)
}

fn signer(args: &Args, client: &Client, put: &DeployArgs) -> Result<Option<KeyPair>, Report> {
    if !put.sign {
        return Ok(None);
    }
    if let Some(dir) = &client.context.dir
        && dir.issuer_path().exists()
    {
        return keyfile::read(&dir.issuer_path(), KeyKind::Account).map(Some);
    }
    let key = signing::local_issuer()?;
    output::say(args, format!("signing with the development key {}: hosts must trust it", key.public()));
    Ok(Some(key))
}

/// Hosts decide; this only saves a wait when the answer is known here.
fn warn_of_untrusted(client: &Client, prepared: &PreparedApp) -> Result<(), Report> {
    let Some(anchors) = client.context.trust()? else { return Ok(()) };
    for (id, file) in &prepared.files {
        if let Err(error) = keys::verify(file, &anchors, home::now_unix(), &keys::VerifyPolicy::ACTOR) {
            output::warn(format!("{id}: hosts of this lattice will refuse it: {error}"));
        }
    }
    Ok(())
}

async fn store(
    args: &Args,
    client: &Client,
    prepared: PreparedApp,
    deployed: bool,
) -> Result<DesiredApp, Report> {
    let bar = output::spinner(args, "storing artifacts");
    let storing = async {
        for (id, file) in &prepared.files {
            bar.set_message(format!("storing {id}, {} KiB", file.len() >> 10));
            client.push(file.clone()).await?;
        }
        Ok(())
    };
    // Hosts take a quarter of a second to answer.
    let ((), hosts) = futures::try_join!(storing, client.hosts())?;
    bar.finish_and_clear();
    if deployed {
        let components = prepared.files.iter().map(|(id, file)| (id.to_string(), file));
        native::for_hosts(args, client, &hosts, components).await?;
    }
    let name = prepared.application.name.clone();
    let files: Vec<_> = prepared.files.values().cloned().collect();
    let record = client.change(&name, &prepared.into_change(deployed)).await?.record;
    for file in &files {
        client.hold(file).await?;
    }
    Ok(record)
}

async fn finish(args: &Args, client: &Client, put: &DeployArgs, record: &DesiredApp) -> Outcome {
    let name = &record.application.name;
    if !record.deployed {
        output::say(
            args,
            format!(
                "application {name} is stored as version {}; run it: trellis app deploy {name}",
                record.version
            ),
        );
        if args.output == output::Format::Json {
            output::json(&serde_json::json!({ "app": name, "version": record.version, "deployed": false }));
        }
        return Ok(());
    }
    output::say(args, format!("application {name} is deployed as version {}", record.version));
    if put.no_wait {
        if args.output == output::Format::Json {
            output::json(&serde_json::json!({ "app": name, "version": record.version, "deployed": true }));
        }
        return Ok(());
    }
    wait_until_running(args, client, record, Duration::from_secs(put.wait_for)).await?;
    show::status(args, client, name).await
}

/// Waits until every replica of every actor runs the desired component.
///
/// # Errors
/// `E_INSUFFICIENT_RESOURCES` when there is no room, else `E_TIMEOUT`, with what hosts say.
pub async fn wait_until_running(
    args: &Args,
    client: &Client,
    record: &DesiredApp,
    within: Duration,
) -> Outcome {
    let end = Instant::now() + within;
    let name = &record.application.name;
    let bar = output::spinner(args, format!("waiting for {name}"));
    loop {
        let (placements, hosts) = (client.placements().await?, client.hosts().await?);
        let views = actors_of(record, placements.get(name), &hosts);
        let running: u32 = views.iter().map(|view| view.running.min(view.wanted)).sum();
        let wanted: u32 = views.iter().map(|view| view.wanted).sum();
        let planned =
            placements.get(name).is_some_and(|placement| placement.desired_version >= record.version);
        let phase =
            placements.get(name).and_then(|placement| placement.rollout.as_ref()).map(|one| &one.phase);
        if let Some(Phase::RolledBack { why }) = phase.filter(|_| planned) {
            bar.finish_and_clear();
            let report = Report::new(ErrorCode::Rollout, "the new version was rolled back").at(name).got(why);
            return Err(
                report.hint(format!("repair it and deploy again, or try again: trellis app resume {name}"))
            );
        }
        let over = matches!(phase, None | Some(Phase::Complete));
        if planned && over && views.iter().all(ActorView::is_complete) {
            bar.finish_and_clear();
            return Ok(());
        }
        bar.set_message(format!("waiting for {name}: {running} of {wanted} replicas run"));
        if Instant::now() >= end {
            bar.finish_and_clear();
            return Err(why_not(record, &views, planned, hosts.is_empty()));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn why_not(record: &DesiredApp, views: &[ActorView], planned: bool, no_hosts: bool) -> Report {
    let name = &record.application.name;
    let late: Vec<&ActorView> = views.iter().filter(|view| !view.is_complete()).collect();
    let reasons: Vec<String> = late
        .iter()
        .filter_map(|view| view.reason.as_ref().map(|reason| format!("{}: {reason}", view.id)))
        .collect();
    let counts = late
        .iter()
        .map(|view| format!("{}: {} of {} run", view.id, view.running, view.wanted))
        .collect::<Vec<_>>();
    if let Some(view) = late.iter().find(|view| view.unplaced) {
        return unplaced(view.reason.as_deref().unwrap_or_default()).at(name).got(reasons.join("; "));
    }
    let first = late.iter().find_map(|view| Report::from_line(view.reason.as_deref()?));
    if let Some(report) = first {
        return report;
    }
    let report = Report::new(ErrorCode::Timeout, "application does not run yet").at(name);
    if !reasons.is_empty() {
        return report.got(reasons.join("; ")).hint(format!("see: trellis app status {name}"));
    }
    match (no_hosts, planned) {
        (true, _) => {
            report.got("no host answers").hint("start one: trellis host, and see: trellis get hosts")
        }
        (false, false) => report.got("no controller has planned it").hint("start one: trellis controller"),
        (false, true) => report.got(counts.join("; ")).hint(format!("see: trellis app status {name}")),
    }
}

/// Why the controller has found no host, in the words that the planner says it in.
fn unplaced(reason: &str) -> Report {
    if reason.starts_with("host not found") {
        return Report::new(ErrorCode::HostNotFound, reason).hint("see: trellis get hosts");
    }
    if reason.starts_with("failover failed") {
        return Report::new(ErrorCode::InsufficientResources, reason)
            .hint("add hosts, or repair those that are lost");
    }
    Report::new(ErrorCode::InsufficientResources, "actor scale failed: insufficient resources")
        .hint("lower what its actors need, change their placement, or add hosts")
}
