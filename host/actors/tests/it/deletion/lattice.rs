//! The same of kinds of durability `lattice`: in the stream and the store of a shard, with takeovers and
//! crashes between.

use super::{GONE, is_closing, is_gone};
use crate::fuse::Fuse;
use crate::lattice::{Node, command_id, node, node_with, policy, submit};
use crate::support::{PATIENCE, key, until};
use bytes::Bytes;
use futures::StreamExt;
use host_actors::{Door, KindPolicy, LatticeActors, Policy};
use host_store::{DataDir, SnapshotStore};
use lattice_io::log::{LogError, LogOptions};
use lattice_io::memory::Memory;
use lattice_io::nats::{self, NatsOptions};
use lattice_io::{Lattice, Replicas};
use lattice_journal::document::{Document, Pack};
use lattice_journal::retain::Retention;
use lattice_journal::shard::Submitted;
use lattice_journal::snapshot::SnapshotPolicy;
use lattice_journal::{Position, Sealed, Snapshot};
use lattice_protocol::Report;
use lattice_protocol::subject::Subjects;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tests_harness::NatsServer;

fn subjects() -> Subjects {
    Subjects::new("test".parse().unwrap())
}

fn shard(actor: &str) -> u16 {
    LatticeActors::part(&key(actor)).0
}

/// Everything that the stream of an actor's shard keeps.
async fn stream(lattice: &Lattice, actor: &str) -> Vec<Sealed> {
    let kind = "sum".parse().unwrap();
    let options = LogOptions {
        name: subjects().shard_stream(&kind, shard(actor)),
        subject: subjects().shard(&kind, shard(actor)),
        max_bytes: None,
        replicas: Replicas::One,
    };
    let log = lattice.logs.open(options).await.unwrap();
    let (mut after, mut all) = (Position(0), Vec::new());
    loop {
        match log.read(after, 100).await {
            Ok(back) => {
                after = back.entries.last().map_or(after, |(at, _)| *at);
                all.extend(back.entries.into_iter().map(|(_, bytes)| Sealed::open(bytes).unwrap()));
                if back.complete {
                    return all;
                }
            }
            Err(LogError::Trimmed { first }) => after = Position(first.0 - 1),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What blobs have of an actor: they never change, and each is read once.
type Seen = BTreeMap<keys::Digest, Vec<String>>;

/// What the store of an actor's shard has of it: snapshots in packs, and timers in documents.
async fn stored(lattice: &Lattice, actor: &str, seen: &mut Seen) -> Vec<String> {
    let name = subjects().shard_store(&"sum".parse().unwrap(), shard(actor));
    let store = lattice.blobs.open(&name, Replicas::One).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let plain = SnapshotStore::open(&DataDir::open(directory.path()).unwrap(), None).unwrap();
    // A server may have too much to do at once.
    let Ok(blobs) = store.list().await else { return vec!["not listed".to_owned()] };
    let mut all = Vec::new();
    for blob in blobs {
        if let Entry::Vacant(place) = seen.entry(blob.digest) {
            // It may have gone since it was listed.
            let Ok(bytes) = store.get(blob.digest).await else { continue };
            place.insert(of_actor(bytes, actor, (&plain, &name)));
        }
        all.extend(seen[&blob.digest].iter().cloned());
    }
    all
}

fn of_actor(bytes: Bytes, actor: &str, (plain, name): (&SnapshotStore, &str)) -> Vec<String> {
    if let Ok(document) = Document::from_bytes(bytes.clone()) {
        let timers = document.timers.iter().filter(|(of, ..)| *of == key(actor));
        return timers
            .map(|(_, name, _)| format!("timer {name} of {}", document.checkpoint.through))
            .collect();
    }
    let pack = Pack::from_bytes(plain.envelope().unwrap(name, &bytes, 1 << 20).unwrap().into()).unwrap();
    let (epoch, number) = (pack.epoch, pack.number);
    let snapshots = pack.snapshots.into_iter().map(|bytes| Snapshot::open(bytes).unwrap().0.ledger);
    let mine = snapshots.filter(|ledger| ledger.key() == &key(actor));
    mine.map(|ledger| format!("snapshot {} in pack {epoch}-{number}", ledger.seq())).collect()
}

/// What the stream and the store of an actor's shard have of it.
async fn left(lattice: &Lattice, actor: &str, seen: &mut Seen) -> Vec<String> {
    let mut found = stored(lattice, actor, seen).await;
    for sealed in stream(lattice, actor).await {
        let record = sealed.record();
        let mine = record.commits().iter().filter(|commit| commit.key == key(actor));
        found.extend(mine.map(|commit| format!("commit {} in record {}", commit.seq, record.seq)));
    }
    found
}

/// Waits until there is nothing.
async fn leaves(lattice: &Lattice, actor: &str, when: &str) {
    let (mut last, mut seen) = (vec!["not read".to_owned()], Seen::new());
    let waiting = async {
        loop {
            last = left(lattice, actor, &mut seen).await;
            if last.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let waited = tokio::time::timeout(3 * PATIENCE, waiting).await;
    assert!(
        waited.is_ok(),
        "{when}: {last:?}, in a stream that begins at {:?}",
        stream(lattice, actor).await.first()
    );
}

fn few(records: u64, age_ms: u64) -> (Policy, KindPolicy) {
    let policy = Policy { period: Duration::from_millis(5), checkpoint_records: records, ..policy() };
    let snapshots = SnapshotPolicy { events: 7, ..SnapshotPolicy::default() };
    let retain = Retention { age_ms, bytes: u64::MAX };
    (policy, KindPolicy { snapshots, retain, ..KindPolicy::default() })
}

/// Has an actor deleted by whoever owns it, under the n-th id.
async fn bury(nodes: &[&Node], n: u64, actor: &str) -> Submitted {
    let asking = async {
        loop {
            for door in nodes.iter().filter_map(|node| node.actors.door(&key(actor))) {
                match door.delete(key(actor), command_id(n), Duration::from_secs(1)).await {
                    Ok(answer) => return answer,
                    Err(report) => assert_ne!(report.code, GONE, "{report}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("an owner answers")
}

/// As SIGKILL.
async fn kill(node: Node) {
    node.scope.shutdown(Duration::ZERO).await;
}

/// The door of an actor's owner, once it is open.
async fn door(node: &Node, actor: &str) -> Door {
    until("it owns the shard", async || node.actors.door(&key(actor)).is_some()).await;
    node.actors.door(&key(actor)).unwrap()
}

/// What an actor's owner answers, which may lose the shard and get it back.
async fn settled<T>(
    node: &Node,
    actor: &str,
    ask: impl AsyncFn(Door) -> Result<T, Report>,
) -> Result<T, Report> {
    let asking = async {
        loop {
            match ask(door(node, actor).await).await {
                Err(report) if is_closing(report.code) => tokio::time::sleep(Duration::from_millis(5)).await,
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(3 * PATIENCE, asking).await.expect("an answer")
}

async fn stays_gone(node: &Node, actor: &str) {
    settled(node, actor, async |door| is_gone(&door, actor).await).await.unwrap();
}

/// Another actor of the same shard.
fn neighbour(actor: &str) -> String {
    (0..).map(|n| format!("sum/n-{n}")).find(|other| shard(other) == shard(actor)).unwrap()
}

async fn leaves_stream_and_store(lattice: &Lattice) {
    let (actor, other) = ("sum/secret", neighbour("sum/secret"));
    let hour = 3_600_000;
    let one = node_with("H1", lattice, few(10, hour));
    for n in 1..=60 {
        submit(&[&one], n, actor, "1").await;
        submit(&[&one], 1_000 + n, &other, "1").await;
    }
    let mut seen = Seen::new();
    until("its snapshots are in the lattice", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stored(lattice, actor, &mut seen).await.iter().any(|what| what.starts_with("snapshot"))
    })
    .await;
    let two = node_with("H2", lattice, few(10, hour));
    until("it stands by", async || two.actors.standby(&key(actor)).is_some()).await;
    let answer = bury(&[&one], 61, actor).await;
    assert_eq!((answer.seq.0, answer.repeated), (61, false));
    stays_gone(&one, actor).await;
    let asked = ("balance".to_owned(), Bytes::new());
    until("who stands by knows it", async || {
        let answer = two.actors.query_stale(&key(actor), asked.clone(), PATIENCE).await;
        answer.is_some_and(|answer| answer.is_err_and(|report| report.code == GONE))
    })
    .await;
    // It is trimmed no earlier than anything else.
    for n in 61..=90 {
        submit(&[&one], 1_000 + n, &other, "1").await;
    }
    assert_eq!(stream(lattice, actor).await[0].record().seq.0, 1, "history is kept for an hour");
    kill(one).await;
    stays_gone(&two, actor).await;
    assert_eq!(bury(&[&two], 61, actor).await.seq.0, 61);
    assert!(submit(&[&two], 1_060, &other, "1").await.repeated);
    kill(two).await;
    // Now nothing is kept; and nothing happens in the shard any more.
    let three = node_with("H3", lattice, few(1_000_000, 0));
    leaves(lattice, actor, "nothing happens in the shard").await;
    stays_gone(&three, actor).await;
    let again = submit(&[&three], 1_090, &other, "1").await;
    assert!(again.repeated && again.reply == "90", "{again:?}");
    settled(&three, actor, async |door| door.verify(key(&other)).await.map(drop)).await.unwrap();
    kill(three).await;
    let four = node_with("H4", lattice, few(10, 0));
    stays_gone(&four, actor).await;
    assert_eq!(submit(&[&four], 2_000, &other, "1").await.reply, "91");
    kill(four).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_actor_leaves_the_stream_and_the_store_and_never_comes_back() {
    leaves_stream_and_store(&Memory::new().lattice()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_actor_leaves_the_stream_and_the_store_of_a_real_server_and_never_comes_back() {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await.unwrap();
    let client = nats::connect(NatsOptions::new(server.url())).await.unwrap();
    leaves_stream_and_store(&client.lattice()).await;
}

/// A life with a deletion and the checkpoints that end it; at a step its host dies, if it is said at which, and
/// what the next one makes of it is looked at. The steps, if it died or should not.
async fn life(blows: Option<(usize, bool)>) -> Vec<&'static str> {
    let (lattice, actor) = (Memory::new().lattice(), "sum/a");
    let other = neighbour(actor);
    let fuse = blows.map_or_else(Fuse::never, |(step, happens)| Fuse::at(step, happens));
    let one = node_with("H1", &fuse.wire(&lattice), few(10, 0));
    let living = async {
        for n in 1..=15 {
            submit(&[&one], n, actor, "1").await;
            submit(&[&one], 100 + n, &other, "1").await;
        }
        bury(&[&one], 90, actor).await;
        leaves(&lattice, actor, "no crash").await;
    };
    let blowing = async {
        while !fuse.is_blown() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        () = living => {}
        () = blowing => {}
    }
    kill(one).await;
    let steps = fuse.steps();
    if !fuse.is_blown() {
        return if blows.is_none() { steps } else { Vec::new() };
    }
    let two = node_with("H2", &lattice, few(10, 0));
    // Carried out before or not, it is now.
    for n in 1..=15 {
        submit(&[&two], 100 + n, &other, "1").await;
    }
    let deleted =
        settled(&two, actor, async |door| door.delete(key(actor), command_id(90), PATIENCE).await).await;
    // It may have died before the first command.
    assert!(deleted.as_ref().is_ok_and(|done| done.seq.0 <= 16) || deleted.is_err_and(|no| no.code == GONE));
    leaves(&lattice, actor, &format!("{blows:?} {steps:?}")).await;
    assert_eq!(submit(&[&two], 200, &other, "1").await.reply, "16");
    kill(two).await;
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_every_step_until_a_deleted_actor_is_out_of_the_lattice_brings_nothing_back() {
    // Another life may have more checkpoints.
    let count = 2 * life(None).await.len();
    assert!(count >= 12, "{count} steps");
    // What is deleted in the store, and when, is another matter in each life.
    let wanted = ["document", "hint", "pack", "record", "trim"];
    let mut at = BTreeSet::new();
    // Which step is the how manyth differs, too: on a busy machine one kind may be missed the first time.
    for _ in 0..4 {
        let lives = (0..count).flat_map(|step| [life(Some((step, false))), life(Some((step, true)))]);
        let lived = futures::stream::iter(lives).buffer_unordered(4).collect::<Vec<_>>().await;
        at.extend(lived.iter().filter_map(|steps| steps.last().copied()));
        if wanted.iter().all(|step| at.contains(step)) {
            break;
        }
    }
    for step in wanted {
        assert!(at.contains(step), "not crashed at {step}: {at:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_owner_dies_is_carried_out_once_by_the_next() {
    let lattice = Memory::new().lattice();
    let one = node("H1", &lattice);
    submit(&[&one], 1, "sum/a", "1").await;
    let two = node("H2", &lattice);
    kill(one).await;
    let answer = bury(&[&two], 2, "sum/a").await;
    assert_eq!((answer.seq.0, answer.repeated), (2, false));
    let again = bury(&[&two], 2, "sum/a").await;
    assert_eq!((again.seq.0, again.repeated), (2, true));
}
