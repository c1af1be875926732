//! One file per noun. A command takes its arguments and the global ones, prints what it has to
//! say through [`crate::output`], and ends in a report or in success.
//!
//! A build without the feature `operator` has what a gateway needs, `host`, `provider` and `version`, and none of what
//! the others bring along (controller, planner, registries, tables).

#[cfg(feature = "operator")]
pub mod actor;
#[cfg(feature = "operator")]
pub mod app;
#[cfg(feature = "operator")]
pub mod artifact;
#[cfg(feature = "operator")]
pub mod build;
#[cfg(feature = "operator")]
pub mod call;
#[cfg(feature = "operator")]
pub mod claim;
#[cfg(feature = "operator")]
pub mod compile;
#[cfg(feature = "operator")]
pub mod completions;
#[cfg(feature = "operator")]
pub mod config;
#[cfg(feature = "operator")]
pub mod controller;
#[cfg(feature = "operator")]
pub mod dev;
#[cfg(feature = "operator")]
pub mod doctor;
#[cfg(feature = "operator")]
pub mod down;
#[cfg(feature = "operator")]
pub mod entity;
#[cfg(feature = "operator")]
pub mod events;
#[cfg(feature = "operator")]
pub mod get;
pub mod host;
#[cfg(feature = "operator")]
pub mod inspect;
#[cfg(feature = "operator")]
pub mod keys;
#[cfg(feature = "operator")]
pub mod lattice;
#[cfg(feature = "operator")]
pub mod link;
#[cfg(feature = "operator")]
pub mod migrate;
#[cfg(feature = "operator")]
pub mod new;
#[cfg(feature = "operator")]
pub mod operator;
pub mod provider;
#[cfg(feature = "operator")]
pub mod publish;
#[cfg(feature = "operator")]
pub mod push;
#[cfg(feature = "operator")]
pub mod query;
#[cfg(feature = "operator")]
pub mod run;
#[cfg(feature = "operator")]
pub mod scale;
#[cfg(feature = "operator")]
pub mod secret;
#[cfg(feature = "operator")]
pub mod start;
#[cfg(feature = "operator")]
pub mod stop;
#[cfg(feature = "operator")]
pub mod up;
#[cfg(feature = "operator")]
pub mod user;
pub mod version;

use crate::args::{Args, Command};
use lattice_protocol::Report;

/// What a command gives.
pub type Outcome = Result<(), Report>;

/// Does the command stay and serve? Then its log is part of what people watch.
pub fn serves(command: &Command) -> bool {
    match command {
        #[cfg(feature = "operator")]
        Command::Operator(command) => command.serves(),
        Command::Host(_) => true,
        Command::Provider(command) => {
            matches!(command, provider::ProviderCommand::Run(_) | provider::ProviderCommand::Serve)
        }
        Command::Version => false,
    }
}

/// Runs the command that was asked for.
pub async fn run(args: &Args) -> Outcome {
    match &args.command {
        #[cfg(feature = "operator")]
        Command::Operator(command) => operator::run(args, command).await,
        Command::Host(command) => host::run(args, command).await,
        Command::Provider(command) => provider::run(args, command).await,
        Command::Version => version::run(args),
    }
}
