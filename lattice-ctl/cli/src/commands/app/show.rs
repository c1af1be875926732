//! Applications as they are: what shall run, what was decided, what hosts say.

use super::rollout;
use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::output;
use lattice_ctl_controller::views::{ActorView, actors_of, overall};
use lattice_protocol::desired::{PastVersion, Verdict};
use lattice_protocol::heartbeat::RunState;
use lattice_protocol::{AppName, HostId};
use serde_json::json;
use std::collections::BTreeMap;

/// Replicas by host, in words.
pub fn on_hosts(hosts: &BTreeMap<HostId, u32>) -> String {
    hosts.iter().map(|(host, count)| format!("{host}:{count}")).collect::<Vec<_>>().join(" ")
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
