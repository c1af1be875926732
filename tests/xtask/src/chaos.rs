//! `cargo xtask chaos`: builds what a lattice needs and runs one under faults. What the clients saw and
//! what is in the streams goes to the checker; the history stays in the target directory.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tests_harness::workspace;

#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// As `trellis-chaos` takes them: see `cargo xtask chaos --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Runs it; true when nothing was lost, doubled or out of order.
///
/// # Errors
/// It does not build, or cannot be started.
pub fn run(options: &Options) -> Result<bool> {
    crate::build::run()?;
    let mut build = tests_harness::cargo();
    build.args(["build", "-p", "tests-lattice", "--bin", "trellis-chaos"]);
    let status = build.status().context("cargo cannot be started")?;
    ensure!(status.success(), "the build ended with {status}");
    let directory = workspace::target_dir().join("chaos");
    std::fs::create_dir_all(&directory)?;
    let mut chaos = Command::new(workspace::target_dir().join("debug/trellis-chaos"));
    chaos.arg("--histories").arg(directory).args(&options.options);
    Ok(chaos.status().context("trellis-chaos cannot be started")?.success())
}
