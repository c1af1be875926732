//! Persistent actors under load while hosts are killed, and under every other fault: every acknowledged command is
//! there once.

use crate::persistent::{BANK, LATTICE_BANK, bank_of, call, id, id_at};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tests_harness::eventually;
use tests_lattice::chaos::Plan;
use tests_lattice::{PATIENCE, TestLattice};

/// One client: its own actors and ids; every command is repeated until it is acknowledged.
pub(crate) fn client(
    lattice: &TestLattice,
    sender: u64,
    (over, count): (&AtomicBool, &AtomicU64),
) -> Result<BTreeMap<String, Vec<String>>> {
    let mut acknowledged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut n = 0;
    while !over.load(Ordering::Relaxed) || n < 20 {
        n += 1;
        let actor = format!("account/c{sender}-{}", n % 3);
        let (id, began) = (id(sender, n), std::time::Instant::now());
        loop {
            match call(lattice, &actor, "add", "1", &id) {
                Ok(_) => break,
                Err(error) => {
                    let text = error.to_string();
                    let passes = [
                        "E_CONNECTION",
                        "E_OUTCOME_UNKNOWN",
                        "E_OVERLOADED",
                        "E_TIMEOUT",
                        "E_ACTOR_NOT_FOUND",
                        "E_MOVING",
                        "E_DOMAIN",
                        "E_FENCED",
                    ];
                    ensure!(passes.iter().any(|code| text.contains(code)), "{text}");
                    ensure!(began.elapsed() < PATIENCE, "never acknowledged: {text}");
                }
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
        acknowledged.entry(actor).or_default().push(id);
    }
    Ok(acknowledged)
}

/// Every acknowledged command is in its actor's journal, once, in the order of acknowledgement; and
/// nothing else is.
pub(crate) fn check(lattice: &TestLattice, acknowledged: &BTreeMap<String, Vec<String>>) -> Result<usize> {
    let mut commands = 0;
    for (actor, ids) in acknowledged {
        let journal = lattice.json(&["actor", "journal", actor, "--limit", "1000"])?;
        let commits = journal.as_array().context("commits")?;
        let stored: Vec<&str> = commits.iter().filter_map(|commit| commit["command"].as_str()).collect();
        let lost: Vec<_> = ids.iter().filter(|id| !stored.contains(&id.as_str())).collect();
        ensure!(lost.is_empty(), "{actor}: lost {lost:?}");
        ensure!(
            stored == *ids,
            "{actor}: doubled, unexpected or in another order: {stored:?}, acknowledged {ids:?}"
        );
        let balance = lattice.trellis(&["query", actor, "balance"])?;
        ensure!(balance.trim() == ids.len().to_string(), "{actor}: {balance}");
        lattice.trellis(&["actor", "verify", actor])?;
        commands += ids.len();
    }
    Ok(commands)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_with_kills_no_acknowledged_command_is_lost_or_doubled() -> Result<()> {
    chaos(1, BANK, 4).await
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_with_owners_killed_in_turn_no_acknowledged_command_is_lost_or_doubled() -> Result<()> {
    chaos(2, LATTICE_BANK, 4).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lattice_under_every_fault_keeps_its_promises() -> Result<()> {
    let outcome = tests_lattice::chaos::run(&Plan::small(1)).await?;
    tests_lattice::chaos::judge(&outcome)?;
    ensure!(outcome.moved.done > 0, "no shard has moved: {outcome}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_that_are_killed_after_their_stream_was_trimmed_leave_a_checkpoint_and_a_tail() -> Result<()> {
    let plan = Plan {
        commands: 9_000,
        actors: 24,
        shards: 1,
        // Few, so that records are many.
        clients: 4,
        hosts: 2,
        host_kills: 2,
        server_kills: 0,
        partitions: 0,
        pauses: 0,
        power_cuts: 3,
        moves: 0,
        moves_cut: 0,
        ..Plan::small(2)
    };
    let outcome = tests_lattice::chaos::run(&plan).await?;
    tests_lattice::chaos::judge(&outcome)?;
    let takeovers = outcome.takeovers;
    ensure!(takeovers.behind_checkpoint > 0, "none began behind a checkpoint: {outcome}");
    // Checkpoints are made each 1 000 records, and at the latest when 2 000 have come.
    ensure!(takeovers.most_read <= 4_000, "{outcome}");
    Ok(())
}

/// Kills the hosts in turn while clients work, and looks at every acknowledged command afterwards.
async fn chaos(hosts: u8, manifest: &str, kills: u8) -> Result<()> {
    /// Acknowledged commands between two kills.
    const APART: u64 = 15;
    let mut lattice = bank_of(hosts, manifest).await?;
    eventually(PATIENCE, "the accounts are served", || async {
        call(&lattice, "account/warm", "add", "1", &id_at(9, 1)).map(drop)
    })
    .await?;
    let (over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut running: Vec<_> = lattice.hosts.drain(..).collect();
    let lattice = Arc::new(lattice);
    let clients: Vec<_> = (1..=3)
        .map(|sender| {
            let (lattice, over, count) = (Arc::clone(&lattice), Arc::clone(&over), Arc::clone(&acknowledged));
            tokio::task::spawn_blocking(move || client(&lattice, sender, (&over, &count)))
        })
        .collect();
    for kill in 0..kills {
        let enough = APART * (u64::from(kill) + 1);
        eventually(PATIENCE, "the clients get on", || async {
            ensure!(acknowledged.load(Ordering::Relaxed) >= enough);
            Ok(())
        })
        .await?;
        let index = kill % hosts;
        let host = running.get_mut(usize::from(index)).context("a host")?;
        host.kill()?;
        *host = lattice.spawn_host(index + 1).await?;
    }
    over.store(true, Ordering::Relaxed);
    let mut commands = 0;
    for client in clients {
        commands += check(&lattice, &client.await??)?;
    }
    ensure!(commands >= 60, "only {commands} commands: that proves little");
    drop(running);
    Ok(())
}
