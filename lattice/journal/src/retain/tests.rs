//! Never less than was asked for; more by one run at most.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Records: milliseconds after the one before, and bytes.
fn log(steps: &[(u64, usize)]) -> (Marks, Vec<(u64, usize)>) {
    let (mut marks, mut all, mut at_ms) = (Marks::default(), Vec::new(), 1_000);
    for (record, (after_ms, bytes)) in (1..).zip(steps) {
        at_ms += after_ms;
        marks.note(RecordSeq(record), at_ms, *bytes);
        all.push((at_ms, *bytes));
    }
    (marks, all)
}

/// A run that is not full can take this in before it is.
const LARGEST: usize = 80 << 10;

fn steps() -> impl Strategy<Value = Vec<(u64, usize)>> {
    vec((0_u64..40_000, 0..LARGEST), 0..200)
}

proptest! {
    #[test]
    fn what_is_young_and_little_is_kept_and_what_is_old_or_much_goes(
        steps in steps(), age_ms in 0_u64..4_000_000, bytes in 0_u64..(8 << 20), later_ms in 0_u64..100_000,
    ) {
        let (marks, all) = log(&steps);
        let now_ms = all.last().map_or(1_000, |(at_ms, _)| at_ms + later_ms);
        let gone = usize::try_from(marks.may_go(Retention { age_ms, bytes }, now_ms).0).unwrap();
        let kept = &all[gone..];
        let behind = |from: usize| all[from..].iter().map(|(_, bytes)| *bytes as u64).sum::<u64>();
        // Whatever went was too old, or had enough behind it.
        if gone > 0 {
            prop_assert!(all[gone - 1].0 + age_ms <= now_ms || behind(gone) >= bytes);
        }
        // Whatever stays beyond what was asked for is less than two runs: one that is not full, and the next.
        let run = RUN_BYTES + LARGEST as u64;
        prop_assert!(kept.iter().map(|(_, bytes)| *bytes as u64).sum::<u64>() < bytes + 2 * run);
        prop_assert!(kept.first().is_none_or(|(at_ms, _)| now_ms < at_ms + age_ms + RUN_MS + 40_000));
    }

    #[test]
    fn what_was_trimmed_is_not_counted_and_the_rest_is_as_before(
        steps in steps(), cut in 0_usize..200, bytes in 0_u64..(4 << 20),
    ) {
        let (mut marks, _) = log(&steps);
        let before = marks.too_much(bytes);
        marks.trim(RecordSeq(cut as u64));
        let after = marks.too_much(bytes);
        prop_assert!(after == before || (after == RecordSeq(0) && before <= RecordSeq(cut as u64)));
    }
}

#[test]
fn a_long_log_is_remembered_in_few_runs_of_the_right_size() {
    let mut marks = Marks::default();
    let count = 100_000_u64;
    for record in 1..=count {
        marks.note(RecordSeq(record), record * 1_000, 8 << 10);
    }
    assert!(marks.runs.len() <= MAX_RUNS, "{}", marks.runs.len());
    let total: u64 = marks.runs.iter().map(|run| run.bytes).sum();
    assert_eq!(total, count * (8 << 10));
    let half = marks.too_much(total / 2).0;
    assert!((half..=half + count / 100).contains(&(count / 2)), "{half}");
    // Written at one rate, half as many bytes span half the time.
    let keep = marks.keep(Retention { age_ms: u64::MAX, bytes: total / 2 }, count * 1_000);
    assert!(keep.span_ms.abs_diff(count * 500) < 2_000, "{}", keep.span_ms);
    assert_eq!(marks.keep(Retention { age_ms: 5, bytes: total }, count * 1_000).span_ms, 5);
}

#[test]
fn nothing_asked_for_keeps_nothing_and_everything_keeps_all() {
    let (marks, all) = log(&[(5, 100), (5, 100), (70_000, 100)]);
    let now_ms = all.last().unwrap().0;
    assert_eq!(marks.may_go(Retention { age_ms: u64::MAX, bytes: 0 }, now_ms), RecordSeq(3));
    assert_eq!(marks.may_go(Retention { age_ms: 0, bytes: u64::MAX }, now_ms), RecordSeq(3));
    assert_eq!(marks.may_go(Retention::ALL, now_ms), RecordSeq(0));
    let (day, more) = (Retention { age_ms: 1, bytes: 9 }, Retention { age_ms: 2, bytes: 3 });
    assert_eq!(day.or(more), Retention { age_ms: 2, bytes: 9 });
    assert_eq!(Marks::default().keep(Retention::ALL, 7).span_ms, u64::MAX);
}
