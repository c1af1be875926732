//! A cell: one store, its task, and the handles to the states in it.

use super::Meters;
use super::room::{Ended, Room};
use crate::component::Component;
use crate::runtime::Runtime;
use crate::state::ActorShared;
use bytes::Bytes;
use host_core::guest::{Done, Guest, GuestFault, Opening, Saved, Turn, Verdict};
use lattice_journal::{Command, Event};
use lattice_protocol::Report;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a cell is made of.
pub(super) struct Making {
    pub(super) runtime: Arc<Runtime>,
    pub(super) component: Arc<Component>,
    pub(super) shared: Arc<ActorShared>,
    pub(super) meters: Arc<Meters>,
    /// Longest turn.
    pub(super) turn: Duration,
}

/// One thing to do, for the state in a slot.
pub(super) enum Job {
    Open(Arc<Live>, Opening, Done<Arc<dyn Guest>>),
    Fold(u64, Vec<Event>, Done<()>),
    Decide(u64, Turn, Arc<Command>, Done<Verdict>),
    Query(u64, u64, (String, Bytes), Done<Result<Bytes, Report>>),
    Save(u64, Done<Saved>),
    Close(u64),
}

impl Job {
    /// It will not be done.
    fn fail(self, fault: GuestFault) {
        match self {
            Self::Open(_, _, done) => done(Err(fault)),
            Self::Fold(_, _, done) => done(Err(fault)),
            Self::Decide(_, _, _, done) => done(Err(fault)),
            Self::Query(_, _, _, done) => done(Err(fault)),
            Self::Save(_, done) => done(Err(fault)),
            Self::Close(_) => {}
        }
    }
}

/// One store as its states' handles see it.
pub(super) struct Cell {
    jobs: mpsc::UnboundedSender<Job>,
    states: AtomicU32,
    slots: AtomicU64,
    dead: AtomicBool,
    alone: bool,
}

impl Cell {
    /// A cell with one place taken, and what its task runs.
    pub(super) fn new(
        making: Making,
        alone: bool,
        ending: CancellationToken,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + use<>) {
        #[allow(clippy::disallowed_methods, reason = "one operation at a time for each of its states")]
        let (jobs, queue) = mpsc::unbounded_channel();
        let cell = Arc::new(Self {
            jobs,
            states: AtomicU32::new(1),
            slots: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            alone,
        });
        // The task must not keep itself alive through its own queue.
        let watched = Arc::downgrade(&cell);
        let serving = async move {
            let (queue, fault) = serve(&making, queue, ending).await;
            if let Some(cell) = watched.upgrade() {
                cell.dead.store(true, Ordering::Release);
                if fault == Some(Ended::Memory) {
                    making.meters.crowded(cell.states());
                }
            }
            refuse_rest(queue).await;
        };
        (cell, serving)
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }
    pub(super) fn states(&self) -> u32 {
        self.states.load(Ordering::Relaxed)
    }

    /// Takes a place, if there is one. Only under the kind's lock.
    pub(super) fn take_place(&self, capacity: u32) -> bool {
        let free = !self.alone && !self.is_dead() && self.states() < capacity;
        if free {
            self.states.fetch_add(1, Ordering::Relaxed);
        }
        free
    }

    fn send(&self, job: Job) {
        if let Err(mpsc::error::SendError(job)) = self.jobs.send(job) {
            job.fail(GuestFault::Gone);
        }
    }
}

async fn serve(
    making: &Making,
    mut queue: mpsc::UnboundedReceiver<Job>,
    ending: CancellationToken,
) -> (mpsc::UnboundedReceiver<Job>, Option<Ended>) {
    let mut room = match Room::create(making).await {
        Ok(room) => room,
        Err(report) => {
            queue.close();
            while let Some(job) = queue.recv().await {
                job.fail(GuestFault::Unavailable(report.clone()));
            }
            return (queue, None);
        }
    };
    loop {
        let job = tokio::select! {
            biased;
            () = ending.cancelled() => return (queue, None),
            job = queue.recv() => job,
        };
        let Some(job) = job else { return (queue, None) };
        let (calls, ended) = match room.perform(job).await {
            Ok(calls) => (calls, None),
            Err(ended) => (true, Some(ended)),
        };
        if calls {
            making.meters.counted(ended.is_some());
        }
        if ended.is_some() {
            return (queue, ended);
        }
    }
}

async fn refuse_rest(mut queue: mpsc::UnboundedReceiver<Job>) {
    queue.close();
    while let Some(job) = queue.recv().await {
        job.fail(GuestFault::Gone);
    }
}

/// The handle of one state.
pub(super) struct Live {
    cell: Arc<Cell>,
    slot: u64,
}

impl Live {
    /// Opens a state in this cell, where a place was taken for it.
    pub(super) fn open(cell: Arc<Cell>, opening: Opening, done: Done<Arc<dyn Guest>>) {
        let slot = cell.slots.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Self { cell, slot });
        let cell = Arc::clone(&live.cell);
        cell.send(Job::Open(live, opening, done));
    }

    pub(super) fn slot(&self) -> u64 {
        self.slot
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.cell.states.fetch_sub(1, Ordering::Relaxed);
        self.cell.send(Job::Close(self.slot));
    }
}

impl Guest for Live {
    fn fold(&self, events: Vec<Event>, done: Done<()>) {
        self.cell.send(Job::Fold(self.slot, events, done));
    }
    fn decide(&self, turn: Turn, command: Arc<Command>, done: Done<Verdict>) {
        self.cell.send(Job::Decide(self.slot, turn, command, done));
    }
    fn query(&self, now_ms: u64, query: (String, Bytes), done: Done<Result<Bytes, Report>>) {
        self.cell.send(Job::Query(self.slot, now_ms, query, done));
    }
    fn save(&self, done: Done<Saved>) {
        self.cell.send(Job::Save(self.slot, done));
    }
}
