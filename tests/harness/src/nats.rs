//! A real nats-server for a test: free ports, its own store, killed on drop.
//!
//! It is configured as the lattice demands of a production server: JetStream with
//! `sync_interval: always` (the default loses acknowledged messages on a power cut), bounded
//! payloads, connections and subscriptions, and monitoring on loopback only.
//!
//! Life: `start` → running ⇄ (`kill`, `restart_on_same_port`) → drop. The store and the ports
//! survive a restart, so clients reconnect and streams are there again.

mod config;
mod site;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, ProcessSpec};
use crate::{eventually, http, tools};
use config::Ports;
pub use site::{Site, SiteOptions, Uplink};

/// A server starts in tens of milliseconds; a machine busy with a build takes longer.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// What the server shall do. `NatsOptions::default()` is a single server with JetStream.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// The server's name, in its monitoring pages and logs.
    pub name: String,
    /// `None`: no JetStream.
    pub jetstream: Option<JetStream>,
    /// Configuration text pasted at top level: operator, resolver, system account, accounts.
    pub operator_config: Option<String>,
    pub leaf: Leaf,
    /// A server among others; see [`NatsServer::start_cluster`].
    pub cluster: Option<Cluster>,
    /// Clients reach it on every address of this machine, for hosts on networks of their own
    /// ([`crate::wire`]); otherwise on loopback only.
    pub everywhere: bool,
}

/// One server's place in a cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The cluster's name.
    pub name: String,
    /// Where the others connect.
    pub listen: SocketAddr,
    /// Where each of them listens for that, this one too.
    pub routes: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Default)]
pub struct JetStream {
    /// The JetStream domain, as an edge site has one of its own.
    pub domain: Option<String>,
}

/// Leaf node connections, in both roles.
#[derive(Debug, Clone, Default)]
pub struct Leaf {
    /// Accept leaf nodes; see [`NatsServer::leaf_address`].
    pub listen: bool,
    /// Connect to these hubs.
    pub remotes: Vec<LeafRemote>,
}

#[derive(Debug, Clone)]
pub struct LeafRemote {
    /// For instance `nats-leaf://127.0.0.1:7422`; a proxy's address works as well.
    pub url: String,
    /// A `.creds` file, with operator mode.
    pub credentials: Option<PathBuf>,
    /// The local account that the connection binds to: a name or an account's public key.
    pub account: Option<String>,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            name: "test".to_owned(),
            jetstream: Some(JetStream::default()),
            operator_config: None,
            leaf: Leaf::default(),
            cluster: None,
            everywhere: false,
        }
    }
}

/// A running (or killed) server. Killed on drop; its store goes with it.
#[derive(Debug)]
pub struct NatsServer {
    options: NatsOptions,
    binary: PathBuf,
    process: Process,
    ports: Ports,
    dir: TempDir,
}

impl NatsServer {
    /// Starts a server on free ports of the loopback address and waits until it is healthy.
    ///
    /// # Errors
    /// No nats-server to be had, or it does not get healthy (its log is shown).
    pub async fn start(options: NatsOptions) -> Result<Self> {
        let binary = tools::ensure_nats_server()?;
        let dir = tempfile::Builder::new().prefix("nats-").tempdir()?;
        let config = config::render(&options, dir.path(), None);
        let mut process = launch(&binary, dir.path(), &config)?;
        let ports = match discover_ports(&mut process, dir.path(), options.leaf.listen).await {
            Ok(ports) => ports,
            Err(error) => return Err(with_log(error, &process)),
        };
        let mut server = Self { options, binary, process, ports, dir };
        server.wait_until_healthy().await?;
        Ok(server)
    }

    /// Starts so many servers that are one: streams of three copies have each on another one. They are
    /// healthy once they have a leader, so they start together.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub async fn start_cluster(count: usize, options: &NatsOptions) -> Result<Vec<Self>> {
        // All are held until all are known: otherwise the same one could be given twice.
        let held = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
        let routes = held.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        drop(held);
        let one = |(number, listen): (usize, SocketAddr)| {
            let cluster = Some(Cluster { name: options.name.clone(), listen, routes: routes.clone() });
            Self::start(NatsOptions {
                name: format!("{}-{number}", options.name),
                cluster,
                ..options.clone()
            })
        };
        futures::future::try_join_all((1..).zip(routes.iter().copied()).map(one)).await
    }

    /// SIGKILL: what was not synced by the operating system's word is what a crash would leave.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again with the same store, on the same client, monitoring and leaf ports, and
    /// waits until it is healthy. Kills it first if it still runs.
    ///
    /// # Errors
    /// As [`NatsServer::start`]; also when another program has taken a port meanwhile.
    pub async fn restart_on_same_port(&mut self) -> Result<()> {
        self.kill()?;
        let config = config::render(&self.options, self.dir.path(), Some(&self.ports));
        self.process = launch(&self.binary, self.dir.path(), &config)?;
        self.wait_until_healthy().await
    }

    /// What it is told of operator and accounts at its next start.
    pub fn set_operator_config(&mut self, config: String) {
        self.options.operator_config = Some(config);
    }

    /// `nats://127.0.0.1:<port>`, for clients.
    pub fn url(&self) -> String {
        format!("nats://{}", self.ports.client)
    }

    /// The address behind [`NatsServer::url`], for a proxy.
    pub fn address(&self) -> SocketAddr {
        self.ports.client
    }

    /// `http://127.0.0.1:<port>`, for `/varz`, `/jsz` and the like.
    pub fn monitor_url(&self) -> String {
        format!("http://{}", self.ports.monitor)
    }

    /// Where leaf nodes connect, if [`Leaf::listen`] was set.
    pub fn leaf_address(&self) -> Option<SocketAddr> {
        self.ports.leaf
    }

    /// One monitoring page as JSON, for instance `/jsz?config=true`.
    ///
    /// # Errors
    /// The server does not answer, or not with JSON.
    pub async fn monitor(&self, path: &str) -> Result<Value> {
        let body = http::get(self.ports.monitor, path).await?;
        Ok(serde_json::from_str(&body)?)
    }

    /// The child process: to freeze and thaw it, or to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The folder that holds its configuration, log and store.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    async fn wait_until_healthy(&mut self) -> Result<()> {
        let monitor = self.ports.monitor;
        let process = &mut self.process;
        let healthy = eventually(START_DEADLINE, "nats-server to be healthy", || {
            let ended = ended(process);
            async move {
                if let Some(reason) = ended {
                    return Ok(Err(reason));
                }
                http::get(monitor, "/healthz").await?;
                Ok(Ok(()))
            }
        })
        .await
        .and_then(|outcome| outcome);
        healthy.map_err(|error| with_log(error, &self.process))
    }
}

fn launch(binary: &Path, dir: &Path, config: &str) -> Result<Process> {
    let path = dir.join("nats.conf");
    fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
    ProcessSpec::new("nats-server", binary, dir.join("nats.log")).arg("-c").arg(&path).spawn()
}

/// The ports that the server chose: from the file it writes and, for leaf nodes, from `/varz`.
async fn discover_ports(process: &mut Process, dir: &Path, leaf: bool) -> Result<Ports> {
    let file = dir.join(format!("nats-server_{}.ports", process.id()));
    let (client, monitor) = eventually(START_DEADLINE, "nats-server's ports file", || {
        let answer = match ended(process) {
            Some(reason) => Ok(Err(reason)),
            None => config::read_ports_file(&file).map(Ok),
        };
        std::future::ready(answer)
    })
    .await??;
    let leaf = if leaf { Some(leaf_port(monitor).await?) } else { None };
    Ok(Ports { client, monitor, leaf })
}

async fn leaf_port(monitor: SocketAddr) -> Result<SocketAddr> {
    eventually(START_DEADLINE, "the leaf node port", || async move {
        let varz: Value = serde_json::from_str(&http::get(monitor, "/varz").await?)?;
        let port = varz.pointer("/leaf/port").and_then(Value::as_u64);
        match port.and_then(|port| u16::try_from(port).ok()) {
            Some(port) if port != 0 => Ok(SocketAddr::new(monitor.ip(), port)),
            _ => bail!("/varz shows no leaf port"),
        }
    })
    .await
}

fn ended(process: &mut Process) -> Option<anyhow::Error> {
    match process.try_wait() {
        Ok(Some(status)) => Some(anyhow::anyhow!("nats-server ended ({status})")),
        _ => None,
    }
}

fn with_log(error: anyhow::Error, process: &Process) -> anyhow::Error {
    error.context(format!("log of nats-server:\n{}", process.log_tail()))
}

#[cfg(test)]
mod tests;
