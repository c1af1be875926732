//! Actors that are kinds of persistent actors: started, changed and stopped as any other, but their
//! calls go to `host/actors`, which owns the journal.

use super::Control;
use super::Prepared;
use crate::entities;
use host_core::reconcile::{ActorNow, Changes, Phase, links_of};
use host_runtime::Component;
use host_runtime::persistent::{KindOptions, PersistentKind};
use keys::{Claims, Verified};
use lattice_io::TaskScope;
use lattice_protocol::{ActorId, ActorSpec, Durability, KindName, LinkDefinition, Persistent, Report};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One kind that runs.
pub(crate) struct RunningKind {
    pub(crate) name: KindName,
    durability: Durability,
    pub(crate) running: Arc<PersistentKind>,
    component: Arc<Component>,
    pub(crate) claims: Verified<Claims>,
    rpc: Option<TaskScope>,
}

impl Control {
    /// Starts (or replaces) a kind with a component that is ready.
    pub(super) async fn kind_go_live(
        &mut self,
        spec: &ActorSpec,
        persistent: &Persistent,
        prepared: Prepared,
    ) -> Result<(), Report> {
        let Prepared { component, claims } = prepared;
        let Some(desired) = &self.spec else { return Ok(()) };
        let links = links_of(desired, &spec.id);
        self.admit(spec, &claims, &links)?;
        let name = persistent.kind_of(&spec.id.name);
        let options = KindOptions {
            id: spec.id.clone(),
            lattice: self.parts.config.lattice.clone(),
            host: self.parts.config.host.clone(),
            limits: spec.limits.clone(),
            turn_ms: persistent.turn_ms,
            states: persistent.states,
            config: self.values(spec),
        };
        let wiring = Arc::new(self.binder().wiring(&spec.id, &links));
        let running =
            PersistentKind::start(&self.parts.runtime, Arc::clone(&component), options, wiring).await?;
        let kind = entities::kind(spec.id.clone(), Arc::clone(&running), persistent);
        let durability = persistent.durability;
        // A kind that is another actor's is refused here, before anything is changed.
        match durability {
            Durability::Device => self.parts.entities.device.put_kind(name.clone(), kind)?,
            Durability::Lattice => {
                let domain = persistent.domain.as_ref();
                self.parts.entities.lattice.put_kind(domain, name.clone(), kind)?;
            }
        }
        let rpc = match self.kinds.remove(&spec.id) {
            // Calls come for the kind, whatever its component.
            Some(before) if before.name == name => {
                if before.durability != durability {
                    self.remove_kind(&before, &spec.id);
                }
                before.rpc
            }
            other => {
                if let Some(before) = other {
                    self.retire_kind(before, &spec.id);
                }
                self.serve_kind(&name).await
            }
        };
        let kind = RunningKind { name, durability, running, component, claims, rpc };
        self.kinds.insert(spec.id.clone(), kind);
        let bound = self.inventory.bindings(&links);
        let now = ActorNow { spec: spec.clone(), phase: Phase::Running, links, bound, refused: None };
        self.inventory.actors.insert(spec.id.clone(), now);
        self.actor_failures.remove(&spec.id);
        tracing::info!(actor = %spec.id, digest = %spec.artifact.digest, "persistent actor runs");
        let data = json!({ "digest": spec.artifact.digest, "replicas": spec.replicas });
        self.parts.events.emit("actor.started", Some(spec.id.to_string()), data);
        Ok(())
    }

    /// Whether the JetStream domain of a kind is there for this host; of a kind that runs in it already it is not
    /// asked.
    pub(super) fn reaches_domain(
        &self,
        spec: &ActorSpec,
    ) -> impl Future<Output = Result<(), Report>> + Send + use<> {
        let wanted = spec.persistent.as_ref().and_then(|persistent| persistent.domain.clone());
        let wanted = wanted.filter(|_| !self.kinds.contains_key(&spec.id));
        let actors = self.parts.entities.lattice.clone();
        async move {
            match wanted {
                Some(domain) => actors.reach(&domain).await,
                None => Ok(()),
            }
        }
    }

    async fn serve_kind(&self, name: &KindName) -> Option<TaskScope> {
        let served = self.parts.entities.serve(name, &self.parts.scope).await;
        served
            .inspect_err(
                |report| tracing::warn!(kind = %name, error = %report, "not reachable from other hosts"),
            )
            .ok()
    }

    fn remove_kind(&self, kind: &RunningKind, id: &ActorId) {
        match kind.durability {
            Durability::Device => self.parts.entities.device.remove_kind(&kind.name, id),
            Durability::Lattice => self.parts.entities.lattice.remove_kind(&kind.name),
        }
    }

    /// Changes a kind in place; `false` when the actor is none.
    pub(super) async fn update_kind(
        &mut self,
        spec: &ActorSpec,
        links: &[LinkDefinition],
        changes: Changes,
    ) -> bool {
        let Some(kind) = self.kinds.get(&spec.id) else { return false };
        let running = Arc::clone(&kind.running);
        if changes.wiring {
            running.set_wiring(Arc::new(self.binder().wiring(&spec.id, links)));
            let bound = self.inventory.bindings(links);
            if let Some(now) = self.inventory.actors.get_mut(&spec.id) {
                (now.links, now.bound) = (links.to_vec(), bound);
            }
        }
        if changes.artifact {
            if self.preparing.get(&spec.id) != Some(spec) {
                self.actor_failures.remove(&spec.id);
                self.prepare(spec.clone());
            }
            return true;
        }
        let claims = kind.claims.clone();
        if changes.trial && !spec.trial && !self.end_trial(&spec.id, &claims) {
            return true;
        }
        let Some(kind) = self.kinds.get(&spec.id) else { return true };
        if changes.limits
            && let Some(persistent) = &spec.persistent
        {
            let (component, claims) = (Arc::clone(&kind.component), kind.claims.clone());
            if let Err(report) = self.kind_go_live(spec, persistent, Prepared { component, claims }).await {
                self.actor_failed(spec, report);
            }
            return true;
        }
        if changes.config {
            running.set_config(self.values(spec));
        }
        if let Some(now) = self.inventory.actors.get_mut(&spec.id) {
            now.spec = spec.clone();
        }
        true
    }

    /// Stops a kind; `false` when the actor is none. What its actors have done stays in the journal.
    pub(super) fn stop_kind(&mut self, id: &ActorId) -> bool {
        let Some(kind) = self.kinds.remove(id) else { return false };
        self.retire_kind(kind, id);
        true
    }

    fn retire_kind(&self, kind: RunningKind, id: &ActorId) {
        self.remove_kind(&kind, id);
        let patience = self.parts.config.drain;
        self.parts.scope.spawn_best_effort("retire kind", async move {
            if let Some(rpc) = &kind.rpc {
                rpc.shutdown(patience).await;
            }
        });
    }

    /// Takes no more calls for persistent actors, and closes the journal.
    pub(super) async fn stop_kinds(&mut self) {
        let patience = self.parts.config.drain;
        let kinds: BTreeMap<ActorId, RunningKind> = std::mem::take(&mut self.kinds);
        futures::future::join_all(
            kinds.values().filter_map(|kind| kind.rpc.as_ref()).map(|rpc| rpc.shutdown(patience)),
        )
        .await;
        self.parts.entities.lattice.shutdown(patience).await;
        self.parts.entities.device.shutdown(patience).await;
    }
}
