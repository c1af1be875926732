//! What operators and developers do: every command but those of a gateway.

use super::*;
use clap::Subcommand;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make the keys, users and server configuration of a lattice.
    #[command(subcommand)]
    Lattice(lattice::LatticeCommand),
    /// Let people use the controllers' API, and sign requests to it.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Start a lattice on this machine (NATS server, controller, host), or join one as a host.
    Up(Box<up::UpArgs>),
    /// End what `up` started in this directory.
    Down(down::DownArgs),
    /// Run a controller in this terminal.
    Controller(controller::ControllerArgs),
    /// Serve an application in this one process, without NATS.
    Run(run::RunArgs),
    /// Build, sign and serve an application here, again on every change.
    Dev(dev::DevArgs),
    /// Make a project.
    New(new::NewArgs),
    /// Build and sign the project in this directory.
    Build(build::BuildArgs),
    /// Compile components for hosts that compile nothing, and leave the code in the lattice.
    Compile(compile::CompileArgs),
    /// Show what a component is, without running it.
    Inspect(inspect::InspectArgs),
    /// Sign components; show and verify claims.
    #[command(subcommand)]
    Claim(claim::ClaimCommand),
    /// Make, list and show keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Deploy applications from manifests, and watch them.
    #[command(subcommand)]
    App(app::AppCommand),
    /// Show where an actor runs, and what speaks for and against each host.
    Why(app::WhyArgs),
    /// Show hosts, actors, claims, links, inventory, applications, events.
    #[command(subcommand)]
    Get(get::GetCommand),
    /// Start an actor or a provider.
    #[command(subcommand)]
    Start(start::StartCommand),
    /// Stop an actor, a provider or a host.
    #[command(subcommand)]
    Stop(stop::StopCommand),
    /// Change how many of an actor run, and where.
    #[command(subcommand)]
    Scale(scale::ScaleCommand),
    /// Put, delete and query links.
    #[command(subcommand)]
    Link(link::LinkCommand),
    /// Store, list, share and delete secrets that manifests refer to.
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Call an actor, or have a persistent actor carry out a command.
    Call(call::CallArgs),
    /// Ask a persistent actor something; nothing is stored.
    Query(query::QueryArgs),
    /// Move a persistent actor, with the shard that it is in, to another host.
    Migrate(migrate::MigrateArgs),
    /// Look into persistent actors: state, journal, time travel, what was set aside.
    #[command(subcommand)]
    Actor(actor::ActorCommand),
    /// Send one message on the lattice's bus.
    Publish(publish::PublishArgs),
    /// Store a component in the lattice, or in an OCI registry.
    Push(push::PushArgs),
    /// Fetch a component from the lattice, or from an OCI registry.
    Pull(push::PullArgs),
    /// List what the lattice's store keeps, and remove what nobody needs.
    #[command(subcommand)]
    Artifact(artifact::ArtifactCommand),
    /// Save and select where commands connect.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Check what this machine needs.
    Doctor,
    /// Print a script of completions for a shell.
    Completions(completions::CompletionsArgs),
}

impl OperatorCommand {
    /// Does it stay and serve?
    pub fn serves(&self) -> bool {
        matches!(self, Self::Controller(_) | Self::Run(_) | Self::Dev(_) | Self::Up(_))
    }
}

/// Runs the command that was asked for.
pub async fn run(args: &Args, command: &OperatorCommand) -> Outcome {
    match command {
        OperatorCommand::Lattice(command) => lattice::run(args, command).await,
        OperatorCommand::User(command) => user::run(args, command).await,
        OperatorCommand::Up(command) => Box::pin(up::run(args, command)).await,
        OperatorCommand::Down(command) => down::run(args, command).await,
        OperatorCommand::Controller(command) => controller::run(args, command).await,
        OperatorCommand::Run(command) => run::run(args, command).await,
        OperatorCommand::Dev(command) => dev::run(args, command).await,
        OperatorCommand::New(command) => new::run(args, command),
        OperatorCommand::Build(command) => build::run(args, command).await,
        OperatorCommand::Compile(command) => compile::run(args, command).await,
        OperatorCommand::Inspect(command) => inspect::run(args, command),
        OperatorCommand::Claim(command) => claim::run(args, command),
        OperatorCommand::Keys(command) => keys::run(args, command),
        OperatorCommand::App(command) => app::run(args, command).await,
        OperatorCommand::Why(command) => app::why(args, command).await,
        OperatorCommand::Get(command) => get::run(args, command).await,
        OperatorCommand::Start(command) => start::run(args, command).await,
        OperatorCommand::Stop(command) => stop::run(args, command).await,
        OperatorCommand::Scale(command) => scale::run(args, command).await,
        OperatorCommand::Link(command) => link::run(args, command).await,
        OperatorCommand::Secret(command) => secret::run(args, command).await,
        OperatorCommand::Actor(command) => actor::run(args, command).await,
        OperatorCommand::Call(command) => call::run(args, command).await,
        OperatorCommand::Migrate(command) => migrate::run(args, command).await,
        OperatorCommand::Query(command) => query::run(args, command).await,
        OperatorCommand::Publish(command) => publish::run(args, command).await,
        OperatorCommand::Push(command) => push::push(args, command).await,
        OperatorCommand::Pull(command) => push::pull(args, command).await,
        OperatorCommand::Artifact(command) => artifact::run(args, command).await,
        OperatorCommand::Config(command) => config::run(args, command),
        OperatorCommand::Doctor => doctor::run(args).await,
        OperatorCommand::Completions(command) => completions::run(command),
    }
}
