//! The loss of a host, its leaving, a server that restarts and a host that is cut off, on real processes
//! and under load from outside. How long a loss lasts is measured by `cargo xtask bench`; here it is
//! counted what is lost, and what is decided.

use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tests_harness::wire::unavailable;
use tests_harness::{Cut, eventually};
use tests_lattice::balancer::Load;
use tests_lattice::fleet::{Fleet, HOSTS, Loss, Service};
use tests_lattice::{PATIENCE, http};

/// Losses of one kind.
const LOSSES: usize = if cfg!(feature = "full") { 30 } else { 3 };
/// Hosts that leave.
const LEAVES: usize = if cfg!(feature = "full") { 10 } else { 2 };
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_host_served_is_served_by_another_and_decided_once() -> Result<()> {
    let mut fleet = Fleet::start(None, false).await?;
    for number in 0..LOSSES {
        let service = if number.is_multiple_of(2) { Service::Solo } else { Service::Ping };
        let moved = fleet.events("app.failover")?;
        fleet.lose(Loss::Killed, service).await.with_context(|| format!("loss {number} of {service:?}"))?;
        // Two controllers have seen it. Each actor that was there has moved once.
        let told = eventually(PATIENCE, "the failover is told", || async {
            let told = moved_actors(&fleet, moved)?;
            ensure!(told.iter().any(|actor| actor == service.actor()), "{told:?}");
            Ok(told)
        })
        .await?;
        let once: std::collections::BTreeSet<&String> = told.iter().collect();
        ensure!(once.len() == told.len(), "two decisions about one loss: {told:?}");
    }
    Ok(())
}

/// The actors of which failovers tell, but for the first `before` of them.
fn moved_actors(fleet: &Fleet, before: usize) -> Result<Vec<String>> {
    let events = fleet.lattice.json(&["get", "events", "--kind", "app.failover", "--limit", "1000"])?;
    let new = events.as_array().into_iter().flatten().skip(before);
    Ok(new.filter_map(|event| event["subject"].as_str().map(str::to_owned)).collect())
}

/// Needs root: only a network of its own can be cut so that nobody is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_silently_lost_host_served_is_served_by_another() -> Result<()> {
    if let Some(why) = unavailable() {
        eprintln!("not run: {why}");
        return Ok(());
    }
    let mut fleet = Fleet::start(None, true).await?;
    for number in 0..LOSSES {
        let service = if number.is_multiple_of(2) { Service::Solo } else { Service::Ping };
        fleet.lose(Loss::Silent, service).await.with_context(|| format!("loss {number} of {service:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_failed_while_a_host_leaves() -> Result<()> {
    let mut fleet = Fleet::start(None, false).await?;
    for number in 0..LEAVES {
        let service = if number.is_multiple_of(2) { Service::Solo } else { Service::Ping };
        let asked = fleet.leave(service, number.is_multiple_of(2), PAUSE).await?;
        ensure!(asked.failed.is_empty(), "leave {number} of {service:?}: {asked}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_serve_on_while_the_server_restarts_and_nothing_moves() -> Result<()> {
    let mut fleet = Fleet::start(None, false).await?;
    let decided = fleet.decision()?;
    let places = placed(&fleet)?;
    let balancer = fleet.balancer()?;
    // What is on a host goes on. A call to another host has no way meanwhile: it is asked for later.
    let load = Load::begin(&balancer, &[Service::Solo.path(), Service::Pair.path()], PAUSE);
    for _ in 0..2 {
        fleet.lattice.nats.kill()?;
        // Longer than a host may be silent before it is lost.
        tokio::time::sleep(Duration::from_secs(3)).await;
        fleet.lattice.nats.restart_on_same_port().await?;
        eventually(PATIENCE, "calls between hosts go on", || async {
            fleet.balancer()?.ask(Service::Ping.path())
        })
        .await?;
    }
    let asked = load.end()?;
    ensure!(asked.failed.is_empty(), "{asked}");
    fleet.settle().await?;
    assert_eq!(placed(&fleet)?, places, "nothing has moved");
    assert_eq!(fleet.decision()?, decided, "and nothing was decided");
    assert_eq!(fleet.events("host.lost")?, 0);
    // Changes come into force again.
    fleet.lattice.trellis(&["scale", "actor", "fleet/pair", "--max", "3", "--wait", "60"])?;
    ensure!(fleet.decision()? > decided, "a change is a new decision");
    Ok(())
}

fn placed(fleet: &Fleet) -> Result<Vec<Vec<u8>>> {
    ["fleet/solo", "fleet/pair", "fleet/pong", "fleet/ping"]
        .map(|actor| fleet.hosts_of(actor))
        .into_iter()
        .collect()
}

/// Needs root: the site still reaches its host, the lattice does not; that takes two networks.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_cut_off_serves_its_site_and_obeys_again_afterwards() -> Result<()> {
    if let Some(why) = unavailable() {
        eprintln!("not run: {why}");
        return Ok(());
    }
    let fleet = Fleet::start(None, true).await?;
    let island = *fleet.hosts_of("fleet/solo")?.first().context("solo runs nowhere")?;
    let at = fleet.address(island)?;
    let before = generation(&fleet, island)?;
    fleet.wires()?.cut(island, Cut::Lattice)?;
    // The lattice has it elsewhere by and by; the site is served by its own host all the time.
    let others = fleet.balancer_but(island)?;
    let mut served = 0;
    eventually(PATIENCE, "another host serves what the lost one did", || {
        let answer = http(at, "GET", Service::Solo.path(), "");
        served += u32::from(matches!(&answer, Ok((200, _))));
        let elsewhere = others.clone().ask(Service::Solo.path());
        async move {
            ensure!(matches!(&answer, Ok((200, _))), "the site is not served: {answer:?}");
            elsewhere
        }
    })
    .await?;
    for _ in 0..20 {
        let answer = http(at, "GET", Service::Solo.path(), "")?;
        ensure!(answer.0 == 200, "cut off, it serves its site: {answer:?}");
    }
    ensure!(served > 0, "the site was served meanwhile");
    fleet.wires()?.heal(island)?;
    eventually(PATIENCE, "it obeys the newer generation", || async {
        ensure!(generation(&fleet, island)? > before, "not yet");
        let answer = http(at, "GET", Service::Solo.path(), "")?;
        ensure!(answer.0 == 404, "what was moved away has stopped there: {answer:?}");
        Ok(())
    })
    .await?;
    fleet.settle().await?;
    let now = fleet.hosts_of("fleet/solo")?;
    ensure!(now.len() == 1 && now != [island] && usize::from(HOSTS) == 3, "{now:?}");
    Ok(())
}

fn generation(fleet: &Fleet, host: u8) -> Result<u64> {
    let inventory = fleet.lattice.json(&["get", "inventory", &format!("H{host}")])?;
    inventory[0]["heartbeat"]["generation"]["n"].as_u64().context("no generation")
}
