//! [`KeyValue`] over the buckets of a lattice.

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use keys::Digest;
use lattice_io::kv::MAX_BUCKET_BYTES;
use lattice_io::nats::NatsLattice;
use lattice_io::{Kv, KvBuckets, KvError, KvOptions};
use lattice_protocol::subject::{Subjects, decode_token, encode_token};
use providers_sdk::keyvalue::{KeyPage, KeyValue, Versioned};
use providers_sdk::{BoxFuture, CallContext, ProviderError, ProviderErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// Longest key, bytes.
const MAX_KEY_BYTES: usize = 1_024;
/// Keys of one page.
const PAGE: usize = 1_000;
/// Operations of one batch under way at once.
const BATCH: usize = 32;
/// Tries of one increment before it gives up.
const TRIES: u32 = 100;
/// The version of an absent key.
const ABSENT: u64 = 0;

/// A key-value store on NATS.
pub struct NatsKeyValue {
    buckets: Arc<dyn KvBuckets>,
    subjects: Subjects,
    options: KvOptions,
    /// A connection of its own lives as long as the store.
    _connection: Option<Arc<NatsLattice>>,
}

impl NatsKeyValue {
    /// Over these buckets; new ones are made with `options`.
    #[must_use]
    pub fn new(buckets: Arc<dyn KvBuckets>, subjects: Subjects, options: KvOptions) -> Self {
        Self { buckets, subjects, options, _connection: None }
    }

    /// Keeps a connection open as long as the store lives.
    #[must_use]
    pub fn keeping(mut self, connection: Arc<NatsLattice>) -> Self {
        self._connection = Some(connection);
        self
    }

    /// The bucket of the calling actor's application. A name that is too long for a stream is
    /// replaced by its digest; `=h` is nothing that an encoded name can begin with.
    fn bucket_name(&self, cx: &CallContext, bucket: &str) -> String {
        let name = self.subjects.guest_bucket(&cx.source.app, bucket);
        if name.len() <= MAX_BUCKET_BYTES {
            return name;
        }
        let digest: String = Digest::of(bucket.as_bytes()).hex().chars().take(32).collect();
        format!("{}=h{digest}", self.subjects.guest_bucket(&cx.source.app, ""))
    }

    fn bucket(&self, cx: &CallContext, bucket: &str) -> Result<Arc<dyn Kv>, ProviderError> {
        self.buckets.assume(&self.bucket_name(cx, bucket)).map_err(failed)
    }

    async fn open_now(&self, cx: &CallContext, bucket: &str) -> Result<(), ProviderError> {
        let name = self.bucket_name(cx, bucket);
        self.buckets.open(&name, self.options.clone()).await.map(drop).map_err(failed)
    }

    async fn read(&self, cx: &CallContext, bucket: &str, key: &str) -> Result<Option<Bytes>, ProviderError> {
        let entry = self.bucket(cx, bucket)?.get(&encoded(key)?).await.map_err(failed)?;
        Ok(entry.map(|entry| entry.value))
    }

    async fn write(
        &self,
        cx: &CallContext,
        bucket: &str,
        key: &str,
        value: Bytes,
    ) -> Result<(), ProviderError> {
        self.bucket(cx, bucket)?.put(&encoded(key)?, value).await.map(drop).map_err(failed)
    }

    async fn remove(&self, cx: &CallContext, bucket: &str, key: &str) -> Result<(), ProviderError> {
        self.bucket(cx, bucket)?.delete(&encoded(key)?, None).await.map_err(failed)
    }

    async fn page(
        &self,
        cx: &CallContext,
        bucket: &str,
        cursor: Option<&str>,
    ) -> Result<KeyPage, ProviderError> {
        // Sorted by their encoded form, which the cursor is in too.
        let tokens = self.bucket(cx, bucket)?.keys().await.map_err(failed)?;
        let mut rest =
            tokens.into_iter().skip_while(|token| cursor.is_some_and(|last| token.as_str() <= last));
        let page: Vec<String> = rest.by_ref().take(PAGE).collect();
        let cursor = rest.next().and_then(|_| page.last().cloned());
        // What others have put there under names that are not ours is nobody's key.
        Ok(KeyPage { keys: page.iter().filter_map(|token| decode_token(token)).collect(), cursor })
    }

    async fn add(&self, cx: &CallContext, bucket: &str, key: &str, delta: i64) -> Result<i64, ProviderError> {
        let (kv, token) = (self.bucket(cx, bucket)?, encoded(key)?);
        for attempt in 0..TRIES {
            let present = kv.get_latest(&token).await.map_err(failed)?;
            let sum = sum(key, present.as_ref().map(|entry| &entry.value), delta)?;
            let value = Bytes::from(sum.to_string());
            let written = match present {
                Some(entry) => kv.update(&token, value, entry.revision).await,
                None => kv.create(&token, value).await,
            };
            match written {
                Ok(_) => return Ok(sum),
                Err(KvError::Conflict { .. }) => tokio::time::sleep(pause(attempt)).await,
                Err(error) => return Err(failed(error)),
            }
        }
        let message = format!("{key:?} was changed by others {TRIES} times in a row");
        Err(ProviderError::new(ProviderErrorKind::Conflict, message))
    }

    async fn version(&self, cx: &CallContext, bucket: &str, key: &str) -> Result<Versioned, ProviderError> {
        let entry = self.bucket(cx, bucket)?.get_latest(&encoded(key)?).await.map_err(failed)?;
        let revision = entry.as_ref().map_or(ABSENT, |entry| entry.revision);
        let version = revision.to_be_bytes().to_vec();
        Ok(Versioned { value: entry.map(|entry| entry.value), version })
    }

    async fn swap_now(
        &self,
        at: (&CallContext, &str, &str),
        version: &[u8],
        value: Bytes,
    ) -> Result<bool, ProviderError> {
        let (cx, bucket, key) = at;
        let (kv, token) = (self.bucket(cx, bucket)?, encoded(key)?);
        let revision = version.try_into().map(u64::from_be_bytes).map_err(|_| {
            ProviderError::new(ProviderErrorKind::Invalid, format!("{key:?}: not a version of this store"))
        })?;
        let written = match revision {
            ABSENT => kv.create(&token, value).await,
            revision => kv.update(&token, value, revision).await,
        };
        match written {
            Ok(_) => Ok(true),
            Err(KvError::Conflict { .. }) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

/// The key as one token.
fn encoded(key: &str) -> Result<String, ProviderError> {
    if (1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Ok(encode_token(key));
    }
    let message = format!("key of {} bytes (limit 1..{MAX_KEY_BYTES})", key.len());
    Err(ProviderError::new(ProviderErrorKind::Invalid, message))
}

fn sum(key: &str, present: Option<&Bytes>, delta: i64) -> Result<i64, ProviderError> {
    let invalid = |what: &str| ProviderError::new(ProviderErrorKind::Invalid, format!("{key:?}: {what}"));
    let number = match present {
        None => 0,
        Some(value) => std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.trim().parse::<i64>().ok())
            .ok_or_else(|| invalid("the value is not a decimal integer"))?,
    };
    number.checked_add(delta).ok_or_else(|| invalid("the sum does not fit into 64 bits"))
}

/// A pause before trying again, jittered: up to 1 ms at first, up to 64 ms later.
fn pause(attempt: u32) -> Duration {
    let longest = 1_000_u64 << attempt.min(6);
    let random = u64::from(getrandom::u32().unwrap_or(u32::MAX));
    Duration::from_micros(longest * random / u64::from(u32::MAX))
}

fn failed(error: KvError) -> ProviderError {
    let kind = match &error {
        KvError::Conflict { .. } => ProviderErrorKind::Conflict,
        KvError::Unknown { .. } => ProviderErrorKind::Timeout,
        KvError::Unreachable { .. } => ProviderErrorKind::Unreachable,
        KvError::BucketNotFound { .. } => ProviderErrorKind::NotFound,
        KvError::Invalid { .. } => ProviderErrorKind::Invalid,
        KvError::TooLarge { .. } => ProviderErrorKind::Limit,
        KvError::Denied { .. } => ProviderErrorKind::Denied,
        KvError::Refused { .. } => ProviderErrorKind::Failed,
    };
    ProviderError::new(kind, error.to_string())
}

impl KeyValue for NatsKeyValue {
    fn open<'a>(&'a self, cx: &'a CallContext, bucket: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        cx.bounded("keyvalue-nats open", self.open_now(cx, bucket)).boxed()
    }

    fn get<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Bytes>, ProviderError>> {
        cx.bounded("keyvalue-nats get", self.read(cx, bucket, key)).boxed()
    }

    fn set<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        cx.bounded("keyvalue-nats set", self.write(cx, bucket, key, value)).boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        cx.bounded("keyvalue-nats delete", self.remove(cx, bucket, key)).boxed()
    }

    fn exists<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<bool, ProviderError>> {
        let found = self.read(cx, bucket, key).map(|read| read.map(|value| value.is_some()));
        cx.bounded("keyvalue-nats exists", found).boxed()
    }

    fn list_keys<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        cursor: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyPage, ProviderError>> {
        cx.bounded("keyvalue-nats list-keys", self.page(cx, bucket, cursor)).boxed()
    }

    fn increment<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<i64, ProviderError>> {
        cx.bounded("keyvalue-nats increment", self.add(cx, bucket, key, delta)).boxed()
    }

    fn current<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Versioned, ProviderError>> {
        cx.bounded("keyvalue-nats current", self.version(cx, bucket, key)).boxed()
    }

    fn swap<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        version: &'a [u8],
        value: Bytes,
    ) -> BoxFuture<'a, Result<bool, ProviderError>> {
        cx.bounded("keyvalue-nats swap", self.swap_now((cx, bucket, key), version, value)).boxed()
    }

    fn get_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, ProviderError>> {
        let reads = stream::iter(keys).map(move |key| self.read(cx, bucket, key));
        cx.bounded("keyvalue-nats get-many", reads.buffered(BATCH).try_collect()).boxed()
    }

    fn set_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        pairs: Vec<(String, Bytes)>,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        let writes = stream::iter(pairs)
            .map(move |(key, value)| async move { self.write(cx, bucket, &key, value).await });
        cx.bounded("keyvalue-nats set-many", writes.buffer_unordered(BATCH).try_collect()).boxed()
    }

    fn delete_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        let deletes = stream::iter(keys).map(move |key| self.remove(cx, bucket, key));
        cx.bounded("keyvalue-nats delete-many", deletes.buffer_unordered(BATCH).try_collect()).boxed()
    }
}
