//! Snapshots of persistent actors as files: the newest two of each, so that a damaged one has a
//! predecessor. They are a cache of the journal; nothing is lost with them but time.
//!
//! ```text
//! snapshots/<2 hex>/<30 hex>-<sequence>   of BLAKE3(kind/id)
//! file := record seal (kind "snapshot") of the snapshot in its envelope, bound to actor and sequence
//! ```

use crate::atomic;
use crate::envelope::{Envelope, SnapshotKey};
use crate::error::StoreError;
use crate::lock::DataDir;
use crate::record;
use crate::spill::Spill;
use lattice_protocol::EntityKey;
use std::fs;
use std::path::{Path, PathBuf};

const KIND: &str = "snapshot";
/// Where a store is until it is whole.
pub(crate) const ANEW: &str = "snapshots-anew";
/// How many are kept of one actor.
const KEPT: usize = 2;
/// Largest snapshot, bytes.
const MAX_BYTES: usize = 64 << 20;
/// Largest file, bytes: a snapshot and what is around it.
const MAX_FILE_BYTES: u64 = (64 << 20) + 4_096;

/// The snapshots of this host.
#[derive(Debug)]
pub struct SnapshotStore {
    directory: PathBuf,
    envelope: Envelope,
}

/// Where a snapshot is, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The last commit in it.
    pub sequence: u64,
    path: PathBuf,
}

impl Stored {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl SnapshotStore {
    /// In this data directory; with a key, new ones are encrypted.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(data: &DataDir, key: Option<SnapshotKey>) -> Result<Self, StoreError> {
        Ok(Self { directory: data.subdirectory("snapshots")?, envelope: Envelope::new(key) })
    }

    /// Room on the same disk for what is not to be kept.
    #[must_use]
    pub fn spill(&self) -> Spill {
        Spill::new(&self.directory)
    }

    /// Begins a store beside the one of this data directory, which [`put_anew`](crate::journal::anew::put_anew) puts
    /// in its place. What an earlier attempt has left there is removed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn begin_anew(data: &DataDir, key: Option<SnapshotKey>) -> Result<Self, StoreError> {
        let path = data.path().join(ANEW);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path)(error))
            }
            _ => Ok(Self { directory: data.subdirectory(ANEW)?, envelope: Envelope::new(key) }),
        }
    }

    /// Directory and beginning of the names of an actor's files.
    fn place(&self, actor: &EntityKey) -> (PathBuf, String) {
        let hex = blake3::hash(actor.to_string().as_bytes()).to_hex();
        let (directory, name) = hex.split_at_checked(2).unwrap_or_default();
        (self.directory.join(directory), format!("{}-", name.get(..30).unwrap_or(name)))
    }

    /// Stores a snapshot up to this commit; returns when it is on disk. Older ones than the newest
    /// two are removed.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Entropy`]; what was there is as it was.
    pub fn save(&self, actor: &EntityKey, sequence: u64, snapshot: &[u8]) -> Result<(), StoreError> {
        let (directory, prefix) = self.place(actor);
        atomic::create_private_dir(&directory)?;
        let payload = self.envelope.wrap(&bound_to(actor, sequence), snapshot)?;
        let path = directory.join(format!("{prefix}{sequence:020}"));
        atomic::replace(&path, atomic::bytes(&record::seal(KIND, &payload)))?;
        for old in self.list(actor)?.into_iter().skip(KEPT) {
            atomic::remove(&old.path)?;
        }
        Ok(())
    }

    /// What is there of an actor, the newest first: try one after the other.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn list(&self, actor: &EntityKey) -> Result<Vec<Stored>, StoreError> {
        let (directory, prefix) = self.place(actor);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("list", &directory)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(StoreError::io("list", &directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let sequence = name.and_then(|name| name.strip_prefix(&prefix)?.parse().ok());
            found.extend(sequence.map(|sequence| Stored { sequence, path }));
        }
        found.sort_by_key(|stored| std::cmp::Reverse(stored.sequence));
        Ok(found)
    }

    /// The content of one of them.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not what was stored for this actor, or was encrypted with
    /// another key: take the next. [`StoreError::Io`].
    pub fn load(&self, actor: &EntityKey, stored: &Stored) -> Result<Vec<u8>, StoreError> {
        let damaged = |what: &str| StoreError::damaged(&stored.path, what);
        let file = atomic::read(&stored.path, MAX_FILE_BYTES)?.ok_or_else(|| damaged("missing"))?;
        let payload = record::unseal(KIND, &file).map_err(|what| damaged(&what))?;
        let content = self.envelope.unwrap(&bound_to(actor, stored.sequence), payload, MAX_BYTES);
        content.map_err(|what| damaged(&what))
    }

    /// Removes all of an actor.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove(&self, actor: &EntityKey) -> Result<(), StoreError> {
        self.list(actor)?.iter().try_for_each(|stored| atomic::remove(&stored.path))
    }

    /// What they are wrapped in; for what of them goes elsewhere.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn bound_to(actor: &EntityKey, sequence: u64) -> String {
    format!("{actor}@{sequence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(key: Option<u8>) -> (tempfile::TempDir, SnapshotStore) {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let store = SnapshotStore::open(&data, key.and_then(|byte| SnapshotKey::new(&[byte; 32]))).unwrap();
        (directory, store)
    }

    fn actor(name: &str) -> EntityKey {
        name.parse().unwrap()
    }

    fn sequences(store: &SnapshotStore, name: &str) -> Vec<u64> {
        store.list(&actor(name)).unwrap().iter().map(|stored| stored.sequence).collect()
    }

    #[test]
    fn the_newest_two_of_each_actor_are_kept() {
        let (_directory, store) = store(None);
        for sequence in [3, 900, 20] {
            store.save(&actor("meter/m-1"), sequence, format!("at {sequence}").as_bytes()).unwrap();
        }
        store.save(&actor("meter/m-2"), 1, b"other").unwrap();
        assert_eq!(sequences(&store, "meter/m-1"), [900, 20]);
        let newest = &store.list(&actor("meter/m-1")).unwrap()[0];
        assert_eq!(store.load(&actor("meter/m-1"), newest).unwrap(), b"at 900");
        store.remove(&actor("meter/m-1")).unwrap();
        assert!(sequences(&store, "meter/m-1").is_empty());
        assert_eq!(sequences(&store, "meter/m-2"), [1]);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found_and_the_one_before_is_there() {
        let (_directory, store) = store(None);
        store.save(&actor("meter/m-1"), 1, b"older").unwrap();
        store.save(&actor("meter/m-1"), 2, b"newer").unwrap();
        let found = store.list(&actor("meter/m-1")).unwrap();
        let whole = fs::read(&found[0].path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&found[0].path, bytes).unwrap();
            let refused = store.load(&actor("meter/m-1"), &found[0]);
            assert!(matches!(refused, Err(StoreError::Damaged { .. })), "byte {at}");
        }
        assert_eq!(store.load(&actor("meter/m-1"), &found[1]).unwrap(), b"older");
    }

    #[test]
    fn an_encrypted_one_shows_nothing_and_fits_one_actor_one_sequence_one_key() {
        let (directory, store) = store(Some(7));
        store.save(&actor("meter/m-1"), 5, b"a secret level").unwrap();
        let stored = store.list(&actor("meter/m-1")).unwrap().remove(0);
        let file = fs::read(&stored.path).unwrap();
        assert!(!file.windows(6).any(|window| window == b"secret"));
        assert_eq!(store.load(&actor("meter/m-1"), &stored).unwrap(), b"a secret level");
        assert!(store.load(&actor("meter/m-2"), &stored).is_err(), "another actor");
        let renamed = Stored { sequence: 6, ..stored.clone() };
        assert!(store.load(&actor("meter/m-1"), &renamed).is_err(), "another sequence");
        let path = directory.path().join("snapshots");
        for key in [None, SnapshotKey::new(&[8; 32])] {
            let other = SnapshotStore { directory: path.clone(), envelope: Envelope::new(key) };
            let refused = other.load(&actor("meter/m-1"), &stored);
            assert!(matches!(refused, Err(StoreError::Damaged { .. })), "another key, or none");
        }
    }
}
