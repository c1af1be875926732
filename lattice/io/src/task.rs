//! The one place that spawns. A task belongs to a scope, has a name and a kind, and is told to stop
//! by its token.
//!
//! | kind | when it ends by itself | when it fails or panics |
//! |---|---|---|
//! | [`Kind::Essential`] | the scope fails | the scope fails |
//! | [`Kind::Restart`] | it is done | started again after a pause; too often in a period: the scope fails |
//! | [`Kind::BestEffort`] | it is done | logged |
//!
//! Scopes form a tree. A failure is told to the scope and to every scope above it; whoever runs the
//! scope waits on [`TaskScope::failed`] and then shuts it down.
//!
//! [`TaskScope::shutdown`] goes through tasks and child scopes in reverse order of start: each is
//! told to stop and waited for before the next one is. What has not ended when the time is over is
//! aborted and reported by name. After that the scope refuses new tasks.
//!
//! Invariants: no task outlives the shutdown of its scope; a panic never goes unlogged; a finished
//! task leaves nothing behind in its scope.

mod supervise;

pub(crate) use supervise::panic_words;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
pub use tokio_util::sync::CancellationToken;

/// When a task that failed is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts within `period` before the scope fails.
    pub max_restarts: u32,
    /// The period that restarts are counted over.
    pub period: Duration,
    /// First pause; it doubles with each restart within the period, and is jittered by a quarter.
    pub pause_min: Duration,
    /// Longest pause.
    pub pause_max: Duration,
}

impl Default for RestartPolicy {
    /// Ten in five minutes, pauses of 100 ms to 30 s.
    fn default() -> Self {
        Self {
            max_restarts: 10,
            period: Duration::from_secs(300),
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// What the end of a task means to its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The scope is nothing without it.
    Essential,
    /// It is started again when it fails.
    Restart(RestartPolicy),
    /// Nothing depends on it.
    BestEffort,
}

/// What a task's future may give: nothing, or a result whose error is shown.
pub trait TaskOutcome {
    /// The error in words.
    ///
    /// # Errors
    /// The task's own failure.
    fn into_result(self) -> Result<(), String>;
}

impl TaskOutcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> TaskOutcome for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

/// Why a scope failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task} of {scope}: {reason}")]
pub struct TaskFailure {
    /// The scope, as a path: `host/links`.
    pub scope: String,
    /// The task.
    pub task: String,
    /// What it said, or that it ended or panicked.
    pub reason: String,
}

/// What a shutdown could not finish in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Tasks that were aborted, as paths.
    pub aborted: Vec<String>,
}

enum Unit {
    Task { name: String, token: CancellationToken, handle: JoinHandle<()> },
    Child(TaskScope),
}

#[derive(Default)]
struct Units {
    next: u64,
    closed: bool,
    live: BTreeMap<u64, Unit>,
}

struct Inner {
    path: String,
    token: CancellationToken,
    parent: Option<(TaskScope, u64)>,
    units: Mutex<Units>,
    failure: watch::Sender<Option<TaskFailure>>,
}

/// Owns tasks. Clones are handles to the same scope.
#[derive(Clone)]
pub struct TaskScope {
    inner: Arc<Inner>,
}

impl TaskScope {
    /// A scope without a parent.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self::build(name.into(), CancellationToken::new(), None)
    }

    fn build(path: String, token: CancellationToken, parent: Option<(TaskScope, u64)>) -> Self {
        let failure = watch::Sender::new(None);
        Self { inner: Arc::new(Inner { path, token, parent, units: Mutex::default(), failure }) }
    }

    /// A scope within this one: it is shut down with it, and its failure is this one's too. A child
    /// of a scope that is shut down already is born cancelled and refuses tasks.
    #[must_use]
    pub fn child(&self, name: impl fmt::Display) -> Self {
        let mut units = self.units();
        let id = units.claim();
        let path = format!("{}/{name}", self.inner.path);
        let child = Self::build(path, self.inner.token.child_token(), Some((self.clone(), id)));
        if units.closed {
            child.inner.token.cancel();
            child.units().closed = true;
        } else {
            units.live.insert(id, Unit::Child(child.clone()));
        }
        child
    }

    /// The path of names: `host/links`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// Cancelled once everything in this scope shall stop. Tasks get one of their own, which is
    /// cancelled in its turn during a shutdown: use that one inside a task.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.inner.token.clone()
    }

    /// Starts a task. `factory` makes its future, once per start; the token says when to stop.
    pub fn spawn<F, Fut>(&self, name: impl Into<String>, kind: Kind, mut factory: F)
    where
        F: FnMut(CancellationToken) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: TaskOutcome,
    {
        let make: supervise::Factory =
            Box::new(move |token| factory(token).map(TaskOutcome::into_result).boxed());
        self.start(name.into(), kind, make);
    }

    /// Starts an essential task from one future maker.
    pub fn spawn_essential<F, Fut>(&self, name: impl Into<String>, make: F)
    where
        F: FnOnce(CancellationToken) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: TaskOutcome,
    {
        let make = |token| make(token).map(TaskOutcome::into_result);
        self.start(name.into(), Kind::Essential, once(make));
    }

    /// Starts a future that nothing depends on. It is not interrupted by a shutdown: that waits for
    /// it (until its time is over), so what is in hand is finished.
    pub fn spawn_best_effort<Fut>(&self, name: impl Into<String>, future: Fut)
    where
        Fut: Future + Send + 'static,
        Fut::Output: TaskOutcome,
    {
        // Not an `async` block, which would keep room for the future twice.
        let future = future.map(TaskOutcome::into_result).boxed();
        self.start(name.into(), Kind::BestEffort, once(move |_| future));
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that spawns")]
    /// Starts a loop that has nothing to finish: when the scope shuts down, it ends where it stands.
    pub fn spawn_until_cancelled<Fut>(&self, name: impl Into<String>, future: Fut)
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let future = future.boxed();
        let make = move |token: CancellationToken| async move {
            // None: cancelled.
            let _ = token.run_until_cancelled(future).await;
            Ok(())
        };
        self.start(name.into(), Kind::BestEffort, once(make));
    }

    fn start(&self, name: String, kind: Kind, make: supervise::Factory) {
        let mut units = self.units();
        if units.closed {
            tracing::debug!(scope = %self.inner.path, task = %name, "not started: the scope is shut down");
            return;
        }
        let id = units.claim();
        let token = self.inner.token.child_token();
        let task = supervise::Task { scope: self.clone(), name: name.clone(), token: token.clone() };
        let scope = self.clone();
        // The lock is held until the handle is in place, so a task that ends at once finds it there.
        #[allow(clippy::disallowed_methods, reason = "the one place that spawns")]
        let handle = tokio::spawn(async move {
            task.run(kind, make).await;
            scope.units().live.remove(&id);
        });
        units.live.insert(id, Unit::Task { name, token, handle });
    }

    /// Does it refuse new tasks, because it is shut down?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.units().closed
    }

    /// Tasks and child scopes that have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.units().live.len()
    }

    /// Has everything ended?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first failure, as a level to wait on.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<TaskFailure>> {
        self.inner.failure.subscribe()
    }

    /// Waits until the scope fails.
    pub async fn failed(&self) -> TaskFailure {
        let mut failure = self.failure();
        loop {
            if let Some(found) = failure.borrow_and_update().clone() {
                return found;
            }
            // The sender lives as long as `self`: this cannot end without a change.
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn fail(&self, failure: &TaskFailure) {
        self.inner.failure.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                *slot = Some(failure.clone());
            }
            first
        });
        if let Some((parent, _)) = &self.inner.parent {
            parent.fail(failure);
        }
    }

    /// Stops everything in reverse order of start; see the module's page. Gives the tasks that had
    /// to be aborted.
    pub async fn shutdown(&self, timeout: Duration) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        self.drain(Instant::now() + timeout, &mut report).await;
        if let Some((parent, id)) = &self.inner.parent {
            parent.units().live.remove(id);
        }
        report
    }

    fn drain<'a>(&'a self, deadline: Instant, report: &'a mut ShutdownReport) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.units().closed = true;
            loop {
                let last = self.units().live.pop_last();
                match last {
                    None => break,
                    Some((_, Unit::Child(child))) => child.drain(deadline, report).await,
                    Some((_, Unit::Task { name, token, mut handle })) => {
                        token.cancel();
                        if tokio::time::timeout_at(deadline, &mut handle).await.is_err() {
                            handle.abort();
                            tracing::warn!(scope = %self.inner.path, task = %name, "aborted: did not stop in time");
                            report.aborted.push(format!("{}/{name}", self.inner.path));
                        }
                    }
                }
            }
            self.inner.token.cancel();
        })
    }

    fn units(&self) -> MutexGuard<'_, Units> {
        // Every change under this lock is complete in itself.
        self.inner.units.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Units {
    fn claim(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl fmt::Debug for TaskScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TaskScope")
            .field("path", &self.inner.path)
            .field("live", &self.len())
            .finish()
    }
}

/// A factory that makes one future; kinds that start once only ask once.
fn once<F, Fut>(make: F) -> supervise::Factory
where
    F: FnOnce(CancellationToken) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut make = Some(make);
    Box::new(move |token| match make.take() {
        Some(make) => make(token).boxed(),
        None => Box::pin(std::future::ready(Err("cannot be started twice".to_owned()))),
    })
}

#[cfg(test)]
mod tests;
