//! Blobs: what `wasi:blobstore` needs of a store. Objects are read and written whole or by range;
//! the host bounds their size.

use crate::{BoxFuture, CallContext, ProviderError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// About one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectInfo {
    /// Name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Unix seconds of the last write.
    pub created_at: u64,
}

/// A store of named objects in named containers.
pub trait BlobStore: Send + Sync {
    /// Makes a container; one that exists is left as it is.
    fn create_container<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;
    /// Is there such a container?
    fn container_exists<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
    ) -> BoxFuture<'a, Result<bool, ProviderError>>;
    /// Deletes a container and all in it.
    fn delete_container<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;
    /// Every object of a container, at most 10 000.
    fn list<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
    ) -> BoxFuture<'a, Result<Vec<ObjectInfo>, ProviderError>>;
    /// About one object, or none.
    fn info<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        object: &'a str,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, ProviderError>>;
    /// Bytes `start..=end` of an object (`end` may lie beyond it).
    fn read<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        object: &'a str,
        start: u64,
        end: u64,
    ) -> BoxFuture<'a, Result<Bytes, ProviderError>>;
    /// Writes an object whole.
    fn write<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        object: &'a str,
        data: Bytes,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;
    /// Deletes objects; absent ones are not an error.
    fn delete<'a>(
        &'a self,
        cx: &'a CallContext,
        container: &'a str,
        objects: &'a [String],
    ) -> BoxFuture<'a, Result<(), ProviderError>>;
}
