//! The last signed host spec, so that a host that starts without network runs what it ran.
//!
//! It stores the signed document as it came, and the one before: an offer that was merged with an
//! older one (see `host_core::accept`) is merged again at the next start. The signature is not
//! checked here; whoever loads it verifies it against the controllers trusted *then*.

use crate::error::StoreError;
use crate::lock::DataDir;
use crate::record::{Loaded, Record};
use keys::Signed;

/// The host's last spec.
#[derive(Debug)]
pub struct SpecStore {
    record: Record,
}

impl SpecStore {
    /// In this data directory.
    #[must_use]
    pub fn new(data: &DataDir) -> Self {
        Self { record: Record::new(data.path(), "host-spec") }
    }

    /// Stores a spec; returns when it is on disk. The one before is kept.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the stored specs are then as they were.
    pub fn save(&self, spec: &Signed) -> Result<(), StoreError> {
        self.record.save(spec)
    }

    /// The last spec, or the one before when the last is damaged; `None` on a new host.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when none can be read; [`StoreError::Io`].
    pub fn load(&self) -> Result<Option<Loaded<Signed>>, StoreError> {
        self.record.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keys::{KeyKind, KeyPair};

    #[test]
    fn a_signed_spec_verifies_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let controller = KeyPair::from_entropy(KeyKind::Account, [1; 32]);
        let signed = keys::sign_document("host-spec", b"{}".to_vec(), &controller).unwrap();
        {
            let data = DataDir::open(directory.path()).unwrap();
            SpecStore::new(&data).save(&signed).unwrap();
        }
        let data = DataDir::open(directory.path()).unwrap();
        let loaded = SpecStore::new(&data).load().unwrap().unwrap();
        assert!(loaded.damage.is_none());
        let trusted = [controller.public()].into();
        assert_eq!(keys::open("host-spec", &loaded.newest, &trusted).unwrap().payload, b"{}");
    }
}
