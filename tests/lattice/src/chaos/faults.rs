//! What happens to hosts and server while clients work. Each host reaches the server through a proxy of its
//! own, so that it can be cut off.

use super::Plan;
use super::clients::Clients;
use crate::{PATIENCE, TestLattice};
use anyhow::{Context, Result, ensure};
use lattice_protocol::seeded::Seeded;
use std::collections::BTreeMap;
use std::time::Duration;
use tests_harness::{ChaosProxy, Process, eventually};

/// How long a host's lease holds: six heartbeats of 250 ms.
const LEASE: Duration = Duration::from_millis(1_500);

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    KillHost,
    KillServer,
    Partition,
    Pause,
    PowerCut,
}

/// The hosts, and the way of each to the server.
pub(super) struct World {
    hosts: Vec<(Process, ChaosProxy)>,
}

impl World {
    pub(super) async fn start(plan: &Plan) -> Result<(Self, TestLattice)> {
        let lattice = TestLattice::prepare(plan.hosts).await?;
        let mut hosts = Vec::new();
        for host in 1..=plan.hosts {
            let proxy = ChaosProxy::start(lattice.nats.address()).await?;
            let process = lattice.spawn_host_by(host, &url(&proxy), &[]).await?;
            hosts.push((process, proxy));
        }
        Ok((Self { hosts }, lattice))
    }
}

fn url(proxy: &ChaosProxy) -> String {
    format!("nats://{}", proxy.address())
}

/// Inflicts all of a plan's faults, spread over its commands; says what was done.
pub(super) async fn inflict(
    plan: &Plan,
    mut world: World,
    lattice: &mut TestLattice,
    clients: &Clients,
) -> Result<String> {
    let faults = plan.faults();
    let mut random = Seeded::new(plan.seed ^ 0xfa);
    let apart = plan.commands / (faults.len() as u64 + 1);
    let mut done: BTreeMap<Fault, usize> = BTreeMap::new();
    for (number, fault) in (1..).zip(faults) {
        let enough = number * apart;
        eventually(3 * PATIENCE, "the clients get on", || async {
            ensure!(clients.acknowledged() >= enough, "{} of {enough} at {fault:?}", clients.acknowledged());
            Ok(())
        })
        .await?;
        let victim = usize::try_from(random.below(world.hosts.len() as u64))?;
        world.suffer(fault, victim, lattice).await.with_context(|| format!("{fault:?} {number}"))?;
        *done.entry(fault).or_default() += 1;
    }
    eventually(3 * PATIENCE, "every command is acknowledged", || async {
        let acknowledged = clients.acknowledged();
        ensure!(acknowledged >= plan.commands, "{acknowledged} of {}", plan.commands);
        Ok(())
    })
    .await?;
    let done: Vec<String> = done.iter().map(|(fault, count)| format!("{fault:?} {count}")).collect();
    Ok(format!(
        "{}; {} acknowledged, {} attempts",
        done.join(", "),
        clients.acknowledged(),
        clients.attempts()
    ))
}

impl World {
    async fn suffer(&mut self, fault: Fault, victim: usize, lattice: &mut TestLattice) -> Result<()> {
        let number = u8::try_from(victim + 1)?;
        let (process, proxy) = self.hosts.get_mut(victim).context("a host")?;
        match fault {
            Fault::KillHost => {
                process.kill()?;
                *process = lattice.spawn_host_by(number, &url(proxy), &[]).await?;
            }
            Fault::KillServer => lattice.nats.restart_on_same_port().await?,
            Fault::Partition => {
                proxy.blackhole();
                tokio::time::sleep(2 * LEASE).await;
                proxy.heal();
                proxy.drop_connections();
            }
            Fault::Pause => {
                process.freeze()?;
                tokio::time::sleep(3 * LEASE).await;
                process.thaw()?;
            }
            Fault::PowerCut => {
                for (process, _) in &mut self.hosts {
                    process.kill()?;
                }
                lattice.nats.restart_on_same_port().await?;
                for (number, (process, proxy)) in (1..).zip(&mut self.hosts) {
                    *process = lattice.spawn_host_by(number, &url(proxy), &[]).await?;
                }
            }
        }
        Ok(())
    }
}
