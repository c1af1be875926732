//! Buckets in maps: values by key, and keys by revision for watches.

mod watch;

use super::{Link, lock};
use crate::kv::{Kv, KvBuckets, KvEntry, KvError, KvOptions, KvWatch, WatchKeys, check_bucket, check_key};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct MemoryKv {
    shared: Arc<Shared>,
}

/// What all handles share.
pub(super) struct Shared {
    link: Link,
    max_payload: usize,
    buckets: Mutex<Buckets>,
    /// Counts changes of any bucket: what watches wait on.
    changes: tokio::sync::watch::Sender<u64>,
}

#[derive(Default)]
struct Buckets {
    /// Tells a bucket from a later one of the same name.
    incarnation: u64,
    by_name: BTreeMap<String, Bucket>,
}

struct Bucket {
    incarnation: u64,
    options: KvOptions,
    revision: u64,
    records: BTreeMap<String, Record>,
    by_revision: BTreeMap<u64, String>,
    bytes: usize,
}

struct Record {
    /// None once deleted: the mark stays, as it does in a stream.
    value: Option<Bytes>,
    revision: u64,
    written: Instant,
}

impl Record {
    fn size(&self, key: &str) -> usize {
        key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

impl Bucket {
    /// Forgets what is older than the time to live.
    fn expire(&mut self) {
        let Some(ttl) = self.options.ttl else { return };
        let now = Instant::now();
        while let Some(key) = self.oldest_over(ttl, now) {
            self.remove(&key);
        }
    }

    fn oldest_over(&self, ttl: Duration, now: Instant) -> Option<String> {
        let (_, key) = self.by_revision.first_key_value()?;
        let record = self.records.get(key)?;
        (now.duration_since(record.written) >= ttl).then(|| key.clone())
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.records.remove(key) {
            self.by_revision.remove(&old.revision);
            self.bytes -= old.size(key);
        }
    }

    fn write(&mut self, key: &str, value: Option<Bytes>) -> u64 {
        self.remove(key);
        self.revision += 1;
        let record = Record { value, revision: self.revision, written: Instant::now() };
        self.bytes += record.size(key);
        self.by_revision.insert(self.revision, key.to_owned());
        self.records.insert(key.to_owned(), record);
        self.revision
    }
}

/// What a write expects to find.
#[derive(Clone, Copy)]
enum Expect {
    Anything,
    Absent,
    Revision(u64),
}

impl MemoryKv {
    pub(super) fn new(link: Link, max_payload: usize) -> Self {
        let changes = tokio::sync::watch::Sender::new(0);
        Self { shared: Arc::new(Shared { link, max_payload, buckets: Mutex::default(), changes }) }
    }

    fn handle(&self, bucket: &str) -> Arc<dyn Kv> {
        Arc::new(Handle { shared: self.shared.clone(), bucket: bucket.to_owned() })
    }

    fn create(&self, name: &str, options: KvOptions) {
        let mut buckets = lock(&self.shared.buckets);
        if buckets.by_name.contains_key(name) {
            return;
        }
        buckets.incarnation += 1;
        let bucket = Bucket {
            incarnation: buckets.incarnation,
            options,
            revision: 0,
            records: BTreeMap::new(),
            by_revision: BTreeMap::new(),
            bytes: 0,
        };
        buckets.by_name.insert(name.to_owned(), bucket);
        drop(buckets);
        self.shared.changed();
    }
}

impl Shared {
    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn connected(&self, bucket: &str) -> Result<(), KvError> {
        self.link
            .check()
            .map_err(|error| KvError::Unreachable { bucket: bucket.to_owned(), reason: error.to_string() })
    }
}

impl KvBuckets for MemoryKv {
    fn open<'a>(
        &'a self,
        bucket: &'a str,
        options: KvOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Kv>, KvError>> {
        async move {
            check_bucket(bucket)?;
            self.shared.connected(bucket)?;
            self.create(bucket, options);
            Ok(self.handle(bucket))
        }
        .boxed()
    }

    fn lookup<'a>(&'a self, bucket: &'a str) -> BoxFuture<'a, Result<Option<Arc<dyn Kv>>, KvError>> {
        async move {
            check_bucket(bucket)?;
            self.shared.connected(bucket)?;
            let there = lock(&self.shared.buckets).by_name.contains_key(bucket);
            Ok(there.then(|| self.handle(bucket)))
        }
        .boxed()
    }

    fn assume(&self, bucket: &str) -> Result<Arc<dyn Kv>, KvError> {
        check_bucket(bucket)?;
        Ok(self.handle(bucket))
    }

    fn delete<'a>(&'a self, bucket: &'a str) -> BoxFuture<'a, Result<bool, KvError>> {
        async move {
            self.shared.connected(bucket)?;
            let removed = lock(&self.shared.buckets).by_name.remove(bucket).is_some();
            self.shared.changed();
            Ok(removed)
        }
        .boxed()
    }
}

struct Handle {
    shared: Arc<Shared>,
    bucket: String,
}

impl Handle {
    fn with<T>(&self, act: impl FnOnce(&mut Bucket) -> Result<T, KvError>) -> Result<T, KvError> {
        self.shared.connected(&self.bucket)?;
        let mut buckets = lock(&self.shared.buckets);
        let Some(bucket) = buckets.by_name.get_mut(&self.bucket) else {
            return Err(KvError::BucketNotFound { bucket: self.bucket.clone() });
        };
        bucket.expire();
        act(bucket)
    }

    fn read(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        check_key(key)?;
        self.with(|bucket| {
            Ok(bucket.records.get(key).and_then(|record| {
                let value = record.value.clone()?;
                Some(KvEntry { key: key.to_owned(), value, revision: record.revision })
            }))
        })
    }

    fn write(&self, key: &str, value: Option<Bytes>, expect: Expect) -> Result<u64, KvError> {
        check_key(key)?;
        let revision = self.with(|bucket| {
            self.check_size(bucket, key, value.as_ref())?;
            let record = bucket.records.get(key);
            let present = record.map_or(0, |record| record.revision);
            let expected = match expect {
                Expect::Anything => present,
                Expect::Revision(revision) => revision,
                Expect::Absent if record.is_none_or(|record| record.value.is_none()) => present,
                // No revision is u64::MAX: this never matches, and the error says 0.
                Expect::Absent => u64::MAX,
            };
            if expected != present {
                let expected = if expected == u64::MAX { 0 } else { expected };
                return Err(KvError::Conflict { bucket: self.bucket.clone(), key: key.to_owned(), expected });
            }
            Ok(bucket.write(key, value))
        })?;
        self.shared.changed();
        Ok(revision)
    }

    fn check_size(&self, bucket: &Bucket, key: &str, value: Option<&Bytes>) -> Result<(), KvError> {
        let size = value.map_or(0, Bytes::len);
        let limit = bucket.options.max_value.unwrap_or(usize::MAX).min(self.shared.max_payload);
        if size > limit {
            let (bucket, key) = (self.bucket.clone(), key.to_owned());
            return Err(KvError::TooLarge { bucket, key, size, limit });
        }
        let room = bucket.options.max_bytes.unwrap_or(u64::MAX);
        let old = bucket.records.get(key).map_or(0, |record| record.size(key));
        if (bucket.bytes - old + key.len() + size) as u64 > room {
            let reason = format!("bucket full (limit {room} bytes)");
            return Err(KvError::Refused { bucket: self.bucket.clone(), reason });
        }
        Ok(())
    }
}

impl Kv for Handle {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KvEntry>, KvError>> {
        std::future::ready(self.read(key)).boxed()
    }

    fn get_latest<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KvEntry>, KvError>> {
        std::future::ready(self.read(key)).boxed()
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, KvError>> {
        std::future::ready(self.write(key, Some(value), Expect::Anything)).boxed()
    }

    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, KvError>> {
        std::future::ready(self.write(key, Some(value), Expect::Absent)).boxed()
    }

    fn update<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expected: u64,
    ) -> BoxFuture<'a, Result<u64, KvError>> {
        std::future::ready(self.write(key, Some(value), Expect::Revision(expected))).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str, expected: Option<u64>) -> BoxFuture<'a, Result<(), KvError>> {
        let expect = expected.map_or(Expect::Anything, Expect::Revision);
        std::future::ready(self.write(key, None, expect).map(drop)).boxed()
    }

    fn purge<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), KvError>> {
        std::future::ready(self.write(key, None, Expect::Anything).map(drop)).boxed()
    }

    fn keys(&self) -> BoxFuture<'_, Result<Vec<String>, KvError>> {
        let keys = self.with(|bucket| {
            let live = bucket.records.iter().filter(|(_, record)| record.value.is_some());
            Ok(live.map(|(key, _)| key.clone()).collect())
        });
        std::future::ready(keys).boxed()
    }

    fn watch(&self, keys: WatchKeys) -> KvWatch {
        watch::watch(self.shared.clone(), self.bucket.clone(), keys)
    }
}
