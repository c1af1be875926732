//! Checkpoints of shards in the lattice: the stream stays small, who takes over reads the last checkpoint
//! and the tail, a crash at any step loses nothing, and what cannot be read is refused, never skipped.

use crate::fuse::Fuse;
use crate::lattice::{Node, node_with, policy, submit};
use crate::support::{key, until};
use futures::StreamExt;
use host_actors::inspect::Moment;
use host_actors::{KindPolicy, LatticeActors, Policy, StandbyPolicy};
use lattice_io::log::{LogError, LogOptions};
use lattice_io::memory::Memory;
use lattice_io::nats::{self, NatsOptions};
use lattice_io::{BlobError, Blobs, Lattice, Replicas};
use lattice_journal::Position;
use lattice_journal::retain::Retention;
use lattice_journal::snapshot::SnapshotPolicy;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, KindName};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tests_harness::NatsServer;

/// Commands ago that an actor certainly remembers.
const WINDOW: u64 = 800;
/// Records of one checkpoint.
const RECORDS: u64 = 10;

fn small(retain_ms: u64) -> (Policy, KindPolicy) {
    let period = Duration::from_millis(5);
    // Whoever takes over here has not stood by: it reads what there is.
    let standby = StandbyPolicy { hosts: 0, ..StandbyPolicy::default() };
    let policy = Policy { period, checkpoint_records: RECORDS, standby, ..policy() };
    let snapshots = SnapshotPolicy { events: 7, ..SnapshotPolicy::default() };
    (
        policy,
        KindPolicy {
            snapshots,
            retain: Retention { age_ms: retain_ms, bytes: u64::MAX },
            ..KindPolicy::default()
        },
    )
}

fn subjects() -> Subjects {
    Subjects::new("test".parse().unwrap())
}

fn kind() -> KindName {
    "sum".parse().unwrap()
}

fn shard(actor: &str) -> u16 {
    LatticeActors::part(&key(actor)).0
}

/// The first place that the stream of an actor's shard keeps.
async fn first(lattice: &Lattice, actor: &str) -> Position {
    let options = LogOptions {
        name: subjects().shard_stream(&kind(), shard(actor)),
        subject: subjects().shard(&kind(), shard(actor)),
        max_bytes: None,
        replicas: Replicas::One,
    };
    match lattice.logs.open(options).await.unwrap().read(Position(0), 1).await {
        Ok(_) => Position(1),
        Err(LogError::Trimmed { first }) => first,
        Err(error) => panic!("{error}"),
    }
}

async fn store(lattice: &Lattice, actor: &str) -> Arc<dyn Blobs> {
    let name = subjects().shard_store(&kind(), shard(actor));
    lattice.blobs.open(&name, Replicas::One).await.unwrap()
}

/// Commands 1 to `count` of an actor, one after the other; each adds 1.
async fn work(node: &Node, actor: &str, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        let answer = submit(&[node], n, actor, "1").await;
        assert_eq!(answer.reply, n.to_string(), "command {n} of {actor}");
    }
}

/// As SIGKILL.
async fn kill(node: Node) {
    node.scope.shutdown(Duration::ZERO).await;
}

async fn takes_over_from_checkpoint_and_tail(lattice: &Lattice) {
    let actor = "sum/a";
    let one = node_with("H1", lattice, small(0));
    work(&one, actor, 1..=200).await;
    let mut trimmed = Position(1);
    let mut n = 200;
    until("the stream is trimmed behind its checkpoints", async || {
        n += 1;
        work(&one, actor, n..=n).await;
        trimmed = first(lattice, actor).await;
        trimmed > Position(150)
    })
    .await;
    kill(one).await;
    let fuse = Fuse::never();
    let two = node_with("H2", &fuse.wire(lattice), small(0));
    until("it is taken over", async || two.actors.door(&key(actor)).is_some()).await;
    let again = submit(&[&two], n, actor, "1").await;
    assert!(again.repeated && again.reply == n.to_string(), "{again:?}");
    let read = fuse.read.load(Ordering::SeqCst);
    assert!(read < 8 * RECORDS, "{read} records read of more than {n}");
    let folded = two.sums.folded.load(Ordering::SeqCst);
    assert!(folded < 8 * RECORDS, "{folded} events folded of {n}");
    work(&two, actor, n + 1..=n + 50).await;
    // The next one begins at what this one has written; ids of long ago are known.
    kill(two).await;
    let three = node_with("H3", lattice, small(0));
    assert!(submit(&[&three], n.saturating_sub(WINDOW).max(1), actor, "1").await.repeated);
    work(&three, actor, n + 51..=n + 60).await;
    let refused = three.actors.door(&key(actor)).unwrap().journal(key(actor), 1, 10).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::HistoryTrimmed, "{refused}");
    // What nobody needs has left the store.
    let kept = store(lattice, actor).await.list().await.unwrap();
    assert!(kept.len() < 16, "{} blobs", kept.len());
    kill(three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_reads_the_last_checkpoint_and_the_tail() {
    takes_over_from_checkpoint_and_tail(&Memory::new().lattice()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_reads_the_last_checkpoint_and_the_tail_from_a_real_server() {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await.unwrap();
    let client = nats::connect(NatsOptions::new(server.url())).await.unwrap();
    takes_over_from_checkpoint_and_tail(&client.lattice()).await;
}

/// Works until the fuse blows, or several checkpoints were made to the end; the last command that was
/// acknowledged.
async fn work_until_it_blows(node: &Node, fuse: &Fuse, actor: &str) -> u64 {
    let whole = |steps: &[&str]| steps.iter().filter(|step| **step == "trim").count() >= 3;
    let nodes = [node];
    for n in 1.. {
        let answer = tokio::select! {
            answer = submit(&nodes, n, actor, "1") => answer,
            () = until("it blows", async || fuse.is_blown()) => return n - 1,
        };
        assert_eq!(answer.reply, n.to_string());
        if whole(&fuse.steps()) {
            return n;
        }
    }
    unreachable!("numbers do not end")
}

/// A host dies at a step; what the next two make of it. The step, if there are so many.
async fn crash(step: usize, happens: bool) -> Option<&'static str> {
    let (lattice, actor) = (Memory::new().lattice(), "sum/a");
    let fuse = Fuse::at(step, happens);
    let one = node_with("H1", &fuse.wire(&lattice), small(0));
    let acknowledged = work_until_it_blows(&one, &fuse, actor).await;
    kill(one).await;
    let steps = fuse.steps();
    let two = node_with("H2", &lattice, small(0));
    // Each of them again: answered as the first time, or carried out once.
    for n in [acknowledged.saturating_sub(WINDOW).max(1), acknowledged.max(1)] {
        let again = submit(&[&two], n, actor, "1").await;
        assert_eq!(again.reply, n.to_string(), "step {step} {happens}: {steps:?}");
        assert!(again.repeated || n > acknowledged, "step {step} {happens}: lost {n}: {steps:?}");
    }
    work(&two, actor, acknowledged + 1..=acknowledged + 40).await;
    kill(two).await;
    let three = node_with("H3", &lattice, small(0));
    work(&three, actor, acknowledged + 41..=acknowledged + 45).await;
    kill(three).await;
    steps.last().copied().filter(|_| fuse.is_blown())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_every_step_of_every_checkpoint_loses_and_doubles_nothing() {
    let fuse = Fuse::never();
    let whole = node_with("H1", &fuse.wire(&Memory::new().lattice()), small(0));
    work_until_it_blows(&whole, &fuse, "sum/a").await;
    kill(whole).await;
    let count = fuse.steps().len();
    assert!(count > 10, "{:?}", fuse.steps());
    let crashes = (0..count).flat_map(|step| [crash(step, false), crash(step, true)]);
    let crashed = futures::stream::iter(crashes).buffer_unordered(8).collect::<Vec<_>>().await;
    let crashed: BTreeSet<_> = crashed.into_iter().flatten().collect();
    let all = ["delete", "document", "hint", "pack", "record", "trim"];
    assert_eq!(crashed.into_iter().collect::<Vec<_>>(), all, "each step was crashed at");
}

/// A shard with a trimmed stream whose owner is dead; the last command.
async fn trimmed(lattice: &Lattice, actor: &str) -> u64 {
    let one = node_with("H1", lattice, small(0));
    let mut n = 0;
    until("the stream is trimmed", async || {
        n += 1;
        work(&one, actor, n..=n).await;
        first(lattice, actor).await > Position(1)
    })
    .await;
    kill(one).await;
    n
}

/// Documents in a shard's store, by the record that they reach to.
async fn documents(store: &dyn Blobs) -> Vec<(u64, keys::Digest)> {
    let mut found = Vec::new();
    for blob in store.list().await.unwrap() {
        let bytes = match store.get(blob.digest).await {
            Ok(bytes) => bytes,
            // The owner has cleared it away meanwhile.
            Err(BlobError::NotFound { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        if let Ok(document) = lattice_journal::document::Document::from_bytes(bytes) {
            found.push((document.checkpoint.through.0, blob.digest));
        }
    }
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_checkpoint_gives_way_to_the_one_before_and_losing_all_closes_the_shard() {
    let (lattice, actor) = (Memory::new().lattice(), "sum/a");
    let n = trimmed(&lattice, actor).await;
    let store = store(&lattice, actor).await;
    let (_, newest) = documents(&*store).await.pop().unwrap();
    store.delete(newest).await.unwrap();
    let two = node_with("H2", &lattice, small(0));
    assert!(submit(&[&two], n, actor, "1").await.repeated, "the one before does as well");
    kill(two).await;
    for (_, document) in documents(&*store).await {
        store.delete(document).await.unwrap();
    }
    let three = node_with("H3", &lattice, small(0));
    until("it is closed", async || three.actors.closed(&key(actor)).is_some()).await;
    let report = three.actors.closed(&key(actor)).unwrap();
    assert_eq!(report.code, ErrorCode::Damaged, "{report}");
    assert!(report.to_string().contains("restore"), "{report}");
    assert!(three.actors.door(&key(actor)).is_none(), "never begun empty");
    let other = (0..).map(|n| format!("sum/b-{n}")).find(|other| shard(other) != shard(actor)).unwrap();
    assert_eq!(submit(&[&three], 1, &other, "1").await.reply, "1", "other shards are not touched");
    kill(three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_stream_was_deleted_or_cut_off_is_closed_and_not_begun_anew() {
    let (lattice, actor) = (Memory::new().lattice(), "sum/a");
    let n = trimmed(&lattice, actor).await;
    let lost = Lattice { logs: Memory::new().lattice().logs, ..lattice.clone() };
    let two = node_with("H2", &lost, small(0));
    until("it is closed", async || two.actors.closed(&key(actor)).is_some()).await;
    assert_eq!(two.actors.closed(&key(actor)).unwrap().code, ErrorCode::Damaged);
    kill(two).await;
    let three = node_with("H3", &lattice, small(0));
    assert!(submit(&[&three], n, actor, "1").await.repeated, "nothing was written over it");
    kill(three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_read_is_made_good_from_older_history_or_refuses_its_actor_alone() {
    let (lattice, actor) = (Memory::new().lattice(), "sum/a");
    let n = trimmed(&lattice, actor).await;
    let store = store(&lattice, actor).await;
    let blobs: Vec<_> = store.list().await.unwrap().into_iter().map(|blob| blob.digest).collect();
    let documents: Vec<_> = documents(&*store).await;
    let newest = store.get(documents.last().unwrap().1).await.unwrap();
    let newest = lattice_journal::document::Document::from_bytes(newest).unwrap();
    for (pack, _) in &newest.packs {
        store.delete(*pack).await.unwrap();
    }
    let two = node_with("H2", &lattice, small(0));
    let again = submit(&[&two], n, actor, "1").await;
    assert!(again.repeated && again.reply == n.to_string(), "from the checkpoint before: {again:?}");
    kill(two).await;
    for blob in blobs.into_iter().filter(|blob| documents.iter().all(|(_, name)| name != blob)) {
        store.delete(blob).await.unwrap();
    }
    let three = node_with("H3", &lattice, small(0));
    until("it is taken over", async || three.actors.door(&key(actor)).is_some()).await;
    let door = three.actors.door(&key(actor)).unwrap();
    let asked = ("balance".to_owned(), bytes::Bytes::new());
    let refused = door.query(key(actor), asked, Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Damaged, "{refused}");
    kill(three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_is_kept_for_people_is_there_after_a_takeover_and_does_not_slow_it() {
    let (lattice, actor) = (Memory::new().lattice(), "sum/a");
    let hour = 3_600_000;
    let one = node_with("H1", &lattice, small(hour));
    let mut n = 0;
    let kept = store(&lattice, actor).await;
    until("there are several checkpoints, and the last is near the end", async || {
        let made = documents(&*kept).await;
        if made.len() < 2 || n < 150 {
            work(&one, actor, n + 1..=n + 10).await;
            n += 10;
            return false;
        }
        // Every command has a record of its own.
        made.last().is_some_and(|(through, _)| through + 3 * RECORDS >= n)
    })
    .await;
    kill(one).await;
    assert_eq!(first(&lattice, actor).await, Position(1), "it is kept");
    let fuse = Fuse::never();
    let two = node_with("H2", &fuse.wire(&lattice), small(hour));
    assert!(submit(&[&two], n, actor, "1").await.repeated);
    let read = fuse.read.load(Ordering::SeqCst);
    assert!(read < 8 * RECORDS, "{read} records read");
    let door = two.actors.door(&key(actor)).unwrap();
    let journal = door.journal(key(actor), 1, 1_000).await.unwrap();
    assert_eq!(
        journal.iter().map(|commit| commit.seq).collect::<Vec<_>>(),
        (1..=n.min(1_000)).collect::<Vec<_>>()
    );
    for seq in [1, 42, n] {
        assert_eq!(door.state_at(key(actor), Moment::Seq(seq)).await.unwrap().seq, seq);
    }
    let verified = door.verify(key(actor)).await.unwrap();
    assert_eq!(verified.commits, (1, n));
    assert!(verified.ways.len() >= 2, "{:?}", verified.ways);
    kill(two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_key_of_a_shard_costs_nothing() {
    let (lattice, actor) = (Memory::new().lattice(), "sum/a");
    for host in ["H1", "H2", "H3"] {
        let node = node_with(host, &lattice, small(0));
        submit(&[&node], 1, actor, "1").await;
        kill(node).await;
    }
    let owners = lattice.kv.assume(&subjects().shards_bucket()).unwrap();
    let owner = format!("{}.{}", kind(), shard(actor));
    owners.put(&owner, bytes::Bytes::from_static(b"{not json")).await.unwrap();
    let four = node_with("H4", &lattice, small(0));
    let again = submit(&[&four], 1, actor, "1").await;
    assert!(again.repeated, "{again:?}");
    assert!(again.epoch.0 >= 4, "{again:?}");
    kill(four).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_copies_where_there_is_one_server_are_refused_by_name() {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await.unwrap();
    let client = nats::connect(NatsOptions::new(server.url())).await.unwrap();
    let (policy, kind) = small(0);
    for lattice in [Memory::new().lattice(), client.lattice()] {
        let node = node_with("H1", &lattice, (policy, KindPolicy { replicas: Replicas::Three, ..kind }));
        until("it is closed", async || node.actors.closed(&key("sum/a")).is_some()).await;
        let report = node.actors.closed(&key("sum/a")).unwrap();
        assert!(report.what.contains("replicas") || report.what.contains("copy"), "{report}");
        kill(node).await;
    }
}
