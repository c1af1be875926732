//! The suite of all key-value providers on a real nats-server, and what is this provider's own:
//! applications kept apart, a server of its own, an absent server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a panic is how they fail")]

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lattice_io::memory::Memory;
use lattice_io::nats::{NatsLattice, NatsOptions, connect};
use lattice_io::{KvOptions, Lattice};
use lattice_protocol::LatticeName;
use lattice_protocol::subject::Subjects;
use providers_keyvalue_nats::{NatsKeyValue, NatsKeyValueFactory};
use providers_sdk::keyvalue::KeyValue;
use providers_sdk::testing::{context, keyvalue_suite};
use providers_sdk::{BuildContext, Factory, Provider, ProviderErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use tests_harness::NatsServer;

fn subjects() -> Subjects {
    Subjects::new(LatticeName::new("test").unwrap())
}

fn store(lattice: &Lattice) -> NatsKeyValue {
    NatsKeyValue::new(lattice.kv.clone(), subjects(), KvOptions::default())
}

async fn nats() -> Result<(NatsServer, Arc<NatsLattice>)> {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
    let client = connect(NatsOptions::new(server.url())).await?;
    Ok((server, client))
}

#[tokio::test]
async fn the_suite_on_a_real_server() {
    let (_server, client) = nats().await.unwrap();
    keyvalue_suite(&store(&client.lattice())).await;
}

#[tokio::test]
async fn the_suite_in_memory() {
    keyvalue_suite(&store(&Memory::new().lattice())).await;
}

#[tokio::test]
async fn two_applications_never_meet_in_a_bucket() -> Result<()> {
    let memory = Memory::new().lattice();
    let kv = store(&memory);
    let (ours, theirs) = (context("shop/cart"), context("bank/cart"));
    // A long name is shortened, and still kept apart.
    let long = "b".repeat(200);
    for bucket in ["default", &long] {
        for (cx, value) in [(&ours, "ours"), (&theirs, "theirs")] {
            kv.open(cx, bucket).await?;
            kv.set(cx, bucket, "k", Bytes::from_static(value.as_bytes())).await?;
        }
        assert_eq!(kv.get(&ours, bucket, "k").await?, Some("ours".into()));
        assert_eq!(kv.get(&theirs, bucket, "k").await?, Some("theirs".into()));
    }
    let other_long = format!("{}c", "b".repeat(199));
    kv.open(&ours, &other_long).await?;
    assert_eq!(kv.get(&ours, &other_long, "k").await?, None);
    Ok(())
}

#[tokio::test]
async fn without_a_server_a_call_is_known_to_have_done_nothing() -> Result<()> {
    let memory = Memory::new();
    let kv = store(&memory.lattice());
    let cx = context("app/actor");
    kv.open(&cx, "b").await?;
    memory.set_connected(false);
    let error = kv.increment(&cx, "b", "n", 1).await.unwrap_err();
    ensure!(error.kind == ProviderErrorKind::Unreachable && error.is_unsent(), "{error:?}");
    memory.set_connected(true);
    assert_eq!(kv.increment(&cx, "b", "n", 1).await?, 1);
    let error = kv.get(&cx, "never opened", "k").await.unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::NotFound);
    let error = kv.set(&cx, "b", &"k".repeat(1_025), Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::Invalid);
    Ok(())
}

#[tokio::test]
async fn a_configuration_may_name_another_server() -> Result<()> {
    let (server, client) = nats().await?;
    let unused = Memory::new();
    let factory = NatsKeyValueFactory::new(unused.lattice().kv, subjects());
    let config = |url: String| BuildContext {
        id: "app/cache".parse().unwrap(),
        data_dir: std::path::PathBuf::new(),
        config: BTreeMap::from([("url".to_owned(), url), ("max_value_bytes".to_owned(), "1000".to_owned())]),
    };
    let Provider::KeyValue(kv) = factory.build(config(server.url())).await? else {
        anyhow::bail!("a key-value provider");
    };
    let cx = context("app/actor");
    kv.open(&cx, "b").await?;
    kv.set(&cx, "b", "k", "v".into()).await?;
    let there = client.lattice().kv.lookup("TRELLIS_test_kv_app_b").await?.context("the bucket")?;
    assert_eq!(there.get("k").await?.context("the key")?.value, "v");
    let error = kv.set(&cx, "b", "k", vec![0; 2_000].into()).await.unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::Limit);
    let refused = factory.build(config("nats://127.0.0.1:1".to_owned())).await.err().context("refused")?;
    assert_eq!(refused.kind, ProviderErrorKind::Unreachable);
    ensure!(refused.message.starts_with("NATS: connection refused: nats://127.0.0.1:1"), "{refused}");
    Ok(())
}
