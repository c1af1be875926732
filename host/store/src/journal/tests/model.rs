//! The local journal as a shard's log, held to the model of one.

use super::*;
use lattice_journal::Position;
use lattice_journal::append::{AppendOutcome, ReadBack};
use lattice_journal::model::{Answer, ModelLog, Step, script};

/// As its only owner uses it: whoever expects anything but the last place is wrong.
fn perform(journal: &Journal, step: &Step) -> Answer {
    match step {
        Step::Append { behind, entry } => {
            let expected = journal.last().saturating_sub(*behind);
            Answer::Appended(if expected == journal.last() {
                AppendOutcome::Stored(Position(journal.append_wait(entry.clone()).unwrap()))
            } else {
                AppendOutcome::Conflict
            })
        }
        Step::Read { after, most } => match journal.read(after.0 + 1, *most) {
            Ok(entries) => {
                let entries: Vec<_> = entries.into_iter().map(|(at, entry)| (Position(at), entry)).collect();
                let last = entries.last().map_or(*after, |(at, _)| *at);
                Answer::Read(ReadBack { entries, complete: last.0 >= journal.last() })
            }
            Err(JournalError::Trimmed { first, .. }) => Answer::Trimmed { first: Position(first) },
            Err(error) => panic!("{error}"),
        },
        Step::Trim { through } => {
            journal.trim(through.0 + 1).unwrap();
            Answer::Done
        }
    }
}

#[test]
fn it_answers_as_the_model_of_a_log_does_and_after_each_restart_as_well() {
    for seed in 0..tests_harness::sizes::pick(30, 1_000) {
        let files = MemoryFiles::default();
        let mut model = ModelLog::default();
        for part in script(seed, 240).chunks(60) {
            let (journal, ..) = open_ok(&files);
            for (at, step) in part.iter().enumerate() {
                let (ours, expected) = (perform(&journal, step), model.perform(step));
                assert!(
                    ours.is_explained_by(&expected),
                    "seed {seed}, step {at} {step:?}: {ours:?}, {expected:?}"
                );
            }
        }
    }
}
