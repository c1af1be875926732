//! Applications as they are: what shall run, what was decided, what hosts say. Pure: records in,
//! answers out; the command line shows them as the API gives them.

use crate::records::SeenHost;
use lattice_ctl_planner::rollout::version_on;
use lattice_protocol::desired::{DesiredApp, Placement, Verdict};
use lattice_protocol::heartbeat::RunState;
use lattice_protocol::manifest::Scale;
use lattice_protocol::{ActorId, HostId};
use serde::Serialize;
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
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.running == self.wanted && !self.unplaced && self.reason.is_none()
    }
}

/// The actors of one application. Lost hosts do not count.
#[must_use]
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

/// An application in one word: `running`, `failed`, `degraded`, `waiting`, `stopping`, `undeployed`.
#[must_use]
pub fn overall(record: &DesiredApp, views: &[ActorView]) -> &'static str {
    match (record.deployed, views) {
        (false, views) if views.iter().all(|view| view.running == 0) => "undeployed",
        (false, _) => "stopping",
        (true, views) if views.iter().all(|view| view.state == "running") => "running",
        (true, views) if views.iter().any(|view| view.state == "failed") => "failed",
        (true, views) if views.iter().any(|view| view.state == "degraded") => "degraded",
        (true, _) => "waiting",
    }
}
