//! Cargo, started from a program that cargo itself started.
//!
//! `cargo run` and `cargo test` describe the package they run in variables of the environment. A
//! cargo that inherits them gives them on to build scripts, and one that watches them (ring's does)
//! is then built anew, with everything that depends on it, each time a person's own `cargo build`
//! and one of ours take turns.

use std::ffi::OsStr;
use std::process::Command;

use crate::{tools, workspace};

/// What `cargo run` and `cargo test` say about the package they run.
const ABOUT_A_PACKAGE: [&str; 5] =
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_PACKAGE"];

/// Cargo at the root of the workspace, as a person's shell would start it.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(tools::on_path("cargo").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root());
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_about_a_package(name)) {
        command.env_remove(name);
    }
    command
}

fn is_about_a_package(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| ABOUT_A_PACKAGE.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_cargo_is_not_told_of_the_package_that_starts_it() {
        // This test runs under cargo, so there is something to remove.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let command = cargo();
        let removed = |name: &str| command.get_envs().any(|(key, value)| key == name && value.is_none());
        assert!(removed("CARGO_MANIFEST_DIR") && removed("CARGO_PKG_NAME"));
        assert!(!is_about_a_package("CARGO_TARGET_DIR".as_ref()));
    }
}
