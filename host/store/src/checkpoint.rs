//! What stands for the journal's trimmed history: a document that its owner writes, replaced before
//! anything is trimmed, with its predecessor kept.

use crate::error::StoreError;
use crate::lock::DataDir;
use crate::record::{Loaded, Record};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest checkpoint, bytes: a hundred for each actor of the journal.
const MAX_BYTES: u64 = 1 << 30;

/// See the module.
#[derive(Debug)]
pub struct CheckpointStore {
    record: Record,
}

impl CheckpointStore {
    /// In this data directory.
    #[must_use]
    pub fn new(data: &DataDir) -> Self {
        Self { record: Record::new(data.path(), "checkpoint").limited(MAX_BYTES) }
    }

    /// Stores a new one; returns when it is on disk.
    ///
    /// # Errors
    /// [`StoreError`]; what was there is as it was.
    pub fn save<T: Serialize>(&self, checkpoint: &T) -> Result<(), StoreError> {
        self.record.save(checkpoint)
    }

    /// The newest, and the one before it.
    ///
    /// # Errors
    /// [`StoreError`]: neither can be read.
    pub fn load<T: DeserializeOwned>(&self) -> Result<Option<Loaded<T>>, StoreError> {
        self.record.load()
    }
}
