//! Bringing actors into memory: last snapshot, then the log. Requests that wait together are served
//! together, so that a start with thousands of actors reads each part of the log once.
//!
//! Task: one per shard (`activate`); folding runs in the guests' own cells. Channel: `wanted`,
//! bounded by the shard's actors in memory.
//!
//! Invariants: what is folded is what the journal says up to the record that the shard names, in
//! order, each commit checked against the one before (J1, J6); a snapshot is tried and never
//! believed: one that cannot be read gives way to the one before it, and at last to all commits.

use crate::bury;
use crate::kinds::Kind;
use crate::log::ShardLog;
use host_core::guest::{Done, Guest, GuestFault, Opening, Saved};
use host_store::SnapshotStore;
use keys::Digest;
use lattice_journal::record::SnapshotRef;
use lattice_journal::{Commit, Event, Ledger, RecordSeq, ShardId, Snapshot};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Requests that are served together.
const TOGETHER: usize = 256;
/// Records that are read at once.
const RECORDS: usize = 4_096;
/// Events that a guest folds in one operation.
const EVENTS: usize = 1_024;
/// How often an actor is folded again because what it shared an instance with trapped.
const ATTEMPTS: u32 = 5;

/// One actor that is wanted in memory.
pub(crate) struct Wanted {
    pub(crate) key: EntityKey,
    pub(crate) kind: Kind,
    /// In an instance of its own.
    pub(crate) alone: bool,
    /// The shard's last valid record.
    pub(crate) last: RecordSeq,
    /// The records with commits of it that are known.
    pub(crate) places: Vec<RecordSeq>,
    /// The first record that is known.
    pub(crate) first: RecordSeq,
    /// A snapshot that stands for what was before it.
    pub(crate) must: Option<SnapshotRef>,
}

impl Wanted {
    /// Was it deleted?
    pub(crate) fn is_buried(&self) -> bool {
        self.must.as_ref().is_some_and(SnapshotRef::is_tombstone)
    }

    pub(crate) fn sought(&self) -> Sought {
        Sought { key: self.key.clone(), last: self.last, first: self.first, must: self.must.clone() }
    }
}

/// Told once what came of it.
pub(crate) type Brought = Box<dyn FnOnce(Result<Ready, Report>) + Send>;

/// An actor in memory.
pub(crate) struct Ready {
    pub(crate) ledger: Ledger,
    pub(crate) guest: Arc<dyn Guest>,
    /// What it runs.
    pub(crate) component: Digest,
    /// Events that came after the snapshot, and the time that it took to fold them, microseconds.
    pub(crate) since: (usize, u64),
    /// The snapshot that it began with, and the last record in that.
    pub(crate) snapshot: Option<(SnapshotRef, RecordSeq)>,
}

/// Where snapshots and commits come from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) shard: ShardId,
    pub(crate) log: Arc<dyn ShardLog>,
    pub(crate) snapshots: Arc<SnapshotStore>,
}

/// Serves until nobody can ask any more.
pub(crate) async fn run(sources: Sources, mut wanted: mpsc::UnboundedReceiver<(Wanted, Brought)>) {
    let mut batch = Vec::new();
    while wanted.recv_many(&mut batch, TOGETHER).await > 0 {
        serve(&sources, std::mem::take(&mut batch)).await;
    }
}

/// What an actor is folded from.
pub(crate) struct Base {
    pub(crate) snapshot: Option<(Snapshot, SnapshotRef)>,
    pub(crate) commits: Vec<Commit>,
}

/// Brings several actors, each part of the log read once.
pub(crate) async fn serve(sources: &Sources, batch: Vec<(Wanted, Brought)>) {
    let (gone, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(wanted, _)| wanted.is_buried());
    for (wanted, done) in gone {
        if let Some(tombstone) = &wanted.must {
            done(Ok(bury::nobody(tombstone, wanted.kind.guests.component())));
        }
    }
    let (batch, done): (Vec<Wanted>, Vec<Brought>) = batch.into_iter().unzip();
    let sought = batch.iter().map(Wanted::sought).collect();
    let mut snapshots = load_snapshots(sources, sought, Pick::Skip(0)).await;
    let mut bases: BTreeMap<EntityKey, Base> = BTreeMap::new();
    let mut places = BTreeSet::new();
    for wanted in &batch {
        let base = match snapshots.remove(&wanted.key) {
            None if wanted.must.is_some() => rescue(sources, wanted).await,
            snapshot => Base { snapshot, commits: Vec::new() },
        };
        let from = base.snapshot.as_ref().map_or(RecordSeq(0), |(snapshot, _)| snapshot.record);
        places.extend(wanted.places.iter().filter(|place| **place > from && **place <= wanted.last));
        bases.insert(wanted.key.clone(), base);
    }
    let read = read(sources, places.into_iter().collect(), &mut bases).await;
    let folds = batch.into_iter().zip(done).map(|(wanted, done)| {
        let base = bases.remove(&wanted.key).unwrap_or(Base { snapshot: None, commits: Vec::new() });
        let read = read.clone();
        async move {
            let ready = match read {
                Ok(()) => bring(sources, &wanted, base).await,
                Err(report) => Err(report),
            };
            done(ready);
        }
    });
    futures::future::join_all(folds).await;
}

/// The snapshot that stands for what the index does not know any more cannot be read: what is kept of that
/// history for people may do, with an older snapshot, or from the first commit on.
async fn rescue(sources: &Sources, wanted: &Wanted) -> Base {
    let older = sources.log.older(&wanted.key, wanted.first).await;
    let older = older.inspect_err(|error| tracing::warn!(actor = %wanted.key, %error, "history not read"));
    let mut commits = Vec::new();
    for sealed in older.unwrap_or_default() {
        commits.extend(sealed.record().commits().iter().filter(|commit| commit.key == wanted.key).cloned());
    }
    let Some(first) = commits.first().map(|commit| commit.seq.0) else {
        return Base { snapshot: None, commits };
    };
    let pick = Pick::Between(first.saturating_sub(1), u64::MAX);
    let snapshot = load_snapshots(sources, vec![wanted.sought()], pick).await.remove(&wanted.key);
    if let Some((snapshot, _)) = &snapshot {
        commits.retain(|commit| commit.seq > snapshot.ledger.seq());
    }
    tracing::error!(actor = %wanted.key, commits = commits.len(), "snapshot missing: folded from older history");
    Base { snapshot, commits }
}

/// Which snapshots of an actor are good enough.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pick {
    /// All but the newest few of those that the log goes on from.
    Skip(usize),
    /// Those with no commit behind the second of these, and all before the first.
    Between(u64, u64),
}

/// Whose snapshot is wanted, and what it has to fit.
#[derive(Debug, Clone)]
pub(crate) struct Sought {
    pub(crate) key: EntityKey,
    last: RecordSeq,
    first: RecordSeq,
    must: Option<SnapshotRef>,
}

impl Sought {
    /// Has the log, as far as it is known, every commit that is not in this one?
    fn goes_on(&self, snapshot: &Snapshot) -> bool {
        let newer = |must: &SnapshotRef| snapshot.ledger.seq() >= must.seq;
        self.must.as_ref().is_none_or(newer) || snapshot.record.next() >= self.first
    }

    fn open(
        &self,
        shard: ShardId,
        bytes: bytes::Bytes,
        pick: Pick,
    ) -> Result<(Snapshot, SnapshotRef), Report> {
        let (snapshot, hash) = Snapshot::open(bytes).map_err(Report::from)?;
        snapshot.check(&self.key, shard, self.last).map_err(Report::from)?;
        let fits = match pick {
            Pick::Skip(_) => self.goes_on(&snapshot),
            Pick::Between(low, high) => (low..=high).contains(&snapshot.ledger.seq().0),
        };
        if !fits {
            let what = "the log does not go on from it";
            return Err(Report::new(ErrorCode::HistoryTrimmed, what).got(snapshot.ledger.seq()));
        }
        let reference = snapshot.reference(hash);
        Ok((snapshot, reference))
    }
}

/// The newest snapshots that can be read and are within the journal: from this host's disk, else from
/// wherever the log keeps them.
pub(crate) async fn load_snapshots(
    sources: &Sources,
    sought: Vec<Sought>,
    pick: Pick,
) -> BTreeMap<EntityKey, (Snapshot, SnapshotRef)> {
    let (store, shard) = (Arc::clone(&sources.snapshots), sources.shard);
    let wanted = sought.clone();
    let load = move || {
        let mut found = BTreeMap::new();
        let mut passed = BTreeMap::new();
        for sought in wanted {
            let (count, snapshot) = load_snapshot(&store, &sought, shard, pick);
            passed.insert(sought.key.clone(), count);
            found.extend(snapshot.map(|snapshot| (sought.key, snapshot)));
        }
        (found, passed)
    };
    // A panic in there is logged by the runtime; without snapshots everything is folded.
    let (mut found, passed) = tokio::task::spawn_blocking(load).await.unwrap_or_default();
    for sought in sought.iter().filter(|sought| sought.must.is_some()) {
        if found.contains_key(&sought.key) {
            continue;
        }
        let skip = match pick {
            Pick::Skip(count) => count.saturating_sub(passed.get(&sought.key).copied().unwrap_or(0)),
            Pick::Between(..) => 0,
        };
        let all = matches!(pick, Pick::Between(..));
        let elsewhere = sources.log.snapshots(&sought.key, all).await;
        let elsewhere = elsewhere
            .inspect_err(|error| tracing::warn!(actor = %sought.key, %error, "snapshots not fetched"))
            .unwrap_or_default();
        let read = elsewhere.into_iter().skip(skip).find_map(|bytes| sought.open(shard, bytes, pick).ok());
        found.extend(read.map(|snapshot| (sought.key.clone(), snapshot)));
    }
    found
}

/// The snapshot of this host's disk that is good enough; and how many there are that were not skipped over.
fn load_snapshot(
    store: &SnapshotStore,
    sought: &Sought,
    shard: ShardId,
    pick: Pick,
) -> (usize, Option<(Snapshot, SnapshotRef)>) {
    let key = &sought.key;
    let stored = store
        .list(key)
        .inspect_err(|error| tracing::warn!(%key, %error, "snapshots cannot be listed"))
        .unwrap_or_default();
    let skip = match pick {
        Pick::Skip(count) => count,
        Pick::Between(..) => 0,
    };
    let found = stored.iter().skip(skip).find_map(|stored| {
        if let Pick::Between(low, high) = pick
            && !(low..=high).contains(&stored.sequence)
        {
            return None;
        }
        let read = || sought.open(shard, store.load(key, stored).map_err(Report::from)?.into(), pick);
        read().inspect_err(|error| tracing::warn!(%key, %error, "snapshot passed over")).ok()
    });
    (stored.len(), found)
}

/// Reads records, and hands out their commits.
pub(crate) async fn read(
    sources: &Sources,
    places: Vec<RecordSeq>,
    bases: &mut BTreeMap<EntityKey, Base>,
) -> Result<(), Report> {
    for part in places.chunks(RECORDS) {
        for sealed in sources.log.records(part.to_vec()).await? {
            for commit in sealed.record().commits() {
                if let Some(base) = bases.get_mut(&commit.key) {
                    let known = base.snapshot.as_ref().map(|(snapshot, _)| snapshot.ledger.seq());
                    if known.is_none_or(|known| commit.seq > known) {
                        base.commits.push(commit.clone());
                    }
                }
            }
        }
    }
    Ok(())
}

/// Folds one actor; when its component does not read the snapshot, from an older one, or from all.
async fn bring(sources: &Sources, wanted: &Wanted, mut base: Base) -> Result<Ready, Report> {
    let mut skip = 0;
    loop {
        let had = base.snapshot.is_some();
        let unread = match fold_patiently(wanted, base).await {
            Ok(ready) => return Ok(ready),
            Err(report) if report.code == ErrorCode::Version && had => report,
            Err(report) => return Err(report),
        };
        tracing::warn!(actor = %wanted.key, error = %unread, "snapshot not read by the component");
        skip += 1;
        let sought = vec![wanted.sought()];
        let snapshot = load_snapshots(sources, sought, Pick::Skip(skip)).await.remove(&wanted.key);
        let from = snapshot.as_ref().map_or(RecordSeq(0), |(snapshot, _)| snapshot.record);
        let places = wanted.places.iter().copied().filter(|place| *place > from && *place <= wanted.last);
        let mut bases = BTreeMap::from([(wanted.key.clone(), Base { snapshot, commits: Vec::new() })]);
        read(sources, places.collect(), &mut bases).await?;
        base = bases.remove(&wanted.key).unwrap_or(Base { snapshot: None, commits: Vec::new() });
        if base.snapshot.is_none() && !reaches_back(&base.commits) {
            return Err(
                unread.hint("its history is trimmed: run a version of the actor that reads the snapshot")
            );
        }
    }
}

/// Do they begin at the first of all?
pub(crate) fn reaches_back(commits: &[Commit]) -> bool {
    commits.first().is_some_and(|first| first.seq.0 == 1)
}

/// Folds one actor; again, when its instance has gone through no fault of its own.
pub(crate) async fn fold_patiently(wanted: &Wanted, base: Base) -> Result<Ready, Report> {
    let Base { snapshot, commits } = base;
    if let (None, Some(must)) = (&snapshot, &wanted.must)
        && !reaches_back(&commits)
    {
        return Err(Report::new(
            ErrorCode::Damaged,
            "snapshot missing, and the history before it is trimmed",
        )
        .at(&wanted.key)
        .limit(format!("a snapshot of commit {} or later", must.seq))
        .hint("restore the host's snapshots from a copy"));
    }
    let mut attempt = 0;
    loop {
        attempt += 1;
        let alone = wanted.alone || attempt == ATTEMPTS;
        match fold(wanted, (&snapshot, &commits), alone).await {
            Err(Fault::Guest(GuestFault::Gone)) if attempt < ATTEMPTS => {}
            Ok(ready) => return Ok(ready),
            Err(Fault::Guest(fault)) => return Err(fault.report().at(&wanted.key)),
            Err(Fault::Journal(report)) => return Err(report),
        }
    }
}

enum Fault {
    Guest(GuestFault),
    Journal(Report),
}

async fn fold(
    wanted: &Wanted,
    (snapshot, commits): (&Option<(Snapshot, SnapshotRef)>, &[Commit]),
    alone: bool,
) -> Result<Ready, Fault> {
    let began = Instant::now();
    let saved = snapshot
        .as_ref()
        .map(|(snapshot, _)| Saved { version: snapshot.state_version, state: snapshot.state.clone() });
    let mut ledger = match snapshot {
        Some((snapshot, _)) => snapshot.ledger.clone(),
        None => Ledger::new(wanted.key.clone()),
    };
    let opening = Opening { key: wanted.key.clone(), snapshot: saved, alone };
    let component = wanted.kind.guests.component();
    let guest = told(|done| wanted.kind.guests.open(opening, done)).await.map_err(Fault::Guest)?;
    let mut events: Vec<Event> = Vec::new();
    let mut folded = 0;
    for commit in commits {
        ledger.apply(commit).map_err(|error| Fault::Journal(error.into()))?;
        folded += commit.events.len();
        events.extend(commit.events.iter().cloned());
        if events.len() >= EVENTS {
            let part = std::mem::take(&mut events);
            told(|done| guest.fold(part, done)).await.map_err(Fault::Guest)?;
        }
    }
    if !events.is_empty() {
        told(|done| guest.fold(events, done)).await.map_err(Fault::Guest)?;
    }
    let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let snapshot = snapshot.as_ref().map(|(snapshot, reference)| (reference.clone(), snapshot.record));
    Ok(Ready { ledger, guest, component, since: (folded, took_us), snapshot })
}

/// Waits for what a callback gets.
pub(crate) async fn told<T: Send + 'static>(ask: impl FnOnce(Done<T>)) -> Result<T, GuestFault> {
    let (sender, receiver) = oneshot::channel();
    // Whoever asked may have stopped waiting.
    ask(Box::new(move |answer| drop(sender.send(answer))));
    receiver.await.unwrap_or(Err(GuestFault::Gone))
}
