//! Buckets: revisions, compare-and-swap, deletions, watches.

use crate::{Fixture, SOON};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lattice_io::{Kv, KvEntry, KvError, KvEvent, KvOptions, KvWatch, WatchKeys};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

crate::conformance! {
    in a domain:
    values_are_read_back_with_growing_revisions,
    a_write_is_refused_when_somebody_was_first,
    a_deleted_key_can_be_created_again,
    of_many_who_swap_each_wins_in_turn,
    a_bucket_is_found_made_once_and_deleted,
    bad_names_and_large_values_are_refused,
    keys_are_those_with_a_value,
    old_values_vanish,
    a_watch_tells_what_is_there_and_then_what_changes,
    a_watch_of_one_key_tells_nothing_else,
    a_watch_waits_for_its_bucket,
    a_watch_goes_on_after_the_connection_was_lost,
    without_a_server_operations_fail_and_nothing_is_written,
}

async fn bucket(fixture: &Fixture) -> Result<Arc<dyn Kv>> {
    Ok(fixture.lattice.kv.open("TRELLIS_test", KvOptions::default()).await?)
}

fn text(value: &'static str) -> Bytes {
    Bytes::from_static(value.as_bytes())
}

fn entry(key: &str, value: &'static str, revision: u64) -> KvEntry {
    KvEntry { key: key.to_owned(), value: text(value), revision }
}

pub async fn event(watch: &mut KvWatch) -> Result<KvEvent> {
    tokio::time::timeout(SOON, watch.next()).await.context("no event")?.context("watch ended")
}

fn conflict<T: std::fmt::Debug>(result: Result<T, KvError>) -> bool {
    matches!(result, Err(KvError::Conflict { .. }))
}

async fn values_are_read_back_with_growing_revisions(fixture: &Fixture) -> Result<()> {
    let kv = bucket(fixture).await?;
    assert_eq!(kv.get("a.b").await?, None);
    assert_eq!(kv.get_latest("a.b").await?, None);
    let first = kv.put("a.b", text("1")).await?;
    let other = kv.put("c", text("")).await?;
    let second = kv.put("a.b", text("2")).await?;
    ensure!(first < other && other < second, "{first} {other} {second}");
    assert_eq!(kv.get("a.b").await?, Some(entry("a.b", "2", second)));
    assert_eq!(kv.get_latest("a.b").await?, Some(entry("a.b", "2", second)));
    assert_eq!(kv.get("c").await?, Some(entry("c", "", other)));
    Ok(())
}

async fn a_write_is_refused_when_somebody_was_first(fixture: &Fixture) -> Result<()> {
    let kv = bucket(fixture).await?;
    let first = kv.create("k", text("1")).await?;
    ensure!(conflict(kv.create("k", text("x")).await), "it exists");
    let second = kv.update("k", text("2"), first).await?;
    let error = kv.update("k", text("x"), first).await.unwrap_err();
    let expected =
        KvError::Conflict { bucket: "TRELLIS_test".to_owned(), key: "k".to_owned(), expected: first };
    assert_eq!(error, expected);
    ensure!(conflict(kv.delete("k", Some(first)).await), "deleting at an old revision");
    ensure!(conflict(kv.update("absent", text("x"), 7).await), "absent");
    assert_eq!(kv.get_latest("k").await?, Some(entry("k", "2", second)));
    kv.delete("k", Some(second)).await?;
    assert_eq!(kv.get_latest("k").await?, None);
    Ok(())
}

async fn a_deleted_key_can_be_created_again(fixture: &Fixture) -> Result<()> {
    let kv = bucket(fixture).await?;
    let first = kv.create("k", text("1")).await?;
    kv.delete("k", None).await?;
    assert_eq!((kv.get("k").await?, kv.get_latest("k").await?), (None, None));
    ensure!(conflict(kv.update("k", text("x"), first).await), "the deletion was a write");
    let second = kv.create("k", text("2")).await?;
    ensure!(second > first);
    kv.purge("k").await?;
    assert_eq!((kv.get("k").await?, kv.get_latest("k").await?), (None, None));
    kv.create("k", text("3")).await?;
    kv.delete("never.was", None).await?;
    Ok(())
}

async fn of_many_who_swap_each_wins_in_turn(fixture: &Fixture) -> Result<()> {
    const WRITERS: u32 = 8;
    const ROUNDS: u32 = 10;
    let kv = bucket(fixture).await?;
    kv.put("n", text("0")).await?;
    let count = |kv: Arc<dyn Kv>| async move {
        for _ in 0..ROUNDS {
            loop {
                let now = kv.get_latest("n").await?.context("the counter")?;
                let value: u32 = std::str::from_utf8(&now.value)?.parse()?;
                match kv.update("n", (value + 1).to_string().into(), now.revision).await {
                    Ok(_) => break,
                    Err(KvError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    let writers = (0..WRITERS).map(|_| count(kv.clone()));
    futures::future::try_join_all(writers).await?;
    assert_eq!(kv.get("n").await?.context("the counter")?.value, (WRITERS * ROUNDS).to_string());
    Ok(())
}

async fn a_bucket_is_found_made_once_and_deleted(fixture: &Fixture) -> Result<()> {
    let buckets = &fixture.lattice.kv;
    ensure!(buckets.lookup("TRELLIS_test").await?.is_none());
    let assumed = buckets.assume("TRELLIS_test")?;
    let missing = KvError::BucketNotFound { bucket: "TRELLIS_test".to_owned() };
    assert_eq!(assumed.get("k").await, Err(missing.clone()));
    assert_eq!(assumed.get_latest("k").await, Err(missing.clone()));
    match assumed.put("k", text("v")).await {
        // In another domain nobody says that nobody took it.
        Err(KvError::Unknown { .. }) if fixture.is_far() => {}
        put => assert_eq!(put, Err(missing.clone())),
    }
    assert_eq!(assumed.keys().await, Err(missing));
    bucket(fixture).await?.put("k", text("v")).await?;
    // Opening it again, with other settings too, changes nothing.
    let options = KvOptions { history: 5, ..KvOptions::default() };
    let again = buckets.open("TRELLIS_test", options).await?;
    assert_eq!(again.get("k").await?.map(|entry| entry.value), Some(text("v")));
    ensure!(buckets.lookup("TRELLIS_test").await?.is_some());
    ensure!(buckets.delete("TRELLIS_test").await? && !buckets.delete("TRELLIS_test").await?);
    ensure!(buckets.lookup("TRELLIS_test").await?.is_none());
    // A name with encoded characters is a bucket too.
    let encoded = buckets.open("TRELLIS_l_kv_app_my=20bucket", KvOptions::default()).await?;
    encoded.put("k=2F", text("v")).await?;
    assert_eq!(encoded.keys().await?, ["k=2F"]);
    Ok(())
}

async fn bad_names_and_large_values_are_refused(fixture: &Fixture) -> Result<()> {
    let options = KvOptions { max_value: Some(1_000), ..KvOptions::default() };
    ensure!(matches!(fixture.lattice.kv.open("a.b", options.clone()).await, Err(KvError::Invalid { .. })));
    let kv = fixture.lattice.kv.open("small", options).await?;
    for key in ["", "a..b", "*", "a.>", "a b"] {
        ensure!(matches!(kv.put(key, text("v")).await, Err(KvError::Invalid { .. })), "{key:?}");
        ensure!(matches!(kv.get(key).await, Err(KvError::Invalid { .. })), "{key:?}");
    }
    let error = kv.put("k", vec![0; 2_000].into()).await.unwrap_err();
    ensure!(matches!(error, KvError::TooLarge { size: 2_000, limit: 1_000, .. }), "{error:?}");
    let error = kv.put("k", vec![0; 2 << 20].into()).await.unwrap_err();
    ensure!(matches!(error, KvError::TooLarge { .. }), "{error:?}");
    assert_eq!(kv.keys().await?, Vec::<String>::new());
    Ok(())
}

async fn keys_are_those_with_a_value(fixture: &Fixture) -> Result<()> {
    let kv = bucket(fixture).await?;
    assert_eq!(kv.keys().await?, Vec::<String>::new());
    for key in ["b", "a.x", "c", "a.b"] {
        kv.put(key, text("v")).await?;
    }
    kv.put("b", text("w")).await?;
    kv.delete("c", None).await?;
    assert_eq!(kv.keys().await?, ["a.b", "a.x", "b"]);
    Ok(())
}

async fn old_values_vanish(fixture: &Fixture) -> Result<()> {
    let options = KvOptions { ttl: Some(Duration::from_millis(500)), ..KvOptions::default() };
    let kv = fixture.lattice.kv.open("short", options).await?;
    kv.put("k", text("v")).await?;
    tests_harness::eventually(SOON, "the value to vanish", || async {
        ensure!(kv.get("k").await?.is_none(), "still there");
        Ok(())
    })
    .await?;
    kv.create("k", text("w")).await?;
    Ok(())
}

async fn a_watch_tells_what_is_there_and_then_what_changes(fixture: &Fixture) -> Result<()> {
    let kv = bucket(fixture).await?;
    let mut early = kv.watch(WatchKeys::All);
    assert_eq!(event(&mut early).await?, KvEvent::Current);
    kv.put("a", text("0")).await?;
    kv.put("gone", text("x")).await?;
    kv.delete("gone", None).await?;
    let b = kv.put("b", text("1")).await?;
    let a = kv.put("a", text("1")).await?;
    let mut watch = kv.watch(WatchKeys::All);
    assert_eq!(event(&mut watch).await?, KvEvent::Put(entry("b", "1", b)));
    assert_eq!(event(&mut watch).await?, KvEvent::Put(entry("a", "1", a)));
    assert_eq!(event(&mut watch).await?, KvEvent::Current);
    let c = kv.put("c", text("2")).await?;
    assert_eq!(event(&mut watch).await?, KvEvent::Put(entry("c", "2", c)));
    kv.delete("b", None).await?;
    let KvEvent::Deleted { key, revision } = event(&mut watch).await? else { anyhow::bail!("a deletion") };
    ensure!(key == "b" && revision > c, "{key} {revision}");
    // Whoever was not looking may have missed values in between, but comes to the same end.
    let mut seen = BTreeMap::new();
    while seen != BTreeMap::from([("a".to_owned(), a), ("c".to_owned(), c)]) {
        match event(&mut early).await? {
            KvEvent::Put(entry) => seen.insert(entry.key, entry.revision),
            KvEvent::Deleted { key, .. } => seen.remove(&key),
            KvEvent::Current => None,
        };
    }
    Ok(())
}

async fn a_watch_of_one_key_tells_nothing_else(fixture: &Fixture) -> Result<()> {
    let kv = bucket(fixture).await?;
    kv.put("host.other", text("x")).await?;
    let mut watch = kv.watch(WatchKeys::One("host.me".to_owned()));
    assert_eq!(event(&mut watch).await?, KvEvent::Current);
    kv.put("host.other", text("y")).await?;
    let mine = kv.put("host.me", text("1")).await?;
    assert_eq!(event(&mut watch).await?, KvEvent::Put(entry("host.me", "1", mine)));
    Ok(())
}

async fn a_watch_waits_for_its_bucket(fixture: &Fixture) -> Result<()> {
    let mut watch = fixture.lattice.kv.assume("TRELLIS_test")?.watch(WatchKeys::All);
    // It is under way, and looks for a bucket that is not there.
    let nothing = tokio::time::timeout(crate::BRIEFLY, watch.next()).await;
    ensure!(nothing.is_err(), "{nothing:?}");
    let kv = bucket(fixture).await?;
    assert_eq!(event(&mut watch).await?, KvEvent::Current);
    let revision = kv.put("k", text("v")).await?;
    assert_eq!(event(&mut watch).await?, KvEvent::Put(entry("k", "v", revision)));
    Ok(())
}

async fn a_watch_goes_on_after_the_connection_was_lost(fixture: &Fixture) -> Result<()> {
    let kv = bucket(fixture).await?;
    let first = kv.put("k", text("1")).await?;
    let mut watch = kv.watch(WatchKeys::All);
    assert_eq!(event(&mut watch).await?, KvEvent::Put(entry("k", "1", first)));
    assert_eq!(event(&mut watch).await?, KvEvent::Current);
    fixture.cut().await?;
    let nothing = tokio::time::timeout(crate::BRIEFLY, watch.next()).await;
    ensure!(nothing.is_err(), "{nothing:?}");
    fixture.heal().await?;
    // What was known already is not told again.
    assert_eq!(event(&mut watch).await?, KvEvent::Current);
    let second = kv.put("k", text("2")).await?;
    assert_eq!(event(&mut watch).await?, KvEvent::Put(entry("k", "2", second)));
    // Nor does it matter that nobody looked at it meanwhile.
    fixture.cut().await?;
    fixture.heal().await?;
    // The deadline is shorter than the silence that would be noticed in any case.
    let told = tokio::time::timeout(SOON / 2, watch.next()).await?;
    assert_eq!(told, Some(KvEvent::Current));
    Ok(())
}

async fn without_a_server_operations_fail_and_nothing_is_written(fixture: &Fixture) -> Result<()> {
    let kv = bucket(fixture).await?;
    kv.put("k", text("1")).await?;
    fixture.cut().await?;
    let error = kv.put("k", text("2")).await.unwrap_err();
    ensure!(matches!(error, KvError::Unreachable { .. }) && error.is_unsent(), "{error:?}");
    ensure!(matches!(kv.get("k").await, Err(KvError::Unreachable { .. })));
    ensure!(matches!(kv.keys().await, Err(KvError::Unreachable { .. })));
    fixture.heal().await?;
    assert_eq!(kv.get_latest("k").await?.map(|entry| entry.value), Some(text("1")));
    Ok(())
}
