//! The data directory: private, swept, and held by one process at a time.
//!
//! The lock is the kernel's (`flock`): it ends with the process, however that ends, so there is
//! never a stale one to remove. The pid in the file is for people only.

use crate::atomic;
use crate::error::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// A data directory that this process holds until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock as long as it is open.
    _lock: File,
}

impl DataDir {
    /// Creates the directory if need be, and takes it for this process.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process has it; [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        atomic::create_private_dir(path)?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&lock_path)
            .map_err(StoreError::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { path: path.to_owned(), pid: holder(&mut lock) });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &lock_path)(error)),
        }
        sign(&mut lock).map_err(StoreError::io("write", &lock_path))?;
        atomic::sweep(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory of its own for one part of the host (compile cache, a provider's data), created
    /// if need be.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, StoreError> {
        let path = self.path.join(name);
        atomic::create_private_dir(&path)?;
        Ok(path)
    }
}

fn sign(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_protocol::Report;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn two_hosts_on_one_directory_are_refused_until_the_first_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let refused = Report::from(DataDir::open(&path).unwrap_err()).to_string();
        let expected = format!(
            "E_CONFLICT: data directory in use by pid {}: {}; stop that host, or give this one another --data-dir",
            std::process::id(),
            path.display()
        );
        assert_eq!(refused, expected);
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn the_directory_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(&directory.path().join("data")).unwrap();
        for path in [data.path().to_owned(), data.subdirectory("cache").unwrap()] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
