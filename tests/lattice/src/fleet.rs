//! Three hosts, a real server, a controller and its standby, and load from outside: what the loss of a
//! host costs, what its leaving does not, and what goes on without the lattice.
//!
//! ```text
//! clients of the site ── HTTP ──▶ /solo  one replica     each request tries the hosts in turn, the one
//!                                 /pair  two replicas    that answered last first, as a balancer does
//!                                 /ping  on every host ── a link with retries, NATS ──▶ pong, one replica
//! ```

use crate::balancer::{Asked, Balancer, Load};
use crate::{HostAt, PATIENCE, TestLattice};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tests_harness::{Cut, NatsOptions, Process, Wires, eventually};

/// Hosts of a fleet.
pub const HOSTS: u8 = 3;
/// Hosts beat as often as the fast profile is made for.
const HEARTBEAT_MS: u64 = 500;

/// Clients that ask for what was lost, and how long after the other each begins.
const CLIENTS: u32 = 8;
const TURN: Duration = Duration::from_millis(25);

/// The application that the fleet runs.
pub const APPLICATION: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: fleet }
spec:
  actors:
    - name: solo
      artifact: http-hello.wasm
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: /solo } }
    - name: pair
      artifact: http-hello.wasm
      replicas: 2
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: /pair } }
    - name: ping
      artifact: ping.wasm
      daemon: true
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
        - { to: pong, interface: "example:pong/pingpong@0.1.0", timeoutMs: 500, retries: 20, retryDelayMs: 50, idempotent: true }
    - name: pong
      artifact: pong.wasm
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
"#;

/// What a client asks for, and which actor that is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Over HTTP, from the one host that has it.
    Solo,
    /// Over HTTP, from a host whose actor asks another one over NATS.
    Ping,
    /// Over HTTP, from one of two hosts that have it.
    Pair,
}

impl Service {
    /// Its path.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Solo => "/solo",
            Self::Ping => "/",
            Self::Pair => "/pair",
        }
    }

    /// The actor without which there is no answer.
    #[must_use]
    pub fn actor(self) -> &'static str {
        match self {
            Self::Solo => "fleet/solo",
            Self::Ping => "fleet/pong",
            Self::Pair => "fleet/pair",
        }
    }
}

/// How a host is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its process dies.
    Killed,
    /// Its packets are dropped, and nobody is told.
    Silent,
}

/// A lattice of three hosts that runs [`APPLICATION`].
pub struct Fleet {
    /// The lattice; its hosts are numbered from 1.
    pub lattice: TestLattice,
    /// The second controller.
    pub standby: Process,
    wires: Option<Wires>,
}

impl Fleet {
    /// Starts it; `wired` gives every host a network of its own, which takes root.
    ///
    /// # Errors
    /// What did not start, or did not settle.
    pub async fn start(trellis: Option<PathBuf>, wired: bool) -> Result<Self> {
        let options = NatsOptions { everywhere: wired, ..NatsOptions::default() };
        let lattice = TestLattice::prepare_by(trellis, (1, options), HOSTS).await?;
        let wires = if wired { Some(Wires::lay(HOSTS, lattice.path()).await?) } else { None };
        let standby = lattice.spawn_controller("standby", &[]).await?;
        let mut fleet = Self { lattice, standby, wires };
        for host in 1..=HOSTS {
            let process = fleet.spawn(host).await?;
            fleet.lattice.hosts.push(process);
        }
        for guest in ["http-hello", "ping", "pong"] {
            fleet.lattice.sign(guest, APPLICATION)?;
        }
        fleet.lattice.trellis(&["app", "deploy", "app.yaml", "--wait-for", "60"])?;
        fleet.settle().await?;
        Ok(fleet)
    }

    /// Starts a host, again or for the first time.
    ///
    /// # Errors
    /// It did not start.
    pub async fn spawn(&self, host: u8) -> Result<Process> {
        let port = self.lattice.nats.address().port();
        let (server, before) = match &self.wires {
            Some(wires) => (wires.server(host)?, wires.before(host)?.to_vec()),
            None => (Ipv4Addr::LOCALHOST, Vec::new()),
        };
        let at = HostAt {
            nats_url: format!("nats://{server}:{port}"),
            listen: IpAddr::V4(self.site(host)?),
            heartbeat_ms: HEARTBEAT_MS,
            before,
        };
        self.lattice.spawn_host_at(host, &at, &[]).await
    }

    fn process(&mut self, host: u8) -> Result<&mut Process> {
        let index = usize::from(host).checked_sub(1);
        index.and_then(|index| self.lattice.hosts.get_mut(index)).with_context(|| format!("no host {host}"))
    }

    fn site(&self, host: u8) -> Result<Ipv4Addr> {
        match &self.wires {
            Some(wires) => wires.site(host),
            None => Ok(Ipv4Addr::new(127, 0, 0, host)),
        }
    }

    /// The networks of the hosts.
    ///
    /// # Errors
    /// They have none.
    pub fn wires(&self) -> Result<&Wires> {
        self.wires.as_ref().context("this fleet is not wired")
    }

    /// Where a host's HTTP server is.
    ///
    /// # Errors
    /// No such host.
    pub fn address(&self, host: u8) -> Result<SocketAddr> {
        Ok(SocketAddr::from((self.site(host)?, self.lattice.port())))
    }

    /// A client of all hosts.
    ///
    /// # Errors
    /// No such host.
    pub fn balancer(&self) -> Result<Balancer> {
        let addresses: Result<Vec<SocketAddr>> = (1..=HOSTS).map(|host| self.address(host)).collect();
        Ok(Balancer::new(addresses?))
    }

    /// The hosts that an actor is placed on, by number.
    ///
    /// # Errors
    /// What `trellis` says.
    pub fn hosts_of(&self, actor: &str) -> Result<Vec<u8>> {
        let actors = self.lattice.json(&["get", "actors"])?;
        let known = actors.as_array().into_iter().flatten();
        let names = |known: &Value| -> Vec<String> {
            known["hosts"].as_object().into_iter().flatten().map(|(host, _)| host.clone()).collect()
        };
        let found = known.filter(|known| known["id"] == actor).flat_map(names);
        found.map(|name| Ok(name.trim_start_matches('H').parse()?)).collect()
    }

    /// The decision in force about the application: the revision of its record.
    ///
    /// # Errors
    /// No host has it.
    pub fn decision(&self) -> Result<u64> {
        let hosts = self.lattice.json(&["get", "inventory"])?;
        let told = hosts.as_array().into_iter().flatten();
        let revisions = told.filter_map(|host| host.pointer("/heartbeat/apps/fleet")?.as_u64());
        revisions.max().context("no host has the application")
    }

    /// Waits until every host is there, and everything runs where it is placed.
    ///
    /// # Errors
    /// It does not come to that.
    pub async fn settle(&self) -> Result<()> {
        eventually(PATIENCE, "the fleet settles", || async {
            let hosts = self.lattice.json(&["get", "hosts"])?;
            let alive = hosts.as_array().into_iter().flatten();
            let alive = alive.filter(|host| host["health"] == "HEALTHY").count();
            ensure!(alive == usize::from(HOSTS), "{hosts}");
            let mut balancer = self.balancer()?;
            for service in [Service::Solo, Service::Ping, Service::Pair] {
                balancer.ask(service.path()).with_context(|| format!("{service:?}"))?;
            }
            for (actor, count) in
                [("fleet/solo", 1), ("fleet/pong", 1), ("fleet/pair", 2), ("fleet/ping", HOSTS.into())]
            {
                let found = self.hosts_of(actor)?;
                ensure!(found.len() == count, "{actor} on {found:?}");
            }
            Ok(())
        })
        .await
    }

    /// Loses the host without which a service has no answer, and counts the time until somebody else
    /// gives one. Then the host comes back.
    ///
    /// # Errors
    /// Nobody else gives one.
    pub async fn lose(&mut self, loss: Loss, service: Service) -> Result<Duration> {
        let hosts = self.hosts_of(service.actor())?;
        let victim = *hosts.first().with_context(|| format!("{service:?} runs nowhere"))?;
        let mut balancer = self.balancer()?;
        balancer.ask(service.path()).context("before the loss")?;
        let began = Instant::now();
        match loss {
            Loss::Killed => drop(self.process(victim)?.kill()?),
            Loss::Silent => self.wires()?.cut(victim, Cut::Everything)?,
        }
        // What was asked before the loss may have been answered by the lost one: these ask from now on.
        let asking = tokio::task::spawn_blocking(move || first_answer(&balancer, service, began));
        let took = asking.await?.with_context(|| {
            format!("{service:?}, which H{victim} had, is not served any more\n{}", self.story())
        })?;
        match loss {
            Loss::Killed => {
                let again = self.spawn(victim).await?;
                *self.process(victim)? = again;
            }
            Loss::Silent => self.wires()?.heal(victim)?,
        }
        self.settle().await?;
        Ok(took)
    }

    /// A host that has a service leaves under load (asked by `trellis stop host`, or by SIGTERM), and
    /// another process takes its place when it is gone. What became of the load.
    ///
    /// # Errors
    /// It does not leave, or was never asked for anything.
    pub async fn leave(&mut self, service: Service, by_command: bool, pause: Duration) -> Result<Asked> {
        let hosts = self.hosts_of(service.actor())?;
        let leaving = *hosts.first().with_context(|| format!("{service:?} runs nowhere"))?;
        let paths = [Service::Solo, Service::Ping, Service::Pair, service].map(Service::path);
        let load = Load::begin(&self.balancer()?, &paths, pause);
        if by_command {
            self.lattice.trellis(&["stop", "host", &format!("H{leaving}")])?;
        } else {
            self.process(leaving)?.terminate()?;
        }
        let status = self.process(leaving)?.wait_for_exit(PATIENCE).await?;
        ensure!(status.success(), "H{leaving} ended with {status}");
        // The others serve without it.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let asked = load.end()?;
        let again = self.spawn(leaving).await?;
        *self.process(leaving)? = again;
        self.settle().await?;
        Ok(asked)
    }

    /// What is known when something has gone wrong: what the lattice says, and how all logs end.
    fn story(&self) -> String {
        let asked = ["hosts", "actors", "links"].map(|what| match self.lattice.trellis(&["get", what]) {
            Ok(said) => said,
            Err(error) => format!("{what}: {error:#}"),
        });
        let processes = [&self.lattice.controller, &self.standby].into_iter().chain(&self.lattice.hosts);
        let logs = processes.map(|process| format!("log of {}:\n{}", process.id(), process.log_tail()));
        asked.into_iter().chain(logs).collect::<Vec<_>>().join("\n")
    }

    /// A client of all hosts but one.
    ///
    /// # Errors
    /// No such host.
    pub fn balancer_but(&self, host: u8) -> Result<Balancer> {
        let others = (1..=HOSTS).filter(|other| *other != host);
        let addresses: Result<Vec<SocketAddr>> = others.map(|host| self.address(host)).collect();
        Ok(Balancer::new(addresses?))
    }

    /// How often the audit stream tells of this.
    ///
    /// # Errors
    /// What `trellis` says.
    pub fn events(&self, kind: &str) -> Result<usize> {
        let events = self.lattice.json(&["get", "events", "--kind", kind, "--limit", "1000"])?;
        Ok(events.as_array().map_or(0, Vec::len))
    }
}

/// When the first of several clients that take turns is answered.
fn first_answer(balancer: &Balancer, service: Service, began: Instant) -> Option<Duration> {
    let (sender, mut answered) = tokio::sync::mpsc::channel(CLIENTS as usize);
    for turn in 0..CLIENTS {
        let (mut balancer, sender) = (balancer.clone(), sender.clone());
        std::thread::spawn(move || {
            std::thread::sleep(TURN * turn);
            while began.elapsed() < PATIENCE {
                if balancer.ask(service.path()).is_ok() {
                    // Another may have been first, and nobody listens any more.
                    let _ = sender.blocking_send(began.elapsed());
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }
    drop(sender);
    answered.blocking_recv()
}
