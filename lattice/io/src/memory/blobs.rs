//! Blobs in a map.

use super::{Link, lock};
use crate::blobs::{
    BlobError, BlobInfo, BlobStores, Blobs, NamedBlob, check_get, check_put, check_put_named,
};
use crate::kv::Replicas;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use keys::Digest;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub(super) struct MemoryBlobs {
    link: Link,
    stores: Mutex<BTreeMap<String, Arc<Store>>>,
}

impl MemoryBlobs {
    pub(super) fn new(link: Link) -> Self {
        Self { link, stores: Mutex::default() }
    }
}

struct Store {
    name: String,
    link: Link,
    blobs: Mutex<BTreeMap<Digest, Bytes>>,
    named: Mutex<BTreeMap<String, Bytes>>,
}

impl Store {
    fn check(&self) -> Result<(), BlobError> {
        self.link
            .check()
            .map_err(|error| BlobError::Unreachable { store: self.name.clone(), reason: error.to_string() })
    }

    fn missing(&self, blob: &dyn ToString) -> BlobError {
        BlobError::NotFound { store: self.name.clone(), blob: blob.to_string() }
    }
}

impl BlobStores for MemoryBlobs {
    fn open<'a>(
        &'a self,
        store: &'a str,
        _replicas: Replicas,
    ) -> BoxFuture<'a, Result<Arc<dyn Blobs>, BlobError>> {
        async move {
            let opened = lock(&self.stores)
                .entry(store.to_owned())
                .or_insert_with(|| {
                    let (name, link) = (store.to_owned(), self.link.clone());
                    Arc::new(Store { name, link, blobs: Mutex::default(), named: Mutex::default() })
                })
                .clone();
            opened.check()?;
            Ok(opened as Arc<dyn Blobs>)
        }
        .boxed()
    }
}

impl Blobs for Store {
    fn put(&self, digest: Digest, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        async move {
            check_put(digest, &bytes)?;
            self.check()?;
            lock(&self.blobs).insert(digest, bytes);
            Ok(())
        }
        .boxed()
    }

    fn get(&self, digest: Digest) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        async move {
            self.check()?;
            let bytes = lock(&self.blobs).get(&digest).cloned();
            match bytes {
                Some(bytes) => check_get(&self.name, digest, bytes),
                None => Err(self.missing(&digest)),
            }
        }
        .boxed()
    }

    fn contains(&self, digest: Digest) -> BoxFuture<'_, Result<bool, BlobError>> {
        async move {
            self.check()?;
            Ok(lock(&self.blobs).contains_key(&digest))
        }
        .boxed()
    }

    fn put_named<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), BlobError>> {
        async move {
            check_put_named(name, &bytes)?;
            self.check()?;
            lock(&self.named).insert(name.to_owned(), bytes);
            Ok(())
        }
        .boxed()
    }

    fn get_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Bytes, BlobError>> {
        async move {
            self.check()?;
            lock(&self.named).get(name).cloned().ok_or_else(|| self.missing(&name))
        }
        .boxed()
    }

    fn contains_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool, BlobError>> {
        async move {
            self.check()?;
            Ok(lock(&self.named).contains_key(name))
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<BlobInfo>, BlobError>> {
        async move {
            self.check()?;
            let info = |(digest, bytes): (&Digest, &Bytes)| BlobInfo {
                digest: *digest,
                size: bytes.len() as u64,
                stored_unix_ms: None,
            };
            Ok(lock(&self.blobs).iter().map(info).collect())
        }
        .boxed()
    }

    fn list_named(&self) -> BoxFuture<'_, Result<Vec<NamedBlob>, BlobError>> {
        async move {
            self.check()?;
            let info = |(name, bytes): (&String, &Bytes)| NamedBlob {
                name: name.clone(),
                size: bytes.len() as u64,
                stored_unix_ms: None,
            };
            Ok(lock(&self.named).iter().map(info).collect())
        }
        .boxed()
    }

    fn delete_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BlobError>> {
        async move {
            self.check()?;
            lock(&self.named).remove(name);
            Ok(())
        }
        .boxed()
    }

    fn delete(&self, digest: Digest) -> BoxFuture<'_, Result<(), BlobError>> {
        async move {
            self.check()?;
            lock(&self.blobs).remove(&digest);
            Ok(())
        }
        .boxed()
    }
}
