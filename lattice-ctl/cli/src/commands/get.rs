//! `trellis get …`: the lattice as it is now.

use crate::args::Args;
use crate::client::{Client, SeenHost};
use crate::commands::{Outcome, app};
use crate::output;
use clap::Subcommand;
use lattice_ctl_controller::views::{ActorView, actors_of};
use lattice_protocol::desired::Verdict;
use lattice_protocol::forwarding::Forwarding;
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::{ErrorCode, HostId, Report};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What to show.
#[derive(Debug, Subcommand)]
pub enum GetCommand {
    /// Hosts, their health, their load.
    Hosts {
        /// Only those in good health.
        #[arg(long)]
        healthy_only: bool,
    },
    /// Actors of all applications.
    Actors,
    /// Claims of the actors that run.
    Claims,
    /// Links.
    Links,
    /// What runs on each host, or on one.
    Inventory {
        /// The host.
        host: Option<HostId>,
    },
    /// What happened: the lattice's audit stream.
    Events(super::events::EventsArgs),
    /// Applications.
    #[command(visible_alias = "applications")]
    Apps,
}

/// Runs it.
pub async fn run(args: &Args, command: &GetCommand) -> Outcome {
    let client = Client::connect(args).await?;
    let result = match command {
        GetCommand::Hosts { healthy_only } => hosts(args, &client, *healthy_only).await,
        GetCommand::Actors => actors(args, &client).await,
        GetCommand::Claims => claims(args, &client).await,
        GetCommand::Links => links(args, &client).await,
        GetCommand::Inventory { host } => inventory(args, &client, host.as_ref()).await,
        GetCommand::Events(events) => super::events::run(args, &client, events).await,
        GetCommand::Apps => app::run_list(args, &client).await,
    };
    client.close().await;
    result
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

fn host_record(host: &HostId, seen: &SeenHost) -> serde_json::Value {
    let beat = &seen.heartbeat;
    json!({
        "host": host, "health": seen.health(), "verdict": seen.verdict, "answered": seen.answered,
        "observed": seen.observed,
        "labels": beat.labels, "version": beat.version, "arch": beat.arch, "codeFor": beat.code_for, "generation": beat.generation,
        "actors": beat.actors.len(), "providers": beat.providers.len(), "load": beat.load,
        "forwarding": beat.forwarding,
        "uptimeS": beat.uptime_s, "errors": beat.errors, "bootId": beat.boot_id, "reason": seen.reason,
    })
}

/// Its program, and what is to be compiled for it where it compiles nothing.
fn runs_on(beat: &Heartbeat) -> String {
    match &beat.code_for {
        Some(target) => format!("{} {} (no compiler: {target})", beat.version, beat.arch),
        None => format!("{} {}", beat.version, beat.arch),
    }
}

/// How far a host's journal has come, in a few words.
fn forwarded(forwarding: &Forwarding) -> String {
    let Forwarding { state, records, bytes, oldest_ms, dropped, refusing, reason, .. } = forwarding;
    let mut words = vec![state.word().to_owned()];
    if *records > 0 {
        words.push(format!("{records} records, {} KiB, {} s", bytes.div_ceil(1 << 10), oldest_ms / 1_000));
    }
    if *dropped > 0 {
        words.push(format!("{dropped} let go"));
    }
    if *refusing {
        words.push("refusing commands".to_owned());
    }
    words.extend(reason.clone());
    words.join("; ")
}

async fn hosts(args: &Args, client: &Client, healthy_only: bool) -> Outcome {
    let mut hosts = client.hosts().await?;
    if healthy_only {
        hosts.retain(|_, seen| seen.health() == "HEALTHY");
    }
    let records: Vec<_> = hosts.iter().map(|(host, seen)| host_record(host, seen)).collect();
    let rows = hosts
        .iter()
        .map(|(host, seen)| {
            let (beat, load) = (&seen.heartbeat, &seen.heartbeat.load);
            vec![
                host.to_string(),
                seen.health().to_owned(),
                labels(&beat.labels),
                beat.actors.len().to_string(),
                beat.providers.len().to_string(),
                format!("{}/{} m", load.cpu_used_millis, load.cpu_millis),
                format!("{}/{} MiB", load.memory_used_mib, load.memory_mib),
                format!("{} s", beat.uptime_s),
                runs_on(beat),
                beat.forwarding.as_deref().map_or_else(String::new, forwarded),
                seen.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let header = &[
        "host",
        "health",
        "labels",
        "actors",
        "providers",
        "cpu",
        "memory",
        "up",
        "version",
        "forwarded",
        "why",
    ];
    output::table(args, &records, header, rows);
    if hosts.is_empty() {
        output::warn("no host answers; start one: trellis host");
    }
    Ok(())
}

async fn actors(args: &Args, client: &Client) -> Outcome {
    let (apps, placements, hosts) = (client.apps().await?, client.placements().await?, client.hosts().await?);
    let views: Vec<ActorView> =
        apps.iter().flat_map(|(name, record)| actors_of(record, placements.get(name), &hosts)).collect();
    output::table(args, &views, app::ACTOR_HEADER, app::actor_rows(&views));
    Ok(())
}

async fn claims(args: &Args, client: &Client) -> Outcome {
    let hosts = client.hosts().await?;
    let mut seen = BTreeSet::new();
    let (mut rows, mut records) = (Vec::new(), Vec::new());
    for actor in hosts.values().flat_map(|host| &host.heartbeat.actors) {
        let Some(claims) = &actor.claims else { continue };
        if !seen.insert((actor.id.clone(), claims.subject.clone(), claims.revision)) {
            continue;
        }
        rows.push(vec![
            actor.id.to_string(),
            claims.subject.clone(),
            claims.issuer.clone(),
            format!("{} ({})", claims.version, claims.revision),
            claims.expires.map_or("never".to_owned(), keys::format_utc),
            claims.capabilities.join(" "),
        ]);
        records.push(json!({ "actor": actor.id, "digest": actor.digest, "claims": claims }));
    }
    output::table(args, &records, &["actor", "module", "issuer", "version", "expires", "may use"], rows);
    Ok(())
}

/// `get links` and `link query`.
pub async fn links(args: &Args, client: &Client) -> Outcome {
    let apps = client.apps().await?;
    let links: Vec<_> = apps
        .values()
        .flat_map(|record| record.application.actors.iter().flat_map(|actor| &actor.links))
        .collect();
    if args.output == output::Format::Json {
        output::json(&links);
        return Ok(());
    }
    for link in links {
        // Seed 004's line, and behind it what it does not say.
        output::raw(&format!(
            "Link: {} -> {} [{}:{}]  timeout {} ms, {} retries after {} ms  {}",
            link.source,
            link.target,
            link.interface,
            link.name,
            link.policy.timeout_ms,
            link.policy.retries,
            link.policy.retry_delay_ms,
            labels(&link.config),
        ));
    }
    Ok(())
}

async fn inventory(args: &Args, client: &Client, host: Option<&HostId>) -> Outcome {
    let mut hosts = client.hosts().await?;
    if let Some(host) = host {
        hosts.retain(|id, _| id == host);
        if hosts.is_empty() {
            return Err(Report::new(ErrorCode::HostNotFound, format!("host not found: {host}"))
                .hint("see: trellis get hosts"));
        }
    }
    if args.output == output::Format::Json {
        let all: Vec<_> = hosts
            .iter()
            .map(|(host, seen)| json!({ "host": host, "health": seen.health(), "heartbeat": seen.heartbeat }))
            .collect();
        output::json(&all);
        return Ok(());
    }
    let mut rows = Vec::new();
    for (host, seen) in hosts.iter().filter(|(_, seen)| seen.verdict != Verdict::Lost) {
        for actor in &seen.heartbeat.actors {
            rows.push(vec![
                host.to_string(),
                "actor".to_owned(),
                actor.id.to_string(),
                app::state_word(&actor.state).to_owned(),
                format!("{} replicas, {} calls, {} errors", actor.replicas, actor.calls, actor.errors),
                actor.reason.clone().unwrap_or_default(),
            ]);
        }
        for provider in &seen.heartbeat.providers {
            let listens = provider.listen.as_ref().map(|at| format!(" on {at}")).unwrap_or_default();
            rows.push(vec![
                host.to_string(),
                "provider".to_owned(),
                provider.id.to_string(),
                app::state_word(&provider.state).to_owned(),
                format!("{}{listens}", provider.kind),
                provider.reason.clone().unwrap_or_default(),
            ]);
        }
    }
    output::table(args, &(), &["host", "what", "id", "state", "details", "why"], rows);
    Ok(())
}
