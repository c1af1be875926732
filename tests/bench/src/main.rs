//! `trellis-bench`: what a call, a start and a host cost, each beside the bare operation in the
//! same run. `cargo xtask bench` builds it, and `trellis`, in release and runs it.
//!
//! | module | holds |
//! |---|---|
//! | [`cases`] | the cases: what is measured, against what, with which goal |
//! | [`report`] | a row, the table, the JSON, and the record kept under `history/` |
//! | [`machine`] | on what it was measured |
//! | [`inside`] | actors of this process: the runtime as a host makes it |
//! | [`entities`] | persistent actors of this process, over a journal or a lattice |
//! | [`outside`] | a `trellis host` process that runs what is on its disk |
//! | [`load`], [`offered`], [`native`] | wrk; load on a schedule; the plain hyper server that HTTP is compared with |
//! | [`orders`] | an order as JSON, and the native server that takes it |
//! | [`peers`], [`history`] | for `--compare`: `wasmtime serve`, and what earlier runs measured |
//!
//! Nothing is switched on or off for a measurement: limits, grants, deadlines and logging are those
//! of a manifest that says nothing about them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command's output is its result")]

mod cases;
mod entities;
mod history;
mod inside;
mod load;
mod machine;
mod native;
mod offered;
mod orders;
mod outside;
mod peers;
mod rates;
mod report;
mod samples;

use anyhow::{Context, Result};
use cases::{Case, Plan};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// The host's allocator: the cases inside this process use what a host uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the native server and the HTTP hello guests answer.
const HELLO: &str = "Hello World\n";

#[derive(Parser)]
#[command(name = "trellis-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure
    Run(Options),
    /// Serve the reference: the same answer by plain hyper, on this port of loopback (0: a free one)
    Native { port: u16 },
    /// Take orders, the reference of an actor that does: by a Redis server and an administrator's credentials
    Orders { port: u16, url: String, credentials: PathBuf, inbox: String, redis: String },
    /// Answer messages, the reference of an actor that does: an administrator's credentials
    Echo { url: String, credentials: PathBuf, inbox: String, subject: String },
}

#[derive(clap::Args)]
struct Options {
    /// Cases; all when none is named
    #[arg(value_enum)]
    cases: Vec<Case>,
    /// Runs of each case, ours and the reference in turn; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=101))]
    runs: u32,
    /// Seconds of HTTP load in one run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
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
    /// The `trellis` program to measure
    #[arg(long)]
    trellis: PathBuf,
    /// The program of a gateway that compiles nothing, for the cases that are about it
    #[arg(long)]
    gateway: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Native { port } => native::serve(port, HELLO).map(|()| true),
        Command::Orders { port, url, credentials, inbox, redis } => {
            orders::serve(port, orders::Backends { url, credentials, inbox, redis }).map(|()| true)
        }
        Command::Echo { url, credentials, inbox, subject } => {
            native::echo(&url, &credentials, inbox, &subject).map(|()| true)
        }
        Command::Run(options) => measure(&options),
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

/// True when every goal was met.
fn measure(options: &Options) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let Options { runs, seconds, compare, .. } = *options;
    let plan =
        Plan { runs, seconds, compare, trellis: options.trellis.clone(), gateway: options.gateway.clone() };
    if compare && peers::program().is_none() {
        eprintln!(
            "wasmtime is not installed: nothing is measured beside it (cargo install wasmtime-cli --locked)"
        );
    }
    let cases = if options.cases.is_empty() { Case::all() } else { options.cases.clone() };
    let mut rows = Vec::new();
    if !options.json {
        report::head();
    }
    for case in cases {
        let mut row = runtime.block_on(case.run(&plan)).with_context(|| format!("case {}", case.name()))?;
        if compare {
            row.before = history::newest(row.case)?;
        }
        report::print(&row, options.json)?;
        rows.push(row);
    }
    if options.save {
        let path = report::save(&rows)?;
        eprintln!("kept in {}", path.display());
    }
    Ok(rows.iter().all(|row| row.met))
}
