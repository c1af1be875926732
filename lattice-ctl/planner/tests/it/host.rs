//! A host of a scenario: what it says, and how it obeys its spec.

use lattice_protocol::heartbeat::{ActorStatus, Heartbeat, Load, NextComponent, NextState, RunState};
use lattice_protocol::{ActorId, ActorSpec, ArtifactDigest, HostSpec};
use std::collections::{BTreeMap, BTreeSet};

/// One host: what it says, and whether it is heard.
pub struct Host {
    pub beat: Heartbeat,
    pub silent: bool,
    /// Used by others than what is placed here.
    pub base: Load,
    pub boots: u32,
    pub refuses: BTreeSet<ActorId>,
    /// What it was told, and the component and counts of what it runs.
    pub spec: Option<HostSpec>,
    pub running: BTreeMap<ActorId, Run>,
    /// Memory that it promises to actors, MiB, whatever its heartbeats say; `None`: all that is asked for.
    pub room_mib: Option<u64>,
}

/// One actor on one host.
#[derive(Clone)]
pub struct Run {
    digest: ArtifactDigest,
    calls: u64,
    errors: u64,
    replicas: u32,
    /// Of all its replicas.
    mib: u64,
}

/// How a component behaves.
#[derive(Clone, Copy, PartialEq)]
pub enum Nature {
    Errors(u64),
    Crashes,
    Refuses,
    Hangs,
    /// Its calls take so many milliseconds.
    Slow(u32),
}

impl Host {
    pub fn new(name: &str) -> Self {
        let base = Load { cpu_millis: 4_000, cpu_used_millis: 0, memory_mib: 2_048, memory_used_mib: 0 };
        let beat = Heartbeat {
            interval_ms: 250,
            version: "0.1.0".into(),
            arch: "aarch64".into(),
            load: base,
            uptime_s: 1,
            ..Heartbeat::new("prod".parse().unwrap(), name.parse().unwrap(), "boot1")
        };
        let (spec, running) = (None, BTreeMap::new());
        let (refuses, room_mib) = (BTreeSet::new(), None);
        Self { beat, silent: false, base, boots: 1, refuses, spec, running, room_mib }
    }

    /// Runs what it was told, as a host does; what it says of it.
    pub fn obey(&mut self, natures: &BTreeMap<String, Nature>, traffic: u64) -> Vec<ActorStatus> {
        let actors = self.spec.as_ref().map(|spec| spec.actors.clone()).unwrap_or_default();
        self.running.retain(|id, _| actors.iter().any(|spec| spec.id == *id));
        let mut said = Vec::new();
        for spec in actors {
            let digest = spec.artifact.digest.clone();
            let nature = natures.get(&*digest).copied();
            let have = self.running.get(&spec.id).cloned();
            let next = |digest: &ArtifactDigest, state, reason: Option<&str>| {
                Some(Box::new(NextComponent {
                    digest: digest.clone(),
                    state,
                    reason: reason.map(str::to_owned),
                }))
            };
            if let Some(reason) = self.lacks_room(&spec) {
                // What runs goes on running.
                let replicas = have.as_ref().map_or(spec.replicas, |have| have.replicas);
                let mut status = ActorStatus::running(spec.id.clone(), &digest, replicas);
                status.reason = Some(reason);
                match have {
                    Some(have) => (status.calls, status.errors) = (have.calls, have.errors),
                    None => status.state = RunState::Failed,
                }
                said.push(status);
                continue;
            }
            let is_new = have.as_ref().is_none_or(|have| have.digest != digest);
            let failure = match nature.filter(|_| is_new) {
                Some(Nature::Refuses) => Some((NextState::Failed, Some("E_CLAIM: invalid claim: expired"))),
                Some(Nature::Hangs) => Some((NextState::Preparing, None)),
                _ => None,
            };
            let mut status = ActorStatus::running(spec.id.clone(), &digest, spec.replicas);
            if let Some((state, reason)) = failure {
                match &have {
                    Some(have) => {
                        status.digest = have.digest.clone();
                        (status.calls, status.errors) = (have.calls, have.errors);
                        status.next = next(&digest, state, reason);
                    }
                    None => {
                        let state = if reason.is_some() { RunState::Failed } else { RunState::Starting };
                        (status.state, status.reason) = (state, reason.map(str::to_owned));
                    }
                }
                said.push(status);
                continue;
            }
            let mut run =
                have.filter(|_| !is_new).unwrap_or(Run { digest, calls: 0, errors: 0, replicas: 0, mib: 0 });
            (run.replicas, run.mib) = (spec.replicas, demand_mib(&spec));
            if nature == Some(Nature::Crashes) {
                status.state = RunState::CrashLooping;
                status.reason = Some("E_TRAP: unreachable; 5 starts in 60 s".to_owned());
            } else {
                run.calls += traffic;
                match nature {
                    Some(Nature::Errors(percent)) => run.errors += traffic * percent / 100,
                    Some(Nature::Slow(ms)) if traffic > 0 => status.latency_ms = Some(ms),
                    _ => {}
                }
            }
            (status.calls, status.errors) = (run.calls, run.errors);
            if let Some(staged) = &spec.staged {
                let (state, reason) = match natures.get(&*staged.digest) {
                    Some(Nature::Refuses) => (NextState::Failed, Some("E_CLAIM: invalid claim: expired")),
                    Some(Nature::Hangs) => (NextState::Preparing, None),
                    _ => (NextState::Ready, None),
                };
                status.next = next(&staged.digest, state, reason);
            }
            self.running.insert(spec.id.clone(), run);
            said.push(status);
        }
        said
    }

    /// As `host_core::admit_memory` says it: the same actor among those that run does not count twice.
    fn lacks_room(&self, spec: &ActorSpec) -> Option<String> {
        let others: u64 = self.running.iter().filter(|(id, _)| **id != spec.id).map(|(_, run)| run.mib).sum();
        let (wanted, left) = (demand_mib(spec), self.room_mib?.saturating_sub(others));
        (wanted > left).then(|| {
            let reason = format!("insufficient resources: memory for {}", spec.id);
            format!("E_INSUFFICIENT_RESOURCES: {reason} (got {wanted} MiB, expected at most {left} MiB)")
        })
    }

    pub fn restart(&mut self) {
        self.boots += 1;
        self.beat.boot_id = format!("boot{}", self.boots);
        (self.beat.seq, self.beat.leaving, self.beat.errors) = (0, false, 0);
        self.refuses.clear();
        self.running.clear();
    }

    pub fn say(&mut self, key: &str, value: &str) {
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

pub fn status(id: &ActorId, replicas: u32, (cpu, memory): (u32, u32), reason: Option<&str>) -> ActorStatus {
    ActorStatus {
        state: if reason.is_some() { RunState::Failed } else { RunState::Running },
        reason: reason.map(str::to_owned),
        cpu_used_millis: cpu,
        memory_used_mib: memory,
        ..ActorStatus::running(id.clone(), format!("sha256:{}", id.name), replicas)
    }
}

/// One instance for each replica, MiB.
fn demand_mib(spec: &ActorSpec) -> u64 {
    (spec.limits.memory_bytes >> 20) * u64::from(spec.replicas)
}
