//! What planning costs in a large lattice: from scratch, when nothing has changed, when one
//! application has, and when one host is lost. Real time, so the figures are this machine's.

use lattice_ctl_planner::observed::{Observed, Profile};
use lattice_ctl_planner::specs::{SpecInput, host_specs};
use lattice_ctl_planner::{Allowance, Input, NoPolicy, Plan, Scaling, Trials, check, plan};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::heartbeat::{ActorStatus, Heartbeat, Load};
use lattice_protocol::manifest::{ActorManifest, Application, Resources, Scale};
use lattice_protocol::name::NameError;
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, AppName, HostId, LatticeName};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Actors of one application.
const ACTORS_PER_APP: usize = 100;

/// One measurement.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Of what.
    pub what: &'static str,
    /// How long.
    pub took: Duration,
    /// Steps of the plan, or specs.
    pub steps: usize,
}

struct Lattice {
    name: LatticeName,
    desired: BTreeMap<AppName, DesiredApp>,
    placements: BTreeMap<AppName, Placement>,
    observed: Observed,
    hosts: Vec<HostId>,
    per_host: u32,
    now_ms: u64,
}

/// Measures a lattice of so many hosts and actors.
///
/// # Errors
/// A plan that breaks a rule, or does not place everything.
pub fn measure(hosts: usize, actors: usize) -> Result<Vec<Figure>, String> {
    let mut lattice = Lattice::new(hosts, actors).map_err(|error| error.to_string())?;
    let mut figures = vec![lattice.plan("plan from scratch")?];
    let placed: usize = lattice.placements.values().map(|placement| placement.actors.len()).sum();
    if placed != actors {
        return Err(format!("{placed} of {actors} actors placed"));
    }
    figures.push(lattice.specs());
    lattice.beat(None);
    figures.push(lattice.plan("plan, nothing has changed")?);
    if let Some(app) = lattice.desired.values_mut().next() {
        app.version += 1;
        app.application.actors.iter_mut().for_each(|actor| actor.scale = Scale::Replicas(2));
    }
    figures.push(lattice.plan("plan, one application has changed")?);
    lattice.now_ms += 60_000;
    let lost = lattice.hosts.first().cloned();
    lattice.beat(lost.as_ref());
    figures.push(lattice.plan("plan, one host is lost")?);
    Ok(figures)
}

impl Lattice {
    fn new(hosts: usize, actors: usize) -> Result<Self, NameError> {
        let per_host = u32::try_from(actors.div_ceil(hosts.max(1))).unwrap_or(u32::MAX);
        let names: Result<Vec<HostId>, _> = (0..hosts).map(|number| format!("H{number}").parse()).collect();
        let mut desired = BTreeMap::new();
        for first in (0..actors).step_by(ACTORS_PER_APP) {
            let count = ACTORS_PER_APP.min(actors - first);
            let record = application(first / ACTORS_PER_APP, count)?;
            desired.insert(record.application.name.clone(), record);
        }
        let mut lattice = Self {
            name: "scale".parse()?,
            desired,
            placements: BTreeMap::new(),
            observed: Observed::new(Profile::EDGE, 0),
            hosts: names?,
            per_host,
            now_ms: 0,
        };
        lattice.beat(None);
        Ok(lattice)
    }

    fn plan(&mut self, what: &'static str) -> Result<Figure, String> {
        let input = Input {
            desired: self.desired.iter().collect(),
            placements: self.placements.iter().collect(),
            observed: &self.observed,
            now_ms: self.now_ms,
            seed: 0,
            policy: &NoPolicy,
            allowance: Allowance::default(),
            trials: &Trials::default(),
            scaling: &Scaling::default(),
        };
        let begun = Instant::now();
        let Plan { changed, removed, explanation, moved } = plan(&input);
        let took = begun.elapsed();
        let plan = Plan { changed, removed, explanation, moved };
        if let Some(violation) = check(&input, &plan).first() {
            return Err(violation.to_string());
        }
        let steps = plan.explanation.len();
        self.placements.extend(plan.changed);
        Ok(Figure { what, took, steps })
    }

    fn specs(&self) -> Figure {
        let begun = Instant::now();
        let specs = host_specs(&SpecInput {
            lattice: &self.name,
            incarnation: 0,
            desired: self.desired.iter().collect(),
            placements: self.placements.iter().map(|(app, placement)| (app, (placement, 1))).collect(),
            previous: BTreeMap::new(),
            applied: BTreeMap::new(),
        });
        Figure { what: "host specs", took: begun.elapsed(), steps: specs.len() }
    }

    /// Every host but one says what is placed on it.
    fn beat(&mut self, silent: Option<&HostId>) {
        let mut on: BTreeMap<&HostId, Vec<ActorStatus>> = BTreeMap::new();
        for (actor, hosts) in self.placements.values().flat_map(|placement| &placement.actors) {
            for (host, replicas) in hosts {
                on.entry(host).or_default().push(status(actor, *replicas));
            }
        }
        for host in self.hosts.iter().filter(|host| Some(*host) != silent) {
            let actors = on.remove(host).unwrap_or_default();
            self.observed.apply(beat(&self.name, host, self.per_host, (self.now_ms, actors)), self.now_ms);
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
        let digest = format!("sha256:{actor}");
        artifacts.insert(ActorId::new(app.clone(), manifest.name.clone()), Artifact { digest, size: 1 });
        application.actors.push(manifest);
    }
    Ok(DesiredApp { version: 1, application, artifacts, ..DesiredApp::empty(app) })
}

fn status(actor: &ActorId, replicas: u32) -> ActorStatus {
    ActorStatus {
        cpu_used_millis: 10 * replicas,
        memory_used_mib: replicas,
        ..ActorStatus::running(actor.clone(), "sha256:0", replicas)
    }
}

fn beat(
    lattice: &LatticeName,
    host: &HostId,
    per_host: u32,
    (now_ms, actors): (u64, Vec<ActorStatus>),
) -> Heartbeat {
    Heartbeat {
        seq: now_ms + u64::try_from(actors.len()).unwrap_or(0) + 1,
        version: "sim".to_owned(),
        arch: "aarch64".to_owned(),
        load: Load {
            cpu_millis: per_host.saturating_mul(20),
            cpu_used_millis: 0,
            memory_mib: per_host.saturating_mul(2),
            memory_used_mib: 0,
        },
        actors,
        ..Heartbeat::new(lattice.clone(), host.clone(), "boot")
    }
}
