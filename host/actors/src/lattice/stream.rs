//! A stream of the lattice as a shard's log. Its owner, and who stands by, keep its last valid records in
//! memory, as far as they fit; older ones are read from the stream when they are wanted. What stands for history that goes
//! is on the [`Shelf`].
//!
//! A checkpoint, step by step; a crash between any two of them loses nothing:
//! ```text
//! 1 snapshots, in packs: put, read back     4 the hint: where the next owner looks first
//! 2 the document: put, read back            5 the stream is trimmed behind the checkpoint before
//! 3 the record that names it, in the log    6 what only older documents name is deleted
//! ```

use super::shelf::{Item, Settled, Shelf};
use super::{LatticeOptions, PAUSE, Part};
use crate::log::{Appended, KeepDone, Kept, Read, ShardLog, Standing, Trim, Trimmed};
use bytes::Bytes;
use lattice_io::log::{LogError, MAX_READ};
use lattice_io::{BoxFuture, Kv, Log, LogOptions, Replicas, TaskScope};
use lattice_journal::append::{AppendOutcome, ReadBack};
use lattice_journal::begin::Hint;
use lattice_journal::places::Places;
use lattice_journal::record::{Checkpoint, SnapshotRef};
use lattice_journal::retain::Keep;
use lattice_journal::{Position, RecordSeq, Sealed};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Patience of one append.
const APPEND: Duration = Duration::from_secs(2);
/// Bytes of records that an owner keeps in memory.
pub(super) const CACHE_BYTES: usize = 8 << 20;
/// Places between two wanted records that are read along rather than asked apart.
const GAP: u64 = 8;

/// See the module.
#[derive(Clone)]
pub(super) struct StreamLog {
    pub(super) log: Arc<dyn Log>,
    pub(super) shelf: Arc<Shelf>,
    scope: TaskScope,
    cache: Arc<Mutex<Cache>>,
    items: mpsc::UnboundedSender<Item>,
    hints: Hints,
}

struct Cache {
    records: BTreeMap<RecordSeq, Bytes>,
    bytes: usize,
    /// Most bytes.
    most: usize,
    /// Where the valid records are, as far back as the stream is kept.
    places: Places,
}

/// Where it is written which checkpoints to look at first.
#[derive(Clone)]
struct Hints {
    bucket: Arc<dyn Kv>,
    key: String,
}

/// The last checkpoint of a shard, and the one before it, as their key has them.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HintsValue {
    checkpoints: Vec<HintValue>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HintValue {
    document: String,
    position: u64,
    record: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self { records: BTreeMap::new(), bytes: 0, most: CACHE_BYTES, places: Places::default() }
    }
}

impl Cache {
    fn remember(&mut self, sealed: &Sealed) {
        let bytes = sealed.bytes().clone();
        self.bytes += bytes.len();
        if let Some(before) = self.records.insert(sealed.record().seq, bytes) {
            self.bytes -= before.len();
        }
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.bytes > self.most
            && let Some((_, bytes)) = self.records.pop_first()
        {
            self.bytes -= bytes.len();
        }
    }
}

fn log_options(options: &LatticeOptions, (kind, shard): &Part, replicas: Replicas) -> LogOptions {
    LogOptions {
        name: options.subjects.shard_stream(kind, shard.0),
        subject: options.subjects.shard(kind, shard.0),
        max_bytes: None,
        replicas,
    }
}

impl StreamLog {
    /// Opens the stream of a shard, and makes it if it is not there.
    ///
    /// # Errors
    /// What the lattice says.
    pub(super) async fn open(
        options: &LatticeOptions,
        (part, replicas): (&Part, Replicas),
        bucket: Arc<dyn Kv>,
        scope: &TaskScope,
    ) -> Result<Self, Report> {
        let log = options.lattice.logs.open(log_options(options, part, replicas)).await?;
        Ok(Self::over(log, options, (part, replicas), (bucket, scope)))
    }

    /// The same of a stream that is there; none when it is not. Makes nothing.
    ///
    /// # Errors
    /// What the lattice says.
    pub(super) async fn find(
        options: &LatticeOptions,
        (part, replicas): (&Part, Replicas),
        bucket: Arc<dyn Kv>,
        scope: &TaskScope,
    ) -> Result<Option<Self>, Report> {
        let log = options.lattice.logs.find(log_options(options, part, replicas)).await?;
        Ok(log.map(|log| Self::over(log, options, (part, replicas), (bucket, scope))))
    }

    fn over(
        log: Arc<dyn Log>,
        options: &LatticeOptions,
        (part, replicas): (&Part, Replicas),
        (bucket, scope): (Arc<dyn Kv>, &TaskScope),
    ) -> Self {
        let (kind, shard) = part;
        let shelf = Arc::new(Shelf::new(options, part, replicas));
        #[allow(clippy::disallowed_methods, reason = "at most the snapshots that a shard takes at once")]
        let (items, waiting) = mpsc::unbounded_channel();
        scope.spawn_until_cancelled("keep", Arc::clone(&shelf).run(waiting));
        let hints = Hints { bucket, key: format!("{kind}.{shard}.checkpoint") };
        Self { log, shelf, scope: scope.clone(), cache: Arc::default(), items, hints }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A valid record was read.
    pub(super) fn remember(&self, sealed: &Sealed) {
        self.cache().remember(sealed);
    }

    /// Reading begins anew.
    pub(super) fn forget(&self) {
        let mut cache = self.cache();
        *cache = Cache { most: cache.most, ..Cache::default() };
    }

    /// The log is followed this far, by its owner or a standby.
    pub(super) fn follows(&self, places: Places) {
        self.cache().places = places;
    }

    /// Keeps so many bytes of records in memory.
    pub(super) fn keep_in_memory(&self, most: usize) {
        let mut cache = self.cache();
        cache.most = most;
        cache.make_room();
    }

    /// Where the last checkpoints are said to be.
    ///
    /// # Errors
    /// The lattice does not answer.
    pub(super) async fn hints(&self) -> Result<Vec<Hint>, Report> {
        let Some(entry) = self.hints.bucket.get_latest(&self.hints.key).await? else { return Ok(Vec::new()) };
        let value: HintsValue = serde_json::from_slice(&entry.value).unwrap_or_else(|error| {
            tracing::error!(key = self.hints.key, %error, "not readable: the stream is looked through");
            HintsValue::default()
        });
        let hint = |value: HintValue| {
            let document = value.document.parse().ok()?;
            let (position, record) = (Position(value.position), Position(value.record));
            Some(Hint { document, position, record })
        };
        Ok(value.checkpoints.into_iter().filter_map(hint).collect())
    }

    async fn write_hint(&self, hint: Hint) -> Result<(), Report> {
        let mut all = self.hints().await.unwrap_or_default();
        all.retain(|known| known.document != hint.document);
        all.insert(0, hint);
        all.truncate(2);
        let checkpoints = all.iter().map(|hint| HintValue {
            document: hint.document.to_string(),
            position: hint.position.0,
            record: hint.record.0,
        });
        // Plain strings and numbers: this cannot fail.
        let value =
            serde_json::to_vec(&HintsValue { checkpoints: checkpoints.collect() }).unwrap_or_default();
        self.hints.bucket.put(&self.hints.key, value.into()).await?;
        Ok(())
    }

    /// Steps 4 to 6.
    async fn settle_now(&self, settled: Settled, keep: Keep) -> Result<(), Report> {
        let Settled { hint, document, gone } = settled;
        self.write_hint(hint).await?;
        if let Some((through, position)) = document.may_go(keep) {
            self.log.trim(position).await?;
            self.cache().places.trim(through);
            tracing::debug!(shard = %document.shard, %through, %position, "stream trimmed");
        }
        self.shelf.delete(gone).await
    }

    /// Deletes what former owners have left in the store.
    pub(super) fn sweep(&self) {
        let shelf = Arc::clone(&self.shelf);
        self.scope.spawn_best_effort("sweep", async move {
            match shelf.sweep().await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "left behind by former owners: deleted"),
                Err(error) => tracing::debug!(%error, "store not swept"),
            }
        });
    }

    /// Records that are in the stream only.
    async fn fetch(&self, wanted: &[(RecordSeq, Position)]) -> Result<BTreeMap<RecordSeq, Sealed>, Report> {
        let mut found = BTreeMap::new();
        let mut left = wanted;
        while let Some(((_, first), _)) = left.split_first() {
            let near = |pair: &[(RecordSeq, Position)]| match pair {
                [(_, one), (_, next)] => next.0 - one.0 <= GAP && next.0 - first.0 < MAX_READ as u64,
                _ => false,
            };
            let count = 1 + left.windows(2).take_while(|pair| near(pair)).count();
            let (together, rest) = left.split_at(count);
            left = rest;
            let last = together.last().map_or(*first, |(_, position)| *position);
            let most = usize::try_from(last.0 - first.0 + 1).unwrap_or(MAX_READ);
            let back = self.log.read(Position(first.0.saturating_sub(1)), most).await?;
            let at: BTreeMap<Position, Bytes> = back.entries.into_iter().collect();
            for (seq, position) in together {
                if let Some(bytes) = at.get(position) {
                    found.insert(*seq, Sealed::open(bytes.clone())?);
                }
            }
        }
        Ok(found)
    }

    async fn records_now(&self, wanted: Vec<RecordSeq>) -> Result<Vec<Sealed>, Report> {
        let mut missing = Vec::new();
        let mut found = BTreeMap::new();
        {
            let cache = self.cache();
            for seq in &wanted {
                match cache.records.get(seq) {
                    Some(bytes) => drop(found.insert(*seq, Sealed::open(bytes.clone())?)),
                    None => missing.push((*seq, cache.places.of(*seq).ok_or_else(|| absent(*seq))?)),
                }
            }
        }
        missing.sort_unstable();
        missing.dedup();
        found.extend(self.fetch(&missing).await?);
        let one = |seq: &RecordSeq| match found.get(seq) {
            Some(sealed) if sealed.record().seq == *seq => Ok(sealed.clone()),
            _ => Err(absent(*seq)),
        };
        wanted.iter().map(one).collect()
    }

    async fn older_now(&self, key: &EntityKey, before: RecordSeq) -> Result<Vec<Sealed>, Report> {
        let places = self.cache().places.clone();
        let mut after = match self.log.read(Position(0), 1).await {
            Ok(_) => Position(0),
            Err(LogError::Trimmed { first }) => Position(first.0.saturating_sub(1)),
            Err(error) => return Err(error.into()),
        };
        let mut found = Vec::new();
        // Nothing is behind the first record that is known.
        let end = places.of(before);
        loop {
            let back = self.log.read(after, MAX_READ).await?;
            for (position, bytes) in back.entries {
                after = position;
                if end.is_some_and(|end| position >= end) {
                    return Ok(found);
                }
                let sealed = Sealed::open(bytes)?;
                let record = sealed.record();
                if places.of(record.seq) == Some(position)
                    && record.seq < before
                    && record.commits().iter().any(|commit| commit.key == *key)
                {
                    found.push(sealed);
                }
            }
            if back.complete {
                return Ok(found);
            }
        }
    }
}

fn absent(seq: RecordSeq) -> Report {
    Report::new(ErrorCode::HistoryTrimmed, format!("record {seq} is not in the stream any more"))
        .hint("ask again: its actor is folded from a later snapshot")
}

impl ShardLog for StreamLog {
    fn append(&self, expected: Position, sealed: Sealed, done: Appended) {
        let log = Arc::clone(&self.log);
        self.scope.spawn_best_effort("append", async move {
            let outcome = match log.append(expected, sealed.bytes().clone(), APPEND).await {
                Ok(outcome) => outcome,
                // It is certainly not stored; the shard reads, and sends it again.
                Err(error) => {
                    tracing::debug!(%error, "record not appended");
                    tokio::time::sleep(PAUSE).await;
                    AppendOutcome::Unknown
                }
            };
            done(Ok(outcome));
        });
    }

    fn read(&self, after: Position, done: Read) {
        let log = Arc::clone(&self.log);
        self.scope.spawn_best_effort("read", async move {
            let back = log.read(after, MAX_READ).await;
            if let Err(error) = &back {
                tracing::debug!(%error, "log not read");
                tokio::time::sleep(PAUSE).await;
            }
            let back: Option<ReadBack> = back.ok();
            done(back);
        });
    }

    fn records(&self, wanted: Vec<RecordSeq>) -> BoxFuture<'_, Result<Vec<Sealed>, Report>> {
        Box::pin(self.records_now(wanted))
    }

    fn durable(&self, sealed: &Sealed, at: Position) {
        let mut cache = self.cache();
        cache.remember(sealed);
        cache.places.note(sealed.record().seq, at);
    }

    fn used_percent(&self) -> u8 {
        // A stream has no bound of its own.
        0
    }

    fn holds(&self, record: RecordSeq) -> bool {
        self.cache().places.of(record).is_some()
    }

    fn closed(&self, record: RecordSeq) -> Option<RecordSeq> {
        // It is trimmed record by record.
        Some(record)
    }

    fn roll(&self, _: RecordSeq) -> BoxFuture<'_, Result<(), Report>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn trims_late(&self) -> bool {
        false
    }

    fn trim(&self, trim: Trim) -> BoxFuture<'_, Result<Trimmed, Report>> {
        Box::pin(async move {
            let through = trim.checkpoint.through;
            let places = self.cache().places.clone();
            let position = places.of(through).ok_or_else(|| absent(through))?;
            self.shelf.checkpoint(trim, (position, places)).await.map(Trimmed::Record)
        })
    }

    fn settle(&self, checkpoint: Checkpoint, at: Position, kept: Kept) -> BoxFuture<'_, Result<(), Report>> {
        Box::pin(async move {
            match self.shelf.settled(&checkpoint, at) {
                Some(settled) => {
                    self.settle_now(settled, kept.keep).await?;
                    if kept.sweeps {
                        self.sweep();
                    }
                    Ok(())
                }
                None => Err(Report::new(ErrorCode::Internal, "a checkpoint that was not written here")),
            }
        })
    }

    fn wants_standing(&self) -> Option<RecordSeq> {
        // Its checkpoints are in the lattice already.
        None
    }

    fn stands(&self, _: Standing) {}

    fn keep(&self, snapshot: &SnapshotRef, sealed: Bytes, done: KeepDone) {
        // The task ends only with this shard.
        drop(self.items.send(Item { hash: snapshot.hash, bytes: sealed, done }));
    }

    fn keeps(&self, snapshot: &SnapshotRef) -> bool {
        self.shelf.keeps(snapshot)
    }

    fn snapshots<'a>(&'a self, key: &'a EntityKey, all: bool) -> BoxFuture<'a, Result<Vec<Bytes>, Report>> {
        Box::pin(self.shelf.kept(key, all))
    }

    fn older<'a>(
        &'a self,
        key: &'a EntityKey,
        before: RecordSeq,
    ) -> BoxFuture<'a, Result<Vec<Sealed>, Report>> {
        Box::pin(self.older_now(key, before))
    }
}
