//! The host spec: everything one host shall run, whole, with a generation. A host keeps the newest
//! it has verified, persists it, and reconciles to it; lost, repeated or reordered deliveries are
//! harmless because a spec is never a difference.

use crate::digest::ArtifactDigest;
use crate::link::LinkDefinition;
use crate::name::{ActorId, AppName, HostId, LatticeName, ProviderId};
use crate::persistent::Persistent;
use crate::rollout::Check;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a spec's signature is made over (domain separation).
pub const HOST_SPEC_KIND: &str = "host-spec";

/// Order of specs: a lattice restored from a backup starts a new incarnation by a signed act.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation {
    /// Which life of the lattice.
    pub incarnation: u64,
    /// Grows with every spec for this host.
    pub n: u64,
}

impl std::fmt::Display for Generation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.incarnation, self.n)
    }
}

/// Everything one host shall run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSpec {
    /// The lattice it belongs to.
    pub lattice: LatticeName,
    /// The host it is for.
    pub host: HostId,
    /// Its place in order.
    pub generation: Generation,
    /// The placement revision of each application that it was derived from.
    pub apps: BTreeMap<AppName, u64>,
    /// Actors, by id.
    pub actors: Vec<ActorSpec>,
    /// Providers, by id.
    pub providers: Vec<ProviderSpec>,
    /// Links of these actors.
    pub links: Vec<LinkDefinition>,
}

impl HostSpec {
    /// A spec of nothing.
    #[must_use]
    pub fn empty(lattice: LatticeName, host: HostId) -> Self {
        Self {
            lattice,
            host,
            generation: Generation::default(),
            apps: BTreeMap::new(),
            actors: Vec::new(),
            providers: Vec::new(),
            links: Vec::new(),
        }
    }
}

/// How instances of an actor are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "mode")]
pub enum InstancePolicy {
    /// A new instance for every call: nothing outlives it. The default.
    #[default]
    PerCall,
    /// Instances are kept and used again: the author vouches that no caller's data stays in memory.
    Warm {
        /// Calls before an instance is replaced.
        #[serde(default = "Warm::max_calls")]
        max_calls: u32,
        /// Calls one instance serves at once; above 1 only WASI 0.3 components.
        #[serde(default = "Warm::max_concurrency")]
        max_concurrency: u32,
        /// Idle time after which an instance is dropped, milliseconds.
        #[serde(default = "Warm::idle_ms")]
        idle_ms: u64,
    },
}

impl InstancePolicy {
    /// Warm, with the defaults.
    #[must_use]
    pub fn warm() -> Self {
        Self::Warm {
            max_calls: Warm::max_calls(),
            max_concurrency: Warm::max_concurrency(),
            idle_ms: Warm::idle_ms(),
        }
    }
}

struct Warm;
impl Warm {
    fn max_calls() -> u32 {
        10_000
    }
    fn max_concurrency() -> u32 {
        1
    }
    fn idle_ms() -> u64 {
        30_000
    }
}

/// What one instance may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of one instance, bytes.
    pub memory_bytes: u64,
    /// Elements of one table.
    pub table_elements: u32,
    /// Longest call, milliseconds.
    pub call_ms: u64,
    /// Calls of this actor at once on one host; more wait, then are refused.
    pub concurrency: u32,
    /// Calls that may wait.
    pub queue: u32,
    /// Largest request or response body, bytes.
    pub body_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: 10_000,
            call_ms: 30_000,
            concurrency: 256,
            queue: 1_024,
            body_bytes: 1 << 20,
        }
    }
}

/// Components and modules within each other, at most.
pub const MAX_COMPONENT_NESTING: u32 = 64;

/// Where the bytes of a component come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// `sha256:<hex>` of the whole signed file.
    pub digest: ArtifactDigest,
    /// Size of the file, bytes.
    pub size: u64,
}

/// One actor on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActorSpec {
    /// Who.
    pub id: ActorId,
    /// The signed component.
    pub artifact: Artifact,
    /// Replicas of the application's total that are placed here; each adds its concurrency.
    pub replicas: u32,
    /// Reuse.
    #[serde(default)]
    pub instances: InstancePolicy,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
    /// What makes it a kind of persistent actors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent: Option<Box<Persistent>>,
    /// Values of `wasi:config`.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// On trial: its rollout is not final. The host holds it against its memory of revisions and
    /// does not raise that memory, so that the version before can come back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trial: bool,
    /// What the host asks of it while it is on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<Check>>,
    /// A component to make ready beside the running one: fetched, verified, compiled, not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Box<Artifact>>,
}

impl ActorSpec {
    /// One replica of a component, with every default.
    #[must_use]
    pub fn new(id: ActorId, artifact: Artifact) -> Self {
        Self {
            id,
            artifact,
            replicas: 1,
            instances: InstancePolicy::default(),
            limits: Limits::default(),
            persistent: None,
            config: BTreeMap::new(),
            trial: false,
            check: None,
            staged: None,
        }
    }
}

/// How a provider runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "run")]
pub enum ProviderMode {
    /// Built into the host, in its process.
    #[default]
    InProcess,
    /// A process of its own, which the host starts, watches and ends.
    Process,
    /// Somewhere in the lattice, run by somebody else: `trellis provider run`.
    Remote,
}

impl ProviderMode {
    /// Every mode by the word that manifests have for it.
    pub const WORDS: [(&'static str, Self); 3] =
        [("in-process", Self::InProcess), ("process", Self::Process), ("remote", Self::Remote)];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::Process => "process",
            Self::Remote => "remote",
        }
    }
}

/// One provider on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSpec {
    /// Who.
    pub id: ProviderId,
    /// Which implementation: `http-server`, `keyvalue-redis`, …
    pub kind: String,
    /// In the host's process, in one of its own, or elsewhere.
    #[serde(default)]
    pub mode: ProviderMode,
    /// Its configuration.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}
