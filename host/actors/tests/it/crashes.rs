//! A host dies at each step that it takes for a shard: becoming its owner, a turn, asking another host for room
//! and giving the shard away, standing by for it, saying that it is ready, taking it from another. Whoever is left
//! is its one owner, and has everything that was acknowledged, once.

use crate::fuse::Fuse;
use crate::lattice::{Node, node, submit};
use crate::support::{key, until};
use futures::StreamExt;
use host_actors::LatticeActors;
use lattice_io::memory::Memory;
use lattice_protocol::subject::Subjects;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ACTOR: &str = "sum/a";
/// Moves of one life, and commands before each of them and after the last.
const MOVES: u64 = 3;
const COMMANDS: u64 = 2;

fn fuse(blows: Option<(usize, bool)>) -> Arc<Fuse> {
    let shard = LatticeActors::part(&key(ACTOR)).0;
    let subjects = Subjects::new("test".parse().unwrap());
    let stream = subjects.shard_stream(&"sum".parse().unwrap(), shard);
    Fuse::of_shard((&format!("sum.{shard}"), &stream), blows)
}

/// Commands, and moves from whoever owns the actor to the other; each command adds 1.
async fn live(nodes: [(&Node, &str); 2], acknowledged: &AtomicU64) {
    for round in 0..=MOVES {
        for n in round * COMMANDS + 1..=(round + 1) * COMMANDS {
            let answer = submit(&nodes.map(|(node, _)| node), n, ACTOR, "1").await;
            assert_eq!(answer.reply, n.to_string());
            acknowledged.store(n, Ordering::SeqCst);
        }
        if round == MOVES {
            return;
        }
        until("it moves", async || {
            let [(one, first), (two, second)] = nodes;
            let (from, to) =
                if one.actors.door(&key(ACTOR)).is_some() { (one, second) } else { (two, first) };
            from.actors.migrate(&key(ACTOR), &to.parse().unwrap(), Duration::from_secs(10)).await.is_ok()
        })
        .await;
    }
}

/// One life of two hosts, the first of which dies at a step; what the second makes of it. The steps, if it died.
async fn crash(blows: Option<(usize, bool)>) -> Vec<&'static str> {
    let lattice = Memory::new().lattice();
    let fuse = fuse(blows);
    let (one, two) = (node("H1", &fuse.wire(&lattice)), node("H2", &lattice));
    let acknowledged = AtomicU64::new(0);
    tokio::select! {
        () = live([(&one, "H1"), (&two, "H2")], &acknowledged) => {}
        () = until("it blows", async || fuse.is_blown()), if blows.is_some() => {}
    }
    // As SIGKILL.
    one.scope.shutdown(Duration::ZERO).await;
    let steps = fuse.steps();
    if let Some(blows) = blows {
        // One in flight may have been carried out, or not: under its id it is the next one either way.
        let last = acknowledged.load(Ordering::SeqCst);
        for n in 1..=last + 2 {
            let again = submit(&[&two], n, ACTOR, "1").await;
            assert_eq!(again.reply, n.to_string(), "{blows:?}, {last} acknowledged: {steps:?}");
            assert!(again.repeated || n > last, "{blows:?}: {n} is lost: {steps:?}");
        }
    }
    two.scope.shutdown(Duration::ZERO).await;
    if blows.is_none() || fuse.is_blown() { steps } else { Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_every_step_of_turns_takeovers_and_moves_loses_and_doubles_nothing() {
    let count = crash(None).await.len();
    assert!(count > 15, "{count} steps");
    let crashes = (0..count).flat_map(|step| [crash(Some((step, false))), crash(Some((step, true)))]);
    let crashed = futures::stream::iter(crashes).buffer_unordered(8).collect::<Vec<_>>().await;
    let died = crashed.iter().filter(|steps| !steps.is_empty()).count();
    assert!(died >= count, "only {died} of {} died", 2 * count);
    let at: BTreeSet<_> = crashed.iter().filter_map(|steps| steps.last().copied()).collect();
    let all = ["claim", "epoch", "find", "follow", "key", "open", "read", "ready", "release", "room", "turn"];
    assert_eq!(at.into_iter().collect::<Vec<_>>(), all, "each step was died at");
}
