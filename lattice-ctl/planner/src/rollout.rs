//! New versions of applications, a few hosts at a time.
//!
//! A plan asks twice. *Before* it places anything: how does each rollout stand ([`stance`])? Is
//! there one to begin, has a gate failed, has a wave passed, is it final? That says which actors
//! there are, and how many. *After* it has placed them: which of their hosts have the new version
//! from now on ([`carry_on`])? Where replicas go and which version they are are two questions, so a
//! host that is lost in the middle of a rollout is replaced as always.
//!
//! What has been decided stands in the placement ([`Rollout`]). What has been *seen* of hosts with
//! the new version, and since when, is in [`Trials`], which a controller keeps in memory: losing it
//! costs one window and decides nothing.
//!
//! A change without a new component (configuration, links, scale, placement) is no rollout: it is
//! in force everywhere at once, without a restart. With one, everything of an actor that differs
//! goes together, host by host, but for scale and placement, which are at once.

use crate::plan::{Input, Step, Turn};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::{ActorManifest, Scale};
use lattice_protocol::rollout::{Base, Component, Content, Phase, Progress, Rollout, Strategy};
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, AppName, HostId, Places};
use std::collections::{BTreeMap, BTreeSet};

mod gate;
mod pick;
mod report;
mod trials;
mod version;

pub use report::{Line, report};
pub use trials::{Decision, Trials};
pub use version::{Version, version_on};

/// How the rollout of one application stands, before its replicas are placed.
#[derive(Debug, Default)]
pub(crate) struct Stance<'a> {
    /// As it will be, but for hosts that are still to be picked.
    pub(crate) rollout: Option<Rollout>,
    /// What the version before was.
    base: Option<&'a Content>,
    /// Hosts to pick first: they had a version that this one takes the place of.
    prefer: BTreeMap<ActorId, BTreeSet<HostId>>,
    /// Hosts whose gate has passed.
    passed: BTreeMap<ActorId, BTreeSet<HostId>>,
    /// What happened.
    steps: Vec<Step>,
}

/// How the rollout of one application stands.
pub(crate) fn stance<'a>(
    app: &AppName,
    desired: &'a DesiredApp,
    before: Option<&'a Placement>,
    input: &Input<'_>,
) -> Stance<'a> {
    let Some(before) = before.filter(|_| desired.deployed) else { return Stance::default() };
    let have = before.rollout.as_deref();
    let (version, base) = match have {
        Some(have) => (have.base.version, &have.base.content),
        None if before.desired_version == desired.version || before.actors.is_empty() => {
            return Stance::default();
        }
        None => match desired.past(before.desired_version) {
            Some(content) => (before.desired_version, content),
            None => return unknown_base(app, desired, before),
        },
    };
    let targets = targets(base, desired);
    if !is_needed(base, desired, &targets, have.is_none().then_some(before)) {
        let ended = have.map(|_| turn(app, Turn::Withdrawn { version: desired.version }));
        return Stance { steps: ended.into_iter().collect(), ..Stance::default() };
    }
    let mut stance = Stance { base: Some(base), ..Stance::default() };
    let same = have.filter(|have| {
        have.attempt == desired.rollout.attempt
            && components(base, have.actors.iter().map(|(id, progress)| (id, &progress.target)))
                == components(base, targets.iter())
    });
    match same {
        Some(have) => proceed((app, desired, before), have, targets, &mut stance, input),
        None => begin((app, desired), Base { version, content: base.clone() }, (have, targets), &mut stance),
    }
    stance
}

fn turn(app: &AppName, what: Turn) -> Step {
    Step::Rollout { app: app.clone(), what }
}

/// The version that runs is not known any more: too many others have come since. What could be
/// gone back to is not there, so the new one is in force at once, and it is said.
fn unknown_base<'a>(app: &AppName, desired: &DesiredApp, before: &Placement) -> Stance<'a> {
    let wanted = before.actors.keys().any(|id| desired.rollout_policy(id).is_some());
    let step = wanted.then(|| turn(app, Turn::AtOnce { unknown: before.desired_version }));
    Stance { steps: step.into_iter().collect(), ..Stance::default() }
}

type Targets = BTreeMap<ActorId, Option<Component>>;

/// Every actor that differs between two versions in what a host is told of it, and what its
/// component becomes.
fn targets(base: &Content, desired: &DesiredApp) -> Targets {
    let app = &desired.application.name;
    let id = |actor: &ActorManifest| ActorId::new(app.clone(), actor.name.clone());
    let there: BTreeSet<ActorId> =
        base.application.actors.iter().chain(&desired.application.actors).map(id).collect();
    let differs = |id: &ActorId| match (base.actor(id), desired.application.actor(&id.name)) {
        (Some(old), Some(new)) => {
            old.config != new.config || old.links != new.links || base.component(id) != desired.component(id)
        }
        _ => true,
    };
    there.into_iter().filter(|id| differs(id)).map(|id| (id.clone(), desired.component(&id))).collect()
}

/// Those of them that need a start.
fn components<'t>(
    base: &Content,
    targets: impl Iterator<Item = (&'t ActorId, &'t Option<Component>)>,
) -> BTreeMap<&'t ActorId, &'t Component> {
    let starts = targets.filter_map(|(id, target)| Some((id, target.as_ref()?)));
    starts.filter(|(id, target)| base.component(id).as_ref() != Some(*target)).collect()
}

/// Does an actor that runs get a new component, by a rule other than at once?
fn is_needed(base: &Content, desired: &DesiredApp, targets: &Targets, runs: Option<&Placement>) -> bool {
    components(base, targets.iter()).keys().any(|id| {
        base.actor(id).is_some()
            && desired.rollout_policy(id).is_some()
            && runs.is_none_or(|runs| runs.actors.contains_key(*id))
    })
}

fn begin(
    (app, desired): (&AppName, &DesiredApp),
    base: Base,
    (have, targets): (Option<&Rollout>, Targets),
    stance: &mut Stance<'_>,
) {
    let (from, to) = (base.version, desired.version);
    stance.steps.push(turn(app, Turn::Begun { from, to }));
    stance.prefer = have
        .map(|have| have.actors.iter().map(|(id, one)| (id.clone(), one.updated.clone())).collect())
        .unwrap_or_default();
    let fresh = |(id, target)| (id, Progress { target, wave: 0, updated: BTreeSet::new() });
    stance.rollout = Some(Rollout {
        base,
        phase: if desired.rollout.paused { Phase::Paused } else { Phase::Advancing },
        actors: targets.into_iter().map(fresh).collect(),
        attempt: desired.rollout.attempt,
    });
}

/// Judges what hosts have shown, and takes the rollout on, back, or to its end.
fn proceed(
    (app, desired, before): (&AppName, &DesiredApp, &Placement),
    have: &Rollout,
    targets: Targets,
    stance: &mut Stance<'_>,
    input: &Input<'_>,
) {
    let mut next = Rollout {
        actors: targets
            .into_iter()
            .map(|(id, target)| {
                let known = have.actors.get(&id);
                let (wave, updated) = known.map(|one| (one.wave, one.updated.clone())).unwrap_or_default();
                (id, Progress { target, wave, updated })
            })
            .collect(),
        ..have.clone()
    };
    if have.is_rolled_back() {
        stance.rollout = Some(next);
        return;
    }
    let mut through = true;
    for (id, progress) in &mut next.actors {
        let Some(policy) = desired.rollout_policy(id).filter(|_| progress.target.is_some()) else { continue };
        let placed: BTreeSet<&HostId> = before.actors.get(id).into_iter().flat_map(Places::keys).collect();
        let judged = gate::judge((id, progress), (have, policy), &placed, input);
        if let Some(why) = judged.failed {
            stance.steps.push(turn(app, Turn::RolledBack { to: have.base.version, why: why.clone() }));
            next.phase = Phase::RolledBack { why };
            next.actors.values_mut().for_each(|one| (one.wave, one.updated) = (0, BTreeSet::new()));
            stance.rollout = Some(next);
            return;
        }
        let last = policy.strategy.last_wave();
        if judged.is_through && progress.wave < last && !desired.rollout.paused {
            // Waves that add no host are passed over.
            let adds = |wave: &u32| policy.strategy.hosts_in(*wave, placed.len()) > progress.updated.len();
            progress.wave = (progress.wave + 1..last).find(adds).unwrap_or(last);
        }
        let is_told = |host: &&HostId| {
            progress.updated.contains(*host) || !gate::is_heard(input.observed, host, input.now_ms)
        };
        through &= judged.is_through && progress.wave == last && placed.iter().all(is_told);
        stance.passed.insert(id.clone(), judged.passed);
    }
    let manual =
        next.actors.keys().filter_map(|id| desired.rollout_policy(id)).any(|one| one.manual_finalise);
    next.phase = match (through, desired.rollout.paused) {
        (_, true) => Phase::Paused,
        (true, _) if manual && !desired.rollout.finalise => Phase::Complete,
        (true, _) => {
            stance.steps.push(turn(app, Turn::Final { version: desired.version }));
            stance.base = None;
            return;
        }
        (false, _) => Phase::Advancing,
    };
    if next.phase != have.phase {
        let what = match next.phase {
            Phase::Paused => Turn::Paused,
            Phase::Complete => Turn::Complete,
            _ => Turn::Resumed,
        };
        stance.steps.push(turn(app, what));
    }
    stance.rollout = Some(next);
}

impl<'a> Stance<'a> {
    /// The actors to place, each with the component that it needs somewhere.
    pub(crate) fn actors(&self, desired: &'a DesiredApp) -> Vec<(&'a ActorManifest, Option<&'a Artifact>)> {
        let app = &desired.application.name;
        let id = |actor: &ActorManifest| ActorId::new(app.clone(), actor.name.clone());
        let new = desired.application.actors.iter().map(|actor| (actor, desired.artifacts.get(&id(actor))));
        let Some((base, rollout)) = self.base.zip(self.rollout.as_ref()) else { return new.collect() };
        let is_back =
            |actor: &ActorManifest| rollout.is_rolled_back() && rollout.actors.contains_key(&id(actor));
        let of_new = new.filter_map(|(actor, artifact)| {
            if !is_back(actor) {
                return Some((actor, artifact));
            }
            // Its scale and place are as they are desired; what runs is what ran.
            base.actor(&id(actor)).map(|_| (actor, base.artifacts.get(&id(actor))))
        });
        // What the new version has no more goes when it is final: the old one may call it.
        let gone =
            base.application.actors.iter().filter(|actor| desired.application.actor(&actor.name).is_none());
        let of_old = gone.map(|actor| (actor, base.artifacts.get(&id(actor))));
        of_new.chain(of_old).collect()
    }

    /// Replicas beyond those wanted while the rollout lasts.
    pub(crate) fn surge(&self, desired: &DesiredApp, id: &ActorId, scale: Scale) -> u32 {
        self.rollout.as_ref().map_or(0, |rollout| surge(rollout, desired, id, scale))
    }
}

/// Replicas beyond those wanted that a rollout may have.
pub(crate) fn surge(rollout: &Rollout, desired: &DesiredApp, id: &ActorId, scale: Scale) -> u32 {
    let moves = matches!(rollout.phase, Phase::Advancing | Phase::Paused);
    let starts = rollout.actors.get(id).is_some_and(|progress| {
        progress.target.is_some() && rollout.base.content.component(id) != progress.target
    });
    match (desired.rollout_policy(id).map(|policy| &policy.strategy), scale) {
        (Some(Strategy::Rolling { max_surge, .. }), Scale::Replicas(count)) if moves && starts => {
            max_surge.at_least(count)
        }
        _ => 0,
    }
}

/// Picks the hosts that have the new version from now on, now that it is known where replicas are.
pub(crate) fn carry_on(
    stance: Stance<'_>,
    desired: &DesiredApp,
    before: Option<&Placement>,
    placement: &mut Placement,
    input: &Input<'_>,
) -> Vec<Step> {
    let mut steps = stance.steps;
    let Some(mut rollout) = stance.rollout else { return steps };
    let (none, nobody) = (Places::new(), BTreeSet::new());
    for (id, progress) in &mut rollout.actors {
        let placed = placement.actors.get(id).unwrap_or(&none);
        progress.updated.retain(|host| placed.contains_key(host));
        if progress.target.is_none() || matches!(rollout.phase, Phase::RolledBack { .. }) {
            progress.updated.clear();
            continue;
        }
        let is_new = rollout.base.content.actor(id).is_none();
        let policy = desired.rollout_policy(id).filter(|_| !is_new && rollout.phase != Phase::Complete);
        let Some(policy) = policy else {
            progress.updated = placed.keys().cloned().collect();
            continue;
        };
        if rollout.phase == Phase::Paused {
            continue;
        }
        let written = desired.application.actor(&id.name).map(|actor| actor.scale);
        let scale = written.map(|written| placement.scale(id, written));
        let picking = pick::Picking {
            id,
            wanted: scale
                .and_then(|scale| if let Scale::Replicas(count) = scale { Some(count) } else { None }),
            placed,
            before: before.and_then(|before| before.actors.get(id)).unwrap_or(&none),
            passed: stance.passed.get(id).unwrap_or(&nobody),
            prefer: stance.prefer.get(id).unwrap_or(&nobody),
            input,
        };
        let picked = picking.next(&policy.strategy, progress);
        if !picked.is_empty() {
            let what = Turn::Switched { actor: id.clone(), hosts: picked.iter().cloned().collect() };
            steps.push(turn(&placement.app, what));
            progress.updated.extend(picked);
        }
    }
    placement.rollout = Some(Box::new(rollout));
    steps
}
