//! `trellis push` and `trellis pull`: signed components into and out of the lattice's object store,
//! or an OCI registry.

use crate::app_files::{Source, source_of};
use crate::args::Args;
use crate::client::Client;
use crate::commands::{Outcome, claim};
use crate::component::claims_report;
use crate::{artifacts, oci, output, signing};
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::{ErrorCode, Report};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What to push.
#[derive(Debug, clap::Args)]
pub struct PushArgs {
    /// The signed component.
    pub file: PathBuf,
    /// Where: `oci://registry/repository:tag`. Without it, the lattice's own store.
    pub to: Option<String>,
    /// Push it although it carries no claims; no host will run it so.
    #[arg(long)]
    pub unsigned: bool,
}

/// What to pull.
#[derive(Debug, clap::Args)]
pub struct PullArgs {
    /// `sha256:…` in the lattice, or `oci://registry/repository:tag`.
    pub artifact: String,
    /// Write it here. Default: its repository's name, or its digest.
    #[arg(long = "to", value_name = "FILE")]
    pub to: Option<PathBuf>,
}

/// Pushes.
pub async fn push(args: &Args, push: &PushArgs) -> Outcome {
    let limit = keys::section::MAX_COMPONENT_BYTES;
    let file: Bytes =
        signing::read_file(&push.file, u64::try_from(limit).unwrap_or(u64::MAX), "read the component")?
            .into();
    let split = keys::split(&file, limit).map_err(|error| claims_report(&error).at(push.file.display()))?;
    if split.token.is_none() && !push.unsigned {
        return Err(claims_report(&keys::ClaimsError::Unsigned)
            .during("invalid claim")
            .at(push.file.display()));
    }
    let (digest, size) = (Digest::of(&file), file.len());
    let bar = output::spinner(args, format!("pushing {size} bytes"));
    let (place, pinned) = match &push.to {
        None => {
            let client = Client::connect(args).await?;
            let stored = client.push(file).await;
            client.close().await;
            let digest = stored?.to_string();
            (digest.clone(), digest)
        }
        Some(reference) => {
            let bare = reference.strip_prefix("oci://").unwrap_or(reference);
            let pinned = oci::push(bare, file).await?;
            (format!("oci://{bare}"), format!("oci://{pinned}"))
        }
    };
    bar.finish_and_clear();
    output::say(args, format!("pushed {place} ({size} bytes)"));
    if place != pinned {
        output::say(args, format!("  this content, whatever becomes of the tag: {pinned}"));
    }
    if args.output == output::Format::Json {
        output::json(&json!({ "artifact": place, "pinned": pinned, "digest": digest, "size": size }));
    }
    Ok(())
}

/// Pulls.
pub async fn pull(args: &Args, pull: &PullArgs) -> Outcome {
    let bar = output::spinner(args, format!("pulling {}", pull.artifact));
    let (bytes, name) = match source_of(&pull.artifact, Path::new(""))? {
        Source::Lattice(digest) => {
            let client = Client::connect(args).await?;
            let bytes = artifacts::of_digest(&client, digest).await;
            client.close().await;
            (bytes?, format!("{}.wasm", digest.short()))
        }
        Source::Registry(reference) => {
            let pulled = oci::pull(&reference).await?;
            (pulled.file, format!("{}.wasm", pulled.name))
        }
        Source::File(_) => {
            return Err(Report::new(ErrorCode::Usage, "no artifact of the lattice or of a registry")
                .got(&pull.artifact)
                .limit("sha256:… or oci://…"));
        }
    };
    bar.finish_and_clear();
    let path = pull.to.clone().unwrap_or_else(|| name.into());
    claim::write_whole(&path, &bytes)?;
    output::say(args, format!("pulled {} into {} ({} bytes)", pull.artifact, path.display(), bytes.len()));
    if args.output == output::Format::Json {
        output::json(&json!({ "file": path, "digest": Digest::of(&bytes), "size": bytes.len() }));
    }
    Ok(())
}
