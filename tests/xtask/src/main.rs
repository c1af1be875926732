//! `cargo xtask <command>`: everything a developer and CI do with this repository.
//!
//! One file per command, each with a `run` that says what it prints. Exit codes: 0 done and good,
//! 1 done and something is wrong with the code, 2 the command line is wrong.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command's output is its result")]

mod bench;
mod build;
mod chaos;
mod demo;
mod deny;
mod finding;
mod metadata;
mod sim;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "What a developer does with Trellis",
    version
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build and run every test; the last line is `N passed, N failed`
    Test(test::Options),
    /// Run a real lattice on this machine: NATS, a controller, three hosts, an application
    Demo(demo::Options),
    /// Measure: each case beside the bare operation in the same run
    Bench(bench::Options),
    /// Simulated lattices by their seeds, and what planning costs in a large one
    Sim(sim::Options),
    /// A lattice of real processes under kills, cuts and pauses; its history, checked
    Chaos(chaos::Options),
    /// Build the guests' components and our programs, for tests that are run one by one
    Build,
    /// Check the rules of the code: layers, purity, homes of names, file headers, sizes
    Tidy,
    /// Check the dependencies against deny.toml: licences, bans, minimum versions, sources
    Deny,
}

fn main() -> ExitCode {
    let outcome: Result<bool> = match Arguments::parse().command {
        Command::Test(options) => test::run(options),
        Command::Demo(options) => demo::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Sim(options) => sim::run(&options),
        Command::Chaos(options) => chaos::run(&options),
        Command::Build => build::run(),
        Command::Tidy => tidy::run(),
        Command::Deny => deny::run(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
