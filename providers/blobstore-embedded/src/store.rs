//! The provider: each call runs on a thread that may block, changes one at a time.

use crate::config::Config;
use crate::disk::{Disk, DiskError, read_range};
use bytes::Bytes;
use providers_sdk::blob::{BlobStore, ObjectInfo};
use providers_sdk::{BoxFuture, CallContext, ProviderError, ProviderErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

type Answer<'a, T> = BoxFuture<'a, Result<T, ProviderError>>;

/// A blob store in a directory.
pub struct EmbeddedBlobStore {
    disk: Arc<Mutex<Disk>>,
}

impl EmbeddedBlobStore {
    /// In this directory. Blocks: looks at every object.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(directory: &Path, config: &Config) -> Result<Self, DiskError> {
        Ok(Self { disk: Arc::new(Mutex::new(Disk::open(directory, config.max_bytes)?)) })
    }

    /// Runs on a blocking thread until the deadline. What has begun is finished even when nobody
    /// waits for it any more.
    fn run<'a, T: Send + 'static>(
        &'a self,
        cx: &'a CallContext,
        work: impl FnOnce(&Mutex<Disk>) -> Result<T, DiskError> + Send + 'static,
    ) -> Answer<'a, T> {
        let disk = Arc::clone(&self.disk);
        Box::pin(cx.bounded("blob store", async move {
            match tokio::task::spawn_blocking(move || work(&disk)).await {
                Ok(result) => result.map_err(ProviderError::from),
                Err(error) => {
                    Err(ProviderError::new(ProviderErrorKind::Failed, format!("blob store: {error}")))
                }
            }
        }))
    }

    /// The same, holding the store throughout.
    fn with<'a, T: Send + 'static>(
        &'a self,
        cx: &'a CallContext,
        work: impl FnOnce(&mut Disk) -> Result<T, DiskError> + Send + 'static,
    ) -> Answer<'a, T> {
        self.run(cx, move |disk| work(&mut disk.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl BlobStore for EmbeddedBlobStore {
    fn create_container<'a>(&'a self, cx: &'a CallContext, container: &'a str) -> Answer<'a, ()> {
        let container = container.to_owned();
        self.with(cx, move |disk| disk.create_container(&container))
    }

    fn container_exists<'a>(&'a self, cx: &'a CallContext, container: &'a str) -> Answer<'a, bool> {
        let container = container.to_owned();
        self.with(cx, move |disk| disk.container_exists(&container))
    }

    fn delete_container<'a>(&'a self, cx: &'a CallContext, container: &'a str) -> Answer<'a, ()> {
        let container = container.to_owned();
        self.with(cx, move |disk| disk.delete_container(&container))
    }

    fn list<'a>(&'a self, cx: &'a CallContext, container: &'a str) -> Answer<'a, Vec<ObjectInfo>> {
        let container = container.to_owned();
        self.with(cx, move |disk| disk.list(&container))
    }

    fn info<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        object: &'a str,
    ) -> Answer<'a, Option<ObjectInfo>> {
        let (container, object) = (container.to_owned(), object.to_owned());
        self.with(cx, move |disk| disk.info(&container, &object))
    }

    fn read<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        object: &'a str,
        start: u64,
        end: u64,
    ) -> Answer<'a, Bytes> {
        let (container, object) = (container.to_owned(), object.to_owned());
        self.run(cx, move |disk| {
            // An open file stays whole while its name gets another one.
            let file =
                disk.lock().unwrap_or_else(PoisonError::into_inner).open_object(&container, &object)?;
            read_range(&file, start, end).map(Bytes::from).map_err(|source| DiskError::Io {
                what: "read object",
                path: object.into(),
                source,
            })
        })
    }

    fn write<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        object: &'a str,
        data: Bytes,
    ) -> Answer<'a, ()> {
        let (container, object) = (container.to_owned(), object.to_owned());
        self.with(cx, move |disk| disk.write(&container, &object, &data))
    }

    fn delete<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        objects: &'a [String],
    ) -> Answer<'a, ()> {
        let (container, objects) = (container.to_owned(), objects.to_vec());
        self.with(cx, move |disk| disk.delete(&container, &objects))
    }
}
