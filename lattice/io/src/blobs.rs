//! Content-addressed bytes: artifacts of the lattice.
//!
//! A blob's name is its SHA-256 digest; what is read is verified against it, so a store can be
//! trusted with nothing. Putting what is there already does nothing.
//!
//! What is made of a blob, and is to be found by whoever knows the blob, is kept beside it under a name of its own
//! ([`Blobs::put_named`]). Such bytes say nothing about themselves: they carry a signature that their reader checks.

use bytes::Bytes;
use futures::future::BoxFuture;
use keys::Digest;
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;

use crate::bus::megabytes;
use crate::kv::Replicas;

/// Largest blob, bytes: bounds what a reader must hold.
pub const MAX_BLOB_BYTES: usize = 256 << 20;

/// About one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Unix milliseconds when it was stored, by the server's clock; none where nobody looked.
    pub stored_unix_ms: Option<u64>,
}

/// About one that has a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedBlob {
    /// Its name.
    pub name: String,
    /// As [`BlobInfo::size`].
    pub size: u64,
    /// As [`BlobInfo::stored_unix_ms`].
    pub stored_unix_ms: Option<u64>,
}

/// Why a blob operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// No such blob.
    #[error("artifact not found: {blob} in {store}")]
    NotFound {
        /// Store.
        store: String,
        /// Digest or name.
        blob: String,
    },
    /// The stored bytes are not what the name says.
    #[error("artifact damaged: {blob} in {store}: {reason}")]
    Damaged {
        /// Store.
        store: String,
        /// Digest or name.
        blob: String,
        /// What was found.
        reason: String,
    },
    /// A name that is a digest, or has characters that no name has.
    #[error("no name of an artifact: {name:?}")]
    Name {
        /// What was given.
        name: String,
    },
    /// Over [`MAX_BLOB_BYTES`].
    #[error("artifact {}, limit {}", megabytes(*size), megabytes(MAX_BLOB_BYTES))]
    TooLarge {
        /// Size, bytes.
        size: usize,
    },
    /// A put of bytes under a digest that is not theirs.
    #[error("artifact does not have its digest (got {got}, expected {expected})")]
    WrongDigest {
        /// Digest of the bytes.
        got: Digest,
        /// Digest that was given.
        expected: Digest,
    },
    /// The store cannot be reached.
    #[error("artifact store unreachable: {store}: {reason}")]
    Unreachable {
        /// Store.
        store: String,
        /// Why.
        reason: String,
    },
    /// This user may not use the store: the server drops what it sends.
    #[error("NATS: permission denied: artifact store {store}")]
    Denied {
        /// Store.
        store: String,
    },
    /// The store refused or failed.
    #[error("artifact store failed: {store}: {reason}")]
    Failed {
        /// Store.
        store: String,
        /// Why.
        reason: String,
    },
}

impl BlobError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::ArtifactNotFound,
            Self::Damaged { .. } | Self::WrongDigest { .. } => ErrorCode::Damaged,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Name { .. } => ErrorCode::Name,
            Self::Unreachable { .. } => ErrorCode::Connection,
            Self::Denied { .. } => ErrorCode::Denied,
            Self::Failed { .. } => ErrorCode::Io,
        }
    }
}

impl From<BlobError> for Report {
    fn from(error: BlobError) -> Self {
        let report = Self::new(error.code(), error.to_string());
        match error {
            BlobError::NotFound { .. } => report.hint("push it again, or name another version"),
            BlobError::Damaged { .. } => report.hint("delete it and push it again"),
            BlobError::Unreachable { .. } => {
                report.hint("check that nats-server runs with JetStream, and that CLUSTER_URI names it")
            }
            BlobError::Denied { .. } => report.hint("check the permissions of this NATS user"),
            BlobError::Name { .. } => report.hint("use 1 to 200 of a-z 0-9 . - and no digest"),
            _ => report,
        }
    }
}

/// Stores by name.
pub trait BlobStores: Send + Sync {
    /// Opens a store, and makes it if it is not there. Names: `[A-Za-z0-9_-]{1,200}`.
    fn open<'a>(
        &'a self,
        store: &'a str,
        replicas: Replicas,
    ) -> BoxFuture<'a, Result<Arc<dyn Blobs>, BlobError>>;
}

/// One store.
pub trait Blobs: Send + Sync {
    /// Stores bytes under their digest. Nothing is written when they are there already.
    fn put(&self, digest: Digest, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>>;
    /// The bytes, verified.
    fn get(&self, digest: Digest) -> BoxFuture<'_, Result<Bytes, BlobError>>;
    /// Is it there?
    fn contains(&self, digest: Digest) -> BoxFuture<'_, Result<bool, BlobError>>;
    /// Stores bytes under a name of `[a-z0-9.-]{1,200}` that is no digest, in place of what had it.
    fn put_named<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), BlobError>>;
    /// The bytes of that name, whatever they are.
    fn get_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Bytes, BlobError>>;
    /// Is there something of that name?
    fn contains_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool, BlobError>>;
    /// All of those that have a digest, by that.
    fn list(&self) -> BoxFuture<'_, Result<Vec<BlobInfo>, BlobError>>;
    /// All of those that have a name of their own, by that.
    fn list_named(&self) -> BoxFuture<'_, Result<Vec<NamedBlob>, BlobError>>;
    /// Deletes; an absent blob is no error.
    fn delete(&self, digest: Digest) -> BoxFuture<'_, Result<(), BlobError>>;
    /// Deletes what has that name; nothing of that name is no error.
    fn delete_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BlobError>>;
}

/// Checks bytes before they are stored under a name.
pub(crate) fn check_put_named(name: &str, bytes: &Bytes) -> Result<(), BlobError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if !(1..=200).contains(&name.len()) || !name.bytes().all(plain) || digest_of(name).is_some() {
        return Err(BlobError::Name { name: name.to_owned() });
    }
    check_size(bytes)
}

/// The digest that a blob's name in a store is, if it is one.
pub(crate) fn digest_of(name: &str) -> Option<Digest> {
    format!("sha256:{name}").parse().ok()
}

fn check_size(bytes: &Bytes) -> Result<(), BlobError> {
    if bytes.len() > MAX_BLOB_BYTES { Err(BlobError::TooLarge { size: bytes.len() }) } else { Ok(()) }
}

/// Checks bytes before they are stored.
pub(crate) fn check_put(digest: Digest, bytes: &Bytes) -> Result<(), BlobError> {
    check_size(bytes)?;
    let got = Digest::of(bytes);
    if got == digest { Ok(()) } else { Err(BlobError::WrongDigest { got, expected: digest }) }
}

/// Checks bytes after they were read.
pub(crate) fn check_get(store: &str, digest: Digest, bytes: Bytes) -> Result<Bytes, BlobError> {
    let got = Digest::of(&bytes);
    if got == digest {
        return Ok(bytes);
    }
    let reason = format!("{} bytes with digest {got}", bytes.len());
    Err(BlobError::Damaged { store: store.to_owned(), blob: digest.to_string(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_what_their_name_says_are_refused_both_ways() {
        let (digest, other) = (Digest::of(b"abc"), Bytes::from_static(b"abd"));
        assert!(matches!(check_put(digest, &other), Err(BlobError::WrongDigest { .. })));
        assert!(matches!(check_get("s", digest, other), Err(BlobError::Damaged { .. })));
        assert_eq!(check_get("s", digest, Bytes::from_static(b"abc")).unwrap(), "abc");
    }
}
