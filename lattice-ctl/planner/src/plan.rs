//! Which host runs how many of what. One pure function over desired, placements and observed; it
//! explains every change, and [`crate::check`] judges it independently.
//!
//! In passes: *keep* what is still valid (nothing moves without a reason), *fill* what is missing,
//! most important actors first, who may make less important ones give way, and *hold* what could
//! be placed nowhere else on the hosts that are lost: they may come back, and until then nothing is
//! better. If there is an allowance for it, a few replicas are then moved to emptier hosts.
//!
//! Invariants: the same input gives the same plan; planning again after a plan was carried out
//! changes nothing (but for a rollout, which may take a further turn when replicas went where its
//! gate waited for nobody); nothing new goes to a host that is not fit or has no room, and what one actor
//! was given in this run is not given to the next.

use crate::observed::Observed;
use crate::rollout::{self, Stance, Trials};
use crate::scaling::Scaling;
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::{ActorManifest, Application, Scale};
use lattice_protocol::spec::ProviderMode;
use lattice_protocol::{ActorId, AppName, HostId, LinkTarget};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

mod choose;
mod consider;
mod explain;
mod fill;
mod fit;
mod group;
mod keep;
mod preempt;
mod rebalance;
mod room;
mod words;

pub use choose::Reasons;
pub(crate) use choose::coin;
pub use consider::{Assessment, consider};
pub use explain::{Step, Turn};
pub(crate) use fit::{Distance, distance};
pub use fit::{NoPolicy, Policy, Refusal};
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
    /// Rules of the lattice beside those of manifests.
    pub policy: &'a dyn Policy,
    /// How much may move now.
    pub allowance: Allowance,
    /// What hosts with new versions have shown.
    pub trials: &'a Trials,
    /// What was seen of actors that scale by themselves.
    pub scaling: &'a Scaling,
}

/// How many replicas one plan may move, beyond placing what is missing. What it may not move yet
/// is said, and moves with a later plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// From hosts that are lost to others: a site that fell silent must not become a herd.
    pub failovers: u32,
    /// Less important ones that give way.
    pub evictions: u32,
    /// To hosts that have less.
    pub moves: u32,
}

impl Allowance {
    /// Nothing moves.
    pub const NOTHING: Self = Self { failovers: 0, evictions: 0, moves: 0 };

    /// What of it is gone when this is left.
    fn without(&self, left: &Self) -> Self {
        Self {
            failovers: self.failovers.saturating_sub(left.failovers),
            evictions: self.evictions.saturating_sub(left.evictions),
            moves: self.moves.saturating_sub(left.moves),
        }
    }
}

impl Default for Allowance {
    /// Any fail-over, 64 evictions, no rebalancing.
    fn default() -> Self {
        Self { failovers: u32::MAX, evictions: 64, moves: 0 }
    }
}

/// What shall be decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Placements that differ from those in force.
    pub changed: BTreeMap<AppName, Placement>,
    /// Applications whose placement shall go, because nothing is desired of them.
    pub removed: Vec<AppName>,
    /// Why, change by change.
    pub explanation: Vec<Step>,
    /// How much of the allowance it uses.
    pub moved: Allowance,
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
    /// Hosts that it has left for a reason that was already explained.
    excused: BTreeSet<HostId>,
    /// Replicas that its load wants, and that load; and how many that were before.
    scaled: Option<(u32, Option<u64>)>,
    scaled_before: Option<u32>,
    unplaced: Option<String>,
    unplaced_before: Option<String>,
    /// Actors that it is linked to, in either direction.
    partners: Vec<ActorId>,
    /// Kinds of the providers that its host must be able to run.
    kinds: Vec<&'a str>,
    /// Its artifact.
    digest: Option<&'a str>,
    /// Breaks ties; see [`choose::coin`].
    coin: u64,
}

/// Makes a plan.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let stances = rollout::stances(input);
    let mut room = Room::new(input);
    let mut tasks = tasks(input, &stances);
    for task in &mut tasks {
        keep::keep(task, input, &mut room);
    }
    let mut order: Vec<&mut Task<'_>> = tasks.iter_mut().collect();
    // Stable: within one priority, by application and then as its manifest lists them.
    order.sort_by_key(|task| Reverse(task.manifest.placement.priority));
    let placed = order.iter().filter(|task| !task.placed.is_empty());
    let floor = placed.map(|task| task.manifest.placement.priority).min();
    let victims = preempt::Victims::new(floor);
    let notes = explain::Notes::default();
    let mut filling = fill::Filling { input, room: &mut room, notes, left: input.allowance, victims };
    for position in 0..order.len() {
        let Some((task, lower)) = order.get_mut(position..).and_then(<[_]>::split_first_mut) else { break };
        filling.victims.position = position;
        fill::fill(task, lower, &mut filling);
    }
    rebalance::rebalance(&mut order, &mut filling);
    let moved = input.allowance.without(&filling.left);
    let explanation = filling.notes.finish(&tasks, input);
    let placements = placements(input, tasks);
    finish(input, stances, placements, (explanation, moved))
}

/// Every actor of every deployed application.
fn tasks<'a>(input: &Input<'a>, stances: &BTreeMap<&AppName, Stance<'a>>) -> Vec<Task<'a>> {
    let deployed = || input.desired.iter().filter(|(_, desired)| desired.deployed);
    let mut partners = partners(deployed().flat_map(|(_, desired)| &desired.application.actors));
    let mut tasks: Vec<Task<'a>> = deployed()
        .flat_map(|(app, desired)| {
            let placement = input.placements.get(app);
            let stance = stances.get(*app);
            let actors = stance.map(|stance| stance.actors(desired)).unwrap_or_default();
            actors.into_iter().map(move |(manifest, artifact)| {
                let id = ActorId::new((*app).clone(), manifest.name.clone());
                let before = placement.and_then(|placement| placement.actors.get(&id)).cloned();
                let unplaced_before = placement.and_then(|placement| placement.unplaced.get(&id)).cloned();
                let scaled = input.scaling.wanted(&id, manifest, placement.copied());
                let scaled_before = placement.and_then(|placement| placement.scaled.get(&id)).copied();
                let scale = scaled.map_or(manifest.scale, |(count, _)| Scale::Replicas(count));
                let surge = stance.map_or(0, |stance| stance.surge(desired, &id, scale));
                Task {
                    has_artifact: artifact.is_some(),
                    digest: artifact.map(|artifact| artifact.digest.as_str()),
                    coin: choose::coin(choose::coin(input.seed, id.app.as_str()), id.name.as_str()),
                    kinds: kinds(&desired.application, manifest),
                    partners: Vec::new(),
                    id,
                    manifest,
                    before: before.unwrap_or_default(),
                    placed: BTreeMap::new(),
                    groups: groups(manifest, scale, surge),
                    scaled,
                    scaled_before,
                    kept: Vec::new(),
                    displaced: BTreeMap::new(),
                    excused: BTreeSet::new(),
                    unplaced: None,
                    unplaced_before,
                }
            })
        })
        .collect();
    for task in &mut tasks {
        task.partners = partners.remove(&task.id).into_iter().flatten().collect();
    }
    tasks
}

/// For each actor, those that it calls and those that call it.
fn partners<'a>(actors: impl Iterator<Item = &'a ActorManifest>) -> BTreeMap<ActorId, BTreeSet<ActorId>> {
    let mut partners: BTreeMap<ActorId, BTreeSet<ActorId>> = BTreeMap::new();
    for link in actors.flat_map(|manifest| &manifest.links) {
        if let LinkTarget::Actor(target) = &link.target
            && *target != link.source
        {
            partners.entry(link.source.clone()).or_default().insert(target.clone());
            partners.entry(target.clone()).or_default().insert(link.source.clone());
        }
    }
    partners
}

/// Kinds of the providers in the host's process that an actor is linked to.
pub(crate) fn kinds<'a>(application: &'a Application, manifest: &ActorManifest) -> Vec<&'a str> {
    let providers = manifest.links.iter().filter_map(|link| match &link.target {
        LinkTarget::Provider(id) if id.app == application.name => application.provider(&id.name),
        _ => None,
    });
    let in_process = providers.filter(|provider| provider.mode == ProviderMode::InProcess);
    in_process.map(|provider| provider.kind.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What was placed, by application.
fn placements(input: &Input<'_>, tasks: Vec<Task<'_>>) -> BTreeMap<AppName, Placement> {
    let empty = |(app, desired): (&&AppName, &&DesiredApp)| {
        ((*app).clone(), Placement::empty((*app).clone(), desired.version))
    };
    let mut placements: BTreeMap<AppName, Placement> = input.desired.iter().map(empty).collect();
    for task in tasks {
        let Some(placement) = placements.get_mut(&task.id.app) else { continue };
        if let Some((count, _)) = task.scaled {
            placement.scaled.insert(task.id.clone(), count);
        }
        if let Some(words) = task.unplaced {
            placement.unplaced.insert(task.id.clone(), words);
        }
        if !task.placed.is_empty() {
            placement.actors.insert(task.id, task.placed);
        }
    }
    placements
}

fn finish(
    input: &Input<'_>,
    stances: BTreeMap<&AppName, Stance<'_>>,
    mut placements: BTreeMap<AppName, Placement>,
    (mut explanation, moved): (Vec<Step>, Allowance),
) -> Plan {
    let mut turns = Vec::new();
    for (app, stance) in stances {
        let (Some(desired), Some(placement)) = (input.desired.get(app), placements.get_mut(app)) else {
            continue;
        };
        let before = input.placements.get(app).copied();
        turns.extend(rollout::carry_on(stance, desired, before, placement, input));
    }
    explanation.splice(0..0, turns);
    placements.retain(|app, placement| input.placements.get(app).is_none_or(|have| *have != placement));
    let gone = input.placements.keys().filter(|app| !input.desired.contains_key(**app));
    Plan { changed: placements, removed: gone.map(|app| (*app).clone()).collect(), explanation, moved }
}

#[cfg(test)]
mod tests;
