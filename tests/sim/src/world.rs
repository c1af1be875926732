//! One run: events in the order of their time, faults until a while, then peace, in which the
//! lattice must become what is desired.
//!
//! Checked at every step: each spec that is written has a newer generation than the one before and
//! comes from decisions that are no older; a host's generation never falls; what a host accepts of an application
//! at a revision is what the one decision that won this revision gave it; every plan passes the
//! planner's independent check; no host runs more than it has room for. Checked at the end: what
//! runs is what is desired, within [`HEALING_MS`].

use crate::controller::{Controller, Write};
use crate::faults::{self, Fault, Node};
use crate::host::Host;
use crate::kv::{Kv, Value};
use crate::random::Random;
use crate::trace::Trace;
use crate::{Failure, Outcome, Sizes, apps};
use lattice_ctl_planner::observed::Profile;
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::{HostId, LatticeName};
use std::collections::{BTreeMap, BTreeSet};

/// When faults end, milliseconds.
const FAULTS_UNTIL_MS: u64 = 60_000;
/// Time that the lattice has to become what is desired after the last fault: the longest that a
/// flapping host is held, and as long as a refusal counts.
pub const HEALING_MS: u64 = 120_000 + 300_000;
/// Time between two looks of a controller.
const TICK_MS: u64 = 250;
/// Patience of a writer for an answer.
const WRITE_TIMEOUT_MS: u64 = 2_000;

mod laws;
mod steady;
mod trouble;
mod watch;

pub use steady::{Noise, steady};

/// What happens at a time.
#[derive(Debug)]
enum Event {
    Beat(usize),
    Heard(usize, Box<Heartbeat>),
    Look(usize),
    Poll(Node),
    Apply(usize, u64, Write),
    Written(usize, u64, Option<u64>),
    Fault(Fault),
    Restart(Node),
    Healed(Node),
    Calm,
}

pub(crate) struct World {
    now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    numbered: u64,
    random: Random,
    lattice: LatticeName,
    pub(crate) hosts: Vec<Host>,
    controllers: Vec<Controller>,
    looked_ms: Vec<u64>,
    /// Cut off from everything, until when.
    cut_off: BTreeMap<Node, u64>,
    /// Of a thousand messages, how many are lost, and as many doubled.
    lost: u64,
    /// How long messages take, at least and at most.
    least_ms: u64,
    delay_ms: u64,
    profile: Profile,
    /// Hosts that stand still now and then: for how long, and each one until when.
    freeze_ms: u64,
    frozen_ms: BTreeMap<usize, u64>,
    /// Decisions that came into force.
    decisions: u64,
    pub(crate) kv: Kv,
    trace: Trace,
    faults: BTreeMap<&'static str, u64>,
    editor: apps::Editor,
}

/// Runs one world.
///
/// # Errors
/// The first law that was broken, with the end of the trace.
pub fn run(seed: u64, sizes: &Sizes) -> Result<Outcome, Box<Failure>> {
    let broken = |at_ms, what, trace| Box::new(Failure { seed, at_ms, what, trace });
    let lattice = "sim".parse::<LatticeName>().map_err(|error| broken(0, format!("{error}"), Vec::new()))?;
    let mut world = World::new(seed, sizes, (lattice, Profile::FAST));
    world.trouble();
    match world.live() {
        Ok(healed_ms) => Ok(Outcome { trace: world.trace.digest(), healed_ms, faults: world.faults }),
        Err(what) => Err(broken(world.now_ms, what, world.trace.tail())),
    }
}

impl World {
    fn new(seed: u64, sizes: &Sizes, (lattice, profile): (LatticeName, Profile)) -> Self {
        let mut random = Random::new(seed);
        let controllers = usize::try_from(random.between(1, 3)).unwrap_or(1);
        let editor = apps::Editor::new(sizes);
        let hosts = apps::hosts(sizes);
        let mut world = Self {
            now_ms: 0,
            events: BTreeMap::new(),
            numbered: 0,
            random,
            controllers: (0..controllers)
                .map(|_| Controller::new(lattice.clone(), profile, (0, 0)))
                .collect(),
            looked_ms: vec![0; controllers],
            lattice,
            hosts,
            cut_off: BTreeMap::new(),
            lost: 0,
            least_ms: 1,
            delay_ms: 5,
            profile,
            freeze_ms: 0,
            frozen_ms: BTreeMap::new(),
            decisions: 0,
            kv: Kv::default(),
            trace: Trace::new(sizes.verbose),
            faults: BTreeMap::new(),
            editor,
        };
        world.begin();
        world
    }

    /// Draws what goes wrong, and when it is over.
    fn trouble(&mut self) {
        let nodes = (self.hosts.len(), self.controllers.len());
        for (at, fault) in faults::draw(&mut self.random, nodes, FAULTS_UNTIL_MS) {
            self.at(at, Event::Fault(fault));
        }
        self.at(FAULTS_UNTIL_MS + 15_000, Event::Calm);
    }

    fn begin(&mut self) {
        self.editor.begin(&mut self.kv);
        for host in 0..self.hosts.len() {
            let phase = self.random.below(self.profile.interval_ms);
            self.at(phase, Event::Beat(host));
            self.at(1, Event::Poll(Node::Host(host)));
        }
        for controller in 0..self.controllers.len() {
            let phase = self.random.below(TICK_MS);
            self.at(phase, Event::Look(controller));
            self.at(1, Event::Poll(Node::Controller(controller)));
        }
    }

    /// Until everything is as desired after the last fault: how long that took, milliseconds.
    fn live(&mut self) -> Result<u64, String> {
        let calm_ms = FAULTS_UNTIL_MS + 15_000;
        let mut next_look = calm_ms + 1_000;
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now_ms = at;
            if at >= next_look {
                next_look = at + 1_000;
                match apps::difference(self) {
                    None => return Ok(at - calm_ms),
                    Some(difference) if at > calm_ms + HEALING_MS => {
                        return Err(format!(
                            "not as desired {HEALING_MS} ms after the last fault: {difference}"
                        ));
                    }
                    Some(_) => {}
                }
            }
            self.happen(event)?;
        }
        Err("nothing happens any more".to_owned())
    }

    fn at(&mut self, in_ms: u64, event: Event) {
        self.numbered += 1;
        self.events.insert((self.now_ms + in_ms, self.numbered), event);
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Beat(host) => self.beat(host),
            Event::Heard(controller, beat) => {
                if self.reaches(Node::Controller(controller))
                    && let Some(one) = self.controllers.get_mut(controller)
                {
                    one.hear(*beat, self.now_ms);
                }
            }
            Event::Look(controller) => self.look(controller)?,
            Event::Poll(node) => self.poll(node)?,
            Event::Apply(controller, number, write) => self.write(controller, number, write)?,
            Event::Written(controller, number, revision) => {
                if let Some(one) = self.controllers.get_mut(controller).filter(|one| one.up)
                    && let Some(next) = one.written(number, revision)?
                {
                    self.send_write(controller, next);
                }
            }
            Event::Fault(fault) => self.fault(fault)?,
            Event::Restart(node) => self.restart(node),
            Event::Healed(node) => {
                if self.cut_off.get(&node).is_some_and(|until| *until <= self.now_ms) {
                    self.cut_off.remove(&node);
                }
            }
            Event::Calm => {
                (self.lost, self.delay_ms) = (0, 5);
                if self.now_ms >= FAULTS_UNTIL_MS {
                    apps::resume_all(&mut self.kv);
                    self.tell_watchers();
                }
            }
        }
        Ok(())
    }

    /// Is its process there, and is it not cut off?
    fn reaches(&self, node: Node) -> bool {
        let up = match node {
            Node::Host(host) => self.hosts.get(host).is_some_and(|host| host.up),
            Node::Controller(controller) => self.controllers.get(controller).is_some_and(|one| one.up),
        };
        up && !self.cut_off.contains_key(&node)
    }

    /// How long each copy of a message takes; none when it is lost.
    fn travel(&mut self) -> Vec<u64> {
        if self.random.chance(self.lost) {
            return Vec::new();
        }
        let copies = if self.random.chance(self.lost) { 2 } else { 1 };
        (0..copies).map(|_| self.random.between(self.least_ms, self.delay_ms)).collect()
    }

    fn beat(&mut self, host: usize) {
        let frozen_ms = self.frozen(host);
        if frozen_ms > 0 {
            self.at(frozen_ms, Event::Beat(host));
            return;
        }
        let jitter = self.random.below(20);
        self.at(self.profile.interval_ms - 10 + jitter, Event::Beat(host));
        if !self.reaches(Node::Host(host)) {
            return;
        }
        let Some(one) = self.hosts.get_mut(host) else { return };
        let beat = one.beat(&self.lattice, self.profile.interval_ms, self.now_ms);
        for controller in 0..self.controllers.len() {
            for delay in self.travel() {
                self.at(delay, Event::Heard(controller, Box::new(beat.clone())));
            }
        }
    }

    fn look(&mut self, controller: usize) -> Result<(), String> {
        self.at(TICK_MS, Event::Look(controller));
        let looked = self.looked_ms.get(controller).copied().unwrap_or(0);
        let now = self.now_ms;
        let Some(one) = self.controllers.get_mut(controller).filter(|one| one.up) else { return Ok(()) };
        if !one.has_news(now, looked) && now < looked + 1_000 {
            return Ok(());
        }
        let first = one.step(now)?;
        if let Some(looked) = self.looked_ms.get_mut(controller) {
            *looked = now;
        }
        if let Some(write) = first {
            self.send_write(controller, write);
        }
        Ok(())
    }

    /// A write goes out; whatever becomes of it, the writer hears of it or gives up.
    fn send_write(&mut self, controller: usize, (number, write): (u64, Write)) {
        self.trace.line(
            self.now_ms,
            format_args!("c{controller} writes {:?} from {:?}", write.key, write.expected),
        );
        if self.reaches(Node::Controller(controller)) {
            for delay in self.travel() {
                self.at(delay, Event::Apply(controller, number, write.clone()));
            }
        }
        self.at(WRITE_TIMEOUT_MS, Event::Written(controller, number, None));
    }

    fn write(&mut self, controller: usize, number: u64, write: Write) -> Result<(), String> {
        let before = self.kv.spec(&write.key);
        let was = self.kv.latest(&write.key).map(|entry| entry.value.clone());
        let revision = self.kv.cas(&write.key, write.expected, write.value);
        if let (Some(before), Some(after), Some(_)) = (before, self.kv.spec(&write.key), revision) {
            laws::next_of(&before, &after)?;
        }
        let now = self.kv.latest(&write.key).map(|entry| entry.value.clone());
        if let (Some(was), Some(_), Some(now)) = (was, revision, &now) {
            self.after(&was, now)?;
        }
        self.trace.line(self.now_ms, format_args!("c{controller} wrote {:?}: {revision:?}", write.key));
        if let (Some(_), Some(Value::Placement(placement))) = (revision, &now) {
            self.decisions += 1;
            self.trace.line(self.now_ms, format_args!("  {}", laws::summary(placement)));
        }
        if revision.is_some() {
            self.tell_watchers();
        }
        if self.reaches(Node::Controller(controller)) {
            for delay in self.travel() {
                self.at(delay, Event::Written(controller, number, revision));
            }
        }
        Ok(())
    }

    /// Hosts that run, for the comparison at the end.
    pub(crate) fn alive(&self) -> BTreeSet<&HostId> {
        self.hosts.iter().filter(|host| host.up).map(|host| &host.id).collect()
    }
}
