//! Where things are in the checkout that these tests were built from.
//!
//! Paths come from the compile-time location of this crate, so they hold for every test binary
//! of the workspace whatever directory it is started in.

use std::env;
use std::path::{Path, PathBuf};

/// The root folder of the workspace: the one that holds `Cargo.lock`.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or_else(|| Path::new(".")).to_path_buf()
}

/// Cargo's target folder: `CARGO_TARGET_DIR` where that is set, else `target` in the root.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Downloaded tools, their locks and build stamps. Safe to delete at any time.
pub fn tools_dir() -> PathBuf {
    target_dir().join("tools")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_lock_file_and_this_crate() {
        assert!(root().join("Cargo.lock").is_file());
        assert!(root().join("tests/harness/src/workspace.rs").is_file());
    }
}
