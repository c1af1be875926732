//! Shards that go from host to host while both live: the host that gets one is asked first, a host that has
//! joined gets its share, and what is acknowledged meanwhile is there, once.

use crate::lattice::{Node, node, node_with, owned, policy, submit};
use crate::support::{key, until};
use host_actors::{KindPolicy, LatticeActors, Policy};
use lattice_io::Lattice;
use lattice_io::memory::Memory;
use lattice_protocol::{ErrorCode, HostId, Report};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

fn host(name: &str) -> HostId {
    name.parse().unwrap()
}

/// As SIGKILL.
async fn kill(node: Node) {
    node.scope.shutdown(Duration::ZERO).await;
}

fn balanced(name: &str, lattice: &Lattice) -> Node {
    let policy = Policy { balance: Some(Duration::from_millis(5)), ..policy() };
    node_with(name, lattice, (policy, KindPolicy::default()))
}

/// Waits until one host knows another one.
async fn knows(node: &Node, other: &str) {
    until("it is seen", async || node.actors.is_alive(&host(other))).await;
}

async fn refused(from: &Node, actor: &str, to: &str) -> Report {
    from.actors.migrate(&key(actor), &host(to), PATIENCE).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_fit_or_full_or_not_there_gets_nothing_and_nothing_is_moved() {
    let lattice = Memory::new().lattice();
    let one = node("H1", &lattice);
    until("it owns every shard", async || owned(&one).len() == 16).await;
    assert_eq!(submit(&[&one], 1, "sum/a", "1").await.reply, "1");
    let two = node("H2", &lattice);
    knows(&one, "H2").await;
    let epoch = submit(&[&one], 2, "sum/a", "1").await.epoch;
    let unknown = refused(&one, "sum/a", "H9").await;
    assert_eq!(unknown.code, ErrorCode::HostNotFound, "{unknown}");
    two.room.full.store(true, Ordering::SeqCst);
    let full = refused(&one, "sum/a", "H2").await;
    assert_eq!((full.code, full.what.as_str()), (ErrorCode::InsufficientResources, "no room in this test"));
    two.room.full.store(false, Ordering::SeqCst);
    let hurried = one.actors.migrate(&key("sum/a"), &host("H2"), Duration::ZERO).await.unwrap_err();
    assert!(
        hurried.code == ErrorCode::Timeout && hurried.to_string().contains("nothing was moved"),
        "{hurried}"
    );
    // One that has stopped answering, and one whose lease has ended as well.
    two.scope.shutdown(Duration::ZERO).await;
    let silent = refused(&one, "sum/a", "H2").await;
    // On a busy machine its lease may be over by then.
    let of_it = ["does not answer", "has not renewed its lease"];
    assert!(of_it.iter().any(|what| silent.what.contains(what)), "{silent}");
    until("its lease has ended", async || !one.actors.is_alive(&host("H2"))).await;
    let ended = refused(&one, "sum/a", "H2").await;
    assert!(ended.code == ErrorCode::HostNotFound && ended.what.contains("lease"), "{ended}");
    let three = node("H3", &lattice);
    knows(&one, "H3").await;
    three.actors.remove_kind(&"sum".parse().unwrap());
    until("it says that it does not run the kind", async || {
        refused(&one, "sum/a", "H3").await.what.contains("does not run sum")
    })
    .await;
    // All that time the owner was the same, and served.
    let answer = submit(&[&one], 3, "sum/a", "1").await;
    assert_eq!((answer.reply.as_ref(), answer.epoch), (&b"3"[..], epoch));
    assert_eq!(owned(&one).len(), 16);
    kill(one).await;
    kill(three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_moves_one_shard_is_ready_before_it_and_goes_on_from_what_it_followed() {
    let lattice = Memory::new().lattice();
    let one = node("H1", &lattice);
    until("it owns every shard", async || owned(&one).len() == 16).await;
    for n in 0..50 {
        submit(&[&one], n, "sum/a", "1").await;
    }
    // Of three hosts one stands by for the shard; the other one can get it as well.
    let (two, three) = (node("H2", &lattice), node("H3", &lattice));
    for other in ["H2", "H3"] {
        knows(&one, other).await;
    }
    let mut from = &one;
    for (n, (to, name)) in (50..).zip([(&two, "H2"), (&three, "H3"), (&two, "H2")]) {
        until("it moves", async || from.actors.migrate(&key("sum/a"), &host(name), PATIENCE).await.is_ok())
            .await;
        until("it is there", async || to.actors.door(&key("sum/a")).is_some()).await;
        assert_eq!(submit(&[to], n, "sum/a", "1").await.reply, (n + 1).to_string());
        from = to;
    }
    for node in [one, two, three] {
        kill(node).await;
    }
}

/// A client with an actor of its own: one command after the other, each until it is acknowledged.
async fn works(nodes: &[&Node], actor: &str, client: u64, (over, count): (&AtomicBool, &AtomicU64)) -> u64 {
    let mut n = 0;
    while !over.load(Ordering::SeqCst) {
        n += 1;
        let answer = submit(nodes, client * 1_000_000 + n, actor, "1").await;
        assert_eq!(answer.reply, n.to_string(), "{actor}: lost or doubled");
        count.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    n
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_joins_gets_its_share_under_load_and_no_command_is_lost_or_doubled() {
    let lattice = Memory::new().lattice();
    let one = balanced("H1", &lattice);
    until("it owns every shard", async || owned(&one).len() == 16).await;
    let (two, three) = (balanced("H2", &lattice), balanced("H3", &lattice));
    let nodes = [&one, &two, &three];
    let (over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let actors: Vec<String> = (0..12).map(|n| format!("sum/a-{n}")).collect();
    let clients = (1..).zip(&actors).map(|(client, actor)| works(&nodes, actor, client, (&over, &count)));
    let fair = async {
        let shares = || nodes.map(|node| owned(node).len());
        until("shares are fair", async || {
            let shares = shares();
            shares.iter().sum::<usize>() == 16 && shares.iter().all(|share| (5..=6).contains(share))
        })
        .await;
        // Fair, they stay where they are while work goes on.
        let (before, done) = (nodes.map(owned), count.load(Ordering::SeqCst));
        until("work goes on", async || count.load(Ordering::SeqCst) > done + 200).await;
        assert_eq!(nodes.map(owned), before);
        over.store(true, Ordering::SeqCst);
    };
    let (numbers, ()) = tokio::join!(futures::future::join_all(clients), fair);
    for (actor, n) in actors.iter().zip(numbers) {
        let door = nodes.iter().find_map(|node| node.actors.door(&key(actor))).unwrap();
        let asked = ("balance".to_owned(), bytes::Bytes::new());
        let balance = door.query(key(actor), asked, PATIENCE).await.unwrap();
        assert_eq!(balance.reply, n.to_string(), "{actor}");
        door.verify(key(actor)).await.unwrap();
    }
    for node in [one, two, three] {
        kill(node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_host_gets_nothing_until_it_has_room() {
    let lattice = Memory::new().lattice();
    let one = balanced("H1", &lattice);
    until("it owns every shard", async || owned(&one).len() == 16).await;
    let two = node("H2", &lattice);
    two.room.full.store(true, Ordering::SeqCst);
    until("it was asked", async || two.room.asked.load(Ordering::SeqCst) >= 2).await;
    assert_eq!((owned(&one).len(), owned(&two).len()), (16, 0));
    two.room.full.store(false, Ordering::SeqCst);
    until("it has its share", async || (owned(&one).len(), owned(&two).len()) == (8, 8)).await;
    kill(one).await;
    kill(two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_put_somewhere_stays_there_and_the_rest_is_shared() {
    let lattice = Memory::new().lattice();
    let one = node("H1", &lattice);
    until("it owns every shard", async || owned(&one).len() == 16).await;
    let two = balanced("H2", &lattice);
    knows(&one, "H2").await;
    let mut seen = BTreeSet::new();
    let ids = (0..).map(|n| format!("sum/c-{n}"));
    let chosen: Vec<String> =
        ids.filter(|id| seen.insert(LatticeActors::part(&key(id)).0)).take(12).collect();
    for actor in &chosen {
        until("it moves", async || one.actors.migrate(&key(actor), &host("H2"), PATIENCE).await.is_ok())
            .await;
    }
    kill(one).await;
    until("the other one takes the rest over", async || owned(&two).len() == 16).await;
    let again = node("H1", &lattice);
    until("it gets what nobody has put elsewhere", async || owned(&again).len() == 4).await;
    let shards: BTreeSet<u16> = chosen.iter().map(|actor| LatticeActors::part(&key(actor)).0).collect();
    assert_eq!(owned(&two), shards);
    kill(two).await;
    kill(again).await;
}
