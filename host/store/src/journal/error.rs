//! What can fail in the local journal. Cloneable, because many wait for one sync.

use crate::error::StoreError;
use lattice_protocol::{ErrorCode, Report};
use std::io;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// A failure while opening or reading; the journal itself is as it was.
    #[error("journal: {action} {file}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        file: String,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
    /// Bytes that were acknowledged are not what was written.
    #[error("journal damaged: {file} at offset {offset}: {what}")]
    Damaged {
        /// Which file.
        file: String,
        /// Where, bytes from its beginning.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// What is there is not, or not all, of what was acknowledged.
    #[error("the journal in {data} has entries up to {last}, and had {known} when it was last opened")]
    Lost {
        /// The data directory.
        data: String,
        /// How far it went.
        known: u64,
        /// How far it goes now.
        last: u64,
    },
    /// A write or a sync failed: nothing is taken any more until the host is started again.
    #[error("journal stopped: {reason}")]
    Stopped {
        /// What failed.
        reason: String,
    },
    /// No room for a further segment. Nothing was written; it is tried again with the next append.
    #[error("journal full: {reason}")]
    Full {
        /// The bound, or the disk.
        reason: String,
    },
    /// More appends wait than may.
    #[error("journal busy: too many appends wait")]
    Busy,
    /// The entry fits into no segment.
    #[error("journal entry too large (got {got}, limit {limit})")]
    TooLarge {
        /// Its size, bytes.
        got: u64,
        /// The largest, bytes.
        limit: u64,
    },
    /// Older than what is kept.
    #[error("journal trimmed: entry {wanted} is older than the first one kept, {first}")]
    Trimmed {
        /// What was asked for.
        wanted: u64,
        /// The oldest that is there.
        first: u64,
    },
}

impl JournalError {
    pub(super) fn io(action: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action, file: file.into(), source: Arc::new(source) }
    }
    pub(super) fn stopped(reason: impl Into<String>) -> Self {
        Self::Stopped { reason: reason.into() }
    }
    pub(super) fn damaged(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what: what.into() }
    }
    pub(super) fn from_store(error: StoreError) -> Self {
        let action = "open";
        match error {
            StoreError::Damaged { path, what } => Self::damaged(&path.display().to_string(), 0, what),
            StoreError::Io { action, path, source } => Self::io(action, path.display().to_string(), source),
            other => Self::io(action, "journal", io::Error::other(other)),
        }
    }
}

/// Is it that the disk, or the user's share of it, is full?
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

impl From<JournalError> for Report {
    fn from(error: JournalError) -> Self {
        let report = |code| Self::new(code, error.to_string());
        match &error {
            JournalError::Io { .. } => report(ErrorCode::Io).hint("check the data directory and its disk"),
            JournalError::Damaged { .. } => report(ErrorCode::Damaged)
                .hint("rebuild this host's journal from what it had forwarded: trellis host --rebuild-journal (docs/recovery.md)"),
            JournalError::Lost { data, .. } => report(ErrorCode::Damaged).hint(format!(
                "rebuild it from what it had forwarded (trellis host --rebuild-journal), or restore {data} from a \
                 copy; to accept that what its actors did is lost, stop the host and remove journal, journal-mark*, \
                 checkpoint* and snapshots there: it begins with none"
            )),
            JournalError::Stopped { .. } => report(ErrorCode::JournalStopped)
                .hint("check the disk, then start the host again: it recovers what was acknowledged"),
            JournalError::Full { .. } => report(ErrorCode::InsufficientResources)
                .hint("free space on the host's disk, or let snapshots trim the journal"),
            JournalError::Busy => report(ErrorCode::Overloaded),
            JournalError::TooLarge { got, limit } => {
                Self::new(ErrorCode::TooLarge, "journal entry too large").got(got).limit(limit)
            }
            JournalError::Trimmed { .. } => report(ErrorCode::HistoryTrimmed),
        }
    }
}
