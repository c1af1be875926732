//! Actors of a shard that a standby has folded: those with the youngest commits, as many as it may have.

use super::super::LatticeOptions;
use super::super::stream::StreamLog;
use super::query::Found;
use crate::activate::{self, Brought, Ready, Sources, told};
use crate::history::History;
use crate::kinds::Kind;
use crate::log::ShardLog;
use lattice_journal::{RecordSeq, ShardId};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Actors folded in one step.
const AT_ONCE: usize = 16;
/// How long an actor has done nothing when it gives way to another one, milliseconds.
const IDLE_MS: u64 = 10_000;

/// See the module.
pub(in super::super) struct Folded {
    shard: ShardId,
    most: usize,
    actors: HashMap<EntityKey, One>,
    /// Actors with commits that are not folded.
    touched: BTreeSet<EntityKey>,
}

/// One actor, folded up to this record; and when it last had a commit (monotonic).
struct One {
    ready: Ready,
    at: RecordSeq,
    used_ms: u64,
}

impl Folded {
    /// At most so many; these are wanted.
    pub(super) fn new(shard: ShardId, most: usize, wanted: Vec<EntityKey>) -> Self {
        Self { shard, most, actors: HashMap::new(), touched: wanted.into_iter().take(most).collect() }
    }

    /// An actor has a further commit.
    pub(super) fn touched(&mut self, key: &EntityKey) {
        if self.most > 0 {
            self.touched.insert(key.clone());
        }
    }

    /// It was deleted.
    pub(super) fn forget(&mut self, key: &EntityKey) {
        self.actors.remove(key);
        self.touched.remove(key);
    }

    pub(super) fn has_work(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Actors that are folded, and that wait to be.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.actors.len(), self.touched.len())
    }

    /// Folds some of those that were touched, as far as the log is known. Dropped on the way, they have to be
    /// folded anew, and nothing else has changed.
    pub(super) async fn fold(
        &mut self,
        (log, history): (&StreamLog, &History),
        (kind, (first, last)): (Kind, (RecordSeq, RecordSeq)),
        options: &LatticeOptions,
    ) {
        let now_ms = options.clock.monotonic_ms();
        let mut further = BTreeMap::new();
        let mut anew = Vec::new();
        // Until they are folded they are touched.
        let keys: Vec<EntityKey> = self.touched.iter().take(AT_ONCE).cloned().collect();
        for key in keys.clone() {
            match self.actors.remove(&key).filter(|one| one.ready.component == kind.guests.component()) {
                Some(one) => drop(further.insert(key, one)),
                None if self.has_room(further.len() + anew.len(), now_ms) => anew.push(key),
                None => {}
            }
        }
        for (key, one) in further {
            if let Some(ready) = go_on(log, history.after(&key, one.at), one.ready).await {
                self.actors.insert(key, One { ready, at: last, used_ms: now_ms });
            }
        }
        let sources = self.sources(log, options);
        let mut answers = Vec::new();
        let wanted = anew.into_iter().map(|key| {
            let (reply, answer) = oneshot::channel::<Result<Ready, Report>>();
            let wanted = history.wanted(&key, kind.clone(), (first, last));
            answers.push((key, answer));
            // Whoever asked may have stopped waiting.
            (wanted, Box::new(move |ready| drop(reply.send(ready))) as Brought)
        });
        activate::serve(&sources, wanted.collect()).await;
        for (key, answer) in answers {
            match answer.await {
                Ok(Ok(ready)) => drop(self.actors.insert(key, One { ready, at: last, used_ms: now_ms })),
                Ok(Err(report)) => tracing::debug!(actor = %key, error = %report, "not folded ahead"),
                Err(_) => {}
            }
        }
        self.touched.retain(|key| !keys.contains(key));
    }

    /// One actor, folded as far as the log is known; it is kept if there is room.
    ///
    /// # Errors
    /// What the journal, or its component, says.
    pub(super) async fn find(
        &mut self,
        key: &EntityKey,
        (log, history): (&StreamLog, &History),
        (kind, (first, last)): (Kind, (RecordSeq, RecordSeq)),
        options: &LatticeOptions,
    ) -> Result<Found, Report> {
        let now_ms = options.clock.monotonic_ms();
        let known = self.actors.remove(key).filter(|one| one.ready.component == kind.guests.component());
        let known = match known {
            Some(one) => go_on(log, history.after(key, one.at), one.ready).await,
            None => None,
        };
        let ready = match known {
            Some(ready) => ready,
            None => {
                let wanted = history.wanted(key, kind, (first, last));
                let (reply, answer) = oneshot::channel();
                let done: Brought = Box::new(move |ready| drop(reply.send(ready)));
                activate::serve(&self.sources(log, options), vec![(wanted, done)]).await;
                let gone = || Report::new(ErrorCode::Overloaded, "the standby has ended");
                answer.await.map_err(|_| gone())??
            }
        };
        let ledger = &ready.ledger;
        let found = Found { guest: Arc::clone(&ready.guest), seq: ledger.seq().0, ended: ledger.ended() };
        self.touched.remove(key);
        if self.has_room(0, now_ms) {
            self.actors.insert(key.clone(), One { ready, at: last, used_ms: now_ms });
        }
        Ok(found)
    }

    fn sources(&self, log: &StreamLog, options: &LatticeOptions) -> Sources {
        let snapshots = Arc::clone(&options.snapshots);
        Sources { shard: self.shard, log: Arc::new(log.clone()), snapshots }
    }

    /// Is there room for one more beside so many? If not, the one goes that has done nothing for longest, if
    /// that was long enough.
    fn has_room(&mut self, others: usize, now_ms: u64) -> bool {
        if self.actors.len() + others < self.most {
            return true;
        }
        let oldest = self.actors.iter().min_by_key(|(key, one)| (one.used_ms, *key));
        let idle = oldest.filter(|(_, one)| one.used_ms.saturating_add(IDLE_MS) <= now_ms);
        let Some(key) = idle.map(|(key, _)| key.clone()) else { return false };
        self.actors.remove(&key).is_some()
    }

    /// For a shard that is opened now.
    pub(in super::super) fn into_ready(self) -> HashMap<EntityKey, (Ready, RecordSeq)> {
        self.actors.into_iter().map(|(key, one)| (key, (one.ready, one.at))).collect()
    }
}

/// Folds what came since; none when that does not go: then it is folded anew when it is touched next.
async fn go_on(log: &StreamLog, places: &[RecordSeq], mut ready: Ready) -> Option<Ready> {
    let key = ready.ledger.key().clone();
    let mut events = Vec::new();
    for sealed in log.records(places.to_vec()).await.ok()? {
        for commit in sealed.record().commits().iter().filter(|commit| commit.key == key) {
            ready.ledger.apply(commit).ok()?;
            events.extend(commit.events.iter().cloned());
        }
    }
    let count = events.len();
    let began = std::time::Instant::now();
    told(|done| ready.guest.fold(events, done)).await.ok()?;
    let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    ready.since = (ready.since.0.saturating_add(count), ready.since.1.saturating_add(took_us));
    Some(ready)
}
