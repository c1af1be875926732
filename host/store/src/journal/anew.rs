//! A journal that is built anew from what others have of it, and takes the damaged one's place.

use super::files::{DiskFiles, Files};
use super::{Journal, JournalError, JournalOptions, recovery};
use crate::atomic;
use crate::error::StoreError;
use crate::lock::DataDir;
use crate::snapshot;
use bytes::Bytes;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where it is until it is whole.
const ANEW: &str = "journal-anew";

impl Journal {
    /// Begins one beside the journal of this data directory, whose first entry has this position. What an earlier
    /// attempt has left there is removed.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn begin_anew(data: &DataDir, options: JournalOptions, first: u64) -> Result<Self, JournalError> {
        let io = |action| move |error: io::Error| JournalError::io(action, ANEW, error);
        match fs::remove_dir_all(data.path().join(ANEW)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("remove")(error)),
            _ => {}
        }
        let directory = data.subdirectory(ANEW).map_err(JournalError::from_store)?;
        let files: Arc<dyn Files> = Arc::new(DiskFiles::new(directory));
        recovery::begin(files.as_ref(), first.max(1))?;
        Ok(Self::open_files(files, options, &mut |_, _| {})?.0)
    }

    /// Reads the one that was begun anew, when it is closed.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_anew(
        data: &DataDir,
        options: JournalOptions,
        visit: &mut dyn FnMut(u64, Bytes),
    ) -> Result<Self, JournalError> {
        let directory = data.subdirectory(ANEW).map_err(JournalError::from_store)?;
        Ok(Self::open_files(Arc::new(DiskFiles::new(directory)), options, visit)?.0)
    }
}

/// Which snapshots the journal that was begun anew needs.
#[derive(Debug, Clone, Copy)]
pub enum Snapshots<'a> {
    /// These files of those that are there.
    Keep(&'a [PathBuf]),
    /// Those that were begun anew ([`crate::SnapshotStore::begin_anew`]).
    Anew,
}

/// Puts the one that was begun anew in the journal's place, when it is whole and closed. The journal, these
/// other entries of the data directory, and all snapshots that it does not need go into a directory of this name
/// there; what else it needs is written by `before`, just before it is in place.
/// A crash in between leaves no journal, which is told at the next start where a mark says that there was one: then
/// it is done again.
///
/// # Errors
/// [`StoreError::Io`], and those of `before`.
pub fn put_anew(
    data: &DataDir,
    (others, snapshots): (&[&str], Snapshots<'_>),
    aside: &str,
    before: impl FnOnce() -> Result<(), StoreError>,
) -> Result<PathBuf, StoreError> {
    let aside = data.subdirectory(aside)?;
    let root = data.path();
    for name in ["journal"].iter().chain(others) {
        shift(&root.join(name), &aside.join(name))?;
    }
    match snapshots {
        Snapshots::Keep(files) => shift_all_but(&root.join("snapshots"), &aside, files)?,
        Snapshots::Anew => {
            shift(&root.join("snapshots"), &aside.join("snapshots"))?;
            shift(&root.join(snapshot::ANEW), &root.join("snapshots"))?;
        }
    }
    before()?;
    shift(&root.join(ANEW), &root.join("journal"))?;
    let synced = fs::File::open(root).and_then(|root| root.sync_all());
    synced.map_err(StoreError::io("sync", root))?;
    Ok(aside)
}

fn shift_all_but(from: &Path, aside: &Path, files: &[PathBuf]) -> Result<(), StoreError> {
    for part in entries(from)? {
        let to = aside.join("snapshots").join(part.file_name().unwrap_or_default());
        for file in entries(&part)? {
            if !files.contains(&file) {
                atomic::create_private_dir(&aside.join("snapshots"))?;
                atomic::create_private_dir(&to)?;
                shift(&file, &to.join(file.file_name().unwrap_or_default()))?;
            }
        }
    }
    Ok(())
}

fn shift(from: &Path, to: &Path) -> Result<(), StoreError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved.map_err(StoreError::io("move", from)),
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = match fs::read_dir(directory) {
        Ok(read) => read,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(StoreError::io("list", directory)(error)),
    };
    read.map(|entry| entry.map(|entry| entry.path()).map_err(StoreError::io("list", directory))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_built_anew_takes_the_place_of_the_other_which_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let options = JournalOptions { segment_bytes: 8 << 10, ..JournalOptions::default() };
        let (old, _) = Journal::open(&data, options, &mut |_, _| {}).unwrap();
        old.append_wait(Bytes::from_static(b"old")).unwrap();
        let incarnation = old.incarnation();
        drop(old);
        let part = data.subdirectory("snapshots").unwrap().join("ab");
        fs::create_dir(&part).unwrap();
        for name in ["kept", "gone"] {
            fs::write(part.join(name), name).unwrap();
        }
        fs::write(directory.path().join("checkpoint"), "c").unwrap();
        for _ in 0..2 {
            // The second attempt does not see the first one's entries.
            let anew = Journal::begin_anew(&data, options, 7).unwrap();
            assert_eq!(anew.append_wait(Bytes::from_static(b"seven")).unwrap(), 7);
        }
        let kept = [part.join("kept")];
        let with = (&["checkpoint", "absent"][..], Snapshots::Keep(&kept));
        let before = || {
            assert!(!directory.path().join("journal").exists(), "it is the last");
            Ok(())
        };
        let aside = put_anew(&data, with, "aside-1", before).unwrap();
        let mut seen = Vec::new();
        let (journal, recovered) =
            Journal::open(&data, options, &mut |at, entry| seen.push((at, entry))).unwrap();
        assert_eq!(seen, [(7, Bytes::from_static(b"seven"))]);
        assert_eq!((recovered.first, recovered.last), (7, 7));
        assert_ne!(journal.incarnation(), incarnation);
        assert!(part.join("kept").exists() && !part.join("gone").exists());
        assert!(aside.join("snapshots/ab/gone").exists() && aside.join("checkpoint").exists());
        assert!(aside.join("journal/journal").exists() && !directory.path().join(ANEW).exists());
    }

    #[test]
    fn snapshots_that_were_begun_anew_take_the_place_of_all_others() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let options = JournalOptions { segment_bytes: 8 << 10, ..JournalOptions::default() };
        let actor = "sum/a".parse().unwrap();
        let old = crate::SnapshotStore::open(&data, None).unwrap();
        old.save(&actor, 9, b"old").unwrap();
        for content in [&b"cut off"[..], b"anew"] {
            let store = crate::SnapshotStore::begin_anew(&data, None).unwrap();
            assert!(store.list(&actor).unwrap().is_empty());
            store.save(&actor, 3, content).unwrap();
        }
        drop(Journal::begin_anew(&data, options, 4).unwrap());
        let aside = put_anew(&data, (&[], Snapshots::Anew), "aside-1", || Ok(())).unwrap();
        let found = old.list(&actor).unwrap();
        assert_eq!(found.iter().map(|stored| stored.sequence).collect::<Vec<_>>(), [3]);
        assert_eq!(old.load(&actor, &found[0]).unwrap(), b"anew");
        assert!(aside.join("snapshots").exists() && !directory.path().join(snapshot::ANEW).exists());
    }
}
