//! Sealed secrets as they were fetched last, for a start without the lattice. What is kept is the
//! sealed form: it can be opened only with the host's curve key, which is elsewhere.

use crate::atomic;
use crate::error::StoreError;
use crate::lock::DataDir;
use std::path::PathBuf;

/// The largest sealed entry, bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Sealed secrets by name.
#[derive(Debug)]
pub struct SealedStore {
    directory: PathBuf,
}

impl SealedStore {
    /// In this data directory.
    ///
    /// # Errors
    /// The disk.
    pub fn open(data: &DataDir) -> Result<Self, StoreError> {
        Ok(Self { directory: data.subdirectory("sealed")? })
    }

    /// The entry kept under this name: one token of letters, digits, `_` and `-`.
    ///
    /// # Errors
    /// The disk.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        atomic::read(&self.directory.join(name), MAX_BYTES)
    }

    /// Keeps an entry; returns when it is on disk.
    ///
    /// # Errors
    /// The disk.
    pub fn put(&self, name: &str, sealed: &[u8]) -> Result<(), StoreError> {
        atomic::replace(&self.directory.join(name), atomic::bytes(sealed))
    }

    /// Forgets an entry; one that is not there is no error.
    ///
    /// # Errors
    /// The disk.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        atomic::remove(&self.directory.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_kept_replaced_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(&dir.path().join("data")).unwrap();
        let store = SealedStore::open(&data).unwrap();
        assert_eq!(store.get("redis").unwrap(), None);
        for content in [&b"one"[..], b"two"] {
            store.put("redis", content).unwrap();
            assert_eq!(store.get("redis").unwrap().as_deref(), Some(content));
        }
        store.remove("redis").unwrap();
        store.remove("redis").unwrap();
        assert_eq!(store.get("redis").unwrap(), None);
    }
}
