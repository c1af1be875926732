//! Durable local files of a host, below one data directory that one process holds at a time.
//!
//! Synchronous on purpose: each call is short and ends with the disk having it; callers that must
//! not block run it on a blocking thread. The journal has a writer thread of its own. Nothing here interprets what it stores: a spec read back
//! is bytes that somebody signed, to be verified again.
//!
//! | module | holds |
//! |---|---|
//! | [`lock`] | [`DataDir`]: the directory, created, private, locked |
//! | [`record`] | one small document: checksummed, replaced atomically, with its predecessor kept |
//! | [`spec`] | [`SpecStore`]: the last signed host spec, for an offline start |
//! | [`marks`] | [`HighWaterStore`]: the memory against rollback |
//! | [`artifact`] | [`ArtifactStore`]: components by digest, verified on read, bounded |
//! | [`sealed`] | [`SealedStore`]: sealed secrets as fetched last, for an offline start |
//! | [`local_key`] | [`LocalKey`]: the key that authenticates the compile cache |
//! | [`journal`] | [`Journal`]: entries that are on disk when they are acknowledged; group commit |
//! | [`snapshot`] | [`SnapshotStore`]: the last two snapshots of each actor |
//! | [`envelope`] | [`Envelope`]: what snapshots are wrapped in: zstd, and encryption if wanted |
//! | [`aside`] | [`AsideStore`]: what was set aside for a person to look at |
//! | [`checkpoint`] | [`CheckpointStore`]: what stands for trimmed history |
//! | [`spill`] | [`Spill`]: values at hand but not in memory, gone with the process |
//! | [`forwarded`] | [`ForwardedStore`]: how far the journal was forwarded into the lattice |
//! | [`error`] | every failure, with path and what to do |
//!
//! Invariants: what a write replaces survives until the new content is on disk, whatever happens
//! in between; nothing is read through a symbolic link; what is read is what was written, or a
//! typed error; files are mode 0600.

pub mod artifact;
pub mod aside;
mod atomic;
pub mod checkpoint;
pub mod envelope;
pub mod error;
pub mod forwarded;
pub mod journal;
pub mod local_key;
pub mod lock;
pub mod marks;
pub mod record;
pub mod sealed;
pub mod snapshot;
pub mod spec;
pub mod spill;

pub use artifact::{ArtifactStore, Pin};
pub use aside::AsideStore;
pub use checkpoint::CheckpointStore;
pub use envelope::{Envelope, SnapshotKey};
pub use error::StoreError;
pub use forwarded::{Forwarded, ForwardedStore};
pub use journal::mark::JournalMark;
pub use journal::{Journal, JournalError, JournalOptions};
pub use local_key::LocalKey;
pub use lock::DataDir;
pub use marks::HighWaterStore;
pub use record::Loaded;
pub use sealed::SealedStore;
pub use snapshot::SnapshotStore;
pub use spec::SpecStore;
pub use spill::Spill;
