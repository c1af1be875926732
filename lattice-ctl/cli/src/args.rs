//! The command line. Each noun has its arguments beside its commands (`commands/<noun>.rs`); here
//! are the ones that every command takes, and the table of commands.

use crate::commands;
use crate::output::Format;
use clap::{Parser, Subcommand};
use lattice_protocol::LatticeName;
use std::path::PathBuf;

/// Run signed WebAssembly actors on a lattice of cloud and edge hosts.
#[derive(Debug, Parser)]
#[command(name = "trellis", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit status: 0 done, 1 a defect of ours, 2 usage or manifest, 3 trust, 4 denied, \
5 not found, 6 resources, 7 somebody else was first, 8 input or output, 9 timeout.")]
pub struct Args {
    /// How to print: a table for people, or one JSON document.
    #[arg(long, short = 'o', global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// NATS server of the lattice.
    #[arg(long, global = true, env = "TRELLIS_NATS_URL", value_name = "URL")]
    pub nats_url: Option<String>,
    /// Credentials (`.creds`) of a NATS user.
    #[arg(long, global = true, env = "TRELLIS_NATS_CREDS", value_name = "FILE")]
    pub nats_creds: Option<PathBuf>,
    /// Name of the lattice.
    #[arg(long, global = true, env = "TRELLIS_LATTICE", value_name = "NAME")]
    pub lattice: Option<LatticeName>,
    /// Which saved context to use.
    #[arg(long, global = true, env = "TRELLIS_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Say more (twice: everything).
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the keys, users and server configuration of a lattice.
    #[command(subcommand)]
    Lattice(commands::lattice::LatticeCommand),
    /// Let people use the controllers' API, and sign requests to it.
    #[command(subcommand)]
    User(commands::user::UserCommand),
    /// Start a lattice on this machine (NATS server, controller, host), or join one as a host.
    Up(Box<commands::up::UpArgs>),
    /// End what `up` started in this directory.
    Down(commands::down::DownArgs),
    /// Run a host in this terminal.
    Host(commands::host::HostArgs),
    /// Run a provider in a process of its own.
    #[command(subcommand)]
    Provider(commands::provider::ProviderCommand),
    /// Run a controller in this terminal.
    Controller(commands::controller::ControllerArgs),
    /// Serve an application in this one process, without NATS.
    Run(commands::run::RunArgs),
    /// Build, sign and serve an application here, again on every change.
    Dev(commands::dev::DevArgs),
    /// Make a project.
    New(commands::new::NewArgs),
    /// Build and sign the project in this directory.
    Build(commands::build::BuildArgs),
    /// Show what a component is, without running it.
    Inspect(commands::inspect::InspectArgs),
    /// Sign components; show and verify claims.
    #[command(subcommand)]
    Claim(commands::claim::ClaimCommand),
    /// Make, list and show keys.
    #[command(subcommand)]
    Keys(commands::keys::KeysCommand),
    /// Deploy applications from manifests, and watch them.
    #[command(subcommand)]
    App(commands::app::AppCommand),
    /// Show where an actor runs, and what speaks for and against each host.
    Why(commands::app::WhyArgs),
    /// Show hosts, actors, claims, links, inventory, applications, events.
    #[command(subcommand)]
    Get(commands::get::GetCommand),
    /// Start an actor or a provider.
    #[command(subcommand)]
    Start(commands::start::StartCommand),
    /// Stop an actor, a provider or a host.
    #[command(subcommand)]
    Stop(commands::stop::StopCommand),
    /// Change how many of an actor run, and where.
    #[command(subcommand)]
    Scale(commands::scale::ScaleCommand),
    /// Put, delete and query links.
    #[command(subcommand)]
    Link(commands::link::LinkCommand),
    /// Store, list, share and delete secrets that manifests refer to.
    #[command(subcommand)]
    Secret(commands::secret::SecretCommand),
    /// Call an actor, or have a persistent actor carry out a command.
    Call(commands::call::CallArgs),
    /// Ask a persistent actor something; nothing is stored.
    Query(commands::query::QueryArgs),
    /// Move a persistent actor, with the shard that it is in, to another host.
    Migrate(commands::migrate::MigrateArgs),
    /// Look into persistent actors: state, journal, time travel, what was set aside.
    #[command(subcommand)]
    Actor(commands::actor::ActorCommand),
    /// Send one message on the lattice's bus.
    Publish(commands::publish::PublishArgs),
    /// Store a component in the lattice, or in an OCI registry.
    Push(commands::push::PushArgs),
    /// Fetch a component from the lattice, or from an OCI registry.
    Pull(commands::push::PullArgs),
    /// Save and select where commands connect.
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Check what this machine needs.
    Doctor,
    /// Print a script of completions for a shell.
    Completions(commands::completions::CompletionsArgs),
    /// Print the version.
    Version,
}

#[cfg(test)]
mod page;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    /// Clap checks a command only when it is used: two arguments of one name would be seen late.
    #[test]
    fn every_command_line_is_well_formed() {
        super::Args::command().debug_assert();
    }
}
