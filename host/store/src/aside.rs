//! What a host has set aside for a person to look at: one sealed file each, named by an id of
//! [A-Za-z0-9-], bounded in number. What it is, is its owner's business.

use crate::atomic;
use crate::error::StoreError;
use crate::lock::DataDir;
use crate::record;
use std::path::{Path, PathBuf};

const KIND: &str = "aside";
/// Most files; beyond it the oldest goes.
const MAX_FILES: usize = 10_000;
/// Largest file, bytes: a command and what is around it.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The things that this host has set aside.
#[derive(Debug)]
pub struct AsideStore {
    directory: PathBuf,
}

impl AsideStore {
    /// In this data directory.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(data: &DataDir) -> Result<Self, StoreError> {
        Ok(Self { directory: data.subdirectory("aside")? })
    }

    fn path(&self, id: &str) -> PathBuf {
        // An id is a name and never a path.
        let safe: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
        self.directory.join(safe)
    }

    /// Stores one, in place of one of the same id.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put(&self, id: &str, content: &[u8]) -> Result<(), StoreError> {
        let files = self.files()?;
        if files.len() >= MAX_FILES
            && let Some(oldest) = files.first()
        {
            tracing::warn!(file = %oldest.display(), "too much was set aside: the oldest goes");
            atomic::remove(oldest)?;
        }
        atomic::replace(&self.path(id), atomic::bytes(&record::seal(KIND, content)))
    }

    /// One of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        read(&self.path(id))
    }

    /// All that can be read; what cannot is logged.
    ///
    /// # Errors
    /// [`StoreError::Io`] for the directory.
    pub fn all(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut all = Vec::new();
        for path in self.files()? {
            match read(&path) {
                Ok(content) => all.extend(content),
                Err(error) => tracing::warn!(%error, "something set aside cannot be read"),
            }
        }
        Ok(all)
    }

    /// Removes one; whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let path = self.path(id);
        let there = path.exists();
        atomic::remove(&path)?;
        Ok(there)
    }

    /// The files, the oldest first.
    fn files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let failed = StoreError::io("list", &self.directory);
        let entries = std::fs::read_dir(&self.directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut files: Vec<_> = entries
            .map_err(failed)?
            .into_iter()
            .map(|entry| (entry.metadata().and_then(|meta| meta.modified()).ok(), entry.path()))
            .filter(|(_, path)| !path.to_string_lossy().ends_with(atomic::TEMPORARY))
            .collect();
        files.sort();
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(file) = atomic::read(path, MAX_FILE_BYTES)? else { return Ok(None) };
    let content = record::unseal(KIND, &file).map_err(|what| StoreError::damaged(path, what))?;
    Ok(Some(content.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_there_until_it_is_removed_and_no_id_is_a_path() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let store = AsideStore::open(&data).unwrap();
        store.put("a-1", b"one").unwrap();
        store.put("../../a2", b"two").unwrap();
        store.put("a-1", b"one again").unwrap();
        assert_eq!(store.get("a-1").unwrap().unwrap(), b"one again");
        assert_eq!(store.all().unwrap().len(), 2);
        assert!(!directory.path().join("a2").exists());
        std::fs::write(store.path("a2"), b"damaged").unwrap();
        assert!(matches!(store.get("a2"), Err(StoreError::Damaged { .. })));
        assert_eq!(store.all().unwrap(), [b"one again".to_vec()]);
        assert!(store.remove("a-1").unwrap());
        assert!(!store.remove("a-1").unwrap());
    }
}
