//! Which version of an actor a host is told.

use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::manifest::ActorManifest;
use lattice_protocol::rollout::{Progress, Rollout, Strategy};
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, HostId};

/// One version of one actor, for one host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Version<'a> {
    /// The actor as it is written in that version.
    pub manifest: &'a ActorManifest,
    /// Its component.
    pub artifact: &'a Artifact,
    /// It is not final.
    pub trial: bool,
    /// What the host shall make ready besides.
    pub staged: Option<&'a Artifact>,
}

/// The version for a host, by a decision; `None` when there is none, or it has no component.
#[must_use]
pub fn version_on<'a>(
    desired: &'a DesiredApp,
    placement: &'a Placement,
    id: &ActorId,
    host: &HostId,
) -> Option<Version<'a>> {
    let new = |trial| {
        let manifest = desired.application.actor(&id.name)?;
        Some(Version { manifest, artifact: desired.artifacts.get(id)?, trial, staged: None })
    };
    let Some(rollout) = placement.rollout.as_deref() else { return new(false) };
    let Some(progress) = rollout.actors.get(id) else { return new(false) };
    let old = || {
        let content = &rollout.base.content;
        let (manifest, artifact) = (content.actor(id)?, content.artifacts.get(id)?);
        Some(Version { manifest, artifact, trial: false, staged: staged(desired, rollout, (id, progress)) })
    };
    if rollout.is_rolled_back() || progress.target.is_none() {
        return old();
    }
    if progress.updated.contains(host) { new(true) } else { old().or_else(|| new(true)) }
}

fn staged<'a>(
    desired: &DesiredApp,
    rollout: &'a Rollout,
    (id, progress): (&ActorId, &'a Progress),
) -> Option<&'a Artifact> {
    let policy = desired.rollout_policy(id).filter(|policy| policy.strategy == Strategy::BlueGreen)?;
    let waits = !rollout.is_rolled_back() && progress.wave < policy.strategy.last_wave();
    progress.target.as_ref().filter(|_| waits)?.artifact.as_ref()
}
