//! The demo's lattice: its server, controller and hosts as real processes, and `trellis` as its
//! user would call it.
#![allow(clippy::indexing_slicing, reason = "the demo has just its three hosts")]

use super::http;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tests_harness::{NatsOptions, NatsServer, Process, ProcessSpec, eventually, fixtures, tools, workspace};

const PORT: u16 = 8080;
const START: Duration = Duration::from_secs(60);
/// Name, region and address of each host.
const HOSTS: [(&str, &str, Ipv4Addr); 3] = [
    ("NEDGE01", "ap-east-1", Ipv4Addr::new(127, 0, 0, 1)),
    ("NEDGE02", "ap-southeast-1", Ipv4Addr::new(127, 0, 0, 2)),
    ("NEDGE03", "us-west-1", Ipv4Addr::new(127, 0, 0, 3)),
];

/// One host.
pub struct Host {
    pub name: &'static str,
    process: Process,
    address: SocketAddr,
}

/// Everything that runs.
pub struct Stage {
    pub hosts: Vec<Host>,
    dir: PathBuf,
    trellis: PathBuf,
    // Dropped last: the others still speak to it when they end.
    _controller: Process,
    nats: NatsServer,
}

impl Stage {
    /// Installs, builds and starts everything, and deploys the application.
    pub async fn build() -> Result<Self> {
        tools::ensure_wasm_target()?;
        tools::ensure_nats_server()?;
        step("Building guests and trellis in release (the first time takes some minutes)");
        fixtures::build_guests()?;
        let trellis = build_release()?;
        let dir = workspace::target_dir().join("demo");
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("clear {}", dir.display()))?;
        }
        fs::create_dir_all(&dir)?;
        step("Making a lattice: keys, NATS users, server configuration");
        let mut init = vec!["lattice", "init", "--dir", "trellis-lattice", "--name", "demo"];
        for (name, _, _) in HOSTS {
            init.extend(["--host", name]);
        }
        call(&trellis, &dir, &init)?;
        let auth = fs::read_to_string(dir.join("trellis-lattice/nats/auth.conf"))?;
        let options =
            NatsOptions { name: "demo".to_owned(), operator_config: Some(auth), ..NatsOptions::default() };
        let nats = NatsServer::start(options).await?;
        let url = nats.url();
        init.extend(["--nats", &url]);
        call(&trellis, &dir, &init)?;

        step("Starting one controller and three hosts");
        let mut controller = ProcessSpec::new("controller", &trellis, dir.join("controller.log"))
            .args(["controller", "--profile", "fast"])
            .current_dir(&dir)
            .spawn()?;
        controller.wait_for_line("is up", START).await?;
        let mut hosts = Vec::new();
        for (name, region, address) in HOSTS {
            let process = host(&trellis, &dir, (name, region, address)).await?;
            hosts.push(Host { name, process, address: SocketAddr::from((address, PORT)) });
        }
        let stage = Self { hosts, dir, trellis, _controller: controller, nats };
        stage.observed().await?;
        stage.deploy()?;
        Ok(stage)
    }

    /// Waits until the controller knows every host: only then does it spread over all of them.
    async fn observed(&self) -> Result<()> {
        eventually(START, "the controller knows every host", || async {
            let text = self.trellis(&["--output", "json", "get", "hosts"])?;
            let hosts: Vec<serde_json::Value> = serde_json::from_str(&text)?;
            let known = hosts.iter().filter(|host| host["observed"] == true).count();
            ensure!(known == HOSTS.len(), "{known} of {}", HOSTS.len());
            Ok(())
        })
        .await
    }

    fn deploy(&self) -> Result<()> {
        step("Signing the component and deploying the application from one manifest");
        let component = self.dir.join("edge_processor.wasm");
        fs::copy(fixtures::guest("edge-processor")?, &component)?;
        self.trellis(&[
            "claim",
            "sign",
            "edge_processor.wasm",
            "--name",
            "edge-processor",
            "--issuer",
            "trellis-lattice/keys/issuer.nk",
            "--subject",
            "trellis-lattice/keys/edge-processor.nk",
        ])?;
        let manifest = fs::read_to_string(workspace::root().join("guests/edge-processor/app-lattice.yaml"))?;
        let manifest =
            manifest.replace("../target/wasm32-wasip2/release/edge_processor.wasm", "edge_processor.wasm");
        fs::write(self.dir.join("app.yaml"), manifest)?;
        print!("{}", self.trellis(&["app", "deploy", "app.yaml"])?);
        Ok(())
    }

    /// A heading.
    pub fn say(&self, text: &str) {
        step(text);
    }

    /// Runs `trellis` in the demo's directory, and gives what it printed.
    pub fn trellis(&self, args: &[&str]) -> Result<String> {
        call(&self.trellis, &self.dir, args)
    }

    /// Posts a reading to one host.
    pub fn post_reading(&self, host: usize, reading: &str) -> Result<String> {
        http::request(self.hosts[host].address, "POST", "/readings", reading)
    }

    /// What any host says of a device: waits until its reading has arrived.
    pub async fn device(&self, id: &str) -> Result<String> {
        let address = self.hosts[0].address;
        let path = format!("/devices/{id}");
        eventually(Duration::from_secs(20), "the reading sent by NATS is stored", || async {
            http::request(address, "GET", &path, "")
        })
        .await
    }

    /// Hosts, actors and links.
    pub fn tables(&self) -> Result<()> {
        for noun in ["hosts", "actors", "links"] {
            println!("\n  $ trellis get {noun}\n{}", self.trellis(&["get", noun])?.trim_end());
        }
        Ok(())
    }

    /// Ends a host without a word.
    pub fn kill(&mut self, host: usize) -> Result<()> {
        self.hosts[host].process.kill()?;
        Ok(())
    }

    /// Starts a host again that was ended.
    pub async fn start_again(&mut self, at: usize) -> Result<()> {
        self.hosts[at].process = host(&self.trellis, &self.dir, HOSTS[at]).await?;
        Ok(())
    }

    /// Signs and deploys a guest by its own manifest.
    pub fn deploy_guest(&self, guest: &str) -> Result<String> {
        let guests = workspace::root().join("guests");
        let built = format!("{}/target/", guests.display());
        let manifest = fs::read_to_string(guests.join(guest).join("app.yaml"))?.replace("../target/", &built);
        let file = format!("{guest}.yaml");
        fs::write(self.dir.join(&file), manifest)?;
        self.trellis(&["app", "deploy", &file, "--sign"])
    }

    /// The host that runs an actor.
    pub fn host_of(&self, actor: &str) -> Result<usize> {
        let actors = self.actors()?;
        let found =
            actors.iter().find(|one| one["id"] == actor).with_context(|| format!("{actor}: {actors:?}"))?;
        let at = self.hosts.iter().position(|host| found["hosts"].get(host.name).is_some());
        at.with_context(|| format!("nobody runs {actor}"))
    }

    /// Where each host would listen at this port.
    pub fn addresses(&self, port: u16) -> impl Iterator<Item = SocketAddr> {
        HOSTS.into_iter().map(move |(_, _, address)| SocketAddr::from((address, port)))
    }

    /// What a host has logged with these words, from them on.
    pub fn logged(&self, host: usize, words: &str) -> Result<Vec<String>> {
        let log = fs::read_to_string(self.dir.join(format!("{}.log", self.hosts[host].name)))?;
        Ok(log
            .lines()
            .filter_map(|line| line.find(words).and_then(|at| line.get(at..)))
            .map(str::to_owned)
            .collect())
    }

    /// How many replicas run on a host.
    pub fn replicas(&self, host: &str) -> Result<u64> {
        let actors = self.actors()?;
        Ok(actors.iter().filter_map(|actor| actor["hosts"].get(host)?.as_u64()).sum())
    }

    /// Waits until three replicas run again, none of them on the dead host.
    pub async fn replaced(&self, dead: &str, deadline: Duration) -> Result<()> {
        eventually(deadline, "the lost replica runs elsewhere", || async {
            let actors = self.actors()?;
            let whole =
                actors.iter().any(|actor| actor["running"] == 3 && actor["hosts"].get(dead).is_none());
            ensure!(whole, "not yet: {actors:?}");
            Ok(())
        })
        .await
    }

    fn actors(&self) -> Result<Vec<serde_json::Value>> {
        Ok(serde_json::from_str(&self.trellis(&["--output", "json", "get", "actors"])?)?)
    }

    /// What to try next.
    pub fn invite(&self) {
        let program = self.trellis.display();
        let address = self.hosts[0].address;
        println!("\nThe lattice is up (NATS at {}). In another terminal:\n", self.nats.url());
        println!("  cd {}", self.dir.display());
        println!("  alias trellis={program}");
        println!("  curl -s http://{address}/readings -d '{}'", super::READING);
        println!("  trellis get hosts");
        println!("  trellis scale actor edge/edge-processor --max 6");
        println!("  trellis link query edge/edge-processor");
        println!("  trellis query battery/drone-001 level");
        println!("  trellis actor journal temperature/machine-01");
        println!("\nCtrl-C ends it.");
        // A closed pipe is the reader's choice.
        let _ = std::io::stdout().flush();
    }
}

async fn host(
    trellis: &PathBuf,
    dir: &Path,
    (name, region, address): (&str, &str, Ipv4Addr),
) -> Result<Process> {
    let mut process = ProcessSpec::new(name, trellis, dir.join(format!("{name}.log")))
        .args(["host", "--host-id", name, "--heartbeat-ms", "250", "--label", "tier=edge"])
        .args(["--label", &format!("region={region}"), "--listen", &address.to_string()])
        .current_dir(dir)
        .spawn()?;
    process.wait_for_line("is up", START).await?;
    Ok(process)
}

fn step(text: &str) {
    println!("\n== {text}");
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().flush();
}

fn build_release() -> Result<PathBuf> {
    let started = Instant::now();
    let status = tests_harness::cargo()
        .args(["build", "--release", "--locked", "--package", "lattice-ctl-cli"])
        .status()?;
    ensure!(status.success(), "trellis does not build in release");
    println!("  built in {} s", started.elapsed().as_secs());
    Ok(workspace::target_dir().join("release/trellis"))
}

fn call(trellis: &PathBuf, dir: &PathBuf, args: &[&str]) -> Result<String> {
    let output = Command::new(trellis).args(args).current_dir(dir).output()?;
    if !output.status.success() {
        bail!("trellis {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
