//! The checked form of a manifest: what desired state holds and the planner reads.

use crate::link::LinkDefinition;
use crate::name::{ActorName, AppName, HostId, ProviderName};
use crate::persistent::Persistent;
use crate::rollout::RolloutPolicy;
use crate::spec::{InstancePolicy, Limits, ProviderMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// Its name: unique in the lattice.
    pub name: AppName,
    /// The author's version, for people.
    #[serde(default)]
    pub version: String,
    /// In words.
    #[serde(default)]
    pub description: String,
    /// Free labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Actors, in the order written.
    pub actors: Vec<ActorManifest>,
    /// Providers, in the order written.
    pub providers: Vec<ProviderManifest>,
    /// How new versions come into force; `None`: everywhere at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutPolicy>,
}

impl Application {
    /// An application of nothing.
    #[must_use]
    pub fn empty(name: AppName) -> Self {
        Self {
            name,
            version: String::new(),
            description: String::new(),
            labels: BTreeMap::new(),
            actors: Vec::new(),
            providers: Vec::new(),
            rollout: None,
        }
    }
    /// The actor of this name.
    #[must_use]
    pub fn actor(&self, name: &ActorName) -> Option<&ActorManifest> {
        self.actors.iter().find(|actor| actor.name == *name)
    }
    /// The provider of this name.
    #[must_use]
    pub fn provider(&self, name: &ProviderName) -> Option<&ProviderManifest> {
        self.providers.iter().find(|provider| provider.name == *name)
    }
}

/// One actor of an application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActorManifest {
    /// Its name in the application.
    pub name: ActorName,
    /// Where the component comes from: a path, `file://…`, `oci://…`, or `sha256:…` in the lattice.
    pub artifact: String,
    /// How many.
    pub scale: Scale,
    /// Reuse of instances.
    #[serde(default)]
    pub instances: InstancePolicy,
    /// Limits of one instance and of the actor on one host.
    #[serde(default)]
    pub limits: Limits,
    /// What makes it a kind of persistent actors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent: Option<Box<Persistent>>,
    /// Values of `wasi:config`.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Where it may and should run.
    #[serde(default)]
    pub placement: PlacementRule,
    /// Its links.
    #[serde(default)]
    pub links: Vec<LinkDefinition>,
    /// How new versions of it come into force, if otherwise than its application's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<RolloutPolicy>>,
    /// How many of it there shall be at what load; then `scale` is the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Box<AutoScale>>,
}

impl ActorManifest {
    /// One replica of an artifact, with every default and no link.
    #[must_use]
    pub fn new(name: ActorName, artifact: impl Into<String>) -> Self {
        Self {
            name,
            artifact: artifact.into(),
            scale: Scale::Replicas(1),
            instances: InstancePolicy::default(),
            limits: Limits::default(),
            persistent: None,
            config: BTreeMap::new(),
            placement: PlacementRule::default(),
            links: Vec::new(),
            rollout: None,
            autoscale: None,
        }
    }
}

/// How many of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scale {
    /// This many in the lattice, 0 to 100 000.
    Replicas(u32),
    /// One on every host that the placement admits.
    Daemon,
}

impl Scale {
    /// Most replicas of one actor.
    pub const MAX_REPLICAS: u32 = 100_000;
}

/// How many of an actor there shall be at what load. `replicas` of the actor is the least: it is
/// kept warm whatever the load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoScale {
    /// What is measured.
    pub metric: Metric,
    /// How much of it one replica shall have.
    pub target: u32,
    /// Most replicas.
    pub max: u32,
    /// Time between two changes, and that a lower load must last before replicas go, milliseconds.
    pub cooldown_ms: u64,
    /// Most that all replicas together may reserve, if less than `max` of them would.
    pub budget: Option<Resources>,
}

impl AutoScale {
    /// Time between two changes, unless the manifest says otherwise.
    pub const COOLDOWN_MS: u64 = 30_000;
}

/// What automatic scaling goes by; all of an actor's replicas together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Calls being served, and those that wait.
    Concurrency,
    /// Calls that wait.
    Queue,
    /// Calls that end each second.
    Rate,
    /// Messages that wait in its streams.
    Lag,
}

impl Metric {
    /// Every metric by its word.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("concurrency", Self::Concurrency),
        ("queue", Self::Queue),
        ("rate", Self::Rate),
        ("lag", Self::Lag),
    ];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, metric)| *metric == self).map_or("", |(word, _)| word)
    }
}

/// Where an actor may and should run. Seed 004's `TaskSpec` in our words:
///
/// | there | here |
/// |---|---|
/// | `task_id` | the actor's id |
/// | `cpu_required`, `memory_required_mb` | `resources` |
/// | `preferred_region` (empty: any) | `preferred_region` |
/// | `priority` | `priority` |
/// | `max_latency_ms` | `max_latency_ms` |
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlacementRule {
    /// Labels a host must have.
    pub requirements: BTreeMap<String, String>,
    /// Hosts it is confined to; empty means any.
    pub hosts: Vec<HostId>,
    /// Shares over labelled groups; replicas divide by weight.
    pub spread: Vec<Spread>,
    /// Spread over as many hosts as possible (the default), or fill hosts up.
    pub pack: bool,
    /// Region to prefer; others are a fallback, best first.
    pub preferred_region: Option<String>,
    /// Longest round trip from the preferred region, milliseconds. A host that is known to be
    /// farther away gets nothing; one whose distance is not known is the last choice.
    pub max_latency_ms: Option<u32>,
    /// What one replica needs.
    pub resources: Resources,
    /// 0 to 255; higher goes first.
    pub priority: u8,
}

impl PlacementRule {
    /// Longest latency bound, milliseconds.
    pub const MAX_LATENCY_MS: u32 = 600_000;
}

/// One share of a spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Labels of the group.
    pub requirements: BTreeMap<String, String>,
    /// Its weight, 1 to 10 000.
    pub weight: u32,
}

impl Spread {
    /// Weight of a share that names none.
    pub const DEFAULT_WEIGHT: u32 = 100;
    /// Heaviest share.
    pub const MAX_WEIGHT: u32 = 10_000;
}

/// What one replica needs of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// MiB.
    pub memory_mib: u32,
}

/// One provider of an application: it runs on every host that runs an actor linked to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderManifest {
    /// Its name in the application.
    pub name: ProviderName,
    /// Which implementation.
    pub kind: String,
    /// Its configuration.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// In the host's process, or its own.
    #[serde(default)]
    pub mode: ProviderMode,
}
