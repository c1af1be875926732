//! Providers in processes of their own (`run: process`): started, watched, ended.
//!
//! ```text
//! start: user and key made ─▶ (executable verified) ─▶ spawn ─▶ Launch on stdin ─▶ Started on stdout
//! runs:  a task waits for its end ──▶ Event::ProviderEnded ──▶ the supervisor's pause ──▶ start
//! stop:  stdin closed ─▶ it finishes what is in hand ─▶ (in time, or killed)
//! ```
//! A built-in kind is this very program. Another kind is a native executable, and native code is
//! not sandboxed: an application may name it, but only the host's owner can install it, in a
//! directory of the host's configuration, and it runs only with claims beside it
//! (`<kind>.claims`, subject `V…`) that hold for the bytes that are then executed: they are read
//! once, verified, and run from a copy that only this host can write.
//!
//! Invariants: nothing is spawned before its claims hold; a process has a NATS user of its own, made
//! for this start, with the rights of its role; it dies with its host, because its standard input
//! ends then; secrets go through that pipe alone. There is one task per process.

use crate::artifacts::invalid_claim;
use crate::config::HostConfig;
use crate::files::Files;
use keys::{Claims, Digest, KeyKind, KeyPair, Verified, VerifyPolicy};
use lattice_io::TaskScope;
use lattice_io::task::CancellationToken;
use lattice_protocol::permission::ProviderRole;
use lattice_protocol::provider::{Place, process_name};
use lattice_protocol::{ErrorCode, ProviderSpec, Report};
use providers_sdk::process::{ARGUMENTS, Launch, MAX_LINE_BYTES, Membership, Started};
use providers_sdk::remote::Description;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

/// Largest file of detached claims, bytes.
const MAX_CLAIMS_BYTES: u64 = 64 << 10;

/// Makes NATS users for processes.
pub trait Memberships: Send + Sync {
    /// A new user of this name, with the rights of this role.
    ///
    /// # Errors
    /// This host may not make users.
    fn membership(&self, role: ProviderRole, name: &str) -> Result<Membership, Report>;
}

/// What it takes to run providers in processes; given by whoever composes the host.
pub struct Processes {
    /// The program that serves built-in kinds when called with [`ARGUMENTS`].
    pub program: PathBuf,
    /// Where the executables of other kinds are, if any are installed.
    pub executables: Option<PathBuf>,
    /// Their NATS users.
    pub memberships: Arc<dyn Memberships>,
}

/// Starts processes of one host.
pub(crate) struct Launcher {
    pub(crate) processes: Option<Processes>,
    pub(crate) config: Arc<HostConfig>,
    pub(crate) store: Arc<Files>,
}

/// A process that serves; dropped, it is asked to end.
pub(crate) struct Running {
    pub(crate) description: Description,
    stop: CancellationToken,
    child: Option<(Child, ChildStdin)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn io_failed(doing: &str, path: &Path, error: &std::io::Error) -> Report {
    Report::new(ErrorCode::Io, format!("{doing}: {error}")).at(path.display())
}

impl Launcher {
    /// Starts one, and waits until it serves. `built_in`: this program has the kind itself.
    pub(crate) async fn start(
        &self,
        spec: &ProviderSpec,
        (data_dir, built_in): (PathBuf, bool),
        now_unix: i64,
    ) -> Result<Running, Report> {
        let processes = self.processes.as_ref().ok_or_else(|| {
            Report::new(ErrorCode::Config, "no provider processes here: they meet their host over NATS")
                .hint("run a host with: trellis host; or leave out run: process")
        })?;
        let (program, role) = if built_in {
            (processes.program.clone(), ProviderRole::of_kind(&spec.kind))
        } else {
            self.verified(processes, &spec.kind, now_unix)?
        };
        let place = Place::Host(self.config.host.clone());
        let membership = processes.memberships.membership(role, &process_name(&spec.id, &place))?;
        let mut entropy = zeroize::Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *entropy)
            .map_err(|error| Report::new(ErrorCode::Io, format!("no entropy: {error}")))?;
        let launch = Launch {
            lattice: self.config.lattice.clone(),
            id: spec.id.clone(),
            place,
            kind: spec.kind.clone(),
            config: spec.config.clone(),
            data_dir,
            membership,
            seed: KeyPair::from_entropy(KeyKind::Provider, *entropy).seed().to_string(),
        };
        let line = serde_json::to_vec(&launch).map(zeroize::Zeroizing::new);
        let line = line.map_err(|error| Report::new(ErrorCode::Internal, error.to_string()))?;
        spawn(&program, &line).await
    }

    /// An installed executable whose claims hold, as a copy of the verified bytes.
    fn verified(
        &self,
        processes: &Processes,
        kind: &str,
        now_unix: i64,
    ) -> Result<(PathBuf, ProviderRole), Report> {
        let unknown = || {
            Report::new(ErrorCode::ProviderNotFound, format!("unknown provider kind {kind:?}")).hint(
                "its executable is to be installed on the host: trellis host --provider-dir <directory>",
            )
        };
        // A kind comes from a manifest: it may name a file here and nothing beyond.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name = Some(kind).filter(|kind| !kind.is_empty() && kind.chars().all(plain));
        let (directory, name) = processes.executables.as_ref().zip(name).ok_or_else(unknown)?;
        let path = directory.join(name);
        let file = match read(&path, u64::try_from(VerifyPolicy::PROVIDER.max_bytes).unwrap_or(u64::MAX)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(unknown().at(path.display()));
            }
            other => other.map_err(|error| io_failed("read the executable", &path, &error))?,
        };
        let claims = self.claims(&path, &file, now_unix)?;
        self.store.admit(&claims, false)?;
        let role = ProviderRole::needed(|interface| claims.may_use(interface));
        Ok((self.copy(&file)?, role))
    }

    fn claims(&self, path: &Path, file: &[u8], now_unix: i64) -> Result<Verified<Claims>, Report> {
        let beside = path.with_extension("claims");
        let token = match read(&beside, MAX_CLAIMS_BYTES) {
            Ok(token) => String::from_utf8_lossy(&token).trim().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(invalid_claim(&keys::ClaimsError::Unsigned).at(path.display()).hint(format!(
                    "sign it: trellis claim sign {} --provider --name … --issuer … --subject …",
                    path.display()
                )));
            }
            Err(error) => return Err(io_failed("read the claims", &beside, &error)),
        };
        keys::verify_detached(file, &token, &self.config.trust, now_unix, &VerifyPolicy::PROVIDER)
            .map_err(|error| invalid_claim(&error).at(path.display()))
    }

    /// What was verified is what runs: whatever becomes of the installed file meanwhile.
    fn copy(&self, file: &[u8]) -> Result<PathBuf, Report> {
        let directory = self.config.data_dir.join("executables");
        let path = directory.join(Digest::of(file).hex());
        let written = std::fs::create_dir_all(&directory).and_then(|()| {
            if std::fs::read(&path).is_ok_and(|have| have == file) {
                return Ok(());
            }
            let fresh = path.with_extension("new");
            // A leftover of a crash; if it cannot go, making it anew fails.
            let _ = std::fs::remove_file(&fresh);
            let mut options = std::fs::OpenOptions::new();
            let mut out = options.write(true).create_new(true).mode(0o500).open(&fresh)?;
            std::io::Write::write_all(&mut out, file)?;
            out.sync_all()?;
            drop(out);
            std::fs::rename(&fresh, &path)
        });
        written.map_err(|error| io_failed("keep the executable", &path, &error))?;
        Ok(path)
    }
}

fn read(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut file = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::open(path)?, limit + 1), &mut file)?;
    Ok(file)
}

async fn spawn(program: &Path, launch: &[u8]) -> Result<Running, Report> {
    let mut command = Command::new(program);
    command.args(ARGUMENTS).env_clear().kill_on_drop(true);
    // What it logs is the host's log; nothing else of the host's environment is its own.
    command.envs(std::env::var_os("RUST_LOG").map(|filter| ("RUST_LOG", filter)));
    // A Ctrl-C is for the host, which then ends it in order.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(|error| io_failed("start the process", program, &error))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let no_pipe = || Report::new(ErrorCode::Internal, "the process has no pipes");
    let (mut stdin, stdout) = stdin.zip(stdout).ok_or_else(no_pipe)?;
    let mut line = Vec::new();
    let exchange = async {
        stdin.write_all(launch).await?;
        stdin.write_all(b"\n").await?;
        stdin.flush().await?;
        BufReader::new(stdout).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await
    };
    exchange.await.map_err(|error| io_failed("talk to the process", program, &error))?;
    if line.is_empty() {
        let status =
            child.wait().await.map_err(|error| io_failed("wait for the process", program, &error))?;
        return Err(Report::new(ErrorCode::ProviderStart, format!("its process ended: {}", words(status))));
    }
    match serde_json::from_slice(&line) {
        Ok(Started::Serving(description)) => {
            Ok(Running { description, stop: CancellationToken::new(), child: Some((child, stdin)) })
        }
        Ok(Started::Failed(report)) => Err(report),
        Err(error) => {
            Err(Report::new(ErrorCode::ProviderStart, format!("its process says nothing valid: {error}")))
        }
    }
}

fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "status unknown".to_owned(),
    }
}

impl Running {
    /// Watches over the process from here on: `ended` is told how it ended by itself. Calls in hand
    /// learn of it through `ends`.
    pub(crate) fn watch<F, Told>(
        &mut self,
        scope: &TaskScope,
        (ends, patience): (watch::Sender<u64>, Duration),
        ended: F,
    ) where
        F: FnOnce(String) -> Told + Send + 'static,
        Told: Future<Output = ()> + Send + 'static,
    {
        let Some((mut child, stdin)) = self.child.take() else { return };
        let stop = self.stop.clone();
        scope.spawn_best_effort("provider process", async move {
            let status = tokio::select! {
                status = child.wait() => Some(status),
                () = stop.cancelled() => None,
            };
            let Some(status) = status else {
                drop(stdin);
                if tokio::time::timeout(patience, child.wait()).await.is_err() {
                    tracing::warn!("provider process did not end in time: killed");
                    // It ended in this moment, or it is killed when it is dropped.
                    let _ = child.kill().await;
                }
                return;
            };
            ends.send_modify(|count| *count += 1);
            ended(status.map_or_else(|error| error.to_string(), words)).await;
        });
    }
}

#[cfg(test)]
mod tests;
