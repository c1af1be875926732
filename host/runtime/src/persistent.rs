//! Persistent actors' components: one [`PersistentKind`] per kind, its instances, and the live
//! states in them. The journal, its turns and its effects are `host/actors`' business; here a state
//! is opened, folded, asked to decide, queried and saved, each under its limits.
//!
//! ```text
//! PersistentKind ── open ──▶ Cell (one store, one task) ── slot ──▶ state (a guest resource)
//!                              │ trap, or over a limit: the store and all its states are gone
//!                              ▼
//!                     every further operation on them: `GuestFault::Gone`
//! ```
//! Several states share a cell ([`KindOptions::states`]): a small actor costs a resource, not an
//! instance. A state that asks to be `alone` gets a cell of its own.
//!
//! Tasks: one per cell, on the kind's tracker; it ends when a look of the ticker finds no state in it (the
//! last cell is kept as long as code that nobody calls is). Channel:
//! one queue of jobs per cell, bounded by its callers (a turn at a time per actor).
//!
//! Invariants: while a guest folds or saves, clocks stand still, random numbers repeat, its output
//! is dropped and every other import traps; while it decides, `wasi:logging` and `wasi:config`
//! answer and every other import that needs a link traps ([`Stage`]). A cell that ran out of memory
//! makes the next ones take half as many states.

mod ambient;
pub(crate) mod bindings;
mod cell;
mod convert;
mod effects;
mod room;

pub(crate) use ambient::Stage;
pub(crate) use bindings::{Indices, find, link};

use crate::component::Component;
use crate::fault;
use crate::idle::{Idles, Unused};
use crate::runtime::Runtime;
use crate::state::ActorShared;
use crate::wiring::Wiring;
use cell::{Cell, Live, Making};
use host_core::guest::{Done, Guest, GuestKind, Opening};
use keys::Digest;
use lattice_protocol::{ActorId, ErrorCode, HostId, LatticeName, Limits, Report};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a kind runs on this host.
#[derive(Debug, Clone)]
pub struct KindOptions {
    /// The actor of the manifest.
    pub id: ActorId,
    /// Its lattice.
    pub lattice: LatticeName,
    /// This host.
    pub host: HostId,
    /// Limits of one instance, with all its states.
    pub limits: Limits,
    /// Longest turn or query, milliseconds.
    pub turn_ms: u64,
    /// Most states of one instance, 1 for an instance each.
    pub states: u32,
    /// Values of `wasi:config`.
    pub config: BTreeMap<String, String>,
}

/// Most states that one instance may hold.
pub const MAX_STATES: u32 = 4_096;

/// What a kind is doing, and has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindStats {
    /// Instances.
    pub instances: u32,
    /// Live states.
    pub states: u32,
    /// Turns and queries.
    pub calls: u64,
    /// Those that ended with a trap or at a limit.
    pub traps: u64,
}

/// One kind of persistent actor on this host.
pub struct PersistentKind {
    runtime: Arc<Runtime>,
    component: Arc<Component>,
    shared: Arc<ActorShared>,
    meters: Arc<Meters>,
    turn: Duration,
    cells: Mutex<Vec<Arc<Cell>>>,
    unused: Unused,
    tasks: TaskTracker,
    ending: CancellationToken,
}

/// Counters that cells write.
#[derive(Debug)]
pub(crate) struct Meters {
    calls: AtomicU64,
    traps: AtomicU64,
    /// States that a new cell takes.
    capacity: AtomicU32,
}

impl Meters {
    fn counted(&self, trapped: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.traps.fetch_add(u64::from(trapped), Ordering::Relaxed);
    }
    /// A cell with so many states ran out of memory.
    fn crowded(&self, states: u32) {
        self.capacity.fetch_min((states / 2).max(1), Ordering::Relaxed);
    }
}

impl Drop for PersistentKind {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

impl PersistentKind {
    /// Starts a kind: checks its limits against the component, and opens one state to see that it
    /// starts.
    ///
    /// # Errors
    /// `actor start failed: …`, with the code of what is wrong; `E_NO_HANDLER` when the component
    /// is no persistent actor.
    pub async fn start(
        runtime: &Arc<Runtime>,
        component: Arc<Component>,
        options: KindOptions,
        wiring: Arc<Wiring>,
    ) -> Result<Arc<Self>, Report> {
        let id = options.id.clone();
        let starting = Self::try_start(runtime, component, options, wiring);
        starting.await.map_err(|report| fault::start_failed(report, &id))
    }

    async fn try_start(
        runtime: &Arc<Runtime>,
        component: Arc<Component>,
        options: KindOptions,
        wiring: Arc<Wiring>,
    ) -> Result<Arc<Self>, Report> {
        if !component.is_persistent() {
            return Err(Report::new(ErrorCode::NoHandler, "export trellis:actor/entity and behaviour")
                .hint("a persistent actor exports both; see: trellis inspect"));
        }
        crate::actor::check_limits(&options.limits, &component)?;
        let place = (options.lattice, options.host);
        let shared = ActorShared::new(options.id, place, options.limits, options.config, wiring);
        let kind = Arc::new(Self {
            runtime: Arc::clone(runtime),
            component,
            shared,
            meters: Arc::new(Meters {
                calls: AtomicU64::new(0),
                traps: AtomicU64::new(0),
                capacity: AtomicU32::new(options.states.clamp(1, MAX_STATES)),
            }),
            turn: Duration::from_millis(options.turn_ms.max(1)),
            cells: Mutex::default(),
            unused: Unused::new(Instant::now()),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
        });
        kind.try_out().await?;
        runtime.watch(&kind);
        Ok(kind)
    }

    /// Makes one instance, within the time that a start may take, and lets it go.
    async fn try_out(&self) -> Result<(), Report> {
        let making = self.making();
        room::Room::create(&making).await.map(drop)
    }

    fn making(&self) -> Making {
        Making {
            runtime: Arc::clone(&self.runtime),
            component: Arc::clone(&self.component),
            shared: Arc::clone(&self.shared),
            meters: Arc::clone(&self.meters),
            turn: self.turn,
        }
    }

    /// The actor of the manifest.
    #[must_use]
    pub fn id(&self) -> &ActorId {
        &self.shared.id
    }
    /// Its component.
    #[must_use]
    pub fn loaded(&self) -> &Arc<Component> {
        &self.component
    }
    /// Replaces the links that its effects go through.
    pub fn set_wiring(&self, wiring: Arc<Wiring>) {
        self.shared.wiring.store(wiring);
    }
    /// Replaces its configuration.
    pub fn set_config(&self, config: BTreeMap<String, String>) {
        self.shared.config.store(Arc::new(config));
    }

    /// What it is doing, and has done.
    #[must_use]
    pub fn stats(&self) -> KindStats {
        let cells = self.cells();
        let alive = cells.iter().filter(|cell| !cell.is_dead());
        let states = alive.clone().map(|cell| cell.states()).fold(0, u32::saturating_add);
        KindStats {
            instances: u32::try_from(alive.count()).unwrap_or(u32::MAX),
            states,
            calls: self.meters.calls.load(Ordering::Relaxed),
            traps: self.meters.traps.load(Ordering::Relaxed),
        }
    }

    /// A list that every step leaves whole.
    fn cells(&self) -> MutexGuard<'_, Vec<Arc<Cell>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cell with room, or a new one; the state is counted in.
    fn cell(&self, alone: bool) -> Arc<Cell> {
        let capacity = if alone { 1 } else { self.meters.capacity.load(Ordering::Relaxed) };
        let mut cells = self.cells();
        cells.retain(|cell| !cell.is_dead());
        let found = (!alone).then(|| cells.iter().find(|cell| cell.take_place(capacity))).flatten();
        if let Some(cell) = found {
            return Arc::clone(cell);
        }
        let (cell, serving) = Cell::new(self.making(), alone, self.ending.clone());
        cells.push(Arc::clone(&cell));
        drop(cells);
        self.tasks.spawn(serving);
        cell
    }

    /// Lets every instance go: states that are still held answer `Gone`.
    pub async fn stop(&self) {
        self.ending.cancel();
        self.cells().clear();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Idles for PersistentKind {
    /// An empty cell goes when it is not the last one: who comes next finds one ready.
    fn reap(&self, _: Instant) {
        let mut cells = self.cells();
        let mut keeps = cells.iter().all(|cell| cell.states() == 0);
        cells.retain(|cell| !cell.is_dead() && (cell.states() > 0 || std::mem::take(&mut keeps)));
    }

    fn unload_unused(&self, now: Instant) -> bool {
        let stats = self.stats();
        if self.unused.look(stats.calls, stats.states > 0, now) < self.runtime.config.unload_after() {
            return false;
        }
        // Whoever takes a place meanwhile keeps its cell.
        self.cells().retain(|cell| cell.states() > 0);
        self.component.unload()
    }
}

impl GuestKind for PersistentKind {
    fn component(&self) -> Digest {
        self.component.claims().digest
    }

    fn open(&self, opening: Opening, done: Done<Arc<dyn Guest>>) {
        let cell = self.cell(opening.alone);
        Live::open(cell, opening, done);
    }
}
