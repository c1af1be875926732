//! A `trellis host` process that runs what is on its disk.
//!
//! The disk is prepared as a lattice leaves it: a host in this process (the same library) is given
//! a spec signed by the lattice's controller key, fetches and compiles its actors, and ends. The
//! program then starts on that directory, connected to a real nats-server with the lattice's users.

use crate::inside::{actor_id, guest, link, sign};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use host_daemon::{HostConfig, HostDeps};
use keys::{Digest, KeyPair, TrustAnchors};
use lattice_io::memory::Memory;
use lattice_io::{KvOptions, Replicas, SystemClock, TaskScope};
use lattice_protocol::spec::{Artifact, HOST_SPEC_KIND};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{
    ActorSpec, Generation, HostSpec, InstancePolicy, LinkTarget, ProviderId, ProviderSpec,
};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests_harness::{NatsOptions, NatsServer, Process, ProcessSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What actors may send and receive.
const SUBJECTS: &str = "bench.>";
/// Memory that a host offers, MiB, and what it sets aside for an actor that names no limit (a host may
/// promise more than it has).
const MIB: u64 = 512;
const MIB_PER_ACTOR: u64 = 16;
/// Host, lattice and application.
const NAME: &str = "bench";
const READY_WITHIN: Duration = Duration::from_secs(300);
/// Unit of processor times in `/proc`: always this for programs on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Between two questions whether it answers yet.
const POLL: Duration = Duration::from_micros(500);

/// An actor that the host shall run.
pub struct Planned {
    /// Its name.
    pub name: String,
    /// The guest it is made of.
    pub guest: &'static str,
    /// Reuse of instances.
    pub instances: InstancePolicy,
    /// Its links: interface, and what they lead to.
    pub links: Vec<(&'static str, To)>,
    /// Is its file signed for it alone? Otherwise all actors of one guest share a component.
    pub own_file: bool,
}

/// Where a link leads.
pub enum To {
    /// The HTTP server, which serves the actor below this path.
    Path(String),
    /// The key-value store.
    Store,
    /// The Redis server of this URL, one for all actors of a host.
    Redis(String),
    /// The lattice's messages on this subject.
    Messages(String),
    /// The lattice's messages, to send some only.
    Publish,
    /// Another actor.
    Actor(String),
}

/// A prepared host, and the NATS server of its lattice.
pub struct Outside {
    dir: TempDir,
    nats: NatsServer,
    trellis: PathBuf,
    memory_mib: u64,
    /// Where the host's HTTP server listens.
    pub address: SocketAddr,
}

impl Outside {
    /// Prepares the disk.
    pub async fn prepare(trellis: &Path, actors: &[Planned]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("bench-host-").tempdir()?;
        let lattice = dir.path().join("lattice");
        let output = Command::new(trellis)
            .args(["lattice", "init", "--name", NAME, "--host", NAME, "--subjects", SUBJECTS, "--dir"])
            .arg(&lattice)
            .output()
            .with_context(|| trellis.display().to_string())?;
        ensure!(
            output.status.success(),
            "trellis lattice init: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let auth = std::fs::read_to_string(lattice.join("nats/auth.conf"))?;
        let nats =
            NatsServer::start(NatsOptions { operator_config: Some(auth), ..NatsOptions::default() }).await?;
        let address = free_address()?;
        // What a host offers unless told otherwise, or enough for all that it shall run.
        let memory_mib = u64::try_from(actors.len())?.saturating_mul(MIB_PER_ACTOR).max(MIB);
        let outside = Self { dir, nats, trellis: trellis.to_owned(), memory_mib, address };
        outside.settle(actors).await?;
        Ok(outside)
    }

    fn key(&self, name: &str) -> Result<KeyPair> {
        let path = self.dir.path().join("lattice/keys").join(name);
        Ok(KeyPair::from_seed(std::fs::read_to_string(path)?.trim())?)
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs a host over a lattice in memory until everything is fetched, compiled and running.
    async fn settle(&self, actors: &[Planned]) -> Result<()> {
        let (issuer, controller) = (self.key("issuer.nk")?, self.key("controller.nk")?);
        let lattice = Memory::new().lattice();
        let subjects = Subjects::new(NAME.parse()?);
        let store = lattice.blobs.open(&subjects.artifact_store(), Replicas::One).await?;
        let mut spec = self.spec(actors)?;
        for planned in actors {
            let name = if planned.own_file { &planned.name } else { planned.guest };
            let file = Bytes::from(sign(&guest(planned.guest)?, name, &issuer)?);
            let digest = Digest::of(&file);
            spec.actors.push(actor_spec(planned, digest, file.len())?);
            for (interface, to) in &planned.links {
                spec.links.push(link_to(planned, interface, to)?);
            }
            store.put(digest, file).await?;
        }
        let signed = keys::sign_document(HOST_SPEC_KIND, serde_json::to_vec(&spec)?, &controller)?;
        let specs = lattice.kv.open(&subjects.spec_bucket(), KvOptions::default()).await?;
        specs.put(NAME, serde_json::to_vec(&signed)?.into()).await?;

        let mut config = HostConfig::new(NAME.parse()?, NAME.parse()?, self.data_dir());
        config.memory_bytes = self.memory_mib << 20;
        config.trust = TrustAnchors::new([issuer.public()].into(), BTreeMap::new())?;
        config.controllers = [controller.public()].into();
        let scope = TaskScope::new(NAME);
        let messages =
            providers_messaging_nats::NatsMessagingFactory::new(lattice.clone(), scope.child("messages"));
        let deps = HostDeps {
            lattice,
            factories: vec![
                Arc::new(providers_http_server::HttpServerFactory),
                Arc::new(providers_keyvalue_embedded::EmbeddedKeyValueFactory),
                Arc::new(providers_keyvalue_redis::RedisKeyValueFactory),
                Arc::new(messages),
            ],
            processes: None,
            clock: Arc::new(SystemClock::new()),
            boot_id: "0000000000000001".to_owned(),
        };
        let host = host_daemon::start(config, deps, &scope).await?;
        let mut snapshots = host.snapshot();
        let wanted = spec.actors.len();
        let settled = snapshots.wait_for(|now| now.actors().len() == wanted && now.is_settled());
        let settled = tokio::time::timeout(READY_WITHIN, settled).await.is_ok_and(|waited| waited.is_ok());
        let heartbeat = host.heartbeat();
        let ended = host.shutdown().await;
        scope.shutdown(Duration::from_secs(5)).await;
        ensure!(settled, "the host does not run what it shall: {heartbeat:?}");
        Ok(ended?)
    }

    fn spec(&self, actors: &[Planned]) -> Result<HostSpec> {
        let mut spec = HostSpec::empty(NAME.parse()?, NAME.parse()?);
        spec.generation = Generation { incarnation: 1, n: 1 };
        spec.apps = [(NAME.parse()?, 1)].into();
        let provider = |name: &str, kind: &str, config: BTreeMap<String, String>| -> Result<ProviderSpec> {
            let mode = lattice_protocol::spec::ProviderMode::InProcess;
            Ok(ProviderSpec { id: provider_id(name)?, kind: kind.to_owned(), mode, config })
        };
        let listen = BTreeMap::from([("address".to_owned(), self.address.to_string())]);
        spec.providers = vec![
            provider("http", "http-server", listen)?,
            provider("store", "keyvalue-embedded", BTreeMap::new())?,
            provider("messages", "messaging-nats", BTreeMap::new())?,
        ];
        let redis = actors.iter().flat_map(|actor| &actor.links).find_map(|(_, to)| match to {
            To::Redis(url) => Some(url.clone()),
            _ => None,
        });
        if let Some(url) = redis {
            let at = BTreeMap::from([("url".to_owned(), url)]);
            spec.providers.push(provider("redis", "keyvalue-redis", at)?);
        }
        Ok(spec)
    }

    /// Who may join the lattice as its administrator: the server's address, the `.creds` file, the
    /// first token of answers.
    pub fn administrator(&self) -> (String, PathBuf, &'static str) {
        (self.nats.url(), self.dir.path().join("lattice/users/admin.creds"), "_INBOX_admin")
    }

    /// The process of the NATS server.
    pub fn nats_id(&mut self) -> u32 {
        self.nats.process().id()
    }

    /// Starts the program on the prepared disk.
    pub fn start(&self) -> Result<Process> {
        self.start_by(&self.trellis)
    }

    /// The same with another program.
    pub fn start_by(&self, program: &Path) -> Result<Process> {
        ProcessSpec::new("trellis host", program, self.dir.path().join("host.log"))
            .clear_env()
            .env("HOME", self.dir.path())
            .args(["--nats-url", &self.nats.url(), "host", "--host-id", NAME])
            .arg("--dir")
            .arg(self.dir.path().join("lattice"))
            .args(["--memory-mib", &self.memory_mib.to_string()])
            .arg("--data-dir")
            .arg(self.data_dir())
            .spawn()
    }
}

fn provider_id(name: &str) -> Result<ProviderId> {
    Ok(format!("{NAME}/{name}").parse()?)
}

fn actor_spec(planned: &Planned, digest: Digest, size: usize) -> Result<ActorSpec> {
    let artifact = Artifact { digest: digest.to_string().into(), size: u64::try_from(size)? };
    Ok(ActorSpec { instances: planned.instances, ..ActorSpec::new(actor_id(&planned.name)?, artifact) })
}

fn link_to(planned: &Planned, interface: &str, to: &To) -> Result<lattice_protocol::LinkDefinition> {
    let target = match to {
        To::Path(_) => LinkTarget::Provider(provider_id("http")?),
        To::Store => LinkTarget::Provider(provider_id("store")?),
        To::Redis(_) => LinkTarget::Provider(provider_id("redis")?),
        To::Messages(_) | To::Publish => LinkTarget::Provider(provider_id("messages")?),
        To::Actor(name) => LinkTarget::Actor(actor_id(name)?),
    };
    let mut link = link(&planned.name, interface, target)?;
    match to {
        To::Path(path) => drop(link.config.insert("path".to_owned(), path.clone())),
        To::Messages(subject) => drop(link.config.insert("subscription".to_owned(), subject.clone())),
        To::Store | To::Redis(_) | To::Publish | To::Actor(_) => {}
    }
    Ok(link)
}

/// An address of loopback that is free now.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Asks for a path until it is answered with 200, or the process ends; the time since `began`.
pub async fn first_answer(
    process: &mut Process,
    address: SocketAddr,
    path: &str,
    began: Instant,
) -> Result<Duration> {
    loop {
        if ask(address, path).await.unwrap_or(false) {
            return Ok(began.elapsed());
        }
        if let Some(status) = process.try_wait()? {
            bail!("{} ended ({status}):\n{}", process.name(), process.log_tail());
        }
        if began.elapsed() > READY_WITHIN {
            bail!("{} does not answer {path}:\n{}", process.name(), process.log_tail());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Is the answer a complete 200?
async fn ask(address: SocketAddr, path: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

/// Resident memory of a process, MiB.
pub fn resident_mib(process: &Process) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1_024.0)
}

/// Processor time that a process has used, in user and kernel mode, microseconds.
pub fn cpu_us(process: &Process) -> Result<f64> {
    processor_us(process.id())
}

/// The same of several processes together.
pub fn processors_us(ids: &[u32]) -> Result<f64> {
    ids.iter().copied().map(processor_us).sum()
}

/// The same of whatever has this id.
pub fn processor_us(id: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name, in parentheses, may hold anything; fields are counted behind it.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).context("no stat")?;
    let ticks: f64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks * 1e6 / TICKS_PER_SECOND)
}
