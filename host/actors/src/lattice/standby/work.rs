//! A standby at work: what it knows of a shard, and one step after the other.

use super::query::Query;
use super::{Folded, Followers, Inner, Part, Setback, StandbyStats, StreamLog};
use crate::bury;
use crate::history::History;
use crate::lattice::takeover::{self, Stuck};
use crate::log::ShardLog;
use crate::policy::StandbyPolicy;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use keys::Digest;
use lattice_io::log::{Following, LogError, MAX_READ};
use lattice_io::{Replicas, TaskScope};
use lattice_journal::append::Followed;
use lattice_journal::begin::Begun;
use lattice_journal::document::Document;
use lattice_journal::standby::{Lost, Standby};
use lattice_journal::{Position, RecordSeq};
use lattice_protocol::entity::Stale;
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// After so long without an entry the log's leader is asked whether there is none.
const CONFIRM: Duration = Duration::from_secs(10);
/// Longest wait for the log's leader before a query is answered.
const ASK_LEADER: Duration = Duration::from_millis(300);
/// Pause after the lattice has not answered, milliseconds.
const PAUSE_MS: u64 = 200;

/// A standby at work.
pub(super) struct Work {
    inner: Arc<Inner>,
    part: Part,
    log: StreamLog,
    pub(super) scope: TaskScope,
    history: History,
    pub(super) standby: Standby,
    following: Option<Following>,
    folded: Folded,
    room: Room,
    pub(super) queries: Vec<Query>,
    /// The lattice does not answer: until then nothing is asked of it (monotonic).
    paused_until_ms: u64,
    /// When it last knew that it had everything there was (monotonic).
    current_ms: u64,
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

/// Few at once: a host that joins stands by for many shards, whose logs are all read.
pub(super) async fn begin(inner: &Arc<Inner>, part: &Part, scope: &TaskScope) -> Result<Work, Setback> {
    // It is never closed.
    let _turn = inner.beginning.acquire().await;
    begin_now(inner, part, scope).await
}

async fn begin_now(inner: &Arc<Inner>, part: &Part, scope: &TaskScope) -> Result<Work, Setback> {
    let policy = inner.options.policy.standby;
    let kind = inner.state().kinds.get(&part.0).map(|kind| kind.policy.replicas);
    let gone = || Setback::Refused(Report::new(ErrorCode::NotFound, "the shard has no stream"));
    let replicas: Replicas = kind.ok_or_else(gone)?;
    let current_ms = inner.now_ms();
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
    let mut work = Work {
        inner,
        part,
        log,
        scope,
        history,
        standby,
        following: None,
        folded,
        room,
        queries: Vec::new(),
        paused_until_ms: 0,
        current_ms,
    };
    work.check_room()?;
    Ok(work)
}

impl Work {
    fn policy(&self) -> StandbyPolicy {
        self.inner.options.policy.standby
    }

    pub(super) fn seq(&self) -> RecordSeq {
        self.standby.tail().chain.seq()
    }

    pub(super) fn stats(&self) -> StandbyStats {
        let (folded, waiting) = self.folded.counts();
        StandbyStats { record: self.seq().0, folded, waiting }
    }

    fn check_room(&mut self) -> Result<(), Setback> {
        let size = self.history.size();
        let fits = self.room.take(size, self.policy().entries);
        if fits { Ok(()) } else { Err(Setback::Full(size)) }
    }

    /// Is there nothing to do but to wait for the next entry?
    pub(super) fn is_idle(&self) -> bool {
        let folds = self.folded.has_work() && self.inner.state().kinds.contains_key(&self.part.0);
        let asks = self.following.is_none() || self.standby.wanted().is_some();
        self.queries.is_empty() && !folds && (!asks || self.is_paused())
    }

    fn is_paused(&self) -> bool {
        self.inner.now_ms() < self.paused_until_ms
    }

    /// The lattice does not answer; what is known stays, and gets old.
    fn pause(&mut self, what: &str, report: &Report) {
        let (kind, shard) = &self.part;
        tracing::debug!(%kind, %shard, error = %report, "standby: {what}");
        self.paused_until_ms = self.inner.now_ms().saturating_add(PAUSE_MS);
    }

    /// Waits for the next entry; after a while without one the log's leader is asked whether there is none.
    /// What it knows of, and this was not told of, says that nobody feeds it any more.
    pub(super) async fn wait(&mut self) -> Result<(), Setback> {
        let paused_ms = self.paused_until_ms.saturating_sub(self.inner.now_ms());
        let Some(following) = &mut self.following else {
            tokio::time::sleep(Duration::from_millis(paused_ms)).await;
            return Ok(());
        };
        let patience = if paused_ms > 0 { Duration::from_millis(paused_ms) } else { CONFIRM };
        match tokio::time::timeout(patience, following.next()).await {
            Ok(next) => self.came(next),
            Err(_) if paused_ms > 0 => Ok(()),
            Err(_) => match self.confirm().await {
                Ok(false) | Err(Setback::Refused(_)) => Ok(()),
                Ok(true) => {
                    self.following = None;
                    Ok(())
                }
                Err(setback) => Err(setback),
            },
        }
    }

    /// The next thing to do. What came is followed first, then queries are answered, then comes what a
    /// checkpoint needs, then actors are folded. It may be dropped at any await.
    pub(super) async fn step(&mut self) -> Result<(), Setback> {
        if let Some(following) = &mut self.following
            && let Some(next) = following.next().now_or_never()
        {
            return self.came(next);
        }
        if !self.queries.is_empty() {
            return self.answer().await;
        }
        if self.following.is_none() && !self.is_paused() {
            match self.log.log.follow(self.standby.tail().position).await {
                Ok(following) => self.following = Some(following),
                Err(error) => self.pause("log not followed", &error.into()),
            }
            return Ok(());
        }
        if let Some(name) = self.standby.wanted().filter(|_| !self.is_paused()) {
            match self.log.shelf.document(name).await {
                Ok(document) => self.checkpointed(name, document)?,
                Err(report) => self.pause("checkpoint not fetched", &report),
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
        }
        Ok(())
    }

    /// The document of a newer checkpoint: what that stands for is forgotten.
    fn checkpointed(&mut self, name: Digest, document: Result<Document, String>) -> Result<(), Setback> {
        if let Some(document) = self.standby.document(document)? {
            self.history.begin_behind(document);
            let current = Some((name, document.clone()));
            self.log.shelf.opened(self.standby.tail().chain.epoch(), current);
        }
        Ok(())
    }

    /// Asks the log's leader whether this is everything, and takes what it is not; was there any?
    async fn confirm(&mut self) -> Result<bool, Setback> {
        let mut any = false;
        loop {
            let (now_ms, after) = (self.inner.now_ms(), self.standby.tail().position);
            let back = match self.log.log.read(after, MAX_READ).await {
                Ok(back) => back,
                Err(LogError::Trimmed { first }) => return Err(Lost::Gap { after, next: first }.into()),
                Err(error) => return Err(Setback::Refused(error.into())),
            };
            let complete = back.complete;
            if !back.entries.is_empty() {
                let followed = self.standby.follow(back.entries)?;
                self.take(followed);
                self.check_room()?;
                any = true;
            }
            if complete {
                self.current_ms = now_ms;
                return Ok(any);
            }
        }
    }

    /// Answers the queries that wait: with everything there is, if the log's leader says so in time.
    async fn answer(&mut self) -> Result<(), Setback> {
        let age_ms = match tokio::time::timeout(ASK_LEADER, self.confirm()).await {
            Ok(Ok(_)) => 0,
            Ok(Err(setback @ (Setback::Lost(_) | Setback::Full(_)))) => return Err(setback),
            // The leader does not answer: they are told how old it is.
            Ok(Err(Setback::Refused(_))) | Err(_) => self.inner.now_ms().saturating_sub(self.current_ms),
        };
        // A kind that does not run here any more answers nothing.
        let queries = std::mem::take(&mut self.queries);
        let Some(kind) = self.inner.state().kinds.get(&self.part.0).cloned() else { return Ok(()) };
        let known = (self.standby.first(), self.seq());
        for query in queries {
            let stale = Stale { record: known.1.0, age_ms };
            let epoch = self.standby.tail().chain.epoch().0;
            let sources = (&self.log, &self.history);
            let found =
                self.folded.find(&query.key, sources, (kind.clone(), known), &self.inner.options).await;
            self.log.shelf.forget();
            let now_ms = self.inner.options.clock.unix_ms();
            self.scope.spawn_best_effort("query", query.answered(found, (epoch, stale), now_ms));
        }
        Ok(())
    }

    /// An entry, and all that came with it.
    fn came(&mut self, first: Option<(Position, Bytes)>) -> Result<(), Setback> {
        let Some(first) = first else {
            self.following = None;
            self.pause("log not followed any more", &Report::new(ErrorCode::Connection, "it has ended"));
            return Ok(());
        };
        let mut entries = vec![first];
        while let Some(following) = &mut self.following
            && entries.len() < MAX_READ
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
            for key in bury::buried(record) {
                self.folded.forget(key);
            }
            let (scope, options) = (&self.scope, &self.inner.options);
            let gone = bury::buried(record).cloned().collect();
            bury::forget(scope, (&options.snapshots, &options.aside), gone);
        }
    }

    pub(super) fn hand_over(self) -> Followers {
        let Self { log, scope, history, standby, folded, .. } = self;
        Followers { log, scope, history, standby, folded }
    }
}
