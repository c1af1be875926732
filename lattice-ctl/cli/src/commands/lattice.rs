//! `trellis lattice …`: the root of trust of a lattice, on this machine's disk.

use crate::args::Args;
use crate::commands::Outcome;
use crate::lattice_dir::{LatticeDir, LatticeFile};
use crate::output;
use clap::Subcommand;
use lattice_protocol::subject::check_subject;
use lattice_protocol::{HostId, LatticeName};
use serde_json::json;
use std::path::PathBuf;

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum LatticeCommand {
    /// Make keys, users, and the NATS server's configuration. What exists is kept.
    Init {
        /// Where; keep it safe: whoever has it controls the lattice.
        #[arg(long, default_value = "trellis-lattice")]
        dir: PathBuf,
        /// Name of the lattice.
        #[arg(long, default_value = "default")]
        name: LatticeName,
        /// Where its NATS server is (or will be).
        #[arg(long, default_value = "nats://127.0.0.1:4222", value_name = "URL")]
        nats: String,
        /// A host to enrol; may be repeated.
        #[arg(long = "host", value_name = "ID")]
        hosts: Vec<HostId>,
        /// Subjects that actors may be linked to, separated by commas.
        #[arg(long, value_delimiter = ',', default_value = "edge.>,cloud.>,app.>")]
        subjects: Vec<String>,
    },
    /// Enrol a host: make its NATS user, and a bundle to copy to it.
    Enroll {
        /// Its id.
        host: HostId,
        /// The lattice's directory.
        #[arg(long, default_value = "trellis-lattice")]
        dir: PathBuf,
        /// Where to write the bundle.
        #[arg(long, value_name = "DIR")]
        bundle: Option<PathBuf>,
    },
}

/// Runs it.
pub fn run(args: &Args, command: &LatticeCommand) -> Outcome {
    match command {
        LatticeCommand::Init { dir, name, nats, hosts, subjects } => {
            for subject in subjects {
                check_subject(subject, true)?;
            }
            let directory = LatticeDir::at(dir);
            let file = LatticeFile {
                lattice: name.clone(),
                nats_url: nats.clone(),
                subjects: subjects.clone(),
                hosts: hosts.iter().cloned().collect(),
                account: None,
            };
            directory.init(&file)?;
            let trust = directory.trust()?;
            output::say(args, format!("lattice {name} is in {}", dir.display()));
            output::say(
                args,
                format!(
                    "  start its server:   nats-server with include {}",
                    directory.server_auth().display()
                ),
            );
            output::say(args, format!("  start a controller: trellis controller --dir {}", dir.display()));
            output::say(
                args,
                format!("  start a host:       trellis host --dir {} --host-id <id>", dir.display()),
            );
            if args.output == output::Format::Json {
                output::json(&json!({
                    "dir": dir, "lattice": name, "issuers": trust.issuers, "controllers": trust.controllers,
                    "serverAuth": directory.server_auth(), "hosts": hosts,
                }));
            }
            Ok(())
        }
        LatticeCommand::Enroll { host, dir, bundle } => {
            let directory = LatticeDir::at(dir);
            directory.enroll(host)?;
            if let Some(bundle) = bundle {
                directory.write_bundle(host, bundle)?;
                output::say(
                    args,
                    format!(
                        "copy {} to the host, then there: trellis host --dir <it> --host-id {host}",
                        bundle.display()
                    ),
                );
            }
            output::say(args, format!("host {host} is enrolled"));
            if args.output == output::Format::Json {
                output::json(&json!({ "host": host, "dir": dir, "bundle": bundle }));
            }
            Ok(())
        }
    }
}
