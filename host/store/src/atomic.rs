//! Replacing a file so that a reader, or a start after a power cut, finds the old content or the
//! new one and nothing else: write beside it, sync, rename over it, sync the directory.
//!
//! Invariants: a write that fails leaves the old file as it was and takes its own traces away;
//! what a crash leaves behind ends in [`TEMPORARY`] and is swept at the next start.

use crate::error::StoreError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How the names of unfinished files end.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Replaces a file by what `fill` writes.
pub(crate) fn replace(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), StoreError> {
    let prepared = Prepared::write(path, fill)?;
    prepared.commit(path)
}

/// A new content, on disk under a temporary name; it goes away unless it is committed.
pub(crate) struct Prepared {
    temporary: PathBuf,
    committed: bool,
}

impl Prepared {
    /// Writes and syncs, beside the file that it shall become.
    pub(crate) fn write(
        path: &Path,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<Self, StoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(TEMPORARY);
        let prepared = Self { temporary: name.into(), committed: false };
        let temporary = prepared.temporary.as_path();
        // Left by a crash; the directory's lock says that nobody is writing it now.
        remove(temporary)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(temporary)
            .map_err(StoreError::io("create", temporary))?;
        fill(&mut file).map_err(StoreError::io("write", temporary))?;
        file.sync_all().map_err(StoreError::io("sync", temporary))?;
        Ok(prepared)
    }

    /// Puts it in place, and returns when the directory has it on disk too.
    pub(crate) fn commit(mut self, path: &Path) -> Result<(), StoreError> {
        fs::rename(&self.temporary, path).map_err(StoreError::io("replace", path))?;
        self.committed = true;
        sync_parent(path)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing depends on it: what stays is swept at the next start.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes renames and removals in the file's directory durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().unwrap_or(path);
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(StoreError::io("sync", parent))
}

/// Writes these bytes: for [`replace`].
pub(crate) fn bytes(content: &[u8]) -> impl FnOnce(&mut File) -> io::Result<()> {
    move |file| file.write_all(content)
}

/// The content of a file of at most `limit` bytes; `None` if there is none. Never follows a
/// symbolic link.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    let mut content = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(StoreError::io("read", path))?;
    if u64::try_from(content.len()).is_ok_and(|length| length <= limit) {
        return Ok(Some(content));
    }
    Err(StoreError::damaged(path, format!("more than {limit} bytes")))
}

/// Removes a file, if there is one.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes what crashes have left unfinished in a directory.
pub(crate) fn sweep(directory: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(directory).map_err(StoreError::io("list", directory))?;
    for entry in entries {
        let path = entry.map_err(StoreError::io("list", directory))?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(TEMPORARY.as_bytes()) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Creates a directory that only its owner may enter, unless it is there.
pub(crate) fn create_private_dir(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::io("create directory", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_half_way_leaves_the_old_content_and_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        replace(&path, bytes(b"old")).unwrap();
        let full = replace(&path, |file| {
            file.write_all(b"ne")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        let report = lattice_protocol::Report::from(full.unwrap_err());
        assert_eq!(report.code, lattice_protocol::ErrorCode::InsufficientResources);
        assert_eq!(read(&path, 10).unwrap().unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_leftover_of_a_crash_is_no_obstacle_and_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(directory.path().join("file.tmp"), b"torn").unwrap();
        replace(&path, bytes(b"new")).unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap(), b"new");
        fs::write(directory.path().join("other.tmp"), b"torn").unwrap();
        sweep(directory.path()).unwrap();
        assert!(!directory.path().join("other.tmp").exists() && path.exists());
    }

    #[test]
    fn nothing_is_read_through_a_symbolic_link_or_beyond_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let (secret, link) = (directory.path().join("secret"), directory.path().join("link"));
        fs::write(&secret, b"secret").unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        assert!(matches!(read(&link, 10), Err(StoreError::Io { .. })));
        assert!(matches!(read(&secret, 5), Err(StoreError::Damaged { .. })));
        assert_eq!(read(&secret, 6).unwrap().unwrap(), b"secret");
    }

    #[test]
    fn writing_over_a_symbolic_link_replaces_the_link_not_its_target() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        fs::write(&target, b"mine").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, bytes(b"new")).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        assert_eq!(fs::read(&link).unwrap(), b"new");
    }
}
