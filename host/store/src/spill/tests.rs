//! A map, whatever is done to it; and what happens when the disk does not do what it should.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn spill() -> (tempfile::TempDir, Spill) {
    let directory = tempfile::tempdir().unwrap();
    let spill = Spill::new(directory.path());
    (directory, spill)
}

fn all(view: &View) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut visit = |key: &[u8], value: &[u8]| -> Result<(), StoreError> {
        assert!(found.insert(key.to_vec(), value.to_vec()).is_none(), "each once");
        Ok(())
    };
    view.visit(&mut visit).unwrap();
    assert_eq!(found.len(), view.len());
    found
}

#[derive(Debug, Clone)]
enum Step {
    Put(u16, usize),
    Take(u16),
    Tidy(u64),
    View,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..300_u16, prop_oneof![9 => 0..200_usize, 1 => 0..300_000_usize]).prop_map(|(key, length)| Step::Put(key, length)),
        4 => (0..300_u16).prop_map(Step::Take),
        2 => (1..3_000_000_u64).prop_map(Step::Tidy),
        1 => Just(Step::View),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_map_whatever_is_done_to_it(steps in prop::collection::vec(step(), 1..400)) {
        let (_directory, mut spill) = spill();
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut views = Vec::new();
        for (number, step) in (0_u8..=255).cycle().zip(steps) {
            match step {
                Step::Put(key, length) => {
                    let (key, value) = (key.to_be_bytes().to_vec(), vec![number; length]);
                    spill.put(&key, &value).unwrap();
                    model.insert(key, value);
                }
                Step::Take(key) => {
                    let key = key.to_be_bytes();
                    prop_assert_eq!(spill.get(&key).unwrap(), model.get(&key[..]).cloned());
                    prop_assert_eq!(spill.take(&key).unwrap(), model.remove(&key[..]));
                    prop_assert_eq!(spill.take(&key).unwrap(), None);
                }
                Step::Tidy(step) => spill.tidy(step).unwrap(),
                Step::View => views.push((spill.view(), model.clone())),
            }
            prop_assert_eq!(spill.len(), model.len());
        }
        prop_assert_eq!(all(&spill.view()), model);
        for (view, model) in views {
            prop_assert_eq!(all(&view), model, "a view is as it was");
        }
    }
}

#[test]
fn gaps_are_let_go_of_while_it_is_used() {
    let (_directory, mut spill) = spill();
    let value = [7; 1_000];
    let mut largest = 0;
    for round in 0..20_u32 {
        for key in 0..2_000_u32 {
            spill.put(&key.to_le_bytes(), &[&value[..], &round.to_le_bytes()].concat()).unwrap();
            spill.tidy(8 << 10).unwrap();
        }
        largest = largest.max(spill.bytes());
    }
    // 40 MB were put, 2 MB are there.
    assert!(largest < 14 << 20, "{largest} bytes");
    for key in 0..2_000_u32 {
        let found = spill.take(&key.to_le_bytes()).unwrap().unwrap();
        assert_eq!(found.split_at(1_000), (&value[..], &19_u32.to_le_bytes()[..]));
    }
    assert!(spill.is_empty());
    assert_eq!(spill.bytes(), 0, "nobody keeps an empty file");
}

#[test]
fn keys_of_the_same_part_of_a_hash_are_told_apart() {
    let (_directory, mut spill) = spill();
    // So many that some of them share all 23 bits.
    for key in 0..20_000_u32 {
        spill.put(&key.to_le_bytes(), &key.to_be_bytes()).unwrap();
    }
    let parts: std::collections::HashSet<u64> = spill.slots.iter().map(|slot| slot.part()).collect();
    assert!(parts.len() < 20_000, "no two share them");
    for key in 0..20_000_u32 {
        assert_eq!(spill.take(&key.to_le_bytes()).unwrap().as_deref(), Some(&key.to_be_bytes()[..]));
    }
}

#[test]
fn the_file_has_no_name_and_a_changed_byte_is_found() {
    use std::os::unix::fs::FileExt;
    let (directory, mut spill) = spill();
    let names = |path: &std::path::Path| std::fs::read_dir(path).unwrap().count();
    let before = names(directory.path());
    for key in 0..100_u32 {
        spill.put(&key.to_le_bytes(), &[3; 2_000]).unwrap();
    }
    let view = spill.view();
    assert_eq!(names(directory.path()), before);
    let file = spill.file.as_ref().unwrap().for_tests();
    file.write_all_at(&[4], 20 * 2_014 + 50).unwrap();
    assert!(matches!(spill.take(&20_u32.to_le_bytes()), Err(StoreError::Damaged { .. })));
    assert_eq!(spill.len(), 100, "it is still there");
    let visited = view.visit(|_, _| Ok::<(), StoreError>(()));
    assert!(matches!(visited, Err(StoreError::Damaged { .. })));
    assert!(spill.take(&21_u32.to_le_bytes()).unwrap().is_some());
}

#[test]
fn a_disk_that_takes_no_more_loses_nothing() {
    let (directory, mut spill) = spill();
    let mut full = Spill::new(&directory.path().join("elsewhere"));
    assert!(matches!(full.put(b"a", b"b"), Err(StoreError::Io { .. })));
    assert_eq!((full.len(), full.get(b"a").unwrap()), (0, None));
    spill.put(b"a", b"b").unwrap();
    assert!(matches!(spill.put(&[1; 70_000], b"b"), Err(StoreError::Io { .. })), "a key of 64 KiB at most");
    assert_eq!(spill.get(b"a").unwrap().as_deref(), Some(&b"b"[..]));
}
