//! Durability `device`: all persistent actors that are pinned to this host, over one local journal.
//!
//! ```text
//! idle ── first kind ──▶ opening ──▶ open ── a failed write, damage ──▶ closed ── after a pause ─┐
//!                          ▲                                                                    │
//!                          └────────────────────────────────────────────────────────────────────┘
//! ```
//! Opening reads the whole journal: every record is checked against the one before it, and what is
//! known of actors, timers and effects is built from them. Nothing of a former run is trusted but the
//! disk. While it is closed, callers get the reason.

mod journal;

use crate::aside::{self, Again, Aside};
use crate::bury;
use crate::door::Door;
use crate::forward::{self, Forward, ForwardOptions};
use crate::kinds::{self, Effects, Kind, Peers};
use crate::policy::Policy;
use crate::shard::{Inbox, Message, Realm, ShardLoop, ShardStats, Shared};
use host_core::{RestartPolicy, Supervisor};
use host_store::{AsideStore, DataDir, JournalOptions, SnapshotKey, SnapshotStore};
use journal::DeviceLog;
use lattice_io::{Clock, TaskScope};
use lattice_journal::SessionId;
use lattice_journal::shard::StopReason;
use lattice_protocol::forwarding::Forwarding;
use lattice_protocol::{ActorId, EntityKey, ErrorCode, KindName, Report};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Patience for what has to end before the journal is opened anew.
const ENDING: Duration = Duration::from_secs(5);

/// What a host gives its persistent actors.
#[derive(Clone)]
pub struct DeviceOptions {
    /// The host's durable files.
    pub data: Arc<DataDir>,
    /// This life of this host.
    pub session: SessionId,
    /// Sizes of the journal.
    pub journal: JournalOptions,
    /// Everything else that has a bound.
    pub policy: Policy,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Actors elsewhere.
    pub peers: Arc<dyn Peers>,
    /// What snapshots are encrypted with, if they are.
    pub snapshot_key: Option<SnapshotKey>,
    /// Where the journal is forwarded to, if it is.
    pub forward: Option<ForwardOptions>,
}

/// The persistent actors of a host. Clones are handles to the same.
#[derive(Clone)]
pub struct Actors {
    inner: Arc<Inner>,
}

struct Inner {
    options: DeviceOptions,
    snapshots: Arc<SnapshotStore>,
    aside: Arc<AsideStore>,
    scope: TaskScope,
    state: Mutex<State>,
    /// The journal's task is done.
    ended: watch::Sender<bool>,
}

struct State {
    kinds: BTreeMap<KindName, Kind>,
    /// The shard, while it is open.
    inbox: Option<Inbox>,
    stats: Option<watch::Receiver<ShardStats>>,
    /// What was forwarded of the journal that was opened last.
    forward: Option<Arc<Forward>>,
    /// Why it is not open.
    closed: Report,
    started: bool,
    ended: bool,
}

impl Actors {
    /// Nothing runs, and no journal is opened, before there is a kind.
    ///
    /// # Errors
    /// The disk.
    pub fn new(options: DeviceOptions, parent: &TaskScope) -> Result<Self, Report> {
        let snapshots =
            Arc::new(SnapshotStore::open(&options.data, options.snapshot_key.clone()).map_err(Report::from)?);
        let aside = Arc::new(AsideStore::open(&options.data).map_err(Report::from)?);
        let state = State {
            kinds: BTreeMap::new(),
            inbox: None,
            stats: None,
            forward: None,
            closed: Report::new(ErrorCode::ActorNotFound, "no persistent actor runs here"),
            started: false,
            ended: false,
        };
        let scope = parent.child("actors");
        let (state, ended) = (Mutex::new(state), watch::Sender::new(false));
        Ok(Self { inner: Arc::new(Inner { options, snapshots, aside, scope, state, ended }) })
    }

    /// A kind runs here from now on, or with another component. One name is one actor's.
    ///
    /// # Errors
    /// `E_CONFLICT` when another actor has that kind.
    pub fn put_kind(&self, name: KindName, kind: Kind) -> Result<(), Report> {
        let mut state = self.inner.state();
        kinds::put(&mut state.kinds, &name, &kind)?;
        if let Some(inbox) = &state.inbox {
            inbox.send(Message::PutKind(name, Box::new(kind)));
        }
        if !std::mem::replace(&mut state.started, true) {
            state.closed = opening();
            let inner = Arc::clone(&self.inner);
            self.inner.scope.spawn_until_cancelled("journal", inner.run());
        }
        Ok(())
    }

    /// A kind does not run here any more. What its actors have done stays in the journal.
    pub fn remove_kind(&self, name: &KindName, actor: &ActorId) {
        let mut state = self.inner.state();
        if state.kinds.get(name).is_some_and(|kind| kind.actor == *actor) {
            state.kinds.remove(name);
            if let Some(inbox) = &state.inbox {
                inbox.send(Message::RemoveKind(name.clone(), actor.clone()));
            }
        }
    }

    /// The actor of the manifest that a kind is, if it runs here.
    #[must_use]
    pub fn kind(&self, name: &KindName) -> Option<ActorId> {
        self.inner.state().kinds.get(name).map(|kind| kind.actor.clone())
    }

    /// What carries a kind's effects out, if it runs here.
    #[must_use]
    pub fn effects(&self, name: &KindName) -> Option<Arc<dyn Effects>> {
        self.inner.state().kinds.get(name).map(|kind| Arc::clone(&kind.effects))
    }

    /// Snapshots, and what is set aside: one store of each on a host.
    #[must_use]
    pub fn stores(&self) -> (Arc<SnapshotStore>, Arc<AsideStore>) {
        (Arc::clone(&self.inner.snapshots), Arc::clone(&self.inner.aside))
    }

    /// The shard, while it is open.
    ///
    /// # Errors
    /// Why it is not.
    pub fn door(&self) -> Result<Door, Report> {
        self.inner.inbox().map(|inbox| Door { inbox })
    }

    /// What was set aside, oldest first.
    ///
    /// # Errors
    /// The disk.
    pub async fn set_aside(&self) -> Result<Vec<Aside>, Report> {
        let store = Arc::clone(&self.inner.aside);
        blocking(move || aside::list(&store)).await
    }

    /// Something that was set aside, as what is to be sent again, and the actor whose it is. It stays set aside until
    /// it is discarded.
    ///
    /// # Errors
    /// `E_NOT_FOUND`; as [`Aside::again`].
    pub async fn again(&self, id: &str) -> Result<(EntityKey, Again), Report> {
        let not_found = || Report::new(ErrorCode::NotFound, "nothing of this id is set aside").got(id);
        let found = self.set_aside().await?.into_iter().find(|aside| aside.id == id).ok_or_else(not_found)?;
        let again = found.again(self.inner.options.clock.unix_ms())?;
        Ok((found.actor, again))
    }

    /// Forgets something that was set aside; whether it was there.
    ///
    /// # Errors
    /// The disk.
    pub async fn discard(&self, id: &str) -> Result<bool, Report> {
        let (store, id) = (Arc::clone(&self.inner.aside), id.to_owned());
        blocking(move || store.remove(&id).map_err(Report::from)).await
    }

    /// Removes what this host alone has of an actor that was deleted by another one: copies of snapshots, and
    /// what was set aside. Of a kind that is pinned to this host, that is its owner's to do.
    ///
    /// # Errors
    /// The disk.
    pub async fn forget(&self, actor: &EntityKey) -> Result<bool, Report> {
        if self.kind(&actor.kind).is_some() {
            return Ok(false);
        }
        let ((snapshots, aside), actor) = (self.stores(), actor.clone());
        blocking(move || bury::forget_now(&snapshots, &aside, &actor)).await
    }

    /// Counters of the shard, if it is open.
    #[must_use]
    pub fn stats(&self) -> Option<ShardStats> {
        self.inner.state().stats.as_ref().map(|stats| *stats.borrow())
    }

    /// How far the journal has come into the lattice; none before there is one, and when it is not forwarded.
    #[must_use]
    pub fn forwarding(&self) -> Option<Forwarding> {
        self.inner.state().forward.as_ref().map(|forward| forward.status())
    }

    /// Takes nothing more, and ends what is under way.
    pub async fn shutdown(&self, patience: Duration) {
        let inbox = {
            let mut state = self.inner.state();
            state.ended = true;
            state.closed = StopReason::Shutdown.report();
            state.inbox.take()
        };
        if let Some(inbox) = inbox {
            inbox.send(Message::Stop(StopReason::Shutdown));
            let mut ended = self.inner.ended.subscribe();
            // Elapsed, what is left is cut off.
            drop(tokio::time::timeout(patience, ended.wait_for(|ended| *ended)).await);
        }
        self.inner.scope.shutdown(patience).await;
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Report> + Send + 'static,
) -> Result<T, Report> {
    let failed = |error| Report::new(ErrorCode::Internal, format!("a task of the disk failed: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

fn opening() -> Report {
    Report::new(ErrorCode::Overloaded, "the host's journal is being opened").hint("try again shortly")
}

impl Inner {
    /// Short and never across an await; whole after every statement.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> Result<Inbox, Report> {
        let state = self.state();
        state.inbox.clone().ok_or_else(|| state.closed.clone())
    }

    /// Opens the journal, serves until it stops, and opens it again.
    async fn run(self: Arc<Self>) {
        let clock = Arc::clone(&self.options.clock);
        let mut supervisor = Supervisor::new(RestartPolicy::default());
        loop {
            supervisor.started(clock.monotonic_ms());
            let reason = self.serve().await;
            let report = match reason {
                StopReason::Shutdown => {
                    self.ended.send_replace(true);
                    return;
                }
                other => other.report(),
            };
            let restart = supervisor.failed(clock.monotonic_ms(), getrandom::u64().unwrap_or(0));
            let pause = restart.at_ms.saturating_sub(clock.monotonic_ms());
            tracing::error!(error = %report, pause_ms = pause, "the journal is closed: nothing is acknowledged");
            {
                let mut state = self.state();
                state.inbox = None;
                state.closed = report;
                if state.ended {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn serve(&self) -> StopReason {
        let options = self.options.clone();
        let opened = blocking(move || DeviceLog::open(&options)).await;
        let (log, opened, closed) = match opened {
            Ok(opened) => opened,
            Err(report) => return StopReason::Log(report),
        };
        let scope = self.scope.child("shard");
        let log = Arc::new(log);
        if let Some((forward, journal)) = log.forwarded() {
            let running = forward::run(Arc::clone(&forward), Arc::clone(&journal));
            scope.spawn_until_cancelled("forward", running);
            let with = (Arc::clone(&journal), Arc::clone(&self.snapshots));
            let checkpoints = forward::checkpoint::run(Arc::clone(&forward), with);
            scope.spawn_until_cancelled("forward checkpoints", checkpoints);
            scope.spawn_until_cancelled("forward upkeep", forward::upkeep(forward, journal));
        }
        let shared = Shared {
            // Room on a disk is counted in segments, not by this.
            policy: Policy { checkpoint_bytes: u64::MAX, ..self.options.policy },
            clock: Arc::clone(&self.options.clock),
            snapshots: Arc::clone(&self.snapshots),
            aside: Arc::clone(&self.aside),
            peers: Arc::clone(&self.options.peers),
            scope: scope.clone(),
            realm: Realm::Host,
            lease_until_ms: u64::MAX,
        };
        let (shard, messages) = {
            let mut state = self.state();
            if state.ended {
                return StopReason::Shutdown;
            }
            let (shard, inbox, messages) = ShardLoop::new(shared, log.clone(), opened, state.kinds.clone());
            state.inbox = Some(inbox);
            state.forward = log.forward();
            state.stats = Some(shard.stats());
            (shard, messages)
        };
        // It would keep the journal open.
        drop(log);
        let reason = shard.run(messages).await;
        let ended = scope.shutdown(ENDING).await;
        if !ended.aborted.is_empty() {
            tracing::debug!(aborted = ?ended.aborted, "tasks of the shard cut off");
        }
        // Nobody may write there any more before it is opened again.
        // Its end is an error: nothing is ever sent.
        drop(closed.await);
        reason
    }
}
