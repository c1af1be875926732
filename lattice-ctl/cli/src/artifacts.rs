//! Components that are not files here: in the lattice's object store, or in an OCI registry.

use crate::app_files::{Source, source_of};
use crate::client::Client;
use crate::oci;
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::manifest::Application;
use lattice_protocol::{ActorId, ErrorCode, Report};
use std::collections::BTreeMap;
use std::path::Path;

/// Fetches what a manifest names and this machine does not have, by the artifact's text.
pub async fn fetch(
    client: &Client,
    application: &Application,
    base: &Path,
) -> Result<BTreeMap<String, Bytes>, Report> {
    let mut fetched = BTreeMap::new();
    for actor in &application.actors {
        let bytes = match source_of(&actor.artifact, base)? {
            Source::File(_) => continue,
            Source::Lattice(digest) => of_digest(client, digest).await?,
            Source::Registry(reference) => oci::pull(&reference).await?,
        };
        fetched.insert(actor.artifact.clone(), bytes);
    }
    Ok(fetched)
}

/// A file of the lattice's store.
pub async fn of_digest(client: &Client, digest: Digest) -> Result<Bytes, Report> {
    client.artifacts().await?.get(digest).await.map_err(|error| {
        let report = Report::from(error);
        if report.code == ErrorCode::NotFound {
            Report { code: ErrorCode::ArtifactNotFound, ..report }
        } else {
            report
        }
    })
}

/// The component that an actor runs.
pub async fn of_actor(client: &Client, record: &DesiredApp, actor: &ActorId) -> Result<Bytes, Report> {
    let artifact = record
        .artifacts
        .get(actor)
        .ok_or_else(|| Report::new(ErrorCode::ArtifactNotFound, "actor has no artifact").at(actor))?;
    let digest = artifact.digest.parse().map_err(|error: keys::digest::DigestError| {
        Report::new(ErrorCode::Damaged, error.to_string()).at(actor)
    })?;
    of_digest(client, digest).await
}
