//! The lattice of a scenario, and the commands it understands.
//!
//! | command | does |
//! |---|---|
//! | `profile fast\|wan\|edge` | when silence counts |
//! | `host A,B key=value…` | hosts say this: labels, and `cpu=used/all mem=used/all actors=n arch= kinds=a,b cached=x,y errors=n latency.<region>=ms` |
//! | `silent A,B`, `heard A,B` | they stop, or begin again, to send heartbeats |
//! | `leave A`, `restart A` | it says that it leaves; it starts again |
//! | `refuse A app/actor` | it says that it has no room for the actor |
//! | `room A 128` | it promises actors so many MiB, whatever its heartbeats say; what does not fit it refuses (with `runs`) |
//! | `after 30s` | time passes; who is not silent sends heartbeats |
//! | `actor app { … }`, `provider app { … }` | as in a manifest |
//! | `undeploy app` | |
//! | `rollout app { … }` | as in a manifest |
//! | `drop app name` | the next version has no such actor |
//! | `version v errors=percent\|takes=ms\|crashes\|refuses\|hangs\|well` | how the component `v.wasm` behaves on hosts |
//! | `load app/actor n` | so many calls at once are offered to it, over all its replicas; 4 are served by each |
//! | `lag app/actor n` | so many messages wait for it in its streams; each host that has it says so |
//! | `traffic n` | calls of each actor on each host between two heartbeats |
//! | `pause app`, `resume app`, `finalise app`, `retry app`, `rollback app [version]` | |
//! | `forbid app/actor A words` | policy refuses the actor on the host |
//! | `runs` | from now on hosts obey their specs, and report what they run, using what it reserves |
//! | `plan [failovers=n] [evictions=n] [moves=n] [parts=n]` | plans, checks, carries out |
//! | `go 60s` | time passes; after each round of heartbeats there is a plan: what it says, and when |
//! | `placed`, `hosts`, `judge`, `why app/actor`, `versions`, `status app` | show |

use crate::host::{Host, Nature, status};
use lattice_ctl_planner::observed::{HostView, Observed, Profile};
use lattice_ctl_planner::plan::{Planner, Policy};
use lattice_ctl_planner::{Scaling, Trials, edit};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::heartbeat::ActorStatus;
use lattice_protocol::manifest::ActorManifest;
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, AppName, HostId, HostSpec};
use std::collections::BTreeMap;

#[path = "parts.rs"]
mod parts;
#[path = "plans.rs"]
mod plans;
#[path = "show.rs"]
mod show;
use parts::Parts;
use show::said;

#[derive(Debug, Default)]
struct Forbidden(BTreeMap<(ActorId, HostId), String>);

impl Policy for Forbidden {
    fn refusal(&self, actor: &ActorId, _: &ActorManifest, host: &HostView<'_>) -> Option<String> {
        self.0.get(&(actor.clone(), host.id.clone())).cloned()
    }
}

pub struct World {
    observed: Observed,
    hosts: BTreeMap<String, Host>,
    parts: BTreeMap<String, Parts>,
    desired: BTreeMap<AppName, DesiredApp>,
    placements: BTreeMap<AppName, Placement>,
    revisions: BTreeMap<AppName, u64>,
    specs: BTreeMap<HostId, HostSpec>,
    trials: Trials,
    scaling: Scaling,
    /// Kept from plan to plan, with what it has seen of each application.
    planner: Option<(Planner, Records)>,
    /// Calls that are offered to each actor at once.
    loads: BTreeMap<ActorId, u32>,
    /// Messages that wait for each actor.
    lags: BTreeMap<ActorId, u64>,
    natures: BTreeMap<String, Nature>,
    traffic: u64,
    forbidden: Forbidden,
    runs: bool,
    now_ms: u64,
}

type Records = BTreeMap<AppName, (Option<DesiredApp>, Option<Placement>)>;

impl Default for World {
    fn default() -> Self {
        Self {
            observed: Observed::new(Profile::EDGE, 0),
            hosts: BTreeMap::new(),
            parts: BTreeMap::new(),
            desired: BTreeMap::new(),
            placements: BTreeMap::new(),
            revisions: BTreeMap::new(),
            specs: BTreeMap::new(),
            trials: Trials::default(),
            scaling: Scaling::default(),
            planner: None,
            loads: BTreeMap::new(),
            lags: BTreeMap::new(),
            natures: BTreeMap::new(),
            traffic: 0,
            forbidden: Forbidden::default(),
            runs: false,
            now_ms: 0,
        }
    }
}

impl World {
    /// Runs one command; its answer, line by line.
    pub fn run(&mut self, command: &str) -> Vec<String> {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match verb {
            "profile" => self.profile(rest),
            "host" => self.host(words[0], &words[1..]),
            "silent" => self.each(rest, |host| host.silent = true),
            "heard" => self.each(rest, |host| host.silent = false),
            "leave" => self.each(rest, |host| host.beat.leaving = true),
            "restart" => self.each(rest, Host::restart),
            "refuse" => {
                let actor: ActorId = words[1].parse().unwrap();
                self.each(words[0], |host| {
                    host.refuses.insert(actor.clone());
                });
            }
            "room" => self.each(words[0], |host| host.room_mib = Some(words[1].parse().unwrap())),
            "after" => self.after(rest),
            "actor" => self.part(rest, |parts| &mut parts.actors),
            "provider" => self.part(rest, |parts| &mut parts.providers),
            "undeploy" => {
                let app = self.desired.get_mut(&rest.parse::<AppName>().unwrap()).unwrap();
                app.deployed = false;
                app.stamp("", 0, "undeploy");
            }
            "rollout" => {
                let (app, text) = rest.split_once(' ').unwrap();
                let parts = self.parts.entry(app.to_owned()).or_default();
                parts.rollout = Some(text.to_owned());
                if !parts.actors.is_empty() {
                    self.put(app);
                }
            }
            "version" => self.version(words[0], words[1]),
            "drop" => {
                let parts = self.parts.get_mut(words[0]).unwrap();
                parts.actors.remove(words[1]).unwrap();
            }
            "load" => drop(self.loads.insert(words[0].parse().unwrap(), words[1].parse().unwrap())),
            "lag" => drop(self.lags.insert(words[0].parse().unwrap(), words[1].parse().unwrap())),
            "traffic" => self.traffic = rest.parse().unwrap(),
            "pause" | "resume" | "retry" | "finalise" | "rollback" => return self.order(verb, &words),
            "forbid" => {
                let key = (words[0].parse().unwrap(), words[1].parse().unwrap());
                self.forbidden.0.insert(key, words[2..].join(" "));
                // A planner is kept for as long as the policy is the same.
                self.planner = None;
            }
            "runs" => {
                self.runs = true;
                self.beat_all();
            }
            "plan" => return self.plan(&words),
            "judge" => return self.judge(),
            "placed" => return self.placed(),
            "hosts" => return self.show_hosts(),
            "why" => return self.why(rest),
            "go" => return self.go(rest),
            "versions" => return self.versions(),
            "status" => return self.status(rest),
            other => panic!("no such command: {other}"),
        }
        Vec::new()
    }

    fn profile(&mut self, name: &str) {
        let profile = match name {
            "fast" => Profile::FAST,
            "wan" => Profile::WAN,
            "edge" => Profile::EDGE,
            other => panic!("no such profile: {other}"),
        };
        assert!(self.hosts.is_empty(), "a profile comes first");
        self.observed = Observed::new(profile, self.now_ms);
    }

    fn each(&mut self, names: &str, mut change: impl FnMut(&mut Host)) {
        for name in names.split(',') {
            change(self.hosts.get_mut(name).unwrap_or_else(|| panic!("no such host: {name}")));
        }
        self.beat_all();
    }

    fn host(&mut self, names: &str, says: &[&str]) {
        for name in names.split(',') {
            let host = self.hosts.entry(name.to_owned()).or_insert_with(|| Host::new(name));
            for word in says {
                let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("key=value: {word}"));
                host.say(key, value);
            }
            let name = name.to_owned();
            self.beat(&name);
        }
    }

    fn beat_all(&mut self) {
        for name in self.hosts.keys().cloned().collect::<Vec<_>>() {
            self.beat(&name);
        }
    }

    fn beat(&mut self, name: &str) {
        let host = self.hosts.get_mut(name).unwrap();
        if host.silent {
            return;
        }
        host.beat.seq += 1;
        let mut beat = host.beat.clone();
        beat.load = host.base;
        if self.runs {
            beat.apps = host.spec.as_ref().map(|spec| spec.apps.clone()).unwrap_or_default();
            for status in host.obey(&self.natures, self.traffic) {
                let need = self
                    .desired
                    .get(&status.id.app)
                    .and_then(|app| app.application.actor(&status.id.name))
                    .map(|actor| actor.placement.resources)
                    .unwrap_or_default();
                let (cpu, memory) = (need.cpu_millis * status.replicas, need.memory_mib * status.replicas);
                beat.load.cpu_used_millis += cpu;
                beat.load.memory_used_mib += memory;
                let all: u32 = self
                    .placements
                    .get(&status.id.app)
                    .and_then(|placement| placement.actors.get(&status.id))
                    .map_or(0, |hosts| hosts.values().sum());
                let offered = self.loads.get(&status.id).copied().unwrap_or(0);
                let here = (offered * status.replicas).div_ceil(all.max(1));
                let in_flight = here.min(4 * status.replicas);
                let lag = self.lags.get(&status.id).copied();
                beat.actors.push(ActorStatus {
                    cpu_used_millis: cpu,
                    memory_used_mib: memory,
                    in_flight,
                    queued: here - in_flight,
                    lag,
                    ..status
                });
            }
        }
        for actor in &host.refuses {
            beat.actors.push(status(actor, 1, (0, 0), Some("insufficient resources: by my own account")));
        }
        self.observed.apply(beat, self.now_ms);
    }

    fn after(&mut self, span: &str) {
        let ms = match span.strip_suffix("ms") {
            Some(ms) => ms.parse::<u64>().unwrap(),
            None => span.strip_suffix('s').unwrap().parse::<u64>().unwrap() * 1_000,
        };
        let (end, interval) = (self.now_ms + ms, self.observed.profile().interval_ms);
        while self.now_ms + interval <= end {
            self.now_ms += interval;
            self.beat_all();
        }
        self.now_ms = end;
    }

    fn part(&mut self, rest: &str, which: impl Fn(&mut Parts) -> &mut BTreeMap<String, String>) {
        let (app, text) = rest.split_once(' ').unwrap();
        let name = text.split_once("name: ").unwrap().1;
        let name = name.split([',', ' ', '}']).next().unwrap();
        let parts = self.parts.entry(app.to_owned()).or_default();
        which(parts).insert(name.to_owned(), text.to_owned());
        self.put(app);
    }

    /// Puts the application's manifest as it is now.
    fn put(&mut self, app: &str) {
        let Some(application) = self.parts.get(app).map(|parts| parts.application(app)) else { return };
        let artifacts = application.actors.iter().map(|actor| {
            let digest = format!("sha256:{}", actor.artifact.trim_end_matches(".wasm")).into();
            (ActorId::new(application.name.clone(), actor.name.clone()), Artifact { digest, size: 1 })
        });
        let name = application.name.clone();
        let record = self.desired.entry(name.clone()).or_insert_with(|| DesiredApp::empty(name));
        record.artifacts = artifacts.collect();
        record.application = application.clone();
        record.deployed = true;
        (record.rollout.paused, record.rollout.finalise) = (false, false);
        record.stamp("", 0, "put");
    }

    fn version(&mut self, name: &str, nature: &str) {
        let nature = match nature {
            "well" => None,
            "crashes" => Some(Nature::Crashes),
            "refuses" => Some(Nature::Refuses),
            "hangs" => Some(Nature::Hangs),
            other => Some(match other.strip_prefix("takes=") {
                Some(ms) => Nature::Slow(ms.parse().unwrap()),
                None => Nature::Errors(other.strip_prefix("errors=").unwrap().parse().unwrap()),
            }),
        };
        let digest = format!("sha256:{name}");
        match nature {
            Some(nature) => drop(self.natures.insert(digest, nature)),
            None => drop(self.natures.remove(&digest)),
        }
    }

    /// Somebody orders something about a rollout.
    fn order(&mut self, verb: &str, words: &[&str]) -> Vec<String> {
        let app: AppName = words[0].parse().unwrap();
        let (record, placement) = (&self.desired[&app], self.placements.get(&app));
        let edited = match verb {
            "pause" => edit::pause(record, placement),
            "resume" | "retry" => edit::resume(record, placement),
            "finalise" => edit::finalise(record, placement),
            _ => edit::rollback(record, words.get(1).map(|version| version.parse().unwrap())),
        };
        match edited {
            Ok(edited) => {
                let mut record = edited.record;
                record.stamp("", 0, &edited.change);
                self.desired.insert(app, record);
                Vec::new()
            }
            Err(report) => vec![report.to_string()],
        }
    }

    /// Time passes; each round of heartbeats is planned from. Only what is said is shown.
    fn go(&mut self, span: &str) -> Vec<String> {
        let begun = self.now_ms;
        let end = begun + span.strip_suffix('s').unwrap().parse::<u64>().unwrap() * 1_000;
        let interval = self.observed.profile().interval_ms;
        let mut lines = Vec::new();
        while self.now_ms < end {
            self.now_ms += interval;
            self.beat_all();
            let said = self.plan(&[]);
            let at = (self.now_ms - begun) / 1_000;
            let news = said.into_iter().filter(|line| line != "nothing changes");
            lines.extend(news.map(|line| format!("{at:>3} s  {line}")));
        }
        lines
    }

    /// The decision in force about an application that was planned.
    pub fn placement(&self, app: &str) -> &Placement {
        &self.placements[&app.parse::<AppName>().unwrap()]
    }

    /// The component that each host was told to run.
    pub fn told(&self, actor: &str) -> BTreeMap<HostId, String> {
        let id: ActorId = actor.parse().unwrap();
        let of_host = |(host, spec): (&HostId, &HostSpec)| {
            let actor = spec.actors.iter().find(|actor| actor.id == id)?;
            Some((host.clone(), actor.artifact.digest.to_string()))
        };
        self.specs.iter().filter_map(of_host).collect()
    }
}
