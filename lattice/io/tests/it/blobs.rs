//! Content-addressed bytes.

use crate::Fixture;
use anyhow::{Result, ensure};
use bytes::Bytes;
use keys::Digest;
use lattice_io::{BlobError, Clock, Replicas, SystemClock};

crate::conformance! {
    in a domain:
    bytes_are_put_once_read_back_listed_and_deleted,
    bytes_larger_than_a_message_pass,
    bytes_under_a_wrong_name_are_refused,
    bytes_with_a_name_are_replaced_and_are_no_artifact,
    without_a_server_the_store_says_so,
}

async fn bytes_are_put_once_read_back_listed_and_deleted(fixture: &Fixture) -> Result<()> {
    let store = fixture.lattice.blobs.open("TRELLIS_test_artifacts", Replicas::One).await?;
    let (one, two) = (Bytes::from_static(b"one"), Bytes::new());
    let (first, second) = (Digest::of(&one), Digest::of(&two));
    let missing = BlobError::NotFound { store: "TRELLIS_test_artifacts".to_owned(), blob: first.to_string() };
    assert_eq!(store.get(first).await, Err(missing.clone()));
    ensure!(!store.contains(first).await? && store.list().await?.is_empty());
    store.put(first, one.clone()).await?;
    store.put(first, one.clone()).await?;
    store.put(second, two.clone()).await?;
    assert_eq!(store.get(first).await?, one);
    assert_eq!(store.get(second).await?, two);
    let mut expected = vec![(first, 3), (second, 0)];
    expected.sort_unstable();
    let list = store.list().await?;
    assert_eq!(list.iter().map(|blob| (blob.digest, blob.size)).collect::<Vec<_>>(), expected);
    let now = SystemClock::new().unix_ms();
    // In memory nobody looks at a clock; a server's is this machine's here.
    ensure!(
        list.iter().all(|blob| blob.stored_unix_ms.is_none_or(|at| now.abs_diff(at) < 60_000)),
        "{list:?}"
    );
    // Another handle sees the same.
    let again = fixture.lattice.blobs.open("TRELLIS_test_artifacts", Replicas::One).await?;
    ensure!(again.contains(first).await?);
    again.delete(first).await?;
    again.delete(first).await?;
    assert_eq!(store.get(first).await, Err(missing));
    ensure!(!store.contains(first).await?);
    assert_eq!(store.list().await?.len(), 1);
    store.put(first, one.clone()).await?;
    assert_eq!(store.get(first).await?, one);
    Ok(())
}

async fn bytes_larger_than_a_message_pass(fixture: &Fixture) -> Result<()> {
    let store = fixture.lattice.blobs.open("large", Replicas::One).await?;
    let bytes: Bytes = (0..5_000_001_u32).map(|n| (n % 251) as u8).collect();
    let digest = Digest::of(&bytes);
    store.put(digest, bytes.clone()).await?;
    ensure!(store.get(digest).await? == bytes, "the same bytes");
    Ok(())
}

async fn bytes_under_a_wrong_name_are_refused(fixture: &Fixture) -> Result<()> {
    let store = fixture.lattice.blobs.open("store", Replicas::One).await?;
    let (got, expected) = (Digest::of(b"a"), Digest::of(b"b"));
    let refused = store.put(expected, Bytes::from_static(b"a")).await;
    assert_eq!(refused, Err(BlobError::WrongDigest { got, expected }));
    ensure!(store.list().await?.is_empty());
    Ok(())
}

async fn bytes_with_a_name_are_replaced_and_are_no_artifact(fixture: &Fixture) -> Result<()> {
    let store = fixture.lattice.blobs.open("store", Replicas::One).await?;
    let (name, digest) = ("native.0a-1", Digest::of(b"a"));
    let missing = BlobError::NotFound { store: "store".to_owned(), blob: name.to_owned() };
    assert_eq!(store.get_named(name).await, Err(missing));
    ensure!(!store.contains_named(name).await?);
    let long: Bytes = vec![7; 1_500_000].into();
    for bytes in [long, Bytes::from_static(b"a"), Bytes::from_static(b"another")] {
        store.put_named(name, bytes.clone()).await?;
        ensure!(store.get_named(name).await? == bytes && store.contains_named(name).await?);
    }
    ensure!(store.list().await?.is_empty() && !store.contains(digest).await?);
    store.put_named("native.0a-2", Bytes::new()).await?;
    let named =
        || async { Ok(store.list_named().await?.into_iter().map(|blob| (blob.name, blob.size)).collect()) };
    let have: Result<Vec<_>> = named().await;
    assert_eq!(have?, [(name.to_owned(), 7), ("native.0a-2".to_owned(), 0)]);
    for _ in 0..2 {
        store.delete_named("native.0a-2").await?;
    }
    let have: Result<Vec<_>> = named().await;
    ensure!(have? == [(name.to_owned(), 7)] && !store.contains_named("native.0a-2").await?);
    let hex = digest.hex();
    for name in ["", "A", "a b", "a/b", "a*", hex.as_str()] {
        let refused = store.put_named(name, Bytes::from_static(b"a")).await;
        assert_eq!(refused, Err(BlobError::Name { name: name.to_owned() }));
    }
    Ok(())
}

async fn without_a_server_the_store_says_so(fixture: &Fixture) -> Result<()> {
    let store = fixture.lattice.blobs.open("store", Replicas::One).await?;
    fixture.cut().await?;
    let digest = Digest::of(b"a");
    ensure!(matches!(store.get(digest).await, Err(BlobError::Unreachable { .. })));
    let put = store.put(digest, Bytes::from_static(b"a")).await;
    ensure!(matches!(put, Err(BlobError::Unreachable { .. })), "{put:?}");
    Ok(())
}
