//! Providers: built in a task, in this process, in one of their own, or found in the lattice; and
//! what becomes of a process that ends.

use super::{Built, Control, Event};
use crate::processes::Launcher;
use crate::secrets::Secrets;
use host_core::reconcile::{Phase, ProviderNow};
use lattice_io::{Bus, TaskScope};
use lattice_protocol::error::Class;
use lattice_protocol::provider::{Place, process_name};
use lattice_protocol::spec::ProviderMode;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, ProviderId, ProviderSpec, Report};
use providers_sdk::remote::{Ends, Remote, describe};
use providers_sdk::{BuildContext, Factory};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Longest time to build one provider.
const BUILD: Duration = Duration::from_secs(30);
/// Longest wait for a provider elsewhere to say what it is.
const DESCRIBE: Duration = Duration::from_secs(5);

/// Pause before a provider elsewhere is looked for again.
const LOOK_AGAIN_MS: u64 = 2_000;

/// What it takes to start one provider, apart from the control loop.
pub(super) struct Start {
    spec: ProviderSpec,
    data_dir: PathBuf,
    factory: Option<Arc<dyn Factory>>,
    launcher: Arc<Launcher>,
    secrets: Arc<Secrets>,
    bus: Arc<dyn Bus>,
    subjects: Subjects,
    scope: TaskScope,
    ends: Ends,
    now_unix: i64,
}

impl Start {
    /// Fetches the secrets, checks the configuration, connects; all within [`BUILD`].
    pub(super) async fn run(self) -> Result<Built, Report> {
        tokio::time::timeout(BUILD, self.attempt()).await.unwrap_or_else(|_| {
            let what = format!("not built within {} s", BUILD.as_secs());
            Err(Report::new(ErrorCode::Timeout, what))
        })
    }

    async fn attempt(mut self) -> Result<Built, Report> {
        if self.spec.mode == ProviderMode::Remote {
            return self.elsewhere().await;
        }
        let mut resolved = self.secrets.resolve(&self.spec.config).await?;
        self.spec.config = std::mem::take(&mut resolved.values);
        let check = |factory: &Arc<dyn Factory>| factory.check(&self.spec.config).into_iter().next();
        let problem = self.factory.as_ref().and_then(check);
        let built = match (problem, self.spec.mode) {
            (Some(problem), _) => Err(problem),
            (None, ProviderMode::Process) => self.process().await,
            (None, _) => self.here().await,
        };
        // What a provider says about its configuration may quote it.
        built.map_err(|report| resolved.redact_report(report))
    }

    async fn here(self) -> Result<Built, Report> {
        let unknown = || {
            let what = format!("unknown provider kind {:?}", self.spec.kind);
            Report::new(ErrorCode::ProviderNotFound, what)
        };
        let factory = self.factory.ok_or_else(unknown)?;
        let context = BuildContext { id: self.spec.id, data_dir: self.data_dir, config: self.spec.config };
        Ok(Built { provider: factory.build(context).await?, process: None })
    }

    async fn process(self) -> Result<Built, Report> {
        let built_in = self.factory.is_some();
        let process = self.launcher.start(&self.spec, (self.data_dir, built_in), self.now_unix).await?;
        let place = Place::Host(self.launcher.config.host.clone());
        let remote = Remote::new(self.bus, &self.subjects, &self.spec.id, &place, self.scope);
        let provider = remote.ending_with(self.ends).provider(&process.description);
        Ok(Built { provider, process: Some(process) })
    }

    async fn elsewhere(self) -> Result<Built, Report> {
        let key = self.spec.config.get("key").map(|text| text.parse()).transpose();
        let key = key.map_err(|error: keys::KeyError| {
            Report::new(ErrorCode::Config, error.to_string()).at("config.key")
        })?;
        let (name, lattice) = (process_name(&self.spec.id, &Place::Shared), &self.launcher.config.lattice);
        let description = describe(&*self.bus, lattice, &name, key, DESCRIBE).await.map_err(|error| {
            Report::from(error).hint(format!("run it: trellis provider run --id {} …", self.spec.id))
        })?;
        let remote = Remote::new(self.bus, &self.subjects, &self.spec.id, &Place::Shared, self.scope);
        Ok(Built { provider: remote.provider(&description), process: None })
    }
}

impl Control {
    pub(super) fn start_provider(&mut self, spec: ProviderSpec) {
        self.incarnations += 1;
        let now = ProviderNow { spec: spec.clone(), phase: Phase::Starting, incarnation: self.incarnations };
        self.inventory.providers.insert(spec.id.clone(), now);
        let (start, sender) = (self.start_of(&spec), self.sender.clone());
        self.parts.scope.spawn_best_effort("build provider", async move {
            let result = start.run().await;
            // A closed inbox means that the host is ending.
            let _ = sender.send(Event::Built(Box::new(spec), result)).await;
        });
    }

    pub(super) fn start_of(&mut self, spec: &ProviderSpec) -> Start {
        let mut configured = spec.clone();
        if spec.kind == "http-server" {
            let listen = || self.parts.config.listen.to_string();
            configured.config.entry("address".to_owned()).or_insert_with(listen);
        }
        let data_dir = self.parts.config.data_dir.join("providers");
        let ends = self.ends.entry(spec.id.clone()).or_insert_with(|| watch::Sender::new(0));
        Start {
            data_dir: data_dir.join(spec.id.app.as_str()).join(spec.id.name.as_str()),
            factory: self.parts.factories.get(spec.kind.as_str()).cloned(),
            launcher: Arc::clone(&self.parts.launcher),
            secrets: Arc::clone(&self.parts.secrets),
            bus: Arc::clone(&self.parts.lattice.bus),
            subjects: self.subjects.clone(),
            scope: self.parts.scope.clone(),
            ends: ends.subscribe(),
            now_unix: i64::try_from(self.parts.clock.unix_ms() / 1_000).unwrap_or(i64::MAX),
            spec: configured,
        }
    }

    pub(super) fn built(&mut self, spec: ProviderSpec, result: Result<Built, Report>) {
        let awaited = |now: &&ProviderNow| now.spec == spec && now.phase == Phase::Starting;
        let Some(incarnation) =
            self.inventory.providers.get(&spec.id).filter(awaited).map(|now| now.incarnation)
        else {
            return; // Stopped or changed meanwhile: what was built is dropped.
        };
        let id = spec.id;
        let phase = match result {
            Ok(Built { provider, process }) => {
                self.providers.insert(id.clone(), provider);
                if let Some(process) = process {
                    self.watch(&id, incarnation, process);
                }
                self.provider_failures.remove(&id);
                let now = self.now_ms();
                self.supervisor(format!("provider {id}")).started(now);
                tracing::info!(provider = %id, kind = spec.kind, run = spec.mode.word(), "provider runs");
                let data = json!({ "kind": spec.kind, "run": spec.mode.word() });
                self.parts.events.emit("provider.started", Some(id.to_string()), data);
                Phase::Running
            }
            Err(report) => self.provider_failed(&id, spec.mode, report),
        };
        if let Some(now) = self.inventory.providers.get_mut(&id) {
            now.phase = phase;
        }
    }

    fn provider_failed(&mut self, id: &ProviderId, mode: ProviderMode, report: Report) -> Phase {
        // Whose fault it is decides what to do about it: trust keeps its own code.
        let code = if report.code.class() == Class::Trust { report.code } else { ErrorCode::ProviderStart };
        let place = report.place.as_ref().map_or_else(|| id.to_string(), |place| format!("{id}: {place}"));
        let report = Report { code, ..report }.during("provider start failed").at(place);
        if self.provider_failures.get(id) != Some(&report) {
            tracing::warn!(error = %report, "provider not started");
            self.parts.events.emit("provider.failed", Some(id.to_string()), json!({ "error": report }));
            self.provider_failures.insert(id.clone(), report);
        }
        let retry_at_ms = match mode {
            // It is not ours to start, only to find: asked for as often as bindings are.
            ProviderMode::Remote => self.now_ms().saturating_add(LOOK_AGAIN_MS),
            ProviderMode::InProcess | ProviderMode::Process => self.failed(format!("provider {id}")),
        };
        Phase::Failed { retry_at_ms }
    }

    fn watch(&mut self, id: &ProviderId, incarnation: u64, mut process: crate::processes::Running) {
        let ends = self.ends.entry(id.clone()).or_insert_with(|| watch::Sender::new(0)).clone();
        let (sender, ended) = (self.sender.clone(), id.clone());
        process.watch(&self.parts.scope, (ends, self.parts.config.drain), move |how| async move {
            // A closed inbox means that the host is ending.
            let _ = sender.send(Event::ProviderEnded(ended, incarnation, how)).await;
        });
        self.processes.insert(id.clone(), process);
    }

    /// A process has ended by itself: it is started again after its supervisor's pause. Actors stay
    /// bound to it, so their calls meanwhile are "nobody there", which links repeat.
    pub(super) fn provider_ended(&mut self, id: &ProviderId, incarnation: u64, how: &str) {
        if self.inventory.providers.get(id).is_none_or(|now| now.incarnation != incarnation) {
            return; // Stopped or started anew meanwhile.
        }
        self.processes.remove(id);
        let report = Report::new(ErrorCode::Provider, format!("provider process ended: {how}")).at(id);
        tracing::warn!(error = %report, "provider process ended; it is started again");
        self.parts.events.emit("provider.ended", Some(id.to_string()), json!({ "error": report }));
        self.provider_failures.insert(id.clone(), report);
        let retry_at_ms = self.failed(format!("provider {id}"));
        if let Some(now) = self.inventory.providers.get_mut(id) {
            now.phase = Phase::Failed { retry_at_ms };
        }
    }

    pub(super) fn stop_provider(&mut self, id: &ProviderId) {
        self.inventory.providers.remove(id);
        self.provider_failures.remove(id);
        self.processes.remove(id);
        self.ends.remove(id);
        if self.providers.remove(id).is_some() {
            tracing::info!(provider = %id, "provider stopped");
            self.parts.events.emit("provider.stopped", Some(id.to_string()), json!({}));
        }
    }
}
