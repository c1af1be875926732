//! Durability `lattice`: kinds whose journal is in the lattice, one stream for each shard of a kind.
//! Each shard has one owner among the hosts that run the kind; when its lease has run out another one
//! takes over, by rank, without a controller.
//!
//! ```text
//!  nobody owns it, or its owner's session has expired
//!      │ rank × step later, while this host's lease holds
//!      ▼
//!  taking over (claim the epoch, fold the stream, open the epoch) ──lost──▶ watched
//!      │ opened                                                              ▲
//!      ▼                                                                     │
//!  owned: a shard loop, and the subject of the shard's calls ── fenced, or lease ended ──┘
//! ```
//! | task | does |
//! |---|---|
//! | `session` | renews this host's lease by compare-and-set; begins a new session when one has ended |
//! | `watch` | who is alive, who owns what, from the two buckets |
//! | `rule` | what this host takes over |
//! | `shard` (one per owned shard) | takes over, serves, gives up |
//!
//! [`values`] is what the buckets hold.
//!
//! Invariants: the lease keeps owners from working in vain; the fence is the epoch in the stream
//! ([`lattice_journal::chain`]). A stream is trimmed only behind a checkpoint that was read back and that
//! its own records confirm, and with another one before it; a shard that cannot be opened whole is closed,
//! and says so ([`LatticeActors::closed`]). A shard's loop checks the lease before each step, and stops by itself.

mod rule;
mod session;
mod shelf;
mod stream;
mod takeover;
mod values;

use crate::door::Door;
use crate::kinds::{self, Kind, Peers};
use crate::policy::Policy;
use crate::shard::{Inbox, Message, Realm, ShardLoop, Shared};
use host_store::{AsideStore, SnapshotStore};
use lattice_io::{Clock, Kv, KvError, KvEvent, KvOptions, Lattice, Replicas, TaskScope, WatchKeys};
use lattice_journal::lease::LeasePolicy;
use lattice_journal::shard::StopReason;
use lattice_journal::{SessionId, ShardId};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{EntityKey, ErrorCode, HostId, KindName, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use takeover::Stuck;
use tokio::sync::Notify;
use values::{OwnerValue, Part, RELEASED, SessionValue, owner_key};

/// Shards of one kind. It never changes afterwards: it decides which stream a history is in.
pub const SHARDS: u16 = 16;
/// Pause before it is looked whether a shard that was closed has been repaired, milliseconds.
const CLOSED_MS: u64 = 10_000;
/// Pause after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// What a host gives its kinds of durability `lattice`.
#[derive(Clone)]
pub struct LatticeOptions {
    /// This host.
    pub host: HostId,
    /// The lattice.
    pub lattice: Lattice,
    /// Its subjects.
    pub subjects: Subjects,
    /// Everything that has a bound.
    pub policy: Policy,
    /// How long a lease holds.
    pub lease: LeasePolicy,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Actors elsewhere.
    pub peers: Arc<dyn Peers>,
    /// Snapshots: a cache of the streams.
    pub snapshots: Arc<SnapshotStore>,
    /// What is set aside.
    pub aside: Arc<AsideStore>,
}

/// The kinds of durability `lattice` on a host. Clones are handles to the same.
#[derive(Clone)]
pub struct LatticeActors {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    options: LatticeOptions,
    sessions: Arc<dyn Kv>,
    owners: Arc<dyn Kv>,
    scope: TaskScope,
    state: Mutex<State>,
    /// An owner, or a shard of this host, is another than before.
    changed: Notify,
}

#[derive(Default)]
struct State {
    kinds: BTreeMap<KindName, Kind>,
    /// This host's session, while its lease holds: who, and until when (monotonic).
    lease: Option<(SessionId, u64)>,
    /// Sessions by host: the value, its revision, and when that was seen first.
    seen: BTreeMap<String, (SessionValue, u64, u64)>,
    owners: BTreeMap<String, OwnerValue>,
    /// Since when nobody alive owns a shard.
    orphaned: BTreeMap<Part, u64>,
    /// Shards being taken over or owned here; with their inbox once they are open.
    parts: BTreeMap<Part, Option<Inbox>>,
    /// Shards that are given up for another host.
    moving: BTreeMap<Part, HostId>,
    /// Shards that cannot be opened as they are: why, and until when it is not tried again (monotonic).
    closed: BTreeMap<Part, (Report, u64)>,
    started: bool,
}

impl LatticeActors {
    /// Nothing runs before there is a kind.
    ///
    /// # Errors
    /// The names of the buckets.
    pub fn new(options: LatticeOptions, parent: &TaskScope) -> Result<Self, Report> {
        let kv = &options.lattice.kv;
        let sessions = kv.assume(&options.subjects.sessions_bucket())?;
        let owners = kv.assume(&options.subjects.shards_bucket())?;
        let scope = parent.child("lattice actors");
        let (state, changed) = (Mutex::default(), Notify::new());
        Ok(Self { inner: Arc::new(Inner { options, sessions, owners, scope, state, changed }) })
    }

    /// A kind runs here from now on, or with another component.
    ///
    /// # Errors
    /// `E_CONFLICT` when another actor has that kind here.
    pub fn put_kind(&self, name: KindName, kind: Kind) -> Result<(), Report> {
        let mut state = self.inner.state();
        kinds::put(&mut state.kinds, &name, &kind)?;
        for (_, inbox) in state.parts.iter().filter(|((of, _), _)| *of == name) {
            if let Some(inbox) = inbox {
                inbox.send(Message::PutKind(name.clone(), Box::new(kind.clone())));
            }
        }
        if !std::mem::replace(&mut state.started, true) {
            let (scope, inner) = (&self.inner.scope, &self.inner);
            scope.spawn_until_cancelled("session", session::run(Arc::clone(inner)));
            scope.spawn_until_cancelled("watch sessions", Arc::clone(inner).watch_sessions());
            scope.spawn_until_cancelled("watch owners", Arc::clone(inner).watch_owners());
            scope.spawn_until_cancelled("rule", Arc::clone(inner).rule());
        }
        Ok(())
    }

    /// A kind does not run here any more: its shards go to whoever else runs it.
    pub fn remove_kind(&self, name: &KindName) {
        let mut state = self.inner.state();
        state.kinds.remove(name);
        for (_, inbox) in state.parts.iter().filter(|((of, _), _)| of == name) {
            if let Some(inbox) = inbox {
                inbox.send(Message::Stop(StopReason::Shutdown));
            }
        }
    }

    /// Does this kind run here?
    #[must_use]
    pub fn runs(&self, name: &KindName) -> Option<lattice_protocol::ActorId> {
        self.inner.state().kinds.get(name).map(|kind| kind.actor.clone())
    }

    /// The shard of an actor.
    #[must_use]
    pub fn part(key: &EntityKey) -> ShardId {
        ShardId::of(key, SHARDS)
    }

    /// The shard of an actor, if this host owns it.
    #[must_use]
    pub fn door(&self, key: &EntityKey) -> Option<Door> {
        let state = self.inner.state();
        let inbox = state.parts.get(&(key.kind.clone(), Self::part(key)))?.clone()?;
        Some(Door { inbox })
    }

    /// Why an actor's shard cannot be opened by this host, if it is so: somebody has to repair it.
    #[must_use]
    pub fn closed(&self, key: &EntityKey) -> Option<Report> {
        let part = (key.kind.clone(), Self::part(key));
        self.inner.state().closed.get(&part).map(|(report, _)| report.clone())
    }

    /// The host that owns an actor's shard, as far as is known here.
    #[must_use]
    pub fn owner(&self, key: &EntityKey) -> Option<HostId> {
        let part = (key.kind.clone(), Self::part(key));
        let state = self.inner.state();
        let session = &state.owners.get(&owner_key(&part))?.session;
        session.split('.').next()?.parse().ok()
    }

    /// The hosts that own shards of a kind, as far as is known here.
    #[must_use]
    pub fn owners(&self, kind: &KindName) -> BTreeSet<HostId> {
        let prefix = format!("{kind}.");
        let state = self.inner.state();
        let of_kind = state.owners.iter().filter(|(key, _)| key.starts_with(&prefix));
        of_kind.filter_map(|(_, owner)| owner.session.split('.').next()?.parse().ok()).collect()
    }

    /// The shards of a kind that this host owns.
    #[must_use]
    pub fn doors(&self, kind: &KindName) -> Vec<(ShardId, Door)> {
        let state = self.inner.state();
        let owned = state.parts.iter().filter(|((of, _), _)| of == kind);
        owned.filter_map(|((_, shard), inbox)| Some((*shard, Door { inbox: inbox.clone()? }))).collect()
    }

    /// Gives an actor's shard up for another host, and waits until that one has it.
    ///
    /// # Errors
    /// `E_MOVING` when this host does not own it, `E_HOST_NOT_FOUND` when the other one does not run
    /// the kind, `E_TIMEOUT`: then whoever is first in rank has it, or will.
    pub async fn migrate(&self, key: &EntityKey, to: &HostId, patience: Duration) -> Result<(), Report> {
        if *to == self.inner.options.host {
            return Ok(());
        }
        let part = (key.kind.clone(), Self::part(key));
        self.inner.give_up(&part, to)?;
        let prefix = format!("{to}.");
        let there = async {
            let has = |owner: &OwnerValue| owner.session.starts_with(&prefix);
            let key = owner_key(&part);
            self.inner.until(|state| state.owners.get(&key).is_some_and(has)).await;
        };
        tokio::time::timeout(patience, there).await.map_err(|_| {
            Report::new(ErrorCode::Timeout, "the other host has not taken the shard over in time")
                .at(key)
                .limit(format!("{} ms", patience.as_millis()))
                .hint("see who has it: trellis actor list")
        })
    }

    /// Gives up every shard, and ends.
    pub async fn shutdown(&self, patience: Duration) {
        let inboxes: Vec<Inbox> = {
            let mut state = self.inner.state();
            state.kinds.clear();
            state.parts.values().flatten().cloned().collect()
        };
        for inbox in inboxes {
            inbox.send(Message::Stop(StopReason::Shutdown));
        }
        let drained = self.inner.until(|state| state.parts.is_empty());
        // Elapsed, what is left is cut off.
        drop(tokio::time::timeout(patience, drained).await);
        self.inner.scope.shutdown(patience).await;
    }
}

impl Inner {
    /// Short and never across an await; whole after every statement.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.options.clock.monotonic_ms()
    }

    /// Waits until it is so.
    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Makes the two buckets, as often as it takes.
    async fn make_buckets(&self) {
        let (kv, subjects) = (&self.options.lattice.kv, &self.options.subjects);
        for bucket in [subjects.sessions_bucket(), subjects.shards_bucket()] {
            loop {
                // Leases and epochs last as long as the streams that they are for, where the server can.
                let wanted = self.state().kinds.values().map(|kind| kind.policy.replicas).max();
                let options = |replicas| KvOptions { replicas, ..KvOptions::default() };
                let error = match kv.open(&bucket, options(wanted.unwrap_or_default())).await {
                    Ok(_) => break,
                    Err(KvError::Refused { .. }) => match kv.open(&bucket, options(Replicas::One)).await {
                        Ok(_) => break,
                        Err(error) => error,
                    },
                    Err(error) => error,
                };
                tracing::debug!(%error, bucket, "bucket not there yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn watch_sessions(self: Arc<Self>) {
        self.make_buckets().await;
        let mut watch = self.sessions.watch(WatchKeys::All);
        while let Some(event) = watch.next().await {
            let now_ms = self.now_ms();
            match event {
                KvEvent::Put(entry) => {
                    let Ok(value) = serde_json::from_slice::<SessionValue>(&entry.value) else { continue };
                    let mut state = self.state();
                    // The same revision told again after a reconnection is no sign of life.
                    if state.seen.get(&entry.key).is_none_or(|(_, revision, _)| entry.revision > *revision) {
                        state.seen.insert(entry.key, (value, entry.revision, now_ms));
                    }
                }
                KvEvent::Deleted { key, .. } => drop(self.state().seen.remove(&key)),
                KvEvent::Current => {}
            }
        }
    }

    async fn watch_owners(self: Arc<Self>) {
        self.make_buckets().await;
        let mut watch = self.owners.watch(WatchKeys::All);
        while let Some(event) = watch.next().await {
            match event {
                KvEvent::Put(entry) => {
                    let Ok(value) = serde_json::from_slice::<OwnerValue>(&entry.value) else { continue };
                    let mut state = self.state();
                    let newer = state.owners.get(&entry.key).is_none_or(|known| value.epoch >= known.epoch);
                    if newer {
                        state.owners.insert(entry.key, value);
                    }
                }
                KvEvent::Deleted { key, .. } => drop(self.state().owners.remove(&key)),
                KvEvent::Current => {}
            }
            self.changed.notify_waiters();
        }
    }

    /// Takes a shard over and serves it until it stops.
    async fn own(&self, part: &Part, session: SessionId) {
        let began = self.now_ms();
        let scope = self.scope.child(format_args!("{}.{}", part.0, part.1));
        match self.serve(part, session.clone(), &scope, began).await {
            Ok(StopReason::Shutdown) => self.release(part, &session).await,
            Ok(reason) => tracing::info!(kind = %part.0, shard = %part.1, "{}", reason.report()),
            Err(Stuck::Closed(report)) => {
                tracing::error!(kind = %part.0, shard = %part.1, error = %report, "shard closed");
                let again_ms = self.now_ms().saturating_add(CLOSED_MS);
                self.state().closed.insert(part.clone(), (report, again_ms));
            }
            Err(Stuck::Passes(report)) => {
                tracing::warn!(kind = %part.0, shard = %part.1, error = %report, "shard not taken over");
                tokio::time::sleep(PAUSE).await;
            }
        }
        scope.shutdown(Duration::from_secs(2)).await;
    }

    /// A shard is neither owned here nor being taken over any more.
    fn gone(&self, part: &Part) {
        let mut state = self.state();
        state.parts.remove(part);
        state.moving.remove(part);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Has a shard end, in favour of this host.
    fn give_up(&self, part: &Part, to: &HostId) -> Result<(), Report> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let Some(inbox) = state.parts.get(part).cloned().flatten() else {
            return Err(Report::new(ErrorCode::Moving, "this host does not own the shard")
                .hint("try again: it goes to the owner"));
        };
        let runs = state.seen.get(to.as_str()).is_some_and(|(value, _, seen_ms)| {
            value.kinds.contains(&part.0) && now_ms.saturating_sub(*seen_ms) < self.options.lease.ttl_ms
        });
        if !runs {
            return Err(Report::new(ErrorCode::HostNotFound, format!("host {to} does not run {}", part.0))
                .hint("name a host of `trellis get actors` that runs the kind"));
        }
        state.moving.insert(part.clone(), to.clone());
        drop(state);
        inbox.send(Message::Stop(StopReason::Shutdown));
        Ok(())
    }

    /// Says that a shard, all of whose turns are over, is anybody's: nobody has to wait for the lease.
    async fn release(&self, part: &Part, session: &SessionId) {
        let to = self.state().moving.remove(part);
        let key = owner_key(part);
        let Ok(Some(entry)) = self.owners.get_latest(&key).await else { return };
        let Ok(value) = serde_json::from_slice::<OwnerValue>(&entry.value) else { return };
        if value.session != session.as_str() {
            return;
        }
        let released = OwnerValue { session: RELEASED.to_owned(), to, ..value };
        // Plain strings and numbers: this cannot fail.
        let value = serde_json::to_vec(&released).unwrap_or_default().into();
        if let Err(error) = self.owners.update(&key, value, entry.revision).await {
            tracing::debug!(%error, key, "shard not given back: the others wait for the lease");
        }
    }

    async fn serve(
        &self,
        part: &Part,
        session: SessionId,
        scope: &TaskScope,
        began_ms: u64,
    ) -> Result<StopReason, Stuck> {
        let replicas = self.state().kinds.get(&part.0).map(|kind| kind.policy.replicas).unwrap_or_default();
        let owners = Arc::clone(&self.owners);
        let log = match stream::StreamLog::open(&self.options, (part, replicas), owners, scope).await {
            Ok(log) => log,
            // The server says no, and will go on saying it.
            Err(report) if report.code == ErrorCode::Io => return Err(Stuck::Closed(report)),
            Err(report) => return Err(report.into()),
        };
        let opened = takeover::run(self, part, session, &log).await?;
        let epoch = opened.tail.chain.epoch();
        let behind = opened.first.0.saturating_sub(1);
        let read = opened.tail.chain.seq().0.saturating_sub(behind);
        let (shard, messages) = {
            let mut state = self.state();
            let until_ms = state.lease.as_ref().map_or(0, |(_, until_ms)| *until_ms);
            let Some(kind) = state.kinds.get(&part.0).cloned() else { return Ok(StopReason::Shutdown) };
            let shared = Shared {
                policy: Policy {
                    trim_records: self.options.policy.checkpoint_records,
                    snapshots_at_once: self.options.policy.checkpoint_snapshots,
                    ..self.options.policy
                },
                clock: Arc::clone(&self.options.clock),
                snapshots: Arc::clone(&self.options.snapshots),
                aside: Arc::clone(&self.options.aside),
                peers: Arc::clone(&self.options.peers),
                scope: scope.clone(),
                realm: Realm::Part { kind: part.0.clone(), shard: part.1, of: SHARDS },
                lease_until_ms: until_ms,
            };
            let kinds = BTreeMap::from([(part.0.clone(), kind)]);
            let (shard, inbox, messages) = ShardLoop::new(shared, Arc::new(log), opened, kinds);
            state.parts.insert(part.clone(), Some(inbox));
            state.closed.remove(part);
            (shard, messages)
        };
        let took_ms = self.now_ms().saturating_sub(began_ms);
        tracing::info!(kind = %part.0, shard = %part.1, %epoch, behind, read, took_ms, "shard taken over");
        Ok(shard.run(messages).await)
    }

    /// The lease holds until then.
    fn holds(&self, session: &SessionId, until_ms: u64) {
        let mut state = self.state();
        state.lease = Some((session.clone(), until_ms));
        for inbox in state.parts.values().flatten() {
            inbox.send(Message::Lease(until_ms));
        }
    }

    /// The lease has ended: every shard stops.
    fn ended(&self) {
        let mut state = self.state();
        state.lease = None;
        for inbox in state.parts.values().flatten() {
            inbox.send(Message::Stop(StopReason::LeaseEnded));
        }
    }
}
