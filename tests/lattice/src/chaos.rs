//! A lattice under faults, on real processes, and what the checker of histories says of it
//! ([`tests_chaos`]): nothing acknowledged is lost, nothing is done twice, every actor is linearizable, one
//! owner writes at a time, and every hash follows from the one before.
//!
//! Clients work through three hosts over three servers, which keep three copies of every shard; meanwhile hosts
//! are killed, cut off and stopped for longer than their leases, servers are killed one by one, and all at once;
//! and shards move from host to host, some of them while the host that gives or the one that gets is killed.
//! Everything comes from a seed, but for the order in which real processes get on. The streams are trimmed as the
//! run goes, so their records are read along.
//!
//! | module | does |
//! |---|---|
//! | `clients` | commands and queries, each command until it is acknowledged |
//! | `faults` | what happens to hosts and servers |
//! | `moves` | shards that go from host to host, as `trellis migrate` has them go |
//! | `tap` | reads the records of every shard along |

mod clients;
mod faults;
mod moves;
mod tap;

use crate::{PATIENCE, TestLattice};
use anyhow::{Result, ensure};
use clients::Clients;
use faults::{Fault, World};
use lattice_io::Replicas;
use lattice_journal::ShardId;
use lattice_protocol::seeded::Seeded;
use lattice_protocol::subject::Subjects;
pub use moves::Moved;
use moves::Moves;
use std::fmt;
use std::fs::File;
use std::io::{Seek, Write};
use std::time::{Duration, Instant};
use tests_chaos::history::Entry;
use tests_chaos::model::Model;
use tests_chaos::{History, Verdict, check};
use tests_harness::eventually;

/// Shards of a kind.
const SHARDS: u16 = 16;
/// The kind.
const KIND: &str = "account";

/// How much.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything that is random comes from it.
    pub seed: u64,
    /// Commands that are to be acknowledged.
    pub commands: u64,
    /// Actors.
    pub actors: u32,
    /// The actors are of so many of the kind's shards: few shards are trimmed sooner.
    pub shards: u16,
    /// Clients that ask at once.
    pub clients: u32,
    /// Hosts.
    pub hosts: u8,
    /// Servers, 1 or 3; they keep as many copies of each shard.
    pub servers: u8,
    /// SIGKILLs of hosts.
    pub host_kills: usize,
    /// SIGKILLs of a server.
    pub server_kills: usize,
    /// Hosts that are cut off from every server for longer than their lease.
    pub partitions: usize,
    /// Hosts that are stopped for three leases, and go on.
    pub pauses: usize,
    /// Everything killed at once.
    pub power_cuts: usize,
    /// Shards that go to another host.
    pub moves: usize,
    /// The same, and the host that gives or the one that gets is killed meanwhile.
    pub moves_cut: usize,
}

impl Plan {
    /// The sizes of CI: P1 and P4.
    #[must_use]
    pub fn ci(seed: u64) -> Self {
        Self {
            seed,
            commands: 10_000,
            actors: 200,
            shards: 4,
            clients: 16,
            hosts: 3,
            servers: 3,
            host_kills: 20,
            server_kills: 5,
            partitions: 5,
            pauses: 20,
            power_cuts: 2,
            moves: 30,
            moves_cut: 20,
        }
    }

    /// Those of the promises, on demand.
    #[must_use]
    pub fn long(seed: u64) -> Self {
        Self {
            commands: 100_000,
            shards: 16,
            host_kills: 200,
            server_kills: 50,
            partitions: 50,
            pauses: 100,
            power_cuts: 20,
            moves: 300,
            moves_cut: 200,
            ..Self::ci(seed)
        }
    }

    /// A run that is over in a minute, on one server.
    #[must_use]
    pub fn small(seed: u64) -> Self {
        Self {
            commands: 600,
            actors: 20,
            clients: 8,
            servers: 1,
            host_kills: 2,
            server_kills: 1,
            partitions: 1,
            pauses: 1,
            power_cuts: 1,
            moves: 4,
            moves_cut: 4,
            ..Self::ci(seed)
        }
    }

    fn faults(&self) -> Vec<Fault> {
        let counts = [
            (Fault::KillHost, self.host_kills),
            (Fault::KillServer, self.server_kills),
            (Fault::Partition, self.partitions),
            (Fault::Pause, self.pauses),
            (Fault::PowerCut, self.power_cuts),
            (Fault::Move, self.moves),
            (Fault::MoveKillsGiver, self.moves_cut.div_ceil(2)),
            (Fault::MoveKillsGetter, self.moves_cut / 2),
        ];
        let mut all: Vec<Fault> =
            counts.into_iter().flat_map(|(fault, count)| std::iter::repeat_n(fault, count)).collect();
        let mut random = Seeded::new(self.seed);
        for at in (1..all.len()).rev() {
            all.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap_or_default());
        }
        all
    }

    fn copies(&self) -> Replicas {
        if self.servers == 1 { Replicas::One } else { Replicas::Three }
    }

    /// Actors whose shards are the first few.
    fn actors(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for n in 0_u32.. {
            if found.len() >= usize::try_from(self.actors)? {
                break;
            }
            let actor = format!("{KIND}/a-{n}");
            if ShardId::of(&actor.parse().map_err(|error| anyhow::anyhow!("{error}"))?, SHARDS).0
                < self.shards
            {
                found.push(actor);
            }
        }
        Ok(found)
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What the checker says.
    pub verdict: Verdict,
    /// What it was said of.
    pub history: History,
    /// Owners that took a shard over behind a checkpoint; most records that one of them read.
    pub takeovers: Takeovers,
    /// Shards that were to move.
    pub moved: Moved,
    counters: String,
}

/// How shards were taken over, as the hosts' logs have it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Takeovers {
    /// All.
    pub all: usize,
    /// Those that began behind a checkpoint.
    pub behind_checkpoint: usize,
    /// Most records that one of those read.
    pub most_read: u64,
    /// The last record of a shard whose owner began behind a checkpoint.
    pub longest: u64,
    /// How long the middle one took, and all but one in a hundred, milliseconds: from the decision to the
    /// first command that could be taken.
    pub took_ms: (u64, u64),
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.counters)?;
        writeln!(formatter, "{}", self.moved)?;
        let Takeovers { all, behind_checkpoint, most_read, longest, took_ms: (p50, p99) } = self.takeovers;
        writeln!(
            formatter,
            "takeovers {all}, p50 {p50} ms, p99 {p99} ms; behind a checkpoint {behind_checkpoint}: of up to \
             {longest} records at most {most_read} read"
        )?;
        write!(formatter, "{}", self.verdict)
    }
}

const MANIFEST: &str = r"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: bank }
spec:
  actors:
    - name: account
      artifact: account.wasm
      replicas: HOSTS
      persistent: { durability: lattice, replicas: COPIES, retainHours: 0, snapshots: { events: 40 } }
";

/// Runs it.
///
/// # Errors
/// The lattice did not come up, or a client was never answered. What the checker finds is no error here.
pub async fn run(plan: &Plan) -> Result<Outcome> {
    let began = Instant::now();
    let (world, mut lattice) = World::start(plan).await?;
    deploy(&lattice, plan)?;
    let client = lattice.connect("admin").await?;
    let server = client.server_info().map(|info| info.version).unwrap_or_default();
    let (io, subjects) = (client.lattice(), Subjects::new("test".parse()?));
    let tap = tap::Tap::start(&io, &subjects, (&KIND.parse()?, plan.shards), plan.copies()).await?;
    let clients = Clients::new(plan, &io, &subjects)?;
    eventually(PATIENCE, "the kind is served", || async { clients.warm().await }).await?;
    let working = clients.start();
    let moves = Moves::new(plan, &io, &subjects)?;
    let (done, moved) = faults::inflict(plan, world, &mut lattice, (&clients, moves)).await?;
    let mut entries = vec![Entry::Model { kind: KIND.to_owned(), model: Model::Sum }];
    entries.extend(working.end().await?);
    entries.extend(tap.end().await?);
    entries.push(Entry::Ended);
    let history = History(entries);
    let verdict = check(&history);
    let takeovers = takeovers(&lattice, plan.hosts);
    let counters = format!(
        "seed {}, nats-server {server}, fsync {}, {:.0} s: {done}",
        plan.seed,
        fsync()?,
        began.elapsed().as_secs_f64()
    );
    drop(lattice);
    Ok(Outcome { verdict, history, takeovers, moved, counters })
}

fn deploy(lattice: &TestLattice, plan: &Plan) -> Result<()> {
    let manifest = MANIFEST
        .replace("HOSTS", &plan.hosts.to_string())
        .replace("COPIES", &plan.copies().count().to_string());
    lattice.deploy_accounts(&manifest)
}

fn takeovers(lattice: &TestLattice, hosts: u8) -> Takeovers {
    let (mut found, mut took) = (Takeovers::default(), Vec::new());
    for host in 1..=hosts {
        let log = std::fs::read_to_string(lattice.path().join(format!("H{host}.log"))).unwrap_or_default();
        for line in log.lines().filter(|line| line.contains("shard taken over")) {
            let number = |name: &str| -> u64 {
                let value = line.split(&format!("{name}=")).nth(1).unwrap_or_default();
                value.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
            };
            let (read, behind) = (number("read"), number("behind"));
            found.all += 1;
            took.push(number("took_ms"));
            if behind > 0 {
                found.behind_checkpoint += 1;
                found.most_read = found.most_read.max(read);
                found.longest = found.longest.max(read + behind);
            }
        }
    }
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    found.took_ms = (at(50), at(99));
    found
}

/// What a sync of four KiB costs here: p50 and p99.
fn fsync() -> Result<String> {
    let mut file: File = tempfile::tempfile()?;
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        file.rewind()?;
        file.write_all(&[7; 4_096])?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let at = |index: usize| took.get(index).copied().unwrap_or_default().as_micros();
    Ok(format!("p50 {} µs, p99 {} µs", at(100), at(198)))
}

/// What a promise demands of a run.
///
/// # Errors
/// What is broken.
pub fn judge(outcome: &Outcome) -> Result<()> {
    ensure!(outcome.verdict.is_clean(), "{outcome}");
    ensure!(outcome.verdict.undecided.is_empty(), "not decided: {outcome}");
    Ok(())
}
