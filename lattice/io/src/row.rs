//! Work that is begun where it arrived, one piece after the other, instead of each on a task of its own.
//!
//! A task for each message that comes wakes the other processor for it, and what the pieces send goes out one by
//! one: that costs more than most of them do. So a piece begins on the task that took it from its queue, and gets a
//! task as soon as it has to wait for anything; what a row of pieces sends is written together when the row is over.
//!
//! After a piece that has held the taker for longer than it says, some get tasks, so that pieces that compute keep all
//! processors busy and nobody waiting: [`FEW`], twice as many each time the one that is tried next was as long, up to
//! [`MANY`]. A single long one may only have been interrupted.
//!
//! A panic ends the piece and not its taker, as if it had a task of its own.

use crate::TaskScope;
use crate::task::panic_words;
use futures::future::BoxFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// So many pieces get tasks after a long one.
const FEW: u32 = 4;
/// The same when one after the other is long.
const MANY: u32 = 64;

/// Where pieces of one kind are begun.
pub struct Row {
    scope: TaskScope,
    name: &'static str,
    /// Pieces that get tasks before the next is begun here.
    apart: u32,
    /// How many that were after the last long one; 0 after a short one.
    of: u32,
}

impl Row {
    /// Those that have to wait go on as tasks of `scope`, by this name.
    #[must_use]
    pub fn new(scope: TaskScope, name: &'static str) -> Self {
        Self { scope, name, apart: 0, of: 0 }
    }

    /// Begins a piece of work here, unless the last ones that did have held this task for longer than was said; then on
    /// a task of its own. It is long if it holds it for more than `most`. After the scope's shutdown it is not begun.
    pub async fn begin(&mut self, work: BoxFuture<'static, ()>, most: Duration) {
        if self.apart > 0 {
            self.apart(work);
            return;
        }
        let began = Instant::now();
        let waiting = self.begin_here(work).await;
        self.of = if began.elapsed() > most { (self.of * 2).clamp(FEW, MANY) } else { 0 };
        self.apart = self.of;
        if let Some(waiting) = waiting {
            self.scope.spawn_best_effort(self.name, waiting);
        }
    }

    /// Begins it on a task of its own.
    pub fn apart(&mut self, work: BoxFuture<'static, ()>) {
        self.apart = self.apart.saturating_sub(1);
        self.scope.spawn_best_effort(self.name, work);
    }

    /// Polls it once; gives it back if it has to wait.
    async fn begin_here(&self, mut work: BoxFuture<'static, ()>) -> Option<BoxFuture<'static, ()>> {
        if self.scope.is_closed() {
            tracing::debug!(scope = %self.scope.path(), task = %self.name, "not begun: the scope is shut down");
            return None;
        }
        let poll = |context: &mut Context<'_>| {
            let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
            Poll::Ready(polled.map(|polled| polled.is_pending()))
        };
        match std::future::poll_fn(poll).await {
            Ok(waits) => waits.then_some(work),
            Err(panic) => {
                let panic = panic_words(&*panic);
                tracing::error!(scope = %self.scope.path(), task = %self.name, %panic, "panicked");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    const LONG: Duration = Duration::from_secs(3_600);

    fn row() -> (Row, TaskScope) {
        let scope = TaskScope::new("test");
        (Row::new(scope.clone(), "piece"), scope)
    }

    #[tokio::test]
    async fn what_need_not_wait_is_over_at_once_and_what_waits_holds_nobody_up() {
        let (mut row, scope) = row();
        let (done, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let piece = |waits: bool| {
            let (done, gate) = (Arc::clone(&done), Arc::clone(&gate));
            async move {
                if waits {
                    gate.notified().await;
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            .boxed()
        };
        row.begin(piece(true), LONG).await;
        row.begin(piece(false), LONG).await;
        assert_eq!(
            (done.load(Ordering::Relaxed), scope.len()),
            (1, 1),
            "the second is over, the first a task"
        );
        gate.notify_one();
        scope.shutdown(LONG).await;
        assert_eq!(done.load(Ordering::Relaxed), 2, "shutdown waited for it");
        row.begin(piece(false), LONG).await;
        assert_eq!(done.load(Ordering::Relaxed), 2, "nothing begins after it");
    }

    #[tokio::test]
    async fn after_a_long_one_some_get_tasks_and_more_when_the_next_is_long_too() {
        let (mut row, scope) = row();
        let piece = || {
            async {
                // Longer than nothing, by any clock.
                let began = Instant::now();
                while began.elapsed().is_zero() {}
            }
            .boxed()
        };
        // On this thread no task runs while nobody waits: the scope holds what has got one.
        let mut tasks = 0;
        for expected in [FEW, 2 * FEW, 4 * FEW, 8 * FEW, MANY, MANY] {
            for _ in 0..=expected {
                row.begin(piece(), Duration::ZERO).await;
            }
            tasks += usize::try_from(expected).unwrap();
            assert_eq!(scope.len(), tasks, "one was begun here, and {expected} after it got tasks");
        }
        row.begin(piece(), LONG).await;
        row.begin(piece(), Duration::ZERO).await;
        row.begin(piece(), LONG).await;
        assert_eq!(scope.len(), tasks + 1, "after a short one it is few again");
        scope.shutdown(LONG).await;
    }

    #[tokio::test]
    async fn a_panic_ends_the_piece_only() {
        let (mut row, scope) = row();
        row.begin(async { panic!("as asked") }.boxed(), LONG).await;
        assert!(scope.is_empty());
        row.begin(std::future::ready(()).boxed(), LONG).await;
    }
}
