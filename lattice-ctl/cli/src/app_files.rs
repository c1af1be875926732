//! An application as files: its manifest, and the components it names, relative to it. What comes
//! out is checked and signed: nothing unsigned leaves this module.

use crate::component::claims_report;
use crate::{output, signing};
use bytes::Bytes;
use keys::{Digest, KeyPair};
use lattice_ctl_planner::edit::Change;
use lattice_protocol::manifest::{self, ActorManifest, Application};
use lattice_protocol::spec::Artifact;
use lattice_protocol::{ActorId, ErrorCode, Report};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A checked application, and the signed component of each of its actors.
#[derive(Debug)]
pub struct PreparedApp {
    /// The manifest.
    pub application: Application,
    /// Whole signed files.
    pub files: BTreeMap<ActorId, Bytes>,
}

/// What to do with a component that nobody has signed.
#[derive(Clone, Copy)]
pub enum Unsigned<'a> {
    /// Refuse it: nothing runs unsigned.
    Refuse,
    /// Sign it with this account, and also what only this machine's development key has signed.
    Sign(&'a KeyPair),
}

/// Reads a manifest. Every problem is printed but the last, which is returned.
pub fn parse(path: &Path) -> Result<Application, Report> {
    let limit = u64::try_from(manifest::MAX_BYTES).unwrap_or(u64::MAX);
    let bytes = signing::read_file(path, limit, "read the manifest")?;
    manifest::parse_bytes(&bytes, &path.display().to_string()).map_err(output::all_but_last)
}

/// The directory that paths in a manifest are relative to.
pub fn base_of(manifest: &Path) -> PathBuf {
    manifest.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// `sha256:…`: in the lattice.
    Lattice(Digest),
    /// `oci://…`: in a registry.
    Registry(String),
}

/// Reads an artifact's text. Paths are relative to `base`.
pub fn source_of(artifact: &str, base: &Path) -> Result<Source, Report> {
    if artifact.starts_with("sha256:") {
        let digest = artifact.parse().map_err(|error: keys::digest::DigestError| {
            Report::new(ErrorCode::Name, error.to_string()).at(artifact)
        })?;
        return Ok(Source::Lattice(digest));
    }
    if let Some(reference) = artifact.strip_prefix("oci://") {
        return Ok(Source::Registry(reference.to_owned()));
    }
    Ok(Source::File(base.join(artifact.strip_prefix("file://").unwrap_or(artifact))))
}

/// Reads (or takes from `fetched`, by the artifact's text) and checks each component.
pub fn assemble(
    application: Application,
    base: &Path,
    unsigned: Unsigned<'_>,
    fetched: &BTreeMap<String, Bytes>,
) -> Result<PreparedApp, Report> {
    let mut files = BTreeMap::new();
    for actor in &application.actors {
        let id = ActorId::new(application.name.clone(), actor.name.clone());
        let bytes = match (fetched.get(&actor.artifact), source_of(&actor.artifact, base)?) {
            (Some(bytes), _) => bytes.clone(),
            (None, Source::File(path)) => read_component(&path)?,
            (None, _) => {
                return Err(Report::new(
                    ErrorCode::ArtifactNotFound,
                    "artifact is in a lattice, and this is none",
                )
                .at(format!("actor {}", actor.name))
                .got(&actor.artifact)
                .hint("trellis pull it to a file, and name the file in the manifest"));
            }
        };
        let signed = signed(&id, actor, bytes, &application.version, unsigned)
            .map_err(|report| report.during(&format!("actor {}", actor.name)))?;
        files.insert(id, signed);
    }
    Ok(PreparedApp { application, files })
}

/// Reads a component's file.
pub fn read_component(path: &Path) -> Result<Bytes, Report> {
    let limit = u64::try_from(keys::section::MAX_COMPONENT_BYTES).unwrap_or(u64::MAX);
    let bytes = signing::read_file(path, limit, "read the component").map_err(|report| {
        if report.code == ErrorCode::NotFound { report.hint("build it first: trellis build") } else { report }
    })?;
    Ok(bytes.into())
}

fn signed(
    id: &ActorId,
    actor: &ActorManifest,
    bytes: Bytes,
    version: &str,
    unsigned: Unsigned<'_>,
) -> Result<Bytes, Report> {
    let split = keys::split(&bytes, keys::section::MAX_COMPONENT_BYTES)
        .map_err(|error| claims_report(&error).at(&actor.artifact))?;
    match (split.token, unsigned) {
        (Some(token), unsigned) => {
            // Whether its issuer counts is for each host to say; here only what is wrong for all.
            let claims = keys::token::parse(token).map_err(|error| invalid_claim(&error, actor))?.claims;
            keys::verify(
                &bytes,
                &keys::TrustAnchors::new([claims.issuer].into(), BTreeMap::new())
                    .map_err(|error| Report::new(ErrorCode::Claim, error.to_string()))?,
                crate::home::now_unix(),
                &keys::VerifyPolicy::ACTOR,
            )
            .map_err(|error| invalid_claim(&error, actor))?;
            let Unsigned::Sign(issuer) = unsigned else { return Ok(bytes) };
            Ok(signing::adopt(&bytes, claims, issuer)?.map_or(bytes, Bytes::from))
        }
        (None, Unsigned::Sign(issuer)) => {
            signing::sign_for(id, actor, &bytes, version, issuer).map(Bytes::from)
        }
        (None, Unsigned::Refuse) => Err(invalid_claim(&keys::ClaimsError::Unsigned, actor)
            .hint("or let this command sign it with your own key: --sign")),
    }
}

fn invalid_claim(error: &keys::ClaimsError, actor: &ActorManifest) -> Report {
    claims_report(error).during("actor start failed: invalid claim").at(&actor.artifact)
}

impl PreparedApp {
    /// How its components are named in desired state.
    pub fn artifacts(&self) -> BTreeMap<ActorId, Artifact> {
        self.files.iter().map(|(id, file)| (id.clone(), artifact_of(file))).collect()
    }

    /// The change that puts it.
    pub fn into_change(self, deploy: bool) -> Change {
        let artifacts = self.artifacts();
        Change::Put { application: Box::new(self.application), artifacts, deploy }
    }
}

/// How a signed file is named in desired state.
pub fn artifact_of(file: &[u8]) -> Artifact {
    Artifact {
        digest: Digest::of(file).to_string().into(),
        size: u64::try_from(file.len()).unwrap_or(u64::MAX),
    }
}
