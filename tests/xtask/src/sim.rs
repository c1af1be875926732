//! `cargo xtask sim`: builds the simulation optimised and runs it. A world that breaks a law prints
//! its seed, the end of its trace, and how to see it again.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tests_harness::workspace;

#[derive(Args)]
pub struct Options {
    /// Hosts of each world
    #[arg(long, default_value_t = 6)]
    hosts: usize,
    /// Actors of each world
    #[arg(long, default_value_t = 8)]
    actors: usize,
    /// How many worlds; 0 for none, only what planning costs at this size
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the whole trace of the first world, if it breaks a law
    #[arg(long)]
    trace: bool,
}

/// Runs the worlds; true when every law held.
///
/// # Errors
/// It does not build, or cannot be started.
pub fn run(options: &Options) -> Result<bool> {
    let mut build = tests_harness::cargo();
    build.args(["build", "--release", "-p", "tests-sim"]);
    let status = build.status().context("cargo cannot be started")?;
    ensure!(status.success(), "the release build ended with {status}");
    let mut sim = Command::new(workspace::target_dir().join("release/trellis-sim"));
    for (name, value) in [("--hosts", options.hosts), ("--actors", options.actors)] {
        sim.args([name, &value.to_string()]);
    }
    for (name, value) in [("--seeds", options.seeds), ("--seed", options.seed)] {
        sim.args([name, &value.to_string()]);
    }
    let status =
        sim.args(options.trace.then_some("--trace")).status().context("trellis-sim cannot be started")?;
    ensure!(status.code().is_some(), "trellis-sim ended with {status}");
    Ok(status.success())
}
