//! What planning costs in a large lattice, with what a controller does beside it: from nothing, when
//! nothing has changed, when one application has, and when one host is lost; what hosts have to be
//! told then; what heartbeats cost. Real time and memory, so the figures are this machine's.

use lattice_ctl_planner::observed::{Observed, Profile};
use lattice_ctl_planner::{Allowance, Known, Moment, NoPolicy, Plan, Revised, Scaling, Trials};
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::heartbeat::{ActorStatus, Heartbeat, Load};
use lattice_protocol::manifest::{ActorManifest, Application, Resources, Scale};
use lattice_protocol::name::NameError;
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, AppName, HostId, LatticeName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Actors of one application.
const ACTORS_PER_APP: usize = 100;
/// Milliseconds between two heartbeats of a host.
const INTERVAL_MS: u64 = 30_000;

/// One measurement.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Of what.
    pub what: &'static str,
    /// How long.
    pub took: Duration,
    /// Steps of the plan, specs, or heartbeats.
    pub steps: usize,
    /// Memory of this process then, MiB, and the most until then; 0 where the system does not say.
    pub memory_mib: (u64, u64),
}

/// All that was measured.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Times, in the order of [`measure`].
    pub times: Vec<Figure>,
    /// Part of one core that heartbeats of all hosts take, thousandths, at one in [`INTERVAL_MS`].
    pub heartbeats_per_mille: u64,
    /// What this process had before, MiB.
    pub before_mib: u64,
    /// Memory of this process in the end, MiB; 0 where the system does not say.
    pub memory_mib: u64,
    /// The most that it was on the way, MiB.
    pub most_memory_mib: u64,
}

impl Figures {
    /// How long something took.
    #[must_use]
    pub fn took(&self, what: &str) -> Option<Duration> {
        self.times.iter().find(|figure| figure.what == what).map(|figure| figure.took)
    }
}

/// From nothing.
pub const FROM_NOTHING: &str = "plan from nothing";
/// When one host is lost.
pub const HOST_LOST: &str = "plan, one host is lost";

struct Lattice {
    name: LatticeName,
    known: Known,
    observed: Observed,
    hosts: Vec<HostId>,
    per_host: u32,
    now_ms: u64,
    revision: u64,
    beats: u64,
    times: Vec<Figure>,
}

/// Measures a lattice of so many hosts and actors.
///
/// # Errors
/// A plan that breaks a rule, or does not place everything.
pub fn measure(hosts: usize, actors: usize) -> Result<Figures, String> {
    // The most memory is counted from here on; where the system does not do that, from the beginning.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
    let before_mib = memory_mib("VmRSS:");
    let mut lattice = Lattice::new(hosts, actors).map_err(|error| error.to_string())?;
    lattice.plan(FROM_NOTHING)?;
    let placed: usize = lattice.known.placements().values().map(|have| have.value.actors.len()).sum();
    if placed != actors {
        return Err(format!("{placed} of {actors} actors placed"));
    }
    lattice.specs("specs of all hosts");
    // What was decided comes back once: then nobody is waiting any more.
    lattice.plan("plan, every decision has come into force")?;
    lattice.specs("specs of all hosts, which have them");
    let heard = lattice.beat(None)?;
    lattice.plan("plan, all hosts were heard")?;
    lattice.plan("plan, nothing has changed")?;
    let first = lattice.known.desired().values().next().map(|have| (*have.value).clone());
    if let Some(mut desired) = first {
        desired.version += 1;
        desired.application.actors.iter_mut().for_each(|actor| actor.scale = Scale::Replicas(2));
        lattice.revision += 1;
        let app = desired.application.name.clone();
        lattice.known.desire(&app, Some(Revised::new(desired, lattice.revision)));
    }
    lattice.plan("plan, one application has changed")?;
    lattice.specs("specs after that");
    lattice.plan("plan after that")?;
    // Everybody is heard again and again, but for one.
    let lost = lattice.hosts.first().cloned();
    for _ in 0..3 {
        lattice.now_ms += 10_000;
        lattice.beat(lost.as_ref())?;
        lattice.plan("plan, all hosts but one were heard")?;
    }
    lattice.now_ms += 1_001;
    lattice.plan(HOST_LOST)?;
    lattice.specs("specs after that");
    let heartbeats = heard.as_millis();
    Ok(Figures {
        heartbeats_per_mille: u64::try_from(heartbeats * 1_000 / u128::from(INTERVAL_MS)).unwrap_or(u64::MAX),
        before_mib,
        memory_mib: memory_mib("VmRSS:"),
        most_memory_mib: memory_mib("VmHWM:"),
        times: lattice.times,
    })
}

/// Resident memory of this process: `VmRSS:` now, `VmHWM:` at most.
fn memory_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1_024
}

impl Lattice {
    fn new(hosts: usize, actors: usize) -> Result<Self, NameError> {
        let per_host = u32::try_from(actors.div_ceil(hosts.max(1))).unwrap_or(u32::MAX);
        let names: Result<Vec<HostId>, _> = (0..hosts).map(|number| format!("H{number}").parse()).collect();
        let mut lattice = Self {
            name: "scale".parse()?,
            known: Known::default(),
            observed: Observed::new(Profile::EDGE, 0),
            hosts: names?,
            per_host,
            now_ms: 0,
            revision: 0,
            beats: 0,
            times: Vec::new(),
        };
        let begun = Instant::now();
        for first in (0..actors).step_by(ACTORS_PER_APP) {
            let count = ACTORS_PER_APP.min(actors - first);
            let record = application(first / ACTORS_PER_APP, count)?;
            lattice.revision += 1;
            let app = record.application.name.clone();
            lattice.known.desire(&app, Some(Revised::new(record, lattice.revision)));
        }
        lattice.note("what is desired is known", begun.elapsed(), actors);
        for host in lattice.hosts.clone() {
            let beat = lattice.heartbeat(&host, Vec::new());
            lattice.observed.apply(beat, 0);
        }
        Ok(lattice)
    }

    /// A plan of what has changed, with the check of what it changes; it comes into force.
    fn plan(&mut self, what: &'static str) -> Result<(), String> {
        let (trials, scaling) = (Trials::default(), Scaling::default());
        let moment = Moment {
            observed: &self.observed,
            now_ms: self.now_ms,
            allowance: Allowance::default(),
            trials: &trials,
            scaling: &scaling,
            policy: &NoPolicy,
        };
        let begun = Instant::now();
        let plan: Plan = self.known.plan(&moment);
        let planned = begun.elapsed();
        let violations = self.known.check(&moment, &plan);
        let checked = begun.elapsed() - planned;
        if let Some(violation) = violations.first() {
            return Err(violation.to_string());
        }
        let steps = plan.explanation.len();
        self.note(what, planned, steps);
        self.note("  its check", checked, plan.changed.len());
        for (app, placement) in plan.changed {
            self.revision += 1;
            self.known.place(&app, Some(Revised::new(placement, self.revision)));
        }
        Ok(())
    }

    fn note(&mut self, what: &'static str, took: Duration, steps: usize) {
        let memory_mib = (memory_mib("VmRSS:"), memory_mib("VmHWM:"));
        self.times.push(Figure { what, took, steps, memory_mib });
    }

    /// The specs of hosts that have to be told something; they are told.
    fn specs(&mut self, what: &'static str) {
        let (mut took, mut steps) = (Duration::ZERO, 0);
        for host in self.known.due() {
            let begun = Instant::now();
            let spec = self.known.due_spec(&host, &self.name, 0);
            took += begun.elapsed();
            let Some(spec) = spec else { continue };
            steps += 1;
            self.revision += 1;
            self.known.tell(&host, Some(Revised::new(spec, self.revision)));
        }
        self.note(what, took, steps);
    }

    /// Every host but one says that it runs what it was told, as it comes from the network. How long it
    /// took to read and take all of it.
    fn beat(&mut self, silent: Option<&HostId>) -> Result<Duration, String> {
        let mut took = Duration::ZERO;
        let mut count = 0;
        for host in self.hosts.clone().iter().filter(|host| Some(*host) != silent) {
            let told = self.known.specs().get(host).map(|have| Arc::clone(&have.value));
            let actors = told.iter().flat_map(|spec| &spec.actors).map(|spec| ActorStatus {
                cpu_used_millis: 10 * spec.replicas,
                memory_used_mib: spec.replicas,
                ..ActorStatus::running(spec.id.clone(), &spec.artifact.digest, spec.replicas)
            });
            let mut beat = self.heartbeat(host, actors.collect());
            if let Some(told) = &told {
                beat.generation = told.generation;
                beat.apps = told.apps.clone();
            }
            let bytes = serde_json::to_vec(&beat).map_err(|error| error.to_string())?;
            let begun = Instant::now();
            let mut beat: Heartbeat = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            self.known.heard(&mut beat);
            self.observed.apply(beat, self.now_ms);
            took += begun.elapsed();
            count += 1;
        }
        self.note("heartbeats of all hosts", took, count);
        Ok(took)
    }

    fn heartbeat(&mut self, host: &HostId, actors: Vec<ActorStatus>) -> Heartbeat {
        self.beats += 1;
        Heartbeat {
            seq: self.beats,
            interval_ms: Profile::EDGE.interval_ms,
            version: "sim".to_owned(),
            arch: "aarch64".to_owned(),
            labels: BTreeMap::from([("region".to_owned(), "r1".to_owned())]),
            load: Load {
                cpu_millis: self.per_host.saturating_mul(20),
                cpu_used_millis: 0,
                memory_mib: self.per_host.saturating_mul(2),
                memory_used_mib: 0,
            },
            actors,
            ..Heartbeat::new(self.name.clone(), host.clone(), "boot")
        }
    }
}

fn application(number: usize, actors: usize) -> Result<DesiredApp, NameError> {
    let app: AppName = format!("app{number}").parse()?;
    let mut application = Application::empty(app.clone());
    let mut artifacts = BTreeMap::new();
    for actor in 0..actors {
        let mut manifest = ActorManifest::new(format!("a{actor}").parse()?, "a.wasm");
        manifest.placement.resources = Resources { cpu_millis: 10, memory_mib: 1 };
        // As long as a real one.
        let digest = format!("sha256:{actor:064x}").into();
        artifacts.insert(ActorId::new(app.clone(), manifest.name.clone()), Artifact { digest, size: 1 });
        application.actors.push(manifest);
    }
    // Put twice, as one that has been changed: the version before can come back.
    let mut desired = DesiredApp { application, artifacts, ..DesiredApp::empty(app) };
    (0..2).for_each(|_| desired.stamp("sim", 0, "put"));
    Ok(desired)
}
