//! `trellis compile`: machine code for hosts that compile nothing, made and signed where the lattice's compiler key is.

use crate::app_files::source_of;
use crate::args::Args;
use crate::client::Client;
use crate::commands::Outcome;
use crate::native::{self, Targets};
use crate::{artifacts, keyfile, output};
use bytes::Bytes;
use host_runtime::native::Target;
use keys::{KeyKind, KeyPair};
use lattice_protocol::{ErrorCode, Report};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct CompileArgs {
    /// Components: files, `sha256:…` of the lattice, `oci://…`. Without any, those of every deployed application.
    pub components: Vec<String>,
    /// What for: x86_64 or aarch64, or aarch64-128m where a kernel has few addresses; may be repeated. Without it,
    /// what the lattice's hosts need (trellis get hosts).
    #[arg(long = "target", value_name = "TARGET", value_parser = target)]
    pub targets: Vec<Target>,
    /// The compiler key that signs. Default: the one of the lattice's directory.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Compile what is there already, too.
    #[arg(long)]
    pub again: bool,
}

fn target(text: &str) -> Result<Target, String> {
    text.parse().map_err(|report: Report| report.to_string())
}

/// A component: what it is called here, and its signed file.
type Named = (String, Bytes);

/// Runs it.
pub async fn run(args: &Args, compile: &CompileArgs) -> Outcome {
    let client = Client::connect(args).await?;
    let result = connected(args, &client, compile).await;
    client.close().await;
    result
}

async fn connected(args: &Args, client: &Client, compile: &CompileArgs) -> Outcome {
    let key = signer(client, compile)?;
    let targets = targets(client, compile).await?;
    let components = components(args, client, compile).await?;
    let (mut records, mut rows) = (Vec::new(), Vec::new());
    for (label, file) in &components {
        for target in targets.keys() {
            let left = native::leave(args, (client, &key), (label, file), target, compile.again).await?;
            let words = left.bytes.map_or("is there".to_owned(), |bytes| format!("{} KiB", bytes >> 10));
            rows.push(vec![label.clone(), target.to_string(), words]);
            records.push(json!({
                "component": label, "target": target.to_string(), "name": left.name, "bytes": left.bytes,
                "made": left.bytes.is_some(),
            }));
        }
    }
    output::table(args, &records, &["component", "target", "code"], rows);
    Ok(())
}

fn signer(client: &Client, compile: &CompileArgs) -> Result<Arc<KeyPair>, Report> {
    if let Some(path) = &compile.key {
        return keyfile::read(path, KeyKind::Account).map(Arc::new);
    }
    native::key(client)?.ok_or_else(|| {
        Report::new(ErrorCode::Usage, "no compiler key here: hosts would not run what it signs")
            .at(&client.context.origin)
            .hint("name it with --key, or use the lattice's directory; one made before there were compiler keys gets its by `trellis lattice init`")
    })
}

async fn targets(client: &Client, compile: &CompileArgs) -> Result<Targets, Report> {
    if !compile.targets.is_empty() {
        return Ok(compile.targets.iter().map(|target| (target.clone(), BTreeSet::new())).collect());
    }
    let targets = native::needed(&client.hosts().await?);
    if targets.is_empty() {
        return Err(Report::new(ErrorCode::Usage, "every host of this lattice compiles by itself")
            .hint("for hosts that are not here yet, name what they need: --target aarch64"));
    }
    Ok(targets)
}

async fn components(args: &Args, client: &Client, compile: &CompileArgs) -> Result<Vec<Named>, Report> {
    let mut found = Vec::new();
    for component in &compile.components {
        let source = source_of(component, Path::new(""))?;
        found.push((component.clone(), artifacts::of_source(args, client, &source).await?));
    }
    if !compile.components.is_empty() {
        return Ok(found);
    }
    // Actors that share a component share its code.
    let mut by_digest = BTreeMap::new();
    for record in client.apps().await?.into_values().filter(|record| record.deployed) {
        for (actor, artifact) in record.artifacts {
            by_digest.entry(artifact.digest).or_insert_with(Vec::new).push(actor.to_string());
        }
    }
    for (digest, actors) in by_digest {
        let digest = digest.parse().map_err(|error: keys::digest::DigestError| {
            Report::new(ErrorCode::Damaged, error.to_string()).at(actors.join(", "))
        })?;
        found.push((actors.join(", "), artifacts::of_digest(client, digest).await?));
    }
    if found.is_empty() {
        return Err(Report::new(ErrorCode::Usage, "nothing is deployed")
            .hint("deploy an application, or name components: trellis compile FILE"));
    }
    Ok(found)
}
