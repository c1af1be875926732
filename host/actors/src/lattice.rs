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
//! Whoever would be first if the owner died stands by: it follows the shard's stream, and a takeover goes
//! on from what it has ([`standby`]).
//!
//! | task | does |
//! |---|---|
//! | `session` | renews this host's lease by compare-and-set; begins a new session when one has ended |
//! | `watch` | who is alive, who owns what, from the two buckets |
//! | `rule` | what this host takes over, and what it stands by for |
//! | `shard` (one per owned shard) | takes over, serves, gives up |
//! | `balance` | hands shards to hosts that have fewer, one after the other |
//! | `standby` (one per shard that it stands by for) | follows the stream, folds ahead, hands over |
//!
//! [`values`] is what the buckets hold, [`state`] what a host knows of that. All of it is in one JetStream domain;
//! [`domains`] has one of it for each.
//!
//! Invariants: the lease keeps owners from working in vain; the fence is the epoch in the stream
//! ([`lattice_journal::chain`]). A stream is trimmed only behind a checkpoint that was read back and that
//! its own records confirm, and with another one before it; a shard that cannot be opened whole is closed,
//! and says so ([`LatticeActors::closed`]). A shard's loop checks the lease before each step, and stops by itself.
//! Nobody takes a shard over while its owner's lease may hold: else the two would answer queries, and the one that
//! was robbed would answer what was so before. What this host heard of the lease begins a takeover; what the
//! leader of the bucket says, asked then, allows it. A machine that stood still, its clocks too, believes in a lease
//! that is over: its loops stop at the word that somebody else has claimed their shards.

mod balance;
mod domains;
mod owned;
mod rule;
mod session;
mod shelf;
mod standby;
mod state;
mod stream;
mod takeover;
mod values;
mod watch;

use crate::door::Door;
use crate::kinds::{self, Effects, Kind, Peers, Room};
use crate::policy::Policy;
use crate::shard::{Inbox, Message};
use bytes::Bytes;
pub use domains::DomainActors;
use host_store::{AsideStore, SnapshotStore};
use lattice_io::{Clock, Kv, Lattice, TaskScope};
use lattice_journal::lease::LeasePolicy;
use lattice_journal::shard::StopReason;
use lattice_journal::{RecordSeq, SessionId, ShardId};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{EntityKey, ErrorCode, HostId, KindName, Report};
pub use standby::{StaleAnswer, StandbyStats};
use state::State;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use values::{Part, SessionValue, owner_key};

/// Shards of one kind. It never changes afterwards: it decides which stream a history is in.
pub const SHARDS: u16 = 16;
/// Standbys that read their shards' logs at once.
const BEGINNING: usize = 4;
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
    /// Room for further shards.
    pub room: Arc<dyn Room>,
}

/// The kinds of durability `lattice` on a host, in one domain. Clones are handles to the same.
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
    /// Shards are handed over one after the other.
    handing: Semaphore,
    /// Standbys that begin at once.
    beginning: Semaphore,
    /// What all standbys of this host remember together.
    standing_by: Arc<AtomicUsize>,
    /// An owner, or a shard of this host, is another than before.
    changed: Notify,
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
        let (handing, beginning) = (Semaphore::new(1), Semaphore::new(BEGINNING));
        let standing_by = Arc::default();
        let inner =
            Inner { options, sessions, owners, scope, state, handing, beginning, standing_by, changed };
        Ok(Self { inner: Arc::new(inner) })
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
            scope.spawn_until_cancelled("balance", Arc::clone(inner).balance());
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

    /// What carries a kind's effects out, if it runs here.
    #[must_use]
    pub fn effects(&self, name: &KindName) -> Option<Arc<dyn Effects>> {
        self.inner.state().kinds.get(name).map(|kind| Arc::clone(&kind.effects))
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

    /// Does a host's session hold, as far as is known here?
    #[must_use]
    pub fn is_alive(&self, host: &HostId) -> bool {
        let (now_ms, lease) = (self.inner.now_ms(), self.inner.options.lease);
        let state = self.inner.state();
        state.seen.get(host.as_str()).is_some_and(|(_, seen)| seen.lives(&lease, now_ms))
    }

    /// How far this host is as a standby of an actor's shard, if it is one and has begun.
    #[must_use]
    pub fn standby(&self, key: &EntityKey) -> Option<StandbyStats> {
        let part = (key.kind.clone(), Self::part(key));
        self.inner.state().standing.get(&part)?.stats()
    }

    /// The host that stands by first for an actor's shard, as far as is known here.
    #[must_use]
    pub fn standby_host(&self, key: &EntityKey) -> Option<HostId> {
        self.inner.first_beside_owner(&(key.kind.clone(), Self::part(key)))
    }

    /// Asks an actor something if this host stands by for it: from what it knows, which may be old. None when
    /// it does not, or cannot answer now.
    ///
    /// # Errors
    /// What the actor refuses, what ended the query, `E_TIMEOUT`.
    pub async fn query_stale(
        &self,
        key: &EntityKey,
        query: (String, Bytes),
        patience: Duration,
    ) -> Option<Result<StaleAnswer, Report>> {
        let part = (key.kind.clone(), Self::part(key));
        let answer = self.inner.state().standing.get(&part)?.query(key.clone(), query);
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer.ok(),
            Err(_) => Some(Err(Report::new(ErrorCode::Timeout, "query not answered in time")
                .at(key)
                .limit(format!("{} ms", patience.as_millis())))),
        }
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

    /// Gives an actor's shard up for another host, which has said that it is ready, and waits until it has it.
    ///
    /// # Errors
    /// `E_MOVING` when this host does not own it, `E_HOST_NOT_FOUND` when the other one does not run the kind
    /// or its lease has ended, what that one says (`E_INSUFFICIENT_RESOURCES` without room, `E_OVERLOADED`
    /// while it takes another one), `E_TIMEOUT`. Until it was ready nothing has moved; afterwards whoever is
    /// first in rank has the shard, or will.
    pub async fn migrate(&self, key: &EntityKey, to: &HostId, patience: Duration) -> Result<(), Report> {
        let part = (key.kind.clone(), Self::part(key));
        self.inner.hand(&part, (to, true), patience).await.map_err(|report| report.at(key))
    }

    /// Gets ready to take a shard over from its owner, and keeps its place for a while: answers when this host
    /// has followed the shard through this record.
    ///
    /// # Errors
    /// `E_HOST_NOT_FOUND` when it does not run the kind, `E_FENCED` without a lease,
    /// `E_INSUFFICIENT_RESOURCES` without room, `E_OVERLOADED` while another shard is on its way here,
    /// `E_DAMAGED` when it cannot open the shard, `E_TIMEOUT`.
    pub async fn reserve(
        &self,
        (kind, shard): (&KindName, ShardId),
        record: RecordSeq,
        patience: Duration,
    ) -> Result<(), Report> {
        self.inner.reserve(&(kind.clone(), shard), record, patience).await
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

    /// The lease holds until then, and names these kinds.
    fn holds(&self, session: &SessionId, until_ms: u64, kinds: BTreeSet<KindName>) {
        let mut state = self.state();
        state.lease = Some((session.clone(), until_ms));
        state.named = kinds;
        state.trouble = None;
        for inbox in state.parts.values().flatten() {
            inbox.send(Message::Lease(until_ms));
        }
    }

    /// The lease has ended: every shard stops.
    fn ended(&self) {
        let mut state = self.state();
        state.lease = None;
        state.named.clear();
        for inbox in state.parts.values().flatten() {
            inbox.send(Message::Stop(StopReason::LeaseEnded));
        }
    }
}
