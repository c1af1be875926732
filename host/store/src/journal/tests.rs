//! Crashes, cuts, flipped bits, full and failing disks. Most run over files in memory, where the
//! power can be cut at any operation; some over a real directory and a real process.

mod crash;
mod damage;
mod memory;
mod model;

use super::*;
use memory::{Fault, MemoryFiles};
use proptest::prelude::*;

/// Small segments, so that they are rotated often.
pub(super) const SMALL: JournalOptions = JournalOptions {
    segment_bytes: 4_096,
    max_segments: 64,
    spare_segments: 2,
    queue: 64,
    batch_bytes: 1_024,
};

pub(super) fn entry(n: u64) -> Bytes {
    // Sizes from 0 to 299 bytes; no zeros, so that a cut always changes something.
    let length = usize::try_from(n * 37 % 300).unwrap();
    n.to_le_bytes().iter().map(|byte| byte | 0x80).cycle().take(length).collect::<Vec<_>>().into()
}

pub(super) type Opened = Result<(Journal, Recovered), JournalError>;

/// Opens, and gives what was visited as well.
pub(super) fn open(files: &MemoryFiles) -> (Opened, Vec<(u64, Bytes)>) {
    let mut seen = Vec::new();
    let opened = Journal::open_files(Arc::new(files.clone()), SMALL, &mut |at, entry| seen.push((at, entry)));
    (opened, seen)
}

/// As [`SMALL`], with an end that is soon reached.
const FEW: JournalOptions = JournalOptions { max_segments: 8, ..SMALL };

fn open_ok(files: &MemoryFiles) -> (Journal, Recovered, Vec<(u64, Bytes)>) {
    let (opened, seen) = open(files);
    let (journal, recovered) = opened.unwrap();
    (journal, recovered, seen)
}

/// Appends entries `from..=to`, one frame each.
pub(super) fn append(journal: &Journal, from: u64, to: u64) {
    for n in from..=to {
        assert_eq!(journal.append_wait(entry(n)).unwrap(), n);
    }
}

pub(super) fn expected(from: u64, to: u64) -> Vec<(u64, Bytes)> {
    (from..=to).map(|n| (n, entry(n))).collect()
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart_on_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let (journal, recovered) = Journal::open(&data, SMALL, &mut |_, _| panic!("empty")).unwrap();
    assert_eq!(recovered, Recovered { first: 1, last: 0, torn: None });
    append(&journal, 1, 60);
    assert_eq!(journal.read(57, 10).unwrap(), expected(57, 60));
    assert_eq!(journal.read(20, 3).unwrap(), expected(20, 22));
    drop(journal);
    let mut seen = Vec::new();
    let (journal, recovered) = Journal::open(&data, SMALL, &mut |at, entry| seen.push((at, entry))).unwrap();
    assert_eq!(seen, expected(1, 60));
    assert_eq!(recovered, Recovered { first: 1, last: 60, torn: None });
    append(&journal, 61, 70);
    assert_eq!(journal.last(), 70);
    let used = std::fs::read_dir(directory.path().join("journal")).unwrap().count();
    assert!(used > 3, "several segments");
}

#[test]
fn scattered_entries_are_read_wherever_they_are() {
    let files = MemoryFiles::default();
    let (journal, ..) = open_ok(&files);
    append(&journal, 1, 120);
    let wanted = [1, 2, 40, 77, 119, 120];
    let expected: Vec<_> = wanted.iter().map(|n| (*n, entry(*n))).collect();
    assert_eq!(journal.read_at(&wanted).unwrap(), expected);
    assert_eq!(journal.read_at(&[]).unwrap(), []);
    assert!(matches!(journal.read_at(&[120, 121]), Err(JournalError::Damaged { .. })));
    journal.trim(50).unwrap();
    assert!(matches!(journal.read_at(&[40, 77]), Err(JournalError::Trimmed { wanted: 40, .. })));
    assert_eq!(journal.read_at(&[77]).unwrap(), [(77, entry(77))]);
}

#[test]
fn many_who_append_at_once_share_syncs() {
    let files = MemoryFiles::default();
    let (journal, ..) = open_ok(&files);
    let (sender, acknowledged) = sync_channel(40);
    files.hold_sync(true);
    for n in 1..=40 {
        let sender = sender.clone();
        journal.append(entry(n), Box::new(move |outcome| drop(sender.send((n, outcome))))).unwrap();
    }
    let before = files.syncs();
    files.hold_sync(false);
    for n in 1..=40 {
        let (which, outcome) = acknowledged.recv().unwrap();
        assert_eq!((which, outcome.unwrap()), (n, n), "in order");
    }
    let syncs = files.syncs() - before;
    assert!(syncs < 20, "{syncs} syncs for 40 entries");
}

#[test]
fn a_failed_sync_stops_it_for_good_and_a_restart_recovers() {
    let files = MemoryFiles::default();
    let (journal, ..) = open_ok(&files);
    append(&journal, 1, 5);
    files.fail_next(Fault::Sync);
    let error = journal.append_wait(entry(6)).unwrap_err();
    let report = lattice_protocol::Report::from(error);
    assert_eq!(report.code, lattice_protocol::ErrorCode::JournalStopped);
    let writes = files.writes();
    for _ in 0..3 {
        // The disk is fine again; nobody may believe it.
        assert!(matches!(journal.append_wait(entry(7)), Err(JournalError::Stopped { .. })));
    }
    assert_eq!((files.writes(), journal.last()), (writes, 5));
    drop(journal);
    let (journal, recovered, seen) = open_ok(&files.after_power_cut(1));
    assert_eq!(seen[..5], expected(1, 5));
    assert!(recovered.last <= 6);
    journal.append_wait(entry(9)).unwrap();
}

#[test]
fn what_only_the_page_cache_had_is_written_again_before_it_is_relied_on() {
    let files = MemoryFiles::default();
    let (journal, ..) = open_ok(&files);
    append(&journal, 1, 2);
    // The sync fails, and its pages count as clean from now on: the kernel does this.
    files.fail_next(Fault::Sync);
    // Of several sectors, so that the next frame does not carry it to the disk by chance.
    let long = Bytes::from(vec![9; 2_000]);
    journal.append_wait(long.clone()).unwrap_err();
    drop(journal);
    let (journal, recovered, _) = open_ok(&files);
    assert_eq!(recovered.last, 3, "the page cache shows it");
    append(&journal, 4, 4);
    drop(journal);
    let (_, _, seen) = open_ok(&files.after_power_cut(2));
    let all = [expected(1, 2), vec![(3, long)], expected(4, 4)].concat();
    assert_eq!(seen, all, "and now the disk has it");
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let files = MemoryFiles::default();
    let (journal, ..) = open_ok(&files);
    files.set_full(true);
    let error = journal.append_wait(entry(1)).unwrap_err();
    assert!(matches!(error, JournalError::Full { .. }), "{error}");
    files.set_full(false);
    append(&journal, 1, 3);
    drop(journal);
    assert_eq!(open_ok(&files).2, expected(1, 3));
}

#[test]
fn its_size_is_bounded_and_trimming_makes_room_from_the_same_files() {
    let files = MemoryFiles::default();
    let (journal, _) = Journal::open_files(Arc::new(files.clone()), FEW, &mut |_, _| {}).unwrap();
    let mut n = 0;
    let full = loop {
        n += 1;
        if let Err(error) = journal.append_wait(entry(n)) {
            break error;
        }
    };
    assert!(matches!(full, JournalError::Full { .. }), "{full}");
    assert_eq!(files.names("segment-").len(), FEW.max_segments);
    journal.trim(n - 20).unwrap();
    assert_eq!(files.names("spare-").len(), FEW.spare_segments);
    let made = files.creations();
    append(&journal, n, n + 30);
    assert_eq!(files.creations(), made, "used again, not made anew");
    assert_eq!(journal.first(), n - 20);
    assert!(matches!(journal.read(n - 21, 1), Err(JournalError::Trimmed { .. })));
    assert_eq!(journal.read(n - 20, 5).unwrap(), expected(n - 20, n - 16));
    drop(journal);
    assert_eq!(open_ok(&files).2, expected(n - 20, n + 30));
}

#[test]
fn an_entry_larger_than_a_segment_is_refused_alone() {
    let files = MemoryFiles::default();
    let (journal, ..) = open_ok(&files);
    let large = journal.append_wait(vec![0; 4_096].into()).unwrap_err();
    assert!(matches!(large, JournalError::TooLarge { got: 4_096, limit: 3_990 }), "{large}");
    assert_eq!(journal.append_wait(vec![1; 3_990].into()).unwrap(), 1);
}

#[test]
fn everything_may_be_trimmed_and_it_goes_on() {
    let files = MemoryFiles::default();
    let (journal, ..) = open_ok(&files);
    append(&journal, 1, 50);
    journal.trim(u64::MAX).unwrap();
    assert_eq!((journal.first(), journal.last()), (51, 50));
    drop(journal);
    let (journal, recovered, seen) = open_ok(&files);
    assert_eq!((recovered.first, recovered.last, seen.len()), (51, 50, 0));
    append(&journal, 51, 52);
    drop(journal);
    assert_eq!(open_ok(&files).2, expected(51, 52));
}

/// Files that have this entry, whether they are in use or spare.
fn having(files: &MemoryFiles, n: u64) -> usize {
    let all = files.names("segment-").into_iter().chain(files.names("spare-"));
    let bytes = entry(n);
    all.filter(|name| files.content(name).windows(bytes.len()).any(|part| part == bytes)).count()
}

#[test]
fn what_is_swept_and_trimmed_is_in_no_file_any_more() {
    let files = MemoryFiles::default();
    let (journal, ..) = open_ok(&files);
    append(&journal, 1, 90);
    journal.trim(40).unwrap();
    let has = |n| having(&files, n);
    assert!(has(2) > 0, "in a spare file");
    journal.sweep_wait(90).unwrap();
    assert!(files.names("spare-").is_empty());
    assert_eq!((has(2), has(90), journal.closed(90)), (0, 1, None));
    journal.trim(60).unwrap();
    assert!(files.names("spare-").is_empty(), "none of them is used again");
    // The last one is in the segment that is written to: it has to be left first.
    journal.roll(90).unwrap();
    append(&journal, 91, 95);
    assert_eq!(journal.closed(90), Some(90));
    journal.roll(90).unwrap();
    assert_eq!(journal.closed(95), None, "there is nothing of it in this one");
    assert!(journal.oldest() <= 90 && has(90) == 1);
    journal.trim(91).unwrap();
    assert_eq!((has(90), has(91), journal.oldest()), (0, 1, 91));
    append(&journal, 96, 99);
    drop(journal);
    let (journal, recovered, seen) = open_ok(&files);
    assert_eq!((recovered.first, seen), (91, expected(91, 99)));
    // Everything, right after a start; an empty segment is not left.
    journal.sweep_wait(99).unwrap();
    journal.roll(u64::MAX).unwrap();
    let segments = journal.segments();
    journal.roll(u64::MAX).unwrap();
    assert_eq!(journal.segments(), segments);
    journal.trim(u64::MAX).unwrap();
    assert_eq!((journal.oldest(), has(91), has(99)), (100, 0, 0));
    append(&journal, 100, 190);
    // What came later is used again.
    journal.trim(180).unwrap();
    assert!(!files.names("spare-").is_empty());
    drop(journal);
    assert_eq!(open_ok(&files).2, expected(180, 190));
}

#[test]
fn a_file_that_a_crash_left_behind_goes_with_the_next_trimming() {
    let files = MemoryFiles::default();
    let (journal, ..) = open_ok(&files);
    append(&journal, 1, 90);
    let segment = files.names("segment-").first().unwrap().clone();
    let content = files.content(&segment);
    journal.sweep_wait(90).unwrap();
    let before = journal.closed(1).unwrap() + 1;
    journal.trim(before).unwrap();
    assert_eq!(having(&files, 2), 0);
    drop(journal);
    // That it is not needed was on disk; its removal was not.
    files.create(&segment, 4_096).unwrap();
    files.open(&segment).unwrap().write_at(&content, 0).unwrap();
    let (journal, recovered, _) = open_ok(&files);
    assert_eq!((recovered.first, journal.oldest()), (before, 1));
    journal.sweep_wait(90).unwrap();
    journal.trim(recovered.first).unwrap();
    assert_eq!((having(&files, 2), journal.oldest()), (0, before));
    append(&journal, 91, 92);
}

#[test]
fn a_full_journal_does_not_roll_and_goes_on_when_there_is_room() {
    let files = MemoryFiles::default();
    let opened = Journal::open_files(Arc::new(files.clone()), FEW, &mut |_, _| {});
    let (journal, _) = opened.unwrap();
    let mut next = 1;
    while journal.segments().0 < FEW.max_segments {
        append(&journal, next, next);
        next += 1;
    }
    assert!(matches!(journal.roll(next - 1).unwrap_err(), JournalError::Full { .. }));
    append(&journal, next, next);
    journal.trim(next).unwrap();
    journal.roll(next).unwrap();
    append(&journal, next + 1, next + 1);
    assert_eq!(journal.closed(next), Some(next));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(tests_harness::sizes::pick(300, 20_000)))]
    /// The power goes at any operation, tearing what was not synced: everything acknowledged before
    /// is there, everything there is what was written, and it goes on.
    #[test]
    fn no_power_cut_loses_what_was_acknowledged(
        steps in proptest::collection::vec((1u64..12, proptest::option::of(0u64..20)), 1..25),
        cut_at in 0usize..200,
        seed: u64,
    ) {
        let files = MemoryFiles::default();
        files.cut_at(cut_at, seed);
        let (journal, ..) = open_ok(&files);
        let mut next = 1;
        for (count, trim) in steps {
            let (sender, acknowledged) = sync_channel(16);
            for n in next..next + count {
                let (sender, files) = (sender.clone(), files.clone());
                let done = Box::new(move |outcome: Result<u64, JournalError>| {
                    if let Ok(position) = &outcome {
                        files.acknowledge(*position);
                    }
                    sender.send(outcome).unwrap();
                });
                journal.append(entry(n), done).unwrap();
            }
            for n in next..next + count {
                prop_assert_eq!(acknowledged.recv().unwrap().unwrap(), n);
            }
            next += count;
            if let Some(back) = trim {
                let before = next.saturating_sub(back);
                // Every third one leaves nothing of half of it.
                if back % 3 == 0 {
                    journal.sweep_wait(before / 2).unwrap();
                    journal.roll(before / 2).unwrap();
                }
                journal.trim(before).unwrap();
            }
        }
        drop(journal);
        let Some((image, acknowledged)) = files.image() else { return Ok(()) };
        let (opened, seen) = open(&image);
        let (journal, recovered) = opened.unwrap();
        prop_assert!(recovered.last >= acknowledged, "{recovered:?}, acknowledged {acknowledged}");
        prop_assert_eq!(&seen, &expected(recovered.first, recovered.last));
        append(&journal, recovered.last + 1, recovered.last + 3);
        drop(journal);
        let (_, seen) = open(&image);
        prop_assert_eq!(&seen, &expected(recovered.first, recovered.last + 3));
    }
}
