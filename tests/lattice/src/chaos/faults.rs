//! What happens to hosts and servers while clients work. Each host reaches each server through a proxy of its
//! own, so that it can be cut off.
//!
//! A host that is stopped or cut off stays so while other faults come: what is long does not make a run
//! longer. One host at least is always there.

use super::Plan;
use super::clients::Clients;
use super::moves::{Moved, Moves};
use crate::{PATIENCE, TestLattice};
use anyhow::{Context, Result, ensure};
use lattice_protocol::seeded::Seeded;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tests_harness::{ChaosProxy, Process};

/// How long a host's lease holds: six heartbeats of 250 ms.
const LEASE: Duration = Duration::from_millis(1_500);
/// Commands that are acknowledged while one of several servers is dead.
const MEANWHILE: u64 = 20;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    KillHost,
    KillServer,
    Partition,
    Pause,
    PowerCut,
    /// A shard goes to another host.
    Move,
    /// The same, and its owner is killed meanwhile.
    MoveKillsGiver,
    /// The same, and the host that gets it is killed meanwhile.
    MoveKillsGetter,
}

/// A host, and its way to each server.
struct Host {
    process: Process,
    ways: Vec<ChaosProxy>,
    /// Stopped or cut off, until then.
    away: Option<(Fault, Instant)>,
}

/// The hosts.
pub(super) struct World {
    hosts: Vec<Host>,
}

impl World {
    pub(super) async fn start(plan: &Plan) -> Result<(Self, TestLattice)> {
        let lattice = TestLattice::prepare_on(plan.servers, plan.hosts).await?;
        let mut hosts = Vec::new();
        for number in 1..=plan.hosts {
            let mut ways = Vec::new();
            for server in lattice.servers() {
                ways.push(ChaosProxy::start(server.address()).await?);
            }
            let process = lattice.spawn_host_by(number, &urls(&ways), &[]).await?;
            hosts.push(Host { process, ways, away: None });
        }
        Ok((Self { hosts }, lattice))
    }
}

fn urls(ways: &[ChaosProxy]) -> String {
    let urls: Vec<String> = ways.iter().map(|way| format!("nats://{}", way.address())).collect();
    urls.join(",")
}

/// Inflicts all of a plan's faults, spread over its commands; says what was done, and what became of the moves.
pub(super) async fn inflict(
    plan: &Plan,
    mut world: World,
    lattice: &mut TestLattice,
    (clients, mut moves): (&Clients, Moves),
) -> Result<(String, Moved)> {
    let faults = plan.faults();
    let mut random = Seeded::new(plan.seed ^ 0xfa);
    let apart = plan.commands / (faults.len() as u64 + 1);
    let mut done: BTreeMap<Fault, usize> = BTreeMap::new();
    for (number, fault) in (1..).zip(faults) {
        world.get_on(clients, number * apart).await.with_context(|| format!("{fault:?} {number}"))?;
        world
            .suffer(fault, &mut random, (lattice, clients, &mut moves))
            .await
            .with_context(|| format!("{fault:?} {number}"))?;
        *done.entry(fault).or_default() += 1;
    }
    // Who was away is back: what is still under way can be done, and a shard can go wherever it should.
    world.all_come_back()?;
    let hosts = world.hosts.len();
    let moved =
        if plan.moves > 0 && hosts > 1 { moves.end_with_one(hosts).await? } else { moves.end().await? };
    world.get_on(clients, plan.commands).await?;
    let done: Vec<String> = done.iter().map(|(fault, count)| format!("{fault:?} {count}")).collect();
    let (acknowledged, attempts) = (clients.acknowledged(), clients.attempts());
    Ok((format!("{}; {acknowledged} acknowledged, {attempts} attempts", done.join(", ")), moved))
}

impl World {
    /// Waits until so many commands are acknowledged; hosts whose time is over come back meanwhile.
    async fn get_on(&mut self, clients: &Clients, enough: u64) -> Result<()> {
        let began = Instant::now();
        while clients.acknowledged() < enough {
            let acknowledged = clients.acknowledged();
            ensure!(began.elapsed() < 3 * PATIENCE, "the clients do not get on: {acknowledged} of {enough}");
            self.come_back(Instant::now())?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends what was to last until then.
    fn come_back(&mut self, now: Instant) -> Result<()> {
        self.end_those(|until| until <= now)
    }

    fn all_come_back(&mut self) -> Result<()> {
        self.end_those(|_| true)
    }

    fn end_those(&mut self, is_over: impl Fn(Instant) -> bool) -> Result<()> {
        for host in &mut self.hosts {
            if let Some((fault, _)) = host.away.take_if(|(_, until)| is_over(*until)) {
                host.comes_back(fault)?;
            }
        }
        Ok(())
    }

    /// One that is there.
    async fn victim(&mut self, random: &mut Seeded) -> Result<usize> {
        one_of(&self.there().await?, random)
    }

    /// Those that are there, two at least; when only one is, one that was away comes back first.
    async fn there(&mut self) -> Result<Vec<usize>> {
        loop {
            let there: Vec<usize> = (0..self.hosts.len())
                .filter(|at| self.hosts.get(*at).is_some_and(|host| host.away.is_none()))
                .collect();
            if there.len() > 1 || self.hosts.len() == 1 {
                return Ok(there);
            }
            let next = self.hosts.iter().filter_map(|host| host.away).map(|(_, until)| until).min();
            tokio::time::sleep_until(next.context("a host that is away")?.into()).await;
            self.come_back(Instant::now())?;
        }
    }

    async fn suffer(
        &mut self,
        fault: Fault,
        random: &mut Seeded,
        (lattice, clients, moves): (&mut TestLattice, &Clients, &mut Moves),
    ) -> Result<()> {
        match fault {
            Fault::KillHost => {
                let victim = self.victim(random).await?;
                self.hosts.get_mut(victim).context("a host")?.restart(victim, lattice).await
            }
            Fault::KillServer => {
                let count = lattice.servers().count();
                let victim = usize::try_from(random.below(count as u64))?;
                lattice.server(victim)?.kill()?;
                // With three copies nobody has to wait for the one that is dead.
                if count > 1 {
                    let enough = (clients.acknowledged() + MEANWHILE).min(clients.commands());
                    self.get_on(clients, enough).await?;
                }
                lattice.server(victim)?.restart_on_same_port().await
            }
            Fault::Move | Fault::MoveKillsGiver | Fault::MoveKillsGetter => {
                self.moves(fault, random, (lattice, moves)).await
            }
            Fault::Partition | Fault::Pause => {
                let victim = self.victim(random).await?;
                self.hosts.get_mut(victim).context("a host")?.goes_away(fault)
            }
            Fault::PowerCut => {
                self.all_come_back()?;
                for host in &mut self.hosts {
                    host.process.kill()?;
                }
                lattice.restart_servers().await?;
                for (number, host) in self.hosts.iter_mut().enumerate() {
                    host.restart(number, lattice).await?;
                }
                Ok(())
            }
        }
    }
}

impl World {
    /// Has some shard go to another host; with a kill, both are there when it begins.
    async fn moves(
        &mut self,
        fault: Fault,
        random: &mut Seeded,
        (lattice, moves): (&TestLattice, &mut Moves),
    ) -> Result<()> {
        let there = self.there().await?;
        let (actor, from) = moves.choose(random, &there).await?;
        let could: Vec<usize> = match fault {
            // One in four may go to one that is cut off or stopped.
            Fault::Move if random.below(4) == 0 => (0..self.hosts.len()).collect(),
            _ => there,
        };
        let to = one_of(&could.into_iter().filter(|to| *to != from).collect::<Vec<_>>(), random)?;
        let moving = moves.begin(actor, to)?;
        let victim = match fault {
            Fault::MoveKillsGiver => from,
            Fault::MoveKillsGetter => to,
            _ => return Ok(()),
        };
        moves.moment(random, &moving).await;
        let host = self.hosts.get_mut(victim).context("a host")?;
        host.process.kill()?;
        moves.killed(&moving).await;
        host.restart(victim, lattice).await
    }
}

fn one_of(some: &[usize], random: &mut Seeded) -> Result<usize> {
    let at = usize::try_from(random.below(some.len().max(1) as u64))?;
    some.get(at).copied().context("a host that is there")
}

impl Host {
    async fn restart(&mut self, at: usize, lattice: &TestLattice) -> Result<()> {
        self.process.kill()?;
        self.process = lattice.spawn_host_by(u8::try_from(at + 1)?, &urls(&self.ways), &[]).await?;
        Ok(())
    }

    fn goes_away(&mut self, fault: Fault) -> Result<()> {
        let leases = if fault == Fault::Pause {
            self.process.freeze()?;
            3
        } else {
            self.ways.iter().for_each(ChaosProxy::blackhole);
            2
        };
        self.away = Some((fault, Instant::now() + leases * LEASE));
        Ok(())
    }

    fn comes_back(&mut self, fault: Fault) -> Result<()> {
        if fault == Fault::Pause {
            return self.process.thaw();
        }
        for way in &self.ways {
            way.heal();
            way.drop_connections();
        }
        Ok(())
    }
}
