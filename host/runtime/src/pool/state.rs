//! The counters, the instances and the queue of one pool, under its lock. Nothing here runs guest
//! code or drops a store: what is to be dropped is handed out.

use super::Seat;
use crate::instance::Instance;
use crate::worker::Worker;
use host_core::pool::{Decision, PoolLimits, PoolState, next};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Everything about a pool that changes.
pub(super) struct State {
    pub(super) counts: PoolState,
    pub(super) limits: PoolLimits,
    /// Instances that nobody uses; the one used last is taken first.
    pub(super) idle: Vec<Instance>,
    /// Concurrent instances, each with the calls it may still take at once.
    pub(super) workers: Vec<Desk>,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) ticket: u64,
    pub(super) closed: bool,
}

/// A concurrent instance that takes calls.
pub(super) struct Desk {
    pub(super) worker: Arc<Worker>,
    /// Calls it may take at once, beyond those it has.
    pub(super) free: u32,
    /// Calls it was given.
    pub(super) calls: u32,
}

/// A call in the queue.
pub(super) struct Waiting {
    pub(super) ticket: u64,
    pub(super) grant: oneshot::Sender<Seat>,
}

impl State {
    pub(super) fn new(limits: PoolLimits) -> Self {
        Self {
            counts: PoolState::default(),
            limits,
            idle: Vec::new(),
            workers: Vec::new(),
            waiting: VecDeque::new(),
            ticket: 0,
            closed: false,
        }
    }

    /// Leave to make an instance; it counts as live from now on.
    pub(super) fn make(&mut self) -> Seat {
        self.counts.live += 1;
        self.counts.in_flight += 1;
        Seat::Make
    }

    /// An idle instance; the counters say that there is one.
    pub(super) fn take_idle(&mut self) -> Seat {
        if let Some(instance) = self.idle.pop() {
            self.counts.idle -= 1;
            self.counts.in_flight += 1;
            return Seat::Instance(instance);
        }
        let Some(desk) = self.workers.iter_mut().find(|desk| desk.free > 0) else { return self.make() };
        desk.free -= 1;
        desk.calls = desk.calls.saturating_add(1);
        self.counts.in_flight += 1;
        let (worker, full, tired) =
            (Arc::clone(&desk.worker), desk.free == 0, desk.worker.is_tired(desk.calls));
        if full {
            self.counts.idle -= 1;
        }
        if tired {
            // This was its last call; the worker itself lives on in the seat.
            drop(self.remove_worker(&worker));
        }
        Seat::Worker(worker)
    }

    /// A place at the end of the queue: its ticket, and where the seat will arrive.
    pub(super) fn join_queue(&mut self) -> (u64, oneshot::Receiver<Seat>) {
        self.ticket += 1;
        self.counts.queued += 1;
        let (grant, granted) = oneshot::channel();
        self.waiting.push_back(Waiting { ticket: self.ticket, grant });
        (self.ticket, granted)
    }

    /// Lets in whoever has waited longest, for as long as there is room.
    pub(super) fn serve_queue(&mut self) {
        while !self.waiting.is_empty() && !self.closed {
            let Some(decision) = next(&self.counts, &self.limits) else { return };
            let Some(first) = self.waiting.pop_front() else { return };
            self.counts.queued -= 1;
            let seat = if decision == Decision::Reuse { self.take_idle() } else { self.make() };
            // Who waits takes its place out of the queue, under this lock, before it goes.
            let _ = first.grant.send(seat);
        }
    }

    /// Gives no more calls to a worker. It ends when nobody holds it any more.
    pub(super) fn remove_worker(&mut self, worker: &Arc<Worker>) -> Option<Desk> {
        let at = self.workers.iter().position(|desk| Arc::ptr_eq(&desk.worker, worker))?;
        let desk = self.workers.swap_remove(at);
        if desk.free > 0 {
            self.counts.idle -= 1;
        }
        Some(desk)
    }

    /// A call has left a worker.
    pub(super) fn leave_worker(&mut self, worker: &Arc<Worker>) {
        let Some(desk) = self.workers.iter_mut().find(|desk| Arc::ptr_eq(&desk.worker, worker)) else {
            return;
        };
        desk.free += 1;
        desk.worker.touch();
        if desk.free == 1 {
            self.counts.idle += 1;
        }
    }
}
