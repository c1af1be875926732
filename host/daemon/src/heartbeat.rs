//! What this host says about itself: every so often, and whenever it is asked.

use crate::config::HostConfig;
use crate::control::Snapshot;
use crate::load::LoadMeter;
use crate::measured::Measured;
use host_actors::Actors;
use lattice_io::{Bus, BusMessage, Clock};
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::subject::Subjects;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Makes heartbeats.
pub struct Pulse {
    config: Arc<HostConfig>,
    boot_id: String,
    /// Kinds of providers that this host can run.
    kinds: Vec<String>,
    /// What others have to compile for it.
    code_for: Option<String>,
    started: Instant,
    clock: Arc<dyn Clock>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    measured: Arc<Measured>,
    /// The actors that are pinned to this host.
    device: Actors,
    state: Mutex<(u64, LoadMeter)>,
    /// Every heartbeat from now on is one of a host that leaves.
    leaving: AtomicBool,
}

impl Pulse {
    /// Of this host, in this boot.
    #[must_use]
    pub fn new(
        config: Arc<HostConfig>,
        boot_id: String,
        (kinds, code_for): (Vec<String>, Option<String>),
        clock: Arc<dyn Clock>,
        (snapshot, measured, device): (watch::Receiver<Arc<Snapshot>>, Arc<Measured>, Actors),
    ) -> Self {
        let meter = LoadMeter::new(config.cpu_millis, config.memory_bytes);
        Self {
            config,
            boot_id,
            kinds,
            code_for,
            started: Instant::now(),
            clock,
            snapshot,
            measured,
            device,
            state: Mutex::new((0, meter)),
            leaving: AtomicBool::new(false),
        }
    }

    /// The host leaves.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// The next heartbeat; each has its own number.
    pub fn beat(&self, leaving: bool) -> Heartbeat {
        let (seq, load) = {
            // A count and a meter cannot be left half-changed by a panic.
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 += 1;
            (state.0, state.1.measure())
        };
        let snapshot = Arc::clone(&self.snapshot.borrow());
        let mut actors = snapshot.actors();
        self.measured.complete(&mut actors);
        // What its configuration says is known better than what was measured.
        let mut latency_ms = self.measured.regions();
        latency_ms.extend(self.config.latency_ms.clone());
        Heartbeat {
            lattice: self.config.lattice.clone(),
            host: self.config.host.clone(),
            boot_id: self.boot_id.clone(),
            seq,
            interval_ms: u64::try_from(self.config.heartbeat.as_millis()).unwrap_or(u64::MAX),
            at_unix_ms: self.clock.unix_ms(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            labels: self.config.labels.clone(),
            generation: snapshot.generation,
            conflicting: snapshot.conflicting,
            apps: snapshot.apps.clone(),
            actors,
            providers: snapshot.providers.clone(),
            load,
            uptime_s: self.started.elapsed().as_secs(),
            errors: snapshot.errors,
            leaving: leaving || self.leaving.load(Ordering::Relaxed),
            kinds: self.kinds.clone(),
            code_for: self.code_for.clone(),
            // What is on the disk besides is not listed yet; what runs is known by its digests.
            cached: Vec::new(),
            latency_ms,
            forwarding: self.device.forwarding().map(Box::new),
        }
    }

    /// A heartbeat as bytes.
    pub fn bytes(&self, leaving: bool) -> Vec<u8> {
        // A struct of strings and numbers: serialising cannot fail.
        serde_json::to_vec(&self.beat(leaving)).unwrap_or_default()
    }

    /// Publishes at the configured interval, and soon after what runs has changed.
    pub async fn run(self: Arc<Self>, bus: Arc<dyn Bus>, subjects: Subjects) {
        let subject = subjects.heartbeat(&self.config.host);
        let mut changed = self.snapshot.clone();
        let shortest = self.config.heartbeat.min(Duration::from_millis(200));
        loop {
            let message = BusMessage::new(subject.clone(), self.bytes(false));
            if let Err(error) = bus.publish(message).await {
                tracing::debug!(%error, "heartbeat not sent");
            }
            tokio::time::sleep(shortest).await;
            let rest = self.config.heartbeat.saturating_sub(shortest);
            // Elapsed or changed: beat again either way.
            if let Ok(Err(_)) = tokio::time::timeout(rest, changed.changed()).await {
                return; // The control loop has ended.
            }
        }
    }
}
