//! A controller: the planner's functions in the order in which the real one calls them. It knows
//! what its watch and its heartbeats told it; a crash loses all of that.
//!
//! One round: plan, check, write decisions one by one, then derive and write specs one by one. A
//! write that lost its race, or of which nothing is known, is dropped: the watch tells.

use crate::kv::{Entry, Key, Value};
use lattice_ctl_planner::observed::{Observed, Profile};
use lattice_ctl_planner::{Known, Moment, NoPolicy, Pace, Pacer, Plan, Revised, Scaling, Trials};
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::{AppName, HostId, HostSpec, LatticeName};
use std::collections::VecDeque;
use std::sync::Arc;

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
    known: Known,
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
    /// A controller that has just started. Its writes are numbered from `first` on: an answer to a
    /// process that died is none to the one after it.
    #[must_use]
    pub fn new(lattice: LatticeName, profile: Profile, (now_ms, first): (u64, u64)) -> Self {
        Self {
            up: true,
            cursors: [0; 3],
            current: [false; 3],
            lattice,
            known: Known::default(),
            observed: Observed::new(profile, now_ms),
            pacer: Pacer::new(Pace { move_every_ms: Some(2_000), ..Pace::default() }, now_ms),
            trials: Trials::default(),
            scaling: Scaling::default(),
            queue: VecDeque::new(),
            under_way: None,
            writes: first,
            specs_follow: false,
            has_news: true,
        }
    }

    /// A heartbeat has arrived.
    pub fn hear(&mut self, mut beat: Heartbeat, now_ms: u64) {
        self.known.heard(&mut beat);
        self.observed.apply(beat, now_ms);
        self.has_news = true;
    }

    /// The watch has told this.
    pub fn see(&mut self, entry: &Entry) {
        self.has_news = true;
        let revision = entry.revision;
        if matches!(entry.key, Key::Desired(_)) {
            self.known.saw_desired(revision);
        }
        match (&entry.key, &entry.value) {
            (Key::Desired(app), Value::Desired(value)) => {
                let is_news = self.known.desire(app, Some(Revised::new(Arc::clone(value), revision)));
                if is_news {
                    let revision = self.known.placements().get(app).map_or(0, |have| have.revision);
                    self.observed.forgive(app, revision);
                }
                is_news
            }
            (Key::Placement(app), Value::Placement(value)) => {
                self.known.place(app, Some(Revised::new(Arc::clone(value), revision)))
            }
            (Key::Spec(host), Value::Spec(value)) => {
                self.known.tell(host, Some(Revised::new(Arc::clone(value), revision)))
            }
            (Key::Desired(app), _) => self.known.desire(app, None),
            (Key::Placement(app), _) => self.known.place(app, None),
            (Key::Spec(host), _) => self.known.tell(host, None),
        };
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
        let plan = self.plan(now_ms)?;
        self.pacer.spend(&plan.moved, now_ms);
        let revision = |app: &AppName| self.known.placements().get(app).map(|have| have.revision);
        let changed = plan.changed.into_values().map(|mut placement| {
            placement.origin = self.known.origin(&placement.app);
            Write {
                expected: revision(&placement.app),
                key: Key::Placement(placement.app.clone()),
                value: Value::Placement(Arc::new(placement)),
            }
        });
        let removed = plan.removed.iter().map(|app| Write {
            key: Key::Placement(app.clone()),
            expected: revision(app),
            value: Value::Deleted,
        });
        self.queue = changed.chain(removed).collect();
        self.specs_follow = true;
        self.next_write()
    }

    /// A plan of what has changed. It is the one that would be made from nothing, and is good.
    fn plan(&mut self, now_ms: u64) -> Result<Plan, String> {
        let allowance = self.pacer.allowance(now_ms);
        self.scaling.observe(self.known.scaling(), &self.observed, now_ms);
        self.trials.observe(self.known.rolling(), &self.observed, now_ms);
        let moment = Moment {
            observed: &self.observed,
            now_ms,
            allowance,
            trials: &self.trials,
            scaling: &self.scaling,
            policy: &NoPolicy,
        };
        let plan = self.known.plan(&moment);
        if plan != self.known.plan_afresh(&moment) {
            return Err("a plan of what has changed is not the plan of everything".to_owned());
        }
        let of_changes = self.known.check(&moment, &plan);
        match of_changes.first().or(self.known.check_all(&moment, &plan).first()) {
            Some(violation) => Err(format!("a plan breaks a rule: {violation}")),
            None => Ok(plan),
        }
    }

    /// Is there something that it has not planned from?
    #[must_use]
    pub fn has_news(&self, now_ms: u64, since_ms: u64) -> bool {
        self.has_news
            || !self.trials.is_empty()
            || self.observed.next_change_ms(since_ms).is_some_and(|at| at <= now_ms)
    }

    /// A write has ended: at this revision, or not at all, or nobody knows.
    ///
    /// # Errors
    /// The next writes are specs, and those of hosts that are due are not those that reading
    /// everything would give.
    pub fn written(&mut self, number: u64, revision: Option<u64>) -> Result<Option<(u64, Write)>, String> {
        let Some((_, write)) = self.under_way.take_if(|(current, _)| *current == number) else {
            return Ok(None);
        };
        if let Some(revision) = revision {
            // As the real one does: its own write is known at once. The watch stays behind: what
            // others wrote in between is still to come.
            self.see(&Entry { revision, key: write.key, value: write.value });
        }
        self.next_write()
    }

    fn next_write(&mut self) -> Result<Option<(u64, Write)>, String> {
        if self.queue.is_empty() && std::mem::take(&mut self.specs_follow) {
            self.queue = self.spec_writes()?;
        }
        let Some(write) = self.queue.pop_front() else { return Ok(None) };
        self.writes += 1;
        self.under_way = Some((self.writes, write.clone()));
        Ok(Some((self.writes, write)))
    }

    fn spec_writes(&mut self) -> Result<VecDeque<Write>, String> {
        let afresh = self.known.specs_afresh(&self.lattice, 0);
        let specs = self.known.due_specs(&self.lattice, 0);
        if specs != afresh {
            return Err("specs of hosts that are due are not the specs of all".to_owned());
        }
        let write = |(host, spec): (HostId, HostSpec)| Write {
            expected: self.known.specs().get(&host).map(|have| have.revision),
            key: Key::Spec(host),
            value: Value::Spec(Arc::new(spec)),
        };
        Ok(specs.into_iter().map(write).collect())
    }
}
