//! The way in for calls over HTTP when the processors cannot keep up: [`host_core::overload`] decides, here are the
//! scheduler's delay that it decides by, and those who wait.
//!
//! ```text
//! enter ──▶ (calm: at once) ──▶ Permit ──▶ the call waits, ends, or has had HOLD ──▶ dropped ──▶ next in the line
//!             └ guarded: wait, refused with `E_OVERLOADED` ◀── line full, or waited too long
//! ```
//! Each thread counts for how long guests have held it. After a [`QUANTUM`], or as long as the last round took, the
//! next call to begin there first lets the thread go *round*: `tokio::task::yield_now` hands it to the scheduler,
//! which comes back to it when it has polled whatever was ready, and the sockets. How long that takes is the delay
//! of everybody who comes now. So a calm host pays a comparison and a load for a call, no lock and no write to what
//! threads share; and calls that are ready come to the line before more is computed.
//!
//! A host refuses nothing that it has in hand: messages, typed calls, and what follows a call's first wait go on as
//! before, bounded where they come from. All listeners, and HTTP from other hosts, share the one line: what is short is
//! the machine's processors. A refused call has taken no instance and read no byte of a body.
//!
//! A guest that computes on makes way at each tick of its engine ([`make_way`]): without it the sockets would be
//! looked at once in 61 polls, of 10 ms each. It keeps its permit for [`HOLD`], so that calls of some ticks are
//! finished before others begin; then it goes on without, and holds nobody up but by its share of the processor.
//!
//! Invariants: a permit comes back however its call ends; no lock is held while anybody is woken.

use host_core::overload::{Line, OverloadLimits};
use lattice_protocol::{ActorId, ErrorCode, Report};
use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long guests hold a thread, at least, before a call that begins there lets it go round.
const QUANTUM: Duration = Duration::from_millis(1);
/// A longer round means that calls wait longer for a processor than most need it.
const LATE: Duration = Duration::from_millis(5);
/// A call that computes on keeps its permit for so long.
const HOLD: Duration = Duration::from_millis(50);

/// What guests do with a thread between two rounds.
#[derive(Clone, Copy)]
struct Use {
    spent: Duration,
    /// Until the next round.
    share: Duration,
}

impl Use {
    /// After a round that took so long: guests may have as much, so that refusing never takes more than half of the
    /// time, however many come to be refused.
    const fn after(round: Duration) -> Self {
        let share = if round.as_nanos() < QUANTUM.as_nanos() {
            QUANTUM
        } else if round.as_nanos() > LATE.as_nanos() {
            LATE
        } else {
            round
        };
        Self { spent: Duration::ZERO, share }
    }

    fn is_over(self) -> bool {
        self.spent >= self.share
    }
}

thread_local! {
    static USE: Cell<Use> = const { Cell::new(Use::after(Duration::ZERO)) };
    /// Has a guest made way, in the poll that is under way?
    static MADE_WAY: Cell<bool> = const { Cell::new(false) };
}

/// A guest has held this thread for so long.
pub(crate) fn spend(time: Duration) {
    let before = USE.get();
    USE.set(Use { spent: before.spent.saturating_add(time), ..before });
}

/// Runs a future, and counts what its polls take as time that guests hold the thread.
pub(crate) async fn spending<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let began = std::time::Instant::now();
        let outcome = future.as_mut().poll(context);
        spend(began.elapsed());
        outcome
    })
    .await
}

/// Where calls over HTTP come in.
pub(crate) struct Entrance {
    limits: OverloadLimits,
    patience: Duration,
    /// What the line says of itself, for who need not lock it.
    guarded: AtomicBool,
    /// Who waits is told by its permit; refused by this being dropped.
    line: Mutex<Line<oneshot::Sender<Permit>>>,
}

/// Leave to begin; dropped when the call waits for the first time, or is over.
pub(crate) struct Permit(Arc<Entrance>);

impl Drop for Permit {
    fn drop(&mut self) {
        let next = self.0.lock().end();
        if let Some(next) = next {
            // Gone at this moment: the permit that comes back is dropped, and passed on.
            drop(next.send(Self(Arc::clone(&self.0))));
        }
    }
}

impl Entrance {
    /// For so many threads that run guests.
    pub(crate) fn new(threads: usize, waiting_per_thread: u32, patience: Duration) -> Arc<Self> {
        let permits = u32::try_from(threads.max(1)).unwrap_or(u32::MAX);
        let limits = OverloadLimits {
            permits,
            waiting: waiting_per_thread.saturating_mul(permits),
            late_us: micros(LATE),
        };
        let (guarded, line) = (AtomicBool::new(false), Mutex::new(Line::new(limits)));
        Arc::new(Self { limits, patience, guarded, line })
    }

    /// Enters: at once, or after waiting. A permit is to be given to [`begin`].
    ///
    /// # Errors
    /// `E_OVERLOADED` when the line is full or the wait too long.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        actor: &ActorId,
        deadline: std::time::Instant,
    ) -> Result<Option<Permit>, Report> {
        if !self.is_guarded() {
            if !USE.get().is_over() {
                return Ok(None);
            }
            self.round().await;
            if !self.is_guarded() {
                return Ok(None);
            }
        }
        let permit = self.permit(deadline.into()).await.ok_or_else(|| self.refusal(actor))?;
        if USE.get().is_over() {
            self.round().await;
        }
        Ok(Some(permit))
    }

    async fn permit(self: &Arc<Self>, deadline: Instant) -> Option<Permit> {
        let (granting, granted) = oneshot::channel();
        let (ticket, refused) = {
            let mut line = self.lock();
            if line.begin() {
                drop(line);
                return Some(Permit(Arc::clone(self)));
            }
            line.wait(granting)
        };
        drop(refused);
        let mut place = Place { entrance: self, ticket, late: false, granted };
        match tokio::time::timeout_at(deadline.min(Instant::now() + self.patience), &mut place.granted).await
        {
            Ok(granted) => granted.ok(),
            Err(_) => {
                place.late = true;
                None
            }
        }
    }

    /// Lets this thread go round, and tells the line how long it took.
    async fn round(&self) {
        let began = Instant::now();
        tokio::task::yield_now().await;
        let took = began.elapsed();
        // The thread that it goes on at has just been round.
        USE.set(Use::after(took));
        let took_us = micros(took);
        if took_us > self.limits.late_us || self.is_guarded() {
            let mut line = self.lock();
            line.round(took_us);
            self.guarded.store(line.is_guarded(), Ordering::Relaxed);
        }
    }

    fn is_guarded(&self) -> bool {
        self.guarded.load(Ordering::Relaxed)
    }

    fn refusal(&self, actor: &ActorId) -> Report {
        Report::new(ErrorCode::Overloaded, "overloaded: calls wait too long for a processor")
            .at(actor)
            .got(format!("{} waiting", self.lock().waiting()))
            .limit(format!("{} waiting, {} ms", self.limits.waiting, self.patience.as_millis()))
            .hint("try again later, or run it on more hosts")
    }

    fn lock(&self) -> MutexGuard<'_, Line<oneshot::Sender<Permit>>> {
        // Counters and a queue, whole after every statement.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, given up when dropped. A permit that has come meanwhile goes with it, to the next.
struct Place<'entrance> {
    entrance: &'entrance Entrance,
    ticket: u64,
    late: bool,
    granted: oneshot::Receiver<Permit>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let refused = self.entrance.lock().give_up(self.ticket, self.late);
        // Outside the lock.
        drop(refused);
    }
}

/// Runs a call; its permit ends when it waits for the first time, has held it for [`HOLD`], or is over.
pub(crate) async fn begin<T>(permit: Option<Permit>, call: impl Future<Output = T>) -> T {
    if permit.is_none() {
        return call.await;
    }
    let (mut permit, mut held, mut call) = (permit, Duration::ZERO, pin!(call));
    std::future::poll_fn(|context| {
        MADE_WAY.set(false);
        let began = Instant::now();
        let outcome = call.as_mut().poll(context);
        held = held.saturating_add(began.elapsed());
        if outcome.is_ready() || !MADE_WAY.get() || held >= HOLD {
            permit = None;
        }
        outcome
    })
    .await
}

/// Lets everything that is ready go first, and the sockets be looked at: what a guest does that computes on.
///
/// The scheduler comes back to who has yielded when nothing else was ready, and polls it before what it then
/// found at the sockets. So it goes to the end of the queue once more.
pub(crate) async fn make_way() {
    MADE_WAY.set(true);
    tokio::task::yield_now().await;
    let mut went = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut went, true) {
            return Poll::Ready(());
        }
        MADE_WAY.set(true);
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
