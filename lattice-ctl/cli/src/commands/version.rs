//! `trellis version`: of this program, and of the server it would talk to.

use crate::args::Args;
use crate::commands::Outcome;
use crate::output;
use serde_json::json;

/// Prints it.
pub fn run(args: &Args) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    output::say(args, format!("trellis {version} ({} {})", std::env::consts::ARCH, std::env::consts::OS));
    if args.output == output::Format::Json {
        output::json(&json!({
            "version": version, "arch": std::env::consts::ARCH, "os": std::env::consts::OS,
            "callFrame": lattice_protocol::invocation::FRAME_VERSION,
            "manifest": lattice_protocol::manifest::API_VERSION,
        }));
    }
    Ok(())
}
