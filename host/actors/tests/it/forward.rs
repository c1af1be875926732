//! The journal of a host's pinned actors goes into the lattice: on a real server behind an uplink that is cut,
//! through the death of the server and of the host. What arrives is what is on the host's disk, each record
//! once, in order; or a gap says what was let go.

use crate::support::{Host, PATIENCE, Settings, T0, as_user, host_with, key, nats_user, until};
use anyhow::{Result, ensure};
use bytes::Bytes;
use host_actors::forward::copy::{self, Copy};
use host_actors::forward::frame::Why;
use host_actors::{ForwardOptions, ForwardPolicy, KindPolicy, WhenFull};
use host_store::{DataDir, Journal, JournalOptions};
use lattice_io::Lattice;
use lattice_io::memory::Memory;
use lattice_io::nats::{self, NatsLattice, NatsOptions};
use lattice_journal::shard::Submitted;
use lattice_journal::snapshot::SnapshotPolicy;
use lattice_journal::{Command, CommandId, CommandRef, RecordSeq, Sealed};
use lattice_protocol::forwarding::{ForwardState, Forwarding};
use lattice_protocol::permission::HostDomains;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, HostId, Report};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tests_harness::{ChaosProxy, NatsServer};

pub fn subjects() -> Subjects {
    Subjects::new("test".parse().unwrap())
}

pub fn name() -> HostId {
    "NTEST".parse().unwrap()
}

/// Hurries, so that a test need not wait.
pub fn policy() -> ForwardPolicy {
    ForwardPolicy {
        linger_ms: 5,
        pauses_ms: (5, 50),
        patience: Duration::from_secs(2),
        period: Duration::from_millis(10),
        ..ForwardPolicy::default()
    }
}

pub fn options(lattice: &Lattice, policy: ForwardPolicy) -> ForwardOptions {
    ForwardOptions { host: name(), lattice: lattice.clone(), subjects: subjects(), events: None, policy }
}

pub fn settings(forward: ForwardOptions) -> Settings {
    Settings { forward: Some(forward), ..Settings::default() }
}

/// A client in the background, as a host has it.
pub async fn client(url: String) -> Result<Arc<NatsLattice>> {
    Ok(nats::connect(NatsOptions { background: true, ..NatsOptions::new(url) }).await?)
}

/// Adds 1 under the n-th id, again until it is answered.
pub async fn add(host: &Host, n: u64, actor: &str) -> Result<Submitted, Report> {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&n.to_be_bytes());
    let reference = CommandRef::Id(CommandId::new(T0, random));
    let command = Command { reference, name: "add".to_owned(), body: Bytes::from_static(b"1") };
    loop {
        let asking = async { host.actors.door()?.submit(key(actor), command.clone(), PATIENCE).await };
        match asking.await {
            Err(report) if report.code == ErrorCode::Overloaded => tokio::task::yield_now().await,
            answer => return answer,
        }
    }
}

/// Commands from this one on, to several actors.
pub async fn work(host: &Host, range: std::ops::Range<u64>) {
    for n in range {
        add(host, n, &format!("sum/a-{}", n % 7)).await.unwrap();
    }
}

pub fn status(host: &Host) -> Forwarding {
    host.actors.forwarding().unwrap_or_default()
}

pub async fn all_has_arrived(host: &Host) {
    until("everything has arrived", async || {
        let status = status(host);
        status.state == ForwardState::Current && status.records == 0 && status.through > 0
    })
    .await;
}

/// What has arrived.
pub async fn arrived(lattice: &Lattice) -> Result<(Copy, Vec<Sealed>), Report> {
    let mut records = Vec::new();
    let copy =
        copy::read(&*lattice.lanes, &subjects(), &name(), &mut |_, sealed| records.push(sealed)).await?;
    Ok((copy, records))
}

/// What is on the disk of a host that has ended.
pub fn on_disk(directory: &Path, options: JournalOptions) -> Vec<(u64, Bytes)> {
    let mut entries = Vec::new();
    let data = DataDir::open(directory).unwrap();
    Journal::open(&data, options, &mut |at, entry| entries.push((at, entry))).unwrap();
    entries
}

/// The records that arrived are those of the disk, and each actor's commits are in order and all there.
fn same(records: &[Sealed], disk: &[(u64, Bytes)], commands: u64) {
    let arrived: Vec<_> =
        records.iter().map(|sealed| (sealed.record().seq.0, sealed.bytes().clone())).collect();
    assert_eq!(arrived.len(), disk.len());
    assert!(arrived == disk, "what has arrived is another journal");
    let mut actors: BTreeMap<String, u64> = BTreeMap::new();
    for commit in records.iter().flat_map(|sealed| sealed.record().commits()) {
        let last = actors.entry(commit.key.to_string()).or_default();
        assert_eq!(commit.seq.0, *last + 1, "{}", commit.key);
        *last = commit.seq.0;
    }
    assert_eq!(actors.values().sum::<u64>(), commands);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_while_the_uplink_is_cut_arrives_once_in_order_also_after_a_restart_offline()
-> Result<()> {
    let mut server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
    let proxy = ChaosProxy::start(server.address()).await?;
    let directory = tempfile::tempdir()?;
    let far = client(format!("nats://{}", proxy.address())).await?;
    let host = host_with(directory.path(), settings(options(&far.lattice(), policy())));
    work(&host, 0..50).await;
    all_has_arrived(&host).await;
    proxy.cut();
    work(&host, 50..150).await;
    until("it is behind, and says why", async || {
        let status = status(&host);
        status.state == ForwardState::Away
            && status.records > 0
            && status.bytes > 0
            && status.reason.is_some()
    })
    .await;
    // Restarted while the lattice is away.
    host.end().await;
    far.close().await;
    let far = client(format!("nats://{}", proxy.address())).await?;
    let host = host_with(directory.path(), settings(options(&far.lattice(), policy())));
    work(&host, 150..200).await;
    ensure!(status(&host).records >= 100, "{:?}", status(&host));
    // The server dies in the middle of it, too.
    proxy.heal();
    until("something arrives", async || status(&host).state != ForwardState::Away).await;
    server.kill()?;
    work(&host, 200..250).await;
    server.restart_on_same_port().await?;
    work(&host, 250..300).await;
    all_has_arrived(&host).await;
    host.end().await;
    let near = client(server.url()).await?;
    ensure!(near.connected().await);
    let (copy, records) = arrived(&near.lattice()).await?;
    each_once(&copy)?;
    same(&records, &on_disk(directory.path(), Settings::default().journal), 300);
    Ok(())
}

/// One journal, nothing missing, nothing twice.
fn each_once(copy: &Copy) -> Result<()> {
    let newest = copy.newest();
    ensure!(copy.lives.len() == 1 && newest.is_some_and(|life| life.gaps.is_empty() && life.repeated == 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_again_and_again_on_an_uplink_that_flaps_sends_each_record_once() -> Result<()> {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
    let proxy = ChaosProxy::start(server.address()).await?;
    proxy.set_delay(Duration::from_millis(3));
    let directory = tempfile::tempdir()?;
    let small = ForwardPolicy { frame_bytes: 2_000, recent_bytes: 1_000, ..policy() };
    let mut commands = 0;
    for _ in 0..tests_harness::sizes::pick(8, 60) {
        let far = client(format!("nats://{}", proxy.address())).await?;
        let host = host_with(directory.path(), settings(options(&far.lattice(), small)));
        let disturbed = async {
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                proxy.drop_connections();
            }
        };
        tokio::join!(work(&host, commands..commands + 40), disturbed);
        commands += 40;
        // As SIGKILL: whatever is on its way may arrive or not.
        host.die(directory.path()).await;
        far.close().await;
    }
    let far = client(format!("nats://{}", proxy.address())).await?;
    let host = host_with(directory.path(), settings(options(&far.lattice(), small)));
    work(&host, commands..commands + 1).await;
    all_has_arrived(&host).await;
    host.end().await;
    let near = client(server.url()).await?;
    ensure!(near.connected().await);
    let (copy, records) = arrived(&near.lattice()).await?;
    each_once(&copy)?;
    same(&records, &on_disk(directory.path(), Settings::default().journal), commands + 1);
    Ok(())
}

/// Trims early: snapshots after a few events, small files.
pub fn trimming(forward: ForwardOptions) -> Settings {
    let snapshots = SnapshotPolicy { events: 10, ..SnapshotPolicy::default() };
    let mut settings = settings(forward);
    settings.kind = KindPolicy { snapshots, ..KindPolicy::default() };
    settings.policy.trim_records = 20;
    settings.journal = JournalOptions { segment_bytes: 8 << 10, max_segments: 24, ..settings.journal };
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_arrived_is_kept_and_beyond_the_limit_the_oldest_goes_counted_and_as_a_gap() -> Result<()>
{
    let memory = Memory::new();
    let directory = tempfile::tempdir()?;
    let few = ForwardPolicy { keep_bytes: 40 << 10, ..policy() };
    let host = host_with(directory.path(), trimming(options(&memory.lattice(), few)));
    work(&host, 0..20).await;
    all_has_arrived(&host).await;
    let through = status(&host).through;
    memory.set_connected(false);
    // Below the limit everything is kept, though no actor needs it any more.
    let mut n = 20;
    while status(&host).bytes < 30 << 10 {
        work(&host, n..n + 1).await;
        n += 1;
        host.clock.advance(Duration::from_millis(50));
    }
    until("history is trimmed", async || {
        host.clock.advance(Duration::from_millis(50));
        work(&host, n..n + 1).await;
        n += 1;
        host.door()
            .journal(key("sum/a-0"), 1, 1)
            .await
            .is_err_and(|error| error.code == ErrorCode::HistoryTrimmed)
    })
    .await;
    assert_eq!(status(&host).dropped, 0);
    // Beyond it the oldest go.
    until("something is dropped", async || {
        host.clock.advance(Duration::from_millis(50));
        work(&host, n..n + 10).await;
        n += 10;
        status(&host).dropped > 0
    })
    .await;
    // It is known after a restart as well.
    let dropped = status(&host).dropped;
    host.end().await;
    let host = host_with(directory.path(), trimming(options(&memory.lattice(), few)));
    work(&host, n..n + 1).await;
    assert!(status(&host).dropped >= dropped, "{:?}", status(&host));
    memory.set_connected(true);
    all_has_arrived(&host).await;
    let dropped = status(&host).dropped;
    let (copy, records) = arrived(&memory.lattice()).await?;
    let life = copy.newest().unwrap();
    assert_eq!(life.missing(), dropped, "{life:?}");
    assert!(
        life.gaps.iter().all(|gap| gap.why == Why::Dropped) && life.gaps[0].first == RecordSeq(through + 1)
    );
    assert_eq!(records.len() as u64, life.last().0 - dropped);
    // The actors have lost nothing.
    let mut sum = 0;
    for actor in 0..7 {
        sum += host.query(&format!("sum/a-{actor}"), "balance").await.unwrap().parse::<u64>()?;
    }
    assert_eq!(sum, n + 1);
    host.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_must_not_lose_any_refuses_commands_when_too_much_waits_and_goes_on_by_itself()
-> Result<()> {
    let memory = Memory::new();
    let directory = tempfile::tempdir()?;
    let strict = ForwardPolicy { keep_bytes: 20 << 10, full: WhenFull::Refuse, ..policy() };
    let host = host_with(directory.path(), trimming(options(&memory.lattice(), strict)));
    memory.set_connected(false);
    let (mut n, patience) = (0, Duration::from_millis(100));
    let refused = loop {
        let id = u8::try_from(n % 251)?;
        host.clock.advance(Duration::from_millis(50));
        match host.command_within(patience, (id, &format!("sum/b-{n}"), "add", "1")).await {
            Ok(_) => n += 1,
            // The one that found it full.
            Err(report) if report.code == ErrorCode::OutcomeUnknown => {}
            Err(report) => break report,
        }
        ensure!(n < 2_000, "it never refuses");
    };
    assert_eq!(refused.code, ErrorCode::InsufficientResources, "{refused}");
    assert!(refused.hint.is_some_and(|hint| hint.contains("--forward-full")));
    assert!(status(&host).refusing && status(&host).dropped == 0, "{:?}", status(&host));
    // Who only asks is answered.
    assert_eq!(host.query("sum/b-0", "balance").await.unwrap(), "1");
    memory.set_connected(true);
    until("it takes commands again", async || {
        host.clock.advance(Duration::from_millis(50));
        host.command_within(patience, (1, "sum/c", "add", "1")).await.is_ok()
    })
    .await;
    all_has_arrived(&host).await;
    assert!(!status(&host).refusing);
    let (copy, records) = arrived(&memory.lattice()).await?;
    assert!(copy.newest().is_some_and(|life| life.gaps.is_empty()), "nothing is missing");
    let commits = records.iter().map(|sealed| sealed.record().commits().len() as u64).sum::<u64>();
    assert!(commits > n, "{commits} of {n}");
    host.end().await;
    Ok(())
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_data_is_reported_and_overwrites_nothing_and_a_new_journal_is_another_life()
-> Result<()> {
    let memory = Memory::new();
    let (directory, older) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let start = |path: &Path| host_with(path, settings(options(&memory.lattice(), policy())));
    let host = start(directory.path());
    work(&host, 0..20).await;
    all_has_arrived(&host).await;
    host.end().await;
    copy_dir(directory.path(), older.path())?;
    let host = start(directory.path());
    work(&host, 20..40).await;
    all_has_arrived(&host).await;
    host.end().await;
    let (before, _) = arrived(&memory.lattice()).await?;
    // The copy goes on otherwise, whether it is behind what has arrived or ahead of it.
    let host = start(older.path());
    until("it is seen", async || status(&host).state == ForwardState::Diverged).await;
    assert!(status(&host).reason.is_some_and(|reason| reason.contains("E_FORK")));
    work(&host, 100..180).await;
    host.end().await;
    let host = start(older.path());
    until("it is seen again", async || status(&host).state == ForwardState::Diverged).await;
    // The actors work all the same.
    work(&host, 180..190).await;
    host.end().await;
    let (after, _) = arrived(&memory.lattice()).await?;
    assert_eq!((after.at, after.lives.len()), (before.at, 1), "nothing was overwritten or added");
    // The right one goes on.
    let host = start(directory.path());
    work(&host, 40..50).await;
    all_has_arrived(&host).await;
    host.end().await;
    // Begun anew, and its loss accepted: what was there stays.
    let anew = tempfile::tempdir()?;
    let host = start(anew.path());
    work(&host, 0..10).await;
    all_has_arrived(&host).await;
    host.end().await;
    let (copy, records) = arrived(&memory.lattice()).await?;
    assert_eq!(copy.lives.len(), 2);
    assert_eq!(records.len() as u64, copy.lives[0].last().0 + copy.lives[1].last().0);
    assert!(copy.lives[0].last() > before.newest().unwrap().last());
    Ok(())
}

/// Users of a server: the host as its lattice lets it, another one, and somebody who may do everything.
pub fn users() -> String {
    let user = |host: &str| {
        let domains = HostDomains::default();
        nats_user(host, &subjects().host_permissions(&host.parse().unwrap(), &[], &domains))
    };
    let (host, other) = (user("NTEST"), user("NOTHER"));
    format!("authorization {{ users: [ {host}, {other}, {{ user: all, password: pass }} ] }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_forwards_under_its_own_name_and_no_other_can() -> Result<()> {
    let options_of_server =
        tests_harness::NatsOptions { operator_config: Some(users()), ..Default::default() };
    let server = NatsServer::start(options_of_server).await?;
    let directory = tempfile::tempdir()?;
    let mine = as_user(&server, "NTEST").await?;
    let host = host_with(directory.path(), settings(options(&mine, policy())));
    work(&host, 0..20).await;
    all_has_arrived(&host).await;
    host.end().await;
    // Another host, in the name of the first: it is told that it may not, and nothing changes.
    let all = as_user(&server, "all").await?;
    let (before, _) = arrived(&all).await?;
    let other = as_user(&server, "NOTHER").await?;
    let forged = tempfile::tempdir()?;
    let host = host_with(forged.path(), settings(options(&other, policy())));
    work(&host, 0..5).await;
    until("it is refused", async || {
        let status = status(&host);
        status.state == ForwardState::Away && status.reason.is_some_and(|reason| reason.contains("E_DENIED"))
    })
    .await;
    host.end().await;
    let (after, _) = arrived(&all).await?;
    assert_eq!((after.at, after.lives.len()), (before.at, 1));
    Ok(())
}
