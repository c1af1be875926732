//! The records of desired state and of the decision. One KV key each; written by
//! compare-and-set on the key's revision, so that a lost race is seen and never merged by chance.

use crate::manifest::Application;
use crate::name::{ActorId, AppName, HostId};
use crate::spec::Artifact;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one application shall be: KV key `<app>` in the desired bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredApp {
    /// Counts up with every change; shown to people.
    pub version: u64,
    /// Shall it run?
    pub deployed: bool,
    /// What was asked for.
    pub application: Application,
    /// Each actor's component, as it was pushed: tags are resolved when the manifest is put, so
    /// what runs can not change under a name.
    pub artifacts: BTreeMap<ActorId, Artifact>,
    /// Unix milliseconds of the change, for people.
    pub at_unix_ms: u64,
    /// Who made the change, for people.
    pub by: String,
    /// Earlier versions, newest first, at most [`DesiredApp::MAX_HISTORY`].
    #[serde(default)]
    pub history: Vec<PastVersion>,
}

/// One earlier version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastVersion {
    /// Which.
    pub version: u64,
    /// Unix milliseconds.
    pub at_unix_ms: u64,
    /// By whom.
    pub by: String,
    /// In words: `put`, `scale edge-processor 3`, …
    pub change: String,
}

impl DesiredApp {
    /// Versions kept.
    pub const MAX_HISTORY: usize = 20;
}

/// The decision: which host runs how many of what. KV key `<app>` in the placement bucket; its KV
/// revision is the application's revision in every host spec derived from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The application.
    pub app: AppName,
    /// The version of the desired record it was planned from.
    pub desired_version: u64,
    /// Replicas of each actor on each host.
    pub actors: BTreeMap<ActorId, BTreeMap<HostId, u32>>,
    /// Actors that could not be placed in full, and why, in words.
    #[serde(default)]
    pub unplaced: BTreeMap<ActorId, String>,
}

/// What a controller has concluded about a host: KV key `<host>` in the observed bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedHost {
    /// Verdict.
    pub verdict: Verdict,
    /// Last heartbeat.
    pub heartbeat: crate::heartbeat::Heartbeat,
    /// Unix milliseconds at the controller when the verdict changed, for people.
    pub since_unix_ms: u64,
    /// Why it is not alive, in words: `heartbeat timeout: 30000ms …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Liveness by the controller's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Heard of in time.
    Alive,
    /// Late.
    Suspect,
    /// Silent for the whole timeout.
    Lost,
    /// Said that it is leaving.
    Leaving,
    /// Silent together with its whole site: its uplink is down rather than itself.
    CutOff,
    /// Heard again after it was lost or had started anew, and held for a while.
    Rejoined,
}

impl Verdict {
    /// Seed 004's words: `HEALTHY`, `DEGRADED`, `UNHEALTHY`.
    #[must_use]
    pub fn health(self, errors: u64) -> &'static str {
        match self {
            Self::Alive if errors == 0 => "HEALTHY",
            Self::Alive | Self::Suspect | Self::Leaving | Self::Rejoined => "DEGRADED",
            Self::Lost | Self::CutOff => "UNHEALTHY",
        }
    }
}
