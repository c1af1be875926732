//! In-process logs: the model itself, behind a lock, when the server can be reached.

use super::{Link, lock};
use crate::kv::Replicas;
use crate::log::{Log, LogError, LogOptions, Logs, MAX_READ};
use crate::stream::StreamError;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use lattice_journal::Position;
use lattice_journal::append::{AppendOutcome, ReadBack};
use lattice_journal::model::ModelLog;
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) struct MemoryLogs {
    link: Link,
    logs: Mutex<BTreeMap<String, Arc<Mutex<ModelLog>>>>,
}

impl MemoryLogs {
    pub(super) fn new(link: Link) -> Self {
        Self { link, logs: Mutex::default() }
    }
}

impl Logs for MemoryLogs {
    fn open(&self, options: LogOptions) -> BoxFuture<'_, Result<Arc<dyn Log>, StreamError>> {
        if options.replicas != Replicas::One {
            let reason = "one process keeps one copy".to_owned();
            return ready(Err(StreamError::Refused { what: options.name, reason })).boxed();
        }
        let opened = self.link.check().map(|()| {
            let log = lock(&self.logs).entry(options.name).or_default().clone();
            Arc::new(MemoryLog { link: self.link.clone(), log }) as Arc<dyn Log>
        });
        ready(opened.map_err(StreamError::from)).boxed()
    }
}

struct MemoryLog {
    link: Link,
    log: Arc<Mutex<ModelLog>>,
}

impl MemoryLog {
    fn with<T>(&self, act: impl FnOnce(&mut ModelLog) -> T) -> Result<T, StreamError> {
        self.link.check()?;
        Ok(act(&mut lock(&self.log)))
    }
}

impl Log for MemoryLog {
    fn append(
        &self,
        expected: Position,
        entry: Bytes,
        _timeout: Duration,
    ) -> BoxFuture<'_, Result<AppendOutcome, StreamError>> {
        ready(self.with(|log| log.append(expected, &entry))).boxed()
    }

    fn read(&self, after: Position, most: usize) -> BoxFuture<'_, Result<ReadBack, LogError>> {
        let most = most.clamp(1, MAX_READ);
        let read = self.with(|log| log.read(after, most).ok_or(LogError::Trimmed { first: log.first() }));
        ready(read.map_err(LogError::from).and_then(|back| back)).boxed()
    }

    fn trim(&self, through: Position) -> BoxFuture<'_, Result<(), StreamError>> {
        ready(self.with(|log| log.trim(through))).boxed()
    }
}
