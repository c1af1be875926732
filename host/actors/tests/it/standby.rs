//! Standbys: they follow what others own and fold ahead, so that a takeover reads and folds next to nothing;
//! they keep up with checkpoints, and what they take over loses and doubles nothing.

use crate::fuse::Fuse;
use crate::lattice::{Node, node, node_with, policy, submit};
use crate::support::{key, until};
use host_actors::{KindPolicy, LatticeActors, Policy, StandbyPolicy};
use lattice_io::Lattice;
use lattice_io::memory::Memory;
use lattice_io::nats::{self, NatsOptions};
use lattice_journal::snapshot::SnapshotPolicy;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tests_harness::NatsServer;

/// As SIGKILL.
async fn kill(node: Node) {
    node.scope.shutdown(Duration::ZERO).await;
}

/// A host that owns all shards, alone.
async fn alone(name: &str, lattice: &Lattice) -> Node {
    let node = node(name, lattice);
    owns_all(&node).await;
    node
}

async fn owns_all(node: &Node) {
    let kind = "sum".parse().unwrap();
    until("it owns every shard", async || node.actors.doors(&kind).len() == 16).await;
}

/// The last record of an actor's shard, as its owner has it.
async fn record(owner: &Node, actor: &str) -> u64 {
    owner.actors.door(&key(actor)).unwrap().list(None).await.unwrap().record
}

/// Waits until a standby has everything of an actor's shard that there is, and has folded what it will.
async fn keeps_up(standby: &Node, owner: &Node, actor: &str) {
    let last = record(owner, actor).await;
    until("the standby keeps up", async || {
        let stats = standby.actors.standby(&key(actor));
        stats.is_some_and(|stats| stats.record >= last && stats.waiting == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_goes_on_from_what_its_standby_has_followed_and_folded() {
    let lattice = Memory::new().lattice();
    let owner = alone("H1", &lattice).await;
    let actors: Vec<String> = (0..40).map(|n| format!("sum/a-{n}")).collect();
    for (n, actor) in (0..).zip(&actors) {
        for m in 0..5 {
            submit(&[&owner], n * 10 + m, actor, "1").await;
        }
    }
    let fuse = Fuse::never();
    let next = node("H2", &fuse.wire(&lattice));
    for actor in &actors {
        keeps_up(&next, &owner, actor).await;
        assert!(next.actors.door(&key(actor)).is_none(), "it does not serve");
    }
    // What comes while it stands by is followed and folded as well.
    for (n, actor) in (0..).zip(&actors) {
        submit(&[&owner], n * 10 + 5, actor, "1").await;
    }
    for actor in &actors {
        keeps_up(&next, &owner, actor).await;
    }
    let (opened, folded, read) = (
        next.sums.opened.load(Ordering::SeqCst),
        next.sums.folded.load(Ordering::SeqCst),
        fuse.read.load(Ordering::SeqCst),
    );
    assert_eq!((opened, folded), (40, 240), "each actor once, each event once");
    kill(owner).await;
    owns_all(&next).await;
    for (n, actor) in (0..).zip(&actors) {
        let again = submit(&[&next], n * 10 + 5, actor, "1").await;
        assert!(again.repeated && again.reply == "6", "{actor}: {again:?}");
        assert_eq!(submit(&[&next], n * 10 + 6, actor, "1").await.reply, "7", "{actor}");
    }
    let now = (next.sums.opened.load(Ordering::SeqCst), next.sums.folded.load(Ordering::SeqCst));
    assert_eq!(now, (opened, folded), "nothing was folded again");
    // Of each shard the one record that was asked for, to see that the log is still this one.
    assert_eq!(fuse.read.load(Ordering::SeqCst) - read, 16);
    kill(next).await;
}

/// Checkpoints each 10 records.
fn small() -> (Policy, KindPolicy) {
    let period = Duration::from_millis(5);
    let policy = Policy { period, checkpoint_records: 10, ..policy() };
    let snapshots = SnapshotPolicy { events: 7, ..SnapshotPolicy::default() };
    (policy, KindPolicy { snapshots, ..KindPolicy::default() })
}

/// Each host stands by for the one before, through checkpoints, trimming and its death.
async fn generations(lattice: &Lattice, count: u64) {
    let actors: Vec<String> = (0..6).map(|n| format!("sum/a-{n}")).collect();
    let mut owner = node_with("H0", lattice, small());
    let mut done = 0;
    for generation in 1..=count {
        let next = node_with(&format!("H{generation}"), lattice, small());
        until("it stands by", async || {
            actors.iter().all(|actor| {
                next.actors.standby(&key(actor)).is_some() || next.actors.door(&key(actor)).is_some()
            })
        })
        .await;
        for _ in 0..60 {
            done += 1;
            for (n, actor) in (0..).zip(&actors) {
                let answer = submit(&[&owner, &next], n * 1_000_000 + done, actor, "1").await;
                assert_eq!(answer.reply, done.to_string(), "{actor}");
            }
        }
        kill(owner).await;
        for (n, actor) in (0..).zip(&actors) {
            for ago in [0, 25, 50] {
                let again = submit(&[&next], n * 1_000_000 + done - ago, actor, "1").await;
                assert!(again.repeated && again.reply == (done - ago).to_string(), "{actor}: {again:?}");
            }
            let door = next.actors.door(&key(actor)).unwrap();
            door.verify(key(actor)).await.unwrap();
        }
        owner = next;
    }
    // What nobody needs has left the store, and the stream.
    for actor in &actors {
        let (kind, shard) = ("sum".parse().unwrap(), LatticeActors::part(&key(actor)).0);
        let subjects = lattice_protocol::subject::Subjects::new("test".parse().unwrap());
        let store = subjects.shard_store(&kind, shard);
        let store = lattice.blobs.open(&store, lattice_io::Replicas::One).await.unwrap();
        let kept = store.list().await.unwrap().len();
        assert!(kept < 20, "{kept} blobs of {actor}");
    }
    kill(owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standbys_keep_up_with_checkpoints_and_every_one_of_them_can_be_the_next_owner() {
    generations(&Memory::new().lattice(), 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standbys_keep_up_with_checkpoints_on_a_real_server() {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await.unwrap();
    let client = nats::connect(NatsOptions::new(server.url())).await.unwrap();
    generations(&client.lattice(), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_may_remember_nothing_is_none_and_its_host_takes_over_all_the_same() {
    let lattice = Memory::new().lattice();
    let owner = alone("H1", &lattice).await;
    for n in 0..20 {
        submit(&[&owner], n, "sum/a", "1").await;
    }
    let standby = StandbyPolicy { entries: 5, ..StandbyPolicy::default() };
    let policy = Policy { standby, ..policy() };
    let next = node_with("H2", &lattice, (policy, KindPolicy::default()));
    let empty = (0..).map(|n| format!("sum/b-{n}"));
    let empty =
        empty.into_iter().find(|one| LatticeActors::part(&key(one)) != LatticeActors::part(&key("sum/a")));
    let empty = empty.unwrap();
    until("it stands by for a shard with nothing in it", async || {
        next.actors.standby(&key(&empty)).is_some()
    })
    .await;
    assert_eq!(next.actors.standby(&key("sum/a")), None);
    assert_eq!(next.sums.folded.load(Ordering::SeqCst), 0);
    kill(owner).await;
    let again = submit(&[&next], 19, "sum/a", "1").await;
    assert!(again.repeated && again.reply == "20", "{again:?}");
    kill(next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_answers_from_all_there_is_or_says_for_how_long_it_does_not_know_that() {
    let memory = Memory::new();
    let lattice = memory.lattice();
    let owner = alone("H1", &lattice).await;
    submit(&[&owner], 1, "sum/a", "5").await;
    let next = node("H2", &lattice);
    keeps_up(&next, &owner, "sum/a").await;
    let balance = async |actor: &str| {
        let query = ("balance".to_owned(), bytes::Bytes::new());
        next.actors.query_stale(&key(actor), query, Duration::from_secs(5)).await.unwrap()
    };
    for n in 2..10 {
        let committed = submit(&[&owner], n, "sum/a", "1").await;
        let answer = balance("sum/a").await.unwrap();
        assert_eq!(answer.reply, committed.reply, "it asks the log before it answers");
        assert_eq!((answer.seq, answer.epoch, answer.stale.age_ms), (n, committed.epoch.0, 0));
        assert!(answer.stale.record >= n);
    }
    // An actor that it has not folded, because nobody has ever asked it anything.
    assert_eq!(owner.actors.standby_host(&key("sum/a")), Some("H2".parse().unwrap()));
    let other = (0..).map(|n| format!("sum/x-{n}"));
    let other =
        other.into_iter().find(|one| LatticeActors::part(&key(one)) == LatticeActors::part(&key("sum/a")));
    assert_eq!(balance(&other.unwrap()).await.unwrap().reply, "0");
    let refused = {
        let query = ("nonsense".to_owned(), bytes::Bytes::new());
        next.actors.query_stale(&key("sum/a"), query, Duration::from_secs(5)).await.unwrap().unwrap_err()
    };
    assert_eq!(refused.code, lattice_protocol::ErrorCode::Guest, "{refused}");
    let asked = ("balance".to_owned(), bytes::Bytes::new());
    assert!(
        owner.actors.query_stale(&key("sum/a"), asked, Duration::from_secs(5)).await.is_none(),
        "its owner"
    );
    // Cut off, it says how old its answers are.
    memory.set_connected(false);
    let mut ages = Vec::new();
    until("its answers get old", async || {
        let answer = balance("sum/a").await.unwrap();
        assert_eq!(answer.reply, "13");
        ages.push(answer.stale.age_ms);
        answer.stale.age_ms > 100
    })
    .await;
    assert!(ages.is_sorted(), "{ages:?}");
    memory.set_connected(true);
    until("they are fresh again", async || balance("sum/a").await.unwrap().stale.age_ms == 0).await;
    kill(owner).await;
    kill(next).await;
}
