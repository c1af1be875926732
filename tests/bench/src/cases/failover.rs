//! Two hosts of durability `lattice` in one process, over a real server: how long an actor is not there when
//! its host has died, or gives it to another one. Time runs from the detection, which is a matter of the lease.

use super::Plan;
use crate::entities::{Loaded, PATIENCE, Shards, command, key, touch};
use crate::report::{Goal, Measured, Row};
use crate::samples::{median, millis, percentile};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use host_actors::{Door, KindPolicy, LatticeActors};
use lattice_io::nats::{NatsLattice, NatsOptions, connect};
use lattice_io::{BusMessage, Lattice, Replicas};
use lattice_protocol::{EntityKey, Report};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests_harness::NatsServer;
use tokio::task::JoinSet;

/// Actors of a takeover, and the events of each.
const ACTORS: usize = 100;
const EVENTS: u64 = 1_000;
/// Events of one command.
const AT_ONCE: u64 = 200;
/// Actors of the host that is lost.
const MANY: usize = 10_000;
/// Bytes of the state that moves, and how often in one run.
const STATE: usize = 1 << 20;
const MOVES: usize = 4;
/// Time between two commands to an actor that moves.
const PACE: Duration = Duration::from_millis(10);
/// How often it is looked whether a host has an actor.
const LOOK: Duration = Duration::from_millis(1);

/// A server, and a way to it for each host.
struct Site {
    _server: NatsServer,
    _client: Arc<NatsLattice>,
    lattice: Lattice,
    loaded: Loaded,
}

impl Site {
    async fn start() -> Result<Self> {
        let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
        let client = connect(NatsOptions::new(server.url())).await?;
        let lattice = client.lattice();
        Ok(Self { _server: server, _client: client, lattice, loaded: Loaded::new().await? })
    }

    async fn host(&self, name: &str) -> Result<Shards> {
        Shards::start(&self.lattice, name, self.loaded.kind(KindPolicy::default()).await?)
    }

    /// Another host, which is known to the first.
    async fn next(&self, first: &Shards, name: &str) -> Result<Shards> {
        let next = self.host(name).await?;
        let (host, before) = (name.parse()?, first.host.clone());
        let known = || first.actors.is_alive(&host) && next.actors.is_alive(&before);
        until("the hosts know each other", known).await?;
        Ok(next)
    }

    /// What one small stored message takes here, milliseconds.
    async fn publish_p50(&self) -> Result<f64> {
        let mut took = Vec::new();
        for _ in 0..50 {
            let began = Instant::now();
            let message = BusMessage::new("bench.one", Bytes::from_static(&[0x5a; 300]));
            self.lattice.streams.publish(message, None, PATIENCE).await?;
            took.push(millis(began.elapsed()));
        }
        median(took).context("publishes")
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let began = Instant::now();
    while !holds() {
        ensure!(began.elapsed() < PATIENCE, "{what}: not in time");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn keys(count: usize) -> Result<Vec<EntityKey>> {
    (0..count).map(key).collect()
}

fn doors(host: &Shards, keys: &[EntityKey]) -> Result<Vec<(EntityKey, Door)>> {
    keys.iter().map(|key| Ok((key.clone(), host.actors.door(key).context("an owned shard")?))).collect()
}

/// Ends a host as SIGKILL does, and waits until the other one has noticed: when that was.
async fn kill(dead: Shards, other: &Shards) -> Result<Instant> {
    let host = dead.host.clone();
    dead.kill().await;
    until("the death is noticed", || !other.actors.is_alive(&host)).await?;
    Ok(Instant::now())
}

/// Waits until a host has followed and folded what it stands by for.
async fn stands_by(next: &Shards, keys: &[EntityKey]) -> Result<()> {
    let ready = |key: &EntityKey| {
        next.actors.standby(key).is_some_and(|stats| stats.record > 0 && stats.waiting == 0)
    };
    until("the next host stands by", || keys.iter().all(ready)).await
}

/// From the detection of a host's death to the first acknowledged command, of an actor of each shard, on a
/// host that has stood by for them.
pub async fn takeover(plan: &Plan, percent: usize) -> Result<Row> {
    let site = Site::start().await?;
    let keys = keys(ACTORS)?;
    let mut owner = site.host("h0").await?;
    owner.owns_all().await?;
    let doors = doors(&owner, &keys)?;
    for _ in 0..EVENTS / AT_ONCE {
        touch(&doors, "many", &AT_ONCE.to_string()).await?;
    }
    drop(doors);
    let mut took = Vec::new();
    for run in 1..=plan.runs {
        let next = site.next(&owner, &format!("h{run}")).await?;
        stands_by(&next, &keys).await?;
        let detected = kill(owner, &next).await?;
        let mut asking = JoinSet::new();
        for key in one_of_each(&keys) {
            let actors = next.actors.clone();
            #[allow(clippy::disallowed_methods, reason = "the load of a measurement; the set ends it")]
            asking
                .spawn(async move { first_answer(&actors, &key).await.map(|()| millis(detected.elapsed())) });
        }
        while let Some(answered) = asking.join_next().await {
            took.push(answered.context("a client")??);
        }
        owner = next;
    }
    let reference = site_reference(&site).await?;
    owner.close().await;
    let note =
        format!("{} takeovers by a standby; {ACTORS} actors of {EVENTS} events, one server", took.len());
    let ours = percentile(took, percent).context("takeovers")?;
    let (case, goal) = if percent == 50 { ("takeover-p50", 100.0) } else { ("takeover-p99", 500.0) };
    Ok(Row::new(case, "ms", Measured { ours, reference }, Goal::AtMost(goal))
        .against("one JetStream publish, sync_interval always")
        .note(note))
}

async fn site_reference(site: &Site) -> Result<f64> {
    super::actors::stream(&site.lattice, "BENCH_ONE", "bench.one", Replicas::One).await?;
    site.publish_p50().await
}

/// The first actor of each shard.
fn one_of_each(keys: &[EntityKey]) -> Vec<EntityKey> {
    let mut seen = std::collections::BTreeSet::new();
    keys.iter().filter(|key| seen.insert(LatticeActors::part(key))).cloned().collect()
}

/// A command until it is acknowledged, from when the shard is there.
async fn first_answer(actors: &LatticeActors, key: &EntityKey) -> Result<(), Report> {
    loop {
        if let Some(door) = actors.door(key) {
            return door.submit(key.clone(), command("add", "1"), PATIENCE).await.map(drop);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// From the detection of a host's death until 10 000 actors that were in its memory have answered elsewhere.
pub async fn recovery(plan: &Plan) -> Result<Row> {
    let site = Site::start().await?;
    let keys = keys(MANY)?;
    let mut owner = site.host("h0").await?;
    owner.owns_all().await?;
    touch(&doors(&owner, &keys)?, "add", "1").await?;
    let mut took = Vec::new();
    for run in 1..=plan.runs.min(3) {
        let next = site.next(&owner, &format!("h{run}")).await?;
        let detected = kill(owner, &next).await?;
        let asked = keys.iter().map(|key| async {
            loop {
                if let Some(door) = next.actors.door(key) {
                    return door.query(key.clone(), ("balance".to_owned(), Bytes::new()), PATIENCE).await;
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        for answer in futures::future::join_all(asked).await {
            ensure!(answer?.reply == "1", "a command is lost");
        }
        took.push(millis(detected.elapsed()));
        owner = next;
    }
    let reference = site_reference(&site).await?;
    owner.close().await;
    let measured = Measured { ours: median(took).context("takeovers")?, reference };
    Ok(Row::new("recovery-host", "ms", measured, Goal::AtMost(5_000.0))
        .against("one JetStream publish, sync_interval always")
        .note(format!("{MANY} actors of a lost host have answered again")))
}

/// How long a command waits at most while its actor moves to another host: 100 commands/s, 1 MiB of state.
pub async fn migration(plan: &Plan, percent: usize) -> Result<Row> {
    let site = Site::start().await?;
    let first = site.host("h0").await?;
    first.owns_all().await?;
    let actor = key(0)?;
    let door = doors(&first, std::slice::from_ref(&actor))?;
    touch(&door, "fill", &STATE.to_string()).await?;
    drop(door);
    let second = site.next(&first, "h1").await?;
    let both = [first.actors.clone(), second.actors.clone()];
    let over = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    #[allow(clippy::disallowed_methods, reason = "the load of a measurement; the set ends it")]
    load.spawn(paced(both, actor.clone(), Arc::clone(&over)));
    let mut moves = Vec::new();
    for number in 0..MOVES * plan.runs as usize {
        let (from, to) = if number % 2 == 0 { (&first, &second) } else { (&second, &first) };
        tokio::time::sleep(10 * PACE).await;
        let began = Instant::now();
        from.actors.migrate(&actor, &to.host, PATIENCE).await?;
        tokio::time::sleep(10 * PACE).await;
        moves.push((began, Instant::now()));
    }
    over.store(true, Ordering::Relaxed);
    let waits = load.join_next().await.context("the load")?.context("the load")??;
    let pause = |(began, ended): &(Instant, Instant)| {
        let within = waits.iter().filter(|(at, wait)| at <= ended && *at + *wait >= *began);
        within.map(|(_, wait)| millis(*wait)).fold(0.0, f64::max)
    };
    let pauses: Vec<f64> = moves.iter().map(pause).collect();
    let reference = site_reference(&site).await?;
    first.close().await;
    second.close().await;
    let note =
        format!("{} moves of {STATE} bytes of state, 100 commands/s, {} commands", pauses.len(), waits.len());
    let ours = percentile(pauses, percent).context("moves")?;
    let (case, goal) = if percent == 50 { ("migration-p50", 50.0) } else { ("migration-p99", 100.0) };
    Ok(Row::new(case, "ms", Measured { ours, reference }, Goal::AtMost(goal))
        .against("one JetStream publish, sync_interval always")
        .note(note))
}

/// A command each 10 ms, whatever becomes of the ones before; when each was begun, and how long it waited.
async fn paced(
    hosts: [LatticeActors; 2],
    actor: EntityKey,
    over: Arc<AtomicBool>,
) -> Result<Vec<(Instant, Duration)>> {
    let mut clock = tokio::time::interval(PACE);
    let mut asked = JoinSet::new();
    while !over.load(Ordering::Relaxed) {
        clock.tick().await;
        let (hosts, actor) = (hosts.clone(), actor.clone());
        #[allow(clippy::disallowed_methods, reason = "the load of a measurement; the set ends it")]
        asked.spawn(async move {
            let (began, command) = (Instant::now(), command("add", "1"));
            while began.elapsed() < PATIENCE {
                for door in hosts.iter().filter_map(|host| host.door(&actor)) {
                    if door.submit(actor.clone(), command.clone(), PATIENCE).await.is_ok() {
                        return Ok((began, began.elapsed()));
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
            anyhow::bail!("a command was never acknowledged")
        });
    }
    let mut waits = Vec::new();
    while let Some(answered) = asked.join_next().await {
        waits.push(answered.context("a client")??);
    }
    Ok(waits)
}
