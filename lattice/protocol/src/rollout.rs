//! How a new version of an application comes into force: the rule in its manifest, and how far it
//! has come, which is a part of its placement.
//!
//! It stands in the placement and nowhere else, because a placement is *the* decision about an
//! application: whoever wins the compare-and-set decides also which hosts go next, two controllers
//! cannot run two rollouts, and a host's spec follows from one record. It carries the version
//! before whole ([`Base`]), so that going back needs no other record to be there.
//!
//! ```text
//!           new component                every host, every gate
//!  (none) ─────────────▶ Advancing ─────────────────────────────▶ (none), or Complete while
//!                         ▲ │  ▲ │                                somebody has to say so
//!                  resume │ ▼  │ │ a gate fails
//!                        Paused │ └──────▶ RolledBack ──▶ (none) when the version before is desired
//!                               └── another component, or resume
//! ```
//! Invariants: at most two versions of an application run; the one that was never final never
//! becomes the one to go back to.

mod check;

pub use check::{Ask, Check};

use crate::manifest::{ActorManifest, Application};
use crate::name::{ActorId, HostId};
use crate::persistent::Persistent;
use crate::spec::{Artifact, InstancePolicy, Limits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The manifest's `rollout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutPolicy {
    /// In which order hosts get the new version.
    pub strategy: Strategy,
    /// What a host must show before others follow.
    #[serde(default)]
    pub gate: Gate,
    /// Somebody has to say that it is final: until then the version before can come back.
    #[serde(default)]
    pub manual_finalise: bool,
}

impl RolloutPolicy {
    /// This strategy, with the usual gate.
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        Self { strategy, gate: Gate::default(), manual_finalise: false }
    }
}

/// In which order hosts get a new version. A host runs one version of an actor, and swaps it in
/// place: it loads the new one, then lets the old one finish. So shares are shares of hosts, and a
/// caller in the lattice reaches each host of an actor equally: a share of hosts is one of traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "kind")]
pub enum Strategy {
    /// A few at a time, the next as soon as one has passed its gate.
    Rolling {
        /// Replicas that may be without a passed gate at once; always one host at least.
        max_unavailable: Share,
        /// Replicas beyond those wanted that run meanwhile, with the new version.
        max_surge: Share,
    },
    /// In waves: so many percent of the hosts, each wave after the one before has passed; then all.
    Canary {
        /// Percent, rising, each 1 to 99.
        waves: Vec<u8>,
    },
    /// Prepared everywhere beside the running one, then switched everywhere by one decision.
    BlueGreen,
}

impl Strategy {
    /// Most waves.
    pub const MAX_WAVES: usize = 20;
    /// Seed 000's canary.
    pub const WAVES: [u8; 2] = [10, 50];

    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Rolling { .. } => "rolling",
            Self::Canary { .. } => "canary",
            Self::BlueGreen => "blue-green",
        }
    }

    /// The last wave's number: in it every host has the new version.
    #[must_use]
    pub fn last_wave(&self) -> u32 {
        match self {
            Self::Rolling { .. } => 0,
            Self::Canary { waves } => u32::try_from(waves.len()).unwrap_or(u32::MAX),
            Self::BlueGreen => 1,
        }
    }

    /// Hosts of `all` that have the new version in a wave. A canary's first wave has one at least.
    #[must_use]
    pub fn hosts_in(&self, wave: u32, all: usize) -> usize {
        match self {
            Self::Rolling { .. } => all,
            Self::BlueGreen => {
                if wave == 0 {
                    0
                } else {
                    all
                }
            }
            Self::Canary { waves } => {
                let percent = usize::try_from(wave).ok().and_then(|wave| waves.get(wave)).copied();
                percent.map_or(all, |percent| {
                    all.saturating_mul(percent.into()).div_ceil(100).clamp(1, all.max(1)).min(all)
                })
            }
        }
    }
}

/// A number, or a part of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Share {
    /// So many.
    Count(u32),
    /// Percent, 0 to 100.
    Percent(u8),
}

impl Share {
    /// How many of `all`, rounded down.
    #[must_use]
    pub fn at_most(self, all: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                u32::try_from(u64::from(all) * u64::from(percent) / 100).unwrap_or(u32::MAX)
            }
        }
    }

    /// How many of `all`, rounded up.
    #[must_use]
    pub fn at_least(self, all: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                u32::try_from((u64::from(all) * u64::from(percent)).div_ceil(100)).unwrap_or(u32::MAX)
            }
        }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Percent(percent) => write!(formatter, "{percent}%"),
        }
    }
}

/// What a host must show, by the controller's own clock, before others follow it. Figures are of
/// the new version on that host alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gate {
    /// Time that it runs without failing, milliseconds.
    pub window_ms: u64,
    /// Time within which it must run after it was told, milliseconds.
    pub deadline_ms: u64,
    /// Calls that may fail, percent.
    pub max_error_percent: u8,
    /// Calls from which a rate of errors counts before the window ends; at its end any number does.
    pub min_calls: u32,
    /// Times that it may stop running.
    pub max_restarts: u32,
    /// Longest latency, milliseconds, where hosts report it.
    pub max_latency_ms: Option<u32>,
    /// What it must answer well all that time; persistent actors are not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
}

impl Default for Gate {
    /// With these a version that fails is gone within a minute: the promise.
    fn default() -> Self {
        Self {
            window_ms: 10_000,
            deadline_ms: 30_000,
            max_error_percent: 5,
            min_calls: 20,
            max_restarts: 1,
            max_latency_ms: None,
            check: None,
        }
    }
}

/// What people order about the rollout of an application: a part of its desired record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutOrder {
    /// No further host gets the new version. One that fails is rolled back all the same.
    pub paused: bool,
    /// A complete one is final.
    pub finalise: bool,
    /// Counts up when a version that was rolled back shall be tried again.
    pub attempt: u32,
}

impl RolloutOrder {
    /// Is there nothing special?
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What an application was at one version: what can come back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// Its parts.
    pub application: Application,
    /// Its actors' components.
    pub artifacts: BTreeMap<ActorId, Artifact>,
}

impl Content {
    /// An actor of it.
    #[must_use]
    pub fn actor(&self, id: &ActorId) -> Option<&ActorManifest> {
        self.application.actor(&id.name)
    }

    /// What of an actor a restart is needed for.
    #[must_use]
    pub fn component(&self, id: &ActorId) -> Option<Component> {
        Some(Component::of(self.actor(id)?, self.artifacts.get(id)))
    }
}

/// What of an actor cannot change without a new start: its code, and how instances are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// The code; `None` while nothing was pushed.
    pub artifact: Option<Artifact>,
    /// Reuse.
    pub instances: InstancePolicy,
    /// Limits.
    pub limits: Limits,
    /// What makes it a kind of persistent actors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent: Option<Box<Persistent>>,
}

impl Component {
    /// Of an actor as it is written, with its code.
    #[must_use]
    pub fn of(manifest: &ActorManifest, artifact: Option<&Artifact>) -> Self {
        let (limits, persistent) = (manifest.limits.clone(), manifest.persistent.clone());
        Self { artifact: artifact.cloned(), instances: manifest.instances, limits, persistent }
    }
}

/// The version to go back to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Base {
    /// Which of the desired record.
    pub version: u64,
    /// What it was.
    pub content: Content,
}

/// How far a new version has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// The last version that was final.
    pub base: Base,
    /// How it stands.
    pub phase: Phase,
    /// Every actor that differs between the two.
    pub actors: BTreeMap<ActorId, Progress>,
    /// The [`RolloutOrder::attempt`] that it answers to.
    #[serde(default)]
    pub attempt: u32,
}

impl Rollout {
    /// Was the new version taken back?
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        matches!(self.phase, Phase::RolledBack { .. })
    }

    /// Does this host run (or is it told to run) the new version of an actor?
    #[must_use]
    pub fn is_updated(&self, actor: &ActorId, host: &HostId) -> bool {
        self.actors.get(actor).is_none_or(|progress| progress.updated.contains(host))
    }
}

/// How a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Phase {
    /// Hosts follow as gates pass.
    Advancing,
    /// Somebody has stopped it; what has the new version keeps it.
    Paused,
    /// Every host has the new version and every gate has passed; the one before can still come back.
    Complete,
    /// A gate has failed: every host has the version before.
    RolledBack {
        /// Which gate, where, in words.
        why: String,
    },
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Advancing => "advancing",
            Self::Paused => "paused",
            Self::Complete => "complete",
            Self::RolledBack { .. } => "rolled-back",
        }
    }
}

/// How far one actor has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What it shall become; `None`: it goes when the rollout is final.
    pub target: Option<Component>,
    /// The wave, from 0.
    pub wave: u32,
    /// Hosts that have, or were told to have, the new version.
    pub updated: BTreeSet<HostId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_has_its_part_of_the_hosts_and_a_canary_one_at_least() {
        let canary = Strategy::Canary { waves: vec![10, 50] };
        let hosts = |all| [0, 1, 2].map(|wave| canary.hosts_in(wave, all));
        assert_eq!(hosts(20), [2, 10, 20]);
        assert_eq!(hosts(11), [2, 6, 11]);
        assert_eq!(hosts(3), [1, 2, 3]);
        assert_eq!(hosts(1), [1, 1, 1]);
        assert_eq!(hosts(0), [0, 0, 0]);
        assert_eq!([0, 1].map(|wave| Strategy::BlueGreen.hosts_in(wave, 4)), [0, 4]);
    }

    #[test]
    fn shares_round_to_the_safe_side() {
        assert_eq!((Share::Percent(25).at_most(3), Share::Percent(25).at_least(3)), (0, 1));
        assert_eq!((Share::Percent(100).at_most(7), Share::Count(2).at_most(1)), (7, 2));
    }
}
