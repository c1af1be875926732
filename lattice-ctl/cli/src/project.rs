//! A guest's project: building it with cargo, and finding the components that came out.

use crate::args::Args;
use crate::output::{self, io_report};
use lattice_protocol::{ErrorCode, Report};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};

/// The target of components.
pub const TARGET: &str = "wasm32-wasip2";

/// A line of cargo's JSON messages, as far as it matters.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// How to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Small and fast.
    Release,
    /// Quick to build.
    Debug,
}

/// Builds the project in this directory; gives the components that cargo made or found up to date.
///
/// # Errors
/// `E_IO` when cargo is not there; `E_USAGE` when the project does not build (cargo has said why);
/// `E_CONFIG` when the target of components is missing and cannot be installed.
pub async fn build(args: &Args, dir: &Path, profile: Profile) -> Result<Vec<PathBuf>, Report> {
    if !dir.join("Cargo.toml").exists() {
        return Err(Report::new(ErrorCode::NotFound, "no Cargo.toml here")
            .at(dir.display())
            .hint("make a project: trellis new <name>; other languages build with their own tools"));
    }
    ensure_target(args, dir).await?;
    let bar = output::spinner(args, "building");
    let built = run_cargo(dir, profile).await;
    bar.finish_and_clear();
    built
}

/// Installs the target of components if it is missing: the first thing that a newcomer would stumble over.
async fn ensure_target(args: &Args, dir: &Path) -> Result<(), Report> {
    let asked = tokio::process::Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(dir)
        .output()
        .await
        .map_err(|error| no_rust("run rustc", &error))?;
    let libraries = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    if asked.status.success() && Path::new(&libraries).is_dir() {
        return Ok(());
    }
    output::say(args, format!("installing the Rust target {TARGET} (rustup target add {TARGET})"));
    let install = tokio::process::Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(dir)
        .stdin(Stdio::null())
        .status()
        .await;
    match install {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Report::new(ErrorCode::Config, format!("Rust has no target {TARGET}")).hint(format!(
            "run: rustup target add {TARGET}; without rustup, install that target's standard library"
        ))),
    }
}

fn no_rust(doing: &str, error: &std::io::Error) -> Report {
    io_report(doing, error).hint("install Rust: rustup, and see: trellis doctor")
}

async fn run_cargo(dir: &Path, profile: Profile) -> Result<Vec<PathBuf>, Report> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = tokio::process::Command::new(cargo);
    command.arg("build").args(["--target", TARGET]).arg("--message-format=json-render-diagnostics");
    if profile == Profile::Release {
        command.arg("--release");
    }
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| no_rust("run cargo", &error))?;
    let mut components = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) =
            lines.next_line().await.map_err(|error| io_report("read what cargo says", &error))?
        {
            components.extend(artifacts(&line));
        }
    }
    let status = child.wait().await.map_err(|error| io_report("wait for cargo", &error))?;
    if !status.success() {
        return Err(Report::new(ErrorCode::Usage, "the project does not build")
            .at(dir.display())
            .got(status)
            .hint("see what cargo says above"));
    }
    Ok(components)
}

fn artifacts(line: &str) -> Vec<PathBuf> {
    match serde_json::from_str::<Message>(line) {
        Ok(message) if message.reason == "compiler-artifact" => message
            .filenames
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
            .filter(|path| path.parent().is_none_or(|parent| !parent.ends_with("deps")))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_components_that_are_for_use_are_found() {
        let line = r#"{"reason":"compiler-artifact","filenames":["/t/release/a.wasm","/t/release/deps/a.wasm","/t/liba.rlib"]}"#;
        assert_eq!(artifacts(line), [PathBuf::from("/t/release/a.wasm")]);
        assert!(artifacts("warning: not json").is_empty());
        assert!(artifacts(r#"{"reason":"build-finished","success":true}"#).is_empty());
    }
}
