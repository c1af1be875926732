//! In-process logs: the model itself, behind a lock, when the server can be reached.

use super::{Link, lock};
use crate::kv::Replicas;
use crate::log::{Following, Log, LogError, LogOptions, Logs, MAX_READ};
use crate::stream::StreamError;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use lattice_journal::Position;
use lattice_journal::append::{AppendOutcome, ReadBack};
use lattice_journal::model::ModelLog;
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

pub(super) struct MemoryLogs {
    link: Link,
    logs: Mutex<BTreeMap<String, Arc<Shared>>>,
}

/// A log, and what wakes those who follow it.
#[derive(Default)]
struct Shared {
    log: Mutex<ModelLog>,
    grown: Notify,
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

    fn find(&self, options: LogOptions) -> BoxFuture<'_, Result<Option<Arc<dyn Log>>, StreamError>> {
        let found = self.link.check().map(|()| {
            let log = lock(&self.logs).get(&options.name)?.clone();
            Some(Arc::new(MemoryLog { link: self.link.clone(), log }) as Arc<dyn Log>)
        });
        ready(found.map_err(StreamError::from)).boxed()
    }
}

struct MemoryLog {
    link: Link,
    log: Arc<Shared>,
}

impl MemoryLog {
    fn with<T>(&self, act: impl FnOnce(&mut ModelLog) -> T) -> Result<T, StreamError> {
        self.link.check()?;
        Ok(act(&mut lock(&self.log.log)))
    }
}

impl Log for MemoryLog {
    fn append(
        &self,
        expected: Position,
        entry: Bytes,
        _timeout: Duration,
    ) -> BoxFuture<'_, Result<AppendOutcome, StreamError>> {
        let outcome = self.with(|log| log.append(expected, &entry));
        self.log.grown.notify_waiters();
        ready(outcome).boxed()
    }

    fn read(&self, after: Position, most: usize) -> BoxFuture<'_, Result<ReadBack, LogError>> {
        let most = most.clamp(1, MAX_READ);
        let read = self.with(|log| log.read(after, most).ok_or(LogError::Trimmed { first: log.first() }));
        ready(read.map_err(LogError::from).and_then(|back| back)).boxed()
    }

    fn follow(&self, after: Position) -> BoxFuture<'_, Result<Following, StreamError>> {
        let followed = Followed { link: self.link.clone(), log: Arc::clone(&self.log), after };
        ready(self.with(|_| futures::stream::unfold(followed, Followed::next).boxed())).boxed()
    }

    fn trim(&self, through: Position) -> BoxFuture<'_, Result<(), StreamError>> {
        ready(self.with(|log| log.trim(through))).boxed()
    }
}

/// One follower.
struct Followed {
    link: Link,
    log: Arc<Shared>,
    after: Position,
}

impl Followed {
    async fn next(mut self) -> Option<((Position, Bytes), Self)> {
        let log = Arc::clone(&self.log);
        loop {
            let grown = log.grown.notified();
            self.link.check().ok()?;
            let next = {
                let model = lock(&log.log);
                self.after = self.after.max(Position(model.first().0.saturating_sub(1)));
                model.read(self.after, 1).and_then(|back| back.entries.into_iter().next())
            };
            if let Some((position, entry)) = next {
                self.after = position;
                return Some(((position, entry), self));
            }
            self.link.awaits(grown).await?;
        }
    }
}
