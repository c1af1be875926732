//! Key-value: what `wasi:keyvalue` (store, atomics, batch) needs of a store.
//!
//! Buckets are named by the host from the link and the grant (never raw guest text: the name is one
//! to 200 bytes without control characters); keys are any UTF-8 text of 1 to 1 024 bytes, values
//! bytes up to the link's limit. Providers encode keys as their store demands, reversibly.

use crate::{BoxFuture, CallContext, ProviderError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One page of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPage {
    /// Keys, in no promised order.
    pub keys: Vec<String>,
    /// Where the next page begins; none at the end.
    pub cursor: Option<String>,
}

/// A value together with the version that a compare-and-swap must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The value; none when the key is absent.
    pub value: Option<Bytes>,
    /// Opaque to everyone but the provider.
    pub version: Vec<u8>,
}

/// A key-value store.
pub trait KeyValue: Send + Sync {
    /// Does the bucket exist, or can it be made? Called once when a guest opens it.
    fn open<'a>(&'a self, cx: &'a CallContext, bucket: &'a str) -> BoxFuture<'a, Result<(), ProviderError>>;
    /// The value, or none.
    fn get<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Bytes>, ProviderError>>;
    /// Writes, over whatever is there.
    fn set<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;
    /// Deletes; an absent key is not an error.
    fn delete<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;
    /// Is it there?
    fn exists<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<bool, ProviderError>>;
    /// One page of at most 1 000 keys, from a cursor of an earlier page.
    fn list_keys<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        cursor: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyPage, ProviderError>>;
    /// Adds to a decimal integer, atomically; an absent key counts as 0. Gives the new value.
    fn increment<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<i64, ProviderError>>;
    /// The value and its version, for a later [`Self::swap`].
    fn current<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Versioned, ProviderError>>;
    /// Writes if the version still holds; `false` when somebody else was first.
    fn swap<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        key: &'a str,
        version: &'a [u8],
        value: Bytes,
    ) -> BoxFuture<'a, Result<bool, ProviderError>>;
    /// Several values, in the order of the keys.
    fn get_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, ProviderError>>;
    /// Several writes; not atomic as a whole.
    fn set_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        pairs: Vec<(String, Bytes)>,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;
    /// Several deletes; not atomic as a whole.
    fn delete_many<'a>(
        &'a self,
        cx: &'a CallContext,
        bucket: &'a str,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<(), ProviderError>>;
}
