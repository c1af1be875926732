//! A lease that holds is respected by those who have not heard of it, and whoever has one acts by that one only.

use crate::fuse::Fuse;
use crate::lattice::{Node, node, node_by, owned, owned_of, policy, submit};
use crate::support::{key, until};
use bytes::Bytes;
use host_actors::{KindPolicy, LatticeActors};
use lattice_io::memory::Memory;
use lattice_journal::lease::LeasePolicy;
use lattice_journal::shard::Submitted;
use lattice_protocol::Report;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;

/// What its owner answers when it is asked for its sum.
async fn ask(node: &Node, actor: &str) -> Option<Result<Submitted, Report>> {
    let (door, query) = (node.actors.door(&key(actor))?, ("balance".to_owned(), Bytes::new()));
    Some(door.query(key(actor), query, Duration::from_secs(1)).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_from_a_host_whose_lease_was_not_heard_of_and_all_of_it_when_it_is_over() {
    let lattice = Memory::new().lattice();
    let first = node("H1", &lattice);
    until("it has every shard", async || owned(&first).len() == 16).await;
    assert_eq!(submit(&[&first], 1, "sum/a", "5").await.reply, "5");
    let second = node("H2", &Fuse::deaf().wire(&lattice));
    // Three leases: whoever has heard nothing of a host for one holds it dead.
    for n in 0..36 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((owned(&first).len(), owned(&second).len()), (16, 0), "look {n}");
        assert_eq!(ask(&first, "sum/a").await.unwrap().unwrap().reply, "5");
    }
    first.scope.shutdown(Duration::ZERO).await;
    until("the other has them all", async || owned(&second).len() == 16).await;
    let again = submit(&[&second], 1, "sum/a", "5").await;
    assert!(again.repeated && again.reply == "5", "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_came_after_the_last_renewal_is_taken_from_nobody() {
    // Nothing is renewed for longer than the test takes, unless it has to be.
    let lease = LeasePolicy { ttl_ms: 60_000, renew_ms: 20_000, margin_ms: 1_000 };
    let lattice = Memory::new().lattice();
    let host = |name| node_by((None, lease), name, &lattice, (policy(), KindPolicy::default()));
    let first = host("H1");
    until("it has every shard", async || owned(&first).len() == 16).await;
    let second = host("H2");
    let more = |node: &Node| node.domains.put_kind(None, "more".parse().unwrap(), node.kind.clone()).unwrap();
    more(&first);
    until("it has every shard of the other kind", async || owned_of(&first, "more").len() == 16).await;
    more(&second);
    for n in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((owned_of(&first, "more").len(), owned_of(&second, "more").len()), (16, 0), "look {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_was_claimed_by_an_earlier_session_is_not_served_by_the_lease_of_a_later_one() {
    let lattice = Memory::new().lattice();
    let buckets = |name| lattice.kv.assume(&format!("TRELLIS_test_{name}")).unwrap();
    let (sessions, owners) = (buckets("sessions"), buckets("shards"));
    let (answer, answers) = watch::channel(false);
    let node = node("H1", &Fuse::answering(answers).wire(&lattice));
    let session = async || -> Option<String> {
        let entry = sessions.get_latest("H1").await.ok()??;
        let value: serde_json::Value = serde_json::from_slice(&entry.value).ok()?;
        Some(value.get("session")?.as_str()?.to_owned())
    };
    until("it has a session", async || session().await.is_some()).await;
    let first = session().await;
    // It asks for the owner of each shard, is not answered, and loses its lease meanwhile.
    tokio::time::sleep(Duration::from_millis(300)).await;
    sessions.put("H1", Bytes::from_static(b"{}")).await.unwrap();
    until("it has another session", async || session().await.is_some_and(|now| Some(now) != first)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    answer.send_replace(true);
    until("it has every shard", async || owned(&node).len() == 16).await;
    let mut held = BTreeSet::new();
    for shard in owners.keys().await.unwrap() {
        let entry = owners.get_latest(&shard).await.unwrap().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
        held.insert(value["session"].as_str().unwrap().to_owned());
    }
    assert_eq!(Some(held), session().await.map(|session| BTreeSet::from([session])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_believes_in_its_lease_stops_when_somebody_else_has_claimed_its_shard() {
    let lattice = Memory::new().lattice();
    let owners = lattice.kv.assume("TRELLIS_test_shards").unwrap();
    let node = node("H1", &lattice);
    let before = submit(&[&node], 1, "sum/a", "5").await;
    let shard = format!("sum.{}", LatticeActors::part(&key("sum/a")));
    let entry = owners.get_latest(&shard).await.unwrap().unwrap();
    let claimed = before.epoch.0 + 5;
    let value = serde_json::json!({ "session": format!("H9.{}", "0".repeat(32)), "epoch": claimed });
    owners.update(&shard, value.to_string().into(), entry.revision).await.unwrap();
    // Nobody of that name lives: the shard comes back, above what was claimed.
    until("it answers under a later epoch", async || {
        let again = submit(&[&node], 1, "sum/a", "5").await;
        assert!(again.repeated && again.reply == "5", "{again:?}");
        let asked = ask(&node, "sum/a").await;
        asked.is_some_and(|answer| answer.is_ok_and(|answer| answer.epoch.0 > claimed && answer.reply == "5"))
    })
    .await;
}
