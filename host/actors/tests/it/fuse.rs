//! A lattice that one host loses at a chosen step, as if it had been killed there: before the step happened, or
//! after it and before anybody was told. Steps are those of checkpoints, or all that a host does with one
//! shard's key and stream, and what it asks and answers when the shard moves. And a count of what it reads. Or one that
//! keeps something from its host.

use bytes::Bytes;
use futures::StreamExt;
use keys::Digest;
use lattice_io::bus::{BusError, BusMessage, BusStatus};
use lattice_io::log::{Following, LogError, LogOptions};
use lattice_io::{
    BlobError, BlobInfo, BlobStores, Blobs, BoxFuture, Bus, Kv, KvBuckets, KvEntry, KvError, KvEvent,
    KvOptions, KvWatch, Lattice, Log, Logs, NamedBlob, Replicas, StreamError, Subscription, WatchKeys,
};
use lattice_journal::append::{AppendOutcome, ReadBack};
use lattice_journal::record::Body;
use lattice_journal::{Position, Sealed};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// See the module.
#[derive(Default)]
pub struct Fuse {
    steps: Mutex<Vec<&'static str>>,
    /// At which step it blows, from 0; and whether that step still happens.
    blows: Option<(usize, bool)>,
    /// The key and the stream of the one shard whose every step counts; none: the steps of checkpoints do.
    shard: Option<(String, String)>,
    blown: AtomicBool,
    /// No watch on sessions is told what is put there, as when it could not begin again after an outage.
    deaf: bool,
    /// Who owns a shard is answered only while this is so.
    answers: Option<watch::Receiver<bool>>,
    /// Entries of logs that were read.
    pub read: AtomicU64,
}

impl Fuse {
    pub fn never() -> Arc<Self> {
        Arc::default()
    }

    pub fn at(step: usize, happens: bool) -> Arc<Self> {
        Arc::new(Self { blows: Some((step, happens)), ..Self::default() })
    }

    /// Of one shard: its key, its stream.
    pub fn of_shard((key, stream): (&str, &str), blows: Option<(usize, bool)>) -> Arc<Self> {
        Arc::new(Self { blows, shard: Some((key.to_owned(), stream.to_owned())), ..Self::default() })
    }

    pub fn deaf() -> Arc<Self> {
        Arc::new(Self { deaf: true, ..Self::default() })
    }

    pub fn answering(answers: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self { answers: Some(answers), ..Self::default() })
    }

    fn is_key(&self, key: &str) -> bool {
        self.shard.as_ref().is_some_and(|(of, _)| of == key)
    }

    fn is_stream(&self, stream: &str) -> bool {
        self.shard.as_ref().is_some_and(|(_, of)| of == stream)
    }

    pub fn is_blown(&self) -> bool {
        self.blown.load(Ordering::SeqCst)
    }

    /// The steps so far.
    pub fn steps(&self) -> Vec<&'static str> {
        self.steps.lock().unwrap().clone()
    }

    fn alive<E>(&self, dead: impl FnOnce() -> E) -> Result<(), E> {
        if self.is_blown() { Err(dead()) } else { Ok(()) }
    }

    /// A step, if it is one that counts.
    async fn step_if<T, E>(
        &self,
        counts: bool,
        name: &'static str,
        dead: impl Fn() -> E,
        act: BoxFuture<'_, Result<T, E>>,
    ) -> Result<T, E> {
        if counts {
            return self.step(name, dead, act).await;
        }
        self.alive(dead)?;
        act.await
    }

    /// One step.
    async fn step<T, E>(
        &self,
        name: &'static str,
        dead: impl Fn() -> E,
        act: BoxFuture<'_, Result<T, E>>,
    ) -> Result<T, E> {
        self.alive(&dead)?;
        let number = {
            let mut steps = self.steps.lock().unwrap();
            steps.push(name);
            steps.len() - 1
        };
        match self.blows {
            Some((at, happens)) if at == number => {
                if happens {
                    drop(act.await);
                }
                self.blown.store(true, Ordering::SeqCst);
                Err(dead())
            }
            _ => act.await,
        }
    }

    /// The lattice, through this fuse.
    pub fn wire(self: &Arc<Self>, lattice: &Lattice) -> Lattice {
        Lattice {
            blobs: Arc::new(Stores(Arc::clone(self), Arc::clone(&lattice.blobs))),
            logs: Arc::new(AllLogs(Arc::clone(self), Arc::clone(&lattice.logs))),
            kv: Arc::new(Buckets(Arc::clone(self), Arc::clone(&lattice.kv))),
            bus: Arc::new(Wired(Arc::clone(self), Arc::clone(&lattice.bus))),
            ..lattice.clone()
        }
    }
}

fn no_stream() -> StreamError {
    StreamError::Bus(BusError::Closed)
}

fn no_log() -> LogError {
    LogError::Stream(no_stream())
}

fn no_store() -> BlobError {
    BlobError::Unreachable { store: "store".to_owned(), reason: "dead".to_owned() }
}

fn no_bucket() -> KvError {
    KvError::Unreachable { bucket: "bucket".to_owned(), reason: "dead".to_owned() }
}

/// What hosts ask each other is whether there is room for a shard, and whether it has been followed.
struct Wired(Arc<Fuse>, Arc<dyn Bus>);

impl Bus for Wired {
    fn publish(&self, message: BusMessage) -> BoxFuture<'_, Result<(), BusError>> {
        let publishing = self.1.publish(message);
        Box::pin(self.0.step_if(self.0.shard.is_some(), "ready", || BusError::Closed, publishing))
    }
    fn request(&self, message: BusMessage, timeout: Duration) -> BoxFuture<'_, Result<BusMessage, BusError>> {
        let asking = self.1.request(message, timeout);
        Box::pin(self.0.step_if(self.0.shard.is_some(), "room", || BusError::Closed, asking))
    }
    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
        queue: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Subscription, BusError>> {
        self.1.subscribe(subject, queue)
    }
    fn flush(&self) -> BoxFuture<'_, Result<(), BusError>> {
        self.1.flush()
    }
    fn new_inbox(&self) -> String {
        self.1.new_inbox()
    }
    fn max_payload(&self) -> usize {
        self.1.max_payload()
    }
    fn status(&self) -> watch::Receiver<BusStatus> {
        self.1.status()
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        self.1.close()
    }
}

struct AllLogs(Arc<Fuse>, Arc<dyn Logs>);

impl Logs for AllLogs {
    fn open(&self, options: LogOptions) -> BoxFuture<'_, Result<Arc<dyn Log>, StreamError>> {
        Box::pin(async move {
            let is_mine = self.0.is_stream(&options.name);
            let log = self.0.step_if(is_mine, "open", no_stream, self.1.open(options)).await?;
            Ok(Arc::new(OneLog(Arc::clone(&self.0), log, is_mine)) as Arc<dyn Log>)
        })
    }
    fn find(&self, options: LogOptions) -> BoxFuture<'_, Result<Option<Arc<dyn Log>>, StreamError>> {
        Box::pin(async move {
            let is_mine = self.0.is_stream(&options.name);
            let log = self.0.step_if(is_mine, "find", no_stream, self.1.find(options)).await?;
            Ok(log.map(|log| Arc::new(OneLog(Arc::clone(&self.0), log, is_mine)) as Arc<dyn Log>))
        })
    }
}

/// The last: does every step of it count?
struct OneLog(Arc<Fuse>, Arc<dyn Log>, bool);

impl Log for OneLog {
    fn append(
        &self,
        expected: Position,
        entry: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<AppendOutcome, StreamError>> {
        let sealed = Sealed::open(entry.clone()).unwrap();
        let appending = self.1.append(expected, entry, timeout);
        Box::pin(async move {
            let (counts, name) = match sealed.record().body {
                Body::Checkpoint(_) => (self.0.shard.is_none() || self.2, "record"),
                Body::EpochOpened { .. } => (self.2, "epoch"),
                Body::Commits { .. } => (self.2, "turn"),
            };
            self.0.step_if(counts, name, no_stream, appending).await
        })
    }
    fn read(&self, after: Position, most: usize) -> BoxFuture<'_, Result<ReadBack, LogError>> {
        Box::pin(async move {
            let back = self.0.step_if(self.2, "read", no_log, self.1.read(after, most)).await?;
            self.0.read.fetch_add(back.entries.len() as u64, Ordering::SeqCst);
            Ok(back)
        })
    }
    fn follow(&self, after: Position) -> BoxFuture<'_, Result<Following, StreamError>> {
        Box::pin(self.0.step_if(self.2, "follow", no_stream, self.1.follow(after)))
    }
    fn trim(&self, through: Position) -> BoxFuture<'_, Result<(), StreamError>> {
        Box::pin(self.0.step_if(self.0.shard.is_none(), "trim", no_stream, self.1.trim(through)))
    }
}

struct Stores(Arc<Fuse>, Arc<dyn BlobStores>);

impl BlobStores for Stores {
    fn open<'a>(
        &'a self,
        store: &'a str,
        replicas: Replicas,
    ) -> BoxFuture<'a, Result<Arc<dyn Blobs>, BlobError>> {
        Box::pin(async move {
            self.0.alive(no_store)?;
            Ok(Arc::new(Store(Arc::clone(&self.0), self.1.open(store, replicas).await?)) as Arc<dyn Blobs>)
        })
    }
}

struct Store(Arc<Fuse>, Arc<dyn Blobs>);

impl Blobs for Store {
    fn put(&self, digest: Digest, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        // Packs are in an envelope.
        let name = if bytes.starts_with(b"TJ") { "document" } else { "pack" };
        Box::pin(self.0.step_if(self.0.shard.is_none(), name, no_store, self.1.put(digest, bytes)))
    }
    fn get(&self, digest: Digest) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        Box::pin(async move {
            self.0.alive(no_store)?;
            self.1.get(digest).await
        })
    }
    fn contains(&self, digest: Digest) -> BoxFuture<'_, Result<bool, BlobError>> {
        Box::pin(async move {
            self.0.alive(no_store)?;
            self.1.contains(digest).await
        })
    }
    // What is compiled has a name; a shard's files have digests.
    fn put_named<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), BlobError>> {
        self.1.put_named(name, bytes)
    }
    fn get_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Bytes, BlobError>> {
        self.1.get_named(name)
    }
    fn contains_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool, BlobError>> {
        self.1.contains_named(name)
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<BlobInfo>, BlobError>> {
        self.1.list()
    }
    fn list_named(&self) -> BoxFuture<'_, Result<Vec<NamedBlob>, BlobError>> {
        self.1.list_named()
    }
    fn delete_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BlobError>> {
        self.1.delete_named(name)
    }
    fn delete(&self, digest: Digest) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(self.0.step_if(self.0.shard.is_none(), "delete", no_store, self.1.delete(digest)))
    }
}

struct Buckets(Arc<Fuse>, Arc<dyn KvBuckets>);

impl Buckets {
    fn wired(&self, bucket: Arc<dyn Kv>) -> Arc<dyn Kv> {
        Arc::new(Bucket(Arc::clone(&self.0), bucket))
    }
}

impl KvBuckets for Buckets {
    fn open<'a>(
        &'a self,
        bucket: &'a str,
        options: KvOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Kv>, KvError>> {
        Box::pin(async move { Ok(self.wired(self.1.open(bucket, options).await?)) })
    }
    fn lookup<'a>(&'a self, bucket: &'a str) -> BoxFuture<'a, Result<Option<Arc<dyn Kv>>, KvError>> {
        self.1.lookup(bucket)
    }
    fn assume(&self, bucket: &str) -> Result<Arc<dyn Kv>, KvError> {
        Ok(self.wired(self.1.assume(bucket)?))
    }
    fn delete<'a>(&'a self, bucket: &'a str) -> BoxFuture<'a, Result<bool, KvError>> {
        self.1.delete(bucket)
    }
}

struct Bucket(Arc<Fuse>, Arc<dyn Kv>);

impl Kv for Bucket {
    fn bucket(&self) -> &str {
        self.1.bucket()
    }
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KvEntry>, KvError>> {
        self.1.get(key)
    }
    fn get_latest<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KvEntry>, KvError>> {
        Box::pin(async move {
            let answers = self.0.answers.clone().filter(|_| self.1.bucket().ends_with("shards"));
            if let Some(mut answers) = answers {
                answers.wait_for(|answers| *answers).await.unwrap();
            }
            self.0.step_if(self.0.is_key(key), "key", no_bucket, self.1.get_latest(key)).await
        })
    }
    /// Only hints are written so.
    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, KvError>> {
        Box::pin(self.0.step_if(self.0.shard.is_none(), "hint", no_bucket, self.1.put(key, value)))
    }
    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, KvError>> {
        Box::pin(self.0.step_if(self.0.is_key(key), "claim", no_bucket, self.1.create(key, value)))
    }
    fn update<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expected: u64,
    ) -> BoxFuture<'a, Result<u64, KvError>> {
        let name = if value.starts_with(b"{\"session\":\"-\"") { "release" } else { "claim" };
        Box::pin(self.0.step_if(self.0.is_key(key), name, no_bucket, self.1.update(key, value, expected)))
    }
    fn delete<'a>(&'a self, key: &'a str, expected: Option<u64>) -> BoxFuture<'a, Result<(), KvError>> {
        self.1.delete(key, expected)
    }
    fn purge<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), KvError>> {
        self.1.purge(key)
    }
    fn keys(&self) -> BoxFuture<'_, Result<Vec<String>, KvError>> {
        self.1.keys()
    }
    fn watch(&self, keys: WatchKeys) -> KvWatch {
        let is_kept = self.0.deaf && self.1.bucket().ends_with("sessions");
        let told = self.1.watch(keys);
        KvWatch::new(Box::pin(
            told.filter(move |event| std::future::ready(!is_kept || !matches!(event, KvEvent::Put(_)))),
        ))
    }
}
