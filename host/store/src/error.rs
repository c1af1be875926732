//! Every way in which local files fail, as an error that names the path and what to do.

use lattice_protocol::{ErrorCode, Report};
use std::io;
use std::path::{Path, PathBuf};

/// A failure of the host's local files.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was being done: `read`, `write`, …
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file holds something other than what was written to it.
    #[error("damaged: {}: {what}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another process holds the data directory.
    #[error("data directory in use by {}: {}", holder(.pid), .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process, when it said who it is.
        pid: Option<u32>,
    },
    /// A file that others may read, and must not.
    #[error("{}: mode {mode:o}, expected 600", .path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Bytes that are not what their digest says.
    #[error("artifact is not what it was fetched as (got {got}, expected {expected})")]
    Digest {
        /// The digest asked for.
        expected: keys::Digest,
        /// The digest of the bytes.
        got: keys::Digest,
    },
    /// Larger than the whole store.
    #[error("artifact {digest}: too large (got {got} bytes, limit {limit} bytes)")]
    TooLarge {
        /// Which artifact.
        digest: keys::Digest,
        /// Its size, bytes.
        got: u64,
        /// The size of the store, bytes.
        limit: u64,
    },
    /// Everything in the store is in use.
    #[error("insufficient resources: artifact store full, {in_use} of {limit} bytes in use")]
    Full {
        /// Bytes of artifacts in use.
        in_use: u64,
        /// The size of the store, bytes.
        limit: u64,
    },
    /// The system gives no random bytes.
    #[error("no random bytes from the system: {reason}")]
    Entropy {
        /// Why.
        reason: String,
    },
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("pid {pid}"))
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

impl From<&StoreError> for Report {
    fn from(error: &StoreError) -> Self {
        let report = |code| Self::new(code, error.to_string());
        match error {
            StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                report(ErrorCode::InsufficientResources).hint("free space on the host's disk")
            }
            StoreError::Io { .. } => report(ErrorCode::Io).hint("check the data directory and its owner"),
            StoreError::Damaged { path, .. } => report(ErrorCode::Damaged)
                .hint(format!("check the disk; remove {} to begin anew", path.display())),
            StoreError::InUse { .. } => {
                report(ErrorCode::Conflict).hint("stop that host, or give this one another --data-dir")
            }
            StoreError::Exposed { path, .. } => report(ErrorCode::Denied).hint(format!(
                "others may have read it: remove it, or if you are sure, chmod 600 {}",
                path.display()
            )),
            StoreError::Digest { .. } => report(ErrorCode::Damaged).hint("fetch it again"),
            StoreError::TooLarge { .. } => {
                report(ErrorCode::TooLarge).hint("raise the artifact store's size")
            }
            StoreError::Full { .. } => report(ErrorCode::InsufficientResources)
                .hint("raise the artifact store's size, or stop actors"),
            StoreError::Entropy { .. } => report(ErrorCode::Io),
        }
    }
}

impl From<StoreError> for Report {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}
