//! `start actor`, `stop actor`, `scale actor`.

use super::{Edited, actor_mut, check_hosts, remember_link_name};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::{ActorManifest, Scale};
use lattice_protocol::name::ActorName;
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, ErrorCode, HostId, LinkName, Report};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// `start actor <name> [--hosts A,B] [--spread] [--max N] [--link-name L]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartActor {
    /// Its name.
    pub name: ActorName,
    /// What was pushed, and the reference that it was pushed by. Without it the actor must be in
    /// the application already.
    #[serde(default)]
    pub artifact: Option<(String, Artifact)>,
    /// Hosts it is confined to; empty: any, or as before.
    #[serde(default)]
    pub hosts: Vec<HostId>,
    /// One replica on each of `hosts`, unless `max` says another number.
    #[serde(default)]
    pub spread: bool,
    /// How many; otherwise one.
    #[serde(default)]
    pub max: Option<u32>,
    /// The link name that later links to it take by default.
    #[serde(default)]
    pub link_name: Option<LinkName>,
}

/// Starts an actor, or starts it otherwise.
///
/// # Errors
/// `host not found: …`; `E_ARTIFACT_NOT_FOUND` for a new actor of which nothing was pushed;
/// `E_MANIFEST` for a number out of range.
pub fn start_actor(
    record: &DesiredApp,
    command: &StartActor,
    known: &BTreeSet<HostId>,
) -> Result<Edited, Report> {
    check_hosts(&command.hosts, known)?;
    let mut next = record.clone();
    let is_new = next.application.actor(&command.name).is_none();
    if is_new {
        let (reference, _) = command.artifact.as_ref().ok_or_else(|| {
            Report::new(ErrorCode::ArtifactNotFound, format!("artifact not found: {}", command.name))
                .hint("name the signed component: trellis start actor <file.wasm | sha256:… | oci://…>")
        })?;
        next.application.actors.push(ActorManifest::new(command.name.clone(), reference.clone()));
    }
    let actor = actor_mut(&mut next.application, &command.name)?;
    if !command.hosts.is_empty() {
        actor.placement.hosts.clone_from(&command.hosts);
    }
    let each_host = command.spread.then(|| count(actor.placement.hosts.len()));
    match (command.max.or(each_host), actor.scale) {
        (Some(wanted), _) => actor.scale = Scale::Replicas(wanted.max(1)),
        (None, Scale::Replicas(0)) => actor.scale = Scale::Replicas(1),
        (None, _) => {}
    }
    if command.spread {
        actor.placement.pack = false;
    }
    if let Some((reference, artifact)) = &command.artifact {
        actor.artifact.clone_from(reference);
        let id = ActorId::new(next.application.name.clone(), command.name.clone());
        next.artifacts.insert(id, artifact.clone());
    }
    next.deployed = true;
    remember_link_name(&mut next.application, command.name.as_str(), command.link_name.as_ref());
    Edited::new(next, format!("start actor {}", command.name))
}

fn count(hosts: usize) -> u32 {
    u32::try_from(hosts).unwrap_or(u32::MAX)
}

/// `scale actor <name> [--hosts A,B] --max N`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleActor {
    /// Which.
    pub name: ActorName,
    /// Hosts it is confined to from now on; empty: as before.
    #[serde(default)]
    pub hosts: Vec<HostId>,
    /// How many; otherwise as many as before.
    #[serde(default)]
    pub max: Option<u32>,
}

/// Changes how many replicas an actor has, and where they may be.
///
/// # Errors
/// `actor not found: …`, `host not found: …`, `E_MANIFEST` for a number out of range; `E_USAGE` when
/// it is not said how many.
pub fn scale_actor(
    record: &DesiredApp,
    command: &ScaleActor,
    known: &BTreeSet<HostId>,
) -> Result<Edited, Report> {
    check_hosts(&command.hosts, known)?;
    let mut next = record.clone();
    let actor = actor_mut(&mut next.application, &command.name)?;
    let was_daemon = actor.scale == Scale::Daemon;
    let max = match (command.max, actor.scale) {
        (Some(max), _) => max,
        (None, Scale::Replicas(_)) if command.hosts.is_empty() => {
            return Err(Report::new(ErrorCode::Usage, "nothing to change").hint("say how many, or where"));
        }
        (None, Scale::Replicas(have)) => have,
        (None, Scale::Daemon) => {
            return Err(Report::new(ErrorCode::Usage, "it runs on every host")
                .at(format!("{}/{}", record.application.name, command.name))
                .hint("say how many: --max N"));
        }
    };
    actor.scale = Scale::Replicas(max);
    if !command.hosts.is_empty() {
        actor.placement.hosts.clone_from(&command.hosts);
    }
    let edited = Edited::new(next, format!("scale actor {} {max}", command.name))?;
    Ok(if was_daemon { edited.note("it no longer runs on every host") } else { edited })
}

/// `stop actor <name> [--host-id H]`.
#[derive(Debug, Clone)]
pub struct StopActor<'a> {
    /// Which.
    pub name: ActorName,
    /// Only on this host; otherwise everywhere.
    pub host: Option<HostId>,
    /// Where it runs by the decision in force.
    pub placement: Option<&'a Placement>,
}

/// Stops an actor, on one host or everywhere. Its definition and links stay, so that it can be
/// started again. Stopped on one host, it is confined to the others it runs on: otherwise the
/// planner would be free to bring it back.
///
/// # Errors
/// `actor not found: …`; `host not found: …` for a host that is not known.
pub fn stop_actor(
    record: &DesiredApp,
    command: &StopActor<'_>,
    known: &BTreeSet<HostId>,
) -> Result<Edited, Report> {
    let mut next = record.clone();
    let id = ActorId::new(next.application.name.clone(), command.name.clone());
    let actor = actor_mut(&mut next.application, &command.name)?;
    let Some(host) = &command.host else {
        actor.scale = Scale::Replicas(0);
        return Edited::new(next, format!("stop actor {}", command.name));
    };
    let runs = command.placement.and_then(|placement| placement.actors.get(&id)).cloned().unwrap_or_default();
    if !runs.contains_key(host) {
        check_hosts(std::slice::from_ref(host), known)?;
        let what = format!("actor not found: {} on host {host}", command.name);
        return Err(Report::new(ErrorCode::ActorNotFound, what).hint("see: trellis get actors"));
    }
    let others: Vec<HostId> = if actor.placement.hosts.is_empty() {
        runs.keys().filter(|other| *other != host).cloned().collect()
    } else {
        actor.placement.hosts.iter().filter(|other| *other != host).cloned().collect()
    };
    let here = runs.get(host).copied().unwrap_or(0);
    let change = format!("stop actor {} on {host}", command.name);
    if others.is_empty() {
        actor.scale = Scale::Replicas(0);
        return Edited::new(next, change);
    }
    if let Scale::Replicas(replicas) = &mut actor.scale {
        *replicas = replicas.saturating_sub(here);
    }
    let confined: Vec<&str> = others.iter().map(HostId::as_str).collect();
    let note = format!("{} is now confined to {}", command.name, confined.join(", "));
    actor.placement.hosts = others;
    Ok(Edited::new(next, change)?.note(note))
}
