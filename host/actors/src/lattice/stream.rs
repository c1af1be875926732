//! A stream of the lattice as a shard's log. The owner keeps its valid records in memory: they are what
//! actors are folded from, and the stream is asked only by who takes over.

use super::{LatticeOptions, PAUSE, Part};
use crate::log::{Appended, Read, ShardLog, Trim};
use bytes::Bytes;
use lattice_io::log::MAX_READ;
use lattice_io::{BoxFuture, Log, LogOptions, TaskScope};
use lattice_journal::append::AppendOutcome;
use lattice_journal::{Position, RecordSeq, Sealed};
use lattice_protocol::{ErrorCode, Report};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Patience of one append.
const APPEND: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct StreamLog {
    pub(super) log: Arc<dyn Log>,
    scope: TaskScope,
    records: Arc<Mutex<BTreeMap<RecordSeq, Bytes>>>,
}

impl StreamLog {
    /// Opens the stream of a shard, and makes it if it is not there.
    ///
    /// # Errors
    /// What the lattice says.
    pub(super) async fn open(
        options: &LatticeOptions,
        part: &Part,
        scope: &TaskScope,
    ) -> Result<Self, Report> {
        let (kind, shard) = part;
        let log = options.lattice.logs.open(LogOptions {
            name: options.subjects.shard_stream(kind, shard.0),
            subject: options.subjects.shard(kind, shard.0),
            max_bytes: None,
            replicas: options.replicas,
        });
        Ok(Self { log: log.await?, scope: scope.clone(), records: Arc::default() })
    }

    fn cache(&self) -> MutexGuard<'_, BTreeMap<RecordSeq, Bytes>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            done(back.ok());
        });
    }

    fn records(&self, wanted: Vec<RecordSeq>) -> BoxFuture<'_, Result<Vec<Sealed>, Report>> {
        let found: Vec<Option<Bytes>> = {
            let records = self.cache();
            wanted.iter().map(|seq| records.get(seq).cloned()).collect()
        };
        Box::pin(async move {
            let open = |(seq, bytes): (&RecordSeq, Option<Bytes>)| {
                let missing = || Report::new(ErrorCode::Damaged, format!("record {seq} is not there"));
                Sealed::open(bytes.ok_or_else(missing)?).map_err(Report::from)
            };
            wanted.iter().zip(found).map(open).collect()
        })
    }

    fn durable(&self, sealed: &Sealed) {
        self.cache().insert(sealed.record().seq, sealed.bytes().clone());
    }

    fn used_percent(&self) -> u8 {
        0
    }

    fn trim(&self, _: Trim) -> BoxFuture<'_, Result<(), Report>> {
        let report = Report::new(ErrorCode::Feature, "streams of shards are kept whole");
        Box::pin(std::future::ready(Err(report)))
    }
}
