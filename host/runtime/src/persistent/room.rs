//! The inside of a cell: the store and its states. Each operation runs alone, within its time; one
//! that fails in the engine takes the store with it.

use super::ambient::{Ambient, Clock, Dice, Stage};
use super::bindings::PersistentActor;
use super::cell::{Job, Making};
use super::convert;
use crate::call::CallInfo;
use crate::fault;
use crate::instance::{self, new_store};
use crate::state::InstanceState;
use bytes::Bytes;
use host_core::guest::{GuestFault, Opening, Saved, Turn, Verdict};
use lattice_journal::{Command, Event};
use lattice_protocol::{ErrorCode, Report};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::Store;
use wasmtime::component::ResourceAny;
use wasmtime_wasi::WasiCtx;

/// Handles that the components of one store may hold, beside one for each state.
const HANDLES: usize = 4_096;
/// Longest fold of one batch of events, beside a millisecond for each event.
const FOLD: Duration = Duration::from_secs(1);

/// How a store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Trap,
    Memory,
}

/// A store, the guest in it, and its states by slot.
pub(super) struct Room {
    store: Store<InstanceState>,
    guest: PersistentActor,
    ambient: Arc<Ambient>,
    states: HashMap<u64, ResourceAny>,
    turn: Duration,
}

/// What an operation is allowed.
struct Bounds {
    stage: Stage,
    now_ms: u64,
    seed: u64,
    within: Duration,
}

impl Bounds {
    fn folding(within: Duration) -> Self {
        Self { stage: Stage::Folding, now_ms: 0, seed: 0, within }
    }
}

impl Room {
    /// Instantiates, within the time that a start may take.
    ///
    /// # Errors
    /// What is wrong with the component, or that there is no room.
    pub(super) async fn create(making: &Making) -> Result<Self, Report> {
        let Making { runtime, component, shared, turn, .. } = making;
        let patience = Duration::from_millis(runtime.config.start_ms);
        let info = CallInfo::within(patience);
        let deadline = info.deadline;
        let code = component.code(runtime).await?;
        let mut store = new_store(&code, shared, &runtime.budget, info);
        let ambient = Arc::new(Ambient::default());
        ambient.set(Stage::Folding, 0, 0);
        store.data_mut().wasi = wasi(making, &ambient);
        store.data_mut().call.stage = Some(Stage::Folding);
        let states = usize::try_from(super::MAX_STATES).unwrap_or(usize::MAX);
        store.set_max_component_handles(HANDLES.saturating_add(states));
        let indices = code.persistent.as_ref().ok_or_else(|| {
            Report::new(ErrorCode::NoHandler, "export trellis:actor/entity and behaviour").at(&shared.id)
        })?;
        let making = async {
            let instance = code.pre.instantiate_async(&mut store).await?;
            indices.load(&mut store, &instance)
        };
        match tokio::time::timeout_at(deadline.into(), making).await {
            Ok(Ok(guest)) => Ok(Self { store, guest, ambient, states: HashMap::new(), turn: *turn }),
            Ok(Err(error)) => Err(fault::report(&error, &mut store)),
            Err(_) => Err(Report::new(ErrorCode::StartTimeout, "instantiation took too long")
                .at(&shared.id)
                .limit(format!("{} ms", runtime.config.start_ms))
                .hint("do less in start functions")),
        }
    }

    /// Does a job and says so. `true` when it was a turn or a query.
    ///
    /// # Errors
    /// The store is gone.
    pub(super) async fn perform(&mut self, job: Job) -> Result<bool, Ended> {
        match job {
            Job::Open(live, opening, done) => {
                let slot = live.slot();
                let answer = self.open(slot, opening).await;
                let (answer, ended) = settled(answer);
                done(answer.map(|()| live as Arc<dyn host_core::guest::Guest>));
                ended.map_or(Ok(false), Err)
            }
            Job::Fold(slot, events, done) => tell(self.fold(slot, &events).await, done, false),
            Job::Decide(slot, turn, command, done) => {
                tell(self.decide(slot, turn, &command).await, done, true)
            }
            Job::Query(slot, now_ms, query, done) => tell(self.query(slot, now_ms, query).await, done, true),
            Job::Save(slot, done) => tell(self.save(slot).await, done, false),
            Job::Close(slot) => self.close(slot).await,
        }
    }

    fn state(&self, slot: u64) -> Result<ResourceAny, Fault> {
        self.states.get(&slot).copied().ok_or(Fault::Mild(GuestFault::Gone))
    }

    async fn open(&mut self, slot: u64, opening: Opening) -> Result<(), Fault> {
        let Opening { key, snapshot, .. } = opening;
        let id = key.id.as_str();
        let bounds = Bounds::folding(FOLD.max(self.turn));
        let opened = self
            .run(bounds, async |store, guest| {
                let entity = guest.trellis_actor_entity().state();
                match snapshot {
                    None => entity.call_constructor(store, id).await.map(Ok),
                    Some(Saved { version, state }) => entity.call_load(store, id, version, &state).await,
                }
            })
            .await?;
        match opened {
            Ok(state) => {
                self.states.insert(slot, state);
                Ok(())
            }
            Err(words) => {
                let report = Report::new(ErrorCode::Version, "snapshot not read by the actor").at(&key);
                Err(Fault::Mild(GuestFault::Trapped(report.got(cut(&words)))))
            }
        }
    }

    async fn fold(&mut self, slot: u64, events: &[Event]) -> Result<(), Fault> {
        let more = Duration::from_millis(u64::try_from(events.len()).unwrap_or(u64::MAX));
        self.apply(slot, events, FOLD.max(self.turn).saturating_add(more)).await
    }

    async fn apply(&mut self, slot: u64, events: &[Event], within: Duration) -> Result<(), Fault> {
        let state = self.state(slot)?;
        let events: Vec<_> = events.iter().map(convert::event).collect();
        let applied = self
            .run(Bounds::folding(within), async |store, guest| {
                guest.trellis_actor_entity().state().call_apply(store, state, &events).await
            })
            .await?;
        let Err(words) = applied else { return Ok(()) };
        // Its state may be half-changed; the others of this store are as they were.
        self.drop_state(slot).await?;
        let report = Report::new(ErrorCode::Trap, "event refused by the actor").got(cut(&words));
        Err(Fault::Mild(GuestFault::Trapped(report.hint("an actor reads every event that it ever wrote"))))
    }

    async fn decide(&mut self, slot: u64, turn: Turn, command: &Command) -> Result<Verdict, Fault> {
        let state = self.state(slot)?;
        let until = Instant::now() + self.turn;
        let bounds =
            Bounds { stage: Stage::Deciding, now_ms: turn.now_ms, seed: turn.seed, within: self.turn };
        let (turn, command) = (convert::turn(turn), convert::command(command));
        let decided = self
            .run(bounds, async |store, guest| {
                guest.trellis_actor_behaviour().call_decide(store, state, &turn, &command).await
            })
            .await?;
        let decision = match decided.map_err(convert::refusal).and_then(convert::decision) {
            Ok(decision) => decision,
            Err(report) => return Ok(Verdict::Refused(report)),
        };
        if !decision.events.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            self.apply(slot, &decision.events, left).await?;
        }
        Ok(Verdict::Decided(decision))
    }

    async fn query(
        &mut self,
        slot: u64,
        now_ms: u64,
        (name, body): (String, Bytes),
    ) -> Result<Result<Bytes, Report>, Fault> {
        let state = self.state(slot)?;
        let bounds = Bounds { stage: Stage::Deciding, now_ms, seed: now_ms, within: self.turn };
        let answer = self
            .run(bounds, async |store, guest| {
                guest.trellis_actor_behaviour().call_query(store, state, &name, &body).await
            })
            .await?;
        Ok(convert::reply(answer))
    }

    async fn save(&mut self, slot: u64) -> Result<Saved, Fault> {
        let state = self.state(slot)?;
        let bounds = Bounds::folding(FOLD.max(self.turn));
        let (version, state) = self
            .run(bounds, async |store, guest| {
                guest.trellis_actor_entity().state().call_save(store, state).await
            })
            .await?;
        Ok(Saved { version, state: state.into() })
    }

    async fn close(&mut self, slot: u64) -> Result<bool, Ended> {
        match self.drop_state(slot).await {
            Err(Fault::Ended(_, ended)) => Err(ended),
            Err(Fault::Mild(_)) | Ok(()) => Ok(false),
        }
    }

    async fn drop_state(&mut self, slot: u64) -> Result<(), Fault> {
        let Some(state) = self.states.remove(&slot) else { return Ok(()) };
        self.run(Bounds::folding(self.turn), async |store, _| state.resource_drop_async(store).await).await
    }

    /// Runs one operation of the guest.
    async fn run<T>(
        &mut self,
        bounds: Bounds,
        operation: impl AsyncFnOnce(&mut Store<InstanceState>, &PersistentActor) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + bounds.within;
        self.ambient.set(bounds.stage, bounds.now_ms, bounds.seed);
        let call = &mut self.store.data_mut().call;
        call.stage = Some(bounds.stage);
        call.info.deadline = deadline;
        let running = operation(&mut self.store, &self.guest);
        match tokio::time::timeout_at(deadline.into(), running).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let report = fault::report(&error, &mut self.store);
                let full = matches!(report.code, ErrorCode::Memory | ErrorCode::InsufficientResources);
                // What one decision takes says nothing about how many states fit.
                let memory = full && bounds.stage == Stage::Folding;
                let ended = if memory { Ended::Memory } else { Ended::Trap };
                Err(Fault::Ended(GuestFault::Trapped(report), ended))
            }
            Err(_) => {
                let report = Report::new(ErrorCode::Timeout, "turn took too long")
                    .at(&self.store.data().call.actor.id)
                    .limit(format!("{} ms", bounds.within.as_millis()))
                    .hint("do less in one turn, or raise persistent.turnMs");
                Err(Fault::Ended(GuestFault::Trapped(report), Ended::Trap))
            }
        }
    }
}

/// How an operation failed: with the store, or for its own state alone.
enum Fault {
    Ended(GuestFault, Ended),
    Mild(GuestFault),
}

fn settled<T>(answer: Result<T, Fault>) -> (Result<T, GuestFault>, Option<Ended>) {
    match answer {
        Ok(value) => (Ok(value), None),
        Err(Fault::Ended(fault, ended)) => (Err(fault), Some(ended)),
        Err(Fault::Mild(fault)) => (Err(fault), None),
    }
}

fn tell<T>(answer: Result<T, Fault>, done: host_core::guest::Done<T>, calls: bool) -> Result<bool, Ended> {
    let (answer, ended) = settled(answer);
    done(answer);
    ended.map_or(Ok(calls), Err)
}

fn cut(words: &str) -> String {
    words.chars().take(400).collect()
}

/// As for any actor, but with a clock that stands still, random numbers that repeat, and output
/// that can be dropped.
fn wasi(making: &Making, ambient: &Arc<Ambient>) -> WasiCtx {
    instance::wasi(&making.shared, Some(&ambient.quiet))
        .wall_clock(Clock(Arc::clone(ambient)))
        .monotonic_clock(Clock(Arc::clone(ambient)))
        .secure_random(Dice(Arc::clone(ambient)))
        .insecure_random(Dice(Arc::clone(ambient)))
        .insecure_random_seed(0)
        .build()
}
