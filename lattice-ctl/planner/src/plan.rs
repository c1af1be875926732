//! Which host runs how many of what. One pure function over desired, placements and observed; it
//! explains every change, and [`crate::check`] judges it independently.
//!
//! In passes: *keep* what is still valid (nothing moves without a reason), *fill* what is missing,
//! most important actors first, who may make less important ones give way, and *hold* what could
//! be placed nowhere else on the hosts that are lost: they may come back, and until then nothing is
//! better. If there is an allowance for it, a few replicas are then moved to emptier hosts.
//!
//! A [`Planner`] keeps what it has learnt from one plan to the next and deals only with what has
//! changed; [`plan()`] is one that begins with nothing. Both come to the same plan.
//!
//! Invariants: the same input gives the same plan; planning again after a plan was carried out
//! changes nothing (but for a rollout, which may take a further turn when replicas went where its
//! gate waited for nobody); nothing new goes to a host that is not fit or has no room, and what one actor
//! was given in this run is not given to the next.

use crate::observed::Observed;
use crate::rollout::{Stance, Trials};
use crate::scaling::Scaling;
use crate::table::Table;
use lattice_protocol::desired::{DesiredApp, Origin, Placement};
use lattice_protocol::manifest::{ActorManifest, Application, Scale};
use lattice_protocol::spec::ProviderMode;
use lattice_protocol::{ActorId, AppName, HostId, LinkTarget, Places};
use std::collections::{BTreeMap, BTreeSet};

mod account;
mod books;
mod choose;
mod consider;
mod decide;
mod explain;
mod fill;
mod fit;
mod group;
mod keep;
mod ledger;
mod planner;
mod preempt;
mod rebalance;
mod room;
mod tasks;
mod words;

pub use choose::Reasons;
pub(crate) use choose::coin;
pub use consider::{Assessment, consider};
pub use explain::{Step, Turn};
pub(crate) use fit::{Distance, distance};
pub use fit::{NoPolicy, Policy, Refusal};
pub(crate) use group::{Group, groups};
pub use planner::Planner;
pub(crate) use room::Room;

/// What a plan is made from.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// What shall be, by application.
    pub desired: Table<'a, DesiredApp>,
    /// The decisions in force.
    pub placements: Table<'a, Placement>,
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
    /// The life of the lattice, and how far the records of what shall be are known.
    pub seen: Origin,
}

impl Input<'_> {
    /// Was the decision in force about an application made from a record that is not known yet?
    #[must_use]
    pub fn awaits(&self, app: &AppName) -> bool {
        self.placements.get(app).is_some_and(|placement| {
            let Origin { incarnation, revision } = placement.origin;
            incarnation == self.seen.incarnation && revision > self.seen.revision
        })
    }
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
    /// Of kinds of persistent actors, from hosts that count for several to hosts that have none.
    pub parts: u32,
}

impl Allowance {
    /// Nothing moves.
    pub const NOTHING: Self = Self { failovers: 0, evictions: 0, moves: 0, parts: 0 };

    /// What of it is gone when this is left.
    fn without(&self, left: &Self) -> Self {
        Self {
            failovers: self.failovers.saturating_sub(left.failovers),
            evictions: self.evictions.saturating_sub(left.evictions),
            moves: self.moves.saturating_sub(left.moves),
            parts: self.parts.saturating_sub(left.parts),
        }
    }
}

impl Default for Allowance {
    /// Any fail-over, 64 evictions, no rebalancing.
    fn default() -> Self {
        Self { failovers: u32::MAX, evictions: 64, moves: 0, parts: 0 }
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
    /// Its place among the actors of its application.
    position: usize,
    /// Where it runs by the decision in force.
    before: &'a Places,
    /// What of that stays, before it is divided among the groups.
    stays: Places,
    /// Where it will run.
    placed: Places,
    groups: Vec<Group>,
    /// Replicas that each group has kept, in the order of the groups.
    kept: Vec<u32>,
    /// Replicas on hosts that can no longer be relied on, to be placed elsewhere or held.
    displaced: Places,
    /// Hosts that it has left for a reason that was already explained.
    excused: BTreeSet<HostId>,
    /// Replicas that its load wants, and that load; and how many that were before.
    scaled: Option<(u32, Option<u64>)>,
    scaled_before: Option<u32>,
    unplaced: Option<String>,
    unplaced_before: Option<&'a str>,
    /// Actors that it is linked to, in either direction.
    partners: Vec<ActorId>,
    /// Kinds of the providers that its host must be able to run.
    kinds: Vec<&'a str>,
    /// The hash of its artifact's digest. Without an artifact nothing of it runs: it has not been pushed.
    artifact: Option<u64>,
    /// Breaks ties; see [`choose::coin`].
    coin: u64,
}

/// Makes a plan from nothing but this input.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    Planner::of(input).plan(input)
}

impl Task<'_> {
    fn claim(&self) -> books::Claim {
        let rule = &self.manifest.placement;
        books::Claim { need: rule.resources, priority: rule.priority, pinned: keep::is_pinned(self) }
    }

    /// Does nothing count of it but where it will run?
    fn is_plain(&self) -> bool {
        self.before.is_empty()
            && self.unplaced.is_none()
            && self.unplaced_before.is_none()
            && self.scaled.is_none()
            && self.scaled_before.is_none()
    }

    /// Is it otherwise than it was decided before?
    fn is_changed(&self) -> bool {
        let scaled = self.scaled.map(|(count, _)| count);
        self.placed != *self.before
            || self.unplaced.as_deref() != self.unplaced_before
            || scaled != self.scaled_before
    }
}

/// By actor: those that are linked to it.
type Callers = BTreeMap<ActorId, BTreeSet<ActorId>>;

/// Where an actor is that is placed nowhere.
static NOWHERE: Places = Places::new();

/// What is asked of the actors of one application.
#[derive(Debug, Clone, Copy)]
struct Asked<'i, 'a> {
    input: &'i Input<'a>,
    app: &'i AppName,
    desired: &'a DesiredApp,
    placement: Option<&'a Placement>,
    /// Who calls whom, besides what an actor's own links say: those that call it.
    callers: &'i Callers,
}

impl<'a> Asked<'_, 'a> {
    /// The task of one of its actors.
    fn task(
        &self,
        (position, manifest): (usize, &'a ActorManifest),
        artifact: Option<&'a lattice_protocol::spec::Artifact>,
        stance: &Stance<'a>,
    ) -> Task<'a> {
        let Self { input, desired, placement, .. } = *self;
        let id = ActorId::new(self.app.clone(), manifest.name.clone());
        // The record's own, where there is one: all that is remembered of the actor shares it then.
        let id = desired.artifacts.get_key_value(&id).map_or(id, |(known, _)| known.clone());
        let before = placement.and_then(|placement| placement.actors.get(&id));
        let unplaced_before = placement.and_then(|placement| placement.unplaced.get(&id)).map(String::as_str);
        let scaled = input.scaling.wanted(&id, manifest, placement);
        let scaled_before = placement.and_then(|placement| placement.scaled.get(&id)).copied();
        let scale = scaled.map_or(manifest.scale, |(count, _)| Scale::Replicas(count));
        let surge = stance.surge(desired, &id, scale);
        Task {
            artifact: artifact.map(|artifact| choose::coin(0, &artifact.digest)),
            coin: choose::coin(choose::coin(input.seed, id.app.as_str()), id.name.as_str()),
            kinds: kinds(&desired.application, manifest),
            partners: self.partners(&id, manifest, position),
            id,
            manifest,
            position,
            before: before.unwrap_or(&NOWHERE),
            stays: Places::new(),
            placed: Places::new(),
            groups: groups(manifest, scale, surge),
            scaled,
            scaled_before,
            kept: Vec::new(),
            displaced: Places::new(),
            excused: BTreeSet::new(),
            unplaced: None,
            unplaced_before,
        }
    }

    /// The actors that it calls and those that call it. One that the new version has no more calls
    /// nobody.
    fn partners(&self, id: &ActorId, manifest: &ActorManifest, position: usize) -> Vec<ActorId> {
        let is_gone = || {
            position >= self.desired.application.actors.len()
                || self.desired.application.actor(&id.name).is_none()
        };
        let is_calling = !manifest.links.is_empty() && !is_gone();
        let calls = calls(manifest).filter(|_| is_calling).map(|(_, target)| target);
        let both: BTreeSet<&ActorId> = calls.chain(self.callers.get(id).into_iter().flatten()).collect();
        both.into_iter().cloned().collect()
    }
}

/// Each actor that another is linked to: who, whom.
fn calls(manifest: &ActorManifest) -> impl Iterator<Item = (&ActorId, &ActorId)> {
    manifest.links.iter().filter_map(|link| match &link.target {
        LinkTarget::Actor(target) if *target != link.source => Some((&link.source, target)),
        _ => None,
    })
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

#[cfg(test)]
mod tests;
