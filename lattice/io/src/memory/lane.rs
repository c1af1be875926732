//! In-process lanes: one vector for each stream, when the server can be reached.

use super::{Link, lock};
use crate::kv::Replicas;
use crate::lane::{Kept, Lane, LaneInfo, LaneOptions, Lanes};
use crate::log::Following;
use crate::stream::StreamError;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use lattice_journal::Position;
use lattice_journal::append::AppendOutcome;
use lattice_protocol::subject::matches;
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

pub(super) struct MemoryLanes {
    link: Link,
    streams: Mutex<BTreeMap<String, Arc<Shared>>>,
}

/// A stream, and what wakes those who follow a lane of it.
struct Shared {
    /// The place is the index and one. What is gone leaves its place.
    entries: Mutex<Vec<Option<Entry>>>,
    grown: Notify,
    kept: Kept,
}

struct Entry {
    subject: String,
    id: String,
    bytes: Bytes,
}

impl Shared {
    fn new(kept: Kept) -> Self {
        Self { entries: Mutex::default(), grown: Notify::new(), kept }
    }
}

fn is_of(entry: &Option<Entry>, subject: &str) -> bool {
    entry.as_ref().is_some_and(|entry| entry.subject == subject)
}

fn place(index: usize) -> Position {
    Position(index as u64 + 1)
}

impl MemoryLanes {
    pub(super) fn new(link: Link) -> Self {
        Self { link, streams: Mutex::default() }
    }

    fn lane(&self, options: &LaneOptions, stream: Arc<Shared>) -> Arc<dyn Lane> {
        Arc::new(MemoryLane { link: self.link.clone(), stream, subject: options.subject.clone() })
    }
}

impl Lanes for MemoryLanes {
    fn open(&self, options: LaneOptions) -> BoxFuture<'_, Result<Arc<dyn Lane>, StreamError>> {
        if options.replicas != Replicas::One {
            let reason = "one process keeps one copy".to_owned();
            return ready(Err(StreamError::Refused { what: options.stream, reason })).boxed();
        }
        let opened = self.link.check().map(|()| {
            let mut streams = lock(&self.streams);
            let stream = streams.entry(options.stream.clone());
            let stream = stream.or_insert_with(|| Arc::new(Shared::new(options.kept))).clone();
            self.lane(&options, stream)
        });
        ready(opened.map_err(StreamError::from)).boxed()
    }

    fn find(&self, options: LaneOptions) -> BoxFuture<'_, Result<Option<Arc<dyn Lane>>, StreamError>> {
        let found = self.link.check().map(|()| {
            let stream = lock(&self.streams).get(&options.stream)?.clone();
            Some(self.lane(&options, stream))
        });
        ready(found.map_err(StreamError::from)).boxed()
    }

    fn list<'a>(
        &'a self,
        stream: &'a str,
        subjects: &'a str,
    ) -> BoxFuture<'a, Result<Vec<LaneInfo>, StreamError>> {
        let found = self.link.check().map(|()| {
            let mut found: BTreeMap<String, u64> = BTreeMap::new();
            if let Some(stream) = lock(&self.streams).get(stream) {
                let entries = lock(&stream.entries);
                for entry in entries.iter().flatten().filter(|entry| matches(subjects, &entry.subject)) {
                    *found.entry(entry.subject.clone()).or_default() += 1;
                }
            }
            found.into_iter().map(|(subject, entries)| LaneInfo { subject, entries }).collect()
        });
        ready(found.map_err(StreamError::from)).boxed()
    }
}

struct MemoryLane {
    link: Link,
    stream: Arc<Shared>,
    subject: String,
}

impl MemoryLane {
    fn append_now(&self, expected: Position, id: &str, entry: Bytes) -> AppendOutcome {
        let mut entries = lock(&self.stream.entries);
        // As a server does: the id first.
        if entries.iter().flatten().any(|known| known.id == id) {
            return AppendOutcome::Unknown;
        }
        let last = entries.iter().rposition(|entry| is_of(entry, &self.subject));
        if last.map_or(Position(0), place) != expected {
            return AppendOutcome::Conflict;
        }
        if self.stream.kept == Kept::Last {
            entries.iter_mut().filter(|entry| is_of(entry, &self.subject)).for_each(|entry| *entry = None);
        }
        entries.push(Some(Entry { subject: self.subject.clone(), id: id.to_owned(), bytes: entry }));
        self.stream.grown.notify_waiters();
        AppendOutcome::Stored(Position(entries.len() as u64))
    }
}

impl Lane for MemoryLane {
    fn last(&self) -> BoxFuture<'_, Result<Option<(Position, Bytes)>, StreamError>> {
        let last = self.link.check().map(|()| {
            let entries = lock(&self.stream.entries);
            let at = entries.iter().rposition(|entry| is_of(entry, &self.subject))?;
            entries.get(at)?.as_ref().map(|entry| (place(at), entry.bytes.clone()))
        });
        ready(last.map_err(StreamError::from)).boxed()
    }

    fn append<'a>(
        &'a self,
        expected: Position,
        id: &'a str,
        entry: Bytes,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<AppendOutcome, StreamError>> {
        let outcome = self.link.check().map(|()| self.append_now(expected, id, entry));
        ready(outcome.map_err(StreamError::from)).boxed()
    }

    fn follow(&self, after: Position) -> BoxFuture<'_, Result<Following, StreamError>> {
        let (link, stream, subject) = (self.link.clone(), Arc::clone(&self.stream), self.subject.clone());
        let followed = Followed { link, stream, subject, after };
        let checked = self.link.check().map_err(StreamError::from);
        ready(checked.map(|()| futures::stream::unfold(followed, Followed::next).boxed())).boxed()
    }

    fn beside(&self, subject: &str) -> Result<Arc<dyn Lane>, StreamError> {
        let (link, stream) = (self.link.clone(), Arc::clone(&self.stream));
        Ok(Arc::new(Self { link, stream, subject: subject.to_owned() }))
    }

    fn clear(&self, _timeout: Duration) -> BoxFuture<'_, Result<(), StreamError>> {
        let cleared = self.link.check().map(|()| {
            let mut entries = lock(&self.stream.entries);
            entries.iter_mut().filter(|entry| is_of(entry, &self.subject)).for_each(|entry| *entry = None);
        });
        ready(cleared.map_err(StreamError::from)).boxed()
    }

    fn erase(&self, at: Position) -> BoxFuture<'_, Result<bool, StreamError>> {
        let erased = self.link.check().map(|()| {
            let index = at.0.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            let mut entries = lock(&self.stream.entries);
            let entry = index.and_then(|index| entries.get_mut(index));
            entry.is_some_and(|entry| is_of(entry, &self.subject) && entry.take().is_some())
        });
        ready(erased.map_err(StreamError::from)).boxed()
    }
}

/// One follower.
struct Followed {
    link: Link,
    stream: Arc<Shared>,
    subject: String,
    after: Position,
}

impl Followed {
    fn found(&self) -> Option<(Position, Bytes)> {
        let entries = lock(&self.stream.entries);
        let behind = entries.iter().enumerate().skip(usize::try_from(self.after.0).unwrap_or(usize::MAX));
        let mut mine = behind.filter(|(_, entry)| is_of(entry, &self.subject));
        mine.find_map(|(at, entry)| Some((place(at), entry.as_ref()?.bytes.clone())))
    }

    async fn next(mut self) -> Option<((Position, Bytes), Self)> {
        let stream = Arc::clone(&self.stream);
        loop {
            let grown = stream.grown.notified();
            self.link.check().ok()?;
            if let Some((position, entry)) = self.found() {
                self.after = position;
                return Some(((position, entry), self));
            }
            self.link.awaits(grown).await?;
        }
    }
}
