//! `trellis-chaos`: a lattice of real processes under faults, and what the checker says. Exit status 1 when
//! anything was lost, doubled or out of order.

use anyhow::Result;
use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tests_lattice::chaos::{self, Plan};

#[derive(Parser)]
#[command(about = "A lattice under faults, checked")]
struct Options {
    /// Everything that is random comes from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The sizes of the promises, instead of CI's.
    #[arg(long, conflicts_with = "small")]
    long: bool,
    /// A run of a minute.
    #[arg(long)]
    small: bool,
    /// Commands.
    #[arg(long)]
    commands: Option<u64>,
    /// SIGKILLs of hosts.
    #[arg(long)]
    kills: Option<usize>,
    /// Hosts stopped for three leases.
    #[arg(long)]
    pauses: Option<usize>,
    /// Where the history goes.
    #[arg(long)]
    history: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mut plan = match (options.long, options.small) {
        (true, _) => Plan::long(options.seed),
        (_, true) => Plan::small(options.seed),
        _ => Plan::ci(options.seed),
    };
    plan.commands = options.commands.unwrap_or(plan.commands);
    plan.host_kills = options.kills.unwrap_or(plan.host_kills);
    plan.pauses = options.pauses.unwrap_or(plan.pauses);
    let outcome = chaos::run(&plan).await?;
    let mut out = std::io::stdout().lock();
    if let Some(path) = &options.history {
        std::fs::write(path, outcome.history.to_string())?;
        writeln!(out, "history: {}", path.display())?;
    }
    writeln!(out, "{outcome}")?;
    Ok(match chaos::judge(&outcome) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}
