//! Components that are not files here: in the lattice's object store, or in an OCI registry.

use crate::app_files::{PreparedApp, Source, Unsigned, assemble, base_of, parse, read_component, source_of};
use crate::args::Args;
use crate::client::Client;
use crate::{oci, output};
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::desired::DesiredApp;
use lattice_protocol::manifest::Application;
use lattice_protocol::{ActorId, ErrorCode, Report};
use std::collections::BTreeMap;
use std::path::Path;

/// Fetches what a manifest names and this machine does not have, by the artifact's text. Without a
/// client there is no lattice to fetch from, only registries.
pub async fn fetch(
    args: &Args,
    client: Option<&Client>,
    application: &Application,
    base: &Path,
) -> Result<BTreeMap<String, Bytes>, Report> {
    let mut fetched = BTreeMap::new();
    for actor in &application.actors {
        let failed = |report: Report| report.during("actor start failed");
        let bytes = match (source_of(&actor.artifact, base)?, client) {
            _ if fetched.contains_key(&actor.artifact) => continue,
            (Source::File(_), _) | (Source::Lattice(_), None) => continue,
            (Source::Lattice(digest), Some(client)) => of_digest(client, digest).await?,
            (Source::Registry(reference), _) => {
                let bar = output::spinner(args, format!("pulling {}", actor.artifact));
                let pulled = oci::pull(&reference).await.map_err(failed);
                bar.finish_and_clear();
                let pulled = pulled?;
                output::say(args, format!("pulled {} as oci://{}", actor.artifact, pulled.pinned));
                pulled.file
            }
        };
        fetched.insert(actor.artifact.clone(), bytes);
    }
    Ok(fetched)
}

/// Reads a manifest and the components it names, from files and registries.
pub async fn prepare(args: &Args, manifest: &Path, unsigned: Unsigned<'_>) -> Result<PreparedApp, Report> {
    let (application, base) = (parse(manifest)?, base_of(manifest));
    let fetched = fetch(args, None, &application, &base).await?;
    assemble(application, &base, unsigned, &fetched)
}

/// The file of one component, wherever it is.
pub async fn of_source(args: &Args, client: &Client, source: &Source) -> Result<Bytes, Report> {
    match source {
        Source::File(path) => read_component(path),
        Source::Lattice(digest) => of_digest(client, *digest).await,
        Source::Registry(reference) => {
            let bar = output::spinner(args, format!("pulling oci://{reference}"));
            let pulled = oci::pull(reference).await;
            bar.finish_and_clear();
            Ok(pulled?.file)
        }
    }
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
