//! Blobs in NATS object stores: an object per digest, in chunks.

use super::core::{Core, denied};
use super::making::{MADE, in_the_way, until_made};
use crate::blobs::{
    BlobError, BlobInfo, BlobStores, Blobs, MAX_BLOB_BYTES, NamedBlob, check_get, check_put, check_put_named,
    digest_of,
};
use crate::bus::BusError;
use crate::kv::Replicas;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::object_store::{
    Config, DeleteErrorKind, GetErrorKind, InfoErrorKind, ObjectInfo, ObjectMetadata, ObjectStore,
    PutErrorKind,
};
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use keys::Digest;
use lattice_protocol::jetstream::object_prefix;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Each chunk is one message and one fsync: half a message of the usual size.
const CHUNK_BYTES: usize = 512 << 10;
/// A transfer that has not ended after this is given up.
const TRANSFER: Duration = Duration::from_secs(300);
/// When nothing came for so long, it is looked whether the object is still there: what was deleted after its
/// description was read never comes, and nobody says so.
const STALL: Duration = Duration::from_secs(2);

pub(super) struct NatsBlobs {
    core: Arc<Core>,
}

impl NatsBlobs {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn create(&self, store: &str, replicas: Replicas) -> Result<Arc<dyn Blobs>, BlobError> {
        self.core.check().map_err(|error| unreachable(store, &error))?;
        let context = ContextBuilder::new()
            .timeout(self.core.timeout)
            .ack_timeout(self.core.timeout)
            .api_prefix(self.core.api.clone())
            .build(self.core.client.clone());
        let config = Config {
            bucket: store.to_owned(),
            storage: StorageType::File,
            num_replicas: replicas.count(),
            max_bytes: -1,
            ..Config::default()
        };
        let make = || async {
            let objects = match context.get_object_store(store).await {
                Ok(objects) => Ok(objects),
                // Not there, most likely; if it was something else, this says it.
                Err(_) => context.create_object_store(config.clone()).await,
            };
            objects.map_err(|error| failed(store, &error))
        };
        let is_passing =
            |error: &BlobError| matches!(error, BlobError::Failed { reason, .. } if in_the_way(reason));
        let objects = until_made(MADE, make, is_passing).await?;
        Ok(Arc::new(NatsStore { core: self.core.clone(), name: store.to_owned(), objects }))
    }
}

fn unreachable(store: &str, error: &BusError) -> BlobError {
    BlobError::Unreachable { store: store.to_owned(), reason: error.to_string() }
}

fn failed(store: &str, error: &dyn std::error::Error) -> BlobError {
    let mut reason = error.to_string();
    if let Some(source) = error.source() {
        reason = format!("{reason}: {source}");
    }
    BlobError::Failed { store: store.to_owned(), reason }
}

impl BlobStores for NatsBlobs {
    fn open<'a>(
        &'a self,
        store: &'a str,
        replicas: Replicas,
    ) -> BoxFuture<'a, Result<Arc<dyn Blobs>, BlobError>> {
        self.create(store, replicas).boxed()
    }
}

struct NatsStore {
    core: Arc<Core>,
    name: String,
    objects: ObjectStore,
}

impl NatsStore {
    /// Runs an operation while connected, for a bounded time, and no longer than until the server
    /// says that it is not allowed.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, BlobError>>) -> Result<T, BlobError> {
        self.core.check().map_err(|error| unreachable(&self.name, &error))?;
        let mut denials = self.core.events.denials.subscribe();
        let prefix = object_prefix(&self.name);
        tokio::select! {
            biased;
            done = tokio::time::timeout(TRANSFER, work) => done.unwrap_or_else(|_| {
                let reason = format!("the transfer took over {} s", TRANSFER.as_secs());
                Err(BlobError::Failed { store: self.name.clone(), reason })
            }),
            () = denied(&mut denials, |subject| subject.starts_with(&prefix)) => {
                Err(BlobError::Denied { store: self.name.clone() })
            }
        }
    }

    async fn info(&self, name: &str) -> Result<Option<u64>, BlobError> {
        match self.objects.info(name).await {
            Ok(info) if info.deleted => Ok(None),
            Ok(info) => Ok(Some(info.size as u64)),
            Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&self.name, &error)),
        }
    }

    async fn write(&self, digest: Digest, bytes: Bytes) -> Result<(), BlobError> {
        let size = bytes.len() as u64;
        let name = digest.hex();
        if self.info(&name).await? == Some(size) {
            return Ok(());
        }
        self.write_as(name, bytes).await
    }

    async fn write_as(&self, name: String, bytes: Bytes) -> Result<(), BlobError> {
        let room = self.core.client.max_payload() / 2;
        let meta =
            ObjectMetadata { name, chunk_size: Some(CHUNK_BYTES.min(room)), ..ObjectMetadata::default() };
        match self.objects.put(meta, &mut &bytes[..]).await {
            Ok(_) => Ok(()),
            // What had the name before is replaced by then; its bytes stay where whoever replaces may not purge.
            Err(error) if error.kind() == PutErrorKind::PurgeOldChunks => Ok(()),
            Err(error) => Err(failed(&self.name, &error)),
        }
    }

    async fn read(&self, name: &str) -> Result<Bytes, BlobError> {
        loop {
            if let Some(bytes) = self.read_one(name).await? {
                return Ok(bytes);
            }
        }
    }

    /// The object as it is now; none when it was deleted meanwhile, whether it was put again or not.
    async fn read_one(&self, name: &str) -> Result<Option<Bytes>, BlobError> {
        // As people write it.
        let blob = || digest_of(name).map_or_else(|| name.to_owned(), |digest| digest.to_string());
        let object = match self.objects.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => {
                return Err(BlobError::NotFound { store: self.name.clone(), blob: blob() });
            }
            Err(error) => return Err(failed(&self.name, &error)),
        };
        let (size, life) = (object.info.size, object.info.nuid.clone());
        if size > MAX_BLOB_BYTES {
            return Err(BlobError::TooLarge { size });
        }
        let mut bytes = Vec::with_capacity(size);
        // One byte more than there should be shows an object that is longer than it says.
        let mut rest = object.take(size as u64 + 1);
        loop {
            match tokio::time::timeout(STALL, rest.read_buf(&mut bytes)).await {
                Ok(Ok(0)) => return Ok(Some(bytes.into())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    let (store, reason) = (self.name.clone(), error.to_string());
                    return Err(BlobError::Damaged { store, blob: blob(), reason });
                }
                Err(_) => match self.objects.info(name).await {
                    Ok(info) if !info.deleted && info.nuid == life => {}
                    Ok(_) => return Ok(None),
                    Err(error) if error.kind() == InfoErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(failed(&self.name, &error)),
                },
            }
        }
    }

    /// What this makes of each object, by its name; none for what is not asked for.
    async fn read_list<T>(&self, about: impl Fn(&ObjectInfo) -> Option<T>) -> Result<Vec<T>, BlobError> {
        let mut list = self.objects.list().await.map_err(|error| failed(&self.name, &error))?;
        let mut blobs = BTreeMap::new();
        while let Some(info) = list.next().await {
            let info = info.map_err(|error| failed(&self.name, &error))?;
            if let Some(blob) = about(&info) {
                blobs.insert(info.name, blob);
            }
        }
        Ok(blobs.into_values().collect())
    }

    async fn remove(&self, name: &str) -> Result<(), BlobError> {
        match self.objects.delete(name).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == DeleteErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&self.name, &error)),
        }
    }
}

/// When an object was stored.
fn stored(info: &ObjectInfo) -> Option<u64> {
    u64::try_from(info.modified?.unix_timestamp_nanos() / 1_000_000).ok()
}

impl Blobs for NatsStore {
    fn put(&self, digest: Digest, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        async move {
            check_put(digest, &bytes)?;
            self.bounded(self.write(digest, bytes)).await
        }
        .boxed()
    }

    fn get(&self, digest: Digest) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        let work = async move { check_get(&self.name, digest, self.read(&digest.hex()).await?) };
        self.bounded(work).boxed()
    }

    fn put_named<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), BlobError>> {
        async move {
            check_put_named(name, &bytes)?;
            self.bounded(self.write_as(name.to_owned(), bytes)).await
        }
        .boxed()
    }

    fn get_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Bytes, BlobError>> {
        self.bounded(self.read(name)).boxed()
    }

    fn contains_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool, BlobError>> {
        self.bounded(async move { Ok(self.info(name).await?.is_some()) }).boxed()
    }

    fn contains(&self, digest: Digest) -> BoxFuture<'_, Result<bool, BlobError>> {
        self.bounded(async move { Ok(self.info(&digest.hex()).await?.is_some()) }).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<BlobInfo>, BlobError>> {
        let about = |info: &ObjectInfo| {
            let (digest, size) = (digest_of(&info.name)?, info.size as u64);
            Some(BlobInfo { digest, size, stored_unix_ms: stored(info) })
        };
        self.bounded(self.read_list(about)).boxed()
    }

    fn list_named(&self) -> BoxFuture<'_, Result<Vec<NamedBlob>, BlobError>> {
        let about = |info: &ObjectInfo| {
            let (name, size) = (info.name.clone(), info.size as u64);
            digest_of(&name).is_none().then(|| NamedBlob { name, size, stored_unix_ms: stored(info) })
        };
        self.bounded(self.read_list(about)).boxed()
    }

    fn delete(&self, digest: Digest) -> BoxFuture<'_, Result<(), BlobError>> {
        self.bounded(async move { self.remove(&digest.hex()).await }).boxed()
    }

    fn delete_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BlobError>> {
        self.bounded(self.remove(name)).boxed()
    }
}
