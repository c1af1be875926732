//! The control loop: the one owner of what runs here. It takes the newest verified spec, asks
//! [`host_core::reconcile`] what to do, does it, and looks again.
//!
//! Slow work (fetching, verifying, compiling, connecting) runs in tasks of its own and comes back
//! as an [`Event`], so that a stop or an unlink never waits for a download. Everybody else reads
//! the [`Snapshot`] that is published after each round; nobody shares the state itself.
//!
//! ```text
//! spec / prepared / built / tick ──▶ handle ──▶ reconcile ──▶ actions ──▶ snapshot
//!                                                   ▲                        │
//!                                                   └──── wake_at ───────────┘
//! ```

mod actions;
mod kinds;
mod providers;
mod secrets;
mod snapshot;
mod staging;

pub use snapshot::Snapshot;

use crate::artifacts::Artifacts;
use crate::config::HostConfig;
use crate::directory::Directory;
use crate::entities::Entities;
use crate::files::Files;
use crate::processes::Launcher;
use crate::secrets::Secrets;
use crate::wires::Bound;
use host_core::reconcile::{Inventory, Phase, reconcile};
use host_core::{RestartPolicy, Supervisor};
use host_runtime::{Actor, Component, Runtime};
use keys::{Claims, Signed, Verified};
use lattice_io::{Clock, Events, Lattice, TaskScope};
use lattice_protocol::spec::HOST_SPEC_KIND;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{
    ActorId, ActorSpec, ArtifactDigest, ErrorCode, HostSpec, ProviderId, ProviderSpec, Report,
};
use providers_sdk::{Factory, Provider};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

/// Longest pause between two looks at the whole, even when nothing happens.
const PERIOD: Duration = Duration::from_secs(15);

/// What the loop is told.
#[allow(clippy::large_enum_variant, reason = "one channel of a few, each taken at once")]
pub enum Event {
    /// A signed spec, from the lattice.
    Spec(Vec<u8>),
    /// An actor's component is ready, or is not to be had.
    Prepared(Box<ActorSpec>, Result<Prepared, Report>),
    /// A provider is built, or is not.
    Built(Box<ProviderSpec>, Result<Built, Report>),
    /// A provider's process, of this start of it, has ended by itself: in these words.
    ProviderEnded(ProviderId, u64, String),
    /// A secret that was asked for is another now.
    SecretChanged(String),
    /// A secret that links name, or why it is not to be had.
    Revealed(String, Result<Zeroizing<String>, Report>),
    /// A running provider, built anew with a changed secret.
    Rebuilt(Box<ProviderSpec>, Result<Built, Report>),
    /// A component to be made ready beside a running one is ready, or is not to be had.
    Staged(ActorId, ArtifactDigest, Result<Prepared, Report>),
    /// The host is about to leave: what is taken from it now is kept until it ends.
    Leave,
    /// Stop everything, drained, and end; answered when done.
    Shutdown(oneshot::Sender<()>),
}

/// A verified, compiled component.
pub struct Prepared {
    pub(crate) component: Arc<Component>,
    pub(crate) claims: Verified<Claims>,
}

/// A provider that serves, here or in a process of its own.
pub struct Built {
    pub(crate) provider: Provider,
    pub(crate) process: Option<crate::processes::Running>,
}

/// One actor that runs.
pub(crate) struct RunningActor {
    pub(crate) actor: Arc<Actor>,
    pub(crate) component: Arc<Component>,
    pub(crate) claims: Verified<Claims>,
    pub(crate) inbound: Vec<Bound>,
    pub(crate) rpc: Option<crate::serve::Serving>,
}

/// What the loop needs of the rest of the host.
pub struct Parts {
    /// Configuration.
    pub config: Arc<HostConfig>,
    /// The lattice.
    pub lattice: Lattice,
    /// The runtime.
    pub runtime: Arc<Runtime>,
    /// Providers that can be built here, by kind.
    pub factories: Arc<BTreeMap<&'static str, Arc<dyn Factory>>>,
    /// Starts providers in processes of their own.
    pub(crate) launcher: Arc<Launcher>,
    /// Artifacts.
    pub artifacts: Arc<Artifacts>,
    /// Durable files.
    pub store: Arc<Files>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What happened, for the lattice.
    pub events: Events,
    /// Values that the spec only names.
    pub secrets: Arc<Secrets>,
    /// Tasks.
    pub scope: TaskScope,
    /// Who runs here.
    pub directory: Arc<Directory>,
    /// Persistent actors.
    pub entities: Entities,
}

/// The loop's state.
pub struct Control {
    parts: Parts,
    subjects: Subjects,
    inbox: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    spec: Option<HostSpec>,
    inventory: Inventory,
    running: BTreeMap<ActorId, RunningActor>,
    kinds: BTreeMap<ActorId, kinds::RunningKind>,
    providers: BTreeMap<ProviderId, Provider>,
    processes: BTreeMap<ProviderId, crate::processes::Running>,
    /// How often the process of each provider has ended: calls in hand then end too.
    ends: BTreeMap<ProviderId, watch::Sender<u64>>,
    supervisors: BTreeMap<String, Supervisor>,
    /// Updates whose component is being prepared.
    preparing: BTreeMap<ActorId, ActorSpec>,
    /// Components made ready beside running ones.
    staging: staging::Staging<Box<Prepared>>,
    /// Why actors and providers do not run (or run as before).
    actor_failures: BTreeMap<ActorId, Report>,
    provider_failures: BTreeMap<ProviderId, Report>,
    /// Secrets that links name, as they were fetched last.
    revealed: BTreeMap<String, Result<Zeroizing<String>, Report>>,
    incarnations: u64,
    /// Of the host itself: what it could not keep, say. Applications' failures are their own.
    errors: u64,
    /// Was another spec of the generation in force offered last?
    is_conflicting: bool,
    /// The last spec that was accepted, once the host is leaving: what is in force is that and what it
    /// has taken.
    told: Option<HostSpec>,
    is_leaving: bool,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

fn malformed(error: serde_json::Error) -> Report {
    Report::new(ErrorCode::Malformed, format!("host spec: {error}"))
}

impl Control {
    /// The loop, a way to tell it things, and what it publishes.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, mpsc::Sender<Event>, watch::Receiver<Arc<Snapshot>>) {
        let (sender, inbox) = mpsc::channel(256);
        let (snapshot, published) = watch::channel(Arc::new(Snapshot::default()));
        let control = Self {
            subjects: Subjects::new(parts.config.lattice.clone()),
            inbox,
            sender: sender.clone(),
            spec: None,
            inventory: Inventory::default(),
            running: BTreeMap::new(),
            kinds: BTreeMap::new(),
            providers: BTreeMap::new(),
            processes: BTreeMap::new(),
            ends: BTreeMap::new(),
            supervisors: BTreeMap::new(),
            preparing: BTreeMap::new(),
            staging: staging::Staging::default(),
            actor_failures: BTreeMap::new(),
            provider_failures: BTreeMap::new(),
            revealed: BTreeMap::new(),
            incarnations: 0,
            errors: 0,
            is_conflicting: false,
            told: None,
            is_leaving: false,
            snapshot,
            parts,
        };
        (control, sender, published)
    }

    /// Runs what the disk says, then what the lattice says, until told to end.
    pub async fn run(mut self) {
        self.boot();
        loop {
            let wake_at_ms = self.round().await;
            self.publish();
            let pause = wake_at_ms.map_or(PERIOD, |at| {
                Duration::from_millis(at.saturating_sub(self.now_ms()))
                    .clamp(Duration::from_millis(1), PERIOD)
            });
            // Elapsed: nothing came, look again all the same.
            let Ok(event) = tokio::time::timeout(pause, self.inbox.recv()).await else { continue };
            match event {
                Some(Event::Shutdown(done)) => {
                    self.stop_all().await;
                    self.publish();
                    // Whoever asked may be gone; the host ends all the same.
                    let _ = done.send(());
                    return;
                }
                Some(event) => self.handle(event).await,
                None => return,
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.parts.clock.monotonic_ms()
    }

    /// The spec that this host ran last: verified again, because a disk is not a signature.
    fn boot(&mut self) {
        match self.parts.store.specs() {
            Ok(specs) if specs.is_empty() => tracing::info!("no spec on disk: waiting for the lattice"),
            Ok(specs) => {
                for signed in &specs {
                    if let Err(report) = self.take_spec(signed) {
                        tracing::error!(error = %report, "spec on disk refused");
                    }
                }
                tracing::info!("running the spec from disk until the lattice says otherwise");
            }
            Err(error) => tracing::error!(%error, "spec on disk not readable: waiting for the lattice"),
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Spec(bytes) => {
                if let Err(report) = self.offered(&bytes) {
                    // No error of this host's: what strangers offer must not make it look unfit.
                    tracing::warn!(error = %report, "host spec refused");
                    self.parts.events.emit("host.spec-refused", None, serde_json::json!({ "error": report }));
                }
            }
            Event::Prepared(spec, result) => self.prepared(*spec, result).await,
            Event::Staged(id, digest, result) => self.staged(&id, &digest, result),
            Event::Built(spec, result) => self.built(*spec, result),
            Event::ProviderEnded(id, incarnation, how) => self.provider_ended(&id, incarnation, &how),
            Event::Rebuilt(spec, result) => self.rebuilt(&spec, result),
            Event::SecretChanged(name) => self.secret_changed(&name),
            Event::Revealed(name, result) => self.secret_revealed(name, result),
            Event::Leave => self.is_leaving = true,
            Event::Shutdown(_) => {}
        }
    }

    /// A spec from the lattice: obeyed, and kept for the next start.
    fn offered(&mut self, bytes: &[u8]) -> Result<(), Report> {
        let signed: Signed = serde_json::from_slice(bytes).map_err(malformed)?;
        if self.take_spec(&signed)?
            && let Err(error) = self.parts.store.save_spec(&signed)
        {
            // On a full disk the host still obeys; offline after a restart it would not: say so.
            self.errors += 1;
            tracing::error!(%error, "host spec not persisted: a restart offline would run the one before");
        }
        Ok(())
    }

    /// Verifies a spec and compares it with the one in force; `true` when it is new.
    fn take_spec(&mut self, signed: &Signed) -> Result<bool, Report> {
        let document =
            keys::open(HOST_SPEC_KIND, signed, &self.parts.config.controllers).map_err(|error| {
                Report::new(ErrorCode::Untrusted, format!("host spec: {error}"))
                    .hint("name the controller's key with --trust-controller, if it is yours")
            })?;
        let offered: HostSpec = serde_json::from_slice(&document.payload).map_err(malformed)?;
        let config = &self.parts.config;
        let current = self.told.as_ref().or(self.spec.as_ref());
        let verdict = host_core::accept::accept(&config.lattice, &config.host, current, offered);
        self.is_conflicting = verdict.as_ref().is_err_and(|report| report.code == ErrorCode::Conflict);
        match verdict? {
            host_core::accept::Verdict::Unchanged => Ok(false),
            host_core::accept::Verdict::Accepted { spec, kept } => {
                if !kept.is_empty() {
                    tracing::warn!(?kept, "kept a newer placement of these applications");
                }
                tracing::info!(generation = %spec.generation, actors = spec.actors.len(), "host spec accepted");
                let mut spec = *spec;
                if self.is_leaving
                    && let Some(current) = &self.spec
                {
                    let told = self.told.insert(spec);
                    spec = host_core::leave::retain(current, told.clone());
                }
                self.forget_refusals(&spec);
                self.spec = Some(spec);
                // At its next start the host runs what it ran before it was asked to leave.
                Ok(!self.is_leaving)
            }
        }
    }

    /// What was refused of an actor is settled when it shall be as it is.
    fn forget_refusals(&mut self, spec: &HostSpec) {
        for wanted in &spec.actors {
            let now = self.inventory.actors.get_mut(&wanted.id).filter(|now| now.spec == *wanted);
            if now.is_some_and(|now| now.refused.take().is_some()) {
                self.actor_failures.remove(&wanted.id);
            }
        }
    }

    /// One look at the whole. Returns when the next is due.
    async fn round(&mut self) -> Option<u64> {
        let spec = self.spec.clone()?;
        self.fetch_link_secrets(&spec);
        let steps = reconcile(&spec, &self.inventory, self.now_ms());
        let acted = !steps.actions.is_empty();
        for action in steps.actions {
            self.perform(action).await;
        }
        let again_ms = self.stage(&spec);
        // What was done may allow more at once: an actor whose provider has just been stopped.
        let next_ms = if acted { Some(self.now_ms().saturating_add(50)) } else { steps.wake_at_ms };
        next_ms.into_iter().chain(again_ms).min()
    }

    fn supervisor(&mut self, key: String) -> &mut Supervisor {
        self.supervisors.entry(key).or_insert_with(|| Supervisor::new(RestartPolicy::default()))
    }

    /// Records a failure; returns when it may be tried again. It is an application's, not the host's:
    /// one that fails everywhere must not make one host after the other look unfit.
    fn failed(&mut self, key: String) -> u64 {
        let now = self.now_ms();
        let seed = keys::Digest::of(format!("{key}{}", self.parts.config.host).as_bytes());
        let seed = seed.hex().bytes().take(8).fold(0u64, |seed, byte| seed << 8 | u64::from(byte));
        self.supervisor(key).failed(now, seed).at_ms
    }

    fn is_starting(&self, spec: &ActorSpec) -> bool {
        self.inventory
            .actors
            .get(&spec.id)
            .is_some_and(|now| now.spec == *spec && now.phase == Phase::Starting)
    }
}
