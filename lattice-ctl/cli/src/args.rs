//! The command line. Each noun has its arguments beside its commands (`commands/<noun>.rs`); here
//! are the ones that every command takes, and the table of commands.

use crate::commands;
use crate::output::Format;
use clap::{Parser, Subcommand};
use lattice_protocol::{DomainName, LatticeName};
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
    /// JetStream domain of the lattice, where the server is of another: a site's leaf node.
    #[arg(long, global = true, env = "TRELLIS_NATS_DOMAIN", value_name = "NAME")]
    pub nats_domain: Option<DomainName>,
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
    /// What operators and developers do.
    #[cfg(feature = "operator")]
    #[command(flatten)]
    Operator(commands::operator::OperatorCommand),
    /// Run a host in this terminal.
    Host(commands::host::HostArgs),
    /// Run a provider in a process of its own.
    #[command(subcommand)]
    Provider(commands::provider::ProviderCommand),
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
