//! `trellis provider …`: a provider in a process of its own. A host starts its own (`serve`); by
//! hand, `run` serves one for the whole lattice, from any machine that reaches NATS, as itself or
//! with the membership that `enroll` made for it.

use crate::args::Args;
use crate::commands::Outcome;
use crate::commands::host::label;
use crate::lattice_dir::LatticeDir;
use crate::{compose, keyfile, output};
use clap::Subcommand;
use keys::{KeyKind, KeyPair, PublicKey};
use lattice_protocol::permission::ProviderRole;
use lattice_protocol::provider::{Place, process_name};
use lattice_protocol::{ErrorCode, LatticeName, ProviderId, Report};
use providers_sdk::process::{self, Launch, Membership};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Serve a provider for the lattice, until Ctrl-C (`run: remote` in the manifest).
    Run(RunArgs),
    /// Make the membership that one provider needs on a machine of its own.
    Enroll {
        /// Which provider, as manifests link to it: application/name.
        id: ProviderId,
        /// Its kind, which decides what its NATS user may do.
        #[arg(long)]
        kind: String,
        /// The lattice's directory.
        #[arg(long, default_value = "trellis-lattice")]
        dir: PathBuf,
        /// Where to write it. Whoever has this file is the provider.
        #[arg(long = "to", value_name = "FILE")]
        to: PathBuf,
    },
    /// Serve what standard input says: how a host runs its own.
    #[command(hide = true)]
    Serve,
}

/// How to run one.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Which provider, as manifests link to it: application/name.
    #[arg(long, required_unless_present = "membership")]
    pub id: Option<ProviderId>,
    /// Which implementation: keyvalue-redis, http-server, …
    #[arg(long, required_unless_present = "membership")]
    pub kind: Option<String>,
    /// A value of its configuration; may be repeated.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = label)]
    pub config: Vec<(String, String)>,
    /// The lattice's directory, or a host's bundle of it.
    #[arg(long, default_value = "trellis-lattice")]
    pub dir: PathBuf,
    /// The file that `provider enroll` made, instead of the directory.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "kind", "dir"])]
    pub membership: Option<PathBuf>,
    /// Where it keeps its files.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// One provider's place in a lattice: what `enroll` writes and `run` reads. Secret.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Enrolled {
    lattice: LatticeName,
    id: ProviderId,
    kind: String,
    membership: Membership,
    seed: String,
}

impl Enrolled {
    fn new(dir: &LatticeDir, id: &ProviderId, kind: &str) -> Result<(Self, PublicKey), Report> {
        let file = dir.file()?;
        let role = ProviderRole::of_kind(kind);
        let membership = dir.membership(role, &process_name(id, &Place::Shared), &file.nats_url)?;
        let key = keyfile::generate(KeyKind::Provider)?;
        let seed = key.seed().to_string();
        let enrolled =
            Self { lattice: file.lattice, id: id.clone(), kind: kind.to_owned(), membership, seed };
        Ok((enrolled, key.public()))
    }

    fn read(path: &Path) -> Result<Self, Report> {
        let text = std::fs::read(path).map(zeroize::Zeroizing::new);
        let text = text.map_err(|error| output::file_report("read the membership", path, &error))?;
        // The error's words could quote a secret.
        serde_json::from_slice(&text).map_err(|_| {
            Report::new(ErrorCode::Config, "not a provider's membership")
                .at(path.display())
                .hint("make one: trellis provider enroll <application/name> --kind … --to <file>")
        })
    }

    fn launch(self, run: &RunArgs) -> Launch {
        let data_dir = run.data_dir.clone().unwrap_or_else(|| {
            PathBuf::from("trellis-provider").join(self.id.app.as_str()).join(self.id.name.as_str())
        });
        Launch {
            lattice: self.lattice,
            id: self.id,
            place: Place::Shared,
            kind: self.kind,
            config: run.config.iter().cloned().collect(),
            data_dir,
            membership: self.membership,
            seed: self.seed,
        }
    }
}

/// Runs it.
pub async fn run(args: &Args, command: &ProviderCommand) -> Outcome {
    match command {
        ProviderCommand::Run(run) => serve_by_hand(args, run).await,
        ProviderCommand::Serve => process::run(compose::factories, compose::asked_to_end()).await,
        ProviderCommand::Enroll { id, kind, dir, to } => {
            let (enrolled, key) = Enrolled::new(&LatticeDir::at(dir), id, kind)?;
            let text = serde_json::to_vec_pretty(&enrolled).map(zeroize::Zeroizing::new);
            let text = text.map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
            keyfile::write_secret(to, &text)?;
            output::say(args, format!("provider {id} is enrolled, with the key {key}"));
            output::say(args, format!("  copy {} to its machine, then there:", to.display()));
            output::say(args, "  trellis provider run --membership <it> --config key=value");
            output::say(args, format!("  in the manifest: run: remote, config: {{ key: {key} }}"));
            if args.output == output::Format::Json {
                output::json(&json!({ "id": id, "kind": kind, "key": key, "membership": to }));
            }
            Ok(())
        }
    }
}

async fn serve_by_hand(args: &Args, run: &RunArgs) -> Outcome {
    let mut enrolled = match (&run.membership, &run.id, &run.kind) {
        (Some(path), ..) => Enrolled::read(path)?,
        (None, Some(id), Some(kind)) => Enrolled::new(&LatticeDir::at(&run.dir), id, kind)?.0,
        _ => return Err(Report::new(ErrorCode::Usage, "--id and --kind, or --membership")),
    };
    if let Some(url) = &args.nats_url {
        enrolled.membership.url.clone_from(url);
    }
    let id = enrolled.id.clone();
    let key = KeyPair::from_seed(&enrolled.seed).map(|key| key.public());
    let serving = process::start(enrolled.launch(run), compose::factories).await.map_err(|report| {
        let code = ErrorCode::ProviderStart;
        Report { code, ..report }.during("provider start failed").at(&id)
    })?;
    let listens =
        serving.description.listen.map_or_else(String::new, |address| format!(", listening on {address}"));
    output::say(args, format!("provider {id} is up{listens}"));
    if let Ok(key) = key {
        output::say(args, format!("  its key: {key}"));
    }
    tokio::select! {
        () = compose::asked_to_end() => {}
        () = serving.failed() => {}
    }
    output::say(args, format!("provider {id} is leaving"));
    serving.end().await;
    Ok(())
}
