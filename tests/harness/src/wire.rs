//! Hosts on networks of their own: network namespaces, joined to ours by pairs of virtual Ethernet
//! devices. What runs in one can be cut off as a cable is cut: every packet is dropped, and nobody is
//! told. A process that is stopped is not that: its kernel goes on answering.
//!
//! ```text
//!  ours                                     a namespace
//!  server, controllers ── lattice veth ──── a host
//!  clients of the site ── site veth ─────── its HTTP server
//! ```
//!
//! It takes root (to make namespaces and devices), `ip` (iproute2), `nft` (nftables), and `unshare` and
//! `nsenter` (util-linux). Nothing outlives the process:
//! a namespace lives as long as the process that holds it, and the devices go with it.

use crate::process::{Process, ProcessSpec};
use crate::{eventually, tools};
use anyhow::{Context, Result, bail, ensure};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Networks that may be laid at once on one machine.
const NETWORKS: u32 = 4_000;

/// The networks of some hosts.
#[derive(Debug)]
pub struct Wires {
    hosts: Vec<Wired>,
}

#[derive(Debug)]
struct Wired {
    holder: Process,
    lattice: Link,
    site: Link,
}

/// One pair of devices: ours and theirs.
#[derive(Debug, Clone, Copy)]
struct Link {
    ours: Ipv4Addr,
    theirs: Ipv4Addr,
}

/// What is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The way to the lattice: the site goes on reaching its host.
    Lattice,
    /// Everything.
    Everything,
}

/// Why there can be no namespaces here; `None` where there can. A test that needs them says so and ends
/// where root itself gets none, and without root on a developer's machine; without root where everything has
/// to run (`TRELLIS_CI`) it goes on, and fails.
#[must_use]
pub fn unavailable() -> Option<&'static str> {
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        // Some machines give root no namespaces either; a program that is missing is another matter.
        let apart = Command::new("unshare").args(["--net", "true"]).status();
        return apart
            .is_ok_and(|status| !status.success())
            .then_some("this machine gives no network namespaces");
    }
    std::env::var_os("TRELLIS_CI")
        .is_none()
        .then_some("network namespaces need root: run this test as root (CI does)")
}

impl Wires {
    /// Lays the wires of so many hosts, numbered from 1. `dir` is for logs.
    ///
    /// # Errors
    /// No root, or a program is missing.
    pub async fn lay(hosts: u8, dir: &Path) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "network namespaces need root");
        tools::ensure_networks()?;
        let network = free_network()?;
        let mut wired = Vec::new();
        for number in 1..=hosts {
            let log = dir.join(format!("wire-{number}.log"));
            let holder =
                ProcessSpec::new("namespace", "unshare", log).args(["--net", "sleep", "infinity"]).spawn()?;
            until_apart(&holder).await?;
            let (lattice, site) = (link(network, number, 0), link(network, number, 1));
            for (name, link) in [("l", lattice), ("s", site)] {
                join(&holder, (&format!("tv{network}{name}{number}"), name), link)?;
            }
            inside(&holder, &["ip", "link", "set", "dev", "lo", "up"], None)?;
            wired.push(Wired { holder, lattice, site });
        }
        Ok(Self { hosts: wired })
    }

    fn host(&self, host: u8) -> Result<&Wired> {
        let index = usize::from(host).checked_sub(1);
        index.and_then(|index| self.hosts.get(index)).with_context(|| format!("no wire {host}"))
    }

    /// Our address, as a host reaches the lattice's server.
    ///
    /// # Errors
    /// No such host.
    pub fn server(&self, host: u8) -> Result<Ipv4Addr> {
        Ok(self.host(host)?.lattice.ours)
    }

    /// A host's address, as its site reaches it.
    ///
    /// # Errors
    /// No such host.
    pub fn site(&self, host: u8) -> Result<Ipv4Addr> {
        Ok(self.host(host)?.site.theirs)
    }

    /// What comes before a command, so that it runs on this host's network.
    ///
    /// # Errors
    /// No such host.
    pub fn before(&self, host: u8) -> Result<[String; 3]> {
        let holder = self.host(host)?.holder.id();
        Ok(["nsenter".to_owned(), format!("--net=/proc/{holder}/ns/net"), "--".to_owned()])
    }

    /// From now on packets are dropped, silently, in both directions.
    ///
    /// # Errors
    /// What `nft` says.
    pub fn cut(&self, host: u8, what: Cut) -> Result<()> {
        let device = match what {
            Cut::Lattice => "\"l\"",
            Cut::Everything => "{ \"l\", \"s\" }",
        };
        let rules = format!(
            "table inet cut {{\n chain in {{ type filter hook input priority 0; iifname {device} drop; }}\n \
             chain out {{ type filter hook output priority 0; oifname {device} drop; }}\n}}\n"
        );
        inside(&self.host(host)?.holder, &["nft", "-f", "-"], Some(&rules))
    }

    /// Undoes [`Wires::cut`].
    ///
    /// # Errors
    /// What `nft` says.
    pub fn heal(&self, host: u8) -> Result<()> {
        inside(&self.host(host)?.holder, &["nft", "flush", "ruleset"], None)
    }
}

/// Waits until the process is in a namespace of its own.
async fn until_apart(holder: &Process) -> Result<()> {
    let of = |id: &str| std::fs::read_link(format!("/proc/{id}/ns/net")).map_err(anyhow::Error::from);
    let ours = of("self")?;
    eventually(Duration::from_secs(20), "a network namespace", || {
        let theirs = of(&holder.id().to_string());
        let apart = theirs.and_then(|theirs| {
            ensure!(theirs != ours, "not yet");
            Ok(())
        });
        std::future::ready(apart)
    })
    .await
    .with_context(|| format!("log of unshare:\n{}", holder.log_tail()))
}

/// A number of which no device has the name. Two that choose at once meet when the device is made.
fn free_network() -> Result<u32> {
    let devices = std::fs::read_dir("/sys/class/net")?;
    let names: Vec<String> =
        devices.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let first = std::process::id() % NETWORKS;
    let mut numbers = (first..NETWORKS).chain(0..first);
    let free = |number: &u32| !names.iter().any(|name| name.starts_with(&format!("tv{number}l")));
    numbers.find(free).context("every network is taken")
}

/// Four addresses a link, eight a host, so 32 hosts a network of 256.
fn link(network: u32, host: u8, which: u32) -> Link {
    let base = (10 << 24 | 176 << 16) + (network << 8) + u32::from(host - 1) * 8 + which * 4;
    Link { ours: Ipv4Addr::from_bits(base + 1), theirs: Ipv4Addr::from_bits(base + 2) }
}

fn join(holder: &Process, (ours, theirs): (&str, &str), link: Link) -> Result<()> {
    let id = holder.id().to_string();
    run(Command::new("ip").args(["link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", &id]))?;
    run(Command::new("ip").args(["address", "add", &format!("{}/30", link.ours), "dev", ours]))?;
    run(Command::new("ip").args(["link", "set", "dev", ours, "up"]))?;
    inside(holder, &["ip", "address", "add", &format!("{}/30", link.theirs), "dev", theirs], None)?;
    inside(holder, &["ip", "link", "set", "dev", theirs, "up"], None)
}

/// Runs a command on the holder's network.
fn inside(holder: &Process, command: &[&str], input: Option<&str>) -> Result<()> {
    let net = format!("--net=/proc/{}/ns/net", holder.id());
    let mut inside = Command::new("nsenter");
    inside.arg(net).arg("--").args(command);
    match input {
        None => run(&mut inside),
        Some(text) => {
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), text)?;
            run(inside.stdin(Stdio::from(std::fs::File::open(file.path())?)))
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpStream};

    #[test]
    fn no_two_links_share_an_address() {
        let mut seen = std::collections::BTreeSet::new();
        for (network, host, which) in [(0, 1, 0), (0, 1, 1), (0, 2, 0), (0, 32, 1), (1, 1, 0), (3_999, 32, 1)]
        {
            let Link { ours, theirs } = link(network, host, which);
            assert!(seen.insert(ours) && seen.insert(theirs), "{network} {host} {which}");
            assert_eq!(ours.octets()[0], 10);
        }
    }

    #[tokio::test]
    async fn a_cut_is_silent_and_what_is_not_cut_goes_on() -> Result<()> {
        if let Some(why) = unavailable() {
            eprintln!("not run: {why}");
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let wires = Wires::lay(1, dir.path()).await?;
        let [program, args @ ..] = wires.before(1)?;
        let mut server = ProcessSpec::new("python", program, dir.path().join("http.log"))
            .args(args)
            .args(["python3", "-u", "-m", "http.server", "8000"])
            .current_dir(dir.path())
            .spawn()?;
        server.wait_for_line("Serving", Duration::from_secs(20)).await?;
        let connect = |address: Ipv4Addr| {
            TcpStream::connect_timeout(&SocketAddr::from((address, 8_000)), Duration::from_millis(500))
        };
        let (site, lattice) = (wires.site(1)?, wires.host(1)?.lattice.theirs);
        assert!(connect(site).is_ok() && connect(lattice).is_ok());
        wires.cut(1, Cut::Lattice)?;
        let refused = connect(lattice).expect_err("it is cut");
        assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut, "nobody says so");
        assert!(connect(site).is_ok(), "the site is not");
        wires.heal(1)?;
        assert!(connect(lattice).is_ok());
        wires.cut(1, Cut::Everything)?;
        assert!(connect(site).is_err() && connect(lattice).is_err());
        Ok(())
    }
}
