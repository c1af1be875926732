//! What a host says about itself, and how a receiver checks it. A heartbeat is a statement, not a
//! difference: the newest one replaces all before it.

use crate::digest::ArtifactDigest;
use crate::forwarding::Forwarding;
use crate::name::{ActorId, AppName, HostId, LatticeName, ProviderId};
use crate::spec::Generation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// State of one actor or provider on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Fetching, verifying, compiling.
    Starting,
    /// Serving.
    Running,
    /// Not serving; says why and when it is tried again.
    Failed,
    /// Failed often: tried again only slowly.
    CrashLooping,
}

/// One actor as it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActorStatus {
    /// Who.
    pub id: ActorId,
    /// Digest of the artifact that runs (or shall run).
    pub digest: ArtifactDigest,
    /// From the claims: subject key, name, version; absent until verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Arc<ClaimsSummary>>,
    /// Replicas placed here.
    pub replicas: u32,
    /// State.
    pub state: RunState,
    /// Why, when it is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Calls so far.
    pub calls: u64,
    /// Calls that failed.
    pub errors: u64,
    /// CPU time so far, milliseconds.
    #[serde(default)]
    pub cpu_ms: u64,
    /// CPU that all its replicas here use now, thousandths of a core; 0 when it is not known.
    #[serde(default)]
    pub cpu_used_millis: u32,
    /// Memory that all its replicas here use now, MiB; 0 when it is not known.
    #[serde(default)]
    pub memory_used_mib: u32,
    /// Calls being served now.
    #[serde(default)]
    pub in_flight: u32,
    /// Calls that wait.
    #[serde(default)]
    pub queued: u32,
    /// Messages that wait for it in its streams, on whichever host they will be handled, where that
    /// is known: every host of the actor says the same number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Slow calls lately (99 of 100 are faster), milliseconds, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u32>,
    /// The component that it shall have instead of `digest` and does not have yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Box<NextComponent>>,
    /// What it answered when its host asked it last, if the spec says that it is to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<Checked>>,
}

impl ActorStatus {
    /// Running, with nothing counted yet.
    #[must_use]
    pub fn running(id: ActorId, digest: impl Into<ArtifactDigest>, replicas: u32) -> Self {
        Self {
            id,
            digest: digest.into(),
            claims: None,
            replicas,
            state: RunState::Running,
            reason: None,
            calls: 0,
            errors: 0,
            cpu_ms: 0,
            cpu_used_millis: 0,
            memory_used_mib: 0,
            in_flight: 0,
            queued: 0,
            lag: None,
            latency_ms: None,
            next: None,
            check: None,
        }
    }
}

/// What came of an application's own check ([`crate::rollout::Check`]), of the component that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// It answered well.
    pub well: bool,
    /// What was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A component on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextComponent {
    /// Digest of its artifact.
    pub digest: ArtifactDigest,
    /// How it is.
    pub state: NextState,
    /// Why it cannot be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a component on its way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextState {
    /// Being fetched, verified, compiled.
    Preparing,
    /// Could run at once.
    Ready,
    /// Refused or not to be had.
    Failed,
}

/// What people want to see of claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimsSummary {
    /// Module key (`M…`).
    pub subject: String,
    /// Issuer account (`A…`).
    pub issuer: String,
    /// Name.
    pub name: String,
    /// Version for people.
    pub version: String,
    /// Monotone revision.
    pub revision: u64,
    /// Interfaces it may be linked to.
    pub capabilities: Vec<String>,
    /// Unix seconds, when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// One provider as it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderStatus {
    /// Who.
    pub id: ProviderId,
    /// Implementation.
    pub kind: String,
    /// State.
    pub state: RunState,
    /// Why, when it is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it listens, when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
}

/// Capacity and use of a host. CPU in thousandths of a core, memory in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Capacity.
    pub cpu_millis: u32,
    /// Use.
    pub cpu_used_millis: u32,
    /// Capacity.
    pub memory_mib: u32,
    /// Use.
    pub memory_used_mib: u32,
}

/// One heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Lattice.
    pub lattice: LatticeName,
    /// Host.
    pub host: HostId,
    /// Random per start of the process: two live ones with one host id are two machines.
    pub boot_id: String,
    /// Counts up from 1 within a boot.
    pub seq: u64,
    /// Time between heartbeats, milliseconds.
    pub interval_ms: u64,
    /// Unix milliseconds at the host, for people only: never compared.
    pub at_unix_ms: u64,
    /// Version of Trellis.
    pub version: String,
    /// Processor architecture.
    pub arch: String,
    /// Labels (`region=ap-east-1`).
    pub labels: BTreeMap<String, String>,
    /// Generation of the spec that it reconciles to.
    pub generation: Generation,
    /// It was offered another spec of that very generation, and keeps what it has until a newer one
    /// comes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conflicting: bool,
    /// Placement revisions in that spec.
    pub apps: BTreeMap<AppName, u64>,
    /// Actors.
    pub actors: Vec<ActorStatus>,
    /// Providers.
    pub providers: Vec<ProviderStatus>,
    /// Capacity and use.
    pub load: Load,
    /// Seconds since the process started.
    pub uptime_s: u64,
    /// Errors of the host itself since its start.
    pub errors: u64,
    /// The host says that it is leaving on purpose.
    #[serde(default)]
    pub leaving: bool,
    /// Kinds of providers that it can run in its process; empty when it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// What components have to be compiled for elsewhere, on a host that compiles nothing: `aarch64`, or
    /// `aarch64-128m` where its kernel has few addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_for: Option<String>,
    /// Digests of artifacts that it has besides those of its actors, at most
    /// [`Heartbeat::MAX_CACHED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cached: Vec<String>,
    /// Round trip to regions other than its own, milliseconds, where it is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latency_ms: BTreeMap<String, u32>,
    /// How far the journal of its pinned actors has come into the lattice; none when it has none, or does not
    /// forward it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Box<Forwarding>>,
}

impl Heartbeat {
    /// Most digests in [`Heartbeat::cached`].
    pub const MAX_CACHED: usize = 256;

    /// Of a host that runs nothing, has nothing, and says no more than who it is.
    #[must_use]
    pub fn new(lattice: LatticeName, host: HostId, boot_id: impl Into<String>) -> Self {
        Self {
            lattice,
            host,
            boot_id: boot_id.into(),
            seq: 0,
            interval_ms: 5_000,
            at_unix_ms: 0,
            version: String::new(),
            arch: String::new(),
            labels: BTreeMap::new(),
            generation: Generation::default(),
            conflicting: false,
            apps: BTreeMap::new(),
            actors: Vec::new(),
            providers: Vec::new(),
            load: Load { cpu_millis: 0, cpu_used_millis: 0, memory_mib: 0, memory_used_mib: 0 },
            uptime_s: 0,
            errors: 0,
            leaving: false,
            kinds: Vec::new(),
            code_for: None,
            cached: Vec::new(),
            latency_ms: BTreeMap::new(),
            forwarding: None,
        }
    }

    /// A label; for `arch`, and `hostcore.arch` as wasmCloud calls it, the architecture unless a
    /// label says otherwise.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        let implied = || matches!(key, "arch" | "hostcore.arch").then_some(self.arch.as_str());
        self.labels.get(key).map(String::as_str).or_else(implied)
    }

    /// Is the load a possible one? Seed 004's scheduler underflows on `used > capacity`; such a
    /// host is marked invalid and gets nothing.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        let load = &self.load;
        load.cpu_used_millis <= load.cpu_millis
            && load.memory_used_mib <= load.memory_mib
            && load.memory_mib > 0
    }
}
