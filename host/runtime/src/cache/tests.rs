//! The cache from outside: through a runtime's `load`.

use super::*;
use crate::fixtures::{self, guest};
use crate::{Runtime, RuntimeConfig};
use std::sync::Arc;

fn runtime(directory: &Path, key: u8) -> Arc<Runtime> {
    fixtures::runtime_with(RuntimeConfig {
        cache_dir: Some(directory.to_owned()),
        cache_key: [key; 32],
        ..RuntimeConfig::default()
    })
}

/// Loads in a runtime of its own, as after a restart; was it compiled earlier?
async fn is_cached(directory: &Path, key: u8, name: &str) -> bool {
    fixtures::load(&runtime(directory, key), &guest(name)).await.unwrap().from_cache()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

#[tokio::test]
async fn a_restart_compiles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["http_hello_raw", "http_hello_p3"] {
        assert!(!is_cached(directory.path(), 1, name).await);
        assert!(is_cached(directory.path(), 1, name).await);
    }
    assert_eq!(entries(directory.path()).len(), 2);
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_never_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let name = "http_hello_raw";
    is_cached(directory.path(), 1, name).await;
    let entry = entries(directory.path()).remove(0);
    let good = fs::read(&entry).unwrap();
    let cache = Cache::open(directory.path(), [1; 32], 1 << 30).unwrap();
    let file_name = entry.file_name().unwrap().to_str().unwrap();
    for at in [0, 7, 8, 39, 40, 41, good.len() / 2, good.len() - 1] {
        for bit in [0, 7] {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(cache.authenticated(file_name, &bad).is_none(), "bit {bit} of byte {at}");
        }
    }
    for length in [0, 1, HEADER - 1, HEADER, good.len() - 1] {
        assert!(cache.authenticated(file_name, &good[..length]).is_none(), "{length} bytes");
    }
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&entry, bad).unwrap();
    assert!(!is_cached(directory.path(), 1, name).await);
    // It was compiled again, and kept.
    assert_eq!(fs::read(&entry).unwrap().len(), good.len());
    assert!(is_cached(directory.path(), 1, name).await);
}

#[tokio::test]
async fn an_entry_of_another_host_or_another_name_is_not_ours() {
    let directory = tempfile::tempdir().unwrap();
    is_cached(directory.path(), 1, "http_hello_raw").await;
    assert!(!is_cached(directory.path(), 2, "http_hello_raw").await);
    // A good entry moved to another component's name.
    let raw = entries(directory.path()).remove(0);
    is_cached(directory.path(), 2, "http_hello").await;
    let hello = entries(directory.path()).into_iter().find(|entry| *entry != raw).unwrap();
    fs::copy(&raw, &hello).unwrap();
    assert!(!is_cached(directory.path(), 2, "http_hello").await);
}

#[test]
fn another_engine_gives_another_name() {
    let digest = Digest::of(b"x");
    assert_ne!(entry_name(&[1; 32], &digest), entry_name(&[2; 32], &digest));
}

#[tokio::test]
async fn the_oldest_entries_go_first_and_none_of_a_loaded_component() {
    let directory = tempfile::tempdir().unwrap();
    is_cached(directory.path(), 1, "http_hello_raw").await;
    let raw = entries(directory.path()).remove(0);
    let small = fixtures::runtime_with(RuntimeConfig {
        cache_dir: Some(directory.path().to_owned()),
        cache_key: [1; 32],
        cache_bytes: 1,
        ..RuntimeConfig::default()
    });
    let loaded = fixtures::load(&small, &guest("http_hello_raw")).await.unwrap();
    let hello = fixtures::load(&small, &guest("http_hello")).await.unwrap();
    assert!(raw.exists() && entries(directory.path()).len() == 2, "both are in use");
    drop((loaded, hello));
    fixtures::load(&small, &guest("http_hello_p3")).await.unwrap();
    assert!(!raw.exists() && entries(directory.path()).len() == 1, "neither is");
}
