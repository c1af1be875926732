//! `trellis run app.yaml`: the application in this one process. The lattice is the one in memory,
//! the controller and the host are the ones that serve everywhere: same links, same claims, same
//! specs, no NATS.

use crate::app_files::{PreparedApp, Unsigned};
use crate::args::Args;
use crate::commands::host::label;
use crate::commands::{Outcome, controller};
use crate::{artifacts, compose, keyfile, output};
use host_daemon::control::Snapshot;
use host_daemon::{HostConfig, HostHandle};
use keys::{Digest, KeyKind, PublicKey, TrustAnchors};
use lattice_ctl_planner::edit;
use lattice_ctl_planner::observed::Profile;
use lattice_io::memory::Memory;
use lattice_io::{Clock, KvOptions, Lattice, Replicas, SystemClock, TaskScope};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ActorId, ErrorCode, Generation, HostId, LatticeName, Report};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The manifest.
    pub manifest: PathBuf,
    /// Sign unsigned components with a development key, made when there is none.
    #[arg(long)]
    pub sign: bool,
    /// Trust components of this account (`A…`); may be repeated.
    #[arg(long = "trust-issuer", value_name = "KEY")]
    pub issuers: Vec<String>,
    /// Keep its data here; without it, in a directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Secrets that the manifest refers to: a directory of files of mode 0600, each by its name.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Address that HTTP servers listen on when the manifest names none.
    #[arg(long, default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// The host's id, as actors see it.
    #[arg(long, default_value = "local", value_name = "ID")]
    pub host_id: HostId,
    /// A label of the host; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Memory for actors, MiB.
    #[arg(long, default_value_t = 512)]
    pub memory_mib: u64,
    /// Give up when not everything runs within this many seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub ready_within: u64,
}

/// A temporary directory, removed when the process ends in order.
struct Scratch(Option<PathBuf>);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What is left is in the system's temporary directory.
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

/// The one process.
pub struct OneProcess {
    /// Its host.
    pub host: HostHandle,
    scope: TaskScope,
    lattice: Lattice,
    name: LatticeName,
    _scratch: Scratch,
}

impl OneProcess {
    /// Starts controller and host over a lattice in memory.
    pub async fn start(run: &RunArgs, issuers: BTreeSet<PublicKey>) -> Result<Self, Report> {
        let name = LatticeName::new("local")?;
        let (data_dir, scratch) = match &run.data_dir {
            Some(path) => (path.clone(), Scratch(None)),
            None => {
                let path = std::env::temp_dir().join(format!("trellis-run-{}", compose::boot_id()?));
                (path.clone(), Scratch(Some(path)))
            }
        };
        let lattice = Memory::new().lattice();
        let scope = TaskScope::new("trellis");
        let signer = keyfile::generate(KeyKind::Account)?;
        let mut config = HostConfig::new(name.clone(), run.host_id.clone(), data_dir);
        config.controllers = [signer.public()].into();
        config.trust = TrustAnchors::new(issuers, Default::default())
            .map_err(|error| Report::new(ErrorCode::Config, error.to_string()).at("--trust-issuer"))?;
        config.listen = run.listen;
        config.secrets.dir.clone_from(&run.secrets_dir);
        config.labels = run.labels.iter().cloned().collect();
        config.memory_bytes = run.memory_mib.saturating_mul(1 << 20);
        config.heartbeat = Duration::from_millis(500);
        let host = compose::host(config, lattice.clone(), None, &scope).await?;
        controller::start(name.clone(), signer, (Profile::ALONE, None), lattice.clone(), &scope).await?;
        Ok(Self { host, scope, lattice, name, _scratch: scratch })
    }

    /// Puts an application, as `app deploy` does on a lattice. Gives the generation after which
    /// the host knows of it: what it says until then is about another.
    pub async fn deploy(&self, app: &PreparedApp) -> Result<Generation, Report> {
        let before = self.host.snapshot().borrow().generation;
        let subjects = Subjects::new(self.name.clone());
        let store = self.lattice.blobs.open(&subjects.artifact_store(), Replicas::One).await?;
        for file in app.files.values() {
            store.put(Digest::of(file), file.clone()).await?;
        }
        let bucket = self.lattice.kv.open(&subjects.desired_bucket(), KvOptions::default()).await?;
        let key = app.application.name.as_str();
        let have = bucket.get_latest(key).await?;
        let previous = have.as_ref().and_then(|entry| serde_json::from_slice(&entry.value).ok());
        let artifacts = app.artifacts();
        let put = edit::put(&app.application.name, previous.as_ref(), (&app.application, &artifacts), true);
        let mut record = put?.record;
        // A version of its own even if nothing differs: whoever serves waits for it.
        record.stamp("trellis run", SystemClock::new().unix_ms(), "put");
        let value = serde_json::to_vec(&record)
            .map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
        bucket.put(key, value.into()).await?;
        Ok(before)
    }

    /// Waits until every actor and provider of the application runs, or until one of them never
    /// will as it is.
    ///
    /// # Errors
    /// The first reason that an actor or a provider gives; `E_TIMEOUT` when none gives one.
    pub async fn ready(&self, app: &PreparedApp, since: Generation, within: Duration) -> Result<(), Report> {
        // These very files: a generation is in force before what it replaces has gone.
        let wanted: Vec<(&ActorId, String)> =
            app.files.iter().map(|(id, file)| (id, Digest::of(file).to_string())).collect();
        let runs = |now: &Snapshot, (id, digest): &(&ActorId, String)| {
            now.actor(id).is_some_and(|status| status.digest == *digest)
        };
        let is_ready = |now: &Snapshot| now.is_settled() && wanted.iter().all(|each| runs(now, each));
        // A provider is tried again as long as its host lives; who waits for it here wants to know.
        let ends = |reason: &Report| reason.code.is_final() || reason.code == ErrorCode::ProviderStart;
        let mut snapshots = self.host.snapshot();
        let over = snapshots.wait_for(|now| {
            now.generation > since && (is_ready(now) || now.reasons().any(|reason| ends(&reason)))
        });
        // Elapsed: what is known now is the answer.
        let _ = tokio::time::timeout(within, over).await;
        let now = Arc::clone(&*self.host.snapshot().borrow());
        let reasons: Vec<Report> = now.reasons().collect();
        let first = reasons.iter().position(ends).unwrap_or(0);
        match reasons.into_iter().nth(first) {
            Some(reason) => Err(reason),
            None if is_ready(&now) => Ok(()),
            None => Err(Report::new(ErrorCode::Timeout, "application is not running")
                .at(&app.application.name)
                .got("no reason so far")
                .limit(format!("{} s", within.as_secs()))
                .hint("give it more time with --ready-within, or see its log")),
        }
    }

    /// Ends it in order.
    pub async fn shutdown(self) -> Result<(), Report> {
        let ended = self.host.shutdown().await;
        self.scope.shutdown(Duration::from_secs(5)).await;
        ended
    }
}

/// Runs it.
pub async fn run(args: &Args, run: &RunArgs) -> Outcome {
    let (development, mut issuers) = trusted(args, run)?;
    let unsigned = development.as_ref().map_or(Unsigned::Refuse, Unsigned::Sign);
    let app = artifacts::prepare(args, &run.manifest, unsigned).await?;
    issuers.extend(development.as_ref().map(keys::KeyPair::public));
    let process = OneProcess::start(run, issuers).await?;
    let since = process.deploy(&app).await?;
    process.ready(&app, since, Duration::from_secs(run.ready_within)).await?;
    for provider in process.host.heartbeat().providers.iter().filter_map(|provider| provider.listen.as_ref())
    {
        output::say(args, format!("listening on http://{provider}"));
    }
    output::say(args, format!("{} runs; Ctrl-C ends it", app.application.name));
    tokio::select! {
        () = process.host.leaving() => {}
        () = compose::asked_to_end() => {}
    }
    process.shutdown().await
}

/// The development key, when signing is asked for, and the accounts that are trusted.
fn trusted(args: &Args, run: &RunArgs) -> Result<(Option<keys::KeyPair>, BTreeSet<PublicKey>), Report> {
    let issuers = run
        .issuers
        .iter()
        .map(|text| {
            text.parse::<PublicKey>()
                .map_err(|error| Report::new(ErrorCode::Name, error.to_string()).at("--trust-issuer"))
        })
        .collect::<Result<BTreeSet<_>, _>>()?;
    if !run.sign {
        if issuers.is_empty() {
            return Err(Report::new(ErrorCode::Config, "no issuer is trusted, so nothing could run").hint(
                "name the account that signed (--trust-issuer A…), or sign with a development key (--sign)",
            ));
        }
        return Ok((None, issuers));
    }
    let path = crate::context::home()?.join("keys").join("development.nk");
    let (key, made) = keyfile::read_or_make(&path, KeyKind::Account)?;
    if made {
        output::say(args, format!("made a development key: {}", path.display()));
    }
    Ok((Some(key), issuers))
}
