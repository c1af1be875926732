//! `cargo xtask bench`: the figures of the request path, of starts and of memory, each beside the
//! bare operation in the same run. It builds `trellis` and `trellis-bench` in release and the guests'
//! components, sees to wrk and nats-server, and runs the latter on the former.
//!
//! A row is case, unit, ours, reference, ratio, goal, met. `--json` prints one object a line;
//! naming cases runs only those; `--save` keeps the run under `tests/bench/history`; `--compare` shows
//! each case beside the last kept run, and HTTP beside `wasmtime serve` where that is installed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tests_harness::{fixtures, tools, workspace};

#[derive(Args)]
pub struct Options {
    /// Cases; all when none is named (`trellis-bench run --help` lists them)
    cases: Vec<String>,
    /// Runs of each case, ours and the reference in turn; the median counts
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Seconds of HTTP load in one run
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// Keep the result under tests/bench/history
    #[arg(long)]
    save: bool,
    /// Beside the last kept run, and beside `wasmtime serve` when it is installed
    #[arg(long)]
    compare: bool,
}

/// Measures; true when every goal was met.
///
/// # Errors
/// Something does not build, a tool is missing, or a case cannot be measured.
pub fn run(options: &Options) -> Result<bool> {
    tools::ensure_wrk()?;
    tools::ensure_nats_server()?;
    fixtures::build_guests()?;
    build()?;
    let programs = workspace::target_dir().join("release");
    let mut bench = Command::new(programs.join("trellis-bench"));
    bench.arg("run").args(&options.cases).arg("--trellis").arg(programs.join("trellis"));
    if options.cases.is_empty() || options.cases.iter().any(|case| case.starts_with("gateway-")) {
        bench.arg("--gateway").arg(gateway()?);
    }
    bench.args(["--runs", &options.runs.to_string(), "--seconds", &options.seconds.to_string()]);
    bench.args(options.json.then_some("--json")).args(options.save.then_some("--save"));
    bench.args(options.compare.then_some("--compare"));
    let status = bench.status().context("trellis-bench cannot be started")?;
    ensure!(status.code().is_some(), "trellis-bench ended with {status}");
    Ok(status.success())
}

/// Both programs in one build: built one by one they would share less.
fn build() -> Result<()> {
    build_program(&["--release", "-p", "tests-bench"])
}

/// The program of a gateway that compiles nothing, as docs/gateways.md has it built.
fn gateway() -> Result<PathBuf> {
    build_program(&["--profile", "gateway", "--no-default-features"])?;
    Ok(workspace::target_dir().join("gateway/trellis"))
}

fn build_program(more: &[&str]) -> Result<()> {
    let mut cargo = tests_harness::cargo();
    let status = cargo.args(["build", "-p", "lattice-ctl-cli"]).args(more).status();
    let status = status.context("cargo cannot be started")?;
    ensure!(status.success(), "the build for measurements ended with {status}");
    Ok(())
}
