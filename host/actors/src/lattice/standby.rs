//! A shard that another host owns and this one stands by for: its log followed, its checkpoints kept up
//! with, its actors of late folded. A takeover then goes on from here: it asks the log's leader whether
//! this is still the log, and reads what came last.
//!
//! ```text
//!  beginning ─▶ following ── asked to hand over ─▶ (the owner's side: `takeover`)
//!     ▲            │ the log was trimmed, cannot be read, or is another one; too much to remember
//!     └── a pause ─┘
//! ```
//! Task: one per shard (`standby`), which owns everything here; it ends when nobody holds its [`Seat`] any
//! more. Channel: what is asked of it, at most [`ASKED`] at once.
//!
//! Invariants: it appends nothing, answers no command, and lets out no effect: guests fold, which traps
//! whatever they import. Everything between two of its steps is whole, so that it can be asked to hand over
//! at any time. Bounds: [`StandbyPolicy`].

mod folded;

use super::Inner;
use super::stream::StreamLog;
use super::takeover::{self, Stuck};
use super::values::Part;
use crate::history::History;
use crate::log::ShardLog;
use crate::policy::StandbyPolicy;
use bytes::Bytes;
pub(super) use folded::Folded;
use futures::{FutureExt, StreamExt};
use lattice_io::log::Following;
use lattice_io::{Replicas, TaskScope};
use lattice_journal::append::Followed;
use lattice_journal::begin::Begun;
use lattice_journal::standby::{Lost, Standby};
use lattice_journal::{Position, RecordSeq};
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Questions of one standby at once.
const ASKED: usize = 256;
/// Pause before a standby begins anew that could not go on.
const ANEW: Duration = Duration::from_secs(2);
/// Pause before it is looked whether there is room for what did not fit.
const FULL: Duration = Duration::from_secs(60);
/// Longest wait for a standby to hand over: it is between two steps, or has nothing to hand over.
const HAND_OVER: Duration = Duration::from_millis(500);

/// What may be asked of a standby.
pub(super) enum Ask {
    /// Hand over everything, and end.
    HandOver(oneshot::Sender<Followers>),
}

/// How far a standby is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandbyStats {
    /// The last record of the shard that it has.
    pub record: u64,
    /// Actors that are folded.
    pub folded: usize,
    /// Actors that wait to be folded.
    pub waiting: usize,
}

/// Who holds it has a standby at work.
pub(super) struct Seat {
    asks: mpsc::Sender<Ask>,
    /// None while it begins.
    stats: watch::Receiver<Option<StandbyStats>>,
}

/// What a takeover goes on from.
pub(super) struct Followers {
    pub(super) log: StreamLog,
    pub(super) scope: TaskScope,
    pub(super) history: History,
    pub(super) standby: Standby,
    pub(super) folded: Folded,
}

impl Seat {
    /// How far it is; none while it begins.
    pub(super) fn stats(&self) -> Option<StandbyStats> {
        *self.stats.borrow()
    }

    /// What the standby has, if it is anywhere near.
    pub(super) async fn hand_over(self) -> Option<Followers> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::HandOver(reply)).await.ok()?;
        tokio::time::timeout(HAND_OVER, answer).await.ok()?.ok()
    }
}

/// Why a standby does not go on.
enum Setback {
    /// The log cannot be followed from where it was.
    Lost(Lost),
    /// The lattice does not answer now, or says no.
    Refused(Report),
    /// It would have to remember more than it may.
    Full(usize),
}

impl From<Lost> for Setback {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// Takes a seat: a standby begins.
pub(super) fn sit(inner: &Arc<Inner>, part: Part) -> Seat {
    let (asks, asked) = mpsc::channel(ASKED);
    let (told, stats) = watch::channel(None);
    let of = Arc::clone(inner);
    inner.scope.spawn_until_cancelled("standby", async move { run(&of, &part, asked, told).await });
    Seat { asks, stats }
}

async fn run(
    inner: &Arc<Inner>,
    part: &Part,
    mut asked: mpsc::Receiver<Ask>,
    told: watch::Sender<Option<StandbyStats>>,
) {
    loop {
        told.send_replace(None);
        let scope = inner.scope.child(format_args!("standby {}.{}", part.0, part.1));
        let began = tokio::select! {
            biased;
            // Asked to hand over, it has nothing yet; or nobody wants it any more.
            _ = asked.recv() => None,
            began = begin(inner, part, &scope) => Some(began),
        };
        let setback = match began {
            None => return end(&scope).await,
            Some(Ok(following)) => {
                tracing::debug!(kind = %part.0, shard = %part.1, record = %following.seq(), "standing by");
                match follow(following, &mut asked, &told).await {
                    None => return,
                    Some(setback) => setback,
                }
            }
            Some(Err(setback)) => setback,
        };
        end(&scope).await;
        let pause = tell(part, &setback);
        tokio::select! {
            _ = asked.recv() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Nothing in it is worth waiting for.
async fn end(scope: &TaskScope) {
    let report = scope.shutdown(Duration::ZERO).await;
    tracing::trace!(?report, "standby ended");
}

/// How long to wait after it.
fn tell((kind, shard): &Part, setback: &Setback) -> Duration {
    match setback {
        Setback::Lost(lost @ (Lost::Gap { .. } | Lost::Owner { .. })) => {
            tracing::debug!(%kind, %shard, %lost, "standby begins anew");
            Duration::ZERO
        }
        Setback::Lost(lost) => {
            tracing::warn!(%kind, %shard, %lost, "standby begins anew");
            ANEW
        }
        Setback::Refused(report) => {
            tracing::debug!(%kind, %shard, error = %report, "standby begins anew");
            ANEW
        }
        Setback::Full(size) => {
            tracing::warn!(%kind, %shard, size, "no standby: more to remember than this host may");
            FULL
        }
    }
}

/// Until it has handed over, or nobody wants it any more (none); or cannot go on.
async fn follow(
    mut following: Work,
    asked: &mut mpsc::Receiver<Ask>,
    told: &watch::Sender<Option<StandbyStats>>,
) -> Option<Setback> {
    loop {
        told.send_replace(Some(following.stats()));
        let step = tokio::select! {
            biased;
            ask = asked.recv() => Err(ask),
            step = following.step() => Ok(step),
        };
        match step {
            Ok(Ok(())) => {}
            Ok(Err(setback)) => return Some(setback),
            Err(Some(Ask::HandOver(reply))) if following.standby.wanted().is_none() => {
                // Whoever asked may have stopped waiting.
                if let Err(followers) = reply.send(following.hand_over()) {
                    end(&followers.scope).await;
                }
                return None;
            }
            // What the last checkpoint stands on is not here; or nobody wants anything any more.
            Err(Some(Ask::HandOver(_)) | None) => {
                end(&following.scope).await;
                return None;
            }
        }
    }
}

/// A standby at work.
struct Work {
    inner: Arc<Inner>,
    part: Part,
    log: StreamLog,
    scope: TaskScope,
    history: History,
    standby: Standby,
    following: Option<Following>,
    folded: Folded,
    room: Room,
}

/// What one standby takes of what all standbys of a host may remember.
struct Room {
    all: Arc<AtomicUsize>,
    taken: usize,
}

impl Room {
    /// From now on it takes so much; false if that is too much.
    fn take(&mut self, size: usize, most: usize) -> bool {
        self.all.fetch_sub(self.taken, Ordering::Relaxed);
        self.taken = size;
        self.all.fetch_add(size, Ordering::Relaxed) + size <= most
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

async fn begin(inner: &Arc<Inner>, part: &Part, scope: &TaskScope) -> Result<Work, Setback> {
    let policy = inner.options.policy.standby;
    let kind = inner.state().kinds.get(&part.0).map(|kind| kind.policy.replicas);
    let gone = || Setback::Refused(Report::new(ErrorCode::NotFound, "the shard has no stream"));
    let replicas: Replicas = kind.ok_or_else(gone)?;
    let owners = Arc::clone(&inner.owners);
    let log = StreamLog::find(&inner.options, (part, replicas), owners, scope).await;
    let log = log.map_err(Setback::Refused)?.ok_or_else(gone)?;
    log.keep_in_memory(policy.record_bytes);
    let begun = takeover::begin(part, &log).await;
    let (history, begun): (History, Begun) = begun.map_err(|stuck| match stuck {
        Stuck::Passes(report) | Stuck::Closed(report) => Setback::Refused(report),
    })?;
    log.follows(begun.tail.places.clone());
    let checkpoint = begun.checkpoint.clone().map(|(hint, document)| (hint.document, document));
    log.shelf.opened(begun.tail.chain.epoch(), checkpoint);
    let folded = Folded::new(part.1, policy.actors, history.recent(policy.actors));
    let room = Room { all: Arc::clone(&inner.standing_by), taken: 0 };
    let standby = Standby::new(begun);
    let (inner, part, scope) = (Arc::clone(inner), part.clone(), scope.clone());
    let mut work = Work { inner, part, log, scope, history, standby, following: None, folded, room };
    work.check_room()?;
    Ok(work)
}

impl Work {
    fn policy(&self) -> StandbyPolicy {
        self.inner.options.policy.standby
    }

    fn seq(&self) -> RecordSeq {
        self.standby.tail().chain.seq()
    }

    fn stats(&self) -> StandbyStats {
        let (folded, waiting) = self.folded.counts();
        StandbyStats { record: self.seq().0, folded, waiting }
    }

    fn check_room(&mut self) -> Result<(), Setback> {
        let size = self.history.size();
        let fits = self.room.take(size, self.policy().entries);
        if fits { Ok(()) } else { Err(Setback::Full(size)) }
    }

    /// The next thing to do. What came is followed first, then what a checkpoint needs, then actors are
    /// folded; with nothing to do, it waits. It may be dropped at any await.
    async fn step(&mut self) -> Result<(), Setback> {
        let Some(following) = &mut self.following else {
            let after = self.standby.tail().position;
            let following =
                self.log.log.follow(after).await.map_err(|error| Setback::Refused(error.into()))?;
            self.following = Some(following);
            return Ok(());
        };
        if let Some(next) = following.next().now_or_never() {
            return self.came(next);
        }
        if let Some(name) = self.standby.wanted() {
            let document = self.log.shelf.document(name).await.map_err(Setback::Refused)?;
            if let Some(document) = self.standby.document(document)? {
                self.history.begin_behind(document);
                let current = Some((name, document.clone()));
                self.log.shelf.opened(self.standby.tail().chain.epoch(), current);
            }
            return self.check_room();
        }
        let kind = self.inner.state().kinds.get(&self.part.0).cloned();
        if let Some(kind) = kind
            && self.folded.has_work()
        {
            let known = (self.standby.first(), self.seq());
            self.folded.fold((&self.log, &self.history), (kind, known), &self.inner.options).await;
            self.log.shelf.forget();
            return Ok(());
        }
        let next = following.next().await;
        self.came(next)
    }

    /// An entry, and all that came with it.
    fn came(&mut self, first: Option<(Position, Bytes)>) -> Result<(), Setback> {
        let Some(first) = first else {
            self.following = None;
            let what = "the log is not followed any more";
            return Err(Setback::Refused(Report::new(ErrorCode::Connection, what)));
        };
        let mut entries = vec![first];
        while let Some(following) = &mut self.following
            && entries.len() < lattice_io::log::MAX_READ
            && let Some(Some(next)) = following.next().now_or_never()
        {
            entries.push(next);
        }
        let followed = self.standby.follow(entries)?;
        self.take(followed);
        self.check_room()
    }

    fn take(&mut self, followed: Followed) {
        takeover::tell_skipped(&self.part, followed.skipped);
        for sealed in &followed.valid {
            let record = sealed.record();
            self.history.take(sealed);
            if let Some(at) = self.standby.tail().places.of(record.seq) {
                self.log.durable(sealed, at);
            }
            record.commits().iter().for_each(|commit| self.folded.touched(&commit.key));
        }
    }

    fn hand_over(self) -> Followers {
        let Self { log, scope, history, standby, folded, .. } = self;
        Followers { log, scope, history, standby, folded }
    }
}
