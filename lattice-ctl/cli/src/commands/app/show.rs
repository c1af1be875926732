//! Applications as they are: what shall run, what was decided, what hosts say.

use super::rollout;
use crate::args::Args;
use crate::client::{Client, SeenHost};
use crate::commands::Outcome;
use crate::output;
use lattice_ctl_planner::rollout::version_on;
use lattice_protocol::desired::{DesiredApp, PastVersion, Placement, Verdict};
use lattice_protocol::heartbeat::RunState;
use lattice_protocol::manifest::Scale;
use lattice_protocol::{ActorId, AppName, HostId};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// One actor, over all hosts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActorView {
    /// Who.
    pub id: ActorId,
    /// Replicas that shall run.
    pub wanted: u32,
    /// Replicas that do run, with the desired component.
    pub running: u32,
    /// `running`, `degraded`, `partial`, `waiting`, `failed`, `stopping`, `stopped`.
    pub state: &'static str,
    /// Replicas by host.
    pub hosts: BTreeMap<HostId, u32>,
    /// Version in its claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Module key in its claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Calls so far, over all hosts.
    pub calls: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Why not all of it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Some of it found no room.
    pub unplaced: bool,
}

impl ActorView {
    /// Does all of it run, and nothing else?
    pub fn is_complete(&self) -> bool {
        self.running == self.wanted && !self.unplaced && self.reason.is_none()
    }
}

/// The actors of one application. Lost hosts do not count.
pub fn actors_of(
    record: &DesiredApp,
    placement: Option<&Placement>,
    hosts: &BTreeMap<HostId, SeenHost>,
) -> Vec<ActorView> {
    record
        .application
        .actors
        .iter()
        .map(|actor| {
            let id = ActorId::new(record.application.name.clone(), actor.name.clone());
            let scale = placement.map_or(actor.scale, |placement| placement.scale(&id, actor.scale));
            let wanted = match (record.deployed, scale) {
                (false, _) => 0,
                (true, Scale::Replicas(count)) => count,
                (true, Scale::Daemon) => placement
                    .and_then(|placement| placement.actors.get(&id))
                    .map_or(0, |hosts| hosts.values().sum()),
            };
            // In a rollout hosts have the one version or the other.
            let told = |host: &HostId| match placement {
                Some(placement) => version_on(record, placement, &id, host).map(|version| version.artifact),
                None => record.artifacts.get(&id),
            };
            let told: BTreeMap<&HostId, &str> =
                hosts.keys().filter_map(|host| Some((host, told(host)?.digest.as_str()))).collect();
            let mut view = ActorView {
                wanted,
                running: 0,
                state: "waiting",
                hosts: BTreeMap::new(),
                version: None,
                subject: None,
                calls: 0,
                errors: 0,
                reason: None,
                unplaced: false,
                id,
            };
            for (host, seen) in hosts.iter().filter(|(_, seen)| seen.verdict != Verdict::Lost) {
                for status in seen.heartbeat.actors.iter().filter(|status| status.id == view.id) {
                    view.calls = view.calls.saturating_add(status.calls);
                    view.errors = view.errors.saturating_add(status.errors);
                    if let Some(claims) = &status.claims {
                        view.version = Some(claims.version.clone());
                        view.subject = Some(claims.subject.clone());
                    }
                    if status.state == RunState::Running && told.get(host) == Some(&status.digest.as_str()) {
                        view.running = view.running.saturating_add(status.replicas);
                        view.hosts.insert(host.clone(), status.replicas);
                    }
                    // One that runs says what it runs without: a provider that is not there yet.
                    if let Some(reason) = &status.reason {
                        view.reason = Some(format!("{reason} (on {host})"));
                    }
                }
            }
            if let Some(reason) =
                placement.filter(|_| record.deployed).and_then(|placement| placement.unplaced.get(&view.id))
            {
                view.unplaced = true;
                view.reason = Some(reason.clone());
            }
            view.state = state_of(&view, record.deployed);
            view
        })
        .collect()
}

fn state_of(view: &ActorView, deployed: bool) -> &'static str {
    match (deployed, view.running, view.wanted) {
        (false, 0, _) => "stopped",
        (false, _, _) => "stopping",
        (true, running, wanted) if running >= wanted && view.reason.is_none() => "running",
        (true, running, wanted) if running >= wanted => "degraded",
        (true, 0, _) if view.reason.is_some() => "failed",
        (true, 0, _) => "waiting",
        (true, _, _) => "partial",
    }
}

/// Replicas by host, in words.
pub fn on_hosts(hosts: &BTreeMap<HostId, u32>) -> String {
    hosts.iter().map(|(host, count)| format!("{host}:{count}")).collect::<Vec<_>>().join(" ")
}

fn overall(record: &DesiredApp, views: &[ActorView]) -> &'static str {
    match (record.deployed, views) {
        (false, views) if views.iter().all(|view| view.running == 0) => "undeployed",
        (false, _) => "stopping",
        (true, views) if views.iter().all(|view| view.state == "running") => "running",
        (true, views) if views.iter().any(|view| view.state == "failed") => "failed",
        (true, views) if views.iter().any(|view| view.state == "degraded") => "degraded",
        (true, _) => "waiting",
    }
}

/// `app list`.
pub async fn list(args: &Args, client: &Client) -> Outcome {
    let (apps, placements) = (client.apps().await?, client.placements().await?);
    let hosts = if apps.is_empty() { BTreeMap::new() } else { client.hosts().await? };
    let (mut rows, mut records) = (Vec::new(), Vec::new());
    for (name, record) in &apps {
        let views = actors_of(record, placements.get(name), &hosts);
        let running: u32 = views.iter().map(|view| view.running).sum();
        let wanted: u32 = views.iter().map(|view| view.wanted).sum();
        let state = overall(record, &views);
        rows.push(vec![
            name.to_string(),
            record.version.to_string(),
            state.to_owned(),
            format!("{running}/{wanted}"),
            keys::format_utc(i64::try_from(record.at_unix_ms / 1_000).unwrap_or(0)),
            record.by.clone(),
            record.application.description.clone(),
        ]);
        records.push(json!({
            "name": name, "version": record.version, "state": state, "deployed": record.deployed,
            "running": running, "wanted": wanted, "atUnixMs": record.at_unix_ms, "by": record.by,
            "description": record.application.description,
        }));
    }
    output::table(
        args,
        &records,
        &["app", "version", "state", "replicas", "changed", "by", "description"],
        rows,
    );
    Ok(())
}

/// Rows of actors, for tables.
pub fn actor_rows(views: &[ActorView]) -> Vec<Vec<String>> {
    views
        .iter()
        .map(|view| {
            vec![
                view.id.to_string(),
                format!("{}/{}", view.running, view.wanted),
                view.state.to_owned(),
                on_hosts(&view.hosts),
                view.version.clone().unwrap_or_default(),
                view.calls.to_string(),
                view.errors.to_string(),
                view.reason.clone().unwrap_or_default(),
            ]
        })
        .collect()
}

/// Titles over [`actor_rows`].
pub const ACTOR_HEADER: &[&str] =
    &["actor", "replicas", "state", "hosts", "version", "calls", "errors", "why"];

/// `app status`.
pub async fn status(args: &Args, client: &Client, name: &AppName) -> Outcome {
    let record = client.app(name).await?;
    let (placements, hosts) = (client.placements().await?, client.hosts().await?);
    let views = actors_of(&record, placements.get(name), &hosts);
    let providers: Vec<_> = hosts
        .iter()
        .filter(|(_, seen)| seen.verdict != Verdict::Lost)
        .flat_map(|(host, seen)| seen.heartbeat.providers.iter().map(move |provider| (host, provider)))
        .filter(|(_, provider)| provider.id.app == *name)
        .collect();
    let rollout = rollout::View::new(&record, placements.get(name), &hosts);
    let records = json!({
        "app": name, "version": record.version, "deployed": record.deployed, "state": overall(&record, &views),
        "rollout": rollout.as_ref().map(rollout::View::json),
        "actors": views,
        "providers": providers.iter().map(|(host, provider)| json!({ "host": host, "provider": provider })).collect::<Vec<_>>(),
    });
    if args.output == output::Format::Json {
        output::json(&records);
        return Ok(());
    }
    output::say(
        args,
        format!("application {name}, version {}: {}", record.version, overall(&record, &views)),
    );
    output::table(args, &(), ACTOR_HEADER, actor_rows(&views));
    if let Some(rollout) = rollout {
        rollout.print(args);
    }
    if !providers.is_empty() {
        let rows = providers
            .iter()
            .map(|(host, provider)| {
                vec![
                    provider.id.to_string(),
                    provider.kind.clone(),
                    host.to_string(),
                    state_word(&provider.state).to_owned(),
                    provider.listen.clone().unwrap_or_default(),
                    provider.reason.clone().unwrap_or_default(),
                ]
            })
            .collect();
        output::table(args, &(), &["provider", "kind", "host", "state", "listens on", "why"], rows);
    }
    Ok(())
}

/// A state in one word.
pub fn state_word(state: &RunState) -> &'static str {
    match state {
        RunState::Starting => "starting",
        RunState::Running => "running",
        RunState::Failed => "failed",
        RunState::CrashLooping => "crash-looping",
    }
}

/// `app history`.
pub async fn history(args: &Args, client: &Client, name: &AppName) -> Outcome {
    let record = client.app(name).await?;
    let kept = |past: &PastVersion| past.content.is_some();
    let rows = record
        .history
        .iter()
        .map(|past| {
            let time = i64::try_from(past.at_unix_ms / 1_000).unwrap_or(0);
            let back = if kept(past) { "yes" } else { "no" };
            vec![
                past.version.to_string(),
                keys::format_utc(time),
                past.by.clone(),
                past.change.clone(),
                back.to_owned(),
            ]
        })
        .collect();
    let records: Vec<_> = record
        .history
        .iter()
        .map(|past| {
            json!({
                "version": past.version, "atUnixMs": past.at_unix_ms, "by": past.by,
                "change": past.change, "kept": kept(past),
            })
        })
        .collect();
    output::table(args, &records, &["version", "changed", "by", "change", "can come back"], rows);
    Ok(())
}
