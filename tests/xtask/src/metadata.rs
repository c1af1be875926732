//! The workspace as the rules see it: crates with their folder and direct dependencies, read from
//! `cargo metadata` into plain data, so that a rule can be tested with a workspace that never was.

use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// When a dependency is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Build,
    Dev,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The package's own name, whatever it is renamed to.
    pub name: String,
    pub kind: Kind,
}

/// A member of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Its folder from the root, with `/`: `lattice/protocol`.
    pub path: String,
    pub dependencies: Vec<Dependency>,
}

/// All members of the workspace at `root`, by name.
///
/// # Errors
/// Cargo fails, or a member lies outside of the root.
pub fn members(root: &Path) -> Result<Vec<Member>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    let mut members = metadata
        .packages
        .iter()
        .map(|package| {
            let folder = package
                .manifest_path
                .parent()
                .and_then(|folder| folder.strip_prefix(root).ok())
                .with_context(|| format!("{} lies outside of the workspace", package.name))?;
            Ok(Member {
                name: package.name.to_string(),
                path: folder.to_string(),
                dependencies: package.dependencies.iter().map(dependency).collect(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    members.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(members)
}

fn dependency(from: &cargo_metadata::Dependency) -> Dependency {
    Dependency {
        name: from.name.clone(),
        kind: match from.kind {
            DependencyKind::Development => Kind::Dev,
            DependencyKind::Build => Kind::Build,
            // An unknown kind is treated as the strictest one.
            _ => Kind::Normal,
        },
    }
}
