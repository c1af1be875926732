//! `trellis dev [app.yaml]`: builds, signs and serves the application in this process, and does it
//! again whenever a source changes. The new component replaces the old one in the running host; a
//! change that does not build leaves the old one serving.

use crate::app_files::{self, Unsigned};
use crate::args::Args;
use crate::commands::Outcome;
use crate::commands::run::{OneProcess, RunArgs};
use crate::project::{self, Profile};
use crate::{artifacts, compose, output, signing};
use keys::KeyPair;
use lattice_protocol::Report;
use notify::{RecursiveMode, Watcher};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Changes that come closer together than this are one.
const QUIET: Duration = Duration::from_millis(80);
/// Longest wait for the application to run after a build.
const READY: Duration = Duration::from_secs(60);

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// The manifest.
    #[arg(default_value = "app.yaml")]
    pub manifest: PathBuf,
    /// Address that HTTP servers listen on when the manifest names none.
    #[arg(long, default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// Secrets that the manifest refers to: a directory of files of mode 0600, each by its name.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Keep data here from one run to the next.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

fn project_dir(manifest: &Path) -> PathBuf {
    match manifest.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Watches what a build depends on. Events come as units: what changed does not matter.
fn watch(dir: &Path, manifest: &Path) -> Result<(notify::RecommendedWatcher, mpsc::Receiver<()>), Report> {
    let (sender, changes) = mpsc::channel(1);
    let failed = |error: notify::Error| {
        Report::new(lattice_protocol::ErrorCode::Io, format!("could not watch the sources: {error}"))
            .at(dir.display())
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let changed = event.is_ok_and(|event| {
            let written = event.kind.is_modify() || event.kind.is_create() || event.kind.is_remove();
            written
                && !event.paths.iter().all(|path| path.components().any(|part| part.as_os_str() == "target"))
        });
        if changed {
            // Full: a change is already waiting to be seen.
            let _ = sender.try_send(());
        }
    })
    .map_err(failed)?;
    let folders = [dir.join("src"), dir.join("wit")].into_iter().chain(crates_below(dir));
    let files = [dir.join("Cargo.toml"), manifest.to_path_buf()].into_iter();
    let all = folders
        .map(|folder| (folder, RecursiveMode::Recursive))
        .chain(files.map(|file| (file, RecursiveMode::NonRecursive)));
    for (path, mode) in all {
        if path.exists() {
            watcher.watch(&path, mode).map_err(failed)?;
        }
    }
    Ok((watcher, changes))
}

/// The folders of a project that are crates: its other components. Not every folder: data may be kept in one.
fn crates_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("Cargo.toml").exists()).collect()
}

/// Waits for a change, and until nothing more changes.
async fn changed(changes: &mut mpsc::Receiver<()>) {
    if changes.recv().await.is_none() {
        // The watcher is gone: nothing will ever change.
        std::future::pending::<()>().await;
    }
    while tokio::time::timeout(QUIET, changes.recv()).await.is_ok_and(|more| more.is_some()) {}
}

async fn build(args: &Args, dir: &Path) -> Result<Duration, Report> {
    let started = Instant::now();
    if dir.join("Cargo.toml").exists() {
        project::build(args, dir, Profile::Release).await?;
    }
    Ok(started.elapsed())
}

async fn serve(args: &Args, dev: &DevArgs, process: &OneProcess, signer: &KeyPair) -> Result<(), Report> {
    let built = build(args, &project_dir(&dev.manifest)).await?;
    let started = Instant::now();
    let app = artifacts::prepare(args, &dev.manifest, Unsigned::Sign(signer)).await?;
    let since = process.deploy(&app).await?;
    process.ready(&app, since, READY).await?;
    output::say(
        args,
        format!(
            "{} serves (built in {} ms, swapped in {} ms)",
            app.application.name,
            built.as_millis(),
            started.elapsed().as_millis()
        ),
    );
    Ok(())
}

/// Runs it.
pub async fn run(args: &Args, dev: &DevArgs) -> Outcome {
    // A manifest that cannot be read is no reason to build for a minute first.
    app_files::parse(&dev.manifest)?;
    let signer = signing::local_issuer()?;
    let run = RunArgs {
        manifest: dev.manifest.clone(),
        sign: true,
        issuers: Vec::new(),
        data_dir: dev.data_dir.clone(),
        secrets_dir: dev.secrets_dir.clone(),
        listen: dev.listen,
        host_id: lattice_protocol::HostId::new("local")?,
        labels: Vec::new(),
        memory_mib: 512,
        ready_within: READY.as_secs(),
    };
    let process = OneProcess::start(&run, [signer.public()].into()).await?;
    let dir = project_dir(&dev.manifest);
    let (_watcher, mut changes) = watch(&dir, &dev.manifest)?;
    let ended = compose::asked_to_end();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            result = serve(args, dev, &process, &signer) => {
                if let Err(report) = result {
                    output::error(args, &report);
                    output::say(args, "waiting for a change");
                } else {
                    for provider in process.host.heartbeat().providers.iter().filter_map(|provider| provider.listen.as_ref()) {
                        output::say(args, format!("  http://{provider}"));
                    }
                }
            }
            () = &mut ended => break,
        }
        tokio::select! {
            () = changed(&mut changes) => {}
            () = process.host.leaving() => break,
            () = &mut ended => break,
        }
    }
    process.shutdown().await
}
