//! `trellis-chaos`: a lattice of real processes under faults, and what the checker says. Exit status 1 when
//! anything was lost, doubled or out of order.

use anyhow::Result;
use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tests_lattice::chaos::{self, Plan};

#[derive(Parser)]
#[command(about = "A lattice under faults, checked", bin_name = "cargo xtask chaos")]
struct Options {
    /// The first seed; everything that is random comes from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many runs, each with the next seed.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// The sizes of the promises, instead of CI's.
    #[arg(long, conflicts_with = "small")]
    long: bool,
    /// A run of a minute, on one server.
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
    /// Shards that move to another host.
    #[arg(long)]
    moves: Option<usize>,
    /// Shards that move while the host that gives or the one that gets is killed.
    #[arg(long)]
    moves_cut: Option<usize>,
    /// Servers, which keep as many copies of each shard.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(["1", "3"]))]
    servers: Option<String>,
    /// Where histories go, each named by its seed.
    #[arg(long)]
    histories: Option<PathBuf>,
}

impl Options {
    fn plan(&self, seed: u64) -> Result<Plan> {
        let mut plan = match (self.long, self.small) {
            (true, _) => Plan::long(seed),
            (_, true) => Plan::small(seed),
            _ => Plan::ci(seed),
        };
        plan.commands = self.commands.unwrap_or(plan.commands);
        plan.host_kills = self.kills.unwrap_or(plan.host_kills);
        plan.pauses = self.pauses.unwrap_or(plan.pauses);
        plan.moves = self.moves.unwrap_or(plan.moves);
        plan.moves_cut = self.moves_cut.unwrap_or(plan.moves_cut);
        if let Some(servers) = &self.servers {
            plan.servers = servers.parse()?;
        }
        Ok(plan)
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let mut code = ExitCode::SUCCESS;
    for seed in options.seed..options.seed.saturating_add(options.runs) {
        let outcome = chaos::run(&options.plan(seed)?).await?;
        let mut out = std::io::stdout().lock();
        if let Some(directory) = &options.histories {
            let path = directory.join(format!("{seed}.jsonl"));
            std::fs::write(&path, outcome.history.to_string())?;
            writeln!(out, "history: {}", path.display())?;
        }
        writeln!(out, "{outcome}")?;
        if chaos::judge(&outcome).is_err() {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
