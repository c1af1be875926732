//! What the control loop tells everybody else after each round.

use super::Control;
use crate::measured::Asked;
use crate::wires::InboundBinding;
use host_actors::LatticeActors;
use host_core::reconcile::{ActorNow, Phase};
use host_runtime::Actor;
use keys::Claims;
use lattice_protocol::heartbeat::{ActorStatus, ClaimsSummary, ProviderStatus, RunState};
use lattice_protocol::rollout::Check;
use lattice_protocol::{ActorId, AppName, ErrorCode, Generation, Report};
use providers_sdk::Provider;
use providers_sdk::messaging::Subscription;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// What runs, as of the last round. Call counts are read from the actors when asked.
#[derive(Default, Clone)]
pub struct Snapshot {
    /// Generation in force.
    pub generation: Generation,
    /// Was another spec of that generation offered last?
    pub conflicting: bool,
    /// The host leaves, and nothing keeps it: all that could be elsewhere was taken from it.
    pub released: bool,
    /// Placement revisions in force.
    pub apps: BTreeMap<AppName, u64>,
    actors: Vec<Shown>,
    /// Providers.
    pub providers: Vec<ProviderStatus>,
    /// Errors of the host since its start.
    pub errors: u64,
}

/// One actor, and where its numbers are.
#[derive(Clone)]
struct Shown {
    status: ActorStatus,
    actor: Option<Arc<Actor>>,
    /// What has its shards, of a kind whose journals are in the lattice.
    shards: Option<LatticeActors>,
    /// What it is to be asked.
    check: Option<Box<Check>>,
    /// What its links hold at brokers. Not owned here: what is given back must end.
    subscriptions: Vec<Weak<dyn Subscription>>,
}

impl Snapshot {
    /// The actors, with their counts as they are now.
    #[must_use]
    pub fn actors(&self) -> Vec<ActorStatus> {
        let with_counts = |shown: &Shown| {
            let mut status = shown.status.clone();
            if let Some(actor) = &shown.actor {
                let stats = actor.stats();
                (status.calls, status.errors, status.cpu_ms) = (stats.calls, stats.errors, stats.cpu_ms);
                (status.in_flight, status.queued) = (stats.in_flight, stats.queued);
                status.latency_ms = stats.latency_ms;
                if stats.crash_looping && status.state == RunState::Running {
                    status.state = RunState::CrashLooping;
                    let why = "fails at every call: called less and less often";
                    let report = Report::new(ErrorCode::CrashLooping, why).at(&status.id);
                    status.reason.get_or_insert_with(|| report.to_string());
                }
            }
            if let Some(report) = shown.shards.as_ref().and_then(LatticeActors::cut_off) {
                status.reason.get_or_insert_with(|| report.to_string());
            }
            status
        };
        self.actors.iter().map(with_counts).collect()
    }

    /// The running actors that are to be asked something.
    pub fn asked(&self) -> impl Iterator<Item = Asked> {
        self.actors.iter().filter(|shown| shown.status.state == RunState::Running).filter_map(|shown| {
            let (actor, check) = (Arc::clone(shown.actor.as_ref()?), *shown.check.clone()?);
            let (id, digest) = (shown.status.id.clone(), shown.status.digest.clone());
            Some(Asked { id, digest, check, actor })
        })
    }

    /// What brokers hold for actors that subscribe.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&ActorId, &[Weak<dyn Subscription>])> {
        let subscribed = self.actors.iter().filter(|shown| !shown.subscriptions.is_empty());
        subscribed.map(|shown| (&shown.status.id, shown.subscriptions.as_slice()))
    }

    /// Does everything run that shall?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let runs = |status: &ActorStatus| status.state == RunState::Running && status.reason.is_none();
        self.actors.iter().all(|shown| runs(&shown.status))
            && self.providers.iter().all(|status| status.state == RunState::Running)
    }

    /// Actors whose code is in memory: what waits for calls may have let it go.
    #[must_use]
    pub fn loaded(&self) -> usize {
        let actors = self.actors.iter().filter_map(|shown| shown.actor.as_ref());
        actors.filter(|actor| actor.component().is_loaded()).count()
    }

    /// Why actors and providers do not run, or not as they should.
    pub fn reasons(&self) -> impl Iterator<Item = Report> + '_ {
        let actors = self.actors.iter().map(|shown| &shown.status);
        let actors = actors.map(|status| (&status.state, status.reason.as_deref()));
        let providers = self.providers.iter().map(|status| (&status.state, status.reason.as_deref()));
        // What is being tried again has not failed yet.
        let known = actors.chain(providers).filter(|(state, _)| **state != RunState::Starting);
        known.filter_map(|(_, reason)| Report::from_line(reason?))
    }

    /// The state of one actor.
    #[must_use]
    pub fn actor(&self, id: &ActorId) -> Option<&ActorStatus> {
        self.actors.iter().map(|shown| &shown.status).find(|status| status.id == *id)
    }
}

impl Control {
    pub(super) fn publish(&mut self) {
        let now = self.now_ms();
        let looping: Vec<String> = self
            .supervisors
            .iter_mut()
            .filter_map(|(key, supervisor)| supervisor.is_crash_looping(now).then(|| key.clone()))
            .collect();
        let state = |key: String, phase: Phase| match phase {
            Phase::Running => RunState::Running,
            Phase::Starting => RunState::Starting,
            Phase::Failed { .. } if looping.contains(&key) => RunState::CrashLooping,
            Phase::Failed { .. } => RunState::Failed,
        };
        let reason = |report: Option<&Report>| report.map(ToString::to_string);
        // What does not let the actor run comes before what it runs without.
        let why = |id: &ActorId, actor: &ActorNow| {
            reason(self.actor_failures.get(id))
                .or_else(|| self.awaits(actor).map(|report| report.to_string()))
        };
        let actors = self.inventory.actors.iter().map(|(id, actor)| {
            let running = self.running.get(id);
            let claims = running.map(|running| &running.claims);
            let claims = claims.or_else(|| self.kinds.get(id).map(|kind| &kind.claims));
            let status = ActorStatus {
                claims: claims.map(|claims| Arc::new(summary(claims))),
                state: state(format!("actor {id}"), actor.phase),
                reason: why(id, actor),
                next: self.next_component(id).map(Box::new),
                ..ActorStatus::running(id.clone(), &actor.spec.artifact.digest, actor.spec.replicas)
            };
            let bindings = running.into_iter().flat_map(|running| &running.inbound);
            let bindings = bindings.filter_map(|bound| bound.binding.as_ref());
            Shown {
                status,
                actor: running.map(|running| Arc::clone(&running.actor)),
                shards: self.kinds.get(id).and_then(|kind| self.parts.entities.lattice.of(&kind.name)),
                check: actor.spec.check.clone(),
                subscriptions: bindings.filter_map(InboundBinding::subscription).collect(),
            }
        });
        let providers = self.inventory.providers.iter().map(|(id, provider)| ProviderStatus {
            id: id.clone(),
            kind: provider.spec.kind.clone(),
            state: state(format!("provider {id}"), provider.phase),
            reason: reason(self.provider_failures.get(id)),
            listen: match self.providers.get(id) {
                Some(Provider::HttpServer(server)) => Some(server.local_address().to_string()),
                _ => None,
            },
        });
        let snapshot = Snapshot {
            generation: self.spec.as_ref().map(|spec| spec.generation).unwrap_or_default(),
            conflicting: self.is_conflicting,
            released: self.is_released(),
            apps: self.spec.as_ref().map(|spec| spec.apps.clone()).unwrap_or_default(),
            actors: actors.collect(),
            providers: providers.collect(),
            errors: self.errors,
        };
        self.snapshot.send_replace(Arc::new(snapshot));
    }

    fn is_released(&self) -> bool {
        let told = self.told.as_ref().or(self.spec.as_ref());
        self.is_leaving && told.is_none_or(host_core::leave::is_released)
    }

    /// A provider that one of the actor's links leads to and that does not run, or does not run yet.
    fn awaits(&self, actor: &ActorNow) -> Option<Report> {
        let (id, phase) = self.inventory.awaited(actor).next()?;
        let waiting = || Report::new(ErrorCode::Provider, "provider is starting").at(id);
        Some(match phase {
            Phase::Failed { .. } => self.provider_failures.get(id).cloned().unwrap_or_else(waiting),
            Phase::Starting | Phase::Running => waiting(),
        })
    }
}

/// What people want to see of claims.
#[must_use]
pub fn summary(claims: &Claims) -> ClaimsSummary {
    ClaimsSummary {
        subject: claims.subject.to_string(),
        issuer: claims.issuer.to_string(),
        name: claims.name.clone(),
        version: claims.version.clone(),
        revision: claims.revision,
        capabilities: claims.capabilities.iter().cloned().collect(),
        expires: claims.expires,
    }
}
