//! The life of a provider's process: told what it is on standard input, it says on standard output
//! that it serves (or why not), serves, and ends when its input does.
//!
//! ```text
//! host ── one line: Launch ──▶ stdin    process
//! host ◀── one line: Started ── stdout  │ connect · build · serve
//! host ── (end of input, or SIGTERM) ─▶ │ take no more · finish what is in hand · exit 0
//! ```
//! Standard input is the lifeline: when the host dies, however it dies, the kernel closes the pipe
//! and the process ends itself. Secrets come by the same pipe, never by arguments or environment.
//! Whoever writes a provider of their own calls [`run`] from their `main`, with their factories.
//!
//! While NATS is away the process waits for it: it needs no restart to be reached again.

use crate::remote::{Description, Served, serve};
use crate::{BuildContext, Factory};
use lattice_io::nats::{NatsAuth, NatsLattice, NatsOptions, connect};
use lattice_io::{BusStatus, Lattice, TaskScope};
use lattice_protocol::provider::Place;
use lattice_protocol::{ErrorCode, LatticeName, ProviderId, Report};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;

/// Longest line in either direction, bytes.
pub const MAX_LINE_BYTES: u64 = 1 << 20;
/// What a process is called with: `<executable> provider serve`.
pub const ARGUMENTS: [&str; 2] = ["provider", "serve"];
/// Longest wait for the first connection before it says that it serves all the same.
const FIRST_CONNECTION: Duration = Duration::from_secs(5);
/// Time for what is in hand when it ends.
const DRAIN: Duration = Duration::from_secs(10);

/// How a process joins the lattice.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// The NATS server.
    pub url: String,
    /// Text of its user's `.creds` file; none on an open server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// First token of its answer subjects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox_prefix: Option<String>,
}

impl std::fmt::Debug for Membership {
    /// Never the credentials.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Membership({})", self.inbox_prefix.as_deref().unwrap_or("anonymous"))
    }
}

/// Everything a process is told. Secret: it holds credentials, a seed, and configuration.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// The lattice.
    pub lattice: LatticeName,
    /// Which provider it is.
    pub id: ProviderId,
    /// For one host, or for all.
    pub place: Place,
    /// Which implementation.
    pub kind: String,
    /// Its configuration.
    pub config: BTreeMap<String, String>,
    /// A directory of its own; it need not exist yet.
    pub data_dir: PathBuf,
    /// Its place in NATS.
    pub membership: Membership,
    /// Seed of the process's own key (`SV…`).
    pub seed: String,
}

/// What a process says once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Started {
    /// It serves.
    Serving(Description),
    /// It does not, and ends.
    Failed(Report),
}

/// A provider that serves from this process until [`Serving::end`].
pub struct Serving {
    /// What it is.
    pub description: Description,
    scope: TaskScope,
    nats: Arc<NatsLattice>,
}

/// Connects, builds and serves. `factories` gives what this program can build.
///
/// # Errors
/// Credentials or configuration that cannot be, an unknown kind, or what the provider's own start
/// reports.
pub async fn start<F>(launch: Launch, factories: F) -> Result<Serving, Report>
where
    F: FnOnce(&Lattice, &LatticeName, &TaskScope) -> Vec<Arc<dyn Factory>>,
{
    let key = keys::KeyPair::from_seed(&launch.seed)
        .and_then(|key| key.public().expect_kind(keys::KeyKind::Provider).map(|_| key))
        .map_err(|error| Report::new(ErrorCode::Config, error.to_string()).at("seed"))?;
    let nats = join(&launch).await?;
    let (lattice, scope) = (nats.lattice(), TaskScope::new("provider"));
    let known = factories(&lattice, &launch.lattice, &scope);
    let factory = known.iter().find(|factory| factory.kind() == launch.kind).ok_or_else(|| {
        let kinds: Vec<&str> = known.iter().map(|factory| factory.kind()).collect();
        Report::new(ErrorCode::ProviderNotFound, format!("unknown provider kind {:?}", launch.kind))
            .hint(format!("known here: {}", kinds.join(", ")))
    })?;
    if let Some(problem) = factory.check(&launch.config).into_iter().next() {
        return Err(problem);
    }
    let context = BuildContext { id: launch.id.clone(), data_dir: launch.data_dir, config: launch.config };
    let provider = factory.build(context).await?;
    let served = Served { lattice: launch.lattice, id: launch.id, place: launch.place, provider, key };
    let description = serve(served, &lattice.bus, &scope).await?;
    Ok(Serving { description, scope, nats })
}

async fn join(launch: &Launch) -> Result<Arc<NatsLattice>, Report> {
    let membership = &launch.membership;
    let options = NatsOptions {
        name: lattice_protocol::provider::process_name(&launch.id, &launch.place),
        auth: membership.credentials.clone().map_or(NatsAuth::Anonymous, NatsAuth::Creds),
        inbox_prefix: membership.inbox_prefix.clone(),
        background: true,
        ..NatsOptions::new(&membership.url)
    };
    let nats = connect(options).await?;
    let mut status = nats.lattice().bus.status();
    let connected = status.wait_for(|now| *now == BusStatus::Connected);
    if tokio::time::timeout(FIRST_CONNECTION, connected).await.is_err() {
        tracing::warn!(server = %membership.url, "NATS is not there yet; waiting for it");
    }
    Ok(nats)
}

impl Serving {
    /// Done when an essential task has failed.
    pub async fn failed(&self) {
        let failure = self.scope.failed().await;
        tracing::error!(error = %failure, "provider failed");
    }

    /// Takes no more calls, finishes those in hand, and leaves the lattice.
    pub async fn end(self) {
        self.scope.shutdown(DRAIN).await;
        self.nats.close().await;
    }
}

/// A child's whole life: reads [`Launch`] from standard input, serves, and returns when the input
/// ends or `asked` is done.
///
/// # Errors
/// Input that is no launch, or why it does not serve; the host is told as well.
pub async fn run<F>(factories: F, asked: impl Future<Output = ()>) -> Result<(), Report>
where
    F: FnOnce(&Lattice, &LatticeName, &TaskScope) -> Vec<Arc<dyn Factory>>,
{
    let mut input = BufReader::new(standard_input()?);
    let started = match read_launch(&mut input).await {
        Ok(launch) => start(launch, factories).await,
        Err(report) => Err(report),
    };
    let said = match &started {
        Ok(serving) => Started::Serving(serving.description.clone()),
        Err(report) => Started::Failed(report.clone()),
    };
    say(&said).await?;
    let serving = started?;
    tokio::select! {
        () = asked => {}
        () = serving.failed() => {}
        () = ended(&mut input) => {}
    }
    serving.end().await;
    Ok(())
}

fn io_failed(doing: &str, error: impl std::fmt::Display) -> Report {
    Report::new(ErrorCode::Io, format!("{doing}: {error}"))
}

/// Not by tokio's own, which would keep the process alive until its next byte.
fn standard_input() -> Result<pipe::Receiver, Report> {
    let input = std::io::stdin().as_fd().try_clone_to_owned();
    input.and_then(pipe::Receiver::from_owned_fd).map_err(|error| {
        io_failed("read standard input", error)
            .hint("a host starts this with a pipe; by hand: trellis provider run")
    })
}

async fn read_launch(input: &mut (impl AsyncBufReadExt + Unpin)) -> Result<Launch, Report> {
    let mut line = zeroize::Zeroizing::new(Vec::new());
    let read = input.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await;
    read.map_err(|error| io_failed("read standard input", error))?;
    // The error's words could quote a secret.
    serde_json::from_slice(&line)
        .map_err(|_| Report::new(ErrorCode::Malformed, "standard input holds no provider launch"))
}

async fn say(started: &Started) -> Result<(), Report> {
    let mut line = serde_json::to_vec(started).map_err(|error| io_failed("write", error))?;
    line.push(b'\n');
    let mut output = tokio::io::stdout();
    let written = async {
        output.write_all(&line).await?;
        output.flush().await
    };
    written.await.map_err(|error| io_failed("write standard output", error))
}

/// Reads until there is no more.
async fn ended(input: &mut (impl AsyncReadExt + Unpin)) {
    let mut sink = [0; 256];
    while matches!(input.read(&mut sink).await, Ok(1..)) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_launch_is_refused_without_quoting_it() {
        let mut input = &b"{\"config\":{\"password\":\"hush\"}}\n"[..];
        let report = read_launch(&mut input).await.err().map(|report| report.to_string());
        let report = report.unwrap_or_default();
        assert!(report.contains("no provider launch") && !report.contains("hush"), "{report}");
        let membership =
            Membership { url: "nats://h".into(), credentials: Some("hush".into()), inbox_prefix: None };
        assert!(!format!("{membership:?}").contains("hush"));
    }
}
