//! `cargo xtask deny`: the dependencies against `deny.toml`, without building a tool first.
//!
//! It reads the file that cargo-deny reads and enforces the part that needs no network: licences,
//! bans, minimum versions (a ban of everything below) and sources. Known vulnerabilities need an
//! up-to-date list, so `.ci/run` leaves those to the real cargo-deny where that is installed.
//! What `deny.toml` says and this command does not understand is an error, never ignored.

mod check;
mod config;
mod licence;

use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;
use tests_harness::workspace;

use crate::finding;
use check::Package;
use config::Config;

/// The workspaces of the repository, each with the targets that it is built for.
const WORKSPACES: [(&str, &[&str]); 2] = [
    ("Cargo.toml", &["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]),
    ("guests/Cargo.toml", &["wasm32-wasip2", "x86_64-unknown-linux-gnu"]),
];

/// Prints each violation and one closing line. True if there is none.
///
/// # Errors
/// `deny.toml` is missing or says something unknown; cargo's metadata cannot be read.
pub fn run() -> Result<bool> {
    let root = workspace::root();
    let config = Config::read(&root.join("deny.toml"))?;
    let mut packages = Vec::new();
    for (manifest, targets) in WORKSPACES {
        let manifest = root.join(manifest);
        if manifest.is_file() {
            packages.extend(packages_of(&manifest, targets)?);
        }
    }
    packages.sort();
    packages.dedup();
    let findings = check::check(&config, &packages);
    let checked = format!("{} packages", packages.len());
    Ok(finding::report("deny", findings, &checked))
}

fn packages_of(manifest: &Path, targets: &[&str]) -> Result<Vec<Package>> {
    let filter: Vec<String> =
        targets.iter().flat_map(|target| ["--filter-platform".to_owned(), (*target).to_owned()]).collect();
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(filter)
        .exec()
        .with_context(|| format!("cargo metadata for {}", manifest.display()))?;
    Ok(metadata.packages.iter().map(Package::from).collect())
}
