//! The shard record: the unit of order, durability and fencing. One message in a stream, one entry
//! in a file, one fsync; many commits of many actors.
//!
//! ```text
//! "TRJ" · version 1 · shard · record_seq · epoch · prev_record_hash (32) · kind · body · checksum (8)
//! ```
//! The hash of a record is BLAKE3 over everything but its checksum. What makes a record *valid* is
//! decided by [`crate::chain`], from the records before it.

use crate::commit::Commit;
use crate::error::{DecodeError, EncodeError};
use crate::ids::{ActorSeq, Epoch, Hash, Position, RecordSeq, ShardId};
use crate::outbox::OutboxPosition;
use bytes::Bytes;
use lattice_protocol::EntityKey;
use std::fmt;
use std::sync::Arc;

/// Largest record, bytes: it fits into a NATS message (1 MiB) with room for headers.
pub const MAX_RECORD_BYTES: usize = (1 << 20) - (64 << 10);
/// Most commits of one record.
pub const MAX_COMMITS: usize = 4_096;

/// One life of one host: a host that was restarted is another owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// The host, and what tells this life from its others (16 random bytes).
    #[must_use]
    pub fn new(host: &lattice_protocol::HostId, boot: [u8; 16]) -> Self {
        let mut text = format!("{host}.");
        for byte in boot {
            use fmt::Write;
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text.into())
    }
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (host, boot) = text.split_once('.')?;
        let hex = boot.len() == 32 && boot.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (hex && lattice_protocol::name::is_token(host)).then(|| Self(text.into()))
    }
    /// Which host.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
    /// `host.boot`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for SessionId {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        Self::from_text(text)
            .ok_or(DecodeError::Invalid { what: "session: want <host>.<32 hex digits>", offset: 0 })
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Where a shorter history begins: everything up to `through` may be dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record that is not needed any more.
    pub through: RecordSeq,
    /// Its hash: the first record kept follows from it.
    pub hash: Hash,
    /// The epoch then.
    pub epoch: Epoch,
    /// How many snapshots replace the history.
    pub snapshots: u64,
    /// Hash of their list ([`crate::trim::SnapshotList`]).
    pub list: Hash,
    /// Where all of it is kept; none: on the owner's own disk.
    pub kept: Option<Kept>,
}

impl Checkpoint {
    /// What it says of the history alone.
    #[must_use]
    pub fn without_place(&self) -> Self {
        Self { kept: None, ..self.clone() }
    }
}

/// Where what stands for the history is in the lattice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The document ([`crate::document`]).
    pub document: keys::Digest,
    /// The place of the last record that it stands for.
    pub position: Position,
}

/// A snapshot, as a checkpoint's list names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotRef {
    /// Whose.
    pub key: EntityKey,
    /// Up to which commit.
    pub seq: ActorSeq,
    /// Hash of the snapshot.
    pub hash: Hash,
}

impl SnapshotRef {
    /// In the place of a hash: the actor was deleted by this commit, and there is no snapshot. No bytes
    /// have this hash.
    pub const TOMBSTONE: Hash = Hash::ZERO;

    /// Does it say that the actor was deleted?
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.hash == Self::TOMBSTONE
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// From here on only this session writes. It raises the epoch.
    EpochOpened {
        /// The new owner.
        owner: SessionId,
    },
    /// What several turns changed.
    Commits {
        /// Everything before this place in the outbox has been relayed; none when it has not moved.
        relayed: Option<OutboxPosition>,
        /// In the order of their decision; several of one actor follow each other.
        commits: Vec<Commit>,
    },
    /// Older history may go.
    Checkpoint(Checkpoint),
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Of which shard.
    pub shard: ShardId,
    /// Its place among the valid ones.
    pub seq: RecordSeq,
    /// Hash of the valid one before it; zero for the first.
    pub previous: Hash,
    /// Under which epoch it was written; the new one, in [`Body::EpochOpened`].
    pub epoch: Epoch,
    /// What it says.
    pub body: Body,
}

impl Record {
    /// Its commits; none of the other kinds.
    #[must_use]
    pub fn commits(&self) -> &[Commit] {
        match &self.body {
            Body::Commits { commits, .. } => commits,
            Body::EpochOpened { .. } | Body::Checkpoint(_) => &[],
        }
    }

    /// Encodes it.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`].
    pub fn seal(self) -> Result<Sealed, EncodeError> {
        crate::codec::record::seal(self)
    }
}

/// A record with its encoding and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub(crate) record: Arc<Record>,
    pub(crate) bytes: Bytes,
    pub(crate) hash: Hash,
}

impl Sealed {
    /// Reads an encoded record. That it can be read does not make it valid.
    ///
    /// # Errors
    /// [`DecodeError`]: whoever reads a journal stops here (law J6).
    pub fn open(bytes: Bytes) -> Result<Self, DecodeError> {
        crate::codec::record::open(bytes)
    }
    /// What it says.
    #[must_use]
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }
    /// As it is stored.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    /// What the next record names as its predecessor.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }
    /// The idempotency id for streams that remember ids: the same record has the same one for ever.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("{}-{}-{}", self.record.shard, self.record.seq, self.hash)
    }
}
