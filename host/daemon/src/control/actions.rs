//! How each action is done. A start has two halves: preparing in a task, and going live here.

use super::{Control, Event, Prepared, RunningActor};
use crate::serve;
use crate::wires::{Binder, Bound, InboundBinding};
use host_core::admit::{Capacity, admit_links, admit_memory};
use host_core::reconcile::{Action, ActorNow, Changes, Phase, links_of};
use host_runtime::{Actor, ActorOptions, Component};
use keys::{Claims, Verified};
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, ActorSpec, ErrorCode, LinkDefinition, LinkTarget, Report};
use providers_sdk::Provider;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Longest time to fetch and compile one component before the try counts as failed.
const PREPARE: Duration = Duration::from_secs(180);

impl Control {
    pub(super) async fn perform(&mut self, action: Action) {
        match action {
            Action::StopActor(id) => self.stop_actor(&id),
            Action::StopProvider(id) => self.stop_provider(&id),
            Action::StartProvider(spec) => self.start_provider(spec),
            Action::StartActor { spec, links } => self.start_actor(*spec, links),
            Action::UpdateActor { spec, links, changes } => self.update_actor(*spec, links, changes).await,
        }
    }

    pub(super) fn binder(&self) -> Binder<'_> {
        Binder {
            providers: &self.providers,
            failures: &self.provider_failures,
            entities: &self.parts.entities,
            directory: &self.parts.directory,
            bus: &self.parts.lattice.bus,
            subjects: &self.subjects,
            secrets: &self.parts.secrets,
            revealed: &self.revealed,
        }
    }

    fn start_actor(&mut self, spec: ActorSpec, links: Vec<LinkDefinition>) {
        let now = ActorNow {
            spec: spec.clone(),
            phase: Phase::Starting,
            links,
            bound: BTreeMap::new(),
            refused: None,
        };
        let before = self.inventory.actors.insert(spec.id.clone(), now);
        if before.is_none_or(|before| before.spec != spec) {
            // What was wrong was wrong with another.
            self.actor_failures.remove(&spec.id);
        }
        self.prepare(spec);
    }

    pub(super) fn prepare(&mut self, spec: ActorSpec) {
        self.preparing.insert(spec.id.clone(), spec.clone());
        let staged = self.take_staged(&spec);
        let load = self.load(spec.artifact.clone(), spec.trial);
        let reaches = self.reaches_domain(&spec);
        let sender = self.sender.clone();
        self.parts.scope.spawn_best_effort("prepare actor", async move {
            let result = match (reaches.await, staged) {
                (Err(report), _) => Err(report),
                (Ok(()), Some(ready)) => Ok(ready),
                (Ok(()), None) => load.await,
            };
            // A closed inbox means that the host is ending.
            let _ = sender.send(Event::Prepared(Box::new(spec), result)).await;
        });
    }

    /// Fetches, verifies and loads a component, within a time.
    pub(super) fn load(
        &self,
        artifact: Artifact,
        trial: bool,
    ) -> impl Future<Output = Result<Prepared, Report>> + Send + use<> {
        let (artifacts, runtime) = (Arc::clone(&self.parts.artifacts), Arc::clone(&self.parts.runtime));
        let now_unix = i64::try_from(self.parts.clock.unix_ms() / 1_000).unwrap_or(i64::MAX);
        async move {
            let load = async {
                let file = artifacts.get(&artifact, now_unix, trial).await?;
                let again = artifacts.again(&artifact);
                let component = runtime.load_from(file.claims.clone(), file.file, again).await?;
                Ok(Prepared { component, claims: file.claims })
            };
            tokio::time::timeout(PREPARE, load).await.unwrap_or_else(|_| {
                let limit = format!("{} s", PREPARE.as_secs());
                Err(Report::new(ErrorCode::Timeout, "component not ready in time").limit(limit))
            })
        }
    }

    pub(super) async fn prepared(&mut self, spec: ActorSpec, result: Result<Prepared, Report>) {
        if self.preparing.get(&spec.id) != Some(&spec) {
            return; // Stopped or changed meanwhile.
        }
        self.preparing.remove(&spec.id);
        let live = match result {
            Ok(prepared) => match &spec.persistent {
                Some(persistent) => self.kind_go_live(&spec, persistent, prepared).await,
                None => self.go_live(&spec, prepared.component, prepared.claims).await,
            },
            Err(report) => Err(report),
        };
        match live {
            Ok(()) => {
                let now = self.now_ms();
                self.supervisor(format!("actor {}", spec.id)).started(now);
            }
            Err(report) => self.actor_failed(&spec, report),
        }
    }

    /// Starts (or replaces) the actor with a component that is ready.
    async fn go_live(
        &mut self,
        spec: &ActorSpec,
        component: Arc<Component>,
        claims: Verified<Claims>,
    ) -> Result<(), Report> {
        let Some(desired) = &self.spec else { return Ok(()) };
        let links = links_of(desired, &spec.id);
        self.admit(spec, &claims, &links)?;
        let wiring = Arc::new(self.binder().wiring(&spec.id, &links));
        let options = ActorOptions {
            id: spec.id.clone(),
            policy: spec.instances,
            limits: spec.limits.clone(),
            replicas: spec.replicas,
            config: self.values(spec),
            host: self.parts.config.host.clone(),
            lattice: self.parts.config.lattice.clone(),
        };
        let actor = Actor::start(&self.parts.runtime, Arc::clone(&component), options, wiring).await?;
        let mut replaced = self.running.remove(&spec.id);
        // Routes look the actor up at each call: they serve the new one from here on.
        let inbound = replaced.as_mut().map(|old| std::mem::take(&mut old.inbound)).unwrap_or_default();
        self.parts.directory.insert(spec.id.clone(), Arc::clone(&actor));
        let rpc = self.serve(&spec.id, &actor).await;
        let running = RunningActor { actor, component, claims, inbound, rpc };
        self.running.insert(spec.id.clone(), running);
        let now = ActorNow {
            spec: spec.clone(),
            phase: Phase::Running,
            links: Vec::new(),
            bound: BTreeMap::new(),
            refused: None,
        };
        self.inventory.actors.insert(spec.id.clone(), now);
        self.actor_failures.remove(&spec.id);
        self.rebind(&spec.id, links).await;
        if let Some(old) = replaced {
            self.retire(old);
        }
        tracing::info!(actor = %spec.id, digest = %spec.artifact.digest, "actor runs");
        let data = json!({ "digest": spec.artifact.digest, "replicas": spec.replicas });
        self.parts.events.emit("actor.started", Some(spec.id.to_string()), data);
        Ok(())
    }

    /// What `wasi:config` answers: the manifest's values, and where the actor runs.
    pub(super) fn values(&self, spec: &ActorSpec) -> BTreeMap<String, String> {
        let mut values = spec.config.clone();
        values.entry("node_id".to_owned()).or_insert_with(|| self.parts.config.host.to_string());
        values
    }

    pub(super) fn admit(
        &self,
        spec: &ActorSpec,
        claims: &Claims,
        links: &[LinkDefinition],
    ) -> Result<(), Report> {
        admit_links(spec, claims, links)?;
        self.admit_room(spec)
    }

    fn admit_room(&self, spec: &ActorSpec) -> Result<(), Report> {
        let capacity =
            Capacity { memory_bytes: self.parts.config.memory_bytes, overcommit: Capacity::OVERCOMMIT };
        let others = self.inventory.actors.values().filter(|now| now.phase == Phase::Running);
        admit_memory(spec, others.map(|now| &now.spec), &capacity)
    }

    async fn serve(&self, id: &ActorId, actor: &Arc<Actor>) -> Option<serve::Serving> {
        let subject = self.subjects.actor_call(id);
        let started =
            serve::start(&self.parts.lattice.bus, &subject, Arc::clone(actor), &self.parts.scope).await;
        started
            .inspect_err(
                |report| tracing::warn!(actor = %id, error = %report, "not reachable from other hosts"),
            )
            .ok()
    }

    pub(super) fn actor_failed(&mut self, spec: &ActorSpec, report: Report) {
        const PREFIX: &str = "actor start failed";
        let report = if report.what.starts_with(PREFIX) { report } else { report.during(PREFIX) };
        let report = if report.place.is_none() { report.at(&spec.id) } else { report };
        tracing::warn!(actor = %spec.id, error = %report, "actor not started");
        self.parts.events.emit("actor.failed", Some(spec.id.to_string()), json!({ "error": report }));
        self.actor_failures.insert(spec.id.clone(), report);
        let retry_at_ms = self.failed(format!("actor {}", spec.id));
        let starting = self.is_starting(spec);
        if let Some(now) = self.inventory.actors.get_mut(&spec.id) {
            if starting {
                now.phase = Phase::Failed { retry_at_ms };
            } else {
                now.refused = Some((spec.clone(), retry_at_ms));
            }
        }
    }

    async fn update_actor(&mut self, spec: ActorSpec, links: Vec<LinkDefinition>, changes: Changes) {
        let id = spec.id.clone();
        let live = self.kinds.contains_key(&id) || self.running.contains_key(&id);
        if live && self.kinds.contains_key(&id) != spec.persistent.is_some() {
            // It has become persistent, or is so no more: another thing under the same name.
            self.stop_actor(&id);
            return self.start_actor(spec, links);
        }
        if self.update_kind(&spec, &links, changes).await {
            return;
        }
        if changes.wiring {
            self.rebind(&id, links).await;
        }
        if changes.artifact {
            if self.preparing.get(&id) != Some(&spec) {
                self.actor_failures.remove(&id);
                self.prepare(spec);
            }
            return;
        }
        let Some(claims) = self.running.get(&id).map(|running| running.claims.clone()) else { return };
        if changes.trial && !spec.trial && !self.end_trial(&id, &claims) {
            return;
        }
        let Some(running) = self.running.get(&id) else { return };
        if changes.limits {
            let (component, claims) = (Arc::clone(&running.component), running.claims.clone());
            if let Err(report) = self.go_live(&spec, component, claims).await {
                self.actor_failed(&spec, report);
            }
            return;
        }
        if changes.config {
            running.actor.set_config(self.values(&spec));
        }
        if changes.replicas {
            // More of them need room as a first one does; what runs goes on running.
            if let Err(report) = self.admit_room(&spec) {
                return self.actor_failed(&spec, report);
            }
            running.actor.set_replicas(spec.replicas);
        }
        if let Some(now) = self.inventory.actors.get_mut(&id) {
            now.spec = spec;
            if now.refused.take().is_some() {
                self.actor_failures.remove(&id);
            }
        }
    }

    /// Its version is final: no older one runs on this host from now on. One that cannot be written
    /// down goes on running, and is tried again with the next look.
    pub(super) fn end_trial(&mut self, id: &ActorId, claims: &Verified<Claims>) -> bool {
        let admitted = self.parts.store.admit(claims, false);
        if let Err(report) = &admitted {
            self.errors += 1;
            tracing::error!(actor = %id, error = %report, "the end of its trial is not on disk");
        }
        admitted.is_ok()
    }

    /// Binds an actor's links anew: outbound ones by one swap. Routes and subscriptions that are
    /// still asked for stay as they are, so that no request falls between.
    async fn rebind(&mut self, id: &ActorId, links: Vec<LinkDefinition>) {
        let Some(running) = self.running.get_mut(id) else { return };
        let (actor, before) = (Arc::clone(&running.actor), std::mem::take(&mut running.inbound));
        let body_bytes = self.inventory.actors.get(id).map_or(1 << 20, |now| now.spec.limits.body_bytes);
        let bound = self.inventory.bindings(&links);
        actor.set_wiring(Arc::new(self.binder().wiring(id, &links)));
        let incarnation = |link: &LinkDefinition| match &link.target {
            LinkTarget::Provider(provider) => bound.get(provider).copied(),
            LinkTarget::Actor(_) => None,
        };
        let stays = |bound: &Bound| {
            links.contains(&bound.link) && incarnation(&bound.link) == Some(bound.incarnation)
        };
        // The others are dropped first: a new route may want the place of an old one.
        let mut inbound: Vec<Bound> = before.into_iter().filter(stays).collect();
        let mut failure = None;
        for link in &links {
            let Some(incarnation) = incarnation(link) else { continue };
            if inbound.iter().any(|bound| bound.link == *link) {
                continue;
            }
            match self.binder().inbound(&actor, link, body_bytes).await {
                Ok(binding) => inbound.push(Bound { link: link.clone(), incarnation, binding }),
                Err(report) => failure = Some(report),
            }
        }
        match failure {
            None => self.actor_failures.remove(id),
            Some(report) => {
                tracing::warn!(actor = %id, error = %report, "inbound link not bound");
                self.actor_failures.insert(id.clone(), report)
            }
        };
        if let Some(running) = self.running.get_mut(id) {
            running.inbound = inbound;
        }
        if let Some(now) = self.inventory.actors.get_mut(id) {
            now.links = links;
            now.bound = bound;
        }
    }

    fn stop_actor(&mut self, id: &ActorId) {
        self.inventory.actors.remove(id);
        self.preparing.remove(id);
        self.actor_failures.remove(id);
        self.parts.directory.remove(id);
        if self.stop_kind(id) {
            tracing::info!(actor = %id, "persistent actor stopped");
            self.parts.events.emit("actor.stopped", Some(id.to_string()), json!({}));
        }
        if let Some(old) = self.running.remove(id) {
            self.retire(old);
            tracing::info!(actor = %id, "actor stopped");
            self.parts.events.emit("actor.stopped", Some(id.to_string()), json!({}));
        }
    }

    /// Lets an actor that was taken out of the directory finish what it has in hand.
    fn retire(&self, old: RunningActor) {
        let patience = self.parts.config.drain;
        self.parts.scope.spawn_best_effort("retire actor", async move { finish(old, patience).await });
    }

    /// First nobody new is let in, and whoever is inside is answered; then the actors go.
    pub(super) async fn stop_all(&mut self) {
        let patience = self.parts.config.drain;
        let servers = self.providers.values().filter_map(|provider| match provider {
            Provider::HttpServer(server) => Some(server.close()),
            _ => None,
        });
        if tokio::time::timeout(patience, futures::future::join_all(servers)).await.is_err() {
            tracing::warn!("requests in hand did not end in time");
        }
        let running = std::mem::take(&mut self.running);
        futures::future::join_all(running.into_values().map(|old| finish(old, patience))).await;
        self.stop_kinds().await;
        self.parts.directory.clear();
        self.inventory.actors.clear();
        self.inventory.providers.clear();
        self.providers.clear();
        self.processes.clear();
    }
}

/// Intake first, then what is in hand.
async fn finish(old: RunningActor, patience: Duration) {
    let intake = async {
        futures::future::join_all(
            old.inbound.iter().filter_map(|bound| bound.binding.as_ref()).map(InboundBinding::drain),
        )
        .await;
        if let Some(rpc) = &old.rpc {
            rpc.drain(patience).await;
        }
    };
    if tokio::time::timeout(patience, intake).await.is_err() {
        tracing::warn!(actor = %old.actor.id(), "calls in hand did not end in time");
    }
    old.actor.stop(patience).await;
}
