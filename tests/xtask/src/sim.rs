//! `cargo xtask sim`: builds the simulation optimised and runs it. A world that breaks a law prints
//! its seed, the end of its trace, and how to see it again. `cargo xtask test` runs the usual worlds.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Hosts of each world
    #[arg(long, default_value_t = USUAL.hosts)]
    hosts: usize,
    /// Actors of each world
    #[arg(long, default_value_t = USUAL.actors)]
    actors: usize,
    /// How many worlds; 0 for none, only what planning costs at this size
    #[arg(long, default_value_t = USUAL.seeds)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = USUAL.seed)]
    seed: u64,
    /// Print the whole trace of the first world, if it breaks a law
    #[arg(long)]
    trace: bool,
}

/// The worlds that every change is tested in.
pub const USUAL: Options = Options { hosts: 6, actors: 8, seeds: 10_000, seed: 0, trace: false };

/// Builds and runs these worlds.
pub fn command(options: &Options) -> Command {
    let mut sim = tests_harness::cargo();
    sim.args(["run", "--profile", "sim", "--package", "tests-sim", "--"]);
    for (name, value) in [("--hosts", options.hosts), ("--actors", options.actors)] {
        sim.args([name, &value.to_string()]);
    }
    for (name, value) in [("--seeds", options.seeds), ("--seed", options.seed)] {
        sim.args([name, &value.to_string()]);
    }
    sim.args(options.trace.then_some("--trace"));
    sim
}

/// Runs the worlds; true when every law held.
///
/// # Errors
/// It cannot be built or started, or was killed.
pub fn run(options: &Options) -> Result<bool> {
    let status = command(options).status().context("cargo cannot be started")?;
    ensure!(status.code().is_some(), "trellis-sim ended with {status}");
    Ok(status.success())
}
