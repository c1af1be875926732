//! What a controller knows of the lattice, and what of it has changed since it last planned and told
//! hosts: so that both cost as much as has changed.
//!
//! Records come in with the revision of their key; an older one than is known changes nothing. What
//! does not serve planning is not kept ([`past`], [`told`]), and text once ([`share`]).

use crate::check::{Violation, check_changes};
use crate::observed::Observed;
use crate::outline::Outline;
use crate::plan::{Allowance, Input, Plan, Planner, Policy};
use crate::rollout::{Decision, Trials};
use crate::scaling::Scaling;
use crate::specs::{SpecInput, derive, host_specs};
use crate::table::Table;
use lattice_protocol::desired::{DesiredApp, Origin, Placement};
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::{ActorId, AppName, Generation, HostId, HostSpec, LatticeName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A record with the revision of its key.
#[derive(Debug, PartialEq)]
pub struct Revised<T> {
    /// The record.
    pub value: Arc<T>,
    /// What a compare-and-set must name.
    pub revision: u64,
}

impl<T> Revised<T> {
    /// This record, at this revision.
    pub fn new(value: impl Into<Arc<T>>, revision: u64) -> Self {
        Self { value: value.into(), revision }
    }
}

impl<T> Clone for Revised<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), revision: self.revision }
    }
}

impl<T> AsRef<T> for Revised<T> {
    fn as_ref(&self) -> &T {
        &self.value
    }
}

impl<T> AsRef<Revised<T>> for Revised<T> {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The moment that is planned from, besides the records.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// What hosts say.
    pub observed: &'a Observed,
    /// Now, on the clock of `observed`.
    pub now_ms: u64,
    /// How much may move now.
    pub allowance: Allowance,
    /// What hosts with new versions have shown.
    pub trials: &'a Trials,
    /// What was seen of actors that scale by themselves.
    pub scaling: &'a Scaling,
    /// Rules of the lattice; the same in every plan.
    pub policy: &'a dyn Policy,
}

/// Everything that is known.
///
/// The watches of two buckets are not in step: a decision may be known before what it was made from. Its
/// application is let alone until then. Otherwise whoever was late would, with the revision of the newest
/// decision in hand, win with one about what was desired long before, or take back what it knows nothing of.
#[derive(Debug, Default)]
pub struct Known {
    /// The life of the lattice, and how far the watch of the desired records has come.
    seen: Origin,
    desired: BTreeMap<AppName, Revised<DesiredApp>>,
    placements: BTreeMap<AppName, Revised<Placement>>,
    specs: BTreeMap<HostId, Revised<Told>>,
    planner: Planner,
    outline: Outline,
    texts: share::Texts,
    /// Applications in a rollout.
    rolling: BTreeSet<AppName>,
    /// Applications with an actor that scales by itself.
    scaling: BTreeSet<AppName>,
    /// Hosts that run something else than the spec in force and have seen its generation, each with
    /// the one that it runs.
    astray: BTreeMap<HostId, Generation>,
}

impl Known {
    /// Nothing of this life of the lattice.
    #[must_use]
    pub fn of_life(incarnation: u64) -> Self {
        Self { seen: Origin { incarnation, revision: 0 }, ..Self::default() }
    }

    /// What shall be, by application.
    #[must_use]
    pub fn desired(&self) -> &BTreeMap<AppName, Revised<DesiredApp>> {
        &self.desired
    }

    /// The decisions in force.
    #[must_use]
    pub fn placements(&self) -> &BTreeMap<AppName, Revised<Placement>> {
        &self.placements
    }

    /// What hosts were told.
    #[must_use]
    pub fn specs(&self) -> &BTreeMap<HostId, Revised<Told>> {
        &self.specs
    }

    /// The watch of the desired records has come to this revision: of a record, or of its deletion.
    pub fn saw_desired(&mut self, revision: u64) {
        self.seen.revision = self.seen.revision.max(revision);
    }

    /// The record that a decision about this application is made from now.
    #[must_use]
    pub fn origin(&self, app: &AppName) -> Origin {
        let revision = self.desired.get(app).map_or(0, |have| have.revision);
        Origin { revision, ..self.seen }
    }

    /// What an application shall be, or that nothing is desired of it any more. `true` when that is
    /// news.
    pub fn desire(&mut self, app: &AppName, mut record: Option<Revised<DesiredApp>>) -> bool {
        if let Some(record) = &mut record {
            share::desired(&mut record.value, &mut self.texts);
            past::forget(&mut record.value, self.placements.get(app).map(|have| &*have.value));
        }
        let Some(before) = put(&mut self.desired, app, record) else { return false };
        let after = self.desired.get(app).map(|have| &*have.value);
        self.outline.desired(app, after, self.placements.get(app).map(|have| &*have.value));
        let scales = after.is_some_and(|desired| {
            desired.deployed && desired.application.actors.iter().any(|actor| actor.autoscale.is_some())
        });
        keep(&mut self.scaling, app, scales);
        drop(before);
        self.planner.touch(app);
        true
    }

    /// The decision about an application, or that there is none. `true` when that is news.
    pub fn place(&mut self, app: &AppName, mut record: Option<Revised<Placement>>) -> bool {
        if let Some(record) = &mut record {
            let desired = self.desired.get(app).map(|have| &*have.value);
            let host = |host: &HostId| self.specs.get_key_value(host).map(|(host, _)| host);
            share::placement(&mut record.value, desired, host);
        }
        let Some(before) = put(&mut self.placements, app, record) else { return false };
        let after = self.placements.get(app).map(|have| &*have.value);
        let before = before.as_ref().map(|before| &*before.value);
        self.outline.placed(app, (before, after), self.desired.get(app).map(|have| &*have.value));
        keep(&mut self.rolling, app, after.is_some_and(|placement| placement.rollout.is_some()));
        if let (Some(record), Some(after)) = (self.desired.get_mut(app), after) {
            past::forget(&mut record.value, Some(after));
        }
        self.planner.touch(app);
        true
    }

    /// What a host was told, or that it was told nothing. `true` when that is news.
    pub fn tell(&mut self, host: &HostId, record: Option<Revised<HostSpec>>) -> bool {
        let record = record.map(|record| {
            let mut spec = Arc::unwrap_or_clone(record.value);
            let desired = |id: &ActorId| self.desired.get(&id.app).map(|have| &*have.value);
            share::spec(&mut spec, self.outline.placed_on(host), desired);
            Revised::new(Told::of(spec), record.revision)
        });
        let Some(before) = put(&mut self.specs, host, record) else { return false };
        let after = self.specs.get(host).map(|have| &*have.value);
        self.outline.told(host, before.as_ref().map(|before| &*before.value), after);
        let generation = after.map(|told| told.generation).unwrap_or_default();
        self.astray.retain(|one, runs| one != host || *runs > generation);
        true
    }

    /// A host says which generation of its spec it runs. When it is not the one in force, and the host
    /// would take that one for old or for another of the same generation, it has to be told anew.
    /// From here on the heartbeat shares its text with the records.
    pub fn heard(&mut self, beat: &mut Heartbeat) {
        let told = self.specs.get(&beat.host).map(|have| &*have.value);
        if let Some(told) = told {
            share::heartbeat(beat, told);
        }
        let told = told.map(|told| told.generation).unwrap_or_default();
        let Heartbeat { host, generation, conflicting, .. } = beat;
        let is_astray = *generation > told || (*conflicting && *generation == told);
        if !is_astray {
            self.astray.remove(host);
        } else if self.astray.insert(host.clone(), *generation) != Some(*generation) {
            self.outline.due(host);
        }
    }

    /// Applications with an actor that scales by itself, each with the decision about it.
    pub fn scaling(&self) -> impl Iterator<Item = (&DesiredApp, Option<&Placement>)> {
        self.scaling.iter().filter_map(|app| {
            let placement = self.placements.get(app).map(|have| &*have.value);
            Some((&*self.desired.get(app)?.value, placement))
        })
    }

    /// Decisions with a rollout.
    pub fn rolling(&self) -> impl Iterator<Item = Decision<'_>> {
        self.rolling.iter().filter_map(|app| {
            let placement = self.placements.get(app)?;
            let desired = &*self.desired.get(app)?.value;
            Some(Decision { desired, placement: &placement.value, revision: placement.revision })
        })
    }

    /// Does nothing wait to be planned, whatever hosts say?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.planner.is_settled() && !self.outline.is_due()
    }

    /// The same as a plan from nothing, at the cost of what has changed.
    #[must_use]
    pub fn plan(&mut self, moment: &Moment<'_>) -> Plan {
        let Self { desired, placements, planner, seen, .. } = self;
        planner.plan(&input(desired, placements, (*seen, moment)))
    }

    /// The next plan begins with nothing: for when something was found wrong with the last.
    pub fn begin_anew(&mut self) {
        let apps = self.desired.keys().chain(self.placements.keys());
        self.planner = Planner::default();
        apps.for_each(|app| self.planner.touch(app));
    }

    /// The plan from nothing.
    #[must_use]
    pub fn plan_afresh(&self, moment: &Moment<'_>) -> Plan {
        crate::plan::plan(&self.input(moment))
    }

    /// What the independent check says of all that a plan changes.
    #[must_use]
    pub fn check(&self, moment: &Moment<'_>, plan: &Plan) -> Vec<Violation> {
        check_changes(&self.input(moment), plan, &self.outline)
    }

    /// What it says of everything, changed or not.
    #[must_use]
    pub fn check_all(&self, moment: &Moment<'_>, plan: &Plan) -> Vec<Violation> {
        crate::check::check(&self.input(moment), plan)
    }

    fn input<'a>(&'a self, moment: &Moment<'a>) -> Input<'a> {
        input(&self.desired, &self.placements, (self.seen, moment))
    }

    /// The specs that have to be written, all at once: for a few hosts. See [`Known::due`].
    pub fn due_specs(&mut self, lattice: &LatticeName, incarnation: u64) -> BTreeMap<HostId, HostSpec> {
        let due = self.due().into_iter();
        due.filter_map(|host| self.due_spec(&host, lattice, incarnation).map(|spec| (host, spec))).collect()
    }
}

impl Known {
    /// The hosts that may have to be told something. Each is due until what it was told is what follows
    /// from the decisions.
    #[must_use]
    pub fn due(&self) -> Vec<HostId> {
        self.outline.all_due().cloned().collect()
    }

    /// The spec of one host, if it has to be written: one after the other, because those of a large lattice
    /// take as much memory as all that is known of it.
    pub fn due_spec(&mut self, host: &HostId, lattice: &LatticeName, incarnation: u64) -> Option<HostSpec> {
        let previous = self.specs.get_key_value(host).map(|(host, have)| (host, have.value.spec()));
        let input = SpecInput {
            previous: previous.iter().map(|(host, spec)| (*host, spec)).collect(),
            astray: self.astray.get_key_value(host).map(|(host, runs)| (host, *runs)).into_iter().collect(),
            ..self.spec_input(lattice, incarnation)
        };
        let spec = derive(&input, [(host, self.outline.actors(host))]).remove(host);
        if spec.is_none() {
            self.outline.is_told(host);
        }
        spec
    }

    /// The same from nothing: of every host.
    #[must_use]
    pub fn specs_afresh(&self, lattice: &LatticeName, incarnation: u64) -> BTreeMap<HostId, HostSpec> {
        let all: Vec<_> = self.specs.iter().map(|(host, have)| (host, have.value.spec())).collect();
        host_specs(&SpecInput {
            previous: all.iter().map(|(host, spec)| (*host, spec)).collect(),
            astray: self.astray.iter().map(|(host, runs)| (host, *runs)).collect(),
            ..self.spec_input(lattice, incarnation)
        })
    }

    /// Without what hosts were told.
    fn spec_input<'a>(&'a self, lattice: &'a LatticeName, incarnation: u64) -> SpecInput<'a> {
        SpecInput {
            lattice,
            incarnation,
            desired: Table::of(&self.desired),
            placements: Table::of(&self.placements),
            previous: BTreeMap::new(),
            astray: BTreeMap::new(),
        }
    }
}

fn input<'a>(
    desired: &'a BTreeMap<AppName, Revised<DesiredApp>>,
    placements: &'a BTreeMap<AppName, Revised<Placement>>,
    (seen, moment): (Origin, &Moment<'a>),
) -> Input<'a> {
    let Moment { observed, now_ms, allowance, trials, scaling, policy } = *moment;
    Input {
        desired: Table::of(desired),
        placements: Table::of(placements),
        observed,
        now_ms,
        seed: 0,
        policy,
        allowance,
        trials,
        scaling,
        seen,
    }
}

/// Takes a record, or that it is gone. What was there before, if this is news.
fn put<K: Ord + Clone, T>(
    records: &mut BTreeMap<K, Revised<T>>,
    key: &K,
    record: Option<Revised<T>>,
) -> Option<Option<Revised<T>>> {
    let Some(record) = record else { return records.remove(key).map(Some) };
    let is_known = records.get(key).is_some_and(|have| have.revision >= record.revision);
    (!is_known).then(|| records.insert(key.clone(), record))
}

fn keep(apps: &mut BTreeSet<AppName>, app: &AppName, is_in: bool) {
    if is_in {
        apps.insert(app.clone());
    } else {
        apps.remove(app);
    }
}

mod past;
mod share;
#[cfg(test)]
mod tests;
mod told;

pub use told::{Told, ToldActor};
