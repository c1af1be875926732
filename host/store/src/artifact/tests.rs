//! What is stored, what is found damaged, and what goes when room is needed.

use super::*;

fn content(fill: u8) -> (Digest, Vec<u8>) {
    let bytes = vec![fill; 100];
    (Digest::of(&bytes), bytes)
}

fn store(limit_bytes: u64) -> (tempfile::TempDir, ArtifactStore) {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let store = ArtifactStore::open(&data, limit_bytes).unwrap();
    (directory, store)
}

fn put(store: &ArtifactStore, fill: u8) -> Digest {
    let (digest, bytes) = content(fill);
    store.put(&digest, &bytes).unwrap();
    digest
}

#[test]
fn what_was_put_is_got_also_after_a_restart() {
    let (directory, first) = store(1_000);
    let digest = put(&first, 1);
    put(&first, 1);
    assert_eq!(first.used_bytes(), 100);
    assert_eq!(first.get(&content(2).0).unwrap(), None);
    let data = DataDir::open(directory.path()).unwrap();
    let second = ArtifactStore::open(&data, 1_000).unwrap();
    assert_eq!(second.get(&digest).unwrap().unwrap(), content(1).1);
}

#[test]
fn bytes_that_are_not_what_they_should_be_are_not_stored() {
    let (_directory, store) = store(1_000);
    let refused = store.put(&content(1).0, &content(2).1).unwrap_err();
    assert!(matches!(refused, StoreError::Digest { .. }));
    assert_eq!(store.used_bytes(), 0);
}

#[test]
fn a_flipped_bit_is_found_and_the_artifact_can_be_put_again() {
    let (directory, store) = store(1_000);
    let digest = put(&store, 1);
    let path = directory.path().join("artifacts").join(digest.hex());
    for damage in [&[1u8; 99][..], &[1u8; 101], &[0u8; 100]] {
        fs::write(&path, damage).unwrap();
        assert!(matches!(store.get(&digest), Err(StoreError::Damaged { .. })));
        assert_eq!(store.get(&digest).unwrap(), None);
        put(&store, 1);
        assert_eq!(store.get(&digest).unwrap().unwrap(), content(1).1);
    }
}

#[test]
fn the_least_recently_used_goes_first() {
    let (_directory, store) = store(300);
    let [one, two, three] = [1, 2, 3].map(|fill| put(&store, fill));
    store.get(&one).unwrap().unwrap();
    let four = put(&store, 4);
    let present = [one, two, three, four].map(|digest| store.get(&digest).unwrap().is_some());
    assert_eq!(present, [true, false, true, true]);
    assert_eq!(store.used_bytes(), 300);
}

#[test]
fn what_is_in_use_stays_and_a_store_full_of_it_says_so() {
    let (_directory, store) = store(200);
    let (one, two) = (put(&store, 1), put(&store, 2));
    let pins = [store.pin(&one).unwrap(), store.pin(&one).unwrap()];
    let three = put(&store, 3);
    assert!(store.get(&one).unwrap().is_some() && store.get(&two).unwrap().is_none());
    let held = store.pin(&three).unwrap();
    let (digest, bytes) = content(4);
    assert!(matches!(store.put(&digest, &bytes), Err(StoreError::Full { in_use: 200, limit: 200 })));
    drop(held);
    store.put(&digest, &bytes).unwrap();
    drop(pins);
    put(&store, 5);
    assert!(store.get(&one).unwrap().is_none(), "no longer in use, and the oldest");
}

#[test]
fn a_smaller_limit_after_a_restart_is_kept_to() {
    let (directory, first) = store(300);
    let digests = [1, 2, 3].map(|fill| put(&first, fill));
    for (age, digest) in [30, 10, 20].into_iter().zip(digests) {
        let path = directory.path().join("artifacts").join(digest.hex());
        let time = SystemTime::now() - std::time::Duration::from_secs(age);
        File::open(path).unwrap().set_modified(time).unwrap();
    }
    let data = DataDir::open(directory.path()).unwrap();
    let second = ArtifactStore::open(&data, 150).unwrap();
    let present = digests.map(|digest| second.get(&digest).unwrap().is_some());
    assert_eq!(present, [false, true, false]);
}

#[test]
fn what_is_larger_than_the_store_evicts_nothing() {
    let (_directory, store) = store(150);
    let one = put(&store, 1);
    let large = vec![0; 151];
    assert!(matches!(store.put(&Digest::of(&large), &large), Err(StoreError::TooLarge { .. })));
    assert!(store.get(&one).unwrap().is_some());
}

#[test]
fn strangers_in_the_directory_are_left_alone() {
    let (directory, first) = store(1_000);
    put(&first, 1);
    let stranger = directory.path().join("artifacts/README");
    fs::write(&stranger, b"mine").unwrap();
    fs::write(directory.path().join("artifacts/torn.tmp"), b"half").unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let second = ArtifactStore::open(&data, 1_000).unwrap();
    assert_eq!(second.used_bytes(), 100);
    assert!(stranger.exists() && !directory.path().join("artifacts/torn.tmp").exists());
}

#[test]
fn a_pin_outlives_the_damage_of_its_file() {
    let (directory, store) = store(100);
    let digest = put(&store, 1);
    let pin = store.pin(&digest).unwrap();
    fs::write(directory.path().join("artifacts").join(digest.hex()), b"noise").unwrap();
    assert!(store.get(&digest).is_err());
    put(&store, 1);
    let (other, bytes) = content(2);
    assert!(matches!(store.put(&other, &bytes), Err(StoreError::Full { .. })));
    drop(pin);
    store.put(&other, &bytes).unwrap();
}
