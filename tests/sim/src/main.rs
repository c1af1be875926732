//! `trellis-sim`: simulated worlds by their seeds, and the cost of planning. `cargo xtask sim`
//! builds it optimised and runs it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command's output is its result")]

use anyhow::{Context, Result};
use clap::Parser;
use std::process::ExitCode;
use std::time::Instant;
use tests_sim::{Sizes, run, run_all, scale};

/// That of the program with a controller in it: what it takes is a part of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "trellis-sim", about = "Simulated lattices, each from its seed")]
struct Arguments {
    /// Hosts of each world
    #[arg(long, default_value_t = 6)]
    hosts: usize,
    /// Actors of each world
    #[arg(long, default_value_t = 8)]
    actors: usize,
    /// How many worlds; 0 for none, only the cost of planning
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the whole trace of the first world
    #[arg(long)]
    trace: bool,
    /// Measure planning in a lattice of this size as well, once
    #[arg(long)]
    cost: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if arguments.trace { trace(&arguments) } else { worlds(&arguments) };
    let result = result.and_then(|good| Ok(good & cost(&arguments)?));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn sizes(arguments: &Arguments) -> Sizes {
    Sizes { hosts: arguments.hosts, actors: arguments.actors, verbose: arguments.trace }
}

/// Every world, on every core; of those in which a law was broken, that of the least seed is shown.
fn worlds(arguments: &Arguments) -> Result<bool> {
    let begun = Instant::now();
    let seeds = arguments.seed..arguments.seed.saturating_add(arguments.seeds);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all = match run_all(seeds, &sizes(arguments), threads) {
        Ok(all) => all,
        Err(failure) => {
            let Arguments { hosts, actors, .. } = arguments;
            eprintln!("{failure}");
            eprintln!(
                "again: cargo xtask sim --hosts {hosts} --actors {actors} --seed {} --seeds 1 --trace",
                failure.seed
            );
            return Ok(false);
        }
    };
    let (faults, healed) = (all.faults, all.healed_ms);
    let counts: Vec<String> = faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!("{} worlds in {:.1} s, every law held", healed.len(), begun.elapsed().as_secs_f64());
    println!("faults: {}", counts.join(", "));
    if let (Some(median), Some(longest)) = (healed.get(healed.len() / 2), healed.last()) {
        println!("as desired after the last fault: median {median} ms, longest {longest} ms (virtual)");
    }
    Ok(true)
}

fn trace(arguments: &Arguments) -> Result<bool> {
    // Everything is kept only in a failure's trace: a world that ends well says so in one line.
    match run(arguments.seed, &sizes(arguments)) {
        Ok(outcome) => println!("seed {}: {outcome:?}", arguments.seed),
        Err(failure) => {
            println!("{failure}");
            return Ok(false);
        }
    }
    Ok(true)
}

/// Prints what planning costs.
fn cost(arguments: &Arguments) -> Result<bool> {
    if !arguments.cost && arguments.seeds > 0 {
        return Ok(true);
    }
    let figures = scale::measure(arguments.hosts, arguments.actors).map_err(anyhow::Error::msg);
    let figures = figures.context("planning")?;
    println!("{} hosts, {} actors:", arguments.hosts, arguments.actors);
    for figure in &figures.times {
        let (memory, most) = figure.memory_mib;
        let (took_ms, steps) = (figure.took.as_secs_f64() * 1e3, figure.steps);
        println!("{:<44} {took_ms:>9.1} ms  {steps:>7} steps  {memory:>5} MiB, {most} at most", figure.what);
    }
    println!(
        "heartbeats at one in 30 s: {}.{} % of a core; memory: {} MiB, {} MiB at most",
        figures.heartbeats_per_mille / 10,
        figures.heartbeats_per_mille % 10,
        figures.memory_mib,
        figures.most_memory_mib
    );
    Ok(true)
}
