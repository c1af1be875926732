//! Components by the digest of their whole file, so that a restart, or a start offline, fetches
//! nothing. Bounded: the least recently used go first, and what is in use never does.
//!
//! Invariants: a file is only ever named by the digest of its own bytes, checked when it is written
//! and again whenever it is read; the sum of sizes stays within the limit; a pinned artifact stays
//! on disk until its last [`Pin`] is dropped.

use crate::atomic;
use crate::error::StoreError;
use crate::lock::DataDir;
use keys::Digest;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The host's artifacts. Cloning gives another handle to the same store.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    limit_bytes: u64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    entries: BTreeMap<Digest, Entry>,
    /// Who is in use, how often; apart from the entries, because a pin outlives a damaged file.
    pins: BTreeMap<Digest, u32>,
    /// Counts uses: the order of eviction.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    last_used: u64,
}

/// Keeps one artifact in the store as long as it lives.
#[derive(Debug)]
pub struct Pin {
    inner: Arc<Inner>,
    digest: Digest,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.inner.index().unpin(&self.digest);
    }
}

impl Inner {
    /// The index is a plain map that every step leaves whole, so a panic elsewhere does not
    /// spoil it.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }
}

impl Index {
    /// Is it here? If so, it has been used now.
    fn touch(&mut self, digest: &Digest) -> bool {
        self.clock = self.clock.saturating_add(1);
        let entry = self.entries.get_mut(digest);
        entry.map(|entry| entry.last_used = self.clock).is_some()
    }
    fn pin(&mut self, digest: &Digest) {
        let pins = self.pins.entry(*digest).or_default();
        *pins = pins.saturating_add(1);
    }
    fn unpin(&mut self, digest: &Digest) {
        match self.pins.get_mut(digest) {
            Some(pins) if *pins > 1 => *pins -= 1,
            _ => drop(self.pins.remove(digest)),
        }
    }
    fn insert(&mut self, digest: Digest, bytes: u64) {
        self.clock = self.clock.saturating_add(1);
        let last_used = self.clock;
        self.entries.insert(digest, Entry { bytes, last_used });
    }
    fn total(&self) -> u64 {
        self.entries.values().map(|entry| entry.bytes).sum()
    }
    /// The least recently used that nobody uses.
    fn candidate(&self) -> Option<Digest> {
        let free = self.entries.iter().filter(|(digest, _)| !self.pins.contains_key(digest));
        free.min_by_key(|(_, entry)| entry.last_used).map(|(digest, _)| *digest)
    }
}

impl ArtifactStore {
    /// The artifacts in this data directory, at most `limit_bytes` of them. Files that are not
    /// artifacts are left alone and not counted.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(data: &DataDir, limit_bytes: u64) -> Result<Self, StoreError> {
        let directory = data.subdirectory("artifacts")?;
        atomic::sweep(&directory)?;
        let mut found = list(&directory)?;
        found.sort_by_key(|(_, used, digest)| (*used, *digest));
        let mut index = Index::default();
        for (bytes, _, digest) in found {
            index.insert(digest, bytes);
        }
        let inner = Arc::new(Inner { directory, limit_bytes, index: Mutex::new(index) });
        let store = Self { inner };
        store.make_room(&mut store.inner.index(), 0)?;
        Ok(store)
    }

    /// Stores an artifact; returns when it is on disk. One that is there already is left as it is.
    ///
    /// # Errors
    /// [`StoreError::Digest`] when the bytes are not what `digest` says; [`StoreError::TooLarge`];
    /// [`StoreError::Full`] when everything else is in use; [`StoreError::Io`].
    pub fn put(&self, digest: &Digest, content: &[u8]) -> Result<(), StoreError> {
        let got = Digest::of(content);
        if got != *digest {
            return Err(StoreError::Digest { expected: *digest, got });
        }
        let (bytes, limit) = (u64::try_from(content.len()).unwrap_or(u64::MAX), self.inner.limit_bytes);
        if bytes > limit {
            return Err(StoreError::TooLarge { digest: *digest, got: bytes, limit });
        }
        // Held while writing: two who fetched the same artifact must not write one temporary file.
        let mut index = self.inner.index();
        if index.touch(digest) {
            return Ok(());
        }
        self.make_room(&mut index, bytes)?;
        atomic::replace(&self.inner.path(digest), atomic::bytes(content))?;
        index.insert(*digest, bytes);
        Ok(())
    }

    /// The artifact, checked against its digest; `None` if it is not here.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the file is something else: it is removed, so that the next
    /// [`Self::put`] writes it anew. [`StoreError::Io`].
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        // Held while reading: nobody evicts or rewrites the file meanwhile.
        let mut index = self.inner.index();
        if !index.touch(digest) {
            return Ok(None);
        }
        let path = self.inner.path(digest);
        match atomic::read(&path, self.inner.limit_bytes) {
            Ok(Some(content)) if Digest::of(&content) == *digest => {
                remember_use(&path);
                Ok(Some(content))
            }
            Ok(None) => {
                index.entries.remove(digest);
                Ok(None)
            }
            Ok(Some(_)) | Err(StoreError::Damaged { .. }) => {
                index.entries.remove(digest);
                atomic::remove(&path)?;
                Err(StoreError::damaged(&path, "content does not match its digest; removed"))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps an artifact here while the pin lives; `None` if it is not here.
    #[must_use]
    pub fn pin(&self, digest: &Digest) -> Option<Pin> {
        let mut index = self.inner.index();
        if !index.touch(digest) {
            return None;
        }
        index.pin(digest);
        Some(Pin { inner: self.inner.clone(), digest: *digest })
    }

    /// Bytes stored.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.inner.index().total()
    }

    fn make_room(&self, index: &mut Index, wanted: u64) -> Result<(), StoreError> {
        let limit = self.inner.limit_bytes;
        while index.total().saturating_add(wanted) > limit {
            let Some(digest) = index.candidate() else {
                return Err(StoreError::Full { in_use: index.total(), limit });
            };
            atomic::remove(&self.inner.path(&digest))?;
            index.entries.remove(&digest);
            tracing::debug!(%digest, "evicted an artifact");
        }
        Ok(())
    }
}

/// Sizes, times of last use, and digests of the artifacts in a directory.
fn list(directory: &Path) -> Result<Vec<(u64, SystemTime, Digest)>, StoreError> {
    let fail = || StoreError::io("list", directory);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail())? {
        let entry = entry.map_err(fail())?;
        let metadata = entry.metadata().map_err(fail())?;
        let digest = entry.file_name().to_str().and_then(|name| format!("sha256:{name}").parse().ok());
        if let Some(digest) = digest.filter(|_| metadata.is_file()) {
            found.push((metadata.len(), metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), digest));
        }
    }
    Ok(found)
}

/// The file's time is the order of eviction after a restart; a failure to set it costs no more
/// than an earlier eviction.
fn remember_use(path: &Path) {
    let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

#[cfg(test)]
mod tests;
