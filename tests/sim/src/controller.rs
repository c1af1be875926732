//! A controller: the planner's functions in the order in which the real one calls them. It knows
//! what its watch and its heartbeats told it; a crash loses all of that.
//!
//! One round: plan, check, write decisions one by one, then derive and write specs one by one. A
//! write that lost its race, or of which nothing is known, is dropped: the watch tells.

use crate::kv::{Entry, Key, Value};
use lattice_ctl_planner::observed::{Observed, Profile};
use lattice_ctl_planner::specs::{SpecInput, host_specs};
use lattice_ctl_planner::{Decision, Input, NoPolicy, Pace, Pacer, Scaling, Trials, check, plan};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::{AppName, HostId, HostSpec, LatticeName};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// A compare-and-set to be done.
#[derive(Debug, Clone)]
pub struct Write {
    /// Where.
    pub key: Key,
    /// From which revision.
    pub expected: Option<u64>,
    /// What.
    pub value: Value,
}

type Revised<T> = (Rc<T>, u64);

/// One controller.
#[derive(Debug)]
pub struct Controller {
    /// Is its process there?
    pub up: bool,
    /// How far its watch of each bucket has come: one may be ahead of another.
    pub cursors: [u64; 3],
    /// Has each watch told all there was when it began?
    pub current: [bool; 3],
    lattice: LatticeName,
    desired: BTreeMap<AppName, Revised<DesiredApp>>,
    placements: BTreeMap<AppName, Revised<Placement>>,
    specs: BTreeMap<HostId, Revised<HostSpec>>,
    observed: Observed,
    pacer: Pacer,
    trials: Trials,
    scaling: Scaling,
    /// What is still to be written in this round.
    queue: VecDeque<Write>,
    /// The write under way, and its number.
    under_way: Option<(u64, Write)>,
    writes: u64,
    /// Decisions are written first; then specs follow from them.
    specs_follow: bool,
    has_news: bool,
}

impl Controller {
    /// A controller that has just started.
    #[must_use]
    pub fn new(lattice: LatticeName, profile: Profile, now_ms: u64) -> Self {
        Self {
            up: true,
            cursors: [0; 3],
            current: [false; 3],
            lattice,
            desired: BTreeMap::new(),
            placements: BTreeMap::new(),
            specs: BTreeMap::new(),
            observed: Observed::new(profile, now_ms),
            pacer: Pacer::new(Pace { move_every_ms: Some(2_000), ..Pace::default() }, now_ms),
            trials: Trials::default(),
            scaling: Scaling::default(),
            queue: VecDeque::new(),
            under_way: None,
            writes: 0,
            specs_follow: false,
            has_news: true,
        }
    }

    /// A heartbeat has arrived.
    pub fn hear(&mut self, beat: Heartbeat, now_ms: u64) {
        self.observed.apply(beat, now_ms);
        self.has_news = true;
    }

    /// The watch has told this.
    pub fn see(&mut self, entry: &Entry) {
        self.has_news = true;
        match (&entry.key, &entry.value) {
            (Key::Desired(app), Value::Desired(value)) => put(&mut self.desired, app, value, entry.revision),
            (Key::Placement(app), Value::Placement(value)) => {
                put(&mut self.placements, app, value, entry.revision);
            }
            (Key::Spec(host), Value::Spec(value)) => put(&mut self.specs, host, value, entry.revision),
            (Key::Desired(app), _) => drop(self.desired.remove(app)),
            (Key::Placement(app), _) => drop(self.placements.remove(app)),
            (Key::Spec(host), _) => drop(self.specs.remove(host)),
        }
    }

    /// Plans, when there is news or time alone has changed something and nothing is being written.
    /// The first write of the round, if there is any.
    ///
    /// # Errors
    /// A plan that breaks a rule.
    pub fn step(&mut self, now_ms: u64) -> Result<Option<(u64, Write)>, String> {
        if self.current.contains(&false) || self.under_way.is_some() {
            return Ok(None);
        }
        self.has_news = false;
        let allowance = self.pacer.allowance(now_ms);
        let decisions = self.placements.iter().filter_map(|(app, (placement, revision))| {
            let (desired, _) = self.desired.get(app)?;
            Some(Decision { desired, placement, revision: *revision })
        });
        let apps = self.desired.iter().map(|(app, (desired, _))| {
            (&**desired, self.placements.get(app).map(|(placement, _)| &**placement))
        });
        self.scaling.observe(apps, &self.observed, now_ms);
        self.trials.observe(decisions, &self.observed, now_ms);
        let input = Input {
            desired: self.desired.iter().map(|(app, (value, _))| (app, &**value)).collect(),
            placements: self.placements.iter().map(|(app, (value, _))| (app, &**value)).collect(),
            observed: &self.observed,
            now_ms,
            seed: 0,
            policy: &NoPolicy,
            allowance,
            trials: &self.trials,
            scaling: &self.scaling,
        };
        let plan = plan(&input);
        let found = check(&input, &plan);
        if let Some(violation) = found.first() {
            return Err(format!("a plan breaks a rule: {violation}"));
        }
        self.pacer.spend(&plan.moved, now_ms);
        let revision = |app: &AppName| self.placements.get(app).map(|(_, revision)| *revision);
        let changed = plan.changed.into_values().map(|placement| Write {
            expected: revision(&placement.app),
            key: Key::Placement(placement.app.clone()),
            value: Value::Placement(Rc::new(placement)),
        });
        let removed = plan.removed.iter().map(|app| Write {
            key: Key::Placement(app.clone()),
            expected: revision(app),
            value: Value::Deleted,
        });
        self.queue = changed.chain(removed).collect();
        self.specs_follow = true;
        Ok(self.next_write())
    }

    /// Is there something that it has not planned from?
    #[must_use]
    pub fn has_news(&self, now_ms: u64, since_ms: u64) -> bool {
        self.has_news
            || !self.trials.is_empty()
            || self.observed.next_change_ms(since_ms).is_some_and(|at| at <= now_ms)
    }

    /// A write has ended: at this revision, or not at all, or nobody knows.
    pub fn written(&mut self, number: u64, revision: Option<u64>) -> Option<(u64, Write)> {
        let (_, write) = self.under_way.take_if(|(current, _)| *current == number)?;
        if let Some(revision) = revision {
            // As the real one does: its own write is known at once. The watch stays behind: what
            // others wrote in between is still to come.
            self.see(&Entry { revision, key: write.key, value: write.value });
        }
        self.next_write()
    }

    fn next_write(&mut self) -> Option<(u64, Write)> {
        if self.queue.is_empty() && std::mem::take(&mut self.specs_follow) {
            self.queue = self.spec_writes();
        }
        let write = self.queue.pop_front()?;
        self.writes += 1;
        self.under_way = Some((self.writes, write.clone()));
        Some((self.writes, write))
    }

    fn spec_writes(&self) -> VecDeque<Write> {
        let placements = self.placements.iter();
        let specs = host_specs(&SpecInput {
            lattice: &self.lattice,
            incarnation: 0,
            desired: self.desired.iter().map(|(app, (value, _))| (app, &**value)).collect(),
            placements: placements.map(|(app, (value, revision))| (app, (&**value, *revision))).collect(),
            previous: self.specs.iter().map(|(host, (value, _))| (host, &**value)).collect(),
            applied: BTreeMap::new(),
        });
        let write = |(host, spec): (HostId, HostSpec)| Write {
            expected: self.specs.get(&host).map(|(_, revision)| *revision),
            key: Key::Spec(host),
            value: Value::Spec(Rc::new(spec)),
        };
        specs.into_iter().map(write).collect()
    }
}

fn put<K: Ord + Clone, T>(records: &mut BTreeMap<K, Revised<T>>, key: &K, value: &Rc<T>, revision: u64) {
    if records.get(key).is_none_or(|(_, have)| *have < revision) {
        records.insert(key.clone(), (Rc::clone(value), revision));
    }
}
