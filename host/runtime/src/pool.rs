//! Who may use an instance, which one, and who waits. The decisions are `host_core::pool`'s; here
//! are the counters it decides over, the instances themselves, and the queue.
//!
//! ```text
//! enter ──▶ Lease ──▶ (Instance or Worker, or leave to make one) ──▶ dropped ──▶ next in the queue
//! ```
//! Invariants: every [`Lease`] that ends, however it ends, is counted out once; nobody overtakes
//! the queue; an instance is in the pool or in one lease, never in both; no guest code runs and no
//! store is dropped under the lock.

mod state;

use crate::call::CallInfo;
use crate::instance::Instance;
use crate::worker::Worker;
use host_core::pool::{Decision, PoolLimits, PoolState, decide};
use lattice_protocol::{ActorId, ErrorCode, InstancePolicy, Report};
use state::{Desk, State};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// The instances of one actor.
pub(crate) struct Pool {
    actor: ActorId,
    policy: InstancePolicy,
    state: Mutex<State>,
    /// Told when no call is in flight any more.
    quiet: Notify,
}

/// What a call was given.
pub(crate) enum Seat {
    /// An instance that nobody else uses.
    Instance(Instance),
    /// A place in a concurrent instance.
    Worker(Arc<Worker>),
    /// Leave to make an instance.
    Make,
}

/// One call's place in the pool; ends when dropped.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    seat: Option<Seat>,
    /// The worker this call sits at, once it does.
    worker: Option<Arc<Worker>>,
    returned: Option<Instance>,
    /// Does this lease answer for an instance that counts as live?
    holds_live: bool,
}

/// What a lease leaves behind.
struct Leaving<'lease> {
    worker: Option<&'lease Arc<Worker>>,
    /// An instance in order.
    instance: Option<Instance>,
    holds_live: bool,
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(actor: ActorId, policy: InstancePolicy, limits: PoolLimits) -> Arc<Self> {
        Arc::new(Self { actor, policy, state: Mutex::new(State::new(limits)), quiet: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is only counters and lists, whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters now.
    pub(crate) fn counts(&self) -> PoolState {
        self.lock().counts
    }

    /// Other limits, from now on: more replicas let those who wait in.
    pub(crate) fn set_limits(&self, limits: PoolLimits) {
        let mut state = self.lock();
        state.limits = limits;
        state.serve_queue();
    }

    /// Enters: at once, or after waiting until the call's deadline.
    ///
    /// # Errors
    /// `E_OVERLOADED` when the queue is full or the wait too long; `E_ACTOR_NOT_FOUND` when the
    /// actor is stopping.
    pub(crate) async fn enter(self: &Arc<Self>, info: &CallInfo) -> Result<Lease, Report> {
        let ticket = {
            let mut state = self.lock();
            if state.closed {
                return Err(self.stopping());
            }
            match decide(&state.counts, &state.limits) {
                Decision::Reuse => {
                    let seat = state.take_idle();
                    return Ok(self.lease(seat));
                }
                Decision::Instantiate => {
                    let seat = state.make();
                    return Ok(self.lease(seat));
                }
                Decision::Reject => return Err(self.overloaded(state.counts, "too many calls wait")),
                Decision::Queue => state.join_queue(),
            }
        };
        self.wait(ticket, info).await
    }

    async fn wait(
        self: &Arc<Self>,
        (ticket, grant): (u64, oneshot::Receiver<Seat>),
        info: &CallInfo,
    ) -> Result<Lease, Report> {
        let mut place = Place { pool: self, ticket, grant };
        match tokio::time::timeout_at(info.deadline.into(), &mut place.grant).await {
            Ok(Ok(seat)) => Ok(self.lease(seat)),
            Ok(Err(_)) => Err(self.stopping()),
            Err(_) => Err(self.overloaded(self.counts(), "waited until the deadline")),
        }
    }

    fn lease(self: &Arc<Self>, seat: Seat) -> Lease {
        let worker = match &seat {
            Seat::Worker(worker) => Some(Arc::clone(worker)),
            _ => None,
        };
        let holds_live = worker.is_none();
        Lease { pool: Arc::clone(self), seat: Some(seat), worker, returned: None, holds_live }
    }

    fn stopping(&self) -> Report {
        Report::new(ErrorCode::ActorNotFound, "actor is stopping").at(&self.actor)
    }

    fn overloaded(&self, counts: PoolState, why: &str) -> Report {
        Report::new(ErrorCode::Overloaded, format!("overloaded: {why}"))
            .at(&self.actor)
            .got(format!("{} in flight, {} waiting", counts.in_flight, counts.queued))
            .hint("try again, raise limits.concurrency, or add replicas")
    }

    /// Drops what has been idle for too long: by its policy, or an instance that was made at the start and
    /// has waited for its one call for as long as `spare` says.
    pub(crate) fn reap(&self, now: Instant, spare: Duration) {
        let patience = match self.policy {
            InstancePolicy::Warm { idle_ms, .. } => Duration::from_millis(idle_ms),
            InstancePolicy::PerCall => spare,
        };
        let over = |used: Instant| now.saturating_duration_since(used) >= patience;
        let mut state = self.lock();
        let fresh = state.idle.iter().position(|instance| !over(instance.used)).unwrap_or(state.idle.len());
        let old: Vec<_> = state.idle.drain(..fresh).collect();
        let gone = u32::try_from(old.len()).unwrap_or(u32::MAX);
        state.counts.idle -= gone;
        state.counts.live -= gone;
        let (tired, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut state.workers)
            .into_iter()
            .partition(|desk| desk.free == self.places() && over(desk.worker.used()));
        state.workers = kept;
        state.counts.idle -= u32::try_from(tired.len()).unwrap_or(0);
        drop(state);
        drop((old, tired));
    }

    /// Takes no new call and lets go of who waits and of every idle instance.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.counts.queued = 0;
        let idle = std::mem::take(&mut state.idle);
        let gone = u32::try_from(idle.len()).unwrap_or(u32::MAX);
        state.counts.live -= gone;
        state.counts.idle = 0;
        let left = (std::mem::take(&mut state.waiting), std::mem::take(&mut state.workers), idle);
        drop(state);
        drop(left);
    }

    /// Waits until no call is in flight.
    pub(crate) async fn drained(&self) {
        loop {
            let quiet = self.quiet.notified();
            if self.lock().counts.in_flight == 0 {
                return;
            }
            quiet.await;
        }
    }

    /// A concurrent instance has gone.
    pub(crate) fn worker_ended(&self) {
        let mut state = self.lock();
        state.counts.live -= 1;
        state.serve_queue();
    }

    /// Gives no more calls to a worker.
    pub(crate) fn retire(&self, worker: &Arc<Worker>) {
        let mut state = self.lock();
        let removed = state.remove_worker(worker);
        drop(state);
        drop(removed);
    }

    /// Counts a call out, and takes its instance back if it may be used again. Gives back what is
    /// to be dropped, outside the lock.
    fn end(&self, leaving: Leaving<'_>) -> Option<Instance> {
        let mut state = self.lock();
        state.counts.in_flight -= 1;
        let mut left_over = None;
        match leaving.instance {
            Some(mut instance) if !state.closed => {
                instance.used = Instant::now();
                state.counts.idle += 1;
                state.idle.push(instance);
            }
            gone => {
                left_over = gone;
                state.counts.live -= u32::from(leaving.holds_live);
            }
        }
        if let Some(worker) = leaving.worker {
            state.leave_worker(worker);
        }
        state.serve_queue();
        let quiet = state.counts.in_flight == 0;
        drop(state);
        if quiet {
            self.quiet.notify_waiters();
        }
        left_over
    }

    /// Calls that one instance serves at once.
    pub(crate) fn places(&self) -> u32 {
        match self.policy {
            InstancePolicy::PerCall => 1,
            InstancePolicy::Warm { max_concurrency, .. } => max_concurrency.max(1),
        }
    }

    /// Calls after which an instance is replaced.
    pub(crate) fn max_calls(&self) -> u32 {
        match self.policy {
            InstancePolicy::PerCall => 1,
            InstancePolicy::Warm { max_calls, .. } => max_calls.max(1),
        }
    }
}

/// A place in the queue, given up when dropped.
struct Place<'pool> {
    pool: &'pool Arc<Pool>,
    ticket: u64,
    grant: oneshot::Receiver<Seat>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        if let Some(at) = state.waiting.iter().position(|waiting| waiting.ticket == self.ticket) {
            state.waiting.remove(at);
            state.counts.queued -= 1;
        }
        drop(state);
        // Granted between its deadline and now: the seat goes to the next.
        if let Ok(seat) = self.grant.try_recv() {
            drop(self.pool.lease(seat));
        }
    }
}

impl Lease {
    /// What the call was given; once.
    pub(crate) fn seat(&mut self) -> Seat {
        self.seat.take().unwrap_or(Seat::Make)
    }

    /// Ends the call, with an instance that may be used again.
    pub(crate) fn give_back(mut self, instance: Instance) {
        self.returned = Some(instance);
    }

    /// This call has made a concurrent instance: from now on it counts for itself, and takes as
    /// many calls at once as the policy says.
    pub(crate) fn seat_at(&mut self, worker: &Arc<Worker>) {
        self.holds_live = false;
        self.worker = Some(Arc::clone(worker));
        if worker.is_tired(1) {
            return;
        }
        let free = self.pool.places() - 1;
        let mut state = self.pool.lock();
        if free > 0 {
            state.counts.idle += 1;
        }
        state.workers.push(Desk { worker: Arc::clone(worker), free, calls: 1 });
        state.serve_queue();
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A seat that was never taken is an instance in perfect order.
        let unused = match self.seat.take() {
            Some(Seat::Instance(instance)) => Some(instance),
            _ => None,
        };
        let max_calls = self.pool.max_calls();
        // What is not used again goes before its place is given to another.
        let instance = self.returned.take().or(unused).filter(|instance| instance.calls < max_calls);
        let worker = self.worker.take();
        let leaving = Leaving { worker: worker.as_ref(), instance, holds_live: self.holds_live };
        drop(self.pool.end(leaving));
    }
}
