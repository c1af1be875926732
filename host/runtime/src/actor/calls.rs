//! How a call gets an instance, and what its end means for that instance: the one place where
//! admission, the pool, deadlines and faults meet.

use super::Actor;
use crate::call::CallInfo;
use crate::fault;
use crate::instance::Instance;
use crate::pool::{Lease, Seat};
use crate::worker::{Job, Making, Work, Worker};
use lattice_protocol::invocation::MAX_CALL_DEPTH;
use lattice_protocol::{ErrorCode, Report};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

impl Actor {
    /// Runs a call in an instance of the plain profile: one that is idle, or a new one; by the
    /// call's deadline it is over. The inner result is the guest's own; the outer one an error of
    /// the engine, which the instance does not survive.
    pub(crate) async fn with_instance<T>(
        self: &Arc<Self>,
        info: CallInfo,
        call: impl AsyncFnOnce(&mut Instance) -> wasmtime::Result<Result<T, Report>>,
    ) -> Result<T, Report> {
        let mut lease = self.admit(&info).await?;
        let mut instance = match lease.seat() {
            Seat::Instance(instance) => instance,
            Seat::Make | Seat::Worker(_) => self.create(info.clone()).await?,
        };
        let deadline = info.deadline;
        instance.begin(info);
        let outcome = {
            // Kept where it is: passed on by value it would be copied at each step.
            let calling = pin!(call(&mut instance));
            tokio::time::timeout_at(deadline.into(), self.meters.timed(calling)).await
        };
        match outcome {
            Ok(Ok(answer)) => {
                self.health.succeeded();
                lease.give_back(instance);
                answer
            }
            Ok(Err(error)) => {
                let report = fault::report(&error, &mut instance.store);
                self.health.failed(&report, self.id());
                Err(report)
            }
            Err(_) => Err(fault::deadline_passed(self.id())),
        }
    }

    /// Has a concurrent instance do some work. The lease that comes with the answer keeps the
    /// call's place; dropping it ends the call.
    pub(crate) async fn ask_worker<T>(
        self: &Arc<Self>,
        info: CallInfo,
        work: Work,
        answer: oneshot::Receiver<Result<T, Report>>,
    ) -> Result<(T, Lease), Report> {
        let mut lease = self.admit(&info).await?;
        let worker = match lease.seat() {
            Seat::Worker(worker) => worker,
            Seat::Make | Seat::Instance(_) => self.employ(&mut lease, info.clone()).await?,
        };
        let outcome = worker.ask(Job { info, work }, answer).await;
        match outcome {
            Ok(answer) => {
                self.health.succeeded();
                Ok((answer, lease))
            }
            // The guest's own words leave its instance in order.
            Err(report) if report.code == ErrorCode::Guest => Err(report),
            Err(report) => {
                lease.pool().retire(&worker);
                if report.code == ErrorCode::Timeout {
                    worker.cancel();
                    return Err(fault::deadline_passed(self.id()));
                }
                self.health.failed(&report, self.id());
                Err(report)
            }
        }
    }

    /// Starts a concurrent instance on a task of its own.
    async fn employ(self: &Arc<Self>, lease: &mut Lease, info: CallInfo) -> Result<Arc<Worker>, Report> {
        let instance = self.create(info).await?;
        let pool = Arc::clone(&self.pool);
        let (worker, serving) = Worker::new(Making { instance, pool, ending: self.ending.clone() });
        lease.seat_at(&worker);
        self.tasks.spawn(serving);
        Ok(worker)
    }

    /// Makes an instance, within what is left of the call and of a start. Loads its component again first, if that was let go.
    pub(super) async fn create(&self, info: CallInfo) -> Result<Instance, Report> {
        let start = Instant::now() + Duration::from_millis(self.runtime.config.start_ms);
        let until = start.min(info.deadline);
        let creating = async {
            let code = self.component.code(&self.runtime).await?;
            Instance::create(code, &self.shared, &self.runtime.budget, info).await
        };
        let outcome = tokio::time::timeout_at(until.into(), creating).await.unwrap_or_else(|_| {
            Err(Report::new(ErrorCode::StartTimeout, "instantiation took too long")
                .at(self.id())
                .limit(format!("{} ms", self.runtime.config.start_ms))
                .hint("do less in start functions"))
        });
        outcome.inspect_err(|report| self.health.failed(report, self.id()))
    }

    async fn admit(&self, info: &CallInfo) -> Result<Lease, Report> {
        if info.depth > MAX_CALL_DEPTH {
            return Err(Report::new(ErrorCode::CallDepth, "calls nested too deep")
                .at(self.id())
                .limit(MAX_CALL_DEPTH)
                .hint("look for actors that call each other in a circle"));
        }
        self.health.admit(self.id())?;
        self.pool.enter(info).await
    }
}
