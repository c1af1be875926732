//! The store on real redis-servers: what every store must do, and what only a server can do to
//! one: be down, come back, freeze, ask for a password.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use anyhow::{Context, Result};
use lattice_io::TaskScope;
use lattice_io::nats::{NatsLattice, NatsOptions, connect};
use providers_keyvalue_redis::RedisKeyValueFactory;
use providers_sdk::keyvalue::KeyValue;
use providers_sdk::testing::{context, far_between, keyvalue_suite};
use providers_sdk::{BuildContext, CallContext, Factory, Provider, ProviderErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests_harness::{NatsServer, RedisServer, eventually};

async fn build(app: &str, config: &[(&str, &str)]) -> Result<Arc<dyn KeyValue>> {
    let config = config.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let id = format!("{app}/store").parse()?;
    match RedisKeyValueFactory.build(BuildContext { id, data_dir: "unused".into(), config }).await? {
        Provider::KeyValue(store) => Ok(store),
        _ => anyhow::bail!("not a key-value store"),
    }
}

fn cx() -> CallContext {
    context("shop/cart")
}

#[tokio::test]
async fn it_is_a_key_value_store() -> Result<()> {
    let server = RedisServer::start().await?;
    keyvalue_suite(&*build("shop", &[("url", &server.url())]).await?).await;
    Ok(())
}

#[tokio::test]
async fn it_is_the_same_in_a_process_of_its_own() -> Result<()> {
    let (redis, nats) = (RedisServer::start().await?, NatsServer::start(Default::default()).await?);
    let store = Provider::KeyValue(build("shop", &[("url", &redis.url())]).await?);
    let (there, here) = (client(&nats).await?, client(&nats).await?);
    let scope = TaskScope::new("test");
    let (served, bus) = (there.lattice().bus, here.lattice().bus);
    let Provider::KeyValue(store) = far_between(store, (&served, &bus), &scope).await else {
        anyhow::bail!("not a key-value store")
    };
    keyvalue_suite(&*store).await;
    Ok(())
}

async fn client(nats: &NatsServer) -> Result<Arc<NatsLattice>> {
    Ok(connect(NatsOptions::new(nats.url())).await?)
}

#[tokio::test]
async fn applications_do_not_meet_unless_they_share_a_prefix() -> Result<()> {
    let (server, cx) = (RedisServer::start().await?, cx());
    let url = server.url();
    let shop = build("shop", &[("url", &url)]).await?;
    let bank = build("bank", &[("url", &url)]).await?;
    let guest = build("bank", &[("url", &url), ("prefix", "shop")]).await?;
    shop.set(&cx, "b", "k", "1".into()).await?;
    assert_eq!(bank.get(&cx, "b", "k").await?, None);
    assert!(bank.list_keys(&cx, "b", None).await?.keys.is_empty());
    assert_eq!(guest.get(&cx, "b", "k").await?, Some("1".into()));
    // Globs and separators in a bucket's name are just characters.
    shop.set(&cx, "b*", "k2", "2".into()).await?;
    assert_eq!(shop.list_keys(&cx, "b*", None).await?.keys, ["k2"]);
    assert!(shop.list_keys(&cx, "?", None).await?.keys.is_empty());
    let mut people = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut names: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut people).await?;
    names.sort();
    assert_eq!(names, ["shop:b*:k2", "shop:b:k"], "readable");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable_and_needs_no_new_provider_when_it_is_back() -> Result<()> {
    let (mut server, cx) = (RedisServer::start().await?, cx());
    server.kill()?;
    let store = build("shop", &[("url", &server.url())]).await?;
    for _ in 0..2 {
        let down = store.increment(&cx, "b", "n", 1).await.err().context("down")?;
        assert_eq!(down.kind, ProviderErrorKind::Unreachable, "{down}");
        assert!(down.message.contains(&server.address().to_string()), "{down}");
    }
    server.restart_on_same_port().await?;
    assert_eq!(store.increment(&cx, "b", "n", 1).await?, 1, "the failed ones were never carried out");
    server.restart_on_same_port().await?;
    let again = eventually(Duration::from_secs(20), "an answer after the restart", || async {
        Ok(store.set(&cx, "b", "k", "v".into()).await?)
    });
    again.await
}

#[tokio::test]
async fn a_frozen_server_is_a_timeout_by_the_deadline() -> Result<()> {
    let mut server = RedisServer::start().await?;
    let store = build("shop", &[("url", &server.url())]).await?;
    store.set(&cx(), "b", "k", "v".into()).await?;
    server.process().freeze()?;
    let soon = CallContext { deadline: Instant::now() + Duration::from_millis(200), ..cx() };
    let error = store.get(&soon, "b", "k").await.err().context("frozen")?;
    assert_eq!(error.kind, ProviderErrorKind::Timeout, "{error}");
    server.process().thaw()?;
    assert_eq!(store.get(&cx(), "b", "k").await?, Some("v".into()), "the connection is still good");
    Ok(())
}

#[tokio::test]
async fn a_password_is_asked_for_given_and_never_shown() -> Result<()> {
    let server = RedisServer::start().await?;
    let url = server.url();
    let url = url.as_str();
    let mut admin = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("CONFIG").arg(&["SET", "requirepass", "hunter2"]).exec_async(&mut admin).await?;
    for config in [&[("url", url)][..], &[("url", url), ("password", "wr0ng-secret")][..]] {
        let error = build("shop", config).await?.get(&cx(), "b", "k").await.err().context("refused")?;
        assert_eq!(error.kind, ProviderErrorKind::Denied, "{error}");
        assert!(!error.message.contains("wr0ng-secret"), "{error}");
    }
    let store = build("shop", &[("url", url), ("password", "hunter2")]).await?;
    assert_eq!(store.get(&cx(), "b", "k").await?, None);
    Ok(())
}

#[tokio::test]
async fn what_others_put_there_is_an_error_not_a_value() -> Result<()> {
    let (server, cx) = (RedisServer::start().await?, cx());
    let store = build("shop", &[("url", &server.url())]).await?;
    let mut others = redis::Client::open(server.url())?.get_multiplexed_async_connection().await?;
    redis::cmd("LPUSH").arg(&["shop:b:list", "x"]).exec_async(&mut others).await?;
    let error = store.get(&cx, "b", "list").await.err().context("a list")?;
    assert_eq!(error.kind, ProviderErrorKind::Invalid, "{error}");
    let error = store.swap(&cx, "b", "k", b"?", "v".into()).await.err().context("no version")?;
    assert_eq!(error.kind, ProviderErrorKind::Invalid);
    let error = store.list_keys(&cx, "b", Some("x")).await.err().context("no cursor")?;
    assert_eq!(error.kind, ProviderErrorKind::Invalid);
    Ok(())
}
