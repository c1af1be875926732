//! `cargo xtask tidy`: the invariants of ARCHITECTURE.md that a machine can see.
//!
//! | rule     | says |
//! |----------|------|
//! | `I1`     | pure crates use no runtime, network, clock, randomness or environment |
//! | `I2`     | only `lattice/io` names async-nats, only `host/runtime` names wasmtime |
//! | `I3`     | hosts and the controller share `keys` and `lattice/*` and nothing else; providers never see hosts |
//! | `I4`     | no NATS subject outside `lattice/protocol` |
//! | `naming` | a package is named after its folder |
//! | `header` | every file opens with `//!` |
//! | `size`   | no file over 600 lines; over 400, and functions over 100, are listed |
//!
//! Test code may do what tests need: I1's source scan and I4 leave `#[cfg(test)]` items, `tests`
//! folders and the crates under `tests/` alone. One line can be excused by a comment on it, or on
//! the line above: `// tidy: allow I4 (metric name, not a subject)`.

mod layers;
mod scan;
mod sizes;
mod sources;

pub use layers::PURE;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tests_harness::workspace;

use crate::{finding, metadata};

/// Prints each violation, then long files and functions, then one closing line. True if clean.
///
/// # Errors
/// Cargo's metadata or a file cannot be read.
pub fn run() -> Result<bool> {
    let root = workspace::root();
    let members = metadata::members(&root)?;
    let mut findings = layers::check(&members);
    let mut long = Vec::new();
    let files = rust_files(&root)?;
    for path in &files {
        let text = fs::read_to_string(root.join(path)).with_context(|| path.clone())?;
        let file = sources::File::new(path, &text, &members)?;
        findings.extend(sources::check(&file));
        findings.extend(sizes::check(&file));
        long.extend(sizes::notes(&file));
    }
    for note in &long {
        println!("note: {note}");
    }
    let checked = format!("{} crates, {} files", members.len(), files.len());
    Ok(finding::report("tidy", findings, &checked))
}

/// Every `.rs` file of the repository that a person wrote, as a path from the root, sorted.
fn rust_files(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    collect(root, "", &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(dir: &Path, prefix: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                collect(&entry.path(), &format!("{path}/"), files)?;
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}
