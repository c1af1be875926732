//! This host's durable files in one hand: the locked directory, the last specs, the artifacts, the
//! marks against rollback, the key of the compile cache.

use bytes::Bytes;
use host_store::{ArtifactStore, DataDir, HighWaterStore, LocalKey, Pin, SealedStore, SpecStore, StoreError};
use keys::{Claims, Digest, HighWater, Signed, Verified};
use lattice_protocol::Report;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of artifacts kept on disk, beyond which those not in use are dropped, oldest first.
const ARTIFACT_BYTES: u64 = 2 << 30;

/// The durable files of a host, held for as long as it runs.
pub struct Files {
    data: Arc<DataDir>,
    specs: SpecStore,
    artifacts: ArtifactStore,
    marks: Mutex<HighWater>,
    mark_store: HighWaterStore,
    key: LocalKey,
}

impl Files {
    /// Opens (and locks) a data directory.
    ///
    /// # Errors
    /// In use by another process, not writable, or damaged beyond its copies.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let data = DataDir::open(path)?;
        let mark_store = HighWaterStore::new(&data);
        let marks = mark_store.load()?.map(|loaded| loaded.newest).unwrap_or_default();
        Ok(Self {
            specs: SpecStore::new(&data),
            artifacts: ArtifactStore::open(&data, ARTIFACT_BYTES)?,
            marks: Mutex::new(marks),
            mark_store,
            key: LocalKey::load_or_create(&data)?,
            data: Arc::new(data),
        })
    }

    /// The directory itself, for what is kept by others.
    #[must_use]
    pub fn data(&self) -> Arc<DataDir> {
        Arc::clone(&self.data)
    }

    /// Where compiled components are cached.
    ///
    /// # Errors
    /// The disk.
    pub fn cache_dir(&self) -> Result<PathBuf, StoreError> {
        self.data.subdirectory("compiled")
    }

    /// The key that authenticates the compile cache.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Where sealed secrets are kept.
    ///
    /// # Errors
    /// The disk.
    pub fn sealed(&self) -> Result<SealedStore, StoreError> {
        SealedStore::open(&self.data)
    }

    /// The specs of the last run, oldest first: they are offered again in that order.
    ///
    /// # Errors
    /// Nothing readable.
    pub fn specs(&self) -> Result<Vec<Signed>, StoreError> {
        let Some(loaded) = self.specs.load()? else { return Ok(Vec::new()) };
        if let Some(damage) = &loaded.damage {
            tracing::error!(error = %damage, "the newest spec on disk was damaged: using the one before");
        }
        Ok(loaded.previous.into_iter().chain([loaded.newest]).collect())
    }

    /// Keeps a spec for the next start.
    ///
    /// # Errors
    /// The disk.
    pub fn save_spec(&self, spec: &Signed) -> Result<(), StoreError> {
        self.specs.save(spec)
    }

    /// An artifact, if it is here; verified by its digest.
    ///
    /// # Errors
    /// The disk, or damage.
    pub fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.artifacts.get(&digest)?.map(Bytes::from))
    }

    /// Keeps an artifact from being evicted while the pin lives; none when it is not here.
    #[must_use]
    pub fn pin_artifact(&self, digest: Digest) -> Option<Pin> {
        self.artifacts.pin(&digest)
    }

    /// Keeps an artifact.
    ///
    /// # Errors
    /// The disk.
    pub fn save_artifact(&self, digest: Digest, content: &[u8]) -> Result<(), StoreError> {
        self.artifacts.put(&digest, content)
    }

    /// Refuses a rollback; a mark that rises is on disk before this returns. One on trial raises
    /// none: its rollout may be taken back, and the version before must still be let in then.
    ///
    /// # Errors
    /// `E_ROLLBACK`, `E_EQUIVOCATION`, or the disk: then the actor must not start.
    pub fn admit(&self, claims: &Verified<Claims>, trial: bool) -> Result<(), Report> {
        // Replaced whole, after it is on disk: a panic cannot leave it half-changed.
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if trial {
            let checked = marks.check(claims.subject, claims.revision, claims.digest);
            return checked.map_err(|error| crate::artifacts::invalid_claim(&error));
        }
        let mut next = marks.clone();
        if next.admit(claims).map_err(|error| crate::artifacts::invalid_claim(&error))? {
            self.mark_store.save(&next).map_err(Report::from)?;
            *marks = next;
        }
        Ok(())
    }
}
