//! Components made ready beside running ones: fetched, verified, loaded, not started. A switch to one
//! of them is a swap then, on every host at once. One that is not wanted any more is dropped; one
//! that could not be made ready is tried again after a pause.
//!
//! ```text
//! wanted ─▶ Preparing ─▶ Ready ─▶ taken by the switch
//!            ▲   │
//!   a pause ─┘   └─▶ Failed
//! ```

use super::{Control, Event, Prepared};
use lattice_protocol::heartbeat::{NextComponent, NextState};
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, ActorSpec, ArtifactDigest, HostSpec, Report};
use std::collections::BTreeMap;

/// What is made ready, by actor. `T` is a component that is ready.
pub(crate) struct Staging<T> {
    by_actor: BTreeMap<ActorId, Staged<T>>,
}

/// One component, by the digest of its artifact.
struct Staged<T> {
    digest: ArtifactDigest,
    state: State<T>,
}

enum State<T> {
    Preparing,
    Ready(T),
    /// Why, and when it is tried again.
    Failed(Report, u64),
}

impl<T> Default for Staging<T> {
    fn default() -> Self {
        Self { by_actor: BTreeMap::new() }
    }
}

impl<T> Staging<T> {
    /// Drops what the spec asks for no more. What is to be begun now, and is preparing from here on.
    fn want(&mut self, spec: &HostSpec, now_ms: u64) -> Vec<(ActorId, Artifact)> {
        let wanted: BTreeMap<&ActorId, &Artifact> =
            spec.actors.iter().filter_map(|actor| Some((&actor.id, actor.staged.as_deref()?))).collect();
        self.by_actor
            .retain(|id, staged| wanted.get(id).is_some_and(|artifact| artifact.digest == staged.digest));
        let mut begun = Vec::new();
        for (id, artifact) in wanted {
            let is_due = self.by_actor.get(id).is_none_or(
                |staged| matches!(&staged.state, State::Failed(_, again_ms) if *again_ms <= now_ms),
            );
            if is_due {
                let staged = Staged { digest: artifact.digest.clone(), state: State::Preparing };
                self.by_actor.insert(id.clone(), staged);
                begun.push((id.clone(), artifact.clone()));
            }
        }
        begun
    }

    /// When the next one that failed is tried again.
    fn wake_at_ms(&self) -> Option<u64> {
        let again = self.by_actor.values().filter_map(|staged| match &staged.state {
            State::Failed(_, again_ms) => Some(*again_ms),
            State::Preparing | State::Ready(_) => None,
        });
        again.min()
    }

    /// One is ready, or was not to be had and is tried again at that time.
    fn ended(&mut self, id: &ActorId, digest: &str, result: Result<T, (Report, u64)>) {
        if let Some(staged) = self.by_actor.get_mut(id).filter(|staged| staged.digest == digest) {
            staged.state = match result {
                Ok(ready) => State::Ready(ready),
                Err((report, again_ms)) => State::Failed(report, again_ms),
            };
        }
    }

    /// The component that a switch leads to, if it was made ready.
    fn take(&mut self, spec: &ActorSpec) -> Option<T> {
        let staged = self.by_actor.get(&spec.id)?;
        let is_ready = matches!(staged.state, State::Ready(_));
        if !(spec.trial && is_ready && staged.digest == spec.artifact.digest) {
            return None;
        }
        match self.by_actor.remove(&spec.id)?.state {
            State::Ready(ready) => Some(ready),
            State::Preparing | State::Failed(..) => None,
        }
    }

    /// How the one of an actor stands.
    fn status(&self, id: &ActorId) -> Option<(&ArtifactDigest, NextState, Option<&Report>)> {
        let staged = self.by_actor.get(id)?;
        Some(match &staged.state {
            State::Preparing => (&staged.digest, NextState::Preparing, None),
            State::Ready(_) => (&staged.digest, NextState::Ready, None),
            State::Failed(report, _) => (&staged.digest, NextState::Failed, Some(report)),
        })
    }
}

impl Control {
    /// Begins what the spec asks for, drops what it asks for no more. When to look again.
    pub(super) fn stage(&mut self, spec: &HostSpec) -> Option<u64> {
        for (id, artifact) in self.staging.want(spec, self.now_ms()) {
            let digest = artifact.digest.clone();
            let load = self.load(artifact, true);
            let sender = self.sender.clone();
            self.parts.scope.spawn_best_effort("stage component", async move {
                let result = load.await;
                // A closed inbox means that the host is ending.
                let _ = sender.send(Event::Staged(id, digest, result)).await;
            });
        }
        self.staging.wake_at_ms()
    }

    /// The component that a switch leads to, if it was made ready.
    pub(super) fn take_staged(&mut self, spec: &ActorSpec) -> Option<Prepared> {
        self.staging.take(spec).map(|prepared| *prepared)
    }

    /// One is ready, or was not to be had.
    pub(super) fn staged(&mut self, id: &ActorId, digest: &str, result: Result<Prepared, Report>) {
        let result = result.map(Box::new).map_err(|report| {
            let again_ms = self.failed(format!("stage {id} {digest}"));
            tracing::warn!(actor = %id, digest, error = %report, "component not made ready: trying again");
            (report, again_ms)
        });
        self.staging.ended(id, digest, result);
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
            self.staging.status(id)?
        };
        let other = *digest != now.spec.artifact.digest;
        let reason = reason.map(ToString::to_string);
        other.then(|| NextComponent { digest: digest.clone(), state, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_protocol::ErrorCode;

    fn spec(digest: Option<&str>) -> HostSpec {
        let artifact = |digest: &str| Artifact { digest: digest.into(), size: 1 };
        let mut spec = HostSpec::empty("prod".parse().unwrap(), "A".parse().unwrap());
        let staged = digest.map(artifact).map(Box::new);
        spec.actors =
            vec![ActorSpec { staged, ..ActorSpec::new("shop/web".parse().unwrap(), artifact("old")) }];
        spec
    }

    fn state(staging: &Staging<()>) -> Option<NextState> {
        staging.status(&"shop/web".parse().unwrap()).map(|(_, state, _)| state)
    }

    #[test]
    fn what_could_not_be_made_ready_is_tried_again_when_it_is_time() {
        let (mut staging, id) = (Staging::<()>::default(), "shop/web".parse().unwrap());
        assert_eq!(staging.want(&spec(Some("new")), 0).len(), 1);
        assert_eq!(staging.want(&spec(Some("new")), 10), [], "it is under way");
        staging.ended(&id, "new", Err((Report::new(ErrorCode::Timeout, "not fetched"), 200)));
        assert_eq!((state(&staging), staging.wake_at_ms()), (Some(NextState::Failed), Some(200)));
        assert_eq!(staging.want(&spec(Some("new")), 199), [], "a pause first");
        assert_eq!(staging.want(&spec(Some("new")), 200).len(), 1);
        assert_eq!((state(&staging), staging.wake_at_ms()), (Some(NextState::Preparing), None));
        staging.ended(&id, "new", Ok(()));
        assert_eq!(state(&staging), Some(NextState::Ready));
        let switched =
            ActorSpec { trial: true, ..ActorSpec::new(id, Artifact { digest: "new".into(), size: 1 }) };
        assert_eq!((staging.take(&switched), staging.take(&switched)), (Some(()), None));
    }

    #[test]
    fn what_is_not_wanted_any_more_is_dropped_and_its_late_end_changes_nothing() {
        let (mut staging, id) = (Staging::<()>::default(), "shop/web".parse().unwrap());
        staging.want(&spec(Some("new")), 0);
        assert_eq!(staging.want(&spec(Some("newer")), 0).len(), 1);
        staging.ended(&id, "new", Ok(()));
        assert_eq!(state(&staging), Some(NextState::Preparing));
        assert_eq!(staging.want(&spec(None), 0), []);
        assert_eq!(state(&staging), None);
    }
}
