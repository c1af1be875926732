//! Which host runs how many of what. One pure function over desired, placements and observed; it
//! explains every change, and [`crate::check`] judges it independently.
//!
//! In three passes: *keep* what is still valid (nothing moves without a reason), *fill* what is
//! missing, most important actors first, and *hold* what could be placed nowhere else on the hosts
//! that are lost: they may come back, and until then nothing is better.
//!
//! Invariants: the same input gives the same plan; planning again after a plan was carried out
//! changes nothing; nothing new goes to a host that is not fit or has no room, and what one actor
//! was given in this run is not given to the next.

use crate::observed::Observed;
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::ActorManifest;
use lattice_protocol::{ActorId, AppName, HostId};
use std::cmp::Reverse;
use std::collections::BTreeMap;

mod explain;
mod fill;
mod group;
mod keep;
mod room;
mod words;

pub use explain::Step;
pub(crate) use group::{Group, groups};
pub(crate) use room::Room;

/// What a plan is made from.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// What shall be, by application.
    pub desired: BTreeMap<&'a AppName, &'a DesiredApp>,
    /// The decisions in force.
    pub placements: BTreeMap<&'a AppName, &'a Placement>,
    /// What hosts say.
    pub observed: &'a Observed,
    /// Now, on the clock of `observed`.
    pub now_ms: u64,
    /// Breaks ties between equal hosts; the same for as long as ties shall be broken alike.
    pub seed: u64,
}

/// What shall be decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Placements that differ from those in force.
    pub changed: BTreeMap<AppName, Placement>,
    /// Applications whose placement shall go, because nothing is desired of them.
    pub removed: Vec<AppName>,
    /// Why, change by change.
    pub explanation: Vec<Step>,
}

/// One actor on its way through a plan.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) id: ActorId,
    pub(crate) manifest: &'a ActorManifest,
    /// Has its component been pushed? Nothing of it runs otherwise.
    pub(crate) has_artifact: bool,
    /// Where it runs by the decision in force.
    before: BTreeMap<HostId, u32>,
    /// Where it will run.
    placed: BTreeMap<HostId, u32>,
    groups: Vec<Group>,
    /// Replicas that each group has kept, in the order of the groups.
    kept: Vec<u32>,
    /// Replicas on hosts that can no longer be relied on, to be placed elsewhere or held.
    displaced: BTreeMap<HostId, u32>,
    unplaced: Option<String>,
    unplaced_before: Option<String>,
}

/// Makes a plan.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let mut room = Room::new(input);
    let mut tasks = tasks(input);
    for task in &mut tasks {
        keep::keep(task, input, &mut room);
    }
    let mut order: Vec<&mut Task<'_>> = tasks.iter_mut().collect();
    // Stable: within one priority, by application and then as its manifest lists them.
    order.sort_by_key(|task| Reverse(task.manifest.placement.priority));
    let mut notes = explain::Notes::default();
    for task in order {
        fill::fill(task, &mut fill::Filling { input, room: &mut room, notes: &mut notes });
    }
    let explanation = notes.finish(&tasks, input);
    finish(input, tasks, explanation)
}

/// Every actor of every deployed application.
fn tasks<'a>(input: &Input<'a>) -> Vec<Task<'a>> {
    let deployed = input.desired.iter().filter(|(_, desired)| desired.deployed);
    deployed
        .flat_map(|(app, desired)| {
            let placement = input.placements.get(app);
            desired.application.actors.iter().map(move |manifest| {
                let id = ActorId::new((*app).clone(), manifest.name.clone());
                let before = placement.and_then(|placement| placement.actors.get(&id)).cloned();
                let unplaced_before = placement.and_then(|placement| placement.unplaced.get(&id)).cloned();
                Task {
                    has_artifact: desired.artifacts.contains_key(&id),
                    id,
                    manifest,
                    before: before.unwrap_or_default(),
                    placed: BTreeMap::new(),
                    groups: groups(manifest),
                    kept: Vec::new(),
                    displaced: BTreeMap::new(),
                    unplaced: None,
                    unplaced_before,
                }
            })
        })
        .collect()
}

fn finish(input: &Input<'_>, tasks: Vec<Task<'_>>, explanation: Vec<Step>) -> Plan {
    let mut placements: BTreeMap<AppName, Placement> = input
        .desired
        .iter()
        .map(|(app, desired)| {
            let (actors, unplaced) = (BTreeMap::new(), BTreeMap::new());
            let desired_version = desired.version;
            ((*app).clone(), Placement { app: (*app).clone(), desired_version, actors, unplaced })
        })
        .collect();
    for task in tasks {
        let Some(placement) = placements.get_mut(&task.id.app) else { continue };
        if let Some(words) = task.unplaced {
            placement.unplaced.insert(task.id.clone(), words);
        }
        if !task.placed.is_empty() {
            placement.actors.insert(task.id, task.placed);
        }
    }
    placements.retain(|app, placement| input.placements.get(app).is_none_or(|have| *have != placement));
    let gone = input.placements.keys().filter(|app| !input.desired.contains_key(**app));
    Plan { changed: placements, removed: gone.map(|app| (*app).clone()).collect(), explanation }
}

#[cfg(test)]
mod tests;
