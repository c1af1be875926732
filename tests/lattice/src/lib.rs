//! A whole lattice for tests: a real nats-server with decentralised users, a real controller, real
//! hosts, and `trellis` as its user calls it. Each has its own port and address, so tests run side
//! by side. Everything dies with the test.

pub mod balancer;
pub mod chaos;
pub mod fleet;

use anyhow::{Context, Result, bail};
use lattice_io::nats::{self, NatsLattice};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tests_harness::process::LogMark;
use tests_harness::{NatsOptions, NatsServer, Process, ProcessSpec, fixtures};

/// Longest wait for a process or a state.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One actor behind HTTP, twice; `COMPONENT` and `PORT` are filled in when it is deployed.
pub const SITE: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: site }
spec:
  actors:
    - name: web
      artifact: COMPONENT
      replicas: 2
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
"#;

/// Where a host is, and how it is started there.
#[derive(Debug, Clone)]
pub struct HostAt {
    /// Its way to the server.
    pub nats_url: String,
    /// Where its HTTP servers listen.
    pub listen: IpAddr,
    /// Between two heartbeats, milliseconds.
    pub heartbeat_ms: u64,
    /// A command before its own.
    pub before: Vec<String>,
}

/// A lattice of these hosts.
pub struct TestLattice {
    dir: TempDir,
    trellis: PathBuf,
    port: u16,
    /// Its server; the first, if there are several.
    pub nats: NatsServer,
    others: Vec<NatsServer>,
    /// Its controller.
    pub controller: Process,
    /// Its hosts.
    pub hosts: Vec<Process>,
}

impl TestLattice {
    /// Starts one with so many hosts, `H1`, `H2`, …, each labelled `tier=edge` and `zone=z<number>`.
    ///
    /// # Errors
    /// What did not start.
    pub async fn start(hosts: u8) -> Result<Self> {
        let mut lattice = Self::prepare(hosts).await?;
        for host in 1..=hosts {
            let process = lattice.spawn_host(host).await?;
            lattice.hosts.push(process);
        }
        Ok(lattice)
    }

    /// Starts one whose hosts are known and do not run yet.
    ///
    /// # Errors
    /// What did not start.
    pub async fn prepare(hosts: u8) -> Result<Self> {
        Self::prepare_on(1, hosts).await
    }

    /// The same, on so many servers that are one cluster.
    ///
    /// # Errors
    /// What did not start.
    pub async fn prepare_on(servers: u8, hosts: u8) -> Result<Self> {
        Self::prepare_by(None, (servers, NatsOptions::default()), hosts).await
    }

    /// The same with this program (none: the one of the test profile), and servers as they are told.
    ///
    /// # Errors
    /// What did not start.
    pub async fn prepare_by(
        trellis: Option<PathBuf>,
        (servers, options): (u8, NatsOptions),
        hosts: u8,
    ) -> Result<Self> {
        let trellis = trellis.map_or_else(|| fixtures::program("trellis"), Ok)?;
        let dir = TempDir::new()?;
        let mut init: Vec<String> =
            ["lattice", "init", "--name", "test", "--subjects", "edge.>,cloud.>,app.>,wasmcloud.>"]
                .map(str::to_owned)
                .into();
        for host in 1..=hosts {
            init.extend(["--host".to_owned(), format!("H{host}")]);
        }
        let domain = options.jetstream.as_ref().and_then(|jetstream| jetstream.domain.clone());
        init.extend(domain.into_iter().flat_map(|domain| ["--domain".to_owned(), domain]));
        call(&trellis, dir.path(), &init)?;
        let auth = fs::read_to_string(dir.path().join("trellis-lattice/nats/auth.conf"))?;
        let options = NatsOptions { operator_config: Some(auth), ..options };
        let mut servers = match servers {
            1 => vec![NatsServer::start(options).await?],
            _ => NatsServer::start_cluster(servers.into(), &options).await?,
        };
        init.extend(["--nats".to_owned(), urls(servers.iter())]);
        call(&trellis, dir.path(), &init)?;
        // The servers of a cluster answer before they have chosen who leads: it waits.
        let controller = controller(&trellis, dir.path(), "controller", &[]).await?;
        // Free on every loopback address that the hosts will listen on, as far as one can know.
        let port = free_port()?;
        let nats = servers.remove(0);
        Ok(Self { dir, trellis, port, nats, others: servers, controller, hosts: Vec::new() })
    }

    /// Its servers.
    pub fn servers(&self) -> impl Iterator<Item = &NatsServer> {
        std::iter::once(&self.nats).chain(&self.others)
    }

    /// One of its servers, from 0.
    ///
    /// # Errors
    /// There are not so many.
    pub fn server(&mut self, at: usize) -> Result<&mut NatsServer> {
        std::iter::once(&mut self.nats).chain(&mut self.others).nth(at).context("no such server")
    }

    /// Kills all of its servers at once, and starts them again.
    ///
    /// # Errors
    /// One does not start.
    pub async fn restart_servers(&mut self) -> Result<()> {
        let mut all: Vec<_> = std::iter::once(&mut self.nats).chain(&mut self.others).collect();
        for server in &mut all {
            server.kill()?;
        }
        futures::future::try_join_all(all.into_iter().map(NatsServer::restart_on_same_port)).await?;
        Ok(())
    }

    /// Where its servers are, for a client.
    #[must_use]
    pub fn url(&self) -> String {
        urls(self.servers())
    }

    /// Starts a host, again or for the first time.
    ///
    /// # Errors
    /// It did not start.
    pub async fn spawn_host(&self, host: u8) -> Result<Process> {
        self.spawn_host_by(host, &self.url(), &[]).await
    }

    /// The same, with another way to the server, and further arguments.
    ///
    /// # Errors
    /// It did not start.
    pub async fn spawn_host_by(&self, host: u8, nats_url: &str, more: &[&str]) -> Result<Process> {
        let at = HostAt {
            nats_url: nats_url.to_owned(),
            listen: IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)),
            heartbeat_ms: 250,
            before: Vec::new(),
        };
        self.spawn_host_at(host, &at, more).await
    }

    /// The same, wherever it is.
    ///
    /// # Errors
    /// It did not start.
    pub async fn spawn_host_at(&self, host: u8, at: &HostAt, more: &[&str]) -> Result<Process> {
        let name = format!("H{host}");
        let trellis = self.trellis.display().to_string();
        let mut command = at.before.iter().chain([&trellis]);
        let program = command.next().map_or_else(String::new, Clone::clone);
        let log = self.dir.path().join(format!("{name}.log"));
        // It may have been there before: what it said then is not meant.
        let mark = LogMark::end_of(&log);
        let mut process = ProcessSpec::new(&name, program, log)
            .args(command)
            .args(["host", "--host-id", &name, "--heartbeat-ms", &at.heartbeat_ms.to_string()])
            .args(["--label", "tier=edge", "--label", &format!("zone=z{host}")])
            .args(["--listen", &at.listen.to_string()])
            .env("TRELLIS_NATS_URL", &at.nats_url)
            .args(more)
            .current_dir(self.dir.path())
            .spawn()?;
        process.wait_for_line_since(mark, "is up", PATIENCE).await?;
        Ok(process)
    }

    /// Starts one more controller; its log is named as it is.
    ///
    /// # Errors
    /// It did not start.
    pub async fn spawn_controller(&self, name: &str, more: &[&str]) -> Result<Process> {
        controller(&self.trellis, self.dir.path(), name, more).await
    }

    /// Where its files are: `trellis-lattice/`, logs.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The port that was free on every host's address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Signs a guest with the lattice's issuer, and deploys it by a manifest in which `PORT` and
    /// `COMPONENT` stand for what they say.
    ///
    /// # Errors
    /// What `trellis` says.
    pub fn deploy(&self, guest: &str, manifest: &str) -> Result<String> {
        self.sign(guest, manifest)?;
        self.trellis(&["app", "deploy", "app.yaml"])
    }

    /// Signs the fixture of persistent accounts as `account.wasm`, and deploys it by this manifest.
    ///
    /// # Errors
    /// What `trellis` says.
    pub fn deploy_accounts(&self, manifest: &str) -> Result<()> {
        self.write_accounts(manifest)?;
        self.trellis(&["app", "deploy", "app.yaml"]).map(drop)
    }

    /// The same, not deployed yet.
    ///
    /// # Errors
    /// What `trellis` says.
    pub fn write_accounts(&self, manifest: &str) -> Result<()> {
        fs::copy(fixtures::guest("fixture-account")?, self.dir.path().join("account.wasm"))?;
        let sign = ["claim", "sign", "account.wasm", "--name", "account", "--cap", "wasi:keyvalue"];
        let keys =
            ["--issuer", "trellis-lattice/keys/issuer.nk", "--subject", "trellis-lattice/keys/fixture.nk"];
        self.trellis(&[&sign[..], &keys].concat())?;
        Ok(fs::write(self.dir.path().join("app.yaml"), manifest)?)
    }

    /// A connection of this process as one of the lattice's users.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn connect(&self, user: &str) -> Result<Arc<NatsLattice>> {
        let creds = self.dir.path().join("trellis-lattice/users").join(format!("{user}.creds"));
        let mut options = nats::NatsOptions::new(self.url());
        options.auth = nats::NatsAuth::Creds(fs::read_to_string(creds)?);
        options.inbox_prefix = Some(format!("_INBOX_{user}"));
        nats::connect(options).await.with_context(|| format!("connect as {user}"))
    }

    /// Signs a guest with the lattice's issuer, and writes `app.yaml` for it as [`TestLattice::deploy`]
    /// does.
    ///
    /// # Errors
    /// What `trellis` says.
    pub fn sign(&self, guest: &str, manifest: &str) -> Result<()> {
        let component = format!("{guest}.wasm");
        fs::copy(fixtures::guest(guest)?, self.dir.path().join(&component))?;
        let subject = format!("trellis-lattice/keys/{guest}.nk");
        let sign = ["claim", "sign", &component, "--name", guest, "--subject", &subject];
        self.trellis(&[&sign[..], &["--issuer", "trellis-lattice/keys/issuer.nk"]].concat())?;
        let manifest = manifest.replace("COMPONENT", &component).replace("PORT", &self.port.to_string());
        fs::write(self.dir.path().join("app.yaml"), manifest)?;
        Ok(())
    }

    /// Signs a guest as this revision of the one module that all versions are of, and deploys it by a
    /// manifest as [`TestLattice::deploy`] does, without waiting for it.
    ///
    /// # Errors
    /// What `trellis` says.
    pub fn version(&self, guest: &str, revision: u64, manifest: &str) -> Result<String> {
        let component = format!("version-{revision}.wasm");
        fs::copy(fixtures::guest(guest)?, self.dir.path().join(&component))?;
        let revision = revision.to_string();
        let sign = ["claim", "sign", &component, "--name", "versions", "--rev", &revision];
        let keys =
            ["--issuer", "trellis-lattice/keys/issuer.nk", "--subject", "trellis-lattice/keys/versions.nk"];
        self.trellis(&[&sign[..], &keys].concat())?;
        let manifest = manifest.replace("COMPONENT", &component).replace("PORT", &self.port.to_string());
        fs::write(self.dir.path().join("app.yaml"), manifest)?;
        self.trellis(&["app", "deploy", "app.yaml", "--no-wait"])
    }

    /// Deploys a manifest of wasmCloud's form, with these components of `guests/compat` where it
    /// looks for them (`./build/<name>_s.wasm`).
    ///
    /// # Errors
    /// What `trellis` says.
    pub fn deploy_foreign(&self, manifest: &str, components: &[&str]) -> Result<String> {
        let build = self.dir.path().join("build");
        fs::create_dir_all(&build)?;
        for component in components {
            let file = format!("{}_s.wasm", component.replace('-', "_"));
            fs::copy(fixtures::foreign(component)?, build.join(file))?;
        }
        fs::write(self.dir.path().join("wadm.yaml"), manifest)?;
        self.trellis(&["app", "deploy", "wadm.yaml", "--sign", "--wait-for", "60"])
    }

    /// Runs `trellis` as the lattice's administrator; gives what it printed.
    ///
    /// # Errors
    /// What it said, when it failed.
    pub fn trellis(&self, args: &[&str]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        call(&self.trellis, self.dir.path(), &args)
    }

    /// The same, as JSON.
    ///
    /// # Errors
    /// What it said, or that it was no JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.trellis(&[&["--output", "json"], args].concat())?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Sends one HTTP request to one host: status and body.
    ///
    /// # Errors
    /// No answer.
    pub fn http(&self, host: u8, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        http(SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), self.port)), method, path, body)
    }
}

/// Sends one HTTP request: status and body.
///
/// # Errors
/// No answer.
pub fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let length = body.len();
    // HTTP/1.0: whatever a component does about the length of its answer, there is no framing to undo.
    write!(stream, "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no complete answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}

/// A port that was free on every address a moment ago.
///
/// # Errors
/// The operating system has none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port())
}

fn urls<'server>(servers: impl Iterator<Item = &'server NatsServer>) -> String {
    let urls: Vec<String> = servers.map(NatsServer::url).collect();
    urls.join(",")
}

async fn controller(trellis: &Path, dir: &Path, name: &str, more: &[&str]) -> Result<Process> {
    let mut process = ProcessSpec::new(name, trellis, dir.join(format!("{name}.log")))
        .args(["controller", "--profile", "fast"])
        .args(more)
        .current_dir(dir)
        .spawn()?;
    process.wait_for_line("is up", PATIENCE).await?;
    Ok(process)
}

fn call(trellis: &Path, dir: &Path, args: &[String]) -> Result<String> {
    let output =
        Command::new(trellis).args(args).current_dir(dir).env("TRELLIS_HOME", dir.join("home")).output()?;
    if !output.status.success() {
        bail!("trellis {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
