//! From an artifact's digest to its verified bytes: this host's disk first, then the lattice's
//! store, whose answer is kept. The bytes are verified (digest, then claims) whatever their source.

use crate::config::HostConfig;
use crate::files::Files;
use bytes::Bytes;
use futures::FutureExt;
use host_runtime::Source;
use host_runtime::native::{Elsewhere, Fetch};
use keys::{Claims, Digest, Verified, VerifyPolicy};
use lattice_io::{BlobError, BlobStores, Replicas};
use lattice_protocol::spec::Artifact;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, Report};
use std::sync::Arc;

/// Fetches and verifies artifacts.
pub struct Artifacts {
    store: Arc<Files>,
    lattice: Arc<dyn BlobStores>,
    lattice_store: String,
    trust: keys::TrustAnchors,
    max_bytes: u64,
}

/// A file whose claims hold on this host.
pub struct VerifiedFile {
    /// The whole signed file.
    pub file: Bytes,
    /// What its issuer says.
    pub claims: Verified<Claims>,
}

impl Artifacts {
    /// Of this host. The lattice's store is opened when it is first needed: a host starts offline.
    #[must_use]
    pub fn new(store: Arc<Files>, lattice: Arc<dyn BlobStores>, config: &HostConfig) -> Self {
        Self {
            store,
            lattice,
            lattice_store: Subjects::new(config.lattice.clone()).artifact_store(),
            trust: config.trust.clone(),
            max_bytes: config.max_artifact_bytes,
        }
    }

    /// The artifact, fetched and verified at this time (Unix seconds). One on trial is held against
    /// the host's memory of revisions and does not raise it.
    ///
    /// # Errors
    /// Where it could not be had, or `invalid claim: …`.
    pub async fn get(&self, artifact: &Artifact, now_unix: i64, trial: bool) -> Result<VerifiedFile, Report> {
        if artifact.size > self.max_bytes {
            return Err(Report::new(ErrorCode::TooLarge, "artifact over the limit")
                .at(&artifact.digest)
                .got(artifact.size)
                .limit(self.max_bytes)
                .hint("strip it, or raise the host's limit"));
        }
        let digest: Digest = artifact.digest.parse().map_err(|error: keys::digest::DigestError| {
            Report::new(ErrorCode::ArtifactNotFound, error.to_string()).at(&artifact.digest)
        })?;
        let file = match self.store.artifact(digest) {
            Ok(Some(file)) => file,
            Ok(None) => self.fetch(digest).await?,
            Err(error) => {
                tracing::warn!(%digest, %error, "artifact on disk not usable, fetching it again");
                self.fetch(digest).await?
            }
        };
        let claims = self.verify(&file, now_unix, trial)?;
        Ok(VerifiedFile { file, claims })
    }

    /// Where the file of an artifact that was fetched is to be read again: this host's disk, which keeps it
    /// for as long. None when it could not be kept there.
    pub(crate) fn again(&self, artifact: &Artifact) -> Option<Source> {
        let digest: Digest = artifact.digest.parse().ok()?;
        let (store, pin) = (Arc::clone(&self.store), self.store.pin_artifact(digest)?);
        Some(Arc::new(move || {
            let _pinned = &pin;
            store.artifact(digest)?.ok_or_else(|| {
                Report::new(ErrorCode::ArtifactNotFound, "artifact gone from this host's disk")
                    .at(digest)
                    .hint("restart the actor: its file is fetched again")
            })
        }))
    }

    async fn fetch(&self, digest: Digest) -> Result<Bytes, Report> {
        let store = self.lattice.open(&self.lattice_store, Replicas::One).await?;
        let file = store.get(digest).await?;
        // Without a copy on disk the actor runs now, but would not start offline: say so.
        if let Err(error) = self.store.save_artifact(digest, &file) {
            tracing::warn!(%digest, %error, "artifact not kept on disk");
        }
        Ok(file)
    }

    fn verify(&self, file: &Bytes, now_unix: i64, trial: bool) -> Result<Verified<Claims>, Report> {
        let policy = VerifyPolicy {
            max_bytes: usize::try_from(self.max_bytes).unwrap_or(usize::MAX),
            ..VerifyPolicy::ACTOR
        };
        let claims =
            keys::verify(file, &self.trust, now_unix, &policy).map_err(|error| invalid_claim(&error))?;
        self.store.admit(&claims, trial)?;
        Ok(claims)
    }
}

/// Where a host that compiles nothing gets its code: from the lattice's store, as far as it trusts who compiled it.
#[must_use]
pub fn elsewhere(config: &HostConfig, lattice: Arc<dyn BlobStores>) -> Elsewhere {
    let store = Subjects::new(config.lattice.clone()).artifact_store();
    let fetch: Fetch = Arc::new(move |name: String| {
        let (lattice, store) = (Arc::clone(&lattice), store.clone());
        async move {
            match lattice.open(&store, Replicas::One).await?.get_named(&name).await {
                Ok(sealed) => Ok(Some(sealed)),
                Err(BlobError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    });
    Elsewhere { compilers: config.compilers.clone(), fetch }
}

/// A refusal by `keys`, in the words people look up.
#[must_use]
pub fn invalid_claim(error: &keys::ClaimsError) -> Report {
    let code = ErrorCode::parse(error.code()).unwrap_or(ErrorCode::Claim);
    Report::new(code, format!("invalid claim: {error}")).hint("sign it again: trellis claim sign")
}
