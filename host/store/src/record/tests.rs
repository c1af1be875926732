//! Torn writes, flipped bits, and crashes between the steps of a write.

use super::*;
use proptest::prelude::*;

fn record() -> (tempfile::TempDir, Record) {
    let directory = tempfile::tempdir().unwrap();
    let record = Record::new(directory.path(), "number");
    (directory, record)
}

fn loaded(record: &Record) -> (u64, Option<u64>, bool) {
    let loaded = record.load::<u64>().unwrap().unwrap();
    (loaded.newest, loaded.previous, loaded.damage.is_some())
}

#[test]
fn what_was_saved_is_loaded_with_its_predecessor() {
    let (_directory, record) = record();
    assert!(record.load::<u64>().unwrap().is_none());
    record.save(&1u64).unwrap();
    assert_eq!(loaded(&record), (1, None, false));
    record.save(&2u64).unwrap();
    record.save(&3u64).unwrap();
    assert_eq!(loaded(&record), (3, Some(2), false));
}

#[test]
fn what_is_too_large_to_be_read_takes_no_place() {
    let (directory, record) = record();
    record.save(&1u64).unwrap();
    let small = Record::new(directory.path(), "number").limited(100);
    let refused = small.save(&"a".repeat(100)).unwrap_err();
    assert!(matches!(refused, StoreError::Io { .. }), "{refused}");
    assert_eq!(loaded(&record), (1, None, false));
}

#[test]
fn a_crash_between_the_two_renames_leaves_the_predecessor() {
    let (_directory, record) = record();
    record.save(&1u64).unwrap();
    fs::rename(&record.path, &record.previous).unwrap();
    assert_eq!(loaded(&record), (1, None, true));
    record.save(&2u64).unwrap();
    assert_eq!(loaded(&record), (2, Some(1), false));
}

#[test]
fn a_file_cut_at_any_byte_gives_its_predecessor() {
    let (_directory, record) = record();
    record.save(&1u64).unwrap();
    record.save(&2u64).unwrap();
    let whole = fs::read(&record.path).unwrap();
    for end in 0..whole.len() {
        fs::write(&record.path, &whole[..end]).unwrap();
        assert_eq!(loaded(&record), (1, None, true), "cut at {end}");
    }
}

#[test]
fn damage_never_displaces_a_sound_predecessor() {
    let (_directory, record) = record();
    record.save(&1u64).unwrap();
    record.save(&2u64).unwrap();
    fs::write(&record.path, b"noise").unwrap();
    record.save(&3u64).unwrap();
    assert_eq!(loaded(&record), (3, Some(1), false));
}

#[test]
fn when_nothing_is_sound_the_error_names_the_file() {
    let (directory, record) = record();
    record.save(&1u64).unwrap();
    fs::write(&record.path, b"noise").unwrap();
    let error = record.load::<u64>().unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == directory.path().join("number")));
}

#[test]
fn a_document_of_another_kind_is_not_taken() {
    let (directory, record) = record();
    let other = Record::new(directory.path(), "letter");
    other.save(&1u64).unwrap();
    fs::copy(&other.path, &record.path).unwrap();
    assert!(matches!(record.load::<u64>(), Err(StoreError::Damaged { .. })));
}

proptest! {
    #[test]
    fn any_flipped_bit_is_found(payload in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut file = seal("number", &payload);
        prop_assert_eq!(unseal("number", &file).unwrap(), payload.as_slice());
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        prop_assert!(unseal("number", &file).is_err());
    }
}
