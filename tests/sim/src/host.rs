//! A host: it accepts specs by the real rule, admits by the real rule, keeps what it accepted over
//! a crash, and says what it runs. Its capacity is memory; a replica needs its actor's limit.

use crate::apps;
use host_core::accept::{Verdict, accept};
use host_core::admit::{Capacity, admit_memory};
use lattice_protocol::heartbeat::{ActorStatus, Heartbeat, Load, NextComponent, NextState, RunState};
use lattice_protocol::{ActorId, ErrorCode, Generation, HostId, HostSpec, LatticeName};
use std::collections::BTreeMap;

/// Why a component that does not work does not run.
const CRASHES: &str = "E_CRASH_LOOPING: it crashes";

/// One host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Who.
    pub id: HostId,
    /// Is its process there?
    pub up: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// MiB.
    pub memory_mib: u32,
    /// What its clock shows too much or too little, milliseconds.
    pub clock_skew_ms: i64,
    /// How far its watch has come.
    pub cursor: u64,
    boot: u32,
    seq: u64,
    /// Was another spec of the generation in force offered last?
    conflicting: bool,
    /// Survives a crash.
    disk: Option<HostSpec>,
    running: BTreeMap<ActorId, u32>,
    refused: BTreeMap<ActorId, String>,
    /// The memory of revisions: survives a crash. A digest's length is its revision.
    marks: BTreeMap<ActorId, usize>,
    /// Components that it was asked to let in and that are older than its memory.
    older: u64,
}

impl Host {
    /// A host that has just started for the first time.
    #[must_use]
    pub fn new(id: HostId, labels: BTreeMap<String, String>, memory_mib: u32) -> Self {
        Self {
            id,
            up: true,
            labels,
            memory_mib,
            clock_skew_ms: 0,
            cursor: 0,
            boot: 1,
            seq: 0,
            conflicting: false,
            disk: None,
            running: BTreeMap::new(),
            refused: BTreeMap::new(),
            marks: BTreeMap::new(),
            older: 0,
        }
    }

    /// The spec in force.
    #[must_use]
    pub fn spec(&self) -> Option<&HostSpec> {
        self.disk.as_ref()
    }

    /// Replicas that run, by actor.
    #[must_use]
    pub fn running(&self) -> &BTreeMap<ActorId, u32> {
        &self.running
    }

    /// Its process ends.
    pub fn crash(&mut self) {
        self.up = false;
        self.running.clear();
    }

    /// Its process starts: it runs what is on its disk and watches from the beginning.
    pub fn start(&mut self) {
        self.up = true;
        self.boot += 1;
        self.seq = 0;
        self.cursor = 0;
        self.reconcile();
    }

    /// Takes a spec that has arrived, or refuses it. `Ok(true)` when it is in force now.
    ///
    /// # Errors
    /// A law that was broken: a generation that fell.
    pub fn offer(&mut self, lattice: &LatticeName, offered: HostSpec) -> Result<bool, String> {
        let before = self.generation();
        let verdict = accept(lattice, &self.id, self.disk.as_ref(), offered);
        self.conflicting = verdict.as_ref().is_err_and(|report| report.code == ErrorCode::Conflict);
        let accepted = match verdict {
            Ok(Verdict::Accepted { spec, .. }) => {
                self.disk = Some(*spec);
                self.reconcile();
                true
            }
            Ok(Verdict::Unchanged) | Err(_) => false,
        };
        if self.generation() < before {
            return Err(format!(
                "{} went back from generation {before:?} to {:?}",
                self.id,
                self.generation()
            ));
        }
        Ok(accepted)
    }

    fn generation(&self) -> Generation {
        self.disk.as_ref().map(|spec| spec.generation).unwrap_or_default()
    }

    /// Runs what the spec says, as far as there is room.
    fn reconcile(&mut self) {
        let capacity = Capacity { memory_bytes: u64::from(self.memory_mib) << 20, overcommit: 1 };
        self.running.clear();
        self.refused.clear();
        let mut admitted = Vec::new();
        for spec in self.disk.iter().flat_map(|spec| &spec.actors) {
            let revision = spec.artifact.digest.len();
            let mark = self.marks.entry(spec.id.clone()).or_default();
            if revision < *mark {
                self.older += 1;
                self.refused.insert(spec.id.clone(), "E_ROLLBACK".to_owned());
                continue;
            }
            if !spec.trial {
                *mark = revision;
            }
            match admit_memory(spec, admitted.iter().copied(), &capacity) {
                Ok(()) if apps::is_bad(&spec.artifact.digest) => {
                    self.refused.insert(spec.id.clone(), CRASHES.to_owned());
                }
                Ok(()) => {
                    admitted.push(spec);
                    self.running.insert(spec.id.clone(), spec.replicas);
                }
                Err(report) => drop(self.refused.insert(spec.id.clone(), report.to_string())),
            }
        }
    }

    /// How often it was told to run something older than it had let in for good.
    #[must_use]
    pub fn older(&self) -> u64 {
        self.older
    }

    /// Memory that its replicas need, MiB.
    #[must_use]
    pub fn used_mib(&self) -> u64 {
        let specs = self.disk.iter().flat_map(|spec| &spec.actors);
        let running = specs.filter(|spec| self.running.contains_key(&spec.id));
        running.map(|spec| (spec.limits.memory_bytes >> 20) * u64::from(spec.replicas)).sum()
    }

    /// The next heartbeat.
    pub fn beat(&mut self, lattice: &LatticeName, interval_ms: u64, now_ms: u64) -> Heartbeat {
        self.seq += 1;
        let used = u32::try_from(self.used_mib()).unwrap_or(u32::MAX);
        let actors = self.disk.iter().flat_map(|spec| &spec.actors).map(|spec| {
            let reason = self.refused.get(&spec.id).cloned();
            let staged = spec.staged.as_ref().map(|artifact| {
                Box::new(NextComponent {
                    digest: artifact.digest.clone(),
                    state: NextState::Ready,
                    reason: None,
                })
            });
            ActorStatus {
                state: match reason.as_deref() {
                    None => RunState::Running,
                    Some(CRASHES) => RunState::CrashLooping,
                    Some(_) => RunState::Failed,
                },
                reason,
                next: staged,
                memory_used_mib: u32::try_from(spec.limits.memory_bytes >> 20).unwrap_or(0) * spec.replicas,
                ..ActorStatus::running(spec.id.clone(), &spec.artifact.digest, spec.replicas)
            }
        });
        Heartbeat {
            seq: self.seq,
            interval_ms,
            at_unix_ms: now_ms.saturating_add_signed(self.clock_skew_ms),
            version: "sim".into(),
            arch: "aarch64".into(),
            labels: self.labels.clone(),
            generation: self.generation(),
            conflicting: self.conflicting,
            apps: self.disk.as_ref().map(|spec| spec.apps.clone()).unwrap_or_default(),
            actors: actors.collect(),
            load: Load {
                cpu_millis: 4_000,
                cpu_used_millis: 0,
                memory_mib: self.memory_mib,
                memory_used_mib: used.min(self.memory_mib),
            },
            ..Heartbeat::new(lattice.clone(), self.id.clone(), format!("{}-{}", self.id, self.boot))
        }
    }
}
