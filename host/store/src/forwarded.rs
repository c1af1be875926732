//! How far the journal is known to have been forwarded into the lattice, and what was let go before it was:
//! for a host that starts while the lattice is away. What has really arrived, only the lattice knows.

use crate::error::StoreError;
use crate::lock::DataDir;
use crate::record::Record;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forwarded {
    /// Of which journal.
    pub incarnation: [u8; 8],
    /// The last entry that had arrived.
    pub through: u64,
    /// Entries that were let go before they had arrived, since the journal was begun.
    pub dropped: u64,
}

/// The file.
#[derive(Debug)]
pub struct ForwardedStore {
    record: Record,
}

impl ForwardedStore {
    /// In this data directory.
    #[must_use]
    pub fn new(data: &DataDir) -> Self {
        Self { record: Record::new(data.path(), "forwarded") }
    }

    /// Stores it; returns when it is on disk.
    ///
    /// # Errors
    /// [`StoreError`]; what was there is as it was.
    pub fn save(&self, forwarded: &Forwarded) -> Result<(), StoreError> {
        self.record.save(forwarded)
    }

    /// What was stored last. One that cannot be read is none: more is kept then than would be needed.
    #[must_use]
    pub fn load(&self) -> Option<Forwarded> {
        let loaded = self.record.load();
        let loaded = loaded.inspect_err(|error| tracing::warn!(%error, "how far was forwarded is not known"));
        Some(loaded.ok().flatten()?.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_one_that_is_damaged_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let store = ForwardedStore::new(&data);
        assert_eq!(store.load(), None);
        let forwarded = Forwarded { incarnation: [7; 8], through: 9, dropped: 2 };
        store.save(&forwarded).unwrap();
        assert_eq!(ForwardedStore::new(&data).load(), Some(forwarded));
        std::fs::write(directory.path().join("forwarded"), "?").unwrap();
        assert_eq!(store.load(), None);
    }
}
