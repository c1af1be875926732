//! What only a real server has: refusals, permissions, being away, being killed.

use crate::SOON;
use crate::kv::event;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use keys::Digest;
use lattice_io::lane::{Kept, LaneOptions};
use lattice_io::log::{LogOptions, MAX_READ};
use lattice_io::nats::{ConnectError, NatsAuth, NatsLattice, NatsOptions, connect};
use lattice_io::{
    BlobError, BusError, BusMessage, BusStatus, KvError, KvEvent, KvOptions, Replicas, WatchKeys,
};
use lattice_journal::Position;
use lattice_journal::append::AppendOutcome;
use lattice_protocol::Report;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tests_harness::{ChaosProxy, NatsServer};

async fn server() -> Result<NatsServer> {
    NatsServer::start(tests_harness::NatsOptions::default()).await
}

/// Two users: `all` may everything; `host` only its own subjects, answers to its own inbox, and
/// reading its own key of one bucket.
const USERS: &str = r#"
authorization {
  users: [
    { user: all, password: all }
    { user: host, password: host, permissions: {
      publish: ["hb.me", "rpc.>", "$JS.API.DIRECT.GET.KV_spec.$KV.spec.me",
                "$JS.API.CONSUMER.CREATE.KV_spec.*.$KV.spec.me", "$JS.FC.>"]
      subscribe: ["_INBOX_me.>", "host.me.*"]
    } }
  ]
}
"#;

async fn as_user(server: &NatsServer, user: &str) -> Result<Arc<NatsLattice>> {
    let mut options = NatsOptions::new(server.url());
    options.auth = NatsAuth::Password { user: user.to_owned(), password: user.to_owned() };
    options.inbox_prefix = (user == "host").then(|| "_INBOX_me".to_owned());
    Ok(connect(options).await?)
}

#[tokio::test]
async fn a_refused_connection_names_the_server_and_what_to_do() {
    let mut dead = server().await.unwrap();
    let url = dead.url();
    dead.kill().unwrap();
    let error =
        connect(NatsOptions::new(url.replace("nats://", "nats://user:hush@"))).await.map(drop).unwrap_err();
    let text = Report::from(error).to_string();
    assert!(text.starts_with(&format!("E_CONNECTION: NATS: connection refused: {url}: ")), "{text}");
    assert!(text.contains("CLUSTER_URI") && !text.contains("hush"), "{text}");
}

#[tokio::test]
async fn a_wrong_user_is_unauthorized() {
    let options =
        tests_harness::NatsOptions { operator_config: Some(USERS.to_owned()), ..Default::default() };
    let server = NatsServer::start(options).await.unwrap();
    let mut options = NatsOptions::new(server.url());
    options.auth = NatsAuth::Password { user: "all".to_owned(), password: "wrong".to_owned() };
    let error = connect(options).await.map(drop).unwrap_err();
    assert!(matches!(error, ConnectError::Unauthorized { .. }), "{error:?}");
}

#[tokio::test]
async fn a_user_gets_only_what_is_allowed_and_learns_at_once_what_is_not() -> Result<()> {
    let options =
        tests_harness::NatsOptions { operator_config: Some(USERS.to_owned()), ..Default::default() };
    let server = NatsServer::start(options).await?;
    let (all, host) = (as_user(&server, "all").await?.lattice(), as_user(&server, "host").await?.lattice());
    let spec = all.kv.open("spec", KvOptions::default()).await?;
    spec.put("me", "mine".into()).await?;
    spec.put("other", "not mine".into()).await?;

    let denied = host.bus.request(BusMessage::new("secret", ""), SOON).await;
    assert_eq!(denied, Err(BusError::Denied { subject: "secret".to_owned() }));
    let denied = host.bus.deliver(BusMessage::new("secret", "")).await;
    assert_eq!(denied, Err(BusError::Denied { subject: "secret".to_owned() }));
    host.bus.deliver(BusMessage::new("rpc.app.actor", "")).await?;
    let call = host.bus.request(BusMessage::new("rpc.app.actor", ""), SOON).await;
    ensure!(matches!(call, Err(BusError::NoResponders { .. })), "{call:?}");
    host.bus.subscribe("host.me.*", None).await?;
    host.bus.flush().await?;

    let own = host.kv.assume("spec")?;
    assert_eq!(own.get("me").await?.context("my key")?.value, "mine");
    ensure!(matches!(own.get("other").await, Err(KvError::Denied { .. })));
    ensure!(matches!(own.put("me", "forged".into()).await, Err(KvError::Denied { .. })));
    ensure!(matches!(host.kv.open("new", KvOptions::default()).await, Err(KvError::Denied { .. })));
    let mut watch = own.watch(WatchKeys::One("me".to_owned()));
    ensure!(matches!(event(&mut watch).await?, KvEvent::Put(entry) if entry.value == "mine"));
    assert_eq!(event(&mut watch).await?, KvEvent::Current);
    spec.put("me", "new".into()).await?;
    ensure!(matches!(event(&mut watch).await?, KvEvent::Put(entry) if entry.value == "new"));
    Ok(())
}

#[tokio::test]
async fn a_client_in_the_background_starts_without_a_server() -> Result<()> {
    let mut server = server().await?;
    let url = server.url();
    server.kill()?;
    let mut options = NatsOptions::new(url);
    options.background = true;
    let client = connect(options).await?;
    let lattice = client.lattice();
    assert_eq!(*lattice.bus.status().borrow(), BusStatus::Disconnected);
    assert_eq!(client.server_info(), None);
    let mut subscription = lattice.bus.subscribe("late", None).await?;
    let refused = lattice.bus.publish(BusMessage::new("late", "")).await.unwrap_err();
    assert_eq!(refused, BusError::Disconnected { server: client.server().to_owned() });
    server.restart_on_same_port().await?;
    ensure!(tokio::time::timeout(SOON, client.connected()).await?);
    let info = client.server_info().context("server info")?;
    ensure!(info.version.starts_with("2.") && info.jetstream && info.max_payload == 1 << 20, "{info:?}");
    lattice.bus.flush().await?;
    lattice.bus.publish(BusMessage::new("late", "now")).await?;
    assert_eq!(crate::next(&mut subscription).await.payload, "now");
    Ok(())
}

#[tokio::test]
async fn a_watch_learns_what_changed_while_it_was_cut_off() -> Result<()> {
    let server = server().await?;
    let proxy = ChaosProxy::start(server.address()).await?;
    let near = connect(NatsOptions::new(server.url())).await?.lattice();
    let far = connect(NatsOptions::new(format!("nats://{}", proxy.address()))).await?.lattice();
    let kv = near.kv.open("b", KvOptions::default()).await?;
    for key in ["changed", "deleted", "same"] {
        kv.put(key, "1".into()).await?;
    }
    let mut watch = far.kv.assume("b")?.watch(WatchKeys::All);
    while event(&mut watch).await? != KvEvent::Current {}
    proxy.cut();
    let changed = kv.put("changed", "2".into()).await?;
    kv.purge("deleted").await?;
    let added = kv.put("added", "1".into()).await?;
    proxy.heal();
    let mut told = Vec::new();
    loop {
        match event(&mut watch).await? {
            KvEvent::Current => break,
            KvEvent::Put(entry) => told.push((entry.key, entry.revision)),
            KvEvent::Deleted { key, .. } => told.push((key, 0)),
        }
    }
    told.sort();
    assert_eq!(
        told,
        [("added".to_owned(), added), ("changed".to_owned(), changed), ("deleted".to_owned(), 0)]
    );
    Ok(())
}

#[tokio::test]
async fn a_watch_forgets_a_bucket_that_was_deleted_and_finds_its_successor() -> Result<()> {
    let server = server().await?;
    let proxy = ChaosProxy::start(server.address()).await?;
    let near = connect(NatsOptions::new(server.url())).await?.lattice();
    let far = connect(NatsOptions::new(format!("nats://{}", proxy.address()))).await?.lattice();
    let kv = near.kv.open("b", KvOptions::default()).await?;
    for _ in 0..3 {
        kv.put("old", "1".into()).await?;
    }
    let mut watch = far.kv.assume("b")?.watch(WatchKeys::All);
    while event(&mut watch).await? != KvEvent::Current {}
    proxy.cut();
    near.kv.delete("b").await?;
    let kv = near.kv.open("b", KvOptions::default()).await?;
    let revision = kv.put("new", "1".into()).await?;
    proxy.heal();
    ensure!(
        matches!(event(&mut watch).await?, KvEvent::Put(entry) if entry.key == "new" && entry.revision == revision)
    );
    assert_eq!(event(&mut watch).await?, KvEvent::Deleted { key: "old".to_owned(), revision: 0 });
    assert_eq!(event(&mut watch).await?, KvEvent::Current);
    Ok(())
}

#[tokio::test]
async fn an_acknowledged_write_survives_the_death_of_the_server() -> Result<()> {
    let mut server = server().await?;
    let client = connect(NatsOptions::new(server.url())).await?;
    let lattice = client.lattice();
    let kv = lattice.kv.open("b", KvOptions::default()).await?;
    let mut watch = kv.watch(WatchKeys::All);
    assert_eq!(event(&mut watch).await?, KvEvent::Current);
    let revision = kv.put("k", "v".into()).await?;
    ensure!(matches!(event(&mut watch).await?, KvEvent::Put(_)));
    server.kill()?;
    let mut status = lattice.bus.status();
    tokio::time::timeout(SOON, status.wait_for(|status| *status == BusStatus::Disconnected)).await??;
    ensure!(matches!(kv.put("k", "w".into()).await, Err(KvError::Unreachable { .. })));
    server.restart_on_same_port().await?;
    ensure!(tokio::time::timeout(SOON, client.connected()).await?);
    let kept = kv.get_latest("k").await?.context("the value")?;
    assert_eq!((kept.value, kept.revision), ("v".into(), revision));
    assert_eq!(event(&mut watch).await?, KvEvent::Current);
    Ok(())
}

/// The name of the server that leads a stream, as one of them has it.
async fn leader(server: &NatsServer, stream: &str) -> Result<String> {
    let all = server.monitor("/jsz?accounts=true&streams=true").await?;
    let accounts = all.get("account_details").and_then(Value::as_array).context("accounts")?;
    let mut streams = accounts.iter().filter_map(|one| one.get("stream_detail")?.as_array()).flatten();
    let found = streams.find(|one| one.get("name").is_some_and(|name| name == stream));
    let leader = found.context("the stream")?.pointer("/cluster/leader").and_then(Value::as_str);
    Ok(leader.context("its leader")?.to_owned())
}

#[tokio::test]
async fn a_copy_that_is_behind_does_not_answer_for_its_log() -> Result<()> {
    let mut servers = NatsServer::start_cluster(3, &tests_harness::NatsOptions::default()).await?;
    let options = LogOptions {
        name: "SHARD".to_owned(),
        subject: "shards.one".to_owned(),
        max_bytes: None,
        replicas: Replicas::Three,
    };
    let first = connect(NatsOptions::new(servers[0].url())).await?.lattice();
    first.logs.open(options.clone()).await?;
    let leads = leader(&servers[0], "SHARD").await?;
    let (mut behind, mut leading) = (None, None);
    for (at, server) in servers.iter().enumerate() {
        let is_it = server.monitor("/varz").await?["server_name"] == leads.as_str();
        *(if is_it { &mut leading } else { &mut behind }) = Some(at);
    }
    let (behind, leading) = (behind.context("a follower")?, leading.context("the leader")?);
    let (far, near) = (
        connect(NatsOptions::new(servers[behind].url())).await?.lattice(),
        connect(NatsOptions::new(servers[leading].url())).await?.lattice(),
    );
    let (far, near) = (far.logs.open(options.clone()).await?, near.logs.open(options).await?);
    let mut last = Position(0);
    for _ in 0..3 {
        // It stands still while the two others make a majority, and is asked at once when it goes on.
        servers[behind].process().freeze()?;
        for _ in 0..100 {
            let outcome = near.append(last, "entry".into(), SOON).await?;
            last = last.next();
            assert_eq!(outcome, AppendOutcome::Stored(last));
        }
        servers[behind].process().thaw()?;
        let back = far.read(Position(0), MAX_READ).await?;
        assert_eq!((back.entries.last().map(|(at, _)| *at), back.complete), (Some(last), true));
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_has_fewer_copies_than_are_wanted_is_refused_for_logs_and_lanes() -> Result<()> {
    let servers = NatsServer::start_cluster(3, &tests_harness::NatsOptions::default()).await?;
    let lattice = connect(NatsOptions::new(servers[0].url())).await?.lattice();
    let log = |replicas| LogOptions {
        name: "SHARD".to_owned(),
        subject: "shards.one".to_owned(),
        max_bytes: None,
        replicas,
    };
    let lane = |replicas| LaneOptions {
        stream: "LANES".to_owned(),
        subjects: "lanes.*".to_owned(),
        subject: "lanes.one".to_owned(),
        max_bytes: None,
        replicas,
        kept: Kept::All,
    };
    lattice.logs.open(log(Replicas::One)).await?;
    lattice.lanes.open(lane(Replicas::One)).await?;
    let refused = [
        lattice.logs.open(log(Replicas::Three)).await.err(),
        lattice.logs.find(log(Replicas::Three)).await.err(),
        lattice.lanes.open(lane(Replicas::Three)).await.err(),
    ];
    for error in refused {
        let said = error.context("it is not refused")?.to_string();
        assert!(said.contains("it has 1 copy, 3 are wanted") && said.contains("--replicas 3"), "{said}");
    }
    // With as many, or more, it is taken.
    lattice.lanes.open(lane(Replicas::One)).await?;
    let more =
        LaneOptions { stream: "MORE".to_owned(), subjects: "more.*".to_owned(), ..lane(Replicas::Three) };
    let more = LaneOptions { subject: "more.one".to_owned(), ..more };
    lattice.lanes.open(more.clone()).await?;
    lattice.lanes.open(LaneOptions { replicas: Replicas::One, ..more }).await?;
    Ok(())
}

#[tokio::test]
async fn a_blob_that_is_deleted_while_it_is_read_is_not_found_and_not_waited_for() -> Result<()> {
    let server = server().await?;
    let lattice = connect(NatsOptions::new(server.url())).await?.lattice();
    let store = lattice.blobs.open("store", Replicas::One).await?;
    let bytes = Bytes::from_static(b"here today");
    let digest = Digest::of(&bytes);
    store.put(digest, bytes.clone()).await?;
    // Its chunks have gone before they are asked for; then it is said that it was deleted.
    let purge = BusMessage::new("$JS.API.STREAM.PURGE.OBJ_store", r#"{"filter":"$O.store.C.>"}"#);
    lattice.bus.request(purge, SOON).await?;
    let consumers = async || -> Result<bool> {
        let all = server.monitor("/jsz").await?;
        Ok(all.get("consumers").and_then(Value::as_u64).is_some_and(|count| count > 0))
    };
    let deleting = async {
        while !consumers().await? {
            tokio::task::yield_now().await;
        }
        store.delete(digest).await?;
        anyhow::Ok(())
    };
    let both = async { tokio::join!(store.get(digest), deleting) };
    let (read, deleted) = tokio::time::timeout(SOON, both).await?;
    deleted?;
    assert_eq!(read, Err(BlobError::NotFound { store: "store".to_owned(), blob: digest.to_string() }));
    store.put(digest, bytes.clone()).await?;
    assert_eq!(store.get(digest).await?, bytes);
    Ok(())
}

#[tokio::test]
async fn a_write_whose_answer_is_swallowed_is_unknown() -> Result<()> {
    let server = server().await?;
    let proxy = ChaosProxy::start(server.address()).await?;
    let mut options = NatsOptions::new(format!("nats://{}", proxy.address()));
    options.request_timeout = Duration::from_millis(300);
    let far = connect(options).await?.lattice();
    let near = connect(NatsOptions::new(server.url())).await?.lattice();
    let kv = far.kv.open("b", KvOptions::default()).await?;
    let first = kv.put("k", "1".into()).await?;
    proxy.set_mode(tests_harness::proxy::Mode::Blackhole(tests_harness::proxy::Direction::ToClient));
    let error = kv.update("k", "2".into(), first).await.unwrap_err();
    ensure!(matches!(error, KvError::Unknown { .. }) && !error.is_unsent(), "{error:?}");
    // It did happen: only the answer was lost.
    let kv = near.kv.lookup("b").await?.context("the bucket")?;
    assert_eq!(kv.get_latest("k").await?.context("the value")?.value, "2");
    Ok(())
}
