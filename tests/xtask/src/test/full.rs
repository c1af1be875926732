//! What `cargo xtask test --full` adds: actors in JavaScript and Python, built by their own tools, the program of an ARM
//! gateway, and the pure crates on aarch64. The tools go to `target/tools`; what npm and pip install is pinned by the lock
//! files beside the sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tests_harness::{tools, workspace};

use crate::tidy::PURE;

const AARCH64: &str = "aarch64-unknown-linux-gnu";
/// What cargo is told to link programs for it with.
const LINKER: (&str, &str) = ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");

/// Builds the actors in JavaScript and Python; says how long it took and how large they are.
///
/// # Errors
/// No Node or Python, a tool that cannot be installed, or an actor that does not build.
pub fn languages() -> Result<()> {
    timed("javascript", "hello", javascript)?;
    timed("javascript", "parking", javascript)?;
    timed("python", "hello", python)
}

fn timed(language: &str, actor: &str, build: fn(&str) -> Result<PathBuf>) -> Result<()> {
    let start = Instant::now();
    let component = build(actor)?;
    let (size, seconds) = (component.metadata()?.len() >> 10, start.elapsed().as_secs());
    println!("    {language}: {} ({size} KiB, {seconds} s with its tools)", component.display());
    Ok(())
}

/// The folder of an actor, a folder for its tools, and one for what comes out.
fn folders(language: &str, actor: &str) -> Result<(PathBuf, PathBuf, PathBuf)> {
    let source = workspace::root().join("guests").join(language).join(actor);
    let tools = workspace::tools_dir().join(language).join(actor);
    let output = workspace::root().join("guests/target").join(language);
    fs::create_dir_all(&tools)?;
    fs::create_dir_all(&output)?;
    Ok((source, tools, output.join(format!("{actor}_{language}.wasm"))))
}

fn javascript(actor: &str) -> Result<PathBuf> {
    tools::on_path("npm").context("npm: not on PATH; install Node 18 or newer")?;
    let (source, tools, output) = folders("javascript", actor)?;
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(source.join(file), tools.join(file))?;
    }
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&tools))?;
    let programs = tools.join("node_modules/.bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path)))?;
    fresh(&output)?;
    run(Command::new("npm").args(["run", "build"]).env("PATH", path).current_dir(&source))?;
    run(Command::new("npm").args(["run", "--if-present", "test"]).current_dir(&source))?;
    Ok(output)
}

fn python(actor: &str) -> Result<PathBuf> {
    let (source, tools, output) = folders("python", actor)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(&tools))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    run(Command::new(tools.join("bin/python")).args(pip).arg(source.join("requirements.txt")))?;
    fresh(&output)?;
    let componentize = ["-d", "wit", "-w", "hello", "componentize", actor, "-o"];
    run(Command::new(tools.join("bin/componentize-py"))
        .args(componentize)
        .arg(&output)
        .current_dir(&source))?;
    Ok(output)
}

/// What was built before must not pass for what is built now.
fn fresh(output: &Path) -> Result<()> {
    if output.exists() {
        fs::remove_file(output)?;
    }
    Ok(())
}

/// Shows what a command prints, and wants it to succeed.
fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(std::process::Stdio::null())
        .status()
        .with_context(|| format!("{:?}: cannot be started", command.get_program()))?;
    ensure!(status.success(), "{:?} ended with {status}", command.get_program());
    Ok(())
}

/// The program of an ARM gateway: a host that compiles nothing.
///
/// # Errors
/// As [`aarch64`], or it does not build.
pub fn gateway() -> Result<()> {
    tools::ensure_aarch64()?;
    let mut command = tests_harness::cargo();
    command.args(["build", "--package", "lattice-ctl-cli", "--no-default-features", "--target", AARCH64]);
    run(command.env(LINKER.0, LINKER.1))
}

/// `cargo test` of the pure crates for aarch64, run by an emulator: values on the wire, claims and
/// decisions must be the same on every machine.
///
/// # Errors
/// The compiler's target, the linker or the emulator cannot be had.
pub fn aarch64() -> Result<Command> {
    let emulator = tools::ensure_aarch64()?;
    let mut command = tests_harness::cargo();
    command.args(["test", "--no-fail-fast", "--target", AARCH64]);
    for path in PURE {
        if workspace::root().join(path).join("Cargo.toml").is_file() {
            command.args(["--package", &path.replace('/', "-")]);
        }
    }
    command.env(LINKER.0, LINKER.1);
    let runner = format!("{} -L /usr/aarch64-linux-gnu", emulator.display());
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    Ok(command)
}
