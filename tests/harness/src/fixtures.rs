//! What tests run: the guests' components and the workspace's own programs, built once when they
//! are missing or older than their sources.
//!
//! `guests/` is its own workspace for `wasm32-wasip2`, and cargo builds no program of another
//! package for a test, so both need a build of their own. A stamp holds the time at which the last
//! good build *began*; a source newer than that makes it stale. Cargo then decides what has to be
//! done; the stamp only saves asking it from each of hundreds of test processes.
//!
//! A first build takes minutes, longer than a test may run: `cargo xtask test` does it beforehand,
//! and so does `cargo xtask build` for who then runs single tests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::cargo;
use crate::tools::{ensure_wasm_target, with_lock};
use crate::workspace;

/// What a person types, in `guests/` and in the root.
const GUESTS_COMMAND: &str = "cargo build --release --target wasm32-wasip2";
const PROGRAMS_COMMAND: &str = "cargo build --workspace --bins";
/// Folders and files whose change makes the build stale.
const GUEST_SOURCES: [&str; 2] = ["guests", "wit"];
const FOREIGN_SOURCES: [&str; 2] = ["guests/compat", "wit"];
/// Two, because their versions of one crate exclude each other; one target directory.
const FOREIGN_WORKSPACES: [&str; 2] = ["guests/compat", "guests/compat/spin-hello-5"];
const PROGRAM_SOURCES: [&str; 8] =
    ["Cargo.toml", "Cargo.lock", "keys", "lattice", "host", "providers", "lattice-ctl", "wit"];
/// Folders that hold no source in Rust.
const NOT_SOURCE: [&str; 4] = ["target", "node_modules", "__pycache__", "dist"];

/// The component called `name`, for instance `kv-counter`: a file under
/// `guests/target/wasm32-wasip2/release/`.
///
/// # Errors
/// The guests do not build, or none has this name (the names that exist are listed).
pub fn guest(name: &str) -> Result<PathBuf> {
    build_guests()?;
    component(&guests_dir(), name, "guests")
}

/// The component called `name` of those written as other projects' users write them
/// (`guests/compat`), for instance `spin-hello`.
///
/// # Errors
/// As [`guest`].
pub fn foreign(name: &str) -> Result<PathBuf> {
    build_foreign()?;
    component(&foreign_dir(), name, "guests/compat")
}

fn component(dir: &Path, name: &str, folder: &str) -> Result<PathBuf> {
    // Cargo names the file of a library target with underscores, that of a binary as it is.
    for file in [name.to_owned(), name.replace('-', "_")] {
        let path = dir.join(format!("{file}.wasm"));
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!(
        "guest {name:?}: no such component in {} (there are: {}); build them with `{GUESTS_COMMAND}` in {folder}/",
        dir.display(),
        names_in(dir).join(", ")
    )
}

/// The program called `name` of this workspace, for instance `trellis`, in the test profile.
///
/// # Errors
/// The workspace does not build, or no package has a program of this name.
pub fn program(name: &str) -> Result<PathBuf> {
    build_programs()?;
    let path = programs_dir().join(name);
    ensure!(
        path.is_file(),
        "program {name:?}: not among those that `{PROGRAMS_COMMAND}` builds (looked for {})",
        path.display()
    );
    Ok(path)
}

/// Builds all Rust guests in release, if a source is newer than the last build.
///
/// # Errors
/// The build fails; what it printed is on standard error.
pub fn build_guests() -> Result<()> {
    build_if_stale("guests", &GUEST_SOURCES, &guests_dir(), || build_components("guests", "guests/target"))
}

/// Builds the foreign components in release, if a source is newer than the last build.
///
/// # Errors
/// The build fails; what it printed is on standard error.
pub fn build_foreign() -> Result<()> {
    build_if_stale("foreign", &FOREIGN_SOURCES, &foreign_dir(), || {
        FOREIGN_WORKSPACES.iter().try_for_each(|folder| build_components(folder, "guests/compat/target"))
    })
}

fn build_components(folder: &str, target_dir: &str) -> Result<()> {
    ensure_wasm_target()?;
    let mut command = guest_cargo();
    command
        .current_dir(workspace::root().join(folder))
        .args(["build", "--release", "--target", "wasm32-wasip2"])
        .arg("--target-dir")
        .arg(workspace::root().join(target_dir));
    build(&mut command).with_context(|| format!("{folder} does not build; try `{GUESTS_COMMAND}` there"))
}

/// Builds all programs of the workspace in the test profile, if a source is newer than the last
/// build.
///
/// # Errors
/// The build fails; what it printed is on standard error.
pub fn build_programs() -> Result<()> {
    build_if_stale("programs", &PROGRAM_SOURCES, &programs_dir(), || {
        // All together, as the tests are built: one package alone would resolve other features.
        let mut command = cargo();
        command.args(["build", "--workspace", "--bins"]);
        build(&mut command).with_context(|| format!("the programs do not build; try `{PROGRAMS_COMMAND}`"))
    })
}

/// Runs `build` unless the last good one began after the latest change and `output` is there.
fn build_if_stale(
    name: &str,
    sources: &[&str],
    output: &Path,
    build: impl FnOnce() -> Result<()>,
) -> Result<()> {
    with_lock(name, || {
        let stamp = workspace::tools_dir().join(format!("{name}.stamp"));
        let root = workspace::root();
        let sources: Vec<PathBuf> = sources.iter().map(|source| root.join(source)).collect();
        if output.is_dir() && is_fresh(&stamp, &sources)? {
            return Ok(());
        }
        let began = SystemTime::now();
        build()?;
        File::create(&stamp)?.set_modified(began)?;
        Ok(())
    })
}

/// Runs a build whose progress a person can watch: on standard error, as cargo shows it.
fn build(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status()?;
    ensure!(status.success(), "cargo ended with {status}");
    Ok(())
}

fn guests_dir() -> PathBuf {
    workspace::root().join("guests/target/wasm32-wasip2/release")
}

fn foreign_dir() -> PathBuf {
    workspace::root().join("guests/compat/target/wasm32-wasip2/release")
}

fn programs_dir() -> PathBuf {
    workspace::target_dir().join("debug")
}

/// Cargo in the guests' workspace, without what an outer cargo or test runner put into the
/// environment for the workspace of the hosts.
pub fn guest_cargo() -> Command {
    let mut command = cargo();
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
    for source in sources {
        if source.exists() && newest(source)? > built {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The latest change of a file, or of any file below a folder; the folders count as well, because
/// they change when a file goes.
fn newest(path: &Path) -> Result<SystemTime> {
    let meta = path.symlink_metadata()?;
    let mut latest = meta.modified()?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !NOT_SOURCE.iter().any(|name| entry.file_name() == *name) {
                latest = latest.max(newest(&entry.path())?);
            }
        }
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

    #[test]
    fn a_component_is_found_and_an_unknown_name_lists_those_there_are() {
        let bytes = fs::read(guest("http-hello").unwrap()).unwrap();
        assert!(bytes.starts_with(b"\0asm\x0d\0\x01\0"), "not a component");
        let error = guest("no-such-guest").unwrap_err().to_string();
        assert!(error.contains("http_hello") && error.contains(GUESTS_COMMAND), "{error}");
    }
}
