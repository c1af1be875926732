//! The embedded store as a host uses it: built by its factory, closed, opened again, shared,
//! damaged.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic")]

use anyhow::Result;
use bytes::Bytes;
use providers_keyvalue_embedded::{Config, EmbeddedKeyValue, EmbeddedKeyValueFactory};
use providers_sdk::keyvalue::KeyValue;
use providers_sdk::{BuildContext, CallContext, Factory, Provider, ProviderErrorKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn cx() -> CallContext {
    CallContext {
        source: "shop/cart".parse().unwrap(),
        link: "default".parse().unwrap(),
        config: Arc::default(),
        deadline: Instant::now() + Duration::from_secs(30),
        traceparent: None,
    }
}

async fn build(directory: &Path, config: &[(&str, &str)]) -> Result<Arc<dyn KeyValue>> {
    let config = config.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let context = BuildContext { id: "shop/store".parse()?, data_dir: directory.to_owned(), config };
    match EmbeddedKeyValueFactory.build(context).await? {
        Provider::KeyValue(store) => Ok(store),
        _ => anyhow::bail!("not a key-value store"),
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_what_was_deleted_is_not() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cx = cx();
    let store = build(directory.path(), &[]).await?;
    store.set(&cx, "b", "kept", "1".into()).await?;
    store.set(&cx, "b", "gone", "2".into()).await?;
    store.set(&cx, "other", "kept", "3".into()).await?;
    store.delete(&cx, "b", "gone").await?;
    assert_eq!(store.increment(&cx, "b", "count", 7).await?, 7);
    let version = store.current(&cx, "b", "kept").await?.version;
    drop(store);

    let store = build(directory.path(), &[]).await?;
    assert_eq!(store.get(&cx, "b", "kept").await?, Some(Bytes::from("1")));
    assert_eq!(store.get(&cx, "b", "gone").await?, None);
    assert_eq!(store.get(&cx, "other", "kept").await?, Some(Bytes::from("3")));
    assert_eq!(store.increment(&cx, "b", "count", -2).await?, 5);
    assert!(store.swap(&cx, "b", "kept", &version, "4".into()).await?, "versions survive a restart");
    assert!(!store.swap(&cx, "b", "kept", &version, "5".into()).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_and_swaps_lose_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for config in [&[][..], &[("memory", "true")][..]] {
        let store = build(directory.path(), config).await?;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let cx = cx();
                let mut swaps = 0;
                for _ in 0..50 {
                    store.increment(&cx, "b", "n", 1).await?;
                    let seen = store.current(&cx, "b", "s").await?;
                    let next = seen.value.map_or(1, |value| value.len() + 1);
                    let text = "x".repeat(next);
                    swaps += usize::from(store.swap(&cx, "b", "s", &seen.version, text.into()).await?);
                }
                anyhow::Ok(swaps)
            });
        }
        let mut swaps = 0;
        while let Some(done) = tasks.join_next().await {
            swaps += done??;
        }
        assert_eq!(store.increment(&cx(), "b", "n", 0).await?, 400);
        let length = store.get(&cx(), "b", "s").await?.map_or(0, |value| value.len());
        assert_eq!(length, swaps, "each successful swap added one");
    }
    Ok(())
}

#[tokio::test]
async fn pages_cover_every_key_once_and_keep_to_their_bucket() -> Result<()> {
    let store = EmbeddedKeyValue::memory(64 << 20);
    let cx = cx();
    let pairs = (0..2_500).map(|n| (format!("k/{n}"), Bytes::from_static(b"v"))).collect();
    store.set_many(&cx, "b", pairs).await?;
    store.set(&cx, "c", "elsewhere", "v".into()).await?;
    let (mut keys, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.list_keys(&cx, "b", cursor.as_deref()).await?;
        assert!(page.keys.len() <= 1_000);
        keys.extend(page.keys);
        pages += 1;
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), pages), (2_500, 3));
    assert!(!keys.iter().any(|key| key == "elsewhere"));
    assert!(store.list_keys(&cx, "never written", None).await?.keys.is_empty());
    Ok(())
}

#[tokio::test]
async fn many_at_once_keep_their_order() -> Result<()> {
    let store = EmbeddedKeyValue::memory(1 << 20);
    let cx = cx();
    store.set_many(&cx, "b", vec![("a".into(), "1".into()), ("b".into(), "2".into())]).await?;
    let keys = ["b".to_owned(), "none".to_owned(), "a".to_owned()];
    assert_eq!(store.get_many(&cx, "b", &keys).await?, [Some("2".into()), None, Some("1".into())]);
    store.delete_many(&cx, "b", &keys).await?;
    assert!(!store.exists(&cx, "b", "a").await?);
    Ok(())
}

#[tokio::test]
async fn a_full_store_says_so_and_still_answers() -> Result<()> {
    let store = EmbeddedKeyValue::memory(64 << 10);
    let cx = cx();
    store.set(&cx, "b", "k", vec![0; 40 << 10].into()).await?;
    let full = store.set(&cx, "b", "l", vec![0; 40 << 10].into()).await.unwrap_err();
    assert_eq!(full.kind, ProviderErrorKind::Limit);
    assert!(full.message.contains("limit 65536"), "{full}");
    store.delete(&cx, "b", "k").await?;
    store.set(&cx, "b", "l", vec![0; 40 << 10].into()).await?;
    Ok(())
}

#[tokio::test]
async fn a_write_past_its_deadline_is_a_timeout_or_never_sent() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = EmbeddedKeyValue::open(directory.path(), &Config::default())?;
    let late = CallContext { deadline: Instant::now() - Duration::from_secs(1), ..cx() };
    let error = store.set(&late, "b", "k", "v".into()).await.unwrap_err();
    assert!(matches!(error.kind, ProviderErrorKind::Timeout | ProviderErrorKind::Unreachable), "{error:?}");
    Ok(())
}

#[test]
fn a_file_that_is_open_foreign_damaged_or_too_large_is_refused_by_name() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("keyvalue.sqlite");
    std::fs::write(&path, b"this is not a database, whatever its name says....")?;
    let error = EmbeddedKeyValue::open(directory.path(), &Config::default()).err().unwrap().to_string();
    assert!(error.contains("keyvalue.sqlite") && error.contains("not a database"), "{error}");

    std::fs::remove_file(&path)?;
    let other = rusqlite::Connection::open(&path)?;
    other.pragma_update(None, "application_id", 1)?;
    other.execute_batch("CREATE TABLE t (x)")?;
    drop(other);
    let error = EmbeddedKeyValue::open(directory.path(), &Config::default()).err().unwrap().to_string();
    assert!(error.contains("application id (got 1"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_second_opener_is_refused_and_a_smaller_budget_too() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = EmbeddedKeyValue::open(directory.path(), &Config::default())?;
    store.set(&cx(), "b", "k", vec![7; 100_000].into()).await?;
    let path = directory.path().to_owned();
    let second =
        tokio::task::spawn_blocking(move || EmbeddedKeyValue::open(&path, &Config::default()).err()).await?;
    assert!(second.is_some_and(|error| error.to_string().contains("in use")));
    drop(store);
    let small = Config { max_bytes: 70_000, ..Config::default() };
    let error = EmbeddedKeyValue::open(directory.path(), &small).err().unwrap().to_string();
    assert!(error.contains("does not fit") && error.contains("70000"), "{error}");
    Ok(())
}

#[test]
fn every_problem_of_a_configuration_is_reported_at_once() {
    let config: BTreeMap<String, String> =
        [("memory", "yes"), ("max_bytes", "1"), ("maxbytes", "1")].map(|(k, v)| (k.into(), v.into())).into();
    let problems = EmbeddedKeyValueFactory.check(&config);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(EmbeddedKeyValueFactory.check(&BTreeMap::new()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_key_value_store_on_disk_and_in_memory() -> Result<()> {
    let directory = tempfile::tempdir()?;
    providers_sdk::testing::keyvalue_suite(&*build(directory.path(), &[]).await?).await;
    providers_sdk::testing::keyvalue_suite(&EmbeddedKeyValue::memory(64 << 20)).await;
    // In a process of its own it is the same store.
    let (bus, scope) = (lattice_io::memory::Memory::new().lattice().bus, lattice_io::TaskScope::new("test"));
    let store = Provider::KeyValue(Arc::new(EmbeddedKeyValue::memory(64 << 20)));
    let Provider::KeyValue(store) = providers_sdk::testing::far(store, &bus, &scope).await else {
        anyhow::bail!("not a key-value store")
    };
    providers_sdk::testing::keyvalue_suite(&*store).await;
    Ok(())
}
