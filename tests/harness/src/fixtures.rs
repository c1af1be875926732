//! The guest components that tests run: built once when missing or older than their sources.
//!
//! `guests/` is its own workspace for `wasm32-wasip2`, so cargo does not build it with the tests.
//! A stamp holds the time at which the last good build *began*; any source newer than that makes
//! the build stale. Cargo then decides what has to be done; the stamp only saves asking it from
//! each of hundreds of test processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::tools::{self, ensure_wasm_target, run, with_lock};
use crate::workspace;

/// What a person types to build the guests by hand, in `guests/`.
const BUILD_COMMAND: &str = "cargo build --release --target wasm32-wasip2";
const SOURCE_FOLDERS: [&str; 2] = ["guests", "wit"];
/// Folders that hold no source of a Rust guest.
const NOT_SOURCE: [&str; 4] = ["target", "node_modules", "__pycache__", "dist"];

/// The component called `name`, for instance `kv-counter`: a file under
/// `guests/target/wasm32-wasip2/release/`.
///
/// # Errors
/// The guests do not build (the command and its output are shown), or none has this name (the
/// names that exist are listed).
pub fn guest(name: &str) -> Result<PathBuf> {
    build_guests()?;
    let dir = output_dir();
    // Cargo names the file of a library target with underscores, that of a binary as it is.
    for file in [name.to_owned(), name.replace('-', "_")] {
        let path = dir.join(format!("{file}.wasm"));
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!(
        "guest {name:?}: no such component in {} (there are: {}); build them with `{BUILD_COMMAND}` in guests/",
        dir.display(),
        names_in(&dir).join(", ")
    )
}

/// Builds all Rust guests in release, if a source is newer than the last build.
///
/// # Errors
/// The build fails; the command and its output are shown.
pub fn build_guests() -> Result<()> {
    with_lock("guests", || {
        let stamp = workspace::tools_dir().join("guests.stamp");
        let sources: Vec<PathBuf> =
            SOURCE_FOLDERS.iter().map(|folder| workspace::root().join(folder)).collect();
        if output_dir().is_dir() && is_fresh(&stamp, &sources)? {
            return Ok(());
        }
        ensure_wasm_target()?;
        let began = SystemTime::now();
        run(&mut build_command())
            .with_context(|| format!("guests do not build; try `{BUILD_COMMAND}` in guests/"))?;
        File::create(&stamp)?.set_modified(began)?;
        Ok(())
    })
}

fn output_dir() -> PathBuf {
    workspace::root().join("guests/target/wasm32-wasip2/release")
}

fn build_command() -> Command {
    let guests = workspace::root().join("guests");
    let mut command = guest_cargo();
    command
        .args(["build", "--release", "--target", "wasm32-wasip2"])
        .arg("--target-dir")
        .arg(guests.join("target"));
    command
}

/// Cargo in the guests' workspace, without what an outer cargo or test runner put into the
/// environment for the workspace of the hosts.
pub fn guest_cargo() -> Command {
    let mut command = Command::new(tools::on_path("cargo").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root().join("guests"));
    for variable in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"] {
        command.env_remove(variable);
    }
    command
}

/// Whether no source was changed since the stamp was made.
fn is_fresh(stamp: &Path, sources: &[PathBuf]) -> Result<bool> {
    let Ok(built) = stamp.metadata().and_then(|meta| meta.modified()) else {
        return Ok(false);
    };
    for folder in sources {
        if folder.is_dir() && newest(folder)? > built {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The latest change of any file below `dir`, and of the folders, which change when a file goes.
fn newest(dir: &Path) -> Result<SystemTime> {
    let mut latest = dir.metadata()?.modified()?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if NOT_SOURCE.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let changed = if entry.file_type()?.is_dir() {
            newest(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        };
        latest = latest.max(changed);
    }
    Ok(latest)
}

fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_newer_source_makes_the_build_stale_and_output_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("guests");
        fs::create_dir_all(source.join("hello/target")).unwrap();
        fs::write(source.join("hello/lib.rs"), "").unwrap();
        let stamp = dir.path().join("stamp");
        let sources = [source.clone(), dir.path().join("not-there")];
        assert!(!is_fresh(&stamp, &sources).unwrap());

        let later = SystemTime::now() + Duration::from_secs(60);
        File::create(&stamp).unwrap().set_modified(later).unwrap();
        assert!(is_fresh(&stamp, &sources).unwrap());

        let output = File::create(source.join("hello/target/hello.wasm")).unwrap();
        output.set_modified(later + Duration::from_secs(1)).unwrap();
        assert!(is_fresh(&stamp, &sources).unwrap());

        let changed = File::options().append(true).open(source.join("hello/lib.rs")).unwrap();
        changed.set_modified(later + Duration::from_secs(1)).unwrap();
        assert!(!is_fresh(&stamp, &sources).unwrap());
    }
}
