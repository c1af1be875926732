//! What cases are tried on: one application in one process for bytes on the wire, and a lattice of
//! a real nats-server, a controller and a host for messages, keys and hosts. Both run a guest that
//! makes any capability call it is asked for.

use crate::desk::{self, Desk};
use anyhow::{Context, Result, ensure};
use lattice_io::nats::NatsLattice;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tests_harness::{Process, ProcessSpec, fixtures};
use tests_lattice::{PATIENCE, TestLattice};

/// The application of one process. What is sent for host `hostile` goes to a guest that misbehaves.
const RUN: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: wire }
spec:
  actors:
    - name: probe
      artifact: fixture_probe.wasm
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
        - { to: store, interface: "wasi:keyvalue" }
    - name: hostile
      artifact: fixture_hostile.wasm
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: /, hosts: hostile } }
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
    - { name: store, kind: keyvalue-embedded, config: { memory: "true" } }
"#;

/// The application of the lattice; each actor is reached by its own name as the HTTP host.
const LATTICE: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: lab }
spec:
  actors:
    - name: edge
      artifact: edge_processor.wasm
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: /, hosts: edge } }
        - { to: store, interface: "wasi:keyvalue", config: { bucket: edge-data } }
        - to: messages
          interface: "wasmcloud:messaging"
          config: { subscription: "edge.sensor.*,cloud.cmd.*" }
          grants: { publish: ["edge.alert.>", "edge.ack.>"], subscribe: ["edge.sensor.*", "cloud.cmd.*"] }
    - name: probe
      artifact: fixture_probe.wasm
      limits: { bodyKib: 4096 }
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: /, hosts: probe } }
        - to: store
          interface: "wasi:keyvalue"
          grants: { buckets: [own, received], keyPrefixes: ["mine/", "app.probe", "absent"] }
        - { to: messages, interface: "wasmcloud:messaging", config: { subscription: "app.probe.*" } }
    - name: reach
      artifact: fixture_reach.wasm
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: /, hosts: reach } }
        - { to: store, interface: "wasi:keyvalue/store" }
        - { to: blobs, interface: "wasi:blobstore" }
    - name: bare
      artifact: fixture_reach.wasm
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: /, hosts: bare } }
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
    - { name: store, kind: keyvalue-nats }
    - { name: messages, kind: messaging-nats }
    - { name: blobs, kind: blobstore-embedded }
"#;

/// A host id that is enrolled, and that no host has.
pub const GHOST: &str = "GHOST";

/// Everything that runs.
pub struct World {
    /// One process, no NATS.
    pub run: Served,
    /// A lattice.
    pub lattice: Arc<Lab>,
}

/// An application in one process.
pub struct Served {
    /// Its files.
    pub desk: Desk,
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A lattice with its application.
pub struct Lab {
    /// Server, controller, hosts.
    pub lattice: TestLattice,
    /// Where its host listens.
    pub address: SocketAddr,
    /// Where a controller's API listens, and that controller.
    pub api: SocketAddr,
    controller: Process,
}

/// A port that is free on this loopback address.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl World {
    /// Starts all of it.
    ///
    /// # Errors
    /// What does not start, and why.
    pub async fn start() -> Result<Self> {
        let (run, lattice) = tokio::try_join!(Served::start(), Lab::start())?;
        Ok(Self { run, lattice: Arc::new(lattice) })
    }

    /// Every log there is, with the name of its process.
    #[must_use]
    pub fn logs(&self) -> Vec<(String, String)> {
        let lattice = &self.lattice.lattice;
        let processes =
            lattice.hosts.iter().chain([&lattice.controller, &self.lattice.controller, &self.run.process]);
        processes
            .map(|process| {
                let text = fs::read(process.log_path()).unwrap_or_default();
                (process.name().to_owned(), String::from_utf8_lossy(&text).into_owned())
            })
            .collect()
    }
}

impl Served {
    async fn start() -> Result<Self> {
        let desk = Desk::new()?;
        for name in ["fixture_probe", "fixture_hostile"] {
            desk.write(&format!("{name}.wasm"), desk::signed(&fs::read(fixtures::guest(name)?)?, name)?)?;
        }
        let port = free_port()?;
        desk.write("wire.yaml", RUN.replace("PORT", &port.to_string()))?;
        let mut process = run_in(&desk, "wire.yaml", &[])?;
        process.wait_for_line("runs; Ctrl-C", PATIENCE).await?;
        Ok(Self { desk, process, address: (Ipv4Addr::LOCALHOST, port).into() })
    }
}

/// `trellis run` at a desk, with the trusted issuer.
///
/// # Errors
/// It cannot be started.
pub fn run_in(desk: &Desk, manifest: &str, more: &[&str]) -> Result<Process> {
    let issuer = desk::issuer().public();
    let log = desk.path().join(format!("{manifest}.log"));
    ProcessSpec::new("trellis run", fixtures::program("trellis")?, log)
        .args(["run", manifest, "--trust-issuer", issuer.as_str()])
        .args(more)
        .env("TRELLIS_HOME", desk.path().join("home"))
        .env("RUST_LOG", "info")
        .current_dir(desk.path())
        .spawn()
}

impl Lab {
    async fn start() -> Result<Self> {
        let lattice = TestLattice::start(1).await?;
        lattice.trellis(&["lattice", "enroll", GHOST])?;
        for name in ["edge_processor", "fixture_probe", "fixture_reach"] {
            let file = format!("{name}.wasm");
            fs::copy(fixtures::guest(name)?, lattice.path().join(&file))?;
            let (issuer, subject) = ("trellis-lattice/keys/issuer.nk", format!("{name}.nk"));
            let sign = ["claim", "sign", &file, "--name", name, "--issuer", issuer, "--subject", &subject];
            lattice.trellis(&sign)?;
        }
        let manifest = LATTICE.replace("PORT", &lattice.port().to_string());
        fs::write(lattice.path().join("lab.yaml"), manifest)?;
        lattice.trellis(&["app", "deploy", "lab.yaml", "--wait-for", "60"])?;
        for role in ["viewer", "deployer", "admin"] {
            lattice.trellis(&["user", "add", &format!("{role}-api"), "--role", role])?;
        }
        let mut controller = lattice.spawn_controller("api", &["--api", "127.0.0.1:0"]).await?;
        let line = controller.wait_for_line("API: http://", PATIENCE).await?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let api = address.context("no address of the API")?.parse()?;
        let address = (Ipv4Addr::LOCALHOST, lattice.port()).into();
        Ok(Self { lattice, address, api, controller })
    }

    /// A desk at which commands are this lattice's administrator's.
    ///
    /// # Errors
    /// The disk's.
    pub fn desk(&self) -> Result<Desk> {
        let desk = Desk::new()?;
        fs::remove_dir_all(desk.path().join("trellis-lattice"))?;
        std::os::unix::fs::symlink(self.dir(), desk.path().join("trellis-lattice"))?;
        Ok(desk)
    }

    /// The directory that is its root of trust.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.lattice.path().join("trellis-lattice")
    }

    /// A connection as one of its users.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn connect(&self, user: &str) -> Result<Arc<NatsLattice>> {
        self.lattice.connect(user).await
    }

    /// Everything that must never be seen: its users' and its keys' seeds.
    ///
    /// # Errors
    /// The disk's.
    pub fn seeds(&self) -> Result<Vec<String>> {
        let mut seeds = Vec::new();
        for folder in ["keys", "users"] {
            for entry in fs::read_dir(self.dir().join(folder))? {
                let text = fs::read_to_string(entry?.path())?;
                seeds.extend(text.lines().map(str::trim).filter(|line| is_seed(line)).map(str::to_owned));
            }
        }
        ensure!(seeds.len() >= 8, "fewer seeds than keys and users: {}", seeds.len());
        Ok(seeds)
    }

    /// What the host's log says.
    ///
    /// # Errors
    /// The disk's.
    pub fn host_log(&self) -> Result<String> {
        let host = self.lattice.hosts.first().context("it has one host")?;
        Ok(String::from_utf8_lossy(&fs::read(host.log_path())?).into_owned())
    }
}

fn is_seed(line: &str) -> bool {
    line.len() == 58
        && line.starts_with('S')
        && line.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
}

/// Longest wait for a state.
pub const SOON: Duration = Duration::from_secs(30);
