//! The records of desired state and of the decision. One KV key each; written by
//! compare-and-set on the key's revision, so that a lost race is seen and never merged by chance.

use crate::manifest::{Application, Scale};
use crate::name::{ActorId, AppName};
use crate::places::Places;
use crate::rollout::{Base, Component, Content, Rollout, RolloutOrder, RolloutPolicy};
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
    /// What people order about the rollout of this version.
    #[serde(default, skip_serializing_if = "RolloutOrder::is_default")]
    pub rollout: RolloutOrder,
}

/// One version.
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
    /// What the application was, so that it can come back; only of the newest versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Box<Content>>,
}

impl DesiredApp {
    /// Versions kept.
    pub const MAX_HISTORY: usize = 20;
    /// Versions that can come back.
    pub const MAX_CONTENTS: usize = 10;
    /// Bytes of them all in JSON: the record must fit one message.
    pub const MAX_CONTENT_BYTES: usize = 384 << 10;

    /// A record of nothing: what an imperative command edits when there is none.
    #[must_use]
    pub fn empty(app: AppName) -> Self {
        Self {
            version: 0,
            deployed: true,
            application: Application::empty(app),
            artifacts: BTreeMap::new(),
            at_unix_ms: 0,
            by: String::new(),
            history: Vec::new(),
            rollout: RolloutOrder::default(),
        }
    }

    /// Marks the record as changed: the next version, by whom, when, and how. Its content joins the
    /// history; the oldest contents leave it when there are too many, or too much of them.
    pub fn stamp(&mut self, by: &str, now_unix_ms: u64, change: &str) {
        self.version = self.version.saturating_add(1);
        self.at_unix_ms = now_unix_ms;
        by.clone_into(&mut self.by);
        let content = Content { application: self.application.clone(), artifacts: self.artifacts.clone() };
        let entry = PastVersion {
            version: self.version,
            at_unix_ms: now_unix_ms,
            by: by.to_owned(),
            change: change.to_owned(),
            content: Some(Box::new(content)),
        };
        self.history.insert(0, entry);
        self.history.truncate(Self::MAX_HISTORY);
        let (mut kept, mut bytes) = (0, 0usize);
        for past in &mut self.history {
            let Some(content) = &past.content else { continue };
            let size = serde_json::to_vec(content).map_or(usize::MAX, |json| json.len());
            bytes = bytes.saturating_add(size);
            kept += 1;
            if kept > Self::MAX_CONTENTS || bytes > Self::MAX_CONTENT_BYTES {
                past.content = None;
            }
        }
    }

    /// What the application was at a version; `None` when that is not kept.
    #[must_use]
    pub fn past(&self, version: u64) -> Option<&Content> {
        self.history.iter().find(|past| past.version == version)?.content.as_deref()
    }

    /// What of an actor a restart is needed for.
    #[must_use]
    pub fn component(&self, id: &ActorId) -> Option<Component> {
        Some(Component::of(self.application.actor(&id.name)?, self.artifacts.get(id)))
    }

    /// How new versions of an actor come into force: its own rule, or else its application's.
    #[must_use]
    pub fn rollout_policy(&self, id: &ActorId) -> Option<&RolloutPolicy> {
        let own = self.application.actor(&id.name).and_then(|actor| actor.rollout.as_deref());
        own.or(self.application.rollout.as_ref())
    }

    /// This version as one to go back to.
    #[must_use]
    pub fn past_as_base(&self, version: u64) -> Option<Base> {
        Some(Base { version, content: self.past(version)?.clone() })
    }
}

/// Where in the store of desired records a decision was made from. Whoever has not seen so much of it
/// must not decide after it: the watches of two buckets are not in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The life of the lattice; revisions begin anew in the next.
    pub incarnation: u64,
    /// The KV revision of the desired record; 0 when it is not known.
    pub revision: u64,
}

impl Origin {
    /// Does it say nothing?
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.revision == 0
    }
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
    /// Where in the store that record is: versions begin anew when an application is deleted.
    #[serde(default, skip_serializing_if = "Origin::is_unknown")]
    pub origin: Origin,
    /// Replicas of each actor on each host.
    pub actors: BTreeMap<ActorId, Places>,
    /// Actors that could not be placed in full, and why, in words.
    #[serde(default)]
    pub unplaced: BTreeMap<ActorId, String>,
    /// Replicas of actors that scale by themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scaled: BTreeMap<ActorId, u32>,
    /// How far a new version has come; `None` when all of it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<Rollout>>,
}

impl Placement {
    /// Of nothing yet, planned from this version.
    #[must_use]
    pub fn empty(app: AppName, desired_version: u64) -> Self {
        let (actors, unplaced, scaled) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { app, desired_version, origin: Origin::default(), actors, unplaced, scaled, rollout: None }
    }

    /// How many of an actor there shall be: as it is written, or as its load wants it.
    #[must_use]
    pub fn scale(&self, id: &ActorId, written: Scale) -> Scale {
        match (written, self.scaled.get(id)) {
            (Scale::Replicas(_), Some(count)) => Scale::Replicas(*count),
            _ => written,
        }
    }
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
