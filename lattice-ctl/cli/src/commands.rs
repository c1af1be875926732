//! One file per noun. A command takes its arguments and the global ones, prints what it has to
//! say through [`crate::output`], and ends in a report or in success.

pub mod actor;
pub mod app;
pub mod build;
pub mod call;
pub mod claim;
pub mod completions;
pub mod config;
pub mod controller;
pub mod dev;
pub mod doctor;
pub mod down;
pub mod entity;
pub mod events;
pub mod get;
pub mod host;
pub mod inspect;
pub mod keys;
pub mod lattice;
pub mod link;
pub mod migrate;
pub mod new;
pub mod provider;
pub mod publish;
pub mod push;
pub mod query;
pub mod run;
pub mod scale;
pub mod secret;
pub mod start;
pub mod stop;
pub mod up;
pub mod user;
pub mod version;

use crate::args::{Args, Command};
use lattice_protocol::Report;

/// What a command gives.
pub type Outcome = Result<(), Report>;

/// Does the command stay and serve? Then its log is part of what people watch.
pub fn serves(command: &Command) -> bool {
    matches!(
        command,
        Command::Host(_)
            | Command::Controller(_)
            | Command::Run(_)
            | Command::Dev(_)
            | Command::Up(_)
            | Command::Provider(provider::ProviderCommand::Run(_) | provider::ProviderCommand::Serve)
    )
}

/// Runs the command that was asked for.
pub async fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Lattice(command) => lattice::run(args, command).await,
        Command::User(command) => user::run(args, command).await,
        Command::Up(command) => Box::pin(up::run(args, command)).await,
        Command::Down(command) => down::run(args, command).await,
        Command::Host(command) => host::run(args, command).await,
        Command::Provider(command) => provider::run(args, command).await,
        Command::Controller(command) => controller::run(args, command).await,
        Command::Run(command) => run::run(args, command).await,
        Command::Dev(command) => dev::run(args, command).await,
        Command::New(command) => new::run(args, command),
        Command::Build(command) => build::run(args, command).await,
        Command::Inspect(command) => inspect::run(args, command),
        Command::Claim(command) => claim::run(args, command),
        Command::Keys(command) => keys::run(args, command),
        Command::App(command) => app::run(args, command).await,
        Command::Why(command) => app::why(args, command).await,
        Command::Get(command) => get::run(args, command).await,
        Command::Start(command) => start::run(args, command).await,
        Command::Stop(command) => stop::run(args, command).await,
        Command::Scale(command) => scale::run(args, command).await,
        Command::Link(command) => link::run(args, command).await,
        Command::Secret(command) => secret::run(args, command).await,
        Command::Actor(command) => actor::run(args, command).await,
        Command::Call(command) => call::run(args, command).await,
        Command::Migrate(command) => migrate::run(args, command).await,
        Command::Query(command) => query::run(args, command).await,
        Command::Publish(command) => publish::run(args, command).await,
        Command::Push(command) => push::push(args, command).await,
        Command::Pull(command) => push::pull(args, command).await,
        Command::Config(command) => config::run(args, command),
        Command::Doctor => doctor::run(args).await,
        Command::Completions(command) => completions::run(command),
        Command::Version => version::run(args),
    }
}
