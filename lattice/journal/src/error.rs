//! What is wrong with stored bytes, and with what they say. Each names the place.

use crate::ids::{ActorSeq, RecordSeq};
use lattice_protocol::{EntityKey, ErrorCode, Report};

/// Bytes that are not a record, a snapshot, or a checkpoint's list. Nothing is skipped because of
/// it: whoever reads a journal stops here (law J6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not of this kind at all.
    #[error("{what}: does not begin as one")]
    Magic {
        /// What was expected.
        what: &'static str,
    },
    /// Written by a newer version of Trellis.
    #[error("{what}: format version {got} is not known (newest known {known})")]
    Version {
        /// What it is.
        what: &'static str,
        /// The version found.
        got: u8,
        /// The newest version that this program reads.
        known: u8,
    },
    /// A kind of record, command or effect that this version does not know.
    #[error("{what} {tag} at {offset} is not known")]
    Unknown {
        /// Of what.
        what: &'static str,
        /// The number found.
        tag: u64,
        /// Bytes from the start.
        offset: usize,
    },
    /// The checksum does not fit.
    #[error("{what}: checksum does not match: the bytes are not what was written")]
    Checksum {
        /// What it is.
        what: &'static str,
    },
    /// The input ended inside a value.
    #[error("unexpected end at {offset}")]
    Truncated {
        /// Bytes from the start.
        offset: usize,
    },
    /// Bytes that no value has, or a value written in another way than the one that is allowed.
    #[error("{what} at {offset}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
        /// Bytes from the start.
        offset: usize,
    },
    /// More than a limit.
    #[error("too many {what} at {offset} (got {got}, limit {limit})")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many were announced.
        got: u64,
        /// How many are allowed.
        limit: u64,
        /// Bytes from the start.
        offset: usize,
    },
}

impl From<DecodeError> for Report {
    fn from(error: DecodeError) -> Self {
        let code = match error {
            DecodeError::Version { .. } | DecodeError::Unknown { .. } => ErrorCode::Version,
            _ => ErrorCode::Damaged,
        };
        let hint = match code {
            ErrorCode::Version => "a newer host wrote it: update this host",
            _ => "rebuild this copy from a replica or from the lattice",
        };
        Self::new(code, format!("journal: {error}")).hint(hint)
    }
}

/// A record that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Larger than a record may be.
    #[error("{what} too large (got {got}, limit {limit})")]
    TooLarge {
        /// What of it.
        what: &'static str,
        /// How much.
        got: usize,
        /// How much is allowed.
        limit: usize,
    },
}

impl From<EncodeError> for Report {
    fn from(error: EncodeError) -> Self {
        let EncodeError::TooLarge { got, limit, .. } = error;
        Self::new(ErrorCode::TooLarge, error.to_string())
            .got(got)
            .limit(limit)
            .hint("let one command change less at once")
    }
}

/// Commits that do not follow from each other: the journal, or a snapshot, is not this actor's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// Another actor's.
    #[error("{key}: a commit of {got}")]
    OtherActor {
        /// Whose history is folded.
        key: EntityKey,
        /// Whose commit came.
        got: EntityKey,
    },
    /// One is missing, or comes twice.
    #[error("{key}: commit {got} where {expected} is due")]
    Sequence {
        /// Whose.
        key: EntityKey,
        /// What is due.
        expected: ActorSeq,
        /// What came.
        got: ActorSeq,
    },
    /// It was decided on another history.
    #[error("{key}: commit {seq} does not follow from the history before it")]
    History {
        /// Whose.
        key: EntityKey,
        /// Which commit.
        seq: ActorSeq,
    },
    /// The actor was deleted: nothing follows its tombstone.
    #[error("{key}: commit {seq} behind the actor's tombstone")]
    Deleted {
        /// Whose.
        key: EntityKey,
        /// Which commit.
        seq: ActorSeq,
    },
    /// The actor's own code refused an event or a snapshot.
    #[error("{key}: commit {seq}: {reason}")]
    Refused {
        /// Whose.
        key: EntityKey,
        /// Which commit.
        seq: ActorSeq,
        /// Its words.
        reason: String,
    },
    /// A snapshot that is not of this history.
    #[error("{key}: snapshot refused: {reason}")]
    Snapshot {
        /// Whose.
        key: EntityKey,
        /// Why.
        reason: String,
    },
}

impl From<FoldError> for Report {
    fn from(error: FoldError) -> Self {
        let code = match error {
            FoldError::Refused { .. } => ErrorCode::Trap,
            _ => ErrorCode::Damaged,
        };
        Self::new(code, format!("journal: {error}"))
            .hint("inspect it with `trellis actor verify`; rebuild from a replica or an older snapshot")
    }
}

/// History that a checkpoint has replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("history trimmed: record {wanted} is older than the first one kept, {first}")]
pub struct HistoryTrimmed {
    /// What was asked for.
    pub wanted: RecordSeq,
    /// The oldest that is there.
    pub first: RecordSeq,
}

impl From<HistoryTrimmed> for Report {
    fn from(error: HistoryTrimmed) -> Self {
        Self::new(ErrorCode::HistoryTrimmed, error.to_string())
            .got(error.wanted)
            .limit(format!(">= {}", error.first))
            .hint("ask for later history, or read the archive if one is kept")
    }
}
