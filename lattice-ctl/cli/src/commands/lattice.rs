//! `trellis lattice …`: the root of trust of a lattice, on this machine's disk.

use crate::args::Args;
use crate::commands::Outcome;
use crate::connect::Login;
use crate::lattice_dir::{LatticeDir, LatticeFile};
use crate::{compose, home, output};
use clap::Subcommand;
use lattice_ctl_controller::incarnation;
use lattice_ctl_controller::records::{Author, Records};
use lattice_protocol::subject::check_subject;
use lattice_protocol::{DomainName, HostId, LatticeName};
use serde_json::json;
use std::collections::BTreeMap;
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
        /// JetStream domain of its own servers, which then have it in their configuration. Needed where sites have
        /// domains of their own: hosts there find the lattice by it.
        #[arg(long, value_name = "NAME")]
        domain: Option<DomainName>,
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
        /// JetStream domain of the host's site, for persistent actors whose manifest names it; may be repeated. Of a
        /// host that is enrolled already its bundle is to be copied anew.
        #[arg(long = "domain", value_name = "NAME")]
        domains: Vec<DomainName>,
        /// Where to write the bundle.
        #[arg(long, value_name = "DIR")]
        bundle: Option<PathBuf>,
    },
    /// After the lattice's store was restored from a backup: begin its next life, so that hosts obey
    /// the restored records instead of refusing them as older than what they have.
    Recover {
        /// The lattice's directory: its controller key signs.
        #[arg(long, default_value = "trellis-lattice")]
        dir: PathBuf,
        /// Why, for the audit stream.
        #[arg(long, default_value = "restored from a backup", value_name = "TEXT")]
        reason: String,
    },
}

/// Runs it.
pub async fn run(args: &Args, command: &LatticeCommand) -> Outcome {
    match command {
        LatticeCommand::Init { dir, name, nats, hosts, domain, subjects } => {
            for subject in subjects {
                check_subject(subject, true)?;
            }
            let directory = LatticeDir::at(dir);
            let file = LatticeFile {
                lattice: name.clone(),
                nats_url: nats.clone(),
                domain: domain.clone(),
                subjects: subjects.clone(),
                site_domains: BTreeMap::new(),
                hosts: hosts.iter().cloned().collect(),
                account: None,
                incarnation: None,
                revoked_users: BTreeMap::new(),
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
                    "compilers": trust.compilers,
                    "serverAuth": directory.server_auth(), "hosts": hosts,
                }));
            }
            Ok(())
        }
        LatticeCommand::Recover { dir, reason } => recover(args, &LatticeDir::at(dir), reason).await,
        LatticeCommand::Enroll { host, dir, domains, bundle } => {
            let directory = LatticeDir::at(dir);
            directory.enroll(host, domains)?;
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
                output::json(&json!({ "host": host, "dir": dir, "domains": domains, "bundle": bundle }));
            }
            Ok(())
        }
    }
}

async fn recover(args: &Args, dir: &LatticeDir, reason: &str) -> Outcome {
    let (file, signer) = (dir.file()?, dir.controller_key()?);
    let login = Login::of_dir(dir, "controller")?.told(args);
    let nats = login.connect(false).await?;
    let records = Records::new(nats.lattice(), file.lattice.clone());
    let author = Author {
        by: home::who(),
        origin: login.name.clone(),
        event_id: compose::boot_id()?,
        now_unix_ms: home::now_unix_ms(),
        details: json!({ "via": "records" }),
    };
    let recorded = file.incarnation.unwrap_or(0);
    let begun = incarnation::recover(&records, &signer, &author, (recorded, reason)).await;
    nats.close().await;
    let begun = begun?;
    dir.set_incarnation(begun.incarnation)?;
    output::say(args, format!("lattice {} is in its life {}", file.lattice, begun.incarnation));
    output::say(args, "  hosts obey what the restored records say as soon as a controller runs");
    if args.output == output::Format::Json {
        output::json(&begun);
    }
    Ok(())
}
