//! A running actor: a component, its instances, its links. Everything that reaches a guest goes
//! through here, whichever way it came.
//!
//! ```text
//! start ──▶ serving ──▶ (5 failures without a success: paused, then tried again) ──▶ stopped
//! ```
//! Tasks: concurrent instances and what guests do after their response, on the actor's own
//! tracker; [`Actor::stop`] waits for them.
//!
//! Invariants: an actor that started has had one instance already, so what is wrong with its
//! component was found at the start; a failed call takes its instance with it; links and
//! configuration are swapped whole and seen by the very next import call.

mod calls;
mod direct;
mod health;
mod latency;
mod options;

pub(crate) use options::check_limits;
pub use options::{ActorOptions, ActorStats};

use crate::call::CallInfo;
use crate::component::{Component, HttpWorld, Import};
use crate::engine::Profile;
use crate::http::{incoming, service};
use crate::idle::{Idles, Unused};
use crate::instance::Instance;
use crate::pool::Pool;
use crate::runtime::Runtime;
use crate::state::ActorShared;
use crate::wiring::Wiring;
use crate::worker::Work;
use crate::{fault, message, overload, typed};
use bytes::Bytes;
use health::Health;
use host_core::pool::PoolLimits;
use lattice_protocol::{ActorId, ErrorCode, InstancePolicy, Interface, Limits, Report};
use options::Meters;
use providers_sdk::http::Body;
use providers_sdk::messaging::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A running actor.
pub struct Actor {
    runtime: Arc<Runtime>,
    component: Arc<Component>,
    shared: Arc<ActorShared>,
    policy: InstancePolicy,
    pool: Arc<Pool>,
    health: Health,
    meters: Meters,
    tasks: TaskTracker,
    /// Cancelled when the actor's grace is over.
    ending: CancellationToken,
    unused: Unused,
}

impl Drop for Actor {
    /// Concurrent instances hold their pool: without this they would wait for calls for ever.
    fn drop(&mut self) {
        self.pool.close();
        self.ending.cancel();
    }
}

impl Actor {
    /// Starts an actor: checks its limits against the component, and makes one instance to see
    /// that it starts (kept, when the actor's instances are warm).
    ///
    /// # Errors
    /// `actor start failed: …`, with the code of what is wrong.
    pub async fn start(
        runtime: &Arc<Runtime>,
        component: Arc<Component>,
        options: ActorOptions,
        wiring: Arc<Wiring>,
    ) -> Result<Arc<Self>, Report> {
        let id = options.id.clone();
        let starting = Self::try_start(runtime, component, options, wiring);
        starting.await.map_err(|report| fault::start_failed(report, &id))
    }

    async fn try_start(
        runtime: &Arc<Runtime>,
        component: Arc<Component>,
        options: ActorOptions,
        wiring: Arc<Wiring>,
    ) -> Result<Arc<Self>, Report> {
        options::check_limits(&options.limits, &component)?;
        let limits = PoolLimits::of(&options.policy, &options.limits, options.replicas);
        let pool = Pool::new(options.id.clone(), options.policy, limits);
        let place = (options.lattice, options.host);
        let shared = ActorShared::new(options.id, place, options.limits, options.config, wiring);
        let actor = Arc::new(Self {
            runtime: Arc::clone(runtime),
            component,
            shared,
            policy: options.policy,
            pool,
            health: Health::default(),
            meters: Meters::default(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
            unused: Unused::new(Instant::now()),
        });
        runtime.watch(&actor);
        actor.try_out(options.replicas).await?;
        Ok(actor)
    }

    /// Makes the first instance, within the time that a start may take.
    async fn try_out(&self, replicas: u32) -> Result<(), Report> {
        let patience = Duration::from_millis(self.runtime.config.start_ms);
        let info = CallInfo::within(patience);
        let instance = self.create(info.clone()).await?;
        if self.component.profile == Profile::Plain && replicas > 0 {
            let mut lease = self.pool.enter(&info).await?;
            drop(lease.seat());
            lease.give_back(instance);
        }
        Ok(())
    }

    /// Who.
    #[must_use]
    pub fn id(&self) -> &ActorId {
        &self.shared.id
    }
    /// Its component.
    #[must_use]
    pub fn component(&self) -> &Arc<Component> {
        &self.component
    }
    /// The interfaces it exports.
    #[must_use]
    pub fn exports(&self) -> &[Interface] {
        self.component.exports()
    }
    /// What it imports.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        self.component.imports()
    }
    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }
    /// Its links now.
    #[must_use]
    pub fn wiring(&self) -> Arc<Wiring> {
        self.shared.wiring.load_full()
    }
    /// Replaces its links: effective on the next import call, of running instances too.
    pub fn set_wiring(&self, wiring: Arc<Wiring>) {
        self.shared.wiring.store(wiring);
    }
    /// Replaces its configuration.
    pub fn set_config(&self, config: BTreeMap<String, String>) {
        self.shared.config.store(Arc::new(config));
    }
    /// Changes how many replicas this host serves.
    pub fn set_replicas(&self, replicas: u32) {
        self.pool.set_limits(PoolLimits::of(&self.policy, &self.shared.limits, replicas));
    }
    /// What it is doing, and has done.
    #[must_use]
    pub fn stats(&self) -> ActorStats {
        self.meters.read(self.pool.counts(), &self.health)
    }
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Serves one HTTP request, unless the processors cannot keep up (`crate::overload`).
    ///
    /// # Errors
    /// `E_NO_HANDLER`, `E_TOO_LARGE`, `E_OVERLOADED`, `E_TIMEOUT`, `E_TRAP`, `E_GUEST`, and what
    /// host functions ended the call with.
    pub async fn handle_http(
        self: &Arc<Self>,
        request: http::Request<Body>,
        info: CallInfo,
    ) -> Result<http::Response<Body>, Report> {
        let (info, began) = self.bounded(info);
        let outcome = match self.runtime.entrance.enter(self.id(), info.deadline).await {
            Ok(permit) => overload::begin(permit, self.http(request, info)).await,
            Err(report) => Err(report),
        };
        self.meters.count(began, &outcome);
        outcome
    }

    async fn http(
        self: &Arc<Self>,
        request: http::Request<Body>,
        info: CallInfo,
    ) -> Result<http::Response<Body>, Report> {
        match (self.component.handles.http, self.component.profile) {
            (None, _) => Err(self.no_handler("wasi:http/incoming-handler")),
            (Some(HttpWorld::Incoming), Profile::Plain) => incoming::handle(self, request, info).await,
            (Some(_), _) => service::handle(self, request, info).await,
        }
    }

    /// Hands one message to the actor.
    ///
    /// # Errors
    /// `E_GUEST` with the guest's own words, else as [`Self::handle_http`].
    pub async fn handle_message(self: &Arc<Self>, message: Message, info: CallInfo) -> Result<(), Report> {
        let (info, began) = self.bounded(info);
        let outcome = self.message(message, info).await;
        self.meters.count(began, &outcome);
        outcome
    }

    async fn message(self: &Arc<Self>, message: Message, info: CallInfo) -> Result<(), Report> {
        let Some(handler) = self.component.handles.message else {
            return Err(self.no_handler("wasmcloud:messaging/handler"));
        };
        let limit = usize::try_from(self.limits().body_bytes).unwrap_or(usize::MAX);
        if message.body.len() > limit {
            return Err(Report::new(ErrorCode::TooLarge, "message over the limit")
                .at(&message.subject)
                .got(format!("{} bytes", message.body.len()))
                .limit(format!("at most {limit} bytes")));
        }
        if self.component.profile == Profile::Plain {
            let handle = async |instance: &mut Instance| message::handle(instance, handler, message).await;
            return self.with_instance(info, handle).await;
        }
        let (answer, answered) = oneshot::channel();
        self.ask_worker(info, Work::Message { handler, message, answer }, answered).await.map(drop)
    }

    /// A typed call that came from another host: component-model values in, values out.
    ///
    /// # Errors
    /// `E_NO_HANDLER`, `E_MALFORMED` when the values are not what the function takes, else as
    /// [`Self::handle_http`].
    pub async fn call(
        self: &Arc<Self>,
        interface: &str,
        function: &str,
        params: Bytes,
        info: CallInfo,
    ) -> Result<Bytes, Report> {
        typed::call_export(self, interface, function, params, info).await
    }

    /// No call outlasts the actor's own limit. Gives the time as well: a call begins here.
    fn bounded(&self, mut info: CallInfo) -> (CallInfo, Instant) {
        let longest = Duration::from_millis(self.limits().call_ms);
        let now = Instant::now();
        info.deadline = info.deadline.min(now + longest);
        (info, now)
    }

    fn no_handler(&self, what: &str) -> Report {
        Report::new(ErrorCode::NoHandler, format!("export {what}"))
            .at(self.id())
            .hint("the component does not export it; see: trellis inspect")
    }

    /// Stops: takes no new call and waits up to `grace` for those in hand. Then concurrent
    /// instances end at once, and what runs on its caller's task at its own deadline.
    pub async fn stop(&self, grace: Duration) {
        self.pool.close();
        self.tasks.close();
        let ending = async {
            self.pool.drained().await;
            self.tasks.wait().await;
        };
        if tokio::time::timeout(grace, ending).await.is_err() {
            let left = self.pool.counts().in_flight;
            tracing::warn!(actor = %self.id(), left, "actor stopped with calls in hand");
        }
        self.ending.cancel();
    }
}

impl Idles for Actor {
    fn reap(&self, now: Instant) {
        self.pool.reap(now, self.runtime.config.unload_after());
    }

    fn unload_unused(&self, now: Instant) -> bool {
        let counts = self.pool.counts();
        let unused = self.unused.look(self.meters.ended(), counts.live + counts.queued > 0, now);
        let unload = unused >= self.runtime.config.unload_after() && self.component.unload();
        if unload {
            tracing::debug!(actor = %self.id(), "nobody calls it: its code is let go");
        }
        unload
    }
}

#[cfg(test)]
mod tests;
