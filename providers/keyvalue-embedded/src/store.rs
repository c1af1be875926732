//! The provider: reads from the mirror, writes through the writer thread (or, in memory, at once).

use crate::change::{Core, Operation, Outcome, Staged};
use crate::factory::Config;
use crate::file::{File, FileError, Loaded};
use crate::mirror::Mirror;
use crate::writer::{self, Job, QUEUE_JOBS};
use bytes::Bytes;
use providers_sdk::keyvalue::{KeyPage, KeyValue, Versioned};
use providers_sdk::{BoxFuture, CallContext, ProviderError, ProviderErrorKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// Keys of one page.
const PAGE_KEYS: usize = 1_000;
/// The file, in the provider's own directory.
const FILE_NAME: &str = "keyvalue.sqlite";

type Answer<'a, T> = BoxFuture<'a, Result<T, ProviderError>>;

/// Where writes go.
enum Writes {
    /// Nowhere: they last as long as the provider.
    Memory(Mutex<Core>),
    /// To the thread that owns the file; dropping the sender ends it.
    File(mpsc::Sender<Job>),
}

/// A key-value store in this process.
pub struct EmbeddedKeyValue {
    mirror: Arc<Mirror>,
    writes: Writes,
}

/// Versions of this opening begin here: above all that the file knows, and above those of deleted
/// entries of an earlier opening, unless the clock went back.
fn first_version(last_version: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    u64::try_from(now).unwrap_or(0).max(last_version).max(1) + 1
}

fn core(loaded: Loaded, max_bytes: u64) -> Core {
    Core {
        next_version: first_version(loaded.last_version),
        used_bytes: loaded.used_bytes,
        mirror: Arc::new(Mirror::load(loaded.buckets)),
        max_bytes,
    }
}

impl EmbeddedKeyValue {
    /// A store that forgets.
    #[must_use]
    pub fn memory(max_bytes: u64) -> Self {
        let nothing = Loaded { buckets: BTreeMap::new(), used_bytes: 0, last_version: 0 };
        let core = core(nothing, max_bytes);
        Self { mirror: Arc::clone(&core.mirror), writes: Writes::Memory(Mutex::new(core)) }
    }

    /// A store on `keyvalue.sqlite` in this directory. Blocks: reads the whole file.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(directory: &Path, config: &Config) -> Result<Self, FileError> {
        if config.memory {
            return Ok(Self::memory(config.max_bytes));
        }
        let path = directory.join(FILE_NAME);
        let file = File::open(&path)?;
        let core = core(file.load(config.max_bytes)?, config.max_bytes);
        let mirror = Arc::clone(&core.mirror);
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS);
        std::thread::Builder::new()
            .name("kv-embedded".into())
            .spawn(move || writer::run(core, file, queue))
            .map_err(|source| FileError::Create { path, source })?;
        Ok(Self { mirror, writes: Writes::File(jobs) })
    }

    async fn write(
        &self,
        cx: &CallContext,
        bucket: &str,
        operations: Vec<Operation>,
    ) -> Result<Outcome, ProviderError> {
        let bucket = Arc::from(bucket);
        match &self.writes {
            Writes::Memory(core) => {
                let mut core = core.lock().unwrap_or_else(PoisonError::into_inner);
                let mut staged = Staged::default();
                let outcome = writer::decide(&core, &mut staged, &bucket, operations);
                core.apply(staged);
                outcome
            }
            Writes::File(jobs) => {
                let (reply, answer) = oneshot::channel();
                let job = Job { bucket, operations, reply };
                // Until it is in the queue, nothing can have happened.
                tokio::time::timeout_at(cx.deadline.into(), jobs.send(job))
                    .await
                    .map_err(|_| unsent(&format!("write queue of {QUEUE_JOBS} full until the deadline")))?
                    .map_err(|_| unsent("stopped"))?;
                cx.bounded("key-value write", async { answer.await.map_err(|_| interrupted())? }).await
            }
        }
    }
}

fn unsent(what: &str) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Unreachable, format!("key-value store: {what}"))
}

fn interrupted() -> ProviderError {
    ProviderError::new(
        ProviderErrorKind::Timeout,
        "key-value store: stopped during a write; it may be stored",
    )
}

fn ready<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

/// An outcome of the wrong kind would be a defect of the writer.
fn mixed_up() -> ProviderError {
    ProviderError::new(ProviderErrorKind::Failed, "key-value store: answer to another question (a defect)")
}

impl KeyValue for EmbeddedKeyValue {
    fn open<'a>(&'a self, _: &'a CallContext, _: &'a str) -> Answer<'a, ()> {
        ready(())
    }

    fn get<'a>(&'a self, _: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, Option<Bytes>> {
        ready(self.mirror.get(bucket, key).map(|entry| entry.value))
    }

    fn set<'a>(&'a self, cx: &'a CallContext, bucket: &'a str, key: &'a str, value: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            let value = compact(value);
            self.write(cx, bucket, vec![Operation::Set { key: key.into(), value }]).await.map(drop)
        })
    }

    fn delete<'a>(&'a self, cx: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.write(cx, bucket, vec![Operation::Delete { key: key.into() }]).await.map(drop)
        })
    }

    fn exists<'a>(&'a self, _: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, bool> {
        ready(self.mirror.contains(bucket, key))
    }

    fn list_keys<'a>(
        &'a self,
        _: &'a CallContext,
        bucket: &'a str,
        cursor: Option<&'a str>,
    ) -> Answer<'a, KeyPage> {
        let (keys, more) = self.mirror.keys(bucket, cursor, PAGE_KEYS);
        let cursor = if more { keys.last().cloned() } else { None };
        ready(KeyPage { keys, cursor })
    }

    fn increment<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        delta: i64,
    ) -> Answer<'a, i64> {
        Box::pin(async move {
            match self.write(cx, bucket, vec![Operation::Increment { key: key.into(), delta }]).await? {
                Outcome::Number(number) => Ok(number),
                _ => Err(mixed_up()),
            }
        })
    }

    fn current<'a>(&'a self, _: &'a CallContext, bucket: &'a str, key: &'a str) -> Answer<'a, Versioned> {
        let entry = self.mirror.get(bucket, key);
        let version = entry.as_ref().map_or(0, |entry| entry.version);
        ready(Versioned { value: entry.map(|entry| entry.value), version: version.to_be_bytes().to_vec() })
    }

    fn swap<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        version: &'a [u8],
        value: Bytes,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let version = <[u8; 8]>::try_from(version).map(u64::from_be_bytes).map_err(|_| {
                ProviderError::new(
                    ProviderErrorKind::Invalid,
                    format!("swap: not a version of this store (got {} bytes, expected 8)", version.len()),
                )
            })?;
            let swap = Operation::Swap { key: key.into(), version, value: compact(value) };
            match self.write(cx, bucket, vec![swap]).await? {
                Outcome::Swapped(swapped) => Ok(swapped),
                _ => Err(mixed_up()),
            }
        })
    }

    fn get_many<'a>(
        &'a self,
        _: &'a CallContext,
        bucket: &'a str,
        keys: &'a [String],
    ) -> Answer<'a, Vec<Option<Bytes>>> {
        ready(self.mirror.get_many(bucket, keys))
    }

    fn set_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        pairs: Vec<(String, Bytes)>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let set = |(key, value): (String, _)| Operation::Set { key: key.into(), value: compact(value) };
            self.write(cx, bucket, pairs.into_iter().map(set).collect()).await.map(drop)
        })
    }

    fn delete_many<'a>(&'a self, cx: &'a CallContext, bucket: &'a str, keys: &'a [String]) -> Answer<'a, ()> {
        Box::pin(async move {
            let delete = |key: &String| Operation::Delete { key: key.as_str().into() };
            self.write(cx, bucket, keys.iter().map(delete).collect()).await.map(drop)
        })
    }
}

/// A copy of its own: a slice of a larger buffer would keep all of that buffer alive for as long
/// as the entry lives, beyond what the budget counts.
fn compact(value: Bytes) -> Bytes {
    Bytes::copy_from_slice(&value)
}
