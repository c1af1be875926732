//! One file per noun. A command takes its arguments and the global ones, prints what it has to
//! say through [`crate::output`], and ends in a report or in success.

pub mod controller;
pub mod host;
pub mod lattice;
pub mod run;

use crate::args::{Args, Command};
use lattice_protocol::Report;

/// What a command gives.
pub type Outcome = Result<(), Report>;

/// Does the command stay and serve? Then its log is part of what people watch.
pub fn serves(command: &Command) -> bool {
    matches!(command, Command::Host(_) | Command::Controller(_) | Command::Run(_))
}

/// Runs the command that was asked for.
pub async fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Lattice(command) => lattice::run(args, command),
        Command::Host(command) => host::run(args, command).await,
        Command::Controller(command) => controller::run(args, command).await,
        Command::Run(command) => run::run(args, command).await,
    }
}
