//! Persistent actors beside the bare operation: group-committed appends of the records that they wrote, one
//! sync, one publish. Load comes from this process through the public call API.

use super::Plan;
use super::journal;
use crate::entities::{Device, Loaded, PATIENCE, Shards, closed_loop, command, key, touch};
use crate::report::{Goal, Measured, Row};
use crate::samples::{median, micros, millis};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use host_actors::{Door, KindPolicy};
use host_core::guest::{GuestFault, Opening, Turn, Verdict};
use host_store::{DataDir, Journal, JournalOptions};
use lattice_io::BusMessage;
use lattice_io::nats::{NatsOptions, connect};
use lattice_io::stream::Retention;
use lattice_io::{Lattice, Replicas, StreamOptions};
use lattice_journal::snapshot::SnapshotPolicy;
use lattice_protocol::EntityKey;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tests_harness::NatsServer;

/// Actors of a load.
const ACTORS: usize = 1_000;
/// Turns of a latency, and of a turn in memory.
const TURNS: usize = 2_000;
const TURNS_IN_MEMORY: u32 = 200_000;
/// Turns that are under way at once, as in a shard.
const UNDER_WAY: usize = 64;
/// Events of the actor that is recovered, and of each of its commands.
const EVENTS: u64 = 100_000;
const AT_ONCE: u64 = 200;
/// Idle actors, and bytes of the state of each.
const IDLE: usize = 100_000;
const STATE: usize = 1_024;
/// Actors that have left memory, and how many come and go at once.
const PASSIVATED: usize = 1_000_000;
const PART: usize = 50_000;
/// Publishes of the reference that are under way at once.
const IN_FLIGHT: usize = 200;

fn device_doors(device: &Device, count: usize) -> Result<Vec<(EntityKey, Door)>> {
    (0..count).map(|n| Ok((key(n)?, device.door()?))).collect()
}

/// Durable commands a second, durability `device`, against the appends that they led to.
pub async fn durable(plan: &Plan) -> Result<Row> {
    let loaded = Loaded::new().await?;
    let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let device = Device::open(directory.path(), loaded.kind(KindPolicy::default()).await?).await?;
    let doors = device_doors(&device, ACTORS)?;
    touch(&doors, "add", "1").await?;
    let mut ours = Vec::new();
    let stats = || device.actors.stats().context("the shard is open");
    let before = stats()?;
    for _ in 0..plan.runs {
        ours.push(closed_loop(doors.clone(), plan.seconds).await?);
    }
    // The shard tells its numbers once a second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let after = stats()?;
    drop(doors);
    device.close().await;
    let commits = after.commits - before.commits;
    let batch = commits as f64 / (after.record - before.record).max(1) as f64;
    let bytes = average_entry(directory.path())?;
    let mut reference = Vec::new();
    for _ in 0..plan.runs {
        let took = journal::bare(directory.path(), &Bytes::from(vec![0x5a; bytes]))?;
        reference.push(f64::from(journal::APPENDS) * batch / took.as_secs_f64());
    }
    let measured = measured(ours, reference)?;
    let note = format!("{batch:.0} commits and {bytes} bytes a record; {ACTORS} actors, closed loop");
    Ok(Row::new("durable-commands", "cmd/s", measured, Goal::RatioAtLeast(0.5))
        .against("one write and fdatasync of records of the same bytes")
        .note(note))
}

fn measured(ours: Vec<f64>, reference: Vec<f64>) -> Result<Measured> {
    Ok(Measured { ours: median(ours).context("no run")?, reference: median(reference).context("no run")? })
}

/// Bytes of one entry of a closed journal, on average.
fn average_entry(directory: &Path) -> Result<usize> {
    let data = DataDir::open(directory)?;
    let options = JournalOptions { max_segments: 1_024, ..JournalOptions::default() };
    let (mut bytes, mut count) = (0, 0);
    let visit = &mut |_, entry: Bytes| {
        bytes += entry.len();
        count += 1;
    };
    drop(Journal::open(&data, options, visit)?);
    Ok(bytes / count.max(1))
}

/// Time of one durable command, one actor and one client, against one write and fdatasync.
pub async fn latency(plan: &Plan) -> Result<Row> {
    let loaded = Loaded::new().await?;
    let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let device = Device::open(directory.path(), loaded.kind(KindPolicy::default()).await?).await?;
    let doors = device_doors(&device, 1)?;
    touch(&doors, "add", "1").await?;
    let (key, door) = doors.first().context("a door")?;
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let mut took = Vec::with_capacity(TURNS);
        for _ in 0..TURNS {
            let began = Instant::now();
            door.submit(key.clone(), command("add", "1"), PATIENCE).await?;
            took.push(micros(began.elapsed()));
        }
        ours.push(median(took).context("turns")?);
        reference.push(journal::sync_p50(directory.path(), 300)?);
    }
    drop(doors);
    device.close().await;
    Ok(Row::new("durable-latency", "µs", measured(ours, reference)?, Goal::AtMostAbove(100.0))
        .against("p50 of one write and fdatasync of 300 bytes"))
}

/// Commands a second of durability `lattice` on so many servers, against single publishes to one stream of
/// as many copies.
pub async fn lattice(plan: &Plan, copies: usize) -> Result<Row> {
    let options = tests_harness::NatsOptions::default();
    let servers = match copies {
        1 => vec![NatsServer::start(options).await?],
        _ => NatsServer::start_cluster(copies, &options).await?,
    };
    let replicas = if copies == 1 { Replicas::One } else { Replicas::Three };
    let client = connect(NatsOptions::new(servers.first().context("a server")?.url())).await?;
    let lattice = client.lattice();
    let loaded = Loaded::new().await?;
    let policy = KindPolicy { replicas, ..KindPolicy::default() };
    let shards = Shards::open(&lattice, loaded.kind(policy).await?).await?;
    let door = |n| -> Result<(EntityKey, Door)> {
        let key = key(n)?;
        let door = shards.actors.door(&key).context("an owned shard")?;
        Ok((key, door))
    };
    let doors: Vec<_> = (0..ACTORS).map(door).collect::<Result<_>>()?;
    touch(&doors, "add", "1").await?;
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for run in 0..plan.runs {
        ours.push(closed_loop(doors.clone(), plan.seconds).await?);
        reference.push(publishes(&lattice, (run, replicas), plan.seconds).await?);
    }
    drop(doors);
    shards.close().await;
    let (case, goal) = match copies {
        1 => ("lattice-commands", Goal::RatioAtLeast(5.0)),
        _ => ("lattice-commands-three", Goal::None),
    };
    Ok(Row::new(case, "cmd/s", measured(ours, reference)?, goal)
        .against("JetStream publishes of one commit each, 200 under way, sync_interval always")
        .note(format!("{copies} servers on this one machine and disk")))
}

/// Makes a stream of one subject.
pub(super) async fn stream(lattice: &Lattice, name: &str, subject: &str, replicas: Replicas) -> Result<()> {
    let options = StreamOptions {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        retention: Retention::Limits,
        max_age: None,
        max_bytes: None,
        duplicate_window: Duration::from_secs(120),
        replicas,
    };
    lattice.streams.ensure(options).await?;
    Ok(())
}

async fn publishes(lattice: &Lattice, (run, replicas): (u32, Replicas), seconds: u32) -> Result<f64> {
    let subject = format!("bench.single.{run}");
    stream(lattice, &format!("BENCH_{run}"), &subject, replicas).await?;
    let body = Bytes::from(vec![0x5a; 260]);
    let began = Instant::now();
    let until = began + Duration::from_secs(u64::from(seconds));
    let one = || async {
        let mut count = 0_u64;
        while Instant::now() < until {
            lattice.streams.publish(BusMessage::new(&subject, body.clone()), None, PATIENCE).await?;
            count += 1;
        }
        Ok::<u64, anyhow::Error>(count)
    };
    let counts = futures::future::join_all((0..IN_FLIGHT).map(|_| one())).await;
    let mut all = 0;
    for count in counts {
        all += count?;
    }
    Ok(all as f64 / began.elapsed().as_secs_f64())
}

/// One turn in memory: decide and apply, without a journal.
pub async fn turn(plan: &Plan) -> Result<Row> {
    let guests = Loaded::new().await?.guests().await?;
    let actor = key(0)?;
    let (sender, opened) = mpsc::sync_channel(1);
    let opening = Opening { key: actor.clone(), snapshot: None, alone: false };
    guests.open(opening, Box::new(move |guest| drop(sender.send(guest))));
    let guest = opened.recv_timeout(PATIENCE)?.map_err(|fault| fault.report())?;
    let mut ours = Vec::new();
    for _ in 0..plan.runs {
        let began = Instant::now();
        for first in (0..TURNS_IN_MEMORY).step_by(UNDER_WAY) {
            // Whoever waits is told once: a turn's own answer costs a host no wake of a thread either.
            let left = Arc::new((AtomicUsize::new(UNDER_WAY), AtomicUsize::new(0)));
            let (sender, decided) = mpsc::sync_channel(1);
            for seq in (u64::from(first)..).take(UNDER_WAY) {
                let turn = Turn { now_ms: 1, seq, seed: 1, command_id: String::new(), sender: None };
                let (sender, left) = (sender.clone(), Arc::clone(&left));
                let done = move |verdict: Result<Verdict, GuestFault>| {
                    left.1.fetch_add(usize::from(verdict.is_err()), Ordering::Relaxed);
                    if left.0.fetch_sub(1, Ordering::AcqRel) == 1 {
                        // Whoever waits is there until this comes.
                        let _ = sender.send(left.1.load(Ordering::Relaxed));
                    }
                };
                guest.decide(turn, command("add", "1").into(), Box::new(done));
            }
            ensure!(decided.recv_timeout(PATIENCE)? == 0, "a turn failed");
        }
        ours.push(micros(began.elapsed()) / f64::from(TURNS_IN_MEMORY));
    }
    let measured = Measured { ours: median(ours).context("no run")?, reference: 3.0 };
    Ok(Row::new("actor-turn", "µs", measured, Goal::AtMost(3.0)).against("the goal"))
}

/// From the start of the host's journal to the first answer of an actor of 100 000 events.
pub async fn recovery(plan: &Plan, snapshot: bool) -> Result<Row> {
    let loaded = Loaded::new().await?;
    let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let never = SnapshotPolicy { events: u64::MAX, interval_ms: u64::MAX, replay_us: u64::MAX };
    let policy = KindPolicy { snapshots: never, ..KindPolicy::default() };
    let device = Device::open(directory.path(), loaded.kind(policy).await?).await?;
    let doors = device_doors(&device, 1)?;
    for _ in 0..EVENTS / AT_ONCE {
        touch(&doors, "many", &AT_ONCE.to_string()).await?;
    }
    if snapshot {
        touch(&doors, "snapshot", "").await?;
        let began = Instant::now();
        while files(&directory.path().join("snapshots"))? == 0 {
            ensure!(began.elapsed() < PATIENCE, "no snapshot");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    drop(doors);
    device.close().await;
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let kind = loaded.kind(policy).await?;
        let began = Instant::now();
        let device = Device::open(directory.path(), kind).await?;
        let asked = ("count".to_owned(), Bytes::new());
        let count = device.door()?.query(key(0)?, asked, PATIENCE).await?.reply;
        ours.push(millis(began.elapsed()));
        ensure!(count == EVENTS.to_string(), "{count:?} events");
        device.close().await;
        let began = Instant::now();
        average_entry(directory.path())?;
        reference.push(millis(began.elapsed()));
    }
    let (case, goal) = if snapshot { ("recovery-snapshot", 100.0) } else { ("recovery-full", 1_000.0) };
    Ok(Row::new(case, "ms", measured(ours, reference)?, Goal::AtMost(goal))
        .against("reading the journal alone"))
}

fn files(directory: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        count += if path.is_dir() { files(&path)? } else { 1 };
    }
    Ok(count)
}

/// Resident memory of 100 000 idle actors in memory, with a state of 1 KiB each.
pub async fn density() -> Result<Row> {
    let loaded = Loaded::new().await?;
    let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let policy = KindPolicy { idle_ms: u64::MAX, ..KindPolicy::default() };
    let device = Device::open(directory.path(), loaded.kind(policy).await?).await?;
    let before = resident_mib()?;
    touch(&device_doors(&device, IDLE)?, "fill", &STATE.to_string()).await?;
    let (after, there) = (resident_mib()?, device.actors.stats().map_or(0, |stats| stats.actors));
    device.close().await;
    let measured = Measured { ours: after - before, reference: (IDLE * STATE) as f64 / f64::from(1 << 20) };
    Ok(Row::new("actor-density", "MiB", measured, Goal::AtMost(300.0))
        .against("bytes of the states alone")
        .note(format!("{IDLE} actors of {STATE} bytes; {there} in memory at the last look")))
}

/// Resident memory of 1 000 000 actors that have left memory, with a state of 1 KiB each: what one more of them
/// costs, behind the first part of them.
pub async fn passivated() -> Result<Row> {
    let loaded = Loaded::new().await?;
    let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let policy = KindPolicy { idle_ms: 100, ..KindPolicy::default() };
    let device = Device::open(directory.path(), loaded.kind(policy).await?).await?;
    let (start, mut first) = (resident_mib()?, None);
    for begin in (0..PASSIVATED).step_by(PART) {
        let part = (begin..begin + PART).map(|n| Ok((key(n)?, device.door()?)));
        touch(&part.collect::<Result<Vec<_>>>()?, "fill", &STATE.to_string()).await?;
        at_rest(&device, begin + PART).await?;
        first.get_or_insert(resident_mib()?);
    }
    let (first, last) = (first.context("a part")?, resident_mib()?);
    comes_back(&device, PASSIVATED / 2).await?;
    device.close().await;
    let began = Instant::now();
    let device = Device::open(directory.path(), loaded.kind(policy).await?).await?;
    let opened = began.elapsed();
    at_rest(&device, PASSIVATED).await?;
    let again = resident_mib()?;
    comes_back(&device, PASSIVATED / 3).await?;
    device.close().await;
    let ours = (last - first) * f64::from(1 << 20) / (PASSIVATED - PART) as f64;
    Ok(Row::new("actor-passivated", "B", Measured { ours, reference: STATE as f64 }, Goal::AtMost(100.0))
        .against("bytes of its state")
        .note(format!(
            "{PASSIVATED} actors: {:.0} MiB more than none, {:.0} after a start of {:.1} s",
            last - start,
            again - start,
            opened.as_secs_f64()
        )))
}

/// One of them is what it was.
async fn comes_back(device: &Device, n: usize) -> Result<()> {
    let door = device.door()?;
    let balance = door.query(key(n)?, ("balance".to_owned(), Bytes::new()), PATIENCE).await?.reply;
    let commits = door.journal(key(n)?, 1, 10).await?;
    ensure!(balance == "0" && commits.len() == 1, "{balance:?}, {} commits", commits.len());
    Ok(())
}

/// Waits until all of so many actors have left memory, and all that is known of them but of a few.
async fn at_rest(device: &Device, count: usize) -> Result<()> {
    let began = Instant::now();
    let few = host_actors::Policy::default().resting;
    loop {
        let stats = device.actors.stats().context("the shard is open")?;
        if stats.actors == 0 && stats.resting + few >= count {
            // Instances that nobody is in go twice a second.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{stats:?}, not yet all of {count}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn resident_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1_024.0)
}
