//! The key that authenticates this host's compile cache: 32 random bytes that never leave the
//! host. Whoever can read it can make the host run native code of his choice, so a file that
//! others may read is refused, not repaired.
//!
//! A damaged key is replaced by a new one: what it authenticated is then compiled again.

use crate::atomic;
use crate::error::StoreError;
use crate::lock::DataDir;
use crate::record::{seal, unseal};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

const KIND: &str = "local-key";

/// The key.
pub struct LocalKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for LocalKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LocalKey(…)")
    }
}

impl LocalKey {
    /// The host's key; made at the first start.
    ///
    /// # Errors
    /// [`StoreError::Exposed`] if others may read the file; [`StoreError::Entropy`];
    /// [`StoreError::Io`].
    pub fn load_or_create(data: &DataDir) -> Result<Self, StoreError> {
        let path = data.path().join(KIND);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => {
                let mode = metadata.permissions().mode() & 0o7777;
                if metadata.is_file() && mode & 0o077 != 0 {
                    return Err(StoreError::Exposed { path, mode });
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Self::create(&path),
            Err(error) => return Err(StoreError::io("inspect", &path)(error)),
        }
        match Self::read(&path) {
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::warn!(%error, "made a new local key; cached artifacts will be compiled again");
                Self::create(&path)
            }
            other => other,
        }
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn read(path: &Path) -> Result<Self, StoreError> {
        let file = Zeroizing::new(atomic::read(path, 1_024)?.unwrap_or_default());
        let payload = unseal(KIND, &file).map_err(|what| StoreError::damaged(path, what))?;
        let key = payload.try_into().map_err(|_| StoreError::damaged(path, "not 32 bytes"))?;
        Ok(Self(Zeroizing::new(key)))
    }

    fn create(path: &Path) -> Result<Self, StoreError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice())
            .map_err(|error| StoreError::Entropy { reason: error.to_string() })?;
        let file = Zeroizing::new(seal(KIND, key.as_slice()));
        atomic::replace(path, atomic::bytes(&file))?;
        Ok(Self(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (tempfile::TempDir, DataDir) {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        (directory, data)
    }

    #[test]
    fn the_key_is_random_private_and_stays() {
        let (_one, one) = data();
        let (_two, two) = data();
        let first = LocalKey::load_or_create(&one).unwrap();
        assert_eq!(LocalKey::load_or_create(&one).unwrap().as_bytes(), first.as_bytes());
        assert_ne!(LocalKey::load_or_create(&two).unwrap().as_bytes(), first.as_bytes());
        let mode = one.path().join(KIND).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{first:?}"), "LocalKey(…)");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let (_directory, data) = data();
        LocalKey::load_or_create(&data).unwrap();
        let path = data.path().join(KIND);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(LocalKey::load_or_create(&data), Err(StoreError::Exposed { mode: 0o640, .. })));
    }

    #[test]
    fn a_damaged_key_is_replaced() {
        let (_directory, data) = data();
        let first = LocalKey::load_or_create(&data).unwrap();
        let path = data.path().join(KIND);
        let mut file = fs::read(&path).unwrap();
        *file.last_mut().unwrap() ^= 1;
        fs::write(&path, file).unwrap();
        let second = LocalKey::load_or_create(&data).unwrap();
        assert_ne!(second.as_bytes(), first.as_bytes());
        assert_eq!(LocalKey::load_or_create(&data).unwrap().as_bytes(), second.as_bytes());
    }
}
