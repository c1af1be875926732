//! Components made ready beside running ones: fetched, verified, loaded, not started. A switch to one
//! of them is a swap then, on every host at once. One that is not wanted any more is dropped.

use super::{Control, Event, Prepared};
use lattice_protocol::heartbeat::{NextComponent, NextState};
use lattice_protocol::{ActorId, ActorSpec, HostSpec, Report};
use std::collections::BTreeMap;

/// One component, by the digest of its artifact.
pub(crate) struct Staged {
    digest: String,
    state: State,
}

enum State {
    Preparing,
    Ready(Box<Prepared>),
    Failed(Report),
}

impl Control {
    /// Begins what the spec asks for, drops what it asks for no more.
    pub(super) fn stage(&mut self, spec: &HostSpec) {
        let wanted: BTreeMap<&ActorId, &ActorSpec> = spec
            .actors
            .iter()
            .filter(|actor| actor.staged.is_some())
            .map(|actor| (&actor.id, actor))
            .collect();
        let is_wanted = |id: &ActorId, staged: &Staged| {
            let artifact = wanted.get(id).and_then(|actor| actor.staged.as_ref());
            artifact.is_some_and(|artifact| artifact.digest == staged.digest)
        };
        self.staged.retain(|id, staged| is_wanted(id, staged));
        for (id, actor) in wanted {
            let Some(artifact) = actor.staged.clone().filter(|_| !self.staged.contains_key(id)) else {
                continue;
            };
            let digest = artifact.digest.clone();
            self.staged.insert(id.clone(), Staged { digest: digest.clone(), state: State::Preparing });
            let load = self.load(artifact, true);
            let (id, sender) = (id.clone(), self.sender.clone());
            self.parts.scope.spawn_best_effort("stage component", async move {
                let result = load.await;
                // A closed inbox means that the host is ending.
                let _ = sender.send(Event::Staged(id, digest, result)).await;
            });
        }
    }

    /// The component that a switch leads to, if it was made ready.
    pub(super) fn take_staged(&mut self, spec: &ActorSpec) -> Option<Prepared> {
        let staged = self.staged.get(&spec.id)?;
        let is_ready = matches!(staged.state, State::Ready(_));
        if !(spec.trial && is_ready && staged.digest == spec.artifact.digest) {
            return None;
        }
        match self.staged.remove(&spec.id)?.state {
            State::Ready(prepared) => Some(*prepared),
            State::Preparing | State::Failed(_) => None,
        }
    }

    /// One is ready, or is not to be had.
    pub(super) fn staged(&mut self, id: &ActorId, digest: &str, result: Result<Prepared, Report>) {
        let Some(staged) = self.staged.get_mut(id).filter(|staged| staged.digest == digest) else { return };
        staged.state = match result {
            Ok(prepared) => State::Ready(Box::new(prepared)),
            Err(report) => {
                tracing::warn!(actor = %id, digest, error = %report, "component not made ready");
                State::Failed(report)
            }
        };
    }

    /// The component that an actor shall have and does not have yet: one that it is being updated to,
    /// or one that is made ready beside it.
    pub(super) fn next_component(&self, id: &ActorId) -> Option<NextComponent> {
        let now = self.inventory.actors.get(id)?;
        let (digest, state, reason) = if let Some((refused, _)) = &now.refused {
            (&refused.artifact.digest, NextState::Failed, self.actor_failures.get(id))
        } else if let Some(next) = self.preparing.get(id) {
            (&next.artifact.digest, NextState::Preparing, None)
        } else {
            let staged = self.staged.get(id)?;
            match &staged.state {
                State::Preparing => (&staged.digest, NextState::Preparing, None),
                State::Ready(_) => (&staged.digest, NextState::Ready, None),
                State::Failed(report) => (&staged.digest, NextState::Failed, Some(report)),
            }
        };
        let other = *digest != now.spec.artifact.digest;
        let reason = reason.map(ToString::to_string);
        other.then(|| NextComponent { digest: digest.clone(), state, reason })
    }
}
