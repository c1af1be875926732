//! The host's memory against rollback, on disk: for each subject the newest revision it accepted.
//!
//! A mark must be on disk before the actor that raised it runs, or a crash would forget it.

use crate::error::StoreError;
use crate::lock::DataDir;
use crate::record::{Loaded, Record};
use keys::HighWater;

/// Where the marks are kept.
#[derive(Debug)]
pub struct HighWaterStore {
    record: Record,
}

impl HighWaterStore {
    /// In this data directory.
    #[must_use]
    pub fn new(data: &DataDir) -> Self {
        Self { record: Record::new(data.path(), "high-water") }
    }

    /// Stores the marks; returns when they are on disk.
    ///
    /// # Errors
    /// [`StoreError::Io`]; then the actor must not be started.
    pub fn save(&self, marks: &HighWater) -> Result<(), StoreError> {
        self.record.save(marks)
    }

    /// The marks; none on a new host. When the newest are damaged, those before them, which are at
    /// most one raise behind: the caller reports [`Loaded::damage`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when none can be read: an operator decides, because to begin anew
    /// is to allow every rollback once.
    pub fn load(&self) -> Result<Option<Loaded<HighWater>>, StoreError> {
        self.record.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keys::{ClaimRequest, KeyKind, KeyPair, TrustAnchors, VerifyPolicy};

    #[test]
    fn a_rollback_is_refused_after_a_restart_too() {
        let directory = tempfile::tempdir().unwrap();
        let issuer = KeyPair::from_entropy(KeyKind::Account, [1; 32]);
        let subject = KeyPair::from_entropy(KeyKind::Module, [2; 32]);
        let component = b"\0asm\x0d\0\x01\0";
        let claims = |revision| {
            let request = ClaimRequest { revision, ..ClaimRequest::new(subject.public(), "web") };
            let file = keys::sign_component(component, &request, &issuer, 1_000).unwrap();
            let anchors = TrustAnchors::new([issuer.public()].into(), Default::default()).unwrap();
            keys::verify(&file, &anchors, 1_000, &VerifyPolicy::ACTOR).unwrap()
        };
        {
            let data = DataDir::open(directory.path()).unwrap();
            let mut marks = HighWater::default();
            assert!(marks.admit(&claims(7)).unwrap());
            HighWaterStore::new(&data).save(&marks).unwrap();
        }
        let data = DataDir::open(directory.path()).unwrap();
        let mut marks = HighWaterStore::new(&data).load().unwrap().unwrap().newest;
        assert!(marks.admit(&claims(6)).is_err());
        assert!(!marks.admit(&claims(7)).unwrap());
    }
}
