//! `cargo xtask chaos`: builds what a lattice needs and runs one under faults. What the clients saw and
//! what is in the streams goes to the checker; the history stays in the target directory.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tests_harness::workspace;

#[derive(Args)]
pub struct Options {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many runs, each with the next seed
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// The sizes of the promises, instead of CI's
    #[arg(long, conflicts_with = "small")]
    long: bool,
    /// A run of a minute
    #[arg(long)]
    small: bool,
    /// Commands
    #[arg(long)]
    commands: Option<u64>,
    /// SIGKILLs of hosts
    #[arg(long)]
    kills: Option<u64>,
    /// Hosts stopped for three leases
    #[arg(long)]
    pauses: Option<u64>,
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
    let mut good = true;
    for seed in options.seed..options.seed.saturating_add(options.runs) {
        let mut chaos = Command::new(workspace::target_dir().join("debug/trellis-chaos"));
        chaos.args(["--seed", &seed.to_string(), "--history"]);
        chaos.arg(directory.join(format!("{seed}.jsonl")));
        chaos.args(options.long.then_some("--long")).args(options.small.then_some("--small"));
        let numbers =
            [("--commands", options.commands), ("--kills", options.kills), ("--pauses", options.pauses)];
        for (name, value) in numbers {
            if let Some(value) = value {
                chaos.args([name, &value.to_string()]);
            }
        }
        let status = chaos.status().context("trellis-chaos cannot be started")?;
        good &= status.success();
    }
    Ok(good)
}
