//! `trellis completions SHELL`: a script for the shell, on standard output.

use crate::args::Args;
use crate::commands::Outcome;
use crate::output;
use clap::CommandFactory;
use clap_complete::Shell;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints it.
pub fn run(completions: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Args::command(), "trellis", &mut script);
    output::raw(&String::from_utf8_lossy(&script));
    Ok(())
}
