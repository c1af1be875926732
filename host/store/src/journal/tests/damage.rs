//! Every byte of the tail cut, thousands of bits flipped: cut and said, or refused with its place;
//! never a wrong entry, never a silent loss of more than nothing.

use super::memory::{Fault, MemoryFiles};
use super::*;

/// A journal of so many entries, one frame each, closed.
fn written(entries: u64) -> MemoryFiles {
    let files = MemoryFiles::default();
    let (journal, ..) = open_ok(&files);
    append(&journal, 1, entries);
    drop(journal);
    files
}

fn last_segment(files: &MemoryFiles) -> String {
    files.names("segment-").pop().unwrap()
}

/// Where the frames of the last segment end, and how many entries are before each end.
fn ends(files: &MemoryFiles) -> Vec<(usize, u64)> {
    let content = files.content(&last_segment(files));
    let first = u64::from_le_bytes(content[32..40].try_into().unwrap());
    let mut ends = vec![(frame::HEADER_BYTES, first - 1)];
    loop {
        let (at, last) = ends[ends.len() - 1];
        let head = content.get(at..at + frame::FRAME_HEAD_BYTES).unwrap_or(&[0; 8]);
        let length = u32::from_le_bytes(head[4..8].try_into().unwrap());
        if length == 0 {
            return ends;
        }
        ends.push((at + frame::FRAME_HEAD_BYTES + length as usize, last + 1));
    }
}

#[test]
fn cut_at_every_byte_of_the_tail_the_whole_frames_before_it_are_kept() {
    let files = written(30);
    let (name, ends) = (last_segment(&files), ends(&files));
    let end = ends[ends.len() - 1].0;
    assert_eq!(ends[ends.len() - 1].1, 30);
    for cut in frame::HEADER_BYTES..end {
        for shorter in [false, true] {
            let image = files.copy();
            image.change(
                &name,
                |content| {
                    if shorter { content.truncate(cut) } else { content[cut..].fill(0) }
                },
            );
            let (at, kept) = ends.iter().rev().find(|(at, _)| *at <= cut).unwrap();
            let (journal, recovered, seen) = open_ok(&image);
            assert_eq!(seen, expected(1, *kept), "cut at {cut}");
            // Of fewer than four bytes nobody can tell that they were to be a frame.
            if cut == *at || cut >= at + 4 {
                assert_eq!(recovered.torn.is_some(), cut > *at, "cut at {cut}");
            }
            append(&journal, kept + 1, kept + 2);
            drop(journal);
            assert_eq!(open_ok(&image).2, expected(1, kept + 2), "cut at {cut}, and gone on");
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_with_its_place_or_cut_and_said() {
    let files = written(60);
    let names: Vec<String> = files.names("");
    let last = last_segment(&files);
    let frames = ends(&files);
    let (last_frame, used) = (frames[frames.len() - 2].0, frames[frames.len() - 1].0);
    let mut random = 42u64;
    let mut counts = [0usize; 3];
    for round in 0..tests_harness::sizes::pick(10_000, 200_000) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let name = &names[(random >> 33) as usize % names.len()];
        let image = files.copy();
        let (mut at, mut old) = (0, 0);
        image.change(name, |content| {
            at = (random >> 17) as usize % content.len();
            old = content[at];
            content[at] ^= 1 << (random >> 60 & 7);
        });
        let (opened, seen) = open(&image);
        assert_eq!(
            seen[..],
            expected(1, seen.len() as u64)[..],
            "round {round}: {name} at {at}: a wrong entry"
        );
        match opened {
            Ok((_, recovered)) if recovered.last == 60 => {
                counts[0] += 1;
                let unused = *name == last && at >= used || *name != last && old == 0;
                assert!(unused, "round {round}: {name} at {at} and not noticed");
            }
            Ok((_, recovered)) => {
                counts[1] += 1;
                assert_eq!(recovered.last, 59, "round {round}: only the last write may be taken for torn");
                assert!(*name == last && (last_frame..used).contains(&at));
                let torn = TornTail { file: last.clone(), offset: last_frame as u64 };
                assert_eq!(recovered.torn, Some(torn), "round {round}: cut and not said");
            }
            Err(JournalError::Damaged { file, offset, .. }) => {
                counts[2] += 1;
                assert!(
                    offset <= at as u64 && (file == *name || file == META),
                    "round {round}: {file} at {offset}"
                );
            }
            Err(other) => panic!("round {round}: {other}"),
        }
    }
    assert!(counts.iter().all(|count| *count > 10), "each of the three happens: {counts:?}");
}

const META: &str = super::super::recovery::META;

#[test]
fn a_missing_or_foreign_segment_is_named() {
    let files = written(60);
    let names = files.names("segment-");
    let image = files.copy();
    image.remove(&names[1]).unwrap();
    let error = open(&image).0.unwrap_err().to_string();
    assert_eq!(
        error,
        "journal damaged: segment-0000000000000003 at offset 0: the segment before it, 2, is missing"
    );
    let image = files.copy();
    image.remove(&names[0]).unwrap();
    let error = open(&image).0.unwrap_err().to_string();
    assert!(
        error.starts_with("journal damaged: segment-0000000000000002 at offset 0: begins with entry"),
        "{error}"
    );
    let image = files.copy();
    let other = written(60).content(&names[1]);
    image.change(&names[1], |content| *content = other);
    let error = open(&image).0.unwrap_err();
    assert!(matches!(error, JournalError::Damaged { offset: 0, .. }), "another journal's: {error}");
    let image = files.copy();
    image.remove(META).unwrap();
    assert!(matches!(open(&image).0, Err(JournalError::Damaged { .. })));
}

#[test]
fn a_write_that_fails_half_way_is_cut_at_the_next_start() {
    let files = written(10);
    let (journal, ..) = open_ok(&files);
    files.fail_next(Fault::Write);
    // A long one, so that its first half holds the head of the frame.
    assert!(matches!(journal.append_wait(vec![9; 400].into()), Err(JournalError::Stopped { .. })));
    drop(journal);
    let (_, recovered, seen) = open_ok(&files);
    assert_eq!(seen, expected(1, 10));
    assert!(recovered.torn.is_some());
}
