//! Standbys and shares on real processes: who accepts it is answered while an owner is silent, and a host that
//! joins gets shards while clients work.

use crate::kills::{check, client};
use crate::persistent::{LATTICE_BANK, bank_of, call, id_at};
use anyhow::{Context, Result, ensure};
use lattice_journal::ShardId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tests_harness::eventually;
use tests_lattice::{HostAt, PATIENCE, TestLattice};

#[tokio::test(flavor = "multi_thread")]
async fn while_an_owner_does_not_answer_a_standby_does_for_who_accepts_that_and_says_how_old_it_is()
-> Result<()> {
    let mut lattice = bank_of(2, LATTICE_BANK).await?;
    let add = |lattice: &TestLattice| call(lattice, "account/a-1", "add", "5", &id_at(70, 0));
    eventually(PATIENCE, "its shard has an owner", || async { add(&lattice).map(drop) }).await?;
    // Hosts with leases of 30 s: nobody takes over while the owner is silent. The controller would mind.
    lattice.controller.kill()?;
    for host in 1..=2_u8 {
        let at = HostAt {
            nats_url: lattice.url(),
            listen: std::net::IpAddr::from([127, 0, 0, host]),
            heartbeat_ms: 5_000,
            before: Vec::new(),
        };
        let index = usize::from(host) - 1;
        lattice.hosts[index].kill()?;
        lattice.hosts[index] = lattice.spawn_host_at(host, &at, &[]).await?;
    }
    eventually(PATIENCE, "the first host has it", || async {
        ensure!(add(&lattice)? == "5");
        lattice.trellis(&["migrate", "account/a-1", "--to", "H1"]).map(drop)
    })
    .await?;
    // The owner's answers are the owner's, whatever would be accepted.
    let fresh = lattice.json(&["query", "account/a-1", "balance", "--stale"])?;
    ensure!(fresh["reply"] == 5 && fresh["stale"].is_null(), "{fresh}");
    lattice.hosts[0].freeze()?;
    let stale = eventually(PATIENCE, "the standby answers", || async {
        lattice.json(&["query", "account/a-1", "balance", "--stale", "--timeout", "8000"])
    })
    .await?;
    ensure!(stale["reply"] == 5 && stale["seq"] == 1, "{stale}");
    let record = stale["stale"]["record"].as_u64().context("which record")?;
    ensure!(record > 1 && stale["stale"]["ageMs"] == 0, "its log was asked: {stale}");
    // Without it nobody else answers; sooner or later NATS notices as well that the owner is silent.
    let query = ["query", "account/a-1", "balance", "--timeout", "4000"];
    let refused = lattice.trellis(&query).unwrap_err().to_string();
    ensure!(refused.contains("E_TIMEOUT") || refused.contains("host H1 is not connected"), "{refused}");
    lattice.hosts[0].thaw()?;
    eventually(PATIENCE, "the owner answers again", || async {
        let answer = lattice.json(&["query", "account/a-1", "balance", "--stale"])?;
        ensure!(answer["stale"].is_null(), "{answer}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_joins_gets_its_share_of_the_shards_while_clients_work() -> Result<()> {
    let mut lattice = bank_of(2, LATTICE_BANK).await?;
    lattice.hosts[1].kill()?;
    // One actor of each shard: the one host has them all.
    let mut shards = BTreeSet::new();
    for n in 0.. {
        let actor = format!("account/w-{n}");
        if shards.insert(ShardId::of(&actor.parse()?, 16)) {
            eventually(PATIENCE, "its shard has an owner", || async {
                call(&lattice, &actor, "add", "1", &id_at(80, n)).map(drop)
            })
            .await?;
        }
        if shards.len() == 16 {
            break;
        }
    }
    let taken = |lattice: &TestLattice, host: u8| -> Result<usize> {
        let log = std::fs::read_to_string(lattice.path().join(format!("H{host}.log")))?;
        Ok(log.lines().filter(|line| line.contains("shard taken over")).count())
    };
    let before = (taken(&lattice, 1)?, taken(&lattice, 2)?);
    let lattice = Arc::new(lattice);
    let (over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (81..=82)
        .map(|sender| {
            let (lattice, over, count) = (Arc::clone(&lattice), Arc::clone(&over), Arc::clone(&acknowledged));
            tokio::task::spawn_blocking(move || client(&lattice, sender, (&over, &count)))
        })
        .collect();
    let _joined = lattice.spawn_host(2).await?;
    eventually(PATIENCE, "it has its share", || async {
        let got = taken(&lattice, 2)? - before.1;
        ensure!(got == 8, "{got} of 16");
        Ok(())
    })
    .await?;
    over.store(true, Ordering::Relaxed);
    for client in clients {
        check(&lattice, &client.await??)?;
    }
    ensure!((taken(&lattice, 1)?, taken(&lattice, 2)?) == (before.0, before.1 + 8), "none has gone back");
    Ok(())
}
