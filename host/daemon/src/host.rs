//! Putting a host together, and taking it apart in reverse.
//!
//! Tasks: *control* (essential, owns what runs), *specs* (watches this host's key), *identity*
//! (asks whether the host's id is free, then begins *heartbeat*, *regions*, *region probes* and
//! *requests*, two subscriptions), *lag*, *checks*, *events*, *secrets* (two: what has changed). All hang in one scope; the host is leaving when
//! [`HostHandle::leaving`] is done, and gone when [`HostHandle::shutdown`] returns.

use crate::artifacts::{self, Artifacts};
use crate::config::HostConfig;
use crate::control::{Control, Event, Parts, Snapshot};
use crate::directory::Directory;
use crate::entities::{Entities, MemoryRoom, OverBus};
use crate::files::Files;
use crate::heartbeat::Pulse;
use crate::identity::Identity;
use crate::measured::{Measured, Regions};
use crate::processes::{Launcher, Processes};
use crate::secrets::Secrets;
use host_actors::{Actors, DeviceOptions, DomainActors, ForwardOptions, LatticeOptions, Peers, Policy};
use host_runtime::{Runtime, RuntimeConfig};
use host_store::JournalOptions;
use lattice_io::task::CancellationToken;
use lattice_io::{BusError, BusMessage, BusStatus, Clock, Events, KvEvent, Lattice, TaskScope, WatchKeys};
use lattice_journal::SessionId;
use lattice_journal::lease::LeasePolicy;
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::Factory;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Time in which a server says that nobody hears a heartbeat.
const HEARD: Duration = Duration::from_millis(250);

/// What a host is given by whoever composes the process.
pub struct HostDeps {
    /// The lattice; it need not be reachable yet.
    pub lattice: Lattice,
    /// Providers that can be built here.
    pub factories: Vec<Arc<dyn Factory>>,
    /// What it takes to run providers in processes of their own; none where there is one process.
    pub processes: Option<Processes>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Identifies this start of the process; random.
    pub boot_id: String,
}

/// A running host.
pub struct HostHandle {
    scope: TaskScope,
    inbox: mpsc::Sender<Event>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    directory: Arc<Directory>,
    entities: Entities,
    pulse: Arc<Pulse>,
    leave: CancellationToken,
    announced: CancellationToken,
    lattice: Lattice,
    subjects: Subjects,
    config: Arc<HostConfig>,
    refused: Arc<OnceLock<Report>>,
    // Held for the lock on the data directory.
    _files: Arc<Files>,
}

/// Starts a host. It serves what its disk says before the lattice is reachable.
///
/// # Errors
/// Configuration, a data directory in use or not writable, or a runtime that does not fit the
/// machine.
pub async fn start(config: HostConfig, deps: HostDeps, parent: &TaskScope) -> Result<HostHandle, Report> {
    if let Some(problem) = config.problems().into_iter().next() {
        return Err(problem);
    }
    let config = Arc::new(config);
    let subjects = Subjects::new(config.lattice.clone());
    let store = Arc::new(Files::open(&config.data_dir).map_err(Report::from)?);
    let runtime = Runtime::new(RuntimeConfig {
        cache_dir: Some(store.cache_dir().map_err(Report::from)?),
        cache_key: *store.key(),
        memory_budget_bytes: config.memory_bytes,
        max_waiting: config.max_waiting,
        max_wait_ms: u64::try_from(config.max_wait.as_millis()).unwrap_or(u64::MAX),
        unload_ms: u64::try_from(config.unload_after.as_millis()).unwrap_or(u64::MAX),
        elsewhere: (!(config.compiles && Runtime::has_compiler()))
            .then(|| artifacts::elsewhere(&config, Arc::clone(&deps.lattice.blobs))),
        ..RuntimeConfig::default()
    })?;
    let code_for = runtime.code_for().map(ToString::to_string);
    let scope = parent.child("host");
    let lattice = deps.lattice;
    let (events, publisher) = lattice_io::events::channel(
        config.lattice.clone(),
        config.host.to_string(),
        deps.boot_id.clone(),
        Arc::clone(&deps.clock),
    );
    let secrets = Arc::new(Secrets::new(
        config.host.clone(),
        config.secrets.clone(),
        (lattice.clone(), subjects.secrets_bucket()),
        store.sealed().map_err(Report::from)?,
    ));
    let directory = Arc::new(Directory::default());
    let entities = persistent_actors(&config, &store, &deps.clock, (&lattice, &subjects, &events), &scope)?;
    let kinds = deps.factories.iter().map(|factory| factory.kind().to_owned()).collect();
    let parts = Parts {
        config: Arc::clone(&config),
        lattice: lattice.clone(),
        runtime,
        factories: Arc::new(
            deps.factories.into_iter().map(|factory| (factory.kind(), factory)).collect::<BTreeMap<_, _>>(),
        ),
        artifacts: Arc::new(Artifacts::new(Arc::clone(&store), Arc::clone(&lattice.blobs), &config)),
        launcher: Arc::new(Launcher {
            processes: deps.processes,
            config: Arc::clone(&config),
            store: Arc::clone(&store),
        }),
        store: Arc::clone(&store),
        clock: Arc::clone(&deps.clock),
        events,
        secrets: Arc::clone(&secrets),
        scope: scope.child("work"),
        directory: Arc::clone(&directory),
        entities: entities.clone(),
    };
    let (control, inbox, snapshot) = Control::new(parts);
    let measured = Arc::new(Measured::default());
    let pulse = Arc::new(Pulse::new(
        Arc::clone(&config),
        deps.boot_id,
        (kinds, code_for),
        Arc::clone(&deps.clock),
        (snapshot.clone(), Arc::clone(&measured), entities.device.clone()),
    ));
    let lag = Arc::clone(&measured).watch_lag(snapshot.clone(), config.heartbeat);
    scope.spawn_until_cancelled("lag", lag);
    scope.spawn_until_cancelled("checks", Arc::clone(&measured).watch_checks(snapshot.clone()));
    let (leave, announced) = (CancellationToken::new(), CancellationToken::new());
    let handle = HostHandle {
        scope: scope.clone(),
        inbox: inbox.clone(),
        snapshot,
        directory,
        entities,
        pulse: Arc::clone(&pulse),
        leave: leave.clone(),
        announced: announced.clone(),
        lattice: lattice.clone(),
        subjects: subjects.clone(),
        config: Arc::clone(&config),
        refused: Arc::default(),
        _files: store,
    };
    scope.spawn_until_cancelled("events", publisher.run(lattice.clone()));
    scope.spawn_essential("control", move |_| control.run());
    watch_secrets(secrets, &lattice, &subjects, (&scope, inbox.clone()))?;
    let specs = lattice.kv.assume(&subjects.spec_bucket()).map_err(Report::from)?;
    let key = config.host.to_string();
    scope.spawn_until_cancelled("specs", async move {
        let mut watch = specs.watch(WatchKeys::One(key));
        while let Some(event) = watch.next().await {
            // A deleted key changes nothing: a host never stops its actors because something is gone.
            if let KvEvent::Put(entry) = event
                && inbox.send(Event::Spec(entry.value.to_vec())).await.is_err()
            {
                return;
            }
        }
    });
    let regions = Regions::new(&config, measured, (Arc::clone(&lattice.bus), subjects.clone()));
    let identity = Identity {
        pulse,
        regions,
        bus: Arc::clone(&lattice.bus),
        subjects,
        host: config.host.clone(),
        leave: handle.leave.clone(),
        announced,
        refused: Arc::clone(&handle.refused),
        scope: scope.clone(),
    };
    scope.spawn_until_cancelled("identity", identity.announce());
    Ok(handle)
}

/// Nothing of it runs, and no journal is opened, before there is a kind.
fn persistent_actors(
    config: &HostConfig,
    store: &Files,
    clock: &Arc<dyn Clock>,
    (lattice, subjects, events): (&Lattice, &Subjects, &Events),
    scope: &TaskScope,
) -> Result<Entities, Report> {
    let mut boot = [0; 16];
    getrandom::fill(&mut boot)
        .map_err(|error| Report::new(ErrorCode::Internal, format!("no random numbers: {error}")))?;
    let over_bus = OverBus { bus: Arc::clone(&lattice.bus), subjects: subjects.clone() };
    let peers: Arc<dyn Peers> = Arc::new(over_bus);
    let options = DeviceOptions {
        data: store.data(),
        session: SessionId::new(&config.host, boot),
        journal: JournalOptions::default(),
        policy: Policy::default(),
        clock: Arc::clone(clock),
        peers: Arc::clone(&peers),
        snapshot_key: config.snapshot_key.clone(),
        forward: config.forward.map(|policy| ForwardOptions {
            host: config.host.clone(),
            lattice: lattice.clone(),
            subjects: subjects.clone(),
            events: Some(events.clone()),
            policy,
        }),
    };
    let device = Actors::new(options, scope)?;
    let (snapshots, aside) = device.stores();
    let options = LatticeOptions {
        host: config.host.clone(),
        lattice: lattice.clone(),
        subjects: subjects.clone(),
        policy: Policy::default(),
        lease: lease(config.heartbeat),
        clock: Arc::clone(clock),
        peers,
        snapshots,
        aside,
        room: Arc::new(MemoryRoom { bytes: config.memory_bytes }),
    };
    Ok(Entities {
        device,
        lattice: DomainActors::new(options, scope),
        bus: Arc::clone(&lattice.bus),
        subjects: subjects.clone(),
        host: config.host.clone(),
    })
}

/// A host that beats often is on a good network: its lease is short, and so is its failover.
fn lease(heartbeat: Duration) -> LeasePolicy {
    let beat_ms = u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX);
    let ttl_ms = beat_ms.saturating_mul(6).clamp(LeasePolicy::FAST.ttl_ms, LeasePolicy::EDGE.ttl_ms);
    LeasePolicy { ttl_ms, renew_ms: ttl_ms / 4, margin_ms: ttl_ms / 5 }
}

/// Two tasks: one finds what has changed, one tells the control loop.
fn watch_secrets(
    secrets: Arc<Secrets>,
    lattice: &Lattice,
    subjects: &Subjects,
    (scope, inbox): (&TaskScope, mpsc::Sender<Event>),
) -> Result<(), Report> {
    let bucket = lattice.kv.assume(&subjects.secrets_bucket()).map_err(Report::from)?;
    let (sender, mut changed) = mpsc::channel(16);
    scope.spawn_until_cancelled("secrets", secrets.watch(bucket, sender));
    scope.spawn_until_cancelled("changed secrets", async move {
        while let Some(name) = changed.recv().await {
            if inbox.send(Event::SecretChanged(name)).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

impl HostHandle {
    /// What runs.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// Who runs here.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// The persistent actors of this host.
    #[must_use]
    pub fn entities(&self) -> Entities {
        self.entities.clone()
    }

    /// What this host says about itself.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        self.pulse.beat(false)
    }

    /// Done when the lattice has heard of this host and can ask it; or after so long, as a host serves without
    /// a lattice too; or when it has to end.
    pub async fn announced(&self, within: Duration) {
        tokio::select! {
            () = self.announced.cancelled() => {}
            () = self.leave.cancelled() => {}
            () = tokio::time::sleep(within) => {}
        }
    }

    /// Done when somebody has asked the host to leave, or an essential task has failed.
    pub async fn leaving(&self) {
        tokio::select! {
            () = self.leave.cancelled() => {}
            failure = self.scope.failed() => tracing::error!(error = %failure, "host failed"),
        }
    }

    /// Says that this host leaves, and serves on until what it runs is elsewhere: until its spec asks for
    /// nothing more, or for [`HostConfig::handover`] at most. Without the lattice, or a controller, there is
    /// nobody to take over, and it returns at once.
    pub async fn hand_over(&self) {
        let mut status = self.lattice.bus.status();
        if self.refused.get().is_some() || *status.borrow_and_update() != BusStatus::Connected {
            return;
        }
        self.pulse.leave();
        if self.inbox.send(Event::Leave).await.is_err() {
            return;
        }
        // Nobody answers a heartbeat; but when nobody hears it either, the server says so at once.
        if let Err(BusError::NoResponders { .. }) = self.lattice.bus.request(self.goodbye(), HEARD).await {
            tracing::info!("no controller hears that this host leaves");
            return;
        }
        let mut snapshot = self.snapshot.clone();
        let patience = self.config.handover;
        tokio::select! {
            // An error: the control loop has ended.
            _ = snapshot.wait_for(|now| now.released) => {}
            // An error: the bus is closed.
            _ = status.wait_for(|now| *now != BusStatus::Connected) => {}
            () = tokio::time::sleep(patience) => {
                tracing::warn!(?patience, "nobody has taken over what this host runs: leaving all the same");
            }
        }
    }

    fn goodbye(&self) -> BusMessage {
        BusMessage::new(self.subjects.heartbeat(&self.config.host), self.pulse.bytes(true))
    }

    /// Says goodbye, drains every actor, and ends.
    ///
    /// # Errors
    /// `E_HOST_ID_IN_USE` when it had to end because another machine has its id; `E_TIMEOUT` when
    /// something did not end in time and was cut off.
    pub async fn shutdown(self) -> Result<(), Report> {
        let refused = self.refused.get().cloned();
        if refused.is_none() {
            self.pulse.leave();
            if let Err(error) = self.lattice.bus.publish(self.goodbye()).await {
                tracing::debug!(%error, "goodbye not sent");
            }
        }
        let (done, drained) = oneshot::channel();
        // Once for whoever is inside, once for what they have begun.
        let patience = 2 * self.config.drain + Duration::from_secs(2);
        if self.inbox.send(Event::Shutdown(done)).await.is_ok() {
            // Elapsed: the scope's shutdown below cuts off what is left.
            let _ = tokio::time::timeout(patience, drained).await;
        }
        let report = self.scope.shutdown(Duration::from_secs(5)).await;
        if let Some(refused) = refused {
            return Err(refused);
        }
        if report.aborted.is_empty() {
            return Ok(());
        }
        Err(Report::new(ErrorCode::Timeout, "tasks cut off at shutdown").at(report.aborted.join(", ")))
    }
}
