//! The store as a host uses it, on a real directory: also one that somebody has tampered with.

use anyhow::{Context, Result};
use bytes::Bytes;
use providers_blobstore_embedded::{Config, EmbeddedBlobStore, EmbeddedBlobStoreFactory};
use providers_sdk::blob::BlobStore;
use providers_sdk::testing::context;
use providers_sdk::{BuildContext, Factory, Provider, ProviderErrorKind};
use std::path::Path;
use std::sync::Arc;

async fn build(directory: &Path) -> Result<Arc<dyn BlobStore>> {
    let context = BuildContext {
        id: "shop/blobs".parse()?,
        data_dir: directory.to_owned(),
        config: Default::default(),
    };
    match EmbeddedBlobStoreFactory.build(context).await? {
        Provider::BlobStore(store) => Ok(store),
        _ => anyhow::bail!("not a blob store"),
    }
}

/// The store, or the same one in a process of its own.
async fn store(directory: &Path, far: bool) -> Result<Arc<dyn BlobStore>> {
    let store = build(directory).await?;
    if !far {
        return Ok(store);
    }
    let (bus, scope) = (lattice_io::memory::Memory::new().lattice().bus, lattice_io::TaskScope::new("test"));
    match providers_sdk::testing::far(Provider::BlobStore(store), &bus, &scope).await {
        Provider::BlobStore(store) => Ok(store),
        _ => anyhow::bail!("not a blob store"),
    }
}

#[tokio::test]
async fn objects_are_written_read_listed_deleted_and_still_there_after_a_restart() -> Result<()> {
    kept_over_a_restart(false).await
}

#[tokio::test]
async fn the_same_in_a_process_of_its_own() -> Result<()> {
    kept_over_a_restart(true).await
}

async fn kept_over_a_restart(far: bool) -> Result<()> {
    let (directory, cx) = (tempfile::tempdir()?, context("shop/cart"));
    let store = store(directory.path(), far).await?;
    assert!(!store.container_exists(&cx, "c").await?);
    store.create_container(&cx, "c").await?;
    store.write(&cx, "c", "a", "0123456789".into()).await?;
    store.create_container(&cx, "c").await?;
    for (start, end, expected) in [
        (0, 3, "0123"),
        (4, 4, "4"),
        (8, 99, "89"),
        (0, u64::MAX, "0123456789"),
        (10, 20, ""),
        (50, 60, ""),
        (5, 4, ""),
    ] {
        assert_eq!(store.read(&cx, "c", "a", start, end).await?, expected, "{start}..={end}");
    }
    store.write(&cx, "c", "a", "new".into()).await?;
    store.write(&cx, "c", "b", Bytes::new()).await?;
    drop(store);

    let store = build(directory.path()).await?;
    assert_eq!(store.read(&cx, "c", "a", 0, u64::MAX).await?, "new");
    let listed: Vec<_> = store.list(&cx, "c").await?.into_iter().map(|info| (info.name, info.size)).collect();
    assert_eq!(listed, [("a".to_owned(), 3), ("b".to_owned(), 0)]);
    let info = store.info(&cx, "c", "a").await?.context("there")?;
    assert!(info.size == 3 && info.created_at > 1_600_000_000);
    store.delete(&cx, "c", &["a".into(), "never".into()]).await?;
    assert_eq!(store.info(&cx, "c", "a").await?, None);
    store.delete_container(&cx, "c").await?;
    assert!(!store.container_exists(&cx, "c").await?);
    store.delete_container(&cx, "c").await?;
    store.create_container(&cx, "c").await?;
    assert!(store.list(&cx, "c").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn any_name_stays_inside() -> Result<()> {
    let (directory, cx) = (tempfile::tempdir()?, context("shop/cart"));
    let store = build(&directory.path().join("data")).await?;
    let names = ["..", ".", "../../escape", "/etc/passwd", "C:\\", "CON", "a/", "a/b", "ключ", "a\0b"];
    for container in names {
        store.create_container(&cx, container).await?;
        for object in names {
            store.write(&cx, container, object, format!("{container}|{object}").into()).await?;
        }
    }
    for container in names {
        let mut listed: Vec<String> =
            store.list(&cx, container).await?.into_iter().map(|info| info.name).collect();
        listed.sort();
        let mut expected = names.map(str::to_owned);
        expected.sort();
        assert_eq!(listed, expected);
        for object in names {
            let data = store.read(&cx, container, object, 0, u64::MAX).await?;
            assert_eq!(data, format!("{container}|{object}"));
        }
    }
    assert_eq!(std::fs::read_dir(directory.path())?.count(), 1, "nothing beside the data directory");
    for name in ["", &"x".repeat(300)] {
        let error = store.write(&cx, "..", name, "x".into()).await.err().context("refused")?;
        assert_eq!(error.kind, ProviderErrorKind::Invalid, "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_not_found() -> Result<()> {
    let (directory, cx) = (tempfile::tempdir()?, context("shop/cart"));
    let store = build(directory.path()).await?;
    let kind = |result: Result<(), providers_sdk::ProviderError>| result.err().map(|error| error.kind);
    let missing = Some(ProviderErrorKind::NotFound);
    assert_eq!(kind(store.write(&cx, "none", "o", "x".into()).await), missing);
    assert_eq!(kind(store.list(&cx, "none").await.map(drop)), missing);
    assert_eq!(kind(store.info(&cx, "none", "o").await.map(drop)), missing);
    store.create_container(&cx, "c").await?;
    assert_eq!(kind(store.read(&cx, "c", "o", 0, 1).await.map(drop)), missing);
    Ok(())
}

#[tokio::test]
async fn links_that_somebody_put_there_lead_nowhere_and_leftovers_go() -> Result<()> {
    let (directory, cx) = (tempfile::tempdir()?, context("shop/cart"));
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "secret")?;
    let data = directory.path().join("data");
    let store = build(&data).await?;
    store.create_container(&cx, "c").await?;
    std::os::unix::fs::symlink(&secret, data.join("containers/c/link"))?;
    assert!(store.read(&cx, "c", "link", 0, 99).await.is_err());
    assert_eq!(store.info(&cx, "c", "link").await?, None);
    assert!(store.list(&cx, "c").await?.is_empty());
    store.write(&cx, "c", "link", "mine".into()).await?;
    assert_eq!(std::fs::read_to_string(&secret)?, "secret", "replaced, not followed");

    std::fs::write(data.join("scratch/99"), "half of something")?;
    std::os::unix::fs::symlink(directory.path(), data.join("containers/outside"))?;
    drop(store);
    let store = build(&data).await?;
    assert!(!store.container_exists(&cx, "outside").await?);
    assert_eq!(std::fs::read_dir(data.join("scratch"))?.count(), 0);
    assert_eq!(store.read(&cx, "c", "link", 0, 99).await?, "mine");
    Ok(())
}

#[tokio::test]
async fn a_full_store_says_so_also_after_a_restart() -> Result<()> {
    let (directory, cx) = (tempfile::tempdir()?, context("shop/cart"));
    let config = Config { max_bytes: 100 };
    let store = EmbeddedBlobStore::open(directory.path(), &config)?;
    store.create_container(&cx, "c").await?;
    store.write(&cx, "c", "a", vec![0; 60].into()).await?;
    drop(store);
    let store = EmbeddedBlobStore::open(directory.path(), &config)?;
    let full = store.write(&cx, "c", "b", vec![0; 41].into()).await.err().context("full")?;
    assert_eq!(full.kind, ProviderErrorKind::Limit);
    assert!(full.message.contains("got 101 bytes, limit 100"), "{full}");
    assert_eq!(store.info(&cx, "c", "b").await?, None);
    store.delete(&cx, "c", &["a".into()]).await?;
    store.write(&cx, "c", "b", vec![0; 41].into()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_one_whole_version() -> Result<()> {
    let (directory, cx) = (tempfile::tempdir()?, context("shop/cart"));
    let store = build(directory.path()).await?;
    store.create_container(&cx, "c").await?;
    store.write(&cx, "c", "o", vec![0; 100_000].into()).await?;
    let mut tasks = tokio::task::JoinSet::new();
    let (writer, context) = (Arc::clone(&store), cx.clone());
    tasks.spawn(async move {
        for version in 1..50_u8 {
            writer.write(&context, "c", "o", vec![version; 100_000 + usize::from(version)].into()).await?;
        }
        anyhow::Ok(())
    });
    while tasks.try_join_next().is_none() {
        let data = store.read(&cx, "c", "o", 0, u64::MAX).await?;
        let version = *data.first().context("some")?;
        assert!(data.iter().all(|byte| *byte == version) && data.len() == 100_000 + usize::from(version));
    }
    Ok(())
}
