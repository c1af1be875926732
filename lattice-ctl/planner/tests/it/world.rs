//! The lattice of a scenario, and the commands it understands.
//!
//! | command | does |
//! |---|---|
//! | `profile fast\|wan\|edge` | when silence counts |
//! | `host A,B key=value…` | hosts say this: labels, and `cpu=used/all mem=used/all actors=n arch= kinds=a,b cached=x,y errors=n latency.<region>=ms` |
//! | `silent A,B`, `heard A,B` | they stop, or begin again, to send heartbeats |
//! | `leave A`, `restart A` | it says that it leaves; it starts again |
//! | `refuse A app/actor` | it says that it has no room for the actor |
//! | `after 30s` | time passes; who is not silent sends heartbeats |
//! | `actor app { … }`, `provider app { … }` | as in a manifest |
//! | `undeploy app` | |
//! | `forbid app/actor A words` | policy refuses the actor on the host |
//! | `runs` | from now on hosts report what is placed on them as running, using what it reserves |
//! | `plan [failovers=n] [evictions=n] [moves=n]` | plans, checks, carries out |
//! | `placed`, `hosts`, `judge`, `why app/actor` | show |

use lattice_ctl_planner::check;
use lattice_ctl_planner::observed::{HostView, Observed, Profile};
use lattice_ctl_planner::plan::{self, Allowance, Input, Plan, Policy};
use lattice_protocol::desired::{DesiredApp, Placement, Verdict};
use lattice_protocol::heartbeat::{ActorStatus, Heartbeat, Load, RunState};
use lattice_protocol::manifest::{self, ActorManifest};
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, AppName, HostId};
use std::collections::{BTreeMap, BTreeSet};

/// One host: what it says, and whether it is heard.
struct Host {
    beat: Heartbeat,
    silent: bool,
    /// Used by others than what is placed here.
    base: Load,
    boots: u32,
    refuses: BTreeSet<ActorId>,
}

/// What an application is made of, as it was typed.
#[derive(Default)]
struct Parts {
    actors: BTreeMap<String, String>,
    providers: BTreeMap<String, String>,
    version: u64,
}

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
    forbidden: Forbidden,
    runs: bool,
    now_ms: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            observed: Observed::new(Profile::EDGE, 0),
            hosts: BTreeMap::new(),
            parts: BTreeMap::new(),
            desired: BTreeMap::new(),
            placements: BTreeMap::new(),
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
            "after" => self.after(rest),
            "actor" => self.part(rest, |parts| &mut parts.actors),
            "provider" => self.part(rest, |parts| &mut parts.providers),
            "undeploy" => {
                let app = self.desired.get_mut(&rest.parse::<AppName>().unwrap()).unwrap();
                (app.deployed, app.version) = (false, app.version + 1);
            }
            "forbid" => {
                let key = (words[0].parse().unwrap(), words[1].parse().unwrap());
                self.forbidden.0.insert(key, words[2..].join(" "));
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
        let id: HostId = name.parse().unwrap();
        host.beat.seq += 1;
        let mut beat = host.beat.clone();
        beat.load = host.base;
        if self.runs {
            for (actor, replicas, manifest) in placed_on(&self.placements, &self.desired, &id) {
                let need = manifest.placement.resources;
                let (cpu, memory) = (need.cpu_millis * replicas, need.memory_mib * replicas);
                beat.load.cpu_used_millis += cpu;
                beat.load.memory_used_mib += memory;
                beat.actors.push(status(&actor, replicas, (cpu, memory), None));
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
        parts.version += 1;
        let application = parts.application(app);
        let artifacts = application.actors.iter().map(|actor| {
            let digest = format!("sha256:{}", actor.artifact.trim_end_matches(".wasm"));
            (ActorId::new(application.name.clone(), actor.name.clone()), Artifact { digest, size: 1 })
        });
        let record = DesiredApp {
            version: parts.version,
            deployed: true,
            artifacts: artifacts.collect(),
            application: application.clone(),
            at_unix_ms: 0,
            by: String::new(),
            history: Vec::new(),
        };
        self.desired.insert(record.application.name.clone(), record);
    }

    fn input(&self, allowance: Allowance) -> Input<'_> {
        Input {
            desired: self.desired.iter().collect(),
            placements: self.placements.iter().collect(),
            observed: &self.observed,
            now_ms: self.now_ms,
            seed: 1,
            policy: &self.forbidden,
            allowance,
        }
    }

    fn plan(&mut self, words: &[&str]) -> Vec<String> {
        let mut allowance = Allowance::default();
        for word in words {
            let (key, number) = word.split_once('=').unwrap();
            let number = number.parse().unwrap();
            match key {
                "failovers" => allowance.failovers = number,
                "evictions" => allowance.evictions = number,
                "moves" => allowance.moves = number,
                other => panic!("no such allowance: {other}"),
            }
        }
        let input = self.input(allowance);
        let plan = plan::plan(&input);
        assert_eq!(check(&input, &plan), [], "{plan:#?}");
        assert_eq!(plan::plan(&input), plan, "deterministic");
        let said = said(&plan);
        for app in &plan.removed {
            self.placements.remove(app);
        }
        self.placements.extend(plan.changed);
        if words.is_empty() {
            let again = plan::plan(&self.input(allowance));
            assert_eq!((again.changed, again.removed), (BTreeMap::new(), vec![]), "nothing is left to do");
        }
        self.beat_all();
        said
    }

    fn placed(&self) -> Vec<String> {
        let actors = self.placements.values().flat_map(|placement| &placement.actors);
        actors
            .map(|(actor, hosts)| {
                let hosts: Vec<String> =
                    hosts.iter().map(|(host, count)| format!("{host}={count}")).collect();
                format!("{actor}: {}", hosts.join(" "))
            })
            .collect()
    }

    fn show_hosts(&self) -> Vec<String> {
        let line = |view: HostView<'_>| {
            let unfit = view.unfit.map_or_else(|| "fit".to_owned(), |unfit| unfit.to_string());
            format!("[{}] {} - {unfit}", view.health(), view.id)
        };
        self.observed.views(self.now_ms).map(line).collect()
    }

    fn judge(&self) -> Vec<String> {
        let lost = self.observed.views(self.now_ms).filter(|view| view.verdict == Verdict::Lost);
        let reports = lost.map(|view| self.observed.timeout_report(view.id).to_string());
        let next = self.observed.next_change_ms(self.now_ms).map(|at| at - self.now_ms);
        let next = next.map(|ms| format!("next change in {ms} ms unless somebody is heard"));
        reports.chain(next).collect()
    }

    fn why(&self, actor: &str) -> Vec<String> {
        let input = self.input(Allowance::default());
        let found = plan::consider(&input, &actor.parse().unwrap());
        found.unwrap_or_default().iter().map(|host| format!("  {host}")).collect()
    }
}

impl Parts {
    fn application(&self, app: &str) -> manifest::Application {
        let list = |parts: &BTreeMap<String, String>, extra: bool| {
            let item = |(name, text): (&String, &String)| {
                let artifact = format!("{{ artifact: {name}.wasm, ");
                let text = if extra && !text.contains("artifact:") {
                    text.replacen('{', &artifact, 1)
                } else {
                    text.clone()
                };
                format!("    - {text}\n")
            };
            parts.iter().map(item).collect::<String>()
        };
        let text = format!(
            "apiVersion: trellis.dev/v1\nkind: Application\nmetadata: {{ name: {app} }}\nspec:\n  actors:\n{}  providers:\n{}",
            list(&self.actors, true),
            list(&self.providers, false)
        );
        let text = if self.providers.is_empty() { text.replace("  providers:\n", "") } else { text };
        let text = if self.actors.is_empty() { text.replace("  actors:\n", "") } else { text };
        manifest::parse(&text, "scenario").unwrap_or_else(|reports| panic!("{reports:#?}\n{text}"))
    }
}

impl Host {
    fn new(name: &str) -> Self {
        let base = Load { cpu_millis: 4_000, cpu_used_millis: 0, memory_mib: 2_048, memory_used_mib: 0 };
        let beat = Heartbeat {
            lattice: "prod".parse().unwrap(),
            host: name.parse().unwrap(),
            boot_id: "boot1".into(),
            seq: 0,
            interval_ms: 5_000,
            at_unix_ms: 0,
            version: "0.1.0".into(),
            arch: "aarch64".into(),
            labels: BTreeMap::new(),
            generation: Default::default(),
            apps: BTreeMap::new(),
            actors: Vec::new(),
            providers: Vec::new(),
            load: base,
            uptime_s: 1,
            errors: 0,
            leaving: false,
            kinds: Vec::new(),
            cached: Vec::new(),
            latency_ms: BTreeMap::new(),
        };
        Self { beat, silent: false, base, boots: 1, refuses: BTreeSet::new() }
    }

    fn restart(&mut self) {
        self.boots += 1;
        self.beat.boot_id = format!("boot{}", self.boots);
        (self.beat.seq, self.beat.leaving, self.beat.errors) = (0, false, 0);
        self.refuses.clear();
    }

    fn say(&mut self, key: &str, value: &str) {
        let pair = || {
            let (used, all) = value.split_once('/').unwrap_or_else(|| panic!("used/all: {value}"));
            (used.parse().unwrap(), all.parse().unwrap())
        };
        let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
        let beat = &mut self.beat;
        match key {
            "cpu" => (self.base.cpu_used_millis, self.base.cpu_millis) = pair(),
            "mem" => (self.base.memory_used_mib, self.base.memory_mib) = pair(),
            "actors" => {
                let others = 0..value.parse::<u32>().unwrap();
                let id = |n| format!("other/a{n}").parse().unwrap();
                beat.actors = others.map(|n| status(&id(n), 1, (0, 0), None)).collect();
            }
            "arch" => beat.arch = value.to_owned(),
            "kinds" => beat.kinds = list(),
            "cached" => beat.cached = list().iter().map(|name| format!("sha256:{name}")).collect(),
            "errors" => beat.errors = value.parse().unwrap(),
            other => match other.strip_prefix("latency.") {
                Some(region) => drop(beat.latency_ms.insert(region.to_owned(), value.parse().unwrap())),
                None => drop(beat.labels.insert(key.to_owned(), value.to_owned())),
            },
        }
    }
}

fn status(id: &ActorId, replicas: u32, (cpu, memory): (u32, u32), reason: Option<&str>) -> ActorStatus {
    ActorStatus {
        id: id.clone(),
        digest: format!("sha256:{}", id.name),
        claims: None,
        replicas,
        state: if reason.is_some() { RunState::Failed } else { RunState::Running },
        reason: reason.map(str::to_owned),
        calls: 0,
        errors: 0,
        cpu_ms: 0,
        cpu_used_millis: cpu,
        memory_used_mib: memory,
    }
}

fn placed_on<'a>(
    placements: &'a BTreeMap<AppName, Placement>,
    desired: &'a BTreeMap<AppName, DesiredApp>,
    host: &'a HostId,
) -> impl Iterator<Item = (ActorId, u32, &'a ActorManifest)> + 'a {
    let actors = placements.values().flat_map(|placement| &placement.actors);
    actors.filter_map(move |(actor, hosts)| {
        let manifest = desired.get(&actor.app)?.application.actor(&actor.name)?;
        Some((actor.clone(), *hosts.get(host)?, manifest))
    })
}

fn said(plan: &Plan) -> Vec<String> {
    if plan.explanation.is_empty() {
        return vec!["nothing changes".to_owned()];
    }
    let lines = plan.explanation.iter().flat_map(|step| {
        let reason = step.reason().map(|reason| format!("  because: {reason}"));
        std::iter::once(step.to_string()).chain(reason)
    });
    lines.collect()
}
