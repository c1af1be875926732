//! An instance of the concurrent profile, on a task of its own: its store runs an event loop that
//! cannot be nested in another's, so calls come to it as jobs and answers go back on channels.
//!
//! Tasks: one per concurrent instance, owned by its actor's tracker. Channels: `jobs` (bounded),
//! one answer per job.
//!
//! ```text
//! started ──▶ serving (jobs run at once, up to the policy's concurrency) ──▶ finishing ──▶ gone
//!                 │ a trap, or a call past its deadline                          ▲
//!                 └──────────────────────────────────────────────────────────────┘
//! ```
//! Invariants: a trap ends the store and every call in it; the loop ends when nobody holds the
//! [`Worker`] any more, after what the guests still do, but not after the last deadline.

use crate::call::CallInfo;
use crate::component::{Code, Place};
use crate::http::service;
use crate::instance::Instance;
use crate::pool::Pool;
use crate::{fault, message, overload};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::messaging::Message;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Accessor, Val};

/// Jobs on their way; the pool lets no more calls in than the instance takes.
const JOBS: usize = 64;

/// A concurrent instance as its callers see it.
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
    cancel: CancellationToken,
    max_calls: u32,
    began: Instant,
    used_ms: AtomicU64,
    /// Why it ended, for those whose call ended with it.
    cause: Arc<Mutex<Option<Report>>>,
}

/// One call.
pub(crate) struct Job {
    pub(crate) info: CallInfo,
    pub(crate) work: Work,
}

/// What is called, and where the answer goes.
pub(crate) enum Work {
    /// An HTTP handler.
    Http(Box<service::Exchange>),
    /// Any exported function.
    Call { function: Place, params: Vec<Val>, answer: Answer<Vec<Val>> },
    /// `wasmcloud:messaging/handler`.
    Message { handler: Place, message: Message, answer: Answer<()> },
}

/// Where an answer goes.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Report>>;

/// What a worker is made of.
pub(crate) struct Making {
    pub(crate) instance: Instance,
    pub(crate) pool: Arc<Pool>,
    /// Ends it with its actor.
    pub(crate) ending: CancellationToken,
}

impl Worker {
    /// Makes a worker, and the loop that whoever starts it must run on a task of its own.
    pub(crate) fn new(making: Making) -> (Arc<Self>, impl Future<Output = ()> + Send + use<>) {
        let (jobs, incoming) = mpsc::channel(JOBS);
        let worker = Arc::new(Self {
            jobs,
            cancel: making.ending.child_token(),
            max_calls: making.pool.max_calls(),
            began: Instant::now(),
            used_ms: AtomicU64::new(0),
            cause: Arc::default(),
        });
        let (cancel, cause) = (worker.cancel.clone(), Arc::clone(&worker.cause));
        (worker, run(making, incoming, cancel, cause))
    }

    /// Has it served as many calls as it may?
    pub(crate) fn is_tired(&self, calls: u32) -> bool {
        calls >= self.max_calls
    }

    /// It is being used now.
    pub(crate) fn touch(&self) {
        let elapsed = self.began.elapsed().as_millis();
        self.used_ms.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When it was last used.
    pub(crate) fn used(&self) -> Instant {
        self.began + Duration::from_millis(self.used_ms.load(Ordering::Relaxed))
    }

    /// Ends the instance, whatever it is doing.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Hands over a job and waits for its answer, until its deadline.
    pub(crate) async fn ask<T>(
        &self,
        job: Job,
        answer: oneshot::Receiver<Result<T, Report>>,
    ) -> Result<T, Report> {
        let deadline = job.info.deadline;
        let asking = async {
            if self.jobs.send(job).await.is_err() {
                return Err(self.ended());
            }
            answer.await.unwrap_or_else(|_| Err(self.ended()))
        };
        tokio::time::timeout_at(deadline.into(), asking)
            .await
            .unwrap_or_else(|_| Err(Report::new(ErrorCode::Timeout, "deadline passed")))
    }

    fn ended(&self) -> Report {
        let cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cause.unwrap_or_else(|| Report::new(ErrorCode::Trap, "the instance ended during this call"))
    }
}

/// Counts the instance out, however its loop ends.
struct Live(Arc<Pool>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.worker_ended();
    }
}

async fn run(
    making: Making,
    jobs: mpsc::Receiver<Job>,
    cancel: CancellationToken,
    cause: Arc<Mutex<Option<Report>>>,
) {
    let Making { mut instance, pool, .. } = making;
    let _live = Live(pool);
    let (code, guest) = (Arc::clone(&instance.code), instance.instance);
    let serving = instance.store.run_concurrent(async |accessor| {
        serve(accessor, jobs, |job| handle(accessor, (&code, guest), job)).await
    });
    let outcome = tokio::select! {
        outcome = overload::spending(serving) => outcome.and_then(|served| served),
        () = cancel.cancelled() => Ok(()),
    };
    if let Err(error) = outcome {
        let report = fault::report(&error, &mut instance.store);
        tracing::debug!(%report, "concurrent instance ended");
        *cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
    }
}

/// Runs jobs side by side until no more can come and all are done, and then what guests still do.
async fn serve<'a, F>(
    accessor: &Accessor<crate::state::InstanceState>,
    mut jobs: mpsc::Receiver<Job>,
    start: impl Fn(Job) -> F + 'a,
) -> wasmtime::Result<()>
where
    F: Future<Output = wasmtime::Result<()>>,
{
    let mut running = FuturesUnordered::new();
    let mut last_deadline = Instant::now();
    let mut open = true;
    while open || !running.is_empty() {
        tokio::select! {
            biased;
            Some(done) = running.next() => done?,
            job = jobs.recv(), if open => match job {
                Some(job) => {
                    last_deadline = last_deadline.max(job.info.deadline);
                    begin(accessor, &job.info);
                    running.push(start(job));
                }
                None => open = false,
            },
        }
    }
    let rest = std::future::poll_fn(|context| accessor.poll_no_interesting_tasks(context));
    let _ = tokio::time::timeout_at(last_deadline.into(), rest).await;
    Ok(())
}

/// With several calls at once in one store, host functions see the newest call's circumstances,
/// but never less patience than another's.
fn begin(accessor: &Accessor<crate::state::InstanceState>, info: &CallInfo) {
    accessor.with(|mut access| {
        let call = &mut access.data_mut().call;
        let deadline = call.info.deadline.max(info.deadline);
        call.info = info.clone();
        call.info.deadline = deadline;
        call.selected_link.clear();
        call.reply_to = None;
    });
}

async fn handle(
    accessor: &Accessor<crate::state::InstanceState>,
    (code, guest): (&Code, wasmtime::component::Instance),
    job: Job,
) -> wasmtime::Result<()> {
    let deadline = job.info.deadline;
    match job.work {
        Work::Http(exchange) => service::serve(accessor, (code, guest), *exchange, deadline).await,
        Work::Call { function, params, answer } => {
            let (index, results) = (code.index(function)?, function.results);
            let Some(function) = accessor.with(|mut access| guest.get_func(&mut access, index)) else {
                let _ = answer.send(Err(Report::new(ErrorCode::NoHandler, "export is gone")));
                return Ok(());
            };
            let mut values = vec![Val::Bool(false); results];
            function.call_concurrent(accessor, &params, &mut values).await?;
            // Whoever asked may have stopped waiting.
            let _ = answer.send(Ok(values));
            Ok(())
        }
        Work::Message { handler, message, answer } => {
            message::handle_concurrent(accessor, (code, guest), handler, message, answer).await
        }
    }
}
